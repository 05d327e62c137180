//! The modules that lie in a project's folder `modules/`: functions with the decorator, read as syntax, never run.
//!
//! Knows nothing of targets that use them, nor of modules that are installed.

use std::io::ErrorKind;
use std::path::Path;

use crate::code::functions::{Function, Functions, functions};
use crate::code::syntax::Problem;
use crate::error::{Error, Result};

/// The folder of a project's modules.
const FOLDER: &str = "modules";

/// What lies in a project's `modules/`.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Sorted by name.
    pub modules: Vec<FoundModule>,
    /// Places that could not be read, each with its file.
    pub problems: Vec<(String, Problem)>,
}

/// A function that a target may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundModule {
    /// `words` for the function `words` in `modules/words.py`, else `search:index`.
    pub name: String,
    /// `modules/words.py`
    pub file: String,
    /// What it looks like.
    pub function: Function,
}

/// The functions of one file, relative to the project's folder; nothing if there is no such file.
pub fn functions_of_file(root: &Path, file: &Path) -> Result<Option<Functions>> {
    Ok(crate::fs::read_optional(&root.join(file))?.map(|bytes| functions_of_bytes(&bytes)))
}

/// All modules in `modules/*.py`.
pub fn modules_found(root: &Path) -> Result<Found> {
    let mut found = Found::default();
    let folder = root.join(FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(found),
        Err(e) => return Err(Error::io("list the folder", &folder, &e)),
    };
    let mut stems = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("list the folder", &folder, &e))?.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".py"));
        stems.extend(stem.filter(|stem| !stem.starts_with('.') && *stem != "__init__").map(str::to_owned));
    }
    stems.sort();
    for stem in stems {
        let file = format!("{FOLDER}/{stem}.py");
        if !root.join(&file).is_file() {
            continue;
        }
        let Some(read) = functions_of_file(root, Path::new(&file))? else { continue };
        for function in read.modules() {
            let name = if function.name == stem { stem.clone() } else { format!("{stem}:{}", function.name) };
            found.modules.push(FoundModule { name, file: file.clone(), function: function.clone() });
        }
        found.problems.extend(read.problems.into_iter().map(|problem| (file.clone(), problem)));
    }
    found.modules.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn functions_of_bytes(bytes: &[u8]) -> Functions {
    let text = String::from_utf8_lossy(bytes);
    let mut read = functions(&text);
    if let Err(e) = std::str::from_utf8(bytes)
        && !states_its_encoding(&text)
    {
        let line = bytes[..e.valid_up_to()].split(|byte| *byte == b'\n').count();
        read.problems.insert(0, Problem { line, text: "bytes that are not UTF-8".to_owned() });
    }
    read
}

/// Python takes other encodings if one of the first two lines says so.
fn states_its_encoding(text: &str) -> bool {
    text.lines().take(2).any(|line| line.trim_start().starts_with('#') && line.contains("coding"))
}
