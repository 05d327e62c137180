//! The walk: threads that take the lowest waiting directory, and what is left when all are done.
//!
//! No descriptor outlives its directory, and nothing recurses, so depth costs only path lookups. What one
//! directory holds is `directory`'s.

use std::cmp::Ordering as Order;
use std::collections::{BinaryHeap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::scan::differences::{Block, Differences, below, directory_order};
use crate::scan::directory::{Tally, Waiting, Work, Worker};
use crate::scan::roots::Start;
use crate::scan::{Problem, Request, Scan, limited};

/// Work that waits, and how much is in hand.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// An error or a panic somewhere: take no more.
    stop: AtomicBool,
}

struct State {
    waiting: BinaryHeap<Lowest>,
    in_hand: usize,
}

/// Ordered so that a heap gives the lowest directory first, and of that the lowest stretch.
struct Lowest(Work);

impl Ord for Lowest {
    fn cmp(&self, other: &Self) -> Order {
        let ((dir, stretch), (other_dir, other_stretch)) = (self.0.place(), other.0.place());
        directory_order(other_dir, dir).then(other_stretch.cmp(&stretch))
    }
}

impl PartialOrd for Lowest {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Lowest {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Order::Equal
    }
}

impl Eq for Lowest {}

/// Work in hand. Given back also when its thread panics, so that nobody waits for ever.
struct Turn<'a> {
    queue: &'a Queue,
    found: Vec<Work>,
    done: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.waiting.extend(self.found.drain(..).map(Lowest));
        state.in_hand -= 1;
        if !self.done {
            self.queue.stop.store(true, Ordering::Relaxed);
        }
        drop(state);
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, cancel: &AtomicBool) -> Option<(Work, Turn<'_>)> {
        let mut state = self.lock();
        loop {
            if self.stop.load(Ordering::Relaxed) || cancel.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(Lowest(work)) = state.waiting.pop() {
                state.in_hand += 1;
                return Some((work, Turn { queue: self, found: Vec::new(), done: false }));
            }
            if state.in_hand == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

pub(super) fn scan(request: &Request<'_>) -> Result<Scan> {
    let changes = request.changes.filter(|_| limited::suffices(request));
    let (known, waiting) = match changes {
        Some(changes) => (changes.known, limited::starts(request, changes)),
        None => (request.before.documents(request.source)?, starts(request)),
    };
    let threads = if changes.is_some() { waiting.len().min(request.threads) } else { request.threads };
    let waiting = waiting.into_iter().map(|start| Lowest(Work::Directory(start))).collect();
    let queue = Queue {
        state: Mutex::new(State { waiting, in_hand: 0 }),
        changed: Condvar::new(),
        stop: AtomicBool::new(false),
    };
    // Only compared within this scan; a collision would hide a vanished directory until the next one.
    let hasher = RandomState::new();
    let mut tally = Tally::default();
    for (path, text) in request.roots.unreadable() {
        tally.unreadable.push(Problem { rel: path.clone(), text: text.clone() });
        tally.unread.push(path.as_str().into());
    }
    std::thread::scope(|scope| {
        let walk = || -> Result<Tally> {
            let mut worker = Worker::new(request, &hasher, known > 0);
            while let Some((work, mut turn)) = queue.take(request.cancel) {
                turn.found = worker.look_at(work)?;
                turn.done = true;
            }
            Ok(worker.tally)
        };
        // Without a thread to be had, those that there are walk it all.
        let start = |_| std::thread::Builder::new().name("scan".into()).spawn_scoped(scope, walk).ok();
        let helpers: Vec<_> = (1..threads.max(1)).map_while(start).collect();
        let mut results = vec![walk()];
        for helper in helpers {
            results.push(helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        results.into_iter().try_for_each(|result| {
            tally.add(result?);
            Ok::<(), Error>(())
        })
    })?;
    if request.cancel.load(Ordering::Relaxed) {
        return Err(Error::unfinished(format!("the scan of source `{}` was interrupted", request.source)));
    }
    match changes {
        Some(changes) => {
            let below = limited::directories_below(request, changes)?;
            let gone = vanished(request, &hasher, &mut tally, below)?;
            // All that was not looked at is as it was.
            tally.counts.current += known.saturating_sub(tally.known + gone);
        }
        None if tally.known != known => {
            let all = request.before.directories(request.source)?;
            vanished(request, &hasher, &mut tally, all)?;
        }
        None => {}
    }
    tally.unreadable.sort_unstable();
    Ok(Scan {
        source: request.source.to_owned(),
        found: Differences::new(tally.blocks),
        counts: tally.counts,
        known,
        unreadable: tally.unreadable,
        ignored: tally.ignored,
        note: String::new(),
        missing: request.roots.missing().to_vec(),
        links: tally.links,
    })
}

/// Where a walk through everything begins.
fn starts(request: &Request<'_>) -> Vec<Waiting> {
    let waiting = |start: Start| {
        let Start { rel, path, only } = start;
        Waiting { rel: rel.into(), path, linked: false, only, limited: false }
    };
    request.roots.starts(&request.prune).into_iter().map(waiting).collect()
}

/// Finds the documents of directories that the walk did not come to; how many there are in all.
fn vanished(
    request: &Request<'_>,
    hasher: &RandomState,
    tally: &mut Tally,
    directories: Vec<String>,
) -> Result<u64> {
    let visited: HashSet<u64> = tally.visited.drain(..).collect();
    let before = tally.counts.gone;
    for dir in directories {
        let unread = |above: &Arc<str>| above.is_empty() || **above == *dir || below(&dir, above).is_some();
        if visited.contains(&hasher.hash_one(dir.as_str())) || tally.unread.iter().any(unread) {
            continue;
        }
        let mut block = Block::of(dir.as_str().into(), 0);
        for known in request.before.directory(request.source, &dir)? {
            if !request.roots.is_unreadable(&dir, &known.name) {
                tally.counts.gone += 1;
                block.push_gone(known);
            }
        }
        if !block.is_empty() {
            tally.blocks.push(block);
        }
    }
    Ok(tally.counts.gone - before)
}
