//! Where a document comes from, and everything that was made of it: files, parents, members; children, groups, sets.
//!
//! Looks at records alone. Of many documents a few are named and all counted, so far as counting them needs no pass over
//! a whole stream.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::by::value_part;
use crate::engine::decide::Deciding;
use crate::engine::document::Document;
use crate::engine::documents::{Depth, Documents, state_at};
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::others::id_there;
use crate::engine::published_path;
use crate::engine::sets::{before, result_of};
use crate::error::Result;
use crate::model::action::State;
use crate::model::document::{DocId, GROUPS};
use crate::model::pipeline::{Source, TargetIx, Verb, WithFrom};
use crate::model::selection::{Field, Template};
use crate::plan::family::{FamilyIx, Input, Origin, PARENT, by_target};
use crate::query::Asked;
use crate::query::find::Found;

/// So many documents are named of each kind.
const NAMED: usize = 5;
/// So many documents are followed on the way forward; behind more of them, what was made is not all named.
const FOLLOWED: usize = 2000;

/// What a document comes from, and what was made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Backward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Link>,
    /// Forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub made: Vec<Link>,
    /// More was made than could be followed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "link", rename_all = "kebab-case")]
pub enum Link {
    /// The document is this file.
    File {
        /// Relative to the project's folder if it lies in it.
        path: String,
    },
    /// The document is a result of another project.
    Project {
        /// Its folder, as the Pipelinefile says.
        project: String,
        /// The target there.
        target: String,
        /// The id there.
        doc: String,
    },
    /// It was split from this document.
    Parent {
        /// Its id.
        doc: String,
    },
    /// It is made of these documents of a stream.
    Members {
        /// The stream.
        stream: String,
        /// The first few.
        docs: Vec<String>,
        /// All of them, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
    /// It was made with the one result of this target, or with this file.
    With {
        /// Its name in the target.
        name: String,
        /// The target, or the path.
        of: String,
    },
    /// A target split it into these.
    Children {
        /// The target.
        target: String,
        /// The first few.
        docs: Vec<String>,
        /// All of them.
        count: u64,
    },
    /// It is in this set or group.
    Set {
        /// The target.
        target: String,
        /// The id of the set or the group.
        doc: String,
        /// Where its results are shown.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        published: Vec<String>,
    },
}

/// Where the result of a target is shown by a template; nothing where it is not.
pub fn shown_at(
    documents: &Documents<'_>,
    document: &Document,
    target: &str,
    template: Option<&str>,
) -> Option<String> {
    let template = Template::parse(template?).ok()?;
    let family = documents.families.family(document.family);
    let target = documents.pipeline.find_target(target)?;
    let step = family.step_of(target)?;
    published_path(&template, document, family, Input::Step(step), documents.pipeline.target(target))
}

/// The members that the document of a set or a group is made of; none for any other.
pub fn members_of(asked: &Asked<'_>, documents: &Documents<'_>, document: &Document) -> Result<Vec<Link>> {
    let family = documents.families.family(document.family);
    let (target, value) = match family.origin {
        Origin::Set(target) => (target, None),
        Origin::Group(target) => (target, Some(document.id.rel())),
        _ => return Ok(Vec::new()),
    };
    let found = Found {
        id: document.id.clone(),
        family: family.name.clone(),
        dir: document.dir.to_string(),
        name: document.name.clone(),
        entry: asked.store.entry(&family.name, &document.dir, &document.name)?,
    };
    let lookup = Lookup::new(PresentCode::of(asked.pipeline, asked.store));
    let mut tracer = Tracer { asked, documents, lookup };
    let count = tracer.member_count(&found, target)?;
    tracer.members(target, value, count)
}

/// The result of another project that a document of a source is; nothing if it is none.
pub fn project_of(source: &Source, id: &DocId) -> Option<Link> {
    let of = source.project.as_ref()?;
    let (project, target) = (of.written.clone(), of.target.clone());
    Some(Link::Project { project, target, doc: id_there(id).to_string() })
}

/// The lineage of a document.
pub fn lineage(asked: &Asked<'_>, documents: &Documents<'_>, found: &Found) -> Result<Lineage> {
    let Some(ix) = found.family(documents) else { return Ok(Lineage::default()) };
    let lookup = Lookup::new(PresentCode::of(asked.pipeline, asked.store));
    let mut tracer = Tracer { asked, documents, lookup };
    let from = tracer.back(ix, found)?;
    let (made, cut) = tracer.forward(ix, found)?;
    Ok(Lineage { from, made, cut })
}

struct Tracer<'a> {
    asked: &'a Asked<'a>,
    documents: &'a Documents<'a>,
    lookup: Lookup,
}

impl Tracer<'_> {
    fn back(&mut self, ix: FamilyIx, found: &Found) -> Result<Vec<Link>> {
        let pipeline = self.asked.pipeline;
        let mut links = Vec::new();
        let mut parent = found.id.parent();
        while let Some(doc) = parent {
            parent = doc.parent();
            links.push(Link::Parent { doc: doc.to_string() });
        }
        let family = self.documents.families.family(ix);
        if let Origin::Source(source) = family.origin {
            let of = pipeline.source(source);
            if let Some(link) = project_of(of, &found.id) {
                links.push(link);
            } else {
                let file = match &of.rows {
                    Some(_) => of.paths.first().map(|path| path.path.clone()),
                    None => {
                        let unknown = self.documents.unknown(ix, found.id.clone(), &found.dir, &found.name);
                        self.documents.source_path(&unknown)
                    }
                };
                links.extend(file.map(|path| Link::File { path: self.relative(&path) }));
            }
        }
        let over = match family.origin {
            Origin::Set(target) => Some((target, None)),
            Origin::Group(target) => Some((target, Some(found.id.rel()))),
            _ => None,
        };
        if let Some((target, value)) = over {
            let count = self.member_count(found, target)?;
            links.extend(self.members(target, value, count)?);
        }
        for step in &family.steps {
            for with in &pipeline.target(step.target).with {
                let of = match &with.from {
                    WithFrom::Shared(of) => pipeline.target(*of).name.clone(),
                    WithFrom::File(written, _) => written.clone(),
                    _ => continue,
                };
                let link = Link::With { name: with.name.clone(), of };
                if !links.contains(&link) {
                    links.push(link);
                }
            }
        }
        Ok(links)
    }

    /// A path as people write it.
    fn relative(&self, path: &std::path::Path) -> String {
        path.strip_prefix(&self.asked.pipeline.root).unwrap_or(path).display().to_string()
    }

    /// How many members the present result of a set or a group is over: its record says it.
    fn member_count(&self, found: &Found, target: TargetIx) -> Result<Option<u64>> {
        let Some(entry) = &found.entry else { return Ok(None) };
        let Some(told) = before(self.asked.store, entry.story)? else { return Ok(None) };
        let result = result_of(self.asked.store, &told, &self.asked.pipeline.target(target).name)?;
        let record = result.and_then(|result| result.record);
        let facts = record.as_ref().and_then(|act| act.inputs.first()).map(|input| input.facts.as_str());
        let facts: Option<Value> = facts.and_then(|facts| serde_json::from_str(facts).ok());
        Ok(facts.and_then(|facts| facts.get("members").and_then(Value::as_u64)))
    }

    /// The members of a set, or of its group of a value, by stream.
    fn members(&mut self, target: TargetIx, value: Option<&str>, count: Option<u64>) -> Result<Vec<Link>> {
        let pipeline = self.asked.pipeline;
        let of = pipeline.target(target);
        let map = self.map_of(target)?;
        let mut links = Vec::new();
        let enough = count.map_or(NAMED, |count| NAMED.min(count as usize));
        for stream in &of.streams {
            let mut docs = Vec::new();
            let documents = self.documents;
            documents.visit(*stream, Depth::All, &mut |passing| {
                if passing.state == State::Done {
                    let is_in = match value {
                        None => self.is_let_in(target, passing.document, passing.place),
                        Some(value) => {
                            let own = self.value(target, passing.document, passing.place, map.as_ref());
                            own.as_deref() == Some(value)
                        }
                    };
                    if is_in {
                        docs.push(passing.document.id.to_string());
                    }
                }
                Ok(docs.len() < enough)
            })?;
            if !docs.is_empty() {
                let count = count.filter(|_| of.streams.len() == 1);
                links.push(Link::Members { stream: pipeline.node_name(*stream).to_owned(), docs, count });
            }
        }
        Ok(links)
    }

    /// Whether the `where` of a target lets a document in.
    fn is_let_in(&mut self, target: TargetIx, document: &Document, place: Input) -> bool {
        let asked = self.asked;
        let Some(test) = &asked.pipeline.target(target).test else { return true };
        let deciding = self.deciding(document);
        test.passes(&|field| deciding.field(document, place, field))
    }

    fn deciding<'s>(&'s mut self, document: &Document) -> Deciding<'s> {
        Deciding {
            pipeline: self.asked.pipeline,
            family: self.documents.families.family(document.family),
            store: self.asked.store,
            lookup: &mut self.lookup,
        }
    }

    /// The value by which a target groups a document, as a part of an id.
    fn value(
        &mut self,
        target: TargetIx,
        document: &Document,
        place: Input,
        map: Option<&Value>,
    ) -> Option<String> {
        if !self.is_let_in(target, document, place) {
            return None;
        }
        if let Some(map) = map {
            return map.get(document.id.as_str()).and_then(value_part);
        }
        let field = Field::parse(self.asked.pipeline.target(target).by.as_deref()?)?;
        self.deciding(document).field(document, place, &field).as_ref().and_then(value_part)
    }

    /// Of a target that groups by what another says: that one's result, id → value.
    fn map_of(&self, target: TargetIx) -> Result<Option<Value>> {
        let Some(of) = by_target(self.asked.pipeline, target) else { return Ok(None) };
        let name = &self.asked.pipeline.target(of).name;
        let store = self.asked.store;
        let Some(entry) = store.entry(name, "", "")? else { return Ok(None) };
        let Some(told) = before(store, entry.story)? else { return Ok(None) };
        let result = result_of(store, &told, name)?;
        let Some(output) = result.as_ref().and_then(|result| result.output()) else { return Ok(None) };
        let bytes = store.output_bytes(output)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Everything made of a document beside its own results, the nearest first.
    fn forward(&mut self, ix: FamilyIx, found: &Found) -> Result<(Vec<Link>, bool)> {
        let mut links = Vec::new();
        let mut seen: BTreeSet<DocId> = BTreeSet::from([found.id.clone()]);
        let mut open = vec![(ix, found.id.clone())];
        let mut at = 0;
        while let Some((ix, id)) = open.get(at).cloned() {
            at += 1;
            if at > FOLLOWED {
                return Ok((links, true));
            }
            let family = self.documents.families.family(ix);
            let (dir, name) = id.place();
            let Some(entry) = self.asked.store.entry(&family.name, dir, name)? else { continue };
            let Some(document) = self.documents.open(ix, dir, &entry)? else { continue };
            if at > 1 && !family.is_children() {
                let target = id.source().to_owned();
                let published = self.published(&document);
                links.push(Link::Set { target, doc: id.to_string(), published });
            }
            for split in &family.splits {
                let children = self.documents.families.family(split.family);
                let folder = id.child("").place().0.to_owned();
                let entries = self.asked.store.directory(&children.name, &folder)?;
                let docs: Vec<DocId> = entries
                    .iter()
                    .filter(|entry| !entry.flags.gone)
                    .map(|entry| DocId::at(&children.name, &folder, &entry.name))
                    .collect();
                if docs.is_empty() {
                    continue;
                }
                let target = family.steps[split.step].target;
                links.push(Link::Children {
                    target: self.asked.pipeline.target(target).name.clone(),
                    docs: docs.iter().take(NAMED).map(ToString::to_string).collect(),
                    count: docs.len() as u64,
                });
                let new = docs.into_iter().filter(|doc| seen.insert(doc.clone()));
                open.extend(new.map(|doc| (split.family, doc)));
            }
            for (ix, id) in self.sets_with(&document)? {
                if seen.insert(id.clone()) {
                    open.push((ix, id));
                }
            }
        }
        Ok((links, false))
    }

    /// The sets and groups that a document is a member of.
    fn sets_with(&mut self, document: &Document) -> Result<Vec<(FamilyIx, DocId)>> {
        let pipeline = self.asked.pipeline;
        let mut sets = Vec::new();
        for number in 0..pipeline.targets.len() {
            let target = TargetIx(number);
            let of = pipeline.target(target);
            if of.verb == Verb::Each || of.by.as_deref() == Some(PARENT) {
                continue;
            }
            let family = self.documents.families.family(document.family);
            let places = of.streams.iter().filter_map(|stream| family.place(*stream));
            let places: Vec<Input> = places.filter(|p| state_at(document, *p) == State::Done).collect();
            for place in places {
                let (name, id) = if of.verb == Verb::All {
                    if !self.is_let_in(target, document, place) {
                        continue;
                    }
                    (of.name.clone(), DocId::of_set(&of.name))
                } else {
                    let map = self.map_of(target)?;
                    let Some(value) = self.value(target, document, place, map.as_ref()) else { continue };
                    (format!("{}{GROUPS}", of.name), DocId::in_source(&of.name, &value))
                };
                sets.extend(self.documents.families.find(&name).map(|ix| (ix, id)));
            }
        }
        Ok(sets)
    }

    /// Where the results of a document are shown.
    fn published(&self, document: &Document) -> Vec<String> {
        let Some(told) = &document.before else { return Vec::new() };
        let targets = told.definition.targets.iter();
        let shown = targets.filter_map(|defined| {
            shown_at(self.documents, document, &defined.name, told.published_by(&defined.name))
        });
        shown.collect()
    }
}
