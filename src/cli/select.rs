//! Targets as the command line names them: by their own name, or by a module's.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::model::pipeline::{ModuleIx, Pipeline, TargetIx};
use crate::plan::family::Families;
use crate::project::Project;
use crate::text::nearest;

/// The targets of these names; without names, all that are built by default.
pub(super) fn select(pipeline: &Pipeline, names: &[String]) -> Result<BTreeSet<TargetIx>> {
    if names.is_empty() {
        let all = (0..pipeline.targets.len()).map(TargetIx);
        return Ok(all.filter(|ix| pipeline.target(*ix).default).collect());
    }
    let mut selected = BTreeSet::new();
    for name in names {
        let of_module = pipeline.targets_of_module(name);
        match pipeline.find_target(name) {
            Some(ix) => drop(selected.insert(ix)),
            None if !of_module.is_empty() => selected.extend(of_module),
            None => return Err(unknown(pipeline, name)),
        }
    }
    Ok(selected)
}

/// The targets with a route that are named by modules of theirs alone, with these modules.
pub(super) fn select_modules(
    pipeline: &Pipeline,
    names: &[String],
) -> BTreeMap<TargetIx, BTreeSet<ModuleIx>> {
    let mut only: BTreeMap<TargetIx, BTreeSet<ModuleIx>> = BTreeMap::new();
    for name in names.iter().filter(|name| pipeline.find_target(name).is_none()) {
        for ix in pipeline.targets_of_module(name) {
            let is_routed = pipeline.target(ix).route().is_some();
            if is_routed && !names.contains(&pipeline.target(ix).name) {
                let modules = pipeline.modules_of(ix);
                let meant = modules.into_iter().filter(|module| pipeline.module(*module).name == *name);
                only.entry(ix).or_default().extend(meant);
            }
        }
    }
    only
}

/// These targets and all that they need.
pub(super) fn closure(pipeline: &Pipeline, targets: BTreeSet<TargetIx>) -> BTreeSet<TargetIx> {
    Families::closure(pipeline, targets)
}

/// What a build of these names is about, with all that it needs.
pub(super) fn wanted(project: &Project, names: &[String]) -> Result<BTreeSet<TargetIx>> {
    let pipeline = project.pipeline();
    Ok(closure(pipeline, select(pipeline, names)?))
}

fn unknown(pipeline: &Pipeline, name: &str) -> Error {
    let targets = pipeline.targets.iter().map(|target| target.name.as_str());
    let modules = pipeline.modules.iter().map(|module| module.name.as_str());
    let error = Error::usage(format!("there is no target or module `{name}`"));
    if pipeline.find_source(name).is_some() {
        return error.hint(format!("`{name}` is a source: its documents are what targets are built from"));
    }
    match nearest(name, targets.chain(modules)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("pipe graph    shows the targets"),
    }
}
