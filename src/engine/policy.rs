//! How often a fault is tried again, and when its document is set aside (`semantics.md` 29). Pure.

use crate::model::action::{Act, Extras, Outcome};
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::Settings;

/// How often a passing fault is tried again where nothing is stated.
pub const RETRIES: u32 = 2;

/// The note of a result whose document is not tried again: it was the end of its worker too often.
pub const SET_ASIDE: &str = "set aside";

/// How often the action of a record may fail in all.
pub fn tries(settings: &Settings) -> u32 {
    settings.retries.unwrap_or(RETRIES).saturating_add(1)
}

/// Whether a record counts towards setting its key aside: the end of a worker, or of its time, under limits that were
/// no lower than today's.
pub fn counts_against(act: &Act, settings: &Settings) -> bool {
    let Outcome::Failed(failure) = &act.outcome else { return false };
    if !is_counted(failure) {
        return false;
    }
    let under = || serde_json::from_str::<Extras>(&act.extras).unwrap_or_default().limit;
    match (failure.kind, limit_of(settings, failure.kind)) {
        (FailureKind::Crash, _) => true,
        (_, None) => under().is_none(),
        (_, Some(now)) => under().is_none_or(|under| now <= under),
    }
}

/// Whether a failure is the end of a worker, or of its time, and nothing that the module asked for.
pub fn is_counted(failure: &Failure) -> bool {
    let ends = matches!(failure.kind, FailureKind::Crash | FailureKind::Timeout | FailureKind::OutOfMemory);
    ends && !failure.retry
}

/// The stated limit that a failure of this kind ran into: milliseconds or bytes.
pub fn limit_of(settings: &Settings, kind: FailureKind) -> Option<u64> {
    match kind {
        FailureKind::Timeout => settings.timeout.map(|limit| limit.as_millis() as u64),
        FailureKind::OutOfMemory => settings.memory,
        _ => None,
    }
}
