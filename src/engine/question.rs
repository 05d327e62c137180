//! A question to a running build, while its answer is put together; and when workers answered last. Knows no build.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::engine::scheduler::WorkerIx;
use crate::model::action::LogRange;

/// What is known for an answer.
#[derive(Default)]
pub(super) struct Asked {
    /// When each worker answered last, or was ready, and how long its log was then, if that is known.
    pub(super) answered: HashMap<WorkerIx, (Instant, Option<u64>)>,
    pub(super) question: Option<Question>,
}

/// A question that is not answered yet.
pub(super) struct Question {
    pub(super) since: Instant,
    /// Whose stacks have not come.
    pub(super) left: HashSet<WorkerIx>,
    pub(super) stacks: HashMap<WorkerIx, Vec<String>>,
}

impl Asked {
    /// A worker has answered: what it has in hand next begins now, and what it prints about that.
    pub(super) fn answered(&mut self, worker: WorkerIx, log: Option<LogRange>) {
        let known = self.answered.entry(worker).or_insert((Instant::now(), None));
        *known = (Instant::now(), log.map(|log| log.from + log.length).max(known.1));
    }

    /// When what a worker is at began, if that was handed out then.
    pub(super) fn began(&self, worker: WorkerIx, sent: Instant) -> Instant {
        self.answered.get(&worker).map_or(sent, |(at, _)| sent.max(*at))
    }

    /// A worker tells where it stands.
    pub(super) fn stack(&mut self, worker: WorkerIx, lines: Vec<String>) {
        if let Some(question) = &mut self.question {
            question.left.remove(&worker);
            question.stacks.insert(worker, lines);
        }
    }
}
