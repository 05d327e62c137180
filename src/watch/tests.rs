//! Watching real folders.

use super::*;
use std::time::Duration;

fn ground(top: &Path) -> Ground {
    Ground {
        trees: vec![top.to_owned()],
        folders: Vec::new(),
        enters: Box::new(|path| !path.ends_with(".git")),
        concerns: Box::new(|_, _| true),
    }
}

/// What is told until a path is.
fn until(watch: &Watch, wanted: &Path) -> Batch {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut all = Batch::default();
    while Instant::now() < deadline {
        match watch.next(Instant::now()) {
            Next::Due(batch) => {
                all.everything |= batch.everything;
                all.paths.extend(batch.paths);
                if all.everything || all.paths.contains(wanted) {
                    return all;
                }
            }
            Next::At(at) => std::thread::park_timeout(at.saturating_duration_since(Instant::now())),
            Next::Nothing => std::thread::park_timeout(Duration::from_secs(1)),
        }
    }
    panic!("nobody told of {}: {all:?}", wanted.display());
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().canonicalize().unwrap().join("top");
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::create_dir_all(top.join(".git")).unwrap();
    (dir, top)
}

#[test]
fn files_are_told_in_every_folder_that_is_entered() {
    let (_dir, top) = folder();
    let watch = Watch::start(ground(&top), std::thread::current()).unwrap();
    std::fs::File::create(top.join(".git/x")).unwrap();
    std::fs::File::create(top.join("a/b/c")).unwrap();
    let told = until(&watch, &top.join("a/b/c"));
    assert_eq!(told.paths, BTreeSet::from([top.join("a/b/c")]));
}

#[test]
fn folders_that_come_are_watched_too_by_their_present_name() {
    let (_dir, top) = folder();
    let watch = Watch::start(ground(&top), std::thread::current()).unwrap();
    std::fs::create_dir_all(top.join("new/deep")).unwrap();
    until(&watch, &top.join("new"));
    std::fs::File::create(top.join("new/deep/x")).unwrap();
    until(&watch, &top.join("new/deep/x"));
    std::fs::rename(top.join("new"), top.join("a/old")).unwrap();
    let told = until(&watch, &top.join("a/old"));
    assert!(told.paths.contains(&top.join("new")));
    std::fs::File::create(top.join("a/old/deep/y")).unwrap();
    let told = until(&watch, &top.join("a/old/deep/y"));
    assert!(!told.paths.iter().any(|path| path.starts_with(top.join("new"))), "{told:?}");
}

#[test]
fn a_top_that_goes_and_comes_back_is_told_and_watched_again() {
    let (_dir, top) = folder();
    let watch = Watch::start(ground(&top), std::thread::current()).unwrap();
    std::fs::rename(&top, top.with_file_name("away")).unwrap();
    until(&watch, &top);
    std::fs::rename(top.with_file_name("away"), &top).unwrap();
    until(&watch, &top);
    std::fs::File::create(top.join("a/x")).unwrap();
    until(&watch, &top.join("a/x"));
}

#[test]
fn a_top_that_is_not_there_yet_is_watched_when_it_comes() {
    let (_dir, top) = folder();
    let deep = top.join("not/yet");
    let watch = Watch::start(ground(&deep), std::thread::current()).unwrap();
    std::fs::create_dir_all(deep.join("a")).unwrap();
    until(&watch, &deep);
    std::fs::File::create(deep.join("a/x")).unwrap();
    until(&watch, &deep.join("a/x"));
}

#[test]
fn a_folder_alone_tells_nothing_of_what_lies_deeper() {
    let (_dir, top) = folder();
    let ground = Ground { trees: Vec::new(), folders: vec![top.clone()], ..ground(&top) };
    let watch = Watch::start(ground, std::thread::current()).unwrap();
    std::fs::File::create(top.join("a/deeper")).unwrap();
    std::fs::File::create(top.join("here")).unwrap();
    assert_eq!(until(&watch, &top.join("here")).paths, BTreeSet::from([top.join("here")]));
}
