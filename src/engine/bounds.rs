//! What a build remembers of its limits: pauses, failures, money, and what was closed for them.

use std::collections::HashMap;
use std::time::Instant;

use crate::engine::rates::Pace;
use crate::model::event::Stopped;
use crate::model::pipeline::{ModuleIx, TargetIx};

/// What is remembered of limits within a build.
#[derive(Default)]
pub(super) struct Limits {
    /// Until when modules pause.
    pub(super) pauses: HashMap<ModuleIx, Instant>,
    /// Failures of this build, by target.
    pub(super) failed: HashMap<TargetIx, u64>,
    /// What was spent, by who has the budget.
    pub(super) spent: HashMap<Purse, f64>,
    /// What was closed, and why.
    pub(super) closed: Vec<Closed>,
    /// What fills the scheduler's buckets, by their numbers.
    pub(super) rates: Vec<Pace>,
}

/// What was closed.
pub(super) struct Closed {
    pub(super) lanes: Vec<Lane>,
    /// Whose money was spent.
    pub(super) purse: Option<Purse>,
    pub(super) why: Stopped,
}

/// One of a target's modules.
pub(super) type Lane = (TargetIx, usize);

/// Who has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purse {
    Target(TargetIx),
    Module(ModuleIx),
}
