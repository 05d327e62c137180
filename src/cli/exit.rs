//! How `pipe` ends: every exit code, documented in `docs/reference/exit-codes.md`.

/// An exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(pub u8);

impl Exit {
    /// Everything that was asked for is so.
    pub const FINE: Exit = Exit(0);
    /// The build ran to its end, and some documents failed.
    pub const FAILED: Exit = Exit(1);
    /// Nothing ran: wrong use, or a mistake in the Pipelinefile.
    pub const USAGE: Exit = Exit(2);
    /// The work could not be finished.
    pub const UNFINISHED: Exit = Exit(3);
    /// The selection matched nothing.
    pub const NO_MATCH: Exit = Exit(4);
    /// A bug in `pipe`.
    pub const BUG: Exit = Exit(101);
    /// Stopped by Ctrl-C (SIGINT).
    pub const INTERRUPTED: Exit = Exit(130);
    /// Stopped by SIGTERM.
    pub const TERMINATED: Exit = Exit(143);

    /// All of them with their meaning, as the reference page has them.
    pub const ALL: &[(Exit, &str)] = &[
        (
            Exit::FINE,
            "everything that was asked for is up to date; documents left out on purpose are no failures",
        ),
        (Exit::FAILED, "the build ran to its end; some documents failed"),
        (Exit::USAGE, "nothing ran: wrong use of the command, or a mistake in the Pipelinefile"),
        (
            Exit::UNFINISHED,
            "could not finish: disk, store, a source that is gone, a module that cannot start or was stopped",
        ),
        (Exit::NO_MATCH, "the selection matched nothing"),
        (Exit::BUG, "a bug in `pipe`; the message says where to report it"),
        (Exit::INTERRUPTED, "stopped by Ctrl-C (SIGINT); what was done is kept"),
        (Exit::TERMINATED, "stopped by SIGTERM; what was done is kept"),
    ];
}
