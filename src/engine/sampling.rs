//! A stratified sample of a target's documents: some of every kind, the same ones each time.
//!
//! A stratum is how a document stands, its extension, and the order of magnitude of its result. Every stratum gives one,
//! and as many more as its part of all documents says; within one those with the smallest hash of their id are taken.
//! Reads stories and records. Runs nothing.

use std::collections::{BTreeMap, BinaryHeap};

use crate::engine::Parts;
use crate::engine::marks::covers;
use crate::engine::survey::{Survey, has_ended};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{Outcome, State};
use crate::model::document::DocId;
use crate::model::pipeline::TargetIx;
use crate::model::selection::Glob;

/// Documents of one kind.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Stratum {
    /// How they stand.
    pub state: State,
    /// Their extension.
    pub ext: String,
    /// Their results have fewer bytes than this, and a tenth of it or more; 0 where there is none.
    pub below: u64,
    /// How many there are.
    pub of: u64,
    /// How many of them were taken.
    pub taken: u64,
}

/// The documents that were taken.
pub struct Sample {
    /// In byte order.
    pub docs: Vec<DocId>,
    /// What they were taken from.
    pub strata: Vec<Stratum>,
}

type Key = (u8, String, u64);

/// How many documents a stratum has, and those of them with the smallest hashes.
type Counted = (State, u64, BinaryHeap<(Digest, String)>);

/// Takes about `size` documents that have a result in a target, or failed there. `docs` narrows them.
pub fn sample(parts: &Parts<'_>, ix: TargetIx, docs: Option<&Glob>, size: usize) -> Result<Sample> {
    let mut survey = Survey::new(parts, &[ix].into(), None)?;
    let mut found: BTreeMap<Key, Counted> = BTreeMap::new();
    survey.visit(&mut |_, standing| {
        if standing.is_made
            || !has_ended(standing.entry)
            || docs.is_some_and(|glob| !covers(glob, standing.id))
        {
            return Ok(false);
        }
        let act = Survey::act(parts, standing.entry)?;
        let length = match act.as_deref().map(|act| &act.outcome) {
            Some(Outcome::Output(output)) => output.length,
            _ => 0,
        };
        let below = if length == 0 { 0 } else { 10u64.saturating_pow(length.ilog10() + 1) };
        let state = standing.entry.state;
        let (_, count, heap) = found
            .entry((state as u8, standing.id.ext(), below))
            .or_insert_with(|| (state, 0, BinaryHeap::new()));
        *count += 1;
        let id = standing.id.as_str();
        heap.push((Digest::of(id.as_bytes()), id.to_owned()));
        if heap.len() > size {
            heap.pop();
        }
        Ok(false)
    })?;
    let counts: Vec<u64> = found.values().map(|(_, count, _)| *count).collect();
    let shares = shares(&counts, size as u64);
    let mut sample = Sample { docs: Vec::new(), strata: Vec::new() };
    for (((_, ext, below), (state, of, heap)), taken) in found.into_iter().zip(shares) {
        let ids = heap.into_sorted_vec().into_iter().take(taken as usize);
        sample.docs.extend(ids.map(|(_, id)| DocId::parse(&id)));
        sample.strata.push(Stratum { state, ext, below, of, taken });
    }
    sample.docs.sort();
    Ok(sample)
}

/// How many of each stratum are taken: one of each as far as that goes, the largest first, then by their part of the whole.
fn shares(counts: &[u64], size: u64) -> Vec<u64> {
    let all: u64 = counts.iter().sum();
    if all <= size {
        return counts.to_vec();
    }
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|ix| (std::cmp::Reverse(counts[*ix]), *ix));
    let mut shares = vec![0; counts.len()];
    let mut left = size;
    for ix in &order {
        if left == 0 {
            break;
        }
        shares[*ix] = 1;
        left -= 1;
    }
    // One after the other to the stratum that is furthest below its part.
    while left > 0 {
        let lack = |ix: &usize| {
            let part = i128::from(counts[*ix]) * i128::from(size) - i128::from(shares[*ix]) * i128::from(all);
            if shares[*ix] < counts[*ix] { part } else { i128::MIN }
        };
        let Some(ix) = order.iter().copied().max_by_key(|ix| (lack(ix), std::cmp::Reverse(*ix))) else {
            break;
        };
        shares[ix] += 1;
        left -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::shares;

    #[test]
    fn every_stratum_gives_one_and_the_rest_goes_by_size() {
        assert_eq!(shares(&[900, 90, 10], 20), [18, 1, 1]);
        assert_eq!(shares(&[900, 1, 1], 10), [8, 1, 1]);
        assert_eq!(shares(&[3, 2], 200), [3, 2]);
        assert_eq!(shares(&[5, 9, 7], 2), [0, 1, 1]);
        assert_eq!(shares(&[], 2), Vec::<u64>::new());
    }
}
