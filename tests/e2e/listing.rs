use crate::harness::Project;

/// Two targets in sh; a text that begins with `bad` fails, one with `skip` is skipped.
fn project(publish: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.up]
each    = "inbox"
shell   = 'read -r w < {in} || true; case $w in bad*) exit 1;; skip*) exit 77;; esac; tr a-z A-Z < {in} > {out}'
publish = PUBLISH
"#;
    let project = Project::new().file("Pipelinefile", &pipeline.replace("PUBLISH", publish));
    project.write("inbox/a.txt", "a");
    project.write("inbox/b.txt", "b");
    project
}

fn inode(project: &Project, name: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(project.root().join(name)).unwrap().ino()
}

fn rows(project: &Project, name: &str) -> Vec<serde_json::Value> {
    project.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `id state path` of each line.
fn lines(project: &Project, name: &str) -> Vec<String> {
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or("-").to_owned();
    let line = |row: serde_json::Value| {
        format!("{} {} {}", text(&row, "id"), text(&row, "state"), text(&row, "path"))
    };
    rows(project, name).into_iter().map(line).collect()
}

const TABLE: &str = "{ path = \"out/{id.stem}.{ext}\", index = \"out/index.jsonl\" }";

#[test]
fn a_listing_says_what_is_published_and_follows_it() {
    let project = project(TABLE);
    drop(project.pipe(&["build"]).ends(0));
    let digest = |text: &str| blake3::hash(text.as_bytes()).to_hex();
    let line = |stem: &str, text: &str| {
        format!(
            "{{\"id\":\"inbox/{stem}.txt\",\"path\":\"out/{stem}.txt\",\"digest\":\"{}\",\"meta\":{{}},\"state\":\"done\"}}\n",
            digest(text)
        )
    };
    assert_eq!(project.read("out/index.jsonl"), line("a", "A") + &line("b", "B"));
    // Nothing changes: it is not written again, nor when the same comes out.
    let before = inode(&project, "out/index.jsonl");
    drop(project.pipe(&["build"]).ends(0));
    project.write("inbox/a.txt", "A");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(inode(&project, "out/index.jsonl"), before);
    // What fails keeps its file, what is skipped has none, what is gone is gone.
    project.write("inbox/a.txt", "bad");
    project.write("inbox/b.txt", "skip");
    project.write("inbox/c.txt", "c");
    drop(project.pipe(&["build"]).ends(1));
    assert_eq!(
        lines(&project, "out/index.jsonl"),
        ["inbox/a.txt failed out/a.txt", "inbox/b.txt skipped -", "inbox/c.txt done out/c.txt"]
    );
    assert_eq!(rows(&project, "out/index.jsonl")[0]["digest"], *digest("A"));
    std::fs::remove_file(project.root().join("inbox/a.txt")).unwrap();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(lines(&project, "out/index.jsonl"), ["inbox/b.txt skipped -", "inbox/c.txt done out/c.txt"]);
}

#[test]
fn a_listing_that_is_gone_is_written_again_and_one_that_was_edited_is_kept() {
    let project = project(TABLE);
    drop(project.pipe(&["build"]).ends(0));
    let whole = project.read("out/index.jsonl");
    std::fs::remove_file(project.root().join("out/index.jsonl")).unwrap();
    drop(project.pipe(&["status", "--exit-code"]).ends(1));
    drop(project.pipe(&["build"]).ends(0).says("1 file published"));
    assert_eq!(project.read("out/index.jsonl"), whole);
    drop(project.pipe(&["status", "--exit-code"]).ends(0));
    project.write("out/index.jsonl", "mine");
    project.write("inbox/a.txt", "aa");
    drop(project.pipe(&["build"]).ends(0).says("was edited"));
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("out/index.jsonl"), "mine");
    drop(project.pipe(&["publish", "--check"]).ends(1).says("Edited"));
    drop(project.pipe(&["publish"]).ends(1).says("--overwrite"));
    drop(project.pipe(&["publish", "--overwrite"]).ends(0));
    assert_eq!(lines(&project, "out/index.jsonl").len(), 2);
    drop(project.pipe(&["publish", "--check"]).ends(0));
}

#[test]
fn a_file_of_somebody_else_is_not_replaced_by_a_listing() {
    let project = project(TABLE);
    project.write("out/index.jsonl", "mine");
    drop(project.pipe(&["build"]).ends(1).says("not a file of ours"));
    drop(project.pipe(&["build"]).ends(1).says("not a file of ours"));
    drop(project.pipe(&["publish", "--overwrite"]).ends(1).says("Not ours"));
    assert_eq!(project.read("out/index.jsonl"), "mine");
    std::fs::remove_file(project.root().join("out/index.jsonl")).unwrap();
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(lines(&project, "out/index.jsonl").len(), 2);
}

#[test]
fn a_listing_moves_with_the_pipelinefile_and_may_hold_the_text() {
    let project = project(TABLE);
    drop(project.pipe(&["build"]).ends(0));
    let text = project.read("Pipelinefile");
    let other = "{ path = \"out/{id.stem}.{ext}\", index = \"all/{target}.{ext}\", content = true }";
    project.write("Pipelinefile", text.replace(TABLE, other));
    drop(project.pipe(&["build"]).ends(0).says("1 file published, 1 withdrawn"));
    assert!(!project.root().join("out/index.jsonl").exists());
    let texts: Vec<_> = rows(&project, "all/up.jsonl").iter().map(|row| row["text"].clone()).collect();
    assert_eq!(texts, ["A", "B"]);
    project.write("Pipelinefile", text.replace(TABLE, "true"));
    drop(project.pipe(&["build"]).ends(0));
    assert!(!project.root().join("all").exists(), "folders that are empty now go too");
}

#[test]
fn a_listing_that_would_be_read_or_written_twice_is_a_mistake() {
    for (publish, says) in [
        ("{ index = \"inbox/all.jsonl\" }", "would publish into source"),
        ("{ path = \"out/x.txt\", index = \"out/x.txt\" }", "a listing is a file of its own"),
        ("{ index = \"out/{id}.jsonl\" }", "without fields"),
        ("{ index = \"../all.jsonl\" }", "leave the project"),
    ] {
        drop(project(publish).pipe(&["check"]).ends(2).says(says));
    }
}

#[test]
fn inherited_meta_and_paths_that_are_taken_stand_in_the_listing() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            "
            [source.rows]
            path = \"rows.csv\"
            rows = \"name\"
            [target.each]
            each = \"rows\"
            shell = 'cat {in} > {out}'
            publish = { path = \"out/{meta.as}\", index = \"out.jsonl\" }
            ",
        )
        .file("rows.csv", "name,as\nx,one\ny,two\n");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(rows(&project, "out.jsonl")[1]["meta"]["as"], "two");
    project.write("rows.csv", "name,as\nx,one\ny,one\n");
    drop(project.pipe(&["build"]).ends(1).says("rows/x").says("rows/y"));
    assert_eq!(lines(&project, "out.jsonl"), ["rows/x failed -", "rows/y failed -"]);
    project.write("rows.csv", "name,as\nx,one\ny,three\n");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(lines(&project, "out.jsonl"), ["rows/x done out/one", "rows/y done out/three"]);
}

#[test]
fn a_listing_is_known_again_when_the_index_is_lost() {
    let project = project(TABLE);
    drop(project.pipe(&["build"]).ends(0));
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    project.write("inbox/c.txt", "c");
    let said = project.pipe(&["build"]).ends(0).text();
    assert!(lines(&project, "out/index.jsonl").contains(&"inbox/c.txt done out/c.txt".to_owned()), "{said}");
    drop(project.pipe(&["publish", "--check"]).ends(0));
    // One that was edited stays so.
    project.write("out/index.jsonl", "mine");
    std::fs::remove_dir_all(project.root().join(".pipe/index")).unwrap();
    project.write("inbox/d.txt", "d");
    drop(project.pipe(&["build"]));
    assert_eq!(project.read("out/index.jsonl"), "mine");
    drop(project.pipe(&["publish", "--check"]).ends(1).says("Edited"));
}
