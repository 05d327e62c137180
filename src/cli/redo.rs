//! `pipe redo`: marks work to be done again; the next build does it.

use std::sync::Arc;

use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::select;
use crate::engine::{Parts, redo};
use crate::error::{Error, Result};
use crate::model::selection::Glob;
use crate::module::Host;
use crate::project::Project;
use crate::text::count;

/// Mark a module's work to be done again; the next build does it
///
/// The mark is on disk when the command returns, and what has been done again stays done, also after a kill. Other
/// versions of the code are not concerned: reverting an edit finds their results as before. Where an output comes out
/// the same, nothing behind it runs.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them)
    #[arg(value_name = "TARGET|MODULE", required = true)]
    names: Vec<String>,

    /// Only documents whose id the glob matches
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,

    /// Only what failed (`pipe retry` does that and builds)
    #[arg(long)]
    failed: bool,

    /// Show what would be marked; mark nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    define: Define,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let targets = select(project.pipeline(), &self.names)?;
        if let Some(glob) = &self.docs {
            Glob::new(glob)
                .map_err(|problem| Error::usage(format!("`--docs {glob}` is no glob: {problem}")))?;
        }
        let store = owner::open(&project, out)?;
        let host = Arc::new(Host::of_this_program());
        let selection = redo::Selection { docs: self.docs.as_deref(), failed: self.failed };
        let marked = Parts::new(project.pipeline(), project.loaded.digest, &store, host)
            .and_then(|parts| redo::redo(&parts, &targets, selection, self.dry_run));
        let closed = store.close();
        let marked = marked?;
        closed?;
        if out.is_json() {
            for target in &marked {
                out.json_line("redo", target)?;
            }
            return Ok(Exit::FINE);
        }
        let verb = if self.dry_run { "would do again" } else { "to be done again" };
        for target in &marked {
            out.line(format!("{}: {verb}: {}", target.target, count(target.documents, "document")))?;
        }
        if !self.dry_run {
            out.hint("pipe build");
        }
        Ok(Exit::FINE)
    }
}
