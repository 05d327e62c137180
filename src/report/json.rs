//! The event stream for programs: one JSON object a line. `docs/reference/events.md` describes it.

use std::io::Write;

use serde::Serialize;

use crate::model::event::{Event, Sink};
use crate::report::Out;
use crate::time::{self, Millis};

/// Goes up when a field changes its meaning or goes away; new fields and events do not count.
const VERSION: u32 = 1;
/// So many bytes wait at most, and only for the next event that is not about one document.
const BUFFER: usize = 32 * 1024;

/// One line: what is common to all events, then the event.
#[derive(Serialize)]
struct Line<'a> {
    v: u32,
    ms: Millis,
    /// Absent where the event itself has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    #[serde(flatten)]
    event: &'a Event,
}

/// The run's number, `null` until it has one.
#[derive(Clone, Copy, Serialize)]
#[serde(transparent)]
struct Run(Option<u32>);

/// Appends an event as a line of the stream.
pub fn event_line(ms: Millis, run: Option<u32>, event: &Event, out: &mut Vec<u8>) {
    let has_run = matches!(event, Event::RunStarted { .. } | Event::Finished(_));
    let line = Line { v: VERSION, ms, run: (!has_run).then_some(Run(run)), event };
    let before = out.len();
    if serde_json::to_writer(&mut *out, &line).is_err() {
        // Half an object would spoil the line behind it, too.
        out.truncate(before);
        return;
    }
    out.push(b'\n');
}

/// Writes each event as a line.
pub(super) struct Json {
    out: Out,
    buffer: Vec<u8>,
    run: Run,
    now: fn() -> Millis,
}

impl Json {
    pub(super) fn new(out: Box<dyn Write + Send>) -> Self {
        Self::with_clock(time::now, out)
    }

    pub(super) fn with_clock(now: fn() -> Millis, out: Box<dyn Write + Send>) -> Self {
        Json { out: Out::new(out), buffer: Vec::new(), run: Run(None), now }
    }

    /// Why nothing more is written, once.
    pub(super) fn take_error(&mut self) -> Option<std::io::Error> {
        self.out.take_error()
    }

    fn flush(&mut self) {
        self.out.write(&self.buffer);
        self.buffer.clear();
    }
}

impl Sink for Json {
    fn event(&mut self, event: &Event) {
        if let Event::RunStarted { run } = event {
            self.run = Run(Some(*run));
        }
        event_line((self.now)(), self.run.0, event, &mut self.buffer);
        let of_one_document = matches!(
            event,
            Event::Started { .. } | Event::Progress { .. } | Event::Done(_) | Event::Skipped { .. }
        );
        if !of_one_document || self.buffer.len() >= BUFFER {
            self.flush();
        }
    }
}

impl Drop for Json {
    fn drop(&mut self) {
        self.flush();
    }
}
