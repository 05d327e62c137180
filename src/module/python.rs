//! The Python interpreter of a project, and the package that modules import, which `pipe` carries with it.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, io_text};
use crate::hash::FieldHasher;
use crate::module::program::search;
use crate::{env, fs};

/// The package `pipelinefile` for Python: every file of it. A test compares the list with the folder.
const SDK: &[(&str, &str)] = &[
    ("__init__.py", include_str!("../../python/pipelinefile/__init__.py")),
    ("_outside.py", include_str!("../../python/pipelinefile/_outside.py")),
];
/// The oldest interpreter that the package runs on.
const OLDEST: (u32, u32) = (3, 9);

/// What a Python module needs to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// The interpreter. Absolute.
    pub executable: PathBuf,
    /// The folder to import `pipelinefile` from, see [`unpack_sdk`].
    pub sdk: PathBuf,
    /// Its major.minor.
    pub version: String,
    /// What to do where a package is missing, if that is not to install it with this interpreter's pip.
    pub install: Option<String>,
}

impl Python {
    /// The folders in which the interpreter finds packages, as workers at `root` see them; empty if it does not say.
    pub fn import_path(&self, root: &Path) -> Vec<PathBuf> {
        let ask = "import sys; print('\\n'.join(sys.path))";
        let asked =
            Command::new(&self.executable).args(["-c", ask]).current_dir(root).stdin(Stdio::null()).output();
        let text =
            asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().filter(|line| line.starts_with('/')).map(PathBuf::from).collect()
    }
}

/// An interpreter that was asked who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The file. Absolute.
    pub executable: PathBuf,
    /// `3.11`
    pub version: String,
}

impl Interpreter {
    /// With the package that modules import.
    pub fn with(&self, sdk: PathBuf) -> Python {
        Python { executable: self.executable.clone(), sdk, version: self.version.clone(), install: None }
    }
}

/// The file that is meant by `python`: `PIPE_PYTHON`, else that of the environment at hand (the active one, or `.venv` in
/// the project), else `python3` on PATH.
fn selected(root: &Path) -> Result<PathBuf> {
    if let Some(asked) = env::python() {
        let found = if asked.as_bytes().contains(&b'/') {
            Some(root.join(&asked)).filter(|file| file.is_file())
        } else {
            search(&asked, &env::path(), root)
        };
        return found.ok_or_else(|| {
            let asked = asked.to_string_lossy();
            Error::usage(format!("PIPE_PYTHON is `{asked}`, but there is no such program"))
                .hint("set it to the path of a Python interpreter, or unset it")
        });
    }
    let [active, _] = env::python_selection();
    let environments = [active.map(|folder| root.join(folder)), Some(root.join(".venv"))];
    let own = environments
        .into_iter()
        .flatten()
        .map(|folder| folder.join("bin/python3"))
        .find(|file| file.is_file());
    own.or_else(|| search("python3".as_ref(), &env::path(), root)).ok_or_else(|| {
        Error::usage("no Python interpreter: there is no `python3` on PATH")
            .hint("install Python 3.9 or newer, or set PIPE_PYTHON to an interpreter")
    })
}

/// The folders of packages of the environment that an interpreter lies in.
pub fn packages_of(executable: &Path) -> Vec<PathBuf> {
    let lib = executable.parent().and_then(Path::parent).map(|folder| folder.join("lib"));
    let entries = lib.and_then(|lib| std::fs::read_dir(lib).ok()).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path().join("site-packages"));
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
    folders.sort();
    let declared = env::declared("PYTHONPATH").unwrap_or_default();
    folders.splice(0..0, std::env::split_paths(&declared).filter(|folder| folder.is_absolute()));
    folders
}

/// Whether a folder of packages is that of an interpreter: `PREFIX/lib/…` beside `PREFIX/bin/python3`.
pub fn has_interpreter(packages: &Path) -> bool {
    let is_prefix = |folder: &&Path| {
        let below = packages.strip_prefix(folder).ok().and_then(|below| below.components().next());
        let below = below.map(|first| first.as_os_str().to_owned());
        below.is_some_and(|first| ["lib", "lib64", "local"].iter().any(|name| first == *name))
    };
    packages.ancestors().skip(1).filter(is_prefix).any(|folder| folder.join("bin/python3").is_file())
}

/// Finds the interpreter for the project at `root` and asks it who it is; 20 ms or more, so keep the answer under
/// [`selection_key`].
pub fn find(root: &Path) -> Result<Interpreter> {
    let program = selected(root)?;
    let ask = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)";
    let shown = program.display();
    let output = Command::new(&program)
        .args(["-I", "-c", ask])
        .current_dir(root)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::usage(format!("cannot run `{shown}`: {}", io_text(&e))))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let (version, executable) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let Some(numbers) = parse_version(version).filter(|_| output.status.success()) else {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or("it said nothing").trim().to_owned();
        return Err(Error::usage(format!("`{shown}` is no working Python interpreter"))
            .caused_by(said)
            .hint("set PIPE_PYTHON to an interpreter"));
    };
    if numbers < OLDEST {
        return Err(Error::usage(format!("`{shown}` is Python {version}, which is too old"))
            .hint("install Python 3.9 or newer, or set PIPE_PYTHON to one"));
    }
    // A shim starts a shell for each worker only to find what it has told us now.
    let executable = if !executable.is_empty() && is_script(&program) { executable.into() } else { program };
    Ok(Interpreter { executable, version: version.to_owned() })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether a program is text that another program runs.
pub fn is_script(path: &Path) -> bool {
    let mut begin = [0; 2];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok() && &begin == b"#!"
}

/// Changes when [`find`] might give another answer: the selected file, the variables and the files that shims go by.
/// A few stats, no process. Of this machine only: never part of a key of a result.
pub fn selection_key(root: &Path) -> String {
    let mut hasher = FieldHasher::new("pipe python selection 2");
    match selected(root) {
        Err(error) => hasher.text(&error.to_string()),
        Ok(path) => {
            hasher.bytes(path.as_os_str().as_bytes());
            // Both the link and what it leads to: a virtual environment's is a link.
            let settings = path.parent().and_then(Path::parent).unwrap_or(root).join("pyvenv.cfg");
            let files =
                [std::fs::symlink_metadata(&path), std::fs::metadata(&path), std::fs::metadata(settings)];
            for meta in files {
                let stamp = meta.map_or((0, 0, 0), |meta| (meta.len(), meta.mtime(), meta.mtime_nsec()));
                hasher.number(stamp.0).number(stamp.1 as u64).number(stamp.2 as u64);
            }
            &mut hasher
        }
    };
    for variable in env::python_selection() {
        hasher.option(variable.as_deref().map(OsStrExt::as_bytes));
    }
    // What makes its import path.
    for name in ["PYTHONPATH", "PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONUSERBASE", "HOME"] {
        hasher.option(env::declared(name).as_deref().map(OsStrExt::as_bytes));
    }
    let up_the_tree = root.ancestors().map(|folder| folder.join(".python-version"));
    let global = env::declared("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| env::declared("HOME").map(|home| Path::new(&home).join(".pyenv")))
        .map(|folder| folder.join("version"));
    for file in up_the_tree.chain(global) {
        // Unreadable is as good as absent: a shim cannot read it either.
        let content = fs::read_optional(&file).ok().flatten();
        hasher.option(content.as_deref());
    }
    hasher.finish().hex()
}

/// Writes the Python package below `folder`, so far as it is not there; the folder to import it from.
pub fn unpack_sdk(folder: &Path) -> Result<PathBuf> {
    let mut hasher = FieldHasher::new("pipe python package");
    for (name, content) in SDK {
        hasher.text(name).text(content);
    }
    let root = folder.join(hasher.finish().short());
    let package = root.join("pipelinefile");
    for (name, content) in SDK {
        let file = package.join(name);
        if fs::read_optional(&file)?.as_deref() != Some(content.as_bytes()) {
            fs::create_dir(&package)?;
            let temporary = package.join(format!(".{name}.{}", std::process::id()));
            fs::replace(&file, &temporary, content.as_bytes())?;
        }
    }
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn the_package_is_written_whole_and_mended() {
        let dir = tempfile::tempdir().unwrap();
        let root = unpack_sdk(dir.path()).unwrap();
        let init = root.join("pipelinefile/__init__.py");
        let whole = fs::read_text(&init).unwrap();
        fs::write_scratch(&init, b"damaged").unwrap();
        assert_eq!(unpack_sdk(dir.path()).unwrap(), root);
        assert_eq!(fs::read_text(&init).unwrap(), whole);
        let python = |folder: &Path| -> Vec<OsString> {
            let files = fs::files_below(folder).unwrap().into_iter();
            let files = files.filter(|file| file.extension().is_some_and(|ext| ext == "py"));
            files.filter_map(|file| file.file_name().map(OsString::from)).collect()
        };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/pipelinefile");
        let sorted = |folder: &Path| {
            let mut names = python(folder);
            names.sort();
            names
        };
        assert_eq!(sorted(dir.path()), sorted(&source), "the list `SDK` names every file of the package");
    }

    #[test]
    fn a_pinned_version_changes_the_selection_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let before = selection_key(dir.path());
        fs::write_scratch(&dir.path().join("other"), b"x").unwrap();
        assert_eq!(selection_key(dir.path()), before);
        fs::write_scratch(&dir.path().join(".python-version"), b"3.12\n").unwrap();
        assert_ne!(selection_key(dir.path()), before);
    }

    #[test]
    fn the_interpreter_says_who_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let found = find(dir.path()).unwrap();
        assert!(found.executable.is_absolute() && !is_script(&found.executable), "{found:?}");
        assert!(parse_version(&found.version).unwrap() >= OLDEST);
        assert_eq!(parse_version("3"), None);
    }
}
