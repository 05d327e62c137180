//! Finding the record that answers an action.
//!
//! Every record of the key, newest first: a key has one present result, whichever document it came from. A candidate counts only if its
//! whole key is equal (its parts prove it), its load set holds, it is not damaged, its bytes are there, no mark asks
//! for it to be done again, and it is a result: a passing fault answers nothing. Knows nothing of scheduling.

use std::sync::Arc;

use crate::engine::loads::PresentCode;
use crate::engine::marks::{EXPIRED, PlanAccept};
use crate::engine::policy::counts_against;
use crate::engine::target::TargetPlan;
use crate::error::Result;
use crate::hash::{Digest, Map};
use crate::model::action::{Act, ActionKey, KeyInput, Outcome, Place, Position};
use crate::model::document::DocId;
use crate::model::pipeline::{Hold, Settings};
use crate::model::reason::Reason;
use crate::plan::explain::{KeyParts, differences};
use crate::plan::key::{action_key, recipe_digest};
use crate::store::Store;

/// What is asked for.
pub struct Wanted<'a> {
    /// The target.
    pub plan: &'a TargetPlan,
    /// The document, for marks that select documents.
    pub id: &'a DocId,
    /// The key's own parts.
    pub inputs: &'a [KeyInput],
    /// The key.
    pub key: ActionKey,
    /// The document's own newest record in this target.
    pub own: Option<Position>,
}

/// Records, and what is remembered of them within a build.
pub struct Lookup {
    /// What load sets are compared with.
    pub present: PresentCode,
    recipes: Map<Position, Digest>,
}

impl Lookup {
    /// A look-up that remembers nothing yet.
    pub fn new(present: PresentCode) -> Self {
        Lookup { present, recipes: Map::default() }
    }

    /// The record that answers.
    pub fn find(&mut self, store: &Store, wanted: &Wanted<'_>) -> Result<Option<(Position, Arc<Act>)>> {
        for at in store.candidates(wanted.key.0.prefix()).into_iter().chain(wanted.own) {
            if let Some(act) = self.answers(store, at, wanted)? {
                return Ok(Some((at, act)));
            }
        }
        Ok(None)
    }

    /// The present result of a key that is to be done again all the same: it was asked for, or its bytes are lost.
    pub fn present_result(&mut self, store: &Store, wanted: &Wanted<'_>) -> Result<Option<Position>> {
        for at in store.candidates(wanted.key.0.prefix()) {
            let Some(act) = store.act(at)? else { continue };
            if self.is_equal(store, &act, wanted)? && is_result(&act) && self.holds(store, &act)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The document's own result where `hold` keeps it: paid or slow work is not redone unasked.
    pub fn held(
        &mut self,
        store: &Store,
        wanted: &Wanted<'_>,
        hold: Hold,
    ) -> Result<Option<(Position, Arc<Act>)>> {
        let Some(at) = wanted.own.filter(|at| !store.is_bad(*at)) else { return Ok(None) };
        let Some(act) = store.act(at)? else { return Ok(None) };
        let is_kept = match hold {
            Hold::Code => act.inputs.first() == wanted.inputs.first(),
            Hold::All => true,
        };
        let is_result = matches!(act.outcome, Outcome::Output(_) | Outcome::Skip(_));
        // A result that passes its input on is nothing without that input.
        let is_own = !matches!(&act.outcome, Outcome::Output(output)
            if output.place == Place::Input && act.inputs.first() != wanted.inputs.first());
        let is_asked_for = wanted.plan.marks.asks_again(wanted.id, &act).is_some();
        let counts = is_kept && is_result && is_own && !is_asked_for && bytes_are_there(store, &act);
        Ok(counts.then_some((at, act)))
    }

    /// The newest result of older code that was accepted for this key (`semantics.md` 15).
    pub fn accepted(&mut self, store: &Store, wanted: &Wanted<'_>) -> Result<Option<(Position, Arc<Act>)>> {
        let mut newest: Option<(Position, Arc<Act>)> = None;
        for accept in wanted.plan.marks.accepted() {
            for recipe in &accept.recipes {
                let key = action_key(recipe, wanted.inputs);
                for at in store.candidates(key.0.prefix()).into_iter().chain(wanted.own) {
                    if newest.as_ref().is_some_and(|(known, _)| *known >= at) || store.is_bad(at) {
                        continue;
                    }
                    let Some(act) = store.act(at)? else { continue };
                    let is_old = act.key == key.0.prefix()
                        && act.inputs == wanted.inputs
                        && act.mark < accept.number
                        && matches!(act.outcome, Outcome::Output(_))
                        && self.recipe_digest(store, act.recipe)? == Some(*recipe);
                    if is_old
                        && wanted.plan.marks.asks_accepted_again(wanted.id, &act, accept).is_none()
                        && bytes_are_there(store, &act)
                        && self.is_allowed(store, &act, accept)?
                    {
                        newest = Some((at, act));
                    }
                }
            }
        }
        Ok(newest)
    }

    fn is_allowed(&mut self, store: &Store, act: &Act, accept: &PlanAccept) -> Result<bool> {
        let Some(at) = act.loads else { return Ok(true) };
        let Some(loads) = store.loads(at)? else { return Ok(false) };
        Ok(accept.allows(&self.present.changes(&loads, &mut store.code_cache())))
    }

    fn answers(&mut self, store: &Store, at: Position, wanted: &Wanted<'_>) -> Result<Option<Arc<Act>>> {
        if store.is_bad(at) {
            return Ok(None);
        }
        let Some(act) = store.act(at)? else { return Ok(None) };
        let is_equal = self.is_equal(store, &act, wanted)?;
        let is_equal = is_equal && is_within(wanted.plan, &act);
        let is_asked_for = || wanted.plan.marks.asks_again(wanted.id, &act).is_some();
        let counts = is_equal && !is_asked_for() && is_result(&act) && bytes_are_there(store, &act);
        Ok((counts && self.holds(store, &act)?).then_some(act))
    }

    /// The records that count towards setting this key aside, newest first.
    pub fn faults(
        &mut self,
        store: &Store,
        wanted: &Wanted<'_>,
        settings: &Settings,
    ) -> Result<Vec<(Position, Arc<Act>)>> {
        let mut faults = Vec::new();
        for at in store.candidates(wanted.key.0.prefix()) {
            let Some(act) = store.act(at)? else { continue };
            if wanted.plan.marks.asks_again(wanted.id, &act).is_none()
                && counts_against(&act, settings)
                && self.is_equal(store, &act, wanted)?
                && self.holds(store, &act)?
            {
                faults.push((at, act));
            }
        }
        Ok(faults)
    }

    /// Whether a record is of this key: its parts prove it.
    fn is_equal(&mut self, store: &Store, act: &Act, wanted: &Wanted<'_>) -> Result<bool> {
        Ok(act.key == wanted.key.0.prefix()
            && act.inputs == wanted.inputs
            && self.recipe_digest(store, act.recipe)? == Some(wanted.plan.recipe_digest))
    }

    /// Whether what the record's worker had loaded is as it was.
    fn holds(&mut self, store: &Store, act: &Act) -> Result<bool> {
        let Some(at) = act.loads else { return Ok(true) };
        let Some(loads) = store.loads(at)? else { return Ok(false) };
        Ok(self.present.holds(at, &loads, &mut store.code_cache()))
    }

    fn recipe_digest(&mut self, store: &Store, at: Position) -> Result<Option<Digest>> {
        if let Some(known) = self.recipes.get(&at) {
            return Ok(Some(*known));
        }
        let Some(recipe) = store.recipe(at)? else { return Ok(None) };
        let digest = recipe_digest(&recipe);
        self.recipes.insert(at, digest);
        Ok(Some(digest))
    }

    /// Why nothing answers: the document's own last record against what is wanted. Never empty.
    pub fn reasons(&mut self, store: &Store, wanted: &Wanted<'_>) -> Result<Vec<Reason>> {
        let Some(at) = wanted.own else { return Ok(vec![Reason::NeverRun]) };
        let Some(act) = store.act(at)? else { return Ok(vec![Reason::OutputLost]) };
        let Some(recipe) = store.recipe(act.recipe)? else { return Ok(vec![Reason::OutputLost]) };
        if wanted.plan.in_route && recipe.module != wanted.plan.recipe.module {
            let (old, new) = (recipe.module.clone(), wanted.plan.recipe.module.clone());
            return Ok(vec![Reason::Route { old, new }]);
        }
        let old = KeyParts { recipe: &recipe, inputs: &act.inputs };
        let new = KeyParts { recipe: &wanted.plan.recipe, inputs: wanted.inputs };
        let mut reasons = differences(old, new);
        if !reasons.is_empty() {
            return Ok(reasons);
        }
        if let Some(mark) = wanted.plan.marks.asks_again(wanted.id, &act) {
            let is_reopened = !wanted.plan.marks.may_withdraw(wanted.id, &act, false);
            reasons.push(match mark {
                EXPIRED => Reason::Expired,
                mark if is_reopened => Reason::Reopened { mark },
                mark => Reason::Redo { mark },
            });
        }
        if let Some(at) = act.loads
            && let Some(loads) = store.loads(at)?
        {
            let files = self.present.changes(&loads, &mut store.code_cache());
            if !files.is_empty() {
                reasons.push(Reason::Code { files });
            }
        }
        if !is_within(wanted.plan, &act) {
            reasons.push(Reason::Limits);
        }
        if let Outcome::Failed(failure) = &act.outcome
            && !failure.is_kept()
        {
            reasons.push(Reason::PassingFault { failure: failure.summary() });
        }
        if reasons.is_empty() {
            reasons.push(Reason::OutputLost);
        }
        Ok(reasons)
    }
}

/// Whether a limit that a document was over is still that: limits are in no key.
fn is_within(plan: &TargetPlan, act: &Act) -> bool {
    match (&act.outcome, plan.limits) {
        (Outcome::Failed(failure), Some(limits)) if failure.error.starts_with("over max") => {
            limits.names().contains(&failure.error)
        }
        _ => true,
    }
}

/// Whether a record says how an action ends, and not that something got in its way.
pub fn is_result(act: &Act) -> bool {
    !matches!(&act.outcome, Outcome::Failed(failure) if !failure.is_kept())
}

fn bytes_are_there(store: &Store, act: &Act) -> bool {
    match &act.outcome {
        Outcome::Output(output) => store.is_there(output),
        _ => true,
    }
}
