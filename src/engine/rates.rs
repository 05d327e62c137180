//! How many documents a rate lets begin by now: what a bucket of tokens earns in time. Pure: told the time, asks no clock.
//!
//! Tokens come evenly, and at most a second's worth is saved up: `60/min` is one a second, not sixty at the start of each
//! minute. So in no minute more than 61 are begun, which is what a service that counts sees.

use std::time::{Duration, Instant};

use crate::model::pipeline::Rate;

/// What a rate has earned.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// In a second.
    per_second: f64,
    /// The most that is saved up.
    most: f64,
    /// What is earned and not granted yet.
    earned: f64,
    at: Instant,
}

impl Pace {
    /// One that can begin at once.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let per_second = rate.documents / rate.per.as_secs_f64();
        let most = per_second.floor().max(1.0);
        Pace { per_second, most, earned: most, at: now }
    }

    /// Whole tokens to be granted now, where so many of those before are not used.
    pub(super) fn earn(&mut self, now: Instant, unused: u64) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        // A little is added, so that what was waited for is there.
        let room = (self.most - unused as f64).max(0.0);
        self.earned = (self.earned + passed * self.per_second).min(room.max(self.earned.fract()));
        let whole = (self.earned + 1e-6).floor().min(room);
        self.earned = (self.earned - whole).max(0.0);
        whole as u64
    }

    /// When the next token is there.
    pub(super) fn next(&self) -> Instant {
        let missing = (1.0 - self.earned).max(0.0) / self.per_second;
        self.at
            + Duration::try_from_secs_f64(missing)
                .unwrap_or(Duration::MAX / 4)
                .min(Duration::from_secs(24 * 60 * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(documents: f64, seconds: u64) -> (Pace, Instant) {
        let now = Instant::now();
        (Pace::new(Rate { documents, per: Duration::from_secs(seconds) }, now), now)
    }

    #[test]
    fn tokens_come_evenly() {
        let (mut pace, start) = pace(60.0, 60);
        assert_eq!(pace.earn(start, 0), 1, "the first need not wait");
        assert_eq!(pace.next(), start + Duration::from_secs(1));
        assert_eq!(pace.earn(start + Duration::from_millis(500), 0), 0);
        assert_eq!(pace.next(), start + Duration::from_secs(1));
        assert_eq!(pace.earn(start + Duration::from_secs(1), 0), 1);
    }

    #[test]
    fn what_nobody_wanted_is_not_saved_up() {
        let (mut pace, start) = pace(5.0, 1);
        assert_eq!(pace.earn(start, 0), 5);
        assert_eq!(pace.earn(start + Duration::from_secs(60), 5), 0);
        assert_eq!(pace.earn(start + Duration::from_secs(120), 2), 3);
        assert_eq!(pace.earn(start + Duration::from_secs(3600), 0), 5);
    }

    #[test]
    fn no_minute_has_more_than_a_second_above_its_rate() {
        for (documents, seconds) in [(60.0, 60), (90.0, 60), (7.0, 1), (5000.0, 86_400), (0.5, 1)] {
            let (mut pace, start) = pace(documents, seconds);
            let steps = 60_000 / 7;
            let begun: u64 =
                (0..=steps).map(|step| pace.earn(start + Duration::from_millis(step * 7), 0)).sum();
            let most = documents / seconds as f64 * 60.0 + (documents / seconds as f64).max(1.0);
            assert!(begun as f64 <= most + 0.01, "{documents}/{seconds}: {begun}");
            assert!(begun as f64 >= most - 2.0, "{documents}/{seconds}: {begun}");
        }
    }
}
