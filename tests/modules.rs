//! Modules as real programs under the real host: what is promised of a worker and of a filter, and of their ends.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use pipelinefile::fs;
use pipelinefile::model::failure::{Failure, FailureKind};
use pipelinefile::model::pipeline::Program;
use pipelinefile::module::{
    Answer, Body, Died, Done, Host, Input, Launch, Output, OutputBody, Report, Request, SETUP_TIMEOUT, Side,
    Slot, describe,
};
use pipelinefile::sys;

/// Nothing here takes longer, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project with one launch, and what a slot said so far.
struct Project {
    folder: tempfile::TempDir,
    host: Arc<Host>,
    launch: Launch,
}

/// A running slot with its reports.
struct Running {
    slot: Slot,
    reports: Receiver<Vec<Report>>,
    seen: Vec<Report>,
}

/// The interpreter itself: a shim would take longer than many a test.
fn python() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = pipelinefile::module::python::find(Path::new("/")).unwrap();
        found.executable.to_str().unwrap().to_owned()
    })
}

fn host() -> Arc<Host> {
    Arc::new(Host::new(env!("CARGO_BIN_EXE_pipe"), ["__host"]))
}

impl Project {
    fn new(program: Program) -> Self {
        let folder = tempfile::Builder::new().prefix("pipe it's \"a\" ").tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let tmp = root.join(".pipe/tmp");
        fs::create_dir(&tmp).unwrap();
        let launch = Launch {
            program,
            log: root.join(".pipe/logs/1-1"),
            root,
            python: None,
            env: Vec::new(),
            params: std::collections::BTreeMap::new(),
            with: Vec::new(),
            with_each: Vec::new(),
            sees: vec!["ext".to_owned()],
            tmp,
            timeout: None,
            memory: None,
            setup_timeout: SETUP_TIMEOUT,
            secrets: Vec::new(),
            withheld: Vec::new(),
            batch: None,
            at_once: None,
            ext: None,
            readable: Vec::new(),
            code: Vec::new(),
            fingerprint: None,
            split: None,
        };
        Project { folder, host: host(), launch }
    }

    /// The scripted worker with these options.
    fn worker(options: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fakes/fake-module.py");
        let mut words = vec![python().to_owned(), script.to_str().unwrap().to_owned()];
        words.extend(options.split_whitespace().map(str::to_owned));
        Self::new(Program::Worker(words))
    }

    fn shell(script: &str) -> Self {
        Self::new(Program::Shell(script.to_owned()))
    }

    fn timeout(mut self, millis: u64) -> Self {
        self.launch.timeout = Some(Duration::from_millis(millis));
        self
    }

    fn start(&self) -> Running {
        let (sender, reports) = channel();
        let launch = Arc::new(self.launch.clone());
        let slot = Slot::start(Arc::clone(&self.host), 1, launch, move |batch| {
            // Nobody listens any more once a test is over.
            drop(sender.send(batch));
        });
        Running { slot: slot.unwrap(), reports, seen: Vec::new() }
    }

    /// What became of one document.
    fn one(&self, text: &str) -> Done {
        self.start().ask(&[text]).remove(0).done
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.launch.log).unwrap()).into_owned()
    }
}

impl Running {
    fn send(&self, texts: &[&str]) {
        self.send_from(1, texts);
    }

    fn send_from(&self, first: u64, texts: &[&str]) {
        let requests = texts.iter().zip(first..).map(|(text, id)| request(id, text)).collect();
        self.slot.send(requests);
    }

    /// Reads on until `enough`; everything seen stays in `seen`.
    fn until(&mut self, enough: impl Fn(&[Report]) -> bool) {
        while !enough(&self.seen) {
            match self.reports.recv_timeout(PATIENCE) {
                Ok(batch) => self.seen.extend(batch),
                Err(error) => panic!("{error}: {:#?}", self.seen),
            }
        }
    }

    fn answers(&self) -> Vec<Answer> {
        let answer = |report: &Report| match report {
            Report::Answer(answer) => Some((**answer).clone()),
            _ => None,
        };
        self.seen.iter().filter_map(answer).collect()
    }

    fn died(&self) -> Option<Died> {
        self.seen.iter().find_map(|report| match report {
            Report::Died(died) => Some((**died).clone()),
            _ => None,
        })
    }

    fn fatal(&self) -> Option<(Failure, Vec<u64>)> {
        self.seen.iter().find_map(|report| match report {
            Report::Fatal { failure, returned } => Some((failure.clone(), returned.clone())),
            _ => None,
        })
    }

    /// The answers to these, in order of arrival.
    fn ask(&mut self, texts: &[&str]) -> Vec<Answer> {
        self.send(texts);
        self.until(|seen| {
            seen.iter().filter(|report| matches!(report, Report::Answer(_))).count() >= texts.len()
        });
        self.answers()
    }

    /// Waits for a death.
    fn wait_death(&mut self) -> Died {
        self.until(|seen| seen.iter().any(|report| matches!(report, Report::Died(_))));
        self.died().unwrap()
    }

    /// Waits for the word that it cannot start.
    fn wait_fatal(&mut self) -> (Failure, Vec<u64>) {
        self.until(|seen| seen.iter().any(|report| matches!(report, Report::Fatal { .. })));
        self.fatal().unwrap()
    }

    /// Waits for the last word: what comes back unanswered.
    fn wait_end(&mut self) -> Vec<u64> {
        self.until(|seen| matches!(seen.last(), Some(Report::Ended { .. })));
        match self.seen.last() {
            Some(Report::Ended { returned }) => returned.clone(),
            other => panic!("{other:?}"),
        }
    }
}

fn input(text: &str) -> Input {
    Input::new(Body::Bytes(Arc::from(text.as_bytes())), "txt")
}

fn request(id: u64, text: &str) -> Request {
    Request { id, input: input(text), with: Vec::new() }
}

fn text_of(done: &Done) -> String {
    match done {
        Done::Output(Output { body: OutputBody::Bytes { bytes, .. }, .. }) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        other => panic!("{other:?}"),
    }
}

fn failure_of(done: &Done) -> Failure {
    match done {
        Done::Failed(failure) => failure.clone(),
        other => panic!("{other:?}"),
    }
}

fn ids(answers: &[Answer]) -> Vec<u64> {
    answers.iter().map(|answer| answer.id).collect()
}

/// Waits until `what` is so.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        std::thread::yield_now();
    }
}

fn is_alive(pid: u32) -> bool {
    sys::processes().iter().any(|process| process.pid == pid && !process.zombie)
}

// ---------------------------------------------------------------- workers

#[test]
fn documents_in_a_window_are_answered_in_order_each_with_its_own_log() {
    let project = Project::worker("--window 8");
    let texts: Vec<String> = (0..100).map(|i| format!("print line {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut running = project.start();
    let answers = running.ask(&texts);
    assert_eq!(ids(&answers), (1..=100).collect::<Vec<_>>());
    let log = project.log();
    for (i, answer) in answers.iter().enumerate() {
        let range = answer.log.unwrap();
        assert_eq!(&log[range.from as usize..(range.from + range.length) as usize], format!("line {i}\n"));
        assert_eq!(text_of(&answer.done), format!("line {i}"));
    }
    assert!(matches!(&running.seen[0], Report::Ready { files, .. } if files == &["modules/x.py"]));
}

#[test]
fn a_worker_without_a_window_gets_one_document_at_a_time_and_pipe_takes_its_log() {
    let project = Project::worker("");
    let answers = project.start().ask(&["print one", "echo quiet", "print two"]);
    let log = project.log();
    let printed: Vec<Option<&str>> = answers
        .iter()
        .map(|answer| answer.log.map(|range| &log[range.from as usize..(range.from + range.length) as usize]))
        .collect();
    assert_eq!(printed, [Some("one\n"), None, Some("two\n")]);
}

#[test]
fn every_kind_of_answer_arrives_as_what_it_is() {
    let project = Project::worker("--window 4");
    let texts = ["skip too short", "raise no text layer", "retry later", "memory", "same", "grow", "notes"];
    let mut running = project.start();
    let answers = running.ask(&texts);
    assert_eq!(answers[0].done, Done::Skip("too short".to_owned()));
    let raised = failure_of(&answers[1].done);
    assert_eq!((raised.kind, raised.place.as_deref()), (FailureKind::ModuleError, Some("modules/x.py:3")));
    assert_eq!(raised.summary(), "ValueError: no text layer");
    assert!(failure_of(&answers[2].done).retry);
    assert_eq!(answers[2].pause, Some(Duration::from_millis(1500)));
    assert_eq!(failure_of(&answers[3].done).kind, FailureKind::OutOfMemory);
    let same = Output { body: OutputBody::Same, ext: String::new(), meta: "{\"lang\":\"en\"}".to_owned() };
    assert_eq!(answers[4].done, Done::Output(same));
    assert_eq!(answers[5].files.as_deref(), Some(&["a.py".to_owned(), "b.py".to_owned()][..]));
    assert_eq!(answers[5].packages.as_ref().map(|packages| packages[0].version.as_str()), Some("2.4.6"));
    let noted = running.seen.iter().filter(|report| {
        matches!(
            report,
            Report::Progress { id: 7, total: Some(2.0), .. }
                | Report::Warn { id: Some(7), .. }
                | Report::Count { id: 7, .. }
        )
    });
    assert_eq!(noted.count(), 3);
}

#[test]
fn a_module_gets_its_params_and_side_inputs_and_sees_no_more_than_it_may() {
    let mut project = Project::worker("--window 4");
    project.launch.sees = vec!["ext".to_owned(), "id".to_owned()];
    let mut running = project.start();
    let mut seen = request(1, "show");
    seen.input.id = Some("inbox/a.txt".to_owned());
    seen.with = vec![("fix".to_owned(), Side::One(input("side"))), ("none".to_owned(), Side::Absent)];
    let folder = Request { id: 2, input: Input::new(Body::Path("/nowhere/x".into()), ""), with: Vec::new() };
    running.slot.send(vec![seen, folder]);
    running.until(|seen| seen.iter().filter(|report| matches!(report, Report::Answer(_))).count() == 2);
    let sent: Vec<String> = running.answers().iter().map(|answer| text_of(&answer.done)).collect();
    assert_eq!(
        sent,
        [
            "{\"text\": \"show\", \"ext\": \"txt\", \"doc_id\": \"inbox/a.txt\", \"sees\": [\"ext\", \"id\"], \
             \"with\": {\"fix\": {\"text\": \"side\", \"ext\": \"txt\"}, \"none\": null}}",
            "{\"path\": \"/nowhere/x\", \"ext\": \"\", \"sees\": [\"ext\", \"id\"]}",
        ]
    );
}

#[test]
fn small_files_come_into_memory_and_large_ones_are_taken_over() {
    let project = Project::worker("--window 4");
    let mut running = project.start();
    let answers = running.ask(&["file 10", "file 300000"]);
    assert_eq!(text_of(&answers[0].done), "x".repeat(10));
    let Done::Output(Output { body: OutputBody::File { path, digest, length }, ext, meta }) =
        &answers[1].done
    else {
        panic!("{:?}", answers[1].done)
    };
    assert_eq!((*length, ext.as_str(), meta.as_str()), (300_000, "bin", "{\"a\":2,\"b\":1}"));
    assert_eq!(pipelinefile::hash::Digest::of(&fs::read(path).unwrap()), *digest);
    running.slot.finish();
    assert_eq!(running.wait_end(), Vec::<u64>::new());
    assert_eq!(fs::files_below(&project.launch.tmp).unwrap(), std::slice::from_ref(path));
}

#[test]
fn large_requests_and_answers_in_hand_do_not_deadlock() {
    let project = Project::worker("--window 64");
    let text = format!("echo {}", "z".repeat(64 * 1024));
    let answers = project.start().ask(&vec![text.as_str(); 256]);
    assert!(answers.iter().all(|answer| text_of(&answer.done).len() == 64 * 1024));
}

#[test]
fn a_crash_blames_the_oldest_in_hand_and_gives_back_the_others() {
    let project = Project::worker("--window 8");
    let mut running = project.start();
    running.send(&["echo a", "die SIGSEGV", "echo b", "echo c"]);
    let died = running.wait_death();
    assert_eq!(died.failure.kind, FailureKind::Crash);
    assert_eq!(died.failure.summary(), "SIGSEGV: the worker died of SIGSEGV");
    assert_eq!((died.suspects, died.others), (vec![2], vec![3, 4]));
    assert_eq!(ids(&running.answers()), [1]);
    running.send_from(3, &["echo b", "echo c"]);
    running.until(|seen| seen.iter().filter(|report| matches!(report, Report::Answer(_))).count() == 3);
    assert_eq!(ids(&running.answers()), [1, 3, 4]);
}

#[test]
fn an_end_without_an_answer_is_a_crash_whatever_the_code() {
    for (code, error) in
        [("exit 0", "exit 0"), ("exit 3", "exit 3"), ("die SIGKILL", "SIGKILL"), ("die SIGTERM", "SIGTERM")]
    {
        let project = Project::worker("");
        let mut running = project.start();
        running.send(&[code]);
        let died = running.wait_death();
        assert_eq!((died.failure.kind, died.failure.error.as_str()), (FailureKind::Crash, error));
        if code.starts_with("exit") {
            assert!(
                died.failure.message.ends_with("the last line of its log: last words"),
                "{}",
                died.failure.message
            );
            let range = died.log.unwrap();
            assert_eq!(range.length, "last words\n".len() as u64);
        }
    }
}

#[test]
fn of_a_concurrent_worker_all_in_hand_are_suspects() {
    let project = Project::worker("--window 8 --concurrent 4");
    let mut running = project.start();
    running.send(&["exit 1", "echo b", "echo c"]);
    let died = running.wait_death();
    assert_eq!((died.suspects, died.others), (vec![1, 2, 3], vec![]));
}

#[test]
fn a_document_that_hangs_is_ended_and_its_log_shows_where() {
    let project = Project::worker("--window 8").timeout(300);
    let mut running = project.start();
    running.send(&["echo a", "hang", "echo b"]);
    let died = running.wait_death();
    assert_eq!(died.failure.kind, FailureKind::Timeout);
    assert_eq!(died.failure.summary(), "timeout: no answer within 300 ms");
    let stack = died.failure.traceback.unwrap();
    assert!(stack.contains("hanging") && stack.contains("in answer"), "{stack}");
    assert_eq!((died.suspects, died.others), (vec![2], vec![3]));
}

#[test]
fn a_worker_that_ignores_sigterm_is_killed() {
    let project = Project::worker("").timeout(200);
    let mut running = project.start();
    running.send(&["stubborn"]);
    assert_eq!(running.wait_death().failure.kind, FailureKind::Timeout);
}

#[test]
fn the_clock_of_a_document_starts_at_the_answer_before_it() {
    let project = Project::worker("--window 8").timeout(2_000);
    let answers = project.start().ask(&["slow 0.4"; 8]);
    assert_eq!(answers.len(), 8);
    assert!(answers.iter().all(|answer| answer.duration_us < 2_000_000), "{answers:#?}");
}

#[test]
fn fault_e07_a_worker_that_does_not_read_is_ended_and_does_not_block() {
    let project = Project::worker("--start deaf").timeout(300);
    let mut running = project.start();
    running.send(&[&"x".repeat(4 << 20)]);
    assert_eq!(running.wait_death().failure.kind, FailureKind::Timeout);
}

#[test]
fn a_worker_that_closes_its_output_has_crashed() {
    let project = Project::worker("");
    let mut running = project.start();
    running.send(&["close"]);
    let died = running.wait_death();
    assert_eq!((died.failure.kind, died.suspects), (FailureKind::Crash, vec![1]));
}

#[test]
fn what_is_no_frame_goes_to_the_log_with_one_warning() {
    let project = Project::worker("--start stray");
    let mut running = project.start();
    let answers = running.ask(&["stray", "stray"]);
    assert_eq!(text_of(&answers[1].done), "after");
    let log = project.log();
    assert!(log.contains("loading the model\n") && log.contains("plain text\n{\"a\": 1}\n"), "{log}");
    let warnings = running.seen.iter().filter(|report| matches!(report, Report::Warn { id: None, .. }));
    assert_eq!(warnings.count(), 1);
}

#[test]
fn a_flood_on_standard_output_is_cut_and_the_answer_arrives() {
    let project = Project::worker("");
    assert_eq!(text_of(&project.one("flood 200")), "flooded");
    let log = project.log();
    assert!(log.len() < 2 << 20 && log.ends_with("left out)\n"), "{}", log.len());
}

#[test]
fn a_broken_answer_ends_the_worker_and_blames_one_document() {
    for raw in [
        "raw {\"id\":ID,\"output\":",
        "raw {\"id\":ID,\"output\":{\"json\":NaN}}",
        "raw {\"id\":99,\"skip\":\"x\"}",
        "raw {\"id\":ID,\"skip\":\"x\",\"error\":{}}",
        "raw {\"id\":4294967296000000000000,\"skip\":\"x\"}",
    ] {
        let project = Project::worker("--window 4");
        let mut running = project.start();
        running.send(&[raw, "slow 60"]);
        let died = running.wait_death();
        assert_eq!(
            (died.failure.kind, died.suspects, died.others),
            (FailureKind::BadReply, vec![1], vec![2]),
            "{raw}"
        );
        assert!(died.failure.message.starts_with("protocol error: "), "{}", died.failure.message);
    }
}

#[test]
fn a_module_that_cannot_start_says_so_in_its_own_words() {
    let cases = [
        ("--start fatal", FailureKind::ModuleError, "ImportError: no numpy"),
        (
            "--start exit",
            FailureKind::Crash,
            "exit 1: the worker ended before it was ready; the last line of its log: ImportError: no module named nosuch",
        ),
        (
            "--start broken",
            FailureKind::BadReply,
            "bad reply: protocol error: EOF while parsing a value at line 1 column 9, in `{\"ready\":`",
        ),
    ];
    for (options, kind, summary) in cases {
        let project = Project::worker(options);
        let mut running = project.start();
        running.send(&["echo a", "echo b"]);
        let (failure, returned) = running.wait_fatal();
        assert_eq!((failure.kind, failure.summary().as_str()), (kind, summary));
        assert_eq!(returned, [1, 2]);
    }
}

#[test]
fn fault_e01_a_module_that_hangs_at_the_start_is_ended() {
    let mut project = Project::worker("--start hang");
    project.launch.setup_timeout = Duration::from_millis(300);
    let mut running = project.start();
    running.send(&["echo a"]);
    let (failure, _) = running.wait_fatal();
    assert_eq!(failure.summary(), "timeout: not ready within 300 ms");
}

#[test]
fn a_worker_that_does_not_describe_itself_still_works() {
    assert_eq!(text_of(&Project::worker("--start no-describe").one("echo x")), "x");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    for (word, summary) in [
        (
            "nosuchprogram",
            "command not found: nosuchprogram: install it, or write its path in `cmd`; PATH was searched",
        ),
        ("./nosuch", "command not found: ./nosuch: there is no such file in the project"),
    ] {
        for program in [Program::Worker(vec![word.into()]), Program::Filter(vec![word.into(), "{in}".into()])]
        {
            let project = Project::new(program);
            let mut running = project.start();
            running.send(&["x"]);
            let (failure, returned) = running.wait_fatal();
            assert_eq!((failure.summary().as_str(), returned), (summary, vec![1]));
        }
    }
}

#[test]
fn a_restart_gives_a_fresh_process_and_finish_lets_all_be_done() {
    let project = Project::worker("--window 4");
    let mut running = project.start();
    let first = text_of(&running.ask(&["pid"])[0].done);
    running.slot.restart();
    running.send_from(2, &["pid", "slow 0.1", "echo x"]);
    running.slot.finish();
    assert_eq!(running.wait_end(), Vec::<u64>::new());
    let answers = running.answers();
    assert_eq!(ids(&answers), [1, 2, 3, 4]);
    assert_ne!(text_of(&answers[1].done), first);
    let used = running.seen.iter().filter(|report| matches!(report, Report::Used { peak_kib: 1.., .. }));
    assert_eq!(used.count(), 2);
}

#[test]
fn a_killed_slot_gives_back_what_it_had() {
    let project = Project::worker("--window 2");
    let mut running = project.start();
    running.send(&["linger", "hang", "echo a", "echo b"]);
    running.until(|seen| seen.iter().any(|report| matches!(report, Report::Answer(_))));
    let lingering: Vec<u32> = serde_json::from_str(&text_of(&running.answers()[0].done)).unwrap();
    assert!(lingering.iter().all(|pid| is_alive(*pid)));
    running.slot.kill();
    assert_eq!(running.wait_end(), [2, 3, 4]);
    eventually("all below it are gone", || !lingering.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn a_worker_describes_itself() {
    let project = Project::worker("--window 64 --start stray");
    let found = describe(&project.host, &project.launch, PATIENCE).unwrap();
    assert_eq!((found.name.as_str(), found.window, found.takes_set), ("fake", Some(64), Some(false)));
    assert_eq!(found.params["n"].default, Some(1.into()));
    let project = Project::worker("--start exit");
    let failure = describe(&project.host, &project.launch, PATIENCE).unwrap_err();
    assert!(failure.summary().ends_with("no module named nosuch"), "{}", failure.summary());
    let project = Project::worker("--start hang");
    let failure = describe(&project.host, &project.launch, Duration::from_millis(300)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);
}

// ---------------------------------------------------------------- filters

#[test]
fn a_filter_gets_files_and_makes_one() {
    let mut project =
        Project::shell("cat {in} {with.fix} \"{with.all}\" > {out}; printf %s {param.end} >> '{out}'");
    project.launch.params.insert("end".to_owned(), "it's $HOME".into());
    project.launch.with = vec![("all".to_owned(), Side::One(input("shared ")))];
    let mut running = project.start();
    let mut one = request(1, "doc ");
    one.with = vec![("fix".to_owned(), Side::Many(vec![input("a "), input("b ")]))];
    running.slot.send(vec![one]);
    running.until(|seen| seen.iter().any(|report| matches!(report, Report::Answer(_))));
    assert_eq!(text_of(&running.answers()[0].done), "doc a b shared it's $HOME");
}

#[test]
fn without_braces_for_them_standard_input_and_output_are_document_and_result() {
    let words = ["tr", "a-z", "{param.to}"].map(str::to_owned);
    let mut project = Project::new(Program::Filter(words.to_vec()));
    project.launch.params.insert("to".to_owned(), "A-Z".into());
    let Done::Output(output) = project.one("hello") else { panic!("no output") };
    assert_eq!(output.ext, "txt");
    assert_eq!(text_of(&Done::Output(output)), "HELLO");
}

#[test]
fn the_result_of_a_filter_has_the_extension_of_the_target_or_of_its_input() {
    let mut project = Project::shell("basename {out} > {out}");
    assert_eq!(text_of(&project.one("x")), "out.txt\n");
    project.launch.ext = Some("html".to_owned());
    assert_eq!(text_of(&project.one("x")), "out.html\n");
}

#[test]
fn exit_codes_of_a_filter_mean_what_the_guide_says() {
    let verdict = |script: &str| Project::shell(script).one("x");
    assert_eq!(verdict("echo 'too short' >&2; exit 77"), Done::Skip("too short".to_owned()));
    let failure = failure_of(&verdict("echo a >&2; echo ' bad page ' >&2; echo >&2; exit 3"));
    assert_eq!((failure.kind, failure.summary().as_str()), (FailureKind::ModuleError, "exit 3: bad page"));
    assert!(failure.is_kept());
    let failure = failure_of(&verdict("exit 75"));
    assert_eq!(
        (failure.kind, failure.retry, failure.error.as_str()),
        (FailureKind::ModuleError, true, "exit 75")
    );
    assert_eq!(failure_of(&verdict("sh -c 'kill -SEGV $$'; exit $?")).error, "SIGSEGV");
    assert_eq!(failure_of(&verdict("kill -TERM $$")).kind, FailureKind::Crash);
    assert_eq!(failure_of(&verdict("true {out}")).kind, FailureKind::OutputMissing);
    // Whatever it made there is its result, a folder too.
    let folder = verdict("mkdir {out}");
    assert!(matches!(&folder, Done::Output(Output { body: OutputBody::Folder { .. }, .. })), "{folder:?}");
}

#[test]
fn what_a_filter_prints_is_its_log() {
    let project = Project::shell("echo to log >&2; echo also; cp {in} {out}");
    let answers = project.start().ask(&["x", "y"]);
    let range = answers[1].log.unwrap();
    assert_eq!(&project.log()[range.from as usize..], "to log\nalso\n");
    assert_eq!(range.from, range.length);
}

#[test]
fn a_filter_that_hangs_is_ended_and_the_next_document_is_done() {
    let project =
        Project::shell("read line < {in}; [ \"$line\" = hang ] && sleep 600; echo done").timeout(2_000);
    let answers = project.start().ask(&["hang", "go"]);
    let failure = failure_of(&answers[0].done);
    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Timeout, "not done within 2.0 s"));
    assert_eq!(text_of(&answers[1].done), "done\n");
}

#[test]
fn what_a_filter_leaves_running_in_its_group_ends_with_it() {
    let project = Project::shell("sleep 600 & echo $! > {out}");
    let pid: u32 = text_of(&project.one("x")).trim().parse().unwrap();
    eventually("the sleep is gone", || !is_alive(pid));
}

#[test]
fn a_thousand_filters_run_one_after_the_other() {
    let words = ["cat", "{in}"].map(str::to_owned);
    let project = Project::new(Program::Filter(words.to_vec()));
    let texts: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let mut running = project.start();
    let answers = running.ask(&texts);
    assert!(answers.iter().zip(&texts).all(|(answer, text)| text_of(&answer.done) == *text));
    running.slot.finish();
    running.wait_end();
    assert_eq!(fs::files_below(&project.launch.tmp).unwrap(), Vec::<PathBuf>::new());
}

// ---------------------------------------------------------------- the ends of `pipe` and of its host

/// Not a test of its own: what `kill -9` is tried on. The project is the folder it stands in.
#[test]
#[ignore = "run by the tests below"]
fn stand_in_for_pipe() {
    let mut project = Project::worker("--window 4");
    project.launch.log = std::env::current_dir().unwrap().join("log");
    let mut running = project.start();
    let answers = running.ask(&["pid", "linger"]);
    let pids = format!("[{},{}]", text_of(&answers[0].done), &text_of(&answers[1].done));
    let host = project.host.pid().unwrap();
    fs::replace(Path::new("pids"), Path::new("pids.tmp"), format!("[{host},{pids}]").as_bytes()).unwrap();
    running.send_from(3, &["hang"]);
    running.wait_end();
}

/// Starts the stand-in: (it, its host, the worker and its grandchildren).
fn start_stand_in() -> (tempfile::TempDir, std::process::Child, u32, Vec<u32>) {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "stand_in_for_pipe"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let file = folder.path().join("pids");
    eventually("the stand-in has started", || file.exists());
    let (host, (worker, lingering)): (u32, (u32, Vec<u32>)) =
        serde_json::from_str(&fs::read_text(&file).unwrap()).unwrap();
    let mut modules = vec![worker];
    modules.extend(lingering);
    assert!(modules.iter().all(|pid| is_alive(*pid)));
    (folder, child, host, modules)
}

#[test]
fn fault_e11_kill_9_of_pipe_leaves_no_process() {
    let (_folder, mut pipe, host, modules) = start_stand_in();
    pipe.kill().unwrap();
    pipe.wait().unwrap();
    eventually("host and modules are gone", || !is_alive(host) && !modules.iter().any(|pid| is_alive(*pid)));
}

#[test]
fn kill_9_of_the_host_leaves_no_module_and_pipe_hears_of_it() {
    let (_folder, mut pipe, host, modules) = start_stand_in();
    sys::signal_process(host, sys::Send::Kill);
    eventually("modules are gone", || !modules.iter().any(|pid| is_alive(*pid)));
    assert!(pipe.try_wait().unwrap().is_none(), "pipe goes on");
    pipe.kill().unwrap();
    pipe.wait().unwrap();
}

#[test]
fn when_the_host_is_killed_documents_come_back_unblamed_and_work_goes_on() {
    let project = Project::worker("--window 4");
    let mut running = project.start();
    running.ask(&["echo a"]);
    running.send_from(2, &["hang", "echo b"]);
    // Before, both may not have been handed out, and go to the next process.
    eventually("they are in hand", || project.log().contains("hanging"));
    sys::signal_process(project.host.pid().unwrap(), sys::Send::Kill);
    let died = running.wait_death();
    assert_eq!((died.failure.kind, died.suspects, died.others), (FailureKind::Lost, vec![], vec![2, 3]));
    running.send_from(4, &["echo c"]);
    running.until(|seen| seen.iter().filter(|report| matches!(report, Report::Answer(_))).count() == 2);
}

#[test]
fn modules_are_out_of_reach_of_the_terminals_signals() {
    let project = Project::worker("");
    let mut running = project.start();
    let pid: u32 = text_of(&running.ask(&["pid"])[0].done).parse().unwrap();
    let table = sys::processes();
    let session = |pid: u32| table.iter().find(|process| process.pid == pid).map(|process| process.session);
    assert_ne!(session(pid), session(sys::own_pid()));
}

#[test]
fn dropping_the_host_ends_it() {
    let project = Project::worker("");
    let mut running = project.start();
    running.ask(&["echo a"]);
    let pid = project.host.pid().unwrap();
    drop(running);
    let Project { host, folder, .. } = project;
    drop(host);
    assert!(!is_alive(pid));
    drop(folder);
}
