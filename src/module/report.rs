//! What a slot says: how documents ended, and how the program does.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::hash::Digest;
use crate::model::action::{LogRange, Package, Used};
use crate::model::failure::Failure;
use crate::module::children::Weight;
use crate::time::Millis;

/// One thing that happened in a slot.
#[derive(Clone, Debug)]
pub enum Report {
    /// A worker is set up.
    Ready {
        /// Project files that it has loaded, relative.
        files: Vec<String>,
        /// Installed packages that it has loaded.
        packages: Vec<Package>,
        /// How many documents it takes in one call.
        batch: Option<usize>,
        /// How long its log was by then: what follows is printed for documents.
        log: u64,
    },
    /// A document has ended.
    Answer(Box<Answer>),
    /// How far a document is.
    Progress {
        /// The request.
        id: u64,
        /// Units done.
        done: f64,
        /// Of so many.
        total: Option<f64>,
        /// When it said so.
        at: Millis,
    },
    /// The module warns.
    Warn {
        /// The request; absent: the module as such.
        id: Option<u64>,
        /// `{"message": …}` and what else it says.
        warning: serde_json::Value,
        /// When it did.
        at: Millis,
    },
    /// Where the process stands, innermost first.
    Stack {
        /// `modules/ocr.py:41 in page`.
        lines: Vec<String>,
    },
    /// Numbers to be summed up.
    Count {
        /// The request.
        id: u64,
        /// By name.
        counts: BTreeMap<String, f64>,
    },
    /// A part of a document that is split; of no effect without the answer.
    Child {
        /// The request.
        id: u64,
        /// As the module calls it, escaped as a part of an id.
        name: String,
        /// What it is.
        output: Output,
        /// Kept until it is dealt with.
        weight: Weight,
    },
    /// The program cannot start: nothing was tried on these documents.
    Fatal {
        /// In the module's own words.
        failure: Failure,
        /// The requests that come back, in the order of sending.
        returned: Vec<u64>,
    },
    /// The process died or was ended with documents in hand. The next request starts a new one.
    Died(Box<Died>),
    /// A process has ended: what it used.
    Used {
        /// Processor time.
        cpu: Duration,
        /// The most memory it held, in KiB.
        peak_kib: u64,
    },
    /// The slot is done and says nothing more.
    Ended {
        /// Requests that were never answered, in the order of sending.
        returned: Vec<u64>,
    },
}

/// How one document ended.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The request.
    pub id: u64,
    /// The result.
    pub done: Done,
    /// What it printed; absent: nothing.
    pub log: Option<LogRange>,
    /// When that was written: up to so many bytes of it by that time.
    pub times: Vec<(u64, Millis)>,
    /// When work on it began.
    pub start: Millis,
    /// Microseconds of work.
    pub duration_us: u64,
    /// All project files loaded by now; absent: as reported before.
    pub files: Option<Vec<String>>,
    /// All packages loaded by now; absent: as reported before.
    pub packages: Option<Vec<Package>>,
    /// The module asks for a pause (`Retry(after=30)`).
    pub pause: Option<Duration>,
    /// What the work took; absent: too little to be measured, or shared with other documents.
    pub used: Option<Used>,
}

/// The result of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// There is one.
    Output(Output),
    /// The module left it out, with this reason.
    Skip(String),
    /// It failed.
    Failed(Failure),
}

/// What a module made of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The bytes.
    pub body: OutputBody,
    /// Lower case, without a dot; for [`OutputBody::Same`] empty unless stated.
    pub ext: String,
    /// The output's own meta: a compact JSON object with sorted keys, or empty.
    pub meta: String,
}

/// A file of a folder, in the scratch folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeFile {
    /// Where it is.
    pub path: PathBuf,
    /// Of its bytes.
    pub digest: Digest,
}

/// The bytes of an output, hashed already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputBody {
    /// In memory.
    Bytes {
        /// All of them.
        bytes: Vec<u8>,
        /// Their digest.
        digest: Digest,
    },
    /// In a file of the scratch folder, to be taken over.
    File {
        /// Where it is.
        path: PathBuf,
        /// Of the bytes.
        digest: Digest,
        /// In bytes.
        length: u64,
    },
    /// A folder.
    Folder {
        /// The list of its files, with the bytes of the small ones: see `model::folder`.
        bytes: Vec<u8>,
        /// Their digest.
        digest: Digest,
        /// The others, to be taken over.
        large: Vec<LargeFile>,
    },
    /// The input, unchanged.
    Same,
    /// So many children, which were reported before.
    Children(u64),
}

/// A process that died with documents in hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Died {
    /// What happened: crash, timeout, out of memory, bad reply, lost.
    pub failure: Failure,
    /// Those that may have caused it: the oldest in hand; of a concurrent worker all in hand; if the fault lies outside none.
    pub suspects: Vec<u64>,
    /// The rest, in the order of sending: to be handed out again, unblamed.
    pub others: Vec<u64>,
    /// What was printed since the answer before.
    pub log: Option<LogRange>,
    /// When that was written: up to so many bytes of it by that time.
    pub times: Vec<(u64, Millis)>,
    /// When work on the first suspect began.
    pub start: Millis,
    /// Microseconds from then until the end.
    pub duration_us: u64,
    /// What the work took since the answer before, as far as it is known.
    pub used: Option<Used>,
}
