//! The names of new documents: the body of a `Names` frame.
//! `directory | first number | count | (bytes shared with the name before | the rest)…`

use crate::model::document::DocNumber;
use crate::store::bytes::{self, Reader};

/// No frame holds more names.
pub const NAMES_IN_A_FRAME: usize = 128;

/// New documents of one directory. They get numbers one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The source or set, and the folder within it: `inbox/2024`; the ids are this, `/` and the name.
    /// Empty for documents whose id is the name alone.
    pub directory: String,
    /// The number of the first name.
    pub first: DocNumber,
    /// At most [`NAMES_IN_A_FRAME`].
    pub names: Vec<String>,
}

impl Names {
    /// As many frames as so many names need.
    pub fn split(directory: &str, first: DocNumber, names: &[String]) -> Vec<Names> {
        let frame = |(i, part): (usize, &[String])| Names {
            directory: directory.to_owned(),
            first: DocNumber(first.0 + (i * NAMES_IN_A_FRAME) as u32),
            names: part.to_vec(),
        };
        names.chunks(NAMES_IN_A_FRAME).enumerate().map(frame).collect()
    }

    /// The name of a document, if it is among these.
    pub fn name(&self, doc: DocNumber) -> Option<&str> {
        self.names.get(doc.0.checked_sub(self.first.0)? as usize).map(String::as_str)
    }
}

pub(super) fn encode(names: &Names, out: &mut Vec<u8>) {
    bytes::put_text(out, &names.directory);
    bytes::put_number(out, names.first.0.into());
    bytes::put_number(out, names.names.len() as u64);
    let mut before: &[u8] = b"";
    for name in &names.names {
        let name = name.as_bytes();
        let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
        bytes::put_number(out, shared as u64);
        bytes::put_number(out, (name.len() - shared) as u64);
        out.extend_from_slice(&name[shared..]);
        before = name;
    }
}

pub(super) fn decode(body: &mut Reader<'_>) -> Option<Names> {
    let directory = body.text()?.to_owned();
    let first = DocNumber(body.small()?);
    let count = body.small::<usize>().filter(|count| *count <= NAMES_IN_A_FRAME)?;
    let mut names: Vec<String> = Vec::with_capacity(count);
    for _ in 0..count {
        let shared = body.small()?;
        let length = body.small()?;
        let before = names.last().map_or(&b""[..], |name| name.as_bytes());
        let name = [before.get(..shared)?, body.bytes(length)?].concat();
        names.push(String::from_utf8(name).ok()?);
    }
    Some(Names { directory, first, names })
}
