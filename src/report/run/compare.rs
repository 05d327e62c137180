//! Two runs side by side: target by target, and which documents failed in one of them alone.
//!
//! A run says nothing of a document that it did not try: what failed in the run before and not in this one may be mended,
//! or may not have been tried. So what failed anew is named, and what is gone is only counted.

use std::collections::{BTreeMap, HashSet};

use super::{Table, micros};
use crate::query::report::{FailedDoc, RunReport, TargetReport};
use crate::text;

/// What there is to say of two runs.
pub(super) struct Compared<'a> {
    pub(super) table: Table,
    /// Failed in the later one alone, in the order in which they did.
    pub(super) anew: Vec<&'a FailedDoc>,
    /// Failed in both.
    pub(super) again: u64,
    /// Failed in the earlier one alone.
    pub(super) before: u64,
}

impl<'a> Compared<'a> {
    pub(super) fn of(report: &'a RunReport, other: &RunReport) -> Self {
        let (old, new) = (names(other), names(report));
        let anew: Vec<&FailedDoc> =
            report.failed.iter().filter(|failed| !old.contains(&name(failed))).collect();
        let before = old.difference(&new).count() as u64;
        let again = old.intersection(&new).count() as u64;
        Compared { table: table(report, other), anew, again, before }
    }

    /// `3 failed anew, 2 in both runs, 1 in run 7 alone`; empty if none failed in either.
    pub(super) fn words(&self, other: &RunReport) -> String {
        let parts = [
            (self.anew.len() as u64, "failed anew".to_owned()),
            (self.again, "failed in both".to_owned()),
            (self.before, format!("failed in run {} alone", other.run.number)),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        parts
            .map(|(count, words)| format!("{} {words}", text::thousands(*count)))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What a failure is told by: the target and the document. Another error on it is no other failure.
pub(super) fn name(failed: &FailedDoc) -> (&str, &str) {
    (&failed.target, &failed.doc)
}

/// All that failed in a run.
pub(super) fn names(report: &RunReport) -> HashSet<(&str, &str)> {
    report.failed.iter().map(name).collect()
}

fn table(report: &RunReport, other: &RunReport) -> Table {
    let mut targets: Vec<&str> = report.targets.iter().map(|target| target.target.as_str()).collect();
    let others = other.targets.iter().map(|target| target.target.as_str());
    targets.extend(others.filter(|name| !report.targets.iter().any(|target| target.target == *name)));
    let none = TargetReport::default();
    let of = |report: &RunReport, name: &str| {
        report.targets.iter().find(|target| target.target == name).cloned().unwrap_or(none.clone())
    };
    let rows = targets.iter().map(|name| row(name, &of(other, name), &of(report, name)));
    let mut heads = vec!["target", "ran", "hits", "skipped", "failed", "p50", "p95", "p99", "total"];
    let has_counts = [report, other].iter().any(|run| !run.counts().is_empty());
    heads.extend(has_counts.then_some("counted"));
    Table { rows: rows.map(|row| row.into_iter().take(heads.len()).collect()).collect(), heads }
}

fn row(name: &str, old: &TargetReport, new: &TargetReport) -> [String; 10] {
    let ran = |target: &TargetReport| target.done + target.skipped + target.failed;
    let pair = |old: u64, new: u64| format!("{} → {}", text::thousands(old), text::thousands(new));
    [
        name.to_owned(),
        pair(ran(old), ran(new)),
        pair(old.hits, new.hits),
        pair(old.skipped, new.skipped),
        pair(old.failed, new.failed),
        times(old.p50, new.p50),
        times(old.p95, new.p95),
        times(old.p99, new.p99),
        times(old.total, new.total),
        counted(&old.counts, &new.counts),
    ]
}

fn times(old: u64, new: u64) -> String {
    let change = if old > 0 && new > 0 {
        format!(" ({:+.0} %)", (new as f64 / old as f64 - 1.0) * 100.0)
    } else {
        String::new()
    };
    let shown = |time: u64| if time == 0 { "-".to_owned() } else { micros(time) };
    format!("{} → {}{change}", shown(old), shown(new))
}

/// `65 tokens → 78 tokens, $0.10 → $0.13`.
fn counted(old: &BTreeMap<String, f64>, new: &BTreeMap<String, f64>) -> String {
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let of = |counts: &BTreeMap<String, f64>, name: &String| {
        text::amount(name, counts.get(name).copied().unwrap_or_default())
    };
    let pairs = names.iter().map(|name| format!("{} → {}", of(old, name), of(new, name)));
    let pairs = pairs.collect::<Vec<_>>().join(", ");
    if pairs.is_empty() { "-".to_owned() } else { pairs }
}
