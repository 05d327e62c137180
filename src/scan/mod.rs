//! Finds the documents of sources and what changed about them, and reads their files.
//!
//! Knows nothing of targets, stores or runs: what was known before comes in as a value ([`Before`]), what counts as a
//! document as a function. A scan opens no file and changes nothing. See `docs/design/scanning.md`.

mod differences;
mod directory;
mod files;
mod given;
mod limited;
mod mime;
mod peek;
mod reader;
mod roots;
mod rows;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64};

use crate::error::{Error, Result};
use crate::model::document::{DocNumber, Stamp};
use crate::text;

pub use differences::{Differences, Found, Iter, Kind};
pub use given::{Given, GivenBody, GivenDocument, GivenRequest, Giver, Kept, KnownGiven, Listed, scan_given};
pub use mime::mime_of;
pub use peek::{mime_of_file, peek};
pub use reader::{Ask, ReadOutcome, Reader, Reading, restamp};
pub use roots::Roots;
pub use rows::{Rows, is_table, row_name};

/// A document that was there when its source was scanned before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its file name, escaped.
    pub name: String,
    /// The stamp of its file when it was read.
    pub stamp: Stamp,
    /// Its number.
    pub number: DocNumber,
    /// It is settled and not racy: there is nothing to do if its stamp holds and its tag is current.
    pub trusted: bool,
    /// For the caller: where more is known about it.
    pub extra: u64,
    /// For the caller: by which definition it was built.
    pub tag: u64,
}

/// What is known of a source from before. Only documents that were there: one that came back is new.
pub trait Before: Sync {
    /// The documents of one directory (relative, escaped, `""` at the top), in byte order of names.
    fn directory(&self, source: &str, dir: &str) -> Result<Vec<Known>>;

    /// Shows the same one by one, until `visit` says false.
    fn each(&self, source: &str, dir: &str, visit: &mut dyn FnMut(Glance<'_>) -> bool) -> Result<()> {
        for known in self.directory(source, dir)? {
            let Known { name, stamp, trusted, tag, .. } = &known;
            if !visit(Glance { name, stamp: *stamp, trusted: *trusted, tag: *tag }) {
                break;
            }
        }
        Ok(())
    }

    /// Every directory that has documents itself. Asked only if some are missing.
    fn directories(&self, source: &str) -> Result<Vec<String>>;

    /// How many documents there are.
    fn documents(&self, source: &str) -> Result<u64>;

    /// One document. Asked only of a limited scan.
    fn document(&self, source: &str, dir: &str, name: &str) -> Result<Option<Known>> {
        Ok(self.directory(source, dir)?.into_iter().find(|known| known.name == name))
    }

    /// Of [`Before::directories`] the folder `dir` and those below it. Asked only of a limited scan.
    fn directories_below(&self, source: &str, dir: &str) -> Result<Vec<String>> {
        let is_below = |other: &String| other == dir || differences::below(other, dir).is_some();
        Ok(self.directories(source)?.into_iter().filter(is_below).collect())
    }
}

/// Of a [`Known`] what tells whether anything is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    /// As in [`Known`].
    pub name: &'a str,
    /// As in [`Known`].
    pub stamp: Stamp,
    /// As in [`Known`].
    pub trusted: bool,
    /// As in [`Known`].
    pub tag: u64,
}

/// Nothing is known: the first scan.
pub struct Nothing;

impl Before for Nothing {
    fn directory(&self, _: &str, _: &str) -> Result<Vec<Known>> {
        Ok(Vec::new())
    }

    fn directories(&self, _: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn documents(&self, _: &str) -> Result<u64> {
        Ok(0)
    }
}

/// What may have changed in a source since it was scanned before; nothing else has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many documents there were.
    pub known: u64,
    /// Files, or folders with all below them: relative, escaped.
    pub paths: BTreeSet<String>,
}

/// What to scan, and what is needed to judge it.
pub struct Request<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// Where it lies.
    pub roots: &'a Roots,
    /// The store's key for stamps.
    pub salt: u64,
    /// What was there before.
    pub before: &'a dyn Before,
    /// Whether nothing but the file itself could make work for a document with this tag.
    pub is_current: &'a (dyn Fn(u64) -> bool + Sync),
    /// Whether the file of this path, relative to the source and escaped, is a document.
    pub accept: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether nothing in the folder of this path is a document.
    pub prune: &'a (dyn Fn(&str) -> bool + Sync),
    /// `accept` and `prune` are those of the scan before: what was known needs no second look.
    pub same_rules: bool,
    /// Only these are looked at, where that is enough to know all ([`is_limited`]); absent: everything.
    pub changes: Option<&'a Changes>,
    /// How many threads walk.
    pub threads: usize,
    /// Set to end the scan early, with an error.
    pub cancel: &'a AtomicBool,
    /// Counts the documents seen so far, for whoever shows progress.
    pub seen: &'a AtomicU64,
}

/// What became of a source since it was scanned before.
#[derive(Debug, Default)]
pub struct Scan {
    /// The name of the source.
    pub source: String,
    /// The documents that something may have to be done about, in byte order of ids.
    pub found: Differences,
    /// How many there are of each kind.
    pub counts: Counts,
    /// How many documents there were before.
    pub known: u64,
    /// Directories and files that could not be looked at. What was known of them counts as unchanged.
    pub unreadable: Vec<Problem>,
    /// What is in the source and is never opened.
    pub ignored: Ignored,
    /// Folders and files of the source that are not there, as written.
    pub missing: Vec<String>,
    /// What whoever gives the documents left out, in words; empty: nothing.
    pub note: String,
    /// A symbolic link was met: what changes in one place may be a document in another.
    pub links: bool,
}

/// Numbers of documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// [`Kind::New`].
    pub new: u64,
    /// [`Kind::Changed`].
    pub changed: u64,
    /// [`Kind::Untrusted`].
    pub untrusted: u64,
    /// [`Kind::Gone`].
    pub gone: u64,
    /// There is nothing to do about them.
    pub current: u64,
}

impl Counts {
    /// The documents that are there.
    pub fn present(&self) -> u64 {
        self.new + self.changed + self.untrusted + self.current
    }

    fn add(&mut self, other: &Counts) {
        self.new += other.new;
        self.changed += other.changed;
        self.untrusted += other.untrusted;
        self.gone += other.gone;
        self.current += other.current;
    }
}

/// Something in a source that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Its path relative to the source, escaped; empty: all of it.
    pub rel: String,
    /// What is wrong with it: lower case, no final period.
    pub text: String,
}

/// FIFOs, sockets, devices, and links that lead nowhere, in circles, or out of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Problem>,
}

impl Ignored {
    const EXAMPLES: usize = 20;

    fn push(&mut self, rel: &str, text: &str) {
        self.count += 1;
        self.examples.push(Problem { rel: rel.to_owned(), text: text.to_owned() });
        if self.examples.len() >= 2 * Self::EXAMPLES {
            self.shorten();
        }
    }

    fn add(&mut self, other: Ignored) {
        self.count += other.count;
        self.examples.extend(other.examples);
        self.shorten();
    }

    /// The lowest ones stay, whichever thread came first.
    fn shorten(&mut self) {
        self.examples.sort_unstable();
        self.examples.truncate(Self::EXAMPLES);
    }
}

/// Why a build must not believe a scan: it looks as if a disk were missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardStop {
    /// The name of the source.
    pub source: String,
    /// Folders and files of it that are not there, as written.
    pub missing: Vec<String>,
    /// How many of its documents are gone.
    pub gone: u64,
    /// How many it had.
    pub known: u64,
}

impl Scan {
    /// Whether to stop before anything is retired: a part of the source is missing, or most documents are.
    pub fn guard(&self) -> Option<GuardStop> {
        let Counts { gone, .. } = self.counts;
        // Where another lies in the place of the only one, the disk is there.
        let most = gone > self.known / 2 && (gone > 1 || self.counts.present() == 0);
        (most || !self.missing.is_empty()).then(|| GuardStop {
            source: self.source.clone(),
            missing: self.missing.clone(),
            gone,
            known: self.known,
        })
    }
}

impl From<GuardStop> for Error {
    fn from(stop: GuardStop) -> Self {
        let GuardStop { source, missing, gone, known } = stop;
        let of = format!("{} of {}", text::thousands(gone), text::count(known, "document"));
        let error = match missing.as_slice() {
            [] if known == 1 => Error::unfinished(format!(
                "source `{source}`: its only document is gone since the last build"
            )),
            [] => Error::unfinished(format!("source `{source}`: {of} are gone since the last build")),
            missing => {
                let names: Vec<String> = missing.iter().map(|path| format!("`{path}`")).collect();
                let verb = if names.len() == 1 { "does" } else { "do" };
                let error =
                    Error::unfinished(format!("source `{source}`: {} {verb} not exist", names.join(", ")));
                if gone == 0 { error } else { error.caused_by(format!("{of} would be gone")) }
            }
        };
        error
            .hint("nothing was retired; is a disk not mounted, or a folder renamed?")
            .hint("if this is meant: pipe build --gone")
    }
}

/// Whether a request is answered by a look at what changed; else by a walk through everything.
pub fn is_limited(request: &Request<'_>) -> bool {
    limited::suffices(request)
}

/// Walks a source and compares it with what was there before.
///
/// Directories that cannot be read count as unchanged with everything below them; only an error of `before`, or
/// `cancel`, ends the scan.
pub fn scan(request: &Request<'_>) -> Result<Scan> {
    walk::scan(request)
}
