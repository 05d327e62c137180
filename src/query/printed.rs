//! What a module printed for one document: a part of a log file in the store, of which the middle is not kept if it is
//! long. Knows no records.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::action::LogRange;
use crate::text;
use crate::time::Millis;

/// So many zeros in a row were written by nobody: the file let go of them.
const HOLE: usize = 1024;

/// A part of a file in the store: what a module printed for one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPart {
    /// The file.
    pub file: PathBuf,
    /// The first byte.
    pub from: u64,
    /// How many.
    pub length: u64,
    /// When they were written: up to so many of them by that time. Records of before this was kept say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, Millis)>,
}

impl LogPart {
    /// When a line was written that ends at this byte of the part.
    pub fn written(&self, end: u64) -> Option<Millis> {
        self.times.iter().find(|(at, _)| *at >= end).map(|(_, time)| *time)
    }

    /// What of it comes after this place of the file; nothing if nothing does.
    pub fn after(self, place: u64) -> Option<LogPart> {
        let skipped = place.saturating_sub(self.from).min(self.length);
        let times = self.times.into_iter().filter(|(at, _)| *at > skipped);
        let times = times.map(|(at, time)| (at - skipped, time)).collect();
        let part =
            LogPart { from: self.from + skipped, length: self.length - skipped, times, file: self.file };
        (part.length > 0).then_some(part)
    }

    /// What is kept of it and still there.
    pub fn read(&self) -> Result<Printed> {
        let mut printed = Printed::default();
        let file = match File::open(&self.file) {
            Ok(file) => file,
            // Logs may be lost; results are not.
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(printed),
            Err(e) => return Err(Error::io("read", &self.file, &e)),
        };
        let mut parts = vec![(0, self.length)];
        if let Some(middle) = (LogRange { from: 0, length: self.length }).left_out() {
            let end = middle.from + middle.length;
            parts = vec![(0, middle.from), (end, self.length - end)];
        }
        for (from, length) in parts {
            let mut bytes = vec![0; length as usize];
            let read = read_at(&file, &mut bytes, self.from + from);
            let length = read.map_err(|e| Error::io("read", &self.file, &e))?;
            printed.add(from, &bytes[..length]);
        }
        Ok(printed)
    }
}

/// As much as there is.
fn read_at(file: &File, bytes: &mut [u8], from: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], from + read as u64) {
            Ok(0) => break,
            Ok(length) => read += length,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

/// What is kept of what a module printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// In order; what lies between is left out.
    pub pieces: Vec<Piece>,
}

/// What was printed in one go, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the whole.
    pub from: u64,
    /// How many bytes before it are left out.
    pub left_out: u64,
    /// Itself.
    pub bytes: Vec<u8>,
}

impl Printed {
    /// Adds what follows, without what the file let go of.
    fn add(&mut self, from: u64, bytes: &[u8]) {
        let (mut at, mut begin) = (0, 0);
        while at < bytes.len() {
            let zeros = bytes[at..].iter().take_while(|byte| **byte == 0).count();
            if zeros >= HOLE {
                self.add_piece(from + begin as u64, &bytes[begin..at]);
                begin = at + zeros;
            }
            at += zeros;
            at += bytes[at..].iter().take_while(|byte| **byte != 0).count();
        }
        self.add_piece(from + begin as u64, &bytes[begin..]);
    }

    fn add_piece(&mut self, from: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = self.pieces.last().map_or(0, |last| last.from + last.bytes.len() as u64);
        match self.pieces.last_mut().filter(|_| end == from) {
            Some(last) => last.bytes.extend_from_slice(bytes),
            None => self.pieces.push(Piece { from, left_out: from - end, bytes: bytes.to_vec() }),
        }
    }

    /// How many bytes are left out.
    pub fn left_out(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.left_out).sum()
    }

    /// All of it, with a line where something is left out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in &self.pieces {
            if let Some(line) = piece.gap() {
                if !all.is_empty() && !all.ends_with(b"\n") {
                    all.push(b'\n');
                }
                all.extend_from_slice(line.as_bytes());
                all.push(b'\n');
            }
            all.extend_from_slice(&piece.bytes);
        }
        all
    }

    /// The same as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

impl Piece {
    /// What is said in the place of what is left out before it.
    pub fn gap(&self) -> Option<String> {
        let kept = text::size(LogRange::KEPT);
        let size = text::size(self.left_out);
        (self.left_out > 0).then(|| {
            format!(
                "… {size} left out: of what is printed for one document the first and last {kept} are kept"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8]) -> (tempfile::TempDir, LogPart) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("1-1");
        crate::fs::write_scratch(&file, &[b"before", bytes].concat()).unwrap();
        let length = bytes.len() as u64;
        (dir, LogPart { file, from: 6, length, times: Vec::new() })
    }

    #[test]
    fn a_long_log_is_its_begin_and_its_end_and_says_so() {
        const KEPT: usize = LogRange::KEPT as usize;
        let bytes = [vec![b'a'; KEPT], vec![0; 5 << 20], vec![b'b'; KEPT]].concat();
        let (_dir, long) = part(&bytes);
        let printed = long.read().unwrap();
        let froms: Vec<u64> = printed.pieces.iter().map(|piece| piece.from).collect();
        assert_eq!((froms, printed.left_out()), (vec![0, (KEPT + (5 << 20)) as u64], 5 << 20));
        let text = printed.text();
        assert!(text.len() < 2 * KEPT + 200 && text.contains("a\n… 5.0 MiB left out"), "{}", text.len());
        let (_dir, whole) = part(&vec![b'a'; 2 * KEPT]);
        assert_eq!(whole.read().unwrap().bytes(), vec![b'a'; 2 * KEPT]);
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let (_dir, part) = part(b"one\ntwo\n");
        let part = LogPart { times: vec![(4, Millis(1)), (8, Millis(2))], ..part };
        assert_eq!(part.clone().after(0), Some(part.clone()));
        let rest = part.clone().after(10).unwrap();
        assert_eq!((rest.read().unwrap().bytes(), rest.times), (b"two\n".to_vec(), vec![(4, Millis(2))]));
        assert_eq!(part.after(99), None);
    }

    #[test]
    fn holes_within_are_left_out_and_single_zeros_are_not() {
        let (_dir, holed) = part(&[b"one\0two".as_slice(), &[0; 2 * HOLE], b"three"].concat());
        let printed = holed.read().unwrap();
        assert_eq!(printed.pieces.len(), 2);
        assert_eq!(printed.pieces[0].bytes, b"one\0two");
        assert_eq!(printed.pieces[1].left_out, 2 * HOLE as u64);
        // What is not there any more is nothing, not zeros.
        let (_dir, short) = part(b"one");
        let longer = LogPart { length: 1 << 40, ..short };
        assert_eq!(longer.read().unwrap().bytes(), b"one");
    }
}
