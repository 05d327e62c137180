//! `--max-recompute`: a build that would do too much again does not begin.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::cli::ask;
use crate::cli::why::group_words;
use crate::error::{Error, Result};
use crate::model::allowance::Allowance;
use crate::model::pipeline::TargetIx;
use crate::model::reason::Reason;
use crate::model::selection::Glob;
use crate::project::Project;

use crate::query::why::{Ask, Group, Kind, Redone, redone};
use crate::store::Store;
use crate::text;

/// What is asked for, and how much of it may be done again.
pub(super) struct Gate<'a> {
    /// In each target.
    pub(super) limit: Allowance,
    pub(super) wanted: &'a BTreeSet<TargetIx>,
    pub(super) update: &'a BTreeSet<TargetIx>,
    pub(super) docs: Option<&'a Glob>,
}

impl Gate<'_> {
    /// An error, with what would run and why, if that is too much.
    pub(super) fn pass(&self, project: &Project, store: &Arc<Store>) -> Result<()> {
        let asked = ask::here(project, store);
        let ask = Ask { wanted: self.wanted, update: self.update, docs: self.docs };
        let found = redone(&asked, &ask)?;
        let Some(first) = found.iter().find(|redone| !self.limit.allows(redone.documents, redone.of)) else {
            return Ok(());
        };
        let name = &first.target;
        let message = format!("too much would be done again: --max-recompute is {}", self.limit);
        let mut error = Error::unfinished(message);
        error.causes = found.iter().map(words).collect();
        Err(error
            .hint(format!("nothing was run; what changed, with old and new value: pipe why {name}"))
            .hint(format!("the results are good as they are: pipe accept {name}"))
            .hint("it is meant: the same again without --max-recompute"))
    }
}

/// `text: 300 of 300 documents, the module's code changed`.
fn words(redone: &Redone) -> String {
    let up_to = if redone.groups.iter().any(|group| matches!(group.kind, Kind::Behind { .. })) {
        "up to "
    } else {
        ""
    };
    let in_full = |group: &Group| group.reasons.iter().map(Reason::words).collect::<Vec<_>>().join(", ");
    let word = |group: &Group| if group.reasons.is_empty() { group_words(group) } else { in_full(group) };
    let why: Vec<String> = redone.groups.iter().map(word).collect();
    let of = text::count(redone.of, "document");
    let line = format!(
        "{}: {up_to}{} of {of}: {}",
        redone.target,
        text::thousands(redone.documents),
        why.join("; ")
    );
    text::printable(&line)
}
