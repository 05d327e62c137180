//! Passing faults: tried again, counted across builds, and the breaker that stops a module that fails at everything.
//!
//! The rules are those of `semantics.md` 29 to 31 and of `docs/design/failures.md`. Knows nothing of workers: who is to
//! blame for a death was decided before.

use std::time::{Duration, Instant};

use crate::engine::answers::Ended;
use crate::engine::build::{Build, InHand};
use crate::engine::policy::{is_counted, tries};
use crate::engine::scheduler::{Ticket, WorkerIx};
use crate::engine::tries::{Met, Row};
use crate::error::Result;
use crate::hash::FieldHasher;
use crate::model::action::{ActionKey, Mark, MarkedTarget, Outcome, Position};
use crate::model::event::{Event, Stopped};
use crate::model::pipeline::{ModuleIx, TargetIx};

/// The same error so often in a row says something about the module, not about documents.
const IN_A_ROW: usize = 50;

/// What a module that asked for another try waits for at first; twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// It never waits longer, unless it says so itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a module may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 60 * 60);

/// The pause before another try: twice as long each time, and a part of that, so that many do not come back at once. Which
/// part is the action's own: the same for the same try of the same action.
fn backoff(tries: u32, key: &ActionKey) -> Duration {
    let whole = (FIRST_PAUSE * 2u32.pow(tries.min(10))).min(LONGEST_PAUSE);
    let seed = FieldHasher::new("pipe backoff").digest(&key.0).number(tries.into()).finish().prefix();
    whole.mul_f64(0.5 + 0.5 * (seed >> 11) as f64 / (1u64 << 53) as f64)
}

impl Build<'_> {
    /// Whether an action that ended like this is tried again in this build, and after which pause.
    pub(super) fn tried_again(
        &mut self,
        request: &InHand,
        ended: &Ended,
        asked: Option<Duration>,
    ) -> Option<Duration> {
        let Outcome::Failed(failure) = &ended.outcome else { return None };
        if failure.is_kept() || self.scheduler.is_stopping() || self.options.fail_fast {
            return None;
        }
        let open = self.open[request.ticket.doc.0 as usize].as_ref()?;
        let before = open.work[request.ticket.step].as_ref()?.faults;
        let tried = self.faults.tried.get(&request.ticket).copied().unwrap_or_default();
        let now = if is_counted(failure) { before + tried.counted } else { tried.all } + 1;
        if now >= tries(&self.pipeline.target(request.target).settings) {
            return None;
        }
        // Who asked for another try wants time to pass; a new process is all that the others want.
        Some(match (asked, failure.retry) {
            (Some(asked), _) => asked.min(LONGEST_ASKED),
            (None, true) => backoff(tried.all, &open.work[request.ticket.step].as_ref()?.key),
            (None, false) => Duration::ZERO,
        })
    }

    /// Records a try that is not the last one. The document stays with its worker, and goes out again alone.
    pub(super) fn record_try(
        &mut self,
        worker: WorkerIx,
        request: &InHand,
        ended: Ended,
        pause: Duration,
        is_fresh: bool,
    ) -> Result<()> {
        let ticket = request.ticket;
        self.tally.ran(request.target, ended.duration, false, false);
        let work = self.open[ticket.doc.0 as usize].as_ref().and_then(|open| open.work[ticket.step].clone());
        if let Some(work) = work
            && let Some((at, act, _)) =
                self.write_act(Some(worker), request, (&work, work.inputs.clone()), ended)?
            && let Outcome::Failed(failure) = &act.outcome
            && let Some(open) = self.open[ticket.doc.0 as usize].as_ref()
        {
            let event = Event::Retrying {
                doc: open.document.id.to_string(),
                target: self.pipeline.target(request.target).name.clone(),
                failure: failure.clone(),
                attempt: act.attempt,
                duration: act.duration,
                worker: act.worker,
                milliseconds: pause.as_millis() as u64,
            };
            let counted = u32::from(is_counted(failure));
            self.announce_event(at, event);
            let tried = self.faults.tried.entry(ticket).or_default();
            tried.all += 1;
            tried.counted += counted;
        }
        // `Retry(after=…)` says that time alone is what is wanted; else what the process holds may be what is wrong.
        if is_fresh {
            self.faults.fresh.insert(ticket);
        }
        let end = if is_fresh { None } else { self.pause_end(worker) };
        self.faults.waiting.push((end.unwrap_or_else(|| Instant::now() + pause), worker, ticket));
        Ok(())
    }

    /// Which try of its action the next record is: over all builds, the first is 1.
    pub(super) fn attempt(&self, ticket: Ticket, before: u32) -> u32 {
        before + self.faults.tried.get(&ticket).map_or(0, |tried| tried.all) + 1
    }

    /// Whether an action that has ended is set aside: it was the end of its worker as often as is allowed.
    pub(super) fn is_set_aside(&mut self, request: &InHand, outcome: &Outcome, before: u32) -> bool {
        let tried = self.faults.tried.remove(&request.ticket).unwrap_or_default();
        let Outcome::Failed(failure) = outcome else { return false };
        let allowed = tries(&self.pipeline.target(request.target).settings);
        is_counted(failure) && before + tried.counted + 1 >= allowed
    }

    /// Sends out again what has waited long enough; all of it when the build stops, where it stays open.
    pub(super) fn try_again(&mut self) {
        let now = Instant::now();
        self.end_pauses(now);
        self.earn(now);
        let stopping = self.scheduler.is_stopping();
        // What will be refused need not be waited for.
        let scheduler = &self.scheduler;
        let is_due = |(at, worker, _): &mut (Instant, WorkerIx, Ticket)| {
            stopping || *at <= now || !scheduler.hands_out(*worker)
        };
        let due = self.faults.waiting.extract_if(.., is_due);
        for (_, worker, ticket) in due.collect::<Vec<_>>() {
            self.scheduler.again(worker, ticket);
        }
    }

    /// How long nothing happens by itself, at most `limit`.
    pub(super) fn idle(&self, limit: Duration) -> Duration {
        let now = Instant::now();
        let tries = self.faults.waiting.iter().map(|(at, ..)| *at);
        let next = tries.chain(self.next_pause_end()).chain(self.next_token()).min();
        next.map_or(limit, |next| next.saturating_duration_since(now).min(limit))
    }

    /// Looks at how an action ended for good: the same error too often in a row stops its module.
    pub(super) fn watch_row(
        &mut self,
        (target, call): (TargetIx, usize),
        ticket: Ticket,
        outcome: &Outcome,
    ) -> Result<()> {
        let Some(module) = self.plans[target.0].as_ref().and_then(|plan| plan.call(call).module) else {
            return Ok(());
        };
        let Outcome::Failed(failure) = outcome else {
            self.faults.rows.remove(&module);
            return Ok(());
        };
        let Some(open) = self.open[ticket.doc.0 as usize].as_ref() else { return Ok(()) };
        let document = &open.document;
        let met = Met {
            target,
            family: self.families.family(document.family).name.clone(),
            dir: std::sync::Arc::clone(&document.dir),
            name: document.name.clone(),
        };
        let new = || Row { failure: failure.clone(), documents: Vec::new() };
        let row = self.faults.rows.entry(module).or_insert_with(new);
        if row.failure.cause() != failure.cause() || row.failure.message != failure.message {
            *row = new();
        }
        row.documents.push(met);
        if row.documents.len() < IN_A_ROW || self.scheduler.is_stopping() {
            return Ok(());
        }
        let Some(row) = self.faults.rows.remove(&module) else { return Ok(()) };
        self.trip(module, row)
    }

    /// The breaker: the module's targets stop, the rest of their work stays open, and those who met the error are tried
    /// by the next build.
    fn trip(&mut self, module: ModuleIx, row: Row) -> Result<()> {
        let number = self.store.newest_mark() + 1;
        let mut targets = Vec::new();
        for plan in self.plans.iter_mut().flatten() {
            let its = |call: &crate::engine::target::TargetPlan| call.module == Some(module);
            let Some(call) = plan.each_call().iter().position(its) else { continue };
            plan.call_mut(call).marks.reopen_failed(number);
            self.scheduler.disable_module(plan.ix, call);
            let name = self.pipeline.target(plan.ix).name.clone();
            targets.push(MarkedTarget { name, fingerprint: plan.call(call).fingerprint });
        }
        let time = crate::time::now();
        self.store.add_mark(Mark { number, time, targets, failed: true, ..Mark::default() })?;
        self.mark = number;
        if self.stopped.is_none()
            && let Some(last) = row.documents.last()
        {
            let target = self.pipeline.target(last.target).name.clone();
            self.stopped = Some(Stopped::Breaker { target, failure: row.failure, in_a_row: IN_A_ROW as u64 });
        }
        self.faults.reopened.extend(row.documents);
        Ok(())
    }

    /// Lets the next build look at those whose failures a breaker opened again. Before: all stories are written.
    pub(super) fn reopen(&mut self) -> Result<()> {
        for met in std::mem::take(&mut self.faults.reopened) {
            if let Some(mut entry) = self.store.entry(&met.family, &met.dir, &met.name)? {
                entry.flags.settled = false;
                let story = entry.story;
                self.store.put_entry(&met.family, &met.dir, entry, story);
            }
        }
        Ok(())
    }

    fn announce_event(&mut self, at: Position, event: Event) {
        self.announce_at(at, crate::engine::build::Announcement::Event(Box::new(event)));
    }
}
