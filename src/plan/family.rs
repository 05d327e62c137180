//! Families and strata: which documents go through which targets, and what must wait for a set.
//!
//! The documents of a source, and the one result of an `all` target, are each a *family*: they go through the same
//! targets. A *stratum* is what can be done without waiting: what stands behind an `all` belongs to a later one,
//! begun when the streams of that `all` are settled. Knows the pipeline, no documents.

use std::collections::BTreeSet;

use crate::model::pipeline::{Node, Pipeline, SourceIx, TargetIx, Verb, WithFrom};

/// Where the documents of a family come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A source.
    Source(SourceIx),
    /// An `all` target: one document, its result.
    Set(TargetIx),
}

/// Documents that go through the same targets.
#[derive(Clone, Debug)]
pub struct Family {
    /// Where they come from.
    pub origin: Origin,
    /// The source's or the target's name: the first part of their ids.
    pub name: String,
    /// What they go through, in the pipeline's order; the first of a set's family is the `all` target itself.
    pub steps: Vec<Step>,
    /// The documents are rows of a file, not files.
    pub rows: bool,
    /// Whether a set, or a side input by value, takes the documents as they are, straight from their source.
    pub feeds_set: bool,
}

/// One target in a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The target.
    pub target: TargetIx,
    /// What it may take as its input: the family's origin or earlier steps.
    pub inputs: Vec<Input>,
    /// The side inputs of the same document: (the number in the target's `with`, where from).
    pub with: Vec<(usize, Input)>,
    /// When it is decided.
    pub stratum: usize,
}

/// A place within a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The document itself.
    Origin,
    /// The result of this step.
    Step(usize),
}

/// All families of a pipeline.
#[derive(Clone, Debug)]
pub struct Families {
    /// Sources in the order of the file, then sets in the pipeline's order.
    pub list: Vec<Family>,
    /// Of each target.
    pub strata: Vec<usize>,
}

/// The number of a family in [`Families::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FamilyIx(pub usize);

impl Families {
    /// The families of a pipeline, limited to some of its targets (with all that they need).
    pub fn new(pipeline: &Pipeline, wanted: &BTreeSet<TargetIx>) -> Self {
        let strata = strata(pipeline);
        let sources = (0..pipeline.sources.len()).map(|ix| Origin::Source(SourceIx(ix)));
        let is_set = |ix: &TargetIx| pipeline.target(*ix).verb == Verb::All && wanted.contains(ix);
        let sets = (0..pipeline.targets.len()).map(TargetIx).filter(is_set).map(Origin::Set);
        let list = sources.chain(sets).map(|origin| family(pipeline, origin, wanted, &strata)).collect();
        Families { list, strata }
    }

    /// A family by its number.
    pub fn family(&self, ix: FamilyIx) -> &Family {
        &self.list[ix.0]
    }

    /// The family of this name.
    pub fn find(&self, name: &str) -> Option<FamilyIx> {
        self.list.iter().position(|family| family.name == name).map(FamilyIx)
    }

    /// How many strata there are.
    pub fn stratum_count(&self) -> usize {
        let steps = self.list.iter().flat_map(|family| &family.steps);
        steps.map(|step| step.stratum + 1).max().unwrap_or(1)
    }

    /// The families whose documents come to a stream, with the place where they leave for it.
    pub fn of_stream(&self, stream: Node) -> Vec<(FamilyIx, Input)> {
        let place = |family: &Family| match (stream, family.origin) {
            (Node::Source(source), Origin::Source(origin)) => (source == origin).then_some(Input::Origin),
            (Node::Source(_), Origin::Set(_)) => None,
            (Node::Target(target), _) => family.step_of(target).map(Input::Step),
        };
        let families = self.list.iter().enumerate();
        families.filter_map(|(ix, family)| Some((FamilyIx(ix), place(family)?))).collect()
    }

    /// Every target and all that it needs, `with` included.
    pub fn closure(pipeline: &Pipeline, names: impl IntoIterator<Item = TargetIx>) -> BTreeSet<TargetIx> {
        let mut all = BTreeSet::new();
        let mut open: Vec<TargetIx> = names.into_iter().collect();
        while let Some(ix) = open.pop() {
            if all.insert(ix) {
                open.extend(needs(pipeline, ix));
            }
        }
        all
    }
}

impl Family {
    /// The step of a target.
    pub fn step_of(&self, target: TargetIx) -> Option<usize> {
        self.steps.iter().position(|step| step.target == target)
    }

    /// Whether this family is the result of an `all`.
    pub fn is_set(&self) -> bool {
        matches!(self.origin, Origin::Set(_))
    }

    /// Whether any target asks for the documents.
    pub fn is_needed(&self) -> bool {
        !self.steps.is_empty() || self.feeds_set
    }

    /// Whether anything is decided in a stratum.
    pub fn has_stratum(&self, stratum: usize) -> bool {
        self.steps.iter().any(|step| step.stratum == stratum)
    }
}

/// The targets whose results a target takes.
pub fn needs(pipeline: &Pipeline, ix: TargetIx) -> Vec<TargetIx> {
    let target = pipeline.target(ix);
    let of_node = |node: &Node| if let Node::Target(ix) = node { Some(*ix) } else { None };
    let with = target.with.iter().filter_map(|with| match &with.from {
        WithFrom::Document(node) | WithFrom::Value(node) => of_node(node),
        WithFrom::Shared(ix) => Some(*ix),
        WithFrom::File(..) => None,
    });
    target.streams.iter().filter_map(of_node).chain(with).collect()
}

fn strata(pipeline: &Pipeline) -> Vec<usize> {
    let mut strata = vec![0; pipeline.targets.len()];
    for (ix, target) in pipeline.targets.iter().enumerate() {
        let of = |node: &Node| if let Node::Target(ix) = node { strata[ix.0] } else { 0 };
        let streams = target.streams.iter().map(of).max().unwrap_or(0);
        let with = target.with.iter().map(|with| match &with.from {
            WithFrom::Document(node) => of(node),
            WithFrom::Value(node) => of(node) + 1,
            WithFrom::Shared(ix) => strata[ix.0] + 1,
            WithFrom::File(..) => 0,
        });
        let waits = usize::from(target.verb != Verb::Each);
        strata[ix] = with.max().unwrap_or(0).max(streams + waits);
    }
    strata
}

fn family(pipeline: &Pipeline, origin: Origin, wanted: &BTreeSet<TargetIx>, strata: &[usize]) -> Family {
    let mut steps: Vec<Step> = Vec::new();
    for (ix, target) in pipeline.targets.iter().enumerate() {
        let ix = TargetIx(ix);
        if !wanted.contains(&ix) {
            continue;
        }
        let stratum = strata[ix.0];
        if origin == Origin::Set(ix) {
            steps.push(Step { target: ix, inputs: vec![Input::Origin], with: Vec::new(), stratum });
            continue;
        }
        if target.verb != Verb::Each {
            continue;
        }
        let place = |node: &Node| match (node, origin) {
            (Node::Source(source), Origin::Source(of)) => (*source == of).then_some(Input::Origin),
            (Node::Source(_), Origin::Set(_)) => None,
            (Node::Target(target), _) => {
                steps.iter().position(|step| step.target == *target).map(Input::Step)
            }
        };
        let inputs: Vec<Input> = target.streams.iter().filter_map(place).collect();
        if inputs.is_empty() {
            continue;
        }
        let by_document = |(number, with): (usize, &crate::model::pipeline::With)| match &with.from {
            WithFrom::Document(node) => place(node).map(|input| (number, input)),
            _ => None,
        };
        let with = target.with.iter().enumerate().filter_map(by_document).collect();
        steps.push(Step { target: ix, inputs, with, stratum });
    }
    let name = match origin {
        Origin::Source(ix) => pipeline.source(ix).name.clone(),
        Origin::Set(ix) => pipeline.target(ix).name.clone(),
    };
    let takes = |ix: &TargetIx| {
        let target = pipeline.target(*ix);
        let is_origin =
            |node: &Node| matches!((node, origin), (Node::Source(a), Origin::Source(b)) if *a == b);
        let by_value = |with: &crate::model::pipeline::With| matches!(&with.from, WithFrom::Value(node) if is_origin(node));
        (target.verb != Verb::Each && target.streams.iter().any(is_origin))
            || target.with.iter().any(by_value)
    };
    let rows = matches!(origin, Origin::Source(ix) if pipeline.source(ix).rows.is_some());
    Family { origin, name, steps, rows, feeds_set: wanted.iter().any(takes) }
}

#[cfg(test)]
mod tests;
