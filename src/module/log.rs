//! A worker's log file: only ever appended to, by the program itself and by its minder.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::model::action::LogRange;

/// As much of the end is shown in failures.
const TAIL_BYTES: u64 = 16 * 1024;
const TAIL_LINES: usize = 40;

#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    /// Opens or begins the file.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Log(File::options().append(true).read(true).create(true).open(path)?))
    }

    /// Its present length. An error counts as empty: a range is lost then, not a result.
    pub(super) fn length(&self) -> u64 {
        self.0.metadata().map_or(0, |meta| meta.len())
    }

    /// Appends; what cannot be written is lost (the disk is full, and the store will say so).
    pub(super) fn append(&self, bytes: &[u8]) {
        drop((&self.0).write_all(bytes));
    }

    /// The end of what was written from `from` on.
    pub(super) fn since(&self, from: u64) -> String {
        let length = self.length();
        let from = from.max(length.saturating_sub(TAIL_BYTES)).min(length);
        let mut bytes = vec![0; (length - from) as usize];
        if self.0.read_exact_at(&mut bytes, from).is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of what was written from `from` on.
    pub(super) fn tail(&self, from: u64) -> Vec<String> {
        let text = self.since(from);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
    }
}

impl AsFd for Log {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The range between two lengths; nothing if it is empty.
pub(super) fn range(from: u64, to: u64) -> Option<LogRange> {
    (to > from).then(|| LogRange { from, length: to - from })
}

/// The last line that is not empty.
pub(super) fn last_line(lines: &[String]) -> Option<&str> {
    lines.iter().rev().map(|line| line.trim()).find(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_begins_where_it_is_asked_to_and_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(&dir.path().join("logs/1-1")).unwrap();
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
