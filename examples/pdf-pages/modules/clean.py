"""A page without what stands on every page."""
import re

from pipelinefile import Doc, module


@module
def clean(doc: Doc) -> str:
    lines = [line.rstrip() for line in doc.text().splitlines()]
    kept = [line for line in lines if not re.fullmatch(r"\s*(\d+|[ivxlc]+|\d+ ?/ ?\d+)\s*", line)]
    text = re.sub(r"(\w)-\n(\w)", r"\1\2", "\n".join(kept))         # words that were cut at the end of a line
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
