//! A run as a trace: every action as a bar in the row of its worker. For `ui.perfetto.dev` and `chrome://tracing`.

use serde_json::json;

use crate::query::log::Shown;
use crate::query::run::Action;

/// Writes a trace piece by piece, in the JSON format of trace events.
#[derive(Debug)]
pub struct Perfetto {
    run: u32,
}

impl Perfetto {
    /// Begins it: what stands first.
    pub fn begin(run: u32, command: &str) -> (Self, String) {
        let name = json!({
            "ph": "M", "pid": run, "name": "process_name", "args": { "name": format!("run {run}: {command}") }
        });
        (Perfetto { run }, format!("{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n{name}"))
    }

    /// One action.
    pub fn action(&self, action: &Action) -> String {
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
        let event = json!({
            "ph": "X", "pid": self.run, "tid": action.worker, "ts": action.start.0 * 1000, "dur": action.duration,
            "name": action.target, "cat": action.state.word(), "args": args,
        });
        format!(",\n{event}")
    }

    /// What stands last.
    pub fn end() -> &'static str {
        "\n]}\n"
    }
}
