//! Published files and what people do with them: nothing that is not ours is ever touched.

use crate::harness::Project;

/// A document's text names what is published where.
fn project() -> Project {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.pass]
            each = "docs"
            module = "passes"
            publish = "out/{meta.name}.txt"
            "#,
        )
        .counted(
            "passes",
            "
            @module
            def passes(doc):
                name = ran('passes', doc.text())
                if name == 'bad':
                    raise ValueError('bad')
                if name == 'skip':
                    raise Skip('left out')
                return Result(doc.text(), meta={'name': name})
            ",
        );
    for name in ["a", "b", "c"] {
        project.write(&format!("docs/{name}.txt"), format!("{name} text"));
    }
    project
}

#[test]
fn a_published_file_that_was_edited_is_kept_and_reported() {
    let project = project();
    drop(project.build().ends(0));
    project.write("out/a.txt", "my own words");
    drop(project.build());
    assert_eq!(project.read("out/a.txt"), "my own words");
    project.write("docs/a.txt", "a new text");
    let told = project.pipe(&["build"]);
    assert!(told.stderr.contains("out/a.txt") && told.stderr.contains("edited"), "{}", told.text());
    assert_eq!(project.read("out/a.txt"), "my own words");
    // Its document goes: the file stays, it is the user's.
    project.clear("docs/a.txt");
    let told = project.pipe(&["build"]);
    assert!(told.stderr.contains("out/a.txt"), "{}", told.text());
    assert_eq!(project.read("out/a.txt"), "my own words");
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
}

#[test]
fn a_foreign_file_at_a_published_path_is_never_touched() {
    let project = project();
    project.write("out/b.txt", "was here before");
    let ended = project.build().ends(1);
    assert_eq!(project.read("out/b.txt"), "was here before");
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
    let causes = ended.finished()["causes"].to_string();
    assert!(causes.contains("path-taken") && causes.contains("docs/b.txt"), "{causes}");
    // As long as it lies there it is said, without any run.
    project.take_counts("passes");
    drop(project.pipe(&["build"]).ends(1).says("out/b.txt"));
    // It is moved away: the result takes its place.
    project.clear("out/b.txt");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/b.txt"), "b text");
    assert_eq!(project.counts("passes"), Vec::<String>::new());
}

#[test]
fn a_foreign_folder_or_link_at_a_published_path_is_never_touched() {
    let project = project();
    project.write("out/a.txt/inside.txt", "mine");
    project.write("precious.txt", "precious");
    std::os::unix::fs::symlink("../precious.txt", project.root().join("out/b.txt")).unwrap();
    drop(project.build().ends(1));
    assert_eq!(project.read("out/a.txt/inside.txt"), "mine");
    assert_eq!(project.read("precious.txt"), "precious");
    assert!(project.root().join("out/b.txt").is_symlink());
    project.clear("out/a.txt");
    project.clear("out/b.txt");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
}

#[test]
fn two_documents_on_one_path_are_both_not_published() {
    let project = project();
    project.write("docs/b.txt", "a is claimed by b");
    let ended = project.build().ends(1);
    assert_eq!(project.names("out"), ["c.txt"], "{}", ended.text());
    let causes = ended.finished()["causes"].to_string();
    assert!(causes.contains("path-taken"), "{causes}");
    assert!(causes.contains("docs/a.txt") && causes.contains("docs/b.txt"), "{causes}");
    drop(project.build().ends(1));
    assert_eq!(project.names("out"), ["c.txt"], "the next build neither");
    project.write("docs/b.txt", "b again");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(project.read("out/a.txt"), "a text");
}

#[test]
fn a_later_document_on_a_published_path_takes_it_from_both() {
    let project = project();
    drop(project.build().ends(0));
    project.write("docs/z.txt", "a is claimed later");
    let ended = project.build().ends(1);
    let causes = ended.finished()["causes"].to_string();
    assert!(causes.contains("docs/a.txt") && causes.contains("docs/z.txt"), "{}", ended.text());
    assert_eq!(project.names("out"), ["b.txt", "c.txt"], "{}", ended.text());
    drop(project.build().ends(1));
    assert_eq!(project.names("out"), ["b.txt", "c.txt"]);
    project.clear("docs/z.txt");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/a.txt"), "a text");
}

#[test]
fn a_published_path_may_change_hands() {
    let project = project();
    drop(project.build().ends(0));
    // A rename, and two documents that swap their paths, in one build.
    std::fs::rename(project.root().join("docs/c.txt"), project.root().join("docs/0.txt")).unwrap();
    project.write("docs/a.txt", "b from a");
    project.write("docs/b.txt", "a from b");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(project.read("out/a.txt"), "a from b");
    assert_eq!(project.read("out/b.txt"), "b from a");
    assert_eq!(project.read("out/c.txt"), "c text");
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn a_published_file_that_was_deleted_comes_back() {
    let project = project();
    drop(project.build().ends(0));
    project.take_counts("passes");
    project.clear("out/b.txt");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/b.txt"), "b text");
    project.clear("out");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
    assert_eq!(project.counts("passes"), Vec::<String>::new());
}

#[test]
fn without_the_index_files_are_still_known_as_ours() {
    let project = project();
    drop(project.build().ends(0));
    project.take_counts("passes");
    project.clear(".pipe/index");
    project.clear("docs/b.txt");
    project.write("docs/a.txt", "a new text");
    project.write("out/other.txt", "not ours");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "c.txt", "other.txt"]);
    assert_eq!(project.read("out/a.txt"), "a new text");
    assert_eq!(project.counts("passes"), ["a"]);
}

#[test]
fn a_failure_keeps_the_last_file_and_a_skip_removes_it() {
    let project = project();
    drop(project.build().ends(0));
    project.write("docs/a.txt", "bad");
    project.write("docs/b.txt", "skip");
    drop(project.build().ends(1));
    assert_eq!(project.names("out"), ["a.txt", "c.txt"]);
    assert_eq!(project.read("out/a.txt"), "a text");
    project.write("docs/a.txt", "a better");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/a.txt"), "a better");
}

#[test]
fn the_last_file_of_a_failure_goes_with_its_document() {
    let project = project();
    drop(project.build().ends(0));
    project.write("docs/a.txt", "bad");
    drop(project.build().ends(1));
    assert_eq!(project.names("out"), ["a.txt", "b.txt", "c.txt"]);
    project.clear("docs/a.txt");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["b.txt", "c.txt"]);
}

#[test]
fn the_last_file_of_a_failure_goes_when_its_document_is_shown_elsewhere() {
    let project = project();
    drop(project.build().ends(0));
    project.write("docs/a.txt", "bad");
    drop(project.build().ends(1));
    project.clear(".pipe/index");
    project.write("docs/a.txt", "elsewhere and well");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["b.txt", "c.txt", "elsewhere.txt"]);
}
