//! One file of rows: cut into rows without being held, and a row read again at its place.
//!
//! A cell of a .csv or .tsv file is text, whatever it looks like; a row's content is a JSON object by column. A line of
//! a .jsonl file is taken as it is. Owns `csv`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::document::Meta;
use crate::text::{count, nearest};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Separated(u8),
    JsonLines,
}

/// An open file of rows.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    file: File,
    form: Form,
    /// The column that names a row, and its place.
    column: String,
    place: usize,
    columns: Vec<String>,
}

/// Where a row stands in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) offset: u64,
    pub(super) length: u32,
    pub(super) line: u64,
}

/// A row that was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    /// Its content: a JSON object.
    pub bytes: Vec<u8>,
    /// Its scalars by name.
    pub meta: Meta,
}

/// What stands in one place of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// The value of the column that names it, where that can be read.
    pub(super) name: Option<String>,
    /// The row, or what is wrong with it.
    pub(super) row: std::result::Result<Row, String>,
}

impl Table {
    /// Opens a file; an error if it has no such column.
    pub(super) fn open(path: &Path, column: &str) -> Result<Table> {
        let file = File::open(path).map_err(|e| Error::io("read", path, &e))?;
        let ext = path.extension().map(|ext| ext.to_string_lossy().to_lowercase()).unwrap_or_default();
        let form = match ext.as_str() {
            "tsv" => Form::Separated(b'\t'),
            "jsonl" => Form::JsonLines,
            _ => Form::Separated(b','),
        };
        let mut table = Table {
            path: path.to_owned(),
            file,
            form,
            column: column.to_owned(),
            place: 0,
            columns: Vec::new(),
        };
        if let Form::Separated(by) = form {
            table.head(by)?;
        }
        Ok(table)
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    fn head(&mut self, by: u8) -> Result<()> {
        let mut first = csv::ByteRecord::new();
        let mut reader = separated(self.whole()?, by);
        if !reader.read_byte_record(&mut first).map_err(|e| self.unreadable(&e.into()))? {
            // An empty file has no rows, and need not have columns.
            return Ok(());
        }
        self.columns = first.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        let Some(place) = self.columns.iter().position(|name| *name == self.column) else {
            let message = format!("`{}` has no column `{}`", self.path.display(), self.column);
            let error = Error::usage(message);
            return Err(match nearest(&self.column, self.columns.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("its columns are: {}", self.columns.join(", "))),
            });
        };
        let twice = self.columns.iter().enumerate().find(|(at, name)| self.columns[..*at].contains(name));
        if let Some((_, name)) = twice {
            return Err(Error::usage(format!("`{}` has the column `{name}` twice", self.path.display())));
        }
        self.place = place;
        Ok(())
    }

    fn whole(&self) -> Result<BufReader<File>> {
        let again = self.file.try_clone().and_then(|mut file| {
            file.seek(SeekFrom::Start(0))?;
            Ok(file)
        });
        again.map(|file| BufReader::with_capacity(256 * 1024, file)).map_err(|e| self.unreadable(&e))
    }

    fn unreadable(&self, e: &io::Error) -> Error {
        Error::io("read", &self.path, e)
    }

    /// Visits every row in the order of the file.
    pub(super) fn each(&self, visit: &mut dyn FnMut(Spot, Found) -> Result<()>) -> Result<()> {
        match self.form {
            Form::Separated(by) => self.each_separated(by, visit),
            Form::JsonLines => self.each_line(visit),
        }
    }

    fn each_separated(&self, by: u8, visit: &mut dyn FnMut(Spot, Found) -> Result<()>) -> Result<()> {
        let mut reader = separated(self.whole()?, by);
        let mut record = csv::ByteRecord::new();
        let mut is_first = true;
        loop {
            let offset = reader.position().byte();
            if !reader.read_byte_record(&mut record).map_err(|e| self.unreadable(&e.into()))? {
                return Ok(());
            }
            if std::mem::take(&mut is_first) {
                continue;
            }
            let line = record.position().map_or(0, csv::Position::line);
            let length = (reader.position().byte() - offset) as u32;
            visit(Spot { offset, length, line }, self.of_record(&record))?;
        }
    }

    fn each_line(&self, visit: &mut dyn FnMut(Spot, Found) -> Result<()>) -> Result<()> {
        let mut reader = self.whole()?;
        let mut bytes = Vec::new();
        let (mut offset, mut line) = (0, 0);
        loop {
            bytes.clear();
            let length = reader.read_until(b'\n', &mut bytes).map_err(|e| self.unreadable(&e))?;
            if length == 0 {
                return Ok(());
            }
            line += 1;
            if !bytes.trim_ascii().is_empty() {
                visit(Spot { offset, length: length as u32, line }, self.of_line(&bytes))?;
            }
            offset += length as u64;
        }
    }

    /// Reads a row again; nothing if the file no longer has that many bytes.
    pub(super) fn read(&self, spot: Spot) -> Option<Found> {
        let mut bytes = vec![0; spot.length as usize];
        self.file.read_exact_at(&mut bytes, spot.offset).ok()?;
        let Form::Separated(by) = self.form else { return Some(self.of_line(&bytes)) };
        let mut record = csv::ByteRecord::new();
        let is_there = separated(bytes.as_slice(), by).read_byte_record(&mut record).ok()?;
        is_there.then(|| self.of_record(&record))
    }

    /// The line where a row begins: blank lines in front of it are part of its place, not of the row.
    pub(super) fn line(&self, spot: Spot) -> u64 {
        let mut bytes = vec![0; spot.length as usize];
        let is_read = self.file.read_exact_at(&mut bytes, spot.offset).is_ok();
        let blank = bytes.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
        spot.line + blank.filter(|byte| is_read && **byte == b'\n').count() as u64
    }

    fn of_record(&self, record: &csv::ByteRecord) -> Found {
        let name = record.get(self.place).and_then(|cell| std::str::from_utf8(cell).ok()).map(str::to_owned);
        let row = self.row_of(record);
        Found { name, row }
    }

    fn row_of(&self, record: &csv::ByteRecord) -> std::result::Result<Row, String> {
        if record.len() != self.columns.len() {
            let fields = count(record.len() as u64, "field");
            return Err(format!("{fields} where the first line has {}", self.columns.len()));
        }
        let mut meta = Meta::new();
        for (column, cell) in self.columns.iter().zip(record) {
            let Ok(cell) = std::str::from_utf8(cell) else {
                return Err(format!("`{column}` is not UTF-8 text"));
            };
            meta.insert(column.clone(), Value::from(cell));
        }
        let whole = Value::Object(meta);
        let bytes = whole.to_string().into_bytes();
        let Value::Object(meta) = whole else { return Err(String::new()) };
        Ok(Row { bytes, meta })
    }

    fn of_line(&self, line: &[u8]) -> Found {
        // Some programs begin a file with a mark that it is UTF-8.
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
        let wrong = |what: String| Found { name: None, row: Err(what) };
        let whole = match serde_json::from_slice::<Value>(line) {
            Ok(Value::Object(whole)) => whole,
            Ok(_) => return wrong("it is no JSON object".to_owned()),
            Err(error) => {
                // The line in the file is said by whoever knows it.
                let text = error.to_string();
                let text = text.split(" at line ").next().unwrap_or_default();
                return wrong(format!("{text} (column {})", error.column()));
            }
        };
        let name = match whole.get(&self.column) {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Some(Value::Null) | None => return wrong(format!("it has no `{}`", self.column)),
            Some(_) => return wrong(format!("`{}` is no text and no number", self.column)),
        };
        let is_scalar = |value: &Value| !matches!(value, Value::Null | Value::Array(_) | Value::Object(_));
        let meta = whole.into_iter().filter(|(_, value)| is_scalar(value)).collect();
        Found { name: Some(name), row: Ok(Row { bytes: line.to_vec(), meta }) }
    }
}

fn separated<R: Read>(reader: R, by: u8) -> csv::Reader<R> {
    csv::ReaderBuilder::new().delimiter(by).has_headers(false).flexible(true).from_reader(reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rows(
        name: &str,
        text: &[u8],
        column: &str,
    ) -> Vec<(u64, Option<String>, std::result::Result<String, String>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        crate::fs::write_scratch(&path, text).unwrap();
        let table = Table::open(&path, column).unwrap();
        let mut rows = Vec::new();
        table
            .each(&mut |spot, found| {
                assert_eq!(table.read(spot).as_ref(), Some(&found), "read again at its place");
                let row = found.row.map(|row| String::from_utf8(row.bytes).unwrap());
                rows.push((table.line(spot), found.name, row));
                Ok(())
            })
            .unwrap();
        rows
    }

    #[test]
    fn cells_are_text_and_line_breaks_in_quotes_belong_to_them() {
        let found = rows("a.csv", b"\xef\xbb\xbfid,note\n1,\"a\n\"\"b\"\"\"\n\n2,x\n", "id");
        assert_eq!(
            found,
            [
                (2, Some("1".to_owned()), Ok(r#"{"id":"1","note":"a\n\"b\""}"#.to_owned())),
                (5, Some("2".to_owned()), Ok(r#"{"id":"2","note":"x"}"#.to_owned())),
            ]
        );
        assert_eq!(
            rows("a.tsv", b"note\tid\na,b\t7", "id"),
            [(2, Some("7".to_owned()), Ok(r#"{"id":"7","note":"a,b"}"#.into()))]
        );
        assert_eq!(rows("a.csv", b"", "id"), []);
    }

    #[test]
    fn a_broken_row_says_what_is_wrong_and_stops_no_other() {
        let found = rows("a.csv", b"id,a,b\n1,x\n2,\xff,y\n3,x,y\n", "id");
        assert_eq!(found[0], (2, Some("1".to_owned()), Err("2 fields where the first line has 3".into())));
        assert_eq!(found[1], (3, Some("2".to_owned()), Err("`a` is not UTF-8 text".into())));
        assert!(found[2].2.is_ok());
        let lines = b"{\"id\": 1, \"a\": [1], \"b\": true}\n{\"id\": }\n\n[1]\n{\"a\": 1}\n{\"id\": [1]}\n";
        let found = rows("a.jsonl", lines, "id");
        assert_eq!(found[0], (1, Some("1".to_owned()), Ok("{\"id\": 1, \"a\": [1], \"b\": true}".into())));
        assert_eq!(found[1], (2, None, Err("expected value (column 8)".into())));
        assert_eq!(found[2], (4, None, Err("it is no JSON object".into())));
        assert_eq!(found[3], (5, None, Err("it has no `id`".into())));
        assert_eq!(found[4], (6, None, Err("`id` is no text and no number".into())));
    }

    #[test]
    fn a_column_that_is_not_there_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        crate::fs::write_scratch(&path, b"vendor_id,name\n").unwrap();
        let error = Table::open(&path, "vendor").err().unwrap();
        assert!(error.to_string().contains("has no column `vendor`"), "{error}");
        crate::fs::write_scratch(&path, b"id,name,name\n").unwrap();
        assert!(Table::open(&path, "id").err().unwrap().to_string().contains("twice"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_rows_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200), json in any::<bool>()) {
            let mut whole = if json { Vec::new() } else { b"id,b\n".to_vec() };
            whole.extend(text);
            rows(if json { "a.jsonl" } else { "a.csv" }, &whole, "id");
        }
    }
}
