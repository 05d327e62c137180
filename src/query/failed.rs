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
}

/// The failures that are meant.
pub fn failed(asked: &Asked<'_>, which: &Which) -> Result<Failed> {
    let (causes, blocked) = failures::standing_of(asked.store, asked.pipeline, which)?;
    let causes = causes.into_iter().map(CauseStatus::from).collect();
    Ok(Failed { causes, blocked })
}
