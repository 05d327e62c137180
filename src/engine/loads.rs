//! Load sets against the present: does a record's code still stand as its worker had loaded it?
//!
//! A record names the project files and packages that its worker had loaded when it answered, each as it was then
//! (`semantics.md` 3 and 4: late imports count, and a killed worker must not take the knowledge with it). Knows how to
//! ask for the present state of a file, once a build; knows nothing of documents or keys.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::code::{Cache, load_set_digest};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Loads, Package, Position};
use crate::model::reason::FileChange;
use crate::store::CodeCache;

impl Cache for CodeCache<'_> {
    fn get(&mut self, file: &str) -> Option<Vec<u8>> {
        self.entry(file)
    }

    fn put(&mut self, file: &str, entry: Vec<u8>) {
        self.set_entry(file, &entry);
    }
}

/// The present state of what load sets name, asked once.
pub struct PresentCode {
    root: PathBuf,
    files: HashMap<String, Option<Digest>>,
    packages: HashMap<String, bool>,
    holds: HashMap<Position, bool>,
}

impl PresentCode {
    /// Nothing asked yet. `root` is the project's folder.
    pub fn new(root: &Path) -> Self {
        PresentCode {
            root: root.to_owned(),
            files: HashMap::new(),
            packages: HashMap::new(),
            holds: HashMap::new(),
        }
    }

    /// The digest of a project file now; nothing if it is gone.
    pub fn file(&mut self, name: &str, cache: &mut dyn Cache) -> Option<Digest> {
        if let Some(known) = self.files.get(name) {
            return *known;
        }
        let digest = load_set_digest(&self.root, name, cache);
        self.files.insert(name.to_owned(), digest);
        digest
    }

    /// Whether all that a worker had loaded is unchanged. `at` is where the load set lies.
    pub fn holds(&mut self, at: Position, loads: &Loads, cache: &mut dyn Cache) -> bool {
        if let Some(known) = self.holds.get(&at) {
            return *known;
        }
        let holds = self.changes(loads, cache).is_empty();
        self.holds.insert(at, holds);
        holds
    }

    /// What of a load set is not as it was; packages by their name.
    pub fn changes(&mut self, loads: &Loads, cache: &mut dyn Cache) -> Vec<FileChange> {
        let mut changes = Vec::new();
        for (file, old) in &loads.files {
            let new = self.file(file, cache);
            if new != Some(*old) {
                changes.push(FileChange { file: file.clone(), old: Some(*old), new });
            }
        }
        for package in &loads.packages {
            if !self.package(package) {
                let name = format!("{} {}", package.name, package.version);
                changes.push(FileChange { file: name, old: None, new: None });
            }
        }
        changes
    }

    /// Installed packages keep their metadata in a folder whose name holds the version: another version, another folder.
    fn package(&mut self, package: &Package) -> bool {
        *self.packages.entry(package.path.clone()).or_insert_with(|| Path::new(&package.path).exists())
    }

    /// One digest for all that was ever learned of a module, as it is now.
    pub fn learned<'a>(&mut self, sets: impl Iterator<Item = &'a Loads>, cache: &mut dyn Cache) -> Digest {
        let mut files: BTreeMap<&str, Option<Digest>> = BTreeMap::new();
        let mut packages: BTreeMap<&Package, bool> = BTreeMap::new();
        for set in sets {
            for (file, _) in &set.files {
                files.insert(file, self.file(file, cache));
            }
            for package in &set.packages {
                packages.insert(package, self.package(package));
            }
        }
        let mut hasher = FieldHasher::new("pipe learned");
        hasher.number(files.len() as u64);
        for (file, digest) in files {
            hasher.text(file).option(digest.as_ref().map(|digest| digest.0.as_slice()));
        }
        for (package, present) in packages {
            hasher.text(&package.name).text(&package.version).number(u64::from(present));
        }
        hasher.finish()
    }
}
