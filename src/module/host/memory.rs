//! The watch over the memory of programs: of each, with all that it started.
//!
//! A limit of the kernel for one process (`setrlimit`) counts address space, which says nothing about memory, and counts
//! each process alone. So the host looks: resident and swapped memory of the whole tree, the more often the nearer it is to
//! its limit. What is over it is ended. Processes that left the tree count on if they were seen in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::{self, Process, Send};

/// How often the memory of known processes is looked at while there is room,
const LOOK: Duration = Duration::from_millis(20);
/// and how often close to the limit.
const NEAR: Duration = Duration::from_millis(1);
/// So many bytes a second are filled at most, as a rule: in time for what is left, it is looked at again.
const FILLS: f64 = 4.0 * (1u64 << 30) as f64;
/// How often the table of processes is read, for new ones.
const TABLE: Duration = Duration::from_millis(60);
/// Looking may take one part in so many of the time.
const SHARE: u32 = 20;

/// The programs with a limit.
#[derive(Default)]
pub(super) struct Watch {
    watched: Mutex<Watching>,
    more: Condvar,
}

#[derive(Default)]
struct Watching {
    programs: HashMap<u32, Watched>,
    runs: bool,
}

struct Watched {
    /// In bytes.
    limit: u64,
    /// All that was seen in its tree, and is there.
    members: HashSet<u32>,
    /// It was ended: so much it held.
    over: Option<u64>,
    /// What it held of its own pages, when it was alone and seemed to be over.
    alone: u64,
    next: Instant,
}

impl Watch {
    /// Watches a program from now on.
    pub(super) fn add(self: &Arc<Self>, pid: u32, limit: u64) {
        let mut watched = self.lock();
        let members = HashSet::from([pid]);
        watched.programs.insert(pid, Watched { limit, members, over: None, alone: 0, next: Instant::now() });
        if !watched.runs {
            // Reading the table of processes takes long, and each moment of that is one in which nobody looks.
            let start = |name: &str, run: fn(&Watch)| {
                let watch = Arc::clone(self);
                let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(256 * 1024);
                thread.spawn(move || run(&watch)).is_ok()
            };
            watched.runs = start("memory", Watch::look) && start("families", Watch::read_table);
        }
        self.more.notify_all();
    }

    /// No longer: to be called before its end is taken, so that its number is nobody else's. What it held if that was
    /// too much, in bytes.
    pub(super) fn remove(&self, pid: u32) -> Option<u64> {
        self.lock().programs.remove(&pid).and_then(|watched| watched.over)
    }

    fn look(&self) {
        let mut watched = self.lock();
        loop {
            if watched.programs.is_empty() {
                watched = self.more.wait(watched).unwrap_or_else(PoisonError::into_inner);
            }
            let (programs, now) = (&mut watched.programs, Instant::now());
            for (pid, program) in programs.iter_mut().filter(|(_, program)| program.next <= now) {
                program.look(*pid);
            }
            let next = programs.values().map(|program| program.next).min().unwrap_or(now);
            // Whoever starts or ends a program need not wait for this.
            drop(watched);
            std::thread::sleep(next.saturating_duration_since(Instant::now()).clamp(NEAR, LOOK));
            watched = self.lock();
        }
    }

    fn read_table(&self) {
        loop {
            let watched = self.lock();
            if watched.programs.is_empty() {
                drop(self.more.wait(watched));
            } else {
                drop(watched);
            }
            let begin = Instant::now();
            let table = sys::processes();
            for (pid, program) in &mut self.lock().programs {
                program.members = members(&table, *pid, &program.members);
            }
            std::thread::sleep(TABLE.max(begin.elapsed() * SHARE));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watching> {
        // What it holds is whole between any two statements.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn look(&mut self, pid: u32) {
        let (begin, worked) = (Instant::now(), sys::thread_time());
        if self.over.is_some() {
            self.next = begin + LOOK;
            return;
        }
        let sum = |of: fn(u32) -> Option<u64>| self.members.iter().filter_map(|pid| of(*pid)).sum::<u64>();
        let held = sum(sys::memory_of);
        if held <= self.limit {
            // Of processor time: under load, a look that was kept waiting is no reason to wait longer.
            let cost = sys::thread_time().saturating_sub(worked) * SHARE;
            self.next = begin + wait(self.limit - held).max(cost.min(LOOK));
            return;
        }
        // Pages that several share count once. To know that takes long, and while a process grows it takes longer than
        // filling the rest: so of one that is alone only its own pages count until it rests.
        let alone = if self.members.len() == 1 { sys::anonymous_memory_of(pid) } else { None };
        let before = std::mem::replace(&mut self.alone, alone.unwrap_or(0));
        let held = match alone {
            Some(alone) if alone > self.limit => alone,
            Some(alone) if alone > before => {
                self.next = begin + wait(self.limit - alone);
                return;
            }
            _ => sum(|pid| sys::own_memory_of(pid).or_else(|| sys::memory_of(pid))),
        };
        if held <= self.limit {
            let cost = sys::thread_time().saturating_sub(worked) * SHARE;
            self.next = Instant::now() + wait(self.limit - held).max(cost);
            return;
        }
        self.over = Some(held);
        // Its own number is its own until its end is taken; meanwhile each moment counts.
        sys::signal_group(pid, Send::Kill);
        // Another that was seen a moment ago may be somebody else's by now: who is a member is asked again.
        let table = sys::processes();
        for member in members(&table, pid, &self.members) {
            sys::signal_process(member, Send::Kill);
        }
    }
}

/// When to look again while so many bytes are left.
fn wait(left: u64) -> Duration {
    Duration::from_secs_f64(left as f64 / FILLS).clamp(NEAR, LOOK)
}

/// The tree of a program: all below it, and those who were seen there before and have become children of this process,
/// with all below them.
fn members(table: &[Process], pid: u32, before: &HashSet<u32>) -> HashSet<u32> {
    let own = sys::own_pid();
    let left = |process: &&Process| {
        process.parent == own && process.pid != pid && before.contains(&process.pid) && !process.zombie
    };
    let mut roots: Vec<u32> = table.iter().filter(left).map(|process| process.pid).collect();
    roots.push(pid);
    let below = sys::descendants(table, &roots);
    roots.extend(below.into_iter().filter(|process| !process.zombie).map(|process| process.pid));
    roots.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_at_before_what_is_left_can_be_filled() {
        assert_eq!(wait(0), NEAR);
        assert_eq!(wait(1 << 40), LOOK);
        let near = wait(40 << 20);
        assert!(near > Duration::from_millis(9) && near < Duration::from_millis(10), "{near:?}");
    }

    #[test]
    fn a_process_that_leaves_its_tree_is_counted_where_it_came_from() {
        let own = sys::own_pid();
        let line = |pid, parent| Process { pid, parent, session: 1, zombie: false };
        // 20 was below 10 and is an orphan now, with a child; 30 is another program, 40 an orphan that nobody knows.
        let table = [line(10, own), line(11, 10), line(20, own), line(21, 20), line(30, own), line(40, own)];
        let before = HashSet::from([10, 20]);
        assert_eq!(members(&table, 10, &before), HashSet::from([10, 11, 20, 21]));
        assert_eq!(members(&table, 10, &HashSet::from([10])), HashSet::from([10, 11]));
    }
}
