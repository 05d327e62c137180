//! Families and strata: which documents go through which targets, and what must wait for a set.
//!
//! The documents of a source, the one result of an `all` target, and the children that a split makes are each a
//! *family*: they go through the same targets. A *stratum* is what can be done without waiting: what stands behind an `all` belongs to a later one,
//! begun when the streams of that `all` are settled. Knows the pipeline, no documents.

use std::collections::BTreeSet;

use crate::model::document::{CHILDREN, DocId, GROUPS, MERGES};
use crate::model::pipeline::{Node, Pipeline, SourceIx, TargetIx, Verb, WithFrom};

/// `by = "parent"`: a split document is put together again.
pub const PARENT: &str = "parent";

/// Where the documents of a family come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A source.
    Source(SourceIx),
    /// An `all` target: one document, its result.
    Set(TargetIx),
    /// The children that a target with `split` makes.
    Children(TargetIx),
    /// The groups of a `group` target.
    Group(TargetIx),
    /// The merges of an `all` target with `reduce`: in no stream.
    Merges(TargetIx),
}

/// Documents that go through the same targets.
#[derive(Clone, Debug)]
pub struct Family {
    /// Where they come from.
    pub origin: Origin,
    /// The source's or the target's name: the first part of their ids.
    pub name: String,
    /// What they go through, in the pipeline's order; the first of a set's or of children is the target that makes them.
    pub steps: Vec<Step>,
    /// The documents are no files: rows, or results of another project.
    pub given: bool,
    /// Whether a set, or a side input by value, takes the documents as they are, straight from their source.
    pub feeds_set: bool,
    /// The steps that split a document, and the families of their children.
    pub splits: Vec<Split>,
    /// The targets that children go through, at any depth: a document is up to date only if they are.
    pub below: Vec<(TargetIx, usize)>,
    /// Of children: the streams of which they, or children of theirs, take what came of a document that they were split
    /// from, with the strata in which they do.
    pub handed: BTreeSet<(Node, usize)>,
}

/// A step whose results are documents of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The step.
    pub step: usize,
    /// The family of the children.
    pub family: FamilyIx,
    /// The strata in which children are looked at.
    pub strata: BTreeSet<usize>,
    /// The steps that need the children: groups by parent.
    pub groups: Vec<usize>,
    /// The steps that split the same documents, whose children are taken together with these by some target.
    pub twins: Vec<usize>,
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
    /// Those of what the document was split from, the nearest that has one: (the number, which stream).
    pub handed: Vec<(usize, Node)>,
    /// Those of the group that the document, or what it was split from, is a member of.
    pub of_group: Vec<(usize, Node)>,
    /// When it is decided.
    pub stratum: usize,
    /// Its results are children: documents of another family, nothing that a step of this one could take.
    pub splits: bool,
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
        let list = sources.map(|origin| Family::bare(pipeline, origin, wanted)).collect();
        let mut families = Families { list, strata };
        for ix in (0..pipeline.targets.len()).map(TargetIx).filter(|ix| wanted.contains(ix)) {
            families.add(pipeline, ix, wanted);
        }
        families.look_below();
        families.find_twins(pipeline, wanted);
        families
    }

    /// Notes the splits whose children come to one target: their names must differ.
    fn find_twins(&mut self, pipeline: &Pipeline, wanted: &BTreeSet<TargetIx>) {
        for family in &mut self.list {
            let targets: Vec<TargetIx> =
                family.splits.iter().map(|split| family.steps[split.step].target).collect();
            for a in 0..targets.len() {
                let is_twin = |b: &usize| {
                    let pair = [Node::Target(targets[a]), Node::Target(targets[*b])];
                    let unites =
                        |ix: &TargetIx| pair.iter().all(|node| pipeline.target(*ix).streams.contains(node));
                    // One that needs the other's children cannot be waited for by these.
                    let is_apart = pair.iter().any(|node| waits_for_others(pipeline, *node));
                    *b != a && !is_apart && wanted.iter().any(unites)
                };
                let twins = (0..targets.len()).filter(is_twin).map(|b| family.splits[b].step).collect();
                family.splits[a].twins = twins;
            }
        }
    }

    /// Adds a target: its step in all families that come to it, and the family that it begins.
    fn add(&mut self, pipeline: &Pipeline, ix: TargetIx, wanted: &BTreeSet<TargetIx>) {
        let target = pipeline.target(ix);
        let stratum = self.strata[ix.0];
        let first = |origin| {
            let mut family = Family::bare(pipeline, origin, wanted);
            family.steps.push(Step::bare(ix, vec![Input::Origin], stratum));
            family
        };
        match target.verb {
            Verb::All => {
                self.list.push(first(Origin::Set(ix)));
                if target.reduce {
                    self.list.push(first(Origin::Merges(ix)));
                }
            }
            Verb::Group => {
                if !self.add_group(pipeline, ix) {
                    self.list.push(first(Origin::Group(ix)));
                }
            }
            Verb::Each => {
                let children = FamilyIx(self.list.len());
                let mut begins = false;
                for at in 0..self.list.len() {
                    let family = &self.list[at];
                    let inputs: Vec<Input> =
                        target.streams.iter().filter_map(|node| family.place(*node)).collect();
                    if inputs.is_empty() {
                        continue;
                    }
                    let step = self.with_sides(pipeline, FamilyIx(at), Step::bare(ix, inputs, stratum));
                    let family = &mut self.list[at];
                    if target.split {
                        let (step, strata, groups) =
                            (family.steps.len(), BTreeSet::from([stratum]), Vec::new());
                        let twins = Vec::new();
                        family.splits.push(Split { step, family: children, strata, groups, twins });
                        begins = true;
                    }
                    family.steps.push(Step { splits: target.split, ..step });
                }
                if begins {
                    self.list.push(first(Origin::Children(ix)));
                }
            }
        }
    }

    /// Adds a group by parent: a step of the documents that were split. False for other groups.
    fn add_group(&mut self, pipeline: &Pipeline, ix: TargetIx) -> bool {
        let target = pipeline.target(ix);
        if target.by.as_deref() != Some(PARENT) {
            return false;
        }
        let comes = |children: &Family| target.streams.iter().any(|node| children.place(*node).is_some());
        let members: Vec<bool> = self.list.iter().map(comes).collect();
        for at in 0..self.list.len() {
            let family = &mut self.list[at];
            let place = family.steps.len();
            let mut inputs = Vec::new();
            for split in family.splits.iter_mut().filter(|split| members[split.family.0]) {
                inputs.push(Input::Step(split.step));
                split.groups.push(place);
            }
            if !inputs.is_empty() {
                let step = Step::bare(ix, inputs, self.strata[ix.0]);
                let step = self.with_sides(pipeline, FamilyIx(at), step);
                self.list[at].steps.push(step);
            }
        }
        true
    }

    /// A step with its side inputs that are no other document's: its own, else of what it was split from, else of its
    /// group.
    fn with_sides(&self, pipeline: &Pipeline, ix: FamilyIx, mut step: Step) -> Step {
        for (number, with) in pipeline.target(step.target).with.iter().enumerate() {
            let WithFrom::Document(node) = with.from else { continue };
            if let Some(input) = self.family(ix).place(node) {
                step.with.push((number, input));
            } else if self.ancestors(ix).into_iter().any(|above| self.family(above).place(node).is_some()) {
                step.handed.push((number, node));
            } else if self.of_stream(node).iter().any(|(of, _)| self.family(*of).is_group()) {
                step.of_group.push((number, node));
            }
        }
        step
    }

    /// The families that a family's documents may have been split from, at any depth.
    fn ancestors(&self, ix: FamilyIx) -> BTreeSet<FamilyIx> {
        let mut all = BTreeSet::new();
        let mut open = vec![ix];
        while let Some(ix) = open.pop() {
            open.extend(self.parents(ix).filter(|parent| all.insert(*parent)));
        }
        all
    }

    /// Notes what children go through in the families that they come from, the deepest first.
    fn look_below(&mut self) {
        for ix in (0..self.list.len()).rev() {
            let own = self.list[ix].steps.iter();
            let mut handed: BTreeSet<(Node, usize)> =
                own.flat_map(|step| step.handed.iter().map(|(_, node)| (*node, step.stratum))).collect();
            for split in &self.list[ix].splits {
                let of_children = self.list[split.family.0].handed.iter();
                handed.extend(of_children.filter(|(node, _)| self.list[ix].place(*node).is_none()));
            }
            self.list[ix].handed = handed;
            let mut below: Vec<(TargetIx, usize)> = Vec::new();
            for at in 0..self.list[ix].splits.len() {
                let children = &self.list[self.list[ix].splits[at].family.0];
                let steps = children.steps[1..].iter().map(|step| (step.target, step.stratum));
                let all: Vec<(TargetIx, usize)> = steps.chain(children.below.iter().copied()).collect();
                let strata = all.iter().map(|(_, stratum)| *stratum);
                self.list[ix].splits[at].strata.extend(strata);
                below.extend(all);
            }
            below.retain(|(target, _)| self.list[ix].step_of(*target).is_none());
            below.sort_unstable();
            below.dedup();
            self.list[ix].below = below;
        }
    }

    /// The families whose documents a split makes children of.
    pub fn parents(&self, ix: FamilyIx) -> impl Iterator<Item = FamilyIx> + '_ {
        let splits = move |family: &Family| family.splits.iter().any(|split| split.family == ix);
        let families = self.list.iter().enumerate();
        families.filter(move |(_, family)| splits(family)).map(|(ix, _)| FamilyIx(ix))
    }

    /// The families that a family's documents were split from in the end; for others themselves.
    pub fn roots(&self, ix: FamilyIx) -> BTreeSet<FamilyIx> {
        let mut parents = self.parents(ix).peekable();
        if parents.peek().is_none() {
            return BTreeSet::from([ix]);
        }
        parents.flat_map(|parent| self.roots(parent)).collect()
    }

    /// The families that may hold a document of this id.
    pub fn of_document<'a>(&'a self, id: &'a DocId) -> impl Iterator<Item = FamilyIx> + 'a {
        let is_child = id.parent().is_some();
        let holds = move |family: &Family| match family.origin {
            Origin::Source(_) => !is_child && id.source() == family.name && !id.rel().is_empty(),
            Origin::Set(_) => !is_child && id.as_str() == family.name,
            Origin::Children(_) => is_child,
            Origin::Group(_) | Origin::Merges(_) => {
                let target = family.name.trim_end_matches([GROUPS, MERGES]);
                !is_child && id.source() == target && !id.rel().is_empty()
            }
        };
        let families = self.list.iter().enumerate();
        families.filter(move |(_, family)| holds(family)).map(|(ix, _)| FamilyIx(ix))
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
        let families = self.list.iter().enumerate();
        families.filter_map(|(ix, family)| Some((FamilyIx(ix), family.place(stream)?))).collect()
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
    /// A family without steps.
    fn bare(pipeline: &Pipeline, origin: Origin, wanted: &BTreeSet<TargetIx>) -> Self {
        let name = match origin {
            Origin::Source(ix) => pipeline.source(ix).name.clone(),
            Origin::Set(ix) => pipeline.target(ix).name.clone(),
            Origin::Children(ix) => format!("{}{CHILDREN}", pipeline.target(ix).name),
            Origin::Group(ix) => format!("{}{GROUPS}", pipeline.target(ix).name),
            Origin::Merges(ix) => format!("{}{MERGES}", pipeline.target(ix).name),
        };
        let takes = |ix: &TargetIx| {
            let target = pipeline.target(*ix);
            let is_origin =
                |node: &Node| matches!((node, origin), (Node::Source(a), Origin::Source(b)) if *a == b);
            let by_value = |with: &crate::model::pipeline::With| matches!(&with.from, WithFrom::Value(node) if is_origin(node));
            (target.verb != Verb::Each && target.streams.iter().any(is_origin))
                || target.with.iter().any(by_value)
        };
        let feeds_set = wanted.iter().any(takes);
        let given = matches!(origin, Origin::Source(ix) if pipeline.source(ix).is_given());
        let (steps, splits, below) = (Vec::new(), Vec::new(), Vec::new());
        Family { origin, name, steps, given, feeds_set, splits, below, handed: BTreeSet::new() }
    }

    /// Where the documents of this family leave for a stream.
    pub fn place(&self, stream: Node) -> Option<Input> {
        match (stream, self.origin) {
            (Node::Source(source), Origin::Source(origin)) => (source == origin).then_some(Input::Origin),
            (Node::Source(_), _) | (_, Origin::Merges(_)) => None,
            (Node::Target(target), _) => {
                let is_it = |step: &Step| step.target == target && !step.splits;
                self.steps.iter().position(is_it).map(Input::Step)
            }
        }
    }

    /// Whether its documents are groups.
    pub fn is_group(&self) -> bool {
        matches!(self.origin, Origin::Group(_))
    }

    /// Whether its documents are merges, which nobody takes and nobody is shown.
    pub fn is_merges(&self) -> bool {
        matches!(self.origin, Origin::Merges(_))
    }

    /// The target whose groups these are.
    pub fn group_target(&self) -> Option<TargetIx> {
        if let Origin::Group(ix) = self.origin { Some(ix) } else { None }
    }

    /// The family in the index of the one document that stands for all: of a set itself, of groups their head.
    pub fn head(&self) -> Option<String> {
        match self.origin {
            Origin::Set(_) => Some(self.name.clone()),
            Origin::Group(_) => Some(format!("{}{GROUPS}", self.name)),
            Origin::Source(_) | Origin::Children(_) | Origin::Merges(_) => None,
        }
    }

    /// Whether its documents were made by a split.
    pub fn is_children(&self) -> bool {
        matches!(self.origin, Origin::Children(_))
    }

    /// The last stratum in which anything is decided of a document or its children.
    pub fn last_stratum(&self) -> usize {
        self.decided().map(|(_, stratum)| stratum).max().unwrap_or(0)
    }

    /// The targets that must be up to date for a document to be, with their strata.
    pub fn decided(&self) -> impl Iterator<Item = (TargetIx, usize)> + '_ {
        let own = self.steps.iter().map(|step| (step.target, step.stratum));
        own.chain(self.below.iter().copied())
    }

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

    /// Whether anything is decided in a stratum, of its documents or of their children.
    pub fn has_stratum(&self, stratum: usize) -> bool {
        self.decided().any(|(_, of)| of == stratum)
    }
}

impl Step {
    /// A step without side inputs.
    pub fn bare(target: TargetIx, inputs: Vec<Input>, stratum: usize) -> Self {
        let (with, handed, of_group) = (Vec::new(), Vec::new(), Vec::new());
        Step { target, inputs, with, handed, of_group, stratum, splits: false }
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
    target.streams.iter().filter_map(of_node).chain(with).chain(by_target(pipeline, ix)).collect()
}

/// The target whose result says the groups of a target: `by = "target:T"`.
pub fn by_target(pipeline: &Pipeline, ix: TargetIx) -> Option<TargetIx> {
    pipeline.find_target(pipeline.target(ix).by.as_deref()?.strip_prefix("target:")?)
}

/// Whether a document's result in a stream may depend on documents that could take that result as a side input: it is
/// that of a group, or needs the children of the same document.
fn waits_for_others(pipeline: &Pipeline, node: Node) -> bool {
    let Node::Target(ix) = node else { return false };
    let before = Families::closure(pipeline, [ix]);
    before.into_iter().any(|ix| pipeline.target(ix).verb == Verb::Group)
}

fn strata(pipeline: &Pipeline) -> Vec<usize> {
    let mut strata = vec![0; pipeline.targets.len()];
    for (ix, target) in pipeline.targets.iter().enumerate() {
        let of = |node: &Node| if let Node::Target(ix) = node { strata[ix.0] } else { 0 };
        let streams = target.streams.iter().map(of).max().unwrap_or(0);
        let with = target.with.iter().map(|with| match &with.from {
            WithFrom::Document(node) if with.inherited && waits_for_others(pipeline, *node) => of(node) + 1,
            WithFrom::Document(node) => of(node),
            WithFrom::Value(node) => of(node) + 1,
            WithFrom::Shared(ix) => strata[ix.0] + 1,
            WithFrom::File(..) => 0,
        });
        let is_set = target.verb != Verb::Each && target.by.as_deref() != Some(PARENT);
        let by = by_target(pipeline, TargetIx(ix)).map_or(0, |of| strata[of.0] + 1);
        strata[ix] = with.max().unwrap_or(0).max(streams + usize::from(is_set)).max(by);
    }
    strata
}

#[cfg(test)]
mod tests;
