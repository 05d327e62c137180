//! Children on their way from a module: counted, weighed and limited while they come.
//!
//! Nothing of a child is kept before its size is known to be within the limits. Knows neither ids nor the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::SplitLimits;
use crate::text;

/// So many bytes of children may wait to be dealt with; until then nothing more is read.
const UNHEARD: u64 = 16 << 20;

/// The bytes of children that were reported and not dealt with yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard(Arc<AtomicU64>);

impl Unheard {
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) > UNHEARD
    }

    pub(super) fn weigh(&self, bytes: u64) -> Weight {
        // A child costs more than its bytes.
        let bytes = bytes + 256;
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Weight { of: self.clone(), bytes }
    }
}

/// Holds back the module until it is dropped.
#[derive(Debug)]
pub struct Weight {
    of: Unheard,
    bytes: u64,
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Clone for Weight {
    fn clone(&self) -> Self {
        self.of.weigh(self.bytes)
    }
}

/// The children that one document has sent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) count: u64,
    pub(super) bytes: u64,
}

impl Sent {
    /// Counts one more, before any of it is kept.
    pub(super) fn add(&mut self, name: &str, size: u64, limits: &SplitLimits) -> Result<(), Failure> {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(size);
        let [count, one, all] = limits.names();
        let (name, message, key, value) = if self.count > limits.count {
            (count, "too many children".to_owned(), "max", limits.count.saturating_mul(10).to_string())
        } else if size > limits.size {
            let message = format!("child `{}` has {}", text::printable(name), text::size(size));
            (one, message, "max_size", larger(size))
        } else if self.bytes > limits.total {
            (all, format!("{} in all", text::size(self.bytes)), "max_total", larger(self.bytes))
        } else {
            return Ok(());
        };
        let message = format!("{message}; fine? split = {{ {key} = {value} }}");
        Err(Failure::new(FailureKind::ModuleError, name, message))
    }
}

fn larger(bytes: u64) -> String {
    format!("\"{}GB\"", (bytes >> 30) * 2 + 2)
}

/// The files below a folder by their paths in it, in byte order; an error for anything that is neither file nor folder.
pub(super) fn files_below(folder: &Path, limits: &SplitLimits) -> Result<Vec<(String, PathBuf)>, Failure> {
    let lost = |path: &Path, error: &std::io::Error| {
        let message = format!("cannot read `{}`: {}", path.display(), crate::error::io_text(error));
        Failure::new(FailureKind::Lost, "lost", message)
    };
    let mut files = Vec::new();
    let mut open = vec![(String::new(), folder.to_owned())];
    while let Some((rel, folder)) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| lost(&folder, &e))? {
            let entry = entry.map_err(|e| lost(&folder, &e))?;
            let kind = entry.file_type().map_err(|e| lost(&folder, &e))?;
            let name = crate::model::document::escape_name(&entry.file_name()).into_owned();
            let rel = if rel.is_empty() { name } else { format!("{rel}/{name}") };
            if kind.is_dir() {
                open.push((rel, entry.path()));
            } else if kind.is_file() {
                files.push((rel, entry.path()));
            } else {
                let message = format!("`{rel}` in its folder is no ordinary file");
                return Err(Failure::new(FailureKind::ModuleError, "no ordinary file", message));
            }
            if files.len() as u64 > limits.count {
                let mut sent = Sent { count: limits.count, bytes: 0 };
                sent.add("", 0, limits)?;
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether what a program has written into its folder so far is within the limits.
pub(super) fn watch(folder: &Path, limits: &SplitLimits) -> Result<(), Failure> {
    // It writes there just now: what cannot be read yet counts later.
    let files = match files_below(folder, limits) {
        Err(failure) if failure.kind != FailureKind::ModuleError => return Ok(()),
        files => files?,
    };
    let mut sent = Sent::default();
    for (name, path) in files {
        let size = std::fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
        sent.add(&name, size, limits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_says_how_to_raise_it() {
        let limits = SplitLimits { count: 2, size: 10, total: 15 };
        let mut sent = Sent::default();
        sent.add("a", 10, &limits).unwrap();
        let total = sent.add("b", 6, &limits).unwrap_err();
        assert!(total.message.contains("max_total = \"2GB\""), "{}", total.message);
        let count = sent.add("c", 0, &limits).unwrap_err();
        assert_eq!(count.message, "too many children; fine? split = { max = 20 }");
        assert_eq!(count.error, "over max = 2");
        let size = Sent::default().add("a", 11, &limits).unwrap_err();
        assert!(size.message.contains("`a`") && size.message.contains("max_size"), "{}", size.message);
        assert!(size.is_kept());
    }

    #[test]
    fn what_was_reported_holds_back_until_it_is_dealt_with() {
        let unheard = Unheard::default();
        let weight = unheard.weigh(UNHEARD);
        assert!(unheard.is_full());
        drop(weight);
        assert!(!unheard.is_full());
    }

    #[test]
    fn files_come_in_order_of_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["b.txt", "a/x.txt", "a-b.txt", "#1"] {
            let path = dir.path().join(path);
            crate::fs::create_dir(path.parent().unwrap()).unwrap();
            crate::fs::write_scratch(&path, b"x").unwrap();
        }
        let names = |limits: &SplitLimits| -> Result<Vec<String>, Failure> {
            Ok(files_below(dir.path(), limits)?.into_iter().map(|(name, _)| name).collect())
        };
        let default = SplitLimits::default();
        assert_eq!(names(&default).unwrap(), ["%231", "a-b.txt", "a/x.txt", "b.txt"]);
        assert!(names(&SplitLimits { count: 3, ..default }).is_err());
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        assert!(names(&default).unwrap_err().message.contains("`link`"));
    }
}
