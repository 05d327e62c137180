//! Modules that count their runs themselves: each appends a line to a file, whatever `pipe` says that it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::outcome::dedent;
use super::project::Project;

/// What every counting Python module begins with. `ran(doc)` notes the first line of a document, `ran("…")` any text.
const HEAD: &str = r#"import os
from pipelinefile import Child, Doc, Result, Retry, Skip, module

def ran(what):
    if isinstance(what, Doc):
        what = what.text().split("\n")[0]
    with open(os.environ["RUNS"], "a") as runs:
        runs.write(__name__ + " " + what + "\n")

"#;

impl Project {
    /// An empty folder, with a place where modules note their runs: `$RUNS`.
    pub(crate) fn counting() -> Project {
        let project = Project::new();
        let runs = project.root().join("runs");
        project.env("RUNS", runs.to_str().unwrap()).env("PIPE_PYTHON", python())
    }

    /// Writes `modules/NAME.py` with `ran` in it.
    pub(crate) fn module(self, name: &str, code: &str) -> Project {
        self.write_module(name, code);
        self
    }

    /// The same, also later.
    pub(crate) fn write_module(&self, name: &str, code: &str) {
        self.write(&format!("modules/{name}.py"), HEAD.to_owned() + &dedent(code));
    }

    /// Builds, and compares what ran with these lines, whatever their order: the module's name and what it noted.
    #[track_caller]
    pub(crate) fn build_runs(&self, expected: &[&str]) {
        self.build_with(&[], 0, expected);
    }

    /// The same with more arguments and another exit code; what was said.
    #[track_caller]
    pub(crate) fn build_with(&self, arguments: &[&str], status: i32, expected: &[&str]) -> super::Outcome {
        let outcome = self.pipe(&[&["build"], arguments].concat()).ends(status);
        let runs = self.take_runs();
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        assert!(runs == expected, "expected runs {expected:?}\nbut these ran  {runs:?}\n{}", outcome.text());
        outcome
    }

    /// What ran since it was asked last, sorted.
    pub(crate) fn take_runs(&self) -> Vec<String> {
        let path = self.root().join("runs");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        std::fs::remove_file(path).ok();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What is published below `out`: names and texts.
    pub(crate) fn published(&self) -> BTreeMap<String, String> {
        texts(&self.root().join("out"))
    }

    /// The names of what is published below `out`.
    pub(crate) fn published_names(&self) -> Vec<String> {
        self.published().into_keys().collect()
    }

    /// Compares what is published with what a clean build of the same files publishes.
    #[track_caller]
    pub(crate) fn is_as_built_clean(&self) {
        let clean = Project::counting();
        copy(self.root(), clean.root());
        let outcome = clean.pipe(&["build"]);
        assert!([0, 1].contains(&outcome.status), "{}", outcome.text());
        assert_eq!(self.published(), clean.published());
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) {
        std::fs::remove_file(self.root().join(name)).unwrap();
    }

    /// Gives a file another name.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let to = self.root().join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::rename(self.root().join(from), to).unwrap();
    }

    /// Writes a file anew with other text in one place; the text must be there.
    #[track_caller]
    pub(crate) fn replace(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{name} has no {old:?}:\n{text}");
        self.write(name, text.replace(old, new));
    }
}

/// The interpreter itself: a shim in front of it would take most of a test's time.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut open = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files
}

fn texts(folder: &Path) -> BTreeMap<String, String> {
    let named = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (name, String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
    };
    files(folder).into_iter().map(named).collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let name = path.strip_prefix(from).unwrap();
        if [".pipe", "out", "runs"].iter().any(|own| name.starts_with(own)) {
            continue;
        }
        let to = to.join(name);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(path, to).unwrap();
    }
}
