//! The graph of targets: cycles, an order, and which documents flow where (`semantics.md` 24 and 25).

use std::collections::{BTreeMap, BTreeSet};

use super::mistake::{Mistake, Span};
use super::names::Names;
use super::section::Log;
use super::target::Draft;
use super::with::{DraftWith, WithSource};
use crate::model::pipeline::{BranchAction, Call, Missing, Node, SourceIx, TargetIx, Verb, With, WithFrom};

/// Documents that have ids of one kind: what is in one family can be told apart and found by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    /// The documents of a source.
    Source(SourceIx),
    /// The children that a target made.
    Split(TargetIx),
    /// The groups of a target.
    Group(TargetIx),
    /// The one result of an `all`.
    Single(TargetIx),
}

type Families = BTreeSet<Family>;

/// What a target needs, with the place where it says so.
fn edges(draft: &Draft) -> Vec<(TargetIx, Span)> {
    let streams = draft.streams.iter().map(|stream| (stream.value, stream.span.clone()));
    let with = draft.with.iter().filter_map(|with| match with.from.value {
        WithSource::Stream(node) => Some((node, with.from.span.clone())),
        WithSource::File(..) => None,
    });
    let by = draft.by_target.iter().map(|by| (Node::Target(by.value), by.span.clone()));
    let targets = streams.chain(with).chain(by).filter_map(|(node, span)| match node {
        Node::Target(target) => Some((target, span)),
        Node::Source(_) => None,
    });
    targets.collect()
}

/// An order in which each target comes after all that it needs, the file's where that is free.
/// Notes each cycle; then there is none.
pub(super) fn order(drafts: &[Draft], names: &Names, log: &Log) -> Option<Vec<TargetIx>> {
    let edges: Vec<Vec<(TargetIx, Span)>> = drafts.iter().map(edges).collect();
    let mut waiting: Vec<usize> = edges.iter().map(Vec::len).collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    for (ix, needs) in edges.iter().enumerate() {
        for (need, _) in needs {
            behind[need.0].push(ix);
        }
    }
    let mut ready: BTreeSet<usize> = (0..drafts.len()).filter(|ix| waiting[*ix] == 0).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(ix) = ready.pop_first() {
        order.push(TargetIx(ix));
        for next in &behind[ix] {
            waiting[*next] -= 1;
            if waiting[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    if order.len() == drafts.len() {
        return Some(order);
    }
    note_cycles(&edges, names, log);
    None
}

/// Walks depth first; an edge to a target on the present path closes a cycle.
fn note_cycles(edges: &[Vec<(TargetIx, Span)>], names: &Names, log: &Log) {
    let mut done = vec![false; edges.len()];
    for start in 0..edges.len() {
        // The path from `start`: each target with the next edge to follow.
        let mut path: Vec<(usize, usize)> = vec![(start, 0)];
        while let Some((ix, edge)) = path.last_mut() {
            let ix = *ix;
            let Some((need, span)) = edges[ix].get(*edge).filter(|_| !done[ix]) else {
                done[ix] = true;
                path.pop();
                continue;
            };
            *edge += 1;
            if let Some(from) = path.iter().position(|(on_path, _)| *on_path == need.0) {
                note_cycle(&path[from..], edges, span, names, log);
            } else if !done[need.0] {
                path.push((need.0, 0));
            }
        }
    }
}

fn note_cycle(
    cycle: &[(usize, usize)],
    edges: &[Vec<(TargetIx, Span)>],
    last: &Span,
    names: &Names,
    log: &Log,
) {
    let name = |ix: usize| names.name(Node::Target(TargetIx(ix)));
    let mut spelt: Vec<&str> = cycle.iter().map(|(ix, _)| name(*ix)).collect();
    spelt.extend(cycle.first().map(|(ix, _)| name(*ix)));
    let mut mistake = Mistake::at(last.clone(), format!("targets need each other: {}", spelt.join(" → ")))
        .label("this closes the circle")
        .help("side inputs count too; a target can only take what is made before it");
    for (ix, next) in &cycle[..cycle.len() - 1] {
        // `next` stands behind the edge that was followed.
        if let Some((need, span)) = edges[*ix].get(next - 1) {
            mistake = mistake.also(span.clone(), format!("`{}` needs `{}`", name(*ix), name(need.0)));
        }
    }
    log.add(mistake);
}

/// Which documents each target works on, and which it makes.
pub(super) struct Lineage<'a> {
    drafts: &'a [Draft],
    names: &'a Names,
    log: &'a Log,
    documents: Vec<Families>,
    results: Vec<Families>,
    /// The targets that may leave documents out, since their family began.
    filters: Vec<BTreeSet<TargetIx>>,
}

impl<'a> Lineage<'a> {
    pub(super) fn new(
        drafts: &'a [Draft],
        order: &[TargetIx],
        names: &'a Names,
        log: &'a Log,
    ) -> Lineage<'a> {
        let empty = vec![Families::new(); drafts.len()];
        let filters = vec![BTreeSet::new(); drafts.len()];
        let mut lineage = Lineage { drafts, names, log, documents: empty.clone(), results: empty, filters };
        for ix in order {
            lineage.add(*ix);
        }
        lineage
    }

    fn add(&mut self, ix: TargetIx) {
        let target = &self.drafts[ix.0].target;
        let taken: Families = target.streams.iter().flat_map(|node| self.results_of(*node)).collect();
        let documents = match target.verb {
            Verb::Each => taken.clone(),
            Verb::All => Families::from([Family::Single(ix)]),
            Verb::Group if target.by.as_deref() == Some("parent") => {
                taken.iter().flat_map(|family| self.parents(*family)).collect()
            }
            Verb::Group => Families::from([Family::Group(ix)]),
        };
        let begins = target.split || target.verb != Verb::Each;
        if !begins {
            self.filters[ix.0] = target.streams.iter().flat_map(|node| self.filters_of(*node)).collect();
            let skips = match &target.call {
                Call::Route(branches) => branches.iter().any(|branch| branch.action == BranchAction::Skip),
                Call::Module(_) => false,
            };
            if target.test.is_some() || skips {
                self.filters[ix.0].insert(ix);
            }
        }
        self.results[ix.0] =
            if target.split { Families::from([Family::Split(ix)]) } else { documents.clone() };
        self.documents[ix.0] = documents;
    }

    /// The families of a stream's documents.
    pub(super) fn results_of(&self, node: Node) -> Families {
        match node {
            Node::Source(source) => Families::from([Family::Source(source)]),
            Node::Target(target) => self.results[target.0].clone(),
        }
    }

    fn filters_of(&self, node: Node) -> BTreeSet<TargetIx> {
        match node {
            Node::Source(_) => BTreeSet::new(),
            Node::Target(target) => self.filters[target.0].clone(),
        }
    }

    /// Whether a stream is one document by construction.
    pub(super) fn is_single(&self, node: Node) -> bool {
        let families = self.results_of(node);
        families.len() == 1 && families.iter().all(|family| matches!(family, Family::Single(_)))
    }

    /// Where the documents of a family were split from.
    fn parents(&self, family: Family) -> Families {
        match family {
            Family::Split(target) => self.documents[target.0].clone(),
            _ => Families::new(),
        }
    }

    /// A family and all that it was split from.
    fn with_ancestors(&self, family: Family) -> Families {
        let mut all = Families::from([family]);
        let mut next = vec![family];
        while let Some(family) = next.pop() {
            next.extend(self.parents(family).into_iter().filter(|parent| all.insert(*parent)));
        }
        all
    }

    /// Whether each document of a family has at most one document of `from` by its id.
    fn is_related(&self, family: Family, from: &Families) -> bool {
        let ours = self.with_ancestors(family);
        let group_of_ours = |family: &Family| match family {
            Family::Group(target) => {
                let members =
                    self.drafts[target.0].target.streams.iter().flat_map(|node| self.results_of(*node));
                members.into_iter().any(|member| ours.contains(&member))
            }
            _ => false,
        };
        from.iter().any(|family| ours.contains(family) || group_of_ours(family))
    }

    /// Decides what kind each side input is, and notes those that cannot be.
    pub(super) fn side_inputs(&self, ix: TargetIx) -> Vec<With> {
        let draft = &self.drafts[ix.0];
        let inputs = draft.with.iter().filter_map(|with| {
            Some(With {
                name: with.name.value.clone(),
                from: self.side_input(ix, with)?,
                missing: with.missing.unwrap_or(Missing::Fail),
                on: with.on.clone(),
                many: with.many,
                inherited: self.is_inherited(ix, with),
            })
        });
        inputs.collect()
    }

    /// Whether a side input is that of a parent or of a group for some documents, and not of the same one.
    fn is_inherited(&self, ix: TargetIx, with: &DraftWith) -> bool {
        let WithSource::Stream(node) = with.from.value else { return false };
        let from = self.results_of(node);
        self.documents[ix.0].iter().any(|family| !from.contains(family))
    }

    fn side_input(&self, ix: TargetIx, with: &DraftWith) -> Option<WithFrom> {
        let node = match &with.from.value {
            WithSource::File(written, path) => return Some(WithFrom::File(written.clone(), path.clone())),
            WithSource::Stream(node) => *node,
        };
        let verb = self.drafts[ix.0].target.verb;
        if with.by_value && verb != Verb::Each {
            let (message, help) = match verb {
                Verb::All => (
                    "an `all` is one action: it has no value that others could match",
                    "give each document its match first, in a target with `each`",
                ),
                _ => (
                    "a `group` finds nothing by value",
                    "give each group its match in a target behind it: each = \"GROUP\", on = [\"id.value\", …]",
                ),
            };
            self.log.add(Mistake::at(with.from.span.clone(), message).help(help));
            return None;
        }
        if with.by_value {
            return Some(WithFrom::Value(node));
        }
        if let Node::Target(target) = node
            && self.is_single(node)
        {
            return Some(WithFrom::Shared(target));
        }
        let from = self.results_of(node);
        let documents = &self.documents[ix.0];
        let related = documents.iter().filter(|family| self.is_related(**family, &from)).count();
        // In a union it is enough that some have it, where it is said what the others do.
        let enough =
            if matches!(with.missing, Some(Missing::Skip | Missing::None)) { 1 } else { documents.len() };
        if related >= enough || documents.is_empty() {
            return Some(WithFrom::Document(node));
        }
        let (ours, theirs) = (&self.drafts[ix.0].target.name, self.names.name(node));
        let mistake = if related > 0 {
            Mistake::at(
                with.from.span.clone(),
                format!("not every document of `{ours}` has one in `{theirs}`"),
            )
            .help("say what happens to the others: { from = …, missing = \"none\" }, or \"skip\"")
        } else {
            let mistake = Mistake::at(
                with.from.span.clone(),
                format!(
                    "the documents of `{theirs}` are not those of `{ours}`, and not what they were made from"
                ),
            );
            if self.drafts[ix.0].target.verb == Verb::All {
                mistake.help(format!("an `all` is one action: collect `{theirs}` by an `all` first"))
            } else {
                let by_value = format!("{{ from = \"{theirs}\", on = \"meta.NAME\", missing = \"none\" }}");
                let mistake = mistake.help(format!("to match by value: {by_value}"));
                match node {
                    Node::Source(_) => mistake.help("one file for all documents is \"file:PATH\""),
                    Node::Target(_) => mistake,
                }
            }
        };
        self.log.add(mistake);
        None
    }

    /// Notes what the graph alone proves wrong about a target's streams.
    pub(super) fn check_streams(&self, ix: TargetIx) {
        let draft = &self.drafts[ix.0];
        for (i, stream) in draft.streams.iter().enumerate() {
            for other in &draft.streams[..i] {
                let common =
                    self.results_of(stream.value).intersection(&self.results_of(other.value)).count() > 0;
                if common && self.filters_of(stream.value) == self.filters_of(other.value) {
                    let (a, b) = (self.names.name(other.value), self.names.name(stream.value));
                    self.log.add(
                        Mistake::at(stream.span.clone(), format!("`{a}` and `{b}` hold the same documents"))
                            .label("the same ids again")
                            .also(other.span.clone(), "taken here")
                            .help("a union takes each document once: give the targets a `where` that tells them apart")
                            .help(format!("to have both results of a document: each = \"{a}\", with = {{ … = \"{b}\" }}")),
                    );
                }
            }
        }
        if draft.target.verb == Verb::Group && draft.target.by.as_deref() == Some("parent") {
            for stream in &draft.streams {
                if self.results_of(stream.value).iter().any(|family| !matches!(family, Family::Split(_))) {
                    let name = self.names.name(stream.value);
                    self.log.add(
                        Mistake::at(stream.span.clone(), format!("the documents of `{name}` have no parent"))
                            .help(
                                "by = \"parent\" puts together again what a target with `split = true` made",
                            ),
                    );
                }
            }
        }
        if let Some(by) = &draft.by_target
            && !self.is_single(Node::Target(by.value))
        {
            let name = self.names.name(Node::Target(by.value));
            self.log.add(
                Mistake::at(by.span.clone(), format!("`{name}` is no `all` target"))
                    .help("by = \"target:T\" reads one JSON object, id → value, that an `all` target made"),
            );
        }
    }

    /// Whether a target's results are children of a split.
    pub(super) fn makes_children(&self, ix: TargetIx) -> bool {
        self.results[ix.0].iter().any(|family| matches!(family, Family::Split(_)))
    }

    /// Whether a target's results are groups.
    pub(super) fn makes_groups(&self, ix: TargetIx) -> bool {
        self.results[ix.0].iter().any(|family| matches!(family, Family::Group(_)))
    }
}

/// The targets in the new order, with all numbers changed to it.
pub(super) fn reorder(
    drafts: Vec<Draft>,
    order: &[TargetIx],
    mut with: BTreeMap<TargetIx, Vec<With>>,
) -> Vec<crate::model::pipeline::Target> {
    let mut place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[old.0] = new;
    }
    let renumbered = |node: Node| match node {
        Node::Target(ix) => Node::Target(TargetIx(place[ix.0])),
        source @ Node::Source(_) => source,
    };
    let mut targets: Vec<(usize, crate::model::pipeline::Target)> = drafts
        .into_iter()
        .enumerate()
        .map(|(old, draft)| {
            let mut target = draft.target;
            target.streams.iter_mut().for_each(|node| *node = renumbered(*node));
            target.params = draft.params.into_iter().map(|(name, param)| (name, param.value)).collect();
            target.with = with.remove(&TargetIx(old)).unwrap_or_default();
            for with in &mut target.with {
                with.from = match std::mem::replace(&mut with.from, WithFrom::Shared(TargetIx(0))) {
                    WithFrom::Document(node) => WithFrom::Document(renumbered(node)),
                    WithFrom::Value(node) => WithFrom::Value(renumbered(node)),
                    WithFrom::Shared(ix) => WithFrom::Shared(TargetIx(place[ix.0])),
                    file @ WithFrom::File(..) => file,
                };
            }
            (place[old], target)
        })
        .collect();
    targets.sort_by_key(|(place, _)| *place);
    targets.into_iter().map(|(_, target)| target).collect()
}
