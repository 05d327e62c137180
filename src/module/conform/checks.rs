//! The checks, in their order. Each uses the worker of the one before it, or a new one if that one is gone.

use std::path::Path;
use std::process::ExitStatus;

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::module::base64;
use crate::module::conform::answer::{Described, described, shown, wrong};
use crate::module::conform::session::{Next, Session};
use crate::module::conform::{Check, State, Subject};
use crate::module::launch::SETUP_TIMEOUT;

/// Why a check failed.
type Problem = String;

/// What came of a check.
enum Came {
    Fine,
    NotHere(&'static str),
    Wrong(Problem),
}

impl From<std::result::Result<(), Problem>> for Came {
    fn from(ended: std::result::Result<(), Problem>) -> Came {
        match ended {
            Ok(()) => Came::Fine,
            Err(problem) => Came::Wrong(problem),
        }
    }
}

/// A text with what trips readers of lines and of JSON.
const ODD: &str = "é ß 漢字 🦀 \u{2028}line\u{2029}paragraph\u{85} \"quotes\" \\back\\ \ttab \r\n \u{0}zero \u{feff}\u{202e}end";

struct Examination<'a> {
    subject: &'a Subject,
    session: Option<Session>,
    described: Described,
    next: u64,
    checks: Vec<Check>,
    strays: Vec<String>,
}

/// Examines a worker.
///
/// # Errors
///
/// It cannot be started at all, or our own files cannot be written.
pub fn examine(subject: &Subject) -> Result<Vec<Check>> {
    crate::fs::create_dir(&subject.folder.join("tmp"))?;
    let text = String::from_utf8_lossy(&subject.text).into_owned();
    let mut bytes = subject.text.clone();
    bytes.extend_from_slice(&[0xff, 0xfe, 0x00, 0x80]);
    let large = "0123456789 abcde\n".repeat(64 * 1024);
    let file = subject.file("document", &subject.text)?;
    let large_file = subject.file("large", large.repeat(8).as_bytes())?;
    let mut all = Examination {
        subject,
        session: None,
        described: Described::default(),
        next: 1 << 32,
        checks: Vec::new(),
        strays: Vec::new(),
    };
    // The first start tells whether there is such a program.
    all.session = Some(Session::start(&subject.launch(), subject.patience)?);
    let begins = all.begin();
    let stands = begins.is_ok();
    let lacks = all.described.required.iter().find(|name| !subject.params.contains_key(*name)).cloned();
    let begins = begins.map_err(|problem| match lacks {
        Some(name) => format!("{problem}; param `{name}` must be given: --param {name}=VALUE"),
        None => problem,
    });
    all.note(
        "handshake",
        "`describe` is answered with name, params and takes; `setup` with `ready`",
        begins.into(),
    );
    if !stands {
        all.note_strays();
        return Ok(all.checks);
    }
    all.check("document", "one document has one answer, with its id: output, skip or error", |all| {
        all.ask(&[text_form(&text)]).map(drop)
    });
    if all.checks.last().is_some_and(|check| check.state == State::Failed) {
        // Whatever else is asked would fail in the same way.
        all.note_strays();
        return Ok(all.checks);
    }
    all.check(
        "forms",
        "one content as text, base64, path, and length where it says so, has one answer",
        |all| all.forms(&text, &file),
    );
    all.check("empty", "an empty document is answered", |all| all.ask(&[text_form("")]).map(drop));
    all.check("unicode", "any Unicode is taken raw, U+2028 and NUL too: a line ends with \\n alone", |all| {
        all.ask(&[text_form(ODD)]).map(drop)
    });
    all.check("bytes", "bytes that are no text come as base64 and are answered", |all| {
        all.ask(&[base64_form(&bytes)]).map(drop)
    });
    all.check("large", "a line of 1 MiB and a file of 8 MiB are answered", |all| {
        all.ask(&[text_form(&large)])?;
        all.ask(&[path_form(&large_file)]).map(drop)
    });
    all.check("error", "what cannot be read is an error of that document alone", |all| {
        all.ask(&[path_form(Path::new("/nonexistent/document"))])?;
        all.ask(&[text_form(&text)]).map(drop)
    });
    all.check("unknown", "frames and fields that it does not know are ignored", |all| {
        all.say(&json!({"of_a_later_version": {"id": 5}}));
        let mut form = text_form(&text);
        form.insert("of_a_later_version".to_owned(), json!([1, 2]));
        all.ask(&[form]).map(drop)
    });
    all.check("pieces", "a line that comes in two pieces is one line", |all| all.in_pieces(&text));
    let came = match all.described.window {
        None => Came::NotHere("it states no `window`: it gets one document at a time"),
        Some(window) => {
            let several: Vec<_> = (0..window.min(8)).map(|n| text_form(&format!("{text} {n}"))).collect();
            all.ask(&several).map(drop).into()
        }
    };
    all.note("window", "several in hand are all answered, in order unless it is `concurrent`", came);
    let came = match all.described.window {
        None => Came::NotHere("it states no `window`: pipe takes the range itself"),
        Some(_) => all.logs(&text).into(),
    };
    all.note("log", "with a `window` each answer says which part of standard error is its log", came);
    let came =
        if subject.split { all.children(&text).into() } else { Came::NotHere("--split asks for children") };
    all.note("children", "children come before the answer, which says how many there were", came);
    all.check(
        "end",
        "at the end of its input it exits with 0, and has nothing more to say",
        Examination::end,
    );
    all.check("early end", "the same before any document", |all| {
        all.session = None;
        all.started()?;
        all.end()
    });
    all.check("terminate", "SIGTERM ends it", |all| {
        all.begun()?;
        let ended = all.session.as_mut().and_then(Session::stop);
        all.session = None;
        ended.map(drop).ok_or_else(|| "it is still there".to_owned())
    });
    all.note_strays();
    Ok(all.checks)
}

fn text_form(text: &str) -> Map<String, Value> {
    form("text", text)
}

fn base64_form(bytes: &[u8]) -> Map<String, Value> {
    let mut encoded = Vec::new();
    base64::encode(bytes, &mut encoded);
    form("base64", &String::from_utf8_lossy(&encoded))
}

fn path_form(path: &Path) -> Map<String, Value> {
    form("path", &path.to_string_lossy())
}

fn form(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), Value::from(value))])
}

impl Examination<'_> {
    fn check(
        &mut self,
        name: &'static str,
        expected: &'static str,
        run: impl FnOnce(&mut Self) -> std::result::Result<(), Problem>,
    ) {
        let came = run(self).into();
        self.note(name, expected, came);
    }

    fn note(&mut self, name: &'static str, expected: &'static str, came: Came) {
        let (state, got) = match came {
            Came::Fine => (State::Passed, String::new()),
            Came::NotHere(why) => (State::Skipped, why.to_owned()),
            Came::Wrong(problem) => (State::Failed, problem),
        };
        let (mut lines, mut log) = (Vec::new(), Vec::new());
        if state == State::Failed {
            let said = self.session.iter().flat_map(|session| session.said.iter().cloned());
            lines = said.collect::<Vec<_>>();
            let keep = lines.len().saturating_sub(4);
            lines.drain(..keep);
            log = Session::log_tail(&self.subject.folder.join("log"));
            // Whatever it is up to now, the next check begins anew.
            self.forget();
        } else if let Some(session) = &mut self.session {
            session.said.clear();
        }
        self.checks.push(Check { name, expected, state, got, lines, log });
    }

    fn forget(&mut self) {
        if let Some(session) = self.session.take() {
            self.strays.extend(session.strays.iter().cloned());
        }
    }

    /// What it printed where frames belong, in all its processes.
    fn note_strays(&mut self) {
        self.forget();
        let expected = "nothing but frames goes to standard output";
        let came = match self.strays.first() {
            None => Came::Fine,
            Some(first) => Came::Wrong(format!(
                "{}, the first: {first}",
                crate::text::count(self.strays.len() as u64, "other line")
            )),
        };
        self.note("stdout", expected, came);
    }

    fn say(&mut self, frame: &Value) {
        if let Some(session) = &mut self.session {
            session.say(frame);
        }
    }

    fn next(&mut self) -> std::result::Result<Value, Problem> {
        let Some(session) = &mut self.session else { return Err("it is gone".to_owned()) };
        match session.next() {
            Next::Frame(frame) => Ok(frame),
            Next::Ended => {
                let how = session.finish().map(how_it_ended).unwrap_or_default();
                Err(format!("it ended{how} instead of answering"))
            }
            Next::Silent => {
                let patience = crate::text::duration(session.patience);
                Err(format!("nothing came for {patience}"))
            }
        }
    }

    fn started(&mut self) -> std::result::Result<(), Problem> {
        if self.session.is_none() {
            let session = Session::start(&self.subject.launch(), self.subject.patience);
            self.session = Some(session.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// The two steps before documents.
    fn begin(&mut self) -> std::result::Result<(), Problem> {
        // As long as a build waits: a program may be compiled first, or load a model.
        let patience = self.subject.patience.max(SETUP_TIMEOUT);
        self.session.iter_mut().for_each(|session| session.patience = patience);
        let began = self.handshake();
        self.session.iter_mut().for_each(|session| session.patience = self.subject.patience);
        began
    }

    fn handshake(&mut self) -> std::result::Result<(), Problem> {
        self.say(&json!({"protocol": 1, "describe": true}));
        let frame = self.next()?;
        if let Some(fatal) = frame.get("fatal") {
            return Err(format!("it says `fatal`: {}", shown(fatal)));
        }
        self.described = described(&frame)?;
        self.say(&json!({"setup": {"params": self.subject.params, "with": {}}}));
        let frame = self.next()?;
        match frame.get("ready") {
            Some(Value::Number(_)) => Ok(()),
            _ => Err(format!("no `ready` but {}", shown(&frame))),
        }
    }

    /// A worker that is set up.
    fn begun(&mut self) -> std::result::Result<(), Problem> {
        if self.session.is_some() {
            return Ok(());
        }
        self.started()?;
        self.begin()
    }

    /// A request for a content; where sets are taken, of a set with it as both members.
    fn request(&mut self, form: Map<String, Value>) -> std::result::Result<(u64, Value), Problem> {
        self.next += 1;
        let id = self.next;
        let mut fields = Map::from_iter([("id".to_owned(), Value::from(id))]);
        let ext = Value::from(self.subject.ext.as_str());
        if self.described.takes_docs {
            let mut lines = String::new();
            for name in ["a", "b"] {
                let mut member = form.clone();
                member.insert("id".to_owned(), Value::from(format!("inbox/{name}")));
                member.insert("ext".to_owned(), ext.clone());
                member.insert("digest".to_owned(), Value::from("00"));
                lines.extend([&Value::Object(member).to_string(), "\n"]);
            }
            let path = self.subject.file(&format!("members-{id}.jsonl"), lines.as_bytes());
            let path = path.map_err(|error| error.to_string())?;
            fields.insert("manifest".to_owned(), Value::from(path.to_string_lossy()));
            fields.insert("members".to_owned(), Value::from(2));
        } else {
            fields.extend(form);
            fields.insert("ext".to_owned(), ext);
        }
        if self.subject.split {
            fields.insert("split".to_owned(), Value::from(true));
        }
        let tmp = self.subject.folder.join("tmp").join(id.to_string());
        fields.insert("tmp".to_owned(), Value::from(tmp.to_string_lossy()));
        Ok((id, Value::Object(fields)))
    }

    /// Sends documents at once; their answers in the order of sending.
    fn ask(&mut self, forms: &[Map<String, Value>]) -> std::result::Result<Vec<Value>, Problem> {
        self.begun()?;
        let (mut ids, mut lines) = (Vec::new(), String::new());
        for form in forms {
            let (id, request) = self.request(form.clone())?;
            ids.push(id);
            lines.extend([&request.to_string(), "\n"]);
        }
        if let Some(session) = &mut self.session {
            session.send(lines.as_bytes());
        }
        self.answers(&ids)
    }

    /// Sends a document whose content follows its line.
    fn ask_behind(&mut self, form: Map<String, Value>, text: &str) -> std::result::Result<Value, Problem> {
        self.begun()?;
        let (id, request) = self.request(form)?;
        if let Some(session) = &mut self.session {
            session.send(format!("{request}\n{text}").as_bytes());
        }
        Ok(self.answers(&[id])?.remove(0))
    }

    fn answers(&mut self, ids: &[u64]) -> std::result::Result<Vec<Value>, Problem> {
        let mut answers: Vec<Option<Value>> = vec![None; ids.len()];
        let mut children = vec![0; ids.len()];
        while let Some(first) = answers.iter().position(Option::is_none) {
            let frame = self.next()?;
            let Some(id) = frame.get("id") else {
                return Err(format!("a frame without `id`: {}", shown(&frame)));
            };
            let Some(at) = ids.iter().position(|known| Some(*known) == id.as_u64()) else {
                return Err(format!(
                    "`id` is {}, and {} is in hand: {}",
                    shown(id),
                    ids[first],
                    shown(&frame)
                ));
            };
            if answers[at].is_some() {
                return Err(format!("{} was answered already: {}", ids[at], shown(&frame)));
            }
            if frame.get("child").is_some() {
                children[at] += 1;
                continue;
            }
            let is_note = ["progress", "warn", "count"].iter().any(|note| frame.get(note).is_some());
            if is_note {
                continue;
            }
            let log = self.session.as_ref().map_or(0, Session::log_length);
            if let Some(problem) = wrong(&frame, children[at], log) {
                return Err(problem);
            }
            if at != first && !self.described.is_concurrent {
                return Err(format!("{} was answered before {}", ids[at], ids[first]));
            }
            answers[at] = Some(frame);
        }
        Ok(answers.into_iter().flatten().collect())
    }

    fn forms(&mut self, text: &str, file: &Path) -> std::result::Result<(), Problem> {
        let mut first: Option<(&str, Value)> = None;
        let mut forms = vec![
            ("text", text_form(text)),
            ("base64", base64_form(text.as_bytes())),
            ("path", path_form(file)),
        ];
        if self.described.lengths && !self.described.takes_docs {
            forms.push(("length", Map::from_iter([("length".to_owned(), Value::from(text.len()))])));
        }
        for (name, form) in forms {
            let answer = match name {
                "length" => self.ask_behind(form, text)?,
                _ => self.ask(&[form])?.remove(0),
            };
            let output = answer.get("output").cloned();
            // A form that it refuses in words is its own affair, but for the text: what it makes must be the same.
            let Some(mut output) = output else { continue };
            if let Some(fields) = output.as_object_mut().filter(|fields| fields.contains_key("path")) {
                let bytes =
                    fields.get("path").and_then(Value::as_str).map(|path| crate::fs::read(Path::new(path)));
                let bytes = bytes.and_then(std::result::Result::ok).unwrap_or_default();
                fields.insert("path".to_owned(), Value::from(crate::hash::Digest::of(&bytes).hex()));
            }
            match &first {
                Some((as_first, other)) if *other != output => {
                    return Err(format!("as {as_first}: {}; as {name}: {}", shown(other), shown(&output)));
                }
                Some(_) => {}
                None => first = Some((name, output)),
            }
        }
        Ok(())
    }

    fn in_pieces(&mut self, text: &str) -> std::result::Result<(), Problem> {
        self.begun()?;
        let (id, request) = self.request(text_form(text))?;
        let line = format!("{request}\n");
        let (one, two) = line.as_bytes().split_at(line.len() / 2);
        let Some(session) = &mut self.session else { return Ok(()) };
        session.send(one);
        session.send(two);
        self.answers(&[id]).map(drop)
    }

    fn logs(&mut self, text: &str) -> std::result::Result<(), Problem> {
        let mut end = 0;
        for answer in self.ask(&[text_form(text), text_form(text)])? {
            let range = answer.get("log").and_then(Value::as_array);
            let Some(range) = range else {
                return Err(format!("an answer without `log`: {}", shown(&answer)));
            };
            let ends: Vec<u64> = range.iter().filter_map(Value::as_u64).collect();
            if ends.first().is_some_and(|from| *from < end) && !self.described.is_concurrent {
                return Err(format!("a log begins at {} and the one before ended at {end}", ends[0]));
            }
            end = ends.last().copied().unwrap_or_default();
        }
        Ok(())
    }

    fn children(&mut self, text: &str) -> std::result::Result<(), Problem> {
        let answer = self.ask(&[text_form(text)])?.remove(0);
        match answer.get("output") {
            Some(output) if output.get("children").is_none() => {
                Err(format!("`split` was asked for, and the answer has no `children`: {}", shown(&answer)))
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> std::result::Result<(), Problem> {
        let Some(session) = &mut self.session else { return Err("it is gone".to_owned()) };
        let before = session.strays.len();
        let status = session.finish();
        let more = session.strays.get(before).cloned();
        let ended = match (status, more) {
            (None, _) => Err("it is still there".to_owned()),
            (Some(_), Some(line)) => Err(format!("it said: {line}")),
            (Some(status), None) if !status.success() => Err(format!("it ended{}", how_it_ended(status))),
            _ => Ok(()),
        };
        if ended.is_ok() {
            self.forget();
        }
        ended
    }
}

fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!(" with {code}"),
        (None, Some(signal)) => format!(" by signal {signal}"),
        (None, None) => String::new(),
    }
}
