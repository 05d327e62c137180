//! `pipe failed`: what failed, by cause, with what to do about each.

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::cli::which::Failures;
use crate::error::Result;
use crate::model::failure::FailureKind;
use crate::model::pipeline::{Pipeline, Program};
use crate::query::failed::Failed;
use crate::query::status::{Again, CauseStatus};
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
            let is_python = |target: &str| is_python(project.pipeline(), target);
            let lines = lines(&failed, self.which.is_narrow(), &self.which.docs_flag(), &is_python);
            lines.into_iter().try_for_each(|line| out.line(line))?;
        }
        let fine = !self.exit_code || (failed.causes.is_empty() && failed.unfinished.is_empty());
        Ok(if fine { Exit::FINE } else { Exit::FAILED })
    }
}

/// Whether a module of the target can be looked at with pdb.
fn is_python(pipeline: &Pipeline, target: &str) -> bool {
    let modules = pipeline.find_target(target).map(|ix| pipeline.modules_of(ix)).unwrap_or_default();
    modules.into_iter().any(|module| matches!(pipeline.module(module).program, Program::Python { .. }))
}

/// `is_narrow`: not all failures of a target are here; `docs`: the flag that left out documents.
fn lines(failed: &Failed, is_narrow: bool, docs: &str, is_python: &dyn Fn(&str) -> bool) -> Vec<String> {
    let unfinished = format!("the last build did not finish: {}", failed.unfinished);
    if failed.causes.is_empty() {
        let rest = (!failed.unfinished.is_empty()).then_some(unfinished);
        return std::iter::once("nothing failed".to_owned()).chain(rest).collect();
    }
    let causes = text::count(failed.causes.len() as u64, "cause");
    let mut lines = vec![format!("{}, {causes}", text::count(failed.documents, "document"))];
    for cause in &failed.causes {
        lines.push(String::new());
        let of_target = failed.causes.iter().filter(|other| other.target == cause.target).count();
        let of_retry = Retry { is_one_of_many: is_narrow || of_target > 1, docs };
        lines.extend(cause_lines(cause, of_retry, is_python(&cause.target)));
    }
    if failed.blocked > 0 {
        lines.push(String::new());
        lines.push(format!("{} behind a failure: pipe status", text::count(failed.blocked, "document")));
    }
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

/// What a command that tries again must say to mean just this.
#[derive(Clone, Copy)]
struct Retry<'a> {
    /// There may be other causes in its target.
    is_one_of_many: bool,
    /// The flag that narrowed the documents.
    docs: &'a str,
}

fn cause_lines(cause: &CauseStatus, retry: Retry<'_>, is_python: bool) -> Vec<String> {
    let failure = &cause.failure;
    let place = failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
    let kind = failure.kind.words();
    let mut lines = vec![
        format!("{}x {}  {kind}{place}  cause {}", text::thousands(cause.count), cause.target, cause.name),
        format!("  {}", failure.summary()),
        format!("  {}", cause.samples.join("  ")),
    ];
    let more = cause.count.saturating_sub(cause.samples.len() as u64);
    if more > 0 {
        lines.push(format!("  and {} more: pipe ls {} --state failed", text::thousands(more), cause.target));
    }
    let again = match cause.again {
        Again::Kept => "kept: no build tries again until code, params or input change",
        Again::NextBuild => "the next build tries again by itself",
        Again::Found => "nothing was run: each build looks again, and it is gone when what causes it is",
    };
    let opened =
        "the next build tries again: opened by `pipe retry`, `pipe redo`, or since its module was stopped";
    match cause.set_aside.saturating_sub(cause.reopened) {
        _ if cause.reopened == cause.count => lines.push(format!("  {opened}")),
        _ if cause.reopened > 0 => {
            let some = text::thousands(cause.reopened);
            lines.push(format!("  {some} of them {opened}; of the others {again}"));
        }
        0 => lines.push(format!("  {again}")),
        all if all == cause.count => {
            lines.push("  set aside: no build tries again until something changes".to_owned());
        }
        some => lines.push(format!(
            "  {} of them set aside: no build tries again until something changes; of the others {again}",
            text::thousands(some)
        )),
    }
    if !cause.behind.is_empty() {
        let of = |(target, count): (&String, &u64)| format!("{target} {}", text::thousands(*count));
        let behind: Vec<String> = cause.behind.iter().map(of).collect();
        lines.push(format!("  blocked behind:  {}", behind.join(", ")));
    }
    if failure.kind == FailureKind::PathTaken {
        lines.push(format!(
            "  the results are there: give `{}` another `publish`, or the files other names",
            cause.target
        ));
        return lines;
    }
    if let Some(sample) = cause.samples.first() {
        let sample = text::shell_word(sample);
        if cause.again == Again::Found {
            lines.push(format!("  look at it:    pipe why {sample}"));
            return lines;
        }
        let debug = if is_python { " --debug" } else { "" };
        let only = if retry.is_one_of_many { format!(" --cause {}", cause.name) } else { String::new() };
        lines.push(format!("  try it here:   pipe try {} {sample}{debug}", cause.target));
        lines.push(format!("  once mended:   pipe retry {}{only}{}", cause.target, retry.docs));
    }
    lines
}
