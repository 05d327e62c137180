//! A build as lines in a log: no cursor movement, progress now and then.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::model::event::{Event, Sink};
use crate::report::Out;
use crate::report::progress::State;
use crate::report::style::INDENT;
use crate::report::talk::Talk;

/// A line of progress comes every so often at most…
const EVERY: Duration = Duration::from_secs(30);
/// …and only after one in so many parts of the work.
const PARTS: u64 = 20;

/// Writes lines.
pub(super) struct Plain {
    talk: Talk,
    progress: Progress,
    out: Out,
    began: Instant,
}

#[derive(Default)]
struct Progress {
    /// Nothing is said unless it is asked for.
    silent: bool,
    state: State,
    last: Duration,
    last_done: u64,
}

impl Plain {
    pub(super) fn new(talk: Talk, progress: bool, out: Box<dyn Write + Send>) -> Self {
        let progress = Progress { silent: !progress, ..Progress::default() };
        Plain { talk, progress, out: Out::new(out), began: Instant::now() }
    }

    /// Hears an event, so long after the start.
    pub(super) fn event_at(&mut self, event: &Event, at: Duration) {
        let mut lines = self.talk.hear(event);
        lines.extend(self.progress.line(event, at));
        self.print(&lines);
    }

    fn print(&mut self, lines: &[String]) {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        self.out.write(text.as_bytes());
    }
}

impl Progress {
    fn line(&mut self, event: &Event, at: Duration) -> Option<String> {
        self.state.hear(event, at);
        if matches!(event, Event::InHand { .. }) {
            return Some(format!("{INDENT}{}", self.state.plain_line(at)));
        }
        if self.silent || !matches!(event, Event::Counts(_)) || at < self.last + EVERY {
            return None;
        }
        let (done, todo) = self.state.done_and_todo();
        if todo == 0 || (done.saturating_sub(self.last_done)) * PARTS < done + todo {
            return None;
        }
        (self.last, self.last_done) = (at, done);
        Some(self.state.plain_line(at))
    }
}

impl Sink for Plain {
    fn event(&mut self, event: &Event) {
        self.event_at(event, self.began.elapsed());
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let rest = self.talk.rest();
        self.print(&rest);
    }
}
