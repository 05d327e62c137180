//! What the file names on the disk: is it there, and what is called nearly so.

use std::path::{Component, Path, PathBuf};

use crate::text;

/// A path as written in the file, absolute, with `.` and `..` worked out by name.
pub(super) fn absolute(root: &Path, written: &str) -> PathBuf {
    let mut path = PathBuf::new();
    for part in root.join(written).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path
}

/// The written path with its last name put right, if something of a similar name lies there.
pub(super) fn similar(root: &Path, written: &str) -> Option<String> {
    let path = absolute(root, written);
    let name = path.file_name()?.to_str()?;
    let names = names_in(path.parent()?);
    let near = text::nearest(name, names.iter().map(String::as_str))?;
    let trimmed = written.trim_end_matches('/');
    Some(format!("{}{near}", trimmed.strip_suffix(name)?))
}

/// The visible names in a folder, sorted; none if it cannot be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// The names of the files `modules/*.py`, without their ending.
pub(super) fn python_modules(root: &Path) -> Vec<String> {
    let names = names_in(&root.join("modules"));
    names.iter().filter_map(|name| name.strip_suffix(".py").map(str::to_owned)).collect()
}
