//! `JUnit` files of real runs, held against a schema by xmllint: a reader that is not ours.

use std::path::Path;
use std::process::Command;

use crate::harness::Project;

/// What xmllint says of a file; nothing where it is not installed (`scripts/test` installs it).
fn validated(file: &Path) -> Option<(bool, String)> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/junit.xsd");
    let output = Command::new("xmllint").arg("--noout").arg("--schema").arg(schema).arg(file).output();
    let Ok(output) = output else {
        eprintln!("xmllint is not installed: no JUnit file is validated");
        return None;
    };
    Some((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn is_valid(project: &Project, words: &[&str]) -> String {
    let all = [&["report"], words, &["--format", "junit", "-o", "junit.xml"]].concat();
    drop(project.pipe(&all).ends(0));
    if let Some((is_valid, said)) = validated(&project.root().join("junit.xml")) {
        assert!(is_valid, "{said}\n{}", project.read("junit.xml"));
    }
    project.read("junit.xml")
}

#[test]
fn what_a_run_came_to_is_valid_whatever_documents_and_errors_are_called() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.read]\neach = \"inbox\"\nmodule = \"read\"\n\
             [target.copy]\neach = \"read\"\nshell = \"cat {in}\"\n",
        )
        .module(
            "read",
            "from pipelinefile import Skip\n@module\ndef read(doc):\n    text = doc.text()\n    if 'bad' in text:\n        \
             raise ValueError('<\"&\\x00\\x1b[2J]]>\\ufffe \\U0001f4c4\\n second')\n    if 'skip' in text:\n        \
             raise Skip('empty')\n    return text\n",
        )
        .file("inbox/good.txt", "good")
        .file("inbox/skip.txt", "skip")
        .file("inbox/<a> & \"b\".txt", "bad 1")
        .file("inbox/]]>\u{1f4c4}\n.txt", "bad 2");
    drop(project.pipe(&["build"]).ends(1));
    let page = is_valid(&project, &["1"]);
    assert!(page.contains("tests=\"4\" failures=\"2\" errors=\"0\""), "{page}");
    // Compared with itself nothing is new.
    let page = is_valid(&project, &["1", "--compare", "1"]);
    assert!(page.contains("tests=\"4\" failures=\"0\"") && page.contains("skipped=\"2\""), "{page}");
    // A run that could not finish, with failures of before behind it.
    project.write("inbox/more.txt", "more");
    project.replace("Pipelinefile", "cat {in}", "nosuch-program {in}");
    project.replace(
        "Pipelinefile",
        "shell = \"nosuch-program {in}\"",
        "module = \"gone\"\n[module.gone]\ncmd = \"nosuch-program\"",
    );
    drop(project.pipe(&["build"]).ends(3));
    let page = is_valid(&project, &["2"]);
    assert!(page.contains("errors=\"1\"") && page.contains("<error message="), "{page}");
    drop(is_valid(&project, &["2", "--compare", "1"]));
}

#[test]
fn the_schema_refuses_what_ci_would_misread() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("junit.xml");
    let case = |inside: &str| {
        format!(
            "<testsuites name=\"a\" tests=\"1\" failures=\"0\" errors=\"0\" time=\"0.000\"><testsuite name=\"b\" tests=\"1\" \
             failures=\"0\" errors=\"0\" skipped=\"0\" time=\"1.500\">{inside}</testsuite></testsuites>"
        )
    };
    for (inside, is_fine) in [
        ("<testcase name=\"c\" classname=\"b\" time=\"0.100\"/>", true),
        ("<testcase name=\"c\" classname=\"b\" time=\"1e-7\"/>", false),
        ("<testcase classname=\"b\" time=\"0.100\"/>", false),
        ("<testcase name=\"c\" classname=\"b\" time=\"0.100\"><failed/></testcase>", false),
        ("<testcase name=\"c\" classname=\"b\" time=\"0.100\"><skipped message=\"x\"/></testcase>", true),
    ] {
        std::fs::write(&file, case(inside)).unwrap();
        let Some((is_valid, said)) = validated(&file) else { return };
        assert_eq!(is_valid, is_fine, "{inside}: {said}");
    }
}
