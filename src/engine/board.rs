//! What a running build has in hand, for whoever asks from another thread. Nothing is written down until somebody asks.
//!
//! The build answers at its next tick; one that is busy with something long is not waited for. Knows no build.

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::time::Millis;

/// So long a build is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// An answer serves whoever asks so soon after it.
const FRESH: Duration = Duration::from_millis(50);

/// A document that is with a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The document.
    pub doc: String,
    /// The target.
    pub target: String,
    /// The worker's number in the run.
    pub worker: u32,
    /// Since when it works on it; of one that waits behind others, since when it has it.
    pub since: Millis,
    /// So many documents come before it.
    #[serde(default)]
    pub behind: usize,
    /// How far the module says it is, and of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(f64, Option<f64>)>,
    /// Where the worker's log is, and from where on it is about this document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<(PathBuf, u64)>,
    /// When that log was how long.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, Millis)>,
}

/// Where a build tells what it has in hand.
#[derive(Debug, Default)]
pub struct Board {
    told: Mutex<Told>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    /// A build is there to answer.
    is_open: bool,
    is_wanted: bool,
    /// Counts answers.
    number: u64,
    at: Option<Instant>,
    held: Vec<Held>,
}

impl Board {
    /// What is in hand now; nothing while no build is at work.
    pub fn ask(&self) -> Vec<Held> {
        let mut told = self.lock();
        if !told.is_open || told.at.is_some_and(|at| at.elapsed() < FRESH) {
            return told.held.clone();
        }
        told.is_wanted = true;
        let (number, began) = (told.number, Instant::now());
        while told.is_open && told.number == number {
            let left = PATIENCE.saturating_sub(began.elapsed());
            if left.is_zero() {
                break;
            }
            told = self.news.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        told.held.clone()
    }

    /// A build begins; until its guard is gone it answers.
    pub(super) fn open(&self) -> OpenBoard<'_> {
        self.lock().is_open = true;
        OpenBoard { board: self, began: (Instant::now(), crate::time::now()) }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A build that answers.
pub(super) struct OpenBoard<'a> {
    board: &'a Board,
    /// One moment by both clocks.
    began: (Instant, Millis),
}

impl OpenBoard<'_> {
    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.board.lock().is_wanted
    }

    /// When something was, the same each time.
    pub(super) fn time(&self, at: Instant) -> Millis {
        let after = at.saturating_duration_since(self.began.0).as_millis() as u64;
        Millis(self.began.1.0.saturating_add(after))
    }

    /// Answers all that wait.
    pub(super) fn tell(&self, held: Vec<Held>) {
        let mut told = self.board.lock();
        *told =
            Told { is_open: true, is_wanted: false, number: told.number + 1, at: Some(Instant::now()), held };
        self.board.news.notify_all();
    }
}

impl Drop for OpenBoard<'_> {
    fn drop(&mut self) {
        let mut told = self.board.lock();
        *told = Told { number: told.number, ..Told::default() };
        self.board.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(doc: &str) -> Held {
        Held {
            doc: doc.into(),
            target: "t".into(),
            worker: 0,
            since: Millis(1),
            behind: 0,
            progress: None,
            log: None,
            times: Vec::new(),
        }
    }

    #[test]
    fn who_asks_waits_for_the_build_and_for_no_build_that_is_over() {
        let board = Board::default();
        assert_eq!(board.ask(), []);
        let open = board.open();
        assert!(!open.is_wanted());
        std::thread::scope(|scope| {
            let asker = scope.spawn(|| board.ask());
            while !open.is_wanted() {
                std::thread::yield_now();
            }
            open.tell(vec![held("a")]);
            assert_eq!(asker.join().unwrap(), [held("a")]);
            let late = scope.spawn(|| {
                board.lock().at = None;
                board.ask()
            });
            while !open.is_wanted() {
                std::thread::yield_now();
            }
            drop(open);
            assert_eq!(late.join().unwrap(), []);
        });
        assert_eq!(board.ask(), []);
    }
}
