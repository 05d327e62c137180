//! Values of meta that a target's tests ask for and that no document has: misspelt, most likely.
//!
//! What was seen once is remembered in the index, and not looked at again. A hint, no more: the index may be lost.

use std::collections::{BTreeSet, HashMap};

use crate::engine::document::{Document, MainInput};
use crate::error::Result;
use crate::model::document::Meta;
use crate::model::event::Event;
use crate::model::pipeline::{Pipeline, TargetIx};
use crate::model::selection::Field;
use crate::plan::family::Family;
use crate::store::Store;
use crate::text::{count, nearest};

/// Where the index keeps what was seen.
const SEEN: &str = "fields";
/// From so many documents the names of values are collected, for a suggestion.
const SAMPLES: u64 = 64;

/// The fields that are looked out for.
pub(super) struct Unseen {
    by_target: HashMap<TargetIx, Vec<Watched>>,
}

struct Watched {
    path: String,
    documents: u64,
    /// Values that these documents have.
    names: BTreeSet<String>,
}

impl Unseen {
    /// Everything in meta that tests of these targets ask for and that was not seen yet.
    pub(super) fn new(pipeline: &Pipeline, wanted: &BTreeSet<TargetIx>, store: &Store) -> Result<Self> {
        let mut by_target = HashMap::new();
        for ix in wanted {
            let target = pipeline.target(*ix);
            let mut watched: Vec<Watched> = Vec::new();
            for field in target.tested() {
                let Field::Meta(path) = field else { continue };
                let is_known = watched.iter().any(|other| other.path == *path)
                    || store.kept(SEEN, &key(&target.name, path))?.is_some();
                if !is_known {
                    watched.push(Watched { path: path.clone(), documents: 0, names: BTreeSet::new() });
                }
            }
            if !watched.is_empty() {
                by_target.insert(*ix, watched);
            }
        }
        Ok(Unseen { by_target })
    }

    /// A document comes to a target.
    pub(super) fn note(
        &mut self,
        store: &Store,
        (target, name): (TargetIx, &str),
        document: &Document,
        family: &Family,
        step: usize,
    ) -> Result<()> {
        let Some(watched) = self.by_target.get_mut(&target) else { return Ok(()) };
        let MainInput::One(input) = document.main_input(&family.steps[step]) else { return Ok(()) };
        let mut seen = Vec::new();
        watched.retain_mut(|field| {
            if document.meta(family, input, &field.path).is_some() {
                seen.push(key(name, &field.path));
                return false;
            }
            field.documents += 1;
            if field.documents <= SAMPLES {
                let outputs = document.results.iter().flatten().filter_map(|result| result.output());
                let metas = outputs.filter_map(|output| serde_json::from_str::<Meta>(&output.meta).ok());
                field.names.extend(metas.flat_map(|meta| meta.into_iter().map(|(name, _)| name)));
            }
            true
        });
        seen.iter().try_for_each(|key| store.keep(SEEN, key, b"1"))
    }

    /// What is to be said of the fields that no document had.
    pub(super) fn notices(&self, pipeline: &Pipeline) -> Vec<Event> {
        let mut targets: Vec<_> = self.by_target.iter().collect();
        targets.sort_by_key(|(ix, _)| **ix);
        let of_target = |(ix, watched): (&TargetIx, &Vec<Watched>)| {
            let name = pipeline.target(*ix).name.clone();
            let unseen = watched.iter().filter(|field| field.documents > 0);
            unseen.map(move |field| field.notice(&name)).collect::<Vec<_>>()
        };
        targets.into_iter().flat_map(of_target).collect()
    }
}

impl Watched {
    fn notice(&self, target: &str) -> Event {
        let of = match self.documents {
            1 => "the document that came has".to_owned(),
            documents => format!("none of the {} that came has", count(documents, "document")),
        };
        let no = if self.documents == 1 { " not" } else { "" };
        let message = format!("target `{target}` asks for `meta.{}`, which {of}{no}", self.path);
        let near = nearest(&self.path, self.names.iter().map(String::as_str));
        Event::Notice { message, hint: near.map(|near| format!("did you mean `meta.{near}`?")) }
    }
}

fn key(target: &str, path: &str) -> Vec<u8> {
    [target.as_bytes(), b"\0", path.as_bytes()].concat()
}
