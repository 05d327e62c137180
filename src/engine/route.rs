//! `route`: which of a target's modules takes a document, or what becomes of it without one.
//!
//! The first branch whose test passes. Each module of a route has a plan of its own, so only the chosen one is in the
//! key; `do = "pass"` is planned as a module that has no program. Runs nothing.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::target::{ModuleFacts, PASS, Shared, TargetPlan, identity};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::Mark;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::{BranchAction, ModuleIx, Pipeline, Target, TargetIx};
use crate::model::selection::Field;

/// What a branch does with a document.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// The plan at this place in [`TargetPlan::calls`] holds.
    Call(usize),
    /// It is left out, with the reason.
    Skip(String),
    /// It fails.
    Fail(Failure),
}

/// The branch of a route that takes a document, counted from 0. The last takes every document.
pub fn branch(target: &Target, lookup: &dyn Fn(&Field) -> Option<Value>) -> usize {
    let branches = target.route().unwrap_or_default();
    let takes = |test: &crate::model::selection::Test| test.passes(lookup);
    let found = branches.iter().position(|branch| branch.test.as_ref().is_none_or(takes));
    found.unwrap_or_else(|| branches.len().saturating_sub(1))
}

/// What becomes of the documents of a branch.
pub fn chosen(target: &Target, plan: &TargetPlan, number: usize) -> Chosen {
    let Some(branch) = target.route().and_then(|branches| branches.get(number)) else {
        return Chosen::Call(0);
    };
    match branch.action {
        BranchAction::Module(ix) => Chosen::Call(plan.call_of(Some(ix))),
        BranchAction::Pass => Chosen::Call(plan.call_of(None)),
        BranchAction::Skip => Chosen::Skip(format!("by its route: {}", words(target, number))),
        BranchAction::Fail => {
            let message = format!("the route of `{}` fails it: {}", target.name, words(target, number));
            Chosen::Fail(Failure::new(FailureKind::Refused, "", message))
        }
    }
}

/// A branch as people read it: `{ meta.scanned = true }`.
pub fn words(target: &Target, number: usize) -> String {
    let test = target.route().and_then(|branches| branches.get(number)?.test.as_ref());
    test.map_or_else(|| "no test before it passes".to_owned(), ToString::to_string)
}

/// What a branch does, in one word: the module's name, `pass`, `skip` or `fail`.
pub fn action(pipeline: &Pipeline, target: &Target, number: usize) -> String {
    match target.route().and_then(|branches| branches.get(number)).map(|branch| &branch.action) {
        Some(BranchAction::Module(ix)) => pipeline.module(*ix).name.clone(),
        Some(BranchAction::Pass) => PASS.to_owned(),
        Some(BranchAction::Skip) => "skip".to_owned(),
        Some(BranchAction::Fail) => "fail".to_owned(),
        None => String::new(),
    }
}

/// The plan of a target with a route: its modules in order, then `pass`. `plan` makes that of one module.
pub fn plan(
    pipeline: &Pipeline,
    ix: TargetIx,
    shared: &[(String, Shared)],
    marks: &[Mark],
    plan: &mut dyn FnMut(ModuleIx) -> TargetPlan,
) -> TargetPlan {
    let target = pipeline.target(ix);
    let mut calls: Vec<TargetPlan> = pipeline.modules_of(ix).into_iter().map(plan).collect();
    let program = vec![("kind".to_owned(), PASS.to_owned())];
    let facts = ModuleFacts {
        identity: identity(&program),
        program,
        files: Vec::new(),
        declares: Some(Vec::new()),
        service: None,
    };
    let pass = TargetPlan::new(pipeline, ix, None, &facts, Vec::new(), marks, &Digest::default());
    calls.push(pass.clone());
    let definition = definition(target, &calls);
    // Plans of modules share their definition: what decides a document is the whole route.
    calls.iter_mut().for_each(|call| call.definition = definition);
    TargetPlan { calls, definition, shared: shared.to_vec(), params: BTreeMap::new(), ..pass }
}

fn definition(target: &Target, calls: &[TargetPlan]) -> Digest {
    let mut hasher = FieldHasher::new("pipe definition of a route");
    let branches = target.route().unwrap_or_default();
    hasher.number(branches.len() as u64);
    for branch in branches {
        let test = branch.test.as_ref().map(ToString::to_string);
        hasher.option(test.as_deref().map(str::as_bytes));
        match branch.action {
            BranchAction::Module(ix) => {
                let place = calls.iter().position(|call| call.module == Some(ix));
                hasher.text("module").number(place.unwrap_or_default() as u64)
            }
            BranchAction::Pass => hasher.text(PASS),
            BranchAction::Skip => hasher.text("skip"),
            BranchAction::Fail => hasher.text("fail"),
        };
    }
    for call in calls {
        hasher.digest(&call.definition);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pipeline::{Branch, Call};
    use crate::model::selection::{Condition, Test};

    fn test(field: &str, value: &Value) -> Test {
        let field = Field::parse(field).unwrap();
        let condition = Condition::parse(&field, value).unwrap();
        Test::new(vec![(field, condition)])
    }

    #[test]
    fn the_first_branch_whose_test_passes_takes_it() {
        let branch_of = |test, action| Branch { test, action };
        let mut target = crate::engine::target::tests::target("text");
        target.call = Call::Route(vec![
            branch_of(Some(test("ext", &"pdf".into())), BranchAction::Skip),
            branch_of(Some(test("ext", &serde_json::json!(["pdf", "txt"]))), BranchAction::Pass),
            branch_of(None, BranchAction::Fail),
        ]);
        let of = |ext: &str| branch(&target, &|_| Some(ext.into()));
        assert_eq!((of("pdf"), of("txt"), of("doc")), (0, 1, 2));
        assert_eq!(words(&target, 0), "{ ext = \"pdf\" }");
        assert_eq!(words(&target, 2), "no test before it passes");
    }
}
