//! Writing a segment anew with what is kept of it, under its own number: survivors byte for byte, map, footer; then
//! renamed over the old file. Whoever has that open goes on reading it. Knows nothing of why anything is kept.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::action::{Act, Outcome, Output, Place, Position};
use crate::store::disk::{self, Disk, DiskFile};
use crate::store::extents::{EXTENT_BYTES, Extents, FOOTER_BYTES};
use crate::store::frame::{self, Frame, FrameRef, Kind};
use crate::store::gc::live::Segment;
use crate::store::group::HEADER_BYTES;
use crate::store::recover::Reading;
use crate::store::reserve::{Reserve, is_full};
use crate::store::segment::{FIRST_GROUP, Segments};

/// So much is copied at once.
const CHUNK: u32 = 1 << 20;

/// What was decided after the pass, frame by frame.
#[derive(Default)]
pub(super) struct Exceptions {
    /// Kept all the same.
    pub(super) kept: HashSet<Position>,
    /// Not kept after all.
    pub(super) gone: HashSet<Position>,
}

impl Exceptions {
    fn keeps(&self, segment: &Segment, ix: usize, at: Position) -> bool {
        (segment.kept.get(ix) && !self.gone.contains(&at)) || self.kept.contains(&at)
    }
}

/// The stretches of a segment that are kept, in order, neighbours together.
struct Stretches<'a> {
    open: Option<(u32, u32)>,
    take: &'a mut dyn FnMut(u32, u32) -> Result<()>,
}

impl Stretches<'_> {
    fn add(&mut self, from: u32, length: u32) -> Result<()> {
        match &mut self.open {
            Some((first, known)) if *first + *known == from => *known += length,
            open => {
                if let Some((first, known)) = open.replace((from, length)) {
                    (self.take)(first, known)?;
                }
            }
        }
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.open.map_or(Ok(()), |(from, length)| (self.take)(from, length))
    }
}

/// Hands out every stretch that is kept, the segment's header first.
fn stretches(
    reading: &Reading<'_>,
    number: u32,
    segment: &Segment,
    exceptions: &Exceptions,
    take: &mut dyn FnMut(u32, u32) -> Result<()>,
) -> Result<()> {
    let mut out = Stretches { open: Some((0, FIRST_GROUP)), take };
    let mut ix = 0;
    let mut group = None;
    let mut payloads: Vec<(u32, u32)> = Vec::new();
    let mut done = Ok(());
    reading.walk(number, &mut |place, frame| {
        let at = frame.position;
        let is_kept = exceptions.keeps(segment, ix, at);
        ix += 1;
        if !is_kept || done.is_err() {
            return;
        }
        if group.replace(place.start) != Some(place.start) {
            done = payloads
                .drain(..)
                .try_for_each(|(from, length)| out.add(from, length))
                .and_then(|()| out.add(place.start.offset(), HEADER_BYTES as u32));
        }
        let length = frame::frame_length(frame.body.len() + 1) as u32;
        done = std::mem::replace(&mut done, Ok(())).and_then(|()| out.add(at.offset(), length));
        if let Some((offset, length)) = payload(&frame, place.start) {
            let first = u64::from(place.start.offset()) + place.header.payloads_from();
            payloads.push((first as u32 + offset, length));
        }
    })?;
    done?;
    payloads.into_iter().try_for_each(|(from, length)| out.add(from, length))?;
    out.end()
}

/// The payload of a record, in the group that begins at `start`.
fn payload(frame: &FrameRef<'_>, start: Position) -> Option<(u32, u32)> {
    if frame.kind != Kind::Act {
        return None;
    }
    match frame.decode() {
        Some(Frame::Act(Act { outcome: Outcome::Output(Output { place, length, .. }), .. })) => match place {
            Place::Payload(place) if place.group == start => Some((place.offset, length as u32)),
            _ => None,
        },
        _ => None,
    }
}

/// How many bytes the file will have.
pub(super) fn measure(
    reading: &Reading<'_>,
    number: u32,
    segment: &Segment,
    exceptions: &Exceptions,
) -> Result<u64> {
    let (mut bytes, mut extents) = (0, 0);
    stretches(reading, number, segment, exceptions, &mut |_, length| {
        bytes += u64::from(length);
        extents += 1;
        Ok(())
    })?;
    Ok(bytes + extents * EXTENT_BYTES as u64 + FOOTER_BYTES as u64)
}

/// Writes the file and puts it in the place of the old one.
pub(super) fn rewrite(
    disk: &Arc<dyn Disk>,
    store: &Path,
    segments: &Segments,
    reading: &Reading<'_>,
    number: u32,
    segment: &Segment,
    exceptions: &Exceptions,
) -> Result<()> {
    let path = segments.path(number);
    let Some(old) = segments.file(number)? else { return Ok(()) };
    let Some((header, _)) = segments.header(&*old, number) else { return Ok(()) };
    let header = crate::store::segment::SegmentHeader { is_mapped: true, ..header };
    let temporary = store.join("tmp").join(format!("segment-{number:06}"));
    let write = |e: io::Error| Error::io("write", &temporary, &e);
    let reserve = Reserve::new(Arc::clone(disk), store);
    disk::remove_optional(&**disk, &temporary).map_err(write)?;
    let new = disk.create(&temporary).map_err(write)?;
    // The room that is kept for such a moment is taken once.
    let put = |bytes: &[u8], offset: u32| match new.write_at(&[bytes], offset.into()) {
        Err(e) if is_full(&e) && reserve.release() => new.write_at(&[bytes], offset.into()),
        done => done,
    };
    let mut extents = Extents::new(segment.end);
    let mut end = 0;
    let mut buffer = Vec::new();
    let copied = stretches(reading, number, segment, exceptions, &mut |from, length| {
        extents.push(from, length, end);
        let mut at = 0;
        while at < length {
            let piece = CHUNK.min(length - at);
            buffer.resize(piece as usize, 0);
            read_whole(&*old, &mut buffer, from + at).map_err(|e| Error::io("read", &path, &e))?;
            if from + at == 0 {
                let (bytes, _) = header.encode(segments.format().salt, segments.seal());
                buffer[..bytes.len()].copy_from_slice(&bytes);
            }
            put(&buffer, end).map_err(write)?;
            end += piece;
            at += piece;
        }
        Ok(())
    });
    let finish = || {
        put(&extents.encode(number, end, segments.seal()), end).map_err(write)?;
        new.sync().map_err(|e| Error::io("sync", &temporary, &e))?;
        disk.rename(&temporary, &path).map_err(|e| Error::io("replace", &path, &e))?;
        disk.sync_dir(segments.dir()).map_err(|e| Error::io("sync the folder", segments.dir(), &e))
    };
    let done = copied.and_then(|()| finish());
    if done.is_err() {
        crate::store::reserve::discard(&**disk, &temporary);
    }
    segments.forget(number);
    done
}

/// What was there when the segment was walked must be there now.
fn read_whole(file: &dyn DiskFile, buffer: &mut [u8], offset: u32) -> io::Result<()> {
    if file.read_at(buffer, offset.into())? < buffer.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}
