"""Text without markup, so that nothing is learned from the format."""
import html
import re

from pipelinefile import Doc, module


@module
def totext(doc: Doc) -> str:
    text = doc.bytes().decode("utf-8", "replace")
    if doc.ext in ("html", "htm"):
        text = html.unescape(re.sub(r"(?s)<(script|style).*?</\1>|<[^>]+>", " ", text))
    return " ".join(re.findall(r"[A-Za-z]{2,}", text)).lower() + "\n"
