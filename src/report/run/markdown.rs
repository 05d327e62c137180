//! A run as text for a terminal and as Markdown for a merge request or a CI summary; and two runs side by side.

use super::compare::Compared;
use super::{Table, causes, headline, micros, table};
use crate::query::report::{FailedDoc, RunReport};
use crate::text;

/// So many causes, failures and slow documents are shown.
const SHOWN: usize = 10;

/// For a terminal.
pub fn text(report: &RunReport) -> String {
    let mut lines = vec![
        format!("run {}  {}", report.run.number, report.run.start.date_time()),
        format!("  {}", headline(report)),
        String::new(),
    ];
    lines.extend(aligned(&table(report)));
    let failures = causes(report);
    if !failures.is_empty() {
        lines.extend([String::new(), "failed".to_owned()]);
        for (target, summary, place, count, sample) in failures.iter().take(SHOWN) {
            let place = place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
            lines.push(format!("  {}x {target}  {summary}{place}", text::thousands(*count)));
            lines.push(format!("     {sample}"));
        }
    }
    if !report.slowest.is_empty() {
        lines.extend([String::new(), "slowest".to_owned()]);
        for slow in report.slowest.iter().take(SHOWN) {
            lines.push(format!("  {:>8}  {}  {}", micros(slow.duration), slow.target, slow.doc));
        }
    }
    joined(&lines)
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| text::printable(line.trim_end()) + "\n").collect()
}

/// Names to the left, numbers to the right; what was counted is several numbers in words.
fn aligned(table: &Table) -> Vec<String> {
    let heads: Vec<String> = table.heads.iter().map(|&head| head.to_owned()).collect();
    let all = || std::iter::once(&heads).chain(&table.rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match heads[at].as_str() {
            "target" | "counted" => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    all().map(line).collect()
}

/// As Markdown.
pub fn markdown(report: &RunReport) -> String {
    let mut out = format!("## pipe: run {}\n\n{}\n\n", report.run.number, cell_text(&headline(report)));
    let targets = table(report);
    out.push_str(&marked(&targets.heads, targets.rows.into_iter()));
    let failures = causes(report);
    if !failures.is_empty() {
        out.push_str("\n### Failed\n\n");
        let rows = failures.into_iter().take(SHOWN).map(|(target, summary, place, count, sample)| {
            vec![text::thousands(count), target, summary, place.unwrap_or_default(), sample]
        });
        out.push_str(&marked(&["documents", "target", "cause", "place", "for example"], rows));
    }
    if !report.slowest.is_empty() {
        out.push_str("\n### Slowest\n\n");
        let rows = report.slowest.iter().take(SHOWN);
        let rows = rows.map(|slow| vec![micros(slow.duration), slow.target.clone(), slow.doc.clone()]);
        out.push_str(&marked(&["time", "target", "document"], rows));
    }
    out
}

fn marked(heads: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell_text(cell)).collect();
        out.extend([format!("| {} |\n", cells.join(" | "))]);
    }
    out
}

/// A text that cannot end its cell, its line, or begin a tag or a link.
fn cell_text(text: &str) -> String {
    let mut out = String::new();
    for c in text::printable(text).chars() {
        match c {
            // Two of it are a formula in some readers.
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '$' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

/// `run 7 → run 8`.
pub(super) fn title(report: &RunReport, other: &RunReport) -> String {
    format!("run {} → run {}", other.run.number, report.run.number)
}

/// Two runs side by side, for a terminal.
pub fn text_of_two(report: &RunReport, other: &RunReport) -> String {
    let compared = Compared::of(report, other);
    let mut lines = vec![
        title(report, other),
        format!("  before: {}", headline(other)),
        format!("  after: {}", headline(report)),
        String::new(),
    ];
    lines.extend(aligned(&compared.table));
    let words = compared.words(other);
    if !words.is_empty() {
        lines.extend([String::new(), words]);
    }
    for FailedDoc { doc, target, failure, .. } in compared.anew.iter().take(SHOWN) {
        lines.push(format!("  {target}  {doc}  {}", failure.summary()));
    }
    lines.extend(more(compared.anew.len()).map(|more| format!("  {more}")));
    joined(&lines)
}

/// As Markdown.
pub fn markdown_of_two(report: &RunReport, other: &RunReport) -> String {
    let compared = Compared::of(report, other);
    let heads = [("before", other), ("after", report)]
        .map(|(word, run)| format!("{word}: {}", cell_text(&headline(run))));
    let mut out = format!("## pipe: {}\n\n{}\n\n", title(report, other), heads.join("; "));
    let words = compared.words(other);
    out.push_str(&marked(&compared.table.heads, compared.table.rows.into_iter()));
    if !words.is_empty() {
        out.extend([format!("\n{words}\n")]);
    }
    if !compared.anew.is_empty() {
        out.push_str("\n### Failed anew\n\n");
        out.push_str(&marked(&NEWS, compared.anew.iter().take(SHOWN).map(|failed| news(failed))));
        out.extend(more(compared.anew.len()).map(|more| format!("\n{more}\n")));
    }
    out
}

/// What a table of failures has.
pub(super) const NEWS: [&str; 4] = ["target", "document", "failure", "place"];

pub(super) fn news(failed: &FailedDoc) -> Vec<String> {
    let FailedDoc { doc, target, failure, .. } = failed;
    vec![target.clone(), doc.clone(), failure.summary(), failure.place.clone().unwrap_or_default()]
}

fn more(count: usize) -> Option<String> {
    (count > SHOWN).then(|| format!("… and {} more", text::thousands((count - SHOWN) as u64)))
}
