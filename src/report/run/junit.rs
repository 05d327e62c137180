//! A run as `JUnit` XML: a suite for each target, a case for each document that failed, one more for all that went well.
//!
//! The shape is that of the schema which Jenkins and GitLab read; `tests` checks it.

use crate::model::action::Ended;
use crate::query::report::{FailedDoc, RunReport, TargetReport};
use crate::text;

/// The whole file.
pub fn junit(report: &RunReport) -> String {
    let (mut suites, mut tests, mut failures) = (String::new(), 0, 0);
    for target in &report.targets {
        let of_target = report.failed.iter().filter(|failed| failed.target == target.target);
        let (cases, failed) = suite(&mut suites, target, &of_target.collect::<Vec<_>>());
        tests += cases;
        failures += failed;
    }
    let mut errors = 0;
    if let Some(ended) = &report.ended {
        let here: u64 = report.targets.iter().map(|target| target.failed).sum();
        let before = ended.failed.saturating_sub(here);
        let cases = whole(ended, before);
        if !cases.is_empty() {
            errors = u64::from(!ended.why.is_empty());
            let failed = u64::from(before > 0);
            tests += errors + failed;
            failures += failed;
            suites.extend([format!(
                "  <testsuite name=\"pipe build\" tests=\"{}\" failures=\"{failed}\" errors=\"{errors}\" \
                 skipped=\"0\" time=\"0.000\">\n{cases}  </testsuite>\n",
                errors + failed
            )]);
        }
    }
    let (run, seconds) = (report.run.number, report.milliseconds as f64 / 1000.0);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"pipe run {run}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.3}\">\n{suites}</testsuites>\n"
    )
}

/// What concerns the whole build: that it did not finish, and failures of earlier builds that still stand.
fn whole(ended: &Ended, before: u64) -> String {
    let mut cases = String::new();
    if !ended.why.is_empty() {
        cases.extend([format!(
            "    <testcase name=\"finished\" classname=\"pipe build\" time=\"0.000\">\n      <error message=\"{}\" \
             type=\"did not finish\">pipe status</error>\n    </testcase>\n",
            attribute(&ended.why)
        )]);
    }
    if before > 0 {
        let message = format!("{} failed in earlier builds: pipe failed", text::count(before, "document"));
        cases.extend([format!(
            "    <testcase name=\"earlier failures\" classname=\"pipe build\" time=\"0.000\">\n      <failure \
             message=\"{message}\" type=\"earlier\">pipe failed</failure>\n    </testcase>\n"
        )]);
    }
    cases
}

fn well(target: &TargetReport) -> u64 {
    target.done + target.skipped + target.hits
}

/// One target; how many cases it has, and how many of them failed.
fn suite(out: &mut String, target: &TargetReport, failed: &[&FailedDoc]) -> (u64, u64) {
    let name = attribute(&target.target);
    // Of very many failures not all are named; the counts are those of the cases that stand here.
    let named = failed.len() as u64;
    let rest = target.failed - named.min(target.failed);
    let failures = named + u64::from(rest > 0);
    let cases = failures + u64::from(well(target) > 0);
    out.extend([format!(
        "  <testsuite name=\"{name}\" tests=\"{cases}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" \
         time=\"{:.3}\">\n",
        seconds(target.total)
    )]);
    if well(target) > 0 {
        let good = text::count(well(target), "document");
        out.extend([format!("    <testcase name=\"{good}\" classname=\"{name}\" time=\"0.000\"/>\n")]);
    }
    for document in failed {
        let failure = &document.failure;
        out.extend([format!(
            "    <testcase name=\"{}\" classname=\"{name}\" time=\"{:.3}\">\n      \
             <failure message=\"{}\" type=\"{}\">{}</failure>\n    </testcase>\n",
            attribute(&document.doc),
            seconds(document.duration),
            attribute(&failure.summary()),
            attribute(failure.kind.words()),
            content(&details(document)),
        )]);
    }
    if rest > 0 {
        out.extend([format!(
            "    <testcase name=\"{} more\" classname=\"{name}\" time=\"0.000\">\n      \
             <failure message=\"{} more failed\" type=\"more\">pipe failed {name}</failure>\n    </testcase>\n",
            text::thousands(rest),
            text::thousands(rest)
        )]);
    }
    out.push_str("  </testsuite>\n");
    (cases, failures)
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
