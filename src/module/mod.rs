//! Runs programs and reports how each document ended.
//!
//! A [`Slot`] is a thread (its *minder*) with one process of a module: a worker that stays alive, or one filter after
//! the other. All processes are children of the [`Host`], which ends them when `pipe` is gone, however it went.
//! Knows nothing of keys, caches, stores or pipelines. `docs/design/modules.md` has the picture.

pub mod author;
pub mod base64;
mod children;
mod command;
pub mod conform;
mod container;
mod describe;
mod enclosure;
mod filter;
pub mod host;
mod launch;
mod log;
mod meter;
mod minder;
mod output;
mod program;
mod protocol;
pub mod python;
pub(crate) mod reply;
mod report;
pub mod repro;
mod scratch;
mod secrets;
mod slot;
mod template;
pub mod trial;
pub mod trials;
mod worker;

pub use children::Weight;
pub use describe::{Description, Param, describe};
pub use host::Host;
pub use launch::{Body, IN_LINE, Input, Launch, Request, SETUP_TIMEOUT, Side};
pub use python::Python;
pub use report::{Answer, Died, Done, LargeFile, Output, OutputBody, Report};
pub use slot::Slot;
