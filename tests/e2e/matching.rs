use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::harness::{Project, Random};

fn project(with: &str) -> Project {
    let pipeline = r#"
[source.scans]
path = "scans"

[source.vendors]
path = "vendors.csv"
rows = "id"

[target.read]
each   = "scans"
module = "read"

[target.enriched]
each    = "read"
with    = { vendor = WITH }
module  = "enrich"
publish = true

[target.report]
all     = "enriched"
module  = "report"
publish = "out/report.txt"
"#;
    let project = Project::counting()
        .file("Pipelinefile", &pipeline.replace("WITH", with))
        .module(
            "read",
            "
            @module
            def read(doc):
                ran(doc)
                words = doc.text().split()
                if words[0] == 'bad':
                    raise ValueError('bad')
                meta = {} if words[0] == 'none' else {'vendor': int(words[0]) if words[0] == '7' else words[0]}
                return Result(' '.join(words[1:]), meta=meta)
            ",
        )
        .module(
            "enrich",
            "
            @module
            def enrich(doc, *, vendor: Doc = None):
                several = vendor if isinstance(vendor, list) else [vendor] if vendor else []
                names = ','.join(v.json()['name'] for v in several)
                text = doc.text() + ' by ' + (names or '-')
                ran(text)
                return text
            ",
        )
        .module(
            "report",
            "
            @module
            def report(docs):
                ran(str(len(docs)))
                return '; '.join(d.text() for d in docs)
            ",
        );
    project.write("vendors.csv", "id,name\na,Acme\nb,Bolt\nc,Core\n");
    project.write("scans/1.txt", "a one");
    project.write("scans/2.txt", "b two");
    project.write("scans/3.txt", "a three");
    project
}

const NONE: &str = r#"{ from = "vendors", on = ["meta.vendor", "meta.id"], missing = "none" }"#;

#[test]
fn each_document_gets_the_one_with_its_value() {
    let project = project(NONE);
    let said = project.build_with(
        &[],
        0,
        &[
            "read a one",
            "read a three",
            "read b two",
            "enrich one by Acme",
            "enrich three by Acme",
            "enrich two by Bolt",
            "report 3",
        ],
    );
    let _said = said.says("1 of 3 in `vendors` match nothing  vendors/c");
    project.build_runs(&[]);
    // A row: those that have it, and nothing else.
    project.replace("vendors.csv", "a,Acme", "a,Acme Ltd");
    project.build_runs(&["enrich one by Acme Ltd", "enrich three by Acme Ltd", "report 3"]);
    project.build_runs(&[]);
    // One that nobody has; one that is new; another order.
    project.write("vendors.csv", "id,name\nd,Dent\nc,Corel\nb,Bolt\na,Acme Ltd\n");
    project.build_runs(&[]);
    // A document that changes sides; one without a value; one with a value that nobody has.
    project.write("scans/2.txt", "c two");
    project.write("scans/4.txt", "none four");
    project.write("scans/5.txt", "x five");
    let said = project.build_with(
        &[],
        0,
        &[
            "read c two",
            "read none four",
            "read x five",
            "enrich two by Corel",
            "enrich four by -",
            "enrich five by -",
            "report 5",
        ],
    );
    let said = said.says("enriched  2 of 5 documents have no `vendor`  scans/4.txt  scans/5.txt");
    let _said = said.says("2 of 4 in `vendors` match nothing  vendors/b  vendors/d");
    let _said = project.pipe(&["status"]).ends(0).says("2 without `vendor`, 2 of `vendors` unused");
    // The vendor comes.
    project.write("vendors.csv", "id,name\nd,Dent\nc,Corel\nb,Bolt\na,Acme Ltd\nx,Xen\n");
    project.build_runs(&["enrich five by Xen", "report 5"]);
    // And goes: those that had it have none, which was not made before.
    project.write("vendors.csv", "id,name\nd,Dent\nc,Corel\nb,Bolt\nx,Xen\n");
    project.build_runs(&["enrich one by -", "enrich three by -", "report 5"]);
    project.is_as_built_clean();
    let _said = project.pipe(&["why", "scans/5.txt"]).ends(0).says("vendor");
    let _said = project.pipe(&["try", "enriched", "scans/5.txt"]).ends(0).says("five by Xen");
    project.take_runs();
}

#[test]
fn what_is_missing_may_fail_or_leave_out() {
    let project = project(&NONE.replace("none", "fail"));
    project.write("scans/4.txt", "x four");
    let said = project.pipe(&["build"]).ends(1);
    let _said = said.says("1x enriched  missing input: there is no `vendor` for it");
    project.build_with(
        &[],
        1,
        &[
            "read a one",
            "read a three",
            "read b two",
            "read x four",
            "enrich one by Acme",
            "enrich three by Acme",
            "enrich two by Bolt",
        ],
    );
    project.replace("Pipelinefile", "missing = \"fail\"", "missing = \"skip\"");
    project.build_runs(&["report 3"]);
    let _said = project.pipe(&["log", "scans/4.txt"]).ends(0).says("skipped, there is no `vendor` for it");
    project.write("vendors.csv", "id,name\na,Acme\nb,Bolt\nx,Xen\n");
    project.build_runs(&["enrich four by Xen", "report 4"]);
    project.is_as_built_clean();
}

#[test]
fn several_matches_fail_unless_many_are_wanted() {
    let with = r#"{ from = "vendors", on = ["meta.vendor", "meta.name"], missing = "none" }"#;
    let project = project(with);
    project.write("vendors.csv", "id,name\n2,a\n1,a\n3,b\n");
    let said = project.pipe(&["build"]).ends(1);
    let _said = said.says("2x enriched  ambiguous input: 2 documents match as `vendor`, vendors/1");
    project.take_runs();
    project.replace("Pipelinefile", "missing = \"none\" }", "missing = \"none\", many = true }");
    project.build_runs(&["enrich one by a,a", "enrich three by a,a", "enrich two by b", "report 3"]);
    // In order of ids; one of them is enough for another run.
    project.write("vendors.csv", "id,name\n1,a\n2,a\n3,b\n0,a\n");
    project.build_runs(&["enrich one by a,a,a", "enrich three by a,a,a", "report 3"]);
    project.is_as_built_clean();
}

#[test]
fn a_number_is_no_text_and_that_is_said() {
    let project = project(NONE);
    project.write("vendors.csv", "id,name\n7,Seven\na,Acme\nb,Bolt\n");
    project.write("scans/4.txt", "7 four");
    let said = project.pipe(&["build"]).ends(0);
    let said = said.says("1 of 4 documents have no `vendor`  scans/4.txt");
    let _said = said.says("7 and \"7\" are not equal: one is a number, the other a text");
    project.take_runs();
}

#[test]
fn failures_on_the_other_side_block() {
    let with = r#"{ from = "other", on = "id.stem", missing = "none" }"#;
    let project = project(with);
    let text = project.read("Pipelinefile");
    let other = "[source.notes]\npath = \"notes\"\n[target.other]\neach = \"notes\"\nmodule = \"other\"\n[target.read]";
    project.write("Pipelinefile", text.replace("[target.read]", other));
    project.write_module(
        "other",
        "@module\ndef other(doc):\n    ran(doc)\n    if doc.text() == 'bad':\n        raise ValueError('bad')\n    return {'name': doc.text()}\n",
    );
    project.write("notes/1.md", "note");
    project.write("notes/2.md", "bad");
    let text = project.read("Pipelinefile");
    project
        .write("Pipelinefile", text.replace("[source.vendors]\npath = \"vendors.csv\"\nrows = \"id\"\n", ""));
    let runs = [
        "read a one",
        "read a three",
        "read b two",
        "other bad",
        "other note",
        "enrich one by note",
        "enrich three by -",
    ];
    let said = project.build_with(&[], 1, &runs);
    let _said = said.says("1x other").says("report: 1 of 3 members failed");
    let _said = project.pipe(&["log", "scans/2.txt"]).ends(0).says("blocked, other failed on notes/2.md");
    project.write("notes/2.md", "good");
    project.build_runs(&["other good", "enrich two by good", "report 3"]);
    project.build_runs(&[]);
    // The same bytes again: nothing behind it looks different.
    project.replace("modules/other.py", "'bad')", "'worse')");
    project.build_runs(&["other good", "other note"]);
    project.is_as_built_clean();
}

#[test]
fn files_are_matched_as_they_are() {
    let with = r#"{ from = "corrections", on = "id.stem", missing = "none" }"#;
    let project = project(with);
    let text = project.read("Pipelinefile");
    let text = text.replace("path = \"vendors.csv\"\nrows = \"id\"", "path = \"corrections\"");
    project.write("Pipelinefile", text.replace("source.vendors", "source.corrections"));
    project.write("corrections/1.json", "{\"name\": \"Fixed\"}");
    project.write("corrections/9.json", "{\"name\": \"Nobody\"}");
    let runs = [
        "read a one",
        "read a three",
        "read b two",
        "enrich one by Fixed",
        "enrich three by -",
        "enrich two by -",
        "report 3",
    ];
    let said = project.build_with(&[], 0, &runs);
    let _said = said.says("1 of 2 in `corrections` match nothing  corrections/9.json");
    project.write("corrections/1.json", "{\"name\": \"Better\"}");
    project.write("corrections/2.json", "{\"name\": \"New\"}");
    project.build_runs(&["enrich one by Better", "enrich two by New", "report 3"]);
    project.remove("corrections/2.json");
    // As it was before: the old result is there.
    project.build_runs(&["report 3"]);
    project.is_as_built_clean();
}

#[test]
fn misuse_is_told() {
    let project = project(NONE);
    project.replace("Pipelinefile", ", missing = \"none\"", "");
    let _said = project.build_with(&[], 2, &[]).says("`on` without `missing`");
    let text = project.read("Pipelinefile");
    let text =
        text.replace("[\"meta.vendor\", \"meta.id\"]", "[\"meta.vendor\", \"meta.id\"], missing = \"none\"");
    let set =
        "[target.report]\nwith = { vendor = { from = \"vendors\", on = \"meta.id\", missing = \"none\" } }";
    project.write("Pipelinefile", text.replace("[target.report]", set));
    let _said = project
        .build_with(&[], 2, &[])
        .says("an `all` is one action: it has no value that others could match");
    let circle = "from = \"report\"";
    project.write("Pipelinefile", text.replace("from = \"vendors\"", circle));
    let _said = project.build_with(&[], 2, &[]).says("targets need each other");
}

/// Random documents and rows on both sides, edits, kills: what is published is what the oracle says, and each action ran
/// when it was new.
fn random_builds(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let project = project(NONE);
    project.clear("scans");
    let mut scans: BTreeMap<String, String> = BTreeMap::new();
    let mut vendors: BTreeMap<String, String> = BTreeMap::new();
    let mut done: HashSet<String> = HashSet::new();
    for step in 0..steps {
        for _ in 0..=random.below(3) {
            let name = format!("d{}.txt", random.below(5));
            if random.below(4) == 0 {
                if scans.remove(&name).is_some() {
                    project.remove(&format!("scans/{name}"));
                }
            } else {
                let text = format!("{} t{}", ["a", "b", "c", "none"][random.below(4)], random.below(3));
                project.write(&format!("scans/{name}"), &text);
                scans.insert(name, text);
            }
        }
        for _ in 0..random.below(3) {
            let id = ["a", "b", "c"][random.below(3)].to_owned();
            if random.below(3) == 0 {
                vendors.remove(&id);
            } else {
                vendors.insert(id, format!("V{}", random.below(3)));
            }
        }
        if scans.is_empty() {
            project.write("scans/d0.txt", "a t0");
            scans.insert("d0.txt".into(), "a t0".into());
        }
        let lines: Vec<String> = vendors.iter().map(|(id, name)| format!("{id},{name}\n")).collect();
        project.write("vendors.csv", format!("id,name\n{}", lines.concat()));
        let killed = random.below(3) == 0;
        if killed {
            let mut running = project.start(&["build", "--gone"]);
            let mut events = random.below(40);
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
        let mut report = Vec::new();
        for (name, text) in &scans {
            if done.insert(format!("read {text}")) {
                expected.insert(format!("read {text}"));
            }
            let (value, rest) = text.split_once(' ').unwrap();
            let by = vendors.get(value).map_or("-", String::as_str);
            let said = format!("{rest} by {by}");
            // The row has the vendor's id in it: another vendor of the same name is another input.
            let of = vendors.get(value).map(|_| value);
            if done.insert(format!("enrich {said} {of:?}")) {
                expected.insert(format!("enrich {said} {of:?}"));
            }
            published.insert(format!("enriched/scans/{name}.txt"), said.clone());
            report.push((name.clone(), said));
        }
        let whole = report.iter().map(|(_, said)| said.clone()).collect::<Vec<_>>().join("; ");
        published.insert("report.txt".into(), whole);
        if done.insert(format!("report {report:?}")) {
            expected.insert(format!("report {}", report.len()));
        }
        assert_eq!(project.published(), published, "seed {seed}, step {step}");
        let ran = project.take_runs();
        let without = |run: &String| run.split(" Some(").next().unwrap().trim_end_matches(" None").to_owned();
        let mut expected: Vec<String> = expected.iter().map(without).collect();
        expected.sort();
        if killed {
            let is_new = |run: &&String| !expected.contains(run) && !run.starts_with("report ");
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

/// A record that failed may be the one that is looked for: nobody is built as if it were not there.
#[test]
fn a_row_that_cannot_be_read_blocks_those_without_a_match() {
    for missing in ["none", "skip", "fail"] {
        let with =
            format!(r#"{{ from = "vendors", on = ["meta.vendor", "meta.id"], missing = "{missing}" }}"#);
        let project = project(&with);
        project.write("vendors.csv", "id,name\na,Acme\nb,Bolt\n");
        project.write("scans/1", "a one");
        project.write("scans/2", "b two");
        drop(project.pipe(&["build"]).ends(0));
        let before = project.published();
        project.take_runs();
        project.write("vendors.csv", "id,name\na,Acme\nb\n");
        let ended = project.pipe(&["build"]).ends(1);
        assert!(ended.text().contains("failed before its meta.id was known"), "{}", ended.text());
        assert_eq!(project.take_runs(), Vec::<String>::new(), "{missing}");
        assert_eq!(project.published(), before, "{missing}: what stood stays");
        project.write("vendors.csv", "id,name\na,Acme\nb,Bolt\n");
        drop(project.pipe(&["build"]).ends(0));
        assert_eq!(project.take_runs(), Vec::<String>::new(), "{missing}: as before");
    }
}
