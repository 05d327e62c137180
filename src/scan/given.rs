//! Documents that are no files of the source's folders: rows of tables, results of another project. Whoever gives them lists
//! them in byte order of names; they are met once with those that were there before.
//!
//! Knows nothing of where they come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::Digest;
use crate::model::document::{Meta, Stamp};
use crate::scan::differences::Block;
use crate::scan::{Counts, Differences, Known, Scan};

/// Gives the documents of a source.
pub trait Giver: fmt::Debug + Send + Sync {
    /// One digest for everything that is read, as it is now: as long as it stays, nothing is listed. Absent: it is not there.
    fn state(&self) -> Option<Digest>;
    /// All documents; read when they are first asked for.
    fn list(&self) -> Result<Arc<dyn Listed>>;
    /// Forgets what was read: the next question reads again.
    fn forget(&self);
    /// The document of this name (relative to the source).
    fn read(&self, rel: &str) -> Result<Given>;
    /// The stamp of a document as it is now; nothing if it is another than was read.
    fn stamp(&self, rel: &str) -> Option<Stamp>;
    /// What is wrong with all of it.
    fn check(&self) -> Result<()>;
    /// As written: what is not there.
    fn missing(&self) -> &[String];
    /// What is to be remembered once all that differs is dealt with; nothing if it cannot be trusted, or was not read.
    fn state_to_keep(&self) -> Option<Kept>;
}

/// What is remembered of a giver between builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its state.
    pub state: Digest,
    /// What it left out, in words.
    pub note: String,
}

/// Documents in byte order of names.
pub trait Listed: Send + Sync {
    /// How many.
    fn count(&self) -> usize;
    /// The name of one, relative to the source.
    fn name_at(&self, at: usize) -> &str;
    /// The stamp of one: another if anything of it is.
    fn stamp_at(&self, at: usize) -> Stamp;
    /// What was left out, in words; empty: nothing.
    fn note(&self) -> &str;
}

/// A document as it is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// It is there.
    Document(Box<GivenDocument>),
    /// It cannot be read: why.
    Broken {
        /// In words.
        problem: String,
        /// Of what is there.
        stamp: Stamp,
    },
    /// There is no such document.
    Absent,
    /// It is another than a moment ago.
    Changing,
}

/// A document that was given.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenDocument {
    /// Its content.
    pub body: GivenBody,
    /// Of its content.
    pub digest: Digest,
    /// What kind of file it would be.
    pub ext: String,
    /// Its meta.
    pub meta: Meta,
    /// Another if anything of it is.
    pub stamp: Stamp,
}

/// The content of a document that was given.
#[derive(Clone, Debug, PartialEq)]
pub enum GivenBody {
    /// All of it.
    Bytes(Arc<[u8]>),
    /// A file that holds it, proved to be right.
    File {
        /// Absolute.
        path: PathBuf,
        /// In bytes.
        length: u64,
    },
}

/// Visits what was known: its folder and itself, in byte order of ids.
pub type KnownGiven<'a> = dyn Fn(&mut dyn FnMut(&str, Known)) -> Result<()> + 'a;

/// What is needed to judge the documents of a giver.
pub struct GivenRequest<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// Who gives them.
    pub giver: &'a dyn Giver,
    /// What was known of them.
    pub known: &'a KnownGiven<'a>,
    /// What was kept when they were compared last.
    pub before: Option<Kept>,
    /// Whether nothing but the document itself could make work for it.
    pub is_current: &'a dyn Fn(u64) -> bool,
}

/// Compares the documents of a giver with those that were there before. Lists them only if its state is another.
pub fn scan_given(request: &GivenRequest<'_>) -> Result<Scan> {
    let giver = request.giver;
    giver.forget();
    let is_same = request.before.as_ref().is_some_and(|before| giver.state().as_ref() == Some(&before.state));
    let is_missing = !giver.missing().is_empty();
    let list = if is_same || is_missing { None } else { Some(giver.list()?) };
    let mut met =
        Met { request, list: list.as_deref(), next: 0, counts: Counts::default(), blocks: BTreeMap::new() };
    let mut known = 0;
    (request.known)(&mut |dir, document| {
        known += 1;
        met.known(dir, document);
    })?;
    met.rest();
    let (counts, blocks) = (met.counts, met.blocks);
    let note = match (&list, &request.before) {
        (Some(list), _) => list.note().to_owned(),
        (None, Some(before)) => before.note.clone(),
        (None, None) => String::new(),
    };
    Ok(Scan {
        source: request.source.to_owned(),
        found: Differences::new(blocks.into_values().collect()),
        counts,
        known,
        missing: giver.missing().to_vec(),
        note,
        ..Scan::default()
    })
}

struct Met<'a> {
    request: &'a GivenRequest<'a>,
    /// Absent: all is as it was.
    list: Option<&'a dyn Listed>,
    next: usize,
    counts: Counts,
    blocks: BTreeMap<Arc<str>, Block>,
}

impl Met<'_> {
    fn known(&mut self, dir: &str, document: Known) {
        let Some(list) = self.list else { return self.unchanged(dir, document) };
        let rel = if dir.is_empty() { document.name.clone() } else { format!("{dir}/{}", document.name) };
        while self.next < list.count() && list.name_at(self.next) < rel.as_str() {
            self.push_new(list, self.next);
            self.next += 1;
        }
        if self.next < list.count() && list.name_at(self.next) == rel {
            let is_same = list.stamp_at(self.next) == document.stamp;
            self.next += 1;
            if is_same {
                return self.unchanged(dir, document);
            }
            self.counts.changed += 1;
            self.block(dir).push_changed(document);
        } else {
            self.counts.gone += 1;
            self.block(dir).push_gone(document);
        }
    }

    fn unchanged(&mut self, dir: &str, document: Known) {
        if document.trusted && (self.request.is_current)(document.tag) {
            self.counts.current += 1;
        } else {
            self.counts.untrusted += 1;
            self.block(dir).push_untrusted(document);
        }
    }

    fn rest(&mut self) {
        let Some(list) = self.list else { return };
        for at in self.next..list.count() {
            self.push_new(list, at);
        }
    }

    fn push_new(&mut self, list: &dyn Listed, at: usize) {
        self.counts.new += 1;
        let (dir, name) = list.name_at(at).rsplit_once('/').unwrap_or(("", list.name_at(at)));
        self.block(dir).push_new(name);
    }

    fn block(&mut self, dir: &str) -> &mut Block {
        if !self.blocks.contains_key(dir) {
            let dir: Arc<str> = Arc::from(dir);
            self.blocks.insert(Arc::clone(&dir), Block::of(dir, 0));
        }
        self.blocks.entry(Arc::from(dir)).or_insert_with(|| Block::of(Arc::from(dir), 0))
    }
}
