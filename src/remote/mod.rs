//! Modules that run elsewhere: asks a module server what it has, and hands it documents.
//!
//! A build does not speak to servers itself. It starts this program once more as a worker ([`serve_worker`]), which speaks
//! the worker protocol on one side and HTTP on the other: so a server that hangs is ended like any module that hangs.
//! `docs/reference/http-protocol.md` has what goes over the wire. Knows nothing of keys and stores.

mod address;
mod answers;
mod bridge;
mod client;
mod description;
mod folders;
mod inline;

pub use address::{Address, module_url};
pub use bridge::{ARGUMENT, serve_worker};
pub use client::{Client, Trouble};
pub use description::{Description, PROTOCOL, fingerprint};
pub use folders::{content, sent as sent_folder, write as write_folder};

/// The type of the failure by which a worker says that the server has other code now.
pub const CHANGED: &str = "module changed";
/// The header by which a request says which code it is meant for.
pub const FINGERPRINT_HEADER: &str = "pipe-fingerprint";
/// The form of requests and replies.
pub const NDJSON: &str = "application/x-ndjson";
