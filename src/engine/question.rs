//! A question to a running build, while its answer is put together; and when workers answered last. Knows no build.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::engine::scheduler::WorkerIx;

/// What is known for an answer.
#[derive(Default)]
pub(super) struct Asked {
    /// When each worker answered last.
    pub(super) answered: HashMap<WorkerIx, Instant>,
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
    /// A worker has answered: what it has in hand next begins now.
    pub(super) fn answered(&mut self, worker: WorkerIx) {
        self.answered.insert(worker, Instant::now());
    }

    /// A worker tells where it stands.
    pub(super) fn stack(&mut self, worker: WorkerIx, lines: Vec<String>) {
        if let Some(question) = &mut self.question {
            question.left.remove(&worker);
            question.stacks.insert(worker, lines);
        }
    }
}
