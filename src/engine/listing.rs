//! The listing of a target: what is published of it, as JSON lines (`publish = { index = "out/index.jsonl" }`).
//!
//! Made after a build has published, in one pass over the documents of the target, straight into a file: nothing of it
//! is held in memory. A basis that is kept with it says from what it was made; while that holds nothing is read but
//! one stamp. A listing with the same bytes is not touched, one that somebody edited is kept. Knows stories and
//! results, nothing of scheduling.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::closing::published_path;
use crate::engine::documents::{Bytes, Depth, Documents, Passing};
use crate::engine::modules::hash_file;
use crate::engine::publish::{beside, move_into_place, owned, remove_empty_folders};
use crate::engine::stale::{is_stale, shown_at};
use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher, StreamHasher};
use crate::model::action::{OwnListing, Place, State};
use crate::model::document::Meta;
use crate::model::failure::Failure;
use crate::model::folder;
use crate::model::pipeline::{Node, Pipeline, Publish, TargetIx};
use crate::plan::family::{Families, Input};
use crate::store::Store;

const TREE: &str = "listings";

/// Of the lines; another one makes every listing anew.
const VERSION: u64 = 1;

/// What is kept of a listing, by its path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    target: String,
    /// Of the bytes that we wrote.
    digest: Digest,
    /// Of all that they were made from.
    basis: Digest,
    /// Of the file, then.
    stamp: Option<Stamp>,
}

/// Size, times and inode of a file.
type Stamp = [i64; 6];

/// How a listing is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Made anew where that is needed; what was edited is kept.
    Mend,
    /// Only compared.
    Look,
    /// What was edited is made anew too.
    Overwrite,
}

/// How a listing was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it should be.
    Right,
    /// Not there.
    Missing,
    /// Ours, and not what it should be.
    Old,
    /// Edited since it was written.
    Edited,
    /// Not a file of ours.
    Foreign,
}

/// What became of one listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The target.
    pub target: String,
    /// Relative to the project.
    pub path: String,
    /// As it was found.
    pub found: Found,
    /// It was written.
    pub written: bool,
    /// Why it could not be.
    pub problem: Option<String>,
}

/// The targets with a listing: number, what they say of publishing, path.
pub fn listings<'p>(
    pipeline: &'p Pipeline,
    wanted: &'p BTreeSet<TargetIx>,
) -> impl Iterator<Item = (TargetIx, &'p Publish, &'p str)> {
    wanted.iter().filter_map(|ix| {
        let publish = pipeline.target(*ix).publish.as_ref()?;
        Some((*ix, publish, publish.index.as_deref()?))
    })
}

/// Whether a listing is to be made, as far as stamps and the places of changes tell.
pub fn any_behind(pipeline: &Pipeline, store: &Arc<Store>, wanted: &BTreeSet<TargetIx>) -> Result<bool> {
    if listings(pipeline, wanted).next().is_none() {
        return Ok(!gone(pipeline, store)?.is_empty());
    }
    let families = all_families(pipeline);
    for (ix, publish, path) in listings(pipeline, wanted) {
        if !is_current(pipeline, store, ix, &families, publish, path)? {
            return Ok(true);
        }
    }
    Ok(!gone(pipeline, store)?.is_empty())
}

fn all_families(pipeline: &Pipeline) -> Families {
    Families::new(pipeline, &(0..pipeline.targets.len()).map(TargetIx).collect())
}

fn is_current(
    pipeline: &Pipeline,
    store: &Store,
    ix: TargetIx,
    families: &Families,
    publish: &Publish,
    path: &str,
) -> Result<bool> {
    let basis = basis(pipeline, store, ix, families, publish);
    let stamp = stamp(&pipeline.root.join(path));
    let kept = kept(store, path)?;
    Ok(kept.is_some_and(|kept| kept.basis == basis && stamp.is_some() && kept.stamp == stamp))
}

/// Brings the listings of some targets up to date; `is_new`: something was published whose story was told before.
pub fn refresh(
    pipeline: &Pipeline,
    store: &Arc<Store>,
    wanted: &BTreeSet<TargetIx>,
    is_new: &dyn Fn(&str) -> bool,
    manner: Manner,
) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    let mut documents = None;
    for (ix, publish, path) in listings(pipeline, wanted) {
        let documents = documents.get_or_insert_with(|| Documents::new(pipeline, store));
        let name = &pipeline.target(ix).name;
        let is_trusted = manner == Manner::Mend && !is_new(name);
        if is_trusted && is_current(pipeline, store, ix, &documents.families, publish, path)? {
            continue;
        }
        let (target, path) = (name.clone(), path.to_owned());
        all.push(match write(documents, ix, publish, &path, manner) {
            Ok((found, written)) => Listed { target, path, found, written, problem: None },
            // It is no reason to say nothing of all else.
            Err(error) => {
                let problem = Some(error.to_string());
                Listed { target, path, found: Found::Old, written: false, problem }
            }
        });
    }
    Ok(all)
}

/// Removes listings that no target states any more. Their paths; and of those that were edited, which stay.
pub fn withdraw(pipeline: &Pipeline, store: &Store) -> Result<(Vec<String>, Vec<String>)> {
    let (mut removed, mut edited) = (Vec::new(), Vec::new());
    for (path, kept) in gone(pipeline, store)? {
        let full = pipeline.root.join(&path);
        crate::fs::remove_file(&beside(&full))?;
        match hash_file(&full) {
            Ok(present) if present == kept.digest => {
                crate::fs::remove_file(&full)?;
                remove_empty_folders(&pipeline.root, full.parent());
                removed.push(path.clone());
            }
            Ok(_) => edited.push(path.clone()),
            Err(_) => {}
        }
        store.drop_kept(TREE, path.as_bytes())?;
    }
    Ok((removed, edited))
}

/// Whether a file is a listing that was written, relative to the project.
pub fn is_listing(store: &Store, path: &str) -> bool {
    kept(store, path).is_ok_and(|kept| kept.is_some())
}

fn kept(store: &Store, path: &str) -> Result<Option<Kept>> {
    let kept = store.kept(TREE, path.as_bytes())?;
    Ok(kept.and_then(|kept| serde_json::from_slice(&kept).ok()))
}

/// What the end of the newest run says of a listing, where the index that knew it is lost.
fn told(store: &Store, path: &str, target: &str) -> Result<Option<Kept>> {
    let ended = store.newest_end()?;
    let mut listings = ended.into_iter().flat_map(|ended| ended.listings);
    let own = listings.find(|own| own.path == path && own.target == target);
    Ok(own.map(|own| Kept { target: own.target, digest: own.digest, basis: Digest::default(), stamp: None }))
}

/// The listings that are ours, to be told in the log.
pub fn owned_listings(store: &Store) -> Result<Vec<OwnListing>> {
    let mut all = Vec::new();
    store.kept_scan(TREE, b"", &mut |key, value| {
        if let Ok(Kept { target, digest, .. }) = serde_json::from_slice(value) {
            all.push(OwnListing { path: String::from_utf8_lossy(key).into_owned(), target, digest });
        }
        true
    })?;
    Ok(all)
}

fn keep(store: &Store, path: &str, kept: &Kept) -> Result<()> {
    store.keep(TREE, path.as_bytes(), &serde_json::to_vec(kept).unwrap_or_default())
}

/// Listings that no target states.
fn gone(pipeline: &Pipeline, store: &Store) -> Result<Vec<(String, Kept)>> {
    let stated: BTreeSet<&str> = pipeline
        .targets
        .iter()
        .filter_map(|target| target.publish.as_ref().and_then(|publish| publish.index.as_deref()))
        .collect();
    let mut gone = Vec::new();
    store.kept_scan(TREE, b"", &mut |key, value| {
        let path = String::from_utf8_lossy(key).into_owned();
        if !stated.contains(path.as_str())
            && let Ok(kept) = serde_json::from_slice(value)
        {
            gone.push((path, kept));
        }
        true
    })?;
    Ok(gone)
}

/// All that the lines of a target are made from, as places in the log: what is told there is never changed.
fn basis(pipeline: &Pipeline, store: &Store, ix: TargetIx, families: &Families, publish: &Publish) -> Digest {
    let mut hasher = FieldHasher::new("pipe listing");
    hasher.number(VERSION).text(&publish.path.to_string()).number(u64::from(publish.content));
    hasher.number(u64::from(publish.remove_stale));
    let closure = Families::closure(pipeline, [ix]);
    let targets = closure.iter().map(|ix| pipeline.target(*ix));
    let mut streams: BTreeSet<&str> = targets.clone().map(|target| target.name.as_str()).collect();
    streams.extend(targets.flat_map(|target| &target.streams).map(|stream| pipeline.node_name(*stream)));
    streams.extend(
        families.of_stream(Node::Target(ix)).iter().map(|(ix, _)| families.family(*ix).name.as_str()),
    );
    for stream in streams {
        hasher.text(stream).number(store.last_change(stream).0);
    }
    hasher.finish()
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let (size, inode) = (found.size() as i64, found.ino() as i64);
    Some([found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), size, inode])
}

/// Makes a listing and puts it into its place, unless it is there already.
fn write(
    documents: &Documents<'_>,
    ix: TargetIx,
    publish: &Publish,
    path: &str,
    manner: Manner,
) -> Result<(Found, bool)> {
    let (pipeline, store) = (documents.pipeline, documents.store);
    let basis = basis(pipeline, store, ix, &documents.families, publish);
    let temporary = store.tmp().join(format!("listing-{}", ix.0));
    let made = make(documents, ix, publish, &temporary);
    let placed = made.and_then(|digest| {
        let full = pipeline.root.join(path);
        let name = &pipeline.target(ix).name;
        let before = match kept(store, path)? {
            None => told(store, path, name)?,
            kept => kept,
        };
        let found = compare(store, path, &full, &digest, before.as_ref())?;
        let is_to_be_written = match found {
            Found::Missing | Found::Old => manner != Manner::Look,
            Found::Edited => manner == Manner::Overwrite,
            Found::Right | Found::Foreign => false,
        };
        if manner == Manner::Look || found == Found::Foreign {
            return Ok((found, false));
        }
        let target = pipeline.target(ix).name.clone();
        if is_to_be_written {
            // Ours before it is there: a kill in between leaves one that is missing or old.
            keep(store, path, &Kept { target: target.clone(), digest, basis, stamp: None })?;
            move_into_place(&temporary, &full)?;
        }
        // Of one that was edited the digest that we wrote is kept: so it stays known as edited.
        let ours = match (found, is_to_be_written, before) {
            (Found::Edited, false, Some(before)) => before.digest,
            _ => digest,
        };
        keep(store, path, &Kept { target, digest: ours, basis, stamp: stamp(&full) })?;
        Ok((found, is_to_be_written))
    });
    crate::fs::remove_file(&temporary)?;
    placed
}

fn compare(store: &Store, path: &str, full: &Path, digest: &Digest, before: Option<&Kept>) -> Result<Found> {
    if std::fs::symlink_metadata(full).is_err() {
        return Ok(Found::Missing);
    }
    if owned(store, path)?.is_some() || !full.is_file() {
        return Ok(Found::Foreign);
    }
    let present = hash_file(full)?;
    Ok(match before {
        _ if present == *digest => Found::Right,
        Some(before) if before.digest == present => Found::Old,
        Some(_) => Found::Edited,
        None => Found::Foreign,
    })
}

/// Writes the lines; their digest.
fn make(documents: &Documents<'_>, ix: TargetIx, publish: &Publish, temporary: &Path) -> Result<Digest> {
    let failed = |e: &std::io::Error| Error::io("write", temporary, e);
    if let Some(folder) = temporary.parent() {
        crate::fs::create_dir(folder)?;
    }
    let mut file = BufWriter::with_capacity(1 << 18, File::create(temporary).map_err(|e| failed(&e))?);
    let mut hasher = StreamHasher::default();
    documents.visit(Node::Target(ix), Depth::All, &mut |passing| {
        if passing.state == State::Absent {
            return Ok(true);
        }
        let Some(line) = line(documents, publish, passing)? else { return Ok(true) };
        let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
        bytes.push(b'\n');
        hasher.update(&bytes);
        file.write_all(&bytes).map_err(|e| failed(&e))?;
        Ok(true)
    })?;
    file.flush().map_err(|e| failed(&e))?;
    Ok(hasher.finish())
}

/// A line, in the order of its fields.
#[derive(Serialize)]
struct Line {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    meta: Meta,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

fn line(documents: &Documents<'_>, publish: &Publish, passing: &Passing<'_>) -> Result<Option<Line>> {
    let (document, result) = (passing.document, passing.result());
    let (Input::Step(step), Some(result)) = (passing.place, result) else { return Ok(None) };
    let target = documents.pipeline.target(passing.family.steps[step].target);
    let is_done = result.state == State::Done;
    // What could not be shown is a failure that no record holds.
    let has_failed = is_done && serde_json::from_str::<Failure>(&result.note).is_ok();
    let state = if has_failed { State::Failed } else { result.state };
    let digest = result.output().map(|output| output.digest).filter(|_| is_done);
    let shown = match state {
        State::Done if result.published => {
            let path = published_path(&publish.path, document, passing.family, passing.place, target);
            path.zip(digest)
        }
        _ if result.published && is_stale(result.state) => {
            shown_at(documents, document, document.family, step)?
        }
        _ => None,
    };
    let (path, shown) = shown.unzip();
    let mut line = Line {
        id: document.id.to_string(),
        path,
        digest: digest.or(shown),
        meta: if is_done { passing.meta() } else { Meta::new() },
        state: state.word(),
        text: None,
        base64: None,
    };
    if publish.content && is_done {
        put_content(documents, passing, &mut line)?;
    }
    Ok(Some(line))
}

/// The text itself; bytes that are none as base64.
fn put_content(documents: &Documents<'_>, passing: &Passing<'_>, line: &mut Line) -> Result<()> {
    let bytes: Option<Vec<u8>> = match documents.bytes(passing.document, passing.place) {
        // What is not what it was any more is looked at by the next build.
        Some(Bytes::Source(path, digest)) => {
            crate::fs::read(&path).ok().filter(|bytes| digest == Some(Digest::of(bytes)))
        }
        Some(Bytes::Row(row, digest)) => Some(row).filter(|row| digest == Some(Digest::of(row))),
        // Of a folder the files are the content, and they lie where it is published.
        Some(Bytes::Stored(output)) if output.ext == folder::EXT => None,
        Some(Bytes::Stored(output)) if output.place == Place::Blob => {
            match documents.store.proved_blob(output)? {
                Some(path) => Some(crate::fs::read(&path)?),
                None => None,
            }
        }
        Some(Bytes::Stored(output)) => documents.store.output_bytes(output)?.map(|bytes| bytes.to_vec()),
        None => None,
    };
    match bytes.map(String::from_utf8) {
        Some(Ok(text)) => line.text = Some(text),
        Some(Err(bytes)) => {
            let bytes = bytes.into_bytes();
            let mut encoded = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
            crate::module::base64::encode(&bytes, &mut encoded);
            line.base64 = Some(String::from_utf8_lossy(&encoded).into_owned());
        }
        None => {}
    }
    Ok(())
}
