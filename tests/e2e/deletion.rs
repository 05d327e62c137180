use crate::harness::Project;

/// Every shape behind one source, in sh; each counts its runs.
const SHAPES: &str = r#"
[source.inbox]
path = "inbox"
[source.facts]
path = "facts.csv"
rows = "name"

[target.parts]
each    = "inbox"
split   = true
shell   = 'echo >> "$PWD/runs-parts"; cd {out}/; while read -r n t; do printf %s "$t" > $n; done < {in}'
publish = { path = "out/parts/{id}", index = "out/parts.jsonl" }

[target.up]
each    = "parts"
shell   = 'tr a-z A-Z < {in} > {out}'
publish = "out/up/{id}"

[target.again]
group   = "up"
by      = "parent"
shell   = 'wc -l < {in} | tr -d " " > {out}'
publish = { path = "out/again/{id}", index = "out/again.jsonl" }

[target.folders]
group   = "inbox"
by      = "id.dir"
shell   = 'wc -l < {in} | tr -d " " > {out}'
publish = { path = "out/folders/{id.value}", index = "out/folders.jsonl" }

[target.sum]
all     = "up"
shell   = 'wc -l < {in} | tr -d " " > {out}'
publish = "out/sum"

[target.merged]
all     = "up"
reduce  = true
shell   = 'sed "s/.*\"text\":\"\([A-Z]*\)\".*/\1/" {in} | tr -d "\n" > {out}'
publish = "out/merged"

[target.ways]
each    = "inbox"
route   = [ { where = { "id.stem" = "a*" }, module = "one" }, { module = "two" } ]
publish = "out/ways/{id}"

[target.with_fact]
each    = "inbox"
module  = "with_fact"
with    = { fact = { from = "facts", on = ["id.stem", "meta.name"], missing = "none" } }
publish = { path = "out/facts/{id}", index = "out/facts.jsonl", content = true }

[module.one]
shell = 'echo one > {out}'
[module.two]
shell = 'echo two > {out}'
"#;

fn project() -> Project {
    let project = Project::counting().module(
        "with_fact",
        "
            @module
            def with_fact(doc, *, fact):
                return fact.json()['what'] if fact else 'nothing'
            ",
    );
    project.write("Pipelinefile", SHAPES);
    project.write("facts.csv", "name,what\na1,x\nb1,y\nc1,z\n");
    project.write("inbox/a/a1.txt", "p a\nq b\n");
    project.write("inbox/a/a2.txt", "p c\n");
    project.write("inbox/b/b1.txt", "p d\n");
    project.write("inbox/c/c1.txt", "p e\nq f\n");
    project
}

#[test]
fn a_document_that_goes_takes_all_that_came_of_it() {
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("out/merged"), "ABCDEF");
    assert_eq!(project.read("out/sum"), "6\n");
    assert!(project.build().ends(0).all("plan").is_empty(), "nothing is left to do");
    project.remove("inbox/a/a1.txt");
    drop(project.pipe(&["build"]).ends(0));
    project.is_as_built_clean();
    assert_eq!(project.read("out/merged"), "CDEF");
    assert_eq!(project.read("out/sum"), "4\n");
    assert_eq!(project.read("out/folders/a"), "1\n");
    let names = project.published_names();
    assert!(names.iter().all(|name| !name.contains("a1.txt")), "{names:?}");
    for listing in ["out/parts.jsonl", "out/again.jsonl", "out/facts.jsonl"] {
        let text = project.read(listing);
        assert!(!text.contains("a1.txt") && text.contains("a2.txt"), "{listing}: {text}");
    }
    // The last of its folder: the group goes with it.
    project.remove("inbox/b/b1.txt");
    drop(project.pipe(&["build"]).ends(0));
    assert!(!project.root().join("out/folders/b").exists());
    assert!(!project.read("out/folders.jsonl").contains("\"folders/b\""));
    // A child alone.
    project.write("inbox/c/c1.txt", "q f\n");
    drop(project.pipe(&["build"]).ends(0));
    project.is_as_built_clean();
    assert_eq!(project.read("out/merged"), "CF");
    // A row that goes takes its match, not the document.
    project.write("facts.csv", "name,what\na1,x\n");
    drop(project.pipe(&["build", "--gone"]).ends(0));
    assert!(project.read("out/facts.jsonl").contains("nothing"));
    // All come back: the work is not done again.
    project.take_runs();
    project.write("inbox/a/a1.txt", "p a\nq b\n");
    project.write("inbox/b/b1.txt", "p d\n");
    let before = project.read("runs-parts").len();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("runs-parts").len(), before);
    project.is_as_built_clean();
}

#[test]
fn a_source_that_vanished_takes_nothing() {
    let project = project();
    drop(project.pipe(&["build"]).ends(0));
    let before = project.published();
    project.rename("inbox", "away");
    drop(project.pipe(&["build"]).ends(3).says("--gone"));
    assert_eq!(project.published(), before);
    // Nor do its files go when published ones are compared.
    drop(project.pipe(&["publish"]).ends(0));
    assert_eq!(project.published(), before);
    std::fs::create_dir(project.root().join("inbox")).unwrap();
    drop(project.pipe(&["build"]).ends(3).says("--gone"));
    assert_eq!(project.published(), before);
    drop(project.pipe(&["build", "--gone"]).ends(0));
    for listing in ["out/parts.jsonl", "out/again.jsonl", "out/folders.jsonl", "out/facts.jsonl"] {
        assert_eq!(project.read(listing), "", "{listing}");
    }
    let left = project.published_names();
    assert!(left.iter().all(|name| !name.contains(".txt")), "{left:?}");
}
