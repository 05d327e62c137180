//! What the documents say, held against the program: links, Pipelinefiles, commands with their output, tables.
//!
//! Commands are run in pages that ask for it, from `<!-- run: new folder -->` or `<!-- run: copy of FOLDER -->` (with
//! `, needs PROGRAM` only where that is) up to `<!-- end -->`: a block such as `toml Pipelinefile` writes that file, the lines behind `$` in a `console` block are
//! given to a shell, and what follows is what they print. In between `…` stands for anything up to the end of its
//! line, or alone for any lines. Times, digests and the width of gaps do not count.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "it reads the documents, and needs the machine's PATH")]
#![expect(clippy::print_stderr, reason = "what is skipped is said")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipelinefile::model::failure::{FailureKind, Verdict};
use pipelinefile::pipelinefile::inspect;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page, relative to the repository, with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"].into_iter().map(PathBuf::from).collect();
    for example in std::fs::read_dir(root().join("examples")).unwrap() {
        let page = example.unwrap().path().join("README.md");
        if page.exists() {
            pages.push(page.strip_prefix(root()).unwrap().to_owned());
        }
    }
    let mut open = vec![root().join("docs")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "md") {
                pages.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let read = |page: PathBuf| {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        (page, text)
    };
    pages.into_iter().map(read).collect()
}

/// A part of a page that matters here.
enum Piece {
    /// `<!-- run: FROM -->`
    Run(String),
    /// `<!-- end -->`
    End,
    /// A block in fences: what stands behind the opening fence, the text, and its line.
    Block(String, String, usize),
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut block: Option<(String, String, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line.strip_prefix("```")) {
            (Some(_), Some(_)) => {
                let (info, text, line) = block.take().unwrap();
                pieces.push(Piece::Block(info, text, line));
            }
            (Some((_, text, _)), None) => text.extend([line, "\n"]),
            (None, Some(info)) => block = Some((info.to_owned(), String::new(), number + 1)),
            (None, None) => {
                let comment = line.strip_prefix("<!-- ").and_then(|line| line.strip_suffix(" -->"));
                match comment.map(|comment| (comment, comment.strip_prefix("run: "))) {
                    Some((_, Some(from))) => pieces.push(Piece::Run(from.to_owned())),
                    Some(("end", None)) => pieces.push(Piece::End),
                    _ => {}
                }
            }
        }
    }
    assert!(block.is_none(), "a block that does not end:\n{text}");
    pieces
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for (page, text) in pages() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !link.contains("://") {
                let full = root().join(&page).parent().unwrap().join(path);
                if !full.exists() {
                    dead.push(format!("{}: {link}", page.display()));
                }
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
}

#[test]
fn the_index_of_the_documents_names_every_page() {
    let index = std::fs::read_to_string(root().join("docs/README.md")).unwrap();
    for (page, _) in pages() {
        let Ok(page) = page.strip_prefix("docs") else { continue };
        let page = page.to_str().unwrap();
        let is_named = index.contains(&format!("]({page})"));
        assert!(is_named || page == "README.md" || page.starts_with("decisions/"), "{page}");
    }
}

#[test]
fn every_pipelinefile_that_is_shown_is_understood() {
    let mut seen = 0;
    for (page, text) in pages() {
        for piece in pieces(&text) {
            let Piece::Block(info, text, line) = piece else { continue };
            if !info.starts_with("toml") || !text.contains("[target.") {
                continue;
            }
            seen += 1;
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("Pipelinefile");
            std::fs::write(&file, with_sources(&text)).unwrap();
            let (loaded, mistakes) = inspect(&file, &[]);
            assert!(loaded.is_some(), "{}:{line}\n{mistakes:?}", page.display());
        }
    }
    assert!(seen > 3);
}

/// A part of a Pipelinefile takes from streams that stand elsewhere: they become sources.
fn with_sources(text: &str) -> String {
    let table: toml::Table = text.parse().unwrap();
    let names = |kind: &str| table.get(kind).and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let (sources, targets) = (names("source"), names("target"));
    let mut whole = text.to_owned();
    let mut missing = |value: &toml::Value| {
        let name = value.get("from").unwrap_or(value).as_str().unwrap_or_default();
        let is_known = sources.contains_key(name) || targets.contains_key(name);
        let head = format!("[source.{name}]\n");
        if !name.is_empty() && !name.starts_with("file:") && !is_known && !whole.contains(&head) {
            whole = format!("{whole}\n{head}path = \"{name}\"\n");
        }
    };
    for target in targets.values() {
        for stream in ["each", "all", "group"].iter().filter_map(|verb| target.get(verb)) {
            match stream {
                toml::Value::Array(streams) => streams.iter().for_each(&mut missing),
                stream => missing(stream),
            }
        }
        if let Some(with) = target.get("with").and_then(toml::Value::as_table) {
            with.values().for_each(&mut missing);
        }
    }
    whole
}

#[test]
fn commands_print_what_the_documents_show() {
    let pages = pages();
    let told = |(page, text): &(PathBuf, String)| run_page(page, &pieces(text));
    let run: usize = std::thread::scope(|scope| {
        let pages: Vec<_> = pages.iter().map(|page| scope.spawn(move || told(page))).collect();
        pages.into_iter().map(|page| page.join().unwrap()).sum()
    });
    assert!(run > 10, "only {run} commands were found");
}

/// Runs the commands of a page. Returns how many there were.
fn run_page(page: &Path, pieces: &[Piece]) -> usize {
    let mut folder: Option<tempfile::TempDir> = None;
    let (mut count, mut status) = (0, 0);
    for piece in pieces {
        match (piece, &folder) {
            (Piece::Run(from), _) => {
                let (from, needed) = from.split_once(", needs ").unwrap_or((from, "sh"));
                if !is_there(needed) {
                    eprintln!("{}: its commands are not run: there is no {needed}", page.display());
                    return count;
                }
                let new = tempfile::tempdir().unwrap();
                if let Some(from) = from.strip_prefix("copy of ") {
                    let script = format!("cp -r {from}/. \"$1\" && cd \"$1\" && rm -rf .pipe out");
                    let copy = ["-c", &script, "sh", new.path().to_str().unwrap()];
                    assert!(Command::new("sh").args(copy).current_dir(root()).status().unwrap().success());
                }
                folder = Some(new);
            }
            (Piece::End, _) => folder = None,
            (Piece::Block(info, text, line), Some(folder)) => match info.split_once(' ') {
                Some((_, file)) => {
                    let file = folder.path().join(file);
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, text).unwrap();
                }
                None if info == "console" => {
                    for (command, shown) in commands(text) {
                        let said = shell(folder.path(), command, &mut status);
                        let (expected, actual) = (lines(&shown), lines(&said));
                        assert!(
                            is_same(&expected, &actual),
                            "{}:{line}: $ {command}\n>>> shown\n{shown}<<<\n>>> printed\n{said}<<<",
                            page.display()
                        );
                        count += 1;
                    }
                }
                None => {}
            },
            (Piece::Block(..), None) => {}
        }
    }
    count
}

fn is_there(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()))
}

/// The commands of a block, each with what it is shown to print.
fn commands(block: &str) -> Vec<(&str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    for line in block.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            // What stands behind two spaces and `#` is said to the reader.
            (Some(command), _) => commands.push((command.split("  #").next().unwrap(), String::new())),
            (None, Some((_, shown))) => shown.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    commands
}

fn shell(folder: &Path, command: &str, status: &mut i32) -> String {
    let bin = Path::new(env!("CARGO_BIN_EXE_pipe")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let script = format!("exec 2>&1\n(exit {status})\n{command}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder).stdin(Stdio::null()).env_clear();
    shell.envs([("PATH", path.as_str()), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC"), ("COLUMNS", "100")]);
    shell.env("HOME", folder);
    let output = shell.output().unwrap();
    *status = output.status.code().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The words of each line that has any; what differs from run to run by what it is.
fn lines(text: &str) -> Vec<Vec<String>> {
    let digits = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    let line = |line: &str| {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
            let is_time = matches!(bare, "ms" | "s" | "µs")
                && words.last().is_some_and(|last| digits(last.trim_start_matches('(')));
            if is_time {
                *words.last_mut().unwrap() = "TIME".to_owned();
            } else if bare.len() >= 8 && bare.chars().all(|c| c.is_ascii_hexdigit()) {
                words.push("DIGEST".to_owned());
            } else if bare.len() == 8 && bare.split(':').count() == 3 {
                words.push("CLOCK".to_owned());
            } else {
                words.push(word.to_owned());
            }
        }
        words
    };
    text.lines().map(line).filter(|words| !words.is_empty()).collect()
}

fn is_same(shown: &[Vec<String>], printed: &[Vec<String>]) -> bool {
    let Some((first, rest)) = shown.split_first() else { return printed.is_empty() };
    if first.len() == 1 && first[0] == "…" {
        return (0..=printed.len()).any(|skipped| is_same(rest, &printed[skipped..]));
    }
    let Some((line, more)) = printed.split_first() else { return false };
    let same = match first.split_last() {
        Some((last, words)) if last == "…" => line.starts_with(words),
        _ => first == line,
    };
    same && is_same(rest, more)
}

#[test]
fn every_kind_of_failure_has_its_row() {
    let page = std::fs::read_to_string(root().join("docs/design/failures.md")).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let word = |kind: FailureKind| serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
    let kinds: Vec<String> = FailureKind::ALL.iter().map(|kind| format!("`{}`", word(*kind))).collect();
    assert_eq!(rows.iter().map(|row| row[0]).collect::<Vec<_>>(), kinds);
    for (row, kind) in rows.iter().zip(FailureKind::ALL) {
        let verdict = match kind.verdict() {
            Verdict::Kept => "kept",
            Verdict::Passing => "passing",
            Verdict::Derived => "derived",
        };
        assert_eq!((row[1], row[3]), (kind.words(), verdict), "{kind:?}");
    }
}

#[test]
fn the_readme_is_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() < 150);
}
