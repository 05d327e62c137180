//! A queue of bounded length with a thread that empties it. Whoever fills it never waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Outlet, Told};

/// So many messages wait at most.
const MOST: usize = 20_000;
/// So many go at once.
const AT_ONCE: usize = 500;
/// What is waited after the first error; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How a queue ended.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) sent: u64,
    /// Dropped, or never sent.
    pub(super) lost: u64,
    /// The last error.
    pub(super) error: Option<String>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Told>>,
    /// Taken by the thread, not yet sent.
    taken: usize,
    sent: u64,
    dropped: u64,
    closed: bool,
    over: bool,
    error: Option<String>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Queue(Arc<Shared>);

impl Queue {
    pub(super) fn start(mut outlet: Box<dyn Outlet>) -> Self {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let started =
            std::thread::Builder::new().name("log".into()).spawn(move || empty(&of_thread, &mut *outlet));
        if let Err(error) = started {
            let mut state = shared.lock();
            state.over = true;
            state.error = Some(crate::error::io_text(&error));
        }
        Queue(shared)
    }

    pub(super) fn push(&self, told: &Arc<Told>) {
        let mut state = self.0.lock();
        if state.waiting.len() + state.taken >= MOST || state.over {
            state.dropped += 1;
            return;
        }
        state.waiting.push_back(Arc::clone(told));
        self.0.changed.notify_all();
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }

    /// Waits until all is sent, so long at most. A thread that hangs is left behind.
    pub(super) fn wait(self, patience: Duration) -> Ended {
        let deadline = Instant::now() + patience;
        let mut state = self.0.lock();
        while !state.over {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        // Who comes too late finds that nobody counts any more.
        state.over = true;
        let left = (state.waiting.len() + state.taken) as u64;
        let error = state.error.clone().or_else(|| (left > 0).then(|| "it is too slow".to_owned()));
        Ended { sent: state.sent, lost: state.dropped + left, error }
    }
}

fn empty(shared: &Shared, outlet: &mut dyn Outlet) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() && !state.closed {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.waiting.len().min(AT_ONCE);
        if count == 0 || state.over {
            state.over = true;
            shared.changed.notify_all();
            return;
        }
        let messages: Vec<Arc<Told>> = state.waiting.drain(..count).collect();
        state.taken = count;
        drop(state);
        let sent = outlet.send(&messages);
        let mut state = shared.lock();
        state.taken = 0;
        state.sent += (sent.taken - sent.refused) as u64;
        state.dropped += sent.refused as u64;
        if let Some(error) = sent.error {
            state.error = Some(crate::error::io_text(&error));
        }
        if sent.taken == count {
            pause = FIRST_PAUSE;
            continue;
        }
        messages.into_iter().skip(sent.taken).rev().for_each(|told| state.waiting.push_front(told));
        if state.closed || state.over {
            state.over = true;
            shared.changed.notify_all();
            return;
        }
        let until = Instant::now() + pause;
        pause = (pause * 2).min(LONGEST_PAUSE);
        while !state.closed && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            state = shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
