//! Children of documents that their target splits no more: it takes another stream now. They are retired.
//!
//! Which families a target splits is remembered; only where that is another list are its children looked through, by
//! their folders alone. Retires nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::model::document::DocId;
use crate::plan::family::{Families, FamilyIx};
use crate::store::{Entry, Store};

/// By family of children: the families that they are split from.
type Splits = BTreeMap<String, BTreeSet<String>>;

const TREE: &str = "state";
const SPLITS: &[u8] = b"splits";

/// What was found.
#[derive(Default)]
pub(super) struct Strays {
    /// Family, folder, and entry of each.
    pub(super) found: Vec<(FamilyIx, String, Entry)>,
    /// To be remembered when these are retired, if that is new.
    pub(super) splits: Option<Splits>,
}

/// Finds the children that nothing is split into any more.
pub(super) fn strays(parts: &Parts<'_>, families: &Families, options: &Options) -> Result<Strays> {
    let mut strays = Strays::default();
    if options.is_partial() {
        return Ok(strays);
    }
    let kept = parts.store.kept(TREE, SPLITS)?;
    let kept: Splits = kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default();
    let mut present = kept.clone();
    for (ix, family) in families.list.iter().enumerate().filter(|(_, family)| family.is_children()) {
        let ix = FamilyIx(ix);
        let parents: BTreeSet<String> =
            families.parents(ix).map(|parent| families.family(parent).name.clone()).collect();
        if kept.get(&family.name) == Some(&parents) {
            continue;
        }
        present.insert(family.name.clone(), parents);
        parts.store.scan(&family.name, &mut |dir, entry| {
            let parent = DocId::parse(dir.strip_suffix('#').unwrap_or(dir));
            let is_split = || {
                let mut of = families.of_document(&parent);
                of.any(|of| families.parents(ix).any(|parent| parent == of))
            };
            if !entry.flags.gone && !is_split() {
                strays.found.push((ix, dir.to_owned(), entry.clone()));
            }
            true
        })?;
    }
    strays.splits = (present != kept).then_some(present);
    Ok(strays)
}

/// Remembers what is split.
pub(super) fn remember(store: &Store, splits: &Splits) -> Result<()> {
    store.keep(TREE, SPLITS, &serde_json::to_vec(splits).unwrap_or_default())
}
