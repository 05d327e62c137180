//! A `pipe` that is running: what it has said so far, and ways to stop it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::Project;

/// Nothing in a test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running `pipe … --json`, in a process group of its own as a terminal would give it.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    events: Vec<Value>,
    root: PathBuf,
}

/// A `pipe … --json` that has ended.
pub(crate) struct Ended {
    /// The exit code; of a process that a signal ended 128 and its number.
    pub status: i32,
    /// What it said, in order.
    pub events: Vec<Value>,
    /// What it said to people.
    pub stderr: String,
}

impl Project {
    /// Starts `pipe` with these arguments and `--json`.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_command(self.command(&[arguments, &["--json"]].concat()))
    }

    /// Starts a command that is some `pipe … --json`, perhaps by way of another program.
    pub(crate) fn start_command(&self, mut command: Command) -> Running {
        let mut child = command.process_group(0).spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // A line that a kill cut off has no line break: nobody was told it.
            let mut reader = BufReader::new(stdout);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) && line.ends_with(b"\n") {
                let text = String::from_utf8(std::mem::take(&mut line)).unwrap();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        let errors = std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        Running { child, lines, errors: Some(errors), events: Vec::new(), root: self.root().to_owned() }
    }

    /// `pipe build --json` to its end.
    pub(crate) fn build(&self) -> Ended {
        self.start(&["build"]).end()
    }

    /// The processes that have anything to do with this project's folder: that work in it, or have it in their command
    /// line or environment.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes_of(self.root())
    }

    /// Waits until none is left; panics with those that stay.
    #[track_caller]
    pub(crate) fn no_process_is_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "still running:\n{}", left.join("\n"));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a file is there.
    #[track_caller]
    pub(crate) fn wait_for_file(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.root().join(name).exists() {
            assert!(Instant::now() < deadline, "`{name}` never came");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn processes_of(root: &std::path::Path) -> Vec<String> {
    let needle = root.as_os_str().as_encoded_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let path = entry.path();
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            continue;
        }
        let inside = std::fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
        let mut read = Vec::new();
        for name in ["cmdline", "environ"] {
            read.extend(std::fs::read(path.join(name)).unwrap_or_default());
        }
        if inside || read.windows(needle.len()).any(|part| part == needle) {
            let words = std::fs::read(path.join("cmdline")).unwrap_or_default();
            found.push(format!("{pid} {}", String::from_utf8_lossy(&words).replace('\0', " ")));
        }
    }
    found
}

impl Running {
    /// The process id of `pipe`.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub(crate) fn events(&self) -> &[Value] {
        &self.events
    }

    /// Reads on until an event is as wanted; false if it ended before.
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> bool {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let event = serde_json::from_str(&line).unwrap();
                    let is_wanted = wanted(&event);
                    self.events.push(event);
                    if is_wanted {
                        return true;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                    self.kill_at_once();
                    panic!("nothing was said for too long; last: {:?}", self.events.last());
                }
            }
        }
    }

    /// Reads on until such an event; panics if it ended before.
    #[track_caller]
    pub(crate) fn until_event(&mut self, name: &str) {
        let came = self.until(|event| event["event"] == name);
        assert!(came, "it ended without `{name}`: {:#?}", self.events);
    }

    /// Sends a signal to `pipe` alone.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What Ctrl-C in a terminal does: SIGINT to the whole process group.
    pub(crate) fn ctrl_c(&self) {
        rustix::process::kill_process_group(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    fn kill_at_once(&mut self) {
        drop(self.child.kill());
    }

    /// `kill -9` of `pipe` alone; what it had said is read to the end.
    pub(crate) fn kill(mut self) -> Ended {
        self.kill_at_once();
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        self.until(|_| false);
        let status = self.child.wait().unwrap();
        let stderr = self.errors.take().unwrap().join().unwrap();
        let stderr = stderr.replace(&*self.root.to_string_lossy(), "[ROOT]");
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ended { status, events: std::mem::take(&mut self.events), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_at_once();
        drop(self.child.wait());
    }
}

impl Ended {
    /// Compares the status.
    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Ended {
        assert!(self.status == status, "expected status {status}, got {}\n{}", self.status, self.text());
        self
    }

    /// Everything, to look at.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for event in &self.events {
            if event["event"] != "counts" && event["event"] != "progress" {
                text.push_str(&event.to_string());
                text.push('\n');
            }
        }
        text + &self.stderr
    }

    /// All events of a name.
    pub(crate) fn all(&self, name: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == name).collect()
    }

    /// The documents (and targets) of all events of a name, as `target doc`, sorted.
    pub(crate) fn named(&self, name: &str) -> Vec<String> {
        let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let mut named: Vec<String> = self
            .all(name)
            .into_iter()
            .map(|event| format!("{} {}", word(event, "target"), word(event, "doc")))
            .collect();
        named.sort();
        named
    }

    /// The kinds of failures with their targets and documents, sorted: `clean inbox/a.txt: crash SIGSEGV`.
    pub(crate) fn failures(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut failures: Vec<String> = self
            .all("failed")
            .into_iter()
            .map(|event| {
                let failure = &event["failure"];
                let (target, doc) = (text(&event["target"]), text(&event["doc"]));
                format!("{target} {doc}: {} {}", text(&failure["kind"]), text(&failure["error"]))
                    .trim_end()
                    .to_owned()
            })
            .collect();
        failures.sort();
        failures
    }

    /// The last event; panics if the build did not come to it.
    #[track_caller]
    pub(crate) fn finished(&self) -> &Value {
        match self.all("finished").last() {
            Some(finished) => finished,
            None => panic!("no `finished`, status {}\n{}", self.status, self.text()),
        }
    }
}
