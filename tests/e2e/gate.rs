//! `--max-recompute`: a build that would do too much again does not begin; new and changed documents are no reason.

use crate::harness::Project;

fn project() -> Project {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.words]
            each   = "inbox"
            module = "words"

            [target.top]
            each   = "words"
            module = "top"

            [target.sum]
            all    = "top"
            module = "sum"
            "#,
        )
        .module("words", "@module\ndef words(doc):\n    ran(doc)\n    return doc.text() + ' 1'\n")
        .module("top", "@module\ndef top(doc):\n    ran(doc)\n    return doc.text().upper()\n")
        .module("sum", "@module\ndef sum(docs):\n    return str(len(docs))\n");
    for name in ["a", "b", "c", "d"] {
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project
}

#[test]
fn too_much_to_be_done_again_stops_the_build_before_it_begins() {
    let project = project();
    let gate = ["build", "--max-recompute", "50%", "-q"];
    // Nothing was done before: nothing is done again.
    project.pipe(&gate).shows("status: 0\n");
    project.take_runs();
    project.replace("modules/words.py", "' 1'", "' 2'");
    let refused = "
        status: 3
        --- stderr
        error: too much would be done again: --max-recompute is 50%
          caused by: words: 4 of 4 documents: the module's code changed: modules/words.py
          caused by: top: up to 4 of 4 documents: if `words` makes something else for it
        hint: nothing was run; what changed, with old and new value: pipe why words
        hint: the results are good as they are: pipe accept words
        hint: it is meant: the same again without --max-recompute
    ";
    project.pipe(&gate).shows(refused);
    project.pipe(&[&gate[..], &["-n"]].concat()).shows(refused);
    // Whoever waits for the build hears of it, too.
    let pipelinefile = project.read("Pipelinefile");
    project.write("Pipelinefile", format!("{pipelinefile}\n[notify]\ncmd = \"cat > told.json\"\n"));
    let page = project.root().join("page.md");
    let project = project.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", page.to_str().unwrap());
    let said = project.pipe(&gate).ends(3);
    let annotation = "::error title=pipe build could not finish::too much would be done again: --max-recompute is 50%25%0Awords: 4 of 4";
    assert!(said.stdout.starts_with(annotation), "{}", said.stdout);
    assert!(project.read("page.md").contains("* `words: 4 of 4 documents: "));
    let told: serde_json::Value = serde_json::from_str(&project.read("told.json")).unwrap();
    assert_eq!((&told["event"], &told["exit"]), (&"failed".into(), &3.into()));
    drop(project.pipe(&["build", "-q", "--max-recompute", "3"]).ends(3).says("--max-recompute is 3"));
    assert!(project.take_runs().is_empty());
    drop(project.pipe(&["build", "-q", "--max-recompute", "4"]).ends(0));
    assert_eq!(project.take_runs().len(), 8);
}

#[test]
fn documents_that_are_new_or_changed_are_what_a_build_is_for() {
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    project.take_runs();
    for name in ["a", "b", "c", "d", "e"] {
        project.write(&format!("inbox/{name}.txt"), format!("{name}{name}"));
    }
    project.build_with(
        &["--max-recompute", "0"],
        0,
        &[
            "words aa", "words bb", "words cc", "words dd", "words ee", "top aa 1", "top bb 1", "top cc 1",
            "top dd 1", "top ee 1",
        ],
    );
}

#[test]
fn a_fresh_checkout_hides_nothing_from_the_gate() {
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    // The same bytes under new stamps.
    for name in ["a", "b", "c", "d"] {
        project.remove(&format!("inbox/{name}.txt"));
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project.take_runs();
    project.build_with(&["--max-recompute", "0"], 0, &[]);
    for name in ["a", "b", "c", "d"] {
        project.remove(&format!("inbox/{name}.txt"));
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project.replace("modules/top.py", "upper", "title");
    let refused = project.build_with(&["--max-recompute", "50%", "--json"], 3, &[]);
    assert!(
        refused
            .stdout
            .contains(r#""causes":["top: 4 of 4 documents: the module's code changed: modules/top.py"]"#),
        "{}",
        refused.text()
    );
    // One document is no more than half of them.
    project.build_with(&["--max-recompute", "50%", "--docs", "inbox/a*"], 0, &["top a 1"]);
}

#[test]
fn a_split_counts_the_documents_that_it_splits() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [target.lines]
            each  = "inbox"
            split = true
            shell = "split -l 1 {in} {out}/l-"
            [target.upper]
            each  = "lines"
            shell = "tr a-z A-Z < {in} > {out}"
            "#,
        )
        .file("inbox/a.txt", "one\ntwo\nthree\n")
        .file("inbox/b.txt", "four\n");
    drop(project.pipe(&["build"]).ends(0));
    project.replace("Pipelinefile", "-l 1", "-l 2");
    let said = project.pipe(&["build", "-q", "--max-recompute", "1"]).ends(3);
    assert!(
        said.stderr.contains("caused by: lines: 2 of 2 documents: the module's command changed"),
        "{}",
        said.stderr
    );
    drop(project.pipe(&["why", "lines"]).ends(0).says("lines: 2 documents would be looked at, 0 up to date"));
}
