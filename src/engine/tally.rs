//! Counts of a build: what became of documents, target by target. Knows no documents.

use std::collections::BTreeMap;

use crate::model::action::State;
use crate::model::event::TargetCounts;
use crate::model::pipeline::{Pipeline, TargetIx};

/// What ran of a target in this build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// Actions that ran to an end.
    pub actions: u64,
    /// Microseconds of work, tries that failed included.
    pub micros: u64,
    /// Actions that warned.
    pub warned: u64,
}

/// Counts by target.
pub struct Tally {
    ran: Vec<Ran>,
    targets: Vec<TargetCounts>,
    /// What the plan line said, by target.
    planned: Vec<u64>,
    /// Documents that came, by target.
    came: Vec<u64>,
    /// Documents of sources that went as far as their first stratum lets them.
    pub through: u64,
    /// Documents that differ from what was built.
    pub to_do: u64,
}

impl Tally {
    /// All zero.
    pub fn new(pipeline: &Pipeline) -> Self {
        let zero = |target: &crate::model::pipeline::Target| TargetCounts {
            target: target.name.clone(),
            ..TargetCounts::default()
        };
        let count = pipeline.targets.len();
        let targets = pipeline.targets.iter().map(zero).collect();
        Tally {
            ran: vec![Ran::default(); count],
            targets,
            planned: vec![0; count],
            came: vec![0; count],
            through: 0,
            to_do: 0,
        }
    }

    /// So many documents may come to a target.
    pub fn plan(&mut self, target: TargetIx, documents: u64) {
        self.planned[target.0] = documents;
        self.targets[target.0].todo = documents;
    }

    /// A document came to a target.
    pub fn came(&mut self, target: TargetIx) {
        self.came[target.0] += 1;
        if self.came[target.0] > self.planned[target.0] {
            self.targets[target.0].todo += 1;
        }
    }

    /// No more documents come to a target: the plan said "up to".
    pub fn all_came(&mut self, target: TargetIx) {
        let less = self.planned[target.0].saturating_sub(self.came[target.0]);
        self.targets[target.0].todo = self.targets[target.0].todo.saturating_sub(less);
    }

    /// A document is settled in a target: by running, or without.
    pub fn settled(&mut self, target: TargetIx, state: State, ran: bool) {
        let counts = &mut self.targets[target.0];
        counts.todo = counts.todo.saturating_sub(1);
        match state {
            State::Done if ran => counts.built += 1,
            State::Done => counts.reused += 1,
            State::Skipped => counts.skipped += 1,
            State::LeftOut => counts.left_out += 1,
            State::Failed => counts.failed += 1,
            State::Blocked => counts.blocked += 1,
            State::Absent | State::Unfinished => {}
        }
    }

    /// How many documents a target has to do with, as far as that is known: what was planned, or what came.
    pub fn expected(&self, target: TargetIx) -> u64 {
        self.planned[target.0].max(self.came[target.0])
    }

    /// A try of an action of a target is over; `ends`: it was the last one.
    pub fn ran(&mut self, target: TargetIx, micros: u64, warned: bool, ends: bool) {
        let ran = &mut self.ran[target.0];
        ran.micros = ran.micros.saturating_add(micros);
        ran.actions += u64::from(ends);
        ran.warned += u64::from(warned && ends);
    }

    /// What ran, and what was counted, by target.
    pub fn all_ran(&self) -> Vec<(Ran, BTreeMap<String, f64>)> {
        let pairs = self.ran.iter().cloned().zip(&self.targets);
        pairs.map(|(ran, counts)| (ran, counts.counts.clone())).collect()
    }

    /// A module counted something for a document of a target.
    pub fn count(&mut self, target: TargetIx, counts: &BTreeMap<String, f64>) {
        for (name, count) in counts {
            *self.targets[target.0].counts.entry(name.clone()).or_default() += count;
        }
    }

    /// An output came out as it was before.
    pub fn same(&mut self, target: TargetIx) {
        self.targets[target.0].same += 1;
    }

    /// The counts, with what is in hand now.
    pub fn counts(&self, running: impl Fn(TargetIx) -> usize) -> Vec<TargetCounts> {
        let with_running = |(ix, counts): (usize, &TargetCounts)| TargetCounts {
            running: running(TargetIx(ix)) as u64,
            ..counts.clone()
        };
        self.targets.iter().enumerate().map(with_running).collect()
    }
}
