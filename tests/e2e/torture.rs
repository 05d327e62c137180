//! Modules that do everything wrong, among documents that are fine: each bad one is named with its right kind, all good
//! ones are done, nothing is left running.

use std::time::{Duration, Instant};

use crate::harness::{Ended, Project, python};

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

/// Every one of so many documents is bad, none if that is 0; each good one takes so many seconds. No two have one key,
/// since the module sees their ids.
fn project(documents: usize, every: usize, each: f64) -> (Project, Vec<String>) {
    let project = Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nsees = [\"ext\", \"id\"]\n\
                 retries = 0\ntimeout = \"2s\"\nmemory = \"60MB\"\nworkers = 4\ncmd = \"{} modules/fake.py --window 16\"\n",
                python()
            ),
        )
        .file("modules/fake.py", FAKE);
    let mut expected = Vec::new();
    let mut bad = BAD.iter().cycle();
    for n in 0..documents {
        let name = format!("{:02}/d{n:05}.txt", n / 1000);
        let mut text = if each > 0.0 { format!("slow {each}") } else { format!("echo d{n}") };
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
    let (project, expected) = project(96, 8, 0.0);
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), expected, "{}", ended.text());
    assert_eq!(ended.finished()["targets"][0]["built"], 96 - expected.len());
    project.no_process_is_left();
    let again = project.build().ends(1);
    assert_eq!(again.all("started").len(), 0, "what failed is kept or set aside");
}

/// A build, the most memory that `pipe` held in it, in KiB, and how long it took.
fn measured(project: &Project) -> (Ended, u64, Duration) {
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
    (ended, most, began.elapsed())
}

/// What the bad ones wait for by rule: each is tried in company and again alone, both times up to its limit; then come
/// the stack (0.3 s), and 2 s for who ignores SIGTERM. All of it is spread over four workers.
fn limits(expected: &[String]) -> Duration {
    let hang = expected.iter().filter(|failure| failure.ends_with("timeout timeout")).count();
    let closed = expected.iter().filter(|failure| failure.ends_with("crash closed")).count();
    // A third of those that hang ignores SIGTERM.
    Duration::from_secs_f64(2.0 * (hang as f64 * (2.0 + 0.3 + 2.0 / 3.0) + closed as f64) / 4.0)
}

/// `cargo test --release --test e2e torture -- --ignored --nocapture` prints the figures.
#[test]
#[ignore = "takes minutes, and prints figures"]
fn ten_thousand_documents_of_which_one_in_a_hundred_is_bad() {
    for each in [0.02, 0.0] {
        let (good, _) = project(10_000, 0, each);
        let (ended, memory, without) = measured(&good);
        assert_eq!(ended.ends(0).finished()["targets"][0]["built"], 10_000);
        println!("{each} s a document, none bad: {without:.1?}, {} MiB", memory / 1024);
        let (bad, expected) = project(10_000, 100, each);
        let (ended, memory, with) = measured(&bad);
        let ended = ended.ends(1);
        assert_eq!(ended.failures(), expected, "{}", ended.text());
        assert_eq!(ended.finished()["targets"][0]["built"], 10_000 - expected.len());
        bad.no_process_is_left();
        // The last of them has nobody beside it.
        let limits = limits(&expected) + Duration::from_secs_f64(2.0 * 4.3);
        let ratio = with.saturating_sub(limits).as_secs_f64() / without.as_secs_f64();
        println!("{each} s a document, 100 bad: {with:.1?}, {} MiB", memory / 1024);
        println!("  of it time limits up to {limits:.1?}, the rest {ratio:.2} of the time without bad ones");
        let again = bad.build().ends(1);
        assert_eq!(again.all("started").len(), 0, "what failed is kept or set aside");
    }
}
