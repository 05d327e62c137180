//! Where a source lies: its folders and files on disk, and how paths relative to the source lead there.
//!
//! One folder: paths are relative to it. One file: it is the document. Several: what was written leads the path, `.`
//! left out and `..` escaped, so that an id never climbs out of a folder. Knows nothing of what was found.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::io_text;
use crate::model::document::{escape_name, unescape_name};
use crate::model::pipeline::{Source, SourcePath};
use crate::scan::differences::{below, join};
use crate::scan::files;
use crate::scan::given::Giver;
use crate::scan::rows::Rows;

/// The folders and files of one source, as they are now.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// By what leads the relative path of all below it; of a file that is the whole path.
    by_rel: BTreeMap<String, Root>,
    /// The same places without links.
    real: HashSet<PathBuf>,
    /// As written: what is not there.
    missing: Vec<String>,
    /// What could not be looked at, by relative path, and why.
    unreadable: BTreeMap<String, String>,
    /// Where the documents are no files.
    giver: Option<Arc<dyn Giver>>,
}

#[derive(Clone, Debug)]
struct Root {
    /// As the Pipelinefile says, absolute.
    path: PathBuf,
    /// Without links; absent if there is nothing that could be looked at.
    real: Option<PathBuf>,
    is_file: bool,
}

/// A directory that a walk begins with.
pub(super) struct Start {
    pub(super) rel: String,
    pub(super) path: PathBuf,
    /// Only these names count; absent: all.
    pub(super) only: Option<Vec<String>>,
}

impl Roots {
    /// Looks where the paths of a source lead. What is missing is remembered, and no error here.
    pub fn open(source: &Source) -> Self {
        let mut all = Roots::default();
        let single = source.paths.len() == 1;
        for written in &source.paths {
            all.add(written, single);
        }
        if let Some(rows) = Rows::of(source, &|path| all.rel_of(path)) {
            all.giver = Some(Arc::new(rows));
        }
        all
    }

    /// The same, where somebody else gives the documents.
    #[must_use]
    pub fn given_by(self, giver: Arc<dyn Giver>) -> Self {
        Roots { giver: Some(giver), ..self }
    }

    /// Who gives the documents of a source, where they are no files.
    pub fn giver(&self) -> Option<&dyn Giver> {
        self.giver.as_deref()
    }

    fn add(&mut self, source: &SourcePath, single: bool) {
        let looked = files::status_followed(&source.path)
            .and_then(|status| Ok((std::fs::canonicalize(&source.path)?, status)));
        let is_file = looked.as_ref().is_ok_and(|(_, status)| status.sort() != files::Sort::Directory);
        let rel = match (single, is_file) {
            (true, false) => String::new(),
            (true, true) => escape_name(source.path.file_name().unwrap_or_default()).into_owned(),
            (false, _) => leading(&source.written),
        };
        if self.by_rel.contains_key(&rel) {
            return;
        }
        match &looked {
            Err(error) if files::is_gone(error) => self.missing.push(source.written.clone()),
            Err(error) => drop(self.unreadable.insert(rel.clone(), io_text(error))),
            Ok((target, _)) => drop(self.real.insert(target.clone())),
        }
        let target = looked.ok().map(|(target, _)| target);
        self.by_rel.insert(rel, Root { path: source.path.clone(), real: target, is_file });
    }

    /// The file of a document, by its path relative to the source.
    pub fn path_of(&self, rel: &str) -> PathBuf {
        let root = upwards(rel).find_map(|dir| Some((dir, self.by_rel.get(dir)?)));
        match root {
            Some((dir, root)) => match below(rel, dir) {
                Some(rest) if !rest.contains('%') => root.path.join(rest),
                Some(rest) => root.path.join(unescape_name(rest)),
                None => root.path.clone(),
            },
            None => PathBuf::from(unescape_name(rel)),
        }
    }

    /// The path relative to the source of a file or folder that lies in it by its name.
    pub fn rel_of(&self, path: &Path) -> Option<String> {
        let holds = self.by_rel.iter().filter(|(_, root)| path.starts_with(&root.path));
        let (rel, root) = holds.max_by_key(|(_, root)| root.path.as_os_str().len())?;
        let parts = path.strip_prefix(&root.path).ok()?.components();
        Some(parts.fold(rel.clone(), |dir, part| join(&dir, &escape_name(part.as_os_str()))))
    }

    /// The path relative to the source of a file or folder, by its path without links.
    pub fn place_of(&self, real: &Path) -> Option<String> {
        let roots = self.by_rel.iter().filter_map(|(rel, root)| Some((rel, root.real.as_ref()?)));
        let holds = roots.filter(|(_, root)| real.starts_with(root));
        let (rel, root) = holds.max_by_key(|(_, root)| root.as_os_str().len())?;
        let parts = real.strip_prefix(root).ok()?.components();
        Some(parts.fold(rel.clone(), |dir, part| join(&dir, &escape_name(part.as_os_str()))))
    }

    /// Where the source lies, without links as far as that is known: folders, with all below them, and the folders of
    /// files that are named, alone.
    pub fn folders(&self) -> Vec<(PathBuf, bool)> {
        let place = |root: &Root| {
            let path = root.real.clone().unwrap_or_else(|| root.path.clone());
            match path.parent() {
                Some(parent) if root.is_file => (parent.to_owned(), false),
                _ => (path, true),
            }
        };
        self.by_rel.values().map(place).collect()
    }

    /// Whether a file without links in its path would be one of the source, or is beside them in one of its folders.
    pub fn holds(&self, path: &Path) -> bool {
        let is_in = |root: &Root| {
            let place = root.real.as_deref().unwrap_or(&root.path);
            if root.is_file { path == place } else { path.starts_with(place) }
        };
        self.by_rel.values().any(is_in)
    }

    /// Whether any of the source is below a folder without links in its path.
    pub fn lies_in(&self, folder: &Path) -> bool {
        self.by_rel.values().any(|root| root.real.as_deref().unwrap_or(&root.path).starts_with(folder))
    }

    /// The paths relative to the source of what changed in it; nothing if what the source names itself may be another
    /// thing now, or lead elsewhere: then all of it is to be looked at.
    pub fn changed<'a>(&self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Option<BTreeSet<String>> {
        let mut changed = BTreeSet::new();
        for path in paths {
            let is_above = |root: &Root| {
                root.path.starts_with(path) && !(root.is_file && root.real.as_ref() == Some(path))
            };
            if self.by_rel.values().any(is_above) {
                return None;
            }
            changed.extend(self.place_of(path));
        }
        Some(changed)
    }

    /// Folders that the source names by a path with links in it.
    pub fn linked(&self) -> Vec<PathBuf> {
        let is_linked = |root: &&Root| root.real.as_ref().is_some_and(|real| *real != root.path);
        self.by_rel.values().filter(is_linked).map(|root| root.path.clone()).collect()
    }

    /// Folders and files that are not there, or could not be looked at.
    pub fn awaited(&self) -> Vec<PathBuf> {
        self.by_rel.values().filter(|root| root.real.is_none()).map(|root| root.path.clone()).collect()
    }

    /// The folder that a file or folder lies in, without links above what the source names.
    pub(super) fn folder_of(&self, rel: &str) -> Option<PathBuf> {
        let (dir, root) = upwards(rel).find_map(|dir| Some((dir, self.by_rel.get(dir)?)))?;
        let path = match below(rel, dir) {
            Some(rest) => root.real.as_ref()?.join(unescape_name(rest)),
            None => std::fs::canonicalize(root.path.parent()?).ok()?.join(root.path.file_name()?),
        };
        path.parent().map(Path::to_owned)
    }

    /// Whether a walk comes to the folder of a path, or the path is named itself.
    pub(super) fn reaches(&self, rel: &str, prune: &dyn Fn(&str) -> bool) -> bool {
        self.is_named(rel) || self.walked(rel.rsplit_once('/').map_or("", |(dir, _)| dir), prune)
    }

    /// Whether a path is a folder that the source names, or lies above what it names.
    pub(super) fn is_above(&self, rel: &str) -> bool {
        self.by_rel.iter().any(|(root, at)| below(root, rel).is_some() || (!at.is_file && root == rel))
    }

    /// The folders and files that are not there, as written.
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Whether a path without links lies in the source.
    pub(super) fn contains(&self, real: &Path) -> bool {
        real.ancestors().any(|dir| self.real.contains(dir))
    }

    /// What could not be looked at, by relative path, and why.
    pub(super) fn unreadable(&self) -> &BTreeMap<String, String> {
        &self.unreadable
    }

    /// Whether a file named in the Pipelinefile could not be looked at.
    pub(super) fn is_unreadable(&self, dir: &str, name: &str) -> bool {
        !self.unreadable.is_empty() && self.unreadable.contains_key(&join(dir, name))
    }

    /// Whether a folder is named in the Pipelinefile itself, so that a walk begins there.
    pub(super) fn is_start(&self, dir: &str) -> bool {
        self.by_rel.get(dir).is_some_and(|root| !root.is_file)
    }

    /// Whether a file is named in the Pipelinefile itself: no glob is asked about it.
    pub(super) fn is_named(&self, rel: &str) -> bool {
        self.by_rel.get(rel).is_some_and(|root| root.is_file)
    }

    /// Where walks begin. A file that the walk of a folder comes to is found there.
    pub(super) fn starts(&self, prune: &dyn Fn(&str) -> bool) -> Vec<Start> {
        let mut starts = Vec::new();
        let mut listed: BTreeMap<String, (PathBuf, Vec<String>)> = BTreeMap::new();
        for (rel, root) in &self.by_rel {
            let Some(real) = &root.real else { continue };
            if !root.is_file {
                starts.push(Start { rel: rel.clone(), path: real.clone(), only: None });
                continue;
            }
            let (dir, name) = rel.rsplit_once('/').unwrap_or(("", rel));
            let parent = root.path.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
            if let Some(parent) = parent.filter(|_| !self.walked(dir, prune)) {
                listed.entry(dir.to_owned()).or_insert((parent, Vec::new())).1.push(name.to_owned());
            }
        }
        starts.extend(listed.into_iter().map(|(rel, (path, names))| Start { rel, path, only: Some(names) }));
        starts
    }

    /// Whether the walk of some folder comes to `dir`.
    fn walked(&self, dir: &str, prune: &dyn Fn(&str) -> bool) -> bool {
        let root = upwards(dir).take_while(|dir| dir.is_empty() || !prune(dir) || self.is_start(dir));
        root.into_iter()
            .any(|dir| self.by_rel.get(dir).is_some_and(|root| !root.is_file && root.real.is_some()))
    }
}

/// A relative path, the folder that it lies in, and so on up to the top.
pub(super) fn upwards(rel: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(rel), |path| {
        let path: &str = path;
        (!path.is_empty()).then(|| path.rsplit_once('/').map_or("", |(dir, _)| dir))
    })
}

/// What leads the relative paths of one of several folders.
fn leading(written: &str) -> String {
    written.split('/').filter(|part| !part.is_empty() && *part != ".").fold(String::new(), |dir, part| {
        let part =
            if part == ".." { "%2E%2E".into() } else { escape_name(OsStr::from_bytes(part.as_bytes())) };
        join(&dir, &part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roots(base: &Path, written: &[&str]) -> Roots {
        let path = |written: &&str| SourcePath { written: (*written).to_owned(), path: base.join(written) };
        Roots::open(&Source {
            name: "s".into(),
            paths: written.iter().map(path).collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            rows: None,
            project: None,
        })
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::File::create(path).unwrap();
        }
        dir
    }

    #[test]
    fn what_was_written_leads_the_path_of_one_of_several() {
        assert_eq!(leading("./docs//new/"), "docs/new");
        assert_eq!(leading("../a#b"), "%2E%2E/a%23b");
        assert_eq!(leading("/srv/x"), "srv/x");
        assert_eq!(leading("."), "");
    }

    #[test]
    fn a_path_leads_to_its_file_and_back() {
        let dir = tree(&["docs/a.md", "more/docs/b#1.md", "c.md"]);
        let all = roots(dir.path(), &["docs", "more/docs", "c.md"]);
        for (rel, file) in
            [("docs/a.md", "docs/a.md"), ("more/docs/b%231.md", "more/docs/b#1.md"), ("c.md", "c.md")]
        {
            assert_eq!(all.path_of(rel), dir.path().join(file));
            assert_eq!(all.rel_of(&dir.path().join(file)).as_deref(), Some(rel));
        }
        assert_eq!(all.rel_of(Path::new("/elsewhere")), None);
        let one = roots(dir.path(), &["docs"]);
        assert_eq!(one.path_of("a.md"), dir.path().join("docs/a.md"));
        let file = roots(dir.path(), &["docs/a.md"]);
        assert_eq!(file.path_of("a.md"), dir.path().join("docs/a.md"));
    }

    #[test]
    fn what_is_not_there_is_remembered_as_written() {
        let dir = tree(&["docs/a.md"]);
        let all = roots(dir.path(), &["docs", "./nowhere", "docs/a.md/x"]);
        assert_eq!(all.missing(), ["./nowhere", "docs/a.md/x"]);
    }

    #[test]
    fn a_file_inside_a_folder_of_the_source_is_walked_once() {
        let dir = tree(&["docs/a.md", "docs/.hidden/b.md", "c.md"]);
        let all = roots(dir.path(), &["docs", "docs/a.md", "docs/.hidden/b.md", "c.md"]);
        let starts = all.starts(&|dir| dir.contains("/."));
        let shown: Vec<(&str, bool)> =
            starts.iter().map(|start| (start.rel.as_str(), start.only.is_some())).collect();
        assert_eq!(
            shown,
            [("docs", false), ("", true), ("docs/.hidden", true)],
            "a folder's walk finds its files"
        );
    }
}
