//! How far a build is: counts, speed and what is in hand, as a pure state; and the few lines that show it.
//!
//! Every time is given as "so long after the start", so the same events at the same times give the same lines.

use std::collections::VecDeque;
use std::time::Duration;

use crate::hash::Map;
use crate::model::event::{Event, Hand, TargetCounts};
use crate::report::style::{HEAD, INDENT, Ink, Style, columns, cut, cut_front, shown};
use crate::text;

/// So many targets have a line of their own; with the two lines around them a block has ten lines at most.
const TARGETS: usize = 8;
/// Speed is that of the last so many samples, one a second.
const SAMPLES: usize = 10;
/// A document is named once it takes as long as this: names of quick ones would only flicker.
const NAMED_AFTER: Duration = Duration::from_secs(2);
/// So many documents are named.
const NAMED: usize = 3;
/// Before this, how long is left is a guess that nobody should see.
const LEFT_AFTER: Duration = Duration::from_secs(3);
/// What took less before is not estimated by that.
const ESTIMATED: Duration = Duration::from_secs(10);
/// A target's name takes so many columns at most.
const NAME: usize = 20;
/// A bar has so many cells at most,
const BAR: usize = 28;
/// and always a multiple of this, so that it does not jump whenever a number beside it grows by a digit.
const BAR_STEP: usize = 7;

/// How far a build is.
#[derive(Default)]
pub(super) struct State {
    targets: Vec<Line>,
    /// By document; nobody looks where there is no block.
    in_hand: Option<Map<String, Vec<InHand>>>,
    planned: bool,
    stopping: bool,
    /// When the first document was taken in hand.
    working_since: Option<Duration>,
}

/// A target.
#[derive(Default)]
struct Line {
    counts: TargetCounts,
    /// Since when its module starts, until it has its first document.
    starting: Option<Duration>,
    /// Microseconds of work of all its results.
    work: u64,
    /// Microseconds of one action by the builds before.
    each: Option<f64>,
    /// Seconds of all that is planned, by the builds before.
    planned: Option<f64>,
    /// When so many were done, at least a second apart.
    samples: VecDeque<(Duration, u64)>,
}

struct InHand {
    target: String,
    since: Duration,
    progress: Option<(f64, Option<f64>)>,
}

impl State {
    /// Of a build that is shown as a block, which names documents.
    pub(super) fn of_block() -> Self {
        State { in_hand: Some(Map::default()), ..State::default() }
    }

    /// Takes in what happened.
    pub(super) fn hear(&mut self, event: &Event, at: Duration) {
        match event {
            Event::Plan { targets, .. } => {
                self.planned = true;
                for planned in targets {
                    let line = self.line(&planned.target);
                    line.counts.todo = planned.actions.unwrap_or(0);
                    (line.each, line.planned) = (planned.each, planned.seconds);
                }
            }
            Event::Starting { target, .. } => self.line(target).starting = Some(at),
            Event::Started { doc, target } => {
                self.working_since.get_or_insert(at);
                self.line(target).starting = None;
                if let Some(in_hand) = &mut self.in_hand {
                    let entry = InHand { target: target.clone(), since: at, progress: None };
                    in_hand.entry(doc.clone()).or_default().push(entry);
                }
            }
            Event::Progress { doc, target, done, total } => {
                let entries = self.in_hand.iter_mut().filter_map(|all| all.get_mut(doc)).flatten();
                if let Some(entry) = entries.filter(|entry| entry.target == *target).last() {
                    entry.progress = Some((*done, *total));
                }
            }
            Event::Done(done) => {
                self.ended(&done.doc, &done.target, at);
                self.line(&done.target).work += done.ran.map_or(0, |ran| ran.duration);
            }
            Event::Skipped { doc, target, .. } | Event::Failed { doc, target, .. } => {
                self.ended(doc, target, at);
            }
            Event::Counts(counts) => self.count(counts, at),
            Event::Stopping { .. } => self.stopping = true,
            _ => {}
        }
    }

    /// How much is done and how much may still come, over all targets.
    pub(super) fn done_and_todo(&self) -> (u64, u64) {
        let done = self.targets.iter().map(|line| done(&line.counts)).sum();
        (done, self.targets.iter().map(|line| line.counts.todo).sum())
    }

    fn ended(&mut self, doc: &str, target: &str, at: Duration) {
        self.working_since.get_or_insert(at);
        if let Some(in_hand) = &mut self.in_hand
            && let Some(entries) = in_hand.get_mut(doc)
        {
            entries.retain(|entry| entry.target != target);
            if entries.is_empty() {
                in_hand.remove(doc);
            }
        }
        self.line(target).starting = None;
    }

    fn line(&mut self, target: &str) -> &mut Line {
        let found = self.targets.iter().position(|line| line.counts.target == target);
        let ix = found.unwrap_or_else(|| {
            let counts = TargetCounts { target: target.to_owned(), ..TargetCounts::default() };
            self.targets.push(Line { counts, ..Line::default() });
            self.targets.len() - 1
        });
        &mut self.targets[ix]
    }

    fn count(&mut self, counts: &[TargetCounts], at: Duration) {
        // Counts come in the pipeline's order, which the lines take over.
        for (ix, counts) in counts.iter().enumerate() {
            let found = self.targets.iter().position(|line| line.counts.target == counts.target);
            match found {
                // Names differ, and those in front are in order already: it stands here or further on.
                Some(found) => self.targets.swap(found, ix),
                None => self.targets.insert(ix, Line::default()),
            }
            let line = &mut self.targets[ix];
            line.counts = counts.clone();
            if line.samples.back().is_none_or(|(last, _)| at >= *last + Duration::from_secs(1)) {
                line.samples.push_back((at, done(counts)));
                if line.samples.len() > SAMPLES {
                    line.samples.pop_front();
                }
            }
        }
    }

    /// The block: at most ten lines, none wider than the terminal.
    pub(super) fn block(&self, at: Duration, width: usize, style: Style) -> Vec<String> {
        let width = width.saturating_sub(1).max(20);
        let with_work: Vec<&Line> = self.targets.iter().filter(|line| total(&line.counts) > 0).collect();
        let shown = chosen(&with_work);
        let mut lines = bars(&shown, at, width, style);
        match with_work.len() - shown.len() {
            0 => lines.extend(self.hands(at, width, style)),
            more => lines.push(style.row(&[(Ink::Dim, format!("{INDENT}+{more} more"))], width)),
        }
        let time = text::duration(at);
        let pad = " ".repeat(HEAD.saturating_sub(columns(&time)));
        lines.push(style.row(&[(Ink::Dim, format!("{pad}{time}   {}", self.words(at)))], width));
        lines
    }

    /// What stands in the last line.
    fn words(&self, at: Duration) -> String {
        if self.stopping {
            let in_hand: u64 = self.targets.iter().map(|line| line.counts.running).sum();
            return format!("stopping, {} in hand", text::thousands(in_hand));
        }
        if !self.planned {
            return "scanning".to_owned();
        }
        self.left(at).map_or_else(String::new, |left| format!("about {} left", roughly(left)))
    }

    /// One line of a log: `[00:00:31] ocr 61/330, clean 58/330, 1 failed, about 4m left`.
    pub(super) fn plain_line(&self, at: Duration) -> String {
        let seconds = at.as_secs();
        let with_work = self.targets.iter().filter(|line| total(&line.counts) > 0);
        let mut parts: Vec<String> = with_work
            .map(|line| {
                let (done, total) = (done(&line.counts), total(&line.counts));
                format!("{} {}/{}", line.counts.target, text::thousands(done), text::thousands(total))
            })
            .collect();
        let sum =
            |of: fn(&TargetCounts) -> u64| self.targets.iter().map(|line| of(&line.counts)).sum::<u64>();
        for (count, word) in
            [(sum(|counts| counts.failed), "failed"), (sum(|counts| counts.blocked), "blocked")]
        {
            if count > 0 {
                parts.push(format!("{} {word}", text::thousands(count)));
            }
        }
        parts.extend(self.left(at).map(|left| format!("about {} left", roughly(left))));
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        format!("[{hours:02}:{minutes:02}:{:02}] {}", seconds % 60, parts.join(", "))
    }

    /// How long it may still take: the work that is left, at the speed with which work was done so far.
    /// Work, not documents: a slow target at the end counts for what it costs, by the builds before while none of it is
    /// done. At first there is only what those say.
    fn left(&self, at: Duration) -> Option<Duration> {
        let took = at.checked_sub(self.working_since?)?;
        let (finished, todo) = self.done_and_todo();
        let work: u64 = self.targets.iter().map(|line| line.work).sum();
        if took < LEFT_AFTER || work == 0 {
            return self.left_by_builds_before(took);
        }
        if todo < 2 {
            return None;
        }
        let mean = work as f64 / finished.max(1) as f64;
        let cost = |line: &Line| match done(&line.counts) {
            0 => line.each.unwrap_or(mean),
            done => line.work as f64 / done as f64,
        };
        let left: f64 = self.targets.iter().map(|line| line.counts.todo as f64 * cost(line)).sum();
        Duration::try_from_secs_f64(left / work as f64 * took.as_secs_f64()).ok()
    }

    /// The same by what the builds before took, if that is known of all that is to be done and is no moment.
    fn left_by_builds_before(&self, took: Duration) -> Option<Duration> {
        let with_work = self.targets.iter().filter(|line| line.counts.todo > 0);
        let seconds = with_work.map(|line| line.planned).sum::<Option<f64>>()?;
        let planned = Duration::try_from_secs_f64(seconds).ok().filter(|planned| *planned >= ESTIMATED)?;
        planned.checked_sub(took)
    }

    /// The documents that take longest, in one line.
    fn hands(&self, at: Duration, width: usize, style: Style) -> Option<String> {
        let named = |entry: &InHand| at.saturating_sub(entry.since) >= NAMED_AFTER;
        let by_doc = self.in_hand.iter().flatten();
        let all = by_doc.flat_map(|(doc, entries)| entries.iter().map(move |entry| (doc, entry)));
        let mut oldest: Vec<_> = all.filter(|(_, entry)| named(entry)).collect();
        if oldest.is_empty() {
            return None;
        }
        oldest.sort_by(|a, b| (a.1.since, a.0, &a.1.target).cmp(&(b.1.since, b.0, &b.1.target)));
        let count = oldest.len().min(NAMED);
        let room = width.saturating_sub(columns(INDENT) + 6) / count;
        let words = oldest.iter().take(NAMED).map(|(doc, entry)| entry.words(doc, at, room));
        let more = oldest.len() - count;
        let more = if more == 0 { String::new() } else { format!("  +{}", text::thousands(more as u64)) };
        let line = format!("{INDENT}{}{more}", words.collect::<Vec<_>>().join(" · "));
        Some(style.row(&[(Ink::Dim, line)], width))
    }
}

impl InHand {
    /// `ocr 2024/atlas-2.pdf 1m02s (212 of 840)`, its name shortened so that the rest stays.
    fn words(&self, doc: &str, at: Duration, room: usize) -> String {
        let progress = far(self.progress);
        let time = text::duration(at.saturating_sub(self.since));
        let target = cut(&self.target, NAME);
        let taken = columns(&target) + columns(&time) + columns(&progress) + 5;
        let doc = cut_front(&shown(doc), room.saturating_sub(taken).max(8));
        format!("{target} {doc} {time}{progress}")
    }
}

/// `1m02s on worker 3 (212 of 840)`.
pub(super) fn since(hand: &Hand) -> String {
    let time = text::duration(Duration::from_millis(hand.milliseconds));
    format!("{time} on worker {}{}", hand.worker, far(hand.progress))
}

/// ` (212 of 840)`.
pub fn far(progress: Option<(f64, Option<f64>)>) -> String {
    match progress {
        Some((done, Some(total))) => format!(" ({} of {})", number(done), number(total)),
        Some((done, None)) => format!(" ({})", number(done)),
        None => String::new(),
    }
}

/// All that came to a target and is settled.
fn done(counts: &TargetCounts) -> u64 {
    counts.built + counts.reused + counts.skipped + counts.left_out + counts.failed + counts.blocked
}

fn total(counts: &TargetCounts) -> u64 {
    done(counts) + counts.todo
}

/// The targets with a line: where there are too many those at work first, then those that wait; in their order.
fn chosen<'a>(with_work: &[&'a Line]) -> Vec<&'a Line> {
    let mut ranked: Vec<usize> = (0..with_work.len()).collect();
    ranked.sort_by_key(|ix| {
        let counts = &with_work[*ix].counts;
        (counts.running == 0, counts.todo == 0)
    });
    ranked.truncate(TARGETS);
    ranked.sort_unstable();
    ranked.into_iter().map(|ix| with_work[ix]).collect()
}

fn bars(lines: &[&Line], at: Duration, width: usize, style: Style) -> Vec<String> {
    let widest = |of: &dyn Fn(&Line) -> usize| lines.iter().map(|line| of(line)).max().unwrap_or(0);
    let name = widest(&|line| columns(&line.counts.target)).clamp(HEAD, NAME.min(width / 3).max(HEAD));
    let part = widest(&|line| columns(&part(line)));
    let speed = widest(&|line| columns(&line.speed(at)));
    let notes = widest(&|line| line.notes(at).iter().map(|(_, note)| columns(note)).sum());
    let bar = width.saturating_sub(name + 3 + 2 + part + 2 + speed + notes).min(BAR) / BAR_STEP * BAR_STEP;
    let row = |line: &&Line| {
        let target = cut(&shown(&line.counts.target), name);
        let pad = " ".repeat(name - columns(&target));
        let mut pieces = vec![(Ink::Plain, pad), (Ink::Head, target), (Ink::Plain, "   ".to_owned())];
        if bar > 0 {
            let filled = (bar as u64 * done(&line.counts) / total(&line.counts).max(1)) as usize;
            pieces.push((Ink::Done, "━".repeat(filled)));
            pieces.push((Ink::Dim, "─".repeat(bar - filled)));
            pieces.push((Ink::Plain, "  ".to_owned()));
        }
        let right = |text: &str, width: usize| format!("{}{text}", " ".repeat(width - columns(text)));
        pieces.push((Ink::Plain, right(&self::part(line), part)));
        if speed > 0 {
            pieces.push((Ink::Dim, format!("  {}", right(&line.speed(at), speed))));
        }
        pieces.extend(line.notes(at));
        style.row(&pieces, width)
    };
    lines.iter().map(row).collect()
}

/// `221/330`.
fn part(line: &Line) -> String {
    format!("{}/{}", text::thousands(done(&line.counts)), text::thousands(total(&line.counts)))
}

impl Line {
    /// `52/s`, `12/min`; empty where nothing moves, and at the end.
    fn speed(&self, at: Duration) -> String {
        let Some((since, before)) = self.samples.front() else { return String::new() };
        let seconds = at.saturating_sub(*since).as_secs_f64();
        let moved = done(&self.counts).saturating_sub(*before);
        if self.counts.todo == 0 || moved == 0 || seconds < 1.0 {
            return String::new();
        }
        match moved as f64 / seconds {
            rate if rate >= 9.95 => format!("{}/s", text::thousands(rate.round() as u64)),
            rate if rate >= 1.0 => format!("{rate:.1}/s"),
            rate => format!("{}/min", (rate * 60.0).round().max(1.0)),
        }
    }

    /// What stands behind the counts.
    fn notes(&self, at: Duration) -> Vec<(Ink, String)> {
        let counts = &self.counts;
        let mut notes = Vec::new();
        for (count, word, ink) in [
            (counts.failed, "failed", Ink::Bad),
            (counts.blocked, "blocked", Ink::Plain),
            (counts.running, "in hand", Ink::Dim),
        ] {
            if count > 0 {
                notes.push((ink, format!("   {} {word}", text::thousands(count))));
            }
        }
        if let Some(since) = self.starting
            && at >= since + Duration::from_secs(1)
        {
            let time = text::duration(at.saturating_sub(since));
            notes.push((Ink::Dim, format!("   module starting, {time}")));
        }
        notes
    }
}

/// A module's number: whole ones without a point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && (0.0..1e15).contains(&value) {
        text::thousands(value as u64)
    } else {
        format!("{value:.1}")
    }
}

/// An estimate without false digits: `8 s`, `1m20s`, `2h05m`.
fn roughly(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil();
    if seconds < 60.0 {
        format!("{seconds} s")
    } else {
        text::duration(Duration::from_secs((seconds / 10.0).round() as u64 * 10))
    }
}
