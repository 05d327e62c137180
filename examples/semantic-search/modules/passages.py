"""A document as passages of about a hundred words."""
import html
import re

from pipelinefile import Child, Doc, module


@module
def passages(doc: Doc, *, words: int = 100):
    text = doc.text()
    if doc.ext in ("html", "htm"):
        text = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", text)
        text = html.unescape(text)
    found, number = text.split(), 0
    for at in range(0, len(found), words):
        part = found[at:at + words]
        if len(part) >= words // 4 or at == 0:
            number += 1
            yield Child(number, " ".join(part))
