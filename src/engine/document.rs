//! An open document: what is known of it while it goes through its targets. Bounded in number by the build.

use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::values::Handed;
use crate::hash::Digest;
use crate::model::action::{Act, Definition, Outcome, Output, Position, State, Story};
use crate::model::document::{DocId, DocNumber, Meta, Stamp};
use crate::model::pipeline::Pipeline;
use crate::plan::family::{Family, FamilyIx, Input, Step};

/// The document's own bytes: the source file, or the members of a set.
#[derive(Clone, Debug)]
pub struct Content {
    /// Of the bytes; of a set the root over its members.
    pub digest: Digest,
    /// In bytes; of a set the number of members.
    pub length: u64,
    /// Kept while small: what was hashed is what is sent.
    pub bytes: Option<Arc<[u8]>>,
    /// Told from the content, where the pipeline asks.
    pub mime: Option<String>,
    /// Of a document that is no file: what it brings along.
    pub given: Option<Arc<Facts>>,
    /// The source file; of a set its manifest, once it is written.
    pub path: PathBuf,
}

impl Content {
    /// How many bytes: of a file that was not read, because nothing asked for them, its length now.
    pub fn bytes(&self) -> u64 {
        if self.length > 0 || self.bytes.is_some() || self.path.as_os_str().is_empty() {
            return self.length;
        }
        std::fs::metadata(&self.path).map_or(0, |file| file.len())
    }
}

/// What a document that is no file brings along.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Its extension.
    pub ext: String,
    /// Of a row its scalars, of a result of another project all that it has there.
    pub meta: Meta,
}

/// How the document stands in one step.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Decided in this build or before.
    pub state: State,
    /// The record that says so.
    pub act: Option<Position>,
    /// The same, read.
    pub record: Option<Arc<Act>>,
    /// What no record says.
    pub note: String,
    /// The output's bytes while they are at hand and small.
    pub bytes: Option<Arc<[u8]>>,
    /// Its result is (to be) shown as a file.
    pub published: bool,
    /// Its module ran in this build.
    pub ran: bool,
}

impl StepResult {
    /// A state without a record.
    pub fn bare(state: State, note: impl Into<String>) -> Self {
        StepResult {
            state,
            act: None,
            record: None,
            note: note.into(),
            bytes: None,
            published: false,
            ran: false,
        }
    }

    /// The output, if there is one.
    pub fn output(&self) -> Option<&Output> {
        match &self.record.as_deref()?.outcome {
            Outcome::Output(output) => Some(output),
            _ => None,
        }
    }
}

/// The extension of what is given, where nothing is known of it: most are rows.
const ROW_EXT: &str = "json";

/// An open document.
#[derive(Clone)]
pub struct Document {
    /// Its name.
    pub id: DocId,
    /// Its number.
    pub number: DocNumber,
    /// Its family.
    pub family: FamilyIx,
    /// It is no file: a row, or a result of another project.
    pub is_given: bool,
    /// The folder in the index.
    pub dir: Arc<str>,
    /// The name in that folder; empty for a set.
    pub name: String,
    /// The frame that names it.
    pub names: Position,
    /// The stratum that it is open for.
    pub stratum: usize,
    /// The newest story, if there is one, and what it is told by.
    pub before: Option<Before>,
    /// Where the newest story is.
    pub story: Option<Position>,
    /// The source file's stamp as it was read (or as it was known).
    pub stamp: Stamp,
    /// The stamp cannot be trusted next time.
    pub racy: bool,
    /// The bytes; absent until they were read, and where nothing needs them.
    pub content: Option<Content>,
    /// The digest of the content, also where the bytes were not read again.
    pub digest: Option<Digest>,
    /// By step.
    pub results: Vec<Option<StepResult>>,
    /// How often the source changed while it was worked on.
    pub restarts: u32,
    /// Of a child: the meta of what it was split from, the nearest first.
    pub above: Arc<[Meta]>,
    /// Of a child: what those that it was split from hand down in this stratum.
    pub handed: Arc<[Handed]>,
    /// Some of its children are not settled.
    pub unsettled_children: bool,
    /// Its newest story, told in this build, says that every target is decided for good.
    pub settled: bool,
}

/// The newest story of a document with its definition.
#[derive(Clone, Debug)]
pub struct Before {
    /// The story.
    pub story: Arc<Story>,
    /// Names its entries.
    pub definition: Arc<Definition>,
}

impl Before {
    /// The entry of a target.
    pub fn entry(&self, target: &str) -> Option<&crate::model::action::StoryEntry> {
        let ix = self.definition.targets.iter().position(|defined| defined.name == target)?;
        self.story.entries.get(ix)
    }

    /// The template by which a target's result was published.
    pub fn published_by(&self, target: &str) -> Option<&str> {
        let defined = self.definition.targets.iter().find(|defined| defined.name == target)?;
        self.entry(target).filter(|entry| entry.published).and(defined.publish.as_deref())
    }
}

/// The folder and the name under which the index has a document.
pub fn place_of(id: &DocId) -> (&str, &str) {
    id.place()
}

impl Document {
    /// A document of a family, of which nothing is known.
    pub fn unknown(family: FamilyIx, of: &Family, id: DocId) -> Self {
        let (dir, name) = place_of(&id);
        Document {
            number: DocNumber(0),
            family,
            is_given: of.given,
            dir: Arc::from(dir),
            name: name.to_owned(),
            id,
            names: Position(0),
            stratum: 0,
            before: None,
            story: None,
            stamp: Stamp::default(),
            racy: false,
            content: None,
            digest: None,
            results: vec![None; of.steps.len()],
            restarts: 0,
            above: Arc::from([]),
            handed: Arc::from([]),
            unsettled_children: false,
            settled: false,
        }
    }

    /// The one input that a step takes, or why there is none: the states of what it may take.
    pub fn main_input(&self, step: &Step) -> MainInput {
        let mut done = Vec::new();
        let mut worst = State::Absent;
        let mut by = None;
        for input in &step.inputs {
            let Input::Step(before) = input else {
                done.push(*input);
                continue;
            };
            let state = self.results[*before].as_ref().map_or(State::Unfinished, |result| result.state);
            match state {
                State::Done => done.push(*input),
                State::Failed | State::Blocked if worst != State::Unfinished => {
                    worst = State::Blocked;
                    by.get_or_insert(*before);
                }
                State::Unfinished => worst = State::Unfinished,
                _ => {}
            }
        }
        match (done.as_slice(), worst) {
            ([one], _) => MainInput::One(*one),
            ([], State::Blocked) => MainInput::Blocked(by.unwrap_or_default()),
            ([], State::Unfinished) => MainInput::Unfinished,
            ([], _) => MainInput::Absent,
            (several, _) => MainInput::Several(several.to_vec()),
        }
    }

    /// The digest and extension of an input.
    pub fn input_facts(&self, input: Input) -> Option<(Digest, String)> {
        match input {
            Input::Origin if self.is_given => {
                let given = self.content.as_ref().and_then(|content| content.given.as_ref());
                Some((self.digest?, given.map_or_else(|| ROW_EXT.to_owned(), |given| given.ext.clone())))
            }
            Input::Origin => Some((self.digest?, self.id.ext())),
            Input::Step(step) => {
                let output = self.results[step].as_ref()?.output()?;
                Some((output.digest, output.ext.clone()))
            }
        }
    }

    /// `meta.NAME` as seen at an input: its own, then of what it was made from.
    pub fn meta(&self, family: &Family, input: Input, path: &str) -> Option<serde_json::Value> {
        let mut input = input;
        while let Input::Step(step) = input {
            if let Some(output) = self.results[step].as_ref().and_then(StepResult::output)
                && !output.meta.is_empty()
                && let Ok(meta) = serde_json::from_str::<Meta>(&output.meta)
                && let Some(value) = look_up(&meta, path)
            {
                return Some(value.clone());
            }
            match self.main_input(&family.steps[step]) {
                MainInput::One(before) => input = before,
                _ => break,
            }
        }
        if input != Input::Origin {
            return None;
        }
        let given = self.content.as_ref().and_then(|content| look_up(&content.given.as_ref()?.meta, path));
        given.or_else(|| self.above.iter().find_map(|meta| look_up(meta, path))).cloned()
    }

    /// All meta that is seen at an input, a layer a result, the nearest first.
    pub fn layers(&self, family: &Family, input: Input) -> Vec<Meta> {
        let mut layers = Vec::new();
        let mut input = input;
        while let Input::Step(step) = input {
            let output = self.results[step].as_ref().and_then(StepResult::output);
            if let Some(output) = output.filter(|output| !output.meta.is_empty())
                && let Ok(meta) = serde_json::from_str::<Meta>(&output.meta)
            {
                layers.push(meta);
            }
            match self.main_input(&family.steps[step]) {
                MainInput::One(before) => input = before,
                _ => return layers,
            }
        }
        let given = self.content.as_ref().and_then(|content| content.given.as_ref());
        layers.extend(given.map(|given| given.meta.clone()));
        layers.extend(self.above.iter().cloned());
        layers
    }

    /// What stands behind a step that failed or is blocked: `text failed on inbox/a.pdf`. What blocks a step blocks all
    /// behind it, in the same words.
    pub fn stopped_by(&self, pipeline: &Pipeline, family: &Family, step: usize) -> String {
        let result = self.results[step].as_ref().filter(|result| result.state == State::Blocked);
        match result.filter(|result| !result.note.is_empty()) {
            Some(blocked) => blocked.note.clone(),
            None => format!("{} failed on {}", pipeline.target(family.steps[step].target).name, self.id),
        }
    }
}

/// What a step finds at its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MainInput {
    /// A result, or the document itself.
    One(Input),
    /// Results of several streams of a union.
    Several(Vec<Input>),
    /// This step failed or is blocked.
    Blocked(usize),
    /// Something before is not decided.
    Unfinished,
    /// It never came here.
    Absent,
}

/// A value in meta by its dotted path; a key that holds dots itself is found too.
pub fn look_up<'a>(meta: &'a Meta, path: &str) -> Option<&'a serde_json::Value> {
    if let Some(value) = meta.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    look_up(meta.get(first)?.as_object()?, rest)
}
