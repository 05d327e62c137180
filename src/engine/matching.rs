//! `with … on`: the documents of another stream that have the same value.
//!
//! When everything of the other stream is settled, its values are read once into a table of hashes and ids; a document
//! that looks for its match asks the table, and the match is read from its story. What decides all documents alike is the
//! root over the other stream: ids, values, digests. Knows nothing of scheduling.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::decide::Deciding;
use crate::engine::document::{Document, MainInput, place_of};
use crate::engine::kin::{self, match_of};
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::sets::{Needs, Streams, above, given_content, stored};
use crate::engine::target::TargetPlan;
use crate::engine::values::{ByValue, Found, Match, Table, canonical, hash_of};
use crate::engine::{Parts, SampleFilter};
use crate::error::Result;
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Position, State};
use crate::model::document::DocId;
use crate::model::event::Matched;
use crate::model::pipeline::{Node, Target, TargetIx, With, WithFrom};
use crate::model::selection::{Field, IdPart};
use crate::plan::family::{Families, FamilyIx, Input, Origin, Step};
use crate::store::Store;

/// What both fields of a side input by value are, and the stream that it comes from.
fn terms(with: &With) -> Option<(Node, &Field, &Field)> {
    match (&with.from, &with.on) {
        (WithFrom::Value(node), Some((mine, theirs))) => Some((*node, mine, theirs)),
        _ => None,
    }
}

/// What the root over a stream was computed from, so that it need not be again.
#[derive(Serialize, Deserialize, PartialEq)]
struct Kept {
    /// Where anything changed last in what the values come from.
    changes: Vec<(String, Position)>,
    field: String,
    root: Digest,
}

/// Where the index keeps them.
const VALUES: &str = "values";

/// The side inputs by value of a target, with the roots over their streams as they are now.
pub fn plan(parts: &Parts<'_>, families: &Families, ix: TargetIx, sample: bool) -> Result<Vec<ByValue>> {
    let mut planned = Vec::new();
    let target = parts.pipeline.target(ix);
    for (number, with) in target.with.iter().enumerate() {
        let is_of_group =
            |step: &Step| step.target == ix && step.of_group.iter().any(|(of, _)| *of == number);
        let (node, theirs, groups) = match (terms(with), &with.from) {
            (Some((node, _, theirs)), _) => (node, theirs.clone(), false),
            (None, WithFrom::Document(node))
                if families.list.iter().flat_map(|family| &family.steps).any(is_of_group) =>
            {
                (*node, Field::Id(IdPart::Rel), true)
            }
            _ => continue,
        };
        let changes = changes(parts, families, node);
        let key = [target.name.as_bytes(), b"\0", with.name.as_bytes()].concat();
        let kept = parts.store.kept(VALUES, &key)?;
        let kept = kept.and_then(|kept| serde_json::from_slice::<Kept>(&kept).ok());
        let field = format!("{theirs} of {}", parts.pipeline.node_name(node));
        if let Some(kept) = kept.filter(|kept| kept.changes == changes && kept.field == field && !sample) {
            planned.push(ByValue { number, root: kept.root, table: None, groups: None });
            continue;
        }
        let (table, root) = read(parts, families, node, &theirs, groups, None)?;
        if !sample {
            let kept = Kept { changes, field, root };
            parts.store.keep(VALUES, &key, &serde_json::to_vec(&kept).unwrap_or_default())?;
        }
        let table = (!groups).then(|| Arc::new(table));
        planned.push(ByValue { number, root, table, groups: None });
    }
    Ok(planned)
}

/// Where something changed last in everything that values of a stream may come from.
fn changes(parts: &Parts<'_>, families: &Families, node: Node) -> Vec<(String, Position)> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    if let Node::Target(ix) = node {
        let before = Families::closure(parts.pipeline, [ix]);
        names.extend(before.into_iter().map(|ix| parts.pipeline.target(ix).name.as_str()));
    }
    let of_stream = families.of_stream(node);
    names.extend(of_stream.iter().map(|(family, _)| families.family(*family).name.as_str()));
    names.into_iter().map(|name| (name.to_owned(), parts.store.last_change(name))).collect()
}

/// Reads the tables that a target needs.
pub fn load(
    parts: &Parts<'_>,
    families: &Families,
    plan: &mut TargetPlan,
    only: Option<&SampleFilter>,
) -> Result<()> {
    for value in &mut plan.values {
        let with = &parts.pipeline.target(plan.ix).with[value.number];
        match (terms(with), &with.from) {
            (Some((node, _, theirs)), _) if value.table.is_none() => {
                value.table = Some(Arc::new(read(parts, families, node, theirs, false, only)?.0));
            }
            (None, WithFrom::Document(node)) if value.groups.is_none() => {
                value.groups = Some(kin::groupings(parts, families, *node)?.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Reads the values of a stream, in byte order of ids.
fn read(
    parts: &Parts<'_>,
    families: &Families,
    node: Node,
    field: &Field,
    groups: bool,
    only: Option<&SampleFilter>,
) -> Result<(Table, Digest)> {
    let mut table = Table::default();
    let mut root = FieldHasher::new("pipe values");
    let mut lookup = Lookup::new(PresentCode::new(&parts.sites));
    each(parts, families, node, only, &mut |ix, document, place, state| {
        let family = families.family(ix);
        if groups && !family.is_group() {
            return Ok(());
        }
        let deciding = Deciding { pipeline: parts.pipeline, family, store: parts.store, lookup: &mut lookup };
        if matches!(state, State::Skipped | State::LeftOut | State::Absent) {
            return Ok(());
        }
        let value = deciding.field(document, place, field).as_ref().and_then(canonical);
        let (digest, ext) = document.input_facts(place).unwrap_or_default();
        root.text(document.id.as_str()).option(value.as_deref().map(str::as_bytes));
        root.number(state as u64).digest(&digest).text(&ext);
        let Some(value) = value else {
            match state {
                State::Failed | State::Blocked => {
                    table.failed += 1;
                    table.first_failed.get_or_insert_with(|| document.id.clone());
                }
                State::Unfinished => table.unfinished += 1,
                _ => table.without += 1,
            }
            return Ok(());
        };
        table.add(&value, ix.0, document.id.as_str());
        Ok(())
    })?;
    table.finish();
    Ok((table, root.finish()))
}

/// Where the index keeps how streams met.
const MATCHED: &str = "matched";

/// Remembers how streams met, for whoever asks later.
pub fn remember(parts: &Parts<'_>, target: &str, met: &[Matched]) -> Result<()> {
    parts.store.keep(MATCHED, target.as_bytes(), &serde_json::to_vec(met).unwrap_or_default())
}

/// How the streams of a target met when it was brought up to date last.
pub fn remembered(store: &Store, target: &str) -> Result<Vec<Matched>> {
    let kept = store.kept(MATCHED, target.as_bytes())?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()).unwrap_or_default())
}

/// Visits the documents of a stream in byte order of ids, with all their results.
fn each(
    parts: &Parts<'_>,
    families: &Families,
    node: Node,
    only: Option<&SampleFilter>,
    visit: &mut dyn FnMut(FamilyIx, &Document, Input, State) -> Result<()>,
) -> Result<()> {
    let streams = Streams {
        pipeline: parts.pipeline,
        families,
        store: parts.store,
        roots: &parts.roots,
        sites: &parts.sites,
        only: only.map(AsRef::as_ref),
        is_current: None,
        group: None,
    };
    let mut of_stream = families.of_stream(node);
    of_stream.sort_by_key(|(ix, _)| {
        let family = families.family(*ix);
        if family.is_set() { family.name.clone() } else { format!("{}/", family.name) }
    });
    let needs = Needs { meta: true, content: false };
    for (ix, place) in of_stream {
        let family = families.family(ix);
        let mut failed = None;
        parts.store.scan(&family.name, &mut |dir, entry| {
            let visited = streams.visit_entry(ix, family, dir, entry, &[place], needs, &mut |passing| {
                visit(ix, passing.document, passing.place, passing.state)
            });
            failed = visited.err();
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(())
}

/// What looking for matches needs beside the table.
pub struct Matching<'a> {
    /// The parts of the build, or of the question.
    pub parts: &'a Parts<'a>,
    /// All families.
    pub families: &'a Families,
}

impl Matching<'_> {
    /// Everything of other documents that a document takes in a step: what matches it, and what is kin to it.
    pub fn of_document(&self, plan: &TargetPlan, document: &Document, step: usize) -> Result<Vec<Found>> {
        let family = self.families.family(document.family);
        let mut all = kin::of_document(self.parts, self.families, plan, document, &family.steps[step])?;
        let MainInput::One(main) = document.main_input(&family.steps[step]) else { return Ok(all) };
        for value in &plan.values {
            let with = &self.parts.pipeline.target(plan.ix).with[value.number];
            let (Some(table), Some((_, mine, theirs))) = (&value.table, terms(with)) else { continue };
            let mut lookup = Lookup::new(PresentCode::new(&self.parts.sites));
            let (pipeline, store) = (self.parts.pipeline, self.parts.store);
            let deciding = Deciding { pipeline, family, store, lookup: &mut lookup };
            let own = deciding.field(document, main, mine);
            let mut matches = match &own {
                Some(own) => self.find(with, table, own)?,
                None => Vec::new(),
            };
            // What failed may be what it looks for: without it, another result would come out.
            if let Some(failed) = table.first_failed.as_ref().filter(|_| own.is_some())
                && (matches.is_empty() || with.many)
            {
                matches.push(unknown(failed, theirs, table.failed));
            }
            let is_certain = table.unfinished == 0;
            all.push(Found { number: value.number, matches, is_certain });
        }
        Ok(all)
    }

    /// The documents that have this value, in order of ids.
    pub fn find(&self, with: &With, table: &Table, value: &Value) -> Result<Vec<Match>> {
        let (Some((node, _, theirs)), Some(wanted)) = (terms(with), canonical(value)) else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for slot in table.of_hash(hash_of(&wanted)) {
            let one = self.read(node, theirs, FamilyIx(slot.family as usize), &table.id(slot), &wanted)?;
            found.extend(one);
        }
        Ok(found)
    }

    fn read(
        &self,
        node: Node,
        theirs: &Field,
        ix: FamilyIx,
        id: &DocId,
        wanted: &str,
    ) -> Result<Option<Match>> {
        let Matching { parts, families } = *self;
        let family = families.family(ix);
        let Some((_, place)) = families.of_stream(node).into_iter().find(|(of, _)| *of == ix) else {
            return Ok(None);
        };
        let (dir, name) = place_of(id);
        let Some(entry) = parts.store.entry(&family.name, dir, name)? else { return Ok(None) };
        let document = stored(parts.store, parts.pipeline, (ix, family), id.clone(), &entry, &|_| true)?;
        let Some(mut document) = document else { return Ok(None) };
        if let Origin::Source(source) = family.origin {
            given_content(&parts.roots[source.0], &mut document)?;
        }
        if family.is_children() {
            document.above = above(parts.store, parts.pipeline, families, &parts.roots, ix, dir)?;
        }
        let mut lookup = Lookup::new(PresentCode::new(&parts.sites));
        let deciding = Deciding { pipeline: parts.pipeline, family, store: parts.store, lookup: &mut lookup };
        let value = deciding.field(&document, place, theirs).as_ref().and_then(canonical);
        // Another value with the same hash.
        if value.as_deref() != Some(wanted) {
            return Ok(None);
        }
        let mut found = match_of(parts, families, &document, place);
        // What is said of a set or a group says which members, not whose they are.
        if let Some(found) = found
            .as_mut()
            .filter(|found| !found.failed.contains(" failed on ") && !found.failed.starts_with(id.as_str()))
        {
            found.failed = format!("{id}: {}", found.failed);
        }
        Ok(found)
    }
}

/// In the place of a match: a document that failed before its value was known, one of so many.
fn unknown(id: &DocId, theirs: &Field, failed: u64) -> Match {
    let more = match failed - 1 {
        0 => String::new(),
        n => format!(", as did {} more", crate::text::thousands(n)),
    };
    Match {
        id: id.clone(),
        state: State::Failed,
        digest: Digest::default(),
        ext: String::new(),
        content: None,
        failed: format!("{id} failed before its {theirs} was known{more}"),
    }
}

/// How many samples are named.
const SAMPLES: usize = 3;

/// Visits the documents that come to a target with their value of a field; how many failed before it was known.
fn looking(
    parts: &Parts<'_>,
    families: &Families,
    target: &Target,
    mine: &Field,
    visit: &mut dyn FnMut(&DocId, Option<Value>) -> Result<()>,
) -> Result<u64> {
    let mut unknown = 0;
    let mut lookup = Lookup::new(PresentCode::new(&parts.sites));
    for stream in &target.streams {
        each(parts, families, *stream, None, &mut |ix, document, place, state| {
            let family = families.family(ix);
            match state {
                State::Done => {}
                State::Skipped | State::LeftOut | State::Absent => return Ok(()),
                State::Failed | State::Blocked | State::Unfinished => {
                    unknown += 1;
                    return Ok(());
                }
            }
            let deciding =
                Deciding { pipeline: parts.pipeline, family, store: parts.store, lookup: &mut lookup };
            if let Some(test) = &target.test
                && !test.passes(&|field| deciding.field(document, place, field))
            {
                return Ok(());
            }
            visit(&document.id, deciding.field(document, place, mine))
        })?;
    }
    Ok(unknown)
}

/// Counts who has no match, on both sides: a pass over the documents that come to the target.
pub fn met(parts: &Parts<'_>, families: &Families, plan: &TargetPlan) -> Result<Vec<Matched>> {
    let target = parts.pipeline.target(plan.ix);
    let mut found = Vec::new();
    for value in &plan.values {
        let with = &target.with[value.number];
        let (Some(table), Some((node, mine, _))) = (&value.table, terms(with)) else { continue };
        let mut met = Matched {
            target: target.name.clone(),
            with: with.name.clone(),
            from: parts.pipeline.node_name(node).to_owned(),
            others: table.slots.len() as u64 + table.without + table.failed + table.unfinished,
            ..Matched::default()
        };
        let mut wanted: BTreeSet<u64> = BTreeSet::new();
        let mut unknown = table.failed + table.unfinished;
        unknown += looking(parts, families, target, mine, &mut |id, own| {
            met.documents += 1;
            let hash = own.as_ref().and_then(canonical).map(|value| hash_of(&value));
            wanted.extend(hash);
            if hash.is_none_or(|hash| !table.has(hash)) {
                met.unmatched += 1;
                if met.samples.len() < SAMPLES {
                    met.samples.push(id.to_string());
                }
                if met.only_by_type.is_none() {
                    met.only_by_type = own.as_ref().and_then(|own| by_type(own, table));
                }
            }
            Ok(())
        })?;
        let mut unmatched: Vec<DocId> = Vec::new();
        let mut count = table.without;
        for slot in table.slots.iter().filter(|slot| !wanted.contains(&slot.hash)) {
            count += 1;
            unmatched.push(table.id(slot));
            unmatched.sort();
            unmatched.truncate(SAMPLES);
        }
        if unknown == 0 {
            met.unused = Some(count);
            met.unused_samples = unmatched.iter().map(ToString::to_string).collect();
        }
        found.push(met);
    }
    Ok(found)
}

/// A document that has no match by value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    /// The side input.
    pub with: String,
    /// The stream that the document is of.
    pub stream: String,
    /// The document.
    pub doc: String,
    /// It is one of the other stream, which nobody looked for.
    pub other: bool,
    /// The value that nothing else has, as JSON; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of the other stream: documents failed before their value was known, so somebody may look for it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
}

/// Tells of every document that has no match, on both sides, as things stand. Whether the target has such side inputs.
pub fn unmatched(
    parts: &Parts<'_>,
    families: &Families,
    ix: TargetIx,
    tell: &mut dyn FnMut(Unmatched) -> Result<()>,
) -> Result<bool> {
    let target = parts.pipeline.target(ix);
    let mut has_any = false;
    for with in &target.with {
        let Some((node, mine, theirs)) = terms(with) else { continue };
        has_any = true;
        let table = read(parts, families, node, theirs, false, None)?.0;
        let streams: Vec<&str> = target.streams.iter().map(|node| parts.pipeline.node_name(*node)).collect();
        let mut wanted: BTreeSet<u64> = BTreeSet::new();
        let of = |stream: &str, doc: &DocId, value: Option<Value>| Unmatched {
            with: with.name.clone(),
            stream: stream.to_owned(),
            doc: doc.to_string(),
            other: false,
            value: value.map(|value| value.to_string()),
            uncertain: false,
        };
        let unknown = looking(parts, families, target, mine, &mut |id, own| {
            let hash = own.as_ref().and_then(canonical).map(|value| hash_of(&value));
            wanted.extend(hash);
            if hash.is_none_or(|hash| !table.has(hash)) {
                tell(of(&streams.join(", "), id, own))?;
            }
            Ok(())
        })?;
        let mut lookup = Lookup::new(PresentCode::new(&parts.sites));
        each(parts, families, node, None, &mut |ix, document, place, state| {
            if state != State::Done {
                return Ok(());
            }
            let family = families.family(ix);
            let deciding =
                Deciding { pipeline: parts.pipeline, family, store: parts.store, lookup: &mut lookup };
            let value = deciding.field(document, place, theirs);
            let hash = value.as_ref().and_then(canonical).map(|value| hash_of(&value));
            if hash.is_some_and(|hash| wanted.contains(&hash)) {
                return Ok(());
            }
            let one = of(parts.pipeline.node_name(node), &document.id, value);
            tell(Unmatched { other: true, uncertain: unknown > 0 && one.value.is_some(), ..one })
        })?;
    }
    Ok(has_any)
}

/// The same value as a number and as a text, if the other stream has the other one.
fn by_type(own: &Value, table: &Table) -> Option<(String, String)> {
    let other = match own {
        Value::String(text) => Value::from(text.trim().parse::<i64>().ok()?),
        Value::Number(number) => Value::from(number.to_string()),
        _ => return None,
    };
    table.has(hash_of(&canonical(&other)?)).then(|| (own.to_string(), other.to_string()))
}
