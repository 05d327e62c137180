//! The vocabulary: plain data, one word for one thing (`docs/glossary.md`).
//! Does no I/O and decides nothing; everything above speaks in these types.

pub mod action;
pub mod allowance;
pub mod children;
pub mod document;
pub mod event;
pub mod failure;
pub mod folder;
pub mod pipeline;
pub mod reason;
pub mod selection;
pub mod telling;
