//! Published files against the stories: what is missing is shown again, what shows nothing any more is withdrawn.
//!
//! After an orderly end only folders that changed are looked at, and the ownership list once when other targets publish
//! than before; after a kill every published result is compared.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::engine::decide::derived_note;
use crate::engine::document::{StepResult, place_of};
use crate::engine::modules::hash_file;
use crate::engine::publish::{Job, Owned, Published, all_owned, is_below, missing, own, owned};
use crate::engine::sets::{above, before, given_content, id_of, result_of, stored};
use crate::engine::standing::Limits;
use crate::engine::{Options, Parts, closing};
use crate::error::Result;
use crate::model::action::{Outcome, Position, State, Story};
use crate::model::document::{CHILDREN, DocId};
use crate::model::failure::FailureKind;
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::plan::family::{Families, FamilyIx, Input, Origin};
use crate::store::{Entry, Store};

/// What has to be done about published files beside what this build makes.
#[derive(Default)]
pub(super) struct Repairs {
    /// To be done before anything else is published.
    pub jobs: Vec<Job>,
    /// Everything was compared, as after a kill.
    pub unchecked: bool,
    /// Which targets publish, if that is another list than the one that is kept.
    pub publishing: Option<Publishing>,
}

/// By family: the targets that publish its documents.
pub(super) type Publishing = BTreeMap<String, BTreeSet<String>>;

const TREE: &str = "state";
const PUBLISHING: &[u8] = b"publishing";

/// What has to be shown or withdrawn beside what this build makes.
pub(super) fn repairs(
    parts: &Parts<'_>,
    families: &Families,
    options: &Options,
    limits: Option<&Limits>,
) -> Result<Repairs> {
    if options.is_partial() {
        return Ok(Repairs::default());
    }
    let present = covers_all(parts.pipeline, options).then(|| publishing(parts.pipeline));
    if parts.store.is_publishing_unchecked()? {
        restore_ownership(parts, families)?;
        let jobs = unshown(parts, families, options)?;
        return Ok(Repairs { jobs, unchecked: true, publishing: present });
    }
    let is_touched = limits.is_none_or(Limits::published);
    let missing = if is_touched { missing(parts.store, &parts.pipeline.root)? } else { Vec::new() };
    let mut jobs = show_again(parts, families, &missing)?;
    let kept = parts.store.kept(TREE, PUBLISHING)?;
    let kept: Option<Publishing> = kept.and_then(|kept| serde_json::from_slice(&kept).ok());
    let present = present.filter(|present| kept.as_ref() != Some(present));
    if let (Some(kept), Some(present)) = (kept, &present) {
        jobs.extend(moved_on(parts, families, &kept, present)?);
    }
    Ok(Repairs { jobs, unchecked: false, publishing: present })
}

/// Whether a build covers all that is built by default, and all its documents.
pub(super) fn covers_all(pipeline: &Pipeline, options: &Options) -> bool {
    let mut by_default = (0..pipeline.targets.len()).map(TargetIx).filter(|ix| pipeline.target(*ix).default);
    !options.is_partial() && by_default.all(|ix| options.wanted.contains(&ix))
}

/// Keeps which targets publish, to see in the next build which no longer do.
pub(super) fn remember(store: &Store, publishing: &Publishing) -> Result<()> {
    store.keep(TREE, PUBLISHING, &serde_json::to_vec(publishing).unwrap_or_default())
}

/// Which targets publish the documents of which family.
pub(super) fn publishing(pipeline: &Pipeline) -> Publishing {
    let all = (0..pipeline.targets.len()).map(TargetIx).collect();
    let mut publishing = Publishing::new();
    for family in Families::new(pipeline, &all).list {
        let is_merges = family.is_merges();
        let is_shown = |step: &&crate::plan::family::Step| !step.splits && !is_merges;
        let shown = family.steps.iter().filter(is_shown);
        let targets = shown.map(|step| pipeline.target(step.target));
        let names = targets.filter(|target| target.publish.is_some()).map(|target| target.name.clone());
        publishing.insert(family.name, names.collect());
    }
    publishing
}

/// The Pipelinefile publishes something else than before: files of targets and sources that are gone from it go, and
/// what came back is shown again, though its documents may be up to date.
fn moved_on(
    parts: &Parts<'_>,
    families: &Families,
    kept: &Publishing,
    present: &Publishing,
) -> Result<Vec<Job>> {
    let publishes = |publishing: &Publishing, family: &str, target: &str| {
        publishing.get(family).is_some_and(|targets| targets.contains(target))
    };
    let is_new = |family: &str, target: &str| !publishes(kept, family, target);
    let any_new = present.iter().any(|(family, targets)| targets.iter().any(|target| is_new(family, target)));
    let mut jobs = if any_new { shown(parts, families, &is_new)? } else { Vec::new() };
    for (path, owned) in all_owned(parts.store)? {
        if !is_published(present, &owned) {
            jobs.push(Job::Withdraw { path, doc: owned.doc, target: owned.target });
        }
    }
    Ok(jobs)
}

/// Whether the Pipelinefile shows such results.
pub(super) fn is_published(present: &Publishing, owned: &Owned) -> bool {
    let is_child = owned.doc.parent().is_some();
    let holds = |family: &str| match family.strip_suffix(CHILDREN) {
        Some(_) => is_child,
        None => !is_child && DocId::at(family, "", "").as_str() == owned.doc.source(),
    };
    present.iter().any(|(family, targets)| holds(family) && targets.contains(&owned.target))
}

/// Files that the stories say are ours, whose ownership went with the index: they have exactly the bytes of the result
/// that was shown there last.
pub(super) fn restore_ownership(parts: &Parts<'_>, families: &Families) -> Result<()> {
    let mut ours = Vec::new();
    if !is_anything_shown(parts.store)? {
        return Ok(());
    }
    for (ix, family) in families.list.iter().enumerate() {
        let mut failed = None;
        parts.store.scan(&family.name, &mut |dir, entry| {
            let id = id_of(&family.name, dir, &entry.name);
            match shown_before(parts, families, FamilyIx(ix), &id, entry) {
                Ok(shown) => {
                    ours.extend(shown);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    for (path, owner) in ours {
        own(parts.store, &path, &owner)?;
    }
    Ok(())
}

/// Whether a story was ever written for a target that publishes.
fn is_anything_shown(store: &Store) -> Result<bool> {
    for at in store.definition_places() {
        // One that cannot be read may have shown something.
        if store
            .definition(at)?
            .is_none_or(|found| found.targets.iter().any(|target| target.publish.is_some()))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a document shows, or showed before it was gone, that nobody owns and that lies there unchanged.
fn shown_before(
    parts: &Parts<'_>,
    families: &Families,
    ix: FamilyIx,
    id: &DocId,
    entry: &Entry,
) -> Result<Vec<(String, Owned)>> {
    let family = families.family(ix);
    let mut shown = Vec::new();
    let document = stored(parts.store, parts.pipeline, (ix, family), id.clone(), entry, &|_| false)?;
    let Some(mut document) = document else { return Ok(shown) };
    let Some(newest) = document.before.take() else { return Ok(shown) };
    for (step, place) in family.steps.iter().enumerate() {
        let name = &parts.pipeline.target(place.target).name;
        let Some(found) = closing::last_shown(parts.store, newest.clone(), name)? else { continue };
        let output = result_of(parts.store, &found, name)?.and_then(|result| result.output().cloned());
        let template = found.published_by(name).map(str::to_owned);
        let (Some(template), Some(output)) = (template, output) else { continue };
        document.before = Some(found);
        let path = closing::old_path(parts.store, parts.pipeline, &document, family, step, &template)?;
        let Some(path) = path else { continue };
        let files = match parts.store.folder(&output)? {
            Some((folder, _)) => {
                folder.files.iter().map(|file| (format!("{path}/{}", file.shown()), file.digest)).collect()
            }
            None => vec![(path, output.digest)],
        };
        for (path, digest) in files {
            if owned(parts.store, &path)?.is_none()
                && hash_file(&parts.pipeline.root.join(&path)).is_ok_and(|present| present == digest)
            {
                shown.push((path, Owned { digest, doc: id.clone(), target: name.clone() }));
            }
        }
    }
    Ok(shown)
}

/// How to show published files again that are missing.
fn show_again(parts: &Parts<'_>, families: &Families, missing: &[(String, Owned)]) -> Result<Vec<Job>> {
    let (mut jobs, mut known) = (Vec::new(), HashSet::new());
    for (path, owned) in missing {
        for job in published_results(parts, families, &owned.doc)? {
            if let Job::Show { path: of, .. } = &job
                && (of == path || is_below(path, of))
                && known.insert(of.clone())
            {
                jobs.push(job);
            }
        }
    }
    Ok(jobs)
}

/// What is to be shown so that the published files are what the stories say, of some families and targets.
fn shown(parts: &Parts<'_>, families: &Families, of: &dyn Fn(&str, &str) -> bool) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for family in &families.list {
        let publishes = |step: &crate::plan::family::Step| {
            let target = parts.pipeline.target(step.target);
            target.publish.is_some() && of(&family.name, &target.name)
        };
        if !family.steps.iter().any(publishes) {
            continue;
        }
        let mut failed = None;
        parts.store.scan(&family.name, &mut |dir, entry| {
            let id = id_of(&family.name, dir, &entry.name);
            match published_results(parts, families, &id) {
                Ok(shown) => {
                    let is_of =
                        |job: &Job| matches!(job, Job::Show { owner, .. } if of(&family.name, &owner.target));
                    jobs.extend(shown.into_iter().filter(|job| is_of(job) && !is_shown(parts, job)));
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(jobs)
}

/// What is to be shown or withdrawn so that the published files are what the stories say: after a kill.
fn unshown(parts: &Parts<'_>, families: &Families, options: &Options) -> Result<Vec<Job>> {
    let mut jobs = shown(parts, families, &|_, _| true)?;
    for (path, owned) in all_owned(parts.store)? {
        // Only what this build is about is withdrawn; and what the Pipelinefile has no more.
        let target = parts.pipeline.find_target(&owned.target);
        if target.is_some_and(|ix| !options.wanted.contains(&ix)) {
            continue;
        }
        let shown = published_results(parts, families, &owned.doc)?;
        let is_present = shown.iter().any(
            |job| matches!(job, Job::Show { path: of, owner, .. } if (*of == path || is_below(&path, of)) && owner.target == owned.target),
        );
        // A document that failed keeps its last file, wherever that is.
        if !is_present && !keeps_stale(parts, families, &owned)? {
            jobs.push(Job::Withdraw { path, doc: owned.doc, target: owned.target });
        }
    }
    Ok(jobs)
}

fn is_shown(parts: &Parts<'_>, job: &Job) -> bool {
    let Job::Show { path, owner, .. } = job else { return false };
    let is_ours = owned(parts.store, path).is_ok_and(|owned| owned.as_ref() == Some(owner));
    is_ours && std::fs::symlink_metadata(parts.pipeline.root.join(path)).is_ok()
}

pub(super) fn keeps_stale(parts: &Parts<'_>, families: &Families, owned: &Owned) -> Result<bool> {
    for (_, entry) in entries_of(parts.store, families, &owned.doc)? {
        let Some(found) = before(parts.store, entry.story)? else { continue };
        let stale = [State::Failed, State::Blocked, State::Unfinished];
        if found.entry(&owned.target).is_some_and(|entry| entry.published && stale.contains(&entry.state)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The documents of an id that are there: two splits of one document may have children of one name.
fn entries_of(store: &Store, families: &Families, id: &DocId) -> Result<Vec<(FamilyIx, Entry)>> {
    let (dir, name) = place_of(id);
    let mut found = Vec::new();
    for ix in families.of_document(id) {
        let entry = store.entry(&families.family(ix).name, dir, name)?;
        found.extend(entry.filter(|entry| !entry.flags.gone).map(|entry| (ix, entry)));
    }
    Ok(found)
}

/// How every published result of a document is shown, by its newest story.
fn published_results(parts: &Parts<'_>, families: &Families, id: &DocId) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for (ix, entry) in entries_of(parts.store, families, id)? {
        add_published(parts, families, ix, id, &entry, &mut jobs)?;
    }
    Ok(jobs)
}

pub(super) fn add_published(
    parts: &Parts<'_>,
    families: &Families,
    ix: FamilyIx,
    id: &DocId,
    entry: &Entry,
    jobs: &mut Vec<Job>,
) -> Result<()> {
    let is_published = |result: &StepResult| result.published && result.state == State::Done;
    add_shown(parts, families, ix, id, entry, &is_published, jobs)
}

/// How the results of a document that are meant are shown, by its newest story.
pub(super) fn add_shown(
    parts: &Parts<'_>,
    families: &Families,
    ix: FamilyIx,
    id: &DocId,
    entry: &Entry,
    is_meant: &dyn Fn(&StepResult) -> bool,
    jobs: &mut Vec<Job>,
) -> Result<()> {
    let family = families.family(ix);
    let document = stored(parts.store, parts.pipeline, (ix, family), id.clone(), entry, &|_| true)?;
    let Some(mut document) = document else { return Ok(()) };
    if let Origin::Source(source) = family.origin {
        given_content(&parts.roots[source.0], &mut document)?;
    }
    if family.is_children() {
        document.above = above(parts.store, parts.pipeline, families, &parts.roots, ix, id.place().0)?;
    }
    for (step, place) in family.steps.iter().enumerate() {
        let target = parts.pipeline.target(place.target);
        let result = document.results[step].as_ref();
        let is_published = result.is_some_and(is_meant);
        if let (true, Some(publish)) = (is_published, &target.publish)
            && let Some(path) =
                closing::published_path(&publish.path, &document, family, Input::Step(step), target)
            && let Some(bytes) = closing::bytes_of(&parts.roots, &document, family, step)
            && let Some(output) = document.results[step].as_ref().and_then(StepResult::output)
        {
            let owner = Owned { digest: output.digest, doc: id.clone(), target: target.name.clone() };
            jobs.push(Job::Show { path, owner, bytes });
        }
    }
    Ok(())
}

/// Whether a record's own bytes are there and right.
fn is_whole(store: &Store, at: Position) -> Result<bool> {
    let Some(act) = store.act(at)? else { return Ok(false) };
    let Outcome::Output(output) = &act.outcome else { return Ok(false) };
    store.is_whole(output)
}

/// A result that could not be shown stands as a failure with its document. It is tried again next time; one whose path
/// is another's is settled until that can change (`unshown`).
pub(super) fn note_unpublished(store: &Store, families: &Families, published: &Published) -> Result<()> {
    let failures = published
        .failures
        .iter()
        .map(|(doc, target, failure)| (doc, target, Some((failure.kind, derived_note(failure)))));
    let damaged = published.damaged.iter().map(|(doc, target)| (doc, target, None));
    for (doc, target, note) in failures.chain(damaged) {
        let (dir, _) = place_of(doc);
        for (ix, entry) in entries_of(store, families, doc)? {
            let Some(found) = before(store, entry.story)? else { continue };
            let mut story: Story = (*found.story).clone();
            let place = found.definition.targets.iter().position(|defined| defined.name == *target);
            let Some(of) = place.and_then(|place| story.entries.get_mut(place)) else { continue };
            match &note {
                Some((kind, note)) => {
                    let is_known = of.note == *note && !of.published;
                    of.note.clone_from(note);
                    of.published = false;
                    if *kind == FailureKind::PathTaken {
                        if !is_known {
                            store.restate(&families.family(ix).name, dir, &entry, story)?;
                        }
                        continue;
                    }
                }
                None => {
                    if let Some(at) = of.act {
                        // The damaged one may be that of before: this build has made it again, and shown it.
                        if is_whole(store, at)? {
                            continue;
                        }
                        store.mark_bad(at)?;
                    }
                }
            }
            store.unsettle(&families.family(ix).name, dir, &entry, story)?;
        }
    }
    store.all_unsettled();
    store.flush()
}
