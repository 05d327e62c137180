//! G: two at once, locks, readers, clocks.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::faultbox::{CHANGES, Fault};
use crate::harness::{Project, Running};
use crate::library::{Witness, built, expected, library, runs};
use crate::{Random, times};

const DOCUMENTS: usize = 6;

/// A build that waits at its n-th write into the log until `go` is called.
fn held(project: &Project, n: usize) -> Running {
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("pwritev,pwrite64").under(project, ".pipe/segments");
    let running = fault.at(n, &format!("pause={}", pause.display())).start(project, &["build"]);
    project.wait_for_file("stop.here");
    running
}

fn go(project: &Project) {
    project.write("stop.go", "");
}

#[test]
fn fault_g01_a_second_build_is_told_who_is_at_work() {
    let project = library(DOCUMENTS);
    let running = held(&project, 4);
    let pid = project.read("stop.here").trim().to_owned();
    for command in ["build", "redo", "doctor"] {
        let arguments = if command == "redo" { &["redo", "clean"][..] } else { &[command] };
        let told = project.pipe(arguments).ends(3);
        assert!(told.stderr.contains(&format!("process {pid}")), "{}", told.text());
        assert!(told.stderr.contains("pipe status"), "{}", told.text());
    }
    go(&project);
    drop(running.end().ends(0));
    assert!(runs(&project).values().all(|count| *count == 1));
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn fault_g02_what_a_lock_says_never_decides() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let killed =
        Fault::at_calls(CHANGES).under(&project, ".pipe").at(90, "kill").start(&project, &["build"]).end();
    assert_eq!(killed.status, 137);
    let mut witness = Witness::new(&project, &expected);
    witness.saw(&killed, "a kill");
    // A number that lives: this test's own. And no number at all.
    for text in [format!("{}\n", std::process::id()), "1\n".to_owned(), "nonsense".to_owned(), String::new()]
    {
        project.write(".pipe/lock", &text);
        let ended = project.build().ends(0);
        witness.saw(&ended, &text);
    }
    witness.ends_well("stale locks");
}

#[test]
fn fault_g03_who_removes_the_lock_lets_nobody_in() {
    let project = library(DOCUMENTS);
    let running = held(&project, 4);
    project.clear(".pipe/lock");
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("another pipe works"), "{}", told.text());
    go(&project);
    drop(running.end().ends(0));
    assert!(runs(&project).values().all(|count| *count == 1));
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn fault_g05_readers_while_builds_are_killed() {
    let expected = expected(DOCUMENTS);
    let mut random = Random(705);
    for round in 0..times(2, 60) {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for reader in 0..3 {
                let (project, stop) = (&project, &stop);
                scope.spawn(move || {
                    let commands: [&[&str]; 4] =
                        [&["status"], &["why", "clean"], &["ls", "clean"], &["status", "--json"]];
                    let mut n = reader;
                    while !stop.load(Ordering::Relaxed) {
                        let told = project.pipe(commands[n % 4]);
                        // Nothing built yet, or the store is just being taken over.
                        assert!([0, 1, 3, 4].contains(&told.status), "{}", told.text());
                        n += 1;
                    }
                });
            }
            for kill in 0..3 {
                let fault =
                    Fault::at_calls(CHANGES).under(&project, ".pipe").at(40 + random.below(160), "kill");
                let ended = fault.start(&project, &["build"]).end();
                // Readers are processes of this project as well: only the runs count here.
                witness.saw_runs(&ended, &format!("round {round}, kill {kill}"));
            }
            stop.store(true, Ordering::Relaxed);
        });
        witness.ends_well(&format!("round {round}"));
    }
}

#[test]
fn fault_g10_another_version_while_this_one_is_at_work() {
    let project = library(DOCUMENTS);
    let running = held(&project, 4);
    let right = project.read(".pipe/FORMAT");
    project.write(".pipe/FORMAT", right.replace("\"pipe_store\":1", "\"pipe_store\":2"));
    drop(project.pipe(&["build"]).ends(3));
    project.write(".pipe/FORMAT", right);
    go(&project);
    drop(running.end().ends(0));
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn fault_g12_no_child_has_the_lock_and_no_lock_is_of_the_kind_that_a_close_drops() {
    let project = library(DOCUMENTS);
    project.write("modules/clean.sh", "ls -l /proc/self/fd /proc/$PPID/fd > fds; cat\n");
    drop(project.build().ends(0));
    let fds = project.read("fds");
    assert!(fds.contains(" 0 -> ") && fds.contains("/.pipe/logs/"), "no list of descriptors:\n{fds}");
    for name in ["/.pipe/lock", "/.pipe/segments", "/.pipe/index", "/.pipe\n"] {
        assert!(!fds.contains(name), "a module holds `{name}`:\n{fds}");
    }
    // `flock` belongs to the open file; POSIX locks go when any descriptor of the file is closed.
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let output = std::process::Command::new("grep")
        .args(["-rnE", "F_SETLK|fcntl_lock|lockf", source])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

#[test]
fn fault_g13_a_clock_that_jumps_by_years() {
    let (project, _) = built(DOCUMENTS);
    let now: i64 = 1_767_225_600_000;
    let ten_years = 10 * 365 * 86_400_000i64;
    for (n, at) in [now + ten_years, now - ten_years, 0, now].into_iter().enumerate() {
        project.write("docs/1/d1.txt", format!("d1 has text {n}\n"));
        let mut command = project.command(&["build", "--json"]);
        command.env("PIPE_NOW", at.to_string());
        let ended = project.start_command(command).end().ends(0);
        // What is new is new by its place in the log, whatever the clock says.
        assert_eq!(
            project.read("out/clean/docs/1/d1.txt.txt"),
            format!("D1 HAS TEXT {n}\n"),
            "{}",
            ended.text()
        );
        let mut idle = project.command(&["build", "--json"]);
        idle.env("PIPE_NOW", (at - ten_years).max(0).to_string());
        assert!(project.start_command(idle).end().ends(0).all("plan").is_empty(), "{n}");
        drop(project.pipe(&["log", "docs/1/d1.txt"]).ends(0));
    }
}
