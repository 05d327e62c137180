//! `RESERVE`: 16 MiB of the disk that are given back when it is full, so that what is in hand can still be written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::disk::{self, Disk};

const BYTES: u64 = 16 << 20;

/// The room that is kept free for the end of a build.
pub struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Reserve {
    /// The reserve of the store in `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Reserve { disk, path: dir.join("RESERVE") }
    }

    /// Takes the room if it is not taken. That there is none is no error: there is just no reserve.
    pub fn take(&self) {
        let Ok(file) = self.disk.create(&self.path) else { return };
        if let Err(e) = file.reserve(BYTES) {
            tracing::debug!("no reserve on this disk: {e}");
            drop(file);
            self.release();
        }
    }

    /// Gives the room back; whether there was any.
    pub fn release(&self) -> bool {
        self.disk.remove(&self.path).is_ok()
    }
}

/// Whether an error says that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Removes what is left of a file that could not be written.
pub(crate) fn discard(disk: &dyn Disk, path: &Path) {
    if let Err(e) = disk::remove_optional(disk, path) {
        tracing::debug!("cannot remove `{}`: {e}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{Access, RealDisk};

    #[test]
    fn the_room_is_taken_once_and_given_back_once() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::new(Arc::new(RealDisk), dir.path());
        reserve.take();
        reserve.take();
        // A file system without fallocate keeps none.
        if let Ok(file) = RealDisk.open(&dir.path().join("RESERVE"), Access::Read) {
            assert_eq!(file.size().unwrap(), BYTES);
            assert!(reserve.release());
        }
        assert!(!reserve.release());
    }
}
