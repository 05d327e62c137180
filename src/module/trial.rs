//! One document in the author's own terminal: the keyboard, the screen and the debugger are the program's.
//!
//! Python functions and filters run as children of this very process, in its process group, without a time limit.
//! A worker of another language cannot have the terminal, for the protocol runs over its standard input: it runs in a
//! slot, and what it printed is given back. Knows nothing of what was stored before.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::hash::Digest;
use crate::model::children::{Child, Names};
use crate::model::document::escape_name;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::{Program, SplitLimits};
use crate::module::children::Sent;
use crate::module::command::{Command, cannot_start};
use crate::module::filter::{Filter, take_output};
use crate::module::host::Host;
use crate::module::launch::{Launch, Request};
use crate::module::minder::death;
use crate::module::output::{Place, bad_reply};
use crate::module::protocol::{self, Line};
use crate::module::report::{Done, Output, OutputBody, Report};
use crate::module::slot::Slot;
use crate::sys;

/// How often somebody may ask to stop.
const TICK: Duration = Duration::from_millis(100);

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The result. A file of it lies in the folder of the trial.
    pub done: Done,
    /// What was printed and not seen on the terminal.
    pub printed: Vec<u8>,
    /// From the start of the program to its end.
    pub duration: Duration,
}

/// How to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As a build would.
    Plain,
    /// The debugger opens where a Python function fails.
    Debug,
    /// Nothing but data may appear on standard output.
    DataOnly,
}

/// Runs one document. `folder` is for all files of the trial, its results too; `stop` is asked now and then where the
/// terminal's own signals do not reach the program.
///
/// # Errors
///
/// The module cannot start: nothing was tried.
pub fn run(
    host: &Arc<Host>,
    launch: Launch,
    request: Request,
    folder: &Path,
    mode: Mode,
    stop: &dyn Fn() -> bool,
) -> Result<Tried, Failure> {
    let begin = Instant::now();
    let (done, printed) = match launch.program.inside().clone() {
        Program::Python { file, function } => {
            (python(&launch, &request, folder, (&file, &function), mode)?, Vec::new())
        }
        Program::Filter(_) | Program::Shell(_) => (filter(&launch, &request, folder, mode)?, Vec::new()),
        Program::Worker(_) | Program::Url(_) | Program::Image(..) => worker(host, launch, request, stop)?,
    };
    Ok(Tried { done, printed, duration: begin.elapsed() })
}

/// Where a large result stays.
fn kept(folder: &Path) -> PathBuf {
    folder.join("result")
}

/// Prints go to the terminal; where standard output is no terminal it is for the result alone.
fn prints(mode: Mode) -> Stdio {
    if mode != Mode::DataOnly && io::stdout().is_terminal() { Stdio::inherit() } else { io::stderr().into() }
}

fn python(
    launch: &Launch,
    request: &Request,
    folder: &Path,
    (file, function): (&Path, &str),
    mode: Mode,
) -> Result<Done, Failure> {
    let (question, answer, tmp) =
        (folder.join("request.json"), folder.join("answer.json"), folder.join("tmp"));
    let mut bytes = Vec::new();
    protocol::write_alone(&mut bytes, launch, &tmp, request);
    crate::fs::write_scratch(&question, &bytes).map_err(|error| cannot_start(error.to_string()))?;
    let call = "import pipelinefile; pipelinefile.try_one()";
    let mut command = Command::of_python(launch, call, file, function)?;
    command.words.extend([question.into_os_string(), answer.clone().into_os_string()]);
    if mode == Mode::Debug {
        command.words.push("--debug".into());
    }
    let memory_kills = sys::out_of_memory_kills();
    let exit = sys::run_here(command.here(&launch.root).stdout(prints(mode)))
        .map_err(|error| command.refused(&error))?;
    let said = crate::fs::read_optional(&answer).map_err(|error| cannot_start(error.to_string()))?;
    let Some(said) = said else {
        return Ok(Done::Failed(death(exit, "it", "it gave an answer", &[], memory_kills)));
    };
    let Line::Frame(frame) = protocol::read_line(&said) else {
        return Ok(bad_reply("the Python package wrote no answer that can be read"));
    };
    let (ours, keep) = (|| tmp.clone(), || kept(folder));
    let place = Place { ours: &ours, within: None, keep: &keep, ext: launch.ext.as_deref() };
    match (frame.fatal, frame.output, frame.skip, frame.error) {
        (Some(fault), ..) => Err(fault.into_failure()),
        (_, Some(output), None, None) if output.children.is_some() => {
            let children = frame.children.unwrap_or_default();
            if launch.split.is_none() {
                return Ok(Done::Failed(not_split()));
            }
            Ok(listed(
                launch,
                children.into_iter().map(|mut child| {
                    let name = child.name.take().unwrap_or_default();
                    (escape_name(std::ffi::OsStr::new(&name)).into_owned(), place.of_frame(child, None))
                }),
            ))
        }
        (_, Some(_), None, None) if launch.split.is_some() => Ok(no_children()),
        (_, Some(output), None, None) => Ok(place.of_frame(output, None)),
        (_, None, Some(reason), None) => Ok(Done::Skip(reason)),
        (_, None, None, Some(fault)) => Ok(Done::Failed(fault.into_failure())),
        _ => Ok(bad_reply("an answer is one of output, skip or error")),
    }
}

fn filter(launch: &Launch, request: &Request, folder: &Path, mode: Mode) -> Result<Done, Failure> {
    let lost = |error: io::Error| {
        cannot_start(format!("cannot use scratch files: {}", crate::error::io_text(&error)))
    };
    let tmp = folder.join("tmp");
    let filter = Filter::new(Arc::new(launch.clone()), &tmp)?;
    let (out, ext) = filter.output(&request.input, &tmp);
    let (command, input) = filter.prepare(request, &tmp, &out)?;
    let mut process = command.here(&launch.root);
    if !filter.takes_file {
        process.stdin(File::open(&input).map_err(lost)?);
    }
    process.stdout(if filter.makes_file { prints(mode) } else { File::create(&out).map_err(lost)?.into() });
    let memory_kills = sys::out_of_memory_kills();
    let exit = sys::run_here(&mut process).map_err(|error| command.refused(&error))?;
    let (ours, keep) = (|| tmp.clone(), || kept(folder));
    let place = Place { ours: &ours, within: filter.within(&tmp), keep: &keep, ext: None };
    Ok(filter.verdict(exit, None, memory_kills).unwrap_or_else(|| match &launch.split {
        None => take_output(&place, &out, ext),
        Some(limits) => match filter.list_children(&out, &tmp, limits) {
            Err(failure) => Done::Failed(failure),
            Ok(files) => listed(
                launch,
                files.into_iter().map(|(name, path)| {
                    let own = path.extension().map(|ext| ext.to_string_lossy().to_lowercase());
                    let ext = launch.ext.clone().or(own).unwrap_or_else(|| "bin".to_owned());
                    (name, take_output(&place, &path, ext))
                }),
            ),
        },
    }))
}

/// What a split has come to so far, as it would be recorded: the list of its children.
pub(super) struct List {
    bytes: Vec<u8>,
    names: Names,
    sent: Sent,
    limits: Option<SplitLimits>,
    refused: Option<Failure>,
}

impl List {
    pub(super) fn new(launch: &Launch) -> Self {
        let (bytes, names, sent) = (crate::model::children::begin(), Names::default(), Sent::default());
        List { bytes, names, sent, limits: launch.split, refused: None }
    }

    /// Adds a child; the first that a build would refuse is what comes of the document.
    pub(super) fn add(&mut self, name: &str, output: &Output) {
        let (digest, length) = match &output.body {
            OutputBody::Bytes { bytes, digest } | OutputBody::Folder { bytes, digest, .. } => {
                (*digest, bytes.len() as u64)
            }
            OutputBody::File { digest, length, .. } => (*digest, *length),
            OutputBody::Same | OutputBody::Children(_) => return,
        };
        let fits = match &self.limits {
            Some(limits) => self.sent.add(name, length, limits),
            None => Err(not_split()),
        };
        if let Err(failure) = fits.and_then(|()| self.names.add(name)) {
            self.refused.get_or_insert(failure);
            return;
        }
        let (name, ext, meta) = (name.to_owned(), output.ext.clone(), output.meta.clone());
        crate::model::children::add(&mut self.bytes, &Child { name, digest, length, ext, meta });
    }

    pub(super) fn done(self) -> Done {
        if let Some(failure) = self.refused {
            return Done::Failed(failure);
        }
        let body = OutputBody::Bytes { digest: Digest::of(&self.bytes), bytes: self.bytes };
        Done::Output(Output { body, ext: crate::model::children::EXT.to_owned(), meta: String::new() })
    }
}

fn not_split() -> Failure {
    let message = "children, and the target has no `split = true`";
    Failure::new(FailureKind::BadReply, "bad reply", message)
}

/// What a target with `split = true` makes of an answer that is no children: as a build does.
pub(super) fn no_children() -> Done {
    let message = "a target with `split = true` makes children: yield Child(name, value)";
    Done::Failed(Failure::new(FailureKind::ModuleError, "no children", message))
}

fn listed(launch: &Launch, children: impl Iterator<Item = (String, Done)>) -> Done {
    let mut list = List::new(launch);
    for (name, done) in children {
        match done {
            Done::Output(output) => list.add(&name, &output),
            done => return done,
        }
        if list.refused.is_some() {
            break;
        }
    }
    list.done()
}

fn worker(
    host: &Arc<Host>,
    launch: Launch,
    request: Request,
    stop: &dyn Fn() -> bool,
) -> Result<(Done, Vec<u8>), Failure> {
    let log = launch.log.clone();
    let mut list = Some(List::new(&launch));
    let is_split = launch.split.is_some();
    let (sender, inbox) = channel();
    let deliver = move |reports: Vec<Report>| {
        // Nobody waits for what comes after the answer.
        drop(sender.send(reports));
    };
    let slot = Slot::start(Arc::clone(host), 0, Arc::new(launch), deliver)
        .map_err(|error| cannot_start(error.to_string()))?;
    slot.send(vec![request]);
    slot.finish();
    let mut answer = None;
    let mut printed = Vec::new();
    loop {
        match inbox.recv_timeout(TICK) {
            Ok(reports) => {
                for report in reports {
                    match report {
                        Report::Child { name, output, .. } => {
                            list.iter_mut().for_each(|list| list.add(&name, &output));
                        }
                        Report::Answer(given) => {
                            answer = Some(Ok(match given.done {
                                Done::Output(Output { body: OutputBody::Children(_), .. }) => {
                                    list.take().map_or_else(no_children, List::done)
                                }
                                Done::Output(_) if is_split => no_children(),
                                done => done,
                            }));
                        }
                        Report::Died(died) => answer = Some(Ok(Done::Failed(died.failure))),
                        Report::Fatal { failure, .. } => answer = Some(Err(failure)),
                        Report::Warn { warning, .. } => {
                            printed.extend_from_slice(format!("warn: {warning}\n").as_bytes());
                        }
                        _ => {}
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) if stop() => slot.kill(),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    slot.join();
    // What cannot be read is not shown; the result counts.
    printed.extend(crate::fs::read_optional(&log).ok().flatten().unwrap_or_default());
    let done = answer.unwrap_or_else(|| Err(cannot_start("it ended without an answer")));
    done.map(|done| (done, printed))
}
