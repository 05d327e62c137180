//! Which worker gets what: windows, jobs and suspects. Knows the queues and the workers, nothing of documents.

use std::collections::VecDeque;

use super::{Cell, Command, Lane, LaneIx, Scheduler, Ticket, Worker, WorkerIx};
use crate::model::pipeline::TargetIx;

/// As much work as a worker has in hand, in microseconds.
const WINDOW: f64 = 20_000.0;

/// Where requests can go.
enum Place {
    /// So many, to this worker.
    Worker(WorkerIx, usize),
    /// To a worker that is to be started.
    New,
    /// To one that can be started when this one has ended.
    After(WorkerIx),
}

impl Lane {
    /// A window is 20 ms of work by the measured mean, at least 2; a batch; or as many as are done side by side.
    fn window(&self) -> usize {
        if let Some(at_once) = self.at_once {
            return at_once.max(1);
        }
        if self.batch > 1 {
            return self.batch;
        }
        let by_time = self.mean.map_or(2, |mean| (WINDOW / mean.max(1.0)) as usize);
        by_time.clamp(2, self.most.max(2)).min(self.most)
    }

    /// How many more a worker takes that has so many left: one that works in batches has the next one waiting.
    fn room(&self, window: usize, left: usize) -> usize {
        let is_low = if self.at_once.is_some() {
            left < window
        } else if self.batch > 1 {
            return if left <= window { 2 * window - left } else { 0 };
        } else {
            left < window && left * 2 <= window
        };
        if is_low { window - left } else { 0 }
    }

    /// Whether its workers count among the jobs.
    fn counts(&self) -> bool {
        self.limit.is_none()
    }
}

impl Scheduler {
    /// The next worker to start or requests to send, one at a time: what is not given out yet cannot be outdated by a
    /// stop, a death or a restart.
    pub(super) fn hand_out(&mut self) -> Option<Command> {
        if self.stopping || !self.changed {
            return None;
        }
        let command = self.hand_out_suspect().or_else(|| self.hand_out_window());
        self.changed = command.is_some();
        command
    }

    /// The deepest target with a full window, else the deepest with any.
    fn hand_out_window(&mut self) -> Option<Command> {
        // Somebody waits for a job: workers that count are not topped up, so that one comes free.
        let waits = |ix: &WorkerIx| {
            let worker = &self.workers[ix.0 as usize];
            worker.in_hand.is_empty() && !self.lanes[worker.lane].paused
        };
        let mut starving = self.suspected.iter().any(waits);
        for full_only in [true, false] {
            for ix in (0..self.lanes.len()).rev() {
                let lane = &self.lanes[ix];
                let left = self.tokens(lane);
                if lane.queue.is_empty() || lane.disabled || lane.paused || left == 0 {
                    continue;
                }
                let window = lane.window().min(left);
                if full_only && lane.queue.len() < window {
                    continue;
                }
                match self.place(lane, window, starving) {
                    Some(Place::Worker(worker, room)) => {
                        let queue = &mut self.lanes[ix].queue;
                        let tickets = queue.drain(..room.min(queue.len()).min(left)).collect();
                        return Some(self.send(worker, tickets));
                    }
                    Some(Place::New) => return Some(self.start(ix)),
                    Some(Place::After(worker)) => {
                        self.workers[worker.0 as usize].is_leaving = true;
                        return Some(Command::End(worker));
                    }
                    None => starving |= full_only && lane.counts(),
                }
            }
        }
        None
    }

    /// A suspect goes out before all others, alone, when its worker has nothing in hand.
    fn hand_out_suspect(&mut self) -> Option<Command> {
        let workers = &self.workers;
        self.suspected.retain(|ix| !workers[ix.0 as usize].suspects.is_empty());
        let free = |ix: &&WorkerIx| {
            let worker = &self.workers[ix.0 as usize];
            let lane = &self.lanes[worker.lane];
            worker.in_hand.is_empty() && !lane.paused && self.tokens(lane) > 0 && self.may_begin(lane)
        };
        let ix = *self.suspected.iter().find(free)?;
        let worker = &mut self.workers[ix.0 as usize];
        let ticket = worker.suspects.pop_front()?;
        worker.alone = true;
        Some(self.send(ix, vec![ticket]))
    }

    /// Where a target's requests can go: to an idle worker, a new one, or one that has little left in hand.
    fn place(&self, lane: &Lane, window: usize, starving: bool) -> Option<Place> {
        let state = |ix: &&WorkerIx| &self.workers[ix.0 as usize];
        if self.may_begin(lane) {
            if lane.busy < lane.workers.len() {
                let idle = |ix: &&WorkerIx| state(ix).is_idle();
                if let Some(ix) = lane.workers.iter().find(idle) {
                    return Some(Place::Worker(*ix, window));
                }
            }
            if lane.workers.len() < lane.limit.unwrap_or(self.jobs) {
                if lane.cards == 0 || self.free_card(lane.cards).is_some() {
                    return Some(Place::New);
                }
                if lane.workers.is_empty()
                    && let Some(idle) = self.idle_with_card(lane.cards)
                {
                    return Some(Place::After(idle));
                }
            }
        }
        if starving && lane.counts() {
            return None;
        }
        let can_take = |ix: &&WorkerIx| {
            let worker = state(ix);
            let left = worker.in_hand.len();
            left > 0 && lane.room(window, left) > 0 && !worker.alone && worker.suspects.is_empty()
        };
        let ix = lane.workers.iter().filter(can_take).min_by_key(|ix| state(ix).in_hand.len())?;
        Some(Place::Worker(*ix, lane.room(window, state(&ix).in_hand.len())))
    }

    /// Whether one more worker of this target may become busy.
    fn may_begin(&self, lane: &Lane) -> bool {
        !lane.counts() || self.busy < self.jobs
    }

    fn start(&mut self, lane: LaneIx) -> Command {
        let ix = WorkerIx(self.workers.len() as u32);
        let target = TargetIx(self.lanes[lane].target);
        let card = self.free_card(self.lanes[lane].cards);
        if let Some(card) = card {
            self.cards[card] = Some(ix);
        }
        self.workers.push(Worker {
            target,
            lane,
            in_hand: VecDeque::new(),
            suspects: VecDeque::new(),
            alone: false,
            card,
            is_leaving: false,
            is_ready: false,
        });
        self.lanes[lane].workers.push(ix);
        Command::Start(ix, target)
    }

    fn send(&mut self, ix: WorkerIx, tickets: Vec<Ticket>) -> Command {
        for ticket in &tickets {
            self.set(*ticket, Cell::Running);
        }
        let worker = &mut self.workers[ix.0 as usize];
        let lane = &mut self.lanes[worker.lane];
        if worker.in_hand.is_empty() {
            lane.busy += 1;
            self.busy += usize::from(lane.counts());
        }
        if let Some(bucket) = lane.bucket {
            self.buckets[bucket] = self.buckets[bucket].saturating_sub(tickets.len() as u64);
        }
        lane.running += tickets.len();
        self.running += tickets.len();
        worker.in_hand.extend(&tickets);
        Command::Send(ix, tickets)
    }

    /// Takes one request out of a worker's hand, if it is there.
    pub(super) fn take(&mut self, ix: WorkerIx, ticket: Ticket) -> bool {
        let in_hand = &mut self.workers[ix.0 as usize].in_hand;
        // The first, nearly always.
        let Some(place) = in_hand.iter().position(|other| *other == ticket) else { return false };
        in_hand.remove(place);
        self.taken(ix, 1);
        true
    }

    /// Takes everything out of a worker's hand, oldest first.
    pub(super) fn take_all(&mut self, ix: WorkerIx) -> VecDeque<Ticket> {
        let in_hand = std::mem::take(&mut self.workers[ix.0 as usize].in_hand);
        self.taken(ix, in_hand.len());
        in_hand
    }

    fn taken(&mut self, ix: WorkerIx, count: usize) {
        let worker = &mut self.workers[ix.0 as usize];
        let lane = &mut self.lanes[worker.lane];
        self.running -= count;
        lane.running -= count;
        if count > 0 && worker.in_hand.is_empty() {
            worker.alone = false;
            lane.busy -= 1;
            self.busy -= usize::from(lane.counts());
        }
        self.changed = true;
    }
}
