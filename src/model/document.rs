//! Documents: ids, numbers, stamps, and what may be seen of them.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

/// A document's number in one store: dense, given at first sight, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct DocNumber(pub u32);

/// A document's stable name: `SOURCE/relative/path`, or a target's name for the result of an `all`; a child of a split
/// is `parent#name`, a group `TARGET/value`.
///
/// Always UTF-8: `#`, `%`, control characters and bytes that are not UTF-8 are %-escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DocId(String);

/// Ends the name of the family of a split's children in the index: no source and no target is called so.
pub const CHILDREN: char = '#';
/// Ends the name of the family of a target's groups in the index.
pub const GROUPS: char = '=';
/// Ends the name of the family of a reduce's merges in the index.
pub const MERGES: char = '^';

impl DocId {
    /// The id of a document of a source: `rel` is relative to it, escaped already.
    pub fn in_source(source: &str, rel: &str) -> Self {
        DocId([source, "/", rel].concat())
    }

    /// The id of the result of an `all` target.
    pub fn of_set(target: &str) -> Self {
        DocId(target.to_owned())
    }

    /// The id of a child that a split made: `name` is escaped already.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        DocId(format!("{}#{name}", self.0))
    }

    /// The id of an entry of the index: a family, a folder in it, a name in that.
    pub fn at(family: &str, dir: &str, name: &str) -> Self {
        if family.ends_with(CHILDREN) {
            return DocId([dir, name].concat());
        }
        let family = family.trim_end_matches([GROUPS, MERGES]);
        match (dir, name) {
            ("", "") => DocId::of_set(family),
            ("", name) => DocId::in_source(family, name),
            (dir, name) => DocId([family, "/", dir, "/", name].concat()),
        }
    }

    /// The folder and the name under which the index has it, within its family: children lie with their siblings.
    pub fn place(&self) -> (&str, &str) {
        match self.0.rfind('#') {
            Some(at) => (&self.0[..=at], &self.0[at + 1..]),
            None if self.rel().is_empty() => ("", ""),
            None => {
                let rel = self.rel();
                rel.rsplit_once('/').unwrap_or(("", rel))
            }
        }
    }

    /// The document that this one was split from.
    pub fn parent(&self) -> Option<DocId> {
        self.0.rsplit_once('#').map(|(parent, _)| DocId(parent.to_owned()))
    }

    /// `id.child`: the name that a split gave.
    pub fn child_name(&self) -> Option<&str> {
        self.0.rsplit_once('#').map(|(_, name)| name)
    }

    /// The document that all splits began with: the id without any child's name.
    pub fn root(&self) -> &str {
        self.0.split('#').next().unwrap_or_default()
    }

    /// An id as it was written: by a person, or on disk.
    pub fn parse(text: impl Into<String>) -> Self {
        DocId(text.into())
    }

    /// The text of the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `id.source`: the first part, for a set its target.
    pub fn source(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// `id.rel`: the id without its source.
    pub fn rel(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, rel)| rel)
    }

    /// `rel` without the names of children.
    fn path(&self) -> &str {
        self.root().split_once('/').map_or("", |(_, rel)| rel)
    }

    /// `id.dir`: the folder of the file, empty at the top; a child's is that of what it was split from.
    pub fn dir(&self) -> &str {
        self.path().rsplit_once('/').map_or("", |(dir, _)| dir)
    }

    /// The file's name, for a set its target.
    pub fn name(&self) -> &str {
        self.root().rsplit('/').next().unwrap_or_default()
    }

    /// `id.stem`: the name without its extension.
    pub fn stem(&self) -> &str {
        let name = self.name();
        &name[..name.len() - extension_length(name)]
    }

    /// `id.base`: the path in the source without its extension.
    pub fn base(&self) -> &str {
        let rel = self.path();
        &rel[..rel.len() - extension_length(rel)]
    }

    /// `id.ext`: the extension in lower case, without its dot.
    pub fn ext(&self) -> String {
        let name = self.name();
        name[name.len() - extension_length(name)..].trim_start_matches('.').to_lowercase()
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The length of `.ext` at the end of a path, dot included; 0 where there is none (`.hidden` has none).
fn extension_length(path: &str) -> usize {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.len() - dot,
        _ => 0,
    }
}

/// A name on disk as a part of an id: `#`, `%`, control characters and bytes that are not UTF-8 become `%XX`.
pub fn escape_name(name: &OsStr) -> Cow<'_, str> {
    if let Some(text) = name.to_str()
        && !text.chars().any(must_escape)
    {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(name.len() + 8);
    for chunk in name.as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if must_escape(c) {
                let mut buffer = [0; 4];
                c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_escaped(&mut out, byte));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| push_escaped(&mut out, *byte));
    }
    Cow::Owned(out)
}

fn must_escape(c: char) -> bool {
    c == '#' || c == '%' || c.is_control()
}

fn push_escaped(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "%{byte:02X}");
}

/// The name on disk of an escaped part of an id (or of a whole relative path).
pub fn unescape_name(text: &str) -> OsString {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let escaped = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        if let Some(byte) = escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(byte);
            i += 3;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    OsString::from_vec(out)
}

/// A keyed hash of a file's (device, inode, size, mtime, ctime, type): only equality is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp(pub u64);

/// `meta`: a small JSON object that belongs to an output, keys sorted.
pub type Meta = serde_json::Map<String, serde_json::Value>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_fields_of_an_id() {
        let id = DocId::parse("inbox/2024/Scan.v2.PDF");
        let fields = (id.source(), id.rel(), id.dir(), id.stem(), id.base(), id.ext());
        assert_eq!(
            fields,
            ("inbox", "2024/Scan.v2.PDF", "2024", "Scan.v2", "2024/Scan.v2", "pdf".to_owned())
        );
        let set = DocId::of_set("index");
        assert_eq!(
            (set.source(), set.rel(), set.dir(), set.stem(), set.ext().as_str()),
            ("index", "", "", "index", "")
        );
        let hidden = DocId::parse("inbox/a.b/.profile");
        assert_eq!((hidden.stem(), hidden.base(), hidden.ext().as_str()), (".profile", "a.b/.profile", ""));
    }

    #[test]
    fn a_child_has_the_fields_of_what_it_was_split_from() {
        let id = DocId::parse("inbox/2024/scan.v2.pdf").child("page-3.txt");
        assert_eq!(
            (id.source(), id.dir(), id.stem(), id.base(), id.ext().as_str(), id.child_name()),
            ("inbox", "2024", "scan.v2", "2024/scan.v2", "pdf", Some("page-3.txt"))
        );
        assert_eq!(id.parent().as_ref().map(DocId::as_str), Some("inbox/2024/scan.v2.pdf"));
        assert_eq!(id.rel(), "2024/scan.v2.pdf#page-3.txt");
        let line = id.child("a/b");
        assert_eq!((line.root(), line.dir()), ("inbox/2024/scan.v2.pdf", "2024"));
        assert_eq!(line.parent(), Some(id));
    }

    #[test]
    fn the_place_of_an_id_in_the_index_gives_it_back() {
        for (family, id) in [
            ("inbox", "inbox/a.txt"),
            ("inbox", "inbox/b/c/a.txt"),
            ("index", "index"),
            ("pages#", "inbox/b/a.pdf#page-3"),
            ("lines#", "inbox/b/a.pdf#x/y#1/2"),
            ("threads=", "threads/42"),
            ("threads=", "threads/a//b"),
            ("pages#", "threads/a/b#1"),
        ] {
            let id = DocId::parse(id);
            let (dir, name) = id.place();
            assert_eq!(DocId::at(family, dir, name), id);
        }
    }

    #[test]
    fn awkward_names_are_escaped() {
        let escape = |bytes: &[u8]| escape_name(OsStr::from_bytes(bytes)).into_owned();
        assert_eq!(escape("größe".as_bytes()), "größe");
        assert_eq!(escape(b"a#1 100%\n\xff.txt"), "a%231 100%25%0A%FF.txt");
        assert_eq!(escape("\u{85}".as_bytes()), "%C2%85");
    }

    proptest! {
        #[test]
        fn any_name_survives_escaping(bytes in proptest::collection::vec(1u8.., 1..40)) {
            let name = OsString::from_vec(bytes);
            let escaped = escape_name(&name).into_owned();
            prop_assert_eq!(unescape_name(&escaped), name);
        }

        #[test]
        fn different_names_have_different_escapes(a in "[#%a\u{1}\u{7f}]{0,4}", b in "[#%a\u{1}\u{7f}]{0,4}") {
            prop_assert_eq!(a == b, escape_name(OsStr::new(&a)) == escape_name(OsStr::new(&b)));
        }
    }
}
