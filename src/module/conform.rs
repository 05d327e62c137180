//! Examines a worker: does a program in whatever language speak the worker protocol? For `pipe conform`.
//!
//! Each check says what it sent, what came, and what `docs/reference/worker-protocol.md` asks for. A worker may answer
//! any document with an error: what it makes of documents is not looked at, only how it says so.

mod answer;
mod checks;
mod session;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::error::Result;
use crate::model::pipeline::Program;
use crate::module::launch::{Launch, SETUP_TIMEOUT};

pub use checks::examine;

/// What is examined, and with what.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The words of its command.
    pub words: Vec<String>,
    /// Where it is started.
    pub root: PathBuf,
    /// A folder of ours for its log and its files.
    pub folder: PathBuf,
    /// The document.
    pub text: Vec<u8>,
    /// Its extension.
    pub ext: String,
    /// Params.
    pub params: BTreeMap<String, Value>,
    /// It is asked for children.
    pub split: bool,
    /// How long an answer may take.
    pub patience: Duration,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should.
    Passed,
    /// Not.
    Failed,
    /// It does not concern this worker, or could not be tried.
    Skipped,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name, one word or two.
    pub name: &'static str,
    /// What is asked of a worker.
    pub expected: &'static str,
    /// How it ended.
    pub state: State,
    /// What came instead, or why it was skipped; empty if it passed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub got: String,
    /// The last lines in each direction, where it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// The last lines of its log, where it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl Subject {
    fn launch(&self) -> Launch {
        Launch {
            program: Program::Worker(self.words.clone()),
            root: self.root.clone(),
            python: None,
            env: Vec::new(),
            params: self.params.clone(),
            with: Vec::new(),
            with_each: Vec::new(),
            sees: Vec::new(),
            log: self.folder.join("log"),
            tmp: self.folder.join("tmp"),
            timeout: None,
            memory: None,
            secrets: Vec::new(),
            withheld: Vec::new(),
            batch: None,
            at_once: None,
            setup_timeout: SETUP_TIMEOUT,
            ext: None,
            readable: Vec::new(),
            code: Vec::new(),
            fingerprint: None,
            split: None,
        }
    }

    /// A file of ours.
    fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.folder.join(name);
        crate::fs::write_scratch(&path, bytes)?;
        Ok(path)
    }
}
