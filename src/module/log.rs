//! A worker's log file: only ever appended to, by the program itself and by its minder.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::action::LogRange;
use crate::module::secrets::Secrets;
use crate::sys;
use crate::time::{self, Millis};

/// As much of the end is shown in failures.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 40;
/// So much is looked through for secrets at a time.
const HIDE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// What is hidden in it, up to where that was done.
    secrets: Secrets,
    hidden: Cell<u64>,
    /// Up to here nothing more is to be let go of.
    gone: Cell<u64>,
    path: PathBuf,
}

impl Log {
    /// Opens or begins the file.
    pub(super) fn open(path: &Path, secrets: Secrets) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options().append(true).read(true).create(true).open(path)?;
        let hidden = Cell::new(file.metadata()?.len());
        Ok(Log { file, secrets, hidden, gone: Cell::new(0), path: path.to_owned() })
    }

    /// Its present length. An error counts as empty: a range is lost then, not a result.
    pub(super) fn length(&self) -> u64 {
        let length = self.file.metadata().map_or(0, |meta| meta.len());
        if !self.secrets.is_empty() && length > self.hidden.get() {
            // What cannot be read is not shown either.
            drop(self.hide(length));
        }
        length
    }

    /// Hides secrets in what was written since the last time: nobody is told of it before.
    fn hide(&self, length: u64) -> io::Result<()> {
        let mut from = self.hidden.get();
        while from < length {
            let mut bytes = vec![0; HIDE_BYTES.min((length - from) as usize)];
            self.file.read_exact_at(&mut bytes, from)?;
            if self.secrets.hide_bytes(&mut bytes) {
                // A file that is open for appending takes nothing in its middle.
                File::options().write(true).open(&self.path)?.write_all_at(&bytes, from)?;
            }
            // The end may be the begin of one.
            let next = (from + bytes.len() as u64).saturating_sub(self.secrets.overlap());
            self.hidden.set(next.max(from));
            if from + bytes.len() as u64 >= length || next <= from {
                break;
            }
            from = next;
        }
        Ok(())
    }

    /// Appends; what cannot be written is lost (the disk is full, and the store will say so).
    pub(super) fn append(&self, bytes: &[u8]) {
        drop((&self.file).write_all(bytes));
    }

    /// Lets go of the middle of what one document printed, if that is long: its place on the disk, not its length, so
    /// that all ranges stay true. A file system that cannot do so keeps it.
    pub(super) fn let_go(&self, range: Option<LogRange>) {
        let Some(middle) = range.and_then(LogRange::left_out) else { return };
        let (from, to) = (middle.from.max(self.gone.get()), middle.from + middle.length);
        if from < to && sys::let_go(&self.file, from, to).is_ok() {
            self.gone.set(to);
        }
    }

    /// The end of what was written from `from` on.
    pub(super) fn since(&self, from: u64) -> String {
        let length = self.length();
        let from = from.max(length.saturating_sub(TAIL_BYTES)).min(length);
        let mut bytes = vec![0; (length - from) as usize];
        if self.file.read_exact_at(&mut bytes, from).is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of what was written from `from` on.
    pub(super) fn tail(&self, from: u64) -> Vec<String> {
        last_lines(&self.since(from))
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// How often a log is looked at while its process is at work.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// So many times are kept of what one document printed, and of what nobody answered for yet.
const TIMES: usize = 100;

/// Keeps whoever prints without end from filling the disk before it is done.
///
/// Answers come a moment late, so what was written last may be that of several documents. What stood there at the look
/// before is not: had a document ended by then, its answer would be here.
#[derive(Debug)]
pub(super) struct Endless {
    /// What is above this is not yet answered for.
    mark: u64,
    length: u64,
    next: Instant,
}

impl Endless {
    /// From this length on.
    pub(super) fn from(length: u64) -> Self {
        Endless { mark: length, length, next: Instant::now() + LOOK }
    }

    /// How long until it is to be looked for.
    pub(super) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks, if it is time. Before: all answers that are here were taken, and `mark` is where the last one ended.
    pub(super) fn look_again(&mut self, log: &Log, mark: u64) {
        if self.wait().is_zero() {
            self.look(log, mark);
        }
    }

    fn look(&mut self, log: &Log, mark: u64) {
        self.next = Instant::now() + LOOK;
        if self.mark == mark {
            log.let_go(range(mark, self.length));
        }
        (self.mark, self.length) = (mark, log.length());
    }
}

/// When a log was how long, for whoever looks from another thread.
#[derive(Clone, Debug, Default)]
pub(super) struct Grown(Arc<Mutex<Vec<(u64, Millis)>>>);

impl Grown {
    /// What is known now.
    pub(super) fn known(&self) -> Vec<(u64, Millis)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Millis)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a log was how long: by that its lines get their times. It is looked at now and then, so a line has the time at
/// which it was seen, at most [`LOOK`] too late.
#[derive(Debug)]
pub(super) struct Times {
    seen: u64,
    grown: Grown,
    next: Instant,
}

impl Times {
    /// From this length on.
    pub(super) fn from(length: u64, grown: &Grown) -> Self {
        grown.lock().clear();
        Times { seen: length, grown: grown.clone(), next: Instant::now() + LOOK }
    }

    /// How long until the log is to be looked at.
    pub(super) fn wait(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    /// Looks, if it is time.
    pub(super) fn look_again(&mut self, log: &Log) {
        if self.wait().is_zero() {
            self.look(log);
        }
    }

    fn look(&mut self, log: &Log) {
        self.next = Instant::now() + LOOK;
        let length = log.length();
        if length > self.seen {
            self.seen = length;
            let mut grown = self.grown.lock();
            grown.push((length, time::now()));
            thin(&mut grown);
        }
    }

    /// When what stands in a part of the log was written: up to so many bytes of it by that time. What is before its end
    /// is forgotten.
    pub(super) fn take(&mut self, log: &Log, range: Option<LogRange>) -> Vec<(u64, Millis)> {
        let Some(range) = range else { return Vec::new() };
        self.look(log);
        let end = range.from + range.length;
        let mut taken = Vec::new();
        let mut grown = self.grown.lock();
        for (at, when) in grown.iter().filter(|(at, _)| *at > range.from) {
            taken.push(((*at).min(end) - range.from, *when));
            if *at >= end {
                break;
            }
        }
        grown.retain(|(at, _)| *at > end);
        taken
    }
}

/// Leaves out every second of too many.
fn thin(times: &mut Vec<(u64, Millis)>) {
    if times.len() > TIMES {
        let last = times.len() - 1;
        let mut at = 0;
        times.retain(|_| {
            at += 1;
            at % 2 == 0 || at - 1 == last
        });
    }
}

/// The range between two lengths; nothing if it is empty.
pub(super) fn range(from: u64, to: u64) -> Option<LogRange> {
    (to > from).then(|| LogRange { from, length: to - from })
}

/// The last lines of a text.
pub(super) fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// The last line that is not empty.
pub(super) fn last_line(lines: &[String]) -> Option<&str> {
    lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_log_has_the_times_at_which_it_grew() {
        let times = |known: &[(u64, u64)]| {
            let grown = Grown::default();
            grown.lock().extend(known.iter().map(|(at, when)| (*at, Millis(*when))));
            Times { seen: 1000, grown, next: Instant::now() }
        };
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("1-1"), Secrets::default()).unwrap();
        let mut of_two = times(&[(10, 1), (20, 2), (30, 3), (40, 4)]);
        assert_eq!(of_two.take(&log, range(15, 30)), [(5, Millis(2)), (15, Millis(3))]);
        // What was seen in one look is shared by those that wrote it.
        let mut shared = times(&[(30, 3)]);
        assert_eq!(shared.take(&log, range(0, 10)), [(10, Millis(3))]);
        assert_eq!(shared.take(&log, range(10, 30)), [(20, Millis(3))]);
        assert_eq!(shared.take(&log, None), []);
        let mut many = (0..=TIMES as u64).map(|n| (n, Millis(n))).collect();
        thin(&mut many);
        assert_eq!((many.len(), many.last()), (TIMES / 2 + 1, Some(&(TIMES as u64, Millis(TIMES as u64)))));
    }

    #[test]
    fn what_is_printed_without_end_takes_no_place_and_no_other_document_s() {
        use std::os::unix::fs::MetadataExt;
        const KEPT: usize = LogRange::KEPT as usize;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1-1");
        let log = Log::open(&path, Secrets::default()).unwrap();
        let read = |from: usize, length: usize| {
            let mut bytes = vec![0; length];
            log.file.read_exact_at(&mut bytes, from as u64).unwrap();
            bytes
        };
        // Short documents lose nothing, however many end between two looks.
        let mut endless = Endless::from(0);
        log.append(&vec![b'a'; 100 * KEPT]);
        endless.look(&log, 0);
        endless.look(&log, 100 * KEPT as u64);
        assert_eq!(read(0, 100 * KEPT), vec![b'a'; 100 * KEPT]);
        // A long one keeps its begin, and what came since the look before.
        for _ in 0..10 {
            log.append(&vec![b'b'; 100 * KEPT]);
            endless.look(&log, 100 * KEPT as u64);
        }
        let held = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(held < 210 * LogRange::KEPT, "{held}");
        assert_eq!(read(100 * KEPT, KEPT), vec![b'b'; KEPT]);
        assert_eq!(read(1000 * KEPT, 100 * KEPT), vec![b'b'; 100 * KEPT]);
        // Once it has ended, its end.
        log.let_go(range(100 * LogRange::KEPT, log.length()));
        assert_eq!(read(1099 * KEPT, KEPT), vec![b'b'; KEPT]);
        let held = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(held < 103 * LogRange::KEPT, "{held}");
        assert_eq!(log.length(), 1100 * LogRange::KEPT);
    }

    #[test]
    fn the_tail_begins_where_it_is_asked_to_and_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("logs/1-1"), Secrets::default()).unwrap();
        log.append(b"before\n");
        let from = log.length();
        assert_eq!(log.tail(from), Vec::<String>::new());
        log.append(b"one\n\xff\n\n");
        assert_eq!(log.tail(from), ["one", "\u{fffd}", ""]);
        assert_eq!(last_line(&log.tail(from)), Some("\u{fffd}"));
        log.append(&b"x\n".repeat(100_000));
        assert_eq!(log.tail(from).len(), TAIL_LINES);
        assert_eq!(range(3, 3), None);
        assert_eq!(range(3, 5), Some(LogRange { from: 3, length: 2 }));
    }
}
