//! What a process does with the store, chosen at random: a part of a build.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::oracle::{Known, Past};
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::{
    Act, DefinedTarget, Definition, Mark, Outcome, Output, Place, Position, Recipe, State, Story, StoryEntry,
};
use crate::model::document::Stamp;
use crate::model::failure::{Failure, FailureKind};
use crate::store::Store;
use crate::store::disk::crash::Random;
use crate::store::frame::{Bad, Frame, Names};
use crate::store::tables::Finder;
use crate::time::Millis;

/// A process with an open store.
pub(super) struct Session<'a> {
    pub(super) store: &'a Store,
    pub(super) past: &'a mut Past,
    pub(super) random: &'a mut Random,
    recipe: Option<Position>,
    definition: Option<Position>,
}

impl<'a> Session<'a> {
    /// Begins a run.
    pub(super) fn begin(store: &'a Store, past: &'a mut Past, random: &'a mut Random) -> Result<Self> {
        store.begin_run(vec!["build".to_owned()], Digest::default())?;
        Ok(Session { store, past, random, recipe: None, definition: None })
    }

    /// So many steps; the first error ends it, as it ends a build.
    pub(super) fn steps(&mut self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| {
            let before = self.store.synced();
            let done = self.step();
            if done.is_err() {
                self.past.unsure.push(before.0..u64::MAX);
                self.note_run();
            }
            done
        })
    }

    fn step(&mut self) -> Result<()> {
        match self.random.below(24) {
            0..3 => self.name(),
            3..11 => self.act(),
            11..16 => self.story(),
            16 => self.mark(),
            17 => self.set_aside(),
            18 | 19 => self.store.flush(),
            20 => {
                self.store.hurry(true);
                Ok(())
            }
            21 => self.store.write_pages(),
            22 => self.store.checkpoint(),
            _ => self.table(),
        }
    }

    /// What was appended is known before anybody asks whether it is durable.
    fn add(&mut self, at: Position, frame: Frame, bytes: Option<Arc<[u8]>>) {
        self.note_run();
        self.past.add(at, Position(at.0 + 1), frame, bytes);
    }

    fn name(&mut self) -> Result<()> {
        let count = 1 + self.random.below(3);
        let number = self.store.next_document.load(Ordering::Relaxed);
        let mut names: Vec<String> = (0..count).map(|i| format!("d{:03}", u64::from(number) + i)).collect();
        let (family, dir) =
            *self.random.pick(&[("notes", ""), ("notes", "deep/er"), ("mails", "x"), ("set", "")]);
        if family == "set" {
            let known = self.past.documents().iter().any(|known| known.document.0 == "set");
            if known {
                return Ok(());
            }
            names = vec![String::new()];
        }
        let (first, at) = self.store.name_documents(family, dir, &names)?;
        let (directory, names) = match (family, dir) {
            ("set", _) => (String::new(), vec!["set".to_owned()]),
            (family, "") => (family.to_owned(), names),
            (family, dir) => (format!("{family}/{dir}"), names),
        };
        self.add(at, Frame::Names(Names { directory, first, names }), None);
        Ok(())
    }

    fn recipe(&mut self) -> Result<Position> {
        if let Some(at) = self.recipe.filter(|_| !self.random.once_in(8)) {
            return Ok(at);
        }
        let recipe = Recipe {
            shape: "each".to_owned(),
            module: "m".to_owned(),
            program: vec![("command".to_owned(), format!("m{}", self.random.below(3)))],
            files: Vec::new(),
            params: Vec::new(),
            with: Vec::new(),
        };
        let before = self.store.recipes.count();
        let at = self.store.intern_recipe(&recipe)?;
        if self.store.recipes.count() > before {
            self.add(at, Frame::Recipe(recipe), None);
        }
        Ok(*self.recipe.insert(at))
    }

    fn definition(&mut self) -> Result<Position> {
        if let Some(at) = self.definition.filter(|_| !self.random.once_in(8)) {
            return Ok(at);
        }
        let family = format!("f{}", self.random.below(3));
        let target = |name: &str| DefinedTarget { name: name.to_owned(), digest: None, publish: None };
        let definition = Definition { family, targets: vec![target("read"), target("sum")] };
        let before = self.store.definitions.count();
        let at = self.store.intern_definition(&definition)?;
        if self.store.definitions.count() > before {
            self.add(at, Frame::Definition(definition), None);
        }
        Ok(*self.definition.insert(at))
    }

    fn document(&mut self) -> Result<Known> {
        loop {
            let known = self.past.documents();
            if !known.is_empty() {
                return Ok(self.random.pick(&known).clone());
            }
            self.name()?;
        }
    }

    fn act(&mut self) -> Result<()> {
        let doc = self.document()?.number;
        let recipe = self.recipe()?;
        let bytes = self.bytes();
        let output = |place| {
            Outcome::Output(Output {
                digest: Digest::of(&bytes),
                length: bytes.len() as u64,
                ext: "txt".to_owned(),
                place,
                meta: String::new(),
            })
        };
        let (outcome, bytes) = match self.random.below(8) {
            0 => (Outcome::Skip("no text".to_owned()), None),
            1 => (Outcome::Failed(Failure::new(FailureKind::ModuleError, "ValueError", "no")), None),
            2 => (output(Place::Input), None),
            _ => (output(Place::Blob), Some(bytes)),
        };
        // Now and then the same work is done again, or another key begins alike.
        let earlier: Vec<u64> = self.past.acts().map(|(_, act, _)| act.key).collect();
        let key = match self.random.below(6) {
            0 if !earlier.is_empty() => *self.random.pick(&earlier),
            1 if !earlier.is_empty() => *self.random.pick(&earlier) ^ 1,
            _ => self.random.next(),
        };
        let act = Act {
            key,
            run: self.store.run(),
            recipe,
            loads: None,
            doc,
            mark: self.store.newest_mark(),
            inputs: Vec::new(),
            outcome,
            start: Millis(1_700_000_000_000 + self.random.below(1000)),
            duration: self.random.below(1000),
            worker: 1,
            attempt: 1,
            log: None,
            extras: String::new(),
        };
        let (at, act) = self.store.add_act(act, bytes.as_deref())?;
        self.add(at, Frame::Act((*act).clone()), bytes);
        Ok(())
    }

    /// Small, empty, large; some of them more than once.
    fn bytes(&mut self) -> Arc<[u8]> {
        let length = match self.random.below(8) {
            0 => 0,
            1..6 => self.random.below(200),
            6 => 601 + self.random.below(900),
            _ => 700,
        } as usize;
        let seed = if length == 700 { self.random.below(2) } else { self.random.next() };
        let mut random = Random(seed);
        (0..length).map(|_| random.next() as u8).collect()
    }

    fn story(&mut self) -> Result<()> {
        let known = self.document()?;
        let definition = self.definition()?;
        let bad = self.past.bad();
        let of_this = |(at, act, _): (Position, &Act, _)| (act.doc == known.number).then_some(at);
        let acts: Vec<Position> =
            self.past.acts().filter_map(of_this).filter(|at| !bad.contains(at)).collect();
        let entry = |at: &Position| StoryEntry {
            state: State::Done,
            act: Some(*at),
            published: false,
            note: String::new(),
        };
        let newest = acts.len().saturating_sub(2);
        let story = Story {
            doc: known.number,
            run: self.store.run(),
            names: known.names,
            definition,
            previous: known.story.map(|(at, _)| at),
            stamp: Stamp(self.random.next()),
            content: Some(Digest::of(&known.number.0.to_le_bytes())),
            settled: !self.random.once_in(4),
            racy: false,
            gone: self.random.once_in(10),
            entries: acts[newest..].iter().map(entry).collect(),
        };
        let (family, dir, name) = &known.document;
        let at = self.store.add_story(&story)?;
        self.add(at, Frame::Story(story.clone()), None);
        self.store.note_change(family, at);
        self.store.put_entry(family, dir, Store::entry_of(name, &story, at), at);
        Ok(())
    }

    fn mark(&mut self) -> Result<()> {
        let docs = self.random.once_in(2).then(|| "notes/**".to_owned());
        let mark = Mark { number: self.store.newest_mark() + 1, time: Millis(1), docs, ..Mark::default() };
        let from = self.store.synced();
        // Known before: the call itself waits until it is durable.
        let frame = Frame::Mark(mark.clone());
        self.past.add(from, Position(u64::MAX), frame, None);
        let fact = self.past.facts.len() - 1;
        self.store.add_mark(mark.clone())?;
        self.past.facts[fact].end = self.store.appended().0;
        self.note_run();
        if mark.docs.is_some() {
            for known in self.past.documents() {
                self.unsettle(&known)?;
            }
        }
        self.store.all_unsettled();
        Ok(())
    }

    /// The run has its place with the first frame behind it.
    fn note_run(&mut self) {
        if let Some(run) = self.store.log.run_at()
            && !self.past.facts.iter().any(|fact| fact.at == run.0 && matches!(fact.frame, Frame::Run(_)))
        {
            match self.store.log.read_frame(run) {
                Ok(Some(frame)) => self.past.add(run, Position(run.0 + 1), frame, None),
                // On a disk that is gone nobody sees what was written there.
                _ => self.past.unsure.push(run.0..run.0 + 1),
            }
        }
    }

    fn unsettle(&mut self, known: &Known) -> Result<()> {
        let (family, dir, name) = &known.document;
        if family == "notes"
            && let Some(mut entry) = self.store.entry(family, dir, name)?
        {
            entry.flags.settled = false;
            let story = entry.story;
            self.store.put_entry(family, dir, entry, story);
        }
        Ok(())
    }

    /// A result turned out to be wrong.
    fn set_aside(&mut self) -> Result<()> {
        let acts: Vec<Position> = self.past.acts().map(|(at, ..)| at).collect();
        if acts.is_empty() || self.past.keeps_all {
            return Ok(());
        }
        let at = *self.random.pick(&acts);
        if self.store.is_bad(at) {
            return Ok(());
        }
        let from = self.store.synced();
        let digest = match self.store.act(at)?.map(|act| act.outcome.clone()) {
            Some(Outcome::Output(output)) => output.digest,
            _ => Digest::default(),
        };
        self.store.mark_bad(at)?;
        let end = self.store.appended();
        // The store says the time; what was read back must be the same from then on.
        let time = crate::time::now();
        self.past.add(from, end, Frame::Bad(Bad { act: at, digest, time }), None);
        self.note_run();
        for known in self.past.documents() {
            let names = known
                .story
                .as_ref()
                .is_some_and(|(_, story)| story.entries.iter().any(|entry| entry.act == Some(at)));
            let (family, dir, name) = &known.document;
            if names && let Some(mut entry) = self.store.entry(family, dir, name)? {
                entry.flags.settled = false;
                let story = entry.story;
                self.store.put_entry(family, dir, entry, story);
            }
        }
        self.store.all_unsettled();
        Ok(())
    }

    /// Keys move from memory into a table, as in a build: never where the disk could not read all of the log.
    fn table(&mut self) -> Result<()> {
        if self.store.is_partial {
            return Ok(());
        }
        let end = self.store.synced();
        let mut finder = self.store.finder.lock().unwrap();
        if finder.seal(end) {
            run_jobs(&mut finder)?;
        }
        Ok(())
    }
}

fn run_jobs(finder: &mut Finder) -> Result<()> {
    while let Some(job) = finder.next_job() {
        let made = job.run();
        finder.install(made)?;
    }
    Ok(())
}
