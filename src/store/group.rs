//! Groups: what one write and one sync put on disk. `header 64 | frames | payloads`, see `docs/design/store.md`.
//!
//! A header's checksum is bound to the store and to the header's own position; each header names the checksum of the
//! one before, so nothing is lost or exchanged unnoticed. Knows nothing of files.

use std::time::Instant;

use crate::model::action::{PayloadPlace, Position};
use crate::store::frame::{self, Frame, Seal};
use crate::time::Millis;

/// The bytes of a header.
pub const HEADER_BYTES: usize = 64;

/// The bytes of the group that ends a closed log: a header and a `Close` frame.
pub const CLOSE_GROUP_BYTES: usize = HEADER_BYTES + frame::CLOSE_BYTES;

const MAGIC: [u8; 8] = *b"\x93pipegrp";

/// The header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the groups of a segment, from 1.
    pub number: u64,
    /// The run that wrote it.
    pub run: u32,
    /// When its first frame was appended.
    pub base: Millis,
    /// The bytes of its frames.
    pub frames: u32,
    /// The bytes of its payloads.
    pub payloads: u32,
    /// How many frames.
    pub count: u32,
    /// The checksum of the header before, of the segment's for the first.
    pub previous: u32,
}

impl Header {
    /// The header as it lies at `start`, and its checksum.
    pub fn encode(&self, salt: u64, seal: Seal, start: Position) -> ([u8; HEADER_BYTES], u32) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(&mark(salt));
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.run.to_le_bytes());
        bytes[28..36].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.frames.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.payloads.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.count.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.previous.to_le_bytes());
        let crc = seal.checksum(start, &bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// The header that lies at `start`, and its checksum; nothing if these bytes are none.
    pub fn decode(bytes: &[u8], salt: u64, seal: Seal, start: Position) -> Option<(Header, u32)> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let number32 =
            |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let number64 = |at: usize| u64::from(number32(at)) | u64::from(number32(at + 4)) << 32;
        let crc = seal.checksum(start, &bytes[..60]);
        if bytes[..16] != mark(salt) || number32(60) != crc {
            return None;
        }
        let header = Header {
            number: number64(16),
            run: number32(24),
            base: Millis(number64(28)),
            frames: number32(36),
            payloads: number32(40),
            count: number32(44),
            previous: number32(48),
        };
        Some((header, crc))
    }

    /// The bytes of the whole group.
    pub fn group_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.frames) + u64::from(self.payloads)
    }

    /// The offset of the first payload from the group's begin.
    pub fn payloads_from(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.frames)
    }
}

/// The first bytes of every header of a store.
pub fn mark(salt: u64) -> [u8; 16] {
    let mut mark = [0; 16];
    mark[..8].copy_from_slice(&MAGIC);
    mark[8..].copy_from_slice(&salt.to_le_bytes());
    mark
}

/// A group that is being filled, or written.
#[derive(Debug)]
pub struct Group {
    /// Where its header lies, or will.
    pub start: Position,
    /// The run whose frames these are.
    pub run: u32,
    /// When the first frame came.
    pub base: Millis,
    /// The same by the clock that never jumps.
    pub since: Instant,
    /// The frames as they will lie on disk.
    pub frames: Vec<u8>,
    /// The payloads, one behind the other.
    pub payloads: Vec<u8>,
    /// How many frames.
    pub count: u32,
}

impl Group {
    /// A group without frames that begins at `start`; `buffers` are used again.
    pub fn new(start: Position, buffers: (Vec<u8>, Vec<u8>)) -> Self {
        let (mut frames, mut payloads) = buffers;
        frames.clear();
        payloads.clear();
        Group { start, run: 0, base: Millis(0), since: Instant::now(), frames, payloads, count: 0 }
    }

    /// Where the next frame will lie.
    pub fn next_frame(&self) -> Position {
        Position(self.start.0 + (HEADER_BYTES + self.frames.len()) as u64)
    }

    /// Where the next payload will lie.
    pub fn next_payload(&self) -> PayloadPlace {
        PayloadPlace { group: self.start, offset: self.payloads.len() as u32 }
    }

    /// The bytes of frames and payloads.
    pub fn content_bytes(&self) -> usize {
        self.frames.len() + self.payloads.len()
    }

    /// Where the group ends.
    pub fn end(&self) -> Position {
        Position(self.start.0 + (HEADER_BYTES + self.content_bytes()) as u64)
    }

    /// Adds a frame whose kind and body were encoded for [`Group::next_frame`].
    pub fn push(&mut self, seal: Seal, kind_and_body: &[u8], payload: &[u8]) -> Position {
        let position = self.next_frame();
        frame::put_frame(&mut self.frames, seal, position, kind_and_body);
        self.payloads.extend_from_slice(payload);
        self.count += 1;
        position
    }

    /// The bytes from a frame on, if it lies here.
    pub fn frames_from(&self, position: Position) -> Option<&[u8]> {
        let from = position.0.checked_sub(self.start.0)?.checked_sub(HEADER_BYTES as u64)?;
        self.frames.get(usize::try_from(from).ok()?..).filter(|bytes| !bytes.is_empty())
    }

    /// A payload, if it lies here.
    pub fn payload(&self, place: PayloadPlace, length: u64) -> Option<&[u8]> {
        let from = place.offset as usize;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        (place.group == self.start).then(|| self.payloads.get(from..to)).flatten()
    }

    /// Its header, for the commit thread.
    pub fn header(&self, number: u64, previous: u32) -> Header {
        Header {
            number,
            run: self.run,
            base: self.base,
            frames: self.frames.len() as u32,
            payloads: self.payloads.len() as u32,
            count: self.count,
            previous,
        }
    }

    /// The group that ends a closed log.
    pub fn close(start: Position, run: u32, time: Millis, seal: Seal) -> Self {
        let mut group = Group { run, base: time, ..Group::new(start, (Vec::new(), Vec::new())) };
        let position = group.next_frame();
        let mut body = Vec::new();
        Frame::Close(frame::Close { position, run, time }).encode(position, None, &mut body);
        group.push(seal, &body, b"");
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::frame::tests::hex;

    const SALT: u64 = 0x1122_3344_5566_7788;

    #[test]
    fn golden_header() {
        let header = Header {
            number: 7,
            run: 3,
            base: Millis(0x0190_0000_0001),
            frames: 100,
            payloads: 40,
            count: 2,
            previous: 0xaabb_ccdd,
        };
        let seal = Seal::new(SALT);
        let start = Position::new(1, 64);
        let (bytes, crc) = header.encode(SALT, seal, start);
        assert_eq!(
            hex(&bytes),
            "937069706567727088776655443322110700000000000000030000000100000090010000640000002800000002000000ddccbbaa0000000000000000b2b7b50a"
        );
        assert_eq!(Header::decode(&bytes, SALT, seal, start), Some((header, crc)));
        assert_eq!(Header::decode(&bytes, SALT, seal, Position::new(2, 64)), None, "copied elsewhere");
        assert_eq!(Header::decode(&bytes, SALT + 1, Seal::new(SALT + 1), start), None, "of another store");
    }

    #[test]
    fn golden_close_group() {
        let group = Group::close(Position::new(1, 64), 3, Millis(0x0190_0000_0001), Seal::new(SALT));
        assert_eq!(hex(&group.frames), "1b1045155d0a8000001000000000030000000100000090010000000000000000");
        assert_eq!(HEADER_BYTES + group.frames.len(), CLOSE_GROUP_BYTES);
    }
}
