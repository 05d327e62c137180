//! Answers that a worker had not written yet when it died.
//!
//! A worker may hold answers for a moment, so that many share one write. It puts them into its outbox first, a file; when
//! it dies they are taken from there, and the oldest document without an answer is the one that it was at. A worker
//! empties the outbox before it writes, so nothing is there that was written. What counts ends where a
//! line begins with NUL: a worker may keep the file in memory.

use std::path::{Path, PathBuf};

use super::Worker;
use crate::module::launch::Launch;
use crate::module::minder::Minder;
use crate::module::protocol::{self, Line};

/// The file of one worker; none where workers hold nothing.
pub(super) struct Outbox(Option<PathBuf>);

impl Outbox {
    /// That of the worker which is to be started in a slot; what the one before left is gone.
    pub(super) fn new(launch: &Launch, slot: u32) -> Self {
        // A container cannot write there.
        let has_one = launch.python.is_some() && launch.program.container().is_none();
        let path = has_one.then(|| launch.tmp.join(format!("{slot}.outbox")));
        path.iter().for_each(|path| drop(crate::fs::remove_file(path)));
        Outbox(path)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }

    fn take(&mut self) -> Vec<u8> {
        let Some(path) = self.0.take() else { return Vec::new() };
        // One that cannot be read held nothing: its documents are handed out again.
        let held = crate::fs::read_optional(&path).ok().flatten().unwrap_or_default();
        drop(crate::fs::remove_file(&path));
        held
    }
}

impl Worker {
    /// Takes the answers that were held. Before: the process has ended, and what it wrote was read.
    pub(super) fn take_outbox(&mut self, minder: &mut Minder) {
        let held = self.outbox.take();
        let first = minder.reports.len();
        self.scratch_is_used = None;
        // Its last words may be cut off.
        let mut left = &held[..];
        while let Some(end) = left.iter().position(|byte| *byte == b'\n').filter(|_| left[0] != 0) {
            let (line, rest) = (&left[..end], &left[end + 1..]);
            let Line::Frame(frame) = protocol::read_line(line) else { break };
            let Some((behind, rest)) = rest.split_at_checked(frame.length()) else { break };
            left = rest;
            let is_ours = frame.id.is_some_and(|id| self.in_hand.iter().any(|hand| hand.id == id));
            if is_ours && self.take_frame(minder, *frame, line, behind).is_err() {
                break;
            }
        }
        if minder.reports.len() > first {
            self.settle_times(minder, first);
        }
    }
}
