//! What is left of a log after every cut and every flip.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::document::DocNumber;
use crate::store::disk::RealDisk;
use crate::store::frame::tests::{small_act, story};
use crate::store::frame::{Frame, Names};
use crate::store::log::Limits;
use crate::store::log::tests::{FORMAT, all, by_hand, open, run};

type Frames = Vec<(Position, u32, Frame)>;

/// Three groups: names; two records with payloads; a record and stories. Closed or not.
fn write(dir: &Path, is_closed: bool) -> Frames {
    let log = open(dir, by_hand());
    log.begin_run(run(1)).unwrap();
    let names = Names { directory: "in".to_owned(), first: DocNumber(0), names: vec!["a".to_owned()] };
    log.append(&Frame::Names(names), None).unwrap();
    log.flush().unwrap();
    for i in 0..2 {
        log.append(&Frame::Act(small_act(i, b"some output")), Some(b"some output")).unwrap();
    }
    log.flush().unwrap();
    log.append(&Frame::Act(small_act(2, b"last output")), Some(b"last output")).unwrap();
    log.append(&Frame::Story(story(1)), None).unwrap();
    log.append(&Frame::Story(story(2)), None).unwrap();
    log.flush().unwrap();
    if is_closed {
        log.close().unwrap();
    }
    drop(log);
    all(dir).0
}

fn segment(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("segments/{number:06}.seg"))
}

/// A copy of a store with other bytes in its first segment.
fn with(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    crate::fs::create_dir(&dir.path().join("segments")).unwrap();
    crate::fs::write_scratch(&segment(dir.path(), 1), bytes).unwrap();
    dir
}

#[test]
fn every_cut_leaves_a_prefix_and_goes_on_in_a_new_segment() {
    let dir = tempfile::tempdir().unwrap();
    let frames = write(dir.path(), false);
    assert_eq!(frames.len(), 7);
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    let mut most = 0;
    for length in 0..bytes.len() {
        let cut = with(&bytes[..length]);
        let (left, replay) = all(cut.path());
        assert!(frames.starts_with(&left), "cut at {length}");
        assert!(left.len() >= most, "a longer file holds no less");
        most = left.len();
        assert!(!replay.start.is_clean() && replay.damage.is_empty(), "cut at {length}: {replay:?}");
        let torn = replay.start.torn.map_or(0, |torn| torn.bytes);
        let end = left.last().map_or(0, |(position, ..)| position.offset());
        assert!(length as u64 - torn >= u64::from(end));

        if length % 7 == 0 || length + 20 > bytes.len() {
            // Going on keeps exactly what was found, now and at every later start.
            let log = open(cut.path(), by_hand());
            log.append(&Frame::Story(story(50)), None).unwrap();
            log.close().unwrap();
            let (later, replay) = all(cut.path());
            assert!(replay.start.is_clean() && replay.damage.is_empty(), "cut at {length}: {replay:?}");
            assert_eq!(later[..left.len()], left[..], "cut at {length}");
            assert_eq!(later.len(), left.len() + 2);
            assert!(later[left.len()].0.segment() > 1);
        }
    }
    assert_eq!(
        most, 4,
        "the last payload misses its end: its record does not count, nor what lies behind it"
    );
}

#[test]
fn a_torn_tail_is_copied_to_the_quarantine_and_the_old_file_stays() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), false);
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    let cut = with(&bytes[..bytes.len() - 1]);
    let torn = all(cut.path()).1.start.torn.unwrap();
    drop(open(cut.path(), by_hand()));
    let name = format!("quarantine/segment-000001-from-{}", torn.at.offset());
    let copy = crate::fs::read(&cut.path().join(name)).unwrap();
    assert_eq!(copy, bytes[torn.at.offset() as usize..bytes.len() - 1]);
    assert_eq!(crate::fs::read(&segment(cut.path(), 1)).unwrap(), bytes[..bytes.len() - 1]);
}

#[test]
fn every_flip_leaves_right_frames_and_what_is_missing_is_reported() {
    for is_closed in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let frames = write(dir.path(), is_closed);
        let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            let (left, replay) = all(with(&flipped).path());
            assert!(left.iter().all(|frame| frames.contains(frame)), "flip at {at}");
            assert!(left.is_sorted_by_key(|(position, ..)| *position));
            let is_reported = !replay.damage.is_empty() || replay.start.torn.is_some();
            assert!(left == frames || is_reported, "flip at {at} is silent");
            // Payloads are proved when they are read.
            let segments = Segments::new(Arc::new(RealDisk), dir.path(), FORMAT);
            for (.., frame) in &left {
                if let Some((place, length, digest)) = frame.payload() {
                    assert!(segments.payload(place, length, &digest).unwrap().is_some());
                }
            }
        }
    }
}

#[test]
fn damage_in_the_middle_costs_its_own_frames_alone() {
    let dir = tempfile::tempdir().unwrap();
    let frames = write(dir.path(), true);
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    for i in 1..frames.len() - 1 {
        let mut flipped = bytes.clone();
        flipped[frames[i].0.offset() as usize + 12] ^= 1;
        let (left, replay) = all(with(&flipped).path());
        let mut rest = frames.clone();
        rest.remove(i);
        assert_eq!(left, rest);
        assert!(replay.start.is_clean());
        assert_eq!(replay.damage.len(), 1);
        assert_eq!(replay.damage[0].from, frames[i].0);
    }
    // The header of the second group: its two records.
    let mut flipped = bytes.clone();
    flipped[frames[2].0.offset() as usize - 10] ^= 1;
    let (left, replay) = all(with(&flipped).path());
    assert_eq!(left, [&frames[..2], &frames[4..]].concat());
    assert_eq!(replay.damage[0].from.offset(), frames[2].0.offset() - 64);
}

#[test]
fn a_zeroed_or_stale_page_is_never_taken_for_frames() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), by_hand());
    for i in 0..400 {
        log.append(&Frame::Act(small_act(i, b"some output")), Some(b"some output")).unwrap();
        if i % 10 == 9 {
            log.flush().unwrap();
        }
    }
    log.close().unwrap();
    let frames = all(dir.path()).0;
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    for page in 0..bytes.len() / 4096 {
        for other in [None, Some((page + 3) % (bytes.len() / 4096))] {
            let mut damaged = bytes.clone();
            let place = page * 4096..(page + 1) * 4096;
            match other {
                None => damaged[place].fill(0),
                Some(other) => damaged[place].copy_from_slice(&bytes[other * 4096..(other + 1) * 4096]),
            }
            let (left, replay) = all(with(&damaged).path());
            assert!(left.iter().all(|frame| frames.contains(frame)));
            assert!(!replay.damage.is_empty());
            assert_eq!(replay.start.is_clean(), page > 0, "a segment without a header is not gone on with");
            assert!(left.len() > 300, "only what was on the page, and its groups: {}", left.len());
        }
    }
}

#[test]
fn from_a_position_on_the_same_frames_come() {
    let dir = tempfile::tempdir().unwrap();
    let mut frames = write(dir.path(), false);
    let log = open(dir.path(), by_hand());
    log.append(&Frame::Story(story(8)), None).unwrap();
    log.close().unwrap();
    frames = [frames, all(dir.path()).0.split_off(7)].concat();
    let segments = Segments::new(Arc::new(RealDisk), dir.path(), FORMAT);
    let ends =
        [Position(0), Position::new(1, 0), Position::new(2, 0), Position::new(2, 64), Position::new(3, 0)];
    for from in frames.iter().map(|(position, ..)| *position).chain(ends) {
        let mut seen = Vec::new();
        let replay = replay(&segments, from, None, &mut |_, frame| seen.push(frame.position)).unwrap();
        let expected: Vec<Position> = frames.iter().map(|frame| frame.0).filter(|at| *at >= from).collect();
        assert_eq!(seen, expected, "from {from:?}");
        assert!(replay.damage.is_empty() && replay.start.is_clean());
    }
    // Up to a position.
    let to = frames[4].0;
    let mut seen = 0;
    let replay = replay(&segments, Position(0), Some(to), &mut |_, _| seen += 1).unwrap();
    assert_eq!((seen, replay.damage), (4, Vec::new()));
}

#[test]
fn a_segment_that_was_never_finished_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let frames = write(dir.path(), false);
    for (number, bytes) in [(2, &b""[..]), (3, &[0; 64]), (4, b"\x93pipeseg")] {
        crate::fs::write_scratch(&segment(dir.path(), number), bytes).unwrap();
    }
    let (left, replay) = all(dir.path());
    assert_eq!(left, frames);
    assert!(!replay.start.is_clean() && replay.damage.is_empty());
    let log = open(dir.path(), by_hand());
    assert_eq!(log.append(&Frame::Story(story(9)), None).unwrap().segment(), 5);
    log.close().unwrap();
    let (later, replay) = all(dir.path());
    assert_eq!(later[..7], frames);
    assert!(replay.start.is_clean() && replay.damage.is_empty(), "{replay:?}");
}

#[test]
fn a_clean_end_is_found_in_a_few_reads_and_a_cut_one_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), true);
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    // The rest of the file is not even looked at.
    let mut hollow = bytes.clone();
    let end = hollow.len();
    hollow[64..end - 96].fill(0);
    let clean = |dir: &Path| clean_end(&Segments::new(Arc::new(RealDisk), dir, FORMAT)).unwrap();
    let start = clean(with(&hollow).path()).unwrap();
    assert_eq!((start.end.offset() as usize, start.run), (end, 1));
    assert_eq!(start.closed.unwrap().offset() as usize, end - 96);
    for damaged in [&bytes[..end - 1], &[&bytes[..], b"x"].concat()] {
        assert!(clean(with(damaged).path()).is_none());
    }
    assert!(clean(tempfile::tempdir().unwrap().path()).unwrap().is_clean(), "an empty store is clean");
}

#[test]
fn a_segment_of_another_store_or_number_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), true);
    let bytes = crate::fs::read(&segment(dir.path(), 1)).unwrap();
    let other = tempfile::tempdir().unwrap();
    crate::fs::create_dir(&other.path().join("segments")).unwrap();
    crate::fs::write_scratch(&segment(other.path(), 2), &bytes).unwrap();
    assert!(all(other.path()).0.is_empty());
    assert!(!all(other.path()).1.start.is_clean());
}

/// What may happen to a file: zeros or a flip somewhere, or its end gone.
#[derive(Clone, Debug)]
enum Harm {
    Flip(u8),
    Zero(usize),
    Cut,
}

fn harm() -> impl Strategy<Value = (u32, usize, Harm)> {
    let harm =
        prop_oneof![any::<u8>().prop_map(Harm::Flip), (1usize..600).prop_map(Harm::Zero), Just(Harm::Cut)];
    (1u32..8, any::<usize>(), harm)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_to_the_files_no_frame_is_wrong(is_closed: bool, harms in proptest::collection::vec(harm(), 1..5)) {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { frames: 2, buffer: 500, segment: 900, ..by_hand() };
        let log = open(dir.path(), limits);
        for i in 0..20 {
            log.append(&Frame::Act(small_act(i, b"some output")), Some(b"some output")).unwrap();
            log.append(&Frame::Story(story(i)), None).unwrap();
        }
        log.flush().unwrap();
        if is_closed {
            log.close().unwrap();
        }
        drop(log);
        let frames = all(dir.path()).0;
        for (number, at, harm) in harms {
            let path = segment(dir.path(), number);
            let mut bytes = crate::fs::read(&path).unwrap();
            let at = at % bytes.len().max(1);
            let end = bytes.len();
            match harm {
                Harm::Flip(bits) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits),
                Harm::Zero(length) => bytes[at..(at + length).min(end)].fill(0),
                Harm::Cut => bytes.truncate(at),
            }
            crate::fs::write_scratch(&path, &bytes).unwrap();
        }
        let left = all(dir.path()).0;
        prop_assert!(left.iter().all(|frame| frames.contains(frame)));
        prop_assert!(left.is_sorted_by_key(|(position, ..)| *position));

        let log = open(dir.path(), by_hand());
        let new = log.append(&Frame::Story(story(99)), None).unwrap();
        log.close().unwrap();
        let (later, replay) = all(dir.path());
        prop_assert!(replay.start.is_clean());
        let later: Frames = later.into_iter().filter(|frame| frame.0 < new && !matches!(frame.2, Frame::Close(_))).collect();
        let left: Frames = left.into_iter().filter(|frame| !matches!(frame.2, Frame::Close(_))).collect();
        prop_assert_eq!(later, left);
    }
}
