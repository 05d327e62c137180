//! A walk over the groups of segments, frame by frame, past all damage.

use crate::error::{Error, Result};
use crate::model::action::Position;
use crate::store::disk::DiskFile;
use crate::store::extents::Extents;
use crate::store::frame::{self, Found, FrameRef, Kind};
use crate::store::group::{self, HEADER_BYTES, Header};
use crate::store::recover::window::Window;
use crate::store::recover::{Bound, Damage, Part, Place, Torn};
use crate::store::segment::{FIRST_GROUP, SEGMENT_BYTES, Segments};

/// How much is searched at once for the next header.
const SEARCH: u64 = 64 << 10;

pub(super) struct Walk<'a> {
    segments: &'a Segments,
    from: Position,
    visit: &'a mut dyn FnMut(Place<'_>, FrameRef<'_>),
    run: u32,
    frames: u64,
    damage: Vec<Damage>,
}

/// Where a segment ended.
#[derive(Default)]
pub(super) struct Stopped {
    pub(super) end: Option<Position>,
    /// Its last group that counts, and how many bytes of it are there.
    pub(super) last: Option<(Position, u64)>,
    pub(super) torn: Option<Torn>,
}

/// A segment while it is walked.
struct Cursor<'a> {
    window: Window<'a>,
    file: &'a dyn DiskFile,
    number: u32,
    size: u32,
    /// The number of the last group.
    group: u64,
    /// The checksum that the next header must name; absent behind damage.
    chain: Option<u32>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        segments: &'a Segments,
        from: Position,
        visit: &'a mut dyn FnMut(Place<'_>, FrameRef<'_>),
    ) -> Self {
        Walk { segments, from, visit, run: 0, frames: 0, damage: Vec::new() }
    }

    /// The newest run, the number of frames, and the damage.
    pub(super) fn finish(self) -> (u32, u64, Vec<Damage>) {
        (self.run, self.frames, self.damage)
    }

    pub(super) fn segment(&mut self, part: &Part) -> Result<Stopped> {
        let Some(file) = self.segments.file(part.number)? else { return Ok(Stopped::default()) };
        let unreadable = self.segments.unreadable();
        let mut cursor = Cursor::new(self.segments, &*file, part.number)?;
        cursor.chain = part.header;
        if part.header.is_none() {
            self.damaged(&cursor, 0, FIRST_GROUP.min(cursor.size), "the segment's header");
        }
        let bound = match part.bound {
            Bound::At(end) => end.offset().max(FIRST_GROUP),
            Bound::Unknown | Bound::Tail => cursor.size,
        };
        if let Some(extents) = self.segments.extents(part.number)? {
            self.collected(&mut cursor, &extents);
            return Ok(Stopped { end: Some(cursor.position(bound)), ..Stopped::default() });
        }
        let mut at = self.begin(&mut cursor);
        // Whoever begins behind the first group knows that those before were synced.
        let mut last = (at > FIRST_GROUP).then(|| (cursor.position(at), 0));
        while at < bound {
            let Some((header, crc)) = cursor.header(self.segments, at) else {
                match cursor.search(self.segments, at + 1) {
                    Some(next) if next < bound => {
                        self.damaged(&cursor, at, next, "a group's header");
                        cursor.chain = None;
                        at = next;
                        continue;
                    }
                    _ if part.bound == Bound::Tail => break,
                    _ => self.damaged(&cursor, at, bound, "a group's header"),
                }
                at = bound;
                break;
            };
            cursor.group = header.number;
            cursor.chain = Some(crc);
            self.run = self.run.max(header.run);
            let next = u32::try_from(u64::from(at) + header.group_bytes()).unwrap_or(u32::MAX);
            let is_last = part.bound == Bound::Tail
                && cursor.header(self.segments, next).is_none()
                && cursor.search(self.segments, next).is_none();
            let there = header.group_bytes().min(u64::from(cursor.size - at));
            if is_last {
                let end = self.last_group(&mut cursor, at, &header);
                last = if end > at { Some((cursor.position(at), there)) } else { last };
                at = end;
                break;
            }
            last = Some((cursor.position(at), there));
            self.group(&mut cursor, at, &header, bound);
            at = next;
        }
        // A header may claim more than the file holds: no end lies behind it, nor in another segment's numbers.
        at = if matches!(part.bound, Bound::At(_)) { bound } else { at.min(bound) };
        if part.bound == Bound::Tail && at < cursor.size && self.segments.unreadable() > unreadable {
            // Not torn, as far as anybody knows: it stays a part of the log.
            self.damaged(&cursor, at, cursor.size, "what the disk cannot read");
            (at, last) = (cursor.size, None);
        }
        let torn = (part.bound == Bound::Tail && at < cursor.size)
            .then(|| Torn { at: cursor.position(at), bytes: u64::from(cursor.size - at) });
        Ok(Stopped { end: Some(cursor.position(at)), last, torn })
    }

    /// The first group that matters: that at `from` if a group begins there, else the segment's first.
    fn begin(&self, cursor: &mut Cursor<'_>) -> u32 {
        let offset = self.from.offset();
        if self.from.segment() != cursor.number || offset <= FIRST_GROUP || offset > cursor.size {
            return FIRST_GROUP;
        }
        let chain = cursor.chain.take();
        if offset == cursor.size || cursor.header(self.segments, offset).is_some() {
            return offset;
        }
        cursor.chain = chain;
        FIRST_GROUP
    }

    /// Visits the frames of a finished group, past damaged ones.
    fn group(&mut self, cursor: &mut Cursor<'_>, start: u32, header: &Header, bound: u32) {
        let first = start.saturating_add(HEADER_BYTES as u32);
        let end = first.saturating_add(header.frames);
        let number = cursor.number;
        let bytes = cursor.window.get(first.into(), header.frames.into());
        let seal = self.segments.seal();
        let mut at = 0;
        while at < header.frames && first.saturating_add(at) < bound {
            let position = Position::new(number, first + at);
            let rest = bytes.get(at as usize..).unwrap_or_default();
            match frame::read(rest, seal, position) {
                Found::Frame(frame, length) => {
                    at += length as u32;
                    if position >= self.from {
                        self.frames += 1;
                        (self.visit)(Place { start: Position::new(number, start), header }, frame);
                    }
                }
                Found::Bad(length) if is_frame_behind(rest, length, seal, position) => {
                    self.damage.push(Damage {
                        from: position,
                        to: Position(position.0 + length as u64),
                        what: "a frame",
                    });
                    at += length as u32;
                }
                Found::Bad(_) | Found::Short(_) => {
                    let to = Position::new(number, end.min(bound).min(SEGMENT_BYTES as u32));
                    self.damage.push(Damage { from: position, to, what: "frames" });
                    break;
                }
            }
        }
    }

    /// Visits what is left of a collected segment: every group that has anything left has its header.
    fn collected(&mut self, cursor: &mut Cursor<'_>, extents: &Extents) {
        let mut group: Option<(u32, Header)> = None;
        let mut at = FIRST_GROUP;
        while let Some(extent) = extents.at_or_behind(at) {
            at = at.max(extent.logical);
            if let Some((start, header)) = &group {
                let frames = start.saturating_add(HEADER_BYTES as u32).saturating_add(header.frames);
                if at < frames {
                    at = self.survivors(cursor, (*start, header), at, extent.end().min(frames));
                    continue;
                }
                let end = frames.saturating_add(header.payloads);
                if at < end {
                    at = end;
                    continue;
                }
            }
            cursor.chain = None;
            if let Some((header, _)) = cursor.header(self.segments, at) {
                cursor.group = header.number;
                self.run = self.run.max(header.run);
                group = Some((at, header));
                at += HEADER_BYTES as u32;
                continue;
            }
            let next = cursor.search(self.segments, at + 1).unwrap_or(cursor.size);
            self.damaged(cursor, at, next, "a group's header");
            group = None;
            at = next;
        }
    }

    /// Visits frames that lie one behind the other; where they end.
    fn survivors(
        &mut self,
        cursor: &mut Cursor<'_>,
        (start, header): (u32, &Header),
        from: u32,
        to: u32,
    ) -> u32 {
        let number = cursor.number;
        let bytes = cursor.window.get(from.into(), u64::from(to - from));
        let seal = self.segments.seal();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let position = Position::new(number, from + at as u32);
            match frame::read(rest, seal, position) {
                Found::Frame(frame, length) => {
                    at += length;
                    if position >= self.from {
                        self.frames += 1;
                        (self.visit)(Place { start: Position::new(number, start), header }, frame);
                    }
                }
                Found::Bad(length) if is_frame_behind(rest, length, seal, position) => {
                    let to = Position(position.0 + length as u64);
                    self.damage.push(Damage { from: position, to, what: "a frame" });
                    at += length;
                }
                Found::Bad(_) | Found::Short(_) => {
                    self.damage.push(Damage {
                        from: position,
                        to: Position::new(number, to),
                        what: "frames",
                    });
                    break;
                }
            }
        }
        to
    }

    /// Visits the frames of a group that may be half on disk, up to the first flaw: what is lost is always the end.
    /// Returns where that is.
    fn last_group(&mut self, cursor: &mut Cursor<'_>, start: u32, header: &Header) -> u32 {
        let (file, number, size) = (cursor.file, cursor.number, cursor.size);
        let first = start.saturating_add(HEADER_BYTES as u32);
        let bytes = cursor.window.get(first.into(), header.frames.into());
        let mut at = 0;
        while at < header.frames {
            let position = Position::new(number, first + at);
            let rest = bytes.get(at as usize..).unwrap_or_default();
            match frame::read(rest, self.segments.seal(), position) {
                Found::Frame(frame, length) if is_whole(self.segments, file, start, header, &frame) => {
                    at += length as u32;
                    if position >= self.from {
                        self.frames += 1;
                        (self.visit)(Place { start: Position::new(number, start), header }, frame);
                    }
                }
                // Nothing of it counts: the log ends before the group.
                _ if at == 0 => return start,
                _ => return first + at,
            }
        }
        let end = u64::from(start) + header.group_bytes();
        // Payloads that nobody names may be missing.
        u32::try_from(end).unwrap_or(u32::MAX).min(size)
    }

    fn damaged(&mut self, cursor: &Cursor<'_>, from: u32, to: u32, what: &'static str) {
        self.damage.push(Damage { from: cursor.position(from), to: cursor.position(to), what });
    }
}

impl<'a> Cursor<'a> {
    fn new(segments: &'a Segments, file: &'a dyn DiskFile, number: u32) -> Result<Self> {
        let size = file.size().map_err(|e| Error::io("read", &segments.path(number), &e))?.min(SEGMENT_BYTES);
        let window = Window::new(segments, file, size);
        Ok(Cursor { window, file, number, size: size as u32, group: 0, chain: None })
    }

    fn position(&self, offset: u32) -> Position {
        Position::new(self.number, offset)
    }

    /// The header at an offset, if it is one, comes after those before it and follows on the last.
    fn header(&mut self, segments: &Segments, offset: u32) -> Option<(Header, u32)> {
        let start = Position::new(self.number, offset.min(SEGMENT_BYTES as u32));
        let bytes = self.window.get(offset.into(), HEADER_BYTES as u64);
        let (header, crc) = Header::decode(bytes, segments.format().salt, segments.seal(), start)?;
        let follows = self.chain.is_none_or(|chain| chain == header.previous);
        (header.number > self.group && follows).then_some((header, crc))
    }

    /// The offset of the first header from `offset` on, whatever it follows on.
    fn search(&mut self, segments: &Segments, offset: u32) -> Option<u32> {
        let mark = group::mark(segments.format().salt);
        let chain = self.chain.take();
        let mut at = u64::from(offset);
        let mut found = None;
        while found.is_none() && at + HEADER_BYTES as u64 <= self.size.into() {
            let bytes = self.window.get(at, SEARCH);
            let length = bytes.len() as u64;
            match bytes.windows(mark.len()).position(|window| window == mark) {
                Some(i) => {
                    let candidate = (at + i as u64) as u32;
                    found = self.header(segments, candidate).map(|_| candidate);
                    at += i as u64 + 1;
                }
                None => at += length.saturating_sub(mark.len() as u64 - 1).max(1),
            }
        }
        self.chain = chain;
        found
    }
}

/// Whether a segment's file holds nothing: made, but its header was never finished, nor any group.
pub(super) fn is_void(segments: &Segments, file: &dyn DiskFile, number: u32) -> Result<bool> {
    let unreadable = segments.unreadable();
    let is_empty = Cursor::new(segments, file, number)?.search(segments, 0).is_none();
    Ok(is_empty && segments.unreadable() == unreadable)
}

/// Whether the length of a damaged frame is right: it ends with the frames, or another frame follows.
fn is_frame_behind(rest: &[u8], length: usize, seal: frame::Seal, position: Position) -> bool {
    match rest.get(length..) {
        Some([]) => true,
        Some(behind) => {
            matches!(frame::read(behind, seal, Position(position.0 + length as u64)), Found::Frame(..))
        }
        None => false,
    }
}

/// Whether a frame of an unfinished group has all that it names in that group.
fn is_whole(
    segments: &Segments,
    file: &dyn DiskFile,
    start: u32,
    header: &Header,
    frame: &FrameRef<'_>,
) -> bool {
    if frame.kind != Kind::Act {
        return true;
    }
    let Some(act) = frame.decode() else { return false };
    let group = Position::new(frame.position.segment(), start);
    match act.payload() {
        Some((place, length, digest)) if place.group == group => segments
            .payload_in(file, place, header, length)
            .is_some_and(|bytes| crate::hash::Digest::of(&bytes) == digest),
        _ => true,
    }
}
