//! `pipe conform`, and the modules in other languages that stand in `examples/languages`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Project, python};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/languages").join(name);
    path.to_str().unwrap().to_owned()
}

fn are_there(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| Command::new(program).arg("--version").output().is_err());
    if let Some(missing) = missing {
        eprintln!("skipped: there is no `{missing}`");
    }
    missing.is_none()
}

/// Holds a worker against the protocol, and runs it in a build.
fn conforms(command: &[&str]) {
    let project = Project::new().file("inbox/a.txt", "no\nlong 漢字 \"quoted\"\n");
    project
        .pipe(&[&["conform"], command].concat())
        .ends(0)
        .says("14 of 17 checks passed, 3 do not concern it");
    let cmd = command.join(" ");
    project.write(
        "Pipelinefile",
        format!("[source.inbox]\npath = \"inbox\"\n[target.lines]\neach = \"inbox\"\ncmd = \"{cmd}\"\nparams = {{ min_len = 4 }}\n"),
    );
    project.pipe(&["build", "-q"]).ends(0);
    assert_eq!(project.pipe(&["cat", "lines", "a.txt"]).ends(0).stdout, "long 漢字 \"quoted\"\n");
}

#[test]
fn a_worker_in_shell_conforms() {
    if are_there(&["jq"]) {
        conforms(&["sh", &example("lines.sh")]);
    }
}

#[test]
fn a_worker_in_javascript_conforms() {
    if are_there(&["node"]) {
        conforms(&["node", &example("lines.mjs")]);
    }
}

#[test]
fn a_worker_in_c_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("lines");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program).arg(example("lines.c"));
    assert!(cc.status().unwrap().success());
    conforms(&[program.to_str().unwrap()]);
}

#[test]
fn a_worker_in_rust_conforms() {
    // The examples are built with the tests, but not where only these are asked for.
    let program: PathBuf =
        Path::new(env!("CARGO_BIN_EXE_pipe")).parent().unwrap().join("examples").join("lines");
    if !program.exists() {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = Command::new(cargo).args(["build", "--locked", "--example", "lines"]).status();
        assert!(built.unwrap().success());
    }
    conforms(&[program.to_str().unwrap()]);
}

#[test]
fn a_function_in_python_conforms_with_several_in_hand() {
    let project = Project::new().file(
        "modules/words.py",
        "
        from pipelinefile import module, Child

        @module
        def upper(doc, *, times: int = 1):
            print('working')
            return doc.text().upper() * times

        @module
        def parts(doc):
            for number, line in enumerate(doc.text().splitlines()):
                yield Child(f'part-{number}', line)
        ",
    );
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let project = project.env("PYTHONPATH", package.to_str().unwrap());
    let worker = |arguments: &[&str], function: &str| {
        let call = "import pipelinefile; pipelinefile.worker()";
        let command = [python(), "-c", call, "modules/words.py", function];
        project.pipe(&[&["conform"], arguments, &command].concat())
    };
    worker(&["--param", "times=2"], "upper").ends(0).says("16 of 17 checks passed, 1 do not concern it");
    worker(&["--split"], "parts").ends(0).says("passed  children");
    worker(&["--param", "tmies=2"], "upper")
        .ends(1)
        .says("FAILED  handshake")
        .says("has no param `tmies`: did you mean `times`?");
}

/// A worker with a fault, which its argument names.
const FAULTY: &str = r#"
import json, sys
fault = sys.argv[1]
say = lambda frame: print(json.dumps(frame), flush=True)
for line in sys.stdin.buffer:
    asked = json.loads(line)
    if "describe" in asked:
        if fault == "print": print("loading", flush=True)
        if fault == "length":
            say({"describe": {"name": "f", "lengths": True}})
            continue
        say({"describe": {"name": "" if fault == "nameless" else "f", "window": 4} if fault in ("log", "order") else {"name": "" if fault == "nameless" else "f"}})
    elif "setup" in asked:
        say({"ready": 1})
    elif "id" in asked:
        answer = {"id": asked["id"], "output": {"text": "x"}}
        if fault == "id": answer["id"] = 1
        if fault == "two": answer["skip"] = "why"
        if fault == "crash" and "nonexistent" in asked.get("path", ""): sys.exit(4)
        if fault == "length" and "length" in asked:
            sys.stdin.buffer.read(asked["length"])
            answer["output"]["text"] = "z"
        if fault == "form" and "path" in asked: answer["output"]["text"] = "y"
        if fault == "twice": say(answer)
        say(answer)
    elif fault == "unknown":
        say({"error": "what is that?"})
sys.exit(3 if fault == "exit" else 0)
"#;

#[test]
fn each_fault_is_found_by_its_check() {
    let project = Project::new();
    project.write("faulty.py", FAULTY);
    for (fault, check, got) in [
        ("nameless", "handshake", "`name` is \"\""),
        ("id", "document", "`id` is 1"),
        ("two", "document", "an answer is one of output, skip or error"),
        ("form", "forms", "as text: {\"text\":\"x\"}; as path: {\"text\":\"y\"}"),
        ("length", "forms", "as text: {\"text\":\"x\"}; as length: {\"text\":\"z\"}"),
        ("crash", "error", "it ended with 4 instead of answering"),
        ("unknown", "unknown", "a frame without `id`"),
        ("log", "log", "an answer without `log`"),
        ("exit", "end", "it ended with 3"),
        ("print", "stdout", "1 other line, the first: loading"),
    ] {
        let said = project.pipe(&["conform", "--json", python(), "faulty.py", fault]).ends(1);
        let lines: Vec<serde_json::Value> =
            said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let failed: Vec<_> = lines.iter().filter(|line| line["state"] == "failed").collect();
        let first = failed.first().unwrap_or_else(|| panic!("{fault}: {}", said.stdout));
        assert_eq!(first["name"], check, "{fault}: {first}");
        let said = first["got"].as_str().unwrap();
        assert!(said.contains(got), "{fault}: {said}");
    }
    project.pipe(&["conform", python(), "faulty.py", "none"]).ends(0);
    project.pipe(&["conform", "no-such-program"]).ends(2).says("command not found");
    project.pipe(&["conform", "python3 'x"]).ends(2).says("a quote that is not closed");
    project.pipe(&["conform"]).ends(2);
}
