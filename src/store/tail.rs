//! What the log holds that index and tables have not seen: its tail after a kill, all of it where the index is gone.
//!
//! One pass over the frames. Of records only key and mark are read; what stories share, names and definitions, is read
//! once. Knows nothing of how the store is opened, and writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::Map;
use crate::model::action::{Position, Story};
use crate::store::documents::flags_of;
use crate::store::facade::Remembered;
use crate::store::frame::{Frame, FrameRef, Names};
use crate::store::index::Entry;
use crate::store::recover::{Replay, replay};
use crate::store::segment::Segments;
use crate::store::tables::Finder;

/// So many frames of names are at hand: stories of one folder come together, but not of one alone.
const NAMES_AT_HAND: usize = 256;

/// The documents of a folder whose stories were found.
pub(super) struct Folder {
    /// The source or stream.
    pub(super) family: String,
    /// Within it.
    pub(super) dir: String,
    /// By name.
    pub(super) entries: BTreeMap<String, Entry>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Tail {
    /// What the index is to remember of it.
    pub(super) remembered: Remembered,
    /// In order of family and folder.
    pub(super) folders: Vec<Folder>,
}

impl Tail {
    /// Adds what was found to what the index remembered already.
    pub(super) fn add_to(&self, remembered: &mut Remembered) {
        let tail = &self.remembered;
        remembered.next_document = remembered.next_document.max(tail.next_document);
        remembered.newest_mark = remembered.newest_mark.max(tail.newest_mark);
        for (all, new) in [
            (&mut remembered.recipes, &tail.recipes),
            (&mut remembered.loads, &tail.loads),
            (&mut remembered.definitions, &tail.definitions),
            (&mut remembered.marks, &tail.marks),
            (&mut remembered.runs, &tail.runs),
            (&mut remembered.ended, &tail.ended),
            (&mut remembered.bad, &tail.bad),
        ] {
            for at in new {
                if !all.contains(at) {
                    all.push(*at);
                }
            }
            all.sort_unstable();
        }
        for family in &tail.families {
            if !remembered.families.contains(family) {
                remembered.families.push(family.clone());
            }
        }
        for (stream, at) in &tail.changes {
            note(&mut remembered.changes, stream, *at);
        }
    }
}

/// Frames on their way into a [`Tail`].
pub(super) struct Found<'a> {
    segments: &'a Segments,
    tail: Tail,
    /// By the place of their frame.
    names: Map<Position, Arc<Naming>>,
    /// The place in `tail.folders`.
    places: Map<(String, String), usize>,
    /// By the place of the definition: its targets, and the newest story under it.
    definitions: Map<Position, (Vec<String>, Position)>,
}

/// Names of one frame.
struct Naming {
    names: Names,
    /// The place of their folder; nothing where each name is a stream of its own.
    folder: Option<usize>,
}

impl<'a> Found<'a> {
    /// Nothing was found yet.
    pub(super) fn new(segments: &'a Segments) -> Self {
        Found {
            segments,
            tail: Tail::default(),
            names: Map::default(),
            places: Map::default(),
            definitions: Map::default(),
        }
    }

    /// Forgets what was found.
    pub(super) fn forget(&mut self) {
        *self = Found::new(self.segments);
    }

    /// Reads the log from a place on: for the tables what lies behind `covered`, for the index what lies behind
    /// `applied`.
    pub(super) fn read(
        &mut self,
        from: Position,
        applied: Position,
        covered: Position,
        finder: &mut Finder,
    ) -> Result<Replay> {
        replay(self.segments, from, None, &mut |_, frame| self.frame(&frame, applied, covered, finder))
    }

    /// All that was found.
    pub(super) fn finish(mut self) -> Tail {
        let changes = &mut self.tail.remembered.changes;
        // Which of its targets changed is not asked: a set looks at its members once more than needed.
        for (targets, newest) in self.definitions.into_values().filter(|(_, newest)| newest.0 > 0) {
            targets.iter().for_each(|target| note(changes, target, newest));
        }
        self.tail.folders.sort_by(|a, b| (&a.family, &a.dir).cmp(&(&b.family, &b.dir)));
        self.tail
    }

    fn frame(&mut self, frame: &FrameRef<'_>, applied: Position, covered: Position, finder: &mut Finder) {
        let at = frame.position;
        if let Some((key, mark)) = frame.key_and_mark() {
            let newest = &mut self.tail.remembered.newest_mark;
            *newest = (*newest).max(mark);
            if at >= covered {
                finder.insert(key, at);
            }
            return;
        }
        if at < applied {
            return;
        }
        let Some(decoded) = frame.decode() else { return };
        let remembered = &mut self.tail.remembered;
        match decoded {
            Frame::Names(names) => drop(self.named(at, names)),
            Frame::Story(story) => self.story(at, &story),
            Frame::Recipe(_) => remembered.recipes.push(at),
            Frame::Loads(_) => remembered.loads.push(at),
            Frame::Definition(_) => remembered.definitions.push(at),
            Frame::Mark(_) => remembered.marks.push(at),
            Frame::Run(_) => remembered.runs.push(at),
            Frame::Ended(_) => remembered.ended.push(at),
            Frame::Bad(bad) => remembered.bad.push(bad.act),
            Frame::Act(_) | Frame::Close(_) => {}
        }
    }

    fn named(&mut self, at: Position, names: Names) -> Arc<Naming> {
        let next = names.first.0.saturating_add(names.names.len() as u32);
        self.numbers_below(next);
        let first = names.names.first().map_or("", String::as_str);
        let (family, dir) = names.directory.split_once('/').unwrap_or((&names.directory, ""));
        let folder = if names.directory.is_empty() {
            self.family(first);
            None
        } else {
            Some(self.folder(family, dir))
        };
        if self.names.len() >= NAMES_AT_HAND {
            self.names.clear();
        }
        let naming = Arc::new(Naming { names, folder });
        self.names.insert(at, Arc::clone(&naming));
        naming
    }

    /// Whatever became of its name, a number below was given.
    fn numbers_below(&mut self, next: u32) {
        let known = &mut self.tail.remembered.next_document;
        *known = (*known).max(next);
    }

    fn family(&mut self, name: &str) {
        let families = &mut self.tail.remembered.families;
        if !families.iter().any(|known| known == name) {
            families.push(name.to_owned());
        }
    }

    fn folder(&mut self, family: &str, dir: &str) -> usize {
        self.family(family);
        let (family, dir) = (family.to_owned(), dir.to_owned());
        *self.places.entry((family, dir)).or_insert_with_key(|(family, dir)| {
            let (family, dir) = (family.clone(), dir.clone());
            self.tail.folders.push(Folder { family, dir, entries: BTreeMap::new() });
            self.tail.folders.len() - 1
        })
    }

    fn story(&mut self, at: Position, story: &Story) {
        self.numbers_below(story.doc.0.saturating_add(1));
        let naming = if let Some(naming) = self.names.get(&story.names) {
            Arc::clone(naming)
        } else {
            // Read by its place, it may be there although the group around it cannot be walked through.
            let Ok(Some(Frame::Names(names))) = self.segments.frame(story.names) else { return };
            self.named(story.names, names)
        };
        let Some(name) = naming.names.name(story.doc) else { return };
        let (folder, name) = match naming.folder {
            Some(folder) => (folder, name),
            None => (self.folder(name, ""), ""),
        };
        self.changed(folder, story.definition, at);
        let mut flags = flags_of(story);
        // What it names was collected, so nothing needed it: whoever needs it again has to look.
        flags.settled &=
            !story.entries.iter().filter_map(|entry| entry.act).any(|act| self.segments.is_collected(act));
        let entry = Entry {
            name: name.to_owned(),
            flags,
            stamp: story.stamp,
            doc: story.doc,
            definition: story.definition,
            story: at,
        };
        self.tail.folders[folder].entries.insert(name.to_owned(), entry);
    }

    /// A story changes its family and the targets that it was written for.
    fn changed(&mut self, folder: usize, definition: Position, at: Position) {
        note(&mut self.tail.remembered.changes, &self.tail.folders[folder].family, at);
        let (_, newest) = self.definitions.entry(definition).or_insert_with(|| {
            let targets = match self.segments.frame(definition) {
                Ok(Some(Frame::Definition(definition))) => definition.targets,
                _ => Vec::new(),
            };
            (targets.into_iter().map(|target| target.name).collect(), Position(0))
        });
        *newest = (*newest).max(at);
    }
}

/// Something changed in a stream, in the story at this place.
fn note(changes: &mut BTreeMap<String, Position>, stream: &str, at: Position) {
    match changes.get_mut(stream) {
        Some(last) => *last = (*last).max(at),
        None => drop(changes.insert(stream.to_owned(), at)),
    }
}
