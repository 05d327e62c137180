//! What failed, grouped by cause, and how many documents stand behind it.

use serde::{Deserialize, Serialize};

use crate::engine::failures::{self, Which};
use crate::error::Result;
use crate::query::Asked;
use crate::query::status::CauseStatus;

/// What stands failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Most frequent first.
    pub causes: Vec<CauseStatus>,
    /// Documents behind a failure, of all targets.
    pub blocked: u64,
    /// Why the last build did not do all that was due; empty if it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unfinished: String,
}

/// The failures that are meant.
pub fn failed(asked: &Asked<'_>, which: &Which) -> Result<Failed> {
    let (causes, blocked) = failures::standing_of(asked.store, asked.pipeline, which)?;
    let causes = causes.into_iter().map(CauseStatus::from).collect();
    let last = asked.store.runs()?.pop();
    let ended = last.map(|run| asked.store.end_of(run.number)).transpose()?.flatten();
    let unfinished = ended.map_or_else(String::new, |ended| ended.why);
    Ok(Failed { causes, blocked, unfinished })
}
