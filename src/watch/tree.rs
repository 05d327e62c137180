//! Which folders are watched, by the kernel's numbers: trees that grow and shrink as folders come and go.
//!
//! A folder is watched before it is listed, so what comes into it is either in the list or told. What lies in a folder
//! that came is for whoever hears of the folder to look at.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::sys::inotify::{FolderNumber, Notices, Refused};
use crate::watch::{Ground, Sign, Trouble};

/// The folders that are watched.
pub(super) struct Tree {
    pub(super) notices: Notices,
    ground: Ground,
    by_number: HashMap<FolderNumber, Arc<Path>>,
    by_path: BTreeMap<Arc<Path>, FolderNumber>,
}

impl Tree {
    /// Watches all of the ground.
    pub(super) fn new(ground: Ground) -> Result<Self, Trouble> {
        let notices = Notices::new().map_err(|refused| trouble(refused, 0))?;
        let mut tree = Tree { notices, ground, by_number: HashMap::new(), by_path: BTreeMap::new() };
        tree.begin()?;
        Ok(tree)
    }

    /// Watches all of the ground once more: whatever was lost is watched again.
    pub(super) fn begin(&mut self) -> Result<(), Trouble> {
        let tops = self.ground.trees.clone();
        tops.iter().try_for_each(|top| self.add_top(top))?;
        let folders = self.ground.folders.clone();
        folders.iter().try_for_each(|folder| self.add(folder).map(drop))
    }

    /// A tree, and the lowest folder above it that is there: it tells of the tree's coming and going.
    fn add_top(&mut self, top: &Path) -> Result<(), Trouble> {
        for above in top.ancestors().skip(1) {
            if self.add(above)? {
                break;
            }
        }
        self.add_tree(top)
    }

    /// How many folders are watched.
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The path of a name in a watched folder.
    pub(super) fn path(&self, folder: FolderNumber, name: &[u8]) -> Option<PathBuf> {
        Some(self.by_number.get(&folder)?.join(std::ffi::OsStr::from_bytes(name)))
    }

    /// The path of a watched folder, if a tree begins there.
    pub(super) fn top(&self, folder: FolderNumber) -> Option<PathBuf> {
        let path = self.by_number.get(&folder)?;
        self.ground.trees.iter().find(|top| **top == **path).cloned()
    }

    /// Whether anybody wants to hear of a path.
    pub(super) fn concerns(&self, path: &Path, sign: Sign) -> bool {
        (self.ground.concerns)(path, sign)
    }

    /// A folder came: it and all below it are watched from now on, if they belong to a tree. The trees that came with
    /// it: nobody else tells of those.
    pub(super) fn came(&mut self, path: &Path) -> Result<Vec<PathBuf>, Trouble> {
        let tops: Vec<PathBuf> =
            self.ground.trees.iter().filter(|top| top.starts_with(path)).cloned().collect();
        tops.iter().try_for_each(|top| self.add_top(top))?;
        let is_inside = self.ground.trees.iter().any(|top| path.starts_with(top) && path != top);
        if is_inside && (self.ground.enters)(path) {
            self.add_tree(path)?;
        }
        Ok(tops.into_iter().filter(|top| top != path && top.exists()).collect())
    }

    /// A folder went, with all below it.
    pub(super) fn went(&mut self, path: &Path) {
        let from: (Bound<&Path>, Bound<&Path>) = (Bound::Included(path), Bound::Unbounded);
        let below = self.by_path.range::<Path, _>(from).take_while(|(below, _)| below.starts_with(path));
        let gone: Vec<(Arc<Path>, FolderNumber)> =
            below.map(|(path, number)| (Arc::clone(path), *number)).collect();
        for (path, number) in gone {
            self.notices.leave(number);
            self.by_path.remove(&path);
            self.by_number.remove(&number);
        }
    }

    /// The kernel watches a folder no more.
    pub(super) fn ended(&mut self, folder: FolderNumber) {
        if let Some(path) = self.by_number.remove(&folder)
            && self.by_path.get(&path) == Some(&folder)
        {
            self.by_path.remove(&path);
        }
    }

    fn add_tree(&mut self, top: &Path) -> Result<(), Trouble> {
        let mut open = vec![top.to_owned()];
        while let Some(folder) = open.pop() {
            if !self.add(&folder)? {
                continue;
            }
            // What cannot be read is reported by the scan.
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            open.extend(folders.map(|entry| entry.path()).filter(|path| (self.ground.enters)(path)));
        }
        Ok(())
    }

    /// Watches a folder; whether it is there.
    fn add(&mut self, folder: &Path) -> Result<bool, Trouble> {
        match self.notices.watch(folder) {
            Ok(number) => {
                let path: Arc<Path> = folder.into();
                // A folder that was moved keeps its number.
                if let Some(old) = self.by_number.insert(number, Arc::clone(&path))
                    && old != path
                {
                    self.by_path.remove(&old);
                }
                self.by_path.insert(path, number);
                Ok(true)
            }
            Err(Refused::Absent) => Ok(false),
            Err(Refused::Failed(error)) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(false),
            Err(refused) => Err(trouble(refused, self.len())),
        }
    }
}

fn trouble(refused: Refused, watched: usize) -> Trouble {
    match refused {
        Refused::Limit => Trouble::Limit { watched },
        Refused::Absent => Trouble::Failed("a folder is not there".to_owned()),
        Refused::Failed(error) => Trouble::Failed(crate::error::io_text(&error)),
    }
}
