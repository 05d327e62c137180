//! One error for everything that ends a command: where, what, what to do.
//!
//! A module has an error type of its own only where a caller branches on it; it converts into this one there.
//! Failures of *documents* are no errors: they are data, see [`crate::model::failure`].
//! Knows nothing of pipelines, and prints nothing: `cli::output` does.

use std::{fmt, io};

/// What kind of end this is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing ran: wrong use, or a mistake in the Pipelinefile (exit 2).
    Usage,
    /// The work could not be finished: disk, store, a module that cannot start (exit 3).
    Unfinished,
    /// The selection matched nothing (exit 4).
    NoMatch,
}

impl Kind {
    /// The process's exit code; `docs/reference/exit-codes.md` lists them all.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Unfinished => 3,
            Kind::NoMatch => 4,
        }
    }
}

/// What to do about a full disk. The room is that of `RESERVE` and of what is written at once.
pub const ROOM_HINT: &str = "free some space there, 32 MiB at least, then: pipe build (what is done is kept)";

/// An error that ends a command. Shown as `error:`, `caused by:` and `hint:` lines.
#[derive(Debug)]
pub struct Error {
    /// Decides the exit code.
    pub kind: Kind,
    /// Where and what: lower case, no final period.
    pub message: String,
    /// The chain below, outermost first.
    pub causes: Vec<String>,
    /// What to do; commands to paste where there are any.
    pub hints: Vec<String>,
    /// Diagnostics that were drawn already (a Pipelinefile's mistakes), printed before the message.
    pub report: Option<String>,
}

/// The result of everything that can end a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), causes: Vec::new(), hints: Vec::new(), report: None }
    }

    /// Nothing ran: wrong use.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// The work could not be finished.
    pub fn unfinished(message: impl Into<String>) -> Self {
        Self::new(Kind::Unfinished, message)
    }

    /// The selection matched nothing.
    pub fn no_match(message: impl Into<String>) -> Self {
        Self::new(Kind::NoMatch, message)
    }

    /// An I/O error with the path it concerns: "cannot read `docs/a.md`: permission denied".
    pub fn io(doing: &str, path: &std::path::Path, cause: &io::Error) -> Self {
        let error = Self::unfinished(format!("cannot {doing} `{}`: {}", path.display(), io_text(cause)));
        match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => error.hint(ROOM_HINT),
            _ => error,
        }
    }

    /// Whether there is no more room: what comes next would fail, too.
    pub fn is_about_room(&self) -> bool {
        self.hints.iter().any(|hint| hint == ROOM_HINT)
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a cause below this error.
    #[must_use]
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    /// Puts what was being done in front; the old message becomes the cause.
    #[must_use]
    pub fn context(mut self, message: impl Into<String>) -> Self {
        let old = std::mem::replace(&mut self.message, message.into());
        self.causes.insert(0, old);
        self
    }
}

/// The text of an I/O error without Rust's "(os error 13)", in lower case.
pub fn io_text(cause: &io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Whether an I/O error says something of the machine at this moment, and nothing of the file: another try may go well.
pub fn is_passing(error: &io::Error) -> bool {
    // EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC, EROFS, ESTALE, EDQUOT.
    error.raw_os_error().is_some_and(|code| [5, 11, 12, 23, 24, 28, 30, 116, 122].contains(&code))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.causes.iter().try_for_each(|cause| write!(f, ": {cause}"))
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_now_says_nothing_of_the_file() {
        for (code, name) in
            [(5, "EIO"), (12, "ENOMEM"), (24, "EMFILE"), (28, "ENOSPC"), (30, "EROFS"), (122, "EDQUOT")]
        {
            assert!(is_passing(&io::Error::from_raw_os_error(code)), "{name}");
        }
        for (code, name) in [(2, "ENOENT"), (13, "EACCES"), (21, "EISDIR")] {
            assert!(!is_passing(&io::Error::from_raw_os_error(code)), "{name}");
        }
    }

    #[test]
    fn an_io_error_names_the_path_and_says_it_in_plain_words() {
        let cause = std::io::Error::from_raw_os_error(13);
        let error = Error::io("read", std::path::Path::new("docs/a.md"), &cause);
        assert_eq!(error.to_string(), "cannot read `docs/a.md`: permission denied");
        assert_eq!(error.kind.exit_code(), 3);
    }

    #[test]
    fn context_keeps_the_chain_in_order() {
        let error = Error::usage("inner").caused_by("root").context("outer");
        assert_eq!(error.to_string(), "outer: inner: root");
    }
}
