//! The segment log: appended to by many, written by one thread, in groups. The only truth of the store.
//!
//! A position is given when a frame is appended; the frame is durable when its group is synced, and only then may
//! anybody outside hear of it. Frames reach the disk in order, so what a crash takes is always the end.
//! After a failed write or sync the log is poisoned: every call fails, and the next start begins a new segment.

mod commit;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Act, Outcome, PayloadPlace, Position, Run, Story};
use crate::store::disk::Disk;
use crate::store::format::Format;
use crate::store::frame::{self, Found, Frame, FrameRef, NAMES_IN_A_FRAME, Seal};
use crate::store::group::{CLOSE_GROUP_BYTES, Group, HEADER_BYTES};
use crate::store::quarantine::Quarantine;
use crate::store::recover::{self, Next, Replay, Start};
use crate::store::segment::{self, FIRST_GROUP, SEGMENT_BYTES, Segments};

use commit::Committer;

/// Called by the commit thread with the end of what is durable, and with the error that ended it all.
/// Must not call the log's writing methods: they may wait for this very thread.
pub type OnSync = Box<dyn Fn(Position, Result<()>) + Send>;

/// When a group is closed, and how much may wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A group of so many frames is closed,
    pub frames: u32,
    /// or of so many bytes,
    pub bytes: usize,
    /// or so long after its first frame, once the disk is idle.
    pub delay: Duration,
    /// While the disk is not idle, a group grows up to this; then `append` waits.
    pub buffer: usize,
    /// No segment grows beyond this.
    pub segment: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            frames: 256,
            bytes: 1 << 20,
            delay: Duration::from_millis(10),
            buffer: 8 << 20,
            segment: SEGMENT_BYTES,
        }
    }
}

/// The owner's handle on the log.
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What appenders, readers and the commit thread have in common.
struct Shared {
    segments: Segments,
    seal: Seal,
    limits: Limits,
    synced: AtomicU64,
    state: Mutex<State>,
    /// The commit thread waits for frames.
    work: Condvar,
    /// Appenders wait for room, and whoever flushes for the disk.
    done: Condvar,
}

struct State {
    filling: Group,
    writing: Option<Arc<Group>>,
    /// Everything below is durable, and was said to be.
    announced: Position,
    /// Used again by the next group.
    spare: (Vec<u8>, Vec<u8>),
    scratch: Vec<u8>,
    /// The run that is under way.
    run: u32,
    /// Its frame, as long as nothing else was appended.
    opening: Option<Frame>,
    /// Where it lies, once anything else was.
    run_at: Option<Position>,
    /// Somebody waits: the group is closed at once.
    urgent: bool,
    /// Something was appended since the log was opened.
    appended: bool,
    phase: Phase,
    fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// All is written, then `Close`.
    Closing,
    /// The handle is gone without a close.
    Ending,
}

/// Why the log takes no more.
#[derive(Clone, Debug)]
struct Fault {
    message: String,
    hint: &'static str,
    /// The disk is full, but what was appended is durable and the log can be closed.
    only_full: bool,
}

impl Fault {
    fn error(&self) -> Error {
        Error::unfinished(self.message.clone()).hint(self.hint)
    }
}

impl Log {
    /// Opens the log of the store in `dir` for appending, where [`recover`] found its end. The caller owns the store.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        format: Format,
        start: &Start,
        limits: Limits,
        on_sync: OnSync,
    ) -> Result<Log> {
        let segments = Segments::new(disk.clone(), dir, format);
        recover::set_aside(&segments, &Quarantine::new(disk.clone(), dir), start)?;
        let (begin, synced) = match start.next {
            Next::Group { .. } => (start.end, start.end),
            Next::Segment(number) => (Position::new(number, FIRST_GROUP), start.end),
        };
        let state = State {
            filling: Group::new(begin, (Vec::new(), Vec::new())),
            writing: None,
            announced: synced,
            spare: (Vec::new(), Vec::new()),
            scratch: Vec::new(),
            run: start.run,
            opening: None,
            run_at: None,
            urgent: false,
            // An unclean end is closed as well, so that the next start need not read it again.
            appended: !start.is_clean(),
            phase: Phase::Open,
            fault: None,
        };
        let shared = Arc::new(Shared {
            seal: segments.seal(),
            segments,
            limits,
            synced: AtomicU64::new(synced.0),
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let committer = Committer::new(shared.clone(), disk, dir, start, on_sync);
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || committer.run())
            .map_err(|e| Error::unfinished("cannot start the commit thread").caused_by(e))?;
        Ok(Log { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Begins a run. Its frame is written before the first other frame; a run that appends nothing writes nothing.
    pub fn begin_run(&self, run: Run) -> Result<()> {
        // Groups hold the frames of one run.
        let mut state = self.shared.flush(self.shared.lock(), |_| false)?;
        state.run = run.number;
        state.opening = Some(Frame::Run(run));
        Ok(())
    }

    /// Whether a run was begun that has written nothing yet.
    pub fn is_run_waiting(&self) -> bool {
        self.shared.lock().opening.is_some()
    }

    /// Where the frame of the run lies that was begun here; nothing as long as it wrote nothing.
    pub fn run_at(&self) -> Option<Position> {
        self.shared.lock().run_at
    }

    /// Appends a frame and gives its position; with `payload` the bytes of the output whose record it is.
    /// Waits while the disk is behind. What is appended is not durable yet: see [`Log::synced`].
    pub fn append(&self, frame: &Frame, payload: Option<&[u8]>) -> Result<Position> {
        self.append_placed(frame, payload).map(|(position, _)| position)
    }

    /// The same, and where the payload lies.
    pub fn append_placed(
        &self,
        frame: &Frame,
        payload: Option<&[u8]>,
    ) -> Result<(Position, Option<PayloadPlace>)> {
        check(frame, payload)?;
        self.shared.append(self.shared.lock(), frame, payload).map(|(_, appended)| appended)
    }

    /// Appends several frames one behind the other.
    pub fn append_many<B: AsRef<[u8]>>(&self, frames: &[(Frame, Option<B>)]) -> Result<Vec<Position>> {
        frames.iter().try_for_each(|(frame, payload)| check(frame, payload.as_ref().map(AsRef::as_ref)))?;
        let mut state = self.shared.lock();
        let mut positions = Vec::with_capacity(frames.len());
        for (frame, payload) in frames {
            let appended;
            (state, appended) = self.shared.append(state, frame, payload.as_ref().map(AsRef::as_ref))?;
            positions.push(appended.0);
        }
        Ok(positions)
    }

    /// Everything below is durable.
    pub fn synced(&self) -> Position {
        self.shared.synced()
    }

    /// The end of what was appended, durable or not.
    pub fn appended(&self) -> Position {
        self.shared.lock().end()
    }

    /// Closes the present group as soon as the disk is idle, and does not wait for it.
    pub fn commit(&self) {
        self.shared.hurry(&mut self.shared.lock());
    }

    /// Waits until everything that was appended is durable, and [`OnSync`] was told.
    pub fn flush(&self) -> Result<()> {
        let state = self.shared.lock();
        let target = state.end();
        self.shared.flush(state, |state| state.announced >= target).map(drop)
    }

    /// Closes the present segment for good: what is appended from here on goes into a new one, which is on disk when
    /// this returns. A crash behind it finds a log that was closed in order.
    pub fn seal(&self) -> Result<()> {
        let mut state = self.shared.flush(self.shared.lock(), |_| false)?;
        state.check()?;
        let mut start = state.filling.start;
        if start.offset() > FIRST_GROUP {
            start = Position::new(start.segment() + 1, FIRST_GROUP);
        }
        state.filling = Group::close(start, state.run, crate::time::now(), self.shared.seal);
        state.appended = true;
        let target = state.end();
        self.shared.hurry(&mut state);
        self.shared.flush(state, |state| state.announced >= target).map(drop)
    }

    /// The frame at a position, durable or not; nothing if there is none, or a damaged one.
    pub fn read_frame(&self, position: Position) -> Result<Option<Frame>> {
        if position >= self.synced() {
            let seal = self.shared.seal;
            let pending = self.shared.lock().find(|group| {
                group.frames_from(position).map(|bytes| match frame::read(bytes, seal, position) {
                    Found::Frame(frame, _) => frame.decode(),
                    Found::Short(_) | Found::Bad(_) => None,
                })
            });
            if let Some(frame) = pending {
                return Ok(frame);
            }
        }
        self.shared.segments.frame(position)
    }

    /// The record at a position; nothing if there is none, or a damaged one.
    pub fn read_act(&self, position: Position) -> Result<Option<Act>> {
        Ok(self.read_frame(position)?.and_then(segment::into_act))
    }

    /// The story at a position; nothing if there is none, or a damaged one.
    pub fn read_story(&self, position: Position) -> Result<Option<Story>> {
        Ok(self.read_frame(position)?.and_then(segment::into_story))
    }

    /// The bytes of an output that lie in the log, durable or not; nothing if they are gone or wrong.
    pub fn read_payload(&self, place: PayloadPlace, length: u64, digest: &Digest) -> Result<Option<Vec<u8>>> {
        if place.group >= self.synced() {
            let pending = self.shared.lock().find(|group| group.payload(place, length).map(<[u8]>::to_vec));
            if let Some(bytes) = pending {
                return Ok((Digest::of(&bytes) == *digest).then_some(bytes));
            }
        }
        self.shared.segments.payload(place, length, digest)
    }

    /// Visits every durable frame from a position on, in order.
    pub fn replay(&self, from: Position, visit: &mut dyn FnMut(u32, FrameRef<'_>)) -> Result<Replay> {
        recover::replay(&self.shared.segments, from, Some(self.synced()), visit)
    }

    /// The segments on disk.
    pub fn segments(&self) -> &Segments {
        &self.shared.segments
    }

    /// Writes what is left, then that the log was closed in order. Writes nothing if nothing was appended.
    pub fn close(&self) -> Result<()> {
        self.end(Phase::Closing);
        match &self.shared.lock().fault {
            Some(fault) if !fault.only_full => Err(fault.error()),
            _ => Ok(()),
        }
    }

    fn end(&self, phase: Phase) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        self.shared.lock().phase = phase;
        self.shared.work.notify_all();
        self.shared.done.notify_all();
        if thread.join().is_err() {
            tracing::error!("the commit thread panicked");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.end(Phase::Ending);
    }
}

/// Where a frame lies, and its payload.
type Appended = (Position, Option<PayloadPlace>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.done.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self) -> Position {
        Position(self.synced.load(Ordering::Acquire))
    }

    fn hurry(&self, state: &mut State) {
        if state.filling.count > 0 && !state.urgent {
            state.urgent = true;
            self.work.notify_one();
        }
    }

    /// Waits until nothing is pending, or until `is_enough`.
    fn flush<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        is_enough: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>> {
        while (state.filling.count > 0 || state.writing.is_some()) && !is_enough(&state) {
            // A log that found the disk full still writes what it took.
            if let Some(fault) = state.fault.as_ref().filter(|fault| !fault.only_full) {
                return Err(fault.error());
            }
            self.hurry(&mut state);
            state = self.wait(state);
        }
        Ok(state)
    }

    fn append<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        frame: &Frame,
        payload: Option<&[u8]>,
    ) -> Result<(MutexGuard<'a, State>, Appended)> {
        if let Some(opening) = state.opening.take() {
            let done = self.place(state, &opening, None)?;
            state = done.0;
            state.run_at = Some(done.1.0);
        }
        self.place(state, frame, payload)
    }

    /// Puts a frame into the group that is being filled, as soon as it fits.
    fn place<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        frame: &Frame,
        payload: Option<&[u8]>,
    ) -> Result<(MutexGuard<'a, State>, Appended)> {
        let place = loop {
            state.check()?;
            let State { filling, scratch, .. } = &mut *state;
            scratch.clear();
            let place = payload.map(|_| filling.next_payload());
            frame.encode(filling.next_frame(), place, scratch);
            let bytes = frame::frame_length(scratch.len()) + payload.map_or(0, <[u8]>::len);
            match self.fits(filling, scratch.len(), bytes) {
                Fit::Now => break place,
                Fit::Later => {
                    self.hurry(&mut state);
                    state = self.wait(state);
                }
                Fit::NextSegment => {
                    let next = Position::new(filling.start.segment() + 1, FIRST_GROUP);
                    filling.start = next;
                }
                Fit::Never => {
                    let size = crate::text::size(bytes as u64);
                    return Err(Error::unfinished(format!("a record of {size} is too large for the store")));
                }
            }
        };
        let State { filling, scratch, run, .. } = &mut *state;
        if filling.count == 0 {
            filling.run = *run;
            filling.base = crate::time::now();
            filling.since = Instant::now();
        }
        let before = filling.content_bytes();
        let position = filling.push(self.seal, scratch, payload.unwrap_or_default());
        let (count, after) = (filling.count, filling.content_bytes());
        // Woken to watch the clock, and once for each limit: not for every frame.
        let crossed = before < self.limits.bytes && after >= self.limits.bytes;
        if count == 1 || count == self.limits.frames || crossed {
            self.work.notify_one();
        }
        state.appended = true;
        Ok((state, (position, place)))
    }

    fn fits(&self, group: &Group, content: usize, bytes: usize) -> Fit {
        // Room for `Close` is left in every segment.
        let limit = self.limits.segment.min(SEGMENT_BYTES) - CLOSE_GROUP_BYTES as u64;
        let end =
            |group: &Group| u64::from(group.start.offset()) + (HEADER_BYTES + group.content_bytes()) as u64;
        let over = end(group) + bytes as u64 > limit;
        if group.count > 0 {
            let is_full = group.content_bytes() + bytes > self.limits.buffer;
            return if over || is_full { Fit::Later } else { Fit::Now };
        }
        match over {
            _ if content > frame::LONGEST => Fit::Never,
            false => Fit::Now,
            true if group.start.offset() > FIRST_GROUP => Fit::NextSegment,
            true => Fit::Never,
        }
    }
}

enum Fit {
    Now,
    /// When the group that is being filled was taken.
    Later,
    NextSegment,
    Never,
}

impl State {
    /// Looks into what is not durable yet.
    fn find<T>(&self, look: impl Fn(&Group) -> Option<T>) -> Option<T> {
        look(&self.filling).or_else(|| self.writing.as_deref().and_then(look))
    }

    fn end(&self) -> Position {
        if self.filling.count > 0 { self.filling.end() } else { self.filling.start }
    }

    fn check(&self) -> Result<()> {
        match &self.fault {
            Some(fault) => Err(fault.error()),
            None if self.phase != Phase::Open => Err(Error::unfinished("the store is closed")),
            None => Ok(()),
        }
    }
}

/// What a caller must not append: it could never be read again.
fn check(frame: &Frame, payload: Option<&[u8]>) -> Result<()> {
    let wrong = |what: &str| Err(Error::unfinished(format!("cannot keep a record: {what}")));
    match (frame, payload) {
        (Frame::Act(Act { outcome: Outcome::Output(output), .. }), Some(bytes)) => {
            if output.length == bytes.len() as u64 { Ok(()) } else { wrong("its output has another length") }
        }
        (_, Some(_)) => wrong("bytes without an output"),
        (Frame::Names(names), None) if names.names.len() > NAMES_IN_A_FRAME => wrong("too many names"),
        (Frame::Close(_) | Frame::Run(_), None) => wrong("the log writes `Run` and `Close` by itself"),
        _ => Ok(()),
    }
}
