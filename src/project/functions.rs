//! The functions and files that a Pipelinefile calls, compared with the code as it is; no code is run.
//!
//! What is wrong lies in the code as much as in the Pipelinefile, so all of it counts as lying on the disk.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::code::{self, CallProblem, ModuleSource, Spec, Takes, Tree, check_call};
use crate::error::Error;
use crate::model::pipeline::{Module, Program, Verb};
use crate::pipelinefile::{Loaded, Mistake, PythonCall, Span, script_fault};

/// Endings by which a word of a command is known as a file of code.
const CODE: &[&str] =
    &["awk", "jl", "js", "lua", "mjs", "php", "pl", "py", "r", "rb", "sed", "sh", "sql", "ts", "xsl"];

/// The mistakes and warnings of all calls. A file that is not there is no news: the Pipelinefile's reader has said so.
pub(super) fn check(root: &Path, calls: &[PythonCall]) -> Vec<Mistake> {
    let mut found = Vec::new();
    let mut told: BTreeSet<PathBuf> = BTreeSet::new();
    for call in calls {
        let source = code::source_of(root, &call.called).unwrap_or_else(|error| {
            found.push(Mistake::at(call.place.clone(), error.to_string()).on_disk());
            None
        });
        let Some(source) = source else { continue };
        if told.insert(source.file.clone()) {
            found.extend(source.functions.problems.iter().map(|problem| {
                let message = format!("{}, {problem}", source.file.display());
                Mistake::at(call.place.clone(), message).warning()
            }));
            let text = crate::fs::read_optional(&root.join(&source.file)).ok().flatten().unwrap_or_default();
            if let Some((line, fault)) = script_fault(&String::from_utf8_lossy(&text)) {
                let message = format!("{}:{line}: {fault}", source.file.display());
                found.push(Mistake::at(call.place.clone(), message).label("the module's script").on_disk());
            }
        }
        found.extend(check_one(&source, call));
    }
    found
}

fn check_one(source: &ModuleSource, call: &PythonCall) -> Vec<Mistake> {
    let functions = &source.functions;
    let names = |list: &'_ [(String, Span)]| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let (params, with) = (names(&call.params), names(&call.with));
    let actual = functions.find(&call.function).and_then(code::Function::takes);
    // Without a clear verb whatever the function takes is taken for right.
    let takes = match call.verb {
        Some(Verb::Each) => Takes::Doc,
        Some(Verb::All | Verb::Group) => Takes::Docs,
        None => actual.unwrap_or(Takes::Doc),
    };
    let handed = code::Call {
        takes,
        params: &params.iter().map(String::as_str).collect::<Vec<_>>(),
        with: &with.iter().map(String::as_str).collect::<Vec<_>>(),
    };
    let problems = check_call(functions, &call.function, &handed);
    problems
        .into_iter()
        .filter(|problem| !is_shared(problem, call))
        .map(|one| mistake(source, call, &one))
        .collect()
}

/// Whether it is about a parameter that only some of several functions know.
fn is_shared(problem: &CallProblem, call: &PythonCall) -> bool {
    matches!(problem, CallProblem::UnknownParam { name, .. } if call.shared.contains(name))
}

fn mistake(source: &ModuleSource, call: &PythonCall, problem: &CallProblem) -> Mistake {
    let (function, file) = (&call.function, source.file.display());
    let place = |list: &[(String, Span)], name: &str| {
        list.iter().find(|(known, _)| known == name).map_or(call.place.clone(), |(_, span)| span.clone())
    };
    let message = match problem {
        CallProblem::NoFunction { .. } => format!("there is no function `{function}` in {file}"),
        _ => format!("`{function}` in {file}: {}", problem.what()),
    };
    let (span, label) = match problem {
        CallProblem::UnknownParam { name, .. } => (place(&call.params, name), "not known"),
        CallProblem::UnknownWith { name, .. } => (place(&call.with, name), "not known"),
        CallProblem::NoFunction { .. } => (call.place.clone(), "not found"),
        _ => (call.place.clone(), ""),
    };
    Mistake::at(span, message).label(label).help(problem.hint()).on_disk()
}

/// Code files of commands that are not there, and globs of `code` that match nothing.
pub(super) fn check_commands(loaded: &Loaded) -> Vec<Mistake> {
    let pipeline = &loaded.pipeline;
    let mut cache: HashMap<String, Vec<u8>> = HashMap::new();
    let mut tree = Tree::new(&pipeline.root, &mut cache);
    let mut found = Vec::new();
    for module in &pipeline.modules {
        match (&module.code, module.program.inside()) {
            (Some(_), _) => {
                if let Err(error) = tree.code_files(&Spec::of(module)) {
                    found.push(with_hints(at(loaded, module, "code", error.to_string()), &error).on_disk());
                }
            }
            (None, Program::Worker(words) | Program::Filter(words)) => {
                for word in words.iter().filter(|word| is_missing(&pipeline.root, word)) {
                    let mistake = at(loaded, module, "cmd", format!("there is no file `{word}`"));
                    found
                        .push(mistake.help("paths are relative to the folder of the Pipelinefile").on_disk());
                }
            }
            _ => {}
        }
    }
    found
}

/// At a key of the module's table, or of the target that has the command itself.
fn at(loaded: &Loaded, module: &Module, key: &str, message: String) -> Mistake {
    let own = format!("target.{}.{key}", module.name);
    match loaded.spans.value(&own) {
        Some(span) => Mistake::at(span, message),
        None => loaded.mistake_at_module(&module.name, key, message),
    }
}

fn with_hints(mistake: Mistake, error: &Error) -> Mistake {
    error.hints.iter().fold(mistake, |mistake, hint| mistake.help(hint.clone()))
}

/// Whether a word can only be meant as a code file of the project, and is none.
fn is_missing(root: &Path, word: &str) -> bool {
    let path = Path::new(word);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let plain = !word.contains(['{', '*', '=', ':', ' ', '$']) && !word.starts_with('-');
    let is_code = path.is_relative() && word.contains('/') && CODE.contains(&ending);
    plain && is_code && !root.join(path).exists()
}
