//! A key has one present result: documents that name an older one are decided again (`semantics.md` 9 and 11).
//!
//! One pass over the newest stories, only when a result was replaced. Knows nothing of why.

use std::collections::HashSet;

use crate::engine::sets::before;
use crate::error::Result;
use crate::model::action::{Position, Story};
use crate::model::document::DocNumber;
use crate::store::{Entry, Store};

/// Marks every document that names one of these records as one to look at; which they are.
pub(super) fn unsettle(store: &Store, replaced: &HashSet<Position>) -> Result<HashSet<DocNumber>> {
    let mut numbers = HashSet::new();
    for family in store.families() {
        let mut found: Vec<(String, Entry, Story)> = Vec::new();
        let mut failed = None;
        store.scan(&family, &mut |dir, entry| {
            match before(store, entry.story) {
                Ok(Some(known)) => {
                    let names = |act: Option<Position>| act.is_some_and(|act| replaced.contains(&act));
                    if !entry.flags.gone && known.story.entries.iter().any(|entry| names(entry.act)) {
                        found.push((dir.to_owned(), entry.clone(), (*known.story).clone()));
                    }
                }
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (dir, entry, story) in found {
            numbers.insert(entry.doc);
            store.unsettle(&family, &dir, &entry, story)?;
        }
    }
    store.flush()?;
    Ok(numbers)
}
