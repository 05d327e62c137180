//! The rows of a source against those that were there before: both in byte order of names, met once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::Result;
use crate::hash::Digest;
use crate::scan::differences::Block;
use crate::scan::rows::{Index, Rows};
use crate::scan::{Counts, Differences, Known, Scan};

/// Visits what was known: its folder and itself, in byte order of ids.
pub type KnownRows<'a> = dyn Fn(&mut dyn FnMut(&str, Known)) -> Result<()> + 'a;

/// What is needed to judge the rows of a source.
pub struct RowRequest<'a> {
    /// The name of the source.
    pub source: &'a str,
    /// Its rows.
    pub rows: &'a Rows,
    /// What was known of them.
    pub known: &'a KnownRows<'a>,
    /// The stamp that its files had when they were compared last, if they could be trusted.
    pub files_before: Option<Digest>,
    /// Whether nothing but the row itself could make work for a document.
    pub is_current: &'a dyn Fn(u64) -> bool,
}

impl Rows {
    /// What is to be remembered of the files, once all that differs is dealt with; nothing if they cannot be trusted, or
    /// were not read.
    pub fn files_stamp_to_keep(&self) -> Option<Digest> {
        let index = self.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        index.as_ref().and_then(|index| index.stamp)
    }
}

/// Compares the rows of a source with those that were there before. Reads its files only if one of them is another.
pub fn scan_rows(request: &RowRequest<'_>) -> Result<Scan> {
    let rows = request.rows;
    rows.forget();
    let is_same = request.files_before.is_some() && rows.files_stamp() == request.files_before;
    let index = if is_same { None } else { Some(rows.index()?) };
    let mut met =
        Met { request, index: index.as_deref(), next: 0, counts: Counts::default(), blocks: BTreeMap::new() };
    let mut known = 0;
    (request.known)(&mut |dir, document| {
        known += 1;
        met.known(dir, document);
    })?;
    met.rest();
    let (counts, blocks) = (met.counts, met.blocks);
    Ok(Scan {
        source: request.source.to_owned(),
        found: Differences::new(blocks.into_values().collect()),
        counts,
        known,
        missing: rows.missing.clone(),
        ..Scan::default()
    })
}

struct Met<'a> {
    request: &'a RowRequest<'a>,
    /// Absent: the files are as they were.
    index: Option<&'a Index>,
    next: usize,
    counts: Counts,
    blocks: BTreeMap<Arc<str>, Block>,
}

impl Met<'_> {
    fn known(&mut self, dir: &str, document: Known) {
        let Some(index) = self.index else { return self.unchanged(dir, document) };
        let rel = if dir.is_empty() { document.name.clone() } else { format!("{dir}/{}", document.name) };
        while self.next < index.slots.len() && index.name(self.next) < rel.as_str() {
            self.new_row(index, self.next);
            self.next += 1;
        }
        if self.next < index.slots.len() && index.name(self.next) == rel {
            let is_same = index.slots[self.next].stamp == document.stamp;
            self.next += 1;
            if is_same {
                return self.unchanged(dir, document);
            }
            self.counts.changed += 1;
            self.block(dir).push_changed(document);
        } else {
            self.counts.gone += 1;
            self.block(dir).push_gone(document);
        }
    }

    fn unchanged(&mut self, dir: &str, document: Known) {
        if document.trusted && (self.request.is_current)(document.tag) {
            self.counts.current += 1;
        } else {
            self.counts.untrusted += 1;
            self.block(dir).push_untrusted(document);
        }
    }

    fn rest(&mut self) {
        let Some(index) = self.index else { return };
        for at in self.next..index.slots.len() {
            self.new_row(index, at);
        }
    }

    fn new_row(&mut self, index: &Index, at: usize) {
        self.counts.new += 1;
        let (dir, name) = index.name(at).rsplit_once('/').unwrap_or(("", index.name(at)));
        self.block(dir).push_new(name);
    }

    fn block(&mut self, dir: &str) -> &mut Block {
        if !self.blocks.contains_key(dir) {
            let dir: Arc<str> = Arc::from(dir);
            self.blocks.insert(Arc::clone(&dir), Block::of(dir, 0));
        }
        self.blocks.entry(Arc::from(dir)).or_insert_with(|| Block::of(Arc::from(dir), 0))
    }
}

/// Whether a path is one of the files that rows are read from.
pub fn is_table(path: &Path) -> bool {
    let ext = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default().to_lowercase();
    matches!(ext.as_str(), "csv" | "tsv" | "jsonl")
}
