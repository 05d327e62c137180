//! Group A, 1 to 15: kills, signals, power cuts, workers that the kernel takes.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::faultbox::Fault;
use crate::harness::Project;
use crate::library::{Shown, Witness, announced, expected, library, runs};
use crate::places::{Image, Mount};
use crate::{Random, times};

const DOCUMENTS: usize = 6;

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Forty documents of a Python module; the one called `slow` waits until it may go on.
fn held_project(settings: &str) -> Project {
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
            "#,
        )
        .counted(
            "clean",
            "
            import signal
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

            @module
            def clean(doc):
                if ran('clean', doc.text()) == 'slow':
                    hold('slow')
                return doc.text().upper()
            ",
        );
    let text = project.read("Pipelinefile");
    project.write("Pipelinefile", format!("{text}{settings}\n"));
    for n in 0..40 {
        project.write(&format!("docs/d{n:02}.txt"), format!("d{n:02}"));
    }
    project.write("docs/d03.txt", "slow");
    project
}

/// The next build does exactly what was not done: each module ran once for each document, but for those that were cut off.
#[track_caller]
fn goes_on(project: &Project, cut_off: &[&str]) {
    project.write("go-slow", "");
    drop(project.build().ends(0));
    assert_eq!(project.names("out").len(), project.names("docs").len());
    let all = project.counts("clean");
    let twice: Vec<&String> = all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| &pair[0]).collect();
    assert!(twice.iter().all(|word| cut_off.contains(&word.as_str())), "ran twice: {twice:?}");
    assert!(project.build().ends(0).all("plan").is_empty());
    project.no_process_is_left();
}

/// `pipe build` in a terminal of its own, with what is done to it.
fn in_a_terminal(project: &Project, steps: &[&str]) -> crate::harness::Outcome {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/tools/terminal.py");
    let words = [&["python3", tool], steps, &["--"]].concat();
    project.pipe_through(&words, &["build"])
}

#[test]
fn fault_a01_ctrl_c_in_a_terminal_keeps_what_is_in_hand_and_says_how_to_go_on() {
    let project = held_project("");
    // Whichever comes first waits, and all are more than one worker can have in hand.
    for n in 0..200 {
        project.write(&format!("docs/d{n:02}.txt"), format!("slow {n}"));
    }
    let said =
        in_a_terminal(&project, &["wait:here-slow", "key:C-c", "say:Stopping", "touch:go-slow"]).ends(130);
    assert!(said.stdout.contains("\"pipe build\" goes on from here"), "{}", said.text());
    let done = project.counts("clean").len();
    assert!((1..=64).contains(&done), "{done}: {}", said.text());
    goes_on(&project, &["slow"]);
    assert_eq!(project.counts("clean").len(), 200, "what was in hand was kept, and nothing ran twice");
}

#[test]
fn fault_a01_ctrl_c_at_random_moments() {
    let expected = expected(DOCUMENTS);
    let mut random = Random(101);
    for _ in 0..times(4, 60) {
        let project = library(DOCUMENTS);
        let wait = format!("sleep:{}", random.below(250));
        let said = in_a_terminal(&project, &[&wait, "key:C-c"]);
        // Before there was anybody to catch it, or after the end.
        assert!([0, 130].contains(&said.status), "{}", said.text());
        assert!(runs(&project).values().all(|count| *count == 1), "{wait}");
        let witness = Witness::new(&project, &expected);
        witness.ends_well(&wait);
        assert!(runs(&project).values().all(|count| *count == 1), "{wait}: {:?}", runs(&project));
    }
}

#[test]
fn fault_a02_ctrl_c_twice_ends_what_is_in_hand_at_once() {
    let project = held_project("");
    let began = Instant::now();
    let said = in_a_terminal(&project, &["wait:here-slow", "key:C-c", "say:Stopping", "key:C-c"]).ends(130);
    assert!(began.elapsed() < Duration::from_secs(9), "it waited for the module: {}", said.text());
    project.no_process_is_left();
    goes_on(&project, &[&["slow"][..], &words()].concat());
}

#[test]
fn fault_a02_ctrl_c_three_times_ends_whatever_the_disk_does() {
    let project = held_project("");
    let pause = project.root().join("never");
    // From the third sync on the disk does not answer.
    let fault = Fault::at_calls("fsync,fdatasync").under(&project, ".pipe/segments");
    let running = fault.from(3, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("never.here");
    let pid = project.read("never.here").trim().parse().unwrap();
    for _ in 0..3 {
        signal(pid, Signal::INT);
        std::thread::sleep(Duration::from_millis(60));
    }
    drop(running.end().ends(130));
    project.no_process_is_left();
    goes_on(&project, &words());
}

/// Documents whose results may be lost: nothing of them was announced.
fn words() -> Vec<&'static str> {
    (0..40).map(|n| Box::leak(format!("d{n:02}").into_boxed_str()) as &str).chain(["slow"]).collect()
}

#[test]
fn fault_a03_sigterm_ends_in_order_also_with_a_module_that_ignores_it() {
    let project = held_project("");
    let mut running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    running.signal(Signal::TERM);
    running.until_event("stopping");
    project.write("go-slow", "");
    drop(running.end().ends(143));
    project.no_process_is_left();
    goes_on(&project, &[]);
}

#[test]
fn fault_a03_sigterm_has_a_limit_of_ten_seconds() {
    if times(0, 1) == 0 {
        eprintln!("skipped: takes the ten seconds that it is about; PIPE_TEST_LONG=1 runs it");
        return;
    }
    let project = held_project("");
    let running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    running.signal(Signal::TERM);
    drop(running.end().ends(143));
    project.no_process_is_left();
    goes_on(&project, &words());
}

#[test]
fn fault_a04_a_terminal_that_goes_away() {
    let project = held_project("");
    // Twice: what hangs is given up.
    let said = in_a_terminal(&project, &["wait:here-slow", "touch:go-slow", "hangup"]);
    assert!([0, 129].contains(&said.status), "{}", said.text());
    project.no_process_is_left();
    goes_on(&project, &[]);
}

/// Kills a build of a fresh project at its n-th call, then builds to the end.
fn killed_at(n: usize, expected: &Shown) -> bool {
    let project = library(DOCUMENTS);
    let mut witness = Witness::new(&project, expected);
    let ended = Fault::at_changes(&project).at(n, "kill").start(&project, &["build"]).end();
    let was_killed = ended.status == 137;
    witness.saw(&ended, &format!("kill at call {n}"));
    witness.ends_well(&format!("after a kill at call {n}"));
    was_killed
}

#[test]
fn fault_a05_kill_9_at_every_call_that_changes_the_disk() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let calls = Fault::at_changes(&project).calls(&project, &["build"]).len();
    assert!(calls > 200, "{calls}");
    let kills = times(16, calls);
    let killed = (0..kills).filter(|n| killed_at(1 + n * calls / kills, &expected)).count();
    eprintln!("{killed} kills at {kills} of {calls} calls");
    assert!(killed >= kills * 9 / 10, "{killed} of {kills}");
}

#[test]
fn fault_a05_kill_9_at_random_moments() {
    let documents = 24;
    let (wanted, mut kills) = (times(12, 2000), 0);
    let began = Instant::now();
    let expected = expected(documents);
    let whole = began.elapsed();
    let mut random = Random(105);
    while kills < wanted {
        let project = library(documents);
        let mut witness = Witness::new(&project, &expected);
        for _ in 0..4 {
            let mut running = project.start(&["build"]);
            // Half by what it has said (the same on every machine), half by time (also before it says anything).
            if random.below(2) == 0 {
                let mut left = random.below(documents * 6);
                running.until(|_| {
                    left = left.saturating_sub(1);
                    left == 0
                });
            } else {
                std::thread::sleep(Duration::from_micros(random.below(whole.as_micros() as usize) as u64));
            }
            let ended = running.kill();
            kills += usize::from(ended.status == 137);
            witness.saw(&ended, &format!("kill {kills}"));
            if random.below(4) == 0 {
                drop(std::fs::remove_dir_all(project.root().join(".pipe/index")));
            }
        }
        witness.ends_well(&format!("after kill {kills}"));
    }
    eprintln!("{kills} kills");
}

/// A build that was killed half-way, then its recovery, and the recovery of that, each killed at some call.
#[test]
fn fault_a06_kill_9_during_recovery_and_again_and_again() {
    let expected = expected(DOCUMENTS);
    let mut random = Random(106);
    let mut kills = 0;
    for round in 0..times(4, 120) {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let begun =
            Fault::at_changes(&project).at(80 + random.below(150), "kill").start(&project, &["build"]).end();
        witness.saw(&begun, "the first");
        for depth in 0..3 {
            // The first calls of a start are those of recovery.
            let n = 1 + random.below(70);
            let command = ["build", "build", "status", "doctor"][random.below(4)];
            let ended = Fault::at_changes(&project).at(n, "kill").start(&project, &[command]).end();
            kills += usize::from(ended.status == 137);
            let what = format!("round {round}, depth {depth}: {command} killed at call {n}");
            if command == "build" {
                witness.saw(&ended, &what);
            }
            project.no_process_is_left();
        }
        witness.ends_well(&format!("round {round}"));
    }
    eprintln!("{kills} kills during recovery");
    assert!(kills > 0);
}

#[test]
fn fault_a07_power_loss_on_a_real_file_system() {
    let documents = 24;
    let expected = expected(documents);
    let mut random = Random(107);
    for round in 0..times(2, 60) {
        let project = library(documents);
        let Some(image) = Image::mount(&project, ".pipe") else { return };
        let mut running = project.start(&["build"]);
        let mut left = 1 + random.below(documents * 3);
        running.until(|event| {
            left -= usize::from(event["event"] == "done" && left > 0);
            left == 0
        });
        running.signal(Signal::STOP);
        let told: Vec<_> =
            running.events().iter().filter(|event| event["event"] == "done").cloned().collect();
        // What is in the image is what the disk would have: pages that were not synced are still in memory.
        let after = image.copied();
        running.signal(Signal::CONT);
        let first = running.kill();
        project.no_process_is_left();
        let done_then = announced(&crate::harness::Ended { events: told, ..first });
        image.replace_with(&after);
        let before = runs(&project);
        let mut witness = Witness::new(&project, &expected);
        let ended = project.build().ends(0);
        for (run, count) in runs(&project) {
            let ran = count - before.get(&run).copied().unwrap_or(0);
            assert!(
                ran == 0 || !done_then.contains(&run),
                "round {round}: {run:?} was on disk, and was lost"
            );
        }
        witness.saw(&ended, "after the power loss");
        witness.ends_well(&format!("round {round}"));
    }
}

/// Results come from another file system than they are published on: each is copied beside its place first.
#[test]
fn fault_a05_a_kill_between_two_file_systems_leaves_no_copy_behind() {
    let expected = expected(DOCUMENTS);
    for n in [1, 4, 9] {
        let project = library(DOCUMENTS);
        let Some(_disk) = Mount::tmpfs(&project, ".pipe", 64) else { return };
        let mut witness = Witness::new(&project, &expected);
        // Two renames a file: the first is the one that the device refuses.
        let fault = Fault::at_calls("rename,renameat,renameat2").under(&project, "out");
        let pause = project.root().join("never");
        let running = fault.at(2 * n, &format!("pause={}", pause.display())).start(&project, &["build"]);
        project.wait_for_file("never.here");
        signal(project.read("never.here").trim().parse().unwrap(), Signal::KILL);
        let ended = running.end();
        let left = project.files("out").into_keys().filter(|name| name.contains(".pipe-publish"));
        assert_eq!(left.count(), 1, "the kill fell elsewhere: {}", ended.text());
        project.no_process_is_left();
        witness.saw_runs_of(&ended);
        witness.ends_well("after a kill between two file systems");
    }
}

/// What a record names is durable before the record is written, and the record before anybody is told: only so no order in
/// which a disk writes can hurt. Every order itself is tried by the simulated disk (`store::disk`).
#[test]
fn fault_a08_everything_is_synced_before_what_relies_on_it() {
    let project = library(DOCUMENTS);
    let names = "rename,renameat,renameat2,pwrite64,pwritev,fsync,fdatasync,write";
    let calls = Fault::at_calls(names).calls(&project, &["build", "-j", "1"]);
    let is = |call: &str, names: &[&str], part: &str| {
        let (name, path) = call.split_once(' ').unwrap();
        names.contains(&name) && path.contains(part)
    };
    let mut blobs = 0;
    for (at, call) in calls.iter().enumerate() {
        // A blob gets its name: its bytes were synced before, its folder is before the next record.
        if is(call, &["rename", "renameat", "renameat2"], "/.pipe/tmp/")
            || is(call, &["rename"], "/.pipe/blobs/")
        {
            let synced_before =
                calls[..at].iter().rev().take(8).any(|c| is(c, &["fsync", "fdatasync"], "/.pipe/tmp/"));
            let is_blob = calls[at..].iter().take(4).any(|c| is(c, &["fsync", "fdatasync"], "/.pipe/blobs/"));
            if is_blob {
                blobs += 1;
                assert!(synced_before, "call {at}: {:#?}", &calls[at.saturating_sub(8)..at + 4]);
                let named = calls[at..].iter().position(|c| is(c, &["pwritev", "pwrite64"], ".seg")).unwrap();
                let folder = calls[at..].iter().position(|c| is(c, &["fsync"], "/.pipe/blobs/")).unwrap();
                assert!(
                    folder < named,
                    "a record may be on disk before the blob's name: {:#?}",
                    &calls[at..]
                );
            }
        }
    }
    assert_eq!(blobs, 1, "{calls:#?}");
    // Every write to the log is synced before the next one and before the end.
    let log: Vec<&String> = calls.iter().filter(|c| c.contains(".seg")).collect();
    assert!(log.len() >= 4 && log.last().is_some_and(|last| last.starts_with("fdatasync")), "{log:#?}");
}

#[test]
fn fault_a09_a_worker_that_is_killed_for_want_of_memory() {
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
            "#,
        )
        .counted(
            "clean",
            "
            import resource, signal

            @module
            def clean(doc):
                name = ran('clean', doc.text())
                if name == 'killed' and not os.path.exists('was-killed'):
                    open('was-killed', 'w').close()
                    os.kill(os.getpid(), signal.SIGKILL)
                if name == 'glutton':
                    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))
                    return b'x' * (1 << 30)
                if name == 'kills':
                    os.kill(os.getpid(), signal.SIGKILL)
                return name
            ",
        );
    for name in ["a", "b", "killed", "glutton", "kills", "z"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    let ended = project.build().ends(1);
    // Killed once, it was tried again alone; killed always, it is to blame, and nobody else.
    let failures = ended.failures();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].starts_with("clean docs/glutton.txt: out-of-memory"), "{failures:?}");
    assert!(failures[1].starts_with("clean docs/kills.txt: crash"), "{failures:?}");
    let tries = project.counts("clean").iter().filter(|name| *name == "kills").count();
    // Three times alone; before, each death takes one document of six out of the window.
    assert!((3..=3 + 5).contains(&tries), "{tries}");
    let again = ended.all("retrying").into_iter().filter(|event| event["doc"] == "docs/kills.txt");
    assert_eq!(again.map(|event| event["attempt"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(project.names("out").len(), 4);
    project.no_process_is_left();
}

#[test]
fn fault_a10_pipe_is_killed_and_its_workers_go_with_it() {
    let project = held_project("");
    let running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    // The kernel takes a worker rather than `pipe`.
    let score = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    let worker = worker(&project);
    let own: i32 = score(&running.pid().to_string()).trim().parse().unwrap();
    assert!(score(&worker.to_string()).trim().parse::<i32>().unwrap() >= own + 500 || own > 500);
    drop(running.kill());
    project.no_process_is_left();
    goes_on(&project, &words());
}

fn worker(project: &Project) -> u32 {
    let found = project.processes().into_iter().find(|line| line.contains("pipelinefile.worker")).unwrap();
    found.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn fault_a11_a_pause_of_pipe_is_no_timeout_and_one_of_a_worker_is_its_own() {
    let project = held_project("timeout = \"1s\"");
    let running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    running.signal(Signal::STOP);
    project.write("go-slow", "");
    // What the limit is about passes while `pipe` sleeps; the answer is there when it wakes.
    std::thread::sleep(Duration::from_millis(1300));
    running.signal(Signal::CONT);
    let ended = running.end().ends(0);
    assert_eq!(ended.failures(), Vec::<String>::new());
    // A worker that stands still passes its limit.
    project.clear("go-slow");
    project.clear("here-slow");
    project.write("docs/d03.txt", "slow again");
    let text = project.read("Pipelinefile").replace("timeout = \"1s\"", "timeout = \"1s\"\nretries = 0");
    project.write("Pipelinefile", text);
    let running = project.start(&["build"]);
    project.wait_for_file("here-slow");
    signal(worker(&project), Signal::STOP);
    project.write("go-slow", "");
    let ended = running.end().ends(1);
    let failures = ended.failures();
    assert!(failures.len() == 1 && failures[0].contains("timeout"), "{failures:?}");
    project.no_process_is_left();
    drop(project.pipe(&["retry"]).ends(0));
}

/// An abort, an illegal instruction: none can be answered. A panic ends in the same way.
#[test]
fn fault_a14_a_crash_of_pipe_itself_is_a_kill_like_any_other() {
    let expected = expected(DOCUMENTS);
    for (n, what) in [Signal::ABORT, Signal::ILL, Signal::QUIT, Signal::SYS].into_iter().enumerate() {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let pause = project.root().join("stop");
        let fault = Fault::at_calls("pwritev,fdatasync").under(&project, ".pipe/segments");
        let running = fault.at(2 + n, &format!("pause={}", pause.display())).start(&project, &["build"]);
        project.wait_for_file("stop.here");
        signal(project.read("stop.here").trim().parse().unwrap(), what);
        project.write("stop.go", "");
        let ended = running.end();
        assert_eq!(ended.status, 128 + what.as_raw(), "{}", ended.text());
        witness.saw(&ended, &format!("{what:?}"));
        witness.ends_well(&format!("after {what:?}"));
    }
}

#[test]
fn fault_a15_no_file_is_mapped_and_one_that_is_cut_while_it_is_read_is_read_again() {
    let project = library(DOCUMENTS);
    let mapped = Fault::at_calls("mmap").under(&project, "");
    assert_eq!(mapped.calls(&project, &["build"]), Vec::<String>::new());
    // Cut between two reads.
    let long = format!("d1 {}", "x".repeat(3_000_000));
    project.write("docs/1/d1.txt", &long);
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("read,pread64").under(&project, "docs/1/d1.txt");
    let running = fault.at(2, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    project.write("docs/1/d1.txt", "d1 is short now\n");
    project.write("stop.go", "");
    drop(running.end().ends(0));
    assert_eq!(project.read("out/clean/docs/1/d1.txt.txt"), "D1 IS SHORT NOW\n");
    drop(project.build().ends(0));
}
