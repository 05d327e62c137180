//! The watch over the memory of programs: of each, with all that it started.
//!
//! A limit of the kernel for one process (`setrlimit`) counts address space, which says nothing about memory, and counts
//! each process alone. So the host looks: resident and swapped memory of the whole tree, every few milliseconds while
//! there is a limit at all. What is over it is ended. Processes that left the tree count on if they were seen in it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::sys::{self, Process, Send};

/// How often the memory of known processes is looked at.
const LOOK: Duration = Duration::from_millis(20);
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
    next: Instant,
}

impl Watch {
    /// Watches a program from now on.
    pub(super) fn add(self: &Arc<Self>, pid: u32, limit: u64) {
        let mut watched = self.lock();
        let members = HashSet::from([pid]);
        watched.programs.insert(pid, Watched { limit, members, over: None, next: Instant::now() });
        if !watched.runs {
            let watch = Arc::clone(self);
            let thread = std::thread::Builder::new().name("memory".to_owned()).stack_size(256 * 1024);
            watched.runs = thread.spawn(move || watch.run()).is_ok();
        }
        self.more.notify_one();
    }

    /// No longer: to be called before its end is taken, so that its number is nobody else's. What it held if that was
    /// too much, in bytes.
    pub(super) fn remove(&self, pid: u32) -> Option<u64> {
        self.lock().programs.remove(&pid).and_then(|watched| watched.over)
    }

    fn run(&self) {
        let mut next_table = Instant::now();
        let mut watched = self.lock();
        loop {
            if watched.programs.is_empty() {
                watched = self.more.wait(watched).unwrap_or_else(PoisonError::into_inner);
                next_table = Instant::now();
            }
            let begin = Instant::now();
            if begin >= next_table {
                let table = sys::processes();
                next_table = begin + TABLE.max(begin.elapsed() * SHARE);
                for (pid, program) in &mut watched.programs {
                    program.members = members(&table, *pid, &program.members);
                }
            }
            let (programs, now) = (&mut watched.programs, Instant::now());
            for (pid, program) in programs.iter_mut().filter(|(_, program)| program.next <= now) {
                program.look(*pid);
            }
            // Whoever starts or ends a program need not wait for this.
            drop(watched);
            std::thread::sleep(LOOK);
            watched = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Watching> {
        // What it holds is whole between any two statements.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn look(&mut self, pid: u32) {
        let sum = |of: fn(u32) -> Option<u64>| self.members.iter().filter_map(|pid| of(*pid)).sum::<u64>();
        if self.over.is_some() || sum(sys::memory_of) <= self.limit {
            return;
        }
        // Pages that several share count once; to know that takes long, so it is asked only now.
        let begin = Instant::now();
        let held = sum(|pid| sys::own_memory_of(pid).or_else(|| sys::memory_of(pid)));
        self.next = Instant::now() + begin.elapsed() * SHARE;
        if held <= self.limit {
            return;
        }
        self.over = Some(held);
        // A number that was seen a moment ago may be another's by now: who is a member is asked again.
        let table = sys::processes();
        sys::signal_group(pid, Send::Kill);
        for member in members(&table, pid, &self.members) {
            sys::signal_process(member, Send::Kill);
        }
    }
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
