//! The functions that run once or more for every document or action, each alone: `cargo bench` (all), `cargo bench frame`
//! (those whose name says so). `bench/run` measures whole builds; docs/design/performance.md says what matters.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run ends")]
#![expect(clippy::disallowed_methods, reason = "benchmarks make their own files")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use pipelinefile::engine::scheduler::{Command, Scheduler, TargetLimits, Verdict};
use pipelinefile::error::Result;
use pipelinefile::hash::Digest;
use pipelinefile::model::action::{
    Act, ActionKey, KeyInput, Outcome, Output, Place, Position, Recipe, State, Story, StoryEntry,
};
use pipelinefile::model::document::{DocId, DocNumber, Meta, Stamp};
use pipelinefile::model::pipeline::{Source, SourceIx, SourcePath, TargetIx};
use pipelinefile::plan::family::{Families, Family, FamilyIx, Input, Origin, Step};
use pipelinefile::plan::key::{SetRoot, action_key, recipe_digest};
use pipelinefile::probe;
use pipelinefile::scan::{Before, Known, Request, Roots, restamp, scan};
use pipelinefile::store::Entry;
use pipelinefile::store::disk::RealDisk;
use pipelinefile::store::frame::{Found, Frame, Seal, put_frame, read};
use pipelinefile::store::index::{Engine, Flags, Home, Index, panics_are_caught};
use pipelinefile::store::tables::Finder;
use pipelinefile::time::Millis;

const SALT: u64 = 0x1122_3344_5566_7788;
const OWN: Position = Position((3 << 28) + 70_000);

fn input(byte: u8) -> KeyInput {
    KeyInput { digest: Some(Digest([byte; 32])), facts: r#"{"ext":"txt"}"#.to_owned() }
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key");
    let recipe = Recipe {
        shape: "each".to_owned(),
        module: "words".to_owned(),
        program: vec![("command".to_owned(), "python modules/words.py words".to_owned())],
        files: vec![("modules/words.py".to_owned(), Digest([1; 32]))],
        params: vec![("min_len".to_owned(), "3".to_owned())],
        with: Vec::new(),
    };
    group.bench_function("recipe", |bencher| bencher.iter(|| recipe_digest(black_box(&recipe))));
    let (digest, inputs) = (recipe_digest(&recipe), [input(2)]);
    group.bench_function("action", |bencher| bencher.iter(|| action_key(&digest, black_box(&inputs))));
    group.bench_function("2 KiB of output", |bencher| {
        let bytes = vec![b'x'; 2048];
        bencher.iter(|| Digest::of(black_box(&bytes)));
    });
    group.throughput(Throughput::Elements(1000));
    group.bench_function("root of 1,000 members", |bencher| {
        let ids: Vec<String> = (0..1000).map(|number| format!("inbox/2024/{number:06}.txt")).collect();
        bencher.iter(|| {
            let mut root = SetRoot::default();
            ids.iter().for_each(|id| root.add(Some(id), &digest, r#"{"ext":"txt"}"#));
            root.finish()
        });
    });
}

fn act() -> Frame {
    Frame::Act(Act {
        key: 0x0102_0304_0506_0708,
        run: 2,
        recipe: Position::new(1, 5000),
        loads: Some(Position::new(1, 9000)),
        doc: DocNumber(200_000),
        mark: 0,
        inputs: vec![input(3)],
        outcome: Outcome::Output(Output {
            digest: Digest([4; 32]),
            length: 900,
            ext: "txt".to_owned(),
            place: Place::Blob,
            meta: String::new(),
        }),
        start: Millis(0x019a_bcde_f012),
        duration: 1500,
        worker: 3,
        attempt: 1,
        log: None,
        extras: String::new(),
    })
}

fn story() -> Frame {
    let entry = |back: u64| StoryEntry {
        state: State::Done,
        act: Some(Position(OWN.0 - back)),
        published: true,
        note: String::new(),
    };
    Frame::Story(Story {
        doc: DocNumber(200_000),
        run: 2,
        names: Position::new(1, 300),
        definition: Position::new(1, 6000),
        previous: None,
        stamp: Stamp(0xa1a2_a3a4_a5a6_a7a8),
        content: Some(Digest([5; 32])),
        settled: true,
        racy: false,
        gone: false,
        entries: (1..=5).map(|number| entry(number * 120)).collect(),
    })
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    let seal = Seal::new(SALT);
    for (name, frame) in [("act", act()), ("story of five targets", story())] {
        let (mut content, mut out) = (Vec::new(), Vec::new());
        group.bench_function(format!("encode {name}"), |bencher| {
            bencher.iter(|| {
                content.clear();
                out.clear();
                black_box(&frame).encode(OWN, None, &mut content);
                put_frame(&mut out, seal, OWN, &content);
                out.len()
            });
        });
        group.bench_function(format!("decode {name}"), |bencher| {
            bencher.iter(|| match read(black_box(&out), seal, OWN) {
                Found::Frame(found, _) => found.decode(),
                _ => None,
            });
        });
    }
}

fn entry(number: u32) -> Entry {
    Entry {
        name: format!("doc{number:07}.txt"),
        flags: Flags { settled: true, ..Flags::default() },
        stamp: Stamp(u64::from(number) << 40),
        doc: DocNumber(number),
        definition: Position::new(1, 300),
        story: Position::new(1, 5000 + 90 * number),
    }
}

fn pages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page");
    let entries: Vec<Entry> = (0..100).map(entry).collect();
    let page = probe::page_of(b"docs\0a\0\0", &entries);
    group.throughput(Throughput::Elements(100));
    group.bench_function("encode 100 entries", |bencher| {
        bencher.iter(|| probe::page_of(b"docs\0a\0\0", black_box(&entries)));
    });
    group.bench_function("decode 100 entries", |bencher| {
        bencher.iter(|| probe::page_entries(b"docs\0a\0\0", black_box(&page)));
    });
    panics_are_caught();
    let folder = tempfile::tempdir().unwrap();
    let home = Home {
        dir: folder.path().to_owned(),
        store: "store".to_owned(),
        boot: "boot".to_owned(),
        disk: Arc::new(RealDisk),
        engine: Engine::Sled,
    };
    let index = Index::fresh(&home).unwrap();
    let all: Vec<Entry> = (0..10_000).map(entry).collect();
    index.put("docs", "a", &all).unwrap();
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("read a directory of 10,000", |bencher| {
        bencher.iter(|| {
            let mut seen = 0;
            let visit = &mut |entry: &Entry| {
                seen += u64::from(entry.flags.settled);
                false
            };
            index.visit("docs", "a", visit).unwrap();
            seen
        });
    });
    group.throughput(Throughput::Elements(100));
    let mut round = 0;
    group.bench_function("merge 100 changes into 10,000", |bencher| {
        bencher.iter_batched(
            || {
                round += 1;
                let changed = |number: u32| Entry { stamp: Stamp(round), ..entry(number * 100) };
                (0..100).map(changed).collect::<Vec<_>>()
            },
            |changed| index.put("docs", "a", &changed).unwrap(),
            BatchSize::SmallInput,
        );
    });
    drop(index);
}

/// What was there before: the documents of the one directory, as a first scan found them.
struct Was(Vec<Known>);

impl Before for Was {
    fn directory(&self, _: &str, dir: &str) -> Result<Vec<Known>> {
        Ok(if dir.is_empty() { self.0.clone() } else { Vec::new() })
    }

    fn directories(&self, _: &str) -> Result<Vec<String>> {
        Ok(vec![String::new()])
    }

    fn documents(&self, _: &str) -> Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn scans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    let folder = tempfile::tempdir().unwrap();
    for number in 0..1000 {
        std::fs::write(folder.path().join(format!("doc{number:07}.txt")), "x").unwrap();
    }
    let source = Source {
        name: "docs".to_owned(),
        paths: vec![SourcePath { written: "docs".to_owned(), path: folder.path().to_owned() }],
        include: Vec::new(),
        exclude: Vec::new(),
        rows: None,
        project: None,
    };
    let roots = Roots::open(&source);
    let (cancel, seen) = (AtomicBool::new(false), AtomicU64::new(0));
    let look = |before: &dyn Before| {
        scan(&Request {
            source: "docs",
            roots: &roots,
            salt: SALT,
            before,
            is_current: &|_| true,
            accept: &|_| true,
            prune: &|_| false,
            same_rules: true,
            threads: 1,
            cancel: &cancel,
            seen: &seen,
            changes: None,
        })
        .unwrap()
    };
    group.throughput(Throughput::Elements(1000));
    let known = (0..1000).map(|number| {
        let name = format!("doc{number:07}.txt");
        let stamp = restamp(&roots, &name, SALT).unwrap();
        Known { name, stamp, number: DocNumber(number), trusted: true, extra: 0, tag: 0 }
    });
    let was = Was(known.collect());
    assert_eq!(look(&was).counts.current, 1000);
    group.bench_function("1,000 unchanged files", |bencher| bencher.iter(|| look(&was).counts));
    group.bench_function("1,000 new files", |bencher| bencher.iter(|| look(&Was(Vec::new())).counts));
}

fn schedules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scheduler");
    let step = |target: usize| {
        let input = target.checked_sub(1).map_or(Input::Origin, Input::Step);
        Step::bare(TargetIx(target), vec![input], 0)
    };
    let family = Family {
        origin: Origin::Source(SourceIx(0)),
        name: "docs".to_owned(),
        steps: (0..5).map(step).collect(),
        feeds_set: false,
        splits: Vec::new(),
        below: Vec::new(),
        handed: std::collections::BTreeSet::new(),
        given: false,
    };
    let families = Families { list: vec![family], strata: vec![0; 5] };
    let limits = [TargetLimits { window: 64, ..TargetLimits::default() }; 5];
    group.throughput(Throughput::Elements(5 * 256));
    group.bench_function("256 documents through five targets", |bencher| {
        bencher.iter(|| {
            let mut scheduler = Scheduler::new(&families, &limits, 2);
            for _ in 0..256 {
                let doc = scheduler.open(FamilyIx(0), 0, &[]);
                scheduler.ready(doc);
            }
            let (mut number, mut closed) = (0_u64, 0);
            while let Some(command) = scheduler.next_command() {
                match command {
                    Command::Decide(ticket) => {
                        number += 1;
                        let mut key = [0; 32];
                        key[..8].copy_from_slice(&number.to_le_bytes());
                        scheduler.decided(ticket, Verdict::Run(ActionKey(Digest(key))));
                    }
                    Command::Send(worker, tickets) => {
                        tickets
                            .iter()
                            .for_each(|ticket| scheduler.answered(worker, *ticket, State::Done, 100));
                    }
                    Command::Close(doc) => {
                        closed += 1;
                        scheduler.closed(doc);
                    }
                    Command::Start(..) | Command::Children(_) | Command::End(_) => {}
                }
            }
            assert_eq!(closed, 256);
        });
    });
}

fn manifests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("manifest");
    let id = DocId::parse("tokens/2024/doc0000001.txt");
    let facts: Meta =
        [("ext".to_owned(), "json".into()), ("meta.lang".to_owned(), "de".into())].into_iter().collect();
    let bytes: Arc<[u8]> = serde_json::json!({ "words": 300, "lines": 20 }).to_string().into_bytes().into();
    let mut out = Vec::new();
    group.bench_function("line", |bencher| {
        bencher.iter(|| {
            out.clear();
            probe::manifest_line(&id, Digest([7; 32]), &facts, Arc::clone(&bytes), &mut out).unwrap();
            out.len()
        });
    });
}

fn tables(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    let folder = tempfile::tempdir().unwrap();
    let (mut finder, _) = Finder::open(Arc::new(RealDisk), folder.path(), SALT).unwrap();
    let place = |number: u64| Position((1 << 28) + number * 100);
    // Bits as those of digests; a hundred thousand keys in tables, a thousand in memory.
    let key = |number: u64| u64::from_le_bytes(Digest::of(&number.to_le_bytes()).0[..8].try_into().unwrap());
    for number in 0..101_000_u64 {
        finder.insert(key(number), place(number));
        if number % 10_000 == 9_999 {
            finder.write_table(place(number + 1)).unwrap();
        }
    }
    let (hits, misses): (Vec<u64>, Vec<u64>) =
        ((0..1024).map(|n| key(n * 90)).collect(), (0..1024).map(|n| key(1 << 40 | n)).collect());
    for (name, keys) in [("hit", hits), ("miss", misses)] {
        let mut next = 0;
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                next = (next + 1) % keys.len();
                finder.candidates(black_box(keys[next]), &mut |_| true).ok()
            });
        });
    }
}

criterion_group! {
    name = hot;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = keys, frames, pages, scans, schedules, manifests, tables
}
criterion_main!(hot);
