//! What workers and filters do to their host: they hang, die, fork, flood, lie. Exactly the document that is to blame
//! fails, all others are done, and no process is left.

use crate::Random;
use crate::harness::Project;

/// Speaks the protocol by hand and does what each document says.
const FAKE: &str = include_str!("../fakes/fake-module.py");

/// Some documents that do something, among twenty that are fine.
fn project(settings: &str, bad: &[&str]) -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\npublish = true\nretries = 0\n\
                 cmd = \"python3 modules/fake.py --window 4\"\n{settings}\n"
            ),
        )
        .file("modules/fake.py", FAKE);
    for n in 0..20 {
        project.write(&format!("docs/d{n:02}.txt"), format!("echo d{n:02}"));
    }
    for (n, text) in bad.iter().enumerate() {
        project.write(&format!("docs/d{:02}-bad{n}.txt", n * 3), text);
    }
    project
}

/// Builds: each bad document fails as is expected, or not at all (an empty text); all others are done.
#[track_caller]
fn fails(settings: &str, bad: &[(&str, &str)]) -> Project {
    let words: Vec<&str> = bad.iter().map(|(word, _)| *word).collect();
    let project = project(settings, &words);
    let mut expected: Vec<String> = bad
        .iter()
        .enumerate()
        .filter(|(_, (_, failure))| !failure.is_empty())
        .map(|(n, (_, failure))| format!("read docs/d{:02}-bad{n}.txt: {failure}", n * 3))
        .collect();
    expected.sort();
    let ended = project.build().ends(i32::from(!expected.is_empty()));
    assert_eq!(ended.failures(), expected, "{}", ended.text());
    assert_eq!(project.names("out").len(), 20 + bad.len() - expected.len());
    project.no_process_is_left();
    project
}

/// A project whose one target is a shell script, with the input as `$1` and the output as `$2`; it notes its runs in the file
/// `ran`. (What a command itself names is code.)
fn shell(command: &str, documents: usize) -> Project {
    let text = "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\npublish = true\n\
                cmd = \"sh modules/read.sh {in} {out}\"\n";
    let project = Project::new().file("Pipelinefile", text);
    project.write("modules/read.sh", format!("echo ran >> ran\n{command}\n"));
    for n in 0..documents {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}\n"));
    }
    project
}

fn ran(project: &Project) -> usize {
    let text = std::fs::read_to_string(project.root().join("ran")).unwrap_or_default();
    drop(std::fs::remove_file(project.root().join("ran")));
    text.lines().count()
}

#[test]
fn fault_e02_a_document_that_hangs_fails_alone() {
    let project = fails("timeout = \"1s\"", &[("hang", "timeout timeout"), ("spin", "timeout timeout")]);
    drop(project.pipe(&["log", "docs/d00-bad0.txt"]).ends(0).says("timeout: no answer within"));
}

#[test]
fn fault_e03_who_ignores_sigterm_is_killed() {
    fails("timeout = \"1s\"", &[("stubborn", "timeout timeout")]);
}

#[test]
fn fault_e04_every_way_to_end_is_told_by_its_name() {
    fails(
        "",
        &[
            ("exit 0", "crash exit 0"),
            ("exit 3", "crash exit 3"),
            ("die SIGSEGV", "crash SIGSEGV"),
            ("die SIGABRT", "crash SIGABRT"),
            ("die SIGKILL", "crash SIGKILL"),
        ],
    );
    let filter = shell(
        "read -r word < $1; case $word in d0) exit 0;; d1) exit 9;; d2) kill -BUS $$;; d3) kill -9 $$;; d4) exit 77;; esac; \
         cat $1 > $2",
        6,
    );
    let text = filter.read("Pipelinefile").replace("publish = true", "publish = true\nretries = 0");
    filter.write("Pipelinefile", text);
    let ended = filter.build().ends(1);
    assert_eq!(
        ended.failures(),
        [
            "read docs/d0.txt: output-missing output missing",
            "read docs/d1.txt: module-error exit 9",
            "read docs/d2.txt: crash SIGBUS",
            "read docs/d3.txt: crash SIGKILL",
        ]
    );
    let is_core = |name: &String| name.starts_with("core");
    assert!(!filter.tree().iter().any(is_core), "no core files: {:?}", filter.tree());
}

#[test]
fn fault_e05_what_is_printed_where_answers_belong_goes_to_the_log() {
    let project = fails("", &[("stray", ""), ("stray", "")]);
    drop(project.pipe(&["log", "docs/d00-bad0.txt"]).ends(0));
    let logs: Vec<Vec<u8>> = project.files(".pipe/logs").into_values().collect();
    assert!(logs.iter().any(|log| log.windows(10).any(|part| part == b"plain text")), "it is in the log");
}

#[test]
fn fault_e06_a_flood_on_standard_output_is_drained_and_cut() {
    let project = fails("timeout = \"1s\"", &[("flood 300", ""), ("endless", "timeout timeout")]);
    let sizes: usize = project.files(".pipe/logs").into_values().map(|log| log.len()).sum();
    assert!(sizes < 12 << 20, "{sizes} bytes of log");
}

#[test]
fn fault_e08_answers_that_are_none() {
    let broken = [
        "raw {\"id\":ID,\"output\":",
        "raw {\"id\":ID,\"output\":{\"json\":NaN}}",
        "raw {\"id\":ID,\"output\":{\"json\":Infinity}}",
        "raw {\"id\":987654,\"output\":{\"text\":\"x\"}}",
        "raw {\"id\":4294967296000000000000,\"skip\":\"x\"}",
        "raw {\"id\":ID,\"skip\":\"x\",\"error\":{}}",
        "raw {\"id\":ID,\"output\":{\"path\":\"/nowhere/at/all\"}}",
        "raw {\"id\":ID,\"child\":{\"name\":\"a\",\"text\":\"b\"}}",
        "raw {\"id\":\"ID\",\"output\":{\"text\":\"x\"}}",
        "other",
    ];
    let words: Vec<&str> = broken.to_vec();
    let project = project("", &words);
    let ended = project.build().ends(1);
    let failures = ended.failures();
    for (n, reply) in broken.iter().enumerate() {
        let id = format!("read docs/d{:02}-bad{n}.txt: ", n * 3);
        let failure = failures.iter().find(|failure| failure.starts_with(&id));
        let is_told = failure
            .is_some_and(|failure| failure.contains("bad-reply") || failure.contains("output-missing"));
        assert!(is_told, "{reply}: {failure:?}\n{failures:#?}");
    }
    assert_eq!(failures.len(), broken.len(), "{failures:#?}");
    assert_eq!(project.names("out").len(), 20, "nobody else's result was taken");
}

#[test]
fn fault_e08_who_answers_twice_is_ended_and_the_first_answer_counts() {
    let project = fails("", &[("twice", "")]);
    assert_eq!(project.read("out/read/docs/d00-bad0.txt.txt"), "first");
}

#[test]
fn fault_e09_who_leaves_group_and_session_ends_with_the_build() {
    fails("", &[("leave", "crash exit 0"), ("linger", "")]);
}

#[test]
fn fault_e10_three_hundred_processes_end_with_the_build() {
    fails("", &[("bomb 300", "")]);
}

#[test]
fn fault_e12_pipe_is_killed_while_programs_start() {
    let mut random = Random(12);
    for _ in 0..crate::times(4, 200) {
        let project = shell("cat $1 > $2; sleep 600", 40);
        let mut running = project.start(&["build", "-j", "4"]);
        running.until_event("started");
        let mut left = random.below(2_000_000);
        while left > 0 {
            left -= 1;
            std::hint::spin_loop();
        }
        drop(running.kill());
        project.no_process_is_left();
    }
}

#[test]
fn fault_e13_nothing_that_has_ended_stays_in_the_table_of_processes() {
    let project = fails("workers = 1", &[("orphans 30", "")]);
    drop(project);
    let project = self::project("workers = 1", &["orphans 30", "hang"]);
    let mut running = project.start(&["build"]);
    running.until(|event| event["event"] == "done" && event["doc"] == "docs/d00-bad0.txt");
    // The host takes them off the table once a second.
    let zombies = || {
        let table = std::process::Command::new("ps").args(["-eo", "stat,ppid,pid"]).output().unwrap().stdout;
        let hosts =
            std::process::Command::new("pgrep").args(["-P", &running.pid().to_string()]).output().unwrap();
        let hosts = String::from_utf8(hosts.stdout).unwrap();
        let table = String::from_utf8(table).unwrap();
        let of_host = |line: &&str| {
            let mut words = line.split_whitespace();
            let is_zombie = words.next().is_some_and(|state| state.starts_with('Z'));
            is_zombie
                && words.next().is_some_and(|parent| hosts.split_whitespace().any(|host| host == parent))
        };
        table.lines().filter(of_host).count()
    };
    while zombies() > 0 {
        std::thread::yield_now();
    }
    drop(running.kill());
    project.no_process_is_left();
}

#[test]
fn fault_e14_a_module_that_leaks_is_replaced_and_no_document_is_lost() {
    let words = ["leak 30"; 12];
    let project = project("memory = \"150MB\"\nworkers = 1", &words);
    let text = project.read("Pipelinefile").replace("retries = 0", "retries = 2");
    project.write("Pipelinefile", text);
    let ended = project.build().ends(0);
    assert_eq!(project.names("out").len(), 32, "{}", ended.text());
    project.no_process_is_left();
}

#[test]
fn fault_e15_another_output_for_the_same_input_is_said() {
    let project = shell("date +%N > $2; head -c 8 /dev/urandom >> $2", 1);
    drop(project.build().ends(0));
    let first = project.files("out");
    drop(project.build().ends(0));
    assert_eq!((ran(&project), project.files("out")), (1, first), "the first one stays");
    drop(project.pipe(&["redo", "read"]).ends(0));
    drop(project.pipe(&["build"]).ends(0).says("read is not reproducible"));
}

#[test]
fn fault_e16_what_is_not_declared_is_not_seen_and_what_is_declared_is() {
    let project = shell("cat ${3:-conf} $1 > $2", 2);
    project.write("conf", "one\n");
    drop(project.build().ends(0));
    project.write("conf", "two\n");
    drop(project.build().ends(0));
    assert_eq!(ran(&project), 2, "nobody said that it counts");
    let text = project.read("Pipelinefile");
    let declared = text.replace("publish = true", "publish = true\nwith = { conf = \"file:conf\" }");
    project.write("Pipelinefile", declared.replace("{out}", "{out} {with.conf}"));
    drop(project.build().ends(0));
    assert_eq!(ran(&project), 2);
    project.write("conf", "three\n");
    drop(project.build().ends(0));
    assert_eq!(ran(&project), 2);
    assert_eq!(project.read("out/read/docs/d0.txt.txt"), "three\nd0\n");
}

#[test]
fn fault_e17_a_module_that_is_edited_during_the_build() {
    let old = "
        @module
        def read(doc):
            word = ran('read', doc.text())
            if word == 'd0':
                hold('read')
            return 'old ' + word
        ";
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\npublish = true\nworkers = 1\n",
        )
        .counted("read", old);
    for n in 0..3 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    let running = project.start(&["build"]);
    project.wait_for_file("here-read");
    project.edit_module("read", &old.replace("old ", "new "));
    project.write("go-read", "");
    drop(running.end().ends(0));
    drop(project.build().ends(0));
    for n in 0..3 {
        assert_eq!(project.read(&format!("out/read/docs/d{n}.txt.txt")), format!("new d{n}"));
    }
    project.take_counts("read");
    drop(project.build().ends(0));
    assert_eq!(project.counts("read"), Vec::<String>::new());
}

#[test]
fn fault_e18_what_the_interpreter_leaves_beside_the_code_is_no_code() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n",
        )
        .counted("read", "@module\ndef read(doc):\n    return ran('read', doc.text())\n")
        .env("PYTHONDONTWRITEBYTECODE", "");
    project.write("docs/a.txt", "a");
    drop(project.build().ends(0));
    project.take_counts("read");
    for name in project.names("modules/__pycache__") {
        project.write(&format!("modules/__pycache__/{name}"), "garbage");
    }
    project.write("modules/__pycache__/read.cpython-311.pyc", "garbage");
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    project.write("docs/b.txt", "b");
    drop(project.build().ends(0));
    assert_eq!(project.counts("read"), ["b"], "and it is not trusted");
}

#[test]
fn fault_e19_a_module_that_changes_its_process_harms_its_own_documents_at_most() {
    let code = "
        import signal
        @module
        def read(doc):
            word = doc.text()
            if word == 'd0':
                os.umask(0o777)
                os.environ.clear()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                sys.stdout = None
                os.chdir('/')
            return word + ' is read'
        ";
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\npublish = true\nworkers = 1\n",
        )
        .counted("read", code);
    for n in 0..9 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    drop(project.build().ends(0));
    assert_eq!(project.names("out").len(), 9);
    assert_eq!(project.read("out/read/docs/d8.txt.txt"), "d8 is read");
    let again = project.build().ends(0);
    assert_eq!(again.finished()["up_to_date"], 9);
}

#[test]
fn fault_e20_who_closes_its_pipes_has_crashed() {
    fails("", &[("pipes", "crash closed"), ("close", "crash closed")]);
}

#[test]
fn fault_e21_what_was_written_before_an_error_is_no_result() {
    let project = shell("echo half > $2; exit 1", 2);
    drop(project.build().ends(1));
    assert_eq!(project.names("out"), Vec::<String>::new());
    drop(project.pipe(&["cat", "read", "docs/d0.txt"]).ends(4).says("failed"));
}

#[test]
fn fault_e22_what_is_written_after_the_end_is_no_part_of_the_result() {
    let project = shell("(while :; do echo more >> $2; done) & head -c 600000 /dev/zero >> $2", 2);
    drop(project.build().ends(0));
    drop(project.pipe(&["doctor"]).ends(0));
    let shown = project.files("out");
    drop(project.build().ends(0));
    assert_eq!((ran(&project), project.files("out")), (2, shown));
}

#[test]
fn fault_e23_a_module_that_edits_or_removes_its_input() {
    let project =
        shell("read -r word < $1; case $word in d0) rm $1;; d1) echo more >> $1;; esac; echo $word > $2", 3);
    // Large ones are handed over by a name for the file itself.
    project.write("docs/d1.txt", format!("d1\n{}", "x".repeat(50_000)));
    let ended = project.build().ends(1);
    assert_eq!(ended.finished()["causes"][0]["failure"]["kind"], "unreadable", "{}", ended.text());
    assert_eq!(ended.finished()["causes"][0]["samples"], serde_json::json!(["docs/d1.txt"]));
    assert_eq!(project.read("docs/d0.txt"), "d0\n", "what it was given is a name for its document");
    assert_eq!(project.names("out").len(), 2);
}

#[test]
fn fault_e24_what_a_module_prints_cannot_write_on_the_terminal() {
    let project = shell("printf 'caf\\351 \\033[2J\\033]0;title\\007 \\r$ ' >&2; exit 3", 1);
    let ended = project.pipe(&["build"]).ends(1);
    let failed = project.pipe(&["failed"]).ends(0);
    let log = project.pipe(&["log", "docs/d0.txt"]).ends(0);
    for said in [ended.text(), failed.text(), log.text()] {
        assert!(!said.contains(['\u{1b}', '\u{7}', '\r']), "{said:?}");
    }
}

#[test]
fn fault_e25_a_worker_that_is_left_holds_no_lock() {
    let project = self::project("", &["hang"]);
    let mut running = project.start(&["build"]);
    running.until(|event| event["event"] == "started" && event["doc"] == "docs/d00-bad0.txt");
    drop(running.kill());
    project.write("docs/d00-bad0.txt", "echo well");
    drop(project.build().ends(0));
    project.no_process_is_left();
}

#[test]
fn fault_e26_a_module_that_cannot_start_is_asked_a_few_times_and_told_once() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n",
        )
        .counted("read", "ran('start')\nimport nosuch\n\n@module\ndef read(doc):\n    return 'x'\n");
    for n in 0..500 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    let ended = project.pipe(&["build", "-j", "4"]).ends(3);
    assert_eq!(ended.text().matches("cannot go on").count(), 1, "{}", ended.text());
    assert!((1..=4).contains(&project.counts("start").len()), "{:?}", project.counts("start"));
}

#[test]
fn fault_e27_a_document_that_kills_every_worker_is_set_aside_whatever_happens_between() {
    let project = self::project("", &["die SIGSEGV"]);
    let text = project.read("Pipelinefile").replace("retries = 0", "retries = 2");
    project.write("Pipelinefile", text);
    let mut running = project.start(&["build"]);
    running.until_event("retrying");
    drop(running.kill());
    // The tries before the kill are counted with those after it.
    let ended = project.build().ends(1);
    let attempts: Vec<u64> =
        ended.all("retrying").iter().map(|event| event["attempt"].as_u64().unwrap()).collect();
    assert!(attempts.len() <= 1 && attempts.iter().all(|attempt| *attempt == 2), "{attempts:?}");
    assert_eq!(ended.finished()["causes"][0]["set_aside"], 1);
    drop(project.pipe(&["status"]).ends(0).says("set aside"));
    let again = project.build().ends(1);
    assert_eq!(again.all("started").len(), 0, "{}", again.text());
    // Also when a kill comes right behind it, and without an index.
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    project.write("docs/new.txt", "hang");
    let mut running = project.start(&["build"]);
    running.until(|event| event["event"] == "started" && event["doc"] == "docs/new.txt");
    drop(running.kill());
    project.write("docs/new.txt", "echo new");
    let last = project.build().ends(1);
    assert_eq!(last.named("started"), ["read docs/new.txt"]);
    assert_eq!(last.finished()["causes"][0]["count"], 1);
    assert_eq!(project.names("out").len(), 21);
    project.no_process_is_left();
}
