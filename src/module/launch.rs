//! What a slot is asked to do: a program with all that is fixed for it, and requests for single documents.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::hash::Digest;
use crate::model::pipeline::{Program, SplitLimits};
use crate::module::python::Python;

/// A program of a target with everything that is the same for all its documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// How it is run.
    pub program: Program,
    /// The project's folder: where the program stands. Absolute.
    pub root: PathBuf,
    /// The interpreter, for Python modules.
    pub python: Option<Python>,
    /// Variables on top of the environment of `pipe`.
    pub env: Vec<(String, String)>,
    /// Variables of the environment of `pipe` whose values are shown nowhere.
    pub secrets: Vec<String>,
    /// Secrets of other modules, which this one is not given.
    pub withheld: Vec<String>,
    /// Only those that the module declares.
    pub params: BTreeMap<String, serde_json::Value>,
    /// Shared side inputs by name.
    pub with: Vec<(String, Side)>,
    /// Names of side inputs that come with each document.
    pub with_each: Vec<String>,
    /// The fields that the module may read, as written in the Pipelinefile.
    pub sees: Vec<String>,
    /// The worker's log, `logs/<run>-<worker>`; appended to.
    pub log: PathBuf,
    /// The folder for scratch files. Absolute; must be on the file system of the store.
    pub tmp: PathBuf,
    /// The hard limit of one document.
    pub timeout: Option<Duration>,
    /// Bytes of memory that the program may hold, with all that it starts.
    pub memory: Option<u64>,
    /// So many documents in one call; absent: as many as the module says.
    pub batch: Option<usize>,
    /// So many documents side by side in one process, which does nothing but wait for most of the time.
    pub at_once: Option<usize>,
    /// The hard limit of start and setup.
    pub setup_timeout: Duration,
    /// The extension that results get, whatever the module says.
    pub ext: Option<String>,
    /// The module makes children, within these limits.
    pub split: Option<SplitLimits>,
    /// Folders and files that a program in a container may read, at the paths that they have here. Absolute.
    pub readable: Vec<PathBuf>,
    /// The code files that are known; relative to the project's folder. One that is written to while a process starts may have
    /// been read as it was for a moment.
    pub code: Vec<String>,
    /// Of a module on a server: the fingerprint that its answers must have.
    pub fingerprint: Option<String>,
}

/// A content of more bytes follows its line, for whoever knows how to take it; in the line it would be escaped.
pub const IN_LINE: usize = 400;

/// The limit of start and setup where none is stated.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(60);

/// A document, or a side input, as the module is to see it: what is absent here is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The content.
    pub body: Body,
    /// The extension, lower case, without a dot; empty: it has none; absent: it is not seen.
    pub ext: Option<String>,
    /// The digest of the content.
    pub digest: Option<Digest>,
    /// The visible meta: a compact JSON object.
    pub meta: Option<String>,
    /// The document's id.
    pub id: Option<String>,
}

impl Input {
    /// An input of which only the content and the extension are seen.
    pub fn new(body: Body, ext: impl Into<String>) -> Self {
        Input { body, ext: Some(ext.into()), digest: None, meta: None, id: None }
    }
}

/// The content of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Sent behind its line, or as text if it is UTF-8, else as base64; filters get a file.
    Bytes(Arc<[u8]>),
    /// A file or a folder.
    Path(PathBuf),
    /// A set: a file of JSON lines, with contents behind them for whoever knows that.
    Manifest {
        /// Where it is.
        path: PathBuf,
        /// How many members it has.
        members: u64,
    },
}

/// A side input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// There is none, and the target says that this is fine.
    Absent,
    /// One.
    One(Input),
    /// Several (`many = true`).
    Many(Vec<Input>),
}

/// One document for a module.
#[derive(Clone, Debug)]
pub struct Request {
    /// Names it in reports; unique among all that a slot holds.
    pub id: u64,
    /// The document.
    pub input: Input,
    /// Its own side inputs.
    pub with: Vec<(String, Side)>,
}
