//! Which Python functions the targets call and with what, so that whoever reads code can check them: known also where
//! other things in the file are wrong.

use toml::de::DeValue;

use super::mistake::Span;
use super::module::{Modules, split};
use super::section::Section;
use super::target::Draft;
use crate::model::pipeline::{BranchAction, Call, Module, Program, Verb};

/// A Python function as one target calls it.
#[derive(Clone, Debug)]
pub struct PythonCall {
    /// The target.
    pub target: String,
    /// Its verb; absent where it states none, or several.
    pub verb: Option<Verb>,
    /// The module as written: `words`, `search:index`.
    pub module: String,
    /// Where the target names it.
    pub place: Span,
    /// The program itself, with where it was found.
    pub called: Module,
    /// The function.
    pub function: String,
    /// Names of parameters, each with its place.
    pub params: Vec<(String, Span)>,
    /// Names of side inputs, each with its place.
    pub with: Vec<(String, Span)>,
    /// Parameters of a `[module.FILE]` table or of a route, which not every function needs to know.
    pub shared: Vec<String>,
}

/// The calls of one target.
pub(super) fn of_target(section: &Section<'_>, draft: &Draft, modules: &Modules<'_>) -> Vec<PythonCall> {
    let in_route = matches!(draft.target.call, Call::Route(_));
    let mut calls = Vec::new();
    for (module, place) in called(section, &draft.target.call, modules) {
        let Program::Python { function, .. } = &module.program else { continue };
        let function = function.clone();
        let of_file = modules.is_of_file(&module.name);
        let own = section.section_if_table("params");
        // What `-D` adds stands at the target's name.
        let is_own =
            |name: &str, span: &Span| *span == draft.span || own.as_ref().is_some_and(|own| own.has(name));
        let mut params: Vec<(String, Span)> =
            draft.params.iter().map(|(name, param)| (name.clone(), param.span.clone())).collect();
        // The settings of one of a route's modules are its own, and lie below the target's.
        let of_module = modules.table(&module.name).filter(|_| in_route).map(|table| &table.params);
        for (name, param) in of_module.into_iter().flatten() {
            if !draft.params.contains_key(name) {
                params.push((name.clone(), param.span.clone()));
            }
        }
        let shared = params.iter().filter(|(name, span)| in_route || (of_file && !is_own(name, span)));
        let with = section.section_if_table("with").map(|with| with.entries()).unwrap_or_default();
        calls.push(PythonCall {
            target: draft.target.name.clone(),
            verb: draft.verb_is_clear(section).then_some(draft.target.verb),
            place,
            function,
            shared: shared.map(|(name, _)| name.clone()).collect(),
            params,
            with: with.into_iter().map(|entry| (entry.key.value.to_owned(), entry.key.span)).collect(),
            module: module.name.clone(),
            called: module,
        });
    }
    calls
}

/// Every module that a target names, with the place.
fn called(section: &Section<'_>, call: &Call, modules: &Modules<'_>) -> Vec<(Module, Span)> {
    match call {
        Call::Module(ix) => vec![(modules.get(*ix), section.value_span("module"))],
        Call::Route(branches) => {
            let named = branches.iter().filter_map(|branch| match branch.action {
                BranchAction::Module(ix) => Some(modules.get(ix)),
                _ => None,
            });
            let items = section.get("route").and_then(|route| route.get_ref().as_array());
            let written: Vec<(&str, Span)> = items
                .into_iter()
                .flatten()
                .filter_map(|item| {
                    let value = item.get_ref().as_table()?.get("module")?;
                    value.get_ref().as_str().map(|name| (name, value.span()))
                })
                .collect();
            let place = |module: Module| {
                let (_, span) = written.iter().find(|(name, _)| *name == module.name)?;
                Some((module, span.clone()))
            };
            named.filter_map(place).collect()
        }
    }
}

impl Draft {
    fn verb_is_clear(&self, section: &Section<'_>) -> bool {
        let stated = ["each", "all", "group"].into_iter().filter(|verb| section.has(verb)).count();
        let is_text = |value: &DeValue<'_>| value.is_str() || value.is_array();
        let verb = match self.target.verb {
            Verb::Each => "each",
            Verb::All => "all",
            Verb::Group => "group",
        };
        stated == 1 && section.get(verb).is_some_and(|value| is_text(value.get_ref()))
    }
}

impl Modules<'_> {
    /// Whether the settings of a function are those of its whole file.
    fn is_of_file(&self, name: &str) -> bool {
        split(name).1.is_some() && !self.has_table(name)
    }
}
