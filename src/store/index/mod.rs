//! The index: what stands where, so that nothing has to be looked up in the log. Derived from the log, and expendable.
//!
//! Pages say of each document "nothing to do here", or where its story is. They may be stale, which costs a look-up;
//! they may be gone, or sled may fail, panic or hang: then all calls say [`Unusable`], and whoever asked begins a new
//! epoch ([`Index::fresh`]) and fills it from the log, or goes on with the log alone.
//! Readers may run beside each other and beside one writer; writers take turns. Knows nothing of the log, of stories,
//! or of what is kept for others. `docs/design/index.md` has the formats.

mod database;
mod edit;
mod epoch;
mod key;
pub(crate) mod page;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;
use crate::model::action::Position;
use crate::store::disk::Disk;
pub use database::panics_are_caught;
use database::{Database, Sled, Space};
use epoch::State;
pub use page::{Entry, Flags, Sums};

/// The key under which an index says what it covers.
const APPLIED: &[u8] = b"applied";
/// The version of values beside pages.
const VERSION: u8 = 1;

/// What an error says that comes of it.
const UNUSABLE: &str = "the index of the store cannot be used";

/// Whether an error comes of an index that cannot be used: a new one can.
pub fn is_unusable(error: &Error) -> bool {
    error.message == UNUSABLE
}

/// The index cannot be used, or not any more; the log still can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// Why.
    pub reason: String,
}

impl Unusable {
    fn new(reason: impl Into<String>) -> Self {
        Unusable { reason: reason.into() }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Unusable {}

impl From<Unusable> for Error {
    fn from(unusable: Unusable) -> Error {
        Error::unfinished(UNUSABLE)
            .caused_by(unusable.reason)
            .hint("no result is lost: the next command makes it again from the log")
    }
}

/// The outcome of every call.
pub type Result<T, E = Unusable> = std::result::Result<T, E>;

/// Up to where the log is in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The first position that is not.
    pub position: Position,
    /// What the caller gave along: counts, open documents.
    pub data: Vec<u8>,
}

/// An index that could be opened.
pub struct Opened {
    /// The index.
    pub index: Index,
    /// How far it was at its last checkpoint; none: it was killed before the first, and is worth nothing yet.
    pub applied: Option<Applied>,
    /// Nothing was written since it was closed, and then all of it was on disk.
    pub was_closed: bool,
}

/// What holds the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// sled, which does its own file operations: `disk` is the real one.
    Sled,
    /// A plain file that is held in memory: for stores that are read aside, and tests on simulated disks.
    Plain,
}

/// Where an index is, and whose.
#[derive(Clone)]
pub struct Home {
    /// The folder of the index.
    pub dir: PathBuf,
    /// The id of the store that it is an index of.
    pub store: String,
    /// What tells this start of the machine from another.
    pub boot: String,
    /// For all files but those of sled.
    pub disk: Arc<dyn Disk>,
    /// What holds it.
    pub engine: Engine,
}

impl Home {
    fn open(&self, epoch: &Path) -> Result<Box<dyn Database>> {
        Ok(match self.engine {
            Engine::Sled => Box::new(Sled::open(&epoch.join("sled"))?),
            Engine::Plain => Box::new(database::plain::Plain::open(&*self.disk, &epoch.join("plain"))?),
        })
    }
}

/// The index of a store.
pub struct Index {
    disk: Arc<dyn Disk>,
    epoch: PathBuf,
    database: Box<dyn Database>,
    /// Taken by writers; whether `state` says that the index is written to.
    state: Mutex<State>,
    /// By family: counts that were asked for once, and are kept right by writers. Locked after `state`.
    sums: Mutex<HashMap<String, Sums>>,
    /// What `state` says on disk is not known any more: nothing is written.
    is_unsure: AtomicBool,
    /// It was met damaged: the next process makes another.
    is_disowned: AtomicBool,
}

impl Index {
    /// Opens the newest index. Takes 4 to 15 ms, and has a time limit: do it beside other work.
    pub fn open(home: &Home) -> Result<Opened> {
        let epoch = epoch::newest(&*home.disk, &home.dir)?;
        let found = State::read(&*home.disk, &epoch)?;
        if let Some(objection) = found.objection(&home.store, &home.boot) {
            return Err(objection);
        }
        // Written under another boot: it was closed, and the first write says otherwise again.
        let state = State::new(&home.store, &home.boot).with_clean(found.clean);
        let database = home.open(&epoch)?;
        let index = Index::of(home, epoch, database, state);
        let applied = index.applied()?;
        Ok(Opened { index, applied, was_closed: found.clean })
    }

    /// Begins a new, empty index; the old ones are removed.
    pub fn fresh(home: &Home) -> Result<Index> {
        let epoch = epoch::begin(&*home.disk, &home.dir).map_err(|error| Unusable::new(error.to_string()))?;
        let state = State::new(&home.store, &home.boot);
        state.write(&*home.disk, &epoch)?;
        let database = home.open(&epoch)?;
        Ok(Index::of(home, epoch, database, state))
    }

    fn of(home: &Home, epoch: PathBuf, database: Box<dyn Database>, state: State) -> Index {
        let disk = Arc::clone(&home.disk);
        Index {
            disk,
            epoch,
            database,
            state: Mutex::new(state),
            is_unsure: AtomicBool::new(false),
            is_disowned: AtomicBool::new(false),
            sums: Mutex::default(),
        }
    }

    /// The documents of one directory, sorted by name. `family` is a source or the target of a set; `dir` is relative
    /// to it, empty at the top.
    pub fn directory(&self, family: &str, dir: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.visit(family, dir, &mut |entry| {
            entries.push(entry.clone());
            false
        })?;
        Ok(entries)
    }

    /// Shows the documents of one directory, sorted by name, until `visit` says stop (`true`).
    /// Nothing is allocated for an entry.
    pub fn visit(&self, family: &str, dir: &str, visit: &mut dyn FnMut(&Entry) -> bool) -> Result<()> {
        let first = key::first_page(key::directory(family, dir));
        self.checked(walk::directory(&*self.database, first, visit))
    }

    /// The directories of a family that hold documents themselves, in walk order: a directory, all below it, the next.
    pub fn directories(&self, family: &str) -> Result<Vec<String>> {
        let mut found: Vec<Vec<u8>> = Vec::new();
        self.each_page(family, |page, _| {
            let directory = key::directory_of(page);
            if found.last().is_none_or(|last| last != directory) {
                found.push(directory.to_vec());
            }
            Ok(())
        })?;
        Ok(found.iter().map(|directory| key::directory_text(directory)).collect())
    }

    /// One document.
    pub fn get(&self, family: &str, dir: &str, name: &str) -> Result<Option<Entry>> {
        self.checked(self.find(family, dir, name))
    }

    fn find(&self, family: &str, dir: &str, name: &str) -> Result<Option<Entry>> {
        let first = key::first_page(key::directory(family, dir));
        let place = self.database.at_or_before(Space::Pages, &key::page(&first, name))?;
        let Some((key, bytes)) = place.filter(|(key, _)| key.starts_with(&first)) else { return Ok(None) };
        let mut page = page::Page::open(&key, bytes)?;
        while page.advance()? {
            if page.entry().name.as_str() >= name {
                return Ok((page.entry().name == name).then(|| page.entry().clone()));
            }
        }
        Ok(None)
    }

    /// Writes documents of one directory; those of the same name are replaced. Each page that is touched is read and
    /// written once, so bring together what belongs to a directory.
    pub fn put(&self, family: &str, dir: &str, entries: &[Entry]) -> Result<()> {
        self.edit(family, dir, entries.iter().map(|entry| (entry.name.as_str(), Some(entry))).collect())
    }

    /// Removes documents of one directory; that one is not there is fine.
    pub fn remove(&self, family: &str, dir: &str, names: &[&str]) -> Result<()> {
        self.edit(family, dir, names.iter().map(|name| (*name, None)).collect())
    }

    /// Shows all documents of a family with their directories in byte order of ids, until `visit` says stop (`true`):
    /// `a-b` comes before `a/…`, and that before `a0`. (Names that hold a `/` themselves, as the members of a group do,
    /// are in order within their directory.) Memory stays flat.
    pub fn scan(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry) -> bool) -> Result<()> {
        self.checked(walk::in_id_order(&*self.database, family, visit))
    }

    /// The same of one directory and those below it.
    pub fn directories_below(&self, family: &str, dir: &str) -> Result<Vec<String>> {
        let mut prefix = key::directory(family, dir);
        prefix.push(0);
        let mut found: Vec<Vec<u8>> = Vec::new();
        self.database.each(Space::Pages, &prefix, &mut |page, _| {
            let directory = key::directory_of(page);
            if found.last().is_none_or(|last| last != directory) {
                found.push(directory.to_vec());
            }
            Ok(false)
        })?;
        Ok(found.iter().map(|directory| key::directory_text(directory)).collect())
    }

    /// How many documents a family has, and how they stand: at first from the headers of its pages, then from memory.
    pub fn sums(&self, family: &str) -> Result<Sums> {
        // No writer in between: what is counted here is what the next one adds to.
        let _writing = self.lock();
        if let Some(known) = self.known_sums().get(family) {
            return Ok(*known);
        }
        let mut sums = Sums::default();
        self.each_page(family, |key, page| {
            sums.add(page::Page::open(key, page)?.sums());
            Ok(())
        })?;
        self.known_sums().insert(family.to_owned(), sums);
        Ok(sums)
    }

    /// Shows the documents of a family that have failed or are blocked, with their directories; reads only pages that
    /// hold one. Not in the order of ids.
    pub fn unwell(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry)) -> Result<()> {
        self.each_page(family, |key, bytes| {
            let mut page = page::Page::open(key, bytes)?;
            if page.sums().failed == 0 && page.sums().blocked == 0 {
                return Ok(());
            }
            let dir = key::directory_text(key::directory_of(key));
            while page.advance()? {
                if page.entry().flags.failed || page.entry().flags.blocked {
                    visit(&dir, page.entry());
                }
            }
            Ok(())
        })
    }

    /// Keeps a small value for somebody: `tree` says for whom.
    pub fn keep(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<()> {
        let key = kept_key(tree, key);
        let _writing = self.begin_writing()?;
        self.database.insert(Space::Kept, &key, sealed(&key, value))
    }

    /// What is kept under a key.
    pub fn kept(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = kept_key(tree, key);
        let found = self.checked(self.database.get(Space::Kept, &key))?;
        self.checked(found.map(|bytes| unsealed(&key, &bytes).map(<[u8]>::to_vec)).transpose())
    }

    /// Shows the keys that begin with `prefix` and their values, in order, until `visit` says stop (`true`).
    pub fn kept_scan(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        let begin = kept_key(tree, b"").len();
        self.checked(self.database.each(Space::Kept, &kept_key(tree, prefix), &mut |key, value| {
            Ok(visit(&key[begin..], unsealed(key, &value)?))
        }))
    }

    /// Keeps something no longer.
    pub fn drop_kept(&self, tree: &str, key: &[u8]) -> Result<()> {
        let _writing = self.begin_writing()?;
        self.database.remove(Space::Kept, &kept_key(tree, key))
    }

    /// Says that the log is in the index up to `applied`, which must be synced there, and hands all to the kernel:
    /// it survives a kill. `data` is given back at the next opening.
    pub fn checkpoint(&self, applied: Position, data: &[u8]) -> Result<()> {
        let _writing = self.begin_writing()?;
        self.write_applied(applied, data)
    }

    /// The last checkpoint: all files are synced, so that the index also survives a power cut. `applied` as there.
    /// The index can be written to again; then it has to be closed again.
    pub fn close(&self, applied: Position, data: &[u8]) -> Result<()> {
        let mut state = self.begin_writing()?;
        self.write_applied(applied, data)?;
        self.database.sync()?;
        let closed = state.with_clean(true);
        self.write_state(&closed)?;
        *state = closed;
        Ok(())
    }

    /// Reads every page; how many there are.
    pub fn verify(&self) -> Result<u64> {
        let mut pages = 0;
        self.database.each(Space::Pages, b"", &mut |key, page| {
            let mut page = page::Page::open(key, page)?;
            while page.advance()? {}
            pages += 1;
            Ok(false)
        })?;
        Ok(pages)
    }

    /// All that is kept for others and can be read, for [`Index::keep_again`].
    pub fn salvage(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut kept = Vec::new();
        let ended = self.database.each(Space::Kept, b"", &mut |key, value| {
            if unsealed(key, &value).is_ok() {
                kept.push((key.to_vec(), value.to_vec()));
            }
            Ok(false)
        });
        if let Err(unusable) = ended {
            tracing::debug!(%unusable, "not all that was kept could be read");
        }
        kept
    }

    /// Keeps what was salvaged from the index before.
    pub fn keep_again(&self, kept: Vec<(Vec<u8>, Vec<u8>)>) -> Result<()> {
        let _writing = self.begin_writing()?;
        kept.into_iter().try_for_each(|(key, value)| self.database.insert(Space::Kept, &key, value))
    }

    /// Bytes on disk. Above three times what was put in, a new epoch is worth it.
    pub fn size_on_disk(&self) -> u64 {
        self.database.size()
    }

    fn edit(&self, family: &str, dir: &str, edits: Vec<edit::Edit<'_>>) -> Result<()> {
        let first = key::first_page(key::directory(family, dir));
        let mut state = self.lock();
        let edited = edit::apply(&*self.database, &first, edits, &mut || self.note_writing(&mut state));
        let mut sums = self.known_sums();
        match &edited {
            Ok(recount) => {
                if let Some(known) = sums.get_mut(family) {
                    known.add(recount.new);
                    known.take(recount.old);
                }
            }
            // Some of it may have been written.
            Err(_) => drop(sums.remove(family)),
        }
        edited.map(drop)
    }

    fn known_sums(&self) -> MutexGuard<'_, HashMap<String, Sums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn each_page(&self, family: &str, mut visit: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut prefix = key::root(family);
        prefix.push(0);
        self.checked(
            self.database.each(Space::Pages, &prefix, &mut |key, page| visit(key, &page).map(|()| false)),
        )
    }

    /// What could not be read is not asked again by another process.
    fn checked<T>(&self, read: Result<T>) -> Result<T> {
        if read.is_err() && !self.is_disowned.swap(true, Ordering::Relaxed) {
            epoch::disown(&*self.disk, &self.epoch);
        }
        read
    }

    fn applied(&self) -> Result<Option<Applied>> {
        let Some(bytes) = self.database.get(Space::Own, APPLIED)? else { return Ok(None) };
        let (position, data) = unsealed(APPLIED, &bytes)?
            .split_first_chunk()
            .ok_or_else(|| Unusable::new("what it covers cannot be read"))?;
        Ok(Some(Applied { position: Position(u64::from_le_bytes(*position)), data: data.to_vec() }))
    }

    fn write_applied(&self, applied: Position, data: &[u8]) -> Result<()> {
        let value = [&applied.0.to_le_bytes(), data].concat();
        self.database.insert(Space::Own, APPLIED, sealed(APPLIED, &value))?;
        self.database.flush()
    }

    fn begin_writing(&self) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        self.note_writing(&mut state)?;
        Ok(state)
    }

    /// Says durably that the index is written to, if it does not say so yet.
    fn note_writing(&self, state: &mut State) -> Result<()> {
        if state.clean {
            let open = state.with_clean(false);
            self.write_state(&open)?;
            *state = open;
        }
        Ok(())
    }

    fn write_state(&self, state: &State) -> Result<()> {
        if self.is_unsure.load(Ordering::Relaxed) {
            return Err(Unusable::new("its `state` could not be written before"));
        }
        if self.is_disowned.load(Ordering::Relaxed) {
            return Err(Unusable::new("it was met damaged"));
        }
        let written = state.write(&*self.disk, &self.epoch);
        written.inspect_err(|_| self.is_unsure.store(true, Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A writer that panicked left nothing half done: what it wrote is in the database or is not.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept_key(tree: &str, key: &[u8]) -> Vec<u8> {
    [&key::root(tree)[..], &[0], key].concat()
}

/// A value with its version and checksum: `crc32c 4 | version 1 | value`.
fn sealed(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = [&[VERSION], value].concat();
    [&page::checksum(key, &body)[..], &body].concat()
}

fn unsealed<'a>(key: &[u8], bytes: &'a [u8]) -> Result<&'a [u8]> {
    let (sum, body) = bytes.split_first_chunk::<4>().ok_or_else(|| Unusable::new("a value is cut off"))?;
    match body {
        [VERSION, value @ ..] if *sum == page::checksum(key, body) => Ok(value),
        _ => Err(Unusable::new("a value does not match its checksum")),
    }
}
