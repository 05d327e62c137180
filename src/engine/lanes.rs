//! What the scheduler must know of each module of each target: windows, workers, batches, rates, cards.

use std::time::Instant;

use crate::engine::modules::manner;
use crate::engine::rates::Pace;
use crate::engine::scheduler::TargetLimits;
use crate::engine::target::settings_of;
use crate::model::pipeline::{ModuleIx, Pipeline, Rate, TargetIx, Verb};

/// Who shares a rate: all targets of the module that states it; a target that states its own has that.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Target(TargetIx),
    Module(ModuleIx),
}

/// The limits of every module of every target, and the rates that their buckets are filled by.
pub(super) fn limits(pipeline: &Pipeline, jobs: usize) -> (Vec<Vec<TargetLimits>>, Vec<Pace>) {
    let mut owners: Vec<Owner> = Vec::new();
    let mut rates = Vec::new();
    let now = Instant::now();
    let mut bucket = |owner: Owner, rate: Rate| {
        owners.iter().position(|known| *known == owner).unwrap_or_else(|| {
            owners.push(owner);
            rates.push(Pace::new(rate, now));
            owners.len() - 1
        })
    };
    let mut all = Vec::with_capacity(pipeline.targets.len());
    for (ix, target) in pipeline.targets.iter().enumerate() {
        let mut of_target = Vec::new();
        for module in pipeline.modules_of(TargetIx(ix)) {
            let settings = settings_of(pipeline, target, module);
            let of_module = pipeline.module(module);
            let manner = manner(pipeline, of_module);
            let is_its = of_module.settings.rate == settings.rate;
            let owner = if is_its { Owner::Module(module) } else { Owner::Target(TargetIx(ix)) };
            // A worker that states no window keeps the rest waiting by itself; a filter is one process after another.
            let window = if of_module.program.is_filter() { 16 } else { 64 };
            // What waits with a worker was granted before its time, and spends after the money has come to its end.
            let is_alone =
                target.verb != Verb::Each || settings.rate.is_some() || settings.budget_usd.is_some();
            of_target.push(TargetLimits {
                workers: settings.workers,
                window: if is_alone { 1 } else { window },
                batch: if target.verb == Verb::Each {
                    settings.batch.or(manner.batch).unwrap_or(1)
                } else {
                    1
                },
                at_once: manner.waits.then(|| settings.workers.unwrap_or(jobs).max(1)),
                bucket: settings.rate.map(|rate| bucket(owner, rate)),
                cards: settings.gpu.map_or(0, |cards| crate::engine::cards::of_machine(&settings.env, cards)),
            });
        }
        all.push(of_target);
    }
    (all, rates)
}
