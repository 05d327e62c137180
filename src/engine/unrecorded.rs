//! Documents that no build has recorded yet: they lie in a source and wait. Looks at names alone and reads no file.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, PoisonError};

use crate::engine::documents::Documents;
use crate::engine::sources::Rules;
use crate::error::Result;
use crate::model::document::DocId;
use crate::model::pipeline::{Pipeline, SourceIx};
use crate::scan::{self, Nothing, Request};
use crate::store::Store;

/// The documents of all sources whose ids fit, in order of ids.
pub fn unrecorded(
    documents: &Documents<'_>,
    (pipeline, store): (&Pipeline, &Store),
    fits: &(dyn Fn(&DocId) -> bool + Sync),
) -> Result<Vec<DocId>> {
    let found = Mutex::new(Vec::new());
    for (ix, source) in pipeline.sources.iter().enumerate() {
        let roots = &documents.roots()[ix];
        let look = |rel: &str| {
            let id = DocId::in_source(&source.name, rel);
            if fits(&id) {
                found.lock().unwrap_or_else(PoisonError::into_inner).push(id);
            }
        };
        if let Some(giver) = roots.giver() {
            // What is not there, or cannot be read, has none to offer.
            if let Ok(listed) = giver.list() {
                (0..listed.count()).for_each(|at| look(listed.name_at(at)));
            }
            continue;
        }
        let rules = Rules::new((pipeline, store), roots, SourceIx(ix))?;
        let accept = |rel: &str| {
            if rules.accepts(rel) {
                look(rel);
            }
            // Nothing is read of it.
            false
        };
        let looked = scan::scan(&Request {
            source: &source.name,
            roots,
            salt: store.salt(),
            before: &Nothing,
            is_current: &|_| false,
            accept: &accept,
            prune: &|dir| rules.prunes(dir),
            same_rules: false,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            changes: None,
            cancel: &AtomicBool::new(false),
            seen: &AtomicU64::new(0),
        });
        drop(looked);
    }
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
