//! `pipe new-module`, and that what it writes passes its sample.

use crate::harness::{Project, python};

fn project() -> Project {
    Project::new()
        .file("Pipelinefile", "# mine\n[source.inbox] # here\npath = \"inbox\"\n\n[target.copy]\neach  = \"inbox\"\nshell = \"cp {in} {out}\" # so\n# the end\n")
        .file("inbox/a.txt", "a long line\nno\n")
        .env("PIPE_PYTHON", python())
}

/// The program is needed; without it the test says so.
fn is_there(program: &str) -> bool {
    let there = std::process::Command::new(program).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: there is no `{program}`");
    }
    there
}

#[test]
fn it_says_what_to_paste_and_what_comes_next() {
    let project = project();
    project.pipe(&["new-module", "clean"]).shows(
        "
        status: 0
        --- stdout
        [target.clean]
        each   = \"inbox\"
        module = \"clean\"
        --- stderr
        Wrote modules/clean.py, tests/clean/sample.in.txt, tests/clean/sample.out.txt
        This in the Pipelinefile runs it on every document; `--add` would have put it there:

        hint: pipe test clean     runs its sample
        ",
    );
    project.pipe(&["test", "clean"]).shows(
        "
        status: 0
        --- stdout
          Passed   clean: 1 sample
        --- stderr
          Summary  1 of 1 sample passed in [TIME]
        ",
    );
    // The function is a program too.
    let said = project.pipe(&["modules"]).ends(0);
    said.says("clean  takes doc, min_len = 3");
}

#[test]
fn add_keeps_comments_and_the_build_runs_it() {
    let project = project();
    project.pipe(&["new-module", "clean", "--lang", "shell", "--add", "--each", "copy"]).shows(
        "
        status: 0
        --- stderr
        Wrote modules/clean.sh, tests/clean/sample.in.txt, tests/clean/sample.out.txt
        Added target `clean` to the Pipelinefile
        hint: pipe test clean      runs its sample
        hint: pipe build clean     runs it on every document
        ",
    );
    assert_eq!(
        project.read("Pipelinefile"),
        "# mine\n[source.inbox] # here\npath = \"inbox\"\n\n[target.copy]\neach  = \"inbox\"\nshell = \"cp {in} {out}\" # so\n\n\
         [target.clean]\neach   = \"copy\"\nmodule = \"clean\"\n\n[module.clean]\n\
         cmd    = \"sh modules/clean.sh {in} {out} {param.min_len}\"\nparams = { min_len = 3 }\n# the end\n"
    );
    project.pipe(&["test"]).ends(0).says("Passed   clean: 1 sample");
    project.pipe(&["build", "-q"]).ends(0);
    project.pipe(&["cat", "clean", "a.txt"]).ends(0).says("a long line\n");
    project.pipe(&["log", "a.txt", "--target", "clean"]).ends(0).says("kept 1 lines");
}

#[test]
fn in_javascript_too() {
    if !is_there("node") {
        return;
    }
    let project = project();
    project.pipe(&["new-module", "clean", "--lang", "node", "--add"]).ends(0);
    project.pipe(&["test"]).ends(0).says("Passed   clean: 1 sample");
    project.write("inbox/b.txt", "left\u{2028}right\n");
    project.pipe(&["build", "-q"]).ends(0);
    assert_eq!(project.pipe(&["cat", "clean", "b.txt"]).ends(0).stdout, "left\u{2028}right\n");
}

#[test]
#[ignore = "compiles a crate, which it gets from the network"]
fn in_rust_too() {
    let project = project().env("CARGO_HOME", &std::env::var("CARGO_HOME").unwrap_or_default());
    project.pipe(&["new-module", "clean", "--lang", "rust", "--add"]).ends(0);
    project.pipe(&["test"]).ends(0).says("Passed   clean: 1 sample");
}

#[test]
fn nothing_is_overwritten() {
    let project = project().file("tests/clean/sample.in.txt", "mine");
    let before = project.read("Pipelinefile");
    project.pipe(&["new-module", "clean", "--add"]).shows(
        "
        status: 2
        --- stderr
        error: `tests/clean/sample.in.txt` is there already, and nothing is overwritten
        hint: choose another name
        ",
    );
    project
        .pipe(&["new-module", "copy", "--add"])
        .ends(2)
        .says("cannot add it to the Pipelinefile: there is a target `copy` already");
    project.pipe(&["new-module", "inbox", "--add"]).ends(2).says("a source is called `inbox` already");
    assert_eq!(project.read("Pipelinefile"), before);
    assert!(!project.root().join("modules").exists());
}

#[test]
fn what_cannot_be_meant_is_said() {
    let project = project();
    project.pipe(&["new-module", "my-words"]).shows(
        "
        status: 2
        --- stderr
        error: `my-words` is no name for a module
        hint: pipe new-module my_words
        ",
    );
    project.pipe(&["new-module", "../x"]).ends(2).says("hint: pipe new-module x");
    project.pipe(&["new-module", "x", "--add", "--each", "inbux"]).ends(2).says("did you mean `inbox`?");
    let pipelinefile = project.read("Pipelinefile");
    project.write("Pipelinefile", pipelinefile + "[source.mail]\npath = \"mail\"\n");
    project.pipe(&["new-module", "x", "--add"]).shows(
        "
        status: 2
        --- stderr
        error: there are several sources: say which one the target takes
        hint: pipe new-module x --add --each inbox     or mail
        ",
    );
    Project::new().pipe(&["new-module", "x"]).ends(2).says("Pipelinefile").says("pipe init");
}
