//! `pipe status`: how everything stands.

use std::time::Duration;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::log::command;
use crate::cli::output::Output;
use crate::engine::board::Held;
use crate::error::Result;
use crate::query::status::{SourceStatus, Status, TargetStatus};
use crate::query::{Answer, Question};
use crate::report;
use crate::text;

/// Show how everything stands, and what a build would do
#[derive(clap::Args)]
pub(super) struct Args {
    /// Exit with 1 unless everything is up to date and nothing failed
    #[arg(long)]
    exit_code: bool,

    /// While a build runs, show it again whenever it changed, until the build is over
    #[arg(short, long)]
    watch: bool,
}

/// How often a build that is watched is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// At most so many workers are shown with what they are at.
const HANDS: usize = 10;

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = ask::project(global, out)?;
        let mut shown: Option<Box<Status>> = None;
        loop {
            let (answer, _) = ask::ask_one(&project, &Question::Status, out)?;
            let Some(Answer::Status(status)) = answer else { return Ok(Exit::FAILED) };
            if shown.as_ref() != Some(&status) {
                if let Some(before) = &shown {
                    out.take_back(lines(before).len())?;
                }
                show(&status, if self.watch { out.width() } else { None }, out)?;
            }
            if !self.watch || !status.building || status.watching || out.is_closed() {
                let fine = !self.exit_code || status.is_up_to_date();
                return Ok(if fine { Exit::FINE } else { Exit::FAILED });
            }
            out.flush()?;
            shown = Some(status);
            std::thread::sleep(AGAIN);
        }
    }
}

/// `width`: longer lines are cut, so that what is taken back is what was shown.
fn show(status: &Status, width: Option<usize>, out: &mut Output) -> Result<()> {
    if out.is_json() {
        return out.json_line("status", status);
    }
    let fitted = |line: String| width.map_or_else(|| line.clone(), |width| text::fitted(&line, width));
    lines(status).into_iter().try_for_each(|line| out.line(fitted(line)))?;
    status.notices.iter().for_each(|notice| out.warning(notice));
    Ok(())
}

fn lines(status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = status.sources.iter().flat_map(source_lines).collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.extend(table(&status.targets));
    if !status.in_hand.is_empty() {
        lines.push(String::new());
        lines.extend(in_hand(&status.in_hand));
    }
    if !status.causes.is_empty() || status.blocked > 0 {
        lines.push(String::new());
        lines.extend(failures(status));
    }
    if status.stale.count > 0 {
        lines.push(String::new());
        lines.extend(stale(status));
    }
    lines.push(String::new());
    if let Some(run) = &status.last_run {
        let command = command(&run.command);
        lines.push(format!("last run  {}, {}, {command}", run.number, run.start.date_time()));
        if let Some(ended) = status.last_end.as_ref().filter(|ended| !ended.why.is_empty()) {
            let which = if ended.run == run.number {
                "it".to_owned()
            } else {
                format!("the build, run {},", ended.run)
            };
            lines.push(format!("          {which} did not finish: {}", ended.why));
        }
    }
    lines.push(verdict(status));
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

fn source_lines(source: &SourceStatus) -> Vec<String> {
    let parts = [(source.new, "new"), (source.changed, "changed"), (source.gone, "gone")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, word)| format!("{} {word}", text::thousands(*n)))
        .collect();
    let since = if parts.is_empty() { "as built".to_owned() } else { parts.join(", ") };
    let mut lines =
        vec![format!("{}  {}, {since}", source.source, text::count(source.documents, "document"))];
    lines.extend(source.problems.iter().map(|problem| format!("  {problem}")));
    lines
}

/// One row a target; a column only where any target has something in it.
fn table(targets: &[TargetStatus]) -> Vec<String> {
    type Column = (&'static str, fn(&TargetStatus) -> u64);
    let columns: [Column; 10] = [
        ("in", |target| target.came),
        ("done", |target| target.done),
        ("skipped", |target| target.skipped),
        ("left out", |target| target.left_out),
        ("failed", |target| target.failed),
        ("set aside", |target| target.set_aside),
        ("blocked", |target| target.blocked),
        ("warned", |target| target.warned),
        ("unfinished", |target| target.unfinished),
        ("published", |target| target.published),
    ];
    let shown: Vec<&Column> = columns
        .iter()
        .enumerate()
        .filter(|(ix, (_, of))| *ix < 2 || targets.iter().any(|target| of(target) > 0))
        .map(|(_, column)| column)
        .collect();
    let names = targets.iter().map(|target| target.target.chars().count());
    let first = names.max().unwrap_or_default().max("target".len());
    let width = |column: &Column| {
        let numbers = targets.iter().map(|target| text::thousands(column.1(target)).len());
        numbers.max().unwrap_or_default().max(column.0.len())
    };
    let head: Vec<String> = shown.iter().map(|column| format!("{:>1$}", column.0, width(column))).collect();
    let shapes = targets.iter().map(|target| target.shape.chars().count());
    let second = shapes.max().unwrap_or_default().max("shape".len());
    let mut lines = vec![format!("{:first$}  {:second$}  {}", "target", "shape", head.join("  "))];
    for target in targets {
        let cells: Vec<String> = shown
            .iter()
            .map(|column| {
                let number = column.1(target);
                let text = if number == 0 { String::from("-") } else { text::thousands(number) };
                format!("{:>1$}", text, width(column))
            })
            .collect();
        let TargetStatus { target: name, shape, .. } = target;
        lines.push(format!("{name:first$}  {shape:second$}  {}  {}", cells.join("  "), remarks(target)));
    }
    lines
}

/// All counts of a target on a line: `9 of 12; 2 skipped, 1 failed; by web 3, pdftotext 6`, `one of 12 members`.
pub(super) fn counted(target: &TargetStatus) -> String {
    let members = || text::count(target.came, "member");
    let of = match (target.verb.as_str(), target.done) {
        ("each", done) => format!("{} of {}", text::thousands(done), text::thousands(target.came)),
        ("group", done) => format!("{} of {}", text::count(done, "group"), members()),
        (_, 0) => format!("none of {}", members()),
        _ => format!("one of {}", members()),
    };
    let parts = [
        (target.skipped, "skipped"),
        (target.left_out, "left out"),
        (target.failed, "failed"),
        (target.blocked, "blocked"),
        (target.unfinished, "unfinished"),
        (target.warned, "warned"),
    ];
    let parts = parts.iter().filter(|(n, _)| *n > 0);
    let parts: Vec<String> = parts.map(|(n, word)| format!("{} {word}", text::thousands(*n))).collect();
    let remarks = remarks(&TargetStatus { planned: None, ..target.clone() });
    let all = [of, parts.join(", "), remarks];
    all.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

fn remarks(target: &TargetStatus) -> String {
    let plan = target.planned.map(|plan| match plan.actions {
        Some(actions) => format!("up to {} to do", text::thousands(actions)),
        None => "to look at".to_owned(),
    });
    let note = Some(target.note.clone()).filter(|note| !note.is_empty());
    let of = |(module, documents): (&String, &u64)| format!("{module} {}", text::thousands(*documents));
    let routed: Vec<String> = target.routed.iter().map(of).collect();
    let routed = (!routed.is_empty()).then(|| format!("by {}", routed.join(", ")));
    let unmatched = target.matched.iter().filter(|matched| matched.unmatched > 0);
    let unmatched =
        unmatched.map(|matched| format!("{} without `{}`", text::thousands(matched.unmatched), matched.with));
    let unused =
        target.matched.iter().filter_map(|matched| Some((matched.unused.filter(|n| *n > 0)?, matched)));
    let unused = unused.map(|(n, matched)| format!("{} of `{}` unused", text::thousands(n), matched.from));
    let matched: Vec<String> = unmatched.chain(unused).collect();
    let matched = (!matched.is_empty()).then(|| matched.join(", "));
    let held = (target.held > 0)
        .then(|| format!("{} held: pipe build --update {}", text::thousands(target.held), target.target));
    let counted = text::amounts(&target.counts);
    let counted = (!counted.is_empty()).then_some(counted);
    [note, routed, matched, counted, held, plan].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// What each worker is at: target, document, since when, how far, and how many wait behind it.
fn in_hand(held: &[Held]) -> Vec<String> {
    let at_work: Vec<&Held> = held.iter().filter(|held| held.behind == 0).collect();
    let documents = text::count(held.len() as u64, "document");
    let mut lines = vec![format!("in hand  {documents}, {}", text::count(at_work.len() as u64, "worker"))];
    for first in at_work.iter().take(HANDS) {
        let far = report::far(first.progress);
        let Held { target, doc, worker, since, .. } = first;
        let mut line = format!("  {target}  {doc}  on worker {worker} since {}{far}", since.clock());
        let behind = held.iter().filter(|held| held.worker == first.worker && held.behind > 0).count();
        if behind > 0 {
            line.extend([format!(", {} more behind it", text::thousands(behind as u64))]);
        }
        lines.push(line);
    }
    if at_work.len() > HANDS {
        lines.push(format!("  and {} more: --json", text::thousands((at_work.len() - HANDS) as u64)));
    }
    lines
}

fn stale(status: &Status) -> Vec<String> {
    let files = text::count(status.stale.count, "published file");
    let mut lines = vec![format!("stale  {files} of an older result")];
    let named = status.stale.files.iter();
    lines.extend(named.map(|file| format!("  {}  {}", file.path.as_ref().unwrap_or(&file.doc), file.target)));
    let more = status.stale.count.saturating_sub(status.stale.files.len() as u64);
    if more > 0 {
        lines.push(format!("  and {} more: pipe publish --check", text::thousands(more)));
    }
    lines
}

fn failures(status: &Status) -> Vec<String> {
    let documents = status.failed_documents;
    let causes = text::count(status.causes.len() as u64, "cause");
    let blocked = match status.blocked {
        0 => String::new(),
        n => format!(", {} behind a failure", text::count(n, "document")),
    };
    let mut lines = vec![format!("failed  {}, {causes}{blocked}", text::count(documents, "document"))];
    for cause in &status.causes {
        let place = cause.failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
        lines.push(format!(
            "  {}x {}  {}{place}",
            text::thousands(cause.count),
            cause.target,
            cause.failure.summary()
        ));
        lines.push(format!("     {}", cause.samples.join("  ")));
    }
    if let Some(sample) = status.causes.first().and_then(|cause| cause.samples.first()) {
        lines.push(format!("  pipe log {sample}      what happened to it"));
    }
    lines
}

fn verdict(status: &Status) -> String {
    if status.watching {
        return "pipe watch is here and builds what changes; the sources are not looked at beside it"
            .to_owned();
    }
    if status.building {
        return "a build is running; the sources are not looked at beside it".to_owned();
    }
    if status.collecting {
        return "pipe gc is at work; the sources are not looked at beside it".to_owned();
    }
    if !status.to_do {
        let all_well = status.causes.is_empty() && status.blocked == 0;
        return if all_well { "up to date" } else { "nothing to do until the failures are looked at" }
            .to_owned();
    }
    match status.to_look_at() {
        0 => "pipe build has something to do".to_owned(),
        n => format!("{} to look at: pipe build", text::count(n, "document")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_shown_where_there_is_something_in_it() {
        let text = TargetStatus {
            target: "text".into(),
            shape: "each".into(),
            came: 1080,
            done: 1076,
            skipped: 4,
            ..TargetStatus::default()
        };
        let note = "over 75 of 76".to_owned();
        let index = TargetStatus {
            target: "index".into(),
            shape: "all".into(),
            came: 76,
            done: 1,
            note,
            ..TargetStatus::default()
        };
        let lines: Vec<String> =
            table(&[text, index]).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(
            lines,
            [
                "target  shape     in   done  skipped",
                "text    each   1,080  1,076        4",
                "index   all       76      1        -  over 75 of 76"
            ]
        );
    }

    #[test]
    fn the_last_line_says_what_to_do() {
        let source =
            SourceStatus { source: "in".into(), documents: 9, new: 2, gone: 1, ..SourceStatus::default() };
        let status = Status { sources: vec![source], to_do: true, ..Status::default() };
        let lines = lines(&status);
        assert_eq!(lines[0], "in  9 documents, 2 new, 1 gone");
        assert_eq!(lines.last().unwrap(), "3 documents to look at: pipe build");
    }
}
