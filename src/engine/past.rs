//! What the actions of a target took in builds before: time, and what its module counted. For estimates.
//!
//! Sums are kept in the index, which can be lost: then there is no estimate until the target runs again. What was counted
//! for a result stands in its record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::tally::Ran;
use crate::error::Result;
use crate::model::action::Position;
use crate::model::event::Planned;
use crate::model::pipeline::{Pipeline, Settings};
use crate::store::Store;

/// The tree of the index.
const TREE: &str = "past";

/// Sums over all actions of a target that ran to an end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How many.
    pub actions: u64,
    /// Microseconds of work.
    pub micros: u64,
    /// By name: `usd`, `tokens`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
    /// Those that warned.
    #[serde(default, skip_serializing_if = "is_none")]
    pub warned: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl Past {
    /// What is known of a target.
    pub fn of(store: &Store, target: &str) -> Result<Past> {
        let kept = store.kept(TREE, target.as_bytes())?;
        Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
    }

    /// Whether records of the target may hold more than their results; so may those of which nothing is known, as after
    /// the index was lost.
    pub fn has_extras(&self) -> bool {
        self.actions == 0 || self.warned > 0 || !self.counts.is_empty()
    }

    fn add(&mut self, ran: &Ran, counts: &BTreeMap<String, f64>) {
        self.actions += ran.actions;
        self.micros = self.micros.saturating_add(ran.micros);
        self.warned += ran.warned;
        for (name, count) in counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// Adds the time and the counts of an action, so many times over, to a plan.
    pub fn estimate(&self, planned: &mut Planned, settings: &Settings, jobs: usize) {
        let Some(actions) = planned.actions.filter(|_| self.actions > 0) else { return };
        let share = actions as f64 / self.actions as f64;
        let at_once = settings.workers.unwrap_or(jobs).clamp(1, actions.max(1) as usize);
        planned.seconds = Some(self.micros as f64 / 1e6 * share / at_once as f64);
        planned.each = Some(self.micros as f64 / self.actions as f64);
        planned.counts = self.counts.iter().map(|(name, sum)| (name.clone(), sum * share)).collect();
    }
}

/// Adds what ran in a build.
pub fn remember(store: &Store, pipeline: &Pipeline, ran: &[(Ran, BTreeMap<String, f64>)]) -> Result<()> {
    for (target, (ran, counts)) in pipeline.targets.iter().zip(ran) {
        if ran.actions == 0 && counts.is_empty() {
            continue;
        }
        let mut past = Past::of(store, &target.name)?;
        past.add(ran, counts);
        store.keep(TREE, target.name.as_bytes(), &serde_json::to_vec(&past).unwrap_or_default())?;
    }
    Ok(())
}

/// The part of the index that holds what sets came to over a sample.
const OF_SAMPLE: &str = "sample";

/// Keeps where the result of a set over a sample is, or that there is none; derived data. `doc`: a group, or a document
/// behind a set; nothing for the one document of a set.
pub(super) fn keep_of_sample(
    store: &Store,
    target: &str,
    doc: Option<&str>,
    at: Option<Position>,
) -> Result<()> {
    let entry = serde_json::to_vec(&at.map(|at| at.0)).unwrap_or_default();
    store.keep(OF_SAMPLE, &key_of_sample(target, doc), &entry)
}

/// Where the result of a set over the last sample is, of a group or of a document behind a set.
pub fn of_sample(store: &Store, target: &str, doc: Option<&str>) -> Result<Option<Position>> {
    let kept = store.kept(OF_SAMPLE, &key_of_sample(target, doc))?;
    let at: Option<u64> = kept.and_then(|kept| serde_json::from_slice(&kept).ok()).flatten();
    Ok(at.map(Position))
}

/// The groups, or documents behind a set, of which a sample has a result in a target; some of them if they are many.
pub fn docs_of_sample(store: &Store, target: &str, most: usize) -> Result<Vec<String>> {
    let prefix = key_of_sample(target, Some(""));
    let mut found = Vec::new();
    store.kept_scan(OF_SAMPLE, &prefix, &mut |key, value| {
        let has_result = matches!(serde_json::from_slice::<Option<u64>>(value), Ok(Some(_)));
        let doc = key.strip_prefix(prefix.as_slice()).unwrap_or_default();
        found.extend(Some(String::from_utf8_lossy(doc).into_owned()).filter(|_| has_result));
        found.len() < most
    })?;
    Ok(found)
}

/// No name of a target has the byte between them.
fn key_of_sample(target: &str, doc: Option<&str>) -> Vec<u8> {
    let mut key = target.as_bytes().to_vec();
    if let Some(doc) = doc {
        key.push(0);
        key.extend_from_slice(doc.as_bytes());
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_is_what_as_many_actions_took_before() {
        let mut past = Past::default();
        past.add(&Ran { actions: 4, micros: 40_000_000, warned: 1 }, &BTreeMap::from([("usd".into(), 2.0)]));
        let mut planned = Planned { actions: Some(10), ..Planned::default() };
        past.estimate(&mut planned, &Settings::default(), 5);
        assert_eq!((planned.seconds, planned.counts["usd"]), (Some(20.0), 5.0));
        let mut unknown = Planned::default();
        past.estimate(&mut unknown, &Settings::default(), 5);
        assert_eq!(unknown.seconds, None);
        assert!(past.has_extras() && Past::default().has_extras());
    }
}
