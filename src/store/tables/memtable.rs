//! The newest keys, in memory: what no table covers yet. Knows nothing of files.
//!
//! Entries lie in the order of their arrival; a hash table holds the newest of each bucket, and every entry names the
//! one before it. So a chain gives the newest first, and any number of entries of one key costs the same.

use super::{Entry, KEY_MASK, mix};

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// Buckets of the smallest table.
const SMALLEST: usize = 1024;

/// Keys and positions in the order of their arrival.
#[derive(Default)]
pub(super) struct Memtable {
    /// `key 48 | position 48 | index of the entry before it in the chain 32`.
    entries: Vec<u128>,
    /// The newest entry of each bucket; a power of two.
    heads: Vec<u32>,
}

impl Memtable {
    /// Adds an entry, newer than all before it.
    pub(super) fn insert(&mut self, entry: Entry) {
        if self.entries.len() >= self.heads.len() {
            self.grow();
        }
        let index = self.entries.len() as u32;
        let bucket = bucket(entry.key, self.heads.len());
        let head = &mut self.heads[bucket];
        self.entries.push(pack(entry, *head));
        *head = index;
    }

    /// Shows the positions of a key, newest first, until `visit` says stop; says whether it did.
    pub(super) fn visit(&self, key: u64, visit: &mut dyn FnMut(u64) -> bool) -> bool {
        if self.heads.is_empty() {
            return false;
        }
        let mut next = self.heads[bucket(key, self.heads.len())];
        while next != NONE {
            let packed = self.entries[next as usize];
            let entry = unpack(packed);
            if entry.key == key && visit(entry.position) {
                return true;
            }
            next = packed as u32;
        }
        false
    }

    /// Takes the entries below a position out; those at it and behind stay.
    pub(super) fn split_at(&mut self, position: u64) -> Memtable {
        // Most often all are below.
        if self.entries.iter().all(|packed| unpack(*packed).position < position) {
            return std::mem::take(self);
        }
        let (mut below, mut behind) = (Memtable::default(), Memtable::default());
        for packed in std::mem::take(&mut self.entries) {
            let entry = unpack(packed);
            if entry.position < position { below.insert(entry) } else { behind.insert(entry) }
        }
        *self = behind;
        below
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// All entries in the order of tables.
    pub(super) fn sorted(&self) -> Vec<Entry> {
        let mut entries: Vec<Entry> = self.entries.iter().map(|packed| unpack(*packed)).collect();
        entries.sort_unstable();
        entries
    }

    /// Twice as many buckets; every chain is linked anew in the order of arrival.
    fn grow(&mut self) {
        let buckets = (self.heads.len() * 2).max(SMALLEST);
        self.heads = vec![NONE; buckets];
        for (index, packed) in self.entries.iter_mut().enumerate() {
            let entry = unpack(*packed);
            let head = &mut self.heads[bucket(entry.key, buckets)];
            *packed = pack(entry, *head);
            *head = index as u32;
        }
    }
}

fn bucket(key: u64, buckets: usize) -> usize {
    mix(key) as usize & (buckets - 1)
}

fn pack(entry: Entry, before: u32) -> u128 {
    u128::from(entry.key & KEY_MASK) << 80 | u128::from(entry.position & KEY_MASK) << 32 | u128::from(before)
}

fn unpack(packed: u128) -> Entry {
    Entry { key: (packed >> 80) as u64, position: (packed >> 32) as u64 & KEY_MASK }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_positions_of_a_key_come_newest_first() {
        let mut table = Memtable::default();
        for position in 1..5000 {
            table.insert(Entry { key: position % 7, position });
        }
        let mut seen = Vec::new();
        assert!(!table.visit(3, &mut |position| {
            seen.push(position);
            false
        }));
        assert_eq!(seen, (1..5000).rev().filter(|n| n % 7 == 3).collect::<Vec<_>>());
        let mut first = None;
        assert!(table.visit(3, &mut |position| first.replace(position).is_none()));
        assert_eq!(first, seen.first().copied());
    }
}
