//! File calls whose errors carry the path, and the safe ways to replace a file. Knows nothing of stores or pipelines.
#![expect(clippy::disallowed_methods, reason = "the owner of plain file calls")]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// All bytes of a file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io("read", path, &e))
}

/// All bytes of a file, or nothing if there is no such file.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path, &e)),
    }
}

/// A file as UTF-8 text.
pub fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::io("read", path, &e))
}

/// Makes a folder and those above it.
pub fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|e| Error::io("create the folder", path, &e))
}

/// Writes a file that may be lost or torn: scratch only.
pub fn write_scratch(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).map_err(|e| Error::io("write", path, &e))
}

/// Writes a file that is not there yet, and makes the folders above it; one that is there stays as it is.
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        create_dir(folder)?;
    }
    let file = File::create_new(path).map_err(|e| Error::io("create", path, &e));
    file?.write_all(bytes).map_err(|e| Error::io("write", path, &e))
}

/// Replaces a file whole and durably: written beside `path` under `temporary`, synced, renamed, folder synced.
/// Whoever reads sees the old or the new bytes, also after a power cut.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(temporary).map_err(|e| Error::io("create", temporary, &e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| Error::io("write", temporary, &e))?;
    std::fs::rename(temporary, path).map_err(|e| Error::io("replace", path, &e))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Makes the names in a folder durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| Error::io("sync the folder", path, &e))
}

/// Removes a file; that it is gone already is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &e)),
        _ => Ok(()),
    }
}

/// Removes a folder with all in it; that it is gone already is fine.
pub fn remove_dir(path: &Path) -> Result<()> {
    remove_tree(path).map_err(|e| Error::io("remove the folder", path, &e))
}

/// The same for whoever words its own errors. Folders in it that may not be written to are no obstacle.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            for entry in walkdir::WalkDir::new(path).into_iter().flatten() {
                if entry.file_type().is_dir() {
                    set_mode(entry.path(), 0o755)?;
                }
            }
            std::fs::remove_dir_all(path)
        }
        done => done,
    }
}

/// Sets who may read, write and run a file or folder.
pub fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Takes the right to write into it from a folder and those below it.
pub fn close_folders(path: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(path).contents_first(true).into_iter().flatten() {
        if entry.file_type().is_dir() {
            set_mode(entry.path(), 0o555).map_err(|e| Error::io("close the folder", entry.path(), &e))?;
        }
    }
    Ok(())
}

/// All regular files below a folder (or the file itself), sorted, symbolic links not followed.
/// Unreadable parts are errors: a digest of a part would be a lie.
pub fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry
            .map_err(|e| Error::unfinished(format!("cannot read below `{}`", root.display())).caused_by(e))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// A file that is found below a folder, whatever links lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// Its path in the folder.
    pub rel: PathBuf,
    /// Where it can be read.
    pub path: PathBuf,
    /// It is a link that leads nowhere, or back to a folder that it lies in: nothing can be read, and this is its text.
    pub leads_nowhere: Option<PathBuf>,
}

/// The files below a folder as a program sees them that follows links; of names that do not `count`, nothing. Sorted,
/// folder by folder. Unreadable parts are errors.
pub fn files_seen_below(root: &Path, counts: &dyn Fn(&OsStr) -> bool) -> Result<Vec<Below>> {
    let mut found = Vec::new();
    see_below(root, &PathBuf::new(), &mut Vec::new(), counts, &mut found)?;
    Ok(found)
}

fn see_below(
    folder: &Path,
    rel: &Path,
    above: &mut Vec<(u64, u64)>,
    counts: &dyn Fn(&OsStr) -> bool,
    found: &mut Vec<Below>,
) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("list the folder", folder, &e);
    let own = std::fs::metadata(folder).map_err(failed)?;
    above.push((own.dev(), own.ino()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.retain(|name| counts(name));
    names.sort();
    for name in names {
        let (path, rel) = (folder.join(&name), rel.join(&name));
        let nowhere =
            |path: &Path| std::fs::read_link(path).map_err(|e| Error::io("read the link", path, &e));
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                if above.contains(&(metadata.dev(), metadata.ino())) {
                    let leads_nowhere = Some(nowhere(&path)?);
                    found.push(Below { rel, path, leads_nowhere });
                } else {
                    see_below(&path, &rel, above, counts, found)?;
                }
            }
            Ok(metadata) if metadata.is_file() => found.push(Below { rel, path, leads_nowhere: None }),
            // A socket or a pipe holds nothing.
            Ok(_) => {}
            Err(e) => match std::fs::read_link(&path) {
                Ok(text) => found.push(Below { rel, path, leads_nowhere: Some(text) }),
                Err(_) => return Err(Error::io("read", &path, &e)),
            },
        }
    }
    above.pop();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state");
        replace(&path, &dir.path().join("state.tmp"), b"one").unwrap();
        replace(&path, &dir.path().join("state.tmp"), b"two").unwrap();
        assert_eq!(read(&path).unwrap(), b"two");
        assert_eq!(files_below(dir.path()).unwrap(), [path]);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("no/such")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `no/such`: no such file or directory");
        assert_eq!(read_optional(Path::new("no/such")).unwrap(), None);
    }

    #[test]
    fn links_are_followed_but_in_no_circle() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        create_dir(&root.join("a")).unwrap();
        create_dir(&other).unwrap();
        write_scratch(&root.join("a/plain"), b"x").unwrap();
        write_scratch(&root.join(".hidden"), b"x").unwrap();
        write_scratch(&other.join("far"), b"x").unwrap();
        for (to, link) in
            [("../other/far", "file"), ("../other", "folder"), ("nothing", "broken"), ("..", "a/up")]
        {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        let found = files_seen_below(&root, &|name| !name.as_encoded_bytes().starts_with(b".")).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|one| match &one.leads_nowhere {
                Some(text) => format!("{} -> {}", one.rel.display(), text.display()),
                None => one.rel.display().to_string(),
            })
            .collect();
        assert_eq!(shown, ["a/plain", "a/up -> ..", "broken -> nothing", "file", "folder/far"]);
    }
}
