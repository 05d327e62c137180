//! `pipe gc`: what is needed stays, what is not goes, and whoever kills it or reads beside it loses nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Project;

/// Two targets in a row, the first with large results for texts that ask for it; a set.
fn project() -> Project {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.upper]
            each    = "inbox"
            module  = "upper"
            publish = true

            [target.count]
            each    = "upper"
            module  = "count"

            [target.all]
            all     = "count"
            module  = "every"
            publish = "out/all.json"
            "#,
        )
        .module(
            "upper",
            "
            @module
            def upper(doc):
                ran(doc)
                print('upper of', doc.text())
                return doc.text().upper() * (20000 if 'large' in doc.text() else 1)
            ",
        )
        .module(
            "count",
            "
            @module
            def count(doc):
                ran(doc.text().split('\\n')[0].lower())
                return f'{len(doc.text())} {doc.text()[:12]}'
            ",
        )
        .module(
            "every",
            "
            @module
            def every(docs):
                ran('all')
                return {doc.id: doc.text() for doc in docs}
            ",
        );
    for name in ["one", "two", "three"] {
        project.write(&format!("inbox/{name}.txt"), format!("{name} at first\n"));
    }
    project.pipe(&["build", "-q"]).ends(0);
    project
}

fn edit(project: &Project, name: &str, text: &str) {
    project.write(&format!("inbox/{name}.txt"), format!("{text}\n"));
    project.pipe(&["build", "-q"]).ends(0);
}

/// Edits that leave much behind: `two` was large three times, and is small again.
fn edited() -> Project {
    let project = project();
    for text in ["two large, first", "two large, then", "two large, last", "two small"] {
        edit(&project, "two", text);
    }
    edit(&project, "one", "one, once more");
    project.take_runs();
    project
}

fn gc(project: &Project, arguments: &[&str]) -> Value {
    let said = project.pipe(&[&["gc", "--json"], arguments].concat()).ends(0);
    serde_json::from_str(&said.stdout).unwrap()
}

/// The bytes of everything in the store, without its reserve and what is unpacked there for Python.
fn size(project: &Project) -> u64 {
    let is_aside = |name: &str| ["tmp/", "python/"].iter().any(|folder| name.starts_with(folder));
    let counts = |name: &String| !["RESERVE", "lock"].contains(&name.as_str()) && !is_aside(name);
    project.files(".pipe").iter().filter(|(name, _)| counts(name)).map(|(_, bytes)| bytes.len() as u64).sum()
}

/// A build has nothing to do, and nothing is damaged.
fn is_whole(project: &Project, published: &BTreeMap<String, String>) {
    project.build_with(&[], 0, &[]).says("Up to date");
    assert_eq!(&project.published(), published);
    project.pipe(&["doctor"]).ends(0).says("nothing is damaged");
    project.build_with(&[], 0, &[]);
    assert_eq!(&project.published(), published);
}

#[test]
fn recent_history_stays_and_a_reverted_edit_runs_nothing() {
    let project = edited();
    let published = project.published();
    let said = gc(&project, &[]);
    assert_eq!((&said["collected"], &said["blobs"]["count"]), (&0.into(), &0.into()), "{said}");
    is_whole(&project, &published);
    edit(&project, "one", "one at first");
    assert_eq!(project.take_runs(), Vec::<String>::new());
    project.pipe(&["log", "inbox/two.txt"]).ends(0).says("run 1 ");
}

#[test]
fn what_nothing_needs_goes_and_the_rest_is_as_it_was() {
    let project = edited();
    let published = project.published();
    project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0).says("Collected").says("3 large files");
    is_whole(&project, &published);
    let told = project.pipe(&["log", "inbox/two.txt"]).ends(0).says("earlier runs were collected by pipe gc");
    assert!(told.stdout.contains("made txt") && !told.stdout.contains("run 1 "), "{}", told.stdout);
    project.pipe(&["why", "inbox/two.txt"]).ends(0);
    project.pipe(&["cat", "upper", "inbox/two.txt"]).ends(0).says("TWO SMALL");
    // What is older than the history that is kept is simply made again.
    edit(&project, "two", "two large, then");
    assert_eq!(project.take_runs(), ["count two large, then", "every all", "upper two large, then"]);
    project.pipe(&["doctor"]).ends(0);
}

#[test]
fn a_dry_run_says_to_the_byte_what_the_real_one_does() {
    let project = edited();
    let before = project.files(".pipe/segments");
    let dry = gc(&project, &["--older-than", "0d", "--dry-run"]);
    assert_eq!(project.files(".pipe/segments"), before, "a dry run changes nothing");
    let total = size(&project);
    let mut real = gc(&project, &["--older-than", "0d", "--force"]);
    assert_eq!((&dry["dry_run"], &real["dry_run"]), (&true.into(), &false.into()));
    real["dry_run"] = true.into();
    // Opening and closing write a little into the index, and into the log that goes on in a new file.
    for part in ["before", "after"] {
        let (dry, real) = (dry[part].as_i64().unwrap(), real[part].as_i64().unwrap());
        assert!((dry - real).abs() < 64 << 10, "{part}: {dry} and {real}");
        assert!((real - (total as i64)).abs() < 64 << 10 || part == "after");
    }
    real["before"] = dry["before"].clone();
    real["after"] = dry["after"].clone();
    assert_eq!(dry, real);
    let freed = dry["before"].as_u64().unwrap() - dry["after"].as_u64().unwrap();
    assert!(size(&project).abs_diff(total - freed) < 64 << 10);
    let again = gc(&project, &["--older-than", "0d"]);
    assert_eq!((&again["collected"], &again["log_bytes"]), (&0.into(), &0.into()), "{again}");
}

#[test]
fn fault_g09_over_half_goes_only_when_that_is_said_twice() {
    let project = edited();
    let before = project.files(".pipe/segments");
    project
        .pipe(&["gc", "--older-than", "0d"])
        .ends(3)
        .says("over half of all records and results would go")
        .says("hint: pipe gc --older-than 0d --force");
    assert_eq!(project.files(".pipe/segments"), before);
    project.pipe(&["gc", "--older-than", "0d", "-n"]).ends(0).says("--force");
}

#[test]
fn a_store_of_which_nothing_is_in_the_pipelinefile_is_not_emptied_by_mistake() {
    let project = edited();
    let text =
        project.read("Pipelinefile").replace("inbox", "mail").replace("target.all", "target.every_one");
    project.write("Pipelinefile", text);
    std::fs::rename(project.root().join("inbox"), project.root().join("mail")).unwrap();
    // No build knows the new Pipelinefile yet: the old source is history of today.
    let kept = gc(&project, &["-n"]);
    assert_eq!((&kept["collected"], &kept["doubt"]), (&0.into(), &"no-document".into()), "{kept}");
    project
        .pipe(&["gc", "--older-than", "0d"])
        .ends(3)
        .says("no document of this Pipelinefile has anything in the store");
    project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0).says("inbox is not in the Pipelinefile");
    project.pipe(&["build", "-q"]).ends(0);
    project.pipe(&["doctor"]).ends(0);
}

#[test]
fn a_source_that_was_taken_out_goes_with_its_history() {
    let project = project();
    let with = project.read("Pipelinefile");
    let more = "\n[source.other]\npath = \"other\"\n[target.low]\neach = \"other\"\nmodule = \"upper\"\n";
    project.write("other/big.txt", "a large document of another source\n");
    project.write("Pipelinefile", with.clone() + more);
    project.pipe(&["build", "-q"]).ends(0);
    project.write("Pipelinefile", &with);
    edit(&project, "one", "one, again");
    let published = project.published();
    project.take_runs();
    project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0).says("1 large file ");
    assert_eq!(project.names(".pipe/blobs"), Vec::<String>::new());
    is_whole(&project, &published);
    project.write("Pipelinefile", with + more);
    project.build_with(&[], 0, &["upper a large document of another source"]);
}

#[test]
fn children_and_groups_belong_to_the_pipelinefile_too() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"
            [target.pages]
            each   = "inbox"
            split  = true
            module = "pages"
            [target.upper]
            each    = "pages"
            module  = "upper"
            [target.glued]
            group   = "upper"
            by      = "parent"
            module  = "glued"
            publish = true
            "#,
        )
        .module(
            "pages",
            "
            from pipelinefile import Child

            @module
            def pages(doc):
                ran('pages')
                for number, line in enumerate(doc.text().splitlines()):
                    yield Child(f'page-{number}', line)
            ",
        )
        .module("upper", "@module\ndef upper(doc):\n    ran(doc)\n    return doc.text().upper()\n")
        .module(
            "glued",
            "@module\ndef glued(docs):\n    ran('glued')\n    return ' '.join(doc.text() for doc in docs)\n",
        );
    for i in 0..5 {
        project.write("inbox/a.txt", format!("first\nsecond {i}\nthird\n"));
        project.pipe(&["build", "-q"]).ends(0);
    }
    let published = project.published();
    project.take_runs();
    let said = gc(&project, &["--older-than", "0d", "--force"]);
    assert!(said["collected"].as_u64() > Some(0) && said["dropped"] == serde_json::json!({}), "{said}");
    is_whole(&project, &published);
}

#[test]
fn fault_g07_what_was_collected_is_made_again_when_it_is_wanted() {
    let project = project();
    project.clear("inbox/two.txt");
    project.pipe(&["build", "-q"]).ends(0);
    for text in ["one, again", "one, and again", "one at last"] {
        edit(&project, "one", text);
    }
    let published = project.published();
    project.take_runs();
    project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0).says("1 document gone long ago");
    project.pipe(&["log", "inbox/two.txt"]).ends(4);
    is_whole(&project, &published);
    project.write("inbox/two.txt", "two at first\n");
    project.build_with(&[], 0, &["upper two at first", "count two at first", "every all"]);
    project.pipe(&["doctor"]).ends(0);
}

#[test]
fn a_redo_stays_done_whatever_was_collected() {
    let project = project();
    project.pipe(&["redo", "upper", "--docs", "inbox/two.txt"]).ends(0);
    for _ in 0..3 {
        project.pipe(&["redo", "upper"]).ends(0);
        project.pipe(&["redo", "count"]).ends(0);
        project.pipe(&["build", "-q"]).ends(0);
    }
    let published = project.published();
    project.take_runs();
    let said = gc(&project, &["--older-than", "0d", "--force"]);
    assert!(said["marks"].as_u64() >= Some(1), "{said}");
    is_whole(&project, &published);
    // The next mark is above all that records know.
    project.pipe(&["redo", "upper", "--docs", "inbox/one.txt"]).ends(0);
    project.build_with(&[], 0, &["upper one at first"]);
}

#[test]
fn a_failure_keeps_the_file_that_was_shown_before_it() {
    let project = project();
    project.write_module("upper", "@module\ndef upper(doc):\n    ran(doc)\n    raise ValueError('no')\n");
    project.pipe(&["build", "-q"]).ends(1);
    project.pipe(&["build", "-q"]).ends(1);
    let published = project.published();
    assert_eq!(published.len(), 4);
    project.take_runs();
    gc(&project, &["--older-than", "0d", "--force"]);
    // After a kill, or without the index, what is ours is told by the stories alone.
    project.clear(".pipe/index");
    project.build_with(&[], 1, &[]);
    assert_eq!(project.published(), published);
    project.clear("inbox/two.txt");
    project.build_with(&[], 1, &[]);
    assert_eq!(project.published().len(), 3, "its file goes with it");
}

#[test]
fn logs_of_workers_go_with_what_they_tell_of() {
    let project = edited();
    let before = project.names(".pipe/logs").len();
    let said = gc(&project, &["--older-than", "0d", "--force"]);
    let after = project.names(".pipe/logs").len();
    assert_eq!(said["logs"]["count"].as_u64().unwrap() as usize, before - after);
    assert!(after < before && after > 0);
    project.pipe(&["log", "inbox/two.txt"]).ends(0).says("upper of two small");
}

#[test]
fn it_stops_at_the_size_that_is_asked_for_or_says_what_it_cannot() {
    let project = edited();
    let total = size(&project);
    // Two of the three large results may stay.
    let limit = (total - 300_000).to_string();
    let said = gc(&project, &["--max-size", &limit]);
    assert_eq!((&said["blobs"]["count"], &said["over"]), (&1.into(), &Value::Null), "{said}");
    assert!(size(&project) <= total - 300_000 + (64 << 10));
    project
        .pipe(&["gc", "--max-size", "1KB", "--force"])
        .ends(3)
        .says("what the documents need now is")
        .says("more than 1000 B");
    let published = project.published();
    is_whole(&project, &published);
}

#[test]
fn a_damaged_log_is_not_collected() {
    let project = edited();
    let path = project.root().join(".pipe/segments/000001.seg");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(9).position(|window| window == b"\"command\"").unwrap();
    bytes[at] ^= 0x20;
    std::fs::write(&path, bytes).unwrap();
    project.pipe(&["gc", "--force"]).ends(3).says("the log is damaged in 1 place").says("hint: pipe doctor");
    project.pipe(&["doctor"]).ends(3);
    project.pipe(&["build", "-q"]).ends(0);
    project.pipe(&["gc"]).ends(0);
}

#[test]
fn there_must_be_a_store_and_options_that_can_be_read() {
    let project =
        Project::new().file("Pipelinefile", "[source.inbox]\npath = \"inbox\"\n").file("inbox/a", "");
    project.pipe(&["gc"]).ends(4).says("there is no store").says("hint: pipe build");
    project.pipe(&["gc", "--older-than", "30"]).ends(2).says("30d");
    project.pipe(&["gc", "--max-size", "much"]).ends(2).says("10GB");
}

/// On a machine that is very busy the owner may be too slow to say that it is there; then one asks again.
fn ask(project: &Project, question: &[&str]) -> crate::harness::Outcome {
    loop {
        let answer = project.pipe(question);
        if !(answer.status == 3 && answer.stderr.contains("which does not answer")) {
            return answer.ends(0);
        }
    }
}

#[test]
fn others_may_ask_meanwhile() {
    let project = edited();
    for round in 0..6 {
        for text in ["large in this round", "small again"] {
            edit(&project, "two", &format!("two {text} {round}"));
        }
        let running = project.start(&["gc", "--older-than", "0d", "--force"]);
        let questions: [(&[&str], &str); 3] = [
            (&["status"], "upper"),
            (&["log", "inbox/two.txt"], "two small again"),
            (&["cat", "upper", "inbox/one.txt"], "ONE, ONCE MORE"),
        ];
        for (question, answer) in questions.iter().cycle().take(6) {
            drop(ask(&project, question).says(answer));
        }
        running.end().ends(0);
    }
    let published = project.published();
    project.take_runs();
    is_whole(&project, &published);
}

#[test]
fn fault_g06_beside_a_build_collection_does_not_work() {
    let project = project();
    project.write_module(
        "upper",
        "
        @module
        def upper(doc):
            open('here', 'w').close()
            import time
            while not os.path.exists('go'):
                time.sleep(0.002)
            return doc.text()
        ",
    );
    let building = project.start(&["build"]);
    project.wait_for_file("here");
    project.pipe(&["gc"]).ends(3).says("another pipe works in this project");
    project.write("go", "");
    building.end().ends(0);
    project.pipe(&["gc"]).ends(0);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&from, &to),
            kind if kind.is_file() => drop(std::fs::copy(&from, &to).unwrap()),
            _ => {}
        }
    }
}

#[test]
fn fault_g08_a_collection_that_is_killed_leaves_a_store_that_is_whole() {
    let project = edited();
    let published = project.published();
    drop(std::fs::remove_file(project.root().join(".pipe/RESERVE")));
    let kept = project.root().join("kept");
    copy(&project.root().join(".pipe"), &kept);
    let begin = Instant::now();
    gc(&project, &["--older-than", "0d", "--force"]);
    let whole = begin.elapsed().as_micros() as u64;
    let kills: u64 = std::env::var_os("PIPE_TEST_KILLS")
        .and_then(|text| text.into_string().ok()?.parse().ok())
        .unwrap_or(8);
    for kill in 0..kills {
        project.clear(".pipe");
        copy(&kept, &project.root().join(".pipe"));
        let running = project.start(&["gc", "--older-than", "0d", "--force"]);
        // Spread evenly over the time that it takes.
        std::thread::sleep(Duration::from_micros(whole * (kill + 1) / kills));
        running.kill();
        if kill % 2 == 1 {
            project.clear(".pipe/index");
        }
        project.build_with(&[], 0, &[]);
        assert_eq!(project.published(), published, "kill {kill}");
        project.pipe(&["doctor"]).ends(0);
        gc(&project, &["--older-than", "0d", "--force"]);
        is_whole(&project, &published);
        assert_eq!(project.names(".pipe/blobs"), Vec::<String>::new());
    }
}

#[test]
fn pipelinefiles_of_runs_that_are_gone_go_with_them() {
    let project = project();
    let kept = |project: &Project| project.names(".pipe/pipelinefiles").len();
    for n in 1..3 {
        project.replace("Pipelinefile", "[source.inbox]", &format!("# {n}\n[source.inbox]"));
        // Enough for the log to be worth writing anew without it.
        edit(&project, "one", &format!("{n} {}", "x".repeat(50_000)));
    }
    edit(&project, "one", "small");
    assert_eq!(kept(&project), 3);
    let runs = || {
        project.pipe(&["report"]).ends(0).stdout.lines().filter(|line| line.contains("pipe build")).count()
    };
    assert_eq!(runs(), 4);
    // While their runs are told of, they stay.
    drop(project.pipe(&["gc"]).ends(0));
    assert_eq!((kept(&project), runs()), (3, 4));
    let dry = project.pipe(&["gc", "--older-than", "0d", "-n"]).ends(0);
    let said = project.pipe(&["gc", "--older-than", "0d", "--force"]).ends(0);
    let left = runs();
    assert!(left == 2 && kept(&project) == 2, "{} of {left} runs\n{}", kept(&project), said.text());
    // The first run made what the present results still name.
    drop((dry.says("1 old Pipelinefile ("), said.says("1 old Pipelinefile (")));
    drop(project.pipe(&["report", "4", "--pipelinefile"]).ends(0).says("# 2"));
}
