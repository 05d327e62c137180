//! A build as lines in a log: no cursor movement, progress now and then.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::model::event::{Event, Sink};
use crate::report::Out;
use crate::report::progress::State;
use crate::report::talk::Talk;

/// A line of progress comes every so often at most…
const EVERY: Duration = Duration::from_secs(30);
/// …and only after one in so many parts of the work.
const PARTS: u64 = 20;

/// Writes lines.
pub(super) struct Plain {
    talk: Talk,
    /// Absent: no lines of progress.
    progress: Option<Progress>,
    out: Out,
    began: Instant,
}

#[derive(Default)]
struct Progress {
    state: State,
    last: Duration,
    last_done: u64,
}

impl Plain {
    pub(super) fn new(talk: Talk, progress: bool, out: Box<dyn Write + Send>) -> Self {
        let progress = progress.then(Progress::default);
        Plain { talk, progress, out: Out::new(out), began: Instant::now() }
    }

    /// Hears an event, so long after the start.
    pub(super) fn event_at(&mut self, event: &Event, at: Duration) {
        let mut lines = self.talk.hear(event);
        lines.extend(self.progress.as_mut().and_then(|progress| progress.line(event, at)));
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
        if !matches!(event, Event::Counts(_)) || at < self.last + EVERY {
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
