//! `kill -9` of `pipe` at random moments: what was reported done is never done again, and the end is that of a build that
//! nobody disturbed. `PIPE_TEST_KILLS=200` kills more often, `PIPE_TEST_SEED` at other moments.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use crate::harness::{Ended, Project};

/// The same numbers in every run of the test.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// Small documents, a few larger ones whose results are blobs; two targets in a row, a set, one behind the set.
fn project(documents: usize) -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.clean]
            each = "docs"
            module = "clean"
            publish = true
            [target.count]
            each = "clean"
            module = "count"
            [target.model]
            all = "count"
            module = "model"
            publish = "out/model.txt"
            [target.label]
            each = "count"
            module = "label"
            with = { model = "model" }
            publish = "out/label/{id.stem}.txt"
            "#,
        )
        .counted(
            "clean",
            "
            @module
            def clean(doc):
                name = ran('clean', doc.text())
                return doc.text().upper() * (6000 if name.endswith('77') else 1)
            ",
        )
        .counted(
            "count",
            "
            @module
            def count(doc):
                name = ran('count', doc.text().lower())
                return Result(f'{name} {len(doc.text())}')
            ",
        )
        .counted(
            "model",
            "
            @module
            def model(docs):
                ran('model', 'model')
                return str(sum(int(doc.text().split()[1]) for doc in docs))
            ",
        )
        .counted(
            "label",
            "
            @module
            def label(doc, *, model: Doc):
                ran('label', doc.text())
                return doc.text() + ' of ' + model.text()
            ",
        );
    for n in 0..documents {
        project.write(&format!("docs/{:02}/d{n:04}.txt", n % 10), format!("d{n:04} has {} words\n", n * n));
    }
    project
}

/// What was reported done, in the words of the modules' own counts.
fn reported(ended: &Ended) -> impl Iterator<Item = (String, String)> {
    ended.all("done").into_iter().map(|event| {
        let target = event["target"].as_str().unwrap().to_owned();
        let doc = event["doc"].as_str().unwrap();
        let name = doc.rsplit('/').next().unwrap().trim_end_matches(".txt").to_owned();
        (target, name)
    })
}

fn all_runs(project: &Project) -> BTreeMap<(String, String), usize> {
    let mut runs = BTreeMap::new();
    for target in ["clean", "count", "model", "label"] {
        for name in project.counts(target) {
            *runs.entry((target.to_owned(), name)).or_default() += 1;
        }
    }
    runs
}

#[test]
fn what_was_reported_done_is_never_done_again() {
    let wanted = number("PIPE_TEST_KILLS", 12) as usize;
    let documents = if wanted < 100 { 300 } else { 1000 };
    let clean = project(documents);
    let begin = Instant::now();
    let ended = clean.build().ends(0);
    let whole = begin.elapsed();
    let lines = ended.events.len();
    let expected = clean.files("out");
    assert_eq!(expected.len(), 2 * documents + 1);

    let mut random = Random(number("PIPE_TEST_SEED", 20_261_123));
    let mut kills = 0;
    let mut rebuilt_index = 0;
    while kills < wanted {
        let project = project(documents);
        let mut done: HashSet<(String, String)> = HashSet::new();
        let mut before = all_runs(&project);
        // Some are killed again and again until little is left, some only once.
        let rounds = 1 + random.below(6);
        for round in 0..=rounds {
            let last = round == rounds || kills >= wanted;
            let mut running = project.start(&["build"]);
            let ended = if last {
                running.end().ends(0)
            } else {
                // Half by what it has said (the same on every machine), half by time (also before it says anything).
                if random.below(2) == 0 {
                    let mut left = random.below(lines);
                    running.until(|_| {
                        left = left.saturating_sub(1);
                        left == 0
                    });
                } else {
                    let moment = Duration::from_micros(random.below(whole.as_micros() as usize) as u64);
                    std::thread::sleep(moment);
                }
                kills += 1;
                running.kill()
            };
            project.no_process_is_left();
            let after = all_runs(&project);
            for (what, count) in &after {
                let ran = count - before.get(what).copied().unwrap_or(0);
                assert!(ran == 0 || !done.contains(what), "{what:?} was done and ran again, kill {kills}");
                assert!(ran <= 1, "{what:?} ran {ran} times in one build, kill {kills}");
            }
            done.extend(reported(&ended));
            before = after;
            if !last && random.below(3) == 0 {
                drop(std::fs::remove_dir_all(project.root().join(".pipe/index")));
                rebuilt_index += 1;
            }
        }
        let files = project.files("out");
        assert!(files == expected, "published files differ after kill {kills}");
        let ended = project.build().ends(0);
        assert!(ended.all("plan").is_empty(), "something was left to do, kill {kills}: {}", ended.text());
        assert_eq!(all_runs(&project), before, "a build with nothing to do ran modules, kill {kills}");
    }
    eprintln!("{kills} kills, the index was deleted {rebuilt_index} times");
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var_os(variable).and_then(|text| text.into_string().ok()?.parse().ok()).unwrap_or(usual)
}
