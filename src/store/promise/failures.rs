//! Every call to the disk fails once, or from then on: no panic, nothing announced is lost, and the next start goes on.
//! As in the tests of `SQLite`: the first call, the second, … until a whole session went by without meeting the failure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use super::crashes::{home, work};
use super::oracle::{Must, Past, check};
use super::{dir, number, seed, setup};
use crate::model::action::Position;
use crate::store::Store;
use crate::store::disk::crash::{CrashDisk, Machine, Op, Random};
use crate::store::disk::failing::{Call, Counts, FailingDisk, Wrong};
use crate::store::frame::Frame;
use crate::store::opening::Derived;

const EIO: Wrong = Wrong::Errno(5);
const ENOSPC: Wrong = Wrong::Errno(28);

/// Histories for each kind of failure.
const HISTORIES: u64 = 1;

/// A kind of failure.
struct Case {
    name: &'static str,
    counts: Counts,
    wrong: Wrong,
    for_good: bool,
}

const CASES: [Case; 8] = [
    Case { name: "a call", counts: |call| call != Call::Read, wrong: EIO, for_good: false },
    Case { name: "the disk is gone", counts: |call| call != Call::Read, wrong: EIO, for_good: true },
    Case {
        name: "a sync",
        counts: |call| matches!(call, Call::Sync | Call::SyncDir),
        wrong: EIO,
        for_good: false,
    },
    Case { name: "no room once", counts: takes_room, wrong: ENOSPC, for_good: false },
    Case { name: "no room", counts: takes_room, wrong: ENOSPC, for_good: true },
    Case { name: "a read", counts: |call| call == Call::Read, wrong: EIO, for_good: false },
    Case { name: "no read", counts: |call| call == Call::Read, wrong: EIO, for_good: true },
    Case {
        name: "a read that is short",
        counts: |call| call == Call::Read,
        wrong: Wrong::Short,
        for_good: false,
    },
];

fn takes_room(call: Call) -> bool {
    matches!(call, Call::Create | Call::CreateDir | Call::Rename | Call::Write | Call::Reserve)
}

/// What a session begins with.
struct Before {
    machine: Machine,
    past: Past,
    /// Everything below was told.
    told: u64,
}

/// A store that was worked with, closed or killed.
fn before(random: &mut Random) -> Before {
    let mut before = Before { machine: home(), past: Past::default(), told: 0 };
    if random.once_in(3) {
        return before;
    }
    let closes = random.once_in(2);
    let disk = CrashDisk::on(before.machine);
    let (store, _) =
        Store::open_locked(&setup(Arc::new(disk.clone()), 1, 4000, true), dir(), None, Derived::AsItIs)
            .unwrap();
    work(&disk, &store, &mut before.past, random, 30, closes).unwrap();
    drop(store);
    before.told = told(&disk);
    before.machine = disk.machine();
    before
}

fn told(disk: &CrashDisk) -> u64 {
    let told =
        disk.journal().into_iter().filter_map(|op| if let Op::Told(at) = op { Some(at) } else { None });
    told.max().unwrap_or(0)
}

#[test]
fn any_call_may_fail_and_nothing_announced_is_lost() {
    let histories = number("PIPE_TEST_FAILURES", HISTORIES);
    let mut random = seed();
    let mut failures = 0;
    for _ in 0..histories {
        let seed = random.next();
        for case in &CASES {
            let mut nth = 1;
            while session(seed, case, nth) {
                nth += 1;
                failures += 1;
            }
        }
    }
    println!("{failures} sessions, each with a failing call: 0 lost, 0 wrong, no panic");
}

/// The log and the blobs sync the store's folder: what failed for one of them is not tried again by the other.
#[test]
fn a_folder_that_could_not_be_synced_is_not_synced_by_another_part() {
    assert!(session(8_196_980_753_821_780_235, &CASES[0], 54));
}

/// The run's own frame can then not be read to be remembered here.
#[test]
fn a_disk_that_is_gone_after_the_run_was_written_leaves_it_there() {
    assert!(session(16_312_908_901_713_405_192, &CASES[1], 54));
}

/// The store was closed as if all had been looked at.
#[test]
fn what_an_error_kept_from_being_looked_at_is_found_again() {
    assert!(session(883_620_860_755_687_159, &CASES[6], 19));
}

/// The index remembered a definition that lay whole behind the first flaw of a torn group.
#[test]
fn nothing_behind_a_torn_end_is_named_again() {
    assert!(session(3_633_191_138_996_939_195, &CASES[0], 36));
}

/// A story that could not be read when the store was opened names a result that had been set aside.
#[test]
fn a_story_that_cannot_be_read_is_looked_at_again() {
    assert!(session(12_059_066_495_040_970_391, &CASES[6], 19));
}

#[test]
fn a_log_that_was_read_short_ends_there() {
    assert!(session(7_187_453_141_770_358_339, &CASES[7], 19));
}

/// A session whose `nth` call fails; whether it came to that.
fn session(seed: u64, case: &Case, nth: u64) -> bool {
    let mut random = Random(seed);
    let before = before(&mut random);
    let context = format!("history {seed}, {}, call {nth}", case.name);
    let disk = CrashDisk::on(before.machine);
    let simulated = disk.clone();
    let failing = FailingDisk::telling(
        Arc::new(disk.clone()),
        nth,
        case.counts,
        case.wrong,
        case.for_good,
        move |path| {
            simulated.fail_sync(path);
        },
    );
    let mut past = before.past;
    let opened =
        Store::open_locked(&setup(Arc::new(failing.clone()), 1, 4000, true), dir(), None, Derived::AsItIs);
    if let Ok((store, _)) = &opened
        && case.wrong == Wrong::Short
    {
        // A build names only what it has read; here that is what the oracle still knows.
        let end = store.synced();
        past.facts.retain(|fact| {
            fact.at < end.0
                && (!matches!(fact.frame, Frame::Act(_))
                    || matches!(store.act(Position(fact.at)), Ok(Some(_))))
        });
    }
    if let Ok((store, _)) = opened
        && work(&disk, &store, &mut past, &mut random, 30, true).is_err()
    {
        // As a build ends that met an error.
        drop(store.close());
    }
    let told = before.told.max(told(&disk));
    never_again(&failing.made(), &context);
    // A file that is shorter than it was is damage; nothing can be promised then but that all is right.
    let must = if case.wrong == Wrong::Short { Must::Below(0) } else { Must::Below(told) };
    let mut there = None;
    for crash in 0..4 {
        let mut machine = disk.machine();
        let boot = if crash == 0 { 1 } else { 2 };
        if crash > 0 {
            machine.crash(&mut Random(seed ^ (nth << 8 | crash)));
        }
        let next = CrashDisk::on(machine);
        let setup = setup(Arc::new(next.clone()), boot, 4000, true);
        let (store, notices) = Store::open_locked(&setup, dir(), None, Derived::AsItIs)
            .unwrap_or_else(|e| panic!("{context}, crash {crash}: {e}"));
        assert!((case.counts)(Call::Read) || notices.is_empty(), "{context}, crash {crash}: {notices:?}");
        let found = check(&store, &past, must).unwrap_or_else(|e| panic!("{context}, crash {crash}: {e}"));
        // It goes on, and what it does now is durable.
        let mut now = found.clone();
        work(&next, &store, &mut now, &mut Random(nth), 5, true)
            .unwrap_or_else(|e| panic!("{context}, crash {crash}, going on: {e}"));
        let (store, _) = Store::open_locked(&setup, dir(), None, Derived::AsItIs).unwrap();
        check(&store, &now, Must::All).unwrap_or_else(|e| panic!("{context}, crash {crash}, after all: {e}"));
        there = Some(found);
    }
    assert!(there.is_some());
    failing.has_failed()
}

/// What could not be synced is neither written nor synced again by this process.
fn never_again(made: &[(Call, PathBuf, bool)], context: &str) {
    let mut broken: BTreeSet<&PathBuf> = BTreeSet::new();
    for (call, path, is_done) in made {
        if *call == Call::Create && *is_done {
            // Another file.
            broken.remove(path);
        }
        let again = matches!(call, Call::Write | Call::Sync | Call::SyncDir) && broken.contains(path);
        assert!(!again, "{context}: {call:?} on `{}`, whose sync failed", path.display());
        if matches!(call, Call::Sync | Call::SyncDir) && !is_done {
            broken.insert(path);
        }
    }
}
