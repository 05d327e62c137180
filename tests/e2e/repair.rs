use crate::harness::Project;

fn project(publish: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.up]
each    = "inbox"
shell   = 'echo >> "$PWD/runs"; read -r w < {in} || true; case $w in bad*) exit 1;; esac; tr a-z A-Z < {in} > {out}'
publish = PUBLISH
"#;
    let project = Project::new().file("Pipelinefile", &pipeline.replace("PUBLISH", publish));
    for name in ["a", "b", "c"] {
        project.write(&format!("inbox/{name}.txt"), name);
    }
    project
}

#[test]
fn what_is_missing_is_shown_again_and_what_was_edited_is_kept() {
    let project = project("\"out/{id.stem}\"");
    drop(project.pipe(&["build"]).ends(0));
    project.pipe(&["publish", "--check"]).shows(
        "
        status: 0
        --- stdout
          Compared  3 files: 3 right
        ",
    );
    std::fs::remove_file(project.root().join("out/a")).unwrap();
    project.write("out/b", "mine");
    project.pipe(&["publish", "--check"]).shows(
        "
        status: 1
        --- stdout
          Missing   out/a  result of up for inbox/a.txt
          Edited    out/b  differs from its result
          Compared  3 files: 1 right, 2 wrong
        --- stderr
        hint: pipe publish --overwrite    writes edited files anew; what was edited in them is lost
        hint: pipe publish                shows again what is missing, and removes what shows nothing
        ",
    );
    assert!(!project.root().join("out/a").exists());
    project.pipe(&["publish", "up"]).shows(
        "
        status: 1
        --- stdout
          Missing   out/a  shown again
          Edited    out/b  kept as it is
          Published 3 files: 1 right, 1 put right, 1 wrong
        --- stderr
        hint: pipe publish --overwrite    writes edited files anew; what was edited in them is lost
        ",
    );
    assert_eq!((project.read("out/a"), project.read("out/b")), ("A".into(), "mine".into()));
    project.pipe(&["publish", "--overwrite", "--json"]).shows(
        r#"
        status: 0
        --- stdout
        {"v":1,"type":"file","path":"out/b","target":"up","doc":"inbox/b.txt","fault":"edited","mended":true}
        {"v":1,"type":"publish","compared":3,"right":2,"mended":1,"wrong":0}
        "#,
    );
    assert_eq!(project.read("out/b"), "B");
    drop(project.pipe(&["build"]).ends(0).says("Up to date"));
}

#[test]
fn stale_files_are_named_by_build_status_and_publish() {
    let project = project("\"out/{id.stem}\"");
    drop(project.pipe(&["build"]).ends(0));
    project.write("inbox/a.txt", "bad");
    drop(project.pipe(&["build"]).ends(1).says("1 published file shows an older result").says("out/a"));
    drop(project.pipe(&["build"]).ends(1).says("1 published file shows an older result"));
    drop(project.pipe(&["status", "--exit-code"]).ends(1).says("stale  1 published file of an older result"));
    drop(project.pipe(&["publish"]).ends(1).says("Stale     out/a"));
    assert_eq!(project.read("out/a"), "A");
    project.write("inbox/a.txt", "a");
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["publish", "--check"]).ends(0));
}

#[test]
fn what_is_damaged_or_somebody_elses_is_said() {
    let project = project("\"out/{id.stem}\"");
    drop(project.pipe(&["build"]).ends(0));
    std::fs::remove_file(project.root().join("out/a")).unwrap();
    std::fs::create_dir(project.root().join("out/a")).unwrap();
    drop(project.pipe(&["publish"]).ends(1).says("Not ours  out/a"));
    std::fs::remove_dir(project.root().join("out/a")).unwrap();
    drop(project.pipe(&["publish"]).ends(0).says("shown again"));
    drop(project.pipe(&["publish", "nothing"]).ends(2).says("no target or module"));
    project.write("Pipelinefile", project.read("Pipelinefile").replace("publish =", "#publish ="));
    drop(project.pipe(&["publish", "up"]).ends(2).says("publishes nothing"));
    // Of a target that is published no more: all of it shows nothing.
    drop(project.pipe(&["publish", "--check"]).ends(1).says("shows nothing any more"));
    drop(project.pipe(&["publish"]).ends(0).says("3 put right"));
    assert!(!project.root().join("out").exists());
}

#[test]
fn a_published_file_is_no_link_into_the_store() {
    use std::os::unix::fs::MetadataExt;
    let project = project("\"out/{id.stem}\"");
    project.write("inbox/large.txt", "x".repeat(600_000));
    drop(project.pipe(&["build"]).ends(0));
    for name in ["out/a", "out/large"] {
        let found = std::fs::symlink_metadata(project.root().join(name)).unwrap();
        assert!(found.is_file() && found.nlink() == 1, "{name}");
    }
    project.write("out/large", "edited");
    std::fs::remove_file(project.root().join("out/large")).unwrap();
    drop(project.pipe(&["publish"]).ends(0));
    assert_eq!(project.read("out/large").len(), 600_000);
}

#[test]
fn the_files_of_a_folder_are_compared_one_by_one() {
    let project = project("true");
    let folders = "\n[target.two]\neach = \"inbox\"\nshell = 'cp {in} {out}/x; echo y > {out}/y'\npublish = { path = \"two/{id.stem}\", index = \"two.jsonl\", content = true }\n";
    project.write("Pipelinefile", project.read("Pipelinefile") + folders);
    drop(project.pipe(&["build"]).ends(0));
    drop(project.pipe(&["publish", "two", "--check"]).ends(0).says("7 files: 7 right"));
    std::fs::remove_file(project.root().join("two/a/x")).unwrap();
    project.write("two/b/y", "mine");
    drop(project.pipe(&["publish"]).ends(1).says("Missing   two/a/x  shown again").says("Edited    two/b/y"));
    assert_eq!((project.read("two/a/x"), project.read("two/b/y")), ("a".into(), "mine".into()));
    drop(project.pipe(&["publish", "--overwrite"]).ends(0));
    assert_eq!(project.read("two/b/y"), "y\n");
    assert!(!project.read("two.jsonl").contains("text"));
    drop(project.pipe(&["export", "two", "-o", "there"]).ends(0));
    assert_eq!(project.read("there/inbox/b.txt/y"), "y\n");
}

#[test]
fn a_listing_that_cannot_be_written_is_a_failure_that_is_named() {
    let project = project("{ path = \"out/{id.stem}\", index = \"lists/all.jsonl\" }");
    project.write("lists", "in the way");
    let said = project.pipe(&["build"]).ends(1).says("Summary");
    drop(said.says("`lists/all.jsonl`, the listing of up, could not be written: "));
    std::fs::remove_file(project.root().join("lists")).unwrap();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("lists/all.jsonl").lines().count(), 3);
}
