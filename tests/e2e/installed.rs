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
        "# /// script\n# [tool.pipe]\n# accepts = \"*.eml\"\n# ///\n\
         from pipelinefile import module\nfrom .words import strip\n@module\ndef thread(doc, *, mark: str = '!'):\n    \
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
    assert!(
        listed.contains("mail:thread  python: `thread` in mailtools.threads  takes doc, accepts *.eml, mark = '!', version mailtools==1.2"),
        "{listed}"
    );
    assert!(listed.contains("Found, used by no target") && listed.contains("unused"), "{listed}");
    // A parameter, and one that it has not.
    project.write("Pipelinefile", format!("{MAIL}params = {{ mark = \"?\" }}\n"));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "thread", "docs/b.txt"]).ends(0).stdout, "x?");
    project.write("Pipelinefile", format!("{MAIL}params = {{ marc = \"?\" }}\n"));
    let told = project.pipe(&["check"]).ends(2).says("the function has no parameter `marc`").stderr;
    assert!(
        told.contains("did you mean `mark`?") && told.contains("site-packages/mailtools/threads.py"),
        "{told}"
    );
    project.write("Pipelinefile", MAIL.replace("each =", "all ="));
    drop(project.pipe(&["check"]).ends(2).says("the function takes one document (`doc`)"));
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

#[test]
fn what_a_module_toml_says_and_what_compilers_keep_is_no_code_of_a_folder_but_a_program_is() {
    let says = "cmd = \"sh main.sh {in} {out}\"\nversion = \"1\"\n";
    let project = Project::counting()
        .file("docs/a.txt", "a b")
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"up\"\n",
        )
        .file("modules/up/module.toml", says)
        .file("modules/up/main.sh", "echo ran >> $RUNS; tr a-z A-Z < $1 > $2\n");
    project.build_runs(&["ran"]);
    project.write(
        "modules/up/module.toml",
        format!("# Notes.\n{says}doc = \"Makes capitals.\"\nreturns = \"text\"\n"),
    );
    project.build_runs(&[]);
    project.write("modules/up/module.toml", says.replace("\"1\"", "\"2\""));
    project.build_runs(&["ran"]);
    // As cargo marks its `target`: of such a folder the programs count.
    project.write("modules/up/target/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
    project.write("modules/up/target/release/.fingerprint/x", "1");
    project.write("modules/up/target/release/deps/libx.rlib", "1");
    project.build_runs(&[]);
    project.write("modules/up/target/release/up", "1");
    let program = project.root().join("modules/up/target/release/up");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    project.build_runs(&["ran"]);
    project.write("modules/up/target/release/up", "2");
    project.build_runs(&["ran"]);
    // Whatever else lies there may be read.
    project.write("modules/up/build/lib.js", "1");
    project.build_runs(&["ran"]);
    // Who writes there as it works is told why all is done again.
    project.write(
        "modules/up/main.sh",
        "echo ran >> $RUNS; echo x >> modules/up/state.log; tr a-z A-Z < $1 > $2\n",
    );
    let told = "`modules/up/state.log` is code of `up` and changed during the build";
    drop(project.build_with(&[], 0, &["ran"]).says(told).says("`code` says which files count"));
    drop(project.build_with(&[], 0, &["ran"]).says(told));
    assert!(!project.pipe(&["build", "--dry-run"]).text().contains("changed during"));
    // A program that is installed has no code there at all.
    project.write("modules/only/module.toml", "cmd = \"cat {in}\"\n");
    project.replace("Pipelinefile", "\"up\"", "\"only\"");
    drop(project.pipe(&["build"]).ends(0));
}

#[test]
fn batches_and_async_functions_of_a_package_are_shown_and_run_so() {
    let project = project(
        "[source.docs]\npath = \"docs\"\n[target.many]\neach = \"docs\"\nmodule = \"mail:many\"\n\
         [target.waits]\neach = \"docs\"\nmodule = \"mail:waits\"\nworkers = 2\n",
    );
    let version =
        std::fs::read_dir(project.root().join(".venv/lib")).unwrap().next().unwrap().unwrap().file_name();
    let packages = format!(".venv/lib/{}/site-packages", version.to_str().unwrap());
    // The package takes them from a file of its own, as packages do.
    project.write(&format!("{packages}/mailtools/__init__.py"), "from .several import many, waits\n");
    project.write(
        &format!("{packages}/mailtools/several.py"),
        "import asyncio\nfrom pipelinefile import module\ntogether = 0\n\
         @module(batch=32)\ndef many(docs):\n    return [f'{doc.text()} of {len(docs)}' for doc in docs]\n\
         @module\nasync def waits(doc):\n    global together\n    together += 1\n    \
         while together < 2: await asyncio.sleep(0.01)\n    return 'both'\n",
    );
    project.write(
        &format!("{packages}/mailtools-1.2.dist-info/entry_points.txt"),
        "[pipelinefile.modules]\nmail:many = mailtools:many\nmail:waits = mailtools:waits\n",
    );
    let listed = project.pipe(&["modules"]).ends(0).stdout;
    assert!(listed.contains("takes doc, batch 32, version mailtools==1.2"), "{listed}");
    assert!(listed.contains("takes doc, async, version mailtools==1.2"), "{listed}");
    let json = project.pipe(&["modules", "--json"]).ends(0).stdout;
    assert!(json.contains("\"batch\":32") && json.contains("\"async\":true"), "{json}");
    more_documents(&project);
    drop(project.pipe(&["build", "-j1"]).ends(0));
    assert!(largest_batch(&project, "many") > 1);
    assert_eq!(project.pipe(&["cat", "waits", "docs/b.txt"]).ends(0).stdout, "both");
}

fn more_documents(project: &Project) {
    (0..20).for_each(|n| project.write(&format!("docs/{n}.txt"), format!("text {n}")));
}

/// Of results that end with `of N`, the largest.
fn largest_batch(project: &Project, target: &str) -> u64 {
    let all = (0..20).map(|n| project.pipe(&["cat", target, &format!("docs/{n}.txt")]).ends(0).stdout);
    all.map(|text| text.rsplit(' ').next().unwrap().parse().unwrap()).max().unwrap()
}

/// A worker that answers with what it was set up with, and how many documents came at once.
const WORKER: &str = r#"#!/usr/bin/env python3
import json, sys
together = []
for line in sys.stdin:
    asked = json.loads(line)
    if "describe" in asked:
        say = {"describe": {"name": "w", "batch": 4}}
    elif "setup" in asked:
        params = asked["setup"]["params"]
        say = {"ready": 1}
    else:
        together.append(asked["id"])
        if asked.get("more"):
            continue
        for id in together:
            made = {"text": "%s of %d" % (json.dumps(params), len(together))}
            print(json.dumps({"id": id, "output": made}), flush=True)
        together = []
        continue
    print(json.dumps(say), flush=True)
"#;

#[test]
fn what_is_said_beside_a_program_holds_for_its_builds() {
    let project = Project::new().file("docs/a.txt", "a").file("docs/b.txt", "b").file(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nmodule = \"upper\"\n\
         [target.own]\neach = \"docs\"\nmodule = \"inside\"\nparams = { size = 5 }\n",
    );
    let said = "accepts = [\"*.txt\"]\nreturns = \"text\"\nversion = \"7\"\nbatch = 2\nparams = { size = 3, lang = \"de\" }\n";
    for file in ["bin/pipe-module-upper", "modules/inside/main.py"] {
        project.write(file, WORKER);
        let path = project.root().join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    project.write("bin/pipe-module-upper.toml", said);
    project.write("modules/inside/module.toml", format!("cmd = \"python3 main.py\"\n{said}"));
    more_documents(&project);
    let path = format!("{}:{}", project.root().join("bin").display(), std::env::var("PATH").unwrap());
    let project = project.env("PATH", &path);
    let listed = project.pipe(&["modules"]).ends(0).stdout;
    let told = "accepts [\"*.txt\"], returns text, lang = \"de\", size = 3, batch 2, version 7";
    for head in ["upper   worker: pipe-module-upper", "inside  worker: python3 modules/inside/main.py"] {
        assert!(listed.contains(&format!("{head}  {told}")), "{listed}");
    }
    assert!(!listed.contains("upper.toml"), "{listed}");
    drop(project.pipe(&["build", "-j1"]).ends(0));
    let cat = |target: &str| project.pipe(&["cat", target, "docs/a.txt"]).ends(0).stdout;
    assert!(cat("up").starts_with("{\"lang\": \"de\", \"size\": 3} of "));
    assert!(cat("own").starts_with("{\"lang\": \"de\", \"size\": 5} of "));
    assert!(
        [2, 2] == ["up", "own"].map(|target| largest_batch(&project, target)),
        "four is what it could take"
    );
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
    // A default is a param like any other.
    project.write("bin/pipe-module-upper.toml", said.replace("\"de\"", "\"fr\""));
    drop(project.pipe(&["build", "-j1"]).ends(0).says("22 built"));
    assert!(cat("up").starts_with("{\"lang\": \"fr\", \"size\": 3} of "));
    project.write("bin/pipe-module-upper.toml", "batsch = 2\n");
    drop(
        project
            .pipe(&["check"])
            .ends(2)
            .says("pipe-module-upper.toml: `batsch` is not known: did you mean `batch`?"),
    );
}
