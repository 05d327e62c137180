//! The files of a project as code sees them: which are there, and what is in them. Each is looked at once.
//!
//! Paths are text relative to the project's folder, with `/`; none leads out of it. What is installed or kept there
//! (`.venv`, `site-packages`, `.pipe`) is not searched. Symbolic links are followed: what counts is what the module reads.
//! Knows nothing of how files find each other.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::code::cache::{Cache, Facts, FileStamp, decode, encode};
use crate::code::imports::imports;
use crate::code::tokens;
use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher, StreamHasher};

/// Folders of a project that hold no code of the project.
const FOREIGN: &[&str] = &[
    ".git",
    ".pipe",
    ".tox",
    ".venv",
    "__pycache__",
    "dist-packages",
    "node_modules",
    "site-packages",
    "venv",
];

/// What lies at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Nothing,
    Folder,
    File(FileStamp),
}

/// One look at the code of a project: every file is seen as it is when it is first asked for.
pub struct Tree<'a> {
    root: &'a Path,
    cache: &'a mut dyn Cache,
    now_ns: i128,
    seen: HashMap<String, Seen>,
    facts: HashMap<String, Arc<Facts>>,
    work: Work,
}

/// How much a look has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Paths that the file system was asked about.
    pub looked_at: usize,
    /// Files that were read and hashed.
    pub hashed: usize,
}

impl<'a> Tree<'a> {
    /// A new look at the project in the folder `root`.
    pub fn new(root: &'a Path, cache: &'a mut dyn Cache) -> Self {
        Self::at(root, cache, crate::time::now_ns())
    }

    /// A look at a stated time.
    pub(super) fn at(root: &'a Path, cache: &'a mut dyn Cache, now_ns: i128) -> Self {
        Tree { root, cache, now_ns, seen: HashMap::new(), facts: HashMap::new(), work: Work::default() }
    }

    /// What this look has cost so far.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The project's folder.
    pub(super) fn root(&self) -> &'a Path {
        self.root
    }

    /// The digest of any file of the project as it is now; nothing if it is not there, or lies outside.
    pub fn digest(&mut self, file: &str) -> Result<Option<Digest>> {
        let Some(file) = self.inside(Path::new(file)) else { return Ok(None) };
        Ok(self.facts(&file)?.map(|facts| facts.digest))
    }

    /// The digest with that of its metadata block: for programs that read the block themselves, as `uv run` does.
    pub(super) fn digest_with_block(&mut self, file: &str) -> Result<Option<Digest>> {
        let Some(facts) = self.facts(file)? else { return Ok(None) };
        let with = |block: &Digest| {
            FieldHasher::new("pipe python script 1").digest(&facts.digest).digest(block).finish()
        };
        Ok(Some(facts.block.as_ref().map_or(facts.digest, with)))
    }

    /// A path as one of the project: relative, without `.` and `..`; nothing if it leads out of it.
    pub(super) fn inside(&self, path: &Path) -> Option<String> {
        let path = if path.is_absolute() { path.strip_prefix(self.root).ok()? } else { path };
        let mut parts: Vec<&str> = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(part) => parts.push(part.to_str()?),
                Component::CurDir => {}
                Component::ParentDir => drop(parts.pop()?),
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        Some(parts.join("/"))
    }

    /// What lies at a path of the project.
    fn look(&mut self, path: &str) -> Seen {
        if let Some(seen) = self.seen.get(path) {
            return *seen;
        }
        let seen = self.ask(path);
        self.seen.insert(path.to_owned(), seen);
        seen
    }

    fn ask(&mut self, path: &str) -> Seen {
        self.work.looked_at += 1;
        match std::fs::metadata(self.absolute(path)) {
            Ok(metadata) if metadata.is_file() => Seen::File(FileStamp::of(&metadata)),
            Ok(metadata) if metadata.is_dir() => Seen::Folder,
            // Sockets and devices are no code; what cannot be asked for cannot be loaded either.
            _ => Seen::Nothing,
        }
    }

    /// Whether a file of the project's own code lies there.
    pub(super) fn is_file(&mut self, path: &str) -> bool {
        !is_foreign(path) && matches!(self.look(path), Seen::File(_))
    }

    /// Whether a folder that may hold code of the project lies there.
    pub(super) fn is_folder(&mut self, path: &str) -> bool {
        !is_foreign(path) && self.look(path) == Seen::Folder
    }

    /// What is in a file; nothing if it is not there.
    pub(super) fn facts(&mut self, file: &str) -> Result<Option<Arc<Facts>>> {
        let Seen::File(stamp) = self.look(file) else { return Ok(None) };
        if let Some(facts) = self.facts.get(file) {
            return Ok(Some(Arc::clone(facts)));
        }
        let kept = self.cache.get(file).and_then(|entry| decode(&entry, stamp));
        let facts = match kept {
            Some(facts) => facts,
            None => match self.read(file)? {
                Some(facts) => facts,
                None => return Ok(None),
            },
        };
        let facts = Arc::new(facts);
        self.facts.insert(file.to_owned(), Arc::clone(&facts));
        Ok(Some(facts))
    }

    fn read(&mut self, file: &str) -> Result<Option<Facts>> {
        let path = self.absolute(file);
        let fail = |e: std::io::Error| Error::io("read", &path, &e);
        let mut open = match File::open(&path) {
            Ok(open) => open,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail(e)),
        };
        self.work.hashed += 1;
        let before = FileStamp::of(&open.metadata().map_err(fail)?);
        let mut hasher = StreamHasher::default();
        let mut source: Option<Vec<u8>> = None;
        let mut buffer = vec![0; 64 * 1024];
        let mut is_first = true;
        loop {
            let count = match open.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(fail(e)),
            };
            let chunk = &buffer[..count];
            hasher.update(chunk);
            if std::mem::take(&mut is_first) && is_python(file, chunk) {
                source = Some(Vec::new());
            }
            if let Some(source) = &mut source {
                source.extend_from_slice(chunk);
            }
        }
        let said = source.as_deref().and_then(tokens::digest);
        let block = source.as_deref().and_then(tokens::block);
        let imports = source.map(|bytes| imports(&String::from_utf8_lossy(&bytes))).unwrap_or_default();
        // Of Python what it says, of all else every byte.
        let block = said.is_some().then_some(block).flatten();
        let facts = Facts { digest: said.unwrap_or_else(|| hasher.finish()), imports, block };
        let after = FileStamp::of(&open.metadata().map_err(fail)?);
        if before == after && before.is_settled(crate::sys::racy_window(&open), self.now_ns) {
            self.cache.put(file, encode(before, &facts));
        }
        Ok(Some(facts))
    }

    fn absolute(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// Whether a path below the project's folder leads to what is installed or kept there: no code of the project.
pub fn is_foreign(path: &str) -> bool {
    path.split('/').any(|part| FOREIGN.contains(&part))
}

/// The folder of a path; empty for the project's own.
pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// A name in a folder.
pub(super) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn is_python(file: &str, start: &[u8]) -> bool {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Path::new(file).extension().is_some_and(|ext| ext == "py" || ext == "pyw")
        || line.starts_with(b"#!") && line.windows(6).any(|word| word == b"python")
}
