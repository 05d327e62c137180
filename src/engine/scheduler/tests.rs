//! The rules of the scheduler, one example each. `simulation` plays whole builds at random.

use super::*;
use crate::hash::Digest;
use crate::model::pipeline::SourceIx;
use crate::plan::family::{Origin, Step};

mod means;
mod simulation;

/// A family whose documents go through these: (target, the steps it takes from; none: the document itself, stratum).
fn family(steps: &[(usize, &[usize], usize)]) -> Family {
    let step = |(target, from, stratum): &(usize, &[usize], usize)| {
        let inputs = if from.is_empty() {
            vec![Input::Origin]
        } else {
            from.iter().copied().map(Input::Step).collect()
        };
        Step::bare(TargetIx(*target), inputs, *stratum)
    };
    let steps = steps.iter().map(step).collect();
    Family {
        origin: Origin::Source(SourceIx(0)),
        name: "docs".into(),
        steps,
        given: false,
        feeds_set: false,
        splits: Vec::new(),
        below: Vec::new(),
        handed: std::collections::BTreeSet::new(),
    }
}

impl Scheduler {
    /// All that a worker has in hand was with the process that died.
    fn all_died(&mut self, worker: WorkerIx) -> Option<Ticket> {
        let had: Vec<Ticket> = self.in_hand(worker).collect();
        self.died(worker, &had, true)
    }
}

/// One family that goes through so many targets, one after another.
fn chain(targets: usize) -> Families {
    let froms: Vec<Vec<usize>> = (0..targets).map(|ix| ix.checked_sub(1).into_iter().collect()).collect();
    let steps: Vec<_> = froms.iter().enumerate().map(|(ix, from)| (ix, from.as_slice(), 0)).collect();
    Families { list: vec![family(&steps)], strata: vec![0; targets] }
}

fn window(window: usize) -> TargetLimits {
    TargetLimits { workers: None, window, ..TargetLimits::default() }
}

fn key(number: usize) -> ActionKey {
    ActionKey(Digest::of(&number.to_le_bytes()))
}

/// A key that no other action has.
fn own_key(ticket: Ticket) -> ActionKey {
    key(1_000_000 + ticket.doc.0 as usize * 1_000 + ticket.step)
}

/// Everything must run.
fn run(ticket: Ticket) -> Verdict {
    Verdict::Run(own_key(ticket))
}

/// Opens documents of the first family, in stratum 0.
fn open(scheduler: &mut Scheduler, count: usize) -> Vec<DocIx> {
    let open = |_| {
        let doc = scheduler.open(FamilyIx(0), 0, &[]);
        scheduler.ready(doc);
        doc
    };
    (0..count).map(open).collect()
}

/// Answers every question by `verdict`, until there is nothing left to do. Returns the other commands.
fn pump(scheduler: &mut Scheduler, mut verdict: impl FnMut(Ticket) -> Verdict) -> Vec<Command> {
    let mut commands = Vec::new();
    while let Some(command) = scheduler.next_command() {
        match command {
            Command::Decide(ticket) => scheduler.decided(ticket, verdict(ticket)),
            other => commands.push(other),
        }
    }
    commands
}

/// What was handed out, as (worker, [(document, step)]).
fn sent(commands: &[Command]) -> Vec<(u32, Vec<(u32, usize)>)> {
    let sent = |command: &Command| match command {
        Command::Send(worker, tickets) => {
            Some((worker.0, tickets.iter().map(|ticket| (ticket.doc.0, ticket.step)).collect()))
        }
        _ => None,
    };
    commands.iter().filter_map(sent).collect()
}

fn closes(commands: &[Command]) -> Vec<DocIx> {
    commands
        .iter()
        .filter_map(|command| if let Command::Close(doc) = command { Some(*doc) } else { None })
        .collect()
}

/// The oldest in a worker's hand is answered as done, after a millisecond.
fn answer(scheduler: &mut Scheduler, worker: u32) -> Ticket {
    let ticket = scheduler.in_hand(WorkerIx(worker)).next().expect("it has something in hand");
    scheduler.answered(WorkerIx(worker), ticket, State::Done, 1_000);
    ticket
}

/// Nothing is remembered of what is over.
fn assert_empty(scheduler: &Scheduler) {
    assert_eq!(scheduler.open_documents(), 0);
    assert_eq!(scheduler.running(), 0);
    assert!(scheduler.in_flight.is_empty(), "keys in flight are left");
    assert!(scheduler.keys.is_empty(), "keys of tickets are left");
}

#[test]
fn what_was_begun_is_finished_before_more_is_begun() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(2), window(2)], 1);
    open(&mut scheduler, 6);
    let commands = pump(&mut scheduler, run);
    assert_eq!(commands[0], Command::Start(WorkerIx(0), TargetIx(0)));
    assert_eq!(sent(&commands), [(0, vec![(0, 0), (1, 0)])]);
    answer(&mut scheduler, 0);
    assert_eq!(
        sent(&pump(&mut scheduler, run)),
        [(0, vec![(2, 0)])],
        "one result is no full window behind it"
    );
    answer(&mut scheduler, 0);
    assert_eq!(sent(&pump(&mut scheduler, run)), [], "two are: the first target gets no more");
    answer(&mut scheduler, 0);
    let commands = pump(&mut scheduler, run);
    assert_eq!(commands[0], Command::Start(WorkerIx(1), TargetIx(1)));
    assert_eq!(sent(&commands), [(1, vec![(0, 1), (1, 1)])]);
}

#[test]
fn no_more_workers_are_busy_than_there_are_jobs() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(2), window(2)], 1);
    open(&mut scheduler, 6);
    pump(&mut scheduler, run);
    for _ in 0..3 {
        answer(&mut scheduler, 0);
        pump(&mut scheduler, run);
    }
    // The first target's worker is idle, and its queue is long.
    assert_eq!(scheduler.running_of(TargetIx(0)), 0);
    assert_eq!(scheduler.running_of(TargetIx(1)), 2);
    assert_eq!(scheduler.running(), 2);
}

#[test]
fn a_target_with_its_own_limit_does_not_count_among_the_jobs() {
    let limited = TargetLimits { workers: Some(2), window: 1, ..TargetLimits::default() };
    let families = Families { list: vec![family(&[(0, &[], 0), (1, &[], 0)])], strata: vec![0; 2] };
    let mut scheduler = Scheduler::new(&families, &[limited, window(1)], 1);
    open(&mut scheduler, 4);
    pump(&mut scheduler, run);
    assert_eq!(scheduler.running_of(TargetIx(0)), 2);
    assert_eq!(scheduler.running_of(TargetIx(1)), 1);
}

#[test]
fn a_target_that_is_full_by_its_own_limit_does_not_keep_others_from_being_topped_up() {
    let limited = TargetLimits { workers: Some(1), window: 1, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(2), &[window(2), limited], 1);
    open(&mut scheduler, 20);
    pump(&mut scheduler, run);
    for _ in 0..6 {
        answer(&mut scheduler, 0);
        pump(&mut scheduler, run);
        assert_eq!(scheduler.running_of(TargetIx(0)), 2, "the window of the first target stays full");
        assert_eq!(scheduler.running_of(TargetIx(1)), 1);
    }
}

#[test]
fn no_workers_at_all_is_read_as_one() {
    let none = TargetLimits { workers: Some(0), window: 0, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(1), &[none], 0);
    open(&mut scheduler, 1);
    assert_eq!(sent(&pump(&mut scheduler, run)).len(), 1);
}

#[test]
fn the_window_follows_the_measured_time() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(8)], 1);
    open(&mut scheduler, 40);
    assert_eq!(sent(&pump(&mut scheduler, run))[0].1.len(), 2, "nothing is known yet");
    let first = scheduler.in_hand(WorkerIx(0)).next().unwrap();
    scheduler.answered(WorkerIx(0), first, State::Done, 10);
    pump(&mut scheduler, run);
    assert_eq!(scheduler.running(), 8, "quick work: as much as the worker takes");
    for _ in 0..8 {
        let oldest = scheduler.in_hand(WorkerIx(0)).next().unwrap();
        scheduler.answered(WorkerIx(0), oldest, State::Done, 1_000_000);
    }
    pump(&mut scheduler, run);
    assert_eq!(scheduler.running(), 2, "slow work: two, so that the next one is there already");
}

#[test]
fn a_worker_without_a_window_has_one_in_hand() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(1)], 2);
    open(&mut scheduler, 5);
    assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(0, 0)]), (1, vec![(1, 0)])]);
    answer(&mut scheduler, 1);
    assert_eq!(sent(&pump(&mut scheduler, run)), [(1, vec![(2, 0)])]);
}

#[test]
fn a_document_whose_results_are_all_there_closes_without_a_worker() {
    let mut scheduler = Scheduler::new(&chain(3), &[window(1); 3], 1);
    let docs = open(&mut scheduler, 1);
    let mut asked = Vec::new();
    let commands = pump(&mut scheduler, |ticket| {
        asked.push(ticket.step);
        Verdict::Settled(State::Done)
    });
    assert_eq!(asked, [0, 1, 2]);
    assert_eq!(commands, [Command::Close(docs[0])]);
    assert_eq!(scheduler.states(docs[0]), [Some(State::Done); 3]);
    scheduler.closed(docs[0]);
    assert_empty(&scheduler);
}

#[test]
fn a_document_that_goes_through_nothing_closes_at_once() {
    let families = Families { list: vec![family(&[])], strata: Vec::new() };
    let mut scheduler = Scheduler::new(&families, &[], 1);
    let docs = open(&mut scheduler, 1);
    assert_eq!(pump(&mut scheduler, run), [Command::Close(docs[0])]);
}

#[test]
fn what_is_behind_a_failure_is_asked_about_and_blocked_by_the_driver() {
    let mut scheduler = Scheduler::new(&chain(3), &[window(1); 3], 1);
    let docs = open(&mut scheduler, 1);
    pump(&mut scheduler, run);
    let ticket = scheduler.in_hand(WorkerIx(0)).next().unwrap();
    scheduler.answered(WorkerIx(0), ticket, State::Failed, 10);
    let commands = pump(&mut scheduler, |_| Verdict::Settled(State::Blocked));
    assert_eq!(commands, [Command::Close(docs[0])]);
    let states = [State::Failed, State::Blocked, State::Blocked].map(Some);
    assert_eq!(scheduler.states(docs[0]), states);
}

#[test]
fn a_step_waits_for_all_its_inputs() {
    let families =
        Families { list: vec![family(&[(0, &[], 0), (1, &[], 0), (2, &[0, 1, 1], 0)])], strata: vec![0; 3] };
    let mut scheduler = Scheduler::new(&families, &[window(1); 3], 2);
    let docs = open(&mut scheduler, 1);
    pump(&mut scheduler, run);
    answer(&mut scheduler, 0);
    pump(&mut scheduler, |_| panic!("one input is still missing"));
    answer(&mut scheduler, 1);
    assert_eq!(sent(&pump(&mut scheduler, run)), [(2, vec![(0, 2)])]);
    answer(&mut scheduler, 2);
    assert_eq!(pump(&mut scheduler, run), [Command::Close(docs[0])]);
}

#[test]
fn equal_actions_run_once_and_the_others_are_decided_again() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(4)], 4);
    let docs = open(&mut scheduler, 3);
    let commands = pump(&mut scheduler, |_| Verdict::Run(key(7)));
    assert_eq!(sent(&commands), [(0, vec![(0, 0)])]);
    answer(&mut scheduler, 0);
    let mut asked = Vec::new();
    let commands = pump(&mut scheduler, |ticket| {
        asked.push(ticket.doc);
        Verdict::Settled(State::Done)
    });
    assert_eq!(asked, docs[1..]);
    assert_eq!(closes(&commands).len(), 3);
    for doc in docs {
        scheduler.closed(doc);
    }
    assert_empty(&scheduler);
}

#[test]
fn an_equal_action_runs_if_the_first_left_no_result() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(4)], 4);
    open(&mut scheduler, 2);
    pump(&mut scheduler, |_| Verdict::Run(key(7)));
    let ticket = scheduler.in_hand(WorkerIx(0)).next().unwrap();
    scheduler.answered(WorkerIx(0), ticket, State::Failed, 10);
    assert_eq!(sent(&pump(&mut scheduler, |_| Verdict::Run(key(7)))), [(0, vec![(1, 0)])]);
}

/// clean → (all) → label: the last is decided when the set is done.
fn two_strata() -> Families {
    Families { list: vec![family(&[(0, &[], 0), (1, &[0], 1)])], strata: vec![0, 1] }
}

#[test]
fn what_lies_behind_a_barrier_is_left_for_a_later_stratum() {
    let mut scheduler = Scheduler::new(&two_strata(), &[window(1); 2], 1);
    let docs = open(&mut scheduler, 1);
    pump(&mut scheduler, run);
    answer(&mut scheduler, 0);
    assert_eq!(pump(&mut scheduler, |_| panic!("not now")), [Command::Close(docs[0])]);
    assert_eq!(scheduler.states(docs[0]), [Some(State::Done), None]);
    scheduler.closed(docs[0]);

    let doc = scheduler.open(FamilyIx(0), 1, &[Some(State::Done), None]);
    scheduler.ready(doc);
    let commands = pump(&mut scheduler, run);
    assert_eq!(sent(&commands), [(1, vec![(doc.0, 1)])]);
    answer(&mut scheduler, 1);
    assert_eq!(pump(&mut scheduler, run), [Command::Close(doc)]);
    assert_eq!(scheduler.states(doc), [Some(State::Done); 2]);
}

#[test]
fn what_an_earlier_stratum_left_open_is_unfinished() {
    let mut scheduler = Scheduler::new(&two_strata(), &[window(1); 2], 1);
    let doc = scheduler.open(FamilyIx(0), 1, &[]);
    assert_eq!(scheduler.states(doc), [Some(State::Unfinished), None]);
}

#[test]
fn a_crash_with_several_in_hand_sends_the_oldest_alone() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(4)], 1);
    open(&mut scheduler, 4);
    pump(&mut scheduler, run);
    assert_eq!(scheduler.running(), 2);
    assert_eq!(scheduler.all_died(WorkerIx(0)), None);
    assert_eq!(scheduler.running(), 0);
    assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(0, 0)])], "nothing is added to a suspect");
    let blamed = scheduler.all_died(WorkerIx(0)).expect("it was alone");
    assert_eq!(blamed.doc, DocIx(0));
    scheduler.settle_fault(blamed, State::Failed);
    let commands = pump(&mut scheduler, run);
    assert_eq!(closes(&commands), [DocIx(0)]);
    assert_eq!(sent(&commands), [(0, vec![(1, 0), (2, 0)])], "the others go first, in their order");
}

#[test]
fn what_was_blamed_can_be_tried_again_alone() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(4)], 1);
    open(&mut scheduler, 3);
    pump(&mut scheduler, run);
    scheduler.all_died(WorkerIx(0));
    pump(&mut scheduler, run);
    for _ in 0..2 {
        let blamed = scheduler.all_died(WorkerIx(0)).expect("it was alone");
        scheduler.again(WorkerIx(0), blamed);
        assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(0, 0)])]);
    }
    let blamed = scheduler.all_died(WorkerIx(0)).expect("it was alone");
    scheduler.stop();
    scheduler.again(WorkerIx(0), blamed);
    assert_eq!(closes(&pump(&mut scheduler, run)).len(), 3);
    assert_eq!(scheduler.states(blamed.doc), [Some(State::Unfinished)]);
}

#[test]
fn a_suspect_that_does_well_alone_is_like_any_other() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(2)], 1);
    open(&mut scheduler, 4);
    pump(&mut scheduler, run);
    scheduler.all_died(WorkerIx(0));
    pump(&mut scheduler, run);
    assert_eq!(answer(&mut scheduler, 0).doc, DocIx(0));
    assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(1, 0), (2, 0)])]);
}

#[test]
fn a_worker_that_dies_before_its_requests_went_out_is_blamed_on_none_of_them() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(1)], 1);
    open(&mut scheduler, 1);
    loop {
        match scheduler.next_command() {
            Some(Command::Decide(ticket)) => scheduler.decided(ticket, run(ticket)),
            Some(Command::Start(worker, _)) => {
                assert_eq!(scheduler.all_died(worker), None);
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(0, 0)])], "once");
}

#[test]
fn nothing_is_sent_after_a_stop() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(1); 2], 2);
    let docs = open(&mut scheduler, 5);
    loop {
        match scheduler.next_command() {
            Some(Command::Decide(ticket)) => scheduler.decided(ticket, run(ticket)),
            Some(Command::Send(..)) => break,
            _ => {}
        }
    }
    scheduler.stop();
    let commands = pump(&mut scheduler, run);
    assert_eq!(closes(&commands).len(), 4, "what is not in hand stays open");
    assert_eq!(commands.len(), 4, "{commands:?}");
    answer(&mut scheduler, 0);
    assert_eq!(closes(&pump(&mut scheduler, run)), [docs[0]]);
    assert_eq!(scheduler.states(docs[0]), [Some(State::Done), Some(State::Unfinished)]);
}

#[test]
fn giving_up_closes_everything() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(2)], 1);
    let docs = open(&mut scheduler, 3);
    pump(&mut scheduler, run);
    scheduler.all_died(WorkerIx(0));
    pump(&mut scheduler, run);
    scheduler.give_up();
    assert_eq!(closes(&pump(&mut scheduler, run)).len(), 3);
    for doc in docs {
        assert_eq!(scheduler.states(doc), [Some(State::Unfinished)]);
        scheduler.closed(doc);
    }
    assert_empty(&scheduler);
}

#[test]
fn a_disabled_target_gets_nothing_and_holds_nothing() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(2); 2], 1);
    open(&mut scheduler, 4);
    loop {
        match scheduler.next_command() {
            Some(Command::Decide(ticket)) => scheduler.decided(ticket, run(ticket)),
            Some(Command::Start(worker, _)) => {
                scheduler.disable(worker);
                break;
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
    let commands = pump(&mut scheduler, |ticket| match ticket.step {
        0 => run(ticket),
        _ => Verdict::Settled(State::Unfinished),
    });
    assert_eq!(closes(&commands).len(), 4);
    assert_eq!(sent(&commands), []);
    assert_eq!(scheduler.running(), 0);
}

#[test]
fn a_restart_ignores_the_answers_to_what_was_asked_before() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(4)], 1);
    let docs = open(&mut scheduler, 1);
    pump(&mut scheduler, run);
    let old = scheduler.in_hand(WorkerIx(0)).next().unwrap();
    scheduler.restart(docs[0]);
    scheduler.answered(WorkerIx(0), old, State::Failed, 10);
    assert_eq!(scheduler.states(docs[0]), [None]);
    assert_eq!(pump(&mut scheduler, run), [], "its content is not known yet");
    scheduler.ready(docs[0]);
    assert_eq!(sent(&pump(&mut scheduler, |_| Verdict::Run(key(8)))).len(), 1);
    answer(&mut scheduler, 0);
    assert_eq!(pump(&mut scheduler, run), [Command::Close(docs[0])]);
    assert_eq!(scheduler.states(docs[0]), [Some(State::Done)]);
}

#[test]
fn a_restart_forgets_what_was_settled() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(1); 2], 1);
    let docs = open(&mut scheduler, 1);
    pump(&mut scheduler, run);
    answer(&mut scheduler, 0);
    pump(&mut scheduler, run);
    scheduler.restart(docs[0]);
    assert_eq!(scheduler.states(docs[0]), [None, None]);
}

#[test]
fn a_document_restarted_when_it_was_about_to_close_stays_open() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(1)], 1);
    let docs = open(&mut scheduler, 1);
    let Some(Command::Decide(ticket)) = scheduler.next_command() else { panic!("it must ask") };
    scheduler.decided(ticket, Verdict::Settled(State::Done));
    scheduler.restart(docs[0]);
    assert_eq!(scheduler.next_command(), None, "neither closed nor decided");
    scheduler.ready(docs[0]);
    scheduler.restart(docs[0]);
    assert_eq!(scheduler.next_command(), None, "nor asked about what is not known");
    scheduler.ready(docs[0]);
    assert_eq!(pump(&mut scheduler, |_| Verdict::Settled(State::Done)), [Command::Close(docs[0])]);
}

#[test]
fn an_action_of_a_restarted_document_is_in_flight_until_its_worker_answers() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(1)], 4);
    let docs = open(&mut scheduler, 2);
    pump(&mut scheduler, |_| Verdict::Run(key(7)));
    scheduler.restart(docs[0]);
    assert_eq!(sent(&pump(&mut scheduler, |_| Verdict::Run(key(7)))), [], "the equal one waits on");
    scheduler.ready(docs[0]);
    assert_eq!(sent(&pump(&mut scheduler, |_| Verdict::Run(key(7)))), [], "the document itself too");
    answer(&mut scheduler, 0);
    let commands = pump(&mut scheduler, |_| Verdict::Settled(State::Done));
    assert_eq!(closes(&commands).len(), 2);
}

#[test]
fn nobody_is_blamed_when_a_worker_dies_over_what_is_no_longer_wanted() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(2)], 1);
    let docs = open(&mut scheduler, 2);
    pump(&mut scheduler, run);
    scheduler.restart(docs[0]);
    assert_eq!(scheduler.all_died(WorkerIx(0)), None);
    assert_eq!(sent(&pump(&mut scheduler, run)), [(0, vec![(1, 0)])]);
    scheduler.restart(docs[1]);
    assert_eq!(scheduler.all_died(WorkerIx(0)), None);
    for doc in docs {
        scheduler.closed(doc);
    }
    assert_empty(&scheduler);
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(2)], 2);
    open(&mut scheduler, 2);
    pump(&mut scheduler, run);
    let second = scheduler.in_hand(WorkerIx(0)).nth(1).unwrap();
    scheduler.all_died(WorkerIx(0));
    let commands = pump(&mut scheduler, run);
    assert_eq!(sent(&commands), [(0, vec![(0, 0)]), (1, vec![(1, 0)])]);
    scheduler.answered(WorkerIx(0), second, State::Failed, 10);
    assert_eq!(scheduler.states(second.doc), [None], "it is with another worker now");
    answer(&mut scheduler, 1);
    assert_eq!(scheduler.states(second.doc), [Some(State::Done)]);
}

#[test]
fn a_document_made_ready_twice_closes_once() {
    let mut scheduler = Scheduler::new(&chain(2), &[window(1); 2], 1);
    let docs = open(&mut scheduler, 1);
    scheduler.ready(docs[0]);
    assert_eq!(pump(&mut scheduler, |_| Verdict::Settled(State::Done)), [Command::Close(docs[0])]);
    scheduler.ready(docs[0]);
    assert_eq!(pump(&mut scheduler, run), []);
}

#[test]
fn a_document_dropped_half_way_leaves_nothing_behind() {
    let mut scheduler = Scheduler::new(&chain(1), &[window(1)], 1);
    let docs = open(&mut scheduler, 4);
    // The first is in hand, the second queued, the third equal to the second, the fourth not decided.
    let mut verdict = |ticket: Ticket| Verdict::Run(key([1, 2, 2, 3][ticket.doc.0 as usize]));
    for _ in 0..3 {
        let Some(Command::Decide(ticket)) = scheduler.next_command() else { panic!("it must ask") };
        scheduler.decided(ticket, verdict(ticket));
    }
    scheduler.closed(docs[3]);
    pump(&mut scheduler, &mut verdict);
    scheduler.closed(docs[1]);
    scheduler.closed(docs[0]);
    let old = scheduler.in_hand(WorkerIx(0)).next().unwrap();
    let again = scheduler.open(FamilyIx(0), 0, &[]);
    scheduler.answered(WorkerIx(0), old, State::Done, 10);
    assert_eq!(scheduler.states(again), [None]);
    assert_eq!(sent(&pump(&mut scheduler, &mut verdict)), [(0, vec![(2, 0)])]);
    scheduler.closed(again);
    answer(&mut scheduler, 0);
    assert_eq!(pump(&mut scheduler, run), [Command::Close(docs[2])]);
    scheduler.closed(docs[2]);
    assert_empty(&scheduler);
}
