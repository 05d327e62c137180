//! `--fresh` for a set: everything before it is made anew, in a store of its own that goes with the trial. Nothing of it is
//! recorded in the project, published, or taken from there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::cli::interrupt;
use crate::cli::output::Output;
use crate::cli::select::closure;
use crate::cli::trial::headed;
use crate::engine::trial::{Trial, prepare, prepare_over};
use crate::engine::{self, Options, Parts};
use crate::error::{Error, Result};
use crate::model::document::DocId;
use crate::model::event::{Event, Sink, Stopped, Summary};
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::store::{Opening, Store};
use crate::text::count;

/// The build says what takes time; how it ended is told below.
struct Notices<'a>(&'a mut Output);

impl Sink for Notices<'_> {
    fn event(&mut self, event: &Event) {
        if let Event::Notice { message, .. } = event {
            self.0.say(format!("{message} …"));
        }
    }
}

/// Finds the inputs of a set in what the targets before it make now.
pub(super) fn prepared(
    parts: &Parts<'_>,
    ix: TargetIx,
    doc: &DocId,
    folder: &Path,
    jobs: usize,
    out: &mut Output,
) -> Result<Trial> {
    let mut pipeline = parts.pipeline.clone();
    pipeline.targets.iter_mut().for_each(|target| target.publish = None);
    let mut before = closure(&pipeline, [ix].into());
    before.remove(&ix);
    if before.is_empty() {
        return prepare(parts, ix, doc, folder, None);
    }
    let Opening::Opened(store, _) = Store::open(&folder.join("store"))? else {
        return Err(Error::unfinished("the store of the trial is held by somebody else"));
    };
    let made = Parts {
        pipeline: &pipeline,
        pipelinefile: parts.pipelinefile,
        store: &store,
        host: Arc::clone(&parts.host),
        python: parts.python.clone(),
        interpreter: parts.interpreter.clone(),
        roots: parts.roots.clone(),
        sites: Arc::clone(&parts.sites),
        // What others made is not made anew.
        cache: None,
    };
    let options = Options {
        wanted: before,
        jobs,
        docs: None,
        not_named: HashMap::new(),
        sample_size: None,
        sample: None,
        fail_fast: false,
        max_fail: None,
        allow_failures: None,
        gone: true,
        dry_run: false,
        reads_all: false,
        update: [].into(),
        changes: None,
        command: crate::env::command_line(),
    };
    let summary = engine::build(&made, &options, &mut Notices(out), interrupt::watch()?)?;
    if !out.is_json() {
        told(&summary, &pipeline, &options, out);
    }
    if let Some(stopped) =
        summary.stopped.as_ref().filter(|stopped| !matches!(stopped, Stopped::Signal { .. }))
    {
        return Err(unfinished(stopped));
    }
    let trial = prepare_over(parts, &made, ix, doc, folder);
    let closed = store.close();
    let trial = trial?;
    closed.map(|()| trial)
}

/// A line for each target before it.
fn told(summary: &Summary, pipeline: &Pipeline, options: &Options, out: &mut Output) {
    let is_before = |name: &str| pipeline.find_target(name).is_some_and(|ix| options.wanted.contains(&ix));
    for target in summary.targets.iter().filter(|target| is_before(&target.target)) {
        let mut parts = vec![count(target.built + target.reused, "result")];
        for (n, what) in [
            (target.skipped, "skipped"),
            (target.left_out, "left out"),
            (target.failed, "failed"),
            (target.blocked, "blocked"),
        ] {
            if n > 0 {
                parts.push(format!("{n} {what}"));
            }
        }
        headed(out, "Fresh", &format!("{}: {}", target.target, parts.join(", ")));
    }
    for cause in &summary.causes {
        let first = cause.samples.first().map(|doc| format!(" on {doc}")).unwrap_or_default();
        out.warning(format!("{}{first}: {}", cause.target, cause.failure.summary()));
    }
}

fn unfinished(stopped: &Stopped) -> Error {
    match stopped {
        Stopped::Module { target, failure } | Stopped::Breaker { target, failure, .. } => {
            let mut error = Error::unfinished(format!("`{target}` stopped: {}", failure.summary()));
            error.report.clone_from(&failure.traceback);
            error
        }
        _ => Error::unfinished("what is before it could not be made"),
    }
    .hint("pipe build     shows what is wrong")
}
