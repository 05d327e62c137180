//! What a module needs beside a free worker: tokens of a rate, a graphics card. Knows no clock and no device.
//!
//! Tokens are granted by whoever has the clock. A card belongs to one worker until that has ended, since what a process
//! holds on it is only freed by its end.

use super::{Lane, Scheduler, Worker, WorkerIx};

impl Worker {
    /// Whether it could take anything now.
    pub(super) fn is_idle(&self) -> bool {
        self.in_hand.is_empty() && self.suspects.is_empty() && !self.is_leaving
    }
}

impl Scheduler {
    /// So many more requests may be handed out by a rate.
    pub fn grant(&mut self, bucket: usize, tokens: u64) {
        self.buckets[bucket] += tokens;
        self.changed |= tokens > 0;
    }

    /// What was granted and has not begun: it is left, or waits for a worker that is starting, whatever time that takes.
    pub fn granted(&self, bucket: usize) -> u64 {
        let lanes = self.lanes.iter().filter(|lane| lane.bucket == Some(bucket));
        let workers = lanes.flat_map(|lane| &lane.workers).map(|ix| &self.workers[ix.0 as usize]);
        let waits: usize = workers.filter(|worker| !worker.is_ready).map(|worker| worker.in_hand.len()).sum();
        self.buckets[bucket] + waits as u64
    }

    /// Whether anything may be handed out by a rate.
    pub fn is_granted(&self, bucket: usize) -> bool {
        self.buckets[bucket] > 0
    }

    /// A worker has started: what it has in hand begins.
    pub fn begins(&mut self, worker: WorkerIx) {
        self.workers[worker.0 as usize].is_ready = true;
    }

    /// The worker says that its module takes so many in one call.
    pub fn takes_batches(&mut self, worker: WorkerIx, batch: usize) {
        let lane = self.lane_of(worker);
        self.lanes[lane].batch = batch.max(1);
        self.changed = true;
    }

    /// How many requests a worker does side by side, if it does.
    pub fn at_once(&self, worker: WorkerIx) -> Option<usize> {
        self.lanes[self.lane_of(worker)].at_once
    }

    /// The card that a worker has for itself.
    pub fn card_of(&self, worker: WorkerIx) -> Option<usize> {
        self.workers[worker.0 as usize].card
    }

    /// A worker that was told to end has ended: its card is free.
    pub fn ended(&mut self, worker: WorkerIx) {
        let lane = self.lane_of(worker);
        let state = &mut self.workers[worker.0 as usize];
        if state.is_leaving {
            if let Some(card) = state.card.take() {
                self.cards[card] = None;
            }
            self.lanes[lane].workers.retain(|other| *other != worker);
            self.changed = true;
        }
    }

    pub(super) fn tokens(&self, lane: &Lane) -> usize {
        lane.bucket.map_or(usize::MAX, |bucket| usize::try_from(self.buckets[bucket]).unwrap_or(usize::MAX))
    }

    pub(super) fn free_card(&self, of: usize) -> Option<usize> {
        self.cards.iter().take(of).position(Option::is_none)
    }

    /// Somebody who has one of these cards and no use for it now. Nobody while one of them is ending already.
    pub(super) fn idle_with_card(&self, of: usize) -> Option<WorkerIx> {
        let holders = || self.cards.iter().take(of).flatten().copied();
        let state = |ix: &WorkerIx| &self.workers[ix.0 as usize];
        if holders().any(|ix| state(&ix).is_leaving) {
            return None;
        }
        holders().find(|ix| state(ix).is_idle() && self.lanes[state(ix).lane].queue.is_empty())
    }
}
