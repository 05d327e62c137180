//! Where the things lie that decide a build, for whoever watches them: sources, code, shared files, published files.
//!
//! Says of a path whom it concerns. It may say too much: a build finds out what is true. Starts nothing and watches
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::code::{Spec, Tree};
use crate::engine::listing::is_listing;
use crate::engine::publish::owned;
use crate::engine::sources::Rules;
use crate::engine::{Options, Parts};
use crate::error::Result;
use crate::model::pipeline::{Node, SourceIx, WithFrom};
use crate::scan::Roots;
use crate::store::Store;

/// The folder of the project's own modules.
const MODULES: &str = "modules";

/// See the module's text.
pub struct Ground {
    sources: Vec<(Arc<Roots>, Rules)>,
    /// The Pipelinefile, code files that are known, `file:` inputs.
    files: BTreeSet<PathBuf>,
    /// Folders where any file may be code, and `file:` folders.
    code: Vec<PathBuf>,
    shared: Vec<PathBuf>,
    /// Folders of single code files, with the extensions of these.
    beside: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// Folders that are published into, and those of single published files.
    published: Vec<PathBuf>,
    published_at: BTreeSet<PathBuf>,
    root: PathBuf,
    store: Arc<Store>,
}

/// Whom a path concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concern {
    /// A document, or a folder that may hold some.
    pub documents: bool,
    /// The Pipelinefile, code, a shared file: what is done to documents.
    pub pipeline: bool,
    /// A published file.
    pub published: bool,
}

impl Concern {
    /// Whether it concerns anybody.
    pub fn is_any(self) -> bool {
        self.documents || self.pipeline || self.published
    }
}

impl Ground {
    /// Of the targets that are wanted; `files` are files besides that decide about the pipeline.
    pub fn new(parts: &Parts<'_>, options: &Options, files: &[PathBuf]) -> Result<Self> {
        let root = parts.pipeline.root.canonicalize().unwrap_or_else(|_| parts.pipeline.root.clone());
        let mut ground = Ground {
            sources: Vec::new(),
            files: files.iter().cloned().collect(),
            code: vec![root.join(MODULES)],
            shared: Vec::new(),
            beside: BTreeMap::new(),
            published: Vec::new(),
            published_at: BTreeSet::new(),
            root,
            store: Arc::clone(parts.store),
        };
        let wanted = || options.wanted.iter().map(|ix| parts.pipeline.target(*ix));
        let of_targets = wanted().flat_map(|target| &target.streams).filter_map(|stream| match stream {
            Node::Source(ix) => Some(*ix),
            Node::Target(_) => None,
        });
        let sources: BTreeSet<SourceIx> = of_targets.collect();
        for ix in sources {
            ground.files.extend(parts.roots[ix.0].linked());
            ground.sources.push((Arc::clone(&parts.roots[ix.0]), Rules::of(parts, ix)?));
        }
        for with in wanted().flat_map(|target| &target.with) {
            if let WithFrom::File(_, path) = &with.from {
                let path = path.canonicalize().unwrap_or_else(|_| path.clone());
                if path.is_dir() { ground.shared.push(path) } else { ground.files.extend([path]) }
            }
        }
        ground.add_code(parts)?;
        for target in wanted() {
            let Some(publish) = &target.publish else { continue };
            ground.published_at.extend(publish.index.iter().map(|index| ground.root.join(index)));
            let folder = publish.path.folder(&target.name);
            match publish.path.expand(&|_| None, &target.name, "") {
                Ok(file) => ground.published_at.extend([ground.root.join(file)]),
                Err(_) if !folder.is_empty() => ground.published.push(ground.root.join(folder)),
                Err(_) => {}
            }
        }
        Ok(ground)
    }

    fn add_code(&mut self, parts: &Parts<'_>) -> Result<()> {
        let mut cache = parts.store.code_cache();
        let mut tree = Tree::new(&parts.pipeline.root, &mut cache);
        let mut names: BTreeSet<String> = BTreeSet::new();
        for module in &parts.pipeline.modules {
            for glob in module.code.iter().flatten() {
                let fixed = glob.split(['*', '?', '[', '{']).next().unwrap_or_default();
                let folder = fixed.rsplit_once('/').map_or("", |(folder, _)| folder);
                if glob != fixed && !folder.is_empty() {
                    self.code.push(self.root.join(folder));
                }
            }
            // A module whose code cannot be read is for the build to tell.
            if let Ok(found) = tree.code_files(&Spec::of(module)) {
                names.extend(found.files.into_iter().map(|(name, _)| name));
            }
        }
        for loads in parts.store.all_loads()? {
            let own = loads.files.iter().map(|(name, _)| name).filter(|name| !crate::code::is_foreign(name));
            names.extend(own.cloned());
        }
        for name in names {
            let path = self.root.join(name);
            if let (Some(folder), Some(ext)) = (path.parent(), path.extension()) {
                self.beside.entry(folder.to_owned()).or_default().insert(ext.to_owned());
            }
            self.files.insert(path);
        }
        Ok(())
    }

    /// Folders that matter with all below them.
    pub fn trees(&self) -> Vec<PathBuf> {
        let roots = self.sources.iter().flat_map(|(roots, _)| roots.folders());
        let sources = roots.filter(|(_, whole)| *whole).map(|(path, _)| path);
        let mut trees: BTreeSet<PathBuf> = sources.collect();
        trees.extend(self.code.iter().chain(&self.shared).chain(&self.published).cloned());
        trees.into_iter().collect()
    }

    /// Folders that matter alone.
    pub fn folders(&self) -> Vec<PathBuf> {
        let roots = self.sources.iter().flat_map(|(roots, _)| roots.folders());
        let mut folders: BTreeSet<PathBuf> =
            roots.filter(|(_, whole)| !*whole).map(|(path, _)| path).collect();
        let files = self.files.iter().chain(&self.published_at);
        folders.extend(files.filter_map(|file| file.parent()).map(Path::to_owned));
        folders.into_iter().collect()
    }

    /// Whether anything in a folder below a tree may matter.
    pub fn enters(&self, folder: &Path) -> bool {
        let is_in = |trees: &[PathBuf]| trees.iter().any(|tree| folder.starts_with(tree));
        let holds_documents = |(roots, rules): &(Arc<Roots>, Rules)| {
            roots.place_of(folder).is_some_and(|rel| !rules.prunes(&rel))
        };
        self.sources.iter().any(holds_documents)
            || self.is_awaited(folder)
            || is_in(&self.shared)
            || is_in(&self.published)
            || (is_in(&self.code) && is_plausible(folder))
    }

    /// Whom a path concerns. `moved_here`: it was put there whole.
    pub fn concern(&self, path: &Path, is_folder: bool, moved_here: bool) -> Concern {
        Concern {
            documents: self.is_awaited(path)
                || self.sources.iter().any(|(roots, rules)| {
                    let rel = roots.place_of(path);
                    rel.is_some_and(|rel| {
                        if is_folder {
                            rel.is_empty() || !rules.prunes(&rel)
                        } else {
                            rules.accepts(&rel) || !is_plain(path)
                        }
                    })
                }),
            pipeline: self.decides(path),
            // What `pipe` publishes is put there whole, and the folders for it.
            published: !moved_here
                && (self.is_ours(path) || (is_folder && self.is_published_folder(path) && !path.exists())),
        }
    }

    /// Whether a part of a source that is not there may have come.
    fn is_awaited(&self, path: &Path) -> bool {
        let awaited = self.sources.iter().flat_map(|(roots, _)| roots.awaited());
        awaited.into_iter().any(|place| place.starts_with(path) || path.starts_with(&place))
    }

    /// Whether a path decides what is done to documents.
    fn decides(&self, path: &Path) -> bool {
        let is_in = |trees: &[PathBuf]| trees.iter().any(|tree| path.starts_with(tree));
        let beside = || {
            let exts = path.parent().and_then(|folder| self.beside.get(folder));
            path.extension().is_some_and(|ext| exts.is_some_and(|exts| exts.contains(ext)))
        };
        self.files.contains(path)
            || is_in(&self.shared)
            || (is_plausible(path) && (is_in(&self.code) || beside()))
    }

    fn is_published_folder(&self, path: &Path) -> bool {
        self.published.iter().any(|folder| path.starts_with(folder) || folder.starts_with(path))
    }

    /// Whether a file is one that was published.
    pub fn is_ours(&self, path: &Path) -> bool {
        let is_in =
            self.published_at.contains(path) || self.published.iter().any(|folder| path.starts_with(folder));
        is_in
            && self.name(path).is_some_and(|name| {
                is_listing(&self.store, &name) || owned(&self.store, &name).is_ok_and(|owned| owned.is_some())
            })
    }

    /// Whether a published file was edited since.
    pub fn is_edited(&self, path: &Path) -> bool {
        let owned = self.name(path).and_then(|name| owned(&self.store, &name).ok().flatten());
        let present = crate::engine::modules::hash_file(path).ok();
        owned.is_some_and(|owned| present.is_some_and(|present| present != owned.digest))
    }

    /// A path as it is shown: relative to the project, where it lies there.
    pub fn name(&self, path: &Path) -> Option<String> {
        path.strip_prefix(&self.root).ok().map(|rel| rel.to_string_lossy().into_owned())
    }
}

/// Whether a file is no link and no folder; one that is gone may have been anything.
fn is_plain(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Whether a path below a folder of code may be code: not what editors and interpreters leave beside it.
fn is_plausible(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_cache = path.components().any(|part| part.as_os_str() == "__pycache__");
    let endings = ["~", ".pyc", ".swp", ".swx", ".tmp"];
    !is_cache && !name.starts_with('.') && !endings.iter().any(|ending| name.ends_with(ending))
}
