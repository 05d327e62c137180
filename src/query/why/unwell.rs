//! Why, for a target: what of its documents failed, stands behind a failure, or waits for documents that changed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::engine::documents::Documents;
use crate::engine::failures::{Which, standing_of};
use crate::engine::is_set_current;
use crate::engine::sets::before;
use crate::error::Result;
use crate::model::action::State;
use crate::model::failure::Failure;
use crate::model::pipeline::TargetIx;
use crate::query::Asked;
use crate::query::why::present::Present;
use crate::scan::Scan;

/// Documents that failed with one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedWhy {
    /// How many.
    pub documents: u64,
    /// How.
    pub failure: Failure,
    /// Those that the next build tries again because they were opened again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reopened: u64,
    /// One of them.
    pub sample: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The failures of a target by cause, most frequent first.
pub(super) fn failed(asked: &Asked<'_>, target: TargetIx) -> Result<Vec<FailedWhy>> {
    let targets = vec![asked.pipeline.target(target).name.clone()];
    let failed = standing_of(asked.store, asked.pipeline, &Which { targets, ..Which::default() })?;
    let of = |cause: crate::model::event::Cause| FailedWhy {
        documents: cause.count,
        reopened: cause.reopened,
        failure: cause.failure,
        sample: cause.samples.into_iter().next().unwrap_or_default(),
    };
    Ok(failed.causes.into_iter().map(of).collect())
}

/// How many documents are blocked in a target.
pub(super) fn blocked(asked: &Asked<'_>, documents: &Documents<'_>, target: TargetIx) -> Result<u64> {
    let name = &asked.pipeline.target(target).name;
    let mut count = 0;
    for family in documents.families.list.iter().filter(|family| family.step_of(target).is_some()) {
        let mut outcome = Ok(());
        asked.store.unwell(&family.name, &mut |_, entry| {
            if entry.flags.gone || !entry.flags.blocked || outcome.is_err() {
                return;
            }
            match before(asked.store, entry.story) {
                Ok(told) => {
                    let state = told.as_ref().and_then(|told| told.entry(name)).map(|entry| entry.state);
                    count += u64::from(state == Some(State::Blocked));
                }
                Err(error) => outcome = Err(error),
            }
        })?;
        outcome?;
    }
    Ok(count)
}

/// Of a target that groups, or goes on with groups: documents of the sources before it that a build looks at first;
/// nothing if the groups stand, and none if they are looked at again for another reason.
pub(super) fn waits_for(
    asked: &Asked<'_>,
    documents: &Documents<'_>,
    present: &Present<'_>,
    scans: &[Scan],
    target: TargetIx,
) -> Result<Option<u64>> {
    if asked.building {
        return Ok(None);
    }
    let families = &documents.families;
    let mut waits = None;
    for family in families.list.iter().filter(|family| family.step_of(target).is_some()) {
        let Some(group) = family.group_target() else { continue };
        let streams = asked.pipeline.target(group).streams.iter();
        let members = streams.flat_map(|stream| families.of_stream(*stream));
        let roots = members.flat_map(|(member, _)| families.roots(member));
        let names: BTreeSet<&str> = roots.map(|root| families.family(root).name.as_str()).collect();
        let scans = scans.iter().filter(|scan| names.contains(scan.source.as_str()));
        let to_look_at: u64 = scans.map(|scan| scan.found.len() as u64).sum();
        if to_look_at > 0 || !is_set_current(&present.parts, families, &present.outline, family, group)? {
            waits = Some(waits.unwrap_or(0) + to_look_at);
        }
    }
    Ok(waits)
}
