//! What the language has and this version does not run: refused by `build`, never left out in silence.

use crate::model::pipeline::{Module, Node, Pipeline, Program, TargetIx};

/// A key that this version cannot act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotYet {
    /// The source or target that states it (or uses a module that does).
    pub place: Node,
    /// The module whose table states it, if the target does not.
    pub module: Option<String>,
    /// The key as it is called in the file: `url`, `image`.
    pub key: String,
}

/// Everything in a pipeline that a build must refuse; whoever builds a part asks only for the places that it builds.
pub fn not_yet(pipeline: &Pipeline) -> Vec<NotYet> {
    let mut found = Vec::new();
    for (ix, target) in pipeline.targets.iter().enumerate() {
        let place = Node::Target(TargetIx(ix));
        let mut add = |key: &str, module: Option<&Module>| {
            let module = module.map(|module| module.name.clone());
            found.push(NotYet { place, module, key: key.to_owned() });
        };
        for module in pipeline.modules_of(TargetIx(ix)).into_iter().map(|ix| pipeline.module(ix)) {
            let own = module.name == target.name;
            let key = match &module.program {
                Program::Image(..) => Some("image"),
                _ => None,
            };
            if let Some(key) = key {
                add(key, Some(module).filter(|_| !own));
            }
        }
    }
    found
}
