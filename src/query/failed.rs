//! What failed, grouped by cause, and how many documents stand behind it.

use serde::{Deserialize, Serialize};

use crate::engine::failures;
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

/// The failures in these targets; of all if none is named.
pub fn failed(asked: &Asked<'_>, targets: &[String]) -> Result<Failed> {
    let (causes, blocked) = failures::standing(asked.store, asked.pipeline)?;
    let wanted = |cause: &crate::model::event::Cause| targets.is_empty() || targets.contains(&cause.target);
    let causes = causes.into_iter().filter(wanted).map(CauseStatus::from).collect();
    Ok(Failed { causes, blocked })
}
