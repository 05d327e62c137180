//! Shows a build to people and programs: a live block on a terminal, plain lines elsewhere, `--json` for programs.
//!
//! Hears [`Event`]s and writes to what it is given; never prints by itself, asks neither the environment nor the
//! terminal, and knows nothing of how a build is done. A writer that is gone (a closed pipe) is written to no more,
//! quietly: the build goes on. `docs/reference/events.md` describes the JSON stream.

mod bar;
pub mod ci;
mod json;
mod plain;
mod progress;
pub mod review;
pub mod run;
mod style;
mod summary;
mod talk;
#[cfg(test)]
mod tests;

use std::io::Write;

pub use crate::report::json::event_line;
pub use crate::report::progress::far;

use crate::model::event::{Event, Sink};
use crate::report::bar::Bar;
use crate::report::json::Json;
use crate::report::plain::Plain;
use crate::report::style::Style;
use crate::report::talk::Talk;

/// How the progress of a build is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere; with `--json` neither.
    #[default]
    Auto,
    /// The live block.
    Bar,
    /// Lines, no cursor movement.
    Plain,
    /// No progress; what is planned, failures and the summary all the same.
    None,
}

/// What is asked for, and what the other side can show.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line by that name")]
pub struct Mode {
    /// As `--progress` says.
    pub progress: Progress,
    /// The event stream on standard output. Words on standard error only if `progress` names a kind.
    pub json: bool,
    /// Only the failures at the end, and errors.
    pub quiet: bool,
    /// From 1 on: a line for every finished document.
    pub verbose: u8,
    /// One of many builds, of a few documents: not what was scanned and planned, unless it is to be verbose.
    pub brief: bool,
    /// Whether what goes to standard error may be coloured.
    pub colour: bool,
    /// Whether standard error is a terminal that can be drawn on (no CI, not a dumb one).
    pub terminal: bool,
    /// Columns of that terminal, if known.
    pub width: Option<usize>,
}

/// The sink for a build. `out` gets the JSON stream and nothing else, `err` all that is for people.
pub fn sink(mode: Mode, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Box<dyn Sink> {
    let talk = Talk::new(Style { colour: mode.colour }, mode.width, mode.quiet, mode.verbose)
        .briefly(mode.brief && mode.verbose == 0);
    let bar = match mode.progress {
        Progress::Auto => mode.terminal && !mode.json,
        Progress::Bar => true,
        Progress::Plain | Progress::None => false,
    };
    let words: Option<Box<dyn Sink>> =
        if mode.json && matches!(mode.progress, Progress::Auto | Progress::None) {
            None
        } else if bar && !mode.quiet {
            Some(Box::new(Bar::start(talk, mode.width, err)))
        } else {
            let progress = mode.progress != Progress::None && !mode.quiet;
            Some(Box::new(Plain::new(talk, progress, err)))
        };
    match (mode.json, words) {
        (false, Some(words)) => words,
        (true, Some(words)) => Box::new(Both(Json::new(out), words)),
        (_, None) => Box::new(Json::new(out)),
    }
}

/// The event stream into a file, and `inner` beside it.
pub fn with_events(file: Box<dyn Write + Send>, inner: Box<dyn Sink>) -> Box<dyn Sink> {
    Box::new(Both(Json::new(file), inner))
}

/// For programs and for people at once.
struct Both(Json, Box<dyn Sink>);

impl Sink for Both {
    fn event(&mut self, event: &Event) {
        self.0.event(event);
        // Before the end is told: nothing is read after that.
        if let Some(error) = self.0.take_error() {
            let text = crate::error::io_text(&error);
            let message = format!("the file of `--events` cannot be written: {text}; it is not whole");
            self.1.event(&Event::Notice { message, hint: None });
        }
        self.1.event(event);
    }
}

/// A writer that falls silent at the first error: of a terminal or a pipe there is nobody left to tell. Whoever has
/// another way asks for the error.
struct Out(std::result::Result<Box<dyn Write + Send>, Option<std::io::Error>>);

impl Out {
    fn new(writer: Box<dyn Write + Send>) -> Self {
        Out(Ok(writer))
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Ok(writer) = &mut self.0
            && !bytes.is_empty()
            && let Err(error) = writer.write_all(bytes).and_then(|()| writer.flush())
        {
            self.0 = Err(Some(error));
        }
    }

    /// The error, once.
    fn take_error(&mut self) -> Option<std::io::Error> {
        self.0.as_mut().err().and_then(Option::take)
    }
}
