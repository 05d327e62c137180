//! Length and kind of a document's file, where its bytes are known and not needed.

use std::io::Read;

use crate::model::document::DocId;
use crate::scan::reader::{SNIFF, open};
use crate::scan::{Roots, mime_of};
use std::path::Path;

/// What a file is, by its first bytes; as text with this extension if it cannot be read.
pub fn mime_of_file(path: &Path, ext: &str) -> &'static str {
    let mut first = Vec::new();
    // A file that cannot be read says so to whoever reads all of it.
    let read = std::fs::File::open(path).map(|file| file.take(SNIFF as u64).read_to_end(&mut first));
    drop(read);
    mime_of(&first, ext)
}

/// The length of a document's file and what it is, without reading all of it; nothing if it cannot be read.
pub fn peek(roots: &Roots, rel: &str) -> Option<(u64, &'static str)> {
    let file = open(roots, &roots.path_of(rel)).ok()??;
    let length = file.metadata().ok()?.len();
    let mut first = Vec::new();
    file.take(SNIFF as u64).read_to_end(&mut first).ok()?;
    Some((length, mime_of(&first, &DocId::in_source("", rel).ext())))
}
