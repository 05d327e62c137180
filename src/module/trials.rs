//! Several documents by workers that stay alive, as in a build, and nothing of it kept but the answers.
//!
//! Documents are handed to whichever slot has few in hand. Whoever may have ended its worker is run again alone in a fresh
//! one, and failed if it ends that too; those in hand with it are handed out again. Knows nothing of what was stored before.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::model::failure::Failure;
use crate::module::host::Host;
use crate::module::launch::{Launch, Request};
use crate::module::report::{Done, Output, OutputBody, Report};
use crate::module::slot::Slot;
use crate::module::trial::{List, no_children};

/// How often somebody may ask to stop.
const TICK: Duration = Duration::from_millis(100);

/// So many documents a slot has in hand or waiting.
const AHEAD: usize = 4;

/// A slot, and what it has in hand.
struct Place {
    slot: Slot,
    in_hand: usize,
    /// It has only one that may have ended a worker.
    is_alone: bool,
}

impl Place {
    fn send(&mut self, request: &Request) {
        self.slot.send(vec![request.clone()]);
        self.in_hand += 1;
    }
}

/// Runs documents by one module; what came of each, by its request's number. Those that are missing were not done: somebody
/// asked to stop. `child` hears of the parts of a document that is split, as they come; one that is run again gives them again.
///
/// # Errors
///
/// The module cannot start.
pub fn run_all(
    host: &Arc<Host>,
    launch: &Launch,
    requests: &[Request],
    jobs: usize,
    folder: &Path,
    child: &mut dyn FnMut(u64, &str, &Output),
    stop: &dyn Fn() -> bool,
) -> Result<HashMap<u64, Done>, Failure> {
    let known: HashMap<u64, Request> = requests.iter().map(|request| (request.id, request.clone())).collect();
    let mut waiting: VecDeque<u64> = requests.iter().map(|request| request.id).collect();
    let (sender, inbox) = channel();
    let mut slots = Vec::new();
    for number in 0..jobs.clamp(1, waiting.len().max(1)) {
        let mut launch = launch.clone();
        launch.log = folder.join(format!("log-{number}"));
        launch.tmp = folder.join(format!("tmp-{number}"));
        let lost = |error: String| crate::module::command::cannot_start(error);
        crate::fs::create_dir(&launch.tmp).map_err(|error| lost(error.to_string()))?;
        let sender = sender.clone();
        let deliver = move |reports: Vec<Report>| {
            // Nobody waits for what comes after the last answer.
            drop(sender.send((number, reports)));
        };
        let slot = Slot::start(Arc::clone(host), number as u32, Arc::new(launch), deliver)
            .map_err(|error| lost(error.to_string()))?;
        slots.push(Place { slot, in_hand: 0, is_alone: false });
    }
    drop(sender);
    let mut answers: HashMap<u64, Done> = HashMap::new();
    let mut lists: HashMap<u64, List> = HashMap::new();
    let mut suspects: VecDeque<u64> = VecDeque::new();
    let mut fatal = None;
    while answers.len() < known.len() && fatal.is_none() && !stop() {
        for place in &mut slots {
            if place.in_hand == 0 {
                place.is_alone = false;
                if let Some(request) = suspects.pop_front().and_then(|id| known.get(&id)) {
                    place.send(request);
                    place.is_alone = true;
                }
            }
            while place.in_hand < AHEAD
                && !place.is_alone
                && suspects.is_empty()
                && let Some(request) = waiting.pop_front().and_then(|id| known.get(&id))
            {
                place.send(request);
            }
        }
        let (number, reports) = match inbox.recv_timeout(TICK) {
            Ok(reports) => reports,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let place = &mut slots[number];
        for report in reports {
            match report {
                Report::Child { id, name, output, .. } => {
                    child(id, &name, &output);
                    lists.entry(id).or_insert_with(|| List::new(launch)).add(&name, &output);
                }
                Report::Answer(given) => {
                    place.in_hand = place.in_hand.saturating_sub(1);
                    let list = lists.remove(&given.id);
                    let done = match given.done {
                        Done::Output(Output { body: OutputBody::Children(_), .. }) => {
                            list.unwrap_or_else(|| List::new(launch)).done()
                        }
                        Done::Output(_) if launch.split.is_some() => no_children(),
                        done => done,
                    };
                    answers.insert(given.id, done);
                }
                Report::Died(died) => {
                    place.in_hand -= (died.suspects.len() + died.others.len()).min(place.in_hand);
                    for id in &died.suspects {
                        lists.remove(id);
                        if place.is_alone {
                            answers.insert(*id, Done::Failed(died.failure.clone()));
                        } else {
                            suspects.push_back(*id);
                        }
                    }
                    for id in died.others {
                        lists.remove(&id);
                        waiting.push_back(id);
                    }
                }
                Report::Fatal { failure, .. } => fatal = Some(failure),
                _ => {}
            }
        }
    }
    for Place { slot, .. } in slots {
        if stop() || fatal.is_some() {
            slot.kill();
        } else {
            slot.finish();
        }
        slot.join();
    }
    fatal.map_or(Ok(answers), Err)
}
