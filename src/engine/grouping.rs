//! Groups in a build: those that are touched are opened, those that are gone retired, and the target as a whole has a
//! story of its own, its *head*: up to when its streams were looked at, and what belongs to no group.
//!
//! A group by parent is a step of what was split, decided when the children are settled.

use std::collections::HashSet;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::engine::build::Build;
use crate::engine::by::By;
use crate::engine::decide::{Deciding, derived_note};
use crate::engine::document::StepResult;
use crate::engine::groups::{Found, Groups, Touched};
use crate::engine::kin::by_of;
use crate::engine::marks::without_accepted;
use crate::engine::members::{Group, children_of};
use crate::engine::outline::Outline;
use crate::engine::requests::{self, Damaged, Made};
use crate::engine::scheduler::DocIx;
use crate::engine::set_work::{SetWork, not_named, short, work_of};
use crate::engine::sets::{Coverage, Streams, before};
use crate::engine::supply::Supply;
use crate::engine::target::TargetPlan;
use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::hash::FieldHasher;
use crate::model::action::{DefinedTarget, Definition, Position, State, Story, StoryEntry};
use crate::model::document::{DocId, Stamp};
use crate::model::event::Event;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::TargetIx;
use crate::model::selection::Field;
use crate::module::Request;
use crate::plan::family::{Families, Family, FamilyIx, Input};
use crate::store::{Entry, Store};

/// What the pass over the streams of a group target came to.
#[derive(Default)]
pub(super) struct Pass {
    pub(super) groups: Groups,
    /// The values that are there, as hashes.
    present: HashSet<u64>,
    /// Over all groups.
    root: Option<FieldHasher>,
    /// Why there are no groups now, if so.
    pub(super) halted: Option<(State, String)>,
}

impl Build<'_> {
    /// What is to become of a group whose turn it is.
    pub(super) fn group_work(&self, doc: DocIx, step: usize, plan: &TargetPlan) -> Result<SetWork> {
        let settled = |state, note: String| Ok(SetWork::Settled(Box::new(StepResult::bare(state, note))));
        if let Some((state, why)) = plan.lacks() {
            return settled(state, why);
        }
        let Some(open) = self.open[doc.0 as usize].as_ref() else {
            return settled(State::Unfinished, String::new());
        };
        let min_done = self.pipeline.target(plan.ix).min_done;
        if let Some(found) = &open.group {
            if let Some((state, why)) = &found.halted {
                return settled(*state, why.clone());
            }
            if found.coverage.unfinished > 0 {
                let note =
                    format!("{} not up to date", crate::text::count(found.coverage.unfinished, "member"));
                return settled(State::Unfinished, note);
            }
            let first = || Ok(found.first_missing.clone());
            return work_of(plan, min_done, found.root, found.members, &found.coverage, first);
        }
        let (document, family) = (&open.document, self.families.family(open.document.family));
        for input in &family.steps[step].inputs {
            let Input::Step(split) = input else { continue };
            match document.results[*split].as_ref().map_or(State::Unfinished, |result| result.state) {
                State::Failed | State::Blocked => {
                    return settled(State::Blocked, document.stopped_by(self.pipeline, family, *split));
                }
                State::Unfinished => return settled(State::Unfinished, String::new()),
                _ => {}
            }
        }
        let group = children_of(self.store, document, family, step)?;
        let streams = self.streams(Some(&group));
        let (root, members, coverage) = streams.root(plan.ix, &plan.sees)?;
        if coverage.unfinished > 0 || document.unsettled_children && coverage.done + coverage.missing == 0 {
            return settled(State::Unfinished, String::new());
        }
        if coverage.done + coverage.missing == 0 {
            return settled(State::Absent, String::new());
        }
        let target = self.pipeline.target(plan.ix);
        work_of(plan, min_done, root, members, &coverage, || streams.first_missing(target))
    }

    /// Asks for the result of a set or a group: its members go into a manifest.
    pub(super) fn group_request(
        &mut self,
        doc: DocIx,
        step: usize,
        members: u64,
        number: u64,
    ) -> Result<Made<Request>> {
        let none = || Ok(Err(Damaged(Position(0))));
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return none() };
        let family = self.families.family(open.document.family);
        let target = family.steps[step].target;
        let Some(plan) = self.plans[target.0].as_ref() else { return none() };
        let path = self.store.tmp().join(format!("manifest-{number}.jsonl"));
        let group = match open.group.as_deref() {
            _ if family.is_set() => None,
            Some(Found { listed: Some(listed), .. }) => Some(Group::Listed(listed.clone())),
            Some(found) => Some(Group::Noted(notes(self.store, self.pipeline, target), found.from, found.to)),
            None => Some(children_of(self.store, &open.document, family, step)?),
        };
        let only = self.options.sample_filter();
        let streams = Streams {
            pipeline: self.pipeline,
            families: self.families,
            store: self.store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only: only.as_deref(),
            is_current: None,
            group: group.as_ref(),
        };
        let of_call = plan.call(open.work[step].as_ref().map_or(0, |work| work.call));
        let lengths = of_call.module.is_some_and(|ix| self.pipeline.module(ix).program.takes_lengths());
        let path = (path, lengths);
        let request = match streams.request(target, &plan.sees, path, members, number, &mut self.inputs)? {
            Ok(request) => request,
            Err(damaged) => return Ok(Err(damaged)),
        };
        let Some(work) = &open.work[step] else { return none() };
        let (pipeline, store) = (self.pipeline, &**self.store);
        let deciding = Deciding { pipeline, family, store, lookup: &mut self.lookup };
        let with = requests::sides(&deciding, &mut self.inputs, &open.document, work)?;
        Ok(with.map(|with| Request { with, ..request }))
    }

    /// The plan of a target in this stratum.
    pub(super) fn plan_of(&self, target: TargetIx) -> Option<TargetPlan> {
        self.plans[target.0].clone()
    }

    /// Whether the groups of a family were looked at in this build.
    pub(super) fn looked_at(&self, ix: FamilyIx) -> bool {
        self.looked_at.contains(&ix)
    }

    /// Groups of which not all members are up to date stay as they are.
    pub(super) fn keeps_last(&mut self, target: TargetIx) {
        let message = format!(
            "{} keeps its last results: not all of its members are up to date",
            self.pipeline.target(target).name
        );
        self.sink.event(&Event::Notice { message, hint: Some("pipe build".to_owned()) });
    }

    fn streams<'s>(&'s self, group: Option<&'s Group>) -> Streams<'s> {
        Streams {
            pipeline: self.pipeline,
            families: self.families,
            store: self.store,
            roots: &self.parts.roots,
            sites: &self.parts.sites,
            only: None,
            is_current: None,
            group,
        }
    }

    /// After a stratum: the head of each group target that was looked at, or whose groups went further.
    pub(super) fn write_heads(&mut self, stratum: usize, passes: Vec<(FamilyIx, Pass)>) -> Result<()> {
        if self.scheduler.is_stopping() || self.options.is_partial() {
            return Ok(());
        }
        for (ix, pass) in passes {
            self.looked_at.insert(ix);
            self.write_head(stratum, ix, Some(pass))?;
        }
        for ix in (0..self.families.list.len()).map(FamilyIx) {
            let family = self.families.family(ix);
            let is_later =
                family.is_group() && family.has_stratum(stratum) && family.steps[0].stratum < stratum;
            if is_later {
                self.write_head(stratum, ix, None)?;
            }
        }
        Ok(())
    }

    fn write_head(&mut self, stratum: usize, ix: FamilyIx, pass: Option<Pass>) -> Result<()> {
        let family = self.families.family(ix);
        let (Some(head), Some(target)) = (family.head(), family.group_target()) else { return Ok(()) };
        let name = self.pipeline.target(target).name.clone();
        let entry = self.store.entry(&head, "", "")?;
        let known = match &entry {
            Some(entry) => before(self.store, entry.story)?,
            None => None,
        };
        let mut settled = !self.unsettled_groups.contains(&ix);
        let (content, state, note) = match pass {
            Some(pass) => {
                if pass.halted.is_none() && pass.groups.unfinished == 0 {
                    self.retire_groups(ix, &pass.present)?;
                } else {
                    settled &= matches!(pass.halted, Some((State::Blocked, _)));
                }
                let (state, note) = self.said(target, &pass);
                (pass.root.as_ref().map(FieldHasher::finish), state, note)
            }
            None => {
                let Some(known) = &known else { return Ok(()) };
                settled &= known.story.settled;
                let entry = known.entry(&name);
                let state = entry.map_or(State::Done, |entry| entry.state);
                let note = entry.map(|entry| entry.note.clone()).unwrap_or_default();
                (known.story.content, state, note)
            }
        };
        let mut entries = Vec::new();
        let mut targets = Vec::new();
        for (of, at) in family.decided() {
            let is_first = of == target;
            let state = if is_first { state } else { State::Absent };
            let note = if is_first { note.clone() } else { String::new() };
            entries.push(StoryEntry { state, act: None, published: false, note });
            targets.push(DefinedTarget {
                name: self.pipeline.target(of).name.clone(),
                digest: self.outline.definition(of).filter(|_| at <= stratum),
                publish: self.pipeline.target(of).publish.as_ref().map(|publish| publish.path.to_string()),
            });
        }
        let definition =
            self.store.intern_definition(&Definition { family: family.name.clone(), targets })?;
        let (doc, names) = match (&entry, &known) {
            (Some(entry), Some(known)) => (entry.doc, known.story.names),
            _ => self.store.name_documents(&head, "", &[String::new()])?,
        };
        let story = Story {
            doc,
            run: self.store.run(),
            names,
            definition,
            previous: entry.as_ref().map(|entry| entry.story),
            stamp: Stamp(0),
            content,
            settled,
            racy: false,
            gone: false,
            entries,
        };
        let at = self.store.add_story(&story)?;
        self.store.put_entry(&head, "", Store::entry_of("", &story, at), at);
        Ok(())
    }

    /// How a group target stands as a whole, and what there is to say.
    fn said(&mut self, target: TargetIx, pass: &Pass) -> (State, String) {
        if let Some((state, note)) = &pass.halted {
            return (*state, note.clone());
        }
        let of = self.pipeline.target(target);
        let by = of.by.clone().unwrap_or_default();
        let groups = &pass.groups;
        let of_groups = crate::text::count(groups.valueless, "document");
        let parts = [
            (groups.valueless, format!("{of_groups} without `{by}` left out")),
            (groups.partial, partial(groups.partial)),
            (
                groups.unknown,
                format!(
                    "{} failed before the value was known",
                    crate::text::count(groups.unknown, "document")
                ),
            ),
        ];
        if groups.valueless == 0 || of.group_missing.as_deref() == Some("skip") {
            let said = parts.into_iter().filter(|(n, _)| *n > 0).map(|(_, words)| words);
            return (State::Done, said.collect::<Vec<_>>().join("; "));
        }
        let named = groups.named.join(", ");
        let more = if groups.valueless > groups.named.len() as u64 { ", …" } else { "" };
        let message = format!("{of_groups} without `{by}`: {named}{more}; fine? missing = \"skip\"");
        let failure = Failure::new(FailureKind::MissingInput, "no group", message);
        let (doc, target) = (of.name.clone(), of.name.clone());
        let event = Event::Failed { doc, target, failure: failure.clone(), ran: None };
        self.sink.event(&event);
        (State::Failed, derived_note(&failure))
    }

    /// Merges that the tree has no more are gone.
    pub(super) fn retire_merges(&mut self, ix: FamilyIx, present: &HashSet<String>) -> Result<()> {
        let mut gone: Vec<Entry> = Vec::new();
        self.store.scan(&self.families.family(ix).name, &mut |_, entry| {
            if !entry.flags.gone && !present.contains(&entry.name) {
                gone.push(entry.clone());
            }
            true
        })?;
        gone.iter().try_for_each(|entry| self.retire_child(ix, "", entry))
    }

    /// Groups that have no members any more are gone, with all that came of them.
    fn retire_groups(&mut self, ix: FamilyIx, present: &HashSet<u64>) -> Result<()> {
        let family = self.families.family(ix);
        let mut gone: Vec<(String, Entry)> = Vec::new();
        self.store.scan(&family.name, &mut |dir, entry| {
            let id = DocId::at(&family.name, dir, &entry.name);
            if !entry.flags.gone && !present.contains(&short(id.rel())) {
                gone.push((dir.to_owned(), entry.clone()));
            }
            true
        })?;
        for (dir, entry) in gone {
            self.retire_child(ix, &dir, &entry)?;
        }
        Ok(())
    }
}

/// That so many groups are made over a part of their members.
pub fn partial(groups: u64) -> String {
    format!(
        "{} over a part of {} members",
        crate::text::count(groups, "group"),
        if groups == 1 { "its" } else { "their" }
    )
}

/// Where the members of a target's groups are noted.
pub(super) fn notes(
    store: &Store,
    pipeline: &crate::model::pipeline::Pipeline,
    target: TargetIx,
) -> std::path::PathBuf {
    store.tmp().join(format!("groups-{}.jsonl", pipeline.target(target).name))
}

/// Looks for the groups of a target on a thread of its own; those that are touched go to the supply.
#[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
pub(super) fn look<'a>(
    scope: &'a std::thread::Scope<'a, '_>,
    supply: &mut Supply<'a>,
    parts: &'a Parts<'a>,
    families: &'a Families,
    options: &'a Options,
    plan: &TargetPlan,
    ix: FamilyIx,
    covers: impl Fn(Position) -> bool + Send + 'a,
    done: std::sync::mpsc::Sender<(FamilyIx, Result<Pass>)>,
) -> Result<()> {
    let (sender, touched) = sync_channel(64);
    let family = families.family(ix);
    supply.add_groups(ix, &family.name, touched);
    let (by, halted) = match by_of(parts, families, plan.ix)? {
        Ok(by) => (Some(by), None),
        Err(halted) => (None, Some(halted)),
    };
    let halted = halted.or_else(|| plan.lacks());
    let (target, sees) = (plan.ix, plan.sees.clone());
    scope.spawn(move || {
        let pass = match (by, halted) {
            (Some(by), None) => pass(parts, families, options, (ix, target), &by, &sees, &covers, &sender),
            (_, halted) => {
                blocked(parts, family, halted.as_ref(), &sender).map(|()| Pass { halted, ..Pass::default() })
            }
        };
        drop(sender);
        // The build may have ended; then nobody asks.
        drop(done.send((ix, pass)));
    });
    Ok(())
}

/// The groups of before, if there can be none now because something failed: they are blocked, with all behind them.
fn blocked(
    parts: &Parts<'_>,
    family: &Family,
    halted: Option<&(State, String)>,
    sender: &SyncSender<Touched>,
) -> Result<()> {
    let Some((State::Blocked, why)) = halted else { return Ok(()) };
    let mut outcome = Ok(());
    parts.store.scan(&family.name, &mut |dir, entry| {
        let told = match before(parts.store, entry.story) {
            Ok(Some(told)) if !entry.flags.gone => told,
            Ok(_) => return true,
            Err(error) => {
                outcome = Err(error);
                return false;
            }
        };
        let stands = told.story.entries.first();
        if stands.is_some_and(|stands| stands.state == State::Blocked && stands.note == *why) {
            return true;
        }
        let found = Found {
            value: DocId::at(&family.name, dir, &entry.name).rel().to_owned(),
            from: 0,
            to: 0,
            root: told.story.content.unwrap_or_default(),
            members: 0,
            coverage: Coverage::default(),
            listed: None,
            first_missing: None,
            halted: halted.cloned(),
        };
        sender.send(Touched { found, entry: Some(entry.clone()) }).is_ok()
    })?;
    outcome
}

#[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
fn pass(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    (ix, target): (FamilyIx, TargetIx),
    by: &By,
    sees: &[Field],
    covers: &dyn Fn(Position) -> bool,
    sender: &SyncSender<Touched>,
) -> Result<Pass> {
    let only = options.sample_filter();
    let family = families.family(ix);
    let streams = Streams {
        pipeline: parts.pipeline,
        families,
        store: parts.store,
        roots: &parts.roots,
        sites: &parts.sites,
        only: only.as_deref(),
        is_current: None,
        group: None,
    };
    let mut pass = Pass { root: Some(FieldHasher::new("pipe groups")), ..Pass::default() };
    let Pass { present, root, .. } = &mut pass;
    let (mut partial, min_done) = (0, parts.pipeline.target(target).min_done);
    let path = notes(parts.store, parts.pipeline, target);
    let groups = streams.groups(target, by, sees, path, &mut |found| {
        present.insert(short(&found.value));
        partial += u64::from(found.coverage.missing > 0 && found.coverage.is_enough(min_done));
        if let Some(root) = root {
            root.text(&found.value).digest(&found.root);
        }
        let id = DocId::in_source(&parts.pipeline.target(target).name, &found.value);
        let (dir, name) = id.place();
        let entry = parts.store.entry(&family.name, dir, name)?;
        if !is_current(parts.store, entry.as_ref(), &found, covers)? {
            // Nobody waits for the rest after a stop.
            drop(sender.send(Touched { found, entry }));
        }
        Ok(())
    })?;
    pass.groups = Groups { partial, ..groups };
    Ok(pass)
}

/// Whether a group is as it was: the same members, as complete as before, under the same definition.
fn is_current(
    store: &Store,
    entry: Option<&Entry>,
    found: &Found,
    covers: &dyn Fn(Position) -> bool,
) -> Result<bool> {
    let Some(entry) = entry.filter(|entry| entry.flags.settled && !entry.flags.gone) else {
        return Ok(false);
    };
    if !covers(entry.definition) {
        return Ok(false);
    }
    let Some(told) = before(store, entry.story)? else { return Ok(false) };
    let is_same = told.story.content == Some(found.root);
    let note = told.story.entries.first().map_or("", |entry| without_accepted(&entry.note));
    let whole = found.coverage.missing == 0 && found.coverage.unfinished == 0;
    Ok(is_same && whole && (note.is_empty() || note.starts_with('{')))
}

/// Whether anything in the streams of a group target is not covered by this build: then its groups stay as they are.
pub(super) fn is_behind(
    parts: &Parts<'_>,
    families: &Families,
    outline: &Outline,
    options: &Options,
    target: TargetIx,
) -> Result<bool> {
    if options.docs.is_none() {
        return Ok(false);
    }
    if not_named(parts, families, options, target) > 0 {
        return Ok(true);
    }
    let is_current = |definition: Position, target: TargetIx| outline.covers(parts, definition, target);
    let streams = Streams {
        pipeline: parts.pipeline,
        families,
        store: parts.store,
        roots: &parts.roots,
        sites: &parts.sites,
        only: None,
        is_current: Some(&is_current),
        group: None,
    };
    let sees = &parts.pipeline.target(target).sees;
    Ok(streams.members(target, sees, &mut |_| Ok(()))?.unfinished > 0)
}
