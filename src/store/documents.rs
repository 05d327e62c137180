//! Documents of a store by name: their entries in the index, their stories, and those that are open in a running build.

use crate::error::Result;
use crate::model::action::{Position, State, Story};
use crate::model::document::{DocId, DocNumber};
use crate::model::pipeline::TargetIx;
use crate::store::facade::{Store, is_failed};
use crate::store::frame::{Frame, Names};
use crate::store::index::{Entry, Flags, Sums};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

impl Store {
    /// Gives new documents of a directory their numbers, and writes their names. At most 128 at once.
    pub fn name_documents(&self, family: &str, dir: &str, names: &[String]) -> Result<(DocNumber, Position)> {
        let count = names.len() as u32;
        let first = DocNumber(self.next_document.fetch_add(count, Ordering::Relaxed));
        let (directory, names) = match (dir, names) {
            ("", [only]) if only.is_empty() => (String::new(), vec![family.to_owned()]),
            ("", names) => (family.to_owned(), names.to_vec()),
            (dir, names) => (format!("{family}/{dir}"), names.to_vec()),
        };
        {
            let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            if !families.iter().any(|known| known == family) {
                families.push(family.to_owned());
            }
        }
        let at = self.log.append(&Frame::Names(Names { directory, first, names }), None)?;
        Ok((first, at))
    }

    /// The id of a document by its number and the frame that names it.
    pub fn id_of(&self, number: DocNumber, names: Position) -> Result<Option<DocId>> {
        let Some(Frame::Names(names)) = self.log.read_frame(names)? else { return Ok(None) };
        let Some(name) = names.name(number) else { return Ok(None) };
        Ok(Some(match names.directory.as_str() {
            "" => DocId::of_set(name),
            directory => {
                let (family, dir) = directory.split_once('/').unwrap_or((directory, ""));
                DocId::at(family, dir, name)
            }
        }))
    }

    /// The names of all sources and sets that have documents.
    pub fn families(&self) -> Vec<String> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How a document stands, by the newest story of it.
    pub fn entry(&self, family: &str, dir: &str, name: &str) -> Result<Option<Entry>> {
        if let Some(entry) = self.pages.get(family, dir, name) {
            return Ok(Some(entry));
        }
        Ok(self.index.get(family, dir, name)?)
    }

    /// The documents of one directory, in order of names, those that are gone among them.
    pub fn directory(&self, family: &str, dir: &str) -> Result<Vec<Entry>> {
        Ok(self.index.directory(family, dir)?)
    }

    /// Shows the same one by one, as long as `visit` says true.
    pub fn each_in(&self, family: &str, dir: &str, visit: &mut dyn FnMut(&Entry) -> bool) -> Result<()> {
        Ok(self.index.visit(family, dir, &mut |entry| !visit(entry))?)
    }

    /// The directories of a family that have documents.
    pub fn directories(&self, family: &str) -> Result<Vec<String>> {
        Ok(self.index.directories(family)?)
    }

    /// Visits the documents of a family in byte order of ids, as long as `visit` says true.
    pub fn scan(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry) -> bool) -> Result<()> {
        self.write_pages()?;
        Ok(self.index.scan(family, &mut |dir, entry| !visit(dir, entry))?)
    }

    /// The directories of a family that have documents, of `dir` and below it.
    pub fn directories_below(&self, family: &str, dir: &str) -> Result<Vec<String>> {
        Ok(self.index.directories_below(family, dir)?)
    }

    /// Visits the documents of a family that have failed or are blocked, in no order of ids.
    pub fn unwell(&self, family: &str, visit: &mut dyn FnMut(&str, &Entry)) -> Result<()> {
        self.write_pages()?;
        Ok(self.index.unwell(family, visit)?)
    }

    /// Counts over a family.
    pub fn sums(&self, family: &str) -> Result<Sums> {
        self.write_pages()?;
        Ok(self.index.sums(family)?)
    }

    /// Whether any document of a family is gone.
    pub fn has_gone(&self, family: &str) -> Result<bool> {
        if let Some(known) = self.gone.lock().unwrap_or_else(PoisonError::into_inner).get(family) {
            return Ok(*known);
        }
        let gone = self.index.sums(family)?.gone > 0;
        self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(family.to_owned(), gone);
        Ok(gone)
    }

    /// Puts an entry into its page once everything that was appended so far is on disk.
    pub fn put_entry(&self, family: &str, dir: &str, entry: Entry, story: Position) {
        if entry.flags.gone {
            self.gone.lock().unwrap_or_else(PoisonError::into_inner).insert(family.to_owned(), true);
        }
        self.touched.store(true, Ordering::Relaxed);
        self.pages.put(family, dir, entry, story);
    }

    /// Writes a story. Its entry is to be put next, after what changed by it was noted: no checkpoint comes between.
    pub fn add_story(&self, story: &Story) -> Result<Position> {
        self.pages.announce(self.log.synced(), || self.log.append(&Frame::Story(story.clone()), None))
    }

    /// Writes the newest story of a document anew, as one that is not settled: the next build looks at it.
    pub fn unsettle(&self, family: &str, dir: &str, entry: &Entry, story: Story) -> Result<()> {
        let story = Story { settled: false, previous: Some(entry.story), run: self.run(), ..story };
        let at = self.add_story(&story)?;
        self.put_entry(family, dir, Store::entry_of(&entry.name, &story, at), at);
        self.unsettle_ancestors(&DocId::at(family, dir, &entry.name))
    }

    /// Writes a story that says something else of a document, which is as settled as it was.
    pub fn restate(&self, family: &str, dir: &str, entry: &Entry, story: Story) -> Result<()> {
        let story = Story { previous: Some(entry.story), run: self.run(), ..story };
        let at = self.add_story(&story)?;
        self.put_entry(family, dir, Store::entry_of(&entry.name, &story, at), at);
        Ok(())
    }

    /// Writes what is due into the index now.
    pub fn write_pages(&self) -> Result<()> {
        if self.pages.len() == 0 {
            return Ok(());
        }
        self.pages.write_due(&self.index, self.log.synced())
    }

    /// The newest story in which anything changed in a stream; 0 if none ever did.
    pub fn last_change(&self, stream: &str) -> Position {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.get(stream).copied().unwrap_or(Position(0))
    }

    /// Something changed in a stream, in the story at this place.
    pub fn note_change(&self, stream: &str, at: Position) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        match changes.get_mut(stream) {
            Some(last) => *last = (*last).max(at),
            None => {
                changes.insert(stream.to_owned(), at);
            }
        }
    }

    /// A result of an open document.
    pub fn note_open(&self, id: &DocId, target: TargetIx, at: Position) {
        let mut open = self.open_documents.lock().unwrap_or_else(PoisonError::into_inner);
        match open.get_mut(id.as_str()) {
            Some(results) => results.push((target, at)),
            None => drop(open.insert(id.as_str().to_owned(), vec![(target, at)])),
        }
    }

    /// The document has its story.
    pub fn note_closed(&self, id: &DocId) {
        self.open_documents.lock().unwrap_or_else(PoisonError::into_inner).remove(id.as_str());
    }

    /// What an open document has so far.
    pub fn open_results(&self, id: &DocId) -> Vec<(TargetIx, Position)> {
        let open = self.open_documents.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id.as_str()).cloned().unwrap_or_default()
    }
}

/// The flags of an entry, as its story says.
pub(super) fn flags_of(story: &Story) -> Flags {
    let any = |state: State| story.entries.iter().any(|entry| entry.state == state);
    Flags {
        settled: story.settled,
        racy: story.racy,
        failed: story.entries.iter().any(is_failed),
        blocked: any(State::Blocked),
        skipped: any(State::Skipped),
        gone: story.gone,
    }
}

impl Store {
    /// The entry that a story gives its document.
    pub fn entry_of(name: &str, story: &Story, at: Position) -> Entry {
        Entry {
            name: name.to_owned(),
            flags: flags_of(story),
            stamp: story.stamp,
            doc: story.doc,
            definition: story.definition,
            story: at,
        }
    }
}
