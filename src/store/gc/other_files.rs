//! What lies in a store beside log, blobs, tables and index: logs of workers, what was quarantined, and what earlier
//! versions of the index left. Losing any of it loses no result.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::disk::{self, Disk};
use crate::store::gc::Files;
use crate::time::Millis;

/// Made and kept by others; of no account.
const NOT_COUNTED: [&str; 4] = ["RESERVE", "lock", "socket", "tmp"];

/// A file with its size and when it was last written.
struct Found {
    path: PathBuf,
    bytes: u64,
    written: Millis,
}

/// What there is.
pub(super) struct OtherFiles {
    /// The bytes of the whole store, without its reserve.
    pub(super) total: u64,
    /// The bytes of all blobs.
    pub(super) blobs: u64,
    logs: Vec<((u32, u32), Found)>,
    quarantine: Vec<Found>,
    /// Of all versions of the index but the newest.
    epochs: Vec<Found>,
}

impl OtherFiles {
    /// Looks at every file of the store in `dir`.
    pub(super) fn find(dir: &Path, disk: &dyn Disk) -> Result<Self> {
        let mut other =
            OtherFiles { total: 0, blobs: 0, logs: Vec::new(), quarantine: Vec::new(), epochs: Vec::new() };
        let index = dir.join("index");
        let names = disk.list(&index).map_err(|e| Error::io("read the folder", &index, &e))?;
        let newest = names.iter().filter_map(|name| name.parse::<u64>().ok()).max();
        for path in crate::fs::files_below(dir)? {
            let rel = path.strip_prefix(dir).unwrap_or(&path);
            let mut parts = rel.components().map(|part| part.as_os_str().to_string_lossy().into_owned());
            let (first, second) = (parts.next().unwrap_or_default(), parts.next());
            if NOT_COUNTED.contains(&first.as_str()) {
                continue;
            }
            // Somebody may remove files while we look.
            let Ok(metadata) = std::fs::metadata(&path) else { continue };
            let bytes = metadata.len();
            other.total += bytes;
            let written =
                metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
            let written = Millis(written.map_or(0, |since| since.as_millis() as u64));
            let found = Found { bytes, written, path: path.clone() };
            match (first.as_str(), second) {
                ("blobs", _) => other.blobs += bytes,
                ("logs", Some(name)) => {
                    let numbers = name
                        .split_once('-')
                        .and_then(|(run, worker)| Some((run.parse().ok()?, worker.parse().ok()?)));
                    other.logs.extend(numbers.map(|numbers| (numbers, found)));
                }
                ("quarantine", _) => other.quarantine.push(found),
                ("index", Some(epoch)) if epoch.parse().ok() != newest => other.epochs.push(found),
                _ => {}
            }
        }
        Ok(other)
    }

    /// Those that go: logs that nothing kept speaks of, and what was quarantined longer ago than `limit`.
    pub(super) fn chosen(
        &self,
        now: Millis,
        limit: Duration,
        is_log_kept: &dyn Fn(u32, u32) -> bool,
    ) -> Chosen {
        let pair = |found: &Found| (found.path.clone(), found.bytes);
        let logs = self.logs.iter().filter(|((run, worker), _)| !is_log_kept(*run, *worker));
        let old = self.quarantine.iter().filter(|found| now.since(found.written) >= limit);
        Chosen {
            logs: logs.map(|(_, found)| pair(found)).collect(),
            leftovers: old.chain(&self.epochs).map(pair).collect(),
        }
    }
}

/// Files that go.
pub(super) struct Chosen {
    logs: Vec<(PathBuf, u64)>,
    leftovers: Vec<(PathBuf, u64)>,
}

impl Chosen {
    pub(super) fn logs(&self) -> Files {
        files(&self.logs)
    }

    pub(super) fn leftovers(&self) -> Files {
        files(&self.leftovers)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.leftovers.is_empty()
    }

    pub(super) fn remove(&self, disk: &Arc<dyn Disk>) -> Result<()> {
        for (path, _) in self.logs.iter().chain(&self.leftovers) {
            disk::remove_optional(&**disk, path).map_err(|e| Error::io("remove", path, &e))?;
        }
        Ok(())
    }
}

fn files(chosen: &[(PathBuf, u64)]) -> Files {
    let mut files = Files::default();
    chosen.iter().for_each(|(_, bytes)| files.add(*bytes));
    files
}
