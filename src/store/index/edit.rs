//! Changing pages: entries are merged in, pages are split when they grow and joined when they shrink.
//!
//! A directory's pages divide its names among themselves: a page holds the names from its own lowest name up to the
//! next page's. Each round reads a page once and writes what became of it once; where that is more than one page, all
//! or nothing is written, so that a kill leaves no name twice.

use super::database::{Bytes, Database, Space};
use super::page::{Encoder, Entry, Page, Sums};
use super::{Unusable, key};

/// What pages are filled to when one is divided.
const TARGET: usize = 4096;
/// A page above this is divided.
const SPLIT_ABOVE: usize = 6 * 1024;
/// A page below this is joined with the one beside it.
const JOIN_BELOW: usize = 1536;
/// No page is larger, except for a single entry: sled puts larger values into files of their own.
const LARGEST: usize = 7 * 1024;
/// More than what an entry takes beside its name.
const ENTRY: usize = 48;
/// So many changes are made in one round: it bounds what is written at once, and how many entries a page can get.
const ROUND: usize = 1024;

/// A name, and the entry that it gets; none: it is removed.
pub(super) type Edit<'a> = (&'a str, Option<&'a Entry>);

/// What became of the counts over a directory.
#[derive(Default)]
pub(super) struct Recount {
    /// Of pages that are no more.
    pub(super) old: Sums,
    /// Of those in their place.
    pub(super) new: Sums,
}

/// Neighbouring pages that are rewritten together.
struct Stretch {
    /// What they had; the key of the first stays.
    old: Vec<(Bytes, Bytes)>,
    entries: Vec<Entry>,
    /// The page behind them.
    next: Option<(Bytes, Bytes)>,
}

/// Makes changes to one directory, whose first page has the key `first`. Calls `before_writing` before the first write.
pub(super) fn apply(
    database: &dyn Database,
    first: &[u8],
    mut edits: Vec<Edit<'_>>,
    before_writing: &mut dyn FnMut() -> Result<(), Unusable>,
) -> Result<Recount, Unusable> {
    let mut recount = Recount::default();
    // The last one of a name counts: reversed, sorting keeps it in front of the earlier ones.
    edits.reverse();
    edits.sort_by_key(|(name, _)| *name);
    edits.dedup_by_key(|(name, _)| *name);
    let mut rest = &edits[..];
    while let Some((name, _)) = rest.first() {
        let mut stretch = Stretch::at(database, first, name)?;
        let end = stretch.next.as_ref().map(|(key, _)| &key[first.len()..]);
        let inside =
            rest.iter().take(ROUND).take_while(|(name, _)| end.is_none_or(|end| name.as_bytes() < end));
        let (now, later) = rest.split_at(inside.count().max(1));
        rest = later;
        stretch.merge(now);
        stretch.widen(database, first)?;
        stretch.write(database, first, before_writing, &mut recount)?;
    }
    Ok(recount)
}

impl Stretch {
    /// The page that a name belongs to.
    fn at(database: &dyn Database, first: &[u8], name: &str) -> Result<Self, Unusable> {
        let place = key::page(first, name);
        let page = database.at_or_before(Space::Pages, &place)?.filter(|(key, _)| key.starts_with(first));
        let next = neighbour(database.after(Space::Pages, &place)?, first);
        let mut stretch = Stretch { old: Vec::new(), entries: Vec::new(), next };
        if let Some((key, bytes)) = page {
            Page::open(&key, &bytes)?.read_all(&mut stretch.entries)?;
            stretch.old.push((key, bytes));
        }
        Ok(stretch)
    }

    /// Merges changes in; both are sorted by name.
    fn merge(&mut self, edits: &[Edit<'_>]) {
        let mut old = std::mem::take(&mut self.entries).into_iter().peekable();
        self.entries.reserve(old.len() + edits.len());
        for (name, entry) in edits {
            while let Some(before) = old.next_if(|old| old.name.as_str() < *name) {
                self.entries.push(before);
            }
            old.next_if(|old| old.name == *name);
            self.entries.extend(entry.cloned());
        }
        self.entries.extend(old);
    }

    /// Takes in the pages beside it while it is too small for a page of its own.
    fn widen(&mut self, database: &dyn Database, first: &[u8]) -> Result<(), Unusable> {
        while self.is_small() {
            if let Some((key, bytes)) = self.next.take() {
                Page::open(&key, &bytes)?.read_all(&mut self.entries)?;
                self.next = neighbour(database.after(Space::Pages, &key)?, first);
                self.old.push((key, bytes));
                continue;
            }
            let Some((lowest, _)) = self.old.first() else { break };
            let Some((key, bytes)) = neighbour(database.before(Space::Pages, lowest)?, first) else { break };
            let mut entries = Vec::new();
            Page::open(&key, &bytes)?.read_all(&mut entries)?;
            entries.append(&mut self.entries);
            self.entries = entries;
            self.old.insert(0, (key, bytes));
        }
        Ok(())
    }

    fn is_small(&self) -> bool {
        let mut encoder = Encoder::new();
        self.entries.iter().all(|entry| {
            encoder.push(entry);
            encoder.len() < JOIN_BELOW
        })
    }

    /// Writes what became of the pages.
    fn write(
        self,
        database: &dyn Database,
        first: &[u8],
        before_writing: &mut dyn FnMut() -> Result<(), Unusable>,
        recount: &mut Recount,
    ) -> Result<(), Unusable> {
        let lowest = self.old.first().map_or(first, |(key, _)| key);
        let mut new = pages(&self.entries, lowest, first);
        for (key, bytes) in &self.old {
            recount.old.add(Page::open(key, bytes)?.sums());
        }
        for (key, bytes) in &new {
            recount.new.add(Page::open(key, bytes)?.sums());
        }
        let gone: Vec<Bytes> = self
            .old
            .iter()
            .filter(|(key, _)| !new.iter().any(|(kept, _)| kept[..] == key[..]))
            .map(|(key, _)| key.clone())
            .collect();
        new.retain(|(key, bytes)| !self.old.iter().any(|(old, before)| old == key && before == bytes));
        if new.is_empty() && gone.is_empty() {
            return Ok(());
        }
        before_writing()?;
        match (&mut new[..], &gone[..]) {
            ([(key, bytes)], []) => database.insert(Space::Pages, key, std::mem::take(bytes)),
            ([], [key]) => database.remove(Space::Pages, key),
            _ => database.replace(Space::Pages, &gone, new),
        }
    }
}

/// A page, if it is of the same directory.
fn neighbour(page: Option<(Bytes, Bytes)>, first: &[u8]) -> Option<(Bytes, Bytes)> {
    page.filter(|(key, _)| key.starts_with(first))
}

/// Entries as pages of about equal size: one, unless that would be too large.
fn pages(entries: &[Entry], lowest: &[u8], first: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut whole = Encoder::new();
    let mut ends = Vec::with_capacity(entries.len());
    for entry in entries {
        whole.push(entry);
        ends.push(whole.len());
    }
    if entries.is_empty() {
        return Vec::new();
    }
    if whole.len() <= SPLIT_ABOVE {
        return vec![(lowest.to_vec(), whole.finish(lowest))];
    }
    let count = whole.len().div_ceil(TARGET);
    let mut pages = Vec::with_capacity(count);
    let mut page = Encoder::new();
    let mut key = lowest.to_vec();
    for (index, entry) in entries.iter().enumerate() {
        let before = index.checked_sub(1).map_or(0, |before| ends[before]);
        let due = before >= whole.len() * (pages.len() + 1) / count;
        if !page.is_empty() && (due || page.len() + entry.name.len() + ENTRY > LARGEST) {
            let full = std::mem::replace(&mut page, Encoder::new()).finish(&key);
            pages.push((std::mem::replace(&mut key, key::page(first, &entry.name)), full));
        }
        page.push(entry);
    }
    pages.push((key.clone(), page.finish(&key)));
    pages
}
