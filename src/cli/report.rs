//! `pipe report`: runs, one run in numbers, two compared, and the Pipelinefile that each ran.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::ask::{self, RunNumber};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::log::command;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::model::action::{Ended, Run};
use crate::project::Project;
use crate::query::report::RunReport;
use crate::query::{Answer, Question};
use crate::report::run as shown;
use crate::store::kept_pipelinefile;
use crate::text;

/// List runs; tell of one in numbers, compare two, show what they ran
///
/// Without RUN: all runs. With it: per target how much was done, hits, failures, how long it took (p50, p95, p99), what
/// it counted, the slowest documents. Each run keeps the Pipelinefile that it ran.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A run: a number, or `last`
    #[arg(value_name = "RUN", value_parser = ask::run_number)]
    run: Option<RunNumber>,

    /// What RUN is compared with: the run before
    #[arg(long, value_name = "RUN", value_parser = ask::run_number, requires = "run")]
    compare: Option<RunNumber>,

    /// How to tell it [default: text]
    #[arg(long, value_name = "FORMAT", requires = "run")]
    format: Option<Format>,

    /// Write it to a file
    #[arg(short, long, value_name = "FILE", requires = "run")]
    output: Option<PathBuf>,

    /// The Pipelinefile that it ran; with `--compare`, what differs
    #[arg(long, requires = "run", conflicts_with = "format")]
    pipelinefile: bool,

    /// Put the Pipelinefile that it ran back in its place; the present one is kept beside it
    #[arg(long, requires = "run", conflicts_with_all = ["format", "compare", "output", "pipelinefile"])]
    restore: bool,
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Text,
    /// Markdown
    Md,
    /// One page that needs nothing else, with a picture of throughput
    Html,
    /// `JUnit` XML: a suite per target, a case per failed document; compared, only what failed anew is a failure
    Junit,
    /// All numbers
    Json,
    /// A trace for ui.perfetto.dev; compared, both runs from their begin
    Perfetto,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let is_of_files = self.run.is_none() || self.restore || self.pipelinefile;
        let project = if is_of_files {
            // Whoever has spoiled the present one wants an earlier one.
            Project::for_runs(&global.locate(out.talk_has_colour()))?
        } else {
            ask::project(global, out)?
        };
        let (runs, ended) = runs(&project, out)?;
        let Some(wanted) = self.run else { return list(&project, &runs, &ended, out) };
        let run = find(&runs, wanted)?;
        let other = self.compare.map(|other| find(&runs, other)).transpose()?;
        if self.restore {
            return restore(&project, run, out);
        }
        if self.pipelinefile {
            let text = of_pipelinefiles(&project, run, other, out.is_json())?;
            return self.give(global, &text, out);
        }
        let format = match (out.is_json(), self.format) {
            (true, None) => Format::Json,
            (true, Some(format)) if format != Format::Json => {
                return Err(Error::usage("`--json` is `--format json`: leave one of the two out"));
            }
            (_, format) => format.unwrap_or(Format::Text),
        };
        if format == Format::Perfetto {
            return self.trace(&project, global, run, other, out);
        }
        let report = numbers(&project, run.number, out)?;
        let before = other.map(|other| numbers(&project, other.number, out)).transpose()?;
        let text = match (format, &before) {
            (Format::Json, _) => as_json(before.iter().chain([&report]))?,
            (Format::Text, None) => shown::text(&report),
            (Format::Text, Some(before)) => shown::text_of_two(&report, before),
            (Format::Md, None) => shown::markdown(&report),
            (Format::Md, Some(before)) => shown::markdown_of_two(&report, before),
            (Format::Html, _) => {
                let of = |run: &Run| {
                    let ran = kept_pipelinefile(&project.store_dir, &run.pipelinefile)?;
                    Ok::<_, Error>((command(&run.command), ran))
                };
                let (words, ran) = of(run)?;
                let this = (&report, words.as_str(), ran.as_deref());
                match &before {
                    None => shown::html(this.0, this.1, this.2),
                    Some(before) => {
                        let (words, ran) = of(&before.run)?;
                        shown::html_of_two(this, (before, &words, ran.as_deref()))
                    }
                }
            }
            (Format::Junit | Format::Perfetto, None) => shown::junit(&report),
            (Format::Junit | Format::Perfetto, Some(before)) => shown::junit_of_two(&report, before),
        };
        self.give(global, &text, out)
    }

    /// Prints a text, or writes it to the file.
    fn give(&self, global: &Global, text: &str, out: &mut Output) -> Result<Exit> {
        match &self.output {
            None => out.bytes(text.as_bytes())?,
            Some(file) => write(&global.beside(file), text)?,
        }
        Ok(Exit::FINE)
    }

    /// A trace; compared with another run, both in one, as if they had begun together.
    fn trace(
        &self,
        project: &Project,
        global: &Global,
        run: &Run,
        other: Option<&Run>,
        out: &mut Output,
    ) -> Result<Exit> {
        let (mut trace, mut text) = shown::Perfetto::begin(run.number, &command(&run.command));
        if other.is_some() {
            trace = trace.from(run.start);
        }
        self.trace_run(project, run, &mut trace, &mut text, out)?;
        if let Some(other) = other {
            let (mut beside, name) = trace.beside(other.number, other.start, &command(&other.command));
            text.push_str(&name);
            self.trace_run(project, other, &mut beside, &mut text, out)?;
        }
        text.push_str(shown::Perfetto::end());
        self.give(global, &text, out)
    }

    fn trace_run(
        &self,
        project: &Project,
        run: &Run,
        trace: &mut shown::Perfetto,
        text: &mut String,
        out: &mut Output,
    ) -> Result<()> {
        let question = Question::Run { run: Some(run.number), target: None };
        let to_file = self.output.is_some();
        ask::ask(project, &question, out, &mut |out, answer| {
            if let Answer::Action(action) = answer {
                text.push_str(&trace.action(&action));
                if !to_file {
                    out.bytes(std::mem::take(text).as_bytes())?;
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// A line for each run.
fn as_json<'a>(reports: impl Iterator<Item = &'a RunReport>) -> Result<String> {
    let mut text = String::new();
    for report in reports {
        let json = serde_json::to_string(report)
            .map_err(|e| Error::unfinished("cannot write this as JSON").caused_by(e))?;
        text.push_str(&json.replacen('{', "{\"v\":1,\"type\":\"report\",", 1));
        text.push('\n');
    }
    Ok(text)
}

/// What a run ran; compared with another, what differs.
fn of_pipelinefiles(project: &Project, run: &Run, other: Option<&Run>, as_json: bool) -> Result<String> {
    let text = kept(project, run)?;
    let number = run.number;
    let line = |value: serde_json::Value| value.to_string() + "\n";
    let Some(other) = other else {
        let value = serde_json::json!({ "v": 1, "type": "pipelinefile", "run": number, "text": text });
        return Ok(if as_json { line(value) } else { text });
    };
    let lines = shown::difference(&kept(project, other)?, &text);
    if as_json {
        let other = other.number;
        let kind = "pipelinefile-difference";
        return Ok(line(
            serde_json::json!({ "v": 1, "type": kind, "run": number, "other": other, "lines": lines }),
        ));
    }
    if lines.is_empty() {
        return Ok(format!("run {} and run {number} ran the same Pipelinefile\n", other.number));
    }
    Ok(lines.iter().map(|line| text::printable(line) + "\n").collect())
}

fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        crate::fs::create_dir(folder)?;
    }
    crate::fs::write_scratch(file, text.as_bytes())
}

/// All runs that recorded anything, and how they ended.
fn runs(project: &Project, out: &mut Output) -> Result<(Vec<Run>, HashMap<u32, Ended>)> {
    match ask::ask_one(project, &Question::Runs, out)?.0 {
        Some(Answer::Runs { runs, ended }) => {
            Ok((runs, ended.into_iter().map(|ended| (ended.run, ended)).collect()))
        }
        _ => Err(Error::unfinished("this is no list of runs")),
    }
}

fn find(runs: &[Run], wanted: RunNumber) -> Result<&Run> {
    let found = match wanted {
        RunNumber::Last => runs.last(),
        RunNumber::Number(number) => runs.iter().find(|run| run.number == number),
    };
    found.ok_or_else(|| match wanted {
        RunNumber::Last => Error::no_match("no run has recorded anything yet").hint("pipe build"),
        RunNumber::Number(number) => {
            let message = format!("there is no run {number}: it wrote nothing, or was collected");
            Error::no_match(message).hint("pipe report      lists all runs")
        }
    })
}

fn numbers(project: &Project, run: u32, out: &mut Output) -> Result<RunReport> {
    match ask::ask_one(project, &Question::Report { run: Some(run) }, out)?.0 {
        Some(Answer::Report(report)) => Ok(*report),
        _ => Err(Error::unfinished("this is no report of a run")),
    }
}

fn kept(project: &Project, run: &Run) -> Result<String> {
    kept_pipelinefile(&project.store_dir, &run.pipelinefile)?.ok_or_else(|| {
        Error::no_match(format!("the Pipelinefile of run {} was not kept", run.number))
            .hint("runs of earlier versions of pipe, and of `pipe redo`, keep none")
    })
}

#[derive(Serialize)]
struct RunLine<'a> {
    #[serde(flatten)]
    run: &'a Run,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<&'a Ended>,
}

/// What came of a run, in a few words.
fn outcome(run: &Run, ended: &Ended) -> String {
    let took = text::duration(ended.time.since(run.start));
    let counts = [(ended.built, "built"), (ended.reused, "reused"), (ended.failed, "failed")];
    let counts = counts.iter().filter(|(n, _)| *n > 0);
    let mut parts: Vec<String> = counts.map(|(n, word)| format!("{} {word}", text::thousands(*n))).collect();
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, count) in ended.counted.values().flatten() {
        *sums.entry(name).or_default() += count;
    }
    parts.extend((!sums.is_empty()).then(|| text::amounts(sums)));
    if !ended.why.is_empty() {
        parts.push(format!("did not finish: {}", ended.why.lines().next().unwrap_or_default()));
    }
    format!("  {took}: {}", if parts.is_empty() { "nothing built".to_owned() } else { parts.join(", ") })
}

/// The runs, the newest last.
fn list(project: &Project, runs: &[Run], ended: &HashMap<u32, Ended>, out: &mut Output) -> Result<Exit> {
    if out.is_json() {
        for run in runs {
            let line = RunLine { run, ended: ended.get(&run.number) };
            out.json_line("run", &line)?;
        }
        return Ok(Exit::FINE);
    }
    let width = runs.iter().map(|run| run.number.to_string().len()).max().unwrap_or_default();
    let mut before = None;
    for run in runs {
        let is_new = before.is_some_and(|before| before != run.pipelinefile);
        before = Some(run.pipelinefile);
        let mark = if is_new { "  (another Pipelinefile)" } else { "" };
        let host = if run.host.is_empty() { String::new() } else { format!("  {}", run.host) };
        let words = command(&run.command);
        let when = run.start.date_time();
        let end = ended.get(&run.number).map_or_else(String::new, |ended| outcome(run, ended));
        let line = format!("{:>width$}  {when}{host}  {words}{end}{mark}", run.number);
        out.line(text::printable(&line))?;
    }
    if before.is_some_and(|before| before != project.loaded.digest) {
        out.say("the Pipelinefile was edited since the last run: pipe check, pipe status");
    }
    Ok(Exit::FINE)
}

/// Puts a Pipelinefile back.
fn restore(project: &Project, run: &Run, out: &mut Output) -> Result<Exit> {
    let text = kept(project, run)?;
    let file = &project.place.file;
    let present = crate::fs::read(file)?;
    if present == text.as_bytes() {
        out.say(format!("the Pipelinefile is that of run {} already", run.number));
        return Ok(Exit::FINE);
    }
    // Hidden, so that it is no document of a source.
    let beside = |ending: &str| {
        let name = file.file_name().unwrap_or_default().display();
        file.with_file_name(format!(".{name}.{ending}"))
    };
    // What an earlier `--restore` put aside may be nowhere else.
    let mut before = beside("before");
    for number in 2.. {
        let kept = crate::fs::read_optional(&before)?;
        if kept.is_none_or(|kept| kept == present) {
            break;
        }
        before = beside(&format!("before-{number}"));
    }
    crate::fs::write_scratch(&before, &present)?;
    crate::fs::replace(file, &beside("new"), text.as_bytes())?;
    let before = before.file_name().unwrap_or_default().display().to_string();
    out.say(format!("the Pipelinefile is that of run {} again; what was there is `{before}`", run.number));
    Ok(Exit::FINE)
}
