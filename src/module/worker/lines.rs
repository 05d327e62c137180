//! Lines out of what is read in chunks, and what follows them, counted. Memory stays bounded by the longest frame.

use std::io::{self, BufRead};

/// A line that begins like no frame and is longer than this is passed on in pieces.
const LONGEST_STRAY: usize = 64 * 1024;
/// The longest frame: larger results go through files.
pub(super) const LONGEST: usize = 512 << 20;

/// What was read and not yet dealt with.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// Up to here there is no line end in it.
    searched: usize,
    /// So long it must be before there is anything whole in it.
    wanted: usize,
    /// For reading into.
    chunk: Vec<u8>,
}

/// What was read and begins with a whole line; empty if there is none yet.
pub(super) struct Taken {
    buffer: Vec<u8>,
    /// How much of it was dealt with.
    at: usize,
    wanted: usize,
}

/// A line with its end, and all that follows it.
pub(super) type Next<'a> = (&'a [u8], &'a [u8]);

impl Taken {
    /// The next whole line. It stays the next until it is [passed](Taken::pass).
    pub(super) fn next(&self) -> Option<Next<'_>> {
        let left = &self.buffer[self.at..];
        let length = first_line(left);
        left[..length].ends_with(b"\n").then(|| left.split_at(length))
    }

    /// So many bytes are dealt with.
    pub(super) fn pass(&mut self, length: usize) {
        self.at += length;
    }

    /// Of what is next there must be so many bytes before it can be dealt with.
    pub(super) fn wait_for(&mut self, length: usize) {
        self.wanted = length;
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

    /// What begins with a whole line; [`Lines::give_back`] must follow.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let is_whole = self.buffer.len() >= self.wanted && self.buffer[self.searched..].contains(&b'\n');
        self.searched = if self.wanted > 0 { self.searched } else { self.buffer.len() };
        is_whole.then(|| Taken { buffer: std::mem::take(&mut self.buffer), at: 0, wanted: 0 })
    }

    /// Keeps what was not dealt with.
    pub(super) fn give_back(&mut self, taken: Taken) {
        self.buffer = taken.buffer;
        self.buffer.drain(..taken.at);
        self.wanted = taken.wanted;
        self.searched = if self.wanted > 0 { 0 } else { self.buffer.len() };
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
        (self.searched, self.wanted) = (0, 0);
        std::mem::take(&mut self.buffer)
    }
}

/// The length of the first line with its end.
fn first_line(mut bytes: &[u8]) -> usize {
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
        let Some(mut taken) = lines.take() else { return Vec::new() };
        let mut found = Vec::new();
        while let Some((line, rest)) = taken.next() {
            // `#`: two bytes follow.
            let length = if line.starts_with(b"#") { line.len() + 2 } else { line.len() };
            if rest.len() + line.len() < length {
                taken.wait_for(length);
                break;
            }
            found.push([line, &rest[..length - line.len()]].concat());
            taken.pass(length);
        }
        lines.give_back(taken);
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
        fn lines_are_the_same_however_they_are_cut(chunks in proptest::collection::vec("[a#\n]{0,6}", 0..12)) {
            let all = chunks.concat();
            let mut lines = Lines::default();
            let found: Vec<Vec<u8>> = chunks.iter().flat_map(|chunk| feed(&mut lines, chunk.as_bytes())).collect();
            let (mut expected, mut left) = (Vec::new(), all.as_bytes());
            while let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                let length = end + 1 + if left[0] == b'#' { 2 } else { 0 };
                if left.len() < length {
                    break;
                }
                expected.push(left[..length].to_vec());
                left = &left[length..];
            }
            prop_assert_eq!(found, expected);
            prop_assert_eq!(lines.take_rest(), left);
        }
    }
}
