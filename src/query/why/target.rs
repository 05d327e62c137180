//! Why, for a target: over all documents, how many would run, by reason.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::engine::document::Before;
use crate::engine::documents::Documents;
use crate::engine::hold::is_held;
use crate::engine::lookup::Wanted;
use crate::engine::sets::{before, id_of};
use crate::error::Result;
use crate::model::action::{ActionKey, Outcome, Position, State};
use crate::model::document::DocId;
use crate::model::pipeline::{TargetIx, Verb};
use crate::model::reason::Reason;
use crate::plan::family::{Families, Family};
use crate::plan::key::action_key;
use crate::query::Asked;
use crate::query::why::present::Present;
use crate::query::why::unwell::{self, FailedWhy};
use crate::scan::{self, Kind as Difference};

/// Why, for one target or all targets of a module.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyTarget {
    /// What was asked for, target by target.
    pub targets: Vec<TargetWhy>,
    /// A build is under way: what it has not come to yet counts as it was.
    pub building: bool,
}

/// Why, for one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetWhy {
    /// The target.
    pub target: String,
    /// Documents of its streams' sources.
    pub documents: u64,
    /// For which nothing is to be done in it.
    pub up_to_date: u64,
    /// The others, by reason, most first.
    pub groups: Vec<Group>,
    /// Its documents are groups.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_group: bool,
    /// Of groups that are to be looked at again: documents of the sources before them that are new, changed or gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<u64>,
    /// What failed by cause, most frequent first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedWhy>,
    /// Documents behind a failure.
    #[serde(default)]
    pub blocked: u64,
}

/// Documents with one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// How many.
    pub documents: u64,
    /// What kind of reason.
    pub kind: Kind,
    /// The reasons, where records say them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// One of them.
    pub sample: String,
}

/// What documents are grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Kind {
    /// Not seen before.
    New,
    /// Their files have another stamp.
    Changed,
    /// The reasons say it.
    Differs,
    /// The reasons say what is different, but `hold` keeps the result.
    Held,
    /// What stands before it would run: its input may change.
    Behind {
        /// The first such target.
        target: String,
    },
    /// A build was stopped before it.
    Unfinished,
}

/// So many documents of a definition are looked at; if all have one reason, so have the others.
const PROBED: u64 = 64;

pub(super) fn why(asked: &Asked<'_>, documents: &Documents<'_>, targets: &[TargetIx]) -> Result<WhyTarget> {
    looked_at(asked, documents, targets, &mut |_| Ok(true), &|_| true)
}

/// The same of the documents that `is_in` names; `differs` says of a source document with another stamp whether its
/// bytes are others.
pub(super) fn looked_at(
    asked: &Asked<'_>,
    documents: &Documents<'_>,
    targets: &[TargetIx],
    differs: &mut dyn FnMut(&Touched<'_>) -> Result<bool>,
    is_in: &dyn Fn(&DocId) -> bool,
) -> Result<WhyTarget> {
    let mut present = Present::new(asked, &documents.families)?;
    let scans = if asked.building { Vec::new() } else { present.scan(&documents.families)? };
    let mut answer = WhyTarget { targets: Vec::new(), building: asked.is_build() };
    for ix in targets {
        let target = asked.pipeline.target(*ix);
        let mut groups = Groups::default();
        let mut total = 0;
        // What a split made is there in its own family too, but it is its parent that was split.
        let is_its =
            |family: &&Family| family.step_of(*ix).is_some_and(|step| step > 0 || !family.is_children());
        for family in documents.families.list.iter().filter(is_its) {
            let mut counting =
                Counting { asked, present: &mut present, family, ix: *ix, known: HashMap::new() };
            match scans.iter().find(|scan| scan.source == family.name) {
                Some(scan) => {
                    total += scan.counts.present();
                    for found in &scan.found {
                        let id = id_of(&family.name, &found.dir, &found.name);
                        if !is_in(&id) {
                            continue;
                        }
                        match found.kind {
                            Difference::New => groups.add(Kind::New, Vec::new(), &id),
                            Difference::Gone(_) => {}
                            Difference::Changed(known)
                                if differs(&Touched {
                                    source: &family.name,
                                    id: &id,
                                    story: Position(known.extra),
                                })? =>
                            {
                                groups.add(Kind::Changed, Vec::new(), &id);
                            }
                            Difference::Changed(known) | Difference::Untrusted(known) => {
                                counting.count(
                                    &mut groups,
                                    &id,
                                    Position(known.extra),
                                    Position(known.tag),
                                )?;
                            }
                        }
                    }
                    if target.hold.is_some() {
                        let id =
                            |found: scan::Found| id_of(&family.name, &found.dir, &found.name).to_string();
                        let found: HashSet<String> = scan.found.iter().map(id).collect();
                        counting.held(&mut groups, &|id| is_in(id) && !found.contains(id.as_str()))?;
                    }
                }
                None => total += counting.all(&mut groups, is_in)?,
            }
        }
        let to_do: u64 =
            groups.0.iter().filter(|group| group.kind != Kind::Held).map(|group| group.documents).sum();
        groups.0.sort_by_key(|group| std::cmp::Reverse(group.documents));
        answer.targets.push(TargetWhy {
            target: target.name.clone(),
            documents: total,
            up_to_date: total.saturating_sub(to_do),
            groups: groups.0,
            is_group: target.verb == Verb::Group,
            waits_for: unwell::waits_for(asked, documents, &present, &scans, *ix)?,
            failed: unwell::failed(asked, *ix)?,
            blocked: unwell::blocked(asked, documents, *ix)?,
        });
    }
    Ok(answer)
}

/// A source document whose file has another stamp than it had when it was built.
pub(super) struct Touched<'a> {
    pub(super) source: &'a str,
    pub(super) id: &'a DocId,
    /// What is told of it.
    pub(super) story: Position,
}

#[derive(Default)]
struct Groups(Vec<Group>);

impl Groups {
    fn add(&mut self, kind: Kind, reasons: Vec<Reason>, id: &DocId) {
        let reasons = general(reasons);
        match self.0.iter_mut().find(|group| group.kind == kind && group.reasons == reasons) {
            Some(group) => group.documents += 1,
            None => self.0.push(Group { documents: 1, kind, reasons, sample: id.to_string() }),
        }
    }
}

/// Reasons without what differs from document to document.
fn general(reasons: Vec<Reason>) -> Vec<Reason> {
    let strip = |reason| match reason {
        Reason::PassingFault { failure } => {
            let kind = failure.split(':').next().unwrap_or_default().to_owned();
            Reason::PassingFault { failure: kind }
        }
        reason => reason,
    };
    reasons.into_iter().map(strip).collect()
}

/// What documents of one definition have in common.
struct Common {
    answer: Option<(Kind, Vec<Reason>)>,
    looked_at: u64,
    differ: bool,
}

struct Counting<'c, 'a> {
    asked: &'c Asked<'a>,
    present: &'c mut Present<'a>,
    family: &'c Family,
    ix: TargetIx,
    known: HashMap<Position, Common>,
}

impl Counting<'_, '_> {
    /// All documents of a family that was not scanned.
    fn all(&mut self, groups: &mut Groups, is_in: &dyn Fn(&DocId) -> bool) -> Result<u64> {
        let (store, name) = (self.asked.store, self.family.name.clone());
        let (mut total, mut outcome) = (0, Ok(()));
        store.scan(&name, &mut |dir, entry| {
            if entry.flags.gone {
                return true;
            }
            total += 1;
            let id = id_of(&name, dir, &entry.name);
            if is_in(&id) {
                outcome = self.count(groups, &id, entry.story, entry.definition);
            }
            outcome.is_ok()
        })?;
        outcome.map(|()| total)
    }

    /// Documents that a scan found as they were, and whose results are held.
    fn held(&mut self, groups: &mut Groups, is_in: &dyn Fn(&DocId) -> bool) -> Result<()> {
        let (store, name) = (self.asked.store, self.family.name.clone());
        let target = &self.asked.pipeline.target(self.ix).name;
        let mut outcome = Ok(());
        store.scan(&name, &mut |dir, entry| {
            let id = id_of(&name, dir, &entry.name);
            if entry.flags.gone || !is_in(&id) {
                return true;
            }
            outcome = before(store, entry.story).and_then(|told| {
                if !told.as_ref().and_then(|told| told.entry(target)).is_some_and(is_held) {
                    return Ok(());
                }
                if let Some((kind, reasons)) = self.look(&id, entry.story, entry.definition)? {
                    groups.add(kind, reasons, &id);
                }
                Ok(())
            });
            outcome.is_ok()
        })?;
        outcome
    }

    fn count(
        &mut self,
        groups: &mut Groups,
        id: &DocId,
        story: Position,
        definition: Position,
    ) -> Result<()> {
        if let Some(common) = self.known.get(&definition)
            && common.looked_at >= PROBED
            && !common.differ
        {
            if let Some((kind, reasons)) = common.answer.clone() {
                groups.add(kind, reasons, id);
            }
            return Ok(());
        }
        let answer = self.look(id, story, definition)?;
        let first = Common { answer: answer.clone(), looked_at: 0, differ: false };
        let common = self.known.entry(definition).or_insert(first);
        common.looked_at += 1;
        common.differ |= common.answer != answer;
        if let Some((kind, reasons)) = answer {
            groups.add(kind, reasons, id);
        }
        Ok(())
    }

    /// Why a document that was built before would run in the target; nothing if it would not.
    fn look(
        &mut self,
        id: &DocId,
        story: Position,
        definition: Position,
    ) -> Result<Option<(Kind, Vec<Reason>)>> {
        let pipeline = self.asked.pipeline;
        let Some(told) = before(self.asked.store, story)? else { return Ok(Some((Kind::New, Vec::new()))) };
        let Some(entry) = told.entry(&pipeline.target(self.ix).name) else {
            return Ok(Some((Kind::New, Vec::new())));
        };
        let holds = self.present.outline.covers(&self.present.parts, definition, self.ix);
        let record = match entry.act {
            Some(at) => self.asked.store.act(at)?.map(|act| (at, act)),
            None => None,
        };
        if let Some((at, act)) = record {
            let passing = matches!(&act.outcome, Outcome::Failed(failure) if !failure.is_kept());
            if !holds || passing || is_held(entry) {
                let mut plan = &self.present.plans[self.ix.0];
                if !plan.calls.is_empty()
                    && let Some(recipe) = self.asked.store.recipe(act.recipe)?
                {
                    plan = plan.call_named(&recipe.module);
                }
                let key = action_key(&plan.recipe_digest, &act.inputs);
                let wanted = Wanted { plan, id, inputs: &act.inputs, key: ActionKey(key.0), own: Some(at) };
                // With its inputs as they were, a record may still answer: reverted code, a mark fulfilled.
                if self.present.lookup.find(self.asked.store, &wanted)?.is_none()
                    && self.present.lookup.accepted(self.asked.store, &wanted)?.is_none()
                {
                    let reasons = self.present.lookup.reasons(self.asked.store, &wanted)?;
                    if let Some(hold) = plan.hold
                        && self.present.lookup.held(self.asked.store, &wanted, hold)?.is_some()
                    {
                        return Ok(Some((Kind::Held, reasons)));
                    }
                    return Ok(Some((Kind::Differs, reasons)));
                }
            }
        } else if entry.state == State::Unfinished {
            return Ok(Some(self.behind(&told, definition).unwrap_or((Kind::Unfinished, Vec::new()))));
        }
        Ok(self.behind(&told, definition))
    }

    /// The first target before this one, for the same documents, that is not as it was.
    fn behind(&self, told: &Before, definition: Position) -> Option<(Kind, Vec<Reason>)> {
        let pipeline = self.asked.pipeline;
        // A target that the document never came to is decided by those before it.
        let never_came = |target: TargetIx| {
            let entry = told.entry(&pipeline.target(target).name);
            entry.is_some_and(|entry| entry.state == State::Absent)
        };
        let needed = Families::closure(pipeline, [self.ix]);
        let mut steps = self.family.steps.iter().map(|step| step.target);
        let first = steps.find(|target| {
            let is_before = needed.contains(target) && *target != self.ix;
            is_before
                && pipeline.target(*target).verb == Verb::Each
                && !never_came(*target)
                && !self.present.outline.covers(&self.present.parts, definition, *target)
        })?;
        Some((Kind::Behind { target: pipeline.target(first).name.clone() }, Vec::new()))
    }
}
