//! Environments of Python modules that say what they need: a block in the script (PEP 723) or `requirements`.
//!
//! What a module needs, where its environment lies, and which are used by none. `uv` makes one for each list below
//! `.pipe/python` (`provision.rs`); without `uv` the interpreter at hand runs the module.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::engine::modules::find_program;
use crate::error::{Error, Result};
use crate::fs;
use crate::hash::FieldHasher;
use crate::model::pipeline::{Module, Program};
use crate::module::{Python, python};
use crate::pipelinefile::{allows_python, script_dependencies, script_fault, script_python};

/// The file in an environment that says for which list it was made.
pub(super) const MADE_FOR: &str = "pipe-made-for";

/// What a module needs.
pub(super) struct Needs {
    /// The file that says it, relative to the project.
    pub(super) file: PathBuf,
    /// The list itself.
    pub(super) list: String,
    /// The list is a block of the script.
    pub(super) is_block: bool,
}

/// What a module says that it needs; nothing if it says nothing.
pub(super) fn needs(root: &Path, module: &Module) -> Result<Option<Needs>> {
    let Program::Python { file: script, .. } = &module.program else { return Ok(None) };
    if let Some(file) = &module.requirements {
        let mut list = String::new();
        read_list(root, Path::new(file), &mut Vec::new(), &mut list)?;
        return Ok(Some(Needs { file: file.into(), list, is_block: false }));
    }
    let Some(text) = script_text(root, script)? else { return Ok(None) };
    if let Some((line, fault)) = script_fault(&text) {
        return Err(Error::usage(format!("{}:{line}: {fault}", script.display())).hint("pipe check"));
    }
    let list = script_dependencies(&text);
    let list = list.filter(|list| !list.is_empty());
    Ok(list.map(|list| Needs { file: script.clone(), list: list.join("\n") + "\n", is_block: true }))
}

/// The text of a script of the project. One that is installed brings what it needs.
fn script_text(root: &Path, script: &Path) -> Result<Option<String>> {
    let text = match script.extension() {
        Some(ext) if ext == "py" => fs::read_optional(&root.join(script))?,
        _ => None,
    };
    Ok(text.map(|text| String::from_utf8_lossy(&text).into_owned()))
}

/// A list of requirements with the lists that it takes in (`-r other.txt`, `-c limits.txt`), each once: an edit of any of
/// them is one of the whole.
fn read_list(root: &Path, file: &Path, read: &mut Vec<PathBuf>, whole: &mut String) -> Result<()> {
    let path = root.join(file);
    // By whatever way it is reached.
    let real = path.canonicalize().map_err(|e| Error::io("read", &path, &e))?;
    if read.contains(&real) {
        return Ok(());
    }
    let is_first = read.is_empty();
    read.push(real);
    let text = fs::read_text(&path)?;
    for included in text.lines().filter_map(included) {
        let included = file.parent().unwrap_or(Path::new("")).join(included);
        if !root.join(&included).is_file() {
            let message =
                format!("there is no file `{}`, which {} takes in", included.display(), file.display());
            return Err(Error::usage(message).hint("paths in it are relative to its own folder"));
        }
        read_list(root, &included, read, whole)?;
    }
    if !is_first {
        whole.extend(["# ", &file.to_string_lossy(), "\n"]);
    }
    whole.push_str(&text);
    Ok(())
}

/// The file that a line of a list takes in; an address is no file.
fn included(line: &str) -> Option<&str> {
    let line = line.split(" #").next().unwrap_or_default().trim();
    let options = ["--requirement", "--constraint", "-r", "-c"];
    let rest = options.into_iter().find_map(|option| {
        let rest = line.strip_prefix(option)?;
        let is_apart = rest.starts_with([' ', '\t', '=']) || !option.starts_with("--");
        is_apart.then(|| rest.trim_start_matches([' ', '\t', '=']))
    })?;
    (!rest.is_empty() && !rest.contains("://")).then_some(rest)
}

/// Refuses an interpreter that a script does not take.
pub(super) fn check_python(root: &Path, module: &Module, base: &Python) -> Result<()> {
    let Program::Python { file, .. } = &module.program else { return Ok(()) };
    let Some(asked) = script_text(root, file)?.as_deref().and_then(script_python) else { return Ok(()) };
    let (shown, python) = (file.display(), base.executable.display());
    match allows_python(&asked, &base.version) {
        Some(true) => Ok(()),
        Some(false) => {
            let message = format!(
                "{shown} says `requires-python = \"{asked}\"`, and {python} is Python {}",
                base.version
            );
            Err(Error::usage(message)
                .hint("set PIPE_PYTHON to such an interpreter, or make .venv with it")
                .hint("or put right what the script says"))
        }
        None => Err(Error::usage(format!(
            "{shown} says `requires-python = \"{asked}\"`, which is no range of versions"
        ))
        .hint("write it as in `>=3.9` or `>=3.9,<3.13`")),
    }
}

/// An environment that no module of the project uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// Its folder.
    pub folder: PathBuf,
    /// The bytes in it.
    pub bytes: u64,
    /// The list that it was made for, in one line.
    pub list: String,
}

/// The environments below `python`, a folder of the store, that none of these modules uses with the interpreter at hand.
pub fn unused(root: &Path, modules: &[Module], base: &Python) -> Result<Vec<Unused>> {
    let Some(python) = base.sdk.parent() else { return Ok(Vec::new()) };
    let mut used = Vec::new();
    for module in modules {
        used.extend(needs(root, module)?.map(|needs| python.join(name_of(&needs, base))));
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(python).into_iter().flatten().flatten() {
        let folder = entry.path();
        let is_one = entry.file_name().to_string_lossy().starts_with("env-") && folder.is_dir();
        if !is_one || used.contains(&folder) {
            continue;
        }
        let files = fs::files_below(&folder)?;
        let bytes = files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum();
        let list = fs::read_optional(&folder.join(MADE_FOR))?.unwrap_or_default();
        let list = String::from_utf8_lossy(&list).lines().collect::<Vec<_>>().join(", ");
        found.push(Unused { folder, bytes, list });
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

/// An environment in the store.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    pub(super) uv: PathBuf,
}

/// Where the environment of a list lies; nothing: there is no `uv` to make it.
pub(super) fn place(root: &Path, needs: &Needs, base: &Python) -> Option<Place> {
    let uv = find_program("uv", root).filter(|uv| works(uv))?;
    Some(Place { folder: base.sdk.parent()?.join(name_of(needs, base)), uv })
}

/// Whether a program runs: a shim may have nothing behind it. Asked once.
fn works(uv: &Path) -> bool {
    static KNOWN: Mutex<BTreeMap<PathBuf, bool>> = Mutex::new(BTreeMap::new());
    if !python::is_script(uv) {
        return true;
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry(uv.to_owned()).or_insert_with(|| {
        let mut ask = Command::new(uv);
        ask.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        ask.status().is_ok_and(|status| status.success())
    })
}

fn name_of(needs: &Needs, base: &Python) -> String {
    let mut hasher = FieldHasher::new("pipe environment 1");
    hasher.text(&needs.file.to_string_lossy()).text(&base.executable.to_string_lossy());
    format!("env-{}", hasher.finish().short())
}

/// The interpreter that runs a module. `base` is the one at hand.
pub fn python_of(root: &Path, module: &Module, base: &Python) -> Result<Python> {
    let Some(needs) = needs(root, module)? else { return Ok(base.clone()) };
    let file = needs.file.display();
    let Some(place) = place(root, &needs, base) else {
        let python = base.executable.display();
        let install = if needs.is_block {
            let quoted: Vec<String> = needs.list.lines().map(|one| format!("'{one}'")).collect();
            format!("{python} -m pip install {}", quoted.join(" "))
        } else {
            format!("{python} -m pip install -r {file}")
        };
        let install = Some(format!("{install}   (with `uv` on PATH this is done by itself)"));
        return Ok(Python { install, ..base.clone() });
    };
    let add = if needs.is_block { "`dependencies` in" } else { "the list" };
    let install = Some(format!("add its package to {add} {file}"));
    Ok(Python { executable: place.folder.join("bin/python3"), install, ..base.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_a_list_takes_in_are_parts_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let path = dir.path().join(file);
            fs::create_dir(path.parent().unwrap()).unwrap();
            fs::write_scratch(&path, text.as_bytes()).unwrap();
        };
        write(
            "needs.txt",
            "-r more/base.txt\n--constraint=limits.txt # why\n-r https://x/y.txt\na==1\n-e .\n",
        );
        write("more/base.txt", "-rdeeper.txt\nb==1\n");
        write("more/deeper.txt", "-r ../needs.txt\nc==1\n");
        write("limits.txt", "d<2\n");
        let read = || {
            let mut whole = String::new();
            read_list(dir.path(), Path::new("needs.txt"), &mut Vec::new(), &mut whole).map(|()| whole)
        };
        let whole = read().unwrap();
        for line in ["a==1", "b==1", "c==1", "d<2", "# more/base.txt"] {
            assert!(whole.lines().any(|known| known == line), "{line} in {whole}");
        }
        fs::remove_file(&dir.path().join("more/deeper.txt")).unwrap();
        assert!(read().unwrap_err().to_string().contains("more/deeper.txt`, which more/base.txt takes in"));
    }
}
