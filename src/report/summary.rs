//! The last lines of a build: failures by cause, counts, and what to type next. The same on every output.

use std::time::Duration;

use crate::model::event::{Cause, Stopped, Summary};
use crate::model::failure::{Failure, Verdict};
use crate::report::style::{INDENT, Ink, Style, columns, cut, shown};
use crate::text;

/// So many causes are shown.
const CAUSES: usize = 10;
/// So many documents of a cause are named.
const SAMPLES: usize = 3;
/// So many lines of a module's own words are shown, the last ones: there stands what went wrong.
const OWN_WORDS: usize = 30;
/// An error's text is cut here, so that its place still stands beside it.
const MESSAGE: usize = 60;

/// All lines, without line ends.
pub(super) fn lines(end: &Summary, style: Style, quiet: bool, verbose: u8) -> Vec<String> {
    let mut lines = Vec::new();
    if !quiet && end.is_up_to_date() {
        let documents = text::count(end.documents, "document");
        let head = style.paint(Ink::Head, "Up to date");
        lines.push(format!("{head}  {documents} ({})", took(end)));
    }
    causes(end, style, &mut lines);
    sets(end, style, &mut lines);
    stale(end, style, &mut lines);
    stopped(end, style, verbose, &mut lines);
    if let Some(limit) = end.allowed {
        let failed = text::count(end.failed_documents, "document");
        let line = format!("{failed} failed; --allow-failures {limit} lets the build end well");
        lines.push(style.line(Ink::Warn, "Warning", &line));
    }
    if quiet {
        return lines;
    }
    if !end.is_up_to_date() {
        lines.push(style.line(Ink::Head, "Summary", &counts(end)));
    }
    let beside = beside(end);
    if !beside.is_empty() {
        lines.push(format!("{INDENT}{beside}"));
    }
    hints(end, style, &mut lines);
    lines
}

fn took(end: &Summary) -> String {
    text::duration(Duration::from_millis(end.milliseconds))
}

/// `330 documents in 3m58s: 326 built, 1 skipped, 3 failed; 12 outputs came out the same`.
fn counts(end: &Summary) -> String {
    let sum = |of: fn(&crate::model::event::TargetCounts) -> u64| end.targets.iter().map(of).sum::<u64>();
    let parts = [
        (sum(|target| target.built), "built"),
        (sum(|target| target.reused).saturating_sub(end.taken), "reused"),
        (end.taken, "taken from the shared cache"),
        (sum(|target| target.skipped), "skipped"),
        (end.failed(), "failed"),
        (end.blocked, "blocked"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", text::thousands(count)))
        .collect();
    let parts = if parts.is_empty() { "no module ran".to_owned() } else { parts.join(", ") };
    let touched = end.documents.saturating_sub(end.up_to_date);
    let mut line = match touched {
        0 => format!("{parts} in {}", took(end)),
        touched => format!("{} in {}: {parts}", text::count(touched, "document"), took(end)),
    };
    let same = sum(|target| target.same);
    if same > 0 {
        line = format!("{line}; {} came out the same", text::count(same, "output"));
    }
    line
}

/// What stands under the counts.
fn beside(end: &Summary) -> String {
    let mut parts = Vec::new();
    if end.up_to_date > 0 && !end.is_up_to_date() {
        let were = if end.up_to_date == 1 { "was" } else { "were" };
        parts.push(format!("{} {were} up to date", text::count(end.up_to_date, "document")));
    }
    let counted = counted(end);
    if !counted.is_empty() {
        parts.push(counted);
    }
    match (end.published, end.withdrawn) {
        (0, 0) => {}
        (0, withdrawn) => parts.push(format!("{} withdrawn", text::count(withdrawn, "file"))),
        (published, 0) => parts.push(format!("{} published", text::count(published, "file"))),
        (published, withdrawn) => parts.push(format!(
            "{} published, {} withdrawn",
            text::count(published, "file"),
            text::thousands(withdrawn)
        )),
    }
    parts.join("; ")
}

/// What modules counted in this build: `$1.20, 48,000 tokens`.
fn counted(end: &Summary) -> String {
    text::amounts(end.counts())
}

/// The causes that are shown, most frequent first.
fn shown_causes(end: &Summary) -> Vec<&Cause> {
    let mut causes: Vec<&Cause> = end.causes.iter().collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes.truncate(CAUSES);
    causes
}

fn causes(end: &Summary, style: Style, lines: &mut Vec<String>) {
    if !end.causes.is_empty() {
        let head = format!(
            "{}, {}",
            text::count(end.failed_documents, "document"),
            text::count(end.causes.len() as u64, "cause")
        );
        lines.push(style.line(Ink::Bad, "Failed", &head));
        let rows: Vec<[String; 4]> = shown_causes(end).into_iter().map(row).collect();
        let wide = |at: usize| rows.iter().map(|row| columns(&row[at])).max().unwrap_or(0);
        let (count, target, message) = (wide(0), wide(1), wide(2));
        for (cause, row) in shown_causes(end).into_iter().zip(&rows) {
            let pad = |at: usize, width: usize| " ".repeat(width - columns(&row[at]));
            let (before, after, gap) = (pad(0, count), pad(1, target), pad(2, message));
            let line = format!("{INDENT}{before}{} {}{after}  {}{gap}  {}", row[0], row[1], row[2], row[3]);
            lines.push(line.trim_end().to_owned());
            let documents =
                cause.samples.iter().take(SAMPLES).map(|sample| shown(sample)).collect::<Vec<_>>();
            let more = cause.count.saturating_sub(documents.len() as u64);
            let more = if more == 0 { String::new() } else { format!("  +{}", text::thousands(more)) };
            lines.push(format!("{INDENT}   {}{more}", documents.join("  ")));
        }
        if let Some(more) = end.causes.len().checked_sub(CAUSES).filter(|more| *more > 0) {
            lines.push(format!("{INDENT}and {}", text::count(more as u64, "more cause")));
        }
    }
    if end.blocked > 0 {
        let mut behind: Vec<&str> = Vec::new();
        for cause in &end.causes {
            if !behind.contains(&cause.target.as_str()) {
                behind.push(&cause.target);
            }
        }
        let behind = if behind.is_empty() {
            if end.blocked_by.is_empty() { String::new() } else { format!(": {}", shown(&end.blocked_by)) }
        } else {
            format!(" behind what failed in {}", behind.join(", "))
        };
        let line = format!("{}{behind}", text::count(end.blocked, "document"));
        lines.push(style.line(Ink::Bad, "Blocked", &line));
    }
}

/// Sets of which members are missing: what they were made of, or why they were not made.
fn sets(end: &Summary, style: Style, lines: &mut Vec<String>) {
    for set in &end.sets {
        let (ink, label, between) =
            if set.blocked { (Ink::Bad, "Blocked", ": ") } else { (Ink::Head, "Partial", " ") };
        lines.push(style.line(ink, label, &format!("{}{between}{}", set.target, shown(&set.note))));
    }
}

/// Files that show an older result, and listings that are not written.
fn stale(end: &Summary, style: Style, lines: &mut Vec<String>) {
    for unlisted in &end.unlisted {
        let (path, target) = (shown(&unlisted.path), &unlisted.target);
        let line = match &unlisted.problem {
            Some(problem) => {
                format!("`{path}`, the listing of {target}, could not be written: {}", shown(problem))
            }
            None => {
                format!(
                    "`{path}`, the listing of {target}, is not a file of ours; move it away, or name another"
                )
            }
        };
        lines.push(style.line(Ink::Bad, "Failed", &line));
    }
    if end.stale.count == 0 {
        return;
    }
    let line = match end.stale.count {
        1 => "1 published file shows an older result".to_owned(),
        n => format!("{} published files show older results", text::thousands(n)),
    };
    lines.push(style.line(Ink::Bad, "Stale", &line));
    let files = end.stale.files.iter().take(SAMPLES);
    let files: Vec<String> = files.map(|file| shown(file.path.as_ref().unwrap_or(&file.doc))).collect();
    let more = end.stale.count.saturating_sub(files.len() as u64);
    let more = if more == 0 { String::new() } else { format!("  +{}", text::thousands(more)) };
    lines.push(format!("{INDENT}   {}{more}", files.join("  ")));
}

/// Count, target, message and place of a cause.
fn row(cause: &Cause) -> [String; 4] {
    let message = cut(&shown(&cause.failure.summary()), MESSAGE);
    let place = cause.failure.place.as_deref().map(shown).unwrap_or_default();
    [format!("{}x", text::thousands(cause.count)), cause.target.clone(), message, place]
}

fn stopped(end: &Summary, style: Style, verbose: u8, lines: &mut Vec<String>) {
    let Some(why) = &end.stopped else { return };
    match why {
        Stopped::Signal { .. } | Stopped::FailFast => {}
        Stopped::Module { target, failure } => module(target, failure, style, verbose, lines),
        Stopped::Breaker { target, failure, in_a_row } => {
            let place =
                failure.place.as_deref().map(|place| format!(" ({})", shown(place))).unwrap_or_default();
            let line = format!(
                "{target} met the same error {in_a_row} times in a row and was stopped: {}{place}",
                shown(&failure.summary())
            );
            lines.push(style.line(Ink::Bad, "error", &line));
            lines.push(format!("{INDENT}these {in_a_row} are tried again by the next build; the rest waits"));
        }
        Stopped::MaxFail { target, failed, limit } => {
            let (of, key) = match target {
                Some(target) => (format!("{target}: "), "its `max_fail`"),
                None => (String::new(), "--max-fail"),
            };
            let failed = text::count(*failed, "document");
            let line = format!("{of}{failed} failed in this build, and {key} is {limit}: the rest waits");
            lines.push(style.line(Ink::Bad, "error", &line));
        }
        Stopped::Budget { of, budget, spent } => {
            let line = format!(
                "{of}: {} of {} are spent: the rest waits for the next build, or for a larger `budget`",
                text::amount("usd", *spent),
                text::amount("usd", *budget)
            );
            lines.push(style.line(Ink::Bad, "error", &line));
        }
        Stopped::Store { message } => {
            let line = format!("the store cannot be written: {}", shown(message));
            lines.push(style.line(Ink::Bad, "error", &line));
        }
    }
    let all = end.documents.saturating_sub(end.up_to_date).max(end.unfinished);
    let why = if *why == Stopped::FailFast { "at the first failure: " } else { "" };
    let kept = match all {
        0 => String::new(),
        all => {
            format!("{} of {} done and kept; ", text::thousands(all - end.unfinished), text::thousands(all))
        }
    };
    let line = format!("{why}{kept}\"pipe build\" goes on from here");
    lines.push(style.line(Ink::Bad, "Stopped", &line));
}

/// A module that cannot start, or was stopped, in its own words.
fn module(target: &str, failure: &Failure, style: Style, verbose: u8, lines: &mut Vec<String>) {
    let place = failure.place.as_deref().map(|place| format!(" ({})", shown(place))).unwrap_or_default();
    let line = format!("the module of {target} cannot go on: {}{place}", shown(&failure.summary()));
    lines.push(style.line(Ink::Bad, "error", &line));
    let own = match &failure.traceback {
        Some(traceback) => traceback.lines().collect::<Vec<_>>(),
        None => failure.message.trim().lines().skip(1).collect(),
    };
    let from = if verbose > 0 { 0 } else { own.len().saturating_sub(OWN_WORDS) };
    lines.extend(own[from..].iter().map(|line| format!("{INDENT}{}", shown(line)).trim_end().to_owned()));
}

fn hints(end: &Summary, style: Style, lines: &mut Vec<String>) {
    let mut hints: Vec<(String, &str)> = Vec::new();
    if let Some(cause) = shown_causes(end).first()
        && let Some(doc) = cause.samples.first()
    {
        let doc = crate::text::shell_word(&shown(doc));
        if cause.failure.kind.verdict() == Verdict::Derived {
            hints.push((format!("pipe why {doc}"), "what it waits for"));
        } else {
            hints.push((format!("pipe log {doc}"), "what it printed"));
            // Of Python alone there is something for pdb to stop at.
            let is_python = cause.failure.place.as_ref().is_some_and(|place| place.contains(".py:"));
            let what = if is_python { "try it here (--debug for pdb)" } else { "try it here" };
            hints.push((format!("pipe try {} {doc}", cause.target), what));
        }
        if cause.count > SAMPLES as u64 {
            hints.push((format!("pipe ls {} --state failed", cause.target), "all of them"));
        }
    }
    if let Some(Stopped::Module { .. }) = &end.stopped {
        hints.push(("pipe modules".to_owned(), "what is registered, and what is missing"));
    }
    if !end.causes.is_empty() || end.blocked > 0 {
        hints.push(("pipe status".to_owned(), "how every target stands"));
    }
    let width = hints.iter().map(|(command, _)| columns(command)).max().unwrap_or(0);
    for (ix, (command, what)) in hints.into_iter().enumerate() {
        let row = format!("{command}{}   {what}", " ".repeat(width - columns(&command)));
        lines.push(if ix == 0 { style.line(Ink::Head, "hint", &row) } else { format!("{INDENT}{row}") });
    }
}
