//! The members of a set: who they are, and how complete it is.
//!
//! Members are read from the records in order of id; nothing is held in memory but what is being read
//! (`semantics.md` 17 to 19). Knows nothing of keys, manifests or scheduling.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::engine::Parts;
use crate::engine::decide::Deciding;
use crate::engine::document::{Before, Content, Document, Facts, MainInput, StepResult};
use crate::engine::lookup::Lookup;
use crate::engine::members::{Group, visit_group};
use crate::engine::sites::Sites;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{Output, Place, Position, State};
use crate::model::document::{DocId, Meta, unescape_name};
use crate::model::pipeline::{Pipeline, Target, TargetIx};
use crate::model::selection::{Field, Glob, IdPart, Test};
use crate::plan::family::{Families, Family, FamilyIx, Input, Origin};
use crate::scan::{Given, GivenBody, GivenDocument, Roots};
use crate::store::{Entry, Store};

/// One document of a stream that has a result there.
pub struct Member<'a> {
    /// Its id.
    pub id: &'a DocId,
    /// Of its bytes.
    pub digest: Digest,
    /// Its extension.
    pub ext: String,
    /// What the module sees of it beside id and bytes, as it enters the key.
    pub facts: Meta,
    /// The output; absent for a document of a source.
    pub output: Option<&'a Output>,
    /// The record of the output.
    pub act: Option<Position>,
    /// The source file, for a document of a source.
    pub path: Option<PathBuf>,
    /// The content of a row.
    pub row: Option<Arc<[u8]>>,
}

impl Member<'_> {
    /// Its facts as they enter the key.
    pub(super) fn facts_text(&self) -> String {
        Value::Object(self.facts.clone()).to_string()
    }
}

/// How complete a stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Members with a result.
    pub done: u64,
    /// Failed, or behind a failure.
    pub missing: u64,
    /// Not decided.
    pub unfinished: u64,
    /// Of the missing: those that are in several streams of a union at once.
    pub collisions: u64,
}

impl Coverage {
    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Coverage) {
        self.done += other.done;
        self.missing += other.missing;
        self.unfinished += other.unfinished;
        self.collisions += other.collisions;
    }

    /// Which part of the members a result is over; empty if it is all.
    pub(super) fn over(&self) -> String {
        let known = self.done + self.missing;
        match self.missing {
            0 => String::new(),
            _ => format!(
                "over {} of {}{}",
                crate::text::thousands(self.done),
                crate::text::thousands(known),
                self.in_several()
            ),
        }
    }

    fn in_several(&self) -> String {
        match self.collisions {
            0 => String::new(),
            1 => "; 1 has a result in several of its streams".to_owned(),
            n => format!("; {} have results in several of its streams", crate::text::thousands(n)),
        }
    }

    /// That too many members are missing.
    pub fn too_few(&self) -> String {
        let known = crate::text::count(self.done + self.missing, "member");
        format!("{} of {known} failed{}", crate::text::thousands(self.missing), self.in_several())
    }

    /// Whether enough members succeeded.
    pub fn is_enough(&self, min_done: f64) -> bool {
        let known = self.done + self.missing;
        known == 0 || self.done as f64 >= min_done * known as f64
    }
}

/// What walking over streams needs.
pub struct Streams<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// Its families.
    pub families: &'a Families,
    /// The store.
    pub store: &'a Store,
    /// By source: where it lies.
    pub roots: &'a [Arc<Roots>],
    /// Where modules find packages.
    pub sites: &'a Arc<Sites>,
    /// Only documents that this lets in: a sample.
    pub only: Option<&'a (dyn Fn(&DocId) -> bool + Sync)>,
    /// For targets of a partial build: whether an entry's definition is up to date for the stream.
    pub is_current: Option<&'a dyn Fn(Position, TargetIx) -> bool>,
    /// Only the members of this group, in its order.
    pub group: Option<&'a Group>,
}

/// What of a document is needed beside its results where it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Results before the place itself, and what is inherited: fields of `meta` are looked up there.
    pub meta: bool,
    /// The size and the kind of its file.
    pub content: bool,
}

impl Needs {
    /// What fields ask for.
    pub fn of<'f>(fields: impl Iterator<Item = &'f Field>) -> Self {
        fields.fold(Needs { meta: false, content: false }, |needs, field| Needs {
            meta: needs.meta || matches!(field, Field::Meta(_)),
            content: needs.content || matches!(field, Field::Size | Field::Mime),
        })
    }
}

/// Tells the members of a set from what else passes, and counts.
pub(super) struct Gate<'a> {
    streams: &'a Streams<'a>,
    target: &'a Target,
    sees: &'a [Field],
    pub(super) needs: Needs,
    /// What was counted so far.
    pub(super) coverage: Coverage,
    lookup: Lookup,
}

impl<'a> Gate<'a> {
    pub(super) fn new(streams: &'a Streams<'a>, target: &'a Target, sees: &'a [Field]) -> Self {
        let needs = Needs::of(sees.iter().chain(target.test.iter().flat_map(Test::fields)));
        Gate {
            streams,
            target,
            sees,
            needs,
            coverage: Coverage::default(),
            lookup: Lookup::new(crate::engine::loads::PresentCode::new(streams.sites)),
        }
    }

    /// Counts a document, and visits it if it is a member.
    pub(super) fn pass(
        &mut self,
        passing: &Passing<'_>,
        visit: &mut dyn FnMut(&Member<'_>) -> Result<()>,
    ) -> Result<()> {
        match passing.state {
            State::Done => {}
            State::Failed | State::Blocked => {
                self.coverage.missing += 1;
                self.coverage.collisions += u64::from(passing.twice);
                return Ok(());
            }
            State::Unfinished => {
                self.coverage.unfinished += 1;
                return Ok(());
            }
            State::Skipped | State::LeftOut | State::Absent => return Ok(()),
        }
        let deciding = Deciding {
            pipeline: self.streams.pipeline,
            family: passing.family,
            store: self.streams.store,
            lookup: &mut self.lookup,
        };
        let Passing { document, place, .. } = passing;
        if let Some(test) = &self.target.test
            && !test.passes(&|field| deciding.field(document, *place, field))
        {
            return Ok(());
        }
        self.coverage.done += 1;
        let mut facts = Meta::new();
        for field in self.sees.iter().filter(|field| **field != Field::Id(IdPart::Whole)) {
            if let Some(value) = deciding.field(document, *place, field) {
                facts.insert(field.to_string(), value);
            }
        }
        let (digest, ext) = document.input_facts(*place).unwrap_or_default();
        let source = crate::engine::requests::origin(passing.family, document, *place);
        let result = if let Input::Step(step) = source { document.results[step].as_ref() } else { None };
        let path = match passing.family.origin {
            Origin::Source(ix) if source == Input::Origin => file_of(&self.streams.roots[ix.0], document),
            _ => None,
        };
        let row = document.content.as_ref().filter(|_| source == Input::Origin && path.is_none());
        visit(&Member {
            id: &document.id,
            digest,
            ext,
            facts,
            output: result.and_then(StepResult::output),
            act: result.and_then(|result| result.act),
            path,
            row: row.and_then(|row| row.bytes.clone()),
        })
    }
}

/// A document of a stream, in whatever state.
pub struct Passing<'a> {
    /// The document, its results filled from its story.
    pub document: &'a Document,
    /// Its family.
    pub family: &'a Family,
    /// Where it leaves for the stream.
    pub place: Input,
    /// How it stands there.
    pub state: State,
    /// Its entry in the index.
    pub entry: &'a Entry,
    /// It has a result in several streams of the union: it counts as failed.
    pub twice: bool,
}

impl Streams<'_> {
    /// Visits every document of a target's streams, in byte order of ids, once a place where it might leave.
    pub fn visit(
        &self,
        target: &Target,
        needs: Needs,
        visit: &mut dyn FnMut(&Passing<'_>) -> Result<()>,
    ) -> Result<()> {
        for (ix, places) in self.families_of(target) {
            let family = self.families.family(ix);
            let mut failed = None;
            self.store.scan(&family.name, &mut |dir, entry| {
                let result = self.visit_entry(ix, family, dir, entry, &places, needs, visit);
                failed = result.err();
                failed.is_none()
            })?;
            if let Some(error) = failed {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The families whose documents come to a target, in the order of their ids, with where they leave for it.
    pub(super) fn families_of(&self, target: &Target) -> Vec<(FamilyIx, Vec<Input>)> {
        let mut families: Vec<(String, FamilyIx, Vec<Input>)> = Vec::new();
        for stream in &target.streams {
            for (family, place) in self.families.of_stream(*stream) {
                if let Some((_, _, places)) = families.iter_mut().find(|(_, ix, _)| *ix == family) {
                    places.push(place);
                } else {
                    let first = order(self.families, family, self.families.family(family));
                    families.push((first, family, vec![place]));
                }
            }
        }
        families.sort_by(|a, b| a.0.cmp(&b.0));
        families.into_iter().map(|(_, ix, places)| (ix, places)).collect()
    }

    /// Visits one entry of the index, once a place where its document might leave.
    #[expect(clippy::too_many_arguments, reason = "one call; a struct would be unpacked at once")]
    pub(super) fn visit_entry(
        &self,
        ix: FamilyIx,
        family: &Family,
        dir: &str,
        entry: &Entry,
        places: &[Input],
        needs: Needs,
        visit: &mut dyn FnMut(&Passing<'_>) -> Result<()>,
    ) -> Result<()> {
        if entry.flags.gone {
            return Ok(());
        }
        let id = id_of(&family.name, dir, &entry.name);
        if self.only.is_some_and(|only| !only(&id)) {
            return Ok(());
        }
        let is_asked = |step| needs.meta || places.contains(&Input::Step(step));
        let Some(mut document) = stored(self.store, self.pipeline, (ix, family), id, entry, &is_asked)?
        else {
            return Ok(());
        };
        if let Origin::Source(source) = family.origin
            && (needs.meta || places.contains(&Input::Origin) || passes_on(&document))
        {
            given_content(&self.roots[source.0], &mut document)?;
        }
        if let Origin::Source(source) = family.origin
            && needs.content
        {
            look(&self.roots[source.0], &mut document);
        }
        if needs.meta && family.is_children() {
            document.above = above(self.store, self.pipeline, self.families, self.roots, ix, dir)?;
        }
        let state_at = |place: &Input| match place {
            Input::Origin if document.digest.is_some() => State::Done,
            Input::Origin => State::Failed,
            Input::Step(step) => match self.is_current {
                Some(is_current) if !is_current(entry.definition, family.steps[*step].target) => {
                    State::Unfinished
                }
                _ => document.results[*step].as_ref().map_or(State::Unfinished, |result| result.state),
            },
        };
        let passing = |place: &Input, state| Passing {
            document: &document,
            family,
            place: *place,
            state,
            entry,
            twice: false,
        };
        // Which of several results is meant nobody can say: it fails, as it does where each document is taken.
        if places.len() > 1 && places.iter().filter(|place| state_at(place) == State::Done).count() > 1 {
            return visit(&Passing { twice: true, ..passing(&places[0], State::Failed) });
        }
        places.iter().try_for_each(|place| visit(&passing(place, state_at(place))))
    }

    /// Visits the members of a set, and says how complete the set is.
    pub fn members(
        &self,
        ix: TargetIx,
        sees: &[Field],
        visit: &mut dyn FnMut(&Member<'_>) -> Result<()>,
    ) -> Result<Coverage> {
        let target = self.pipeline.target(ix);
        let mut gate = Gate::new(self, target, sees);
        if let Some(group) = self.group {
            return self.members_of(group, gate, target, visit);
        }
        self.visit(target, gate.needs, &mut |passing| gate.pass(passing, visit))?;
        Ok(gate.coverage)
    }
}

impl Streams<'_> {
    fn members_of(
        &self,
        group: &Group,
        mut gate: Gate<'_>,
        target: &Target,
        visit: &mut dyn FnMut(&Member<'_>) -> Result<()>,
    ) -> Result<Coverage> {
        let families = self.families_of(target);
        visit_group(group, &mut |ix, dir, name, known_as| {
            if self.families.family(ix).is_merges() {
                return self.visit_merge(ix, name, visit);
            }
            let Some((_, places)) = families.iter().find(|(family, _)| *family == ix) else { return Ok(()) };
            let family = self.families.family(ix);
            let Some(entry) = self.store.entry(&family.name, dir, name)? else { return Ok(()) };
            let needs = gate.needs;
            self.visit_entry(ix, family, dir, &entry, places, needs, &mut |passing| {
                gate.pass(passing, &mut |member| match known_as {
                    None => visit(member),
                    Some(name) => {
                        let id = DocId::parse(name);
                        let (ext, facts, path) =
                            (member.ext.clone(), member.facts.clone(), member.path.clone());
                        visit(&Member { id: &id, ext, facts, path, row: member.row.clone(), ..*member })
                    }
                })
            })
        })?;
        Ok(gate.coverage)
    }

    /// A merge as the member of another.
    fn visit_merge(
        &self,
        ix: FamilyIx,
        name: &str,
        visit: &mut dyn FnMut(&Member<'_>) -> Result<()>,
    ) -> Result<()> {
        let family = self.families.family(ix);
        let Some(entry) = self.store.entry(&family.name, "", name)? else { return Ok(()) };
        let id = id_of(&family.name, "", name);
        let found = stored(self.store, self.pipeline, (ix, family), id, &entry, &|_| true)?;
        let Some(document) = found else { return Ok(()) };
        let Some(output) = document.results[0].as_ref().and_then(StepResult::output) else { return Ok(()) };
        let mut facts = Meta::new();
        facts.insert("ext".into(), output.ext.clone().into());
        let act = document.results[0].as_ref().and_then(|result| result.act);
        let (digest, ext) = (output.digest, output.ext.clone());
        visit(&Member {
            id: &document.id,
            digest,
            ext,
            facts,
            output: Some(output),
            act,
            path: None,
            row: None,
        })
    }
}

/// By what families are put in the order of their documents' ids.
pub fn order(families: &Families, ix: FamilyIx, family: &Family) -> String {
    match family.origin {
        Origin::Set(_) => family.name.clone(),
        Origin::Source(_) => format!("{}/", family.name),
        Origin::Group(_) | Origin::Merges(_) => format!("{}/", id_of(&family.name, "", "")),
        // Behind the documents that they were split from.
        Origin::Children(_) => {
            let roots = families.roots(ix).into_iter().map(|root| format!("{}/", families.family(root).name));
            format!("{}{}", roots.min().unwrap_or_default(), family.name)
        }
    }
}

/// The id of an entry of the index.
pub fn id_of(family: &str, dir: &str, name: &str) -> DocId {
    DocId::at(family, dir, name)
}

/// The newest story with its definition; nothing if either cannot be read: then the document is decided anew.
pub fn before(store: &Store, story: Position) -> Result<Option<Before>> {
    let Some(story) = store.story(story)? else { return Ok(None) };
    let Some(definition) = store.definition(story.definition)? else { return Ok(None) };
    Ok(Some(Before { story, definition }))
}

/// How a document stood in a target by its newest story.
pub fn result_of(store: &Store, before: &Before, target: &str) -> Result<Option<StepResult>> {
    let Some(entry) = before.entry(target) else { return Ok(None) };
    let record = match entry.act {
        Some(at) => store.act(at)?,
        None => None,
    };
    let mut result = StepResult { act: entry.act, ..StepResult::bare(entry.state, entry.note.clone()) };
    result.published = entry.published;
    if record.is_none() && entry.act.is_some() {
        // The record is gone (a damaged stretch of the log): as if nothing were known.
        return Ok(None);
    }
    result.record = record;
    Ok(Some(result))
}

/// How a set, or what is behind it, stands: its state, its output, and what is said of it.
pub type SetResult = (State, Option<Output>, String);

/// How the one document of a set's family stands in one of its targets.
pub fn set_result(parts: &Parts<'_>, family: &Family, target: &str) -> Result<Option<SetResult>> {
    let Some(entry) = parts.store.entry(&family.name, "", "")? else { return Ok(None) };
    let Some(before) = before(parts.store, entry.story)? else { return Ok(None) };
    let Some(mut result) = result_of(parts.store, &before, target)? else { return Ok(None) };
    let mut output = result.output().cloned();
    // A result that passes its input on has the bytes of the step before.
    let mut step = parts.pipeline.find_target(target).and_then(|ix| family.step_of(ix));
    while let Some(found) = &output
        && found.place == Place::Input
        && let Some(at) = step
        && let Some(Input::Step(earlier)) = family.steps[at].inputs.first()
    {
        let name = &parts.pipeline.target(family.steps[*earlier].target).name;
        let Some(earlier_result) = result_of(parts.store, &before, name)? else { break };
        result.note = earlier_result.note.clone();
        let ext = found.ext.clone();
        output = earlier_result.output().cloned().map(|output| Output { ext, ..output });
        step = Some(*earlier);
    }
    Ok(Some((result.state, output, result.note)))
}

/// A document as its newest story tells it, with its results in the steps that are asked for; nothing if that story
/// cannot be read.
pub fn stored(
    store: &Store,
    pipeline: &Pipeline,
    (ix, family): (FamilyIx, &Family),
    id: DocId,
    entry: &Entry,
    is_asked: &dyn Fn(usize) -> bool,
) -> Result<Option<Document>> {
    let Some(before) = before(store, entry.story)? else { return Ok(None) };
    let mut document = Document::unknown(ix, family, id);
    for (step, place) in family.steps.iter().enumerate().filter(|(step, _)| is_asked(*step)) {
        document.results[step] = result_of(store, &before, &pipeline.target(place.target).name)?;
    }
    // What passes its input on has no bytes of its own: those before it have.
    for step in (0..family.steps.len()).rev() {
        let output = document.results[step].as_ref().and_then(StepResult::output);
        if !output.is_some_and(|output| output.place == Place::Input) {
            continue;
        }
        for input in &family.steps[step].inputs {
            if let Input::Step(input) = input
                && document.results[*input].is_none()
            {
                let name = &pipeline.target(family.steps[*input].target).name;
                document.results[*input] = result_of(store, &before, name)?;
            }
        }
    }
    Ok(Some(Document {
        number: entry.doc,
        names: before.story.names,
        story: Some(entry.story),
        stamp: entry.stamp,
        racy: entry.flags.racy,
        digest: before.story.content,
        before: Some(before),
        ..document
    }))
}

/// The meta that children inherit, as it is recorded: of the parent whose children lie in `dir`.
pub fn above(
    store: &Store,
    pipeline: &Pipeline,
    families: &Families,
    roots: &[Arc<Roots>],
    children: FamilyIx,
    dir: &str,
) -> Result<Arc<[Meta]>> {
    let Some(document) = parent_of(store, pipeline, families, roots, children, dir)? else {
        return Ok(Arc::from([]));
    };
    Ok(Arc::from(split_layers(families.family(document.family), &document, children)))
}

/// The document whose children of a family lie in `dir`, as it is recorded, with all that it inherits.
pub fn parent_of(
    store: &Store,
    pipeline: &Pipeline,
    families: &Families,
    roots: &[Arc<Roots>],
    children: FamilyIx,
    dir: &str,
) -> Result<Option<Document>> {
    let parent = DocId::parse(dir.strip_suffix('#').unwrap_or(dir));
    let (folder, name) = parent.place();
    for ix in families.parents(children) {
        let family = families.family(ix);
        if !families.of_document(&parent).any(|other| other == ix) {
            continue;
        }
        let Some(entry) = store.entry(&family.name, folder, name)? else { continue };
        let found = stored(store, pipeline, (ix, family), parent.clone(), &entry, &|_| true)?;
        let Some(mut document) = found else { continue };
        if let Origin::Source(source) = family.origin {
            given_content(&roots[source.0], &mut document)?;
        }
        if family.is_children() {
            document.above = above(store, pipeline, families, roots, ix, folder)?;
        }
        return Ok(Some(document));
    }
    Ok(None)
}

/// The meta that a document hands down to the children of a family.
fn split_layers(family: &Family, document: &Document, children: FamilyIx) -> Vec<Meta> {
    let split = family.splits.iter().find(|split| split.family == children);
    let Some(step) = split.map(|split| &family.steps[split.step]) else { return Vec::new() };
    match document.main_input(step) {
        MainInput::One(input) => document.layers(family, input),
        _ => Vec::new(),
    }
}

/// The source file of a document.
pub fn source_content(roots: &crate::scan::Roots, rel: &str, digest: Digest) -> Content {
    Content { digest, length: 0, bytes: None, mime: None, given: None, path: roots.path_of(rel) }
}

/// Puts the content of what is no file into its document, if it is still the one that was built.
pub fn given_content(roots: &Roots, document: &mut Document) -> Result<()> {
    let Some(giver) = roots.giver() else { return Ok(()) };
    if let Given::Document(given) = giver.read(document.id.rel())?
        && document.digest.is_none_or(|built| built == given.digest)
    {
        document.content = Some(content_of_given(*given));
    }
    Ok(())
}

/// Puts the size and the kind of a file into its document, without reading all of it. If it is another file by now, the
/// next build finds its stamp changed.
pub fn look(roots: &Roots, document: &mut Document) {
    if !document.is_given
        && document.content.is_none()
        && let Some(digest) = document.digest
        && let Some((length, mime)) = crate::scan::peek(roots, document.id.rel())
    {
        let content = source_content(roots, document.id.rel(), digest);
        document.content = Some(Content { length, mime: Some(mime.to_owned()), ..content });
    }
}

/// A document that was given, as the bytes of a document.
pub fn content_of_given(given: GivenDocument) -> Content {
    let GivenDocument { body, digest, ext, meta, .. } = given;
    let (bytes, path, length) = match body {
        GivenBody::Bytes(bytes) => (Some(bytes), PathBuf::new(), None),
        GivenBody::File { path, length } => (None, path, Some(length)),
    };
    let mime = match &bytes {
        _ if ext == "json" => "application/json".to_owned(),
        Some(bytes) => crate::scan::mime_of(bytes, &ext).to_owned(),
        None => crate::scan::mime_of_file(&path, &ext).to_owned(),
    };
    let length = length.unwrap_or_else(|| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64));
    Content { digest, length, bytes, mime: Some(mime), given: Some(Arc::new(Facts { ext, meta })), path }
}

/// The file in which the bytes of a document of a source lie; nothing where they are held.
pub fn file_of(roots: &Roots, document: &Document) -> Option<PathBuf> {
    if !document.is_given {
        return Some(roots.path_of(document.id.rel()));
    }
    let content = document.content.as_ref()?;
    content.bytes.is_none().then(|| content.path.clone())
}

/// Whether a result of it has the bytes of what it was made from.
fn passes_on(document: &Document) -> bool {
    let outputs = document.results.iter().flatten().filter_map(StepResult::output);
    document.is_given && outputs.into_iter().any(|output| output.place == Place::Input)
}

/// Whether a glob of `--docs` names a document, something that it was split from, or a child of it: then it is to be
/// looked at.
pub fn is_named(glob: &Glob, id: &DocId) -> bool {
    glob.selects(id.as_str()) || glob.selects(&unescape_name(id.as_str()).to_string_lossy())
}
