//! Fields, tests, globs and templates: how a Pipelinefile speaks of documents (`where`, `sees`, `publish`, `on`).
//!
//! Everything here is a pure function of text and of values that a caller looks up. Knows no document, no file and no
//! TOML; `pipelinefile` finds the mistakes' places.

mod field;
mod glob;
mod quantity;
mod template;
mod test;

pub use field::{Field, IdPart};
pub use glob::{Glob, GlobSet, names_file};
pub use quantity::{parse_age, parse_size};
pub use template::{Template, safe_component};
pub use test::{Condition, Test};
