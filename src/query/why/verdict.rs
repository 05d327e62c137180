//! What is said of one document: what happened last in each target, and what a build would do now. Decides nothing.

use serde::{Deserialize, Serialize};

use crate::hash::Digest;
use crate::model::action::State;
use crate::model::failure::Failure;
use crate::model::reason::Reason;
use crate::query::lineage::Link;
use crate::query::log::Shown;
use crate::query::why::reduced::TreeWhy;
use crate::time::Millis;

/// Why, for one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhyDocument {
    /// Its id.
    pub doc: String,
    /// Its own bytes, now.
    pub source: SourceState,
    /// The other project that it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Link>,
    /// The newest run in which anything happened to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// In the pipeline's order.
    pub targets: Vec<Verdict>,
    /// Of a `reduce`, or of a document that it merges: the tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<TreeWhy>,
}

/// The bytes of a document against those that were built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum SourceState {
    /// As they were built.
    Same,
    /// Never built.
    New,
    /// Other bytes.
    Changed {
        /// As built.
        old: Option<Digest>,
        /// Now.
        new: Digest,
    },
    /// Not there any more.
    Gone,
    /// It cannot be read.
    Unreadable {
        /// Why.
        why: String,
    },
    /// A set: its bytes are its members. So many documents of its sources are to be looked at first.
    Members {
        /// New, changed, gone, or not up to date.
        to_look_at: u64,
    },
}

/// What is to be said of a document in one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The target.
    pub target: String,
    /// Of a target with a route: the branch that takes the document now, if its input is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Routed>,
    /// What happened last.
    pub last: Last,
    /// What a build would do.
    pub now: Now,
    /// Why the result is shown nowhere, though it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unshown: Option<Failure>,
}

/// The branch of a route that takes a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routed {
    /// From 1.
    pub branch: usize,
    /// The module's name, `pass`, `skip` or `fail`.
    pub action: String,
    /// The test that it passes.
    pub test: String,
}

/// What happened last in a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "last", rename_all = "kebab-case")]
pub enum Last {
    /// Nothing yet.
    Never,
    /// The module ran, in the newest run of this document.
    Ran {
        /// The run.
        run: u32,
        /// When.
        start: Millis,
        /// Microseconds.
        duration: u64,
        /// Why.
        reasons: Vec<Reason>,
        /// What came of it.
        outcome: Shown,
        /// The same as before: what is behind it did not run for it.
        same: bool,
    },
    /// A record answered that was made before, or for another document.
    Kept {
        /// The run that made it.
        run: u32,
        /// When.
        start: Millis,
        /// The document that it was made for, if it is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doc: Option<String>,
        /// This target before it ran in the newest run, and its output came out the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_off: Option<String>,
        /// `pipe accept` declared it valid though this is different about the code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<String>,
        /// What came of it.
        outcome: Shown,
    },
    /// It followed from what stands before it.
    Decided {
        /// The state.
        state: State,
        /// What there is to say.
        #[serde(default)]
        note: String,
    },
}

/// What a build would do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "now", rename_all = "kebab-case")]
pub enum Now {
    /// Nothing.
    UpToDate,
    /// Run the module.
    WouldRun {
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Merge again what changed in a `reduce`.
    WouldMerge {
        /// So many merges for certain.
        again: u64,
        /// And so many behind them if those come out different, or by records that are there.
        up_to: u64,
        /// Of so many.
        of: u64,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Take a record that is there already.
    WouldReuse {
        /// The run that made it.
        run: u32,
    },
    /// Take a result of older code, which was accepted.
    WouldAccept {
        /// The run that made it.
        run: u32,
        /// What is different about the code.
        why: String,
    },
    /// It is known only when these are done.
    Waits {
        /// Targets.
        on: Vec<String>,
        /// What else there is to say.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        note: String,
    },
    /// Nothing: `hold` keeps its result as it is.
    Held {
        /// The run that made it.
        run: u32,
        /// Why it would have been made again.
        why: String,
    },
    /// Another state, without a run.
    WouldBecome {
        /// Which.
        state: State,
        /// What there is to say.
        #[serde(default)]
        note: String,
    },
    /// The document is gone: its results are retired.
    Retired,
}

impl Now {
    /// Nothing runs: a record is there.
    pub(super) fn keeps_what_is_there(&self) -> bool {
        matches!(self, Now::UpToDate | Now::WouldReuse { .. } | Now::WouldAccept { .. } | Now::Held { .. })
    }
}
