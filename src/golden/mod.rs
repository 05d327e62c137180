//! Golden samples: what a module is given and what must come of it, as files beside it in `tests/MODULE`.
//!
//! ```text
//! tests/clean/short.in.html      the document                    short.in/       a folder: the members of a set
//! tests/clean/short.out.txt      what must come of it            short.out/      children, or a folder
//! tests/clean/short.skip         or: it is skipped               short.error     or: it fails, with these words
//! tests/clean/short.toml         params, meta, id                short.with.NAME.EXT, short.meta.json
//! ```
//!
//! Runs modules as a build would; knows nothing of targets' documents, stores or keys. The page for users:
//! `docs/guide/trying-and-testing.md`.

mod made;
mod run;
mod sample;

pub use made::{Content, Difference, Made, Verdict, bless, judge, made, readable_text};
pub use run::{Subject, run};
pub use sample::{Sample, Saved, find, folder_of, modules_with_samples, save};
