//! The files that `code = […]` names: they replace whatever would be found by itself.
//!
//! Globs are relative to the project's folder; `*` stays within a folder, `**` does not. Hidden folders are entered
//! only where a glob spells them out, so a wide glob does not read through the store. Links among what a wild part
//! of a glob finds are passed over; a path that is spelt out may be one.

use std::collections::BTreeSet;
use std::path::Path;

use crate::code::tree::{Tree, folder, is_foreign, join};
use crate::error::{Error, Result};
use crate::model::selection::Glob;

/// All files that the globs match; one that matches none is an error.
pub(super) fn files_of_globs(tree: &mut Tree<'_>, globs: &[String]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for glob in globs {
        let matched = files_of_glob(tree, glob)?;
        if matched.is_empty() {
            return Err(Error::usage(format!("`code`: no file of the project matches `{glob}`")).hint(
                "globs are relative to the project's folder; `modules/lib/**` takes all files below one",
            ));
        }
        files.extend(matched);
    }
    Ok(files)
}

fn files_of_glob(tree: &mut Tree<'_>, glob: &str) -> Result<BTreeSet<String>> {
    let Some(pattern) = tree.inside(Path::new(glob)) else {
        return Err(Error::usage(format!("`code`: `{glob}` leads out of the project"))
            .hint("copy or link the file into the project"));
    };
    if tree.is_file(&pattern) {
        return Ok([pattern].into());
    }
    let matcher = Glob::new(&pattern)
        .map_err(|problem| Error::usage(format!("`code`: `{glob}` is no glob")).caused_by(problem))?;
    let spelt_out = folder(&pattern[..pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len())]);
    let mut files = BTreeSet::new();
    let levels = levels_below(&pattern, spelt_out);
    if tree.is_folder(spelt_out) {
        collect(tree.root(), spelt_out, levels, &matcher, &mut files)?;
    }
    Ok(files)
}

/// How many folders deep a match can lie.
fn levels_below(pattern: &str, spelt_out: &str) -> usize {
    if pattern.contains("**") || pattern.contains('{') {
        return usize::MAX;
    }
    let depth = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
    depth(pattern) - depth(spelt_out)
}

fn collect(
    root: &Path,
    start: &str,
    levels: usize,
    matcher: &Glob,
    files: &mut BTreeSet<String>,
) -> Result<()> {
    let mut open = vec![(start.to_owned(), levels)];
    while let Some((path, levels)) = open.pop() {
        let place = root.join(&path);
        let fail = |e: std::io::Error| Error::io("list the folder", &place, &e);
        for entry in std::fs::read_dir(&place).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            // A name that is not UTF-8 cannot be written in a Pipelinefile.
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let below = join(&path, name);
            if is_foreign(&below) {
                continue;
            }
            let kind = entry.file_type().map_err(fail)?;
            if kind.is_file() && matcher.matches(&below) {
                files.insert(below);
            } else if kind.is_dir() && levels > 1 && !name.starts_with('.') {
                open.push((below, levels - 1));
            }
        }
    }
    Ok(())
}
