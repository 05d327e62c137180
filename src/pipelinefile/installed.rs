//! Modules that are there without a word in the file: entry points of installed packages, programs on PATH. Files are
//! read, nothing is run. Knows nothing of targets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::says::{self, Says};
use crate::model::pipeline::Program;

/// The group of entry points that are modules.
const GROUP: &str = "pipelinefile.modules";
/// What a program on PATH is called that is a module: a worker.
const PREFIX: &str = "pipe-module-";

/// A module that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Installed {
    /// How a target names it.
    pub name: String,
    /// How it is run.
    pub program: Program,
    /// Globs of the code files that count: none of what is installed.
    pub code: Vec<String>,
    /// What its author says of it. The version of a package is that of its distribution: `mailtools==1.2`.
    pub says: Says,
    /// The folder of packages that its function is imported from.
    pub packages: Option<PathBuf>,
    /// Where it was found: a metadata folder, the program's file, a `module.toml`.
    pub place: PathBuf,
}

/// All of them by their names; an entry point goes before a program on PATH. Of one that cannot be used, why.
pub fn installed(root: &Path) -> Vec<(String, Result<Installed, String>)> {
    let mut found = BTreeMap::new();
    for folder in std::env::split_paths(&crate::env::path()) {
        for file in names_in(&folder) {
            let name = file.strip_prefix(PREFIX).filter(|name| is_module_name(name));
            // What is said of a program lies beside it.
            let name = name.filter(|name| !is_said_of_another(&folder, name));
            if let Some(name) = name
                && folder.join(&file).is_file()
            {
                found.entry(name.to_owned()).or_insert_with(|| on_path(&folder, &file, name));
            }
        }
    }
    let mut points = BTreeMap::new();
    for folder in packages(root) {
        for metadata in names_in(&folder) {
            let Some(distribution) = metadata.strip_suffix(".dist-info") else { continue };
            let place = folder.join(&metadata);
            let Ok(Some(text)) = crate::fs::read_optional(&place.join("entry_points.txt")) else { continue };
            for (name, program) in entry_points(&String::from_utf8_lossy(&text)) {
                let version = Some(distribution.replacen('-', "==", 1));
                let one = Installed {
                    name: name.clone(),
                    program,
                    code: Vec::new(),
                    says: Says { version, ..Says::default() },
                    packages: Some(folder.clone()),
                    place: place.clone(),
                };
                // The first folder is the one that Python imports from.
                points.entry(name).or_insert(Ok(one));
            }
        }
    }
    found.extend(points);
    found.into_iter().collect()
}

/// `pipe-module-ner.toml` beside `pipe-module-ner`.
fn is_said_of_another(folder: &Path, name: &str) -> bool {
    let of = name.strip_suffix(".toml");
    of.is_some_and(|of| folder.join(format!("{PREFIX}{of}")).is_file())
}

/// A program on PATH, with what the file beside it says.
fn on_path(folder: &Path, file: &str, name: &str) -> Result<Installed, String> {
    let said = folder.join(format!("{file}.toml"));
    let says = match crate::fs::read_optional(&said) {
        Ok(Some(text)) => says::read(&String::from_utf8_lossy(&text), &[]).map(|(says, _)| says),
        Ok(None) => Ok(Says::default()),
        Err(error) => Err(error.to_string()),
    };
    Ok(Installed {
        name: name.to_owned(),
        program: Program::Worker(vec![file.to_owned()]),
        code: Vec::new(),
        says: says.map_err(|problem| format!("{}: {problem}", said.display()))?,
        packages: None,
        place: folder.join(file),
    })
}

/// The entry points of our group: `thread = mailtools.threads:thread`.
fn entry_points(text: &str) -> Vec<(String, Program)> {
    let mut ours = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            ours = section.trim() == GROUP;
        } else if ours
            && let Some((name, object)) = line.split_once('=')
            && let Some((package, function)) = object.split('[').next().unwrap_or_default().split_once(':')
            && is_module_name(name.trim())
        {
            let (file, function) = (package.trim().into(), function.trim().to_owned());
            found.push((name.trim().to_owned(), Program::Python { file, function }));
        }
    }
    found
}

/// `thread`, `mail:thread`.
fn is_module_name(name: &str) -> bool {
    let (file, function) = super::value::split(name);
    super::value::is_name(file) && function.is_none_or(super::value::is_identifier)
}

/// The folders of installed packages of the interpreter at hand, found beside it.
fn packages(root: &Path) -> Vec<PathBuf> {
    let [active, _] = crate::env::python_selection();
    let stated = crate::env::python().map(|python| root.join(python));
    let environments = [active.map(|folder| root.join(folder)), Some(root.join(".venv"))];
    let own = environments.into_iter().flatten().map(|folder| folder.join("bin/python3"));
    let on_path =
        std::env::split_paths(&crate::env::path()).map(|folder| folder.join("python3")).collect::<Vec<_>>();
    let mut all = stated.into_iter().chain(own).chain(on_path);
    let Some(python) = all.find(|file| file.is_file()) else { return Vec::new() };
    let prefix = |python: &Path| python.parent().and_then(Path::parent).map(Path::to_owned);
    let mut prefixes: Vec<PathBuf> = prefix(&python).into_iter().collect();
    // A link that is no environment leads to where the interpreter is installed.
    if let (Some(first), Ok(real)) = (prefixes.first(), python.canonicalize())
        && !first.join("pyvenv.cfg").is_file()
    {
        prefixes.extend(prefix(&real));
    }
    let mut folders = Vec::new();
    for lib in prefixes.iter().flat_map(|prefix| [prefix.join("local/lib"), prefix.join("lib")]) {
        for version in names_in(&lib).into_iter().filter(|name| name.starts_with("python3")) {
            folders.extend(["site-packages", "dist-packages"].map(|name| lib.join(&version).join(name)));
        }
    }
    folders
}

fn names_in(folder: &Path) -> Vec<String> {
    super::disk::names_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_of_our_group_are_modules() {
        let text = "[console_scripts]\nx = a:b\n\n[pipelinefile.modules]\nthread = mailtools.threads:thread\n\
                    mail:split=mailtools:split [extra]\n..bad = a:b\nno_function = a\n";
        let python =
            |file: &str, function: &str| Program::Python { file: file.into(), function: function.into() };
        assert_eq!(
            entry_points(text),
            [
                ("thread".to_owned(), python("mailtools.threads", "thread")),
                ("mail:split".to_owned(), python("mailtools", "split")),
            ]
        );
    }
}
