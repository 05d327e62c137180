//! The reader of segments: groups, frames, torn tails, damage, docs/design/store.md.
//!
//! The first byte of the input says how the rest lies on the disk: bit 0: with checksums that are right where a group
//! and its frames can be told; bit 1: as two segments, cut in the middle.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use pipelinefile::hash::Digest;
use pipelinefile::model::action::Position;
use pipelinefile::store::bytes::Reader;
use pipelinefile::store::disk::{Access, Disk, DiskFile};
use pipelinefile::store::format::Format;
use pipelinefile::store::frame::{Frame, put_frame};
use pipelinefile::store::group::{HEADER_BYTES, Header, mark};
use pipelinefile::store::recover::{Replay, clean_end, replay};
use pipelinefile::store::segment::{FIRST_GROUP, SegmentHeader, Segments};
use pipelinefile::time::Millis;

/// Of the store that the seeds belong to.
pub(crate) const FORMAT: Format = Format { id: 77, salt: 0x1122_3344_5566_7788 };

pub(crate) fn check(data: &[u8]) {
    let Some((mode, bytes)) = data.split_first() else { return };
    let cut = if mode & 2 == 2 { bytes.len() / 2 } else { bytes.len() };
    let (first, second) = bytes.split_at(cut);
    let mut files = vec![first.to_vec(), second.to_vec()];
    files.retain(|file| !file.is_empty());
    if mode & 1 == 1 {
        for (file, number) in files.iter_mut().zip(1..) {
            seal(file, number);
        }
    }
    let sizes: Vec<u64> = files.iter().map(|file| file.len() as u64).collect();
    let disk = Arc::new(Memory(
        files
            .into_iter()
            .zip(1..)
            .map(|(file, number)| (format!("{number:06}.seg"), Arc::new(Bytes(file))))
            .collect(),
    ));
    let segments = Segments::new(disk, Path::new(""), FORMAT);
    super::bounded(data, 1 << 20, 300, || read_all(&segments, &sizes));
}

fn read_all(segments: &Segments, sizes: &[u64]) {
    let size = |position: Position| sizes.get(position.segment() as usize - 1).copied().unwrap_or_default();
    clean_end(segments).expect("memory can be read");
    let (positions, whole) = pass(segments, Position(0));
    assert!(positions.is_sorted_by(|a, b| a < b), "frames come in order, each once");
    assert_eq!(whole.frames, positions.len() as u64);
    let end = whole.start.end;
    // What ended where a later segment says may have been cut since; what was lost is damage.
    let is_told = (end.segment() as usize) < sizes.len();
    assert!(
        end.0 == 0 || is_told || u64::from(end.offset()) <= size(end).max(FIRST_GROUP.into()),
        "{end:?} is behind the file"
    );
    if let Some(torn) = whole.start.torn {
        assert_eq!(u64::from(torn.at.offset()) + torn.bytes, size(torn.at));
        // Behind it, in the same segment or in one without a group that counts.
        assert!(torn.at >= end, "{torn:?} lies before {end:?}");
    }
    for damage in &whole.damage {
        assert!(damage.from <= damage.to, "{damage:?}");
    }
    for position in positions.iter().step_by(positions.len() / 64 + 1) {
        let frame = segments.frame(*position).expect("memory can be read");
        let Some((place, length, digest)) = frame.as_ref().and_then(Frame::payload) else { continue };
        if let Some(bytes) = segments.payload(place, length, &digest).expect("memory can be read") {
            assert_eq!(Digest::of(&bytes), digest);
        }
    }
    // Whoever stood at the end of a group goes on from there; nothing before it is shown, and nothing behind is lost.
    if let Some(middle) = positions.get(positions.len() / 2) {
        let (later, _) = pass(segments, *middle);
        let expected: Vec<Position> =
            positions.iter().filter(|position| *position >= middle).copied().collect();
        assert_eq!(later, expected);
    }
}

fn pass(segments: &Segments, from: Position) -> (Vec<Position>, Replay) {
    let mut positions = Vec::new();
    let replay = replay(segments, from, None, &mut |_, frame| {
        drop(frame.decode());
        positions.push(frame.position);
    });
    (positions, replay.expect("memory can be read"))
}

/// Puts right what a mutation cannot: the segment's header, and checksums of groups and frames as far as lengths lead.
pub(crate) fn seal(file: &mut [u8], number: u32) {
    let seal = FORMAT.seal();
    if file.len() < FIRST_GROUP as usize {
        return;
    }
    let eight = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("there are eight"));
    let header = SegmentHeader {
        is_mapped: false,
        number,
        store: FORMAT.id,
        after: Position(eight(&file[40..48])),
        begun: Millis(eight(&file[48..56])),
        is_mapped: false,
    };
    let (bytes, mut previous) = header.encode(FORMAT.salt, seal);
    file[..FIRST_GROUP as usize].copy_from_slice(&bytes);
    let mut at = FIRST_GROUP as usize;
    while at + HEADER_BYTES <= file.len() {
        let start = Position::new(number, at as u32);
        file[at..at + 16].copy_from_slice(&mark(FORMAT.salt));
        file[at + 48..at + 52].copy_from_slice(&previous.to_le_bytes());
        let crc = seal.checksum(start, &file[at..at + 60]);
        file[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
        let Some((header, crc)) = Header::decode(&file[at..], FORMAT.salt, seal, start) else { return };
        previous = crc;
        let first = at + HEADER_BYTES;
        let end = file.len().min(first + header.frames as usize);
        seal_frames(&mut file[first..end], Position(start.0 + HEADER_BYTES as u64));
        at = at.saturating_add(header.group_bytes() as usize);
    }
}

fn seal_frames(frames: &mut [u8], first: Position) {
    let mut at = 0;
    while at < frames.len() {
        let mut reader = Reader::new(&frames[at..]);
        let length = reader.small::<usize>();
        let (Some(length), Some(_)) = (length, reader.fixed32()) else { return };
        let Some(content) = reader.bytes(length) else { return };
        let mut frame = Vec::new();
        put_frame(&mut frame, FORMAT.seal(), Position(first.0 + at as u64), content);
        let Some(place) = frames.get_mut(at..at + frame.len()) else { return };
        place.copy_from_slice(&frame);
        at += frame.len();
    }
}

/// A folder in memory, only to be read.
struct Memory(BTreeMap<String, Arc<Bytes>>);

struct Bytes(Vec<u8>);

impl Disk for Memory {
    fn create(&self, _: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match self.0.get(name) {
            Some(file) if access == Access::Read => Ok(Arc::clone(file) as Arc<dyn DiskFile>),
            Some(_) => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.open(path, Access::Read)?.size()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl DiskFile for Bytes {
    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}
