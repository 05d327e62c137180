//! The workers of one module with one setup: documents of all requests go to whichever has least in hand.
//!
//! Slots are those of a build. A document that ends its worker fails; those that were in hand with it are handed out
//! again. An answer counts only if the module's code is still what it was when the crew began.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::model::failure::{Failure, FailureKind};
use crate::module::{Answer, Died, Host, Report, Request, Slot, Weight};
use crate::serve::answer;
use crate::serve::offer::Offered;
use crate::serve::request::{Document, Setup, Unpacked};

/// So many documents a worker has in hand or waiting.
const AHEAD: usize = 4;
/// A document that was lost so often is given back.
const LOSSES: u32 = 3;

/// Numbers of processes and of documents are given once.
static PROCESSES: AtomicU32 = AtomicU32::new(0);
static DOCUMENTS: AtomicU64 = AtomicU64::new(0);

/// What goes into a reply.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    /// It says how its document ended.
    pub(super) is_answer: bool,
    /// Nothing comes after it.
    pub(super) is_last: bool,
    /// Holds back the module until the line is sent.
    pub(super) weight: Option<Weight>,
}

/// A document in hand.
struct Job {
    request: Request,
    /// As it is called by who sent it.
    name: u64,
    to: UnboundedSender<Line>,
    losses: u32,
    /// What was written to the disk for it goes with it.
    _folders: Unpacked,
}

struct Place {
    slot: Slot,
    in_hand: HashSet<u64>,
    log: PathBuf,
}

#[derive(Default)]
struct State {
    places: HashMap<u32, Place>,
    queue: VecDeque<u64>,
    jobs: HashMap<u64, Job>,
    used: Option<Instant>,
}

/// See the module's text.
pub(super) struct Crew {
    pub(super) fingerprint: String,
    offered: Arc<Offered>,
    host: Arc<Host>,
    setup: Setup,
    workers: usize,
    most: u64,
    /// The code was another one while it was at work: one of its workers may have loaded that, and none is asked again,
    /// also if the code is the old one once more.
    is_stale: AtomicBool,
    state: Mutex<State>,
}

impl Crew {
    /// Nobody is started yet. `most`: the bytes of one result.
    pub(super) fn new(
        offered: Arc<Offered>,
        host: Arc<Host>,
        setup: Setup,
        fingerprint: String,
        workers: usize,
        most: u64,
    ) -> Arc<Crew> {
        let (is_stale, state) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Crew { fingerprint, offered, host, setup, workers, most, is_stale, state })
    }

    /// Whether it is to be asked no more.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it last had something to do; nothing while it has.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        if state.jobs.is_empty() { state.used } else { None }
    }

    /// Takes documents: their numbers, and what will be said of them.
    pub(super) fn take(
        self: &Arc<Self>,
        documents: Vec<Document>,
    ) -> Result<(Vec<u64>, UnboundedReceiver<Line>), String> {
        let (to, lines) = unbounded_channel();
        let folder = self.offered.launch(&self.setup, "").tmp;
        crate::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let mut jobs = Vec::new();
        for document in documents {
            let id = DOCUMENTS.fetch_add(1, Ordering::Relaxed);
            let name = document.name;
            let (request, folders) = document.into_request(id, &folder)?;
            jobs.push((id, Job { request, name, to: to.clone(), losses: 0, _folders: folders }));
        }
        let ids: Vec<u64> = jobs.iter().map(|(id, _)| *id).collect();
        let mut state = self.state();
        state.used = Some(Instant::now());
        state.queue.extend(&ids);
        state.jobs.extend(jobs);
        self.hand_out(&mut state);
        Ok((ids, lines))
    }

    /// Nobody waits for these any more. A worker that has nothing else in hand is ended.
    pub(super) fn cancel(self: &Arc<Self>, ids: &[u64]) {
        let mut state = self.state();
        for id in ids {
            if let Some(job) = state.jobs.remove(id) {
                forget(&job.request);
            }
        }
        let State { places, queue, jobs, .. } = &mut *state;
        queue.retain(|id| jobs.contains_key(id));
        let idle = |place: &Place| {
            !place.in_hand.is_empty() && !place.in_hand.iter().any(|id| jobs.contains_key(id))
        };
        let gone: Vec<Place> = places.extract_if(|_, place| idle(place)).map(|(_, place)| place).collect();
        bury(gone, true);
        self.hand_out(&mut state);
    }

    /// Lets its workers end.
    pub(super) fn end(&self) {
        let places = self.state().places.drain().map(|(_, place)| place).collect();
        bury(places, false);
    }

    fn hand_out(self: &Arc<Self>, state: &mut State) {
        while let Some(id) = state.queue.front().copied() {
            let least = state.places.iter().min_by_key(|(number, place)| (place.in_hand.len(), **number));
            let least = least.map(|(number, place)| (*number, place.in_hand.len()));
            let number = match least {
                Some((number, 0)) => number,
                _ if state.places.len() < self.workers => match self.start(state) {
                    Ok(number) => number,
                    Err(failure) => return give_up(state, &failure),
                },
                Some((number, in_hand)) if in_hand < AHEAD => number,
                _ => return,
            };
            state.queue.pop_front();
            let (Some(place), Some(job)) = (state.places.get_mut(&number), state.jobs.get(&id)) else {
                continue;
            };
            place.in_hand.insert(id);
            place.slot.send(vec![job.request.clone()]);
        }
    }

    fn start(self: &Arc<Self>, state: &mut State) -> Result<u32, Failure> {
        let number = PROCESSES.fetch_add(1, Ordering::Relaxed);
        let launch = self.offered.launch(&self.setup, &number.to_string());
        let log = launch.log.clone();
        let crew: Weak<Crew> = Arc::downgrade(self);
        let deliver = move |reports: Vec<Report>| {
            if let Some(crew) = crew.upgrade() {
                crew.hear(number, reports);
            }
        };
        let slot = Slot::start(Arc::clone(&self.host), number, Arc::new(launch), deliver);
        let slot =
            slot.map_err(|error| Failure::new(FailureKind::Lost, "cannot start", error.to_string()))?;
        state.places.insert(number, Place { slot, in_hand: HashSet::new(), log });
        Ok(number)
    }

    /// What a slot says, on the slot's own thread.
    fn hear(self: &Arc<Self>, number: u32, reports: Vec<Report>) {
        for report in &reports {
            let (files, packages) = match report {
                Report::Ready { files, packages, .. } => (Some(files), Some(packages)),
                Report::Answer(answer) => (answer.files.as_ref(), answer.packages.as_ref()),
                _ => (None, None),
            };
            if files.is_some() || packages.is_some() {
                let files = files.map_or(&[][..], Vec::as_slice);
                self.offered.learn(files, packages.map_or(&[][..], Vec::as_slice));
            }
        }
        let now = self.offered.code().map(|code| code.fingerprint).unwrap_or_default();
        let mut state = self.state();
        state.used = Some(Instant::now());
        for report in reports {
            self.take_report(&mut state, number, report, &now);
        }
        if now != self.fingerprint {
            self.is_stale.store(true, Ordering::Relaxed);
        }
        if self.is_stale() {
            // Whoever waits is told at once: nothing that this crew could still say would count.
            for (_, job) in state.jobs.drain() {
                forget(&job.request);
                job.say(answer::changed(job.name, &now), true);
            }
            state.queue.clear();
        }
        self.hand_out(&mut state);
    }

    fn take_report(&self, state: &mut State, number: u32, report: Report, now: &str) {
        match report {
            Report::Answer(answer) => self.answered(state, number, *answer, now),
            Report::Died(died) => self.died(state, number, *died),
            Report::Fatal { failure, returned } => {
                if let Some(place) = state.places.get_mut(&number) {
                    place.in_hand.retain(|id| !returned.contains(id));
                }
                give_up(state, &failure);
            }
            Report::Ended { returned } => {
                // It was buried: what it had and somebody waits for goes to others.
                let waiting = returned.into_iter().filter(|id| state.jobs.contains_key(id));
                let waiting: Vec<u64> = waiting.collect();
                waiting.into_iter().rev().for_each(|id| state.queue.push_front(id));
            }
            Report::Child { id, name, output, weight } => {
                if let Some(job) = state.jobs.get(&id) {
                    let bytes = answer::child(job.name, &name, output, self.most);
                    let line = Line { bytes, is_answer: false, is_last: false, weight: Some(weight) };
                    drop(job.to.send(line));
                }
            }
            Report::Progress { id, done, total, .. } => {
                say(state, id, "progress", &json!({ "done": done, "total": total }));
            }
            Report::Warn { id: Some(id), warning, .. } => say(state, id, "warn", &warning),
            Report::Count { id, counts } => say(state, id, "count", &json!(counts)),
            Report::Warn { id: None, .. }
            | Report::Ready { .. }
            | Report::Stack { .. }
            | Report::Used { .. } => {}
        }
    }

    fn answered(&self, state: &mut State, number: u32, answer: Answer, now: &str) {
        let Some(place) = state.places.get_mut(&number) else { return };
        place.in_hand.remove(&answer.id);
        let Some(job) = state.jobs.remove(&answer.id) else { return };
        forget(&job.request);
        let bytes = if now == self.fingerprint && !self.is_stale() {
            answer::answer(job.name, answer, &self.fingerprint, &place.log, self.most)
        } else {
            answer::changed(job.name, now)
        };
        job.say(bytes, true);
    }

    fn died(&self, state: &mut State, number: u32, died: Died) {
        let log = state.places.get(&number).map(|place| place.log.clone());
        if let Some(place) = state.places.get_mut(&number) {
            place.in_hand.clear();
        }
        let printed = log.zip(died.log).and_then(|(log, range)| answer::printed(&log, range));
        let several = died.suspects.len() > 1;
        for id in died.suspects {
            let Some(job) = state.jobs.remove(&id) else { continue };
            forget(&job.request);
            let mut failure = died.failure.clone();
            if several {
                // Which of them it was is not known: whoever sent them tries each alone.
                failure.message = format!("its worker ended with others in hand: {}", failure.summary());
                (failure.kind, failure.error, failure.retry) = (FailureKind::Lost, "lost".to_owned(), true);
            }
            job.say(answer::failure(job.name, &failure, &self.fingerprint, printed.clone()), true);
        }
        for id in died.others.into_iter().rev() {
            let Some(job) = state.jobs.get_mut(&id) else { continue };
            job.losses += 1;
            if job.losses <= LOSSES {
                state.queue.push_front(id);
            } else if let Some(job) = state.jobs.remove(&id) {
                forget(&job.request);
                job.say(answer::failure(job.name, &died.failure, &self.fingerprint, None), true);
            }
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.end();
    }
}

impl Job {
    /// Who does not listen any more cancels soon.
    fn say(&self, bytes: Vec<u8>, is_answer: bool) {
        drop(self.to.send(Line { bytes, is_answer, is_last: false, weight: None }));
    }
}

fn say(state: &State, id: u64, what: &str, value: &serde_json::Value) {
    if let Some(job) = state.jobs.get(&id) {
        job.say(answer::line(job.name, what, value), false);
    }
}

/// The module cannot start: every request hears it.
fn give_up(state: &mut State, failure: &Failure) {
    for (_, job) in state.jobs.drain() {
        forget(&job.request);
        let line = Line { bytes: answer::fatal(failure), is_answer: true, is_last: true, weight: None };
        drop(job.to.send(line));
    }
    state.queue.clear();
}

/// Removes what was written for a document.
fn forget(request: &Request) {
    if let crate::module::Body::Manifest { path, .. } = &request.input.body {
        drop(crate::fs::remove_file(path));
    }
}

/// Ends slots on a thread of its own: they wait for theirs, on which this may have been called.
fn bury(places: Vec<Place>, at_once: bool) {
    if places.is_empty() {
        return;
    }
    std::thread::spawn(move || {
        for place in places {
            if at_once {
                place.slot.kill();
            } else {
                place.slot.finish();
            }
            place.slot.join();
            drop(crate::fs::remove_file(&place.log));
        }
    });
}
