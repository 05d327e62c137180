//! Marking work to be done again (`semantics.md` 14).
//!
//! A mark is a frame in the log, on disk before this returns. A mark on whole targets is part of their definition; one
//! that selects documents clears `settled` of those, so that a build looks at them.

use std::collections::{BTreeSet, HashMap};

use crate::engine::loads::PresentCode;
use crate::engine::outline::Outline;
use crate::engine::requests::Inputs;
use crate::engine::sets::{before, covers, id_of};
use crate::engine::{Parts, modules};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Mark, MarkedTarget, State};
use crate::model::pipeline::TargetIx;
use crate::model::selection::Glob;
use crate::plan::family::{Families, Family};
use crate::store::Entry;

/// How much a mark concerns in one target.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Marked {
    /// The target.
    pub target: String,
    /// Documents that have a result, or failed, there.
    pub documents: u64,
}

/// A target that is to be marked: by which modules its results are made, and how many there are.
struct Meant {
    target: String,
    fingerprints: Vec<Digest>,
    documents: u64,
}

/// Which of a target's documents a mark concerns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Selection<'a> {
    /// Those whose ids a glob matches.
    pub docs: Option<&'a str>,
    /// Only those that failed.
    pub failed: bool,
}

/// Marks the work of these targets, for all documents or for those that a selection names.
///
/// # Errors
///
/// If the glob names no document that has anything in these targets, and if the store cannot be written.
pub fn redo(
    parts: &Parts<'_>,
    targets: &BTreeSet<TargetIx>,
    Selection { docs, failed }: Selection<'_>,
    dry_run: bool,
) -> Result<Vec<Marked>> {
    let wanted = Families::closure(parts.pipeline, targets.iter().copied());
    let families = Families::new(parts.pipeline, &wanted);
    let facts = modules::facts(parts.pipeline, parts.store, &parts.interpreter)?;
    let mut outline = Outline::new(parts, facts)?;
    let mut present = PresentCode::new(&parts.pipeline.root);
    let mut inputs = Inputs::new(parts.store)?;
    let mut marked = Vec::new();
    for ix in targets {
        let plan = outline.plan(parts, &families, *ix, &mut present, &mut inputs)?;
        let name = &parts.pipeline.target(*ix).name;
        let fingerprints = plan.each_call().iter().map(|call| call.fingerprint).collect();
        marked.push(Meant { target: name.clone(), fingerprints, documents: 0 });
    }
    let glob = docs.and_then(|glob| Glob::new(glob).ok());
    let mut selected: Vec<(String, String, Entry)> = Vec::new();
    for family in &families.list {
        count(parts, family, (glob.as_ref(), failed), &mut marked, &mut selected)?;
    }
    if let Some(docs) = docs
        && marked.iter().all(|meant| meant.documents == 0)
    {
        return Err(Error::no_match(format!("`--docs {docs}` names no document that was done there"))
            .hint("ids begin with the source's name: pipe ls SOURCE"));
    }
    let result =
        marked.iter().map(|meant| Marked { target: meant.target.clone(), documents: meant.documents });
    let result: Vec<Marked> = result.collect();
    if dry_run || failed && selected.is_empty() {
        return Ok(result);
    }
    let number = parts.store.newest_mark() + 1;
    let of_target = |meant: &Meant| {
        let marked =
            |fingerprint: &Digest| MarkedTarget { name: meant.target.clone(), fingerprint: *fingerprint };
        meant.fingerprints.iter().map(marked).collect::<Vec<_>>()
    };
    let targets = marked.iter().flat_map(of_target).collect();
    parts.store.add_mark(Mark {
        number,
        time: crate::time::now(),
        targets,
        docs: docs.map(str::to_owned),
        failed,
    })?;
    if docs.is_some() || failed {
        unsettle(parts, &families, selected)?;
    }
    Ok(result)
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

/// Counts what a mark concerns in a family, and collects the entries that it selects.
fn count(
    parts: &Parts<'_>,
    family: &Family,
    (glob, failures): (Option<&Glob>, bool),
    marked: &mut [Meant],
    selected: &mut Vec<(String, String, Entry)>,
) -> Result<()> {
    let names: Vec<&str> =
        family.steps.iter().map(|step| parts.pipeline.target(step.target).name.as_str()).collect();
    if !marked.iter().any(|meant| names.contains(&meant.target.as_str())) {
        return Ok(());
    }
    let mut by_definition: HashMap<crate::model::action::Position, Vec<Option<usize>>> = HashMap::new();
    let mut failed = None;
    parts.store.scan(&family.name, &mut |dir, entry| {
        if entry.flags.gone || glob.is_some_and(|glob| !covers(glob, &id_of(&family.name, dir, &entry.name)))
        {
            return true;
        }
        let found = match before(parts.store, entry.story) {
            Ok(Some(found)) => found,
            Ok(None) => return true,
            Err(error) => {
                failed = Some(error);
                return false;
            }
        };
        let places = by_definition.entry(found.story.definition).or_insert_with(|| {
            let place = |meant: &Meant| {
                found.definition.targets.iter().position(|defined| defined.name == meant.target)
            };
            marked.iter().map(place).collect()
        });
        let mut any = false;
        for (meant, place) in marked.iter_mut().zip(places.iter()) {
            let state = place.and_then(|place| found.story.entries.get(place)).map(|entry| entry.state);
            let concerns = match state {
                Some(State::Failed) => true,
                Some(State::Done | State::Skipped) => !failures,
                _ => false,
            };
            if concerns {
                meant.documents += 1;
                any = true;
            }
        }
        if any && (glob.is_some() || failures) {
            selected.push((family.name.clone(), dir.to_owned(), entry.clone()));
        }
        true
    })?;
    failed.map_or(Ok(()), Err)
}
