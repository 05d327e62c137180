//! The bytes of one result, proved; or where they are.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::engine::document::Document;
use crate::engine::documents::{Bytes, Documents, state_at};
use crate::engine::past;
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Outcome, Place, State};
use crate::model::folder;
use crate::model::pipeline::Node;
use crate::query::Asked;
use crate::query::find::{self, Found};

/// The bytes of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "kebab-case")]
pub enum Content {
    /// UTF-8.
    Text {
        /// The text.
        text: String,
    },
    /// Anything.
    Bytes {
        /// In base64.
        base64: String,
    },
    /// A folder.
    Folder {
        /// In byte order of their paths.
        files: Vec<folder::File>,
    },
    /// A file that holds them.
    File {
        /// Absolute.
        path: PathBuf,
        /// What they must be; absent for a source's file, which is as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<Digest>,
    },
}

/// The bytes of a document in a stream.
pub fn content(asked: &Asked<'_>, stream: &str, doc: &str) -> Result<Content> {
    let documents = Documents::new(asked.pipeline, asked.store);
    let node = find::stream(asked.pipeline, stream)?;
    let found = find::document(asked, &documents, doc)?;
    let absent = |what: &str| {
        Error::no_match(format!("{} {what} `{stream}`", found.id))
            .hint(format!("pipe why {}", crate::text::shell_word(found.id.as_str())))
    };
    let Some(ix) = found.family(&documents) else { return Err(absent("does not come to")) };
    let places = documents.families.of_stream(node);
    let Some((_, place)) = places.into_iter().find(|(family, _)| *family == ix) else {
        return Err(absent("does not come to"));
    };
    let document = match &found.entry {
        Some(entry) => documents.open(ix, &found.dir, entry)?,
        None => Some(documents.unknown(ix, found.id.clone(), &found.dir, &found.name)),
    };
    let Some(document) = document else { return Err(damaged(&found, stream)) };
    match (documents.bytes(&document, place), node) {
        (Some(Bytes::Row(row, _)), Node::Source(_)) => Ok(inline(&row)),
        (Some(Bytes::Row(row, digest)), _) if digest == Some(Digest::of(&row)) => Ok(inline(&row)),
        (Some(Bytes::Source(path, _)), Node::Source(_)) => Ok(Content::File { path, digest: None }),
        // A result that passes its source on: the file may be another by now.
        (Some(Bytes::Source(path, digest)), Node::Target(_)) if state_at(&document, place) == State::Done => {
            Ok(Content::File { path, digest })
        }
        (Some(Bytes::Stored(output)), _) if output.ext == folder::EXT => match asked.store.folder(output)? {
            Some((folder, _)) => Ok(Content::Folder { files: folder.files }),
            None => Err(set_aside(asked, &found, &document, place, stream)?),
        },
        (Some(Bytes::Stored(output)), _) if output.place == Place::Blob => {
            if let Some(path) = asked.store.proved_blob(output)? {
                return Ok(Content::File { path, digest: Some(output.digest) });
            }
            Err(set_aside(asked, &found, &document, place, stream)?)
        }
        (Some(Bytes::Stored(output)), _) => match asked.store.output_bytes(output)? {
            Some(bytes) => Ok(inline(&bytes)),
            None => Err(set_aside(asked, &found, &document, place, stream)?),
        },
        (..) => Err(no_result(&found, stream, state_at(&document, place))),
    }
}

/// How many groups are named where one is to be chosen.
const NAMED: usize = 5;

/// What a set, or what is behind it, came to in the last build of a sample: that is never its present result. `doc` is the
/// stream itself where nobody said which.
pub fn of_sample(asked: &Asked<'_>, stream: &str, doc: &str) -> Result<Content> {
    let node = find::stream(asked.pipeline, stream)?;
    let is_each = |ix| asked.pipeline.target(ix).verb == crate::model::pipeline::Verb::Each;
    let none = |what: &str| {
        Error::no_match(format!("`{stream}` {what}")).hint(match node {
            Node::Target(ix) if !is_each(ix) => "pipe build --sample 100".to_owned(),
            _ => {
                format!("pipe ls {stream}     lists its documents: what a sample makes of single ones counts")
            }
        })
    };
    let doc = Some(doc).filter(|doc| *doc != stream);
    let mut at = past::of_sample(asked.store, stream, doc)?;
    if let Some(doc) = doc.filter(|_| at.is_none()) {
        // A group by its value alone.
        at = past::of_sample(asked.store, stream, Some(&format!("{stream}/{doc}")))?;
    }
    let Some(at) = at else {
        let docs = past::docs_of_sample(asked.store, stream, NAMED)?;
        return Err(match (docs.as_slice(), doc) {
            ([], _) => none("was not made over a sample yet"),
            (some, Some(doc)) => choose(
                Error::no_match(format!("`{stream}` has no result for `{doc}` of the last sample")),
                stream,
                some,
            ),
            (some, None) => choose(
                Error::usage(format!("`{stream}` has a result for each of several: say which")),
                stream,
                some,
            ),
        });
    };
    // It may have been collected since.
    let act = asked.store.act(at).ok().flatten();
    let gone = || none("has no result of the last sample any more");
    let Some(Outcome::Output(output)) = act.as_deref().map(|act| &act.outcome) else { return Err(gone()) };
    if output.ext == folder::EXT {
        let (folder, _) = asked.store.folder(output)?.ok_or_else(gone)?;
        return Ok(Content::Folder { files: folder.files });
    }
    Ok(inline(&asked.store.output_bytes(output)?.ok_or_else(gone)?))
}

fn choose(error: Error, stream: &str, docs: &[String]) -> Error {
    docs.iter().fold(error, |error, doc| {
        error.hint(format!("pipe cat {stream} {} --sample", crate::text::shell_word(doc)))
    })
}

fn inline(bytes: &[u8]) -> Content {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Content::Text { text: text.to_owned() };
    }
    let mut encoded = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    crate::module::base64::encode(bytes, &mut encoded);
    Content::Bytes { base64: String::from_utf8_lossy(&encoded).into_owned() }
}

fn no_result(found: &Found, stream: &str, state: State) -> Error {
    let id = &found.id;
    let what = match state {
        State::Unfinished => format!("`{stream}` has no result for {id} yet"),
        state => format!("`{stream}` has no result for {id}: {}", state.word()),
    };
    let error = Error::no_match(what);
    match state {
        State::Unfinished => error.hint("pipe build"),
        State::Failed => error.hint(format!("pipe log {}", crate::text::shell_word(id.as_str()))),
        _ => error.hint(format!("pipe why {}", crate::text::shell_word(id.as_str()))),
    }
}

fn damaged(found: &Found, stream: &str) -> Error {
    Error::unfinished(format!("the result of `{stream}` for {} is damaged in the store", found.id))
        .hint("pipe build      makes it again")
}

/// A damaged result answers no more, and the next build looks at its document.
fn set_aside(
    asked: &Asked<'_>,
    found: &Found,
    document: &Document,
    place: crate::plan::family::Input,
    stream: &str,
) -> Result<Error> {
    // While a build runs it finds the damage itself, or the next one does.
    if let (crate::plan::family::Input::Step(step), Some(entry), false) =
        (place, &found.entry, asked.building)
        && let Some(at) = document.results[step].as_ref().and_then(|result| result.act)
    {
        asked.store.mark_bad(at)?;
        let mut entry = entry.clone();
        entry.flags.settled = false;
        let story = entry.story;
        asked.store.put_entry(&found.family, &found.dir, entry, story);
        asked.store.flush()?;
    }
    Ok(damaged(found, stream))
}
