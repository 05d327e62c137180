//! `pipe` is Make for documents: a content-addressed, incremental build system.
//!
//! Modules in the order of their ranks; imports point to lower ranks only (`tests/architecture.rs` checks it).

pub mod env;
pub mod error;
pub mod hash;
pub mod text;
pub mod time;

pub mod fs;
pub mod sys;

pub mod model;

pub mod cache;
pub mod code;
pub mod module;
pub mod pipelinefile;
pub mod scan;
pub mod store;
pub mod watch;

pub mod plan;
pub mod remote;

pub mod engine;

pub mod project;

pub mod golden;
pub mod query;

pub mod export;
pub mod report;
pub mod serve;
pub mod socket;

pub mod sink;

pub mod cli;

#[doc(hidden)]
pub mod probe;
