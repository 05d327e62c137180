//! The store as the rest of the program sees it: opening aside, its runs and marks, what may be lost, what is durable. Records and
//! bytes are in `records`, documents by name in `documents`.
//!
//! One process owns it; every method may be called from any thread. Whoever asks sees what was appended, on disk or
//! not; only [`Store::on_sync`] says what is on disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::hash::{Digest, Map};
use crate::model::action::{Definition, Ended, Loads, Mark, Position, Recipe, Run, State, StoryEntry};
use crate::model::pipeline::TargetIx;
use crate::store::blobs::Blobs;
use crate::store::disk::Disk;
use crate::store::format::Format;
use crate::store::frame::Frame;
use crate::store::index::{Entry, Index};
use crate::store::interned::Interned;
use crate::store::lock::Lock;
use crate::store::log::Log;
use crate::store::pages::Pages;
use crate::store::tables::{Finder, WORTH_A_TABLE};
use crate::time::{self, Millis};

/// What the index remembers beside pages, so that opening reads nothing but the tail of the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Remembered {
    pub(super) next_document: u32,
    /// The highest number of a mark that any record knew: that mark's own frame may be damaged.
    #[serde(default)]
    pub(super) newest_mark: u64,
    pub(super) recipes: Vec<Position>,
    pub(super) loads: Vec<Position>,
    pub(super) definitions: Vec<Position>,
    pub(super) marks: Vec<Position>,
    pub(super) runs: Vec<Position>,
    #[serde(default)]
    pub(super) ended: Vec<Position>,
    pub(super) bad: Vec<Position>,
    pub(super) families: Vec<String>,
    /// By stream: the newest story in which anything changed in it.
    pub(super) changes: BTreeMap<String, Position>,
}

impl Remembered {
    /// Forgets what lies behind the end of the log. A checkpoint also knows what was appended and was not yet on disk; of
    /// a torn group there may be whole frames behind the first flaw, and none of them counts.
    pub(super) fn forget_behind(&mut self, end: Position) {
        for places in [
            &mut self.recipes,
            &mut self.loads,
            &mut self.definitions,
            &mut self.marks,
            &mut self.runs,
            &mut self.ended,
            &mut self.bad,
        ] {
            places.retain(|at| *at < end);
        }
    }
}

type SyncListener = Box<dyn Fn(Result<Position>) + Send>;

/// Told by the log's commit thread, which is there before the store is.
#[derive(Default)]
pub(super) struct SyncSignal {
    pub(super) listener: Mutex<Option<SyncListener>>,
}

/// An open store.
pub struct Store {
    pub(super) dir: PathBuf,
    pub(super) format: Format,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) log: Log,
    /// Larger outputs are blobs.
    pub(super) largest_payload: u64,
    pub(super) blobs: Blobs,
    pub(super) index: Index,
    pub(super) pages: Pages,
    pub(super) finder: Mutex<Finder>,
    /// Held for reading while a record is appended and its key inserted.
    pub(super) found: RwLock<()>,
    pub(super) recipes: Interned<Recipe>,
    pub(super) loads: Interned<Loads>,
    pub(super) definitions: Interned<Definition>,
    pub(super) marks: Mutex<Vec<(Position, Mark)>>,
    /// Those that cannot be read now.
    pub(super) unread_marks: Vec<Position>,
    pub(super) runs: Mutex<Vec<Position>>,
    /// Where ends of runs lie, oldest first.
    pub(super) ended: Mutex<Vec<Position>>,
    /// The runs that were read, and when each began.
    pub(super) run_starts: Mutex<(Vec<Position>, Map<u32, Millis>)>,
    pub(super) bad: Mutex<HashSet<Position>>,
    pub(super) families: Mutex<Vec<String>>,
    pub(super) changes: Mutex<BTreeMap<String, Position>>,
    pub(super) gone: Mutex<HashMap<String, bool>>,
    pub(super) next_document: AtomicU32,
    pub(super) newest_mark: AtomicU64,
    pub(super) last_run: AtomicU32,
    pub(super) begun: AtomicU32,
    pub(super) signal: Arc<SyncSignal>,
    pub(super) open_documents: Mutex<Map<String, Vec<(TargetIx, Position)>>>,
    pub(super) writer: Arc<PageWriter>,
    pub(super) checkpointed: AtomicU64,
    /// Something was written into the index since its last checkpoint.
    pub(super) touched: AtomicBool,
    /// The disk could not read all of the log: nothing derived may say that it has seen it.
    pub(super) is_partial: bool,
    /// From here on there are marks or damaged results whose documents may still stand as settled.
    pub(super) owed: Mutex<Option<Position>>,
    pub(super) lock: Option<Arc<Lock>>,
}

/// Wakes the thread that writes pages.
#[derive(Default)]
pub(super) struct PageWriter {
    pub(super) wake: Condvar,
    pub(super) ended: Mutex<bool>,
}

/// Whether an entry stands for a failure: of its module, or of publishing its result.
pub fn is_failed(entry: &StoryEntry) -> bool {
    entry.state == State::Failed || (entry.state == State::Done && entry.note.starts_with("{\"kind\""))
}

impl Store {
    /// The store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Says in the lock, for people, what has the store.
    pub fn describe_owner(&self, what: &str) {
        if let Some(lock) = &self.lock {
            lock.describe(what);
        }
    }

    /// Whether the log holds more than the index was told of.
    pub fn is_ahead_of_index(&self) -> bool {
        self.log.synced().0 > self.checkpointed.load(Ordering::Relaxed)
    }

    /// For scratch files; emptied when the store is opened.
    pub fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// What workers wrote, a file each: `<run>-<worker>`.
    pub fn worker_log(&self, run: u32, worker: u32) -> PathBuf {
        self.dir.join("logs").join(format!("{run}-{worker}"))
    }

    /// What stamps are keyed by.
    pub fn salt(&self) -> u64 {
        self.format.salt
    }

    // Runs and marks.

    /// Announces a run; it is written, and has its number, only with the first other frame.
    pub fn begin_run(&self, command: Vec<String>, pipelinefile: Digest) -> Result<u32> {
        // A process may begin several, one after another; the number of one that wrote nothing is free.
        let begun = self.begun.load(Ordering::Relaxed);
        if begun > 0 && !self.log.is_run_waiting() {
            self.last_run.fetch_max(begun, Ordering::Relaxed);
        }
        let number = self.last_run.load(Ordering::Relaxed) + 1;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.run_places();
        let host = crate::sys::host_name();
        self.log.begin_run(Run { number, start: time::now(), command, version, pipelinefile, host })?;
        self.begun.store(number, Ordering::Relaxed);
        Ok(number)
    }

    /// Where all runs lie; the one that was begun here is among them as soon as it wrote anything.
    fn run_places(&self) -> Vec<Position> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = self.log.run_at()
            && !runs.contains(&at)
        {
            runs.push(at);
        }
        runs.clone()
    }

    /// The number of the run that was begun; it counts once something was appended.
    pub fn run(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    /// All runs that wrote anything, oldest first.
    pub fn runs(&self) -> Result<Vec<Run>> {
        Ok(self.run_frames()?.into_iter().map(|(_, run)| run).collect())
    }

    /// Says how the run that was begun here ended; one that wrote nothing is thereby written down.
    pub fn end_run(&self, ended: Ended) -> Result<()> {
        let mut places = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = Ended { run: self.run(), ..ended };
        places.push(self.log.append(&Frame::Ended(ended), None)?);
        Ok(())
    }

    /// How runs ended, as far as they did, oldest first.
    pub fn ends(&self) -> Result<Vec<Ended>> {
        let places = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = |at: Position| match self.log.read_frame(at) {
            Ok(Some(Frame::Ended(ended))) => Some(Ok(ended)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        places.into_iter().filter_map(read).collect()
    }

    /// How the newest run ended that did.
    pub fn newest_end(&self) -> Result<Option<Ended>> {
        let newest = self.ended.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        Ok(match newest.map(|at| self.log.read_frame(at)).transpose()?.flatten() {
            Some(Frame::Ended(ended)) => Some(ended),
            _ => None,
        })
    }

    /// How a run ended; nothing if it was killed, is under way, or was no build. Reads no older ends.
    pub fn end_of(&self, run: u32) -> Result<Option<Ended>> {
        let places = self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for at in places.into_iter().rev() {
            match self.log.read_frame(at)? {
                Some(Frame::Ended(ended)) if ended.run == run => return Ok(Some(ended)),
                Some(Frame::Ended(ended)) if ended.run < run => break,
                _ => {}
            }
        }
        Ok(None)
    }

    /// When a run began; nothing if it wrote nothing, or is gone.
    pub fn run_start(&self, number: u32) -> Result<Option<Millis>> {
        let mut known = self.run_starts.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked for each of many failures: runs are read again only when there are others.
        let places = self.run_places();
        if known.0 != places {
            let starts = self.runs()?.into_iter().map(|run| (run.number, run.start)).collect();
            *known = (places, starts);
        }
        Ok(known.1.get(&number).copied())
    }

    /// The same, with where each begins in the log.
    pub(super) fn run_frames(&self) -> Result<Vec<(Position, Run)>> {
        let read = |at: Position| {
            let frame = self.log.read_frame(at);
            frame.map(|frame| {
                frame.and_then(|frame| if let Frame::Run(run) = frame { Some((at, run)) } else { None })
            })
        };
        self.run_places().into_iter().filter_map(|at| read(at).transpose()).collect()
    }

    /// Every mark, oldest first.
    pub fn marks(&self) -> Result<Vec<Mark>> {
        Ok(self
            .marks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(_, mark)| mark.clone())
            .collect())
    }

    /// The number of the newest mark; 0 if there is none.
    pub fn newest_mark(&self) -> u64 {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.newest_mark.load(Ordering::Relaxed);
        marks.iter().map(|(_, mark)| mark.number).fold(known, u64::max)
    }

    /// Makes a mark; on disk before this returns.
    /// One that selects documents is owed to them: see [`Store::all_unsettled`].
    pub fn add_mark(&self, mark: Mark) -> Result<()> {
        if !mark.is_whole() {
            self.owe();
        }
        // Held meanwhile: a checkpoint that passes the mark knows it.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.log.append(&Frame::Mark(mark.clone()), None)?;
        marks.push((at, mark));
        self.log.flush()
    }

    /// Every document that marks and damaged results concern is looked at by the next build. Until this is said, no
    /// checkpoint passes the first of them, so that whoever opens the store after a kill finds those documents again.
    pub fn all_unsettled(&self) {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What is appended next concerns documents that stand as settled.
    pub(super) fn owe(&self) {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(self.log.appended());
    }

    fn first_owed(&self) -> Option<Position> {
        *self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Small things that can be lost.

    /// Something kept in the index; gone when the index is.
    pub fn kept(&self, tree: &str, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.index.kept(tree, key)?)
    }

    /// Keeps something in the index.
    pub fn keep(&self, tree: &str, key: &[u8], value: &[u8]) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        Ok(self.index.keep(tree, key, value)?)
    }

    /// Drops something kept.
    pub fn drop_kept(&self, tree: &str, key: &[u8]) -> Result<()> {
        self.touched.store(true, Ordering::Relaxed);
        Ok(self.index.drop_kept(tree, key)?)
    }

    /// Visits what is kept under a prefix, as long as `visit` says true.
    pub fn kept_scan(
        &self,
        tree: &str,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<()> {
        Ok(self.index.kept_scan(tree, prefix, &mut |key, value| !visit(key, value))?)
    }

    /// Where `code` keeps what it knows of files.
    pub fn code_cache(&self) -> CodeCache<'_> {
        CodeCache(self)
    }

    // Durability.

    /// Sets who is told what is on disk.
    pub fn on_sync(&self, listener: SyncListener) {
        *self.signal.listener.lock().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// Everything below is on disk.
    pub fn synced(&self) -> Position {
        self.log.synced()
    }

    /// The end of what was appended.
    pub fn appended(&self) -> Position {
        self.log.appended()
    }

    /// Nothing else is in flight: what was appended goes to disk without waiting for more.
    pub fn hurry(&self, idle: bool) {
        if idle && self.log.synced() < self.log.appended() {
            self.log.commit();
        }
    }

    /// Waits until all that was appended is on disk.
    pub fn flush(&self) -> Result<()> {
        self.log.flush()
    }

    pub(super) fn remembered(&self) -> Remembered {
        Remembered {
            next_document: self.next_document.load(Ordering::Relaxed),
            newest_mark: self.newest_mark(),
            recipes: self.recipes.places(),
            loads: self.loads.places(),
            definitions: self.definitions.places(),
            marks: self
                .marks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .map(|(at, _)| *at)
                .chain(self.unread_marks.iter().copied())
                .collect(),
            runs: self.run_places(),
            ended: self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            bad: {
                let mut bad: Vec<Position> =
                    self.bad.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
                bad.sort_unstable();
                bad
            },
            families: self.families(),
            changes: self.changes.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Says to the index how far it is; the log need not be read again below that.
    pub fn checkpoint(&self) -> Result<()> {
        let synced = self.log.synced();
        self.write_pages()?;
        if self.is_partial {
            return Ok(());
        }
        let applied = self.pages.oldest().map_or(synced, |oldest| oldest.min(synced));
        let applied = self.first_owed().map_or(applied, |owed| owed.min(applied));
        let data = serde_json::to_vec(&self.remembered()).unwrap_or_default();
        self.index.checkpoint(applied, &data)?;
        self.checkpointed.store(applied.0, Ordering::Relaxed);
        Ok(())
    }

    /// Replaces the definitions of entries: what was learned of a module's code while documents went through it makes
    /// another definition of the same results.
    pub fn redefine(&self, family: &str, new: &HashMap<Position, Position>) -> Result<()> {
        let mut changed = Vec::new();
        self.scan(family, &mut |dir, entry| {
            if let Some(definition) = new.get(&entry.definition) {
                changed.push((dir.to_owned(), Entry { definition: *definition, ..entry.clone() }));
            }
            true
        })?;
        // Due as soon as all that was appended, the new definitions among it, is on disk.
        let last = Position(self.log.appended().0.saturating_sub(1));
        for (dir, entry) in changed {
            self.put_entry(family, &dir, entry, last);
        }
        Ok(())
    }

    /// Closes the store: everything on disk, the index up to date, and nothing to be read again at the next start.
    /// Writes nothing if nothing was appended.
    pub fn close(&self) -> Result<()> {
        {
            *self.writer.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
            self.writer.wake.notify_all();
        }
        self.log.flush()?;
        self.write_pages()?;
        let end = self.log.appended();
        let wrote =
            end.0 != self.checkpointed.load(Ordering::Relaxed) || self.touched.load(Ordering::Relaxed);
        let uncovered = self.finder.lock().unwrap_or_else(PoisonError::into_inner).len_uncovered();
        if uncovered > WORTH_A_TABLE && !self.is_partial {
            self.finder.lock().unwrap_or_else(PoisonError::into_inner).write_table(end)?;
        }
        self.log.close()?;
        if wrote && !self.is_partial {
            let data = serde_json::to_vec(&self.remembered()).unwrap_or_default();
            match self.first_owed() {
                None => self.index.close(end, &data)?,
                Some(owed) => self.index.checkpoint(owed.min(end), &data)?,
            }
        }
        Ok(())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // The thread that writes pages need not wait for its next round to see that it is over.
        *self.writer.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.writer.wake.notify_all();
    }
}

/// See [`Store::code_cache`].
pub struct CodeCache<'a>(&'a Store);

impl CodeCache<'_> {
    const TREE: &'static str = "code";

    /// The entry of a file; nothing if the index cannot be read, for it is only a cache.
    pub fn entry(&self, file: &str) -> Option<Vec<u8>> {
        self.0.kept(Self::TREE, file.as_bytes()).ok().flatten()
    }

    /// Keeps the entry of a file.
    pub fn set_entry(&self, file: &str, entry: &[u8]) {
        if let Err(error) = self.0.keep(Self::TREE, file.as_bytes(), entry) {
            tracing::warn!(%error, "what is known of a code file could not be kept");
        }
    }
}
