//! What a document that is being split has given so far. Knows nothing of the build.

use crate::model::children::{self, Names};
use crate::model::failure::Failure;

/// What came of a document so far.
pub(super) struct Collected {
    pub(super) list: Vec<u8>,
    names: Names,
    pub(super) refused: Option<Failure>,
}

impl Default for Collected {
    fn default() -> Self {
        Collected { list: children::begin(), names: Names::default(), refused: None }
    }
}

impl Collected {
    /// Whether a child may be called so; else the document fails for it.
    pub(super) fn accepts(&mut self, name: &str) -> bool {
        match self.names.add(name) {
            Ok(()) => true,
            Err(failure) => {
                self.refused.get_or_insert(failure);
                false
            }
        }
    }
}
