//! Why, for one document: what happened last in each target, and what a build would do now.

use std::collections::BTreeSet;

use crate::engine::decide::{Deciding, Decision, HELD, Work};
use crate::engine::document::{Before, Content, Document, MainInput, StepResult};
use crate::engine::documents::Documents;
use crate::engine::groups::is_over_members;
use crate::engine::is_set_current;
use crate::engine::marks::accepted_why;
use crate::engine::matching::{self, Matching};
use crate::engine::route;
use crate::engine::sets::{Streams, content_of_given, id_of, result_of};
use crate::engine::target::{Shared, TargetPlan};
use crate::error::{Error, Result};
use crate::model::action::{Extras, KeyInput, State, StoryEntry};
use crate::model::document::DocId;
use crate::model::failure::Failure;
use crate::model::pipeline::{Node, TargetIx, Verb, WithFrom};
use crate::model::reason::Reason;
use crate::model::selection::{Field, IdPart};
use crate::plan::family::{Family, FamilyIx, Input, Origin, Step, needs};
use crate::query::Asked;
use crate::query::find::{self, Found};
use crate::query::lineage;
use crate::query::log::{shown, stories};
use crate::query::why::present::Present;
use crate::query::why::reduced::{TreeWhy, tree};
use crate::query::why::verdict::{Last, Now, Routed, SourceState, Verdict, WhyDocument};
use crate::scan::Kind as Difference;
use crate::scan::{Ask, Given, ReadOutcome, Reader, restamp};
use crate::text;

pub(super) fn why(asked: &Asked<'_>, documents: &Documents<'_>, found: &Found) -> Result<WhyDocument> {
    let Some(ix) = found.family(documents) else {
        let message = format!("{} does not belong to any source or target of the Pipelinefile", found.id);
        return Err(
            Error::no_match(message).hint(format!("pipe log {}", crate::text::shell_word(found.id.as_str())))
        );
    };
    let present = Present::new(asked, &documents.families)?;
    let told = stories(asked.store, found.entry.as_ref())?;
    let mut document = documents.unknown(ix, found.id.clone(), &found.dir, &found.name);
    if let (Some(entry), Some(newest)) = (&found.entry, told.last()) {
        document.number = entry.doc;
        document.stamp = entry.stamp;
        document.racy = entry.flags.racy;
        document.digest = newest.story.content;
        document.before = Some(newest.clone());
    }
    let mut asker = Asker {
        asked,
        documents,
        found,
        present,
        ix,
        pending: BTreeSet::new(),
        touched: false,
        trees: Vec::new(),
    };
    let source = asker.source(&mut document)?;
    asker.touched = !matches!(source, SourceState::Same | SourceState::Members { .. });
    let mut targets = Vec::new();
    for number in 0..asked.pipeline.targets.len() {
        let target = TargetIx(number);
        let family = documents.families.family(ix);
        let Some(step) = family.step_of(target) else {
            asker.note_set(target)?;
            if source != SourceState::Gone {
                asker.note_tree(target)?;
            }
            continue;
        };
        let name = &asked.pipeline.target(target).name;
        let (decided, mut now) = match source {
            SourceState::Gone => (None, Now::Retired),
            SourceState::Unreadable { .. } => {
                let state = if family.steps[step].inputs.contains(&Input::Origin) {
                    State::Failed
                } else {
                    State::Blocked
                };
                let stands = told.last().and_then(|newest| newest.entry(name));
                let is_known = stands.is_some_and(|of| of.state == state);
                let note = "it cannot be read".to_owned();
                (None, if is_known { Now::UpToDate } else { Now::WouldBecome { state, note } })
            }
            _ => asker.now(&document, family, step)?,
        };
        if now.keeps_what_is_there() {
            let on = asker.unsure(target);
            if !on.is_empty() {
                now = Now::Waits { on, note: String::new() };
            } else if matches!(source, SourceState::Members { to_look_at } if to_look_at > 0) && step == 0 {
                now = Now::Waits { on, note: "depends on its members".to_owned() };
            }
        }
        if matches!(now, Now::WouldRun { .. } | Now::WouldMerge { .. } | Now::Waits { .. }) {
            asker.pending.insert(target);
        }
        document.results[step] = decided;
        let last = asker.last(family, step, &told)?;
        let route = match source {
            SourceState::Gone | SourceState::Unreadable { .. } => None,
            _ => asker.route(&document, family, step),
        };
        let stands = told.last().and_then(|newest| newest.entry(name)).filter(|of| of.state == State::Done);
        let unshown = stands.and_then(|of| serde_json::from_str::<Failure>(&of.note).ok());
        targets.push(Verdict { target: name.clone(), route, last, now, unshown });
    }
    let run = told.last().map(|newest| newest.story.run);
    let origin = match documents.families.family(ix).origin {
        Origin::Source(ix) => lineage::project_of(asked.pipeline.source(ix), &found.id),
        _ => None,
    };
    Ok(WhyDocument { doc: found.id.to_string(), source, origin, run, targets, trees: asker.trees })
}

struct Asker<'a> {
    asked: &'a Asked<'a>,
    documents: &'a Documents<'a>,
    found: &'a Found,
    present: Present<'a>,
    ix: FamilyIx,
    /// Targets whose result may be another after a build.
    pending: BTreeSet<TargetIx>,
    /// The document's own bytes are not those that were built.
    touched: bool,
    /// Of each `reduce` that has to do with it.
    trees: Vec<TreeWhy>,
}

impl Asker<'_> {
    /// The document's file as it is now; its content goes into the document.
    fn source(&self, document: &mut Document) -> Result<SourceState> {
        let family = self.documents.families.family(self.ix);
        let Origin::Source(source) = family.origin else {
            return Ok(SourceState::Members { to_look_at: self.to_look_at(family)? });
        };
        let (roots, rel) = (&self.present.parts.roots[source.0], document.id.rel().to_owned());
        let salt = self.asked.store.salt();
        if let Some(giver) = roots.giver() {
            return Ok(self.given(document, giver.read(&rel)?));
        }
        let Some(stamp) = restamp(roots, &rel, salt) else { return Ok(SourceState::Gone) };
        let was_gone = self.found.entry.as_ref().is_none_or(|entry| entry.flags.gone);
        let path = roots.path_of(&rel);
        let asks = |field: &Field| matches!(field, Field::Mime | Field::Size);
        let targets = &self.asked.pipeline.targets;
        let asks_content =
            targets.iter().any(|target| target.sees.iter().any(asks) || target.tested().any(asks));
        if let Some(digest) = document.digest
            && stamp == document.stamp
            && !(document.racy || was_gone || asks_content)
        {
            document.content =
                Some(Content { digest, length: 0, bytes: None, mime: None, given: None, path });
            return Ok(SourceState::Same);
        }
        let read = match Reader::new(salt)?.read(roots, &rel, Ask { keep: 0, mime: asks_content }) {
            ReadOutcome::Read(read) => read,
            ReadOutcome::Vanished => return Ok(SourceState::Gone),
            ReadOutcome::Unreadable(why) => return Ok(SourceState::Unreadable { why }),
            ReadOutcome::Special => {
                return Ok(SourceState::Unreadable { why: "it is no regular file".into() });
            }
            ReadOutcome::Changing | ReadOutcome::Stopped => {
                return Ok(SourceState::Unreadable { why: "it keeps changing".into() });
            }
        };
        let (old, new) = (document.digest, read.digest);
        let mime = read.mime.map(str::to_owned);
        document.digest = Some(new);
        document.content =
            Some(Content { digest: new, length: read.length, bytes: None, mime, given: None, path });
        Ok(match old {
            _ if was_gone => SourceState::New,
            Some(old) if old == new => SourceState::Same,
            old => SourceState::Changed { old, new },
        })
    }

    /// The same of what is no file.
    fn given(&self, document: &mut Document, read: Given) -> SourceState {
        let was_gone = self.found.entry.as_ref().is_none_or(|entry| entry.flags.gone);
        let old = document.digest;
        match read {
            Given::Document(given) => {
                let digest = given.digest;
                document.digest = Some(digest);
                document.content = Some(content_of_given(*given));
                match old {
                    _ if was_gone => SourceState::New,
                    Some(old) if old == digest => SourceState::Same,
                    old => SourceState::Changed { old, new: digest },
                }
            }
            Given::Broken { problem, .. } => SourceState::Unreadable { why: problem },
            Given::Absent => SourceState::Gone,
            Given::Changing => SourceState::Unreadable { why: "it is being written".into() },
        }
    }

    /// How many documents of a set's sources a build would look at before it.
    fn to_look_at(&self, family: &Family) -> Result<u64> {
        let Origin::Set(target) = family.origin else { return Ok(0) };
        if self.asked.building {
            return Ok(0);
        }
        let names = self.sources_of(target);
        let scans = self.present.scan_for(target)?;
        let of_set = scans.iter().filter(|scan| names.contains(&scan.source));
        Ok(of_set.map(|scan| scan.found.len() as u64).sum())
    }

    /// A target that this document does not go through: whether its one result may change.
    fn note_set(&mut self, target: TargetIx) -> Result<()> {
        let pipeline = self.asked.pipeline;
        let of = pipeline.target(target);
        let mut may_change = needs(pipeline, target).iter().any(|need| self.pending.contains(need));
        let own = &self.documents.families.family(self.ix).origin;
        let takes_own =
            |stream: &Node| matches!((stream, own), (Node::Source(a), Origin::Source(b)) if a == b);
        may_change |= self.touched && of.streams.iter().any(takes_own);
        if of.verb == Verb::All && !may_change {
            let families = &self.documents.families;
            let family = families.list.iter().find(|family| family.origin == Origin::Set(target));
            if let Some(family) = family {
                may_change =
                    !is_set_current(&self.present.parts, families, &self.present.outline, family, target)?;
            }
        }
        if may_change {
            self.pending.insert(target);
        }
        Ok(())
    }

    /// The shared side inputs of a target that may change.
    fn unsure(&self, target: TargetIx) -> Vec<String> {
        let pipeline = self.asked.pipeline;
        let shared = pipeline.target(target).with.iter().filter_map(|with| match with.from {
            WithFrom::Shared(of) if self.pending.contains(&of) => Some(pipeline.target(of).name.clone()),
            _ => None,
        });
        shared.collect()
    }

    /// Which branch of its route takes the document, as far as that is known.
    fn route(&mut self, document: &Document, family: &Family, step: usize) -> Option<Routed> {
        let pipeline = self.asked.pipeline;
        let target = pipeline.target(family.steps[step].target);
        target.route()?;
        let MainInput::One(input) = document.main_input(&family.steps[step]) else { return None };
        let deciding = self.deciding(family);
        let number = route::branch(target, &|field| deciding.field(document, input, field));
        let action = route::action(pipeline, target, number);
        Some(Routed { branch: number + 1, action, test: route::words(target, number) })
    }

    fn now(
        &mut self,
        document: &Document,
        family: &Family,
        step: usize,
    ) -> Result<(Option<StepResult>, Now)> {
        let target = family.steps[step].target;
        if (family.is_children() && step == 0)
            || (is_over_members(self.asked.pipeline, target) && !family.is_set())
        {
            return self.of_others(document, family, step);
        }
        if let Some(kin) = self.kin_to_be_built(document, &family.steps[step])? {
            let unfinished = StepResult::bare(State::Unfinished, "");
            let note = format!("depends on {kin}");
            return Ok((Some(unfinished), Now::Waits { on: Vec::new(), note }));
        }
        let plan = self.present.plans[target.0].clone();
        if family.is_set() && step == 0 && self.asked.pipeline.target(target).reduce {
            return self.reduced(document, family, &plan);
        }
        let decision = if family.is_set() && step == 0 {
            match self.set(document, family, &plan)? {
                Ok(decision) => decision,
                Err(note) => {
                    let unfinished = StepResult::bare(State::Unfinished, "");
                    return Ok((Some(unfinished), Now::Waits { on: Vec::new(), note }));
                }
            }
        } else {
            let mut plan = plan.clone();
            matching::load(&self.present.parts, &self.documents.families, &mut plan, None)?;
            let matching = Matching { parts: &self.present.parts, families: &self.documents.families };
            let found = matching.of_document(&plan, document, step)?;
            self.deciding(family).decide(&plan, document, step, &found)?
        };
        let old = document
            .before
            .as_ref()
            .and_then(|before| before.entry(&self.asked.pipeline.target(target).name));
        Ok(match decision {
            Decision::Run(work) => {
                (Some(StepResult::bare(State::Unfinished, "")), Now::WouldRun { reasons: work.reasons })
            }
            Decision::Settled(result) => {
                let now = self.settled(&result, old, family, step);
                (Some(*result), now)
            }
        })
    }

    /// What a step takes of what its document was split from, or of a group, and that a build would look at first.
    fn kin_to_be_built(&self, document: &Document, step: &Step) -> Result<Option<String>> {
        let families = &self.documents.families;
        for (_, node) in &step.handed {
            let mut above = document.id.parent();
            while let Some(id) = above {
                let found = find::document(self.asked, self.documents, id.as_str())?;
                let place = found.family(self.documents).and_then(|ix| families.family(ix).place(*node));
                above = id.parent();
                if place.is_none() {
                    continue;
                }
                let why = why(self.asked, self.documents, &found)?;
                let name = self.asked.pipeline.node_name(*node);
                let is_settled = match why.targets.iter().find(|verdict| verdict.target == name) {
                    Some(verdict) => !matches!(
                        verdict.now,
                        Now::WouldRun { .. } | Now::WouldMerge { .. } | Now::Waits { .. }
                    ),
                    None => why.source == SourceState::Same,
                };
                if !is_settled {
                    return Ok(Some(id.to_string()));
                }
                break;
            }
        }
        for (_, node) in &step.of_group {
            for (ix, _) in families.of_stream(*node) {
                let family = families.family(ix);
                if let Some(target) = family.group_target()
                    && !is_set_current(&self.present.parts, families, &self.present.outline, family, target)?
                {
                    return Ok(Some(self.asked.pipeline.target(target).name.clone()));
                }
            }
        }
        Ok(None)
    }

    /// What is decided by other documents: a child by what it was split from, a group by its members.
    fn of_others(
        &self,
        document: &Document,
        family: &Family,
        step: usize,
    ) -> Result<(Option<StepResult>, Now)> {
        let name = &self.asked.pipeline.target(family.steps[step].target).name;
        let told = document.before.as_ref();
        let stored = told.map(|told| result_of(self.asked.store, told, name)).transpose()?.flatten();
        let waits = |note: String| {
            let unfinished = StepResult::bare(State::Unfinished, "");
            Ok((Some(unfinished), Now::Waits { on: Vec::new(), note }))
        };
        let parts = &self.present.parts;
        let is_current = match (document.id.parent(), family.group_target()) {
            (Some(parent), _) if step == 0 => {
                let found = find::document(self.asked, self.documents, parent.as_str())?;
                let why = why(self.asked, self.documents, &found)?;
                let split = why.targets.iter().find(|verdict| verdict.target == *name);
                if !split.is_some_and(|verdict| verdict.now.keeps_what_is_there()) {
                    return waits(format!("depends on {parent}"));
                }
                true
            }
            (_, Some(target)) => {
                is_set_current(parts, &self.documents.families, &self.present.outline, family, target)?
            }
            _ => {
                let entry = self.found.entry.as_ref();
                let covers = |definition| {
                    self.present.outline.covers_family(parts, definition, family, family.last_stratum())
                };
                !self.touched && entry.is_some_and(|entry| entry.flags.settled && covers(entry.definition))
            }
        };
        match stored {
            Some(stored) if is_current => {
                let now = match stored.state {
                    State::Unfinished => Now::Waits { on: Vec::new(), note: stored.note.clone() },
                    _ => Now::UpToDate,
                };
                Ok((Some(stored), now))
            }
            _ => waits("depends on its members".to_owned()),
        }
    }

    fn deciding<'s>(&'s mut self, family: &'s Family) -> Deciding<'s> {
        let (pipeline, store) = (self.asked.pipeline, self.asked.store);
        Deciding { pipeline, family, store, lookup: &mut self.present.lookup }
    }

    /// What becomes of a set over the members as they are recorded; a text where that is not known yet.
    fn set(
        &mut self,
        document: &Document,
        family: &Family,
        plan: &TargetPlan,
    ) -> Result<Result<Decision, String>> {
        let settled =
            |state, note: String| Ok(Ok(Decision::Settled(Box::new(StepResult::bare(state, note)))));
        for (_, shared) in &plan.shared {
            match shared {
                Shared::Present(_) => {}
                Shared::Unavailable(why) => return settled(State::Blocked, why.clone()),
                Shared::Unfinished => return settled(State::Unfinished, String::new()),
            }
        }
        let target = self.asked.pipeline.target(plan.ix);
        let streams = Streams {
            pipeline: self.asked.pipeline,
            families: &self.documents.families,
            store: self.asked.store,
            roots: &self.present.parts.roots,
            sites: &self.present.parts.sites,
            only: None,
            is_current: None,
            group: None,
        };
        let (root, members, coverage) = streams.root(plan.ix, &plan.sees)?;
        if coverage.unfinished > 0 {
            return Ok(Err(format!("{} not up to date", text::count(coverage.unfinished, "member"))));
        }
        if !coverage.is_enough(target.min_done) {
            let known = text::count(coverage.done + coverage.missing, "member");
            return settled(
                State::Blocked,
                format!("{} of {known} failed", text::thousands(coverage.missing)),
            );
        }
        let facts =
            serde_json::json!({ "members": members, "ids": plan.sees.contains(&Field::Id(IdPart::Whole)) });
        let inputs = vec![KeyInput { digest: Some(root), facts: facts.to_string() }];
        let work = Work::of(plan, inputs, Input::Origin);
        Ok(Ok(self.deciding(family).answer(plan, document, target, work)?))
    }

    /// What becomes of the result of a `reduce`: its merges say it.
    fn reduced(
        &mut self,
        document: &Document,
        family: &Family,
        plan: &TargetPlan,
    ) -> Result<(Option<StepResult>, Now)> {
        let target = self.asked.pipeline.target(plan.ix);
        let told = document.before.as_ref();
        let old = told.and_then(|told| told.entry(&target.name));
        let stands = |asker: &Self, result: StepResult| {
            let now = asker.settled(&result, old, family, 0);
            Ok((Some(result), now))
        };
        if let Some((state, why)) = plan.lacks() {
            return stands(self, StepResult::bare(state, why));
        }
        let (changed, new) = self.changed_members(plan.ix)?;
        let touched = |id: &DocId| changed.contains(id.root());
        let (tree, coverage) = tree(self.asked, self.documents, &mut self.present, plan.ix, &touched, &new)?;
        self.trees.push(tree.clone());
        let unfinished = || Some(StepResult::bare(State::Unfinished, ""));
        if coverage.unfinished > 0 {
            let note = format!("{} not up to date", text::count(coverage.unfinished, "member"));
            return Ok((unfinished(), Now::Waits { on: Vec::new(), note }));
        }
        if !coverage.is_enough(target.min_done) {
            return stands(self, StepResult::bare(State::Blocked, coverage.too_few()));
        }
        // What no build has seen yet is no merge that could be done again: `to look at first` says it.
        if new.is_empty() && tree.stale + tree.behind > 0 && (tree.stale > 0 || tree.failed.is_empty()) {
            let TreeWhy { stale, behind, merges, reasons, .. } = tree;
            let now = Now::WouldMerge { again: stale, up_to: behind, of: merges, reasons };
            return Ok((unfinished(), now));
        }
        match told.map(|told| result_of(self.asked.store, told, &target.name)).transpose()?.flatten() {
            Some(stored) => stands(self, stored),
            None => Ok((unfinished(), Now::Waits { on: Vec::new(), note: "depends on its members".into() })),
        }
    }

    /// Source documents behind a set that a build would look at: those that changed or went, and new ones.
    fn changed_members(&mut self, target: TargetIx) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let (mut changed, mut new) = (BTreeSet::new(), BTreeSet::new());
        if self.asked.building {
            return Ok((changed, new));
        }
        let names = self.sources_of(target);
        for scan in self.present.scan_for(target)? {
            if !names.contains(&scan.source) {
                continue;
            }
            for found in &scan.found {
                let id = id_of(&scan.source, &found.dir, &found.name).to_string();
                match found.kind {
                    Difference::New => new.insert(id),
                    Difference::Changed(_) | Difference::Untrusted(_) | Difference::Gone(_) => {
                        changed.insert(id)
                    }
                };
            }
        }
        Ok((changed, new))
    }

    /// The sources from which the members of a set come, through splits too.
    fn sources_of(&self, target: TargetIx) -> BTreeSet<String> {
        let families = &self.documents.families;
        let members = self.asked.pipeline.target(target).streams.iter();
        let members = members.flat_map(|stream| families.of_stream(*stream));
        let roots = members.flat_map(|(member, _)| families.roots(member));
        roots.map(|root| families.family(root).name.clone()).collect()
    }

    /// Of a `reduce` that merges this document, or what was split from it: which merges it is in.
    fn note_tree(&mut self, target: TargetIx) -> Result<()> {
        let families = &self.documents.families;
        let of = self.asked.pipeline.target(target);
        if !of.reduce {
            return Ok(());
        }
        let mut members = of.streams.iter().flat_map(|stream| families.of_stream(*stream));
        if !members.any(|(member, _)| member == self.ix || families.roots(member).contains(&self.ix)) {
            return Ok(());
        }
        let id = self.found.id.clone();
        let is_it = |other: &DocId| {
            let rest = other.as_str().strip_prefix(id.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
        };
        let (tree, _) =
            tree(self.asked, self.documents, &mut self.present, target, &is_it, &BTreeSet::new())?;
        if tree.touched_count > 0 {
            self.trees.push(tree);
        }
        Ok(())
    }

    fn settled(&self, result: &StepResult, old: Option<&StoryEntry>, family: &Family, step: usize) -> Now {
        if result.state == State::Unfinished {
            let waits = family.steps[step].inputs.iter().filter_map(|input| match input {
                Input::Step(before) => Some(family.steps[*before].target),
                Input::Origin => None,
            });
            let with = family.steps[step].with.iter().filter_map(|(_, input)| match input {
                Input::Step(before) => Some(family.steps[*before].target),
                Input::Origin => None,
            });
            let name = |ix: TargetIx| self.asked.pipeline.target(ix).name.clone();
            let mut on: Vec<String> =
                waits.chain(with).filter(|ix| self.pending.contains(ix)).map(name).collect();
            on.extend(self.unsure(family.steps[step].target));
            on.dedup();
            return Now::Waits { on, note: String::new() };
        }
        let is_old = old.is_some_and(|old| old.act == result.act && old.state == result.state);
        match &result.record {
            Some(act) if is_old && result.note.starts_with(HELD) => {
                Now::Held { run: act.run, why: result.note[HELD.len()..].to_owned() }
            }
            Some(act) if is_old && old.is_some_and(|old| is_newly_accepted(&result.note, &old.note)) => {
                let why = accepted_why(&result.note).unwrap_or_default().to_owned();
                Now::WouldAccept { run: act.run, why }
            }
            _ if is_old => Now::UpToDate,
            Some(act) => Now::WouldReuse { run: act.run },
            None if result.state == State::Absent && old.is_none() => Now::UpToDate,
            None => Now::WouldBecome { state: result.state, note: plain_note(&result.note) },
        }
    }

    /// What the newest story says of a target.
    fn last(&self, family: &Family, step: usize, told: &[Before]) -> Result<Last> {
        let name = |ix: TargetIx| self.asked.pipeline.target(ix).name.as_str();
        let target = name(family.steps[step].target);
        let (Some(newest), earlier) = (told.last(), told.len().checked_sub(2).map(|ix| &told[ix])) else {
            return Ok(Last::Never);
        };
        let Some(entry) = newest.entry(target) else { return Ok(Last::Never) };
        let record = match entry.act {
            Some(at) => self.asked.store.act(at)?,
            None => None,
        };
        let Some(act) = record else {
            return Ok(match entry.state {
                State::Unfinished => Last::Never,
                state => Last::Decided { state, note: plain_note(&entry.note) },
            });
        };
        let (_, outcome) = shown(&act.outcome);
        let before = earlier.and_then(|earlier| earlier.entry(target));
        let (run, start) = (act.run, act.start);
        // The result of a `reduce` is that of its last merge.
        let is_merged = self.asked.pipeline.target(family.steps[step].target).reduce && family.is_set();
        if act.run == newest.story.run && (act.doc == newest.story.doc || is_merged) {
            let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
            let reasons = if extras.reasons.is_empty() { vec![Reason::NeverRun] } else { extras.reasons };
            let old = match before.and_then(|before| before.act) {
                Some(at) => self.asked.store.act(at)?,
                None => None,
            };
            let same = old.is_some_and(|old| shown(&old.outcome).1 == outcome);
            return Ok(Last::Ran { run, start, duration: act.duration, reasons, outcome, same });
        }
        let doc =
            if act.doc == newest.story.doc || is_merged { None } else { self.documents.name_of(act.doc)? };
        let is_same = before.is_some_and(|before| before.act == entry.act);
        let ran_before = family.steps[step].inputs.iter().find_map(|input| {
            let Input::Step(before) = input else { return None };
            let input = name(family.steps[*before].target);
            let (new, old) = (newest.entry(input)?.act?, earlier?.entry(input)?.act?);
            (new != old).then(|| input.to_owned())
        });
        let accepted = accepted_why(&entry.note).map(str::to_owned);
        Ok(Last::Kept { run, start, doc, cut_off: ran_before.filter(|_| is_same), accepted, outcome })
    }
}

/// Whether a result is accepted, and the newest story does not say so yet.
fn is_newly_accepted(new: &str, old: &str) -> bool {
    accepted_why(new).is_some() && accepted_why(old) != accepted_why(new)
}

/// A note as people read it: a derived failure by its summary.
fn plain_note(note: &str) -> String {
    match serde_json::from_str::<crate::model::failure::Failure>(note) {
        Ok(failure) => failure.summary(),
        Err(_) => note.to_owned(),
    }
}
