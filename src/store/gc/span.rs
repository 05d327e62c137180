//! How much history is kept: which runs are old. Runs count in their order; the clock alone decides nothing that it
//! could have got wrong by jumping.

use std::time::Duration;

use crate::hash::Digest;
use crate::model::action::Run;
use crate::time::Millis;

/// So many of the newest runs are kept, however old they are,
pub(super) const RUNS: u32 = 10;
/// and whatever is younger than this.
pub(super) const AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// The newest run that is history no more: what it superseded, and those before it, goes. 0 if none is so old.
pub(super) fn cutoff(runs: &[Run], now: Millis, older_than: Option<Duration>) -> u32 {
    let newest = runs.last().map_or(0, |run| run.number);
    let is_old = |run: &&Run| {
        let age = now.since(run.start);
        match older_than {
            Some(limit) => age >= limit,
            None => age >= AGE && run.number + RUNS <= newest,
        }
    };
    // A run that looks young keeps all that came after it, whatever their clocks say.
    runs.iter().take_while(is_old).last().map_or(0, |run| run.number)
}

/// The run since which the Pipelinefile is as it is now. What is not in it was in none of the builds since.
pub(super) fn unchanged_since(runs: &[Run], pipelinefile: Digest) -> u32 {
    let newest = runs.last().map_or(0, |run| run.number);
    // What was no build says nothing about the Pipelinefile.
    let is_same = |run: &&Run| [pipelinefile, Digest::default()].contains(&run.pipelinefile);
    let same = runs.iter().rev().take_while(is_same).last();
    // No build knows it yet: it was changed after the newest.
    same.map_or(newest, |run| run.number).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;

    fn runs(days: &[u64]) -> Vec<Run> {
        let run = |(i, day): (usize, &u64)| Run {
            number: i as u32 + 1,
            start: Millis(day * DAY),
            command: Vec::new(),
            version: String::new(),
            pipelinefile: Digest([u8::from(i >= 3) + 1; 32]),
            host: String::new(),
        };
        days.iter().enumerate().map(run).collect()
    }

    #[test]
    fn ten_runs_and_thirty_days_are_kept() {
        let now = Millis(100 * DAY);
        let daily: Vec<u64> = (40..100).collect();
        assert_eq!(cutoff(&runs(&daily), now, None), 31, "those of day 70 and before");
        let rare: Vec<u64> = (0..12).collect();
        assert_eq!(cutoff(&runs(&rare), now, None), 2, "the last ten stay, though old");
        assert_eq!(cutoff(&runs(&[1, 2]), now, None), 0);
        assert_eq!(cutoff(&[], now, None), 0);
    }

    #[test]
    fn an_age_that_is_asked_for_counts_alone() {
        let now = Millis(100 * DAY);
        let week = Some(Duration::from_secs(7 * 24 * 3600));
        assert_eq!(cutoff(&runs(&[1, 50, 93, 94, 100]), now, week), 3);
        assert_eq!(cutoff(&runs(&[1, 50, 93, 94, 100]), now, Some(Duration::ZERO)), 5);
    }

    #[test]
    fn a_clock_that_jumped_keeps_too_much_and_never_too_little() {
        let now = Millis(100 * DAY);
        let week = Some(Duration::from_secs(7 * 24 * 3600));
        assert_eq!(cutoff(&runs(&[1, 4000, 3, 4, 99]), now, week), 1, "a run in the future");
        assert_eq!(cutoff(&runs(&[90, 91, 98, 0, 99]), now, week), 2, "a run long ago among new ones");
    }

    #[test]
    fn what_the_pipelinefile_does_not_have_is_gone_since_it_is_so() {
        let all = runs(&[1, 2, 3, 4, 5]);
        assert_eq!(unchanged_since(&all, Digest([2; 32])), 4);
        assert_eq!(unchanged_since(&all, Digest([1; 32])), 5, "changed back since the last build");
        assert_eq!(unchanged_since(&all, Digest([9; 32])), 5);
        assert_eq!(unchanged_since(&[], Digest([9; 32])), 1);
    }
}
