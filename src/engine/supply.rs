//! Which documents a stratum opens next, in order: those that differ, read as they are needed.
//!
//! The first stratum takes what the scans found; a later one reads the pages of the index again (what waits for a set is
//! not held in memory). Sets come first in their stratum.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use crate::engine::groups::{Found, Touched};
use crate::engine::sets::{id_of, is_named};
use crate::error::{Error, Result, io_text};
use crate::model::action::Position;
use crate::model::document::{DocId, DocNumber, GROUPS, MERGES};
use crate::model::selection::Glob;
use crate::plan::family::FamilyIx;
use crate::scan::{Kind, Known, Scan};
use crate::store::{Entry, Store};

/// A document that is to be opened.
#[derive(Clone, Debug)]
pub(super) struct Unopened {
    /// Its family.
    pub family: FamilyIx,
    /// Its folder in the index.
    pub dir: Arc<str>,
    /// Its name there; empty for a set.
    pub name: String,
    /// Its number.
    pub number: DocNumber,
    /// The frame that names it, if it was named just now.
    pub names: Option<Position>,
    /// What is known of it from before.
    pub why: Why,
    /// Of a group: its members.
    pub group: Option<Box<Found>>,
}

/// Why a document is opened.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// Not seen before; it may have been there earlier.
    New(Option<Entry>),
    /// Its file has another stamp, or one that proves nothing.
    Changed(Known),
    /// Its file is as it was.
    Look(Known),
    /// It is gone.
    Gone(Known),
    /// A later stratum, or a set.
    Again(Option<Entry>),
}

/// How many new names are given numbers at once.
const NAMES: usize = 128;
/// How many entries are read ahead from the pages.
const AHEAD: usize = 64;

/// Documents in order.
pub(super) struct Supply<'a> {
    ready: VecDeque<Unopened>,
    parts: VecDeque<Part<'a>>,
    docs: Option<&'a Glob>,
    only: Option<&'a (dyn Fn(&DocId) -> bool + Sync)>,
}

enum Part<'a> {
    Set(FamilyIx, String),
    Found {
        family: FamilyIx,
        name: String,
        found: Box<dyn Iterator<Item = crate::scan::Found> + 'a>,
        held: Option<crate::scan::Found>,
    },
    Pages {
        family: FamilyIx,
        name: String,
        batches: Receiver<Vec<(Arc<str>, Entry)>>,
    },
    Groups {
        family: FamilyIx,
        name: String,
        touched: Receiver<Touched>,
    },
}

impl<'a> Supply<'a> {
    /// Nothing yet; `docs` limits documents of sources, `only` is a sample.
    pub(super) fn new(docs: Option<&'a Glob>, only: Option<&'a (dyn Fn(&DocId) -> bool + Sync)>) -> Self {
        Supply { ready: VecDeque::new(), parts: VecDeque::new(), docs, only }
    }

    /// The one document of a set.
    pub(super) fn add_set(&mut self, family: FamilyIx, name: &str) {
        self.parts.push_back(Part::Set(family, name.to_owned()));
    }

    /// The groups that are touched.
    pub(super) fn add_groups(&mut self, family: FamilyIx, name: &str, touched: Receiver<Touched>) {
        self.parts.push_back(Part::Groups { family, name: name.to_owned(), touched });
    }

    /// What a scan found.
    pub(super) fn add_scan(&mut self, family: FamilyIx, scan: &'a Scan) {
        let found = Box::new(scan.found.iter());
        self.parts.push_back(Part::Found { family, name: scan.source.clone(), found, held: None });
    }

    /// The documents of a family's pages that `wanted` picks, read on a thread of their own.
    pub(super) fn add_pages(
        &mut self,
        scope: &'a std::thread::Scope<'a, '_>,
        store: &'a Store,
        family: FamilyIx,
        name: &str,
        wanted: impl Fn(&Entry) -> bool + Send + 'a,
    ) -> Result<()> {
        let (sender, batches) = sync_channel(8);
        let family_name = name.to_owned();
        let read = move || {
            let mut batch = Vec::with_capacity(AHEAD);
            let mut last: Arc<str> = Arc::from("");
            let scanned = store.scan(&family_name, &mut |dir, entry| {
                if entry.flags.gone || !wanted(entry) {
                    return true;
                }
                if *last != *dir {
                    last = Arc::from(dir);
                }
                batch.push((Arc::clone(&last), entry.clone()));
                batch.len() < AHEAD || sender.send(std::mem::take(&mut batch)).is_ok()
            });
            if let Err(error) = scanned {
                tracing::warn!(%error, "a pass over the index ended early");
            }
            // Nobody waits for the rest after a stop.
            drop(sender.send(batch));
        };
        std::thread::Builder::new().name("supply".into()).spawn_scoped(scope, read).map_err(|e| {
            Error::unfinished("cannot start the thread that reads pages").caused_by(io_text(&e))
        })?;
        self.parts.push_back(Part::Pages { family, name: name.to_owned(), batches });
        Ok(())
    }

    /// Single documents of a family, as the index has them.
    pub(super) fn add_entries(&mut self, family: FamilyIx, name: &str, entries: Vec<(Arc<str>, Entry)>) {
        let (sender, batches) = sync_channel(1);
        // There is room for one.
        drop(sender.send(entries));
        self.parts.push_back(Part::Pages { family, name: name.to_owned(), batches });
    }

    /// The next document. New ones have their number, and their names are in the log.
    pub(super) fn next(&mut self, store: &Store) -> Result<Option<Unopened>> {
        loop {
            if let Some(unopened) = self.ready.pop_front() {
                return Ok(Some(unopened));
            }
            let Some(part) = self.parts.front_mut() else { return Ok(None) };
            let more = match part {
                Part::Set(family, name) => {
                    let (family, name) = (*family, name.clone());
                    self.open_set(store, family, &name)?;
                    false
                }
                Part::Found { .. } => self.take_found(store)?,
                Part::Pages { .. } => self.take_pages(),
                Part::Groups { .. } => self.take_group(store)?,
            };
            if !more {
                self.parts.pop_front();
            }
        }
    }

    fn lets_in(&self, id: &DocId) -> bool {
        self.docs.is_none_or(|glob| is_named(glob, id)) && self.only.is_none_or(|only| only(id))
    }

    fn take_group(&mut self, store: &Store) -> Result<bool> {
        let Some(Part::Groups { family, name, touched }) = self.parts.front() else { return Ok(false) };
        let Ok(Touched { found, entry }) = touched.recv() else { return Ok(false) };
        let id = DocId::in_source(name.trim_end_matches([GROUPS, MERGES]), &found.value);
        let (dir, last) = id.place();
        let (number, names) = if let Some(entry) = &entry {
            (entry.doc, None)
        } else {
            let (number, names) = store.name_documents(name, dir, &[last.to_owned()])?;
            (number, Some(names))
        };
        self.ready.push_back(Unopened {
            family: *family,
            dir: Arc::from(dir),
            name: last.to_owned(),
            number,
            names,
            why: Why::Again(entry),
            group: Some(Box::new(found)),
        });
        Ok(true)
    }

    fn open_set(&mut self, store: &Store, family: FamilyIx, name: &str) -> Result<()> {
        let entry = store.entry(name, "", "")?;
        let (number, names) = if let Some(entry) = &entry {
            (entry.doc, None)
        } else {
            let (number, names) = store.name_documents(name, "", &[String::new()])?;
            (number, Some(names))
        };
        let why = Why::Again(entry);
        self.ready.push_back(Unopened {
            family,
            dir: Arc::from(""),
            name: String::new(),
            number,
            names,
            why,
            group: None,
        });
        Ok(())
    }

    fn take_pages(&mut self) -> bool {
        let Some(Part::Pages { family, name, batches }) = self.parts.front() else { return false };
        let Ok(batch) = batches.recv() else { return false };
        for (dir, entry) in batch {
            if self.lets_in(&id_of(name, &dir, &entry.name)) {
                let unopened = Unopened {
                    family: *family,
                    dir,
                    name: entry.name.clone(),
                    number: entry.doc,
                    names: None,
                    why: Why::Again(Some(entry)),
                    group: None,
                };
                self.ready.push_back(unopened);
            }
        }
        true
    }

    /// Takes a stretch of one directory: its new names are numbered together.
    fn take_found(&mut self, store: &Store) -> Result<bool> {
        let (docs, only) = (self.docs, self.only);
        let Some(Part::Found { family, name, found, held }) = self.parts.front_mut() else {
            return Ok(false);
        };
        let Some(first) = held.take().or_else(|| found.next()) else { return Ok(false) };
        let dir = Arc::clone(&first.dir);
        let mut stretch = vec![first];
        while stretch.len() < NAMES {
            match found.next() {
                Some(next) if next.dir == dir => stretch.push(next),
                next => {
                    *held = next;
                    break;
                }
            }
        }
        let lets_in =
            |id: &DocId| docs.is_none_or(|glob| is_named(glob, id)) && only.is_none_or(|only| only(id));
        let mut waiting = Vec::new();
        let had_gone = store.has_gone(name)?;
        for found in stretch {
            if !lets_in(&id_of(name, &dir, &found.name)) {
                continue;
            }
            let why = match found.kind {
                Kind::New if had_gone => Why::New(store.entry(name, &dir, &found.name)?),
                Kind::New => Why::New(None),
                Kind::Changed(known) => Why::Changed(known),
                Kind::Untrusted(known) => Why::Look(known),
                Kind::Gone(known) => Why::Gone(known),
            };
            waiting.push((found.name.into_string(), why));
        }
        let unnamed: Vec<String> = waiting
            .iter()
            .filter(|(_, why)| matches!(why, Why::New(None)))
            .map(|(name, _)| name.clone())
            .collect();
        let mut next = None;
        if !unnamed.is_empty() {
            next = Some(store.name_documents(name, &dir, &unnamed)?);
        }
        for (name, why) in waiting {
            let (number, names) = match (&why, &mut next) {
                (Why::New(None), Some((number, names))) => {
                    let given = *number;
                    number.0 += 1;
                    (given, Some(*names))
                }
                (Why::New(Some(entry)) | Why::Again(Some(entry)), _) => (entry.doc, None),
                (Why::Changed(known) | Why::Look(known) | Why::Gone(known), _) => (known.number, None),
                (Why::New(None) | Why::Again(None), _) => continue,
            };
            self.ready.push_back(Unopened {
                family: *family,
                dir: Arc::clone(&dir),
                name,
                number,
                names,
                why,
                group: None,
            });
        }
        Ok(true)
    }
}
