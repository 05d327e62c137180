//! The log as its callers see it, on real files and on a disk that fails when told.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;

use super::*;
use crate::model::action::{Output, Place};
use crate::model::document::DocNumber;
use crate::store::disk::{Access, DiskFile, RealDisk};
use crate::store::frame::tests::{SALT, small_act, story};
use crate::time::Millis;

pub(crate) const FORMAT: Format = Format { id: 77, salt: SALT };

pub(crate) fn run(number: u32) -> Run {
    Run {
        number,
        start: Millis(1),
        command: vec!["pipe".to_owned()],
        version: "0".to_owned(),
        pipelinefile: Digest([0; 32]),
        host: String::new(),
    }
}

/// Groups are closed by `flush` alone.
pub(crate) fn by_hand() -> Limits {
    Limits { frames: u32::MAX, bytes: usize::MAX, delay: Duration::from_secs(3600), ..Limits::default() }
}

pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path, limits: Limits, on_sync: OnSync) -> Result<Log> {
    let segments = Segments::new(disk.clone(), dir, FORMAT);
    let start = match recover::clean_end(&segments)? {
        Some(start) => start,
        None => recover::replay(&segments, Position(0), None, &mut |_, _| {})?.start,
    };
    Log::open(disk, dir, FORMAT, &start, limits, on_sync)
}

pub(crate) fn open(dir: &Path, limits: Limits) -> Log {
    open_on(Arc::new(RealDisk), dir, limits, Box::new(|_, _| {})).unwrap()
}

pub(crate) fn all(dir: &Path) -> (Vec<(Position, u32, Frame)>, Replay) {
    let segments = Segments::new(Arc::new(RealDisk), dir, FORMAT);
    let mut frames = Vec::new();
    let replay = recover::replay(&segments, Position(0), None, &mut |run, frame| {
        frames.push((frame.position, run, frame.decode().unwrap()));
    });
    (frames, replay.unwrap())
}

fn place(act: &Act) -> (PayloadPlace, u64, Digest) {
    match &act.outcome {
        Outcome::Output(Output { place: Place::Payload(place), length, digest, .. }) => {
            (*place, *length, *digest)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_appended_is_read_back_before_and_after_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), by_hand());
    log.begin_run(run(5)).unwrap();
    let mut given = Vec::new();
    for i in 0..10 {
        let bytes = format!("output {i}").into_bytes();
        let act = log.append(&Frame::Act(small_act(i, &bytes)), Some(&bytes)).unwrap();
        let told = log.append(&Frame::Story(story(i)), None).unwrap();
        given.push((act, told, bytes));
    }
    let check = |log: &Log| {
        for (i, (act, told, bytes)) in given.iter().enumerate() {
            let read = log.read_act(*act).unwrap().unwrap();
            assert_eq!(read.doc, DocNumber(i as u32));
            let (place, length, digest) = place(&read);
            assert_eq!(log.read_payload(place, length, &digest).unwrap().as_ref(), Some(bytes));
            assert_eq!(log.read_payload(place, length, &Digest([0; 32])).unwrap(), None);
            assert_eq!(log.read_story(*told).unwrap(), Some(story(i as u32)));
            assert_eq!(log.read_act(*told).unwrap(), None);
            assert_eq!(log.read_frame(Position(act.0 + 1)).unwrap(), None);
        }
    };
    check(&log);
    assert!(log.synced() < given[0].0);
    log.flush().unwrap();
    assert!(log.synced() > given[9].1);
    check(&log);
    log.close().unwrap();
    drop(log);

    let (frames, replay) = all(dir.path());
    assert!(replay.start.is_clean() && replay.damage.is_empty());
    assert!(matches!(&frames[0], (_, 5, Frame::Run(first)) if *first == run(5)));
    let positions: Vec<Position> = frames[1..].iter().map(|(position, ..)| *position).collect();
    let given: Vec<Position> = given.iter().flat_map(|(act, told, _)| [*act, *told]).collect();
    assert_eq!(positions[..20], given);
    assert!(matches!(frames[21], (_, 5, Frame::Close(_))));
}

#[test]
fn a_run_that_appends_nothing_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), Limits::default());
    log.begin_run(run(1)).unwrap();
    log.flush().unwrap();
    log.close().unwrap();
    assert_eq!(crate::fs::files_below(dir.path()).unwrap(), Vec::<PathBuf>::new());
    assert!(log.append(&Frame::Story(story(1)), None).is_err(), "closed");
}

#[test]
fn a_closed_log_goes_on_in_its_segment_and_an_unclosed_one_in_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..2 {
        let log = open(dir.path(), by_hand());
        log.begin_run(run(i)).unwrap();
        log.append(&Frame::Story(story(i)), None).unwrap();
        log.close().unwrap();
    }
    let log = open(dir.path(), by_hand());
    log.append(&Frame::Story(story(2)), None).unwrap();
    drop(log);
    assert!(!all(dir.path()).1.start.is_clean());
    assert_eq!(all(dir.path()).1.start.end.segment(), 1);
    // Nothing is appended, but the end is made clean.
    let log = open(dir.path(), by_hand());
    log.close().unwrap();
    let segments = Segments::new(Arc::new(RealDisk), dir.path(), FORMAT);
    assert_eq!(segments.numbers().unwrap(), [1, 2]);
    let start = recover::clean_end(&segments).unwrap().unwrap();
    assert_eq!(start.closed, Some(Position::new(2, FIRST_GROUP)));

    let (frames, replay) = all(dir.path());
    assert!(replay.start.is_clean() && replay.damage.is_empty() && replay.start.torn.is_none());
    let told: Vec<u32> = frames
        .iter()
        .filter_map(|(.., frame)| if let Frame::Story(story) = frame { Some(story.doc.0) } else { None })
        .collect();
    assert_eq!(told, [0, 1, 2]);
    assert!(frames.is_sorted_by_key(|(position, ..)| *position));
}

#[test]
fn small_segments_and_buffers_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { frames: 3, buffer: 700, segment: 2000, ..Limits::default() };
    let log = open(dir.path(), limits);
    log.begin_run(run(1)).unwrap();
    let mut given = Vec::new();
    for i in 0..200u32 {
        let bytes = vec![i as u8; (i as usize * 37) % 500];
        given.push((log.append(&Frame::Act(small_act(i, &bytes)), Some(&bytes)).unwrap(), bytes));
    }
    let large = vec![0; 3000];
    let error = log.append(&Frame::Act(small_act(0, &large)), Some(&large)).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    log.close().unwrap();
    let (frames, replay) = all(dir.path());
    assert!(replay.start.is_clean() && replay.damage.is_empty());
    assert!(replay.start.end.segment() > 20);
    for file in crate::fs::files_below(&dir.path().join("segments")).unwrap() {
        assert!(crate::fs::read(&file).unwrap().len() <= 2000);
    }
    let acts: Vec<_> = frames.iter().filter(|(.., frame)| matches!(frame, Frame::Act(_))).collect();
    assert_eq!(acts.len(), 200);
    for ((position, _, frame), (given, bytes)) in acts.into_iter().zip(&given) {
        assert_eq!(position, given);
        let (place, length, digest) = frame.payload().unwrap();
        assert_eq!(log.read_payload(place, length, &digest).unwrap().as_ref(), Some(bytes));
    }
}

#[test]
fn two_threads_append_and_every_position_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { frames: 16, buffer: 4000, segment: 20_000, ..Limits::default() };
    let log = open(dir.path(), limits);
    log.begin_run(run(1)).unwrap();
    let append = |from: u32| {
        let frames: Vec<(Frame, Option<&[u8]>)> =
            (from..from + 300).map(|i| (Frame::Story(story(i)), None)).collect();
        let mut positions = log.append_many(&frames[..150]).unwrap();
        positions.extend(frames[150..].iter().map(|(frame, _)| log.append(frame, None).unwrap()));
        positions
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(|| append(0));
        let two = scope.spawn(|| append(1000));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert!(one.is_sorted() && two.is_sorted());
    log.flush().unwrap();
    for (first, positions) in [(0, one), (1000, two)] {
        for (i, position) in positions.into_iter().enumerate() {
            assert_eq!(log.read_story(position).unwrap().unwrap().doc.0, first + i as u32);
        }
    }
    let mut count = 0;
    let replay = log.replay(Position(0), &mut |_, _| count += 1).unwrap();
    assert_eq!((count, replay.frames, replay.damage.len()), (601, 601, 0));
}

#[test]
fn a_frame_that_could_never_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), by_hand());
    let act = Frame::Act(small_act(1, b"1234"));
    assert!(log.append(&act, Some(b"123")).is_err());
    assert!(log.append(&Frame::Story(story(1)), Some(b"123")).is_err());
    assert!(log.append(&Frame::Run(run(1)), None).is_err());
    let names = vec![String::new(); 129];
    let names = frame::Names { directory: String::new(), first: DocNumber(0), names };
    assert!(log.append(&Frame::Names(names), None).is_err());
}

/// A disk whose files fail at the n-th call of a kind.
struct FailingDisk {
    writes: AtomicUsize,
    syncs: AtomicUsize,
    error: i32,
    /// Keeps the commit thread in its first sync until something is sent.
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl FailingDisk {
    fn new(writes: usize, syncs: usize, error: i32) -> Arc<Self> {
        let (writes, syncs) = (AtomicUsize::new(writes), AtomicUsize::new(syncs));
        Arc::new(FailingDisk { writes, syncs, error, gate: Mutex::new(None) })
    }
}

struct Handle(Arc<FailingDisk>);
struct FailingFile(Arc<FailingDisk>, Arc<dyn DiskFile>);

fn count_down(counter: &AtomicUsize, error: i32) -> io::Result<()> {
    match counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
        Ok(1) => Err(io::Error::from_raw_os_error(error)),
        _ => Ok(()),
    }
}

impl Disk for Handle {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FailingFile(self.0.clone(), RealDisk.create(path)?)))
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(FailingFile(self.0.clone(), RealDisk.open(path, access)?)))
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(path)
    }
    fn size(&self, path: &Path) -> io::Result<u64> {
        RealDisk.size(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }
}

impl DiskFile for FailingFile {
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        count_down(&self.0.writes, self.0.error)?;
        self.1.write_at(parts, offset)
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.read_at(buffer, offset)
    }
    fn sync(&self) -> io::Result<()> {
        if let Some(gate) = self.0.gate.lock().unwrap().take() {
            gate.recv().unwrap();
        }
        count_down(&self.0.syncs, self.0.error)?;
        self.1.sync()
    }
    fn size(&self) -> io::Result<u64> {
        self.1.size()
    }
    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn a_failed_write_or_sync_poisons_the_log_and_nothing_announced_is_lost() {
    // The first write and sync are those of the segment's header.
    for (writes, syncs, kept) in [(1, 0, 0), (0, 1, 0), (2, 0, 0), (0, 2, 0), (3, 0, 1), (0, 3, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let (send, told) = mpsc::channel();
        let send =
            Box::new(move |position, result: Result<()>| send.send((position, result.is_ok())).unwrap());
        let disk = Arc::new(Handle(FailingDisk::new(writes, syncs, EIO)));
        let log = open_on(disk, dir.path(), by_hand(), send).unwrap();
        let mut synced = Vec::new();
        let mut error = None;
        for i in 0..3 {
            let done = log.append(&Frame::Story(story(i)), None).and_then(|position| {
                log.flush()?;
                Ok(position)
            });
            match done {
                Ok(position) => synced.push(position),
                Err(e) => error = Some(e),
            }
        }
        let error = error.unwrap();
        assert!(error.to_string().contains("input/output error"), "{error}");
        assert!(log.append(&Frame::Story(story(9)), None).is_err());
        assert!(log.flush().is_err() || log.synced() > Position::new(1, FIRST_GROUP));
        assert!(log.close().is_err());
        let told: Vec<bool> = told.try_iter().map(|(_, is_ok)| is_ok).collect();
        assert_eq!(told, [vec![true; kept], vec![false]].concat());
        assert_eq!(synced.len(), kept);

        let (frames, replay) = all(dir.path());
        // Where not even the header of a segment was written, there is none.
        assert_eq!(replay.start.is_clean(), writes == 1);
        assert!(replay.damage.is_empty());
        let found: Vec<Position> = frames.iter().map(|(position, ..)| *position).collect();
        assert!(found.starts_with(&synced));
    }
}

#[test]
fn a_full_disk_ends_the_build_but_keeps_what_is_in_hand() {
    let dir = tempfile::tempdir().unwrap();
    for writes in [1, 2, 3] {
        let dir = dir.path().join(writes.to_string());
        RealDisk.create_dir(&dir).unwrap();
        let disk = Arc::new(Handle(FailingDisk::new(writes, 0, ENOSPC)));
        let log = open_on(disk, &dir, by_hand(), Box::new(|_, _| {})).unwrap();
        let mut kept = 0;
        let error = loop {
            match log.append(&Frame::Story(story(kept)), None) {
                Ok(_) => log.flush().unwrap(),
                Err(error) => break error,
            }
            kept += 1;
        };
        assert!(error.hints[0].starts_with("free some space"), "{error:?}");
        assert!(!dir.join("RESERVE").exists());
        log.close().unwrap();
        let (frames, replay) = all(&dir);
        assert!(replay.start.is_clean());
        assert_eq!(frames.len() as u32, kept + 1);
    }
}

#[test]
fn append_waits_while_both_buffers_are_full() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FailingDisk::new(0, 0, EIO);
    let (open_gate, gate) = mpsc::channel();
    *disk.gate.lock().unwrap() = Some(gate);
    let limits = Limits { frames: 1, buffer: 300, ..by_hand() };
    let log = open_on(Arc::new(Handle(disk)), dir.path(), limits, Box::new(|_, _| {})).unwrap();
    let appended = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..20 {
                log.append(&Frame::Story(story(i)), None).unwrap();
                appended.fetch_add(1, Ordering::SeqCst);
            }
        });
        // Both buffers are full when the disk hangs and as much waits as may.
        while log.shared.lock().filling.content_bytes() < 200 || log.shared.lock().writing.is_none() {
            std::thread::yield_now();
        }
        assert!(appended.load(Ordering::SeqCst) < 20);
        assert_eq!(log.synced(), Position(0));
        open_gate.send(()).unwrap();
    });
    log.flush().unwrap();
    assert_eq!(log.replay(Position(0), &mut |_, _| {}).unwrap().frames, 20);
}
