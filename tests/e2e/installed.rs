//! Modules that nobody registered: entry points of installed packages, programs on PATH; the environment at hand.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{Project, python};

/// A project with an environment in `.venv` and a package `mailtools` in it.
fn project(pipeline: &str) -> Project {
    let project =
        Project::new().file("Pipelinefile", pipeline).file("docs/a.txt", "Re: hello").file("docs/b.txt", "x");
    let venv = project.root().join(".venv");
    let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&venv).status().unwrap();
    assert!(made.success());
    let version = std::fs::read_dir(venv.join("lib")).unwrap().next().unwrap().unwrap().file_name();
    let packages = format!(".venv/lib/{}/site-packages", version.to_str().unwrap());
    project.write(&format!("{packages}/mailtools/__init__.py"), "");
    project.write(
        &format!("{packages}/mailtools/words.py"),
        "def strip(text): return text.replace('Re: ', '')\n",
    );
    project.write(
        &format!("{packages}/mailtools/threads.py"),
        "from pipelinefile import module\nfrom .words import strip\n@module\ndef thread(doc, *, mark: str = '!'):\n    \
         return strip(doc.text()) + mark\n",
    );
    project.write(
        &format!("{packages}/mailtools-1.2.dist-info/RECORD"),
        "mailtools/__init__.py,,\nmailtools/threads.py,,\n",
    );
    project.write(
        &format!("{packages}/mailtools-1.2.dist-info/entry_points.txt"),
        "[pipelinefile.modules]\nmail:thread = mailtools.threads:thread\nunused = mailtools.threads:thread\n",
    );
    project
}

const MAIL: &str =
    "[source.docs]\npath = \"docs\"\n[target.thread]\neach = \"docs\"\nmodule = \"mail:thread\"\n";

#[test]
fn an_entry_point_is_used_by_name_alone() {
    let project = project(MAIL);
    drop(project.pipe(&["check"]).ends(0));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "thread", "docs/a.txt"]).ends(0).stdout, "hello!");
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    let listed = project.pipe(&["modules"]).ends(0).stdout;
    assert!(listed.contains("mail:thread") && listed.contains("version mailtools==1.2"), "{listed}");
    assert!(listed.contains("Found, used by no target") && listed.contains("unused"), "{listed}");
    // A parameter, and one that it has not.
    project.write("Pipelinefile", format!("{MAIL}params = {{ mark = \"?\" }}\n"));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "thread", "docs/b.txt"]).ends(0).stdout, "x?");
    project.write("Pipelinefile", format!("{MAIL}params = {{ marc = \"?\" }}\n"));
    drop(project.pipe(&["build"]).ends(3).says("`thread` has no param `marc`: did you mean `mark`?"));
}

#[test]
fn a_program_on_path_is_a_worker_by_its_name() {
    let project = Project::new()
        .file("docs/a.txt", "a")
        .file("Pipelinefile", "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"upper\"\n")
        .file(
            "bin/pipe-module-upper",
            "#!/bin/sh\nread describe; echo '{\"describe\":{\"name\":\"upper\"}}'\nread setup; echo '{\"ready\":1}'\n\
             while read -r line; do id=${line#*\\\"id\\\":}; id=${id%%,*}; echo \"{\\\"id\\\":$id,\\\"output\\\":{\\\"text\\\":\\\"UP\\\"}}\"; done\n",
        );
    let program = project.root().join("bin/pipe-module-upper");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(project.pipe(&["check"]).ends(2).says("there is no module `upper`"));
    let path = format!("{}:{}", project.root().join("bin").display(), std::env::var("PATH").unwrap());
    let project = project.env("PATH", &path);
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "UP");
    drop(project.pipe(&["modules"]).ends(0).says("upper  worker: pipe-module-upper"));
}

#[test]
fn a_package_that_is_missing_is_told_with_the_command_that_installs_it() {
    let project =
        project("[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n");
    project.write("modules/read.py", "from pipelinefile import module\nimport nowhere_to_be_found.sub\n@module\ndef read(doc): return ''\n");
    let told = project.pipe(&["build"]).ends(3);
    assert!(
        told.stderr.contains("No module named 'nowhere_to_be_found', neither in the project nor in"),
        "{}",
        told.stderr
    );
    assert!(told.stderr.contains(".venv/bin/python3 -m pip install nowhere_to_be_found"), "{}", told.stderr);
}

#[test]
fn what_a_script_says_of_itself_is_listed() {
    let project = Project::new().file("Pipelinefile", "").file(
        "modules/clean.py",
        "# /// script\n# dependencies = []\n# [tool.pipe]\n# accepts = \"*.txt\"\n# returns = \"text\"\n# ///\n\
         from pipelinefile import module\n@module\ndef clean(doc, *, n: int = 2): return ''\n",
    );
    drop(project.pipe(&["modules"]).ends(0).says("clean  takes doc, accepts *.txt, returns text, n = 2"));
}

#[test]
fn a_folder_with_a_module_toml_is_a_module_in_any_language() {
    let project = Project::new()
        .file("docs/a.txt", "a b")
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"upper\"\n",
        )
        .file(
            "modules/upper/module.toml",
            "cmd = \"sh main.sh {in} {out}\"\naccepts = \"*.txt\"\nreturns = \"text\"\n",
        )
        .file("modules/upper/main.sh", ". modules/upper/lib.sh\nup < $1 > $2\n")
        .file("modules/upper/lib.sh", "up() { tr a-z A-Z; }\n")
        .file("modules/idle/module.toml", "cmd = \"sh run.sh {in} {param.size}\"\nversion = \"3\"\n")
        .file("modules/idle/run.sh", "cat\n")
        .file("modules/broken/module.toml", "comd = \"x\"\n");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "A B");
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    // Everything in the folder is its code.
    project.write("modules/upper/lib.sh", "up() { tr a-z A-Z | tr B C; }\n");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "A C");
    let listed = project.pipe(&["modules"]).ends(0).stdout;
    for told in [
        "upper  filter: sh modules/upper/main.sh {in} {out}  accepts *.txt, returns text",
        "size, version 3",
        "modules/broken/module.toml: `comd` is not known: did you mean `cmd`?",
    ] {
        assert!(listed.contains(told), "{told}\n{listed}");
    }
    project.write("modules/upper/module.toml", "version = \"1\"\n");
    drop(project.pipe(&["check"]).ends(2).says("modules/upper/module.toml: it has no `cmd`"));
}
