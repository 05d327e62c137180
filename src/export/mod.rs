//! Exports: the documents of a stream as one table (JSON lines, CSV, Parquet) or as files, owned by nobody.
//!
//! The table is the one that `load("…").frame()` gives in Python: id, meta.*, the top-level fields of JSON, state. It is
//! made from the lines of `pipe ls --manifest`, one after another; nothing holds them all. Files come into their place
//! whole. Knows no store, no pipeline and no terminal.
//!
//! In this order, imports point to the left: `place` · `row` · `columns` · `cells`, `parquet` · `table` · `files`.

mod cells;
mod columns;
mod files;
#[cfg(feature = "parquet")]
mod parquet;
mod place;
mod row;
mod table;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use files::Files;
pub use row::Reader;
pub use table::Table;

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    JsonLines,
    /// Comma-separated values, with a line of names.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// A file a document, below a folder.
    Files,
}

impl Format {
    /// All of them, with their words.
    pub const ALL: [(Format, &str); 4] = [
        (Format::JsonLines, "jsonl"),
        (Format::Csv, "csv"),
        (Format::Parquet, "parquet"),
        (Format::Files, "files"),
    ];

    /// The word of `--format`.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, word)| word)
    }

    /// What a path asks for: by its ending, or because it is a folder; nothing if that is neither.
    pub fn of_path(path: &Path) -> Option<Format> {
        let is_folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            _ if is_folder => Some(Format::Files),
            Some("jsonl" | "ndjson") => Some(Format::JsonLines),
            Some("csv") => Some(Format::Csv),
            Some("parquet") => Some(Format::Parquet),
            None => Some(Format::Files),
            Some(_) => None,
        }
    }

    /// Whether this program can write it.
    pub fn is_built(self) -> bool {
        self != Format::Parquet || cfg!(feature = "parquet")
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Documents: lines of a table, or files.
    pub documents: u64,
    /// Columns of a table.
    pub columns: u64,
}
