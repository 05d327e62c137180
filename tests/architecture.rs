//! The shape of the source, checked by reading it: ranks, owners of external crates, sizes, first lines, and that what
//! users can set and meet is documented. Standard library only.
//!
//! A rank imports only lower ones; inside a module of several files, imports make no circle either. Tests are exempt.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "it reads the source")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use pipelinefile::cli::exit::Exit;
use pipelinefile::env::VARIABLES;

/// The modules of the crate, lowest first; those of one rank do not know each other, but for the lowest.
const RANKS: &[&[&str]] = &[
    &["error", "hash", "text", "time", "env"],
    &["fs", "sys"],
    &["model"],
    &["cache", "pipelinefile", "scan", "store", "module", "code", "watch"],
    &["plan", "remote"],
    &["engine"],
    &["project"],
    &["query", "golden"],
    &["report", "socket", "export", "serve"],
    &["sink"],
    &["cli"],
    &["probe"],
];

/// Plain names for everything: they may be used everywhere.
const EVERYWHERE: &[&str] = &["blake3", "serde", "serde_json", "tracing"];

/// Besides the owners that `Cargo.toml` states.
const ALSO: &[(&str, &str)] = &[("rustix", "scan/files")];

/// No file is longer.
const LINES: usize = 800;

/// A source file without comments, texts and tests.
struct Source {
    /// Its modules: `["store", "index", "page"]`; empty for `lib.rs` and `main.rs`.
    path: Vec<String>,
    /// Relative to the repository.
    file: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: impl AsRef<Path>) -> String {
    let path = root().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Files below a folder with one of these endings, relative to the repository, sorted.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut open = vec![root().join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path: PathBuf = entry.unwrap().path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if path.is_dir() {
                // What the benchmarks make and install is nobody's source.
                if !path.ends_with("bench/work") {
                    open.push(path);
                }
            } else if endings.contains(&ending) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every file of the program; those that only tests use are left out.
fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    for file in files("src", &["rs"]) {
        let path = file.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        let mut path: Vec<String> = path.split('/').map(str::to_owned).collect();
        if matches!(path.last().unwrap().as_str(), "mod" | "lib" | "main") {
            path.pop();
        }
        all.push(Source { path, code: without_texts(&read(&file)), file });
    }
    let tests: BTreeSet<Vec<String>> = all.iter().flat_map(test_modules).collect();
    all.retain(|source| !tests.iter().any(|test| source.path.starts_with(test)));
    for source in &mut all {
        source.code = without_tests(&source.code);
    }
    all
}

/// Comments and the insides of texts become spaces; line breaks stay.
fn without_texts(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(chars[from..to].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    let find = |from: usize, end: &str| {
        let end: Vec<char> = end.chars().collect();
        (from..chars.len()).find(|at| chars[*at..].starts_with(&end)).map_or(chars.len(), |at| at + end.len())
    };
    while at < chars.len() {
        let rest = &chars[at..];
        let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
        let end = if rest.starts_with(&['/', '/']) {
            find(at, "\n") - 1
        } else if rest.starts_with(&['/', '*']) {
            find(at, "*/")
        } else if rest[0] == 'r' && !after_word && matches!(rest.get(1), Some('"' | '#')) {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            if rest.get(1 + hashes) == Some(&'"') {
                find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)))
            } else {
                at
            }
        } else if rest[0] == '"' {
            let mut end = at + 1;
            while end < chars.len() && chars[end] != '"' {
                end += 1 + usize::from(chars[end] == '\\');
            }
            end + 1
        } else if rest[0] == '\'' && rest.get(1) == Some(&'\\') {
            find(at + 3, "'")
        } else if rest[0] == '\'' && rest.get(2) == Some(&'\'') {
            at + 3
        } else {
            at
        };
        if end > at {
            let end = end.min(chars.len());
            blank(&mut out, at, end);
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// The items behind `#[cfg(test)]`, each from its attribute to its end.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0;
        let end = code[start..].char_indices().skip(12).find_map(|(at, c)| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            (depth == 0 && matches!(c, ';' | '}')).then_some(start + at + 1)
        });
        items.push((start, end.unwrap_or(code.len())));
    }
    items
}

fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    for (start, end) in test_items(&code).into_iter().rev() {
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// Files that only tests have: `#[cfg(test)] mod tests;`
fn test_modules(source: &Source) -> Vec<Vec<String>> {
    let items = test_items(&source.code).into_iter().map(|(start, end)| &source.code[start..end]);
    let names = items.filter_map(|item| {
        let (_, name) = item.strip_suffix(';')?.rsplit_once(' ')?;
        item.contains("mod ").then(|| name.to_owned())
    });
    names.map(|name| source.path.iter().cloned().chain([name]).collect()).collect()
}

/// Every path of the code that begins with this word, braces taken apart: `crate::{a, b::c}` gives `[a]`, `[b, c]`.
fn paths(code: &str, first: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(&format!("{first}::")) {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            tree(&code[at + first.len() + 2..], &[], &mut found);
        }
    }
    found
}

/// Reads one path or a group in braces; how much of the text it took.
fn tree(text: &str, before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        if rest.starts_with('{') {
            at += 1;
            while at < text.len() && !text[at..].starts_with('}') {
                let taken = tree(&text[at..], &path, found);
                at += taken.max(1);
            }
            return at + 1;
        }
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if length > 0 {
            path.push(rest[..length].to_owned());
        }
        at += length;
        if text[at..].starts_with("::") {
            at += 2;
        } else {
            break;
        }
    }
    if path.len() > before.len() {
        found.push(path);
    }
    at
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&module))
}

fn assert_none(mut violations: Vec<String>, rule: &str) {
    violations.sort();
    violations.dedup();
    let list = violations.iter().fold(String::new(), |mut list, one| {
        let _ = write!(list, "\n  {one}");
        list
    });
    assert!(violations.is_empty(), "{rule}:{list}");
}

#[test]
fn imports_point_to_lower_ranks() {
    let mut violations = Vec::new();
    for source in sources() {
        let Some(own) = source.path.first() else { continue };
        let Some(own_rank) = rank(own) else {
            violations.push(format!("{}: `{own}` has no rank", source.file));
            continue;
        };
        for path in paths(&source.code, "crate") {
            let Some(used) = path.first().filter(|used| *used != own) else { continue };
            // What begins with a capital is defined in lib.rs: nothing is.
            let fine = rank(used).is_some_and(|used| used < own_rank || (used == 0 && own_rank == 0));
            if !fine {
                violations.push(format!("{} uses `{used}`", source.file));
            }
        }
    }
    assert_none(violations, "a module imports only those of lower ranks");
}

/// The files that a file uses, within its own module of the crate. What stands in the files above it is not counted:
/// it is a part of them. What they only pass on (`pub use below::Name`) counts as its own file.
fn uses(
    source: &Source,
    passed_on: &BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>>,
) -> BTreeSet<Vec<String>> {
    let mut all = BTreeSet::new();
    let mut add = |path: Vec<String>| {
        let lengths = (1..=path.len()).rev();
        let Some(length) = lengths.into_iter().find(|length| passed_on.contains_key(&path[..*length])) else {
            return;
        };
        let file = path[..length].to_vec();
        let name = path.get(length).map_or("", String::as_str);
        all.insert(passed_on[&file].get(name).cloned().unwrap_or(file));
    };
    for path in paths(&source.code, "crate") {
        add(path);
    }
    for path in paths(&source.code, "self") {
        add([source.path.clone(), path].concat());
    }
    for path in paths(&source.code, "super") {
        let ups = 1 + path.iter().take_while(|part| *part == "super").count();
        let above = &source.path[..source.path.len().saturating_sub(ups)];
        add([above, &path[ups - 1..]].concat());
    }
    // What a file declares with `mod` it uses by its bare name.
    for below in passed_on.keys().filter(|path| path.len() == source.path.len() + 1) {
        if below.starts_with(&source.path) && !paths(&source.code, below.last().unwrap()).is_empty() {
            all.insert(below.clone());
        }
    }
    all.retain(|path| !source.path.starts_with(path) && path.first() == source.path.first());
    all
}

/// What each file passes on of the files below it: the name, and the file.
fn passed_on(sources: &[Source]) -> BTreeMap<Vec<String>, BTreeMap<String, Vec<String>>> {
    let known: BTreeSet<&[String]> = sources.iter().map(|source| source.path.as_slice()).collect();
    let names = |source: &Source| {
        let below = known.iter().filter(|path| path.len() == source.path.len() + 1);
        let below = below.filter(|path| path.starts_with(&source.path));
        let named = below.flat_map(|path| {
            let items = paths(&source.code, path.last().unwrap()).into_iter();
            items.filter_map(|item| Some((item.last()?.clone(), path.to_vec())))
        });
        named.collect()
    };
    let files = sources.iter().filter(|source| !source.path.is_empty());
    files.map(|source| (source.path.clone(), names(source))).collect()
}

#[test]
fn files_make_no_circles() {
    let sources = sources();
    let passed_on = passed_on(&sources);
    let files = sources.iter().filter(|source| !source.path.is_empty());
    let mut left: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> =
        files.map(|source| (source.path.clone(), uses(source, &passed_on))).collect();
    // What uses nothing that is left is in no circle; nor is what nothing uses.
    loop {
        let before = left.len();
        let names: BTreeSet<Vec<String>> = left.keys().cloned().collect();
        left.retain(|_, uses| uses.iter().any(|used| names.contains(used)));
        let used: BTreeSet<Vec<String>> = left.values().flatten().cloned().collect();
        left.retain(|path, _| used.contains(path));
        if left.len() == before {
            break;
        }
    }
    let circles = left.iter().map(|(path, uses)| {
        let uses: Vec<String> =
            uses.iter().filter(|used| left.contains_key(*used)).map(|used| used.join("::")).collect();
        format!("{} uses {}", path.join("::"), uses.join(", "))
    });
    assert_none(circles.collect(), "files of a module import each other in no circle");
}

/// External crates with their owners, as the comments of `Cargo.toml` state them: `# store, scan/files: what for`.
fn owners() -> Vec<(String, Vec<String>)> {
    let manifest = read("Cargo.toml");
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let mut owners = Vec::new();
    for line in lines.take_while(|line| !line.starts_with('[')).filter(|line| line.contains(" = ")) {
        let name = line.split(' ').next().unwrap().replace('-', "_");
        let comment = line.rsplit_once("# ").map_or("", |(_, comment)| comment);
        let stated = comment.split_once(':').map_or("", |(owners, _)| owners);
        owners.push((name, stated.split(',').map(|owner| owner.trim().to_owned()).collect()));
    }
    assert!(owners.len() > 10, "{owners:?}");
    owners
}

#[test]
fn each_external_crate_has_one_owner() {
    let sources = sources();
    let mut violations = Vec::new();
    for (name, owners) in owners() {
        if EVERYWHERE.contains(&name.as_str()) {
            continue;
        }
        let owns = |source: &Source| {
            let path = source.path.join("/");
            let also = ALSO.iter().filter(|(also, _)| *also == name).map(|(_, owner)| *owner);
            let mut owners = owners.iter().map(String::as_str).chain(also);
            owners.any(|owner| path == owner || path.starts_with(&format!("{owner}/")))
        };
        let users: Vec<&Source> =
            sources.iter().filter(|source| !paths(&source.code, &name).is_empty()).collect();
        let others = users.into_iter().filter(|source| !owns(source));
        violations.extend(others.map(|source| format!("{} uses `{name}`, owned by {owners:?}", source.file)));
    }
    assert_none(violations, "an external crate is named only by its owner (Cargo.toml has the list)");
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut violations = Vec::new();
    let folders = ["src", "tests", "python", "benches", "bench", "fuzz/properties", "fuzz/fuzz_targets"];
    for file in folders.iter().flat_map(|folder| files(folder, &["rs", "py"])) {
        let text = read(&file);
        let lines = text.lines().count();
        if lines > LINES {
            violations.push(format!("{file} has {lines} lines"));
        }
        let tests_of_a_file = file.ends_with("tests.rs") || file.starts_with("tests/e2e/");
        let opens = if Path::new(&file).extension().is_some_and(|ending| ending == "py") {
            let first = text.lines().find(|line| !line.starts_with('#'));
            first.is_some_and(|line| line.starts_with("\"\"\"") || line.starts_with("r\"\"\""))
        } else {
            text.starts_with("//!")
        };
        if !opens && !tests_of_a_file {
            violations.push(format!("{file} does not open with what it is for"));
        }
    }
    assert_none(
        violations,
        format!("a file has at most {LINES} lines, and its first say what it is for").as_str(),
    );
}

#[test]
fn every_variable_is_documented_and_read_in_one_place() {
    let page = read("docs/reference/environment.md");
    let rows: Vec<(&str, &str)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .collect();
    let mut violations = Vec::new();
    for variable in VARIABLES {
        if !rows.contains(&(variable.name, variable.what)) {
            violations.push(format!("missing: | `{}` | {} |", variable.name, variable.what));
        }
    }
    for file in files("src", &["rs"]) {
        let text = read(&file);
        for (at, _) in text.match_indices("PIPE_") {
            // One of Linux, such as F_GETPIPE_SZ, or a constant of our own.
            let whole = at > 0 && matches!(&text[at - 1..at], "\"" | "`" | " ");
            let name: String =
                text[at..].chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            let constant = text.contains(&format!("const {name}"));
            if whole && !constant && !rows.iter().any(|(known, _)| *known == name) {
                violations.push(format!("{file} names {name}, which the page does not"));
            }
        }
    }
    assert_none(violations, "docs/reference/environment.md lists every variable");
}

#[test]
fn every_exit_code_is_documented() {
    let page = read("docs/reference/exit-codes.md");
    let missing = Exit::ALL.iter().map(|(exit, what)| format!("| {} | {what} |", exit.0));
    let missing = missing.filter(|row| !page.contains(row.as_str()));
    assert_none(missing.collect(), "docs/reference/exit-codes.md lists every exit code");
}

#[test]
fn the_source_is_read_as_it_is_meant() {
    let code = "use crate::{a::B, c};\n// crate::no\nlet x = \"crate::no\"; 'a' r#\"crate::\"no\"# crate::d::E::f();\n\
                #[cfg(test)]\nmod tests {\n use crate::no;\n}\nuse supercrate::no;";
    let code = without_tests(&without_texts(code));
    let joined: Vec<String> = paths(&code, "crate").iter().map(|path| path.join("::")).collect();
    assert_eq!(joined, ["a::B", "c", "d::E::f"]);
}
