//! One directory of a walk: its names beside those that were known, in one pass over both.
//!
//! A long directory is cut into stretches of names that any thread may take. A known file costs one stat, a new one none (reading it tells the rest); globs are asked about new names only.

use std::cell::Cell;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Result, io_text};
use crate::model::document::unescape_name;
use crate::scan::differences::{Block, join};
use crate::scan::files::{self, Listing, Names, Sort, Status};
use crate::scan::{Counts, Ignored, Known, Problem, Request};

/// How many names one thread takes at once; few in tests, so that they cut directories too.
const STRETCH: usize = if cfg!(test) { 4 } else { 4096 };

/// A directory that waits for its turn.
pub(super) struct Waiting {
    /// Relative to the source, escaped.
    pub(super) rel: Arc<str>,
    /// Without links.
    pub(super) path: PathBuf,
    /// It was reached by a link.
    pub(super) linked: bool,
    /// Only these names count, escaped.
    pub(super) only: Option<Vec<String>>,
    /// With `only`: what was known of the other names holds, instead of being gone.
    pub(super) limited: bool,
}

/// What waits for a thread.
pub(super) enum Work {
    /// A directory that nobody opened yet.
    Directory(Waiting),
    /// A part of one that is open.
    Stretch(Stretch),
}

impl Work {
    /// The directory, and the number of the stretch.
    pub(super) fn place(&self) -> (&str, usize) {
        match self {
            Work::Directory(directory) => (&directory.rel, 0),
            Work::Stretch(stretch) => (&stretch.of.directory.rel, stretch.names.start),
        }
    }
}

/// A part of a directory's names with what was known between them.
pub(super) struct Stretch {
    of: Arc<Open>,
    names: Range<usize>,
    known: Vec<Known>,
    /// So many of them, the first ones, were found unchanged already.
    unchanged: usize,
}

/// A directory in hand.
struct Open {
    directory: Waiting,
    fd: OwnedFd,
    listing: Listing,
}

/// What one thread found.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) blocks: Vec<Block>,
    pub(super) counts: Counts,
    /// How many of the documents from before were met, there or gone.
    pub(super) known: u64,
    /// Hashes of the directories that were looked at and had documents before.
    pub(super) visited: Vec<u64>,
    /// The directories that could not be read.
    pub(super) unread: Vec<Arc<str>>,
    pub(super) unreadable: Vec<Problem>,
    pub(super) ignored: Ignored,
    /// A symbolic link was met.
    pub(super) links: bool,
}

impl Tally {
    pub(super) fn add(&mut self, other: Tally) {
        self.blocks.extend(other.blocks);
        self.counts.add(&other.counts);
        self.known += other.known;
        self.visited.extend(other.visited);
        self.unread.extend(other.unread);
        self.unreadable.extend(other.unreadable);
        self.ignored.add(other.ignored);
        self.links |= other.links;
    }
}

/// One thread of a walk.
pub(super) struct Worker<'a> {
    request: &'a Request<'a>,
    hasher: &'a RandomState,
    any_known: bool,
    buffer: Vec<u8>,
    /// A tag that was asked about last, and whether it is current: documents side by side mostly have the same.
    tag: Cell<Option<(u64, bool)>>,
    pub(super) tally: Tally,
}

/// What there is in a directory.
enum Listed {
    /// All of its names.
    Read(Names),
    /// Those that were asked for.
    Asked(Listing),
}

/// What a name turned out to be.
enum Thing {
    /// A file; with its status where it was needed.
    File(Option<Status>),
    /// A folder to walk.
    Folder { path: PathBuf, linked: bool },
    /// Nothing that is ever opened, and why.
    Ignored(&'static str),
    /// It vanished while we looked.
    Nothing,
    /// It cannot be looked at, and why.
    Unreadable(String),
}

/// The stretch in hand.
struct Here {
    of: Arc<Open>,
    block: Block,
    below: Vec<Work>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(request: &'a Request<'a>, hasher: &'a RandomState, any_known: bool) -> Self {
        Worker {
            request,
            hasher,
            any_known,
            buffer: Vec::new(),
            tag: Cell::new(None),
            tally: Tally::default(),
        }
    }

    /// Compares a directory, or a part of it, with what was known of it; returns the work that it makes.
    pub(super) fn look_at(&mut self, work: Work) -> Result<Vec<Work>> {
        match work {
            Work::Stretch(stretch) => Ok(self.merge(stretch)),
            Work::Directory(directory) => {
                let mut stretches = self.open(directory)?;
                match stretches.len() {
                    1 => Ok(stretches.pop().map_or_else(Vec::new, |stretch| self.merge(stretch))),
                    _ => Ok(stretches.into_iter().map(Work::Stretch).collect()),
                }
            }
        }
    }

    /// Opens a directory and cuts it; nothing if that cannot be done.
    fn open(&mut self, directory: Waiting) -> Result<Vec<Stretch>> {
        let (fd, names) = match self.list(&directory) {
            Ok(listed) => listed,
            // Gone between the listing above it and now: what was known of it is found missing at the end.
            Err(error) if files::is_gone(&error) && !directory.limited => return Ok(Vec::new()),
            Err(error) if files::is_gone(&error) => return self.all_gone(&directory),
            Err(error) => {
                let text = format!("cannot read the folder: {}", io_text(&error));
                self.tally.unreadable.push(Problem { rel: directory.rel.as_ref().to_owned(), text });
                self.tally.unread.push(directory.rel);
                return Ok(Vec::new());
            }
        };
        let mut unchanged = 0;
        let listing = match names {
            Listed::Asked(listing) => listing,
            Listed::Read(names) => {
                let is_all;
                (unchanged, is_all) = self.as_before(&directory, &fd, &names)?;
                if is_all {
                    return Ok(self.all_as_before(directory, fd, &names, unchanged));
                }
                names.in_order()
            }
        };
        let mut known = Vec::new();
        if self.any_known {
            known = self.known_of(&directory)?;
            // Merging relies on it; sorting what is sorted costs one pass.
            known.sort_by(|a, b| a.name.cmp(&b.name));
        }
        if !known.is_empty() {
            self.tally.known += known.len() as u64;
            if !directory.limited {
                self.tally.visited.push(self.hasher.hash_one(&*directory.rel));
            }
        }
        let of = Arc::new(Open { directory, fd, listing });
        let length = of.listing.len();
        let mut stretches = Vec::new();
        for start in (0..length.max(1)).step_by(STRETCH).rev() {
            // The first stretch also has what was known before its first name, the last what was behind.
            let from = match start {
                0 => 0,
                _ => known.partition_point(|known| known.name.as_str() < of.listing.name_at(start)),
            };
            let names = start..(start + STRETCH).min(length);
            let known = known.split_off(from);
            stretches.push(Stretch { of: Arc::clone(&of), names, known, unchanged });
        }
        Ok(stretches)
    }

    /// What was known of a directory, or of the names in it that are asked about.
    fn known_of(&self, directory: &Waiting) -> Result<Vec<Known>> {
        let (source, before) = (self.request.source, self.request.before);
        let Some(names) = directory.only.as_ref().filter(|_| directory.limited) else {
            return before.directory(source, &directory.rel);
        };
        names.iter().filter_map(|name| before.document(source, &directory.rel, name).transpose()).collect()
    }

    /// The directory of the names that are asked about is not there, so neither are they.
    fn all_gone(&mut self, directory: &Waiting) -> Result<Vec<Stretch>> {
        let mut known = self.known_of(directory)?;
        known.sort_by(|a, b| a.name.cmp(&b.name));
        self.tally.known += known.len() as u64;
        let mut block = Block::of(Arc::clone(&directory.rel), 0);
        known.into_iter().for_each(|known| self.gone(&directory.rel, &mut block, known));
        if !block.is_empty() {
            self.tally.blocks.push(block);
        }
        Ok(Vec::new())
    }

    fn list(&mut self, directory: &Waiting) -> io::Result<(OwnedFd, Listed)> {
        if let Some(names) = &directory.only {
            let fd = files::open_to_look_up(&directory.path)?;
            return Ok((fd, Listed::Asked(Listing::of_names(names.iter().map(String::as_str)))));
        }
        let fd = files::open_directory(&directory.path)?;
        let names = Names::read(&fd, &mut self.buffer)?;
        Ok((fd, Listed::Read(names)))
    }

    /// How many documents of a directory, from the first on, are surely as they were, and whether these are all that
    /// there is. An unchanged stamp has the time of a file's last renaming in it, so such a file was there under its
    /// name all the time: as many unchanged documents as the directory has files are these files, and no name
    /// need be compared.
    fn as_before(&self, directory: &Waiting, fd: &OwnedFd, names: &Names) -> Result<(usize, bool)> {
        let is_long = names.len() > STRETCH;
        let Some(files) = names.files().filter(|_| self.any_known && self.request.same_rules && !is_long)
        else {
            return Ok((0, false));
        };
        let (mut unchanged, mut is_all) = (0, true);
        self.request.before.each(self.request.source, &directory.rel, &mut |known| {
            let is_as_it_was = |status: Status| {
                status.sort() == Sort::File && status.stamp(self.request.salt) == known.stamp
            };
            is_all = known.trusted
                && self.is_current(known.tag)
                && status_in(fd, known.name).is_ok_and(is_as_it_was);
            unchanged += usize::from(is_all);
            is_all
        })?;
        Ok((unchanged, is_all && unchanged == files))
    }

    /// Counts the documents of a directory in which nothing changed; returns what is below it.
    fn all_as_before(
        &mut self,
        directory: Waiting,
        fd: OwnedFd,
        names: &Names,
        documents: usize,
    ) -> Vec<Stretch> {
        let documents = documents as u64;
        if documents > 0 {
            self.tally.known += documents;
            self.tally.counts.current += documents;
            self.tally.visited.push(self.hasher.hash_one(&*directory.rel));
            self.request.seen.fetch_add(documents, Ordering::Relaxed);
        }
        let others = names.others();
        if others.len() == 0 {
            return Vec::new();
        }
        let names = 0..others.len();
        let of = Arc::new(Open { directory, fd, listing: others });
        vec![Stretch { of, names, known: Vec::new(), unchanged: 0 }]
    }

    fn is_current(&self, tag: u64) -> bool {
        match self.tag.get() {
            Some((last, is_current)) if last == tag => is_current,
            _ => {
                let is_current = (self.request.is_current)(tag);
                self.tag.set(Some((tag, is_current)));
                is_current
            }
        }
    }

    fn merge(&mut self, stretch: Stretch) -> Vec<Work> {
        let Stretch { of, names, known, unchanged } = stretch;
        let block = Block::of(Arc::clone(&of.directory.rel), names.start);
        let mut here = Here { of: Arc::clone(&of), block, below: Vec::new() };
        let present = self.tally.counts.present();
        let mut known = known.into_iter().enumerate().peekable();
        for (name, sort) in of.listing.iter(names) {
            while let Some((_, gone)) = known.next_if(|(_, known)| known.name.as_str() < name) {
                self.gone(&of.directory.rel, &mut here.block, gone);
            }
            match known.next_if(|(_, known)| known.name == name) {
                Some((at, _)) if at < unchanged => self.tally.counts.current += 1,
                Some((_, known)) => self.known(&mut here, known, sort),
                None => self.unknown(&mut here, name, sort),
            }
        }
        known.for_each(|(_, gone)| self.gone(&of.directory.rel, &mut here.block, gone));
        self.request.seen.fetch_add(self.tally.counts.present() - present, Ordering::Relaxed);
        if !here.block.is_empty() {
            self.tally.blocks.push(here.block);
        }
        here.below
    }

    /// A name that was a document before.
    fn known(&mut self, here: &mut Here, known: Known, sort: Sort) {
        let rel = |known: &Known| join(&here.of.directory.rel, &known.name);
        if !self.request.same_rules && !self.accepts(&rel(&known)) {
            self.gone(&here.of.directory.rel, &mut here.block, known);
            return;
        }
        match self.look(here, &known.name, sort, true) {
            Thing::File(status) => self.compare(here, known, status),
            Thing::Nothing => self.gone(&here.of.directory.rel, &mut here.block, known),
            // Whatever it is now, it is not lost for good: what was made of it stays.
            Thing::Unreadable(text) => self.unreadable(rel(&known), text),
            thing @ (Thing::Folder { .. } | Thing::Ignored(_)) => {
                let rel = rel(&known);
                self.gone(&here.of.directory.rel, &mut here.block, known);
                self.not_a_file(here, rel, thing);
            }
        }
    }

    fn compare(&mut self, here: &mut Here, known: Known, status: Option<Status>) {
        let is_current = known.trusted && self.is_current(known.tag);
        let counts = &mut self.tally.counts;
        if status.is_none_or(|status| status.stamp(self.request.salt) != known.stamp) {
            counts.changed += 1;
            here.block.push_changed(known);
        } else if is_current {
            counts.current += 1;
        } else {
            counts.untrusted += 1;
            here.block.push_untrusted(known);
        }
    }

    /// A name that was no document before.
    fn unknown(&mut self, here: &mut Here, name: &str, sort: Sort) {
        let rel = join(&here.of.directory.rel, name);
        let wanted = match sort {
            Sort::File | Sort::Special(_) => self.accepts(&rel),
            Sort::Directory => self.enters(&rel),
            Sort::Link | Sort::Unknown => self.accepts(&rel) || self.enters(&rel),
        };
        if !wanted {
            return;
        }
        match self.look(here, name, sort, false) {
            Thing::File(_) => {
                if sort == Sort::File || self.accepts(&rel) {
                    self.tally.counts.new += 1;
                    here.block.push_new(name);
                }
            }
            Thing::Nothing => {}
            Thing::Unreadable(text) => self.unreadable(rel, text),
            thing @ (Thing::Folder { .. } | Thing::Ignored(_)) => self.not_a_file(here, rel, thing),
        }
    }

    fn not_a_file(&mut self, here: &mut Here, rel: String, thing: Thing) {
        match thing {
            Thing::Folder { path, linked } if self.enters(&rel) => {
                let (rel, only) = (rel.into(), None);
                here.below.push(Work::Directory(Waiting { rel, path, linked, only, limited: false }));
            }
            Thing::Ignored(why) => self.tally.ignored.push(&rel, why),
            _ => {}
        }
    }

    fn gone(&mut self, dir: &str, block: &mut Block, known: Known) {
        if self.request.roots.is_unreadable(dir, &known.name) {
            return;
        }
        self.tally.counts.gone += 1;
        block.push_gone(known);
    }

    /// What was known of it, and of all below it if it was a folder, counts as unchanged.
    fn unreadable(&mut self, rel: String, text: String) {
        self.tally.unread.push(rel.as_str().into());
        self.tally.unreadable.push(Problem { rel, text });
    }

    fn accepts(&self, rel: &str) -> bool {
        self.request.roots.is_named(rel) || (self.request.accept)(rel)
    }

    fn enters(&self, rel: &str) -> bool {
        !self.request.roots.is_start(rel) && !(self.request.prune)(rel)
    }

    fn look(&mut self, here: &Here, name: &str, sort: Sort, stat: bool) -> Thing {
        match sort {
            Sort::File if !stat => Thing::File(None),
            Sort::Directory => {
                Thing::Folder { path: here.path(&unescape_name(name)), linked: here.of.directory.linked }
            }
            Sort::Special(what) => Thing::Ignored(what),
            Sort::Link => {
                self.tally.links = true;
                self.follow(here, &unescape_name(name))
            }
            Sort::File | Sort::Unknown => match here.status(name) {
                Ok(status) if status.sort() == Sort::File => Thing::File(Some(status)),
                Ok(status) => self.look(here, name, status.sort(), stat),
                Err(error) if files::is_gone(&error) => Thing::Nothing,
                Err(error) => Thing::Unreadable(format!("cannot look at it: {}", io_text(&error))),
            },
        }
    }

    /// Where a symbolic link leads, if that is inside the source.
    fn follow(&self, here: &Here, name: &OsString) -> Thing {
        let link = here.path(name);
        let looked = std::fs::canonicalize(&link)
            .and_then(|target| files::status_followed(&target).map(|status| (target, status)));
        match looked {
            Ok((target, _)) if !self.request.roots.contains(&target) => {
                Thing::Ignored("a link that leads out of the source")
            }
            Ok((target, status)) => match status.sort() {
                Sort::File => Thing::File(Some(status)),
                Sort::Special(what) => Thing::Ignored(what),
                _ if here.of.directory.path.starts_with(&target) => {
                    Thing::Ignored("a link to a folder that it lies in itself")
                }
                // Links among n folders would otherwise make n! paths.
                _ if here.of.directory.linked => {
                    Thing::Ignored("a link to a folder, in a folder that was reached by a link")
                }
                _ => Thing::Folder { path: target, linked: true },
            },
            Err(error) if files::is_link(&error) => Thing::Ignored("a link that leads in circles"),
            Err(error) if files::is_gone(&error) => Thing::Ignored("a link that leads nowhere"),
            Err(error) => Thing::Unreadable(format!("cannot follow the link: {}", io_text(&error))),
        }
    }
}

impl Here {
    fn path(&self, name: &OsString) -> PathBuf {
        self.of.directory.path.join(Path::new(name))
    }

    fn status(&self, name: &str) -> io::Result<Status> {
        status_in(&self.of.fd, name)
    }
}

fn status_in(fd: &OwnedFd, name: &str) -> io::Result<Status> {
    if name.contains('%') {
        return files::status_in(fd, unescape_name(name).as_bytes());
    }
    files::status_in(fd, name.as_bytes())
}
