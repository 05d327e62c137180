//! The documents of a stream: how each stands, what it holds; or as the manifest that an `all` function gets.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Parts;
use crate::engine::decide::Deciding;
use crate::engine::document::Document;
use crate::engine::documents::{Bytes, Depth, Documents, Passing};
use crate::engine::loads::PresentCode;
use crate::engine::lookup::Lookup;
use crate::engine::marks::covers;
use crate::engine::matching;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Outcome, Place, State};
use crate::model::document::{DocId, Meta};
use crate::model::failure::{Failure, FailureKind};
use crate::model::folder;
use crate::model::pipeline::Node;
use crate::model::selection::{Condition, Field, Glob, Test};
use crate::plan::family::Input;
use crate::query::{Answer, Asked, Tell, find, pairs};

/// Which documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// A target or a source.
    pub stream: String,
    /// A glob over ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    /// Tests as `FIELD=TEST`; all must pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// In this state only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Lines of a manifest instead.
    #[serde(default)]
    pub manifest: bool,
    /// Only so many, the same ones each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<u64>,
    /// Each with what it was made from and what came of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pairs: bool,
    /// Instead: who has no match by value, on both sides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmatched: bool,
}

/// One document of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// How it stands.
    pub state: State,
    /// The extension of what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ext: Option<String>,
    /// In bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Of the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it was skipped, or what blocks it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A document with what it was made from, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// How it stands.
    pub listed: Listed,
    /// Both sides.
    pub sides: pairs::Sides,
}

/// Tells of each document that is asked for, in byte order of ids.
pub fn ls(asked: &Asked<'_>, ask: &Ask, tell: &mut Tell<'_>) -> Result<()> {
    let documents = Documents::new(asked.pipeline, asked.store);
    if ask.unmatched {
        return unmatched(asked, ask, &documents, tell);
    }
    let say = |passing: &Passing<'_>, listed: Listed, tell: &mut Tell<'_>| {
        tell(if ask.manifest {
            Answer::Manifest { line: manifest_line(asked, &documents, passing, listed)? }
        } else if ask.pairs {
            Answer::Pair(Box::new(Pair { sides: pairs::sides(asked, &documents, passing)?, listed }))
        } else {
            Answer::Document(Box::new(listed))
        })
    };
    let Some(size) = ask.sample else {
        return each(asked, ask, &documents, &mut |passing, listed| say(passing, listed, tell));
    };
    // Those whose ids have the smallest hashes: which these are depends on no other document.
    let mut chosen: BTreeMap<Digest, String> = BTreeMap::new();
    each(asked, ask, &documents, &mut |_, listed| {
        chosen.insert(Digest::of(listed.id.as_bytes()), listed.id);
        if chosen.len() as u64 > size {
            chosen.pop_last();
        }
        Ok(())
    })?;
    let chosen: HashSet<String> = chosen.into_values().collect();
    each(asked, ask, &documents, &mut |passing, listed| {
        if chosen.contains(&listed.id) { say(passing, listed, tell) } else { Ok(()) }
    })
}

fn unmatched(asked: &Asked<'_>, ask: &Ask, documents: &Documents<'_>, tell: &mut Tell<'_>) -> Result<()> {
    let of = |what: &str| Error::usage(format!("`{}` {what}", ask.stream));
    let Node::Target(ix) = find::stream(asked.pipeline, &ask.stream)? else {
        return Err(of("is a source: only targets have side inputs"));
    };
    let parts = Parts::without_modules(asked.pipeline, asked.pipelinefile, asked.store);
    let glob = glob(ask)?;
    let has_any = matching::unmatched(&parts, &documents.families, ix, &mut |one| {
        if glob.as_ref().is_some_and(|glob| !covers(glob, &DocId::parse(one.doc.as_str()))) {
            return Ok(());
        }
        tell(Answer::Unmatched(Box::new(one)))
    })?;
    if has_any {
        return Ok(());
    }
    Err(of("has no side input by value").hint("one is written with = { name = { from = …, on = … } }"))
}

fn glob(ask: &Ask) -> Result<Option<Glob>> {
    let parse = |glob: &String| {
        Glob::new(glob).map_err(|why| Error::usage(format!("`--docs {glob}` is no glob: {why}")))
    };
    ask.docs.as_ref().map(parse).transpose()
}

/// Visits each document that is asked for, in byte order of ids.
fn each(
    asked: &Asked<'_>,
    ask: &Ask,
    documents: &Documents<'_>,
    visit: &mut dyn FnMut(&Passing<'_>, Listed) -> Result<()>,
) -> Result<()> {
    let node = find::stream(asked.pipeline, &ask.stream)?;
    let glob = glob(ask)?;
    let test = test(&ask.tests)?;
    let asks_meta = test.fields().any(|field| matches!(field, Field::Meta(_)));
    let asks_look = test.fields().any(|field| matches!(field, Field::Size | Field::Mime));
    let depth = if asks_meta || ask.manifest || ask.pairs { Depth::All } else { Depth::Place };
    let mut lookup = Lookup::new(PresentCode::of(asked.pipeline, asked.store));
    documents.visit(node, depth, &mut |passing| {
        if glob.as_ref().is_some_and(|glob| !covers(glob, &passing.document.id)) {
            return Ok(true);
        }
        let seen = asks_look.then(|| seen(documents, passing.document));
        let document = seen.as_ref().unwrap_or(passing.document);
        let family = passing.family;
        let deciding = Deciding { pipeline: asked.pipeline, family, store: asked.store, lookup: &mut lookup };
        if !test.passes(&|field| deciding.field(document, passing.place, field)) {
            return Ok(true);
        }
        let listed = listed(documents, passing);
        // A set that stands in no stream yet is no document.
        let is_meant = ask.state.is_none_or(|state| listed.state == state)
            && (listed.state != State::Absent || ask.state.is_some());
        if !is_meant {
            return Ok(true);
        }
        visit(passing, listed)?;
        Ok(true)
    })
}

fn seen(documents: &Documents<'_>, document: &Document) -> Document {
    let mut copy = document.clone();
    documents.with_look(&mut copy);
    copy
}

/// The test of `--where`, each `FIELD=TEST`.
pub fn test(tests: &[String]) -> Result<Test> {
    let mut conditions = Vec::new();
    for text in tests {
        let wrong = |why: &str| {
            Error::usage(format!("`--where {text}`: {why}"))
                .hint("for example --where 'meta.lang=en', --where 'size=>10MB'")
        };
        let Some((field, value)) = text.split_once('=') else {
            return Err(wrong("it is not of the form FIELD=TEST"));
        };
        let field = Field::parse(field.trim()).ok_or_else(|| wrong("there is no such field"))?;
        let condition =
            Condition::parse(&field, &value_of(&field, value.trim())).map_err(|why| wrong(&why))?;
        conditions.push((field, condition));
    }
    Ok(Test::new(conditions))
}

/// A value as it is meant on a command line: a list as JSON; a number or truth value of meta also as text.
fn value_of(field: &Field, text: &str) -> Value {
    match serde_json::from_str::<Value>(text) {
        Ok(list @ Value::Array(_)) => list,
        Ok(scalar @ (Value::Number(_) | Value::Bool(_))) if matches!(field, Field::Meta(_)) => {
            Value::Array(vec![scalar, Value::String(text.to_owned())])
        }
        Ok(scalar @ (Value::Number(_) | Value::String(_))) => scalar,
        _ => Value::String(text.to_owned()),
    }
}

fn listed(documents: &Documents<'_>, passing: &Passing<'_>) -> Listed {
    let document = passing.document;
    let mut listed = Listed {
        id: document.id.to_string(),
        state: passing.state,
        ext: None,
        size: None,
        digest: None,
        failure: None,
        note: String::new(),
    };
    let Some(result) = passing.result() else {
        listed.digest = document.digest;
        if passing.place == Input::Origin {
            let facts = document.input_facts(Input::Origin);
            listed.ext = Some(facts.map_or_else(|| document.id.ext(), |(_, ext)| ext));
            listed.size = passed_on(documents, document, Input::Origin);
        }
        if passing.state == State::Failed {
            // What cannot be read fails where it is taken: that says why.
            let told = document.before.iter().flat_map(|before| &before.story.entries);
            let failures = told.filter_map(|entry| serde_json::from_str::<Failure>(&entry.note).ok());
            listed.failure = failures.into_iter().find(|failure| failure.kind == FailureKind::Unreadable);
        }
        return listed;
    };
    if let Some(output) = result.output().filter(|_| result.state == State::Done) {
        (listed.ext, listed.size, listed.digest) =
            (Some(output.ext.clone()), Some(output.length), Some(output.digest));
        if let Ok(Some((folder, _))) = documents.store.folder(output) {
            listed.size = Some(folder.bytes());
        }
        // One that passes a source on may have been recorded without its length.
        if output.length == 0 && output.place == Place::Input {
            listed.size = passed_on(documents, document, passing.place);
        }
    }
    let derived: Option<Failure> = serde_json::from_str(&result.note).ok();
    match result.record.as_deref().map(|act| &act.outcome) {
        Some(Outcome::Failed(failure)) if result.state == State::Failed => {
            listed.failure = Some(failure.clone());
        }
        Some(Outcome::Skip(reason)) => listed.note.clone_from(reason),
        _ if derived.is_some() => {
            listed.state = State::Failed;
            listed.failure = derived;
        }
        _ => listed.note.clone_from(&result.note),
    }
    listed
}

fn passed_on(documents: &Documents<'_>, document: &Document, place: Input) -> Option<u64> {
    match documents.bytes(document, place)? {
        Bytes::Stored(output) => Some(output.length),
        Bytes::Row(row, _) => Some(row.len() as u64),
        Bytes::Source(path, _) => std::fs::metadata(path).ok().map(|metadata| metadata.len()),
    }
}

/// A line as an `all` function gets it, with the state: without content where there is none.
fn manifest_line(
    asked: &Asked<'_>,
    documents: &Documents<'_>,
    passing: &Passing<'_>,
    listed: Listed,
) -> Result<String> {
    let mut line = Meta::new();
    line.insert("id".into(), listed.id.into());
    line.insert("state".into(), listed.state.word().into());
    if passing.state != State::Done {
        return Ok(Value::Object(line).to_string());
    }
    if let Some(digest) = listed.digest {
        line.insert("digest".into(), digest.hex().into());
    }
    line.insert("ext".into(), listed.ext.unwrap_or_default().into());
    let meta = passing.meta();
    if !meta.is_empty() {
        line.insert("meta".into(), Value::Object(meta));
    }
    match documents.bytes(passing.document, passing.place) {
        Some(Bytes::Source(path, _)) => put_path(&mut line, &path),
        Some(Bytes::Row(row, _)) => put_bytes(&mut line, &row),
        Some(Bytes::Stored(output)) if output.ext == folder::EXT => match asked.store.folder(output)? {
            Some((folder, bytes)) => {
                let files = folder.each(&bytes).map(|(file, small)| file_line(asked, file, small));
                line.insert("files".into(), files.collect::<Vec<Value>>().into());
            }
            None => {
                line.insert("state".into(), "damaged".into());
            }
        },
        Some(Bytes::Stored(output)) if output.place == Place::Blob => {
            put_path(&mut line, &asked.store.blob_path(&output.digest));
        }
        Some(Bytes::Stored(output)) => match asked.store.output_bytes(output)? {
            Some(bytes) => put_bytes(&mut line, &bytes),
            None => {
                line.insert("state".into(), "damaged".into());
            }
        },
        None => {}
    }
    Ok(Value::Object(line).to_string())
}

/// A file of a folder, with its content: small ones inline, large ones as where they lie.
fn file_line(asked: &Asked<'_>, file: &folder::File, small: Option<&[u8]>) -> Value {
    let Ok(Value::Object(mut line)) = serde_json::to_value(file) else { return Value::Null };
    match small {
        Some(bytes) => put_bytes(&mut line, bytes),
        None => {
            let at = asked.store.blob_path(&file.digest).to_string_lossy().into_owned();
            line.insert("at".into(), at.into());
        }
    }
    Value::Object(line)
}

fn put_path(line: &mut Meta, path: &Path) {
    line.insert("path".into(), path.to_string_lossy().into_owned().into());
    if path.to_str().is_none() {
        // No text can hold it.
        let mut encoded = Vec::new();
        crate::module::base64::encode(path.as_os_str().as_encoded_bytes(), &mut encoded);
        line.insert("path_base64".into(), String::from_utf8_lossy(&encoded).into_owned().into());
    }
}

fn put_bytes(line: &mut Meta, bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        line.insert("text".into(), text.into());
        return;
    }
    let mut encoded = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    crate::module::base64::encode(bytes, &mut encoded);
    line.insert("base64".into(), String::from_utf8_lossy(&encoded).into_owned().into());
}

/// The state of `--state`, as its word.
pub fn state(text: &str) -> Result<State> {
    let word = |state: &State| state.word() == text || state.word().replace(' ', "-") == text;
    State::ALL.into_iter().find(word).ok_or_else(|| {
        let words: Vec<String> = State::ALL.iter().map(|state| state.word().replace(' ', "-")).collect();
        Error::usage(format!("`--state {text}`: there is no such state"))
            .hint(format!("states: {}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(tests: &[&str], field: &str, value: &Value) -> bool {
        let tests: Vec<String> = tests.iter().map(|&test| test.to_owned()).collect();
        let field = Field::parse(field).unwrap();
        test(&tests).unwrap().passes(&|asked| (*asked == field).then(|| value.clone()))
    }

    #[test]
    fn tests_on_the_command_line_mean_what_they_mean_in_a_pipelinefile() {
        assert!(passes(&["meta.lang=en"], "meta.lang", &"en".into()));
        assert!(!passes(&["meta.lang=!en"], "meta.lang", &"en".into()));
        assert!(passes(&["meta.page=3"], "meta.page", &3.into()));
        assert!(passes(&["meta.page=3"], "meta.page", &"3".into()));
        assert!(passes(&["size=>10MB"], "size", &11_000_000.into()));
        assert!(passes(&[r#"ext=["pdf","txt"]"#], "ext", &"txt".into()));
    }

    #[test]
    fn a_test_that_is_none_is_an_error_with_an_example() {
        for text in ["lang", "lang=en", "size=>big"] {
            let error = test(&[text.to_owned()]).unwrap_err();
            assert_eq!(error.kind.exit_code(), 2, "{text}");
            assert!(error.message.contains(text), "{}", error.message);
        }
    }

    #[test]
    fn states_are_named_by_their_words() {
        assert_eq!(state("failed").unwrap(), State::Failed);
        assert_eq!(state("left-out").unwrap(), State::LeftOut);
        assert!(state("fialed").is_err());
    }
}
