//! What ends before its answer: deaths of workers, tries that are to be repeated, targets that stop, the end of a build.

use super::{Cell, LaneIx, Scheduler, Ticket, WorkerIx};
use crate::model::action::State;
use crate::model::pipeline::TargetIx;

impl Scheduler {
    /// The process of a worker died or was killed, with these in hand, oldest first. What was sent to the worker and had
    /// not reached that process goes to the next one, and stays in hand. Returns the one to blame if it was alone with
    /// it: then settle that one with [`Scheduler::settle_fault`], or try it [`Scheduler::again`]. Else the oldest goes
    /// out again alone, the others unblamed. Without `anybody` to blame all of them do.
    pub fn died(&mut self, worker: WorkerIx, had: &[Ticket], anybody: bool) -> Option<Ticket> {
        let lane = self.lane_of(worker);
        let alone = anybody && had.len() == 1;
        self.workers[worker.0 as usize].is_ready = false;
        for (place, ticket) in had.iter().copied().enumerate().rev() {
            if !self.take(worker, ticket) {
                continue;
            }
            if self.cell(ticket) != Some(Cell::Running) {
                self.release(ticket);
            } else if alone {
                return Some(ticket);
            } else if place == 0 {
                self.again(worker, ticket);
            } else if self.lanes[lane].closed {
                self.refuse(lane, ticket);
            } else if self.stopping {
                self.settle(ticket, State::Unfinished);
            } else {
                self.set(ticket, Cell::Queued);
                self.lanes[lane].queue.push_front(ticket);
            }
        }
        None
    }

    /// Sends what [`Scheduler::died`] blamed once more to the same worker, alone.
    pub fn again(&mut self, worker: WorkerIx, ticket: Ticket) {
        let lane = self.lane_of(worker);
        if self.lanes[lane].closed {
            self.refuse(lane, ticket);
        } else if self.stopping || self.lanes[lane].disabled {
            self.settle_running(ticket, State::Unfinished);
        } else if self.cell(ticket) == Some(Cell::Running) {
            self.set(ticket, Cell::Queued);
            self.workers[worker.0 as usize].suspects.push_back(ticket);
            self.suspected.push(worker);
            self.changed = true;
        } else {
            self.release(ticket);
        }
    }

    /// A worker answered, but its request is to be tried [`Scheduler::again`] later: until then it stays with nobody.
    /// Whether the worker had it in hand.
    pub fn hold(&mut self, worker: WorkerIx, ticket: Ticket) -> bool {
        self.take(worker, ticket)
    }

    /// Settles what [`Scheduler::died`] blamed.
    pub fn settle_fault(&mut self, ticket: Ticket, state: State) {
        self.settle_running(ticket, state);
    }

    pub(super) fn settle_running(&mut self, ticket: Ticket, state: State) {
        if self.cell(ticket) == Some(Cell::Running) {
            self.settle(ticket, state);
        } else {
            self.release(ticket);
        }
    }

    /// A worker's module cannot start, or was stopped: all that it has to do stays open.
    pub fn disable(&mut self, worker: WorkerIx) {
        self.disable_lane(self.lane_of(worker));
    }

    /// Hands out nothing more of one of a target's modules for a while, or again.
    pub fn pause_module(&mut self, target: TargetIx, module: usize, paused: bool) {
        let lane = self.first_lanes[target.0] + module;
        self.lanes[lane].paused = paused;
        self.changed = true;
    }

    /// Hands out nothing more of one of a target's modules in this build. What is in hand may finish and counts.
    pub fn close_module(&mut self, target: TargetIx, module: usize) {
        let lane = self.first_lanes[target.0] + module;
        self.lanes[lane].closed = true;
        let mut waiting: Vec<Ticket> = self.lanes[lane].queue.drain(..).collect();
        for ix in self.lanes[lane].workers.clone() {
            waiting.extend(std::mem::take(&mut self.workers[ix.0 as usize].suspects));
        }
        for ticket in waiting {
            if self.cell(ticket) == Some(Cell::Queued) {
                self.lanes[lane].refused += 1;
            }
            self.abandon(ticket);
        }
    }

    /// How many actions stay open because one of a target's modules was closed.
    pub fn refused(&self, target: TargetIx, module: usize) -> u64 {
        self.lanes[self.first_lanes[target.0] + module].refused
    }

    fn refuse(&mut self, lane: LaneIx, ticket: Ticket) {
        self.lanes[lane].refused += u64::from(self.cell(ticket) == Some(Cell::Running));
        self.settle_running(ticket, State::Unfinished);
    }

    /// Nothing new is handed out; what is in hand may finish, everything else stays open.
    pub fn stop(&mut self) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        for lane in 0..self.lanes.len() {
            self.drain(lane);
        }
        for worker in std::mem::take(&mut self.suspected) {
            for ticket in std::mem::take(&mut self.workers[worker.0 as usize].suspects) {
                self.abandon(ticket);
            }
        }
    }

    /// All workers were ended: who comes later gets new ones.
    pub fn workers_ended(&mut self) {
        for lane in 0..self.lanes.len() {
            for ix in std::mem::take(&mut self.lanes[lane].workers) {
                for ticket in self.take_all(ix) {
                    self.release(ticket);
                }
            }
        }
        self.suspected.clear();
        self.cards.fill(None);
    }

    /// Whether [`Scheduler::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Stops, and gives up what is in hand: those cells stay open. For the end of the grace after a stop.
    pub fn give_up(&mut self) {
        self.stop();
        for ix in 0..self.workers.len() {
            for ticket in self.take_all(WorkerIx(ix as u32)) {
                self.abandon(ticket);
            }
        }
    }

    pub(super) fn drain(&mut self, lane: LaneIx) {
        let queue = std::mem::take(&mut self.lanes[lane].queue);
        for ticket in queue {
            self.abandon(ticket);
        }
    }

    pub(super) fn abandon(&mut self, ticket: Ticket) {
        if matches!(self.cell(ticket), Some(Cell::Queued | Cell::Running)) {
            self.settle(ticket, State::Unfinished);
        } else {
            self.release(ticket);
        }
    }
}
