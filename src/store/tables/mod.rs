//! Where the records of a key are: sorted tables beside the log, and what no table covers yet in memory.
//!
//! A table holds the keys of one stretch of the log; together the tables cover it from its beginning. All is derived
//! from the log: a table that is torn, foreign or out of line is removed, and its stretch is read again.
//! Only six bytes of a key are kept, so what is found are candidates: the caller compares the record itself.
//! Knows nothing of frames, of what a record says, or of when the log is synced. `docs/design/index.md`.

mod file;
mod filter;
mod memtable;
mod write;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::action::Position;
use crate::store::disk::{self, Disk};
use file::{Header, Table};
use memtable::Memtable;

/// From here on a table is written also during a build.
pub const FULL_MEMTABLE: usize = 256 * 1024;
/// At close, fewer keys than these are left to the next opening, which reads them from the log.
pub const WORTH_A_TABLE: usize = 4096;

/// So many tables of a tier are merged into one.
const FAN_IN: usize = 8;
/// A merged table has at most so many entries; one of half of them is merged no more.
const LARGEST: u64 = 16 << 20;
/// Entries of a table in the lowest tier; each further tier has eight times as many.
const LOWEST_TIER: u64 = 32 * 1024;
/// Bytes of filters in memory; those of the oldest tables beyond it are read from disk.
const FILTER_BUDGET: u64 = 32 << 20;

const KEY_MASK: u64 = (1 << 48) - 1;

/// A key's six high bytes and a position; in the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    key: u64,
    position: u64,
}

/// Spreads the bits of a key (the finisher of `splitmix64`), so that keys of few bits are as good as digests.
fn mix(key: u64) -> u64 {
    let hash = (key ^ key >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

/// A stretch of the log whose keys were lost with a damaged table, as `candidates` found out.
///
/// The caller reads that stretch of the log, inserts its keys, says [`Finder::refilled`] and asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its first position.
    pub from: Position,
    /// The first position behind it.
    pub to: Position,
}

/// Finds the positions of a key's records.
pub struct Finder {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    salt: u64,
    /// Oldest first; each begins where the one before it ends.
    tables: Vec<Arc<Table>>,
    /// What is being written as a table, and up to where that will cover the log.
    sealed: Option<(Arc<Memtable>, Position)>,
    memtable: Memtable,
    covered: Position,
    /// A [`Job`] is out.
    busy: bool,
    /// Keys of a table that was lost were inserted again, and lie in whichever table came next.
    refilled: bool,
}

impl Finder {
    /// Opens the tables in `dir`, and says up to which position they cover the log: what lies behind is to be inserted.
    /// Tables that are torn, of another store, or do not fit the others are removed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, salt: u64) -> Result<(Finder, Position)> {
        disk.create_dir(dir).map_err(|e| Error::io("create the folder", dir, &e))?;
        let mut found = Vec::new();
        for name in disk.list(dir).map_err(|e| Error::io("read the folder", dir, &e))? {
            let path = dir.join(name);
            match Table::open(&disk, &path, salt) {
                Some(table) => found.push(table),
                // It is derived data; if it cannot be removed it is refused again next time.
                None => drop(disk.remove(&path)),
            }
        }
        let tables = chain(found);
        let covered = tables.last().map_or(Position(0), Table::to);
        let mut finder = Finder {
            disk,
            dir: dir.to_owned(),
            salt,
            tables: tables.into_iter().map(Arc::new).collect(),
            sealed: None,
            memtable: Memtable::default(),
            covered,
            busy: false,
            refilled: false,
        };
        finder.keep_to_filter_budget();
        Ok((finder, covered))
    }

    /// Begins anew: for a log that is shorter than what the tables cover.
    pub fn fresh(disk: &Arc<dyn Disk>, dir: &Path, salt: u64) -> Result<Finder> {
        disk.remove_dir(dir).map_err(|e| Error::io("remove the folder", dir, &e))?;
        let finder = Finder::open(Arc::clone(disk), dir, salt)?.0;
        // Those of another log must not come back when this one has grown.
        let above = dir.parent().unwrap_or(dir);
        for dir in [dir, above] {
            disk.sync_dir(dir).map_err(|e| Error::io("sync the folder", dir, &e))?;
        }
        Ok(finder)
    }

    /// Remembers where a key's record is; positions come in growing order.
    pub fn insert(&mut self, key: u64, position: Position) {
        self.memtable.insert(Entry { key: key >> 16, position: position.0 });
    }

    /// Shows the positions at which the record of a key may be, newest first, until `visit` says stop (`true`).
    /// Positions of other keys may be among them. Says whether `visit` stopped.
    pub fn candidates(&self, key: u64, visit: &mut dyn FnMut(Position) -> bool) -> Result<bool, Hole> {
        self.candidates_since(key, Position(0), visit)
    }

    /// Like [`Self::candidates`], without the tables that end before `since`: a record is never older than its recipe.
    pub fn candidates_since(
        &self,
        key: u64,
        since: Position,
        visit: &mut dyn FnMut(Position) -> bool,
    ) -> Result<bool, Hole> {
        let key = key >> 16;
        let visit = &mut |position| visit(Position(position));
        if self.memtable.visit(key, visit) {
            return Ok(true);
        }
        if self.sealed.as_ref().is_some_and(|(sealed, _)| sealed.visit(key, visit)) {
            return Ok(true);
        }
        for table in self.tables.iter().rev().take_while(|table| table.to() > since) {
            if table.visit(key, visit).map_err(|_| self.hole_of(table))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What was lost with a table: the keys of its stretch, and what it may have of one that was lost before.
    fn hole_of(&self, table: &Table) -> Hole {
        let hole = table.hole();
        if self.refilled { Hole { from: Position(0), ..hole } } else { hole }
    }

    /// The keys of a hole were inserted again: its table is asked no more.
    pub fn refilled(&mut self, hole: Hole) {
        self.tables.retain(|table| !(table.is_damaged() && table.to() == hole.to));
        self.refilled = true;
    }

    /// How many keys no table covers.
    pub fn len_uncovered(&self) -> usize {
        self.memtable.len() + self.sealed.as_ref().map_or(0, |(sealed, _)| sealed.len())
    }

    /// Up to which position the tables cover the log.
    pub fn covered_to(&self) -> Position {
        self.covered
    }

    /// Writes what is uncovered as a table that ends at `to`, and merges what is due. Everything below `to` was
    /// inserted. To do the same beside the look-ups: [`Self::seal`], then [`Self::next_job`] until there is none.
    pub fn write_table(&mut self, to: Position) -> Result<()> {
        loop {
            while let Some(job) = self.next_job() {
                let made = job.run();
                self.install(made)?;
            }
            if self.busy || !self.seal(to) {
                return Ok(());
            }
        }
    }

    /// Sets aside what is uncovered below `to` to become a table that ends there; it is still found.
    /// Says whether it could: not while the last one is not written yet, nor when `to` covers nothing new.
    pub fn seal(&mut self, to: Position) -> bool {
        if self.sealed.is_some() || to <= self.covered {
            return false;
        }
        // What lies behind belongs to the next table: whoever fills the hole that this one leaves does not look there.
        let below = self.memtable.split_at(to.0);
        let possible = below.len() > 0;
        if possible {
            self.sealed = Some((Arc::new(below), to));
        }
        possible
    }

    /// The next work to be done on the tables, if there is any and none is under way. It may run on any thread; its
    /// result goes to [`Self::install`].
    pub fn next_job(&mut self) -> Option<Job> {
        if self.busy {
            return None;
        }
        let work = match &self.sealed {
            Some((sealed, to)) => Work::Write { sealed: sealed.clone(), from: self.covered, to: *to },
            None => Work::Merge(self.tables[self.due_for_merging()?].to_vec()),
        };
        self.busy = true;
        Some(Job { disk: Arc::clone(&self.disk), dir: self.dir.clone(), salt: self.salt, work })
    }

    /// Takes over what a job made. After an error the work is still due, and nothing is lost.
    pub fn install(&mut self, made: Result<Made>) -> Result<()> {
        self.busy = false;
        // Without a table, one of those to be merged turned out damaged: whoever asks it next is told of the hole.
        let Some(table) = made?.0 else { return Ok(()) };
        if table.from() == self.covered {
            self.sealed = None;
            self.covered = table.to();
        }
        let within = |old: &Arc<Table>| old.from() >= table.from() && old.to() <= table.to();
        let at = self.tables.iter().position(within).unwrap_or(self.tables.len());
        self.tables.iter().filter(|old| within(old)).for_each(|old| old.remove());
        self.tables.retain(|old| !within(old));
        self.tables.insert(at, Arc::new(table));
        self.keep_to_filter_budget();
        Ok(())
    }

    /// The tables that are merged next: the newest run of a tier and those below it, if there are eight.
    fn due_for_merging(&self) -> Option<std::ops::Range<usize>> {
        let end = self.tables.len();
        for tier in 0.. {
            let most = (LOWEST_TIER << (3 * tier)).min(LARGEST / 2);
            let mut start = end;
            while start > 0 && self.may_merge(start - 1, most) {
                start -= 1;
            }
            if end - start >= FAN_IN {
                let mut sum = 0;
                let fits = self.tables[start..].iter().take_while(|table| {
                    sum += table.count();
                    sum <= LARGEST
                });
                return Some(start..start + fits.count());
            }
            if most == LARGEST / 2 {
                break;
            }
        }
        None
    }

    /// Whether a table is whole, small enough, and followed without a gap.
    fn may_merge(&self, index: usize, most: u64) -> bool {
        let table = &self.tables[index];
        let followed = self.tables.get(index + 1).is_none_or(|next| next.from() == table.to());
        followed && table.count() < most && !table.is_damaged()
    }

    /// Leaves the filters of the oldest tables on disk where all would take too much memory.
    fn keep_to_filter_budget(&mut self) {
        let mut sum = 0;
        for table in self.tables.iter_mut().rev() {
            sum += table.filter_size();
            if sum > FILTER_BUDGET
                && let Some(table) = Arc::get_mut(table)
            {
                table.unload_filter();
            }
        }
    }
}

/// Reads every table in `dir`; how many there are, and which of them are damaged. Those are removed: the next opening
/// reads their stretches of the log again.
pub fn examine(disk: &Arc<dyn Disk>, dir: &Path, salt: u64) -> Result<(u64, Vec<PathBuf>)> {
    let mut count = 0;
    let mut damaged = Vec::new();
    for name in disk.list(dir).map_err(|e| Error::io("read the folder", dir, &e))? {
        let path = dir.join(name);
        count += 1;
        let is_whole = Table::open(disk, &path, salt).is_some_and(|table| table.is_whole());
        if !is_whole {
            disk::remove_optional(&**disk, &path).map_err(|e| Error::io("remove", &path, &e))?;
            damaged.push(path);
        }
    }
    damaged.sort();
    Ok((count, damaged))
}

/// The tables that cover the log from its beginning without a gap, the largest of those that begin alike; the others
/// are removed.
fn chain(mut found: Vec<Table>) -> Vec<Table> {
    found.sort_by_key(|table| (table.from(), std::cmp::Reverse(table.to())));
    let mut tables: Vec<Table> = Vec::new();
    for table in found {
        if table.from() == tables.last().map_or(Position(0), Table::to) {
            tables.push(table);
        } else {
            table.remove();
        }
    }
    tables
}

/// Work on the tables: one is written, or several are merged.
pub struct Job {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    salt: u64,
    work: Work,
}

enum Work {
    Write { sealed: Arc<Memtable>, from: Position, to: Position },
    Merge(Vec<Arc<Table>>),
}

/// What a [`Job`] made.
pub struct Made(Option<Table>);

impl Job {
    /// Does the work: 0.15 µs a key, reading and writing only the tables' files.
    pub fn run(self) -> Result<Made> {
        let Job { disk, dir, salt, work } = self;
        match work {
            Work::Write { sealed, from, to } => {
                let header = Header { salt, from, to, count: sealed.len() as u64 };
                write::write(&disk, &dir, header, &sealed.sorted()).map(|table| Made(Some(table)))
            }
            Work::Merge(tables) => {
                let count = tables.iter().map(|table| table.count()).sum();
                let from = tables.first().map_or(Position(0), |table| table.from());
                let to = tables.last().map_or(Position(0), |table| table.to());
                let header = Header { salt, from, to, count };
                write::merge(&disk, &dir, header, tables.iter().map(Arc::as_ref)).map(Made)
            }
        }
    }
}
