//! What a worker uses for a document: processor time and memory, from `/proc`.
//!
//! The kernel counts in hundredths of a second, so quick documents cannot be measured, and are not: a look costs some
//! microseconds. Knows nothing of documents: who shares an answer with others is told nothing by its caller.

use std::time::{Duration, Instant};

use crate::model::action::Used;
use crate::sys::{self, Exit};

/// Less cannot be told from nothing.
const WORTH_A_LOOK: Duration = Duration::from_millis(10);
/// While documents are quicker than that, so often is looked all the same.
const NOW_AND_THEN: Duration = Duration::from_millis(200);

/// Reads what a process uses, from answer to answer.
#[derive(Debug)]
pub(super) struct Meter {
    pid: u32,
    looked: Instant,
    /// Processor time up to the last look, in microseconds.
    cpu: u64,
    /// What the documents since then took that were too quick to be looked at.
    quick: Duration,
}

impl Meter {
    /// For a process that was just started.
    pub(super) fn new(pid: u32) -> Self {
        Meter { pid, looked: Instant::now(), cpu: 0, quick: Duration::ZERO }
    }

    /// What was used until now is no document's.
    pub(super) fn begin(&mut self, now: Instant) {
        self.look(now);
    }

    /// To be called after answers; what was used for the last, if each `took` long enough.
    pub(super) fn read(&mut self, now: Instant, took: Duration, count: u32) -> Option<Used> {
        let is_long = took >= WORTH_A_LOOK && now.saturating_duration_since(self.looked) >= WORTH_A_LOOK;
        if !is_long {
            self.quick += took * count;
            if now.saturating_duration_since(self.looked) >= NOW_AND_THEN {
                self.begin(now);
            }
            return None;
        }
        let quick = self.quick.as_micros() as u64;
        let used = self.look(now)?;
        Some(Used { cpu: used.cpu.saturating_sub(quick), ..used })
    }

    /// What was used since the last look.
    fn look(&mut self, now: Instant) -> Option<Used> {
        (self.looked, self.quick) = (now, Duration::ZERO);
        let spent = sys::spent(self.pid)?;
        let used = Used { cpu: spent.cpu.saturating_sub(self.cpu), peak: spent.peak };
        self.cpu = spent.cpu;
        sys::forget_peak(self.pid);
        Some(used)
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
        let mut meter = Meter::new(own);
        let later = meter.looked + Duration::from_secs(1);
        let used = meter.read(later, Duration::from_secs(1), 1).unwrap();
        assert!(used.peak > 100, "{used:?}");
        assert_eq!(meter.read(later, Duration::from_secs(1), 1), None);
        let exit = Exit { cpu_us: meter.cpu + 7, peak_kib: 9, ..Exit::default() };
        assert_eq!(meter.end(exit), Used { cpu: 7, peak: 9 });
    }

    #[test]
    fn a_quick_document_is_told_nothing_and_the_next_is_not_charged_for_it() {
        let mut meter = Meter::new(std::process::id());
        let start = meter.looked;
        let after = |millis| start + Duration::from_millis(millis);
        // Processor time that was never used: more than this process will have.
        let quick = Duration::from_millis(9);
        for turn in 0..4 {
            assert_eq!(meter.read(after(40 * turn), quick, 1000), None);
            assert_eq!(meter.looked, start, "not every quick document is worth a look");
        }
        let used = meter.read(after(190), Duration::from_millis(30), 1).unwrap();
        assert_eq!(used.cpu, 0, "the quick ones took it all");
        assert_eq!((meter.looked, meter.quick), (after(190), Duration::ZERO));
        assert_eq!(meter.read(after(390), quick, 1), None);
        assert_eq!((meter.looked, meter.quick), (after(390), Duration::ZERO), "now and then");
    }
}
