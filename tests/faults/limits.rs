//! Group A, 16 to 18: full disks, quotas, disks that refuse, and what else there is no more of. The cases are those of
//! `docs/design/faults.md`.

use crate::faultbox::{CHANGES, Fault, error};
use crate::harness::Project;
use crate::library::{Shown, Witness, expected, library};
use crate::places::Mount;
use crate::{Random, times};
use rustix::io::Errno;

const DOCUMENTS: usize = 6;

/// Documents whose results are a megabyte each: more than any of the disks holds.
fn growing(documents: usize) -> Project {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.grow]
        each = "docs"
        shell = "sh modules/grow.sh"
        "#,
    );
    project
        .write("modules/grow.sh", "read -r name size; echo $name >> runs-grow; yes $name | head -c $size\n");
    for n in 0..documents {
        // Every third is no blob.
        let size = if n % 3 == 0 { 200_000 } else { 1_400_000 };
        project.write(&format!("docs/d{n:03}.txt"), format!("d{n:03} {size}\n"));
    }
    project
}

fn full_disk(mebibytes: usize) {
    let what = format!("a disk of {mebibytes} MiB");
    let documents = mebibytes + 10;
    let project = growing(documents);
    let Some(disk) = Mount::tmpfs(&project, ".pipe", mebibytes) else { return };
    let full = project.build();
    assert_eq!(full.status, 3, "{what}: {}", full.text());
    let text = full.text();
    let place = format!("{}/.pipe/", project.root().display());
    assert!(text.contains("no space left on device"), "{what}: {text}");
    assert!(text.replace("[ROOT]", &project.root().to_string_lossy()).contains(&place), "{what}: {text}");
    assert!(text.contains("32 MiB at least"), "{what}: {text}");
    let done = full.named("done");
    // Asking works on the full disk, and so does making room.
    drop(project.pipe(&["status"]).ends(0).says("grow"));
    if has_gc(&project) {
        let gc = project.pipe(&["gc"]);
        assert_eq!(gc.status, 0, "{what}: {}", gc.text());
    }
    // Still full: the same words again, and nothing is lost.
    let again = project.build();
    assert!(again.status == 3 || again.status == 0, "{what}: {}", again.text());
    let done: Vec<String> = done.into_iter().chain(again.named("done")).collect();
    disk.again("remount,size=300m");
    let before = project.read("runs-grow").lines().count();
    let rest = project.build().ends(0);
    assert!(rest.named("done").iter().all(|doc| !done.contains(doc)), "{what}: done twice");
    let ran = project.read("runs-grow").lines().count() - before;
    assert!(ran <= documents - done.len(), "{what}: {ran} ran, {} of {documents} were done", done.len());
    assert!(project.build().ends(0).all("plan").is_empty(), "{what}");
    project.no_process_is_left();
}

/// `pipe gc`, where there is one.
fn has_gc(project: &Project) -> bool {
    project.pipe(&["--help"]).text().contains(" gc ")
}

#[test]
fn fault_a16_a_full_disk_of_1_to_4_mebibytes() {
    for size in [1, 2, 4] {
        full_disk(size);
    }
}

#[test]
fn fault_a16_a_full_disk_of_about_the_reserve() {
    for size in [16, 18, 21] {
        full_disk(size);
    }
}

#[test]
fn fault_a16_a_full_disk_of_33_and_64_mebibytes() {
    for size in [33, 64] {
        full_disk(size);
    }
}

#[test]
fn fault_a16_a_full_disk_of_every_size() {
    if times(0, 1) == 0 {
        eprintln!("skipped: PIPE_TEST_LONG=1 fills disks of 1, 2, 3, … 64 MiB");
        return;
    }
    for size in 1..=64 {
        full_disk(size);
    }
}

/// A call that changes the disk fails once, or from then on: the build says so or goes on, and nothing is lost or wrong.
fn fails_at(n: usize, errno: Errno, for_good: bool, expected: &Shown) {
    let project = library(DOCUMENTS);
    let mut witness = Witness::new(&project, expected);
    let what =
        format!("call {n} fails with {errno:?}, {}", if for_good { "and all after it" } else { "once" });
    let fault = Fault::at_changes(&project);
    let fault = if for_good { fault.from(n, &error(errno)) } else { fault.at(n, &error(errno)) };
    let ended = fault.start(&project, &["build"]).end();
    assert!([0, 1, 3].contains(&ended.status), "{what}: {}", ended.text());
    let text = ended.text();
    if ended.status == 3 && for_good {
        assert!(text.contains(".pipe") || text.contains("out/"), "{what}: names no place: {text}");
    }
    witness.saw(&ended, &what);
    witness.ends_well(&what);
}

#[test]
fn fault_a16_no_room_at_any_call() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let calls = Fault::at_changes(&project).calls(&project, &["build"]).len();
    let tries = times(10, calls);
    for n in 0..tries {
        fails_at(1 + n * calls / tries, Errno::NOSPC, n % 2 == 0, &expected);
    }
}

#[test]
fn fault_a17_a_quota_a_read_only_disk_or_a_broken_one_at_any_call() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let calls = Fault::at_changes(&project).calls(&project, &["build"]).len();
    let mut random = Random(117);
    for n in 0..times(9, calls * 3 / 2) {
        let errno = [Errno::DQUOT, Errno::ROFS, Errno::IO][n % 3];
        fails_at(1 + random.below(calls), errno, random.below(2) == 0, &expected);
    }
}

#[test]
fn fault_a17_files_that_may_not_grow() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let mut witness = Witness::new(&project, &expected);
    // Half a megabyte, then 4 KiB: not even the log can grow.
    for (blocks, statuses) in [(1000, vec![0]), (8, vec![1, 3])] {
        let script = format!("ulimit -f {blocks}; exec \"$@\"");
        let command = project.command_through(&["sh", "-c", &script, "sh"], &["build", "--json"]);
        let ended = project.start_command(command).end();
        assert!(statuses.contains(&ended.status), "{blocks} blocks: {}", ended.text());
        witness.saw(&ended, "a limit of file sizes");
        project.clear(".pipe");
        project.clear("out");
        for name in ["clean", "count", "sum", "share"] {
            drop(std::fs::remove_file(project.root().join(format!("runs-{name}"))));
        }
        witness = Witness::new(&project, &expected);
    }
    witness.ends_well("after a limit of file sizes");
}

#[test]
fn fault_a17_a_disk_that_becomes_read_only_while_a_build_runs() {
    let expected = expected(DOCUMENTS);
    let project = library(DOCUMENTS);
    let Some(disk) = Mount::tmpfs(&project, ".pipe", 64) else { return };
    let mut witness = Witness::new(&project, &expected);
    let pause = project.root().join("stop");
    let fault = Fault::at_calls("openat").under(&project, "docs/1/d5.txt");
    let running = fault.at(1, &format!("pause={}", pause.display())).start(&project, &["build"]);
    project.wait_for_file("stop.here");
    // Files are open for writing, so only a new file fails: blobs, scratch files, pages.
    let was_remounted = disk.try_again("remount,ro");
    project.write("stop.go", "");
    let ended = running.end();
    assert!(!was_remounted || [1, 3].contains(&ended.status), "{}", ended.text());
    witness.saw(&ended, "read-only");
    disk.again("remount,rw");
    witness.ends_well("after it was read-only");
}

#[test]
fn fault_a18_few_descriptors() {
    let expected = expected(DOCUMENTS);
    for limit in [8, 12, 16, 20, 24, 32] {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let script = format!("ulimit -n {limit}; exec \"$@\"");
        let command = project.command_through(&["sh", "-c", &script, "sh"], &["build", "--json"]);
        let ended = project.start_command(command).end();
        assert!([0, 1, 3].contains(&ended.status), "{limit}: {}", ended.text());
        assert!(
            ended.status == 0 || ended.text().contains("too many open files"),
            "{limit}: {}",
            ended.text()
        );
        assert!(limit < 32 || ended.status == 0, "{limit}: {}", ended.text());
        witness.saw(&ended, &format!("{limit} descriptors"));
        witness.ends_well(&format!("after {limit} descriptors"));
    }
}

#[test]
fn fault_a18_what_could_not_be_shown_is_shown_although_the_build_ended_early() {
    let expected = expected(DOCUMENTS);
    for at in 1..=8 {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let fault = Fault::at_calls(CHANGES).under(&project, "out").under(&project, ".pipe/blobs");
        let ended = fault.from(at, &error(Errno::MFILE)).start(&project, &["build"]).end();
        let what = format!("no descriptor from call {at} on");
        assert!([1, 3].contains(&ended.status), "{what}: {}", ended.text());
        witness.saw(&ended, &what);
        witness.ends_well(&what);
    }
}

#[test]
fn fault_a18_no_process_no_thread_no_socket_no_pipe_to_be_had() {
    let expected = expected(DOCUMENTS);
    let calls = "clone,clone3,socket,pipe2";
    let count = {
        let project = library(DOCUMENTS);
        Fault::at_calls(calls).calls(&project, &["build"]).len()
    };
    let tries = times(8, count);
    for n in 0..tries {
        let at = 1 + n * count / tries;
        for errno in [Errno::AGAIN, Errno::NOMEM].into_iter().take(times(1, 2)) {
            let project = library(DOCUMENTS);
            let mut witness = Witness::new(&project, &expected);
            let what = format!("{errno:?} at call {at} of {count}");
            let ended = Fault::at_calls(calls).at(at, &error(errno)).start(&project, &["build"]).end();
            assert!([0, 1, 3].contains(&ended.status), "{what}: {}", ended.text());
            witness.saw(&ended, &what);
            witness.ends_well(&what);
        }
    }
}

#[test]
fn fault_a18_no_process_in_the_host_of_modules() {
    let expected = expected(DOCUMENTS);
    for at in [1, 3, 6].into_iter().take(times(3, 3)) {
        let project = library(DOCUMENTS);
        let mut witness = Witness::new(&project, &expected);
        let fault = Fault::at_calls("clone,clone3").of_the_host().at(at, &error(Errno::AGAIN));
        let ended = fault.start(&project, &["build"]).end();
        assert!([0, 1, 3].contains(&ended.status), "{at}: {}", ended.text());
        witness.saw(&ended, &format!("no process, call {at}"));
        witness.ends_well(&format!("no process, call {at}"));
    }
}
