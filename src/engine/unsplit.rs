//! Documents that could not be split: their children are unknown, so each counts as one member that is missing.
//!
//! Those whose children are known from before are counted by these, which are blocked. Reads the stories of documents
//! with failures alone.

use crate::engine::sets::{Coverage, Streams, before, id_of};
use crate::error::Result;
use crate::model::action::State;
use crate::model::pipeline::Target;
use crate::plan::family::FamilyIx;
use crate::store::Entry;

impl Streams<'_> {
    /// Counts the documents that should have been split on the way to a target, and were not.
    pub(super) fn count_unsplit(&self, target: &Target, coverage: &mut Coverage) -> Result<()> {
        for (ix, _) in self.families_of(target) {
            self.unsplit(ix, coverage)?;
        }
        Ok(())
    }

    fn unsplit(&self, children: FamilyIx, coverage: &mut Coverage) -> Result<()> {
        for parents in self.families.parents(children) {
            let family = self.families.family(parents);
            let Some(split) = family.splits.iter().find(|split| split.family == children) else { continue };
            let name = &self.pipeline.target(family.steps[split.step].target).name;
            let mut failed = None;
            self.store.scan(&family.name, &mut |dir, entry| {
                let is_whole = entry.flags.settled && !entry.flags.failed && !entry.flags.blocked;
                if !entry.flags.gone && !is_whole {
                    failed = self.count_one((parents, children), dir, entry, name, coverage).err();
                }
                failed.is_none()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
            self.unsplit(parents, coverage)?;
        }
        Ok(())
    }

    fn count_one(
        &self,
        (parents, children): (FamilyIx, FamilyIx),
        dir: &str,
        entry: &Entry,
        split: &str,
        coverage: &mut Coverage,
    ) -> Result<()> {
        let id = id_of(&self.families.family(parents).name, dir, &entry.name);
        if self.only.is_some_and(|only| !only(&id)) {
            return Ok(());
        }
        let Some(told) = before(self.store, entry.story)? else { return Ok(()) };
        let state = told.entry(split).map_or(State::Unfinished, |entry| entry.state);
        if !matches!(state, State::Failed | State::Blocked | State::Unfinished) {
            return Ok(());
        }
        let known = self.store.directory(&self.families.family(children).name, &format!("{id}#"))?;
        if state == State::Unfinished {
            coverage.unfinished += 1;
        } else if known.iter().all(|entry| entry.flags.gone) {
            coverage.missing += 1;
        }
        Ok(())
    }
}
