//! Segments: the files of the log, and reading from them by position.
//!
//! A file begins with a header of its own; groups follow. Every frame is proved by its checksum, every payload by its
//! digest, each time it comes from disk. A collected segment is read through its map, as if nothing had moved
//! (`extents`). Knows nothing of what is not on disk yet (`log`) and of damage (`recover`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::hash::{Digest, Map};
use crate::model::action::{Act, PayloadPlace, Position, Story};
use crate::store::disk::{Access, Disk, DiskFile};
use crate::store::extents::{Extents, Mapped};
use crate::store::format::Format;
use crate::store::frame::{self, Found, Frame, Seal};
use crate::store::group::{CLOSE_GROUP_BYTES, HEADER_BYTES, Header};
use crate::time::Millis;

/// No segment is longer: its offsets have 28 bits.
pub const SEGMENT_BYTES: u64 = (1 << 28) - 1;

/// Where the first group of a segment begins.
pub const FIRST_GROUP: u32 = SEGMENT_HEADER_BYTES as u32;

const SEGMENT_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"\x93pipeseg";
const VERSION: u32 = 1;
/// Of a segment that was collected: its bytes are found through a map.
const MAPPED_VERSION: u32 = 2;

/// What one read of a frame takes from the disk at first: nearly all are shorter.
const FIRST_READ: usize = 512;
/// So much memory is taken for a payload before it is known that the file is as long.
const BELIEVED: u64 = 1 << 20;
/// More files are not kept open.
const OPEN_FILES: usize = 64;

/// The header of a segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The segment's number, as in the file's name.
    pub number: u32,
    /// The store that it belongs to.
    pub store: u128,
    /// The end of what counts in the segments before: what lies behind it there was never finished.
    pub after: Position,
    /// When it was begun.
    pub begun: Millis,
    /// It was collected: what is left of it is found through a map at the file's end.
    pub is_mapped: bool,
}

impl SegmentHeader {
    /// `magic 8 | version 4 | number 4 | store id 16 | salt 8 | after 8 | begun 8 | spare 4 | crc32c 4`, and the crc.
    pub fn encode(&self, salt: u64, seal: Seal) -> ([u8; SEGMENT_HEADER_BYTES], u32) {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        let version = if self.is_mapped { MAPPED_VERSION } else { VERSION };
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store.to_be_bytes());
        bytes[32..40].copy_from_slice(&salt.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.after.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.begun.0.to_le_bytes());
        let crc = seal.checksum(Position::new(self.number, 0), &bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header of segment `number` of this store, and its checksum; nothing if these bytes are none.
    pub fn decode(bytes: &[u8], number: u32, format: &Format) -> Option<(SegmentHeader, u32)> {
        let number64 = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
        let header = SegmentHeader {
            number,
            store: format.id,
            after: Position(number64(40)?),
            begun: Millis(number64(48)?),
            is_mapped: bytes.get(8..12)? == MAPPED_VERSION.to_le_bytes(),
        };
        let (same, crc) = header.encode(format.salt, format.seal());
        (bytes.get(..SEGMENT_HEADER_BYTES)? == same).then_some((header, crc))
    }
}

/// The segments of a store, for reading.
pub struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    format: Format,
    seal: Seal,
    files: Mutex<Map<u32, Held>>,
    /// How often the disk could not read.
    unreadable: AtomicU64,
}

/// An open segment.
#[derive(Clone)]
struct Held {
    /// Of a collected one seen through its map.
    file: Arc<dyn DiskFile>,
    extents: Option<Arc<Extents>>,
}

impl Segments {
    /// The segments of the store in `dir` (`.pipe`). Opens nothing yet.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, format: Format) -> Self {
        Segments {
            disk,
            dir: dir.join("segments"),
            format,
            seal: format.seal(),
            files: Mutex::default(),
            unreadable: AtomicU64::new(0),
        }
    }

    /// How often the disk could not read: what was not found meanwhile may be there after all.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// The disk could not read.
    pub(crate) fn note_unreadable(&self) {
        self.unreadable.fetch_add(1, Ordering::Relaxed);
    }

    /// The folder of the segments.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the files are.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// What tells the store from every other.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// What its checksums are mixed with.
    pub fn seal(&self) -> Seal {
        self.seal
    }

    /// The path of a segment's file.
    pub fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number:06}.seg"))
    }

    /// The numbers of all segments that are there, in order.
    pub fn numbers(&self) -> Result<Vec<u32>> {
        let names = self.disk.list(&self.dir).map_err(|e| Error::io("read the folder", &self.dir, &e))?;
        let mut numbers: Vec<u32> = names.iter().filter_map(|name| number_of(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// A segment's file; nothing if it is gone. Its bytes are at the offsets that positions name.
    pub fn file(&self, number: u32) -> Result<Option<Arc<dyn DiskFile>>> {
        Ok(self.held(number)?.map(|held| held.file))
    }

    /// What is left of a segment, if it was collected.
    pub fn extents(&self, number: u32) -> Result<Option<Arc<Extents>>> {
        Ok(self.held(number)?.and_then(|held| held.extents))
    }

    /// The bytes that a segment's file takes; nothing if it is gone.
    pub fn size_on_disk(&self, number: u32) -> io::Result<Option<u64>> {
        match self.disk.size(&self.path(number)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            size => size.map(Some),
        }
    }

    /// Whether what lay at a position was collected: that it is gone is no damage.
    pub fn is_collected(&self, position: Position) -> bool {
        let extents = self.extents(position.segment()).ok().flatten();
        extents.is_some_and(|extents| extents.is_hole(position.offset()))
    }

    /// A segment's file was replaced: who reads next reads the new one.
    pub fn forget(&self, number: u32) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn held(&self, number: u32) -> Result<Option<Held>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = files.get(&number) {
            return Ok(Some(held.clone()));
        }
        let path = self.path(number);
        let file = match self.disk.open(&path, Access::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| Error::io("open", &path, &e))?,
        };
        let is_mapped = self.header(&*file, number).is_some_and(|(header, _)| header.is_mapped);
        let held = if is_mapped {
            // Without its map nothing of it can be found: as if it were empty, which is damage and no hole.
            let extents = Extents::read(&*file, number, self.seal).unwrap_or_else(|e| {
                tracing::warn!("cannot read the map of `{}`: {e}", path.display());
                None
            });
            let known = extents.map(Arc::new);
            let seen = known.clone().unwrap_or_default();
            Held { file: Arc::new(Mapped::new(file, seen)), extents: known }
        } else {
            Held { file, extents: None }
        };
        if files.len() >= OPEN_FILES {
            files.clear();
        }
        files.insert(number, held.clone());
        Ok(Some(held))
    }

    /// The header of a segment and its checksum; nothing if it is damaged.
    pub fn header(&self, file: &dyn DiskFile, number: u32) -> Option<(SegmentHeader, u32)> {
        let bytes = self.read(file, number, 0, SEGMENT_HEADER_BYTES)?;
        SegmentHeader::decode(&bytes, number, &self.format)
    }

    /// The header of the group at `start` and its checksum; nothing if there is none.
    pub fn group_header(&self, file: &dyn DiskFile, start: Position) -> Option<(Header, u32)> {
        let bytes = self.read(file, start.segment(), start.offset(), HEADER_BYTES)?;
        Header::decode(&bytes, self.format.salt, self.seal, start)
    }

    /// The frame at a position; nothing if there is none, or a damaged one.
    pub fn frame(&self, position: Position) -> Result<Option<Frame>> {
        let Some(file) = self.file(position.segment())? else { return Ok(None) };
        let mut length = FIRST_READ;
        loop {
            let Some(bytes) = self.read(&*file, position.segment(), position.offset(), length) else {
                return Ok(None);
            };
            match frame::read(&bytes, self.seal, position) {
                Found::Frame(frame, _) => return Ok(frame.decode()),
                Found::Short(whole) if whole > length && bytes.len() == length => {
                    // A length is trusted only as far as the file goes.
                    let rest = file.size().unwrap_or(0).saturating_sub(position.offset().into());
                    if whole as u64 > rest {
                        return Ok(None);
                    }
                    length = whole;
                }
                Found::Short(_) | Found::Bad(_) => return Ok(None),
            }
        }
    }

    /// The record at a position; nothing if there is none, or a damaged one.
    pub fn act(&self, position: Position) -> Result<Option<Act>> {
        Ok(self.frame(position)?.and_then(into_act))
    }

    /// The story at a position; nothing if there is none, or a damaged one.
    pub fn story(&self, position: Position) -> Result<Option<Story>> {
        Ok(self.frame(position)?.and_then(into_story))
    }

    /// The bytes of an output that lie in the log; nothing if they are gone or wrong.
    pub fn payload(&self, place: PayloadPlace, length: u64, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.file(place.group.segment())? else { return Ok(None) };
        let bytes = self.group_header(&*file, place.group).and_then(|(header, _)| {
            self.payload_in(&*file, place, &header, length).filter(|bytes| Digest::of(bytes) == *digest)
        });
        Ok(bytes)
    }

    /// The bytes of a payload, not proved.
    pub(crate) fn payload_in(
        &self,
        file: &dyn DiskFile,
        place: PayloadPlace,
        header: &Header,
        length: u64,
    ) -> Option<Vec<u8>> {
        let end = u64::from(place.offset).checked_add(length)?;
        if end > u64::from(header.payloads) {
            return None;
        }
        let from = u64::from(place.group.offset()) + header.payloads_from() + u64::from(place.offset);
        // The header's word is not enough to take memory by: the file must be as long.
        if length > BELIEVED && from + length > file.size().ok()? {
            return None;
        }
        let offset = u32::try_from(from).ok()?;
        self.read(file, place.group.segment(), offset, length as usize)
            .filter(|bytes| bytes.len() as u64 == length)
    }

    /// The end of a log that was closed in order, found in its last bytes alone: the `Close` group and its header.
    pub fn closed(&self, file: &dyn DiskFile, number: u32) -> Option<Closed> {
        let size = file.size().ok().filter(|size| *size <= SEGMENT_BYTES)?;
        let offset = size.checked_sub(CLOSE_GROUP_BYTES as u64).filter(|at| *at >= FIRST_GROUP.into())?;
        let group = Position::new(number, offset as u32);
        let (header, crc) = self.group_header(file, group)?;
        let whole = (header.count, header.group_bytes()) == (1, CLOSE_GROUP_BYTES as u64);
        let position = Position(group.0 + HEADER_BYTES as u64);
        let bytes = self.read(file, number, position.offset(), frame::CLOSE_BYTES)?;
        match frame::read(&bytes, self.seal, position) {
            Found::Frame(frame, _) if whole => match frame.decode() {
                Some(Frame::Close(close)) if close.position == position => {
                    Some(Closed { group, end: Position::new(number, size as u32), header, crc })
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// As many of the bytes as there are. What cannot be read counts as damaged: other results are still good.
    fn read(&self, file: &dyn DiskFile, number: u32, offset: u32, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match read_full(file, &mut bytes, offset.into()) {
            Ok(read) => {
                bytes.truncate(read);
                Some(bytes)
            }
            Err(e) => {
                self.note_unreadable();
                tracing::warn!("cannot read `{}` at {offset}: {e}", self.path(number).display());
                None
            }
        }
    }
}

/// The end of a log that was closed in order.
#[derive(Clone, Copy, Debug)]
pub struct Closed {
    /// Where the last group begins: the end of all that was there before the log was closed.
    pub group: Position,
    /// The end of the file.
    pub end: Position,
    /// The header of the last group.
    pub header: Header,
    /// Its checksum.
    pub crc: u32,
}

/// Reads as many bytes as there are. A read may give fewer, and that is no end of the file: what lies behind it would be
/// taken for torn, and done again.
pub(crate) fn read_full(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        let at = offset + done as u64;
        // Once more: a disk in trouble often reads at the second try.
        let read =
            file.read_at(&mut buffer[done..], at).or_else(|_| file.read_at(&mut buffer[done..], at))?;
        if read == 0 {
            break;
        }
        done += read;
    }
    Ok(done)
}

pub(crate) fn into_act(frame: Frame) -> Option<Act> {
    if let Frame::Act(act) = frame { Some(act) } else { None }
}

pub(crate) fn into_story(frame: Frame) -> Option<Story> {
    if let Frame::Story(story) = frame { Some(story) } else { None }
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let number = digits.parse().ok().filter(|number| (1..1 << 20).contains(number))?;
    (format!("{number:06}") == digits).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::frame::tests::hex;

    #[test]
    fn golden_segment_header() {
        let format = Format { id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677, salt: 0x1122_3344_5566_7788 };
        let header = SegmentHeader {
            number: 2,
            store: format.id,
            after: Position::new(1, 0x1234),
            begun: Millis(0x0190_0000_0001),
            is_mapped: false,
        };
        let (bytes, crc) = header.encode(format.salt, format.seal());
        assert_eq!(
            hex(&bytes),
            "937069706573656701000000020000000123456789abcdef00112233445566778877665544332211341200100000000001000000900100000000000015d5a893"
        );
        assert_eq!(SegmentHeader::decode(&bytes, 2, &format), Some((header, crc)));
        assert_eq!(SegmentHeader::decode(&bytes, 3, &format), None, "under another number");
        assert_eq!(SegmentHeader::decode(&bytes[..63], 2, &format), None);
        let mapped = SegmentHeader { is_mapped: true, ..header };
        let (bytes, crc) = mapped.encode(format.salt, format.seal());
        assert_eq!(
            hex(&bytes),
            "937069706573656702000000020000000123456789abcdef0011223344556677887766554433221134120010000000000100000090010000000000001abef77a"
        );
        assert_eq!(SegmentHeader::decode(&bytes, 2, &format), Some((mapped, crc)));
    }

    #[test]
    fn only_names_of_segments_are_segments() {
        let names = [
            "000001.seg",
            "1.seg",
            "000001.seg.tmp",
            "000000.seg",
            "1048575.seg",
            "1048576.seg",
            "-00001.seg",
        ];
        assert_eq!(names.map(number_of), [Some(1), None, None, None, Some(1_048_575), None, None]);
    }
}
