//! Other projects: the results of a target there are the documents of a source here (`path = "project:../ocr#text"`).
//!
//! Read from that project's store aside: nothing is written there and its owner may build meanwhile. A document counts as
//! it was finished last; what failed there is none here, and is counted. Decides nothing of this project.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::document::Document;
use crate::engine::modules::hash_file;
use crate::engine::requests::{INLINE, merged, origin};
use crate::engine::sets::{above, before, file_of, given_content, id_of, stored};
use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Output, Place, Position, State};
use crate::model::document::{DocId, Meta, Stamp, unescape_name};
use crate::model::folder;
use crate::model::pipeline::{Node, OtherProject, Pipeline, Source, TargetIx, Verb};
use crate::plan::family::{Families, FamilyIx, Input, Origin};
use crate::scan::{Given, GivenBody, GivenDocument, Giver, Kept, Listed, Roots, row_name};
use crate::store::{Entry, Store};
use crate::text::{self, count};

/// Where the documents of each source of a pipeline lie.
pub fn roots(pipeline: &Pipeline) -> Vec<Arc<Roots>> {
    pipeline.sources.iter().map(|source| Arc::new(roots_of(source))).collect()
}

/// Where the documents of a source lie.
pub fn roots_of(source: &Source) -> Roots {
    let roots = Roots::open(source);
    match &source.project {
        Some(project) => roots.given_by(Arc::new(Other::new(project, &source.name))),
        None => roots,
    }
}

/// The id that a document of a source has in the project that it comes from.
pub fn id_there(id: &DocId) -> DocId {
    DocId::parse(unescape_name(id.rel()).to_string_lossy())
}

/// A target of another project.
#[derive(Debug)]
pub struct Other {
    project: OtherProject,
    /// The source here.
    source: String,
    missing: Vec<String>,
    listed: Mutex<Option<Arc<Listing>>>,
    /// By name: the stamps that files of sources there had when they were read.
    files: Mutex<HashMap<String, Option<Stamp>>>,
}

/// What a target of another project has.
struct Listing {
    /// As it was when this was read.
    state: Option<Digest>,
    store: Arc<Store>,
    pipeline: Pipeline,
    families: Families,
    roots: Vec<Arc<Roots>>,
    /// In byte order of names.
    items: Vec<Item>,
    note: String,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("items", &self.items.len()).finish_non_exhaustive()
    }
}

struct Item {
    name: String,
    stamp: Stamp,
    family: FamilyIx,
    place: Input,
    /// The story in which it was finished.
    story: Position,
}

thread_local! {
    /// What is being read just now, the first asked for first: a project may take from one that takes from it.
    static READING: RefCell<Vec<(PathBuf, String)>> = const { RefCell::new(Vec::new()) };
}

/// A target is being read; until this is dropped, whoever comes back to it goes in a circle.
struct Reading;

impl Reading {
    fn begin(project: &OtherProject) -> Option<Reading> {
        let one = (project.root.clone(), project.target.clone());
        READING.with_borrow_mut(|reading| {
            let is_new = !reading.contains(&one);
            is_new.then(|| {
                reading.push(one);
                Reading
            })
        })
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        READING.with_borrow_mut(|reading| drop(reading.pop()));
    }
}

/// What is no document here.
#[derive(Default)]
struct Left {
    /// All documents that there are, and whether the story of one tells of the target.
    seen: u64,
    is_told: bool,
    failed: u64,
    unfinished: u64,
    folders: u64,
}

impl Left {
    fn note(&self, project: &OtherProject) -> String {
        let some = |count: u64, what: &str| (count > 0).then(|| format!("{} {what}", text::thousands(count)));
        let parts = [
            some(self.failed, "failed there"),
            some(self.unfinished, "not done there yet"),
            some(self.folders, "a folder there, which is no document"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return String::new();
        }
        format!("of `{}` in {}: {}", project.target, project.written, parts.join(", "))
    }
}

impl Other {
    fn new(project: &OtherProject, source: &str) -> Self {
        let is_there = project.root.is_dir();
        Other {
            missing: if is_there { Vec::new() } else { vec![project.written.clone()] },
            project: project.clone(),
            source: source.to_owned(),
            listed: Mutex::default(),
            files: Mutex::default(),
        }
    }

    fn listing(&self) -> Result<Arc<Listing>> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listed.as_ref() {
            return Ok(Arc::clone(listing));
        }
        let _reading = Reading::begin(&self.project).ok_or_else(|| self.in_a_circle())?;
        let read = Arc::new(self.read_all()?);
        *listed = Some(Arc::clone(&read));
        Ok(read)
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::unfinished(format!("source `{}`: {what}", self.source))
    }

    fn in_a_circle(&self) -> Error {
        let OtherProject { written, target, .. } = &self.project;
        self.error(format!("`{target}` in {written} is made of what is made of it, by way of other projects"))
            .hint("one of them must take its documents from elsewhere")
    }

    fn never_built(&self) -> Error {
        let OtherProject { written, target, .. } = &self.project;
        self.error(format!("`{target}` in {written} was never built"))
            .hint(format!("pipe -C {written} build {target}"))
    }

    fn read_all(&self) -> Result<Listing> {
        let OtherProject { written, root, store, target } = &self.project;
        let state = self.state();
        let file = crate::pipelinefile::discover(root).filter(|file| file.parent() == Some(root));
        let Some(file) = file else {
            return Err(self.error(format!("there is no Pipelinefile in {written}")));
        };
        let (Some(loaded), _) = crate::pipelinefile::inspect(&file, &[]) else {
            return Err(self
                .error(format!("the Pipelinefile of {written} has mistakes"))
                .hint(format!("pipe -C {written} check")));
        };
        let pipeline = loaded.pipeline;
        let Some(ix) = pipeline.find_target(target) else {
            let names = pipeline.targets.iter().map(|target| target.name.as_str());
            let error = self.error(format!("there is no target `{target}` in {written}"));
            return Err(match text::nearest(target, names) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("pipe -C {written} graph    shows its targets")),
            });
        };
        let of_it = |error: Error| error.caused_by(format!("source `{}` reads it", self.source));
        let Some(store) = Store::open_aside(store).map_err(of_it)? else { return Err(self.never_built()) };
        let all = (0..pipeline.targets.len()).map(TargetIx).collect();
        let families = Families::new(&pipeline, &all);
        let roots = roots(&pipeline);
        let mut listing =
            Listing { state, store, pipeline, families, roots, items: Vec::new(), note: String::new() };
        if !listing.fill(ix, &self.project)? {
            return Err(self.never_built());
        }
        Ok(listing)
    }

    /// The bytes of a file of a source there, if it is still the one that was built.
    fn body_of_file(&self, rel: &str, path: PathBuf, digest: Digest) -> Result<Option<GivenBody>> {
        let stamp = Self::stamp_of_file(&path);
        self.files.lock().unwrap_or_else(PoisonError::into_inner).insert(rel.to_owned(), stamp);
        let Ok(length) = std::fs::metadata(&path).map(|found| found.len()) else { return Ok(None) };
        if length <= INLINE {
            let bytes = crate::fs::read_optional(&path)?;
            return Ok(bytes
                .filter(|bytes| Digest::of(bytes) == digest)
                .map(|bytes| GivenBody::Bytes(bytes.into())));
        }
        Ok((hash_file(&path).ok() == Some(digest)).then_some(GivenBody::File { path, length }))
    }

    fn stamp_of_file(path: &Path) -> Option<Stamp> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        let mut hasher = FieldHasher::new("pipe file of another project");
        for number in
            [found.dev(), found.ino(), found.size(), found.mtime() as u64, found.mtime_nsec() as u64]
        {
            hasher.number(number);
        }
        Some(Stamp(hasher.finish().prefix()))
    }
}

impl Listing {
    /// Lists all documents of a target; whether it was ever built.
    fn fill(&mut self, target: TargetIx, project: &OtherProject) -> Result<bool> {
        let of = self.pipeline.target(target);
        let (mut left, mut items) = (Left::default(), Vec::new());
        for (ix, place) in self.families.of_stream(Node::Target(target)) {
            let name = &self.families.family(ix).name;
            let mut failed = None;
            self.store.scan(name, &mut |dir, entry| {
                let listed = self.item(ix, place, dir, entry, &mut left);
                match listed {
                    Ok(item) => items.extend(item),
                    Err(error) => failed = Some(error),
                }
                failed.is_none()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        // Of a target that was never built no story tells; where there are no documents, none can.
        let is_empty = of.verb == Verb::Each && left.seen == 0 && !self.store.runs()?.is_empty();
        let was_built = left.is_told || is_empty;
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        self.items = items;
        self.note = left.note(project);
        Ok(was_built)
    }

    /// A document as it was finished last; nothing if it has no result.
    fn item(
        &self,
        ix: FamilyIx,
        place: Input,
        dir: &str,
        entry: &Entry,
        left: &mut Left,
    ) -> Result<Option<Item>> {
        if entry.flags.gone {
            return Ok(None);
        }
        let family = self.families.family(ix);
        let Input::Step(step) = place else { return Ok(None) };
        let target = &self.pipeline.target(family.steps[step].target).name;
        let mut story = entry.story;
        left.seen += 1;
        let state = loop {
            let Some(told) = before(&self.store, story)? else { return Ok(None) };
            left.is_told |= told.entry(target).is_some();
            let state = told.entry(target).map_or(State::Unfinished, |entry| entry.state);
            match told.story.previous {
                // Interrupted, or on its way just now: what was before stands.
                Some(previous) if state == State::Unfinished => story = previous,
                _ => break state,
            }
        };
        match state {
            State::Failed | State::Blocked => left.failed += 1,
            State::Unfinished => left.unfinished += 1,
            State::Done | State::Skipped | State::LeftOut | State::Absent => {}
        }
        if state != State::Done {
            return Ok(None);
        }
        let id = id_of(&family.name, dir, &entry.name);
        let name = row_name(id.as_str());
        let Some((document, output)) = self.document(ix, place, &id, &Entry { story, ..entry.clone() })?
        else {
            left.unfinished += 1;
            return Ok(None);
        };
        if output.ext == folder::EXT {
            left.folders += 1;
            return Ok(None);
        }
        let stamp = stamp_of(&output, &merged(document.layers(family, place)));
        Ok(Some(Item { name, stamp, family: ix, place, story }))
    }

    /// A document of the target with its result.
    fn document(
        &self,
        ix: FamilyIx,
        place: Input,
        id: &DocId,
        entry: &Entry,
    ) -> Result<Option<(Document, Output)>> {
        let family = self.families.family(ix);
        let found = stored(&self.store, &self.pipeline, (ix, family), id.clone(), entry, &|_| true)?;
        let Some(mut document) = found else { return Ok(None) };
        if let Origin::Source(source) = family.origin {
            given_content(&self.roots[source.0], &mut document)?;
        }
        if family.is_children() {
            let dir = id.place().0;
            document.above = above(&self.store, &self.pipeline, &self.families, &self.roots, ix, dir)?;
        }
        let Input::Step(step) = place else { return Ok(None) };
        let output = document.results[step].as_ref().and_then(|result| result.output()).cloned();
        Ok(output.map(|output| (document, output)))
    }

    fn find(&self, rel: &str) -> Option<&Item> {
        let at = self.items.partition_point(|item| item.name.as_str() < rel);
        self.items.get(at).filter(|item| item.name == rel)
    }
}

/// The bytes of a result, proved; nothing if they are gone or wrong.
fn stored_body(store: &Store, output: &Output) -> Result<Option<GivenBody>> {
    if output.place == Place::Blob {
        let path = store.proved_blob(output)?;
        return Ok(path.map(|path| GivenBody::File { path, length: output.length }));
    }
    Ok(store.output_bytes(output)?.map(GivenBody::Bytes))
}

/// The file of a result that passes its source on; nothing where that is held.
fn file_of_origin(listing: &Listing, origin: Origin, document: &Document) -> Option<PathBuf> {
    let Origin::Source(source) = origin else { return None };
    file_of(&listing.roots[source.0], document)
}

/// Another if the result, or anything that is known of it, is another.
fn stamp_of(output: &Output, meta: &Meta) -> Stamp {
    let mut hasher = FieldHasher::new("pipe result of another project");
    let meta = serde_json::Value::Object(meta.clone()).to_string();
    hasher.bytes(&output.digest.0).text(&output.ext).text(&meta);
    Stamp(hasher.finish().prefix())
}

impl Listed for Listing {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn name_at(&self, at: usize) -> &str {
        &self.items[at].name
    }

    fn stamp_at(&self, at: usize) -> Stamp {
        self.items[at].stamp
    }

    fn note(&self) -> &str {
        &self.note
    }
}

impl Giver for Other {
    fn state(&self) -> Option<Digest> {
        let log = Store::state_aside(&self.project.store).ok()??;
        let file = hash_file(&self.project.root.join(crate::pipelinefile::FILE_NAME)).ok()?;
        let mut hasher = FieldHasher::new("pipe state of another project");
        Some(hasher.bytes(&log.0).bytes(&file.0).text(&self.project.target).finish())
    }

    fn list(&self) -> Result<Arc<dyn Listed>> {
        let listing: Arc<dyn Listed> = self.listing()?;
        Ok(listing)
    }

    fn forget(&self) {
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn read(&self, rel: &str) -> Result<Given> {
        let listing = self.listing()?;
        let Some(item) = listing.find(rel) else { return Ok(Given::Absent) };
        let id = DocId::parse(unescape_name(rel).to_string_lossy());
        let family = listing.families.family(item.family);
        let (dir, name) = id.place();
        let Some(entry) = listing.store.entry(&family.name, dir, name)? else { return Ok(Given::Absent) };
        let entry = Entry { story: item.story, ..entry };
        let Some((document, output)) = listing.document(item.family, item.place, &id, &entry)? else {
            return Ok(Given::Absent);
        };
        let broken = |problem| Ok(Given::Broken { problem, stamp: item.stamp });
        let body = match origin(family, &document, item.place) {
            Input::Step(step) => match document.results[step].as_ref().and_then(|result| result.output()) {
                Some(made) => stored_body(&listing.store, made)?,
                None => None,
            },
            Input::Origin => match file_of_origin(&listing, family.origin, &document) {
                Some(file) => self.body_of_file(rel, file, output.digest)?,
                None => {
                    document.content.as_ref().and_then(|content| content.bytes.clone()).map(GivenBody::Bytes)
                }
            },
        };
        let Some(body) = body else {
            let written = &self.project.written;
            return broken(format!("gone or another by now in {written}: pipe -C {written} build"));
        };
        let meta = merged(document.layers(family, item.place));
        let (digest, ext, stamp) = (output.digest, output.ext, item.stamp);
        Ok(Given::Document(Box::new(GivenDocument { body, digest, ext, meta, stamp })))
    }

    fn stamp(&self, rel: &str) -> Option<Stamp> {
        let listing = self.listing().ok()?;
        let item = listing.find(rel)?;
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(read) = files.get(rel) else { return Some(item.stamp) };
        let id = DocId::parse(unescape_name(rel).to_string_lossy());
        let Origin::Source(source) = listing.families.family(item.family).origin else { return None };
        let now = Self::stamp_of_file(&listing.roots[source.0].path_of(id.rel()));
        (now == *read).then_some(item.stamp)
    }

    fn check(&self) -> Result<()> {
        self.listing().map(drop)
    }

    fn missing(&self) -> &[String] {
        &self.missing
    }

    fn state_to_keep(&self) -> Option<Kept> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let listing = listed.as_ref()?;
        // It was written to while it was read: the next build reads again.
        let state = listing.state.filter(|state| self.state() == Some(*state))?;
        Some(Kept { state, note: listing.note.clone() })
    }
}

/// What a source takes of another project, for people: how many documents there are, and what was left out.
pub fn told(source: &Source) -> Option<Result<(u64, String)>> {
    let project = source.project.as_ref()?;
    let listing = Other::new(project, &source.name).listing();
    Some(listing.map(|listing| {
        let documents = count(listing.items.len() as u64, "document");
        let note = match listing.note.as_str() {
            "" => documents,
            note => format!("{documents}; {note}"),
        };
        (listing.items.len() as u64, note)
    }))
}
