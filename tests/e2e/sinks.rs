//! Log systems and people: what arrives, decoded by a receiver of its own; places that are down; `[notify]`.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::harness::Project;

/// A receiver in a process of its own.
struct Receiver {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    port: u16,
}

impl Receiver {
    fn start(kind: &str) -> Receiver {
        Receiver::start_with(&[kind])
    }

    fn start_with(words: &[&str]) -> Receiver {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fakes/log_receiver.py");
        let mut child =
            Command::new("python3").arg(script).args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        Receiver { child, out, port: line.trim().parse().unwrap() }
    }

    /// All that it received, once the build's last word was among it.
    fn received(mut self) -> Vec<Value> {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success(), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// One good document and one that fails with a very long message.
fn project(to: &str) -> Project {
    Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[source.inbox]\npath = \"inbox\"\n[target.upper]\neach = \"inbox\"\nmodule = \"upper\"\n\
                 [module.upper]\nversion = \"3\"\n\
                 shell = \"if grep -q bad {{in}}; then cat noise >&2; exit 4; fi; tr a-z A-Z < {{in}} > {{out}}\"\n\
                 {to}"
            ),
        )
        .file("inbox/a.txt", "one\n")
        .file("inbox/b.txt", "bad\n")
        .file("noise", "it is bad\n")
}

fn about<'v>(received: &'v [Value], event: &str) -> &'v Value {
    let found = received.iter().find(|message| message["_event"] == event);
    found.unwrap_or_else(|| panic!("no {event} in {received:?}"))
}

fn check_gelf(received: &[Value]) {
    let done = about(received, "done");
    assert_eq!((&done["_document"], &done["_target"]), (&"inbox/a.txt".into(), &"upper".into()));
    assert_eq!((&done["_module"], &done["_version"]), (&"upper".into(), &"3".into()));
    assert_eq!((&done["_run"], &done["_attempt"], &done["level"]), (&1.into(), &1.into(), &6.into()));
    assert!(done["_duration_ms"].as_f64().unwrap() > 0.0 && done["_worker"].is_u64(), "{done}");
    assert!(!done["_project"].as_str().unwrap().is_empty());
    let failed = about(received, "failed");
    assert_eq!((&failed["level"], &failed["_kind"]), (&3.into(), &"module error".into()));
    assert_eq!((&failed["_document"], &failed["_error"]), (&"inbox/b.txt".into(), &"exit 4".into()));
    assert!(failed["full_message"].as_str().unwrap().contains("it is bad"), "{failed}");
    let finished = about(received, "finished");
    assert_eq!(finished["short_message"], "finished: 1 built, 0 reused, 1 failed, exit 1");
}

#[test]
fn graylog_gets_every_event_by_each_of_its_ways() {
    for kind in ["udp", "tcp", "http"] {
        let receiver = Receiver::start(kind);
        let project = project(&format!("[log]\nto = \"gelf+{kind}://127.0.0.1:{}\"\n", receiver.port));
        let said = project.pipe(&["build"]).ends(1);
        assert!(!said.stderr.contains("did not reach"), "{}", said.stderr);
        check_gelf(&receiver.received());
    }
}

#[test]
fn what_is_too_long_for_a_datagram_comes_in_chunks() {
    let receiver = Receiver::start("udp");
    let project = project("").env("PIPE_LOG_TO", &format!("gelf+udp://127.0.0.1:{}", receiver.port));
    // Words that do not shrink to nothing.
    let words: Vec<String> = (0..40_000u64).map(|n| (n * 2_654_435_761 % 1_000_003).to_string()).collect();
    project.write("noise", format!("{}\nit is bad\n", words.join(" ")));
    drop(project.pipe(&["build"]).ends(1));
    let received = receiver.received();
    let chunks: Vec<u64> = received.iter().filter_map(|one| one["chunks"].as_u64()).collect();
    assert!(!chunks.is_empty() && chunks.iter().all(|count| (2..=128).contains(count)), "{chunks:?}");
    check_gelf(&received.iter().filter(|one| one["_event"] != Value::Null).cloned().collect::<Vec<_>>());
}

/// More than fits into the chunks that GELF allows loses its end, and nothing else.
#[test]
fn what_is_longer_than_all_chunks_is_cut_and_still_read() {
    let receiver = Receiver::start("udp");
    let project = Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[log]\nto = \"gelf+udp://127.0.0.1:{}\"\n[source.inbox]\npath = \"inbox\"\n\
                 [target.read]\neach = \"inbox\"\nmodule = \"read\"\n",
                receiver.port
            ),
        )
        .module(
            "read",
            "import random\n@module(version='7')\ndef read(doc):\n    \
             noise = ''.join(random.choices('abcdefghijklmnopqrstuvwxyzäöü0123456789', k=700_000))\n    \
             doc.warn('begin ' + noise)\n    return 'x'\n",
        )
        .file("inbox/b.txt", "good\n");
    let said = project.pipe(&["build"]).ends(0);
    assert!(!said.stderr.contains("did not reach"), "{}", said.stderr);
    let received = receiver.received();
    let warned = about(&received, "warned");
    let text = warned["short_message"].as_str().unwrap();
    assert!(text.starts_with("begin ") && text.ends_with('…') && text.len() > 20_000, "{}", text.len());
    assert_eq!((&warned["_document"], &warned["_version"]), (&"inbox/b.txt".into(), &"7".into()));
    assert_eq!((&warned["_run"], &warned["level"]), (&1.into(), &4.into()));
}

#[test]
fn a_run_is_a_trace_and_an_action_a_span() {
    let receiver = Receiver::start("otlp");
    let project = project(&format!("[log]\nto = [\"otlp+http://127.0.0.1:{}\"]\n", receiver.port));
    drop(project.pipe(&["build"]).ends(1));
    let received = receiver.received();
    let spans: Vec<&Value> = received.iter().filter(|one| one["span"].is_string()).collect();
    let root = spans.iter().find(|span| span["parent"].is_null()).unwrap();
    assert_eq!((&root["span"], &root["service.name"]), (&"pipe build".into(), &"pipe".into()));
    // It ended with 1.
    assert_eq!(root["status"], 2);
    let mut actions: Vec<_> = spans.iter().filter(|span| !span["parent"].is_null()).collect();
    actions.sort_by_key(|span| span["pipe.document"].as_str().unwrap().to_owned());
    assert_eq!(actions.len(), 2, "{spans:?}");
    for span in &actions {
        assert_eq!((&span["trace"], &span["parent"]), (&root["trace"], &root["id"]));
        assert_eq!((&span["span"], &span["pipe.run"]), (&"upper".into(), &1.into()));
    }
    assert_eq!((&actions[0]["status"], &actions[1]["status"]), (&1.into(), &2.into()));
    assert_eq!(actions[1]["exception.type"], "exit 4");
    let logs: Vec<&str> = received.iter().filter_map(|one| one["log"].as_str()).collect();
    assert!(logs.contains(&"upper done: inbox/a.txt"), "{logs:?}");
}

#[test]
fn each_try_is_a_span_with_its_time() {
    let receiver = Receiver::start("otlp");
    let to = format!("[log]\nto = [\"otlp+http://127.0.0.1:{}\"]\n", receiver.port);
    let project = project(&to);
    // The document dies of a signal each time, after a moment.
    let pipelinefile =
        project.read("Pipelinefile").replace("cat noise >&2; exit 4", "sleep 0.05; kill -SEGV $$");
    project.write("Pipelinefile", pipelinefile);
    let build = project.build();
    assert_eq!(build.status, 1);
    let retrying = build.all("retrying");
    assert_eq!(retrying.len(), 2, "{}", build.text());
    assert!(retrying.iter().all(|event| event["duration"].as_u64() >= Some(50_000)), "{retrying:?}");
    let received = receiver.received();
    let of_bad = |one: &&Value| one["span"].is_string() && one["pipe.document"] == "inbox/b.txt";
    let tries: Vec<&Value> = received.iter().filter(of_bad).collect();
    let attempts: Vec<u64> = tries.iter().map(|span| span["pipe.attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert!(tries.iter().all(|span| span["status"] == 2), "{tries:?}");
}

#[test]
fn a_file_of_events_that_cannot_be_written_is_said_once_and_fails_nothing() {
    let project = project("");
    let said = project.pipe(&["build", "--events", "/dev/full"]).ends(1);
    let said = said.says("the file of `--events` cannot be written: ").says("it is not whole");
    assert_eq!(said.stderr.matches("it is not whole").count(), 1, "{}", said.stderr);
}

#[test]
fn lines_go_to_the_end_of_a_file_and_into_one_of_each_build() {
    let project = project("[log]\nto = \"file:all.jsonl\"\n");
    drop(project.pipe(&["build", "--events", "logs/this.jsonl"]).ends(1));
    let events = |file: &str| -> Vec<String> {
        let text = project.read(file);
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["event"].as_str().unwrap().to_owned()).collect()
    };
    let first = events("logs/this.jsonl");
    assert_eq!((first.first().unwrap().as_str(), first.last().unwrap().as_str()), ("scanned", "finished"));
    let kept = events("all.jsonl").len();
    drop(project.pipe(&["build", "--events", "logs/this.jsonl"]).ends(1));
    assert_eq!(events("logs/this.jsonl"), ["scanned", "finished"]);
    assert_eq!(events("all.jsonl").len(), kept + 2);
}

#[test]
fn a_place_that_is_down_fails_nothing_and_is_named() {
    // A port that nobody listens on: it was ours a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let project = project(&format!("[log]\nto = \"gelf+tcp://127.0.0.1:{port}\"\n"));
    let said = project.pipe(&["build"]).ends(1);
    let line = said.stderr.lines().find(|line| line.contains("did not reach")).unwrap();
    assert!(line.starts_with("warning: "), "{line}");
    assert!(line.ends_with(&format!("gelf+tcp://127.0.0.1:{port}: connection refused")), "{line}");
}

#[test]
fn a_place_that_takes_nothing_does_not_hold_up_the_build() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let project = project(&format!("[log]\nto = \"gelf+http://127.0.0.1:{port}\"\n"));
    drop(project.pipe(&["build"]).ends(1).says("messages did not reach gelf+http://"));
}

#[test]
fn people_are_told_of_failures_and_of_good_ends() {
    let project = project(
        "[notify]\non = [\"failed\", \"finished\"]\ncmd = \"echo $PIPE_EVENT: $PIPE_TEXT >> told; cat >> told.json\"\n",
    );
    drop(project.pipe(&["build"]).ends(1));
    let name = project.root().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(project.read("told"), format!("failed: {name}: a build is done, 1 failed\n"));
    let message: Value = serde_json::from_str(project.read("told.json").trim()).unwrap();
    assert_eq!(
        (&message["v"], &message["event"], &message["exit"]),
        (&1.into(), &"failed".into(), &1.into())
    );
    assert_eq!(message["summary"]["causes"][0]["samples"][0], "inbox/b.txt");
    // Nothing to do: nobody is told. Mended: they are.
    drop(project.pipe(&["build"]).ends(1));
    assert_eq!(project.read("told").lines().count(), 1);
    project.write("inbox/b.txt", "good\n");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("told").lines().last().unwrap(), format!("finished: {name}: a build is done"));
}

#[test]
fn people_are_told_of_a_build_that_ends_with_an_error_and_may_ask_the_store() {
    let pipe = env!("CARGO_BIN_EXE_pipe");
    let cmd = format!("(echo $PIPE_EVENT: $PIPE_TEXT; {pipe} failed --json || true) >> told 2>&1");
    let project = project(&format!("[notify]\ncmd = \"{cmd}\"\n"));
    drop(project.pipe(&["build"]).ends(1));
    let told = project.read("told");
    assert!(told.contains("1 failed") && told.contains("inbox/b.txt") && !told.contains("in use"), "{told}");
    std::fs::remove_dir_all(project.root().join("inbox")).unwrap();
    drop(project.pipe(&["build"]).ends(3));
    let told = project.read("told");
    assert!(told.contains("a build could not finish: "), "{told}");
}

#[test]
fn an_address_gets_the_same_message_posted() {
    let receiver = Receiver::start("hook");
    let url = format!("http://127.0.0.1:{}/hooks/build?token=a", receiver.port);
    let project = project(&format!("[notify]\non = [\"failed\"]\nurl = \"{url}\"\n"));
    let said = project.pipe(&["build"]).ends(1);
    assert!(!said.stderr.contains("[notify]"), "{}", said.stderr);
    let received = receiver.received();
    let [message] = &received[..] else { panic!("{received:?}") };
    let name = project.root().file_name().unwrap().to_str().unwrap();
    assert_eq!(message["text"], format!("{name}: a build is done, 1 failed"));
    assert_eq!(
        (&message["event"], &message["run"], &message["exit"]),
        (&"failed".into(), &1.into(), &1.into())
    );
    assert_eq!(message["summary"]["causes"][0]["failure"]["error"], "exit 4");
    // It is gone now: that is said, and changes nothing. Of a good end nobody is told.
    project.write("inbox/c.txt", "bad\n");
    drop(
        project
            .pipe(&["build"])
            .ends(1)
            .says(&format!("{url} of [notify] could not be told: connection refused")),
    );
    project.write("inbox/b.txt", "good\n");
    project.write("inbox/c.txt", "good\n");
    let good = project.pipe(&["build"]).ends(0);
    assert!(!good.stderr.contains("[notify]"), "{}", good.stderr);
}

#[test]
fn an_address_that_refuses_is_named_with_its_answer() {
    let receiver = Receiver::start_with(&["hook", "403"]);
    let url = format!("http://127.0.0.1:{}/hooks/build?token=a", receiver.port);
    let project = project(&format!("[notify]\nurl = \"{url}\"\n"));
    drop(project.pipe(&["build"]).ends(1).says("of [notify] could not be told: it answers 403 Forbidden"));
    assert_eq!(receiver.received().len(), 1);
}

#[test]
fn a_command_that_fails_is_said_and_changes_nothing() {
    let project = project("[notify]\ncmd = \"exit 3\"\n");
    drop(project.pipe(&["build"]).ends(1).says("warning: `cmd` of [notify] ended with exit status: 3\n"));
}

#[test]
fn mistakes_are_said_where_they_are() {
    let project = project("[log]\nto = [\"gelf://x\", \"otlp+https://x\"]\n[notify]\non = \"fialed\"\n");
    let said = project.pipe(&["check"]).ends(2);
    let said = said.says("`to` must be an address that begins with gelf+udp://, gelf+tcp://");
    let said = said.says("`to` must be without TLS: name a collector on this machine");
    drop(said.says("`[notify]` has neither `cmd` nor `url`").says("not \"fialed\"").says("\"failed\""));
    let project = project_of_env();
    project.pipe(&["build"]).shows(
        "
        status: 2
        --- stderr
        error: PIPE_LOG_TO: `nowhere` must be an address that begins with gelf+udp://, gelf+tcp://, gelf+http://, otlp+http://, file:
    ",
    );
}

fn project_of_env() -> Project {
    project("").env("PIPE_LOG_TO", "nowhere")
}

#[test]
fn a_github_workflow_gets_an_annotation_for_each_cause_and_a_page() {
    let project = project("").env("GITHUB_ACTIONS", "true");
    let page = project.root().join("summary.md");
    let project = project.env("GITHUB_STEP_SUMMARY", page.to_str().unwrap());
    let said = project.pipe(&["build"]).ends(1);
    let expected = "::error title=upper%3A 1 document failed::exit 4: it is bad%0Ae.g. inbox/b.txt%0Apipe failed upper\n";
    assert_eq!(said.stdout, expected);
    let text = project.read("summary.md");
    assert!(text.starts_with("## pipe run 1: some documents failed\n"), "{text}");
    assert!(text.contains("| upper | 1 | 0 | 0 | 1 | 0 |\n"), "{text}");
    let said = project.pipe(&["build", "--json"]).ends(1);
    assert!(!said.stdout.contains("::error"), "{}", said.stdout);
}
