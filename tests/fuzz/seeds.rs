//! Small inputs of every format, written by the program's own encoders. They lie in `fuzz/seeds`, where libFuzzer finds
//! them; after a change of a format: `UPDATE_SEEDS=1 cargo test --test fuzz seeds`.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipelinefile::hash::Digest;
use pipelinefile::model::action::{
    Act, KeyInput, Outcome, Output, PayloadPlace, Place, Position, Run, State, Story, StoryEntry,
};
use pipelinefile::model::document::{DocNumber, Stamp};
use pipelinefile::probe;
use pipelinefile::query::Question;
use pipelinefile::socket::Request;
use pipelinefile::store::Entry;
use pipelinefile::store::disk::RealDisk;
use pipelinefile::store::frame::{Frame, Names};
use pipelinefile::store::group::Group;
use pipelinefile::store::index::Flags;
use pipelinefile::store::segment::{FIRST_GROUP, SegmentHeader};
use pipelinefile::store::tables::Finder;
use pipelinefile::time::Millis;

use crate::properties::{segment, table};
use crate::{files, folder};

type Seeds = BTreeMap<String, Vec<u8>>;

fn all() -> Vec<(&'static str, Seeds)> {
    vec![
        ("frame", frames()),
        ("segment", segments()),
        ("page", pages()),
        ("table", tables()),
        ("pipelinefile", pipelinefiles()),
        ("reply", replies()),
        ("socket", lines()),
        ("template", templates()),
    ]
}

#[test]
fn seeds_are_what_the_encoders_write() {
    for (target, seeds) in all() {
        let dir = folder("seeds", target);
        if std::env::var_os("UPDATE_SEEDS").is_some() {
            drop(std::fs::remove_dir_all(&dir));
            std::fs::create_dir_all(&dir).unwrap();
            for (name, bytes) in &seeds {
                std::fs::write(dir.join(name), bytes).unwrap();
            }
        }
        let there: Seeds = files(&dir).into_iter().collect();
        let differ: Vec<&String> =
            seeds.keys().chain(there.keys()).filter(|name| seeds.get(*name) != there.get(*name)).collect();
        assert!(differ.is_empty(), "{target}: {differ:?}; UPDATE_SEEDS=1 cargo test --test fuzz seeds");
    }
}

fn texts(texts: &[(&str, &str)]) -> Seeds {
    texts.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
}

/// The golden frames of every kind.
fn frames() -> Seeds {
    let golden = include_str!("../../src/store/frame/golden.txt");
    let frame = |(number, line): (usize, &str)| {
        let (kind, hex) = line.split_once(' ').unwrap();
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
        (format!("{number:02}-{}", kind.to_lowercase()), bytes.collect())
    };
    golden.lines().enumerate().map(frame).collect()
}

fn act(doc: u32, bytes: &[u8]) -> Frame {
    Frame::Act(Act {
        key: 0x0102_0304_0506_0708 + u64::from(doc),
        run: 1,
        recipe: Position::new(1, 200),
        loads: None,
        doc: DocNumber(doc),
        mark: 0,
        inputs: vec![KeyInput { digest: Some(Digest([0x11; 32])), facts: r#"{"ext":"txt"}"#.to_owned() }],
        outcome: Outcome::Output(Output {
            digest: Digest::of(bytes),
            length: bytes.len() as u64,
            ext: "txt".to_owned(),
            place: Place::Blob,
            meta: String::new(),
        }),
        start: Millis(0x0190_0000_0001),
        duration: 1500,
        worker: 0,
        attempt: 1,
        log: None,
        extras: String::new(),
    })
}

fn story(doc: u32, act: Position) -> Frame {
    let entries =
        vec![StoryEntry { state: State::Done, act: Some(act), published: true, note: String::new() }];
    Frame::Story(Story {
        doc: DocNumber(doc),
        run: 1,
        names: Position::new(1, 200),
        definition: Position::new(1, 300),
        previous: None,
        stamp: Stamp(0xa1a2_a3a4_a5a6_a7a8),
        content: Some(Digest([0x11; 32])),
        settled: true,
        racy: false,
        gone: false,
        entries,
    })
}

/// A segment's file with some groups, and where each of them begins.
struct Segment {
    bytes: Vec<u8>,
    number: u32,
    groups: u64,
    previous: u32,
}

impl Segment {
    fn new(number: u32, after: Position) -> Segment {
        let header = SegmentHeader {
            number,
            store: segment::FORMAT.id,
            after,
            begun: Millis(0x0190_0000_0000),
            is_mapped: false,
        };
        let (bytes, previous) = header.encode(segment::FORMAT.salt, segment::FORMAT.seal());
        assert_eq!(bytes.len(), FIRST_GROUP as usize);
        Segment { bytes: bytes.to_vec(), number, groups: 0, previous }
    }

    fn end(&self) -> Position {
        Position::new(self.number, self.bytes.len() as u32)
    }

    fn add(&mut self, group: &Group) {
        self.groups += 1;
        let header = group.header(self.groups, self.previous);
        let (bytes, crc) = header.encode(segment::FORMAT.salt, segment::FORMAT.seal(), self.end());
        self.previous = crc;
        self.bytes.extend(bytes.iter().chain(&group.frames).chain(&group.payloads));
    }

    /// A group with documents, each with a record, its output and a story.
    fn documents(&mut self, numbers: std::ops::Range<u32>) {
        let mut group = Group::new(self.end(), (Vec::new(), Vec::new()));
        group.run = 1;
        let mut push = |frame: &Frame, payload: &[u8]| {
            let place: Option<PayloadPlace> = (!payload.is_empty()).then(|| group.next_payload());
            let mut body = Vec::new();
            frame.encode(group.next_frame(), place, &mut body);
            group.push(segment::FORMAT.seal(), &body, payload)
        };
        let run = Run {
            number: 1,
            start: Millis(1),
            command: vec!["pipe".to_owned()],
            version: "0".to_owned(),
            pipelinefile: Digest([0; 32]),
            host: String::new(),
        };
        push(&Frame::Run(run), b"");
        let names = numbers.clone().map(|number| format!("{number:03}.txt")).collect();
        push(
            &Frame::Names(Names { directory: "in".to_owned(), first: DocNumber(numbers.start), names }),
            b"",
        );
        for number in numbers {
            let output = format!("output {number}");
            let position = push(&act(number, output.as_bytes()), output.as_bytes());
            push(&story(number, position), b"");
        }
        self.add(&group);
    }

    fn close(&mut self) {
        self.add(&Group::close(self.end(), 1, Millis(0x0190_0000_0002), segment::FORMAT.seal()));
    }

    /// As an input: the mode, then the bytes.
    fn input(mode: u8, bytes: &[u8]) -> Vec<u8> {
        [&[mode], bytes].concat()
    }
}

fn segments() -> Seeds {
    let mut closed = Segment::new(1, Position(0));
    closed.documents(1..4);
    closed.documents(4..6);
    let open = closed.bytes.clone();
    closed.close();
    let torn = &open[..open.len() - 20];
    // Two of one length, so that they are cut apart in the middle.
    let mut first = Segment::new(1, Position(0));
    first.documents(1..3);
    let mut second = Segment::new(2, first.end());
    second.documents(3..5);
    let two = [first.bytes, second.bytes].concat();
    [
        ("closed", Segment::input(0, &closed.bytes)),
        ("closed-sealed", Segment::input(1, &closed.bytes)),
        ("open-sealed", Segment::input(1, &open)),
        ("torn", Segment::input(0, torn)),
        ("two", Segment::input(2, &two)),
        ("two-sealed", Segment::input(3, &two)),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into()
}

fn pages() -> Seeds {
    let entry = |number: u32| Entry {
        name: format!("größe-{number:02}.pdf"),
        flags: Flags { settled: true, failed: number.is_multiple_of(3), ..Flags::default() },
        stamp: Stamp(u64::from(number) << 40),
        doc: DocNumber(if number.is_multiple_of(4) { 900 - number } else { number }),
        definition: Position::new(1, 300 + number / 5),
        story: Position::new(1, 5000 - 7 * number),
    };
    let few = probe::page_of(b"in\0a\0\0", &[entry(1), entry(2)]);
    let many = probe::page_of(b"in\0a\0\0", &(0..20).map(entry).collect::<Vec<_>>());
    [("few", (0, few.clone())), ("few-sealed", (1, few)), ("many-sealed", (1, many))]
        .map(|(name, (mode, page))| (name.to_owned(), Segment::input(mode, &page)))
        .into()
}

fn tables() -> Seeds {
    let table = |keys: u64, mode: u8| {
        let dir = tempfile::tempdir().unwrap();
        let (mut finder, _) = Finder::open(Arc::new(RealDisk), dir.path(), table::SALT).unwrap();
        for number in 0..keys {
            // Two records of each key.
            let key = (number / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            finder.insert(key, Position::new(1, 100 + number as u32 * 90));
        }
        finder.write_table(Position::new(1, 1 << 20)).unwrap();
        let (_, bytes) = files(dir.path()).pop().unwrap();
        Segment::input(mode, &bytes)
    };
    [("one-page", table(40, 0)), ("one-page-sealed", table(40, 1)), ("two-pages-sealed", table(400, 1))]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .into()
}

/// A few; the example and those of `tests/pipelinefiles` are used too, where they are.
fn pipelinefiles() -> Seeds {
    let small = "[source.docs]\npath = \"docs\"\n\n[target.words]\neach = \"docs\"\nmodule = \"words\"\n";
    let mistakes =
        "[source.docs]\npath = \"dosc\"\n[target.wörds]\neach = \"dosc\"\nmodul = 3\nwhere = { id = [ }\n";
    texts(&[("small", small), ("mistakes", mistakes), ("empty", "\n")])
}

fn replies() -> Seeds {
    texts(&[
        ("text", r#"{"id":7,"output":{"text":"wörds","ext":".TXT","meta":{"lang":"de"}},"log":[10,20]}"#),
        ("json", r#"{"id":8,"output":{"json":{"n":[1,2.5,null]}},"count":{"pages":2},"files":["m.py"]}"#),
        ("base64", r#"{"id":9,"output":{"base64":"AAECAw=="}}"#),
        ("path", r#"{"id":9,"output":{"path":"/tmp/x/out.pdf"},"packages":["numpy==2.4.6",{"name":"x"}]}"#),
        ("skip", r#"{"id":10,"skip":"empty"}"#),
        (
            "error",
            r#"{"id":11,"error":{"type":"ValueError","message":"no","where":{"file":"m.py","line":4},"retry":true,"after":1.5}}"#,
        ),
        ("progress", r#"{"id":12,"progress":{"done":3,"total":10},"warn":{"text":"odd"}}"#),
        ("ready", r#"{"ready":1,"files":["modules/words.py"],"packages":[]}"#),
        ("fatal", r#"{"fatal":{"type":"ImportError","message":"no module named x","where":"m.py:1"}}"#),
        (
            "describe",
            "import of x\n{\"describe\":{\"name\":\"words\",\"params\":{\"n\":{\"type\":\"int\",\"default\":null}},\
             \"with\":[\"table\"],\"takes\":\"docs\",\"window\":64,\"interpreter\":\"3.12\",\"doc\":\"Words.\"}}\n",
        ),
        ("stray", "loading… 100 %"),
    ])
}

fn lines() -> Seeds {
    let mut seeds = texts(&[
        ("hello", "{\"v\":1,\"hello\":4242}\n"),
        ("end", "{\"v\":1,\"end\":true}\n"),
        ("error", "{\"v\":1,\"error\":{\"exit\":4,\"message\":\"no document\",\"hints\":[\"pipe ls\"]}}\n"),
        ("other-version", "{\"v\":2,\"ask\":\"status\"}\n"),
        (
            "document",
            "{\"v\":1,\"part\":{\"answer\":\"document\",\"id\":\"in/a.txt\",\"state\":\"done\",\"ext\":\"txt\",\"size\":12}}\n",
        ),
        ("manifest", "{\"v\":1,\"part\":{\"answer\":\"manifest\",\"line\":\"{}\"}}\n"),
    ]);
    let questions = [
        ("ask-status", Question::Status),
        ("ask-why", Question::Why { what: "in/ä.txt".to_owned() }),
        (
            "ask-log",
            Question::Log {
                doc: "a.txt".to_owned(),
                only: pipelinefile::query::log::Only {
                    target: Some("words".to_owned()),
                    ..pipelinefile::query::log::Only::default()
                },
            },
        ),
        (
            "ask-ls",
            Question::Ls(pipelinefile::query::ls::Ask {
                stream: "words".to_owned(),
                docs: Some("in/*".to_owned()),
                tests: vec!["size=>10KB".to_owned()],
                state: Some(State::Failed),
                manifest: true,
                ..pipelinefile::query::ls::Ask::default()
            }),
        ),
        ("ask-cat", Question::Cat { stream: "words".to_owned(), doc: "a.txt".to_owned(), sample: false }),
    ];
    for (name, question) in questions {
        let request = Request { here: "/home/me/project".into(), question };
        seeds.insert(name.to_owned(), probe::question_line(&request).unwrap());
    }
    seeds
}

fn templates() -> Seeds {
    texts(&[
        ("default", "out/{target}/{id}.{ext}\nin/2024/a.html\ntxt\n"),
        ("parts", "out/{id.dir}/{id.stem}-{id.child}.{ext}\nin/a.pdf#page-3\npdf\n"),
        ("meta", "out/{meta.lang}/{id.base}\nin/../x~y%23\n\n..\n"),
        ("braces", "./o{{u}}t//{id.rel}.json\nin/größe.txt\njson\nde"),
        ("wrong", "out/{id.steem}}"),
    ])
}
