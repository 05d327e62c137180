//! Environments of Python modules that say what they need: a block in the script (PEP 723) or `requirements`.
//!
//! `uv` makes one for each such list below `.pipe/python`, and brings it up to date in place when the list changes, so that
//! a package of another version leaves no metadata of the old one behind, which load sets look for. Versions that were
//! chosen once stay chosen as long as the list allows them. Without `uv` the interpreter at hand runs the module.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::engine::modules::find_program;
use crate::error::{Error, Result, io_text};
use crate::fs;
use crate::hash::FieldHasher;
use crate::model::pipeline::{Module, Program};
use crate::module::Python;
use crate::pipelinefile::script_dependencies;

/// The file in an environment that says for which list it was made.
const MADE_FOR: &str = "pipe-made-for";

/// What a module needs.
struct Needs {
    /// The file that says it, relative to the project.
    file: PathBuf,
    /// The list itself.
    list: String,
    /// The list is a block of the script.
    is_block: bool,
}

/// What a module says that it needs; nothing if it says nothing.
fn needs(root: &Path, module: &Module) -> Result<Option<Needs>> {
    let Program::Python { file: script, .. } = &module.program else { return Ok(None) };
    if let Some(file) = &module.requirements {
        let list = fs::read_text(&root.join(file))?;
        return Ok(Some(Needs { file: file.into(), list, is_block: false }));
    }
    // One that is installed brings what it needs.
    let text = match script.extension() {
        Some(ext) if ext == "py" => fs::read_optional(&root.join(script))?,
        _ => None,
    };
    let Some(text) = text else { return Ok(None) };
    let list = script_dependencies(&String::from_utf8_lossy(&text));
    let list = list.filter(|list| !list.is_empty());
    Ok(list.map(|list| Needs { file: script.clone(), list: list.join("\n") + "\n", is_block: true }))
}

/// An environment in the store.
struct Place {
    folder: PathBuf,
    uv: PathBuf,
}

fn place(root: &Path, needs: &Needs, base: &Python) -> Option<Place> {
    let uv = find_program("uv", root)?;
    let mut hasher = FieldHasher::new("pipe environment 1");
    hasher.text(&needs.file.to_string_lossy()).text(&base.executable.to_string_lossy());
    let name = format!("env-{}", hasher.finish().short());
    Some(Place { folder: base.sdk.parent()?.join(name), uv })
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

/// Brings the environment of a module up to date, if its list has changed; `say` is told before it takes time.
pub fn prepare(root: &Path, module: &Module, base: &Python, say: &mut dyn FnMut(String)) -> Result<()> {
    let Some(needs) = needs(root, module)? else { return Ok(()) };
    let Some(place) = place(root, &needs, base) else { return Ok(()) };
    let marker = place.folder.join(MADE_FOR);
    if fs::read_optional(&marker)?.as_deref() == Some(needs.list.as_bytes()) {
        return Ok(());
    }
    let file = needs.file.display();
    say(format!("uv makes the environment of module `{}` from {file}", module.name));
    // What is changed half-way is of no list.
    if marker.exists() {
        fs::remove_file(&marker)?;
    }
    let beside = |end: &str| place.folder.with_extension(end);
    let (wanted, lock) = (beside("in"), beside("lock"));
    let list = if needs.is_block {
        fs::create_dir(place.folder.parent().unwrap_or(root))?;
        fs::write_scratch(&wanted, needs.list.as_bytes())?;
        wanted
    } else {
        root.join(&needs.file)
    };
    let own = place.folder.join("bin/python3");
    let (python, list, lock) = (base.executable.as_path(), list.as_path(), lock.as_path());
    let folder = place.folder.as_path();
    let uv = |words: &[&str], paths: &[(&str, &Path)]| -> Result<()> {
        let mut command = Command::new(&place.uv);
        command.arg(words[0]).args(&words[1..]).arg("--quiet").current_dir(root).env_remove("VIRTUAL_ENV");
        for (option, path) in paths {
            if !option.is_empty() {
                command.arg(option);
            }
            command.arg(path);
        }
        let shown = if needs.is_block {
            format!("uv sync --dry-run --script {file}")
        } else {
            format!("uv pip install --dry-run -r {file}")
        };
        let failed = |said: String| {
            Error::unfinished(format!(
                "uv cannot make the environment of module `{}` from {file}",
                module.name
            ))
            .caused_by(said)
            .hint(shown.clone())
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = crate::sys::start_beside(&mut command).map_err(|e| failed(io_text(&e)))?;
        let output = child.wait_with_output().map_err(|e| failed(io_text(&e)))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(failed(said.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    // The versions in an older lock are kept where they still fit.
    uv(&["pip", "compile"], &[("--python", python), ("--output-file", lock), ("", list)])?;
    if !own.exists() {
        uv(&["venv", "--allow-existing"], &[("--python", python), ("", folder)])?;
    }
    uv(&["pip", "sync", "--allow-empty-requirements"], &[("--python", &own), ("", lock)])?;
    fs::replace(&marker, &folder.join("pipe-made-for.tmp"), needs.list.as_bytes())
}
