//! The shared cache: two projects, two builds at once, two users, and what is never taken or given.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::Project;

const PIPELINE: &str = r#"
    [source.inbox]
    path = "inbox"

    [target.line]
    each   = "inbox"
    split  = true
    module = "line"

    [target.word]
    each   = "line"
    module = "word"

    [target.whole]
    group   = "word"
    by      = "parent"
    module  = "whole"
    publish = true

    [target.total]
    all     = "whole"
    module  = "total"
    publish = "out/total.txt"
"#;

/// The group of the users that tests are.
const GROUP: u32 = 60_999;

const LINE: &str = "
    @module
    def line(doc):
        ran(doc)
        for n, line in enumerate(doc.text().splitlines()):
            yield Child(n, line)
";
const WORD: &str = "
    @module
    def word(doc):
        ran(doc)
        if 'bad' in doc.text():
            raise ValueError('bad word')
        if 'blank' in doc.text():
            raise Skip('blank')
        size = 300000 if 'large' in doc.text() else 1
        return Result(doc.text().upper() * size, meta={'n': len(doc.text())})
";
const WHOLE: &str = "
    @module
    def whole(docs):
        ran(str(len(docs)))
        return ' '.join(doc.text()[:9] for doc in docs)
";
const TOTAL: &str = "
    @module
    def total(docs):
        ran(str(len(docs)))
        return ', '.join(doc.text() for doc in docs)
";

fn project(cache: &Path) -> Project {
    let project = Project::counting()
        .file("Pipelinefile", PIPELINE)
        .module("line", LINE)
        .module("word", WORD)
        .module("whole", WHOLE)
        .module("total", TOTAL)
        .env("PIPE_CACHE", cache.to_str().unwrap());
    project.write("inbox/a.txt", "one\ntwo\n");
    project.write("inbox/b.txt", "large\nblank\n");
    project
}

const ALL: &[&str] = &[
    "line one",
    "line large",
    "word one",
    "word two",
    "word large",
    "word blank",
    "whole 2",
    "whole 1",
    "total 2",
];

#[test]
fn a_second_project_takes_everything_and_says_whose_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let first = project(cache.path());
    first.build_runs(ALL);
    let second = project(cache.path());
    second.write("inbox/c.txt", "one\nthree\n");
    second
        .build_with(&[], 0, &["line one", "word three", "whole 2", "total 3"])
        .says("taken from the shared cache");
    second.build_runs(&[]);
    assert_eq!(second.published()["whole/inbox/a.txt.txt"], first.published()["whole/inbox/a.txt.txt"]);
    let _said = second
        .pipe(&["log", "inbox/a.txt#1"])
        .ends(0)
        .says("word      done, taken from the shared cache")
        .says(&format!("in {}: inbox/a.txt#1, run 1", first.root().display()));
    // Nothing of ours is missing: it goes on without the cache.
    drop(cache);
    second.write("inbox/c.txt", "two\n");
    second.build_runs(&["line two", "whole 1", "total 3"]);
    second.is_as_built_clean();
}

#[test]
fn failures_are_neither_given_nor_taken() {
    let cache = tempfile::tempdir().unwrap();
    let first = project(cache.path());
    first.write("inbox/b.txt", "bad\n");
    first.build_with(&[], 1, &["line one", "line bad", "word one", "word two", "word bad", "whole 2"]);
    let second = project(cache.path());
    second.write("inbox/b.txt", "bad\n");
    second.build_with(&[], 1, &["word bad"]);
}

#[test]
fn what_is_to_be_done_again_is_not_asked_for() {
    let cache = tempfile::tempdir().unwrap();
    project(cache.path()).build_runs(ALL);
    let second = project(cache.path());
    second.build_runs(&[]);
    let _said = second.pipe(&["redo", "word", "--docs", "inbox/a.txt"]).ends(0);
    second.build_runs(&["word one", "word two"]);
    // Also of a document that comes after the mark, though another project has it.
    let _said = second.pipe(&["redo", "word"]).ends(0);
    second.write("inbox/d.txt", "one\n");
    second.build_with(
        &[],
        0,
        &["line one", "word large", "word blank", "word one", "word two", "whole 1", "total 3"],
    );
}

#[test]
fn other_code_is_another_result_also_where_it_was_loaded_late() {
    let cache = tempfile::tempdir().unwrap();
    let late = "
        @module
        def word(doc):
            ran(doc)
            import importlib
            return importlib.import_module('helper').help(doc.text())
    ";
    let helper = "def help(text):\n    return text + '1'\n";
    let of = |helper: &str| {
        let project = project(cache.path()).module("word", late).file("modules/helper.py", helper);
        project.write("inbox/b.txt", "three\n");
        project
    };
    let all =
        ["line one", "line three", "word one", "word two", "word three", "whole 2", "whole 1", "total 2"];
    of(helper).build_runs(&all);
    of(helper).build_runs(&[]);
    of(&helper.replace('1', "2")).build_runs(&[
        "word one",
        "word two",
        "word three",
        "whole 2",
        "whole 1",
        "total 2",
    ]);
}

#[test]
fn damaged_files_are_made_again_and_mended() {
    let cache = tempfile::tempdir().unwrap();
    project(cache.path()).build_runs(ALL);
    for file in files(cache.path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&file, bytes).unwrap();
    }
    project(cache.path()).build_runs(ALL);
    project(cache.path()).build_runs(&[]);
}

#[test]
fn a_cache_that_cannot_be_used_is_said_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let project = project(&file);
    project.build_with(&[], 0, ALL).says("results are not shared: ").says("PIPE_CACHE must be a folder");
}

#[test]
fn two_builds_at_once_share_one_cache() {
    let cache = tempfile::tempdir().unwrap();
    let (one, two) = (project(cache.path()), project(cache.path()));
    for n in 0..30 {
        one.write(&format!("inbox/{n:02}.txt"), format!("w{n}\nv{n}\n"));
        two.write(&format!("inbox/{n:02}.txt"), format!("w{n}\nv{n}\n"));
    }
    std::thread::scope(|scope| {
        let builds = [&one, &two].map(|project| scope.spawn(|| drop(project.pipe(&["build"]).ends(0))));
        builds.into_iter().for_each(|build| build.join().unwrap());
    });
    assert_eq!(one.published(), two.published());
    let third = project(cache.path());
    for n in 0..30 {
        third.write(&format!("inbox/{n:02}.txt"), format!("w{n}\nv{n}\n"));
    }
    third.build_runs(&[]);
    assert!(std::fs::read_dir(cache.path().join("v1/tmp")).unwrap().next().is_none());
}

/// Needs root, to be others.
#[test]
fn two_users_share_and_a_damaged_file_of_another_is_only_reported() {
    let is_root = std::process::Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if !is_root {
        eprintln!("skipped: only root can be other users");
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(cache.path(), None, Some(GROUP)).unwrap();
    std::fs::set_permissions(cache.path(), std::fs::Permissions::from_mode(0o2770)).unwrap();
    let of = |user: u32, documents: &[&str]| {
        let project = Project::new()
            .file(
                "Pipelinefile",
                r#"
                [source.inbox]
                path = "inbox"
                [target.upper]
                each    = "inbox"
                shell   = "tr a-z A-Z < {in} > {out}; cat {in} >> $RUNS"
                publish = true
                "#,
            )
            .env("PIPE_CACHE", cache.path().to_str().unwrap());
        let runs = project.root().join("runs");
        documents.iter().for_each(|name| project.write(&format!("inbox/{name}.txt"), format!("{name}\n")));
        project.env("RUNS", runs.to_str().unwrap()).by_user(user, GROUP)
    };
    of(60_001, &["one", "two"]).build_runs(&["one", "two"]);
    let second = of(60_002, &["one", "three", "two"]);
    second.build_with(&[], 0, &["three"]).says("2 taken from the shared cache");
    let _said = second.pipe(&["log", "inbox/one.txt"]).ends(0).says("made by 60001 on ");
    of(60_001, &["one", "three"]).build_runs(&[]);
    // All are damaged: the second user mends what is his own, makes the rest himself, and says whose it is.
    files(cache.path()).iter().for_each(|file| std::fs::write(file, "wrong").unwrap());
    let third = of(60_002, &["one", "three", "two"]);
    let said = third.build_with(&[], 0, &["one", "three", "two"]);
    said.says("in the shared cache is damaged and was not used")
        .says("it belongs to user 60001, who can remove it");
    let wrong = files(cache.path()).iter().filter(|file| std::fs::read(file).unwrap() == b"wrong").count();
    assert_eq!(wrong, 2);
}

fn files(cache: &Path) -> Vec<std::path::PathBuf> {
    let mut open = vec![cache.join("v1")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found
}

#[test]
fn results_that_are_folders_are_shared_with_their_files() {
    let cache = tempfile::tempdir().unwrap();
    let project = |_: u32| {
        let project = Project::counting()
            .file(
                "Pipelinefile",
                r#"
                [source.inbox]
                path = "inbox"

                [target.site]
                each    = "inbox"
                shell   = 'echo site >> $RUNS; mkdir {out}/sub; cp {in} {out}/sub/small; yes $(cat {in}) | head -c 40000 > {out}/large; chmod +x {out}/large'
                publish = true

                [target.names]
                each    = "site"
                shell   = 'echo names >> $RUNS; (cd {in} && find . -type f | sort) > {out}'
                "#,
            )
            .env("PIPE_CACHE", cache.path().to_str().unwrap());
        project.write("inbox/a.txt", "one\n");
        project
    };
    let (first, second, third) = (project(1), project(2), project(3));
    first.build_runs(&["site", "names"]);
    drop(second.build_with(&[], 0, &[]).says("2 taken from the shared cache"));
    assert_eq!(second.files("out"), first.files("out"));
    let mode =
        std::fs::metadata(second.root().join("out/site/inbox/a.txt/large")).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    // Without one of its files it is no result.
    let blobs = cache.path().join("v1/blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    third.build_runs(&["site"]);
    assert_eq!(third.files("out"), first.files("out"));
    third.is_as_built_clean();
}
