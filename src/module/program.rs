//! Finding a program by its name. Knows nothing of what it is for.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The first executable file of this name on a search path.
pub(super) fn search(name: &OsStr, path: &OsStr, root: &Path) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| root.join(folder).join(name)).find(|file| {
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}
