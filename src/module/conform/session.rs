//! A worker under examination: what was sent, what it said, line by line, and how it ended.
//!
//! Not the minder of a build: that one puts up with what this one is here to find.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{Error, Result, io_text};
use crate::module::command::Command;
use crate::module::launch::Launch;
use crate::sys;

/// So many lines of what it printed are kept.
const KEPT: usize = 20;

/// What came next.
pub(super) enum Next {
    /// A frame.
    Frame(Value),
    /// It closed its standard output.
    Ended,
    /// Nothing, for as long as it may take.
    Silent,
}

/// A process of the worker.
pub(super) struct Session {
    child: Child,
    input: Option<Sender<Vec<u8>>>,
    lines: Receiver<Vec<u8>>,
    /// How long an answer may take.
    pub(super) patience: Duration,
    log: PathBuf,
    /// Lines on standard output that are no frames.
    pub(super) strays: Vec<String>,
    /// The last lines in each direction, for whoever looks at a failure.
    pub(super) said: VecDeque<String>,
}

impl Session {
    /// Starts the worker as a build would: its standard error is a file opened for appending.
    pub(super) fn start(launch: &Launch, patience: Duration) -> Result<Session> {
        let refused = |failure: crate::model::failure::Failure| Error::usage(failure.summary());
        let command = Command::of_worker(launch, &launch.tmp).map_err(refused)?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(&launch.log)
            .map_err(|e| Error::io("write", &launch.log, &e))?;
        let mut process = command.here(&launch.root);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = sys::start_beside(&mut process).map_err(|e| refused(command.refused(&e)))?;
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                let mut output = BufReader::new(output);
                let mut line = Vec::new();
                while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                    if sender.send(std::mem::take(&mut line)).is_err() {
                        break;
                    }
                }
            });
        }
        let (input, chunks) = channel::<Vec<u8>>();
        if let Some(mut pipe) = child.stdin.take() {
            // A worker that does not read must not hold us up.
            std::thread::spawn(move || {
                for chunk in chunks {
                    if pipe.write_all(&chunk).and_then(|()| pipe.flush()).is_err() {
                        break;
                    }
                }
            });
        }
        let (input, said, strays) = (Some(input), VecDeque::new(), Vec::new());
        Ok(Session { child, input, lines, patience, log: launch.log.clone(), strays, said })
    }

    /// Sends bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.note("→", bytes);
        if let Some(input) = &self.input {
            // That nobody reads it is seen by what does not come.
            drop(input.send(bytes.to_vec()));
        }
    }

    /// Sends one frame.
    pub(super) fn say(&mut self, frame: &Value) {
        self.send(format!("{frame}\n").as_bytes());
    }

    /// The next frame; what is none is set aside.
    pub(super) fn next(&mut self) -> Next {
        let until = Instant::now() + self.patience;
        loop {
            let line = match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => return Next::Silent,
                Err(RecvTimeoutError::Disconnected) => return Next::Ended,
            };
            self.note("←", &line);
            match serde_json::from_slice::<Value>(&line) {
                Ok(frame) if frame.is_object() && line.ends_with(b"\n") => return Next::Frame(frame),
                _ if line.trim_ascii().is_empty() => {}
                _ => {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    self.strays.push(crate::text::shorten(&text, 200));
                }
            }
        }
    }

    fn note(&mut self, way: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.said.push_back(format!("{way} {}", crate::text::shorten(text.trim_end(), 200)));
        if self.said.len() > KEPT {
            self.said.pop_front();
        }
    }

    /// Closes its standard input; how it ended, or nothing if it does not within its time.
    pub(super) fn finish(&mut self) -> Option<ExitStatus> {
        self.input = None;
        self.note("→", b"(end of input)");
        self.ended()
    }

    /// Asks it to end by a signal.
    pub(super) fn stop(&mut self) -> Option<ExitStatus> {
        self.note("→", b"(SIGTERM)");
        sys::signal_group(self.child.id(), sys::Send::Terminate);
        self.ended()
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + self.patience;
        // Its output is read to the end: that comes with the end of the process, or before.
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.note("←", &line);
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    self.strays.push(crate::text::shorten(&text, 200));
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while Instant::now() < until {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => {
                    self.said.push_back(format!("cannot wait for it: {}", io_text(&error)));
                    return None;
                }
            }
        }
        None
    }

    /// The length of its log now.
    pub(super) fn log_length(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |meta| meta.len())
    }

    /// The last lines of its log.
    pub(super) fn log_tail(log: &Path) -> Vec<String> {
        let bytes = crate::fs::read_optional(log).ok().flatten().unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(10)).map(|line| (*line).to_owned()).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        sys::signal_group(self.child.id(), sys::Send::Kill);
        // It is gone by now, or goes.
        drop(self.child.wait());
    }
}
