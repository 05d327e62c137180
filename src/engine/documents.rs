//! Documents as the store has them: how they stand by their newest story, for questions and listings.
//!
//! Reads pages, stories and records; decides nothing and opens no source file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::document::{Before, Content, Document, StepResult};
use crate::engine::others;
use crate::engine::requests::{merged, origin};
use crate::engine::sets::{above, before, content_of_given, given_content, id_of, result_of};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{Output, Place, State};
use crate::model::document::{DocId, DocNumber, Meta};
use crate::model::pipeline::{Node, Pipeline, TargetIx};
use crate::plan::family::{Families, Family, FamilyIx, Input, Origin};
use crate::scan::{Given, GivenBody, Roots};
use crate::store::{Entry, Store};

/// The documents of a store, seen through a pipeline.
pub struct Documents<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The store.
    pub store: &'a Arc<Store>,
    /// All families of the pipeline.
    pub families: Families,
    roots: Vec<Arc<Roots>>,
}

/// How much of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One place, and what its bytes come from.
    Place,
    /// All its results: meta is inherited.
    All,
}

/// A document of a stream, in whatever state.
pub struct Passing<'a> {
    /// The document.
    pub document: &'a Document,
    /// Its family.
    pub family: &'a Family,
    /// Where it stands in the stream.
    pub place: Input,
    /// How.
    pub state: State,
}

impl Passing<'_> {
    /// What stands there; nothing for a document of a source.
    pub fn result(&self) -> Option<&StepResult> {
        match self.place {
            Input::Origin => None,
            Input::Step(step) => self.document.results[step].as_ref(),
        }
    }

    /// All meta that the document has at its place: its own, over what it inherits.
    pub fn meta(&self) -> Meta {
        merged(self.document.layers(self.family, self.place))
    }
}

/// Where the bytes of a place are.
pub enum Bytes<'a> {
    /// In the store.
    Stored(&'a Output),
    /// The document's own file, and the digest that it had.
    Source(PathBuf, Option<Digest>),
    /// Held: as it is now, and the digest that it had.
    Row(Vec<u8>, Option<Digest>),
}

impl<'a> Documents<'a> {
    /// All that a pipeline has.
    pub fn new(pipeline: &'a Pipeline, store: &'a Arc<Store>) -> Self {
        let families = Families::new(pipeline, &(0..pipeline.targets.len()).map(TargetIx).collect());
        let roots = others::roots(pipeline);
        Documents { pipeline, store, families, roots }
    }

    /// By source: where it lies.
    pub fn roots(&self) -> &[Arc<Roots>] {
        &self.roots
    }

    /// A document by its entry; nothing if its story cannot be read.
    pub fn open(&self, ix: FamilyIx, dir: &str, entry: &Entry) -> Result<Option<Document>> {
        let Some(found) = before(self.store, entry.story)? else { return Ok(None) };
        self.as_told(ix, dir, entry, found).map(Some)
    }

    /// A document as it stood by one of its stories.
    pub fn as_told(&self, ix: FamilyIx, dir: &str, entry: &Entry, told: Before) -> Result<Document> {
        let mut document = self.bare(ix, dir, entry, told);
        self.fill(&mut document, 0..self.families.family(ix).steps.len())?;
        self.with_given(&mut document)?;
        self.inherit(&mut document)?;
        Ok(document)
    }

    /// A document that has no story yet.
    pub fn unknown(&self, ix: FamilyIx, id: DocId, dir: &str, name: &str) -> Document {
        let family = self.families.family(ix);
        Document { dir: Arc::from(dir), name: name.to_owned(), ..Document::unknown(ix, family, id) }
    }

    fn bare(&self, ix: FamilyIx, dir: &str, entry: &Entry, found: Before) -> Document {
        let family = self.families.family(ix);
        let id = id_of(&family.name, dir, &entry.name);
        Document {
            number: entry.doc,
            names: found.story.names,
            story: Some(entry.story),
            stamp: entry.stamp,
            racy: entry.flags.racy,
            digest: found.story.content,
            before: Some(found),
            ..self.unknown(ix, id, dir, &entry.name)
        }
    }

    fn fill(&self, document: &mut Document, steps: impl IntoIterator<Item = usize>) -> Result<()> {
        let Some(found) = document.before.clone() else { return Ok(()) };
        for step in steps {
            let target = self.families.family(document.family).steps[step].target;
            document.results[step] = result_of(self.store, &found, &self.pipeline.target(target).name)?;
        }
        Ok(())
    }

    /// A child has the meta of what it was split from.
    fn inherit(&self, document: &mut Document) -> Result<()> {
        if self.families.family(document.family).is_children() {
            let dir = Arc::clone(&document.dir);
            document.above =
                above(self.store, self.pipeline, &self.families, &self.roots, document.family, &dir)?;
        }
        Ok(())
    }

    /// Visits the documents of a stream in byte order of ids, in whatever state, as long as `visit` says true.
    pub fn visit(
        &self,
        stream: Node,
        depth: Depth,
        visit: &mut dyn FnMut(&Passing<'_>) -> Result<bool>,
    ) -> Result<()> {
        let mut families = self.families.of_stream(stream);
        families.sort_by_key(|(ix, _)| {
            let family = self.families.family(*ix);
            crate::engine::sets::order(&self.families, *ix, family)
        });
        for (ix, place) in families {
            let mut outcome = Ok(true);
            self.store.scan(&self.families.family(ix).name, &mut |dir, entry| {
                outcome = self.visit_entry(ix, place, dir, entry, depth, visit);
                matches!(outcome, Ok(true))
            })?;
            if !outcome? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn visit_entry(
        &self,
        ix: FamilyIx,
        place: Input,
        dir: &str,
        entry: &Entry,
        depth: Depth,
        visit: &mut dyn FnMut(&Passing<'_>) -> Result<bool>,
    ) -> Result<bool> {
        if entry.flags.gone {
            return Ok(true);
        }
        let Some(found) = before(self.store, entry.story)? else { return Ok(true) };
        let family = self.families.family(ix);
        let mut document = self.bare(ix, dir, entry, found);
        match (depth, place) {
            (Depth::All, _) => {
                self.fill(&mut document, 0..family.steps.len())?;
                self.with_given(&mut document)?;
                self.inherit(&mut document)?;
            }
            (Depth::Place, Input::Step(step)) => {
                self.fill(&mut document, [step])?;
                let output = document.results[step].as_ref().and_then(StepResult::output);
                if output.is_some_and(|output| output.place == Place::Input) {
                    self.fill(&mut document, 0..step)?;
                }
            }
            (Depth::Place, Input::Origin) => self.with_given(&mut document)?,
        }
        let state = state_at(&document, place);
        visit(&Passing { document: &document, family, place, state })
    }

    /// The bytes of a place; nothing where there is no result.
    pub fn bytes<'d>(&self, document: &'d Document, place: Input) -> Option<Bytes<'d>> {
        let family = self.families.family(document.family);
        match origin(family, document, place) {
            Input::Origin if document.is_given => match self.given(document)? {
                GivenBody::Bytes(bytes) => Some(Bytes::Row(bytes.to_vec(), document.digest)),
                GivenBody::File { path, .. } => Some(Bytes::Source(path, document.digest)),
            },
            Input::Origin => Some(Bytes::Source(self.source_path(document)?, document.digest)),
            Input::Step(step) => document.results[step].as_ref()?.output().map(Bytes::Stored),
        }
    }

    /// The content of what is no file, where it is still the one that was built: it brings meta.
    fn with_given(&self, document: &mut Document) -> Result<()> {
        match self.families.family(document.family).origin {
            Origin::Source(ix) => given_content(&self.roots[ix.0], document),
            Origin::Set(_) | Origin::Children(_) | Origin::Group(_) | Origin::Merges(_) => Ok(()),
        }
    }

    /// What is no file, as it is now; nothing if it is one, or cannot be read.
    pub fn given(&self, document: &Document) -> Option<GivenBody> {
        let Origin::Source(ix) = self.families.family(document.family).origin else { return None };
        match self.roots[ix.0].giver()?.read(document.id.rel()).ok()? {
            Given::Document(given) => Some(given.body),
            _ => None,
        }
    }

    /// The file of a document of a source.
    pub fn source_path(&self, document: &Document) -> Option<PathBuf> {
        match self.families.family(document.family).origin {
            Origin::Source(ix) => Some(self.roots[ix.0].path_of(document.id.rel())),
            Origin::Set(_) | Origin::Children(_) | Origin::Group(_) | Origin::Merges(_) => None,
        }
    }

    /// The document of a source that a file is: (its family, its path in it).
    pub fn of_file(&self, path: &Path) -> Option<(FamilyIx, String)> {
        self.families.list.iter().enumerate().find_map(|(ix, family)| match family.origin {
            Origin::Source(_) if family.given => None,
            Origin::Source(source) => Some((FamilyIx(ix), self.roots[source.0].rel_of(path)?)),
            Origin::Set(_) | Origin::Children(_) | Origin::Group(_) | Origin::Merges(_) => None,
        })
    }

    /// The id of a document by its number. Numbers are not indexed: a pass over the pages finds it.
    pub fn name_of(&self, number: DocNumber) -> Result<Option<String>> {
        let mut name = None;
        for family in self.store.families() {
            self.store.scan(&family, &mut |dir, entry| {
                if entry.doc == number {
                    name = Some(id_of(&family, dir, &entry.name).to_string());
                }
                name.is_none()
            })?;
            if name.is_some() {
                break;
            }
        }
        Ok(name)
    }

    /// Asks the file system for the size of a document's file and what it is, which `size` and `mime` in a test may want.
    pub fn with_look(&self, document: &mut Document) {
        let digest = document.digest.unwrap_or_default();
        if document.is_given && document.content.is_some() {
            return;
        }
        if document.is_given {
            // As it is now, also where another one was built.
            if let Origin::Source(ix) = self.families.family(document.family).origin
                && let Some(giver) = self.roots[ix.0].giver()
                && let Ok(Given::Document(given)) = giver.read(document.id.rel())
            {
                document.content = Some(content_of_given(*given));
            }
            return;
        }
        let Some(path) = self.source_path(document) else { return };
        let Ok(metadata) = std::fs::metadata(&path) else { return };
        let mime = crate::scan::mime_of_file(&path, &document.id.ext());
        let (length, mime) = (metadata.len(), Some(mime.to_owned()));
        document.content = Some(Content { digest, length, bytes: None, mime, given: None, path });
    }
}

/// How a document stands at a place.
pub fn state_at(document: &Document, place: Input) -> State {
    match place {
        Input::Origin if document.digest.is_some() => State::Done,
        Input::Origin if document.before.is_some() => State::Failed,
        Input::Origin => State::Unfinished,
        Input::Step(step) => document.results[step].as_ref().map_or(State::Unfinished, |result| result.state),
    }
}
