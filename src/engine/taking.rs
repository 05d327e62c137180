//! Takes from the shared cache what somebody else made of an action that is due here.
//!
//! Taken is what a record of ours would answer just so: same key, and what its worker had loaded is the same here. Never
//! for what a mark asks to be done again; never a failure. What is taken becomes a record of ours, which says whose it was.

use std::sync::Arc;

use crate::cache::{Cache, Entry};
use crate::engine::build::Build;
use crate::engine::decide::Work;
use crate::engine::document::StepResult;
use crate::engine::groups::is_over_members;
use crate::engine::scheduler::Ticket;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{
    Act, ActionKey, Extras, KeyInput, Loads, Outcome, Output, Place, Position, State,
};
use crate::model::children::{self, key_inputs};
use crate::model::folder;
use crate::model::pipeline::TargetIx;
use crate::plan::key::action_key;

/// What a worker had loaded elsewhere, against what it would load here.
enum Here {
    /// The same; the load set of ours that says so.
    Equal(Option<Position>),
    /// Something else, or it is not here.
    Other,
}

impl Build<'_> {
    /// A result that somebody else made of this very action, now a record of ours.
    pub(super) fn taken(
        &mut self,
        ticket: Ticket,
        target: TargetIx,
        work: &Work,
    ) -> Result<Option<StepResult>> {
        let Some(cache) = self.sharing.as_ref().map(|sharing| Arc::clone(&sharing.cache)) else {
            return Ok(None);
        };
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_ref(), self.plans[target.0].as_ref())
        else {
            return Ok(None);
        };
        let plan = plan.call(work.call);
        if plan.module.is_none() || plan.marks.covers(&open.document.id) {
            return Ok(None);
        }
        let of = (ticket, target, work.call);
        let (identity, recipe) = (plan.identity, plan.recipe_digest);
        let Some((entry, bytes)) = cache.entry(&work.key) else { return Ok(None) };
        let Here::Equal(loads) = self.loads_here(entry.loads.as_ref(), identity)? else { return Ok(None) };
        if self.pipeline.target(target).split {
            if !self.take_children(&cache, of, work, &recipe, (&entry, &bytes))? {
                return Ok(None);
            }
        } else if let Outcome::Output(output) = &entry.outcome
            && output.place == Place::Input
        {
            let is_input = work.inputs.first().and_then(|input| input.digest) == Some(output.digest);
            if !is_input || is_over_members(self.pipeline, target) {
                return Ok(None);
            }
        }
        let Some((at, act)) =
            self.take(&cache, of, work.inputs.clone(), (work.key, loads), (entry, &bytes))?
        else {
            return Ok(None);
        };
        if loads.is_some() {
            self.learned_of(identity)?;
        }
        let state = if matches!(act.outcome, Outcome::Skip(_)) { State::Skipped } else { State::Done };
        if let Some(sharing) = &mut self.sharing {
            sharing.taken += 1;
        }
        if let Some(open) = self.open[ticket.doc.0 as usize].as_ref() {
            self.store.note_open(&open.document.id, target, at);
        }
        let note = work.note.clone();
        Ok(Some(StepResult { act: Some(at), record: Some(act), ..StepResult::bare(state, note) }))
    }

    /// What the maker's worker had loaded, against what it would load here.
    fn loads_here(&mut self, loads: Option<&Loads>, identity: Digest) -> Result<Here> {
        let Some(loads) = loads else { return Ok(Here::Equal(None)) };
        let mut here = Loads { module: identity, files: loads.files.clone(), packages: Vec::new() };
        for package in &loads.packages {
            let Some(package) = self.parts.sites.here(&identity, package) else { return Ok(Here::Other) };
            here.packages.push(package);
        }
        here.packages.sort();
        if !self.lookup.present.changes(&here, &mut self.store.code_cache()).is_empty() {
            return Ok(Here::Other);
        }
        Ok(Here::Equal(Some(self.store.intern_loads(&here)?)))
    }

    /// The children of a split, all of them or none: without its list nobody asks for one.
    fn take_children(
        &mut self,
        cache: &Cache,
        of: (Ticket, TargetIx, usize),
        work: &Work,
        recipe: &Digest,
        (entry, list): (&Entry, &[u8]),
    ) -> Result<bool> {
        let Outcome::Output(_) = &entry.outcome else { return Ok(true) };
        let Some(list) = children::read(list) else { return Ok(false) };
        for child in list {
            let inputs = key_inputs(&work.inputs, &child.name);
            let key = action_key(recipe, &inputs);
            let Some((found, bytes)) = cache.entry(&key) else { return Ok(false) };
            let is_it = matches!(&found.outcome, Outcome::Output(output) if child.is(output));
            if !is_it || self.take(cache, of, inputs, (key, None), (found, &bytes))?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes an entry a record of ours. It knows of no mark: for whoever is to be done again it does not count.
    fn take(
        &mut self,
        cache: &Cache,
        (ticket, target, call): (Ticket, TargetIx, usize),
        inputs: Vec<KeyInput>,
        (key, loads): (ActionKey, Option<Position>),
        (entry, bytes): (Entry, &[u8]),
    ) -> Result<Option<(Position, Arc<Act>)>> {
        let held = match &entry.outcome {
            Outcome::Output(output) if output.ext == folder::EXT && output.place != Place::Input => {
                let Some(list) = self.take_folder(cache, output, bytes)? else { return Ok(None) };
                (output.place != Place::Blob).then_some(list)
            }
            Outcome::Output(output) if output.place == Place::Blob => {
                if !self.take_file(cache, &output.digest, output.length)? {
                    return Ok(None);
                }
                None
            }
            Outcome::Output(output) if output.place == Place::Input => None,
            Outcome::Output(_) => Some(bytes.to_vec()),
            Outcome::Skip(_) => None,
            Outcome::Failed(_) => return Ok(None),
        };
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_ref(), self.plans[target.0].as_mut())
        else {
            return Ok(None);
        };
        let plan = plan.call_mut(call);
        let recipe = match plan.recipe_at {
            Some(at) => at,
            None => *plan.recipe_at.insert(self.store.intern_recipe(&plan.recipe)?),
        };
        let extras = Extras { warnings: entry.warnings, origin: Some(entry.origin), ..Extras::default() };
        let act = Act {
            key: key.0.prefix(),
            run: self.store.run(),
            recipe,
            loads,
            doc: open.document.number,
            mark: 0,
            inputs,
            outcome: entry.outcome,
            start: entry.start,
            duration: entry.duration,
            worker: 0,
            attempt: 1,
            log: None,
            extras: serde_json::to_string(&extras).unwrap_or_default(),
        };
        Ok(Some(self.store.add_act(act, held.as_deref())?))
    }

    /// A file of the cache as a blob of ours; false if it is not there, or not right.
    fn take_file(&mut self, cache: &Cache, digest: &Digest, length: u64) -> Result<bool> {
        let serial = self.sharing.as_mut().map_or(0, |sharing| {
            sharing.serial += 1;
            sharing.serial
        });
        let to = self.store.tmp().join(format!("taken-{serial}"));
        crate::fs::create_dir(&self.store.tmp())?;
        if !cache.fetch(digest, length, &to)? {
            return Ok(false);
        }
        self.store.adopt_blob(digest, &to)?;
        Ok(true)
    }

    /// The list of a result that is a folder, once all its files are ours; nothing if one is not there, or not right.
    fn take_folder(&mut self, cache: &Cache, output: &Output, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let list = if output.place == Place::Blob {
            if !self.take_file(cache, &output.digest, output.length)? {
                return Ok(None);
            }
            let Some(path) = self.store.proved_blob(output)? else { return Ok(None) };
            crate::fs::read(&path)?
        } else {
            bytes.to_vec()
        };
        let Some(folder) = folder::read(&list) else { return Ok(None) };
        for file in folder.files.iter().filter(|file| file.is_blob()) {
            let is_ours = self.store.proved_file(&file.digest, file.length)?.is_some();
            if !is_ours && !self.take_file(cache, &file.digest, file.length)? {
                return Ok(None);
            }
        }
        Ok(Some(list))
    }
}
