//! What a child was split from: a document is up to date only if its children are, so who clears a child clears those.
//!
//! Knows ids and entries; nothing of pipelines.

use crate::error::Result;
use crate::model::document::{CHILDREN, DocId, GROUPS, MERGES};
use crate::store::facade::Store;
use crate::store::index::Entry;

impl Store {
    /// Marks all documents that a document was split from as ones to look at.
    pub fn unsettle_ancestors(&self, id: &DocId) -> Result<()> {
        let mut next = id.parent();
        while let Some(id) = next {
            for (family, entry) in self.entries_of(&id)? {
                if entry.flags.settled {
                    let mut entry = entry;
                    entry.flags.settled = false;
                    let story = entry.story;
                    self.put_entry(&family, id.place().0, entry, story);
                }
            }
            next = id.parent();
        }
        Ok(())
    }

    /// The documents of an id, with their families: two splits of one document may have children of one name.
    pub fn entries_of(&self, id: &DocId) -> Result<Vec<(String, Entry)>> {
        let (dir, name) = id.place();
        let mut found = Vec::new();
        for family in self.families() {
            let holds = match family.strip_suffix(CHILDREN) {
                Some(_) => id.parent().is_some(),
                None => id.parent().is_none() && family.trim_end_matches([GROUPS, MERGES]) == id.source(),
            };
            if holds && let Some(entry) = self.entry(&family, dir, name)? {
                found.push((family, entry));
            }
        }
        Ok(found)
    }
}
