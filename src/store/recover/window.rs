//! A part of a segment's file in memory: read ahead, and never failing. What the disk cannot read is zeros, which no
//! checksum takes for anything.

use crate::store::disk::DiskFile;
use crate::store::segment::{Segments, read_full};

const READ_AHEAD: usize = 64 << 10;
const PAGE: usize = 4096;

pub(super) struct Window<'a> {
    segments: &'a Segments,
    file: &'a dyn DiskFile,
    size: u64,
    from: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(segments: &'a Segments, file: &'a dyn DiskFile, size: u64) -> Self {
        Window { segments, file, size, from: 0, bytes: Vec::new() }
    }

    /// The file's bytes in `offset..offset + length`, fewer where it ends.
    pub(super) fn get(&mut self, offset: u64, length: u64) -> &[u8] {
        let end = offset.saturating_add(length).min(self.size);
        let offset = offset.min(end);
        if offset < self.from || end > self.from + self.bytes.len() as u64 {
            let wanted = (end - offset).max(READ_AHEAD as u64).min(self.size - offset);
            self.bytes.resize(wanted as usize, 0);
            self.from = offset;
            read(self.segments, self.file, &mut self.bytes, offset);
        }
        &self.bytes[(offset - self.from) as usize..(end - self.from) as usize]
    }
}

fn read(segments: &Segments, file: &dyn DiskFile, buffer: &mut [u8], offset: u64) {
    match read_full(file, buffer, offset) {
        Ok(read) => {
            if read < buffer.len() {
                // It was longer a moment ago.
                segments.note_unreadable();
            }
            buffer[read..].fill(0);
        }
        Err(_) if buffer.len() > PAGE => {
            // Page by page: one bad place on a disk takes no more than itself.
            let aligned = PAGE - (offset % PAGE as u64) as usize;
            let (first, rest) = buffer.split_at_mut(aligned);
            read(segments, file, first, offset);
            let mut at = offset + aligned as u64;
            for page in rest.chunks_mut(PAGE) {
                read(segments, file, page, at);
                at += page.len() as u64;
            }
        }
        Err(_) => {
            segments.note_unreadable();
            buffer.fill(0);
        }
    }
}
