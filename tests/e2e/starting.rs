//! Modules that cannot start: said once, with their own words; other targets go on; nothing is blamed on a document.

use crate::harness::{Ended, Project};

/// Six documents, one target that works and one that `broken` describes.
fn project(broken: &str) -> Project {
    let project = Project::new()
        .counted(
            "fine",
            "
            @module
            def fine(doc):
                return ran('fine', doc.text()) + '!'
            ",
        )
        .file("modules/broken.py", "");
    project.write(
        "Pipelinefile",
        format!(
            "[source.docs]\npath = \"docs\"\n[target.broken]\neach = \"docs\"\n{broken}\n[target.fine]\neach = \"docs\"\nmodule = \"fine\"\npublish = true\n"
        ),
    );
    for n in 0..6 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    project
}

/// It ended with 3; the other target did its work; no document failed; the words were said once.
#[track_caller]
fn others_went_on(project: &Project, words: &str) -> Ended {
    let ended = project.build().ends(3);
    assert_eq!(project.names("out").len(), 6, "{}", ended.text());
    assert_eq!(ended.failures(), Vec::<String>::new());
    assert_eq!(ended.finished()["stopped"]["why"], "module", "{}", ended.text());
    assert_eq!(ended.finished()["stopped"]["target"], "broken");
    assert_eq!(ended.finished()["unfinished"], 6, "{}", ended.text());
    assert!(ended.text().contains(words), "{}", ended.text());
    project.no_process_is_left();
    project.take_counts("fine");
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains(words), "{}", told.text());
    assert_eq!(told.stderr.matches("cannot go on").count(), 1, "{}", told.text());
    assert_eq!(project.counts("fine"), Vec::<String>::new(), "what is done stays done");
    ended
}

const MODULE: &str = "module = \"broken\"\npublish = \"out2/{id.rel}\"";

/// Then it is mended, and only it runs.
#[track_caller]
fn mended(project: &Project) {
    project.edit_module(
        "broken",
        "
        @module
        def broken(doc):
            return ran('broken', doc.text())
        ",
    );
    project.take_counts("fine");
    drop(project.build().ends(0));
    assert_eq!(project.counts("broken").len(), 6);
    assert_eq!(project.counts("fine"), Vec::<String>::new());
}

#[test]
fn an_import_that_fails() {
    let project = project(MODULE);
    project.edit_module(
        "broken",
        "
        import no_such_package_anywhere

        @module
        def broken(doc):
            return doc.text()
        ",
    );
    others_went_on(&project, "No module named 'no_such_package_anywhere'");
    mended(&project);
}

#[test]
fn a_module_that_exits_while_it_is_loaded() {
    let project = project(MODULE);
    project.edit_module(
        "broken",
        "
        print('loading goes wrong', flush=True)
        os._exit(7)

        @module
        def broken(doc):
            return doc.text()
        ",
    );
    others_went_on(&project, "loading goes wrong");
    mended(&project);
}

#[test]
fn a_setup_that_raises() {
    let project = project(MODULE);
    project.edit_module(
        "broken",
        "
        def load():
            raise RuntimeError('the model is not here')

        @module(setup=load)
        def broken(doc, model):
            return doc.text()
        ",
    );
    others_went_on(&project, "the model is not here");
    mended(&project);
}

#[test]
fn a_command_that_is_not_there() {
    let project = project("cmd = \"no-such-program-anywhere {in} {out}\"");
    others_went_on(&project, "no-such-program-anywhere");
}

#[test]
fn a_worker_command_that_is_not_there() {
    let project = project("cmd = \"no-such-worker-anywhere --fast\"");
    others_went_on(&project, "no-such-worker-anywhere");
}

#[test]
fn a_worker_that_is_none() {
    let project = project("cmd = \"true\"");
    let ended = project.build().ends(3);
    assert_eq!(project.names("out").len(), 6, "{}", ended.text());
    assert_eq!(ended.failures(), Vec::<String>::new(), "{}", ended.text());
}

#[test]
fn an_interpreter_that_is_not_there() {
    let project = project(MODULE).env("PIPE_PYTHON", "/nowhere/python3");
    project.edit_module(
        "broken",
        "
        @module
        def broken(doc):
            return doc.text()
        ",
    );
    let told = project.pipe(&["build"]).ends(2).says("/nowhere/python3");
    assert!(told.stderr.contains("PIPE_PYTHON"), "{}", told.text());
    project.no_process_is_left();
    let project = project.env("PIPE_PYTHON", "").env("PATH", "/nowhere");
    drop(project.pipe(&["build"]).ends(2).says("or set PIPE_PYTHON"));
}

#[test]
fn our_own_package_is_compiled_once_where_python_keeps_nothing_compiled() {
    let project = project(MODULE).env("PYTHONDONTWRITEBYTECODE", "1");
    project.edit_module(
        "broken",
        "
        import sys

        @module
        def broken(doc):
            return f'{doc.text()} {sys.dont_write_bytecode}'
        ",
    );
    drop(project.build().ends(0));
    let package = project.only_name(".pipe/python");
    assert_eq!(project.names(&format!(".pipe/python/{package}/pipelinefile/__pycache__")).len(), 1);
    assert!(!project.root().join("modules/__pycache__").exists(), "code of the project is left alone");
    assert!(project.files("out2").values().all(|text| text.ends_with(b" True")));
}
