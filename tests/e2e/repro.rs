//! `pipe repro`: a folder in which a module runs without `pipe`.

use std::path::Path;
use std::process::Command;

use crate::harness::Project;

/// Runs the script of a folder with nothing of `pipe` in its environment: (exit code, what it printed).
fn run(folder: &Path) -> (i32, String) {
    let output = Command::new(folder.join("run.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(printed).unwrap())
}

fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.upper]
            each = \"inbox\"
            module = \"upper\"
            params = { mark = \"?\" }
            with = { words = \"file:words.txt\" }
            [target.count]
            each = \"upper\"
            shell = \"sh tool.sh {in} > {out}; echo counted >&2\"
            code = [\"tool.sh\"]
            [target.book]
            all = \"upper\"
            module = \"upper:book\"
            ",
        )
        .file(
            "modules/upper.py",
            "
            from pipelinefile import module
            from helper import loud
            @module
            def upper(doc, *, words, mark: str = '!'):
                print('seen', len(doc.text()))
                if 'bad' in doc.text():
                    raise ValueError('this is bad')
                return loud(doc.text()) + mark + words.text()
            @module
            def book(docs):
                return '|'.join(doc.text() for doc in docs)
            ",
        )
        .file("modules/helper.py", "def loud(text):\n    return text.upper()\n")
        .file("words.txt", "more\n")
        .file("tool.sh", "wc -c < \"$1\"\n")
        .file("inbox/a.txt", "one\n")
        .file("inbox/bad one.txt", "bad\n")
}

/// What is to run elsewhere says nothing of where it was made.
fn names_nothing_of_the_machine(project: &Project, name: &str) {
    let script = project.read(&format!("{name}/run.sh"));
    let root = project.root().canonicalize().unwrap();
    for path in [root.to_str().unwrap(), project.root().to_str().unwrap(), "/bin/", "/home/", "/root/"] {
        let commands = script.lines().skip(1);
        assert!(commands.clone().all(|line| !line.contains(path)), "{path} in {script}");
    }
    for file in ["request.json", "request.jsonl", "inputs/manifest.jsonl"] {
        let path = project.root().join(name).join(file);
        let text = std::fs::read_to_string(path).unwrap_or_default();
        assert!(!text.contains(root.to_str().unwrap()), "{file}: {text}");
    }
}

/// Moves a folder away from the project, which then goes.
fn moved(project: Project, name: &str) -> tempfile::TempDir {
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(project.root().join(name), elsewhere.path().join("r")).unwrap();
    drop(project);
    elsewhere
}

#[test]
fn a_failed_document_fails_the_same_way_elsewhere() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    project.pipe(&["repro", "bad one.txt", "upper"]).shows(
        "
        status: 0
        --- stdout
        repro-upper-inbox_bad_one.txt: run repro-upper-inbox_bad_one.txt/run.sh
    ",
    );
    let name = "repro-upper-inbox_bad_one.txt";
    assert_eq!(project.read(&format!("{name}/inputs/in.txt")), "bad\n");
    assert_eq!(project.read(&format!("{name}/last.log")), "seen 4\n");
    assert!(project.read(&format!("{name}/last.json")).contains("this is bad"));
    assert_eq!(project.read(&format!("{name}/params.json")), "{\n  \"mark\": \"?\"\n}\n");
    let again = project.pipe(&["repro", "bad one.txt", "upper"]).ends(2);
    drop(again.says("error: `repro-upper-inbox_bad_one.txt` is there already\n"));
    names_nothing_of_the_machine(&project, name);
    let elsewhere = moved(project, name);
    let (code, said) = run(&elsewhere.path().join("r"));
    let place = elsewhere.path().canonicalize().unwrap().join("r/code/modules/upper.py");
    let expected = format!(
        "seen 4\nTraceback (most recent call last):\n  File \"{}\", line 7, in upper\n    \
         raise ValueError('this is bad')\nValueError: this is bad\nexit 1; what it made is in out/answer.json\n",
        place.display()
    );
    assert_eq!((code, said.as_str()), (1, expected.as_str()));
    let answer = std::fs::read_to_string(elsewhere.path().join("r/out/answer.json")).unwrap();
    assert!(answer.contains("ValueError") && answer.contains("this is bad"), "{answer}");
}

#[test]
fn a_command_and_a_set_run_elsewhere_too() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    drop(project.pipe(&["repro", "a.txt", "count", "-o", "r"]).ends(0));
    names_nothing_of_the_machine(&project, "r");
    let elsewhere = moved(project, "r");
    let (code, said) = run(&elsewhere.path().join("r"));
    assert_eq!((code, said.as_str()), (0, "counted\nexit 0; what it made is in out/\n"));
    assert_eq!(std::fs::read_to_string(elsewhere.path().join("r/out/out.txt")).unwrap().trim(), "10");

    let project = self::project();
    project.write("inbox/bad one.txt", "two\n");
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["repro", "book", "book", "-o", "r"]).ends(0));
    names_nothing_of_the_machine(&project, "r");
    let elsewhere = moved(project, "r");
    let (code, said) = run(&elsewhere.path().join("r"));
    assert_eq!(code, 0, "{said}");
    let answer = std::fs::read_to_string(elsewhere.path().join("r/out/answer.json")).unwrap();
    assert!(answer.contains("ONE\\n?more\\n|TWO\\n?more\\n"), "{answer}");
}

#[test]
fn a_published_file_leads_to_its_document_and_an_archive_is_a_folder_packed() {
    let project = project().file("inbox/bad one.txt", "two\n");
    project.replace(
        "Pipelinefile",
        "params = { mark = \"?\" }",
        "params = { mark = \"?\" }\npublish = \"out/{id.rel}\"",
    );
    drop(project.pipe(&["build"]).ends(0));
    project.pipe(&["repro", "out/a.txt", "upper", "-o", "a.tar.zst"]).shows(
        "
        status: 0
        --- stdout
        a.tar.zst: unpack it and run repro-upper-inbox_a.txt/run.sh
    ",
    );
    let elsewhere = moved(project, "a.tar.zst");
    let unpacked =
        Command::new("tar").args(["--zstd", "-xf", "r"]).current_dir(elsewhere.path()).status().unwrap();
    assert!(unpacked.success());
    let (code, said) = run(&elsewhere.path().join("repro-upper-inbox_a.txt"));
    assert_eq!((code, said.as_str()), (0, "seen 4\nexit 0; what it made is in out/answer.json\n"));
}

#[test]
fn a_worker_in_another_language_says_elsewhere_what_went_wrong_too() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.inbox]\npath = \"inbox\"\n[target.check]\neach = \"inbox\"\nmodule = \"check\"\n\
             [module.check]\ncmd = \"sh modules/check.sh\"\n",
        )
        .file(
            "modules/check.sh",
            r#"while read -r line; do case $line in
            *'"describe"'*) echo '{"describe":{"name":"check"}}' ;;
            *'"setup"'*) echo '{"ready":1}' ;;
            *) id=${line#*'"id":'}; id=${id%%,*}
               echo looking >&2
               case $line in
               *bad*) echo "{\"id\":$id,\"error\":{\"type\":\"Bad\",\"message\":\"no good\"}}" ;;
               *) echo "{\"id\":$id,\"output\":{\"text\":\"{\\\"error\\\": 1}\"}}" ;;
               esac ;;
            esac; done
            "#,
        )
        .file("inbox/a.txt", "one\n")
        .file("inbox/bad.txt", "bad\n");
    drop(project.pipe(&["build"]).ends(1));
    drop(project.pipe(&["repro", "a.txt", "check", "-o", "good"]).ends(0));
    drop(project.pipe(&["repro", "bad.txt", "check", "-o", "r"]).ends(0));
    names_nothing_of_the_machine(&project, "r");
    let (code, said) = run(&project.root().join("good"));
    assert_eq!((code, said.as_str()), (0, "looking\nexit 0; what it made is in out/answer.jsonl\n"));
    let elsewhere = moved(project, "r");
    let (code, said) = run(&elsewhere.path().join("r"));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("\"message\":\"no good\"")
            && said.ends_with("exit 1; what it made is in out/answer.jsonl\n"),
        "{said}"
    );
}
