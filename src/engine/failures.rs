//! The failures that stand in a store, grouped by cause: those of this build and of builds before.

use crate::engine::document::Before;
use crate::engine::marks::without_accepted;
use crate::engine::sets::{before, id_of};
use crate::error::Result;
use crate::model::action::{Outcome, State};
use crate::model::document::{CHILDREN, GROUPS, MERGES};
use crate::model::event::{Cause, Incomplete};
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::{Pipeline, Verb};
use crate::store::{Store, is_failed};

/// At most so many documents are named for a cause.
const SAMPLES: usize = 5;

/// Failures by cause, most frequent first, and how many documents stand behind a failure.
pub fn standing(store: &Store, pipeline: &Pipeline) -> Result<(Vec<Cause>, u64)> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut blocked = 0;
    for family in families(store, pipeline) {
        let sums = store.sums(&family)?;
        if sums.failed == 0 && sums.blocked == 0 {
            continue;
        }
        blocked += sums.blocked;
        let mut failed = None;
        store.unwell(&family, &mut |dir, entry| {
            if entry.flags.gone || !entry.flags.failed || failed.is_some() {
                return;
            }
            let id = id_of(&family, dir, &entry.name).to_string();
            match before(store, entry.story).and_then(|found| match found {
                Some(found) => failures_of(store, &found),
                None => Ok(Vec::new()),
            }) {
                Ok(failures) => {
                    failures.into_iter().for_each(|(target, failure)| add(&mut causes, target, failure, &id));
                }
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.target.cmp(&b.target)));
    Ok((causes, blocked))
}

/// The sets that are not over all their members, as their newest stories say.
pub fn incomplete(store: &Store, pipeline: &Pipeline) -> Result<Vec<Incomplete>> {
    let mut sets = Vec::new();
    for target in &pipeline.targets {
        let head = match target.verb {
            Verb::Each => continue,
            Verb::All => target.name.clone(),
            Verb::Group => format!("{}{GROUPS}{GROUPS}", target.name),
        };
        let Some(entry) = store.entry(&head, "", "")?.filter(|entry| !entry.flags.gone) else {
            continue;
        };
        let Some(found) = before(store, entry.story)? else { continue };
        let Some(result) = found.entry(&target.name) else { continue };
        let blocked = result.state == State::Blocked;
        let note = without_accepted(&result.note);
        if (blocked || result.state == State::Done) && !note.is_empty() && !is_failed(result) {
            sets.push(Incomplete { target: target.name.clone(), blocked, note: note.to_owned() });
        }
    }
    Ok(sets)
}

/// The families of a store that the pipeline still has.
fn families(store: &Store, pipeline: &Pipeline) -> Vec<String> {
    let is_there = |name: &String| {
        let bare = name.trim_end_matches([CHILDREN, GROUPS, MERGES]);
        let target = pipeline.find_target(bare).map(|ix| pipeline.target(ix));
        match target {
            Some(target) if name.ends_with(CHILDREN) => target.split,
            Some(target) if name.ends_with(GROUPS) => target.verb == Verb::Group,
            Some(target) if name.ends_with(MERGES) => target.reduce,
            Some(target) => target.verb == Verb::All,
            None => pipeline.find_source(name).is_some(),
        }
    };
    store.families().into_iter().filter(is_there).collect()
}

/// The failures of one document, by target.
pub fn failures_of(store: &Store, found: &Before) -> Result<Vec<(String, Failure)>> {
    let mut failures = Vec::new();
    for (defined, entry) in found.definition.targets.iter().zip(&found.story.entries) {
        if !is_failed(entry) {
            continue;
        }
        let recorded = match entry.act {
            Some(at) if entry.state == State::Failed => store.act(at)?,
            _ => None,
        };
        let failure = match recorded.as_deref().map(|act| &act.outcome) {
            Some(Outcome::Failed(failure)) => failure.clone(),
            _ => serde_json::from_str(&entry.note)
                .unwrap_or_else(|_| Failure::new(FailureKind::Lost, "", "its record cannot be read")),
        };
        failures.push((defined.name.clone(), failure));
    }
    Ok(failures)
}

fn add(causes: &mut Vec<Cause>, target: String, failure: Failure, id: &str) {
    let is_same = |cause: &&mut Cause| cause.target == target && cause.failure.cause() == failure.cause();
    match causes.iter_mut().find(is_same) {
        Some(cause) => {
            cause.count += 1;
            let place = cause.samples.partition_point(|sample| sample.as_str() < id);
            if place < SAMPLES {
                cause.samples.insert(place, id.to_owned());
                cause.samples.truncate(SAMPLES);
            }
            if place == 0 {
                cause.failure = failure;
            }
        }
        None => causes.push(Cause { target, failure, count: 1, samples: vec![id.to_owned()] }),
    }
}
