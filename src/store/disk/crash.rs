//! A disk in memory that remembers what a power cut would leave of it. For tests.
//!
//! A [`Machine`] knows what processes see and what is durable: of every file its durable bytes and the writes that were
//! not synced, of every folder its durable names and the changes that were not. A [`CrashDisk`] is a [`Disk`] on a
//! machine that writes down every operation, so that a test can cut the power at each of them afterwards.
//! `docs/design/crashes.md` says what a power cut may do.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::store::disk::{Access, Disk, DiskFile};

/// The unit that disks write whole.
const SECTOR: usize = 512;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`; 0 if there is none.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// What a process did to the disk.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    CreateDir(PathBuf),
    Create(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    SyncDir(PathBuf),
    Write(usize, u64, Arc<[u8]>),
    Grow(usize, u64),
    Sync(usize),
    /// The system said that it could not: what was not on disk is taken for clean, and nobody will write it again.
    FailSync(usize),
    /// No operation: everything below this place was reported as done.
    Told(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Dir,
    File(usize),
}

/// A change of names that is not durable as a whole; a rename both adds and removes.
#[derive(Clone, Debug)]
struct Change {
    adds: Option<(Arc<Path>, Name)>,
    removes: Option<Arc<Path>>,
}

#[derive(Clone, Debug)]
enum Pending {
    Write(u64, Arc<[u8]>),
    Grow(u64),
}

/// The bytes of a file; what lies behind them up to its size are zeros.
#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Arc<Vec<u8>>,
    size: u64,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Content,
    durable: Content,
    pending: Vec<Pending>,
}

/// What processes see, and what is durable.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    files: Vec<Inode>,
    seen: BTreeMap<Arc<Path>, Name>,
    durable: BTreeMap<Arc<Path>, Name>,
    changes: Vec<Change>,
}

impl Content {
    fn write(&mut self, offset: u64, new: &[u8]) {
        let bytes = Arc::make_mut(&mut self.bytes);
        let (from, to) = (offset as usize, offset as usize + new.len());
        if bytes.len() < to {
            bytes.resize(to, 0);
        }
        bytes[from..to].copy_from_slice(new);
        self.size = self.size.max(to as u64);
    }

    fn add(&mut self, pending: &Pending) {
        match pending {
            Pending::Write(offset, bytes) => self.write(*offset, bytes),
            Pending::Grow(size) => self.size = self.size.max(*size),
        }
    }
}

impl Machine {
    /// Does what a process did.
    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::CreateDir(path) => {
                let missing: Vec<Arc<Path>> =
                    path.ancestors().filter(|above| !self.is_dir(above)).map(Arc::from).collect();
                for path in missing.into_iter().rev() {
                    self.change(Some((path, Name::Dir)), None);
                }
            }
            Op::Create(path) => {
                self.files.push(Inode::default());
                self.change(Some((Arc::from(&**path), Name::File(self.files.len() - 1))), None);
            }
            Op::Rename(from, to) => {
                let name = self.seen[&**from];
                self.change(Some((Arc::from(&**to), name)), Some(Arc::from(&**from)));
            }
            Op::Remove(path) => self.change(None, Some(Arc::from(&**path))),
            Op::RemoveDir(path) => {
                let below: Vec<Arc<Path>> = self.below(path).map(|(path, _)| Arc::clone(path)).collect();
                for path in below.into_iter().rev() {
                    self.change(None, Some(path));
                }
            }
            Op::SyncDir(path) => {
                let is_in = |name: &Path| name.parent() == Some(path);
                for change in &mut self.changes {
                    if let Some((name, node)) = change.adds.take_if(|(name, _)| is_in(name)) {
                        self.durable.insert(name, node);
                    }
                    if let Some(name) = change.removes.take_if(|name| is_in(name)) {
                        self.durable.remove(&name);
                    }
                }
                self.changes.retain(|change| change.adds.is_some() || change.removes.is_some());
            }
            Op::Write(file, offset, bytes) => self.write(*file, Pending::Write(*offset, Arc::clone(bytes))),
            Op::Grow(file, size) => self.write(*file, Pending::Grow(*size)),
            Op::Sync(file) => {
                let inode = &mut self.files[*file];
                for pending in inode.pending.drain(..) {
                    inode.durable.add(&pending);
                }
            }
            Op::FailSync(file) => self.files[*file].pending.clear(),
            Op::Told(_) => {}
        }
    }

    fn write(&mut self, file: usize, pending: Pending) {
        let inode = &mut self.files[file];
        inode.seen.add(&pending);
        inode.pending.push(pending);
    }

    fn change(&mut self, adds: Option<(Arc<Path>, Name)>, removes: Option<Arc<Path>>) {
        if let Some(path) = &removes {
            self.seen.remove(path);
        }
        if let Some((path, name)) = &adds {
            self.seen.insert(Arc::clone(path), *name);
        }
        self.changes.push(Change { adds, removes });
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.parent().is_none() || path.as_os_str().is_empty() || self.seen.get(path) == Some(&Name::Dir)
    }

    /// A path and all below it.
    fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = (&'a Arc<Path>, &'a Name)> {
        let from = std::ops::Bound::Included(path);
        self.seen
            .range::<Path, _>((from, std::ops::Bound::Unbounded))
            .take_while(move |(p, _)| p.starts_with(path))
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.seen.get(path) {
            Some(Name::File(file)) => Ok(*file),
            Some(Name::Dir) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// All files that processes see.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let is_file =
            |(path, name): (&Arc<Path>, &Name)| matches!(name, Name::File(_)).then(|| path.to_path_buf());
        self.seen.iter().filter_map(is_file).collect()
    }

    /// The bytes of a file as processes see them, to be damaged; absent if there is no such file.
    pub(crate) fn bytes_mut(&mut self, path: &Path) -> Option<&mut Vec<u8>> {
        let file = self.file(path).ok()?;
        let inode = &mut self.files[file];
        inode.seen.bytes = Arc::new(inode.seen.bytes.to_vec());
        Some(Arc::make_mut(&mut inode.seen.bytes))
    }

    /// After [`Machine::bytes_mut`] changed a length: the size is that of the bytes.
    pub(crate) fn fit(&mut self, path: &Path) {
        if let Ok(file) = self.file(path) {
            let content = &mut self.files[file].seen;
            content.size = content.bytes.len() as u64;
        }
    }

    /// Takes a file away as if it had never been.
    pub(crate) fn lose(&mut self, path: &Path) {
        self.seen.remove(path);
        self.durable.remove(path);
    }

    /// Cuts the power: of what was not synced an arbitrary part is left.
    pub(crate) fn crash(&mut self, random: &mut Random) {
        let names = Fate::draw(random);
        for change in std::mem::take(&mut self.changes) {
            if !names.keeps(random) {
                continue;
            }
            // Of a rename between folders the new name may be there, and the old one still.
            let both = change.adds.is_none() || !random.once_in(3);
            if let Some(path) = change.removes.filter(|_| both) {
                self.durable.remove(&path);
            }
            if let Some((path, name)) = change.adds {
                self.durable.insert(path, name);
            }
        }
        let mut reached: BTreeMap<Arc<Path>, Name> = BTreeMap::new();
        for (path, name) in &self.durable {
            let above = path.parent().filter(|above| above.parent().is_some());
            if above.is_none_or(|above| reached.get(above) == Some(&Name::Dir)) {
                reached.insert(Arc::clone(path), *name);
            }
        }
        self.durable = reached;
        self.seen = self.durable.clone();
        let fate = Fate::draw(random);
        for inode in &mut self.files {
            inode.crash(random, fate);
        }
    }
}

impl Inode {
    fn crash(&mut self, random: &mut Random, fate: Fate) {
        let mut pending = std::mem::take(&mut self.pending);
        if pending.len() > 1 && random.once_in(2) {
            // A disk writes in the order that it likes.
            for i in (1..pending.len()).rev() {
                pending.swap(i, random.below(i as u64 + 1) as usize);
            }
        }
        for pending in pending {
            if !fate.keeps(random) {
                continue;
            }
            match pending {
                Pending::Write(offset, bytes) if fate == Fate::Each => {
                    self.durable.write_torn(random, offset, &bytes);
                }
                whole => self.durable.add(&whole),
            }
        }
        self.seen = self.durable.clone();
    }
}

impl Content {
    /// Writes a part of some bytes: whole sectors of the disk, or any bytes; the file may have grown without them.
    fn write_torn(&mut self, random: &mut Random, offset: u64, bytes: &[u8]) {
        let how = random.below(6);
        if how < 2 {
            self.write(offset, bytes);
            return;
        }
        if random.once_in(2) {
            self.size = self.size.max(offset + bytes.len() as u64);
        }
        let unit = if random.once_in(2) { 1 } else { SECTOR };
        // Sectors are those of the disk, not of the write.
        let first = if unit == 1 { 1 } else { SECTOR - offset as usize % SECTOR };
        let mut parts: Vec<(usize, usize)> = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let to = (from + if from == 0 { first } else { unit }).min(bytes.len());
            parts.push((from, to));
            from = to;
        }
        let cut = random.below(parts.len() as u64 + 1) as usize;
        for (i, (from, to)) in parts.into_iter().enumerate() {
            let keeps = match how {
                2 => i < cut,
                3 => i >= cut,
                4 => i == cut,
                _ => random.once_in(2),
            };
            if keeps {
                self.write(offset + from as u64, &bytes[from..to]);
            }
        }
    }
}

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    /// Each for itself.
    Each,
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Fate::Lost,
            1 => Fate::Kept,
            _ => Fate::Each,
        }
    }

    fn keeps(self, random: &mut Random) -> bool {
        match self {
            Fate::Lost => false,
            Fate::Kept => true,
            Fate::Each => random.once_in(2),
        }
    }
}

/// A disk on a machine in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct CrashDisk {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    machine: Machine,
    journal: Vec<Op>,
}

impl Shared {
    fn run(&mut self, op: Op) {
        self.machine.apply(&op);
        self.journal.push(op);
    }
}

impl CrashDisk {
    /// A disk that goes on with a machine.
    pub(crate) fn on(machine: Machine) -> Self {
        CrashDisk { shared: Arc::new(Mutex::new(Shared { machine, journal: Vec::new() })) }
    }

    /// The machine as it is now.
    pub(crate) fn machine(&self) -> Machine {
        self.lock().machine.clone()
    }

    /// All that was done to the disk since it was made.
    pub(crate) fn journal(&self) -> Vec<Op> {
        self.lock().journal.clone()
    }

    /// Writes down that everything below a place was reported as done.
    pub(crate) fn told(&self, position: u64) {
        self.lock().run(Op::Told(position));
    }

    /// Writes down that a file could not be synced.
    pub(crate) fn fail_sync(&self, path: &Path) {
        let mut shared = self.lock();
        if let Ok(file) = shared.machine.file(path) {
            shared.run(Op::FailSync(file));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(CrashFile { disk: self.clone(), file })
    }
}

impl Disk for CrashDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut shared = self.lock();
        if shared.machine.seen.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|above| shared.machine.is_dir(above)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        shared.run(Op::Create(path.to_owned()));
        let file = shared.machine.files.len() - 1;
        drop(shared);
        Ok(self.handle(file))
    }

    fn open(&self, path: &Path, _access: Access) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().machine.file(path)?;
        Ok(self.handle(file))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.lock();
        if !shared.machine.is_dir(path) {
            shared.run(Op::CreateDir(path.to_owned()));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut shared = self.lock();
        shared.machine.file(from)?;
        if !to.parent().is_some_and(|above| shared.machine.is_dir(above)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        shared.run(Op::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.lock();
        shared.machine.file(path)?;
        shared.run(Op::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.lock();
        if !shared.machine.is_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        shared.run(Op::SyncDir(path.to_owned()));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let shared = self.lock();
        let names = shared.machine.below(path).filter(|(name, _)| name.parent() == Some(path));
        Ok(names.filter_map(|(name, _)| Some(name.file_name()?.to_str()?.to_owned())).collect())
    }

    fn size(&self, path: &Path) -> io::Result<u64> {
        let shared = self.lock();
        let file = shared.machine.file(path)?;
        Ok(shared.machine.files[file].seen.size)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut shared = self.lock();
        if shared.machine.seen.contains_key(path) {
            shared.run(Op::RemoveDir(path.to_owned()));
        }
        Ok(())
    }
}

struct CrashFile {
    disk: CrashDisk,
    file: usize,
}

impl DiskFile for CrashFile {
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let bytes: Arc<[u8]> = parts.concat().into();
        if !bytes.is_empty() {
            self.disk.lock().run(Op::Write(self.file, offset, bytes));
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let shared = self.disk.lock();
        let content = &shared.machine.files[self.file].seen;
        let length = content.size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let there = content.bytes.get(offset as usize..).unwrap_or_default();
        let copied = there.len().min(length);
        buffer[..copied].copy_from_slice(&there[..copied]);
        buffer[copied..length].fill(0);
        Ok(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.lock().run(Op::Sync(self.file));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.lock().machine.files[self.file].seen.size)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.disk.lock().run(Op::Grow(self.file, bytes));
        Ok(())
    }
}
