//! `pipe failed`: what failed, by cause, with what to do about each.

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::select::select;
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

    /// Exit with 1 if anything failed
    #[arg(long)]
    exit_code: bool,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = ask::project(global, out)?;
        let mut targets = Vec::new();
        if !self.names.is_empty() {
            let pipeline = project.pipeline();
            let selected = select(pipeline, &self.names)?;
            targets.extend(selected.into_iter().map(|ix| pipeline.target(ix).name.clone()));
        }
        let (answer, _) = ask::ask_one(&project, &Question::Failed { targets }, out)?;
        let Some(Answer::Failed(failed)) = answer else { return Ok(Exit::FAILED) };
        if out.is_json() {
            out.json_line("failed", &failed)?;
        } else {
            lines(&failed).into_iter().try_for_each(|line| out.line(line))?;
        }
        let fine = !self.exit_code || failed.causes.is_empty();
        Ok(if fine { Exit::FINE } else { Exit::FAILED })
    }
}

fn lines(failed: &Failed) -> Vec<String> {
    if failed.causes.is_empty() {
        return vec!["nothing failed".to_owned()];
    }
    let documents: u64 = failed.causes.iter().map(|cause| cause.count).sum();
    let causes = text::count(failed.causes.len() as u64, "cause");
    let mut lines = vec![format!("{}, {causes}", text::count(documents, "document"))];
    for cause in &failed.causes {
        lines.push(String::new());
        lines.extend(cause_lines(cause));
    }
    if failed.blocked > 0 {
        lines.push(String::new());
        lines.push(format!("{} behind a failure: pipe status", text::count(failed.blocked, "document")));
    }
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

fn cause_lines(cause: &CauseStatus) -> Vec<String> {
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
    if let Some(sample) = cause.samples.first() {
        lines.push(format!("  try it here:   pipe try {} {sample} --debug", cause.target));
        lines.push(format!("  once mended:   pipe retry {}", cause.target));
    }
    lines
}
