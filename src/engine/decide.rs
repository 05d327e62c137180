//! What becomes of a document in a target: its input, the test, its side inputs, its key, and a record if there is one.
//!
//! Decides and finds; runs nothing and writes nothing. The rules are those of `semantics.md` 2, 7, 24 and 25.

use std::sync::Arc;

use serde_json::Value;

use crate::engine::document::{Document, MainInput, StepResult};
use crate::engine::lookup::{Lookup, Wanted};
use crate::engine::marks::accepted_note;
use crate::engine::policy::{SET_ASIDE, tries};
use crate::engine::route::{self, Chosen};
use crate::engine::target::{Shared, TargetPlan};
use crate::engine::values::{Found, Match};
use crate::error::Result;
use crate::hash::FieldHasher;
use crate::model::action::{ActionKey, KeyInput, Outcome, Place, Position, State};
use crate::model::document::Meta;
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::model::pipeline::{Missing, Pipeline, Target, With};
use crate::model::reason::Reason;
use crate::model::selection::Field;
use crate::plan::family::{Family, Input, Step};
use crate::plan::key::action_key;
use crate::store::Store;

/// How the note of a result begins that `hold` keeps, though it is not up to date.
pub const HELD: &str = "held: ";

/// What becomes of it.
pub enum Decision {
    /// Nothing runs.
    Settled(Box<StepResult>),
    /// The module must run.
    Run(Box<Work>),
}

/// A side input of one document.
#[derive(Clone, Debug)]
pub enum SideInput {
    /// There is none, and that is fine.
    None,
    /// Something of the same document.
    Own(Input),
    /// Another document, found by value.
    One(Box<Match>),
    /// Several, with `many`.
    Many(Vec<Match>),
}

/// An action that must run.
#[derive(Clone, Debug)]
pub struct Work {
    /// Which of its target's modules does it: the number of its plan.
    pub call: usize,
    /// Its key.
    pub key: ActionKey,
    /// The key's own parts.
    pub inputs: Vec<KeyInput>,
    /// The main input.
    pub main: Input,
    /// The side inputs that differ from document to document, by name.
    pub with: Vec<(String, SideInput)>,
    /// Why no record answers.
    pub reasons: Vec<Reason>,
    /// The key's result until now, if it has one.
    pub replaces: Option<Position>,
    /// How often it was the end of its worker, or of its time, in builds before.
    pub faults: u32,
    /// What its story says of the result: of a set, which part of its members it is over.
    pub note: String,
}

impl Work {
    /// The action by this plan over these inputs, with no side inputs.
    pub fn of(plan: &TargetPlan, inputs: Vec<KeyInput>, main: Input) -> Work {
        Work {
            call: 0,
            key: action_key(&plan.recipe_digest, &inputs),
            inputs,
            main,
            with: Vec::new(),
            reasons: Vec::new(),
            replaces: None,
            faults: 0,
            note: String::new(),
        }
    }
}

/// What deciding needs beside the document.
pub struct Deciding<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// The document's family.
    pub family: &'a Family,
    /// The store.
    pub store: &'a Store,
    /// Records.
    pub lookup: &'a mut Lookup,
}

impl Deciding<'_> {
    /// Decides one step of a document of a source, or behind a set.
    pub fn decide(
        &mut self,
        plan: &TargetPlan,
        document: &Document,
        step: usize,
        found: &[Found],
    ) -> Result<Decision> {
        match self.work(plan, document, step, found) {
            Ok(work) => self.answer(plan, document, self.pipeline.target(plan.ix), work),
            Err(settled) => Ok(Decision::Settled(settled)),
        }
    }

    /// The action of such a step, whether or not a record answers it; or how the step stands without one.
    pub fn work(
        &self,
        plan: &TargetPlan,
        document: &Document,
        step: usize,
        found: &[Found],
    ) -> std::result::Result<Work, Box<StepResult>> {
        let place = &self.family.steps[step];
        let target = self.pipeline.target(plan.ix);
        let settled = |state, note: String| Err(Box::new(StepResult::bare(state, note)));
        let main = match document.main_input(place) {
            MainInput::One(input) => input,
            MainInput::Blocked(by) => return settled(State::Blocked, self.blocked_by(document, by)),
            MainInput::Unfinished => return settled(State::Unfinished, String::new()),
            MainInput::Absent => return settled(State::Absent, String::new()),
            MainInput::Several(inputs) => return Err(self.collision(&inputs)),
        };
        if let Some(test) = &target.test
            && let Some(why) = test.fails(&|field| self.field(document, main, field))
        {
            return settled(State::LeftOut, why);
        }
        let mut call = 0;
        if target.route().is_some() {
            let branch = route::branch(target, &|field| self.field(document, main, field));
            match route::chosen(target, plan, branch) {
                Chosen::Call(number) => call = number,
                Chosen::Skip(reason) => return settled(State::Skipped, reason),
                Chosen::Fail(failure) => return settled(State::Failed, derived_note(&failure)),
            }
        }
        let plan = plan.call(call);
        let inputs = vec![self.key_input(plan, document, main)];
        if plan.module.is_none() {
            return Ok(Work { call, ..Work::of(plan, inputs, main) });
        }
        let mut work = Work { call, ..Work::of(plan, inputs, main) };
        self.take_sides(plan, document, step, found, &mut work)?;
        Ok(work)
    }

    /// Adds the side inputs that differ from document to document; or says how the step stands for want of one.
    pub fn take_sides(
        &self,
        plan: &TargetPlan,
        document: &Document,
        step: usize,
        found: &[Found],
        work: &mut Work,
    ) -> std::result::Result<(), Box<StepResult>> {
        let settled = |state, note: String| Err(Box::new(StepResult::bare(state, note)));
        let place = &self.family.steps[step];
        let target = self.pipeline.target(plan.ix);
        for (number, side) in target.with.iter().enumerate() {
            if let Some((_, shared)) = plan.shared.iter().find(|(name, _)| *name == side.name) {
                match shared {
                    Shared::Present(_) => continue,
                    Shared::Unavailable(why) => return settled(State::Blocked, why.clone()),
                    Shared::Unfinished => return settled(State::Unfinished, String::new()),
                }
            }
            if let Some(found) = found.iter().find(|found| found.number == number) {
                let (key, input) = matched(side, found, &target.name)?;
                work.inputs.push(key);
                work.with.push((side.name.clone(), input));
                continue;
            }
            let found = place.with.iter().find(|(of, _)| *of == number).map(|(_, input)| *input);
            match self.side_input(document, place, found, side.missing, &side.name) {
                Side::Input(input) => {
                    let (digest, ext) = document.input_facts(input).unwrap_or_default();
                    work.inputs.push(KeyInput { digest: Some(digest), facts: ext_facts(&ext) });
                    work.with.push((side.name.clone(), SideInput::Own(input)));
                }
                Side::None => {
                    work.inputs.push(KeyInput { digest: None, facts: String::new() });
                    work.with.push((side.name.clone(), SideInput::None));
                }
                Side::Settled(result) => return Err(result),
            }
        }
        work.key = action_key(&plan.recipe_digest, &work.inputs);
        Ok(())
    }

    /// Looks for a record of this work; the module must run where there is none.
    pub fn answer(
        &mut self,
        plan: &TargetPlan,
        document: &Document,
        target: &Target,
        mut work: Work,
    ) -> Result<Decision> {
        let hold = plan.hold;
        let plan = plan.call(work.call);
        let own = document
            .before
            .as_ref()
            .and_then(|before| before.entry(&target.name))
            .and_then(|entry| entry.act);
        let wanted = Wanted { plan, id: &document.id, inputs: &work.inputs, key: work.key, own };
        if let Some((at, act)) = self.lookup.find(self.store, &wanted)? {
            let state = match &act.outcome {
                Outcome::Output(_) => State::Done,
                Outcome::Skip(_) => State::Skipped,
                Outcome::Failed(_) => State::Failed,
            };
            let result = StepResult { act: Some(at), record: Some(act), ..StepResult::bare(state, "") };
            return Ok(Decision::Settled(Box::new(result)));
        }
        if let Some((at, act)) = self.lookup.accepted(self.store, &wanted)? {
            let by = Wanted { own: Some(at), ..wanted };
            let why: Vec<String> = self.lookup.reasons(self.store, &by)?.iter().map(Reason::words).collect();
            let note = accepted_note(&why.join("; "), &work.note);
            let result =
                StepResult { act: Some(at), record: Some(act), ..StepResult::bare(State::Done, note) };
            return Ok(Decision::Settled(Box::new(result)));
        }
        let faults = self.lookup.faults(self.store, &wanted, &target.settings)?;
        if faults.len() as u32 >= tries(&target.settings)
            && let Some((at, act)) = faults.first()
        {
            let record = Some(Arc::clone(act));
            let result = StepResult { act: Some(*at), record, ..StepResult::bare(State::Failed, SET_ASIDE) };
            return Ok(Decision::Settled(Box::new(result)));
        }
        work.faults = faults.len() as u32;
        let reasons = self.lookup.reasons(self.store, &wanted)?;
        if let Some(hold) = hold
            && let Some((at, act)) = self.lookup.held(self.store, &wanted, hold)?
        {
            let why: Vec<String> = reasons.iter().map(Reason::words).collect();
            let note = format!("{HELD}{}", why.join("; "));
            let state = if matches!(act.outcome, Outcome::Skip(_)) { State::Skipped } else { State::Done };
            let result = StepResult { act: Some(at), record: Some(act), ..StepResult::bare(state, note) };
            return Ok(Decision::Settled(Box::new(result)));
        }
        let replaces = self.lookup.present_result(self.store, &wanted)?;
        work.reasons = reasons;
        work.replaces = replaces;
        Ok(Decision::Run(Box::new(work)))
    }

    fn side_input(
        &self,
        document: &Document,
        place: &Step,
        found: Option<Input>,
        missing: Missing,
        name: &str,
    ) -> Side {
        let state = match found {
            None => State::Absent,
            Some(Input::Origin) => State::Done,
            Some(Input::Step(step)) => {
                document.results[step].as_ref().map_or(State::Unfinished, |result| result.state)
            }
        };
        let settled = |state, note: String| Side::Settled(Box::new(StepResult::bare(state, note)));
        match (state, found, missing) {
            (State::Done, Some(input), _) => Side::Input(input),
            (State::Failed | State::Blocked, Some(Input::Step(step)), _) => {
                settled(State::Blocked, self.blocked_by(document, step))
            }
            (State::Unfinished, ..) => settled(State::Unfinished, String::new()),
            (_, _, missing) => absent(missing, name, &self.pipeline.target(place.target).name),
        }
    }

    fn blocked_by(&self, document: &Document, step: usize) -> String {
        document.stopped_by(self.pipeline, self.family, step)
    }

    fn collision(&self, inputs: &[Input]) -> Box<StepResult> {
        let name = |input: &Input| match input {
            Input::Origin => self.family.name.clone(),
            Input::Step(step) => self.pipeline.target(self.family.steps[*step].target).name.clone(),
        };
        let names: Vec<String> = inputs.iter().map(name).collect();
        let message =
            format!("it has a result in each of: {}; a list of streams takes one", names.join(", "));
        failed(FailureKind::Collision, message)
    }

    /// An input as it enters the key: its digest and what the module sees of it.
    fn key_input(&self, plan: &TargetPlan, document: &Document, input: Input) -> KeyInput {
        let (digest, ext) = document.input_facts(input).unwrap_or_default();
        if plan.sees.as_slice() == [Field::Ext] {
            return KeyInput { digest: Some(digest), facts: ext_facts(&ext) };
        }
        let facts = plan
            .sees
            .iter()
            .filter_map(|field| Some((field.to_string(), self.field(document, input, field)?)));
        let facts: Meta = facts.collect();
        KeyInput { digest: Some(digest), facts: Value::Object(facts).to_string() }
    }

    /// The value of a field at an input of a document.
    pub fn field(&self, document: &Document, input: Input, field: &Field) -> Option<Value> {
        match field {
            Field::Id(_) | Field::Source => field.of_id(&document.id).map(Value::String),
            Field::Ext => document.input_facts(input).map(|(_, ext)| Value::String(ext)),
            Field::Meta(path) => document.meta(self.family, input, path),
            Field::Size => self.size(document, self.bytes_of(document, input)).map(Value::from),
            Field::Mime => self.mime(document, self.bytes_of(document, input)).map(Value::String),
        }
    }

    /// Where the bytes of an input come from: a result that passes its own input on has none.
    fn bytes_of(&self, document: &Document, mut input: Input) -> Input {
        while let Input::Step(step) = input
            && let Some(output) = document.results[step].as_ref().and_then(StepResult::output)
            && output.place == Place::Input
            && let MainInput::One(before) = document.main_input(&self.family.steps[step])
        {
            input = before;
        }
        input
    }

    /// In bytes; of a folder all of its files.
    fn size(&self, document: &Document, input: Input) -> Option<u64> {
        match input {
            Input::Origin => document.content.as_ref().map(|content| content.length),
            Input::Step(step) => {
                let output = document.results[step].as_ref()?.output()?;
                let folder = self.store.folder(output).ok().flatten();
                Some(folder.map_or(output.length, |(folder, _)| folder.bytes()))
            }
        }
    }

    /// Told from the content: of the source as it was read, of a result by its first bytes.
    fn mime(&self, document: &Document, input: Input) -> Option<String> {
        match input {
            Input::Origin => document.content.as_ref()?.mime.clone(),
            Input::Step(step) => {
                let result = document.results[step].as_ref()?;
                let output = result.output()?;
                if output.ext == folder::EXT {
                    return Some(FOLDER.to_owned());
                }
                let bytes = match &result.bytes {
                    Some(bytes) => Some(Arc::clone(bytes)),
                    None => self.store.output_bytes(output).ok().flatten(),
                };
                bytes.map(|bytes| crate::scan::mime_of(&bytes, &output.ext).to_owned())
            }
        }
    }
}

/// What `mime` says of a folder.
const FOLDER: &str = "inode/directory";

enum Side {
    Input(Input),
    None,
    Settled(Box<StepResult>),
}

/// A side input by value: what was found for it.
fn matched(
    side: &With,
    found: &Found,
    target: &str,
) -> std::result::Result<(KeyInput, SideInput), Box<StepResult>> {
    let settled = |state, note: String| Err(Box::new(StepResult::bare(state, note)));
    let of = |state| found.matches.iter().filter(move |one| one.state == state);
    if let Some(failed) = of(State::Failed).chain(of(State::Blocked)).next() {
        return settled(State::Blocked, failed.failed.clone());
    }
    if of(State::Unfinished).next().is_some() || (found.matches.is_empty() && !found.is_certain) {
        return settled(State::Unfinished, String::new());
    }
    let key_of = |one: &Match| KeyInput { digest: Some(one.digest), facts: ext_facts(&one.ext) };
    match found.matches.as_slice() {
        [] => match absent(side.missing, &side.name, target) {
            Side::Settled(result) => Err(result),
            _ => Ok((KeyInput { digest: None, facts: String::new() }, SideInput::None)),
        },
        [one] if !side.many => Ok((key_of(one), SideInput::One(Box::new(one.clone())))),
        several if side.many => {
            let mut hasher = FieldHasher::new("pipe several side inputs");
            hasher.number(several.len() as u64);
            several.iter().for_each(|one| {
                hasher.digest(&one.digest).text(&one.ext);
            });
            let facts = format!("{{\"many\":{}}}", several.len());
            let key = KeyInput { digest: Some(hasher.finish()), facts };
            Ok((key, SideInput::Many(several.to_vec())))
        }
        [first, second, ..] => {
            let message = format!(
                "{} documents match as `{}`, {} and {} among them; say `many = true` in [target.{target}] to have all of them",
                found.matches.len(),
                side.name,
                first.id,
                second.id
            );
            Err(failed(FailureKind::Ambiguous, message))
        }
        [_] => settled(State::Unfinished, String::new()),
    }
}

/// What becomes of a document that has no such side input.
fn absent(missing: Missing, name: &str, target: &str) -> Side {
    let settled = |state, note: String| Side::Settled(Box::new(StepResult::bare(state, note)));
    match missing {
        Missing::None => Side::None,
        Missing::Skip => settled(State::Skipped, format!("there is no `{name}` for it")),
        Missing::Fail => {
            let message = format!(
                "there is no `{name}` for it; say `missing = \"none\"` or `\"skip\"` in [target.{target}] if that is fine"
            );
            Side::Settled(failed(FailureKind::MissingInput, message))
        }
    }
}

fn failed(kind: FailureKind, message: String) -> Box<StepResult> {
    let failure = Failure::new(kind, "", message);
    Box::new(StepResult::bare(State::Failed, derived_note(&failure)))
}

/// A failure that no record holds, as the note of a story's entry.
pub fn derived_note(failure: &Failure) -> String {
    serde_json::to_string(failure).unwrap_or_default()
}

/// `{"ext":"txt"}`
pub fn ext_facts(ext: &str) -> String {
    let mut facts = Meta::new();
    facts.insert("ext".into(), Value::String(ext.to_owned()));
    Value::Object(facts).to_string()
}
