//! The command `pipe` from the outside: each test runs the program in a project of its own and compares all that it says.
//!
//! One module for each command or promise; a new test goes into the one that it is about.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]
#![expect(clippy::disallowed_methods, reason = "tests make and read their own files")]

mod harness;

/// `pipe check`, and everything that the Pipelinefile can be told to be wrong about.
mod check;
/// `pipe` and its flags, wherever they hold for every command.
mod cli;
/// Documents that are edited, copied, renamed, removed: what runs again, and what does not.
mod edits;
/// `pipe graph`.
mod graph;
/// `pipe init`.
mod init;
/// `pipe modules`.
mod modules;
