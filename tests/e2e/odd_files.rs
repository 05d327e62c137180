//! Files in a source that are no ordinary ones, or that do not hold still.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::harness::Project;

/// One target that passes on what it gets, and shows it.
fn project() -> Project {
    Project::new()
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
            import hashlib

            @module
            def passes(doc):
                data = doc.bytes()
                ran('passes', data)
                return data
            ",
        )
        .file("Pipelinefile", PIPELINEFILE)
}

const PIPELINEFILE: &str = r#"
    [source.docs]
    path = "docs"
    [target.pass]
    each = "docs"
    module = "passes"
    publish = "out/{id.rel}"
    "#;

#[test]
fn names_that_are_not_utf_8_are_documents_of_their_own() {
    let project = project();
    project.write("docs/plain.txt", "plain");
    for (n, name) in [
        &b"\xff.txt"[..],
        b"\xfe.txt",
        b"caf\xe9.txt",
        "café.txt".as_bytes(),
        b"%FF.txt",
        b"a\nb.txt",
        b"#.txt",
    ]
    .into_iter()
    .enumerate()
    {
        let path = project.root().join("docs").join(OsStr::from_bytes(name));
        std::fs::write(path, format!("n{n}")).unwrap();
    }
    let ended = project.build().ends(0);
    assert_eq!(
        ended.named("done"),
        [
            "pass docs/%23.txt",
            "pass docs/%25FF.txt",
            "pass docs/%FE.txt",
            "pass docs/%FF.txt",
            "pass docs/a%0Ab.txt",
            "pass docs/caf%E9.txt",
            "pass docs/café.txt",
            "pass docs/plain.txt",
        ]
    );
    assert_eq!(project.names("out").len(), 8, "{:?}", project.names("out"));
    assert_eq!(project.read("out/%FF.txt"), "n0");
    // By name, by glob, and gone again.
    project.take_counts("passes");
    drop(project.pipe(&["redo", "pass", "--docs", "docs/%FF.txt"]).ends(0));
    drop(project.build().ends(0));
    assert_eq!(project.counts("passes"), ["n0"]);
    std::fs::remove_file(project.root().join("docs").join(OsStr::from_bytes(b"\xff.txt"))).unwrap();
    assert_eq!(project.build().ends(0).finished()["withdrawn"], 1);
    assert_eq!(project.names("out").len(), 7);
}

#[test]
fn what_is_no_file_is_never_opened() {
    let project = project();
    project.write("docs/a.txt", "a");
    let fifo = project.root().join("docs/fifo.txt");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(project.root().join("docs/socket.txt")).unwrap();
    let ended = project.build().ends(0);
    assert_eq!(ended.named("done"), ["pass docs/a.txt"]);
    let problems = ended.all("scanned")[0]["problems"].to_string();
    assert!(problems.contains("2 entries left out"), "{problems}");
    drop(socket);
    // A document that became a FIFO is gone.
    project.clear("docs/a.txt");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        project.root().join("docs/a.txt"),
        rustix::fs::FileType::Fifo,
        0o644.into(),
        0,
    )
    .unwrap();
    drop(project.start(&["build", "--gone"]).end().ends(0));
    assert_eq!(project.names("out"), Vec::<String>::new());
}

#[test]
fn links_are_followed_inside_the_source_only() {
    let project = project();
    project.write("docs/a.txt", "a");
    project.write("docs/deep/b.txt", "b");
    project.write("secret/s.txt", "not yours");
    let docs = project.root().join("docs");
    symlink("a.txt", docs.join("to-file.txt")).unwrap();
    symlink("deep", docs.join("to-folder")).unwrap();
    symlink("..", docs.join("deep/loop")).unwrap();
    symlink("itself.txt", docs.join("itself.txt")).unwrap();
    symlink("../secret/s.txt", docs.join("out-file.txt")).unwrap();
    symlink("../secret", docs.join("out-folder")).unwrap();
    symlink("/etc/passwd", docs.join("absolute.txt")).unwrap();
    symlink("nowhere.txt", docs.join("nowhere.txt.lnk")).unwrap();
    let ended = project.build().ends(0);
    let mut done = ended.named("done");
    done.extend(ended.named("reused"));
    let names = project.names("out");
    assert_eq!(names, ["a.txt", "deep/b.txt", "to-file.txt", "to-folder/b.txt"], "{}", ended.text());
    assert_eq!(project.counts("passes"), ["a", "b"], "copies cost nothing");
    // The target of a link is edited: both change.
    project.write("docs/a.txt", "a2");
    drop(project.build().ends(0));
    assert_eq!((project.read("out/a.txt"), project.read("out/to-file.txt")), ("a2".into(), "a2".into()));
    // A link is pointed out of the source: its document is gone.
    project.clear("docs/to-file.txt");
    symlink("../secret/s.txt", docs.join("to-file.txt")).unwrap();
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["a.txt", "deep/b.txt", "to-folder/b.txt"]);
}

#[test]
fn a_file_and_a_folder_may_take_each_others_place() {
    let project = project();
    project.write("docs/x", "file");
    project.write("docs/y/z.txt", "inside");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["x", "y/z.txt"]);
    project.clear("docs/x");
    project.clear("docs/y");
    project.write("docs/x/z.txt", "now a folder");
    project.write("docs/y", "now a file");
    drop(project.start(&["build", "--gone"]).end().ends(0));
    assert_eq!(project.names("out"), ["x/z.txt", "y"]);
    assert_eq!(project.read("out/y"), "now a file");
    drop(project.build().ends(0));
    assert_eq!(project.names("out"), ["x/z.txt", "y"]);
}

/// Runs as another user than root, who may read everything.
fn as_nobody(project: &Project) -> bool {
    let status =
        std::process::Command::new("chown").arg("-R").arg("65534:65534").arg(project.root()).status();
    let tried = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "true"])
        .status();
    status.is_ok_and(|s| s.success()) && tried.is_ok_and(|s| s.success())
}

#[test]
fn a_file_that_cannot_be_read_fails_alone_and_is_never_taken_for_gone() {
    use std::os::unix::fs::PermissionsExt;
    // The interpreter of other tests may lie where another user cannot go.
    let project = project().env("PIPE_PYTHON", "");
    for name in ["a", "b", "c", "folder/d", "folder/e"] {
        project.write(&format!("docs/{name}.txt"), name);
    }
    let is_root = rustix::process::geteuid().is_root();
    if is_root && !as_nobody(&project) {
        eprintln!("skipped: as root everything can be read, and there is no setpriv");
        return;
    }
    let mode = |name: &str, mode: u32| {
        let path = project.root().join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("", 0o777);
    let build = || {
        let output = if is_root {
            let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
            project.command_through(&words, &["build", "--json"]).output().unwrap()
        } else {
            project.command(&["build", "--json"]).output().unwrap()
        };
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, text) = build();
    if text.is_empty() {
        eprintln!("skipped: another user cannot run the program");
        return;
    }
    assert_eq!(status, 0, "{text}");
    assert_eq!(project.names("out").len(), 5);
    // One new one and one known one that cannot be read, and a folder that cannot be listed.
    project.write("docs/new.txt", "new");
    project.write("docs/b.txt", "b was edited");
    mode("docs/new.txt", 0o000);
    mode("docs/b.txt", 0o000);
    mode("docs/folder", 0o000);
    let (status, text) = build();
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("unreadable"), "{text}");
    assert!(text.contains("docs/folder"), "{text}");
    assert_eq!(project.names("out").len(), 5, "what was published stays: {text}");
    mode("docs/new.txt", 0o644);
    mode("docs/b.txt", 0o644);
    mode("docs/folder", 0o755);
    let (status, text) = build();
    assert_eq!(status, 0, "{text}");
    assert_eq!(project.names("out").len(), 6);
    assert_eq!(project.read("out/b.txt"), "b was edited");
}

/// The first document waits in its module, so that others can change after the scan.
fn holding() -> Project {
    let project = Project::new().file("Pipelinefile", PIPELINEFILE).counted(
        "passes",
        "
        @module
        def passes(doc):
            data = doc.bytes()
            name = ran('passes', data[:40])
            if name == 'a':
                hold('a')
            if name == 'change':
                # By path: what is behind it may be another file by now.
                hold('change')
                data = doc.path.read_bytes()
            return data
        ",
    );
    let text = project.read("Pipelinefile").replace("[target.pass]", "[target.pass]\nworkers = 1");
    project.write("Pipelinefile", text);
    project
}

#[test]
fn a_file_that_goes_after_the_scan_is_gone() {
    let project = holding();
    // More than are read ahead.
    for n in 0..3000 {
        project.write(&format!("docs/z{n:04}.txt"), format!("z{n:04}"));
    }
    project.write("docs/a.txt", "a");
    let running = project.start(&["build"]);
    project.wait_for_file("here-a");
    project.clear("docs/z2999.txt");
    project.clear("docs/z2998.txt");
    project.write("docs/z2997.txt", "later content");
    project.clear("docs/z2996.txt");
    project.write("docs/z2996.txt/inside.txt", "a folder now");
    project.write("go-a", "");
    let ended = running.end();
    assert!(ended.named("done").len() >= 2998, "{}", ended.stderr);
    let names = project.names("out");
    assert!(!names.contains(&"z2999.txt".to_owned()) && !names.contains(&"z2998.txt".to_owned()));
    assert_eq!(project.read("out/z2997.txt"), "later content");
    drop(project.build().ends(0));
    assert_eq!(project.names("out").len(), 2999);
    assert_eq!(project.read("out/z2996.txt/inside.txt"), "a folder now");
}

#[test]
fn a_result_belongs_to_the_bytes_that_its_module_read() {
    let project = holding();
    let content = |n: u32| format!("change {n} {}", "x".repeat(40_000));
    project.write("docs/big.txt", content(1));
    let running = project.start(&["build"]);
    project.wait_for_file("here-change");
    project.write("docs/big.txt", content(2));
    project.write("go-change", "");
    let ended = running.end().ends(0);
    assert_eq!(project.read("out/big.txt"), content(2));
    assert_eq!(ended.named("done"), ["pass docs/big.txt"]);
    // The old bytes have no result: the module never answered for them.
    project.take_counts("passes");
    project.write("docs/big.txt", content(1));
    drop(project.build().ends(0));
    assert_eq!(project.read("out/big.txt"), content(1));
    assert_eq!(project.counts("passes").len(), 1);
}

#[test]
fn a_file_that_never_holds_still_gets_no_wrong_result() {
    // The module itself changes its document each time it reads it, as a program that writes all the time would.
    let project = Project::new().file("Pipelinefile", PIPELINEFILE).counted(
        "passes",
        "
        @module
        def passes(doc):
            data = doc.bytes()
            ran('passes', data[:40])
            if data.startswith(b'change') and not os.path.exists('still'):
                n = int(data.split()[1]) + 1
                with open('docs/big.txt', 'w') as file:
                    file.write(f'change {n} ' + 'x' * 40_000)
                data = doc.path.read_bytes()
            return data
        ",
    );
    project.write("docs/big.txt", format!("change 1 {}", "x".repeat(40_000)));
    project.write("docs/other.txt", "other");
    let ended = project.build().ends(1);
    assert_eq!(project.names("out"), ["other.txt"], "{}", ended.text());
    project.write("still", "");
    drop(project.build().ends(0));
    assert_eq!(project.read("out/big.txt"), project.read("docs/big.txt"));
    // No record answers for bytes that it was not made from.
    for n in 1..5 {
        let text = format!("change {n} {}", "x".repeat(40_000));
        project.write("docs/big.txt", &text);
        drop(project.build().ends(0));
        assert!(project.read("out/big.txt") == text, "version {n}");
    }
}
