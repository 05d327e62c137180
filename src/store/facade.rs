//! The store as the rest of the program sees it: records by place and by key, documents by name, bytes by digest.
//!
//! One process owns it; every method may be called from any thread. Whoever asks sees what was appended, on disk or
//! not; only [`Store::on_sync`] says what is on disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{
    Act, Definition, Loads, Mark, Outcome, Output, Place, Position, Recipe, Run, State, Story, StoryEntry,
};
use crate::model::document::{DocId, DocNumber};
use crate::store::blobs::Blobs;
use crate::store::disk::Disk;
use crate::store::format::Format;
use crate::store::frame::{Bad, Frame, Names};
use crate::store::index::{Entry, Index, Sums};
use crate::store::interned::Interned;
use crate::store::lock::Lock;
use crate::store::log::Log;
use crate::store::pages::Pages;
use crate::store::quarantine::Quarantine;
use crate::store::tables::{Finder, WORTH_A_TABLE};
use crate::time;

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
    pub(super) bad: Vec<Position>,
    pub(super) families: Vec<String>,
    /// By stream: the newest story in which anything changed in it.
    pub(super) changes: BTreeMap<String, Position>,
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
    pub(super) bad: Mutex<HashSet<Position>>,
    pub(super) families: Mutex<Vec<String>>,
    pub(super) changes: Mutex<BTreeMap<String, Position>>,
    pub(super) gone: Mutex<HashMap<String, bool>>,
    pub(super) next_document: AtomicU32,
    pub(super) newest_mark: AtomicU64,
    pub(super) last_run: AtomicU32,
    pub(super) begun: AtomicU32,
    pub(super) signal: Arc<SyncSignal>,
    pub(super) open_documents: Mutex<HashMap<String, Vec<(String, Position)>>>,
    pub(super) writer: Arc<PageWriter>,
    pub(super) checkpointed: AtomicU64,
    /// Something was written into the index since its last checkpoint.
    pub(super) touched: AtomicBool,
    /// The disk could not read all of the log: nothing derived may say that it has seen it.
    pub(super) is_partial: bool,
    pub(super) lock: Option<Lock>,
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

    // Records by place.

    /// The record at a place; nothing if it cannot be read.
    pub fn act(&self, at: Position) -> Result<Option<Arc<Act>>> {
        Ok(self.log.read_act(at)?.map(Arc::new))
    }

    /// The story at a place; nothing if it cannot be read.
    pub fn story(&self, at: Position) -> Result<Option<Arc<Story>>> {
        Ok(self.log.read_story(at)?.map(Arc::new))
    }

    /// Whether what lay at a place was collected: that it cannot be read is no damage.
    pub fn is_collected(&self, at: Position) -> bool {
        self.log.segments().is_collected(at)
    }

    /// The recipe at a place.
    pub fn recipe(&self, at: Position) -> Result<Option<Arc<Recipe>>> {
        self.recipes.get(at, || self.read_recipe(at))
    }

    /// The load set at a place.
    pub fn loads(&self, at: Position) -> Result<Option<Arc<Loads>>> {
        self.loads.get(at, || self.read_loads(at))
    }

    /// The definition at a place.
    pub fn definition(&self, at: Position) -> Result<Option<Arc<Definition>>> {
        self.definitions.get(at, || self.read_definition(at))
    }

    fn read_recipe(&self, at: Position) -> Result<Option<Recipe>> {
        Ok(self
            .log
            .read_frame(at)?
            .and_then(|frame| if let Frame::Recipe(value) = frame { Some(value) } else { None }))
    }

    fn read_loads(&self, at: Position) -> Result<Option<Loads>> {
        Ok(self
            .log
            .read_frame(at)?
            .and_then(|frame| if let Frame::Loads(value) = frame { Some(value) } else { None }))
    }

    fn read_definition(&self, at: Position) -> Result<Option<Definition>> {
        let frame = self.log.read_frame(at)?;
        Ok(frame.and_then(|frame| if let Frame::Definition(value) = frame { Some(value) } else { None }))
    }

    /// The place of a recipe, written if it is new.
    pub fn intern_recipe(&self, value: &Recipe) -> Result<Position> {
        let append = || self.log.append(&Frame::Recipe(value.clone()), None);
        self.recipes.intern(value, |at| self.read_recipe(at), append)
    }

    /// The place of a load set, written if it is new.
    pub fn intern_loads(&self, value: &Loads) -> Result<Position> {
        let append = || self.log.append(&Frame::Loads(value.clone()), None);
        self.loads.intern(value, |at| self.read_loads(at), append)
    }

    /// The place of a definition, written if it is new.
    pub fn intern_definition(&self, value: &Definition) -> Result<Position> {
        let append = || self.log.append(&Frame::Definition(value.clone()), None);
        self.definitions.intern(value, |at| self.read_definition(at), append)
    }

    /// Every load set.
    pub fn all_loads(&self) -> Result<Vec<Arc<Loads>>> {
        self.loads.places().into_iter().filter_map(|at| self.loads(at).transpose()).collect()
    }

    /// How many load sets there are.
    pub fn loads_count(&self) -> usize {
        self.loads.count()
    }

    /// The places of all definitions.
    pub fn definition_places(&self) -> Vec<Position> {
        self.definitions.places()
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
        self.log.begin_run(Run { number, start: time::now(), command, version, pipelinefile })?;
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
        let places = self.run_places();
        let read = |at: Position| {
            let frame = self.log.read_frame(at);
            frame.map(|frame| {
                frame.and_then(|frame| if let Frame::Run(run) = frame { Some(run) } else { None })
            })
        };
        places.into_iter().filter_map(|at| read(at).transpose()).collect()
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
    pub fn add_mark(&self, mark: Mark) -> Result<()> {
        // Held meanwhile: a checkpoint that passes the mark knows it.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let at = self.log.append(&Frame::Mark(mark.clone()), None)?;
        marks.push((at, mark));
        self.log.flush()
    }

    // Documents by name.

    /// Gives new documents of a directory their numbers, and writes their names. At most 128 at once.
    pub fn name_documents(&self, family: &str, dir: &str, names: &[String]) -> Result<(DocNumber, Position)> {
        let count = names.len() as u32;
        let first = DocNumber(self.next_document.fetch_add(count, Ordering::Relaxed));
        let (directory, names) = match (dir, names) {
            ("", [only]) if only.is_empty() => (String::new(), vec![family.to_owned()]),
            ("", names) => (family.to_owned(), names.to_vec()),
            (dir, names) => (format!("{family}/{dir}"), names.to_vec()),
        };
        {
            let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            if !families.iter().any(|known| known == family) {
                families.push(family.to_owned());
            }
        }
        let at = self.log.append(&Frame::Names(Names { directory, first, names }), None)?;
        Ok((first, at))
    }

    /// The id of a document by its number and the frame that names it.
    pub fn id_of(&self, number: DocNumber, names: Position) -> Result<Option<DocId>> {
        let Some(Frame::Names(names)) = self.log.read_frame(names)? else { return Ok(None) };
        let Some(name) = names.name(number) else { return Ok(None) };
        Ok(Some(match names.directory.as_str() {
            "" => DocId::of_set(name),
            directory => {
                let (family, dir) = directory.split_once('/').unwrap_or((directory, ""));
                DocId::at(family, dir, name)
            }
        }))
    }

    /// The names of all sources and sets that have documents.
    pub fn families(&self) -> Vec<String> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a document stands, by the newest story of it.
    pub fn entry(&self, family: &str, dir: &str, name: &str) -> Result<Option<Entry>> {
        if let Some(entry) = self.pages.get(family, dir, name) {
            return Ok(Some(entry));
        }
        Ok(self.index.get(family, dir, name)?)
    }

    /// The documents of one directory, in order of names, those that are gone among them.
    pub fn directory(&self, family: &str, dir: &str) -> Result<Vec<Entry>> {
        Ok(self.index.directory(family, dir)?)
    }

    /// The directories of a family that have documents.
    pub fn directories(&self, family: &str) -> Result<Vec<String>> {
        Ok(self.index.directories(family)?)
    }

    /// Visits the documents of a family in byte order of ids, as long as `visit` says true.
    pub fn scan(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry) -> bool) -> Result<()> {
        self.write_pages()?;
        Ok(self.index.scan(family, &mut |dir, entry| !visit(dir, entry))?)
    }

    /// The directories of a family that have documents, of `dir` and below it.
    pub fn directories_below(&self, family: &str, dir: &str) -> Result<Vec<String>> {
        Ok(self.index.directories_below(family, dir)?)
    }

    /// Visits the documents of a family that have failed, in no order of ids.
    pub fn failed(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry)) -> Result<()> {
        self.write_pages()?;
        Ok(self.index.failed(family, visit)?)
    }

    /// Counts over a family.
    pub fn sums(&self, family: &str) -> Result<Sums> {
        self.write_pages()?;
        Ok(self.index.sums(family)?)
    }

    /// Whether any document of a family is gone.
    pub fn has_gone(&self, family: &str) -> Result<bool> {
        if let Some(known) = self.gone.lock().unwrap_or_else(PoisonError::into_inner).get(family) {
            return Ok(*known);
        }
        let gone = self.index.sums(family)?.gone > 0;
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(family.to_owned(), gone);
        Ok(gone)
    }

    /// Puts an entry into its page once everything that was appended so far is on disk.
    pub fn put_entry(&self, family: &str, dir: &str, entry: Entry, story: Position) {
        if entry.flags.gone {
            self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(family.to_owned(), true);
        }
        self.touched.store(true, Ordering::Relaxed);
        self.pages.put(family, dir, entry, story);
    }

    /// Writes a story. Its entry is to be put next, after what changed by it was noted: no checkpoint comes between.
    pub fn add_story(&self, story: &Story) -> Result<Position> {
        self.pages.announce(self.log.synced(), || self.log.append(&Frame::Story(story.clone()), None))
    }

    /// Writes the newest story of a document anew, as one that is not settled: the next build looks at it.
    pub fn unsettle(&self, family: &str, dir: &str, entry: &Entry, story: Story) -> Result<()> {
        let story = Story { settled: false, previous: Some(entry.story), run: self.run(), ..story };
        let at = self.add_story(&story)?;
        self.put_entry(family, dir, Store::entry_of(&entry.name, &story, at), at);
        self.unsettle_ancestors(&DocId::at(family, dir, &entry.name))
    }

    /// Writes what is due into the index now.
    pub fn write_pages(&self) -> Result<()> {
        if self.pages.len() == 0 {
            return Ok(());
        }
        self.pages.write_due(&self.index, self.log.synced())
    }

    /// The newest story in which anything changed in a stream; 0 if none ever did.
    pub fn last_change(&self, stream: &str) -> Position {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.get(stream).copied().unwrap_or(Position(0))
    }

    /// Something changed in a stream, in the story at this place.
    pub fn note_change(&self, stream: &str, at: Position) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.get_mut(stream) {
            Some(last) => *last = (*last).max(at),
            None => {
                changes.insert(stream.to_owned(), at);
            }
        }
    }

    // Records by key.

    /// Writes the record of an action with the bytes of its output, and gives it back as it lies in the log.
    pub fn add_act(&self, mut act: Act, bytes: Option<&[u8]>) -> Result<(Position, Arc<Act>)> {
        let mut payload = bytes;
        if let (Outcome::Output(output), Some(bytes)) = (&mut act.outcome, bytes)
            && bytes.len() as u64 > self.largest_payload
        {
            self.blobs.check_length(&output.digest, bytes.len() as u64)?;
            self.blobs.put(&output.digest, bytes)?;
            output.place = Place::Blob;
            payload = None;
        }
        let key = act.key;
        let at = {
            let _found = self.found.read().unwrap_or_else(PoisonError::into_inner);
            let at = self.log.append(&Frame::Act(act), payload)?;
            self.finder.lock().unwrap_or_else(PoisonError::into_inner).insert(key, at);
            at
        };
        let Some(act) = self.log.read_act(at)? else {
            return Err(Error::unfinished("a record cannot be read back").hint("pipe doctor"));
        };
        Ok((at, Arc::new(act)))
    }

    /// The places of the records whose keys begin so, newest first. Some may be of other keys.
    pub fn candidates(&self, key: u64) -> Vec<Position> {
        for _ in 0..4 {
            let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            let all = finder.candidates(key, &mut |at| {
                found.push(at);
                false
            });
            let Err(hole) = all else { return found };
            // A table is damaged: its stretch is read from the log again.
            let mut again = Vec::new();
            let replayed = self.log.replay(hole.from, &mut |_, frame| {
                if frame.position < hole.to
                    && let Some(Frame::Act(act)) = frame.decode()
                {
                    again.push((act.key, frame.position));
                }
            });
            if replayed.is_err() {
                return found;
            }
            for (key, at) in again {
                finder.insert(key, at);
            }
            finder.refilled(hole);
        }
        Vec::new()
    }

    /// Whether a record was set aside because its bytes are gone or wrong.
    pub fn is_bad(&self, at: Position) -> bool {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).contains(&at)
    }

    /// Sets a record aside: it answers no more, in this build or another.
    pub fn mark_bad(&self, at: Position) -> Result<()> {
        let digest = match self.log.read_act(at)?.map(|act| act.outcome) {
            Some(Outcome::Output(output)) => output.digest,
            _ => Digest::default(),
        };
        if self.bad.lock().unwrap_or_else(PoisonError::into_inner).insert(at) {
            self.log.append(&Frame::Bad(Bad { act: at, digest, time: time::now() }), None)?;
        }
        Ok(())
    }

    // Bytes.

    /// The bytes of an output, proved against its digest; nothing if they are gone or wrong, and for an output that
    /// passes its input on.
    pub fn output_bytes(&self, output: &Output) -> Result<Option<Arc<[u8]>>> {
        let bytes = match output.place {
            Place::Payload(place) => self.log.read_payload(place, output.length, &output.digest)?,
            Place::Blob => {
                self.blobs.check_length(&output.digest, output.length)?;
                self.blobs.read(&output.digest)?
            }
            Place::Input => None,
        };
        Ok(bytes.map(Arc::from))
    }

    /// Whether a blob is there with its right length. Its bytes are proved when they are read.
    pub fn has_blob(&self, digest: &Digest, length: u64) -> bool {
        self.disk.size(&self.blobs.path(digest)).is_ok_and(|size| size == length)
    }

    /// Where a blob lies.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.path(digest)
    }

    /// Where a blob lies whose bytes are right, hashed once a process; nothing if they are gone or wrong. What is handed
    /// to a module is asked for here: a result of wrong bytes would stand under the key of the right ones.
    pub fn proved_blob(&self, output: &Output) -> Result<Option<PathBuf>> {
        self.blobs.check_length(&output.digest, output.length)?;
        self.blobs.proved_path(&output.digest)
    }

    /// Takes over a file of `tmp/` as the bytes of an output.
    pub fn adopt_blob(&self, digest: &Digest, path: &Path) -> Result<()> {
        let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
        self.blobs.check_length(digest, length)?;
        self.blobs.adopt(digest, path)
    }

    /// Keeps something damaged for whoever wants to look at it.
    pub fn quarantine(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        Quarantine::new(Arc::clone(&self.disk), &self.dir).put(name, bytes)
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

    // Documents that are open in a running build, for whoever asks meanwhile.

    /// A result of an open document.
    pub fn note_open(&self, id: &DocId, target: &str, at: Position) {
        let mut open = self.open_documents.lock().unwrap_or_else(PoisonError::into_inner);
        open.entry(id.as_str().to_owned()).or_default().push((target.to_owned(), at));
    }

    /// The document has its story.
    pub fn note_closed(&self, id: &DocId) {
        self.open_documents.lock().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
    }

    /// What an open document has so far.
    pub fn open_results(&self, id: &DocId) -> Vec<(String, Position)> {
        let open = self.open_documents.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id.as_str()).cloned().unwrap_or_default()
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
            self.index.close(end, &data)?;
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
