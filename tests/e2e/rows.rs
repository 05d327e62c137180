use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::harness::{Project, Random};

fn project(source: &str) -> Project {
    let pipeline = r#"
[source.people]
SOURCE

[target.card]
each    = "people"
sees    = ["ext", "id", "meta.name"]
module  = "card"
publish = true

[target.german]
each    = "card"
where   = { meta.country = "DE" }
module  = "german"
publish = true

[target.list]
all     = "people"
module  = "list"
publish = "out/list.txt"
"#;
    Project::counting()
        .file("Pipelinefile", &pipeline.replace("SOURCE", source))
        .module(
            "card",
            "
            @module
            def card(doc):
                row = doc.json()
                ran(str(row['id']))
                return doc.ext + ' ' + doc.id + ' ' + str(doc.meta.get('name'))
            ",
        )
        .module(
            "german",
            "
            @module
            def german(doc):
                ran(doc)
                return 'de ' + doc.text()
            ",
        )
        .module(
            "list",
            "
            @module
            def list(docs):
                ran(str(len(docs)))
                return ' '.join(d.id + '=' + d.json().get('name', '') for d in docs)
            ",
        )
}

fn csv() -> Project {
    let project = project("path = \"people.csv\"\nrows = \"id\"");
    project.write("people.csv", "id,name,country\n1,Ada,UK\n2,Emmy,DE\n3,Kurt,AT\n");
    project
}

#[test]
fn an_edited_row_redoes_that_row_only() {
    let project = csv();
    project.build_runs(&["card 1", "card 2", "card 3", "german json people/2 Emmy", "list 3"]);
    let published = project.published();
    assert_eq!(published["card/people/1.txt"], "json people/1 Ada");
    assert_eq!(published["german/people/2.txt"], "de json people/2 Emmy");
    assert_eq!(published["list.txt"], "people/1=Ada people/2=Emmy people/3=Kurt");
    project.build_runs(&[]);
    // One row, wherever the others move.
    project.write("people.csv", "id,name,country\n3,Kurt,AT\n2,Emmy N.,DE\n1,Ada,UK\n");
    project.build_runs(&["card 2", "german json people/2 Emmy N.", "list 3"]);
    // The same columns in another order, and a file that was only touched.
    project.write("people.csv", "country,name,id\nUK,Ada,1\nDE,Emmy N.,2\nAT,Kurt,3\n");
    project.build_runs(&[]);
    // A value that only a `where` reads: it is in the row, so the row is another; its card comes out the same.
    project.replace("people.csv", "AT,Kurt", "DE,Kurt");
    project.build_runs(&["card 3", "german json people/3 Kurt", "list 3"]);
    // A new row, one that goes.
    project.write("people.csv", "country,name,id\nUK,Ada,1\nDE,Emmy N.,2\nUS,Grace,4\n");
    project.build_runs(&["card 4", "list 3"]);
    assert!(!project.published().contains_key("german/people/3.txt"));
    project.is_as_built_clean();
    // And what was there before.
    project.write("people.csv", "id,name,country\n1,Ada,UK\n2,Emmy,DE\n3,Kurt,AT\n");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn every_form_of_rows_is_read() {
    let project = project("path = [\"a.tsv\", \"b.jsonl\"]\nrows = \"id\"");
    project.write("a.tsv", "name\tid\nA, B\tx/y\n");
    project.write("b.jsonl", "{\"id\": 7, \"name\": \"Seven\", \"country\": \"DE\"}\n\n{\"id\": \"7b\"}\n");
    project.build_runs(&["card x/y", "card 7", "card 7b", "german json people/b.jsonl/7 Seven", "list 3"]);
    let names = ["card/people/a.tsv/x/y.txt", "card/people/b.jsonl/7.txt", "card/people/b.jsonl/7b.txt"];
    assert_eq!(project.published_names()[..3], names);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_broken_row_fails_alone_with_its_line() {
    let project = csv();
    project.write(
        "people.csv",
        "id,name,country\n1,Ada,UK\n2,Emmy\n3,Kurt,AT\n3,Kurt,DE\n,Nobody,UK\n4,Grace,DE\n",
    );
    let runs = ["card 1", "card 4", "german json people/4 Grace"];
    let said = project.build_with(&[], 1, &runs);
    let _said = said.says("line 6: `id` is empty").says("list: 3 of 5 members failed");
    let _said =
        project.pipe(&["log", "people/2"]).ends(0).says("line 3: 2 fields where the first line has 3");
    let _said = project.pipe(&["log", "people/3"]).ends(0).says("the same `id` in line 4 and line 5");
    let _said = project.pipe(&["log", "people/%line-6"]).ends(0).says("line 6: `id` is empty");
    project.build_with(&[], 1, &[]);
    assert!(!project.pipe(&["build", "german"]).text().contains("Plan"), "nothing to do");
    project.write("people.csv", "id,name,country\n1,Ada,UK\n2,Emmy,DE\n3,Kurt,AT\n4,Grace,DE\n");
    project.build_runs(&["card 2", "card 3", "german json people/2 Emmy", "list 4"]);
    project.is_as_built_clean();
}

#[test]
fn a_line_that_is_no_json_fails_alone() {
    let project = project("path = \"people.jsonl\"\nrows = \"id\"");
    project.write("people.jsonl", "{\"id\": 1}\n{\"id\": \n{\"name\": \"x\"}\n");
    project.build_with(&["card"], 1, &["card 1"]);
    let _said = project.pipe(&["log", "people/%line-2"]).ends(0).says("line 2: EOF while parsing a value");
    let _said = project.pipe(&["log", "people/%line-3"]).ends(0).says("line 3: it has no `id`");
}

#[test]
fn questions_know_rows() {
    let project = csv();
    drop(project.pipe(&["build"]).ends(0));
    project.take_runs();
    let _said = project
        .pipe(&["cat", "people", "people/2"])
        .ends(0)
        .says(r#"{"country":"DE","id":"2","name":"Emmy"}"#);
    let _said = project.pipe(&["ls", "people"]).ends(0).says("people/3");
    let _said = project.pipe(&["ls", "card", "--where", "meta.country=DE"]).ends(0).says("people/2");
    let _said = project.pipe(&["status"]).ends(0).says("people  3 documents, as built");
    let _said = project.pipe(&["graph"]).ends(0).says("people.csv");
    project.replace("people.csv", "2,Emmy", "2,Emmy N.");
    let _said = project.pipe(&["status"]).ends(0).says("1 changed");
    let _said =
        project.pipe(&["why", "people/2"]).ends(0).says("would run: its input changed; meta.name changed");
    let _said = project.pipe(&["why", "people/1"]).ends(0).says("new (run 1)");
    let _said = project.pipe(&["try", "card", "people/2"]).ends(0).says("json people/2 Emmy N.");
    let said = project.pipe(&["build", "-n"]).ends(0).says("card 1");
    assert!(!said.text().contains("card 3"), "{}", said.text());
    project.take_runs();
}

#[test]
fn misuse_is_told() {
    let project = csv();
    project.replace("Pipelinefile", "rows = \"id\"", "rows = \"idd\"");
    let said = project.pipe(&["check"]).ends(2);
    let _said = said.says("`[ROOT]/people.csv` has no column `idd`").says("did you mean `id`?");
    let said = project.build_with(&[], 2, &[]);
    let _said = said.says("has no column `idd`");
    project.replace("Pipelinefile", "rows = \"idd\"", "rows = \"id\"\ninclude = [\"*\"]");
    let _said = project.pipe(&["check"]).ends(2).says("`include` chooses files; the documents here are rows");
    project.replace("Pipelinefile", "\ninclude = [\"*\"]", "");
    drop(project.pipe(&["build"]).ends(0));
    project.take_runs();
    // The guard: most rows are gone, or the file.
    project.write("people.csv", "id,name,country\n1,Ada,UK\n");
    let said = project.build_with(&[], 3, &[]);
    let _said = said.says("source `people`: 2 of 3 documents are gone since the last build");
    project.remove("people.csv");
    project.build_with(&[], 3, &[]);
    project.write("people.csv", "id,name,country\n1,Ada,UK\n");
    project.build_with(&["--gone"], 0, &["list 1"]);
    assert_eq!(project.published_names(), ["card/people/1.txt", "list.txt"]);
}

/// Random rows, edits, moves, removals, kills: what is published is what the oracle says, and each row ran exactly when it
/// was new.
fn random_builds(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let project = csv();
    let mut rows: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut done: HashSet<String> = HashSet::new();
    let mut lists: HashSet<String> = HashSet::new();
    for step in 0..steps {
        for _ in 0..=random.below(4) {
            let id = ["a", "b", "c/d", "c/e", "f#1", "g h"][random.below(6)].to_owned();
            if random.below(4) == 0 {
                rows.remove(&id);
            } else {
                let name = ["Ada", "Em\nmy", "K\"u\"rt"][random.below(3)];
                let country = ["DE", "UK"][random.below(2)];
                rows.insert(id, (name.to_owned(), country.to_owned()));
            }
        }
        if rows.is_empty() {
            rows.insert("a".into(), ("Ada".into(), "DE".into()));
        }
        let mut lines: Vec<String> = rows
            .iter()
            .map(|(id, (name, country))| format!("{id},\"{}\",{country}\n", name.replace('"', "\"\"")))
            .collect();
        // In any order.
        for at in (1..lines.len()).rev() {
            lines.swap(at, random.below(at + 1));
        }
        project.write("people.csv", format!("id,name,country\n{}", lines.concat()));
        let killed = random.below(3) == 0;
        if killed {
            let mut running = project.start(&["build", "--gone"]);
            let mut events = random.below(30);
            running.until(|_| {
                events = events.saturating_sub(1);
                events == 0
            });
            drop(running.kill());
            project.no_process_is_left();
        }
        drop(project.pipe(&["build", "--gone"]).ends(0));
        let mut expected: BTreeSet<String> = BTreeSet::new();
        let mut published: BTreeMap<String, String> = BTreeMap::new();
        let mut list = Vec::new();
        for (id, (name, country)) in &rows {
            let escaped = id.replace('#', "%23");
            let card = format!("json people/{escaped} {name}");
            if done.insert(format!("card {id} {name} {country}")) {
                expected.insert(format!("card {id}"));
            }
            let file = escaped.clone();
            published.insert(format!("card/people/{file}.txt"), card.clone());
            if country == "DE" {
                if done.insert(format!("german {card}")) {
                    expected.insert(format!("german {}", card.split('\n').next().unwrap()));
                }
                published.insert(format!("german/people/{file}.txt"), format!("de {card}"));
            }
            list.push((format!("people/{escaped}"), name.clone(), country.clone()));
        }
        list.sort();
        if lists.insert(format!("{list:?}")) {
            expected.insert(format!("list {}", rows.len()));
        }
        let list: Vec<String> = list.into_iter().map(|(id, name, _)| format!("{id}={name}")).collect();
        published.insert("list.txt".into(), list.join(" "));
        assert_eq!(project.published(), published, "seed {seed}, step {step}");
        let ran = project.take_runs();
        let expected: Vec<String> = expected.into_iter().collect();
        if killed {
            let ran: BTreeSet<_> = ran.into_iter().collect();
            // A killed build may have made the list of members that the next one replaces.
            let is_new = |run: &&String| !expected.contains(run) && !run.starts_with("list ");
            assert_eq!(
                ran.iter().filter(is_new).count(),
                0,
                "seed {seed}, step {step}: {ran:?} {expected:?}"
            );
            assert!(
                expected.iter().all(|run| ran.contains(run)),
                "seed {seed}, step {step}: {ran:?} {expected:?}"
            );
        } else {
            assert_eq!(ran, expected, "seed {seed}, step {step}");
        }
    }
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn random_builds_are_as_the_oracle_says() {
    for seed in 0..3 {
        random_builds(seed, 8);
    }
}

#[test]
fn rows_that_are_no_documents_are_told_where_nothing_takes_them_one_by_one() {
    let project = Project::new().file(
        "Pipelinefile",
        r#"
        [source.inbox]
        path = "inbox"

        [source.people]
        path = "people.csv"
        rows = "id"

        [target.named]
        each  = "inbox"
        with  = { who = { from = "people", on = ["id.stem", "meta.id"], missing = "none" } }
        shell = "cat {in} {with.who} > {out}"
        "#,
    );
    project.write("inbox/1.txt", "one\n");
    project.write("people.csv", "id,name\n1,Ada\n2,Emmy\n2,Emmy\n");
    let told = "people  1 row is no document: the same `id` in line 3 and line 4\n";
    drop(project.pipe(&["build"]).ends(0).says(told));
    // Also when nothing is read again.
    project.pipe(&["build"]).shows(
        "
        status: 0
        --- stderr
          Warning   people  1 row is no document: the same `id` in line 3 and line 4
        Up to date  3 documents ([TIME])
        ",
    );
    drop(
        project
            .pipe(&["status"])
            .ends(0)
            .says("  1 row is no document: the same `id` in line 3 and line 4\n"),
    );
    // Only rows differ: the plan says who may have something to do.
    project.write("people.csv", "id,name\n1,Ada L.\n2,Emmy\n");
    project.pipe(&["build"]).shows(
        "
        status: 0
        --- stderr
          Scanned   inbox  1 document in [TIME]   no changes
          Scanned   people  2 documents in [TIME]   2 changed
             Plan   as needed: named   1 up to date
        Unmatched   named  1 of 2 in `people` match nothing  people/2
          Summary   2 documents in [TIME]: 1 built
                    1 document was up to date
        ",
    );
}

#[test]
fn different_faults_of_rows_are_different_causes() {
    let project = project("path = \"people.csv\"\nrows = \"id\"");
    project.write("people.csv", "id,name,country\na,A,DE\nb,B\nc,C,FR,x\n,D,DE\na,A,DE\nd,D\n");
    let failed = project.pipe(&["build"]).ends(1).text();
    let failed = failed + &project.pipe(&["failed"]).ends(0).text();
    for cause in ["where the first line has 3", "`id` is empty", "the same `id` in line 2 and line 6"] {
        assert!(failed.contains(cause), "{cause}: {failed}");
    }
    let _said = project
        .pipe(&["ls", "people"])
        .ends(0)
        .says("people/a        failed                        unreadable: the same `id` in line 2");
    let _said = project
        .pipe(&["why", "people/b"])
        .ends(0)
        .says("card      failed")
        .says("2 fields where the first line has 3");
}

#[test]
fn the_test_that_leaves_a_row_out_is_told() {
    let project = project("path = \"people.csv\"\nrows = \"id\"");
    project.write("people.csv", "id,name,country\na,A,DE\nb,B,FR\n");
    project.pipe(&["build"]).ends(0);
    for command in ["why", "log"] {
        let _said = project.pipe(&[command, "people/b"]).ends(0).says("meta.country is \"FR\", not \"DE\"");
    }
}
