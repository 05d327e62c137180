//! What lies in a store beside log, blobs, tables and index: logs of workers, Pipelinefiles of runs, what was quarantined,
//! and what earlier versions of the index left. Losing any of it loses no result.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::store::disk::{self, Disk};
use crate::store::gc::Files;
use crate::store::history::PIPELINEFILES;
use crate::time::Millis;

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
    /// By the digest in hexadecimal digits.
    pipelinefiles: Vec<(String, Found)>,
    /// The folders of all versions of the index but the newest.
    epochs: Vec<PathBuf>,
}

impl OtherFiles {
    /// Looks at every file of the store in `dir`; `index` is how large the index says that it is.
    pub(super) fn find(dir: &Path, disk: &dyn Disk, index: u64) -> Result<Self> {
        let listed = |folder: &Path| -> Result<Vec<(String, Found)>> {
            let names = disk.list(folder).map_err(|e| Error::io("read the folder", folder, &e))?;
            let found = |name: String| {
                let path = folder.join(&name);
                // Somebody may remove files while we look; what is no file has no size that counts.
                let bytes = disk.size(&path).ok()?;
                Some((name, Found { written: written(&path), path, bytes }))
            };
            Ok(names.into_iter().filter_map(found).collect())
        };
        let bytes = |found: &[(String, Found)]| found.iter().map(|(_, found)| found.bytes).sum::<u64>();
        let blobs_dir = dir.join("blobs");
        let folders = disk.list(&blobs_dir).map_err(|e| Error::io("read the folder", &blobs_dir, &e))?;
        let mut blobs = 0;
        for folder in folders.iter().filter(|name| name.len() == 2) {
            blobs += bytes(&listed(&blobs_dir.join(folder))?);
        }
        let mut logs = listed(&dir.join("logs"))?;
        // A long log is mostly holes.
        logs.iter_mut().for_each(|(_, found)| found.bytes = found.bytes.min(held(&found.path)));
        let quarantine = listed(&dir.join("quarantine"))?;
        let pipelinefiles = listed(&dir.join(PIPELINEFILES))?;
        let rest = bytes(&listed(&dir.join("segments"))?) + bytes(&listed(&dir.join("tables"))?);
        let total = blobs + bytes(&logs) + bytes(&quarantine) + bytes(&pipelinefiles) + rest + index;
        let numbered = |(name, found): (String, Found)| {
            let (run, worker) = name.split_once('-')?;
            Some(((run.parse().ok()?, worker.parse().ok()?), found))
        };
        Ok(OtherFiles {
            total,
            blobs,
            logs: logs.into_iter().filter_map(numbered).collect(),
            quarantine: quarantine.into_iter().map(|(_, found)| found).collect(),
            pipelinefiles,
            epochs: old_epochs(&dir.join("index"), disk)?,
        })
    }

    /// Those that go: logs that nothing kept speaks of, Pipelinefiles of no run that is kept, and what was quarantined
    /// longer ago than `limit`.
    pub(super) fn chosen(
        &self,
        now: Millis,
        limit: Duration,
        is_log_kept: &dyn Fn(u32, u32) -> bool,
        has_run: &HashSet<String>,
    ) -> Chosen {
        let pair = |found: &Found| (found.path.clone(), found.bytes);
        let logs = self.logs.iter().filter(|((run, worker), _)| !is_log_kept(*run, *worker));
        let old = self.quarantine.iter().filter(|found| now.since(found.written) >= limit);
        let runless = self.pipelinefiles.iter().filter(|(digest, _)| !has_run.contains(digest));
        Chosen {
            pipelinefiles: runless.map(|(_, found)| pair(found)).collect(),
            logs: logs.map(|(_, found)| pair(found)).collect(),
            leftovers: old.map(pair).collect(),
            epochs: self.epochs.clone(),
        }
    }
}

/// Files that go.
pub(super) struct Chosen {
    logs: Vec<(PathBuf, u64)>,
    leftovers: Vec<(PathBuf, u64)>,
    pipelinefiles: Vec<(PathBuf, u64)>,
    epochs: Vec<PathBuf>,
}

impl Chosen {
    pub(super) fn logs(&self) -> Files {
        files(&self.logs)
    }

    pub(super) fn pipelinefiles(&self) -> Files {
        files(&self.pipelinefiles)
    }

    pub(super) fn leftovers(&self) -> Files {
        // How large a folder is that nobody opens is not known.
        let mut files = files(&self.leftovers);
        files.count += self.epochs.len() as u64;
        files
    }

    pub(super) fn is_empty(&self) -> bool {
        let lists = [&self.logs, &self.leftovers, &self.pipelinefiles];
        lists.iter().all(|list| list.is_empty()) && self.epochs.is_empty()
    }

    pub(super) fn remove(&self, disk: &Arc<dyn Disk>) -> Result<()> {
        for (path, _) in self.logs.iter().chain(&self.leftovers).chain(&self.pipelinefiles) {
            disk::remove_optional(&**disk, path).map_err(|e| Error::io("remove", path, &e))?;
        }
        let remove = |path: &PathBuf| disk.remove_dir(path).map_err(|e| Error::io("remove", path, &e));
        self.epochs.iter().try_for_each(remove)
    }
}

fn files(chosen: &[(PathBuf, u64)]) -> Files {
    let mut files = Files::default();
    chosen.iter().for_each(|(_, bytes)| files.add(*bytes));
    files
}

/// The bytes that a file takes on the disk; no limit, as far as that is not known.
fn held(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map_or(u64::MAX, |metadata| metadata.blocks().saturating_mul(512))
}

/// When a file was last written; now, as far as that is not known.
fn written(path: &Path) -> Millis {
    let time = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or_else(crate::time::now, |since| Millis(since.as_millis() as u64))
}

fn old_epochs(index: &Path, disk: &dyn Disk) -> Result<Vec<PathBuf>> {
    let names = disk.list(index).map_err(|e| Error::io("read the folder", index, &e))?;
    let epoch = |name: &String| Some((name.parse::<u64>().ok()?, index.join(name)));
    let mut epochs: Vec<(u64, PathBuf)> = names.iter().filter_map(epoch).collect();
    epochs.sort();
    epochs.pop();
    Ok(epochs.into_iter().map(|(_, path)| path).collect())
}
