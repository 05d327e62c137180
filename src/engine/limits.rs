//! What keeps a module from going on: a pause that it asked for, more failures than are allowed, money that is spent.
//!
//! All three work on the lanes of the scheduler: nothing more is handed out, and what is in hand may finish. Knows
//! nothing of how failures come about.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::engine::bounds::{Closed, Lane, Purse};
use crate::engine::build::Build;
use crate::engine::scheduler::WorkerIx;
use crate::engine::target::settings_of;
use crate::model::event::{Event, Stopped};
use crate::model::failure::Failure;
use crate::model::pipeline::{ModuleIx, TargetIx};

/// A module that asks for more has lost sight of its build.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// What `max_fail` in percent is measured by is not known at first where children or groups come one by one.
const FEW: u64 = 100;
/// The count that is money.
const USD: &str = "usd";

impl Build<'_> {
    /// `Retry(after=…)`: nothing more of the module is handed out until then.
    pub(super) fn pause(&mut self, worker: WorkerIx, asked: Duration, failure: &Failure) {
        let Some(module) = self.module_of(worker) else { return };
        let pause = asked.min(LONGEST);
        let until = Instant::now() + pause;
        let is_new = match self.limits.pauses.get(&module) {
            Some(known) if *known >= until => return,
            known => known.is_none(),
        };
        self.limits.pauses.insert(module, until);
        for (target, lane) in self.lanes_of(module) {
            self.scheduler.pause_module(target, lane, true);
        }
        if is_new && !pause.is_zero() {
            let target = self.pipeline.target(self.scheduler.target_of(worker)).name.clone();
            let milliseconds = pause.as_millis() as u64;
            self.sink.event(&Event::Pausing { target, milliseconds, failure: failure.clone() });
        }
    }

    /// Goes on with modules whose pause is over.
    pub(super) fn end_pauses(&mut self, now: Instant) {
        let over: Vec<ModuleIx> =
            self.limits.pauses.iter().filter(|(_, until)| **until <= now).map(|(ix, _)| *ix).collect();
        for module in over {
            self.limits.pauses.remove(&module);
            for (target, lane) in self.lanes_of(module) {
                self.scheduler.pause_module(target, lane, false);
            }
        }
    }

    /// When the pause of a worker's module is over.
    pub(super) fn pause_end(&self, worker: WorkerIx) -> Option<Instant> {
        self.limits.pauses.get(&self.module_of(worker)?).copied()
    }

    /// Lets as much begin as the rates have earned by now.
    pub(super) fn earn(&mut self, now: Instant) {
        for (bucket, pace) in self.limits.rates.iter_mut().enumerate() {
            let tokens = pace.earn(now, self.scheduler.granted(bucket));
            self.scheduler.grant(bucket, tokens);
        }
    }

    /// When a rate lets something begin that has to wait now.
    pub(super) fn next_token(&self) -> Option<Instant> {
        let rates = self.limits.rates.iter().enumerate();
        rates.filter(|(bucket, _)| !self.scheduler.is_granted(*bucket)).map(|(_, pace)| pace.next()).min()
    }

    /// When the next pause is over.
    pub(super) fn next_pause_end(&self) -> Option<Instant> {
        self.limits.pauses.values().min().copied()
    }

    /// A document failed for good: perhaps one too many.
    pub(super) fn failed_once_more(&mut self, target: TargetIx) {
        let failed = self.limits.failed.entry(target).or_default();
        *failed += 1;
        let failed = *failed;
        let in_all: u64 = self.limits.failed.values().sum();
        if let Some(limit) = self.options.max_fail
            && !limit.allows(in_all, self.tally.to_do)
        {
            self.stop(Stopped::MaxFail { target: None, failed: in_all, limit });
        }
        let Some(limit) = self.pipeline.target(target).settings.max_fail else { return };
        let of = self.tally.expected(target).max(FEW);
        let name = &self.pipeline.target(target).name;
        if limit.allows(failed, of)
            || self
                .limits
                .closed
                .iter()
                .any(|closed| matches!(&closed.why, Stopped::MaxFail { target: Some(of), .. } if of == name))
        {
            return;
        }
        let lanes = (0..self.pipeline.modules_of(target).len()).map(|lane| (target, lane)).collect();
        let why = Stopped::MaxFail { target: Some(name.clone()), failed, limit };
        self.shut(Closed { lanes, purse: None, why });
    }

    /// A module counts something for a document; money may come to its end.
    pub(super) fn counted(&mut self, worker: WorkerIx, counts: &BTreeMap<String, f64>) {
        let target = self.scheduler.target_of(worker);
        self.tally.count(target, counts);
        if let (Some(module), Some(usd)) = (self.module_of(worker), counts.get(USD)) {
            self.spend(target, module, *usd);
        }
    }

    /// Closes what has a budget of nothing.
    pub(super) fn open_purses(&mut self) {
        for ix in 0..self.pipeline.targets.len() {
            for module in self.pipeline.modules_of(TargetIx(ix)) {
                self.spend(TargetIx(ix), module, 0.0);
            }
        }
    }

    fn spend(&mut self, target: TargetIx, module: ModuleIx, usd: f64) {
        let of_target = self.pipeline.target(target);
        let Some(budget) = settings_of(self.pipeline, of_target, module).budget_usd else { return };
        // A module's budget is one for all its targets; a target that states its own has that.
        let purse = if self.pipeline.module(module).settings.budget_usd == Some(budget) {
            Purse::Module(module)
        } else {
            Purse::Target(target)
        };
        let spent = self.limits.spent.entry(purse).or_default();
        let before = *spent;
        *spent += usd;
        let spent = *spent;
        let is_first = usd == 0.0 && budget == 0.0;
        if spent < budget || (before >= budget && !is_first) {
            return;
        }
        let (name, lanes) = match purse {
            Purse::Target(ix) => {
                let lanes = (0..self.pipeline.modules_of(ix).len()).map(|lane| (ix, lane)).collect();
                (of_target.name.clone(), lanes)
            }
            Purse::Module(module) => {
                let mut lanes = self.lanes_of(module);
                lanes.retain(|(ix, _)| {
                    let target = self.pipeline.target(*ix);
                    settings_of(self.pipeline, target, module).budget_usd == Some(budget)
                });
                (self.pipeline.module(module).name.clone(), lanes)
            }
        };
        if self.limits.closed.iter().any(|closed| closed.purse == Some(purse)) {
            return;
        }
        let why = Stopped::Budget { of: name, budget, spent };
        self.shut(Closed { lanes, purse: Some(purse), why });
    }

    fn shut(&mut self, closed: Closed) {
        for (target, lane) in &closed.lanes {
            self.scheduler.close_module(*target, *lane);
        }
        self.limits.closed.push(closed);
    }

    /// What was closed while there was still something to do: that is why the build did not come to its end.
    pub(super) fn closed_too_early(&self) -> Option<Stopped> {
        let had_more = |closed: &&Closed| {
            closed.lanes.iter().any(|(target, lane)| self.scheduler.refused(*target, *lane) > 0)
        };
        let closed = self.limits.closed.iter().find(had_more)?;
        let mut why = closed.why.clone();
        // What was in hand by then was paid for, too.
        if let (Stopped::Budget { spent, .. }, Some(purse)) = (&mut why, closed.purse) {
            *spent = self.limits.spent.get(&purse).copied().unwrap_or(*spent);
        }
        Some(why)
    }

    fn module_of(&self, worker: WorkerIx) -> Option<ModuleIx> {
        let modules = self.pipeline.modules_of(self.scheduler.target_of(worker));
        modules.get(self.scheduler.module_of(worker)).copied()
    }

    fn lanes_of(&self, module: ModuleIx) -> Vec<Lane> {
        let of_target = |ix: usize| {
            let modules = self.pipeline.modules_of(TargetIx(ix));
            modules.iter().position(|own| *own == module).map(|lane| (TargetIx(ix), lane))
        };
        (0..self.pipeline.targets.len()).filter_map(of_target).collect()
    }
}
