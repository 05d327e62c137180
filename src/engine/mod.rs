//! The engine: brings a pipeline up to date, document by document. Prints nothing: it emits `model::event`s.

pub mod document;
pub mod scheduler;
pub mod target;
