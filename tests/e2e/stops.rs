//! Stopping a build: Ctrl-C once and twice, SIGTERM, a second `pipe` beside the first, processes killed from outside.

use rustix::process::{Pid, Signal};

use crate::harness::{Project, Running};

const DOCUMENTS: usize = 40;

/// Forty documents, more than are handed out at once; the one called `slow` waits until it may go on.
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
            publish = true
            [target.all]
            all = "clean"
            module = "join"
            publish = "out/all.txt"
            "#,
        )
        .counted(
            "clean",
            "
            @module
            def clean(doc):
                if ran('clean', doc.text()) == 'slow':
                    hold('slow')
                return doc.text().upper()
            ",
        )
        .counted(
            "join",
            "
            @module
            def join(docs):
                ran('join')
                return ' '.join(doc.text() for doc in docs)
            ",
        );
    for n in 0..DOCUMENTS {
        project.write(&format!("docs/d{n:02}.txt"), format!("d{n:02}"));
    }
    project.write("docs/d03.txt", "slow");
    project
}

/// Until `slow` is in hand.
fn held(project: &Project) -> Running {
    let running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    running
}

/// The set has every document.
#[track_caller]
fn is_whole(project: &Project) {
    let words = (0..DOCUMENTS).map(|n| if n == 3 { "SLOW".to_owned() } else { format!("D{n:02}") });
    assert_eq!(project.read("out/all.txt"), words.collect::<Vec<_>>().join(" "));
}

/// The next build does exactly what was not done.
fn goes_on(project: &Project, done: &[String]) {
    project.write("go-slow", "");
    let before = project.take_counts("clean");
    let rest = project.build().ends(0);
    assert!(rest.named("done").iter().all(|what| !done.contains(what)), "{}", rest.text());
    let again = project.counts("clean");
    assert_eq!(again.len(), DOCUMENTS - done.len(), "done before: {done:?}, ran before: {before:?}");
    is_whole(project);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn ctrl_c_hands_out_nothing_new_and_keeps_what_is_done() {
    let project = project();
    let mut running = held(&project);
    running.ctrl_c();
    running.until_event("stopping");
    let told = running.events().len();
    project.write("go-slow", "");
    let ended = running.end().ends(130);
    let late = ended.events[told..].iter().filter(|event| event["event"] == "started").count();
    assert_eq!(late, 0, "{}", ended.text());
    assert_eq!(ended.finished()["stopped"]["why"], "signal");
    assert_eq!(ended.finished()["unfinished"], DOCUMENTS - ended.named("done").len(), "{}", ended.text());
    let done = ended.named("done");
    assert!(done.contains(&"clean docs/d03.txt".to_owned()), "what was in hand may finish: {}", ended.text());
    assert!(project.counts("join").is_empty());
    project.no_process_is_left();
    assert_eq!(project.counts("clean").len(), done.len(), "what was in hand was finished and kept");
    goes_on(&project, &done);
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    let project = project();
    let mut running = held(&project);
    running.ctrl_c();
    running.until_event("stopping");
    running.ctrl_c();
    let ended = running.end().ends(130);
    project.no_process_is_left();
    goes_on(&project, &ended.named("done"));
}

#[test]
#[ignore = "takes the ten seconds that it is about"]
fn ctrl_c_ends_within_ten_seconds_whatever_hangs() {
    let project = project();
    let running = held(&project);
    running.ctrl_c();
    let ended = running.end().ends(130);
    project.no_process_is_left();
    goes_on(&project, &ended.named("done"));
}

#[test]
fn sigterm_is_the_same_with_143() {
    let project = project();
    let mut running = held(&project);
    running.signal(Signal::TERM);
    running.until_event("stopping");
    project.write("go-slow", "");
    let ended = running.end().ends(143);
    project.no_process_is_left();
    goes_on(&project, &ended.named("done"));
}

#[test]
fn people_are_told_how_to_go_on() {
    let project = project();
    let child = project.command(&["build"]).spawn().unwrap();
    project.wait_for_file("here-slow");
    let pid = Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("pipe build"), "{text}");
    project.no_process_is_left();
}

#[test]
fn a_second_build_is_told_who_has_the_store() {
    let project = project();
    let running = held(&project);
    let second = project.pipe(&["build"]).ends(3);
    assert!(second.stderr.contains(&running.pid().to_string()), "{}", second.text());
    // It touched nothing.
    project.write("go-slow", "");
    let ended = running.end().ends(0);
    assert_eq!(ended.named("done").len(), DOCUMENTS + 1);
    assert_eq!(project.counts("clean").len(), DOCUMENTS);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn a_worker_that_is_killed_from_outside_costs_no_document() {
    let project = project();
    let running = held(&project);
    let worker = processes_with(&project, "pipelinefile.worker");
    assert_eq!(worker.len(), 1);
    project.write("go-slow", "");
    rustix::process::kill_process(worker[0], Signal::KILL).ok();
    let ended = running.end().ends(0);
    assert_eq!(ended.named("failed"), Vec::<String>::new());
    is_whole(&project);
    project.no_process_is_left();
}

#[test]
fn a_host_that_is_killed_from_outside_loses_nothing_for_good() {
    let project = project();
    let running = held(&project);
    let host = processes_with(&project, "__host");
    assert_eq!(host.len(), 1);
    project.write("go-slow", "");
    rustix::process::kill_process(host[0], Signal::KILL).ok();
    let ended = running.end();
    assert!([0, 1, 3].contains(&ended.status), "{}", ended.text());
    project.no_process_is_left();
    drop(project.build().ends(0));
    is_whole(&project);
}

fn processes_with(project: &Project, word: &str) -> Vec<Pid> {
    let found = project.processes().into_iter().filter(|line| line.contains(word));
    found.filter_map(|line| Pid::from_raw(line.split(' ').next()?.parse().ok()?)).collect()
}
