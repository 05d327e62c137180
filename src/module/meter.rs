//! What a worker uses for a document: processor time and memory, from `/proc`.
//!
//! The kernel counts in hundredths of a second, so quick documents cannot be measured, and are not: a look costs some
//! microseconds. Knows nothing of documents: who shares an answer with others is told nothing by its caller.

use std::time::{Duration, Instant};

use crate::model::action::Used;
use crate::sys::{self, Exit};

/// Less cannot be told from nothing; and so often at most is looked.
const WORTH_A_LOOK: Duration = Duration::from_millis(10);

/// Reads what a process uses, from answer to answer.
#[derive(Debug)]
pub(super) struct Meter {
    pid: u32,
    looked: Instant,
    /// Processor time up to the last look, in microseconds.
    cpu: u64,
}

impl Meter {
    /// For a process that was just started.
    pub(super) fn new(pid: u32) -> Self {
        Meter { pid, looked: Instant::now(), cpu: 0 }
    }

    /// To be called after each answer; what was used for it, if it `took` long enough.
    pub(super) fn read(&mut self, now: Instant, took: Duration) -> Option<Used> {
        if now.saturating_duration_since(self.looked) < WORTH_A_LOOK {
            return None;
        }
        self.looked = now;
        let spent = sys::spent(self.pid)?;
        let used = Used { cpu: spent.cpu.saturating_sub(self.cpu), peak: spent.peak };
        self.cpu = spent.cpu;
        sys::forget_peak(self.pid);
        (took >= WORTH_A_LOOK).then_some(used)
    }

    /// What was used from the last look until the end.
    pub(super) fn end(&self, exit: Exit) -> Used {
        Used { cpu: exit.cpu_us.saturating_sub(self.cpu), peak: exit.peak_kib }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_since_the_last_look_is_told_once() {
        let own = std::process::id();
        let mut meter = Meter { cpu: 0, ..Meter::new(own) };
        let later = meter.looked + Duration::from_secs(1);
        let used = meter.read(later, Duration::from_secs(1)).unwrap();
        assert!(used.peak > 100, "{used:?}");
        assert_eq!(meter.read(later, Duration::from_secs(1)), None);
        let exit = Exit { cpu_us: meter.cpu + 7, peak_kib: 9, ..Exit::default() };
        assert_eq!(meter.end(exit), Used { cpu: 7, peak: 9 });
    }

    #[test]
    fn a_quick_document_is_told_nothing_and_the_next_is_not_charged_for_it() {
        let mut meter = Meter { cpu: 0, ..Meter::new(std::process::id()) };
        let later = meter.looked + Duration::from_secs(1);
        assert_eq!(meter.read(later, Duration::from_millis(1)), None);
        assert_eq!(meter.looked, later);
    }
}
