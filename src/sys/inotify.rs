//! The kernel's notices of what happens in folders (inotify). Knows single folders, no trees, and keeps no names.
//!
//! Asked for are changes alone: who only opens and reads files, as every build does, fills no queue.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Notices of one process, from all folders that it watches.
#[derive(Debug)]
pub struct Notices {
    queue: OwnedFd,
    buffer: Vec<MaybeUninit<u8>>,
}

/// A folder that is watched, by a number that is not given again soon.
pub type FolderNumber = i32;

/// What happened to a name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It came by another name or from elsewhere, whole as it is.
    MovedHere,
    /// It is no longer here, but perhaps elsewhere.
    MovedAway,
    /// It was made: empty, a link, a folder.
    Made,
    /// It is gone.
    Removed,
    /// It was written to; more may come.
    Written,
    /// Whoever had it open for writing has closed it.
    Closed,
    /// Its permissions, owner or times changed.
    Touched,
}

/// One notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'a> {
    /// Something happened to a name.
    Name {
        /// The folder.
        folder: FolderNumber,
        /// The name in it, as the file system has it.
        name: &'a [u8],
        /// What.
        what: What,
        /// The name is that of a folder.
        is_folder: bool,
    },
    /// A watched folder was removed, moved, or its disk unmounted.
    Gone(FolderNumber),
    /// The folder's number stands for nothing any more.
    Ended(FolderNumber),
    /// There were more than the kernel keeps: anything may have happened.
    Overflow,
}

/// Why a folder is not watched.
#[derive(Debug)]
pub enum Refused {
    /// The kernel watches no more of them for this user.
    Limit,
    /// It is not there (any more), or is no folder.
    Absent,
    /// Something else.
    Failed(io::Error),
}

impl Notices {
    /// Nothing is watched yet.
    pub fn new() -> Result<Self, Refused> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(refused)?;
        Ok(Notices { queue, buffer: vec![MaybeUninit::uninit(); 64 * 1024] })
    }

    /// Watches a folder from now on; one that is watched keeps its number.
    pub fn watch(&self, folder: &Path) -> Result<FolderNumber, Refused> {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
            | WatchFlags::EXCL_UNLINK;
        inotify::add_watch(&self.queue, folder.as_os_str().as_bytes(), flags).map_err(refused)
    }

    /// Watches a folder no more. That it is gone already is fine.
    pub fn leave(&self, folder: FolderNumber) {
        let _ = inotify::remove_watch(&self.queue, folder);
    }

    /// Takes what there is, without waiting.
    pub fn take(&mut self, mut each: impl FnMut(Notice<'_>)) -> io::Result<()> {
        let mut reader = Reader::new(&self.queue, &mut self.buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let (flags, folder) = (event.events(), event.wd());
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                each(Notice::Overflow);
            } else if flags.contains(ReadFlags::IGNORED) {
                each(Notice::Ended(folder));
            } else if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::UNMOUNT) {
                each(Notice::Gone(folder));
            } else if let (Some(name), Some(what)) = (event.file_name(), what(flags)) {
                let is_folder = flags.contains(ReadFlags::ISDIR);
                each(Notice::Name { folder, name: name.to_bytes(), what, is_folder });
            }
        }
    }
}

impl AsFd for Notices {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}

fn what(flags: ReadFlags) -> Option<What> {
    let kinds = [
        (ReadFlags::MOVED_TO, What::MovedHere),
        (ReadFlags::MOVED_FROM, What::MovedAway),
        (ReadFlags::CREATE, What::Made),
        (ReadFlags::DELETE, What::Removed),
        (ReadFlags::CLOSE_WRITE, What::Closed),
        (ReadFlags::MODIFY, What::Written),
        (ReadFlags::ATTRIB, What::Touched),
    ];
    kinds.into_iter().find(|(flag, _)| flags.contains(*flag)).map(|(_, what)| what)
}

fn refused(error: Errno) -> Refused {
    match error {
        Errno::NOSPC | Errno::MFILE | Errno::NFILE => Refused::Limit,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Refused::Absent,
        error => Refused::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn taken(notices: &mut Notices) -> Vec<(String, What, bool)> {
        let mut all = Vec::new();
        notices
            .take(|notice| {
                if let Notice::Name { name, what, is_folder, .. } = notice {
                    all.push((String::from_utf8_lossy(name).into_owned(), what, is_folder));
                }
            })
            .unwrap();
        all
    }

    #[test]
    fn changes_are_told_and_reading_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut notices = Notices::new().unwrap();
        notices.watch(dir.path()).unwrap();
        let mut file = std::fs::File::create(dir.path().join("a")).unwrap();
        file.write_all(b"x").unwrap();
        drop(file);
        let told = [What::Made, What::Written, What::Closed].map(|what| ("a".to_owned(), what, false));
        assert_eq!(taken(&mut notices), told);
        let mut text = String::new();
        std::fs::File::open(dir.path().join("a")).unwrap().read_to_string(&mut text).unwrap();
        std::fs::read_dir(dir.path()).unwrap().for_each(drop);
        assert_eq!(taken(&mut notices), []);
        std::fs::create_dir(dir.path().join("b")).unwrap();
        assert_eq!(taken(&mut notices), [("b".to_owned(), What::Made, true)]);
    }

    #[test]
    fn what_cannot_be_watched_says_why() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::File::create(dir.path().join("a")).unwrap();
        let notices = Notices::new().unwrap();
        for name in ["a", "b"] {
            assert!(matches!(notices.watch(&dir.path().join(name)), Err(Refused::Absent)), "{name}");
        }
    }
}
