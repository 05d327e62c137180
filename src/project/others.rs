//! What sources take of other projects, as `pipe check` tells it. Reads their stores, writes nothing.

use serde::Serialize;

use crate::engine::others;
use crate::pipelinefile::{Loaded, Mistake};

/// A source whose documents are results of another project.
#[derive(Clone, Debug, Serialize)]
pub struct Taken {
    /// The source here.
    pub source: String,
    /// The other project's folder, as written.
    pub project: String,
    /// The target there.
    pub target: String,
    /// How many documents it gives now.
    pub documents: u64,
    /// The same in words, with what is left out.
    #[serde(skip)]
    pub told: String,
}

/// What each source takes, and a warning for each that has nothing to take yet.
pub(super) fn taken(loaded: &Loaded) -> (Vec<Taken>, Vec<Mistake>) {
    let (mut all, mut warnings) = (Vec::new(), Vec::new());
    for source in &loaded.pipeline.sources {
        let Some(project) = &source.project else { continue };
        match others::told(source) {
            Some(Ok((documents, told))) => all.push(Taken {
                source: source.name.clone(),
                project: project.written.clone(),
                target: project.target.clone(),
                documents,
                told,
            }),
            Some(Err(error)) => {
                let warning = loaded.mistake_at_source(&source.name, "path", error.to_string()).warning();
                let hints = error.hints.into_iter();
                warnings.push(hints.fold(warning, Mistake::help));
            }
            None => {}
        }
    }
    (all, warnings)
}
