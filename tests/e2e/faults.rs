//! Passing faults: tried again, set aside when they keep coming, and the breaker of a module that fails at everything.

use serde_json::Value;

use crate::harness::Project;

fn project(settings: &str, code: &str) -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n{settings}\n\
                 [target.after]\neach = \"read\"\nmodule = \"after\"\n"
            ),
        )
        .counted("read", code)
        .counted("after", "@module\ndef after(doc):\n    return ran('after', doc.text()) + '!'\n")
}

fn attempts(ended: &crate::harness::Ended) -> Vec<u64> {
    ended.all("retrying").iter().map(|event| event["attempt"].as_u64().unwrap()).collect()
}

const CRASHES: &str = "
import os, signal
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'bad':
        os.kill(os.getpid(), signal.SIGSEGV)
    return word
";

#[test]
fn what_kills_its_worker_is_tried_three_times_then_set_aside_across_builds() {
    let project = project("", CRASHES);
    for n in 0..20 {
        project
            .write(&format!("docs/d{n:02}.txt"), if n == 7 { "bad".to_owned() } else { format!("d{n:02}") });
    }
    let ended = project.build().ends(1);
    assert_eq!(attempts(&ended), [1, 2], "{}", ended.text());
    assert_eq!(ended.failures(), ["read docs/d07.txt: crash SIGSEGV"]);
    // Three times alone; before, perhaps, among others, which blames nobody.
    let runs = project.take_counts("read").iter().filter(|word| *word == "bad").count();
    assert!((3..=3 + 19).contains(&runs), "{runs} runs");
    assert_eq!(project.counts("after").len(), 19);
    drop(project.pipe(&["log", "docs/d07.txt"]).ends(0).says("set aside"));

    let again = project.build().ends(1);
    assert_eq!(project.take_counts("read"), Vec::<String>::new(), "it was set aside");
    assert_eq!(again.finished()["causes"][0]["count"], 1);
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new(), "also without an index");
    // A copy has the same key: it is set aside without being tried.
    project.write("docs/copy.txt", "bad");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new(), "the key is what is counted");

    project.write("docs/d07.txt", "good");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), ["good"]);
}

#[test]
fn a_higher_limit_opens_again_what_ran_out_of_time() {
    let code = "
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'slow':
        time.sleep(float(os.environ['SLOW']))
    return word
";
    let project = project("timeout = \"1s\"\nretries = 1", code).env("SLOW", "600");
    project.write("docs/a.txt", "slow");
    project.write("docs/b.txt", "quick");
    let ended = project.build().ends(1);
    assert_eq!(attempts(&ended), [1]);
    assert_eq!(ended.failures(), ["read docs/a.txt: timeout timeout"]);
    project.take_counts("read");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    let project = project.env("SLOW", "0");
    project.write("Pipelinefile", project.read("Pipelinefile").replace("1s", "50s"));
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), ["slow"]);
}

#[test]
fn who_asks_for_another_try_gets_it_and_is_never_set_aside() {
    let code = "
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'busy' and not os.path.exists('open'):
        from pipelinefile import Retry
        raise Retry('the service is busy', after=0.01)
    if word == 'down' and not os.path.exists('open'):
        from pipelinefile import Retry
        raise Retry('down', after=0.01)
    return word
";
    let project = project("retries = 3", code);
    project.write("docs/a.txt", "busy");
    project.write("docs/b.txt", "fine");
    let ended = project.build().ends(1);
    assert_eq!(attempts(&ended), [1, 2, 3]);
    assert_eq!(project.take_counts("read").iter().filter(|word| *word == "busy").count(), 4);
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read").len(), 4, "the next build tries it again");
    project.write("open", "");
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), ["busy"]);
}

const SAYS_NO: &str = "
@module
def read(doc):
    word = ran('read', doc.text())
    if not os.path.exists('key'):
        raise RuntimeError('no access: set the key')
    return word
";

#[test]
fn the_same_error_fifty_times_in_a_row_stops_the_module() {
    let project = project("", SAYS_NO);
    for n in 0..400 {
        project.write(&format!("docs/d{n:03}.txt"), format!("d{n:03}"));
    }
    let ended = project.build().ends(3);
    let stopped: &Value = &ended.finished()["stopped"];
    assert_eq!((&stopped["why"], &stopped["in_a_row"]), (&"breaker".into(), &50.into()), "{}", ended.text());
    let ran = project.take_counts("read").len();
    assert!((50..400).contains(&ran), "{ran} ran");
    drop(project.pipe(&["build"]).ends(3).says("read met the same error 50 times in a row and was stopped"));
    project.take_counts("read");
    // Whoever asks meanwhile is told that these are no results that stand.
    let said = project.pipe(&["failed"]).ends(0).says("  the next build tries again: opened by ");
    assert!(!said.text().contains("kept"), "{}", said.text());
    drop(project.pipe(&["why", "read"]).ends(0).says("opened again: the next build tries them\n"));

    // Nothing but the world outside has changed: those that met the error are tried again, and the rest with them.
    project.write("key", "");
    drop(project.build().ends(0));
    let mut runs = project.take_counts("read");
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 400);
    assert_eq!(project.counts("after").len(), 400);
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
}

#[test]
fn other_errors_and_successes_in_between_break_the_row() {
    let project = project(
        "",
        "
@module
def read(doc):
    word = ran('read', doc.text())
    if int(word[1:]) % 10 != 3:
        raise RuntimeError('no')
    return word
",
    );
    for n in 0..200 {
        project.write(&format!("docs/d{n:03}.txt"), format!("d{n:03}"));
    }
    let ended = project.build().ends(1);
    assert_eq!(ended.finished()["causes"][0]["count"], 180);
    assert_eq!(project.counts("after").len(), 20);
}

#[test]
fn ctrl_c_does_not_wait_for_what_is_to_be_tried_again() {
    let code = "
@module
def read(doc):
    ran('read', doc.text())
    from pipelinefile import Retry
    raise Retry('later', after=500)
";
    let project = project("", code);
    project.write("docs/a.txt", "a");
    let mut running = project.start(&["build"]);
    running.until_event("retrying");
    running.ctrl_c();
    drop(running.end().ends(130));
    project.no_process_is_left();
}

#[test]
fn retry_opens_again_what_failed_and_nothing_else() {
    let project = project("", SAYS_NO);
    for n in 0..5 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    project.write("key", "");
    drop(project.build().ends(0));
    drop(std::fs::remove_file(project.root().join("key")));
    project.write("docs/d5.txt", "d5");
    drop(project.build().ends(1));
    project.take_counts("read");
    let failed = project.pipe(&["failed"]).ends(0);
    failed.shows(
        "
        status: 0
        --- stdout
        1 document, 1 cause

        1x read  module error  (modules/read.py:9)  cause 723295a9
          RuntimeError: no access: set the key
          docs/d5.txt
          kept: no build tries again until code, params or input change
          blocked behind:  after 1
          try it here:   pipe try read docs/d5.txt --debug
          once mended:   pipe retry read

        1 document behind a failure: pipe status
        ",
    );
    drop(project.pipe(&["failed", "after"]).ends(0).says("nothing failed"));
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new(), "a module error stands");
    project.write("key", "");
    drop(project.pipe(&["retry", "after"]).ends(0).says("nothing failed there"));
    drop(project.pipe(&["retry", "-n"]).ends(0).says("read: would try again: 1 failed document"));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    let retried = project.pipe(&["retry"]).ends(0);
    assert!(!retried.text().contains("not reproducible"), "{}", retried.text());
    drop(project.pipe(&["log", "docs/d5.txt"]).says("its failure was opened again, by `pipe retry`"));
    assert_eq!(project.take_counts("read"), ["d5"]);
    assert_eq!(project.counts("after").len(), 6);
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
}

#[test]
fn retry_opens_again_what_was_set_aside() {
    let project = project(
        "retries = 0",
        &CRASHES.replace("if word == 'bad'", "if word == 'bad' and not os.path.exists('well')"),
    );
    project.write("docs/a.txt", "bad");
    drop(project.build().ends(1));
    project.take_counts("read");
    project.write("well", "");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    drop(project.pipe(&["retry", "read", "--docs", "docs/*"]).ends(0));
    assert_eq!(project.take_counts("read"), ["bad"]);
}

#[test]
fn crashes_and_time_limits_are_grouped_by_the_line_where_they_happened() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "
            [source.docs]
            path = \"docs\"
            [target.page]
            each = \"docs\"
            module = \"page\"
            retries = 0
            timeout = \"5s\"
            ",
        )
        .file(
            "modules/page.py",
            "
            import ctypes, os, time
            from pipelinefile import module
            def one():
                ctypes.string_at(0)
            def two():
                ctypes.string_at(0)
            @module
            def page(doc):
                print('printed before')
                {'one': one, 'two': two, 'hang': lambda: time.sleep(1000), 'abort': os.abort}[doc.text()]()
            ",
        );
    for (name, text) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", "hang"), ("e", "abort")] {
        project.write(&format!("docs/{name}.txt"), text);
    }
    drop(project.pipe(&["build"]).ends(1));
    let said = project.pipe(&["failed", "--json"]).ends(0);
    let failed: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let cause = |cause: &serde_json::Value| {
        let failure = &cause["failure"];
        let word = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
        format!("{} {} {}", cause["count"], word(&failure["error"]), word(&failure["place"]))
    };
    let mut causes: Vec<String> = failed["causes"].as_array().unwrap().iter().map(cause).collect();
    causes.sort();
    let expected = [
        "1 SIGABRT modules/page.py:10",
        "1 SIGSEGV modules/page.py:6",
        "1 timeout modules/page.py:10",
        "2 SIGSEGV modules/page.py:4",
    ];
    assert_eq!(causes, expected);
    // Not the last line of the stack, but what the module said last.
    drop(said.says("the worker died of SIGSEGV; the last line of its log: printed before\""));
}
