//! `pipe log`: the story of one document.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::State;
use crate::model::failure::Failure;
use crate::model::folder;
use crate::query::log::{ContentChange, Decision, RunBlock, Shown, Step, Timeline};
use crate::query::{Answer, Question};
use crate::socket::Answered;
use crate::text;

/// Tell the whole story of one document
///
/// Every run, every target, why it ran, what came of it, what its module printed.
/// DOC is an id, a unique part of one, an `all` target, a published file or a source file.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The document
    #[arg(value_name = "DOC")]
    doc: String,

    /// Only in this target, or in those of this module
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,

    /// While a build runs, go on telling until it ends
    #[arg(short = 'f', long = "follow")]
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

/// How wide the column of targets is at least.
const NARROW: usize = 8;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let file = self.file.clone().or_else(|| global.file.clone());
        let project = ask::project(&Global { file, ..global.clone() }, out)?;
        let question = Question::Log { doc: self.doc.clone(), target: self.target.clone() };
        let mut told: HashSet<String> = HashSet::new();
        let (mut is_first, mut last_run) = (true, None);
        loop {
            let (answer, answered) = ask::ask_one(&project, &question, out)?;
            let Some(Answer::Log(mut timeline)) = answer else {
                return Err(Error::unfinished("this is no story of a document"));
            };
            if !is_first {
                forget(&mut timeline, &told);
            }
            if out.is_json() {
                if is_first || !timeline.runs.is_empty() {
                    out.json_line("log", &with_lines(&timeline)?)?;
                }
            } else {
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

    fn print(
        &self,
        timeline: &Timeline,
        is_first: bool,
        last_run: Option<u32>,
        out: &mut Output,
    ) -> Result<()> {
        if is_first {
            out.line(head(timeline))?;
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
                step_lines(step, width).into_iter().try_for_each(|line| out.line(line))?;
                if let Some(part) = &step.log {
                    let bytes = part.read()?;
                    if self.raw {
                        out.bytes(&bytes)?;
                        if !bytes.ends_with(b"\n") {
                            out.bytes(b"\n")?;
                        }
                    } else {
                        printed(&bytes, width).into_iter().try_for_each(|line| out.line(line))?;
                    }
                }
            }
            if !run.unchanged.is_empty() && is_first {
                out.line(text::printable(&format!("  {:width$}  {}", "same", run.unchanged.join(", "))))?;
            }
        }
        Ok(())
    }
}

/// What names a step while a build is followed.
fn key(run: &RunBlock, step: &Step) -> String {
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
            let text = String::from_utf8_lossy(&part.read()?).into_owned();
            value["runs"][ix]["steps"][number]["log"]["text"] = Value::String(text);
        }
    }
    Ok(value)
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
    text::printable(format!("run {}{start}  {}", run.run, command(&run.command)).trim_end())
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
        Decision::Ran { reasons, start, duration, worker, attempt } => {
            let took = text::duration(Duration::from_micros(*duration));
            let again = if *attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
            first.push(format!("ran at {} in {took} on worker {worker}{again}", start.clock()));
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
        Decision::Split { parent } => first.push(format!("split from {parent}")),
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
    lines.extend(step.warnings.iter().map(|warning| format!("warning: {}", warning_text(warning))));
    if !step.counts.is_empty() {
        let counts: Vec<String> = step.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        lines.push(format!("counted {}", counts.join(", ")));
    }
    lines.extend(step.published.iter().map(|path| format!("published as {path}")));
    let first = format!("  {:width$}  {}", step.target, first.join(", "));
    std::iter::once(first)
        .chain(lines.into_iter().map(|line| format!("{below}{line}")))
        .map(|l| text::printable(&l))
        .collect()
}

fn state_word(step: &Step) -> String {
    match (&step.outcome, step.state) {
        (Shown::Failed { failure }, _) => format!("failed ({})", failure.kind.words()),
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

/// The module's own lines, each marked, none able to move the cursor.
fn printed(bytes: &[u8], width: usize) -> Vec<String> {
    let below = " ".repeat(width + 4);
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().map(|line| format!("{below}│ {}", text::printable(line)));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::failure::FailureKind;
    use crate::model::reason::Reason;
    use crate::time::Millis;

    fn step(decision: Decision, outcome: Shown, state: State) -> Step {
        Step {
            target: "text".into(),
            state,
            by: None,
            decision,
            outcome,
            warnings: Vec::new(),
            set_aside: false,
            counts: std::collections::BTreeMap::new(),
            log: None,
            published: None,
            act: None,
        }
    }

    #[test]
    fn a_step_that_ran_says_why_what_and_where_it_went() {
        let reasons = vec![Reason::NeverRun];
        let ran = Decision::Ran { reasons, start: Millis(0), duration: 41_000, worker: 2, attempt: 1 };
        let digest = Digest::of(b"x");
        let meta = serde_json::json!({ "lang": "en" });
        let outcome = Shown::Output { size: 2048, digest, ext: "txt".into(), meta, same: false, files: None };
        let step = Step { published: Some("out/a.txt".into()), ..step(ran, outcome, State::Done) };
        let lines = step_lines(&step, 8);
        assert!(lines[0].starts_with("  text      done, ran at "), "{}", lines[0]);
        assert!(lines[0].ends_with(" in 41 ms on worker 2"), "{}", lines[0]);
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

    #[test]
    fn what_a_module_printed_cannot_move_the_cursor() {
        assert_eq!(printed(b"a\x1b[2Jb\nc", 0), ["    │ a\\u{1b}[2Jb", "    │ c"]);
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
