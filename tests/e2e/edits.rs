use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.up]
    each   = "inbox"
    module = "up"

    [target.first]
    each    = "up"
    module  = "first"
    publish = true

    [target.joined]
    all     = "first"
    module  = "joined"
    publish = "out/joined.txt"
"#;

const UP: &str = r"
    @module
    def up(doc):
        ran(doc)
        return doc.text().upper()
";

const FIRST: &str = r#"
    @module
    def first(doc):
        ran(doc)
        return doc.text().split("\n")[0]
"#;

const JOINED: &str = r#"
    @module
    def joined(docs):
        ran(" ".join(doc.id for doc in docs))
        return "\n".join(doc.text() for doc in docs)
"#;

/// Two documents through two `each` and an `all`, built.
fn built() -> Project {
    let project = Project::counting()
        .file("Pipelinefile", PIPELINE)
        .file("inbox/a.txt", "a\nmore\n")
        .file("inbox/b.txt", "b\nmore\n")
        .module("up", UP)
        .module("first", FIRST)
        .module("joined", JOINED);
    project.build_runs(&["up a", "up b", "first A", "first B", "joined inbox/a.txt inbox/b.txt"]);
    project
}

#[test]
fn nothing_runs_twice() {
    let project = built();
    project.build_runs(&[]);
    project.pipe(&["build"]).shows(
        "
        status: 0
        --- stderr
        Up to date  2 documents ([TIME])
        ",
    );
}

#[test]
fn an_edited_document_runs_alone() {
    let project = built();
    project.write("inbox/a.txt", "c\nmore\n");
    project.build_runs(&["up c", "first C", "joined inbox/a.txt inbox/b.txt"]);
    assert_eq!(project.read("out/first/inbox/a.txt.txt"), "C");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn an_edit_that_changes_no_output_stops_there() {
    let project = built();
    // The first line stays: `first` gives the same, `joined` is not run.
    project.write("inbox/a.txt", "a\nless\n");
    project.build_runs(&["up a", "first A"]);
    project.build_runs(&[]);
    // `up` already gives the same.
    project.write("inbox/a.txt", "A\nless\n");
    project.build_runs(&["up A"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_reverted_edit_finds_the_old_results() {
    let project = built();
    project.write("inbox/a.txt", "c\nmore\n");
    project.build_runs(&["up c", "first C", "joined inbox/a.txt inbox/b.txt"]);
    project.write("inbox/a.txt", "a\nmore\n");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "A\nB");
    project.is_as_built_clean();
}

#[test]
fn a_touched_document_runs_nothing() {
    let project = built();
    project.write("inbox/a.txt", "a\nmore\n");
    project.build_runs(&[]);
    let file = std::fs::File::options().write(true).open(project.root().join("inbox/b.txt")).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    project.build_runs(&[]);
}

#[test]
fn an_edit_that_keeps_size_and_modification_time_is_seen() {
    let project = built();
    let path = project.root().join("inbox/a.txt");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    project.write("inbox/a.txt", "c\nmore\n");
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    project.build_runs(&["up c", "first C", "joined inbox/a.txt inbox/b.txt"]);
}

#[test]
fn a_copy_costs_no_run_of_each_and_the_set_has_one_more() {
    let project = built();
    project.write("inbox/sub/copy.txt", "a\nmore\n");
    project.build_runs(&["joined inbox/a.txt inbox/b.txt inbox/sub/copy.txt"]);
    assert_eq!(project.read("out/first/inbox/sub/copy.txt.txt"), "A");
    assert_eq!(project.read("out/joined.txt"), "A\nB\nA");
    project.is_as_built_clean();
}

#[test]
fn equal_documents_are_computed_once() {
    let project = Project::counting().file("Pipelinefile", PIPELINE).module("up", UP);
    let project = project.module("first", FIRST).module("joined", JOINED);
    for n in 0..5 {
        project.write(&format!("inbox/{n}.txt"), "same\n");
    }
    let ids = "inbox/0.txt inbox/1.txt inbox/2.txt inbox/3.txt inbox/4.txt";
    project.build_runs(&["up same", "first SAME", &format!("joined {ids}")]);
    assert_eq!(project.read("out/first/inbox/4.txt.txt"), "SAME");
    project.build_runs(&[]);
}

#[test]
fn equal_bytes_of_another_extension_are_another_input() {
    let project = built();
    project.write("inbox/a.md", "a\nmore\n");
    project.build_runs(&["up a", "joined inbox/a.md inbox/a.txt inbox/b.txt"]);
    // The extension is seen in any case the same.
    project.write("inbox/x.MD", "a\nmore\n");
    project.build_runs(&["joined inbox/a.md inbox/a.txt inbox/b.txt inbox/x.MD"]);
}

#[test]
fn a_renamed_document_runs_only_what_sees_ids() {
    let project = built();
    project.rename("inbox/a.txt", "inbox/z.txt");
    project.build_runs(&["joined inbox/b.txt inbox/z.txt"]);
    assert_eq!(project.published_names(), ["first/inbox/b.txt.txt", "first/inbox/z.txt.txt", "joined.txt"]);
    project.is_as_built_clean();
}

#[test]
fn a_renamed_document_runs_nothing_where_the_set_does_not_see_ids() {
    let project = Project::counting()
        .file("Pipelinefile", &PIPELINE.replace("all     = \"first\"", "all     = \"first\"\n    sees = []"))
        .file("inbox/a.txt", "a\n")
        .file("inbox/b.txt", "b\n")
        .module("up", UP)
        .module("first", FIRST)
        .module(
            "joined",
            r#"
            @module
            def joined(docs):
                ran("set")
                return "".join(sorted(doc.text() for doc in docs))
            "#,
        );
    project.build_runs(&["up a", "up b", "first A", "first B", "joined set"]);
    project.rename("inbox/a.txt", "inbox/z.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "AB");
}

#[test]
fn a_moved_folder_runs_nothing_of_each() {
    let project = built();
    project.rename("inbox/a.txt", "inbox/one/a.txt");
    project.rename("inbox/b.txt", "inbox/one/b.txt");
    project.build_with(&["--gone"], 0, &["joined inbox/one/a.txt inbox/one/b.txt"]);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn of_a_removed_document_nothing_is_left() {
    let project = built();
    project.remove("inbox/b.txt");
    project.build_runs(&["joined inbox/a.txt"]);
    assert_eq!(project.published_names(), ["first/inbox/a.txt.txt", "joined.txt"]);
    assert_eq!(project.read("out/joined.txt"), "A");
    project.build_runs(&[]);
    project.is_as_built_clean();
    // It comes back, and so do its results.
    project.write("inbox/b.txt", "b\nmore\n");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "A\nB");
}

#[test]
fn two_documents_that_change_places_run_nothing_of_each() {
    let project = built();
    project.rename("inbox/a.txt", "inbox/t");
    project.rename("inbox/b.txt", "inbox/a.txt");
    project.rename("inbox/t", "inbox/b.txt");
    project.build_runs(&["joined inbox/a.txt inbox/b.txt"]);
    assert_eq!(project.read("out/joined.txt"), "B\nA");
    project.is_as_built_clean();
}

#[test]
fn an_empty_stream_gives_a_set_of_none() {
    let project = built();
    project.remove("inbox/a.txt");
    project.remove("inbox/b.txt");
    project.pipe(&["build"]).ends(3);
    assert_eq!(project.published_names().len(), 3, "the guard came before anything was retired");
    project.build_with(&["--gone"], 0, &["joined "]);
    assert_eq!(project.published_names(), ["joined.txt"]);
    project.build_runs(&[]);
}

#[test]
fn another_glob_brings_documents_in_and_out() {
    let project = built();
    project.write("inbox/c.md", "c\n");
    project.build_runs(&["up c", "first C", "joined inbox/a.txt inbox/b.txt inbox/c.md"]);
    project.replace("Pipelinefile", "path = \"inbox\"", "path = \"inbox\"\ninclude = \"*.txt\"");
    project.build_runs(&[]);
    assert_eq!(project.read("out/joined.txt"), "A\nB");
    project.replace("Pipelinefile", "include = \"*.txt\"", "exclude = \"a*\"");
    project.build_runs(&["joined inbox/b.txt inbox/c.md"]);
    project.is_as_built_clean();
}
