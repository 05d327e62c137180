//! What the engine says while it works: one typed stream, many listeners.
//!
//! The engine prints nothing. A terminal, plain lines, `--json` and later faces are [`Sink`]s. What is common to all
//! events (run, time) is the sink's to add, not each variant's. An event about a result is sent only after it is on
//! disk.

use std::collections::BTreeMap;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use crate::model::action::Ended;
use crate::model::allowance::Allowance;
use crate::model::failure::Failure;
use crate::time::Millis;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A source was scanned.
    Scanned(Scanned),
    /// What will be done at most, before work starts.
    Plan {
        /// In the pipeline's order; only targets with something to do.
        targets: Vec<Planned>,
        /// Documents for which there is nothing to do.
        up_to_date: u64,
    },
    /// A run began to write: it has a number now.
    RunStarted {
        /// Numbered per project.
        run: u32,
    },
    /// Workers of a target's module are starting.
    Starting {
        /// The target.
        target: String,
        /// The module.
        module: String,
    },
    /// A document was taken in hand.
    Started {
        /// The document.
        doc: String,
        /// The target.
        target: String,
    },
    /// A module tells how far it is.
    Progress {
        /// The document.
        doc: String,
        /// The target.
        target: String,
        /// What is done.
        done: f64,
        /// Of how much, if it is known.
        total: Option<f64>,
    },
    /// A module, or a program's stray output, warns.
    Warned {
        /// The document, if it is about one.
        doc: Option<String>,
        /// The target.
        target: String,
        /// The text.
        message: String,
    },
    /// An action ran and its result is on disk.
    Done(Finished),
    /// The module left a document out, and that is on disk.
    Skipped {
        /// The document.
        doc: String,
        /// The target.
        target: String,
        /// The module's words.
        reason: String,
        /// How it ran.
        #[serde(flatten)]
        ran: Option<Ran>,
    },
    /// An action failed, and that is on disk.
    Failed {
        /// The document.
        doc: String,
        /// The target.
        target: String,
        /// How.
        failure: Failure,
        /// How it ran, if it did.
        #[serde(flatten)]
        ran: Option<Ran>,
    },
    /// An action met a passing fault, and that is on disk; it will be tried again in this build.
    Retrying {
        /// The document.
        doc: String,
        /// The target.
        target: String,
        /// How it failed.
        failure: Failure,
        /// Which try it was, over all builds.
        attempt: u32,
        /// How long it took, in microseconds.
        duration: u64,
        /// The number of its worker in the run.
        worker: u32,
        /// The pause before the next one.
        milliseconds: u64,
    },
    /// A module asked for a pause: nothing more of it is handed out until then.
    Pausing {
        /// The target where it said so.
        target: String,
        /// How long.
        milliseconds: u64,
        /// Its words.
        failure: Failure,
    },
    /// A document has been in hand for long.
    Slow {
        /// The document.
        doc: String,
        /// The target.
        target: String,
        /// So far.
        seconds: u64,
    },
    /// Somebody asked what is in hand (SIGUSR1).
    InHand {
        /// One for each worker that has anything in hand.
        workers: Vec<Hand>,
    },
    /// Counts of all targets, at most ten times a second.
    #[serde(serialize_with = "as_targets")]
    Counts(Vec<TargetCounts>),
    /// A target with a side input by value was brought up to date.
    Matched(Matched),
    /// Something that is no failure of a document but should be read.
    Notice {
        /// The text, a sentence.
        message: String,
        /// What to do, if there is something.
        hint: Option<String>,
    },
    /// The first request to stop: nothing new is handed out.
    Stopping {
        /// Documents still in hand.
        in_hand: usize,
    },
    /// The last event of a build.
    Finished(Summary),
    /// `pipe watch` waits for something to change.
    Watching(Watching),
    /// Something changed, and is looked at now.
    Changed(Changed),
}

/// A list has no room for the tag `event`: as an object with the field `targets` it has.
fn as_targets<S: Serializer>(counts: &[TargetCounts], serializer: S) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Counts", 1)?;
    object.serialize_field("targets", counts)?;
    object.end()
}

/// What a scan of one source found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scanned {
    /// The source.
    pub source: String,
    /// Documents there now.
    pub documents: u64,
    /// Not seen before.
    pub new: u64,
    /// With another stamp than before.
    pub changed: u64,
    /// No longer there.
    pub gone: u64,
    /// What could not be read, as text; they count as unchanged.
    pub problems: Vec<String>,
    /// Milliseconds that it took.
    pub milliseconds: u64,
}

/// What is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watching {
    /// In the order of the Pipelinefile.
    pub sources: Vec<Watched>,
    /// The system tells of no changes: everything is looked at every so many milliseconds.
    pub every: Option<u64>,
}

/// A source that is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Watched {
    /// The source.
    pub source: String,
    /// Documents there now.
    pub documents: u64,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The first few paths, relative to the project.
    pub paths: Vec<String>,
    /// How many there are.
    pub count: u64,
    /// More changed than could be told: everything is looked at.
    pub everything: bool,
}

/// What is planned for a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Planned {
    /// The target.
    pub target: String,
    /// At most so many actions; absent: not known yet (a set).
    pub actions: Option<u64>,
    /// So many seconds they take, by what they took before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Microseconds of one of them, by what they took before.
    #[serde(skip)]
    pub each: Option<f64>,
    /// What the module will count, by what it counted before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
}

/// How the documents of two streams met by value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matched {
    /// The target.
    pub target: String,
    /// Its side input.
    pub with: String,
    /// The stream that it comes from.
    pub from: String,
    /// Documents that looked for a match.
    pub documents: u64,
    /// Those of them that have none.
    pub unmatched: u64,
    /// The first of them.
    pub samples: Vec<String>,
    /// Documents of the other stream.
    pub others: u64,
    /// Those that nobody looked for; absent while documents failed before their value was known.
    pub unused: Option<u64>,
    /// The first of them.
    pub unused_samples: Vec<String>,
    /// A value of ours, and one of theirs that is the same but for its type.
    pub only_by_type: Option<(String, String)>,
}

/// An action that ran well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finished {
    /// The document.
    pub doc: String,
    /// The target.
    pub target: String,
    /// Bytes of the output.
    pub length: u64,
    /// How it ran.
    #[serde(flatten)]
    pub ran: Option<Ran>,
}

/// What a worker is at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Hand {
    /// Its number in the run.
    pub worker: u32,
    /// The target.
    pub target: String,
    /// The document that it has had for longest: as a rule the one that it works on.
    pub doc: String,
    /// Since it was handed out, or since the answer before it.
    pub milliseconds: u64,
    /// How far the module says it is, and of how much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<(f64, Option<f64>)>,
    /// So many more documents it has in hand.
    pub more: usize,
    /// Where it stands, innermost first; only of Python modules.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stack: Vec<String>,
}

/// How an action ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// Microseconds of work.
    pub duration: u64,
    /// The number of the worker in its run; absent where no process was asked.
    pub worker: Option<u32>,
    /// Which try it was, over all builds; from 1.
    pub attempt: u32,
}

/// How a target stands in this build. Every document that came to it is in exactly one of the counts below `todo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TargetCounts {
    /// The target.
    pub target: String,
    /// Documents that may still come, those in hand included.
    pub todo: u64,
    /// Actions in hand now.
    pub running: u64,
    /// Actions that ran and gave a result.
    pub built: u64,
    /// Answered by an earlier record, or by an equal action in this build.
    pub reused: u64,
    /// Left out by the module.
    pub skipped: u64,
    /// Left out by `where`.
    pub left_out: u64,
    /// Failed, now or before.
    pub failed: u64,
    /// Behind a failure.
    pub blocked: u64,
    /// Outputs that came out the same as before.
    pub same: u64,
    /// What the module counted in this build, by name: `usd`, `tokens`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
}

/// How a build ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// The run's number; absent if nothing had to be written.
    pub run: Option<u32>,
    /// Documents of all sources.
    pub documents: u64,
    /// Documents for which nothing had to be done.
    pub up_to_date: u64,
    /// By target, in the pipeline's order.
    pub targets: Vec<TargetCounts>,
    /// Failures by cause, those of documents that were not touched included.
    pub causes: Vec<Cause>,
    /// Documents that failed in any target.
    #[serde(skip_serializing_if = "is_zero")]
    pub failed_documents: u64,
    /// Documents that stand behind a failure.
    pub blocked: u64,
    /// What one of them waits for, where that is no cause.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub blocked_by: String,
    /// Sets that are not over all their members.
    pub sets: Vec<Incomplete>,
    /// Results that were taken from the shared cache; they are among those reused.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken: u64,
    /// Files written by publishing.
    pub published: u64,
    /// Files removed by publishing.
    pub withdrawn: u64,
    /// Files that show an older result than the present one.
    pub stale: Stale,
    /// Listings that could not be written: other files lie there.
    pub unlisted: Vec<Unlisted>,
    /// Milliseconds of the whole build.
    pub milliseconds: u64,
    /// Why it did not come to its end, if so.
    pub stopped: Option<Stopped>,
    /// Documents whose work is still open.
    pub unfinished: u64,
    /// Failures are no reason to exit with 1: there are no more than these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Allowance>,
}

/// Published files that show an older result, because the present one failed, is blocked or is not decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stale {
    /// How many.
    pub count: u64,
    /// The first few, by target and document.
    pub files: Vec<StaleFile>,
}

/// A published file that shows an older result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaleFile {
    /// The target.
    pub target: String,
    /// Whose result it was.
    pub doc: String,
    /// Where it lies, relative to the project, if that is still known.
    pub path: Option<String>,
}

/// A listing that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlisted {
    /// The target.
    pub target: String,
    /// Where it should lie, relative to the project.
    pub path: String,
    /// Why it could not be written; absent: another file lies there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Failures with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The target where it happened.
    pub target: String,
    /// The failure of the first sample.
    pub failure: Failure,
    /// How many documents.
    pub count: u64,
    /// The first few of them, in the order of ids.
    pub samples: Vec<String>,
    /// Those that are not tried again by a build: they were the end of their worker too often.
    #[serde(skip_serializing_if = "is_zero")]
    pub set_aside: u64,
    /// Those that the next build tries again because somebody, or the end of their module, opened them again.
    #[serde(skip_serializing_if = "is_zero")]
    pub reopened: u64,
    /// Targets that wait for these documents, and how many of them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// A set of which members are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// The target.
    pub target: String,
    /// It was not made of what is there; an older result stays.
    pub blocked: bool,
    /// `over 2,999,012 of 3,000,000`, or what failed.
    pub note: String,
}

/// Why a build stopped before its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum Stopped {
    /// A signal: 2 or 15.
    Signal {
        /// Its number.
        signal: i32,
    },
    /// `--fail-fast`.
    FailFast,
    /// A module cannot start, or was stopped.
    Module {
        /// The target.
        target: String,
        /// Its own words.
        failure: Failure,
    },
    /// A module failed in the same way on many documents in a row.
    Breaker {
        /// The target where it was seen.
        target: String,
        /// The error.
        failure: Failure,
        /// How many in a row.
        in_a_row: u64,
    },
    /// More documents failed than `--max-fail` allows, or the `max_fail` of a target.
    MaxFail {
        /// The target; absent: the build.
        target: Option<String>,
        /// So many did.
        failed: u64,
        /// So many may.
        limit: Allowance,
    },
    /// The money of a target or a module for one build is spent.
    Budget {
        /// The target or module that has the budget.
        of: String,
        /// In dollars.
        budget: f64,
        /// What was spent, with what was in hand by then.
        spent: f64,
    },
    /// The store cannot be written.
    Store {
        /// Why.
        message: String,
    },
}
impl Stopped {
    /// A sentence for whoever comes later.
    pub fn words(&self) -> String {
        let count = crate::text::count;
        match self {
            Stopped::Signal { .. } => "it was interrupted".to_owned(),
            Stopped::FailFast => "it stopped at the first failure, as --fail-fast says".to_owned(),
            Stopped::Module { target, failure } => {
                format!("the module of {target} cannot start: {}", failure.summary())
            }
            Stopped::Breaker { target, failure, in_a_row } => {
                format!("{target} met the same error {in_a_row} times in a row: {}", failure.summary())
            }
            Stopped::MaxFail { target: Some(target), failed, limit } => {
                format!("{} failed in {target}, and its `max_fail` is {limit}", count(*failed, "document"))
            }
            Stopped::MaxFail { target: None, failed, limit } => {
                format!("{} failed, and --max-fail is {limit}", count(*failed, "document"))
            }
            Stopped::Budget { of, budget, spent } => {
                let [spent, budget] = [spent, budget].map(|usd| crate::text::amount("usd", *usd));
                format!("{spent} of the budget of {of}, {budget}, are spent")
            }
            Stopped::Store { message } => format!("the store cannot be written: {message}"),
        }
    }
}

impl Summary {
    /// How the run ended, for the log.
    pub fn ended(&self, time: Millis) -> Ended {
        let sum = |of: fn(&TargetCounts) -> u64| self.targets.iter().map(of).sum();
        Ended {
            run: self.run.unwrap_or_default(),
            time,
            exit: self.exit_code(),
            why: self.stopped.as_ref().map_or_else(String::new, Stopped::words),
            built: sum(|target| target.built),
            reused: sum(|target| target.reused),
            failed: self.failed(),
            blocked: self.blocked,
            listings: Vec::new(),
            counted: (self.targets.iter())
                .filter(|target| !target.counts.is_empty())
                .map(|target| (target.target.clone(), target.counts.clone()))
                .collect(),
        }
    }

    /// The exit code of the build.
    pub fn exit_code(&self) -> u8 {
        match &self.stopped {
            Some(Stopped::Signal { signal }) => 128 + *signal as u8,
            Some(
                Stopped::Module { .. }
                | Stopped::Breaker { .. }
                | Stopped::MaxFail { target: Some(_), .. }
                | Stopped::Budget { .. }
                | Stopped::Store { .. },
            ) => 3,
            None if self.unlisted.is_empty()
                && (self.allowed.is_some() || self.causes.is_empty() && self.blocked == 0) =>
            {
                0
            }
            Some(Stopped::FailFast | Stopped::MaxFail { target: None, .. }) | None => 1,
        }
    }

    /// How many results failed, now or before: a document that failed in two targets counts twice.
    pub fn failed(&self) -> u64 {
        self.causes.iter().map(|cause| cause.count).sum()
    }

    /// What modules counted in it, in all targets.
    pub fn counts(&self) -> BTreeMap<&str, f64> {
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, count) in self.targets.iter().flat_map(|target| &target.counts) {
            *sums.entry(name).or_default() += count;
        }
        sums
    }

    /// Whether nothing at all had to be done.
    pub fn is_up_to_date(&self) -> bool {
        self.run.is_none() && self.stopped.is_none()
    }
}

/// A listener. Must be quick: the engine waits for it.
pub trait Sink: Send {
    /// Called for each event, in order.
    fn event(&mut self, event: &Event);
}
