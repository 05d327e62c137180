//! The commit thread: the only writer of segments. One write and one sync a group.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::io_text;
use crate::model::action::Position;
use crate::store::disk::{Access, Disk, DiskFile};
use crate::store::group::Group;
use crate::store::log::{Fault, OnSync, Phase, Shared};
use crate::store::recover::{Next, Start};
use crate::store::reserve::{self, Reserve};
use crate::store::segment::SegmentHeader;

const SEGMENTS: u32 = 1 << 20;

pub(super) struct Committer {
    shared: Arc<Shared>,
    disk: Arc<dyn Disk>,
    reserve: Reserve,
    /// The reserve was needed: it is not taken again.
    is_full: bool,
    on_sync: OnSync,
    /// The segment that is written to, once it was needed.
    file: Option<(u32, Arc<dyn DiskFile>)>,
    /// The number of the last group, and what the next header must name.
    number: u64,
    previous: u32,
    /// The end of all that counts.
    end: Position,
}

/// What went wrong, and whether it may be tried again.
enum Wrong {
    /// Nothing was promised yet: after making room a write may be repeated.
    Write(io::Error),
    /// Nobody knows what the file holds now.
    Sync(io::Error),
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn Disk>,
        dir: &Path,
        start: &Start,
        on_sync: OnSync,
    ) -> Self {
        let (number, previous) = match start.next {
            Next::Group { number, previous } => (number, previous),
            Next::Segment(_) => (0, 0),
        };
        let reserve = Reserve::new(disk.clone(), dir);
        Committer {
            shared,
            disk,
            reserve,
            is_full: false,
            on_sync,
            file: None,
            number,
            previous,
            end: start.end,
        }
    }

    /// Writes group after group until the log is closed or a write fails.
    pub(super) fn run(mut self) {
        let _alarm = Alarm(self.shared.clone());
        while let Some(group) = self.shared.next_group() {
            if !self.commit(&group) {
                return;
            }
            self.shared.written(group);
        }
        if let Some(group) = self.shared.closing_group() {
            let group = Arc::new(group);
            if self.commit(&group) {
                self.shared.written(group);
            }
        }
    }

    /// Makes a group durable and says so; whether that went well.
    fn commit(&mut self, group: &Group) -> bool {
        let (wrong, is_sync) = match self.write(group) {
            Ok(()) => (None, false),
            Err(Wrong::Write(e)) if reserve::is_full(&e) && self.reserve.release() => {
                self.is_full = true;
                // The room that was kept for this: what is in hand is written, then the build ends.
                match self.write(group) {
                    Ok(()) => {
                        self.shared.fail(self.fault("write", group, &e, true));
                        (None, false)
                    }
                    Err(Wrong::Write(e)) => (Some(e), false),
                    Err(Wrong::Sync(e)) => (Some(e), true),
                }
            }
            Err(Wrong::Write(e)) => (Some(e), false),
            Err(Wrong::Sync(e)) => (Some(e), true),
        };
        match wrong {
            None => {
                self.end = group.end();
                self.shared.synced.store(self.end.0, Ordering::Release);
                (self.on_sync)(self.end, Ok(()));
                true
            }
            Some(e) => {
                let fault = self.fault(if is_sync { "sync" } else { "write" }, group, &e, false);
                self.shared.fail(fault.clone());
                (self.on_sync)(self.end, Err(fault.error()));
                false
            }
        }
    }

    fn write(&mut self, group: &Group) -> Result<(), Wrong> {
        let segment = group.start.segment();
        let file = match &self.file {
            Some((number, file)) if *number == segment => file.clone(),
            _ => {
                let file = self.open_segment(segment)?;
                self.file = Some((segment, file.clone()));
                file
            }
        };
        let format = self.shared.segments.format();
        let header = group.header(self.number + 1, self.previous);
        let (header, crc) = header.encode(format.salt, format.seal(), group.start);
        file.write_at(&[&header, &group.frames, &group.payloads], group.start.offset().into())
            .map_err(Wrong::Write)?;
        file.sync().map_err(Wrong::Sync)?;
        self.number += 1;
        self.previous = crc;
        Ok(())
    }

    /// The file of the segment that the log goes on with, or a new one, durable before its first use.
    fn open_segment(&mut self, number: u32) -> Result<Arc<dyn DiskFile>, Wrong> {
        if !self.is_full {
            self.reserve.take();
        }
        let segments = &self.shared.segments;
        let path = segments.path(number);
        if self.number > 0 && self.end.segment() == number {
            return self.disk.open(&path, Access::Write).map_err(Wrong::Write);
        }
        if number >= SEGMENTS {
            return Err(Wrong::Write(io::Error::other("the log has no more room for segments")));
        }
        let format = segments.format();
        let begun = crate::time::now();
        let header = SegmentHeader { number, store: format.id, after: self.end, begun, is_mapped: false };
        let (bytes, crc) = header.encode(format.salt, format.seal());
        // First what lies above: `FORMAT` may be in memory alone, and no segment must be there without it.
        self.disk.create_dir(segments.dir()).map_err(Wrong::Write)?;
        let above = segments.dir().parent();
        above.map_or(Ok(()), |above| self.disk.sync_dir(above)).map_err(Wrong::Sync)?;
        let begin = || {
            let file = self.disk.create(&path)?;
            if let Err(e) = file.write_at(&[&bytes], 0) {
                reserve::discard(&*self.disk, &path);
                return Err(e);
            }
            Ok(file)
        };
        let file = begin().map_err(Wrong::Write)?;
        file.sync().and_then(|()| self.disk.sync_dir(segments.dir())).map_err(Wrong::Sync)?;
        self.number = 0;
        self.previous = crc;
        Ok(file)
    }

    fn fault(&self, doing: &str, group: &Group, error: &io::Error, only_full: bool) -> Fault {
        let path = self.shared.segments.path(group.start.segment());
        let hint = if reserve::is_full(error) {
            crate::error::ROOM_HINT
        } else {
            "look after the disk, then build again: all that was reported as done is kept"
        };
        let message = format!("cannot {doing} `{}`: {}", path.display(), io_text(error));
        Fault { message, hint, only_full }
    }
}

impl Shared {
    /// Waits for a group that is due and takes it; nothing when the log is closed and all is written.
    fn next_group(&self) -> Option<Arc<Group>> {
        let mut state = self.lock();
        loop {
            let group = &state.filling;
            let age = group.since.elapsed();
            let is_due = state.urgent
                || state.phase != Phase::Open
                || group.count >= self.limits.frames
                || group.content_bytes() >= self.limits.bytes
                || age >= self.limits.delay;
            match group.count {
                0 if state.phase != Phase::Open => return None,
                0 => state = self.work.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner),
                _ if is_due => break,
                _ => {
                    let left = self.limits.delay.saturating_sub(age);
                    let waited = self.work.wait_timeout(state, left);
                    state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
                }
            }
        }
        state.urgent = false;
        let next = Group::new(state.filling.end(), std::mem::take(&mut state.spare));
        let group = Arc::new(std::mem::replace(&mut state.filling, next));
        state.writing = Some(group.clone());
        drop(state);
        self.done.notify_all();
        Some(group)
    }

    /// Before: the group is durable, and that was said.
    fn written(&self, group: Arc<Group>) {
        let mut state = self.lock();
        state.writing = None;
        state.announced = group.end();
        if let Ok(group) = Arc::try_unwrap(group) {
            state.spare = (group.frames, group.payloads);
        }
        drop(state);
        self.done.notify_all();
    }

    /// The group that says that the log was closed in order, if that is so and there is anything to say.
    fn closing_group(&self) -> Option<Group> {
        let state = self.lock();
        let is_closing = state.phase == Phase::Closing && state.appended;
        is_closing.then(|| Group::close(state.filling.start, state.run, crate::time::now(), self.seal))
    }

    fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        if state.fault.as_ref().is_none_or(|before| before.only_full) {
            state.fault = Some(fault);
        }
        drop(state);
        self.done.notify_all();
    }
}

/// If the commit thread panics, nobody waits for it for ever.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hint = "please report it; all that was reported as done is kept";
            let message = "the commit thread ended by a mistake in `pipe`".to_owned();
            self.0.fail(Fault { message, hint, only_full: false });
        }
    }
}
