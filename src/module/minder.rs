//! What the minders of workers and of filters have in common: the queue, reports, the channel, ending a process.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::model::failure::{Failure, FailureKind};
use crate::module::children::Unheard;
use crate::module::command::cannot_start;
use crate::module::host::{Channel, Host, Order, Told};
use crate::module::launch::{Launch, Request};
use crate::module::log::Grown;
use crate::module::report::Report;
use crate::module::secrets::Secrets;
use crate::sys::{self, Bell, Exit, Wish};
use crate::text;

/// After SIGUSR1, for the stack to be printed.
const AFTER_DUMP: Duration = Duration::from_millis(300);
/// After SIGTERM, to tidy up.
const AFTER_TERMINATE: Duration = Duration::from_secs(2);
/// After SIGKILL; what lives then hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// What a slot is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Do these.
    Send(Vec<Request>),
    /// A new process for what comes.
    Restart,
    /// Say where the process stands.
    TellStack,
    /// Nothing more will come.
    Finish,
    /// End at once.
    Kill,
}

/// The way from a slot to its minder.
#[derive(Debug)]
pub(super) struct Queue {
    commands: Mutex<Vec<Command>>,
    bell: Bell,
}

impl Queue {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Queue { commands: Mutex::new(Vec::new()), bell: Bell::new()? })
    }

    pub(super) fn push(&self, command: Command) {
        self.commands.lock().unwrap_or_else(PoisonError::into_inner).push(command);
        self.bell.ring();
    }

    /// Whether the slot is to end at once; takes the rings, not the commands.
    fn is_killed(&self) -> bool {
        self.bell.silence();
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.iter().any(|command| matches!(command, Command::Kill))
    }
}

/// The thread's state.
pub(super) struct Minder {
    pub(super) host: Arc<Host>,
    pub(super) number: u32,
    pub(super) launch: Arc<Launch>,
    pub(super) queue: Arc<Queue>,
    pub(super) deliver: Box<dyn Fn(Vec<Report>) + Send>,
    /// Not yet delivered.
    pub(super) reports: Vec<Report>,
    /// Not yet handed to a process.
    pub(super) waiting: VecDeque<Request>,
    /// Nothing more will come.
    pub(super) finishing: bool,
    /// A new process is wanted.
    pub(super) restart: bool,
    /// How often one was, because the code was written to while it started.
    pub(super) read_again: u32,
    /// All is to end at once.
    pub(super) killed: bool,
    /// Somebody wants to know where the process stands.
    pub(super) tell_stack: bool,
    pub(super) channel: Option<Channel>,
    /// Children that were reported and not dealt with yet.
    pub(super) unheard: Unheard,
    /// How many processes the kernel had killed for want of memory, and when it was asked.
    pub(super) memory_kills: Option<(Instant, Option<u64>)>,
    /// When its log was how long.
    pub(super) grown: Grown,
    /// How the last process ended, until somebody asks.
    pub(super) last_exit: Option<Exit>,
    /// The slot's own scratch folder; that of a document lies in it.
    pub(super) scratch: PathBuf,
    /// What is hidden in all that is reported.
    pub(super) secrets: Secrets,
}

impl Minder {
    /// Takes what the slot was told.
    pub(super) fn take_commands(&mut self) {
        self.queue.bell.silence();
        let commands =
            std::mem::take(&mut *self.queue.commands.lock().unwrap_or_else(PoisonError::into_inner));
        for command in commands {
            match command {
                Command::Send(requests) => self.waiting.extend(requests),
                Command::Restart => self.restart = true,
                Command::TellStack => self.tell_stack = true,
                Command::Finish => self.finishing = true,
                Command::Kill => self.killed = true,
            }
        }
    }

    /// Of a container: the folder that a worker in it may write to.
    pub(super) fn within(&self) -> Option<&Path> {
        self.launch.program.container().map(|_| self.scratch.as_path())
    }

    /// Hands over what there is to say, in one piece.
    pub(super) fn flush(&mut self) {
        if !self.reports.is_empty() {
            // The next piece will be about as long.
            let next = Vec::with_capacity(self.reports.len());
            self.reports.iter_mut().for_each(|report| self.secrets.hide(report));
            (self.deliver)(std::mem::replace(&mut self.reports, next));
        }
    }

    /// Waits for a command.
    pub(super) fn sleep(&mut self) {
        self.flush();
        // An error wakes us too early at worst.
        drop(sys::poll([Some((self.queue.bell.as_fd(), Wish::Read))], None));
    }

    /// What a poll needs to hear commands.
    pub(super) fn bell(&self) -> (std::os::fd::BorrowedFd<'_>, Wish) {
        (self.queue.bell.as_fd(), Wish::Read)
    }

    /// The channel to the host, which is started if need be.
    pub(super) fn channel(&mut self) -> Result<&mut Channel, Failure> {
        if self.channel.is_none() {
            let channel = self.host.channel().map_err(|error| {
                let text = crate::error::io_text(&error);
                cannot_start(format!("the process that starts modules cannot be started: {text}"))
            })?;
            self.channel = Some(channel);
        }
        self.channel.as_mut().ok_or_else(|| cannot_start("there is no process that starts modules"))
    }

    /// The channel broke: the host is gone, and with it what ran here.
    pub(super) fn host_lost(&mut self) -> Failure {
        self.channel = None;
        self.host.check();
        Failure::new(FailureKind::Lost, "lost", "the process that starts modules was killed")
    }

    /// The program cannot start: everything that waits comes back.
    pub(super) fn fatal(&mut self, failure: Failure) {
        let returned = self.waiting.drain(..).map(|request| request.id).collect();
        self.reports.push(Report::Fatal { failure, returned });
    }

    /// Takes the next message of the host. `Ok(None)`: none of interest. An error: the host is lost.
    pub(super) fn hear(&mut self) -> Result<Option<Exit>, ()> {
        let Some(channel) = self.channel.as_mut() else { return Err(()) };
        match channel.receive() {
            Ok(Told::Ended(exit)) => {
                self.used(exit);
                Ok(Some(exit))
            }
            Ok(Told::Started(_) | Told::Refused(_)) => Ok(None),
            Err(_) => Err(()),
        }
    }

    /// How many processes the kernel has killed for want of memory; asked at most once a second, since it costs
    /// more than starting a process, and again after each death by a signal.
    pub(super) fn memory_kills(&mut self) -> Option<u64> {
        match self.memory_kills {
            Some((asked, kills)) if asked.elapsed() < Duration::from_secs(1) => kills,
            _ => {
                let kills = sys::out_of_memory_kills();
                self.memory_kills = Some((Instant::now(), kills));
                kills
            }
        }
    }

    fn used(&mut self, exit: Exit) {
        if exit.signal.is_some() {
            self.memory_kills = None;
        }
        self.last_exit = Some(exit);
        self.reports.push(Report::Used { cpu: Duration::from_micros(exit.cpu_us), peak_kib: exit.peak_kib });
    }

    /// Ends the running process: politely at first, then not. `None`: the host is lost, or the process cannot be killed.
    pub(super) fn end_process(&mut self, manner: Manner) -> Option<Exit> {
        let steps: &[(Order<'_>, Duration)] = match manner {
            Manner::WithStack => {
                &[(Order::Dump, AFTER_DUMP), (Order::Terminate, AFTER_TERMINATE), (Order::Kill, AFTER_KILL)]
            }
            Manner::Politely => &[(Order::Terminate, AFTER_TERMINATE), (Order::Kill, AFTER_KILL)],
            Manner::AtOnce => &[(Order::Kill, AFTER_KILL)],
        };
        for (order, limit) in steps {
            let last = *order == Order::Kill;
            if self.killed && !last {
                continue;
            }
            if let Some(channel) = &self.channel {
                channel.signal(order);
            }
            let deadline = Instant::now() + *limit;
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let channel = self.channel.as_ref()?;
                let bell = (!self.killed).then(|| self.bell());
                let wishes = [Some((channel.as_fd(), Wish::Read)), bell];
                let Ok([heard, rung]) = sys::poll(wishes, Some(left)) else { break };
                if heard {
                    match self.hear() {
                        Ok(Some(exit)) => return Some(exit),
                        Ok(None) => {}
                        Err(()) => {
                            self.host_lost();
                            return None;
                        }
                    }
                }
                if rung && self.queue.is_killed() {
                    self.killed = true;
                    if !last {
                        break;
                    }
                }
            }
        }
        // It hangs in the kernel: the channel goes with it, so that the slot can go on.
        self.channel = None;
        None
    }

    /// Says the last word.
    pub(super) fn end(&mut self, in_hand: Vec<u64>) {
        let mut returned = in_hand;
        self.take_commands();
        returned.extend(self.waiting.drain(..).map(|request| request.id));
        self.reports.push(Report::Ended { returned });
        self.channel = None;
        // Scratch: the store removes its whole folder at the next start.
        drop(crate::fs::remove_dir(&self.scratch));
        self.flush();
    }
}

/// How a process is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// SIGUSR1, so that its log shows where it hangs; SIGTERM; SIGKILL.
    WithStack,
    /// SIGTERM, SIGKILL.
    Politely,
    /// SIGKILL.
    AtOnce,
}

/// The failure of a process that died by itself, before what `until` says. `killed_before`: the kernel's count of memory kills at its start.
pub(super) fn death(
    exit: Exit,
    what: &str,
    until: &str,
    lines: &[String],
    killed_before: Option<u64>,
) -> Failure {
    const SIGKILL: i32 = 9;
    if let Some(held) = exit.over {
        let held = text::size(held);
        let message = format!("{what}, with all that it started, held {held}: more than its `memory`");
        return with_lines(Failure::new(FailureKind::OutOfMemory, "out of memory", message), lines);
    }
    let starved = exit.signal == Some(SIGKILL) && sys::out_of_memory_kills() > killed_before;
    let (kind, error, message) = match (exit.signal, exit.code) {
        _ if starved => (
            FailureKind::OutOfMemory,
            "out of memory".to_owned(),
            format!("the kernel killed {what} for want of memory"),
        ),
        (Some(SIGKILL), _) => {
            let message = "and not by `pipe`: perhaps the system was short of memory (`memory` sets a limit)";
            (FailureKind::Crash, "SIGKILL".to_owned(), format!("{what} was killed, {message}"))
        }
        (Some(signal), _) => {
            let name = sys::signal_name(signal);
            (FailureKind::Crash, name.clone(), format!("{what} died of {name}"))
        }
        (None, code) => {
            let code = code.unwrap_or_default();
            (FailureKind::Crash, format!("exit {code}"), format!("{what} ended before {until}"))
        }
    };
    with_lines(Failure::new(kind, error, message), lines)
}

/// Adds the end of the log: its last line to the message, the rest as the traceback.
pub(super) fn with_lines(mut failure: Failure, lines: &[String]) -> Failure {
    if let Some(last) = super::log::last_line(lines) {
        failure.message = format!("{}; the last line of its log: {last}", failure.message);
        failure.traceback = Some(lines.join("\n"));
    }
    failure
}
