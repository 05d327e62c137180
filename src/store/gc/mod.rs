//! Collection: what no document needs and no recent history names is given back to the disk. For `pipe gc`.
//!
//! First a plan, which changes nothing and says exactly what goes; then the plan is carried out. Killed anywhere, the
//! store is valid: first what the index remembers, then segments, the oldest first, each old or new as a whole, blobs
//! last. The owner does it, never beside a build; whoever reads keeps what is open. Which families there are is asked;
//! knows nothing else of pipelines. `docs/design/collection.md`.

mod carry_out;
mod live;
mod marks;
mod other_files;
mod plan;
mod report;
mod rewrite;
mod span;
#[cfg(test)]
mod tests;

pub use plan::{Asked, Plan, plan};
pub use report::{Doubt, Files, Report, Since};
