//! `pipe try`: one document, in this terminal, with the stored inputs; nothing is recorded.

use std::process::Command;

use crate::harness::Project;

fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.words]
            each   = "inbox"
            module = "words"

            [target.count]
            each   = "words"
            module = "words:count"
            params = { times = 2 }

            [target.upper]
            each  = "inbox"
            shell = "echo to the log >&2; tr a-z A-Z < {in} > {out}"

            [target.total]
            all    = "count"
            module = "words:total"

            [target.share]
            each   = "count"
            module = "words:share"
            with   = { total = "total" }

            [target.picky]
            each   = "inbox"
            module = "words:picky"
            where  = { ext = "md" }

            [target.other]
            each = "inbox"
            cmd  = "python3 modules/other.py"
            "#,
        )
        .file(
            "modules/words.py",
            r#"
            from pipelinefile import module, Doc, Result, Skip

            @module
            def words(doc):
                print("reading")
                if not doc.text().strip():
                    raise Skip("empty")
                if "boom" in doc.text():
                    raise ValueError("no boom here")
                return " ".join(sorted(doc.text().split()))

            @module
            def count(doc, *, times: int = 1):
                return {"words": len(doc.text().split()) * times}

            @module
            def total(docs):
                return sum(doc.json()["words"] for doc in docs)

            @module
            def share(doc, *, total: Doc):
                return doc.json()["words"] / total.json()

            @module
            def picky(doc):
                return Result(meta={"picked": True})
            "#,
        )
        .file(
            "modules/other.py",
            r#"
            import json, sys
            for line in sys.stdin:
                asked = json.loads(line)
                if "describe" in asked:
                    say = {"describe": {"name": "other"}}
                elif "setup" in asked:
                    say = {"ready": 1}
                else:
                    print("this goes to the log", file=sys.stderr, flush=True)
                    say = {"id": asked["id"], "output": {"text": asked["text"][::-1]}}
                print(json.dumps(say), flush=True)
            "#,
        )
        .file("inbox/a.txt", "one two three\n")
        .file("inbox/b.txt", "four five\n")
        .file("inbox/empty.txt", "\n")
        .file("inbox/c.md", "# title\n")
}

fn built() -> Project {
    let project = project();
    project.pipe(&["build", "-q"]).ends(0);
    project
}

/// A program on a terminal of its own: waits for each text, then types the next line.
const TERMINAL: &str = r#"
import json, os, pty, signal, sys
signal.alarm(60)
talk, argv = json.loads(sys.argv[1]), sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(argv[0], argv)
seen = b""
def more():
    try:
        return os.read(fd, 4096)
    except OSError:
        return b""
everything = b""
for expected, typed in talk:
    while expected.encode() not in seen:
        new = more()
        if not new:
            sys.exit("never came: " + expected + "\n" + everything.decode())
        seen += new
        everything += new
    seen = b""
    os.write(fd, typed.encode())
while new := more():
    everything += new
print(everything.decode().replace("\r\n", "\n"))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn on_a_terminal(project: &Project, arguments: &[&str], talk: &[(&str, &str)]) -> (i32, String) {
    let pipe = project.command(arguments);
    let talk = serde_json::to_string(talk).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", TERMINAL, &talk]).arg(pipe.get_program()).args(pipe.get_args());
    let set = pipe.get_envs().filter_map(|(name, value)| Some((name, value?)));
    command.env_clear().envs(set).current_dir(project.root());
    let said = command.output().unwrap();
    let text = [said.stdout, said.stderr].concat();
    (said.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_stored_input_goes_in_and_the_result_comes_out() {
    built().pipe(&["try", "count", "inbox/a.txt"]).shows(
        r#"
        status: 0
        --- stdout
        {"words":6}
        --- stderr
          Input     words' output (13 B)
          Output    json, 11 B, the same as the stored one
          Done      [TIME]; nothing was recorded
        "#,
    );
}

#[test]
fn prints_are_no_data_and_an_edited_file_is_taken_as_it_is_now() {
    let project = built();
    project.write("inbox/a.txt", "alpha");
    project.pipe(&["try", "words", "a.txt"]).shows(
        "
        status: 0
        --- stdout
        alpha
        --- stderr
          Input     the file (5 B)
        reading
          Output    txt, 5 B, differs from the stored one     --diff shows how
          Done      [TIME]; nothing was recorded
        ",
    );
    // Behind other targets it is what was stored for it.
    project
        .pipe(&["try", "count", "a.txt"])
        .ends(0)
        .says("warning: `inbox/a.txt` was edited since the last build; what is stored is of before")
        .says("the same as the stored one");
}

#[test]
fn nothing_is_recorded() {
    let project = built();
    project.write("modules/words.py", project.read("modules/words.py").replace("sorted", "list"));
    let log = || std::fs::read(project.root().join(".pipe/segments/000001.seg")).unwrap();
    let before = log();
    project.pipe(&["try", "words", "inbox/a.txt"]).ends(0).says("differs from the stored one");
    assert_eq!(log(), before);
    assert_eq!(std::fs::read_dir(project.root().join(".pipe/try")).unwrap().count(), 0);
    project.pipe(&["build"]).ends(0).says("Plan   words 4").says("built");
}

#[test]
fn a_document_that_was_never_built_can_be_tried_where_files_are_read() {
    let project = project();
    project.pipe(&["try", "words", "inbox/a.txt"]).ends(0).says("one three two").says("none is stored");
    project.pipe(&["try", "count", "inbox/a.txt"]).shows(
        "
        status: 3
        --- stderr
        error: `count` has no stored input for `inbox/a.txt` yet
        hint: pipe build count --docs inbox/a.txt
        ",
    );
}

#[test]
fn what_stands_in_the_way_is_said() {
    let project = built();
    project.write("inbox/a.txt", "boom");
    project.pipe(&["build", "-q"]).ends(1);
    project.pipe(&["try", "count", "inbox/a.txt"]).shows(
        "
        status: 3
        --- stderr
        error: `count` has no input for `inbox/a.txt`: words failed
        hint: pipe log inbox/a.txt
        hint: pipe build count --docs inbox/a.txt
        ",
    );
    project.pipe(&["try", "picky", "inbox/b.txt"]).ends(4).says("`where` of target `picky` leaves");
    project.pipe(&["try", "count", "inbox/empty.txt"]).ends(4).says("skipped or left out before");
    project.pipe(&["try", "words", "total"]).ends(4).says("`total` does not come to target `words`");
    project.pipe(&["try", "words"]).ends(2).says("say which");
    project.pipe(&["try", "upper", "a.txt", "--debug"]).ends(2).says("`--debug` is for Python modules");
}

#[test]
fn a_failure_is_shown_with_its_place_and_the_way_to_debug_it() {
    let project = built();
    project.write("inbox/a.txt", "boom");
    let said = project.pipe(&["try", "words", "inbox/a.txt"]).ends(1);
    assert!(
        said.stderr.starts_with("  Input     the file (4 B)\nreading\nTraceback (most recent"),
        "{}",
        said.stderr
    );
    said.says("  Failed    ValueError: no boom here (modules/words.py:9)")
        .says("hint: pipe try words inbox/a.txt --debug");
    project.pipe(&["try", "words", "inbox/empty.txt"]).ends(0).says("  Skipped   empty");
}

#[test]
fn filters_sets_side_inputs_and_workers_can_be_tried() {
    let project = built();
    project.pipe(&["try", "upper", "inbox/a.txt"]).shows(
        "
        status: 0
        --- stdout
        ONE TWO THREE
        --- stderr
          Input     the file (14 B)
        to the log
          Output    txt, 14 B, the same as the stored one
          Done      [TIME]; nothing was recorded
        ",
    );
    project.pipe(&["try", "total"]).ends(0).says("Input     3 documents of `count`").says("14\n");
    project.pipe(&["try", "share", "b.txt"]).ends(0).says("count's output (11 B)").says("the same");
    project
        .pipe(&["try", "picky", "c.md"])
        .ends(0)
        .says("the input, unchanged, the same")
        .says("{\"picked\":true}");
    project.pipe(&["try", "other", "b.txt"]).shows(
        "
        status: 0
        --- stdout

        evif ruof
        --- stderr
          Input     the file (10 B)
        this goes to the log
          Output    txt, 10 B, the same as the stored one
          Done      [TIME]; nothing was recorded
        ",
    );
}

#[test]
fn diff_shows_what_differs_from_the_stored_result() {
    let project = built();
    project.pipe(&["try", "count", "a.txt", "-D", "count.times=5", "--diff"]).shows(
        r#"
        status: 0
        --- stdout
        -   "words": 6
        +   "words": 15
        --- stderr
          Input     words' output (13 B)
          Output    json, 12 B, differs from the stored one
          Done      [TIME]; nothing was recorded
        "#,
    );
    project.pipe(&["try", "count", "a.txt", "--diff"]).shows(
        "
        status: 0
        --- stderr
          Input     words' output (13 B)
          Output    json, 11 B, the same as the stored one
          Done      [TIME]; nothing was recorded
        ",
    );
}

#[test]
fn fresh_runs_the_targets_before_it_too_and_records_nothing() {
    let project = built();
    project.write("inbox/a.txt", "alpha beta");
    project.pipe(&["try", "count", "a.txt", "--fresh"]).shows(
        r#"
        status: 0
        --- stdout
        {"words":4}
        --- stderr
          Fresh     words
        reading
          Input     words' output, made anew (10 B)
          Output    json, 11 B, differs from the stored one     --diff shows how
          Done      [TIME]; nothing was recorded
        "#,
    );
    // A document that nobody ever built, through two targets and a shared side input that is stored.
    project.write("inbox/new.txt", "x y");
    let said = project.pipe(&["try", "share", "inbox/new.txt", "--fresh"]).ends(0);
    assert_eq!(said.stdout, "0.2857142857142857\n");
    assert!(said.stderr.starts_with("  Fresh     words\nreading\n  Fresh     count\n"), "{}", said.stderr);
    project.pipe(&["cat", "words", "a.txt"]).ends(0).says("one three two");
    project.write("inbox/a.txt", "boom");
    project
        .pipe(&["try", "count", "a.txt", "--fresh"])
        .ends(3)
        .says("error: `words` fails on `inbox/a.txt` now: ValueError: no boom here")
        .says("hint: pipe try words inbox/a.txt");
    project.write("inbox/a.txt", " ");
    project.pipe(&["try", "count", "a.txt", "--fresh"]).ends(4).says("skipped or left out before");
}

#[test]
fn fresh_makes_all_that_is_before_a_set_anew() {
    let project = built();
    project.write("inbox/a.txt", "alpha beta gamma delta");
    project.pipe(&["try", "total", "--fresh"]).shows(
        "
        status: 0
        --- stdout
        16
        --- stderr
          Fresh     words: 3 results, 1 skipped
          Fresh     count: 3 results
          Input     3 documents of `count`, made anew
          Output    json, 2 B, differs from the stored one     --diff shows how
          Done      [TIME]; nothing was recorded
        ",
    );
    let before = project.pipe(&["cat", "total"]).ends(0).stdout;
    assert_eq!(before, "14");
    project.pipe(&["cat", "words", "a.txt"]).ends(0).says("one three two");
    assert_eq!(std::fs::read_dir(project.root().join(".pipe/try")).unwrap().count(), 0, "it goes");
    // What fails is told, and is no member.
    project.write("inbox/a.txt", "boom");
    project
        .pipe(&["try", "total", "--fresh"])
        .ends(0)
        .says("  Fresh     words: 2 results, 1 skipped, 1 failed")
        .says("warning: words on inbox/a.txt: ValueError: no boom here")
        .says("warning: 1 document left out: failed, or not built yet");
    project.pipe(&["status"]).ends(0);
}

#[test]
fn what_was_tried_can_be_kept_as_a_sample() {
    let project = built();
    project.pipe(&["try", "count", "a.txt", "--save-test"]).shows(
        r#"
        status: 0
        --- stdout
        {"words":6}
        --- stderr
          Input     words' output (13 B)
          Output    json, 11 B, the same as the stored one
          Saved     tests/words/count/a.in.txt, with what came out
          Done      [TIME]; nothing was recorded
        hint: pipe test words:count     runs it
        "#,
    );
    assert_eq!(project.read("tests/words/count/a.in.txt"), "one three two");
    assert_eq!(project.read("tests/words/count/a.toml"), "params = { times = 2 }\n");
    assert_eq!(project.read("tests/words/count/a.out.json"), "{\n  \"words\": 6\n}\n");
    // Another of the name gets a number; sets, side inputs and filters can be kept too.
    project.pipe(&["try", "count", "a.txt", "--save-test"]).ends(0).says("tests/words/count/a-2.in.txt");
    project.pipe(&["try", "total", "--save-test"]).ends(0).says("tests/words/total/total.in,");
    project.pipe(&["try", "share", "b.txt", "--save-test"]).ends(0);
    project.pipe(&["try", "upper", "c.md", "--save-test"]).ends(0);
    project.pipe(&["try", "picky", "c.md", "--save-test"]).ends(0);
    project.pipe(&["try", "words", "empty.txt", "--save-test"]).ends(0);
    project.pipe(&["test"]).ends(0).says("7 of 7 samples passed");
    // A failure is kept without saying that it must be.
    project.write("inbox/b.txt", "boom");
    project
        .pipe(&["try", "words", "b.txt", "--save-test"])
        .ends(1)
        .says("Saved     tests/words/b.in.txt, without a result")
        .says("hint: pipe test words --bless");
    project.pipe(&["test", "words"]).ends(1).says("b: failed");
}

#[test]
fn a_large_result_is_kept_in_a_file_until_the_next_one() {
    let project = built();
    project.write("inbox/a.txt", "word ".repeat(20_000));
    let said = project.pipe(&["try", "words", "a.txt"]).ends(0);
    assert_eq!(said.stdout, "");
    let kept = || {
        let folders = std::fs::read_dir(project.root().join(".pipe/try")).unwrap();
        folders.map(|folder| folder.unwrap().path().join("output.txt")).collect::<Vec<_>>()
    };
    assert_eq!(kept().len(), 1);
    assert_eq!(std::fs::metadata(&kept()[0]).unwrap().len(), 99_999);
    project.pipe(&["try", "words", "b.txt"]).ends(0);
    assert_eq!(kept().len(), 0);
}

#[test]
fn it_is_said_as_data_too() {
    let project = built();
    let said = project.pipe(&["try", "count", "inbox/a.txt", "--json"]).ends(0);
    let line: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&line["state"], &line["output"]["stored"]), (&"done".into(), &"same".into()));
    assert_eq!(line["output"]["text"], "{\"words\":6}");
    assert_eq!(said.stderr, "");
}

#[test]
fn the_debugger_opens_at_the_line_that_fails() {
    let project = project();
    project.write("inbox/a.txt", "boom");
    let talk = [("(Pdb)", "p doc.text() * 2\n"), ("'boomboom'", "q\n")];
    let (status, said) = on_a_terminal(&project, &["try", "words", "inbox/a.txt", "--debug"], &talk);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("-> raise ValueError(\"no boom here\")"), "{said}");
}

#[test]
fn the_debugger_opens_in_a_batch_module_with_a_batch_of_one() {
    let project = project();
    project.write(
        "modules/words.py",
        project
            .read("modules/words.py")
            .replace("@module\ndef words(doc):\n", "@module(batch=8)\ndef words(docs):\n    doc, = docs\n")
            .replace("return \" \".join(sorted(doc.text().split()))", "return [\"one of %d\" % len(docs)]"),
    );
    project.write("inbox/a.txt", "boom");
    let talk = [("(Pdb)", "p doc.text() * 2, len(docs)\n"), ("('boomboom', 1)", "q\n")];
    let (status, said) = on_a_terminal(&project, &["try", "words", "inbox/a.txt", "--debug"], &talk);
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("-> raise ValueError(\"no boom here\")"), "{said}");
    project.pipe(&["try", "words", "inbox/b.txt"]).ends(0).says("one of 1");
}

#[test]
fn breakpoints_and_the_keyboard_work() {
    let project = project();
    let code = project.read("modules/words.py");
    project.write(
        "modules/words.py",
        code.replace("print(\"reading\")", "breakpoint()\n    print(input('name? '))"),
    );
    let talk = [("(Pdb)", "c\n"), ("name? ", "typed\n")];
    let (status, said) = on_a_terminal(&project, &["try", "words", "inbox/a.txt"], &talk);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("typed\ntyped\n") && said.contains("one three two"), "{said}");
}

#[test]
fn ctrl_c_ends_the_module_and_the_trial() {
    let project = project();
    let code = project.read("modules/words.py");
    let sleep = "print('asleep', flush=True); import time; time.sleep(60)";
    project.write("modules/words.py", code.replace("print(\"reading\")", sleep));
    let (status, said) = on_a_terminal(&project, &["try", "words", "inbox/a.txt"], &[("asleep", "\u{3}")]);
    assert_eq!(status, 130, "{said}");
    assert!(said.contains("Stopped: nothing was recorded"), "{said}");
}
