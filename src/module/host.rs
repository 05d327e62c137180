//! The host: a second, small process of `pipe` that is the parent of all modules.
//!
//! It is small, so that starting programs is fast however large `pipe` grows, and it outlives `pipe` for the moment
//! that it takes to end every descendant: after `kill -9`, too. This side starts it when the first module is needed and
//! speaks to it through one [`Channel`] a slot. Knows nothing of what the programs are or say.

mod memory;
mod serve;
mod wire;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys;

pub use serve::serve;
pub(super) use wire::{Order, Start, Told};

/// The hidden first argument by which `pipe` is started as the host.
pub const ARGUMENT: &str = "__host";

/// How long the host may take to end what is left.
const FAREWELL: Duration = Duration::from_secs(30);

/// How often who runs a program to its end is asked whether that is still wanted.
const ASKED_EVERY: Duration = Duration::from_millis(50);

/// How long a host whose channel broke may take to die.
const DYING: Duration = Duration::from_millis(200);

/// The hosts of this process that are alive: they are no orphans.
static LIVING: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// The parent of all module processes; started when the first is needed, and again should it die.
#[derive(Debug)]
pub struct Host {
    program: PathBuf,
    arguments: Vec<OsString>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    lifeline: OwnedFd,
    child: Child,
}

impl Host {
    /// A host that will be started as `program arguments…`, which must call [`serve()`].
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Host {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            running: Mutex::new(None),
        }
    }

    /// The host of the command `pipe`: itself once more.
    pub fn of_this_program() -> Self {
        Self::new("/proc/self/exe", [ARGUMENT])
    }

    /// A way to start programs, one at a time; what runs ends with it.
    pub(super) fn channel(&self) -> io::Result<Channel> {
        let mut running = lock(&self.running);
        for _ in 0..2 {
            if running.is_none() {
                *running = Some(self.start()?);
            }
            let Some(host) = running.as_ref() else { break };
            let (ours, theirs) = sys::message_pair()?;
            match sys::send_message(&host.lifeline, b"+", &[theirs.as_fd()]) {
                Ok(()) => return Ok(Channel { fd: ours, buffer: vec![0; wire::ANSWER_SIZE] }),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    if let Some(dead) = running.take() {
                        bury(dead);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("the process that starts modules ends at once"))
    }

    /// Runs a program that is no module to its end; its words go into `said`. It ends when we do, with all that it
    /// started. Nothing: `stop`, asked again and again, said that it is not wanted any more.
    pub fn run(
        &self,
        words: &[OsString],
        folder: &Path,
        environment: &[OsString],
        said: &File,
        stop: &dyn Fn() -> bool,
    ) -> io::Result<Option<sys::Exit>> {
        let program = Path::new(words.first().map_or(OsStr::new(""), OsString::as_os_str));
        let start = Start { program, words, folder, environment, memory: 0, farewell: &[] };
        let mut channel = self.channel()?;
        let nothing = sys::nothing()?;
        channel.start(&start, [nothing.as_fd(), said.as_fd(), said.as_fd()])?;
        let mut is_killed = false;
        loop {
            let heard = sys::poll([Some((channel.as_fd(), sys::Wish::Read))], Some(ASKED_EVERY))?;
            if heard == [true] {
                match channel.receive()? {
                    Told::Ended(_) if is_killed => return Ok(None),
                    Told::Ended(exit) => return Ok(Some(exit)),
                    Told::Started(_) | Told::Refused(_) => {}
                }
            } else if !is_killed && stop() {
                is_killed = true;
                channel.signal(&Order::Kill);
            }
        }
    }

    /// To be called when a channel broke: if the host is dead, ends what it left behind.
    pub(super) fn check(&self) {
        let mut running = lock(&self.running);
        // A dying process closes one descriptor after the other, and is no zombie before all are closed.
        let dead = running.as_ref().is_some_and(|host| {
            matches!(sys::poll([Some((host.lifeline.as_fd(), sys::Wish::Read))], Some(DYING)), Ok([true]))
        });
        if dead && let Some(host) = running.take() {
            bury(host);
        }
    }

    /// The number of the host's process while it runs.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.running).as_ref().map(|host| host.child.id())
    }

    fn start(&self) -> io::Result<Running> {
        // Should the host die, its orphans come to us, and we end them.
        sys::become_subreaper()?;
        let (ours, theirs) = sys::message_pair()?;
        let mut living = lock(&LIVING);
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        living.push(child.id());
        Ok(Running { lifeline: ours, child })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(host) = lock(&self.running).take() {
            bury(host);
        }
    }
}

/// Sees a host off and ends whatever it left.
fn bury(host: Running) {
    let Running { lifeline, mut child } = host;
    drop(lifeline);
    let begin = Instant::now();
    let mut left = FAREWELL;
    // The descriptor is readable when the process has ended; without one it is given no time.
    if let Ok(process) = sys::open_process(child.id()) {
        while !left.is_zero() {
            match sys::poll([Some((process.as_fd(), sys::Wish::Read))], Some(left)) {
                Ok([false]) => left = FAREWELL.saturating_sub(begin.elapsed()),
                _ => break,
            }
        }
    }
    // Both fail only where it has ended already.
    drop(child.kill());
    drop(child.wait());
    lock(&LIVING).retain(|pid| *pid != child.id());
    end_orphans();
}

/// Ends what dead hosts left to us: children in another session that are no living hosts, and all below them.
fn end_orphans() {
    let living = lock(&LIVING);
    let own = sys::own_pid();
    let deadline = Instant::now() + FAREWELL;
    while Instant::now() < deadline {
        let table = sys::processes();
        let Some(session) = table.iter().find(|process| process.pid == own).map(|process| process.session)
        else {
            return;
        };
        let orphans: Vec<u32> = table
            .iter()
            .filter(|process| {
                process.parent == own && process.session != session && !living.contains(&process.pid)
            })
            .map(|process| process.pid)
            .collect();
        if orphans.is_empty() {
            return;
        }
        for process in sys::descendants(&table, &orphans) {
            sys::signal_process(process.pid, sys::Send::Kill);
        }
        for orphan in orphans {
            sys::signal_process(orphan, sys::Send::Kill);
            let _ = sys::reap(orphan);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes of this file hold is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One slot's way to the host: starts one program at a time and hears of its end.
#[derive(Debug)]
pub(super) struct Channel {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Channel {
    /// Starts a program with these as its 0, 1 and 2; its number. Before: none is running here.
    pub(super) fn start(&mut self, start: &Start<'_>, fds: [BorrowedFd<'_>; 3]) -> io::Result<u32> {
        let message = Order::Start(start.clone()).encode()?;
        sys::send_message(&self.fd, &message, &fds)?;
        match self.receive()? {
            Told::Started(pid) => Ok(pid),
            Told::Refused(code) => Err(io::Error::from_raw_os_error(code)),
            Told::Ended(_) => Err(io::Error::other("the process that starts modules answers out of turn")),
        }
    }

    /// Sends a signal to the program, to its group or to all below it. That it has ended already is fine.
    pub(super) fn signal(&self, order: &Order<'_>) {
        // A broken channel is noticed by whoever reads it.
        if let Ok(message) = order.encode() {
            drop(sys::send_message(&self.fd, &message, &[]));
        }
    }

    /// The next message; waits for it. An error: the host is gone.
    pub(super) fn receive(&mut self) -> io::Result<Told> {
        let (length, _) = sys::receive_message(&self.fd, &mut self.buffer)?;
        Told::decode(&self.buffer[..length])
            .ok_or_else(|| io::Error::other("the process that starts modules has ended"))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
