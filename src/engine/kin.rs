//! Side inputs of kin: what came of the document that this one was split from, and of the group that it is a member of.
//!
//! What a document was split from hands its results down while it is open; whoever asks later reads them from the
//! records. A group is found by the member's own value. Decides nothing. See `semantics.md` 25.

use std::sync::Arc;

use crate::engine::Parts;
use crate::engine::by::By;
use crate::engine::decide::Deciding;
use crate::engine::document::{Document, StepResult, place_of};
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::requests::origin;
use crate::engine::sets::{file_of, parent_of, set_result, stored};
use crate::engine::target::TargetPlan;
use crate::engine::values::{Found, Grouping, Handed, Match, MatchContent};
use crate::error::Result;
use crate::model::action::State;
use crate::model::document::DocId;
use crate::model::pipeline::{Node, TargetIx};
use crate::plan::family::{Families, FamilyIx, Input, Origin, Step, by_target};

/// What a document is at a place, for another one; nothing where it never came there.
pub fn match_of(parts: &Parts<'_>, families: &Families, document: &Document, place: Input) -> Option<Match> {
    let family = families.family(document.family);
    let state = state_at(document, place);
    if matches!(state, State::Skipped | State::LeftOut | State::Absent) {
        return None;
    }
    let (digest, ext) = document.input_facts(place).unwrap_or_default();
    let content = match (origin(family, document, place), family.origin) {
        _ if state != State::Done => None,
        (Input::Step(step), _) => {
            let result = document.results[step].as_ref();
            let output = result.and_then(StepResult::output).cloned();
            let at = result.and_then(|result| result.act);
            output.zip(at).map(|(output, at)| MatchContent::Stored(output, at))
        }
        (Input::Origin, Origin::Source(source)) => match file_of(&parts.roots[source.0], document) {
            Some(path) => Some(MatchContent::File { path, source, stamp: document.stamp }),
            None => {
                let held = document.content.as_ref().and_then(|content| content.bytes.clone());
                held.map(MatchContent::Row)
            }
        },
        (Input::Origin, _) => None,
    };
    let failed = match place {
        Input::Step(step) if matches!(state, State::Failed | State::Blocked) => {
            document.stopped_by(parts.pipeline, family, step)
        }
        _ => format!("{} failed", document.id),
    };
    Some(Match { id: document.id.clone(), state, digest, ext, content, failed })
}

fn state_at(document: &Document, place: Input) -> State {
    match place {
        Input::Origin if document.digest.is_some() => State::Done,
        Input::Origin => State::Failed,
        Input::Step(step) => document.results[step].as_ref().map_or(State::Unfinished, |result| result.state),
    }
}

/// What an open document hands to the children of a family that are looked at in a stratum.
pub fn handed_down(
    parts: &Parts<'_>,
    families: &Families,
    document: &Document,
    children: FamilyIx,
    stratum: usize,
) -> Arc<[Handed]> {
    let wanted = families.family(children).handed.iter().filter(|(_, of)| *of == stratum);
    let handed = wanted.map(|(node, _)| {
        let found = match families.family(document.family).place(*node) {
            Some(place) => match_of(parts, families, document, place),
            None => {
                document.handed.iter().find(|handed| handed.node == *node).and_then(|of| of.found.clone())
            }
        };
        Handed { node: *node, found }
    });
    handed.collect()
}

/// Whether all that an open document hands to these children in this stratum is settled, and into what else it is split.
/// A step may be settled without a result: its module could not start, or was stopped.
pub fn is_ready(
    families: &Families,
    document: &Document,
    children: FamilyIx,
    is_settled: &dyn Fn(usize) -> bool,
) -> bool {
    let family = families.family(document.family);
    let is_decided = |step: usize| is_settled(step) || family.steps[step].stratum != document.stratum;
    let split = family.splits.iter().find(|split| split.family == children);
    let twins = split.is_none_or(|split| split.twins.iter().all(|step| is_decided(*step)));
    let wanted = families.family(children).handed.iter().filter(|(_, of)| *of == document.stratum);
    twins
        && wanted.filter_map(|(node, _)| family.place(*node)).all(|place| match place {
            Input::Origin => true,
            Input::Step(step) => is_decided(step),
        })
}

/// Everything of kin that a step of a document takes.
pub fn of_document(
    parts: &Parts<'_>,
    families: &Families,
    plan: &TargetPlan,
    document: &Document,
    place: &Step,
) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    for (number, node) in &place.handed {
        let handed = document.handed.iter().find(|handed| handed.node == *node);
        let found = match handed {
            Some(handed) => handed.found.clone(),
            None => of_ancestor(parts, families, document, *node)?,
        };
        all.push(Found { number: *number, matches: found.into_iter().collect(), is_certain: true });
    }
    for (number, node) in &place.of_group {
        let known = plan.values.iter().find(|value| value.number == *number);
        let groupings = known.and_then(|value| value.groups.clone()).unwrap_or_default();
        let mut found = Found { number: *number, matches: Vec::new(), is_certain: true };
        for grouping in groupings.iter() {
            of_group(parts, families, grouping, document, *node, &mut found)?;
        }
        all.push(found);
    }
    Ok(all)
}

/// What came of the nearest document that this one was split from and that has a place for the stream, as it is recorded.
fn of_ancestor(
    parts: &Parts<'_>,
    families: &Families,
    document: &Document,
    node: Node,
) -> Result<Option<Match>> {
    let (mut ix, mut id) = (document.family, document.id.clone());
    while let Some(parent) = parent_of(parts.store, parts.pipeline, families, &parts.roots, ix, id.place().0)?
    {
        if let Some(place) = families.family(parent.family).place(node) {
            return Ok(match_of(parts, families, &parent, place));
        }
        (ix, id) = (parent.family, parent.id);
    }
    Ok(None)
}

/// What says the groups of each group target behind a stream.
pub fn groupings(parts: &Parts<'_>, families: &Families, node: Node) -> Result<Vec<Grouping>> {
    let of_stream = families.of_stream(node);
    let targets = of_stream.iter().filter_map(|(ix, _)| families.family(*ix).group_target());
    targets.map(|target| Ok(Grouping { target, by: by_of(parts, families, target)? })).collect()
}

/// What says the groups of a target; or how things stand for want of it.
pub fn by_of(
    parts: &Parts<'_>,
    families: &Families,
    target: TargetIx,
) -> Result<std::result::Result<By, (State, String)>> {
    match by_target(parts.pipeline, target) {
        Some(of) => map_of(parts, families, of),
        None => Ok(By::field(parts.pipeline, target).ok_or((State::Unfinished, String::new()))),
    }
}

/// The map that another target made; or how things stand for want of it.
fn map_of(
    parts: &Parts<'_>,
    families: &Families,
    of: TargetIx,
) -> Result<std::result::Result<By, (State, String)>> {
    let name = &parts.pipeline.target(of).name;
    let family = families.list.iter().find(|family| family.is_set() && family.step_of(of).is_some());
    let Some(family) = family else { return Ok(Err((State::Unfinished, String::new()))) };
    let blocked = |why: String| Ok(Err((State::Blocked, why)));
    match set_result(parts, family, name)? {
        Some((State::Done, Some(output), _)) => match parts.store.output_bytes(&output)? {
            Some(bytes) => match By::map(&bytes) {
                Ok(by) => Ok(Ok(by)),
                Err(why) => blocked(format!("`{name}`: {why}")),
            },
            None => Ok(Err((State::Unfinished, format!("the result of {name} is damaged")))),
        },
        Some((State::Failed | State::Blocked, ..)) => blocked(format!("{name} failed")),
        Some((State::Skipped, ..)) => blocked(format!("{name} was skipped")),
        _ => Ok(Err((State::Unfinished, String::new()))),
    }
}

/// The group of a document, or of the nearest one that it was split from and that is a member.
fn of_group(
    parts: &Parts<'_>,
    families: &Families,
    grouping: &Grouping,
    document: &Document,
    node: Node,
    found: &mut Found,
) -> Result<()> {
    let streams = &parts.pipeline.target(grouping.target).streams;
    let place_in = |ix: FamilyIx| streams.iter().find_map(|stream| families.family(ix).place(*stream));
    if let Some(place) = place_in(document.family) {
        return of_member(parts, families, grouping, (document, place), node, found);
    }
    let (mut ix, mut id) = (document.family, document.id.clone());
    while let Some(parent) = parent_of(parts.store, parts.pipeline, families, &parts.roots, ix, id.place().0)?
    {
        if let Some(place) = place_in(parent.family) {
            return of_member(parts, families, grouping, (&parent, place), node, found);
        }
        (ix, id) = (parent.family, parent.id);
    }
    Ok(())
}

fn of_member(
    parts: &Parts<'_>,
    families: &Families,
    grouping: &Grouping,
    (member, place): (&Document, Input),
    node: Node,
    found: &mut Found,
) -> Result<()> {
    let target = parts.pipeline.target(grouping.target);
    let mut stands = |state, failed: String| {
        let (digest, ext, id) = (crate::hash::Digest::default(), String::new(), DocId::of_set(&target.name));
        found.matches.push(Match { id, state, digest, ext, content: None, failed });
    };
    let by = match &grouping.by {
        Ok(by) => by,
        Err((state, note)) => {
            stands(*state, note.clone());
            return Ok(());
        }
    };
    let family = families.family(member.family);
    match state_at(member, place) {
        State::Failed | State::Blocked if !by.is_of_id() => {
            let failed = match_of(parts, families, member, place).map(|one| one.failed);
            stands(State::Blocked, failed.unwrap_or_default());
            return Ok(());
        }
        State::Done | State::Failed | State::Blocked => {}
        State::Unfinished => {
            stands(State::Unfinished, String::new());
            return Ok(());
        }
        State::Skipped | State::LeftOut | State::Absent => return Ok(()),
    }
    let mut lookup = Lookup::new(PresentCode::new(&parts.sites));
    let deciding = Deciding { pipeline: parts.pipeline, family, store: parts.store, lookup: &mut lookup };
    let field = |field: &crate::model::selection::Field| deciding.field(member, place, field);
    if target.test.as_ref().is_some_and(|test| !test.passes(&field)) {
        return Ok(());
    }
    let Some(part) = by.part(member.id.as_str(), &field) else { return Ok(()) };
    let groups = families.list.iter().position(|family| family.group_target() == Some(grouping.target));
    let Some(ix) = groups.map(FamilyIx) else { return Ok(()) };
    let family = families.family(ix);
    let id = DocId::in_source(&target.name, &part);
    let (dir, name) = place_of(&id);
    let entry = parts.store.entry(&family.name, dir, name)?.filter(|entry| !entry.flags.gone);
    let (Some(entry), Some(place)) = (entry, family.place(node)) else { return Ok(()) };
    if let Some(group) = stored(parts.store, parts.pipeline, (ix, family), id.clone(), &entry, &|_| true)? {
        found.matches.extend(match_of(parts, families, &group, place));
    }
    Ok(())
}
