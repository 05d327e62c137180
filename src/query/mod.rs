//! Questions to the store, and their answers as data: `status`, `why`, `log`, `ls`, `cat`.
//!
//! An answer comes from records and stamps; no module is run and nothing is recorded. The same functions answer in the
//! process that asks and, while a build has the store, in the one that builds. Knows no terminal and no socket.
//!
//! In this order, imports point to the left: `find` · `lineage` · `printed` · `log` · `run` · `report`, `why`, `status`, `failed`, `pairs` · `ls`, `cat`.

pub mod cat;
pub mod failed;
pub mod find;
pub mod lineage;
pub mod log;
pub mod ls;
pub mod pairs;
pub mod printed;
pub mod report;
pub mod run;
pub mod status;
pub mod why;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::board::{Board, Held};
use crate::engine::failures::Which;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::pipeline::Pipeline;
use crate::store::Store;

/// What a question is asked about.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The pipeline as it is now.
    pub pipeline: &'a Pipeline,
    /// The digest of the Pipelinefile.
    pub pipelinefile: Digest,
    /// The store, which is this process's.
    pub store: &'a Arc<Store>,
    /// Where the asker stands: relative paths begin there.
    pub here: &'a Path,
    /// This process is at work, now or whenever something changes: nothing is scanned or written beside it.
    pub building: bool,
    /// With `building`: not just now.
    pub idle: bool,
    /// What it does is collecting, not building.
    pub collecting: bool,
    /// Where it tells what it has in hand.
    pub board: Option<&'a Board>,
}

impl Asked<'_> {
    /// A build is under way in this process.
    pub fn is_build(&self) -> bool {
        self.building && !self.collecting && !self.idle
    }

    /// What this process's build has in hand.
    pub fn in_hand(&self) -> Vec<Held> {
        self.board.map(Board::ask).unwrap_or_default()
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Question {
    /// How everything stands.
    Status,
    /// What the store knows of sources and targets; the sources are not looked at.
    Counts,
    /// What failed.
    Failed(Which),
    /// Why something ran, would run, or did not.
    Why {
        /// A document or a target.
        what: String,
    },
    /// What happened to a document.
    Log {
        /// The document.
        doc: String,
        /// Which part of it.
        #[serde(flatten)]
        only: log::Only,
    },
    /// All runs.
    Runs,
    /// A run in numbers.
    Report {
        /// Its number; absent: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u32>,
    },
    /// What was done in a run.
    Run {
        /// Its number; absent: the newest.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u32>,
        /// Only in this target, or in those of this module.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// The documents of a stream.
    Ls(ls::Ask),
    /// The bytes of a result.
    Cat {
        /// A target or a source.
        stream: String,
        /// The document.
        doc: String,
        /// What a set came to in the last build of a sample.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sample: bool,
    },
}

/// A part of an answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Question::Status`].
    Status(Box<status::Status>),
    /// To [`Question::Counts`].
    Counts(Box<status::Counts>),
    /// To [`Question::Failed`].
    Failed(Box<failed::Failed>),
    /// To [`Question::Why`] about a document.
    WhyDocument(Box<why::WhyDocument>),
    /// To [`Question::Why`] about a target.
    WhyTarget(Box<why::WhyTarget>),
    /// To [`Question::Log`].
    Log(Box<log::Timeline>),
    /// To [`Question::Runs`]: those that wrote anything, oldest first.
    Runs {
        /// Them.
        runs: Vec<crate::model::action::Run>,
        /// How they ended, as far as they did.
        ended: Vec<crate::model::action::Ended>,
    },
    /// To [`Question::Report`].
    Report(Box<report::RunReport>),
    /// To [`Question::Run`]: first the run.
    Run(Box<run::RunHead>),
    /// To [`Question::Run`]: then one of many.
    Action(Box<run::Action>),
    /// To [`Question::Ls`]: one of many.
    Document(Box<ls::Listed>),
    /// To [`Question::Ls`] for pairs: one of many.
    Pair(Box<ls::Pair>),
    /// To [`Question::Ls`] for what has no match: one of many.
    Unmatched(Box<crate::engine::matching::Unmatched>),
    /// To [`Question::Ls`] for a manifest: one line of it.
    Manifest {
        /// JSON, without its line break.
        line: String,
    },
    /// To [`Question::Cat`].
    Content(cat::Content),
}

/// Whoever takes an answer, part by part.
pub type Tell<'t> = dyn FnMut(Answer) -> Result<()> + 't;

/// Answers a question.
pub fn answer(asked: &Asked<'_>, question: &Question, tell: &mut Tell<'_>) -> Result<()> {
    match question {
        Question::Status => tell(Answer::Status(Box::new(status::status(asked)?))),
        Question::Counts => tell(Answer::Counts(Box::new(status::counts(asked)?))),
        Question::Failed(which) => tell(Answer::Failed(Box::new(failed::failed(asked, which)?))),
        Question::Why { what } => match why::why(asked, what)? {
            why::Why::Document(why) => tell(Answer::WhyDocument(Box::new(why))),
            why::Why::Target(why) => tell(Answer::WhyTarget(Box::new(why))),
        },
        Question::Log { doc, only } => tell(Answer::Log(Box::new(log::timeline(asked, doc, only)?))),
        Question::Runs => tell(Answer::Runs { runs: asked.store.runs()?, ended: asked.store.ends()? }),
        Question::Report { run } => tell(Answer::Report(Box::new(report::report(asked, *run)?))),
        Question::Run { run, target } => run::run(asked, *run, target.as_deref(), tell),
        Question::Ls(ask) => ls::ls(asked, ask, tell),
        Question::Cat { stream, doc, sample: true } => {
            tell(Answer::Content(cat::of_sample(asked, stream, doc)?))
        }
        Question::Cat { stream, doc, .. } => tell(Answer::Content(cat::content(asked, stream, doc)?)),
    }
}
