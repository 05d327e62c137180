//! `pipe redo`: marks work to be done again; the next build does it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::{select, select_modules};
use crate::engine::redo::{Marked, Selection};
use crate::engine::{Parts, redo};
use crate::error::{Error, Result};
use crate::model::pipeline::TargetIx;
use crate::model::selection::{Glob, parse_age};
use crate::module::Host;
use crate::project::Project;
use crate::text::{self, count};
use crate::time::Millis;

/// Mark a module's work to be done again; the next build does it
///
/// The mark is on disk when the command returns, and what has been done again stays done, also after a kill. Other
/// versions of the code are not concerned: reverting an edit finds their results as before. Where an output comes out
/// the same, nothing behind it runs.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them); without names a selection is needed, and all are meant
    #[arg(value_name = "TARGET|MODULE")]
    names: Vec<String>,

    /// This target and all that is behind it
    #[arg(long, value_name = "TARGET", conflicts_with = "names")]
    from: Option<String>,

    /// Only documents whose id the glob matches, children of those, and sets with such a member
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,

    /// Only what failed (`pipe retry` does that and builds)
    #[arg(long)]
    failed: bool,

    /// Only results made longer ago: 30d, 12h
    #[arg(long, value_name = "AGE", conflicts_with = "cancel")]
    older_than: Option<String>,

    /// Withdraw earlier marks; what was done again stays
    #[arg(long)]
    cancel: bool,

    /// Show what would be marked; mark nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    define: Define,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let targets = self.targets(&project)?;
        if let Some(glob) = &self.docs {
            Glob::new(glob)
                .map_err(|problem| Error::usage(format!("`--docs {glob}` is no glob: {problem}")))?;
        }
        let older_than = self.older_than.as_deref().map(before).transpose()?;
        let store = owner::open(&project, out)?;
        let host = Arc::new(Host::of_this_program());
        let only = self.from.is_none().then(|| select_modules(project.pipeline(), &self.names));
        let (docs, only) = (self.docs.as_deref(), only.as_ref());
        let selection = Selection { docs, failed: self.failed, older_than, only, ..Selection::default() };
        let marked = Parts::new(project.pipeline(), project.loaded.digest, &store, host).and_then(|parts| {
            let mark = if self.cancel { redo::cancel } else { redo::redo };
            mark(&parts, &targets, selection, self.dry_run)
        });
        let closed = store.close();
        let marked = marked?;
        closed?;
        if out.is_json() {
            for target in &marked {
                out.json_line("redo", target)?;
            }
            return Ok(Exit::FINE);
        }
        let is_shown = |target: &&Marked| !self.cancel || target.documents > 0;
        for target in marked.iter().filter(is_shown) {
            out.line(self.line(target))?;
        }
        if self.cancel && marked.iter().all(|target| target.documents == 0) {
            out.line("nothing there is marked")?;
        }
        if self.dry_run && !self.cancel {
            let took: u64 = marked.iter().filter_map(|target| target.took_ms).sum();
            if took > 0 {
                let took = text::duration(Duration::from_millis(took));
                out.line(format!("the last time that took {took} of work"))?;
            }
        } else if !self.dry_run && marked.iter().any(|target| target.documents > 0) {
            out.hint("pipe build");
        }
        Ok(Exit::FINE)
    }

    fn targets(&self, project: &Project) -> Result<BTreeSet<TargetIx>> {
        let pipeline = project.pipeline();
        if let Some(from) = &self.from {
            let first = select(pipeline, std::slice::from_ref(from))?;
            return Ok(first.into_iter().flat_map(|ix| redo::behind(pipeline, ix)).collect());
        }
        let is_narrowed = self.docs.is_some() || self.failed || self.older_than.is_some() || self.cancel;
        if self.names.is_empty() && !is_narrowed {
            return Err(Error::usage("`pipe redo` without names would do everything again: say what")
                .hint("pipe redo TARGET              one target, or all of a module")
                .hint("pipe redo --from TARGET       it and all behind it")
                .hint("pipe redo --docs 'inbox/**'   these documents in all targets"));
        }
        select(pipeline, &self.names)
    }

    fn line(&self, marked: &Marked) -> String {
        let verb = match (self.cancel, self.dry_run) {
            (false, false) => "to be done again",
            (false, true) => "would do again",
            (true, false) => "no longer to be done again",
            (true, true) => "would withdraw",
        };
        format!("{}: {verb}: {}", marked.target, count(marked.documents, "document"))
    }
}

/// The time that long ago.
fn before(age: &str) -> Result<Millis> {
    let wrong = || Error::usage(format!("`--older-than {age}` is no age")).hint("for example 30d, 12h, 45m");
    let age = parse_age(age).ok_or_else(wrong)?;
    Ok(Millis(crate::time::now().0.saturating_sub(age.as_millis() as u64)))
}
