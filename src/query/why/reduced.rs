//! Why, for the result of a `reduce`: how its tree of merges stands, and which of them a document is in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::decide::{Deciding, Decision, Work};
use crate::engine::documents::Documents;
use crate::engine::merges::{AskedOf, Merge, MergeStanding, visit_merges};
use crate::engine::sets::{Coverage, Streams, before};
use crate::error::Result;
use crate::model::action::{KeyInput, Outcome};
use crate::model::document::DocId;
use crate::model::pipeline::TargetIx;
use crate::model::reason::Reason;
use crate::plan::family::{FamilyIx, Input, Origin};
use crate::query::Asked;
use crate::query::why::present::Present;

/// So many merges are named, and so many looked up to say why.
const NAMED: usize = 8;
const LOOKED_UP: u64 = 64;

/// How the tree of a `reduce` stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeWhy {
    /// The target.
    pub target: String,
    /// Members that are merged.
    pub members: u64,
    /// Merges in all.
    pub merges: u64,
    /// Of these: inputs or definition are others than they were.
    pub stale: u64,
    /// Of these: behind such merges; done again only if those come out different.
    pub behind: u64,
    /// The merge whose result is the target's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Merges that failed: the first few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedMerge>,
    /// The merges that what is asked about is in: the first few, from the leaf to the root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub touched: Vec<TouchedMerge>,
    /// All of them.
    pub touched_count: u64,
    /// Why stale merges would be done again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
}

/// A merge that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedMerge {
    /// Its id.
    pub doc: String,
    /// How.
    pub failure: String,
}

/// A merge that is concerned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TouchedMerge {
    /// Its id.
    pub doc: String,
    /// How many inputs it has.
    pub inputs: u64,
}

/// Looks at the tree of a target. `touched`: documents that are asked about, by the id of the document that all splits
/// began with; `new`: those that no build has seen.
pub(super) fn tree(
    asked: &Asked<'_>,
    documents: &Documents<'_>,
    present: &mut Present<'_>,
    target: TargetIx,
    touched: &dyn Fn(&DocId) -> bool,
    new: &BTreeSet<String>,
) -> Result<(TreeWhy, Coverage)> {
    let (pipeline, store, families) = (asked.pipeline, asked.store, &documents.families);
    let mut why = TreeWhy { target: pipeline.target(target).name.clone(), ..TreeWhy::default() };
    let merges = families.list.iter().position(|family| family.origin == Origin::Merges(target));
    let Some(ix) = merges.map(FamilyIx) else { return Ok((why, Coverage::default())) };
    let family = families.family(ix);
    let Present { parts, outline, plans, lookup } = present;
    let plan = &plans[target.0];
    let (roots, sites) = (&parts.roots, &parts.sites);
    let streams =
        Streams { pipeline, families, store, roots, sites, only: None, is_current: None, group: None };
    let covers = |at| outline.covers_family(parts, at, family, family.last_stratum());
    let asked_of = AskedOf { is_touched: touched, new };
    let coverage = visit_merges(&streams, target, &asked_of, Some(&covers), &mut |merge: &Merge| {
        why.merges += 1;
        if merge.touched {
            why.touched_count += 1;
            if why.touched.len() < NAMED {
                why.touched.push(TouchedMerge { doc: merge.id.to_string(), inputs: merge.inputs });
            }
        }
        why.root = Some(merge.id.to_string());
        match merge.standing {
            MergeStanding::Done => {}
            MergeStanding::Behind => why.behind += 1,
            MergeStanding::Failed => {
                if why.failed.len() < NAMED {
                    why.failed
                        .push(FailedMerge { doc: merge.id.to_string(), failure: failure(asked, merge)? });
                }
            }
            MergeStanding::Stale => {
                why.stale += 1;
                if why.stale > LOOKED_UP {
                    return Ok(());
                }
                let (dir, name) = merge.id.place();
                let known = merge.entry.as_ref().filter(|entry| !entry.flags.gone);
                let known = known.map(|entry| documents.open(ix, "", entry)).transpose()?.flatten();
                let document = known.unwrap_or_else(|| documents.unknown(ix, merge.id.clone(), dir, name));
                let facts = serde_json::json!({ "members": merge.inputs, "ids": false });
                let inputs = vec![KeyInput { digest: Some(merge.root), facts: facts.to_string() }];
                let work = Work::of(plan, inputs, Input::Origin);
                let mut deciding = Deciding { pipeline, family, store, lookup: &mut *lookup };
                match deciding.answer(plan, &document, pipeline.target(target), work)? {
                    Decision::Run(work) => {
                        let new = work.reasons.into_iter().filter(|reason| !why.reasons.contains(reason));
                        let new: Vec<Reason> = new.take(NAMED).collect();
                        let room = NAMED.saturating_sub(why.reasons.len());
                        why.reasons.extend(new.into_iter().take(room));
                    }
                    // A record answers: reverted code, or reverted members.
                    Decision::Settled(_) => {
                        why.stale -= 1;
                        why.behind += 1;
                    }
                }
            }
        }
        Ok(())
    })?;
    why.members = coverage.done;
    Ok((why, coverage))
}

/// How a merge failed.
fn failure(asked: &Asked<'_>, merge: &Merge) -> Result<String> {
    let Some(entry) = &merge.entry else { return Ok(String::new()) };
    let Some(told) = before(asked.store, entry.story)? else { return Ok(String::new()) };
    let act = told.story.entries.first().and_then(|entry| entry.act);
    let act = act.map(|at| asked.store.act(at)).transpose()?.flatten();
    Ok(match act.as_deref().map(|act| &act.outcome) {
        Some(Outcome::Failed(failure)) => failure.summary(),
        Some(Outcome::Skip(reason)) => format!("the module said: {reason}"),
        _ => String::new(),
    })
}
