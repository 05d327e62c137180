//! A run that is over, or two of them side by side, for people and programs: text, Markdown, one HTML page, `JUnit`, and
//! a trace for Perfetto.
//!
//! Makes texts of a `RunReport`; reads no store and prints nothing. JSON needs nothing of this: the report is data.

mod compare;
mod diff;
mod html;
mod junit;
mod markdown;
mod perfetto;
#[cfg(test)]
mod tests;

pub use diff::difference;
pub(in crate::report) use html::escaped;
pub use html::{OfRun, html, html_of_two};
pub use junit::{junit, junit_of_two};
pub use markdown::{markdown, markdown_of_two, text, text_of_two};
pub use perfetto::Perfetto;

use std::time::Duration;

use crate::query::report::{RunReport, TargetReport};
use crate::text;

/// Rows of cells under their heads.
struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

/// The targets of a run.
fn table(report: &RunReport) -> Table {
    let mut heads = vec!["target", "done", "hits", "skipped", "failed", "p50", "p95", "p99", "total"];
    let has_counts = report.targets.iter().any(|target| !target.counts.is_empty());
    heads.extend(has_counts.then_some("counted"));
    let rows = report.targets.iter().map(|target| row(target).into_iter().take(heads.len()).collect());
    Table { rows: rows.collect(), heads }
}

/// A row of the table of targets.
fn row(target: &TargetReport) -> [String; 10] {
    let number = |n: u64| if n == 0 { "-".to_owned() } else { text::thousands(n) };
    let ran = target.done + target.skipped + target.failed > 0;
    let time = |n: u64| if ran { micros(n) } else { "-".to_owned() };
    [
        target.target.clone(),
        number(target.done),
        number(target.hits),
        number(target.skipped),
        number(target.failed),
        time(target.p50),
        time(target.p95),
        time(target.p99),
        time(target.total),
        if target.counts.is_empty() { "-".to_owned() } else { text::amounts(&target.counts) },
    ]
}

/// A time in microseconds, also a short one.
fn micros(n: u64) -> String {
    match n {
        0..1000 => format!("{n} µs"),
        _ => text::duration(Duration::from_micros(n)),
    }
}

/// One line about the whole run.
fn headline(report: &RunReport) -> String {
    let hits: u64 = report.targets.iter().map(|target| target.hits).sum();
    let failed: u64 = report.targets.iter().map(|target| target.failed).sum();
    let mut parts = vec![text::count(report.ran(), "action")];
    if hits > 0 {
        parts.push(text::count(hits, "hit"));
    }
    if failed > 0 {
        parts.push(format!("{} failed", text::thousands(failed)));
    }
    let seconds = report.milliseconds as f64 / 1000.0;
    let rate = if seconds > 0.0 {
        format!(", {:.1} a second", report.ran() as f64 / seconds)
    } else {
        String::new()
    };
    let took = text::duration(Duration::from_millis(report.milliseconds));
    let under_way = if report.building { ", under way" } else { "" };
    let why = report.ended.as_ref().map(|ended| ended.why.as_str()).filter(|why| !why.is_empty());
    let why = why.map_or_else(String::new, |why| format!("; it did not finish: {}", text::printable(why)));
    let counts = report.counts();
    let counted =
        if counts.is_empty() { String::new() } else { format!("; counted {}", text::amounts(&counts)) };
    format!("{} in {took}{rate}{under_way}{counted}{why}", parts.join(", "))
}

/// Failures with one cause, the most frequent first: (target, summary, place, how many, a sample).
fn causes(report: &RunReport) -> Vec<(String, String, Option<String>, u64, String)> {
    let mut causes: Vec<(&crate::query::report::FailedDoc, u64)> = Vec::new();
    for failed in &report.failed {
        let is_its = |(first, _): &&mut (&crate::query::report::FailedDoc, u64)| {
            first.target == failed.target && first.failure.cause() == failed.failure.cause()
        };
        match causes.iter_mut().find(is_its) {
            Some((_, count)) => *count += 1,
            None => causes.push((failed, 1)),
        }
    }
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = |(first, count): (&crate::query::report::FailedDoc, u64)| {
        let failure = &first.failure;
        (first.target.clone(), failure.summary(), failure.place.clone(), count, first.doc.clone())
    };
    causes.into_iter().map(shown).collect()
}
