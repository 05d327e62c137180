//! The only place that prints: stdout for data, stderr for talk; colour where it is wanted.
//!
//! Whoever reads stdout may close it early (`pipe ls … | head`): that is no error, and nothing more is printed.
//! `docs/reference/cli.md` has the flags that decide here.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use anstream::AutoStream;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;

use crate::cli::global::{Color, Global};
use crate::error::{Error, Result};
use crate::{env, report, sys, text};

/// The version of every JSON line.
const VERSION: u8 = 1;

/// How and where a command prints.
#[expect(clippy::struct_excessive_bools, reason = "flags that do not depend on each other")]
pub(super) struct Output {
    /// Never through anything that changes bytes: a document may hold them all.
    stdout: BufWriter<Stdout>,
    stderr: Box<dyn Write + Send>,
    json: bool,
    quiet: bool,
    colour: bool,
    live: bool,
    closed: bool,
}

/// One JSON line.
#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    v: u8,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    value: &'a T,
}

/// An error as data.
#[derive(Serialize)]
struct ErrorLine<'a> {
    exit: u8,
    message: &'a str,
    causes: &'a [String],
    hints: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<&'a str>,
}

impl Output {
    /// The output that the flags ask for.
    pub(super) fn new(global: &Global) -> Output {
        let colour = wanted(global.color, &io::stderr());
        Output {
            stdout: BufWriter::new(io::stdout()),
            stderr: Box::new(AutoStream::new(io::stderr(), choice(colour))),
            json: global.json,
            quiet: global.quiet,
            colour,
            live: io::stdout().is_terminal(),
            closed: false,
        }
    }

    /// Prints JSON lines instead of text.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether what is drawn for stderr may have colour.
    pub(super) fn talk_has_colour(&self) -> bool {
        self.colour && !self.json
    }

    /// A text for stdout; a line break is added.
    pub(super) fn line(&mut self, text: impl AsRef<str>) -> Result<()> {
        self.data(&[text.as_ref().as_bytes(), b"\n"])
    }

    /// Takes back the last lines that were printed, where that can be: on a terminal. Elsewhere an empty line follows them.
    pub(super) fn take_back(&mut self, lines: usize) -> Result<()> {
        if self.json {
            return Ok(());
        }
        if self.live { self.bytes(format!("\x1b[{lines}A\x1b[J").as_bytes()) } else { self.line("") }
    }

    /// How many columns there are for lines that are taken back later; nothing where none are.
    pub(super) fn width(&self) -> Option<usize> {
        let known = || env::columns().or_else(|| sys::columns(io::stdout()));
        (self.live && !self.json).then(known).flatten().filter(|width| *width > 0)
    }

    /// Bytes for stdout, as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.data(&[bytes])
    }

    /// A JSON line for stdout.
    pub(super) fn json_line(&mut self, kind: &str, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(&Line { v: VERSION, kind, value })
            .map_err(|e| Error::unfinished("cannot write this as JSON").caused_by(e))?;
        line.push(b'\n');
        self.data(&[&line])
    }

    /// Whether nobody reads stdout any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn data(&mut self, parts: &[&[u8]]) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let written = parts.iter().try_for_each(|part| self.stdout.write_all(part));
        let sent = if self.live { written.and_then(|()| self.stdout.flush()) } else { written };
        self.settle(sent)
    }

    /// Sends off what is still buffered: at the end, and where a reader follows.
    pub(super) fn flush(&mut self) -> Result<()> {
        let flushed = self.stdout.flush();
        self.settle(flushed)
    }

    fn settle(&mut self, done: io::Result<()>) -> Result<()> {
        match done {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(e) => {
                Err(Error::unfinished(format!("cannot write to stdout: {}", crate::error::io_text(&e))))
            }
        }
    }

    /// Talk, on stderr, unless it is to be quiet; a line break is added.
    pub(super) fn say(&mut self, text: impl AsRef<str>) {
        if !self.quiet {
            self.talk(&format!("{}\n", text.as_ref()));
        }
    }

    /// What must be seen, on stderr, as it is (it was drawn elsewhere).
    pub(super) fn drawn(&mut self, drawn: &str) {
        self.talk(drawn);
    }

    /// `warning: …`
    pub(super) fn warning(&mut self, text: impl AsRef<str>) {
        self.headed("warning", AnsiColor::Yellow, text.as_ref());
    }

    /// `hint: …`
    pub(super) fn hint(&mut self, text: impl AsRef<str>) {
        if !self.quiet {
            self.headed("hint", AnsiColor::Cyan, text.as_ref());
        }
    }

    /// An error with all that belongs to it; as a JSON line where that is asked for.
    pub(super) fn error(&mut self, error: &Error) {
        if self.json {
            let line = ErrorLine {
                exit: error.kind.exit_code(),
                message: &error.message,
                causes: &error.causes,
                hints: &error.hints,
                report: error.report.as_deref(),
            };
            // That it cannot be told on stdout changes nothing about how the command ends.
            drop(self.json_line("error", &line));
            return;
        }
        if let Some(report) = &error.report {
            self.talk(report);
            self.talk("\n");
        }
        self.headed("error", AnsiColor::Red, &text::printable(&error.message));
        for cause in &error.causes {
            self.talk(&format!("  caused by: {}\n", text::printable(cause)));
        }
        for hint in &error.hints {
            self.headed("hint", AnsiColor::Cyan, hint);
        }
    }

    fn headed(&mut self, head: &str, colour: AnsiColor, text: &str) {
        let style = Style::new().bold().fg_color(Some(colour.into()));
        self.talk(&format!("{style}{head}:{style:#} {text}\n"));
    }

    fn talk(&mut self, text: &str) {
        // What was printed before stands before it. A stdout that takes nothing is noticed by the next write.
        drop(self.stdout.flush());
        // Where stderr is closed there is nobody to tell.
        drop(self.stderr.write_all(text.as_bytes()));
    }

    /// Stdout and stderr for a command that hands them on (a build's report).
    pub(super) fn streams(&self) -> (Box<dyn Write + Send>, Box<dyn Write + Send>) {
        (Box::new(io::stdout()), Box::new(AutoStream::new(io::stderr(), choice(self.colour))))
    }

    /// Who shows a build as the flags ask.
    pub(super) fn build_report(&self, global: &Global) -> Box<dyn crate::model::event::Sink> {
        self.build_report_of(global, false)
    }

    /// The same; `brief`: one of many builds, of a few documents.
    pub(super) fn build_report_of(&self, global: &Global, brief: bool) -> Box<dyn crate::model::event::Sink> {
        let (out, err) = self.streams();
        let progress = match global.progress {
            crate::cli::global::Progress::Auto => report::Progress::Auto,
            crate::cli::global::Progress::Bar => report::Progress::Bar,
            crate::cli::global::Progress::Plain => report::Progress::Plain,
            crate::cli::global::Progress::None => report::Progress::None,
        };
        let mode = report::Mode {
            progress,
            json: self.json,
            quiet: self.quiet,
            verbose: global.verbose,
            brief,
            colour: self.colour,
            terminal: Self::is_watched(),
            width: env::columns().or_else(|| sys::columns(io::stderr())),
        };
        report::sink(mode, out, err)
    }

    /// Whether people watch stderr live; a CI job does not.
    pub(super) fn is_watched() -> bool {
        io::stderr().is_terminal() && !env::is_ci()
    }
}

/// The command line itself is wrong.
pub(super) fn usage(error: &clap::Error, json: bool) {
    if json {
        let mut out = Output::new(&Global { json, ..Global::default() });
        out.error(&usage_as_data(error));
        drop(out.flush());
    } else {
        drop(error.print());
    }
}

/// Help or the version, on stdout; that nobody reads it is no error.
pub(super) fn help(text: &clap::Error) {
    drop(text.print());
}

fn usage_as_data(error: &clap::Error) -> Error {
    let text = error.to_string();
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or("the command line is wrong");
    let mut data = Error::usage(first.strip_prefix("error: ").unwrap_or(first));
    let told = lines.map(str::trim).filter_map(|line| line.strip_prefix("tip: "));
    data.hints.extend(told.map(str::to_owned));
    data
}

/// A panic of `pipe` itself. Written at once, past everything that may be locked.
pub(super) fn bug(what: &str) {
    let text = format!(
        "error: pipe has a bug: {what}\n  What was done is kept. Please report this in the project's issue tracker,\n  \
         with these lines and with what `pipe --version` says.\n"
    );
    drop(io::stderr().write_all(text.as_bytes()));
}

fn wanted(colour: Color, stream: &impl anstream::stream::RawStream) -> bool {
    match colour {
        Color::Auto => AutoStream::choice(stream) != anstream::ColorChoice::Never,
        Color::Always => true,
        Color::Never => false,
    }
}

fn choice(colour: bool) -> anstream::ColorChoice {
    if colour { anstream::ColorChoice::Always } else { anstream::ColorChoice::Never }
}
