//! The only place that names sled. It is a cache that may lie, panic or hang: every call is guarded, the first trouble
//! ends its use, and it is never dropped (its `drop` does I/O and can hang; the process ends by `_exit`).
//! Knows nothing of what it stores.

use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind;
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use super::{Database, Space, Visit};
use crate::error::Error;
use crate::store::index::Unusable;

/// Bytes of pages in memory; 256 MB give nothing over 32 (`docs/design/index.md`).
const CACHE: u64 = 32 << 20;
/// How long opening may take, beside a second for every `BYTES_A_SECOND`: it takes 4 to 15 ms, on a machine with far too
/// much to do a hundred times that, and an index given up by mistake costs more than the wait for one that hangs.
const OPENING: Duration = Duration::from_secs(6);
const BYTES_A_SECOND: u64 = 32 << 20;
/// How long writing out may take: beyond this something hangs.
const FLUSHING: Duration = Duration::from_secs(120);

/// Bytes that sled holds.
pub(in crate::store::index) type Bytes = sled::IVec;

/// A sled database.
pub(in crate::store::index) struct Sled {
    path: PathBuf,
    db: ManuallyDrop<sled::Db>,
    trees: ManuallyDrop<[sled::Tree; 3]>,
    broken: AtomicBool,
}

/// A database that this process opened before: sled's lock on its files ends with the process alone.
struct Held {
    /// Its folder, open: no other one gets its number.
    folder: File,
    db: ManuallyDrop<sled::Db>,
    trees: ManuallyDrop<[sled::Tree; 3]>,
}

static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would be caught and answered by building the index again: nothing to tell people.
pub fn panics_are_caught() -> bool {
    GUARDED.get()
}

impl Sled {
    /// Opens or makes the database in `path`.
    pub(in crate::store::index) fn open(path: &Path) -> Result<Self, Unusable> {
        if let Some((db, trees)) = held_again(path) {
            return Ok(Sled { path: path.to_owned(), db, trees, broken: AtomicBool::new(false) });
        }
        let limit = OPENING + Duration::from_secs(size_below(path) / BYTES_A_SECOND);
        let place = path.to_owned();
        let (db, trees) = watched("opening it", limit, move || {
            let db = sled::Config::new()
                .path(place)
                .flush_every_ms(None)
                .cache_capacity(CACHE)
                .use_compression(false)
                .open()?;
            let trees = [db.open_tree("pages")?, db.open_tree("kept")?, db.open_tree("own")?];
            // Wrapped here already: whatever becomes of them from now on, they are not dropped.
            Ok((ManuallyDrop::new(db), ManuallyDrop::new(trees)))
        })?;
        if let Ok(folder) = File::open(path) {
            let (db, trees) = (
                ManuallyDrop::new(sled::Db::clone(&db)),
                ManuallyDrop::new(<[sled::Tree; 3]>::clone(&trees)),
            );
            held().push(Held { folder, db, trees });
        }
        Ok(Sled { path: path.to_owned(), db, trees, broken: AtomicBool::new(false) })
    }

    fn tree(&self, space: Space) -> &sled::Tree {
        &self.trees[space as usize]
    }

    fn call<T>(&self, doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Unusable> {
        self.refuse_if_broken()?;
        guarded(doing, call).inspect_err(|trouble| self.give_up(trouble))
    }

    fn refuse_if_broken(&self) -> Result<(), Unusable> {
        if self.broken.load(Ordering::Relaxed) { Err(Unusable::new("it failed before")) } else { Ok(()) }
    }

    fn give_up(&self, trouble: &Unusable) {
        tracing::warn!(index = %self.path.display(), %trouble, "the index is not used any more");
        self.broken.store(true, Ordering::Relaxed);
        held().retain(|held| !held.is(&self.path));
    }
}

impl Held {
    fn is(&self, path: &Path) -> bool {
        let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = path.metadata().map(number).ok();
        there.is_some() && self.folder.metadata().map(number).ok() == there
    }
}

fn held() -> MutexGuard<'static, Vec<Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Clones of a database that is still open, if its folder is the one of then.
fn held_again(path: &Path) -> Option<(ManuallyDrop<sled::Db>, ManuallyDrop<[sled::Tree; 3]>)> {
    let held = held();
    let found = held.iter().find(|held| held.is(path))?;
    Some((
        ManuallyDrop::new(sled::Db::clone(&found.db)),
        ManuallyDrop::new(<[sled::Tree; 3]>::clone(&found.trees)),
    ))
}

impl Database for Sled {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Unusable> {
        self.call("reading", || self.tree(space).get(key))
    }

    fn at_or_before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        self.call("reading", || self.tree(space).range(..=key).next_back().transpose())
    }

    fn before(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        self.call("reading", || self.tree(space).get_lt(key))
    }

    fn at_or_after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        self.call("reading", || self.tree(space).range(key..).next().transpose())
    }

    fn after(&self, space: Space, key: &[u8]) -> Result<Option<(Bytes, Bytes)>, Unusable> {
        self.call("reading", || self.tree(space).get_gt(key))
    }

    fn each(&self, space: Space, prefix: &[u8], visit: Visit<'_>) -> Result<(), Unusable> {
        let mut found = self.call("reading", || Ok(self.tree(space).scan_prefix(prefix)))?;
        while let Some((key, value)) = self.call("reading", || found.next().transpose())? {
            if visit(&key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn insert(&self, space: Space, key: &[u8], value: Vec<u8>) -> Result<(), Unusable> {
        self.call("writing", || self.tree(space).insert(key, value)).map(drop)
    }

    fn remove(&self, space: Space, key: &[u8]) -> Result<(), Unusable> {
        self.call("writing", || self.tree(space).remove(key)).map(drop)
    }

    fn replace(
        &self,
        space: Space,
        removed: &[Bytes],
        written: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<(), Unusable> {
        let mut batch = sled::Batch::default();
        for key in removed {
            batch.remove(key);
        }
        for (key, value) in written {
            batch.insert(key, value);
        }
        self.call("writing", || self.tree(space).apply_batch(batch))
    }

    fn flush(&self) -> Result<(), Unusable> {
        self.refuse_if_broken()?;
        let db = ManuallyDrop::new(sled::Db::clone(&self.db));
        watched("writing it out", FLUSHING, move || db.flush().map(drop))
            .inspect_err(|trouble| self.give_up(trouble))
    }

    fn sync(&self) -> Result<(), Unusable> {
        self.flush()?;
        let mut paths = files(&self.path);
        paths.extend([self.path.join("blobs"), self.path.clone()]);
        for path in paths {
            match File::open(&path).and_then(|file| file.sync_all()) {
                // Files come and go while sled is open.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let trouble = Unusable::new(Error::io("sync", &path, &error).to_string());
                    self.give_up(&trouble);
                    return Err(trouble);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        size_below(&self.path)
    }
}

/// Calls sled; its errors and panics become one kind of trouble.
fn guarded<T>(doing: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, Unusable> {
    let outside = GUARDED.replace(true);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(outside);
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Unusable::new(format!("{doing}: {error}"))),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Unusable::new(format!("{doing}: panic: {text}")))
        }
    }
}

/// Calls sled on a thread of its own; one that does not come back in time is left behind.
fn watched<T: Send + 'static>(
    doing: &'static str,
    limit: Duration,
    call: impl FnOnce() -> sled::Result<T> + Send + 'static,
) -> Result<T, Unusable> {
    let (done, outcome) = mpsc::channel();
    let thread = std::thread::Builder::new().name(String::from("index")).spawn(move || {
        // Nobody listens any more after the limit; sled's part of it is wrapped so that it is not dropped even then.
        drop(done.send(guarded(doing, call)));
    });
    thread.map_err(|error| Unusable::new(format!("{doing}: no thread: {error}")))?;
    outcome
        .recv_timeout(limit)
        .unwrap_or_else(|_| Err(Unusable::new(format!("{doing}: no answer in {} s", limit.as_secs()))))
}

/// Bytes of all files of a database; what cannot be read counts nothing.
fn size_below(path: &Path) -> u64 {
    files(path).iter().filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
}

/// The files of a database.
fn files(path: &Path) -> Vec<PathBuf> {
    let listings = [path, &path.join("blobs")].map(std::fs::read_dir);
    let entries = listings.into_iter().flatten().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}
