"""The text of a PDF file, with the standard library alone.

Not a complete reader: it finds the objects by looking at the bytes, undoes Flate compression, walks the pages,
and follows the text operators. Letters come from a font's ToUnicode table, else from its encoding. Scanned pages,
encrypted files and right-to-left scripts need a real library (`pdftotext`, `pypdf`): change one line of text.py.
"""
from __future__ import annotations

import re
import zlib
from typing import Any, Iterator

TOKEN = re.compile(
    rb"\s*(?:%[^\r\n]*[\r\n]?\s*)*"
    rb"(?:(?P<dict><<|>>)|(?P<hex><[0-9A-Fa-f\s]*>)|(?P<text>\()|(?P<bracket>[\[\]{}])"
    rb"|(?P<name>/[^\s()<>\[\]{}/%]*)|(?P<ref>\d+\s+\d+\s+R(?![A-Za-z]))"
    rb"|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))|(?P<word>[^\s()<>\[\]{}/%]+))")
ESCAPE = re.compile(rb"\\(\r\n|[0-7]{1,3}|[\s\S])")
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f", b"\n": b"", b"\r": b"", b"\r\n": b""}
LITERAL = re.compile(rb"[()\\]")
OBJECT = re.compile(rb"(?<!\d)(\d+)\s+(\d+)\s+obj\b")

# Names of glyphs that are neither a single letter nor `uniXXXX`.
GLYPHS = dict(pair.split("=", 1) for pair in """
space=\u00a0 exclam=! quotedbl=" numbersign=# dollar=$ percent=% ampersand=& quotesingle=' quoteright=’ quoteleft=‘ parenleft=( parenright=)
asterisk=* plus=+ comma=, hyphen=- period=. slash=/ colon=: semicolon=; less=< equal== greater=> question=? at=@ bracketleft=[ backslash=\\
bracketright=] asciicircum=^ underscore=_ grave=` braceleft={ bar=| braceright=} asciitilde=~ zero=0 one=1 two=2 three=3 four=4 five=5 six=6
seven=7 eight=8 nine=9 endash=– emdash=— bullet=• quotedblleft=“ quotedblright=” quotesinglbase=‚ quotedblbase=„ ellipsis=… fi=fi fl=fl
ff=ff ffi=ffi ffl=ffl germandbls=ß adieresis=ä odieresis=ö udieresis=ü Adieresis=Ä Odieresis=Ö Udieresis=Ü eacute=é egrave=è ecircumflex=ê
agrave=à aacute=á acircumflex=â ccedilla=ç iacute=í icircumflex=î oacute=ó ocircumflex=ô uacute=ú ugrave=ù ntilde=ñ copyright=© registered=®
section=§ paragraph=¶ degree=° mu=µ trademark=™ guillemotleft=« guillemotright=» aring=å ae=æ oslash=ø minus=− multiply=×
periodcentered=· dotlessi=ı euro=€ Euro=€ arrowright=→ nbspace=\u00a0
""".split())
GLYPHS["space"] = GLYPHS["nbspace"] = " "


class Name(str):
    """A PDF name, such as /Type."""


class Ref(int):
    """A reference to an object, by its number."""


class Word(str):
    """A bare word: an operator, `true`, `null`."""


class Document:
    def __init__(self, data: bytes):
        self.data = data
        # The last definition of a number wins, as in a file that was saved again.
        self.offsets = {int(m[1]): m.end() for m in OBJECT.finditer(data)}
        self.cache: dict[int, tuple[Any, bytes]] = {}
        self.fonts: dict[int, Font] = {}
        trailers = [tokens(data, m.end()) for m in re.finditer(rb"\btrailer\b", data)]
        self.trailer: dict = {}
        for stream in trailers:
            value = parse(stream)
            if isinstance(value, dict):
                self.trailer.update(value)
        for number in sorted(self.offsets):                 # objects packed into streams, since PDF 1.5
            start = self.offsets[number]
            head = data[start:start + 400]
            if b"/ObjStm" in head:
                self._unpack(number)
            elif b"/XRef" in head:
                value = self.load(number)[0]
                if isinstance(value, dict):
                    self.trailer.update({k: v for k, v in value.items() if k in ("Root", "Info", "Encrypt")})

    def _unpack(self, number: int) -> None:
        head, body = self.load(number)
        if not isinstance(head, dict) or head.get("Type") != "ObjStm":
            return
        first, count = int(self.get(head.get("First"), 0)), int(self.get(head.get("N"), 0))
        numbers = [int(n) for n in body[:first].split()[:2 * count]]
        for inner, offset in zip(numbers[::2], numbers[1::2]):
            if inner not in self.offsets:
                self.cache[inner] = (parse(tokens(body, first + offset)), b"")

    def load(self, number: int) -> tuple[Any, bytes]:
        """An object and the bytes of its stream, if it has one."""
        if number not in self.cache:
            self.cache[number] = (None, b"")                # a circle of references ends here
            start = self.offsets.get(number)
            if start is not None:
                self.cache[number] = self._read(start)
        return self.cache[number]

    def _read(self, start: int) -> tuple[Any, bytes]:
        stream = tokens(self.data, start)
        value = parse(stream)
        if not isinstance(value, dict):
            return value, b""
        match = re.compile(rb"\s*stream(\r\n|\n|\r)").match(self.data, stream.position)
        if not match:
            return value, b""
        length = self.get(value.get("Length"), None)
        end = match.end() + length if isinstance(length, (int, float)) else -1
        if end < 0 or b"endstream" not in self.data[int(end):int(end) + 20]:
            end = self.data.find(b"endstream", match.end())
        return value, self._decode(value, self.data[match.end():int(end)])

    def _decode(self, head: dict, raw: bytes) -> bytes:
        filters = self.get(head.get("Filter"), [])
        params = self.get(head.get("DecodeParms"), {})
        for name in filters if isinstance(filters, list) else [filters]:
            if name not in ("FlateDecode", "Fl"):
                return b""                                  # pictures and the like
            raw = inflate(raw)
        params = self.get(params[0], {}) if isinstance(params, list) and params else params
        if isinstance(params, dict) and int(params.get("Predictor", 1)) >= 10:
            raw = unpredict(raw, int(params.get("Columns", 1)))
        return raw

    def get(self, value: Any, default: Any) -> Any:
        """The value itself, following a reference; the default if there is none."""
        if isinstance(value, Ref):
            value = self.load(value)[0]
        return default if value is None else value

    @property
    def encrypted(self) -> bool:
        return "Encrypt" in self.trailer

    def title(self) -> str:
        info = self.get(self.trailer.get("Info"), {})
        raw = self.get(info.get("Title"), b"") if isinstance(info, dict) else b""
        if not isinstance(raw, bytes) or self.encrypted:
            return ""
        return raw.decode("utf-16", "replace") if raw[:2] in (b"\xfe\xff", b"\xff\xfe") else raw.decode("latin-1")

    def pages(self) -> Iterator[dict]:
        root = self.get(self.trailer.get("Root"), {})
        if not isinstance(root, dict) or "Pages" not in root:
            everything = (self.load(n)[0] for n in sorted(set(self.offsets) | set(self.cache)))
            root = next((o for o in everything if isinstance(o, dict) and o.get("Type") == "Catalog"), {})
        seen: set[int] = set()
        todo = [(root.get("Pages"), {})]
        while todo:
            ref, inherited = todo.pop()
            if isinstance(ref, Ref) and ref in seen:
                continue
            if isinstance(ref, Ref):
                seen.add(ref)
            node = self.get(ref, {})
            if not isinstance(node, dict):
                continue
            resources = node.get("Resources", inherited)
            if "Kids" in node:
                todo.extend((kid, resources) for kid in reversed(self.get(node["Kids"], [])))
            elif node.get("Type") == "Page" or "Contents" in node:
                yield {**node, "Resources": resources}

    def page_text(self, page: dict) -> str:
        contents = self.get(page.get("Contents"), [])
        parts = contents if isinstance(contents, list) else [page.get("Contents")]
        code = b"\n".join(self.load(part)[1] for part in parts if isinstance(part, Ref))
        out: list[str] = []
        self._run(code, self.get(page.get("Resources"), {}), out, depth=0)
        return "".join(out)

    def _run(self, code: bytes, resources: dict, out: list[str], depth: int) -> None:
        """Follow the text operators; a move down begins a line, a gap to the right is a space."""
        fonts = self.get(resources.get("Font"), {})
        objects = self.get(resources.get("XObject"), {})
        font, size, stack = Font(), 1.0, []
        matrix, scale = (0.0, 0.0), 1.0                     # where the line begins, and how large a unit is
        origin, saved = (0.0, 0.0), []                      # where the page has been moved to
        x = y = leading = 0.0                               # x: where the last text ended, as well as we know
        last_y: float | None = None
        stream = tokens(code, 0)

        def show(raw: bytes) -> None:
            nonlocal x, last_y
            text, width = font.decode(raw)
            if not text:
                return
            if last_y is not None and abs(y - last_y) > 0.4 * abs(size * scale):
                far = abs(y - last_y) > 1.9 * abs(size * scale)
                out.append("\n\n" if far else "\n")
            elif out and not -0.3 < (x - show.end) / abs(size * scale) < 0.15 and not out[-1].endswith((" ", "\n")):
                out.append(" ")
            out.append(text)
            x += width * size * scale / 1000
            show.end, last_y = x, y

        show.end = 0.0

        def move(dx: float, dy: float) -> None:
            nonlocal matrix, x, y
            matrix = (matrix[0] + dx * scale, matrix[1] + dy * scale)
            x, y = matrix

        while True:
            token = parse(stream)
            if token is END:
                return
            if not isinstance(token, Word):
                stack.append(token)
                continue
            try:
                if token == "Tj":
                    show(stack[-1])
                elif token == "TJ":
                    for part in stack[-1]:
                        if isinstance(part, bytes):
                            show(part)
                        elif isinstance(part, (int, float)):
                            x -= part * size * scale / 1000
                elif token in ("'", '"'):
                    move(0, -leading)
                    show(stack[-1])
                elif token == "Td":
                    move(stack[-2], stack[-1])
                elif token == "TD":
                    leading = -stack[-1]
                    move(stack[-2], stack[-1])
                elif token == "T*":
                    move(0, -leading)
                elif token == "TL":
                    leading = stack[-1]
                elif token == "Tm":
                    a, b, c, d, e, f = stack[-6:]
                    scale = (abs(a) + abs(b)) or 1.0
                    matrix = (origin[0] + e, origin[1] + f)
                    x, y = matrix
                elif token == "BT":
                    matrix, scale = origin, 1.0
                    x, y = matrix
                elif token == "cm":
                    origin = (origin[0] + stack[-2], origin[1] + stack[-1])
                elif token == "q":
                    saved.append(origin)
                elif token == "Q":
                    origin = saved.pop()
                elif token == "Tf":
                    size = float(stack[-1]) or 1.0
                    font = self._font(fonts.get(stack[-2]))
                elif token == "Do" and depth < 4:
                    form, inner = self.load(objects[stack[-1]])
                    if form.get("Subtype") == "Form":
                        self._run(inner, self.get(form.get("Resources"), resources), out, depth + 1)
                        out.append("\n")
                elif token == "BI":                         # a picture inside the page: jump over its bytes
                    end = re.compile(rb"\sEI\b").search(code, stream.position)
                    stream.position = end.end() if end else len(code)
            except (IndexError, TypeError, ValueError, KeyError, AttributeError):
                pass                                        # an operator without its operands: leave it out
            stack.clear()

    def _font(self, ref: Any) -> "Font":
        key = int(ref) if isinstance(ref, Ref) else -1
        if key not in self.fonts or key < 0:
            self.fonts[key] = Font(self, self.get(ref, {}))
        return self.fonts[key]


class Font:
    """Turns the bytes of a string into letters and their width (in thousandths of the size)."""

    def __init__(self, document: Document | None = None, head: dict | None = None):
        self.letters: dict[int, str] = {}
        self.widths: dict[int, float] = {}
        self.wide = False                                   # two bytes for each letter
        self.default = 500.0
        if not document or not isinstance(head, dict):
            return
        self.wide = head.get("Subtype") == "Type0"
        encoding = document.get(head.get("Encoding"), {})
        if isinstance(encoding, dict):
            code = 0
            for item in document.get(encoding.get("Differences"), []):
                if isinstance(item, Name):
                    self.letters[code] = glyph(item)
                    code += 1
                elif isinstance(item, (int, float)):
                    code = int(item)
        if isinstance(head.get("ToUnicode"), Ref):
            self.letters.update(unicode_map(document.load(head["ToUnicode"])[1]))
        if self.wide:
            descendants = document.get(head.get("DescendantFonts"), [])
            inner = document.get(descendants[0], {}) if descendants else {}
            self.default = float(document.get(inner.get("DW"), 1000))
            self._wide_widths(document, document.get(inner.get("W"), []))
        else:
            first = int(document.get(head.get("FirstChar"), 0))
            for code, width in enumerate(document.get(head.get("Widths"), []), first):
                width = document.get(width, 0)
                if isinstance(width, (int, float)):
                    self.widths[code] = float(width)

    def _wide_widths(self, document: Document, table: list) -> None:
        items, i = [document.get(item, 0) for item in table], 0
        while i + 1 < len(items):
            if isinstance(items[i + 1], list):
                self.widths.update(enumerate(items[i + 1], int(items[i])))
                i += 2
            elif i + 2 < len(items):
                self.widths.update(dict.fromkeys(range(int(items[i]), min(int(items[i + 1]) + 1, 65536)), items[i + 2]))
                i += 3
            else:
                return

    def decode(self, raw: bytes) -> tuple[str, float]:
        if self.wide:
            codes = [raw[i] << 8 | raw[i + 1] for i in range(0, len(raw) - 1, 2)]
            text = "".join(self.letters.get(code, "") for code in codes)
        else:
            codes = list(raw)
            text = "".join(self.letters.get(code) or bytes([code]).decode("windows-1252", "ignore") for code in codes)
        return "".join(c for c in text if c >= " "), sum(self.widths.get(code, self.default) for code in codes)


def glyph(name: str) -> str:
    if len(name) == 1:
        return name
    if name in GLYPHS:
        return GLYPHS[name]
    match = re.fullmatch(r"(?:uni|u)([0-9A-Fa-f]{4,6})", name)
    if match and int(match[1], 16) < 0x110000:
        return chr(int(match[1], 16))
    return glyph(name.split(".")[0]) if "." in name[1:] else ""


def unicode_map(table: bytes) -> dict[int, str]:
    """The ToUnicode table of a font: which code is which letter."""
    letters: dict[int, str] = {}
    hexes = re.compile(rb"<([0-9A-Fa-f\s]*)>|(\[)|(\])")

    def text(digits: bytes) -> str:
        return bytes.fromhex(digits.decode()).decode("utf-16-be", "ignore")

    for block in re.findall(rb"beginbfchar(.*?)endbfchar", table, re.S):
        items = [m[1] for m in hexes.finditer(block) if m[1] is not None]
        for code, value in zip(items[::2], items[1::2]):
            letters[int(code, 16)] = text(value)
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", table, re.S):
        pattern = rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*(?:<([0-9A-Fa-f]+)>|\[([^\]]*)\])"
        for low, high, start, several in re.findall(pattern, block):
            first, last = int(low, 16), min(int(high, 16), int(low, 16) + 65535)
            if several:
                values = [text(v) for v in re.findall(rb"<([0-9A-Fa-f]+)>", several)]
                letters.update(zip(range(first, last + 1), values))
            elif start:
                base = text(start)
                for code in range(first, last + 1):
                    point = ord(base[-1]) + code - first if base else 0
                    if base and point < 0x110000:
                        letters[code] = base[:-1] + chr(point)
    return letters


def inflate(raw: bytes) -> bytes:
    """As much as can be unpacked; damaged streams give what comes before the damage."""
    engine, out = zlib.decompressobj(), []
    for start in range(0, len(raw), 4096):
        try:
            out.append(engine.decompress(raw[start:start + 4096]))
        except zlib.error:
            break
    return b"".join(out)


def unpredict(raw: bytes, columns: int) -> bytes:
    """Undo the row filters of PNG (only the two that object streams use)."""
    rows, above = [], bytes(columns)
    for start in range(0, len(raw), columns + 1):
        kind, row = raw[start], raw[start + 1:start + 1 + columns]
        if kind == 2:
            row = bytes((a + b) & 255 for a, b in zip(row, above))
        rows.append(row)
        above = row
    return b"".join(rows)


class tokens:
    """A place in the bytes, from which `parse` reads on."""

    def __init__(self, data: bytes, position: int):
        self.data, self.position = data, position


END = object()
CLOSE = object()


def parse(stream: tokens) -> Any:
    """The next value: a number, bytes (a string), Name, Ref, Word, list or dict; END at the end."""
    match = TOKEN.match(stream.data, stream.position)
    if not match:
        return END
    stream.position = match.end()
    kind, raw = match.lastgroup, match[match.lastgroup]
    if kind == "number":
        return float(raw) if b"." in raw else int(raw)
    if kind == "text":
        return literal(stream)
    if kind == "hex":
        digits = re.sub(rb"\s", b"", raw[1:-1]).decode()
        return bytes.fromhex(digits + "0" * (len(digits) % 2))
    if kind == "name":
        return Name(re.sub(r"#([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), raw[1:].decode("latin-1")))
    if kind == "ref":
        return Ref(raw.split()[0])
    if raw in (b"<<", b"["):
        items = []
        while (item := parse(stream)) not in (CLOSE, END):
            items.append(item)
        if raw == b"[":
            return items
        return {key: value for key, value in zip(items[::2], items[1::2]) if isinstance(key, str)}
    if raw in (b">>", b"]"):
        return CLOSE
    word = raw.decode("latin-1")
    return {"null": None, "true": True, "false": False}.get(word, Word(word))


def literal(stream: tokens) -> bytes:
    """A string in parentheses, which may hold parentheses."""
    start, depth, at = stream.position, 1, stream.position
    while depth:
        match = LITERAL.search(stream.data, at)
        if not match:
            at = len(stream.data)
            break
        at = match.end()
        if match[0] == b"(":
            depth += 1
        elif match[0] == b")":
            depth -= 1
        else:
            at += 1
    stream.position = at
    return ESCAPE.sub(unescape, stream.data[start:at - 1])


def unescape(match: re.Match) -> bytes:
    body = match[1]
    return bytes([int(body, 8) & 255]) if body.isdigit() and body[:1] < b"8" else ESCAPES.get(body, body)
