//! Opening documents: what is known of them, and their bytes where those are needed.

use std::sync::Arc;

use crate::engine::build::{Build, Message, Open};
use crate::engine::document::{Content, Document, StepResult};
use crate::engine::requests::INLINE;
use crate::engine::sets::{before, content_of_given, id_of, result_of, source_content};
use crate::engine::supply::{Unopened, Why};
use crate::error::Result;
use crate::model::action::{Position, State};
use crate::model::document::Stamp;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::SourceIx;
use crate::plan::family::Origin;
use crate::scan::{Ask, Given, ReadOutcome, Roots};

/// So many sources are handed to the readers before anything else goes on.
const READ_AT_ONCE: usize = 64;

impl Build<'_> {
    /// Opens a document in a stratum; one that is gone is retired at once.
    pub(super) fn open_document(&mut self, stratum: usize, unopened: Unopened) -> Result<()> {
        let Unopened { family, dir, name, number, names, why, group } = unopened;
        let of = self.families.family(family);
        let id = id_of(&of.name, &dir, &name);
        let (story, stamp, racy) = match &why {
            Why::New(entry) | Why::Again(entry) => (
                entry.as_ref().map(|entry| entry.story),
                entry.as_ref().map_or(Stamp::default(), |entry| entry.stamp),
                entry.as_ref().is_some_and(|entry| entry.flags.racy),
            ),
            Why::Changed(known) | Why::Look(known) | Why::Gone(known) => {
                (Some(Position(known.extra)), known.stamp, false)
            }
        };
        let known = match story {
            Some(at) => before(self.store, at)?,
            None => None,
        };
        let names = match (names, &known) {
            (Some(names), _) => names,
            (None, Some(before)) => before.story.names,
            // The story cannot be read: the document is named anew.
            (None, None) => self.store.name_documents(&of.name, &dir, std::slice::from_ref(&name))?.1,
        };
        // A story that says the same but for this is not written again: the entry, where it is at hand, knows better.
        let racy = match &why {
            Why::New(Some(_)) | Why::Again(Some(_)) => racy,
            _ => racy || known.as_ref().is_some_and(|before| before.story.racy),
        };
        let digest = known.as_ref().and_then(|before| before.story.content);
        let mut document = Document {
            id,
            number,
            family,
            is_given: of.given,
            dir,
            name,
            names,
            stratum,
            before: known,
            story,
            stamp,
            racy,
            content: None,
            digest,
            results: vec![None; of.steps.len()],
            restarts: 0,
            above: Arc::from([]),
            handed: Arc::from([]),
            unsettled_children: false,
            settled: false,
        };
        if let Why::Gone(_) = why {
            return self.retire(&document);
        }
        let mut states = vec![None; of.steps.len()];
        if let Some(before) = document.before.clone() {
            for (step, place) in of.steps.iter().enumerate() {
                if place.stratum < stratum {
                    let result = result_of(self.store, &before, &self.pipeline.target(place.target).name)?;
                    states[step] = result.as_ref().map(|result| result.state);
                    document.results[step] = result;
                }
            }
        }
        for step in of.steps.iter().filter(|step| step.stratum == stratum) {
            self.tally.came(step.target);
        }
        let is_known = matches!(why, Why::Look(_)) && !document.racy && document.digest.is_some();
        let must_read = match (of.origin, &why) {
            (Origin::Set(_), _) | (_, Why::Again(_)) => false,
            _ => !is_known || self.options.reads_all,
        };
        if let (Origin::Source(ix), Some(digest), false) = (of.origin, document.digest, of.given)
            && !must_read
        {
            let roots = &self.parts.roots[ix.0];
            let mut content = source_content(roots, document.id.rel(), digest);
            if self.options.reads_all
                && let Some((length, mime)) = crate::scan::peek(roots, document.id.rel())
            {
                // If it is another file by now, the next build finds its stamp changed and decides all anew.
                (content.length, content.mime) = (length, Some(mime.to_owned()));
            }
            document.content = Some(content);
        }
        let rel = document.id.rel().to_owned();
        let doc = self.scheduler.open(family, stratum, &states);
        let ix = doc.0 as usize;
        self.open.resize_with(self.open.len().max(ix + 1), || None);
        self.open[ix] =
            Some(Open { work: vec![None; document.results.len()], document, reading: 0, feed: None, group });
        match of.origin {
            Origin::Source(source) if of.given => self.read_given(doc, source, &rel)?,
            Origin::Source(source) if must_read => {
                self.read_source(doc, Arc::clone(&self.parts.roots[source.0]), rel);
            }
            _ => self.scheduler.ready(doc),
        }
        Ok(())
    }

    fn read_source(&mut self, doc: crate::engine::scheduler::DocIx, roots: Arc<Roots>, rel: String) {
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return };
        self.readings = self.readings.wrapping_add(1);
        open.reading = self.readings;
        let reading = open.reading;
        self.to_read.push(((doc, reading), roots, rel));
        if self.to_read.len() >= READ_AT_ONCE {
            self.read_sources();
        }
    }

    /// Hands the sources that are to be read to the readers.
    pub(super) fn read_sources(&mut self) {
        if self.to_read.is_empty() {
            return;
        }
        let outbox = self.outbox.clone();
        let ask = Ask { keep: INLINE, mime: self.options.reads_all };
        self.reader.submit(std::mem::take(&mut self.to_read), ask, move |outcomes| {
            // The build may have ended; then nobody waits for this.
            drop(outbox.send(Message::Read(outcomes)));
        });
    }

    /// Reads a document's source again and decides everything of it anew: it changed while it was worked on.
    pub(super) fn read_again(&mut self, doc: crate::engine::scheduler::DocIx) -> Result<()> {
        // What a child has of a file comes from the document that it was split from.
        let doc = self.root_of(doc);
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return Ok(()) };
        open.document.restarts += 1;
        let family = self.families.family(open.document.family);
        for (step, place) in family.steps.iter().enumerate() {
            if place.stratum == open.document.stratum {
                open.document.results[step] = None;
                open.work[step] = None;
            }
        }
        let (Origin::Source(source), rel) = (family.origin, open.document.id.rel().to_owned()) else {
            return Ok(());
        };
        self.scheduler.restart(doc);
        if family.given {
            return self.read_given(doc, source, &rel);
        }
        self.read_source(doc, Arc::clone(&self.parts.roots[source.0]), rel);
        Ok(())
    }

    /// A source file was read.
    pub(super) fn source_read(
        &mut self,
        doc: crate::engine::scheduler::DocIx,
        reading: u32,
        outcome: ReadOutcome,
    ) -> Result<()> {
        let Some(open) = self.open[doc.0 as usize].as_mut().filter(|open| open.reading == reading) else {
            return Ok(());
        };
        let document = &mut open.document;
        let family = self.families.family(document.family);
        let Origin::Source(source) = family.origin else { return Ok(()) };
        let why = match outcome {
            ReadOutcome::Read(read) => {
                document.stamp = read.stamp;
                document.racy = read.racy;
                document.digest = Some(read.digest);
                document.content = Some(Content {
                    digest: read.digest,
                    length: read.length,
                    bytes: read.bytes,
                    mime: read.mime.map(str::to_owned),
                    given: None,
                    path: self.parts.roots[source.0].path_of(document.id.rel()),
                });
                self.scheduler.ready(doc);
                return self.commands();
            }
            ReadOutcome::Vanished => return self.vanished(doc),
            // As it was before this build: new, or changed.
            ReadOutcome::Stopped => {
                self.open[doc.0 as usize] = None;
                self.scheduler.closed(doc);
                return Ok(());
            }
            ReadOutcome::Unreadable(text) => text,
            ReadOutcome::Special => "it is no regular file any more".to_owned(),
            ReadOutcome::Changing => "it kept changing while it was read".to_owned(),
        };
        document.racy = true;
        self.unreadable(doc, format!("cannot read the file: {why}"))?;
        self.commands()
    }

    fn vanished(&mut self, doc: crate::engine::scheduler::DocIx) -> Result<()> {
        let document = self.open[doc.0 as usize].take().map(|open| open.document);
        self.scheduler.closed(doc);
        match document {
            Some(document) => self.retire(&document),
            None => Ok(()),
        }
    }

    /// What is no file is read at once: it is small, or only looked up.
    fn read_given(
        &mut self,
        doc: crate::engine::scheduler::DocIx,
        source: SourceIx,
        rel: &str,
    ) -> Result<()> {
        let Some(giver) = self.parts.roots[source.0].giver() else { return Ok(()) };
        let read = giver.read(rel)?;
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return Ok(()) };
        let document = &mut open.document;
        document.racy = false;
        match read {
            // What an earlier stratum made of it is of other bytes.
            Given::Document(given) if document.stratum > 0 && document.digest != Some(given.digest) => {}
            Given::Document(given) => {
                document.stamp = given.stamp;
                document.digest = Some(given.digest);
                document.content = Some(content_of_given(*given));
                self.scheduler.ready(doc);
                return Ok(());
            }
            Given::Broken { problem, stamp } => {
                document.stamp = stamp;
                return self.unreadable(doc, problem);
            }
            Given::Absent => return self.vanished(doc),
            Given::Changing => {}
        }
        document.racy = true;
        self.unreadable(doc, "its file was written while it was read".to_owned())
    }

    /// Nothing is known of a document's bytes: every target that would take them fails or is blocked.
    fn unreadable(&mut self, doc: crate::engine::scheduler::DocIx, why: String) -> Result<()> {
        let Some(open) = self.open[doc.0 as usize].as_mut() else { return Ok(()) };
        let document = &mut open.document;
        let family = self.families.family(document.family);
        document.digest = None;
        let failure = Failure::new(FailureKind::Unreadable, "", why);
        let note = crate::engine::decide::derived_note(&failure);
        for (step, place) in family.steps.iter().enumerate() {
            if place.stratum != document.stratum {
                continue;
            }
            let first = place.inputs.contains(&crate::plan::family::Input::Origin);
            let result = if first {
                StepResult::bare(State::Failed, note.clone())
            } else {
                StepResult::bare(State::Blocked, "it cannot be read")
            };
            document.results[step] = Some(result);
        }
        self.scheduler.ready(doc);
        self.commands()
    }
}
