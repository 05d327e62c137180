//! Lines out of what is read in chunks. Memory stays bounded by the longest frame.

use std::io::{self, BufRead};

/// A line that begins like no frame and is longer than this is passed on in pieces.
const LONGEST_STRAY: usize = 64 * 1024;
/// The longest frame: larger results go through files.
const LONGEST: usize = 512 << 20;

/// What was read and not yet dealt with.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Up to here there is no line end in it.
    searched: usize,
    /// For reading into.
    chunk: Vec<u8>,
}

/// Whole lines, with room for what is left of the buffer.
pub(super) struct Whole {
    buffer: Vec<u8>,
    length: usize,
}

impl Whole {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Lines {
    /// Reads once, up to `size` bytes.
    pub(super) fn read(
        &mut self,
        size: usize,
        read: impl FnOnce(&mut [u8]) -> io::Result<Option<usize>>,
    ) -> io::Result<Option<usize>> {
        self.chunk.resize(size, 0);
        let length = read(&mut self.chunk)?;
        self.buffer.extend_from_slice(&self.chunk[..length.unwrap_or(0)]);
        Ok(length)
    }

    /// All whole lines; [`Lines::give_back`] must follow.
    pub(super) fn take_whole(&mut self) -> Whole {
        let length = self.buffer[self.searched..]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| self.searched + at + 1);
        Whole { buffer: std::mem::take(&mut self.buffer), length }
    }

    /// Keeps what is left behind the whole lines.
    pub(super) fn give_back(&mut self, whole: Whole) {
        self.buffer = whole.buffer;
        self.buffer.drain(..whole.length);
        self.searched = self.buffer.len();
    }

    /// A long beginning of a line that will be no frame.
    pub(super) fn take_endless(&mut self) -> Option<Vec<u8>> {
        let endless = self.buffer.len() > LONGEST_STRAY && !self.buffer.trim_ascii_start().starts_with(b"{");
        endless.then(|| self.take_rest())
    }

    /// Whether the last line is longer than any frame.
    pub(super) fn is_too_long(&self) -> bool {
        self.buffer.len() > LONGEST
    }

    /// The beginning of the last line.
    pub(super) fn begin(&self) -> &[u8] {
        &self.buffer
    }

    /// What has no line end.
    pub(super) fn take_rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.buffer)
    }
}

/// The length of the first line with its end.
pub(super) fn first_line(mut bytes: &[u8]) -> usize {
    let all = bytes.len();
    // A slice cannot fail.
    bytes.skip_until(b'\n').unwrap_or(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(lines: &mut Lines, bytes: &[u8]) -> Vec<Vec<u8>> {
        lines
            .read(bytes.len(), |buffer| {
                buffer.copy_from_slice(bytes);
                Ok(Some(bytes.len()))
            })
            .unwrap();
        let whole = lines.take_whole();
        let mut left = whole.bytes();
        let mut found = Vec::new();
        while !left.is_empty() {
            let (line, rest) = left.split_at(first_line(left));
            found.push(line.to_vec());
            left = rest;
        }
        lines.give_back(whole);
        found
    }

    #[test]
    fn a_long_line_that_is_no_frame_is_passed_on() {
        let mut lines = Lines::default();
        assert!(feed(&mut lines, &vec![b'x'; LONGEST_STRAY + 1]).is_empty());
        assert_eq!(lines.take_endless().map(|bytes| bytes.len()), Some(LONGEST_STRAY + 1));
        assert!(feed(&mut lines, &[b"{", vec![b'x'; LONGEST_STRAY].as_slice()].concat()).is_empty());
        assert_eq!(lines.take_endless(), None);
        assert_eq!(feed(&mut lines, b"\n").len(), 1);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_are_cut(chunks in proptest::collection::vec("[ab\n]{0,6}", 0..12)) {
            let all = chunks.concat();
            let mut lines = Lines::default();
            let found: Vec<Vec<u8>> = chunks.iter().flat_map(|chunk| feed(&mut lines, chunk.as_bytes())).collect();
            let expected: Vec<Vec<u8>> =
                all.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(found, expected);
            let rest = all.rsplit('\n').next().unwrap_or_default();
            prop_assert_eq!(lines.take_rest(), rest.as_bytes());
        }
    }
}
