//! Names with every character that a shell or a template could trip over, through filters.

use crate::harness::Project;

const NAMES: [&str; 14] = [
    "two words.txt",
    "it's.txt",
    "quo\"te.txt",
    "$HOME.txt",
    "$(touch pwned).txt",
    "`touch pwned`.txt",
    "a;touch pwned;.txt",
    "back\\slash.txt",
    "{in}.txt",
    "new\nline.txt",
    "-rf.txt",
    "*.txt",
    "tab\t.txt",
    "日本語 ü.txt",
];

#[test]
fn names_never_become_code() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.cmd]
        each = "docs"
        cmd = "cp {in} {out}"
        publish = "out/cmd/{id.rel}"
        [target.shell]
        each = "docs"
        shell = "cat {in} > {out}"
        publish = "out/shell/{id.rel}"
        [target.params]
        each = "docs"
        shell = 'printf %s {param.word} > {out}; cat {in} >> {out}'
        params = { word = "it's $HOME `id` \"x\" \\ ; touch pwned\n" }
        publish = "out/params/{id.rel}"
        [target.many]
        all = "docs"
        shell = "grep -c . {in} > {out}"
        publish = "out/many.txt"
        "#,
    );
    for (n, name) in NAMES.iter().enumerate() {
        project.write(&format!("docs/{name}"), format!("content {n}\n"));
    }
    drop(project.build().ends(0));
    assert!(!project.tree().iter().any(|line| line.starts_with("pwned")), "{:?}", project.tree());
    for target in ["cmd", "shell", "params"] {
        let files = project.files(&format!("out/{target}"));
        assert_eq!(files.len(), NAMES.len(), "{target}: {:?}", files.keys());
        let mut contents: Vec<String> =
            files.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        contents.sort();
        let before = if target == "params" { "it's $HOME `id` \"x\" \\ ; touch pwned\n" } else { "" };
        let mut expected: Vec<String> = (0..NAMES.len()).map(|n| format!("{before}content {n}\n")).collect();
        expected.sort();
        assert_eq!(contents, expected, "{target}");
    }
    assert_eq!(project.read("out/many.txt"), format!("{}\n", NAMES.len()));
    assert!(project.build().ends(0).all("done").is_empty());
}

#[test]
fn a_project_may_lie_anywhere() {
    let outer = Project::new();
    let project = Project::new();
    drop(outer);
    let folder = "it's a \"$HOME\" `folder`\nwith {in} ü";
    project.write(
        &format!("{folder}/Pipelinefile"),
        "[source.docs]\npath = \"docs\"\n[target.cmd]\neach = \"docs\"\ncmd = \"cp {in} {out}\"\npublish = true\n\
         [target.shell]\neach = \"cmd\"\nshell = \"cat {in} > {out}\"\npublish = true\n\
         [target.python]\neach = \"shell\"\nmodule = \"passes\"\npublish = true\n",
    );
    project.write(
        &format!("{folder}/modules/passes.py"),
        "from pipelinefile import module\n\n@module\ndef passes(doc):\n    return doc.path.read_text()\n",
    );
    project.write(&format!("{folder}/docs/a.txt"), "content");
    drop(project.start(&["-C", folder, "build"]).end().ends(0));
    assert_eq!(project.read(&format!("{folder}/out/python/docs/a.txt.txt")), "content");
}

#[test]
fn what_is_shown_of_names_cannot_steer_a_terminal() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.no]
        each = "docs"
        shell = '''printf '\033]0;title\007bad \033[2J' >&2; exit 1'''
        "#,
    );
    project.write("docs/evil\u{1b}[2J\u{9b}x.txt", "x");
    let told = project.pipe(&["build"]).ends(1);
    assert!(!told.stderr.contains('\u{1b}') && !told.stderr.contains('\u{9b}'), "{:?}", told.stderr);
    assert!(!told.stderr.contains('\u{7}'), "{:?}", told.stderr);
}
