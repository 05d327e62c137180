//! A run as a trace: every action as a bar in the row of its worker. For `ui.perfetto.dev` and `chrome://tracing`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::query::log::Shown;
use crate::query::run::Action;
use crate::time::Millis;

/// Writes a trace piece by piece, in the JSON format of trace events.
///
/// Actions of a worker must not overlap in part: such are dropped where traces are shown. When an action began is known to
/// the millisecond, how long it took to the microsecond; so one that begins within the last millisecond of the one before
/// is moved to its end, and one that really ran beside it gets a row of its own.
#[derive(Debug)]
pub struct Perfetto {
    run: u32,
    /// What is taken from every time, in milliseconds: of two runs, both begin at 0.
    zero: u64,
    /// By worker: when the last action in each of its rows ended, in microseconds.
    rows: BTreeMap<u32, Vec<u64>>,
}

/// What numbers of further rows of a worker differ by.
const ROWS: u64 = 1_000_000;

impl Perfetto {
    /// Begins it: what stands first.
    pub fn begin(run: u32, command: &str) -> (Self, String) {
        let begun = Perfetto { run, zero: 0, rows: BTreeMap::new() };
        let name = begun.name(command);
        (begun, format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{name}"))
    }

    /// From here on another run, as a process beside the first; both begin at 0.
    pub fn beside(&self, run: u32, begun: Millis, command: &str) -> (Self, String) {
        let other = Perfetto { run, zero: begun.0, rows: BTreeMap::new() };
        let name = other.name(command);
        (other, format!(",\n{name}"))
    }

    /// Counts its times from its begin.
    #[must_use]
    pub fn from(self, begun: Millis) -> Self {
        Perfetto { zero: begun.0, ..self }
    }

    fn name(&self, command: &str) -> Value {
        let name = format!("run {}: {command}", self.run);
        json!({ "ph": "M", "pid": self.run, "name": "process_name", "args": { "name": name } })
    }

    /// One action.
    pub fn action(&mut self, action: &Action) -> String {
        let mut args = json!({ "doc": action.doc, "state": action.state.word(), "attempt": action.attempt });
        match &action.outcome {
            Shown::Output { size, .. } => args["bytes"] = json!(size),
            Shown::Failed { failure } => args["failure"] = json!(failure.summary()),
            Shown::Skip { reason } => args["reason"] = json!(reason),
            Shown::Nothing { .. } => {}
        }
        if let Some(used) = action.used {
            args["cpu_us"] = json!(used.cpu);
            args["peak_kib"] = json!(used.peak);
        }
        let (row, start) =
            self.place(action.worker, action.start.0.saturating_sub(self.zero) * 1000, action.duration);
        let event = json!({
            "ph": "X", "pid": self.run, "tid": row, "ts": start, "dur": action.duration,
            "name": action.target, "cat": action.state.word(), "args": args,
        });
        format!(",\n{event}")
    }

    /// The row of an action, and when it begins there.
    fn place(&mut self, worker: u32, start: u64, duration: u64) -> (u64, u64) {
        let rows = self.rows.entry(worker).or_default();
        let free = rows.iter().position(|end| *end < start + 1000).unwrap_or(rows.len());
        if free == rows.len() {
            rows.push(0);
        }
        let start = start.max(rows[free]);
        rows[free] = start + duration;
        (u64::from(worker) + free as u64 * ROWS, start)
    }

    /// What stands last.
    pub fn end() -> &'static str {
        "\n]}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_of_a_worker_never_overlap_in_a_row() {
        let (mut trace, _) = Perfetto::begin(1, "pipe build");
        // One behind the other, though milliseconds say that the second began before the first ended.
        assert_eq!(trace.place(3, 10_000, 40_700), (3, 10_000));
        assert_eq!(trace.place(3, 50_000, 200), (3, 50_700));
        assert_eq!(trace.place(3, 50_000, 300), (3, 50_900));
        // Beside the others.
        assert_eq!(trace.place(3, 20_000, 5_000), (3 + ROWS, 20_000));
        assert_eq!(trace.place(4, 20_000, 5_000), (4, 20_000));
        assert_eq!(trace.place(3, 60_000, 1), (3, 60_000));
    }
}
