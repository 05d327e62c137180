//! The lines of a reply: each is checked before anything of it counts.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::remote::folders;

/// The longest line of a reply; a result is no larger.
const LONGEST: u64 = 256 << 20;

/// What a server says; unknown fields are from a later version and ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    pub(super) id: Option<u64>,
    /// Of the code that gave the answer.
    pub(super) fingerprint: Option<String>,
    /// The module cannot start.
    pub(super) fatal: Option<Box<RawValue>>,
    /// What the document printed.
    pub(super) log: Option<String>,
    /// The server has other code by now: this document was not done, or not by the code that was asked for.
    #[serde(default)]
    pub(super) changed: bool,
    /// What is passed on as it is.
    output: Option<Box<RawValue>>,
    skip: Option<String>,
    error: Option<Box<RawValue>>,
    child: Option<Box<RawValue>>,
    progress: Option<Box<RawValue>>,
    warn: Option<Box<RawValue>>,
    count: Option<BTreeMap<String, f64>>,
}

/// The folder that a result or a child is, with whatever else is said of it.
fn take_folder(said: Option<&RawValue>) -> Option<(Value, Map<String, Value>)> {
    let text = said?.get();
    // Nearly none is one: it is not read for that.
    if !text.contains("\"folder\"") {
        return None;
    }
    let mut fields: Map<String, Value> = serde_json::from_str(text).ok()?;
    let folder = fields.remove("folder")?;
    Some((folder, fields))
}

/// A frame as it is passed on, to which its log is added.
#[derive(Debug, Serialize)]
pub(super) struct Passed {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) log: Option<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    skip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    child: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warn: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<BTreeMap<String, f64>>,
}

impl Said {
    /// Whether it says how its document ended.
    pub(super) fn is_answer(&self) -> bool {
        self.output.is_some() || self.skip.is_some() || self.error.is_some()
    }

    /// Writes the folder that it carries to `place`, where nothing is yet, and names that instead.
    pub(super) fn unpack(&mut self, place: &dyn Fn() -> PathBuf) -> Result<(), String> {
        for said in [&mut self.output, &mut self.child] {
            let Some((folder, mut fields)) = take_folder(said.as_deref()) else { continue };
            let place = place();
            folders::write(&folder, &place)?;
            // A folder has no extension but its own.
            fields.remove("ext");
            fields.insert("path".to_owned(), place.to_string_lossy().into());
            *said = serde_json::value::to_raw_value(&fields).ok();
        }
        Ok(())
    }

    /// The frame for the document of this number.
    pub(super) fn into_frame(self, id: u64) -> Passed {
        let Said { output, skip, error, child, progress, warn, count, .. } = self;
        Passed { id, log: None, output, skip, error, child, progress, warn, count }
    }
}

/// What was read.
pub(super) enum Line {
    /// A line that says something.
    Said(Box<Said>),
    /// The reply is over.
    End,
}

/// Reads the next line that says something; why there is none.
pub(super) fn next(reply: &mut impl BufRead) -> Result<Line, String> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reply.by_ref().take(LONGEST).read_until(b'\n', &mut line);
        let length =
            read.map_err(|error| format!("the connection was lost: {}", crate::error::io_text(&error)))?;
        if length == 0 {
            return Ok(Line::End);
        }
        if line.last() != Some(&b'\n') {
            let text = if length as u64 == LONGEST {
                "a line of its reply is without end"
            } else {
                "its reply was cut off"
            };
            return Err(text.to_owned());
        }
        // An empty line says that the server is there.
        if line.trim_ascii().is_empty() {
            continue;
        }
        return match serde_json::from_slice(&line) {
            Ok(said) => Ok(Line::Said(Box::new(said))),
            Err(_) => Err("its reply is not of the protocol".to_owned()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(reply: &str) -> Vec<Result<String, String>> {
        let mut reply = reply.as_bytes();
        let mut found = Vec::new();
        loop {
            match next(&mut reply) {
                Ok(Line::Said(said)) => found.push(Ok(serde_json::to_string(&said.into_frame(9)).unwrap())),
                Ok(Line::End) => return found,
                Err(why) => {
                    found.push(Err(why));
                    return found;
                }
            }
        }
    }

    #[test]
    fn what_is_said_is_passed_on_as_it_is() {
        let said = lines(
            "\n{\"id\":1,\"output\":{\"text\":\"a\",\"n\":1e400},\"fingerprint\":\"f\",\"log\":\"x\"}\n\n{\"id\":2,\"skip\":\"empty\"}\n",
        );
        let expected =
            ["{\"id\":9,\"output\":{\"text\":\"a\",\"n\":1e400}}", "{\"id\":9,\"skip\":\"empty\"}"];
        assert_eq!(said, expected.map(|line| Ok(line.to_owned())));
    }

    #[test]
    fn what_is_cut_off_or_no_json_is_said() {
        assert_eq!(lines("{\"id\":1"), [Err("its reply was cut off".to_owned())]);
        assert_eq!(lines("<html>\n"), [Err("its reply is not of the protocol".to_owned())]);
    }

    #[test]
    fn a_folder_is_written_where_its_document_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let mut reply = "{\"id\":1,\"output\":{\"folder\":{\"a\":{\"text\":\"x\"}},\"ext\":\"/\",\"meta\":{\"n\":1}}}\n{\"id\":2,\"output\":{\"folder\":{\"../a\":{\"text\":\"x\"}}}}\n".as_bytes();
        let place = dir.path().join("made");
        let Ok(Line::Said(mut said)) = next(&mut reply) else { panic!() };
        said.unpack(&|| place.clone()).unwrap();
        assert_eq!(crate::fs::read(&place.join("a")).unwrap(), b"x");
        let expected = format!("{{\"id\":9,\"output\":{{\"meta\":{{\"n\":1}},\"path\":{place:?}}}}}");
        assert_eq!(serde_json::to_string(&said.into_frame(9)).unwrap(), expected);
        let Ok(Line::Said(mut said)) = next(&mut reply) else { panic!() };
        assert!(said.unpack(&|| dir.path().join("other")).is_err());
    }
}
