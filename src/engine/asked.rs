//! What somebody asks of a running build: what is in hand, how long, and where the modules stand.
//!
//! Workers of Python functions are asked for their stacks; what has not come after a moment is left out. Knows nothing of
//! how the question came.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::engine::board::Held;
use crate::engine::build::{Build, InHand};
use crate::engine::crew::Worker;
use crate::engine::question::Question;
use crate::engine::scheduler::{DocIx, Ticket, WorkerIx};
use crate::model::event::{Event, Hand};
use crate::model::pipeline::{TargetIx, Verb};

/// So long stacks are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// A document that takes more seconds is named.
const SLOW: u64 = 60;

impl Build<'_> {
    /// Takes questions, and answers once all that is wanted is here.
    pub(super) fn look_at_questions(&mut self) {
        if self.interrupts.take_question() && self.asked.question.is_none() {
            let mut left = HashSet::new();
            for (ix, worker) in self.workers.iter().enumerate() {
                let (ix, Some(worker)) = (WorkerIx(ix as u32), worker) else { continue };
                if self.scheduler.in_hand(ix).next().is_some() && worker.tell_stack() {
                    left.insert(ix);
                }
            }
            self.asked.question = Some(Question { since: Instant::now(), left, stacks: HashMap::new() });
        }
        let is_due =
            |question: &mut Question| question.left.is_empty() || question.since.elapsed() >= PATIENCE;
        if let Some(question) = self.asked.question.take_if(is_due) {
            let workers = self.hands(question.stacks);
            self.sink.event(&Event::InHand { workers });
        }
        if self.board.is_wanted() {
            self.board.tell(self.held());
        }
    }

    /// Every document that is with a worker.
    fn held(&self) -> Vec<Held> {
        let by_ticket: HashMap<Ticket, &InHand> =
            self.in_hand.values().map(|request| (request.ticket, request)).collect();
        let mut held = Vec::new();
        for ix in (0..self.workers.len() as u32).map(WorkerIx) {
            let times = self.workers[ix.0 as usize].as_ref().map(Worker::log_times).unwrap_or_default();
            let log = self.workers[ix.0 as usize].as_ref().map(Worker::log);
            let log = log.zip(self.asked.answered.get(&ix).and_then(|(_, length)| *length));
            for (behind, ticket) in self.scheduler.in_hand(ix).enumerate() {
                let (Some(request), Some(open)) =
                    (by_ticket.get(&ticket), self.open[ticket.doc.0 as usize].as_ref())
                else {
                    continue;
                };
                let is_first = behind == 0;
                let began = if is_first { self.asked.began(ix, request.since) } else { request.since };
                held.push(Held {
                    doc: open.document.id.to_string(),
                    target: self.pipeline.target(request.target).name.clone(),
                    worker: ix.0,
                    since: self.board.time(began),
                    behind,
                    progress: request.extras.progress,
                    log: log.filter(|_| is_first).map(|(file, from)| (file.to_owned(), from)),
                    times: if is_first { times.clone() } else { Vec::new() },
                });
            }
        }
        held
    }

    /// Documents that a worker has been at for a minute, each once. Those behind it in its hand wait, and are not slow.
    pub(super) fn newly_slow(&mut self) -> Vec<(DocIx, TargetIx, u64)> {
        let mut slow = Vec::new();
        for ix in (0..self.workers.len() as u32).map(WorkerIx) {
            let Some(first) = self.scheduler.in_hand(ix).next() else { continue };
            let Some(request) = self.in_hand.values_mut().find(|request| request.ticket == first) else {
                continue;
            };
            let began = self.asked.began(ix, request.since);
            let seconds = began.elapsed().as_secs();
            let is_document = self.pipeline.target(request.target).verb == Verb::Each;
            if seconds >= SLOW && is_document && !request.said_slow {
                request.said_slow = true;
                slow.push((first.doc, request.target, seconds));
            }
        }
        slow
    }

    /// What each worker is at, the longest first.
    fn hands(&self, mut stacks: HashMap<WorkerIx, Vec<String>>) -> Vec<Hand> {
        let mut hands = Vec::new();
        for ix in (0..self.workers.len() as u32).map(WorkerIx) {
            let mut in_hand = self.scheduler.in_hand(ix);
            let Some(first) = in_hand.next() else { continue };
            let more = in_hand.count();
            let request = self.in_hand.values().find(|request| request.ticket == first);
            let (Some(request), Some(open)) = (request, self.open[first.doc.0 as usize].as_ref()) else {
                continue;
            };
            let began = self.asked.began(ix, request.since);
            hands.push(Hand {
                worker: ix.0,
                target: self.pipeline.target(request.target).name.clone(),
                doc: open.document.id.to_string(),
                milliseconds: began.elapsed().as_millis() as u64,
                progress: request.extras.progress,
                more,
                stack: stacks.remove(&ix).unwrap_or_default(),
            });
        }
        hands.sort_by_key(|hand| std::cmp::Reverse(hand.milliseconds));
        hands
    }
}
