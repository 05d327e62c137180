//! What was written, remembered outside the store, and what a store that was opened must show of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::model::action::{Act, Outcome, Output, Place, Position, Story};
use crate::model::document::DocNumber;
use crate::model::selection::Glob;
use crate::store::Store;
use crate::store::documents::flags_of;
use crate::store::frame::{Frame, Names};

/// Something that was appended.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    /// Where; of frames whose place the store does not tell, somewhere from here on,
    pub(super) at: u64,
    /// and before here. What lies below a place that was told is durable.
    pub(super) end: u64,
    pub(super) frame: Frame,
    /// The bytes of its output.
    pub(super) bytes: Option<Arc<[u8]>>,
}

/// All that was written in the past that this machine had.
#[derive(Clone, Debug, Default)]
pub(super) struct Past {
    pub(super) facts: Vec<Fact>,
    /// Where a call failed, and whatever it appended may be there.
    pub(super) unsure: Vec<std::ops::Range<u64>>,
    /// Nothing is ever set aside.
    pub(super) keeps_all: bool,
}

/// A document by family, folder and name.
pub(super) type Document = (String, String, String);

/// What must be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    /// All that was appended below this place.
    Below(u64),
    /// All.
    All,
}

/// A document, its number, the place of its name, and its newest story.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) document: Document,
    pub(super) number: DocNumber,
    pub(super) names: Position,
    pub(super) story: Option<(Position, Story)>,
}

impl Past {
    pub(super) fn add(&mut self, at: Position, end: Position, frame: Frame, bytes: Option<Arc<[u8]>>) {
        self.facts.push(Fact { at: at.0, end: end.0, frame, bytes });
    }

    /// All records, oldest first.
    pub(super) fn acts(&self) -> impl Iterator<Item = (Position, &Act, Option<&Arc<[u8]>>)> {
        self.facts.iter().filter_map(|fact| match &fact.frame {
            Frame::Act(act) => Some((Position(fact.at), act, fact.bytes.as_ref())),
            _ => None,
        })
    }

    /// The records that were set aside.
    pub(super) fn bad(&self) -> BTreeSet<Position> {
        let bad = |fact: &Fact| if let Frame::Bad(bad) = &fact.frame { Some(bad.act) } else { None };
        self.facts.iter().filter_map(bad).collect()
    }

    /// All documents.
    pub(super) fn documents(&self) -> Vec<Known> {
        let mut known: BTreeMap<u32, Known> = BTreeMap::new();
        for fact in &self.facts {
            match &fact.frame {
                Frame::Names(names) => {
                    for (i, name) in names.names.iter().enumerate() {
                        let number = DocNumber(names.first.0 + i as u32);
                        let document = document(names, name);
                        let names = Position(fact.at);
                        known.insert(number.0, Known { document, number, names, story: None });
                    }
                }
                Frame::Story(story) => {
                    if let Some(known) = known.get_mut(&story.doc.0) {
                        known.story = Some((Position(fact.at), story.clone()));
                    }
                }
                _ => {}
            }
        }
        known.into_values().collect()
    }
}

fn document(names: &Names, name: &str) -> Document {
    match names.directory.split_once('/') {
        Some((family, dir)) => (family.to_owned(), dir.to_owned(), name.to_owned()),
        None if names.directory.is_empty() => (name.to_owned(), String::new(), String::new()),
        None => (names.directory.clone(), String::new(), name.to_owned()),
    }
}

fn id((family, dir, name): &Document) -> String {
    [family, dir, name].into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/")
}

/// Compares an open store with the past; what of it is there, if all is well.
pub(super) fn check(store: &Store, past: &Past, must: Must) -> Result<Past, String> {
    let mut there = Past::default();
    let mut left: HashMap<u64, &Fact> = HashMap::new();
    let mut loose: Vec<&Fact> = Vec::new();
    for fact in &past.facts {
        if matches!(fact.frame, Frame::Mark(_) | Frame::Bad(_)) {
            loose.push(fact);
        } else {
            left.insert(fact.at, fact);
        }
    }
    let mut wrong = Vec::new();
    let replay = store.log.replay(Position(0), &mut |_, frame| {
        let at = frame.position.0;
        let Some(decoded) = frame.decode() else {
            wrong.push(format!("a frame at {at} says nothing"));
            return;
        };
        if matches!(decoded, Frame::Close(_)) {
            return;
        }
        let known = left.remove(&at).or_else(|| {
            let i = loose
                .iter()
                .position(|fact| (fact.at..fact.end).contains(&at) && same(&fact.frame, &decoded))?;
            Some(loose.swap_remove(i))
        });
        match known {
            Some(fact) if same(&fact.frame, &decoded) => {
                there.facts.push(Fact { at, end: at + 1, frame: decoded, bytes: fact.bytes.clone() });
            }
            Some(fact) => wrong.push(format!("at {at} is {decoded:?}, and was written {:?}", fact.frame)),
            None if past.unsure.iter().any(|unsure| unsure.contains(&at)) => {
                there.facts.push(Fact { at, end: at + 1, frame: decoded, bytes: None });
            }
            None => wrong.push(format!("at {at} is {decoded:?}, which was never written")),
        }
    });
    let replay = replay.map_err(|e| e.to_string())?;
    wrong.extend(replay.damage.iter().map(|damage| format!("damage without a reason: {damage:?}")));
    let is_due = |fact: &Fact| match must {
        Must::Below(told) => fact.end <= told,
        Must::All => true,
    };
    let lost = left.values().chain(&loose).filter(|fact| is_due(fact));
    wrong.extend(lost.map(|fact| format!("lost: {} {:?}", fact.at, fact.frame)));
    if let Some(wrong) = wrong.into_iter().next() {
        return Err(wrong);
    }
    whole(store, &there)?;
    Ok(there)
}

/// Whether a frame is the one that was written; when and by which digest something was set aside is the store's to say.
fn same(written: &Frame, found: &Frame) -> bool {
    match (written, found) {
        (Frame::Bad(written), Frame::Bad(found)) => written.act == found.act,
        _ => written == found,
    }
}

/// What is there is complete: nothing that is named is missing, everything is found, and its bytes are right.
fn whole(store: &Store, there: &Past) -> Result<(), String> {
    let places: BTreeSet<u64> = there.facts.iter().map(|fact| fact.at).collect();
    let names = |what: &str, from: u64, to: Position| {
        if places.contains(&to.0) {
            Ok(())
        } else {
            Err(format!("{what} at {from} names {}, which is lost", to.0))
        }
    };
    let bad = there.bad();
    for at in &bad {
        assert_or(store.is_bad(*at), || format!("forgotten that {} was set aside", at.0))?;
    }
    for (at, act, bytes) in there.acts() {
        names("a record", at.0, act.recipe)?;
        let found = store.act(at).map_err(|e| e.to_string())?;
        assert_or(found.as_deref() == Some(act), || format!("the record at {} is {found:?}", at.0))?;
        assert_or(store.candidates(act.key).contains(&at), || {
            format!("the record at {} is not found", at.0)
        })?;
        if let (Outcome::Output(output), Some(bytes)) = (&act.outcome, bytes)
            && !bad.contains(&at)
        {
            right(store, at, output, bytes)?;
        }
    }
    for known in there.documents() {
        stands(store, &known, there, &bad)?;
        if let Some((at, story)) = &known.story {
            names("a story", at.0, story.names)?;
            names("a story", at.0, story.definition)?;
            story
                .entries
                .iter()
                .filter_map(|entry| entry.act)
                .try_for_each(|act| names("a story", at.0, act))?;
        }
        assert_or(store.next_document.load(Ordering::Relaxed) > known.number.0, || {
            format!("the number {} would be given again", known.number.0)
        })?;
    }
    listed(store, there)?;
    let marks: Vec<_> = there
        .facts
        .iter()
        .filter_map(|fact| if let Frame::Mark(mark) = &fact.frame { Some(mark.clone()) } else { None })
        .collect();
    let found = store.marks().map_err(|e| e.to_string())?;
    assert_or(found == marks, || format!("marks {marks:?}, found {found:?}"))?;
    let runs: Vec<_> = there
        .facts
        .iter()
        .filter_map(|fact| if let Frame::Run(run) = &fact.frame { Some(run.clone()) } else { None })
        .collect();
    let found = store.runs().map_err(|e| e.to_string())?;
    assert_or(found == runs, || format!("runs {runs:?}, found {found:?}"))?;
    let recipes = store.recipes.places();
    let definitions = store.definitions.places();
    for fact in &there.facts {
        let is_known = match &fact.frame {
            Frame::Recipe(_) => recipes.contains(&Position(fact.at)),
            Frame::Definition(_) => definitions.contains(&Position(fact.at)),
            _ => true,
        };
        assert_or(is_known, || format!("{:?} would be written again", fact.frame))?;
    }
    Ok(())
}

fn assert_or(is_fine: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if is_fine { Ok(()) } else { Err(what()) }
}

/// The bytes of an output are there and right.
fn right(store: &Store, at: Position, output: &Output, bytes: &[u8]) -> Result<(), String> {
    let found = store.output_bytes(output).map_err(|e| e.to_string())?;
    match found.as_deref() {
        Some(found) if found == bytes => {}
        Some(_) => return Err(format!("WRONG BYTES served for the record at {}", at.0)),
        None => return Err(format!("the bytes of the record at {} are lost ({:?})", at.0, output.place)),
    }
    let is_kept = output.place != Place::Blob || store.has_blob(&output.digest, output.length);
    assert_or(is_kept, || format!("the blob of the record at {} is not there", at.0))
}

/// A document is found under its name, and stands as its newest story says.
fn stands(store: &Store, known: &Known, there: &Past, bad: &BTreeSet<Position>) -> Result<(), String> {
    let (family, dir, name) = &known.document;
    let entry = store.entry(family, dir, name).map_err(|e| e.to_string())?;
    let Some((at, story)) = &known.story else {
        // A name without a story may be forgotten: nothing was done with it.
        return assert_or(entry.is_none(), || format!("{} stands somewhere: {entry:?}", id(&known.document)));
    };
    let Some(entry) = entry else { return Err(format!("{} is forgotten: {known:?}", id(&known.document))) };
    let mut flags = flags_of(story);
    let is_marked = |fact: &Fact| match &fact.frame {
        Frame::Mark(mark) => {
            let glob = mark.docs.as_deref().and_then(|glob| Glob::new(glob).ok());
            fact.at > at.0 && glob.is_some_and(|glob| glob.matches(&id(&known.document)))
        }
        _ => false,
    };
    let is_hurt = story.entries.iter().filter_map(|entry| entry.act).any(|act| bad.contains(&act));
    if is_hurt || there.facts.iter().any(is_marked) {
        flags.settled = false;
    }
    let expected = (*at, flags, story.stamp, known.number, story.definition);
    // Looked at once too often is no fault.
    let mut found = (entry.story, entry.flags, entry.stamp, entry.doc, entry.definition);
    found.1.settled |= flags.settled;
    assert_or(found == expected, || {
        format!("{} stands as {entry:?}, not as {expected:?}", id(&known.document))
    })?;
    let named = store.id_of(known.number, known.names).map_err(|e| e.to_string())?;
    assert_or(named.is_some_and(|named| named.as_str() == id(&known.document)), || {
        format!("{} has another name", id(&known.document))
    })
}

/// A pass over the index shows exactly the documents that have stories.
fn listed(store: &Store, there: &Past) -> Result<(), String> {
    let mut expected: BTreeSet<Document> = BTreeSet::new();
    expected.extend(
        there.documents().into_iter().filter(|known| known.story.is_some()).map(|known| known.document),
    );
    let mut found = BTreeSet::new();
    for family in store.families() {
        let mut add = |dir: &str, entry: &crate::store::Entry| {
            found.insert((family.clone(), dir.to_owned(), entry.name.clone()));
            true
        };
        store.scan(&family, &mut add).map_err(|e| e.to_string())?;
    }
    assert_or(found == expected, || format!("documents {expected:?}, listed {found:?}"))
}
