//! One table on disk: how it is laid out, opened and searched. Knows nothing of which stretches of the log there are.
//!
//! All is pages of 4 KiB, each closed by a crc32c over (salt, from, to, page number, payload): a page that is torn, moved,
//! of another table or of another store does not pass. Page 0 is the header, then come the entries (341 a page), the fences (the first key of
//! each page of entries, 682 a page) and the filter (63 blocks a page). `docs/design/index.md` has the picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::filter::{self, Filter};
use super::{Entry, Hole, KEY_MASK};
use crate::model::action::Position;
use crate::store::disk::{self, Access, Disk, DiskFile};

/// Bytes of a page.
pub(super) const PAGE: usize = 4096;
/// Bytes of a page before its checksum.
pub(super) const PAYLOAD: usize = PAGE - 4;
/// Bytes of an entry: 6 of the key, 6 of the position, both big endian.
pub(super) const ENTRY: usize = 12;
/// Entries in a page.
pub(super) const ENTRIES: usize = PAYLOAD / ENTRY;
/// Bytes of a fence.
const FENCE: usize = 6;
/// Fences in a page.
const FENCES: usize = PAYLOAD / FENCE;
/// Blocks of the filter in a page.
const BLOCKS: usize = PAYLOAD / filter::BLOCK;

const MAGIC: [u8; 8] = *b"pipetab\n";
const VERSION: u32 = 2;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Of the store.
    pub(super) salt: u64,
    /// The first position that is covered.
    pub(super) from: Position,
    /// The first position that is not.
    pub(super) to: Position,
    /// How many entries there are.
    pub(super) count: u64,
}

impl Header {
    /// The first page.
    pub(super) fn encode(&self) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[..8].copy_from_slice(&MAGIC);
        page[8..12].copy_from_slice(&VERSION.to_le_bytes());
        for (at, number) in [(16, self.salt), (24, self.from.0), (32, self.to.0), (40, self.count)] {
            page[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        close_page(&mut page, self, 0);
        page
    }

    fn decode(page: &[u8; PAGE]) -> Option<Header> {
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&page[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let header = Header {
            salt: number(16),
            from: Position(number(24)),
            to: Position(number(32)),
            count: number(40),
        };
        let good = page[..8] == MAGIC
            && page[8..12] == VERSION.to_le_bytes()
            && page_is_whole(page, &header, 0)
            && header.from < header.to
            && header.count <= KEY_MASK;
        good.then_some(header)
    }

    /// The file's name.
    pub(super) fn file_name(&self) -> String {
        format!("{:012x}-{:012x}.tab", self.from.0, self.to.0)
    }

    /// Pages of entries, of fences and of the filter.
    fn pages(&self) -> [u64; 3] {
        let entries = self.count.div_ceil(ENTRIES as u64);
        let filter = filter::blocks_for(self.count).div_ceil(BLOCKS as u64);
        [entries, entries.div_ceil(FENCES as u64), filter]
    }

    /// Bytes of the whole file.
    fn length(&self) -> u64 {
        (1 + self.pages().iter().sum::<u64>()) * PAGE as u64
    }
}

/// The pages behind the entries: fences, then the filter, without their checksums.
pub(super) fn pages_behind(fences: &[u64], filter: &Filter) -> Vec<[u8; PAGE]> {
    let fences = fences.chunks(FENCES).map(|chunk| {
        let mut page = [0; PAGE];
        for (fence, place) in chunk.iter().zip(page.chunks_exact_mut(FENCE)) {
            place.copy_from_slice(&fence.to_be_bytes()[2..]);
        }
        page
    });
    let filter = filter.bytes().chunks(BLOCKS * filter::BLOCK).map(|chunk| {
        let mut page = [0; PAGE];
        page[..chunk.len()].copy_from_slice(chunk);
        page
    });
    fences.chain(filter).collect()
}

/// Puts the checksum at the end of a page.
pub(super) fn close_page(page: &mut [u8; PAGE], table: &Header, number: u64) {
    let sum = checksum(&page[..PAYLOAD], table, number);
    page[PAYLOAD..].copy_from_slice(&sum.to_le_bytes());
}

fn page_is_whole(page: &[u8; PAGE], table: &Header, number: u64) -> bool {
    page[PAYLOAD..] == checksum(&page[..PAYLOAD], table, number).to_le_bytes()
}

fn checksum(payload: &[u8], table: &Header, number: u64) -> u32 {
    let seed = [table.salt, table.from.0, table.to.0, number];
    let seed = seed.iter().fold(0, |seed, part| crc32c::crc32c_append(seed, &part.to_le_bytes()));
    crc32c::crc32c_append(seed, payload)
}

/// Writes an entry.
pub(super) fn put_entry(entry: Entry, place: &mut [u8]) {
    place[..6].copy_from_slice(&entry.key.to_be_bytes()[2..]);
    place[6..].copy_from_slice(&entry.position.to_be_bytes()[2..]);
}

fn entry_at(page: &[u8; PAGE], index: usize) -> Entry {
    let bytes = &page[index * ENTRY..(index + 1) * ENTRY];
    Entry { key: six_bytes(&bytes[..6]), position: six_bytes(&bytes[6..]) }
}

fn six_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The filter of a table: in memory, or read a page at a time where there are too many.
enum HeldFilter {
    Memory(Filter),
    Disk,
}

/// A table that is open. What it finds damaged it says, and is not asked again.
pub(super) struct Table {
    header: Header,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    fences: Vec<u64>,
    filter: HeldFilter,
    damaged: AtomicBool,
}

/// A page did not pass its checksum, or could not be read.
pub(super) struct Damaged;

impl Table {
    /// Opens a table of this store; nothing if any of it but the entries is not whole.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: &Path, salt: u64) -> Option<Table> {
        let file = disk.open(path, Access::Read).ok()?;
        let mut page = [0; PAGE];
        disk::read_exact(&*file, &mut page, 0).ok()?;
        let header = Header::decode(&page).filter(|header| header.salt == salt)?;
        let length = file.size().ok()?;
        if length != header.length() || path.file_name()?.to_str()? != header.file_name() {
            return None;
        }
        let mut table = Table {
            header,
            disk: Arc::clone(disk),
            path: path.to_owned(),
            file,
            fences: Vec::new(),
            filter: HeldFilter::Disk,
            damaged: AtomicBool::new(false),
        };
        table.fences = table.read_fences().ok()?;
        table.load_filter().ok()?;
        Some(table)
    }

    /// A table that was just written.
    pub(super) fn written(
        header: Header,
        disk: Arc<dyn Disk>,
        path: PathBuf,
        file: Arc<dyn DiskFile>,
        fences: Vec<u64>,
        filter: Filter,
    ) -> Self {
        let filter = HeldFilter::Memory(filter);
        Table { header, disk, path, file, fences, filter, damaged: AtomicBool::new(false) }
    }

    /// The first position that is covered.
    pub(super) fn from(&self) -> Position {
        self.header.from
    }

    /// The first position that is not covered.
    pub(super) fn to(&self) -> Position {
        self.header.to
    }

    /// How many entries there are.
    pub(super) fn count(&self) -> u64 {
        self.header.count
    }

    /// Whether a page was found that is not whole.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// The stretch of the log whose keys are lost with this table.
    pub(super) fn hole(&self) -> Hole {
        Hole { from: self.header.from, to: self.header.to }
    }

    /// Bytes of the filter, wherever it is.
    pub(super) fn filter_size(&self) -> u64 {
        filter::blocks_for(self.header.count) * filter::BLOCK as u64
    }

    /// Leaves the filter on disk.
    pub(super) fn unload_filter(&mut self) {
        self.filter = HeldFilter::Disk;
    }

    /// Removes the file; that it stays does no harm, it is sorted out at the next opening.
    pub(super) fn remove(&self) {
        drop(self.disk.remove(&self.path));
    }

    /// Shows the positions of a key, newest first, until `visit` says stop; says whether it did.
    pub(super) fn visit(&self, key: u64, visit: &mut dyn FnMut(u64) -> bool) -> Result<bool, Damaged> {
        if !self.may_contain(key)? {
            return Ok(false);
        }
        if self.is_damaged() {
            return Err(Damaged);
        }
        let mut page = [0; PAGE];
        let mut behind = self.fences.partition_point(|fence| *fence <= key);
        while behind > 0 {
            let number = behind - 1;
            self.read_entries(number as u64, &mut page)?;
            let entries = self.entries_in(number as u64);
            let end = partition(entries, |index| entry_at(&page, index).key <= key);
            for index in (0..end).rev() {
                let entry = entry_at(&page, index);
                if entry.key != key {
                    return Ok(false);
                }
                if visit(entry.position) {
                    return Ok(true);
                }
            }
            behind = number;
        }
        Ok(false)
    }

    /// All entries in order, a stretch at a time.
    pub(super) fn entries(&self) -> Entries<'_> {
        Entries { table: self, next: 0, page: [0; PAGE], index: 0, end: 0 }
    }

    /// Reads all entries; whether they are whole and in order.
    pub(super) fn is_whole(&self) -> bool {
        let mut entries = self.entries();
        let mut last = None;
        loop {
            match entries.next() {
                Ok(Some(entry)) if last.is_none_or(|last| last <= entry) => last = Some(entry),
                Ok(None) => return true,
                Ok(Some(_)) | Err(Damaged) => return false,
            }
        }
    }

    fn may_contain(&self, key: u64) -> Result<bool, Damaged> {
        match &self.filter {
            HeldFilter::Memory(filter) => Ok(filter.may_contain(key)),
            HeldFilter::Disk => {
                let block = filter::block_of(key, filter::blocks_for(self.header.count));
                let [entries, fences, _] = self.header.pages();
                let mut page = [0; PAGE];
                self.read_page(1 + entries + fences + block / BLOCKS as u64, &mut page)?;
                let start = (block as usize % BLOCKS) * filter::BLOCK;
                Ok(filter::block_may_contain(&page[start..start + filter::BLOCK], key))
            }
        }
    }

    fn entries_in(&self, number: u64) -> usize {
        (self.header.count - number * ENTRIES as u64).min(ENTRIES as u64) as usize
    }

    /// Reads a page of entries, which begins with the key that its fence says.
    fn read_entries(&self, number: u64, page: &mut [u8; PAGE]) -> Result<(), Damaged> {
        self.read_page(1 + number, page)?;
        if entry_at(page, 0).key == self.fences[number as usize] { Ok(()) } else { Err(self.damage()) }
    }

    fn read_fences(&self) -> Result<Vec<u64>, Damaged> {
        let [entries, pages, _] = self.header.pages();
        let mut fences = Vec::with_capacity(entries as usize);
        let mut page = [0; PAGE];
        for number in 0..pages {
            self.read_page(1 + entries + number, &mut page)?;
            let left = entries as usize - fences.len();
            fences.extend(page[..PAYLOAD].chunks_exact(FENCE).take(left).map(six_bytes));
        }
        Ok(fences)
    }

    fn load_filter(&mut self) -> Result<(), Damaged> {
        let [entries, fences, pages] = self.header.pages();
        let mut bytes = Vec::with_capacity(pages as usize * PAGE);
        let mut page = [0; PAGE];
        for number in 0..pages {
            self.read_page(1 + entries + fences + number, &mut page)?;
            bytes.extend_from_slice(&page[..BLOCKS * filter::BLOCK]);
        }
        bytes.truncate(self.filter_size() as usize);
        self.filter = HeldFilter::Memory(Filter::from_bytes(bytes));
        Ok(())
    }

    fn read_page(&self, number: u64, page: &mut [u8; PAGE]) -> Result<(), Damaged> {
        let read = disk::read_exact(&*self.file, page, number * PAGE as u64);
        if read.is_ok() && page_is_whole(page, &self.header, number) { Ok(()) } else { Err(self.damage()) }
    }

    /// The table is of no use any more; without its file the next opening reads its stretch of the log again.
    fn damage(&self) -> Damaged {
        if !self.damaged.swap(true, Ordering::Relaxed) {
            tracing::warn!(table = %self.path.display(), "a table of keys is damaged: its stretch of the log is read again");
            self.remove();
        }
        Damaged
    }
}

/// The entries of a table in order.
pub(super) struct Entries<'a> {
    table: &'a Table,
    next: u64,
    page: [u8; PAGE],
    index: usize,
    end: usize,
}

impl Entries<'_> {
    /// The next entry, if there is one.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Damaged> {
        if self.index == self.end {
            if self.next == self.table.fences.len() as u64 {
                return Ok(None);
            }
            self.table.read_entries(self.next, &mut self.page)?;
            (self.index, self.end) = (0, self.table.entries_in(self.next));
            self.next += 1;
        }
        self.index += 1;
        Ok(Some(entry_at(&self.page, self.index - 1)))
    }
}

/// The first index of `0..length` for which `before` is false.
fn partition(length: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, length);
    while low < high {
        let middle = usize::midpoint(low, high);
        if before(middle) { low = middle + 1 } else { high = middle }
    }
    low
}
