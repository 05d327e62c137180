//! What a split came to: the list of its children, which is its result.
//!
//! Names, digests, extensions and meta in their order, nothing that differs from run to run: two splits with equal
//! lists made the same. The children themselves have records of their own. `docs/design/store.md` has the format.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hash::Digest;
use crate::model::action::{KeyInput, Output};
use crate::model::failure::{Failure, FailureKind};

/// The extension of a list.
pub const EXT: &str = "children";
const FIRST: &str = "{\"pipe_children\":1}";

/// One child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// As in its id: escaped.
    pub name: String,
    /// Of its bytes.
    pub digest: Digest,
    /// In bytes.
    pub length: u64,
    /// Its extension.
    pub ext: String,
    /// Its own meta: a compact JSON object; empty if there is none.
    pub meta: String,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    name: &'a str,
    digest: Digest,
    length: u64,
    ext: &'a str,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OwnedLine {
    name: String,
    digest: Digest,
    length: u64,
    ext: String,
    #[serde(default)]
    meta: Option<Box<RawValue>>,
}

impl Child {
    /// A child and what it is.
    pub fn new(name: &str, output: &Output) -> Self {
        Child {
            name: name.to_owned(),
            digest: output.digest,
            length: output.length,
            ext: output.ext.clone(),
            meta: output.meta.clone(),
        }
    }

    /// Whether this is what an output holds.
    pub fn is(&self, output: &Output) -> bool {
        (self.digest, self.length, &self.ext, &self.meta)
            == (output.digest, output.length, &output.ext, &output.meta)
    }
}

/// The longest name of a child, in bytes.
const LONGEST: usize = 1024;

/// The names that one document has given its children so far.
#[derive(Clone, Debug, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// One more, as in its id: escaped.
    ///
    /// # Errors
    ///
    /// If no child may be called so: the document fails for it.
    pub fn add(&mut self, name: &str) -> Result<(), Failure> {
        let message = if name.is_empty() {
            "a child needs a name".to_owned()
        } else if name.len() > LONGEST {
            let begin: String = name.chars().take(40).collect();
            format!("a child's name is too long: `{begin}…`")
        } else if !self.0.insert(name.to_owned()) {
            format!("two children are called `{name}`")
        } else {
            return Ok(());
        };
        Err(Failure::new(FailureKind::ModuleError, "child's name", message))
    }
}

/// A list as people read it and compare it, a line a child.
pub fn readable(children: &[Child]) -> String {
    let width = children.iter().map(|child| child.name.chars().count()).max().unwrap_or_default().min(40);
    let line = |child: &Child| {
        let meta = if child.meta.is_empty() { String::new() } else { format!("  {}", child.meta) };
        let size = crate::text::size(child.length);
        format!("{:width$}  {:4}  {size:>9}  {}{meta}\n", child.name, child.ext, child.digest.short())
    };
    children.iter().map(line).collect()
}

/// A list without children yet.
pub fn begin() -> Vec<u8> {
    format!("{FIRST}\n").into_bytes()
}

/// Adds a child to a list.
pub fn add(list: &mut Vec<u8>, child: &Child) {
    let meta = Some(child.meta.as_str()).filter(|meta| !meta.is_empty());
    let line = Line {
        name: &child.name,
        digest: child.digest,
        length: child.length,
        ext: &child.ext,
        meta: meta.and_then(|meta| serde_json::from_str(meta).ok()),
    };
    serde_json::to_writer(&mut *list, &line).expect("texts and numbers go into memory without fail");
    list.push(b'\n');
}

/// Reads a list; nothing if it is none that this version knows.
pub fn read(list: &[u8]) -> Option<Vec<Child>> {
    let mut lines = std::str::from_utf8(list).ok()?.lines();
    if lines.next()? != FIRST {
        return None;
    }
    let child = |line: &str| {
        let line: OwnedLine = serde_json::from_str(line).ok()?;
        let meta = line.meta.map(|meta| meta.get().to_owned()).unwrap_or_default();
        Some(Child { name: line.name, digest: line.digest, length: line.length, ext: line.ext, meta })
    };
    lines.map(child).collect()
}

/// The inputs by which the record of a child is found: those of the split, and its name.
pub fn key_inputs(split: &[KeyInput], name: &str) -> Vec<KeyInput> {
    let facts = serde_json::json!({ "child": name }).to_string();
    split.iter().cloned().chain([KeyInput { digest: None, facts }]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_and_its_bytes_stay() {
        let child = |name: &str, meta: &str| Child {
            name: name.to_owned(),
            digest: Digest([7; 32]),
            length: 3,
            ext: "txt".to_owned(),
            meta: meta.to_owned(),
        };
        let children = [child("page-1", ""), child("a\"b", r#"{"n":1}"#)];
        let mut list = begin();
        children.iter().for_each(|child| add(&mut list, child));
        let digest = "07".repeat(32);
        let golden = format!(
            "{{\"pipe_children\":1}}\n{{\"name\":\"page-1\",\"digest\":\"{digest}\",\"length\":3,\"ext\":\"txt\"}}\n\
             {{\"name\":\"a\\\"b\",\"digest\":\"{digest}\",\"length\":3,\"ext\":\"txt\",\"meta\":{{\"n\":1}}}}\n"
        );
        assert_eq!(String::from_utf8(list.clone()).unwrap(), golden);
        assert_eq!(read(&list).unwrap(), children);
        assert_eq!(read(&begin()), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_list_is_none() {
        for wrong in [&b""[..], b"{}", b"{\"pipe_children\":2}\n", b"{\"pipe_children\":1}\n{}\n", b"\xff"] {
            assert_eq!(read(wrong), None);
        }
    }

    #[test]
    fn each_name_has_a_key_of_its_own() {
        let split = [KeyInput { digest: Some(Digest([1; 32])), facts: "{}".to_owned() }];
        assert_ne!(key_inputs(&split, "a"), key_inputs(&split, "b"));
        assert_eq!(key_inputs(&split, "a")[1].facts, r#"{"child":"a"}"#);
    }
}
