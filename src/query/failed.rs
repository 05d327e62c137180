//! What failed, grouped by cause, and how many documents stand behind it.

use serde::{Deserialize, Serialize};

use crate::engine::failures::{self, Which};
use crate::error::Result;
use crate::query::Asked;
use crate::query::run::last_end;
use crate::query::status::CauseStatus;

/// What stands failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// Most frequent first.
    pub causes: Vec<CauseStatus>,
    /// How many documents they are: one that failed in several targets is one.
    #[serde(default)]
    pub documents: u64,
    /// Documents behind a failure, of all targets.
    pub blocked: u64,
    /// Why the last build did not do all that was due; empty if it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unfinished: String,
}

/// The failures that are meant.
pub fn failed(asked: &Asked<'_>, which: &Which) -> Result<Failed> {
    let found = failures::standing_of(asked.store, asked.pipeline, which)?;
    let (documents, blocked) = (found.documents, found.blocked);
    let causes = found.causes.into_iter().map(CauseStatus::from).collect();
    let unfinished = last_end(asked)?.map_or_else(String::new, |ended| ended.why);
    Ok(Failed { causes, documents, blocked, unfinished })
}
