//! Documents that are not there any more: meant, or a disk that is not mounted.

use crate::harness::Project;

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
            publish = "out/{id.rel}"
            "#,
        )
        .counted(
            "passes",
            "
            @module
            def passes(doc):
                ran('passes', doc.text())
                return doc.text()
            ",
        );
    for n in 0..10 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    project
}

#[test]
fn a_source_that_is_gone_stops_the_build_before_anything_is_lost() {
    let project = project();
    drop(project.build().ends(0));
    std::fs::rename(project.root().join("docs"), project.root().join("away")).unwrap();
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("docs") && told.stderr.contains("--gone"), "{}", told.text());
    assert_eq!(project.names("out").len(), 10);
    std::fs::rename(project.root().join("away"), project.root().join("docs")).unwrap();
    project.take_counts("passes");
    drop(project.build().ends(0));
    assert_eq!(project.counts("passes"), Vec::<String>::new());
    assert_eq!(project.names("out").len(), 10);
}

#[test]
fn over_half_of_the_documents_gone_stops_it_too() {
    let project = project();
    drop(project.build().ends(0));
    for n in 0..6 {
        project.clear(&format!("docs/d{n}.txt"));
    }
    let told = project.pipe(&["build"]).ends(3);
    assert!(told.stderr.contains("6 of 10") && told.stderr.contains("--gone"), "{}", told.text());
    assert_eq!(project.names("out").len(), 10);
    drop(project.pipe(&["build", "-n"]).ends(3));
    drop(project.pipe(&["build", "--gone"]).ends(0));
    assert_eq!(project.names("out"), ["d6.txt", "d7.txt", "d8.txt", "d9.txt"]);
    // They come back: no module runs.
    for n in 0..6 {
        project.write(&format!("docs/d{n}.txt"), format!("d{n}"));
    }
    project.take_counts("passes");
    drop(project.build().ends(0));
    assert_eq!(project.counts("passes"), Vec::<String>::new());
    assert_eq!(project.names("out").len(), 10);
}

#[test]
fn half_of_them_may_go_unasked() {
    let project = project();
    drop(project.build().ends(0));
    for n in 0..5 {
        project.clear(&format!("docs/d{n}.txt"));
    }
    drop(project.build().ends(0));
    assert_eq!(project.names("out").len(), 5);
}

#[test]
fn an_empty_folder_in_place_of_a_disk_stops_it() {
    let project = project();
    drop(project.build().ends(0));
    project.clear("docs");
    std::fs::create_dir(project.root().join("docs")).unwrap();
    drop(project.pipe(&["build"]).ends(3).says("--gone"));
    assert_eq!(project.names("out").len(), 10);
    drop(project.pipe(&["build", "--gone"]).ends(0));
    assert_eq!(project.names("out"), Vec::<String>::new());
    assert!(!project.root().join("out").exists(), "folders that publishing emptied go too");
    drop(project.build().ends(0));
}

#[test]
fn a_source_that_never_was_there_stops_it() {
    let project = project();
    project.clear("docs");
    let told = project.pipe(&["build"]);
    assert!([2, 3].contains(&told.status), "{}", told.text());
    assert!(told.stderr.contains("docs"), "{}", told.text());
}

#[test]
fn a_set_over_a_source_follows_its_documents() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.docs]
            path = "docs"
            [target.all]
            all = "docs"
            module = "join"
            publish = "out/all.txt"
            "#,
        )
        .counted(
            "join",
            "
            @module
            def join(docs):
                ran('join')
                return ' '.join(doc.text() for doc in docs)
            ",
        );
    for name in ["a", "b", "c"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    drop(project.build().ends(0));
    assert_eq!(project.read("out/all.txt"), "a b c");
    assert!(project.build().ends(0).all("plan").is_empty());
    project.clear("docs/b.txt");
    project.write("docs/c.txt", "c2");
    project.write("docs/d.txt", "d");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/all.txt"), "a c2 d");
    assert_eq!(project.counts("join").len(), 2);
    assert!(project.build().ends(0).all("plan").is_empty());
}

#[test]
fn one_document_of_one_is_all_of_them() {
    let project = project();
    for n in 1..10 {
        project.clear(&format!("docs/d{n}.txt"));
    }
    drop(project.build().ends(0));
    project.clear("docs/d0.txt");
    drop(
        project
            .pipe(&["build"])
            .ends(3)
            .says("its only document is gone since the last build")
            .says("--gone"),
    );
    assert_eq!(project.names("out"), ["d0.txt"]);
    drop(project.pipe(&["build", "--gone"]).ends(0));
    assert!(!project.root().join("out").exists());
}

#[test]
fn one_of_two_documents_may_go() {
    let project = project();
    for n in 2..10 {
        project.clear(&format!("docs/d{n}.txt"));
    }
    drop(project.build().ends(0));
    project.clear("docs/d0.txt");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["d1.txt"]);
}
