//! One run: every action that ran in it, in the order in which it was recorded, with its document and its target.
//!
//! A record names its document by number and its module by recipe; which document and which target that is, the
//! stories of the run say, so the run is read twice. Takes some bytes of memory for each of its actions.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::documents::Documents;
use crate::error::{Error, Result};
use crate::model::action::{Act, Ended, Extras, Outcome, Position, Run, State, Used};
use crate::model::document::DocNumber;
use crate::model::reason::Reason;
use crate::query::find;
use crate::query::log::{Said, Shown, log_part, shown};
use crate::query::printed::LogPart;
use crate::query::{Answer, Asked, Tell};
use crate::store::Store;
use crate::store::frame::Frame;
use crate::time::Millis;

/// The run that is told of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHead {
    /// As it was recorded.
    #[serde(flatten)]
    pub run: Run,
    /// It is under way.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub building: bool,
}

/// One try of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// The document.
    pub doc: String,
    /// The target; of an action that no story tells of (its build was killed) its module.
    pub target: String,
    /// When it began.
    pub start: Millis,
    /// Microseconds.
    pub duration: u64,
    /// The number of the worker in the run.
    pub worker: u32,
    /// From 1, over all builds.
    pub attempt: u32,
    /// How it ended.
    pub state: State,
    /// What came of it.
    pub outcome: Shown,
    /// Why it ran.
    pub reasons: Vec<Reason>,
    /// What it took, as far as that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<Used>,
    /// What its module said beside its answer.
    #[serde(flatten)]
    pub said: Said,
    /// What its module printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogPart>,
}

/// Tells of a run and of all its actions.
pub fn run(asked: &Asked<'_>, number: Option<u32>, target: Option<&str>, tell: &mut Tell<'_>) -> Result<()> {
    let head = find(asked.store, number)?;
    let number = head.number;
    let told = Told::of(asked.store, number)?;
    if let Some(target) = target {
        is_known(asked, &told, target)?;
    }
    let named = target.map(|target| find::targets(asked.pipeline, target));
    let building = asked.is_build() && number == asked.store.run();
    tell(Answer::Run(Box::new(RunHead { run: head, building })))?;
    let mut names = Names::new(asked, &told);
    asked.store.visit_run(number, &mut |at, frame| {
        let Frame::Act(act) = frame else { return Ok(()) };
        if is_child(&act) {
            return Ok(());
        }
        let name = told.target(asked.store, at, &act)?;
        let is_meant = named.as_ref().is_none_or(|named| {
            let is_it = |ix: &crate::model::pipeline::TargetIx| asked.pipeline.target(*ix).name == *name;
            named.iter().any(is_it) || target == Some(&*name)
        });
        if !is_meant {
            return Ok(());
        }
        let doc = names.of(act.doc)?;
        tell(Answer::Action(Box::new(action(asked.store, &act, doc, name.to_string()))))
    })
}

/// A run by its number; the newest without one.
pub fn find(store: &Store, number: Option<u32>) -> Result<Run> {
    let runs = store.runs()?;
    let Some(newest) = runs.last().map(|run| run.number) else {
        return Err(Error::no_match("no run has recorded anything yet").hint("pipe build"));
    };
    let wanted = number.unwrap_or(newest);
    runs.into_iter().find(|run| run.number == wanted).ok_or_else(|| {
        let message = format!("there is no run {wanted}: it wrote nothing, or was collected");
        Error::no_match(message).hint("pipe report      lists all runs")
    })
}

/// Whether a record only says that a document is a part of another: nothing ran for it.
pub fn is_child(act: &Act) -> bool {
    act.inputs.iter().any(|input| input.facts.starts_with("{\"child\":"))
}

fn is_known(asked: &Asked<'_>, told: &Told, target: &str) -> Result<()> {
    let is_there = !find::targets(asked.pipeline, target).is_empty();
    if is_there || told.targets.iter().any(|name| &**name == target) {
        return Ok(());
    }
    let names = asked.pipeline.targets.iter().map(|target| target.name.as_str());
    let error = Error::no_match(format!("there is no target `{target}`"));
    Err(match crate::text::nearest(target, names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    })
}

fn action(store: &Store, act: &Act, doc: String, target: String) -> Action {
    let extras: Extras = serde_json::from_str(&act.extras).unwrap_or_default();
    let (state, outcome) = shown(&act.outcome);
    Action {
        doc,
        target,
        start: act.start,
        duration: act.duration,
        worker: act.worker,
        attempt: act.attempt,
        state,
        outcome,
        reasons: if extras.reasons.is_empty() { vec![Reason::NeverRun] } else { extras.reasons.clone() },
        used: extras.used,
        log: log_part(store, act, &extras.times),
        said: Said::of(extras, act.start),
    }
}

/// What the stories of a run say of its records.
pub struct Told {
    /// The targets that are named.
    targets: Vec<Arc<str>>,
    /// By record.
    of_act: HashMap<Position, u16>,
    /// By key, of those that were tried more than once.
    of_key: HashMap<u64, u16>,
    /// The frames that name documents.
    names: HashMap<DocNumber, Position>,
}

/// How the last build ended: runs of `redo`, `doctor` and the like after it do not count. Nothing: it is under way, or
/// there was none.
pub fn last_end(asked: &Asked<'_>) -> Result<Option<Ended>> {
    for run in asked.store.runs()?.iter().rev() {
        if let Some(ended) = asked.store.end_of(run.number)? {
            return Ok(Some(ended));
        }
        let is_build = run.command.iter().skip(1).any(|word| BUILDS.contains(&word.as_str()));
        if is_build && !asked.is_build() {
            // Nobody was left to say how.
            let why = "it was killed, or ended by an error".to_owned();
            return Ok(Some(Ended { run: run.number, why, ..Ended::default() }));
        }
        if is_build {
            break;
        }
    }
    Ok(None)
}

/// The commands that build.
const BUILDS: [&str; 3] = ["build", "watch", "retry"];

impl Told {
    /// Reads the stories of a run.
    pub fn of(store: &Store, number: u32) -> Result<Self> {
        let mut told = Told {
            targets: Vec::new(),
            of_act: HashMap::new(),
            of_key: HashMap::new(),
            names: HashMap::new(),
        };
        let mut again: HashMap<Position, u64> = HashMap::new();
        let mut definitions: HashMap<Position, Vec<u16>> = HashMap::new();
        store.visit_run(number, &mut |at, frame| {
            match frame {
                Frame::Act(act) if act.attempt > 1 || matches!(act.outcome, Outcome::Failed(_)) => {
                    again.insert(at, act.key);
                }
                Frame::Story(story) => {
                    told.names.insert(story.doc, story.names);
                    if let std::collections::hash_map::Entry::Vacant(vacant) =
                        definitions.entry(story.definition)
                    {
                        let definition = store.definition(story.definition)?;
                        let names = definition.iter().flat_map(|definition| &definition.targets);
                        vacant.insert(names.map(|target| told.number(&target.name)).collect());
                    }
                    let targets = &definitions[&story.definition];
                    for (entry, target) in story.entries.iter().zip(targets) {
                        if let Some(act) = entry.act {
                            told.of_act.insert(act, *target);
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        for (at, key) in again {
            if let Some(target) = told.of_act.get(&at) {
                told.of_key.insert(key, *target);
            }
        }
        Ok(told)
    }

    fn number(&mut self, name: &str) -> u16 {
        let known = self.targets.iter().position(|known| &**known == name);
        known.unwrap_or_else(|| {
            self.targets.push(Arc::from(name));
            self.targets.len() - 1
        }) as u16
    }

    /// Whether a record is what a story of the run says, and no try before it.
    pub fn is_last(&self, at: Position) -> bool {
        self.of_act.contains_key(&at)
    }

    /// The target of a record.
    pub fn target(&self, store: &Store, at: Position, act: &Act) -> Result<Arc<str>> {
        let known = self.of_act.get(&at).or_else(|| self.of_key.get(&act.key));
        if let Some(name) = known.and_then(|number| self.targets.get(usize::from(*number))) {
            return Ok(Arc::clone(name));
        }
        let recipe = store.recipe(act.recipe)?;
        Ok(recipe.map_or_else(|| Arc::from("?"), |recipe| Arc::from(recipe.module.as_str())))
    }
}

/// Ids of documents by their numbers.
pub struct Names<'a> {
    asked: &'a Asked<'a>,
    told: &'a Told,
    /// Those that no story of the run names, found by a pass over all pages.
    others: HashMap<DocNumber, String>,
}

impl<'a> Names<'a> {
    /// As the stories of a run tell them.
    pub fn new(asked: &'a Asked<'a>, told: &'a Told) -> Self {
        Names { asked, told, others: HashMap::new() }
    }

    /// The id of a document; `document 7` if it is not known.
    pub fn of(&mut self, number: DocNumber) -> Result<String> {
        if let Some(names) = self.told.names.get(&number)
            && let Some(id) = self.asked.store.id_of(number, *names)?
        {
            return Ok(id.to_string());
        }
        if let Some(known) = self.others.get(&number) {
            return Ok(known.clone());
        }
        let name = Documents::new(self.asked.pipeline, self.asked.store).name_of(number)?;
        let name = name.unwrap_or_else(|| format!("document {}", number.0));
        self.others.insert(number, name.clone());
        Ok(name)
    }
}
