//! `reduce`: a tree of merges, level by level; each merge is a document of its own that no stream has.
//!
//! A level is cut while the one before is read (`plan::tree`), so no more is in memory than one run and what came of
//! the level: a few bytes a member. A merge whose inputs are as they were is not opened.

use std::collections::HashSet;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::engine::build::Build;
use crate::engine::decide::ext_facts;
use crate::engine::document::StepResult;
use crate::engine::grouping::is_behind;
use crate::engine::groups::{Found, Reduced, Touched};
use crate::engine::marks::{accepted_note, accepted_why};
use crate::engine::merges::standing;
use crate::engine::set_work::named;
use crate::engine::sets::{Coverage, Streams, before, result_of};
use crate::engine::supply::Supply;
use crate::engine::target::TargetPlan;
use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Position, State};
use crate::model::document::DocId;
use crate::model::pipeline::TargetIx;
use crate::plan::family::{Families, FamilyIx, Origin};
use crate::plan::key::SetRoot;
use crate::plan::tree::{ends_run, name_of};

/// A result that is to be merged: a member's, or a merge's.
#[derive(Clone, Debug)]
struct Part {
    /// Where it is recorded.
    place: (FamilyIx, String, String),
    /// The id of the last member that it is of.
    last: String,
    digest: Digest,
    ext: String,
    /// It is a file of a source: nothing in the store holds its bytes.
    is_source: bool,
    act: Option<Position>,
    /// Of a merge whose result was accepted: what is different about the code.
    accepted: Option<String>,
}

/// A level of the tree.
#[derive(Default)]
struct Level {
    parts: Vec<Part>,
    /// Merges of this level: their places in `parts`.
    merges: Vec<usize>,
    coverage: Coverage,
    root: Option<Digest>,
}

/// What goes through all levels.
struct Tree<'a> {
    parts: &'a Parts<'a>,
    families: &'a Families,
    options: &'a Options,
    plan: TargetPlan,
    /// The family of the merges.
    ix: FamilyIx,
    covers: HashSet<Position>,
}

/// Merges the members of a target as far as anything has changed.
pub(super) fn reduce(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    build: &mut Build<'_>,
    stratum: usize,
    target: TargetIx,
) -> Result<Reduced> {
    let bare = |state, note: &str| Ok(Reduced { result: StepResult::bare(state, note), root: None });
    let merges = families.list.iter().position(|family| family.origin == Origin::Merges(target));
    let (Some(ix), Some(plan)) = (merges.map(FamilyIx), build.plan_of(target)) else {
        return bare(State::Unfinished, "");
    };
    if let Some((state, why)) = plan.lacks() {
        return bare(state, &why);
    }
    if options.sample_size.is_some() {
        return bare(State::Unfinished, "a sample is not merged");
    }
    if is_behind(parts, families, build.outline(), options, target)? {
        return bare(State::Unfinished, "not all members are up to date");
    }
    let family = families.family(ix);
    let covers = parts.store.definition_places().into_iter();
    let covers =
        covers.filter(|place| build.outline().covers_family(parts, *place, family, stratum)).collect();
    let tree = Tree { parts, families, options, plan, ix, covers };
    let mut present = HashSet::new();
    // Nothing is merged for a result that is not to be.
    let only = options.sample_filter();
    let (_, _, coverage) = tree.streams(only.as_deref()).root(target, &tree.plan.sees)?;
    if let Err(result) = tree.stands(&coverage) {
        return Ok(Reduced { result, root: Some(tree.walk(&mut |_| Ok(()))?.1) });
    }
    let mut level = tree.level(build, stratum, 0, &Level::default(), &mut present)?;
    let (coverage, root) = (level.coverage, level.root);
    let note = match tree.stands(&coverage) {
        Ok(note) => note,
        Err(result) => return Ok(Reduced { result, root }),
    };
    for number in 1.. {
        if let Some(result) = tree.failed(build, &level)? {
            return Ok(Reduced { result, root });
        }
        if level.parts.len() < 2 {
            break;
        }
        level = tree.level(build, stratum, number, &level, &mut present)?;
    }
    build.retire_merges(ix, &present)?;
    let Some(last) = level.parts.first() else { return Ok(Reduced { root, ..bare(State::Absent, "")? }) };
    let record = match last.act {
        Some(at) => parts.store.act(at)?,
        None => None,
    };
    let Some(record) = record else { return bare(State::Unfinished, "its result cannot be read") };
    let note = last.accepted.as_ref().map_or(note.clone(), |why| accepted_note(why, &note));
    let result = StepResult { act: last.act, record: Some(record), ..StepResult::bare(State::Done, note) };
    Ok(Reduced { result, root })
}

impl Tree<'_> {
    /// Whether enough members succeeded: what is said of the result, or how the set stands instead.
    fn stands(&self, coverage: &Coverage) -> std::result::Result<String, StepResult> {
        let min_done = self.parts.pipeline.target(self.plan.ix).min_done;
        if coverage.unfinished > 0 {
            let note = format!("{} not up to date", crate::text::count(coverage.unfinished, "member"));
            return Err(StepResult::bare(State::Unfinished, note));
        }
        if !coverage.is_enough(min_done) {
            // What cannot be read names nobody.
            let (only, target) = (self.options.sample_filter(), self.parts.pipeline.target(self.plan.ix));
            let first = self.streams(only.as_deref()).first_missing(target).unwrap_or_default();
            let note = named(&coverage.too_few(), first, coverage.missing);
            return Err(StepResult::bare(State::Blocked, note));
        }
        Ok(coverage.over())
    }

    /// Merges one level; what came of it.
    fn level(
        &self,
        build: &mut Build<'_>,
        stratum: usize,
        number: usize,
        below: &Level,
        present: &mut HashSet<String>,
    ) -> Result<Level> {
        let family = self.families.family(self.ix);
        let mut level = std::thread::scope(|scope| {
            let (sender, touched) = sync_channel(64);
            let mut supply = Supply::new(None, None);
            supply.add_groups(self.ix, &family.name, touched);
            let cut = scope.spawn(move || match number {
                0 => self.members(&sender),
                _ => self.above(number, below, &sender),
            });
            let went = build.stratum(stratum, &mut supply);
            drop(supply);
            let level = cut.join().unwrap_or_else(|_| Ok(Level::default()));
            went.and(level)
        })?;
        for at in &level.merges {
            let part = &mut level.parts[*at];
            present.insert(part.place.2.clone());
            let name = &self.parts.pipeline.target(self.plan.ix).name;
            let entry = self.parts.store.entry(&family.name, "", &part.place.2)?;
            let told = entry.map(|entry| before(self.parts.store, entry.story)).transpose()?.flatten();
            let result = told.map(|told| result_of(self.parts.store, &told, name)).transpose()?.flatten();
            let Some(result) = result.filter(|result| result.state == State::Done) else { continue };
            if let Some(output) = result.output() {
                (part.digest, part.ext, part.act) = (output.digest, output.ext.clone(), result.act);
                part.accepted = accepted_why(&result.note).map(str::to_owned);
            }
        }
        Ok(level)
    }

    /// The lowest level: members as they are read.
    fn members(&self, sender: &SyncSender<Touched>) -> Result<Level> {
        let mut cutter = Cutter { tree: self, sender, number: 0, level: Level::default(), run: Vec::new() };
        let (coverage, root) = self.walk(&mut |part| cutter.push(part))?;
        Ok(Level { coverage, root: Some(root), ..cutter.finish()? })
    }

    /// Visits the members in order; how complete they are, and a digest of all.
    fn walk(&self, visit: &mut dyn FnMut(Part) -> Result<()>) -> Result<(Coverage, Digest)> {
        let only = self.options.sample_filter();
        let streams = self.streams(only.as_deref());
        let mut root = FieldHasher::new("pipe reduced");
        let target = self.parts.pipeline.target(self.plan.ix);
        let mut coverage = streams.members(self.plan.ix, &self.plan.sees, &mut |member| {
            let id = member.id;
            let family = self.families.of_document(id).find(|ix| {
                let family = self.families.family(*ix);
                target.streams.iter().any(|stream| family.place(*stream).is_some())
            });
            let Some(family) = family else { return Ok(()) };
            let (dir, name) = id.place();
            root.text(id.as_str()).digest(&member.digest).text(&member.ext);
            visit(Part {
                place: (family, dir.to_owned(), name.to_owned()),
                last: id.as_str().to_owned(),
                digest: member.digest,
                ext: member.ext.clone(),
                is_source: member.path.is_some() || member.row.is_some(),
                act: member.act,
                accepted: None,
            })
        })?;
        streams.count_unsplit(target, &mut coverage)?;
        Ok((coverage, root.finish()))
    }

    fn streams<'s>(&'s self, only: Option<&'s (dyn Fn(&DocId) -> bool + Sync)>) -> Streams<'s> {
        Streams {
            pipeline: self.parts.pipeline,
            families: self.families,
            store: self.parts.store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only,
            is_current: None,
            group: None,
        }
    }

    /// A level above another.
    fn above(&self, number: usize, below: &Level, sender: &SyncSender<Touched>) -> Result<Level> {
        let mut cutter = Cutter { tree: self, sender, number, level: Level::default(), run: Vec::new() };
        for part in &below.parts {
            cutter.push(part.clone())?;
        }
        cutter.finish()
    }

    /// How the set stands if merges of a level failed.
    fn failed(&self, build: &Build<'_>, level: &Level) -> Result<Option<StepResult>> {
        if build.stopped_for_good() {
            return Ok(Some(StepResult::bare(State::Unfinished, "")));
        }
        let store = self.parts.store;
        let (mut failed, mut passing) = (0, false);
        for at in &level.merges {
            let part = &level.parts[*at];
            if part.act.is_some() {
                continue;
            }
            failed += 1;
            let entry = store.entry(&self.families.family(self.ix).name, "", &part.place.2)?;
            passing |= entry.is_none_or(|entry| !entry.flags.settled);
        }
        if failed == 0 {
            return Ok(None);
        }
        let of = crate::text::count(level.merges.len() as u64, "merge");
        let state = if passing { State::Unfinished } else { State::Blocked };
        Ok(Some(StepResult::bare(state, format!("{failed} of {of} failed"))))
    }
}

/// Cuts parts into runs.
struct Cutter<'a, 'b> {
    tree: &'a Tree<'b>,
    sender: &'a SyncSender<Touched>,
    number: usize,
    level: Level,
    run: Vec<Part>,
}

impl Cutter<'_, '_> {
    fn push(&mut self, part: Part) -> Result<()> {
        let ends = ends_run(self.number, &part.last);
        self.run.push(part);
        if ends { self.end(true) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<Level> {
        self.end(false)?;
        Ok(self.level)
    }

    fn end(&mut self, ended: bool) -> Result<()> {
        let run = std::mem::take(&mut self.run);
        let Some(last) = run.last().map(|part| part.last.clone()) else { return Ok(()) };
        // One alone is passed on; but a result must have its bytes in the store.
        if let [only] = run.as_slice()
            && !only.is_source
        {
            self.level.parts.push(only.clone());
            return Ok(());
        }
        let mut root = SetRoot::default();
        for part in &run {
            root.add(None, &part.digest, &ext_facts(&part.ext));
        }
        let (members, name) = (root.members(), name_of(self.number, &last, ended));
        let found = Found {
            value: name.clone(),
            from: 0,
            to: 0,
            root: root.finish(),
            members,
            coverage: Coverage { done: members, ..Coverage::default() },
            first_missing: None,
            listed: Some(run.into_iter().map(|part| part.place).collect()),
            halted: None,
        };
        let tree = self.tree;
        let entry = tree.parts.store.entry(&tree.families.family(tree.ix).name, "", &name)?;
        let covers = |at| tree.covers.contains(&at);
        if standing(tree.parts.store, entry.as_ref(), &found.root, &covers)?.is_none() {
            // Nobody waits for the rest after a stop.
            drop(self.sender.send(Touched { found, entry }));
        }
        self.level.merges.push(self.level.parts.len());
        self.level.parts.push(Part {
            place: (tree.ix, String::new(), name),
            last,
            digest: Digest::default(),
            ext: String::new(),
            is_source: false,
            act: None,
            accepted: None,
        });
        Ok(())
    }
}
