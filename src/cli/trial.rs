//! `pipe try`: one document through one target in this terminal, to see what the module makes of it; or a sample.

mod anew;
mod sample;
mod save;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cli::ask;
use crate::cli::diff;
use crate::cli::exit::Exit;
use crate::cli::global::{Define, Global};
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::select::select;
use crate::cli::trial::save::Kept;
use crate::engine::Parts;
use crate::engine::documents::Documents;
use crate::engine::provision::InUse;
use crate::engine::trial::{Compared, Folder, Rerun, Trial, prepare};
use crate::error::{Error, Result};
use crate::golden;
use crate::hash::Digest;
use crate::model::action::Outcome;
use crate::model::children;
use crate::model::document::DocId;
use crate::model::failure::Failure;
use crate::model::folder;
use crate::model::pipeline::{Pipeline, Program, TargetIx, Verb};
use crate::module::trial::{Mode, Tried, run};
use crate::module::{Done, Host, Launch, OutputBody, Request};
use crate::project::Project;
use crate::query::find;
use crate::store::Store;
use crate::text;

/// Text up to this size is printed.
const PRINTED: usize = 64 * 1024;

/// Run a target on one document in this terminal; nothing is recorded
///
/// The module gets what is stored for the document: the results of the targets before, as the last build left them. A
/// target that reads a source takes the file as it is now. What the module prints goes to this terminal, and
/// `breakpoint()` works. The result goes to stdout if it is text, else to a file that the next `pipe try` removes. There
/// is no time limit. With `--sample` the target runs on some documents of every kind as a build would, and what comes out
/// is compared with what is kept: exit code 1 if any fails that did not. While a build has the store the inputs cannot be looked up; once the module runs, one may run.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A target
    target: String,

    /// A document; not needed if the target is a set
    #[arg(conflicts_with = "sample")]
    doc: Option<String>,

    /// Run it on so many documents of every kind, and compare with the results that are kept
    #[arg(long, value_name = "N", conflicts_with = "debug")]
    sample: Option<std::num::NonZeroUsize>,

    /// With --sample: only documents whose id the glob matches
    #[arg(long, value_name = "GLOB", requires = "sample")]
    docs: Option<String>,

    /// Show how the result differs from the stored one, instead of the result
    #[arg(long, conflicts_with = "sample")]
    diff: bool,

    /// Run the targets before it too, instead of taking what is stored: on the document, or all of it for a set
    #[arg(long, conflicts_with = "sample")]
    fresh: bool,

    /// Keep the input, the params and what came out as a sample for `pipe test`
    #[arg(long, conflicts_with_all = ["sample", "debug"])]
    save_test: bool,

    /// Open the debugger at the line that fails (Python modules)
    #[arg(long, conflicts_with = "json")]
    debug: bool,

    #[command(flatten)]
    define: Define,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    doc: &'a str,
    target: &'a str,
    state: &'static str,
    input: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Made>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    #[serde(skip_serializing_if = "String::is_empty")]
    printed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<String>,
    ms: u64,
}

/// A result.
#[derive(Serialize)]
struct Made {
    ext: String,
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    stored: Compared,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// With `--diff`: the lines that differ, where both are texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

/// A trial that is ready, and what is to be known of the stored result.
pub(super) struct Prepared {
    pub(super) trial: Trial,
    /// With `--diff`: its text, if it is a text.
    stored: Option<String>,
    /// Its environments stay as they are.
    _in_use: Vec<InUse>,
}

impl Args {
    /// A target and a document, as of the command line.
    pub(super) fn of(target: &str, doc: &str, define: Define) -> Self {
        Args {
            target: target.to_owned(),
            doc: Some(doc.to_owned()),
            sample: None,
            docs: None,
            diff: false,
            fresh: false,
            save_test: false,
            debug: false,
            define,
        }
    }

    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = Project::for_build(&global.locate_with(&self.define, out.talk_has_colour()))?;
        let ix = self.chosen(&project)?;
        if let Some(size) = self.sample {
            return self.on_sample(&project, ix, size.get(), global.jobs(), out);
        }
        let host = Arc::new(Host::of_this_program());
        let mut folder = None;
        let interrupted = Arc::new(AtomicBool::new(false));
        // A signal that is caught here is not ignored by the program: the terminal sends it to both, and that is to end.
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))
            .map_err(|e| Error::unfinished("cannot listen to signals").caused_by(e))?;
        let stop = || interrupted.load(Ordering::Relaxed);
        let prepared = self.prepared(&project, ix, &host, &mut folder, global.jobs(), out);
        if stop() {
            out.say("Stopped: nothing was recorded");
            return Ok(Exit::INTERRUPTED);
        }
        let prepared = prepared?;
        let mut folder = folder.ok_or_else(|| Error::unfinished("there is no folder for the trial"))?;
        let trial = &prepared.trial;
        if !out.is_json() {
            headed(out, "Input", &trial.input);
            trial.notes.iter().for_each(|note| out.warning(note));
        }
        let mode = match (self.debug, out.is_json()) {
            (true, _) => Mode::Debug,
            (false, true) => Mode::DataOnly,
            (false, false) => Mode::Plain,
        };
        let tried = run(&host, trial.launch.clone(), trial.request.clone(), folder.path(), mode, &stop);
        if stop() {
            out.say("Stopped: nothing was recorded");
            return Ok(Exit::INTERRUPTED);
        }
        let tried = tried.map_err(|failure| self.cannot_start(&failure))?;
        // First: a large result is moved away when it is shown.
        let keep = || -> Result<Option<Kept>> {
            if !self.save_test {
                return Ok(None);
            }
            save::save(&project, trial, &tried.done).map(Some)
        };
        let kept = keep()?;
        if out.is_json() {
            self.as_json(&prepared, &tried, kept.as_ref(), &mut folder, out)
        } else {
            self.as_text(&prepared, &tried, kept.as_ref(), &mut folder, out)
        }
    }

    /// The one target that is meant.
    pub(super) fn chosen(&self, project: &Project) -> Result<TargetIx> {
        let pipeline = project.pipeline();
        let targets = select(pipeline, std::slice::from_ref(&self.target))?;
        let name = |ix: &TargetIx| pipeline.target(*ix).name.as_str();
        let mut of = targets.iter();
        let (Some(ix), None) = (of.next().copied(), of.next()) else {
            let names: Vec<&str> = targets.iter().map(name).collect();
            let message = format!("several targets use module `{}`: {}", self.target, names.join(", "));
            return Err(
                Error::usage(message).hint(format!("pipe try {} …", names.first().unwrap_or(&"TARGET")))
            );
        };
        if self.debug && !is_python(pipeline, ix) {
            return Err(Error::usage(format!(
                "`--debug` is for Python modules; that of `{}` is a command",
                name(&ix)
            ))
            .hint(format!("pipe try {}     shows what it prints", self.target)));
        }
        Ok(ix)
    }

    /// Holds the store only for as long as it takes to find the inputs.
    pub(super) fn prepared(
        &self,
        project: &Project,
        ix: TargetIx,
        host: &Arc<Host>,
        folder: &mut Option<Folder>,
        jobs: usize,
        out: &mut Output,
    ) -> Result<Prepared> {
        let store = owner::open(project, out)?;
        let doc = self.document(project, &store, ix);
        let mut in_use = Vec::new();
        let prepared = doc.and_then(|doc| {
            let parts = Parts::new(project.pipeline(), project.loaded.digest, &store, Arc::clone(host))?;
            let modules = project.pipeline().modules_of(ix);
            let mut say = |message| out.say(format!("{message} …"));
            in_use = parts.prepare(modules, false, &mut say, &|| false)?;
            let folder = folder.insert(Folder::begin(&project.store_dir)?);
            if self.fresh && project.pipeline().target(ix).verb != Verb::Each {
                let trial = anew::prepared(&parts, ix, &doc, folder.path(), jobs, out)?;
                return self.with_stored(trial, &store);
            }
            let mut rerun = |target: &str, launch, request, folder: &Path| {
                Self::rerun(target, host, launch, request, folder, out)
            };
            let rerun: Option<&mut Rerun<'_>> = if self.fresh { Some(&mut rerun) } else { None };
            let trial = prepare(&parts, ix, &doc, folder.path(), rerun)?;
            self.with_stored(trial, &store)
        });
        let closed = store.close();
        let prepared = prepared?;
        closed.map(|()| Prepared { _in_use: in_use, ..prepared })
    }

    /// With the text of the stored result, if it is to be compared.
    fn with_stored(&self, trial: Trial, store: &Store) -> Result<Prepared> {
        let stored = match &trial.stored {
            Some(Outcome::Output(output)) if self.diff && output.ext != folder::EXT => {
                let bytes = store.output_bytes(output)?;
                bytes.and_then(|bytes| golden::readable_text(&bytes, &output.ext))
            }
            _ => None,
        };
        Ok(Prepared { trial, stored, _in_use: Vec::new() })
    }

    /// Runs a target before the one that is tried.
    fn rerun(
        target: &str,
        host: &Arc<Host>,
        launch: Launch,
        request: Request,
        folder: &Path,
        out: &mut Output,
    ) -> Result<Done> {
        let mode = if out.is_json() { Mode::DataOnly } else { Mode::Plain };
        if !out.is_json() {
            headed(out, "Fresh", target);
        }
        let tried = run(host, launch, request, folder, mode, &|| false);
        let tried = tried.map_err(|failure| {
            Error::unfinished(format!("the module of `{target}` cannot start: {}", summary(&failure)))
        })?;
        if !tried.printed.is_empty() && !out.is_json() {
            out.drawn(&String::from_utf8_lossy(&tried.printed));
        }
        Ok(tried.done)
    }

    fn document(&self, project: &Project, store: &Arc<Store>, ix: TargetIx) -> Result<DocId> {
        let target = project.pipeline().target(ix);
        let Some(doc) = &self.doc else {
            return match target.verb {
                Verb::All => Ok(DocId::of_set(&target.name)),
                _ => Err(Error::usage(format!(
                    "target `{}` has a result for each document: say which",
                    target.name
                ))
                .hint(format!("pipe ls {}     lists them", target.name))),
            };
        };
        let asked = ask::here(project, store);
        Ok(find::document(&asked, &Documents::new(asked.pipeline, asked.store), doc)?.id)
    }

    fn cannot_start(&self, failure: &Failure) -> Error {
        let mut error =
            Error::unfinished(format!("the module of `{}` cannot start: {}", self.target, summary(failure)));
        error.report = failure.traceback.clone();
        error
    }

    fn as_text(
        &self,
        prepared: &Prepared,
        tried: &Tried,
        kept: Option<&Kept>,
        folder: &mut Folder,
        out: &mut Output,
    ) -> Result<Exit> {
        let trial = &prepared.trial;
        if !tried.printed.is_empty() {
            out.drawn(&String::from_utf8_lossy(&tried.printed));
        }
        let exit = match &tried.done {
            Done::Skip(reason) => {
                headed(out, "Skipped", &text::printable(reason));
                Exit::FINE
            }
            Done::Failed(failure) => {
                let shown = failure.traceback.as_deref().filter(|_| !self.debug);
                if let Some(traceback) = shown {
                    out.drawn(&format!("{}\n", traceback.trim_end()));
                }
                out.drawn(&line("Failed", &text::printable(&summary(failure))));
                if !self.debug && failure.place.is_some() {
                    out.hint(format!(
                        "pipe try {} {} --debug     opens the debugger there",
                        self.target,
                        text::shell_word(trial.doc.as_str())
                    ));
                }
                Exit::FAILED
            }
            Done::Output(output) => {
                let made = self.made(prepared, output, folder)?;
                let kind = match (made.ext.as_str(), &made.text) {
                    (folder::EXT, _) => "folder".to_owned(),
                    (children::EXT, Some(lines)) => {
                        text::count(lines.lines().count() as u64, "child").replace("childs", "children")
                    }
                    (ext, _) => ext.to_owned(),
                };
                let what = [Some(kind).filter(|ext| !ext.is_empty()), made.length.map(text::size)];
                let what: Vec<String> = what.into_iter().flatten().collect();
                let what = if output.body == OutputBody::Same {
                    "the input, unchanged".to_owned()
                } else {
                    what.join(", ")
                };
                let how =
                    if made.stored == Compared::Differs && !self.diff { "     --diff shows how" } else { "" };
                headed(out, "Output", &format!("{what}, {}{how}", made.stored.words()));
                if let Some(meta) = &made.meta {
                    headed(out, "Meta", &meta.to_string());
                }
                for line in made.diff.iter().flatten() {
                    out.line(text::printable(line))?;
                }
                if self.diff && made.diff.is_none() && made.stored == Compared::Differs {
                    headed(out, "Differs", "not in lines of a text: the length, the extension or the meta");
                }
                if let Some(text) = made.text.as_ref().filter(|_| !self.diff) {
                    out.bytes(text.as_bytes())?;
                    if !text.is_empty() && !text.ends_with('\n') {
                        out.bytes(b"\n")?;
                    }
                }
                if let Some(path) = &made.path {
                    headed(out, "Kept", &format!("{path} (until the next `pipe try`)"));
                }
                Exit::FINE
            }
        };
        if let Some(kept) = kept {
            let with = if kept.has_result { "with what came out" } else { "without a result" };
            headed(out, "Saved", &format!("{}, {with}", kept.path));
        }
        headed(out, "Done", &format!("{}; nothing was recorded", text::duration(tried.duration)));
        if let Some(kept) = kept {
            let bless = if kept.has_result { "" } else { " --bless" };
            let what = if kept.has_result { "runs it" } else { "adds what comes out, once that is right" };
            out.hint(format!("pipe test {}{bless}     {what}", trial.module));
        }
        Ok(exit)
    }

    /// The result: as text where it is a little text, else in a file.
    fn made(&self, prepared: &Prepared, output: &crate::module::Output, kept: &mut Folder) -> Result<Made> {
        let trial = &prepared.trial;
        let ext = trial.ext(output).to_owned();
        let new = if self.diff { made_text(output, &ext)? } else { None };
        let diff = prepared.stored.as_deref().zip(new.as_deref());
        let diff = diff.and_then(|(old, new)| diff::diff(old, new, usize::MAX));
        let (length, text, path) = match &output.body {
            OutputBody::Same | OutputBody::Children(_) => (None, None, None),
            OutputBody::Folder { bytes, .. } => {
                let made = folder::read(bytes);
                let length = made.as_ref().map(folder::Folder::bytes);
                let lines = made.iter().flat_map(|made| &made.files);
                let lines = lines.map(|file| format!("{:>10}  {}\n", text::size(file.length), file.shown()));
                (length, Some(lines.collect()), None)
            }
            OutputBody::File { path, length, .. } => (Some(*length), None, Some(kept.keep(path, &ext)?)),
            OutputBody::Bytes { bytes, .. } if ext == children::EXT => {
                let made = children::read(bytes).unwrap_or_default();
                let length = made.iter().map(|child| child.length).sum();
                (Some(length), Some(children::readable(&made)), None)
            }
            OutputBody::Bytes { bytes, .. } => {
                let length = Some(bytes.len() as u64);
                match std::str::from_utf8(bytes).ok().filter(|text| text.len() <= PRINTED) {
                    Some(text) => (length, Some(text.to_owned()), None),
                    None => {
                        let file = kept.path().join("result");
                        crate::fs::write_scratch(&file, bytes)?;
                        (length, None, Some(kept.keep(&file, &ext)?))
                    }
                }
            }
        };
        Ok(Made {
            digest: trial.digest(output),
            stored: trial.compare(output),
            meta: serde_json::from_str(&output.meta).ok(),
            path: path.map(|path| path.display().to_string()),
            ext,
            length,
            text,
            diff,
        })
    }

    fn as_json(
        &self,
        prepared: &Prepared,
        tried: &Tried,
        kept: Option<&Kept>,
        folder: &mut Folder,
        out: &mut Output,
    ) -> Result<Exit> {
        let trial = &prepared.trial;
        let mut answer = Answer {
            doc: trial.doc.as_str(),
            target: &self.target,
            state: "done",
            input: &trial.input,
            output: None,
            skip: None,
            failure: None,
            printed: String::from_utf8_lossy(&tried.printed).into_owned(),
            saved: kept.map(|kept| kept.path.clone()),
            ms: tried.duration.as_millis() as u64,
        };
        let exit = match &tried.done {
            Done::Output(output) => {
                answer.output = Some(self.made(prepared, output, folder)?);
                Exit::FINE
            }
            Done::Skip(reason) => {
                (answer.state, answer.skip) = ("skipped", Some(reason.as_str()));
                Exit::FINE
            }
            Done::Failed(failure) => {
                (answer.state, answer.failure) = ("failed", Some(failure));
                Exit::FAILED
            }
        };
        out.json_line("try", &answer)?;
        Ok(exit)
    }
}

/// A new result as people compare it line by line, if it is a text.
fn made_text(output: &crate::module::Output, ext: &str) -> Result<Option<String>> {
    Ok(match &output.body {
        OutputBody::Bytes { bytes, .. } => golden::readable_text(bytes, ext),
        OutputBody::File { path, .. } => golden::readable_text(&crate::fs::read(path)?, ext),
        OutputBody::Folder { .. } | OutputBody::Same | OutputBody::Children(_) => None,
    })
}

fn is_python(pipeline: &Pipeline, ix: TargetIx) -> bool {
    let is_python = |ix| matches!(pipeline.module(ix).program, Program::Python { .. });
    pipeline.modules_of(ix).into_iter().any(is_python)
}

/// `ValueError: no table (modules/words.py:12)`
fn summary(failure: &Failure) -> String {
    let place = failure.place.as_ref().map(|place| format!(" ({place})"));
    format!("{}{}", failure.summary(), place.unwrap_or_default())
}

fn headed(out: &mut Output, head: &str, text: &str) {
    out.say(line(head, text).trim_end());
}

fn line(head: &str, text: &str) -> String {
    format!("  {head:<9} {text}\n")
}
