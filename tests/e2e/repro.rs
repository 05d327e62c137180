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
    let elsewhere = moved(project, name);
    let (_, said) = run(&elsewhere.path().join("r"));
    assert!(said.contains("seen 4") && said.contains("out/answer.json"), "{said}");
    let answer = std::fs::read_to_string(elsewhere.path().join("r/out/answer.json")).unwrap();
    assert!(answer.contains("ValueError") && answer.contains("this is bad"), "{answer}");
}

#[test]
fn a_command_and_a_set_run_elsewhere_too() {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    drop(project.pipe(&["repro", "a.txt", "count", "-o", "r"]).ends(0));
    let elsewhere = moved(project, "r");
    let (code, said) = run(&elsewhere.path().join("r"));
    assert_eq!((code, said.as_str()), (0, "counted\nexit 0; what it made is in out/\n"));
    assert_eq!(std::fs::read_to_string(elsewhere.path().join("r/out/out.txt")).unwrap().trim(), "10");

    let project = self::project();
    project.write("inbox/bad one.txt", "two\n");
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["repro", "book", "book", "-o", "r"]).ends(0));
    let elsewhere = moved(project, "r");
    let (code, said) = run(&elsewhere.path().join("r"));
    assert_eq!(code, 0, "{said}");
    let answer = std::fs::read_to_string(elsewhere.path().join("r/out/answer.json")).unwrap();
    assert!(answer.contains("ONE\\n?more\\n|TWO\\n?more\\n"), "{answer}");
}
