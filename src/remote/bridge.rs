//! The worker that stands for a module elsewhere: documents come in as from any worker's `pipe`, and go out over HTTP.
//!
//! A few threads take what waits, a request each, and pass the lines of the reply on. What a server says under another
//! fingerprint than the build was planned with is thrown away here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::remote::CHANGED;
use crate::remote::answers::{self, Line, Passed};
use crate::remote::client::{Client, Trouble};
use crate::remote::inline::inline;

/// The hidden first argument by which `pipe` is started as such a worker: address, and the name of the token's variable.
pub const ARGUMENT: &str = "__remote";

/// Requests that are under way at once.
const SENDERS: usize = 4;
/// Documents that the worker takes at a time.
const WINDOW: usize = 32;
/// The most documents of one request, and the most bytes that several of them may have together.
const BATCH: usize = 16;
const BATCH_BYTES: usize = 4 << 20;
/// The most bytes that one document may have, with its side inputs.
const LONGEST: u64 = 256 << 20;
/// So long a server may have too much to do.
const PATIENCE: Duration = Duration::from_secs(300);
/// What a server may ask for at a time.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Above the time limits of its documents, for the way and for waiting there.
const SLACK: Duration = Duration::from_secs(120);

/// A document that waits, as its line of the request.
struct Waiting {
    id: u64,
    line: Vec<u8>,
    since: Instant,
}

/// What all threads share.
struct Bridge {
    client: Client,
    url: String,
    /// The first line of every request.
    setup: Mutex<Setup>,
    waiting: Mutex<VecDeque<Waiting>>,
    came: Condvar,
    /// One frame after the other.
    output: Mutex<()>,
    /// Where each document in hand may write.
    scratch: Mutex<HashMap<u64, PathBuf>>,
    /// Folders that came are numbered.
    folders: AtomicU64,
}

#[derive(Default, Clone)]
struct Setup {
    line: Vec<u8>,
    fingerprint: Option<String>,
    timeout: Option<Duration>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The life of the worker.
pub fn serve_worker(mut arguments: impl Iterator<Item = String>) -> ExitCode {
    let url = arguments.next().unwrap_or_default();
    let token = arguments.next().and_then(|name| crate::env::token(&name));
    let client = match Client::new(&url, token) {
        Ok(client) => client,
        Err(trouble) => {
            print(&fatal(&url, "cannot start", &trouble.text()));
            return ExitCode::FAILURE;
        }
    };
    let bridge = Bridge {
        client,
        url,
        setup: Mutex::default(),
        waiting: Mutex::default(),
        came: Condvar::new(),
        output: Mutex::default(),
        scratch: Mutex::default(),
        folders: AtomicU64::new(0),
    };
    std::thread::scope(|threads| {
        for _ in 0..SENDERS {
            threads.spawn(|| bridge.send_all());
        }
        let input = std::io::stdin().lock();
        for line in input.split(b'\n') {
            let Ok(line) = line else { break };
            bridge.take(&line);
        }
        // Whoever has nothing more to say waits for no answer. Threads would: the process ends without them.
        end(0)
    })
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the worker's own end, as the protocol has it")]
fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Writes a frame; a reader that is gone is the end.
fn print(frame: &[u8]) {
    let mut out = std::io::stdout().lock();
    if out.write_all(frame).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).is_err() {
        end(0);
    }
}

fn fatal(url: &str, kind: &str, text: &str) -> Vec<u8> {
    json!({ "fatal": { "type": kind, "message": format!("{url}: {text}") } }).to_string().into_bytes()
}

impl Bridge {
    /// Takes a line of the minder.
    fn take(&self, line: &[u8]) {
        let Ok(Value::Object(mut request)) = serde_json::from_slice::<Value>(line) else { return };
        if request.contains_key("describe") {
            self.print(
                &json!({ "describe": { "window": WINDOW, "concurrent": WINDOW } }).to_string().into_bytes(),
            );
        }
        if let Some(Value::Object(setup)) = request.get_mut("setup") {
            self.set_up(setup);
        } else if let Some(id) = request.get("id").and_then(Value::as_u64) {
            if let Some(Value::String(scratch)) = request.get("tmp") {
                lock(&self.scratch).insert(id, scratch.into());
            }
            match inline(&mut request, &mut LONGEST.clone()) {
                Ok(()) => {
                    let line = Value::Object(request).to_string().into_bytes();
                    lock(&self.waiting).push_back(Waiting { id, line, since: Instant::now() });
                    self.came.notify_one();
                }
                Err(problem) => self.fail(id, "module-error", "cannot send", &problem, false, None),
            }
        }
    }

    fn set_up(&self, setup: &mut Map<String, Value>) {
        if let Err(problem) = inline(setup, &mut LONGEST.clone()) {
            self.print(&fatal(&self.url, "cannot start", &format!("a side input: {problem}")));
            end(1);
        }
        let fingerprint = setup.remove("fingerprint").and_then(|value| Some(value.as_str()?.to_owned()));
        let timeout = setup.get("timeout_ms").and_then(Value::as_u64).map(Duration::from_millis);
        let line = json!({ "setup": setup }).to_string().into_bytes();
        *lock(&self.setup) = Setup { line, fingerprint, timeout };
        self.print(b"{\"ready\":1,\"files\":[]}");
    }

    fn print(&self, frame: &[u8]) {
        let _one = lock(&self.output);
        print(frame);
    }

    /// The life of a thread that sends.
    fn send_all(&self) {
        loop {
            let batch = self.next_batch();
            self.send(batch);
        }
    }

    /// Waits for documents: so many that the other threads get their part.
    fn next_batch(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.waiting);
        while waiting.is_empty() {
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let share = waiting.len().div_ceil(SENDERS).min(BATCH);
        let mut bytes = 0;
        let mut batch = Vec::new();
        while batch.len() < share
            && let Some(next) = waiting.front()
            && (batch.is_empty() || bytes + next.line.len() <= BATCH_BYTES)
        {
            bytes += next.line.len();
            batch.extend(waiting.pop_front());
        }
        batch
    }

    /// Sends documents until each has an answer, or there is a reason why it has none.
    fn send(&self, batch: Vec<Waiting>) {
        let setup = lock(&self.setup).clone();
        let mut body = setup.line.clone();
        for one in &batch {
            body.push(b'\n');
            body.extend_from_slice(&one.line);
        }
        body.push(b'\n');
        let limit = setup.timeout.map(|limit| limit.saturating_mul(batch.len() as u32) + SLACK);
        let since = batch.iter().map(|one| one.since).min().unwrap_or_else(Instant::now);
        let reply = loop {
            match self.client.run(&body, setup.fingerprint.as_deref(), limit) {
                Err(Trouble::Busy(wait)) if since.elapsed() < PATIENCE => {
                    std::thread::sleep(wait.clamp(Duration::from_millis(100), LONGEST_WAIT));
                }
                reply => break reply,
            }
        };
        let mut left: HashSet<u64> = batch.iter().map(|one| one.id).collect();
        match reply {
            Ok(mut reply) => {
                let why = self.pass_on(&mut reply, setup.fingerprint.as_deref(), &mut left);
                self.lose(left.into_iter(), &why);
            }
            Err(Trouble::Changed) => self.changed(),
            Err(trouble @ Trouble::Refused(_)) => self.give_up("cannot start", &trouble.text()),
            Err(Trouble::TooLarge) if batch.len() > 1 => {
                batch.into_iter().for_each(|one| self.send(vec![one]));
            }
            Err(trouble @ Trouble::TooLarge) => {
                for id in left {
                    self.fail(id, "lost", "too large", &trouble.text(), false, None);
                }
            }
            Err(trouble) => self.lose(left.into_iter(), &trouble.text()),
        }
    }

    /// Passes lines on until the reply is over; why those that are left have no answer.
    fn pass_on(
        &self,
        reply: &mut impl BufRead,
        fingerprint: Option<&str>,
        left: &mut HashSet<u64>,
    ) -> String {
        loop {
            let mut said = match answers::next(reply) {
                Ok(Line::Said(said)) => said,
                Ok(Line::End) => return "its reply ended before all was answered".to_owned(),
                Err(why) => return why,
            };
            if let Some(fatal) = said.fatal {
                self.print(format!("{{\"fatal\":{}}}", one_line(&fatal)).as_bytes());
                end(1);
            }
            let Some(id) = said.id.filter(|id| left.contains(id)) else {
                return "it answers for documents that it was not given".to_owned();
            };
            let is_answer = said.is_answer();
            if said.changed
                || is_answer && fingerprint.is_some() && said.fingerprint.as_deref() != fingerprint
            {
                self.changed();
            }
            let number = || self.folders.fetch_add(1, Ordering::Relaxed);
            let scratch = || lock(&self.scratch).get(&id).cloned().unwrap_or_default();
            if let Err(problem) = said.unpack(&|| scratch().join(format!("folder-{}", number()))) {
                return format!("a folder of its reply cannot be taken: {problem}");
            }
            if is_answer {
                left.remove(&id);
                lock(&self.scratch).remove(&id);
            }
            let log = said.log.take();
            self.pass(said.into_frame(id), log.as_deref());
            if left.is_empty() {
                // Read to its end, so that the connection can be used again.
                while let Ok(Line::Said(_)) = answers::next(reply) {}
                return String::new();
            }
        }
    }

    /// One frame, with what its document printed in the worker's own log.
    fn pass(&self, mut frame: Passed, log: Option<&str>) {
        let _one = lock(&self.output);
        frame.log = log.filter(|log| !log.is_empty()).and_then(append_log);
        if let Ok(mut text) = serde_json::to_vec(&frame) {
            // Line ends can only stand between the parts of its JSON.
            text.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            print(&text);
        }
    }

    fn lose(&self, documents: impl Iterator<Item = u64>, why: &str) {
        for id in documents {
            self.fail(id, "lost", "lost", why, true, None);
        }
    }

    fn fail(&self, id: u64, kind: &str, error: &str, text: &str, retry: bool, after: Option<f64>) {
        let message = format!("{}: {text}", self.url);
        let error =
            json!({ "type": error, "message": message, "kind": kind, "retry": retry, "after": after });
        self.print(&json!({ "id": id, "error": error }).to_string().into_bytes());
    }

    fn changed(&self) -> ! {
        self.give_up(CHANGED, &Trouble::Changed.text())
    }

    fn give_up(&self, kind: &str, text: &str) -> ! {
        self.print(&fatal(&self.url, kind, text));
        end(1)
    }
}

/// JSON without line ends: they are only between its tokens.
fn one_line(json: &RawValue) -> String {
    json.get().replace(['\n', '\r'], " ")
}

/// Adds to the log, which is standard error; where it stands there.
fn append_log(text: &str) -> Option<[u64; 2]> {
    use std::os::fd::AsFd;
    let error = std::io::stderr();
    let file = std::fs::File::from(error.as_fd().try_clone_to_owned().ok()?);
    let from = file.metadata().ok()?.len();
    (&file).write_all(text.as_bytes()).ok()?;
    if !text.ends_with('\n') {
        (&file).write_all(b"\n").ok()?;
    }
    Some([from, file.metadata().ok()?.len()])
}
