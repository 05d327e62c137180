use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::harness::Project;

const IDS: &str = "
    @module
    def ids(doc):
        ran(doc.id)
        return doc.id
";

#[test]
fn awkward_names_are_escaped_in_ids_and_safe_in_paths() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.ids]
            each    = "inbox"
            module  = "ids"
            sees    = ["id"]
            publish = true
            "#,
        )
        .module("ids", IDS);
    project.write("inbox/a#b.txt", "1");
    project.write("inbox/50%.txt", "2");
    project.write("inbox/new\nline", "3");
    project.write("inbox/ü b.txt", "4");
    std::fs::write(project.root().join("inbox").join(OsStr::from_bytes(b"\xff.txt")), "5").unwrap();
    project.write("inbox/a:b*?.txt", "6");
    project.build_runs(&[
        "ids inbox/a%23b.txt",
        "ids inbox/50%25.txt",
        "ids inbox/new%0Aline",
        "ids inbox/ü b.txt",
        "ids inbox/%FF.txt",
        "ids inbox/a:b*?.txt",
    ]);
    let published = project.published();
    assert_eq!(published.len(), 6, "{published:?}");
    assert!(published.keys().all(|name| !name.contains(['#', '\n', ':', '*', '?'])), "{published:?}");
    project.build_runs(&[]);
    // Every one is found again by its name.
    std::fs::remove_file(project.root().join("inbox").join(OsStr::from_bytes(b"\xff.txt"))).unwrap();
    project.remove("inbox/a#b.txt");
    project.build_runs(&[]);
    assert_eq!(project.published().len(), 4);
}

#[test]
fn with_a_list_of_folders_the_folder_as_written_leads() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = ["in/one", "in/two"]

            [target.ids]
            each    = "inbox"
            module  = "ids"
            sees    = ["id", "id.dir"]
            publish = "out/{id.rel}"
            "#,
        )
        .module("ids", IDS)
        .file("in/one/a.txt", "1")
        .file("in/two/sub/a.txt", "2");
    project.build_runs(&["ids inbox/in/one/a.txt", "ids inbox/in/two/sub/a.txt"]);
    assert_eq!(project.published_names(), ["in/one/a.txt", "in/two/sub/a.txt"]);
    project.build_runs(&[]);
}

#[test]
fn a_file_can_be_a_source() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.book]
            path = "in/book.txt"

            [target.ids]
            each    = "book"
            module  = "ids"
            sees    = ["id"]
            publish = true
            "#,
        )
        .module("ids", IDS)
        .file("in/book.txt", "1")
        .file("in/other.txt", "2");
    project.build_runs(&["ids book/book.txt"]);
    project.build_runs(&[]);
}

#[test]
fn a_union_takes_each_document_once_and_its_collisions_fail() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.text]
            each   = "inbox"
            where  = { ext = ["txt", "md"] }
            shell  = 'echo text >> $RUNS; cp {in} {out}'

            [target.table]
            each   = "inbox"
            where  = { ext = ["csv", "md"] }
            shell  = 'echo table >> $RUNS; cp {in} {out}'

            [target.both]
            each    = ["text", "table"]
            module  = "both"
            publish = true

            [target.all]
            all     = ["text", "table"]
            min_done = 0.1
            module  = "together"
            publish = "out/all.txt"
            "#,
        )
        .module(
            "both",
            "
            @module
            def both(doc):
                ran(doc)
                return doc.text()
        ",
        )
        .module(
            "together",
            "
            @module
            def together(docs):
                ran(' '.join(doc.id for doc in docs))
                return ' '.join(doc.text() for doc in docs)
        ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/b.csv", "b");
    project.build_runs(&["text", "table", "both a", "both b", "together inbox/a.txt inbox/b.csv"]);
    project.build_runs(&[]);
    project.write("inbox/c.md", "c");
    let said = project.pipe(&["build"]).ends(1);
    drop(said.says("inbox/c.md").says("text, table"));
    let runs = project.take_runs();
    assert!(!runs.contains(&"both c".to_owned()), "{runs:?}");
    assert_eq!(project.published_names(), ["all.txt", "both/inbox/a.txt.txt", "both/inbox/b.csv.txt"]);
    // A test that tells them apart mends it.
    project.replace("Pipelinefile", "[\"csv\", \"md\"]", "\"csv\"");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names().len(), 4);
    project.is_as_built_clean();
}

#[test]
fn a_union_of_sources_is_one_stream() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.one]
            path = "one"

            [source.two]
            path = "two"

            [target.ids]
            each    = ["one", "two"]
            module  = "ids"
            sees    = ["id"]
            publish = true
            "#,
        )
        .module("ids", IDS)
        .file("one/a.txt", "1")
        .file("two/a.txt", "2");
    project.build_runs(&["ids one/a.txt", "ids two/a.txt"]);
    project.replace("Pipelinefile", "[\"one\", \"two\"]", "[\"two\"]");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["ids/two/a.txt.txt"]);
    project.replace("Pipelinefile", "[\"two\"]", "[\"two\", \"one\"]");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["ids/one/a.txt.txt", "ids/two/a.txt.txt"]);
}
