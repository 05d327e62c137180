//! A run in numbers: per target how much was done and how long it took, the slowest documents, what failed, throughput.
//!
//! Reads the run's stretch of the log and, for results that were taken over, the story before each of its stories. Shows
//! nothing: `report::run` does.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::action::{Act, Ended, Extras, Outcome, Position, Run, State, Story};
use crate::model::document::{CHILDREN, DocNumber};
use crate::model::failure::Failure;
use crate::query::Asked;
use crate::query::run::{Names, Told, find, is_child};
use crate::store::Store;
use crate::store::frame::Frame;
use crate::time::Millis;

/// So many of the slowest documents are named.
const SLOWEST: usize = 20;
/// So many failed documents are named; all are counted.
const FAILED: usize = 10_000;
/// Into so many stretches the time of a run is cut.
const STRETCHES: usize = 60;

/// A run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// As it was recorded.
    pub run: Run,
    /// How it ended; absent: it was killed, is under way, or no build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// It is under way: these are its numbers so far.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub building: bool,
    /// Milliseconds from its begin to the end of its last action.
    pub milliseconds: u64,
    /// Those in which anything was done or taken over, in the pipeline's order.
    pub targets: Vec<TargetReport>,
    /// The slowest actions, the slowest first.
    pub slowest: Vec<Slow>,
    /// Documents that failed, in the order in which they did; at most 10,000.
    pub failed: Vec<FailedDoc>,
    /// When things were done.
    pub throughput: Throughput,
}

/// A target in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetReport {
    /// Its name.
    pub target: String,
    /// Actions that gave a result.
    pub done: u64,
    /// Results that an earlier record, or that of another document, answered.
    pub hits: u64,
    /// Left out by the module.
    pub skipped: u64,
    /// Actions that failed.
    pub failed: u64,
    /// Tries that met a passing fault and were made again.
    pub retried: u64,
    /// Warnings of the module.
    pub warnings: u64,
    /// Bytes of all outputs.
    pub bytes: u64,
    /// Microseconds of all actions together.
    pub total: u64,
    /// Processor time in microseconds, as far as it was measured.
    pub cpu: u64,
    /// The most memory that was measured, in KiB.
    pub peak: u64,
    /// Half of the actions took no longer, in microseconds.
    pub p50: u64,
    /// 95 of 100.
    pub p95: u64,
    /// 99 of 100.
    pub p99: u64,
    /// The longest.
    pub max: u64,
    /// Sums of what the module counted, by name: `usd`, `tokens`. Of a build that is over, also for tries that left no
    /// record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
}

/// One of the slowest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slow {
    /// The document.
    pub doc: String,
    /// The target.
    pub target: String,
    /// Microseconds.
    pub duration: u64,
}

/// A document that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDoc {
    /// The document.
    pub doc: String,
    /// The target.
    pub target: String,
    /// Microseconds of its last try.
    pub duration: u64,
    /// How.
    pub failure: Failure,
}

/// Actions that ended, by stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throughput {
    /// How long a stretch is, in milliseconds.
    pub every: u64,
    /// Of each target, in the order of `targets`: how many ended in each stretch.
    pub ended: Vec<Vec<u64>>,
}

impl RunReport {
    /// All actions that ran, the failed ones included.
    pub fn ran(&self) -> u64 {
        self.targets.iter().map(|target| target.done + target.skipped + target.failed).sum()
    }

    /// What modules counted in all targets.
    pub fn counts(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (name, count) in self.targets.iter().flat_map(|target| &target.counts) {
            *sums.entry(name.clone()).or_default() += count;
        }
        sums
    }
}

/// The numbers of a run; of the newest without one.
pub fn report(asked: &Asked<'_>, number: Option<u32>) -> Result<RunReport> {
    let run = find(asked.store, number)?;
    let told = Told::of(asked.store, run.number)?;
    let mut counting = Counting::default();
    let mut hits = Hits::default();
    asked.store.visit_run(run.number, &mut |at, frame| {
        match frame {
            Frame::Act(act) if is_child(&act) => {}
            Frame::Act(act) => {
                hits.docs.insert(at, act.doc);
                let name = told.target(asked.store, at, &act)?;
                counting.add(&name, &act, told.is_last(at));
            }
            Frame::Story(story) => hits.look(asked.store, &story, &mut counting)?,
            _ => {}
        }
        Ok(())
    })?;
    let mut names = Names::new(asked, &told);
    let building = asked.is_build() && run.number == asked.store.run();
    counting.finish(asked, run, building, &mut names)
}

#[derive(Default)]
struct Counting {
    targets: Vec<TargetReport>,
    durations: Vec<Vec<u64>>,
    ends: Vec<(u64, u16)>,
    slowest: Vec<(u64, DocNumber, usize)>,
    failed: Vec<(DocNumber, usize, u64, Failure)>,
}

impl Counting {
    fn target(&mut self, name: &str) -> usize {
        if let Some(at) = self.targets.iter().position(|target| target.target == name) {
            return at;
        }
        self.targets.push(TargetReport { target: name.to_owned(), ..TargetReport::default() });
        self.durations.push(Vec::new());
        self.targets.len() - 1
    }

    fn add(&mut self, name: &str, act: &Act, is_last: bool) {
        let at = self.target(name);
        let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
        let target = &mut self.targets[at];
        target.total += act.duration;
        target.warnings += extras.warnings.len() as u64;
        if let Some(used) = extras.used {
            target.cpu += used.cpu;
            target.peak = target.peak.max(used.peak);
        }
        for (name, count) in extras.counts {
            *target.counts.entry(name).or_default() += count;
        }
        match &act.outcome {
            Outcome::Failed(_) if !is_last => {
                target.retried += 1;
                return;
            }
            Outcome::Output(output) => {
                target.done += 1;
                target.bytes += output.length;
            }
            Outcome::Skip(_) => target.skipped += 1,
            Outcome::Failed(failure) => {
                target.failed += 1;
                if self.failed.len() < FAILED {
                    self.failed.push((act.doc, at, act.duration, failure.clone()));
                }
            }
        }
        self.durations[at].push(act.duration);
        self.ends.push((act.start.0 + act.duration / 1000, at as u16));
        self.slowest.push((act.duration, act.doc, at));
        if self.slowest.len() > 64 * SLOWEST {
            self.keep_slowest();
        }
    }

    fn keep_slowest(&mut self) {
        self.slowest.sort_unstable_by(|a, b| b.cmp(a));
        self.slowest.truncate(SLOWEST);
    }

    fn finish(
        mut self,
        asked: &Asked<'_>,
        run: Run,
        building: bool,
        names: &mut Names<'_>,
    ) -> Result<RunReport> {
        self.keep_slowest();
        let ended = asked.store.end_of(run.number)?;
        for (name, counts) in ended.iter().flat_map(|ended| &ended.counted) {
            let at = self.target(name);
            self.targets[at].counts.clone_from(counts);
        }
        for (target, durations) in self.targets.iter_mut().zip(&mut self.durations) {
            durations.sort_unstable();
            target.p50 = percentile(durations, 50);
            target.p95 = percentile(durations, 95);
            target.p99 = percentile(durations, 99);
            target.max = durations.last().copied().unwrap_or_default();
        }
        let mut slowest = Vec::new();
        for (duration, doc, at) in &self.slowest {
            let target = self.targets[*at].target.clone();
            slowest.push(Slow { doc: names.of(*doc)?, target, duration: *duration });
        }
        let mut failed = Vec::new();
        for (doc, at, duration, failure) in self.failed {
            let target = self.targets[at].target.clone();
            failed.push(FailedDoc { doc: names.of(doc)?, target, duration, failure });
        }
        let end = self.ends.iter().map(|(end, _)| *end).max().unwrap_or(run.start.0);
        let milliseconds = Millis(end).since(run.start).as_millis() as u64;
        let throughput = throughput(&self.ends, run.start.0, milliseconds, self.targets.len());
        // As the pipeline has them; what it has no more comes last.
        let place =
            |target: &TargetReport| asked.pipeline.find_target(&target.target).map_or(usize::MAX, |ix| ix.0);
        let mut order: Vec<usize> = (0..self.targets.len()).collect();
        order.sort_by_key(|at| place(&self.targets[*at]));
        Ok(RunReport {
            run,
            ended,
            building,
            milliseconds,
            targets: order.iter().map(|at| self.targets[*at].clone()).collect(),
            slowest,
            failed,
            throughput: Throughput {
                every: throughput.every,
                ended: order.iter().map(|at| throughput.ended[*at].clone()).collect(),
            },
        })
    }
}

/// What so many of a hundred do not exceed, of sorted numbers: one of them, never something between.
fn percentile(sorted: &[u64], of_hundred: usize) -> u64 {
    let at = (sorted.len() * of_hundred).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn throughput(ends: &[(u64, u16)], start: u64, milliseconds: u64, targets: usize) -> Throughput {
    let every = milliseconds.div_ceil(STRETCHES as u64).max(1);
    let stretches = (milliseconds / every + 1).min(STRETCHES as u64 + 1) as usize;
    let mut ended = vec![vec![0; stretches]; targets];
    for (end, target) in ends {
        let stretch = (end.saturating_sub(start) / every) as usize;
        ended[usize::from(*target)][stretch.min(stretches - 1)] += 1;
    }
    Throughput { every, ended }
}

/// Finds results that were taken over: a story has a record that it did not have before and that is not its own.
#[derive(Default)]
struct Hits {
    /// By record of this run: whose it is.
    docs: HashMap<Position, DocNumber>,
}

impl Hits {
    fn look(&mut self, store: &Store, story: &Story, counting: &mut Counting) -> Result<()> {
        let Some(definition) = store.definition(story.definition)? else { return Ok(()) };
        let before = match story.previous {
            Some(at) => store.story(at)?,
            None => None,
        };
        let names_before = match &before {
            Some(before) => store.definition(before.definition)?,
            None => None,
        };
        for (entry, defined) in story.entries.iter().zip(&definition.targets) {
            let Some(at) = entry.act.filter(|_| matches!(entry.state, State::Done | State::Skipped)) else {
                continue;
            };
            // That a document is a part of another is no work that was spared.
            let is_part = definition.family.strip_suffix(CHILDREN) == Some(&defined.name);
            if is_part || self.docs.get(&at) == Some(&story.doc) {
                continue;
            }
            let had = names_before.as_ref().and_then(|names| {
                let at = names.targets.iter().position(|old| old.name == defined.name)?;
                before.as_ref()?.entries.get(at)?.act
            });
            if had != Some(at) {
                let target = counting.target(&defined.name);
                counting.targets[target].hits += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_numbers() {
        let numbers: Vec<u64> = (1..=200).collect();
        assert_eq!([50, 95, 99].map(|p| percentile(&numbers, p)), [100, 190, 198]);
        assert_eq!([50, 99].map(|p| percentile(&[7], p)), [7, 7]);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn throughput_counts_every_end_once() {
        let ends = [(1000, 0), (1000, 1), (1599, 0), (7000, 1), (999, 0)];
        let found = throughput(&ends, 1000, 6000, 2);
        assert_eq!(found.every, 100);
        assert_eq!(found.ended.iter().flatten().sum::<u64>(), 5);
        assert_eq!((found.ended[0][0], found.ended[0][5], found.ended[1][60]), (2, 1, 1));
        assert_eq!(throughput(&[(5, 0)], 5, 0, 1), Throughput { every: 1, ended: vec![vec![1]] });
    }
}
