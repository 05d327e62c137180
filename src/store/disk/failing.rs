//! A disk one of whose calls fails: the n-th of those that a test chose. For tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::disk::{Access, Disk, DiskFile};

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Call {
    Create,
    Open,
    CreateDir,
    Rename,
    Remove,
    SyncDir,
    List,
    Size,
    RemoveDir,
    Write,
    Read,
    Sync,
    Reserve,
}

/// How it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// With this number of the system; a write leaves half of its bytes.
    Errno(i32),
    /// A read ends where it should not, as if the file had been cut; other calls are as always.
    Short,
}

/// Whether a call counts.
pub(crate) type Counts = fn(Call) -> bool;

/// See [`FailingDisk::new`].
struct Plan {
    nth: u64,
    counts: Counts,
    wrong: Wrong,
    /// Everything from then on fails, as on a disk that is full or gone.
    for_good: bool,
    calls: AtomicU64,
    failed: AtomicBool,
    /// Every call, for whoever looks at their order afterwards: what, on which file, whether it went well.
    made: Mutex<Vec<(Call, PathBuf, bool)>>,
    /// Told of a file that could not be synced.
    on_failed_sync: Box<dyn Fn(&Path) + Send + Sync>,
}

impl Plan {
    /// Counts a call; how it goes wrong, if it does.
    fn meet(&self, call: Call, path: &Path) -> Option<Wrong> {
        let is_due = (self.counts)(call) && {
            let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
            number == self.nth || (self.for_good && number > self.nth)
        };
        let wrong = is_due.then_some(self.wrong).filter(|wrong| *wrong != Wrong::Short || call == Call::Read);
        self.failed.fetch_or(is_due, Ordering::Relaxed);
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push((
            call,
            path.to_owned(),
            wrong.is_none(),
        ));
        wrong
    }

    fn check(&self, call: Call, path: &Path) -> io::Result<()> {
        match self.meet(call, path) {
            Some(Wrong::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Wrong::Short) | None => Ok(()),
        }
    }
}

/// A disk one of whose calls fails. Clones are the same disk.
#[derive(Clone)]
pub(crate) struct FailingDisk {
    inner: Arc<dyn Disk>,
    plan: Arc<Plan>,
}

impl FailingDisk {
    /// The `nth` call (from 1) of those that count goes wrong; with `for_good` all further ones too.
    pub(crate) fn new(inner: Arc<dyn Disk>, nth: u64, counts: Counts, wrong: Wrong, for_good: bool) -> Self {
        Self::telling(inner, nth, counts, wrong, for_good, |_| {})
    }

    /// The same; whoever simulates the disk is told of a file that could not be synced.
    pub(crate) fn telling(
        inner: Arc<dyn Disk>,
        nth: u64,
        counts: Counts,
        wrong: Wrong,
        for_good: bool,
        on_failed_sync: impl Fn(&Path) + Send + Sync + 'static,
    ) -> Self {
        let plan = Plan {
            nth,
            counts,
            wrong,
            for_good,
            calls: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            made: Mutex::default(),
            on_failed_sync: Box::new(on_failed_sync),
        };
        FailingDisk { inner, plan: Arc::new(plan) }
    }

    /// Whether the call was made.
    pub(crate) fn has_failed(&self) -> bool {
        self.plan.failed.load(Ordering::Relaxed)
    }

    /// Every call so far: what, on which file, whether it went well.
    pub(crate) fn made(&self) -> Vec<(Call, PathBuf, bool)> {
        self.plan.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn file(&self, inner: Arc<dyn DiskFile>, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(FailingFile { inner, path: path.to_owned(), plan: Arc::clone(&self.plan) })
    }
}

impl Disk for FailingDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.plan.check(Call::Create, path)?;
        Ok(self.file(self.inner.create(path)?, path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        self.plan.check(Call::Open, path)?;
        Ok(self.file(self.inner.open(path, access)?, path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.check(Call::CreateDir, path)?;
        self.inner.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.check(Call::Rename, to)?;
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.check(Call::Remove, path)?;
        self.inner.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.check(Call::SyncDir, path)?;
        self.inner.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.plan.check(Call::List, path)?;
        self.inner.list(path)
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        self.plan.check(Call::Size, path)?;
        self.inner.size(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.check(Call::RemoveDir, path)?;
        self.inner.remove_dir(path)
    }
}

struct FailingFile {
    inner: Arc<dyn DiskFile>,
    path: PathBuf,
    plan: Arc<Plan>,
}

impl DiskFile for FailingFile {
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let Err(error) = self.plan.check(Call::Write, &self.path) else {
            return self.inner.write_at(parts, offset);
        };
        let bytes = parts.concat();
        self.inner.write_at(&[&bytes[..bytes.len() / 2]], offset)?;
        Err(error)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.plan.meet(Call::Read, &self.path) {
            Some(Wrong::Errno(number)) => Err(io::Error::from_raw_os_error(number)),
            Some(Wrong::Short) => {
                let half = buffer.len() / 2;
                self.inner.read_at(&mut buffer[..half], offset)
            }
            None => self.inner.read_at(buffer, offset),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.plan.check(Call::Sync, &self.path);
        match done {
            Ok(()) => self.inner.sync(),
            Err(error) => {
                (self.plan.on_failed_sync)(&self.path);
                Err(error)
            }
        }
    }

    fn size(&self) -> io::Result<u64> {
        self.plan.check(Call::Size, &self.path)?;
        self.inner.size()
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.plan.check(Call::Reserve, &self.path)?;
        self.inner.reserve(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{RealDisk, read_all};

    #[test]
    fn the_chosen_call_fails_once_or_from_then_on() {
        let dir = tempfile::tempdir().unwrap();
        for for_good in [false, true] {
            let counts: Counts = |call| call == Call::Write;
            let disk = FailingDisk::new(Arc::new(RealDisk), 2, counts, Wrong::Errno(28), for_good);
            let path = dir.path().join(format!("file-{for_good}"));
            let file = disk.create(&path).unwrap();
            file.write_at(&[b"ab"], 0).unwrap();
            assert!(!disk.has_failed());
            let error = file.write_at(&[b"cd", b"ef"], 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            assert!(disk.has_failed());
            assert_eq!(read_all(&disk, &path).unwrap().unwrap(), b"abcd", "half of it");
            assert_eq!(file.write_at(&[b"x"], 0).is_err(), for_good);
            assert_eq!(disk.made()[2], (Call::Write, path, false));
        }
    }

    #[test]
    fn a_short_read_ends_too_early() {
        let dir = tempfile::tempdir().unwrap();
        let disk = FailingDisk::new(Arc::new(RealDisk), 1, |call| call == Call::Read, Wrong::Short, false);
        let file = disk.create(&dir.path().join("file")).unwrap();
        file.write_at(&[b"abcd"], 0).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 2);
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 4);
    }
}
