//! Tells people that a build is over: a command gets the message on its standard input, an address gets it posted.
//!
//! What goes wrong here is said and changes nothing else.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{About, http};
use crate::model::event::{Stopped, Summary};
use crate::model::telling::Notify;
use crate::sys;

/// The version of the message.
const VERSION: u32 = 1;
/// A command that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How a build ended.
pub enum Ended<'a> {
    /// It came to its end, or was stopped.
    Summary(&'a Summary),
    /// By an error.
    Error {
        /// The exit code.
        exit: u8,
        /// What the error says.
        text: String,
    },
}

/// Tells of a build, if it is one that is to be told of; what went wrong, in words.
pub fn notify(notify: &Notify, about: &About, root: &Path, ended: &Ended<'_>) -> Vec<String> {
    let Some(event) = occasion(notify, ended) else { return Vec::new() };
    let message = message(event, about, ended);
    let mut problems = Vec::new();
    if let Some(cmd) = &notify.cmd
        && let Err(problem) = run(cmd, event, root, &message)
    {
        problems.push(format!("`cmd` of [notify] {problem}"));
    }
    if let Some(url) = &notify.url {
        let mut client = http::Client::new(url.host.clone(), url.port, url.path.clone());
        if let Err(error) = client.post(message.to_string().as_bytes()) {
            let error = crate::error::io_text(&error);
            problems.push(format!("{} of [notify] could not be told: {error}", url.written));
        }
    }
    problems
}

/// What there is to tell: failures before a good end. A build that people stopped tells them nothing.
fn occasion(notify: &Notify, ended: &Ended<'_>) -> Option<&'static str> {
    let Ended::Summary(summary) = ended else {
        return (notify.failed || notify.finished).then_some(if notify.failed {
            "failed"
        } else {
            "finished"
        });
    };
    if summary.is_up_to_date() || matches!(summary.stopped, Some(Stopped::Signal { .. })) {
        return None;
    }
    let failed = summary.exit_code() != 0;
    match (failed, notify.failed, notify.finished) {
        (true, true, _) => Some("failed"),
        (_, _, true) => Some("finished"),
        _ => None,
    }
}

fn message(event: &str, about: &About, ended: &Ended<'_>) -> Value {
    let summary = match ended {
        Ended::Summary(summary) => *summary,
        Ended::Error { exit, text } => {
            let said = format!("{}: a build could not finish: {text}", about.project);
            return json!({
                "v": VERSION, "event": event, "text": said, "project": about.project, "host": about.host,
                "run": null, "exit": exit, "error": text,
            });
        }
    };
    let failed = summary.failed_documents;
    let text = match summary.exit_code() {
        0 => format!("{}: a build is done", about.project),
        1 => format!("{}: a build is done, {failed} failed", about.project),
        _ => format!("{}: a build could not finish", about.project),
    };
    json!({
        "v": VERSION, "event": event, "text": text, "project": about.project, "host": about.host,
        "run": summary.run, "exit": summary.exit_code(), "summary": summary,
    })
}

fn run(cmd: &str, event: &str, root: &Path, message: &Value) -> Result<(), String> {
    let mut command = Command::new("sh");
    command.args(["-c", cmd]).current_dir(root).env("PIPE_EVENT", event);
    let text = message.get("text").and_then(Value::as_str).unwrap_or_default();
    command.env("PIPE_TEXT", text).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own, so that what it started ends with it.
    command.process_group(0);
    let mut child = command.spawn().map_err(|e| format!("cannot start: {}", crate::error::io_text(&e)))?;
    if let Some(mut input) = child.stdin.take() {
        let line = format!("{message}\n");
        // A command may leave the message unread; one that never reads must not hold us up.
        drop(
            std::thread::Builder::new()
                .name("notify".into())
                .spawn(move || drop(input.write_all(line.as_bytes()))),
        );
    }
    let deadline = Instant::now() + LIMIT;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(LOOK_AGAIN),
            Ok(None) => {
                sys::signal_group(child.id(), sys::Send::Kill);
                drop(child.wait());
                return Err(format!("was not done within {} s", LIMIT.as_secs()));
            }
            Err(error) => return Err(crate::error::io_text(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Cause;
    use crate::model::failure::{Failure, FailureKind};

    #[test]
    fn people_hear_of_what_they_asked_for() {
        let fine = Summary { run: Some(1), ..Summary::default() };
        let failure = Failure::new(FailureKind::Crash, "SIGSEGV", "");
        let cause = Cause {
            target: "a".into(),
            failure,
            count: 2,
            samples: Vec::new(),
            set_aside: 0,
            reopened: 0,
            behind: std::collections::BTreeMap::default(),
        };
        let failed = Summary { causes: vec![cause], ..fine.clone() };
        let stopped = Summary { stopped: Some(Stopped::Signal { signal: 2 }), ..failed.clone() };
        let on = |failed, finished| Notify { failed, finished, ..Notify::default() };
        assert_eq!(occasion(&on(true, false), &Ended::Summary(&fine)), None);
        assert_eq!(occasion(&on(true, false), &Ended::Summary(&failed)), Some("failed"));
        assert_eq!(occasion(&on(false, true), &Ended::Summary(&failed)), Some("finished"));
        assert_eq!(occasion(&on(true, true), &Ended::Summary(&fine)), Some("finished"));
        assert_eq!(occasion(&on(true, true), &Ended::Summary(&stopped)), None);
        assert_eq!(
            occasion(&on(true, true), &Ended::Summary(&Summary::default())),
            None,
            "there was nothing to do"
        );
        let error = Ended::Error { exit: 3, text: "a source is gone".to_owned() };
        assert_eq!(occasion(&on(true, false), &error), Some("failed"));
        assert_eq!(occasion(&on(false, true), &error), Some("finished"));
        assert_eq!(occasion(&on(false, false), &error), None);
    }
}
