//! Children of split documents: opened behind their parent, a few at a time, and retired when it has them no more.
//!
//! A document that was split stays open until its children are settled, so its entry in the index stands for them all: a
//! build with nothing to do reads no child. Only one list is in memory at a time; children come before further
//! documents, so few wait. See `docs/design/scheduling.md`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::engine::build::{Build, Open};
use crate::engine::decide::derived_note;
use crate::engine::document::{Document, StepResult};
use crate::engine::feeds::{Feed, Going, Item, Phase};
use crate::engine::kin;
use crate::engine::members::list_of;
use crate::engine::scheduler::Ticket;
use crate::engine::sets::{above, before, result_of};
use crate::engine::values::Handed;
use crate::error::Result;
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Act, Outcome, Position, State};
use crate::model::children::{Child, key_inputs};
use crate::model::document::{DocId, Meta, Stamp};
use crate::model::failure::{Failure, FailureKind};
use crate::plan::family::FamilyIx;
use crate::plan::key::{action_key, recipe_digest};
use crate::store::Entry;

/// How many new names are given numbers at once.
const NAMES: usize = 128;

/// What is given to the children's steps by the one document that they were split from.
pub(super) fn stamp(child: &Child, above: &[Meta], handed: &[Handed], twin: Option<&String>) -> Stamp {
    let mut hasher = FieldHasher::new("pipe child");
    hasher.digest(&child.digest).text(&child.ext).text(&child.meta).number(above.len() as u64);
    for layer in above {
        hasher.text(&serde_json::to_string(layer).unwrap_or_default());
    }
    for found in handed.iter().map(|handed| handed.found.as_ref()) {
        hasher.number(found.map_or(0, |found| found.state as u64));
        if let Some(found) = found {
            hasher.digest(&found.digest).text(&found.ext);
        }
    }
    if let Some(twin) = twin {
        hasher.text("twin").text(twin);
    }
    Stamp(hasher.finish().prefix())
}

impl Build<'_> {
    /// A document was split, or was before: its children are to be looked at.
    pub(super) fn children(&mut self, ticket: Ticket) {
        let Some(open) = self.open[ticket.doc.0 as usize].as_ref() else { return };
        let family = self.families.family(open.document.family);
        let Some(split) = family.splits.iter().find(|split| split.step == ticket.step) else { return };
        let dir = Arc::from(format!("{}#", open.document.id));
        let feed = Feed {
            ticket,
            family: split.family,
            dir,
            phase: Phase::Waiting,
            open: 0,
            unsettled: false,
            dead: false,
            opened: Vec::new(),
        };
        self.feeds.next += 1;
        let number = self.feeds.next;
        self.feeds.list.insert(number, feed);
        self.feeds.queue.push_back(number);
    }

    /// Goes one step with the children that are on their way; false if there is none that can be done now.
    pub(super) fn feed(&mut self, stratum: usize, room: bool) -> Result<bool> {
        for _ in 0..self.feeds.queue.len() {
            let Some(number) = self.feeds.queue.front().copied() else { return Ok(false) };
            let Some(mut feed) = self.feeds.list.remove(&number) else {
                self.feeds.queue.pop_front();
                continue;
            };
            if self.scheduler.is_stopping() && !feed.dead {
                feed.unsettled = true;
                feed.phase = Phase::Over;
            }
            feed.dead |= !self.scheduler.is_current(feed.ticket);
            if feed.dead {
                feed.phase = Phase::Over;
            }
            let blocked = match feed.phase {
                Phase::Waiting if self.waits_for_handed(&feed) => true,
                Phase::Waiting => {
                    let is_before = |other: &Feed| {
                        other.dead && other.open > 0 && other.family == feed.family && other.dir == feed.dir
                    };
                    !room || self.feeds.list.values().any(is_before)
                }
                Phase::Going(_) => !room,
                Phase::Over => false,
            };
            if blocked {
                self.feeds.queue.rotate_left(1);
                self.feeds.list.insert(number, feed);
                continue;
            }
            self.go(stratum, number, &mut feed)?;
            let is_over = matches!(feed.phase, Phase::Over);
            if is_over {
                self.feeds.queue.retain(|other| *other != number);
            }
            if is_over && feed.open == 0 {
                self.fed(&feed);
            } else {
                self.feeds.list.insert(number, feed);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Whether any list of children has something to do now; `room`: further children may be opened.
    pub(super) fn can_feed(&self, room: bool) -> bool {
        self.feeds.can_go(room, &|feed| self.waits_for_handed(feed))
    }

    /// Whether what a document hands to its children is not decided yet.
    fn waits_for_handed(&self, feed: &Feed) -> bool {
        let open = self.open[feed.ticket.doc.0 as usize].as_ref().filter(|_| !feed.dead);
        let is_settled = |step: usize| self.scheduler.is_settled(feed.ticket.doc, step);
        open.is_some_and(|open| !kin::is_ready(self.families, &open.document, feed.family, &is_settled))
    }

    fn go(&mut self, stratum: usize, number: u64, feed: &mut Feed) -> Result<()> {
        match &mut feed.phase {
            Phase::Waiting => {
                feed.phase = match self.begin(feed)? {
                    Some(going) => Phase::Going(Box::new(going)),
                    None => Phase::Over,
                };
                Ok(())
            }
            Phase::Going(going) => {
                let Some(item) = self.next_item(going, feed.family, &feed.dir)? else {
                    for entry in std::mem::take(&mut going.vanished) {
                        self.retire_child(feed.family, &feed.dir, &entry)?;
                    }
                    feed.phase = Phase::Over;
                    return Ok(());
                };
                let name = item.name.clone();
                if let Some(opened) = self.open_child(stratum, number, feed.family, &feed.dir, going, item)? {
                    feed.open += usize::from(opened);
                    if opened {
                        feed.opened.push(name);
                    }
                } else {
                    // A child's bytes are gone: the document is split again.
                    let split = going.split;
                    feed.phase = Phase::Over;
                    feed.dead = true;
                    self.split_again(feed.ticket, split)?;
                }
                Ok(())
            }
            Phase::Over => Ok(()),
        }
    }

    /// Reads what there is to look at; nothing where the split is not decided.
    fn begin(&mut self, feed: &mut Feed) -> Result<Option<Going>> {
        let Some(open) = self.open[feed.ticket.doc.0 as usize].as_ref() else { return Ok(None) };
        let document = &open.document;
        let parents = self.families.family(document.family);
        let children = self.families.family(feed.family);
        let result = document.results[feed.ticket.step].as_ref();
        let state = result.map_or(State::Unfinished, |result| result.state);
        if state == State::Unfinished {
            feed.unsettled = true;
            return Ok(None);
        }
        let mut known: HashMap<String, Entry> = HashMap::new();
        for entry in self.store.directory(&children.name, &feed.dir)? {
            known.insert(entry.name.clone(), entry);
        }
        // What was opened before the document was begun anew may not be in the index yet.
        for other in self.feeds.list.values().filter(|other| other.dead && other.dir == feed.dir) {
            for name in &other.opened {
                if let Some(entry) = self.store.entry(&children.name, &other.dir, name)? {
                    known.insert(name.clone(), entry);
                }
            }
        }
        let mut going = Going {
            items: VecDeque::new(),
            vanished: Vec::new(),
            inputs: Vec::new(),
            recipe: Digest::default(),
            above: Arc::from([]),
            handed: kin::handed_down(self.parts, self.families, document, feed.family, document.stratum),
            twins: HashMap::new(),
            split: result.and_then(|result| result.act),
            stopped_by: match state {
                State::Failed | State::Blocked => {
                    document.stopped_by(self.pipeline, parents, feed.ticket.step)
                }
                _ => String::new(),
            },
        };
        let step = &parents.steps[feed.ticket.step];
        let is_now = step.stratum == document.stratum;
        if is_now && state == State::Done {
            let list = result.map(|result| list_of(self.store, result)).transpose()?.flatten();
            let record = result.and_then(|result| result.record.clone());
            let (Some(list), Some(record)) = (list, record) else {
                feed.dead = true;
                self.split_again(feed.ticket, going.split)?;
                return Ok(None);
            };
            going.inputs.clone_from(&record.inputs);
            // Of a split that was accepted the recipe is an older one.
            let recipe = self.store.recipe(record.recipe)?;
            going.recipe = recipe.map(|recipe| recipe_digest(&recipe)).unwrap_or_default();
            if let crate::engine::document::MainInput::One(input) = document.main_input(step) {
                going.above = Arc::from(document.layers(parents, input));
            }
            going.twins = self.twins(document, feed.family)?;
            for child in list {
                let entry = known.remove(&child.name);
                going.items.push_back(Item {
                    name: child.name.clone(),
                    child: Some(child),
                    entry,
                    number: None,
                });
            }
            going.vanished = known.into_values().filter(|entry| !entry.flags.gone).collect();
            going.vanished.sort_by(|a, b| a.name.cmp(&b.name));
            return Ok(Some(going));
        }
        let mut present: Vec<Entry> = known.into_values().filter(|entry| !entry.flags.gone).collect();
        present.sort_by(|a, b| a.name.cmp(&b.name));
        if matches!(state, State::Skipped | State::LeftOut | State::Absent) {
            going.vanished = present;
            return Ok(Some(going));
        }
        if !is_now {
            going.above =
                above(self.store, self.pipeline, self.families, &self.parts.roots, feed.family, &feed.dir)?;
        }
        going.items.extend(present.into_iter().map(|entry| Item {
            name: entry.name.clone(),
            child: None,
            entry: Some(entry),
            number: None,
        }));
        Ok(Some(going))
    }

    /// The names of children that another split of the document made too, where some target takes both.
    fn twins(&self, document: &Document, children: FamilyIx) -> Result<HashMap<String, String>> {
        let family = self.families.family(document.family);
        let split = family.splits.iter().find(|split| split.family == children);
        let mut names = HashMap::new();
        for step in split.iter().flat_map(|split| &split.twins) {
            let Some(result) = &document.results[*step] else { continue };
            let target = &self.pipeline.target(family.steps[*step].target).name;
            let list = list_of(self.store, result)?.unwrap_or_default();
            names.extend(list.into_iter().map(|child| (child.name, target.clone())));
        }
        Ok(names)
    }

    fn next_item(&mut self, going: &mut Going, family: FamilyIx, dir: &str) -> Result<Option<Item>> {
        let Some(first) = going.items.front() else { return Ok(None) };
        if first.entry.is_none() && first.number.is_none() {
            let is_new = |item: &&mut Item| item.entry.is_none();
            let new: Vec<&mut Item> = going.items.iter_mut().filter(is_new).take(NAMES).collect();
            let names: Vec<String> = new.iter().map(|item| item.name.clone()).collect();
            let name = &self.families.family(family).name;
            let (mut number, at) = self.store.name_documents(name, dir, &names)?;
            for item in new {
                item.number = Some((number, at));
                number.0 += 1;
            }
        }
        Ok(going.items.pop_front())
    }

    /// Opens a child unless it is up to date; nothing if its bytes cannot be found.
    fn open_child(
        &mut self,
        stratum: usize,
        feed: u64,
        ix: FamilyIx,
        dir: &Arc<str>,
        going: &Going,
        item: Item,
    ) -> Result<Option<bool>> {
        let family = self.families.family(ix);
        let Item { name, child, entry, number } = item;
        let is_now = family.steps[0].stratum == stratum;
        let stamp = match (&child, &entry) {
            (Some(child), _) => stamp(child, &going.above, &going.handed, going.twins.get(&name)),
            (None, Some(entry)) if !is_now => entry.stamp,
            // What it was split from failed: whatever comes of it next is another.
            (None, _) => Stamp(0),
        };
        if let Some(entry) = &entry
            && entry.flags.settled
            && !entry.flags.gone
            && entry.stamp == stamp
            // What is handed down later than the child itself is in no stamp.
            && (is_now || going.handed.is_empty())
            && self.outline.covers_family(self.parts, entry.definition, family, stratum)
        {
            return Ok(Some(false));
        }
        let known = match &entry {
            Some(entry) => before(self.store, entry.story)?,
            None => None,
        };
        let (number, names) = match (number, &entry, &known) {
            (Some(given), ..) => given,
            (None, Some(entry), Some(known)) => (entry.doc, known.story.names),
            (None, ..) => {
                let (number, at) =
                    self.store.name_documents(&family.name, dir, std::slice::from_ref(&name))?;
                (number, at)
            }
        };
        let mut document = Document {
            number,
            dir: Arc::clone(dir),
            names,
            stratum,
            story: entry.as_ref().map(|entry| entry.story).filter(|_| known.is_some()),
            stamp,
            digest: known.as_ref().and_then(|known| known.story.content),
            above: Arc::clone(&going.above),
            handed: Arc::clone(&going.handed),
            ..Document::unknown(ix, family, DocId::at(&family.name, dir, &name))
        };
        document.name = name;
        let split = &self.pipeline.target(family.steps[0].target).name;
        if let Some(child) = &child {
            let own = known.as_ref().and_then(|known| known.entry(split)).and_then(|entry| entry.act);
            let Some((at, act)) = self.child_record(going, child, own)? else { return Ok(None) };
            document.digest = Some(child.digest);
            document.results[0] = Some(match going.twins.get(&document.name) {
                None => StepResult { act: Some(at), record: Some(act), ..StepResult::bare(State::Done, "") },
                Some(twin) => {
                    let id = &document.id;
                    let message =
                        format!("{id} is made by {split} and by {twin}; a list of streams takes one");
                    let failure = Failure::new(FailureKind::Collision, "", message);
                    StepResult::bare(State::Failed, derived_note(&failure))
                }
            });
        } else if is_now {
            document.results[0] = Some(StepResult::bare(State::Blocked, going.stopped_by.clone()));
        }
        let mut states = vec![None; family.steps.len()];
        if let Some(known) = &known {
            for (step, place) in family.steps.iter().enumerate().filter(|(_, step)| step.stratum < stratum) {
                let result = result_of(self.store, known, &self.pipeline.target(place.target).name)?;
                states[step] = result.as_ref().map(|result| result.state);
                document.results[step] = result;
            }
        }
        document.before = known;
        for step in family.steps[1..].iter().filter(|step| step.stratum == stratum) {
            self.tally.came(step.target);
        }
        let doc = self.scheduler.open(ix, stratum, &states);
        let place = doc.0 as usize;
        self.open.resize_with(self.open.len().max(place + 1), || None);
        let work = vec![None; document.results.len()];
        self.open[place] = Some(Open { document, work, reading: 0, feed: Some(feed), group: None });
        self.scheduler.ready(doc);
        Ok(Some(true))
    }

    /// The record of a child: any that has its bytes, its own first.
    fn child_record(
        &self,
        going: &Going,
        child: &Child,
        own: Option<Position>,
    ) -> Result<Option<(Position, Arc<Act>)>> {
        let is_it = |at: Position| -> Result<Option<Arc<Act>>> {
            if self.store.is_bad(at) {
                return Ok(None);
            }
            let act = self.store.act(at)?;
            let holds = |act: &Arc<Act>| match &act.outcome {
                Outcome::Output(output) => child.is(output) && self.store.is_there(output),
                _ => false,
            };
            Ok(act.filter(holds))
        };
        if let Some(at) = own
            && let Some(act) = is_it(at)?
        {
            return Ok(Some((at, act)));
        }
        let key = action_key(&going.recipe, &key_inputs(&going.inputs, &child.name));
        for at in self.store.candidates(key.0.prefix()) {
            if let Some(act) = is_it(at)? {
                return Ok(Some((at, act)));
            }
        }
        Ok(None)
    }

    /// What a document was split into is damaged: it is set aside, and the document is split again.
    fn split_again(&mut self, ticket: Ticket, split: Option<Position>) -> Result<()> {
        if let Some(at) = split {
            self.store.mark_bad(at)?;
        }
        self.decide_anew(ticket.doc);
        Ok(())
    }

    /// A child is closed.
    pub(super) fn child_closed(&mut self, number: u64, settled: bool) {
        let Some(feed) = self.feeds.list.get_mut(&number) else { return };
        feed.open -= 1;
        feed.unsettled |= !settled;
        if feed.open == 0
            && matches!(feed.phase, Phase::Over)
            && let Some(feed) = self.feeds.list.remove(&number)
        {
            self.fed(&feed);
        }
    }

    /// The children of a document are settled.
    fn fed(&mut self, feed: &Feed) {
        if feed.dead || !self.scheduler.is_current(feed.ticket) {
            return;
        }
        if let Some(open) = self.open[feed.ticket.doc.0 as usize].as_mut() {
            open.document.unsettled_children |= feed.unsettled;
        }
        self.scheduler.children_settled(feed.ticket);
    }

    pub(super) fn retire_child(&mut self, ix: FamilyIx, dir: &str, entry: &Entry) -> Result<()> {
        let family = self.families.family(ix);
        let Some(known) = before(self.store, entry.story)? else { return Ok(()) };
        let document = Document {
            number: entry.doc,
            dir: Arc::from(dir),
            name: entry.name.clone(),
            names: known.story.names,
            story: Some(entry.story),
            stamp: entry.stamp,
            digest: known.story.content,
            before: Some(known),
            ..Document::unknown(ix, family, DocId::at(&family.name, dir, &entry.name))
        };
        self.retire(&document)
    }

    /// A document is gone: so are all that were split from it.
    pub(super) fn retire_children(&mut self, document: &Document) -> Result<()> {
        let splits: Vec<FamilyIx> =
            self.families.family(document.family).splits.iter().map(|split| split.family).collect();
        let dir = format!("{}#", document.id);
        for ix in splits {
            for entry in self.store.directory(&self.families.family(ix).name, &dir)? {
                if !entry.flags.gone {
                    self.retire_child(ix, &dir, &entry)?;
                }
            }
        }
        Ok(())
    }
}
