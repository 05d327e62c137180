//! What a document that is being split has given so far. Knows nothing of the build.

use std::collections::HashSet;

use crate::model::children::{self};
use crate::model::failure::{Failure, FailureKind};

/// The longest name of a child, in bytes.
const LONGEST: usize = 1024;

/// What came of a document so far.
pub(super) struct Collected {
    pub(super) list: Vec<u8>,
    pub(super) names: HashSet<String>,
    pub(super) refused: Option<Failure>,
}

impl Default for Collected {
    fn default() -> Self {
        Collected { list: children::begin(), names: HashSet::new(), refused: None }
    }
}

impl Collected {
    /// Whether a child may be called so; else the document fails for it.
    pub(super) fn accepts(&mut self, name: &str) -> bool {
        let mut refuse = |message: String| {
            let failure = Failure::new(FailureKind::ModuleError, "child's name", message);
            self.refused.get_or_insert(failure);
            false
        };
        if name.is_empty() {
            return refuse("a child needs a name".to_owned());
        }
        if name.len() > LONGEST {
            let begin: String = name.chars().take(40).collect();
            return refuse(format!("a child's name is too long: `{begin}…`"));
        }
        if !self.names.insert(name.to_owned()) {
            return refuse(format!("two children are called `{name}`"));
        }
        true
    }
}
