//! A pass over the documents of some targets, as they stand: which of them are concerned by what somebody asks for.
//!
//! Reads stories and records. Marks nothing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::engine::kin::by_of;
use crate::engine::loads::PresentCode;
use crate::engine::marks::covers;
use crate::engine::members::{Group, members_of};
use crate::engine::merges::{AskedOf, visit_merges};
use crate::engine::outline::Outline;
use crate::engine::requests::Inputs;
use crate::engine::services::Reach;
use crate::engine::sets::{Streams, before, id_of};
use crate::engine::target::TargetPlan;
use crate::engine::{Parts, modules};
use crate::error::{Error, Result};
use crate::model::action::{Act, Position, State, StoryEntry};
use crate::model::document::DocId;
use crate::model::pipeline::{Pipeline, TargetIx, Verb};
use crate::model::selection::Glob;
use crate::plan::family::{Families, PARENT, needs};
use crate::store::Entry;

/// A target, as it is planned now, and what was found of its documents.
pub(super) struct Meant {
    pub(super) target: String,
    pub(super) plan: TargetPlan,
    /// Documents that are concerned.
    pub(super) documents: u64,
    /// Microseconds that their results took, each counted once.
    pub(super) work: u64,
    counted: HashSet<Position>,
}

impl Meant {
    /// Counts a document, and the work that its result was.
    pub(super) fn count(&mut self, at: Option<Position>, act: Option<&Act>) {
        self.documents += 1;
        if let (Some(at), Some(act)) = (at, act)
            && self.counted.insert(at)
        {
            self.work += act.duration;
        }
    }
}

/// Documents, some of which are selected.
pub(super) struct Survey<'a> {
    pub(super) parts: &'a Parts<'a>,
    pub(super) families: Families,
    pub(super) meant: Vec<Meant>,
    /// Absent: all.
    pub(super) glob: Option<Glob>,
    /// Sets, groups and merges a member of which the glob selects.
    pub(super) sets: BTreeSet<String>,
}

/// A document in one target.
pub(super) struct Standing<'s> {
    pub(super) id: &'s DocId,
    pub(super) entry: &'s StoryEntry,
    /// The run that says so.
    pub(super) run: u32,
    /// A split made it in this very target.
    pub(super) is_made: bool,
}

impl<'a> Survey<'a> {
    /// Plans these targets as a build would at its beginning.
    pub(super) fn new(
        parts: &'a Parts<'a>,
        targets: &BTreeSet<TargetIx>,
        docs: Option<&str>,
    ) -> Result<Survey<'a>> {
        let wanted = Families::closure(parts.pipeline, targets.iter().copied());
        let families = Families::new(parts.pipeline, &wanted);
        let facts = modules::facts(parts.pipeline, parts.store, &parts.interpreter, Reach::Nobody)?;
        let mut outline = Outline::new(parts, facts)?;
        let mut present = PresentCode::new(&parts.sites);
        let mut inputs = Inputs::new(parts.store)?;
        let mut meant = Vec::new();
        for ix in targets {
            let plan = outline.plan(parts, &families, *ix, &mut present, &mut inputs)?;
            let target = parts.pipeline.target(*ix).name.clone();
            meant.push(Meant { target, plan, documents: 0, work: 0, counted: HashSet::new() });
        }
        let glob = docs.and_then(|glob| Glob::new(glob).ok());
        let mut survey = Survey { parts, families, meant, glob, sets: BTreeSet::new() };
        if let Some(glob) = survey.glob.clone() {
            for ix in targets {
                survey.add_sets(&glob, *ix)?;
            }
        }
        Ok(survey)
    }

    /// Adds the sets and groups of a target that have a member which the glob selects.
    fn add_sets(&mut self, glob: &Glob, ix: TargetIx) -> Result<()> {
        let Parts { pipeline, store, .. } = *self.parts;
        let target = pipeline.target(ix);
        if target.verb == Verb::Each {
            return Ok(());
        }
        let sees = &self.meant.iter().find(|meant| meant.plan.ix == ix).map(|meant| meant.plan.sees.clone());
        let sees = sees.as_deref().unwrap_or_default();
        let streams = Streams {
            pipeline,
            families: &self.families,
            store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only: None,
            is_current: None,
            group: None,
        };
        let mut sets = BTreeSet::new();
        match (target.verb, target.by.as_deref()) {
            (Verb::Group, by) if by != Some(PARENT) => {
                let Ok(by) = by_of(self.parts, &self.families, ix)? else { return Ok(()) };
                let path = store.tmp().join(format!("selected-{}.jsonl", ix.0));
                let mut groups = Vec::new();
                streams.groups(ix, &by, sees, path.clone(), &mut |group| {
                    groups.push((group.value, group.from, group.to));
                    Ok(())
                })?;
                for (value, from, to) in groups {
                    let mut any = false;
                    let group = Group::Noted(path.clone(), from, to);
                    if let Group::Noted(path, from, to) = &group {
                        members_of(path, *from, *to, &mut |family, dir, name| {
                            let family = &self.families.family(family).name;
                            any |= covers(glob, &id_of(family, dir, name));
                            Ok(())
                        })?;
                    }
                    if any {
                        sets.insert(format!("{}/{value}", target.name));
                    }
                }
                crate::fs::remove_file(&path)?;
            }
            _ if target.reduce => {
                // The merges on its way to the result, which nobody could name.
                let is_touched = |id: &DocId| covers(glob, id);
                let asked = AskedOf { is_touched: &is_touched, new: &BTreeSet::new() };
                visit_merges(&streams, ix, &asked, None, &mut |merge| {
                    if merge.touched {
                        sets.insert(merge.id.to_string());
                        sets.insert(target.name.clone());
                    }
                    Ok(())
                })?;
            }
            (verb, _) => {
                streams.members(ix, sees, &mut |member| {
                    if covers(glob, member.id) {
                        let set = match (verb, member.id.parent()) {
                            (Verb::Group, Some(parent)) => parent.to_string(),
                            _ => target.name.clone(),
                        };
                        sets.insert(set);
                    }
                    Ok(())
                })?;
            }
        }
        self.sets.extend(sets);
        Ok(())
    }

    /// Looks at every selected document; `concerns` counts those that are concerned in a target, and says so. Those that
    /// are in any are returned.
    pub(super) fn visit(
        &mut self,
        concerns: &mut dyn FnMut(&mut Meant, &Standing<'_>) -> Result<bool>,
    ) -> Result<Vec<(String, String, Entry)>> {
        let mut selected = Vec::new();
        let Survey { parts, families, meant, glob, sets } = self;
        for family in &families.list {
            let steps = family.steps.iter().map(|step| parts.pipeline.target(step.target).name.as_str());
            let names: Vec<&str> = steps.collect();
            if !meant.iter().any(|meant| names.contains(&meant.target.as_str())) {
                continue;
            }
            let is_selected = |id: &DocId| {
                let named = |glob: &Glob| covers(glob, id) || sets.contains(id.as_str());
                glob.as_ref().is_none_or(named)
            };
            let mut places: HashMap<Position, Vec<Option<usize>>> = HashMap::new();
            let mut failed = Ok(());
            parts.store.scan(&family.name, &mut |dir, entry| {
                let id = id_of(&family.name, dir, &entry.name);
                if entry.flags.gone || !is_selected(&id) {
                    return true;
                }
                let told = match before(parts.store, entry.story) {
                    Ok(Some(told)) => told,
                    Ok(None) => return true,
                    Err(error) => {
                        failed = Err(error);
                        return false;
                    }
                };
                let places = places.entry(told.story.definition).or_insert_with(|| {
                    let place = |meant: &Meant| {
                        told.definition.targets.iter().position(|defined| defined.name == meant.target)
                    };
                    meant.iter().map(place).collect()
                });
                let mut any = false;
                for (meant, place) in meant.iter_mut().zip(places.iter()) {
                    let Some(of) = place.and_then(|place| told.story.entries.get(place)) else { continue };
                    let is_made = family.is_children()
                        && family.steps.first().is_some_and(|step| step.target == meant.plan.ix);
                    let run = told.story.run;
                    match concerns(meant, &Standing { id: &id, entry: of, run, is_made }) {
                        Ok(concerned) => any |= concerned,
                        Err(error) => {
                            failed = Err(error);
                            return false;
                        }
                    }
                }
                if any {
                    selected.push((family.name.clone(), dir.to_owned(), entry.clone()));
                }
                true
            })?;
            failed?;
        }
        Ok(selected)
    }

    /// A record, if there is one.
    pub(super) fn act(parts: &Parts<'_>, entry: &StoryEntry) -> Result<Option<Arc<Act>>> {
        match entry.act {
            Some(at) => parts.store.act(at),
            None => Ok(None),
        }
    }

    /// That a glob selects nothing.
    pub(super) fn nothing(docs: &str) -> Error {
        Error::no_match(format!("`--docs {docs}` names no document that was done there"))
            .hint("ids begin with the source's name: pipe ls SOURCE")
    }
}

/// A target with all that is behind it.
pub fn behind(pipeline: &Pipeline, first: TargetIx) -> BTreeSet<TargetIx> {
    let mut behind = BTreeSet::from([first]);
    loop {
        let more: Vec<TargetIx> = (0..pipeline.targets.len())
            .map(TargetIx)
            .filter(|ix| !behind.contains(ix))
            .filter(|ix| needs(pipeline, *ix).iter().any(|need| behind.contains(need)))
            .collect();
        if more.is_empty() {
            return behind;
        }
        behind.extend(more);
    }
}

/// Whether a document has a result in a target, or failed there.
pub(super) fn has_ended(entry: &StoryEntry) -> bool {
    matches!(entry.state, State::Done | State::Skipped | State::Failed)
}
