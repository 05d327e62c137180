//! A table under way. JSON lines are written as they come; for CSV and Parquet, which name their columns first, the rows
//! lie in a file of their own until all are known.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::export::columns::{Columns, plain};
use crate::export::place::Unplaced;
use crate::export::row::{Reader, Row};
use crate::export::{Exported, Format, cells};

/// Who takes what goes to stdout.
pub(super) type Sink<'s> = dyn FnMut(&[u8]) -> Result<()> + 's;

/// A table that is being made.
pub struct Table {
    format: Format,
    /// Nothing: it goes to a [`Sink`].
    full: Option<PathBuf>,
    file: Unplaced,
    out: BufWriter<File>,
    columns: Columns,
    rows: u64,
}

impl Table {
    /// Begins a table for a file; without one, for a [`Sink`].
    pub fn begin(format: Format, full: Option<&Path>) -> Result<Self> {
        let file = match (format, full) {
            (Format::JsonLines, Some(full)) => Unplaced::at(full)?,
            _ => Unplaced::spool(full)?,
        };
        let out = BufWriter::with_capacity(1 << 17, file.create()?);
        let full = full.map(Path::to_owned);
        Ok(Table { format, full, file, out, columns: Columns::default(), rows: 0 })
    }

    /// The next document, as a line of a manifest.
    pub fn add(&mut self, line: &str, reader: &mut Reader, sink: &mut Sink<'_>) -> Result<()> {
        let row = reader.row(line)?;
        self.columns.add(&row);
        self.rows += 1;
        match (self.format, &self.full) {
            (Format::JsonLines, None) => sink(format!("{}\n", row.to_json()).as_bytes()),
            (Format::JsonLines, Some(_)) => self.write(&row.to_json()),
            _ => self.write(&serde_json::to_string(&row).unwrap_or_default()),
        }
    }

    fn write(&mut self, line: &str) -> Result<()> {
        let written = self.out.write_all(line.as_bytes()).and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|e| Error::io("write", self.full.as_deref().unwrap_or(self.file.path()), &e))
    }

    /// Ends it, and puts it into its place.
    pub fn end(self, sink: &mut Sink<'_>) -> Result<Exported> {
        let Table { format, full, file, out, columns, rows } = self;
        let named = full.clone().unwrap_or_else(|| file.path().to_owned());
        let failed = |e: &std::io::Error| Error::io("write", &named, e);
        let lines = out.into_inner().map_err(|e| failed(e.error()))?;
        let columns = columns.in_order();
        let exported = Exported { documents: rows, columns: columns.len() as u64 };
        match (format, &full) {
            (Format::JsonLines, Some(_)) => file.place()?,
            (Format::JsonLines, None) => {}
            (Format::Csv, Some(full)) => {
                let whole = Unplaced::at(full)?;
                let mut out = BufWriter::with_capacity(1 << 17, whole.create()?);
                as_csv(lines, &columns, &mut |line| out.write_all(line).map_err(|e| failed(&e)))?;
                out.flush().map_err(|e| failed(&e))?;
                drop(out);
                whole.place()?;
            }
            (Format::Csv, None) => as_csv(lines, &columns, sink)?,
            (_, full) => {
                let whole = match full {
                    Some(full) => Unplaced::at(full)?,
                    None => Unplaced::spool(None)?,
                };
                let whole = as_parquet(lines, &columns, whole)?;
                match full {
                    Some(_) => whole.place()?,
                    None => send(whole.path(), sink)?,
                }
            }
        }
        Ok(exported)
    }
}

/// The rows that lie in a file.
fn rows(mut lines: File, take: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| Error::unfinished("cannot read the rows again").caused_by(e);
    lines.rewind().map_err(|e| failed(&e))?;
    for line in BufReader::with_capacity(1 << 17, lines).lines() {
        let line = line.map_err(|e| failed(&e))?;
        take(serde_json::from_str(&line).map_err(|e| failed(&e))?)?;
    }
    Ok(())
}

fn as_csv(lines: File, columns: &[(&str, super::columns::Kind)], sink: &mut Sink<'_>) -> Result<()> {
    let mut line = Vec::new();
    let mut put = |line: &mut Vec<u8>, cells: Vec<Option<Cow<'_, str>>>| {
        line.clear();
        // Writing to memory cannot fail.
        drop(cells::write(line, cells));
        sink(line)
    };
    put(&mut line, columns.iter().map(|(name, _)| Some(Cow::Borrowed(*name))).collect())?;
    rows(lines, &mut |row| {
        let values = row.by_name();
        let cell = |(name, _): &(&str, _)| values.get(name).and_then(|value| plain(value)).map(Cow::Owned);
        put(&mut line, columns.iter().map(cell).collect())
    })
}

#[cfg(feature = "parquet")]
fn as_parquet(lines: File, columns: &[(&str, super::columns::Kind)], whole: Unplaced) -> Result<Unplaced> {
    let mut writer = super::parquet::Writer::new(whole.create()?, columns)?;
    rows(lines, &mut |row| writer.add(&row))?;
    writer.end()?;
    Ok(whole)
}

#[cfg(not(feature = "parquet"))]
fn as_parquet(_: File, _: &[(&str, super::columns::Kind)], _: Unplaced) -> Result<Unplaced> {
    Err(Error::usage("this pipe was built without Parquet"))
}

fn send(path: &Path, sink: &mut Sink<'_>) -> Result<()> {
    let failed = |e: &std::io::Error| Error::io("read", path, e);
    let mut file = File::open(path).map_err(|e| failed(&e))?;
    let mut buffer = vec![0; 1 << 17];
    loop {
        match std::io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => sink(&buffer[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(failed(&e)),
        }
    }
}
