//! What a worker says of itself before any document: step one of the protocol.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::model::action::Package;
use crate::model::failure::{Failure, FailureKind};
use crate::module::command::cannot_start;
use crate::module::host::{Host, Order, Told};
use crate::module::launch::Launch;
use crate::module::minder::{death, with_lines};
use crate::module::protocol::{self, DescribeFrame, Line};
use crate::module::worker::{open_log, start_program};
use crate::sys::{self, Wish};
use crate::text;

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The function's, or whatever it calls itself.
    pub name: String,
    /// The version that its author states.
    pub version: Option<String>,
    /// What it takes by name.
    pub params: BTreeMap<String, Param>,
    /// Names of side inputs.
    pub with: Vec<String>,
    /// It takes a set (`docs`), not one document; absent: it does not say.
    pub takes_set: Option<bool>,
    /// How many documents it takes at a time; absent: one.
    pub window: Option<usize>,
    /// How many of these it works on at once.
    pub concurrent: Option<usize>,
    /// How many documents it takes in one call; absent: one.
    pub batch: Option<usize>,
    /// Project files that it has loaded, relative.
    pub files: Vec<String>,
    /// Installed packages that it has loaded.
    pub packages: Vec<Package>,
    /// Major and minor version of its interpreter.
    pub interpreter: Option<String>,
    /// What its author says of it.
    pub doc: String,
}

/// A parameter of a module.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// `int`, `float`, `str`, `bool`, `list`, `dict`, `any`, or the annotation as written.
    pub kind: String,
    /// Its value where none is given; absent: it must be given.
    pub default: Option<serde_json::Value>,
}

/// Starts the worker, asks it, and ends it. Of the launch, `program`, `root`, `python`, `env`, `log` and `tmp` count.
pub fn describe(host: &Host, launch: &Launch, limit: Duration) -> Result<Description, Failure> {
    let deadline = Instant::now() + limit;
    let log = open_log(launch)?;
    let mark = log.length();
    let memory_kills = sys::out_of_memory_kills();
    let lost = |error: std::io::Error| {
        let text = crate::error::io_text(&error);
        cannot_start(format!("the process that starts modules does not work: {text}"))
    };
    // Whatever way this function ends, the channel goes, and the process with it.
    let mut channel = host.channel().map_err(lost)?;
    let (input, output, _) = start_program(launch, &launch.tmp.join("describe"), &mut channel, &log)?;
    // A pipe has room for one line; a process that does not read it says nothing, which is dealt with below.
    drop(sys::write_now(&input, protocol::DESCRIBE));
    let mut read = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            channel.signal(&Order::Dump);
            // For the stack to reach the log; whether it came is seen there.
            drop(sys::poll([Some((channel.as_fd(), Wish::Read))], Some(Duration::from_millis(300))));
            let message = format!("does not say what it is within {}", text::duration(limit));
            let failure = Failure::new(FailureKind::Timeout, "timeout", message);
            return Err(with_lines(failure, &log.tail(mark)));
        }
        let wishes =
            [Some((channel.as_fd(), Wish::Read)), Some((output.as_fd(), Wish::Read)).filter(|_| open)];
        let [heard, readable] = sys::poll(wishes, Some(left)).map_err(lost)?;
        if readable || heard {
            while open {
                match sys::read_now(&output, &mut chunk) {
                    Ok(Some(length)) if length > 0 => read.extend_from_slice(&chunk[..length]),
                    Ok(None) => break,
                    _ => open = false,
                }
            }
            if let Some(answer) = find_description(&read) {
                return answer;
            }
            if read.len() > 16 << 20 {
                let message = "prints without end to standard output instead of saying what it is";
                return Err(Failure::new(FailureKind::BadReply, "bad reply", message));
            }
        }
        if heard {
            return match channel.receive().map_err(lost)? {
                Told::Ended(exit) => {
                    Err(death(exit, "it", "it said what it is", &log.tail(mark), memory_kills))
                }
                Told::Started(_) | Told::Refused(_) => continue,
            };
        }
    }
}

/// The first frame among what was printed.
pub(super) fn find_description(read: &[u8]) -> Option<Result<Description, Failure>> {
    let bad = |problem: String| {
        let message = format!("protocol error in its description: {problem}");
        Failure::new(FailureKind::BadReply, "bad reply", message)
    };
    read.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).find_map(|line| {
        match protocol::read_line(line) {
            Line::Frame(frame) => match (frame.describe, frame.fatal) {
                (_, Some(fault)) => Some(Err(fault.into_failure())),
                (Some(described), None) => Some(
                    serde_json::from_str::<DescribeFrame>(described.get())
                        .map(Description::from)
                        .map_err(|error| bad(error.to_string())),
                ),
                (None, None) => None,
            },
            Line::Broken(problem) => Some(Err(bad(problem))),
            Line::Stray => None,
        }
    })
}

impl From<DescribeFrame> for Description {
    fn from(frame: DescribeFrame) -> Self {
        let params = frame.params.into_iter();
        Description {
            name: frame.name,
            version: frame.version,
            params: params.map(|(name, p)| (name, Param { kind: p.kind, default: p.default })).collect(),
            with: frame.with,
            takes_set: frame.takes.map(|takes| takes == "docs"),
            window: frame.window,
            concurrent: frame.concurrent,
            batch: frame.batch,
            files: frame.files,
            packages: protocol::packages(frame.packages),
            interpreter: frame.interpreter,
            doc: frame.doc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_found_behind_what_was_printed() {
        let read = b"loading\n{\"describe\":{\"name\":\"clean\",\"params\":{\"n\":{\"type\":\"int\",\"default\":20},\"m\":{\"type\":\"str\"},\"o\":{\"type\":\"any\",\"default\":null}},\"takes\":\"docs\",\"window\":64}}\n";
        let found = find_description(read).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.takes_set, found.window), ("clean", Some(true), Some(64)));
        let default = |name: &str| found.params[name].default.clone();
        assert_eq!(default("n"), Some(20.into()));
        assert_eq!(default("m"), None);
        assert_eq!(default("o"), Some(serde_json::Value::Null));
        assert!(find_description(&read[..read.len() - 1]).is_none());
    }

    #[test]
    fn a_fatal_frame_is_the_modules_own_words() {
        let read = b"{\"fatal\":{\"type\":\"ImportError\",\"message\":\"no numpy\"}}\n";
        assert_eq!(find_description(read).unwrap().unwrap_err().summary(), "ImportError: no numpy");
    }
}
