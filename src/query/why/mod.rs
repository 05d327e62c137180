//! Why something ran, would run, did not, or failed: the parts of old keys against those of now.
//!
//! From records and stamps alone; nothing is run. In this order, imports point to the left: `present` ·
//! `reduced`, `unwell` · `verdict` · `document`, `target` · `redone`.

mod document;
pub mod present;
mod redone;
mod reduced;
mod target;
mod unwell;
mod verdict;

use crate::engine::documents::Documents;
use crate::error::Result;
use crate::model::pipeline::Verb;
use crate::query::{Asked, find};

pub use redone::{Ask, Redone, redone};
pub use reduced::{FailedMerge, TouchedMerge, TreeWhy};
pub use target::{Group, Kind, TargetWhy, WhyTarget};
pub use unwell::FailedWhy;
pub use verdict::{Last, Now, Routed, SourceState, Verdict, WhyDocument};

/// The answer.
pub enum Why {
    /// About a document.
    Document(WhyDocument),
    /// About a target, or all targets of a module.
    Target(WhyTarget),
}

/// Answers for a document, a target, or a module.
pub fn why(asked: &Asked<'_>, what: &str) -> Result<Why> {
    let documents = Documents::new(asked.pipeline, asked.store);
    let targets = find::targets(asked.pipeline, what);
    let is_set = |ix| asked.pipeline.target(ix).verb == Verb::All;
    match targets.as_slice() {
        [] => {}
        [one] if is_set(*one) => {
            let found = find::document(asked, &documents, &asked.pipeline.target(*one).name)?;
            return document::why(asked, &documents, &found).map(Why::Document);
        }
        several => return target::why(asked, &documents, several).map(Why::Target),
    }
    let found = find::document(asked, &documents, what)?;
    document::why(asked, &documents, &found).map(Why::Document)
}
