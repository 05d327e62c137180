//! What a module is handed: the bytes of its inputs, in the form and under the name that it may see.
//!
//! Small contents go inline. Everything else is a path inside `.pipe/tmp`, named by digest and extension: a symbolic
//! link to the source file or the blob, or a file written from the log. Never the user's own path (`semantics.md` 2).

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use crate::engine::decide::{Deciding, SideInput, Work};
use crate::engine::document::Document;
use crate::engine::target::{Shared, TargetPlan};
use crate::engine::values::{Match, MatchContent};
use crate::error::{Error, Result};
use crate::hash::{Digest, FieldHasher};
use crate::model::action::{Output, Place, Position};
use crate::model::document::Meta;
use crate::model::folder;
use crate::model::selection::{Field, IdPart};
use crate::module::{Body, Input as ModuleInput, Request, Side};
use crate::plan::family::{Family, Input};
use crate::store::Store;

/// Contents up to this size are handed over inline.
pub const INLINE: u64 = 32 * 1024;

/// Names of inputs inside `.pipe/tmp`, for the time of a build.
pub struct Inputs {
    dir: PathBuf,
    made: HashSet<PathBuf>,
    /// Folders, each with what tells whether somebody wrote into it: to root no mode says no.
    folders: HashMap<PathBuf, Digest>,
}

/// The bytes of a record's output do not match its digest, or are gone.
pub struct Damaged(pub Position);

/// A request that can be sent, or the record whose bytes are damaged.
pub type Made<T> = std::result::Result<T, Damaged>;

impl Inputs {
    /// Names below this folder of the store.
    pub fn new(store: &Store) -> Result<Self> {
        Inputs::in_folder(store.tmp().join("in"))
    }

    /// Names in a folder of their own: for whoever plans beside a build, whose names must not move.
    pub fn in_folder(dir: PathBuf) -> Result<Self> {
        crate::fs::create_dir(&dir)?;
        Ok(Inputs { dir, made: HashSet::new(), folders: HashMap::new() })
    }

    /// A name by digest and extension for a file that lies elsewhere.
    pub fn link(&mut self, target: &Path, digest: &Digest, ext: &str) -> Result<PathBuf> {
        let path = self.name(digest, ext);
        if self.made.contains(&path) && path.read_link().is_ok_and(|old| old == target) {
            return Ok(path);
        }
        // In one step: a module may be about to read by this name, and equal files share it.
        let new = path.with_extension("new");
        crate::fs::remove_file(&new)?;
        std::os::unix::fs::symlink(target, &new).map_err(|e| Error::io("link", &new, &e))?;
        std::fs::rename(&new, &path).map_err(|e| Error::io("link", &path, &e))?;
        self.made.insert(path.clone());
        Ok(path)
    }

    /// A file with these bytes.
    pub(super) fn file(&mut self, bytes: &[u8], digest: &Digest, ext: &str) -> Result<PathBuf> {
        let path = self.name(digest, ext);
        if self.made.insert(path.clone()) {
            crate::fs::remove_file(&path)?;
            crate::fs::write_scratch(&path, bytes)?;
        }
        Ok(path)
    }

    fn name(&self, digest: &Digest, ext: &str) -> PathBuf {
        let dot = if ext.is_empty() { "" } else { "." };
        self.dir.join(format!("{digest}{dot}{}", crate::model::selection::safe_component(ext)))
    }

    /// A result that is a folder: a name for it, to be read only, with all its files in it; nothing if anything of it is
    /// damaged or gone.
    fn folder(&mut self, store: &Store, output: &Output) -> Result<Option<PathBuf>> {
        let path = self.name(&output.digest, "");
        if self.folders.get(&path).is_some_and(|stamps| stamps_below(&path).is_ok_and(|now| now == *stamps)) {
            return Ok(Some(path));
        }
        let Some((folder, bytes)) = store.folder(output)? else { return Ok(None) };
        // Whole or not at all: a build that was stopped may have left a part of it.
        let new = path.with_extension("new");
        crate::fs::remove_dir(&new)?;
        crate::fs::remove_dir(&path)?;
        crate::fs::create_dir(&new)?;
        for (file, small) in folder.each(&bytes) {
            let to = new.join(file.on_disk());
            crate::fs::create_dir(to.parent().unwrap_or(&new))?;
            if let Some(small) = small {
                crate::fs::write_scratch(&to, small)?;
            } else {
                let Some(blob) = store.proved_file(&file.digest, file.length)? else { return Ok(None) };
                std::fs::copy(&blob, &to).map_err(|e| Error::io("copy", &blob, &e))?;
            }
            let mode = if file.exec { 0o555 } else { 0o444 };
            crate::fs::set_mode(&to, mode).map_err(|e| Error::io("write", &to, &e))?;
        }
        crate::fs::close_folders(&new)?;
        std::fs::rename(&new, &path).map_err(|e| Error::io("write", &path, &e))?;
        self.folders.insert(path.clone(), stamps_below(&path)?);
        Ok(Some(path))
    }

    /// A folder or file as a shared side input: a name for its bytes.
    pub fn output(&mut self, store: &Store, output: &Output) -> Result<Option<PathBuf>> {
        if output.ext == folder::EXT {
            return self.folder(store, output);
        }
        if output.place == Place::Blob {
            let Some(path) = store.proved_blob(output)? else { return Ok(None) };
            return self.link(&path, &output.digest, &output.ext).map(Some);
        }
        let Some(bytes) = store.output_bytes(output)? else { return Ok(None) };
        self.file(&bytes, &output.digest, &output.ext).map(Some)
    }
}

/// Sizes, modes and times of all files below a folder.
fn stamps_below(folder: &Path) -> Result<Digest> {
    let mut files = crate::fs::files_below(folder)?;
    files.sort_unstable();
    let mut hasher = FieldHasher::new("pipe stamps below a folder");
    for file in files {
        let found = std::fs::symlink_metadata(&file).map_err(|e| Error::io("read", &file, &e))?;
        hasher.text(&file.to_string_lossy()).number(found.len()).number(u64::from(found.mode()));
        for time in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
            hasher.number(time as u64);
        }
    }
    Ok(hasher.finish())
}

/// Makes the request of one action.
pub fn request(
    deciding: &Deciding<'_>,
    inputs: &mut Inputs,
    plan: &TargetPlan,
    document: &Document,
    work: &Work,
    number: u64,
) -> Result<Made<Request>> {
    let plan = plan.call(work.call);
    let body = match body(deciding, inputs, document, work.main)? {
        Ok(body) => body,
        Err(damaged) => return Ok(Err(damaged)),
    };
    let input = seen(deciding, plan, document, work.main, body);
    let with = match sides(deciding, inputs, document, work)? {
        Ok(with) => with,
        Err(damaged) => return Ok(Err(damaged)),
    };
    Ok(Ok(Request { id: number, input, with }))
}

/// The side inputs that differ from document to document, as they are handed over.
pub fn sides(
    deciding: &Deciding<'_>,
    inputs: &mut Inputs,
    document: &Document,
    work: &Work,
) -> Result<Made<Vec<(String, Side)>>> {
    let mut with = Vec::new();
    for (name, from) in &work.with {
        let side = match from {
            SideInput::None => Side::Absent,
            SideInput::Own(from) => match self::body(deciding, inputs, document, *from)? {
                Ok(body) => {
                    let (digest, ext) = document.input_facts(*from).unwrap_or_default();
                    Side::One(ModuleInput { digest: Some(digest), ..ModuleInput::new(body, ext) })
                }
                Err(damaged) => return Ok(Err(damaged)),
            },
            SideInput::One(one) => match matched(deciding.store, inputs, one)? {
                Ok(input) => Side::One(input),
                Err(damaged) => return Ok(Err(damaged)),
            },
            SideInput::Many(several) => {
                let mut all = Vec::with_capacity(several.len());
                for one in several {
                    match matched(deciding.store, inputs, one)? {
                        Ok(input) => all.push(input),
                        Err(damaged) => return Ok(Err(damaged)),
                    }
                }
                Side::Many(all)
            }
        };
        with.push((name.clone(), side));
    }
    Ok(Ok(with))
}

/// Another document, as it is handed over.
fn matched(store: &Store, inputs: &mut Inputs, one: &Match) -> Result<Made<ModuleInput>> {
    let body = match &one.content {
        None => return Ok(Err(Damaged(Position(0)))),
        Some(MatchContent::Row(bytes)) => Body::Bytes(Arc::clone(bytes)),
        Some(MatchContent::File { path, .. }) => Body::Path(inputs.link(path, &one.digest, &one.ext)?),
        Some(MatchContent::Stored(output, at)) if output.ext == folder::EXT => {
            match inputs.folder(store, output)? {
                Some(path) => Body::Path(path),
                None => return Ok(Err(Damaged(*at))),
            }
        }
        Some(MatchContent::Stored(output, _)) if output.place == Place::Blob => {
            Body::Path(inputs.link(&store.blob_path(&output.digest), &one.digest, &one.ext)?)
        }
        Some(MatchContent::Stored(output, at)) => match store.output_bytes(output)? {
            None => return Ok(Err(Damaged(*at))),
            Some(bytes) if output.length <= INLINE => Body::Bytes(bytes),
            Some(bytes) => Body::Path(inputs.file(&bytes, &one.digest, &one.ext)?),
        },
    };
    let input = ModuleInput::new(body, one.ext.clone());
    Ok(Ok(ModuleInput { digest: Some(one.digest), ..input }))
}

/// The input with what the module sees of it.
fn seen(
    deciding: &Deciding<'_>,
    plan: &TargetPlan,
    document: &Document,
    main: Input,
    body: Body,
) -> ModuleInput {
    let mut input = ModuleInput { ext: None, ..ModuleInput::new(body, "") };
    let mut meta = Meta::new();
    for field in &plan.sees {
        let Some(value) = deciding.field(document, main, field) else { continue };
        match (field, value) {
            (Field::Ext, Value::String(ext)) => input.ext = Some(ext),
            (Field::Id(IdPart::Whole), Value::String(id)) => input.id = Some(id),
            (Field::Meta(path), value) => put_meta(&mut meta, path, value),
            (other, value) => put_meta(&mut meta, &other.to_string(), value),
        }
    }
    if !meta.is_empty() {
        input.meta = Some(Value::Object(meta).to_string());
    }
    input
}

/// `meta.a.b` as `{"a": {"b": …}}`, as the module wrote it.
pub fn put_meta(meta: &mut Meta, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            meta.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = meta.entry(first.to_owned()).or_insert_with(|| Value::Object(Meta::new()));
            if let Value::Object(inner) = inner {
                put_meta(inner, rest, value);
            }
        }
    }
}

/// Layers of meta as one, the nearest first.
pub fn merged(layers: Vec<Meta>) -> Meta {
    let mut all = Meta::new();
    for (name, value) in layers.into_iter().rev().flatten() {
        match value {
            // Objects are merged name by name, as each path is looked up by itself.
            Value::Object(inner) if all.get(&name).is_some_and(Value::is_object) => {
                for (key, value) in inner {
                    put_meta(&mut all, &format!("{name}.{key}"), value);
                }
            }
            value => {
                all.insert(name, value);
            }
        }
    }
    all
}

fn body(
    deciding: &Deciding<'_>,
    inputs: &mut Inputs,
    document: &Document,
    input: Input,
) -> Result<Made<Body>> {
    let (digest, ext) = document.input_facts(input).unwrap_or_default();
    match origin(deciding.family, document, input) {
        Input::Origin => match &document.content {
            Some(content) if content.bytes.is_some() => {
                Ok(Ok(Body::Bytes(content.bytes.clone().unwrap_or_default())))
            }
            Some(content) => Ok(Ok(Body::Path(inputs.link(&content.path, &digest, &ext)?))),
            None => Ok(Err(Damaged(Position(0)))),
        },
        Input::Step(step) => {
            let Some(result) = &document.results[step] else { return Ok(Err(Damaged(Position(0)))) };
            let at = result.act.unwrap_or(Position(0));
            let Some(output) = result.output() else { return Ok(Err(Damaged(at))) };
            if output.ext == folder::EXT {
                let path = inputs.folder(deciding.store, output)?;
                return Ok(path.map(Body::Path).ok_or(Damaged(at)));
            }
            if let Some(bytes) = &result.bytes {
                return Ok(Ok(Body::Bytes(Arc::clone(bytes))));
            }
            if output.place == Place::Blob {
                let Some(path) = deciding.store.proved_blob(output)? else { return Ok(Err(Damaged(at))) };
                return Ok(Ok(Body::Path(inputs.link(&path, &digest, &ext)?)));
            }
            let Some(bytes) = deciding.store.output_bytes(output)? else { return Ok(Err(Damaged(at))) };
            if output.length <= INLINE {
                return Ok(Ok(Body::Bytes(bytes)));
            }
            Ok(Ok(Body::Path(inputs.file(&bytes, &digest, &ext)?)))
        }
    }
}

/// The place whose bytes these are: a result that passes its input on has none of its own.
pub fn origin(family: &Family, document: &Document, input: Input) -> Input {
    let mut input = input;
    while let Input::Step(step) = input
        && let Some(output) = document.results[step].as_ref().and_then(|result| result.output())
        && output.place == Place::Input
        && let crate::engine::document::MainInput::One(before) = document.main_input(&family.steps[step])
    {
        input = before;
    }
    input
}

/// The shared side inputs of a target, as its workers get them at their start.
pub fn shared(plan: &TargetPlan) -> Vec<(String, Side)> {
    let present = plan.shared.iter().filter_map(|(name, shared)| match shared {
        Shared::Present(input) => {
            let module = ModuleInput::new(Body::Path(input.path.clone()), input.ext.clone());
            Some((name.clone(), Side::One(ModuleInput { digest: input.key.digest, ..module })))
        }
        _ => None,
    });
    present.collect()
}
