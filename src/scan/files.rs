//! The system calls of a scan: directories opened and listed, files stat-ed and opened, paths of any length.
//!
//! Symbolic links are never followed unless a function says so, and nothing is opened that could block.
//! Knows nothing of documents or of what is made of an answer.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::model::document::{Stamp, escape_name};

/// Longer paths than this are opened in several steps: the kernel takes at most 4095 bytes at once.
const LONGEST_STEP: usize = 3000;

/// What one `getdents` fills: about a thousand names.
const LIST_BUFFER: usize = 32 * 1024;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A FIFO, a socket, a device: never opened.
    Special(&'static str),
    /// The file system does not say; a stat does.
    Unknown,
}

impl Sort {
    fn of(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Sort::File,
            FileType::Directory => Sort::Directory,
            FileType::Symlink => Sort::Link,
            FileType::Fifo => Sort::Special("a FIFO"),
            FileType::Socket => Sort::Special("a socket"),
            FileType::CharacterDevice | FileType::BlockDevice => Sort::Special("a device"),
            FileType::Unknown => Sort::Unknown,
        }
    }
}

/// What a stat says of a file, as far as it identifies the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    device: u64,
    inode: u64,
    /// In bytes.
    pub(super) size: u64,
    modified: (i64, u32),
    changed: (i64, u32),
    mode: u32,
}

impl Status {
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless, reason = "the fields' types differ by platform")]
    fn of(stat: &Stat) -> Self {
        Status {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
            mode: stat.st_mode as u32,
        }
    }

    pub(super) fn sort(&self) -> Sort {
        match Sort::of(FileType::from_raw_mode(self.mode)) {
            Sort::Unknown => Sort::Special("neither file nor folder"),
            sort => sort,
        }
    }

    /// The keyed hash that is remembered. It goes to disk: `docs/design/scanning.md`, golden test below.
    pub(super) fn stamp(&self, salt: u64) -> Stamp {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&salt.to_le_bytes());
        key[8..].copy_from_slice(b"stamp of a source, no. 1");
        let mut message = [0; 52];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            message[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&self.device.to_le_bytes());
        put(&self.inode.to_le_bytes());
        put(&self.size.to_le_bytes());
        for (seconds, nanoseconds) in [self.modified, self.changed] {
            put(&seconds.to_le_bytes());
            put(&nanoseconds.to_le_bytes());
        }
        // The type alone: other permissions are no other content (and move ctime anyway).
        put(&(self.mode & 0o170_000).to_le_bytes());
        let hash = blake3::keyed_hash(&key, &message);
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        Stamp(u64::from_le_bytes(first))
    }

    /// The later of mtime and ctime, in nanoseconds since 1970.
    pub(super) fn last_change(&self) -> i128 {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
    }

    /// Names the file system that the file lies on.
    pub(super) fn device(&self) -> u64 {
        self.device
    }
}

/// The names in a directory as they came, bytes on disk: often how many there are is all that must be known.
#[derive(Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    files: usize,
    /// Of each the directory itself says whether it is a file, and none is a link.
    is_sure: bool,
}

/// The names in a directory, escaped and in byte order.
#[derive(Default)]
pub(super) struct Listing {
    text: String,
    entries: Vec<Entry>,
}

struct Entry {
    start: usize,
    length: u16,
    sort: Sort,
}

impl Entry {
    fn range(&self) -> Range<usize> {
        self.start..self.start + usize::from(self.length)
    }
}

impl Names {
    /// Reads a directory to its end.
    pub(super) fn read(directory: &OwnedFd, buffer: &mut Vec<u8>) -> io::Result<Self> {
        buffer.clear();
        buffer.reserve(LIST_BUFFER);
        let mut names = Names { is_sure: true, ..Names::default() };
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            // A name has at most 255 bytes, on some file systems 255 characters.
            let Ok(length) = u16::try_from(name.len()) else { continue };
            if name != b"." && name != b".." {
                let sort = Sort::of(entry.file_type());
                names.files += usize::from(sort == Sort::File);
                names.is_sure &= !matches!(sort, Sort::Link | Sort::Unknown);
                names.entries.push(Entry { start: names.bytes.len(), length, sort });
                names.bytes.extend_from_slice(name);
            }
        }
        Ok(names)
    }

    /// How many names.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many files, if the directory says of all its names what they are.
    pub(super) fn files(&self) -> Option<usize> {
        self.is_sure.then_some(self.files)
    }

    /// All names, escaped and in byte order.
    pub(super) fn in_order(&self) -> Listing {
        self.those(|_| true)
    }

    /// The same of what is no file.
    pub(super) fn others(&self) -> Listing {
        self.those(|sort| sort != Sort::File)
    }

    fn those(&self, wanted: impl Fn(Sort) -> bool) -> Listing {
        let mut listing = Listing::default();
        let wanted = self.entries.iter().filter(|entry| wanted(entry.sort));
        wanted.for_each(|entry| listing.push(&self.name(entry), entry.sort));
        listing.order();
        listing
    }

    fn name(&self, entry: &Entry) -> Cow<'_, str> {
        escape_name(std::ffi::OsStr::from_bytes(&self.bytes[entry.range()]))
    }
}

impl Listing {
    /// Names that are asked for one by one.
    pub(super) fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut listing = Listing::default();
        names.into_iter().for_each(|name| listing.push(name, Sort::Unknown));
        listing.order();
        listing
    }

    /// How many names.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The name at a place below `len`.
    pub(super) fn name_at(&self, place: usize) -> &str {
        self.name(&self.entries[place])
    }

    /// Each name of a stretch, with what the directory says that it is. Before: the stretch ends at `len` at most.
    pub(super) fn iter(&self, stretch: Range<usize>) -> impl Iterator<Item = (&str, Sort)> {
        self.entries[stretch].iter().map(|entry| (self.name(entry), entry.sort))
    }

    fn name(&self, entry: &Entry) -> &str {
        &self.text[entry.range()]
    }

    fn push(&mut self, name: &str, sort: Sort) {
        // An escaped byte has three.
        if let Ok(length) = u16::try_from(name.len()) {
            self.entries.push(Entry { start: self.text.len(), length, sort });
            self.text.push_str(name);
        }
    }

    fn order(&mut self) {
        let text = self.text.as_bytes();
        self.entries.sort_unstable_by(|a, b| text[a.range()].cmp(&text[b.range()]));
    }
}

/// Opens a directory to list it.
pub(super) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at(path, |base, rest| rustix::fs::openat(base, rest, flags, Mode::empty()))
}

/// Opens a directory only to look up names in it: it need not be readable.
pub(super) fn open_to_look_up(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    at(path, |base, rest| rustix::fs::openat(base, rest, flags, Mode::empty()))
}

/// Opens a file without following a link at its end and without ever waiting (a FIFO would).
/// Whoever calls must look at the status before reading.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    at(path, |base, rest| rustix::fs::openat(base, rest, flags, Mode::empty())).map(File::from)
}

/// The status of a name in a directory; of a link, its own.
pub(super) fn status_in(directory: &OwnedFd, name: &[u8]) -> io::Result<Status> {
    Ok(Status::of(&rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// The status of a path, links followed.
pub(super) fn status_followed(path: &Path) -> io::Result<Status> {
    at(path, |base, rest| rustix::fs::statat(base, rest, AtFlags::empty())).map(|stat| Status::of(&stat))
}

/// The status of an open file.
pub(super) fn status_of(file: &File) -> io::Result<Status> {
    Ok(Status::of(&rustix::fs::fstat(file)?))
}

/// Whether an error says that the name is no longer what it was, rather than that it cannot be looked at.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Whether the last part of the path that was to be opened is a symbolic link.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
}

/// Whether there is nothing behind the name that could be opened (a socket, a device without a driver).
pub(super) fn is_special(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NXIO, Errno::NODEV].iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Calls with a directory and a path relative to it that is short enough for the kernel.
fn at<R>(path: &Path, call: impl Fn(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<R>) -> io::Result<R> {
    let mut rest = path.as_os_str().as_bytes();
    let mut base: Option<OwnedFd> = None;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    while rest.len() > LONGEST_STEP {
        let Some(slash) = rest[..LONGEST_STEP].iter().rposition(|byte| *byte == b'/') else { break };
        let step = &rest[..=slash];
        let from = base.as_ref().map_or(CWD, AsFd::as_fd);
        base = Some(rustix::fs::openat(from, step, flags, Mode::empty())?);
        rest = &rest[slash + 1..];
    }
    Ok(call(base.as_ref().map_or(CWD, AsFd::as_fd), rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: Status =
        Status { device: 1, inode: 2, size: 3, modified: (4, 5), changed: (6, 7), mode: 0o100_644 };

    #[test]
    fn golden_stamp() {
        assert_eq!(format!("{:016x}", STATUS.stamp(8).0), "db023b244988175a");
    }

    #[test]
    fn every_field_of_a_status_shows_in_the_stamp() {
        let others = [
            Status { device: 9, ..STATUS },
            Status { inode: 9, ..STATUS },
            Status { size: 9, ..STATUS },
            Status { modified: (9, 5), ..STATUS },
            Status { modified: (4, 9), ..STATUS },
            Status { changed: (9, 7), ..STATUS },
            Status { changed: (6, 9), ..STATUS },
            Status { mode: 0o120_644, ..STATUS },
        ];
        for other in others {
            assert_ne!(other.stamp(8), STATUS.stamp(8), "{other:?}");
        }
        assert_ne!(STATUS.stamp(9), STATUS.stamp(8));
        assert_eq!(Status { mode: 0o100_600, ..STATUS }.stamp(8), STATUS.stamp(8));
    }

    #[test]
    fn times_before_1970_and_far_ahead_are_no_trouble() {
        assert_eq!(Status { modified: (-1, 0), changed: (-2, 9), ..STATUS }.last_change(), -1_000_000_000);
        assert!(Status { modified: (i64::MAX, 999_999_999), ..STATUS }.last_change() > 0);
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_opened_in_steps() {
        let dir = tempfile::tempdir().unwrap();
        let mut path = dir.path().to_owned();
        let mut open = open_directory(&path).unwrap();
        for _ in 0..60 {
            let name = "d".repeat(120);
            rustix::fs::mkdirat(&open, &name, Mode::RWXU).unwrap();
            path.push(name);
            open = open_directory(&path).unwrap();
        }
        assert!(path.as_os_str().len() > 7000);
        assert_eq!(status_followed(&path).unwrap().sort(), Sort::Directory);
    }
}
