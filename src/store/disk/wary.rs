//! A disk that remembers which folders could not be synced, and syncs none of them again: after a sync that failed, the
//! next one may succeed without having written what the first one lost. Several parts of the store sync the same folder.
//!
//! Knows nothing of what the files hold; that a file is not written after a failed sync is the matter of its one owner.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Access, Disk, DiskFile};

/// Another disk, and what could not be synced there.
pub struct WaryDisk {
    disk: Arc<dyn Disk>,
    broken: Mutex<BTreeSet<PathBuf>>,
}

impl WaryDisk {
    /// The same files; nothing failed yet.
    pub fn over(disk: Arc<dyn Disk>) -> Self {
        WaryDisk { disk, broken: Mutex::default() }
    }
}

impl Disk for WaryDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, access)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if broken.contains(path) {
            return Err(io::Error::other("it could not be synced before"));
        }
        // The lock is not held while the disk is waited for.
        drop(broken);
        let synced = self.disk.sync_dir(path);
        if synced.as_ref().is_err_and(|e| !is_unopened(e)) {
            broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            broken.insert(path.to_owned());
        }
        synced
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.disk.size(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
}

/// Whether the folder could not even be opened, so that nothing was lost.
fn is_unopened(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use super::super::failing::{Call, FailingDisk, Wrong};
    use super::*;
    use crate::store::disk::RealDisk;

    #[test]
    fn a_folder_that_could_not_be_synced_is_not_synced_again_and_others_are() {
        let dir = tempfile::tempdir().unwrap();
        let failing =
            FailingDisk::new(Arc::new(RealDisk), 1, |call| call == Call::SyncDir, Wrong::Errno(5), false);
        let wary = WaryDisk::over(Arc::new(failing.clone()));
        assert_eq!(wary.sync_dir(dir.path()).unwrap_err().raw_os_error(), Some(5));
        assert_eq!(wary.sync_dir(dir.path()).unwrap_err().to_string(), "it could not be synced before");
        assert_eq!(failing.made().len(), 1);
        wary.sync_dir(Path::new("/")).unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_yet_may_be_synced_later() {
        let dir = tempfile::tempdir().unwrap();
        let wary = WaryDisk::over(Arc::new(RealDisk));
        let later = dir.path().join("later");
        assert!(wary.sync_dir(&later).is_err());
        std::fs::create_dir(&later).unwrap();
        wary.sync_dir(&later).unwrap();
    }
}
