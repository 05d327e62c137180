//! What is damaged on disk is found, said and set aside.

use std::path::PathBuf;

use super::*;
use crate::model::action::Act;
use crate::store::frame::tests::small_act;
use crate::store::{Opening, Store};

/// A store as the next process finds it: in this one sled never lets go of its files.
fn next(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in files(dir) {
        let to = copy.path().join(file.strip_prefix(dir).unwrap());
        crate::fs::create_dir(to.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&to, &crate::fs::read(&file).unwrap()).unwrap();
    }
    copy
}

fn open(dir: &Path) -> Arc<Store> {
    match Store::open(dir).unwrap() {
        Opening::Opened(store, _) => store,
        Opening::Held(holder) => panic!("held by {holder:?}"),
    }
}

fn examined(dir: &Path) -> (Arc<Store>, Examination) {
    let mut asked =
        Asked { is_wanted: &|_, _| true, tell: &mut |_, _, _| {}, command: vec!["doctor".into()] };
    match examine(dir, &mut asked).unwrap() {
        Examining::Done(store, found) => (store, found),
        Examining::Held(holder) => panic!("held by {holder:?}"),
    }
}

/// An examination by the next process, and what it left behind.
fn found(dir: &Path) -> (tempfile::TempDir, Examination) {
    let copy = next(dir);
    let (store, found) = examined(copy.path());
    store.close().unwrap();
    (copy, found)
}

fn act(number: u64) -> Act {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Act { key, loads: None, ..small_act(0, b"some output") }
}

/// A closed store with so many records, and where they are.
fn filled(acts: u64) -> (tempfile::TempDir, Vec<(u64, Position)>) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let add = |number| {
        let act = act(number);
        (act.key, store.add_act(act, Some(b"some output")).unwrap().0)
    };
    let keys = (0..acts).map(add).collect();
    store.close().unwrap();
    (dir, keys)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    crate::fs::files_below(dir).unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = crate::fs::read(path).unwrap();
    bytes[at] ^= 0x40;
    crate::fs::write_scratch(path, &bytes).unwrap();
}

fn kinds(found: &Examination) -> Vec<Kind> {
    found.faults.iter().map(|fault| fault.kind).collect()
}

#[test]
fn a_whole_store_is_fine_however_often_it_is_examined() {
    let (mut dir, _) = filled(3);
    for _ in 0..2 {
        let (after, found) = found(dir.path());
        assert!(found.is_fine(), "{found:?}");
        assert_eq!((found.results, found.bytes), (3, 33));
        dir = after;
    }
}

#[test]
fn a_damaged_table_is_found_and_its_keys_are_found_again() {
    let (dir, keys) = filled(5000);
    let tables = files(&dir.path().join("tables"));
    assert_eq!(tables.len(), 1);
    let length = crate::fs::read(&tables[0]).unwrap().len();
    for at in [3, 5000, length - 9] {
        let copy = next(dir.path());
        flip(&files(&copy.path().join("tables"))[0], at);
        let (store, found) = examined(copy.path());
        assert_eq!((kinds(&found), found.tables), (vec![Kind::Table], 1), "at {at}");
        for (key, place) in keys.iter().step_by(97) {
            assert_eq!(store.candidates(*key), [*place], "at {at}");
        }
        store.close().unwrap();
        assert!(self::found(copy.path()).1.is_fine());
    }
}

#[test]
fn a_damaged_result_answers_no_more_and_is_named_once() {
    let (dir, keys) = filled(3);
    let copy = next(dir.path());
    let segment = copy.path().join("segments/000001.seg");
    let bytes = crate::fs::read(&segment).unwrap();
    flip(&segment, bytes.windows(11).position(|window| window == b"some output").unwrap());
    let (store, first) = examined(copy.path());
    assert_eq!(kinds(&first), [Kind::Result]);
    let bad: Vec<bool> = keys.iter().map(|(_, place)| store.is_bad(*place)).collect();
    assert_eq!(bad, [true, false, false]);
    store.close().unwrap();
    // No document needs it: there is nothing to do.
    assert!(found(copy.path()).1.is_fine());
}

#[test]
fn a_segment_that_is_gone_is_said_once_and_known_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.add_act(act(1), Some(b"some output")).unwrap();
    store.flush().unwrap();
    // Not closed: the next one begins a segment of its own.
    let dir = next(dir.path());
    let store = open(dir.path());
    store.add_act(act(2), Some(b"some output")).unwrap();
    store.close().unwrap();
    assert_eq!(files(&dir.path().join("segments")).len(), 2);
    crate::fs::remove_file(&dir.path().join("segments/000001.seg")).unwrap();
    let (dir, first) = found(dir.path());
    assert_eq!(kinds(&first), [Kind::Log], "{first:?}");
    assert!(first.faults[0].place.starts_with("segments/000001.seg"), "{first:?}");
    let (_, second) = found(dir.path());
    assert!(second.is_fine() && second.known == 1, "{second:?}");
}

#[test]
fn the_log_may_be_hit_anywhere() {
    let (dir, _) = filled(3);
    let length = crate::fs::read(&dir.path().join("segments/000001.seg")).unwrap().len();
    for at in (0..length).step_by(11) {
        let copy = next(dir.path());
        flip(&copy.path().join("segments/000001.seg"), at);
        let (copy, first) = found(copy.path());
        let (_, second) = found(copy.path());
        assert!(second.is_fine(), "at {at}: {first:?}, then {second:?}");
    }
}

#[test]
fn what_the_index_kept_for_others_is_kept_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.add_act(act(1), Some(b"some output")).unwrap();
    store.keep("published", b"out/a.txt", b"ours").unwrap();
    store.close().unwrap();
    let dir = next(dir.path());
    let (store, found) = examined(dir.path());
    assert!(found.is_fine(), "{found:?}");
    assert_eq!(store.kept("published", b"out/a.txt").unwrap().as_deref(), Some(&b"ours"[..]));
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let mut asked = Asked { is_wanted: &|_, _| true, tell: &mut |_, _, _| {}, command: Vec::new() };
    assert!(examine(dir.path(), &mut asked).is_err());
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
}
