//! Clean source files against what was recorded of them: a file whose stamp is as it was must have the bytes that it had.
//!
//! A build trusts the stamp. Bytes that change behind it (a bad disk, a writer through mapped memory) are found here
//! alone: for `pipe doctor --sample`. What is found is looked at by the next build. Starts nothing.

use crate::engine::modules::hash_file;
use crate::engine::sets::{before, id_of};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{State, Story};
use crate::model::pipeline::Pipeline;
use crate::scan::{Roots, restamp};
use crate::store::examine::Share;
use crate::store::{Entry, Store};

/// A file that is not what it was, though its stamp says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The document.
    pub doc: String,
    /// The targets that have something of it.
    pub targets: Vec<String>,
}

/// What a look at clean files found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clean {
    /// How many were hashed.
    pub hashed: u64,
    /// Those that changed.
    pub changed: Vec<Changed>,
}

/// Hashes a share of the clean source files; documents whose bytes changed are left to the next build.
///
/// # Errors
///
/// If the store cannot be read or written. A file that cannot be read is none that is clean.
pub fn clean(
    pipeline: &Pipeline,
    store: &Store,
    share: Share,
    command: Vec<String>,
    tell: &mut dyn FnMut(&str, u64, u64),
) -> Result<Clean> {
    let mut found = Clean::default();
    let mut stale: Vec<(String, String, Entry, Story)> = Vec::new();
    for source in pipeline.sources.iter().filter(|source| !source.is_given()) {
        let roots = Roots::open(source);
        let mut failed = None;
        store.scan(&source.name, &mut |dir, entry| {
            let id = id_of(&source.name, dir, &entry.name);
            let flags = entry.flags;
            if flags.gone || flags.racy || !flags.settled || !share.takes(id.as_str().as_bytes()) {
                return true;
            }
            let Some(digest) = present(&roots, id.rel(), store.salt(), entry) else { return true };
            found.hashed += 1;
            if found.hashed.is_multiple_of(64) {
                tell("source files", 0, 0);
            }
            match before(store, entry.story) {
                Ok(Some(known)) if known.story.content.is_some_and(|content| content != digest) => {
                    let of = known.definition.targets.iter().zip(&known.story.entries);
                    let has =
                        of.filter(|(_, of)| matches!(of.state, State::Done | State::Skipped | State::Failed));
                    let targets = has.map(|(target, _)| target.name.clone()).collect();
                    found.changed.push(Changed { doc: id.to_string(), targets });
                    let story = Story { racy: true, ..(*known.story).clone() };
                    stale.push((source.name.clone(), dir.to_owned(), entry.clone(), story));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    if !stale.is_empty() {
        store.begin_run(command, Digest::default())?;
        for (family, dir, entry, story) in stale {
            store.unsettle(&family, &dir, &entry, story)?;
        }
        store.flush()?;
    }
    Ok(found)
}

/// The digest of a file whose stamp is the recorded one, before and after it was read.
fn present(roots: &Roots, rel: &str, salt: u64, entry: &Entry) -> Option<Digest> {
    let is_clean = || restamp(roots, rel, salt) == Some(entry.stamp);
    if !is_clean() {
        return None;
    }
    let digest = hash_file(&roots.path_of(rel)).ok()?;
    is_clean().then_some(digest)
}
