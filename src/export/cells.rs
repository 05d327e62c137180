//! Comma-separated values as RFC 4180 has them, with `\n` behind each line.

use std::io::{self, Write};

/// Writes a line; a cell that is not there is empty, an empty text is `""`.
pub(super) fn write<'c>(
    out: &mut dyn Write,
    cells: impl IntoIterator<Item = Option<std::borrow::Cow<'c, str>>>,
) -> io::Result<()> {
    for (place, cell) in cells.into_iter().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        match cell {
            None => {}
            Some(cell) if is_plain(&cell) => out.write_all(cell.as_bytes())?,
            Some(cell) => write!(out, "\"{}\"", cell.replace('"', "\"\""))?,
        }
    }
    out.write_all(b"\n")
}

fn is_plain(cell: &str) -> bool {
    let edges = cell.starts_with(' ') || cell.ends_with(' ');
    !cell.is_empty() && !edges && !cell.contains(['"', ',', '\n', '\r'])
}
