//! `pipe accept`: outputs of older code are valid under the new code, and everything that is not covered by that.

use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each    = "inbox"
    module  = "up"
    params  = { end = "." }

    [target.after]
    each    = "up"
    module  = "after"
    publish = true
"#;

const UP: &str = r#"
    @module
    def up(doc, *, end=""):
        ran(doc)
        if doc.text() == "bad":
            raise ValueError("no")
        if doc.text() == "none":
            raise Skip("empty")
        return doc.text().upper() + end
"#;

const AFTER: &str = r"
    @module
    def after(doc):
        ran(doc)
        return doc.text()
";

fn built() -> Project {
    let project = Project::counting()
        .file("Pipelinefile", PIPELINE)
        .module("up", UP)
        .module("after", AFTER)
        .file("inbox/a.txt", "a")
        .file("inbox/b.txt", "b");
    project.build_runs(&["up a", "up b", "after A.", "after B."]);
    project
}

fn edit(project: &Project, more: &str) {
    project.write_module("up", &format!("{}\n    '{more}'\n", UP.trim_end()));
}

#[test]
fn accepted_outputs_stand_and_nothing_runs() {
    let project = built();
    edit(&project, "a comment");
    project.pipe(&["accept", "up", "-n"]).shows(
        "
        status: 0
        --- stdout
        up: would accept: 2 outputs
          the code changed: modules/up.py
    ",
    );
    project.pipe(&["accept", "up"]).shows(
        "
        status: 0
        --- stdout
        up: accepted: 2 outputs
          the code changed: modules/up.py
        --- stderr
        hint: pipe build     has them in the logs of their documents, and does what is left
    ",
    );
    project.pipe(&["why", "inbox/a.txt"]).ends(0).says("would take its result of run 1: accepted");
    project.build_runs(&[]);
    project.build_runs(&[]);
    project
        .pipe(&["log", "inbox/b.txt"])
        .ends(0)
        .says("accepted its result of run 1")
        .says("pipe accept, though the module's code changed: modules/up.py");
    project.pipe(&["why", "inbox/b.txt"]).ends(0).says("accepted").says("modules/up.py");
    project.pipe(&["status"]).ends(0).says("up to date");
    // A document that comes later is made by the new code.
    project.write("inbox/c.txt", "c");
    project.build_runs(&["up c", "after C."]);
    project.is_as_built_clean();
}

#[test]
fn what_is_not_an_output_is_decided_by_the_new_code() {
    let project = built();
    project.write("inbox/bad.txt", "bad");
    project.write("inbox/none.txt", "none");
    project.build_with(&[], 1, &["up bad", "up none"]);
    edit(&project, "a comment");
    project.pipe(&["accept", "up"]).ends(0).says("2 failed or skipped: the new code decides");
    project.build_with(&[], 1, &["up bad", "up none"]);
}

#[test]
fn other_params_and_later_results_of_the_old_code_are_not_covered() {
    let project = built();
    edit(&project, "a comment");
    project.pipe(&["accept", "up"]).ends(0);
    project.replace("Pipelinefile", "end = \".\"", "end = \"!\"");
    project.build_runs(&["up a", "up b", "after A!", "after B!"]);
    project.replace("Pipelinefile", "end = \"!\"", "end = \".\"");
    project.build_runs(&[]);
    // Back to the old code, by which one more is made, and then on to the new.
    project.write_module("up", UP);
    project.write("inbox/c.txt", "c");
    project.build_runs(&["up c", "after C."]);
    edit(&project, "a comment");
    project.build_runs(&["up c"]);
}

#[test]
fn code_that_changes_again_is_not_accepted() {
    let project = built();
    edit(&project, "a comment");
    project.pipe(&["accept", "up"]).ends(0);
    project.build_runs(&[]);
    edit(&project, "another");
    project.build_runs(&["up a", "up b"]);
}

#[test]
fn accepted_outputs_may_be_accepted_again() {
    let project = built();
    for comment in ["one", "two", "three"] {
        edit(&project, comment);
        project.pipe(&["accept", "up"]).ends(0).says("up: accepted: 2 outputs");
        project.build_runs(&[]);
    }
    project.pipe(&["accept", "up"]).ends(0).says("nothing to accept");
}

#[test]
fn a_later_redo_beats_an_accept_and_an_earlier_one_does_not() {
    let project = built();
    edit(&project, "a comment");
    project.pipe(&["redo", "up"]).ends(0);
    project.pipe(&["accept", "up"]).ends(0);
    project.build_runs(&[]);
    project.pipe(&["redo", "up", "--docs", "inbox/a*"]).ends(0);
    project.build_runs(&["up a"]);
    project.pipe(&["redo", "up"]).ends(0);
    project.build_runs(&["up a", "up b"]);
    project.build_runs(&[]);
}

#[test]
fn a_module_that_only_a_worker_had_loaded_is_accepted_as_well() {
    let project = Project::counting().file("Pipelinefile", PIPELINE).module("after", AFTER);
    let late = UP.replace(
        "ran(doc)\n",
        "ran(doc)\n        import importlib; importlib.import_module('mod' + 'ules.late')\n",
    );
    let late = late.replace("    @module", "    import sys; sys.path.insert(0, os.getcwd())\n    @module");
    project.write_module("up", &late);
    project.write("modules/late.py", "X = 1\n");
    project.write("inbox/a.txt", "a");
    project.build_runs(&["up a", "after A."]);
    project.write("modules/late.py", "X = 1\n'the same'\n");
    project.pipe(&["accept", "up"]).ends(0).says("modules/late.py");
    project.build_runs(&[]);
    project.write("inbox/b.txt", "b");
    project.build_runs(&["up b", "after B."]);
    project.write("modules/late.py", "X = 2\n");
    project.build_runs(&["up a", "up b"]);
}

#[test]
fn a_split_a_set_and_a_route_are_accepted_like_any_other() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.parts]
            each   = "inbox"
            split  = true
            module = "parts"

            [target.kind]
            each  = "parts"
            route = [{ where = { id = "inbox/*#x" }, module = "up" }, { do = "pass" }]

            [target.joined]
            all     = "kind"
            module  = "joined"
            publish = "out/joined.txt"
        "#,
        )
        .module(
            "parts",
            "@module\ndef parts(doc):\n    ran(doc)\n    yield Child('x', 'x')\n    yield Child('y', 'y')\n",
        )
        .module("up", "@module\ndef up(doc):\n    ran(doc)\n    return doc.text().upper()\n")
        .module(
            "joined",
            "@module\ndef joined(docs):\n    ran('all')\n    return ''.join(doc.text() for doc in docs)\n",
        )
        .file("inbox/a.txt", "a");
    project.build_runs(&["parts a", "up x", "joined all"]);
    for name in ["parts", "up", "joined"] {
        let code = project.read(&format!("modules/{name}.py"));
        project.write(&format!("modules/{name}.py"), code + "'a text'\n");
    }
    let told = project.pipe(&["accept", "parts", "up", "joined"]).ends(0).stdout;
    assert!(told.contains("parts: accepted: 1 output\n"), "children are no outputs of it: {told}");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "Xy");
    project.is_as_built_clean();
    project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0);
    project.build_runs(&[]);
}

#[test]
fn of_a_route_only_the_modules_that_are_named_are_accepted() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.text]
            each  = "inbox"
            route = [{ where = { id = "inbox/x*" }, module = "ocr" }, { module = "plain" }]

            [target.low]
            each   = "text"
            module = "low"
        "#,
        )
        .module("ocr", "@module\ndef ocr(doc):\n    ran(doc)\n    return doc.text().upper()\n")
        .module("plain", "@module\ndef plain(doc):\n    ran(doc)\n    return doc.text()\n")
        .module("low", "@module\ndef low(doc):\n    ran(doc)\n    return doc.text().lower()\n")
        .file("inbox/x.txt", "Ax")
        .file("inbox/y.txt", "Ay");
    project.build_runs(&["ocr Ax", "plain Ay", "low AX", "low Ay"]);
    for name in ["ocr", "plain", "low"] {
        let code = project.read(&format!("modules/{name}.py"));
        project.write(&format!("modules/{name}.py"), code + "'a text'\n");
    }
    project.pipe(&["accept", "ocr", "low"]).ends(0).says("text: accepted: 1 output");
    project.build_runs(&["plain Ay"]);
}

#[test]
fn what_is_unknown_is_refused() {
    let project = built();
    project.pipe(&["accept", "upp"]).ends(2).says("did you mean `up`?");
    project.pipe(&["accept"]).ends(2);
    project.pipe(&["accept", "after"]).shows(
        "
        status: 0
        --- stdout
        after: nothing to accept: its outputs are of the present code
    ",
    );
}
