//! Batches, requests side by side, rates and cards.

use super::*;

fn limits() -> TargetLimits {
    TargetLimits { window: 64, ..TargetLimits::default() }
}

/// How many went to each worker, in order.
fn sizes(commands: &[Command]) -> Vec<(u32, usize)> {
    let size = |command: &Command| match command {
        Command::Send(worker, tickets) => Some((worker.0, tickets.len())),
        _ => None,
    };
    commands.iter().filter_map(size).collect()
}

/// Answers so many of what a worker has in hand.
fn answer_some(scheduler: &mut Scheduler, worker: u32, count: usize) {
    for _ in 0..count {
        answer(scheduler, worker);
    }
}

#[test]
fn a_worker_gets_a_batch_and_the_next_one_waits_with_it() {
    let mut scheduler = Scheduler::new(&chain(1), &[TargetLimits { batch: 4, ..limits() }], 2);
    open(&mut scheduler, 14);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 4), (1, 4), (0, 4), (1, 2)]);
    answer_some(&mut scheduler, 0, 4);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [], "all are handed out");
}

#[test]
fn a_batch_is_as_large_as_it_is_however_slow_its_documents_are() {
    let mut scheduler = Scheduler::new(&chain(1), &[TargetLimits { batch: 4, ..limits() }], 1);
    open(&mut scheduler, 20);
    pump(&mut scheduler, run);
    for _ in 0..4 {
        let oldest = scheduler.in_hand(WorkerIx(0)).next().unwrap();
        scheduler.answered(WorkerIx(0), oldest, State::Done, 10_000_000);
    }
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 4)]);
}

#[test]
fn a_worker_that_says_that_it_takes_batches_gets_them_from_then_on() {
    let mut scheduler = Scheduler::new(&chain(1), &[limits()], 1);
    open(&mut scheduler, 20);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 2)]);
    scheduler.takes_batches(WorkerIx(0), 8);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 14)], "two batches in all");
}

#[test]
fn who_works_side_by_side_has_one_worker_that_is_always_full() {
    let many = TargetLimits { at_once: Some(5), ..limits() };
    let mut scheduler = Scheduler::new(&chain(1), &[many], 2);
    open(&mut scheduler, 8);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 5)]);
    answer_some(&mut scheduler, 0, 1);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 1)]);
}

#[test]
fn no_more_is_handed_out_than_was_granted() {
    let rated = TargetLimits { bucket: Some(0), window: 1, ..TargetLimits::default() };
    // Two targets of one module.
    let mut scheduler = Scheduler::new(&chain(2), &[rated, rated], 4);
    open(&mut scheduler, 6);
    assert_eq!(sizes(&pump(&mut scheduler, run)), []);
    scheduler.grant(0, 3);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 1), (1, 1), (2, 1)]);
    assert!(!scheduler.is_granted(0));
    answer_some(&mut scheduler, 0, 1);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [], "the second target has to wait as well");
    scheduler.grant(0, 1);
    assert_eq!(sizes(&pump(&mut scheduler, run)).len(), 1);
}

#[test]
fn a_suspect_takes_a_token_too() {
    let rated = TargetLimits { bucket: Some(0), window: 1, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(1), &[rated], 1);
    open(&mut scheduler, 1);
    scheduler.grant(0, 1);
    pump(&mut scheduler, run);
    let blamed = scheduler.all_died(WorkerIx(0)).unwrap();
    scheduler.again(WorkerIx(0), blamed);
    assert_eq!(sizes(&pump(&mut scheduler, run)), []);
    scheduler.grant(0, 1);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 1)]);
}

#[test]
fn each_card_has_one_worker() {
    let cards = TargetLimits { cards: 2, window: 1, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(1), &[cards], 1);
    open(&mut scheduler, 5);
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 1), (1, 1)], "they do not count among the jobs");
    assert_eq!([0, 1].map(|ix| scheduler.card_of(WorkerIx(ix))), [Some(0), Some(1)]);
}

#[test]
fn a_card_goes_from_one_target_to_the_next_when_its_worker_has_ended() {
    let card = TargetLimits { cards: 1, window: 1, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(2), &[card, card], 4);
    open(&mut scheduler, 2);
    pump(&mut scheduler, run);
    answer(&mut scheduler, 0);
    // The first target has more to do: its worker keeps the card.
    assert_eq!(sizes(&pump(&mut scheduler, run)), [(0, 1)]);
    answer(&mut scheduler, 0);
    assert_eq!(pump(&mut scheduler, run), [Command::End(WorkerIx(0))]);
    assert_eq!(pump(&mut scheduler, run), [], "it is asked once");
    scheduler.ended(WorkerIx(0));
    let commands = pump(&mut scheduler, run);
    assert_eq!(commands.first(), Some(&Command::Start(WorkerIx(1), TargetIx(1))));
    assert_eq!(scheduler.card_of(WorkerIx(1)), Some(0));
}

#[test]
fn what_waits_for_its_worker_to_start_has_not_begun() {
    let rated = TargetLimits { bucket: Some(0), window: 1, ..TargetLimits::default() };
    let mut scheduler = Scheduler::new(&chain(1), &[rated], 2);
    open(&mut scheduler, 4);
    scheduler.grant(0, 3);
    pump(&mut scheduler, run);
    assert_eq!(scheduler.granted(0), 3, "one is left, and two are not begun");
    scheduler.begins(WorkerIx(0));
    assert_eq!(scheduler.granted(0), 2);
    scheduler.begins(WorkerIx(1));
    assert_eq!(scheduler.granted(0), 1);
    answer_some(&mut scheduler, 0, 1);
    pump(&mut scheduler, run);
    assert_eq!((scheduler.granted(0), scheduler.is_granted(0)), (0, false));
}
