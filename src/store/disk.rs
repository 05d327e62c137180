//! Every file operation of the store, behind one narrow trait, so that tests can make each of them fail or be lost.
//! Knows nothing of what the files hold. `docs/design/crashes.md` tells what the tests make of it.

mod aside;
#[cfg(test)]
pub(crate) mod crash;
#[cfg(test)]
pub(crate) mod failing;
mod wary;

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

pub use aside::AsideDisk;
pub use wary::WaryDisk;

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading alone: works on a disk that is mounted read-only.
    Read,
    /// Reading and writing.
    Write,
}

/// A place for files.
pub trait Disk: Send + Sync {
    /// Makes a new file for reading and writing; it is an error if there is one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that is there.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Makes a folder and those above it; that it is there already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name, in the place of what has that name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The names in a folder, in no order; none if there is no such folder.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// The length of a file in bytes, without opening it.
    fn size(&self, path: &Path) -> io::Result<u64>;
    /// Removes a folder with all in it; that it is gone already is fine.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file. Reads and writes at offsets; several threads may do so at once.
pub trait DiskFile: Send + Sync {
    /// Writes all parts, one behind the other, from `offset` on.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Reads until the buffer is full or the file ends; returns how much.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Makes everything written durable. After an error nobody knows what the file holds: it must not be written again.
    fn sync(&self) -> io::Result<()>;
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Takes room on the disk from the file's begin to `bytes`.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
}

/// The file system of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(access == Access::Write).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries
            .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
            .collect()
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::metadata(path)?.len())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        crate::fs::remove_tree(path)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> =
            parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.0, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while read < buffer.len() {
            match self.0.read_at(&mut buffer[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(read)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), 0, bytes).map_err(io::Error::from)
    }
}

/// All bytes of a file, or nothing if there is no such file.
pub fn read_all(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Access::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; usize::try_from(file.size()?).map_err(|_| io::ErrorKind::FileTooLarge)?];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Fills the buffer from a file; that it ends before is an error.
pub fn read_exact(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    match file.read_at(buffer, offset)? {
        read if read == buffer.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Replaces a file whole and durably: written beside `path` under `temporary`, synced, renamed, folder synced.
/// Whoever reads sees the old or the new bytes, also after a power cut.
pub fn replace(disk: &dyn Disk, path: &Path, temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_optional(disk, temporary)?;
    let file = disk.create(temporary)?;
    file.write_at(&[bytes], 0)?;
    file.sync()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Removes a file; that it is gone already is fine.
pub fn remove_optional(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Whether the disk itself could not read: as good as damaged, and no reason to end a build.
pub fn is_unreadable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_one_behind_the_other_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = RealDisk.create(&path).unwrap();
        file.write_at(&[b"ab", b"", b"cde"], 2).unwrap();
        let mut buffer = [9; 8];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 6);
        assert_eq!(buffer, [0, b'a', b'b', b'c', b'd', b'e', 9, 9]);
        assert_eq!(RealDisk.create(&path).err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(RealDisk.list(dir.path()).unwrap(), ["file"]);
        assert_eq!(RealDisk.list(&dir.path().join("none")).unwrap(), Vec::<String>::new());
        assert_eq!(read_all(&RealDisk, &path).unwrap().unwrap().len(), 7);
        assert_eq!(RealDisk.size(&path).unwrap(), 7);
        assert!(read_exact(&*file, &mut buffer, 1).is_err());
        replace(&RealDisk, &path, &dir.path().join("new"), b"other").unwrap();
        assert_eq!(read_all(&RealDisk, &path).unwrap().unwrap(), b"other");
        for _ in 0..2 {
            RealDisk.remove_dir(dir.path()).unwrap();
        }
        assert!(!path.exists());
    }
}
