//! Whole builds at random: a driver whose modules take their time, crash, are stopped and restarted. After every step
//! the promises of the scheduler are checked against what the driver itself has seen.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// What a build is made of.
#[derive(Clone, Debug)]
struct Setup {
    family: usize,
    /// The content of each document; equal contents are equal work.
    contents: Vec<usize>,
    /// (target, content): crashes its worker, always.
    culprits: BTreeSet<(usize, usize)>,
    limits: Vec<(Option<usize>, usize)>,
    jobs: usize,
    open_at_once: usize,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A busy worker answers its oldest, after so many microseconds, or crashes over it.
    Work(usize, u64),
    /// A busy worker is killed.
    Kill(usize),
    /// An open document changed.
    Restart(usize),
    /// The content of a restarted document is known.
    Ready,
    Disable(usize),
    Stop,
    GiveUp,
}

const TARGETS: usize = 4;

/// Straight on, side by side with a union, and with a later stratum.
fn family_of(number: usize) -> Family {
    match number {
        0 => family(&[(0, &[], 0), (1, &[0], 0), (2, &[1], 0), (3, &[2], 0)]),
        1 => family(&[(0, &[], 0), (1, &[], 0), (2, &[0, 1], 0), (3, &[0], 0)]),
        _ => family(&[(0, &[], 0), (1, &[0], 0), (2, &[1], 1), (3, &[1], 0)]),
    }
}

fn setup() -> impl Strategy<Value = Setup> {
    let limits = (prop_oneof![3 => Just(None), 1 => (1_usize..3).prop_map(Some)], 1_usize..5);
    let limits = proptest::collection::vec(limits, TARGETS);
    let contents = proptest::collection::vec(0_usize..12, 1..16);
    let culprits = proptest::collection::btree_set((0..TARGETS, 0_usize..12), 0..4);
    (0_usize..3, contents, culprits, limits, 1_usize..4, 1_usize..10).prop_map(
        |(family, contents, culprits, limits, jobs, open_at_once)| Setup {
            family,
            contents,
            culprits,
            limits,
            jobs,
            open_at_once,
        },
    )
}

/// Answers and nothing else.
fn calm() -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec((0_usize..8, 0_u64..60_000).prop_map(|(at, time)| Event::Work(at, time)), 0..80)
}

fn wild() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        40 => (0_usize..8, 0_u64..60_000).prop_map(|(at, time)| Event::Work(at, time)),
        6 => (0_usize..8).prop_map(Event::Kill),
        6 => (0_usize..16).prop_map(Event::Restart),
        6 => Just(Event::Ready),
        1 => (0..TARGETS).prop_map(Event::Disable),
        1 => Just(Event::Stop),
        1 => Just(Event::GiveUp),
    ];
    proptest::collection::vec(event, 0..80)
}

struct Build {
    setup: Setup,
    scheduler: Scheduler,
    steps: Vec<Step>,
    /// Documents not opened yet.
    to_open: Vec<usize>,
    /// The number and the times of restarting of each open document.
    open: BTreeMap<DocIx, (usize, usize)>,
    reading: Vec<DocIx>,
    /// How each document ended.
    ends: BTreeMap<usize, Vec<Option<State>>>,
    /// What is recorded, and what was blamed.
    records: BTreeMap<(usize, usize), State>,
    hands: BTreeMap<WorkerIx, (TargetIx, Vec<(Ticket, ActionKey)>)>,
    keys: HashMap<Ticket, ActionKey>,
    stopped: bool,
    disabled: BTreeSet<TargetIx>,
    ran: HashMap<(usize, usize), usize>,
}

impl Build {
    fn new(setup: &Setup) -> Self {
        let family = family_of(setup.family);
        let steps = family.steps.clone();
        let families = Families { list: vec![family], strata: vec![0; TARGETS] };
        let limits: Vec<TargetLimits> = setup
            .limits
            .iter()
            .map(|(workers, window)| TargetLimits {
                workers: *workers,
                window: *window,
                ..TargetLimits::default()
            })
            .collect();
        Build {
            scheduler: Scheduler::new(&families, &limits, setup.jobs),
            steps,
            to_open: (0..setup.contents.len()).rev().collect(),
            open: BTreeMap::new(),
            reading: Vec::new(),
            ends: BTreeMap::new(),
            records: BTreeMap::new(),
            hands: BTreeMap::new(),
            keys: HashMap::new(),
            stopped: false,
            disabled: BTreeSet::new(),
            ran: HashMap::new(),
            setup: setup.clone(),
        }
    }

    fn content(&self, ticket: Ticket) -> (usize, usize) {
        let (number, _) = self.open[&ticket.doc];
        (self.steps[ticket.step].target.0, self.setup.contents[number])
    }

    fn decide(&self, ticket: Ticket) -> Verdict {
        let states = self.scheduler.states(ticket.doc);
        let state = |input: &Input| match input {
            Input::Origin => State::Done,
            Input::Step(step) => states[*step].expect("a step is decided after its inputs"),
        };
        let inputs: Vec<State> = self.steps[ticket.step].inputs.iter().map(state).collect();
        if inputs.contains(&State::Unfinished) {
            return Verdict::Settled(State::Unfinished);
        }
        if inputs.iter().any(|state| *state != State::Done) {
            return Verdict::Settled(State::Blocked);
        }
        let content = self.content(ticket);
        match self.records.get(&content) {
            Some(state) => Verdict::Settled(*state),
            None => Verdict::Run(key(content.0 * 100 + content.1)),
        }
    }

    /// Does all that can be done without a worker.
    fn pump(&mut self) {
        loop {
            while self.open.len() < self.setup.open_at_once && !self.stopped {
                let Some(number) = self.to_open.pop() else { break };
                let doc = self.scheduler.open(FamilyIx(0), 0, &[]);
                assert_eq!(self.open.insert(doc, (number, 0)), None, "{doc:?} is open already");
                self.scheduler.ready(doc);
            }
            let Some(command) = self.scheduler.next_command() else { break };
            match command {
                Command::Decide(ticket) => {
                    assert!(self.scheduler.is_current(ticket) && !self.reading.contains(&ticket.doc));
                    let verdict = self.decide(ticket);
                    if let Verdict::Run(key) = verdict {
                        self.keys.insert(ticket, key);
                    }
                    self.scheduler.decided(ticket, verdict);
                }
                Command::Start(worker, target) => {
                    assert!(!self.stopped && !self.disabled.contains(&target));
                    assert!(self.hands.insert(worker, (target, Vec::new())).is_none(), "started twice");
                }
                Command::Send(worker, tickets) => self.send(worker, &tickets),
                Command::Children(_) => unreachable!("nothing is split"),
                Command::End(_) => unreachable!("nothing needs a card"),
                Command::Close(doc) => {
                    let (number, _) = self.open.remove(&doc).expect("what closes is open");
                    let states = self.scheduler.states(doc);
                    let settled =
                        |(step, state): (&Step, &Option<State>)| (step.stratum == 0) == state.is_some();
                    assert!(self.steps.iter().zip(&states).all(settled), "{states:?}");
                    assert_eq!(self.ends.insert(number, states), None, "closed twice");
                    self.scheduler.closed(doc);
                }
            }
        }
        self.check();
    }

    fn send(&mut self, worker: WorkerIx, tickets: &[Ticket]) {
        assert!(!self.stopped, "sent after the stop");
        assert!(!tickets.is_empty());
        for ticket in tickets {
            assert!(self.scheduler.is_current(*ticket));
            let (target, _) = self.content(*ticket);
            let in_hands = self.hands.values().flat_map(|(_, hand)| hand);
            assert!(in_hands.clone().all(|(other, _)| other != ticket), "sent twice");
            let key = self.keys[ticket];
            assert!(in_hands.clone().all(|(_, other)| *other != key), "equal actions at once");
            let (of, hand) = self.hands.get_mut(&worker).expect("it was started");
            assert_eq!(of.0, target);
            assert!(!self.disabled.contains(of));
            hand.push((*ticket, key));
        }
    }

    fn check(&self) {
        let running: usize = self.hands.values().map(|(_, hand)| hand.len()).sum();
        assert_eq!(self.scheduler.running(), running);
        assert_eq!(self.scheduler.open_documents(), self.open.len());
        for target in 0..TARGETS {
            let of = self.hands.values().filter(|(of, _)| of.0 == target);
            let running: usize = of.clone().map(|(_, hand)| hand.len()).sum();
            assert_eq!(self.scheduler.running_of(TargetIx(target)), running);
            let workers = self.setup.limits[target].0.unwrap_or(self.setup.jobs);
            assert!(of.count() <= workers, "more workers than the target may have");
        }
        let counts = |target: &TargetIx| self.setup.limits[target.0].0.is_none();
        let busy = self.hands.values().filter(|(of, hand)| counts(of) && !hand.is_empty()).count();
        assert!(busy <= self.setup.jobs, "{busy} busy workers, {} jobs", self.setup.jobs);
        for (target, hand) in self.hands.values() {
            assert!(hand.len() <= self.setup.limits[target.0].1, "more in hand than the window");
        }
        if !self.stopped && busy < self.setup.jobs {
            for (ix, lane) in self.scheduler.lanes.iter().enumerate().filter(|(_, lane)| lane.limit.is_none())
            {
                let workers = &self.scheduler.workers;
                let all_suspected =
                    || lane.workers.iter().all(|ix| !workers[ix.0 as usize].suspects.is_empty());
                assert!(lane.queue.is_empty() || all_suspected(), "target {ix} waits though a job is free");
            }
        }
    }

    fn busy(&self) -> Vec<WorkerIx> {
        let busy = self.hands.iter().filter(|(_, (_, hand))| !hand.is_empty());
        busy.map(|(ix, _)| *ix).collect()
    }

    fn event(&mut self, event: Event) {
        let busy = self.busy();
        match event {
            Event::Work(_, _) | Event::Kill(_) if busy.is_empty() => {}
            Event::Work(at, microseconds) => {
                let worker = busy[at % busy.len()];
                let (target, hand) = self.hands.get_mut(&worker).unwrap();
                let (ticket, key_of) = hand[0];
                let target = target.0;
                let content = (0..12).find(|content| key(target * 100 + content) == key_of).unwrap();
                if self.setup.culprits.contains(&(target, content)) {
                    self.die(worker);
                    return;
                }
                hand.remove(0);
                *self.ran.entry((target, content)).or_default() += 1;
                self.records.insert((target, content), State::Done);
                self.scheduler.answered(worker, ticket, State::Done, microseconds);
            }
            Event::Kill(at) => self.die(busy[at % busy.len()]),
            Event::Restart(at) => {
                let Some(doc) = self.open.keys().nth(at % self.open.len().max(1)).copied() else { return };
                self.scheduler.restart(doc);
                let (number, restarts) = self.open.get_mut(&doc).unwrap();
                *restarts += 1;
                // Every other time the content is another one.
                if *restarts % 2 == 0 {
                    self.setup.contents[*number] = (self.setup.contents[*number] + 1) % 12;
                }
                if !self.reading.contains(&doc) {
                    self.reading.push(doc);
                }
            }
            Event::Ready => {
                if let Some(doc) = self.reading.pop() {
                    self.scheduler.ready(doc);
                }
            }
            Event::Disable(target) => {
                self.scheduler.disable_lane(target);
                self.disabled.insert(TargetIx(target));
                self.hands.values_mut().filter(|(of, _)| of.0 == target).for_each(|(_, hand)| hand.clear());
            }
            Event::Stop => {
                self.scheduler.stop();
                self.stopped = true;
            }
            Event::GiveUp => {
                self.scheduler.give_up();
                self.stopped = true;
                self.hands.values_mut().for_each(|(_, hand)| hand.clear());
            }
        }
    }

    fn die(&mut self, worker: WorkerIx) {
        let (_, hand) = self.hands.get_mut(&worker).unwrap();
        let hand = std::mem::take(hand);
        match self.scheduler.all_died(worker) {
            Some(blamed) => {
                assert_eq!(hand.len(), 1, "only a fault alone counts");
                assert_eq!(hand[0].0, blamed);
                let content = self.content(blamed);
                self.records.insert(content, State::Failed);
                self.scheduler.settle_fault(blamed, State::Failed);
            }
            None => assert!(hand.len() > 1 || !self.scheduler.is_current(hand[0].0), "a fault alone counts"),
        }
    }

    /// Until everything that was opened is closed.
    fn finish(&mut self) {
        self.pump();
        for _ in 0..10_000 {
            if self.open.is_empty() && (self.stopped || self.to_open.is_empty()) && self.busy().is_empty() {
                assert_eq!(self.ends.len() + self.to_open.len(), self.setup.contents.len());
                assert_empty(&self.scheduler);
                return;
            }
            self.event(Event::Ready);
            self.event(Event::Work(0, 100));
            self.pump();
        }
        panic!("stuck with {:?} open and {:?} in hand", self.open, self.hands);
    }
}

/// What must come of a content, whoever ran first.
fn expected(setup: &Setup, content: usize) -> Vec<Option<State>> {
    let mut states: Vec<Option<State>> = Vec::new();
    for step in &family_of(setup.family).steps {
        let done = |input: &Input| match input {
            Input::Origin => true,
            Input::Step(step) => states[*step] == Some(State::Done),
        };
        let state = if step.stratum > 0 {
            None
        } else if !step.inputs.iter().all(done) {
            Some(State::Blocked)
        } else if setup.culprits.contains(&(step.target.0, content)) {
            Some(State::Failed)
        } else {
            Some(State::Done)
        };
        states.push(state);
    }
    states
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn crashes_fail_the_culprits_and_nothing_else_and_nothing_runs_twice(setup in setup(), events in calm()) {
        let mut build = Build::new(&setup);
        build.pump();
        for event in events {
            build.event(event);
            build.pump();
        }
        build.finish();
        for (number, states) in &build.ends {
            prop_assert_eq!(states, &expected(&setup, setup.contents[*number]));
        }
        prop_assert!(build.ran.values().all(|count| *count == 1), "equal work was done twice: {:?}", build.ran);
    }

    #[test]
    fn whatever_happens_every_opened_document_closes_once(setup in setup(), events in wild()) {
        let mut build = Build::new(&setup);
        build.pump();
        for event in events {
            build.event(event);
            build.pump();
        }
        build.finish();
    }

    #[test]
    fn giving_up_leaves_nothing_open(setup in setup(), events in wild()) {
        let mut build = Build::new(&setup);
        build.pump();
        for event in events {
            build.event(event);
            build.pump();
        }
        build.event(Event::GiveUp);
        while !build.reading.is_empty() {
            build.event(Event::Ready);
        }
        build.pump();
        prop_assert!(build.open.is_empty());
        assert_empty(&build.scheduler);
    }

    /// Commands are taken one at a time, with anything in between.
    #[test]
    fn nothing_outdated_is_ever_asked_for(setup in setup(), events in wild()) {
        let mut build = Build::new(&setup);
        for number in (0..setup.contents.len()).rev() {
            let doc = build.scheduler.open(FamilyIx(0), 0, &[]);
            build.open.insert(doc, (number, 0));
            build.scheduler.ready(doc);
        }
        build.to_open.clear();
        let mut seen = HashSet::new();
        for event in events {
            build.event(event);
            match build.scheduler.next_command() {
                Some(Command::Decide(ticket)) => {
                    prop_assert!(build.scheduler.is_current(ticket));
                    let verdict = build.decide(ticket);
                    if let Verdict::Run(key) = verdict {
                        build.keys.insert(ticket, key);
                    }
                    build.scheduler.decided(ticket, verdict);
                }
                Some(Command::Start(worker, target)) => {
                    prop_assert!(!build.stopped && !build.disabled.contains(&target));
                    build.hands.insert(worker, (target, Vec::new()));
                }
                Some(Command::Send(worker, tickets)) => build.send(worker, &tickets),
                Some(Command::Children(_)) => unreachable!("nothing is split"),
                Some(Command::End(_)) => unreachable!("nothing needs a card"),
                Some(Command::Close(doc)) => {
                    prop_assert!(!build.reading.contains(&doc), "closed though its content is not known");
                    let (number, _) = build.open.remove(&doc).unwrap();
                    prop_assert!(seen.insert(number), "closed twice");
                    let states = build.scheduler.states(doc);
                    build.ends.insert(number, states);
                    build.scheduler.closed(doc);
                }
                None => {}
            }
        }
        build.finish();
    }
}
