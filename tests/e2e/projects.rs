//! Sources that are targets of another project: read there, never written, told where they come from.

use std::collections::BTreeMap;

use crate::harness::Project;

const OCR: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.text]
    each  = "inbox"
    shell = "echo text >> ../runs; grep -q bad {in} && exit 1; grep -q blank {in} && exit 77; tr a-z A-Z < {in} > {out}"
    ext   = "md"

    [target.line]
    each  = "text"
    split = true
    shell = "mkdir -p {out} && split -l 1 {in} {out}/line-"

    [target.index]
    all      = "text"
    min_done = 0.1
    shell    = "wc -l < {in} > {out}"

    [target.same]
    each  = "inbox"
    route = [ { where = { id = "inbox/a*" }, do = "pass" }, { do = "skip" } ]
"#;

const WORDS: &str = r#"
    [source.texts]
    path = "project:../ocr#text"

    [source.lines]
    path = "project:../ocr#line"

    [source.index]
    path = "project:../ocr#index"

    [source.same]
    path = "project:../ocr#same"

    [target.count]
    each    = "texts"
    sees    = ["ext", "id"]
    shell   = "echo count >> ../runs; wc -c < {in} > {out}"
    publish = true

    [target.each_line]
    each    = "lines"
    shell   = "cat {in} > {out}"
    publish = true

    [target.all]
    all     = ["texts", "index", "same"]
    shell   = "sed -E 's/.*\"id\":\"([^\"]*)\",.*\"ext\":\"([a-z]*)\".*/\\2 \\1/' {in} > {out}"
    publish = "out/all.txt"
"#;

fn projects() -> Project {
    let both = Project::new().file("ocr/Pipelinefile", OCR).file("words/Pipelinefile", WORDS);
    both.write("ocr/inbox/a.txt", "one\ntwo\n");
    both.write("ocr/inbox/deep/b#1.txt", "three\n");
    both
}

impl Project {
    fn runs(&self) -> BTreeMap<String, usize> {
        let path = self.root().join("runs");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        drop(std::fs::remove_file(path));
        text.lines().fold(BTreeMap::new(), |mut all, line| {
            *all.entry(line.to_owned()).or_default() += 1;
            all
        })
    }

    #[track_caller]
    fn builds(&self, folder: &str, status: i32, runs: &[(&str, usize)]) {
        drop(self.pipe(&["-C", folder, "build"]).ends(status));
        let expected = runs.iter().map(|(target, count)| ((*target).to_owned(), *count)).collect();
        assert_eq!(self.runs(), expected);
    }
}

#[test]
fn results_there_are_documents_here_and_nothing_there_is_touched() {
    let both = projects();
    both.builds("ocr", 0, &[("text", 2)]);
    let store = both.files("ocr/.pipe");
    both.builds("words", 0, &[("count", 2)]);
    let published = both.names("words/out");
    assert_eq!(
        published,
        [
            "all.txt",
            "count/texts/inbox/a.txt.md",
            "count/texts/inbox/deep/b%25231.txt.md",
            "each_line/lines/inbox/a.txt%23line-aa.bin",
            "each_line/lines/inbox/a.txt%23line-ab.bin",
            "each_line/lines/inbox/deep/b%25231.txt%23line-aa.bin",
        ]
    );
    assert_eq!(both.read("words/out/each_line/lines/inbox/a.txt%23line-ab.bin"), "TWO\n");
    assert_eq!(
        both.read("words/out/all.txt"),
        "txt index/index\ntxt same/inbox/a.txt\nmd texts/inbox/a.txt\nmd texts/inbox/deep/b%25231.txt\n"
    );
    both.builds("words", 0, &[]);
    // One there is edited: one runs there, one here.
    both.write("ocr/inbox/a.txt", "one\nmore\n");
    both.builds("words", 0, &[]);
    assert_eq!(both.files("ocr/.pipe"), store);
    both.builds("ocr", 0, &[("text", 1)]);
    both.builds("words", 0, &[("count", 1)]);
    assert_eq!(both.read("words/out/each_line/lines/inbox/a.txt%23line-ab.bin"), "MORE\n");
    // One comes, one goes.
    both.write("ocr/inbox/c.txt", "c\n");
    std::fs::remove_file(both.root().join("ocr/inbox/deep/b#1.txt")).unwrap();
    both.builds("ocr", 0, &[("text", 1)]);
    both.builds("words", 0, &[("count", 1)]);
    assert_eq!(both.names("words/out/count"), ["texts/inbox/a.txt.md", "texts/inbox/c.txt.md"]);
}

#[test]
fn what_failed_there_is_no_document_and_is_counted() {
    let both = projects();
    both.write("ocr/inbox/c.txt", "bad\n");
    both.write("ocr/inbox/d.txt", "blank\n");
    both.builds("ocr", 1, &[("text", 4)]);
    both.pipe(&["-C", "words", "build", "count"]).shows(
        "
        status: 0
        --- stderr
          Warning   texts  of `text` in ../ocr: 1 failed there
          Scanned   texts  2 documents in [TIME]   2 new
             Plan   count 2
          Summary   2 documents in [TIME]: 2 built
                    2 files published
        ",
    );
    // It is still said where nothing is new, and nothing is read.
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(0).says("1 failed there"));
    drop(
        both.pipe(&["-C", "words", "status"])
            .ends(0)
            .says("texts  2 documents, as built\n  of `text` in ../ocr: 1 failed there"),
    );
    // What failed since goes; the guard is for half of them.
    both.write("ocr/inbox/a.txt", "bad\n");
    drop(both.pipe(&["-C", "ocr", "build"]).ends(1));
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(0).says("1 gone"));
    assert_eq!(both.names("words/out/count"), ["texts/inbox/deep/b%25231.txt.md"]);
}

#[test]
fn where_it_comes_from_is_told() {
    let both = projects();
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    both.pipe(&["-C", "words", "check"]).shows(
        "
        status: 0
        --- stdout
        source `texts` is what `text` made in ../ocr: 2 documents
        source `lines` is what `line` made in ../ocr: 3 documents
        source `index` is what `index` made in ../ocr: 1 document
        source `same` is what `same` made in ../ocr: 1 document
        Pipelinefile: 4 sources, 3 targets, 3 modules: no mistakes
        ",
    );
    drop(both.pipe(&["-C", "words", "build"]).ends(0));
    drop(
        both.pipe(&["-C", "words", "log", "lines/inbox/a.txt%23line-ab"]).ends(0).says(
            "  from  inbox/a.txt#line-ab by line in ../ocr    pipe -C ../ocr log inbox/a.txt#line-ab\n",
        ),
    );
    drop(
        both.pipe(&["-C", "words", "why", "texts/inbox/a.txt"])
            .ends(0)
            .says("  from      inbox/a.txt by text in ../ocr\n            pipe -C ../ocr why inbox/a.txt\n"),
    );
    drop(
        both.pipe(&["-C", "words", "why", "texts/inbox/a.txt", "--json"])
            .ends(0)
            .says("\"doc\":\"inbox/a.txt\""),
    );
    both.pipe(&["-C", "words", "ls", "texts"]).shows(
        "
        status: 0
        --- stdout
        texts/inbox/a.txt             done        md           8 B
        texts/inbox/deep/b%25231.txt  done        md           6 B
        ",
    );
}

#[test]
fn another_project_that_is_not_as_it_is_named() {
    let both = projects();
    let source = |path: &str| {
        both.write(
            "words/Pipelinefile",
            format!(
                "[source.texts]\npath = \"{path}\"\n[target.n]\neach = \"texts\"\nshell = \"cat {{in}}\"\n"
            ),
        );
    };
    let never = "error: source `texts`: `text` in ../ocr was never built\nhint: pipe -C ../ocr build text\n";
    source("project:../ocr#text");
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says(never));
    drop(both.pipe(&["-C", "words", "check"]).ends(0).says("`text` in ../ocr was never built"));
    for (path, said) in [
        ("project:../ocr#texd", "there is no target `texd` in `../ocr`"),
        ("project:../ocr", "`project:../ocr` names no target"),
        ("project:#text", "`project:#text` names no folder"),
        ("project:.#n", "`.` is this project"),
        ("project:../ocrs#text", "there is no project `../ocrs`"),
        ("project:../ocr/inbox#text", "there is no Pipelinefile in `../ocr/inbox`"),
    ] {
        source(path);
        drop(both.pipe(&["-C", "words", "check"]).ends(2).says(said));
    }
    source("project:../ocrs#text");
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says("source `texts`: `../ocrs` does not exist"));
    source("project:../ocr#texd");
    drop(
        both.pipe(&["-C", "words", "build"])
            .ends(3)
            .says("there is no target `texd` in ../ocr\nhint: did you mean `text`?"),
    );
    // Built, but before this target was there.
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    source("project:../ocr#late");
    both.write(
        "ocr/Pipelinefile",
        OCR.to_owned() + "\n[target.late]\neach = \"text\"\nshell = \"cat {in}\"\n",
    );
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says("`late` in ../ocr was never built"));
    source("project:../ocr#text");
    drop(both.pipe(&["-C", "words", "build"]).ends(0));
    // Gone, of a newer version, or with mistakes: nothing here is retired.
    both.write("ocr/Pipelinefile", "[target.text]\neach = 1\n");
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says("the Pipelinefile of ../ocr has mistakes"));
    both.write("ocr/Pipelinefile", OCR);
    let format = both.read("ocr/.pipe/FORMAT");
    both.write("ocr/.pipe/FORMAT", format.replace("\"pipe_store\":1", "\"pipe_store\":9"));
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says("a newer one wrote the store"));
    std::fs::remove_dir_all(both.root().join("ocr/.pipe")).unwrap();
    drop(both.pipe(&["-C", "words", "build"]).ends(3).says(never));
    both.pipe(&["-C", "words", "ls", "n"]).ends(0).says("texts/inbox/a.txt");
}

#[test]
fn the_other_may_be_building() {
    let both = projects();
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    both.runs();
    both.write("ocr/inbox/a.txt", "slow\n");
    both.write(
        "ocr/Pipelinefile",
        OCR.replace(
            "grep -q bad",
            "grep -q slow {in} && touch ../here && until [ -e ../go ]; do sleep 0.01; done; grep -q bad",
        ),
    );
    let mut there = both.start(&["-C", "ocr", "build"]);
    both.wait_for_file("here");
    // The document in hand counts as it was; the other may be done by now.
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(0));
    assert_eq!(both.read("words/out/count/texts/inbox/a.txt.md").trim(), "8");
    // One that was interrupted counts as it was, too.
    there.ctrl_c();
    there.until_event("stopping");
    there.ctrl_c();
    drop(there.end());
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(0).says("Up to date"));
    assert_eq!(both.read("words/out/count/texts/inbox/a.txt.md").trim(), "8");
    both.write("go", "");
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(0));
    assert_eq!(both.read("words/out/count/texts/inbox/a.txt.md").trim(), "5");
}

#[test]
fn large_results_and_files_that_are_passed_on_are_proved() {
    let both = projects();
    let large = "x".repeat(400_000);
    both.write("ocr/inbox/a.txt", &large);
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    drop(both.pipe(&["-C", "words", "build", "count", "all"]).ends(0));
    assert_eq!(both.read("words/out/count/texts/inbox/a.txt.md").trim(), "400000");
    // The file that was passed on is another by now: until it is built there, nobody can have the one that was.
    both.write("ocr/inbox/a.txt", "edited\n");
    both.write(
        "words/Pipelinefile",
        WORDS.replace(
            "[target.count]",
            "[target.copy]\neach = \"same\"\nshell = \"cat {in}\"\n[target.count]",
        ),
    );
    drop(both.pipe(&["-C", "words", "build", "copy"]).ends(1).says("gone or another by now in ../ocr"));
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    drop(both.pipe(&["-C", "words", "build", "copy"]).ends(0));
    both.pipe(&["-C", "words", "cat", "copy", "same/inbox/a.txt"]).shows(
        "
        status: 0
        --- stdout
        edited
        ",
    );
    // A blob that is damaged there is not taken.
    both.write("ocr/inbox/a.txt", large.replace('x', "y"));
    drop(both.pipe(&["-C", "ocr", "build"]).ends(0));
    let blob = both.names("ocr/.pipe/blobs").into_iter().max_by_key(|name| {
        std::fs::metadata(both.root().join("ocr/.pipe/blobs").join(name)).unwrap().modified().unwrap()
    });
    let blob = format!("ocr/.pipe/blobs/{}", blob.unwrap());
    both.write(&blob, "Z".repeat(400_000));
    drop(both.pipe(&["-C", "words", "build", "count"]).ends(1).says("gone or another by now in ../ocr"));
    assert_eq!(both.read(&blob), "Z".repeat(400_000), "what is wrong there is the other's to set right");
}

#[test]
fn projects_that_take_from_each_other() {
    let both = Project::new();
    let write = |name: &str, source: &str, of_other: &str| {
        let text = format!(
            "[source.own]\npath = \"own\"\n[source.other]\npath = \"project:../{of_other}\"\n\
             [target.mine]\neach = \"own\"\nshell = \"cat {{in}} > {{out}}\"\n\
             [target.theirs]\neach = \"{source}\"\nroute = [ {{ do = \"pass\" }} ]\n"
        );
        both.write(&format!("{name}/Pipelinefile"), text);
        both.write(&format!("{name}/own/{name}.txt"), name);
    };
    // Each takes what the other made of its own: no circle.
    write("a", "other", "b#mine");
    write("b", "other", "a#mine");
    drop(both.pipe(&["-C", "a", "build", "mine"]).ends(0));
    drop(both.pipe(&["-C", "b", "build"]).ends(0));
    drop(both.pipe(&["-C", "a", "build"]).ends(0));
    assert_eq!(both.pipe(&["-C", "a", "cat", "theirs", "other/own/b.txt"]).ends(0).stdout, "b");
    // What came from there goes back there.
    write("b", "other", "a#theirs");
    drop(both.pipe(&["-C", "b", "build", "--gone"]).ends(0));
    write("a", "other", "b#theirs");
    drop(
        both.pipe(&["-C", "a", "build", "--gone"])
            .ends(3)
            .says("is made of what is made of it, by way of other projects"),
    );
    drop(both.pipe(&["-C", "a", "check"]).ends(0).says("is made of what is made of it"));
}
