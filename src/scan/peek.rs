//! Length and kind of a document's file, where its bytes are known and not needed.

use std::io::Read;

use crate::model::document::DocId;
use crate::scan::reader::{SNIFF, open};
use crate::scan::{Roots, mime_of};

/// The length of a document's file and what it is, without reading all of it; nothing if it cannot be read.
pub fn peek(roots: &Roots, rel: &str) -> Option<(u64, &'static str)> {
    let file = open(roots, &roots.path_of(rel)).ok()??;
    let length = file.metadata().ok()?.len();
    let mut first = Vec::new();
    file.take(SNIFF as u64).read_to_end(&mut first).ok()?;
    Some((length, mime_of(&first, &DocId::in_source("", rel).ext())))
}
