//! Marking work to be done again, and withdrawing such marks (`semantics.md` 14).
//!
//! A mark is a frame in the log, on disk before this returns. A mark on whole targets is part of their definition; one
//! that selects documents clears `settled` of those, so that a build looks at them.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Parts;
use crate::engine::failures::{Which, failed_of};
use crate::engine::sets::id_of;
use crate::engine::survey::{Meant, Survey, has_ended};
use crate::engine::target::TargetPlan;
use crate::error::{Error, Result};
use crate::model::action::{Mark, MarkedTarget, State, StoryEntry};
use crate::model::document::DocId;
use crate::model::failure::FailureKind;
use crate::model::pipeline::{ModuleIx, TargetIx};
use crate::plan::family::{Families, Family};
use crate::store::Entry;
use crate::time::Millis;

pub use crate::engine::survey::behind;

/// How much a mark concerns in one target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Marked {
    /// The target.
    pub target: String,
    /// Documents that have a result, or failed, there.
    pub documents: u64,
    /// How long their results took in all, in milliseconds; only if that was looked up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_ms: Option<u64>,
}

/// Which of a target's documents a mark concerns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// Those whose ids a glob matches.
    pub docs: Option<&'a str>,
    /// Only those that failed.
    pub failed: bool,
    /// With `failed`: of these kinds; empty: of all.
    pub kinds: &'a [FailureKind],
    /// With `failed`: whose causes have names that begin so; empty: of all.
    pub causes: &'a [String],
    /// With `failed`: that began at this time or later.
    pub since: Option<Millis>,
    /// Only those whose result is from before this.
    pub older_than: Option<Millis>,
    /// Of these targets, which have a route, only those that these modules made.
    pub only: Option<&'a BTreeMap<TargetIx, BTreeSet<ModuleIx>>>,
}

impl Selection<'_> {
    fn is_whole(&self) -> bool {
        self.docs.is_none() && !self.failed && self.older_than.is_none()
    }

    /// Whether work by this plan is meant.
    fn means(&self, call: &TargetPlan) -> bool {
        let only = self.only.and_then(|only| only.get(&call.ix));
        only.is_none_or(|only| call.module.is_some_and(|module| only.contains(&module)))
    }

    /// Whether a result was made by a module that is meant.
    fn is_by_one(&self, parts: &Parts<'_>, meant: &Meant, told: &StoryEntry) -> Result<bool> {
        let Some(only) = self.only.and_then(|only| only.get(&meant.plan.ix)) else { return Ok(true) };
        let Some(act) = Survey::act(parts, told)? else { return Ok(false) };
        let recipe = parts.store.recipe(act.recipe)?;
        let is_it = |module: &ModuleIx| {
            recipe.as_ref().is_some_and(|recipe| recipe.module == parts.pipeline.module(*module).name)
        };
        Ok(only.iter().any(is_it))
    }
}

/// Marks the work of these targets, for all documents or for those that a selection names.
///
/// # Errors
///
/// If the glob names no document that has anything in these targets, and if the store cannot be written.
pub fn redo(
    parts: &Parts<'_>,
    targets: &BTreeSet<TargetIx>,
    selection: Selection<'_>,
    dry_run: bool,
) -> Result<Vec<Marked>> {
    let mut survey = Survey::new(parts, targets, selection.docs)?;
    let which = Which {
        kinds: selection.kinds.to_vec(),
        since: selection.since,
        causes: selection.causes.to_vec(),
        ..Which::default()
    };
    let reads_acts = dry_run || selection.older_than.is_some();
    // What a split made is done again with what was split: by itself it is nothing to do.
    let (mut any, mut made) = (false, None);
    let mut selected = survey.visit(&mut |meant, standing| {
        let entry = standing.entry;
        if !has_ended(entry) || (selection.failed && entry.state != State::Failed) {
            return Ok(false);
        }
        if !selection.is_by_one(parts, meant, entry)? {
            return Ok(false);
        }
        if !which.is_any() && !which.has(&failed_of(parts.store, standing.run, &meant.target, entry)?) {
            return Ok(false);
        }
        let act = if reads_acts { Survey::act(parts, entry)? } else { None };
        let is_young = |limit: Millis| act.as_ref().is_none_or(|act| act.start >= limit);
        if selection.older_than.is_some_and(is_young) {
            return Ok(false);
        }
        if standing.is_made {
            made.get_or_insert_with(|| (meant.target.clone(), standing.id.clone()));
        } else {
            meant.count(entry.act, act.as_deref());
            any = true;
        }
        Ok(true)
    })?;
    if !any {
        selected.clear();
    }
    if selection.docs.is_some()
        && let Some((target, child)) = made.filter(|_| !any)
    {
        return Err(made_by_a_split(&target, &child));
    }
    if let Some(docs) = selection.docs
        && selected.is_empty()
        && selection.older_than.is_none()
    {
        return Err(Survey::nothing(docs));
    }
    let marked = counted(&survey.meant, dry_run);
    if dry_run || (!selection.is_whole() && selected.is_empty()) {
        return Ok(marked);
    }
    let of_target = |meant: &Meant| {
        let name = meant.target.clone();
        let calls = meant.plan.each_call().iter().filter(|call| selection.means(call));
        let of = calls.map(|call| MarkedTarget { name: name.clone(), fingerprint: call.fingerprint });
        of.collect::<Vec<_>>()
    };
    parts.store.add_mark(Mark {
        targets: survey.meant.iter().flat_map(of_target).collect(),
        failed: selection.failed,
        kinds: selection.kinds.to_vec(),
        causes: selection.causes.to_vec(),
        since: selection.since,
        older_than: selection.older_than,
        ..mark(&survey, selection.docs)
    })?;
    if !selection.is_whole() {
        unsettle(parts, &survey.families, selected)?;
    }
    parts.store.all_unsettled();
    Ok(marked)
}

/// Withdraws the marks on these targets, for all documents or for those that a selection names. What was done again
/// stays.
///
/// # Errors
///
/// As [`redo`].
pub fn cancel(
    parts: &Parts<'_>,
    targets: &BTreeSet<TargetIx>,
    selection: Selection<'_>,
    dry_run: bool,
) -> Result<Vec<Marked>> {
    let mut survey = Survey::new(parts, targets, selection.docs)?;
    let selected = survey.visit(&mut |meant, standing| {
        let entry = standing.entry;
        if !has_ended(entry) || (selection.failed && entry.state != State::Failed) {
            return Ok(false);
        }
        if !selection.is_by_one(parts, meant, entry)? {
            return Ok(false);
        }
        let Some(act) = Survey::act(parts, entry)? else { return Ok(false) };
        let asks = |call: &crate::engine::target::TargetPlan| {
            call.marks.may_withdraw(standing.id, &act, selection.failed)
        };
        if !meant.plan.each_call().iter().filter(|call| selection.means(call)).any(asks) {
            return Ok(false);
        }
        if !standing.is_made {
            meant.count(entry.act, Some(&act));
        }
        Ok(!standing.is_made)
    })?;
    let marked = counted(&survey.meant, dry_run);
    if dry_run || selected.is_empty() {
        return Ok(marked);
    }
    let withdraws = survey.meant.iter().map(|meant| meant.target.clone()).collect();
    let narrowed = |meant: &&Meant| selection.only.is_some_and(|only| only.contains_key(&meant.plan.ix));
    let withdraws_of = if survey.meant.iter().any(|meant| narrowed(&meant)) {
        let calls = survey.meant.iter().flat_map(|meant| meant.plan.each_call());
        calls.filter(|call| selection.means(call)).map(|call| call.fingerprint).collect()
    } else {
        Vec::new()
    };
    let mark = mark(&survey, selection.docs);
    parts.store.add_mark(Mark { withdraws, withdraws_of, failed: selection.failed, ..mark })?;
    parts.store.all_unsettled();
    Ok(marked)
}

/// All that is selected was made by a split, whose document is not.
fn made_by_a_split(target: &str, child: &DocId) -> Error {
    let parent = child.parent().map_or_else(|| child.to_string(), |parent| parent.to_string());
    Error::no_match(format!("`{child}` is no document of `{target}`: what a split made is done again with the document that was split"))
        .hint(format!("pipe redo {target} --docs '{parent}'"))
}

fn mark(survey: &Survey<'_>, docs: Option<&str>) -> Mark {
    Mark {
        number: survey.parts.store.newest_mark() + 1,
        time: crate::time::now(),
        docs: docs.map(str::to_owned),
        sets: survey.sets.iter().cloned().collect(),
        ..Mark::default()
    }
}

fn counted(meant: &[Meant], timed: bool) -> Vec<Marked> {
    let of = |meant: &Meant| Marked {
        target: meant.target.clone(),
        documents: meant.documents,
        took_ms: timed.then_some(meant.work / 1000),
    };
    meant.iter().map(of).collect()
}

/// Has documents looked at by the next build: they themselves, what they were split from, and the head of their groups.
pub(super) fn unsettle(
    parts: &Parts<'_>,
    families: &Families,
    selected: Vec<(String, String, Entry)>,
) -> Result<()> {
    for (family, dir, mut entry) in selected {
        let id = id_of(&family, &dir, &entry.name);
        entry.flags.settled = false;
        let story = entry.story;
        parts.store.put_entry(&family, &dir, entry, story);
        parts.store.unsettle_ancestors(&id)?;
        let head = families.list.iter().find(|of| of.name == family).and_then(Family::head);
        if let Some(head) = head.filter(|head| *head != family)
            && let Some(mut entry) = parts.store.entry(&head, "", "")?.filter(|entry| entry.flags.settled)
        {
            entry.flags.settled = false;
            let story = entry.story;
            parts.store.put_entry(&head, "", entry, story);
        }
    }
    parts.store.write_pages()
}
