//! Documents in batches and side by side, at a rate, on cards; and secrets.

use std::collections::BTreeMap;

use crate::harness::Project;

const PIPELINE: &str = "[source.docs]\npath = \"docs\"\n[target.read]\neach = \"docs\"\nmodule = \"read\"\n";

fn project(settings: &str, code: &str, documents: usize) -> Project {
    let project =
        Project::new().file("Pipelinefile", &format!("{PIPELINE}{settings}\n")).counted("read", code);
    for n in 0..documents {
        project.write(&format!("docs/d{n:03}.txt"), format!("d{n:03}"));
    }
    project
}

/// How often each word was noted.
fn tally(project: &Project, name: &str) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    project.take_counts(name).into_iter().for_each(|word| *tally.entry(word).or_default() += 1);
    tally
}

/// Counts its calls by their sizes.
const BATCHES: &str = "
@module(batch=8)
def read(docs, *, bad: str = ''):
    ran('calls', str(len(docs)))
    print('call of', len(docs))
    if bad in [doc.text() for doc in docs]:
        raise ValueError(bad + ' is bad')
    return [doc.text() + '!' for doc in docs]
";

#[test]
fn a_batch_function_gets_whole_batches() {
    let project = project("", BATCHES, 40);
    drop(project.build().ends(0));
    let calls = tally(&project, "calls");
    assert!(calls.values().sum::<usize>() < 12, "{calls:?}");
    assert!(calls.get("8").is_some_and(|whole| *whole >= 3), "{calls:?}");
    assert!(calls.keys().all(|size| size.parse::<usize>().unwrap() <= 8), "{calls:?}");
    assert_eq!(project.pipe(&["cat", "read", "docs/d007.txt"]).ends(0).stdout, "d007!");
    drop(project.pipe(&["log", "docs/d007.txt"]).ends(0).says("call of "));
    // Another size changes no key.
    project.write("Pipelinefile", format!("{PIPELINE}batch = 3\n"));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(tally(&project, "calls"), BTreeMap::new());
    drop(project.pipe(&["redo", "read"]).ends(0));
    drop(project.build().ends(0));
    assert!(tally(&project, "calls").keys().all(|size| size.parse::<usize>().unwrap() <= 3));
}

#[test]
fn a_failed_batch_is_tried_alone_document_by_document() {
    let project = project("params = { bad = \"d003\" }\nworkers = 1\nbatch = 20", BATCHES, 20);
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), ["read docs/d003.txt: module-error ValueError"]);
    assert!(
        ended.text().contains("failed, so each was tried alone: ValueError: d003 is bad"),
        "{}",
        ended.text()
    );
    let calls = tally(&project, "calls");
    assert_eq!(
        calls.iter().filter(|(size, _)| *size != "1").map(|(_, calls)| calls).sum::<usize>(),
        1,
        "{calls:?}"
    );
    assert_eq!(project.pipe(&["cat", "read", "docs/d004.txt"]).ends(0).stdout, "d004!");
}

#[test]
fn who_kills_its_worker_is_found_within_its_batch() {
    let code = "
@module(batch=8)
def read(docs):
    if 'd003' in [doc.text() for doc in docs]:
        os.kill(os.getpid(), 9)
    return [ran('read', doc.text()) for doc in docs]
";
    let project = project("workers = 1\nretries = 0", code, 16);
    drop(project.build().ends(1));
    assert_eq!(project.counts("read").len(), 15, "all others are done");
}

#[test]
fn a_module_that_takes_one_document_at_a_time_says_so() {
    let code = "@module\ndef read(doc):\n    return doc.text()\n";
    let project = project("batch = 4", code, 1);
    drop(project.pipe(&["build"]).ends(3).says("takes one document at a time: leave out `batch`"));
    let filter = Project::new().file("docs/a.txt", "a").file(
        "Pipelinefile",
        "[source.docs]\npath = \"docs\"\n[target.up]\neach = \"docs\"\nshell = \"tr a b\"\nbatch = 2\n",
    );
    drop(filter.pipe(&["check"]).ends(2).says("a filter takes one document a process: it has no `batch`"));
}

#[test]
fn an_async_function_has_as_many_documents_in_flight_as_workers_says() {
    // Each waits until three are there: with fewer in flight none would ever end.
    let code = "
import asyncio
there = []
@module
async def read(doc):
    word = doc.text()
    print(word, 'asks')
    there.append(word)
    while len(there) < 3:
        await asyncio.sleep(0.001)
    ran('most', str(os.getpid()))
    print(word, 'has it')
    return word + '!'
";
    let project = project("workers = 3", code, 9);
    drop(project.build().ends(0));
    assert_eq!(tally(&project, "most").len(), 1, "one process");
    let log = project.pipe(&["log", "docs/d004.txt"]).ends(0).stdout;
    assert!(log.contains("d004 asks") && log.contains("d004 has it") && !log.contains("d005"), "{log}");
}

#[test]
fn one_request_that_hangs_costs_the_others_nothing() {
    let code = "
import asyncio
@module
async def read(doc):
    word = ran('read', doc.text())
    if word == 'd001':
        await asyncio.Event().wait()
    return word
";
    let project = project("workers = 4\ntimeout = 0.2\nretries = 0", code, 6);
    let ended = project.build().ends(1);
    assert_eq!(ended.failures(), ["read docs/d001.txt: module-error TimeoutError"]);
    assert_eq!(project.counts("read").len(), 6);
}

#[test]
fn a_rate_holds_over_all_workers_and_targets_of_a_module() {
    let pipeline = "[source.docs]\npath = \"docs\"\n[target.one]\neach = \"docs\"\nmodule = \"read\"\nparams = { n = 1 }\n\
                    [target.two]\neach = \"docs\"\nmodule = \"read\"\nparams = { n = 2 }\n\
                    [module.read]\nrate = \"10/s\"\nworkers = 4\n";
    let code = "
import time
@module
def read(doc, *, n: int):
    ran('at', repr(time.monotonic()))
    return doc.text()
";
    let project = Project::new().file("Pipelinefile", pipeline).counted("read", code);
    for n in 0..8 {
        project.write(&format!("docs/{n}.txt"), n.to_string());
    }
    drop(project.build().ends(0));
    let mut at: Vec<f64> = project.read("runs/at").lines().map(|line| line.parse().unwrap()).collect();
    at.sort_by(f64::total_cmp);
    // Ten at once, and then ten a second: the sixteenth comes 0.6 s after the first, whatever the machine does.
    assert_eq!(at.len(), 16);
    assert!(at[15] - at[0] > 0.45, "{at:?}");
}

#[test]
fn each_worker_has_a_card_for_itself_and_the_next_target_gets_it() {
    let pipeline = "[source.docs]\npath = \"docs\"\n[target.one]\neach = \"docs\"\nmodule = \"card\"\ngpu = 1\n\
                    [target.two]\neach = \"one\"\nmodule = \"card\"\ngpu = 1\n";
    let code = "
@module
def card(doc):
    ran('cards', os.environ['CUDA_VISIBLE_DEVICES'])
    ran('pids', str(os.getpid()))
    return doc.text() + '.'
";
    let project = Project::new().file("Pipelinefile", pipeline).counted("card", code);
    for n in 0..6 {
        project.write(&format!("docs/{n}.txt"), n.to_string());
    }
    drop(project.build().ends(0));
    assert_eq!(tally(&project, "cards"), [("0".to_owned(), 12)].into());
    assert!(tally(&project, "pids").len() >= 2);
    // Those that `pipe` itself was given.
    project.replace("Pipelinefile", "gpu = 1\n[target.two]", "gpu = 2\n[target.two]");
    drop(project.pipe(&["redo", "one"]).ends(0));
    let project = project.env("CUDA_VISIBLE_DEVICES", "3,5");
    drop(project.pipe(&["build", "one"]).ends(0));
    let cards = tally(&project, "cards");
    assert!(!cards.is_empty() && cards.keys().all(|card| card == "3" || card == "5"), "{cards:?}");
}

/// Tells its secret in every way.
const TELLS: &str = "
import sys
@module
def read(doc):
    token = os.environ.get('READ_TOKEN', 'none')
    print('token is', token)
    sys.stdout.flush()
    doc.warn('with ' + token)
    if doc.text() == 'd001':
        raise RuntimeError('401 for ' + token)
    return str(len(token))
";

#[test]
fn a_secret_is_given_and_shown_nowhere() {
    let secret = "s3cr3t-value-of-it";
    let project = project("secrets = [\"READ_TOKEN\"]", TELLS, 2).env("READ_TOKEN", secret);
    let ended = project.build().ends(1);
    assert!(ended.text().contains("401 for ******************"), "{}", ended.text());
    assert_eq!(project.pipe(&["cat", "read", "docs/d000.txt"]).ends(0).stdout, "18");
    drop(project.pipe(&["log", "docs/d000.txt"]).ends(0).says("token is ******************"));
    drop(project.pipe(&["repro", "docs/d000.txt", "read"]).ends(0));
    let script = project.read("repro-read-docs_d000.txt/run.sh");
    assert!(script.contains(": \"${READ_TOKEN:?is a secret of this module: set it first}\""), "{script}");
    for (name, bytes) in project.files(".") {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the secret is in {name}");
    }
    // It is in no key: another value, nothing to do.
    let project = project.env("READ_TOKEN", "another-value");
    drop(project.pipe(&["build"]).ends(1));
    assert_eq!(project.pipe(&["cat", "read", "docs/d000.txt"]).ends(0).stdout, "18");
}

#[test]
fn a_secret_that_is_not_set_is_asked_for_and_other_modules_do_not_get_it() {
    let unset = project("secrets = [\"READ_TOKEN\"]", TELLS, 1);
    drop(
        unset
            .pipe(&["build"])
            .ends(3)
            .says("it needs the secret `READ_TOKEN`: set it with `export READ_TOKEN="),
    );
    let other = project("[target.own]\neach = \"docs\"\nshell = \"echo $READ_TOKEN | wc -c > {out}\"\nsecrets = [\"READ_TOKEN\"]\n", TELLS, 1)
        .env("READ_TOKEN", "12345678");
    drop(other.pipe(&["build"]).ends(0));
    assert_eq!(other.pipe(&["cat", "read", "docs/d000.txt"]).ends(0).stdout, "4", "`none`");
    assert_eq!(other.pipe(&["cat", "own", "docs/d000.txt"]).ends(0).stdout.trim(), "9");
}
