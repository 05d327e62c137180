//! Entries of documents on their way into the index: at hand at once, in the index once their story is on disk.
//!
//! A page must never be ahead of the log, so an entry waits until its story is synced; until then, and until the index
//! has it, whoever asks gets it from here. A thread writes what is due, a directory at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::Result;
use crate::hash::Map;
use crate::model::action::Position;
use crate::store::index::{Entry, Index};

/// By family, folder, name.
type Folders = Map<String, Map<String, Waiting>>;

/// By name.
type Waiting = Map<String, Waiter>;

#[derive(Clone)]
struct Waiter {
    entry: Entry,
    /// What must be on disk before the entry may be written.
    story: Position,
    /// The oldest story of the document that is not in the index: this entry took the place of that one's.
    since: Position,
}

/// See the module's text.
#[derive(Default)]
pub(super) struct Pages {
    waiting: Mutex<Folders>,
    /// Stories, or places before them, whose entries are not here yet.
    on_the_way: Mutex<Vec<Position>>,
    /// One writer at a time, so that an older entry never overtakes a newer one.
    writing: Mutex<()>,
}

impl Pages {
    fn lock(&self) -> MutexGuard<'_, Folders> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a story, whose entry is put next; until then no checkpoint passes it. `from` lies before it.
    pub(super) fn announce(
        &self,
        from: Position,
        append: impl FnOnce() -> Result<Position>,
    ) -> Result<Position> {
        self.on_the_way().push(from);
        let appended = append();
        let mut on_the_way = self.on_the_way();
        if let Some(i) = on_the_way.iter().position(|at| *at == from) {
            match &appended {
                Ok(at) => on_the_way[i] = *at,
                Err(_) => drop(on_the_way.swap_remove(i)),
            }
        }
        appended
    }

    fn on_the_way(&self) -> MutexGuard<'_, Vec<Position>> {
        self.on_the_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry that may be written once everything below and at `story` is on disk.
    pub(super) fn put(&self, family: &str, dir: &str, entry: Entry, story: Position) {
        let mut waiting = self.lock();
        let folder = folder_of(&mut waiting, family, dir);
        match folder.get_mut(&entry.name) {
            Some(before) => *before = Waiter { since: before.since.min(story), entry, story },
            None => drop(folder.insert(entry.name.clone(), Waiter { entry, story, since: story })),
        }
        drop(waiting);
        self.on_the_way().retain(|at| *at != story);
    }

    /// The entry that waits, if one does.
    pub(super) fn get(&self, family: &str, dir: &str, name: &str) -> Option<Entry> {
        let waiting = self.lock();
        Some(waiting.get(family)?.get(dir)?.get(name)?.entry.clone())
    }

    /// How many entries wait.
    pub(super) fn len(&self) -> usize {
        self.lock().values().flat_map(Map::values).map(Map::len).sum()
    }

    /// The lowest story that is not in the index yet, or a place before it.
    pub(super) fn oldest(&self) -> Option<Position> {
        let announced = self.on_the_way().iter().min().copied();
        let waiting =
            self.lock().values().flat_map(Map::values).flat_map(Map::values).map(|waiter| waiter.since).min();
        announced.into_iter().chain(waiting).min()
    }

    /// Writes every entry whose story lies below `synced`.
    pub(super) fn write_due(&self, index: &Index, synced: Position) -> Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let due: Vec<(String, String, Vec<Waiter>)> = {
            let waiting = self.lock();
            let of = |folder: &Waiting| {
                let due = folder.values().filter(|waiter| waiter.story < synced);
                let mut due: Vec<Waiter> = due.cloned().collect();
                due.sort_unstable_by(|a, b| a.entry.name.cmp(&b.entry.name));
                due
            };
            let folders = waiting.iter().flat_map(|(family, folders)| {
                folders.iter().map(move |(dir, folder)| (family.clone(), dir.clone(), of(folder)))
            });
            folders.filter(|(_, _, due)| !due.is_empty()).collect()
        };
        for (family, dir, entries) in due {
            let plain: Vec<Entry> = entries.iter().map(|waiter| waiter.entry.clone()).collect();
            index.put(&family, &dir, &plain)?;
            let mut waiting = self.lock();
            let Some(folders) = waiting.get_mut(&family) else { continue };
            let Some(folder) = folders.get_mut(&dir) else { continue };
            for Waiter { entry, story, .. } in entries {
                // Another may have come meanwhile, perhaps of the same story.
                if folder.get(&entry.name).is_some_and(|now| now.story == story && now.entry == entry) {
                    folder.remove(&entry.name);
                }
            }
            if folder.is_empty() {
                folders.remove(&dir);
            }
        }
        Ok(())
    }
}

/// Where the entries of a folder wait.
fn folder_of<'a>(waiting: &'a mut Folders, family: &str, dir: &str) -> &'a mut Waiting {
    // Only what is new costs its name.
    if !waiting.get(family).is_some_and(|folders| folders.contains_key(dir)) {
        waiting.entry(family.to_owned()).or_default().insert(dir.to_owned(), Waiting::default());
    }
    waiting.get_mut(family).and_then(|folders| folders.get_mut(dir)).expect("it was put there if it was not")
}
