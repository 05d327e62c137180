//! `blobs/ab/<digest>`: outputs that are too large for the log, a file each, named by what they hold.
//!
//! A blob is durable before [`Blobs::put`] returns, so before any frame names it. "It is there already" counts only
//! after its bytes were hashed by this process. Knows nothing of actions.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::hash::{Digest, StreamHasher};
use crate::store::disk::{self, Access, Disk};
use crate::store::quarantine::Quarantine;

/// Larger outputs are blobs, others are payloads of the log.
pub const LARGEST_PAYLOAD: u64 = 256 << 10;

const CHUNK: usize = 256 << 10;

/// The blobs of a store.
pub struct Blobs {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    temporary: PathBuf,
    quarantine: Quarantine,
    /// Hashed, or written, by this process.
    proved: Mutex<HashSet<Digest>>,
    /// Folders that this process synced, so that all names in them are durable, and their own.
    folders: Mutex<HashSet<u8>>,
    /// A sync failed: nobody knows what is on disk, and nothing more is promised.
    is_broken: AtomicBool,
    counter: AtomicU64,
}

impl Blobs {
    /// The blobs of the store in `dir` (`.pipe`).
    pub fn new(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Blobs {
            quarantine: Quarantine::new(disk.clone(), dir),
            disk,
            dir: dir.join("blobs"),
            temporary: dir.join("tmp"),
            proved: Mutex::default(),
            folders: Mutex::default(),
            is_broken: AtomicBool::new(false),
            counter: AtomicU64::new(0),
        }
    }

    /// Where a blob lies, if it is there.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir.join(&hex[..2]).join(hex)
    }

    /// Keeps some bytes. `digest` must be theirs.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.holds(digest)? {
            return self.settle(digest);
        }
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temporary = self.temporary.join(format!("blob-{}-{number}", std::process::id()));
        let write = || {
            self.disk.create_dir(&self.temporary)?;
            disk::remove_optional(&*self.disk, &temporary)?;
            self.disk.create(&temporary)?.write_at(&[bytes], 0)
        };
        let done = write()
            .map_err(|e| Error::io("write", &temporary, &e))
            .and_then(|()| self.keep(digest, &temporary));
        if done.is_err() {
            crate::store::reserve::discard(&*self.disk, &temporary);
        }
        done
    }

    /// Keeps a file, which moves here; it must lie in the store's `tmp/`, and `digest` must be that of its bytes.
    pub fn adopt(&self, digest: &Digest, path: &Path) -> Result<()> {
        if self.holds(digest)? {
            self.settle(digest)?;
            return disk::remove_optional(&*self.disk, path).map_err(|e| Error::io("remove", path, &e));
        }
        self.keep(digest, path)
    }

    /// The bytes of a blob; nothing if it is gone. Wrong bytes go to the quarantine and are nothing too.
    pub fn read(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let path = self.path(digest);
        let bytes = match disk::read_all(&*self.disk, &path) {
            Ok(None) => None,
            Ok(Some(bytes)) => Some(bytes),
            Err(e) if disk::is_unreadable(&e) => None,
            Err(e) => return Err(Error::io("read", &path, &e)),
        };
        match bytes {
            Some(bytes) if Digest::of(&bytes) == *digest => {
                self.proved().insert(*digest);
                Ok(Some(bytes))
            }
            Some(_) => self.set_aside(digest).map(|()| None),
            None => {
                self.proved().remove(digest);
                Ok(None)
            }
        }
    }

    /// Sets a blob aside whose length alone says that it is wrong: nothing of it is read, however much it claims to hold.
    pub fn check_length(&self, digest: &Digest, length: u64) -> Result<()> {
        match self.disk.open(&self.path(digest), Access::Read).and_then(|file| file.size()) {
            Ok(size) if size != length => self.set_aside(digest),
            // What cannot be opened says so when it is read.
            _ => Ok(()),
        }
    }

    /// The path of a blob whose bytes are proved, now or before in this process; nothing as for [`Blobs::read`].
    pub fn proved_path(&self, digest: &Digest) -> Result<Option<PathBuf>> {
        Ok(self.holds(digest)?.then(|| self.path(digest)))
    }

    /// Whether the blob is there with the right bytes, which are hashed if this process did not yet.
    pub fn holds(&self, digest: &Digest) -> Result<bool> {
        let path = self.path(digest);
        let file = match self.disk.open(&path, Access::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.proved().remove(digest);
                return Ok(false);
            }
            Err(e) => return Err(Error::io("open", &path, &e)),
        };
        if self.proved().contains(digest) {
            return Ok(true);
        }
        let mut hasher = StreamHasher::default();
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        loop {
            match file.read_at(&mut buffer, offset) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    offset += read as u64;
                }
                Err(e) if disk::is_unreadable(&e) => return self.set_aside(digest).map(|()| false),
                Err(e) => return Err(Error::io("read", &path, &e)),
            }
        }
        if hasher.finish() != *digest {
            return self.set_aside(digest).map(|()| false);
        }
        self.proved().insert(*digest);
        Ok(true)
    }

    /// The digests of all blobs that are there, in no order.
    pub fn all(&self) -> Result<Vec<Digest>> {
        let list = |dir: &Path| self.disk.list(dir).map_err(|e| Error::io("read the folder", dir, &e));
        let mut found = Vec::new();
        for folder in list(&self.dir)?.iter().filter(|name| name.len() == 2) {
            let names = list(&self.dir.join(folder))?;
            let digests = names.iter().filter_map(|name| Digest::from_hex(name));
            found.extend(digests.filter(|digest| digest.hex().starts_with(folder.as_str())));
        }
        Ok(found)
    }

    /// The bytes of a blob that is there.
    pub fn size(&self, digest: &Digest) -> io::Result<u64> {
        self.disk.size(&self.path(digest))
    }

    /// Forgets a blob that nothing names.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        self.remove_on(&*self.disk, digest)
    }

    /// The same through another way to the same files.
    pub(super) fn remove_on(&self, disk: &dyn Disk, digest: &Digest) -> Result<()> {
        self.proved().remove(digest);
        let path = self.path(digest);
        disk::remove_optional(disk, &path).map_err(|e| Error::io("remove", &path, &e))
    }

    /// Before: the bytes are in `temporary`. After: they are durable under their own name.
    fn keep(&self, digest: &Digest, temporary: &Path) -> Result<()> {
        self.refuse_if_broken()?;
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.dir);
        let keep = || {
            self.synced(self.disk.open(temporary, Access::Write)?.sync())?;
            if !self.folders().contains(&digest.0[0]) {
                self.disk.create_dir(folder)?;
                self.sync_above()?;
            }
            self.disk.rename(temporary, &path)?;
            self.synced(self.disk.sync_dir(folder))
        };
        keep().map_err(|e| Error::io("write", &path, &e))?;
        self.folders().insert(digest.0[0]);
        self.proved().insert(*digest);
        Ok(())
    }

    /// Before: the blob is there. After: its name is durable, also if the process that wrote it was killed before.
    fn settle(&self, digest: &Digest) -> Result<()> {
        self.refuse_if_broken()?;
        if self.folders().contains(&digest.0[0]) {
            return Ok(());
        }
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.dir);
        let settle = || {
            self.sync_above()?;
            self.synced(self.disk.sync_dir(folder))
        };
        settle().map_err(|e| Error::io("sync", folder, &e))?;
        self.folders().insert(digest.0[0]);
        Ok(())
    }

    fn sync_above(&self) -> io::Result<()> {
        self.synced(self.disk.sync_dir(&self.dir))?;
        self.dir.parent().map_or(Ok(()), |store| self.synced(self.disk.sync_dir(store)))
    }

    /// Remembers a sync that failed.
    fn synced(&self, done: io::Result<()>) -> io::Result<()> {
        if done.is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        done
    }

    fn refuse_if_broken(&self) -> Result<()> {
        if !self.is_broken.load(Ordering::Relaxed) {
            return Ok(());
        }
        let message =
            format!("`{}` could not be synced before: nothing more is written there", self.dir.display());
        Err(Error::unfinished(message)
            .hint("look after the disk, then build again: all that was reported as done is kept"))
    }

    fn folders(&self) -> std::sync::MutexGuard<'_, HashSet<u8>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_aside(&self, digest: &Digest) -> Result<()> {
        tracing::warn!("the blob {} is damaged and set aside", digest.short());
        self.proved().remove(digest);
        self.quarantine.take(&format!("blob-{}", digest.hex()), &self.path(digest)).map(|_| ())
    }

    fn proved(&self) -> std::sync::MutexGuard<'_, HashSet<Digest>> {
        self.proved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    fn blobs(dir: &Path) -> Blobs {
        Blobs::new(Arc::new(RealDisk), dir)
    }

    #[test]
    fn a_blob_is_kept_under_its_digest_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"large");
        assert_eq!(blobs.read(&digest).unwrap(), None);
        blobs.put(&digest, b"large").unwrap();
        blobs.put(&digest, b"large").unwrap();
        assert_eq!(blobs.read(&digest).unwrap().unwrap(), b"large");
        assert_eq!(blobs.proved_path(&digest).unwrap(), Some(blobs.path(&digest)));
        assert_eq!(crate::fs::files_below(dir.path()).unwrap(), [blobs.path(&digest)]);
        blobs.remove(&digest).unwrap();
        assert!(!blobs.holds(&digest).unwrap());
    }

    #[test]
    fn a_file_of_tmp_is_adopted_and_a_second_one_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"made");
        for _ in 0..2 {
            crate::fs::create_dir(&dir.path().join("tmp")).unwrap();
            let made = dir.path().join("tmp/made");
            crate::fs::write_scratch(&made, b"made").unwrap();
            blobs.adopt(&digest, &made).unwrap();
            assert!(!made.exists());
        }
        assert_eq!(blobs.read(&digest).unwrap().unwrap(), b"made");
    }

    #[test]
    fn a_damaged_blob_is_never_trusted_because_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let digest = Digest::of(b"right");
        blobs(dir.path()).put(&digest, b"right").unwrap();
        let path = blobs(dir.path()).path(&digest);
        for damaged in [&b"wrong"[..], b"", b"right and more"] {
            crate::fs::write_scratch(&path, damaged).unwrap();
            let blobs = blobs(dir.path());
            assert_eq!(blobs.read(&digest).unwrap(), None);
            crate::fs::write_scratch(&path, damaged).unwrap();
            blobs.put(&digest, b"right").unwrap();
            assert_eq!(blobs.read(&digest).unwrap().unwrap(), b"right");
        }
        let name = format!("quarantine/blob-{}", digest.hex());
        assert_eq!(crate::fs::read(&dir.path().join(name)).unwrap(), b"right and more");
    }

    #[test]
    fn a_blob_that_somebody_removed_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"bytes");
        blobs.put(&digest, b"bytes").unwrap();
        crate::fs::remove_file(&blobs.path(&digest)).unwrap();
        blobs.put(&digest, b"bytes").unwrap();
        assert!(blobs.holds(&digest).unwrap());
    }
}
