//! Writing a table: from the memtable, or from several tables merged. Knows nothing of when that is worth it.
//!
//! A table is written beside its name and renamed. Nothing is synced: what a power cut tears does not pass its
//! checksums, and is built again from the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Entry;
use super::file::{
    Damaged, ENTRIES, ENTRY, Entries, Header, PAGE, Table, close_page, pages_behind, put_entry,
};
use super::filter::Filter;
use crate::error::{Error, Result};
use crate::store::disk::{self, Disk, DiskFile};

/// So many bytes are written at once.
const BUFFER: usize = 16 * PAGE;

/// A table being written; entries come in order, as many as the header says.
pub(super) struct Writer {
    header: Header,
    path: PathBuf,
    temporary: PathBuf,
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    /// What is not written yet, and where it goes.
    buffer: Vec<u8>,
    offset: u64,
    page: [u8; PAGE],
    filled: usize,
    pages: u64,
    fences: Vec<u64>,
    filter: Filter,
}

impl Writer {
    /// Begins a table.
    pub(super) fn create(disk: &Arc<dyn Disk>, dir: &Path, header: Header) -> Result<Self> {
        let path = dir.join(header.file_name());
        let temporary = path.with_extension("tmp");
        let file = disk::remove_optional(&**disk, &temporary)
            .and_then(|()| disk.create(&temporary))
            .map_err(|e| Error::io("create", &temporary, &e))?;
        let mut writer = Writer {
            header,
            path,
            temporary,
            disk: Arc::clone(disk),
            file,
            buffer: Vec::with_capacity(BUFFER),
            offset: 0,
            page: [0; PAGE],
            filled: 0,
            pages: 1,
            fences: Vec::new(),
            filter: Filter::for_keys(header.count),
        };
        let first = header.encode();
        writer.write(&first)?;
        Ok(writer)
    }

    /// Adds the next entry.
    pub(super) fn push(&mut self, entry: Entry) -> Result<()> {
        if self.filled == 0 {
            self.fences.push(entry.key);
        }
        put_entry(entry, &mut self.page[self.filled * ENTRY..(self.filled + 1) * ENTRY]);
        self.filter.insert(entry.key);
        self.filled += 1;
        if self.filled == ENTRIES { self.close_entries() } else { Ok(()) }
    }

    /// Gives the table its name.
    pub(super) fn finish(self) -> Result<Table> {
        let (disk, temporary) = (Arc::clone(&self.disk), self.temporary.clone());
        let finished = self.close();
        if finished.is_err() {
            drop(disk.remove(&temporary));
        }
        finished
    }

    fn close(mut self) -> Result<Table> {
        if self.filled > 0 {
            self.close_entries()?;
        }
        for mut page in pages_behind(&self.fences, &self.filter) {
            close_page(&mut page, &self.header, self.pages);
            self.pages += 1;
            self.write(&page)?;
        }
        self.write_out()?;
        let Writer { header, path, temporary, disk, file, fences, filter, .. } = self;
        disk.rename(&temporary, &path).map_err(|e| Error::io("replace", &path, &e))?;
        Ok(Table::written(header, disk, path, file, fences, filter))
    }

    /// Gives up and leaves nothing behind.
    pub(super) fn abandon(self) {
        drop(self.disk.remove(&self.temporary));
    }

    fn close_entries(&mut self) -> Result<()> {
        let mut page = std::mem::replace(&mut self.page, [0; PAGE]);
        close_page(&mut page, &self.header, self.pages);
        (self.filled, self.pages) = (0, self.pages + 1);
        self.write(&page)
    }

    fn write(&mut self, page: &[u8; PAGE]) -> Result<()> {
        self.buffer.extend_from_slice(page);
        if self.buffer.len() < BUFFER { Ok(()) } else { self.write_out() }
    }

    fn write_out(&mut self) -> Result<()> {
        self.file
            .write_at(&[&self.buffer], self.offset)
            .map_err(|e| Error::io("write", &self.temporary, &e))?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

/// Writes one table of sorted entries.
pub(super) fn write(disk: &Arc<dyn Disk>, dir: &Path, header: Header, entries: &[Entry]) -> Result<Table> {
    let mut writer = Writer::create(disk, dir, header)?;
    for entry in entries {
        if let Err(error) = writer.push(*entry) {
            writer.abandon();
            return Err(error);
        }
    }
    writer.finish()
}

/// Merges tables into one, page by page, keeping all entries; nothing if one of them turns out damaged.
pub(super) fn merge<'a>(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    header: Header,
    tables: impl Iterator<Item = &'a Table>,
) -> Result<Option<Table>> {
    let mut writer = Writer::create(disk, dir, header)?;
    match merge_into(&mut writer, tables) {
        Ok(true) => writer.finish().map(Some),
        Ok(false) => {
            writer.abandon();
            Ok(None)
        }
        Err(error) => {
            writer.abandon();
            Err(error)
        }
    }
}

/// Says whether all could be read.
fn merge_into<'a>(writer: &mut Writer, tables: impl Iterator<Item = &'a Table>) -> Result<bool> {
    let begun: Result<Vec<(Entry, Entries<'a>)>, Damaged> = tables
        .filter_map(|table| {
            let mut entries = table.entries();
            entries.next().map(|first| first.map(|entry| (entry, entries))).transpose()
        })
        .collect();
    let Ok(mut heads) = begun else { return Ok(false) };
    // At most a dozen heads: looking at each is as quick as a heap.
    while let Some(least) = (0..heads.len()).min_by_key(|index| heads[*index].0) {
        writer.push(heads[least].0)?;
        match heads[least].1.next() {
            Ok(Some(entry)) => heads[least].0 = entry,
            Ok(None) => drop(heads.swap_remove(least)),
            Err(Damaged) => return Ok(false),
        }
    }
    Ok(true)
}
