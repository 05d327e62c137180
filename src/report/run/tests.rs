//! What is made of one run, in every format, with names and messages that try to break out of it.

use std::collections::BTreeMap;

use super::*;
use crate::hash::Digest;
use crate::model::action::{Ended, Run, State, Used};
use crate::model::failure::{Failure, FailureKind};
use crate::query::log::Shown;
use crate::query::report::{FailedDoc, Slow, Throughput};
use crate::query::run::Action;
use crate::time::Millis;

fn counts(counts: &[(&str, f64)]) -> BTreeMap<String, f64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn report() -> RunReport {
    let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "<b>\"no\" & | `never`\u{1}");
    failure.place = Some("modules/ocr.py:41".into());
    let target = |target: &str| TargetReport { target: target.into(), ..TargetReport::default() };
    RunReport {
        run: Run {
            number: 7,
            start: Millis(1_767_225_600_000),
            command: vec!["pipe".into(), "build".into()],
            version: "0.1.0".into(),
            pipelinefile: Digest::default(),
            host: "box".into(),
        },
        ended: None,
        building: false,
        milliseconds: 4000,
        targets: vec![
            TargetReport {
                done: 8,
                failed: 2,
                p50: 400,
                p95: 41_000,
                p99: 1_500_000,
                max: 1_500_000,
                total: 2_000_000,
                ..target("ocr")
            },
            TargetReport { hits: 3, counts: counts(&[("usd", 0.5), ("tokens", 1200.0)]), ..target("a|b<c>") },
        ],
        slowest: vec![Slow { doc: "in/a]<x>.pdf".into(), target: "ocr".into(), duration: 1_500_000 }],
        failed: vec![FailedDoc { doc: "in/\"q\".pdf".into(), target: "ocr".into(), duration: 9000, failure }],
        throughput: Throughput { every: 1000, ended: vec![vec![2, 0, 8, 0], vec![0; 4]] },
    }
}

#[test]
fn as_text_it_fits_a_terminal() {
    let expected = "\
run 7  2026-01-01 00:00:00
  10 actions, 3 hits, 2 failed in 4.0 s, 2.5 a second; counted 1,200 tokens, $0.50

target  done  hits  skipped  failed     p50    p95    p99  total  counted
ocr        8     -        -       2  400 µs  41 ms  1.5 s  2.0 s  -
a|b<c>     -     3        -       -       -      -      -      -  1,200 tokens, $0.50

failed
  1x ocr  ValueError: <b>\"no\" & | `never`\\u{1}  (modules/ocr.py:41)
     in/\"q\".pdf

slowest
     1.5 s  ocr  in/a]<x>.pdf
";
    let shown = text(&report());
    let zone = shown.lines().next().unwrap_or_default().to_owned();
    assert_eq!(shown.replace(&zone, "run 7  2026-01-01 00:00:00"), expected);
}

#[test]
fn as_markdown_no_cell_breaks_its_table() {
    let shown = markdown(&report());
    let tables = shown.lines().filter(|line| line.starts_with('|'));
    for line in tables {
        let bars = line.replace("\\|", "").matches('|').count();
        assert!([11, 6, 4].contains(&bars), "{line}");
        assert!(!line.contains('<'), "{line}");
    }
    assert!(shown.contains("| 1 | ocr | ValueError: &lt;b&gt;\"no\" &amp; \\| \\`never\\`"), "{shown}");
}

#[test]
fn as_html_it_needs_nothing_and_runs_nothing() {
    let page = html(&report(), "pipe build '<x>'", Some("[source.a]\npath = \"<a>\"\n"));
    for forbidden in ["<script", "http:", "https:", "src=", "<b>", "<x>", "<a>", "<c>"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(page.matches("<rect").count(), 2, "one bar for each stretch in which anything ended");
    assert!(page.contains("path = &quot;&lt;a&gt;&quot;"));
    for tag in ["svg", "table", "div", "pre", "p", "html", "body", "tr", "td", "th"] {
        let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

/// Elements and attributes are among those that `junit-10.xsd` of Jenkins' xUnit plugin knows; GitLab takes these, too.
fn only_known(element: &xml::Element) {
    let known: &[&str] = match element.name.as_str() {
        "testsuites" => &["name", "time", "tests", "failures", "errors"],
        "testsuite" => &["name", "tests", "failures", "errors", "skipped", "time"],
        "testcase" => &["name", "time", "classname"],
        "failure" | "error" => &["type", "message"],
        "skipped" => &["message"],
        other => panic!("<{other}>"),
    };
    assert!(element.attributes.keys().all(|name| known.contains(&name.as_str())), "{element:?}");
    element.children.iter().for_each(only_known);
}

#[test]
fn as_junit_it_is_what_the_schema_asks_for() {
    let page = junit(&report());
    let root = xml::parse(&page);
    assert_eq!(root.name, "testsuites");
    only_known(&root);
    let mut counted = (0, 0);
    for suite in &root.children {
        assert_eq!(suite.name, "testsuite");
        let number = |name: &str| suite.attributes[name].parse::<usize>().unwrap();
        for needed in ["name", "tests", "failures", "errors", "skipped", "time"] {
            assert!(suite.attributes.contains_key(needed), "{needed}");
        }
        for case in &suite.children {
            assert_eq!(case.name, "testcase");
            assert!(!case.attributes["name"].is_empty());
            assert_eq!(case.attributes["classname"], suite.attributes["name"]);
            assert!(case.attributes["time"].parse::<f64>().is_ok());
            assert!(case.children.iter().all(|child| child.name == "failure"));
            assert!(case.children.len() <= 1);
        }
        let failed = suite.children.iter().filter(|case| !case.children.is_empty()).count();
        assert_eq!((number("tests"), number("failures")), (suite.children.len(), failed));
        counted = (counted.0 + number("tests"), counted.1 + number("failures"));
    }
    let number = |name: &str| root.attributes[name].parse::<usize>().unwrap();
    assert_eq!((number("tests"), number("failures")), counted);
    let case = &root.children[0].children[1];
    assert_eq!(case.attributes["name"], "in/\"q\".pdf");
    assert_eq!(case.children[0].attributes["type"], "module error");
    assert!(case.children[0].text.contains("at modules/ocr.py:41\npipe try ocr 'in/\"q\".pdf'"));
    // One of two failures is named; the other is counted.
    assert_eq!(root.children[0].children[2].attributes["name"], "1 more");
}

fn action() -> Action {
    Action {
        doc: "in/a".into(),
        target: "ocr".into(),
        start: Millis(5),
        duration: 70,
        worker: 3,
        attempt: 1,
        state: State::Done,
        outcome: Shown::Output {
            size: 9,
            digest: Digest::default(),
            ext: "txt".into(),
            meta: serde_json::Value::Null,
            same: false,
            files: None,
        },
        reasons: Vec::new(),
        used: Some(Used { cpu: 60, peak: 100 }),
        said: crate::query::log::Said::default(),
        log: None,
    }
}

#[test]
fn as_a_trace_it_is_json_of_bars() {
    let (mut trace, mut text) = Perfetto::begin(7, "pipe build");
    text.push_str(&trace.action(&action()));
    text.push_str(Perfetto::end());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bar = &value["traceEvents"][1];
    assert_eq!(
        (&bar["ph"], &bar["ts"], &bar["dur"], &bar["tid"]),
        (&"X".into(), &5000.into(), &70.into(), &3.into())
    );
    assert_eq!((&bar["name"], &bar["args"]["doc"]), (&"ocr".into(), &"in/a".into()));
}

/// Two runs: the later one is slower, spends more, and failed on one document anew and on one again.
fn two() -> (RunReport, RunReport) {
    let mut after = report();
    after.run.number = 8;
    after.targets[0].p50 = 600;
    after.targets[0].counts = counts(&[("usd", 1.25)]);
    after.targets.remove(1);
    after.throughput.ended.remove(1);
    let anew = FailedDoc { doc: "in/<new>.pdf".into(), ..after.failed[0].clone() };
    after.failed.push(anew);
    let mut before = report();
    before.failed.push(FailedDoc { doc: "in/mended.pdf".into(), ..before.failed[0].clone() });
    (after, before)
}

#[test]
fn two_runs_are_compared_target_by_target() {
    let (after, before) = two();
    let shown = text_of_two(&after, &before);
    let expected = "\
run 7 → run 8
  before: 10 actions, 3 hits, 2 failed in 4.0 s, 2.5 a second; counted 1,200 tokens, $0.50
  after: 10 actions, 2 failed in 4.0 s, 2.5 a second; counted $1.25

target      ran   hits  skipped  failed                      p50                   p95                   p99                 total  counted
ocr     10 → 10  0 → 0    0 → 0   2 → 2  400 µs → 600 µs (+50 %)  41 ms → 41 ms (+0 %)  1.5 s → 1.5 s (+0 %)  2.0 s → 2.0 s (+0 %)  $0.00 → $1.25
a|b<c>    0 → 0  3 → 0    0 → 0   0 → 0                    - → -                 - → -                 - → -                 - → -  1,200 tokens → 0 tokens, $0.50 → $0.00

1 failed anew, 1 failed in both, 1 failed in run 7 alone
  ocr  in/<new>.pdf  ValueError: <b>\"no\" & | `never`\\u{1}
";
    assert_eq!(shown, expected);
    let marked = markdown_of_two(&after, &before);
    assert!(marked.starts_with("## pipe: run 7 → run 8\n\nbefore: 10 actions"), "{marked}");
    assert!(marked.contains("\\$0.50 → \\$0.00") && marked.contains("### Failed anew"), "{marked}");
    assert!(marked.contains("| ocr | in/&lt;new&gt;.pdf | ValueError: &lt;b&gt;"), "{marked}");
    assert!(
        !text_of_two(&RunReport { failed: Vec::new(), ..after }, &RunReport { failed: Vec::new(), ..before })
            .contains("anew")
    );
}

#[test]
fn two_runs_are_one_page_with_what_differs() {
    let (after, before) = two();
    let page = html_of_two(
        (&after, "pipe build", Some("[source.a]\npath = \"<b>\"\n")),
        (&before, "pipe build '<x>'", Some("[source.a]\npath = \"<a>\"\n")),
    );
    for forbidden in ["<script", "http:", "https:", "src=", "<b>", "<x>", "<a>", "<c>", "<new>"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("<title>pipe: Run 7 → run 8</title>"));
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("- path = &quot;&lt;a&gt;&quot;\n+ path = &quot;&lt;b&gt;&quot;"), "{page}");
    assert!(page.contains("<td>400 µs → 600 µs (+50 %)</td>") && page.contains("$0.50 → $0.00"));
    assert!(page.contains("in/&lt;new&gt;.pdf") && !page.contains("in/mended.pdf"));
    let same = html_of_two((&after, "", Some("a")), (&before, "", Some("a")));
    assert!(same.contains("Both ran the same."));
}

/// What CI that judges a change wants to know: what the change broke.
#[test]
fn as_junit_two_runs_have_as_failures_what_failed_anew() {
    let (after, before) = two();
    let after = RunReport { ended: Some(Ended { failed: 5, ..Ended::default() }), ..after };
    let page = junit_of_two(&after, &before);
    let root = xml::parse(&page);
    only_known(&root);
    assert_eq!(root.attributes["name"], "pipe run 8, compared with run 7");
    assert_eq!((&*root.attributes["tests"], &*root.attributes["failures"]), ("4", "1"));
    let suite = &root.children[0];
    assert_eq!((&*suite.attributes["failures"], &*suite.attributes["skipped"]), ("1", "1"));
    let found: Vec<(&str, Option<&str>)> = suite
        .children
        .iter()
        .map(|case| (&*case.attributes["name"], case.children.first().map(|inside| &*inside.name)))
        .collect();
    let expected =
        [("8 documents", None), ("in/\"q\".pdf", Some("skipped")), ("in/<new>.pdf", Some("failure"))];
    assert_eq!(found, expected);
    assert!(suite.children[1].children[0].attributes["message"].starts_with("it failed in run 7, too: "));
    // Failures of earlier builds that still stand are nothing new either.
    assert_eq!(root.children[1].children[0].children[0].name, "skipped");
}

#[test]
fn as_a_trace_two_runs_are_two_processes_that_begin_together() {
    let (trace, begun) = Perfetto::begin(8, "pipe build");
    let mut trace = trace.from(Millis(100_000));
    let (mut beside, named) = trace.beside(7, Millis(5000), "pipe build --jobs 1");
    let action = |start| Action { start: Millis(start), ..action() };
    let text =
        begun + &trace.action(&action(100_005)) + &named + &beside.action(&action(5007)) + Perfetto::end();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let events = value["traceEvents"].as_array().unwrap();
    let shown: Vec<_> = events.iter().map(|event| (event["pid"].as_u64(), event["ts"].as_u64())).collect();
    let expected = [(Some(8), None), (Some(8), Some(5000)), (Some(7), None), (Some(7), Some(7000))];
    assert_eq!(shown, expected);
}

/// Just enough of XML: elements, attributes, text; everything else is an error.
mod xml {
    use std::collections::BTreeMap;

    #[derive(Debug, Default)]
    pub(super) struct Element {
        pub(super) name: String,
        pub(super) attributes: BTreeMap<String, String>,
        pub(super) children: Vec<Element>,
        pub(super) text: String,
    }

    pub(super) fn parse(text: &str) -> Element {
        let mut rest = text.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").unwrap();
        let root = element(&mut rest);
        assert_eq!(rest.trim(), "", "something behind the root");
        root
    }

    fn element(rest: &mut &str) -> Element {
        let (tag, behind) = rest.trim_start().strip_prefix('<').unwrap().split_once('>').unwrap();
        *rest = behind;
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut found = Element { name: name.to_owned(), ..Element::default() };
        while let Some((name, after)) = attributes.split_once("=\"") {
            let (value, after) = after.split_once('"').unwrap();
            assert!(found.attributes.insert(name.trim().to_owned(), plain(value)).is_none(), "{name} twice");
            attributes = after;
        }
        assert_eq!(attributes.trim(), "");
        if is_empty {
            return found;
        }
        loop {
            let (before, behind) = rest.split_once('<').unwrap();
            found.text.push_str(&plain(before));
            if let Some(end) = behind.strip_prefix('/') {
                *rest = end.strip_prefix(&*found.name).unwrap().strip_prefix('>').unwrap();
                break;
            }
            *rest = &rest[before.len()..];
            found.children.push(element(rest));
        }
        found
    }

    fn plain(text: &str) -> String {
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'),
            "no such thing in XML: {text:?}"
        );
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#10;", "\n"), ("&#9;", "\t")];
        let text = entities.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        assert!(!text.replace("&amp;", "").contains('&'), "{text}");
        text.replace("&amp;", "&")
    }
}
