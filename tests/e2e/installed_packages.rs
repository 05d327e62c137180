//! Which version of a package a module would load today decides, wherever the interpreter keeps it and however it is found.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Project, python};

const PIPELINEFILE: &str = "
    [source.docs]
    path = \"docs\"
    [target.up]
    each = \"docs\"
    module = \"up\"
";

fn project() -> Project {
    Project::new().file("Pipelinefile", PIPELINEFILE).file("docs/a.txt", "a").file(
        "modules/up.py",
        "
            import thelib
            from pipelinefile import module

            @module
            def up(doc):
                return doc.text() + ' by ' + thelib.VERSION
            ",
    )
}

/// Puts the package `thelib` into a folder, in place of any other version of it.
fn install(folder: &Path, version: &str) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("thelib-") {
            std::fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let metadata = folder.join(format!("thelib-{version}.dist-info"));
    std::fs::create_dir(&metadata).unwrap();
    std::fs::write(metadata.join("METADATA"), format!("Name: thelib\nVersion: {version}\n")).unwrap();
    std::fs::write(metadata.join("RECORD"), "thelib.py,,\n").unwrap();
    std::fs::write(folder.join("thelib.py"), format!("VERSION = '{version}'\n")).unwrap();
    // Python would go by the second of its time stamp.
    drop(std::fs::remove_dir_all(folder.join("__pycache__")));
}

/// The folder of packages of a virtual environment that is made.
fn environment(project: &Project, name: &str) -> std::path::PathBuf {
    let folder = project.root().join(name);
    let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&folder).status().unwrap();
    assert!(made.success());
    let lib = std::fs::read_dir(folder.join("lib")).unwrap().next().unwrap().unwrap().path();
    lib.join("site-packages")
}

fn script(project: &Project, name: &str, text: &str) {
    project.write(name, text);
    std::fs::set_permissions(project.root().join(name), PermissionsExt::from_mode(0o755)).unwrap();
}

#[track_caller]
fn builds(project: &Project, words: &[&str], says: &str, result: &str) {
    let told = project.pipe_through(words, &["build"]).ends(0);
    assert!(told.stderr.contains(says), "{}", told.text());
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, result);
}

#[test]
fn an_upgrade_behind_a_shim_is_seen() {
    let project = project();
    let packages = environment(&project, "env");
    script(
        &project,
        "shim",
        &format!("#!/bin/sh\nexec '{}/env/bin/python3' \"$@\"\n", project.root().display()),
    );
    let project = project.env("PIPE_PYTHON", "./shim");
    for (version, result) in [("1.0", "a by 1.0"), ("2.0", "a by 2.0"), ("3.0", "a by 3.0")] {
        install(&packages, version);
        builds(&project, &["env"], "1 built", result);
        builds(&project, &["env"], "Up to date", result);
    }
    install(&packages, "4.0");
    drop(project.pipe(&["why", "docs/a.txt"]).ends(0).says("3.0 → 4.0"));
}

#[test]
fn two_installations_that_are_no_virtual_environments_are_two() {
    let project = project();
    let base = |name: &str, version: &str| {
        let variable = format!("PYTHONUSERBASE={}", project.root().join(name).display());
        let ask = "import site; print(site.getusersitepackages())";
        let asked = Command::new("env").args([&variable, python(), "-c", ask]).output().unwrap();
        let folder = String::from_utf8(asked.stdout).unwrap();
        std::fs::create_dir_all(folder.trim()).unwrap();
        install(Path::new(folder.trim()), version);
        variable
    };
    let [one, two, same] = [base("one", "1.0"), base("two", "2.0"), base("same", "2.0")];
    let with = |variable: &str| ["env".to_owned(), variable.to_owned(), format!("PIPE_PYTHON={}", python())];
    for (variable, says, result) in [
        (&one, "1 built", "a by 1.0"),
        (&two, "1 built", "a by 2.0"),
        (&same, "Up to date", "a by 2.0"),
        (&one, "1 reused", "a by 1.0"),
    ] {
        let words = with(variable);
        builds(&project, &words.each_ref().map(String::as_str), says, result);
    }
}

#[test]
fn a_project_that_is_renamed_or_copied_runs_nothing_again() {
    let project = project();
    install(&environment(&project, ".venv"), "1.0");
    builds(&project, &["env"], "1 built", "a by 1.0");
    // Its environment is made anew there, as environments must be.
    let other = Project::new();
    for name in ["Pipelinefile", "modules", "docs", ".pipe"] {
        let copied =
            Command::new("cp").arg("-a").arg(project.root().join(name)).arg(other.root()).status().unwrap();
        assert!(copied.success());
    }
    install(&environment(&other, ".venv"), "1.0");
    std::fs::remove_dir_all(project.root().join(".venv")).unwrap();
    builds(&other, &["env"], "Up to date", "a by 1.0");
    other.write("docs/b.txt", "a");
    builds(&other, &["env"], "1 reused", "a by 1.0");
}

#[test]
fn what_a_package_carries_with_it_is_not_taken_for_the_package_of_the_environment() {
    let project = project();
    let packages = environment(&project, ".venv");
    install(&packages, "2.0");
    let carried = packages.join("big/_vendor");
    std::fs::create_dir_all(&carried).unwrap();
    install(&carried, "1.0");
    project.write(
        "modules/up.py",
        "import os, sys\nimport sysconfig\nsys.path.insert(0, os.path.join(sysconfig.get_path('purelib'), 'big/_vendor'))\n\
         import thelib\nfrom pipelinefile import module\n@module\ndef up(doc):\n    return doc.text() + ' by ' + thelib.VERSION\n",
    );
    builds(&project, &["env"], "1 built", "a by 1.0");
    builds(&project, &["env"], "Up to date", "a by 1.0");
    project.write("docs/b.txt", "a");
    builds(&project, &["env"], "1 reused", "a by 1.0");
}

#[test]
fn what_could_not_be_imported_is_tried_again_when_it_is_installed() {
    let project = project();
    let packages = environment(&project, ".venv");
    project.write(
        "modules/up.py",
        "from pipelinefile import module\n@module\ndef up(doc):\n    import thelib\n    return doc.text() + ' by ' + thelib.VERSION\n",
    );
    drop(project.pipe(&["build"]).ends(1).says("No module named 'thelib'"));
    drop(project.pipe(&["build"]).ends(1).says("Up to date"));
    install(&packages, "1.0");
    builds(&project, &["env"], "1 built", "a by 1.0");
    builds(&project, &["env"], "Up to date", "a by 1.0");
}
