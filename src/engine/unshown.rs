//! Results that could not be shown because something else has their path: another result, or a file that is not ours.
//!
//! They stand as failures, and their documents are settled: nothing about them changes by itself. They are shown again
//! as soon as that can be: after any build that did something, or when the file in their way is gone. Knows stories and
//! paths, nothing of scheduling.

use crate::engine::Parts;
use crate::engine::document::StepResult;
use crate::engine::mirror::add_shown;
use crate::engine::modules::hash_file;
use crate::engine::publish::{Bytes, Job, NOT_OURS, Owned, Published};
use crate::engine::sets::{before, id_of};
use crate::error::Result;
use crate::model::action::{State, Story};
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::plan::family::{Families, FamilyIx};
use crate::store::{Entry, Store};

/// A result that is shown nowhere.
pub(super) struct Unshown {
    family: FamilyIx,
    dir: String,
    /// How it would be shown.
    pub(super) job: Job,
    /// Why it is not.
    pub(super) failure: Failure,
}

impl Unshown {
    /// Whose result it is.
    pub(super) fn owner(&self) -> Option<&Owned> {
        match &self.job {
            Job::Show { owner, .. } => Some(owner),
            _ => None,
        }
    }

    /// Where it would be shown.
    pub(super) fn path(&self) -> Option<&str> {
        match &self.job {
            Job::Show { path, .. } => Some(path),
            _ => None,
        }
    }
}

/// Whether a note says that a path was taken: how.
pub(super) fn path_taken(note: &str) -> Option<Failure> {
    let failure: Failure = serde_json::from_str(note).ok()?;
    (failure.kind == FailureKind::PathTaken).then_some(failure)
}

/// All of them.
pub(super) fn unshown(parts: &Parts<'_>, families: &Families) -> Result<Vec<Unshown>> {
    let mut found = Vec::new();
    for (ix, family) in families.list.iter().enumerate() {
        let publishes =
            |step: &crate::plan::family::Step| parts.pipeline.target(step.target).publish.is_some();
        if !family.steps.iter().any(publishes) || parts.store.sums(&family.name)?.failed == 0 {
            continue;
        }
        let mut entries: Vec<(String, Entry)> = Vec::new();
        parts.store.unwell(&family.name, &mut |dir, entry| {
            if entry.flags.failed && !entry.flags.gone {
                entries.push((dir.to_owned(), entry.clone()));
            }
        })?;
        for (dir, entry) in entries {
            of_document(parts, families, FamilyIx(ix), &dir, &entry, &mut found)?;
        }
    }
    Ok(found)
}

fn of_document(
    parts: &Parts<'_>,
    families: &Families,
    ix: FamilyIx,
    dir: &str,
    entry: &Entry,
    found: &mut Vec<Unshown>,
) -> Result<()> {
    let Some(told) = before(parts.store, entry.story)? else { return Ok(()) };
    if !told.story.entries.iter().any(|of| of.state == State::Done && path_taken(&of.note).is_some()) {
        return Ok(());
    }
    let id = id_of(&families.family(ix).name, dir, &entry.name);
    let is_meant = |result: &StepResult| result.state == State::Done && path_taken(&result.note).is_some();
    let mut jobs = Vec::new();
    add_shown(parts, families, ix, &id, entry, &is_meant, &mut jobs)?;
    for job in jobs {
        let Job::Show { owner, .. } = &job else { continue };
        let note = told.entry(&owner.target).map(|of| of.note.as_str()).unwrap_or_default();
        let Some(failure) = path_taken(note) else { continue };
        found.push(Unshown { family: ix, dir: dir.to_owned(), job, failure });
    }
    Ok(())
}

/// Whether a file that was in the way of a result is gone, or is what would be shown there.
pub(super) fn any_free(parts: &Parts<'_>, families: &Families) -> Result<bool> {
    for unshown in unshown(parts, families)? {
        if unshown.failure.error == NOT_OURS && is_free(parts, &unshown)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_free(parts: &Parts<'_>, unshown: &Unshown) -> Result<bool> {
    let Job::Show { path, owner, bytes } = &unshown.job else { return Ok(false) };
    // Of a folder one of its files is meant; before that was noted, the path of the whole.
    let in_the_way = unshown.failure.in_the_way.as_deref().unwrap_or(path);
    let full = parts.pipeline.root.join(in_the_way);
    if std::fs::symlink_metadata(&full).is_err() {
        return Ok(true);
    }
    let wanted = match bytes {
        Bytes::Stored(output) if output.ext == folder::EXT => {
            let list = parts.store.folder(output)?.map(|(folder, _)| folder.files).unwrap_or_default();
            let is_it = |file: &&folder::File| format!("{path}/{}", file.shown()) == in_the_way;
            list.iter().find(is_it).map(|file| file.digest)
        }
        _ => Some(owner.digest),
    };
    Ok(wanted.is_some_and(|wanted| hash_file(&full).is_ok_and(|it| it == wanted)))
}

/// After the publisher was asked for them: those that it showed are failures no more. How many that are.
pub(super) fn clear(
    store: &Store,
    families: &Families,
    asked: &[Unshown],
    published: &Published,
) -> Result<u64> {
    let mut shown = 0;
    for Unshown { family, dir, job, .. } in asked {
        let Job::Show { owner, .. } = job else { continue };
        let is_it = |doc: &_, target: &String| *doc == owner.doc && *target == owner.target;
        if published.failures.iter().any(|(doc, target, _)| is_it(doc, target))
            || published.damaged.iter().any(|(doc, target)| is_it(doc, target))
        {
            continue;
        }
        let name = &families.family(*family).name;
        let Some(entry) = store.entry(name, dir, owner.doc.place().1)? else { continue };
        let Some(told) = before(store, entry.story)? else { continue };
        let mut story: Story = (*told.story).clone();
        let place = told.definition.targets.iter().position(|defined| defined.name == owner.target);
        let Some(of) = place.and_then(|place| story.entries.get_mut(place)) else { continue };
        if path_taken(&of.note).is_none() {
            continue;
        }
        of.note.clear();
        of.published = true;
        store.restate(name, dir, &entry, story)?;
        shown += 1;
    }
    if shown > 0 {
        store.all_unsettled();
        store.flush()?;
    }
    Ok(shown)
}
