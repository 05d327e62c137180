//! Every way in which a document can fail, as data, and the verdict on trying again.
//! `docs/design/failures.md` has the same table; knows nothing of who ran what.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::hash::Digest;

/// The kind of a failure. The names are those of messages, records and `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum FailureKind {
    /// The module said no; a filter's exit code other than 0.
    ModuleError = 1,
    /// A signal; a worker that ends with a request open.
    Crash = 2,
    /// The hard time limit.
    Timeout = 3,
    /// The memory limit.
    OutOfMemory = 4,
    /// An answer that is none.
    BadReply = 5,
    /// A filter ended well, but its output is not there.
    OutputMissing = 6,
    /// Two documents on one published path, or a file there that is not ours.
    PathTaken = 7,
    /// Spawn, network, store: nothing is known of the document.
    Lost = 8,
    /// A side input or member that must be there is not.
    MissingInput = 9,
    /// Two results where a union may have one.
    Collision = 10,
    /// The source file could not be read.
    Unreadable = 11,
    /// A branch of a route says so.
    Refused = 20,
    /// Several documents match where one may.
    Ambiguous = 21,
}

/// What becomes of a failure later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A result: not tried again until the key changes.
    Kept,
    /// A passing fault: tried again by the next build.
    Passing,
    /// Derived from the present state each time; never a record.
    Derived,
}

impl FailureKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [FailureKind; 13] = [
        FailureKind::ModuleError,
        FailureKind::Crash,
        FailureKind::Timeout,
        FailureKind::OutOfMemory,
        FailureKind::BadReply,
        FailureKind::OutputMissing,
        FailureKind::PathTaken,
        FailureKind::Lost,
        FailureKind::MissingInput,
        FailureKind::Collision,
        FailureKind::Unreadable,
        FailureKind::Refused,
        FailureKind::Ambiguous,
    ];

    /// The words of messages.
    pub fn words(self) -> &'static str {
        match self {
            FailureKind::ModuleError => "module error",
            FailureKind::Crash => "crash",
            FailureKind::Timeout => "timeout",
            FailureKind::OutOfMemory => "out of memory",
            FailureKind::BadReply => "bad reply",
            FailureKind::OutputMissing => "output missing",
            FailureKind::PathTaken => "path taken",
            FailureKind::Lost => "lost",
            FailureKind::MissingInput => "missing input",
            FailureKind::Collision => "collision",
            FailureKind::Unreadable => "unreadable",
            FailureKind::Refused => "refused",
            FailureKind::Ambiguous => "ambiguous input",
        }
    }

    /// Whether and when such a failure is tried again.
    pub fn verdict(self) -> Verdict {
        match self {
            FailureKind::ModuleError | FailureKind::BadReply | FailureKind::OutputMissing => Verdict::Kept,
            FailureKind::Crash | FailureKind::Timeout | FailureKind::OutOfMemory | FailureKind::Lost => {
                Verdict::Passing
            }
            FailureKind::PathTaken
            | FailureKind::MissingInput
            | FailureKind::Collision
            | FailureKind::Unreadable
            | FailureKind::Refused
            | FailureKind::Ambiguous => Verdict::Derived,
        }
    }

    /// The kind of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// A failure with its text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// The type of the error: `ValueError`, `exit 3`, `SIGSEGV`.
    pub error: String,
    /// The module's own words.
    pub message: String,
    /// Where in the module's code: `modules/ocr.py:41`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The traceback, if the module gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<String>,
    /// The module asked to be tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry: bool,
    /// The file, relative to the project, that lies where a result would be shown; of a folder one of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_the_way: Option<Box<str>>,
}

impl Failure {
    /// A failure without a place.
    pub fn new(kind: FailureKind, error: impl Into<String>, message: impl Into<String>) -> Self {
        Failure {
            kind,
            error: error.into(),
            message: message.into(),
            place: None,
            traceback: None,
            retry: false,
            in_the_way: None,
        }
    }

    /// Whether it is a result that stands until the key changes.
    pub fn is_kept(&self) -> bool {
        self.kind.verdict() == Verdict::Kept && !self.retry
    }

    /// One line: `ValueError: cannot decode stream`.
    pub fn summary(&self) -> String {
        let first = self.message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        match (self.error.is_empty(), first.is_empty()) {
            (false, false) => format!("{}: {first}", self.error),
            (false, true) => self.error.clone(),
            (true, _) => format!("{}: {first}", self.kind.words()),
        }
    }

    /// What names a cause in commands: eight hexadecimal digits of what failures are grouped by.
    pub fn fingerprint(&self) -> String {
        let (kind, error, place) = self.cause();
        let place = place.unwrap_or_default();
        Digest::of(format!("{}\0{error}\0{place}", kind.words()).as_bytes()).short()
    }

    /// Whether it has one of these causes, each named by its first digits; none: any.
    pub fn is_of(&self, causes: &[String]) -> bool {
        causes.is_empty() || {
            let name = self.fingerprint();
            causes.iter().any(|cause| name.starts_with(cause.as_str()))
        }
    }

    /// What failures are grouped by: kind, type of error and place; the message varies with the document. What cannot be
    /// read has no type of error: there the message counts, but for its numbers.
    pub fn cause(&self) -> (FailureKind, Cow<'_, str>, Option<&str>) {
        let error = match self.kind {
            FailureKind::Unreadable if self.error.is_empty() => Cow::Owned(without_numbers(&self.message)),
            _ => Cow::Borrowed(self.error.as_str()),
        };
        (self.kind, error, self.place.as_deref())
    }
}

/// A message without its numbers, and without what is only said once more: `line # and line #`.
fn without_numbers(message: &str) -> String {
    let mut plain = String::with_capacity(message.len());
    for part in message.split(|char: char| char.is_ascii_digit()) {
        if !(part.is_empty() || part == "," && plain.ends_with('#')) {
            plain.push_str(part);
        }
        if !plain.ends_with('#') {
            plain.push('#');
        }
    }
    while plain.contains("line # and line # and line #") {
        plain = plain.replace("line # and line # and line #", "line # and line #");
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_on_disk_go_there_and_back() {
        for kind in FailureKind::ALL {
            assert_eq!(FailureKind::from_code(kind as u8), Some(kind));
        }
        assert_eq!(FailureKind::from_code(0), None);
    }

    #[test]
    fn a_cause_is_named_by_kind_type_and_place_alone() {
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "of one document");
        failure.place = Some("modules/a.py:3".into());
        let name = failure.fingerprint();
        assert_eq!(name, "d4f373ed");
        failure.message = "of another".into();
        assert_eq!(failure.fingerprint(), name);
        failure.place = Some("modules/a.py:4".into());
        assert_ne!(failure.fingerprint(), name);
    }

    #[test]
    fn what_is_unreadable_is_told_apart_by_its_message() {
        let of = |message: &str| Failure::new(FailureKind::Unreadable, "", message);
        let same = |a: &str, b: &str| of(a).cause() == of(b).cause();
        assert!(same("line 6: `id` is empty", "line 1,207: `id` is empty"));
        assert!(same(
            "the same `id` in line 2 and line 5",
            "the same `id` in line 3 and line 14 and line 15"
        ));
        assert!(!same("line 6: `id` is empty", "line 6: 2 fields where the first line has 3"));
        assert!(!same("line 6: `id` is empty", "line 6: `id` is not UTF-8 text"));
    }

    #[test]
    fn a_module_error_stands_and_a_retry_does_not() {
        let mut failure = Failure::new(FailureKind::ModuleError, "ValueError", "\nno\nmore");
        assert!(failure.is_kept());
        assert_eq!(failure.summary(), "ValueError: no");
        failure.retry = true;
        assert!(!failure.is_kept());
    }
}
