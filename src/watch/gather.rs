//! Gathers what changed until it rests: a pure state machine, no clock and no files of its own.
//!
//! 1. A path that is whole (its writer closed it, it was moved here or away) is due when nothing of that kind came for
//!    [`QUIET`], at the latest [`LONGEST`] after the first: a burst is one batch, a stream of them goes on.
//! 2. A path that is open for writing waits for its closing, or until nobody wrote for [`OPEN`]; others do not wait for
//!    it. It is taken when it rests, so what is read is seldom half of it, and its stamp can be trusted.
//! 3. Removed paths are due when no removal came for [`REMOVED`]: removing a tree takes a while, and the guard against
//!    losing most documents must see all of it at once. Nobody waits for what is gone.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::watch::Batch;

/// How long whole paths rest before they are taken; longer than stamps of a fine clock are racy (20 ms).
pub(super) const QUIET: Duration = Duration::from_millis(25);
/// A stream of whole paths is cut into batches of this length.
pub(super) const LONGEST: Duration = Duration::from_millis(100);
/// How long a file that nobody closes rests.
pub(super) const OPEN: Duration = Duration::from_millis(500);
/// How long removals rest.
pub(super) const REMOVED: Duration = Duration::from_millis(150);
/// How long a storm rests that was too large to be told in full…
const STORM: Duration = Duration::from_millis(100);
/// …and how long it is waited for at most.
const LONGEST_STORM: Duration = Duration::from_secs(2);
/// More paths than this are not kept: everything is looked at instead.
const MOST: usize = 50_000;

/// How a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nobody is known to write to it.
    Whole,
    /// Somebody is writing to it.
    Open,
    /// It is gone.
    Removed,
    /// As before; whole if nothing is known.
    Same,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// These are due.
    Due(Batch),
    /// Nothing is before then.
    At(Instant),
    /// Nothing happened.
    Nothing,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Gather {
    pending: HashMap<PathBuf, (Kind, Instant)>,
    /// The first whole path that waits, and the last.
    whole: Option<(Instant, Instant)>,
    removed: Option<Instant>,
    /// When it was first said that anything may have happened, and when the last thing did.
    storm: Option<(Instant, Instant)>,
}

impl Gather {
    /// Something happened to a path.
    pub(super) fn note(&mut self, path: PathBuf, kind: Kind, now: Instant) {
        if let Some((_, last)) = &mut self.storm {
            *last = now;
            return;
        }
        let before = self.pending.get(&path).map(|(kind, _)| *kind);
        let kind = match (kind, before) {
            (Kind::Same, Some(before)) => before,
            (Kind::Same, None) => Kind::Whole,
            (kind, _) => kind,
        };
        match kind {
            Kind::Whole | Kind::Same => {
                self.whole = Some((self.whole.map_or(now, |(first, _)| first), now));
            }
            Kind::Removed => self.removed = Some(now),
            Kind::Open => {}
        }
        self.pending.insert(path, (kind, now));
        if self.pending.len() > MOST {
            self.lost(now);
        }
    }

    /// Something happened that nobody can tell: everything is to be looked at.
    pub(super) fn lost(&mut self, now: Instant) {
        let first = self.storm.map_or(now, |(first, _)| first);
        *self = Gather { storm: Some((first, now)), ..Gather::default() };
    }

    /// What is due now, or when it will be.
    pub(super) fn take(&mut self, now: Instant) -> Next {
        if let Some((first, last)) = self.storm {
            let due = (last + STORM).min(first + LONGEST_STORM);
            if now < due {
                return Next::At(due);
            }
            *self = Gather::default();
            return Next::Due(Batch { everything: true, paths: BTreeSet::new() });
        }
        let whole = self.whole.map(|(first, last)| (last + QUIET).min(first + LONGEST));
        let removed = self.removed.map(|last| last + REMOVED);
        let due = |kind: Kind, at: Instant| match kind {
            Kind::Open => Some(at + OPEN),
            Kind::Removed => removed,
            Kind::Whole | Kind::Same => whole,
        };
        let next = self.pending.values().filter_map(|(kind, at)| due(*kind, *at)).min();
        let Some(next) = next else { return Next::Nothing };
        if now < next {
            return Next::At(next);
        }
        let is_due = |kind: Kind, at: Instant| due(kind, at).is_none_or(|due| due <= now);
        let mut paths = BTreeSet::new();
        self.pending.retain(|path, (kind, at)| {
            let stays = !is_due(*kind, *at);
            if !stays {
                paths.insert(path.clone());
            }
            stays
        });
        let waits = |of: Kind| self.pending.values().any(|(kind, _)| *kind == of);
        (self.whole, self.removed) =
            (self.whole.filter(|_| waits(Kind::Whole)), self.removed.filter(|_| waits(Kind::Removed)));
        Next::Due(Batch { everything: false, paths })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn due(gather: &mut Gather, now: Instant) -> Vec<String> {
        match gather.take(now) {
            Next::Due(batch) => batch.paths.iter().map(|path| path.display().to_string()).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_file_that_was_closed_is_due_after_a_moment() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        assert_eq!(gather.take(start), Next::Nothing);
        gather.note("a".into(), Kind::Open, start);
        gather.note("a".into(), Kind::Open, start + ms(1));
        gather.note("a".into(), Kind::Whole, start + ms(2));
        assert_eq!(gather.take(start + ms(3)), Next::At(start + ms(2) + QUIET));
        assert_eq!(due(&mut gather, start + ms(2) + QUIET), ["a"]);
        assert_eq!(gather.take(start + ms(900)), Next::Nothing);
    }

    #[test]
    fn a_burst_is_one_batch_and_a_stream_is_cut() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        for n in 0..10 {
            gather.note(format!("{n}").into(), Kind::Whole, start + ms(10 * n));
            assert_eq!(due(&mut gather, start + ms(10 * n + 1)).len(), 0);
        }
        assert_eq!(due(&mut gather, start + LONGEST).len(), 10);
    }

    #[test]
    fn a_file_that_is_written_to_waits_alone() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        for n in 0..100 {
            gather.note("log".into(), Kind::Open, start + ms(10 * n));
        }
        gather.note("a".into(), Kind::Whole, start + ms(991));
        assert_eq!(due(&mut gather, start + ms(991) + QUIET), ["a"]);
        assert_eq!(gather.take(start + ms(1100)), Next::At(start + ms(990) + OPEN));
        assert_eq!(due(&mut gather, start + ms(990) + OPEN), ["log"]);
    }

    #[test]
    fn removals_are_taken_together_when_they_rest() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        for n in 0..20 {
            gather.note(format!("{n}").into(), Kind::Removed, start + ms(100 * n));
            assert_eq!(due(&mut gather, start + ms(100 * n)).len(), 0);
        }
        gather.note("new".into(), Kind::Whole, start + ms(1900));
        assert_eq!(due(&mut gather, start + ms(1900) + QUIET), ["new"], "nobody waits for what is gone");
        assert_eq!(due(&mut gather, start + ms(1900) + REMOVED).len(), 20);
    }

    #[test]
    fn a_file_that_is_written_anew_is_not_gone() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        gather.note("a".into(), Kind::Removed, start);
        gather.note("a".into(), Kind::Open, start);
        gather.note("a".into(), Kind::Whole, start);
        assert_eq!(due(&mut gather, start + QUIET), ["a"]);
        assert_eq!(gather.take(start + ms(900)), Next::Nothing);
    }

    #[test]
    fn other_permissions_do_not_close_a_file() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        gather.note("a".into(), Kind::Open, start);
        gather.note("a".into(), Kind::Same, start + ms(1));
        assert_eq!(due(&mut gather, start + ms(100)).len(), 0);
        gather.note("b".into(), Kind::Same, start + ms(100));
        assert_eq!(due(&mut gather, start + ms(100) + QUIET), ["b"]);
    }

    #[test]
    fn a_storm_that_cannot_be_told_asks_for_a_look_at_everything() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        gather.note("a".into(), Kind::Whole, start);
        gather.lost(start);
        gather.note("b".into(), Kind::Whole, start + ms(50));
        assert_eq!(gather.take(start + ms(60)), Next::At(start + ms(50) + STORM));
        let all = Batch { everything: true, paths: BTreeSet::new() };
        assert_eq!(gather.take(start + ms(50) + STORM), Next::Due(all));
        assert_eq!(gather.take(start + ms(900)), Next::Nothing);
    }

    #[test]
    fn more_than_can_be_kept_is_a_storm() {
        let (mut gather, start) = (Gather::default(), Instant::now());
        for n in 0..=MOST {
            gather.note(format!("{n}").into(), Kind::Whole, start);
        }
        assert!(matches!(gather.take(start + STORM), Next::Due(Batch { everything: true, .. })));
    }
}
