use crate::harness::Project;

fn project(hold: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.paid]
each    = "inbox"
module  = "paid"
with    = { model = "file:model" }
hold    = "HOLD"
publish = true

[target.after]
each    = "paid"
module  = "after"
publish = true
"#;
    let project = Project::counting()
        .file("Pipelinefile", &pipeline.replace("HOLD", hold))
        .module(
            "paid",
            "
            @module
            def paid(doc, *, model: Doc, size: int = 1):
                ran(doc)
                return 'v1 ' + model.text() + str(size) + ' ' + doc.text()
            ",
        )
        .module(
            "after",
            "
            @module
            def after(doc):
                ran(doc)
                return doc.text().upper()
            ",
        );
    project.write("model", "m");
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "b");
    project
}

#[test]
fn code_params_and_side_inputs_are_held_back() {
    let project = project("code");
    project.build_runs(&["paid a", "paid b", "after v1 m1 a", "after v1 m1 b"]);
    project.replace("modules/paid.py", "'v1 '", "'v2 '");
    project.build_runs(&[]);
    project.write("model", "n");
    project.build_runs(&[]);
    project.replace("Pipelinefile", "hold ", "params = { size = 2 }\nhold ");
    project.build_runs(&[]);
    let _said = project.pipe(&["status"]).ends(0).says("2 held: pipe build --update paid");
    let _said = project
        .pipe(&["why", "inbox/a.txt"])
        .ends(0)
        .says("held: its result of run 1 stands")
        .says("pipe build --update paid");
    let _said = project
        .pipe(&["why", "paid"])
        .ends(0)
        .says("paid: up to date, 2 documents")
        .says("2  held, though the module's code changed");
    // What is behind it goes on with what is held.
    project.replace("modules/after.py", "upper()", "title()");
    project.build_runs(&["after v1 m1 a", "after v1 m1 b"]);
    // Another input is other work; a new document is simply due.
    project.write("inbox/b.txt", "bb");
    project.write("inbox/c.txt", "c");
    project.build_runs(&["paid bb", "paid c", "after v2 n2 bb", "after v2 n2 c"]);
    let _said = project.pipe(&["status"]).ends(0).says("1 held");
    project.build_runs(&[]);
    // Asked for.
    project.build_with(&["--update", "paid"], 0, &["paid a", "after v2 n2 a"]);
    project.build_with(&["--update", "paid"], 0, &[]);
    assert!(!project.pipe(&["status"]).text().contains("held"));
    project.is_as_built_clean();
}

#[test]
fn going_back_is_no_work_and_redo_lifts_it() {
    let project = project("code");
    project.build_runs(&["paid a", "paid b", "after v1 m1 a", "after v1 m1 b"]);
    project.replace("modules/paid.py", "'v1 '", "'v2 '");
    project.build_runs(&[]);
    project.replace("modules/paid.py", "'v2 '", "'v1 '");
    project.build_runs(&[]);
    assert!(!project.pipe(&["status"]).text().contains("held"));
    project.replace("modules/paid.py", "'v1 '", "'v2 '");
    project.build_runs(&[]);
    let _said = project.pipe(&["redo", "paid", "--docs", "inbox/a.txt"]).ends(0).says("1 document");
    project.build_runs(&["paid a", "after v2 m1 a"]);
    let _said = project.pipe(&["status"]).ends(0).says("1 held");
    // Without `hold`, what was held back is done.
    project.replace("Pipelinefile", "hold    = \"code\"\n", "");
    project.build_runs(&["paid b", "after v2 m1 b"]);
    project.is_as_built_clean();
}

#[test]
fn all_holds_back_other_inputs_too() {
    let project = project("all");
    project.build_runs(&["paid a", "paid b", "after v1 m1 a", "after v1 m1 b"]);
    project.write("inbox/a.txt", "aa");
    project.write("inbox/c.txt", "c");
    project.build_runs(&["paid c", "after v1 m1 c"]);
    assert_eq!(project.published()["paid/inbox/a.txt.txt"], "v1 m1 a");
    project.build_with(&["--update", "paid"], 0, &["paid aa", "after v1 m1 aa"]);
    project.is_as_built_clean();
}

#[test]
fn a_failure_is_no_result_to_hold() {
    let project = project("all");
    project.replace("modules/paid.py", "    ran(doc)", "    ran(doc)\n    assert doc.text() != 'b'");
    project.build_with(&[], 1, &["paid a", "paid b", "after v1 m1 a"]);
    project.replace("modules/paid.py", "    assert doc.text() != 'b'", "    pass");
    project.build_runs(&["paid b", "after v1 m1 b"]);
    project.build_runs(&[]);
}

#[test]
fn a_set_is_held_too() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [target.model]
            all    = "inbox"
            module = "model"
            hold   = "all"
            [target.label]
            each    = "inbox"
            module  = "label"
            with    = { model = "model" }
            publish = true
            "#,
        )
        .module("model", "@module\ndef model(docs):\n    ran(str(len(docs)))\n    return str(len(docs))\n")
        .module(
            "label",
            "@module\ndef label(doc, *, model: Doc):\n    ran(doc)\n    return model.text() + doc.text()\n",
        );
    project.write("inbox/a.txt", "a");
    project.build_runs(&["model 1", "label a"]);
    project.write("inbox/b.txt", "b");
    project.build_runs(&["label b"]);
    project.build_runs(&[]);
    assert_eq!(project.published()["label/inbox/b.txt.txt"], "1b");
    let _said = project.pipe(&["status"]).ends(0).says("1 held: pipe build --update model");
    project.build_with(&["--update", "model"], 0, &["model 2", "label a", "label b"]);
    project.is_as_built_clean();
}

#[test]
fn misuse_is_told() {
    let project = project("code");
    let _said = project.build_with(&["--update", "after"], 2, &[]).says("target `after` holds nothing");
    let _said = project.build_with(&["--update", "padi"], 2, &[]).says("did you mean `paid`?");
}

/// What is behind a group, and behind a split, is found as well: neither lies in a source.
#[test]
fn what_stands_behind_a_group_or_a_split_is_updated_and_redone() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [target.line]
            each   = "inbox"
            split  = true
            module = "line"
            [target.paid]
            each   = "line"
            module = "paid"
            hold   = "code"
            [target.word]
            group  = "line"
            by     = "meta.word"
            module = "word"
            [target.dear]
            each   = "word"
            module = "dear"
            hold   = "code"
            "#,
        )
        .module(
            "line",
            "
            @module
            def line(doc):
                for n, line in enumerate(doc.text().split()):
                    yield Child(n, line, meta={'word': line})
            ",
        )
        .module("paid", "@module\ndef paid(doc):\n    ran(doc)\n    return doc.text() + '1'\n")
        .module("word", "@module\ndef word(docs):\n    return ' '.join(d.text() for d in docs)\n")
        .module("dear", "@module\ndef dear(doc):\n    ran(doc)\n    return doc.text() + '1'\n");
    project.write("inbox/a.txt", "x y");
    project.write("inbox/b.txt", "x");
    project.build_runs(&["paid x", "paid y", "dear x x", "dear y"]);
    project.replace("modules/paid.py", "'1'", "'2'");
    project.replace("modules/dear.py", "'1'", "'2'");
    project.build_runs(&[]);
    project.build_with(&["--update", "dear"], 0, &["dear x x", "dear y"]);
    project.build_with(&["--update", "paid"], 0, &["paid x", "paid y"]);
    let _said = project.pipe(&["redo", "dear", "--docs", "word/y"]).ends(0);
    project.build_runs(&["dear y"]);
    project.build_runs(&[]);
}

#[test]
fn what_is_kept_is_nothing_to_do() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [target.model]
        all  = "inbox"
        cmd  = "sh model.sh {in} {out}"
        hold = "code"

        [target.slow]
        each = "inbox"
        cmd  = "sh slow.sh {in} {out}"
        hold = "code"
        "#,
    );
    let code = |name: &str, number: u32| project.write(name, format!("wc -l < $1 > $2 # {number}\n"));
    code("model.sh", 1);
    code("slow.sh", 1);
    project.write("inbox/a.txt", "a\n");
    project.write("inbox/b.txt", "b\n");
    drop(project.pipe(&["build"]).ends(0));
    code("model.sh", 2);
    let status = || project.pipe(&["status", "--exit-code"]);
    let held = "model   all     2     1  1 held: pipe build --update model\n";
    drop(status().ends(0).says(held).says("\nup to date\n"));
    drop(project.pipe(&["build"]).ends(0).says("model held: the module's code changed: model.sh"));
    code("slow.sh", 2);
    drop(status().ends(0).says("slow    each    2     2  2 held: pipe build --update slow\n"));
    drop(project.pipe(&["build"]).ends(0));
    drop(status().ends(0).says("\nup to date\n"));
    // What is to be done again, or is new, is not kept.
    drop(project.pipe(&["redo", "slow"]).ends(0));
    drop(status().ends(1).says("up to 2 to do\n"));
    drop(project.pipe(&["build"]).ends(0));
    project.write("inbox/c.txt", "c\n");
    drop(status().ends(1).says("1 document to look at: pipe build"));
}
