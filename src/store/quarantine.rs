//! `quarantine/`: what was found damaged, set aside for people. Nothing in here is ever read again by `pipe`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::store::disk::{self, Disk};

/// The folder of damaged things.
#[derive(Clone)]
pub struct Quarantine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Quarantine {
    /// The quarantine of the store in `dir`.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Quarantine { disk, dir: dir.join("quarantine") }
    }

    /// Keeps a copy of some bytes under a name; one with the same name is replaced.
    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        self.place(name, |path| self.disk.create(path)?.write_at(&[bytes], 0))
    }

    /// Moves a file here.
    pub fn take(&self, name: &str, from: &Path) -> Result<PathBuf> {
        self.place(name, |path| self.disk.rename(from, path))
    }

    fn place(&self, name: &str, put: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let done = self.disk.create_dir(&self.dir).and_then(|()| {
            disk::remove_optional(&*self.disk, &path)?;
            put(&path)
        });
        done.map_err(|e| Error::io("set damaged bytes aside in", &path, &e))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    #[test]
    fn the_newest_of_a_name_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let quarantine = Quarantine::new(Arc::new(RealDisk), dir.path());
        quarantine.put("a", b"one, longer").unwrap();
        let path = quarantine.put("a", b"two").unwrap();
        assert_eq!(crate::fs::read(&path).unwrap(), b"two");
        let moved = quarantine.take("b", &path).unwrap();
        assert_eq!(crate::fs::read(&moved).unwrap(), b"two");
        assert!(crate::fs::read(&path).is_err());
    }
}
