//! Reads and hashes files of sources, so that digest, stamp and bytes belong together.
//!
//! A file is stat-ed before and after on one descriptor; if anything moved, the reading counts for nothing. Knows
//! nothing of what is made of the content.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result, io_text};
use crate::hash::{Digest, StreamHasher};
use crate::model::document::{DocId, Stamp};
use crate::scan::files::{self, Sort};
use crate::scan::{Roots, mime_of};
use crate::time;

/// How often a file that changes while it is read is read again.
const TRIES: u32 = 3;

/// So many files at most are read by one thread in a row.
const BATCH: usize = 128;
/// What it takes to read the files of a batch should be worth waking a thread for it.
const WORTH_WAKING: Duration = Duration::from_micros(500);

/// What is read at once.
const CHUNK: usize = 128 * 1024;

/// How many first bytes tell the kind of content: enough for the file names inside an office document.
pub(super) const SNIFF: usize = 32 * 1024;

/// What is wanted beside digest and stamp.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Keep the bytes of files up to this length.
    pub keep: u64,
    /// Tell the kind of content.
    pub mime: bool,
}

/// What came of reading a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It was read whole.
    Read(Reading),
    /// It is not there.
    Vanished,
    /// It cannot be read, and why.
    Unreadable(String),
    /// It is no file (a FIFO, a socket, a device, a folder), or a link that leads out of the source.
    Special,
    /// It changed while it was read, every time.
    Changing,
    /// Nobody waits for it any more: [`Reader::stop`].
    Stopped,
}

/// One state of a file: everything here was true at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Of the bytes.
    pub digest: Digest,
    /// In bytes.
    pub length: u64,
    /// To compare with later.
    pub stamp: Stamp,
    /// It changed so shortly before that its stamp might not show the next change.
    pub racy: bool,
    /// The bytes, if they are few.
    pub bytes: Option<Arc<[u8]>>,
    /// The kind of content, if it was asked for.
    pub mime: Option<&'static str>,
}

/// Threads that read files.
pub struct Reader {
    pool: rayon::ThreadPool,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

/// What the threads take their work from. They wait here and not in the pool, whose threads look around for work many
/// times before they sleep: with files that take microseconds, that cost as much as reading them.
#[derive(Default)]
struct Queue {
    batches: Mutex<Batches>,
    changed: Condvar,
}

#[derive(Default)]
struct Batches {
    waiting: VecDeque<Box<dyn FnOnce() + Send>>,
    is_over: bool,
}

impl Queue {
    fn push(&self, batch: Box<dyn FnOnce() + Send>) {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).waiting.push_back(batch);
        self.changed.notify_one();
    }

    /// Does what comes, until it is over and nothing is left.
    fn serve(&self) {
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(batch) = batches.waiting.pop_front() {
                drop(batches);
                batch();
                batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
            } else if batches.is_over {
                return;
            } else {
                batches = self.changed.wait(batches).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.queue.batches.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.queue.changed.notify_all();
    }
}

struct Shared {
    salt: u64,
    /// The racy window of each file system met, by device.
    windows: Mutex<HashMap<u64, i128>>,
    is_stopped: AtomicBool,
    /// What the files of the last batch took each, in nanoseconds.
    pace: AtomicU64,
}

impl Reader {
    /// As many threads as keep a disk busy while others hash.
    pub fn new(salt: u64) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads((2 * cores).max(4))
            .thread_name(|i| format!("read-{i}"))
            .build()
            .map_err(|e| Error::unfinished("cannot start the threads that read files").caused_by(e))?;
        let queue = Arc::new(Queue::default());
        for _ in 0..pool.current_num_threads() {
            let queue = Arc::clone(&queue);
            pool.spawn(move || queue.serve());
        }
        Ok(Reader {
            pool,
            queue,
            shared: Arc::new(Shared {
                salt,
                windows: Mutex::default(),
                is_stopped: AtomicBool::new(false),
                pace: AtomicU64::new(u64::MAX),
            }),
        })
    }

    /// Reads a document's file on this thread.
    pub fn read(&self, roots: &Roots, rel: &str, ask: Ask) -> ReadOutcome {
        self.shared.read(roots, rel, ask)
    }

    /// Reads documents on threads of the pool, a batch at a time; `done` has the outcomes of one batch, with what was
    /// given beside each name. First come, first read. Many at once cost one wake-up a batch instead of one each.
    pub fn submit<T: Send + 'static>(
        &self,
        files: Vec<(T, Arc<Roots>, String)>,
        ask: Ask,
        done: impl Fn(Vec<(T, ReadOutcome)>) + Send + Sync + 'static,
    ) {
        let quick = WORTH_WAKING.as_nanos() as u64 / self.shared.pace.load(Ordering::Relaxed).max(1);
        let batch = (files.len() / self.threads()).clamp(1, BATCH / 8).max(BATCH.min(quick as usize));
        let done = Arc::new(done);
        let mut left = files.into_iter();
        loop {
            let batch: Vec<_> = left.by_ref().take(batch).collect();
            if batch.is_empty() {
                return;
            }
            let (shared, pace, done) =
                (Arc::clone(&self.shared), Arc::clone(&self.shared), Arc::clone(&done));
            let read =
                move |(beside, roots, rel): (T, Arc<Roots>, String)| (beside, shared.read(&roots, &rel, ask));
            self.queue.push(Box::new(move || {
                let (began, count) = (Instant::now(), batch.len() as u64);
                let outcomes = batch.into_iter().map(read).collect();
                pace.pace.store(began.elapsed().as_nanos() as u64 / count, Ordering::Relaxed);
                done(outcomes);
            }));
        }
    }

    /// Ends every reading, also in the middle of a file: one may be so large that it takes hours.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
    }

    /// How many files are read at once.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

/// The stamp that a document's file has now: the same as before, if nothing has changed it since. Links are followed.
pub fn restamp(roots: &Roots, rel: &str, salt: u64) -> Option<Stamp> {
    if let Some(giver) = roots.giver() {
        return giver.stamp(rel);
    }
    files::status_followed(&roots.path_of(rel)).ok().map(|status| status.stamp(salt))
}

impl Shared {
    fn read(&self, roots: &Roots, rel: &str, ask: Ask) -> ReadOutcome {
        let path = roots.path_of(rel);
        for _ in 0..TRIES {
            if self.is_stopped.load(Ordering::Relaxed) {
                return ReadOutcome::Stopped;
            }
            let attempt = open(roots, &path).and_then(|file| match file {
                Some(file) => self.attempt(file, rel, ask),
                None => Ok(Some(ReadOutcome::Special)),
            });
            match attempt {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(error) if files::is_gone(&error) => return ReadOutcome::Vanished,
                Err(error) if files::is_special(&error) => return ReadOutcome::Special,
                Err(error) => return ReadOutcome::Unreadable(io_text(&error)),
            }
        }
        ReadOutcome::Changing
    }

    /// Reads an open file; nothing if it changed meanwhile.
    fn attempt(&self, mut file: File, rel: &str, ask: Ask) -> io::Result<Option<ReadOutcome>> {
        let start = time::now_ns();
        let before = files::status_of(&file)?;
        if before.sort() != Sort::File {
            return Ok(Some(ReadOutcome::Special));
        }
        let keep = before.size <= ask.keep;
        let Some(content) = hash(&mut file, before.size, keep, ask.mime, &self.is_stopped)? else {
            return Ok(self.is_stopped.load(Ordering::Relaxed).then_some(ReadOutcome::Stopped));
        };
        if files::status_of(&file)? != before {
            return Ok(None);
        }
        Ok(Some(ReadOutcome::Read(Reading {
            digest: content.digest,
            length: before.size,
            stamp: before.stamp(self.salt),
            racy: before.last_change() + self.window(&file, before.device()) > start,
            mime: ask.mime.then(|| mime_of(&content.first, &DocId::in_source("", rel).ext())),
            bytes: content.bytes,
        })))
    }

    fn window(&self, file: &File, device: u64) -> i128 {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        *windows.entry(device).or_insert_with(|| crate::sys::racy_window(file))
    }
}

struct Content {
    digest: Digest,
    first: Vec<u8>,
    bytes: Option<Arc<[u8]>>,
}

/// Hashes exactly `size` bytes; nothing if the file has fewer, or more as far as that was seen (one that has more by now
/// has another status), or nobody waits for it any more.
/// One thread a file: BLAKE3 on one core is faster than the disks, and there are other files.
fn hash(
    file: &mut File,
    size: u64,
    keep: bool,
    sniff: bool,
    is_stopped: &AtomicBool,
) -> io::Result<Option<Content>> {
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
    }
    BUFFER.with_borrow_mut(|buffer| {
        let (mut first, mut bytes) = (Vec::new(), Vec::new());
        let mut hasher = StreamHasher::default();
        let mut length = 0;
        loop {
            let n = match file.read(buffer) {
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let chunk = &buffer[..n];
            length += n as u64;
            if length > size || is_stopped.load(Ordering::Relaxed) {
                return Ok(None);
            }
            if n as u64 == size && size > 0 {
                // Most files come in one piece.
                let first = if sniff { chunk[..n.min(SNIFF)].to_vec() } else { Vec::new() };
                return Ok(Some(Content {
                    digest: Digest::of(chunk),
                    first,
                    bytes: keep.then(|| chunk.into()),
                }));
            }
            hasher.update(chunk);
            if keep {
                bytes.extend_from_slice(chunk);
            }
            if sniff && first.len() < SNIFF {
                first.extend_from_slice(&chunk[..n.min(SNIFF - first.len())]);
            }
            if n == 0 || (length == size && size > 0) {
                let content =
                    || Content { digest: hasher.finish(), first, bytes: keep.then(|| bytes.into()) };
                return Ok((length == size).then(content));
            }
        }
    })
}

/// Opens a document's file; nothing if it is a link that leads out of the source.
pub(super) fn open(roots: &Roots, path: &Path) -> io::Result<Option<File>> {
    match files::open_file(path) {
        Err(error) if files::is_link(&error) => {
            let target = std::fs::canonicalize(path)?;
            if roots.contains(&target) { files::open_file(&target).map(Some) } else { Ok(None) }
        }
        opened => opened.map(Some),
    }
}
