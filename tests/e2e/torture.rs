//! Modules that do everything wrong, among documents that are fine: each bad one is named with its right kind, all good
//! ones are done, nothing is left running.

#![expect(clippy::print_stdout, reason = "figures are what the long test is for")]

use std::time::{Duration, Instant};

use crate::harness::Project;

const FAKE: &str = include_str!("../fakes/fake-module.py");

/// What a document makes the worker do, and what is said of it. Who answers twice has answered: the first counts.
const BAD: [(&str, &str); 12] = [
    ("raise no good", "module-error ValueError"),
    ("exit 3", "crash exit 3"),
    ("die SIGSEGV", "crash SIGSEGV"),
    ("spin", "timeout timeout"),
    ("stubborn", "timeout timeout"),
    ("leave", "crash exit 0"),
    ("endless", "timeout timeout"),
    ("raw {\"id\":ID,\"output\":", "bad-reply bad reply"),
    ("take", "out-of-memory out of memory"),
    ("twice", ""),
    ("other", "bad-reply bad reply"),
    ("pipes", "crash closed"),
];

/// Every one of so many documents is bad; none if that is 0.
fn project(documents: usize, every: usize) -> (Project, Vec<String>) {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nretries = 0\ntimeout = \"2s\"\n\
             memory = \"60MB\"\nworkers = 4\ncmd = \"python3 modules/fake.py --window 16\"\n",
        )
        .file("modules/fake.py", FAKE);
    let mut expected = Vec::new();
    let mut bad = BAD.iter().cycle();
    for n in 0..documents {
        let name = format!("{:02}/d{n:05}.txt", n / 1000);
        let mut text = format!("echo d{n}");
        if every > 0
            && n % every == every / 2
            && let Some((word, failure)) = bad.next()
        {
            text = format!("{word} {}", if word.contains(' ') { "" } else { &name });
            if !failure.is_empty() {
                expected.push(format!("read docs/{name}: {failure}"));
            }
        }
        project.write(&format!("docs/{name}"), text.trim_end());
    }
    expected.sort();
    (project, expected)
}

#[test]
fn each_bad_document_is_named_with_its_kind_and_all_others_are_done() {
    let (project, expected) = project(96, 8);
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), expected, "{}", ended.text());
    assert_eq!(ended.finished()["targets"][0]["built"], 96 - expected.len());
    project.no_process_is_left();
    let again = project.build().ends(1);
    assert_eq!(again.all("started").len(), 0, "what failed is kept or set aside");
}

/// The most memory that `pipe` held during a build, in KiB, and how long it took.
fn measured(project: &Project) -> (u64, Duration) {
    let began = Instant::now();
    let mut running = project.start(&["build"]);
    let (pid, mut most) = (running.pid(), 0);
    running.until(|_| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let held = line.and_then(|line| line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok());
        most = most.max(held.unwrap_or(0));
        false
    });
    let ended = running.end();
    let took = began.elapsed();
    assert!([0, 1].contains(&ended.status), "{}", ended.status);
    println!("  {} built, {} failed", ended.finished()["targets"][0]["built"], ended.failures().len());
    (most, took)
}

/// `cargo nextest run --test e2e torture --run-ignored all --no-capture` prints the figures.
#[test]
#[ignore = "takes a minute, and prints figures"]
fn ten_thousand_documents_of_which_one_in_a_hundred_is_bad() {
    let (good, _) = project(10_000, 0);
    let (memory, without) = measured(&good);
    println!("none bad: {without:.1?}, {} MiB", memory / 1024);
    let (bad, expected) = project(10_000, 100);
    let (memory, with) = measured(&bad);
    println!("100 bad: {with:.1?}, {} MiB", memory / 1024);
    let ended = bad.build().ends(1);
    let standing: u64 = ended.finished()["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["count"].as_u64().unwrap())
        .sum();
    assert_eq!(standing, expected.len() as u64);
    bad.no_process_is_left();
}
