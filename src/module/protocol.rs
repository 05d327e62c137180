//! The worker protocol, version 1: requests are written, frames are read. One JSON object a line; a content may follow
//! its line, counted.
//! `docs/reference/worker-protocol.md` says it for authors of modules.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::action::Package;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::Program;
use crate::module::base64;
use crate::module::launch::{Body, IN_LINE, Input, Launch, Request, Side};

/// The first request of the handshake.
pub(super) const DESCRIBE: &[u8] = b"{\"protocol\":1,\"describe\":true}\n";

/// The second: everything that is the same for all documents. `outbox`: a file for answers that are not written yet;
/// `lengths`: contents that follow their answers are understood.
pub(super) fn write_setup(out: &mut Vec<u8>, launch: &Launch, outbox: Option<&Path>, lengths: bool) {
    out.extend_from_slice(b"{\"setup\":{\"params\":");
    json(out, &launch.params);
    out.extend_from_slice(b",\"with\":{");
    sides(out, &launch.with);
    out.extend_from_slice(b"},\"with_each\":");
    json(out, &launch.with_each);
    out.extend_from_slice(b",\"sees\":");
    json(out, &launch.sees);
    if let Some(outbox) = outbox {
        out.extend_from_slice(b",\"outbox\":");
        json(out, &outbox.to_string_lossy());
    }
    if lengths {
        out.extend_from_slice(b",\"lengths\":true");
    }
    if let (Some(_), Some(timeout)) = (launch.at_once, launch.timeout) {
        out.extend_from_slice(b",\"timeout\":");
        json(out, &timeout.as_secs_f64());
    }
    if let Program::Url(_) = launch.program {
        let millis = |limit: std::time::Duration| limit.as_millis() as u64;
        let [fingerprint, ext] = [&launch.fingerprint, &launch.ext];
        out.extend_from_slice(b",\"fingerprint\":");
        json(out, fingerprint);
        out.extend_from_slice(b",\"ext\":");
        json(out, ext);
        out.extend_from_slice(b",\"timeout_ms\":");
        json(out, &launch.timeout.map(millis));
        out.extend_from_slice(b",\"split\":");
        json(out, &launch.split.map(|limits| [limits.count, limits.size, limits.total]));
    }
    out.extend_from_slice(b"}}\n");
}

/// How a request is written, beside what its document is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// The next request is of the same batch.
    pub(super) more: bool,
    /// The worker takes a content that follows its line.
    pub(super) lengths: bool,
}

/// One document. `tmp` is a folder that the module may make and use until it answers.
pub(super) fn write_request(out: &mut Vec<u8>, launch: &Launch, tmp: &Path, request: &Request, form: Form) {
    out.extend_from_slice(b"{\"id\":");
    json(out, &request.id);
    out.push(b',');
    let behind = match &request.input.body {
        Body::Bytes(bytes) if form.lengths && bytes.len() > IN_LINE => Some(bytes),
        _ => None,
    };
    if let Some(bytes) = behind {
        out.extend_from_slice(b"\"length\":");
        json(out, &bytes.len());
    } else {
        content(out, &request.input.body);
    }
    facts(out, &request.input, "doc_id");
    let set = matches!(request.input.body, Body::Manifest { .. });
    let usual: &[&str] = if set { &["ext", "id"] } else { &["ext"] };
    if launch.sees != usual {
        out.extend_from_slice(b",\"sees\":");
        json(out, &launch.sees);
    }
    if launch.split.is_some() {
        out.extend_from_slice(b",\"split\":true");
    }
    if form.more {
        out.extend_from_slice(b",\"more\":true");
    }
    out.extend_from_slice(b",\"tmp\":");
    json(out, &tmp.to_string_lossy());
    if !request.with.is_empty() {
        out.extend_from_slice(b",\"with\":{");
        sides(out, &request.with);
        out.push(b'}');
    }
    out.extend_from_slice(b"}\n");
    out.extend_from_slice(behind.map_or(&[], |bytes| bytes));
}

/// One document with what is the same for all of them, for a program that sees no other.
pub(super) fn write_alone(out: &mut Vec<u8>, launch: &Launch, tmp: &Path, request: &Request) {
    write_setup(out, launch, None, false);
    // `{"setup":{…}}` and `{"id":…}` become one object.
    out.truncate(out.len() - b"}\n".len());
    let end = out.len();
    write_request(out, launch, tmp, request, Form::default());
    out[end] = b',';
}

/// Side inputs by name, without braces.
fn sides(out: &mut Vec<u8>, with: &[(String, Side)]) {
    for (i, (name, side)) in with.iter().enumerate() {
        comma(out, i);
        json(out, name);
        out.push(b':');
        match side {
            Side::Absent => out.extend_from_slice(b"null"),
            Side::One(input) => object(out, input),
            Side::Many(inputs) => {
                out.push(b'[');
                for (i, input) in inputs.iter().enumerate() {
                    comma(out, i);
                    object(out, input);
                }
                out.push(b']');
            }
        }
    }
}

fn object(out: &mut Vec<u8>, input: &Input) {
    out.push(b'{');
    content(out, &input.body);
    facts(out, input, "id");
    out.push(b'}');
}

/// The field of an input that has its content.
fn content(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::Bytes(bytes) => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                out.extend_from_slice(b"\"text\":");
                json(out, text);
            } else {
                out.extend_from_slice(b"\"base64\":\"");
                base64::encode(bytes, out);
                out.push(b'"');
            }
        }
        Body::Path(path) => {
            out.extend_from_slice(b"\"path\":");
            json(out, &path.to_string_lossy());
        }
        Body::Manifest { path, members } => {
            out.extend_from_slice(b"\"manifest\":");
            json(out, &path.to_string_lossy());
            out.extend_from_slice(b",\"members\":");
            json(out, members);
        }
    }
}

/// The other fields of an input, a comma before each.
fn facts(out: &mut Vec<u8>, input: &Input, id_name: &str) {
    if let Some(ext) = &input.ext {
        out.extend_from_slice(b",\"ext\":");
        json(out, ext);
    }
    if let Some(digest) = &input.digest {
        out.extend_from_slice(b",\"digest\":");
        json(out, digest);
    }
    if let Some(meta) = &input.meta {
        out.extend_from_slice(b",\"meta\":");
        out.extend_from_slice(meta.as_bytes());
    }
    if let Some(id) = &input.id {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(id_name.as_bytes());
        out.extend_from_slice(b"\":");
        json(out, id);
    }
}

fn comma(out: &mut Vec<u8>, i: usize) {
    if i > 0 {
        out.push(b',');
    }
}

fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("texts, numbers and JSON values go into memory without fail");
}

/// A line of a worker. Unknown fields are from a later version and ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Frame<'a> {
    pub(super) id: Option<u64>,
    #[serde(borrow)]
    pub(super) describe: Option<&'a RawValue>,
    pub(super) ready: Option<u64>,
    pub(super) fatal: Option<Fault>,
    #[serde(borrow)]
    pub(super) output: Option<OutputFrame<'a>>,
    pub(super) skip: Option<String>,
    pub(super) error: Option<Fault>,
    #[serde(borrow)]
    pub(super) child: Option<OutputFrame<'a>>,
    /// Of a trial: all of them.
    #[serde(borrow)]
    pub(super) children: Option<Vec<OutputFrame<'a>>>,
    pub(super) progress: Option<ProgressFrame>,
    pub(super) warn: Option<serde_json::Value>,
    pub(super) count: Option<BTreeMap<String, f64>>,
    pub(super) log: Option<[u64; 2]>,
    /// When that was printed: so many bytes of it, by so many milliseconds since 1970.
    pub(super) times: Option<Vec<(u64, u64)>>,
    pub(super) files: Option<Vec<String>>,
    pub(super) packages: Option<Vec<PackageFrame>>,
}

impl Frame<'_> {
    /// How many bytes of content follow its line.
    pub(super) fn length(&self) -> usize {
        self.output
            .as_ref()
            .and_then(|output| output.length)
            .map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX))
    }
}

/// What a line is.
pub(super) enum Line<'a> {
    /// A frame.
    Frame(Box<Frame<'a>>),
    /// It was meant as a frame, but is none: what is wrong with it.
    Broken(String),
    /// Something that the program printed.
    Stray,
}

/// Reads one line without its end.
pub(super) fn read_line(line: &[u8]) -> Line<'_> {
    let trimmed = line.trim_ascii();
    if trimmed.first() != Some(&b'{') {
        return Line::Stray;
    }
    match serde_json::from_slice::<Frame<'_>>(trimmed) {
        Ok(frame)
            if frame.id.is_some()
                || frame.describe.is_some()
                || frame.ready.is_some()
                || frame.fatal.is_some() =>
        {
            Line::Frame(Box::new(frame))
        }
        Ok(_) => Line::Stray,
        Err(error) => {
            let inside = trimmed[1..].trim_ascii_start();
            let ours = [&b"\"id\""[..], b"\"ready\"", b"\"describe\"", b"\"fatal\""];
            if ours.iter().any(|key| inside.starts_with(key)) {
                Line::Broken(error.to_string())
            } else {
                Line::Stray
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OutputFrame<'a> {
    /// Of a child.
    pub(super) name: Option<String>,
    pub(super) text: Option<String>,
    /// The worker's own bytes.
    #[serde(borrow, default, deserialize_with = "also_null")]
    pub(super) json: Option<&'a RawValue>,
    pub(super) base64: Option<String>,
    /// So many bytes behind the line.
    pub(super) length: Option<u64>,
    pub(super) path: Option<std::path::PathBuf>,
    #[serde(default)]
    pub(super) same: bool,
    pub(super) children: Option<u64>,
    pub(super) ext: Option<String>,
    pub(super) meta: Option<serde_json::Map<String, serde_json::Value>>,
}

impl OutputFrame<'_> {
    /// The bytes that it carries or names, before any is kept.
    pub(super) fn size(&self) -> u64 {
        let text = self.text.as_ref().map(String::len);
        let json = self.json.map(|json| json.get().len());
        let base64 = self.base64.as_ref().map(|base64| base64.len() / 4 * 3);
        let file = || std::fs::metadata(self.path.as_ref()?).ok().map(|metadata| metadata.len());
        text.or(json).or(base64).map(|length| length as u64).or(self.length).or_else(file).unwrap_or(0)
    }
}

/// `null` is a value here, not the absence of one.
fn also_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

#[derive(Debug, Deserialize)]
pub(super) struct ProgressFrame {
    #[serde(default)]
    pub(super) done: f64,
    pub(super) total: Option<f64>,
}

/// An error in the module's own words.
#[derive(Debug, Deserialize)]
pub(super) struct Fault {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "where")]
    place: Option<PlaceFrame>,
    #[serde(default)]
    traceback: Option<String>,
    #[serde(default)]
    retry: bool,
    /// Seconds of pause that the module asks for.
    pub(super) after: Option<f64>,
    /// Of a module on a server: how it failed there.
    #[serde(default, rename = "kind")]
    stated: Option<FailureKind>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum PlaceFrame {
    Text(String),
    Parts { file: String, line: Option<u64> },
}

impl Fault {
    /// As a failure of a document on a server, which says itself what kind it is.
    pub(super) fn into_stated(self) -> Failure {
        let stated = self.stated;
        let mut failure = self.into_failure();
        failure.kind = stated.unwrap_or(failure.kind);
        failure
    }

    /// As a failure of the document, or of the start.
    pub(super) fn into_failure(self) -> Failure {
        let error = self.kind.filter(|kind| !kind.is_empty()).unwrap_or_else(|| "error".to_owned());
        let message = self.message.unwrap_or_default();
        // No room, no quota, too many open files, no process or thread: faults of the moment, as Python words them.
        let passes = ["[Errno 28]", "[Errno 122]", "[Errno 24]", "[Errno 23]", "[Errno 11]"];
        let kind = match error.as_str() {
            "MemoryError" => FailureKind::OutOfMemory,
            "OSError" | "BlockingIOError" if passes.iter().any(|errno| message.starts_with(errno)) => {
                FailureKind::Lost
            }
            _ => FailureKind::ModuleError,
        };
        let mut failure = Failure::new(kind, error, message);
        failure.place = self.place.map(|place| match place {
            PlaceFrame::Text(text) => text,
            PlaceFrame::Parts { file, line: Some(line) } => format!("{file}:{line}"),
            PlaceFrame::Parts { file, line: None } => file,
        });
        failure.traceback = self.traceback.filter(|text| !text.is_empty());
        failure.retry = self.retry;
        failure
    }
}

/// `numpy==2.4.6`, or with the folder of its metadata.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum PackageFrame {
    Text(String),
    Parts {
        name: String,
        #[serde(default)]
        version: String,
        #[serde(default)]
        path: String,
    },
}

/// Packages as they are remembered.
pub(super) fn packages(frames: Vec<PackageFrame>) -> Vec<Package> {
    let mut packages: Vec<Package> = frames
        .into_iter()
        .map(|frame| match frame {
            PackageFrame::Text(text) => {
                let (name, version) = text.split_once("==").unwrap_or((&text, ""));
                Package { name: name.to_owned(), version: version.to_owned(), path: String::new() }
            }
            PackageFrame::Parts { name, version, path } => Package { name, version, path },
        })
        .collect();
    packages.sort();
    packages
}

/// The answer to [`DESCRIBE`].
#[derive(Debug, Deserialize)]
pub(super) struct DescribeFrame {
    #[serde(default)]
    pub(super) name: String,
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) params: BTreeMap<String, ParamFrame>,
    #[serde(default)]
    pub(super) with: Vec<String>,
    pub(super) takes: Option<String>,
    pub(super) window: Option<usize>,
    pub(super) concurrent: Option<usize>,
    pub(super) batch: Option<usize>,
    /// It takes a content that follows its line.
    #[serde(default)]
    pub(super) lengths: bool,
    #[serde(default)]
    pub(super) files: Vec<String>,
    #[serde(default)]
    pub(super) packages: Vec<PackageFrame>,
    pub(super) interpreter: Option<String>,
    #[serde(default)]
    pub(super) doc: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ParamFrame {
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "null_default")]
    pub(super) default: Option<serde_json::Value>,
}

fn null_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests;
