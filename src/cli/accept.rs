//! `pipe accept`: the outputs that are there are valid under the present code.

use std::sync::Arc;

use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::{select, select_modules};
use crate::engine::Parts;
use crate::engine::accept::{AcceptedTarget, accept};
use crate::error::Result;
use crate::module::Host;
use crate::project::Project;
use crate::text::count;

/// Declare a target's present outputs valid under its new code
///
/// For a change that cannot change what comes out: a renamed variable, a log line. Nothing runs for documents whose
/// input and params are as they were; each of them says so in its log. What failed or was skipped is decided by the new
/// code, and `pipe redo` beats it. The mark is on disk when the command returns.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them)
    #[arg(value_name = "TARGET|MODULE", required = true)]
    names: Vec<String>,

    /// Show what would be accepted; accept nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    define: Define,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let targets = select(project.pipeline(), &self.names)?;
        let only = select_modules(project.pipeline(), &self.names);
        let store = owner::open(&project, out)?;
        let host = Arc::new(Host::of_this_program());
        let accepted = Parts::new(project.pipeline(), project.loaded.digest, &store, host)
            .and_then(|parts| accept(&parts, &targets, &only, self.dry_run));
        let closed = store.close();
        let accepted = accepted?;
        closed?;
        if out.is_json() {
            for target in &accepted {
                out.json_line("accept", target)?;
            }
            return Ok(Exit::FINE);
        }
        for target in &accepted {
            for line in self.lines(target) {
                out.line(line)?;
            }
        }
        if !self.dry_run && accepted.iter().any(|target| target.documents > 0) {
            out.hint("pipe build     has them in the logs of their documents, and does what is left");
        }
        Ok(Exit::FINE)
    }

    fn lines(&self, target: &AcceptedTarget) -> Vec<String> {
        let name = &target.target;
        if target.documents == 0 {
            let why = if target.others > 0 {
                "its outputs were made with other params or inputs"
            } else if target.up_to_date > 0 {
                "its outputs are of the present code"
            } else {
                "it has no outputs yet"
            };
            return vec![format!("{name}: nothing to accept: {why}")];
        }
        let verb = if self.dry_run { "would accept" } else { "accepted" };
        let mut lines = vec![format!("{name}: {verb}: {}", count(target.documents, "output"))];
        if !target.code.is_empty() {
            lines.push(format!("  the code changed: {}", target.code.join(", ")));
        }
        let left = [
            (target.not_outputs, "failed or skipped: the new code decides"),
            (target.others, "made with other params or side inputs: not covered"),
            (target.up_to_date, "made by the present code already"),
        ];
        let left = left.iter().filter(|(n, _)| *n > 0);
        lines.extend(left.map(|(n, what)| format!("  {} {what}", crate::text::thousands(*n))));
        lines
    }
}
