//! What reading a target needs; the readers of its keys (`target`, `with`, `publish`) are methods of it.

use std::path::Path;

use super::module::Modules;
use super::names::Names;
use super::section::Log;

/// What reading a target needs.
pub(super) struct Context<'a> {
    pub(super) root: &'a Path,
    pub(super) text: &'a str,
    pub(super) names: &'a Names,
    pub(super) modules: &'a Modules<'a>,
    pub(super) log: &'a Log,
}
