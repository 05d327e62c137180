//! What came of a sample, held against what must come of it; or written down as that.
//!
//! JSON is compared as values and written with line breaks, so that people can read and edit it; all else byte for byte.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::golden::sample::{Expected, Sample};
use crate::model::failure::Failure;
use crate::model::folder;
use crate::model::selection::safe_component;
use crate::module::{Done, Output, OutputBody};

/// What came of a sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// A result.
    Output(Content, Value),
    /// It was skipped, for this reason.
    Skip(String),
    /// It failed.
    Failed(Failure),
}

/// A result's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// With the extension.
    File(Vec<u8>, String),
    /// A folder, or the children of a split, by name.
    Files(BTreeMap<String, Vec<u8>>),
}

/// How a sample came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// As it must.
    Passed,
    /// Nobody has said yet what must come of it.
    Unset,
    /// Otherwise.
    Wrong(Vec<Difference>),
}

/// One thing that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In words.
    pub what: String,
    /// The text that must be there, and the one that came.
    pub texts: Option<(String, String)>,
}

impl Difference {
    fn said(what: impl Into<String>) -> Difference {
        Difference { what: what.into(), texts: None }
    }
}

impl Made {
    /// What a module's answer comes to. `input`: what passes on unchanged; `children`: the parts of a split.
    pub(super) fn of(done: Done, input: &Path, input_ext: &str, children: &Children) -> Result<Made> {
        let output = match done {
            Done::Skip(reason) => return Ok(Made::Skip(reason)),
            Done::Failed(failure) => return Ok(Made::Failed(failure)),
            Done::Output(output) => output,
        };
        let meta = meta_of(&output);
        if output.ext == crate::model::children::EXT {
            let names: BTreeMap<String, Value> = children
                .iter()
                .filter(|(_, (_, meta))| *meta != Value::Null)
                .map(|(name, (_, meta))| (name.clone(), meta.clone()))
                .collect();
            let meta =
                if names.is_empty() { Value::Null } else { names.into_iter().collect::<Map<_, _>>().into() };
            let files = children.iter().map(|(name, (bytes, _))| (name.clone(), bytes.clone()));
            return Ok(Made::Output(Content::Files(files.collect()), meta));
        }
        let content = match &output.body {
            OutputBody::Same if input.is_dir() => Content::Files(files_of(input)?),
            OutputBody::Same => {
                let ext = if output.ext.is_empty() { input_ext } else { &output.ext };
                Content::File(crate::fs::read(input)?, ext.to_owned())
            }
            OutputBody::Folder { .. } => Content::Files(folder_files(&output)?),
            _ => Content::File(bytes_of(&output)?, output.ext.clone()),
        };
        Ok(Made::Output(content, meta))
    }
}

/// The parts of a split by the names of their files, each with its meta.
pub(super) type Children = BTreeMap<String, (Vec<u8>, Value)>;

/// A part of a split as a file.
pub(super) fn child(name: &str, output: &Output) -> Result<(String, (Vec<u8>, Value))> {
    let dot = if output.ext.is_empty() { "" } else { "." };
    let file = format!("{}{dot}{}", safe_component(name), safe_component(&output.ext));
    Ok((file, (bytes_of(output)?, meta_of(output))))
}

fn meta_of(output: &Output) -> Value {
    serde_json::from_str(&output.meta).unwrap_or(Value::Null)
}

fn bytes_of(output: &Output) -> Result<Vec<u8>> {
    match &output.body {
        OutputBody::Bytes { bytes, .. } | OutputBody::Folder { bytes, .. } => Ok(bytes.clone()),
        OutputBody::File { path, .. } => crate::fs::read(path),
        OutputBody::Same | OutputBody::Children(_) => Ok(Vec::new()),
    }
}

fn folder_files(output: &Output) -> Result<BTreeMap<String, Vec<u8>>> {
    let OutputBody::Folder { bytes, large, .. } = &output.body else { return Ok(BTreeMap::new()) };
    let made = folder::read(bytes).ok_or_else(|| Error::unfinished("a folder cannot be read"))?;
    let mut files = BTreeMap::new();
    for (file, small) in made.each(bytes) {
        let content = match (small, large.iter().find(|large| large.digest == file.digest)) {
            (Some(small), _) => small.to_vec(),
            (None, Some(large)) => crate::fs::read(&large.path)?,
            (None, None) => Vec::new(),
        };
        files.insert(file.shown(), content);
    }
    Ok(files)
}

/// The files below a folder by their paths in it.
fn files_of(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for file in crate::fs::files_below(path)? {
        let rel = file.strip_prefix(path).unwrap_or(&file).to_string_lossy().into_owned();
        files.insert(rel, crate::fs::read(&file)?);
    }
    Ok(files)
}

/// Holds what came of a sample against what must come of it.
pub fn judge(sample: &Sample, made: &Made) -> Result<Verdict> {
    let Some(expected) = &sample.expected else {
        return Ok(match made {
            Made::Failed(failure) => Verdict::Wrong(vec![failed(failure)]),
            _ => Verdict::Unset,
        });
    };
    let wrong = match (expected, made) {
        (Expected::Error(path), Made::Failed(failure)) => {
            let words = crate::fs::read_text(path)?.trim().to_owned();
            let said = failure.summary();
            let is_right = said.contains(&words) || failure.message.contains(&words);
            let texts = Some((words, said));
            if is_right {
                Vec::new()
            } else {
                vec![Difference { what: "it fails with other words".into(), texts }]
            }
        }
        (_, Made::Failed(failure)) => vec![failed(failure)],
        (Expected::Skip(path), Made::Skip(reason)) => {
            let words = crate::fs::read_text(path)?.trim().to_owned();
            let texts = Some((words.clone(), reason.trim().to_owned()));
            let what = "it is skipped for another reason".to_owned();
            if words == reason.trim() { Vec::new() } else { vec![Difference { what, texts }] }
        }
        (_, Made::Skip(reason)) => vec![Difference::said(format!("it is skipped: {reason}"))],
        (Expected::Output(path, ext), Made::Output(content, meta)) => {
            let mut wrong = compare(path, ext.as_deref(), content)?;
            let expected = expected_meta(sample)?;
            if expected != *meta {
                let texts = Some((pretty(&expected), pretty(meta)));
                wrong.push(Difference { what: "its meta differs".into(), texts });
            }
            wrong
        }
        (Expected::Skip(_), Made::Output(..)) => vec![Difference::said("it is not skipped")],
        (Expected::Error(_), Made::Output(..)) => vec![Difference::said("it does not fail")],
    };
    Ok(if wrong.is_empty() { Verdict::Passed } else { Verdict::Wrong(wrong) })
}

fn failed(failure: &Failure) -> Difference {
    let place = failure.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    Difference::said(format!("{}{place}", failure.summary()))
}

fn compare(path: &Path, ext: Option<&str>, content: &Content) -> Result<Vec<Difference>> {
    match content {
        Content::File(bytes, made_ext) => {
            if path.is_dir() {
                return Ok(vec![Difference::said("it is one file, not several")]);
            }
            let mut wrong = Vec::new();
            if let Some(ext) = ext.filter(|ext| ext != made_ext) {
                wrong.push(Difference::said(format!("its extension is `{made_ext}`, not `{ext}`")));
            }
            let old = crate::fs::read(path)?;
            wrong.extend(
                differs(&old, bytes, made_ext).map(|texts| Difference { what: "it differs".into(), texts }),
            );
            Ok(wrong)
        }
        Content::Files(_) if !path.is_dir() => Ok(vec![Difference::said("it is several files, not one")]),
        Content::Files(files) => {
            let old = files_of(path)?;
            let mut wrong = Vec::new();
            for name in old.keys().filter(|name| !files.contains_key(*name)) {
                wrong.push(Difference::said(format!("`{name}` is missing")));
            }
            for (name, bytes) in files {
                let ext = name.rsplit_once('.').map_or("", |(_, ext)| ext);
                match old.get(name) {
                    None => wrong.push(Difference::said(format!("`{name}` is new"))),
                    Some(old) => wrong.extend(
                        differs(old, bytes, ext)
                            .map(|texts| Difference { what: format!("`{name}` differs"), texts }),
                    ),
                }
            }
            Ok(wrong)
        }
    }
}

/// Nothing if two contents are the same; else both as texts, where they are texts.
#[expect(clippy::option_option, reason = "whether they differ, and then whether they can be shown")]
fn differs(old: &[u8], new: &[u8], ext: &str) -> Option<Option<(String, String)>> {
    if old == new {
        return None;
    }
    if ext == "json"
        && let (Ok(old), Ok(new)) =
            (serde_json::from_slice::<Value>(old), serde_json::from_slice::<Value>(new))
    {
        return (old != new).then(|| Some((pretty(&old), pretty(&new))));
    }
    let texts = std::str::from_utf8(old).ok().zip(std::str::from_utf8(new).ok());
    Some(texts.map(|(old, new)| (old.to_owned(), new.to_owned())))
}

fn pretty(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => serde_json::to_string_pretty(value).unwrap_or_default(),
    }
}

fn meta_path(sample: &Sample) -> PathBuf {
    sample.folder.join(format!("{}.meta.json", sample.name))
}

fn expected_meta(sample: &Sample) -> Result<Value> {
    let path = meta_path(sample);
    let Some(bytes) = crate::fs::read_optional(&path)? else { return Ok(Value::Null) };
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::usage(format!("`{}` is not JSON", path.display())).caused_by(e))
}

/// Writes what came of a sample down as what must come of it. A failure never is.
pub fn bless(sample: &Sample, made: &Made) -> Result<()> {
    let place = |rest: &str| sample.folder.join(format!("{}.{rest}", sample.name));
    let old = sample.expected.as_ref().map(Expected::path);
    let forget = |path: Option<&Path>| match path {
        Some(path) if path.is_dir() => crate::fs::remove_dir(path),
        Some(path) => crate::fs::remove_file(path),
        None => Ok(()),
    };
    match made {
        Made::Failed(_) => Ok(()),
        Made::Skip(reason) => {
            forget(old)?;
            crate::fs::remove_file(&meta_path(sample))?;
            crate::fs::write_new(&place("skip"), format!("{reason}\n").as_bytes())
        }
        Made::Output(content, meta) => {
            forget(old)?;
            match content {
                Content::File(bytes, ext) => {
                    let plain = matches!(&sample.expected, Some(Expected::Output(_, None)));
                    let with_ext = sample.ends_with_ext
                        || matches!(&sample.expected, Some(Expected::Output(_, Some(_))));
                    let path = if with_ext && !plain && !ext.is_empty() {
                        place(&format!("out.{}", safe_component(ext)))
                    } else {
                        place("out")
                    };
                    crate::fs::write_new(&path, &readable(bytes, ext))?;
                }
                Content::Files(files) => {
                    let folder = place("out");
                    crate::fs::create_dir(&folder)?;
                    for (name, bytes) in files {
                        let ext = name.rsplit_once('.').map_or("", |(_, ext)| ext);
                        crate::fs::write_new(&folder.join(name), &readable(bytes, ext))?;
                    }
                }
            }
            crate::fs::remove_file(&meta_path(sample))?;
            if *meta == Value::Null {
                return Ok(());
            }
            crate::fs::write_new(&meta_path(sample), format!("{}\n", pretty(meta)).as_bytes())
        }
    }
}

/// What people compare line by line: a text, JSON with line breaks; nothing if it is no text.
pub fn readable_text(bytes: &[u8], ext: &str) -> Option<String> {
    if ext == crate::model::children::EXT {
        return crate::model::children::read(bytes)
            .map(|children| crate::model::children::readable(&children));
    }
    String::from_utf8(readable(bytes, ext)).ok()
}

/// What a result that was made outside of `run` comes to for a sample. Before: it is no list of children.
pub fn made(output: &Output, sample: &Sample) -> Result<Made> {
    Made::of(Done::Output(output.clone()), &sample.input, &sample.ext, &Children::new())
}

/// JSON with line breaks, as long as that is the same value to the last digit.
fn readable(bytes: &[u8], ext: &str) -> Vec<u8> {
    let value = (ext == "json").then(|| serde_json::from_slice::<Value>(bytes).ok()).flatten();
    match value {
        Some(value) if serde_json::to_vec(&value).is_ok_and(|again| again == bytes) => {
            format!("{}\n", pretty(&value)).into_bytes()
        }
        _ => bytes.to_vec(),
    }
}
