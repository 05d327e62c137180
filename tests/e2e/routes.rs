use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::harness::{Project, Random};

fn project() -> Project {
    Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.kind]
            each   = "inbox"
            module = "kind"

            [target.text]
            each    = "kind"
            route   = [
              { where = { meta.kind = "scan" }, module = "ocr" },
              { where = { ext = "csv" }, module = "table" },
              { where = { ext = ["bak", "tmp"] }, do = "skip" },
              { where = { ext = "exe" }, do = "fail" },
              { do = "pass" },
            ]
            params  = { width = 10 }
            publish = true

            [target.length]
            each    = "text"
            module  = "length"
            publish = true
            "#,
        )
        .module(
            "kind",
            "
            @module
            def kind(doc):
                ran(doc)
                return Result(meta={'kind': doc.text().split()[0]})
            ",
        )
        .module(
            "ocr",
            "
            @module
            def ocr(doc, *, width: int = 3):
                ran(doc)
                return 'ocr %d ' % width + doc.text()
            ",
        )
        .module(
            "table",
            "
            @module
            def table(doc, *, sep: str = ','):
                ran(doc)
                return 'table ' + doc.text()
            ",
        )
        .module(
            "length",
            "
            @module
            def length(doc):
                ran(doc)
                return str(len(doc.bytes()))
            ",
        )
}

#[test]
fn each_document_goes_to_the_first_module_whose_test_it_passes() {
    let project = project();
    for (name, text) in [
        ("a.csv", "scan a"),
        ("b.csv", "plain b"),
        ("c.bak", "plain c"),
        ("d.exe", "plain d"),
        ("e.txt", "plain e"),
    ] {
        project.write(&format!("inbox/{name}"), text);
    }
    let said = project.build_with(
        &[],
        1,
        &[
            "kind plain b",
            "kind plain c",
            "kind plain d",
            "kind plain e",
            "kind scan a",
            "ocr scan a",
            "table plain b",
            "length ocr 10 scan a",
            "length table plain b",
            "length plain e",
        ],
    );
    let _said = said.says("the route of `text` fails it: { ext = \"exe\" }").says("Blocked   1 document");
    let published = project.published();
    assert_eq!(published["text/inbox/a.csv.txt"], "ocr 10 scan a");
    assert_eq!(published["text/inbox/b.csv.txt"], "table plain b");
    assert_eq!(published["text/inbox/e.txt.txt"], "plain e", "passed on as it is");
    assert_eq!(published.len(), 6);
    project.build_with(&[], 1, &[]);
    project.is_as_built_clean();
    // The decision, in every place that tells of a document.
    let _said = project.pipe(&["log", "inbox/a.csv"]).ends(0).says("done, by ocr");
    let _said =
        project.pipe(&["log", "inbox/e.txt"]).ends(0).says("done, by pass").says("its input passed on");
    let _said =
        project.pipe(&["log", "inbox/c.bak"]).ends(0).says("by its route: { ext = [\"bak\", \"tmp\"] }");
    let _said =
        project.pipe(&["why", "inbox/b.csv"]).ends(0).says("route: table (branch 2: { ext = \"csv\" })");
    let _said = project.pipe(&["status"]).ends(0).says("by fail 1, ocr 1, pass 1, skip 1, table 1");
    let _said = project.pipe(&["graph"]).ends(0).says("ocr | table");
    let _said = project.pipe(&["try", "text", "inbox/a.csv"]).ends(0).says("the same as the stored one");
    let _said =
        project.pipe(&["try", "text", "inbox/e.txt"]).ends(4).says("passes `inbox/e.txt` on unchanged");
}

#[test]
fn only_the_chosen_module_counts() {
    let project = project();
    project.write("inbox/a.csv", "scan a");
    project.write("inbox/b.csv", "plain b");
    drop(project.pipe(&["build"]).ends(0));
    project.take_runs();
    // Code of one module: its documents alone.
    project.replace("modules/ocr.py", "'ocr %d '", "'OCR %d '");
    project.build_runs(&["ocr scan a", "length OCR 10 scan a"]);
    // A parameter that only one of them declares.
    project.replace("Pipelinefile", "width = 10", "width = 11");
    project.build_runs(&["ocr scan a", "length OCR 11 scan a"]);
    // A branch that nobody takes.
    project.replace("Pipelinefile", "ext = \"exe\"", "ext = [\"exe\", \"com\"]");
    project.build_runs(&[]);
    // Another way for one of them: what the module made of it is new, and why says so.
    project.replace("Pipelinefile", "meta.kind = \"scan\"", "meta.kind = \"none\"");
    let _said = project.pipe(&["why", "inbox/a.csv"]).ends(0).says("its route leads elsewhere: ocr → table");
    project.build_runs(&["table scan a", "length table scan a"]);
    // And back: nothing runs, the old result is there.
    project.replace("Pipelinefile", "meta.kind = \"none\"", "meta.kind = \"scan\"");
    project.build_runs(&[]);
    project.is_as_built_clean();
    let _said = project.pipe(&["redo", "text"]).ends(0).says("text: to be done again: 2 documents");
    project.build_runs(&["ocr scan a", "table plain b"]);
    project.build_runs(&[]);
}

#[test]
fn kinds_are_told_from_the_content_also_behind_a_set() {
    let project = Project::counting().file(
        "Pipelinefile",
        r#"
            [source.inbox]
            path = "inbox"
            [target.model]
            all   = "inbox"
            shell = "wc -l < {in} > {out}"
            [target.text]
            each  = "inbox"
            with  = { model = "model" }
            route = [
              { where = { mime = "application/pdf" }, module = "pdf" },
              { where = { mime = "image/*" }, do = "skip" },
              { where = { size = ">1KB" }, module = "long" },
              { module = "short" },
            ]
            publish = true
            "#,
    );
    for name in ["pdf", "long", "short"] {
        project.write_module(
            name,
            &format!("@module\ndef {name}(doc, *, model: Doc):\n    ran(doc)\n    return '{name} ' + model.text()\n"),
        );
    }
    project.write("inbox/a.txt", "%PDF-1.7\nx");
    project.write("inbox/b.pdf", "plain b");
    project.write("inbox/c", b"\x89PNG\r\n\x1a\n\0\0");
    project.write("inbox/d.txt", "long d\n".repeat(200));
    project.build_runs(&["pdf %PDF-1.7", "short plain b", "long long d"]);
    project.build_runs(&[]);
    // Another model: all of them again, each by its own module.
    project.write("inbox/e.txt", "new e");
    project.build_runs(&["pdf %PDF-1.7", "short plain b", "long long d", "short new e"]);
    // The content alone changes: so does the way.
    project.write("inbox/b.pdf", "%PDF-1.7\nb");
    project.build_runs(&["pdf %PDF-1.7"]);
    project.is_as_built_clean();
}

#[test]
fn a_field_that_no_document_has_is_said() {
    let project = project();
    project.write("inbox/a.csv", "scan a");
    project.write("inbox/b.csv", "plain b");
    project.replace("Pipelinefile", "meta.kind =", "meta.kin =");
    let runs = ["kind scan a", "kind plain b", "table scan a", "table plain b"];
    let behind = ["length table scan a", "length table plain b"];
    let said = project.build_with(&[], 0, &[&runs[..], &behind[..]].concat());
    let said = said.says("target `text` asks for `meta.kin`, which none of the 2 documents that came has");
    let _said = said.says("did you mean `meta.kind`?");
    project.replace("Pipelinefile", "meta.kin =", "meta.kind =");
    let said = project.build_with(&[], 0, &["ocr scan a", "length ocr 10 scan a"]);
    assert!(!said.text().contains("asks for"), "{}", said.text());
}

#[test]
fn a_module_that_cannot_start_keeps_no_other_from_its_documents() {
    let project = project();
    project.write("inbox/a.csv", "scan a");
    project.write("inbox/b.csv", "plain b");
    project.write_module("ocr", "import nosuch\n@module\ndef ocr(doc, *, width: int = 3):\n    return ''\n");
    project.build_with(&[], 3, &["kind scan a", "kind plain b", "table plain b", "length table plain b"]);
    project.write_module("ocr", "@module\ndef ocr(doc, *, width: int = 3):\n    ran(doc)\n    return 'x'\n");
    project.build_runs(&["ocr scan a", "length x"]);
}

#[test]
fn misuse_is_told_before_anything_runs() {
    let project = project();
    project.write("inbox/a.csv", "scan a");
    let wrong = |old: &str, new: &str, says: &str| {
        let text = project.read("Pipelinefile");
        project.replace("Pipelinefile", old, new);
        let said = project.build_with(&[], 2, &[]);
        let _said = said.says(says);
        project.write("Pipelinefile", text);
    };
    wrong(
        "{ do = \"pass\" },",
        "{ where = { ext = \"txt\" }, do = \"pass\" },",
        "the last branch of `route` must take every document",
    );
    wrong("{ where = { ext = \"csv\" }, module = \"table\" }", "{ module = \"table\" }", "never match");
    wrong("do = \"fail\"", "do = \"stop\"", "stop");
    wrong("module = \"ocr\"", "module = \"orc\"", "there is no module `orc`");
    wrong(
        "[target.length]",
        "[target.other]\nall = \"text\"\nroute = [{ do = \"pass\" }]\n[target.length]",
        "`route` goes with `each`",
    );
}

/// What a document's text becomes, and by which module.
fn routed(name: &str, text: &str, versions: &BTreeMap<&str, u32>) -> Option<(&'static str, String)> {
    let ext = name.rsplit('.').next().unwrap_or_default();
    let (module, said) = match (text.split(' ').next(), ext) {
        (Some("scan"), _) => ("ocr", format!("ocr{} {text}", versions["ocr"])),
        (_, "csv") => ("table", format!("table{} {text}", versions["table"])),
        (_, "bak") => return None,
        _ => ("pass", text.to_owned()),
    };
    Some((module, said))
}

/// Random documents, edits, removals, edits of code and back, redo, kills: after each build what is published is what the
/// oracle says, and the modules ran for exactly what was new.
fn random_builds(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let project = project();
    let text = project.read("Pipelinefile");
    let text = text.replace("params  = { width = 10 }\n", "");
    project.write("Pipelinefile", text.replace("{ where = { ext = \"exe\" }, do = \"fail\" },\n", ""));
    let mut versions = BTreeMap::from([("ocr", 0), ("table", 0)]);
    let write_code = |module: &'static str, version: u32| {
        let code = format!(
            "@module\ndef {module}(doc):\n    ran(doc)\n    return '{module}{version} ' + doc.text()\n"
        );
        project.write_module(module, &code);
    };
    versions.iter().for_each(|(module, version)| write_code(module, *version));
    let mut documents: BTreeMap<String, String> = BTreeMap::new();
    // What was done: (module with its version, extension, text).
    let mut done: HashSet<(String, String, String)> = HashSet::new();
    for number in 0..steps {
        for _ in 0..=random.below(4) {
            let ext = ["csv", "txt", "bak"][random.below(3)];
            let name = format!("d{}.{ext}", random.below(8));
            match random.below(5) {
                0 => {
                    if documents.remove(&name).is_some() {
                        project.remove(&format!("inbox/{name}"));
                    }
                }
                _ => {
                    let kind = ["scan", "plain"][random.below(2)];
                    let text = format!("{kind} {}", random.below(6));
                    project.write(&format!("inbox/{name}"), &text);
                    documents.insert(name, text);
                }
            }
        }
        if documents.is_empty() {
            project.write("inbox/d0.csv", "plain 0");
            documents.insert("d0.csv".into(), "plain 0".into());
        }
        if random.below(3) == 0 {
            let module = ["ocr", "table"][random.below(2)];
            let version = random.below(3) as u32;
            versions.insert(module, version);
            write_code(module, version);
        }
        if random.below(5) == 0 && number > 0 && project.pipe(&["redo", "text"]).status == 0 {
            let present = |(module, _, _): &(String, String, String)| {
                versions.iter().any(|(name, version)| *module == format!("{name}{version}"))
            };
            done.retain(|action| !present(action));
        }
        let killed = random.below(4) == 0;
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
        for (name, text) in &documents {
            let ext = name.rsplit('.').next().unwrap().to_owned();
            if done.insert(("kind".into(), ext.clone(), text.clone())) {
                expected.insert(format!("kind {text} {ext}"));
            }
            let Some((module, said)) = routed(name, text, &versions) else { continue };
            let of_module = versions.get(module).map(|version| format!("{module}{version}"));
            if let Some(of_module) = of_module
                && done.insert((of_module, ext.clone(), text.clone()))
            {
                expected.insert(format!("{module} {text} {ext}"));
            }
            let made = if module == "pass" { ext.clone() } else { "txt".to_owned() };
            if done.insert(("length".into(), made.clone(), said.clone())) {
                expected.insert(format!("length {said} {made}"));
            }
            published.insert(format!("text/inbox/{name}.{made}"), said.clone());
            published.insert(format!("length/inbox/{name}.txt"), said.len().to_string());
        }
        let ran = project.take_runs();
        assert_eq!(project.published(), published, "seed {seed}, step {number}");
        // A run does not say its extension: the oracle's are counted without.
        let without = |run: &String| run.rsplit_once(' ').unwrap().0.to_owned();
        let mut expected: Vec<String> = expected.iter().map(without).collect();
        expected.sort();
        if killed {
            let (ran, expected): (BTreeSet<_>, BTreeSet<_>) =
                (ran.iter().collect(), expected.iter().collect());
            assert_eq!(ran, expected, "seed {seed}, step {number}, killed");
        } else {
            assert_eq!(ran, expected, "seed {seed}, step {number}");
        }
    }
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.take_runs(), [""; 0]);
    project.is_as_built_clean();
}

#[test]
fn random_builds_are_as_the_oracle_says() {
    for seed in 0..3 {
        random_builds(seed, 8);
    }
}

#[test]
fn a_redo_of_one_module_of_a_route_concerns_only_what_it_made() {
    let project = project();
    project.write("inbox/a.pdf", "scan a");
    project.write("inbox/b.csv", "b table");
    project.pipe(&["build"]).ends(0);
    project.take_runs();
    project.pipe(&["redo", "-n", "ocr"]).ends(0).says("1 document");
    project.pipe(&["redo", "ocr"]).ends(0).says("1 document");
    project.build_runs(&["ocr scan a"]);
    project.build_runs(&[]);
    project.pipe(&["redo", "ocr", "text"]).ends(0).says("2 documents");
    project.build_runs(&["ocr scan a", "table b table"]);
    project.build_runs(&[]);
}

/// `size` and `mime` mean the same wherever they are asked: of files, of what is passed on, in sets and after an edit.
#[test]
fn size_and_mime_are_those_of_the_bytes_everywhere() {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.pass]
each   = "inbox"
module = "pass_on"

[target.routed]
each  = "inbox"
route = [{ do = "pass" }]

[target.texts]
each  = "pass"
where = { mime = "text/*" }
shell = "cat {in} > {out}"

[target.routed_texts]
each  = "routed"
where = { mime = "text/*" }
shell = "cat {in} > {out}"

[target.large]
all   = "inbox"
where = { size = ">5" }
shell = "grep -o '\"id\":\"[^\"]*' {in} > {out}"

[target.kinds]
group = "pass"
by    = "id.ext"
where = { mime = "text/*" }
shell = "grep -o '\"id\":\"[^\"]*' {in} > {out}"
"#;
    let project = Project::new()
        .file("Pipelinefile", pipeline)
        .module(
            "pass_on",
            "
            @module
            def pass_on(doc):
                return Result(meta={'v': 1})
            ",
        )
        .file("inbox/long.txt", "a long text")
        .file("inbox/short.txt", "b");
    project.write("inbox/picture", b"\x89PNG\r\n\x1a\n\0\0");
    let listed = |project: &Project, target: &str| {
        let text = project.pipe(&["ls", target, "--state", "done"]).ends(0).text();
        ["long.txt", "short.txt", "picture"].map(|name| text.contains(name))
    };
    let check = |project: &Project| {
        assert_eq!(listed(project, "texts"), [true, true, false]);
        assert_eq!(listed(project, "routed_texts"), [true, true, false]);
        let cat = |target: &[&str]| project.pipe(&[&["cat"], target].concat()).ends(0).text();
        let large = cat(&["large"]);
        assert!(
            large.contains("long.txt") && large.contains("picture") && !large.contains("short.txt"),
            "{large}"
        );
        let kinds = cat(&["kinds", "kinds/txt"]);
        assert!(kinds.contains("long.txt") && !kinds.contains("picture"), "{kinds}");
    };
    drop(project.pipe(&["build"]).ends(0));
    check(&project);
    // The files are not read again, and what is recorded of them is as large as they are.
    project.replace("modules/pass_on.py", "'v': 1", "'v': 2");
    drop(project.pipe(&["build"]).ends(0));
    check(&project);
    let text = project.read("Pipelinefile");
    project.write(
        "Pipelinefile",
        text + "[target.big]\neach = \"pass\"\nwhere = { size = \">5\" }\nshell = \"cat {in} > {out}\"\n",
    );
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(listed(&project, "big"), [true, false, true]);
    let of = |test: &str| project.pipe(&["ls", "inbox", "--where", test]).ends(0).text();
    assert!(of("mime=text/*").contains("short.txt") && !of("mime=text/*").contains("picture"));
    assert!(of("mime=image/*").contains("picture"));
}
