//! Parquet: columns that may be empty, in groups of rows, compressed with Snappy.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::Result as Written;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::error::{Error, Result};
use crate::export::columns::{Kind, plain};
use crate::export::row::Row;

/// A group is written when it has so many rows,
const ROWS: usize = 65_536;
/// or so many bytes.
const BYTES: usize = 64 << 20;

/// A table that is being written.
pub(super) struct Writer<'c> {
    columns: &'c [(&'c str, Kind)],
    file: SerializedFileWriter<File>,
    /// By column: the values of this group as JSON.
    values: Vec<Vec<Option<String>>>,
    bytes: usize,
}

impl<'c> Writer<'c> {
    /// Begins a file.
    pub(super) fn new(file: File, columns: &'c [(&'c str, Kind)]) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(format!("pipe {}", env!("CARGO_PKG_VERSION")))
            .build();
        let file = schema(columns)
            .and_then(|schema| SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)))
            .map_err(failed)?;
        Ok(Writer { columns, file, values: vec![Vec::new(); columns.len()], bytes: 0 })
    }

    /// The next row.
    pub(super) fn add(&mut self, row: &Row) -> Result<()> {
        let values = row.by_name();
        for (column, (name, _)) in self.columns.iter().enumerate() {
            let value = values.get(name).map(|value| (*value).to_owned());
            self.bytes += value.as_ref().map_or(1, String::len);
            self.values[column].push(value);
        }
        let rows = self.values.first().map_or(0, Vec::len);
        if rows >= ROWS || self.bytes >= BYTES { self.end_group() } else { Ok(()) }
    }

    fn end_group(&mut self) -> Result<()> {
        if self.values.first().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        self.bytes = 0;
        let mut group = self.file.next_row_group().map_err(failed)?;
        for ((_, kind), values) in self.columns.iter().zip(&mut self.values) {
            let values = std::mem::take(values);
            let column = group.next_column().map_err(failed)?;
            let Some(mut column) = column else { break };
            write(column.untyped(), *kind, &values).and_then(|()| column.close()).map_err(failed)?;
        }
        group.close().map(drop).map_err(failed)
    }

    /// Ends the file.
    pub(super) fn end(mut self) -> Result<()> {
        self.end_group()?;
        let mut file = self.file.into_inner().map_err(failed)?;
        file.flush().map_err(|e| Error::unfinished("cannot write the table").caused_by(e))
    }
}

fn schema(columns: &[(&str, Kind)]) -> Written<Type> {
    let column = |(name, kind): &(&str, Kind)| {
        let (physical, logical) = match kind {
            Kind::Truth => (Physical::BOOLEAN, None),
            Kind::Whole => (Physical::INT64, None),
            Kind::Number => (Physical::DOUBLE, None),
            Kind::Empty | Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let column = Type::primitive_type_builder(name, physical).with_repetition(Repetition::OPTIONAL);
        column.with_logical_type(logical).build().map(Arc::new)
    };
    let fields = columns.iter().map(column).collect::<Written<_>>()?;
    Type::group_type_builder("documents").with_fields(fields).build()
}

fn write(column: &mut ColumnWriter<'_>, kind: Kind, values: &[Option<String>]) -> Written<()> {
    // A value that is null is as one that is not there.
    let values: Vec<Option<&str>> =
        values.iter().map(|value| value.as_deref().filter(|value| Kind::of(value) != Kind::Empty)).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let there = values.into_iter().flatten();
    match (column, kind) {
        (ColumnWriter::BoolColumnWriter(column), _) => {
            let values: Vec<bool> = there.map(|value| value == "true").collect();
            column.write_batch(&values, Some(&levels), None)?;
        }
        (ColumnWriter::Int64ColumnWriter(column), _) => {
            let values: Vec<i64> = there.map(|value| value.parse().unwrap_or_default()).collect();
            column.write_batch(&values, Some(&levels), None)?;
        }
        (ColumnWriter::DoubleColumnWriter(column), _) => {
            let values: Vec<f64> = there.map(|value| value.parse().unwrap_or(f64::NAN)).collect();
            column.write_batch(&values, Some(&levels), None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), _) => {
            let text = |value: &str| ByteArray::from(plain(value).unwrap_or_default().into_bytes());
            let values: Vec<ByteArray> = there.map(text).collect();
            column.write_batch(&values, Some(&levels), None)?;
        }
        // The schema has no other.
        _ => {}
    }
    Ok(())
}

fn failed(error: parquet::errors::ParquetError) -> Error {
    Error::unfinished("cannot write the table").caused_by(error)
}
