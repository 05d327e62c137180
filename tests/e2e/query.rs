//! `status`, `why`, `log`, `ls`, `cat`: what was done, told from records.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::harness::Project;

/// Two targets and a set over three documents, one of which fails.
fn project() -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            "
            [source.inbox]
            path = \"inbox\"
            [target.upper]
            each = \"inbox\"
            module = \"text:upper\"
            params = { mark = \"!\" }
            [target.line]
            each = \"upper\"
            shell = \"head -n 1 {in} > {out}\"
            publish = true
            [target.book]
            all = \"line\"
            module = \"text:book\"
            min_done = 0.5
            publish = \"book.txt\"
            ",
        )
        .file(
            "modules/text.py",
            "
            from pipelinefile import Result, Skip, module
            @module
            def upper(doc, *, mark: str = '?'):
                text = doc.text()
                if 'empty' in text:
                    raise Skip('nothing in it')
                if 'bad' in text:
                    raise ValueError('this is bad')
                print('upper', len(text))
                return Result(text.upper() + mark, meta={'letters': len(text)})
            @module
            def book(docs):
                return ''.join(doc.text() for doc in docs)
            ",
        )
        .file("inbox/a.txt", "one\ntwo")
        .file("inbox/b.txt", "bad")
        .file("inbox/c.txt", "three")
        .file("inbox/d.txt", "empty")
}

fn built() -> Project {
    let project = project();
    drop(project.pipe(&["build"]).ends(1));
    project
}

#[test]
fn nothing_can_be_told_before_the_first_build_and_nothing_is_made() {
    let project = project();
    for command in
        [&["status"][..], &["log", "a.txt"], &["why", "upper"], &["ls", "upper"], &["cat", "upper", "a"]]
    {
        let said = project.pipe(command).ends(4);
        said.shows(
            "
            status: 4
            --- stderr
            error: nothing was built here yet
            hint: pipe build
        ",
        );
    }
    assert!(!project.root().join(".pipe").exists());
}

#[test]
fn status_counts_by_target_and_names_failures_by_cause() {
    let project = built();
    let said = project.pipe(&["status", "--exit-code"]).ends(1);
    let said = said
        .says("inbox  4 documents, as built")
        .says("upper   each    4     2        1       1        -          -");
    let said = said.says("  1x upper  ValueError: this is bad  (modules/text.py:8)\n     inbox/b.txt\n");
    drop(said.says("nothing to do until the failures are looked at"));
    project.write("inbox/e.txt", "new");
    std::fs::remove_file(project.root().join("inbox/c.txt")).unwrap();
    let said = project.pipe(&["status"]).ends(0).says("inbox  4 documents, 1 new, 1 gone");
    drop(said.says("2 documents to look at: pipe build"));
}

#[test]
fn the_log_tells_all_runs_of_a_document() {
    let project = built();
    project.write("inbox/a.txt", "other\n");
    drop(project.pipe(&["build"]).ends(1));
    let log = project.pipe(&["log", "a.txt"]).ends(0);
    let log = log.says("inbox/a.txt  2 runs").says("  document  new, ").says("  document  changed: ");
    let log = log
        .says("why: new\n")
        .says("why: its input changed\n")
        .says("meta letters=")
        .says("│ 00:00:00.0 upper ");
    drop(log.says("published as out/line/inbox/a.txt.txt"));
    let failed = project.pipe(&["log", "inbox/b.txt", "--target", "upper"]).ends(0);
    let failed = failed.says("failed (module error)").says("ValueError: this is bad  (modules/text.py:8)");
    assert!(!failed.says("Traceback").stdout.contains("blocked"));
    drop(project.pipe(&["log", "b.txt"]).ends(0).says("  line      blocked, upper failed"));
    drop(
        project.pipe(&["log", "d.txt"]).ends(0).says("  upper     skipped, ran at ").says(", nothing in it"),
    );
}

#[test]
fn a_copy_says_whose_result_it_took() {
    let project = built();
    project.write("inbox/copy.txt", "one\ntwo");
    drop(project.pipe(&["build"]).ends(1));
    drop(project.pipe(&["log", "copy.txt"]).ends(0).says("reused the result of inbox/a.txt, run 1"));
    drop(project.pipe(&["why", "copy.txt"]).ends(0).says("the same as inbox/a.txt, run 1"));
}

#[test]
fn a_document_is_found_by_part_published_file_and_source_file() {
    let project = built();
    for name in ["inbox/a.txt", "a.txt", "a", "./inbox/a.txt", "out/line/inbox/a.txt.txt"] {
        let said = project.pipe(&["log", name]).ends(0);
        assert!(said.stdout.starts_with("inbox/a.txt  1 run"), "{name}: {}", said.stdout);
    }
    let said = project.pipe(&["log", "book.txt"]).ends(0);
    assert!(said.stdout.starts_with("book  1 run"), "{}", said.stdout);
    project.pipe(&["log", ".txt"]).shows(
        "
        status: 2
        --- stderr
        error: `.txt` could be 4 documents
          caused by: inbox/a.txt
          caused by: inbox/b.txt
          caused by: inbox/c.txt
          caused by: inbox/d.txt
        hint: give more of its id
    ",
    );
    project.pipe(&["log", "uper"]).shows(
        "
        status: 4
        --- stderr
        error: no document is called `uper`
        hint: did you mean `upper`?
    ",
    );
    project.pipe(&["log", "upper"]).shows(
        "
        status: 2
        --- stderr
        error: `upper` is a target with a result for each document, not one document
        hint: pipe ls upper      lists its documents
    ",
    );
}

#[test]
fn why_compares_the_last_run_with_what_would_be_now_and_runs_nothing() {
    let project = built();
    drop(project.pipe(&["why", "a.txt"]).ends(0).says("  upper     ran at ").says("new (run 1)"));
    let pipelinefile = project.read("Pipelinefile").replace("\"!\"", "\"#\"");
    project.write("Pipelinefile", pipelinefile);
    let why = project.pipe(&["why", "a.txt"]).ends(0).says("  upper     would run: parameter `mark` changed");
    drop(why.says("mark                      \"!\" → \"#\"").says("  line      depends on upper"));
    let why =
        project.pipe(&["why", "upper"]).ends(0).says("upper: 4 documents would be looked at, 0 up to date");
    drop(why.says("  4  parameter `mark` changed"));
    drop(project.pipe(&["why", "line"]).ends(0).says("if `upper` makes something else for it"));
    drop(project.pipe(&["log", "a.txt"]).ends(0).says("inbox/a.txt  1 run"));
}

#[test]
fn why_names_the_code_that_changed_and_the_input_that_changed() {
    let project = built();
    let code = project.read("modules/text.py").replace("this is bad", "this is still bad");
    project.write("modules/text.py", code);
    project.write("inbox/c.txt", "changed");
    let why = project.pipe(&["why", "c.txt"]).ends(0).says("  document  changed since: ");
    drop(why.says("the module's code changed; its input changed").says("modules/text.py           "));
    drop(project.pipe(&["build"]).ends(1));
    let why = project.pipe(&["why", "a.txt"]).ends(0);
    let why = why.says("the module's code changed (run 2)").says("came out the same as before");
    drop(why.says("  line      did not run").says("its input came out the same: upper"));
}

#[test]
fn ls_shows_states_tests_and_failures() {
    let project = built();
    project.pipe(&["ls", "upper"]).shows(
        "
        status: 0
        --- stdout
        inbox/a.txt  done        txt          8 B
        inbox/b.txt  failed                        ValueError: this is bad (modules/text.py:8)
        inbox/c.txt  done        txt          6 B
        inbox/d.txt  skipped                       nothing in it
    ",
    );
    drop(project.pipe(&["ls", "upper", "--where", "meta.letters=7"]).ends(0).says("inbox/a.txt"));
    drop(project.pipe(&["ls", "line", "--state", "blocked"]).ends(0).says("inbox/b.txt  blocked"));
    drop(project.pipe(&["ls", "line", "--docs", "**/c.*"]).ends(0).says("inbox/c.txt  done"));
    drop(project.pipe(&["ls", "upper", "--state", "unfinished"]).ends(4));
    drop(project.pipe(&["ls", "upper", "--state", "odd"]).ends(2).says("states: done, skipped, left-out"));
}

#[test]
fn a_manifest_has_content_inherited_meta_and_state() {
    let project = built();
    let said = project.pipe(&["ls", "line", "--manifest"]).ends(0);
    let lines: Vec<serde_json::Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fields = |ix: usize| (lines[ix]["id"].as_str().unwrap(), lines[ix]["state"].as_str().unwrap());
    assert_eq!(fields(0), ("inbox/a.txt", "done"));
    assert_eq!(lines[0]["text"], "ONE\n");
    assert_eq!(lines[0]["meta"], serde_json::json!({ "letters": 7 }));
    assert_eq!(fields(1), ("inbox/b.txt", "blocked"));
    assert!(lines[1].get("text").is_none());
}

#[test]
fn cat_prints_bytes_as_they_are_and_never_damaged_ones() {
    let project = built();
    project.write("inbox/bytes.txt", b"\xff\x00one\n");
    drop(project.pipe(&["build"]).ends(1));
    let cat = |arguments: &[&str]| project.command(arguments).output().unwrap();
    assert_eq!(cat(&["cat", "inbox", "bytes.txt"]).stdout, b"\xff\x00one\n");
    assert_eq!(cat(&["cat", "upper", "a.txt"]).stdout, b"ONE\nTWO!");
    assert_eq!(cat(&["cat", "book"]).stdout, b"ONE\nTHREE!");
    drop(project.pipe(&["cat", "upper", "b.txt"]).ends(4).says("has no result for inbox/b.txt: failed"));
    let segment = project.root().join(".pipe/segments/000001.seg");
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(8).position(|window| window == b"ONE\nTWO!").unwrap();
    bytes[at] = b'X';
    std::fs::write(&segment, bytes).unwrap();
    let said = project.pipe(&["cat", "upper", "a.txt"]).ends(3);
    assert!(said.says("is damaged in the store").stdout.is_empty());
    drop(project.pipe(&["build"]).ends(1));
    assert_eq!(cat(&["cat", "upper", "a.txt"]).stdout, b"ONE\nTWO!");
}

#[test]
fn a_running_build_answers_and_a_followed_log_ends_with_it() {
    let project = project();
    // The module waits until the test has asked.
    let wait = "
from pipelinefile import module
import os, time
@module
def upper(doc, *, mark: str = '?'):
    print('working')
    doc.progress(2, 8)
    while doc.text().startswith('three') and not os.path.exists('go'):
        time.sleep(0.01)
    return doc.text()
@module
def book(docs):
    return ''
";
    project.write("modules/text.py", wait);
    let mut build = project.command(&["build", "--progress", "plain"]).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        // One of the two may have been handed to the worker that waits with the third.
        let said = ["a", "b"].map(|name| project.pipe(&["log", &format!("inbox/{name}.txt")]));
        let is_told =
            |text: &str| text.contains("a build is running") && text.contains("│ 00:00:00.0 working");
        if said.iter().any(|said| is_told(&said.stdout)) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{}{}", said[0].text(), said[1].text());
    }
    // What it is at: in the status, in the log of the document, and in its log when it is followed.
    let in_hand = loop {
        let said = project.pipe(&["status"]).ends(0).says("a build is running");
        if said.stdout.contains("(2 of 8)") {
            break said;
        }
        assert!(std::time::Instant::now() < deadline, "{}", said.text());
    };
    let in_hand = in_hand.says("in hand  ");
    drop(in_hand.says("  upper  inbox/c.txt  on worker "));
    let status: serde_json::Value =
        serde_json::from_str(&project.pipe(&["status", "--json"]).ends(0).stdout).unwrap();
    let held = &status["in_hand"][0];
    assert_eq!(
        (&held["doc"], &held["target"], &held["behind"]),
        (&"inbox/c.txt".into(), &"upper".into(), &0.into())
    );
    assert!(held["since"].as_u64().is_some_and(|since| since >= 1_767_225_600_000), "{held}");
    // Its lines are told from where the last answer ended, which the build knows a moment later.
    let in_hand = loop {
        let said = project.pipe(&["log", "c.txt"]).ends(0).says("inbox/c.txt  1 run, in hand now");
        // Each with its time, though nobody knows yet how it will end.
        if said.stdout.contains("│ 00:00:00.0 working\n") {
            break said;
        }
        assert!(std::time::Instant::now() < deadline, "{}", said.text());
    };
    drop(in_hand.says("  upper     in hand, on worker ").says("(2 of 8)\n"));
    // One that came meanwhile waits for the next build; a part of its name is enough.
    project.write("inbox/newcomer.txt", "four");
    project.write("inbox/other-newcomer.txt", "five");
    project.pipe(&["log", "inbox/newc"]).shows(
        "
        status: 0
        --- stdout
        inbox/newcomer.txt  nothing yet, a build is running
          from  the file inbox/newcomer.txt
    ",
    );
    drop(project.pipe(&["why", "/newcomer"]).ends(0).says("inbox/newcomer.txt\n"));
    drop(
        project
            .pipe(&["log", "comer"])
            .ends(2)
            .says("`comer` could be 2 documents")
            .says("inbox/other-newcomer.txt"),
    );
    drop(project.pipe(&["ls", "upper"]));
    let mut follow = project.command(&["log", "-f", "inbox/c.txt"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with("inbox/c.txt"));
    assert!(lines.by_ref().any(|line| line.unwrap().ends_with(" working")));
    let mut watch = project.command(&["status", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(shown.by_ref().any(|line| line.contains("a build is running")));
    project.write("go", "");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(!rest.iter().any(|line| line.ends_with(" working")), "told twice: {rest:?}");
    assert!(rest.iter().any(|line| line.contains("published as out/line/inbox/c.txt.txt")), "{rest:?}");
    let shown: Vec<String> = shown.collect();
    assert!(shown.last().is_some_and(|line| !line.contains("a build is running")), "{shown:?}");
    assert!(watch.wait().unwrap().success());
    assert!(follow.wait().unwrap().success());
    assert!(build.wait().unwrap().success());
    assert!(!project.root().join(".pipe/socket").exists());
}
