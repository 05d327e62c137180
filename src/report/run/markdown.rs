//! A run as text for a terminal and as Markdown for a merge request or a CI summary; and two runs side by side.

use super::{COLUMNS, causes, headline, micros, row};
use crate::query::report::{RunReport, TargetReport};
use crate::text;

/// So many causes and slow documents are shown.
const SHOWN: usize = 10;

/// For a terminal.
pub fn text(report: &RunReport) -> String {
    let mut lines = vec![
        format!("run {}  {}", report.run.number, report.run.start.date_time()),
        format!("  {}", headline(report)),
        String::new(),
    ];
    let rows: Vec<[String; 9]> = report.targets.iter().map(row).collect();
    lines.extend(aligned(&rows));
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
    lines.iter().map(|line| text::printable(line.trim_end()) + "\n").collect()
}

fn aligned(rows: &[[String; 9]]) -> Vec<String> {
    let head = COLUMNS.map(str::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |row: &[String; 9]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ")
    };
    all().map(line).collect()
}

/// As Markdown.
pub fn markdown(report: &RunReport) -> String {
    let mut out = format!("## pipe: run {}\n\n{}\n\n", report.run.number, headline(report));
    out.push_str(&table(&COLUMNS, report.targets.iter().map(|target| row(target).to_vec())));
    let failures = causes(report);
    if !failures.is_empty() {
        out.push_str("\n### Failed\n\n");
        let rows = failures.into_iter().take(SHOWN).map(|(target, summary, place, count, sample)| {
            vec![text::thousands(count), target, summary, place.unwrap_or_default(), sample]
        });
        out.push_str(&table(&["documents", "target", "cause", "place", "for example"], rows));
    }
    if !report.slowest.is_empty() {
        out.push_str("\n### Slowest\n\n");
        let rows = report.slowest.iter().take(SHOWN);
        let rows = rows.map(|slow| vec![micros(slow.duration), slow.target.clone(), slow.doc.clone()]);
        out.push_str(&table(&["time", "target", "document"], rows));
    }
    out
}

fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(N));
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
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => out.extend(['\\', c]),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}

/// Two runs side by side, target by target: as Markdown, or for a terminal.
pub fn compared(report: &RunReport, other: &RunReport, as_markdown: bool) -> String {
    let mut names: Vec<&str> = report.targets.iter().map(|target| target.target.as_str()).collect();
    let others = other.targets.iter().map(|target| target.target.as_str());
    names.extend(others.filter(|name| !report.targets.iter().any(|target| target.target == *name)));
    let none = TargetReport::default();
    let of = |report: &RunReport, name: &str| {
        report.targets.iter().find(|target| target.target == name).cloned().unwrap_or(none.clone())
    };
    let rows: Vec<[String; 9]> = names
        .iter()
        .map(|name| {
            let (new, old) = (of(report, name), of(other, name));
            let ran = |target: &TargetReport| target.done + target.skipped + target.failed;
            let pair = |old: u64, new: u64| format!("{} → {}", text::thousands(old), text::thousands(new));
            let times = |old: u64, new: u64| {
                let change = if old > 0 && new > 0 {
                    format!(" ({:+.0} %)", (new as f64 / old as f64 - 1.0) * 100.0)
                } else {
                    String::new()
                };
                let shown = |time: u64| if time == 0 { "-".to_owned() } else { micros(time) };
                format!("{} → {}{change}", shown(old), shown(new))
            };
            [
                (*name).to_owned(),
                pair(ran(&old), ran(&new)),
                pair(old.hits, new.hits),
                pair(old.skipped, new.skipped),
                pair(old.failed, new.failed),
                times(old.p50, new.p50),
                times(old.p95, new.p95),
                times(old.p99, new.p99),
                times(old.total, new.total),
            ]
        })
        .collect();
    let heads =
        [(other, "before"), (report, "after")].map(|(run, word)| format!("{word}: {}", headline(run)));
    let columns = ["target", "ran", "hits", "skipped", "failed", "p50", "p95", "p99", "total"];
    let title = format!("run {} → run {}", other.run.number, report.run.number);
    if as_markdown {
        let table = table(&columns, rows.into_iter().map(|row| row.to_vec()));
        return format!("## pipe: {title}\n\n{}\n\n{table}", heads.join("; "));
    }
    let mut lines = aligned(&rows);
    if let Some(first) = lines.first_mut() {
        *first = first.replacen("done", " ran", 1);
    }
    let mut out = format!("{title}\n  {}\n  {}\n\n", heads[0], heads[1]);
    lines.iter().for_each(|line| out.push_str(&(text::printable(line.trim_end()) + "\n")));
    out
}
