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

use crate::model::failure::Failure;
use crate::model::pipeline::Program;
use crate::module::command::{Command, cannot_start};
use crate::module::filter::{Filter, take_output};
use crate::module::host::Host;
use crate::module::launch::{Launch, Request};
use crate::module::minder::death;
use crate::module::output::{Place, bad_reply};
use crate::module::protocol::{self, Line};
use crate::module::report::{Done, Report};
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
    let (done, printed) = match launch.program.clone() {
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
    let place = Place { ours: &tmp, keep: kept(folder), ext: launch.ext.as_deref() };
    match (frame.fatal, frame.output, frame.skip, frame.error) {
        (Some(fault), ..) => Err(fault.into_failure()),
        (_, Some(output), None, None) => Ok(place.of_frame(output)),
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
    let place = Place { ours: &tmp, keep: kept(folder), ext: None };
    Ok(filter.verdict(exit, None, memory_kills).unwrap_or_else(|| take_output(&place, &out, ext)))
}

fn worker(
    host: &Arc<Host>,
    launch: Launch,
    request: Request,
    stop: &dyn Fn() -> bool,
) -> Result<(Done, Vec<u8>), Failure> {
    let log = launch.log.clone();
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
                        Report::Answer(given) => answer = Some(Ok(given.done)),
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
