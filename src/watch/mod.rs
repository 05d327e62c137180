//! Says which paths changed below some folders, in batches that have come to rest.
//!
//! A thread takes the kernel's notices as they come, so that their queue does not overflow while a build runs, and
//! watches folders that come. Notices only add suspicion: where they are lost, everything is to be looked at
//! ([`Batch::everything`]), and where there can be none, [`Trouble`] says so and whoever watches has to look now and
//! then. Knows neither documents nor sources. `docs/design/watching.md` has the picture; why not the crate `notify`:
//! `docs/decisions/0007-own-watching.md`.

mod gather;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;

use std::os::fd::AsFd;

use crate::sys::inotify::{FolderNumber, Notice, What};
use crate::sys::{self, Bell, Wish};
use gather::{Gather, Kind};
use tree::Tree;

pub use gather::Next;

/// A question about a folder.
pub type OfFolder = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// A question about a path that changed.
pub type OfChange = Box<dyn Fn(&Path, Sign) -> bool + Send + Sync>;

/// What is watched. All paths are absolute and without links.
pub struct Ground {
    /// Folders with all below them that `enters` lets in.
    pub trees: Vec<PathBuf>,
    /// Folders alone.
    pub folders: Vec<PathBuf>,
    /// Whether a folder below one of `trees` is watched.
    pub enters: OfFolder,
    /// Whether anybody wants to hear of a path.
    pub concerns: OfChange,
}

/// How a path changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// It is, or was, a folder.
    pub is_folder: bool,
    /// It came from elsewhere, whole.
    pub moved_here: bool,
}

/// Paths that changed and rest now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Notices were lost: anything may have changed.
    pub everything: bool,
    /// Files, and folders with all below them.
    pub paths: BTreeSet<PathBuf>,
}

/// Why nobody tells what changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The kernel watches no more folders for this user.
    Limit {
        /// So many it does.
        watched: usize,
    },
    /// Something else, in words.
    Failed(String),
}

/// Watches until it is dropped.
pub struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    bell: Bell,
}

#[derive(Default)]
struct State {
    gather: Gather,
    trouble: Option<Trouble>,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole after every step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Watches the ground from the moment that this returns; unparks `listener` when something happens.
    pub fn start(ground: Ground, listener: Thread) -> Result<Watch, Trouble> {
        let tree = Tree::new(ground)?;
        let failed = |error: &std::io::Error| Trouble::Failed(crate::error::io_text(error));
        let bell = Bell::new().map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared { state: Mutex::default(), bell });
        let of = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || listen(tree, &of, &listener))
            .map_err(|error| failed(&error))?;
        Ok(Watch { shared, thread: Some(thread) })
    }

    /// What is due now, or when something will be.
    pub fn next(&self, now: Instant) -> Next {
        self.shared.lock().gather.take(now)
    }

    /// Why it has ended by itself, if it has.
    pub fn trouble(&self) -> Option<Trouble> {
        self.shared.lock().trouble.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there was told by the panic hook.
            drop(thread.join());
        }
    }
}

/// A notice with its own name.
enum Told {
    Name { folder: FolderNumber, name: Vec<u8>, what: What, is_folder: bool },
    Gone(FolderNumber),
    Ended(FolderNumber),
    Overflow,
}

fn listen(mut tree: Tree, shared: &Shared, listener: &Thread) {
    loop {
        let wishes = [Some((tree.notices.as_fd(), Wish::Read)), Some((shared.bell.as_fd(), Wish::Read))];
        if sys::poll(wishes, None).is_err() || shared.lock().ended {
            return;
        }
        let mut told = Vec::new();
        let taken = tree.notices.take(|notice| {
            told.push(match notice {
                Notice::Name { folder, name, what, is_folder } => {
                    Told::Name { folder, name: name.to_owned(), what, is_folder }
                }
                Notice::Gone(folder) => Told::Gone(folder),
                Notice::Ended(folder) => Told::Ended(folder),
                Notice::Overflow => Told::Overflow,
            });
        });
        let heard = told.into_iter().try_for_each(|told| hear(&mut tree, shared, told));
        let failed = taken.map_err(|error| Trouble::Failed(crate::error::io_text(&error))).and(heard).err();
        let ends = failed.is_some();
        if let Some(trouble) = failed {
            let mut state = shared.lock();
            state.trouble = Some(trouble);
            state.gather.lost(Instant::now());
        }
        listener.unpark();
        if ends {
            return;
        }
    }
}

fn hear(tree: &mut Tree, shared: &Shared, told: Told) -> Result<(), Trouble> {
    let now = Instant::now();
    match told {
        Told::Overflow => {
            tree.begin()?;
            shared.lock().gather.lost(now);
        }
        Told::Ended(folder) => tree.ended(folder),
        Told::Gone(folder) => {
            if let Some(top) = tree.top(folder) {
                shared.lock().gather.note(top, Kind::Removed, now);
            }
        }
        Told::Name { folder, name, what, is_folder } => {
            let Some(path) = tree.path(folder, &name) else { return Ok(()) };
            let mut came = Vec::new();
            if is_folder {
                match what {
                    What::Made | What::MovedHere => came = tree.came(&path)?,
                    What::MovedAway | What::Removed => tree.went(&path),
                    What::Touched | What::Written | What::Closed => {}
                }
            }
            let sign = Sign { is_folder, moved_here: what == What::MovedHere };
            if tree.concerns(&path, sign) {
                let kind = kind(what, is_folder, &path);
                shared.lock().gather.note(path, kind, now);
            }
            for top in came.into_iter().filter(|top| tree.concerns(top, sign)) {
                shared.lock().gather.note(top, Kind::Whole, now);
            }
        }
    }
    Ok(())
}

fn kind(what: What, is_folder: bool, path: &Path) -> Kind {
    use std::os::unix::fs::MetadataExt;
    match what {
        What::Written => Kind::Open,
        What::Closed | What::MovedHere | What::MovedAway => Kind::Whole,
        What::Removed => Kind::Removed,
        What::Touched => Kind::Same,
        What::Made if is_folder => Kind::Whole,
        // Links are whole when they are made; of a file that was opened the closing follows.
        What::Made => match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_file() && found.nlink() == 1 => Kind::Open,
            _ => Kind::Whole,
        },
    }
}
