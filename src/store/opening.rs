//! Opening a store: lock, format, what the index has not seen, and the index itself built again where it is gone.
//!
//! The log is the truth. After a clean end nothing is read but the last bytes of the log; after a kill its tail; where
//! the index is missing or unusable, all frames once. See `docs/design/store.md` and `engine.md` section 8 of the design.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::Duration;

use crate::error::{Error, Result, io_text};
use crate::model::action::{Mark, Position};
use crate::model::document::{CHILDREN, DocId, GROUPS};
use crate::model::selection::{Glob, names_file};
use crate::store::blobs::{Blobs, LARGEST_PAYLOAD};
use crate::store::disk::{Disk, RealDisk, WaryDisk};
use crate::store::facade::{PageWriter, Remembered, Store, SyncSignal};
use crate::store::format::Format;
use crate::store::frame::Frame;
use crate::store::index::{Engine, Entry, Home, Index, is_unusable};
use crate::store::interned::Interned;
use crate::store::lock::{Lock, holder};
use crate::store::log::{Limits, Log};
use crate::store::pages::Pages;
use crate::store::recover::{Damage, clean_end};
use crate::store::segment::Segments;
use crate::store::tables::Finder;
use crate::store::tail::{Folder, Found};

/// What came of trying to open a store.
pub enum Opening {
    /// It is ours; with what should be said about it.
    Opened(Arc<Store>, Vec<String>),
    /// Another process has it; its process id, if it wrote one.
    Held(Option<String>),
}

/// What a store works with; other than [`Setup::real`] for tests alone.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) engine: Engine,
    /// Where the index lies, if not within the store.
    pub(super) index: Option<(Arc<dyn Disk>, PathBuf)>,
    /// What tells this start of the machine from another.
    pub(super) boot: String,
    pub(super) limits: Limits,
    /// Larger outputs are blobs.
    pub(super) largest_payload: u64,
    /// Whether a thread writes pages and tables behind the commits.
    pub(super) background: bool,
}

impl Setup {
    /// This machine.
    pub(super) fn real() -> Self {
        Setup {
            disk: Arc::new(RealDisk),
            engine: Engine::Sled,
            index: None,
            boot: boot_id(),
            limits: Limits::default(),
            largest_payload: LARGEST_PAYLOAD,
            background: true,
        }
    }

    /// Where the index of the store in `dir` is.
    pub(super) fn home(&self, dir: &Path, format: &Format) -> Home {
        let (disk, dir) = match &self.index {
            Some((disk, dir)) => (Arc::clone(disk), dir.clone()),
            None => (Arc::clone(&self.disk), dir.join("index")),
        };
        Home { dir, store: format!("{:032x}", format.id), boot: self.boot.clone(), disk, engine: self.engine }
    }
}

/// What becomes of the index when a store is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Derived {
    /// It is used if it can be.
    AsItIs,
    /// It is made again from the log.
    Anew,
}

/// What tells one start of the machine from another.
pub fn boot_id() -> String {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    crate::fs::read_optional(path)
        .ok()
        .flatten()
        .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// What the index keeps about the store itself.
const STATE: &str = "state";
/// The last owner may have been killed while it published.
const UNCHECKED: &[u8] = b"publishing unchecked";

/// How often pages are written while a build runs, and how often the index is told how far it is.
const PAGES_EVERY: Duration = Duration::from_millis(100);
const CHECKPOINT_EVERY: u32 = 300;

impl Store {
    /// Opens the store in `dir`; makes one if there is none.
    pub fn open(dir: &Path) -> Result<Opening> {
        let elsewhere = |error: Error| error.hint("PIPE_DIR can name another folder for the store");
        crate::fs::create_dir(dir).map_err(elsewhere)?;
        let Some(lock) = Lock::try_take(dir).map_err(elsewhere)? else {
            return Ok(Opening::Held(holder(dir)));
        };
        let (store, notices) = Self::open_locked(&Setup::real(), dir, Some(lock), Derived::AsItIs)?;
        Ok(Opening::Opened(store, notices))
    }

    /// Opens the store whose lock is taken; with it, what should be said.
    pub(super) fn open_locked(
        setup: &Setup,
        dir: &Path,
        lock: Option<Lock>,
        derived: Derived,
    ) -> Result<(Arc<Store>, Vec<String>)> {
        let lock = lock.map(Arc::new);
        let setup = Setup { disk: Arc::new(WaryDisk::over(Arc::clone(&setup.disk))), ..setup.clone() };
        match Self::open_with(&setup, dir, lock.clone(), derived) {
            Err(error) if derived == Derived::AsItIs && is_unusable(&error) => {
                tracing::info!(?error.causes, "the index is built again from the log");
                Self::open_with(&setup, dir, lock, Derived::Anew)
            }
            opened => opened,
        }
    }

    fn open_with(
        setup: &Setup,
        dir: &Path,
        lock: Option<Arc<Lock>>,
        derived: Derived,
    ) -> Result<(Arc<Store>, Vec<String>)> {
        let disk = Arc::clone(&setup.disk);
        let format = Format::read_or_create(&*disk, dir)?;
        let create = |name: &str| {
            let path = dir.join(name);
            disk.create_dir(&path).map_err(|e| Error::io("create the folder", &path, &e))
        };
        ["segments", "blobs", "tables", "index", "logs", "quarantine"].into_iter().try_for_each(create)?;
        let tmp = dir.join("tmp");
        disk.remove_dir(&tmp).map_err(|e| Error::io("remove the folder", &tmp, &e))?;
        create("tmp")?;
        let home = setup.home(dir, &format);
        let segments = Segments::new(Arc::clone(&disk), dir, format);
        let (mut found, mut notices) = (Found::new(&segments), Vec::new());
        let clean = clean_end(&segments)?;
        let (index, applied, mut remembered, was_closed) = match derived {
            Derived::AsItIs => open_index(&home, &mut found)?,
            Derived::Anew => (Index::fresh(&home)?, Position(0), Remembered::default(), false),
        };
        let tables = dir.join("tables");
        let (mut finder, covered) = Finder::open(Arc::clone(&disk), &tables, format.salt)?;
        let mut from = applied.min(covered);
        let mut start = clean;
        let sees = |seen: Position| clean.is_some_and(|clean| clean.closed.is_some_and(|end| seen >= end));
        // What no table covers is read again each time; that alone is no news to the index.
        let (is_seen, mut is_in_order) = (sees(from), sees(applied));
        let mut index = index;
        let (mut is_partial, mut lost) = (false, 0u32);
        if !is_seen {
            let mut result = found.read(from, applied, covered, &mut finder)?;
            if result.start.end < from {
                // The index or the tables know a log that is gone: everything derived is made again.
                notices.push("the end of the log is gone; what it held is done again".to_owned());
                finder = Finder::fresh(&disk, &tables, format.salt)?;
                index = Index::fresh(&home)?;
                remembered = Remembered::default();
                found.forget();
                is_in_order = false;
                from = Position(0);
                result = found.read(from, from, from, &mut finder)?;
            }
            for damage in &result.damage {
                notices.push(format!(
                    "a stretch of the log is damaged ({} at {}); what it held is done again",
                    damage.what, damage.from.0
                ));
            }
            is_partial = result.is_partial;
            // Names and marks that cannot be read had numbers; none of them took less than two bytes.
            let bytes = |damage: &Damage| damage.to.0.saturating_sub(damage.from.0);
            lost = u32::try_from(result.damage.iter().map(bytes).sum::<u64>() / 2).unwrap_or(u32::MAX / 2);
            start.get_or_insert(result.start);
        }
        let Some(mut start) = start else {
            return Err(Error::unfinished("the log's end was not found").hint("pipe doctor"));
        };
        // The index is closed after the log, with all of that on disk.
        start.is_durable |= was_closed && sees(applied);
        let signal = Arc::new(SyncSignal::default());
        let told = Arc::clone(&signal);
        let log = Log::open(
            Arc::clone(&disk),
            dir,
            format,
            &start,
            setup.limits,
            Box::new(move |position, result| {
                let listener = told.listener.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(listener) = listener.as_ref() {
                    listener(result.map(|()| position));
                }
            }),
        )?;
        remembered.forget_behind(start.end);
        let tail = found.finish();
        tail.add_to(&mut remembered);
        let news = News { marks: tail.remembered.marks.clone(), bad: tail.remembered.bad.clone() };
        let marks = read_marks(&log, &remembered.marks)?;
        let is_read = |at: &&Position| marks.iter().any(|(read, _)| read == *at);
        // Whom they concern is not known now.
        is_partial |= !news.marks.iter().all(|at| is_read(&at));
        let store = Arc::new(Store {
            dir: dir.to_owned(),
            blobs: Blobs::new(Arc::clone(&disk), dir),
            largest_payload: setup.largest_payload,
            disk,
            index,
            pages: Pages::default(),
            finder: Mutex::new(finder),
            found: RwLock::default(),
            recipes: Interned::new(remembered.recipes),
            loads: Interned::new(remembered.loads),
            definitions: Interned::new(remembered.definitions),
            unread_marks: remembered.marks.iter().filter(|at| !is_read(at)).copied().collect(),
            marks: Mutex::new(marks),
            last_run: AtomicU32::new(start.run.max(newest_run(&log, &remembered.runs)?)),
            begun: AtomicU32::new(0),
            runs: Mutex::new(remembered.runs),
            ended: Mutex::new(remembered.ended),
            run_starts: Mutex::default(),
            bad: Mutex::new(remembered.bad.into_iter().collect()),
            families: Mutex::new(remembered.families),
            changes: Mutex::new(remembered.changes),
            gone: Mutex::default(),
            next_document: AtomicU32::new(remembered.next_document.saturating_add(lost)),
            newest_mark: AtomicU64::new(remembered.newest_mark.saturating_add(lost.into())),
            signal,
            open_documents: Mutex::default(),
            writer: Arc::new(PageWriter { wake: Condvar::new(), ended: Mutex::new(false) }),
            checkpointed: AtomicU64::new(applied.0.max(start.end.0)),
            touched: AtomicBool::new(false),
            is_partial,
            owed: Mutex::default(),
            log,
            format,
            lock,
        });
        store.put_found(tail.folders)?;
        if applied.0 > 0 {
            store.unsettle_by(&news)?;
        }
        if !is_in_order {
            store.publishing_unchecked()?;
            // What was read need not be read again, whatever happens next.
            store.log.flush()?;
            store.checkpointed.store(0, std::sync::atomic::Ordering::Relaxed);
            store.checkpoint()?;
            store.checkpointed.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        if setup.background {
            start_writer(&store)?;
        }
        Ok((store, notices))
    }

    fn put_found(&self, folders: Vec<Folder>) -> Result<()> {
        let marks = self.selecting(|_| true);
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut unsettled, mut concerned) = (Vec::<DocId>::new(), BTreeSet::new());
        for Folder { family, dir, entries } in folders {
            let mut entries: Vec<Entry> = entries.into_values().collect();
            for entry in &mut entries {
                if self.is_concerned(&family, &dir, entry, &marks, &bad)? {
                    entry.flags.settled = false;
                    concerned.insert(family.clone());
                }
            }
            self.index.put(&family, &dir, &entries)?;
            if family.ends_with(CHILDREN) && entries.iter().any(|entry| !entry.flags.settled) {
                // Any of them stands for all: they were split from one document.
                unsettled.push(DocId::at(&family, &dir, ""));
            }
        }
        concerned.iter().try_for_each(|family| self.unsettle_head(family))?;
        if unsettled.is_empty() {
            return Ok(());
        }
        unsettled.iter().try_for_each(|id| self.unsettle_ancestors(id))?;
        self.log.flush()?;
        self.write_pages()
    }

    /// What was marked or set aside behind the last checkpoint concerns documents that the index has for settled.
    fn unsettle_by(&self, news: &News) -> Result<()> {
        let marks = self.selecting(|at| news.marks.contains(at));
        let bad: HashSet<Position> = news.bad.iter().copied().collect();
        if marks.is_empty() && bad.is_empty() {
            return Ok(());
        }
        let mut ancestors: Vec<DocId> = Vec::new();
        for family in self.families() {
            let mut concerned = Vec::new();
            let mut failed = None;
            self.index.scan(&family, &mut |dir, entry| {
                match self.is_concerned(&family, dir, entry, &marks, &bad) {
                    Ok(true) => concerned.push((dir.to_owned(), entry.clone())),
                    Ok(false) => {}
                    Err(error) => failed = Some(error),
                }
                failed.is_some()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            if !concerned.is_empty() {
                self.unsettle_head(&family)?;
            }
            for (dir, mut entry) in concerned {
                let id = DocId::at(&family, &dir, &entry.name);
                entry.flags.settled = false;
                self.index.put(&family, &dir, &[entry])?;
                if id.parent().is_some() {
                    ancestors.push(id);
                }
            }
        }
        if ancestors.is_empty() {
            return Ok(());
        }
        ancestors.iter().try_for_each(|id| self.unsettle_ancestors(id))?;
        self.log.flush()?;
        self.write_pages()
    }

    /// Groups are looked at only if their head is.
    fn unsettle_head(&self, family: &str) -> Result<()> {
        let head = format!("{family}{GROUPS}");
        if let Some(mut entry) = self.index.get(&head, "", "")?.filter(|entry| entry.flags.settled) {
            entry.flags.settled = false;
            self.index.put(&head, "", &[entry])?;
        }
        Ok(())
    }

    /// The marks that select documents. Marks on whole targets change the definitions of these instead.
    fn selecting(&self, wanted: impl Fn(&Position) -> bool) -> Vec<Selecting> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let selecting = |(at, mark): &(Position, Mark)| Selecting {
            at: *at,
            // A glob that can no longer be read selects every document: looking too often is the safe side.
            docs: mark.docs.as_ref().and_then(|docs| Glob::new(docs).ok()),
            sets: mark.sets.clone(),
            failed: mark.failed,
        };
        let is_one = |(at, mark): &&(Position, Mark)| wanted(at) && !mark.is_whole();
        marks.iter().filter(is_one).map(selecting).collect()
    }

    /// Whether a settled document is to be looked at: marked since its story, or its story names what was set aside.
    fn is_concerned(
        &self,
        family: &str,
        dir: &str,
        entry: &Entry,
        marks: &[Selecting],
        bad: &HashSet<Position>,
    ) -> Result<bool> {
        if !entry.flags.settled {
            return Ok(false);
        }
        let id = || DocId::at(family, dir, &entry.name);
        let selects = |mark: &Selecting| {
            entry.story < mark.at
                && (entry.flags.failed || !mark.failed)
                && mark.docs.as_ref().is_none_or(|glob| {
                    let id = id();
                    glob.selects(id.as_str())
                        || names_file(glob, &id)
                        || mark.sets.iter().any(|set| set == id.as_str())
                })
        };
        if marks.iter().any(selects) {
            return Ok(true);
        }
        if bad.is_empty() {
            return Ok(false);
        }
        let story = self.log.read_story(entry.story)?;
        // What cannot be read now may name one of them: looking too often is the safe side.
        Ok(story.is_none_or(|story| {
            story.entries.iter().filter_map(|entry| entry.act).any(|act| bad.contains(&act))
        }))
    }
}

/// A mark that selects documents.
struct Selecting {
    at: Position,
    /// Absent: whatever its id.
    docs: Option<Glob>,
    /// With `docs`: sets besides.
    sets: Vec<String>,
    /// Only what failed.
    failed: bool,
}

/// What was said of documents behind the last checkpoint of the index.
struct News {
    marks: Vec<Position>,
    bad: Vec<Position>,
}

/// Writes pages behind the commits for as long as the store is open.
fn start_writer(store: &Arc<Store>) -> Result<()> {
    let writer = Arc::clone(&store.writer);
    let store = Arc::downgrade(store);
    let work = move || {
        let mut rounds = 0;
        loop {
            {
                let ended = writer.ended.lock().unwrap_or_else(PoisonError::into_inner);
                let waited = writer.wake.wait_timeout(ended, PAGES_EVERY);
                if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                    return;
                }
            }
            let Some(store) = store.upgrade() else { return };
            rounds += 1;
            let done = if rounds % CHECKPOINT_EVERY == 0 && store.pages.len() > 0 {
                store.checkpoint()
            } else {
                store.write_pages()
            };
            if let Err(error) = done {
                // The build goes on: pages only save looking, and the next start makes them again.
                tracing::warn!(%error, "pages could not be written");
                return;
            }
            store.make_tables();
        }
    };
    let started = std::thread::Builder::new().name("pages".into()).spawn(work);
    started
        .map(drop)
        .map_err(|e| Error::unfinished("cannot start the thread that writes pages").caused_by(io_text(&e)))
}

impl Store {
    /// Whether what is published must be compared with the stories: a process that published may have been killed.
    pub fn is_publishing_unchecked(&self) -> Result<bool> {
        Ok(self.kept(STATE, UNCHECKED)?.is_some())
    }

    /// What is published may not be as the stories say: the next build compares.
    pub fn publishing_unchecked(&self) -> Result<()> {
        self.keep(STATE, UNCHECKED, b"1")
    }

    /// What is published is as the stories say.
    pub fn publishing_checked(&self) -> Result<()> {
        self.drop_kept(STATE, UNCHECKED)
    }

    /// Sorts what the memtable holds into a table when it is full.
    pub(super) fn make_tables(&self) {
        let end = self.log.synced();
        // Every key below has arrived when nobody holds this any more.
        drop(self.found.write());
        let job = {
            if self.is_partial {
                return;
            }
            let mut finder = self.finder.lock().unwrap_or_else(PoisonError::into_inner);
            if finder.len_uncovered() >= crate::store::tables::FULL_MEMTABLE {
                finder.seal(end);
            }
            finder.next_job()
        };
        let Some(job) = job else { return };
        let made = job.run();
        let installed = self.finder.lock().unwrap_or_else(PoisonError::into_inner).install(made);
        if let Err(error) = installed {
            tracing::warn!(%error, "a table could not be written");
        }
    }
}

/// The index as it is, or a new one that knows nothing.
/// Up to where it is, what it remembers, and whether it was closed.
fn open_index(home: &Home, found: &mut Found<'_>) -> Result<(Index, Position, Remembered, bool)> {
    match Index::open(home) {
        Ok(opened) => {
            if let Some(applied) = opened.applied
                && let Ok(remembered) = serde_json::from_slice::<Remembered>(&applied.data)
            {
                return Ok((opened.index, applied.position, remembered, opened.was_closed));
            }
            drop(opened.index);
        }
        Err(unusable) => {
            tracing::info!(reason = unusable.reason, "the index is built again from the log");
        }
    }
    found.forget();
    Ok((Index::fresh(home)?, Position(0), Remembered::default(), false))
}

fn read_marks(log: &Log, places: &[Position]) -> Result<Vec<(Position, Mark)>> {
    let mut marks = Vec::new();
    for at in places {
        if let Some(Frame::Mark(mark)) = log.read_frame(*at)? {
            marks.push((*at, mark));
        }
    }
    Ok(marks)
}

fn newest_run(log: &Log, places: &[Position]) -> Result<u32> {
    let Some(at) = places.iter().max() else { return Ok(0) };
    Ok(match log.read_frame(*at)? {
        Some(Frame::Run(run)) => run.number,
        _ => places.len() as u32,
    })
}
