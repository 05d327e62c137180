//! `pipe build`: brings the pipeline up to date.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::cli::events;
use crate::cli::exit::Exit;
use crate::cli::gate;
use crate::cli::global::{Define, Global};
use crate::cli::interrupt;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::{select, wanted};
use crate::engine::board::Board;
use crate::engine::{self, Options, Parts};
use crate::error::{Error, Result};
use crate::model::allowance::Allowance;
use crate::model::event::{Event, Sink};
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::model::selection::Glob;
use crate::module::Host;
use crate::project::Project;
use crate::socket::Server;
use crate::store::Store;

/// Bring the pipeline up to date: run what is new, keep the rest
///
/// Without names: every target but those with `default = false`. What was done is kept whatever happens; the next build
/// goes on from there. Failures of documents never stop the others.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Targets, or modules (all targets that use them), with everything they need
    #[arg(value_name = "TARGET")]
    names: Vec<String>,

    /// Show what would be done; do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,

    #[command(flatten)]
    define: Define,

    /// Only documents whose id the glob matches; nothing is retired
    #[arg(long, value_name = "GLOB")]
    docs: Option<String>,

    /// Only N documents of each source, the same ones each time; sets see only these
    #[arg(long, value_name = "N", conflicts_with = "docs")]
    sample: Option<u64>,

    /// Bring results up to date that `hold` keeps, of this target (or of all targets of this module)
    #[arg(long, value_name = "TARGET")]
    update: Vec<String>,

    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,

    /// Stop when more documents than this fail: a number, or a share of what is to be done (5%)
    #[arg(long, value_name = "N|P%")]
    max_fail: Option<Allowance>,

    /// Exit with 0 although documents failed, as long as they are no more than this (of all documents)
    #[arg(long, value_name = "N|P%")]
    allow_failures: Option<Allowance>,

    /// Do nothing if in any target more than this would be done again although no document changed (a gate for CI): a
    /// number, or a share of its documents (5%)
    #[arg(long, value_name = "N|P%", conflicts_with = "sample")]
    max_recompute: Option<Allowance>,

    /// Go on after failures (that is what it does)
    #[arg(short, long, hide = true, conflicts_with = "fail_fast")]
    keep_going: bool,

    /// It is meant that a source, or most of its documents, is gone
    #[arg(long)]
    gone: bool,
}

impl Args {
    /// The targets of `--update`, which must be among those that are built.
    fn updated(&self, pipeline: &Pipeline, wanted: &BTreeSet<TargetIx>) -> Result<BTreeSet<TargetIx>> {
        if self.update.is_empty() {
            return Ok(BTreeSet::new());
        }
        let update = select(pipeline, &self.update)?;
        for ix in &update {
            let target = pipeline.target(*ix);
            if target.hold.is_none() {
                let message = format!("target `{}` holds nothing: it has no `hold`", target.name);
                return Err(
                    Error::usage(message).hint(format!("pipe redo {}     does its work again", target.name))
                );
            }
            if !wanted.contains(ix) {
                let message = format!("`--update {}` is not among what is built", target.name);
                return Err(Error::usage(message).hint(format!("pipe build {0} --update {0}", target.name)));
            }
        }
        Ok(update)
    }

    /// A build of everything, as without options.
    pub(super) fn of_all(define: Define) -> Self {
        Args {
            names: Vec::new(),
            dry_run: false,
            define,
            docs: None,
            sample: None,
            update: Vec::new(),
            fail_fast: false,
            max_fail: None,
            allow_failures: None,
            max_recompute: None,
            keep_going: false,
            gone: false,
        }
    }

    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let wanted = wanted(&project, &self.names)?;
        let update = self.updated(project.pipeline(), &wanted)?;
        let warnings = project.warnings();
        if !warnings.is_empty() && !out.is_json() {
            out.drawn(&warnings);
            out.drawn("\n");
        }
        let docs = match &self.docs {
            None => None,
            Some(glob) => Some(
                Glob::new(glob)
                    .map_err(|problem| Error::usage(format!("`--docs {glob}` is no glob: {problem}")))?,
            ),
        };
        let options = Options {
            wanted,
            jobs: global.jobs(),
            docs,
            not_named: HashMap::new(),
            sample_size: self.sample,
            sample: None,
            fail_fast: self.fail_fast,
            max_fail: self.max_fail,
            allow_failures: self.allow_failures,
            gone: self.gone,
            dry_run: self.dry_run,
            reads_all: false,
            update,
            changes: None,
            command: crate::env::command_line(),
        };
        let interrupts = interrupt::watch()?;
        let store = owner::open(&project, out)?;
        if let Some(limit) = self.max_recompute {
            let gate = gate::Gate {
                limit,
                wanted: &options.wanted,
                update: &options.update,
                docs: options.docs.as_ref(),
            };
            if let Err(refused) = gate.pass(&project, &store) {
                store.close()?;
                // A dry run only shows; nobody waits for it.
                if !self.dry_run {
                    events::did_not_begin(&project, &refused, out);
                }
                return Err(refused);
            }
        }
        if !self.dry_run {
            store.keep_pipelinefile(&project.loaded.digest, project.loaded.text());
        }
        let ended =
            Parts::new(project.pipeline(), project.loaded.digest, &store, Arc::new(Host::of_this_program()))
                .and_then(|parts| {
                    let report = events::to_file(global, false, out.build_report(global))?;
                    let report = events::Telling::begin(&project, report)?;
                    let mut sink = ServesMeanwhile {
                        project: &project,
                        store: &store,
                        board: &interrupts.board,
                        report,
                        served: None,
                    };
                    let ended = engine::build(&parts, &options, &mut sink, interrupts);
                    drop(sink.served.take());
                    Ok((ended, sink.report))
                });
        // Whoever is told now may ask the store: its lock goes with it.
        let closed = store.close();
        drop(store);
        let (ended, report) = ended?;
        let is_stopped = interrupts.cancel.load(std::sync::atomic::Ordering::Relaxed);
        let error = ended.as_ref().err().filter(|_| !is_stopped);
        report.end(ended.as_ref().ok(), error, out);
        let summary = ended?;
        closed?;
        Ok(Exit(summary.exit_code()))
    }
}

/// Shows a build, and answers questions of other processes once there is something to do: a build with nothing to do
/// is over before anybody could ask.
struct ServesMeanwhile<'a, 's> {
    project: &'a Project,
    store: &'s Arc<Store>,
    board: &'s Arc<Board>,
    report: events::Telling<'a>,
    served: Option<Result<Server>>,
}

impl Sink for ServesMeanwhile<'_, '_> {
    fn event(&mut self, event: &Event) {
        if self.served.is_none() && matches!(event, Event::Plan { .. } | Event::RunStarted { .. }) {
            let served = owner::serve(self.project, self.store, &Arc::default(), self.board);
            if let Err(error) = &served {
                let message = format!("other commands cannot ask this build: {error}");
                self.report.event(&Event::Notice { message, hint: None });
            }
            self.served = Some(served);
        }
        self.report.event(event);
    }
}
