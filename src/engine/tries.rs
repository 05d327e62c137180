//! What a build remembers of faults: tries of open actions, what waits to be tried again, errors in a row.

use std::collections::HashMap;
use std::time::Instant;

use crate::engine::scheduler::{Ticket, WorkerIx};
use crate::hash::{Map, Set};
use crate::model::failure::Failure;
use crate::model::pipeline::{ModuleIx, TargetIx};

/// What is remembered of faults within a build.
#[derive(Default)]
pub(super) struct Faults {
    /// The tries of an open action that were not its last.
    pub(super) tried: Map<Ticket, Tried>,
    /// Those of them that want a fresh process.
    pub(super) fresh: Set<Ticket>,
    /// What is to be tried again, and when.
    pub(super) waiting: Vec<(Instant, WorkerIx, Ticket)>,
    /// The errors in a row, by module.
    pub(super) rows: HashMap<ModuleIx, Row>,
    /// Those that a breaker opened again.
    pub(super) reopened: Vec<Met>,
}

/// Tries of one action in this build.
#[derive(Clone, Copy, Default)]
pub(super) struct Tried {
    pub(super) all: u32,
    /// Those that count towards setting it aside.
    pub(super) counted: u32,
}

/// Equal errors in a row.
pub(super) struct Row {
    pub(super) failure: Failure,
    pub(super) documents: Vec<Met>,
}

/// A document that met the error.
pub(super) struct Met {
    pub(super) target: TargetIx,
    pub(super) family: String,
    pub(super) dir: std::sync::Arc<str>,
    pub(super) name: String,
}
