//! The store: what was done, and what came of it. The segment log is the truth; all else is made again from it.
//!
//! Knows documents and actions as data only, and nothing of pipelines. `docs/design/store.md` and `index.md` describe
//! the files. [`Store`] is what the rest of the program sees.
//!
//! In this order, imports point to the left: `disk` · `bytes`, `format`, `lock`, `quarantine`, `reserve` · `frame` ·
//! `extents` · `group` · `segment` · `recover` · `log`; `blobs`, `tables` and `index` beside them; `facade` and its parts on top, `examine`, `gc` and `aside` above.

pub mod blobs;
pub mod bytes;
pub mod disk;
pub mod extents;
pub mod format;
pub mod frame;
pub mod group;
pub mod index;
pub mod lock;
pub mod log;
pub mod quarantine;
pub mod recover;
pub mod reserve;
pub mod segment;
pub mod tables;

pub mod examine;
pub mod gc;

mod ancestors;
mod aside;
mod documents;
mod facade;
mod history;
mod interned;
mod opening;
mod pages;
#[cfg(test)]
mod promise;
mod records;
mod tail;

pub use facade::{CodeCache, Store, is_failed};
pub use history::kept_pipelinefile;
pub use index::{Entry, Sums};
pub use opening::{Opening, boot_id};
