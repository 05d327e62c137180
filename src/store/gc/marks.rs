//! Positions that something kept refers to, gathered by segment until that segment's turn comes. What does not fit in
//! memory waits in `tmp/`, so that memory does not grow with the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::action::Position;
use crate::store::disk::{self, Disk, DiskFile};

/// So many positions are held in memory, 8 bytes each.
const IN_MEMORY: usize = 4 << 20;

/// For as long as nothing else is said: whatever the history that is kept.
pub(super) const ALWAYS: u32 = u32::MAX;

/// An offset in a segment, and the last run for whose sake it is kept.
pub(super) type Mark = (u32, u32);

/// See the module's text.
pub(super) struct Marks {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    held: BTreeMap<u32, Vec<Mark>>,
    count: usize,
    limit: usize,
    spilled: BTreeMap<u32, (Arc<dyn DiskFile>, u64)>,
}

impl Marks {
    /// None yet. `dir` is the store's `tmp/`.
    pub(super) fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        let dir = dir.to_owned();
        Marks { disk, dir, held: BTreeMap::new(), count: 0, limit: IN_MEMORY, spilled: BTreeMap::new() }
    }

    /// What lies at a position is kept as long as anything superseded in `run` is.
    pub(super) fn add(&mut self, position: Position, run: u32) -> Result<()> {
        if run == 0 {
            return Ok(());
        }
        self.held.entry(position.segment()).or_default().push((position.offset(), run));
        self.count += 1;
        if self.count < self.limit {
            return Ok(());
        }
        self.count = 0;
        std::mem::take(&mut self.held).into_iter().try_for_each(|(number, marks)| self.spill(number, &marks))
    }

    fn path(&self, number: u32) -> PathBuf {
        self.dir.join(format!("marks-{number:06}"))
    }

    fn spill(&mut self, number: u32, marks: &[Mark]) -> Result<()> {
        let bytes: Vec<u8> = marks
            .iter()
            .flat_map(|(offset, run)| [offset.to_le_bytes(), run.to_le_bytes()].concat())
            .collect();
        let path = self.path(number);
        let (file, length) = match self.spilled.remove(&number) {
            Some(open) => open,
            None => {
                let create = disk::remove_optional(&*self.disk, &path).and_then(|()| self.disk.create(&path));
                (create.map_err(|e| Error::io("write", &path, &e))?, 0)
            }
        };
        file.write_at(&[&bytes], length).map_err(|e| Error::io("write", &path, &e))?;
        self.spilled.insert(number, (file, length + bytes.len() as u64));
        Ok(())
    }

    /// What was gathered for a segment: each offset once, in order, with the latest run.
    pub(super) fn take(&mut self, number: u32) -> Result<Vec<Mark>> {
        let mut marks = self.held.remove(&number).unwrap_or_default();
        self.count = self.count.saturating_sub(marks.len());
        if let Some((file, length)) = self.spilled.remove(&number) {
            let path = self.path(number);
            let mut bytes = vec![0; length as usize];
            let read = file.read_at(&mut bytes, 0).map_err(|e| Error::io("read", &path, &e))?;
            if read < bytes.len() {
                return Err(Error::unfinished(format!("`{}` was cut off", path.display())).hint("pipe gc"));
            }
            let field = |at: &[u8]| u32::from_le_bytes([at[0], at[1], at[2], at[3]]);
            marks.extend(bytes.chunks_exact(8).map(|mark| (field(mark), field(&mark[4..]))));
            disk::remove_optional(&*self.disk, &path).map_err(|e| Error::io("remove", &path, &e))?;
        }
        marks.sort_unstable_by_key(|(offset, run)| (*offset, std::cmp::Reverse(*run)));
        marks.dedup_by_key(|(offset, _)| *offset);
        Ok(marks)
    }
}

/// Bits by number.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, number: usize) -> bool {
        self.0.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Sets a bit; whether it was not set before.
    pub(super) fn set(&mut self, number: usize) -> bool {
        let place = number / 64;
        if self.0.len() <= place {
            self.0.resize(place + 1, 0);
        }
        let bit = 1 << (number % 64);
        let is_new = self.0[place] & bit == 0;
        self.0[place] |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    #[test]
    fn what_was_spilled_comes_back_with_what_was_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut marks = Marks { limit: 3, ..Marks::new(Arc::new(RealDisk), dir.path()) };
        for (segment, offset, run) in
            [(1, 9, 4), (2, 5, 1), (1, 3, 2), (1, 9, 7), (1, 1, 0), (2, 5, 1), (1, 3, 1), (1, 20, ALWAYS)]
        {
            marks.add(Position::new(segment, offset), run).unwrap();
        }
        assert_eq!(crate::fs::files_below(dir.path()).unwrap().len(), 2);
        assert_eq!(marks.take(1).unwrap(), [(3, 2), (9, 7), (20, ALWAYS)]);
        assert_eq!(marks.take(2).unwrap(), [(5, 1)]);
        assert_eq!(marks.take(3).unwrap(), []);
        assert_eq!(crate::fs::files_below(dir.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_bit_is_new_once() {
        let mut bits = Bits::default();
        assert!(bits.set(100) && !bits.set(100) && bits.set(3));
        assert_eq!([3, 4, 100, 5000].map(|bit| bits.get(bit)), [true, false, true, false]);
    }
}
