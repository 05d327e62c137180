//! Documents that could not be split: their children are unknown, so each counts as one member that is missing.
//!
//! Those whose children are known from before are counted by these, which are blocked. Reads the stories of documents
//! with failures alone.

use crate::engine::members::visit_group;
use crate::engine::sets::{Coverage, Streams, before, id_of};
use crate::error::Result;
use crate::model::action::State;
use crate::model::pipeline::Target;
use crate::plan::family::{FamilyIx, Input};
use crate::store::Entry;

impl Streams<'_> {
    /// What stands behind the first member of a target that failed or is blocked: `text failed on inbox/a.pdf`.
    pub(super) fn first_missing(&self, target: &Target) -> Result<Option<String>> {
        let step_of = |place: &Input| if let Input::Step(step) = place { Some(*step) } else { None };
        let families: Vec<(FamilyIx, Vec<usize>)> = self
            .families_of(target)
            .into_iter()
            .map(|(ix, places)| (ix, places.iter().filter_map(step_of).collect()))
            .collect();
        let mut first = None;
        if let Some(group) = self.group {
            visit_group(group, &mut |ix, dir, name, _| {
                if let (None, Some((_, steps))) = (&first, families.iter().find(|(family, _)| *family == ix))
                    && let Some(entry) = self.store.entry(&self.families.family(ix).name, dir, name)?
                {
                    first = self.stopped_in(ix, dir, &entry, steps)?;
                }
                Ok(())
            })?;
            return Ok(first);
        }
        for (ix, steps) in families {
            if first.is_none() {
                first = self.first_stopped(ix, &steps)?;
            }
        }
        Ok(first)
    }

    /// The first in a family that failed or is blocked in one of these steps; else in one of those that it is split from.
    fn first_stopped(&self, ix: FamilyIx, steps: &[usize]) -> Result<Option<String>> {
        let mut first = Ok(None);
        self.store.unwell(&self.families.family(ix).name, &mut |dir, entry| {
            if matches!(first, Ok(None)) && !entry.flags.gone {
                first = self.stopped_in(ix, dir, entry, steps);
            }
        })?;
        if let Some(found) = first? {
            return Ok(Some(found));
        }
        for parents in self.families.parents(ix) {
            let splits = self.families.family(parents).splits.iter().filter(|split| split.family == ix);
            let steps: Vec<usize> = splits.map(|split| split.step).collect();
            if let Some(found) = self.first_stopped(parents, &steps)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What stands behind a document that failed or is blocked in one of these steps.
    fn stopped_in(&self, ix: FamilyIx, dir: &str, entry: &Entry, steps: &[usize]) -> Result<Option<String>> {
        let family = self.families.family(ix);
        let id = id_of(&family.name, dir, &entry.name);
        if self.only.is_some_and(|only| !only(&id)) {
            return Ok(None);
        }
        let Some(told) = before(self.store, entry.story)? else { return Ok(None) };
        for step in steps {
            let name = &self.pipeline.target(family.steps[*step].target).name;
            match told.entry(name) {
                Some(entry) if entry.state == State::Failed => {
                    return Ok(Some(format!("{name} failed on {id}")));
                }
                Some(entry) if entry.state == State::Blocked => return Ok(Some(entry.note.clone())),
                _ => {}
            }
        }
        Ok(None)
    }

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
