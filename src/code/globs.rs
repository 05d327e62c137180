//! The files that `code = […]` names: they replace whatever would be found by itself.
//!
//! Globs are relative to the project's folder; `*` stays within a folder, `**` does not. Hidden folders are entered
//! only where a glob spells them out, so a wide glob does not read through the store. Of a folder that a compiler keeps, and
//! that says so (`CACHEDIR.TAG`, as cargo's `target` has it), a wide glob takes what can be run. Links among what a wild part
//! of a glob finds are passed over; a path that is spelt out may be one.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::code::tree::{Tree, folder, is_foreign, join};
use crate::error::{Error, Result};
use crate::model::selection::Glob;

/// By such a file a folder says that all in it can be made again (<https://bford.info/cachedir/>).
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// What is said of a module in a folder, `modules/NAME/module.toml`: its command and its version are in the key by themselves.
const SAID: &str = "module.toml";

/// All files that the globs match; one that matches none is an error.
pub(super) fn files_of_globs(tree: &mut Tree<'_>, globs: &[String]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    for glob in globs {
        let (matched, is_any_said) = files_of_glob(tree, glob)?;
        if matched.is_empty() && !is_any_said {
            return Err(Error::usage(format!("`code`: no file of the project matches `{glob}`")).hint(
                "globs are relative to the project's folder; `modules/lib/**` takes all files below one",
            ));
        }
        files.extend(matched);
    }
    Ok(files)
}

/// The files that match, and whether there is what is said of a module as well.
fn files_of_glob(tree: &mut Tree<'_>, glob: &str) -> Result<(BTreeSet<String>, bool)> {
    let Some(pattern) = tree.inside(Path::new(glob)) else {
        return Err(Error::usage(format!("`code`: `{glob}` leads out of the project"))
            .hint("copy or link the file into the project"));
    };
    if tree.is_file(&pattern) {
        return Ok(([pattern].into(), false));
    }
    let matcher = Glob::new(&pattern)
        .map_err(|problem| Error::usage(format!("`code`: `{glob}` is no glob")).caused_by(problem))?;
    let spelt_out = folder(&pattern[..pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len())]);
    let mut files = BTreeSet::new();
    let levels = levels_below(&pattern, spelt_out);
    let mut is_any_said = false;
    if tree.is_folder(spelt_out) {
        is_any_said = collect(tree.root(), spelt_out, levels, &matcher, &mut files)?;
    }
    Ok((files, is_any_said))
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
) -> Result<bool> {
    let mut is_any_said = false;
    let mut open = vec![(start.to_owned(), levels, false)];
    while let Some((path, levels, programs)) = open.pop() {
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
                if is_said(&below) {
                    is_any_said = true;
                } else if !programs || can_be_run(&entry).map_err(fail)? {
                    files.insert(below);
                }
            } else if kind.is_dir() && levels > 1 && !name.starts_with('.') {
                let programs = programs || root.join(&below).join(CACHE_TAG).is_file();
                open.push((below, levels - 1, programs));
            }
        }
    }
    Ok(is_any_said)
}

fn is_said(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["modules", _, SAID])
}

/// A file that is gone by now cannot.
fn can_be_run(entry: &std::fs::DirEntry) -> std::io::Result<bool> {
    match entry.metadata() {
        Ok(metadata) => Ok(metadata.permissions().mode() & 0o111 != 0),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
