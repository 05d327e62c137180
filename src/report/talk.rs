//! The lines that events become, one after another, the same with a live block and without.
//!
//! Lines of the scan and the plan are kept back until there is something to do: a build with nothing to do says one
//! line. Failures and warnings are limited by kind. Knows neither the screen nor the clock.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::event::{Changed, Event, Finished, Hand, Matched, Planned, Scanned, Watched, Watching};
use crate::model::failure::Failure;
use crate::report::progress;
use crate::report::style::{INDENT, Ink, Style, columns, cut, shown};
use crate::report::summary;
use crate::text;

/// So many failures of one kind are shown as they happen, the others are counted.
const SHOWN_PER_KIND: u64 = 10;
/// What takes fewer seconds is not estimated.
const SHORT: f64 = 10.0;
/// So many kinds are told apart; a module that makes a new one for each document must not fill the memory.
const KINDS: usize = 1000;
/// So many workers are told of, if somebody asks.
const HANDS: usize = 32;
/// So many targets of a plan are named.
const TARGETS: usize = 8;
/// So many unreadable files of one scan are named.
const PROBLEMS: usize = 10;

/// Turns events into lines.
pub(super) struct Talk {
    pub(super) style: Style,
    width: Option<usize>,
    quiet: bool,
    verbose: u8,
    brief: bool,
    /// Kept back until there is something to do.
    held: Vec<String>,
    released: bool,
    failures: HashMap<String, u64>,
    warnings: HashMap<String, u64>,
}

impl Talk {
    pub(super) fn new(style: Style, width: Option<usize>, quiet: bool, verbose: u8) -> Self {
        Talk {
            style,
            width,
            quiet,
            verbose,
            brief: false,
            held: Vec::new(),
            released: false,
            failures: HashMap::new(),
            warnings: HashMap::new(),
        }
    }

    fn matched(&mut self, matched: &Matched, lines: &mut Vec<String>) {
        let mut said = Vec::new();
        if matched.unmatched > 0 {
            let of = format!(
                "{} of {}",
                text::thousands(matched.unmatched),
                text::count(matched.documents, "document")
            );
            let samples = matched.samples.join("  ");
            said.push(format!("{}  {of} have no `{}`  {}", matched.target, matched.with, shown(&samples)));
        }
        if let Some(unused) = matched.unused.filter(|unused| *unused > 0) {
            let of = format!("{} of {}", text::thousands(unused), text::thousands(matched.others));
            let samples = matched.unused_samples.join("  ");
            said.push(format!(
                "{}  {of} in `{}` match nothing  {}",
                matched.target,
                matched.from,
                shown(&samples)
            ));
        }
        lines.extend(said.iter().map(|line| self.style.line(Ink::Warn, "Unmatched", line)));
        if let Some((ours, theirs)) = &matched.only_by_type {
            let hint = format!(
                "{} and {} are not equal: one is a number, the other a text",
                shown(ours),
                shown(theirs)
            );
            lines.push(self.style.line(Ink::Head, "hint", &hint));
        }
    }

    /// Says nothing of what was scanned and planned, if it is to be brief.
    pub(super) fn briefly(self, brief: bool) -> Self {
        Talk { brief, ..self }
    }

    /// The lines to print now.
    pub(super) fn hear(&mut self, event: &Event) -> Vec<String> {
        let mut lines = Vec::new();
        match event {
            Event::Finished(end) => self.finished(end, &mut lines),
            // Who asks gets an answer, however quiet it is to be.
            Event::InHand { workers } => self.in_hand(workers, &mut lines),
            _ if self.quiet => {}
            Event::Scanned(scanned) => self.scanned(scanned, &mut lines),
            Event::Plan { targets, up_to_date } => {
                if !self.brief {
                    self.held.push(self.plan(targets, *up_to_date));
                }
                if !targets.is_empty() {
                    self.release(&mut lines);
                }
            }
            Event::RunStarted { .. } => self.release(&mut lines),
            Event::Warned { doc, target, message } => {
                self.release(&mut lines);
                self.warned(doc.as_deref(), target, message, &mut lines);
            }
            Event::Done(done) => self.done(done, &mut lines),
            Event::Skipped { doc, target, reason, .. } => {
                if self.verbose > 0 {
                    let line = format!("{target}  {}  {}", shown(doc), shown(reason));
                    lines.push(self.style.line(Ink::Head, "Skipped", &line));
                }
            }
            Event::Failed { doc, target, failure, .. } => {
                self.release(&mut lines);
                self.failed(doc, target, failure, &mut lines);
            }
            Event::Retrying { doc, target, failure, attempt, milliseconds, .. } => {
                if self.verbose > 0 {
                    let pause = match milliseconds {
                        0 => "again at once".to_owned(),
                        _ => format!("again in {}", text::duration(Duration::from_millis(*milliseconds))),
                    };
                    let line = format!(
                        "{target}  {}  {}  try {attempt}, {pause}",
                        shown(doc),
                        shown(&failure.summary())
                    );
                    lines.push(self.style.line(Ink::Warn, "Retry", &line));
                }
            }
            Event::Pausing { target, milliseconds, failure } => {
                let pause = text::duration(Duration::from_millis(*milliseconds));
                let line = format!("{target}  for {pause}, as it asks: {}", shown(&failure.summary()));
                lines.push(self.style.line(Ink::Warn, "Pausing", &line));
            }
            Event::Slow { doc, target, seconds } => {
                let so_far = text::duration(Duration::from_secs(*seconds));
                let line = format!("{target}  {}  {so_far} so far", shown(doc));
                lines.push(self.style.line(Ink::Warn, "Slow", &line));
            }
            Event::Matched(matched) => self.matched(matched, &mut lines),
            Event::Notice { message, hint } => {
                lines.push(self.style.line(Ink::Warn, "Notice", &shown(message)));
                lines.extend(hint.iter().map(|hint| self.style.line(Ink::Head, "hint", &shown(hint))));
            }
            Event::Watching(watching) => lines.push(self.watching(watching)),
            Event::Changed(changed) => lines.push(self.changed(changed)),
            Event::Stopping { in_hand } => {
                let line = format!(
                    "{} in hand, at most 10 s more; Ctrl-C again stops at once",
                    text::count(*in_hand as u64, "document")
                );
                lines.push(self.style.line(Ink::Warn, "Stopping", &line));
            }
            Event::Starting { .. } | Event::Started { .. } | Event::Progress { .. } | Event::Counts(_) => {}
        }
        lines
    }

    /// What was kept back, for a stream that ends without [`Event::Finished`]: a dry run, an error.
    pub(super) fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        self.release(&mut lines);
        lines
    }

    fn release(&mut self, lines: &mut Vec<String>) {
        lines.append(&mut self.held);
        self.released = true;
    }

    fn in_hand(&self, workers: &[Hand], lines: &mut Vec<String>) {
        if workers.is_empty() {
            lines.push(self.style.line(Ink::Head, "In hand", "nothing"));
        }
        for hand in workers.iter().take(HANDS) {
            let mut line = format!("{}  {}  {}", hand.target, shown(&hand.doc), progress::since(hand));
            if hand.more > 0 {
                line.extend([format!(", {} more behind it", text::thousands(hand.more as u64))]);
            }
            lines.push(self.style.line(Ink::Head, "In hand", &line));
            lines.extend(hand.stack.iter().map(|call| format!("{INDENT}   {}", shown(call))));
        }
        if let Some(more) = workers.len().checked_sub(HANDS + 1) {
            lines.push(format!("{INDENT}and {} more workers", text::thousands(more as u64 + 1)));
        }
    }

    fn watching(&self, watching: &Watching) -> String {
        let source =
            |watched: &Watched| format!("{}  {}", watched.source, text::count(watched.documents, "document"));
        let sources = listed(watching.sources.iter().map(source));
        let every = watching.every.map(Duration::from_millis);
        let every =
            every.map(|every| format!(", looking every {}", text::duration(every))).unwrap_or_default();
        self.style.line(Ink::Head, "Watching", &format!("{sources}{every}; Ctrl-C ends it"))
    }

    fn changed(&self, changed: &Changed) -> String {
        let mut names: Vec<String> = changed.paths.iter().map(|path| shown(path)).collect();
        let more = changed.count.saturating_sub(names.len() as u64);
        if more > 0 {
            names.push(format!("{} more", text::thousands(more)));
        }
        let what = if changed.everything {
            "too much to tell: everything is looked at".to_owned()
        } else {
            names.join(", ")
        };
        self.style.line(Ink::Head, "Changed", &what)
    }

    fn scanned(&mut self, scanned: &Scanned, lines: &mut Vec<String>) {
        for problem in scanned.problems.iter().take(PROBLEMS) {
            lines.push(self.style.line(
                Ink::Warn,
                "Warning",
                &format!("{}  {}", scanned.source, shown(problem)),
            ));
        }
        if let Some(more) = scanned.problems.len().checked_sub(PROBLEMS + 1) {
            lines.push(format!(
                "{INDENT}and {} more that could not be read",
                text::thousands(more as u64 + 1)
            ));
        }
        if self.brief {
            return;
        }
        let differences: Vec<String> =
            [(scanned.new, "new"), (scanned.changed, "changed"), (scanned.gone, "gone")]
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, word)| format!("{} {word}", text::thousands(count)))
                .collect();
        let differences =
            if differences.is_empty() { "no changes".to_owned() } else { differences.join(", ") };
        let line = format!(
            "{}  {} in {}   {differences}",
            scanned.source,
            text::count(scanned.documents, "document"),
            text::duration(Duration::from_millis(scanned.milliseconds)),
        );
        self.held.push(self.style.line(Ink::Head, "Scanned", &line));
        if self.released {
            self.release(lines);
        }
    }

    fn plan(&self, targets: &[Planned], up_to_date: u64) -> String {
        let known = listed(targets.iter().filter_map(|planned| {
            planned.actions.map(|actions| format!("{} {}", planned.target, text::thousands(actions)))
        }));
        let unknown = targets.iter().filter(|planned| planned.actions.is_none());
        let unknown = listed(unknown.map(|planned| planned.target.clone()));
        let mut line = match (known.is_empty(), unknown.is_empty()) {
            (true, true) => "nothing to run".to_owned(),
            (false, true) => known,
            (true, false) => format!("as needed: {unknown}"),
            (false, false) => format!("{known}; as needed: {unknown}"),
        };
        let mut parts = Vec::new();
        let seconds: f64 = targets.iter().filter_map(|planned| planned.seconds).sum();
        if seconds >= SHORT {
            parts.push(format!("about {}", text::duration(Duration::from_secs_f64(seconds.min(1e9)))));
        }
        let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
        for (name, count) in targets.iter().flat_map(|planned| &planned.counts) {
            *sums.entry(name).or_default() += count;
        }
        let sums = sums.into_iter().map(|(name, sum)| (name, if name == "usd" { sum } else { sum.round() }));
        parts.extend(Some(text::amounts(sums)).filter(|sums| !sums.is_empty()));
        if !parts.is_empty() {
            line = format!("{line}   by the builds before: {}", parts.join(", "));
        }
        if up_to_date > 0 {
            line = format!("{line}   {} up to date", text::thousands(up_to_date));
        }
        self.style.line(Ink::Head, "Plan", &line)
    }

    fn done(&mut self, done: &Finished, lines: &mut Vec<String>) {
        if self.verbose > 0 {
            let took = text::duration(Duration::from_micros(done.ran.map_or(0, |ran| ran.duration)));
            let line = format!("{}  {}  {took}, {}", done.target, shown(&done.doc), text::size(done.length));
            lines.push(self.style.line(Ink::Head, "Done", &line));
        }
    }

    fn failed(&mut self, doc: &str, target: &str, failure: &Failure, lines: &mut Vec<String>) {
        let (kind, error, place) = failure.cause();
        let seen = count(&mut self.failures, format!("{target}\0{kind:?}\0{error}\0{place:?}"));
        if self.verbose == 0 && seen > SHOWN_PER_KIND {
            if seen == SHOWN_PER_KIND + 1 {
                let of = if failure.error.is_empty() { kind.words() } else { &failure.error };
                lines.push(format!("{INDENT}more of {target}, {}: only counted from here on", shown(of)));
            }
            return;
        }
        let place = place.map(|place| format!(" ({})", shown(place))).unwrap_or_default();
        let front = format!("{target}  {}  ", shown(doc));
        let taken = columns(INDENT) + columns(&front) + columns(&place);
        let room = self.width.unwrap_or(200).saturating_sub(taken).max(20);
        let line = format!("{front}{}{place}", cut(&shown(&failure.summary()), room));
        lines.push(self.style.line(Ink::Bad, "Failed", &line));
    }

    fn warned(&mut self, doc: Option<&str>, target: &str, message: &str, lines: &mut Vec<String>) {
        let seen = count(&mut self.warnings, target.to_owned());
        if self.verbose > 0 || seen <= SHOWN_PER_KIND {
            let doc = doc.map(|doc| format!("{}  ", shown(doc))).unwrap_or_default();
            let line = format!("{target}  {doc}{}", cut(&shown(message.trim_end()), 300));
            lines.push(self.style.line(Ink::Warn, "Warning", &line));
        } else if seen == SHOWN_PER_KIND + 1 {
            lines.push(format!("{INDENT}more warnings of {target}: only counted from here on"));
        }
    }

    fn finished(&mut self, end: &crate::model::event::Summary, lines: &mut Vec<String>) {
        if !self.quiet {
            if !end.is_up_to_date() {
                self.release(lines);
            }
            let mut warned: Vec<_> =
                self.warnings.iter().filter(|(_, seen)| **seen > SHOWN_PER_KIND).collect();
            warned.sort();
            for (target, seen) in warned {
                let line = format!("{target}  {} in all", text::count(*seen, "warning"));
                lines.push(self.style.line(Ink::Warn, "Warning", &line));
            }
        }
        self.held.clear();
        lines.extend(summary::lines(end, self.style, self.quiet, self.verbose));
    }
}

/// `ocr 330, clean 330, 6 more`: a plan of many targets stays a line.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    if names.len() > TARGETS + 1 {
        let more = names.split_off(TARGETS).len();
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

/// Counts one more of a kind; once there are too many kinds, new ones share one count.
fn count(kinds: &mut HashMap<String, u64>, kind: String) -> u64 {
    let kind = if kinds.len() < KINDS || kinds.contains_key(&kind) { kind } else { String::new() };
    let seen = kinds.entry(kind).or_default();
    *seen += 1;
    *seen
}
