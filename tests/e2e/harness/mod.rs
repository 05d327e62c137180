//! A project in a folder of its own, and what `pipe` said in it.
//!
//! ```ignore
//! Project::new()
//!     .file("Pipelinefile", "…")
//!     .file("inbox/a.txt", "…")
//!     .pipe(&["check"])
//!     .shows("
//!         status: 0
//!         --- stdout
//!         Pipelinefile: 1 source, 1 target, 1 module: no mistakes
//!     ");
//! ```
//!
//! The environment is the same everywhere: no colour, 100 columns, a fixed clock. In what is compared, the project's
//! folder reads `[ROOT]` and times read `[TIME]`.

mod counts;
mod outcome;
mod project;
mod random;
mod running;
mod runs;
mod stories;

pub(crate) use outcome::Outcome;
pub(crate) use project::Project;
pub(crate) use random::Random;
pub(crate) use running::{Ended, Running};
pub(crate) use runs::python;
