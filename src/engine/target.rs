//! What a target is in this build: its recipe, its definition, and what it hands to its workers.
//!
//! Everything here is the same for all documents of the target. Made anew at the beginning of each stratum, for a
//! shared side input may have another result by then. Knows no documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::marks::PlanMarks;
use crate::engine::values::ByValue;
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{KeyInput, Mark, Position, Recipe, State};
use crate::model::pipeline::{
    Call, Hold, Module, ModuleIx, Pipeline, Program, Settings, SplitLimits, Target, TargetIx, Verb, WithFrom,
};
use crate::model::selection::Field;
use crate::plan::key;
use crate::time::Millis;

/// The version of the worker protocol, a part of every worker's fingerprint.
pub const PROTOCOL: u32 = 1;

/// What stands in a record for the module of a branch that only passes documents on.
pub const PASS: &str = "pass";

/// What is known of a module before anything runs.
#[derive(Clone, Debug)]
pub struct ModuleFacts {
    /// The parts of the fingerprint but the code files and what a target adds.
    pub program: Vec<(String, String)>,
    /// The code files that count.
    pub files: Vec<(String, Digest)>,
    /// The digest of `program`: what load sets of this module are found by.
    pub identity: Digest,
    /// The names of params that it takes, where that is known; asked only where a route has several modules.
    pub declares: Option<Vec<String>>,
    /// Of a module on a server.
    pub service: Option<ServiceFacts>,
}

/// What of a service's code is no part of a fingerprint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFacts {
    /// What its answers must have.
    pub fingerprint: Option<String>,
    /// Results from before are too old.
    pub since: Option<Millis>,
    /// Changes whenever a result may have become too old.
    pub epoch: Option<u64>,
    /// What the user should know.
    pub notice: Option<String>,
}

/// The parts of a module's fingerprint that are no files and that no target decides. `interpreter` is major.minor of
/// the Python in use.
pub fn program_parts(module: &Module, interpreter: &str, probe: Option<String>) -> Vec<(String, String)> {
    let (kind, command) = match module.program.inside() {
        Program::Python { file, function } => ("python", format!("{} {function}", file.display())),
        Program::Worker(words) => ("worker", shown(words)),
        Program::Filter(words) => ("filter", shown(words)),
        Program::Shell(script) => ("shell", script.clone()),
        Program::Url(service) => ("url", service.url.clone()),
        // There is none in another.
        Program::Image(container) => ("image", container.image.clone()),
    };
    let mut parts = BTreeMap::from([("kind".to_owned(), kind.to_owned()), ("command".to_owned(), command)]);
    if let Some(container) = module.program.container() {
        // Not its name: an image from another registry is the same image.
        parts.insert("image".into(), container.digest().to_owned());
        if container.network {
            parts.insert("network".into(), "yes".into());
        }
    }
    match module.program.inside() {
        Program::Python { .. } => {
            parts.insert("interpreter".into(), interpreter.to_owned());
            parts.insert("protocol".into(), PROTOCOL.to_string());
        }
        Program::Worker(_) => {
            parts.insert("protocol".into(), PROTOCOL.to_string());
        }
        _ => {}
    }
    if let Some(version) = &module.version {
        parts.insert("version".into(), version.clone());
    }
    if let Some(probe) = probe {
        parts.insert("probe".into(), probe);
    }
    parts.into_iter().collect()
}

/// The parts of the fingerprint with what a target adds: the variables that are set for it, the form of its inputs,
/// and the extension that it gives to results.
fn program_of(
    pipeline: &Pipeline,
    target: &Target,
    module: Option<ModuleIx>,
    facts: &ModuleFacts,
) -> Vec<(String, String)> {
    let mut parts: BTreeMap<String, String> = facts.program.iter().cloned().collect();
    let Some(module) = module else { return parts.into_iter().collect() };
    let settings = settings_of(pipeline, target, module);
    // Variables are not sent to a server: they change nothing there.
    let is_here = facts.service.is_none();
    let env = settings.env.iter().filter(|_| is_here);
    let env = env.map(|(name, value)| (format!("env.{name}"), value.clone()));
    parts.extend(env);
    if target.inputs_as_files {
        parts.insert("inputs".into(), "files".into());
    }
    parts.extend(target.ext.iter().map(|ext| ("ext".to_owned(), ext.clone())));
    parts.into_iter().collect()
}

/// The identity of a module by its fingerprint's parts: what its load sets are found by.
pub fn identity(program: &[(String, String)]) -> Digest {
    let mut hasher = FieldHasher::new("pipe module identity");
    program.iter().for_each(|(name, value)| {
        hasher.text(name).text(value);
    });
    hasher.finish()
}

fn shown(words: &[String]) -> String {
    let quoted = words
        .iter()
        .map(|word| if word.contains(char::is_whitespace) { format!("{word:?}") } else { word.clone() });
    quoted.collect::<Vec<_>>().join(" ")
}

/// A shared side input as it is now.
#[derive(Clone, Debug)]
pub enum Shared {
    /// The result of a set, or a file.
    Present(SharedInput),
    /// There is none, and why: whoever needs it is blocked.
    Unavailable(String),
    /// It is not decided in this build (stopped, or its members failed).
    Unfinished,
}

/// A shared side input that is there.
#[derive(Clone, Debug)]
pub struct SharedInput {
    /// As it enters the key.
    pub key: KeyInput,
    /// Its extension.
    pub ext: String,
    /// A file or folder inside `.pipe` that holds its bytes (or the project's own `file:`).
    pub path: std::path::PathBuf,
}

/// A target in this build.
#[derive(Clone, Debug)]
pub struct TargetPlan {
    /// Which target.
    pub ix: TargetIx,
    /// Its module; nothing for what only passes its input on.
    pub module: Option<ModuleIx>,
    /// With a route: a plan for each of its modules, then one for `pass`. Else empty: this plan is the only one.
    pub calls: Vec<TargetPlan>,
    /// It is one of the modules of a route.
    pub in_route: bool,
    /// What the module is handed.
    pub params: BTreeMap<String, serde_json::Value>,
    /// What is the same for all documents.
    pub recipe: Arc<Recipe>,
    /// Of the recipe.
    pub recipe_digest: Digest,
    /// Where it lies in the log, once anything was recorded by it.
    pub recipe_at: Option<Position>,
    /// The module's fingerprint.
    pub fingerprint: Digest,
    /// What load sets of this module are found by.
    pub identity: Digest,
    /// What decides the target but the document.
    pub definition: Digest,
    /// Marks that speak of this target with this fingerprint.
    pub marks: PlanMarks,
    /// By name, those that are the same for all documents.
    pub shared: Vec<(String, Shared)>,
    /// Results are kept though they are not up to date; lifted by `--update`.
    pub hold: Option<Hold>,
    /// Side inputs by value.
    pub values: Vec<ByValue>,
    /// What the module may see beside the bytes, `ext` among it.
    pub sees: Vec<Field>,
    /// Of a split.
    pub limits: Option<SplitLimits>,
    /// Of a module on a server: what its answers must have.
    pub served: Option<String>,
}

impl TargetPlan {
    /// The plan of a target from what is known now. `learned` stands for what load sets say of the module's files.
    pub fn new(
        pipeline: &Pipeline,
        ix: TargetIx,
        module: Option<ModuleIx>,
        facts: &ModuleFacts,
        shared: Vec<(String, Shared)>,
        marks: &[Mark],
        learned: &Digest,
    ) -> Self {
        let target = pipeline.target(ix);
        let params = params_of(pipeline, target, module, facts);
        let recipe = recipe(pipeline, target, module, facts, &params, &shared);
        let recipe_digest = key::recipe_digest(&recipe);
        let fingerprint = key::fingerprint(&recipe);
        let mut marks = PlanMarks::new(marks, &target.name, &recipe);
        let mut definition = definition(pipeline, target, &recipe_digest, &shared, &marks, learned);
        if let Some(ServiceFacts { since: Some(since), epoch, .. }) = &facts.service {
            marks.expire(*since);
            let mut hasher = FieldHasher::new("pipe definition until");
            definition = hasher.digest(&definition).number(epoch.unwrap_or(0)).finish();
        }
        TargetPlan {
            ix,
            module,
            calls: Vec::new(),
            in_route: target.route().is_some(),
            params,
            recipe: Arc::new(recipe),
            recipe_digest,
            recipe_at: None,
            fingerprint,
            identity: facts.identity,
            definition,
            marks,
            shared,
            hold: target.hold,
            values: Vec::new(),
            // What a merge takes may be a merge itself, which has no id and no meta.
            sees: if target.reduce { vec![Field::Ext] } else { target.sees.clone() },
            limits: target.split.then_some(target.split_limits),
            served: facts.service.as_ref().and_then(|service| service.fingerprint.clone()),
        }
    }

    /// With these side inputs by value: a part of what decides its documents.
    #[must_use]
    pub fn with_values(mut self, pipeline: &Pipeline, values: Vec<ByValue>) -> Self {
        if values.is_empty() {
            return self;
        }
        let target = pipeline.target(self.ix);
        let mut hasher = FieldHasher::new("pipe definition by values");
        hasher.digest(&self.definition);
        for value in &values {
            let with = &target.with[value.number];
            let fields = with.on.as_ref().map(|(mine, theirs)| format!("{mine} = {theirs}"));
            hasher.text(&with.name).text(&fields.unwrap_or_default()).number(u64::from(with.many));
            hasher.digest(&value.root);
        }
        self.definition = hasher.finish();
        self.values = values;
        self
    }

    /// The plan of one of its modules, by its number.
    pub fn call(&self, number: usize) -> &TargetPlan {
        self.calls.get(number).unwrap_or(self)
    }

    /// The same to change.
    pub fn call_mut(&mut self, number: usize) -> &mut TargetPlan {
        if number < self.calls.len() { &mut self.calls[number] } else { self }
    }

    /// The number of a module among those of the target; of `pass`, if there is none.
    pub fn call_of(&self, module: Option<ModuleIx>) -> usize {
        self.calls.iter().position(|call| call.module == module).unwrap_or_default()
    }

    /// The plan that makes records by a module of this name; of a route that has it no more, the last.
    pub fn call_named(&self, module: &str) -> &TargetPlan {
        self.calls.iter().find(|call| call.recipe.module == module).unwrap_or(self)
    }

    /// The plans by which the target's results are made.
    pub fn each_call(&self) -> &[TargetPlan] {
        if self.calls.is_empty() { std::slice::from_ref(self) } else { &self.calls }
    }

    /// How the target stands for want of a shared side input, and why; nothing if all are there.
    pub fn lacks(&self) -> Option<(State, String)> {
        self.shared.iter().find_map(|(_, shared)| match shared {
            Shared::Present(_) => None,
            Shared::Unavailable(why) => Some((State::Blocked, why.clone())),
            Shared::Unfinished => Some((State::Unfinished, String::new())),
        })
    }
}

/// The settings by which a target runs one of its modules.
pub fn settings_of(pipeline: &Pipeline, target: &Target, module: ModuleIx) -> Settings {
    match target.call {
        // They hold those of the module already.
        Call::Module(_) => target.settings.clone(),
        Call::Route(_) => target.settings.over(&pipeline.module(module).settings),
    }
}

/// The params that a module is handed: with a route only those that it declares.
fn params_of(
    pipeline: &Pipeline,
    target: &Target,
    module: Option<ModuleIx>,
    facts: &ModuleFacts,
) -> BTreeMap<String, serde_json::Value> {
    let (Call::Route(_), Some(module)) = (&target.call, module) else {
        return if module.is_some() { target.params.clone() } else { BTreeMap::new() };
    };
    let mut params = pipeline.module(module).params.clone();
    params.extend(target.params.clone());
    if let Some(declares) = &facts.declares {
        params.retain(|name, _| declares.contains(name));
    }
    params
}

/// The shape of a target's actions, a part of its key.
pub fn shape(target: &Target) -> &'static str {
    match (target.verb, target.split, target.reduce) {
        (Verb::Each, true, _) => "split",
        (Verb::Each, false, _) => "each",
        (Verb::All, _, true) => "reduce",
        (Verb::All, _, false) => "all",
        (Verb::Group, ..) => "group",
    }
}

fn recipe(
    pipeline: &Pipeline,
    target: &Target,
    module: Option<ModuleIx>,
    facts: &ModuleFacts,
    params: &BTreeMap<String, serde_json::Value>,
    shared: &[(String, Shared)],
) -> Recipe {
    let with = target.with.iter().filter(|_| module.is_some()).map(|with| {
        let found = shared.iter().find(|(name, _)| *name == with.name);
        let input = found.map(|(_, shared)| match shared {
            Shared::Present(input) => input.key.clone(),
            _ => KeyInput { digest: None, facts: String::new() },
        });
        (with.name.clone(), input)
    });
    let params = params.iter().map(|(name, value)| (name.clone(), value.to_string()));
    Recipe {
        shape: shape(target).to_owned(),
        module: module.map_or(PASS, |ix| &pipeline.module(ix).name).to_owned(),
        program: program_of(pipeline, target, module, facts),
        files: facts.files.clone(),
        params: params.collect(),
        with: with.collect(),
    }
}

fn definition(
    pipeline: &Pipeline,
    target: &Target,
    recipe: &Digest,
    shared: &[(String, Shared)],
    marks: &PlanMarks,
    learned: &Digest,
) -> Digest {
    let mut hasher = FieldHasher::new("pipe definition");
    hasher.digest(recipe).digest(learned);
    hasher.number(target.streams.len() as u64);
    for stream in &target.streams {
        hasher.text(pipeline.node_name(*stream));
    }
    hasher.option(target.test.as_ref().map(ToString::to_string).as_deref().map(str::as_bytes));
    hasher.number(target.sees.len() as u64);
    for field in &target.sees {
        hasher.text(&field.to_string());
    }
    hasher.number(target.with.len() as u64);
    for with in &target.with {
        let from = match &with.from {
            WithFrom::Document(node) => format!("document {}", pipeline.node_name(*node)),
            WithFrom::Shared(ix) => format!("shared {}", pipeline.target(*ix).name),
            WithFrom::File(written, _) => format!("file {written}"),
            WithFrom::Value(node) => format!("value {}", pipeline.node_name(*node)),
        };
        hasher.text(&with.name).text(&from).text(&format!("{:?}", with.missing));
    }
    for (_, shared) in shared {
        hasher.number(match shared {
            Shared::Present(_) => 0,
            Shared::Unavailable(_) => 1,
            Shared::Unfinished => 2,
        });
    }
    if let Some(hold) = target.hold {
        hasher.text(&format!("hold {hold:?}"));
    }
    if target.verb == Verb::Group {
        hasher.option(target.by.as_deref().map(str::as_bytes));
        hasher.option(target.group_missing.as_deref().map(str::as_bytes));
    }
    if target.split {
        for limit in target.split_limits.names() {
            hasher.text(&limit);
        }
    }
    hasher.option(target.ext.as_deref().map(str::as_bytes));
    hasher.bytes(&target.min_done.to_le_bytes());
    // No part of any key, but a higher limit opens again what was set aside under a lower one.
    let settings = &target.settings;
    let limits = (settings.timeout, settings.memory, settings.retries);
    if limits != (None, None, None) {
        hasher.text(&format!("{limits:?}"));
    }
    hasher.number(marks.newest_whole());
    // A definition without any is as it was before there were such marks.
    if let Some(accepted) = marks.newest_accept() {
        hasher.text("accepted").number(accepted);
    }
    hasher.finish()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A target that takes each document of nothing.
    pub(crate) fn target(name: &str) -> Target {
        Target {
            name: name.to_owned(),
            verb: Verb::Each,
            streams: Vec::new(),
            split: false,
            split_limits: SplitLimits::default(),
            reduce: false,
            by: None,
            group_missing: None,
            call: Call::Route(Vec::new()),
            with: Vec::new(),
            test: None,
            params: BTreeMap::new(),
            sees: vec![Field::Ext],
            publish: None,
            ext: None,
            hold: None,
            min_done: 0.95,
            inputs_as_files: false,
            default: true,
            settings: Settings::default(),
        }
    }
}
