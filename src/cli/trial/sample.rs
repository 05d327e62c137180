//! `pipe try --sample`: the changed module on some documents of every kind, compared with the results that are kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cli::diff::diff;
use crate::cli::exit::Exit;
use crate::cli::output::Output;
use crate::cli::owner;
use crate::cli::trial::{Args, summary};
use crate::engine::Parts;
use crate::engine::provision::InUse;
use crate::engine::sampling::{Sample, Stratum, sample};
use crate::engine::trial::{Compared, Folder, Trial, prepare_all};
use crate::error::{Error, Result};
use crate::golden;
use crate::model::action::{Outcome, Output as Stored};
use crate::model::children;
use crate::model::document::DocId;
use crate::model::failure::Failure;
use crate::model::pipeline::{TargetIx, Verb};
use crate::model::selection::Glob;
use crate::module::trials::run_all;
use crate::module::{Done, Host, Launch, OutputBody, Request};
use crate::project::Project;
use crate::store::Store;
use crate::text;

/// Texts up to this size are compared line by line.
const COMPARED: u64 = 64 * 1024;

/// So many documents of a kind are shown, and so many lines of each.
const SHOWN: usize = 5;
const LINES: usize = 8;

/// How a document came out, against what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    NewlyFailing,
    Changed,
    NewlySkipped,
    NoLongerSkipped,
    NewlyPassing,
    StillFailing,
    Same,
    NotTried,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Changed => "changed",
            Verdict::NewlyFailing => "newly failing",
            Verdict::NewlyPassing => "newly passing",
            Verdict::StillFailing => "still failing",
            Verdict::NewlySkipped => "newly skipped",
            Verdict::NoLongerSkipped => "no longer skipped",
            Verdict::NotTried => "not tried",
        }
    }
}

/// One document of `--json`.
#[derive(Serialize)]
struct Tried {
    doc: String,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure>,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diff: Vec<String>,
}

/// The last line of `--json`.
#[derive(Serialize)]
struct Summary<'a> {
    target: &'a str,
    documents: usize,
    verdicts: BTreeMap<&'static str, usize>,
    strata: &'a [Stratum],
}

/// What is ready to run.
struct Prepared {
    sample: Sample,
    trials: Vec<(DocId, usize, std::result::Result<Trial, Error>)>,
    /// What is kept, as text, where it is a little text.
    old: BTreeMap<DocId, String>,
    /// Its environments stay as they are.
    _in_use: Vec<InUse>,
}

impl Args {
    pub(super) fn on_sample(
        &self,
        project: &Project,
        ix: TargetIx,
        size: usize,
        jobs: usize,
        out: &mut Output,
    ) -> Result<Exit> {
        let name = project.pipeline().target(ix).name.clone();
        if project.pipeline().target(ix).verb != Verb::Each {
            let message =
                format!("`--sample` is for targets with `each`, and `{name}` makes results over many");
            return Err(Error::usage(message).hint(format!("pipe try {name}")));
        }
        let host = Arc::new(Host::of_this_program());
        let folder = Folder::begin(&project.store_dir)?;
        let prepared = self.prepare_sample(project, ix, size, &host, &folder, out)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))
            .map_err(|e| Error::unfinished("cannot listen to signals").caused_by(e))?;
        if !out.is_json() {
            out.say(described(&prepared.sample));
        }
        let stop = || interrupted.load(Ordering::Relaxed);
        let done = self.run_sample(&host, &prepared, jobs, &folder, &stop)?;
        if stop() {
            out.say("Stopped: nothing was recorded");
            return Ok(Exit::INTERRUPTED);
        }
        let mut tried: Vec<Tried> = Vec::new();
        for (number, (doc, _, trial)) in prepared.trials.iter().enumerate() {
            let old = prepared.old.get(doc).map(String::as_str);
            tried.push(match (trial, done.get(&(number as u64 + 1))) {
                (Err(error), _) => not_tried(doc, &error.message),
                (Ok(_), None) => not_tried(doc, "its worker ended"),
                (Ok(trial), Some(done)) => compare(trial, done, old),
            });
        }
        tell_sample(&name, &prepared.sample, &tried, out)?;
        let fails = tried.iter().any(|tried| tried.verdict == Verdict::NewlyFailing);
        Ok(if fails { Exit::FAILED } else { Exit::FINE })
    }

    fn prepare_sample(
        &self,
        project: &Project,
        ix: TargetIx,
        size: usize,
        host: &Arc<Host>,
        folder: &Folder,
        out: &mut Output,
    ) -> Result<Prepared> {
        let glob = self.docs.as_deref().map(|glob| {
            Glob::new(glob).map_err(|why| Error::usage(format!("`--docs {glob}` is no glob: {why}")))
        });
        let glob = glob.transpose()?;
        let store = owner::open(project, out)?;
        let prepared = Parts::new(project.pipeline(), project.loaded.digest, &store, Arc::clone(host))
            .and_then(|parts| {
                let modules = project.pipeline().modules_of(ix);
                let mut say = |message| out.say(format!("{message} …"));
                let in_use = parts.prepare(modules, false, &mut say, &|| false)?;
                let sample = sample(&parts, ix, glob.as_ref(), size)?;
                if sample.docs.is_empty() {
                    let name = &project.pipeline().target(ix).name;
                    let message = format!("`{name}` has no results like that to compare with");
                    return Err(Error::no_match(message).hint(format!("pipe build {name}")));
                }
                let trials = prepare_all(&parts, ix, &sample.docs, folder.path())?;
                let trials = sample.docs.iter().cloned().zip(trials);
                let trials: Vec<_> = trials.map(|(doc, (call, trial))| (doc, call, trial)).collect();
                let mut old = BTreeMap::new();
                for (doc, _, trial) in &trials {
                    if let Ok(Trial { stored: Some(Outcome::Output(output)), .. }) = trial
                        && let Some(text) = stored_text(&store, output)?
                    {
                        old.insert(doc.clone(), text);
                    }
                }
                Ok(Prepared { sample, trials, old, _in_use: in_use })
            });
        let closed = store.close();
        let prepared = prepared?;
        closed.map(|()| prepared)
    }

    /// Runs what was prepared, module by module of its route.
    fn run_sample(
        &self,
        host: &Arc<Host>,
        prepared: &Prepared,
        jobs: usize,
        folder: &Folder,
        stop: &dyn Fn() -> bool,
    ) -> Result<std::collections::HashMap<u64, Done>> {
        let mut calls: BTreeMap<usize, (Launch, Vec<Request>)> = BTreeMap::new();
        for (number, (_, call, trial)) in prepared.trials.iter().enumerate() {
            let Ok(trial) = trial else { continue };
            let (_, requests) = calls.entry(*call).or_insert_with(|| (trial.launch.clone(), Vec::new()));
            requests.push(Request { id: number as u64 + 1, ..trial.request.clone() });
        }
        let mut done = std::collections::HashMap::new();
        for (call, (launch, requests)) in calls {
            let folder = folder.path().join(format!("call-{call}"));
            crate::fs::create_dir(&folder)?;
            let answers = run_all(host, &launch, &requests, jobs, &folder, &mut |_, _, _| (), stop);
            done.extend(answers.map_err(|failure| self.cannot_start(&failure))?);
        }
        Ok(done)
    }
}

fn tell_sample(name: &str, sample: &Sample, tried: &[Tried], out: &mut Output) -> Result<()> {
    let mut verdicts: BTreeMap<Verdict, Vec<&Tried>> = BTreeMap::new();
    for tried in tried {
        verdicts.entry(tried.verdict).or_default().push(tried);
    }
    if out.is_json() {
        for tried in tried {
            out.json_line("tried", tried)?;
        }
        let words = verdicts.iter().map(|(verdict, tried)| (verdict.words(), tried.len()));
        let verdicts = words.collect();
        let summary = Summary { target: name, documents: tried.len(), verdicts, strata: &sample.strata };
        return out.json_line("summary", &summary);
    }
    for (verdict, of) in &verdicts {
        let n = text::thousands(of.len() as u64);
        out.line(format!("{n:>6}  {}", verdict.words()))?;
        if *verdict == Verdict::Same {
            continue;
        }
        for tried in of.iter().take(SHOWN) {
            let failure = tried.failure.as_ref().map(summary);
            let what = failure.unwrap_or_else(|| tried.note.clone());
            let line = format!("        {}  {what}", tried.doc);
            out.line(text::printable(line.trim_end()))?;
            for line in &tried.diff {
                out.line(text::printable(&format!("          {}", text::shorten(line, 160))))?;
            }
        }
        if of.len() > SHOWN {
            out.line(format!("        … {} more: --json lists all", of.len() - SHOWN))?;
        }
    }
    out.say("Nothing was recorded");
    let differs = verdicts.keys().any(|verdict| !matches!(verdict, Verdict::Same | Verdict::StillFailing));
    if differs {
        out.hint(format!("pipe build {name}     does all of it"));
    } else {
        out.hint(format!(
            "pipe accept {name}     keeps the results that are there; pipe build makes them anew"
        ));
    }
    Ok(())
}

/// Where the sample comes from, in one line: `200 of 3,000: 180 done, 20 failed`.
fn described(sample: &Sample) -> String {
    let of: u64 = sample.strata.iter().map(|stratum| stratum.of).sum();
    let mut states: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for stratum in &sample.strata {
        let (taken, all) = states.entry(stratum.state.word()).or_default();
        (*taken, *all) = (*taken + stratum.taken, *all + stratum.of);
    }
    let states = states.iter().map(|(word, (taken, all))| {
        format!("{} of {} {word}", text::thousands(*taken), text::thousands(*all))
    });
    let states: Vec<String> = states.collect();
    let taken = text::thousands(sample.docs.len() as u64);
    let kinds = text::count(sample.strata.len() as u64, "kind");
    format!(
        "  Sample    {taken} of {}: {}; {kinds} by state, extension and size",
        text::count(of, "document"),
        states.join(", ")
    )
}

fn not_tried(doc: &DocId, why: &str) -> Tried {
    let verdict = Verdict::NotTried;
    Tried { doc: doc.to_string(), verdict, failure: None, note: why.to_owned(), diff: Vec::new() }
}

fn compare(trial: &Trial, done: &Done, old: Option<&str>) -> Tried {
    let mut tried = Tried {
        doc: trial.doc.to_string(),
        verdict: Verdict::Same,
        failure: None,
        note: String::new(),
        diff: Vec::new(),
    };
    tried.verdict = match (done, &trial.stored) {
        (Done::Failed(failure), stored) => {
            tried.failure = Some(failure.clone());
            let failed = matches!(stored, Some(Outcome::Failed(_)));
            if failed { Verdict::StillFailing } else { Verdict::NewlyFailing }
        }
        (Done::Skip(reason), stored) => {
            tried.note = format!("skipped: {reason}");
            match stored {
                Some(Outcome::Skip(old)) if old == reason => Verdict::Same,
                Some(Outcome::Skip(_)) => Verdict::Changed,
                Some(Outcome::Failed(_)) => Verdict::NewlyPassing,
                _ => Verdict::NewlySkipped,
            }
        }
        (Done::Output(output), stored) => match trial.compare(output) {
            Compared::Same => Verdict::Same,
            Compared::Skipped => Verdict::NoLongerSkipped,
            Compared::Failed | Compared::None => Verdict::NewlyPassing,
            Compared::Differs => {
                if let Some(Outcome::Output(before)) = stored {
                    describe(trial, before, output, old, &mut tried);
                }
                Verdict::Changed
            }
        },
    };
    tried
}

/// What is different about a result: its lines if it is text, else its size, extension or meta.
fn describe(
    trial: &Trial,
    before: &Stored,
    output: &crate::module::Output,
    old: Option<&str>,
    tried: &mut Tried,
) {
    let (new_bytes, length) = match &output.body {
        OutputBody::Bytes { bytes, .. } => (Some(bytes.clone()), bytes.len() as u64),
        OutputBody::File { path, length, .. } => {
            let bytes = (*length <= COMPARED).then(|| crate::fs::read_optional(path).ok().flatten());
            (bytes.flatten(), *length)
        }
        OutputBody::Folder { .. } | OutputBody::Same | OutputBody::Children(_) => (None, before.length),
    };
    let mut notes = Vec::new();
    if before.ext != trial.ext(output) {
        notes.push(format!("extension {} → {}", before.ext, trial.ext(output)));
    }
    if before.meta != output.meta {
        let shown = |meta: &str| if meta.is_empty() { "none".to_owned() } else { text::shorten(meta, 80) };
        notes.push(format!("meta {} → {}", shown(&before.meta), shown(&output.meta)));
    }
    if before.digest != trial.digest(output) {
        let new = new_bytes.filter(|_| length <= COMPARED);
        let new = new.and_then(|bytes| readable(bytes, trial.ext(output)));
        let lines = old.zip(new.as_deref()).and_then(|(old, new)| diff(old, new, LINES));
        match lines {
            Some(lines) if !lines.is_empty() => tried.diff = lines,
            _ if matches!(output.body, OutputBody::Folder { .. }) => {
                notes.push("its files differ".to_owned());
            }
            _ => notes.push(format!("{} → {}", text::size(before.length), text::size(length))),
        }
    }
    tried.note = notes.join(", ");
}

fn stored_text(store: &Store, output: &Stored) -> Result<Option<String>> {
    if output.length > COMPARED {
        return Ok(None);
    }
    let bytes = store.output_bytes(output)?;
    Ok(bytes.and_then(|bytes| readable(bytes.to_vec(), &output.ext)))
}

/// A result as a text; a list of children a line each.
fn readable(bytes: Vec<u8>, ext: &str) -> Option<String> {
    match ext {
        children::EXT => golden::readable_text(&bytes, ext),
        _ => String::from_utf8(bytes).ok(),
    }
}
