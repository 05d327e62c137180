//! The failures that stand in a store, grouped by cause: those of this build and of builds before.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::document::Before;
use crate::engine::marks::{PlanMarks, covers, without_accepted};
use crate::engine::policy::SET_ASIDE;
use crate::engine::sets::{before, id_of};
use crate::error::Result;
use crate::hash::{Digest, Map};
use crate::model::action::{Act, Mark, Outcome, State, StoryEntry};
use crate::model::document::{CHILDREN, DocId, GROUPS, MERGES};
use crate::model::event::{Cause, Incomplete};
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::{Pipeline, Verb};
use crate::model::selection::Glob;
use crate::store::{Entry, Store, is_failed};
use crate::time::Millis;

/// At most so many documents are named for a cause.
const SAMPLES: usize = 5;

/// Which failures are meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Which {
    /// In these targets; empty: in all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Of these kinds; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FailureKind>,
    /// That began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// Of documents whose ids this glob matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// Whose causes have names that begin so; empty: of all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
}

impl Which {
    /// Whether a failure is among them, by its kind and its time.
    pub fn has(&self, failed: &Failed) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&failed.failure.kind))
            && self.since.is_none_or(|since| failed.time >= since)
            && failed.failure.is_of(&self.causes)
    }

    /// Whether all are meant, as far as kind, time and cause go.
    pub fn is_any(&self) -> bool {
        self.kinds.is_empty() && self.since.is_none() && self.causes.is_empty()
    }
}

/// What stands failed.
#[derive(Clone, Debug, Default)]
pub struct AllFailed {
    /// By cause, the most frequent first.
    pub causes: Vec<Cause>,
    /// How many documents they are: one that failed in several targets is one.
    pub documents: u64,
    /// How many documents stand behind a failure, of any cause.
    pub blocked: u64,
}

/// A failure of one document in one target.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The target.
    pub target: String,
    /// How.
    pub failure: Failure,
    /// When its last try began; of what no record says, when the run did that found it.
    pub time: Millis,
    /// It is not tried again by a build.
    pub set_aside: bool,
    /// Its record, if it is one.
    pub record: Option<Arc<Act>>,
}

/// Which failures a mark opened again: the next build tries them, whatever they are.
struct Reopened<'a> {
    store: &'a Store,
    marks: Vec<Mark>,
    /// By target and recipe, which most records share.
    known: Map<u64, PlanMarks>,
}

impl Reopened<'_> {
    fn has(&mut self, id: &DocId, failed: &Failed) -> Result<bool> {
        let Some(act) = failed.record.as_ref().filter(|_| !self.marks.is_empty()) else { return Ok(false) };
        let key = Digest::of(format!("{} {}", act.recipe.0, failed.target).as_bytes()).prefix();
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.known.entry(key) {
            let Some(recipe) = self.store.recipe(act.recipe)? else { return Ok(false) };
            vacant.insert(PlanMarks::new(&self.marks, &failed.target, &recipe));
        }
        Ok(self.known.get(&key).is_some_and(|marks| marks.asks_again(id, act).is_some()))
    }
}

/// All failures by cause.
pub fn standing(store: &Store, pipeline: &Pipeline) -> Result<AllFailed> {
    standing_of(store, pipeline, &Which::default())
}

/// The same of some failures; the documents behind are all.
pub fn standing_of(store: &Store, pipeline: &Pipeline, which: &Which) -> Result<AllFailed> {
    let glob = which.docs.as_deref().and_then(|glob| Glob::new(glob).ok());
    let mut all = AllFailed::default();
    // By what notes of blocked documents say: which cause it is.
    let mut known: Map<u64, usize> = Map::default();
    // By what failed: sets and groups name only their first member.
    let mut members: Map<u64, usize> = Map::default();
    let mut reopened = Reopened { store, marks: store.marks()?, known: Map::default() };
    let families = families(store, pipeline);
    for family in &families {
        let sums = store.sums(family)?;
        all.blocked += sums.blocked;
        if sums.failed == 0 {
            continue;
        }
        let is_meant = |id: &DocId| glob.as_ref().is_none_or(|glob| covers(glob, id));
        each(store, family, &|entry| entry.flags.failed, &is_meant, &mut |id, found| {
            let has = |failed: &Failed| {
                which.has(failed) && (which.targets.is_empty() || which.targets.contains(&failed.target))
            };
            let meant: Vec<Failed> = failures_of(store, found)?.into_iter().filter(has).collect();
            all.documents += u64::from(!meant.is_empty());
            for failed in meant {
                let said = said_of(&failed.target, id);
                let again = reopened.has(id, &failed)?;
                let at = add(&mut all.causes, failed, id.as_str());
                all.causes[at].reopened += u64::from(again);
                known.insert(said, at);
                members.entry(Digest::of(id.as_str().as_bytes()).prefix()).or_insert(at);
            }
            Ok(())
        })?;
    }
    if all.blocked > 0 && !known.is_empty() {
        for family in &families {
            if store.sums(family)?.blocked == 0 {
                continue;
            }
            each(store, family, &|entry| entry.flags.blocked, &|_| true, &mut |_, found| {
                for (waits, note) in behind(found) {
                    let named = |text: &str| Digest::of(text.as_bytes()).prefix();
                    let member = || {
                        let first = named(note.split_once(" failed: ")?.1);
                        members.get(&first).or_else(|| known.get(&first))
                    };
                    let at = known.get(&named(&note)).or_else(member);
                    // Children that a split did not make this time wait for nothing but the split itself.
                    if let Some(cause) =
                        at.map(|at| &mut all.causes[*at]).filter(|cause| cause.target != waits)
                    {
                        *cause.behind.entry(waits).or_default() += 1;
                    }
                }
                Ok(())
            })?;
        }
    }
    all.causes.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.target.cmp(&b.target)));
    Ok(all)
}

/// A short name of what is said where a document waits for another that failed.
fn said_of(target: &str, id: &DocId) -> u64 {
    Digest::of(format!("{target} failed on {id}").as_bytes()).prefix()
}

/// Visits the documents of a family that are not gone, that have these flags and whose ids are meant.
fn each(
    store: &Store,
    family: &str,
    has: &dyn Fn(&Entry) -> bool,
    is_meant: &dyn Fn(&DocId) -> bool,
    visit: &mut dyn FnMut(&DocId, &Before) -> Result<()>,
) -> Result<()> {
    let mut ended = Ok(());
    store.unwell(family, &mut |dir, entry| {
        if entry.flags.gone || !has(entry) || ended.is_err() {
            return;
        }
        let id = id_of(family, dir, &entry.name);
        if is_meant(&id) {
            ended =
                before(store, entry.story).and_then(|found| found.map_or(Ok(()), |found| visit(&id, &found)));
        }
    })?;
    ended
}

/// What a document waits for that stands behind a failure; empty if none does, or says nothing of it.
pub fn first_blocked(store: &Store, pipeline: &Pipeline) -> Result<String> {
    let mut first = Ok(String::new());
    for family in families(store, pipeline) {
        if store.sums(&family)?.blocked == 0 {
            continue;
        }
        store.unwell(&family, &mut |_, entry| {
            if entry.flags.gone
                || !entry.flags.blocked
                || first.as_ref().map_or(true, |note| !note.is_empty())
            {
                return;
            }
            first = before(store, entry.story)
                .map(|found| found.iter().flat_map(behind).map(|(_, note)| note).next().unwrap_or_default());
        })?;
    }
    first
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

/// The targets in which a document is blocked, each with what blocks it.
fn behind(found: &Before) -> Vec<(String, String)> {
    let pairs = found.definition.targets.iter().zip(&found.story.entries);
    let blocked = pairs.filter(|(_, entry)| entry.state == State::Blocked);
    blocked.map(|(defined, entry)| (defined.name.clone(), entry.note.clone())).collect()
}

/// The failures of one document, by target.
pub fn failures_of(store: &Store, found: &Before) -> Result<Vec<Failed>> {
    let pairs = found.definition.targets.iter().zip(&found.story.entries);
    let failed = pairs.filter(|(_, entry)| is_failed(entry));
    failed.map(|(defined, entry)| failed_of(store, found.story.run, &defined.name, entry)).collect()
}

/// How a document failed in a target, by its story of a run. Before: it did.
pub fn failed_of(store: &Store, run: u32, target: &str, entry: &StoryEntry) -> Result<Failed> {
    let recorded = match entry.act {
        Some(at) if entry.state == State::Failed => store.act(at)?,
        _ => None,
    };
    let failure = match recorded.as_deref().map(|act| &act.outcome) {
        Some(Outcome::Failed(failure)) => failure.clone(),
        _ => serde_json::from_str(&entry.note)
            .unwrap_or_else(|_| Failure::new(FailureKind::Lost, "", "its record cannot be read")),
    };
    let time = match &recorded {
        Some(act) => act.start,
        None => store.run_start(run)?.unwrap_or_default(),
    };
    let set_aside = entry.state == State::Failed && entry.note == SET_ASIDE;
    Ok(Failed { target: target.to_owned(), failure, time, set_aside, record: recorded })
}

/// Counts a failure; the place of its cause.
fn add(causes: &mut Vec<Cause>, failed: Failed, id: &str) -> usize {
    let Failed { target, failure, set_aside, .. } = failed;
    let is_same = |cause: &Cause| cause.target == target && cause.failure.cause() == failure.cause();
    let at = causes.iter().position(is_same).unwrap_or_else(|| {
        let (target, failure) = (target.clone(), failure.clone());
        let behind = BTreeMap::new();
        causes.push(Cause {
            target,
            failure,
            count: 0,
            samples: Vec::new(),
            set_aside: 0,
            reopened: 0,
            behind,
        });
        causes.len() - 1
    });
    let cause = &mut causes[at];
    cause.count += 1;
    cause.set_aside += u64::from(set_aside);
    let place = cause.samples.partition_point(|sample| sample.as_str() < id);
    if place < SAMPLES {
        cause.samples.insert(place, id.to_owned());
        cause.samples.truncate(SAMPLES);
    }
    if place == 0 {
        cause.failure = failure;
    }
    at
}
