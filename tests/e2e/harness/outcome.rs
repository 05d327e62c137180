//! All that a command said, as one text, and how it is compared.

use std::path::PathBuf;

use super::project::tree;

/// What a command said: status, stdout, stderr.
pub(crate) struct Outcome {
    /// The exit code; of a process that a signal ended 128 and its number.
    pub(crate) status: i32,
    /// As it was printed, but for the project's folder and times.
    pub(crate) stdout: String,
    /// The same of stderr.
    pub(crate) stderr: String,
    command: String,
    root: PathBuf,
}

impl Outcome {
    pub(super) fn new(command: String, root: PathBuf, status: i32, stdout: &[u8], stderr: &[u8]) -> Outcome {
        let [stdout, stderr] = [stdout, stderr].map(|bytes| redact(&String::from_utf8_lossy(bytes), &root));
        Outcome { status, stdout, stderr, command, root }
    }

    /// Everything as one text; a stream that is empty is left out.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("status: {}\n", self.status);
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text.extend(["--- ", name, "\n", stream]);
                if !stream.ends_with('\n') {
                    text.push_str("⏎ no line break at the end\n");
                }
            }
        }
        text
    }

    /// Compares everything with what is expected; its common indentation does not count.
    #[track_caller]
    pub(crate) fn shows(&self, expected: &str) {
        let (expected, actual) = (dedent(expected), self.text());
        assert!(expected == actual, "{}", self.difference(&expected, &actual));
    }

    /// Compares only the status.
    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Outcome {
        assert!(self.status == status, "expected status {status}\n{}", self.context());
        self
    }

    /// Both streams have this text somewhere.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Outcome {
        assert!(self.text().contains(text), "expected somewhere: {text}\n{}", self.context());
        self
    }

    fn difference(&self, expected: &str, actual: &str) -> String {
        let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
        let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let place = format!(
            "first difference in line {}:\n  expected {:?}\n  but got  {:?}\n",
            same + 1,
            old.get(same).copied().unwrap_or("(the end)"),
            new.get(same).copied().unwrap_or("(the end)")
        );
        format!("{place}\n>>> expected\n{expected}<<<\n{}", self.context())
    }

    /// What helps to see why: command, output, files.
    fn context(&self) -> String {
        let files = tree(&self.root).join("\n  ");
        format!("\n$ {}\n>>> output\n{}<<<\nfiles:\n  {files}\n", self.command, self.text())
    }
}

/// The project's folder and times by name, so that they are the same in every run.
fn redact(text: &str, root: &std::path::Path) -> String {
    let text = text.replace(&*root.to_string_lossy(), "[ROOT]");
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let inside = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '.');
        out.push_str(before);
        let length = if let Some(length) = time(number).filter(|_| !inside) {
            out.push_str("[TIME]");
            length
        } else {
            let length = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            out.push_str(&number[..length]);
            length
        };
        rest = &number[length..];
    }
    out + rest
}

/// The length of a time such as `12 ms`, `3.1 s`, `3m58s`, `2h05m` at the beginning.
fn time(text: &str) -> Option<usize> {
    let number = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let first = number(text);
    let rest = &text[first..];
    let ends = |length: usize| !text[length..].starts_with(|c: char| c.is_alphanumeric());
    for unit in [" ms", " s"] {
        if rest.starts_with(unit) && ends(first + unit.len()) {
            return Some(first + unit.len());
        }
    }
    for (large, small) in [('m', 's'), ('h', 'm')] {
        let Some(below) = rest.strip_prefix(large) else { continue };
        let second = number(below);
        if second == 2 && below[second..].starts_with(small) && ends(first + 1 + second + 1) {
            return Some(first + 1 + second + 1);
        }
    }
    None
}

/// Without the first line break, the common indentation and what stands before the closing quote.
pub(super) fn dedent(text: &str) -> String {
    let Some(text) = text.strip_prefix('\n') else { return text.to_owned() };
    let filled = || text.lines().filter(|line| !line.trim().is_empty());
    let common = filled().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let lines: Vec<&str> = text.lines().map(|line| line.get(common..).unwrap_or_default()).collect();
    // The last line holds the closing quote.
    let end = if text.ends_with('\n') || !lines.last().is_some_and(|last| last.trim().is_empty()) {
        "\n"
    } else {
        ""
    };
    lines.join("\n").trim_end_matches(' ').to_owned() + end
}

#[test]
fn times_and_the_folder_are_named() {
    let root = std::path::Path::new("/tmp/x1");
    assert_eq!(
        redact("done in 12 ms, 3.1 s, 3m58s (2h05m)", root),
        "done in [TIME], [TIME], [TIME] ([TIME])"
    );
    assert_eq!(
        redact("/tmp/x1/a: 3 strings, 12 msgs, v1.2 s1", root),
        "[ROOT]/a: 3 strings, 12 msgs, v1.2 s1"
    );
}

#[test]
fn indentation_of_expectations_does_not_count() {
    assert_eq!(dedent("\n    a\n      b\n\n    c\n    "), "a\n  b\n\nc\n");
}
