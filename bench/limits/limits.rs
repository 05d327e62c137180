//! What the machine can do at all, where Rust is needed to ask it: with BLAKE3, and with the store itself beside it.
//!
//!     limits hash DIR                  two threads: readdir, open, fstat, read, BLAKE3, fstat, close
//!     limits append DIR COUNT          COUNT blobs of 4 KiB appended to a file, fdatasync after each thousand
//!     limits store DIR COUNT           the same blobs as results in a store of `pipe`, with records, to its closing
//!     limits frames DIR                every frame of a store's log, read as for a new index
//!
//! Prints the seconds and the count, as `limits.c` does.

#![expect(clippy::unwrap_used, reason = "a limit that cannot be measured ends")]
#![expect(clippy::print_stdout, reason = "it prints what it measured")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use pipelinefile::hash::Digest;
use pipelinefile::model::action::{Act, KeyInput, Outcome, Output, Place, Position, Recipe};
use pipelinefile::model::document::DocNumber;
use pipelinefile::store::disk::RealDisk;
use pipelinefile::store::format::Format;
use pipelinefile::store::recover::replay;
use pipelinefile::store::segment::Segments;
use pipelinefile::store::{Opening, Store};
use pipelinefile::time::Millis;

const BLOB: usize = 4096;
const GROUP: u64 = 1000;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let (what, dir) = (words[1].as_str(), Path::new(&words[2]));
    let count = || words[3].parse().unwrap();
    let began = Instant::now();
    let count = match what {
        "hash" => hash(dir),
        "append" => append(dir, count()),
        "store" => store(dir, count()),
        "frames" => frames(dir),
        _ => panic!("no such limit: {what}"),
    };
    println!("{:.6} {count}", began.elapsed().as_secs_f64());
}

/// Folders that wait for a thread, and how many threads are at work.
type Waiting = (Mutex<(Vec<PathBuf>, usize)>, Condvar);

fn hash(dir: &Path) -> u64 {
    let waiting: Arc<Waiting> = Arc::new((Mutex::new((vec![dir.to_owned()], 0)), Condvar::new()));
    let files = Arc::new(AtomicU64::new(0));
    let thread = |_| {
        let (waiting, files) = (Arc::clone(&waiting), Arc::clone(&files));
        std::thread::spawn(move || hash_folders(&waiting, &files))
    };
    let threads: Vec<_> = (0..2).map(thread).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    files.load(Ordering::Relaxed)
}

fn hash_folders((waiting, more): &Waiting, files: &AtomicU64) {
    let mut buffer = Vec::new();
    let mut held = waiting.lock().unwrap();
    loop {
        held = more.wait_while(held, |(folders, at_work)| folders.is_empty() && *at_work > 0).unwrap();
        let Some(folder) = held.0.pop() else { return };
        held.1 += 1;
        drop(held);
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.lock().unwrap().0.push(entry.path());
                more.notify_one();
                continue;
            }
            let mut file = File::open(entry.path()).unwrap();
            let before = file.metadata().unwrap();
            buffer.clear();
            file.read_to_end(&mut buffer).unwrap();
            std::hint::black_box(blake3::hash(&buffer));
            let after = file.metadata().unwrap();
            assert_eq!(before.modified().unwrap(), after.modified().unwrap());
            files.fetch_add(1, Ordering::Relaxed);
        }
        held = waiting.lock().unwrap();
        held.1 -= 1;
        more.notify_all();
    }
}

/// Blobs that are all different.
fn blob(number: u64) -> [u8; BLOB] {
    let mut blob = [b'x'; BLOB];
    blob[..8].copy_from_slice(&number.to_le_bytes());
    blob
}

fn append(dir: &Path, count: u64) -> u64 {
    std::fs::create_dir_all(dir).unwrap();
    let mut file = File::create_new(dir.join("blobs")).unwrap();
    let mut group = Vec::with_capacity(BLOB * GROUP as usize);
    for number in 0..count {
        group.extend_from_slice(&blob(number));
        if (number + 1).is_multiple_of(GROUP) || number + 1 == count {
            file.write_all(&group).unwrap();
            file.sync_data().unwrap();
            group.clear();
        }
    }
    count
}

fn store(dir: &Path, count: u64) -> u64 {
    pipelinefile::store::index::panics_are_caught();
    let Opening::Opened(store, _) = Store::open(dir).unwrap() else { panic!("somebody has the store") };
    store.begin_run(vec!["limits".to_owned()], Digest([0; 32])).unwrap();
    let recipe = Recipe {
        shape: "each".to_owned(),
        module: "blob".to_owned(),
        program: Vec::new(),
        files: Vec::new(),
        params: Vec::new(),
        with: Vec::new(),
    };
    let recipe = store.intern_recipe(&recipe).unwrap();
    for number in 0..count {
        let bytes = blob(number);
        let digest = Digest::of(&bytes);
        let act = Act {
            key: u64::from_le_bytes(digest.0[..8].try_into().unwrap()),
            run: store.run(),
            recipe,
            loads: None,
            doc: DocNumber(number as u32),
            mark: 0,
            inputs: vec![KeyInput { digest: Some(digest), facts: "{}".to_owned() }],
            outcome: Outcome::Output(Output {
                digest,
                length: BLOB as u64,
                ext: "bin".to_owned(),
                place: Place::Blob,
                meta: String::new(),
            }),
            start: Millis(0),
            duration: 0,
            worker: 0,
            attempt: 1,
            log: None,
            extras: String::new(),
        };
        store.add_act(act, Some(&bytes)).unwrap();
    }
    store.flush().unwrap();
    store.close().unwrap();
    count
}

fn frames(dir: &Path) -> u64 {
    let format = Format::read(&RealDisk, dir).unwrap().unwrap();
    let segments = Segments::new(Arc::new(RealDisk), dir, format);
    replay(&segments, Position(0), None, &mut |_, frame| {
        std::hint::black_box(frame.decode());
    })
    .unwrap()
    .frames
}
