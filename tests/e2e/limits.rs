//! What keeps a build from doing all that it could: pauses that modules ask for, failures that are too many, money.

use crate::harness::Project;

fn project(settings: &str, code: &str, documents: usize) -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            &format!(
                "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n{settings}\n\
                 [target.after]\neach = \"read\"\nmodule = \"after\"\n"
            ),
        )
        .counted("read", code)
        .counted("after", "@module\ndef after(doc):\n    return ran('after', doc.text()) + '!'\n");
    for n in 0..documents {
        project.write(&format!("docs/d{n:03}.txt"), format!("d{n:03}"));
    }
    project
}

/// Fails at each document until there is a file `key`, each time with other words: no breaker sees the same error.
const SAYS_NO: &str = "
@module
def read(doc):
    word = ran('read', doc.text())
    if not os.path.exists('key'):
        raise RuntimeError('no: ' + word)
    return word
";

#[test]
fn a_module_that_asks_for_a_pause_is_handed_nothing_meanwhile() {
    let code = "
from pipelinefile import Retry
@module
def read(doc):
    word = ran('read', doc.text())
    if not os.path.exists('seen'):
        open('seen', 'w').close()
        raise Retry('the service is busy', after=0.5)
    return word
";
    let project = project("workers = 1", code, 9);
    let ended = project.build().ends(0);
    let pausing = &ended.all("pausing")[0];
    assert_eq!((&pausing["target"], &pausing["milliseconds"]), (&"read".into(), &500.into()));
    // What was in hand already may go on; all else comes after the pause, and behind the one that asked.
    let order = project.read("runs/read");
    let order: Vec<&str> = order.lines().collect();
    let again = order.iter().skip(1).position(|word| *word == order[0]);
    assert!(again.is_some_and(|between| between <= 1), "{order:?}");
    assert_eq!(project.counts("after").len(), 9);
}

#[test]
fn who_asks_for_another_try_without_a_time_gets_a_fresh_process() {
    let code = "
broken = []
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'd000':
        broken.append(word)
    if broken and not os.path.exists('seen'):
        open('seen', 'w').close()
        raise ConnectionError('the connection of this process is gone')
    if broken and word != 'd000':
        raise ValueError('a broken process goes on')
    if len(broken) > 1:
        raise ValueError('the same process again')
    broken.clear()
    return word
";
    let project = project("workers = 1", code, 1);
    let ended = project.build().ends(0);
    let pause = ended.all("retrying")[0]["milliseconds"].as_u64().unwrap();
    assert!((500..=1000).contains(&pause), "half to all of a second: {pause}");
}

#[test]
fn a_target_stops_when_more_than_max_fail_failed_and_the_rest_waits() {
    let project = project("max_fail = 3", SAYS_NO, 300);
    let ended = project.pipe(&["build"]).ends(3);
    drop(ended.says("failed in this build, and its `max_fail` is 3: the rest waits"));
    let ran = project.take_counts("read").len();
    assert!((4..200).contains(&ran), "{ran} ran");
    let json = project.pipe(&["status", "--json"]).ends(0).stdout;
    assert!(json.contains("\"unfinished\":"), "{json}");
    project.write("key", "");
    drop(project.pipe(&["retry"]).ends(0));
    assert_eq!(project.counts("after").len(), 300);
    // No more than it may: nothing is stopped.
    project.clear("key");
    project.write("docs/new.txt", "new");
    drop(project.build().ends(1));
}

#[test]
fn a_share_is_one_of_what_was_planned() {
    let code = SAYS_NO.replace("not os.path.exists('key')", "int(word[1:]) < 30");
    let some = project("max_fail = \"5%\"", &code, 600);
    let ended = some.build().ends(1);
    assert_eq!(ended.finished()["causes"][0]["count"], 30);
    let more = project("max_fail = \"4%\"", &code, 600);
    let ended = more.build().ends(3);
    let stopped = &ended.finished()["stopped"];
    assert_eq!(
        (&stopped["why"], &stopped["target"], &stopped["limit"]),
        (&"max-fail".into(), &"read".into(), &"4%".into())
    );
}

#[test]
fn the_whole_build_stops_when_more_failed_than_the_command_allows() {
    let project = project("", SAYS_NO, 300);
    drop(
        project
            .pipe(&["build", "--max-fail", "1%"])
            .ends(1)
            .says("4 documents failed in this build, and --max-fail is 1%"),
    );
    assert!(project.take_counts("read").len() < 200);
    for wrong in ["x", "101%", "-1"] {
        drop(
            project
                .pipe(&["build", &format!("--max-fail={wrong}")])
                .ends(2)
                .says("a number of documents such as 10"),
        );
    }
}

#[test]
fn failures_that_are_allowed_are_a_warning() {
    let code = SAYS_NO.replace("not os.path.exists('key')", "word in ('d001', 'd002')");
    let project = project("", &code, 20);
    drop(
        project
            .pipe(&["build", "--allow-failures", "2"])
            .ends(0)
            .says("2 documents failed; --allow-failures 2 lets the build end well"),
    );
    drop(project.pipe(&["build", "--allow-failures", "1"]).ends(1));
    drop(project.pipe(&["build", "--allow-failures", "10%"]).ends(0));
    drop(project.pipe(&["build", "--allow-failures", "9%"]).ends(1));
    drop(project.pipe(&["build"]).ends(1));
}

/// One document may fail in several targets: it is one document.
#[test]
fn a_document_that_fails_twice_is_one_document() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.a]\neach = \"docs\"\nshell = \"grep -v bad {in} > {out}\"\n\
             [target.b]\neach = \"docs\"\nshell = \"grep -v bad {in} > {out}\"\n",
        )
        .file("docs/1", "bad")
        .file("docs/2", "bad")
        .file("docs/3", "good");
    drop(
        project
            .pipe(&["build", "--allow-failures", "2"])
            .ends(0)
            .says("2 documents failed; --allow-failures 2"),
    );
    drop(project.pipe(&["build", "--allow-failures", "1"]).ends(1).says("2 documents, 2 causes"));
    drop(project.pipe(&["build", "--allow-failures", "70%"]).ends(0));
    drop(project.pipe(&["failed", "--kind", "ambiguous"]).ends(0).says("nothing failed"));
    drop(project.pipe(&["failed", "--kind", "ambiguous-input"]).ends(0).says("nothing failed"));
}

#[test]
fn a_set_that_could_not_be_made_is_not_allowed_away() {
    let code = SAYS_NO.replace("not os.path.exists('key')", "word == 'd001'");
    let project = project("", &code, 4);
    let text = project.read("Pipelinefile");
    project.write("Pipelinefile", text + "[target.all]\nall = \"after\"\nshell = \"wc -l < {in} > {out}\"\n");
    drop(project.pipe(&["build", "--allow-failures", "50%"]).ends(1).says("Blocked"));
}

const PAID: &str = "
@module
def read(doc):
    doc.count(usd=0.5, tokens=1000)
    time.sleep(0.05)
    return ran('read', doc.text())
";

#[test]
fn a_budget_ends_and_what_was_paid_for_counts() {
    let project = project("budget = { usd = 2 }\nworkers = 1", PAID, 9);
    let ended = project.build().ends(3);
    let finished = ended.finished();
    let ran = project.take_counts("read").len();
    assert_eq!(ran, 4, "nothing waits with a worker that would spend more");
    let stopped = &finished["stopped"];
    assert_eq!(
        (&stopped["why"], &stopped["of"], stopped["budget"].as_f64()),
        (&"budget".into(), &"read".into(), Some(2.0))
    );
    assert_eq!(stopped["spent"].as_f64(), Some(ran as f64 / 2.0));
    let read = &finished["targets"][0];
    assert_eq!(read["built"], ran, "what was in hand is kept");
    assert_eq!(read["counts"]["tokens"].as_f64(), Some(ran as f64 * 1000.0));
    assert_eq!(project.take_counts("after").len(), ran);

    // What it costs is known by now, and is no reason to hand out more at once.
    drop(project.pipe(&["build"]).ends(3));
    assert_eq!(project.counts("read").len(), 4);
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.counts("read").len(), 5, "nothing is paid for twice");
    drop(project.build().ends(0));
}

#[test]
fn a_budget_is_said_in_words_and_one_of_nothing_runs_nothing() {
    let project = project("budget = { usd = 0 }", PAID, 3);
    let ended = project.pipe(&["build"]).ends(3);
    drop(
        ended.says(
            "read: $0.00 of $0.00 are spent: the rest waits for the next build, or for a larger `budget`",
        ),
    );
    assert_eq!(project.counts("read"), Vec::<String>::new());
    project.write("Pipelinefile", project.read("Pipelinefile").replace("usd = 0", "usd = 1.5"));
    drop(project.pipe(&["build"]).ends(0).says("$1.50"));
}

/// They mark, or find inputs, and open the store once more: what the index alone knows stays.
#[test]
fn retry_and_repro_forget_nothing() {
    let code = "
@module
def read(doc):
    word = ran('read', doc.text())
    doc.count(usd=0.5)
    doc.warn('careful')
    if word == 'd001' and not os.path.exists('key'):
        raise ValueError('no')
    return word
";
    let project = project("", code, 3);
    drop(project.build().ends(1));
    let index = project.only_name(".pipe/index");
    let row = "read    each    3     2       1        -       3  $1.50";
    drop(project.pipe(&["status"]).ends(0).says(row));
    drop(project.pipe(&["repro", "docs/d000.txt", "read", "-o", "R"]).ends(0));
    assert_eq!(project.only_name(".pipe/index"), index, "the index was made again");
    drop(project.pipe(&["status"]).says(row));
    drop(project.pipe(&["retry"]).ends(1));
    assert_eq!(project.only_name(".pipe/index"), index, "the index was made again");
    drop(project.pipe(&["status"]).says(row));
    // Not even when it is lost: the log has it.
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    drop(project.pipe(&["status"]).says(row));
}

#[test]
fn a_budget_of_a_module_is_one_for_all_its_targets() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            "[source.docs]\npath = \"docs\"\n[target.a]\neach = \"docs\"\nmodule = \"read\"\n\
             [target.b]\neach = \"a\"\nmodule = \"read\"\n[module.read]\nbudget = { usd = 3 }\n",
        )
        .counted(
            "read",
            &PAID.replace("return ran('read', doc.text())", "return ran('read', doc.text()) + '+'"),
        );
    for n in 0..9 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    let ended = project.build().ends(3);
    assert_eq!(ended.finished()["stopped"]["of"], "read");
    let ran = project.counts("read").len();
    assert!((6..=12).contains(&ran), "{ran} of 18: six, and what was in hand by then");
}

/// Takes memory until it is stopped, by itself or by a process that it starts.
const TAKES: &str = r#"
import subprocess
# While it is limited it keeps what it has: whoever is quicker than the watch is not seen by it.
MORE = """
import os
kept = [bytearray(b'x') * (1 << 20) for _ in range(600)]
while os.path.exists('limited'): pass
"""
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'big':
        exec(MORE)
    if word == 'child':
        subprocess.run([sys.executable, '-c', MORE], check=True)
    return word
"#;

#[test]
fn a_memory_limit_holds_for_a_worker_and_all_that_it_starts() {
    let project = project("memory = \"120MB\"\nretries = 1", TAKES, 6);
    project.write("docs/d002.txt", "big");
    project.write("docs/d004.txt", "child");
    project.write("limited", "");
    let ended = project.build().ends(1);
    assert_eq!(
        ended.failures(),
        [
            "read docs/d002.txt: out-of-memory out of memory",
            "read docs/d004.txt: out-of-memory out of memory"
        ],
        "{}",
        ended.text()
    );
    let said = project.pipe(&["log", "docs/d004.txt"]).ends(0);
    drop(said.says("the worker, with all that it started, held").says("set aside"));
    assert_eq!(project.counts("after").len(), 4);
    project.no_process_is_left();

    project.take_counts("read");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new(), "set aside under this limit");
    project.clear("limited");
    project.write("Pipelinefile", project.read("Pipelinefile").replace("120MB", "4GB"));
    drop(project.build().ends(0));
    assert_eq!(project.take_counts("read"), ["big", "child"], "a higher limit opens them again");
}

#[test]
fn a_memory_limit_holds_for_a_filter() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.docs]
        path = "docs"
        [target.read]
        each = "docs"
        shell = 'if grep -q big {in}; then awk "BEGIN { while (n < 9000000) a[n++] = n }"; fi; cat {in} > {out}'
        memory = "100MB"
        retries = 0
        "#,
    );
    project.write("docs/a.txt", "big");
    project.write("docs/b.txt", "small");
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), ["read docs/a.txt: out-of-memory out of memory"], "{}", ended.text());
}

#[test]
fn failures_are_shown_and_tried_again_by_kind_time_and_document() {
    let code = "
@module
def read(doc):
    word = ran('read', doc.text())
    if word == 'd001':
        raise ValueError('never')
    if word in ('d002', 'd003') and not os.path.exists('key'):
        os._exit(7)
    if word == 'd000':
        doc.warn('careful')
        doc.count(usd=0.25, tokens=1200)
    return word
";
    let project = project("retries = 0", code, 4);
    drop(project.build().ends(1));
    project.take_counts("read");
    project.pipe(&["failed", "--kind", "crash"]).shows(
        "
        status: 0
        --- stdout
        2 documents, 1 cause

        2x read  crash  cause 3b4fed7f
          exit 7: the worker ended before it answered
          docs/d002.txt  docs/d003.txt
          set aside: no build tries again until something changes
          blocked behind:  after 2
          try it here:   pipe try read docs/d002.txt --debug
          once mended:   pipe retry read --cause 3b4fed7f

        3 documents behind a failure: pipe status
        ",
    );
    // The clock of tests stands at the beginning of 2026.
    for none in [["--since", "2026-01-02"], ["--docs", "docs/d000*"], ["--kind", "timeout"]] {
        drop(project.pipe(&[&["failed"], &none[..]].concat()).ends(0).says("nothing failed"));
        drop(project.pipe(&[&["retry", "-n"], &none[..]].concat()));
    }
    drop(project.pipe(&["failed", "--since", "1d", "read"]).ends(0).says("3 documents, 2 causes"));
    drop(project.pipe(&["failed", "read"]).ends(0).says("pipe retry read --cause 3b4fed7f"));
    drop(project.pipe(&["failed", "--kind", "crahs"]).ends(2).says("did you mean crash?"));
    project.pipe(&["status"]).shows(
        "
        status: 0
        --- stdout
        docs  4 documents, as built

        target  shape  in  done  failed  set aside  blocked  warned
        read    each    4     1       3          2        -       1  1,200 tokens, $0.25
        after   each    4     1       -          -        3       -

        failed  3 documents, 2 causes, 3 documents behind a failure
          2x read  exit 7: the worker ended before it answered
             docs/d002.txt  docs/d003.txt
          1x read  ValueError: never  (modules/read.py:9)
             docs/d001.txt
          pipe log docs/d002.txt      what happened to it

        last run  1, 2026-01-01 00:00:00, pipe build --json
        nothing to do until the failures are looked at
        ",
    );

    project.write("key", "");
    drop(project.pipe(&["retry", "--kind", "timeout"]).ends(0).says("nothing failed there"));
    drop(project.pipe(&["retry", "--since", "2026-01-02"]).ends(0).says("nothing failed there"));
    drop(
        project
            .pipe(&["retry", "--kind", "crash", "-n"])
            .ends(0)
            .says("read: would try again: 2 failed documents"),
    );
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    drop(project.pipe(&["retry", "--kind", "crash"]).ends(1));
    assert_eq!(project.take_counts("read"), ["d002", "d003"], "the module error stands");
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    // The mark holds without an index, too.
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    drop(project.build().ends(1));
    assert_eq!(project.take_counts("read"), Vec::<String>::new());
    drop(project.pipe(&["retry", "--docs", "docs/d001*"]).ends(1));
    assert_eq!(project.take_counts("read"), ["d001"]);
}

#[test]
fn the_plan_says_what_it_will_cost_by_the_builds_before() {
    let project = project("", PAID, 2);
    drop(project.build().ends(0));
    for n in 10..14 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    let ended = project.pipe(&["build", "-n"]).ends(0);
    drop(ended.says("by the builds before: 4,000 tokens, $2.00"));
    let ended = project.build().ends(0);
    let planned = &ended.all("plan")[0]["targets"][0];
    assert_eq!(planned["counts"]["usd"].as_f64(), Some(2.0));
    assert!(planned["seconds"].as_f64().unwrap() > 0.0);
}
