//! `pipe` is Make for documents: a content-addressed, incremental build system.
//!
//! Modules in the order of their ranks; imports point to lower ranks only (`tests/architecture.rs` checks it).

pub mod env;
pub mod error;
pub mod hash;
pub mod text;
pub mod time;

pub mod fs;

pub mod model;

pub mod pipelinefile;
