//! `pipe doctor`: whatever the disk did to the store, it is found, and the next build makes the outputs right again.

use std::path::{Path, PathBuf};

use crate::harness::Project;

/// Every module run leaves a line in `runs`. The results of `tag` have meta, those of `big` are blobs.
fn library() -> Project {
    let mut project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.upper]
            each    = "inbox"
            shell   = "echo upper >> $RUNS; tr a-z A-Z < {in} > {out}"
            publish = true

            [target.big]
            each    = "upper"
            shell   = "echo big >> $RUNS; awk '{ for (i = 0; i < 3000; i++) print }' {in} > {out}"

            [target.tag]
            each    = "upper"
            module  = "tag"

            [target.all]
            all     = "tag"
            module  = "tag:every"
            publish = "out/all.json"
            "#,
        )
        .file(
            "modules/tag.py",
            r#"
            import os
            from pipelinefile import module, Result

            def ran(name):
                with open(os.environ["RUNS"], "a") as runs:
                    runs.write(name + "\n")

            @module
            def tag(doc):
                ran("tag")
                text = doc.text()
                return Result("tagged " + text, meta={"letters": len(text), "mark": "meta-of-" + text[:7]})

            @module
            def every(docs):
                ran("every")
                return {doc.id: doc.text() for doc in docs}
            "#,
        );
    for name in ["one", "two", "three"] {
        let text = format!("document {name}, which has some words of its own: {}", name.repeat(30));
        project = project.file(&format!("inbox/{name}.txt"), &text);
    }
    let runs = project.root().join("runs");
    let project = project.env("RUNS", runs.to_str().unwrap());
    project.pipe(&["build", "-q"]).ends(0);
    project
}

/// What the results are: published files, and the runs that made them are forgotten.
fn outputs(project: &Project) -> String {
    let names = ["out/upper/inbox/one.txt.txt", "out/upper/inbox/two.txt.txt", "out/all.json"];
    names.map(|name| project.read(name)).join("\n---\n")
}

fn runs(project: &Project) -> Vec<String> {
    let path = project.root().join("runs");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    drop(std::fs::remove_file(path));
    let mut runs: Vec<String> = text.lines().map(str::to_owned).collect();
    runs.sort();
    runs
}

fn segment(project: &Project) -> PathBuf {
    project.root().join(".pipe/segments/000001.seg")
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x55;
    std::fs::write(path, bytes).unwrap();
}

fn find(path: &Path, text: &str) -> usize {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

fn blobs(project: &Project) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(project.root().join(".pipe/blobs")).unwrap();
    let files = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// After the build that follows nothing is left to be found.
fn healed(project: &Project, before: &str) {
    project.pipe(&["build", "-q"]).ends(0);
    assert_eq!(outputs(project), before);
    project.pipe(&["doctor"]).ends(0).says("nothing is damaged");
    project.pipe(&["build"]).ends(0);
    assert_eq!(outputs(project), before);
}

#[test]
fn a_whole_store_is_fine_and_its_index_is_made_again() {
    let project = library();
    runs(&project);
    project.pipe(&["doctor"]).ends(0).says("made again: 3 documents, 1 set").says("nothing is damaged");
    project.pipe(&["build"]).ends(0);
    assert_eq!(runs(&project), Vec::<String>::new());
}

#[test]
fn a_damaged_result_is_named_and_made_again_and_nothing_else() {
    let project = library();
    let before = outputs(&project);
    runs(&project);
    let segment = segment(&project);
    flip(&segment, find(&segment, "DOCUMENT ONE") + 3);
    project
        .pipe(&["doctor"])
        .ends(3)
        .says("its result does not match its digest")
        .says("Affected  inbox/one.txt  upper\n")
        .says("1 result of 1 document to be made again")
        .says("hint: pipe build");
    // Not healed yet: it is said again, without being new.
    project.pipe(&["doctor"]).ends(3).says("Affected  inbox/one.txt  upper\n");
    healed(&project, &before);
    assert_eq!(runs(&project), ["upper"]);
}

#[test]
fn a_damaged_record_is_made_again() {
    let project = library();
    let before = outputs(&project);
    runs(&project);
    let segment = segment(&project);
    flip(&segment, find(&segment, "meta-of-DOCUMEN") + 5);
    project.pipe(&["doctor"]).ends(3).says("segments/000001.seg, byte").says("tag");
    healed(&project, &before);
    assert_eq!(runs(&project), ["tag"]);
    project.pipe(&["doctor"]).ends(0).says("1 stretch of the log found damaged before");
}

#[test]
fn blobs_that_are_gone_or_wrong_are_made_again() {
    let project = library();
    let before = outputs(&project);
    runs(&project);
    let blobs = blobs(&project);
    assert_eq!(blobs.len(), 3);
    flip(&blobs[0], 1000);
    std::fs::remove_file(&blobs[1]).unwrap();
    project
        .pipe(&["doctor"])
        .ends(3)
        .says("it is gone, or does not match its name")
        .says("2 results of 2 documents to be made again");
    healed(&project, &before);
    assert_eq!(runs(&project), ["big", "big"]);
}

#[test]
fn a_destroyed_index_costs_no_run() {
    let project = library();
    let before = outputs(&project);
    runs(&project);
    let index = std::fs::read_dir(project.root().join(".pipe/index")).unwrap().next().unwrap().unwrap();
    std::fs::write(index.path().join("sled/db"), b"rubbish".repeat(1000)).unwrap();
    project.pipe(&["doctor"]).ends(3).says("index: ").says("no result of a document is lost");
    healed(&project, &before);
    assert_eq!(runs(&project), Vec::<String>::new());
}

#[test]
fn the_log_may_be_hit_anywhere() {
    let project = library();
    let before = outputs(&project);
    let whole = std::fs::read(segment(&project)).unwrap();
    for part in 0..10 {
        flip(&segment(&project), 70 + part * (whole.len() - 170) / 10);
    }
    project.pipe(&["doctor"]).ends(3).says("Damaged");
    healed(&project, &before);
}

#[test]
fn an_edit_before_the_next_build_is_what_is_shown() {
    let project = library();
    // After it everything published is compared, and the file that is missing belongs to a result of before.
    project.pipe(&["doctor"]).ends(0);
    std::fs::remove_file(project.root().join("out/upper/inbox/one.txt.txt")).unwrap();
    project.write("inbox/one.txt", "edited");
    project.pipe(&["build", "-q"]).ends(0);
    assert_eq!(project.read("out/upper/inbox/one.txt.txt"), "EDITED");
}

#[test]
fn what_nobody_wants_any_more_does_not_count() {
    let project = library();
    let without = project.read("Pipelinefile").split("[target.big]").next().unwrap().to_owned();
    blobs(&project).iter().for_each(|blob| std::fs::remove_file(blob).unwrap());
    project.write("Pipelinefile", without);
    project.pipe(&["doctor"]).ends(3).says("no result of a document is lost");
    project.pipe(&["doctor"]).ends(0);
}

#[test]
fn it_is_said_as_data_too() {
    let project = library();
    std::fs::remove_file(&blobs(&project)[0]).unwrap();
    let said = project.pipe(&["doctor", "--json"]).ends(3);
    let line: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&line["type"], &line["faults"][0]["kind"]), (&"doctor".into(), &"blob".into()));
    assert_eq!(line["affected"][0]["target"], "big");
    assert_eq!(line["documents"], 3);
}

/// A folder in memory: files there can be written through a mapping without a change of their times.
struct InMemory(PathBuf);

impl Drop for InMemory {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Other bytes behind an unchanged stamp, as a failing disk leaves them.
fn change_unseen(path: &Path, from: &str, to: &str) {
    let script = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\n\
        at = m.find(sys.argv[2].encode())\nm[at:at + len(sys.argv[3])] = sys.argv[3].encode()\n";
    let mut python = std::process::Command::new("python3");
    assert!(python.args(["-c", script]).arg(path).args([from, to]).status().unwrap().success());
}

#[test]
fn a_sample_finds_sources_that_changed_behind_their_stamps_and_the_build_mends_it() {
    if !Path::new("/dev/shm").is_dir() {
        eprintln!("skipped: no /dev/shm");
        return;
    }
    let project = Project::new();
    let folder = PathBuf::from(format!("/dev/shm/pipe-doctor-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let folder = InMemory(folder);
    for name in ["one", "two", "three"] {
        std::fs::write(folder.0.join(format!("{name}.txt")), format!("document {name}\n")).unwrap();
    }
    let project = project.file(
        "Pipelinefile",
        &format!(
            "[source.in]\npath = \"{}\"\n[target.up]\neach = \"in\"\nshell = \"tr a-z A-Z < {{in}} > {{out}}\"\npublish = \"out/{{id.stem}}\"\n",
            folder.0.display()
        ),
    );
    // Until nothing is too fresh to be trusted.
    while !project.pipe(&["build"]).ends(0).stderr.contains("Up to date") {}
    let whole = project.pipe(&["doctor", "--sample", "100%"]).ends(0);
    assert!(whole.stdout.contains("3 of 3 results hashed"), "{}", whole.stdout);
    assert!(whole.stdout.contains("3 clean source files hashed"), "{}", whole.stdout);
    change_unseen(&folder.0.join("two.txt"), "two", "2.0");
    project.pipe(&["build"]).ends(0).says("Up to date");
    project
        .pipe(&["doctor", "--sample", "100%"])
        .ends(3)
        .says("in/two.txt: the file's bytes changed, though its size and times did not")
        .says("Affected  in/two.txt  up")
        .says("hint: pipe build");
    project.pipe(&["build", "-q"]).ends(0);
    assert_eq!(project.read("out/two"), "DOCUMENT 2.0\n");
    project.pipe(&["doctor", "--sample", "100%"]).ends(0).says("nothing of it is damaged");
}

#[test]
fn a_sample_finds_results_that_changed_and_hashes_no_more_than_its_share() {
    let project = library();
    let before = outputs(&project);
    runs(&project);
    let few = project.pipe(&["doctor", "--sample", "0.0001%"]).ends(0);
    assert!(few.stdout.contains(" 0 of 10 results hashed"), "{}", few.stdout);
    let segment = segment(&project);
    flip(&segment, find(&segment, "DOCUMENT ONE") + 3);
    std::fs::remove_file(&blobs(&project)[0]).unwrap();
    project
        .pipe(&["doctor", "--sample", "100%"])
        .ends(3)
        .says("its result does not match its digest")
        .says("it is gone, or does not match its name")
        .says("2 results of ");
    healed(&project, &before);
    assert_eq!(runs(&project), ["big", "upper"]);
    for wrong in ["1", "0%", "200%", "much"] {
        project.pipe(&["doctor", "--sample", wrong]).ends(2).says("1%");
    }
}

#[test]
fn there_must_be_a_store() {
    let project =
        Project::new().file("Pipelinefile", "[source.inbox]\npath = \"inbox\"\n").file("inbox/a", "");
    project.pipe(&["doctor"]).ends(4).says("there is no store").says("hint: pipe build");
}
