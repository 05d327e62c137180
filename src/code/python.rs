//! Which files of the project a Python program is made of: itself, and what it imports, directly or not.
//!
//! As Python finds them: the program's own folder, then the project's; in each a package, then a module; folders
//! without `__init__.py` last. Names are resolved anew each time, for another file of that name may have appeared.
//! What is found nowhere in the project is installed, and passed over. Compiled modules are learned from workers.

use std::collections::BTreeSet;

use crate::code::imports::Import;
use crate::code::tree::{Tree, folder, join};
use crate::error::Result;

const PACKAGE_FILE: &str = "__init__.py";

/// The file and all that it imports, sorted. A file that is not there is left out.
pub(super) fn program(tree: &mut Tree<'_>, file: &str) -> Result<BTreeSet<String>> {
    let mut search = vec![folder(file).to_owned()];
    search.extend((!search[0].is_empty()).then(String::new));
    follow(tree, &search, vec![file.to_owned()])
}

/// What `python -m NAME` runs in the project's folder.
pub(super) fn run_by_name(tree: &mut Tree<'_>, name: &str) -> Result<BTreeSet<String>> {
    let search = vec![String::new()];
    let mut files = Vec::new();
    for package in find(tree, &search, name, &mut files) {
        files.push(join(&package, "__main__.py"));
    }
    follow(tree, &search, files)
}

fn follow(tree: &mut Tree<'_>, search: &[String], mut open: Vec<String>) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    while let Some(file) = open.pop() {
        if found.contains(&file) {
            continue;
        }
        let Some(facts) = tree.facts(&file)? else { continue };
        for import in &facts.imports {
            resolve(tree, search, &file, import, &mut open);
        }
        found.insert(file);
    }
    Ok(found)
}

/// Adds the files that one import loads.
fn resolve(tree: &mut Tree<'_>, search: &[String], file: &str, import: &Import, files: &mut Vec<String>) {
    let packages = if import.level == 0 {
        find(tree, search, &import.module, files)
    } else {
        let mut base = folder(file);
        for _ in 1..import.level {
            if base.is_empty() {
                return;
            }
            base = folder(base);
        }
        let base = [base.to_owned()];
        let package = join(&base[0], PACKAGE_FILE);
        if tree.is_file(&package) {
            files.push(package);
        }
        if import.module.is_empty() { base.to_vec() } else { find(tree, &base, &import.module, files) }
    };
    for name in import.names.iter().filter(|name| *name != "*") {
        find(tree, &packages, name, files);
    }
}

/// Looks for a dotted name in folders, in their order. Adds the files that are loaded on the way, those of packages
/// included; returns the folders in which modules below that name lie, none if it names no package.
fn find(tree: &mut Tree<'_>, folders: &[String], name: &str, files: &mut Vec<String>) -> Vec<String> {
    let mut folders = folders.to_vec();
    for part in name.split('.') {
        folders = find_part(tree, &folders, part, files);
    }
    folders
}

fn find_part(tree: &mut Tree<'_>, folders: &[String], part: &str, files: &mut Vec<String>) -> Vec<String> {
    if part.is_empty() || part.contains('/') {
        // `import_module("../elsewhere")` names no module, and nothing may lead out of the project.
        return Vec::new();
    }
    let mut without_file = Vec::new();
    for base in folders {
        let package = join(base, part);
        let is_folder = tree.is_folder(&package);
        let package_file = join(&package, PACKAGE_FILE);
        if is_folder && tree.is_file(&package_file) {
            files.push(package_file);
            return vec![package];
        }
        let module = format!("{package}.py");
        if tree.is_file(&module) {
            files.push(module);
            return Vec::new();
        }
        without_file.extend(is_folder.then_some(package));
    }
    without_file
}
