//! `pipe log`: the story of one document, or of one run.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::ask::{self, RunNumber};
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Origin, State, Used};
use crate::model::failure::Failure;
use crate::model::folder;
use crate::project::Project;
use crate::query::lineage::{Lineage, Link};
use crate::query::log::{ContentChange, Decision, Only, RunBlock, Said, Shown, Step, Timeline, Try};
use crate::query::printed::{LogPart, Printed};
use crate::query::run::Action;
use crate::query::{Answer, Question};
use crate::report;
use crate::socket::Answered;
use crate::text;
use crate::time::Millis;

/// Tell the whole story of one document, or of one run
///
/// Of a document: where it comes from, every run, every target and try, why it ran, what came of it, what its module
/// printed, and what was made of it. DOC is an id, a unique part of one, an `all` target, a published file or a source
/// file. Without DOC, `--run N` tells of every action of that run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The document
    #[arg(value_name = "DOC", required_unless_present = "run")]
    doc: Option<String>,

    /// Only this run: a number, or `last`
    #[arg(long, value_name = "N", value_parser = super::ask::run_number)]
    run: Option<RunNumber>,

    /// Only in this target, or in those of this module
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,

    /// Only this try of each action, from 1
    #[arg(long, value_name = "N", requires = "doc")]
    attempt: Option<u32>,

    /// While a build runs, go on telling until it ends
    #[arg(short = 'f', long = "follow", requires = "doc")]
    follow: bool,

    /// Use this Pipelinefile; here `-f` follows
    #[arg(long, value_name = "FILE", help_heading = "Global options")]
    file: Option<PathBuf>,

    /// Print what modules wrote as it is, control characters too
    #[arg(long)]
    raw: bool,
}

/// How often a followed build is asked again.
const AGAIN: Duration = Duration::from_millis(200);

/// So many steps of a module's progress are shown; `--json` has all.
const STEPS: usize = 8;

/// How wide the time of a line is.
const CLOCK: usize = 10;

/// How wide the column of targets is at least.
const NARROW: usize = 8;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let file = self.file.clone().or_else(|| global.file.clone());
        let project = ask::project(&Global { file, ..global.clone() }, out)?;
        let number = self.run.map(|run| run.resolve(&project, out)).transpose()?.flatten();
        let Some(doc) = &self.doc else { return self.whole_run(&project, number, out) };
        let only = Only { target: self.target.clone(), run: number, attempt: self.attempt };
        let question = Question::Log { doc: doc.clone(), only };
        let mut told: HashSet<String> = HashSet::new();
        let mut printed = Followed::default();
        let (mut is_first, mut last_run) = (true, None);
        loop {
            let (answer, answered) = ask::ask_one(&project, &question, out)?;
            let Some(Answer::Log(mut timeline)) = answer else {
                return Err(Error::unfinished("this is no story of a document"));
            };
            let went_on = printed.take(&mut timeline, out.is_json());
            if !is_first {
                forget(&mut timeline, &told);
            }
            if out.is_json() {
                if is_first || !timeline.runs.is_empty() {
                    out.json_line("log", &with_lines(&timeline)?)?;
                }
            } else {
                let width = width(&timeline);
                went_on.iter().try_for_each(|part| self.print_part(Some(part), width, out))?;
                self.print(&timeline, is_first, last_run, out)?;
                last_run = timeline.runs.last().map(|run| run.run).or(last_run);
            }
            told.extend(timeline.runs.iter().flat_map(|run| run.steps.iter().map(|step| key(run, step))));
            if !self.follow || answered != Answered::ByOwner || out.is_closed() {
                return Ok(Exit::FINE);
            }
            out.flush()?;
            is_first = false;
            std::thread::sleep(AGAIN);
        }
    }

    /// Every action of a run, as it was recorded.
    fn whole_run(&self, project: &Project, run: Option<u32>, out: &mut Output) -> Result<Exit> {
        let question = Question::Run { run, target: self.target.clone() };
        let raw = self.raw;
        ask::ask(project, &question, out, &mut |out, answer| match answer {
            Answer::Run(head) if out.is_json() => out.json_line("run", &head),
            Answer::Action(action) if out.is_json() => {
                let mut value = serde_json::to_value(&action)
                    .map_err(|e| Error::unfinished("cannot write this as JSON").caused_by(e))?;
                if let Some(part) = &action.log {
                    add_lines(&mut value["log"], part)?;
                }
                out.json_line("action", &value)
            }
            Answer::Run(head) => {
                let run = &head.run;
                let by = if run.host.is_empty() { String::new() } else { format!("  on {}", run.host) };
                let words = command(&run.command);
                out.line(text::printable(&format!(
                    "run {}  {}{by}  {words}",
                    run.number,
                    run.start.date_time()
                )))?;
                if head.building { out.line("it is under way") } else { Ok(()) }
            }
            Answer::Action(action) => {
                out.line(action_line(&action))?;
                // What it counted stands on the line.
                let said = Said { counts: BTreeMap::new(), ..action.said.clone() };
                let below = " ".repeat(NARROW + 4);
                let lines = said_lines(&said, true).into_iter();
                lines
                    .map(|line| text::printable(&format!("{below}{line}")))
                    .try_for_each(|line| out.line(line))?;
                let Some(part) = &action.log else { return Ok(()) };
                let read = part.read()?;
                if raw {
                    return out.bytes(&read.bytes());
                }
                printed(&read, part, NARROW).into_iter().try_for_each(|line| out.line(line))
            }
            _ => Ok(()),
        })?;
        Ok(Exit::FINE)
    }

    fn print(
        &self,
        timeline: &Timeline,
        is_first: bool,
        last_run: Option<u32>,
        out: &mut Output,
    ) -> Result<()> {
        if is_first {
            out.line(head(timeline))?;
            lineage_lines(&timeline.lineage).into_iter().try_for_each(|line| out.line(line))?;
            if timeline.collected {
                out.line("")?;
                out.line("earlier runs were collected by pipe gc")?;
            }
        }
        let width = width(timeline);
        for run in &timeline.runs {
            // A followed run goes on where it was left.
            if last_run != Some(run.run) {
                out.line("")?;
                out.line(run_line(run))?;
                if let Some(line) = content_line(&run.content, width) {
                    out.line(line)?;
                }
            }
            for step in &run.steps {
                for tried in &step.tries {
                    try_lines(&step.target, tried, width).into_iter().try_for_each(|line| out.line(line))?;
                    self.print_part(tried.log.as_ref(), width, out)?;
                }
                step_lines(step, width).into_iter().try_for_each(|line| out.line(line))?;
                self.print_part(step.log.as_ref(), width, out)?;
            }
            if !run.unchanged.is_empty() && is_first {
                out.line(text::printable(&format!("  {:width$}  {}", "same", run.unchanged.join(", "))))?;
            }
        }
        Ok(())
    }
}

impl Args {
    /// What a module printed.
    fn print_part(&self, part: Option<&LogPart>, width: usize, out: &mut Output) -> Result<()> {
        let Some(part) = part else { return Ok(()) };
        let read = part.read()?;
        if !self.raw {
            return printed(&read, part, width).into_iter().try_for_each(|line| out.line(line));
        }
        let bytes = read.bytes();
        out.bytes(&bytes)?;
        if bytes.ends_with(b"\n") { Ok(()) } else { out.bytes(b"\n") }
    }
}

/// How far the log of each step in hand was told while a build is followed.
#[derive(Default)]
struct Followed(HashMap<(u32, String), u64>);

impl Followed {
    /// Leaves what was not told yet; what steps that were told printed since.
    fn take(&mut self, timeline: &mut Timeline, is_data: bool) -> Vec<LogPart> {
        let mut went_on = Vec::new();
        for run in &mut timeline.runs {
            for step in &mut run.steps {
                let name = (run.run, step.target.clone());
                let is_in_hand = matches!(step.decision, Decision::InHand { .. });
                let end = step.log.as_ref().map(|part| part.from + part.length);
                let told = match (is_in_hand && !is_data, end) {
                    (true, Some(end)) => self.0.insert(name, end),
                    _ => self.0.get(&name).copied(),
                };
                let Some(told) = told else { continue };
                step.log = step.log.take().and_then(|part| part.after(told));
                if is_in_hand {
                    went_on.extend(step.log.take());
                }
            }
        }
        went_on
    }
}

/// What names a step while a build is followed.
fn key(run: &RunBlock, step: &Step) -> String {
    if let Decision::InHand { worker, behind, .. } = step.decision {
        return format!("{} {} in hand {worker} {}", run.run, step.target, behind > 0);
    }
    let at = step.act.map_or_else(|| step.state.word().to_owned(), |at| at.0.to_string());
    format!("{} {} {at}", run.run, step.target)
}

/// Drops what was told before.
fn forget(timeline: &mut Timeline, told: &HashSet<String>) {
    for run in &mut timeline.runs {
        let number = run.run;
        let bare = RunBlock { run: number, ..RunBlock::default() };
        run.steps.retain(|step| !told.contains(&key(&bare, step)));
    }
    timeline.runs.retain(|run| !run.steps.is_empty());
}

/// The timeline as data, with the modules' own lines in it.
fn with_lines(timeline: &Timeline) -> Result<Value> {
    let as_data = |e| Error::unfinished("cannot write this as JSON").caused_by(e);
    let mut value = serde_json::to_value(timeline).map_err(as_data)?;
    for (ix, run) in timeline.runs.iter().enumerate() {
        for (number, step) in run.steps.iter().enumerate() {
            let Some(part) = &step.log else { continue };
            add_lines(&mut value["runs"][ix]["steps"][number]["log"], part)?;
        }
        for (number, step) in run.steps.iter().enumerate() {
            for (tried, part) in step.tries.iter().map(|tried| &tried.log).enumerate() {
                let Some(part) = part else { continue };
                add_lines(&mut value["runs"][ix]["steps"][number]["tries"][tried]["log"], part)?;
            }
        }
    }
    Ok(value)
}

fn add_lines(log: &mut Value, part: &LogPart) -> Result<()> {
    let read = part.read()?;
    log["text"] = read.text().into();
    if read.left_out() > 0 {
        log["left_out"] = read.left_out().into();
    }
    Ok(())
}

fn head(timeline: &Timeline) -> String {
    let runs = match timeline.runs.len() {
        0 => "nothing yet".to_owned(),
        n => text::count(n as u64, "run"),
    };
    let mut line = format!("{}  {runs}", timeline.doc);
    if timeline.gone {
        line.push_str(", gone from its source");
    }
    if timeline.open {
        line.push_str(", in hand now");
    } else if timeline.building {
        line.push_str(", a build is running");
    }
    text::printable(&line)
}

fn width(timeline: &Timeline) -> usize {
    let names = timeline.runs.iter().flat_map(|run| &run.steps).map(|step| step.target.chars().count());
    names.max().unwrap_or_default().clamp(NARROW, 24)
}

fn run_line(run: &RunBlock) -> String {
    let start = run.start.map(|start| format!("  {}", start.date_time())).unwrap_or_default();
    let by = if run.host.is_empty() { String::new() } else { format!("  on {}", run.host) };
    text::printable(format!("run {}{start}{by}  {}", run.run, command(&run.command)).trim_end())
}

/// The command line as it was typed, without the folder of the program.
pub(super) fn command(words: &[String]) -> String {
    let quoted = |word: &String| {
        let is_plain = !word.is_empty()
            && word.chars().all(|c| !c.is_whitespace() && !"'\"$*?()[]{}|&;<>`\\".contains(c));
        if is_plain { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
    };
    let mut words = words.iter();
    let program = words.next().map(|word| word.rsplit('/').next().unwrap_or_default().to_owned());
    program.into_iter().chain(words.map(quoted)).collect::<Vec<_>>().join(" ")
}

fn content_line(content: &ContentChange, width: usize) -> Option<String> {
    let show =
        |digest: &Option<Digest>| digest.map_or_else(|| "unreadable".to_owned(), |digest| digest.short());
    let what = match content {
        ContentChange::Same => return None,
        ContentChange::New { digest: Some(digest) } => format!("new, {}", digest.short()),
        ContentChange::New { digest: None } => "new".to_owned(),
        ContentChange::Changed { old, new } => format!("changed: {} → {}", show(old), show(new)),
        ContentChange::Gone => "gone; all that came of it is retired".to_owned(),
    };
    Some(format!("  {:width$}  {what}", "document"))
}

/// What is said of one step, without what the module printed.
fn step_lines(step: &Step, width: usize) -> Vec<String> {
    let below = " ".repeat(width + 4);
    let mut first = vec![state_word(step)];
    first.extend(step.by.iter().map(|module| format!("by {module}")));
    let mut lines = Vec::new();
    match &step.decision {
        Decision::Ran { reasons, start, duration, worker, attempt, used } => {
            first.push(ran(*start, *duration, *worker, *attempt));
            first.extend(used.map(used_words));
            lines.extend(reasons.iter().map(|reason| format!("why: {}", reason.words())));
        }
        Decision::Reused { run, doc: None } => first.push(format!("reused its result of run {run}")),
        Decision::Reused { run, doc: Some(doc) } => {
            first.push(format!("reused the result of {doc}, run {run}"));
        }
        Decision::Accepted { run, why } => {
            first.push(format!("accepted its result of run {run}"));
            lines.push(format!("pipe accept, though {why}"));
        }
        Decision::Taken { origin } => {
            first.push("taken from the shared cache".to_owned());
            let Origin { user, host, project, doc, run } = origin;
            lines.push(format!("made by {user} on {host} in {project}: {doc}, run {run}"));
        }
        Decision::Split { parent } => first.push(format!("split from {parent}")),
        Decision::InHand { worker, since, behind: 0 } => {
            let far = report::far(step.said.progress);
            first.push(format!("on worker {worker} since {}{far}", since.clock()));
        }
        Decision::InHand { worker, since, behind } => {
            let before = text::count(*behind as u64, "document");
            first.push(format!("with worker {worker} since {}, behind {before}", since.clock()));
        }
        Decision::Decided => {}
    }
    match &step.outcome {
        Shown::Output { size, digest, ext, meta, same, files } => {
            let kind = match ext.as_str() {
                "" => "no extension".to_owned(),
                folder::EXT => match files {
                    Some(files) => format!("folder, {}", text::count(*files, "file")),
                    None => "folder".to_owned(),
                },
                ext => ext.to_owned(),
            };
            let passed = if *same { ", its input passed on" } else { "" };
            lines.push(format!("made {kind}, {}, {}{passed}", text::size(*size), digest.short()));
            if let Value::Object(meta) = meta {
                let pairs: Vec<String> = meta.iter().map(|(name, value)| format!("{name}={value}")).collect();
                lines.push(text::shorten(&format!("meta {}", pairs.join(" ")), 160));
            }
        }
        Shown::Skip { reason } | Shown::Nothing { note: reason } if !reason.is_empty() => {
            first.push(reason.clone());
        }
        Shown::Skip { .. } | Shown::Nothing { .. } => {}
        Shown::Failed { failure } => lines.extend(failure_lines(failure)),
    }
    if step.set_aside {
        let again = format!("pipe retry {}", step.target);
        lines.push(format!(
            "set aside: not tried again until code, params, input or limits change, or {again}"
        ));
    }
    lines.extend(said_lines(&step.said, !matches!(step.decision, Decision::InHand { .. })));
    lines.extend(step.published.iter().map(|path| format!("published as {path}")));
    let first = format!("  {:width$}  {}", step.target, first.join(", "));
    std::iter::once(first)
        .chain(lines.into_iter().map(|line| format!("{below}{line}")))
        .map(|l| text::printable(&l))
        .collect()
}

/// What the module said beside its answer, each with its time.
fn said_lines(said: &Said, is_over: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let of = |done: &f64, total: &Option<f64>| match total {
        Some(total) => format!("{done} of {total}"),
        None => done.to_string(),
    };
    if !said.reached.is_empty() {
        let more = said.reached.len().saturating_sub(STEPS);
        let cut = (more > 0).then(|| format!("… {}", text::count(more as u64, "step")));
        let step = |(at, done, total): &(Millis, f64, Option<f64>)| {
            format!("{} at {}", of(done, total), at.clock_tenths())
        };
        let (first, last) = said.reached.split_at(if more > 0 { STEPS / 2 } else { said.reached.len() });
        let steps = first.iter().map(step).chain(cut).chain(last.iter().skip(more).map(step));
        lines.push(format!("progress {}", steps.collect::<Vec<_>>().join(", ")));
    } else if let Some((done, total)) = said.progress.as_ref().filter(|_| is_over) {
        lines.push(format!("progress {}", of(done, total)));
    }
    for (ix, warning) in said.warnings.iter().enumerate() {
        let at = said.warned.get(ix).map(|at| format!(" at {}", at.clock_tenths())).unwrap_or_default();
        lines.push(format!("warning{at}: {}", warning_text(warning)));
    }
    if !said.counts.is_empty() {
        lines.push(format!("counted {}", text::amounts(&said.counts)));
    }
    lines
}

/// When, how long, by whom.
fn ran(start: Millis, duration: u64, worker: u32, attempt: u32) -> String {
    let took = text::duration(Duration::from_micros(duration));
    let again = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
    format!("ran at {} in {took} on worker {worker}{again}", start.clock())
}

/// `cpu 1.2 s, 212.0 MiB`.
fn used_words(used: Used) -> String {
    let cpu = text::duration(Duration::from_micros(used.cpu));
    match used.peak {
        0 => format!("cpu {cpu}"),
        peak => format!("cpu {cpu}, {}", text::size(peak * 1024)),
    }
}

/// A try that was not the last.
fn try_lines(target: &str, tried: &Try, width: usize) -> Vec<String> {
    let below = " ".repeat(width + 4);
    let when = ran(tried.start, tried.duration, tried.worker, tried.attempt);
    let when = if tried.attempt == 1 { format!("{when}, attempt 1") } else { when };
    let used = tried.used.map(|used| format!(", {}", used_words(used))).unwrap_or_default();
    let first = format!("  {target:width$}  tried ({}), {when}{used}", tried.failure.kind.words());
    let lines = failure_lines(&tried.failure).into_iter().chain(said_lines(&tried.said, true));
    std::iter::once(first)
        .chain(lines.map(|line| format!("{below}{line}")))
        .map(|line| text::printable(&line))
        .collect()
}

/// Where a document comes from, and what was made of it.
fn lineage_lines(lineage: &Lineage) -> Vec<String> {
    let named = |docs: &[String], count: u64| {
        let more = if count > docs.len() as u64 { ", …" } else { "" };
        format!("{}{more}", docs.join(", "))
    };
    let words = |link: &Link| match link {
        Link::File { path } => format!("from  the file {path}"),
        Link::Project { project, target, doc } => {
            format!("from  {doc} by {target} in {project}    pipe -C {project} log {doc}")
        }
        Link::Parent { doc } => format!("from  {doc}, which was split"),
        Link::Members { stream, docs, count } => {
            let many = count.map_or_else(|| "documents".to_owned(), |count| text::count(count, "document"));
            format!("from  {many} of {stream}: {}", named(docs, count.unwrap_or(u64::MAX)))
        }
        Link::With { name, of } if name == of => format!("with  {of}"),
        Link::With { name, of } => format!("with  {name}: {of}"),
        Link::Children { target, docs, count } => {
            format!("made  {} by {target}: {}", text::count(*count, "document"), named(docs, *count))
        }
        Link::Set { doc, published, .. } if published.is_empty() => format!("made  {doc}, with others"),
        Link::Set { doc, published, .. } => {
            format!("made  {doc}, with others, published as {}", published.join(", "))
        }
    };
    let links = lineage.from.iter().chain(&lineage.made).map(words);
    let cut = lineage.cut.then(|| "made  … and more: too many documents to follow".to_owned());
    links.chain(cut).map(|line| text::printable(&format!("  {line}"))).collect()
}

/// One action of a run, on a line.
fn action_line(action: &Action) -> String {
    let took = text::duration(Duration::from_micros(action.duration));
    let (word, rest) = match &action.outcome {
        Shown::Output { size, .. } => ("done", text::size(*size)),
        Shown::Skip { reason } => ("skipped", reason.clone()),
        Shown::Failed { failure } => {
            let place = failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
            ("failed", format!("{}{place}", failure.summary()))
        }
        Shown::Nothing { note } => (action.state.word(), note.clone()),
    };
    let worker = action.worker;
    let mut line = format!(
        "{}  {word:7}  {}  {}  {took} on worker {worker}",
        action.start.clock(),
        action.target,
        action.doc
    );
    if let Some(used) = action.used {
        line.extend([format!(" ({})", used_words(used))]);
    }
    if action.attempt > 1 {
        line.extend([format!(", attempt {}", action.attempt)]);
    }
    if !action.said.counts.is_empty() {
        line.extend([format!(", {}", text::amounts(&action.said.counts))]);
    }
    text::printable(format!("{line}  {rest}").trim_end())
}

fn state_word(step: &Step) -> String {
    match (&step.outcome, step.state) {
        (Shown::Failed { failure }, _) => format!("failed ({})", failure.kind.words()),
        _ if matches!(step.decision, Decision::InHand { .. }) => "in hand".to_owned(),
        (_, state @ State::Unfinished) => format!("{}: a build was stopped before it", state.word()),
        (_, state) => state.word().to_owned(),
    }
}

fn failure_lines(failure: &Failure) -> Vec<String> {
    let place = failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    let mut lines = vec![format!("{}{place}", failure.summary())];
    let summary = failure.summary();
    let message =
        failure.message.lines().skip_while(|line| line.trim().is_empty() || summary.ends_with(line.trim()));
    lines.extend(message.map(|line| format!("  {line}")));
    if let Some(traceback) = &failure.traceback {
        lines.extend(traceback.trim_end().lines().map(|line| format!("  {line}")));
    }
    lines
}

fn warning_text(warning: &Value) -> String {
    let message = warning.get("message").and_then(Value::as_str).or_else(|| warning.as_str());
    message.map_or_else(|| warning.to_string(), str::to_owned)
}

/// The module's own lines, each marked and with the time at which it was written, none able to move the cursor.
fn printed(read: &Printed, part: &LogPart, width: usize) -> Vec<String> {
    let below = " ".repeat(width + 4);
    let mut last = None;
    let mut lines = Vec::new();
    for piece in &read.pieces {
        lines.extend(piece.gap().map(|gap| format!("{below}│ {gap}")));
        let mut end = piece.from;
        for line in piece.bytes.split_inclusive(|byte| *byte == b'\n') {
            end += line.len() as u64;
            let time = part.written(end);
            // Lines of one moment share its time.
            let shown = match time {
                Some(time) if last != Some(time) => format!("{} ", time.clock_tenths()),
                Some(_) => " ".repeat(CLOCK + 1),
                None => String::new(),
            };
            last = time;
            let text = String::from_utf8_lossy(line);
            let line = format!("{below}│ {shown}{}", text::printable(text.trim_end_matches(['\n', '\r'])));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::FailureKind;
    use crate::model::reason::Reason;
    use crate::query::printed::Piece;

    fn step(decision: Decision, outcome: Shown, state: State) -> Step {
        Step {
            target: "text".into(),
            state,
            by: None,
            decision,
            outcome,
            tries: Vec::new(),
            said: Said::default(),
            set_aside: false,
            log: None,
            published: None,
            act: None,
        }
    }

    #[test]
    fn a_step_that_ran_says_why_what_and_where_it_went() {
        let reasons = vec![Reason::NeverRun];
        let ran = Decision::Ran {
            reasons,
            start: Millis(0),
            duration: 41_000,
            worker: 2,
            attempt: 1,
            used: Some(Used { cpu: 30_000, peak: 2048 }),
        };
        let digest = Digest::of(b"x");
        let meta = serde_json::json!({ "lang": "en" });
        let outcome = Shown::Output { size: 2048, digest, ext: "txt".into(), meta, same: false, files: None };
        let step = Step { published: Some("out/a.txt".into()), ..step(ran, outcome, State::Done) };
        let lines = step_lines(&step, 8);
        assert!(lines[0].starts_with("  text      done, ran at "), "{}", lines[0]);
        assert!(lines[0].ends_with(" in 41 ms on worker 2, cpu 30 ms, 2.0 MiB"), "{}", lines[0]);
        assert_eq!(
            lines[1..],
            [
                "            why: new".to_owned(),
                format!("            made txt, 2.0 KiB, {}", digest.short()),
                "            meta lang=\"en\"".to_owned(),
                "            published as out/a.txt".to_owned(),
            ]
        );
    }

    #[test]
    fn a_failure_shows_its_place_and_traceback_once() {
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "no\nsecond line");
        failure.place = Some("modules/a.py:3".into());
        failure.traceback = Some("Traceback\n  in x\n".into());
        let lines = step_lines(&step(Decision::Decided, Shown::Failed { failure }, State::Failed), 8);
        let below: Vec<&str> = lines.iter().map(|line| line.trim_start()).collect();
        let expected = [
            "text      failed (module error)",
            "ValueError: no  (modules/a.py:3)",
            "second line",
            "Traceback",
            "in x",
        ];
        assert_eq!(below, expected);
    }

    fn whole(bytes: &[u8]) -> Printed {
        Printed { pieces: vec![Piece { from: 0, left_out: 0, bytes: bytes.to_vec() }] }
    }

    #[test]
    fn what_a_module_printed_cannot_move_the_cursor() {
        let part = LogPart { file: PathBuf::new(), from: 0, length: 9, times: Vec::new() };
        assert_eq!(printed(&whole(b"a\x1b[2Jb\nc"), &part, 0), ["    │ a\\u{1b}[2Jb", "    │ c"]);
    }

    #[test]
    fn lines_have_the_time_at_which_they_were_written() {
        let times = vec![(2, Millis(0)), (6, Millis(61_250))];
        let part = LogPart { file: PathBuf::new(), from: 0, length: 9, times };
        let (first, second) = (Millis(0).clock_tenths(), Millis(61_250).clock_tenths());
        assert!(first.ends_with(":00.0") && second.ends_with(":01.2"), "{first} {second}");
        let expected = [
            format!("    │ {first} a"),
            format!("    │ {second} b"),
            "    │            c".to_owned(),
            "    │ d".to_owned(),
        ];
        assert_eq!(printed(&whole(b"a\nb\nc\nd"), &part, 0), expected);
    }

    #[test]
    fn what_goes_on_printing_is_followed_line_by_line() {
        let timeline = |decision: Decision, length: u64| {
            let part = LogPart { file: PathBuf::new(), from: 10, length, times: Vec::new() };
            let outcome = Shown::Nothing { note: String::new() };
            let step = Step { log: Some(part), ..step(decision, outcome, State::Unfinished) };
            let run = RunBlock { run: 3, steps: vec![step], ..RunBlock::default() };
            Timeline { runs: vec![run], ..Timeline::default() }
        };
        let in_hand = || Decision::InHand { worker: 1, since: Millis(0), behind: 0 };
        let lengths =
            |parts: &[LogPart]| parts.iter().map(|part| (part.from, part.length)).collect::<Vec<_>>();
        let mut followed = Followed::default();
        let mut first = timeline(in_hand(), 4);
        assert!(followed.take(&mut first, false).is_empty());
        assert_eq!(first.runs[0].steps[0].log.as_ref().map(|part| part.length), Some(4));
        assert_eq!(lengths(&followed.take(&mut timeline(in_hand(), 4), false)), []);
        assert_eq!(lengths(&followed.take(&mut timeline(in_hand(), 9), false)), [(14, 5)]);
        let mut last = timeline(Decision::Decided, 12);
        assert!(followed.take(&mut last, false).is_empty());
        assert_eq!(last.runs[0].steps[0].log.as_ref().map(|part| (part.from, part.length)), Some((19, 3)));
    }

    #[test]
    fn a_followed_story_is_told_once() {
        let done = || step(Decision::Decided, Shown::Nothing { note: String::new() }, State::LeftOut);
        let run = RunBlock { run: 3, steps: vec![done()], ..RunBlock::default() };
        let told = HashSet::from([key(&run, &done())]);
        let mut timeline = Timeline { runs: vec![run], ..Timeline::default() };
        forget(&mut timeline, &told);
        assert!(timeline.runs.is_empty());
    }
}
