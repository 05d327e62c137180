//! The story of one document: every run in which anything happened to it, in all targets, from records alone.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::board::Held;
use crate::engine::document::Before;
use crate::engine::documents::Documents;
use crate::engine::marks::accepted_why;
use crate::engine::policy::SET_ASIDE;
use crate::engine::sets::before;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Act, Extras, Origin, Outcome, Place, Position, Run, State, StoryEntry, Used};
use crate::model::document::{CHILDREN, DocNumber};
use crate::model::failure::Failure;
use crate::model::reason::Reason;
use crate::query::Asked;
use crate::query::find::{self, Found};
use crate::query::lineage::{self, Lineage};
use crate::query::printed::LogPart;
use crate::store::{Entry, Store};
use crate::text::nearest;
use crate::time::Millis;

/// What happened to a document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Its id.
    pub doc: String,
    /// The newest last.
    pub runs: Vec<RunBlock>,
    /// It is gone from its source.
    #[serde(default)]
    pub gone: bool,
    /// A build has it in hand: more may come.
    #[serde(default)]
    pub open: bool,
    /// A build is under way.
    #[serde(default)]
    pub building: bool,
    /// What was before the first of these runs was collected.
    #[serde(default)]
    pub collected: bool,
    /// What it comes from, and what was made of it beside its own results.
    #[serde(default)]
    pub lineage: Lineage,
}

/// Which part of a document's story is asked for; absent: all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Only {
    /// This target, or those of this module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// This run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u32>,
    /// This try of each action, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// What happened in one run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunBlock {
    /// The run.
    pub run: u32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Millis>,
    /// The command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The machine; empty where it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// What became of the document's own bytes.
    pub content: ContentChange,
    /// Targets in which something happened, in the pipeline's order.
    pub steps: Vec<Step>,
    /// Targets that stayed as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unchanged: Vec<String>,
}

/// What became of a document's own bytes; of a set, of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum ContentChange {
    /// Nothing.
    #[default]
    Same,
    /// Seen for the first time, or again.
    New {
        /// Of the bytes.
        digest: Option<Digest>,
    },
    /// Other bytes.
    Changed {
        /// Before.
        old: Option<Digest>,
        /// Now; absent: they could not be read.
        new: Option<Digest>,
    },
    /// Gone from its source; its results were retired.
    Gone,
}

/// What happened in one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The target.
    pub target: String,
    /// How the document stands there since.
    pub state: State,
    /// Of a target with a route: the module that it chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How that came.
    pub decision: Decision,
    /// What came of it.
    pub outcome: Shown,
    /// The tries of this run before the one that counts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// What the module said beside its answer.
    #[serde(flatten)]
    pub said: Said,
    /// It was the end of its worker too often, and is not tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub set_aside: bool,
    /// What the module printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPart>,
    /// Where the result is shown, relative to the project's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// What tells this step from others of the same target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Position>,
}

/// What a module said beside its answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// Of a failure, or in hand: how far it says that it is, and of how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<(f64, Option<f64>)>,
    /// When it said how far it was, and of how much. Of what failed, and of work of a second or more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<(Millis, f64, Option<f64>)>,
    /// Its warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Value>,
    /// When it warned, warning by warning; records of before this was kept have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned: Vec<Millis>,
    /// What it counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<String, f64>,
}

impl Said {
    /// What a record says that began at `start`.
    pub(super) fn of(extras: Extras, start: Millis) -> Self {
        let at = |after: u64| Millis(start.0.saturating_add(after));
        Said {
            progress: extras.progress,
            reached: extras
                .reached
                .into_iter()
                .map(|(after, done, total)| (at(after), done, total))
                .collect(),
            warnings: extras.warnings,
            warned: extras.warned.into_iter().map(at).collect(),
            counts: extras.counts,
        }
    }
}

/// A try that met a passing fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Try {
    /// From 1, over all builds.
    pub attempt: u32,
    /// When.
    pub start: Millis,
    /// Microseconds.
    pub duration: u64,
    /// The number of the worker in the run.
    pub worker: u32,
    /// How it ended.
    pub failure: Failure,
    /// What it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// What the module said beside its answer.
    #[serde(flatten)]
    pub said: Said,
    /// What the module printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPart>,
}

/// How a document came to its state in a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Decision {
    /// The module ran.
    Ran {
        /// Why.
        reasons: Vec<Reason>,
        /// When.
        start: Millis,
        /// Microseconds.
        duration: u64,
        /// The number of the worker in the run.
        worker: u32,
        /// From 1.
        attempt: u32,
        /// Processor time and memory, as far as they were measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        used: Option<Used>,
    },
    /// A record of the same action answered.
    Reused {
        /// The run that made it.
        run: u32,
        /// The document that it was made for, if it is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        doc: Option<String>,
    },
    /// `pipe accept` declared a result of older code valid.
    Accepted {
        /// The run that made it.
        run: u32,
        /// What is different about the code.
        why: String,
    },
    /// Somebody else's, from the shared cache.
    Taken {
        /// Whose.
        origin: Origin,
    },
    /// It is a part of another document.
    Split {
        /// Which.
        parent: String,
    },
    /// It follows from what stands before it; nothing had to run.
    Decided,
    /// A worker of the running build has it.
    InHand {
        /// The number of the worker in the run.
        worker: u32,
        /// Since when it works on it; of one that waits behind others, since when it has it.
        since: Millis,
        /// So many documents come before it.
        behind: usize,
    },
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Shown {
    /// A result.
    Output {
        /// In bytes.
        size: u64,
        /// Of the bytes.
        digest: Digest,
        /// Its extension.
        ext: String,
        /// Its own meta.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        meta: Value,
        /// It is its input, passed on unchanged.
        #[serde(default)]
        same: bool,
        /// Of a folder: how many files it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        files: Option<u64>,
    },
    /// Left out on purpose.
    Skip {
        /// Why.
        reason: String,
    },
    /// It failed.
    Failed {
        /// How.
        failure: Failure,
    },
    /// Nothing but the state, with what there is to say.
    Nothing {
        /// Empty if there is nothing.
        #[serde(default)]
        note: String,
    },
}

/// The timeline of a document.
pub fn timeline(asked: &Asked<'_>, doc: &str, only: &Only) -> Result<Timeline> {
    let documents = Documents::new(asked.pipeline, asked.store);
    let found = find::document(asked, &documents, doc)?;
    let mut reader = Reader { asked, documents: &documents, found: &found, names: HashMap::new() };
    let mut timeline = reader.timeline()?;
    if let Some(number) = only.run {
        let known: Vec<String> = timeline.runs.iter().map(|run| run.run.to_string()).collect();
        timeline.runs.retain(|run| run.run == number);
        if timeline.runs.is_empty() {
            let message = format!("nothing happened to {} in run {number}", found.id);
            let error = Error::no_match(message);
            return Err(if known.is_empty() {
                error
            } else {
                error.hint(format!("its runs are {}", known.join(", ")))
            });
        }
    }
    if let Some(target) = &only.target {
        only_target(&mut timeline, asked, target)?;
    }
    if let Some(attempt) = only.attempt {
        only_attempt(&mut timeline, attempt);
        if timeline.runs.is_empty() {
            return Err(Error::no_match(format!("no action on {} had an attempt {attempt}", found.id))
                .hint(format!("pipe log {}", crate::text::shell_word(found.id.as_str()))));
        }
    }
    timeline.lineage = lineage::lineage(asked, &documents, &found)?;
    Ok(timeline)
}

/// Leaves the one try of each action, in the place of what came of it in the end.
fn only_attempt(timeline: &mut Timeline, number: u32) {
    for run in &mut timeline.runs {
        run.unchanged.clear();
        run.steps.retain_mut(|step| {
            if matches!(step.decision, Decision::Ran { attempt, .. } if attempt == number) {
                step.tries.clear();
                return true;
            }
            let tries = std::mem::take(&mut step.tries);
            let Some(tried) = tries.into_iter().find(|tried| tried.attempt == number) else { return false };
            let Decision::Ran { reasons, .. } = &step.decision else { return false };
            let Try { attempt, start, duration, worker, failure, used, said, log } = tried;
            let decision = Decision::Ran { reasons: reasons.clone(), start, duration, worker, attempt, used };
            let outcome = Shown::Failed { failure };
            *step = Step {
                decision,
                outcome,
                said,
                log,
                by: step.by.take(),
                ..bare(&step.target, State::Failed)
            };
            true
        });
    }
    timeline.runs.retain(|run| !run.steps.is_empty());
}

fn only_target(timeline: &mut Timeline, asked: &Asked<'_>, target: &str) -> Result<()> {
    let named: Vec<&str> = find::targets(asked.pipeline, target)
        .iter()
        .map(|ix| asked.pipeline.target(*ix).name.as_str())
        .collect();
    let steps = timeline.runs.iter().flat_map(|run| &run.steps).map(|step| step.target.as_str());
    let mut known: Vec<String> = steps.map(str::to_owned).collect();
    known.extend(asked.pipeline.targets.iter().map(|target| target.name.clone()));
    if named.is_empty() && !known.iter().any(|name| name == target) {
        let error = Error::no_match(format!("there is no target `{target}`"));
        return Err(match nearest(target, known.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    }
    let is_meant = |name: &str| name == target || named.contains(&name);
    for run in &mut timeline.runs {
        run.steps.retain(|step| is_meant(&step.target));
        run.unchanged.retain(|name| is_meant(name));
    }
    timeline.runs.retain(|run| !run.steps.is_empty());
    Ok(())
}

struct Reader<'a> {
    asked: &'a Asked<'a>,
    documents: &'a Documents<'a>,
    found: &'a Found,
    names: HashMap<DocNumber, Option<String>>,
}

impl Reader<'_> {
    fn store(&self) -> &Store {
        self.asked.store
    }

    fn timeline(&mut self) -> Result<Timeline> {
        let runs: HashMap<u32, Run> = self.store().runs()?.into_iter().map(|run| (run.number, run)).collect();
        let mut timeline = Timeline {
            doc: self.found.id.to_string(),
            gone: self.found.entry.as_ref().is_some_and(|entry| entry.flags.gone),
            building: self.asked.is_build(),
            ..Timeline::default()
        };
        let (stories, collected) = told(self.store(), self.found.entry.as_ref())?;
        timeline.collected = collected;
        let mut last: Option<&Before> = None;
        for told in &stories {
            let mut block = self.block(told, last)?;
            if last.is_none() && collected && !told.story.gone {
                // What it was before is not known any more.
                block.content = ContentChange::Same;
            }
            if last.is_none() || !block.steps.is_empty() || block.content != ContentChange::Same {
                timeline.runs.push(block);
            }
            last = Some(told);
        }
        let mut open = self.open_steps(last)?;
        open.extend(self.held_steps());
        timeline.open = !open.is_empty();
        if !open.is_empty() {
            let run = self.store().run();
            match timeline.runs.last_mut().filter(|block| block.run == run) {
                Some(block) => block.steps.extend(open),
                None => timeline.runs.push(RunBlock { run, steps: open, ..RunBlock::default() }),
            }
        }
        for block in &mut timeline.runs {
            if let Some(run) = runs.get(&block.run) {
                block.start = Some(run.start);
                block.command.clone_from(&run.command);
                block.host.clone_from(&run.host);
            }
        }
        Ok(timeline)
    }

    fn block(&mut self, told: &Before, last: Option<&Before>) -> Result<RunBlock> {
        let mut block =
            RunBlock { run: told.story.run, content: content_change(told, last), ..RunBlock::default() };
        if told.story.gone {
            return Ok(block);
        }
        for (defined, entry) in told.definition.targets.iter().zip(&told.story.entries) {
            let old = last.filter(|last| !last.story.gone).and_then(|last| last.entry(&defined.name));
            let is_same =
                |old: &StoryEntry| old.state == entry.state && old.act == entry.act && old.note == entry.note;
            if old.is_some_and(is_same) {
                block.unchanged.push(defined.name.clone());
                continue;
            }
            if entry.state == State::Absent && entry.act.is_none() {
                continue;
            }
            let mut step = self.step(&defined.name, entry, told)?;
            if entry.published {
                step.published = self.published(told, &defined.name, defined.publish.as_deref())?;
            }
            block.steps.push(step);
        }
        Ok(block)
    }

    fn step(&mut self, target: &str, entry: &StoryEntry, told: &Before) -> Result<Step> {
        let act = match entry.act {
            Some(at) if entry.state != State::Unfinished => self.store().act(at)?,
            _ => None,
        };
        let Some(act) = act else {
            let lost = entry.act.is_some() && entry.state != State::Unfinished;
            return Ok(Step {
                outcome: if lost && entry.act.is_some_and(|at| self.store().is_collected(at)) {
                    Shown::Nothing { note: "collected".into() }
                } else if lost {
                    Shown::Nothing { note: "its record cannot be read".into() }
                } else {
                    noted(entry)
                },
                ..bare(target, entry.state)
            });
        };
        let is_own = act.doc == told.story.doc;
        let mut step = self.of_act(target, &act, is_own && act.run == told.story.run)?;
        step.act = entry.act;
        if let (Some(at), Decision::Ran { .. }) = (entry.act, &step.decision) {
            step.tries = self.tries(at, &act)?;
        }
        step.state = entry.state;
        let split = self.found.family.strip_suffix(CHILDREN);
        if split == Some(target) {
            let parent = self.found.id.parent().map(|parent| parent.to_string()).unwrap_or_default();
            step.decision = Decision::Split { parent };
        }
        if let Some(why) = accepted_why(&entry.note) {
            step.decision = Decision::Accepted { run: act.run, why: why.to_owned() };
        }
        step.set_aside = entry.state == State::Failed && entry.note == SET_ASIDE;
        if crate::store::is_failed(entry) && entry.state == State::Done {
            step.outcome = noted(entry);
        }
        Ok(step)
    }

    fn of_act(&mut self, target: &str, act: &Act, ran: bool) -> Result<Step> {
        let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
        let (state, outcome) = shown(&act.outcome);
        let mut step = Step { outcome, ..bare(target, state) };
        if let (Outcome::Output(output), Shown::Output { size, files, .. }) =
            (&act.outcome, &mut step.outcome)
            && let Some((folder, _)) = self.store().folder(output)?
        {
            (*size, *files) = (folder.bytes(), Some(folder.files.len() as u64));
        }
        let of = self.asked.pipeline.find_target(target).map(|ix| self.asked.pipeline.target(ix));
        if of.is_some_and(|of| of.route().is_some()) {
            step.by = self.store().recipe(act.recipe)?.map(|recipe| recipe.module.clone());
        }
        if let (true, Some(origin)) = (ran, &extras.origin) {
            step.said.warnings = extras.warnings;
            step.decision = Decision::Taken { origin: origin.clone() };
        } else if ran {
            let reasons = extras.reasons.clone();
            let reasons = if reasons.is_empty() { vec![Reason::NeverRun] } else { reasons };
            let (start, duration, worker, attempt) = (act.start, act.duration, act.worker, act.attempt);
            step.decision = Decision::Ran { reasons, start, duration, worker, attempt, used: extras.used };
            step.log = log_part(self.store(), act, &extras.times);
            step.said = Said::of(extras, start);
        } else {
            step.decision = Decision::Reused { run: act.run, doc: self.name_of(act.doc)? };
        }
        Ok(step)
    }

    /// The tries of the same action in the same run before the one at `at`: no story names them, their key does.
    fn tries(&self, at: Position, last: &Act) -> Result<Vec<Try>> {
        if last.attempt < 2 {
            return Ok(Vec::new());
        }
        let mut tries = Vec::new();
        for place in self.store().candidates(last.key).into_iter().filter(|place| *place < at) {
            let Some(act) = self.store().act(place)? else { continue };
            let is_its = act.key == last.key && act.run == last.run && act.doc == last.doc;
            if let (true, Outcome::Failed(failure)) = (is_its && act.recipe == last.recipe, &act.outcome) {
                let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
                tries.push(Try {
                    attempt: act.attempt,
                    start: act.start,
                    duration: act.duration,
                    worker: act.worker,
                    failure: failure.clone(),
                    used: extras.used,
                    log: log_part(self.store(), &act, &extras.times),
                    said: Said::of(extras, act.start),
                });
            }
        }
        tries.sort_by_key(|tried| tried.attempt);
        Ok(tries)
    }

    /// What an open document has so far in a running build.
    fn open_steps(&mut self, last: Option<&Before>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for (target, at) in self.store().open_results(&self.found.id) {
            let target = self.asked.pipeline.target(target).name.clone();
            let is_told =
                last.and_then(|last| last.entry(&target)).is_some_and(|entry| entry.act == Some(at));
            if is_told {
                continue;
            }
            let Some(act) = self.store().act(at)? else { continue };
            steps.push(Step { act: Some(at), ..self.of_act(&target, &act, act.run == self.store().run())? });
        }
        Ok(steps)
    }

    /// The targets in which a running build works on it just now.
    fn held_steps(&self) -> Vec<Step> {
        let its = self.asked.in_hand().into_iter().filter(|held| held.doc == self.found.id.as_str());
        let step = |held: Held| {
            let Held { target, worker, since, behind, progress, log, times, .. } = held;
            let log = log.and_then(|(file, from)| {
                let length =
                    std::fs::metadata(&file).ok()?.len().checked_sub(from).filter(|length| *length > 0)?;
                let times = times.into_iter().filter(|(at, _)| *at > from);
                let mut times: Vec<_> = times.map(|(at, when)| ((at - from).min(length), when)).collect();
                // What nobody has seen before is new.
                times.push((length, crate::time::now()));
                Some(LogPart { file, from, length, times })
            });
            let decision = Decision::InHand { worker, since, behind };
            let said = Said { progress, ..Said::default() };
            Step { decision, said, log, ..bare(&target, State::Unfinished) }
        };
        its.map(step).collect()
    }

    /// The id of the document that a record was made for; nothing if it is this one.
    fn name_of(&mut self, number: DocNumber) -> Result<Option<String>> {
        if self.found.entry.as_ref().is_some_and(|entry| entry.doc == number) {
            return Ok(None);
        }
        if !self.names.contains_key(&number) {
            let name = self.documents.name_of(number)?;
            self.names.insert(number, name);
        }
        Ok(self.names.get(&number).cloned().flatten())
    }

    fn published(&self, told: &Before, target: &str, template: Option<&str>) -> Result<Option<String>> {
        let (Some(ix), Some(entry)) = (self.found.family(self.documents), &self.found.entry) else {
            return Ok(None);
        };
        let document = self.documents.as_told(ix, &self.found.dir, entry, told.clone())?;
        Ok(lineage::shown_at(self.documents, &document, target, template))
    }
}

/// What a record's module printed for it.
pub fn log_part(store: &Store, act: &Act, times: &[(u64, u64)]) -> Option<LogPart> {
    act.log.filter(|range| range.length > 0).map(|range| LogPart {
        file: store.worker_log(act.run, act.worker),
        from: range.from,
        length: range.length,
        times: times.iter().map(|(at, after)| (*at, Millis(act.start.0.saturating_add(*after)))).collect(),
    })
}

/// The last story of each run, oldest first. (A run writes one for each stratum.)
pub fn stories(store: &Store, entry: Option<&Entry>) -> Result<Vec<Before>> {
    Ok(told(store, entry)?.0)
}

/// The same, and whether what was before them was collected.
fn told(store: &Store, entry: Option<&Entry>) -> Result<(Vec<Before>, bool)> {
    let mut stories: Vec<Before> = Vec::new();
    let mut collected = false;
    let mut next = entry.map(|entry| entry.story);
    while let Some(at) = next {
        // A story that cannot be read ends the chain: what is older cannot be found from here.
        let Some(told) = before(store, at)? else {
            collected = store.is_collected(at);
            break;
        };
        // Positions grow with time; anything else would go in circles.
        next = told.story.previous.filter(|previous| *previous < at);
        if stories.last().is_none_or(|newer| newer.story.run != told.story.run) {
            stories.push(told);
        }
    }
    stories.reverse();
    Ok((stories, collected))
}

fn bare(target: &str, state: State) -> Step {
    Step {
        target: target.to_owned(),
        state,
        by: None,
        decision: Decision::Decided,
        outcome: Shown::Nothing { note: String::new() },
        tries: Vec::new(),
        said: Said::default(),
        set_aside: false,
        log: None,
        published: None,
        act: None,
    }
}

/// What an entry without a record says.
fn noted(entry: &StoryEntry) -> Shown {
    if crate::store::is_failed(entry)
        && let Ok(failure) = serde_json::from_str(&entry.note)
    {
        return Shown::Failed { failure };
    }
    match entry.state {
        State::Skipped => Shown::Skip { reason: entry.note.clone() },
        _ => Shown::Nothing { note: entry.note.clone() },
    }
}

/// A record's outcome, and the state that it stands for.
pub fn shown(outcome: &Outcome) -> (State, Shown) {
    match outcome {
        Outcome::Output(output) => {
            let meta = serde_json::from_str(&output.meta).unwrap_or(Value::Null);
            let (size, digest, ext) = (output.length, output.digest, output.ext.clone());
            let same = output.place == Place::Input;
            (State::Done, Shown::Output { size, digest, ext, meta, same, files: None })
        }
        Outcome::Skip(reason) => (State::Skipped, Shown::Skip { reason: reason.clone() }),
        Outcome::Failed(failure) => (State::Failed, Shown::Failed { failure: failure.clone() }),
    }
}

fn content_change(told: &Before, last: Option<&Before>) -> ContentChange {
    let new = told.story.content;
    match last {
        _ if told.story.gone => ContentChange::Gone,
        None => ContentChange::New { digest: new },
        Some(last) if last.story.gone => ContentChange::New { digest: new },
        Some(last) if last.story.content != new => ContentChange::Changed { old: last.story.content, new },
        Some(_) => ContentChange::Same,
    }
}
