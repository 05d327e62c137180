//! Where the interpreters of modules find installed packages now, and in which versions.
//!
//! A load set names a package with its version and with the place where a worker found it. That place may be gone though
//! nothing changed (the project was renamed, the environment made anew), and it may still be there though another
//! environment is active. So what counts is what the interpreter that would run the module today finds first. Knows
//! nothing of records or documents.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::engine::environments;
use crate::engine::modules;
use crate::engine::target::identity;
use crate::hash::{Digest, FieldHasher};
use crate::model::action::Package;
use crate::model::pipeline::{Module, Pipeline, Program};
use crate::module::Python;
use crate::module::python;
use crate::store::Store;

/// What an interpreter finds of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same version.
    Same,
    /// This one.
    Other(String),
    /// None.
    Missing,
}

/// The place of what stands for all installed packages together.
pub const EVERYTHING: &str = "*";

/// The packages of all interpreters that run modules of a pipeline, each asked when it is needed.
pub struct Sites {
    root: PathBuf,
    store: Arc<Store>,
    /// Those that are Python functions.
    modules: Vec<Module>,
    /// By identity: the site of a module.
    known: Mutex<HashMap<Digest, Option<Arc<Site>>>>,
    ground: OnceLock<Option<Ground>>,
}

/// The interpreter at hand.
struct Ground {
    python: Python,
    /// By identity.
    modules: HashMap<Digest, usize>,
    /// Of the folders that it named: this time, or when it was asked some time ago.
    site: Mutex<(Arc<Site>, bool)>,
}

impl Sites {
    /// Nothing is asked yet.
    pub fn new(pipeline: &Pipeline, store: &Arc<Store>) -> Self {
        let is_python = |module: &&Module| matches!(module.program, Program::Python { .. });
        Sites {
            root: pipeline.root.clone(),
            store: Arc::clone(store),
            modules: pipeline.modules.iter().filter(is_python).cloned().collect(),
            known: Mutex::default(),
            ground: OnceLock::new(),
        }
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the interpreter of a module finds of a package that its worker had loaded. `module` is its identity.
    pub fn find(&self, module: &Digest, package: &Package) -> Found {
        let Some(site) = self.of(module) else {
            // Not one of ours, or there is no interpreter: all that can be seen is whether it is still there.
            return if Path::new(&package.path).exists() { Found::Same } else { Found::Missing };
        };
        let find =
            |site: &Site| if package.path == EVERYTHING { site.is_all(package) } else { site.find(package) };
        match find(&site) {
            Found::Same => Found::Same,
            // Since it was asked, a folder of packages may have come.
            other => self.of_anew(module, &site).map_or(other, |site| find(&site)),
        }
    }

    /// What stands for all packages that a module's interpreter has: what could not be imported is to be tried again when
    /// any comes or goes.
    pub fn everything(&self, module: &Digest) -> Option<Package> {
        let version = self.of(module)?.digest();
        Some(Package { name: "installed packages".to_owned(), version, path: EVERYTHING.to_owned() })
    }

    /// The same package as the interpreter of a module has it.
    pub fn here(&self, module: &Digest, package: &Package) -> Option<Package> {
        let site = self.of(module)?;
        let path = site.path(package).or_else(|| self.of_anew(module, &site)?.path(package))?;
        Some(Package { path: path.display().to_string(), ..package.clone() })
    }

    fn ground(&self) -> Option<&Ground> {
        let ground = self.ground.get_or_init(|| {
            if self.modules.is_empty() {
                return None;
            }
            // Where something is wrong here, the build itself has said so.
            let interpreter = modules::interpreter(&self.root, &self.store).ok()?;
            let python = interpreter.with(python::unpack_sdk(&self.store.dir().join("python")).ok()?);
            let mut modules = HashMap::new();
            for (number, module) in self.modules.iter().enumerate() {
                if let Ok(program) = modules::program(&self.root, &self.store, module, &python.version) {
                    modules.insert(identity(&program), number);
                }
            }
            let (folders, is_kept) = modules::import_path(&self.root, &self.store, &python, false);
            let site = Mutex::new((Arc::new(Site::of(folders)), !is_kept));
            Some(Ground { python, modules, site })
        });
        ground.as_ref()
    }

    fn of(&self, module: &Digest) -> Option<Arc<Site>> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(module) {
            return known.clone();
        }
        let found = self.ground().and_then(|ground| {
            let module = &self.modules[*ground.modules.get(module)?];
            let python = environments::python_of(&self.root, module, &ground.python).ok()?;
            if python.executable == ground.python.executable {
                return Some(Arc::clone(&ground.site.lock().unwrap_or_else(PoisonError::into_inner).0));
            }
            Some(Arc::new(Site::of(python::packages_of(&python.executable))))
        });
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*module, found.clone());
        found
    }

    /// The site of the interpreter at hand, asked now; nothing if `site` is another's, or was asked now already.
    fn of_anew(&self, module: &Digest, site: &Arc<Site>) -> Option<Arc<Site>> {
        let ground = self.ground()?;
        let mut at_hand = ground.site.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, is_new) = &mut *at_hand;
        if !Arc::ptr_eq(known, site) || *is_new {
            return None;
        }
        let (folders, _) = modules::import_path(&self.root, &self.store, &ground.python, true);
        *is_new = true;
        if folders == known.folders().collect::<Vec<_>>() {
            return None;
        }
        *known = Arc::new(Site::of(folders));
        let anew = Arc::clone(known);
        let mut sites = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for other in sites.values_mut().flatten().filter(|other| Arc::ptr_eq(other, site)) {
            *other = Arc::clone(&anew);
        }
        sites.insert(*module, Some(Arc::clone(&anew)));
        Some(anew)
    }
}

/// The folders in which an interpreter finds packages, the first wins.
#[derive(Debug)]
struct Site {
    folders: Vec<(PathBuf, Vec<Metadata>)>,
}

/// The folder with what is known of an installed package.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Metadata {
    /// As it is called.
    folder: String,
    /// Spelled in one way.
    name: String,
    version: String,
}

impl Metadata {
    /// `the_lib-1.2.dist-info`, `The.Lib-1.2-py3.11.egg-info`
    fn read(folder: &str) -> Option<Self> {
        let stem = folder.strip_suffix(".dist-info").or_else(|| folder.strip_suffix(".egg-info"))?;
        let (name, rest) = stem.split_once('-')?;
        let version = rest.split('-').next().unwrap_or_default().to_owned();
        let name = name.to_lowercase().replace('.', "_");
        Some(Metadata { folder: folder.to_owned(), name, version })
    }
}

impl Site {
    fn of(folders: Vec<PathBuf>) -> Self {
        let read = |folder: PathBuf| {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let packages =
                entries.filter_map(|entry| Metadata::read(&entry.file_name().to_string_lossy())).collect();
            (folder, packages)
        };
        Site { folders: folders.into_iter().map(read).collect() }
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|(folder, _)| folder.clone())
    }

    fn digest(&self) -> String {
        let mut all: Vec<&str> =
            self.folders.iter().flat_map(|(_, packages)| packages).map(|one| one.folder.as_str()).collect();
        all.sort_unstable();
        let mut hasher = FieldHasher::new("pipe installed packages");
        all.into_iter().for_each(|one| {
            hasher.text(one);
        });
        hasher.finish().short()
    }

    fn is_all(&self, package: &Package) -> Found {
        let now = self.digest();
        if now == package.version { Found::Same } else { Found::Other(now) }
    }

    fn find(&self, package: &Package) -> Found {
        let path = Path::new(&package.path);
        let found = match Spot::of(path) {
            // What a package carries with it.
            Spot::Within(place) if place.components().nth(1).is_some() => {
                let is_there = self.folders.iter().any(|(folder, _)| folder.join(place).exists());
                if is_there { Found::Same } else { Found::Missing }
            }
            Spot::Within(place) => self.by_name(place.as_os_str()),
            Spot::Elsewhere if path.exists() => Found::Same,
            Spot::Elsewhere => self.by_name(path.file_name().unwrap_or_default()),
        };
        // In a folder of packages that is no interpreter's: the module's code adds it to its path.
        if found == Found::Missing && path.exists() && !python::has_interpreter(path) {
            return Found::Same;
        }
        found
    }

    /// Where it lies in this site, if it is the same.
    fn path(&self, package: &Package) -> Option<PathBuf> {
        let path = Path::new(&package.path);
        let place = match Spot::of(path) {
            Spot::Within(place) => place,
            Spot::Elsewhere => Path::new(path.file_name()?),
        };
        let wanted = Metadata::read(&place.to_string_lossy());
        self.folders.iter().find_map(|(folder, packages)| {
            let same = wanted.as_ref().and_then(|wanted| {
                packages.iter().find(|known| (&known.name, &known.version) == (&wanted.name, &wanted.version))
            });
            let place = same.map_or(place, |same| Path::new(&same.folder));
            Some(folder.join(place)).filter(|path| path.exists())
        })
    }

    fn by_name(&self, metadata: &OsStr) -> Found {
        let Some(wanted) = Metadata::read(&metadata.to_string_lossy()) else {
            // Its name says nothing of its version.
            let is_there = self.folders.iter().any(|(folder, _)| folder.join(metadata).exists());
            return if is_there { Found::Same } else { Found::Missing };
        };
        for (_, packages) in &self.folders {
            let mut of_name = packages.iter().filter(|known| known.name == wanted.name).peekable();
            if let Some(first) = of_name.peek().copied() {
                let is_same = of_name.any(|known| known.version == wanted.version);
                return if is_same { Found::Same } else { Found::Other(first.version.clone()) };
            }
        }
        Found::Missing
    }
}

/// Where the metadata of a package lies.
#[derive(Debug, PartialEq, Eq)]
enum Spot<'a> {
    /// At this place in a folder of packages.
    Within(&'a Path),
    /// In a folder that was added to the path.
    Elsewhere,
}

impl<'a> Spot<'a> {
    fn of(path: &'a Path) -> Self {
        let is_site = |part: &Component<'_>| {
            let name = part.as_os_str();
            name == "site-packages" || name == "dist-packages"
        };
        let mut parts = path.components();
        // The last one: environments lie in environments.
        let mut spot = Spot::Elsewhere;
        while let Some(part) = parts.next() {
            if is_site(&part) && parts.clone().next().is_some() {
                spot = Spot::Within(parts.as_path());
            }
        }
        spot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(path: &str) -> Package {
        Package { name: "x".into(), version: "x".into(), path: path.into() }
    }

    fn site(folders: &[&Path]) -> Site {
        Site::of(folders.iter().map(|folder| folder.to_path_buf()).collect())
    }

    #[test]
    fn the_first_folder_that_has_a_package_decides() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["a/site-packages", "b/site-packages"].map(|name| dir.path().join(name));
        for made in [
            first.join("the_lib-2.dist-info"),
            second.join("the_lib-1.dist-info"),
            second.join("Low-3-py3.9.egg-info"),
        ] {
            crate::fs::create_dir(&made).unwrap();
        }
        let both = site(&[&first, &second]);
        let of = |name: &str| package(&format!("/gone/lib/python3.11/site-packages/{name}"));
        assert_eq!(
            both.find(&of("the_lib-2.dist-info")),
            Found::Same,
            "whatever environment it was found in"
        );
        assert_eq!(both.find(&of("the_lib-1.dist-info")), Found::Other("2".into()));
        assert_eq!(both.find(&of("The.Lib-2.dist-info")), Found::Same);
        assert_eq!(both.find(&of("low-3.dist-info")), Found::Same);
        assert_eq!(both.find(&of("other-3.dist-info")), Found::Missing);
        assert_eq!(both.path(&of("the_lib-1.dist-info")), Some(second.join("the_lib-1.dist-info")));
        assert_eq!(both.path(&of("low-3.dist-info")), Some(second.join("Low-3-py3.9.egg-info")));
        assert_eq!(both.path(&of("low-4.dist-info")), None);
    }

    #[test]
    fn what_a_package_carries_with_it_is_no_package_of_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("site-packages");
        for name in ["big/_vendor/the_lib-1.dist-info", "the_lib-2.dist-info"] {
            crate::fs::create_dir(&folder.join(name)).unwrap();
        }
        let one = site(&[&folder]);
        assert_eq!(one.find(&package("/gone/site-packages/big/_vendor/the_lib-1.dist-info")), Found::Same);
        assert_eq!(one.find(&package("/gone/site-packages/big/_vendor/the_lib-0.dist-info")), Found::Missing);
    }

    #[test]
    fn a_folder_that_the_code_adds_counts_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let added = dir.path().join("vendor/the_lib-1.dist-info");
        let packages = dir.path().join("more/site-packages/the_lib-1.dist-info");
        let of_another = dir.path().join("env/lib/python3.9/site-packages/the_lib-1.dist-info");
        [&added, &packages, &of_another].into_iter().for_each(|made| crate::fs::create_dir(made).unwrap());
        crate::fs::create_dir(&dir.path().join("env/bin")).unwrap();
        crate::fs::write_scratch(&dir.path().join("env/bin/python3"), b"").unwrap();
        let none = site(&[]);
        let of = |path: &Path| package(&path.display().to_string());
        assert_eq!(none.find(&of(&added)), Found::Same);
        assert_eq!(none.find(&of(&packages)), Found::Same);
        assert_eq!(none.find(&of(&of_another)), Found::Missing, "another interpreter's");
    }

    #[test]
    fn environments_may_lie_in_environments() {
        let within = Spot::of(Path::new("/a/site-packages/b/lib/python3.9/dist-packages/c.dist-info"));
        assert_eq!(within, Spot::Within(Path::new("c.dist-info")));
        assert_eq!(Spot::of(Path::new("/a/site-packages")), Spot::Elsewhere);
    }
}
