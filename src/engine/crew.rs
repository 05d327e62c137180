//! Workers, and those that stay between the builds of one process, ready for the next document.
//!
//! A worker stays only if the next build would start the very same: same recipe (code, params, shared side inputs), same
//! program, environment and limits, and every file that it has loaded as it was. So what it answers is what a fresh one
//! would answer. Knows nothing of documents or of when a build ends.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::cards;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::action::Position;
use crate::model::pipeline::Program;
use crate::module::{Host, Launch, Report, Request, Slot};

/// Who is told what a worker says.
pub(super) type Deliver = Box<dyn Fn(Vec<Report>) + Send>;

/// A worker that nobody needs for so long ends: what it holds may grow old, a connection for example.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// A worker of a target.
pub(super) struct Worker {
    slot: Slot,
    /// Nobody, while it waits for its next build.
    line: Arc<Mutex<Option<Deliver>>>,
    target: String,
    recipe: Digest,
    launch: Arc<Launch>,
    /// Where it writes its log, by the name of the present run.
    log: PathBuf,
}

/// One that stays.
struct Idle {
    worker: Worker,
    /// What it had loaded, as recorded.
    loads: Position,
    since: Instant,
}

/// Those that stay.
#[derive(Default)]
pub(super) struct Crew {
    idle: Vec<Idle>,
    /// Numbers are given once a process: scratch folders are named by them.
    next: u32,
}

impl Worker {
    pub(super) fn send(&self, requests: Vec<Request>) {
        self.slot.send(requests);
    }

    /// What is sent next goes to a fresh process.
    pub(super) fn restart(&self) {
        self.slot.restart();
    }

    pub(super) fn finish(&self) {
        self.slot.finish();
    }

    pub(super) fn kill(&self) {
        self.slot.kill();
    }

    /// Asks where it stands: whether that will be told.
    pub(super) fn tell_stack(&self) -> bool {
        let can = matches!(self.launch.program, Program::Python { .. });
        if can {
            self.slot.tell_stack();
        }
        can
    }

    /// Where it writes its log.
    pub(super) fn log(&self) -> &std::path::Path {
        &self.log
    }

    /// When that was how long.
    pub(super) fn log_times(&self) -> Vec<(u64, crate::time::Millis)> {
        self.slot.log_times()
    }

    pub(super) fn join(self) {
        self.slot.join();
    }

    /// Whether it is a process that goes on after its last document.
    pub(super) fn can_stay(&self) -> bool {
        !self.launch.program.is_filter()
    }

    fn listen(&self, deliver: Option<Deliver>) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = deliver;
    }

    /// Goes on writing its log under the name of another run. Records name a stretch of that file.
    fn rename_log(&mut self, log: &std::path::Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let same_file = || {
            let (old, new) = (std::fs::metadata(&self.log).ok()?, std::fs::metadata(log).ok()?);
            Some((old.dev(), old.ino()) == (new.dev(), new.ino()))
        };
        let named = std::fs::hard_link(&self.log, log).is_ok() || same_file() == Some(true);
        if named {
            self.log = log.to_owned();
        }
        named
    }
}

impl Crew {
    /// Starts a worker.
    pub(super) fn start(
        &mut self,
        host: &Arc<Host>,
        target: &str,
        recipe: Digest,
        launch: Launch,
        deliver: Deliver,
    ) -> Result<Worker> {
        let number = self.next;
        self.next += 1;
        let line = Arc::new(Mutex::new(Some(deliver)));
        let (told, launch) = (Arc::clone(&line), Arc::new(launch));
        let slot = Slot::start(Arc::clone(host), number, Arc::clone(&launch), move |reports| {
            if let Some(deliver) = &*told.lock().unwrap_or_else(PoisonError::into_inner) {
                deliver(reports);
            }
        })?;
        let log = launch.log.clone();
        Ok(Worker { slot, line, target: target.to_owned(), recipe, launch, log })
    }

    /// One that stayed and that is what would be started now, with what it had loaded. Others of the target end.
    pub(super) fn hire(
        &mut self,
        target: &str,
        recipe: &Digest,
        launch: &Launch,
        holds: &mut dyn FnMut(Position) -> bool,
        deliver: Deliver,
    ) -> Option<(Worker, Position)> {
        let (of_target, others): (Vec<Idle>, Vec<Idle>) =
            std::mem::take(&mut self.idle).into_iter().partition(|idle| idle.worker.target == target);
        self.idle = others;
        let mut hired = None;
        for mut idle in of_target {
            let is_same = idle.worker.recipe == *recipe && same_start(&idle.worker.launch, launch);
            if !is_same || !holds(idle.loads) {
                leave(idle.worker);
            } else if hired.is_some() {
                self.idle.push(idle);
            } else if idle.worker.rename_log(&launch.log) {
                hired = Some((idle.worker, idle.loads));
            } else {
                leave(idle.worker);
            }
        }
        let (worker, loads) = hired?;
        worker.listen(Some(deliver));
        Some((worker, loads))
    }

    /// Ends those that wait with the card of a start of another program: it is free when they are gone.
    pub(super) fn leave_card(&mut self, launch: &Launch) {
        let card = |launch: &Launch| launch.env.iter().find(|(name, _)| name == cards::VARIABLE).cloned();
        let of_card = |idle: &Idle| {
            card(&idle.worker.launch) == card(launch) && !same_start(&idle.worker.launch, launch)
        };
        let (leaving, rest): (Vec<Idle>, Vec<Idle>) =
            std::mem::take(&mut self.idle).into_iter().partition(of_card);
        self.idle = rest;
        leaving.iter().for_each(|idle| idle.worker.finish());
        leaving.into_iter().for_each(|idle| idle.worker.join());
    }

    /// Keeps a worker that has nothing in hand.
    pub(super) fn keep(&mut self, worker: Worker, loads: Position) {
        worker.listen(None);
        self.idle.push(Idle { worker, loads, since: Instant::now() });
    }

    /// When the next of them has waited for long enough; nothing if none waits.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.idle.iter().map(|idle| idle.since + IDLE).min()
    }

    /// Ends those that nobody has needed for long.
    pub(super) fn end_idle(&mut self, now: Instant) {
        let (old, rest) =
            std::mem::take(&mut self.idle).into_iter().partition(|idle: &Idle| idle.since + IDLE <= now);
        self.idle = rest;
        old.into_iter().for_each(|idle: Idle| leave(idle.worker));
    }

    /// Ends all, and waits for it.
    pub(super) fn end(&mut self) {
        let all = std::mem::take(&mut self.idle);
        all.iter().for_each(|idle| idle.worker.finish());
        all.into_iter().for_each(|idle| idle.worker.join());
    }

    /// Files in the store's scratch folder that workers may still open.
    pub(super) fn uses(&self) -> impl Iterator<Item = &std::path::Path> {
        use crate::module::{Body, Side};
        let inputs =
            self.idle.iter().flat_map(|idle| &idle.worker.launch.with).flat_map(|(_, side)| match side {
                Side::Absent => &[][..],
                Side::One(input) => std::slice::from_ref(input),
                Side::Many(inputs) => inputs,
            });
        inputs.filter_map(|input| match &input.body {
            Body::Path(path) | Body::Manifest { path, .. } => Some(path.as_path()),
            Body::Bytes(_) => None,
        })
    }
}

/// Whether two starts differ in nothing but the name of the log.
fn same_start(a: &Launch, b: &Launch) -> bool {
    Launch { log: PathBuf::new(), ..a.clone() } == Launch { log: PathBuf::new(), ..b.clone() }
}

/// Lets a worker end in its own time: it has a few seconds for that, which no build waits for.
fn leave(worker: Worker) {
    worker.finish();
    std::thread::spawn(move || worker.join());
}
