//! Decides what is handed out next: a pure state machine, no I/O, no clock, no threads, no keys of its own making.
//!
//! Every open document has a cell per step of its family. Approach:
//!
//! 1. a cell whose inputs are settled asks to be decided ([`Command::Decide`]);
//! 2. the verdict settles it (a hit, left out, blocked, …), or it must run: then it queues, unless an equal action
//!    is in flight; then it waits for that one and is decided again;
//! 3. a free worker gets a window of requests of one target: the deepest target with a full window, else the deepest
//!    with any, so that what was begun is finished before more is begun;
//! 4. when all cells of the stratum are settled, the document is closed ([`Command::Close`]).
//!
//! A worker that dies with several requests in hand is sent the oldest alone; only a fault alone counts.
//! Pictures: `docs/design/scheduling.md`.

use std::collections::VecDeque;

use crate::hash::Map;
use crate::model::action::{ActionKey, State};
use crate::model::pipeline::TargetIx;
use crate::plan::family::{Families, Family, FamilyIx, Input, Split};

/// An open document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocIx(pub u32);

/// A worker process of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerIx(pub u32);

/// One action of an open document. Of no effect after the document was restarted or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    /// The document.
    pub doc: DocIx,
    /// The step of its family.
    pub step: usize,
    /// Which opening or restart of the document this is about.
    generation: u32,
}

/// What the driver is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// All inputs are settled: find out whether there is a result; answer with [`Scheduler::decided`].
    Decide(Ticket),
    /// Start a worker for a target.
    Start(WorkerIx, TargetIx),
    /// Hand requests to a worker.
    Send(WorkerIx, Vec<Ticket>),
    /// End a worker that has nothing in hand: another target needs its card. Then say [`Scheduler::ended`].
    End(WorkerIx),
    /// A document was split, or was before: look at its children, then say [`Scheduler::children_settled`].
    Children(Ticket),
    /// All that can be decided in this stratum is: write the story, then say [`Scheduler::closed`].
    Close(DocIx),
}

/// What is to become of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing runs.
    Settled(State),
    /// The module must run; equal keys in flight run once.
    Run(ActionKey),
    /// The same with a route: this one of the target's modules must run.
    Routed(ActionKey, usize),
}

/// What the scheduler must know of a module of a target.
#[derive(Clone, Copy, Debug, Default)]
pub struct TargetLimits {
    /// Stated `workers`: such a target does not count among the jobs.
    pub workers: Option<usize>,
    /// The most requests that one worker may have in hand.
    pub window: usize,
    /// So many requests are done in one call; 0 and 1: each alone.
    pub batch: usize,
    /// A worker does so many requests side by side, however long each takes.
    pub at_once: Option<usize>,
    /// The bucket that each request takes a token from.
    pub bucket: Option<usize>,
    /// The first so many cards of the machine are for its workers, one for each; 0: it needs none.
    pub cards: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    /// Decided in a later stratum.
    Later,
    /// So many inputs are not settled yet.
    Waiting(u32),
    Deciding,
    /// An equal action is in flight.
    Attached,
    Queued,
    Running,
    Settled(State),
}

/// The life of an open document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its content is not known yet.
    Reading,
    Deciding,
    /// The driver was asked to close it.
    Closing,
}

struct Open {
    family: FamilyIx,
    stratum: usize,
    generation: u32,
    phase: Phase,
    cells: Vec<Cell>,
    /// Cells, and splits whose children are, that are not settled.
    unsettled: u32,
}

/// A module of a target: most targets have one, a route one for each module that it chooses from.
#[derive(Default)]
struct Lane {
    target: usize,
    queue: VecDeque<Ticket>,
    workers: Vec<WorkerIx>,
    /// How many of the workers have something in hand, and how much in all.
    busy: usize,
    running: usize,
    limit: Option<usize>,
    most: usize,
    batch: usize,
    at_once: Option<usize>,
    bucket: Option<usize>,
    cards: usize,
    /// Microseconds of one action, a running mean.
    mean: Option<f64>,
    disabled: bool,
    /// Nothing more is handed out for a while.
    paused: bool,
    /// Nothing more is handed out; what is in hand may finish.
    closed: bool,
    /// Actions that stay open because of that.
    refused: u64,
}

/// The place of a module of a target in [`Scheduler::lanes`].
type LaneIx = usize;

struct Worker {
    target: TargetIx,
    lane: LaneIx,
    in_hand: VecDeque<Ticket>,
    /// Go out next, each alone.
    suspects: VecDeque<Ticket>,
    alone: bool,
    /// Nobody else has it.
    card: Option<usize>,
    /// It was asked to end.
    is_leaving: bool,
    /// Its process has started: what it has in hand has begun.
    is_ready: bool,
}

struct Shape {
    steps: Vec<ShapeStep>,
    splits: Vec<Split>,
}

struct ShapeStep {
    target: TargetIx,
    stratum: usize,
    needs: Vec<usize>,
    feeds: Vec<usize>,
}

/// The state machine.
pub struct Scheduler {
    shapes: Vec<Shape>,
    docs: Vec<Option<Open>>,
    generations: Vec<u32>,
    free: Vec<u32>,
    /// In order of their targets.
    lanes: Vec<Lane>,
    /// Of each target, the first.
    first_lanes: Vec<LaneIx>,
    workers: Vec<Worker>,
    /// Tickets that wait for an equal action.
    in_flight: Map<ActionKey, Vec<Ticket>>,
    keys: Map<Ticket, ActionKey>,
    /// Workers that have suspects, or had.
    suspected: Vec<WorkerIx>,
    /// What may be handed out by rate now.
    buckets: Vec<u64>,
    /// Who has which card.
    cards: Vec<Option<WorkerIx>>,
    jobs: usize,
    open: usize,
    running: usize,
    /// Workers that count among the jobs and have something in hand.
    busy: usize,
    stopping: bool,
    /// Something happened since the last time that there was nothing to hand out.
    changed: bool,
    /// What is to be decided and closed. What is handed out is never kept here: it could be outdated when its turn
    /// comes.
    commands: VecDeque<Command>,
}

impl Scheduler {
    /// A scheduler for these families; `limits` by target, `jobs` busy workers at once.
    pub fn new(families: &Families, limits: &[TargetLimits], jobs: usize) -> Self {
        let limits: Vec<Vec<TargetLimits>> = limits.iter().map(|limits| vec![*limits]).collect();
        Scheduler::with_routes(families, &limits, jobs)
    }

    /// The same where a target may have several modules.
    pub fn with_routes(families: &Families, limits: &[Vec<TargetLimits>], jobs: usize) -> Self {
        let lane = |(target, limits): (usize, &TargetLimits)| Lane {
            target,
            limit: lane_limit(limits),
            most: limits.window.max(1),
            batch: limits.batch.max(1),
            at_once: limits.at_once,
            bucket: limits.bucket,
            cards: limits.cards,
            ..Lane::default()
        };
        let all = || limits.iter().flatten();
        let buckets = all().filter_map(|limits| limits.bucket).max().map_or(0, |last| last + 1);
        let cards = all().map(|limits| limits.cards).max().unwrap_or(0);
        let mut first_lanes = Vec::with_capacity(limits.len());
        let mut lanes = Vec::with_capacity(limits.len());
        for (target, limits) in limits.iter().enumerate() {
            first_lanes.push(lanes.len());
            lanes.extend(limits.iter().map(|limits| lane((target, limits))));
        }
        Scheduler {
            shapes: families.list.iter().map(shape).collect(),
            docs: Vec::new(),
            generations: Vec::new(),
            free: Vec::new(),
            lanes,
            first_lanes,
            workers: Vec::new(),
            in_flight: Map::default(),
            keys: Map::default(),
            suspected: Vec::new(),
            buckets: vec![0; buckets],
            cards: vec![None; cards],
            jobs: jobs.max(1),
            open: 0,
            running: 0,
            busy: 0,
            stopping: false,
            changed: false,
            commands: VecDeque::new(),
        }
    }

    /// The next thing to do, if any. Costs next to nothing where nothing happened since the last time.
    pub fn next_command(&mut self) -> Option<Command> {
        let Some(command) = self.commands.pop_front() else { return self.hand_out() };
        if let Command::Close(doc) = command
            && let Some(open) = self.docs[doc.0 as usize].as_mut()
        {
            open.phase = Phase::Closing;
        }
        Some(command)
    }

    /// How many documents are open.
    pub fn open_documents(&self) -> usize {
        self.open
    }

    /// How many requests are with workers.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many requests of a target are with workers.
    pub fn running_of(&self, target: TargetIx) -> usize {
        self.lanes_of(target).map(|lane| self.lanes[lane].running).sum()
    }

    fn lanes_of(&self, target: TargetIx) -> std::ops::Range<LaneIx> {
        let end = self.first_lanes.get(target.0 + 1).copied().unwrap_or(self.lanes.len());
        self.first_lanes[target.0]..end
    }

    /// Whether an action is still wanted: its document was neither restarted nor closed.
    pub fn is_current(&self, ticket: Ticket) -> bool {
        self.cell(ticket).is_some()
    }

    /// Whether a step of an open document is settled, with a result or without.
    pub fn is_settled(&self, doc: DocIx, step: usize) -> bool {
        let open = self.docs[doc.0 as usize].as_ref();
        open.is_some_and(|open| matches!(open.cells.get(step), Some(Cell::Settled(_))))
    }

    /// Whether a target was disabled: its answers come too late.
    pub fn is_disabled(&self, worker: WorkerIx) -> bool {
        self.lanes[self.lane_of(worker)].disabled
    }

    /// Whether a worker's module is given anything more in this build.
    pub fn hands_out(&self, worker: WorkerIx) -> bool {
        let lane = &self.lanes[self.lane_of(worker)];
        !lane.disabled && !lane.closed
    }

    /// The target of a worker.
    pub fn target_of(&self, worker: WorkerIx) -> TargetIx {
        self.workers[worker.0 as usize].target
    }

    /// Which of its target's modules a worker runs.
    pub fn module_of(&self, worker: WorkerIx) -> usize {
        let worker = &self.workers[worker.0 as usize];
        worker.lane - self.first_lanes[worker.target.0]
    }

    fn lane_of(&self, worker: WorkerIx) -> LaneIx {
        self.workers[worker.0 as usize].lane
    }

    /// What a worker has in hand, oldest first.
    pub fn in_hand(&self, worker: WorkerIx) -> impl Iterator<Item = Ticket> + '_ {
        self.workers[worker.0 as usize].in_hand.iter().copied()
    }

    /// Opens a document in a stratum. `before` has the states of the steps of earlier strata.
    pub fn open(&mut self, family: FamilyIx, stratum: usize, before: &[Option<State>]) -> DocIx {
        let ix = self.free.pop().unwrap_or_else(|| {
            self.docs.push(None);
            self.generations.push(0);
            self.docs.len() as u32 - 1
        });
        let steps = &self.shapes[family.0].steps;
        let cell = |(step, shape): (usize, &ShapeStep)| match shape.stratum.cmp(&stratum) {
            std::cmp::Ordering::Less => {
                Cell::Settled(before.get(step).copied().flatten().unwrap_or(State::Unfinished))
            }
            std::cmp::Ordering::Equal => Cell::Waiting(0),
            std::cmp::Ordering::Greater => Cell::Later,
        };
        let cells = steps.iter().enumerate().map(cell).collect();
        let generation = self.generations[ix as usize];
        self.docs[ix as usize] =
            Some(Open { family, stratum, generation, phase: Phase::Reading, cells, unsettled: 0 });
        self.open += 1;
        DocIx(ix)
    }

    /// The document's own content is known: its cells may be decided.
    pub fn ready(&mut self, doc: DocIx) {
        let Some(open) = self.docs[doc.0 as usize].as_mut() else { return };
        if open.phase != Phase::Reading {
            return;
        }
        open.phase = Phase::Deciding;
        let Shape { steps, splits } = &self.shapes[open.family.0];
        let mut decidable = Vec::new();
        let visited: Vec<&Split> =
            splits.iter().filter(|split| split.strata.contains(&open.stratum)).collect();
        open.unsettled += visited.len() as u32;
        for (step, shape) in steps.iter().enumerate() {
            if shape.stratum != open.stratum {
                continue;
            }
            open.unsettled += 1;
            let needs = shape.needs.iter().filter(|need| steps[**need].stratum == open.stratum);
            let children = visited.iter().filter(|split| split.groups.contains(&step));
            let waits = (needs.count() + children.count()) as u32;
            open.cells[step] = Cell::Waiting(waits);
            if waits == 0 {
                decidable.push(step);
            }
        }
        let before: Vec<usize> = visited
            .into_iter()
            .filter(|split| steps[split.step].stratum != open.stratum)
            .map(|split| split.step)
            .collect();
        if open.unsettled == 0 {
            self.close(doc);
        }
        for step in decidable {
            self.decide(doc, step);
        }
        for step in before {
            self.look_at_children(doc, step);
        }
    }

    /// The children of a document, by one of its splits, are settled: the answer to [`Command::Children`].
    pub fn children_settled(&mut self, ticket: Ticket) {
        if self.cell(ticket).is_none() {
            return;
        }
        let Some(open) = self.docs[ticket.doc.0 as usize].as_ref() else { return };
        let splits = &self.shapes[open.family.0].splits;
        let groups = splits.iter().find(|split| split.step == ticket.step).map(|split| split.groups.clone());
        for step in groups.unwrap_or_default() {
            self.arrived(ticket.doc, step);
        }
        self.one_less(ticket.doc);
    }

    fn look_at_children(&mut self, doc: DocIx, step: usize) {
        let Some(open) = self.docs[doc.0 as usize].as_ref() else { return };
        self.commands.push_back(Command::Children(Ticket { doc, step, generation: open.generation }));
    }

    /// Everything about the document in this stratum is decided anew (its source changed, or a stored result was
    /// damaged). What is in flight for it will be ignored. Call [`Scheduler::ready`] when its content is known again.
    pub fn restart(&mut self, doc: DocIx) {
        self.forget(doc);
        let Some(open) = self.docs[doc.0 as usize].as_mut() else { return };
        open.phase = Phase::Reading;
        open.unsettled = 0;
        let steps = &self.shapes[open.family.0].steps;
        for (cell, step) in open.cells.iter_mut().zip(steps) {
            if step.stratum == open.stratum {
                *cell = Cell::Waiting(0);
            }
        }
    }

    /// The answer to [`Command::Decide`].
    pub fn decided(&mut self, ticket: Ticket, verdict: Verdict) {
        if self.cell(ticket) != Some(Cell::Deciding) {
            return;
        }
        match verdict {
            Verdict::Settled(state) => self.settle(ticket, state),
            Verdict::Run(key) => self.enqueue(ticket, key, 0),
            Verdict::Routed(key, module) => self.enqueue(ticket, key, module),
        }
    }

    fn enqueue(&mut self, ticket: Ticket, key: ActionKey, module: usize) {
        let lane = self.first_lanes[self.target(ticket).0] + module;
        if self.lanes[lane].closed {
            self.lanes[lane].refused += 1;
            self.settle(ticket, State::Unfinished);
        } else if self.stopping || self.lanes[lane].disabled {
            self.settle(ticket, State::Unfinished);
        } else if let Some(waiting) = self.in_flight.get_mut(&key) {
            waiting.push(ticket);
            self.set(ticket, Cell::Attached);
        } else {
            self.in_flight.insert(key, Vec::new());
            self.keys.insert(ticket, key);
            self.set(ticket, Cell::Queued);
            self.lanes[lane].queue.push_back(ticket);
            self.changed = true;
        }
    }

    /// A worker answered a request, after so many microseconds; `state` as it was recorded. Of no effect if the
    /// worker does not have it in hand (any more).
    pub fn answered(&mut self, worker: WorkerIx, ticket: Ticket, state: State, microseconds: u64) {
        if !self.take(worker, ticket) {
            return;
        }
        let lane = self.lane_of(worker);
        let lane = &mut self.lanes[lane];
        let sample = microseconds as f64;
        lane.mean = Some(lane.mean.map_or(sample, |mean| mean * 0.9 + sample * 0.1));
        self.settle_running(ticket, state);
    }

    /// The same for one of a target's modules.
    pub fn disable_module(&mut self, target: TargetIx, module: usize) {
        self.disable_lane(self.first_lanes[target.0] + module);
    }

    fn disable_lane(&mut self, lane: LaneIx) {
        self.lanes[lane].disabled = true;
        self.drain(lane);
        for ix in self.lanes[lane].workers.clone() {
            let suspects = std::mem::take(&mut self.workers[ix.0 as usize].suspects);
            for ticket in self.take_all(ix).into_iter().chain(suspects) {
                self.abandon(ticket);
            }
        }
    }

    /// The states of an open document's cells; `None` for those of later strata.
    pub fn states(&self, doc: DocIx) -> Vec<Option<State>> {
        let Some(open) = self.docs[doc.0 as usize].as_ref() else { return Vec::new() };
        let state = |cell: &Cell| if let Cell::Settled(state) = cell { Some(*state) } else { None };
        open.cells.iter().map(state).collect()
    }

    fn target(&self, ticket: Ticket) -> TargetIx {
        let family = self.docs[ticket.doc.0 as usize].as_ref().map_or(FamilyIx(0), |open| open.family);
        self.shapes[family.0].steps[ticket.step].target
    }

    fn cell(&self, ticket: Ticket) -> Option<Cell> {
        let open = self.docs[ticket.doc.0 as usize].as_ref()?;
        (open.generation == ticket.generation).then(|| open.cells[ticket.step])
    }

    fn set(&mut self, ticket: Ticket, cell: Cell) {
        if let Some(open) = self.docs[ticket.doc.0 as usize].as_mut() {
            open.cells[ticket.step] = cell;
        }
    }

    fn decide(&mut self, doc: DocIx, step: usize) {
        let Some(open) = self.docs[doc.0 as usize].as_mut() else { return };
        open.cells[step] = Cell::Deciding;
        let ticket = Ticket { doc, step, generation: open.generation };
        self.commands.push_back(Command::Decide(ticket));
    }

    /// The only place where a cell becomes settled.
    fn settle(&mut self, ticket: Ticket, state: State) {
        self.release(ticket);
        let Some(open) = self.docs[ticket.doc.0 as usize].as_mut() else { return };
        open.cells[ticket.step] = Cell::Settled(state);
        let family = open.family.0;
        for at in 0.. {
            let Some(next) = self.shapes[family].steps[ticket.step].feeds.get(at) else { break };
            self.arrived(ticket.doc, *next);
        }
        if self.shapes[family].splits.iter().any(|split| split.step == ticket.step) {
            self.look_at_children(ticket.doc, ticket.step);
        }
        self.one_less(ticket.doc);
    }

    /// Something that a cell waits for is settled.
    fn arrived(&mut self, doc: DocIx, step: usize) {
        let Some(open) = self.docs[doc.0 as usize].as_mut() else { return };
        if let Cell::Waiting(left) = &mut open.cells[step] {
            *left -= 1;
            if *left == 0 {
                self.decide(doc, step);
            }
        }
    }

    fn one_less(&mut self, doc: DocIx) {
        let Some(open) = self.docs[doc.0 as usize].as_mut() else { return };
        open.unsettled -= 1;
        if open.unsettled == 0 {
            self.close(doc);
        }
    }

    /// An action is no longer in flight: equal ones are decided again (most find its result).
    fn release(&mut self, ticket: Ticket) {
        let Some(key) = self.keys.remove(&ticket) else { return };
        for waiting in self.in_flight.remove(&key).unwrap_or_default() {
            if self.cell(waiting) == Some(Cell::Attached) {
                self.decide(waiting.doc, waiting.step);
            }
        }
    }

    fn unqueue(&mut self, ticket: Ticket) {
        for lane in self.lanes_of(self.target(ticket)) {
            let queue = &mut self.lanes[lane].queue;
            if let Some(place) = queue.iter().position(|other| *other == ticket) {
                queue.remove(place);
                return;
            }
        }
        for ix in &self.suspected {
            self.workers[ix.0 as usize].suspects.retain(|suspect| *suspect != ticket);
        }
    }

    fn close(&mut self, doc: DocIx) {
        self.commands.push_back(Command::Close(doc));
    }

    /// The driver has written the story, or dropped the document: the place is free.
    pub fn closed(&mut self, doc: DocIx) {
        let Some(open) = self.docs[doc.0 as usize].as_ref() else { return };
        if open.phase != Phase::Closing {
            self.forget(doc);
        }
        self.next_generation(doc);
        self.docs[doc.0 as usize] = None;
        self.free.push(doc.0);
        self.open -= 1;
    }

    /// Takes back what is queued and asked for a document. Its requests with workers stay there, and their keys in
    /// flight: an equal action had better wait for the answer than run beside it.
    fn forget(&mut self, doc: DocIx) {
        let Some(open) = self.docs[doc.0 as usize].as_ref() else { return };
        let (old, steps) = (open.generation, open.cells.len());
        for step in 0..steps {
            let ticket = Ticket { doc, step, generation: old };
            if self.cell(ticket) == Some(Cell::Queued) {
                self.unqueue(ticket);
                self.release(ticket);
            }
        }
        let generation = self.next_generation(doc);
        if let Some(open) = self.docs[doc.0 as usize].as_mut() {
            open.generation = generation;
        }
        self.commands.retain(|command| match command {
            Command::Decide(ticket) | Command::Children(ticket) => ticket.doc != doc,
            Command::Close(other) => *other != doc,
            _ => true,
        });
        self.changed = true;
    }

    fn next_generation(&mut self, doc: DocIx) -> u32 {
        let generation = &mut self.generations[doc.0 as usize];
        *generation = generation.wrapping_add(1);
        *generation
    }
}

/// How many workers a module may have. Who waits for answers from elsewhere needs one, who needs a card one for each;
/// neither counts among the jobs.
fn lane_limit(limits: &TargetLimits) -> Option<usize> {
    let stated = limits.workers.map(|workers| workers.max(1));
    match (limits.at_once, limits.cards) {
        (Some(_), _) => Some(1),
        (None, 0) => stated,
        (None, cards) => Some(stated.map_or(cards, |stated| stated.min(cards))),
    }
}

fn shape(family: &Family) -> Shape {
    let place = |input: &Input| if let Input::Step(step) = input { Some(*step) } else { None };
    let mut steps: Vec<ShapeStep> = Vec::new();
    for (number, step) in family.steps.iter().enumerate() {
        let with = step.with.iter().filter_map(|(_, input)| place(input));
        let mut needs: Vec<usize> = step.inputs.iter().filter_map(place).chain(with).collect();
        needs.sort_unstable();
        needs.dedup();
        for need in &needs {
            steps[*need].feeds.push(number);
        }
        steps.push(ShapeStep { target: step.target, stratum: step.stratum, needs, feeds: Vec::new() });
    }
    Shape { steps, splits: family.splits.clone() }
}

mod endings;
mod hand_out;
mod means;
#[cfg(test)]
mod tests;
