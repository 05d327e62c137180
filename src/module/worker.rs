//! The minder of a worker: keeps a window of documents in hand, reads always, ends what hangs.

mod endings;
mod lines;
mod outbox;
mod stack;
mod stamps;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lines::{Lines, Taken};
use outbox::Outbox;
use stamps::Stamps;

use crate::model::document::escape_name;
use crate::model::failure::{Failure, FailureKind};
use crate::model::pipeline::Program;
use crate::module::children::Sent;
use crate::module::command::{Command, cannot_start};
use crate::module::host::Channel;
use crate::module::launch::Launch;
use crate::module::log::{Endless, LOOK, Log, Times, range};
use crate::module::meter::Meter;
use crate::module::minder::{Manner, Minder};
use crate::module::output::{Place, bad_reply};
use crate::module::protocol::{self, DescribeFrame, Frame, Line, OutputFrame};
use crate::module::report::{Answer, Done, Output, OutputBody, Report};
use crate::module::secrets::Secrets;
use crate::sys::{self, Wish};
use crate::text;
use crate::time::{self, Millis};

/// Room of both pipes.
const PIPE_SIZE: usize = 256 * 1024;
/// What one reading takes.
const CHUNK: usize = 256 * 1024;
/// For a worker to end after its input did, or after it said that it cannot go on.
const GRACE: Duration = Duration::from_secs(5);
/// For a worker to end after it closed its output: it cannot answer any more.
const CLOSED: Duration = Duration::from_secs(1);
/// How long reading waits at a time while too many children are not dealt with.
const HELD_BACK: Duration = Duration::from_millis(2);
/// How long nothing is read of a process that prints without end: it would take one processor, and reading another.
const FLOODED: Duration = Duration::from_millis(8);
/// A worker that has had nothing to do for so long ends, with all that it holds; the next document starts it anew.
const IDLE: Duration = Duration::from_secs(5 * 60);
/// For a worker to write down where it stands.
const STACK: Duration = Duration::from_millis(100);
/// So often a process is started anew because its code was written to while it started.
const READ_AGAIN: u32 = 5;
/// Of what a process prints where frames belong, so much is kept.
const STRAY_LIMIT: usize = 1 << 20;

/// The thread's whole life; what is in hand at its end.
pub(super) fn serve(minder: &mut Minder) -> Vec<u64> {
    let mut worker: Option<Worker> = None;
    loop {
        minder.take_commands();
        if minder.killed {
            let Some(worker) = worker else { return Vec::new() };
            minder.end_process(Manner::AtOnce);
            return worker.in_hand.iter().map(|hand| hand.id).collect();
        }
        if let Some(running) = worker.as_mut()
            && running.in_hand.is_empty()
            && (minder.restart || minder.finishing && minder.waiting.is_empty())
        {
            running.retire(minder);
            worker = None;
        }
        if worker.is_none() {
            minder.restart = false;
            if minder.waiting.is_empty() {
                if minder.finishing {
                    return Vec::new();
                }
                minder.sleep();
                continue;
            }
            match Worker::start(minder) {
                Ok(started) => worker = Some(started),
                Err(failure) => {
                    minder.fatal(failure);
                    minder.flush();
                    continue;
                }
            }
        }
        if let Some(running) = worker.as_mut()
            && let Turn::Over = running.turn(minder)
        {
            worker = None;
        }
        minder.flush();
    }
}

/// Whether the process goes on.
enum Turn {
    On,
    Over,
}

/// A document in hand.
struct Hand {
    id: u64,
    /// Its children so far.
    children: Sent,
    /// Why its answer will be none.
    refused: Option<Failure>,
    sent: Instant,
    start: Millis,
}

/// A running worker.
struct Worker {
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    log: Log,
    /// To be written, and how far it is.
    outgoing: Vec<u8>,
    written: usize,
    lines: Lines,
    in_hand: VecDeque<Hand>,
    ready: bool,
    window: Option<usize>,
    concurrent: bool,
    /// How many it takes in one call.
    batch: Option<usize>,
    /// It takes contents that follow their lines.
    lengths: bool,
    /// By when it must be ready, or must have ended.
    limit: Option<Instant>,
    fatal: Option<Failure>,
    /// When the last answer arrived.
    answered: Option<(Instant, Millis)>,
    /// What it was for.
    answered_last: Option<u64>,
    /// There were two answers for that.
    spoke_twice: bool,
    /// The end of the log of the answer before.
    log_mark: u64,
    times: Times,
    endless: Endless,
    stray: usize,
    /// It printed more than is kept: nothing is read before.
    flooded: Option<Instant>,
    /// Whether a document has a scratch folder, as far as the answers in hand can know.
    scratch_is_used: Option<bool>,
    memory_kills: Option<u64>,
    meter: Meter,
    /// The scratch folder, to which the name of a document's own is added.
    tmp: PathBuf,
    outbox: Outbox,
    /// Its code before it was started.
    code: Stamps,
    /// Where its log was when it was asked for its stack, and when that is looked for.
    stack: Option<(u64, Instant)>,
    /// Since when it has nothing to do.
    idle: Instant,
}

/// Starts the program, which may write to `scratch`: (input, output, its number).
pub(super) fn start_program(
    launch: &Launch,
    scratch: &Path,
    channel: &mut Channel,
    log: &Log,
) -> Result<(OwnedFd, OwnedFd, u32), Failure> {
    let command = Command::of_worker(launch, scratch)?;
    let pipes = || -> io::Result<_> {
        let (their_input, our_input) = sys::pipe(PIPE_SIZE)?;
        let (our_output, their_output) = sys::pipe(PIPE_SIZE)?;
        sys::never_wait(&our_input)?;
        sys::never_wait(&our_output)?;
        Ok((their_input, our_input, our_output, their_output))
    };
    let (their_input, our_input, our_output, their_output) =
        pipes().map_err(|error| cannot_start(format!("no pipes: {}", crate::error::io_text(&error))))?;
    let number = command
        .start(&launch.root, channel, [their_input.as_fd(), their_output.as_fd(), log.as_fd()])
        .map_err(|error| command.refused(&error))?;
    Ok((our_input, our_output, number))
}

/// Opens the log of a slot.
pub(super) fn open_log(launch: &Launch) -> Result<Log, Failure> {
    Log::open(&launch.log, Secrets::of(&launch.secrets)).map_err(|error| {
        let path = launch.log.display();
        cannot_start(format!("cannot open the log `{path}`: {}", crate::error::io_text(&error)))
    })
}

impl Worker {
    fn start(minder: &mut Minder) -> Result<Self, Failure> {
        let launch = std::sync::Arc::clone(&minder.launch);
        let log = open_log(&launch)?;
        let memory_kills = minder.memory_kills();
        let log_mark = log.length();
        let begin = Instant::now();
        let scratch = minder.scratch.clone();
        let code = Stamps::of(&launch.root, &launch.code);
        let started = start_program(&launch, &scratch, minder.channel()?, &log);
        let (input, output, number) = started.inspect_err(|_| {
            // A channel that refused still works; one that broke does not.
            minder.channel = None;
            minder.host.check();
        })?;
        let mut outgoing = protocol::DESCRIBE.to_vec();
        let outbox = Outbox::new(&launch, minder.number);
        protocol::write_setup(&mut outgoing, &launch, outbox.path(), true);
        Ok(Worker {
            input: Some(input),
            output: Some(output),
            log,
            outgoing,
            written: 0,
            lines: Lines::default(),
            in_hand: VecDeque::new(),
            ready: false,
            window: None,
            concurrent: false,
            batch: None,
            lengths: false,
            limit: Some(begin + launch.setup_timeout),
            fatal: None,
            answered: None,
            answered_last: None,
            spoke_twice: false,
            log_mark,
            times: Times::from(log_mark, &minder.grown),
            endless: Endless::from(log_mark),
            stray: 0,
            flooded: None,
            scratch_is_used: None,
            memory_kills,
            meter: Meter::new(number),
            tmp: scratch,
            stack: None,
            outbox,
            code,
            idle: Instant::now(),
        })
    }

    /// Hands out, waits until something happens, and deals with it.
    fn turn(&mut self, minder: &mut Minder) -> Turn {
        self.hand_out(minder);
        let now = Instant::now();
        if self.idle_until().is_some_and(|until| until <= now) {
            self.retire(minder);
            return Turn::Over;
        }
        self.tell_stack(minder);
        let deadline = self.deadline(&minder.launch);
        // Children that nobody has dealt with yet: nothing more is read for a moment.
        let mut rest = minder.unheard.is_full().then_some(HELD_BACK);
        if let Some(until) = self.flooded {
            let wait = until.saturating_duration_since(Instant::now());
            self.flooded = Some(until).filter(|_| !wait.is_zero());
            rest = rest.max(self.flooded.map(|_| wait));
        }
        let times = (!self.in_hand.is_empty()).then(|| {
            self.times.look_again(&self.log);
            self.times.wait()
        });
        // Who has nothing to do should not print either; a thread of it may all the same.
        let printing = if self.ready && self.in_hand.is_empty() { 10 * LOOK } else { self.endless.wait() };
        let ends = [deadline, self.idle_until(), self.stack.map(|(_, at)| at)];
        let left = patience(ends, times, printing, rest);
        let Some(channel) = &minder.channel else { return self.lost(minder) };
        let unwritten = self.written < self.outgoing.len();
        let wishes = [
            Some(minder.bell()),
            Some((channel.as_fd(), Wish::Read)),
            self.input.as_ref().filter(|_| unwritten).map(|fd| (fd.as_fd(), Wish::Write)),
            self.output.as_ref().filter(|_| rest.is_none()).map(|fd| (fd.as_fd(), Wish::Read)),
        ];
        let Ok([_, heard, writable, readable]) = sys::poll(wishes, Some(left)) else { return Turn::On };
        if writable {
            self.write();
        }
        if rest.is_none() && !readable {
            self.endless.look_again(&self.log, self.log_mark);
        }
        if readable && let Err(broken) = self.read(minder) {
            return self.discard(minder, &broken);
        }
        if heard {
            match minder.hear() {
                Ok(Some(exit)) => {
                    // All that it wrote is in the pipe by now; a descendant may hold the other end open.
                    if let Err(broken) = self.read_rest(minder) {
                        self.blame(&broken);
                        return self.over(minder, broken.failure());
                    }
                    return self.died(minder, exit);
                }
                Ok(None) => {}
                Err(()) => return self.lost(minder),
            }
        }
        match self.deadline(&minder.launch) {
            Some(deadline) if deadline <= Instant::now() => self.timed_out(minder),
            _ => Turn::On,
        }
    }

    /// Fills the window.
    fn hand_out(&mut self, minder: &mut Minder) {
        if self.written == self.outgoing.len() {
            self.outgoing.clear();
            self.written = 0;
        }
        if !self.ready || self.fatal.is_some() || minder.restart {
            return;
        }
        // The next batch is what waits when the one before is done.
        let window = match self.batch {
            Some(_) if !self.in_hand.is_empty() => 0,
            Some(batch) => batch.min(minder.waiting.len()),
            None => self.window.unwrap_or(1).max(1),
        };
        while self.in_hand.len() < window
            && let Some(request) = minder.waiting.pop_front()
        {
            let more = self.batch.is_some() && self.in_hand.len() + 1 < window;
            let form = protocol::Form { more, lengths: self.lengths };
            self.tmp.push(request.id.to_string());
            protocol::write_request(&mut self.outgoing, &minder.launch, &self.tmp, &request, form);
            self.tmp.pop();
            self.in_hand.push_back(Hand {
                id: request.id,
                children: Sent::default(),
                refused: None,
                sent: Instant::now(),
                start: time::now(),
            });
        }
        // Most often there is room, and no poll is needed to know.
        if self.written < self.outgoing.len() {
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(input) = &self.input else { return };
        while self.written < self.outgoing.len() {
            match sys::write_now(input, &self.outgoing[self.written..]) {
                Ok(Some(length)) => self.written += length,
                Ok(None) => return,
                Err(_) => {
                    // It reads no more: its end, which comes by the channel, says why.
                    self.input = None;
                    self.written = self.outgoing.len();
                    return;
                }
            }
        }
    }

    /// When patience ends: with the start, or with the oldest document.
    fn deadline(&self, launch: &Launch) -> Option<Instant> {
        // A server keeps the limits of its documents itself, and the worker that speaks to it those of the server.
        let timeout = launch.timeout.filter(|_| !matches!(launch.program, Program::Url(_)));
        let of_hand = timeout.filter(|_| self.ready).zip(self.in_hand.front()).map(|(limit, hand)| {
            let begin = if self.concurrent { hand.sent } else { self.began(hand).0 };
            // Who works side by side ends one that is late by itself, and only that one.
            begin + limit + launch.at_once.map_or(Duration::ZERO, |_| GRACE)
        });
        match (self.limit, of_hand) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// When it ends for want of work, if nothing comes.
    fn idle_until(&self) -> Option<Instant> {
        let has_none = self.ready && self.in_hand.is_empty() && self.fatal.is_none() && self.output.is_some();
        has_none.then(|| self.idle.max(self.answered.map_or(self.idle, |(at, _)| at)) + IDLE)
    }

    /// When work on a document began: with the answer before it, or when it was sent.
    fn began(&self, hand: &Hand) -> (Instant, Millis) {
        match self.answered {
            Some((instant, millis)) if instant > hand.sent => (instant, millis),
            _ => (hand.sent, hand.start),
        }
    }

    /// Reads what is there, a few chunks at most.
    fn read(&mut self, minder: &mut Minder) -> Result<(), Broken> {
        for _ in 0..4 {
            if self.read_chunk(minder)? < CHUNK {
                break;
            }
        }
        Ok(())
    }

    /// Reads all that an ended process left.
    fn read_rest(&mut self, minder: &mut Minder) -> Result<(), Broken> {
        while self.read_chunk(minder)? > 0 {}
        Ok(())
    }

    /// Reads once and deals with the whole lines; 0: nothing there, or the end.
    fn read_chunk(&mut self, minder: &mut Minder) -> Result<usize, Broken> {
        let Some(output) = &self.output else { return Ok(0) };
        let read = self.lines.read(CHUNK, |buffer| sys::read_now(output, buffer));
        let length = match read {
            Ok(Some(length)) if length > 0 => length,
            Ok(None) => return Ok(0),
            // The end, or an error that ends it all the same. It has a moment to end itself.
            _ => {
                self.output = None;
                self.limit = Some(Instant::now() + CLOSED);
                let rest = self.lines.take_rest();
                self.print(minder, &rest);
                return Ok(0);
            }
        };
        let first = minder.reports.len();
        let result = self.take_lines(minder);
        self.settle_times(minder, first);
        result?;
        Ok(length)
    }

    fn take_lines(&mut self, minder: &mut Minder) -> Result<(), Broken> {
        if let Some(mut taken) = self.lines.take() {
            let result = self.take_whole(minder, &mut taken);
            self.lines.give_back(taken);
            result?;
        }
        if let Some(endless) = self.lines.take_endless() {
            self.print(minder, &endless);
        }
        if self.lines.is_too_long() {
            return Err(Broken::new("a line without an end", self.lines.begin(), None));
        }
        Ok(())
    }

    /// Deals with whole lines and what follows them.
    fn take_whole(&mut self, minder: &mut Minder, taken: &mut Taken) -> Result<(), Broken> {
        // A folder is made before its document is answered: one look does for all answers that are here.
        self.scratch_is_used = None;
        while let Some((line, rest)) = taken.next() {
            let mut length = line.len();
            match protocol::read_line(line.strip_suffix(b"\n").unwrap_or(line)) {
                Line::Frame(frame) => {
                    let behind = frame.length();
                    if behind > lines::LONGEST {
                        return Err(Broken::new(
                            "its content is too long: larger ones are files",
                            line,
                            None,
                        ));
                    }
                    length += behind;
                    if rest.len() < behind {
                        taken.wait_for(length);
                        break;
                    }
                    self.take_frame(minder, *frame, line, &rest[..behind])?;
                }
                Line::Broken(problem) => return Err(Broken::new(&problem, line, None)),
                Line::Stray => self.print(minder, line),
            }
            taken.pass(length);
        }
        Ok(())
    }

    /// `behind`: the content that follows the line.
    fn take_frame(
        &mut self,
        minder: &mut Minder,
        frame: Frame<'_>,
        line: &[u8],
        behind: &[u8],
    ) -> Result<(), Broken> {
        if let Some(described) = frame.describe {
            let described: DescribeFrame =
                serde_json::from_str(described.get()).map_err(|e| Broken::new(&e.to_string(), line, None))?;
            self.window = described.window;
            self.concurrent = described.concurrent.is_some_and(|n| n > 1);
            if let Some(n) = described.concurrent {
                self.window = Some(self.window.unwrap_or(n));
            }
            if let Some(at_once) = minder.launch.at_once {
                self.window = Some(at_once);
            }
            self.lengths = described.lengths;
            self.batch = described.batch.map(|own| minder.launch.batch.unwrap_or(own).max(1));
            if self.batch.is_none() && minder.launch.batch.is_some_and(|batch| batch > 1) {
                let message = "takes one document at a time: leave out `batch`, or write it for lists of \
                               documents (`@module(batch=…)`)";
                self.fatal = Some(cannot_start(message));
                self.limit = Some(Instant::now());
            }
        } else if frame.ready.is_some() && self.fatal.is_none() {
            let launch = &minder.launch;
            if minder.read_again < READ_AGAIN && self.code.are_old(&launch.root, &launch.code) {
                // What it has loaded nobody knows, also if the code is as it was again: another one is started.
                (minder.read_again, minder.restart) = (minder.read_again + 1, true);
                return Ok(());
            }
            minder.read_again = 0;
            self.ready = true;
            self.idle = Instant::now();
            self.limit = None;
            self.log_mark = self.log.length();
            // What the start took is no document's.
            self.meter.begin(Instant::now());
            minder.reports.push(Report::Ready {
                files: frame.files.unwrap_or_default(),
                packages: protocol::packages(frame.packages.unwrap_or_default()),
                batch: self.batch,
                log: self.log_mark,
            });
        } else if let Some(fault) = frame.fatal {
            self.fatal = Some(fault.into_failure());
            self.limit = Some(Instant::now() + GRACE);
        } else if let Some(id) = frame.id {
            if frame.output.is_some() || frame.skip.is_some() || frame.error.is_some() {
                return self.take_answer(minder, id, frame, (line, behind));
            }
            if !self.in_hand.iter().any(|hand| hand.id == id) {
                // A thread of the module that outlived its document.
                return Ok(());
            }
            if let Some(child) = frame.child {
                return self.take_child(minder, id, child, line);
            }
            if let Some(progress) = frame.progress {
                let (done, total, at) = (progress.done, progress.total, time::now());
                minder.reports.push(Report::Progress { id, done, total, at });
            }
            if let Some(warning) = frame.warn {
                minder.reports.push(Report::Warn { id: Some(id), warning, at: time::now() });
            }
            if let Some(counts) = frame.count {
                minder.reports.push(Report::Count { id, counts });
            }
        }
        Ok(())
    }

    fn take_child(
        &mut self,
        minder: &mut Minder,
        id: u64,
        mut child: OutputFrame<'_>,
        line: &[u8],
    ) -> Result<(), Broken> {
        let Some(at) = self.in_hand.iter().position(|hand| hand.id == id) else { return Ok(()) };
        let Some(limits) = minder.launch.split else {
            return Err(Broken::new("a child, and the target has no `split = true`", line, Some(at)));
        };
        let Some(name) = child.name.take() else {
            return Err(Broken::new("a child without a name", line, Some(at)));
        };
        let (hand, size) = (&mut self.in_hand[at], child.size());
        if let Err(failure) = hand.children.add(&name, size, &limits) {
            return Err(Broken { failure: Box::new(failure), at: Some(at) });
        }
        let count = hand.children.count;
        let keep = || minder.launch.tmp.join(format!("{}-{id}-{count}.out", minder.number));
        let ours = || minder.scratch.join(id.to_string());
        let place =
            Place { ours: &ours, within: minder.within(), keep: &keep, ext: minder.launch.ext.as_deref() };
        let is_refused = names_our_file(&minder.launch, &child, &ours());
        let refusal = || bad_reply("a server names a file of this machine".to_owned());
        match if is_refused { refusal() } else { place.of_frame(child, None) } {
            Done::Output(Output { body: OutputBody::Same | OutputBody::Children(_), .. }) => {
                return Err(Broken::new("a child carries one of text, json, base64 or path", line, Some(at)));
            }
            Done::Output(output) => {
                let weight = minder.unheard.weigh(size);
                let name = escape_name(std::ffi::OsStr::new(&name)).into_owned();
                minder.reports.push(Report::Child { id, name, output, weight });
            }
            Done::Failed(failure) => drop(hand.refused.get_or_insert(failure)),
            Done::Skip(_) => {}
        }
        Ok(())
    }

    fn take_answer(
        &mut self,
        minder: &mut Minder,
        id: u64,
        frame: Frame<'_>,
        (line, behind): (&[u8], &[u8]),
    ) -> Result<(), Broken> {
        let Some(at) = self.in_hand.iter().position(|hand| hand.id == id) else {
            // Whoever spoke twice has its answer: those in hand had no part in it.
            self.spoke_twice = self.answered_last == Some(id);
            return Err(Broken::new(&format!("an answer for {id}, which is not in hand"), line, None));
        };
        // Only who works on several at once may answer out of order; else the oldest speaks for another.
        if at > 0 && !self.concurrent && self.batch.is_none() {
            let oldest = self.in_hand.front().map_or(0, |hand| hand.id);
            return Err(Broken::new(&format!("an answer for {id} before that for {oldest}"), line, None));
        }
        let mut pause = None;
        let done = match (frame.output, frame.skip, frame.error) {
            (Some(output), None, None) => {
                let keep = || minder.launch.tmp.join(format!("{}-{id}.out", minder.number));
                let ours = || minder.scratch.join(id.to_string());
                let place = Place {
                    ours: &ours,
                    within: minder.within(),
                    keep: &keep,
                    ext: minder.launch.ext.as_deref(),
                };
                if names_our_file(&minder.launch, &output, &ours()) {
                    bad_reply("a server names a file of this machine".to_owned())
                } else {
                    place.of_frame(output, Some(behind))
                }
            }
            (None, Some(reason), None) => Done::Skip(reason),
            (None, None, Some(fault)) => {
                pause = fault.after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let elsewhere = matches!(minder.launch.program, Program::Url(_));
                Done::Failed(if elsewhere { fault.into_stated() } else { fault.into_failure() })
            }
            _ => return Err(Broken::new("an answer is one of output, skip or error", line, Some(at))),
        };
        let Some(mut hand) = self.in_hand.remove(at) else { return Ok(()) };
        self.answered_last = Some(id);
        let done = match (done, hand.refused.take()) {
            (Done::Output(_), Some(refused)) => Done::Failed(refused),
            (Done::Output(Output { body: OutputBody::Children(count), .. }), None)
                if count != hand.children.count =>
            {
                bad_reply(format!("it says {count} children, and {} came", hand.children.count))
            }
            (done, _) => done,
        };
        let log = if let Some([from, to]) = frame.log {
            self.log_mark = self.log_mark.max(to);
            range(from, to)
        } else if self.window.is_none() {
            let from = std::mem::replace(&mut self.log_mark, self.log.length());
            range(from, self.log_mark)
        } else {
            None
        };
        if !self.concurrent && self.batch.is_none() {
            self.log.let_go(log);
        }
        // Its scratch folder; most documents never make one.
        if *self.scratch_is_used.get_or_insert_with(|| scratch_is_used(minder)) {
            drop(crate::fs::remove_dir(&minder.scratch.join(id.to_string())));
        }
        let seen = self.times.take(&self.log, log);
        // What is printed side by side is written when its document is done.
        let said = frame.times.map(|times| times.into_iter().map(|(at, when)| (at, Millis(when))).collect());
        let answer = Answer {
            id,
            done,
            times: said.unwrap_or(seen),
            log,
            start: hand.start,
            duration_us: hand.sent.elapsed().as_micros() as u64,
            files: frame.files,
            packages: frame.packages.map(protocol::packages),
            pause,
            used: None,
        };
        minder.reports.push(Report::Answer(Box::new(answer)));
        Ok(())
    }

    /// Answers that were read in one piece share the time since the one before: when each came is known to none.
    fn settle_times(&mut self, minder: &mut Minder, first: usize) {
        let (now, now_millis) = (Instant::now(), time::now());
        let mut answers: Vec<&mut Box<Answer>> = minder.reports[first..]
            .iter_mut()
            .filter_map(|report| match report {
                Report::Answer(answer) => Some(answer),
                _ => None,
            })
            .collect();
        let Some(longest) = answers.iter().map(|answer| answer.duration_us).max() else { return };
        if !self.concurrent {
            let since = self.answered.map_or(u64::MAX, |(at, _)| (now - at).as_micros() as u64);
            let share = longest.min(since) / answers.len() as u64;
            let before = self.answered.map_or(0, |(_, millis)| millis.0);
            for (i, answer) in answers.iter_mut().enumerate() {
                answer.duration_us = share;
                answer.start = Millis(answer.start.0.max(before) + i as u64 * share / 1000);
            }
            // Of several at once, and of quick ones, nobody knows what each took.
            let used = self.meter.read(now, Duration::from_micros(share), answers.len() as u32);
            if let [answer] = &mut answers[..] {
                answer.used = used;
            }
        }
        self.answered = Some((now, now_millis));
    }

    /// What is no frame goes to the log, so far as it is not endless.
    fn print(&mut self, minder: &mut Minder, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.stray == 0 {
            let message = "prints to standard output, where frames belong: such lines are in its log";
            let warning = serde_json::json!({ "message": message });
            minder.reports.push(Report::Warn { id: None, warning, at: time::now() });
        }
        let room = STRAY_LIMIT.saturating_sub(self.stray);
        if room == 0 {
            self.flooded = Some(Instant::now() + FLOODED);
        }
        self.stray = self.stray.saturating_add(bytes.len());
        if room > 0 {
            self.log.append(&bytes[..bytes.len().min(room)]);
            if bytes.len() >= room {
                self.log.append(b"\n(more on standard output is left out)\n");
            }
        }
    }
}

/// How long a turn waits. While nothing is read it rests as long as that takes: what was printed is looked at only between
/// readings, so that this is due is no reason to wake up.
fn patience(
    ends: [Option<Instant>; 3],
    times: Option<Duration>,
    printing: Duration,
    rest: Option<Duration>,
) -> Duration {
    let now = Instant::now();
    let ends = ends.into_iter().flatten().map(|end| end.saturating_duration_since(now));
    ends.chain(times).fold(rest.unwrap_or(printing), Duration::min)
}

/// Whether a result that comes from another machine is said to lie in a file of this one. A folder that was sent lies right
/// below the document's own, and nowhere else.
fn names_our_file(launch: &Launch, output: &OutputFrame<'_>, ours: &Path) -> bool {
    let Some(path) = &output.path else { return false };
    let is_sent = path.parent() == Some(ours) && path.file_name().is_some() && path.is_dir();
    matches!(launch.program, Program::Url(_)) && !is_sent
}

/// Whether any document has made its scratch folder: a folder has a link more for each folder in it. File systems that
/// do not count (1) are taken for yes.
fn scratch_is_used(minder: &Minder) -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(&minder.scratch).is_ok_and(|meta| meta.nlink() != 2)
}

/// A line that was meant as a frame and is none.
struct Broken {
    failure: Box<Failure>,
    /// The place in hand of the document that it names.
    at: Option<usize>,
}

impl Broken {
    fn new(problem: &str, line: &[u8], at: Option<usize>) -> Self {
        let shown = String::from_utf8_lossy(&line[..line.len().min(200)]);
        let message = format!("protocol error: {problem}, in `{}`", text::printable(shown.trim_end()));
        Broken { failure: Box::new(Failure::new(FailureKind::BadReply, "bad reply", message)), at }
    }

    fn failure(&self) -> Failure {
        (*self.failure).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_back_rests_although_its_print_is_to_be_looked_at() {
        let soon = Some(Duration::from_millis(100));
        assert_eq!(patience([None; 3], soon, Duration::ZERO, Some(FLOODED)), FLOODED);
        assert_eq!(patience([None; 3], None, Duration::ZERO, Some(HELD_BACK)), HELD_BACK);
        assert_eq!(patience([None; 3], soon, LOOK / 2, None), LOOK / 2);
        // What must end ends all the same.
        assert_eq!(patience([None, Some(Instant::now()), None], soon, LOOK, Some(FLOODED)), Duration::ZERO);
    }
}
