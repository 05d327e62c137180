//! Files of a folder that a container may write to: found in it and nowhere else, whatever links lie there.
//!
//! A container cannot read what is not mounted, but it can name it, or leave a link: whoever followed that here would
//! read on its behalf. So each name on the way is opened below the one before, and none of them may be a link. What is
//! found is held by its descriptor: it stays the same also if the container, which may still be at work, puts something
//! else in its place. Knows nothing of results.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use crate::sys;

/// A file or folder that was found.
#[derive(Debug)]
pub(super) struct Found {
    _held: OwnedFd,
    path: PathBuf,
}

impl Found {
    /// Where it can be opened, as long as this lives.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Finds what lies at a path in a folder.
pub(super) fn find(folder: &Path, path: &Path) -> io::Result<Found> {
    let leads_out = || {
        io::Error::other(
            "it is not in the scratch folder, which is all that a module in a container can give files from: copy it there",
        )
    };
    let within = path.strip_prefix(folder).map_err(|_| leads_out())?;
    let mut held = sys::hold(folder)?;
    for component in within.components() {
        let Component::Normal(name) = component else { return Err(leads_out()) };
        let next = sys::hold_in(&held, Path::new(name))?;
        if sys::is_link(&next)? {
            return Err(io::Error::other(
                "it is a link or lies behind one, and no link of a container is followed: give the file itself",
            ));
        }
        held = next;
    }
    let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
    Ok(Found { _held: held, path })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_lies_in_the_folder_is_found_and_nothing_behind_a_link_or_outside() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (root, secret) = (dir.path().join("scratch"), outside.path().join("secret"));
        crate::fs::create_dir(&root.join("made/sub")).unwrap();
        crate::fs::write_scratch(&secret, b"secret").unwrap();
        crate::fs::write_scratch(&dir.path().join("beside"), b"secret").unwrap();
        crate::fs::write_scratch(&root.join("made/sub/own"), b"own").unwrap();
        symlink(&secret, root.join("link")).unwrap();
        symlink(root.join("made"), root.join("door")).unwrap();
        symlink(outside.path(), root.join("made/way")).unwrap();
        let found = |path: &Path| find(&root, path).map(|found| crate::fs::read(found.path()).unwrap());
        assert_eq!(found(&root.join("made/sub/own")).unwrap(), b"own");
        assert_eq!(found(&root.join("./made//sub/./own")).unwrap(), b"own");
        assert!(find(&root, &root).is_ok() && find(&root, &root.join("made")).is_ok());
        for wrong in
            ["link", "door", "door/sub/own", "made/way", "made/way/secret", "../beside", "made/../link"]
        {
            assert!(found(&root.join(wrong)).is_err(), "{wrong}");
        }
        for wrong in [&secret, Path::new("made/sub/own"), &dir.path().join("scratch-2"), Path::new("/")] {
            assert!(found(wrong).unwrap_err().to_string().contains("not in the scratch folder"), "{wrong:?}");
        }
        assert_eq!(found(&root.join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        // It is the same whatever comes to lie in its place.
        let own = find(&root, &root.join("made/sub/own")).unwrap();
        crate::fs::remove_file(&root.join("made/sub/own")).unwrap();
        symlink(&secret, root.join("made/sub/own")).unwrap();
        assert_eq!(crate::fs::read(own.path()).unwrap(), b"own");
        let folder = find(&root, &root.join("made/sub")).unwrap();
        assert!(find(folder.path(), &folder.path().join("own")).is_err());
    }
}
