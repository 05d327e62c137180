//! Modules that say which packages they need, in a block of the script or in a list: with `uv` and without.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Project, python};

/// One target, whose module loads `thelib`.
const PIPELINEFILE: &str = "
    [source.docs]
    path = \"docs\"
    [target.up]
    each = \"docs\"
    module = \"up\"
";

/// A project with an index of small packages: `lib` in two versions, `other`, `again`.
fn project() -> Project {
    let project =
        Project::new().file("Pipelinefile", PIPELINEFILE).file("docs/a.txt", "a").file("docs/b.txt", "b");
    script(&project, &["thelib>=1"]);
    for (name, version) in [("thelib", "1"), ("thelib", "2"), ("other", "1")] {
        wheel(&project, name, version);
    }
    // It asks no server.
    let index = project.root().join("wheels");
    let cache = project.root().join("uv-cache");
    project
        .env("UV_OFFLINE", "1")
        .env("UV_FIND_LINKS", index.to_str().unwrap())
        .env("UV_CACHE_DIR", cache.to_str().unwrap())
        .env("PIPE_PYTHON", python())
}

fn script(project: &Project, needs: &[&str]) {
    let needs: Vec<String> = needs.iter().map(|one| format!("\"{one}\"")).collect();
    project.write(
        "modules/up.py",
        format!(
            "# /// script\n# dependencies = [{}]\n# ///\nfrom pipelinefile import module\nimport thelib\n\
             @module\ndef up(doc):\n    return doc.text() + ' by ' + thelib.VERSION\n",
            needs.join(", ")
        ),
    );
}

/// A wheel with one file, made by the interpreter's own zip.
fn wheel(project: &Project, name: &str, version: &str) {
    let make = format!(
        "import zipfile, os\nos.makedirs('wheels', exist_ok=True)\n\
         w = zipfile.ZipFile('wheels/{name}-{version}-py3-none-any.whl', 'w')\n\
         w.writestr('{name}.py', 'VERSION = \"{version}\"\\n')\n\
         d = '{name}-{version}.dist-info/'\n\
         w.writestr(d + 'METADATA', 'Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n')\n\
         w.writestr(d + 'WHEEL', 'Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n\
         w.writestr(d + 'RECORD', '{name}.py,,\\n' + ''.join(d + f + ',,\\n' for f in ('METADATA', 'WHEEL', 'RECORD')))\n\
         w.close()\n"
    );
    let made = Command::new(python()).args(["-c", &make]).current_dir(project.root()).status().unwrap();
    assert!(made.success());
}

/// The folder of `uv` on PATH; a test without one says so.
fn uv() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap();
    let found = std::env::split_paths(&path).find(|folder| folder.join("uv").is_file());
    if found.is_none() {
        eprintln!("skipped: there is no uv");
    }
    found
}

#[test]
fn uv_makes_the_environment_and_only_packages_that_are_loaded_count() {
    if uv().is_none() {
        return;
    }
    let project = project();
    let built = |project: &Project| project.build().ends(0).all("done").len();
    let outcome = project.pipe(&["build"]).ends(0).says("uv makes the environment of module `up`");
    assert!(!outcome.stderr.contains("No module"), "{}", outcome.stderr);
    let result = |project: &Project| project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout;
    assert_eq!(result(&project), "a by 2");
    assert!(!project.pipe(&["build"]).ends(0).stderr.contains("uv makes"));
    // One more, which nothing loads; the version that was chosen stays, though a newer one has come.
    wheel(&project, "thelib", "3");
    script(&project, &["thelib>=1", "other"]);
    assert_eq!(built(&project), 0, "a package that is not loaded");
    // Another version of what is loaded.
    script(&project, &["thelib<2", "other"]);
    assert_eq!(built(&project), 2);
    assert_eq!(result(&project), "a by 1");
    assert_eq!(project.pipe(&["try", "up", "docs/b.txt"]).ends(0).stdout.trim(), "b by 1");
    let listed = project.pipe(&["modules", "up"]).ends(0).stdout;
    assert!(listed.contains("thelib 1") && !listed.contains("other"), "{listed}");
    // What there is not.
    script(&project, &["thelib>=9"]);
    let told = project.pipe(&["build"]).ends(3).says("uv cannot make the environment of module `up`");
    assert!(told.stderr.contains("thelib>=9"), "{}", told.stderr);
    // A package that it imports and does not state.
    script(&project, &["other"]);
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("add its package to `dependencies` in modules/up.py"), "{}", told.stderr);
}

#[test]
fn a_list_of_requirements_is_taken_where_it_is_named() {
    let project = project();
    let pipelinefile = project.read("Pipelinefile");
    project.write("Pipelinefile", format!("{pipelinefile}[module.up]\nrequirements = \"needs.txt\"\n"));
    drop(project.pipe(&["check"]).ends(2).says("there is no file `needs.txt`"));
    project.write("needs.txt", "thelib==1\n");
    if uv().is_some() {
        drop(project.pipe(&["build"]).ends(0));
        assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "a by 1");
    }
    project.write(
        "Pipelinefile",
        format!("{pipelinefile}[module.up]\ncmd = \"cat {{in}}\"\nrequirements = \"needs.txt\"\n"),
    );
    drop(project.pipe(&["check"]).ends(2).says("`requirements` is for Python functions"));
}

#[test]
fn without_uv_the_interpreter_at_hand_is_asked_and_what_is_missing_is_told() {
    let project = project();
    let folder = project.root().join("bin");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink("/bin/sh", folder.join("sh")).unwrap();
    let project = project.env("PATH", folder.to_str().unwrap());
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("No module named 'thelib'"), "{}", told.stderr);
    assert!(told.stderr.contains("-m pip install 'thelib>=1'"), "{}", told.stderr);
}

/// A virtual environment with the package `thelib` in it.
fn environment(project: &Project, name: &str, version: &str) -> PathBuf {
    let folder = project.root().join(name);
    let made = Command::new(python()).args(["-m", "venv", "--without-pip"]).arg(&folder).status().unwrap();
    assert!(made.success());
    let python = std::fs::read_dir(folder.join("lib")).unwrap().next().unwrap().unwrap().file_name();
    let packages = format!("{name}/lib/{}/site-packages", python.to_str().unwrap());
    let metadata = format!("{packages}/thelib-{version}.dist-info");
    project.write(&format!("{packages}/thelib.py"), format!("VERSION = '{version}'\n"));
    project.write(&format!("{metadata}/METADATA"), format!("Name: thelib\nVersion: {version}\n"));
    project.write(&format!("{metadata}/RECORD"), "thelib.py,,\n");
    folder
}

#[test]
fn another_environment_with_another_version_runs_what_loaded_it() {
    let project = Project::new().file("Pipelinefile", PIPELINEFILE).file("docs/a.txt", "a").file(
        "modules/up.py",
        "
            import thelib
            from pipelinefile import module

            @module
            def up(doc):
                return doc.text() + ' by ' + thelib.VERSION
            ",
    );
    let [one, same, two] = [("one", "1"), ("same", "1"), ("two", "2")]
        .map(|(name, version)| environment(&project, name, version).to_str().unwrap().to_owned());
    let build = |with: &str| {
        let variable = format!("VIRTUAL_ENV={with}");
        project.pipe_through(&["env", &variable], &["build"]).ends(0).stderr
    };
    let made = || project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout;
    assert!(build(&one).contains("1 built"));
    assert!(build(&one).contains("Up to date"));
    // The first one is still there, but nothing is loaded from it any more.
    assert!(build(&two).contains("1 built"));
    assert_eq!(made(), "a by 2");
    assert!(build(&two).contains("Up to date"));
    assert!(build(&one).contains("reused"), "that was made before");
    assert_eq!(made(), "a by 1");
    assert!(build(&same).contains("Up to date"), "the same version in another folder");
}

/// An interpreter that says that it is of another version.
fn interpreter(project: &Project, version: &str) -> String {
    let name = format!("python-{version}");
    project.write(
        &name,
        format!("#!/bin/sh\n[ \"$1\" = -I ] || exec {0} \"$@\"\necho {version}\necho {0}\n", python()),
    );
    let path = project.root().join(&name);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

const PLAIN: &str = "from pipelinefile import module\n@module\ndef up(doc):\n    return doc.text().upper()\n";

#[test]
fn another_version_of_the_interpreter_runs_python_again_and_the_old_one_finds_its_results() {
    let pipelinefile = format!("{PIPELINEFILE}[target.low]\neach = \"docs\"\nshell = \"cat {{in}}\"\n");
    let project = Project::new().file("Pipelinefile", &pipelinefile).file("docs/a.txt", "a");
    project.write("modules/up.py", PLAIN);
    let [old, new] = ["3.11", "3.12"].map(|version| interpreter(&project, version));
    let build = |with: &str| {
        let variable = format!("PIPE_PYTHON={with}");
        project.pipe_through(&["env", &variable], &["build"]).ends(0).stderr
    };
    assert!(build(&old).contains("2 built"));
    assert!(build(&new).contains("1 built"), "the shell command does not run again");
    let why = project.pipe_through(&["env", &format!("PIPE_PYTHON={new}")], &["why", "docs/a.txt"]).ends(0);
    assert!(why.stdout.contains("interpreter") && why.stdout.contains("3.12"), "{}", why.stdout);
    let back = build(&old);
    assert!(back.contains("2 reused") && !back.contains("built"), "{back}");
    assert!(build(&old).contains("Up to date"));
}

#[test]
fn a_script_that_takes_other_interpreters_is_refused_before_anything_runs() {
    let project = Project::new().file("Pipelinefile", PIPELINEFILE).file("docs/a.txt", "a");
    let python = interpreter(&project, "3.11");
    let project = project.env("PIPE_PYTHON", &python);
    let script = |range: &str| {
        let block = format!("# /// script\n# requires-python = \"{range}\"\n# ///\n");
        project.write("modules/up.py", format!("{block}{PLAIN}"));
    };
    script(">=3.12");
    project
        .pipe(&["build"])
        .ends(2)
        .says("modules/up.py says `requires-python = \">=3.12\"`, and")
        .says("is Python 3.11")
        .says("hint: set PIPE_PYTHON to such an interpreter, or make .venv with it");
    project.pipe(&["try", "up", "docs/a.txt"]).ends(2).says("is Python 3.11");
    script("three");
    project.pipe(&["build"]).ends(2).says("which is no range of versions");
    script(">=3.9,<3.12");
    project.pipe(&["build"]).ends(0);
}

#[test]
fn lists_that_a_list_takes_in_are_installed_and_an_edit_of_them_counts() {
    if uv().is_none() {
        return;
    }
    let project = project();
    project.write(
        "modules/up.py",
        "from pipelinefile import module\nimport thelib\n@module\ndef up(doc):\n    return doc.text() + ' by ' + thelib.VERSION\n",
    );
    let pipelinefile = project.read("Pipelinefile");
    project.write("Pipelinefile", format!("{pipelinefile}[module.up]\nrequirements = \"needs/all.txt\"\n"));
    project.write("needs/all.txt", "-r base.txt\n");
    project.pipe(&["build"]).ends(2).says("there is no file `needs/base.txt`, which needs/all.txt takes in");
    project.write("needs/base.txt", "thelib==1\n");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "a by 1");
    project.write("needs/base.txt", "thelib==2\n");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "a by 2");
}

#[test]
fn environments_that_no_module_uses_are_collected() {
    if uv().is_none() {
        return;
    }
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    let environments = || {
        let names = std::fs::read_dir(project.root().join(".pipe/python")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("env-")).count()
    };
    assert_eq!(environments(), 4, "it, its list, its lock, and the file of who uses it");
    assert!(!project.pipe(&["gc"]).ends(0).stdout.contains("environment"));
    assert_eq!(environments(), 4);
    // It needs nothing any more.
    project.write("modules/up.py", PLAIN);
    drop(project.pipe(&["build"]).ends(0));
    let dry = project.pipe(&["gc", "--dry-run"]).ends(0).stdout;
    assert!(dry.contains("  Unused    .pipe/python/env-") && dry.contains("  thelib>=1\n"), "{dry}");
    assert!(dry.contains("1 Python environment ("), "{dry}");
    assert_eq!(environments(), 4);
    let json = project.pipe(&["gc", "--dry-run", "--json"]).ends(0).stdout;
    assert!(json.contains("\"environments\":{\"count\":1,"), "{json}");
    drop(project.pipe(&["gc"]).ends(0).says("Collected 1 Python environment ("));
    assert_eq!(environments(), 0);
    assert!(!project.pipe(&["gc"]).ends(0).stdout.contains("environment"));
    assert!(!project.pipe(&["build"]).ends(0).stderr.contains("built"));
}

/// The first that says what it needs is not the last: each time, what is loaded now is what counts.
#[test]
fn a_module_that_says_another_way_what_it_needs_runs_with_that() {
    if uv().is_none() {
        return;
    }
    // At hand there is another version.
    let project = project();
    let at_hand = environment(&project, "at-hand", "7").join("bin/python3");
    let project = project.env("PIPE_PYTHON", at_hand.to_str().unwrap());
    let plain = "from pipelinefile import module\nimport thelib\n\
                 @module\ndef up(doc):\n    return doc.text() + ' by ' + thelib.VERSION\n";
    let with = |table: &str| project.write("Pipelinefile", format!("{PIPELINEFILE}{table}"));
    let expect = |says: &str, result: &str| {
        drop(project.pipe(&["build"]).ends(0).says(says));
        assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, result);
        drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    };
    script(&project, &["thelib==1"]);
    expect("2 built", "a by 1");
    project.write("modules/up.py", plain);
    expect("2 built", "a by 7");
    script(&project, &["thelib==1"]);
    expect("2 reused", "a by 1");
    project.write("modules/up.py", plain);
    project.write("one.txt", "thelib==1\n");
    project.write("two.txt", "thelib==2\n");
    with("[module.up]\nrequirements = \"two.txt\"\n");
    expect("2 built", "a by 2");
    with("[module.up]\nrequirements = \"one.txt\"\n");
    expect("2 reused", "a by 1");
    project.write("one.txt", "thelib==2\n");
    expect("2 reused", "a by 2");
}

#[test]
fn a_store_elsewhere_has_its_environments_there() {
    if uv().is_none() {
        return;
    }
    let project = project().env("PIPE_DIR", "elsewhere/state");
    script(&project, &["thelib==1"]);
    assert_eq!(project.build().ends(0).all("done").len(), 2);
    project.write("docs/c.txt", "a");
    drop(project.pipe(&["build"]).ends(0).says("1 reused"));
    script(&project, &["thelib==2"]);
    // Two of them are the same.
    assert_eq!(project.build().ends(0).all("done").len(), 2);
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "a by 2");
}

/// A program that is taken for `uv`.
fn stands_for_uv(project: &Project, text: &str) -> String {
    project.write("bin/uv", format!("#!/bin/sh\n{text}\n"));
    let path = project.root().join("bin/uv");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", project.root().join("bin").display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_build_that_is_stopped_while_an_environment_is_made_leaves_nobody_behind() {
    let project = project();
    let path =
        stands_for_uv(&project, "[ \"$1\" = --version ] && exit 0\nsh -c 'echo > here; exec sleep 600'");
    let project = project.env("PATH", &path);
    for is_killed in [false, true] {
        let running = project.start(&["build"]);
        project.wait_for_file("here");
        project.remove("here");
        if is_killed {
            drop(running.kill());
        } else {
            running.ctrl_c();
            drop(running.end().ends(130));
        }
        project.no_process_is_left();
    }
    let told = project.pipe(&["build", "-n"]).ends(0).says("uv would make the environment of module `up`");
    assert!(!told.stderr.contains("uv makes"), "{}", told.stderr);
    assert!(!project.root().join("here").exists());
}

#[test]
fn a_shim_without_uv_behind_it_is_none() {
    let project = project();
    let path = stands_for_uv(&project, "echo 'pyenv: uv: command not found' >&2\nexit 127");
    let project = project.env("PATH", &path);
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("-m pip install 'thelib>=1'"), "{}", told.stderr);
}

#[test]
fn an_environment_in_which_a_build_runs_is_not_changed_under_it() {
    if uv().is_none() {
        return;
    }
    let project = project();
    let module = |needs: &str| {
        let code = "from pipelinefile import module\nimport os, thelib\n@module\ndef up(doc):\n    open('here', 'w').close()\n    \
                    while not os.path.exists('go'): pass\n    return doc.text() + ' by ' + thelib.VERSION\n";
        project
            .write("modules/up.py", format!("# /// script\n# dependencies = [\"{needs}\"]\n# ///\n{code}"));
    };
    module("thelib==1");
    project.write("tests/up/a.in.txt", "a");
    let running = project.start(&["build"]);
    project.wait_for_file("here");
    module("thelib==2");
    drop(project.pipe(&["test", "up"]).ends(3).says("another `pipe` runs in the environment"));
    project.write("go", "");
    drop(running.end().ends(0));
    assert_eq!(project.pipe(&["cat", "up", "docs/a.txt"]).ends(0).stdout, "a by 1");
}

#[test]
fn a_block_that_cannot_be_read_is_a_mistake() {
    let project = project();
    project.write(
        "modules/up.py",
        "# /// script\n# dependencies = [\"thelib\"\n# ///\nfrom pipelinefile import module\n\
         @module\ndef up(doc):\n    return doc.text()\n",
    );
    drop(project.pipe(&["check"]).ends(2).says("modules/up.py:2: "));
    drop(project.pipe(&["build"]).ends(2).says("modules/up.py:2: "));
}
