//! The store: what was done, and what came of it. The segment log is the truth; all else is made again from it.
//!
//! Knows documents and actions as data only, and nothing of pipelines. `docs/design/store.md` describes the files.
//!
//! In this order, imports point to the left: `disk` · `bytes`, `format`, `lock`, `quarantine`, `reserve` · `frame` ·
//! `group` · `segment` · `recover` · `log`; and `blobs` beside them.

pub mod blobs;
pub mod bytes;
pub mod disk;
pub mod format;
pub mod frame;
pub mod group;
pub mod lock;
pub mod log;
pub mod quarantine;
pub mod recover;
pub mod reserve;
pub mod segment;
