//! `hold`: which documents have a result that is kept though it is not up to date.
//!
//! A held result is told by the note of its story's entry. Reads stories; decides nothing.

use crate::engine::Parts;
use crate::engine::decide::HELD;
use crate::engine::redo;
use crate::engine::sets::before;
use crate::error::Result;
use crate::model::action::StoryEntry;
use crate::model::pipeline::TargetIx;
use crate::plan::family::Families;
use crate::store::Entry;

/// Whether a result is held.
pub fn is_held(entry: &StoryEntry) -> bool {
    entry.note.starts_with(HELD)
}

/// Has the documents looked at whose results in these targets are held.
pub(super) fn unsettle(
    parts: &Parts<'_>,
    families: &Families,
    targets: impl Iterator<Item = TargetIx>,
) -> Result<()> {
    let mut found: Vec<(String, String, Entry)> = Vec::new();
    for target in targets {
        let name = &parts.pipeline.target(target).name;
        for family in families.list.iter().filter(|family| family.step_of(target).is_some()) {
            let mut failed = None;
            parts.store.scan(&family.name, &mut |dir, entry| {
                match before(parts.store, entry.story) {
                    Ok(told) => {
                        let told = told.as_ref().and_then(|told| told.entry(name));
                        if !entry.flags.gone && told.is_some_and(is_held) {
                            found.push((family.name.clone(), dir.to_owned(), entry.clone()));
                        }
                    }
                    Err(error) => failed = Some(error),
                }
                failed.is_none()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
    }
    redo::unsettle(parts, families, found)
}
