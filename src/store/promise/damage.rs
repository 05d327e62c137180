//! Bytes change behind the store's back: bits flip, files are cut, pages become zeros or stale, blocks are exchanged.
//! Nothing wrong is served, an examination finds it, and after the next build all is as before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::crashes::{home, work};
use super::oracle::Past;
use super::{dir, number, seed, setup};
use crate::model::action::{Act, Outcome, Place, Position};
use crate::store::Store;
use crate::store::disk::crash::{CrashDisk, Machine, Random};
use crate::store::examine::{Asked, Examination, examine_locked};
use crate::store::group::CLOSE_GROUP_BYTES;
use crate::store::opening::Derived;

/// Damaged stores without a word from the environment.
const DAMAGES: u64 = 300;
/// So many are made of one store.
const OF_ONE: u64 = 50;

#[test]
fn no_damage_is_served_all_is_found_and_the_next_build_heals() {
    let wanted = number("PIPE_TEST_DAMAGES", DAMAGES);
    let mut random = seed();
    let mut done = 0;
    while done < wanted {
        let history = random.next();
        let (machine, past) = filled(&mut Random(history));
        for _ in 0..OF_ONE {
            let seed = random.next();
            damage(&machine, &past, seed, &format!("history {history}, damage {seed}"));
            done += 1;
        }
    }
    println!("{done} damaged stores: 0 wrong bytes served, all damage found, all healed");
}

/// A store after three sessions that were closed.
fn filled(random: &mut Random) -> (Machine, Past) {
    let mut machine = home();
    let mut past = Past { keeps_all: true, ..Past::default() };
    for _ in 0..3 {
        let disk = CrashDisk::on(machine);
        let (store, _) = open(&disk);
        work(&disk, &store, &mut past, random, 40, true).unwrap();
        machine = disk.machine();
    }
    (machine, past)
}

fn open(disk: &CrashDisk) -> (Arc<Store>, Vec<String>) {
    Store::open_locked(&setup(Arc::new(disk.clone()), 1, 6000, true), dir(), None, Derived::AsItIs).unwrap()
}

fn examined(disk: &CrashDisk) -> (Arc<Store>, Examination) {
    let mut asked =
        Asked { is_wanted: &|_, _| true, tell: &mut |_, _, _| {}, command: vec!["doctor".to_owned()] };
    examine_locked(&setup(Arc::new(disk.clone()), 1, 6000, true), dir(), None, &mut asked).unwrap()
}

/// Damages one file of the store; which, and the first byte that is another one.
fn hurt(machine: &mut Machine, random: &mut Random) -> (PathBuf, Option<usize>, String) {
    let counts = |path: &PathBuf| {
        ["segments", "blobs", "tables", "index"].iter().any(|folder| path.starts_with(dir().join(folder)))
    };
    let files: Vec<PathBuf> = machine.paths().into_iter().filter(counts).collect();
    let path = random.pick(&files).clone();
    let other = random.pick(&files).clone();
    let other = machine.bytes_mut(&other).unwrap().clone();
    let bytes = machine.bytes_mut(&path).unwrap();
    let before = bytes.clone();
    let length = bytes.len() as u64;
    let page = *random.pick(&[512u64, 4096]);
    let at = |random: &mut Random| (random.below(length.div_ceil(page)) * page) as usize;
    let kind = random.below(6);
    match kind {
        0 | 1 if length > 0 => {
            let at = random.below(length) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        2 => bytes.truncate(random.below(length) as usize),
        3 => {
            let from = at(random);
            let to = (from + page as usize).min(bytes.len());
            bytes[from..to].fill(0);
        }
        4 => {
            // A page of another file, or of another place in this one.
            let from = at(random);
            let to = (from + page as usize).min(bytes.len()).min(from.max(other.len()));
            if from < to {
                bytes[from..to].copy_from_slice(&other[from..to]);
            }
        }
        _ => {
            let (a, b) = (at(random), at(random));
            let size = (page as usize).min(bytes.len() - a.max(b));
            for i in 0..size {
                if a != b {
                    bytes.swap(a + i, b + i);
                }
            }
        }
    }
    let first = (0..before.len()).find(|i| bytes.get(*i) != before.get(*i));
    let what = format!("{}, kind {kind}, byte {first:?} of {length}", path.display());
    machine.fit(&path);
    (path, first, what)
}

fn damage(machine: &Machine, past: &Past, seed: u64, context: &str) {
    let mut random = Random(seed);
    let mut machine = machine.clone();
    let last = machine.paths().into_iter().filter(|path| path.starts_with(dir().join("segments"))).max();
    let (path, first, what) = hurt(&mut machine, &mut random);
    let differs = first.is_some();
    // Whether the log was closed matters to nobody when it is not.
    let whole = machine.bytes_mut(&path).unwrap().len();
    let is_end = last == Some(path.clone()) && first.is_some_and(|first| first + CLOSE_GROUP_BYTES >= whole);
    let context = format!("{context}: {what}");

    // A build at once.
    let disk = CrashDisk::on(machine.clone());
    let (store, _) = open(&disk);
    let served = served(&store, past, &context);
    heal(&store, past, &served);
    drop(store);
    let (store, _) = open(&disk);
    complete(&store, past, &context);
    drop(store);

    // An examination, then a build.
    let disk = CrashDisk::on(machine);
    let (store, found) = examined(&disk);
    assert!(!found.is_fine() || !differs || !matters(&path, past, is_end), "{context}: not found");
    let served = self::served(&store, past, &context);
    trusted(&store, &context);
    heal(&store, past, &served);
    drop(store);
    let (store, again) = examined(&disk);
    // Stories name the old records still: this build writes none.
    assert!(again.faults.is_empty(), "{context}: once more {:?}", again.faults);
    complete(&store, past, &context);
}

/// What an examination must say: not of the index, which it makes again anyway, and not of a blob whose results were
/// all set aside before.
fn matters(path: &Path, past: &Past, is_end: bool) -> bool {
    let bad = past.bad();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let names = |act: &Act| match &act.outcome {
        Outcome::Output(output) => output.place == Place::Blob && output.digest.hex() == name,
        _ => false,
    };
    let is_blob = path.starts_with(dir().join("blobs"));
    let is_wanted = past.acts().any(|(at, act, _)| names(act) && !bad.contains(&at));
    !path.starts_with(dir().join("index")) && !is_end && (!is_blob || is_wanted)
}

/// Every record that can be found by its key, and whose bytes, where it has any, are there; none of them is wrong.
fn served(store: &Store, past: &Past, context: &str) -> BTreeSet<Position> {
    let mut served = BTreeSet::new();
    for (at, act, bytes) in past.acts() {
        let Some(found) = store.act(at).unwrap() else { continue };
        assert!(*found == *act, "{context}: the record at {} is another", at.0);
        let is_found = store.candidates(act.key).contains(&at) && !store.is_bad(at);
        if is_found && has_bytes(store, act, bytes, context) {
            served.insert(at);
        }
    }
    for known in past.documents() {
        let (family, dir, name) = &known.document;
        if let Ok(Some(entry)) = store.entry(family, dir, name)
            && let Some(story) = store.story(entry.story).unwrap()
        {
            assert_eq!(story.doc, entry.doc, "{context}: the story of another document");
        }
    }
    served
}

fn has_bytes(store: &Store, act: &Act, bytes: Option<&Arc<[u8]>>, context: &str) -> bool {
    let (Outcome::Output(output), Some(bytes)) = (&act.outcome, bytes) else { return true };
    if output.place == Place::Input {
        return true;
    }
    let found = store.output_bytes(output).unwrap();
    assert!(found.as_deref().is_none_or(|found| found == &**bytes), "{context}: WRONG BYTES served");
    found.is_some()
}

/// After an examination no document counts as settled whose results cannot be served.
fn trusted(store: &Store, context: &str) {
    for family in store.families() {
        let mut settled = Vec::new();
        store
            .scan(&family, &mut |_, entry| {
                if entry.flags.settled && !entry.flags.gone {
                    settled.push(entry.clone());
                }
                true
            })
            .unwrap();
        for entry in settled {
            let Some(story) = store.story(entry.story).unwrap() else { continue };
            if store.definition(story.definition).unwrap().is_none() {
                continue;
            }
            for at in story.entries.iter().filter_map(|entry| entry.act) {
                let act = store.act(at).unwrap();
                let is_right = act.as_deref().is_some_and(|act| match &act.outcome {
                    Outcome::Output(output) if output.place != Place::Input => {
                        store.output_bytes(output).unwrap().is_some()
                    }
                    _ => true,
                });
                assert!(is_right, "{context}: `{}` of {family} is settled, its result is gone", entry.name);
            }
        }
    }
}

/// What a build does: all that is not served is made again.
fn heal(store: &Arc<Store>, past: &Past, served: &BTreeSet<Position>) {
    store.begin_run(vec!["build".to_owned()], crate::hash::Digest::default()).unwrap();
    for (at, act, bytes) in past.acts() {
        if !served.contains(&at) {
            store.add_act(act.clone(), bytes.map(|bytes| &**bytes)).unwrap();
        }
    }
    store.close().unwrap();
}

/// Every key has a record with the right bytes.
fn complete(store: &Store, past: &Past, context: &str) {
    for (at, act, bytes) in past.acts() {
        let same = |candidate: &Position| {
            !store.is_bad(*candidate)
                && store.act(*candidate).unwrap().is_some_and(|found| {
                    found.key == act.key
                        && found.start == act.start
                        && has_bytes(store, &found, bytes.filter(|_| same_output(&found, act)), context)
                })
        };
        assert!(store.candidates(act.key).iter().any(same), "{context}: the result of {} is not there", at.0);
    }
}

fn same_output(a: &Act, b: &Act) -> bool {
    let digest = |act: &Act| match &act.outcome {
        Outcome::Output(output) => Some(output.digest),
        _ => None,
    };
    digest(a) == digest(b)
}
