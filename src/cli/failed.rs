//! `pipe failed`: what failed, by cause, with what to do about each.

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Failures;
use crate::error::Result;
use crate::query::failed::Failed;
use crate::query::status::CauseStatus;
use crate::query::{Answer, Question};
use crate::text;

/// Show what failed, grouped by cause, with what to do about each
///
/// A cause is a target, a kind of failure, the type of the error and its place in the code.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them)
    #[arg(value_name = "TARGET|MODULE")]
    names: Vec<String>,

    #[command(flatten)]
    which: Failures,

    /// Exit with 1 if anything failed
    #[arg(long)]
    exit_code: bool,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = ask::project(global, out)?;
        let which = self.which.which(project.pipeline(), &self.names)?;
        let (answer, _) = ask::ask_one(&project, &Question::Failed(which), out)?;
        let Some(Answer::Failed(failed)) = answer else { return Ok(Exit::FAILED) };
        if out.is_json() {
            out.json_line("failed", &failed)?;
        } else {
            lines(&failed).into_iter().try_for_each(|line| out.line(line))?;
        }
        let fine = !self.exit_code || (failed.causes.is_empty() && failed.unfinished.is_empty());
        Ok(if fine { Exit::FINE } else { Exit::FAILED })
    }
}

fn lines(failed: &Failed) -> Vec<String> {
    let unfinished = format!("the last build did not finish: {}", failed.unfinished);
    if failed.causes.is_empty() {
        let rest = (!failed.unfinished.is_empty()).then_some(unfinished);
        return std::iter::once("nothing failed".to_owned()).chain(rest).collect();
    }
    let documents: u64 = failed.causes.iter().map(|cause| cause.count).sum();
    let causes = text::count(failed.causes.len() as u64, "cause");
    let mut lines = vec![format!("{}, {causes}", text::count(documents, "document"))];
    for cause in &failed.causes {
        lines.push(String::new());
        let has_others = failed
            .causes
            .iter()
            .any(|other| other.target == cause.target && other.failure.kind != cause.failure.kind);
        lines.extend(cause_lines(cause, has_others));
    }
    if failed.blocked > 0 {
        lines.push(String::new());
        lines.push(format!("{} behind a failure: pipe status", text::count(failed.blocked, "document")));
    }
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

/// `has_others`: failures of other kinds in the same target.
fn cause_lines(cause: &CauseStatus, has_others: bool) -> Vec<String> {
    let failure = &cause.failure;
    let place = failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    let kind = failure.kind.words();
    let mut lines = vec![
        format!("{}x {}  {kind}{place}", text::thousands(cause.count), cause.target),
        format!("  {}", failure.summary()),
        format!("  {}", cause.samples.join("  ")),
    ];
    let more = cause.count.saturating_sub(cause.samples.len() as u64);
    if more > 0 {
        lines.push(format!("  and {} more: pipe ls {} --state failed", text::thousands(more), cause.target));
    }
    if cause.set_aside > 0 {
        let count = match cause.set_aside {
            all if all == cause.count => String::new(),
            some => format!("{} of them ", text::thousands(some)),
        };
        lines.push(format!("  {count}set aside: no build tries again until something changes"));
    }
    if !cause.behind.is_empty() {
        let of = |(target, count): (&String, &u64)| format!("{target} {}", text::thousands(*count));
        let behind: Vec<String> = cause.behind.iter().map(of).collect();
        lines.push(format!("  blocked behind:  {}", behind.join(", ")));
    }
    if let Some(sample) = cause.samples.first() {
        let only = if has_others { format!(" --kind {}", kind.replace(' ', "-")) } else { String::new() };
        lines.push(format!(
            "  try it here:   pipe try {} {} --debug",
            cause.target,
            text::shell_word(sample)
        ));
        lines.push(format!("  once mended:   pipe retry {}{only}", cause.target));
    }
    lines
}
