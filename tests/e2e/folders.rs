//! Folders as results: kept by their files, handed on as folders, published file by file.

use std::os::unix::fs::PermissionsExt;

use crate::harness::Project;

const PIPELINE: &str = r#"
[source.inbox]
path = "inbox"

[target.site]
each    = "inbox"
shell   = 'echo site >> $RUNS; mkdir {out}/sub; head -1 {in} > {out}/a.txt; tail -1 {in} > {out}/sub/b.txt; MORE'
publish = "out/{id.stem}"

[target.names]
each    = "site"
shell   = 'echo names >> $RUNS; (cd {in} && find . -type f | sort && cat sub/b.txt) > {out}'
ext     = "txt"
publish = "lists/{id.stem}.txt"
"#;

fn project(more: &str) -> Project {
    Project::counting()
        .file("Pipelinefile", &PIPELINE.replace("MORE", more))
        .file("inbox/x.md", "one\ntwo\n")
        .file("inbox/y.md", "uno\ndos\n")
}

#[test]
fn a_folder_is_kept_handed_on_and_published_file_by_file() {
    let project = project("true");
    project.build_runs(&["site", "site", "names", "names"]);
    assert_eq!(project.published_names(), ["x/a.txt", "x/sub/b.txt", "y/a.txt", "y/sub/b.txt"]);
    assert_eq!(project.read("lists/x.txt"), "./a.txt\n./sub/b.txt\ntwo\n");
    project.build_runs(&[]);
    // The same files: what takes them rests.
    project.write("inbox/x.md", "one\nin between\ntwo\n");
    project.build_runs(&["site"]);
    project.write("inbox/x.md", "one\nzwei\n");
    project.build_runs(&["site", "names"]);
    assert_eq!(project.published()["x/sub/b.txt"], "zwei\n");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn files_that_vanish_go_and_a_file_that_was_edited_stays() {
    let project =
        project("if grep -q more {in}; then echo more > {out}/more.txt; chmod +x {out}/more.txt; fi");
    project.write("inbox/x.md", "more\ntwo\n");
    project.pipe(&["build"]).ends(0);
    assert!(project.published_names().contains(&"x/more.txt".to_owned()));
    let mode = |name: &str| std::fs::metadata(project.root().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("out/x/more.txt") & 0o111, 0o111);
    assert_eq!(mode("out/x/a.txt") & 0o111, 0);
    project.write("inbox/x.md", "one\ntwo\n");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["x/a.txt", "x/sub/b.txt", "y/a.txt", "y/sub/b.txt"]);
    // What somebody removed is shown again; what somebody edited is kept and said.
    project.remove("out/x/sub/b.txt");
    project.take_runs();
    project.build_runs(&[]);
    assert_eq!(project.published()["x/sub/b.txt"], "two\n");
    project.write("out/y/a.txt", "mine");
    project.write("inbox/y.md", "eins\ndos\n");
    project.pipe(&["build"]).ends(0).says("`out/y/a.txt` was edited since it was published");
    assert_eq!(project.published()["y/a.txt"], "mine");
    project.remove("inbox/x.md");
    project.pipe(&["build", "--gone"]).ends(0);
    assert_eq!(project.published_names(), ["y/a.txt", "y/sub/b.txt"]);
}

#[test]
fn a_folder_is_shown_whole_once_the_file_in_its_way_is_gone() {
    let project = project("true");
    project.write("out/x/sub/b.txt", "mine");
    project
        .build_with(&[], 1, &["site", "site", "names", "names"])
        .says("`out/x/sub/b.txt` is not a file of ours");
    assert!(project.build_with(&[], 1, &[]).text().contains("Up to date"));
    // Its other files are as they should be.
    let said = project.pipe(&["publish", "--check"]).ends(1).says("Not ours  out/x/sub/b.txt");
    assert!(!said.stdout.contains("Gone") && !said.stdout.contains("a.txt"), "{}", said.stdout);
    let said = project.pipe(&["publish"]).ends(1).says("Not ours  out/x/sub/b.txt");
    assert!(!said.stdout.contains("Gone"), "{}", said.stdout);
    assert_eq!(
        (project.read("out/x/a.txt"), project.read("out/x/sub/b.txt")),
        ("one\n".into(), "mine".into())
    );
    project.remove("out/x/sub/b.txt");
    project.build_runs(&[]);
    assert_eq!(project.published()["x/sub/b.txt"], "two\n");
    project.pipe(&["publish", "--check"]).ends(0);
    // Two in the way: one after the other.
    project.write("inbox/z.md", "un\ndeux\n");
    project.write("out/z/a.txt", "mine");
    project.write("out/z/sub/b.txt", "mine");
    project.build_with(&[], 1, &["site", "names"]).says("`out/z/a.txt` is not a file of ours");
    project.remove("out/z/a.txt");
    project.build_with(&[], 1, &[]).says("`out/z/sub/b.txt` is not a file of ours");
    assert_eq!(project.published()["z/a.txt"], "un\n");
    // The bytes that would be shown are as good as nothing in the way.
    project.write("out/z/sub/b.txt", "deux\n");
    project.build_runs(&[]);
    project.is_as_built_clean();
}

#[test]
fn a_folder_becomes_a_file_and_a_file_a_folder() {
    let project = project("true");
    project.pipe(&["build", "site"]).ends(0);
    let as_folder = project.read("Pipelinefile");
    project.replace("Pipelinefile", "mkdir {out}/sub; ", "cat {in} > {out}; true ||");
    let as_file = project
        .read("Pipelinefile")
        .replace("{out}/a.txt", "/dev/null")
        .replace("{out}/sub/b.txt", "/dev/null");
    project.write("Pipelinefile", &as_file);
    project.pipe(&["build", "site"]).ends(0);
    assert_eq!(project.published_names(), ["x", "y"]);
    project.write("Pipelinefile", &as_folder);
    project.pipe(&["build", "site"]).ends(0);
    assert_eq!(project.published_names(), ["x/a.txt", "x/sub/b.txt", "y/a.txt", "y/sub/b.txt"]);
}

/// Folders of two documents on one path are not mixed: as with files, neither is shown.
#[test]
fn two_folders_on_one_path_are_both_failures() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.site]
            each    = "inbox"
            shell   = 'cat {in} > {out}/$(cat {in}).txt'
            publish = "out/{id.stem}"
            "#,
        )
        .file("inbox/1/x.md", "one")
        .file("inbox/2/y.md", "two");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published_names(), ["x/one.txt", "y/two.txt"]);
    project.write("inbox/2/x.md", "too");
    let said = project.pipe(&["build"]).ends(1).says("`out/x` is also that of ");
    assert!(said.text().contains("2 failed"), "{}", said.text());
    assert_eq!(project.published_names(), ["y/two.txt"]);
    // As soon as one of them is gone, the other is shown.
    project.remove("inbox/2/x.md");
    project.pipe(&["build", "--gone"]).ends(0);
    assert_eq!(project.published_names(), ["x/one.txt", "y/two.txt"]);
    project.is_as_built_clean();
}

/// A file and a folder that claim one path.
#[test]
fn a_file_and_a_folder_on_one_path_are_both_failures() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.site]
            each = "inbox"
            route = [
                { where = { "id.dir" = "1" }, module = "folder" },
                { module = "file" },
            ]
            publish = "out/{id.stem}"

            [module.folder]
            shell = 'cp {in} {out}/a.txt'

            [module.file]
            shell = 'cp {in} {out}'
            "#,
        )
        .file("inbox/1/x.md", "one")
        .file("inbox/2/x.md", "two")
        .file("inbox/2/y.md", "zwei");
    // Whichever comes first, both fail by the other; the one that is told stands for both.
    let told = |outcome: crate::harness::Outcome| {
        let words = ["`out/x` is also that of ", "`out/x/a.txt` cannot be there beside `out/x` of"];
        assert!(words.iter().any(|words| outcome.stderr.contains(words)), "{}", outcome.text());
        assert!(outcome.stderr.contains("inbox/1/x.md  inbox/2/x.md"), "{}", outcome.text());
    };
    told(project.pipe(&["build"]).ends(1).says("2x site  path taken"));
    assert_eq!(project.published_names(), ["y"]);
    told(project.pipe(&["build"]).ends(1));
    project.remove("inbox/2/x.md");
    project.pipe(&["build", "--gone"]).ends(0);
    assert_eq!(project.published_names(), ["x/a.txt", "y"]);
    project.is_as_built_clean();
}

#[test]
fn large_files_of_a_folder_are_blobs_that_are_verified_and_collected() {
    let project = project("yes $(cat {in}) | head -c 40000 > {out}/large.bin");
    project.remove("inbox/y.md");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.published()["x/large.bin"].len(), 40_000);
    let blobs = || project.files(".pipe/blobs").len();
    assert_eq!(blobs(), 1);
    project.pipe(&["doctor"]).ends(0);
    project.pipe(&["gc"]).ends(0);
    assert_eq!(blobs(), 1);
    // A damaged file is never handed on: the folder is made again.
    let blob = project.names(".pipe/blobs").remove(0);
    project.write(&format!(".pipe/blobs/{blob}"), vec![b'x'; 40_000]);
    project.take_runs();
    project.pipe(&["doctor"]).ends(3).says("its result does not match its digest");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.take_runs(), ["site"]);
    project.remove(&format!(".pipe/blobs/{}", project.names(".pipe/blobs")[0]));
    project.replace("Pipelinefile", "echo names", ": ; echo names");
    project.pipe(&["build"]).ends(0);
    assert_eq!(project.take_runs(), ["names", "site"]);
    // Nothing needs the old one any more.
    project.write("inbox/x.md", "three\n");
    project.pipe(&["build"]).ends(0);
    assert_eq!(blobs(), 2);
    project.pipe(&["gc", "--older-than", "0s", "--force"]).ends(0);
    assert_eq!(blobs(), 1);
    project.take_runs();
    project.build_runs(&[]);
}

#[test]
fn what_is_in_a_folder_is_shown() {
    let project = project("yes | head -c 40000 > {out}/large.bin");
    project.remove("inbox/y.md");
    project.pipe(&["build"]).ends(0);
    project.pipe(&["cat", "site", "inbox/x.md"]).shows(
        "
        status: 0
        --- stdout
               4 B  a.txt
          39.1 KiB  large.bin
               4 B  sub/b.txt
        ",
    );
    project.pipe(&["ls", "site"]).ends(0).says("inbox/x.md  done        folder   39.1 KiB");
    project.pipe(&["log", "inbox/x.md"]).ends(0).says("made folder, 3 files, 39.1 KiB");
    project.pipe(&["try", "site", "inbox/x.md"]).ends(0).says("39.1 KiB  large.bin");
}

#[test]
fn python_makes_folders_and_gets_them_to_read_only() {
    let pipeline = r#"
[source.inbox]
path = "inbox"

[target.made]
each   = "inbox"
module = "made"

[target.seen]
each    = "made"
with    = { all = "joined" }
module  = "seen"
publish = "out/{id.stem}.json"

[target.joined]
all    = "made"
module = "joined"
"#;
    let project = Project::counting()
        .file("Pipelinefile", pipeline)
        .module(
            "made",
            "
            @module
            def made(doc):
                ran(doc)
                folder = doc.tmp / 'folder'
                (folder / 'in').mkdir(parents=True)
                (folder / 'in' / 'text').write_text(doc.text())
                return folder
            ",
        )
        .module(
            "joined",
            "
            @module
            def joined(docs):
                ran('all')
                folder = docs.tmp / 'folder' if hasattr(docs, 'tmp') else None
                return ''.join((doc.path / 'in' / 'text').read_text() for doc in docs)
            ",
        )
        .module(
            "seen",
            "
            import stat
            @module
            def seen(doc, *, all: Doc):
                ran('seen')
                text = doc.path / 'in' / 'text'
                return [doc.ext, text.read_text(), all.text(), oct(text.stat().st_mode & 0o777)]
            ",
        )
        .file("inbox/a.txt", "A")
        .file("inbox/b.txt", "B");
    project.build_runs(&["made A", "made B", "joined all", "seen seen", "seen seen"]);
    assert_eq!(project.published()["a.json"], r#"["/","A","AB","0o444"]"#);
    project.build_runs(&[]);
    project.replace("modules/made.py", "return folder", "return Result(folder, ext='zip')");
    project.build_with(&[], 1, &["made A", "made B"]).says("is for files");
}

#[test]
fn a_link_in_a_folder_is_a_failure_of_its_document() {
    let project = project("grep -q bad {in} && ln -s /etc/passwd {out}/link; true");
    project.write("inbox/x.md", "bad\n");
    project.build_with(&[], 1, &["site", "site", "names"]).says("`link` in its folder is no ordinary file");
}

#[test]
fn a_folder_is_exported_with_all_its_files() {
    let project = project(
        "head -c 40000 /dev/zero | tr \"\\0\" x > {out}/large; printf \"\\377\" > {out}/odd; chmod +x {out}/odd",
    );
    drop(project.pipe(&["build"]).ends(0));
    project.pipe(&["export", "site", "-o", "copy"]).shows(
        "
        status: 0
        --- stderr
        Exported  2 documents to copy
        ",
    );
    assert_eq!(
        project.names("copy"),
        [
            "inbox/x.md/a.txt",
            "inbox/x.md/large",
            "inbox/x.md/odd",
            "inbox/x.md/sub/b.txt",
            "inbox/y.md/a.txt",
            "inbox/y.md/large",
            "inbox/y.md/odd",
            "inbox/y.md/sub/b.txt"
        ]
    );
    let files = project.files("copy/inbox/x.md");
    assert_eq!(
        (files["large"].len(), &files["odd"][..], &files["sub/b.txt"][..]),
        (40_000, &[255][..], &b"two\n"[..])
    );
    let mode = |name: &str| std::fs::metadata(project.root().join(name)).unwrap().permissions().mode();
    assert_eq!([mode("copy/inbox/x.md/odd") & 0o111, mode("copy/inbox/x.md/large") & 0o111], [0o111, 0]);
    // A large file that is damaged in the store is not exported as if it were right.
    let blob = project.names(".pipe/blobs").pop().unwrap();
    project.write(&format!(".pipe/blobs/{blob}"), "y".repeat(40_000));
    drop(project.pipe(&["export", "site", "-o", "again"]).ends(1).says("not what the result was any more"));
    assert!(!project.root().join("again/inbox/x.md/large").exists());
}

/// Modes do not keep root from writing: what one module wrote into its input, the next one does not get.
#[test]
fn a_module_that_writes_into_its_input_changes_nothing_for_others() {
    let project = Project::counting()
        .file(
            "Pipelinefile",
            r#"
            [source.inbox]
            path = "inbox"

            [target.made]
            each  = "inbox"
            shell = 'cp {in} {out}/a'

            [target.bad]
            each  = "made"
            shell = 'ls {in} > {out}; echo bad >> {in}/a; echo bad > {in}/b; true'

            [target.good]
            each  = "bad"
            with  = { made = "made" }
            shell = 'ls {with.made} > {out}; cat {with.made}/a >> {out}'
            "#,
        )
        .file("inbox/x", "one");
    drop(project.pipe(&["build"]).ends(0));
    assert_eq!(project.pipe(&["cat", "good", "inbox/x"]).ends(0).stdout, "a\none");
}
