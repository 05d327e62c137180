//! The map of a collected segment: which of its bytes are left, and where they lie now. Positions stay names.
//!
//! A segment that lost most of its bytes is written anew under its own number: what survives, one piece behind the
//! other, then the map and a footer. [`Mapped`] reads such a file as if nothing had moved; what is gone reads as zeros,
//! which no checksum takes for anything. Knows nothing of frames or of why bytes are kept. `docs/design/collection.md`.

use std::io;
use std::sync::Arc;

use crate::model::action::Position;
use crate::store::disk::DiskFile;
use crate::store::frame::Seal;

/// The bytes of the footer.
pub const FOOTER_BYTES: usize = 48;
/// The bytes of one extent in the map.
pub const EXTENT_BYTES: usize = 12;

const MAGIC: [u8; 8] = *b"\x93pipeext";
const VERSION: u32 = 1;

/// A run of bytes that are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The offset by which positions name the first byte.
    pub logical: u32,
    /// How many bytes.
    pub length: u32,
    /// Where the first lies in the file.
    pub physical: u32,
}

impl Extent {
    /// The first offset behind it.
    pub fn end(&self) -> u32 {
        self.logical.saturating_add(self.length)
    }
}

/// What is left of a segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    /// Where the segment ended before anything was collected.
    pub end: u32,
    list: Vec<Extent>,
}

impl Extents {
    /// Nothing is left yet of a segment that ends at `end`.
    pub fn new(end: u32) -> Self {
        Extents { end, list: Vec::new() }
    }

    /// Adds bytes that lie behind all others, by name and in the file.
    pub fn push(&mut self, logical: u32, length: u32, physical: u32) {
        match self.list.last_mut() {
            Some(last) if last.end() == logical && last.physical + last.length == physical => {
                last.length += length;
            }
            _ => self.list.push(Extent { logical, length, physical }),
        }
    }

    /// The extents.
    pub fn list(&self) -> &[Extent] {
        &self.list
    }

    /// The extent that holds an offset, or the next one behind it.
    pub fn at_or_behind(&self, offset: u32) -> Option<Extent> {
        let next = self.list.partition_point(|extent| extent.end() <= offset);
        self.list.get(next).copied()
    }

    /// Whether the byte at an offset is gone.
    pub fn is_hole(&self, offset: u32) -> bool {
        offset < self.end && self.at_or_behind(offset).is_none_or(|extent| extent.logical > offset)
    }

    /// The bytes of map and footer, which lie at `at` in the file of segment `number`.
    pub fn encode(&self, number: u32, at: u32, seal: Seal) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.list.len() * EXTENT_BYTES + FOOTER_BYTES);
        for extent in &self.list {
            for field in [extent.logical, extent.length, extent.physical] {
                bytes.extend_from_slice(&field.to_le_bytes());
            }
        }
        let map = seal.checksum(place(number, at.into()), &bytes);
        let footer_at = u64::from(at) + bytes.len() as u64;
        let mut footer = [0; FOOTER_BYTES];
        footer[..8].copy_from_slice(&MAGIC);
        let count = self.list.len() as u32;
        for (i, field) in [VERSION, number, self.end, count, at, map].into_iter().enumerate() {
            footer[8 + 4 * i..12 + 4 * i].copy_from_slice(&field.to_le_bytes());
        }
        let crc = seal.checksum(place(number, footer_at), &footer[..44]);
        footer[44..].copy_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&footer);
        bytes
    }

    /// The map of a segment's file; nothing if it is damaged.
    pub fn read(file: &dyn DiskFile, number: u32, seal: Seal) -> io::Result<Option<Self>> {
        let size = file.size()?;
        let Some(footer_at) = size.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER_BYTES];
        if file.read_at(&mut footer, footer_at)? < FOOTER_BYTES {
            return Ok(None);
        }
        let field =
            |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
        let crc = seal.checksum(place(number, footer_at), &footer[..44]);
        let [version, of, end, count, at, map] = [8, 12, 16, 20, 24, 28].map(field);
        let is_ours = footer[..8] == MAGIC && field(44) == crc && (version, of) == (VERSION, number);
        let length = u64::from(count) * EXTENT_BYTES as u64;
        if !is_ours || u64::from(at) + length != footer_at {
            return Ok(None);
        }
        // Not longer than the file, which was checked just now.
        let mut bytes = vec![0; length as usize];
        if file.read_at(&mut bytes, at.into())? < bytes.len()
            || seal.checksum(place(number, at.into()), &bytes) != map
        {
            return Ok(None);
        }
        let mut extents = Extents::new(end);
        for entry in bytes.chunks_exact(EXTENT_BYTES) {
            let field =
                |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            let extent = Extent { logical: field(0), length: field(4), physical: field(8) };
            let behind = extents.list.last().map_or(0, Extent::end);
            let is_in_order = extent.logical >= behind
                && u64::from(extent.logical) + u64::from(extent.length) <= u64::from(end)
                && u64::from(extent.physical) + u64::from(extent.length) <= u64::from(at);
            if !is_in_order {
                return Ok(None);
            }
            extents.list.push(extent);
        }
        Ok(Some(extents))
    }
}

/// What checksums here are bound to. Files may be a little longer than positions reach.
fn place(number: u32, offset: u64) -> Position {
    Position((u64::from(number) << 28) + offset)
}

/// A collected segment's file, read by the offsets that its bytes had before.
pub struct Mapped {
    file: Arc<dyn DiskFile>,
    extents: Arc<Extents>,
}

impl Mapped {
    /// The file, seen through its map.
    pub fn new(file: Arc<dyn DiskFile>, extents: Arc<Extents>) -> Self {
        Mapped { file, extents }
    }
}

impl DiskFile for Mapped {
    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = u64::from(self.extents.end);
        let length = buffer.len().min(end.saturating_sub(offset) as usize);
        let buffer = &mut buffer[..length];
        let Ok(from) = u32::try_from(offset) else { return Ok(0) };
        let mut at = 0;
        while at < length {
            let here = from + at as u32;
            let Some(extent) = self.extents.at_or_behind(here) else { break };
            let skip = extent.logical.saturating_sub(here) as usize;
            let hole = skip.min(length - at);
            buffer[at..at + hole].fill(0);
            at += hole;
            if at == length {
                break;
            }
            let into = (from + at as u32) - extent.logical;
            let piece = ((extent.length - into) as usize).min(length - at);
            let place = u64::from(extent.physical) + u64::from(into);
            let read = self.file.read_at(&mut buffer[at..at + piece], place)?;
            buffer[at + read..at + piece].fill(0);
            at += piece;
        }
        buffer[at..].fill(0);
        Ok(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.extents.end.into())
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::disk::{Disk, RealDisk};
    use crate::store::frame::tests::{SALT, hex};

    fn sample() -> Extents {
        let mut extents = Extents::new(0x1000);
        extents.push(0, 64, 0);
        extents.push(64, 100, 64);
        extents.push(0x800, 0x20, 164);
        extents
    }

    #[test]
    fn golden_map_and_footer() {
        let bytes = sample().encode(3, 0xc4, Seal::new(SALT));
        assert_eq!(
            hex(&bytes),
            "00000000a4000000000000000008000020000000a4000000937069706565787401000000030000000010000002000000c40000000700bd280000000000000000000000005cc8239c"
        );
    }

    #[test]
    fn neighbours_are_one_extent_and_holes_are_told_from_what_is_left() {
        let extents = sample();
        assert_eq!(extents.list().len(), 2);
        let holes = [0, 163, 164, 0x7ff, 0x800, 0x81f, 0x820, 0xfff, 0x1000].map(|at| extents.is_hole(at));
        assert_eq!(holes, [false, false, true, true, false, false, true, true, false]);
    }

    #[test]
    fn a_map_of_another_segment_and_one_with_any_other_byte_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let seal = Seal::new(SALT);
        let mut whole = vec![7; 0xc4];
        whole.extend(sample().encode(3, 0xc4, seal));
        let read = |bytes: &[u8], number| {
            let path = dir.path().join("file");
            crate::fs::write_scratch(&path, bytes).unwrap();
            let file = RealDisk.open(&path, crate::store::disk::Access::Read).unwrap();
            Extents::read(&*file, number, seal).unwrap()
        };
        assert_eq!(read(&whole, 3), Some(sample()));
        assert_eq!(read(&whole, 4), None);
        for at in 0xc4..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            // Spare bytes are covered too.
            assert_eq!(read(&other, 3), None, "at {at}");
            assert_eq!(read(&whole[..at], 3), None, "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn a_mapped_file_reads_as_before_with_zeros_in_its_holes(
            pieces in proptest::collection::vec((0u32..50, 1u32..60), 0..20),
            tail in 0u32..50,
            reads in proptest::collection::vec((0u64..1500, 0usize..300), 1..20),
        ) {
            let mut before: Vec<u8> = Vec::new();
            let (mut packed, mut ranges) = (Vec::new(), Vec::new());
            for (hole, length) in pieces {
                before.resize(before.len() + hole as usize, 0);
                let (logical, physical) = (before.len() as u32, packed.len() as u32);
                let bytes: Vec<u8> = (0..length).map(|i| (logical + i) as u8 | 1).collect();
                before.extend(&bytes);
                packed.extend(&bytes);
                ranges.push((logical, length, physical));
            }
            before.resize(before.len() + tail as usize, 0);
            let mut extents = Extents::new(before.len() as u32);
            ranges.iter().for_each(|(logical, length, physical)| extents.push(*logical, *length, *physical));
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("file");
            let seal = Seal::new(SALT);
            packed.extend(extents.encode(1, packed.len() as u32, seal));
            crate::fs::write_scratch(&path, &packed).unwrap();
            let file = RealDisk.open(&path, crate::store::disk::Access::Read).unwrap();
            let read = Extents::read(&*file, 1, seal).unwrap().unwrap();
            prop_assert_eq!(&read, &extents);
            let mapped = Mapped::new(file, Arc::new(read));
            for (offset, length) in reads {
                let mut buffer = vec![9; length];
                let count = mapped.read_at(&mut buffer, offset).unwrap();
                let from = (offset as usize).min(before.len());
                let expected = &before[from..(from + length).min(before.len())];
                prop_assert_eq!(&buffer[..count], expected);
            }
        }
    }
}
