//! A document beside what was made of it, for people who look at results: text, pictures, or in words what it is.
//!
//! Long texts and large pictures are cut or named: a page holds some dozens of them.

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::engine::document::{Document, MainInput};
use crate::engine::documents::{Bytes, Documents, Passing};
use crate::engine::sets::parent_of;
use crate::error::Result;
use crate::model::action::Place;
use crate::model::document::Meta;
use crate::model::folder;
use crate::plan::family::Input;
use crate::query::Asked;
use crate::query::lineage::{self, Link};

/// So much of a text is shown, in bytes.
const TEXT: usize = 20_000;
/// Larger pictures are only named.
const PICTURE: u64 = 2 << 20;
/// So many files of a folder are named.
const FILES: usize = 50;

/// What a document of a target was made from, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sides {
    /// All its meta.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
    /// What it was made from; absent where that is not one document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Shown>,
    /// What came of it; absent where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Shown>,
}

/// Bytes, as far as they can be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "shown", rename_all = "kebab-case")]
pub enum Shown {
    /// Text.
    Text {
        /// Its beginning.
        text: String,
        /// So many bytes more are not shown.
        more: u64,
    },
    /// A picture that a browser shows.
    Picture {
        /// Its kind.
        mime: String,
        /// All of it.
        base64: String,
    },
    /// Something else, in words.
    Other {
        /// What.
        what: String,
    },
}

/// A document of a stream beside what it was made from.
pub fn sides(asked: &Asked<'_>, documents: &Documents<'_>, passing: &Passing<'_>) -> Result<Sides> {
    let document = passing.document;
    let output = match passing.place {
        Input::Step(_) if passing.state != crate::model::action::State::Done => None,
        place => shown(asked, documents, document, place)?,
    };
    Ok(Sides { meta: passing.meta(), input: input(asked, documents, passing)?, output })
}

/// What the document had at the target's entrance.
fn input(asked: &Asked<'_>, documents: &Documents<'_>, passing: &Passing<'_>) -> Result<Option<Shown>> {
    let (document, family) = (passing.document, passing.family);
    let Input::Step(step) = passing.place else { return Ok(None) };
    // A child as the split made it stands beside what was split.
    if family.is_children() && step == 0 {
        let parent = parent_of(
            asked.store,
            asked.pipeline,
            &documents.families,
            documents.roots(),
            document.family,
            &document.dir,
        )?;
        let Some(parent) = parent else { return Ok(None) };
        let of = documents.families.family(parent.family);
        let split = of.splits.iter().find(|split| split.family == document.family);
        let Some(split) = split else { return Ok(None) };
        return match parent.main_input(&of.steps[split.step]) {
            MainInput::One(before) => shown(asked, documents, &parent, before),
            _ => Ok(None),
        };
    }
    match document.main_input(&family.steps[step]) {
        MainInput::One(Input::Origin) if family.is_set() || family.is_group() => {
            Ok(members(&lineage::members_of(asked, documents, document)?))
        }
        MainInput::One(before) => shown(asked, documents, document, before),
        _ => Ok(None),
    }
}

/// What a set or a group was made from: its members, in words.
fn members(links: &[Link]) -> Option<Shown> {
    let words = |link: &Link| match link {
        Link::Members { stream, docs, count } => {
            let many = count.map_or_else(|| "documents".to_owned(), |n| crate::text::count(n, "document"));
            let more = if count.is_none_or(|n| n > docs.len() as u64) { "\n…" } else { "" };
            Some(format!("{many} of {stream}\n{}{more}", docs.join("\n")))
        }
        _ => None,
    };
    let text: Vec<String> = links.iter().filter_map(words).collect();
    let shown = Shown::Text { text: text.join("\n"), more: 0 };
    (!text.is_empty()).then_some(shown)
}

fn shown(
    asked: &Asked<'_>,
    documents: &Documents<'_>,
    document: &Document,
    place: Input,
) -> Result<Option<Shown>> {
    let ext = document.input_facts(place).map(|(_, ext)| ext).unwrap_or_default();
    let damaged = || Shown::Other { what: "damaged in the store".to_owned() };
    Ok(match documents.bytes(document, place) {
        None => None,
        Some(Bytes::Row(bytes, _)) => Some(of_bytes(&bytes, bytes.len() as u64, &ext)),
        Some(Bytes::Source(path, _)) => Some(of_file(&path, &ext)),
        Some(Bytes::Stored(output)) if output.ext == folder::EXT => match asked.store.folder(output)? {
            Some((folder, _)) => {
                let mut lines: Vec<String> = folder
                    .files
                    .iter()
                    .take(FILES)
                    .map(|file| format!("{}  {}", file.path, crate::text::size(file.length)))
                    .collect();
                if folder.files.len() > FILES {
                    lines.push(format!("… and {} more", folder.files.len() - FILES));
                }
                let text = format!("a folder\n{}", lines.join("\n"));
                Some(Shown::Text { text, more: 0 })
            }
            None => Some(damaged()),
        },
        Some(Bytes::Stored(output)) if output.place == Place::Blob => {
            Some(of_file(&asked.store.blob_path(&output.digest), &ext))
        }
        Some(Bytes::Stored(output)) => match asked.store.output_bytes(output)? {
            Some(bytes) => Some(of_bytes(&bytes, bytes.len() as u64, &ext)),
            None => Some(damaged()),
        },
    })
}

/// Of a file only as much is read as is shown.
fn of_file(path: &Path, ext: &str) -> Shown {
    let read = || {
        let file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        let mut bytes = Vec::new();
        file.take(PICTURE).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>((bytes, length))
    };
    match read() {
        Ok((bytes, length)) => of_bytes(&bytes, length, ext),
        Err(e) => Shown::Other { what: format!("cannot be read: {}", crate::error::io_text(&e)) },
    }
}

/// The first bytes of something that is so long.
fn of_bytes(bytes: &[u8], length: u64, ext: &str) -> Shown {
    let mime = crate::scan::mime_of(bytes, ext);
    let is_whole = bytes.len() as u64 == length;
    if is_picture(mime) && is_whole {
        let mut base64 = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
        crate::module::base64::encode(bytes, &mut base64);
        return Shown::Picture {
            mime: mime.to_owned(),
            base64: String::from_utf8_lossy(&base64).into_owned(),
        };
    }
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        // A character may be cut at the end of what was read.
        Err(error) if !is_whole && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return Shown::Other { what: format!("{mime}, {}", crate::text::size(length)) },
    };
    let parsed = (is_whole && length <= TEXT as u64 && matches!(ext, "json" | "jsonl"))
        .then(|| serde_json::from_str::<serde_json::Value>(valid).ok())
        .flatten();
    if let Some(text) = parsed.and_then(|value| serde_json::to_string_pretty(&value).ok()) {
        return Shown::Text { text, more: 0 };
    }
    let mut end = valid.len().min(TEXT);
    while !valid.is_char_boundary(end) {
        end -= 1;
    }
    Shown::Text { text: valid[..end].to_owned(), more: length - end as u64 }
}

fn is_picture(mime: &str) -> bool {
    matches!(mime, "image/png" | "image/jpeg" | "image/gif" | "image/webp" | "image/svg+xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_what_they_are() {
        let text = |text: &str, more| Shown::Text { text: text.into(), more };
        assert_eq!(of_bytes(b"plain", 5, "txt"), text("plain", 0));
        assert_eq!(of_bytes(b"{\"a\":1}", 7, "json"), text("{\n  \"a\": 1\n}", 0));
        assert_eq!(of_bytes(b"{\"a\":", 5, "json"), text("{\"a\":", 0));
        let long = "ä".repeat(TEXT);
        assert_eq!(of_bytes(long.as_bytes(), 2 * TEXT as u64, "txt"), text(&long[..TEXT], TEXT as u64));
        assert_eq!(of_bytes(&long.as_bytes()[..7], 40, "txt"), text("äää", 34));
        let png = b"\x89PNG\r\n\x1a\n\0\0";
        assert!(matches!(of_bytes(png, 10, "png"), Shown::Picture { .. }));
        assert_eq!(of_bytes(png, 3_000_000, "png"), Shown::Other { what: "image/png, 2.9 MiB".into() });
        assert_eq!(
            of_bytes(b"\xff\0", 2, "txt"),
            Shown::Other { what: "application/octet-stream, 2 B".into() }
        );
    }
}
