//! Every property of `fuzz/properties` over the seeds of the repository, what once failed, and mutations of both.
//!
//! `PIPE_TEST_FUZZ=1000000 cargo test --release --test fuzz` for as many mutations of each (default 2,000); they are the
//! same every time. `fuzz/README.md` tells of libFuzzer, which finds more.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "tests make and read their own files")]

mod mutate;
#[path = "../../fuzz/properties/mod.rs"]
mod properties;
/// The seeds, and that those in the repository are what the formats say today.
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutate::Mutator;

/// A folder of `fuzz/`.
fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target)
}

/// The files of a folder with their names, sorted; none if there is no folder.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

/// What mutations begin with: seeds, what once failed, and for Pipelinefiles the cases of their own tests.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut folders = vec![folder("seeds", target), folder("regressions", target)];
    if target == "pipelinefile" {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelinefiles");
        folders.extend(["valid", "invalid"].map(|kind| cases.join(kind)));
    }
    let mut corpus: Vec<_> =
        folders.iter().flat_map(|folder| files(folder)).map(|(_, bytes)| bytes).collect();
    if target == "pipelinefile" {
        corpus.push(include_bytes!("../../Pipelinefile.example").to_vec());
    }
    assert!(!corpus.is_empty());
    corpus
}

fn run(target: &str) {
    let (_, check) = properties::ALL.iter().find(|(name, _)| *name == target).unwrap();
    let holds = |input: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| check(input))).is_err() {
            let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{target}"));
            std::fs::write(&kept, input).unwrap();
            panic!(
                "the property `{target}` fails for the input that is kept in {}: once it is mended, \
                 copy it to fuzz/regressions/{target}/",
                kept.display()
            );
        }
    };
    let corpus = corpus(target);
    corpus.iter().for_each(|input| holds(input));
    let runs = std::env::var("PIPE_TEST_FUZZ").map_or(2_000, |runs| runs.parse().unwrap());
    let mut mutator = Mutator::new(target);
    for _ in 0..runs {
        holds(&mutator.mutate(&corpus));
    }
}

#[test]
fn frames() {
    run("frame");
}

#[test]
fn segments() {
    run("segment");
}

#[test]
fn pages_of_the_index() {
    run("page");
}

#[test]
fn tables_of_keys() {
    run("table");
}

#[test]
fn pipelinefiles() {
    run("pipelinefile");
}

#[test]
fn replies_of_workers() {
    run("reply");
}

#[test]
fn lines_on_the_socket() {
    run("socket");
}

#[test]
fn templates_of_paths() {
    run("template");
}

#[test]
fn every_property_has_its_target_and_every_seed_its_property() {
    let names: Vec<String> = properties::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed = |kind: &str| {
        let entries = std::fs::read_dir(folder(kind, "")).unwrap();
        let mut found: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        found.sort();
        found
    };
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(listed("fuzz_targets"), sorted);
    assert_eq!(listed("seeds"), sorted);
    assert!(listed("regressions").iter().all(|name| names.contains(name) || name == "README.md"));
    let manifest = std::fs::read_to_string(folder(".", "Cargo.toml")).unwrap();
    assert!(names.iter().all(|name| manifest.contains(&format!("name = \"{name}\""))));
}
