//! Golden bytes of every kind of frame, and round trips.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::action::{
    Accepted, DefinedTarget, KeyInput, LogRange, MarkedTarget, Output, OwnListing, Package, State, StoryEntry,
};
use crate::model::document::{DocNumber, Stamp};
use crate::model::failure::{Failure, FailureKind};

pub(crate) const SALT: u64 = 0x1122_3344_5566_7788;
const OWN: Position = Position((3 << 28) + 70_000);

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").unwrap();
        out
    })
}

/// A common record: one input, a small output, nothing unusual.
pub(crate) fn small_act(doc: u32, bytes: &[u8]) -> Act {
    Act {
        key: 0x0102_0304_0506_0708,
        run: 2,
        recipe: Position::new(1, 5000),
        loads: Some(Position::new(1, 9000)),
        doc: DocNumber(doc),
        mark: 0,
        inputs: vec![KeyInput { digest: Some(Digest([0x11; 32])), facts: r#"{"ext":"html"}"#.to_owned() }],
        outcome: Outcome::Output(Output {
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
            ext: "txt".to_owned(),
            place: Place::Payload(PayloadPlace { group: Position(OWN.0 - 20_000), offset: 30_000 }),
            meta: String::new(),
        }),
        start: Millis(0x019a_bcde_f012),
        duration: 1500,
        worker: 3,
        attempt: 1,
        log: None,
        extras: String::new(),
    }
}

pub(crate) fn story(doc: u32) -> Story {
    let entry =
        |state, act, note: &str| StoryEntry { state, act, published: act.is_some(), note: note.to_owned() };
    Story {
        doc: DocNumber(doc),
        run: 2,
        names: Position::new(1, 300),
        definition: Position::new(1, 6000),
        previous: Some(Position::new(2, 7000)),
        stamp: Stamp(0xa1a2_a3a4_a5a6_a7a8),
        content: Some(Digest([0x11; 32])),
        settled: true,
        racy: false,
        gone: false,
        entries: vec![
            entry(State::Done, Some(Position(OWN.0 - 900)), ""),
            entry(State::Done, Some(Position(OWN.0 - 700)), ""),
            entry(State::Blocked, None, "ocr"),
        ],
    }
}

pub(crate) fn samples() -> Vec<Frame> {
    let input = KeyInput { digest: None, facts: "{}".to_owned() };
    let odd = KeyInput { digest: Some(Digest([0x22; 32])), facts: r#"{"id":"a"}"#.to_owned() };
    let mut failed = small_act(8, b"");
    failed.inputs = vec![input.clone(), odd];
    failed.loads = None;
    failed.mark = 4;
    failed.attempt = 2;
    failed.log = Some(LogRange { from: 1000, length: 20 });
    failed.extras = r#"{"counts":{"pages":2.0}}"#.to_owned();
    let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "no");
    failure.place = Some("m.py:4".to_owned());
    failed.outcome = Outcome::Failed(failure);
    let mut skipped = small_act(9, b"");
    skipped.outcome = Outcome::Skip("empty".to_owned());
    vec![
        Frame::Names(Names {
            directory: "inbox/2024".to_owned(),
            first: DocNumber(300),
            names: vec!["scan-01.pdf".to_owned(), "scan-02.pdf".to_owned(), "x".to_owned()],
        }),
        Frame::Act(small_act(7, b"output")),
        Frame::Act(failed),
        Frame::Act(skipped),
        Frame::Story(story(7)),
        Frame::Recipe(Recipe {
            shape: "each".to_owned(),
            module: "words".to_owned(),
            program: vec![("kind".to_owned(), "python".to_owned())],
            files: vec![("m.py".to_owned(), Digest([0x33; 32]))],
            params: vec![("n".to_owned(), "1".to_owned())],
            with: vec![("table".to_owned(), Some(input)), ("page".to_owned(), None)],
        }),
        Frame::Loads(Loads {
            module: Digest([0x44; 32]),
            files: vec![("m.py".to_owned(), Digest([0x33; 32]))],
            packages: vec![Package {
                name: "numpy".to_owned(),
                version: "2.4.6".to_owned(),
                path: "/p/numpy-2.4.6.dist-info".to_owned(),
            }],
        }),
        Frame::Definition(Definition {
            family: "inbox".to_owned(),
            targets: vec![DefinedTarget {
                name: "text".to_owned(),
                digest: Some(Digest([0x55; 32])),
                publish: None,
            }],
        }),
        Frame::Run(Run {
            number: 2,
            start: Millis(1_700_000_000_000),
            command: vec!["pipe".to_owned(), "build".to_owned()],
            version: "0.1.0".to_owned(),
            pipelinefile: Digest([0x66; 32]),
            host: String::new(),
        }),
        Frame::Mark(Mark {
            number: 1,
            time: Millis(1_700_000_000_000),
            targets: vec![MarkedTarget { name: "text".to_owned(), fingerprint: Digest([0x77; 32]) }],
            docs: Some("inbox/*".to_owned()),
            ..Mark::default()
        }),
        Frame::Mark(Mark {
            number: 2,
            time: Millis(1_700_000_000_000),
            older_than: Some(Millis(1_690_000_000_000)),
            docs: Some("inbox/*".to_owned()),
            sets: vec!["joined".to_owned()],
            withdraws: vec!["text".to_owned()],
            ..Mark::default()
        }),
        Frame::Mark(Mark {
            number: 4,
            time: Millis(1_700_000_000_000),
            withdraws: vec!["text".to_owned()],
            withdraws_of: vec![Digest([0x44; 32])],
            ..Mark::default()
        }),
        Frame::Mark(Mark {
            number: 3,
            time: Millis(1_700_000_000_000),
            accepts: vec![Accepted {
                name: "text".to_owned(),
                from: vec![Digest([0x11; 32])],
                to: Digest([0x22; 32]),
                loaded: vec![("lib.py".to_owned(), Some(Digest([0x33; 32]))), ("numpy 1.2".to_owned(), None)],
            }],
            ..Mark::default()
        }),
        Frame::Bad(Bad {
            act: Position::new(1, 9000),
            digest: Digest([0x88; 32]),
            time: Millis(1_700_000_000_000),
        }),
        Frame::Close(Close { position: OWN, run: 2, time: Millis(1_700_000_000_000) }),
        Frame::Ended(Ended {
            run: 2,
            time: Millis(1_700_000_001_000),
            exit: 3,
            why: "text cannot start".to_owned(),
            built: 5,
            reused: 4,
            failed: 3,
            blocked: 2,
            ..Ended::default()
        }),
        Frame::Ended(Ended {
            run: 3,
            listings: vec![OwnListing {
                path: "out/index.jsonl".to_owned(),
                target: "text".to_owned(),
                digest: Digest([0x99; 32]),
            }],
            ..Ended::default()
        }),
        Frame::Ended(Ended {
            run: 4,
            counted: BTreeMap::from([("text".to_owned(), BTreeMap::from([("usd".to_owned(), 0.25)]))]),
            ..Ended::default()
        }),
    ]
}

fn whole(frame: &Frame, own: Position) -> Vec<u8> {
    let mut body = Vec::new();
    frame.encode(own, None, &mut body);
    let mut out = Vec::new();
    put_frame(&mut out, Seal::new(SALT), own, &body);
    assert_eq!(out.len(), frame_length(body.len()));
    out
}

fn back(bytes: &[u8], own: Position) -> Option<Frame> {
    match read(bytes, Seal::new(SALT), own) {
        Found::Frame(frame, length) if length == bytes.len() => frame.decode(),
        _ => None,
    }
}

#[test]
fn golden_bytes_of_every_kind() {
    let golden = include_str!("golden.txt");
    let written: Vec<String> =
        samples().iter().map(|frame| format!("{:?} {}", frame.kind(), hex(&whole(frame, OWN)))).collect();
    assert_eq!(written.join("\n"), golden.trim_end());
    let kinds: std::collections::HashSet<Kind> = samples().iter().map(Frame::kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}

#[test]
fn every_sample_comes_back() {
    for frame in samples() {
        assert_eq!(back(&whole(&frame, OWN), OWN), Some(frame));
    }
}

#[test]
fn a_small_record_takes_little_more_than_its_two_digests() {
    let length = whole(&Frame::Act(small_act(200_000, b"output")), OWN).len();
    assert!(length <= 112, "{length}");
    assert!(whole(&Frame::Story(story(200_000)), OWN).len() <= 80);
}

#[test]
fn a_close_has_one_length_whatever_it_says() {
    for close in [
        Close { position: Position(0), run: 0, time: Millis(0) },
        Close { position: Position((1 << 48) - 1), run: u32::MAX, time: Millis(u64::MAX) },
    ] {
        assert_eq!(whole(&Frame::Close(close), OWN).len(), CLOSE_BYTES);
    }
}

#[test]
fn no_flip_no_cut_and_no_move_leaves_a_frame() {
    for frame in samples() {
        let bytes = whole(&frame, OWN);
        for at in 0..bytes.len() {
            assert!(back(&bytes[..at], OWN).is_none());
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                assert!(back(&flipped, OWN).is_none(), "{:?} at {at}", frame.kind());
            }
        }
        assert!(back(&bytes, Position(OWN.0 + 1)).is_none());
    }
}

#[test]
fn names_are_split_and_found_by_number() {
    let names: Vec<String> = (0..300).map(|i| format!("n{i}")).collect();
    let frames = Names::split("inbox", DocNumber(1000), &names);
    assert_eq!(frames.iter().map(|names| names.names.len()).collect::<Vec<_>>(), [128, 128, 44]);
    assert_eq!(frames[2].name(DocNumber(1299)), Some("n299"));
    assert_eq!(frames[2].name(DocNumber(1300)), None);
    assert_eq!(frames[2].name(DocNumber(1255)), None);
}

fn position() -> impl Strategy<Value = Position> {
    (1u32..1 << 20, 0u32..1 << 28).prop_map(|(segment, offset)| Position::new(segment, offset))
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn facts() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        "[a-z]{0,6}".prop_map(|ext| format!("{{\"ext\":\"{ext}\"}}")),
        Just(r#"{"ext":"pdf"}"#.to_owned()),
        any::<String>(),
        any::<String>().prop_map(|ext| format!("{{\"ext\":\"{ext}\"}}")),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let place = prop_oneof![
        (position(), any::<u32>()).prop_map(|(group, offset)| Place::Payload(PayloadPlace { group, offset })),
        Just(Place::Blob),
        Just(Place::Input),
    ];
    let ext = prop_oneof![Just("txt".to_owned()), any::<String>()];
    let failure = (
        0..FailureKind::ALL.len(),
        any::<String>(),
        any::<String>(),
        any::<Option<String>>(),
        any::<Option<String>>(),
        any::<bool>(),
    );
    prop_oneof![
        (digest(), any::<u64>(), ext, place, any::<String>()).prop_map(
            |(digest, length, ext, place, meta)| {
                Outcome::Output(Output { digest, length, ext, place, meta })
            }
        ),
        any::<String>().prop_map(Outcome::Skip),
        failure.prop_map(|(kind, error, message, place, traceback, retry)| {
            let kind = FailureKind::ALL[kind];
            let failure = Failure { place, traceback, retry, ..Failure::new(kind, error, message) };
            Outcome::Failed(failure)
        }),
    ]
}

prop_compose! {
    fn act()(
        (key, run, doc, mark, duration) in any::<(u64, u32, u32, u64, u64)>(),
        (start, worker, attempt) in any::<(u64, u32, u32)>(),
        recipe in position(),
        loads in proptest::option::of(position()),
        inputs in proptest::collection::vec((proptest::option::of(digest()), facts()), 0..4),
        outcome in outcome(),
        log in any::<Option<(u64, u64)>>(),
        extras in any::<String>(),
    ) -> Frame {
        Frame::Act(Act {
            key,
            run,
            recipe,
            loads,
            doc: DocNumber(doc),
            mark,
            inputs: inputs.into_iter().map(|(digest, facts)| KeyInput { digest, facts }).collect(),
            outcome,
            start: Millis(start),
            duration,
            worker,
            attempt,
            log: log.map(|(from, length)| LogRange { from, length }),
            extras,
        })
    }
}

prop_compose! {
    fn any_story()(
        (doc, run, stamp) in any::<(u32, u32, u64)>(),
        (settled, racy, gone) in any::<(bool, bool, bool)>(),
        (names, definition) in (position(), position()),
        previous in proptest::option::of(position()),
        content in proptest::option::of(digest()),
        entries in proptest::collection::vec(
            (0..State::ALL.len(), proptest::option::of(position()), any::<bool>(), any::<String>()), 0..5),
    ) -> Frame {
        let entry = |(state, act, published, note)| StoryEntry { state: State::ALL[state], act, published, note };
        Frame::Story(Story {
            doc: DocNumber(doc),
            run,
            names,
            definition,
            previous,
            stamp: Stamp(stamp),
            content,
            settled,
            racy,
            gone,
            entries: entries.into_iter().map(entry).collect(),
        })
    }
}

fn any_names() -> impl Strategy<Value = Frame> {
    (any::<String>(), any::<u32>(), proptest::collection::vec("[aäあ-]{0,5}", 0..20)).prop_map(
        |(directory, first, names)| Frame::Names(Names { directory, first: DocNumber(first), names }),
    )
}

proptest! {
    #[test]
    fn any_frame_comes_back(frame in prop_oneof![act(), any_story(), any_names()], own in position()) {
        prop_assert_eq!(back(&whole(&frame, own), own), Some(frame));
    }

    #[test]
    fn what_finding_needs_of_a_record_is_what_it_says(frame in act(), own in position()) {
        let bytes = whole(&frame, own);
        let Found::Frame(read, _) = read(&bytes, Seal::new(SALT), own) else { panic!("{frame:?}") };
        let Frame::Act(act) = &frame else { panic!("{frame:?}") };
        prop_assert_eq!(read.key_and_mark(), Some((act.key, act.mark)));
    }

    #[test]
    fn any_bytes_decode_without_a_panic(code in 0u8..12, body: Vec<u8>) {
        if let Some(kind) = Kind::from_code(code) {
            drop(FrameRef { position: OWN, kind, body: &body }.decode());
        }
        let _ = read(&body, Seal::new(SALT), OWN);
    }
}
