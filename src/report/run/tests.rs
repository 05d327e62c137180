//! What is made of one run, in every format, with names and messages that try to break out of it.

use super::*;
use crate::hash::Digest;
use crate::model::action::{Run, State, Used};
use crate::model::failure::{Failure, FailureKind};
use crate::query::log::Shown;
use crate::query::report::{FailedDoc, Slow, Throughput};
use crate::query::run::Action;
use crate::time::Millis;

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
            TargetReport { hits: 3, ..target("a|b<c>") },
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
  10 actions, 3 hits, 2 failed in 4.0 s, 2.5 a second

target  done  hits  skipped  failed     p50    p95    p99  total
ocr        8     -        -       2  400 µs  41 ms  1.5 s  2.0 s
a|b<c>     -     3        -       -       -      -      -      -

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
        assert!([10, 6, 4].contains(&bars), "{line}");
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
        "failure" => &["type", "message"],
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

#[test]
fn as_a_trace_it_is_json_of_bars() {
    let action = Action {
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
        warnings: 0,
        counts: std::collections::BTreeMap::new(),
        log: None,
    };
    let (mut trace, mut text) = Perfetto::begin(7, "pipe build");
    text.push_str(&trace.action(&action));
    text.push_str(Perfetto::end());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bar = &value["traceEvents"][1];
    assert_eq!(
        (&bar["ph"], &bar["ts"], &bar["dur"], &bar["tid"]),
        (&"X".into(), &5000.into(), &70.into(), &3.into())
    );
    assert_eq!((&bar["name"], &bar["args"]["doc"]), (&"ocr".into(), &"in/a".into()));
}

#[test]
fn two_runs_are_compared_target_by_target() {
    let mut after = report();
    after.run.number = 8;
    after.targets[0].p50 = 600;
    after.targets.remove(1);
    let shown = compared(&after, &report(), false);
    assert!(shown.starts_with("run 7 → run 8\n  before: 10 actions"), "{shown}");
    assert!(shown.contains("400 µs → 600 µs (+50 %)"), "{shown}");
    assert!(shown.lines().any(|line| line.starts_with("a|b<c>") && line.contains("3 → 0")), "{shown}");
    assert!(compared(&after, &report(), true).starts_with("## pipe: run 7 → run 8\n"));
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
