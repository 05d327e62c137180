//! The targets before a trial's, run anew on its document: their results are handed on from memory and never recorded.
//!
//! What is not of this document alone (a set, another document, what a split made) stays as it is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::engine::decide::Deciding;
use crate::engine::document::{Document, StepResult};
use crate::engine::lookup::Lookup;
use crate::engine::matching::Matching;
use crate::engine::requests::{self, Inputs};
use crate::engine::target::TargetPlan;
use crate::engine::trial::Preparing;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Act, Outcome, Output, Place, Position, State};
use crate::model::folder;
use crate::model::pipeline::TargetIx;
use crate::module::{Done, Launch, OutputBody, Request};
use crate::plan::family::{Family, Input};
use crate::time::Millis;

/// Runs a target's module on one document, in a folder of its own.
pub type Rerun<'a> = dyn FnMut(&str, Launch, Request, &Path) -> Result<Done> + 'a;

/// The steps of the same document that a step takes from, directly or not, in their order.
fn before(family: &Family, step: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![step];
    while let Some(step) = open.pop() {
        let place = &family.steps[step];
        for input in place.inputs.iter().chain(place.with.iter().map(|(_, input)| input)) {
            if let Input::Step(before) = input
                && found.insert(*before)
            {
                open.push(*before);
            }
        }
    }
    found
}

/// The targets before one, in every family that it takes documents of.
pub(super) fn targets_before(families: &crate::plan::family::Families, of: TargetIx) -> BTreeSet<TargetIx> {
    let mut targets = BTreeSet::new();
    for family in &families.list {
        let steps = family.step_of(of).map(|step| before(family, step)).unwrap_or_default();
        targets.extend(steps.into_iter().map(|step| family.steps[step].target));
    }
    targets
}

/// What runs the targets before.
pub(super) struct Anew<'a, 'b> {
    /// Their plans.
    pub(super) plans: &'a BTreeMap<TargetIx, TargetPlan>,
    /// Names for their inputs.
    pub(super) inputs: &'a mut Inputs,
    /// Records.
    pub(super) lookup: &'a mut Lookup,
    /// Runs one.
    pub(super) rerun: &'a mut Rerun<'b>,
}

impl Preparing<'_> {
    /// Replaces the results of all steps before one by what comes of them now.
    pub(super) fn renew(
        &self,
        document: &mut Document,
        family: &Family,
        step: usize,
        mut anew: Anew<'_, '_>,
    ) -> Result<()> {
        for step in before(family, step) {
            let Some(plan) = anew.plans.get(&family.steps[step].target) else { continue };
            let of = Preparing { plan, ..*self };
            let result = of.renewed(document, family, step, &mut anew)?;
            document.results[step] = Some(result);
        }
        Ok(())
    }

    fn renewed(
        &self,
        document: &Document,
        family: &Family,
        step: usize,
        anew: &mut Anew<'_, '_>,
    ) -> Result<StepResult> {
        let Anew { inputs, lookup, rerun, .. } = anew;
        let deciding = Deciding { pipeline: self.parts.pipeline, family, store: self.parts.store, lookup };
        let matching = Matching { parts: self.parts, families: self.families };
        let found = matching.of_document(self.plan, document, step)?;
        let work = match deciding.work(self.plan, document, step, &found) {
            Ok(work) => work,
            Err(stands) => return Ok(*stands),
        };
        let plan = self.plan.call(work.call);
        let (main, main_ext) = document.input_facts(work.main).unwrap_or_default();
        let passed_on = |ext: String, meta: String| {
            let ext = if ext.is_empty() { main_ext.clone() } else { ext };
            (Output { digest: main, length: 0, ext, place: Place::Input, meta }, None)
        };
        let (output, bytes) = if plan.module.is_none() {
            passed_on(String::new(), String::new())
        } else {
            let made = requests::request(&deciding, inputs, self.plan, document, &work, 1)?;
            let request = made.map_err(|_| self.damaged(&document.id))?;
            let folder = self.folder.join(format!("before-{step}"));
            crate::fs::create_dir(&folder.join("tmp"))?;
            let mut launch = self.parts.launch(plan, 0)?;
            (launch.log, launch.tmp, launch.timeout) = (folder.join("log"), folder.join("tmp"), None);
            let output = match rerun(self.name(), launch, request, &folder)? {
                Done::Output(output) => output,
                Done::Skip(reason) => return Ok(StepResult::bare(State::Skipped, reason)),
                Done::Failed(failure) => {
                    let id = &document.id;
                    let message = format!("`{}` fails on `{id}` now: {}", self.name(), failure.summary());
                    let again = crate::text::shell_word(id.as_str());
                    let mut error =
                        Error::unfinished(message).hint(format!("pipe try {} {again}", self.name()));
                    error.report = failure.traceback;
                    return Err(error);
                }
            };
            let bytes = match output.body {
                OutputBody::Same => None,
                OutputBody::Bytes { bytes, .. } => Some(bytes),
                OutputBody::File { path, .. } => Some(crate::fs::read(&path)?),
                OutputBody::Folder { .. } | OutputBody::Children(_) => {
                    let name = self.name();
                    let message = format!("`{name}` makes folders, which `--fresh` cannot hand on");
                    return Err(Error::usage(message)
                        .hint(format!("pipe build {name} --docs {}     keeps what it makes", document.id)));
                }
            };
            match bytes {
                None if main_ext == folder::EXT => {
                    return Ok(document.results[step]
                        .clone()
                        .unwrap_or_else(|| StepResult::bare(State::Unfinished, String::new())));
                }
                None => passed_on(output.ext, output.meta),
                Some(bytes) => {
                    let (digest, length) = (Digest::of(&bytes), bytes.len() as u64);
                    // Never looked up: the bytes are at hand.
                    let place = Place::Blob;
                    (Output { digest, length, ext: output.ext, place, meta: output.meta }, Some(bytes))
                }
            }
        };
        let act = Act {
            key: 0,
            run: 0,
            recipe: Position(0),
            loads: None,
            doc: document.number,
            mark: 0,
            inputs: Vec::new(),
            outcome: Outcome::Output(output),
            start: Millis(0),
            duration: 0,
            worker: 0,
            attempt: 1,
            log: None,
            extras: String::new(),
        };
        let result = StepResult::bare(State::Done, String::new());
        Ok(StepResult { record: Some(act.into()), bytes: bytes.map(Into::into), ..result })
    }
}
