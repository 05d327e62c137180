//! Opening a log: its end, what is torn, what is damaged, and all frames from a position on.
//!
//! A log that was closed in order says so in its last bytes; nothing else is read. Otherwise every frame from where the
//! index stands is read again: damaged ones are skipped and reported, and only the last group, the one that may have
//! been half on disk when the power went, is cut at its first flaw. Reads alone: [`set_aside`] is for the owner.

#[cfg(test)]
mod tests;
mod walk;
mod window;

use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::action::Position;
use crate::store::disk::Access;
use crate::store::frame::FrameRef;
use crate::store::group::{CLOSE_GROUP_BYTES, Header};
use crate::store::quarantine::Quarantine;
use crate::store::reserve;
use crate::store::segment::{FIRST_GROUP, SEGMENT_BYTES, Segments};

use walk::Walk;

/// Where a log ends, and how it goes on.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The end of all frames that count.
    pub end: Position,
    /// The end of what was there before the log was closed. An index that stands here, or behind, has seen everything.
    /// Absent after an unclean end.
    pub closed: Option<Position>,
    /// The newest run that was seen; 0 if none was.
    pub run: u32,
    /// What lies behind the end and does not count.
    pub torn: Option<Torn>,
    /// The group that was written last, and how many bytes of it there are: the only one that may be in memory alone.
    pub last: Option<(Position, u64)>,
    /// Somebody proved that all of it is on disk.
    pub is_durable: bool,
    /// How the log goes on.
    pub(crate) next: Next,
}

impl Start {
    /// Whether the log was closed in order.
    pub fn is_clean(&self) -> bool {
        self.closed.is_some()
    }
}

/// How a log goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Next {
    /// Behind the group with this number and checksum.
    Group { number: u64, previous: u32 },
    /// In a new segment: nothing is ever appended behind an unclean end.
    Segment(u32),
}

/// A tail that was never finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its first byte.
    pub at: Position,
    /// How many there are.
    pub bytes: u64,
}

/// A part of the log that was finished once and cannot be read now. Its actions are not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first byte.
    pub from: Position,
    /// The first byte behind it.
    pub to: Position,
    /// What is wrong.
    pub what: &'static str,
}

/// The group that a frame lies in.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where it begins.
    pub start: Position,
    /// Its header.
    pub header: &'a Header,
}

/// What a pass over the log found.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Where the log ends, and how it goes on.
    pub start: Start,
    /// How many frames were seen.
    pub frames: u64,
    /// What could not be read.
    pub damage: Vec<Damage>,
    /// The disk itself could not read something: another time it may be there.
    pub is_partial: bool,
}

/// The end of a log that was closed in order, or is empty; nothing if its last run was not closed.
/// Reads the last bytes of the last segment and no others.
pub fn clean_end(segments: &Segments) -> Result<Option<Start>> {
    let Some(number) = segments.numbers()?.pop() else {
        let empty = Position(0);
        return Ok(Some(Start {
            end: empty,
            closed: Some(empty),
            run: 0,
            torn: None,
            last: None,
            is_durable: true,
            next: Next::Segment(1),
        }));
    };
    let Some(file) = segments.file(number)? else { return Ok(None) };
    let closed = segments.header(&*file, number).and_then(|_| segments.closed(&*file, number));
    Ok(closed.map(|closed| Start {
        end: closed.end,
        closed: Some(closed.group),
        run: closed.header.run,
        torn: None,
        last: Some((closed.group, CLOSE_GROUP_BYTES as u64)),
        is_durable: false,
        next: Next::Group { number: closed.header.number, previous: closed.crc },
    }))
}

/// Visits every frame in `from..to` with its run, in order; `to` absent: to the end of the log.
///
/// `from` is best a position that [`Log::synced`](crate::store::log::Log::synced) gave; any other works and takes
/// longer. If the log ends before `from`, so does [`Start::end`]: whoever stood there knows a log that is gone.
pub fn replay(
    segments: &Segments,
    from: Position,
    to: Option<Position>,
    visit: &mut dyn FnMut(u32, FrameRef<'_>),
) -> Result<Replay> {
    replay_groups(segments, from, to, &mut |place, frame| visit(place.header.run, frame))
}

/// The same, with the group of each frame.
pub fn replay_groups(
    segments: &Segments,
    from: Position,
    to: Option<Position>,
    visit: &mut dyn FnMut(Place<'_>, FrameRef<'_>),
) -> Result<Replay> {
    let unreadable = segments.unreadable();
    let clean = clean_end(segments)?;
    let numbers = segments.numbers()?;
    let (Some(first), Some(newest)) = (numbers.first(), numbers.last()) else {
        let start = clean.unwrap_or(Start {
            end: Position(0),
            closed: None,
            run: 0,
            torn: None,
            last: None,
            is_durable: false,
            next: Next::Segment(1),
        });
        return Ok(Replay { start, frames: 0, damage: Vec::new(), is_partial: false });
    };
    // The segment of `from`, or the one before if it is gone.
    let begin = numbers.iter().rev().find(|number| **number <= from.segment()).unwrap_or(first);
    let parts = parts(segments, &numbers, *begin, clean.as_ref(), to)?;

    let mut walk = Walk::new(segments, from, visit);
    let mut end = None;
    let mut torn = None;
    let mut last = None;
    for part in &parts {
        let stopped = walk.segment(part)?;
        // A segment without a group may be gone tomorrow, or its header: the log ends where the last group does.
        let is_bare = stopped.end == Some(Position::new(part.number, FIRST_GROUP));
        let after = part.after.filter(|after| is_bare && after.segment() < part.number);
        let stopped_at = after.or(stopped.end);
        end = stopped_at.filter(|_| end.is_none() || stopped.last.is_some()).or(end);
        last = stopped.last.or(last);
        torn = stopped.torn.or(torn);
    }
    let (run, frames, damage) = walk.finish();
    let start = match clean {
        Some(clean) => clean,
        None => Start {
            end: end.unwrap_or(Position::new(*begin, 0)),
            closed: None,
            run,
            torn,
            last,
            is_durable: false,
            next: Next::Segment(newest + 1),
        },
    };
    Ok(Replay { start, frames, damage, is_partial: segments.unreadable() > unreadable })
}

/// The segments of a log up to a position, to be walked one by one in any order.
pub struct Reading<'a> {
    segments: &'a Segments,
    parts: Vec<Part>,
}

impl<'a> Reading<'a> {
    /// All that lies before `to`.
    pub fn new(segments: &'a Segments, to: Position) -> Result<Self> {
        let numbers = segments.numbers()?;
        let first = numbers.first().copied().unwrap_or_default();
        let parts = parts(segments, &numbers, first, None, Some(to))?;
        Ok(Reading { segments, parts })
    }

    /// The segments, in order, each with the offset at which what counts in it ends.
    pub fn segments(&self) -> Result<Vec<(u32, u32)>> {
        let end = |part: &Part| {
            Ok(match part.bound {
                Bound::At(end) => (part.number, end.offset()),
                Bound::Unknown | Bound::Tail => {
                    let path = self.segments.path(part.number);
                    let file = self.segments.file(part.number)?;
                    let size = file.map_or(Ok(0), |file| file.size());
                    let size = size.map_err(|e| Error::io("read", &path, &e))?;
                    (part.number, size.min(SEGMENT_BYTES) as u32)
                }
            })
        };
        self.parts.iter().map(end).collect()
    }

    /// Visits every frame of a segment with its group, in order; what could not be read.
    pub fn walk(&self, number: u32, visit: &mut dyn FnMut(Place<'_>, FrameRef<'_>)) -> Result<Vec<Damage>> {
        let mut walk = Walk::new(self.segments, Position(0), visit);
        if let Some(part) = self.parts.iter().find(|part| part.number == number) {
            walk.segment(part)?;
        }
        Ok(walk.finish().2)
    }
}

/// Before the owner goes on: what counts is made durable, what does not is copied to the quarantine.
///
/// Only the last group can be in memory alone: each is synced before the next is written. Where its sync failed, the
/// system takes it for clean and would never write it; so its bytes are written once more, the same to the same place.
pub fn set_aside(segments: &Segments, quarantine: &Quarantine, start: &Start) -> Result<()> {
    if let Some((at, bytes)) = start.last.filter(|_| !start.is_durable) {
        let path = segments.path(at.segment());
        write_again(segments, &path, at, bytes).map_err(|e| Error::io("sync", &path, &e))?;
    }
    let Some(torn) = start.torn else { return Ok(()) };
    let path = segments.path(torn.at.segment());
    let Some(file) = segments.file(torn.at.segment())? else { return Ok(()) };
    let mut bytes = vec![0; torn.bytes as usize];
    let name = format!("segment-{:06}-from-{}", torn.at.segment(), torn.at.offset());
    let copy = file.read_at(&mut bytes, torn.at.offset().into()).map_err(|e| Error::io("read", &path, &e));
    // A copy for people: a full disk does not keep the store shut.
    match copy.and_then(|read| quarantine.put(&name, &bytes[..read])) {
        Ok(copy) => tracing::info!("{} torn bytes are set aside in `{}`", torn.bytes, copy.display()),
        Err(e) => tracing::warn!("{e}"),
    }
    Ok(())
}

fn write_again(segments: &Segments, path: &Path, at: Position, bytes: u64) -> io::Result<()> {
    let file = segments.disk().open(path, Access::Write)?;
    let mut group = vec![0; bytes as usize];
    let read = file.read_at(&mut group, at.offset().into())?;
    match file.write_at(&[&group[..read]], at.offset().into()) {
        // Some file systems need room for that as well; then it is as durable as the system says.
        Err(e) if !reserve::is_full(&e) => return Err(e),
        _ => {}
    }
    file.sync()
}

/// A segment that is to be walked, and as far as what.
pub(crate) struct Part {
    /// Its number.
    pub(crate) number: u32,
    /// The checksum of its header, if that is not damaged.
    pub(crate) header: Option<u32>,
    /// Where the log had ended before it, as that says.
    pub(crate) after: Option<Position>,
    /// Where it ends.
    pub(crate) bound: Bound,
}

/// Where what counts in a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Here; up to it everything was finished once.
    At(Position),
    /// Nobody knows: the next segment's header is damaged.
    Unknown,
    /// Where the last whole group ends, or within it: the log was not closed.
    Tail,
}

/// The segments from `begin` on with their ends. A segment says in its header where those before it ended.
fn parts(
    segments: &Segments,
    numbers: &[u32],
    begin: u32,
    clean: Option<&Start>,
    to: Option<Position>,
) -> Result<Vec<Part>> {
    let last = to.map_or(u32::MAX, Position::segment);
    let mut next_after: Option<Option<Position>> = None;
    let mut parts = Vec::new();
    // From the last on, since each is bounded by the one behind it.
    for number in numbers.iter().rev().copied().filter(|number| *number >= begin) {
        let Some(file) = segments.file(number)? else { continue };
        let header = segments.header(&*file, number);
        let bound = match (next_after, clean) {
            (None, _) if header.is_none() && walk::is_void(segments, &*file, number)? => continue,
            (None, Some(clean)) => Bound::At(clean.end),
            (None, None) => Bound::Tail,
            // Nothing in it was ever finished.
            (Some(Some(after)), _) if after <= Position::new(number, FIRST_GROUP) => {
                next_after = header.map(|(header, _)| Some(header.after)).or(next_after);
                continue;
            }
            (Some(Some(after)), _) if after.segment() == number => Bound::At(after),
            (Some(_), _) => Bound::Unknown,
        };
        let after = header.map(|(header, _)| header.after);
        next_after = Some(after);
        let bound = match to {
            Some(to) if to.segment() == number => Bound::At(to),
            _ => bound,
        };
        if number <= last {
            parts.push(Part { number, header: header.map(|(_, crc)| crc), after, bound });
        }
    }
    parts.reverse();
    Ok(parts)
}
