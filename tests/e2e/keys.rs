use std::os::unix::fs::PermissionsExt;

use crate::harness::Project;

const CUT: &str = r#"
    @module
    def cut(doc, *, at: int = 2, mark: str = "."):
        ran(f"{doc.text()} {at}{mark}")
        return doc.text()[:at] + mark
"#;

fn one(target: &str) -> Project {
    let pipeline = format!("[source.inbox]\npath = \"inbox\"\n\n[target.t]\neach = \"inbox\"\n{target}\n");
    Project::counting().file("Pipelinefile", &pipeline).file("inbox/a.txt", "abcdef")
}

#[test]
fn a_param_counts_from_wherever_it_comes() {
    let project = one("module = \"cut\"\npublish = true\nparams = { at = 3 }").module("cut", CUT);
    project.build_runs(&["cut abcdef 3."]);
    project.build_with(&["-D", "t.at=4"], 0, &["cut abcdef 4."]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "abcd.");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "abc.");
    // The same values from elsewhere are the same params.
    project.replace("Pipelinefile", "params = { at = 3 }", "");
    project.build_runs(&["cut abcdef 2."]);
    project.replace("Pipelinefile", "[source.inbox]", "[module.cut]\nparams = { at = 3 }\n\n[source.inbox]");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "abc.");
    // A target's stand above its module's.
    project.replace("Pipelinefile", "publish = true", "publish = true\nparams = { at = 4 }");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "abcd.");
}

#[test]
fn a_param_that_is_not_declared_is_a_mistake() {
    let project = one("module = \"cut\"\nparams = { att = 3 }").module("cut", CUT);
    project.build_with(&[], 2, &[]).says("att");
    let project = one("module = \"cut\"").module("cut", CUT);
    project.build_with(&["-D", "t.att=3"], 2, &[]).says("att");
}

#[test]
fn a_file_beside_the_documents_counts_by_its_bytes() {
    let project = one("module = \"add\"\npublish = true\nwith = { tail = \"file:tail.txt\" }")
        .file("tail.txt", "1")
        .module(
            "add",
            "
            @module
            def add(doc, *, tail: Doc):
                ran(doc.text() + tail.text())
                return doc.text() + tail.text()
        ",
        );
    project.build_runs(&["add abcdef1"]);
    project.write("tail.txt", "1");
    project.build_runs(&[]);
    project.write("tail.txt", "2");
    project.build_runs(&["add abcdef2"]);
    project.write("tail.txt", "1");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "abcdef1");
    // Where it lies does not count.
    project.rename("tail.txt", "other/tail.txt");
    project.replace("Pipelinefile", "file:tail.txt", "file:other/tail.txt");
    project.build_runs(&[]);
}

#[test]
fn a_folder_beside_the_documents_counts_by_names_and_bytes() {
    let project = one("shell = 'echo t >> $RUNS; cat {with.lists}/* > {out}'\npublish = true\nwith = { lists = \"file:lists\" }")
        .file("lists/1", "x")
        .file("lists/2", "y");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "xy");
    project.build_runs(&[]);
    project.write("lists/3", "z");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "xyz");
    project.rename("lists/1", "lists/4");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "yzx");
    project.remove("lists/4");
    project.write("lists/1", "x");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "xyz");
}

#[test]
fn declared_variables_count_and_others_do_not() {
    let project = one("module = \"env\"\npublish = true\nenv = { TONE = \"low\" }").module(
        "env",
        r#"
        @module
        def env(doc):
            ran(os.environ["TONE"])
            return os.environ["TONE"]
    "#,
    );
    project.build_runs(&["env low"]);
    let project = project.env("ELSE", "1").env("TONE", "unheard");
    project.build_runs(&[]);
    project.replace("Pipelinefile", "\"low\"", "\"high\"");
    project.build_runs(&["env high"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "high");
    project.replace("Pipelinefile", "\"high\"", "\"low\"");
    project.build_runs(&[]);
    // The same from the module's table.
    project.replace("Pipelinefile", "env = { TONE = \"low\" }", "");
    project.replace(
        "Pipelinefile",
        "[source.inbox]",
        "[module.env]\nenv = { TONE = \"low\" }\n\n[source.inbox]",
    );
    project.build_runs(&[]);
    project.replace("Pipelinefile", "\"low\"", "\"high\"");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "high");
}

#[test]
fn the_words_of_a_command_count() {
    let project = one("shell = 'echo t >> $RUNS; tr a x < {in} > {out}'\npublish = true");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "xbcdef");
    project.replace("Pipelinefile", "tr a x", "tr a y");
    project.build_runs(&["t"]);
    project.replace("Pipelinefile", "tr a y", "tr a x");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "xbcdef");
}

#[test]
fn a_script_that_a_command_names_counts() {
    let project = one("cmd = \"sh modules/t.sh {in} {out}\"\npublish = true")
        .file("modules/t.sh", "echo t >> $RUNS\ntr a x < $1 > $2\n");
    project.build_runs(&["t"]);
    project.build_runs(&[]);
    project.replace("modules/t.sh", "tr a x", "tr a y");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "ybcdef");
    project.replace("modules/t.sh", "tr a y", "tr a x");
    project.build_runs(&[]);
}

#[test]
fn code_files_that_are_listed_take_the_place_of_those_found() {
    let project = one("cmd = \"sh modules/t.sh {in} {out}\"\ncode = [\"modules/lib/**\"]\npublish = true")
        .file("modules/t.sh", "echo t >> $RUNS\ncat modules/lib/x $1 > $2\n")
        .file("modules/lib/x", "1");
    project.build_runs(&["t"]);
    project.write("modules/lib/x", "2");
    project.build_runs(&["t"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "2abcdef");
    project.write("modules/lib/deep/y", "");
    project.build_runs(&["t"]);
    project.remove("modules/lib/deep/y");
    project.build_runs(&[]);
    project.write("modules/t.sh", "echo u >> $RUNS\ncat modules/lib/x $1 > $2\n");
    project.build_runs(&[]);
}

#[test]
fn a_python_module_whose_code_is_listed_still_learns_of_what_it_loads() {
    let project = one("module = \"up\"").file("modules/data.txt", "1").module(
        "up",
        "
        @module
        def up(doc):
            ran(doc)
            return doc.text() + open(os.path.dirname(__file__) + '/data.txt').read()
    ",
    );
    project.replace(
        "Pipelinefile",
        "[source.inbox]",
        "[module.up]\ncode = [\"modules/up.py\", \"modules/*.txt\"]\n\n[source.inbox]",
    );
    project.build_runs(&["up abcdef"]);
    project.build_runs(&[]);
    project.write("modules/data.txt", "2");
    project.build_runs(&["up abcdef"]);
}

#[test]
fn a_probe_counts_by_what_it_says_and_is_asked_when_its_program_changed() {
    let elsewhere = tempfile::tempdir().unwrap();
    let project = one("shell = 'echo t >> $RUNS; tool > {out}'\npublish = true\nprobe = \"tool --version\"");
    let path = std::env::var("PATH").unwrap();
    let project = project.env("PATH", &format!("{}:{path}", elsewhere.path().display()));
    let tool = |lines: &str| {
        let path = elsewhere.path().join("tool");
        std::fs::write(&path, format!("#!/bin/sh\necho tool $1 >> $RUNS\n{lines}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    tool("echo 1");
    project.build_runs(&["tool --version", "t", "tool"]);
    project.build_runs(&[]);
    tool("echo 2");
    project.build_runs(&["tool --version", "t", "tool"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "2\n");
    // Another file that says the same.
    tool("echo 2 # as before");
    project.build_runs(&["tool --version"]);
    project.build_runs(&[]);
}

#[test]
fn a_stated_extension_is_the_results_for_whoever_comes_behind() {
    let project = one("module = \"cut\"\npublish = true\next = \"md\"").module("cut", CUT);
    let more = "\n[target.ext]\neach = \"t\"\nmodule = \"ext\"\npublish = true\n";
    project.write("Pipelinefile", project.read("Pipelinefile") + more);
    let ext = "
        @module
        def ext(doc):
            ran(doc.ext)
            return doc.ext
    ";
    let project = project.module("ext", ext);
    project.build_runs(&["cut abcdef 2.", "ext md"]);
    project.replace("Pipelinefile", "\"md\"", "\"rst\"");
    project.pipe(&["build"]).ends(0);
    assert!(project.take_runs().contains(&"ext rst".to_owned()));
    assert_eq!(project.published_names(), ["ext/inbox/a.txt.txt", "t/inbox/a.txt.rst"]);
    project.is_as_built_clean();
}

#[test]
fn two_targets_give_one_command_two_extensions() {
    let project = one("module = \"copy\"\npublish = true\next = \"md\"");
    let more = "\n[target.u]\neach = \"inbox\"\nmodule = \"copy\"\npublish = true\next = \"rst\"\n[module.copy]\ncmd = \"cp {in} {out}\"\n";
    project.write("Pipelinefile", project.read("Pipelinefile") + more);
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["t/inbox/a.txt.md", "u/inbox/a.txt.rst"]);
    project.replace("Pipelinefile", "\"rst\"", "\"html\"");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["t/inbox/a.txt.md", "u/inbox/a.txt.html"]);
    project.is_as_built_clean();
}

#[test]
fn each_and_all_of_one_command_do_not_answer_for_each_other() {
    let project = one("shell = 'echo t >> $RUNS; cat {in} > {out}'\npublish = true");
    let pipeline = project.read("Pipelinefile");
    project.write("Pipelinefile", pipeline.clone() + "\n[target.set]\nall = \"inbox\"\ninputs = \"files\"\nshell = 'echo t >> $RUNS; cat {in} > {out}'\npublish = true\n");
    project.build_runs(&["t", "t"]);
    project.build_runs(&[]);
}

#[test]
fn a_module_reads_only_what_it_sees_and_is_told_what_to_add() {
    let project = one("module = \"peek\"").module(
        "peek",
        "
        @module
        def peek(doc):
            return doc.id
    ",
    );
    project.build_with(&[], 1, &[]).says("sees");
    project.replace(
        "Pipelinefile",
        "module = \"peek\"",
        "module = \"peek\"\nsees = [\"id\"]\npublish = true",
    );
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "inbox/a.txt");
}

#[test]
fn what_a_module_sees_is_in_its_key() {
    let project = one("module = \"ids\"\npublish = true\nsees = [\"id\"]").module(
        "ids",
        "
        @module
        def ids(doc):
            ran(doc.id)
            return doc.id
    ",
    );
    project.build_runs(&["ids inbox/a.txt"]);
    project.write("inbox/b.txt", "abcdef");
    project.build_runs(&["ids inbox/b.txt"]);
    project.rename("inbox/a.txt", "inbox/c.txt");
    project.build_runs(&["ids inbox/c.txt"]);
    project.rename("inbox/c.txt", "inbox/a.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "inbox/a.txt");
    // Bytes alone: neither id nor extension.
    project.replace("Pipelinefile", "sees = [\"id\"]", "sees = []");
    project.write_module(
        "ids",
        "
        @module
        def ids(doc):
            ran(doc)
            return doc.text()
    ",
    );
    project.write("inbox/b.md", "abcdef");
    project.build_runs(&["ids abcdef"]);
}

#[test]
fn what_is_not_seen_is_not_in_the_path() {
    let project = one("shell = 'echo {in} >> $RUNS; echo x > {out}'");
    project.pipe(&["build"]).ends(0);
    let runs = project.take_runs();
    assert!(runs[0].contains("/.pipe/") && runs[0].contains(".txt"), "{runs:?}");
    assert!(!runs[0].contains("inbox") && !runs[0].contains("/a."), "{runs:?}");
}

#[test]
fn of_installed_packages_those_that_were_loaded_count_by_name_and_version() {
    let elsewhere = tempfile::tempdir().unwrap();
    let install = |name: &str, version: &str, code: &str| {
        let package = elsewhere.path().join(name);
        std::fs::create_dir_all(&package).unwrap();
        std::fs::write(package.join("__init__.py"), code).unwrap();
        for entry in std::fs::read_dir(elsewhere.path()).unwrap().flatten() {
            let known = entry.file_name().to_str().unwrap().starts_with(&format!("{name}-"));
            if known {
                std::fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        let about = elsewhere.path().join(format!("{name}-{version}.dist-info"));
        std::fs::create_dir_all(&about).unwrap();
        let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n");
        std::fs::write(about.join("METADATA"), metadata).unwrap();
        std::fs::write(about.join("top_level.txt"), name).unwrap();
        std::fs::write(about.join("RECORD"), format!("{name}/__init__.py,,\n")).unwrap();
    };
    install("tallow", "1.0", "MARK = '1'\n");
    install("unrelated", "1.0", "");
    let project =
        one("module = \"pack\"\npublish = true").env("PYTHONPATH", elsewhere.path().to_str().unwrap());
    let project = project.module(
        "pack",
        "
        import tallow
        @module
        def pack(doc):
            ran(tallow.MARK)
            return tallow.MARK
        ",
    );
    project.build_runs(&["pack 1"]);
    project.build_runs(&[]);
    project.pipe(&["modules", "pack"]).ends(0).says("package").says("tallow 1.0");
    install("unrelated", "2.0", "x = 1\n");
    install("another", "1.0", "");
    project.build_runs(&[]);
    install("tallow", "1.1", "MARK = '2'\n");
    project.build_runs(&["pack 2"]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "2");
    project.build_runs(&[]);
    // The version of before: its results hold again.
    install("tallow", "1.0", "MARK = '1'\n");
    project.build_runs(&[]);
    assert_eq!(project.read("out/t/inbox/a.txt.txt"), "1");
}
