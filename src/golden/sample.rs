//! The files of samples: found by their names, read into requests, and written from a document that was tried.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::folder;
use crate::model::selection::safe_component;
use crate::module::{Body, Input, Request, Side};
use crate::pipelinefile::{SampleNotes, sample_notes, write_sample_notes};

/// The folder of all samples, in the project's folder.
const FOLDER: &str = "tests";

/// Contents up to this size are handed over inline, as in a build.
const INLINE: u64 = 32 * 1024;

/// One sample.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What its files are called: `short`.
    pub name: String,
    /// The folder that it lies in. Absolute.
    pub folder: PathBuf,
    /// The document: a file, or a folder.
    pub input: PathBuf,
    /// The document's extension.
    pub ext: String,
    /// The input's name ends with its extension, and so do those of results that are written.
    pub ends_with_ext: bool,
    /// Side inputs: name, file, extension.
    pub with: Vec<(String, PathBuf, String)>,
    /// Params, meta and id.
    pub notes: SampleNotes,
    /// What must come of it: files that end with `out`, `skip` or `error`. Absent: nothing is known yet.
    pub expected: Option<Expected>,
}

/// What must come of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This file or folder, and of a file the extension that the result must have.
    Output(PathBuf, Option<String>),
    /// It is skipped, with the reason in this file.
    Skip(PathBuf),
    /// It fails, with the words in this file.
    Error(PathBuf),
}

impl Expected {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Expected::Output(path, _) | Expected::Skip(path) | Expected::Error(path) => path,
        }
    }
}

/// The folder of a module's samples: `tests/words`, of `words:count` `tests/words/count`.
pub fn folder_of(root: &Path, module: &str) -> PathBuf {
    root.join(FOLDER).join(module.replace(':', "/"))
}

/// The names of modules that there are samples of, whether or not there is such a module.
pub fn modules_with_samples(root: &Path) -> Result<Vec<String>> {
    let top = root.join(FOLDER);
    let mut names = Vec::new();
    for name in folders(&top)? {
        for below in folders(&top.join(&name))? {
            if has_samples(&top.join(&name).join(&below))? {
                names.push(format!("{name}:{below}"));
            }
        }
        if has_samples(&top.join(&name))? {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// The folders in a folder that may hold samples.
fn folders(path: &Path) -> Result<Vec<String>> {
    let is_folder = |name: &String| path.join(name).is_dir() && parts(name).is_none();
    Ok(names(path)?.into_iter().filter(is_folder).collect())
}

fn has_samples(path: &Path) -> Result<bool> {
    Ok(names(path)?.iter().any(|name| matches!(parts(name), Some((_, Part::Input(_))))))
}

/// The names in a folder, sorted; none if there is no such folder. What is not UTF-8 is no sample.
fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(|e| Error::io("list the folder", path, &e))? {
            let name = entry.map_err(|e| Error::io("list the folder", path, &e))?.file_name();
            names.extend(name.into_string().ok().filter(|name| !name.starts_with('.')));
        }
    }
    names.sort();
    Ok(names)
}

/// What a file is for its sample.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// The extension, if the name ends with it.
    Input(Option<String>),
    Output(Option<String>),
    Skip,
    Error,
    Notes,
    Meta,
    /// The name of the side input, and the extension.
    With(String, String),
}

/// A sample's name, and what a file of this name is for it; nothing if it is no sample's.
fn parts(name: &str) -> Option<(&str, Part)> {
    let (before, last) = name.rsplit_once('.')?;
    let part = match last {
        "in" => Part::Input(None),
        "out" => Part::Output(None),
        "skip" => Part::Skip,
        "error" => Part::Error,
        "toml" => Part::Notes,
        _ => {
            let (before, word) = before.rsplit_once('.')?;
            let ext = last.to_lowercase();
            let part = match word {
                "in" => Part::Input(Some(ext)),
                "out" => Part::Output(Some(ext)),
                "meta" if last == "json" => Part::Meta,
                "with" => Part::With(last.to_owned(), String::new()),
                side => {
                    let before = before.strip_suffix(".with")?;
                    return Some((before, Part::With(side.to_owned(), ext)));
                }
            };
            return Some((before, part));
        }
    };
    Some((before, part))
}

/// The samples in a folder, in order of their names.
pub fn find(folder: &Path) -> Result<Vec<Sample>> {
    let mut samples: BTreeMap<String, Sample> = BTreeMap::new();
    let mut rest = Vec::new();
    for file in names(folder)? {
        let Some((name, part)) = parts(&file) else { continue };
        let path = folder.join(&file);
        let Part::Input(ext) = part else {
            rest.push((name.to_owned(), part, path));
            continue;
        };
        let own = || name.rsplit_once('.').map_or_else(String::new, |(_, ext)| ext.to_lowercase());
        let sample = Sample {
            name: name.to_owned(),
            folder: folder.to_owned(),
            input: path,
            ends_with_ext: ext.is_some(),
            ext: ext.unwrap_or_else(own),
            with: Vec::new(),
            notes: SampleNotes::default(),
            expected: None,
        };
        if let Some(other) = samples.insert(name.to_owned(), sample) {
            return Err(two(name, &other.input, &folder.join(&file)));
        }
    }
    for (name, part, path) in rest {
        // What has no input is another tool's.
        let Some(sample) = samples.get_mut(&name) else { continue };
        let expected = match part {
            Part::Output(ext) => Expected::Output(path, ext),
            Part::Skip => Expected::Skip(path),
            Part::Error => Expected::Error(path),
            Part::Notes => {
                let text = crate::fs::read_text(&path)?;
                sample.notes = sample_notes(&text).map_err(|problem| {
                    Error::usage(format!("`{}` cannot be read", path.display()))
                        .caused_by(problem)
                        .hint("it holds `params`, `meta` and `id`")
                })?;
                continue;
            }
            Part::With(side, ext) => {
                sample.with.push((side, path, ext));
                continue;
            }
            Part::Meta | Part::Input(_) => continue,
        };
        if let Some(other) = &sample.expected {
            return Err(two(&name, other.path(), expected.path()));
        }
        sample.expected = Some(expected);
    }
    Ok(samples.into_values().collect())
}

fn two(name: &str, one: &Path, other: &Path) -> Error {
    Error::usage(format!("sample `{name}` is there twice: `{}` and `{}`", one.display(), other.display()))
        .hint("rename or remove one of them")
}

impl Sample {
    /// The document for the module. `scratch` is a folder of its own.
    pub(super) fn request(&self, id: u64, takes_docs: bool, scratch: &Path) -> Result<Request> {
        let mut input = if takes_docs {
            Input::new(self.manifest(scratch)?, "")
        } else if self.input.is_dir() {
            Input::new(Body::Path(self.input.clone()), folder::EXT)
        } else {
            file_input(&self.input, &self.ext)?
        };
        if !self.notes.meta.is_empty() {
            input.meta = serde_json::to_string(&self.notes.meta).ok();
        }
        input.id.clone_from(&self.notes.id);
        Ok(Request { id, input, with: Vec::new() })
    }

    /// The side inputs: the same for every document, as far as the module knows.
    pub(super) fn sides(&self) -> Result<Vec<(String, Side)>> {
        let side = |(name, path, ext): &(String, PathBuf, String)| {
            let input = if path.is_dir() {
                Input::new(Body::Path(path.clone()), folder::EXT)
            } else {
                file_input(path, ext)?
            };
            Ok((name.clone(), Side::One(input)))
        };
        self.with.iter().map(side).collect()
    }

    /// What the module may read beside the bytes.
    pub(super) fn sees(&self, takes_docs: bool) -> Vec<String> {
        let mut sees = vec!["ext".to_owned()];
        if takes_docs || self.notes.id.is_some() {
            sees.push("id".to_owned());
        }
        sees.extend(self.notes.meta.keys().map(|name| format!("meta.{name}")));
        sees
    }

    /// The files of a folder as the members of a set.
    fn manifest(&self, scratch: &Path) -> Result<Body> {
        if !self.input.is_dir() {
            let message =
                format!("`{}` is a file, and the module takes many documents", self.input.display());
            return Err(Error::usage(message).hint("make it a folder with a file for each document"));
        }
        let mut lines = String::new();
        let files = crate::fs::files_below(&self.input)?;
        for file in &files {
            let rel = file.strip_prefix(&self.input).unwrap_or(file);
            let id = crate::model::document::escape_name(rel.as_os_str());
            let ext = file.extension().map_or_else(String::new, |ext| ext.to_string_lossy().to_lowercase());
            let digest = Digest::of(&crate::fs::read(file)?);
            let line = json!({ "id": id, "ext": ext, "digest": digest.hex(), "path": file });
            lines.extend([&line.to_string(), "\n"]);
        }
        let path = scratch.join(format!("members-{}.jsonl", safe_component(&self.name)));
        crate::fs::write_scratch(&path, lines.as_bytes())?;
        Ok(Body::Manifest { path, members: files.len() as u64 })
    }
}

fn file_input(path: &Path, ext: &str) -> Result<Input> {
    let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, &e))?.len();
    let body = if length > INLINE {
        Body::Path(path.to_owned())
    } else {
        Body::Bytes(crate::fs::read(path)?.into())
    };
    Ok(Input::new(body, ext))
}

/// What makes a sample of a document that was tried.
pub struct Saved<'a> {
    /// What it is to be called.
    pub name: &'a str,
    /// The document.
    pub input: &'a Input,
    /// Side inputs.
    pub with: Vec<(&'a str, &'a Side)>,
    /// Params, meta and id.
    pub notes: SampleNotes,
}

/// Writes the input of a new sample into a folder; it has no expectation yet. Another of the name stays as it is: the new
/// one gets a number.
pub fn save(folder: &Path, saved: &Saved<'_>) -> Result<Sample> {
    crate::fs::create_dir(folder)?;
    let taken: Vec<String> =
        names(folder)?.iter().filter_map(|name| parts(name).map(|(name, _)| name.to_owned())).collect();
    let base = safe_component(saved.name).replace('.', "-");
    let numbered = (2..).map(|number| format!("{base}-{number}"));
    let mut free = std::iter::once(base.clone()).chain(numbered).filter(|name| !taken.contains(name));
    let name = free.next().unwrap_or(base);
    let place = |rest: &str, ext: &str| {
        let dot = if ext.is_empty() || ext == folder::EXT { "" } else { "." };
        folder.join(format!("{name}.{rest}{dot}{}", ext.trim_start_matches(folder::EXT)))
    };
    let ext = saved.input.ext.as_deref().unwrap_or_default();
    write_input(&place("in", ext), saved.input)?;
    for (role, side) in &saved.with {
        match side {
            Side::One(input) => {
                let ext = input.ext.as_deref().unwrap_or_default();
                write_input(&place(&format!("with.{role}"), ext), input)?;
            }
            Side::Absent => {}
            Side::Many(_) => {
                return Err(Error::usage(format!(
                    "side input `{role}` is many documents, which a sample cannot hold yet"
                )));
            }
        }
    }
    if saved.notes != SampleNotes::default() {
        let text = write_sample_notes(&saved.notes)
            .map_err(|problem| Error::usage(format!("the params cannot be kept in a sample: {problem}")))?;
        crate::fs::write_new(&place("toml", ""), text.as_bytes())?;
    }
    let found = find(folder)?.into_iter().find(|sample| sample.name == name);
    found.ok_or_else(|| Error::unfinished(format!("sample `{name}` cannot be found after it was written")))
}

fn write_input(path: &Path, input: &Input) -> Result<()> {
    match &input.body {
        Body::Bytes(bytes) => crate::fs::write_new(path, bytes),
        Body::Path(from) => {
            // Its name is free: see `save`.
            crate::module::repro::copy(from, path)
        }
        Body::Manifest { path: manifest, .. } => {
            for line in crate::fs::read_text(manifest)?.lines() {
                write_member(path, line)?;
            }
            Ok(())
        }
    }
}

/// One member of a set, under its id.
fn write_member(folder: &Path, line: &str) -> Result<()> {
    let unreadable = || Error::unfinished("a manifest cannot be read");
    let member: serde_json::Value =
        serde_json::from_str(line).map_err(|e| unreadable().caused_by(e.to_string()))?;
    let text = |name: &str| member.get(name).and_then(serde_json::Value::as_str);
    let id = text("id").or_else(|| text("digest")).ok_or_else(unreadable)?;
    // Ids of documents lead to paths; none may lead out of the folder.
    let path = id.split('/').fold(folder.to_owned(), |path, part| path.join(safe_component(part)));
    let path = match (path.extension(), text("ext").filter(|ext| !ext.is_empty())) {
        (None, Some(ext)) => path.with_extension(safe_component(ext)),
        _ => path,
    };
    if let Some(from) = text("path") {
        return crate::module::repro::copy(Path::new(from), &path);
    }
    let bytes = match (text("text"), text("base64")) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (_, Some(encoded)) => {
            crate::module::base64::decode(encoded).map_err(|e| unreadable().caused_by(e))?
        }
        _ => return Err(unreadable()),
    };
    crate::fs::write_new(&path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is_for() {
        let of = |name: &'static str| parts(name);
        assert_eq!(of("a.in"), Some(("a", Part::Input(None))));
        assert_eq!(of("a.in.HTML"), Some(("a", Part::Input(Some("html".into())))));
        assert_eq!(of("a.txt.in"), Some(("a.txt", Part::Input(None))));
        assert_eq!(of("a.out.json"), Some(("a", Part::Output(Some("json".into())))));
        assert_eq!(of("a.meta.json"), Some(("a", Part::Meta)));
        assert_eq!(of("a.with.fix"), Some(("a", Part::With("fix".into(), String::new()))));
        assert_eq!(of("a.with.fix.csv"), Some(("a", Part::With("fix".into(), "csv".into()))));
        assert_eq!(of("test_words.py"), None);
        assert_eq!(of("README"), None);
    }

    #[test]
    fn samples_are_found_with_all_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let put =
            |name: &str, text: &str| crate::fs::write_new(&dir.path().join(name), text.as_bytes()).unwrap();
        put("short.in.html", "<p>");
        put("short.out.txt", "p");
        put("short.toml", "params = { n = 2 }");
        put("short.with.fix.csv", "a,b");
        put("set.in/a.txt", "A");
        put("set.skip", "");
        put("alone.out", "no input: not ours");
        put("test_it.py", "");
        let found = find(dir.path()).unwrap();
        let names: Vec<&str> = found.iter().map(|sample| sample.name.as_str()).collect();
        assert_eq!(names, ["set", "short"]);
        assert_eq!(found[1].ext, "html");
        assert_eq!(found[1].notes.params["n"], 2);
        assert_eq!(found[1].with[0].0, "fix");
        assert!(matches!(&found[1].expected, Some(Expected::Output(_, Some(ext))) if ext == "txt"));
        assert!(matches!(&found[0].expected, Some(Expected::Skip(_))));
        put("short.in", "again");
        assert!(find(dir.path()).unwrap_err().to_string().contains("there twice"));
    }
}
