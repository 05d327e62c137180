//! What is to become of a set or a group, from its members. Knows nothing of the build.

use std::collections::HashSet;

use crate::engine::decide::Work;
use crate::engine::document::StepResult;
use crate::engine::outline::{Outline, stream_families};
use crate::engine::sets::{Coverage, Streams};
use crate::engine::target::TargetPlan;
use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::model::action::{KeyInput, Position, State};
use crate::model::pipeline::TargetIx;
use crate::model::selection::{Field, IdPart};
use crate::plan::family::{Families, FamilyIx, Input};

/// What is to become of a set or a group.
pub(super) enum SetWork {
    Settled(Box<StepResult>),
    Members(Box<Work>),
}

/// The key of a set's or group's action, unless too many of its members are missing; `first` names one of these.
pub(super) fn work_of(
    plan: &TargetPlan,
    min_done: f64,
    root: crate::hash::Digest,
    members: u64,
    coverage: &Coverage,
    first: impl FnOnce() -> Result<Option<String>>,
) -> Result<SetWork> {
    if !coverage.is_enough(min_done) {
        let note = named(&coverage.too_few(), first()?, coverage.missing);
        return Ok(SetWork::Settled(Box::new(StepResult::bare(State::Blocked, note))));
    }
    let facts =
        serde_json::json!({ "members": members, "ids": plan.sees.contains(&Field::Id(IdPart::Whole)) });
    let inputs = vec![KeyInput { digest: Some(root), facts: facts.to_string() }];
    Ok(SetWork::Members(Box::new(Work { note: coverage.over(), ..Work::of(plan, inputs, Input::Origin) })))
}

/// What is missing, with the first of it.
pub(super) fn named(note: &str, first: Option<String>, missing: u64) -> String {
    let more = if missing > 1 { ", …" } else { "" };
    first.map_or_else(|| note.to_owned(), |first| format!("{note}: {first}{more}"))
}

/// Reads the members of a set, and says whether it may be made of them. The note tells what is missing.
pub(super) fn set_work(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    plan: &TargetPlan,
    outline: &Outline,
) -> Result<SetWork> {
    let settled = |state, note: String| Ok(SetWork::Settled(Box::new(StepResult::bare(state, note))));
    if let Some((state, why)) = plan.lacks() {
        return settled(state, why);
    }
    let only = options.sample_filter();
    let is_current = |definition: Position, target: TargetIx| outline.covers(parts, definition, target);
    let streams = Streams {
        pipeline: parts.pipeline,
        families,
        store: parts.store,
        roots: &parts.roots,
        sites: &parts.sites,
        only: only.as_deref(),
        is_current: options.docs.is_some().then_some(&is_current),
        group: None,
    };
    let (root, members, coverage) = streams.root(plan.ix, &plan.sees)?;
    let behind = coverage.unfinished + not_named(parts, families, options, plan.ix);
    if behind > 0 {
        return settled(
            State::Unfinished,
            format!("{} not up to date", crate::text::count(behind, "member")),
        );
    }
    let target = parts.pipeline.target(plan.ix);
    work_of(plan, target.min_done, root, members, &coverage, || streams.first_missing(target))
}

/// How many documents of the sources behind a target differ, and are not to be brought up to date.
pub(super) fn not_named(parts: &Parts<'_>, families: &Families, options: &Options, target: TargetIx) -> u64 {
    let of = stream_families(families, parts.pipeline, target);
    let roots: HashSet<FamilyIx> = of.iter().flat_map(|(ix, _)| families.roots(*ix)).collect();
    let named = |ix: &FamilyIx| options.not_named.get(&families.family(*ix).name).copied().unwrap_or(0);
    roots.iter().map(named).sum()
}

pub(super) fn short(value: &str) -> u64 {
    crate::hash::Digest::of(value.as_bytes()).prefix()
}
