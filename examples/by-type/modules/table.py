"""A table as lines of `column: value`, so that what is behind it needs to know no tables."""
import csv
import io

from pipelinefile import Doc, module


@module
def table(doc: Doc) -> str:
    dialect = "excel-tab" if doc.ext == "tsv" else "excel"
    rows = csv.DictReader(io.StringIO(doc.text(), newline=""), dialect=dialect)
    return "\n".join("; ".join(f"{name}: {value}" for name, value in row.items() if value) for row in rows) + "\n"
