use std::process::Stdio;

use crate::harness::Project;

fn project(publish: &str) -> Project {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.up]
each    = "inbox"
module  = "up"
publish = PUBLISH
"#;
    Project::counting()
        .file("Pipelinefile", &pipeline.replace("PUBLISH", publish))
        .module(
            "up",
            "
            @module
            def up(doc):
                ran(doc)
                text = doc.text()
                if text.startswith('bad'):
                    raise ValueError('bad')
                if text.startswith('skip'):
                    raise Skip('skipped')
                if text.startswith('{'):
                    return {'text': text}
                return Result(text.upper(), meta={'first': text[0]})
            ",
        )
        .file("inbox/a.txt", "a")
        .file("inbox/sub/b.md", "b")
}

#[test]
fn another_template_moves_files_and_runs_nothing() {
    let project = project("true");
    project.build_runs(&["up a", "up b"]);
    assert_eq!(project.published_names(), ["up/inbox/a.txt.txt", "up/inbox/sub/b.md.txt"]);
    for (template, expected) in [
        ("out/{id.stem}.{ext}", ["a.txt", "b.txt"]),
        ("out/{target}/{id.source}/{id.base}", ["up/inbox/a", "up/inbox/sub/b"]),
        ("out/x{id.dir}/{id.ext}-{id.stem}", ["x/txt-a", "xsub/md-b"]),
        ("out/{meta.first}.{ext}", ["a.txt", "b.txt"]),
    ] {
        let line =
            project.read("Pipelinefile").lines().find(|line| line.starts_with("publish")).unwrap().to_owned();
        project.replace("Pipelinefile", &line, &format!("publish = \"{template}\""));
        project.build_runs(&[]);
        assert_eq!(project.published_names(), expected, "{template}");
        assert_eq!(project.published().into_values().collect::<Vec<_>>(), ["A", "B"], "{template}");
        project.build_runs(&[]);
    }
    project.replace("Pipelinefile", "publish = \"out/{meta.first}.{ext}\"", "");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), Vec::<String>::new());
    assert!(!project.root().join("out").exists(), "folders that are empty now go too");
}

#[test]
fn a_file_follows_the_extension_and_the_meta_of_its_result() {
    let project = project("\"out/{id.stem}.{ext}\"");
    project.build_runs(&["up a", "up b"]);
    project.write("inbox/a.txt", "{}");
    project.build_runs(&["up {}"]);
    assert_eq!(project.published_names(), ["a.json", "b.txt"]);
    project.write("inbox/a.txt", "a");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["a.txt", "b.txt"]);
}

#[test]
fn what_fails_keeps_its_last_file_and_what_is_skipped_has_none() {
    let project = project("true");
    project.build_runs(&["up a", "up b"]);
    project.write("inbox/a.txt", "bad");
    project.build_with(&[], 1, &["up bad"]);
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "A");
    project.build_with(&[], 1, &[]);
    // Its source goes: so does the file.
    project.rename("inbox/a.txt", "inbox/c.txt");
    project.build_with(&[], 1, &[]);
    assert_eq!(project.published_names(), ["up/inbox/sub/b.md.txt"]);
    project.write("inbox/sub/b.md", "skip");
    project.build_with(&[], 1, &["up skip"]);
    assert_eq!(project.published_names(), Vec::<String>::new());
}

#[test]
fn a_stale_file_goes_where_that_is_wished() {
    let project = project("{ path = true, stale = \"remove\" }");
    project.build_runs(&["up a", "up b"]);
    project.write("inbox/a.txt", "bad");
    project.build_with(&[], 1, &["up bad"]);
    assert_eq!(project.published_names(), ["up/inbox/sub/b.md.txt"]);
    project.write("inbox/a.txt", "a");
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 2);
}

#[test]
fn a_published_file_that_was_removed_is_shown_again() {
    let project = project("true");
    project.build_runs(&["up a", "up b"]);
    project.remove("out/up/inbox/a.txt.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "A");
    std::fs::remove_dir_all(project.root().join("out")).unwrap();
    project.build_runs(&[]);
    assert_eq!(project.published_names().len(), 2);
}

#[test]
fn files_that_are_not_ours_or_were_edited_are_not_touched() {
    let project = project("true");
    project.write("out/up/inbox/a.txt.txt", "mine");
    project.build_with(&[], 1, &["up a", "up b"]).says("not a file of ours");
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "mine");
    project.build_with(&[], 1, &[]);
    project.remove("out/up/inbox/a.txt.txt");
    project.build_runs(&[]);
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "A");
    // Edited since: it stays when its document goes.
    project.write("out/up/inbox/a.txt.txt", "edited");
    project.remove("inbox/a.txt");
    project.build_with(&["--gone"], 0, &[]).says("was edited");
    assert_eq!(project.read("out/up/inbox/a.txt.txt"), "edited");
}

#[test]
fn two_documents_on_one_path_are_both_not_shown() {
    let project = project("\"out/{id.stem}\"");
    project.write("inbox/sub/a.txt", "c");
    project.build_with(&[], 1, &["up a", "up b", "up c"]).says("inbox/sub/a.txt").says("inbox/a.txt");
    assert_eq!(project.published_names(), ["b"]);
    project.build_with(&[], 1, &[]);
    project.remove("inbox/sub/a.txt");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["a", "b"]);
}

#[test]
fn a_target_that_goes_takes_files_that_it_named_by_inherited_meta() {
    let project = project("true");
    let more = "\n[target.low]\neach = \"up\"\nshell = 'tr A-Z a-z < {in} > {out}'\npublish = \"out/{meta.first}/{id.stem}\"\n";
    let pipeline = project.read("Pipelinefile");
    project.write("Pipelinefile", pipeline.clone() + more);
    project.build_runs(&["up a", "up b"]);
    assert_eq!(project.published_names(), ["a/a", "b/b", "up/inbox/a.txt.txt", "up/inbox/sub/b.md.txt"]);
    project.write("Pipelinefile", pipeline);
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["up/inbox/a.txt.txt", "up/inbox/sub/b.md.txt"]);
}

#[test]
fn a_set_that_goes_takes_its_file_with_it() {
    let project = project("true");
    let pipeline = project.read("Pipelinefile");
    let more =
        "\n[target.count]\nall = \"up\"\nshell = 'wc -l < {in} > {out}'\npublish = \"out/count.txt\"\n";
    project.write("Pipelinefile", pipeline.clone() + more);
    project.build_runs(&["up a", "up b"]);
    assert_eq!(project.read("out/count.txt"), "2\n");
    project.write("Pipelinefile", &pipeline);
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["up/inbox/a.txt.txt", "up/inbox/sub/b.md.txt"]);
    project.write("Pipelinefile", pipeline + more);
    project.build_runs(&[]);
    assert_eq!(project.read("out/count.txt"), "2\n");
}

#[test]
fn a_source_that_goes_from_the_pipelinefile_takes_its_files_with_it() {
    let project = project("true");
    let pipeline = project.read("Pipelinefile");
    project.write("other/c.txt", "c");
    let both = pipeline.replace("each    = \"inbox\"", "each    = [\"inbox\", \"other\"]");
    project.write("Pipelinefile", format!("[source.other]\npath = \"other\"\n{both}"));
    project.build_runs(&["up a", "up b", "up c"]);
    assert_eq!(project.published_names().len(), 3);
    project.write("Pipelinefile", &pipeline);
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["up/inbox/a.txt.txt", "up/inbox/sub/b.md.txt"]);
}

#[test]
fn a_build_of_some_targets_after_a_kill_leaves_the_files_of_others() {
    let project = project("true");
    let more = "\n[target.low]\neach = \"up\"\nmodule = \"low\"\npublish = true\n\n[target.count]\nall = \"low\"\nshell = 'wc -l < {in} > {out}'\npublish = \"out/count.txt\"\n";
    project.write("Pipelinefile", project.read("Pipelinefile") + more);
    let low = "
        @module
        def low(doc):
            ran(doc)
            open(os.environ['RUNS'] + '.at-work', 'w')
            import time
            while os.path.exists(os.environ['RUNS'] + '.hold'):
                time.sleep(0.01)
            return doc.text().lower()
    ";
    let project = project.module("low", low);
    project.build_runs(&["up a", "up b", "low A", "low B"]);
    let before = project.published();
    project.remove("runs.at-work");
    project.write("runs.hold", "");
    project.write("inbox/a.txt", "c");
    let mut child = project.command(&["build"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !project.root().join("runs.at-work").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    project.remove("runs.hold");
    project.take_runs();
    project.pipe(&["build", "up"]).ends(0);
    let after = project.published();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(after["up/inbox/a.txt.txt"], "C");
    assert_eq!(after["low/inbox/a.txt.txt"], "a");
    project.pipe(&["build"]).ends(0);
    project.is_as_built_clean();
}

/// As the reference promises: what is shown nowhere is said.
#[test]
fn a_result_without_a_field_of_its_template_is_told() {
    let project = Project::new()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.copy]
            each    = "inbox"
            module  = "copy"
            publish = "out/{meta.x}/{id.stem}.txt"
            "#,
        )
        .module(
            "copy",
            "
            @module
            def copy(doc):
                return Result(doc.text(), meta={'x': 1} if 'x' in doc.text() else {})
            ",
        )
        .file("inbox/a.txt", "x")
        .file("inbox/b.txt", "y");
    drop(
        project
            .pipe(&["build"])
            .ends(0)
            .says("copy: the result of inbox/b.txt lacks a field that `publish` names"),
    );
    assert_eq!(project.names("out"), ["1/a.txt"]);
    project.write("inbox/c.txt", "y");
    project.write("inbox/d.txt", "z");
    drop(project.pipe(&["build"]).ends(0).says("copy: 2 results, that of inbox/"));
}

#[test]
fn what_is_taken_back_at_once_was_not_published() {
    let project = Project::new().file(
        "Pipelinefile",
        "
        [source.inbox]
        path = \"inbox\"

        [target.copy]
        each    = \"inbox\"
        shell   = \"cat {in} > {out}\"
        publish = \"out/{id.stem}.txt\"
        ",
    );
    for name in ["a.txt", "sub/a.txt", "b.txt"] {
        project.write(&format!("inbox/{name}"), name);
    }
    let said = project.pipe(&["build"]).ends(1).says("`out/a.txt` is also that of ");
    drop(said.says("  Summary   3 documents in [TIME]: 3 built, 2 failed\n            1 file published\n"));
    assert_eq!(project.names("out"), ["b.txt"]);
    // One that was published before goes, since nobody can say whose it is.
    std::fs::remove_file(project.root().join("inbox/sub/a.txt")).unwrap();
    drop(project.pipe(&["build"]).ends(0).says("1 file published\n"));
    project.write("inbox/sub/a.txt", "again");
    drop(project.pipe(&["build"]).ends(1).says("1 file withdrawn\n"));
    assert_eq!(project.names("out"), ["b.txt"]);
}

#[test]
fn a_file_that_cannot_be_withdrawn_is_not_counted_as_put_right() {
    let pipelinefile = |publish: &str| {
        format!(
            "[source.inbox]\npath = \"inbox\"\n[target.copy]\neach = \"inbox\"\nshell = \"cat {{in}} > {{out}}\"\n{publish}"
        )
    };
    let project = Project::new();
    project.write("Pipelinefile", pipelinefile("publish = \"out/{id.stem}.txt\"\n"));
    project.write("inbox/a.txt", "a");
    drop(project.pipe(&["build"]).ends(0));
    project.write("Pipelinefile", pipelinefile(""));
    // What a kill may have left beside it goes first; a folder of that name cannot.
    let beside = format!("out/.pipe-publish-{}", &blake3::hash(b"a.txt").to_hex()[..16]);
    project.write(&format!("{beside}/kept"), "");
    let said = project.pipe(&["publish"]).ends(1);
    let said = said.says("Gone      out/a.txt  could not be removed; it shows nothing any more");
    drop(said.says("  Published 1 file: 1 wrong\n"));
    std::fs::remove_dir_all(project.root().join(beside)).unwrap();
    drop(project.pipe(&["publish"]).ends(0).says("  Published 1 file: 1 put right\n"));
}

#[test]
fn a_result_in_whose_place_a_file_stays_that_cannot_be_withdrawn_fails_and_the_build_ends() {
    let target = |name: &str, publish: &str| {
        format!(
            "[target.{name}]\neach = \"inbox\"\nshell = \"echo {name} > {{out}}\"\npublish = \"{publish}\"\n"
        )
    };
    let of_b = format!("[source.inbox]\npath = \"inbox\"\n{}", target("b", "out/{id.stem}/{target}.txt"));
    let project = Project::new().file("Pipelinefile", &of_b).file("inbox/a.txt", "a");
    drop(project.pipe(&["build"]).ends(0));
    let beside = format!("out/a/.pipe-publish-{}", &blake3::hash(b"b.txt").to_hex()[..16]);
    project.write(&format!("{beside}/kept"), "");
    let both = format!("{of_b}{}", target("a", "out/{id.stem}"));
    project.write("Pipelinefile", &both);
    let said = project.pipe(&["build"]).ends(1);
    drop(said.says("cannot withdraw `out/a/b.txt`").says("`out/a` cannot be there beside"));
    assert_eq!(project.read("out/a/b.txt"), "b\n");
    // Once it can be withdrawn, neither is shown; and the one that is left is.
    std::fs::remove_dir_all(project.root().join(beside)).unwrap();
    project.write("inbox/a.txt", "A");
    drop(project.pipe(&["build"]).ends(1).says("`out/a` cannot be there beside").says("1 file withdrawn"));
    assert!(!project.root().join("out/a").exists());
    project.write("Pipelinefile", &of_b);
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.read("out/a/b.txt"), "b\n");
}

#[test]
fn results_on_one_path_are_told_everywhere_and_decided_once() {
    let project = project("\"out/{id.base}\"");
    project.write("inbox/a.md", "other");
    project.build_with(&[], 1, &["up a", "up b", "up other"]).says("`out/a` is also that of inbox/a.");
    let said = project.build_with(&[], 1, &[]).text();
    assert!(said.contains("Up to date") && !said.contains("Plan"), "{said}");
    let run = project.pipe(&["status"]).text();
    assert!(run.contains("nothing to do until") && run.contains("last run  1"), "{run}");
    let _said = project.pipe(&["why", "inbox/a.txt"]).ends(0).says("not published: path taken: `out/a`");
    let _said = project.pipe(&["why", "up"]).ends(0).says("2  failed: path taken: `out/a`");
    let failed = project.pipe(&["failed"]).ends(0).says("2x up  path taken").text();
    assert!(!failed.contains("pipe try") && failed.contains("another `publish`"), "{failed}");
    let _said = project.pipe(&["retry"]).ends(0).says("2 documents could not be published");
    let _said = project
        .pipe(&["publish", "--check"])
        .ends(1)
        .says("Taken     out/a  inbox/a.md")
        .says("1 right, 2 wrong");
    let _said = project.pipe(&["publish"]).ends(1).says("Taken     out/a  inbox/a.txt");
    assert_eq!(project.published_names(), ["sub/b"]);
    // Something else is built: they are where they were, and nothing new is said of them.
    project.write("inbox/c.txt", "c");
    project.build_with(&[], 1, &["up c"]);
    assert_eq!(project.published_names(), ["c", "sub/b"]);
    assert!(!project.pipe(&["log", "inbox/a.txt"]).text().contains("run 2"));
    // One of them goes: the other has the path, and no module runs for it.
    project.remove("inbox/a.md");
    project.build_runs(&[]);
    assert_eq!(project.published()["a"], "A");
    let _said = project.pipe(&["publish", "--check"]).ends(0);
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_file_and_the_folder_of_others_are_on_one_path() {
    let project = project("\"out/{id.base}\"");
    project.write("inbox/sub.txt", "file");
    project
        .build_with(&[], 1, &["up a", "up b", "up file"])
        .says("cannot be there beside")
        .says("inbox/sub.txt  inbox/sub/b.md");
    assert_eq!(project.published_names(), ["a"]);
    assert!(project.build_with(&[], 1, &[]).text().contains("Up to date"));
    // A third, in the folder: it is as little there.
    project.write("inbox/sub/c.txt", "c");
    project.build_with(&[], 1, &["up c"]).says("3 documents");
    assert_eq!(project.published_names(), ["a"]);
    project.rename("inbox/sub.txt", "inbox/d.txt");
    project.build_runs(&[]);
    assert_eq!(project.published_names(), ["a", "d", "sub/b", "sub/c"]);
    // The other way round: the file comes when the folder is there.
    project.write("inbox/sub.txt", "file");
    project.build_with(&[], 1, &[]).says("3 documents");
    assert_eq!(project.published_names(), ["a", "d"]);
    project.is_as_built_clean();
}

#[test]
fn a_result_is_shown_once_the_file_in_its_place_is_gone() {
    let project = project("\"out/{id.stem}\"");
    project.write("out/a", "mine");
    project.build_with(&[], 1, &["up a", "up b"]).says("`out/a` is not a file of ours");
    assert!(project.build_with(&[], 1, &[]).text().contains("Up to date"));
    let _said = project.pipe(&["publish", "--check"]).ends(1).says("Not ours  out/a");
    assert_eq!(project.read("out/a"), "mine");
    project.remove("out/a");
    project.build_runs(&[]);
    assert_eq!(project.read("out/a"), "A");
    project.build_runs(&[]);
}

#[test]
fn a_stale_file_is_named_by_the_template_that_it_was_shown_by() {
    let project = project("{ path = \"out/old/{id.stem}\", index = \"out/index.jsonl\" }");
    project.build_runs(&["up a", "up b"]);
    project.write("inbox/a.txt", "bad");
    project.replace("Pipelinefile", "out/old/", "out/new/");
    project.build_with(&[], 1, &["up bad"]).says("out/old/a");
    let _said = project.pipe(&["status"]).ends(0).says("out/old/a  up");
    let index = project.read("out/index.jsonl");
    assert!(index.contains("out/old/a") && index.contains("out/new/b"), "{index}");
    assert_eq!(project.published_names(), ["index.jsonl", "new/b", "old/a"]);
    project.write("inbox/a.txt", "a good one");
    project.build_runs(&["up a good one"]);
    assert_eq!(project.published_names(), ["index.jsonl", "new/a", "new/b"]);
}
