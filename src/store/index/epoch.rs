//! `index/<epoch>/`: one database each, of which only the newest counts, and whose it is.
//!
//! `state` says which store and boot it belongs to and whether it was closed. A database that was written to under
//! another boot and not closed is not even opened: sled loses what it wrote before a power cut, or panics. Before the
//! first write of a process `state` says so durably; a build that writes nothing leaves it alone.
//! Knows nothing of sled.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Unusable;
use crate::error::{Error, Result};
use crate::store::disk::{self, Disk};

const VERSION: u32 = 1;

/// The file `state`, JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// The id of the store that it is an index of.
    pub(super) store: String,
    /// The boot during which it was written to.
    pub(super) boot: String,
    /// Nothing was written since it was closed.
    pub(super) clean: bool,
}

impl State {
    /// Of an index that is written to.
    pub(super) fn new(store_id: &str, boot_id: &str) -> Self {
        State { version: VERSION, store: store_id.to_owned(), boot: boot_id.to_owned(), clean: false }
    }

    /// The same, closed or not.
    #[must_use]
    pub(super) fn with_clean(&self, clean: bool) -> Self {
        State { clean, ..self.clone() }
    }

    /// What lies in an epoch's folder.
    pub(super) fn read(disk: &dyn Disk, epoch: &Path) -> Result<Self, Unusable> {
        let path = path(epoch);
        let bytes = disk::read_all(disk, &path)
            .map_err(|error| Unusable::new(Error::io("read", &path, &error).to_string()))?;
        let bytes = bytes.ok_or_else(|| Unusable::new("it was not begun"))?;
        serde_json::from_slice(&bytes)
            .ok()
            .filter(|state: &State| state.version == VERSION)
            .ok_or_else(|| Unusable::new("its `state` is of another version, or damaged"))
    }

    /// Replaces the file durably.
    pub(super) fn write(&self, disk: &dyn Disk, epoch: &Path) -> Result<(), Unusable> {
        let path = path(epoch);
        let bytes = serde_json::to_vec(self).map_err(|error| Unusable::new(error.to_string()))?;
        disk::replace(disk, &path, &epoch.join("state.tmp"), &bytes)
            .map_err(|error| Unusable::new(Error::io("write", &path, &error).to_string()))
    }

    /// Why an index in this state must not be opened by this store under this boot, if it must not.
    pub(super) fn objection(&self, store_id: &str, boot_id: &str) -> Option<Unusable> {
        if self.store != store_id {
            return Some(Unusable::new("it belongs to another store"));
        }
        if self.boot != boot_id && !self.clean {
            return Some(Unusable::new("it was not closed before the machine went down"));
        }
        None
    }
}

/// An index that was met damaged is not opened again: the next one is made from the log. Where that cannot be said (the disk
/// takes nothing), it is met again.
pub(super) fn disown(disk: &dyn Disk, epoch: &Path) {
    if let Err(error) = disk.remove(&path(epoch)) {
        tracing::warn!(%error, "a damaged index stays");
    }
}

/// The folder of the newest epoch.
pub(super) fn newest(disk: &dyn Disk, dir: &Path) -> Result<PathBuf, Unusable> {
    let epochs = all(disk, dir).map_err(|error| Unusable::new(error.to_string()))?;
    epochs.into_iter().max().map(|(_, path)| path).ok_or_else(|| Unusable::new("there is none yet"))
}

/// The folder of a new epoch; the old ones are removed.
pub(super) fn begin(disk: &dyn Disk, dir: &Path) -> Result<PathBuf> {
    let create = |path: &Path| disk.create_dir(path).map_err(|e| Error::io("create the folder", path, &e));
    create(dir)?;
    let epochs = all(disk, dir)?;
    let next = epochs.iter().map(|(number, _)| number + 1).max().unwrap_or(1);
    for (_, path) in epochs {
        disk.remove_dir(&path).map_err(|e| Error::io("remove the folder", &path, &e))?;
    }
    let path = dir.join(format!("{next:06}"));
    create(&path)?;
    Ok(path)
}

fn path(epoch: &Path) -> PathBuf {
    epoch.join("state")
}

fn all(disk: &dyn Disk, dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let names = disk.list(dir).map_err(|e| Error::io("read the folder", dir, &e))?;
    Ok(names.iter().filter_map(|name| Some((name.parse().ok()?, dir.join(name)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    #[test]
    fn golden_state() {
        let dir = tempfile::tempdir().unwrap();
        State::new("3f", "b0").write(&RealDisk, dir.path()).unwrap();
        let bytes = crate::fs::read(&path(dir.path())).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"version":1,"store":"3f","boot":"b0","clean":false}"#
        );
    }

    #[test]
    fn another_boot_is_fine_only_after_a_close() {
        let state = State::new("3f", "b0");
        assert!(state.objection("3f", "b0").is_none());
        assert!(state.objection("3f", "b1").is_some());
        assert!(state.with_clean(true).objection("3f", "b1").is_none());
        assert!(state.with_clean(true).objection("40", "b0").is_some());
    }

    #[test]
    fn a_new_epoch_removes_the_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        assert!(newest(&RealDisk, dir.path()).is_err());
        assert!(begin(&RealDisk, dir.path()).unwrap().ends_with("000001"));
        assert!(begin(&RealDisk, dir.path()).unwrap().ends_with("000002"));
        assert_eq!(all(&RealDisk, dir.path()).unwrap().len(), 1);
    }
}
