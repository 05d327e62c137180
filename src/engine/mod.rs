//! The engine: brings a pipeline up to date, document by document. Prints nothing: it emits `model::event`s.

pub mod scheduler;
