//! `pipe ls`: the documents of a stream.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::engine::matching::Unmatched;
use crate::env;
use crate::error::{Error, Result};
use crate::model::folder;
use crate::project::Project;
use crate::query::ls::{Ask, Listed, state};
use crate::query::{Answer, Question};
use crate::report::review::Review;
use crate::text::{self, count};

/// List the documents of a target or a source
#[derive(clap::Args)]
pub(super) struct Args {
    /// A target or a source
    #[arg(value_name = "TARGET")]
    stream: String,

    /// Only documents whose id the glob matches
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,

    /// Only documents that pass: `meta.lang=en`, `size=>10MB`; several must all pass
    #[arg(long = "where", value_name = "FIELD=TEST")]
    tests: Vec<String>,

    /// Only documents in this state: done, skipped, left-out, failed, blocked, unfinished, absent
    #[arg(long, value_name = "STATE")]
    state: Option<String>,

    /// Print what an `all` function gets: a JSON line a document, with its content
    #[arg(long, conflicts_with = "json")]
    manifest: bool,

    /// Only so many documents, chosen by a hash of their ids: the same ones each time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    sample: Option<u64>,

    /// Write one HTML page with what went in beside what came out, and show it; without `--sample` of 50 documents
    #[arg(long, conflicts_with = "manifest")]
    open: bool,

    /// Instead: who has no match in a `with … on`, on both sides
    #[arg(long, conflicts_with_all = ["manifest", "open", "sample", "tests", "state"])]
    unmatched: bool,
}

/// So many documents are on a page where nothing else is said.
const PAGE: u64 = 50;

/// The page, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    path: &'a Path,
    documents: u64,
    opened: bool,
}

/// So many lines are looked at to see how wide they are.
const FIRST: usize = 500;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let ask = Ask {
            stream: self.stream.clone(),
            docs: self.docs.clone(),
            tests: self.tests.clone(),
            state: self.state.as_deref().map(state).transpose()?,
            manifest: self.manifest,
            sample: self.sample.or(self.open.then_some(PAGE)),
            pairs: self.open,
            unmatched: self.unmatched,
        };
        let project = ask::project(global, out)?;
        if self.open {
            return self.page(&project, ask, out);
        }
        let (mut table, mut any, mut is_closed) = (Table::default(), false, false);
        let asked = ask::ask(&project, &Question::Ls(ask), out, &mut |out, answer| {
            any = true;
            match answer {
                Answer::Manifest { line } => out.line(line)?,
                Answer::Document(listed) if out.is_json() => out.json_line("document", &listed)?,
                Answer::Document(listed) => table.add(*listed, out)?,
                Answer::Unmatched(one) if out.is_json() => out.json_line("unmatched", &one)?,
                Answer::Unmatched(one) => out.line(unmatched(&one))?,
                _ => {}
            }
            is_closed = out.is_closed();
            // Nobody reads on: the rest need not be looked for.
            if is_closed { Err(Error::unfinished("stdout is closed")) } else { Ok(()) }
        });
        if !is_closed {
            asked?;
        }
        table.flush(out)?;
        if any || self.manifest {
            return Ok(Exit::FINE);
        }
        if self.unmatched && self.docs.is_none() {
            out.say(format!("every document of `{}` and of its side inputs has a match", self.stream));
            return Ok(Exit::FINE);
        }
        Err(self.nothing())
    }

    /// Writes the page, and shows it where there is somebody to see it.
    fn page(&self, project: &Project, ask: Ask, out: &mut Output) -> Result<Exit> {
        let mut pairs = Vec::new();
        let size = ask.sample.unwrap_or(PAGE);
        ask::ask(project, &Question::Ls(ask), out, &mut |_, answer| {
            if let Answer::Pair(pair) = answer {
                pairs.push(*pair);
            }
            Ok(())
        })?;
        if pairs.is_empty() {
            return Err(self.nothing());
        }
        let documents = pairs.len() as u64;
        let all = if documents < size { "" } else { ", chosen by a hash of their ids" };
        let headline = format!(
            "{}{all}. On the left what went in, on the right what came out.",
            count(documents, "document")
        );
        let mut page = Review::new(&self.stream, &headline);
        pairs.iter().for_each(|pair| page.add(pair));
        let folder = project.store_dir.join(FOLDER);
        let path = folder.join(format!("{}.html", self.stream));
        crate::fs::create_dir(&folder)?;
        let new = folder.join(format!("{}.{}.new", self.stream, std::process::id()));
        crate::fs::replace(&path, &new, page.end().as_bytes())?;
        let opened = show(&path);
        if out.is_json() {
            out.json_line("page", &Told { path: &path, documents, opened })?;
        } else {
            let named = path.strip_prefix(&project.place.here).unwrap_or(&path);
            out.line(named.display().to_string())?;
            if !opened {
                out.hint("there is no desktop here: open that file in a browser");
            }
        }
        Ok(Exit::FINE)
    }

    fn nothing(&self) -> Error {
        let is_narrowed = self.docs.is_some() || !self.tests.is_empty() || self.state.is_some();
        if is_narrowed {
            return Error::no_match(format!("no document of `{}` is like that", self.stream))
                .hint(format!("pipe ls {}      lists all of them", self.stream));
        }
        Error::no_match(format!("`{}` has no documents yet", self.stream)).hint("pipe build")
    }
}

/// Where pages lie in the store.
const FOLDER: &str = "review";

/// Asks the desktop to show a file; false where there is none. What becomes of that is the desktop's.
fn show(path: &Path) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if !cfg!(target_os = "macos") && !env::has_desktop() {
        return false;
    }
    let mut command = Command::new(program);
    command.arg(path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().is_ok()
}

fn unmatched(one: &Unmatched) -> String {
    let Unmatched { with, stream, doc, other, value, uncertain } = one;
    let value = match value {
        Some(value) => format!("its value is {value}"),
        None => "it has no value".to_owned(),
    };
    let what = match (other, uncertain) {
        (false, _) => format!("no `{with}`: {value}"),
        (true, false) => format!("of {stream}, no use as `{with}`: {value}"),
        (true, true) => format!("of {stream}, no use as `{with}` yet: {value}"),
    };
    text::printable(&format!("{doc}  {what}"))
}

/// Lines in columns, as wide as the first of them need.
#[derive(Default)]
struct Table {
    first: Vec<Listed>,
    width: Option<usize>,
}

impl Table {
    fn add(&mut self, listed: Listed, out: &mut Output) -> Result<()> {
        if self.width.is_some() {
            return self.print(&listed, out);
        }
        self.first.push(listed);
        if self.first.len() >= FIRST { self.flush(out) } else { Ok(()) }
    }

    fn flush(&mut self, out: &mut Output) -> Result<()> {
        let widest = self.first.iter().map(|listed| listed.id.chars().count()).max();
        self.width.get_or_insert(widest.unwrap_or(0).min(72));
        let first = std::mem::take(&mut self.first);
        first.iter().try_for_each(|listed| self.print(listed, out))
    }

    fn print(&self, listed: &Listed, out: &mut Output) -> Result<()> {
        out.line(row(listed, self.width.unwrap_or_default()))
    }
}

fn row(listed: &Listed, width: usize) -> String {
    let size = listed.size.map(text::size).unwrap_or_default();
    let ext = match listed.ext.as_deref().unwrap_or_default() {
        folder::EXT => "folder",
        ext => ext,
    };
    let more = match &listed.failure {
        Some(failure) => match &failure.place {
            Some(place) => format!("{} ({place})", failure.summary()),
            None => failure.summary(),
        },
        None => listed.note.clone(),
    };
    let line = format!("{:width$}  {:<10}  {ext:<5} {size:>10}  {}", listed.id, listed.state.word(), more);
    text::printable(line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::State;
    use crate::model::failure::{Failure, FailureKind};

    fn listed(id: &str, state: State) -> Listed {
        let (ext, size, digest, failure, note) = (None, None, None, None, String::new());
        Listed { id: id.into(), state, ext, size, digest, failure, note }
    }

    #[test]
    fn a_row_says_how_a_document_stands() {
        let done = Listed { ext: Some("txt".into()), size: Some(2048), ..listed("in/a.pdf", State::Done) };
        assert_eq!(row(&done, 10), "in/a.pdf    done        txt      2.0 KiB");
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "no\x1b[2J");
        failure.place = Some("modules/a.py:3".into());
        let failed = Listed { failure: Some(failure), ..listed("in/b.pdf", State::Failed) };
        assert_eq!(
            row(&failed, 8),
            "in/b.pdf  failed                        ValueError: no\\u{1b}[2J (modules/a.py:3)"
        );
    }
}
