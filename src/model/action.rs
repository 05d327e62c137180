//! Actions and what is remembered of them: the record of an action, the story of a document, and what many share.
//!
//! An action is one target on one document with every input fixed. Its record (`Act`) holds every part of its key but
//! what its `Recipe` holds for all documents alike, so a record proves itself: the key is computed again and compared.
//! How they lie on disk is `store::frame`'s; how a key is made of them is `plan::key`'s.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::model::document::{DocNumber, Stamp};
use crate::model::failure::{Failure, FailureKind};
use crate::time::Millis;

/// A place in the segment log, 48 bits: segment (20) and offset (28). Grows with time and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

impl Position {
    /// The place at `offset` in a segment.
    pub fn new(segment: u32, offset: u32) -> Self {
        Position(u64::from(segment) << 28 | u64::from(offset))
    }

    /// The number of the segment; of a place that no segment can have, the highest: it must not be taken for another's.
    pub fn segment(self) -> u32 {
        u32::try_from(self.0 >> 28).unwrap_or(u32::MAX)
    }

    /// The offset in the segment's file.
    pub fn offset(self) -> u32 {
        (self.0 & 0x0fff_ffff) as u32
    }
}

/// The name of an action: everything that its result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ActionKey(pub Digest);

/// One input as it enters a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyInput {
    /// The digest of the bytes; of a set the root over its members; absent where `missing = "none"`.
    pub digest: Option<Digest>,
    /// What the module sees beside the bytes: a JSON object, keys sorted, compact.
    pub facts: String,
}

/// What is the same for all documents of a target: kept once, named by its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Recipe {
    /// `each`, `all`, …
    pub shape: String,
    /// The module's name, for people; not in the key.
    pub module: String,
    /// The parts of the module's fingerprint by name: `command`, `kind`, `version`, `interpreter`, `env.X`, …
    pub program: Vec<(String, String)>,
    /// The code files that count, relative to the project, sorted.
    pub files: Vec<(String, Digest)>,
    /// Resolved params as JSON, sorted by name.
    pub params: Vec<(String, String)>,
    /// The side inputs in order of name; `Some` for shared ones, `None` where the digest is in the record.
    pub with: Vec<(String, Option<KeyInput>)>,
}

/// What a worker had loaded when it answered. A record answers only while all of it is unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loads {
    /// The module's identity: the digest of its command, so that a later build knows what to watch.
    pub module: Digest,
    /// Project files, relative, with the digest taken when they were loaded; sorted.
    pub files: Vec<(String, Digest)>,
    /// Installed packages, sorted.
    pub packages: Vec<Package>,
}

/// An installed package that a worker had loaded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// `numpy`
    pub name: String,
    /// `2.4.6`
    pub version: String,
    /// Its metadata folder, whose name holds the version: gone means changed.
    pub path: String,
}

/// What a definition id stands for: the targets of one family of documents, and what each was built by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Definition {
    /// The source or `all` target whose documents these are.
    pub family: String,
    /// In the pipeline's order.
    pub targets: Vec<DefinedTarget>,
}

/// One target in a definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DefinedTarget {
    /// Its name.
    pub name: String,
    /// Everything that decides it but the document: present if documents of this definition are up to date in it.
    pub digest: Option<Digest>,
    /// The template that it publishes by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish: Option<String>,
}

/// The place of a payload in the log. It is known as soon as the payload is appended, when the length of its group's
/// frames, and with it the offset in the file, is not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadPlace {
    /// Where the group begins whose payload this is.
    pub group: Position,
    /// The first byte, counted from the first payload of the group.
    pub offset: u32,
}

/// Where the bytes of an output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the log, behind the frames of a group.
    Payload(PayloadPlace),
    /// In a file of its own, named by its digest.
    Blob,
    /// The action's own input, passed on unchanged.
    Input,
}

/// What an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Of the bytes.
    pub digest: Digest,
    /// In bytes.
    pub length: u64,
    /// Lower case, without a dot; may be empty.
    pub ext: String,
    /// Where the bytes are.
    pub place: Place,
    /// The output's own meta: a JSON object, keys sorted, compact; empty if there is none.
    pub meta: String,
}

/// How an action ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With a result.
    Output(Output),
    /// Left out on purpose, with the reason.
    Skip(String),
    /// Not.
    Failed(Failure),
}

/// A part of a worker's log file: `logs/<run>-<worker>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LogRange {
    /// The first byte.
    pub from: u64,
    /// How many.
    pub length: u64,
}

impl LogRange {
    /// Of what one document prints so much is kept of the begin, and as much of the end.
    pub const KEPT: u64 = 64 * 1024;

    /// What is left out of it; nothing, unless it is longer than what is kept.
    pub fn left_out(self) -> Option<LogRange> {
        let length = self.length.checked_sub(2 * Self::KEPT).filter(|length| *length > 0)?;
        Some(LogRange { from: self.from + Self::KEPT, length })
    }
}

/// What is remembered of a finished action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The first eight bytes of the key.
    pub key: u64,
    /// The run that made it.
    pub run: u32,
    /// What is the same for all documents.
    pub recipe: Position,
    /// What its worker had loaded.
    pub loads: Option<Position>,
    /// The document that it was made for first.
    pub doc: DocNumber,
    /// The newest mark known when it started.
    pub mark: u64,
    /// The main input, then those of `with` that differ from document to document, in the recipe's order.
    pub inputs: Vec<KeyInput>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it started.
    pub start: Millis,
    /// Microseconds from the start of work to its answer.
    pub duration: u64,
    /// The number of the worker in its run.
    pub worker: u32,
    /// From 1.
    pub attempt: u32,
    /// What it printed.
    pub log: Option<LogRange>,
    /// Warnings, counts and the reason of the run: a JSON object, see [`Extras`]; empty if there is nothing.
    pub extras: String,
}

/// Who made a result that was taken from the shared cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The user's name.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The project's folder.
    pub project: String,
    /// The document that it was made for, as that project calls it.
    pub doc: String,
    /// The run of that project.
    pub run: u32,
}

/// The rare parts of an [`Act`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Extras {
    /// What the module warned of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<serde_json::Value>,
    /// Sums of `doc.count(…)`.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub counts: std::collections::BTreeMap<String, f64>,
    /// Why it ran; absent: it never had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<crate::model::reason::Reason>,
    /// Of a timeout, the limit in milliseconds; of a want of memory, that in bytes. Absent: none was stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What the work took, as far as it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// Of a failure: how far the module had said that it was, and of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(f64, Option<f64>)>,
    /// When it warned, warning by warning: so many milliseconds after its start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned: Vec<u64>,
    /// When it said how far it was: so many milliseconds after its start, so much was done, of so much. Of what failed, and
    /// of work of a second or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<(u64, f64, Option<f64>)>,
    /// When it printed what it printed: up to so many bytes of that by so many milliseconds after its start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<(u64, u64)>,
    /// Whose it is, if it was taken from the shared cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// What the work on a document took of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Processor time in microseconds, that of ended processes below it included.
    pub cpu: u64,
    /// The most memory that a process of it held, in KiB.
    pub peak: u64,
}

/// What became of a document in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum State {
    /// There is a result.
    Done = 1,
    /// The module left it out, with a reason.
    Skipped = 2,
    /// `where` left it out.
    LeftOut = 3,
    /// It failed.
    Failed = 4,
    /// Something before it failed.
    Blocked = 5,
    /// It never came here: skipped or left out before.
    Absent = 6,
    /// Not decided: the build was stopped, or does not cover it.
    Unfinished = 7,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [State; 7] = [
        State::Done,
        State::Skipped,
        State::LeftOut,
        State::Failed,
        State::Blocked,
        State::Absent,
        State::Unfinished,
    ];

    /// The state of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as u8 == code)
    }

    /// The word of messages and `--state`.
    pub fn word(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Skipped => "skipped",
            State::LeftOut => "left out",
            State::Failed => "failed",
            State::Blocked => "blocked",
            State::Absent => "absent",
            State::Unfinished => "unfinished",
        }
    }
}

/// What became of a document in one target, in a [`Story`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryEntry {
    /// How it stands.
    pub state: State,
    /// The record that says so, of this document or of another with the same key.
    pub act: Option<Position>,
    /// Whether its result is shown as a file.
    pub published: bool,
    /// What no record says: the text of a failure that is derived, or who blocks.
    pub note: String,
}

/// How one document stands after a run in which anything happened to it. The newest one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// Whose story.
    pub doc: DocNumber,
    /// The run that wrote it.
    pub run: u32,
    /// The frame that gives the document its name.
    pub names: Position,
    /// The [`Definition`] frame: which targets, in which order.
    pub definition: Position,
    /// The one before.
    pub previous: Option<Position>,
    /// The source file's stamp.
    pub stamp: Stamp,
    /// The digest of the source's bytes, or of a set's result.
    pub content: Option<Digest>,
    /// Every target is decided for good.
    pub settled: bool,
    /// The source file was read too soon after its last change to trust its stamp.
    pub racy: bool,
    /// The document is gone from its source.
    pub gone: bool,
    /// One an entry in the definition's targets.
    pub entries: Vec<StoryEntry>,
}

/// One invocation of the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Numbered per project, from 1.
    pub number: u32,
    /// When it began.
    pub start: Millis,
    /// The command line.
    pub command: Vec<String>,
    /// The version of `pipe`.
    pub version: String,
    /// The digest of the Pipelinefile.
    pub pipelinefile: Digest,
    /// The machine; empty in runs of earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
}

/// How a run ended. A run without it was killed, or is still going on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Its number.
    pub run: u32,
    /// When.
    pub time: Millis,
    /// With which status its process ended.
    pub exit: u8,
    /// Why it did not do all that was due, as a sentence; empty if it did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Actions that ran and gave a result.
    #[serde(default)]
    pub built: u64,
    /// Answered by earlier records.
    #[serde(default)]
    pub reused: u64,
    /// Actions that stood failed at its end, those of documents that were not touched included.
    #[serde(default)]
    pub failed: u64,
    /// Documents that stood behind a failure at its end.
    #[serde(default)]
    pub blocked: u64,
    /// The listings that are ours: they are known again when the index is lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listings: Vec<OwnListing>,
    /// What modules counted in it, by target and name: with what was counted for tries that left no record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counted: BTreeMap<String, BTreeMap<String, f64>>,
}

/// A listing of published files, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnListing {
    /// Relative to the project's folder.
    pub path: String,
    /// Of its target.
    pub target: String,
    /// Of its bytes.
    pub digest: Digest,
}

/// Work that is to be done again; or that such a mark is void, or that results of older code are valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Grows by one; records made after it know it.
    pub number: u64,
    /// When it was made.
    pub time: Millis,
    /// The targets.
    pub targets: Vec<MarkedTarget>,
    /// A glob over ids; absent: every document.
    pub docs: Option<String>,
    /// Only what failed: other results stand.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// With `failed`: only failures of these kinds; empty: of all. A reader that does not know this opens more of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<FailureKind>,
    /// With `failed`: only failures whose causes have names that begin so; empty: of all. A reader that does not know
    /// this opens more of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// With `failed`: only those that began at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Millis>,
    /// Only results whose attempt started before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_than: Option<Millis>,
    /// With `docs`: sets besides, a member of which the glob selects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// Targets in which earlier marks are void, for the documents that are selected: those that ask for results to be made
    /// again; with `failed` those that ask only for what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws: Vec<String>,
    /// With `withdraws`: only of modules with these fingerprints; empty: of all. A reader that does not know this withdraws
    /// more of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdraws_of: Vec<Digest>,
    /// Results of older code that are valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<Accepted>,
}

impl Mark {
    /// Whether it asks for every result of its targets to be made again.
    pub fn is_whole(&self) -> bool {
        self.docs.is_none() && !self.failed && self.older_than.is_none()
    }
}

/// Results of older code that a [`Mark`] declares valid under the code of then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The target.
    pub name: String,
    /// The fingerprints that the results were made by.
    pub from: Vec<Digest>,
    /// The fingerprint under which they are valid.
    pub to: Digest,
    /// What else of their load sets was not as it was: each file as it is now, each package that is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loaded: Vec<(String, Option<Digest>)>,
}

/// A target in a [`Mark`], with the fingerprint that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkedTarget {
    /// Its name.
    pub name: String,
    /// The mark says nothing about other fingerprints.
    pub fingerprint: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_holds_segment_and_offset() {
        let position = Position::new(0xf_ffff, 0x0fff_ffff);
        assert_eq!((position.segment(), position.offset()), (0xf_ffff, 0x0fff_ffff));
        assert!(Position::new(1, 0x0fff_ffff) < Position::new(2, 0));
        assert_eq!(position.0 >> 48, 0);
    }

    #[test]
    fn codes_of_states_go_there_and_back() {
        for state in State::ALL {
            assert_eq!(State::from_code(state as u8), Some(state));
        }
    }
}
