//! Load sets against the present: does a record's code still stand as its worker had loaded it?
//!
//! A record names the project files and packages that its worker had loaded when it answered, each as it was then
//! (`semantics.md` 3 and 4: late imports count, and a killed worker must not take the knowledge with it). Knows how to
//! ask for the present state of a file, once a build; knows nothing of documents or keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::code::{Cache, load_set_digest};
use crate::engine::sites::{Found, Sites};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Loads, Package, Position};
use crate::model::pipeline::Pipeline;
use crate::model::reason::FileChange;
use crate::store::{CodeCache, Store};

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
    sites: Arc<Sites>,
    files: HashMap<String, Option<Digest>>,
    /// By the module's identity, and where the package was.
    packages: HashMap<(Digest, String), Found>,
    holds: HashMap<Position, bool>,
}

impl PresentCode {
    /// Nothing asked yet.
    pub fn new(sites: &Arc<Sites>) -> Self {
        PresentCode {
            sites: Arc::clone(sites),
            files: HashMap::new(),
            packages: HashMap::new(),
            holds: HashMap::new(),
        }
    }

    /// The same for who has no [`crate::engine::Parts`].
    pub fn of(pipeline: &Pipeline, store: &Arc<Store>) -> Self {
        Self::new(&Arc::new(Sites::new(pipeline, store)))
    }

    /// The digest of a project file now; nothing if it is gone.
    pub fn file(&mut self, name: &str, cache: &mut dyn Cache) -> Option<Digest> {
        if let Some(known) = self.files.get(name) {
            return *known;
        }
        let digest = load_set_digest(self.sites.root(), name, cache);
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
            let name = match self.package(&loads.module, package) {
                Found::Same => continue,
                Found::Missing => format!("{} {}", package.name, package.version),
                Found::Other(version) => format!("{} {} → {version}", package.name, package.version),
            };
            changes.push(FileChange { file: name, old: None, new: None });
        }
        changes
    }

    fn package(&mut self, module: &Digest, package: &Package) -> Found {
        let key = (*module, package.path.clone());
        let sites = &self.sites;
        self.packages.entry(key).or_insert_with(|| sites.find(module, package)).clone()
    }

    /// One digest for all that was ever learned of a module, as it is now.
    pub fn learned<'a>(&mut self, sets: impl Iterator<Item = &'a Loads>, cache: &mut dyn Cache) -> Digest {
        let mut files: BTreeMap<&str, Option<Digest>> = BTreeMap::new();
        // Not where they are: the same versions elsewhere are nothing new.
        let mut packages: BTreeMap<(&str, &str), Found> = BTreeMap::new();
        for set in sets {
            for (file, _) in &set.files {
                files.insert(file, self.file(file, cache));
            }
            for package in &set.packages {
                let found = self.package(&set.module, package);
                let known =
                    packages.entry((&package.name, &package.version)).or_insert_with(|| found.clone());
                // Whichever place it is not found at: some results go by that one.
                if found != Found::Same {
                    *known = found;
                }
            }
        }
        let mut hasher = FieldHasher::new("pipe learned");
        hasher.number(files.len() as u64);
        for (file, digest) in files {
            hasher.text(file).option(digest.as_ref().map(|digest| digest.0.as_slice()));
        }
        for ((name, version), found) in packages {
            hasher.text(name).text(version);
            match found {
                Found::Same => hasher.text("same"),
                Found::Other(now) => hasher.text("other").text(&now),
                Found::Missing => hasher.text("missing"),
            };
        }
        hasher.finish()
    }
}
