//! DOC as people write it → a document: an id, a unique part of one, a set's target, a published path, a source file.

use std::path::{Component, Path, PathBuf};

use crate::engine::documents::Documents;
use crate::engine::publish::owned;
use crate::engine::sets::id_of;
use crate::engine::unrecorded::unrecorded;
use crate::error::{Error, Result};
use crate::model::document::{CHILDREN, DocId};
use crate::model::pipeline::{Node, Pipeline, TargetIx, Verb};
use crate::plan::family::FamilyIx;
use crate::query::Asked;
use crate::store::Entry;
use crate::text::{count, nearest};

/// At most so many documents are named where several could be meant.
const NAMED: usize = 10;

/// A document that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its id.
    pub id: DocId,
    /// The source, or the set's target.
    pub family: String,
    /// Its folder in the index; empty for a set.
    pub dir: String,
    /// Its name in that folder; empty for a set.
    pub name: String,
    /// How it stands; nothing if no build has recorded it yet.
    pub entry: Option<Entry>,
}

impl Found {
    /// A document of a family; without one, of the source or the set that its id begins with.
    fn of(id: DocId, family: Option<String>, entry: Option<Entry>) -> Found {
        let (dir, name) = id.place();
        let (dir, name) = (dir.to_owned(), name.to_owned());
        Found { family: family.unwrap_or_else(|| id.source().to_owned()), id, dir, name, entry }
    }

    /// The document's family, if the pipeline still has it.
    pub fn family(&self, documents: &Documents<'_>) -> Option<FamilyIx> {
        let family = documents.families.find(&self.family)?;
        documents.families.of_document(&self.id).find(|other| *other == family)
    }
}

/// The document that is meant.
pub fn document(asked: &Asked<'_>, documents: &Documents<'_>, text: &str) -> Result<Found> {
    let text = text.trim_end_matches('/');
    if let Some(found) = by_id(asked, text)? {
        return Ok(found);
    }
    if let Some(error) = is_a_stream(asked.pipeline, text) {
        return Err(error);
    }
    if let Some(found) = by_path(asked, documents, text)? {
        return Ok(found);
    }
    by_part(asked, documents, text)
}

fn by_id(asked: &Asked<'_>, text: &str) -> Result<Option<Found>> {
    let id = DocId::parse(text);
    let mut entries = asked.store.entries_of(&id)?;
    let is_there = |(family, _): &(String, Entry)| stands(asked.pipeline, family);
    entries.sort_by_key(|known| (!is_there(known), known.1.flags.gone));
    let (family, entry) = entries.into_iter().next().unzip();
    let found = Found::of(id, family, None);
    let is_open = || !asked.store.open_results(&found.id).is_empty();
    // A set that was never made is still known by its name.
    let is_set = || {
        let target = asked.pipeline.find_target(text).map(|ix| asked.pipeline.target(ix));
        target.is_some_and(|target| target.verb == Verb::All)
    };
    let is_held = || asked.in_hand().iter().any(|held| held.doc == found.id.as_str());
    if entry.is_some() || is_open() || is_set() || is_held() {
        return Ok(Some(Found { entry, ..found }));
    }
    Ok(None)
}

/// Whether the pipeline still has documents of this family.
fn stands(pipeline: &Pipeline, family: &str) -> bool {
    match family.strip_suffix(CHILDREN) {
        Some(target) => pipeline.find_target(target).is_some_and(|ix| pipeline.target(ix).split),
        None => true,
    }
}

/// A name of many documents is not one of them.
fn is_a_stream(pipeline: &Pipeline, text: &str) -> Option<Error> {
    let what = match (pipeline.find_source(text), pipeline.find_target(text)) {
        (Some(_), _) => "a source",
        (_, Some(_)) => "a target with a result for each document",
        _ => return None,
    };
    let error = Error::usage(format!("`{text}` is {what}, not one document"));
    Some(error.hint(format!("pipe ls {text}      lists its documents")))
}

fn by_path(asked: &Asked<'_>, documents: &Documents<'_>, text: &str) -> Result<Option<Found>> {
    let root = &asked.pipeline.root;
    for path in [asked.here.join(text), root.join(text)] {
        let path = plain(&path);
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        for path in [&path, &real] {
            if let Some(rel) = path.strip_prefix(root).ok().and_then(Path::to_str)
                && let Some(owned) = owned(asked.store, rel)?
                && let Some(found) = by_id(asked, owned.doc.as_str())?
            {
                return Ok(Some(found));
            }
            let Some((family, rel)) = documents.of_file(path) else { continue };
            let id = DocId::in_source(&documents.families.family(family).name, &rel);
            if let Some(found) = by_id(asked, id.as_str())? {
                return Ok(Some(found));
            }
            if !rel.is_empty() && path.is_file() {
                return Ok(Some(Found::of(id, None, None)));
            }
        }
    }
    // An id of a file that no build has seen yet.
    let id = DocId::parse(text);
    if let Some(ix) = documents.families.find(id.source())
        && !id.rel().is_empty()
    {
        let unknown = documents.unknown(ix, id.clone(), id.place().0, id.place().1);
        let is_file = |path: PathBuf| !unknown.is_given && path.is_file();
        if documents.given(&unknown).is_some() || documents.source_path(&unknown).is_some_and(is_file) {
            return Ok(Some(Found::of(id, None, None)));
        }
    }
    Ok(None)
}

/// A path without `.` and `..`, links left as they are.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(plain.pop()),
            part => plain.push(part),
        }
        plain
    })
}

/// How well an id fits a part of one; the lowest is meant if it is the only one.
fn fit(id: &str, part: &str) -> Option<usize> {
    let end = id.strip_suffix(part);
    match end {
        Some(before) if before.ends_with('/') => Some(0),
        Some(_) => Some(2),
        None if DocId::parse(id).stem() == part => Some(1),
        None => id.contains(part).then_some(2),
    }
}

fn by_part(asked: &Asked<'_>, documents: &Documents<'_>, text: &str) -> Result<Found> {
    if text.is_empty() {
        return Err(Error::no_match("a document's name is not empty"));
    }
    let mut matches: [(u64, Vec<Named>); 3] = Default::default();
    let mut gone = Vec::new();
    for family in asked.store.families() {
        asked.store.scan(&family, &mut |dir, entry| {
            let id = id_of(&family, dir, &entry.name);
            if let Some(fit) = fit(id.as_str(), text) {
                if entry.flags.gone {
                    if gone.len() < NAMED {
                        gone.push((id, family.clone(), entry.clone()));
                    }
                } else {
                    matches[fit].0 += 1;
                    if matches[fit].1.len() < NAMED {
                        matches[fit].1.push((id, family.clone(), entry.clone()));
                    }
                }
            }
            true
        })?;
    }
    for (total, mut named) in matches {
        match total {
            0 => {}
            1 => {
                if let Some((id, family, entry)) = named.pop() {
                    return Ok(Found::of(id, Some(family), Some(entry)));
                }
            }
            _ => return Err(several(text, total, named.iter().map(|(id, ..)| id))),
        }
    }
    // What was never recorded may be in hand for the first time.
    let mut held: Vec<DocId> = asked.in_hand().iter().map(|held| DocId::parse(&held.doc)).collect();
    held.retain(|id| fit(id.as_str(), text).is_some());
    held.dedup();
    if let [id] = &held[..] {
        return Ok(Found::of(id.clone(), None, None));
    }
    // Or wait in its source until its turn comes.
    let parts = (asked.pipeline, &**asked.store);
    let waiting = unrecorded(documents, parts, &|id| fit(id.as_str(), text).is_some())?;
    if let Some(best) = waiting.iter().filter_map(|id| fit(id.as_str(), text)).min() {
        let is_best = |id: &&DocId| fit(id.as_str(), text) == Some(best);
        let meant: Vec<DocId> = waiting.iter().filter(is_best).cloned().collect();
        if let [id] = &meant[..] {
            return Ok(Found::of(id.clone(), None, None));
        }
        return Err(several(text, meant.len() as u64, meant.iter().take(NAMED)));
    }
    if gone.len() == 1
        && let Some((id, family, entry)) = gone.pop()
    {
        return Ok(Found::of(id, Some(family), Some(entry)));
    }
    if !gone.is_empty() {
        return Err(several(text, gone.len() as u64, gone.iter().map(|(id, ..)| id)));
    }
    Err(none(asked.pipeline, text))
}

/// A document that may be meant, with its family.
type Named = (DocId, String, Entry);

fn several<'d>(text: &str, total: u64, named: impl ExactSizeIterator<Item = &'d DocId>) -> Error {
    let message = format!("`{text}` could be {}", count(total, "document"));
    let more = total - named.len() as u64;
    let mut error = named.fold(Error::usage(message), Error::caused_by);
    if more > 0 {
        error = error.caused_by(format!("… and {more} more"));
    }
    error.hint("give more of its id")
}

fn none(pipeline: &Pipeline, text: &str) -> Error {
    let names = pipeline.sources.iter().map(|source| source.name.as_str());
    let names = names.chain(pipeline.targets.iter().map(|target| target.name.as_str()));
    let first = text.split('/').next().unwrap_or_default();
    let error = Error::no_match(format!("no document is called `{text}`"));
    match nearest(first, names) {
        Some(near) => error.hint(format!("did you mean `{near}{}`?", &text[first.len()..])),
        None => match pipeline.sources.first() {
            Some(source) => error.hint(format!("pipe ls {}      lists documents", source.name)),
            None => error,
        },
    }
}

/// The stream of this name: a target's or a source's.
pub fn stream(pipeline: &Pipeline, name: &str) -> Result<Node> {
    if let Some(ix) = pipeline.find_target(name) {
        return Ok(Node::Target(ix));
    }
    if let Some(ix) = pipeline.find_source(name) {
        return Ok(Node::Source(ix));
    }
    let names = pipeline.sources.iter().map(|source| source.name.as_str());
    let names = names.chain(pipeline.targets.iter().map(|target| target.name.as_str()));
    let error = Error::no_match(format!("there is no target or source `{name}`"));
    Err(match nearest(name, names) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("pipe graph      shows all of them"),
    })
}

/// The targets that a name stands for: one, or all of a module.
pub fn targets(pipeline: &Pipeline, name: &str) -> Vec<TargetIx> {
    match pipeline.find_target(name) {
        Some(ix) => vec![ix],
        None => pipeline.targets_of_module(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_name_fits_better_than_a_part_of_one() {
        assert_eq!(fit("inbox/2024/a.pdf", "a.pdf"), Some(0));
        assert_eq!(fit("inbox/2024/a.pdf", "2024/a.pdf"), Some(0));
        assert_eq!(fit("inbox/2024/a.pdf", "a"), Some(1));
        assert_eq!(fit("inbox/2024/ba.pdf", "a.pdf"), Some(2));
        assert_eq!(fit("inbox/2024/ba.pdf", "24"), Some(2));
        assert_eq!(fit("inbox/2024/ba.pdf", "25"), None);
    }

    #[test]
    fn a_path_is_made_plain_without_following_links() {
        assert_eq!(plain(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
