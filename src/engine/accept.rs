//! Declaring results of older code valid under the present code (`semantics.md` 15).
//!
//! That is a mark as well: the target, the fingerprints that its results were made by, and the present one. Where the new
//! key has no record, a build takes the newest older output with equal inputs and params. Failures, results with other
//! params, and what the old code makes later are not covered.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::engine::Parts;
use crate::engine::loads::PresentCode;
use crate::engine::survey::Survey;
use crate::engine::target::TargetPlan;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{Accepted, Act, Mark, Outcome, Position, Recipe, State};
use crate::model::pipeline::{ModuleIx, TargetIx};
use crate::model::reason::FileChange;
use crate::plan::key::{fingerprint, recipe_digest, recipe_digest_by};

/// What is accepted in one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AcceptedTarget {
    /// The target.
    pub target: String,
    /// Documents whose outputs are valid under the present code.
    pub documents: u64,
    /// Those whose outputs were made by it, or accepted before.
    pub up_to_date: u64,
    /// Those that failed or were skipped: the new code decides them.
    pub not_outputs: u64,
    /// Those whose outputs were made with other params or shared side inputs.
    pub others: u64,
    /// The files of the code that differ.
    pub code: Vec<String>,
}

/// What is found of one module in a target.
#[derive(Default)]
struct Found {
    from: BTreeSet<Digest>,
    loaded: BTreeMap<String, Option<Digest>>,
}

/// Accepts the outputs of these targets as they are. With `module` only those that it made.
///
/// # Errors
///
/// If the store cannot be read or written.
pub fn accept(
    parts: &Parts<'_>,
    targets: &BTreeSet<TargetIx>,
    only: &BTreeMap<TargetIx, BTreeSet<ModuleIx>>,
    dry_run: bool,
) -> Result<Vec<AcceptedTarget>> {
    let mut survey = Survey::new(parts, targets, None)?;
    let mut answers: BTreeMap<String, AcceptedTarget> = BTreeMap::new();
    let mut found: BTreeMap<(String, Digest), Found> = BTreeMap::new();
    let mut looking = Looking { parts, present: PresentCode::new(&parts.sites), known: HashMap::new() };
    survey.visit(&mut |meant, standing| {
        if standing.is_made {
            // A child has no output of its own in the split that made it.
            return Ok(false);
        }
        let answer = answers.entry(meant.target.clone()).or_default();
        let entry = standing.entry;
        let act = Survey::act(parts, entry)?;
        let Some(act) = act.filter(|_| !matches!(entry.state, State::Unfinished | State::Absent)) else {
            return Ok(false);
        };
        let Some(recipe) = parts.store.recipe(act.recipe)? else { return Ok(false) };
        let is_it = |module: &ModuleIx| parts.pipeline.module(*module).name == recipe.module;
        if only.get(&meant.plan.ix).is_some_and(|only| !only.iter().any(is_it)) {
            return Ok(false);
        }
        if !matches!(act.outcome, Outcome::Output(_)) {
            answer.not_outputs += 1;
            return Ok(false);
        }
        let plan = meant.plan.call_named(&recipe.module);
        let seen = if plan.in_route && plan.recipe.module != recipe.module {
            Seen::Other
        } else {
            looking.compare(plan, &act, &recipe)?
        };
        match seen {
            Seen::Present => answer.up_to_date += 1,
            Seen::Other => answer.others += 1,
            Seen::Older(code) if plan.marks.is_accepted(standing.id, &act, &code.recipe, &code.changes) => {
                answer.up_to_date += 1;
            }
            Seen::Older(code) => {
                answer.documents += 1;
                let found = found.entry((meant.target.clone(), plan.fingerprint)).or_default();
                found.from.insert(code.fingerprint);
                for change in &code.changes {
                    found.loaded.insert(change.file.clone(), change.new);
                }
                for file in &code.files {
                    if !answer.code.contains(file) {
                        answer.code.push(file.clone());
                    }
                }
            }
        }
        Ok(false)
    })?;
    let of = |meant: &crate::engine::survey::Meant| AcceptedTarget {
        target: meant.target.clone(),
        ..answers.get(&meant.target).cloned().unwrap_or_default()
    };
    let answer: Vec<AcceptedTarget> = survey.meant.iter().map(of).collect();
    if dry_run || found.is_empty() {
        return Ok(answer);
    }
    let accepts = found.into_iter().map(|((name, to), found)| Accepted {
        name,
        from: found.from.into_iter().collect(),
        to,
        loaded: found.loaded.into_iter().collect(),
    });
    parts.store.add_mark(Mark {
        number: parts.store.newest_mark() + 1,
        time: crate::time::now(),
        accepts: accepts.collect(),
        ..Mark::default()
    })?;
    Ok(answer)
}

/// How the code by which a result was made stands to the present.
#[derive(Clone)]
enum Seen {
    /// It is the same.
    Present,
    /// It is older, and that is all.
    Older(Arc<Older>),
    /// Something else is different too.
    Other,
}

struct Older {
    fingerprint: Digest,
    recipe: Digest,
    /// Files that differ, those of the load set too.
    files: Vec<String>,
    /// What of the load set is not as it was, as it is now.
    changes: Vec<FileChange>,
}

/// Compares recipes and load sets, each pair once.
struct Looking<'a> {
    parts: &'a Parts<'a>,
    present: PresentCode,
    known: HashMap<(Position, Option<Position>, Digest), Seen>,
}

impl Looking<'_> {
    fn compare(&mut self, plan: &TargetPlan, act: &Act, recipe: &Recipe) -> Result<Seen> {
        let at = (act.recipe, act.loads, plan.recipe_digest);
        if let Some(known) = self.known.get(&at) {
            return Ok(known.clone());
        }
        let changes = match act.loads {
            None => Vec::new(),
            Some(loads) => match self.parts.store.loads(loads)? {
                Some(loads) => self.present.changes(&loads, &mut self.parts.store.code_cache()),
                None => return Ok(Seen::Other),
            },
        };
        let old = recipe_digest(recipe);
        let fingerprint = fingerprint(recipe);
        let seen = if old == plan.recipe_digest && changes.is_empty() {
            Seen::Present
        } else if recipe_digest_by(&plan.recipe, &fingerprint) == old {
            let new: HashMap<&String, &Digest> =
                plan.recipe.files.iter().map(|(file, new)| (file, new)).collect();
            let before: HashMap<&String, &Digest> =
                recipe.files.iter().map(|(file, old)| (file, old)).collect();
            let names: BTreeSet<&String> = new.keys().chain(before.keys()).copied().collect();
            let differ = names.into_iter().filter(|name| new.get(name) != before.get(name)).cloned();
            let files: BTreeSet<String> =
                differ.chain(changes.iter().map(|change| change.file.clone())).collect();
            let files = files.into_iter().collect();
            Seen::Older(Arc::new(Older { fingerprint, recipe: old, files, changes }))
        } else {
            Seen::Other
        };
        self.known.insert(at, seen.clone());
        Ok(seen)
    }
}
