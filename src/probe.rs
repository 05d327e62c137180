//! Doors to the inside for fuzz targets (`fuzz/`) and benchmarks (`benches/`): decoders of what comes from a disk or
//! from another process, and that nothing else can reach from outside. No part of the API. Knows nothing itself.

use std::io::BufRead;
use std::sync::Arc;

use crate::engine::sets::Member;
use crate::error::Result;
use crate::hash::Digest;
use crate::model::document::{DocId, Meta};
use crate::model::failure::Failure;
use crate::module::Description;
use crate::socket::Request;
use crate::store::Entry;
use crate::store::index::Unusable;

pub use crate::module::reply::Reply;

/// The entries of the page of the index that lies under `key`.
pub fn page_entries(key: &[u8], page: &[u8]) -> std::result::Result<Vec<Entry>, Unusable> {
    crate::store::index::page::decode(key, page)
}

/// The page with these entries, in order of name.
pub fn page_of(key: &[u8], entries: &[Entry]) -> Vec<u8> {
    crate::store::index::page::encode(key, entries)
}

/// Writes the line of a manifest for a member of a set.
pub fn manifest_line(
    id: &DocId,
    digest: Digest,
    facts: &Meta,
    bytes: Arc<[u8]>,
    out: &mut Vec<u8>,
) -> std::io::Result<()> {
    let ext = String::new();
    let member =
        Member { id, digest, ext, facts: facts.clone(), output: None, act: None, path: None, row: None };
    crate::engine::manifest::write_line(&member, bytes, out)
}

/// A line of a worker, without its end.
pub fn reply(line: &[u8]) -> Reply {
    crate::module::reply::read(line)
}

/// What a worker printed when it was asked what it is.
pub fn description(printed: &[u8]) -> Option<std::result::Result<Description, Failure>> {
    crate::module::reply::description(printed)
}

/// The question of whoever connects to the socket.
pub fn question(from: impl BufRead) -> Result<Request> {
    crate::socket::wire::read_request(from)
}

/// The line of a question.
pub fn question_line(request: &Request) -> Result<Vec<u8>> {
    crate::socket::wire::request_line(request)
}

/// Reads one line of an answer and writes what was understood; nothing where the line has no end.
pub fn answer_line(mut from: &[u8]) -> Option<Vec<u8>> {
    let reply = crate::socket::wire::read_reply(&mut from).ok()??;
    let mut line = Vec::new();
    crate::socket::wire::write_reply(&mut line, reply).ok()?;
    Some(line)
}
