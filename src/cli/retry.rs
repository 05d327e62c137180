//! `pipe retry`: opens failed work again, and builds.

use std::sync::Arc;

use crate::cli::build;
use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::{select, select_modules};
use crate::cli::which::Failures;
use crate::engine::failures::{Which, standing_of};
use crate::engine::{Parts, redo};
use crate::error::Result;
use crate::model::failure::FailureKind;
use crate::module::Host;
use crate::project::Project;
use crate::text::count;

/// Try failed work again, and build
///
/// Also what was set aside, and module errors, which are otherwise not tried again until something changes. What
/// succeeded stays. The mark is on disk before the build begins: a build that is stopped half-way goes on with the rest.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them); without names: all
    #[arg(value_name = "TARGET|MODULE")]
    names: Vec<String>,

    #[command(flatten)]
    which: Failures,

    /// Show what would be tried; mark and build nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    define: Define,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let targets = select(project.pipeline(), &self.names)?;
        let which = self.which.which(project.pipeline(), &[])?;
        let store = owner::open(&project, out)?;
        let host = Arc::new(Host::of_this_program());
        let only = select_modules(project.pipeline(), &self.names);
        let selection = redo::Selection {
            docs: which.docs.as_deref(),
            failed: true,
            kinds: &which.kinds,
            causes: &which.causes,
            since: which.since,
            older_than: None,
            only: Some(&only),
        };
        let marked = Parts::new(project.pipeline(), project.loaded.digest, &store, host)
            .and_then(|parts| redo::redo(&parts, &targets, selection, self.dry_run));
        let of = Which {
            targets: targets.iter().map(|ix| project.pipeline().target(*ix).name.clone()).collect(),
            kinds: vec![FailureKind::PathTaken],
            ..which.clone()
        };
        let is_meant = which.kinds.is_empty() || which.kinds.contains(&FailureKind::PathTaken);
        let unshown = is_meant.then(|| standing_of(&store, project.pipeline(), &of)).transpose();
        let closed = store.close();
        drop(store);
        let marked = marked?;
        let unshown = unshown?.map_or(0, |failed| failed.causes.iter().map(|cause| cause.count).sum::<u64>());
        closed?;
        let documents: u64 = marked.iter().map(|target| target.documents).sum();
        if out.is_json() {
            for target in &marked {
                out.json_line("retry", target)?;
            }
        } else if documents == 0 && unshown > 0 {
            let documents = count(unshown, "document");
            out.line(format!("no module failed there; {documents} could not be published: pipe failed"))?;
        } else if documents == 0 {
            out.line("nothing failed there")?;
        } else if self.dry_run {
            for target in marked.iter().filter(|target| target.documents > 0) {
                let documents = count(target.documents, "failed document");
                out.line(format!("{}: would try again: {documents}", target.target))?;
            }
        }
        if self.dry_run || documents == 0 {
            return Ok(Exit::FINE);
        }
        out.flush()?;
        build::Args::of_all(self.define.clone()).run(global, out)
    }
}
