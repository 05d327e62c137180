//! Whether a function can be called as a target wants to: its first argument, its params and its side inputs.
//!
//! Says only what the source proves: where a function takes `**kwargs`, or its `setup` is defined elsewhere, names
//! are not judged. Knows nothing of targets but the names handed over.

use crate::code::functions::{Function, Functions};
use crate::text::nearest;

/// What a function's first argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// One document: `each`.
    Doc,
    /// A set of them: `all`, `group`.
    Docs,
}

/// How a target calls a function.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// What the verb hands over.
    pub takes: Takes,
    /// The names of `params`.
    pub params: &'a [&'a str],
    /// The names of `with`.
    pub with: &'a [&'a str],
}

/// Why a function cannot be called so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallProblem {
    /// The file has no such function.
    NoFunction {
        /// A function of nearly this name, or the only one that would do.
        near: Option<String>,
    },
    /// It is not decorated with `@module`.
    NotAModule,
    /// It has no argument for the document.
    NoDocument,
    /// It takes one document, the verb hands over a set; or the other way round.
    WrongVerb {
        /// What the function takes.
        takes: Takes,
        /// The name of its first argument.
        argument: String,
    },
    /// A further argument has neither a default nor a name that it must be given by.
    NotKeywordOnly {
        /// Its name.
        argument: String,
    },
    /// A keyword-only argument without default is neither in `params` nor in `with`.
    Missing {
        /// Its name.
        argument: String,
        /// It is annotated as a `Doc`.
        is_doc: bool,
    },
    /// `params` has a name that the function does not declare.
    UnknownParam {
        /// The name.
        name: String,
        /// One that it does declare.
        near: Option<String>,
    },
    /// `with` has a name that the function does not declare.
    UnknownWith {
        /// The name.
        name: String,
        /// One that it does declare.
        near: Option<String>,
    },
}

impl Function {
    /// What the first argument is: a set if it is called `docs` or annotated `Docs`, else one document.
    ///
    /// With `batch` it is a list of documents, whatever its name, and the verb is `each`.
    pub fn takes(&self) -> Option<Takes> {
        let Some(first) = self.positional.first() else {
            return self.any_positional.then_some(Takes::Doc);
        };
        let is_set = first.name == "docs" || first.is_annotated("Docs");
        Some(if is_set && self.batch.is_none() { Takes::Docs } else { Takes::Doc })
    }
}

/// The function that a misspelt name may mean: a near name, or the file's only module.
pub fn nearest_function<'f>(functions: &'f Functions, name: &str) -> Option<&'f str> {
    let mut modules = functions.modules().map(|function| function.name.as_str());
    let near = nearest(name, functions.list.iter().map(|function| function.name.as_str()));
    near.or_else(|| modules.next().filter(|_| modules.next().is_none()))
}

/// All reasons why the function of this name cannot be called so.
pub fn check_call(functions: &Functions, name: &str, call: &Call<'_>) -> Vec<CallProblem> {
    let Some(function) = functions.find(name) else {
        return vec![CallProblem::NoFunction { near: nearest_function(functions, name).map(str::to_owned) }];
    };
    let mut problems = Vec::new();
    if !function.is_module {
        problems.push(CallProblem::NotAModule);
    }
    match function.takes() {
        None => problems.push(CallProblem::NoDocument),
        Some(takes) if takes != call.takes => problems.push(CallProblem::WrongVerb {
            takes,
            argument: function.positional.first().map(|first| first.name.clone()).unwrap_or_default(),
        }),
        Some(_) => {}
    }
    let needed = function.positional.iter().skip(1).filter(|extra| extra.default.is_none());
    // What `setup` returns is the second argument.
    for extra in needed.skip(usize::from(function.setup.is_some())) {
        problems.push(CallProblem::NotKeywordOnly { argument: extra.name.clone() });
    }
    check_names(functions, function, call, &mut problems);
    problems
}

fn check_names(functions: &Functions, function: &Function, call: &Call<'_>, problems: &mut Vec<CallProblem>) {
    let setup = functions.setup_of(function);
    let of_setup = || setup.into_iter().flat_map(|setup| setup.positional.iter().chain(&setup.params));
    for param in function.params.iter().chain(of_setup()).filter(|param| param.default.is_none()) {
        if !call.params.contains(&param.name.as_str()) && !call.with.contains(&param.name.as_str()) {
            problems.push(CallProblem::Missing { argument: param.name.clone(), is_doc: param.is_doc });
        }
    }
    let is_open = |function: &Function| function.any_params || function.setup.is_some() && setup.is_none();
    if is_open(function) || setup.is_some_and(|setup| setup.any_params) {
        return;
    }
    let declared: Vec<&str> =
        function.params.iter().chain(of_setup()).map(|param| param.name.as_str()).collect();
    let near = |name: &str| nearest(name, declared.iter().copied()).map(str::to_owned);
    for name in call.params.iter().filter(|name| !declared.contains(name)) {
        problems.push(CallProblem::UnknownParam { name: (*name).to_owned(), near: near(name) });
    }
    for name in call.with.iter().filter(|name| !declared.contains(name)) {
        problems.push(CallProblem::UnknownWith { name: (*name).to_owned(), near: near(name) });
    }
}

impl CallProblem {
    /// What is wrong, for a message that names the function already.
    pub fn what(&self) -> String {
        match self {
            CallProblem::NoFunction { .. } => "there is no such function".to_owned(),
            CallProblem::NotAModule => "the function is not decorated with `@module`".to_owned(),
            CallProblem::NoDocument => "the function has no argument for the document".to_owned(),
            CallProblem::WrongVerb { takes: Takes::Doc, argument } => {
                format!("the function takes one document (`{argument}`), the target hands over a set")
            }
            CallProblem::WrongVerb { takes: Takes::Docs, argument } => {
                format!("the function takes a set of documents (`{argument}`), the target hands over one")
            }
            CallProblem::NotKeywordOnly { argument } => {
                format!("nothing is given for the argument `{argument}`")
            }
            CallProblem::Missing { argument, .. } => {
                format!("the argument `{argument}` has no default and is not given")
            }
            CallProblem::UnknownParam { name, .. } => format!("the function has no parameter `{name}`"),
            CallProblem::UnknownWith { name, .. } => format!("the function has no argument `{name}`"),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        let meant = |near: &Option<String>, otherwise: &str| {
            near.as_ref().map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"))
        };
        match self {
            CallProblem::NoFunction { near } => meant(near, "write it, decorated with `@module`"),
            CallProblem::NotAModule => {
                "write `@module` above it: `from pipelinefile import module`".to_owned()
            }
            CallProblem::NoDocument => {
                "give it a first argument: `doc` for `each`, `docs` for a set".to_owned()
            }
            CallProblem::WrongVerb { takes: Takes::Doc, .. } => {
                "use `each`, or call the first argument `docs`".to_owned()
            }
            CallProblem::WrongVerb { takes: Takes::Docs, .. } => {
                "use `all` or `group`, or call the first argument `doc`".to_owned()
            }
            CallProblem::NotKeywordOnly { argument } => {
                format!(
                    "params and side inputs are keyword-only: write `*, {argument}` after the first argument"
                )
            }
            CallProblem::Missing { argument, is_doc: true } => {
                format!("name a stream: `with = {{ {argument} = \"…\" }}`")
            }
            CallProblem::Missing { argument, is_doc: false } => {
                format!("give it a default, or a value: `params = {{ {argument} = … }}`")
            }
            CallProblem::UnknownParam { name, near } | CallProblem::UnknownWith { name, near } => {
                meant(near, &format!("declare it keyword-only: `def …(…, *, {name})`"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
