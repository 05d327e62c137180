"""What is in each column of a table (CSV, TSV, or a JSON list of objects)."""
from __future__ import annotations

import csv
import io
import json

from pipelinefile import Doc, Skip, module
from textlib import decode


@module
def columns(doc: Doc, *, examples: int = 3):
    source, _ = decode(doc.bytes())
    rows = from_json(source) if doc.ext == "json" else from_csv(source, "\t" if doc.ext == "tsv" else ",")
    if not rows:
        raise Skip("no table inside")
    names = sorted({name for row in rows for name in row})
    print(f"{len(rows)} rows, {len(names)} columns")
    return {"rows": len(rows), "columns": {name: column([row.get(name, "") for row in rows], examples) for name in names}}


def from_csv(source: str, delimiter: str) -> list[dict[str, str]]:
    names, rows = [], []
    for line in source.splitlines():
        if not line.startswith("#"):
            rows.extend([line] if line.strip() else [])
        elif not rows and "\t" in line and delimiter == "\t":
            names = [line.lstrip("# ")]         # tables of Unix begin with comments, the last names the columns
    reader = csv.DictReader(io.StringIO("\n".join(names + rows), newline=""), delimiter=delimiter, restval="")
    return [{name: value for name, value in row.items() if name is not None} for row in reader]


def from_json(source: str) -> list[dict[str, str]]:
    value = json.loads(source)
    candidates = [value, *value.values()] if isinstance(value, dict) else [value]
    for rows in candidates:
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            return [{name: cell if isinstance(cell, str) else json.dumps(cell, sort_keys=True) for name, cell in row.items()} for row in rows]
    return []


def column(cells: list[str], examples: int) -> dict:
    filled = [cell for cell in cells if cell]
    distinct = sorted(set(filled))
    numbers = bool(filled) and all(cell.lstrip("+-").replace(".", "", 1).isdigit() for cell in filled)
    return {"filled": len(filled), "distinct": len(distinct), "numbers": numbers, "examples": distinct[:examples]}
