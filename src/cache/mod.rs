//! The shared cache: a folder in which projects and users of a machine find each other's results (`PIPE_CACHE`).
//!
//! A view for the good of all, never the truth of anyone: a file that is missing, torn or wrong is a miss. Files are written
//! under a temporary name and renamed, so that two builds may write at once. Folders and files get the rights of the
//! cache's own folder, whatever the umask. Knows nothing of targets, marks or the store.

mod entry;

pub use entry::{Entry, decode, encode};

use std::collections::BTreeSet;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::hash::{Digest, StreamHasher};
use crate::model::action::{ActionKey, Loads, Outcome, PayloadPlace, Place, Position};
use crate::sys;

/// Where bytes are that come with their entry.
pub const WITH_ENTRY: Place = Place::Payload(PayloadPlace { group: Position(0), offset: 0 });
/// An entry is never larger: what claims to be is not read.
const LARGEST_ENTRY: u64 = 64 << 20;
const CHUNK: usize = 256 << 10;

/// The bytes of an output that is shared.
#[derive(Debug)]
pub enum Bytes<'a> {
    /// At hand; they go with the entry.
    Held(&'a [u8]),
    /// A file.
    File(&'a Path),
    /// There are none.
    None,
}

/// An open cache.
pub struct Cache {
    root: PathBuf,
    /// Of the cache's folder: what is made in it gets the same.
    mode: u32,
    user: u32,
    /// Files of other users that are damaged, each said once.
    damaged: Mutex<BTreeSet<(PathBuf, u32)>>,
    serial: AtomicU64,
}

impl Cache {
    /// Opens the cache in a folder, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// If it is no folder, cannot be written, or is of another kind.
    pub fn open(folder: &Path) -> Result<Cache> {
        let failed = |e: &io::Error| Error::io("open the shared cache", folder, e);
        std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
        let meta = std::fs::metadata(folder).map_err(|e| failed(&e))?;
        let cache = Cache {
            root: folder.join(format!("v{}", entry::VERSION)),
            mode: meta.mode() & 0o7777,
            user: sys::own_user(),
            damaged: Mutex::default(),
            serial: AtomicU64::new(0),
        };
        for name in ["results", "blobs", "tmp"] {
            cache.folder(&cache.root.join(name)).map_err(|e| failed(&e))?;
        }
        Ok(cache)
    }

    /// The entry of a key with the bytes that come with it; nothing if there is none that can be trusted.
    pub fn entry(&self, key: &ActionKey) -> Option<(Entry, Vec<u8>)> {
        let path = self.entry_path(key);
        let (whole, meta) = read(&path)?;
        match decode(&whole).filter(|(entry, _)| entry.key == *key) {
            Some(found) => Some(found),
            None => {
                self.set_aside(&path, &meta);
                None
            }
        }
    }

    /// Copies the bytes of an output that lie in a file of their own; whether they were there and right.
    pub fn fetch(&self, digest: &Digest, length: u64, to: &Path) -> Result<bool> {
        let path = self.blob_path(digest);
        let Ok(mut from) = File::open(&path) else { return Ok(false) };
        let Ok(meta) = from.metadata() else { return Ok(false) };
        if !meta.is_file() {
            return Ok(false);
        }
        let mut file = File::create(to).map_err(|e| Error::io("create", to, &e))?;
        let (mut hasher, mut buffer, mut copied) = (StreamHasher::default(), vec![0; CHUNK], 0);
        let is_whole = loop {
            match from.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) if copied > length => break false,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).map_err(|e| Error::io("write", to, &e))?;
                    copied += count as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        if is_whole && copied == length && hasher.finish() == *digest {
            return Ok(true);
        }
        self.set_aside(&path, &meta);
        crate::fs::remove_file(to)?;
        Ok(false)
    }

    /// Shares a result. What is there already and right is left as it is; a damaged file of another user too.
    pub fn put(&self, entry: &Entry, bytes: &Bytes<'_>) -> io::Result<()> {
        let held: &[u8] = if let Bytes::Held(bytes) = bytes { bytes } else { b"" };
        let Some(whole) = encode(entry, held) else { return Ok(()) };
        let path = self.entry_path(&entry.key);
        if let Some((old, meta)) = read(&path) {
            match decode(&old).filter(|(old, _)| old.key == entry.key) {
                Some((old, _))
                    if loads_the_same(old.loads.as_ref(), entry.loads.as_ref())
                        && is_same(&old.outcome, &entry.outcome) =>
                {
                    // The bytes may have been trimmed away.
                    return self.put_bytes(entry, bytes);
                }
                Some(_) => {}
                None if self.set_aside(&path, &meta) => {}
                None => return Ok(()),
            }
        }
        self.put_bytes(entry, bytes)?;
        self.write(&path, &mut whole.as_slice())
    }

    fn put_bytes(&self, entry: &Entry, bytes: &Bytes<'_>) -> io::Result<()> {
        let (Outcome::Output(output), Bytes::File(from)) = (&entry.outcome, bytes) else { return Ok(()) };
        self.put_file(&output.digest, output.length, from)
    }

    /// Shares the bytes of a file of a folder, which come before the folder's own entry.
    pub fn put_file(&self, digest: &Digest, length: u64, from: &Path) -> io::Result<()> {
        let path = self.blob_path(digest);
        if let Ok(meta) = std::fs::metadata(&path) {
            let is_right = meta.len() == length && digest_of(&path).is_ok_and(|of| of == *digest);
            if is_right || !self.set_aside(&path, &meta) {
                return Ok(());
            }
        }
        self.write(&path, &mut File::open(from)?)
    }

    /// Files of other users that were found damaged, and whose they are.
    pub fn damaged(&self) -> Vec<(PathBuf, u32)> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A file that is not what its name says: our own goes, so that it is written anew; that of another user is only
    /// noted. Whether the place is free now.
    fn set_aside(&self, path: &Path, meta: &Metadata) -> bool {
        if meta.uid() == self.user {
            return std::fs::remove_file(path).is_ok();
        }
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert((path.to_owned(), meta.uid()));
        false
    }

    fn write(&self, path: &Path, from: &mut dyn Read) -> io::Result<()> {
        let number = self.serial.fetch_add(1, Ordering::Relaxed);
        let temporary = self.root.join("tmp").join(format!("{}-{}-{number}", self.user, sys::own_pid()));
        let written = self.write_as(path, &temporary, from);
        if written.is_err() {
            drop(std::fs::remove_file(&temporary));
        }
        written
    }

    fn write_as(&self, path: &Path, temporary: &Path, from: &mut dyn Read) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            self.folder(folder)?;
        }
        // The number of a process that was killed may come again.
        drop(std::fs::remove_file(temporary));
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(temporary)?;
        io::copy(from, &mut file)?;
        file.set_permissions(Permissions::from_mode(self.mode & 0o666))?;
        std::fs::rename(temporary, path)
    }

    /// Makes a folder with the rights of the cache's own.
    fn folder(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent().filter(|above| above.starts_with(&self.root)) {
            self.folder(above)?;
        }
        match std::fs::create_dir(path) {
            Ok(()) => std::fs::set_permissions(path, Permissions::from_mode(self.mode)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(e) => Err(e),
        }
    }

    fn entry_path(&self, key: &ActionKey) -> PathBuf {
        self.below("results", &key.0)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.below("blobs", digest)
    }

    fn below(&self, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join(kind).join(&hex[..2]).join(hex)
    }
}

/// The name of whoever runs this, as the machine's list of users has it; else the number.
pub fn user_name() -> String {
    let number = sys::own_user().to_string();
    let list = crate::fs::read_text(Path::new("/etc/passwd")).unwrap_or_default();
    let is_ours = |line: &&str| line.split(':').nth(2) == Some(&number);
    let name = list.lines().find(is_ours).and_then(|line| line.split(':').next()).map(str::to_owned);
    name.unwrap_or(number)
}

/// The machine's name.
pub fn host_name() -> String {
    let name = crate::fs::read_text(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    name.trim().to_owned()
}

/// Equal but for where packages lie and what the module is found by: both are a machine's own.
fn loads_the_same(old: Option<&Loads>, new: Option<&Loads>) -> bool {
    let packages = |loads: &Loads| -> Vec<(String, String)> {
        loads.packages.iter().map(|package| (package.name.clone(), package.version.clone())).collect()
    };
    match (old, new) {
        (Some(old), Some(new)) => old.files == new.files && packages(old) == packages(new),
        (old, new) => old.is_none() == new.is_none(),
    }
}

fn is_same(old: &Outcome, new: &Outcome) -> bool {
    match (old, new) {
        (Outcome::Output(old), Outcome::Output(new)) => {
            old.digest == new.digest && old.ext == new.ext && old.meta == new.meta
        }
        (Outcome::Skip(old), Outcome::Skip(new)) => old == new,
        _ => false,
    }
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, StreamHasher::default(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// A file whole with its metadata; nothing if it is not there, no file, too large, or cannot be read.
fn read(path: &Path) -> Option<(Vec<u8>, Metadata)> {
    let mut file = File::open(path).ok()?;
    let meta = file.metadata().ok().filter(|meta| meta.is_file() && meta.len() <= LARGEST_ENTRY)?;
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    file.read_to_end(&mut bytes).ok()?;
    Some((bytes, meta))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::action::{Origin, Output};
    use crate::time::Millis;

    fn entry(key: u8, bytes: &[u8], place: Place) -> Entry {
        let output = Output {
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
            ext: "txt".into(),
            place,
            meta: String::new(),
        };
        Entry {
            key: ActionKey(Digest([key; 32])),
            origin: Origin::default(),
            loads: None,
            outcome: Outcome::Output(output),
            start: Millis(1),
            duration: 1,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_result_is_found_with_its_bytes_and_nothing_is_left_beside() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let small = entry(1, b"small", WITH_ENTRY);
        assert_eq!(cache.entry(&small.key), None);
        cache.put(&small, &Bytes::Held(b"small")).unwrap();
        cache.put(&small, &Bytes::Held(b"small")).unwrap();
        assert_eq!(Cache::open(dir.path()).unwrap().entry(&small.key), Some((small, b"small".to_vec())));
        let (large, from) = (entry(2, b"large", Place::Blob), dir.path().join("from"));
        crate::fs::write_scratch(&from, b"large").unwrap();
        cache.put(&large, &Bytes::File(&from)).unwrap();
        let to = dir.path().join("to");
        assert!(cache.fetch(&Digest::of(b"large"), 5, &to).unwrap());
        assert_eq!(crate::fs::read(&to).unwrap(), b"large");
        assert_eq!(crate::fs::files_below(&dir.path().join("v1")).unwrap().len(), 3);
    }

    #[test]
    fn our_own_damaged_file_goes_and_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let (one, from, to) =
            (entry(1, b"bytes", Place::Blob), dir.path().join("from"), dir.path().join("to"));
        crate::fs::write_scratch(&from, b"bytes").unwrap();
        for wrong in [&b"wrong"[..], b"", b"bytes and more"] {
            cache.put(&one, &Bytes::File(&from)).unwrap();
            crate::fs::write_scratch(&cache.blob_path(&Digest::of(b"bytes")), wrong).unwrap();
            assert!(!cache.fetch(&Digest::of(b"bytes"), 5, &to).unwrap());
            assert!(!to.exists());
            crate::fs::write_scratch(&cache.entry_path(&one.key), wrong).unwrap();
            assert_eq!(cache.entry(&one.key), None);
        }
        cache.put(&one, &Bytes::File(&from)).unwrap();
        assert!(cache.fetch(&Digest::of(b"bytes"), 5, &to).unwrap() && cache.entry(&one.key).is_some());
        assert_eq!(cache.damaged(), []);
    }

    #[test]
    fn an_entry_under_the_name_of_another_key_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path()).unwrap();
        let one = entry(1, b"one", WITH_ENTRY);
        cache.put(&one, &Bytes::Held(b"one")).unwrap();
        let other = cache.entry_path(&ActionKey(Digest([2; 32])));
        crate::fs::create_dir(other.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&other, &crate::fs::read(&cache.entry_path(&one.key)).unwrap()).unwrap();
        assert_eq!(cache.entry(&ActionKey(Digest([2; 32]))), None);
    }

    #[test]
    fn everything_gets_the_rights_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cache");
        crate::fs::create_dir(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o2770)).unwrap();
        let cache = Cache::open(&folder).unwrap();
        let one = entry(1, b"one", WITH_ENTRY);
        cache.put(&one, &Bytes::Held(b"one")).unwrap();
        let path = cache.entry_path(&one.key);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o660, 0o2770));
    }

    #[test]
    fn what_is_no_folder_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        crate::fs::write_scratch(&file, b"").unwrap();
        assert!(Cache::open(&file).is_err());
    }
}
