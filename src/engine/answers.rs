//! What workers say, and what is kept of it: records of actions, faults, load sets.

use crate::engine::build::{Announcement, Build, InHand};
use crate::engine::decide::{SideInput, Work, derived_note};
use crate::engine::document::{Content, StepResult};
use crate::engine::groups::is_over_members;
use crate::engine::lookup::is_result;
use crate::engine::modules::loaded_files;
use crate::engine::policy::{SET_ASIDE, limit_of};
use crate::engine::requests::INLINE;
use crate::engine::scheduler::{Ticket, WorkerIx};
use crate::engine::target::TargetPlan;
use crate::engine::values::{Match, MatchContent};
use crate::error::Result;
use crate::model::action::{
    Act, Extras, KeyInput, Loads, LogRange, Outcome, Output, Package, Place, Position, State, Used,
};
use crate::model::event::{Event, Finished, Ran, Stopped};
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::model::pipeline::TargetIx;
use crate::module::{Answer, Died, Done, OutputBody, Report};
use crate::plan::family::{Input, Origin};
use crate::time::Millis;

/// How often a document is begun anew because its file changed under its module.
const RESTARTS: u32 = 3;
/// Of what takes less time, in microseconds, nobody asks how far it was when.
const LONG: u64 = 1_000_000;
/// At most so many times are kept at which a module said how far it was.
const REACHED: usize = 40;
/// At most so many warnings are kept with a record.
const WARNINGS: usize = 100;

/// What is to be recorded with the bytes of its output, or why the answer is none.
pub(super) type Made = std::result::Result<(Outcome, Option<Vec<u8>>), Failure>;

/// A record that was written: its place, itself, and the bytes of its output.
type Written = (crate::model::action::Position, std::sync::Arc<Act>, Option<Vec<u8>>);

/// How an action ended, before it is a record.
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    bytes: Option<Vec<u8>>,
    log: Option<LogRange>,
    /// When that was written.
    times: Vec<(u64, Millis)>,
    start: Millis,
    pub(super) duration: u64,
    used: Option<Used>,
}

impl Build<'_> {
    /// Takes one report of a worker.
    pub(super) fn report(&mut self, worker: WorkerIx, report: Report) -> Result<()> {
        match report {
            Report::Ready { files, packages, batch, log } => {
                self.scheduler.begins(worker);
                self.asked.answered(worker, Some(LogRange { from: 0, length: log }));
                if let Some(batch) = batch {
                    self.scheduler.takes_batches(worker, batch);
                }
                self.loaded(worker, &files, packages)
            }
            Report::Answer(answer) => {
                self.asked.answered(worker, answer.log);
                self.answer(worker, *answer)
            }
            Report::Stack { lines } => {
                self.asked.stack(worker, lines);
                Ok(())
            }
            Report::Child { id, name, output, weight: _ } => self.child(worker, id, &name, output),
            Report::Progress { id, done, total, at } => {
                if let Some((doc, target)) = self.names(id) {
                    self.sink.event(&Event::Progress { doc, target, done, total });
                }
                if let Some(request) = self.in_hand.get_mut(&id) {
                    request.extras.progress = Some((done, total));
                    request.extras.reached.push((at.0, done, total));
                    thin(&mut request.extras.reached);
                }
                Ok(())
            }
            Report::Warn { id, warning, at } => {
                self.warned(worker, id, warning, at);
                Ok(())
            }
            Report::Count { id, counts } => {
                if let Some(request) = self.in_hand.get_mut(&id) {
                    for (name, count) in &counts {
                        *request.extras.counts.entry(name.clone()).or_default() += count;
                    }
                    self.counted(worker, &counts);
                }
                Ok(())
            }
            Report::Fatal { failure, returned } => {
                returned.iter().for_each(|id| drop(self.in_hand.remove(id)));
                self.fatal(worker, failure);
                Ok(())
            }
            Report::Died(died) => self.died(worker, *died),
            Report::Ended { returned } => {
                returned.iter().for_each(|id| drop(self.in_hand.remove(id)));
                self.scheduler.ended(worker);
                Ok(())
            }
            Report::Used { .. } => Ok(()),
        }
    }

    fn names(&self, request: u64) -> Option<(String, String)> {
        let request = self.in_hand.get(&request)?;
        let open = self.open[request.ticket.doc.0 as usize].as_ref()?;
        Some((open.document.id.to_string(), self.pipeline.target(request.target).name.clone()))
    }

    fn warned(&mut self, worker: WorkerIx, request: Option<u64>, warning: serde_json::Value, at: Millis) {
        let message = match warning.get("message").and_then(serde_json::Value::as_str) {
            Some(message) => message.to_owned(),
            None => warning.to_string(),
        };
        let named = request.and_then(|id| self.names(id));
        let (doc, target) = match named {
            Some((doc, target)) => (Some(doc), target),
            None => (None, self.pipeline.target(self.scheduler.target_of(worker)).name.clone()),
        };
        self.sink.event(&Event::Warned { doc, target, message });
        if let Some(request) = request.and_then(|id| self.in_hand.get_mut(&id))
            && request.extras.warnings.len() < WARNINGS
        {
            request.extras.warnings.push(warning);
            request.extras.warned.push(at.0);
        }
    }

    /// A worker has loaded these: its records answer only while they are as they are now.
    fn loaded(&mut self, worker: WorkerIx, files: &[String], mut packages: Vec<Package>) -> Result<()> {
        let target = self.scheduler.target_of(worker);
        let call = self.scheduler.module_of(worker);
        let Some(identity) = self.plans[target.0].as_ref().map(|plan| plan.call(call).identity) else {
            return Ok(());
        };
        let files = loaded_files(&self.pipeline.root, files, &mut self.store.code_cache());
        packages.sort();
        let at = self.store.intern_loads(&Loads { module: identity, files, packages })?;
        self.loads[worker.0 as usize] = Some(at);
        self.learned_of(identity)
    }

    /// If there is a load set that was not known, it counts from now on.
    pub(super) fn learned_of(&mut self, identity: crate::hash::Digest) -> Result<()> {
        if self.store.loads_count() != self.outline.loads_known() {
            // It holds for every target of the module: the others' workers will say the same, and it will be no news.
            let is_its =
                |plan: &&mut TargetPlan| plan.each_call().iter().any(|call| call.identity == identity);
            for plan in self.plans.iter_mut().flatten().filter(is_its) {
                self.outline.learned(self.parts, plan, &mut self.lookup.present)?;
            }
            self.definitions.clear();
            self.has_learned = true;
        }
        Ok(())
    }

    fn answer(&mut self, worker: WorkerIx, answer: Answer) -> Result<()> {
        if answer.files.is_some() || answer.packages.is_some() {
            self.loaded_more(worker, answer.files.as_deref(), answer.packages.clone())?;
        }
        let Some(mut request) = self.in_hand.remove(&answer.id) else { return Ok(()) };
        let ticket = request.ticket;
        if !self.scheduler.is_current(ticket) || self.scheduler.is_disabled(worker) {
            self.scheduler.answered(worker, ticket, State::Unfinished, answer.duration_us);
            return Ok(());
        }
        if self.source_changed(ticket) {
            if self.keeps_changing(ticket, request.target) {
                self.scheduler.answered(worker, ticket, State::Failed, answer.duration_us);
            } else {
                self.scheduler.answered(worker, ticket, State::Unfinished, answer.duration_us);
                self.read_again(ticket.doc)?;
            }
            return Ok(());
        }
        let (outcome, bytes) = match self.made(&mut request, answer.done)? {
            Ok(outcome) => outcome,
            Err(failure) => (Outcome::Failed(failure), None),
        };
        let ended = Ended {
            outcome,
            bytes,
            log: answer.log,
            times: answer.times,
            start: answer.start,
            duration: answer.duration_us,
            used: answer.used,
        };
        if let (Some(pause), Outcome::Failed(failure)) = (answer.pause, &ended.outcome) {
            self.pause(worker, pause, failure);
        }
        if let Some(pause) = self.tried_again(&request, &ended, answer.pause) {
            self.scheduler.hold(worker, ticket);
            let is_fresh = answer.pause.is_none();
            return self.record_try(worker, &request, ended, pause, is_fresh);
        }
        let state = self.record(Some(worker), &request, ended)?;
        self.scheduler.answered(worker, ticket, state, answer.duration_us);
        Ok(())
    }

    fn loaded_more(
        &mut self,
        worker: WorkerIx,
        files: Option<&[String]>,
        packages: Option<Vec<Package>>,
    ) -> Result<()> {
        let known = match self.loads[worker.0 as usize] {
            Some(at) => self.store.loads(at)?,
            None => None,
        };
        let old_files =
            || known.iter().flat_map(|loads| &loads.files).map(|(file, _)| file.clone()).collect::<Vec<_>>();
        let files = files.map_or_else(old_files, <[String]>::to_vec);
        let packages =
            packages.unwrap_or_else(|| known.iter().flat_map(|loads| loads.packages.clone()).collect());
        self.loaded(worker, &files, packages)
    }

    /// Whether the document's file is another than the one whose bytes were handed out by path.
    fn source_changed(&self, ticket: Ticket) -> bool {
        let Some(open) = self.open[ticket.doc.0 as usize].as_ref() else { return false };
        let family = self.families.family(open.document.family);
        let Some(work) = &open.work[ticket.step] else { return false };
        let is_file_changed = |one: &Match| match &one.content {
            Some(MatchContent::File { source, stamp, .. }) => {
                let roots = &self.parts.roots[source.0];
                crate::scan::restamp(roots, one.id.rel(), self.store.salt()) != Some(*stamp)
            }
            _ => false,
        };
        let of_others = work.with.iter().any(|(_, side)| match side {
            SideInput::One(one) => is_file_changed(one),
            SideInput::Many(several) => several.iter().any(is_file_changed),
            SideInput::None | SideInput::Own(_) => false,
        });
        if of_others {
            return true;
        }
        let Origin::Source(source) = family.origin else { return false };
        let by_path = open.document.content.as_ref().is_some_and(|content| content.bytes.is_none());
        if !by_path || !self.reads_source(&open.document, work) {
            return false;
        }
        let roots = &self.parts.roots[source.0];
        crate::scan::restamp(roots, open.document.id.rel(), self.store.salt()) != Some(open.document.stamp)
    }

    /// A file that changed under its module too often: nothing can be said of it in this build.
    fn keeps_changing(&mut self, ticket: Ticket, target: TargetIx) -> bool {
        // What a child has of a file comes from the document that it was split from, and that one is begun anew.
        let root = self.root_of(ticket.doc);
        if self.open[root.0 as usize].as_ref().is_none_or(|root| root.document.restarts < RESTARTS) {
            return false;
        }
        let Some(open) = self.open[ticket.doc.0 as usize].as_mut() else { return false };
        let message = "the file kept changing while its module read it";
        let note = derived_note(&Failure::new(FailureKind::Unreadable, "", message));
        open.document.racy = true;
        open.document.results[ticket.step] = Some(StepResult::bare(State::Failed, note));
        self.tally.settled(target, State::Failed, false);
        true
    }

    /// What the module made, as it will be recorded; large outputs are in the store after this.
    pub(super) fn outcome(&self, ticket: Ticket, done: Done) -> Result<Made> {
        let output = match done {
            Done::Skip(reason) => return Ok(Ok((Outcome::Skip(reason), None))),
            Done::Failed(failure) => return Ok(Err(failure)),
            Done::Output(output) => output,
        };
        let (ext, meta) = (output.ext, output.meta);
        let kept =
            |digest, length, place| Output { digest, length, ext: ext.clone(), place, meta: meta.clone() };
        Ok(Ok(match output.body {
            // The place is the log's to say.
            OutputBody::Bytes { bytes, digest } => {
                (Outcome::Output(kept(digest, bytes.len() as u64, Place::Blob)), Some(bytes))
            }
            OutputBody::File { path, digest, length } if length <= INLINE => {
                let bytes = crate::fs::read(&path)?;
                crate::fs::remove_file(&path)?;
                (Outcome::Output(kept(digest, length, Place::Blob)), Some(bytes))
            }
            OutputBody::File { path, digest, length } => {
                self.store.adopt_blob(&digest, &path)?;
                (Outcome::Output(kept(digest, length, Place::Blob)), None)
            }
            OutputBody::Folder { bytes, digest, large } => {
                for file in large {
                    self.store.adopt_blob(&file.digest, &file.path)?;
                }
                (Outcome::Output(kept(digest, bytes.len() as u64, Place::Blob)), Some(bytes))
            }
            OutputBody::Same | OutputBody::Children(_) => {
                let Some(open) = self.open[ticket.doc.0 as usize].as_ref() else {
                    return Ok(Err(Failure::new(FailureKind::Lost, "", "the document is no longer open")));
                };
                let family = self.families.family(open.document.family);
                if is_over_members(self.pipeline, family.steps[ticket.step].target) {
                    let message = "an `all` or a `group` has no one input to pass on: return a value";
                    return Ok(Err(Failure::new(FailureKind::BadReply, "", message)));
                }
                let main = open.work[ticket.step].as_ref().map_or(Input::Origin, |work| work.main);
                let (digest, input_ext) = open.document.input_facts(main).unwrap_or_default();
                let length = match main {
                    Input::Origin => open.document.content.as_ref().map_or(0, Content::bytes),
                    Input::Step(step) => open.document.results[step]
                        .as_ref()
                        .and_then(StepResult::output)
                        .map_or(0, |o| o.length),
                };
                let ext = if ext.is_empty() || input_ext == folder::EXT { input_ext } else { ext };
                (Outcome::Output(Output { digest, length, ext, place: Place::Input, meta }), None)
            }
        }))
    }

    /// A branch passes a document on: a record like any other, without a module.
    pub(super) fn pass_on(&mut self, ticket: Ticket, target: TargetIx) -> Result<State> {
        let same = crate::module::Output { body: OutputBody::Same, ext: String::new(), meta: String::new() };
        let (outcome, bytes) = match self.outcome(ticket, Done::Output(same))? {
            Ok(made) => made,
            Err(failure) => (Outcome::Failed(failure), None),
        };
        let ended = Ended {
            outcome,
            bytes,
            log: None,
            times: Vec::new(),
            start: crate::time::now(),
            duration: 0,
            used: None,
        };
        let request = InHand {
            ticket,
            target,
            extras: Extras::default(),
            children: crate::engine::collected::Collected::default(),
            since: std::time::Instant::now(),
            said_slow: false,
        };
        self.record(None, &request, ended)
    }

    /// The load set of a record. One that failed for want of a package stands only as long as the same are installed.
    fn loads_of(
        &mut self,
        worker: WorkerIx,
        target: TargetIx,
        call: usize,
        outcome: &Outcome,
    ) -> Result<Option<Position>> {
        let known = self.loads[worker.0 as usize];
        let lacks = |failure: &Failure| {
            failure.kind == FailureKind::ModuleError
                && ["ModuleNotFoundError", "ImportError"].contains(&failure.error.as_str())
        };
        let (Outcome::Failed(failure), Some(plan)) = (outcome, self.plans[target.0].as_ref()) else {
            return Ok(known);
        };
        let identity = plan.call(call).identity;
        let Some(all) = Some(failure)
            .filter(|failure| lacks(failure))
            .and_then(|_| self.parts.sites.everything(&identity))
        else {
            return Ok(known);
        };
        let known = match known {
            Some(at) => self.store.loads(at)?,
            None => None,
        };
        let mut loads = known.map_or_else(Loads::default, |known| Loads::clone(&known));
        loads.module = identity;
        loads.packages.push(all);
        loads.packages.sort();
        let at = self.store.intern_loads(&loads)?;
        self.learned_of(identity)?;
        Ok(Some(at))
    }

    /// Writes the record of a try, and says what it is.
    pub(super) fn write_act(
        &mut self,
        worker: Option<WorkerIx>,
        request: &InHand,
        (work, inputs): (&Work, Vec<KeyInput>),
        ended: Ended,
    ) -> Result<Option<Written>> {
        let InHand { ticket, target, .. } = *request;
        let loads = match worker {
            Some(worker) => self.loads_of(worker, target, work.call, &ended.outcome)?,
            None => None,
        };
        let attempt = self.attempt(ticket, work.faults);
        let (Some(open), Some(plan)) =
            (self.open[ticket.doc.0 as usize].as_ref(), self.plans[target.0].as_mut())
        else {
            return Ok(None);
        };
        let plan = plan.call_mut(work.call);
        let recipe = match plan.recipe_at {
            Some(at) => at,
            None => *plan.recipe_at.insert(self.store.intern_recipe(&plan.recipe)?),
        };
        let after = |(at, time): &(u64, Millis)| (*at, time.0.saturating_sub(ended.start.0));
        let times = ended.times.iter().map(after).collect();
        let mut extras = Extras { used: ended.used, times, ..request.extras.clone() };
        // While it was in hand, when it began was not settled.
        let moments = extras.warned.iter_mut().chain(extras.reached.iter_mut().map(|(at, ..)| at));
        moments.for_each(|at| *at = at.saturating_sub(ended.start.0));
        if work.reasons != [crate::model::reason::Reason::NeverRun] {
            extras.reasons.clone_from(&work.reasons);
        }
        if let Outcome::Failed(failure) = &ended.outcome {
            extras.limit = limit_of(&self.pipeline.target(target).settings, failure.kind);
        } else {
            // What is done was done to the end.
            extras.progress = None;
            if ended.duration < LONG {
                extras.reached.clear();
            }
        }
        let extras = if extras == Extras::default() {
            String::new()
        } else {
            serde_json::to_string(&extras).unwrap_or_default()
        };
        let act = Act {
            key: work.key.0.prefix(),
            run: self.store.run(),
            recipe,
            loads,
            doc: open.document.number,
            mark: self.mark,
            inputs,
            outcome: ended.outcome,
            start: ended.start,
            duration: ended.duration,
            worker: worker.map_or(0, |worker| worker.0),
            attempt,
            log: ended.log,
            extras,
        };
        let (at, act) = self.store.add_act(act, ended.bytes.as_deref())?;
        self.store.note_open(&open.document.id, target, at);
        Ok(Some((at, act, ended.bytes)))
    }

    /// Writes the record, and lets the document go on. What it means is announced when it is on disk.
    fn record(&mut self, worker: Option<WorkerIx>, request: &InHand, ended: Ended) -> Result<State> {
        let InHand { ticket, target, .. } = *request;
        let Some(mut work) =
            self.open[ticket.doc.0 as usize].as_mut().and_then(|open| open.work[ticket.step].take())
        else {
            return Ok(State::Unfinished);
        };
        let duration = ended.duration;
        let warned = !request.extras.warnings.is_empty();
        self.tally.ran(target, duration, warned, worker.is_some());
        let inputs = std::mem::take(&mut work.inputs);
        let Some((at, act, bytes)) = self.write_act(worker, request, (&work, inputs), ended)? else {
            return Ok(State::Unfinished);
        };
        self.watch_row((target, work.call), ticket, &act.outcome)?;
        let is_set_aside = self.is_set_aside(request, &act.outcome, work.faults);
        let note = if is_set_aside { SET_ASIDE.to_owned() } else { work.note };
        let Some(open) = self.open[ticket.doc.0 as usize].as_mut() else { return Ok(State::Unfinished) };
        let state = match &act.outcome {
            Outcome::Output(_) => State::Done,
            Outcome::Skip(_) => State::Skipped,
            Outcome::Failed(_) => State::Failed,
        };
        let name = &self.pipeline.target(target).name;
        let old =
            open.document.before.as_ref().and_then(|before| before.entry(name)).and_then(|entry| entry.act);
        if state == State::Done
            && let Some(old) = old
            && let Some(old) = self.store.act(old)?
            && same_output(&old.outcome, &act.outcome)
        {
            self.tally.same(target);
        }
        if let Some(old) = work.replaces
            && let Some(before) = self.store.act(old)?
            && is_result(&act)
            && !same_result(&before.outcome, &act.outcome)
        {
            self.replaced.insert(old);
            // That a failure did not come again is no wonder.
            let is_other = !matches!(before.outcome, Outcome::Failed(_));
            if is_other && self.said_otherwise.insert(target) {
                let message =
                    format!("{name} is not reproducible: {} came out another way", open.document.id);
                let hint = Some(format!("pipe log {}", crate::text::shell_word(open.document.id.as_str())));
                self.sink.event(&Event::Notice { message, hint });
            }
        }
        let (doc, target_name) = (open.document.id.to_string(), name.clone());
        let ran = Some(Ran { duration, worker: worker.map(|_| act.worker), attempt: act.attempt });
        let given = if self.sharing.is_some() { doc.clone() } else { String::new() };
        let event = match &act.outcome {
            Outcome::Output(output) => {
                Event::Done(Finished { doc, target: target_name, length: output.length, ran })
            }
            Outcome::Skip(reason) => Event::Skipped { doc, target: target_name, reason: reason.clone(), ran },
            Outcome::Failed(failure) => {
                Event::Failed { doc, target: target_name, failure: failure.clone(), ran }
            }
        };
        let bytes = bytes.filter(|bytes| bytes.len() as u64 <= INLINE).map(std::sync::Arc::from);
        open.document.results[ticket.step] = Some(StepResult {
            act: Some(at),
            record: Some(act),
            bytes,
            ran: true,
            ..StepResult::bare(state, note)
        });
        self.tally.settled(target, state, true);
        if self.sharing.is_some() && worker.is_some() && state != State::Failed {
            self.announce_at(at, Announcement::Give(given));
        }
        self.announce_at(at, Announcement::Event(Box::new(event)));
        if state == State::Failed {
            if self.options.fail_fast {
                self.stop(Stopped::FailFast);
            }
            self.failed_once_more(target);
        }
        Ok(state)
    }

    /// The module cannot start: said once, and all that it has to do stays open.
    fn fatal(&mut self, worker: WorkerIx, failure: Failure) {
        let target = self.scheduler.target_of(worker);
        self.scheduler.disable(worker);
        let name = self.pipeline.target(target).name.clone();
        if self.stopped.is_none() {
            self.stopped = Some(Stopped::Module { target: name, failure });
        }
    }

    fn died(&mut self, worker: WorkerIx, died: Died) -> Result<()> {
        self.asked.answered(worker, died.log);
        let ids = || died.suspects.iter().chain(&died.others);
        let had: Vec<Ticket> = ids().filter_map(|id| Some(self.in_hand.get(id)?.ticket)).collect();
        // What was lost may be lost again: it is counted, though nobody is to blame.
        let anybody = !died.suspects.is_empty() || died.failure.kind == FailureKind::Lost;
        let blamed = self.scheduler.died(worker, &had, anybody);
        for id in ids() {
            if blamed
                .is_none_or(|ticket| self.in_hand.get(id).is_some_and(|request| request.ticket != ticket))
            {
                self.in_hand.remove(id);
            }
        }
        let Some(ticket) = blamed else { return Ok(()) };
        let number = ids().copied().find(|id| self.in_hand.contains_key(id));
        let Some(request) = number.and_then(|id| self.in_hand.remove(&id)) else {
            self.scheduler.settle_fault(ticket, State::Unfinished);
            return Ok(());
        };
        if !self.scheduler.is_current(ticket) {
            self.scheduler.settle_fault(ticket, State::Unfinished);
            return Ok(());
        }
        let ended = Ended {
            outcome: Outcome::Failed(died.failure),
            bytes: None,
            log: died.log,
            times: died.times,
            start: died.start,
            duration: died.duration_us,
            used: died.used,
        };
        if let Some(pause) = self.tried_again(&request, &ended, None) {
            return self.record_try(worker, &request, ended, pause, false);
        }
        let state = self.record(Some(worker), &request, ended)?;
        self.scheduler.settle_fault(ticket, state);
        Ok(())
    }
}

/// Leaves out every second of too many, never the last.
fn thin(reached: &mut Vec<(u64, f64, Option<f64>)>) {
    if reached.len() > REACHED {
        let mut at = 0;
        reached.retain(|_| {
            at += 1;
            at % 2 == 1
        });
    }
}

/// The same end: an output as before, or no output again.
fn same_result(old: &Outcome, new: &Outcome) -> bool {
    match (old, new) {
        (Outcome::Skip(_), Outcome::Skip(_)) | (Outcome::Failed(_), Outcome::Failed(_)) => true,
        _ => same_output(old, new),
    }
}

/// Same output: same bytes, extension and meta (`semantics.md` 8).
pub(super) fn same_output(old: &Outcome, new: &Outcome) -> bool {
    match (old, new) {
        (Outcome::Output(old), Outcome::Output(new)) => {
            old.digest == new.digest && old.ext == new.ext && old.meta == new.meta
        }
        _ => false,
    }
}
