//! A run as `JUnit` XML: a suite for each target, a case for each document that failed, one more for all that went well.
//!
//! The shape is that of the schema which Jenkins and GitLab read; `tests/schemas` has it, and tests hold files against it.

use std::collections::HashSet;

use super::compare::{name, names};
use crate::model::action::Ended;
use crate::query::report::{FailedDoc, RunReport, TargetReport};
use crate::text;

/// The whole file.
pub fn junit(report: &RunReport) -> String {
    file(report, &HashSet::new(), None)
}

/// The file of a run compared with another: only what failed anew is a failure. What failed in the other run too, and
/// failures of earlier builds that still stand, are skipped cases.
pub fn junit_of_two(report: &RunReport, other: &RunReport) -> String {
    file(report, &names(other), Some(other.run.number))
}

/// `known`: failures of run `other`.
fn file(report: &RunReport, known: &HashSet<(&str, &str)>, other: Option<u32>) -> String {
    let mut sums = Sums::default();
    let mut suites = String::new();
    for target in &report.targets {
        let of_target = report.failed.iter().filter(|failed| failed.target == target.target);
        let suite = suite(target, &of_target.collect::<Vec<_>>(), known, other);
        suite.write(&mut suites, &target.target, target.total);
        sums.add(&suite.sums);
    }
    if let Some(ended) = &report.ended {
        let here: u64 = report.targets.iter().map(|target| target.failed).sum();
        let suite = whole(ended, ended.failed.saturating_sub(here), other.is_some());
        if suite.sums.tests > 0 {
            suite.write(&mut suites, BUILD, 0);
            sums.add(&suite.sums);
        }
    }
    let compared = other.map(|other| format!(", compared with run {other}")).unwrap_or_default();
    let (run, seconds) = (report.run.number, report.milliseconds as f64 / 1000.0);
    let Sums { tests, failures, errors, .. } = sums;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"pipe run {run}{compared}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">\n{suites}</testsuites>\n"
    )
}

/// The suite of what concerns the whole build.
const BUILD: &str = "pipe build";

/// Cases, and those of them that did not go well.
#[derive(Default)]
struct Sums {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

impl Sums {
    fn add(&mut self, other: &Sums) {
        self.tests += other.tests;
        self.failures += other.failures;
        self.errors += other.errors;
        self.skipped += other.skipped;
    }
}

#[derive(Default)]
struct Suite {
    cases: String,
    sums: Sums,
}

impl Suite {
    /// A case of a class; `inside`: what says that it did not go well.
    fn case(&mut self, name: &str, class: &str, micros: u64, inside: &str) {
        self.sums.tests += 1;
        let (name, class, time) = (attribute(name), attribute(class), seconds(micros));
        let head = format!("    <testcase name=\"{name}\" classname=\"{class}\" time=\"{time:.3}\"");
        self.cases.extend([if inside.is_empty() {
            format!("{head}/>\n")
        } else {
            format!("{head}>\n      {inside}\n    </testcase>\n")
        }]);
    }

    fn write(&self, out: &mut String, name: &str, micros: u64) {
        let Suite { cases, sums: Sums { tests, failures, errors, skipped } } = self;
        let (name, time) = (attribute(name), seconds(micros));
        out.extend([format!(
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" \
             skipped=\"{skipped}\" time=\"{time:.3}\">\n{cases}  </testsuite>\n"
        )]);
    }
}

/// What concerns the whole build: that it did not finish, and failures of earlier builds that still stand.
fn whole(ended: &Ended, before: u64, is_compared: bool) -> Suite {
    let mut suite = Suite::default();
    if !ended.why.is_empty() {
        suite.sums.errors += 1;
        let message = attribute(&ended.why);
        let inside = format!("<error message=\"{message}\" type=\"did not finish\">pipe status</error>");
        suite.case("finished", BUILD, 0, &inside);
    }
    if before > 0 {
        let message = format!("{} failed in earlier builds: pipe failed", text::count(before, "document"));
        let inside = if is_compared {
            suite.sums.skipped += 1;
            format!("<skipped message=\"{message}\"/>")
        } else {
            suite.sums.failures += 1;
            format!("<failure message=\"{message}\" type=\"earlier\">pipe failed</failure>")
        };
        suite.case("earlier failures", BUILD, 0, &inside);
    }
    suite
}

fn well(target: &TargetReport) -> u64 {
    target.done + target.skipped + target.hits
}

/// One target.
fn suite(
    target: &TargetReport,
    failed: &[&FailedDoc],
    known: &HashSet<(&str, &str)>,
    other: Option<u32>,
) -> Suite {
    let mut suite = Suite::default();
    let name = &target.target;
    if well(target) > 0 {
        suite.case(&text::count(well(target), "document"), name, 0, "");
    }
    for document in failed {
        let failure = &document.failure;
        let summary = attribute(&failure.summary());
        let inside = if let Some(other) = other.filter(|_| known.contains(&self::name(document))) {
            suite.sums.skipped += 1;
            format!("<skipped message=\"it failed in run {other}, too: {summary}\"/>")
        } else {
            suite.sums.failures += 1;
            let (kind, details) = (attribute(failure.kind.words()), content(&details(document)));
            format!("<failure message=\"{summary}\" type=\"{kind}\">{details}</failure>")
        };
        suite.case(&document.doc, name, document.duration, &inside);
    }
    // Of very many failures not all are named; the counts are those of the cases that stand here.
    let rest = target.failed.saturating_sub(failed.len() as u64);
    if rest > 0 {
        let rest = text::thousands(rest);
        suite.sums.failures += 1;
        let inside = format!(
            "<failure message=\"{rest} more failed\" type=\"more\">pipe failed {}</failure>",
            content(name)
        );
        suite.case(&format!("{rest} more"), name, 0, &inside);
    }
    suite
}

fn details(document: &FailedDoc) -> String {
    let failure = &document.failure;
    let place = failure.place.iter().map(|place| format!("at {place}"));
    let parts = std::iter::once(failure.message.clone()).chain(place).chain(failure.traceback.clone());
    let again = format!("pipe try {} {}", document.target, text::shell_word(&document.doc));
    parts.chain([again]).collect::<Vec<_>>().join("\n")
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A text within quotes.
fn attribute(text: &str) -> String {
    content(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

/// A text between tags. What XML cannot hold in any form becomes a mark.
fn content(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
