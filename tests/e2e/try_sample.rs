//! `pipe try --sample`: a changed module on some documents of every kind, and nothing of it kept.

use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each   = "inbox"
    module = "up"

    [target.all]
    all    = "up"
    shell  = "wc -l < {in} > {out}"
"#;

const UP: &str = r#"
    @module
    def up(doc):
        ran(doc)
        if doc.text() == "bad":
            raise ValueError("no")
        if doc.text() == "none":
            raise Skip("empty")
        return doc.text().upper() + "\nend\n"
"#;

fn built() -> Project {
    let project = Project::counting().file("Pipelinefile", PIPELINE).module("up", UP);
    for name in ["a", "b", "c", "bad", "none"] {
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project.build_with(&["up"], 1, &["up a", "up b", "up bad", "up c", "up none"]);
    project
}

#[test]
fn what_comes_out_is_compared_with_what_is_kept_and_nothing_is_recorded() {
    let project = built();
    let new =
        UP.replace("\"bad\":", "\"c\":").replace("raise Skip(\"empty\")", "os.kill(os.getpid(), 9)").replace(
            "return doc.text().upper()",
            "return doc.text().upper() + ('!' if doc.text() == 'a' else '')",
        );
    project.write_module("up", &new);
    let before = project.tree();
    project.pipe(&["try", "up", "--sample", "100", "-j", "1"]).shows(
        "
        status: 1
        --- stdout
             2  newly failing
                inbox/c.txt  ValueError: no (modules/up.py:14)
                inbox/none.txt  SIGKILL: the worker was killed, and not by `pipe`: perhaps the system was short of memory (`memory` sets a limit)
             1  changed
                inbox/a.txt
                  - A
                  + A!
             1  newly passing
                inbox/bad.txt
             1  same
        --- stderr
          Sample    5 of 5 documents: 3 of 3 done, 1 of 1 failed, 1 of 1 skipped; 3 kinds by state, extension and size
        Nothing was recorded
        hint: pipe build up     does all of it
    ",
    );
    project.take_runs();
    let tree: Vec<String> = project.tree();
    assert_eq!(tree, before, "nothing is left behind");
    let said = project.pipe(&["try", "up", "--sample", "2", "--json", "--docs", "inbox/[ab].txt"]).ends(0);
    let lines: Vec<serde_json::Value> =
        said.text().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(lines.len(), 3, "{}", said.text());
    assert_eq!(lines[0]["verdict"], "changed");
    assert_eq!(lines[0]["diff"], serde_json::json!(["- A", "+ A!"]));
    assert_eq!(lines[2]["verdicts"], serde_json::json!({ "changed": 1, "same": 1 }));
    project.take_runs();
    // Old code again: everything is still there.
    project.write_module("up", UP);
    project.build_with(&["up"], 1, &[]);
}

#[test]
fn a_sample_has_some_of_every_kind_and_is_the_same_each_time() {
    let project = built();
    let said = project
        .pipe(&["try", "up", "--sample", "3"])
        .ends(0)
        .says("1 of 3 done, 1 of 1 failed, 1 of 1 skipped");
    let said = said.says("pipe accept up");
    let first = project.take_runs();
    assert_eq!(first.len(), 3, "{}", said.text());
    project.pipe(&["try", "up", "--sample", "3"]).ends(0);
    assert_eq!(project.take_runs(), first);
}

#[test]
fn a_sample_is_refused_where_there_is_nothing_to_compare() {
    let project = built();
    project.pipe(&["try", "all", "--sample", "3"]).ends(2).says("over many");
    project.pipe(&["try", "up", "--sample", "0"]).ends(2);
    project.pipe(&["try", "up", "--sample", "3", "--docs", "x*"]).ends(4);
    project.pipe(&["try", "up", "inbox/a.txt", "--sample", "3"]).ends(2);
    assert_eq!(project.take_runs(), Vec::<String>::new());
}

/// Splits into lines; `boom` fails.
fn lines() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.lines]
            each = \"inbox\"
            split = { max = 3 }
            module = \"lines\"
            ",
        )
        .file(
            "modules/lines.py",
            "
            from pipelinefile import Child, module
            @module
            def lines(doc):
                for number, line in enumerate(doc.text().split()):
                    if line == 'boom':
                        raise ValueError(line)
                    yield Child(f'line-{number}', line)
            ",
        )
        .file("inbox/a.txt", "one two three")
        .file("inbox/b.txt", "four")
        .file("inbox/c.txt", "boom");
    drop(project.pipe(&["build"]).ends(1));
    project
}

#[test]
fn a_sample_of_a_split_is_of_what_is_split() {
    let project = lines();
    let _said = project
        .pipe(&["try", "lines", "--sample", "50"])
        .ends(0)
        .says("Sample    3 of 3 documents: 2 of 2 done, 1 of 1 failed")
        .says("2  same")
        .says("1  still failing");
    project
        .write("modules/lines.py", project.read("modules/lines.py").replace("', line)", "', line.upper())"));
    let said = project.pipe(&["try", "lines", "--sample", "50"]).ends(0).says("2  changed").text();
    assert!(
        said.contains("- line-0  txt         4 B") && said.contains("+ line-0  txt         4 B"),
        "{said}"
    );
    assert!(!said.contains("not tried"), "{said}");
    // Marking counts the same documents.
    let _said = project.pipe(&["redo", "lines", "-n"]).ends(0).says("lines: would do again: 3 documents");
}

#[test]
fn one_document_that_is_split_is_tried_as_a_build_would() {
    let project = lines();
    let _said = project
        .pipe(&["try", "lines", "inbox/a.txt"])
        .ends(0)
        .says("Output    3 children, 11 B, the same as the stored one")
        .says("line-2  txt         5 B");
    project.write("inbox/b.txt", "1 2 3 4");
    let _said =
        project.pipe(&["try", "lines", "inbox/b.txt"]).ends(1).says("too many children").says("max = 30");
    project.write("modules/lines.py", project.read("modules/lines.py").replace("line-{number}", "line"));
    let _said = project.pipe(&["try", "lines", "inbox/a.txt"]).ends(1).says("two children are called `line`");
    project.write(
        "modules/lines.py",
        "from pipelinefile import module\n@module\ndef lines(doc):\n    return 'x'\n",
    );
    let _said = project.pipe(&["try", "lines", "inbox/a.txt"]).ends(1).says("yields Child(name, value)");
}
