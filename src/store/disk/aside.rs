//! A disk that is read as it is and never written: what is written stays aside, in memory, and is gone with it.
//!
//! So a store that belongs to somebody else is opened like any other, while its owner goes on writing to it. Knows
//! nothing of what the files hold.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Disk, DiskFile, RealDisk};

/// The file system of this machine, read only; writes are kept aside.
#[derive(Default)]
pub struct AsideDisk {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was written to; absent: it was removed.
    files: BTreeMap<PathBuf, Option<Arc<AsideFile>>>,
    folders: BTreeSet<PathBuf>,
    /// Folders that were removed: nothing that the real disk has in them is seen.
    hidden: BTreeSet<PathBuf>,
}

impl State {
    fn is_hidden(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.hidden.contains(above))
    }

    /// The file as it is seen, to be written to from now on.
    fn taken(&mut self, path: &Path) -> io::Result<Arc<AsideFile>> {
        match self.files.get(path) {
            Some(Some(file)) => return Ok(Arc::clone(file)),
            Some(None) => return Err(io::ErrorKind::NotFound.into()),
            None if self.is_hidden(path) => return Err(io::ErrorKind::NotFound.into()),
            None => {}
        }
        let real = RealDisk.open(path, Access::Read)?;
        let size = real.size()?;
        let written = Mutex::new(Written { size, parts: Vec::new() });
        let file = Arc::new(AsideFile { real: Some((real, size)), written });
        self.files.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }

    fn is_there(&self, path: &Path) -> bool {
        match self.files.get(path) {
            Some(file) => file.is_some(),
            None => !self.is_hidden(path) && path.exists(),
        }
    }
}

impl AsideDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for AsideDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if state.is_there(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = Arc::new(AsideFile::default());
        state.files.insert(path.to_owned(), Some(Arc::clone(&file)));
        Ok(file)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        if access == Access::Read && !state.files.contains_key(path) && !state.is_hidden(path) {
            return RealDisk.open(path, Access::Read);
        }
        let file = state.taken(path)?;
        Ok(file)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.lock().folders.insert(path.to_owned());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let file = state.taken(from)?;
        state.files.insert(from.to_owned(), None);
        state.files.insert(to.to_owned(), Some(file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if !state.is_there(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.files.insert(path.to_owned(), None);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let mut names = BTreeSet::new();
        if !state.is_hidden(path) {
            let real = RealDisk.list(path)?.into_iter();
            names.extend(real.filter(|name| !matches!(state.files.get(&path.join(name)), Some(None))));
        }
        let written = state.files.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path);
        let below = written.chain(&state.folders).filter_map(|other| other.strip_prefix(path).ok());
        let first = below.filter_map(|rest| rest.components().next()?.as_os_str().to_str());
        names.extend(first.map(str::to_owned));
        Ok(names.into_iter().collect())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let state = self.lock();
        match state.files.get(path) {
            Some(Some(file)) => file.size(),
            Some(None) => Err(io::ErrorKind::NotFound.into()),
            None if state.is_hidden(path) => Err(io::ErrorKind::NotFound.into()),
            None => RealDisk.size(path),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.files.retain(|file, _| !file.starts_with(path));
        state.folders.retain(|folder| !folder.starts_with(path));
        state.hidden.insert(path.to_owned());
        Ok(())
    }
}

/// A file that was written to, or made, aside.
#[derive(Default)]
struct AsideFile {
    /// What lies under it, and how long that was at first: whoever owns it may append.
    real: Option<(Arc<dyn DiskFile>, u64)>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    size: u64,
    /// In the order of writing: the later one counts.
    parts: Vec<(u64, Vec<u8>)>,
}

impl AsideFile {
    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for AsideFile {
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes = parts.concat();
        let mut written = self.lock();
        written.size = written.size.max(offset + bytes.len() as u64);
        match written.parts.last_mut() {
            // Appended piece by piece: one part.
            Some((at, last)) if *at + last.len() as u64 == offset => last.extend_from_slice(&bytes),
            _ => written.parts.push((offset, bytes)),
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = self.lock();
        let length = written.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let buffer = &mut buffer[..length];
        buffer.fill(0);
        if let Some((real, size)) = &self.real {
            let under = size.saturating_sub(offset).min(length as u64) as usize;
            real.read_at(&mut buffer[..under], offset)?;
        }
        let end = offset + length as u64;
        for (at, bytes) in &written.parts {
            let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
            if from < to {
                let part = &bytes[(from - at) as usize..(to - at) as usize];
                buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(part);
            }
        }
        Ok(length)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.lock().size)
    }

    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::{read_all, replace};

    #[test]
    fn what_is_written_is_seen_and_the_disk_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        crate::fs::create_dir(&at("sub")).unwrap();
        crate::fs::write_scratch(&at("old"), b"0123456789").unwrap();
        crate::fs::write_scratch(&at("sub/inner"), b"inner").unwrap();
        let disk = AsideDisk::default();
        let old = disk.open(&at("old"), Access::Write).unwrap();
        old.write_at(&[b"ab", b"c"], 8).unwrap();
        old.write_at(&[b"X"], 9).unwrap();
        assert_eq!(read_all(&disk, &at("old")).unwrap().unwrap(), b"01234567aXc");
        assert_eq!(disk.create(&at("old")).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        replace(&disk, &at("new/file"), &at("new/file.tmp"), b"new").unwrap();
        assert_eq!(disk.list(&at("new")).unwrap(), ["file"]);
        assert_eq!(disk.list(dir.path()).unwrap(), ["new", "old", "sub"]);
        disk.remove_dir(&at("sub")).unwrap();
        assert_eq!(disk.list(&at("sub")).unwrap(), Vec::<String>::new());
        assert_eq!(disk.size(&at("sub/inner")).err().unwrap().kind(), io::ErrorKind::NotFound);
        disk.create_dir(&at("sub")).unwrap();
        disk.create(&at("sub/inner")).unwrap().write_at(&[b"mine"], 0).unwrap();
        assert_eq!(disk.size(&at("sub/inner")).unwrap(), 4);
        disk.rename(&at("old"), &at("sub/moved")).unwrap();
        assert!(read_all(&disk, &at("old")).unwrap().is_none());
        assert_eq!(disk.list(&at("sub")).unwrap(), ["inner", "moved"]);
        assert_eq!(crate::fs::files_below(dir.path()).unwrap(), [at("old"), at("sub/inner")]);
        assert_eq!(crate::fs::read(&at("old")).unwrap(), b"0123456789");
        assert_eq!(crate::fs::read(&at("sub/inner")).unwrap(), b"inner");
    }
}
