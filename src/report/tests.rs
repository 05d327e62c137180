//! Lists of events in, whole outputs out.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::event::{
    Cause, Changed, Event, Finished, Hand, Matched, Planned, Ran, Scanned, Sink, Stale, Stopped, Summary,
    TargetCounts, Watched, Watching,
};
use crate::model::failure::{Failure, FailureKind};
use crate::report::json::Json;
use crate::report::plain::Plain;
use crate::report::progress::State;
use crate::report::style::{Style, columns};
use crate::report::talk::Talk;
use crate::report::{Mode, Progress, sink};
use crate::time::Millis;

/// What was written, readable while somebody else writes.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

const NO_COLOUR: Style = Style { colour: false };

fn scanned() -> Event {
    Event::Scanned(Scanned {
        source: "docs".into(),
        documents: 2_104_331,
        new: 312,
        changed: 18,
        gone: 4,
        problems: Vec::new(),
        milliseconds: 3_100,
    })
}

fn plan() -> Event {
    let planned = |target: &str, actions| Planned { target: target.into(), actions, ..Planned::default() };
    Event::Plan {
        targets: vec![planned("ocr", Some(330)), planned("clean", Some(330)), planned("index", None)],
        up_to_date: 2_104_001,
    }
}

fn failure() -> Failure {
    Failure {
        place: Some("modules/ocr.py:41".into()),
        ..Failure::new(FailureKind::ModuleError, "PdfError", "cannot decode stream\nat byte 12")
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as events have it")]
fn ran(duration: u64) -> Option<Ran> {
    Some(Ran { duration, worker: Some(2), attempt: 1 })
}

fn failed(number: usize) -> Event {
    Event::Failed {
        doc: format!("docs/scan-{number}.pdf"),
        target: "ocr".into(),
        failure: failure(),
        ran: ran(9000),
    }
}

fn counts(target: &str, todo: u64, built: u64, failed: u64, running: u64) -> TargetCounts {
    TargetCounts { target: target.into(), todo, built, failed, running, ..TargetCounts::default() }
}

fn asks_for_time() -> Failure {
    let failure = Failure::new(FailureKind::ModuleError, "Retry", "the service is busy");
    Failure { retry: true, ..failure }
}

fn summary() -> Summary {
    let other = Failure {
        place: Some("modules/clean.py:24".into()),
        ..Failure::new(FailureKind::ModuleError, "UnicodeDecodeError", "invalid start byte")
    };
    let cause = |target: &str, failure, count, samples: &[&str]| Cause {
        target: target.into(),
        failure,
        count,
        samples: samples.iter().map(|sample| (*sample).to_owned()).collect(),
        set_aside: 0,
        reopened: 0,
        behind: BTreeMap::new(),
    };
    Summary {
        run: Some(412),
        documents: 2_104_331,
        up_to_date: 2_104_001,
        targets: vec![
            TargetCounts { reused: 12, skipped: 1, same: 12, ..counts("ocr", 0, 312, 5, 0) },
            counts("clean", 0, 323, 1, 0),
        ],
        causes: vec![
            cause("clean", other, 1, &["docs/letter 7.txt"]),
            cause("ocr", failure(), 5, &["docs/scan-1.pdf", "docs/scan-2.pdf", "docs/scan-3.pdf"]),
        ],
        blocked: 5,
        blocked_by: String::new(),
        failed_documents: 6,
        sets: Vec::new(),
        published: 326,
        withdrawn: 4,
        stale: Stale::default(),
        unlisted: Vec::new(),
        milliseconds: 238_000,
        stopped: None,
        unfinished: 0,
        allowed: None,
        taken: 0,
    }
}

/// What a build of these events says where there is no terminal.
fn said(mode: Mode, events: &[Event]) -> String {
    let (out, err) = (Paper::default(), Paper::default());
    let mut sink = sink(mode, Box::new(out.clone()), Box::new(err.clone()));
    for event in events {
        sink.event(event);
    }
    drop(sink);
    assert_eq!(out.text(), "", "standard output is for data");
    err.text()
}

fn ended(end: Summary) -> String {
    said(Mode::default(), &[scanned(), plan(), Event::Finished(end)])
}

fn untouched(end: Summary) -> Summary {
    Summary { run: None, up_to_date: end.documents, targets: Vec::new(), published: 0, withdrawn: 0, ..end }
}

#[test]
fn a_build_without_a_terminal_is_plain_lines() {
    let events = [
        scanned(),
        plan(),
        Event::RunStarted { run: 412 },
        failed(1),
        Event::Pausing { target: "ocr".into(), milliseconds: 30_000, failure: asks_for_time() },
        Event::Slow { doc: "docs/atlas.pdf".into(), target: "ocr".into(), seconds: 60 },
        Event::Finished(summary()),
    ];
    assert_eq!(
        said(Mode::default(), &events),
        "\
\x20 Scanned   docs  2,104,331 documents in 3.1 s   312 new, 18 changed, 4 gone
     Plan   ocr 330, clean 330; as needed: index   2,104,001 up to date
   Failed   ocr  docs/scan-1.pdf  PdfError: cannot decode stream (modules/ocr.py:41)
  Pausing   ocr  for 30.0 s, as it asks: Retry: the service is busy
     Slow   ocr  docs/atlas.pdf  1m00s so far
   Failed   6 documents, 2 causes
            5x ocr    PdfError: cannot decode stream          modules/ocr.py:41
               docs/scan-1.pdf  docs/scan-2.pdf  docs/scan-3.pdf  +2
            1x clean  UnicodeDecodeError: invalid start byte  modules/clean.py:24
               docs/letter 7.txt
  Blocked   5 documents behind what failed in clean, ocr
  Summary   330 documents in 3m58s: 635 built, 12 reused, 1 skipped, 6 failed, 5 blocked; 12 outputs came out the same
            2,104,001 documents were up to date; 326 files published, 4 withdrawn
     hint   pipe log docs/scan-1.pdf       what it printed
            pipe try ocr docs/scan-1.pdf   try it here (--debug for pdb)
            pipe ls ocr --state failed     all of them
            pipe status                    how every target stands
"
    );
}

#[test]
fn nothing_to_do_is_one_line() {
    let plan = Event::Plan { targets: Vec::new(), up_to_date: 2_104_331 };
    let end = Summary { documents: 2_104_331, milliseconds: 3_100, ..Summary::default() };
    let said = said(Mode::default(), &[scanned(), plan, Event::Finished(untouched(end))]);
    assert_eq!(said, "Up to date  2,104,331 documents (3.1 s)\n");
}

#[test]
fn old_failures_stand_below_up_to_date() {
    let mut end = untouched(summary());
    end.causes.truncate(1);
    (end.failed_documents, end.blocked) = (1, 0);
    let plan = Event::Plan { targets: Vec::new(), up_to_date: 2_104_331 };
    assert_eq!(
        said(Mode::default(), &[scanned(), plan, Event::Finished(end)]),
        "\
Up to date  2,104,331 documents (3m58s)
   Failed   1 document, 1 cause
            1x clean  UnicodeDecodeError: invalid start byte  modules/clean.py:24
               docs/letter 7.txt
     hint   pipe log 'docs/letter 7.txt'         what it printed
            pipe try clean 'docs/letter 7.txt'   try it here (--debug for pdb)
            pipe status                          how every target stands
"
    );
}

#[test]
fn a_dry_run_shows_what_was_scanned_and_planned() {
    let nothing = Event::Plan { targets: Vec::new(), up_to_date: 9 };
    assert_eq!(
        said(Mode::default(), &[scanned(), nothing]),
        "  Scanned   docs  2,104,331 documents in 3.1 s   312 new, 18 changed, 4 gone\n     Plan   nothing to run   9 up to date\n"
    );
    assert!(said(Mode::default(), &[scanned(), plan()]).contains("ocr 330, clean 330; as needed: index"));
}

#[test]
fn a_plan_of_many_targets_stays_a_line() {
    let targets = (0..12)
        .map(|ix| Planned { target: format!("t{ix}"), actions: Some(1), ..Planned::default() })
        .collect();
    let said = said(Mode::default(), &[Event::Plan { targets, up_to_date: 0 }]);
    assert_eq!(said, "     Plan   t0 1, t1 1, t2 1, t3 1, t4 1, t5 1, t6 1, t7 1, 4 more\n");
}

#[test]
fn more_than_ten_failures_of_a_kind_are_only_counted() {
    let mut events: Vec<Event> = (1..=30).map(failed).collect();
    let shown = said(Mode::default(), &events);
    assert_eq!(shown.lines().filter(|line| line.contains("Failed")).count(), 10);
    assert_eq!(shown.lines().last(), Some("            more of ocr, PdfError: only counted from here on"));
    let other = Failure::new(FailureKind::Timeout, "", "no answer within 30 minutes");
    events.push(Event::Failed { doc: "docs/b".into(), target: "ocr".into(), failure: other, ran: None });
    let shown = said(Mode::default(), &events);
    assert_eq!(
        shown.lines().last(),
        Some("   Failed   ocr  docs/b  timeout: no answer within 30 minutes"),
        "another kind has ten of its own"
    );
    let all = said(Mode { verbose: 1, ..Mode::default() }, &events);
    assert_eq!(all.lines().count(), 31);
}

#[test]
fn quiet_leaves_the_failures_and_a_good_end_says_nothing() {
    let quiet = Mode { quiet: true, ..Mode::default() };
    let shown = said(quiet, &[scanned(), plan(), failed(1), Event::Finished(summary())]);
    assert!(shown.starts_with("   Failed   6 documents, 2 causes\n"), "{shown}");
    assert!(shown.ends_with("  Blocked   5 documents behind what failed in clean, ocr\n"), "{shown}");
    let good = Summary { causes: Vec::new(), blocked: 0, ..summary() };
    assert_eq!(said(quiet, &[scanned(), plan(), Event::Finished(good.clone())]), "");
    assert_eq!(said(quiet, &[scanned(), Event::Finished(untouched(good))]), "");
}

#[test]
fn verbose_names_every_finished_document() {
    let done = Finished { doc: "docs/a.pdf".into(), target: "ocr".into(), length: 3174, ran: ran(41_000) };
    let skipped = Event::Skipped {
        doc: "docs/b.pdf".into(),
        target: "ocr".into(),
        reason: "empty".into(),
        ran: ran(1000),
    };
    let events = [Event::Done(done), skipped];
    assert_eq!(
        said(Mode { verbose: 1, ..Mode::default() }, &events),
        "     Done   ocr  docs/a.pdf  41 ms, 3.1 KiB\n  Skipped   ocr  docs/b.pdf  empty\n"
    );
    assert_eq!(said(Mode::default(), &events), "");
}

#[test]
fn a_stopped_build_says_what_is_kept_and_how_to_go_on() {
    let stopped = |why| Summary {
        causes: Vec::new(),
        blocked: 0,
        up_to_date: 2_104_001,
        unfinished: 109,
        stopped: Some(why),
        ..summary()
    };
    let line = |end| ended(end).lines().find(|line| line.contains("Stopped")).unwrap().to_owned();
    assert_eq!(
        line(stopped(Stopped::Signal { signal: 2 })),
        "  Stopped   221 of 330 done and kept; \"pipe build\" goes on from here"
    );
    assert_eq!(
        line(stopped(Stopped::FailFast)),
        "  Stopped   at the first failure: 221 of 330 done and kept; \"pipe build\" goes on from here"
    );
    let early =
        Summary { documents: 0, up_to_date: 0, unfinished: 0, ..stopped(Stopped::Signal { signal: 15 }) };
    assert_eq!(line(early), "  Stopped   \"pipe build\" goes on from here");
    assert!(
        ended(stopped(Stopped::Store { message: "no space left on device".into() }))
            .contains("    error   the store cannot be written: no space left on device\n")
    );
}

#[test]
fn a_module_that_cannot_start_speaks_once_in_its_own_words() {
    let failure = Failure {
        place: Some("modules/ocr.py:3".into()),
        traceback: Some("Traceback (most recent call last):\n  File \"modules/ocr.py\", line 3\n".into()),
        ..Failure::new(FailureKind::ModuleError, "ModuleNotFoundError", "No module named 'pytesseract'")
    };
    let end = Summary {
        run: None,
        causes: Vec::new(),
        blocked: 0,
        unfinished: 330,
        targets: Vec::new(),
        published: 0,
        withdrawn: 0,
        stopped: Some(Stopped::Module { target: "ocr".into(), failure }),
        ..summary()
    };
    let said = ended(end);
    let from = said.find("    error").unwrap();
    assert_eq!(
        &said[from..],
        "    error   the module of ocr cannot go on: ModuleNotFoundError: No module named 'pytesseract' (modules/ocr.py:3)
            Traceback (most recent call last):
              File \"modules/ocr.py\", line 3
  Stopped   0 of 330 done and kept; \"pipe build\" goes on from here
  Summary   330 documents in 3m58s: no module ran
            2,104,001 documents were up to date
     hint   pipe modules   what is registered, and what is missing
"
    );
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let failure = Failure::new(FailureKind::ModuleError, "E\x1b[2J", "a\rb");
    let event = Event::Failed { doc: "docs/\x1b[31m".into(), target: "ocr".into(), failure, ran: None };
    let end = Event::Finished(Summary {
        causes: vec![Cause {
            target: "ocr".into(),
            failure: Failure::new(FailureKind::ModuleError, "E\x1b[2J", "a\rb"),
            count: 1,
            samples: vec!["docs/\x1b[31m".into()],
            set_aside: 0,
            reopened: 0,
            behind: BTreeMap::new(),
        }],
        ..Summary::default()
    });
    let said = said(Mode::default(), &[event, end]);
    assert!(!said.contains('\x1b') && !said.contains('\r'), "{said:?}");
}

#[test]
fn colours_come_only_when_asked_for() {
    let with = said(Mode { colour: true, ..Mode::default() }, &[plan()]);
    assert!(with.contains("\x1b[1mPlan\x1b[0m"), "{with:?}");
    assert!(!said(Mode::default(), &[plan()]).contains('\x1b'));
}

#[test]
fn what_could_not_be_read_is_named_and_then_counted() {
    let scanned = Event::Scanned(Scanned {
        source: "docs".into(),
        problems: (0..12).map(|ix| format!("docs/{ix}: permission denied")).collect(),
        ..Scanned::default()
    });
    let said = said(Mode::default(), &[scanned, Event::Finished(Summary::default())]);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "  Warning   docs  docs/0: permission denied");
    assert_eq!(lines[10], "            and 2 more that could not be read");
    assert_eq!(lines[11], "Up to date  0 documents (0 ms)");
}

#[test]
fn warnings_beyond_ten_are_counted_at_the_end() {
    let warned = |ix: usize| Event::Warned {
        doc: Some(format!("docs/{ix}")),
        target: "ocr".into(),
        message: "page 3 is empty\n".into(),
    };
    let mut events: Vec<Event> = (0..23).map(warned).collect();
    events.push(Event::Finished(Summary { run: Some(1), milliseconds: 5, ..Summary::default() }));
    let said = said(Mode::default(), &events);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "  Warning   ocr  docs/0  page 3 is empty");
    assert_eq!(lines[10], "            more warnings of ocr: only counted from here on");
    assert_eq!(lines[11..], ["  Warning   ocr  23 warnings in all", "  Summary   no module ran in 5 ms"]);
}

#[test]
fn plain_progress_comes_every_twentieth_or_half_minute_whichever_is_rarer() {
    let paper = Paper::default();
    let talk = Talk::new(NO_COLOUR, None, false, 0);
    let mut plain = Plain::new(talk, true, Box::new(paper.clone()));
    let mut at = |seconds: u64, done: u64, failed: u64| {
        let counts = Event::Counts(vec![counts("ocr", 400 - done - failed, done, failed, 2)]);
        plain.event_at(&counts, Duration::from_secs(seconds));
    };
    at(1, 100, 0); // soon, though much is done
    at(31, 110, 0);
    at(62, 120, 0); // late, though little is done
    at(63, 140, 1);
    at(64, 380, 1);
    at(94, 399, 1); // nothing to come
    assert_eq!(paper.text(), "[00:00:31] ocr 110/400\n[00:01:03] ocr 141/400, 1 failed\n");
}

#[test]
fn without_progress_the_rest_is_said_all_the_same() {
    let none = Mode { progress: Progress::None, ..Mode::default() };
    assert_eq!(said(none, &[scanned(), plan()]), said(Mode::default(), &[scanned(), plan()]));
}

/// A state in which two targets work, one waits and a document takes long.
fn at_work() -> State {
    let mut state = State::of_block();
    let seconds = Duration::from_secs;
    let started = |doc: &str| Event::Started { doc: doc.into(), target: "ocr".into() };
    state.hear(&plan(), seconds(0));
    state.hear(&started("docs/2024/maps/atlas-2.pdf"), seconds(0));
    state.hear(&started("docs/quick.pdf"), seconds(0));
    let list = |ocr, clean| {
        Event::Counts(vec![
            TargetCounts { blocked: 1, ..counts("ocr", 330 - ocr - 2, ocr, 1, 2) },
            counts("clean", 330 - clean, clean, 0, 1),
            counts("index", 0, 0, 0, 0),
            counts("embed", 330, 0, 0, 0),
        ])
    };
    state.hear(&list(0, 0), seconds(0));
    let done =
        Finished { doc: "docs/quick.pdf".into(), target: "ocr".into(), length: 9, ran: ran(5_000_000) };
    state.hear(&Event::Done(done), seconds(1));
    let progress = Event::Progress {
        doc: "docs/2024/maps/atlas-2.pdf".into(),
        target: "ocr".into(),
        done: 212.0,
        total: Some(840.0),
    };
    state.hear(&progress, seconds(5));
    state.hear(&list(219, 35), seconds(10));
    state.hear(&Event::Starting { target: "embed".into(), module: "embed".into() }, seconds(8));
    state
}

#[test]
fn the_block_shows_bars_the_slowest_document_and_what_is_left() {
    assert_eq!(
        at_work().block(Duration::from_secs(10), 100, NO_COLOUR),
        [
            "      ocr   ━━━━━━━━━━━━━━━━━━──────────  221/330   22/s   1 failed   1 blocked   2 in hand",
            "    clean   ━━──────────────────────────   35/330  3.5/s   1 in hand",
            "    embed   ────────────────────────────    0/330          module starting, 2.0 s",
            "            ocr docs/2024/maps/atlas-2.pdf 10.0 s (212 of 840)",
            "   10.0 s   about 18 s left",
        ]
    );
}

#[test]
fn no_line_of_the_block_is_wider_than_the_terminal() {
    let mut state = at_work();
    let long = Event::Started { doc: "docs/".to_owned() + &"文書".repeat(90), target: "x".repeat(70) };
    state.hear(&long, Duration::from_secs(1));
    state.hear(&Event::Counts(vec![counts(&"x".repeat(70), 5, 5, 1, 1)]), Duration::from_secs(2));
    for width in [1, 20, 21, 30, 40, 60, 80, 200] {
        for line in state.block(Duration::from_secs(500), width, NO_COLOUR) {
            assert!(columns(&line) < width.max(21), "{width}: {line}");
        }
    }
    let block = state.block(Duration::from_secs(12), 60, NO_COLOUR);
    assert!(block[4].contains("-2.pdf 12.0 s (212 of 840)"), "{block:#?}");
}

#[test]
fn with_many_targets_those_at_work_are_shown_and_the_others_counted() {
    let list = (0..20).map(|ix| counts(&format!("t{ix:02}"), u64::from(ix > 3), 4, 0, u64::from(ix > 15)));
    let mut state = State::of_block();
    state.hear(&Event::Counts(list.collect()), Duration::ZERO);
    let block = state.block(Duration::from_secs(1), 80, NO_COLOUR);
    let names: Vec<_> = block.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["t04", "t05", "t06", "t07", "t16", "t17", "t18", "t19", "+12", "1.0"]);
}

#[test]
fn before_the_plan_the_block_says_that_it_scans_and_at_the_end_that_it_stops() {
    let mut state = State::of_block();
    assert_eq!(state.block(Duration::from_millis(2100), 80, NO_COLOUR), ["    2.1 s   scanning"]);
    state.hear(&Event::Counts(vec![counts("ocr", 0, 0, 0, 3)]), Duration::from_secs(2));
    state.hear(&Event::Stopping { in_hand: 3 }, Duration::from_secs(3));
    assert_eq!(state.block(Duration::from_secs(3), 80, NO_COLOUR), ["    3.0 s   stopping, 3 in hand"]);
}

#[test]
fn counts_set_the_order_of_targets_whoever_spoke_first() {
    let mut state = State::of_block();
    let started = Event::Starting { target: "embed".into(), module: "m".into() };
    state.hear(&started, Duration::ZERO);
    let list = ["ocr", "clean", "embed"].map(|target| counts(target, 1, 1, 0, 0));
    state.hear(&Event::Counts(list.to_vec()), Duration::ZERO);
    let line = state.plain_line(Duration::from_secs(3671));
    assert_eq!(line, "[01:01:11] ocr 1/2, clean 1/2, embed 1/2");
}

fn in_hand() -> Event {
    let first = Hand {
        worker: 3,
        target: "ocr".into(),
        doc: "docs/atlas.pdf".into(),
        milliseconds: 62_000,
        progress: Some((212.0, Some(840.0))),
        more: 15,
        stack: vec!["modules/ocr.py:41 in page".into(), "modules/ocr.py:12 in ocr".into()],
    };
    let second = Hand {
        worker: 1,
        target: "clean".into(),
        doc: "docs/b.txt".into(),
        milliseconds: 20,
        ..Hand::default()
    };
    Event::InHand { workers: vec![first, second] }
}

#[test]
fn who_asks_is_told_what_is_in_hand_however_quiet_it_is_to_be() {
    let counts = Event::Counts(vec![counts("ocr", 108, 221, 1, 4)]);
    for mode in [Mode::default(), Mode { quiet: true, ..Mode::default() }] {
        let told = said(mode, &[counts.clone(), in_hand()]);
        assert_eq!(
            told,
            "\
\x20 In hand   ocr  docs/atlas.pdf  1m02s on worker 3 (212 of 840), 15 more behind it
               modules/ocr.py:41 in page
               modules/ocr.py:12 in ocr
  In hand   clean  docs/b.txt  20 ms on worker 1
            [00:00:00] ocr 222/330, 1 failed
"
        );
    }
    assert!(
        said(Mode::default(), &[Event::InHand { workers: Vec::new() }]).starts_with("  In hand   nothing\n")
    );
}

#[test]
fn what_is_left_at_first_is_what_it_took_before() {
    let planned = |target: &str, actions: u64, seconds: Option<f64>| Planned {
        target: target.into(),
        actions: Some(actions),
        seconds,
        each: seconds.map(|seconds| seconds * 1e6 / actions as f64),
        ..Planned::default()
    };
    let begun = |embed: Option<f64>| {
        let targets = vec![planned("ocr", 4, Some(20.0)), planned("embed", 2, embed)];
        let mut state = State::of_block();
        state.hear(&Event::Plan { targets, up_to_date: 0 }, Duration::ZERO);
        state.hear(&Event::Started { doc: "a".into(), target: "ocr".into() }, Duration::ZERO);
        state
    };
    let at = |state: &State, seconds| {
        state.plain_line(Duration::from_secs(seconds)).split(", ").last().unwrap().to_owned()
    };
    assert_eq!(at(&begun(Some(100.0)), 2), "about 2m00s left");
    assert_eq!(at(&begun(None), 2), "embed 0/2", "of one target nothing is known");
    // Once work is done its speed counts: 5 s took 5 s, so the 15 s and 100 s of the others take as long.
    let mut state = begun(Some(100.0));
    let done = Finished { doc: "a".into(), target: "ocr".into(), length: 9, ran: ran(5_000_000) };
    state.hear(&Event::Done(done), Duration::from_secs(5));
    let list =
        [("ocr", 3, 1), ("embed", 2, 0)].map(|(target, todo, built)| counts(target, todo, built, 0, 0));
    state.hear(&Event::Counts(list.to_vec()), Duration::from_secs(5));
    assert_eq!(at(&state, 5), "about 2m00s left");
}

/// One event of each kind.
fn all_events() -> Vec<Event> {
    let (doc, target) = ("docs/a.pdf".to_owned(), "ocr".to_owned());
    vec![
        scanned(),
        plan(),
        Event::RunStarted { run: 412 },
        Event::Starting { target: target.clone(), module: "ocr".into() },
        Event::Started { doc: doc.clone(), target: target.clone() },
        Event::Progress { doc: doc.clone(), target: target.clone(), done: 12.0, total: Some(40.0) },
        Event::Warned { doc: Some(doc.clone()), target: target.clone(), message: "page 3 is empty".into() },
        Event::Done(Finished { doc: doc.clone(), target: target.clone(), length: 3174, ran: ran(41_000) }),
        Event::Skipped { doc: doc.clone(), target: target.clone(), reason: "empty".into(), ran: ran(1000) },
        Event::Failed { doc: doc.clone(), target: target.clone(), failure: failure(), ran: ran(9000) },
        Event::Pausing { target: target.clone(), milliseconds: 30_000, failure: asks_for_time() },
        Event::Slow { doc, target, seconds: 60 },
        in_hand(),
        Event::Counts(vec![counts("ocr", 108, 221, 1, 4)]),
        Event::Matched(Matched {
            target: "enriched".into(),
            with: "vendor".into(),
            from: "vendors".into(),
            documents: 330,
            unmatched: 1,
            samples: vec!["docs/a.pdf".into()],
            others: 40,
            unused: Some(1),
            unused_samples: vec!["vendors/17".into()],
            only_by_type: Some(("17".into(), "\"17\"".into())),
        }),
        Event::Notice { message: "a part of the log was damaged".into(), hint: Some("pipe doctor".into()) },
        Event::Stopping { in_hand: 4 },
        Event::Finished(Summary {
            stopped: Some(Stopped::Signal { signal: 2 }),
            unfinished: 108,
            causes: summary().causes.split_off(1),
            failed_documents: 5,
            targets: vec![counts("ocr", 108, 221, 1, 0)],
            ..summary()
        }),
        Event::Watching(Watching {
            sources: vec![Watched { source: "docs".into(), documents: 2_104_331 }],
            every: None,
        }),
        Event::Changed(Changed { paths: vec!["docs/a.pdf".into()], count: 1, everything: false }),
    ]
}

#[test]
fn the_json_stream_is_as_documented() {
    let paper = Paper::default();
    let mut json = Json::with_clock(|| Millis(1_795_430_000_000), Box::new(paper.clone()));
    for event in &all_events() {
        json.event(event);
    }
    drop(json);
    let page = include_str!("../../docs/reference/events.md");
    let documented = page.split("```jsonl\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(paper.text(), documented);
}

#[test]
fn every_json_line_has_version_time_and_run_once() {
    let paper = Paper::default();
    let mut json = Json::with_clock(|| Millis(1), Box::new(paper.clone()));
    for event in &all_events() {
        json.event(event);
    }
    drop(json);
    for line in paper.text().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["v"], &value["ms"]), (&1.into(), &1.into()));
        assert_eq!(line.matches("\"run\":").count(), 1, "{line}");
    }
}

#[test]
fn with_json_nothing_but_the_stream_is_written_unless_asked_for() {
    let mode = Mode { json: true, terminal: true, ..Mode::default() };
    let (out, err) = (Paper::default(), Paper::default());
    let mut quiet = sink(mode, Box::new(out.clone()), Box::new(err.clone()));
    for event in &all_events() {
        quiet.event(event);
    }
    drop(quiet);
    assert_eq!((out.text().lines().count(), err.text().as_str()), (all_events().len(), ""));

    let mode = Mode { progress: Progress::Plain, ..mode };
    let (out, err) = (Paper::default(), Paper::default());
    let mut both = sink(mode, Box::new(out.clone()), Box::new(err.clone()));
    for event in &all_events() {
        both.event(event);
    }
    drop(both);
    assert_eq!(out.text().lines().count(), all_events().len());
    assert!(err.text().contains("Stopped"));
}
