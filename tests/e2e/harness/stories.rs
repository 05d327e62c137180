//! What the store holds of a document, read with the program's own code: what no command shows as data yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipelinefile::model::action::{Outcome, State};
use pipelinefile::model::document::DocId;
use pipelinefile::store::{Opening, Store};

use super::Project;

/// A document in one target.
#[derive(Debug)]
pub(crate) struct Standing {
    pub state: State,
    /// The text of a failure, a skip, or who blocks.
    pub why: String,
    /// What it printed.
    pub log: String,
}

impl Project {
    /// How a document stands in each target. No `pipe` may be running.
    #[track_caller]
    pub(crate) fn standing(&self, id: &str) -> BTreeMap<String, Standing> {
        let store = match Store::open(&self.root().join(".pipe")).unwrap() {
            Opening::Opened(store, _) => store,
            Opening::Held(who) => panic!("the store is held by {who:?}"),
        };
        let standing = read(&store, &DocId::parse(id));
        store.close().unwrap();
        standing.unwrap_or_else(|| panic!("`{id}` is not known"))
    }
}

fn read(store: &Arc<Store>, id: &DocId) -> Option<BTreeMap<String, Standing>> {
    let name = if id.rel().is_empty() { "" } else { id.name() };
    let entry = store.entry(id.source(), id.dir(), name).unwrap()?;
    let story = store.story(entry.story).unwrap().expect("the story can be read");
    let definition = store.definition(story.definition).unwrap().expect("the definition can be read");
    let mut standing = BTreeMap::new();
    for (defined, entry) in definition.targets.iter().zip(&story.entries) {
        let act = entry.act.and_then(|at| store.act(at).unwrap());
        let why = match act.as_deref().map(|act| &act.outcome) {
            Some(Outcome::Failed(failure)) => failure.message.clone(),
            Some(Outcome::Skip(reason)) => reason.clone(),
            _ => entry.note.clone(),
        };
        let log = act.as_deref().and_then(|act| {
            let range = act.log?;
            let bytes = std::fs::read(store.worker_log(act.run, act.worker)).ok()?;
            let part = bytes.get(range.from as usize..(range.from + range.length) as usize)?;
            Some(String::from_utf8_lossy(part).into_owned())
        });
        standing
            .insert(defined.name.clone(), Standing { state: entry.state, why, log: log.unwrap_or_default() });
    }
    Some(standing)
}
