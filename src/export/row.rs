//! A line of a manifest → a row of a table: names and values in their order, values as the JSON that they are.

use std::fmt;
use std::os::unix::ffi::OsStringExt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::hash::{Digest, Map, Set};
use crate::model::folder;

/// A row: names and their values, each compact JSON. The first is `id`, the last `state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row(pub(super) Vec<(String, String)>);

/// A document of a manifest.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) id: String,
    pub(super) state: String,
    #[serde(default)]
    pub(super) ext: String,
    #[serde(default)]
    digest: Option<Digest>,
    #[serde(default)]
    meta: Pairs,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    #[serde(default)]
    pub(super) path: Option<std::path::PathBuf>,
    /// The same, where no text can hold it.
    #[serde(default)]
    path_base64: Option<String>,
    /// Of a folder.
    #[serde(default)]
    pub(super) files: Option<Vec<FileLine>>,
}

/// A file of a folder.
#[derive(Deserialize)]
pub(super) struct FileLine {
    #[serde(flatten)]
    pub(super) file: folder::File,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
    /// Where a large one lies.
    #[serde(default)]
    pub(super) at: Option<std::path::PathBuf>,
}

impl FileLine {
    /// The content of a small one; nothing if it is another, or not here.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let bytes = match (&self.text, &self.base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => crate::module::base64::decode(text).ok()?,
            (None, None) => return None,
        };
        (Digest::of(&bytes) == self.file.digest).then_some(bytes)
    }
}

/// An object in the order in which it is written; of a name that stands twice the last value.
#[derive(Default)]
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> std::result::Result<Pairs, M::Error> {
                let mut pairs: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut places: Map<String, usize> = Map::default();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    match places.get(&name) {
                        Some(place) => pairs[*place].1 = value,
                        None => {
                            places.insert(name.clone(), pairs.len());
                            pairs.push((name, value));
                        }
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// Reads the lines of a manifest, and counts what is wrong with their contents.
#[derive(Debug, Default)]
pub struct Reader {
    /// Source files are as they are; what a result was made of must be what it was.
    pub is_source: bool,
    /// Documents called `.json` that hold none: their rows have no fields.
    pub no_json: Vec<String>,
    /// Documents whose bytes are not what they were: they stand as `damaged`.
    pub damaged: Vec<String>,
}

impl Reader {
    /// A line as it is.
    pub(super) fn line(line: &str) -> Result<Line> {
        let mut line: Line = serde_json::from_str(line).map_err(|e| {
            Error::unfinished("the list of documents came in another form than it should").caused_by(e)
        })?;
        let bytes = line.path_base64.as_ref().and_then(|path| crate::module::base64::decode(path).ok());
        if let Some(bytes) = bytes {
            line.path = Some(std::ffi::OsString::from_vec(bytes).into());
        }
        Ok(line)
    }

    /// The row of a line.
    pub(super) fn row(&mut self, line: &str) -> Result<Row> {
        let line = Self::line(line)?;
        let mut row = Row(vec![("id".to_owned(), json_text(&line.id))]);
        for (name, value) in &line.meta.0 {
            row.put(format!("meta.{name}"), compact(value));
        }
        let mut state = line.state.clone();
        if line.ext == "json" && line.has_content() {
            match self.bytes(&line)? {
                Some(bytes) => match fields(&bytes) {
                    Some(fields) => {
                        let mut taken: Set<String> = row.0.iter().map(|(name, _)| name.clone()).collect();
                        taken.insert("state".to_owned());
                        for (name, value) in fields {
                            let name = if taken.contains(&name) { format!("json.{name}") } else { name };
                            if taken.insert(name.clone()) {
                                row.0.push((name, value));
                            } else {
                                row.put(name, value);
                            }
                        }
                    }
                    None => self.no_json.push(line.id.clone()),
                },
                None => "damaged".clone_into(&mut state),
            }
        }
        row.put("state".to_owned(), json_text(&state));
        Ok(row)
    }

    /// The content of a line; nothing if it is not what it was.
    pub(super) fn bytes(&mut self, line: &Line) -> Result<Option<Vec<u8>>> {
        if let Some(text) = &line.text {
            return Ok(Some(text.clone().into_bytes()));
        }
        if let Some(text) = &line.base64 {
            let decoded = crate::module::base64::decode(text);
            return decoded.map(Some).map_err(|e| {
                Error::unfinished("the bytes came in another form than they should").caused_by(e)
            });
        }
        let Some(path) = &line.path else { return Ok(None) };
        let bytes = crate::fs::read(path);
        Ok(match bytes {
            Ok(bytes) if self.is_source || line.digest == Some(Digest::of(&bytes)) => Some(bytes),
            _ => {
                self.damaged.push(line.id.clone());
                None
            }
        })
    }

    /// Whether bytes of a line are what they were.
    pub(super) fn is_right(&mut self, line: &Line, present: Option<Digest>) -> bool {
        let is_right = present.is_some() && (self.is_source || line.digest == present);
        if !is_right {
            self.damaged.push(line.id.clone());
        }
        is_right
    }
}

impl Line {
    /// Whether the content is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.files.is_some()
    }

    pub(super) fn has_content(&self) -> bool {
        self.text.is_some() || self.base64.is_some() || self.path.is_some()
    }
}

impl Row {
    fn put(&mut self, name: String, value: String) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// Its values by their names.
    pub(super) fn by_name(&self) -> Map<&str, &str> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// As a JSON object.
    pub(super) fn to_json(&self) -> String {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{}:{value}", json_text(name))).collect();
        format!("{{{}}}", pairs.join(","))
    }
}

/// The fields of a JSON text; one that is no object is a single field.
fn fields(bytes: &[u8]) -> Option<Vec<(String, String)>> {
    if let Ok(pairs) = serde_json::from_slice::<Pairs>(bytes) {
        return Some(pairs.0.into_iter().map(|(name, value)| (name, compact(&value))).collect());
    }
    let value: Box<RawValue> = serde_json::from_slice(bytes).ok()?;
    Some(vec![("value".to_owned(), compact(&value))])
}

/// A value without spaces; numbers keep their digits.
fn compact(value: &RawValue) -> String {
    let text = value.get();
    if !text.starts_with(['{', '[']) {
        return text.to_owned();
    }
    serde_json::from_str::<Value>(text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

pub(super) fn json_text(text: &str) -> String {
    Value::from(text).to_string()
}
