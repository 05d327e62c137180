//! What a collection does, in numbers, for people and programs.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::time::Millis;

/// Why nothing goes unless it is said twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Doubt {
    /// No document of the Pipelinefile has anything in the store.
    NoDocument,
    /// More than half of all records and blobs would go.
    OverHalf,
}

/// A number of files, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Together.
    pub bytes: u64,
}

impl Files {
    /// Counts one more.
    pub fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

fn is_none(files: &Files) -> bool {
    files.count == 0
}

/// What a collection does, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Documents that keep what they have.
    pub documents: u64,
    /// Records that are kept.
    pub kept: u64,
    /// Earlier states of documents that are kept.
    pub history: u64,
    /// What was so since this run is kept; absent: no history is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Records that go.
    pub collected: u64,
    /// Records that nothing needs but that lie among others that stay.
    pub among_others: u64,
    /// Segments that are written anew with what is kept of them.
    pub segments: Files,
    /// The bytes that this frees.
    pub log_bytes: u64,
    /// Large results that go.
    pub blobs: Files,
    /// Logs of workers that go.
    pub logs: Files,
    /// What was quarantined long ago, and what earlier versions of the index left.
    pub leftovers: Files,
    /// Pipelinefiles of runs that are known no more.
    #[serde(skip_serializing_if = "is_none")]
    pub pipelinefiles: Files,
    /// Environments of Python modules that no module uses.
    #[serde(skip_serializing_if = "is_none")]
    pub environments: Files,
    /// Documents gone from their sources that are forgotten.
    pub forgotten: u64,
    /// Documents of sources and sets that the Pipelinefile does not have any more.
    pub dropped: BTreeMap<String, u64>,
    /// Marks of `pipe redo` that ask for nothing any more.
    pub marks: u64,
    /// The bytes of the log and of all blobs.
    pub stored: u64,
    /// The bytes of the store, without its reserve.
    pub before: u64,
    /// The same afterwards.
    pub after: u64,
    /// So many bytes are needed beyond the size that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub over: Option<u64>,
    /// Why it has to be said twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// The oldest run of the history that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Since {
    /// Its number.
    pub run: u32,
    /// When it began.
    pub start: Millis,
}
