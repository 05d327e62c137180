//! `pipe why`: why something ran, would run, or did not.

use std::time::Duration;

use crate::cli::ask;
use crate::cli::exit::Exit;
use crate::cli::global::Global;
use crate::cli::output::Output;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::State;
use crate::model::reason::Reason;
use crate::query::lineage::Link;
use crate::query::log::Shown;
use crate::query::why::{
    Group, Kind, Last, Now, Routed, SourceState, TargetWhy, TouchedMerge, TreeWhy, Verdict, WhyDocument,
    WhyTarget,
};
use crate::query::{Answer, Question};
use crate::text;
use crate::time::{Millis, now};

/// Tell why a document or a target ran, would run, or did not
///
/// Runs nothing: compares what was recorded with what is there now.
/// DOC is an id, a unique part of one, an `all` target, a published file or a source file. For a target: how many
/// documents would run, by reason.
#[derive(clap::Args)]
pub(super) struct Args {
    /// A document, a target, or a module (all targets that use it)
    #[arg(value_name = "DOC|TARGET")]
    what: String,
}

impl Args {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<Exit> {
        let project = ask::project(global, out)?;
        let (answer, _) = ask::ask_one(&project, &Question::Why { what: self.what.clone() }, out)?;
        match answer {
            Some(Answer::WhyDocument(why)) if out.is_json() => out.json_line("why-document", &why)?,
            Some(Answer::WhyTarget(why)) if out.is_json() => out.json_line("why-target", &why)?,
            Some(Answer::WhyDocument(why)) => {
                document(&why).into_iter().try_for_each(|line| out.line(line))?;
            }
            Some(Answer::WhyTarget(why)) => target(&why).into_iter().try_for_each(|line| out.line(line))?,
            _ => {}
        }
        Ok(Exit::FINE)
    }
}

fn document(why: &WhyDocument) -> Vec<String> {
    let mut lines = vec![why.doc.clone()];
    let names = why.targets.iter().map(|verdict| verdict.target.chars().count());
    let width = names.max().unwrap_or_default().clamp(8, 24);
    if let Some(source) = source(&why.source) {
        lines.push(format!("  {:width$}  {source}", "document"));
    }
    if let Some(Link::Project { project, target, doc }) = &why.origin {
        lines.push(format!("  {:width$}  {doc} by {target} in {project}", "from"));
        lines.push(format!("  {:width$}  pipe -C {project} why {doc}", ""));
    }
    for verdict in &why.targets {
        lines.extend(verdict_lines(verdict, width));
        let own = why.trees.iter().filter(|tree| tree.target == verdict.target);
        lines.extend(own.flat_map(own_tree).map(|line| format!("{}{line}", " ".repeat(width + 4))));
    }
    let is_own = |tree: &&TreeWhy| why.targets.iter().any(|verdict| verdict.target == tree.target);
    for tree in why.trees.iter().filter(|tree| !is_own(tree)) {
        let merges: Vec<String> = tree.touched.iter().map(merge_words).collect();
        lines.push(format!("  {:width$}  {:<28}  {}", tree.target, "merges it in", merges.join(" → ")));
    }
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

/// How the tree of merges stands behind the result of a `reduce`.
fn own_tree(tree: &TreeWhy) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(root) = &tree.root {
        let (merges, members) = (text::count(tree.merges, "merge"), text::count(tree.members, "member"));
        lines.push(format!("{merges} over {members}; the last is {root}"));
    }
    for merge in &tree.failed {
        lines.push(format!("{} failed: {}", merge.doc, merge.failure));
        lines.push(format!("pipe log {}", text::shell_word(&merge.doc)));
    }
    if tree.touched_count > 0 {
        let named: Vec<String> = tree.touched.iter().map(merge_words).collect();
        let more = match tree.touched_count - tree.touched.len() as u64 {
            0 => String::new(),
            more => format!(", and {} more", text::thousands(more)),
        };
        lines.push(format!("documents that changed are in {}{more}", named.join(", ")));
    }
    lines
}

fn merge_words(merge: &TouchedMerge) -> String {
    format!("{} of {}", merge.doc, text::count(merge.inputs, "input"))
}

fn source(source: &SourceState) -> Option<String> {
    match source {
        SourceState::Same | SourceState::Members { to_look_at: 0 } => None,
        SourceState::New => Some("not built yet".to_owned()),
        SourceState::Changed { old, new } => {
            Some(format!("changed since: {} → {}", short(old.as_ref()), new.short()))
        }
        SourceState::Gone => Some("gone; the next build retires its results".to_owned()),
        SourceState::Unreadable { why } => Some(format!("cannot be read: {why}")),
        SourceState::Members { to_look_at } => {
            Some(format!("{} to look at first: pipe build", text::count(*to_look_at, "document")))
        }
    }
}

fn verdict_lines(verdict: &Verdict, width: usize) -> Vec<String> {
    let below = " ".repeat(width + 4);
    let (now, details) = now_words(&verdict.target, &verdict.now);
    let last = last_words(&verdict.last);
    let mut lines = Vec::new();
    // What would happen comes first; what happened explains what is there.
    match (&verdict.now, last) {
        (Now::UpToDate, Some((word, why, details))) => {
            lines.push(format!("  {:width$}  {word:<28}  {why}", verdict.target));
            lines.extend(details.into_iter().map(|line| format!("{below}{line}")));
            if let Last::Ran { outcome: Shown::Failed { .. }, .. }
            | Last::Kept { outcome: Shown::Failed { .. }, .. } = &verdict.last
            {
                lines.push(format!("{below}not tried again until its input, code or parameters change"));
            }
        }
        (_, last) => {
            lines.push(format!("  {:width$}  {now}", verdict.target));
            lines.extend(details.into_iter().map(|line| format!("{below}{line}")));
            if let Some((word, ..)) = last.filter(|_| !matches!(verdict.now, Now::Retired | Now::Held { .. }))
            {
                lines.push(format!("{below}before: {word}"));
            }
        }
    }
    if let Some(failure) = &verdict.unshown {
        lines.push(format!("{below}not published: {}", failure.summary()));
    }
    if let Some(Routed { branch, action, test }) = &verdict.route {
        lines.push(format!("{below}route: {action} (branch {branch}: {test})"));
    }
    lines
}

/// In a few words, why, and the values behind it.
fn last_words(last: &Last) -> Option<(String, String, Vec<String>)> {
    match last {
        Last::Never => None,
        Last::Ran { run, start, duration, reasons, outcome, same } => {
            let took = text::duration(Duration::from_micros(*duration));
            let word = format!("{} at {}, {took}", ran(outcome), start.clock());
            let mut details: Vec<String> = reasons.iter().flat_map(reason_details).collect();
            if let Some(line) = untouched(reasons) {
                details.push(line);
            }
            details.extend(outcome_line(outcome));
            if *same && matches!(outcome, Shown::Output { .. }) {
                details.push("came out the same as before".to_owned());
            }
            let first = reasons.first().map(short_words).unwrap_or_default();
            // Each of the others is below, with its values.
            let more = match reasons.len() {
                0 | 1 => String::new(),
                n => format!(", and {} more", n - 1),
            };
            Some((word, format!("{first}{more} (run {run})"), details))
        }
        Last::Kept { run, accepted: Some(why), .. } => Some((
            "accepted".to_owned(),
            format!("its result of run {run} stands"),
            vec![format!("pipe accept, though {why}")],
        )),
        Last::Kept { run, start, doc, cut_off, outcome, .. } => {
            let details = match outcome {
                Shown::Failed { .. } | Shown::Skip { .. } => outcome_line(outcome).into_iter().collect(),
                _ => Vec::new(),
            };
            let what = made(outcome);
            if let Some(target) = cut_off {
                return Some((
                    "did not run".into(),
                    format!("its input came out the same: {target}"),
                    details,
                ));
            }
            Some(match doc {
                Some(doc) => ("did not run".into(), format!("the same as {doc}, run {run}{what}"), details),
                None => ("up to date".into(), format!("since run {run}, {}{what}", ago(*start)), details),
            })
        }
        Last::Decided { state: State::Absent, .. } => {
            Some(("not here".into(), "what is before it gave it nothing".into(), Vec::new()))
        }
        Last::Decided { state, note } => {
            let why = match state {
                // Stories of before said no more.
                State::LeftOut if note.is_empty() => "`where` does not let it in".to_owned(),
                _ => note.clone(),
            };
            Some((state.word().to_owned(), why, Vec::new()))
        }
    }
}

fn ran(outcome: &Shown) -> &'static str {
    match outcome {
        Shown::Failed { .. } => "failed",
        Shown::Skip { .. } => "skipped",
        _ => "ran",
    }
}

fn made(outcome: &Shown) -> String {
    match outcome {
        Shown::Output { size, digest, .. } => format!(" ({}, {})", digest.short(), text::size(*size)),
        _ => String::new(),
    }
}

fn outcome_line(outcome: &Shown) -> Option<String> {
    match outcome {
        Shown::Failed { failure } => {
            let place = failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
            Some(format!("{}{place}", failure.summary()))
        }
        Shown::Skip { reason } => Some(format!("the module said: {reason}")),
        Shown::Output { .. } | Shown::Nothing { .. } => None,
    }
}

fn ago(start: Millis) -> String {
    let passed = now().since(start);
    match passed.as_secs() {
        0..=59 => "just now".to_owned(),
        60..=86_399 => format!("{} ago", text::duration(passed)),
        seconds => format!("{} ago", text::count(seconds / 86_400, "day")),
    }
}

fn now_words(target: &str, now: &Now) -> (String, Vec<String>) {
    match now {
        Now::UpToDate => ("up to date".to_owned(), Vec::new()),
        Now::WouldRun { reasons } => {
            let words: Vec<String> = reasons.iter().map(short_words).collect();
            (format!("would run: {}", words.join("; ")), reasons.iter().flat_map(reason_details).collect())
        }
        Now::WouldMerge { again, up_to, of, reasons } => {
            let why: Vec<String> = reasons.iter().map(short_words).collect();
            let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
            let of = text::count(*of, "merge");
            let word = match (again, up_to) {
                (0, up_to) => format!("would merge again up to {} of {of}", text::thousands(*up_to)),
                (again, 0) => format!("would merge again {} of {of}", text::thousands(*again)),
                (again, up_to) => format!(
                    "would merge again {} of {of}, and up to {} behind",
                    text::thousands(*again),
                    text::thousands(*up_to)
                ),
            };
            (format!("{word}{why}"), reasons.iter().flat_map(reason_details).collect())
        }
        Now::WouldAccept { run, why } => (
            format!("would take its result of run {run}: accepted"),
            vec![format!("pipe accept, though {why}")],
        ),
        Now::WouldReuse { run } => (format!("would take the result of run {run} again"), Vec::new()),
        Now::Waits { on, note } => {
            let on = if on.is_empty() { String::new() } else { format!("depends on {}", on.join(", ")) };
            let both =
                [on, note.clone()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
            (if both.is_empty() { "not decided yet".to_owned() } else { both }, Vec::new())
        }
        Now::Held { run, why } => (
            format!("held: its result of run {run} stands"),
            vec![format!("though {why}"), format!("pipe build --update {target}")],
        ),
        Now::WouldBecome { state, note } => {
            let note = if note.is_empty() { String::new() } else { format!(": {note}") };
            (format!("would be {}{note}", state.word()), Vec::new())
        }
        Now::Retired => ("would be retired".to_owned(), Vec::new()),
    }
}

/// A reason without the values that [`reason_details`] shows.
fn short_words(reason: &Reason) -> String {
    match reason {
        Reason::Code { .. } => "the module's code changed".to_owned(),
        Reason::Fact { name, .. } => format!("{name} changed"),
        Reason::Program { name, .. } => format!("the module's {name} changed"),
        Reason::Param { name, .. } => format!("parameter `{name}` changed"),
        other => other.words(),
    }
}

/// Old and new value, a line each.
fn reason_details(reason: &Reason) -> Vec<String> {
    let plain = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let line = |name: &str, old: &str, new: &str| format!("{name:<24}  {old} → {new}");
    match reason {
        Reason::Input { name, old, new } => {
            let name = if name.is_empty() { "input" } else { name };
            vec![line(name, &short(old.as_ref()), &short(new.as_ref()))]
        }
        Reason::Code { files } => {
            let change = |file: &crate::model::reason::FileChange| match (&file.old, &file.new) {
                // A package is named with its version, and has no digest.
                (None, None) if file.file.contains(" → ") => {
                    let (name, versions) = file.file.split_once(' ').unwrap_or_default();
                    format!("{name:<24}  {versions}")
                }
                (None, None) => format!("{:<24}  is not installed any more", file.file),
                (old, new) => line(&file.file, &short(old.as_ref()), &short(new.as_ref())),
            };
            files.iter().map(change).collect()
        }
        Reason::Fact { name, old, new }
        | Reason::Program { name, old, new }
        | Reason::Param { name, old, new } => {
            vec![line(name, &plain(old), &plain(new))]
        }
        _ => Vec::new(),
    }
}

/// A kind of reason, and which reasons are of it.
type Touch = (&'static str, fn(&Reason) -> bool);

/// What else could have changed, and did not.
fn untouched(reasons: &[Reason]) -> Option<String> {
    if reasons.iter().any(|reason| {
        matches!(reason, Reason::NeverRun | Reason::OutputLost | Reason::Shape { .. } | Reason::Route { .. })
    }) {
        return None;
    }
    let kinds: [Touch; 4] = [
        ("input", |reason| {
            matches!(reason, Reason::Input { .. } | Reason::Members { .. } | Reason::Fact { .. })
        }),
        ("code", |reason| matches!(reason, Reason::Code { .. })),
        ("parameters", |reason| matches!(reason, Reason::Param { .. })),
        ("environment", |reason| matches!(reason, Reason::Program { .. })),
    ];
    let same = kinds.iter().filter(|(_, touches)| !reasons.iter().any(touches)).map(|(name, _)| *name);
    let same: Vec<&str> = same.collect();
    (!same.is_empty()).then(|| format!("{:<24}  {}", "same as before", same.join(", ")))
}

fn short(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "none".to_owned(), Digest::short)
}

fn target(why: &WhyTarget) -> Vec<String> {
    let mut lines: Vec<String> = why.targets.iter().flat_map(target_lines).collect();
    if why.building {
        lines.push("a build is running; what it has not come to yet counts as it was".to_owned());
    }
    lines.iter().map(|line| text::printable(line.trim_end())).collect()
}

fn target_lines(why: &TargetWhy) -> Vec<String> {
    let held = |group: &&Group| group.kind == Kind::Held;
    let to_do: u64 = why.groups.iter().filter(|group| !held(group)).map(|group| group.documents).sum();
    let unit = if why.is_group { "group" } else { "document" };
    let head = match (why.waits_for, to_do) {
        (Some(0), _) => "its groups would be looked at again".to_owned(),
        (Some(n), _) => format!("depends on {} to look at first", text::count(n, "document")),
        (None, 0) => format!("up to date, {}", text::count(why.documents, unit)),
        (None, n) => format!(
            "{} would be looked at, {} up to date",
            text::count(n, unit),
            text::thousands(why.up_to_date)
        ),
    };
    let mut lines = vec![format!("{}: {head}", why.target)];
    let counts = why.groups.iter().map(|group| group.documents);
    let counts = counts.chain(why.failed.iter().map(|failed| failed.documents)).chain([why.blocked]);
    let width = counts.map(|count| text::thousands(count).len()).max().unwrap_or_default();
    let below = " ".repeat(width + 4);
    for group in &why.groups {
        lines.push(format!("  {:>width$}  {}", text::thousands(group.documents), group_words(group)));
        lines.extend(group.reasons.iter().flat_map(reason_details).map(|line| format!("{below}{line}")));
        lines.push(format!("{below}e.g. {}", group.sample));
        if group.kind == Kind::Held {
            lines.push(format!("{below}pipe build --update {}", why.target));
        }
    }
    for failed in &why.failed {
        let place = failed.failure.place.as_ref().map(|place| format!("  ({place})")).unwrap_or_default();
        let count = text::thousands(failed.documents);
        lines.push(format!("  {count:>width$}  failed: {}{place}", failed.failure.summary()));
        if failed.reopened > 0 {
            let some = text::thousands(failed.reopened);
            lines.push(format!("{below}{some} opened again: the next build tries them"));
        }
        lines.push(format!("{below}e.g. {}", failed.sample));
    }
    if why.blocked > 0 {
        lines.push(format!("  {:>width$}  blocked, behind a failure", text::thousands(why.blocked)));
    }
    lines
}

/// Why, without the values.
pub(super) fn group_words(group: &Group) -> String {
    match &group.kind {
        Kind::New => "new".to_owned(),
        Kind::Changed => "the file changed".to_owned(),
        Kind::Held => {
            let why: Vec<String> = group.reasons.iter().map(short_words).collect();
            format!("held, though {}", why.join("; "))
        }
        Kind::Differs => group.reasons.iter().map(short_words).collect::<Vec<_>>().join("; "),
        Kind::Behind { target } => format!("if `{target}` makes something else for it"),
        Kind::Unfinished => "a build was stopped before it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::FileChange;

    #[test]
    fn a_reason_shows_its_old_and_new_value() {
        let digests = [Digest::of(b"a"), Digest::of(b"b")];
        let files =
            vec![FileChange { file: "modules/a.py".into(), old: Some(digests[0]), new: Some(digests[1]) }];
        let code = Reason::Code { files };
        assert_eq!(short_words(&code), "the module's code changed");
        let expected = format!("modules/a.py              {} → {}", digests[0].short(), digests[1].short());
        assert_eq!(reason_details(&code), [expected]);
        let param = Reason::Param { name: "top".into(), old: Some("5".into()), new: None };
        assert_eq!(reason_details(&param), ["top                       5 → none"]);
        assert_eq!(untouched(&[param]).unwrap(), "same as before            input, code, environment");
        assert_eq!(untouched(&[Reason::NeverRun]), None);
    }

    #[test]
    fn a_target_counts_documents_by_reason() {
        let group = |documents, kind, sample: &str| Group {
            documents,
            kind,
            reasons: Vec::new(),
            sample: sample.into(),
        };
        let groups = vec![group(1200, Kind::Changed, "in/a"), group(3, Kind::New, "in/b")];
        let why = TargetWhy {
            target: "ocr".into(),
            documents: 2000,
            up_to_date: 797,
            groups,
            blocked: 2,
            ..TargetWhy::default()
        };
        let expected = [
            "ocr: 1,203 documents would be looked at, 797 up to date",
            "  1,200  the file changed",
            "         e.g. in/a",
            "      3  new",
            "         e.g. in/b",
            "      2  blocked, behind a failure",
        ];
        assert_eq!(target(&WhyTarget { targets: vec![why], building: false }), expected);
    }

    #[test]
    fn what_would_happen_is_said_before_what_happened() {
        let last = Last::Decided { state: State::LeftOut, note: String::new() };
        let verdict = Verdict {
            target: "ocr".into(),
            route: None,
            last,
            now: Now::WouldRun { reasons: vec![Reason::NeverRun] },
            unshown: None,
        };
        assert_eq!(
            verdict_lines(&verdict, 8),
            ["  ocr       would run: new", "            before: left out"]
        );
    }
}
