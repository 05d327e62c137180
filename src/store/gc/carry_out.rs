//! Carrying a plan out, in an order in which a kill at any moment leaves a valid store.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::error::{Error, Result};
use crate::model::action::Position;
use crate::store::disk::Disk;
use crate::store::facade::Store;
use crate::store::frame::Kind;
use crate::store::gc::plan::Plan;
use crate::store::gc::report::Report;
use crate::store::gc::rewrite;
use crate::store::recover::Reading;
use crate::store::reserve::Reserve;
use crate::store::tables::{FULL_MEMTABLE, Finder};

impl Plan {
    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        self.chosen.is_empty() && self.blobs.is_empty() && self.other.is_empty() && !self.forgets()
    }

    /// Whether the index forgets documents.
    fn forgets(&self) -> bool {
        self.report.forgotten > 0 || !self.report.dropped.is_empty()
    }

    /// Does it. The store may be asked meanwhile, and by nobody else written.
    ///
    /// # Errors
    ///
    /// If something cannot be written: what was done until then is done, and the store is valid.
    pub fn carry_out(self, store: &Store, tell: &mut dyn FnMut(&str, u64, u64)) -> Result<Report> {
        let disk = Arc::clone(store.log.segments().disk());
        self.carry_out_on(store, &disk, tell)
    }

    /// The same with the files of another disk, for tests that make one fail.
    pub(super) fn carry_out_on(
        mut self,
        store: &Store,
        disk: &Arc<dyn Disk>,
        tell: &mut dyn FnMut(&str, u64, u64),
    ) -> Result<Report> {
        if store.appended() != self.end {
            return Err(Error::unfinished("the store was written to meanwhile").hint("pipe gc"));
        }
        if self.is_empty() {
            return Ok(self.report);
        }
        // Where the disk is full there must be room to make room; the next build takes the reserve again.
        Reserve::new(Arc::clone(disk), store.dir()).release();
        self.other.remove(disk)?;
        self.forget(store)?;
        // The last segment is never both appended to and written anew.
        if self.chosen.contains(&self.end.segment()) {
            store.log.seal()?;
        }
        self.bad.iter().try_for_each(|at| store.mark_bad(*at))?;
        store.flush()?;
        let segments = store.log.segments();
        let reading = Reading::new(segments, self.end)?;
        let total = self.chosen.len() as u64;
        for (done, number) in self.chosen.iter().enumerate() {
            tell("segments", done as u64, total);
            let Some(segment) = self.segments.remove(number) else { continue };
            rewrite::rewrite(disk, store.dir(), segments, &reading, *number, &segment, &self.exceptions)?;
        }
        if self.new_tables {
            tell("tables", 0, 0);
            store.make_tables_anew()?;
        }
        tell("blobs", 0, self.blobs.len() as u64);
        for digest in &self.blobs {
            store.blobs.remove_on(&**disk, digest)?;
        }
        Ok(self.report)
    }

    /// The index forgets first: it must not name what is gone.
    fn forget(&self, store: &Store) -> Result<()> {
        let mut emptied = Vec::new();
        for family in store.families() {
            let mut by_folder: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let mut is_empty = true;
            if self.forgets() {
                store.scan(&family, &mut |dir, entry| {
                    if self.forgotten.get(entry.doc.0 as usize) {
                        by_folder.entry(dir.to_owned()).or_default().push(entry.name.clone());
                    } else {
                        is_empty = false;
                    }
                    true
                })?;
                if is_empty {
                    emptied.push(family.clone());
                }
            }
            for (dir, names) in by_folder {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                store.index.remove(&family, &dir, &names)?;
            }
        }
        store.forget_places(&self.unremembered, &emptied);
        store.checkpoint()
    }
}

impl Store {
    /// What lies at these places is about to go.
    fn forget_places(&self, gone: &HashSet<Position>, families: &[String]) {
        self.recipes.forget(gone);
        self.loads.forget(gone);
        self.definitions.forget(gone);
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).retain(|(at, _)| !gone.contains(at));
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).retain(|at| !gone.contains(at));
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).retain(|at| !gone.contains(at));
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).retain(|at| !gone.contains(at));
        self.families
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|family| !families.contains(family));
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.touched.store(true, Ordering::Relaxed);
    }

    /// Makes all tables of keys again from the log.
    fn make_tables_anew(&self) -> Result<()> {
        let mut finder = {
            let disk = Arc::clone(self.log.segments().disk());
            Finder::fresh(&disk, &self.dir.join("tables"), self.format.salt)?
        };
        let mut failed = Ok(());
        self.log.replay(Position(0), &mut |_, frame| {
            if failed.is_err() || frame.kind != Kind::Act {
                return;
            }
            if let Some(key) = frame.body.first_chunk() {
                finder.insert(u64::from_le_bytes(*key), frame.position);
            }
            if finder.len_uncovered() >= FULL_MEMTABLE {
                failed = finder.write_table(Position(frame.position.0 + 1));
            }
        })?;
        failed?;
        *self.finder.lock().unwrap_or_else(PoisonError::into_inner) = finder;
        Ok(())
    }
}
