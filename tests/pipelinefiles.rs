//! Whole Pipelinefiles: those that are fine, those with mistakes beside the report that they get, and the example.
//!
//! `invalid/NAME.toml` gets the report `invalid/NAME.stderr`. To write the reports anew after a change of words:
//! `UPDATE_REPORTS=1 cargo test --test pipelinefiles`, then read the difference.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "tests make and read their own files")]

use std::fs;
use std::path::{Path, PathBuf};

use pipelinefile::pipelinefile::{Mistakes, Style, inspect, known_keys, load};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelinefiles").join(name)
}

fn files(kind: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(kind)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A project with this Pipelinefile and everything that it names.
fn project(pipelinefile: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    // A folder of its own, so that other projects may lie beside it.
    let root = &dir.path().join("project");
    // Absolute paths lie inside the project here.
    let pipelinefile = pipelinefile.replace("file:/", &format!("file:{}/", root.to_str().unwrap()));
    let file = root.join("Pipelinefile");
    write(&file, &pipelinefile);
    let make = |path: &str| {
        let path = root.join(path);
        if path.extension().is_some() { write(&path, "") } else { fs::create_dir_all(path).unwrap() }
    };
    let mut strings = Vec::new();
    collect("", &toml::Value::Table(pipelinefile.parse().unwrap()), &mut strings);
    for (key, value) in strings {
        match key.as_str() {
            "path" if value.starts_with("project:") => {
                let (other, target) = value["project:".len()..].split_once('#').unwrap();
                let text = format!(
                    "[source.in]\npath = \"in\"\n[target.{target}]\neach = \"in\"\nshell = \"cat\"\n"
                );
                write(&root.join(other).join("Pipelinefile"), &text);
            }
            "path" if !value.contains("{id") && !value.starts_with("out/") => make(&value),
            "requirements" => make(&value),
            "module" => make(&format!("modules/{}.py", value.split(':').next().unwrap())),
            _ => value.strip_prefix("file:").into_iter().for_each(make),
        }
    }
    (dir, file)
}

fn collect(key: &str, value: &toml::Value, strings: &mut Vec<(String, String)>) {
    match value {
        toml::Value::String(text) => strings.push((key.to_owned(), text.clone())),
        toml::Value::Array(items) => items.iter().for_each(|item| collect(key, item, strings)),
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| collect(key, value, strings)),
        _ => {}
    }
}

fn report(mistakes: &Mistakes) -> String {
    mistakes.render(Style::Plain)
}

#[test]
fn real_pipelinefiles_are_understood() {
    for path in files("valid", ".Pipelinefile") {
        let (_dir, file) = project(&text(&path));
        match load(&file, &[]) {
            Ok(loaded) => {
                assert!(!loaded.pipeline.targets.is_empty());
                let warnings = loaded.render(&loaded.warnings, Style::Plain);
                assert_eq!(warnings, "", "{}", path.display());
            }
            Err(mistakes) => panic!("{}:\n{}", path.display(), report(&mistakes)),
        }
    }
}

#[test]
fn the_example_holds_every_key_and_is_understood() {
    let example = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Pipelinefile.example"));
    let (_dir, file) = project(&example);
    let loaded = load(&file, &[]).unwrap_or_else(|mistakes| panic!("{}", report(&mistakes)));
    assert_eq!(loaded.render(&loaded.warnings, Style::Plain), "");
    let reference = text(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/pipelinefile.md"));
    let mut keys = Vec::new();
    keys_of(&toml::Value::Table(example.parse().unwrap()), &mut keys);
    for (table, key) in known_keys() {
        assert!(keys.iter().any(|known| known == key), "Pipelinefile.example lacks `{key}` of `{table}`");
        assert!(
            reference.contains(&format!("`{key}`")),
            "docs/reference/pipelinefile.md lacks `{key}` of `{table}`"
        );
    }
}

fn keys_of(value: &toml::Value, keys: &mut Vec<String>) {
    match value {
        toml::Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
        toml::Value::Table(table) => table.iter().for_each(|(key, value)| {
            keys.push(key.clone());
            keys_of(value, keys);
        }),
        _ => {}
    }
}

/// What lies in a project with mistakes.
const LYING_THERE: [&str; 9] = [
    "inbox/a.txt",
    "docs/notes/b.txt",
    "models/m.bin",
    "table.csv",
    "lists/stops.txt",
    "modules/words.py",
    "modules/search.py",
    "modules/ocr.py",
    "modules/index.py",
];

#[test]
fn every_mistake_gets_its_report() {
    let update = std::env::var_os("UPDATE_REPORTS").is_some();
    let mut different = Vec::new();
    for path in files("invalid", ".toml") {
        let dir = tempfile::tempdir().unwrap();
        for file in LYING_THERE {
            write(&dir.path().join(file), "");
        }
        let file = dir.path().join("Pipelinefile");
        write(&file, &text(&path));
        let (loaded, mistakes) = inspect(&file, &[]);
        let warnings = loaded.map(|loaded| loaded.render(&loaded.warnings, Style::Plain)).unwrap_or_default();
        let report = report(&mistakes) + &warnings;
        let expected = path.with_extension("stderr");
        if update {
            write(&expected, &report);
        } else if !expected.is_file() || text(&expected) != report {
            different.push(format!("{}:\n{report}", path.display()));
        }
    }
    assert!(different.is_empty(), "reports differ from what is expected:\n\n{}", different.join("\n"));
}

#[test]
fn ten_mistakes_are_ten_reports() {
    let report = text(&folder("invalid/ten.stderr"));
    assert!(report.matches("\nerror: ").count() + 1 >= 10, "{report}");
}
