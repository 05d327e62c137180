//! How much a build would do again although no document changed: for a gate that stops a build before it begins.
//!
//! Counts are upper bounds, as those of the plan: what stands behind work that is done again may come out the same. Runs
//! nothing, and knows nothing of how much is too much.

use std::collections::BTreeSet;

use crate::engine::documents::Documents;
use crate::engine::sets::{before, is_named};
use crate::error::Result;
use crate::model::document::DocId;
use crate::model::pipeline::{TargetIx, Verb};
use crate::model::selection::Glob;
use crate::query::Asked;
use crate::query::why::target::{Group, Kind, Touched, looked_at};
use crate::scan::{self, ReadOutcome, Reader};

/// What a build is asked for, as far as it decides what is done again.
pub struct Ask<'a> {
    /// Its targets.
    pub wanted: &'a BTreeSet<TargetIx>,
    /// Those whose held results are brought up to date.
    pub update: &'a BTreeSet<TargetIx>,
    /// Only these documents.
    pub docs: Option<&'a Glob>,
}

/// What would be done again in a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Redone {
    /// The target.
    pub target: String,
    /// So many documents at most.
    pub documents: u64,
    /// Of so many.
    pub of: u64,
    /// Why, most first.
    pub groups: Vec<Group>,
}

/// What would be done again, target by target in the order of the pipeline; only targets with any. Sets are left out: they
/// are made again whenever a member is.
pub fn redone(asked: &Asked<'_>, ask: &Ask<'_>) -> Result<Vec<Redone>> {
    let pipeline = asked.pipeline;
    let documents = Documents::new(pipeline, asked.store);
    let is_all = |ix: &TargetIx| pipeline.target(*ix).verb == Verb::All;
    let targets: Vec<TargetIx> = ask.wanted.iter().copied().filter(|ix| !is_all(ix)).collect();
    let reader = Reader::new(asked.store.salt())?;
    // A fresh checkout gives every file a new stamp: what changed is told by bytes alone.
    let mut differs = |touched: &Touched<'_>| {
        let Some(told) = before(asked.store, touched.story)? else { return Ok(true) };
        let source = pipeline.find_source(touched.source).map(|source| pipeline.source(source));
        let Some(source) = source.filter(|source| !source.is_given()) else { return Ok(true) };
        let roots = scan::Roots::open(source);
        Ok(match reader.read(&roots, touched.id.rel(), scan::Ask { keep: 0, mime: false }) {
            ReadOutcome::Read(read) => told.story.content != Some(read.digest),
            _ => true,
        })
    };
    let is_in = |id: &DocId| ask.docs.is_none_or(|glob| is_named(glob, id));
    let why = looked_at(asked, &documents, &targets, &mut differs, &is_in)?;
    let is_held = |name: &str| {
        let target = pipeline.find_target(name).filter(|ix| !ask.update.contains(ix));
        target.is_some_and(|ix| pipeline.target(ix).hold.is_some())
    };
    let mut found = Vec::new();
    for target in why.targets {
        let again = |group: &Group| match &group.kind {
            Kind::Differs | Kind::Held => !is_held(&target.target),
            Kind::Behind { target: first } => !is_held(first) && !is_held(&target.target),
            Kind::New | Kind::Changed | Kind::Unfinished => false,
        };
        let groups: Vec<Group> = target.groups.iter().filter(|group| again(group)).cloned().collect();
        let documents = groups.iter().map(|group| group.documents).sum();
        if documents > 0 {
            found.push(Redone { target: target.target, documents, of: target.documents, groups });
        }
    }
    Ok(found)
}
