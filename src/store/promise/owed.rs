//! A mark, or a damaged result, is durable before the documents that it concerns are written to be looked at: whatever
//! comes between, the next process finds them.

use std::sync::Arc;

use super::crashes::{home, work};
use super::oracle::Past;
use super::{dir, setup};
use crate::model::action::{Mark, Position};
use crate::store::Store;
use crate::store::disk::crash::{CrashDisk, Random};
use crate::store::opening::Derived;
use crate::time::Millis;

fn open(disk: &CrashDisk) -> Arc<Store> {
    Store::open_locked(&setup(Arc::new(disk.clone()), 1, 20_000, true), dir(), None, Derived::AsItIs)
        .unwrap()
        .0
}

/// A store in which documents stand as settled, and the results that they name.
fn settled() -> (CrashDisk, Arc<Store>, Vec<Position>) {
    let disk = CrashDisk::on(home());
    let store = open(&disk);
    let (mut past, mut random) = (Past { keeps_all: true, ..Past::default() }, Random(7));
    work(&disk, &store, &mut past, &mut random, 200, false).unwrap();
    store.flush().unwrap();
    store.checkpoint().unwrap();
    assert!(count(&store) > 0);
    let named = past.documents().into_iter().filter_map(|known| known.story);
    let acts = named.flat_map(|(_, story)| story.entries.clone()).filter_map(|entry| entry.act).collect();
    (disk, store, acts)
}

/// Documents that are settled, and not gone.
fn count(store: &Store) -> usize {
    let mut found = 0;
    for family in store.families() {
        let count = &mut |_: &str, entry: &crate::store::Entry| {
            found += usize::from(entry.flags.settled);
            true
        };
        store.scan(&family, count).unwrap();
    }
    found
}

fn killed(disk: &CrashDisk, store: Arc<Store>) -> Arc<Store> {
    drop(store);
    open(&CrashDisk::on(disk.machine()))
}

fn mark_all(store: &Store) {
    let number = store.newest_mark() + 1;
    let docs = Some("**".to_owned());
    store.add_mark(Mark { number, time: Millis(1), docs, ..Mark::default() }).unwrap();
}

#[test]
fn a_checkpoint_between_a_mark_and_its_documents_loses_none_of_them() {
    let (disk, store, _) = settled();
    mark_all(&store);
    store.checkpoint().unwrap();
    assert_eq!(count(&killed(&disk, store)), 0);
}

#[test]
fn a_store_that_is_closed_between_a_mark_and_its_documents_loses_none_of_them() {
    let (disk, store, _) = settled();
    mark_all(&store);
    store.close().unwrap();
    assert_eq!(count(&killed(&disk, store)), 0);
}

#[test]
fn documents_that_name_a_damaged_result_are_found_after_a_checkpoint() {
    let (disk, store, acts) = settled();
    let before = count(&store);
    for act in acts {
        store.mark_bad(act).unwrap();
    }
    store.flush().unwrap();
    store.checkpoint().unwrap();
    assert!(count(&killed(&disk, store)) < before);
}

#[test]
fn what_was_looked_at_is_not_looked_at_again() {
    let (disk, store, _) = settled();
    let before = count(&store);
    mark_all(&store);
    store.all_unsettled();
    store.close().unwrap();
    assert_eq!(count(&killed(&disk, store)), before);
}
