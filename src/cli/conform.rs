//! `pipe conform`: whether a worker speaks the protocol, check by check.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::selection::parse_age;
use crate::module::conform::{Check, State, Subject, examine};
use crate::pipelinefile::words;
use crate::text;

/// The document where none is named.
const TEXT: &str = "First line.\nA second one, a little longer.\n";

/// Check whether a worker in any language speaks the protocol
///
/// Starts the program as a build would, and holds what it says against docs/reference/worker-protocol.md: the handshake,
/// documents in every form, several in hand, errors, unknown frames, the end. What it makes of documents is its own
/// affair: an answer may be an error. Needs no project. Exit code 1 if a check fails.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A document that it can read, instead of two lines of text
    #[arg(long, value_name = "FILE")]
    doc: Option<PathBuf>,

    /// A param of its setup; the value is JSON, or else a text
    #[arg(long, value_name = "NAME=VALUE")]
    param: Vec<String>,

    /// Ask it for children, as a target with `split` does
    #[arg(long)]
    split: bool,

    /// How long an answer may take (the start: a minute)
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = patience)]
    timeout: Duration,

    /// The program and its arguments, as in `cmd`
    #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

fn patience(text: &str) -> std::result::Result<Duration, String> {
    parse_age(text)
        .filter(|time| !time.is_zero())
        .ok_or_else(|| "a time has a number and a unit: 30s, 2m".to_owned())
}

#[derive(Serialize)]
struct Summary {
    checks: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let root = global.directory.clone().unwrap_or_else(|| PathBuf::from("."));
        let root = root.canonicalize().map_err(|e| Error::io("work in", &root, &e))?;
        let scratch = Scratch::new()?;
        let (text, ext) = match &self.doc {
            None => (TEXT.as_bytes().to_vec(), "txt".to_owned()),
            Some(path) => {
                let path = global.beside(path);
                let ext =
                    path.extension().map_or_else(String::new, |ext| ext.to_string_lossy().to_lowercase());
                (crate::fs::read(&path)?, ext)
            }
        };
        // One word with blanks is a command line, as it stands in a Pipelinefile.
        let words = match self.command.as_slice() {
            [one] => words(one).ok_or_else(|| Error::usage("the command has a quote that is not closed"))?,
            several => several.to_vec(),
        };
        let subject = Subject {
            words,
            root,
            folder: scratch.0.clone(),
            text,
            ext,
            params: self.params()?,
            split: self.split,
            patience: self.timeout,
        };
        let checks = examine(&subject)?;
        let count = |state| checks.iter().filter(|check| check.state == state).count();
        let sum = Summary {
            checks: checks.len(),
            passed: count(State::Passed),
            failed: count(State::Failed),
            skipped: count(State::Skipped),
        };
        if out.is_json() {
            checks.iter().try_for_each(|check| out.json_line("check", check))?;
            out.json_line("summary", &sum)?;
        } else {
            checks.iter().try_for_each(|check| show(check, out))?;
            let skipped =
                if sum.skipped > 0 { format!(", {} do not concern it", sum.skipped) } else { String::new() };
            out.say(format!("{} of {} passed{skipped}", sum.passed, text::count(sum.checks as u64, "check")));
            if sum.failed > 0 {
                out.hint("docs/reference/worker-protocol.md     says what each frame is");
            }
        }
        Ok(if sum.failed > 0 { Exit::FAILED } else { Exit::FINE })
    }

    fn params(&self) -> Result<BTreeMap<String, Value>> {
        let one = |written: &String| match written.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                Ok((name.to_owned(), value))
            }
            _ => Err(Error::usage(format!("`--param {written}` is no NAME=VALUE"))),
        };
        self.param.iter().map(one).collect()
    }
}

fn show(check: &Check, out: &mut Output) -> Result<()> {
    let word = match check.state {
        State::Passed => "passed",
        State::Failed => "FAILED",
        State::Skipped => "-",
    };
    out.line(format!("  {word:<7} {:<10} {}", check.name, check.expected))?;
    let below = |what: &str| text::printable(&format!("          {:<10} {what}", ""));
    if !check.got.is_empty() {
        let head = if check.state == State::Failed { "but: " } else { "" };
        out.line(below(&format!("{head}{}", check.got)))?;
    }
    for line in &check.lines {
        out.line(below(line))?;
    }
    for line in &check.log {
        out.line(below(&format!("log: {line}")))?;
    }
    Ok(())
}

/// A folder for the time of the examination.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let folder = std::env::temp_dir().join(format!("pipe-conform-{}", std::process::id()));
        crate::fs::remove_dir(&folder)?;
        crate::fs::create_dir(&folder)?;
        let found: &Path = &folder;
        Ok(Scratch(found.canonicalize().map_err(|e| Error::io("find", found, &e))?))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is the system's to clean.
        drop(crate::fs::remove_dir(&self.0));
    }
}
