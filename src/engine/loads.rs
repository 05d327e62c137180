//! Load sets against the present: does a record's code still stand as its worker had loaded it?
//!
//! A record names the project files and packages that its worker had loaded when it answered, each as it was then
//! (`semantics.md` 3 and 4: late imports count, and a killed worker must not take the knowledge with it). Knows how to
//! ask for the present state of a file, once a build; knows nothing of documents or keys.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::code::{Cache, load_set_digest};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Loads, Package, Position};
use crate::model::reason::FileChange;
use crate::module::python::{environment, environment_of};
use crate::store::CodeCache;

impl Cache for CodeCache<'_> {
    fn get(&mut self, file: &str) -> Option<Vec<u8>> {
        self.entry(file)
    }

    fn put(&mut self, file: &str, entry: Vec<u8>) {
        self.set_entry(file, &entry);
    }
}

/// A virtual environment.
struct Environment {
    /// Without links.
    folder: PathBuf,
    /// The names in its folders of packages.
    names: Vec<OsString>,
}

impl Environment {
    fn at(folder: PathBuf) -> Self {
        let below = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
        let packages =
            below(&folder.join("lib")).flat_map(|python| below(&python.path().join("site-packages")));
        let names = packages.map(|entry| entry.file_name()).collect();
        Environment { folder, names }
    }

    /// Whether it has a package in the version of this metadata folder; nothing if it has it in none.
    fn has(&self, metadata: &OsStr) -> Option<bool> {
        let name = |of: &OsStr| {
            let of = of.to_string_lossy().to_lowercase();
            of.split_once('-').filter(|(_, rest)| rest.ends_with("-info")).map(|(name, _)| name.to_owned())
        };
        let asked = name(metadata);
        let same = self.names.iter().any(|known| known == metadata);
        (same || asked.is_some() && self.names.iter().any(|known| name(known) == asked)).then_some(same)
    }
}

/// The present state of what load sets name, asked once.
pub struct PresentCode {
    root: PathBuf,
    files: HashMap<String, Option<Digest>>,
    packages: HashMap<String, bool>,
    /// The environment at hand, and the names in its folders of packages; once they are asked for.
    environment: OnceLock<Option<Environment>>,
    holds: HashMap<Position, bool>,
}

impl PresentCode {
    /// Nothing asked yet. `root` is the project's folder.
    pub fn new(root: &Path) -> Self {
        PresentCode {
            root: root.to_owned(),
            files: HashMap::new(),
            packages: HashMap::new(),
            environment: OnceLock::new(),
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
        if let Some(known) = self.packages.get(&package.path) {
            return *known;
        }
        let path = Path::new(&package.path);
        let stands = path.exists() && self.is_the_one(path);
        self.packages.insert(package.path.clone(), stands);
        stands
    }

    /// Whether the interpreter at hand would load a package from here: another environment may be active by now, and the
    /// folders of the one before are still there.
    fn is_the_one(&self, path: &Path) -> bool {
        // Environments of modules are changed where they are.
        let is_of_module = path.starts_with(self.root.join(crate::env::STORE));
        if is_of_module || is_on_python_path(path) {
            return true;
        }
        let Some(name) = path.file_name() else { return true };
        let lies_in = environment_of(path);
        let root = &self.root;
        let now = self.environment.get_or_init(|| environment(root).map(Environment::at));
        match (lies_in, now) {
            (Some(old), Some(now)) => old == now.folder || now.has(name) == Some(true),
            (Some(_), None) => false,
            // Such a package is seen from an environment too, if that has no other version of it.
            (None, Some(now)) => now.has(name) != Some(false),
            (None, None) => true,
        }
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

/// Whether a package was found by way of PYTHONPATH, which is the same in every environment.
fn is_on_python_path(package: &Path) -> bool {
    let declared = crate::env::declared("PYTHONPATH").unwrap_or_default();
    std::env::split_paths(&declared).any(|folder| package.parent() == Some(&folder))
}
