//! Marks as they matter to a target: what is to be done again, and which results of older code are valid
//! (`semantics.md` 14 and 15).
//!
//! A mark is in no key. It says of a record whether it still counts. Knows no store.

use std::collections::BTreeSet;

use crate::hash::Digest;
use crate::model::action::{Accepted, Act, Mark, Outcome, Recipe};
use crate::model::document::DocId;
use crate::model::failure::FailureKind;
use crate::model::reason::FileChange;
use crate::model::selection::{Glob, names_file};
use crate::plan::key::{fingerprint, recipe_digest_by};
use crate::time::Millis;

/// What asks for results that are too old: newer than every mark.
pub const EXPIRED: u64 = u64::MAX;

/// How the note of a result begins that was accepted.
const ACCEPTED: &str = "accepted: ";

/// The note of a result that was accepted: why it would have been made again, and what else is said of it.
pub fn accepted_note(why: &str, rest: &str) -> String {
    let break_ = if rest.is_empty() { "" } else { "\n" };
    format!("{ACCEPTED}{why}{break_}{rest}")
}

/// What was different about the code when a result was accepted; nothing if it was not.
pub fn accepted_why(note: &str) -> Option<&str> {
    let note = note.strip_prefix(ACCEPTED)?;
    Some(note.split_once('\n').map_or(note, |(why, _)| why))
}

/// A note without what it says of that.
pub fn without_accepted(note: &str) -> &str {
    match note.strip_prefix(ACCEPTED) {
        Some(note) => note.split_once('\n').map_or("", |(_, rest)| rest),
        None => note,
    }
}

/// Whether a glob names a document, or something that it was split from: by its id, or by its file name as it is.
pub fn covers(glob: &Glob, id: &DocId) -> bool {
    glob.covers(id.as_str()) || names_file(glob, id)
}

/// Which documents a mark speaks of.
#[derive(Clone, Debug)]
struct Selected {
    number: u64,
    /// Absent: every document.
    docs: Option<Glob>,
    sets: BTreeSet<String>,
    failed: bool,
    /// Of these kinds; empty: of all.
    kinds: Vec<FailureKind>,
    causes: Vec<String>,
    /// Of failures: those that began at this time or later.
    since: Option<Millis>,
    older_than: Option<Millis>,
}

impl Selected {
    fn new(mark: &Mark) -> Self {
        Selected {
            number: mark.number,
            // A glob that can no longer be read selects every document: doing too much again is the safe side.
            docs: mark.docs.as_deref().and_then(|glob| Glob::new(glob).ok()),
            sets: mark.sets.iter().cloned().collect(),
            failed: mark.failed,
            kinds: mark.kinds.clone(),
            causes: mark.causes.clone(),
            since: mark.since,
            older_than: mark.older_than,
        }
    }

    fn covers(&self, id: &DocId) -> bool {
        self.docs.as_ref().is_none_or(|glob| covers(glob, id) || self.sets.contains(id.as_str()))
    }

    /// Whether it speaks of a record by how that ended, and when.
    fn speaks_of(&self, act: &Act) -> bool {
        let is_meant = match &act.outcome {
            Outcome::Failed(failure) => {
                (self.kinds.is_empty() || self.kinds.contains(&failure.kind))
                    && self.since.is_none_or(|since| act.start >= since)
                    && failure.is_of(&self.causes)
            }
            Outcome::Output(_) | Outcome::Skip(_) => !self.failed,
        };
        is_meant && self.older_than.is_none_or(|limit| act.start < limit)
    }

    fn is_whole(&self) -> bool {
        self.docs.is_none() && !self.failed && self.older_than.is_none()
    }
}

/// Results of older code that are valid.
#[derive(Clone, Debug)]
pub struct PlanAccept {
    /// Records that know it are later results of the old code.
    pub number: u64,
    /// The recipes by which they were made, the target's params and shared inputs being as they are.
    pub recipes: Vec<Digest>,
    loaded: Vec<(String, Option<Digest>)>,
}

impl PlanAccept {
    fn new(number: u64, accepted: &Accepted, recipe: &Recipe) -> Self {
        let recipes = accepted.from.iter().map(|old| recipe_digest_by(recipe, old)).collect();
        PlanAccept { number, recipes, loaded: accepted.loaded.clone() }
    }

    /// Whether all that is not as it was in a load set was so when the result was accepted.
    pub fn allows(&self, changes: &[FileChange]) -> bool {
        let is_known = |change: &FileChange| {
            self.loaded.iter().any(|(file, new)| *file == change.file && *new == change.new)
        };
        changes.iter().all(is_known)
    }
}

/// The marks of one module in a target.
#[derive(Clone, Debug, Default)]
pub struct PlanMarks {
    again: Vec<Selected>,
    withdrawn: Vec<Selected>,
    accepted: Vec<PlanAccept>,
}

impl PlanMarks {
    /// Those that speak of a target by its present recipe.
    pub fn new(marks: &[Mark], target: &str, recipe: &Recipe) -> Self {
        let fingerprint = fingerprint(recipe);
        let mut plan = PlanMarks::default();
        for mark in marks {
            if mark.targets.iter().any(|of| of.name == target && of.fingerprint == fingerprint) {
                plan.again.push(Selected::new(mark));
            }
            let is_of = mark.withdraws_of.is_empty() || mark.withdraws_of.contains(&fingerprint);
            if is_of && mark.withdraws.iter().any(|name| name == target) {
                plan.withdrawn.push(Selected::new(mark));
            }
            let accepts = mark.accepts.iter().filter(|of| of.name == target && of.to == fingerprint);
            plan.accepted.extend(accepts.map(|of| PlanAccept::new(mark.number, of, recipe)));
        }
        plan
    }

    /// The newest mark that asks for this record of a document to be made again.
    pub fn asks_again(&self, id: &DocId, act: &Act) -> Option<u64> {
        self.asks_since(id, act, act.mark, None)
    }

    /// Whether such a mark may be withdrawn: with `failed` one of those that ask only for what failed.
    pub fn may_withdraw(&self, id: &DocId, act: &Act, failed: bool) -> bool {
        self.asks_since(id, act, act.mark, Some(failed)).is_some()
    }

    /// The same of an accepted record: what was asked before it was accepted is answered.
    pub fn asks_accepted_again(&self, id: &DocId, act: &Act, accept: &PlanAccept) -> Option<u64> {
        self.asks_since(id, act, accept.number, None)
    }

    /// Whether any mark asks for a document's results to be made again: what others made of it does not count then. One
    /// that opens failures is answered by what others made.
    pub fn covers(&self, id: &DocId) -> bool {
        self.again.iter().any(|mark| !mark.failed && mark.covers(id) && !self.is_withdrawn(mark, id))
    }

    fn asks_since(&self, id: &DocId, act: &Act, known: u64, failed: Option<bool>) -> Option<u64> {
        let asks = |mark: &&Selected| {
            mark.number > known
                && mark.speaks_of(act)
                && failed.is_none_or(|failed| failed == mark.failed)
                && mark.covers(id)
                && !self.is_withdrawn(mark, id)
        };
        self.again.iter().filter(asks).map(|mark| mark.number).max()
    }

    fn is_withdrawn(&self, mark: &Selected, id: &DocId) -> bool {
        let withdraws = |by: &Selected| by.number > mark.number && by.failed == mark.failed && by.covers(id);
        self.withdrawn.iter().any(withdraws)
    }

    /// A number that never falls: that of the newest mark on whole targets.
    pub fn newest_whole(&self) -> u64 {
        let all = self.again.iter().chain(&self.withdrawn).filter(|mark| mark.is_whole());
        all.map(|mark| mark.number).max().unwrap_or(0)
    }

    /// The number of the newest accept.
    pub fn newest_accept(&self) -> Option<u64> {
        self.accepted.iter().map(|accept| accept.number).max()
    }

    /// What is accepted, the newest last.
    pub fn accepted(&self) -> &[PlanAccept] {
        &self.accepted
    }

    /// Whether a result that was made by an older recipe is accepted already. `changes`: what of its load set differs.
    pub fn is_accepted(&self, id: &DocId, act: &Act, recipe: &Digest, changes: &[FileChange]) -> bool {
        self.accepted.iter().any(|accept| {
            accept.recipes.contains(recipe)
                && act.mark < accept.number
                && accept.allows(changes)
                && self.asks_accepted_again(id, act, accept).is_none()
        })
    }

    /// Results that were made before this time are too old: of a service that does not say which code it has.
    pub fn expire(&mut self, since: Millis) {
        self.again.push(Selected {
            number: EXPIRED,
            older_than: Some(since),
            ..Selected::new(&Mark::default())
        });
    }

    /// From now on failures that were recorded before this mark are no results any more.
    pub fn reopen_failed(&mut self, number: u64) {
        self.again.push(Selected { number, failed: true, ..Selected::new(&Mark::default()) });
    }
}
