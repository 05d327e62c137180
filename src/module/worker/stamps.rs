//! What the file system says of code files before a process starts: it tells an edit that was taken back, too.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Inode and time of the last change; nothing where there is no file.
type Stamp = Option<(u64, i64, i64)>;

/// See the module's text.
pub(super) struct Stamps(Vec<Stamp>);

impl Stamps {
    /// Of these files as they are now.
    pub(super) fn of(root: &Path, files: &[String]) -> Self {
        let stamp = |file: &String| {
            let found = std::fs::metadata(root.join(file)).ok()?;
            Some((found.ino(), found.ctime(), found.ctime_nsec()))
        };
        Stamps(files.iter().map(stamp).collect())
    }

    /// Whether any of the same files was written to since: who read it meanwhile may have read anything.
    pub(super) fn are_old(&self, root: &Path, files: &[String]) -> bool {
        self.0 != Stamps::of(root, files).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_as_it_was_again_is_another_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a".to_owned(), "none".to_owned()];
        let write =
            |text: &str| crate::fs::replace(&dir.path().join("a"), &dir.path().join("new"), text.as_bytes());
        write("old").unwrap();
        let before = Stamps::of(dir.path(), &files);
        assert!(!before.are_old(dir.path(), &files));
        write("new").unwrap();
        write("old").unwrap();
        assert!(before.are_old(dir.path(), &files));
    }
}
