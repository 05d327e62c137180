//! Files that show an older result, because the present one failed, is blocked, or is not decided (`semantics.md` 27).
//!
//! Reads only pages with failed or blocked documents. Knows stories, and no file on disk.

use std::sync::Arc;

use crate::engine::closing::{last_shown, old_path};
use crate::engine::documents::Documents;
use crate::error::Result;
use crate::model::action::State;
use crate::model::event::{Stale, StaleFile};
use crate::model::pipeline::Pipeline;
use crate::plan::family::FamilyIx;
use crate::store::{Entry, Store};

/// At most so many files are named.
const SAMPLES: usize = 5;

/// How many files are stale, and the first of them.
pub fn stale(pipeline: &Pipeline, store: &Arc<Store>) -> Result<Stale> {
    let documents = Documents::new(pipeline, store);
    let mut stale = Stale::default();
    visit(&documents, &mut |file| {
        stale.count += 1;
        let before = |known: &StaleFile| (&known.target, &known.doc) < (&file.target, &file.doc);
        let place = stale.files.partition_point(before);
        if place < SAMPLES {
            stale.files.insert(place, file);
            stale.files.truncate(SAMPLES);
        }
        Ok(())
    })?;
    for file in &mut stale.files {
        file.path = path(&documents, file)?;
    }
    Ok(stale)
}

/// Tells of every stale file, without its path.
fn visit(documents: &Documents<'_>, tell: &mut dyn FnMut(StaleFile) -> Result<()>) -> Result<()> {
    for (ix, family) in documents.families.list.iter().enumerate() {
        if !family.steps.iter().any(|step| documents.pipeline.target(step.target).publish.is_some()) {
            continue;
        }
        let sums = documents.store.sums(&family.name)?;
        if sums.failed == 0 && sums.blocked == 0 {
            continue;
        }
        let mut outcome = Ok(());
        documents.store.unwell(&family.name, &mut |dir, entry| {
            if outcome.is_ok() && !entry.flags.gone {
                outcome = of_document(documents, FamilyIx(ix), dir, entry, tell);
            }
        })?;
        outcome?;
    }
    Ok(())
}

fn of_document(
    documents: &Documents<'_>,
    ix: FamilyIx,
    dir: &str,
    entry: &Entry,
    tell: &mut dyn FnMut(StaleFile) -> Result<()>,
) -> Result<()> {
    let family = documents.families.family(ix);
    let Some(told) = crate::engine::sets::before(documents.store, entry.story)? else { return Ok(()) };
    for step in &family.steps {
        let name = &documents.pipeline.target(step.target).name;
        if told.entry(name).is_some_and(|entry| entry.published && is_stale(entry.state)) {
            let doc = crate::engine::sets::id_of(&family.name, dir, &entry.name).to_string();
            tell(StaleFile { target: name.clone(), doc, path: None })?;
        }
    }
    Ok(())
}

/// Whether a file that is shown in this state is that of an older result.
pub fn is_stale(state: State) -> bool {
    matches!(state, State::Failed | State::Blocked | State::Unfinished)
}

fn path(documents: &Documents<'_>, file: &StaleFile) -> Result<Option<String>> {
    let id = crate::model::document::DocId::parse(file.doc.as_str());
    let (dir, name) = id.place();
    for ix in documents.families.of_document(&id) {
        let family = documents.families.family(ix);
        let step =
            family.steps.iter().position(|of| documents.pipeline.target(of.target).name == file.target);
        let (Some(step), Some(entry)) = (step, documents.store.entry(&family.name, dir, name)?) else {
            continue;
        };
        let Some(document) = documents.open(ix, dir, &entry)? else { continue };
        if let Some((path, _)) = shown_at(documents, &document, ix, step)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Where the last result of a step is shown, and its digest; nothing where that is not known any more.
pub(super) fn shown_at(
    documents: &Documents<'_>,
    document: &crate::engine::document::Document,
    ix: FamilyIx,
    step: usize,
) -> Result<Option<(String, crate::hash::Digest)>> {
    let family = documents.families.family(ix);
    let (store, pipeline) = (documents.store, documents.pipeline);
    let name = &pipeline.target(family.steps[step].target).name;
    let Some(newest) = &document.before else { return Ok(None) };
    let Some(template) = newest.published_by(name) else { return Ok(None) };
    let Some(path) = old_path(store, pipeline, document, family, step, template)? else { return Ok(None) };
    let Some(shown) = last_shown(store, newest.clone(), name)? else { return Ok(None) };
    let result = crate::engine::sets::result_of(store, &shown, name)?;
    Ok(result.and_then(|result| result.output().map(|output| (path, output.digest))))
}
