//! How a worker ends, and who is to blame: deaths, time limits, answers that are none, a good end.

use std::os::fd::AsFd;
use std::time::Instant;

use super::stack::Last;
use super::{Broken, GRACE, Turn, Worker};
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::Program;
use crate::module::launch::Launch;
use crate::module::log::range;
use crate::module::minder::{Manner, Minder, death, with_lines};
use crate::module::report::{Died, Report};
use crate::sys::{self, Exit, Wish};
use crate::text;

/// Where a package is missing: by which interpreter, and the command that installs it there.
fn with_install(mut failure: Failure, launch: &Launch) -> Failure {
    let missing = failure.message.strip_prefix("No module named '").and_then(|rest| rest.split('\'').next());
    if failure.error == "ModuleNotFoundError"
        && let (Some(missing), Some(python)) = (missing, &launch.python)
    {
        let install = python.install.clone();
        let (package, python) = (missing.split('.').next().unwrap_or(missing), python.executable.display());
        let usual = || format!("{python} -m pip install {package}");
        let install = install.unwrap_or_else(usual);
        failure.message = format!("{}, neither in the project nor in {python}: {install}", failure.message);
    }
    failure
}

impl Worker {
    /// The process ended by itself.
    pub(super) fn died(&mut self, minder: &mut Minder, exit: Exit) -> Turn {
        self.take_outbox(minder);
        let failure = if let Some(mut fatal) = self.fatal.take() {
            if self.ready && matches!(minder.launch.program, Program::Url(_)) {
                return self.give_up(minder, fatal);
            }
            if self.ready {
                fatal.kind = FailureKind::Crash;
            }
            fatal
        } else {
            let until = if self.ready { "it answered" } else { "it was ready" };
            let last = self.last(minder);
            last.add_to(death(exit, "the worker", until, &last.own, self.memory_kills))
        };
        self.over(minder, failure)
    }

    /// What it printed last, and where it was.
    fn last(&self, minder: &Minder) -> Last {
        Last::of(&self.log.since(self.log_mark), &minder.launch)
    }

    /// A server does not run the module, or not this one any more: nothing was tried on what is in hand.
    fn give_up(&mut self, minder: &mut Minder, failure: Failure) -> Turn {
        let mut returned: Vec<u64> = self.in_hand.drain(..).map(|hand| hand.id).collect();
        returned.extend(minder.waiting.drain(..).map(|request| request.id));
        minder.reports.push(Report::Fatal { failure, returned });
        Turn::Over
    }

    pub(super) fn timed_out(&mut self, minder: &mut Minder) -> Turn {
        let finished = self.output.is_none() || self.fatal.is_some();
        let manner = if finished { Manner::Politely } else { Manner::WithStack };
        let exit = minder.end_process(manner);
        self.take_outbox(minder);
        if minder.killed && !finished {
            let failure = Failure::new(FailureKind::Lost, "stopped", "the build was stopped");
            return self.over(minder, failure);
        }
        let failure = match (self.fatal.take(), finished, self.ready) {
            (Some(fatal), ..) => fatal,
            (None, true, _) => {
                let message = "the worker closed its output before it answered";
                with_lines(Failure::new(FailureKind::Crash, "closed", message), &self.log.tail(self.log_mark))
            }
            (None, false, ready) => {
                let limit = if ready { minder.launch.timeout } else { Some(minder.launch.setup_timeout) };
                let limit = text::duration(limit.unwrap_or_default());
                let message = if ready {
                    format!("no answer within {limit}")
                } else {
                    format!("not ready within {limit}")
                };
                let mut failure = Failure::new(FailureKind::Timeout, "timeout", message);
                let last = self.last(minder);
                failure.traceback = (!last.own.is_empty()).then(|| last.own.join("\n"));
                failure = last.add_to(failure);
                if exit.is_none() {
                    failure.message.push_str("; and it cannot be killed");
                }
                failure
            }
        };
        self.over(minder, failure)
    }

    /// The worker says what is no answer: it is not trusted any further.
    pub(super) fn discard(&mut self, minder: &mut Minder, broken: &Broken) -> Turn {
        minder.end_process(Manner::AtOnce);
        self.blame(broken);
        self.over(minder, broken.failure())
    }

    /// Puts the document that a broken answer names in the place of the suspect.
    pub(super) fn blame(&mut self, broken: &Broken) {
        if let Some(hand) = broken.at.and_then(|at| self.in_hand.remove(at)) {
            self.in_hand.push_front(hand);
        }
    }

    pub(super) fn lost(&mut self, minder: &mut Minder) -> Turn {
        let failure = minder.host_lost();
        self.over(minder, failure)
    }

    /// Gives back what is in hand, and blames whom the rules blame.
    pub(super) fn over(&mut self, minder: &mut Minder, failure: Failure) -> Turn {
        if !self.ready {
            minder.fatal(with_install(failure, &minder.launch));
            return Turn::Over;
        }
        let Some(first) = self.in_hand.front() else { return Turn::Over };
        let (began, start) = self.began(first);
        let exit = minder.last_exit.take();
        let used = exit.filter(|_| !self.concurrent).map(|exit| self.meter.end(exit));
        let blamed = match failure.kind {
            _ if self.spoke_twice => 0,
            FailureKind::Lost => 0,
            FailureKind::BadReply | FailureKind::ModuleError => 1,
            _ if self.concurrent || self.batch.is_some() => self.in_hand.len(),
            _ => 1,
        };
        let mut suspects: Vec<u64> = self.in_hand.drain(..).map(|hand| hand.id).collect();
        let others = suspects.split_off(blamed.min(suspects.len()));
        for id in suspects.iter().chain(&others) {
            drop(crate::fs::remove_dir(&minder.scratch.join(id.to_string())));
        }
        let log = range(self.log_mark, self.log.length());
        self.log.let_go(log);
        minder.reports.push(Report::Died(Box::new(Died {
            failure,
            suspects,
            others,
            times: self.times.take(&self.log, log),
            log,
            start,
            duration_us: began.elapsed().as_micros() as u64,
            used,
        })));
        Turn::Over
    }

    /// Ends an idle worker: its input ends, so it does. Before: nothing is in hand.
    pub(super) fn retire(&mut self, minder: &mut Minder) {
        self.input = None;
        // What it wrote last is looked through, too.
        self.log.length();
        let deadline = Instant::now() + GRACE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(channel) = minder.channel.as_ref().filter(|_| !left.is_zero() && !minder.killed) else {
                break;
            };
            let wishes = [
                Some((channel.as_fd(), Wish::Read)),
                Some(minder.bell()),
                self.output.as_ref().map(|fd| (fd.as_fd(), Wish::Read)),
            ];
            let Ok([heard, rung, readable]) = sys::poll(wishes, Some(left)) else { break };
            if readable && self.read(minder).is_err() {
                break;
            }
            if heard {
                match minder.hear() {
                    Ok(Some(_)) => return,
                    Ok(None) => {}
                    Err(()) => {
                        minder.host_lost();
                        return;
                    }
                }
            }
            if rung {
                minder.take_commands();
            }
        }
        minder.end_process(Manner::Politely);
    }
}
