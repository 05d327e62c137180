//! How everything stands: sources against the last build, targets by state, failures by cause.
//!
//! Looks as a build would that only plans; beside a running build the sources are left alone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::board::Held;
use crate::engine::decide::Deciding;
use crate::engine::documents::{Depth, Documents};
use crate::engine::listing::any_behind;
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::marks::without_accepted;
use crate::engine::past::Past;
use crate::engine::policy::SET_ASIDE;
use crate::engine::publish::missing;
use crate::engine::sets::before;
use crate::engine::stale::stale;
use crate::engine::{Interrupts, Parts, build, failures};
use crate::error::Result;
use crate::model::action::{Ended, Extras, Position, Run, State};
use crate::model::document::{CHILDREN, GROUPS};
use crate::model::event::{Event, Matched, Sink, Stale};
use crate::model::failure::{Failure, FailureKind, Verdict};
use crate::model::pipeline::{Node, TargetIx, Verb};
use crate::module::Host;
use crate::plan::family::PARENT;
use crate::query::Asked;
use crate::query::run::last_end;
use crate::query::why::present::looking;
use crate::store::is_failed;

/// How everything stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// In the order of the file; empty while a build runs.
    pub sources: Vec<SourceStatus>,
    /// In the pipeline's order.
    pub targets: Vec<TargetStatus>,
    /// Failures, most frequent first.
    pub causes: Vec<CauseStatus>,
    /// How many documents they are: one that failed in several targets is one.
    #[serde(default)]
    pub failed_documents: u64,
    /// Documents behind a failure.
    pub blocked: u64,
    /// Published files that show an older result.
    #[serde(default)]
    pub stale: Stale,
    /// The newest run that wrote anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run: Option<Run>,
    /// How the last build ended, which may be an earlier run; absent: it is under way, or there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<Ended>,
    /// A build is under way.
    pub building: bool,
    /// With `building`: `pipe watch` waits for a change.
    #[serde(default)]
    pub watching: bool,
    /// The store is being collected.
    #[serde(default)]
    pub collecting: bool,
    /// What workers of the running build are at, the longest first; then what waits behind that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub in_hand: Vec<Held>,
    /// A build would have something to do.
    pub to_do: bool,
    /// What should be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

impl Status {
    /// Whether all is done and nothing failed.
    pub fn is_up_to_date(&self) -> bool {
        !self.to_do && !self.building && !self.collecting && self.causes.is_empty() && self.blocked == 0
    }

    /// Documents that a build would look at.
    pub fn to_look_at(&self) -> u64 {
        self.sources.iter().map(|source| source.new + source.changed + source.gone).sum()
    }
}

/// A source against the last build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub source: String,
    /// Documents there now.
    pub documents: u64,
    /// Not seen before.
    pub new: u64,
    /// With another stamp.
    pub changed: u64,
    /// No longer there.
    pub gone: u64,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// How a target stands, over the documents that came to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    /// Its name.
    pub target: String,
    /// `each`, `all`.
    pub verb: String,
    /// `split`, `reduce`, `group by meta.thread`.
    #[serde(default)]
    pub shape: String,
    /// Documents that came to it; of a set or of groups: members that there are.
    #[serde(default, rename = "in")]
    pub came: u64,
    /// Of a split: what it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub children: Option<u64>,
    /// With a result.
    pub done: u64,
    /// Left out by the module.
    pub skipped: u64,
    /// Left out by `where`.
    pub left_out: u64,
    /// Failed.
    pub failed: u64,
    /// Of those that failed: not tried again by a build, since they were the end of their worker too often.
    #[serde(default)]
    pub set_aside: u64,
    /// Behind a failure.
    pub blocked: u64,
    /// Of all results: those with a warning.
    #[serde(default)]
    pub warned: u64,
    /// What the module counted for the results that stand: `usd`, `tokens`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
    /// Not decided: a build was stopped.
    pub unfinished: u64,
    /// Shown as files.
    pub published: u64,
    /// Kept by `hold`, though not up to date.
    #[serde(default)]
    pub held: u64,
    /// Of a target with a route: documents by the module that they were sent to, or `pass`, `skip`, `fail`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routed: BTreeMap<String, u64>,
    /// Of a target with side inputs by value: who had no match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matched: Vec<Matched>,
    /// Of a set: over how many of its members, or what blocks it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// A build may run so many actions; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Plan>,
}

/// What a build may run in a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// At most so many; absent: not known before the targets before it are done.
    pub actions: Option<u64>,
}

/// Failures with one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CauseStatus {
    /// Where.
    pub target: String,
    /// How.
    pub failure: Failure,
    /// What names the cause in `--cause`.
    #[serde(default)]
    pub name: String,
    /// Whether a build tries it again.
    #[serde(default)]
    pub again: Again,
    /// How many documents.
    pub count: u64,
    /// The first few.
    pub samples: Vec<String>,
    /// Those that are not tried again by a build.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub set_aside: u64,
    /// Those that the next build tries again because somebody, or the end of their module, opened them again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reopened: u64,
    /// Targets that wait for these documents, and how many of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, u64>,
}

/// Whether a build tries a failure again by itself; what was set aside is counted beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Again {
    /// Not until code, params or input change.
    #[default]
    Kept,
    /// By the next build.
    NextBuild,
    /// Nothing was tried: each build that looks finds it again, until what causes it is gone.
    Found,
}

impl Again {
    fn of(failure: &Failure) -> Again {
        match failure.kind.verdict() {
            Verdict::Derived => Again::Found,
            _ if failure.is_kept() => Again::Kept,
            _ => Again::NextBuild,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl From<crate::model::event::Cause> for CauseStatus {
    fn from(cause: crate::model::event::Cause) -> Self {
        CauseStatus {
            name: cause.failure.fingerprint(),
            again: Again::of(&cause.failure),
            target: cause.target,
            failure: cause.failure,
            count: cause.count,
            samples: cause.samples,
            set_aside: cause.set_aside,
            reopened: cause.reopened,
            behind: cause.behind,
        }
    }
}

/// What the store knows of sources and targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Something was built.
    pub is_built: bool,
    /// Their names, and how many documents each had.
    pub sources: Vec<(String, u64)>,
    /// In the pipeline's order.
    pub targets: Vec<TargetStatus>,
}

/// What the store knows of sources and targets.
pub fn counts(asked: &Asked<'_>) -> Result<Counts> {
    let mut targets = counted(asked)?;
    for target in &mut targets {
        target.matched = crate::engine::matching::remembered(asked.store, &target.target)?;
    }
    let sources = sizes(asked)?.into_iter().collect();
    Ok(Counts { is_built: !asked.store.runs()?.is_empty(), sources, targets })
}

/// How many documents each source had.
fn sizes(asked: &Asked<'_>) -> Result<BTreeMap<String, u64>> {
    let of = |source: &crate::model::pipeline::Source| {
        let sums = asked.store.sums(&source.name)?;
        Ok((source.name.clone(), sums.documents - sums.gone))
    };
    asked.pipeline.sources.iter().map(of).collect()
}

/// How everything stands.
pub fn status(asked: &Asked<'_>) -> Result<Status> {
    let mut seen = Seen::default();
    if !asked.building {
        let host = Arc::new(Host::of_this_program());
        let parts = Parts::new(asked.pipeline, asked.pipelinefile, asked.store, host)?;
        build(&parts, &looking(asked.pipeline), &mut seen, &Interrupts::default())?;
        // What is published and not there, a build shows again.
        let mut besides = asked.store.is_publishing_unchecked()?;
        besides |= !missing(asked.store, &asked.pipeline.root)?.is_empty();
        let all = (0..asked.pipeline.targets.len()).map(TargetIx);
        let by_default = all.filter(|ix| asked.pipeline.target(*ix).default).collect();
        besides |= any_behind(asked.pipeline, asked.store, &by_default)?;
        let differ = seen.sources.iter().any(|source| source.new + source.changed + source.gone > 0);
        seen.only_plan = !besides && !differ;
        seen.to_do |= besides;
    }
    let failed = failures::standing(asked.store, asked.pipeline)?;
    let mut targets = counted(asked)?;
    for target in &mut targets {
        target.matched = crate::engine::matching::remembered(asked.store, &target.target)?;
        target.planned = seen.planned.get(&target.target).map(|actions| Plan { actions: *actions });
    }
    if hold(asked, &mut targets, &seen.sources)? && seen.only_plan {
        seen.to_do = targets.iter().any(|target| target.planned.is_some());
    }
    let last_run = asked.store.runs()?.pop();
    let last_end = last_end(asked)?;
    let mut in_hand = if asked.is_build() { asked.in_hand() } else { Vec::new() };
    in_hand.sort_by_key(|held| (held.behind > 0, held.since));
    Ok(Status {
        in_hand,
        last_end,
        sources: seen.sources,
        targets,
        causes: failed.causes.into_iter().map(CauseStatus::from).collect(),
        failed_documents: failed.documents,
        blocked: failed.blocked,
        stale: stale(asked.pipeline, asked.store)?,
        last_run,
        building: asked.building && !asked.collecting,
        watching: asked.idle,
        collecting: asked.collecting,
        to_do: seen.to_do,
        notices: seen.notices,
    })
}

/// Takes out of the plan what `hold` keeps as it is; whether anything was taken out.
///
/// That is certain where nothing before the target differs: then only code, params or side inputs can have changed.
fn hold(asked: &Asked<'_>, targets: &mut [TargetStatus], sources: &[SourceStatus]) -> Result<bool> {
    let same = |source: &SourceStatus| source.new + source.changed + source.gone == 0;
    let marked: Vec<String> =
        asked.store.marks()?.into_iter().flat_map(|mark| mark.targets).map(|target| target.name).collect();
    let mut any = false;
    // In the pipeline's order: what stands before a target is known when it is looked at.
    for ix in 0..targets.len() {
        let of = asked.pipeline.target(TargetIx(ix));
        let now = &targets[ix];
        let all_done = now.done == if of.verb == Verb::All { 1 } else { now.came };
        let is_before_same = of.streams.iter().all(|stream| match stream {
            Node::Source(source) => {
                let name = &asked.pipeline.source(*source).name;
                sources.iter().any(|source| source.source == *name && same(source))
            }
            Node::Target(before) => targets[before.0].planned.is_none(),
        });
        let is_kept = of.hold.is_some()
            && of.verb != Verb::Group
            && all_done
            && is_before_same
            && !marked.contains(&of.name)
            && now.planned.is_some();
        if is_kept {
            let target = &mut targets[ix];
            target.planned = None;
            target.held = target.held.max(target.done);
            any = true;
        }
    }
    Ok(any)
}

/// A pass over the newest stories.
fn counted(asked: &Asked<'_>) -> Result<Vec<TargetStatus>> {
    let verb = |verb: Verb| match verb {
        Verb::Each => "each",
        Verb::All => "all",
        Verb::Group => "group",
    };
    let bare = |target: &crate::model::pipeline::Target| TargetStatus {
        target: target.name.clone(),
        verb: verb(target.verb).to_owned(),
        shape: target.shape(),
        ..TargetStatus::default()
    };
    let mut targets: Vec<TargetStatus> = asked.pipeline.targets.iter().map(bare).collect();
    let sources = asked.pipeline.sources.iter().map(|source| source.name.as_str());
    let sets = asked.pipeline.targets.iter().filter(|target| target.verb == Verb::All);
    let sets = sets.map(|target| target.name.clone());
    let splits = asked.pipeline.targets.iter().filter(|target| target.split);
    let children = splits.map(|target| format!("{}{CHILDREN}", target.name));
    let groups = asked.pipeline.targets.iter().filter(|target| target.verb == Verb::Group);
    let groups = groups.map(|target| format!("{}{GROUPS}", target.name));
    let families: Vec<String> =
        sources.map(str::to_owned).chain(sets).chain(children).chain(groups).collect();
    let routes: Vec<bool> = asked.pipeline.targets.iter().map(|target| target.route().is_some()).collect();
    let mut routed = Routed::default();
    // Most records hold nothing but their result: only those of targets that ever counted or warned are read.
    let has_extras: Vec<bool> = asked
        .pipeline
        .targets
        .iter()
        .map(|target| Ok(Past::of(asked.store, &target.name)?.has_extras()))
        .collect::<Result<_>>()?;
    let mut partial = vec![0; targets.len()];
    // Records that counted anything, each once.
    let mut counted = HashSet::new();
    for family in &families {
        let family = family.as_str();
        let split = family.strip_suffix(CHILDREN).and_then(|target| asked.pipeline.find_target(target));
        let (mut documents, mut unwell) = (0, 0);
        let mut failed = None;
        // Most documents share a definition: its targets are found by name once.
        let mut places: std::collections::HashMap<_, Vec<Option<usize>>> = std::collections::HashMap::new();
        asked.store.scan(family, &mut |_, entry| {
            if entry.flags.gone {
                return true;
            }
            let told = match before(asked.store, entry.story) {
                Ok(Some(told)) => told,
                Ok(None) => return true,
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            };
            let places = places.entry(told.story.definition).or_insert_with(|| {
                let names = told.definition.targets.iter().map(|defined| &defined.name);
                names.map(|name| asked.pipeline.find_target(name).map(|ix| ix.0)).collect()
            });
            documents += 1;
            for (place, entry) in places.iter().zip(&told.story.entries) {
                let Some(place) = *place else { continue };
                if split.is_some_and(|split| place == split.0) {
                    // Counted where it was split, but for what became of it since.
                    targets[place].published += u64::from(entry.published);
                    unwell += u64::from(is_failed(entry));
                    continue;
                }
                let of = &mut targets[place];
                let count = match entry.state {
                    _ if is_failed(entry) => &mut of.failed,
                    State::Done => &mut of.done,
                    State::Skipped => &mut of.skipped,
                    State::LeftOut => &mut of.left_out,
                    State::Failed => &mut of.failed,
                    State::Blocked => &mut of.blocked,
                    State::Unfinished => &mut of.unfinished,
                    State::Absent => continue,
                };
                *count += 1;
                of.came += 1;
                if routes[place] && entry.act.is_none() {
                    let way = match entry.state {
                        State::Skipped => Some("skip"),
                        State::Failed if is_refused(entry) => Some("fail"),
                        _ => None,
                    };
                    way.into_iter().for_each(|way| *of.routed.entry(way.to_owned()).or_default() += 1);
                }
                if let Some(at) = entry.act.filter(|_| routes[place]) {
                    match routed.module(asked.store, at) {
                        Ok(Some(module)) => *of.routed.entry(module).or_default() += 1,
                        Ok(None) => {}
                        Err(error) => failed = Some(error),
                    }
                }
                if let Some(at) = entry.act.filter(|_| has_extras[place]) {
                    match asked.store.act(at) {
                        Ok(act) => {
                            // A copy takes a result over: that costs nothing.
                            let mut is_first = || counted.insert(at);
                            act.iter().for_each(|act| add_extras(of, &act.extras, &mut is_first));
                        }
                        Err(error) => failed = Some(error),
                    }
                }
                of.set_aside += u64::from(entry.state == State::Failed && entry.note == SET_ASIDE);
                of.published += u64::from(entry.published);
                partial[place] += u64::from(is_partial(entry));
                of.held += u64::from(crate::engine::hold::is_held(entry));
                if of.target == family {
                    of.note.clone_from(&entry.note);
                }
            }
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(split) = split {
            targets[split.0].children = Some(documents);
            let children = crate::text::count(documents, "child").replace("childs", "children");
            let failed = match unwell {
                0 => String::new(),
                n => format!(", {} failed", crate::text::thousands(n)),
            };
            targets[split.0].note = children + &failed;
        }
    }
    for target in targets.iter_mut().filter(|target| target.verb == "group") {
        let head = asked.store.entry(&format!("{}{GROUPS}{GROUPS}", target.target), "", "")?;
        let told = head.map(|head| before(asked.store, head.story)).transpose()?.flatten();
        if let Some(entry) = told.as_ref().and_then(|told| told.entry(&target.target)) {
            target.note.clone_from(&entry.note);
            target.failed += u64::from(is_failed(entry));
            target.blocked += u64::from(entry.state == State::Blocked);
        }
    }
    for (ix, target) in targets.iter_mut().enumerate() {
        if serde_json::from_str::<Failure>(&target.note).is_ok() {
            target.note.clear();
        }
        let is_by_parent = asked.pipeline.target(TargetIx(ix)).by.as_deref() == Some(PARENT);
        if is_by_parent && partial[ix] > 0 {
            target.note = crate::engine::grouping::partial(partial[ix]);
        }
    }
    members(asked, &mut targets)?;
    Ok(targets)
}

/// Whether a result is over a part of its members.
fn is_partial(entry: &crate::model::action::StoryEntry) -> bool {
    entry.state == State::Done && without_accepted(&entry.note).starts_with("over ")
}

/// Whether the route of a target refused a document.
fn is_refused(entry: &crate::model::action::StoryEntry) -> bool {
    let failure = serde_json::from_str::<Failure>(&entry.note);
    failure.is_ok_and(|failure| failure.kind == FailureKind::Refused)
}

/// What comes to sets and groups: members are counted where they come from; what `where` leaves out is found by its test.
fn members(asked: &Asked<'_>, targets: &mut [TargetStatus]) -> Result<()> {
    let sizes = sizes(asked)?;
    for ix in 0..targets.len() {
        let target = asked.pipeline.target(TargetIx(ix));
        if target.verb == Verb::Each {
            continue;
        }
        let size = |node: &Node| match node {
            Node::Source(source) => sizes.get(&asked.pipeline.source(*source).name).copied().unwrap_or(0),
            Node::Target(of) => {
                let of = &targets[of.0];
                let known = of.done + of.failed + of.blocked + of.unfinished;
                of.children.unwrap_or(known)
            }
        };
        targets[ix].came = target.streams.iter().map(size).sum();
        let Some(test) = &target.test else { continue };
        let documents = Documents::new(asked.pipeline, asked.store);
        let mut lookup = Lookup::new(PresentCode::of(asked.pipeline, asked.store));
        let mut left_out = 0;
        for stream in &target.streams {
            documents.visit(*stream, Depth::All, &mut |passing| {
                let family = passing.family;
                let (pipeline, store) = (asked.pipeline, asked.store);
                let deciding = Deciding { pipeline, family, store, lookup: &mut lookup };
                let passes = test.passes(&|field| deciding.field(passing.document, passing.place, field));
                left_out += u64::from(passing.state == State::Done && !passes);
                Ok(true)
            })?;
        }
        targets[ix].left_out += left_out;
    }
    Ok(())
}

/// Adds what a record holds beside its result.
fn add_extras(of: &mut TargetStatus, extras: &str, is_first: &mut dyn FnMut() -> bool) {
    if extras.is_empty() {
        return;
    }
    let extras: Extras = serde_json::from_str(extras).unwrap_or_default();
    of.warned += u64::from(!extras.warnings.is_empty());
    if extras.counts.is_empty() || !is_first() {
        return;
    }
    for (name, count) in extras.counts {
        *of.counts.entry(name).or_default() += count;
    }
}

/// Which module made a result: most results share a recipe, which is read once.
#[derive(Default)]
struct Routed(std::collections::HashMap<Position, String>);

impl Routed {
    fn module(&mut self, store: &crate::store::Store, act: Position) -> Result<Option<String>> {
        let Some(act) = store.act(act)? else { return Ok(None) };
        if let Some(known) = self.0.get(&act.recipe) {
            return Ok(Some(known.clone()));
        }
        let Some(recipe) = store.recipe(act.recipe)? else { return Ok(None) };
        self.0.insert(act.recipe, recipe.module.clone());
        Ok(Some(recipe.module.clone()))
    }
}

/// Takes down what a build would say that only plans.
#[derive(Default)]
struct Seen {
    sources: Vec<SourceStatus>,
    planned: BTreeMap<String, Option<u64>>,
    to_do: bool,
    /// Nothing but the plan says so.
    only_plan: bool,
    notices: Vec<String>,
}

impl Sink for Seen {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Scanned(scanned) => self.sources.push(SourceStatus {
                source: scanned.source.clone(),
                documents: scanned.documents,
                new: scanned.new,
                changed: scanned.changed,
                gone: scanned.gone,
                problems: scanned.problems.clone(),
            }),
            Event::Plan { targets, up_to_date } => {
                let of = |source: &SourceStatus| source.documents + source.gone;
                let documents: u64 = self.sources.iter().map(of).sum();
                self.to_do |= !targets.is_empty() || *up_to_date < documents;
                self.planned =
                    targets.iter().map(|planned| (planned.target.clone(), planned.actions)).collect();
            }
            Event::Notice { message, .. } => self.notices.push(message.clone()),
            _ => {}
        }
    }
}
