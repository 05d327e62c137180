//! `pipe publish`: every published file against the result that it shows, byte by byte; what is missing or old is shown
//! again, what shows nothing any more goes. What somebody edited is kept unless it is to be overwritten.
//!
//! A build trusts folders that did not change (`semantics.md` 13); here all files are read. Runs no module. What is to
//! be done is told one by one, and not collected.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::Parts;
use crate::engine::listing::{self, Manner};
use crate::engine::mirror::{self, add_published, is_published, keeps_stale};
use crate::engine::modules::hash_file;
use crate::engine::publish::{Bytes, Job, NOT_OURS, Owned, Publisher, is_below, owned, visit_owned};
use crate::engine::sets::id_of;
use crate::engine::unshown::{self, Unshown};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::document::DocId;
use crate::model::failure::FailureKind;
use crate::model::folder;
use crate::model::pipeline::TargetIx;
use crate::plan::family::{Families, FamilyIx};

/// What was found about a published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It is not there.
    Missing,
    /// It is as it was written, but not the present result.
    Old,
    /// It was edited since it was written.
    Edited,
    /// It is not a file of ours.
    NotOurs,
    /// Its path is that of another result too: neither is shown.
    Taken,
    /// It shows an older result, because the present one failed, is blocked or is not decided.
    Stale,
    /// It shows nothing any more.
    Gone,
    /// Its result is damaged in the store.
    Damaged,
}

/// A published file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Relative to the project; absent where the result alone is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The target.
    pub target: String,
    /// Whose result it shows; absent for a listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<String>,
    /// What is wrong.
    pub fault: Fault,
    /// It was put right.
    pub mended: bool,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repaired {
    /// Files that were compared.
    pub compared: u64,
    /// Those that were right.
    pub right: u64,
    /// Those that were put right: written, or removed.
    pub mended: u64,
    /// Those that are not right.
    pub wrong: u64,
}

/// Whoever is told of what is wrong.
pub type Tell<'t> = dyn FnMut(&Wrong) -> Result<()> + 't;

/// Compares what the targets publish, and puts it right as far as `manner` says.
///
/// # Errors
///
/// If the store cannot be read or written, or a listing not be made.
pub fn repair(
    parts: &Parts<'_>,
    wanted: &BTreeSet<TargetIx>,
    manner: Manner,
    command: Vec<String>,
    tell: &mut Tell<'_>,
) -> Result<Repaired> {
    let families = Families::new(parts.pipeline, &(0..parts.pipeline.targets.len()).map(TargetIx).collect());
    if manner != Manner::Look && parts.store.is_publishing_unchecked()? {
        mirror::restore_ownership(parts, &families)?;
    }
    let publisher = Publisher::start(Arc::clone(parts.store), &parts.pipeline.root)?;
    let mut work = Work {
        parts,
        families: &families,
        wanted,
        manner,
        publisher,
        seen: HashSet::new(),
        damaged: Vec::new(),
        sums: Repaired::default(),
        tell,
    };
    work.shown()?;
    let taken = work.taken()?;
    work.others(&taken)?;
    if manner != Manner::Look {
        taken.iter().for_each(|unshown| work.publisher.ask(unshown.job.clone()));
    }
    let Work { publisher, mut sums, tell, .. } = work;
    let published = publisher.finish();
    let damaged = published.damaged.iter().map(|(doc, target)| (doc, target, Fault::Damaged));
    let is_taken = |doc: &DocId, target: &String| {
        taken.iter().any(|taken| taken.owner().is_some_and(|of| of.doc == *doc && of.target == *target))
    };
    let failed = published.failures.iter().filter(|(doc, target, _)| !is_taken(doc, target));
    let failed = failed.map(|(doc, target, failure)| {
        let is_contest = failure.kind == FailureKind::PathTaken && failure.error != NOT_OURS;
        (doc, target, if is_contest { Fault::Taken } else { Fault::NotOurs })
    });
    for (doc, target, fault) in damaged.chain(failed) {
        sums.mended = sums.mended.saturating_sub(1);
        sums.wrong += 1;
        let doc = Some(doc.to_string());
        tell(&Wrong { path: None, target: target.clone(), doc, fault, mended: false })?;
    }
    for (path, doc, target) in &published.not_withdrawn {
        sums.mended = sums.mended.saturating_sub(1);
        sums.wrong += 1;
        let (path, doc, fault) = (Some(path.clone()), Some(doc.to_string()), Fault::Gone);
        tell(&Wrong { path, target: target.clone(), doc, fault, mended: false })?;
    }
    for unshown in &taken {
        let Some(owner) = unshown.owner() else { continue };
        let fails = |(doc, target, _): &(DocId, String, _)| *doc == owner.doc && *target == owner.target;
        let mended = manner != Manner::Look && !published.failures.iter().any(fails);
        sums.compared += 1;
        sums.count(mended);
        let fault = if unshown.failure.error == NOT_OURS { Fault::NotOurs } else { Fault::Taken };
        let (target, doc) = (owner.target.clone(), Some(owner.doc.to_string()));
        let in_the_way = unshown.failure.in_the_way.as_deref().filter(|_| !mended);
        let path = in_the_way.or_else(|| unshown.path()).map(str::to_owned);
        tell(&Wrong { path, target, doc, fault, mended })?;
    }
    let is_any_mended = manner != Manner::Look && !taken.is_empty();
    if is_any_mended || !published.damaged.is_empty() || !published.failures.is_empty() {
        parts.store.begin_run(command, parts.pipelinefile)?;
        mirror::note_unpublished(parts.store, &families, &published)?;
        if is_any_mended {
            unshown::clear(parts.store, &families, &taken, &published)?;
        }
    }
    for listed in listing::refresh(parts.pipeline, parts.store, wanted, &|_| true, manner)? {
        sums.compared += 1;
        let fault = match listed.found {
            listing::Found::Right => {
                sums.right += 1;
                continue;
            }
            listing::Found::Missing => Fault::Missing,
            listing::Found::Old => Fault::Old,
            listing::Found::Edited => Fault::Edited,
            listing::Found::Foreign => Fault::NotOurs,
        };
        sums.count(listed.written);
        let (path, mended) = (Some(listed.path), listed.written);
        tell(&Wrong { path, target: listed.target, doc: None, fault, mended })?;
    }
    Ok(sums)
}

impl Repaired {
    fn count(&mut self, mended: bool) {
        if mended {
            self.mended += 1;
        } else {
            self.wrong += 1;
        }
    }
}

struct Work<'a, 't> {
    parts: &'a Parts<'a>,
    families: &'a Families,
    wanted: &'a BTreeSet<TargetIx>,
    manner: Manner,
    publisher: Publisher,
    /// Hashes of the paths that show something: a few bytes a file.
    seen: HashSet<u64>,
    /// Folders whose lists of files cannot be read: what lies below them is nobody else's.
    damaged: Vec<String>,
    sums: Repaired,
    tell: &'a mut Tell<'t>,
}

impl Work<'_, '_> {
    fn is_wanted(&self, target: &str) -> bool {
        self.parts.pipeline.find_target(target).is_some_and(|ix| self.wanted.contains(&ix))
    }

    /// What the stories say is shown.
    fn shown(&mut self) -> Result<()> {
        let (parts, families) = (self.parts, self.families);
        for (ix, family) in families.list.iter().enumerate() {
            let publishes = |step: &crate::plan::family::Step| {
                self.wanted.contains(&step.target) && parts.pipeline.target(step.target).publish.is_some()
            };
            if !family.steps.iter().any(publishes) {
                continue;
            }
            let mut outcome = Ok(());
            parts.store.scan(&family.name, &mut |dir, entry| {
                if !entry.flags.gone {
                    let id = id_of(&family.name, dir, &entry.name);
                    let mut jobs = Vec::new();
                    outcome = add_published(parts, families, FamilyIx(ix), &id, entry, &mut jobs)
                        .and_then(|()| jobs.into_iter().try_for_each(|job| self.compare(job)));
                }
                outcome.is_ok()
            })?;
            outcome?;
        }
        Ok(())
    }

    fn compare(&mut self, job: Job) -> Result<()> {
        let Job::Show { path, owner, bytes } = &job else { return Ok(()) };
        if !self.is_wanted(&owner.target) {
            return Ok(());
        }
        let folder = match bytes {
            Bytes::Stored(output) => self.parts.store.folder(output)?,
            _ => None,
        };
        if folder.is_none() && matches!(bytes, Bytes::Stored(output) if output.ext == folder::EXT) {
            // What lies there may be the only good copy.
            self.damaged.push(path.clone());
            self.sums.compared += 1;
            self.sums.count(false);
            let (target, doc) = (owner.target.clone(), Some(owner.doc.to_string()));
            let (path, fault) = (Some(path.clone()), Fault::Damaged);
            return (self.tell)(&Wrong { path, target, doc, fault, mended: false });
        }
        let is_to_be_shown = match folder {
            Some((folder, _)) => {
                let mut any = false;
                for file in &folder.files {
                    let owner = Owned { digest: file.digest, ..owner.clone() };
                    any |= self.compare_file(&format!("{path}/{}", file.shown()), &owner)?;
                }
                any
            }
            None => self.compare_file(path, owner)?,
        };
        if is_to_be_shown {
            self.publisher.ask(job);
        }
        Ok(())
    }

    /// Whether the publisher has something to do about a file.
    fn compare_file(&mut self, path: &str, owner: &Owned) -> Result<bool> {
        self.seen.insert(hash(path));
        self.sums.compared += 1;
        let full = self.parts.pipeline.root.join(path);
        let ours = owned(self.parts.store, path)?;
        let Some(fault) = found(&full, &owner.digest, ours.as_ref()) else {
            self.sums.right += 1;
            return Ok(ours.as_ref() != Some(owner) && self.manner != Manner::Look);
        };
        let mended = match fault {
            Fault::Missing | Fault::Old => self.manner != Manner::Look,
            Fault::Edited => self.manner == Manner::Overwrite,
            _ => false,
        };
        if mended && fault == Fault::Edited {
            // A kill in between leaves one that is missing, and is shown again.
            crate::fs::remove_file(&full)?;
        }
        self.sums.count(mended);
        let (target, doc) = (owner.target.clone(), Some(owner.doc.to_string()));
        (self.tell)(&Wrong { path: Some(path.to_owned()), target, doc, fault, mended })?;
        Ok(mended)
    }

    /// What could not be shown.
    fn taken(&mut self) -> Result<Vec<Unshown>> {
        let mut taken = unshown::unshown(self.parts, self.families)?;
        taken.retain(|unshown| unshown.owner().is_some_and(|owner| self.is_wanted(&owner.target)));
        Ok(taken)
    }

    /// What is ours besides. Of a folder that could not be shown whole, the other files are there all the same.
    fn others(&mut self, taken: &[Unshown]) -> Result<()> {
        let folders = taken.iter().filter_map(|unshown| {
            let (owner, path) = (unshown.owner()?, unshown.path()?);
            Some(((&owner.doc, owner.target.as_str()), path))
        });
        let folders: HashMap<_, _> = folders.collect();
        let mut others: Vec<(String, Owned)> = Vec::new();
        let is_all = self.wanted.len() == self.parts.pipeline.targets.len();
        visit_owned(self.parts.store, &mut |path, owned| {
            // What is of no target any more belongs to a look at everything.
            let is_known = self.parts.pipeline.find_target(&owned.target).is_some();
            let is_meant = self.is_wanted(&owned.target) || (is_all && !is_known);
            let is_damaged = self.damaged.iter().any(|folder| is_below(path, folder));
            if is_meant && !is_damaged && !self.seen.contains(&hash(path)) {
                others.push((path.to_owned(), owned));
            }
        })?;
        let publishing = mirror::publishing(self.parts.pipeline);
        for (path, owned) in others {
            self.sums.compared += 1;
            let full = self.parts.pipeline.root.join(&path);
            let folder = folders.get(&(&owned.doc, owned.target.as_str()));
            let is_of_folder = folder.is_some_and(|folder| is_below(&path, folder));
            let is_stated = is_published(&publishing, &owned);
            let is_stale = is_stated && keeps_stale(self.parts, self.families, &owned)?;
            let (fault, mended) = match hash_file(&full) {
                _ if is_stale => (Fault::Stale, false),
                Ok(present) if present != owned.digest => (Fault::Edited, false),
                Ok(_) if is_of_folder => {
                    self.sums.right += 1;
                    continue;
                }
                Err(_) if is_of_folder => (Fault::Missing, self.manner != Manner::Look),
                _ => (Fault::Gone, self.manner != Manner::Look),
            };
            self.sums.count(mended);
            let (target, doc) = (owned.target.clone(), Some(owned.doc.to_string()));
            (self.tell)(&Wrong { path: Some(path.clone()), target, doc, fault, mended })?;
            if mended && fault == Fault::Gone {
                self.publisher.ask(Job::Withdraw { path, doc: owned.doc, target: owned.target });
            }
        }
        Ok(())
    }
}

/// What is wrong with a file; nothing if it has the right bytes.
fn found(full: &Path, digest: &Digest, ours: Option<&Owned>) -> Option<Fault> {
    if std::fs::symlink_metadata(full).is_err() {
        return Some(Fault::Missing);
    }
    let present = hash_file(full).ok();
    match ours {
        _ if present.as_ref() == Some(digest) => None,
        Some(ours) if present == Some(ours.digest) => Some(Fault::Old),
        Some(_) if full.is_file() => Some(Fault::Edited),
        _ => Some(Fault::NotOurs),
    }
}

fn hash(path: &str) -> u64 {
    Digest::of(path.as_bytes()).prefix()
}
