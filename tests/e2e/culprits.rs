//! A document that brings its module down: exactly that one fails, whatever was in hand beside it.

use pipelinefile::model::action::State;

use crate::harness::Project;

/// Twelve documents; what one says decides how its module ends.
fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.clean]
            each = "docs"
            module = "clean"
            workers = 1
            [target.loud]
            each = "clean"
            module = "loud"
            publish = true
            "#,
        )
        .counted(
            "clean",
            "
            import ctypes, signal

            @module
            def clean(doc):
                word = ran('clean', doc.text())
                if word == 'raise':
                    raise ValueError('this one is no good')
                if word == 'deep':
                    return clean.__wrapped__(doc) if hasattr(clean, '__wrapped__') else deep(0)
                if word == 'sys.exit':
                    sys.exit(3)
                if word == 'sys.exit0':
                    sys.exit(0)
                if word == 'os._exit':
                    os._exit(0)
                if word == 'segfault':
                    ctypes.string_at(0)
                if word == 'abort':
                    os.abort()
                if word == 'hang':
                    time.sleep(600)
                if word == 'none':
                    return None
                if word == 'nan':
                    return {'x': [1, float('nan')]}
                if word == 'object':
                    return object()
                return doc.text().upper()

            def deep(n):
                return deep(n + 1)
            ",
        )
        .counted(
            "loud",
            "
            @module
            def loud(doc):
                return ran('loud', doc.text()) + '!'
            ",
        );
    for n in 0..12 {
        project.write(&format!("docs/d{n:02}.txt"), format!("d{n:02}"));
    }
    project
}

/// What one document does must be its own failure alone.
#[track_caller]
fn alone_fails(words: &[(&str, &str)], timeout: bool) -> Project {
    let project = project();
    if timeout {
        let text = project.read("Pipelinefile").replace("workers = 1", "workers = 1\ntimeout = \"1s\"");
        project.write("Pipelinefile", text);
    }
    for (n, (word, _)) in words.iter().enumerate() {
        project.write(&format!("docs/d{:02}.txt", 2 + 3 * n), word);
    }
    let ended = project.build().ends(1);
    let expected: Vec<String> = words
        .iter()
        .enumerate()
        .map(|(n, (_, kind))| format!("clean docs/d{:02}.txt: {kind}", 2 + 3 * n))
        .collect();
    assert_eq!(ended.failures(), expected, "{}", ended.text());
    assert_eq!(project.counts("loud").len(), 12 - words.len());
    assert_eq!(project.names("out").len(), 12 - words.len());
    assert_eq!(ended.finished()["blocked"], words.len());
    project.no_process_is_left();
    project
}

#[test]
fn what_is_behind_a_failure_is_blocked_and_says_by_whom() {
    let project = alone_fails(&[("raise", "module-error ValueError")], false);
    let standing = project.standing("docs/d02.txt");
    assert_eq!(standing["clean"].state, State::Failed);
    assert_eq!(standing["clean"].why, "this one is no good");
    assert_eq!(standing["loud"].state, State::Blocked);
    assert!(standing["loud"].why.contains("clean"), "{standing:?}");
}

#[test]
fn a_module_error_stands_until_something_changes() {
    let project = alone_fails(&[("raise", "module-error ValueError")], false);
    project.take_counts("clean");
    let again = project.build().ends(1);
    assert_eq!(project.counts("clean"), Vec::<String>::new());
    assert_eq!(again.finished()["causes"][0]["samples"][0], "docs/d02.txt", "{}", again.text());
    drop(project.pipe(&["build"]).ends(1).says("ValueError"));
    project.write("docs/d02.txt", "better");
    drop(project.build().ends(0));
    assert_eq!(project.counts("clean"), ["better"]);
    assert_eq!(project.read("out/loud/docs/d02.txt.txt"), "BETTER!");
}

#[test]
fn values_that_are_no_output_are_module_errors() {
    alone_fails(
        &[
            ("none", "module-error TypeError"),
            ("nan", "module-error ValueError"),
            ("object", "module-error TypeError"),
            ("deep", "module-error RecursionError"),
        ],
        false,
    );
}

#[test]
fn a_document_that_ends_its_worker_is_a_crash() {
    alone_fails(
        &[
            ("sys.exit", "module-error SystemExit"),
            ("os._exit", "crash exit 0"),
            ("sys.exit0", "module-error SystemExit"),
        ],
        false,
    );
}

#[test]
fn a_document_that_kills_its_worker_is_a_crash_with_its_signal() {
    alone_fails(&[("segfault", "crash SIGSEGV"), ("abort", "crash SIGABRT")], false);
}

#[test]
fn a_document_that_hangs_passes_its_time_limit() {
    let project = alone_fails(&[("hang", "timeout timeout")], true);
    // Its log shows where.
    let standing = project.standing("docs/d02.txt");
    assert!(standing["clean"].log.contains("clean.py"), "{standing:?}");
}

#[test]
fn a_filter_says_no_by_its_exit_code() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.exit]
        each = "docs"
        shell = 'if grep -q bad {in}; then echo this is why >&2; exit 3; fi; cat {in} > {out}'
        publish = true
        [target.signal]
        each = "docs"
        shell = 'if grep -q bad {in}; then kill -SEGV $$; fi; cat {in} > {out}'
        [target.nothing]
        each = "docs"
        shell = 'if grep -q good {in}; then cat {in} > {out}; fi'
        [target.skip]
        each = "docs"
        shell = 'if grep -q bad {in}; then exit 77; fi; cat {in} > {out}'
        publish = true
        [target.slow]
        each = "docs"
        shell = 'if grep -q bad {in}; then sleep 600 & wait; fi; cat {in} > {out}'
        timeout = "500ms"
        "#,
    );
    project.write("docs/a.txt", "good");
    project.write("docs/b.txt", "bad");
    project.write("docs/c.txt", "good too");
    let ended = project.build().ends(1);
    assert_eq!(
        ended.failures(),
        [
            "exit docs/b.txt: module-error exit 3",
            "nothing docs/b.txt: output-missing output missing",
            "signal docs/b.txt: crash SIGSEGV",
            "slow docs/b.txt: timeout timeout",
        ],
        "{}",
        ended.text()
    );
    assert_eq!(ended.named("skipped"), ["skip docs/b.txt"]);
    assert!(ended.text().contains("this is why"));
    assert_eq!(project.names("out").len(), 4);
    project.no_process_is_left();
}

/// Answers are held for a few milliseconds, and quick documents are many in that time: when the worker dies none of
/// them is lost, and exactly the one that it was at is tried again.
#[test]
fn quick_documents_beside_one_that_crashes_run_once() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\nworkers = 1\n",
        )
        .counted(
            "read",
            "
            @module
            def read(doc):
                doc.count(usd=1)
                word = ran('read', doc.text())
                if word.startswith('bad'):
                    os.kill(os.getpid(), 11)
                return word
            ",
        );
    for i in 0..200 {
        let word = if i % 70 == 30 { "bad" } else { "good" };
        project.write(&format!("docs/{i:03}.txt"), format!("{word}{i}"));
    }
    let ended = project.build().ends(1);
    assert_eq!(ended.finished()["targets"][0]["built"], 197, "{}", ended.text());
    let mut runs = std::collections::BTreeMap::<String, u32>::new();
    for word in project.counts("read") {
        *runs.entry(word).or_default() += 1;
    }
    let (bad, good): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(word, _)| word.starts_with("bad"));
    let again: Vec<_> = good.iter().filter(|(_, runs)| *runs > 1).collect();
    assert_eq!((good.len(), again.len()), (197, 0), "{again:?}");
    // Once among others, and then alone as often as a passing fault is tried. What a lost try counted was paid once.
    assert!(bad.len() == 3 && bad.iter().all(|(_, runs)| (2..=4).contains(runs)), "{bad:?}");
    assert!(project.pipe(&["status"]).text().contains("$200.00"), "{}", project.pipe(&["status"]).text());
    project.no_process_is_left();
}
