use std::io::{BufRead, BufReader};

use crate::harness::Project;

#[test]
fn pipe_alone_shows_the_commands_of_every_day() {
    let outcome = Project::new().pipe(&[]).ends(0).says("pipe check   Read the Pipelinefile");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn a_wrong_command_line_is_exit_2() {
    let project = Project::new();
    let outcome = project.pipe(&["chek"]).ends(2).says("'check'");
    assert_eq!(outcome.stdout, "");
    let json = project.pipe(&["--json", "chek"]).ends(2);
    let error: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&error["type"], &error["exit"]), (&"error".into(), &2.into()));
    assert_eq!(json.stderr, "");
    project.pipe(&["check"]).ends(2).says("there is no Pipelinefile in `[ROOT]` or above it");
}

#[test]
fn errors_are_one_json_object_where_json_is_asked_for() {
    Project::new().pipe(&["graph", "--json", "-f", "none"]).shows(
        r#"
        status: 2
        --- stdout
        {"v":1,"type":"error","exit":2,"message":"cannot read `none`: no such file or directory","causes":[],"hints":[]}
        "#,
    );
}

#[test]
fn the_project_is_found_from_below() {
    let project = Project::new();
    project.pipe(&["-q", "init"]).shows("status: 0\n");
    project.pipe(&["-C", "inbox/notes", "check"]).shows(
        "
        status: 0
        --- stdout
        ../../Pipelinefile: 1 source, 3 targets, 3 modules: no mistakes
        ",
    );
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let project = Project::new();
    project.pipe(&["-q", "init"]).shows("status: 0\n");
    let mut child = project.command(&["completions", "zsh"]).spawn().unwrap();
    let mut line = String::new();
    // Dropped with the reader: the rest meets a closed pipe.
    BufReader::with_capacity(64, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "#compdef pipe\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn colour_is_there_only_when_it_is_asked_for() {
    let project = Project::new();
    assert!(!project.pipe(&["check"]).stderr.contains('\u{1b}'));
    assert!(project.pipe(&["check", "--color", "always"]).stderr.contains('\u{1b}'));
    let project = project.env("PIPE_COLOR", "always");
    assert!(project.pipe(&["check"]).stderr.contains('\u{1b}'));
    assert!(!project.pipe(&["check", "--color", "never"]).stderr.contains('\u{1b}'));
}

#[test]
fn every_shell_gets_completions() {
    let project = Project::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        project.pipe(&["completions", shell]).ends(0).says("modules");
    }
}
