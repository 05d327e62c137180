"""Any document to plain text. The title and the type that were found go into meta."""
from __future__ import annotations

import csv
import email
import email.policy
import io
import json
import posixpath
import re
import zipfile
from email.message import EmailMessage
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

import pdf
from pipelinefile import Doc, Result, Skip, module
from textlib import decode, is_binary, squeeze, tidy

# What holds no text for a reader: left out with a reason, and counted; never a failure.
SKIPPED = {
    **dict.fromkeys(["png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "bmp", "tif", "tiff"], "an image"),
    **dict.fromkeys(["css", "js", "mjs", "map"], "part of a web page's looks, not a document"),
    **dict.fromkeys(["woff", "woff2", "ttf", "otf"], "a font"),
    **dict.fromkeys(["zip", "gz", "xz", "bz2", "tar", "7z"], "an archive: unpack it first"),
}


@module
def text(doc: Doc, *, max_pages: int = 200):
    data = doc.bytes()
    if doc.ext in SKIPPED:
        raise Skip(SKIPPED[doc.ext])
    if not data.strip():
        raise Skip("empty")
    kind = KINDS.get(doc.ext) or guess(data)
    if kind == "pdf":
        title, body = from_pdf(doc, data, max_pages)
    elif kind == "epub":
        title, body = from_epub(data)
    elif kind in ("eml", "mbox"):
        title, body = from_mail(doc, data) if kind == "eml" else from_mbox(doc, data)
    elif is_binary(data):
        raise Skip("binary, no text inside")
    else:
        source, encoding = decode(data)
        if encoding == "latin-1":
            doc.warn("not UTF-8: read as Latin-1")      # stays with the document: `pipe log DOC`
        title, body = READERS[kind](source)
    body = tidy(body)
    if not body.strip():
        raise Skip("no text inside")
    print(f"{kind}: {len(body):,} characters, title {title!r}")     # print is the document's log
    return Result(body, meta={"title": squeeze(title)[:200], "type": kind})


def guess(data: bytes) -> str:
    """The kind of a file whose name says nothing (README, changelog, an unknown extension)."""
    if data.startswith(b"%PDF-"):
        return "pdf"
    if re.match(rb"\s*<(!doctype html|html)", data[:200], re.I):
        return "html"
    if re.search(rb"(?m)^\.(TH|Dt|SH|Sh) ", data[:4000]):
        return "man"
    return "text"


# --- text that is nearly plain -------------------------------------------------------------------------------------

def from_text(source: str) -> tuple[str, str]:
    """The title is the first heading (underlined, or after # or =), else the first line if it is short."""
    if match := re.match(r"---\n(?:.*\n)*?title:\s*(.+)\n(?:.*\n)*?---\n", source):
        return match[1], source
    lines = [line.strip() for line in source.splitlines()[:80]]
    for line, under in zip(lines, lines[1:]):
        if match := re.match(r"(?:#+|=+)\s+(.+?)\s*[#=]*$", line):
            return match[1], source
        if len(line) > 2 and len(under) >= 3 and re.fullmatch(r"([=\-~*#^])\1*", under) and line.strip("=-~*#^. "):
            return re.sub(r":\w+:`([^`<]*)[^`]*`|`+", r"\1", line), source
    first = next((line for line in lines if line.strip("=-~*#^./\\ ")), "")
    return (first if len(first) <= 80 else ""), source


def from_man(source: str) -> tuple[str, str]:
    """A manual page without its formatting."""
    match = re.search(r'^\.(?:TH|Dt)\s+"?([^"\s]+)"?\s*"?(\w*)', source, re.M)
    title = f"{match[1].lower()}({match[2]})" if match else ""
    source = re.sub(r"(?m)^[.']\s*(\\\"|(TH|IX|ie|el|if|de|ds|nr|so|in|ft|ad|nh|hy|ns|ta)\b).*\n?", "", source)
    source = re.sub(r"(?m)^\.\s*(SH|SS|Sh|Ss)\s+(.*)", r"\n\2\n", source)
    source = re.sub(r"(?m)^\.\s*[A-Za-z]{1,3}\b[ \t]*", "", source)
    source = re.sub(r"\\f(\[[^]]*\]|\(..|.)|\\[&/|^,%]|\\s[+-]?\d", "", source)
    for code, letter in (("\\(aq", "'"), ("\\(cq", "’"), ("\\(oq", "‘"), ("\\(lq", "“"), ("\\(rq", "”"), ("\\(bu", "•"),
                         ("\\(en", "–"), ("\\(em", "—"), ("\\(co", "©"), ("\\-", "-"), ("\\ ", " "), ("\\e", "\\")):
        source = source.replace(code, letter)
    return title, source.replace('"', "")


def from_csv(source: str) -> tuple[str, str]:
    delimiter = "\t" if source.count("\t") > source.count(",") else ","
    rows = csv.reader(io.StringIO(source, newline=""), delimiter=delimiter)
    return "", "\n".join("  ".join(cell for cell in row if cell) for row in rows)


def from_json(source: str) -> tuple[str, str]:
    """The strings of a JSON document, one a line; what cannot be read as JSON is taken as it is."""
    try:
        value = json.loads(source)
    except ValueError:
        return from_text(source)
    title = value.get("title", "") if isinstance(value, dict) else ""
    return (title if isinstance(title, str) else ""), "\n".join(strings(value))


def strings(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


# --- HTML ----------------------------------------------------------------------------------------------------------

class Reader(HTMLParser):
    """Collects the text of a page and its title."""
    HIDDEN = {"script", "style", "template", "noscript", "svg"}
    BLOCKS = {"p", "div", "br", "li", "ul", "ol", "dl", "dt", "dd", "tr", "table", "pre", "blockquote", "section", "article",
              "header", "footer", "nav", "main", "aside", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "body", "figure", "details"}

    def __init__(self):
        super().__init__()
        self.parts: list[str] = []
        self.title: list[str] = []
        self.heading: list[str] = []
        self.inside: list[str] = []         # open tags that matter here
        self.pre = 0

    def handle_starttag(self, tag, attrs):
        if tag in self.HIDDEN or tag in ("title", "h1"):
            self.inside.append(tag)
        if tag == "pre":
            self.pre += 1
        if tag in self.BLOCKS:
            self.parts.append("\n\n" if tag in ("p", "h1", "h2", "h3", "pre", "table", "ul", "ol", "dl") else "\n")
        elif tag in ("td", "th"):
            self.parts.append("  ")

    def handle_endtag(self, tag):
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass
        if tag == "pre":
            self.pre = max(0, self.pre - 1)
        if tag in self.BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data):
        if any(tag in self.HIDDEN for tag in self.inside):
            return
        if "title" in self.inside:
            self.title.append(data)
            return
        if "h1" in self.inside:
            self.heading.append(data)
        if not self.pre:
            data = re.sub(r"\s+", " ", data)
            if self.parts and self.parts[-1].endswith("\n"):
                data = data.lstrip()
        if data:
            self.parts.append(data)


def from_html(source: str) -> tuple[str, str]:
    reader = Reader()
    reader.feed(source)
    reader.close()
    return squeeze("".join(reader.title)) or squeeze("".join(reader.heading)), "".join(reader.parts)


# --- mail ----------------------------------------------------------------------------------------------------------

def from_mail(doc: Doc, data: bytes) -> tuple[str, str]:
    message = email.message_from_bytes(data, policy=email.policy.default)
    return str(message["Subject"] or ""), mail_text(doc, message)


def from_mbox(doc: Doc, data: bytes) -> tuple[str, str]:
    """A whole mailbox is one document here; with `split` each mail would be one of its own."""
    raw = re.split(rb"(?m)^From .*\r?\n", data)[1:]
    messages = [email.message_from_bytes(part, policy=email.policy.default) for part in raw]
    if not messages:
        raise ValueError("no line that begins with `From `: not a mailbox")
    return str(messages[0]["Subject"] or ""), "\n\n".join(mail_text(doc, message) for message in messages)


def mail_text(doc: Doc, message: EmailMessage) -> str:
    lines = [f"{name}: {message[name]}" for name in ("From", "To", "Date", "Subject") if message[name]]
    part = message.get_body(("plain", "html"))
    part = part or next((p for p in message.walk() if p.get_content_maintype() == "text"), None)
    if part is None:
        doc.warn("a mail without text", subject=str(message["Subject"]))
    else:
        payload, charset = part.get_payload(decode=True) or b"", part.get_content_charset("utf-8")
        try:
            body = payload.decode(charset)
        except (LookupError, UnicodeDecodeError):
            doc.warn(f"the mail says {charset}, but is not", subject=str(message["Subject"]))
            body = decode(payload)[0]
        lines += ["", from_html(body)[1] if part.get_content_type() == "text/html" else body]
    lines += [f"Attachment: {item.get_filename()} ({item.get_content_type()})" for item in message.iter_attachments()]
    return "\n".join(lines)


# --- PDF and EPUB --------------------------------------------------------------------------------------------------

def from_pdf(doc: Doc, data: bytes, max_pages: int) -> tuple[str, str]:
    document = pdf.Document(data)
    if document.encrypted:
        raise Skip("encrypted")
    pages, empty = [], 0
    for number, page in enumerate(document.pages(), 1):
        if number > max_pages:
            doc.warn(f"only the first {max_pages} pages were read")
            break
        pages.append(document.page_text(page))
        empty += not pages[-1].strip()
        doc.progress(number)
    if not pages:
        raise ValueError("no page found: damaged, or not a PDF")
    if empty:
        doc.warn("pages without text (scanned?)", pages=empty)
    body = "\n\n".join(pages)
    return document.title() or from_text(body)[0], body


def from_epub(data: bytes) -> tuple[str, str]:
    """The chapters in reading order."""
    with zipfile.ZipFile(io.BytesIO(data)) as book:
        container = ElementTree.fromstring(book.read("META-INF/container.xml"))
        opf = next(e.get("full-path") for e in container.iter() if e.tag.endswith("rootfile"))
        package = ElementTree.fromstring(book.read(opf))
        title = next((e.text or "" for e in package.iter() if e.tag.endswith("}title")), "")
        items = {e.get("id"): e.get("href") for e in package.iter() if e.tag.endswith("}item")}
        order = [items.get(e.get("idref")) for e in package.iter() if e.tag.endswith("}itemref")]
        names = [posixpath.join(posixpath.dirname(opf), unquote(href)) for href in order if href]
        return title, "\n\n".join(from_html(decode(book.read(name))[0])[1] for name in names if name in book.namelist())


KINDS = {
    "html": "html", "htm": "html", "xhtml": "html", "txt": "text", "rst": "rst", "md": "markdown", "markdown": "markdown",
    "pdf": "pdf", "epub": "epub", "eml": "eml", "mbox": "mbox", "csv": "csv", "tsv": "csv", "json": "json",
}
READERS = {"html": from_html, "text": from_text, "rst": from_text, "markdown": from_text, "man": from_man,
           "csv": from_csv, "json": from_json}
