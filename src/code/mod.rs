//! Reading modules' code: which files count for a module, and what its functions look like; nothing is run.
//!
//! Knows nothing of targets, stores or runs. The digests made here enter a module's fingerprint; see
//! `docs/design/fingerprint.md`.
//!
//! ```text
//! syntax ── functions ─┬─ call
//!    │                 └─ found ── packages
//!    └───── imports ── cache ── tree ── python ── command
//!                                 └──── globs
//! ```

mod cache;
mod call;
mod command;
mod found;
mod functions;
mod globs;
mod imports;
mod packages;
mod python;
mod syntax;
mod tokens;
mod tree;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use call::{Call, CallProblem, Takes, check_call, nearest_function};
pub use found::{Found, FoundModule, functions_of_file, modules_found};
pub use functions::{Function, Functions, Param, functions};
pub use imports::{Import, imports};
pub use packages::{ModuleSource, installed_source, source_of};
pub use syntax::Problem;
pub use tree::{Tree, Work, is_foreign};

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::pipeline::{Module, Program};

/// What a module's code files are found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// A Python file, relative to the project's folder, and what it imports.
    Python(PathBuf),
    /// The files that the words of a command name.
    Command(Vec<String>),
    /// The files that a shell script names.
    Shell(String),
    /// The files that globs match: `code = […]`.
    Globs(Vec<String>),
    /// None: the program does not lie in the project.
    Nothing,
}

impl Spec {
    /// What the code files of a module are found by.
    pub fn of(module: &Module) -> Self {
        if let Some(globs) = &module.code {
            return Spec::Globs(globs.clone());
        }
        match module.program.inside() {
            Program::Python { file, .. } => Spec::Python(file.clone()),
            Program::Worker(words) | Program::Filter(words) => Spec::Command(words.clone()),
            Program::Shell(script) => Spec::Shell(script.clone()),
            Program::Url(_) | Program::Image(..) => Spec::Nothing,
        }
    }
}

/// The code files that count for a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeFiles {
    /// Relative to the project's folder, sorted.
    pub files: Vec<(String, Digest)>,
}

impl Tree<'_> {
    /// The code files of a module, as they are now.
    pub fn code_files(&mut self, spec: &Spec) -> Result<CodeFiles> {
        let names = match spec {
            Spec::Python(file) => self.python_files(file)?,
            Spec::Command(words) => command::files_of_words(self, words)?,
            Spec::Shell(script) => command::files_of_script(self, script)?,
            Spec::Globs(globs) => globs::files_of_globs(self, globs)?,
            Spec::Nothing => BTreeSet::new(),
        };
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            // Of a function's file the packages that its worker loads count, not those that are listed.
            let digest = match spec {
                Spec::Python(_) => self.digest(&name)?,
                _ => self.digest_with_block(&name)?,
            };
            // One that vanished this very moment counts no more.
            if let Some(digest) = digest {
                files.push((name, digest));
            }
        }
        Ok(CodeFiles { files })
    }

    /// A Python file and all files of the project that it imports, directly or not.
    pub fn python_files(&mut self, file: &Path) -> Result<BTreeSet<String>> {
        let shown = file.display();
        let Some(name) = self.inside(file) else {
            return Err(Error::usage(format!("`{shown}` does not lie in the project")));
        };
        let files = python::program(self, &name)?;
        if files.is_empty() {
            return Err(Error::usage(format!("there is no file `{shown}`"))
                .hint("a module `words` is the function `words` in `modules/words.py`"));
        }
        Ok(files)
    }
}

/// The code files of a module, as they are now. For several modules, one [`Tree`] looks at each file only once.
pub fn code_files(root: &Path, spec: &Spec, cache: &mut dyn Cache) -> Result<CodeFiles> {
    Tree::new(root, cache).code_files(spec)
}

/// A Python file and all files of the project that it imports, directly or not; relative, sorted.
pub fn python_files(root: &Path, file: &Path) -> Result<Vec<PathBuf>> {
    let mut cache: HashMap<String, Vec<u8>> = HashMap::new();
    let files = Tree::new(root, &mut cache).python_files(file)?;
    Ok(files.into_iter().map(PathBuf::from).collect())
}

/// The present digest of a project file that a worker had loaded; nothing if it is gone or cannot be read.
pub fn load_set_digest(root: &Path, file: &str, cache: &mut dyn Cache) -> Option<Digest> {
    Tree::new(root, cache).digest(file).ok().flatten()
}

#[cfg(test)]
mod tests;
