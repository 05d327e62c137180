//! The tree of a `reduce`: which inputs are merged together, a function of the members alone.
//!
//! Members in byte order of their ids are cut into runs where the hash of an id says so, one in 64; the results of the
//! runs are cut in the same way, by another part of the hash of their last member's id, and so on until one is left. So
//! one member more or less changes one run a level, or divides or joins two: at most 2·log₆₄(n) + 2 merges. Runs of
//! one are passed on unrun. Knows no actions.

use crate::hash::Digest;

/// One id in so many ends a run.
const WIDTH: u8 = 64;
/// What is left at this level is one run; not reached by any number of members that there can be.
const LAST: usize = 31;

/// Whether a run of a level ends with the input whose last member has this id.
pub fn ends_run(level: usize, id: &str) -> bool {
    level < LAST && Digest::of(id.as_bytes()).0[level].is_multiple_of(WIDTH)
}

/// The name of the merge of a run: by its level, and by the member at its end. A run that nothing ended has the name of
/// the end, so that it stays when members come behind it.
pub fn name_of(level: usize, last: &str, ended: bool) -> String {
    let end = if ended { Digest::of(last.as_bytes()).hex()[..16].to_owned() } else { "end".to_owned() };
    format!("{level}-{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The merges over some members: (name, the inputs' last ids).
    fn merges(members: &BTreeSet<String>) -> BTreeSet<(String, Vec<String>)> {
        let mut merges = BTreeSet::new();
        let mut inputs: Vec<(String, u64)> = members.iter().map(|id| (id.clone(), 0)).collect();
        for level in 0.. {
            if inputs.len() < 2 {
                return merges;
            }
            let mut next = Vec::new();
            let mut run: Vec<(String, u64)> = Vec::new();
            let count = inputs.len();
            for (at, input) in inputs.into_iter().enumerate() {
                let ends = ends_run(level, &input.0);
                run.push(input);
                if ends || at + 1 == count {
                    let last = run[run.len() - 1].0.clone();
                    // What a merge is of: the inputs, and what they are of in turn.
                    let mut hash = crate::hash::FieldHasher::new("test");
                    run.iter().for_each(|(id, of)| {
                        hash.text(id).number(*of);
                    });
                    let of = if run.len() > 1 { hash.finish().prefix() } else { run[0].1 };
                    if run.len() > 1 {
                        let texts = run.iter().map(|(id, of)| format!("{id} {of}")).collect();
                        merges.insert((name_of(level, &last, ends), texts));
                    }
                    next.push((last, of));
                    run.clear();
                }
            }
            inputs = next;
        }
        merges
    }

    #[test]
    fn one_change_merges_few_runs_again() {
        let members: BTreeSet<String> = (0..20_000).map(|i| format!("inbox/{i:06}.txt")).collect();
        let before = merges(&members);
        let most = 2.0 * (20_000f64).log(64.0) + 2.0;
        for changed in (0..20_000).step_by(997) {
            let mut fewer = members.clone();
            fewer.remove(&format!("inbox/{changed:06}.txt"));
            let after = merges(&fewer);
            assert!(after.difference(&before).count() as f64 <= most, "removing {changed}");
            assert!(before.difference(&after).count() as f64 <= most, "adding {changed}");
        }
    }

    proptest! {
        #[test]
        fn every_member_is_merged_and_names_are_unique(ids in proptest::collection::btree_set("[a-z]{1,4}", 0..300)) {
            let merges = merges(&ids);
            let names: BTreeSet<&String> = merges.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), merges.len());
            prop_assert!(merges.iter().all(|(_, inputs)| inputs.len() > 1));
        }
    }
}
