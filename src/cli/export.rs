//! `pipe export`: the documents of a stream as a table, or as files that nobody owns.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::interrupt;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::export::{Exported, Files, Format, Reader, Table};
use crate::project::Project;
use crate::query::ls::{Ask, state};
use crate::query::{Answer, Question};
use crate::text;

/// Write the documents of a target or a source as a table, or as files
///
/// The table is the one that `load("TARGET").frame()` gives in Python: id, meta.*, the top-level fields of JSON results,
/// state; one row a document. It is replaced when the new one is whole. A folder gets a file a document; `pipe` owns
/// neither, and never looks at them again.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A target or a source
    #[arg(value_name = "TARGET")]
    stream: String,

    /// Where to: x.jsonl, x.csv, x.parquet, a folder, or `-` for stdout
    #[arg(short, long, value_name = "FILE|DIR|-")]
    output: PathBuf,

    /// jsonl, csv, parquet, files; without it, as the name ends
    #[arg(long, value_name = "FORMAT", value_parser = format)]
    format: Option<Format>,

    /// Only documents whose id the glob matches
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,

    /// Only documents that pass: `meta.lang=en`, `size=>10MB`; several must all pass
    #[arg(long = "where", value_name = "FIELD=TEST")]
    tests: Vec<String>,

    /// Only documents in this state: done, skipped, left-out, failed, blocked, unfinished
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

fn format(text: &str) -> std::result::Result<Format, String> {
    let known = Format::ALL.iter().find(|(_, word)| *word == text);
    known.map(|(format, _)| *format).ok_or_else(|| "one of jsonl, csv, parquet, files".to_owned())
}

/// As JSON.
#[derive(Serialize)]
struct Told<'a> {
    path: &'a Path,
    format: &'static str,
    documents: u64,
    columns: u64,
    /// Documents without a result, of which no file was written.
    without: u64,
    no_json: u64,
    damaged: u64,
    /// Documents of which no file could be written.
    unwritten: u64,
}

enum Work {
    Table(Table),
    Files(Files),
}

/// So many documents are named in a warning.
const NAMED: usize = 3;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let format = self.format()?;
        let is_stdout = self.is_stdout();
        if is_stdout && out.is_json() {
            return Err(Error::usage("`-o -` and `--json` both write to stdout")
                .hint("pipe export … -o - --format jsonl    is JSON already"));
        }
        let ask = Ask {
            stream: self.stream.clone(),
            docs: self.docs.clone(),
            tests: self.tests.clone(),
            state: self.state.as_deref().map(state).transpose()?,
            manifest: true,
            ..Ask::default()
        };
        let project = ask::project(global, out)?;
        let full = project.place.here.join(&self.output);
        if !is_stdout {
            self.check_place(&project, &full, format)?;
        }
        let is_source = project.pipeline().find_source(&self.stream).is_some();
        let mut reader = Reader { is_source, ..Reader::default() };
        let mut work = None;
        let interrupts = interrupt::watch()?;
        let mut is_closed = false;
        let asked = ask::ask(&project, &Question::Ls(ask), out, &mut |out, answer| {
            let Answer::Manifest { line } = answer else { return Ok(()) };
            if interrupts.seen().is_some() {
                return Err(Error::unfinished("stopped"));
            }
            let work = match &mut work {
                Some(work) => work,
                None => work.insert(match format {
                    Format::Files => Work::Files(Files::begin(&full, is_source)?),
                    _ => Work::Table(Table::begin(format, (!is_stdout).then_some(full.as_path()))?),
                }),
            };
            match work {
                Work::Files(files) => files.add(&line, &mut reader)?,
                Work::Table(table) => table.add(&line, &mut reader, &mut |bytes| out.bytes(bytes))?,
            }
            is_closed = out.is_closed();
            // Nobody reads on: the rest need not be looked for.
            if is_closed { Err(Error::unfinished("stdout is closed")) } else { Ok(()) }
        });
        if let Some((signal, _)) = interrupts.seen() {
            return Ok(Exit(128 + signal as u8));
        }
        if is_closed {
            return Ok(Exit::FINE);
        }
        asked?;
        let Some(work) = work else { return Err(self.nothing()) };
        let (mut without, mut unwritten) = (0, Vec::new());
        let exported = match work {
            Work::Files(mut files) => {
                without = files.without;
                unwritten = std::mem::take(&mut files.unwritten);
                files.end()
            }
            Work::Table(table) => table.end(&mut |bytes| out.bytes(bytes))?,
        };
        self.tell(format, exported, (without, &unwritten), &reader, out)
    }

    fn is_stdout(&self) -> bool {
        self.output == Path::new("-")
    }

    fn format(&self) -> Result<Format> {
        let is_stdout = self.is_stdout();
        let format = match self.format {
            Some(Format::Files) if is_stdout => {
                return Err(Error::usage("files cannot go to stdout").hint("pipe export … -o DIR"));
            }
            Some(format) => format,
            None if is_stdout => {
                return Err(Error::usage("`-o -` needs a format").hint("--format jsonl, csv or parquet"));
            }
            None => Format::of_path(&self.output).ok_or_else(|| {
                Error::usage(format!("`{}` has an ending that says no format", self.output.display()))
                    .hint("x.jsonl, x.csv, x.parquet, or a folder; --format says it too")
            })?,
        };
        if format.is_built() {
            return Ok(format);
        }
        Err(Error::usage(format!("this pipe was built without `{}`", format.word()))
            .hint("cargo install pipelinefile    builds it with all formats"))
    }

    /// An export never goes into the store, and never in place of something of another kind.
    fn check_place(&self, project: &Project, full: &Path, format: Format) -> Result<()> {
        let shown = self.output.display();
        let present = full.ancestors().find_map(|above| above.canonicalize().ok());
        let store = project.store_dir.canonicalize().unwrap_or_else(|_| project.store_dir.clone());
        let is_in_store = full.starts_with(&project.store_dir)
            || present.is_some_and(|present| present.starts_with(&store));
        if is_in_store {
            return Err(Error::usage(format!("`{shown}` lies in the store, where nothing is exported to"))
                .hint("name a place elsewhere"));
        }
        let is_table = format != Format::Files;
        // Links are followed: what counts is what would be written over.
        let real = |path: &Path| {
            let there =
                |above: &Path| Some((above.canonicalize().ok()?, path.strip_prefix(above).ok()?.to_owned()));
            path.ancestors().find_map(there).map_or_else(|| path.to_owned(), |(above, rest)| above.join(rest))
        };
        let place = real(full);
        if is_table && place == real(&project.place.file) {
            return Err(Error::usage(format!("`{shown}` is the Pipelinefile")).hint("name another file"));
        }
        let mut sources = project.pipeline().sources.iter();
        if let Some(source) = sources.find(|source| {
            let roots = crate::scan::Roots::open(source);
            roots.holds(&place) || (!is_table && roots.lies_in(&place))
        }) {
            let message =
                format!("documents of `{}` lie in `{shown}`: an export could write over them", source.name);
            return Err(Error::usage(message).hint("name a folder of its own"));
        }
        if is_table && full.is_dir() {
            return Err(Error::usage(format!("`{shown}` is a folder, not a file for `{}`", format.word())));
        }
        if !is_table && full.exists() && !full.is_dir() {
            return Err(Error::usage(format!("`{shown}` is a file, not a folder")));
        }
        Ok(())
    }

    fn tell(
        &self,
        format: Format,
        exported: Exported,
        (without, unwritten): (u64, &[(String, String)]),
        reader: &Reader,
        out: &mut Output,
    ) -> Result<Exit> {
        let Exported { documents, columns } = exported;
        if out.is_json() {
            let told = Told {
                path: &self.output,
                format: format.word(),
                documents,
                columns,
                without,
                no_json: reader.no_json.len() as u64,
                damaged: reader.damaged.len() as u64,
                unwritten: unwritten.len() as u64,
            };
            out.json_line("export", &told)?;
        } else if !self.is_stdout() {
            let count = text::count(documents, "document");
            let beside = match format {
                Format::Files if without > 0 => format!("; {} without a result", text::thousands(without)),
                Format::Files => String::new(),
                _ => format!(", {}", text::count(columns, "column")),
            };
            let path = text::printable(&self.output.to_string_lossy());
            out.say(format!("Exported  {count} to {path}{beside}"));
        }
        if let Some(named) = named(&reader.no_json) {
            out.warning(format!("{named} no JSON inside: without fields"));
        }
        for (id, why) in unwritten.iter().take(NAMED) {
            out.warning(format!("{} was not written: {}", text::printable(id), text::printable(why)));
        }
        if unwritten.len() > NAMED {
            out.warning(format!("and {} more", text::thousands((unwritten.len() - NAMED) as u64)));
        }
        if let Some(named) = named(&reader.damaged) {
            out.warning(format!("{named} not what the result was any more: without content"));
            out.hint("pipe build     makes it again");
            return Ok(Exit::FAILED);
        }
        Ok(if unwritten.is_empty() { Exit::FINE } else { Exit::FAILED })
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

/// `3 documents (a, b, …) have`
fn named(documents: &[String]) -> Option<String> {
    let first: Vec<String> = documents.iter().take(NAMED).map(|id| text::printable(id)).collect();
    let more = if documents.len() > NAMED { ", …" } else { "" };
    match documents.len() {
        0 => None,
        1 => Some(format!("{} is", first.join(""))),
        n => Some(format!("{} ({}{more}) are", text::count(n as u64, "document"), first.join(", "))),
    }
}
