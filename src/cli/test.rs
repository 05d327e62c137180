//! `pipe test`: the golden samples of modules, run and held against what must come of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::cli::diff::diff;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::code::{self, Takes};
use crate::engine::environments;
use crate::engine::provision::Provision;
use crate::engine::trial::Folder;
use crate::error::{Error, Result};
use crate::golden::{self, Difference, Made, Sample, Subject, Verdict};
use crate::model::pipeline::{Call, Module, Program, Verb};
use crate::module::{Host, python};
use crate::project::Project;
use crate::text;

/// So many lines of each difference are shown.
const LINES: usize = 20;

/// Run the golden samples of modules: what they are given, and what must come out
///
/// They lie in tests/MODULE: `short.in.txt` is a document, `short.out.json` what must come of it; `short.toml` may hold
/// params and meta. Without names: every module that has samples. Nothing is recorded, no source is read, and the store
/// may be in use. Exit code 1 if any sample comes out otherwise, 4 if there are none.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Modules, or targets (their modules)
    #[arg(value_name = "MODULE")]
    names: Vec<String>,

    /// Take what comes out for right from now on: write it down. Failures are not
    #[arg(long)]
    bless: bool,
}

/// One sample as `--json`.
#[derive(Serialize)]
struct Line<'a> {
    module: &'a str,
    sample: &'a str,
    state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Told>,
}

#[derive(Serialize)]
struct Told {
    what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    diff: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Passed,
    Failed,
    Unset,
    Blessed,
}

#[derive(Serialize)]
struct Summary {
    samples: usize,
    passed: usize,
    failed: usize,
    blessed: usize,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let began = Instant::now();
        let project = Project::for_reading(&global.locate(out.talk_has_colour()))?;
        let names = self.modules(&project, out)?;
        let host = Arc::new(Host::of_this_program());
        let folder = Folder::begin(&project.store_dir)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupted))
            .map_err(|e| Error::unfinished("cannot listen to signals").caused_by(e))?;
        let stop = || interrupted.load(Ordering::Relaxed);
        let mut sum = Summary { samples: 0, passed: 0, failed: 0, blessed: 0 };
        let mut can_be_blessed = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let subject = subject(&project, name)?;
            let samples = golden::find(&golden::folder_of(&project.root, name))?;
            let scratch = folder.path().join(number.to_string());
            let made = golden::run(&subject, &samples, &host, global.jobs(), &scratch, &stop)?;
            if stop() {
                out.say("Stopped");
                return Ok(Exit::INTERRUPTED);
            }
            let of_module = self.judged(name, &samples, &made)?;
            let counted = |state| of_module.iter().filter(|line| line.state == state).count();
            sum.samples += samples.len();
            sum.passed += counted(State::Passed);
            sum.blessed += counted(State::Blessed);
            sum.failed += counted(State::Failed) + counted(State::Unset);
            let differs = |(made, line): (&Option<Made>, &Line<'_>)| {
                line.state != State::Passed && !matches!(made, None | Some(Made::Failed(_)))
            };
            if !self.bless && made.iter().zip(&of_module).any(differs) {
                can_be_blessed.push(name.as_str());
            }
            tell(name, &of_module, out)?;
        }
        if out.is_json() {
            out.json_line("summary", &sum)?;
        } else {
            let passed = format!("{} of {} passed", sum.passed, text::count(sum.samples as u64, "sample"));
            let blessed = match sum.blessed {
                0 => String::new(),
                blessed => format!(", {blessed} written down"),
            };
            out.say(format!("  Summary  {passed}{blessed} in {}", text::duration(began.elapsed())));
            if !can_be_blessed.is_empty() {
                let names = can_be_blessed.join(" ");
                out.hint(format!("pipe test {names} --bless     takes what came out for right"));
            }
        }
        Ok(if sum.failed > 0 { Exit::FAILED } else { Exit::FINE })
    }

    /// The modules that are meant, of which there are samples.
    fn modules(&self, project: &Project, out: &mut Output) -> Result<Vec<String>> {
        let with_samples = golden::modules_with_samples(&project.root)?;
        if self.names.is_empty() {
            let mut known = Vec::new();
            for name in with_samples {
                let is_used = project.pipeline().modules.iter().any(|module| module.name == name);
                if is_used || found(project, &name).is_ok() {
                    known.push(name);
                } else {
                    let path = name.replace(':', "/");
                    out.warning(format!("tests/{path} has samples, but no target uses a module `{name}`"));
                }
            }
            if known.is_empty() {
                return Err(Error::no_match("there are no samples in tests/")
                    .hint("pipe try TARGET DOC --save-test     makes one of a document")
                    .hint("a sample is a file tests/MODULE/NAME.in.txt, and NAME.out.txt beside it"));
            }
            return Ok(known);
        }
        let mut chosen = Vec::new();
        for name in &self.names {
            let name = module_of(project, name);
            subject(project, &name)?;
            if !with_samples.contains(&name) {
                let path = name.replace(':', "/");
                return Err(Error::no_match(format!("module `{name}` has no samples"))
                    .hint("pipe try TARGET DOC --save-test     makes one of a document")
                    .hint(format!(
                        "or write tests/{path}/NAME.in.txt; pipe test {name} --bless adds what comes out"
                    )));
            }
            if !chosen.contains(&name) {
                chosen.push(name);
            }
        }
        Ok(chosen)
    }

    /// How each sample came out; with `--bless` it is written down.
    fn judged<'a>(
        &self,
        name: &'a str,
        samples: &'a [Sample],
        made: &[Option<Made>],
    ) -> Result<Vec<Line<'a>>> {
        let mut lines = Vec::new();
        for (sample, made) in samples.iter().zip(made) {
            let verdict = match made {
                Some(made) => golden::judge(sample, made)?,
                None => Verdict::Wrong(vec![Difference { what: "its worker ended".into(), texts: None }]),
            };
            let (mut state, differences) = match verdict {
                Verdict::Passed => (State::Passed, Vec::new()),
                Verdict::Unset => (State::Unset, Vec::new()),
                Verdict::Wrong(differences) => (State::Failed, differences),
            };
            if self.bless
                && state != State::Passed
                && let Some(made) = made.as_ref().filter(|made| !matches!(made, Made::Failed(_)))
            {
                golden::bless(sample, made)?;
                state = State::Blessed;
            }
            let differences = differences.into_iter().map(Told::of).collect();
            lines.push(Line { module: name, sample: &sample.name, state, differences });
        }
        Ok(lines)
    }
}

impl Told {
    fn of(difference: Difference) -> Told {
        let texts = difference.texts.as_ref();
        let diff = texts.and_then(|(old, new)| diff(old, new, LINES)).unwrap_or_default();
        let only_ends = texts.is_some() && diff.is_empty();
        let what =
            if only_ends { format!("{}, in line ends or length", difference.what) } else { difference.what };
        Told { what, diff }
    }
}

fn tell(name: &str, lines: &[Line<'_>], out: &mut Output) -> Result<()> {
    if out.is_json() {
        return lines.iter().try_for_each(|line| out.json_line("sample", line));
    }
    let passed = lines.iter().filter(|line| line.state == State::Passed).count();
    let head = if passed == lines.len() {
        format!("  Passed   {name}: {}", text::count(passed as u64, "sample"))
    } else {
        format!("  {}   {name}: {passed} of {} passed", "Tested", text::count(lines.len() as u64, "sample"))
    };
    out.line(head)?;
    for line in lines.iter().filter(|line| line.state != State::Passed) {
        let what = match line.state {
            State::Blessed => "written down",
            State::Unset => "nothing says yet what must come of it",
            State::Failed | State::Passed => "failed",
        };
        out.line(format!("    {}: {what}", line.sample))?;
        for told in &line.differences {
            out.line(text::printable(&format!("      {}", told.what)))?;
            for line in &told.diff {
                out.line(text::printable(&format!("        {}", text::shorten(line, 160))))?;
            }
        }
    }
    Ok(())
}

/// The module that a name means: its own, or a target's only one.
fn module_of(project: &Project, name: &str) -> String {
    let pipeline = project.pipeline();
    let is_module = pipeline.modules.iter().any(|module| module.name == name);
    match pipeline.find_target(name).filter(|_| !is_module).map(|ix| &pipeline.target(ix).call) {
        Some(Call::Module(ix)) => pipeline.module(*ix).name.clone(),
        _ => name.to_owned(),
    }
}

/// A module that the Pipelinefile uses, or a function in modules/.
fn subject(project: &Project, name: &str) -> Result<Subject> {
    let pipeline = project.pipeline();
    let used = pipeline.modules.iter().find(|module| module.name == name).cloned();
    let module = match used {
        Some(module) => module,
        None => found(project, name)?,
    };
    let targets = pipeline.targets_of_module(name);
    let target = targets.first().map(|ix| pipeline.target(*ix));
    let (mut takes_docs, mut python) = (target.is_some_and(|target| target.verb != Verb::Each), None);
    let mut in_use = None;
    if let Program::Python { function, .. } = &module.program {
        let source = code::source_of(&project.root, &module)?;
        let takes = source.as_ref().and_then(|source| source.functions.find(function));
        let takes = takes.and_then(code::Function::takes);
        takes_docs = takes.map_or(takes_docs, |takes| takes == Takes::Docs);
        let interpreter = python::find(&project.root)?;
        let sdk = python::unpack_sdk(&project.store_dir.join("python"))?;
        let base = interpreter.with(sdk);
        let (root, host) = (project.root.as_path(), &Host::of_this_program());
        let mut provision =
            Provision { root, base: &base, host, say: &mut |_| {}, stop: &|| false, dry_run: false };
        in_use = provision.prepare(&module)?;
        python = Some(environments::python_of(&project.root, &module, &base)?);
    }
    let splits = targets.iter().map(|ix| pipeline.target(*ix)).find(|target| target.split);
    Ok(Subject {
        module,
        takes_docs,
        split: splits.map(|target| target.split_limits),
        ext: target.and_then(|target| target.ext.clone()),
        python,
        root: project.root.clone(),
        in_use,
    })
}

/// A function in modules/ that no target uses.
fn found(project: &Project, name: &str) -> Result<Module> {
    let all = code::modules_found(&project.root)?.modules;
    let Some(found) = all.iter().find(|found| found.name == name) else {
        let used = project.pipeline().modules.iter().map(|module| module.name.as_str());
        let known = used.chain(all.iter().map(|found| found.name.as_str()));
        let error = Error::usage(format!("there is no module `{name}`"));
        return Err(match text::nearest(name, known) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("pipe modules     shows those that there are"),
        });
    };
    Ok(Module::found(name.to_owned(), found.file.clone().into(), found.function.name.clone()))
}
