//! Scans and readings of real folders.

mod limited;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, mkfifoat};

use super::differences::join;
use super::*;
use crate::hash::Digest;
use crate::model::document::escape_name;
use crate::model::pipeline::{Source, SourcePath};

const SALT: u64 = 7;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Tree(tempfile::tempdir().unwrap());
        for file in files {
            tree.write(file, file);
        }
        tree
    }

    fn path(&self, rel: &str) -> PathBuf {
        self.0.path().join(rel)
    }

    fn write(&self, rel: &str, text: &str) {
        std::fs::create_dir_all(self.path(rel).parent().unwrap()).unwrap();
        std::fs::File::create(self.path(rel)).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn remove(&self, rel: &str) {
        std::fs::remove_file(self.path(rel)).unwrap();
    }

    fn link(&self, target: &str, rel: &str) {
        symlink(target, self.path(rel)).unwrap();
    }

    fn roots(&self, written: &[&str]) -> Roots {
        let path = |written: &&str| SourcePath { written: (*written).to_owned(), path: self.path(written) };
        Roots::open(&Source {
            name: "s".to_owned(),
            paths: written.iter().map(path).collect(),
            include: Vec::new(),
            exclude: Vec::new(),
            rows: None,
            project: None,
        })
    }
}

#[derive(Default)]
struct Memory(BTreeMap<String, BTreeMap<String, Known>>);

impl Memory {
    /// Reads the source and keeps what it is now.
    fn of(roots: &Roots) -> Self {
        let mut memory = Memory::default();
        memory.learn(roots, &Look::new(roots).scan());
        memory
    }

    /// Brings it up to date with a scan.
    fn learn(&mut self, roots: &Roots, scan: &Scan) {
        for (i, found) in scan.found.iter().enumerate() {
            let dir = self.0.entry(found.dir.to_string()).or_default();
            match (&found.kind, restamp(roots, &found.rel(), SALT)) {
                (Kind::Gone(_), _) | (_, None) => drop(dir.remove(&*found.name)),
                (_, Some(stamp)) => drop(dir.insert(
                    found.name.to_string(),
                    Known {
                        name: found.name.to_string(),
                        stamp,
                        number: DocNumber(i as u32),
                        trusted: true,
                        extra: 0,
                        tag: 1,
                    },
                )),
            }
        }
        self.0.retain(|_, dir| !dir.is_empty());
    }
}

impl Before for Memory {
    fn directory(&self, _: &str, dir: &str) -> Result<Vec<Known>> {
        Ok(self.0.get(dir).map_or_else(Vec::new, |dir| dir.values().cloned().collect()))
    }

    fn directories(&self, _: &str) -> Result<Vec<String>> {
        Ok(self.0.keys().cloned().collect())
    }

    fn documents(&self, _: &str) -> Result<u64> {
        Ok(self.0.values().map(|dir| dir.len() as u64).sum())
    }
}

fn hidden(rel: &str) -> bool {
    rel.rsplit('/').next().is_some_and(|name| name.starts_with('.'))
}

/// A scan with the usual settings.
struct Look<'a> {
    roots: &'a Roots,
    before: &'a dyn Before,
    accept: &'a (dyn Fn(&str) -> bool + Sync),
    prune: &'a (dyn Fn(&str) -> bool + Sync),
    same_rules: bool,
    tag: u64,
    changes: Option<&'a Changes>,
    threads: usize,
}

impl<'a> Look<'a> {
    fn new(roots: &'a Roots) -> Self {
        Look {
            roots,
            before: &Nothing,
            accept: &|rel| !hidden(rel),
            prune: &hidden,
            same_rules: true,
            tag: 1,
            changes: None,
            threads: 2,
        }
    }

    fn after(roots: &'a Roots, before: &'a dyn Before) -> Self {
        Look { before, ..Look::new(roots) }
    }

    fn try_scan(&self) -> Result<Scan> {
        let (cancel, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        let scan = scan(&Request {
            source: "s",
            roots: self.roots,
            salt: SALT,
            before: self.before,
            is_current: &|tag| tag == self.tag,
            accept: self.accept,
            prune: self.prune,
            same_rules: self.same_rules,
            threads: self.threads,
            changes: self.changes,
            cancel: &cancel,
            seen: &seen,
        })?;
        assert!(self.changes.is_some() || seen.into_inner() == scan.counts.present());
        Ok(scan)
    }

    fn scan(&self) -> Scan {
        self.try_scan().unwrap()
    }
}

/// `+a` new, `~a` changed, `?a` untrusted, `-a` gone.
fn shown(scan: &Scan) -> Vec<String> {
    let sign = |kind: &Kind| match kind {
        Kind::New => '+',
        Kind::Changed(_) => '~',
        Kind::Untrusted(_) => '?',
        Kind::Gone(_) => '-',
    };
    scan.found.iter().map(|found| format!("{}{}", sign(&found.kind), found.rel())).collect()
}

fn ignored(scan: &Scan) -> Vec<&str> {
    assert_eq!(scan.ignored.count, scan.ignored.examples.len() as u64);
    scan.ignored.examples.iter().map(|problem| problem.rel.as_str()).collect()
}

/// Without the right to read everything that root has; on a thread of its own.
fn without_privileges<R: Send>(act: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective = rustix::thread::CapabilitySet::empty();
            rustix::thread::set_capabilities(None, sets).unwrap();
            act()
        });
        thread.join().unwrap()
    })
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_first_scan_finds_everything_but_what_is_hidden_in_order_of_ids() {
    let tree = Tree::new(&["b.md", "a/x.md", "a-b.md", ".git/x", "a/.hidden", "a/b/c/d.md", "a0.md"]);
    let scan = Look::new(&tree.roots(&["."])).scan();
    assert_eq!(shown(&scan), ["+a-b.md", "+a/b/c/d.md", "+a/x.md", "+a0.md", "+b.md"]);
    assert_eq!(scan.counts, Counts { new: 5, ..Counts::default() });
}

#[test]
fn a_second_scan_of_the_same_finds_nothing() {
    let tree = Tree::new(&["b.md", "a/x.md", "a/b/c/d#1.md"]);
    let roots = tree.roots(&["."]);
    let scan = Look::after(&roots, &Memory::of(&roots)).scan();
    assert!(scan.found.is_empty(), "{:?}", shown(&scan));
    assert_eq!(scan.counts, Counts { current: 3, ..Counts::default() });
    assert_eq!(scan.guard(), None);
}

#[test]
fn what_came_went_and_changed_is_told_apart() {
    let tree = Tree::new(&["same", "changed", "gone", "dir/gone", "dir/deep/gone", "dir2/same"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    tree.write("changed", "longer than before");
    tree.write("new", "");
    tree.write("dir2/new", "");
    tree.remove("gone");
    std::fs::remove_dir_all(tree.path("dir")).unwrap();
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!(shown(&scan), ["~changed", "-dir/deep/gone", "-dir/gone", "+dir2/new", "-gone", "+new"]);
    assert_eq!(scan.counts, Counts { new: 2, changed: 1, untrusted: 0, gone: 3, current: 2 });
    assert_eq!(scan.known, 6);
}

#[test]
fn a_stamp_that_proves_nothing_asks_for_a_look() {
    let tree = Tree::new(&["a", "b"]);
    let roots = tree.roots(&["."]);
    let mut memory = Memory::of(&roots);
    memory.0.get_mut("").unwrap().get_mut("a").unwrap().trusted = false;
    assert_eq!(shown(&Look::after(&roots, &memory).scan()), ["?a"]);
    assert_eq!(shown(&Look { tag: 2, ..Look::after(&roots, &memory) }.scan()), ["?a", "?b"]);
}

#[test]
fn an_edit_with_the_old_size_and_mtime_is_seen() {
    let tree = Tree::new(&["a"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    let modified = std::fs::metadata(tree.path("a")).unwrap().modified().unwrap();
    tree.write("b", "z");
    std::fs::File::options().write(true).open(tree.path("b")).unwrap().set_modified(modified).unwrap();
    std::fs::rename(tree.path("b"), tree.path("a")).unwrap();
    assert_eq!(shown(&Look::after(&roots, &memory).scan()), ["~a"]);
}

#[test]
fn a_file_that_becomes_a_folder_is_gone_and_back_again_new() {
    let tree = Tree::new(&["a", "b"]);
    let roots = tree.roots(&["."]);
    let mut memory = Memory::of(&roots);
    tree.remove("a");
    tree.write("a/x", "");
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!(shown(&scan), ["-a", "+a/x"]);
    memory.learn(&roots, &scan);
    std::fs::remove_dir_all(tree.path("a")).unwrap();
    tree.write("a", "");
    assert_eq!(shown(&Look::after(&roots, &memory).scan()), ["+a", "-a/x"]);
}

#[test]
fn rules_are_asked_again_about_known_files_only_when_they_changed() {
    let tree = Tree::new(&["a.md", "b.txt", "c/d.md"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    let look = Look { accept: &|rel| rel != "b.txt", ..Look::after(&roots, &memory) };
    assert!(look.scan().found.is_empty());
    assert_eq!(shown(&Look { same_rules: false, ..look }.scan()), ["-b.txt"]);
    let prune = |dir: &str| dir == "c";
    assert_eq!(shown(&Look { prune: &prune, ..Look::after(&roots, &memory) }.scan()), ["-c/d.md"]);
}

#[test]
fn names_that_are_no_text_keep_apart_and_can_be_read() {
    let tree = Tree::new(&[]);
    let names: BTreeSet<OsString> =
        (1..=255).filter(|byte| *byte != b'/').map(|byte| OsString::from_vec(vec![b'x', byte])).collect();
    for name in &names {
        std::fs::File::create(tree.0.path().join(name)).unwrap().write_all(name.as_bytes()).unwrap();
    }
    let roots = tree.roots(&["."]);
    let scan = Look::new(&roots).scan();
    let rels: Vec<String> = scan.found.iter().map(|found| found.rel()).collect();
    assert!(rels.is_sorted());
    let expected: BTreeSet<String> = names.iter().map(|name| escape_name(name).into_owned()).collect();
    assert_eq!(rels.iter().cloned().collect::<BTreeSet<_>>(), expected);
    let reader = Reader::new(SALT).unwrap();
    for name in &names {
        let ReadOutcome::Read(reading) = reader.read(&roots, &escape_name(name), Ask::default()) else {
            panic!("{name:?}")
        };
        assert_eq!(reading.digest, Digest::of(name.as_bytes()));
    }
    assert!(Look::after(&roots, &Memory::of(&roots)).scan().found.is_empty());
}

#[test]
fn links_inside_the_source_are_documents_and_others_are_ignored() {
    let tree = Tree::new(&["docs/a", "docs/sub/b", "outside/c"]);
    tree.link("a", "docs/link");
    tree.link("../outside/c", "docs/out");
    tree.link("../outside", "docs/out-dir");
    tree.link("nowhere", "docs/dangling");
    tree.link("user@host:1", "docs/.#lock");
    tree.link("circle2", "docs/circle1");
    tree.link("circle1", "docs/circle2");
    let roots = tree.roots(&["docs"]);
    let scan = Look::new(&roots).scan();
    assert_eq!(shown(&scan), ["+a", "+link", "+sub/b"]);
    assert_eq!(ignored(&scan), ["circle1", "circle2", "dangling", "out", "out-dir"]);
    assert_eq!(Look::after(&roots, &Memory::of(&roots)).scan().counts.current, 3);

    let reader = Reader::new(SALT).unwrap();
    let read = |rel| reader.read(&roots, rel, Ask::default());
    let ReadOutcome::Read(link) = read("link") else { panic!() };
    let ReadOutcome::Read(file) = read("a") else { panic!() };
    assert_eq!((link.digest, Some(link.stamp)), (file.digest, restamp(&roots, "link", SALT)));
    assert_eq!(read("out"), ReadOutcome::Special);
    assert_eq!(read("dangling"), ReadOutcome::Vanished);
}

#[test]
fn a_link_that_comes_to_lead_elsewhere_is_seen() {
    let tree = Tree::new(&["docs/a", "docs/b", "c"]);
    tree.link("a", "docs/link");
    let roots = tree.roots(&["docs"]);
    let memory = Memory::of(&roots);
    tree.remove("docs/link");
    tree.link("b", "docs/link");
    assert_eq!(shown(&Look::after(&roots, &memory).scan()), ["~link"]);
    tree.remove("docs/link");
    tree.link("../c", "docs/link");
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!((shown(&scan), ignored(&scan)), (vec!["-link".to_owned()], vec!["link"]));
}

#[test]
fn links_to_folders_are_followed_and_loops_end() {
    let tree = Tree::new(&["a/x", "b/y"]);
    tree.link("..", "a/up");
    tree.link(".", "self");
    tree.link("../b", "a/other");
    tree.link("../a", "b/other");
    let roots = tree.roots(&["."]);
    let scan = Look::new(&roots).scan();
    assert_eq!(shown(&scan), ["+a/other/y", "+a/x", "+b/other/x", "+b/y"]);
    assert_eq!(ignored(&scan), ["a/other/other", "a/up", "b/other/other", "b/other/up", "self"]);
    let reader = Reader::new(SALT).unwrap();
    assert!(matches!(reader.read(&roots, "a/other/y", Ask::default()), ReadOutcome::Read(_)));
}

#[test]
fn fifos_sockets_and_devices_are_never_opened() {
    let tree = Tree::new(&["a", "was"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    tree.remove("was");
    for name in ["fifo", "was", ".hidden-fifo"] {
        mkfifoat(CWD, tree.path(name), Mode::RWXU).unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(tree.path("socket")).unwrap();
    tree.link("/dev/null", "null");
    tree.link("fifo", "link");
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!(shown(&scan), ["-was"]);
    assert_eq!(ignored(&scan), ["fifo", "link", "null", "socket", "was"]);
    let reader = Reader::new(SALT).unwrap();
    for name in ["fifo", "socket", "link", "null", ""] {
        assert_eq!(reader.read(&roots, name, Ask::default()), ReadOutcome::Special, "{name}");
    }
}

#[test]
fn an_unreadable_folder_counts_as_unchanged_with_all_below() {
    let tree = Tree::new(&["a/x", "a/b/y", "a0", "c", "open/z"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    tree.remove("c");
    set_mode(&tree.path("a"), 0);
    let scan = without_privileges(|| Look::after(&roots, &memory).scan());
    set_mode(&tree.path("a"), 0o755);
    assert_eq!(shown(&scan), ["-c"]);
    let problem = Problem { rel: "a".into(), text: "cannot read the folder: permission denied".into() };
    assert_eq!(scan.unreadable, [problem]);
}

#[test]
fn files_of_a_folder_that_may_only_be_listed_are_not_gone() {
    let tree = Tree::new(&["a/x", "b"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    set_mode(&tree.path("a"), 0o444);
    let scan = without_privileges(|| Look::after(&roots, &memory).scan());
    set_mode(&tree.path("a"), 0o755);
    assert!(scan.found.is_empty());
    assert_eq!(scan.unreadable[0].rel, "a/x");
}

#[test]
fn an_unreadable_source_loses_nothing_and_an_unreadable_file_says_so_when_read() {
    let tree = Tree::new(&["closed/docs/x", "open/y"]);
    let memory = Memory::of(&tree.roots(&["closed/docs", "open"]));
    set_mode(&tree.path("closed"), 0);
    set_mode(&tree.path("open/y"), 0);
    let (scan, read) = without_privileges(|| {
        let roots = tree.roots(&["closed/docs", "open"]);
        let reader = Reader::new(SALT).unwrap();
        (Look::after(&roots, &memory).scan(), reader.read(&roots, "open/y", Ask::default()))
    });
    set_mode(&tree.path("closed"), 0o755);
    assert_eq!((shown(&scan), scan.unreadable[0].rel.as_str()), (vec!["~open/y".to_owned()], "closed/docs"));
    assert_eq!(scan.guard(), None);
    assert_eq!(read, ReadOutcome::Unreadable("permission denied".into()));
}

#[test]
fn several_paths_lead_with_what_was_written_and_none_is_walked_twice() {
    let tree = Tree::new(&["docs/a", "docs/sub/b", "docs/.h/c", "more/d", "e"]);
    let written = ["docs", "docs/sub", "./docs/", "docs/a", "docs/.h/c", "more", "e"];
    let roots = tree.roots(&written);
    let scan = Look::new(&roots).scan();
    assert_eq!(shown(&scan), ["+docs/.h/c", "+docs/a", "+docs/sub/b", "+e", "+more/d"]);
    let memory = Memory::of(&roots);
    assert!(Look::after(&roots, &memory).scan().found.is_empty());
    tree.remove("docs/.h/c");
    let roots = tree.roots(&written);
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!(shown(&scan), ["-docs/.h/c"]);
    assert_eq!(scan.missing, ["docs/.h/c"]);
}

#[test]
fn one_file_is_a_document_by_its_name_whatever_the_rules() {
    let tree = Tree::new(&["docs/.a.md", "docs/b.md"]);
    let roots = tree.roots(&["docs/.a.md"]);
    assert_eq!(shown(&Look::new(&roots).scan()), ["+.a.md"]);
    let memory = Memory::of(&roots);
    assert!(Look::after(&roots, &memory).scan().found.is_empty());
    tree.write("docs/.a.md", "longer than before");
    assert_eq!(shown(&Look::after(&roots, &memory).scan()), ["~.a.md"]);
}

#[test]
fn a_missing_source_stops_the_build_before_anything_is_retired() {
    let tree = Tree::new(&["docs/a", "docs/b"]);
    let memory = Memory::of(&tree.roots(&["docs"]));
    std::fs::rename(tree.path("docs"), tree.path("moved")).unwrap();
    let roots = tree.roots(&["docs"]);
    let scan = Look::after(&roots, &memory).scan();
    assert_eq!(shown(&scan), ["-a", "-b"]);
    let error = Error::from(scan.guard().unwrap());
    assert_eq!(error.to_string(), "source `s`: `docs` does not exist: 2 of 2 documents would be gone");
    assert_eq!(error.kind.exit_code(), 3);
    assert!(error.hints.iter().any(|hint| hint.contains("pipe build --gone")));
}

#[test]
fn losing_over_half_of_the_documents_stops_the_build() {
    let tree = Tree::new(&["a", "b", "c", "d"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    tree.remove("a");
    tree.remove("b");
    assert_eq!(Look::after(&roots, &memory).scan().guard(), None);
    tree.remove("c");
    let stop = Look::after(&roots, &memory).scan().guard().unwrap();
    assert_eq!((stop.gone, stop.known), (3, 4));
    assert!(Error::from(stop).to_string().contains("3 of 4 documents are gone"));
}

#[test]
fn the_only_document_is_over_half_of_them() {
    let tree = Tree::new(&["a"]);
    let roots = tree.roots(&["."]);
    let memory = Memory::of(&roots);
    tree.remove("a");
    let stop = Look::after(&roots, &memory).scan().guard().unwrap();
    assert_eq!((stop.gone, stop.known), (1, 1));
    // Another name is no missing disk.
    tree.write("b", "b");
    assert_eq!(Look::after(&roots, &memory).scan().guard(), None);
}

#[test]
fn a_very_deep_tree_is_walked_and_read() {
    let tree = Tree::new(&[]);
    let mut directory = files::open_directory(tree.0.path()).unwrap();
    let mut rel = String::new();
    for _ in 0..700 {
        let name = "a-deep-folder";
        rustix::fs::mkdirat(&directory, name, Mode::RWXU).unwrap();
        rel = join(&rel, name);
        directory = files::open_directory(&tree.path(&rel)).unwrap();
    }
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    drop(rustix::fs::openat(&directory, "file", flags, Mode::RWXU).unwrap());
    let roots = tree.roots(&["."]);
    let found: Vec<Found> = Look::new(&roots).scan().found.iter().collect();
    assert_eq!(found[0].rel(), join(&rel, "file"));
    let reader = Reader::new(SALT).unwrap();
    assert!(matches!(reader.read(&roots, &found[0].rel(), Ask::default()), ReadOutcome::Read(_)));
}

#[test]
fn an_error_or_a_panic_of_what_was_known_ends_every_thread() {
    struct Broken(bool);
    impl Before for Broken {
        fn directory(&self, _: &str, dir: &str) -> Result<Vec<Known>> {
            assert!(!self.0, "on purpose");
            if dir.is_empty() { Ok(Vec::new()) } else { Err(Error::unfinished("a damaged page")) }
        }
        fn directories(&self, _: &str) -> Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn documents(&self, _: &str) -> Result<u64> {
            Ok(1)
        }
    }
    let tree = Tree::new(&["a/x", "b/y", "c/z"]);
    let roots = tree.roots(&["."]);
    let look = Look { threads: 4, ..Look::after(&roots, &Broken(false)) };
    assert_eq!(look.try_scan().unwrap_err().to_string(), "a damaged page");
    let panics = || Look { threads: 4, ..Look::after(&roots, &Broken(true)) }.try_scan();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
}

#[test]
fn a_cancelled_scan_is_no_scan() {
    let tree = Tree::new(&["a"]);
    let roots = tree.roots(&["."]);
    let request = Request {
        source: "s",
        roots: &roots,
        salt: SALT,
        before: &Nothing,
        is_current: &|_| true,
        accept: &|_| true,
        prune: &|_| false,
        same_rules: true,
        threads: 2,
        changes: None,
        cancel: &AtomicBool::new(true),
        seen: &AtomicU64::new(0),
    };
    assert!(scan(&request).unwrap_err().to_string().contains("interrupted"));
}

#[test]
fn a_reading_holds_digest_length_bytes_and_kind_of_one_moment() {
    let tree = Tree::new(&[]);
    let large = "0123456789abcdef".repeat(40_000);
    tree.write("small.txt", "text");
    tree.write("large.html", &large);
    tree.write("empty", "");
    let roots = Arc::new(tree.roots(&["."]));
    let reader = Reader::new(SALT).unwrap();
    let ask = Ask { keep: 32 * 1024, mime: true };
    for (rel, text, mime) in [
        ("small.txt", "text", "text/plain"),
        ("large.html", &large, "text/html"),
        ("empty", "", "text/plain"),
    ] {
        let ReadOutcome::Read(reading) = reader.read(&roots, rel, ask) else { panic!("{rel}") };
        assert_eq!(reading.digest, Digest::of(text.as_bytes()));
        assert_eq!(reading.length, text.len() as u64);
        assert_eq!(reading.bytes.as_deref(), (text.len() < 32 * 1024).then_some(text.as_bytes()));
        assert_eq!(reading.mime, Some(mime));
        assert_eq!(Some(reading.stamp), restamp(&roots, rel, SALT));
    }
    assert_eq!(reader.read(&roots, "no", ask), ReadOutcome::Vanished);
    assert_eq!(restamp(&roots, "no", SALT), None);

    let (send, receive) = mpsc::channel();
    let names = ["small.txt", "empty", "large.html", "no"];
    let files = (0..100).map(|i| (i, Arc::clone(&roots), names[i % 4].to_owned())).collect();
    reader.submit(files, ask, move |outcomes| send.send(outcomes).unwrap());
    let outcomes: BTreeMap<usize, ReadOutcome> = receive.iter().flatten().collect();
    assert_eq!(outcomes.len(), 100);
    // Whether a file is so new that its stamp proves nothing is another thing a moment later.
    let at_any_time = |outcome| match outcome {
        ReadOutcome::Read(reading) => ReadOutcome::Read(Reading { racy: false, ..reading }),
        other => other,
    };
    for (i, outcome) in outcomes {
        let again = reader.read(&roots, names[i % 4], ask);
        assert_eq!(at_any_time(outcome), at_any_time(again));
    }
}

#[test]
fn a_file_from_the_future_is_racy_and_an_old_one_is_not() {
    let tree = Tree::new(&["future"]);
    let ahead = std::time::UNIX_EPOCH + std::time::Duration::from_secs(20_000_000_000);
    std::fs::File::options().write(true).open(tree.path("future")).unwrap().set_modified(ahead).unwrap();
    let reader = Reader::new(SALT).unwrap();
    let racy = |roots: &Roots, rel: &str| match reader.read(roots, rel, Ask::default()) {
        ReadOutcome::Read(reading) => reading.racy,
        outcome => panic!("{outcome:?}"),
    };
    let roots = tree.roots(&["."]);
    assert!(racy(&roots, "future"));
    // This source file was changed before it was compiled.
    let own = Tree(tempfile::tempdir().unwrap());
    own.link(concat!(env!("CARGO_MANIFEST_DIR"), "/src"), "src");
    assert!(!racy(&own.roots(&["src"]), "lib.rs"));
}

#[test]
fn a_file_whose_length_is_a_lie_is_not_believed() {
    // Files of /proc say that they are empty, and are not.
    let source = Source {
        name: "s".into(),
        paths: vec![SourcePath { written: "self".into(), path: "/proc/self".into() }],
        include: Vec::new(),
        exclude: Vec::new(),
        rows: None,
        project: None,
    };
    let reader = Reader::new(SALT).unwrap();
    assert_eq!(reader.read(&Roots::open(&source), "status", Ask::default()), ReadOutcome::Changing);
}

/// Sets a flag when it goes, also when an assertion fails: whoever waits for it must not wait for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_file_that_is_written_all_the_time_is_read_right_once_it_rests() {
    let tree = Tree::new(&[]);
    let contents = ["a".repeat(300_000), "b".repeat(300_000)];
    tree.write("file", &contents[0]);
    let digests: Vec<Digest> = contents.iter().map(|text| Digest::of(text.as_bytes())).collect();
    let stop = AtomicBool::new(false);
    let roots = tree.roots(&["."]);
    let reader = Reader::new(SALT).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::os::unix::fs::FileExt;
            use std::sync::atomic::Ordering;
            let file = std::fs::File::options().write(true).open(tree.path("file")).unwrap();
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                turn = 1 - turn;
                file.write_all_at(contents[turn].as_bytes(), 0).unwrap();
            }
        });
        let _stopped = SetAtEnd(&stop);
        for _ in 0..200 {
            // A writer that the system puts to sleep within one `write` hides a mix from any stamp, however long it
            // sleeps: the stamp was set when the write began. So nothing is claimed of these but that they end.
            let outcome = reader.read(&roots, "file", Ask::default());
            assert!(matches!(outcome, ReadOutcome::Read(_) | ReadOutcome::Changing), "{outcome:?}");
        }
    });
    let ReadOutcome::Read(reading) = reader.read(&roots, "file", Ask::default()) else { panic!("it rests") };
    assert!(digests.contains(&reading.digest));
}

/// Every file below, links not followed, hidden parts left out, in byte order.
fn naive(root: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(root).min_depth(1).into_iter();
    let seen = walk.filter_entry(|entry| !entry.file_name().as_bytes().starts_with(b"."));
    let files = seen.map(std::result::Result::unwrap).filter(|entry| entry.file_type().is_file());
    let rel = |entry: walkdir::DirEntry| {
        let parts = entry.path().strip_prefix(root).unwrap().components();
        parts.fold(String::new(), |dir, part| join(&dir, &escape_name(part.as_os_str())))
    };
    let mut rels: Vec<String> = files.map(rel).collect();
    rels.sort();
    rels
}

fn paths() -> impl Strategy<Value = BTreeSet<Vec<Vec<u8>>>> {
    let letter = prop::sample::select(vec![b'a', b'b', b'-', b'0', b'%', b'.', 0xff, b'\n']);
    let name =
        prop::collection::vec(letter, 1..3).prop_filter("a name", |name| name != b"." && name != b"..");
    prop::collection::btree_set(prop::collection::vec(name, 1..4), 0..25)
}

fn make(root: &Path, paths: &BTreeSet<Vec<Vec<u8>>>) {
    for path in paths {
        let file = path.iter().fold(root.to_owned(), |dir, part| dir.join(OsStr::from_bytes(part)));
        // A name that is taken by a file already cannot become a folder: left out.
        if std::fs::create_dir_all(file.parent().unwrap()).is_ok() {
            drop(std::fs::File::create(file));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_scan_finds_what_a_plain_walk_finds(paths in paths(), threads in 1usize..5) {
        let tree = Tree::new(&[]);
        make(tree.0.path(), &paths);
        let roots = tree.roots(&["."]);
        let scan = Look { threads, ..Look::new(&roots) }.scan();
        let rels: Vec<String> = scan.found.iter().map(|found| found.rel()).collect();
        prop_assert_eq!(&rels, &naive(tree.0.path()));
        let again = Look { threads, ..Look::after(&roots, &Memory::of(&roots)) }.scan();
        prop_assert!(again.found.is_empty());
        prop_assert_eq!(again.counts.current, rels.len() as u64);
    }

    #[test]
    fn what_differs_between_two_trees_is_found(old in paths(), new in paths()) {
        let tree = Tree::new(&[]);
        let roots = tree.roots(&["."]);
        make(tree.0.path(), &old);
        let mut memory = Memory::of(&roots);
        let before: BTreeSet<String> = naive(tree.0.path()).into_iter().collect();
        for entry in std::fs::read_dir(tree.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
        }
        make(tree.0.path(), &new);
        let after: BTreeSet<String> = naive(tree.0.path()).into_iter().collect();
        let scan = Look::after(&roots, &memory).scan();
        prop_assert_eq!(scan.counts.gone, before.difference(&after).count() as u64);
        prop_assert_eq!(scan.counts.new, after.difference(&before).count() as u64);
        prop_assert!(scan.found.iter().map(|found| found.rel()).is_sorted());
        memory.learn(&roots, &scan);
        prop_assert!(Look::after(&roots, &memory).scan().found.is_empty());
    }
}
