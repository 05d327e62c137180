//! What a build knows before it looks at documents: facts of modules, present results of sets, which definitions hold.
//!
//! From it come the plans of targets and the answer to "is this entry up to date?". Reads records; runs nothing.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::engine::Parts;
use crate::engine::loads::PresentCode;
use crate::engine::matching;
use crate::engine::modules::file_digest;
use crate::engine::requests::Inputs;
use crate::engine::route;
use crate::engine::sets::{SetResult, set_result};
use crate::engine::target::{ModuleFacts, Shared, SharedInput, TargetPlan};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Definition, KeyInput, Loads, Mark, Position, State};
use crate::model::pipeline::{Call, ModuleIx, Pipeline, TargetIx, WithFrom};
use crate::plan::family::{Families, Family, FamilyIx, Input};

/// The targets of a definition, and whether each is as it is defined now.
pub type Coverage = Arc<Vec<(String, bool)>>;

/// See the module's text.
pub struct Outline {
    /// By module.
    facts: Vec<ModuleFacts>,
    marks: Vec<Mark>,
    loads: Vec<Arc<Loads>>,
    loads_known: usize,
    /// What sets came to over a sample.
    samples: HashMap<TargetIx, SetResult>,
    /// What decides each target now, as far as it is known.
    definitions: Vec<Option<Digest>>,
    /// By the place of a definition: which of its targets are as defined now.
    covered: std::sync::Mutex<HashMap<Position, Coverage>>,
}

impl Outline {
    /// From the facts of the modules and what the store knows.
    pub fn new(parts: &Parts<'_>, facts: Vec<ModuleFacts>) -> Result<Self> {
        let loads = parts.store.all_loads()?;
        Ok(Outline {
            facts,
            marks: parts.store.marks()?,
            loads_known: loads.len(),
            loads,
            samples: HashMap::new(),
            definitions: vec![None; parts.pipeline.targets.len()],
            covered: std::sync::Mutex::default(),
        })
    }

    /// The facts of all modules, as they were at the beginning.
    pub fn facts(&self) -> &[ModuleFacts] {
        &self.facts
    }

    /// The plan of a target as things are now. Remembers its definition.
    pub fn plan(
        &mut self,
        parts: &Parts<'_>,
        families: &Families,
        ix: TargetIx,
        present: &mut PresentCode,
        inputs: &mut Inputs,
    ) -> Result<TargetPlan> {
        let target = parts.pipeline.target(ix);
        let mut shared = Vec::new();
        for with in &target.with {
            match &with.from {
                WithFrom::Shared(of) => {
                    shared.push((with.name.clone(), self.shared_result(parts, families, *of, inputs)?));
                }
                WithFrom::File(written, path) => {
                    shared.push((with.name.clone(), shared_file(parts, written, path, inputs)?));
                }
                WithFrom::Document(_) | WithFrom::Value(_) => {}
            }
        }
        if parts.store.loads_count() != self.loads_known {
            self.loads = parts.store.all_loads()?;
            self.loads_known = self.loads.len();
        }
        let values = matching::plan(parts, families, ix, !self.samples.is_empty())?;
        let plan = self.planned(parts, ix, shared, present).with_values(parts.pipeline, values);
        self.define(ix, plan.definition);
        Ok(plan)
    }

    /// The plan of a target with these shared side inputs.
    fn planned(
        &self,
        parts: &Parts<'_>,
        ix: TargetIx,
        shared: Vec<(String, Shared)>,
        present: &mut PresentCode,
    ) -> TargetPlan {
        let mut with_module = |module: ModuleIx, shared| {
            let facts = &self.facts[module.0];
            let of_module = self.loads.iter().filter(|loads| loads.module == facts.identity);
            let learned = present.learned(of_module.map(AsRef::as_ref), &mut parts.store.code_cache());
            TargetPlan::new(parts.pipeline, ix, Some(module), facts, shared, &self.marks, &learned)
        };
        match &parts.pipeline.target(ix).call {
            Call::Module(module) => with_module(*module, shared),
            Call::Route(_) => {
                let mut plan = |module| with_module(module, shared.clone());
                route::plan(parts.pipeline, ix, &shared, &self.marks, &mut plan)
            }
        }
    }

    /// What a set, or what is behind it, came to over a sample.
    pub fn set_sample(&mut self, target: TargetIx, result: SetResult) {
        self.samples.insert(target, result);
    }

    /// The one result of a set, or of an `each` behind it, as it is now.
    fn shared_result(
        &self,
        parts: &Parts<'_>,
        families: &Families,
        of: TargetIx,
        inputs: &mut Inputs,
    ) -> Result<Shared> {
        let name = &parts.pipeline.target(of).name;
        let sampled = self.samples.get(&of).cloned();
        let Some(family) =
            families.list.iter().find(|family| family.is_set() && family.step_of(of).is_some())
        else {
            return Ok(Shared::Unfinished);
        };
        let result = match sampled {
            Some(sampled) => Some(sampled),
            None => set_result(parts, family, name)?,
        };
        let Some((state, output, note)) = result else { return Ok(Shared::Unfinished) };
        match (state, output) {
            (State::Done, Some(output)) => {
                let Some(path) = inputs.output(parts.store, &output)? else { return Ok(Shared::Unfinished) };
                let facts = crate::engine::decide::ext_facts(&output.ext);
                let key = KeyInput { digest: Some(output.digest), facts };
                Ok(Shared::Present(SharedInput { key, ext: output.ext, path }))
            }
            (State::Unfinished, _) | (State::Done, None) => Ok(Shared::Unfinished),
            (State::Skipped, _) => Ok(Shared::Unavailable(format!("{name} was skipped"))),
            _ if note.is_empty() => Ok(Shared::Unavailable(format!("{name} failed"))),
            _ => Ok(Shared::Unavailable(format!("{name}: {note}"))),
        }
    }

    /// How many load sets are accounted for.
    pub fn loads_known(&self) -> usize {
        self.loads_known
    }

    /// What decides a target now; known once it was planned.
    pub fn definition(&self, ix: TargetIx) -> Option<Digest> {
        self.definitions[ix.0]
    }

    fn define(&mut self, ix: TargetIx, definition: Digest) {
        if self.definitions[ix.0] != Some(definition) {
            self.definitions[ix.0] = Some(definition);
            self.covered.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
        }
    }

    /// A worker had loaded more than was known: what decides the module's targets is another thing from now on.
    pub fn learned(
        &mut self,
        parts: &Parts<'_>,
        plan: &mut TargetPlan,
        present: &mut PresentCode,
    ) -> Result<()> {
        self.loads = parts.store.all_loads()?;
        self.loads_known = self.loads.len();
        let anew = self.planned(parts, plan.ix, plan.shared.clone(), present);
        let anew = anew.with_values(parts.pipeline, plan.values.clone());
        plan.definition = anew.definition;
        self.define(plan.ix, anew.definition);
        Ok(())
    }

    /// Whether documents of a definition are up to date in a target.
    pub fn covers(&self, parts: &Parts<'_>, definition: Position, ix: TargetIx) -> bool {
        let name = &parts.pipeline.target(ix).name;
        self.coverage(parts, definition).iter().any(|(other, holds)| other == name && *holds)
    }

    /// Whether documents of a definition are up to date in all wanted targets of a family, up to a stratum.
    pub fn covers_family(
        &self,
        parts: &Parts<'_>,
        definition: Position,
        family: &Family,
        stratum: usize,
    ) -> bool {
        let coverage = self.coverage(parts, definition);
        let mut targets = family.decided().filter(|(_, of)| *of <= stratum);
        let covered = targets.all(|(target, _)| {
            let name = &parts.pipeline.target(target).name;
            coverage.iter().any(|(other, holds)| other == name && *holds)
        });
        // A target that is no longer in the file may have published something.
        covered && coverage.iter().all(|(name, _)| parts.pipeline.find_target(name).is_some())
    }

    /// The targets of a definition, and whether each is as it is defined now.
    pub fn coverage(&self, parts: &Parts<'_>, definition: Position) -> Coverage {
        let mut covered = self.covered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = covered.get(&definition) {
            return Arc::clone(known);
        }
        let found = parts.store.definition(definition).ok().flatten();
        let coverage = Arc::new(found.map_or_else(Vec::new, |found| self.compare(parts.pipeline, &found)));
        covered.insert(definition, Arc::clone(&coverage));
        coverage
    }

    fn compare(&self, pipeline: &Pipeline, definition: &Definition) -> Vec<(String, bool)> {
        let holds = |defined: &crate::model::action::DefinedTarget| {
            let Some(ix) = pipeline.find_target(&defined.name) else { return false };
            let publish = pipeline.target(ix).publish.as_ref().map(|publish| publish.path.to_string());
            defined.digest.is_some() && defined.digest == self.definitions[ix.0] && defined.publish == publish
        };
        definition.targets.iter().map(|defined| (defined.name.clone(), holds(defined))).collect()
    }
}

fn shared_file(parts: &Parts<'_>, written: &str, path: &Path, inputs: &mut Inputs) -> Result<Shared> {
    let digest = file_digest(parts.store, path)
        .map_err(|error: Error| error.context(format!("cannot read `file:{written}`")).hint("pipe check"))?;
    let ext = path.extension().map(|ext| ext.to_string_lossy().to_lowercase()).unwrap_or_default();
    let ext = if path.is_dir() { String::new() } else { ext };
    let link = inputs.link(path, &digest, &ext)?;
    let key = KeyInput { digest: Some(digest), facts: crate::engine::decide::ext_facts(&ext) };
    Ok(Shared::Present(SharedInput { key, ext, path: link }))
}

/// The families whose documents are members of a set.
pub fn stream_families(families: &Families, pipeline: &Pipeline, ix: TargetIx) -> Vec<(FamilyIx, Input)> {
    let streams = &pipeline.target(ix).streams;
    streams.iter().flat_map(|stream| families.of_stream(*stream)).collect()
}
