//! The power is cut, or the process killed, at any operation; also while the next process recovers, and again.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::history::Session;
use super::oracle::{Must, Past, check};
use super::{dir, number, seed, setup};
use crate::error::Result;
use crate::store::Store;
use crate::store::disk::crash::{CrashDisk, Machine, Op, Random};
use crate::store::disk::{Disk, RealDisk};
use crate::store::index::Engine;
use crate::store::opening::{Derived, Setup};

/// Histories that failed once.
const MENDED: &[u64] = &[13_230_081_903_429_008_007];

/// Simulated crashes, each opened and compared, without a word from the environment.
const CRASHES: u64 = 2_000;

#[test]
fn what_was_announced_survives_any_crash() {
    match number("PIPE_TEST_HISTORY", 0) {
        0 => {}
        one => return history(one, &mut Tried::default()),
    }
    let wanted = number("PIPE_TEST_CRASHES", CRASHES);
    let threads = number("PIPE_TEST_THREADS", 1).max(1);
    let begun = std::time::Instant::now();
    let mut random = seed();
    let seeds: Vec<u64> = (0..threads).map(|_| random.next()).collect();
    let work = |seed: u64| {
        let mut random = Random(seed);
        let mut tried = Tried::default();
        while tried.crashes < wanted.div_ceil(threads) {
            history(random.next(), &mut tried);
        }
        tried
    };
    let tried: Vec<Tried> = std::thread::scope(|scope| {
        let threads: Vec<_> = seeds.into_iter().map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |of: fn(&Tried) -> u64| tried.iter().map(of).sum::<u64>();
    println!(
        "{} simulated crashes ({} power cuts, {} kills, {} of them during recovery) in {} histories, {} sessions: \
         0 lost, 0 wrong; {:.0} a second",
        sum(|tried| tried.crashes),
        sum(|tried| tried.cuts),
        sum(|tried| tried.crashes - tried.cuts),
        sum(|tried| tried.nested),
        sum(|tried| tried.histories),
        sum(|tried| tried.sessions),
        sum(|tried| tried.crashes) as f64 / begun.elapsed().as_secs_f64()
    );
}

#[test]
fn what_was_mended_stays_mended() {
    MENDED.iter().for_each(|seed| history(*seed, &mut Tried::default()));
}

/// The same with the real index: sled cannot be rewound, so these processes are killed, or lose their power, at their end.
#[test]
fn what_was_announced_survives_with_the_real_index() {
    let mut random = seed();
    for history in 0..number("PIPE_TEST_SLED", 6) {
        let mut machine = home();
        let mut index = tempfile::tempdir().unwrap();
        let (mut past, mut must, mut boot) = (Past::default(), Must::All, 1);
        for session in 0..4 {
            let disk = CrashDisk::on(machine.clone());
            let setup = Setup {
                engine: Engine::Sled,
                index: Some((Arc::new(RealDisk), index.path().to_owned())),
                ..setup(Arc::new(disk.clone()), boot, 5000, true)
            };
            let context = format!("history {history}, session {session}, seed {}", random.0);
            let (store, notices) = Store::open_locked(&setup, dir(), None, Derived::AsItIs).unwrap();
            assert!(notices.is_empty(), "{context}: {notices:?}");
            past = check(&store, &past, must).unwrap_or_else(|e| panic!("{context}: {e}"));
            disk.told(store.synced().0);
            let (steps, close) = (random.below(40), random.once_in(2));
            work(&disk, &store, &mut past, &mut random, steps, close).unwrap();
            drop(store);
            machine = disk.machine();
            if random.once_in(2) {
                machine.crash(&mut Random(random.next()));
                boot += 1;
            }
            let told = disk
                .journal()
                .into_iter()
                .filter_map(|op| if let Op::Told(at) = op { Some(at) } else { None });
            must = Must::Below(told.max().unwrap_or(0));
            index = copy(index.path());
        }
    }
}

/// The files of an index as the next process finds them: in this one sled never lets go of them.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for file in crate::fs::files_below(from).unwrap() {
        let target = to.path().join(file.strip_prefix(from).unwrap());
        crate::fs::create_dir(target.parent().unwrap()).unwrap();
        crate::fs::write_scratch(&target, &crate::fs::read(&file).unwrap()).unwrap();
    }
    to
}

/// What was tried.
#[derive(Default)]
struct Tried {
    histories: u64,
    sessions: u64,
    crashes: u64,
    cuts: u64,
    nested: u64,
}

/// A machine after a crash, and what is known of it.
#[derive(Clone)]
struct Left {
    machine: Machine,
    boot: u64,
    past: Past,
    must: Must,
}

/// One history and what is the same for all its sessions.
struct Trial<'a> {
    random: Random,
    segment: u64,
    calm: bool,
    tried: &'a mut Tried,
    /// What led here, for the report.
    path: Vec<String>,
}

fn history(seed: u64, tried: &mut Tried) {
    let mut random = Random(seed);
    tried.histories += 1;
    let segment = *random.pick(&[2500, 5000, 20_000]);
    let calm = !random.once_in(4);
    let sessions = 1 + random.below(4);
    let mut left = Left { machine: home(), boot: 1, past: Past::default(), must: Must::All };
    let mut trial =
        Trial { random, segment, calm, tried, path: vec![format!("again: PIPE_TEST_HISTORY={seed}")] };
    for _ in 0..sessions {
        left = trial.session(left);
    }
}

/// A machine with a home and nothing in it.
pub(super) fn home() -> Machine {
    let disk = CrashDisk::default();
    let project = dir().parent().unwrap();
    disk.create_dir(project).unwrap();
    for above in project.ancestors().skip(1) {
        disk.sync_dir(above).unwrap();
    }
    disk.machine()
}

impl Trial<'_> {
    fn setup(&self, disk: &CrashDisk, boot: u64) -> Setup {
        setup(Arc::new(disk.clone()), boot, self.segment, self.calm)
    }

    /// A process that works, and crashes at some of its operations; what one of them left.
    fn session(&mut self, left: Left) -> Left {
        self.tried.sessions += 1;
        self.path.push(format!("session of {} operations before", self.tried.sessions));
        let disk = CrashDisk::on(left.machine.clone());
        let (store, there) = self.open(&disk, &left);
        let opened = disk.journal().len();
        let mut past = there;
        let steps = 2 + self.random.below(30);
        let ends = self.random.below(4);
        let worked = work(&disk, &store, &mut past, &mut self.random, steps, ends < 3);
        worked.unwrap_or_else(|e| panic!("{e} {}", self.story(&disk.journal())));
        drop(store);
        let journal = disk.journal();
        let at_crash = |k: usize, machine: Machine| {
            if k < opened {
                return Left { machine, ..left.clone() };
            }
            let told =
                journal[..k].iter().filter_map(|op| if let Op::Told(at) = op { Some(*at) } else { None });
            let told = told.max().unwrap_or(0);
            Left { machine, boot: left.boot, past: past.clone(), must: Must::Below(told) }
        };
        let mut points: Vec<usize> =
            (0..12).map(|_| self.random.below(journal.len() as u64 + 1) as usize).collect();
        points.push(journal.len());
        points.sort_unstable();
        let next = *self.random.pick(&points);
        let mut chosen = None;
        let (mut machine, mut done) = (left.machine.clone(), 0);
        for k in points {
            journal[done..k].iter().for_each(|op| machine.apply(op));
            done = k;
            for _ in 0..3 {
                let before = at_crash(k, machine.clone());
                self.path.push(format!("crash at operation {k}\n{}", told_story(&journal, k)));
                let after = self.crash(before);
                self.look(after.clone(), 2);
                self.path.pop();
                if k == next {
                    chosen = Some(after);
                }
            }
        }
        self.path.pop();
        chosen.unwrap_or(left)
    }

    /// Kills the process, or cuts the power.
    fn crash(&mut self, mut left: Left) -> Left {
        self.tried.crashes += 1;
        if self.random.once_in(4) {
            self.say("a kill");
        } else {
            let seed = self.random.next();
            left.machine.crash(&mut Random(seed));
            left.boot += 1;
            self.tried.cuts += 1;
            self.say(&format!("a power cut, seed {seed}"));
        }
        left
    }

    fn say(&mut self, what: &str) {
        if let Some(last) = self.path.last_mut() {
            last.push_str(what);
        }
    }

    fn open(&self, disk: &CrashDisk, left: &Left) -> (Arc<Store>, Past) {
        let opened = Store::open_locked(&self.setup(disk, left.boot), dir(), None, Derived::AsItIs);
        let (store, notices) = opened.unwrap_or_else(|e| panic!("{e} {}", self.story(&disk.journal())));
        assert!(notices.is_empty(), "{notices:?} {}", self.story(&disk.journal()));
        let there = check(&store, &left.past, left.must);
        let there = there.unwrap_or_else(|e| {
            panic!("{e}\n{left_must:?} {}", self.story(&disk.journal()), left_must = left.must)
        });
        let scratch = disk.list(&dir().join("tmp")).unwrap();
        assert!(scratch.is_empty(), "left over in tmp: {scratch:?}");
        let tables = disk.list(&dir().join("tables")).unwrap();
        assert!(
            tables.iter().all(|name| Path::new(name).extension().is_some_and(|e| e == "tab")),
            "{tables:?}"
        );
        // What a start has shown, it must show again.
        disk.told(store.synced().0);
        (store, there)
    }

    /// Opens what a crash left and compares it; now and then it crashes again meanwhile, or a little later.
    fn look(&mut self, mut left: Left, depth: u32) {
        if self.random.once_in(8) {
            let gone = *self.random.pick(&["index", "tables", "tmp"]);
            lose(&mut left.machine, gone);
            self.path.push(format!("{gone} lost"));
        } else {
            self.path.push(String::new());
        }
        let disk = CrashDisk::on(left.machine.clone());
        let (store, there) = self.open(&disk, &left);
        let opened = disk.journal().len();
        let mut past = there;
        let goes_on = depth > 0 && self.random.once_in(6);
        if goes_on {
            let close = self.random.once_in(2);
            let worked = work(&disk, &store, &mut past, &mut self.random, 4, close);
            worked.unwrap_or_else(|e| panic!("{e} {}", self.story(&disk.journal())));
        }
        drop(store);
        if depth > 0 && (goes_on || self.random.once_in(3)) {
            let journal = disk.journal();
            let k = self.random.below(journal.len() as u64 + 1) as usize;
            let mut machine = left.machine.clone();
            journal[..k].iter().for_each(|op| machine.apply(op));
            let told =
                journal[..k].iter().filter_map(|op| if let Op::Told(at) = op { Some(*at) } else { None });
            let before = match told.max() {
                Some(told) if k >= opened => Left { machine, boot: left.boot, past, must: Must::Below(told) },
                _ => Left { machine, ..left },
            };
            self.path.push(format!("crash again at operation {k}\n{}", told_story(&journal, k)));
            self.tried.nested += 1;
            let after = self.crash(before);
            self.look(after, depth - 1);
            self.path.pop();
        }
        self.path.pop();
    }

    /// What led to a failure, for whoever has to understand it.
    fn story(&self, journal: &[Op]) -> String {
        format!("\n{}\nthen, opening:\n{}", self.path.join("\n"), told_story(journal, journal.len()))
    }
}

/// Works for a while; what becomes durable is told to the disk.
pub(super) fn work(
    disk: &CrashDisk,
    store: &Arc<Store>,
    past: &mut Past,
    random: &mut Random,
    steps: u64,
    close: bool,
) -> Result<()> {
    let told = disk.clone();
    store.on_sync(Box::new(move |synced| {
        if let Ok(position) = synced {
            told.told(position.0);
        }
    }));
    Session::begin(store, past, random)?.steps(steps)?;
    if close { store.close() } else { Ok(()) }
}

fn lose(machine: &mut Machine, folder: &str) {
    let gone: Vec<PathBuf> =
        machine.paths().into_iter().filter(|path| path.starts_with(dir().join(folder))).collect();
    gone.iter().for_each(|path| machine.lose(path));
}

/// The operations up to one of them, a line each.
fn told_story(journal: &[Op], to: usize) -> String {
    let mut text = String::new();
    let from = to.saturating_sub(60);
    for (i, op) in journal[..to].iter().enumerate().skip(from) {
        let _ = match op {
            Op::Write(file, offset, bytes) => {
                writeln!(text, "  {i} write file {file} at {offset}: {}", bytes.len())
            }
            other => writeln!(text, "  {i} {other:?}"),
        };
    }
    text
}
