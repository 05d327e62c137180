//! Where the files of a filter's documents lie: a folder for each, or that of the one before where it is as good as new
//! (to make and remove one costs as much as half a process). Knows nothing of what is written into it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The folders of a slot.
pub(super) struct Scratch {
    parent: PathBuf,
    /// One that is empty, and that no process knows.
    spare: Option<PathBuf>,
}

impl Scratch {
    /// Folders in this one.
    pub(super) fn below(parent: PathBuf) -> Self {
        Scratch { parent, spare: None }
    }

    /// A folder for a document. If it is there, it is empty.
    pub(super) fn folder(&mut self, id: u64) -> PathBuf {
        self.spare.take().unwrap_or_else(|| self.parent.join(id.to_string()))
    }

    /// Takes a folder back: its `files` go, and so does the folder. It stays for the next document if nobody is left
    /// who could still write into it by name, and nothing else lies in it.
    pub(super) fn clear<'a>(
        &mut self,
        folder: PathBuf,
        files: impl IntoIterator<Item = &'a Path>,
        nobody_is_left: bool,
    ) {
        for file in files.into_iter().filter(|file| file.starts_with(&folder)) {
            drop(std::fs::remove_file(file));
        }
        if nobody_is_left && is_as_made(&folder).unwrap_or(false) {
            self.spare = Some(folder);
            return;
        }
        // Nearly always it is empty now: then it need not be listed.
        if std::fs::remove_dir(&folder).is_err() {
            drop(crate::fs::remove_dir(&folder));
        }
    }
}

/// Whether a folder is empty, and its owner may do with it what an owner may.
fn is_as_made(folder: &Path) -> io::Result<bool> {
    let owners = std::fs::symlink_metadata(folder)?.permissions().mode() & 0o7700;
    Ok(owners == 0o700 && std::fs::read_dir(folder)?.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) {
        crate::fs::write_scratch(path, b"x").unwrap();
    }

    #[test]
    fn a_folder_serves_the_next_document_if_nothing_and_nobody_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::below(dir.path().to_owned());
        let first = scratch.folder(1);
        std::fs::create_dir(&first).unwrap();
        let (input, out, outside) = (first.join("in.txt"), first.join("out.txt"), dir.path().join("doc.txt"));
        [&input, &out, &outside].into_iter().for_each(|path| write(path));
        scratch.clear(first.clone(), [input.as_path(), &out, &outside], true);
        assert!(outside.exists(), "a file of somebody else is not touched");
        assert!(!input.exists() && !out.exists());
        assert_eq!(scratch.folder(2), first);
        assert_eq!(scratch.folder(3), dir.path().join("3"), "it is given to one");
    }

    #[test]
    fn a_folder_in_which_something_or_somebody_is_left_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::below(dir.path().to_owned());
        for (id, left, nobody_is_left) in [(1, "out.aux", true), (2, "out.txt", false)] {
            let folder = scratch.folder(id);
            assert_eq!(folder, dir.path().join(id.to_string()));
            std::fs::create_dir(&folder).unwrap();
            let out = folder.join("out.txt");
            [&out, &folder.join(left)].into_iter().for_each(|path| write(path));
            scratch.clear(folder.clone(), [out.as_path()], nobody_is_left);
            assert!(!folder.exists());
        }
        let folder = scratch.folder(3);
        std::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o500)).unwrap();
        scratch.clear(folder.clone(), [], true);
        assert!(!folder.exists(), "one that cannot be written into");
    }
}
