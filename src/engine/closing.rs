//! Closing documents: the story of what became of them, their place in the index, and what is published of them.

use std::sync::Arc;

use serde_json::Value;

use crate::engine::build::{Announcement, Build};
use crate::engine::document::{Before, Document, StepResult};
use crate::engine::policy::SET_ASIDE;
use crate::engine::publish::{Bytes, Job, Owned};
use crate::engine::requests::origin;
use crate::engine::scheduler::DocIx;
use crate::engine::sets::{before, file_of, result_of};
use crate::error::Result;
use crate::model::action::{DefinedTarget, Definition, Outcome, Position, State, Story, StoryEntry};
use crate::model::event::Event;
use crate::model::folder;
use crate::model::pipeline::{Pipeline, Target, TargetIx};
use crate::model::selection::{Field, Template};
use crate::plan::family::{Family, Input, Origin, Step};
use crate::store::Store;

impl Build<'_> {
    /// All that can be decided of a document in this stratum is.
    pub(super) fn close(&mut self, doc: DocIx) -> Result<()> {
        self.write_story(doc)?;
        let open = self.open[doc.0 as usize].take();
        self.scheduler.closed(doc);
        if let Some(open) = &open {
            let family = self.families.family(open.document.family);
            if family.is_group() && !open.document.settled {
                self.unsettled_groups.insert(open.document.family);
            }
        }
        if let Some(open) = open
            && let Some(feed) = open.feed
        {
            self.child_closed(feed, open.document.settled);
        }
        Ok(())
    }

    /// Settled: every target is decided for good. A passing fault is not, and what it blocks is not either.
    pub(super) fn is_settled(&self, document: &Document, family: &Family) -> bool {
        let decided = |(step, result): (usize, &Option<StepResult>)| {
            let place = &family.steps[step];
            if place.stratum > document.stratum {
                return true;
            }
            let Some(result) = result else { return false };
            match (result.state, result.record.as_deref()) {
                (State::Unfinished, _) => false,
                (State::Failed, Some(act)) => match &act.outcome {
                    Outcome::Failed(failure) => {
                        let plan = self.plans[place.target.0].as_ref();
                        let marks = |call: &crate::engine::target::TargetPlan| {
                            call.marks.asks_again(&document.id, act).is_some()
                        };
                        let reopened = plan.is_some_and(|plan| plan.each_call().iter().any(marks));
                        (failure.is_kept() || result.note == SET_ASIDE) && !reopened
                    }
                    _ => true,
                },
                _ => true,
            }
        };
        // What is wrong with a row is known for as long as the row is the same; what keeps a set or a group from being
        // made, for as long as its members are.
        let is_over_members = family.is_set() || family.is_group();
        (document.digest.is_some() || document.is_given || is_over_members)
            && !document.unsettled_children
            && document.results.iter().enumerate().all(decided)
    }

    /// Writes the story of an open document if anything in it is new, its entry, and what is to be published.
    pub(super) fn write_story(&mut self, doc: DocIx) -> Result<()> {
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return Ok(()) };
        let document = &open.document;
        let family = self.families.family(document.family);
        self.store.note_closed(&document.id);
        if self.options.sample.is_some() && (document.stratum > 0 || family.is_set()) {
            // Sets over a sample, and what is behind them, are never the present result.
            return self.remember_sample(doc);
        }
        let is_kept = family.is_set()
            && self.options.docs.is_some()
            && document
                .results
                .first()
                .and_then(Option::as_ref)
                .is_some_and(|set| set.state == State::Unfinished);
        if is_kept {
            // What is behind it uses the last result.
            let note = document.results[0].as_ref().map(|set| set.note.clone()).unwrap_or_default();
            let message = format!("{} keeps its last result: {note}", document.id);
            self.sink.event(&Event::Notice { message, hint: Some("pipe build".to_owned()) });
            return Ok(());
        }
        let mut entries = Vec::with_capacity(family.steps.len());
        let mut covered = Vec::with_capacity(family.steps.len());
        let (mut jobs, mut nameless) = (Vec::new(), Vec::new());
        for (step, place) in family.steps.iter().enumerate() {
            let target = self.pipeline.target(place.target);
            let old = document.before.as_ref().and_then(|before| before.entry(&target.name)).cloned();
            if place.stratum > document.stratum {
                entries.push(old.unwrap_or_else(unfinished));
                covered.push(false);
                continue;
            }
            let Some(result) = &document.results[step] else {
                entries.push(old.unwrap_or_else(unfinished));
                covered.push(false);
                continue;
            };
            let mut entry = StoryEntry {
                state: result.state,
                act: result.act,
                published: false,
                note: result.note.clone(),
            };
            if result.state == State::Unfinished
                && let Some(old) = &old
            {
                // What was there before still stands until it is decided.
                entry.act = old.act;
                entry.published = old.published;
            }
            covered.push(result.state != State::Unfinished);
            if place.stratum == document.stratum {
                self.tally_published(&mut jobs, document, family, step, target, old.as_ref(), &mut entry)?;
                let is_placed = entry.published || entry.state != State::Done || is_never_shown(family, step);
                if target.publish.is_some() && !is_placed {
                    nameless.push(place.target);
                }
            } else if let Some(old) = &old {
                entry.published = old.published;
                entry.note.clone_from(&old.note);
            }
            entries.push(entry);
        }
        let is_decided = |(step, place): (usize, &crate::plan::family::Step)| {
            let state = document.results[step].as_ref().map(|result| result.state);
            place.stratum > 0 || state.is_some_and(|state| state != State::Unfinished)
        };
        let decided = family.steps.iter().enumerate().all(is_decided);
        let is_source = matches!(family.origin, Origin::Source(_));
        let through = u64::from(is_source && document.stratum == 0 && decided);
        for (_, stratum) in &family.below {
            entries.push(StoryEntry { state: State::Absent, ..unfinished() });
            covered.push(*stratum <= document.stratum);
        }
        let carried = carried(self.pipeline, family, document.before.as_ref());
        for (_, entry) in &carried {
            entries.push(entry.clone());
            covered.push(false);
        }
        let definition = self.definition(doc, &covered, &carried)?;
        self.tally.through += through;
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return Ok(()) };
        let settled = self.is_settled(&open.document, family);
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return Ok(()) };
        open.document.settled = settled;
        let document = &open.document;
        let story = Story {
            doc: document.number,
            run: self.store.run(),
            names: document.names,
            definition,
            previous: document.story,
            stamp: document.stamp,
            content: document.digest,
            settled: document.settled,
            racy: document.racy,
            gone: false,
            entries,
        };
        let id = document.id.clone();
        for target in nameless {
            self.nameless.entry(target).or_insert_with(|| (id.clone(), 0)).1 += 1;
        }
        let at = self.keep_story(doc, &story)?;
        for job in jobs {
            self.announce_at(at, Announcement::Publish(Box::new(job)));
        }
        Ok(())
    }

    /// What a set came to over a sample, for those behind it in this build, and for whoever asks later.
    fn remember_sample(&mut self, doc: DocIx) -> Result<()> {
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return Ok(()) };
        let family = self.families.family(open.document.family);
        let id = open.document.id.as_str();
        let doc = (!family.is_set()).then_some(id);
        // A document before the set has results that count.
        let is_sampled = |place: &Step| family.is_set() || place.stratum == open.document.stratum;
        for (step, place) in family.steps.iter().enumerate().filter(|(_, place)| is_sampled(place)) {
            if let Some(result) = &open.document.results[step] {
                let bytes = origin(family, &open.document, Input::Step(step));
                let from =
                    if let Input::Step(step) = bytes { open.document.results[step].as_ref() } else { None };
                let output = from.and_then(StepResult::output).cloned();
                let at = from.and_then(|from| from.act).filter(|_| output.is_some());
                let name = &self.pipeline.target(place.target).name;
                crate::engine::past::keep_of_sample(self.store, name, doc, at)?;
                if doc.is_some() {
                    continue;
                }
                self.outline.set_sample(place.target, (result.state, output, result.note.clone()));
            }
        }
        Ok(())
    }

    /// Writes a story unless it says what the one before says; then only the entry is new.
    fn keep_story(&mut self, doc: DocIx, story: &Story) -> Result<Position> {
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return Ok(Position(0)) };
        let document = &open.document;
        let family = self.families.family(document.family);
        if let Origin::Source(_) = family.origin {
            self.again.note(&family.name, document.id.rel(), !story.settled || story.racy);
            if let Some(closed) = &mut self.closed {
                closed.insert((document.family, Arc::clone(&document.dir), document.name.clone()));
            }
        }
        let first = family.steps.first().is_some_and(|step| step.stratum == document.stratum);
        // What a child inherits is told by its stamp alone.
        let inherits = family.is_children()
            && document.before.as_ref().is_some_and(|before| before.story.stamp != story.stamp);
        let must = inherits || (family.is_set() && first);
        if let (Some(before), Some(at)) = (&document.before, document.story)
            && !must
            && tells_the_same(self.store, before, story)?
        {
            self.store.put_entry(&family.name, &document.dir, entry_with(document, story, at), at);
            return Ok(at);
        }
        let at = self.store.add_story(story)?;
        let definition = self.store.definition(story.definition)?;
        let defined = definition.iter().flat_map(|definition| &definition.targets);
        for (defined, entry) in defined.zip(&story.entries) {
            let old = document.before.as_ref().and_then(|before| before.entry(&defined.name));
            let is_new = old.is_none() && entry.state != State::Absent;
            if is_new || old.is_some_and(|old| old.state != entry.state || old.act != entry.act) {
                self.store.note_change(&defined.name, at);
            }
        }
        let old = document.before.as_ref().map(|before| (before.story.content, before.story.gone));
        if old != Some((story.content, story.gone)) {
            self.store.note_change(&family.name, at);
        }
        self.store.put_entry(&family.name, &document.dir, Store::entry_of(&document.name, story, at), at);
        Ok(at)
    }

    /// Plans what is shown of a step's result, and what is not any more.
    #[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
    fn tally_published(
        &self,
        jobs: &mut Vec<Job>,
        document: &Document,
        family: &Family,
        step: usize,
        target: &Target,
        old: Option<&StoryEntry>,
        entry: &mut StoryEntry,
    ) -> Result<()> {
        let old_template = document.before.as_ref().and_then(|before| before.published_by(&target.name));
        let stale = matches!(entry.state, State::Failed | State::Blocked | State::Unfinished);
        let publish = target.publish.as_ref().filter(|_| !is_never_shown(family, step));
        let removes = publish.is_none_or(|publish| publish.remove_stale && entry.state != State::Unfinished);
        if stale && !removes && old_template.is_some() {
            entry.published = true;
            return Ok(());
        }
        let publish = publish.filter(|_| entry.state == State::Done);
        let path = publish
            .and_then(|publish| published_path(&publish.path, document, family, Input::Step(step), target));
        let old_path = match old_template {
            Some(template) => old_path(self.store, self.pipeline, document, family, step, template)?,
            None => None,
        };
        if old_template.is_some() && (old_path.is_none() || path != old_path) {
            jobs.push(withdraw(old_path.clone(), path.clone(), document, target));
        }
        let (Some(path), Some(result)) = (path, &document.results[step]) else { return Ok(()) };
        entry.published = true;
        let is_same = old.is_some_and(|old| {
            let was_shown = crate::engine::marks::without_accepted(&old.note).is_empty()
                || crate::engine::hold::is_held(old);
            old.act == entry.act && old.state == State::Done && was_shown
        });
        if is_same && old_path.as_ref() == Some(&path) {
            return Ok(());
        }
        if let Some(bytes) = bytes_of(&self.parts.roots, document, family, step)
            && let Some(output) = result.output()
        {
            let owner =
                Owned { digest: output.digest, doc: document.id.clone(), target: target.name.clone() };
            jobs.push(Job::Show { path, owner, bytes });
        }
        Ok(())
    }

    /// The place of the definition of a document's story.
    fn definition(
        &mut self,
        doc: DocIx,
        covered: &[bool],
        carried: &[(DefinedTarget, StoryEntry)],
    ) -> Result<Position> {
        let Some(open) = self.open[doc.0 as usize].as_ref() else { return Ok(Position(0)) };
        let document = &open.document;
        let before =
            (!carried.is_empty()).then(|| document.before.as_ref().map(|before| before.story.definition));
        let key = (document.family, document.stratum, before.flatten(), covered.to_vec());
        if let Some(known) = self.definitions.get(&key) {
            return Ok(*known);
        }
        let family = self.families.family(document.family);
        let defined = |ix: TargetIx, covered: bool| {
            let target = self.pipeline.target(ix);
            DefinedTarget {
                name: target.name.clone(),
                digest: if covered { self.outline.definition(ix) } else { None },
                publish: target.publish.as_ref().map(|publish| publish.path.to_string()),
            }
        };
        let own = family.steps.iter().zip(covered).map(|(step, covered)| defined(step.target, *covered));
        // Another template is another definition also of what stands before it.
        let below = family.below.iter().map(|(target, _)| *target).zip(&covered[family.steps.len()..]);
        let below = below.map(|(target, covered)| defined(target, *covered));
        let targets = own.chain(below).chain(carried.iter().map(|(defined, _)| defined.clone())).collect();
        let at = self.store.intern_definition(&Definition { family: family.name.clone(), targets })?;
        self.used_definitions.insert(at);
        self.definitions.insert(key, at);
        Ok(at)
    }

    /// A document is gone from its source: so is all that came of it.
    pub(super) fn retire(&mut self, document: &Document) -> Result<()> {
        let family = self.families.family(document.family);
        self.again.note(&family.name, document.id.rel(), false);
        let Some(before) = document.before.clone() else { return Ok(()) };
        let mut jobs = Vec::new();
        for (step, place) in family.steps.iter().enumerate() {
            let target = self.pipeline.target(place.target);
            if let Some(template) = before.published_by(&target.name)
                && !self.has_twin(document, place.target)?
            {
                let path = old_path(self.store, self.pipeline, document, family, step, template)?;
                jobs.push(withdraw(path, None, document, target));
            }
        }
        let entry = |_: &StoryEntry| StoryEntry {
            state: State::Absent,
            act: None,
            published: false,
            note: String::new(),
        };
        let story = Story {
            run: self.store.run(),
            previous: document.story,
            content: None,
            settled: true,
            gone: true,
            entries: before.story.entries.iter().map(entry).collect(),
            ..(*before.story).clone()
        };
        let at = self.store.add_story(&story)?;
        for defined in &before.definition.targets {
            self.store.note_change(&defined.name, at);
        }
        self.store.note_change(&family.name, at);
        self.store.put_entry(&family.name, &document.dir, Store::entry_of(&document.name, &story, at), at);
        for job in jobs {
            self.announce_at(at, Announcement::Publish(Box::new(job)));
        }
        self.retire_children(document)
    }
}

impl Build<'_> {
    /// Whether a child of another split has the id of this one and comes to a target too: then the file is that one's.
    fn has_twin(&self, document: &Document, target: TargetIx) -> Result<bool> {
        for ix in self.families.of_document(&document.id) {
            let family = self.families.family(ix);
            if ix == document.family || !family.is_children() || family.step_of(target).is_none() {
                continue;
            }
            let entry = self.store.entry(&family.name, &document.dir, &document.name)?;
            if entry.is_some_and(|entry| !entry.flags.gone) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn unfinished() -> StoryEntry {
    StoryEntry { state: State::Unfinished, act: None, published: false, note: String::new() }
}

/// Targets of the pipeline that this build does not cover keep what they had.
fn carried(
    pipeline: &Pipeline,
    family: &Family,
    before: Option<&Before>,
) -> Vec<(DefinedTarget, StoryEntry)> {
    let Some(before) = before else { return Vec::new() };
    let is_carried =
        |name: &str| pipeline.find_target(name).is_some_and(|ix| !family.decided().any(|(of, _)| of == ix));
    let pairs = before.definition.targets.iter().zip(&before.story.entries);
    let carried = pairs.filter(|(defined, _)| is_carried(&defined.name));
    carried
        .map(|(defined, entry)| (DefinedTarget { digest: None, ..defined.clone() }, entry.clone()))
        .collect()
}

/// What was shown at `old` goes; where that is not known (its result was another than the one that stands now), what
/// is ours but not at `new`.
fn withdraw(old: Option<String>, new: Option<String>, document: &Document, target: &Target) -> Job {
    let (doc, target) = (document.id.clone(), target.name.clone());
    match old {
        Some(path) => Job::Withdraw { path, doc, target },
        None => Job::WithdrawAll { doc, target, but: new },
    }
}

/// A value of meta as text in a path.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The children of a split are shown, not the list of them; nor what is merged on the way.
fn is_never_shown(family: &Family, step: usize) -> bool {
    family.steps[step].splits || family.is_merges()
}

/// Where a result is shown; nothing if it lacks a field of the template.
pub fn published_path(
    template: &Template,
    document: &Document,
    family: &Family,
    input: Input,
    target: &Target,
) -> Option<String> {
    let Input::Step(step) = input else { return None };
    let output = document.results[step].as_ref()?.output()?;
    let lookup = |field: &Field| match field {
        Field::Meta(path) => document.meta(family, input, path).map(|value| plain(&value)),
        other => other.of_id(&document.id),
    };
    let ext = if output.ext == folder::EXT { "" } else { &output.ext };
    template.expand(&lookup, &target.name, ext).ok()
}

/// Where the result of a step was shown by the document's newest story, or by the last one that had a result.
pub(super) fn old_path(
    store: &Store,
    pipeline: &Pipeline,
    document: &Document,
    family: &Family,
    step: usize,
    template: &str,
) -> Result<Option<String>> {
    let Some(before) = &document.before else { return Ok(None) };
    let name = &pipeline.target(family.steps[step].target).name;
    let Some(before) = last_shown(store, before.clone(), name)? else { return Ok(None) };
    // A failure keeps the file of the result before, where that one's template put it.
    let Ok(template) = Template::parse(before.published_by(name).unwrap_or(template)) else {
        return Ok(None);
    };
    // What a child inherits may have been another then.
    if family.is_children() && template.fields().any(|field| matches!(field, Field::Meta(_))) {
        return Ok(None);
    }
    let mut results = vec![None; family.steps.len()];
    for (ix, place) in family.steps.iter().enumerate() {
        results[ix] = result_of(store, &before, &pipeline.target(place.target).name)?;
    }
    let old = Document {
        id: document.id.clone(),
        dir: Arc::clone(&document.dir),
        name: document.name.clone(),
        content: None,
        digest: before.story.content,
        before: None,
        results,
        above: Arc::clone(&document.above),
        handed: Arc::from([]),
        ..*document
    };
    Ok(published_path(&template, &old, family, Input::Step(step), pipeline.target(family.steps[step].target)))
}

/// The newest story, from this one back, by which a target's result is shown: a failure keeps the file of the one before.
pub(super) fn last_shown(store: &Store, newest: Before, target: &str) -> Result<Option<Before>> {
    let mut at = Some(newest);
    while let Some(found) = at {
        if found.entry(target).is_some_and(|entry| entry.state == State::Done && entry.published) {
            return Ok(Some(found));
        }
        at = match found.story.previous {
            Some(previous) => before(store, previous)?,
            None => None,
        };
    }
    Ok(None)
}

/// Where the bytes of a step's result are.
pub(super) fn bytes_of(
    roots: &[Arc<crate::scan::Roots>],
    document: &Document,
    family: &Family,
    step: usize,
) -> Option<Bytes> {
    match origin(family, document, Input::Step(step)) {
        Input::Step(step) => {
            let output = document.results[step].as_ref().and_then(StepResult::output)?;
            Some(Bytes::Stored(output.clone()))
        }
        Input::Origin => match family.origin {
            Origin::Source(ix) => match file_of(&roots[ix.0], document) {
                Some(path) => Some(Bytes::Source(path)),
                None => document.content.as_ref()?.bytes.clone().map(Bytes::Row),
            },
            Origin::Set(_) | Origin::Children(_) | Origin::Group(_) | Origin::Merges(_) => None,
        },
    }
}

/// Whether a new story says nothing that the one before does not: then only the entry is written.
fn tells_the_same(store: &Store, before: &Before, story: &Story) -> Result<bool> {
    let old = &before.story;
    let same = old.content == story.content
        && old.gone == story.gone
        && old.settled == story.settled
        && old.names == story.names
        && old.entries == story.entries;
    if !same || old.definition == story.definition {
        return Ok(same);
    }
    let Some(new) = store.definition(story.definition)? else { return Ok(false) };
    let names = |definition: &Definition| -> Vec<(String, Option<String>)> {
        definition.targets.iter().map(|defined| (defined.name.clone(), defined.publish.clone())).collect()
    };
    Ok(names(&before.definition) == names(&new))
}

/// The entry of a document whose story stays, with what is new about it.
fn entry_with(document: &Document, story: &Story, at: Position) -> crate::store::Entry {
    crate::store::Entry { story: at, ..Store::entry_of(&document.name, story, at) }
}
