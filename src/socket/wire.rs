//! The lines on the socket: one request, then a greeting, the parts of the answer, and an end.

use std::io::{BufRead, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::query::{Answer, Question};

/// The version of the lines.
pub const VERSION: u32 = 1;

/// The name of the socket in the store's folder.
pub(super) const NAME: &str = "socket";

/// A question is short; whoever sends more means something else.
const LONGEST_REQUEST: u64 = 256 * 1024;

/// A question with where the asker stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Relative paths begin here.
    pub here: PathBuf,
    /// The question.
    pub question: Question,
}

#[derive(Serialize, Deserialize)]
struct RequestLine {
    v: u32,
    here: String,
    #[serde(flatten)]
    question: Question,
}

/// One line of a reply.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The owner is there, and begins to answer.
    Hello,
    /// A part of the answer.
    Part(Box<Answer>),
    /// There is no answer, or no more of it.
    Failed(Error),
    /// The answer is whole.
    End,
}

#[derive(Default, Serialize, Deserialize)]
struct ReplyLine {
    v: u32,
    /// The process that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hello: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<Box<Answer>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorLine>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    end: bool,
}

#[derive(Serialize, Deserialize)]
struct ErrorLine {
    exit: u8,
    message: String,
    #[serde(default)]
    causes: Vec<String>,
    #[serde(default)]
    hints: Vec<String>,
}

impl From<Error> for ErrorLine {
    fn from(error: Error) -> Self {
        ErrorLine {
            exit: error.kind.exit_code(),
            message: error.message,
            causes: error.causes,
            hints: error.hints,
        }
    }
}

impl From<ErrorLine> for Error {
    fn from(line: ErrorLine) -> Self {
        let kinds = [Kind::Usage, Kind::Unfinished, Kind::NoMatch];
        let kind = kinds.into_iter().find(|kind| kind.exit_code() == line.exit).unwrap_or(Kind::Unfinished);
        Error { causes: line.causes, hints: line.hints, ..Error::new(kind, line.message) }
    }
}

/// The request as a line.
pub(crate) fn request_line(request: &Request) -> Result<Vec<u8>> {
    let here = request.here.to_string_lossy().into_owned();
    line(&RequestLine { v: VERSION, here, question: request.question.clone() })
}

/// Reads the one request of a connection.
pub(crate) fn read_request(from: impl BufRead) -> Result<Request> {
    let mut text = String::new();
    let read = from.take(LONGEST_REQUEST).read_line(&mut text);
    read.map_err(|e| Error::unfinished("cannot read the question").caused_by(e))?;
    other_version(&text)?;
    let line: RequestLine =
        serde_json::from_str(&text).map_err(|e| Error::usage("this is no question").caused_by(e))?;
    Ok(Request { here: PathBuf::from(line.here), question: line.question })
}

/// Said before anything else of the line is looked at: another version may have other fields.
fn other_version(text: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    match serde_json::from_str::<Version>(text) {
        Ok(Version { v }) if v != VERSION => {
            let message =
                format!("the other pipe speaks version {v} on the socket, this one version {VERSION}");
            Err(Error::unfinished(message)
                .hint("use one version of pipe in a project, or wait until the build ends"))
        }
        _ => Ok(()),
    }
}

/// Writes one line of a reply.
pub(crate) fn write_reply(to: &mut impl Write, reply: Reply) -> Result<()> {
    let mut out = ReplyLine { v: VERSION, ..ReplyLine::default() };
    match reply {
        Reply::Hello => out.hello = Some(std::process::id()),
        Reply::Part(part) => out.part = Some(part),
        Reply::Failed(error) => out.error = Some(error.into()),
        Reply::End => out.end = true,
    }
    to.write_all(&line(&out)?).map_err(|e| Error::unfinished("the asker is gone").caused_by(e))
}

/// Reads one line of a reply; nothing at the end of the stream.
pub(crate) fn read_reply(from: &mut impl BufRead) -> std::io::Result<Option<Reply>> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 || !text.ends_with('\n') {
        return Ok(None);
    }
    if let Err(error) = other_version(&text) {
        return Ok(Some(Reply::Failed(error)));
    }
    let line: ReplyLine = match serde_json::from_str(&text) {
        Ok(line) => line,
        Err(e) => return Ok(Some(Reply::Failed(Error::unfinished("this is no answer").caused_by(e)))),
    };
    Ok(Some(match line {
        ReplyLine { part: Some(part), .. } => Reply::Part(part),
        ReplyLine { error: Some(error), .. } => Reply::Failed(error.into()),
        ReplyLine { end: true, .. } => Reply::End,
        _ => Reply::Hello,
    }))
}

fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)
        .map_err(|e| Error::unfinished("this cannot be said on the socket").caused_by(e))?;
    line.push(b'\n');
    Ok(line)
}

/// A folder held open, and short names in it: the path of a socket holds 107 bytes, that of a project may be longer.
pub(super) struct Folder {
    dir: PathBuf,
    held: std::fs::File,
}

impl Folder {
    /// Holds a folder.
    pub(super) fn open(dir: &Path) -> std::io::Result<Folder> {
        Ok(Folder { dir: dir.to_owned(), held: std::fs::File::open(dir)? })
    }

    /// The path by which this process reaches a name in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        let through = PathBuf::from(format!("/proc/self/fd/{}", self.held.as_raw_fd()));
        // Where there is no /proc, the plain path has to be short enough.
        if through.exists() { through.join(name) } else { self.dir.join(name) }
    }
}
