//! The host's own side: starts programs, sends them signals, tells of their end, and ends all when `pipe` is gone.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::memory::Watch;
use super::wire::{self, Heard, Told};
use crate::sys::{self, Send, Wish};

/// How long the last sweep may take; what is left then hangs in the kernel.
const SWEEP: Duration = Duration::from_secs(10);
/// How long the end of what a kill leaves behind may take.
const LAST_WORDS: Duration = Duration::from_secs(8);
/// How often orphans that have ended are taken off the process table.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// The programs that run here. Whoever starts one holds `gate` until it stands in `pids`.
#[derive(Default)]
struct Programs {
    gate: RwLock<()>,
    pids: Mutex<HashSet<u32>>,
    /// By program: what ends that which its kill leaves behind.
    farewells: Mutex<HashMap<u32, Vec<OsString>>>,
    memory: Arc<Watch>,
}

impl Programs {
    fn change(&self, change: impl FnOnce(&mut HashSet<u32>)) {
        change(&mut self.pids.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A program was killed: what is left of it is ended.
    fn bid_farewell(&self, pid: u32, was_killed: bool) {
        let mut farewells = self.farewells.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(words) = farewells.get(&pid).filter(|_| was_killed).cloned() else {
            farewells.remove(&pid);
            return;
        };
        drop(farewells);
        let started = {
            // Once all is ended, the last one does it for all.
            let _open = self.gate.read().unwrap_or_else(PoisonError::into_inner);
            let started = command_of(&words).spawn();
            if let Ok(child) = &started {
                self.change(|pids| {
                    pids.insert(child.id());
                });
            }
            started
        };
        if let Ok(mut child) = started {
            let is_done = wait_for(&mut child, Instant::now() + LAST_WORDS);
            self.change(|pids| {
                pids.remove(&child.id());
            });
            // Else it is tried once more at the end of all: this may be that end, which spares nobody.
            if is_done {
                self.farewells.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
            }
        }
    }

    /// Ends what is left of all that runs. Before: nothing is started any more.
    fn bid_farewell_to_all(&self) {
        let farewells = std::mem::take(&mut *self.farewells.lock().unwrap_or_else(PoisonError::into_inner));
        let mut started: Vec<Child> =
            farewells.values().filter_map(|words| command_of(words).spawn().ok()).collect();
        let deadline = Instant::now() + LAST_WORDS;
        started.iter_mut().for_each(|child| {
            wait_for(child, deadline);
        });
    }

    /// Takes ended children that are nobody's: daemons whose parents are gone.
    fn reap_orphans(&self) {
        let _closed = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let own = sys::own_pid();
        for process in sys::processes() {
            if process.zombie && process.parent == own {
                self.change(|pids| {
                    if !pids.contains(&process.pid) {
                        let _ = sys::reap(process.pid);
                    }
                });
            }
        }
    }
}

/// The whole life of the host process. Standard input is the lifeline: every message brings a slot's channel, and its
/// end means that `pipe` is gone.
pub fn serve() -> ExitCode {
    let lifeline = io::stdin();
    let prepared = sys::begin_session().and_then(|()| sys::become_subreaper());
    if prepared.is_err() {
        return ExitCode::FAILURE;
    }
    sys::forbid_core_dumps();
    // What modules use up, modules shall pay for: they are the first to be killed for want of memory, not `pipe`.
    // Where it cannot be said, the kernel goes by size alone.
    drop(crate::fs::write_scratch(std::path::Path::new("/proc/self/oom_score_adj"), b"500"));
    // `pkill pipe` must not meet the one process that cleans up after it.
    sys::set_process_name(c"module-host");
    let programs = Arc::new(Programs::default());
    let mut buffer = [0; 16];
    loop {
        match sys::poll([Some((lifeline.as_fd(), Wish::Read))], Some(REAP_EVERY)) {
            Ok([true]) => {}
            Ok([false]) => {
                programs.reap_orphans();
                continue;
            }
            Err(_) => break,
        }
        match sys::receive_message(&lifeline, &mut buffer) {
            Ok((0, _)) | Err(_) => break,
            Ok((_, fds)) => {
                for channel in fds {
                    let programs = Arc::clone(&programs);
                    // Refused: the channel closes, and the slot says so.
                    drop(
                        std::thread::Builder::new()
                            .name("slot".to_owned())
                            .stack_size(256 * 1024)
                            .spawn(move || serve_slot(&channel, &programs)),
                    );
                }
            }
        }
    }
    // From here on nothing is started: an order may have come before its sender went.
    let _closed = programs.gate.write().unwrap_or_else(PoisonError::into_inner);
    end_all();
    programs.bid_farewell_to_all();
    end_all();
    ExitCode::SUCCESS
}

/// Ends every descendant, also those that left their group and session: they are ours, since we are the subreaper.
fn end_all() {
    let own = sys::own_pid();
    let deadline = Instant::now() + SWEEP;
    loop {
        let left = sys::descendants(&sys::processes(), &[own]);
        for process in &left {
            if process.zombie {
                let _ = sys::reap(process.pid);
            } else {
                sys::signal_process(process.pid, Send::Kill);
            }
        }
        if left.iter().all(|process| process.zombie) || Instant::now() > deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One slot: a program after the other, until the slot is gone.
fn serve_slot(channel: &OwnedFd, programs: &Programs) {
    let mut buffer = vec![0; wire::ORDER_SIZE];
    loop {
        let Ok((length, fds)) = sys::receive_message(channel, &mut buffer) else { return };
        if length == 0 {
            return;
        }
        // A signal for a program that has just ended is late, not wrong.
        let Some(Heard::Start { program, folder, memory, words, farewell, environment }) =
            Heard::decode(&buffer[..length])
        else {
            continue;
        };
        let Ok(fds) = <[OwnedFd; 3]>::try_from(fds) else { return };
        let mut command = Command::new(&program);
        if let Some((name, arguments)) = words.split_first() {
            command.arg0(name).args(arguments);
        }
        for entry in &environment {
            match split_at_equals(entry) {
                Some((name, value)) => command.env(name, value),
                None => command.env_remove(entry),
            };
        }
        let [input, output, log] = fds;
        // No `pre_exec`: it would fork, where this is posix_spawn.
        command.current_dir(&folder).stdin(input).stdout(output).stderr(Stdio::from(log)).process_group(0);
        let started = {
            let _open = programs.gate.read().unwrap_or_else(PoisonError::into_inner);
            let started = command.spawn();
            if let Ok(child) = &started {
                programs.change(|pids| {
                    pids.insert(child.id());
                });
                if !farewell.is_empty() {
                    let mut farewells = programs.farewells.lock().unwrap_or_else(PoisonError::into_inner);
                    farewells.insert(child.id(), farewell);
                }
            }
            started
        };
        // Closes our copies of its descriptors.
        drop(command);
        let told = match started {
            Ok(child) => {
                if memory > 0 {
                    programs.memory.add(child.id(), memory);
                }
                let told = Told::Started(child.id()).encode();
                if sys::send_message(channel, &told, &[]).is_err() {
                    end_program(child.id());
                }
                let exit = attend(channel, child.id(), &programs.memory, &mut buffer);
                programs.change(|pids| {
                    pids.remove(&child.id());
                });
                programs.bid_farewell(child.id(), exit.code.is_none());
                Told::Ended(exit)
            }
            Err(error) => Told::Refused(error.raw_os_error().unwrap_or(0)),
        };
        if sys::send_message(channel, &told.encode(), &[]).is_err() {
            return;
        }
    }
}

/// Passes signals on until the program has ended; takes its group with it.
fn attend(channel: &OwnedFd, pid: u32, memory: &Watch, buffer: &mut [u8]) -> sys::Exit {
    pass_signals(channel, pid, buffer);
    // Before it is taken off the process table: until then its number cannot be another's.
    let over = memory.remove(pid);
    let exit = sys::wait(pid).unwrap_or_default();
    sys::Exit { over, alone: sys::has_no_orphans(), ..exit }
}

/// Passes signals on until the program has ended, or cannot be heard of and was killed.
fn pass_signals(channel: &OwnedFd, pid: u32, buffer: &mut [u8]) {
    let Ok(process) = sys::open_process(pid) else { return end_program(pid) };
    let mut slot = Some(channel);
    loop {
        let wishes = [Some((process.as_fd(), Wish::Read)), slot.map(|channel| (channel.as_fd(), Wish::Read))];
        let Ok([ended, heard]) = sys::poll(wishes, None) else {
            return end_program(pid);
        };
        if ended {
            // Before it is taken off the process table: until then its number cannot be another's.
            return sys::signal_group(pid, Send::Kill);
        }
        if heard {
            let order = match sys::receive_message(channel, buffer) {
                Ok((length, _)) if length > 0 => Heard::decode(&buffer[..length]),
                _ => {
                    slot = None;
                    Some(Heard::Kill)
                }
            };
            match order {
                Some(Heard::Dump) => sys::signal_process(pid, Send::Dump),
                Some(Heard::Terminate) => sys::signal_group(pid, Send::Terminate),
                Some(Heard::Kill) => end_program(pid),
                Some(Heard::Start { .. }) | None => {}
            }
        }
    }
}

/// Ends a program, its group and all below it.
fn end_program(pid: u32) {
    let below = sys::descendants(&sys::processes(), &[pid]);
    sys::signal_group(pid, Send::Kill);
    for process in below {
        sys::signal_process(process.pid, Send::Kill);
    }
}

/// A command that says nothing to anybody.
fn command_of(words: &[OsString]) -> Command {
    let (program, arguments) = words.split_first().map_or((OsStr::new(""), &[][..]), |(p, rest)| (p, rest));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits for the end of a child, and whether it was a good one; a child that is late is killed.
fn wait_for(child: &mut Child, deadline: Instant) -> bool {
    if let Ok(process) = sys::open_process(child.id()) {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match sys::poll([Some((process.as_fd(), Wish::Read))], Some(left)) {
                Ok([false]) if !left.is_zero() => {}
                _ => break,
            }
        }
    }
    // It fails only where it has ended already.
    drop(child.kill());
    child.wait().is_ok_and(|status| status.success())
}

fn split_at_equals(entry: &OsStr) -> Option<(&OsStr, &OsStr)> {
    let bytes = entry.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..])))
}
