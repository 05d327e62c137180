//! The manifest of a set: what its module reads of the members, a JSON line each.
//!
//! Lines borrow what they say, since a set may have millions. Knows nothing of keys or scheduling.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::engine::requests::{Damaged, Inputs, Made, put_meta};
use crate::engine::sets::{Member, Streams};
use crate::error::{Error, Result};
use crate::hash::Digest;
use crate::model::action::{Place, Position};
use crate::model::document::Meta;
use crate::model::folder;
use crate::model::pipeline::TargetIx;
use crate::model::selection::{Field, IdPart};
use crate::module::{Body, IN_LINE, Input as ModuleInput, Request};

/// So many bytes are written at once.
const GATHERED: usize = 256 * 1024;

impl Streams<'_> {
    /// Writes the manifest: a JSON line a member, in order; with `lengths`, longer contents follow their lines. Returns
    /// the record whose bytes are damaged, if one is.
    pub fn manifest(
        &self,
        ix: TargetIx,
        sees: &[Field],
        (path, lengths): (&Path, bool),
        inputs: &mut Inputs,
    ) -> Result<Option<Position>> {
        let mut file = std::fs::File::create(path).map_err(|e| Error::io("create", path, &e))?;
        // Not a `BufWriter`: a line is written in hundreds of pieces, and each would ask it for room.
        let mut lines: Vec<u8> = Vec::with_capacity(2 * GATHERED);
        let sees_id = sees.contains(&Field::Id(IdPart::Whole));
        let as_files = self.pipeline.target(ix).inputs_as_files;
        // A merge takes its inputs in their order, though it sees no ids.
        let sorts = !sees_id && !self.pipeline.target(ix).reduce;
        let mut damaged = None;
        let mut unsorted: Vec<(Digest, Vec<u8>)> = Vec::new();
        let failed = |e: &std::io::Error| Error::io("write", path, e);
        self.members(ix, sees, &mut |member| {
            let Some(content) = self.content(member, sees_id, as_files, inputs)? else {
                damaged = damaged.or(member.act);
                return Ok(());
            };
            let line = Line::of(member, sees_id, &content, lengths);
            line.write(&mut lines).map_err(|e| failed(&e))?;
            if sorts {
                unsorted.push((member.digest, std::mem::take(&mut lines)));
            } else if lines.len() >= GATHERED {
                file.write_all(&lines).map_err(|e| failed(&e))?;
                lines.clear();
            }
            Ok(())
        })?;
        file.write_all(&lines).map_err(|e| failed(&e))?;
        unsorted.sort_unstable();
        for (_, line) in unsorted {
            file.write_all(&line).map_err(|e| failed(&e))?;
        }
        Ok(damaged)
    }

    /// Asks for the result of a set: its [manifest](Streams::manifest) is written to `path`.
    pub fn request(
        &self,
        ix: TargetIx,
        sees: &[Field],
        (path, lengths): (PathBuf, bool),
        members: u64,
        id: u64,
        inputs: &mut Inputs,
    ) -> Result<Made<Request>> {
        if let Some(damaged) = self.manifest(ix, sees, (&path, lengths), inputs)? {
            return Ok(Err(Damaged(damaged)));
        }
        let body = Body::Manifest { path, members };
        Ok(Ok(Request { id, input: ModuleInput::new(body, ""), with: Vec::new() }))
    }

    /// What a member's line carries; nothing if its bytes are damaged.
    fn content(
        &self,
        member: &Member<'_>,
        sees_id: bool,
        as_files: bool,
        inputs: &mut Inputs,
    ) -> Result<Option<LineContent>> {
        let path = match (&member.path, member.output) {
            // The user's own path says where it lies: only for whoever sees that anyway.
            (Some(path), _) if sees_id && !as_files && path.to_str().is_some() => text_of(path),
            (Some(path), _) => text_of(&inputs.link(path, &member.digest, &member.ext)?),
            (None, Some(output)) if as_files || output.ext == folder::EXT => {
                match inputs.output(self.store, output)? {
                    Some(path) => text_of(&path),
                    None => return Ok(None),
                }
            }
            (None, Some(output)) if output.place == Place::Blob => match self.store.proved_blob(output)? {
                Some(path) => text_of(&path),
                None => return Ok(None),
            },
            (None, Some(output)) => return Ok(self.store.output_bytes(output)?.map(LineContent::Bytes)),
            (None, None) => match &member.row {
                Some(row) if as_files => text_of(&inputs.file(row, &member.digest, &member.ext)?),
                row => return Ok(row.clone().map(LineContent::Bytes)),
            },
        };
        Ok(Some(LineContent::Path(path)))
    }
}

/// Where a member's bytes are.
enum LineContent {
    /// In a file.
    Path(String),
    /// Here.
    Bytes(Arc<[u8]>),
}

/// A line of a manifest; borrowed, since a set may have millions.
#[derive(Default, Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    digest: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ext: Option<&'a Value>,
    #[serde(skip_serializing_if = "Meta::is_empty")]
    meta: Meta,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    #[serde(skip)]
    behind: &'a [u8],
}

impl<'a> Line<'a> {
    /// The line of a member; its id only for whoever sees it.
    fn of(member: &'a Member<'_>, sees_id: bool, content: &'a LineContent, lengths: bool) -> Self {
        let mut line =
            Line { id: sees_id.then(|| member.id.as_str()), digest: member.digest.hex(), ..Line::default() };
        for (name, value) in &member.facts {
            match name.strip_prefix("meta.") {
                Some(path) => put_meta(&mut line.meta, path, value.clone()),
                None if name == "ext" => line.ext = Some(value),
                None => put_meta(&mut line.meta, name, value.clone()),
            }
        }
        match content {
            LineContent::Path(path) => line.path = Some(path),
            LineContent::Bytes(bytes) if lengths && bytes.len() > IN_LINE => {
                (line.length, line.behind) = (Some(bytes.len()), bytes);
            }
            LineContent::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => line.text = Some(text),
                Err(_) => line.base64 = Some(encoded(bytes)),
            },
        }
        line
    }

    /// Writes it with its end.
    fn write(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.push(b'\n');
        out.extend_from_slice(self.behind);
        Ok(())
    }
}

/// Writes the line of a member whose bytes lie in the log; for benchmarks, which have no store (`crate::probe`).
pub(crate) fn write_line(member: &Member<'_>, bytes: Arc<[u8]>, out: &mut Vec<u8>) -> std::io::Result<()> {
    Line::of(member, true, &LineContent::Bytes(bytes), false).write(out)
}

fn encoded(bytes: &[u8]) -> String {
    let mut encoded = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    crate::module::base64::encode(bytes, &mut encoded);
    String::from_utf8_lossy(&encoded).into_owned()
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
