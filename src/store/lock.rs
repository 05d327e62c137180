//! The lock of a store: one process owns it. Gone with the process, whatever ends it; never broken by hand.
//!
//! An advisory lock on `lock`. The text inside is for people; only the lock itself decides.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{Error, Result};

/// The store is ours while this lives. The descriptor is closed in every process that is started.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Whoever removes `lock` does not let a second owner in.
    _folder: Option<File>,
}

impl Lock {
    /// Says beside the process id what has it. For people: that it cannot be written keeps nobody out.
    pub fn describe(&self, what: &str) {
        let text = format!("{} {what}\n", std::process::id());
        let mut file = &self.file;
        let written =
            file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(text.as_bytes()));
        if let Err(e) = written {
            tracing::debug!("cannot write the owner into the lock: {e}");
        }
    }

    /// Takes the lock of the store in `dir`; nothing if another process has it.
    pub fn try_take(dir: &Path) -> Result<Option<Lock>> {
        let path = dir.join("lock");
        let failed = |doing: &str, e: &std::io::Error| Error::io(doing, &path, e);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|e| failed("open", &e))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(failed("lock", &e)),
            }
            // Somebody may have removed the file between open and lock: then this lock keeps nobody out.
            let ours = file.metadata().map_err(|e| failed("read", &e))?;
            match std::fs::metadata(&path) {
                Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => {}
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed("read", &e)),
                _ => continue,
            }
            // A file system that locks no folders has the file alone.
            let folder = File::open(dir).ok();
            if folder
                .as_ref()
                .is_some_and(|folder| matches!(folder.try_lock(), Err(TryLockError::WouldBlock)))
            {
                return Ok(None);
            }
            // The text is for people: a full disk does not keep the owner out.
            let text = format!("{}\n", std::process::id());
            if let Err(e) = file.set_len(0).and_then(|()| file.write_all(text.as_bytes())) {
                tracing::debug!("cannot write the owner into `{}`: {e}", path.display());
            }
            return Ok(Some(Lock { file, _folder: folder }));
        }
    }
}

/// What the present owner, or the last one, wrote into the lock: its process id, and what it is if it said so.
pub fn holder(dir: &Path) -> Option<String> {
    let mut text = String::new();
    // No more than a line: whatever lies there is shown to people.
    File::open(dir.join("lock")).ok()?.take(80).read_to_string(&mut text).ok()?;
    let text = crate::text::printable(text.trim());
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_it_and_it_is_free_when_that_one_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(holder(dir.path()), None);
        let lock = Lock::try_take(dir.path()).unwrap().unwrap();
        assert!(Lock::try_take(dir.path()).unwrap().is_none());
        assert_eq!(holder(dir.path()), Some(std::process::id().to_string()));
        lock.describe("pipe watch");
        assert_eq!(holder(dir.path()), Some(format!("{} pipe watch", std::process::id())));
        drop(lock);
        assert!(Lock::try_take(dir.path()).unwrap().is_some());
    }

    #[test]
    fn who_removes_the_file_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let old = Lock::try_take(dir.path()).unwrap().unwrap();
        crate::fs::remove_file(&dir.path().join("lock")).unwrap();
        assert!(Lock::try_take(dir.path()).unwrap().is_none());
        drop(old);
        let new = Lock::try_take(dir.path()).unwrap();
        assert!(new.is_some());
        assert!(Lock::try_take(dir.path()).unwrap().is_none());
    }
}
