"""Write a `pipe` module as one Python function. One file, standard library only, Python >= 3.9.

    from pipelinefile import module, Doc

    @module
    def clean(doc: Doc, *, min_len: int = 20) -> str:
        return "\\n".join(l for l in doc.text().splitlines() if len(l) >= min_len)

    if __name__ == "__main__":
        clean.main()                # python clean.py a.txt --min-len 5

The same function is a worker under `pipe`, a command-line program, and an ordinary call in a
notebook or a test: `clean("a.txt", min_len=5)`.
"""
from __future__ import annotations

import base64
import collections.abc
import faulthandler
import functools
import importlib.machinery
import importlib.util
import inspect
import json
import os
import re
import signal
import stat
import sys
import tempfile
import threading
import time
import traceback
import types
import typing
from json.encoder import encode_basestring as _quote
from pathlib import Path, PurePath

__all__ = ["module", "Doc", "Docs", "Result", "Child", "Skip", "Retry", "load"]

PROTOCOL, WINDOW = 1, 64
_SDK = os.path.abspath(__file__)
_HOLD = 0.005               # seconds an answer may wait for others to share its write
_BIG = 4 << 20              # an output of more bytes goes through a file in `tmp`
_NOTHING = object()


# ---------------------------------------------------------------- what a function may return or raise

class Skip(Exception):
    """Leave this document out, on purpose: `raise Skip("empty")`. Never counted as failed."""


class Retry(Exception):
    """A passing fault (rate limit, network): `pipe` tries again. `after` seconds pause the module."""

    def __init__(self, message: str = "try again", *, after: float | None = None):
        super().__init__(message)
        self.after = after


class Result:
    """A value with metadata, or another extension. Without a value the input passes on unchanged."""

    def __init__(self, value: object = _NOTHING, meta: dict | None = None, *, ext: str | None = None):
        self.value, self.meta, self.ext = value, meta, ext


class Child:
    """One part of a split document; `yield Child("page-3", text)`. The document becomes `parent#page-3`."""

    def __init__(self, name: str | int, value: object, meta: dict | None = None, *, ext: str | None = None):
        self.name, self.value, self.meta, self.ext = str(name), value, meta, ext


# ---------------------------------------------------------------- what a function gets

class Unseen(KeyError):
    """A fact was read that the target does not see, and which its key therefore does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


def _unseen(name: str, req: dict) -> Unseen:
    sees = req.get("sees", ["ext", "id"] if "manifest" in req else ["ext"])
    return Unseen(f"`{name}` is not visible to this target: add `sees = {json.dumps([*sees, name])}` to the target")


class _Meta(collections.abc.Mapping):
    """Metadata that tells "not there" from "not visible": the second is an error, never a default."""

    __slots__ = ("_values", "_req")

    def __init__(self, values: dict, req: dict | None):
        self._values, self._req = values, req

    def _check(self, name: object) -> None:
        if self._req is None or name in self._values:
            return
        sees = self._req.get("sees", ())
        if "meta" in sees or "meta.*" in sees:
            return
        if not any(s == f"meta.{name}" or s.startswith(f"meta.{name}.") for s in sees):
            raise _unseen(f"meta.{name}", self._req)

    def __getitem__(self, name):
        self._check(name)
        return self._values[name]

    def get(self, name, default=None):
        self._check(name)
        return self._values.get(name, default)

    def __contains__(self, name):
        self._check(name)
        return name in self._values

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __repr__(self):
        return repr(self._values)


class _Run:
    """One request in work: its scratch folder, and where its progress, warnings and children go."""

    __slots__ = ("req", "host", "scratch", "shown")

    def __init__(self, req: dict, host=None):
        self.req, self.host, self.scratch, self.shown = req, host, None, 0.0

    def tmp(self) -> Path:
        if self.scratch is None:
            if self.req.get("tmp"):
                os.makedirs(self.req["tmp"], exist_ok=True)
                self.scratch = Path(self.req["tmp"])
            else:
                self.scratch = tempfile.TemporaryDirectory(prefix="pipe-", dir=os.environ.get("PIPE_TMP"))
        return self.scratch if isinstance(self.scratch, Path) else Path(self.scratch.name)

    def emit(self, kind: str, payload: bytes) -> None:
        host = self.host
        if host is not None:                        # a thread may outlive its document: then nobody listens
            host.emit(self.req["id"], kind, payload)

    def close(self) -> None:
        self.host = None
        if self.scratch is not None and not isinstance(self.scratch, Path):
            self.scratch.cleanup()
            self.scratch = None


class Doc:
    """One document. In tests and notebooks: `Doc("a.pdf")`, `Doc(text="…", id="x", meta={…})`."""

    __slots__ = ("_src", "_run", "_role", "_own_tmp")

    def __init__(self, path=None, *, text: str | None = None, data: bytes | None = None,
                 id: str | None = None, ext: str | None = None, meta: dict | None = None):
        if sum(x is not None for x in (path, text, data)) != 1:
            raise TypeError("Doc needs exactly one of a path, text= or data=")
        if path is not None:
            src = {"path": os.path.abspath(path), "id": os.fspath(path), "ext": _suffix(path)}
        elif text is not None:
            src = {"text": text, "ext": "txt"}
        else:
            src = {"base64": base64.b64encode(data).decode(), "ext": "bin"}
        src.update({k: v for k, v in (("id", id), ("ext", ext), ("meta", meta)) if v is not None})
        self._src, self._run, self._role, self._own_tmp = src, None, "doc", None

    def bytes(self) -> bytes:
        """The content, byte for byte."""
        src = self._src
        if "text" in src:
            return src["text"].encode()
        if "base64" in src:
            return base64.b64decode(src["base64"])
        with open(self._file(), "rb") as f:
            return f.read()

    def text(self) -> str:
        """The content as UTF-8 text, newlines untouched."""
        text = self._src.get("text")
        return text if text is not None else self.bytes().decode("utf-8")

    def json(self):
        """The content, parsed as JSON."""
        return json.loads(self.text())

    @property
    def path(self) -> Path:
        """A file with the content, to read only (its name says nothing; see `id`). Of a folder: the folder."""
        src = self._src
        if "path" in src:
            return Path(src["path"])
        ext = src.get("ext")
        path = self.tmp / ("input" + (f"-{self._role}" if self._role else "") + (f".{ext}" if ext else ""))
        if not path.exists():
            path.write_bytes(self.bytes())
        return path

    @property
    def ext(self) -> str:
        """Extension in lower case, without the dot."""
        ext = self._src.get("ext")
        if ext is None:
            if self._run is not None and "ext" not in self._run.req.get("sees", ()):
                raise _unseen("ext", self._run.req)
            return ""
        return ext

    @property
    def id(self) -> str:
        """The stable name, `SOURCE/relative/path`; visible if the target's `sees` has "id"."""
        found = self._src.get("id" if self._run is None or self._role else "doc_id")
        if found is None and self._run is not None:
            raise _unseen("id", self._run.req)
        return found or ""

    @property
    def meta(self) -> typing.Mapping[str, typing.Any]:
        """What is known beside the content; the names in the target's `sees` are visible."""
        return _Meta(self._src.get("meta") or {}, self._run.req if self._run is not None else None)

    @property
    def tmp(self) -> Path:
        """A scratch folder of this document, gone when it is done."""
        if self._run is not None:
            return self._run.tmp()
        if self._own_tmp is None:
            self._own_tmp = tempfile.TemporaryDirectory(prefix="pipe-")
        return Path(self._own_tmp.name)

    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """How far this document is; cheap to call, shown at most ten times a second."""
        run = self._run
        if run is not None:
            now = time.monotonic()
            if now - run.shown >= 0.1:
                run.shown = now
                facts = {"done": done, "total": total, "unit": unit or None}
                run.emit("progress", _dump({k: v for k, v in facts.items() if v is not None}))

    def warn(self, message: str, **fields) -> None:
        """A warning that stays with the document."""
        if self._run is not None:
            self._run.emit("warn", _dump({"message": str(message), **fields}))
        else:
            print("warning:", message, fields or "", file=sys.stderr)

    def count(self, **numbers) -> None:
        """Numbers that `pipe` sums up: `doc.count(usd=0.004, tokens=812)`."""
        payload = _json_text(numbers).encode()
        if not all(isinstance(n, (int, float)) for n in json.loads(payload).values()):
            raise TypeError(f"count() takes numbers, not {numbers!r}")
        if self._run is not None:
            self._run.emit("count", payload)

    def _file(self) -> str:
        path = self._src.get("path")
        if path is None:
            raise ValueError(f"document {self._src.get('id', '')!r} came without content")
        return path

    def __repr__(self) -> str:
        return f"Doc({self._src.get('id') or self._src.get('doc_id') or self._src.get('path') or '…'!r})"


class Docs:
    """Documents in order: iterate, `docs["id"]`, `len(docs)`. In tests: `Docs(["a.txt", Doc(text="…", id="b")])`."""

    def __init__(self, docs: typing.Iterable = ()):
        self._docs = [d if isinstance(d, Doc) else Doc(d) for d in docs]

    def _rows(self) -> typing.Iterator[tuple[dict, Doc]]:
        return ((d._src, d) for d in self._docs)

    def __iter__(self) -> typing.Iterator[Doc]:
        return (doc for src, doc in self._rows() if not src.keys().isdisjoint(("text", "base64", "path")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _find(self, id: str) -> Doc | None:
        return next((d for d in self if d.id == id), None)

    def __getitem__(self, id: str) -> Doc:
        if not isinstance(id, str):
            raise TypeError("docs[…] takes an id; for the first ones use itertools.islice(docs, n)")
        doc = self._find(id)
        if doc is None:
            raise KeyError(id)
        return doc

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    def frame(self):
        """A pandas DataFrame: id, meta.*, top-level JSON fields, state."""
        try:
            import pandas
        except ImportError:
            raise ImportError("frame() needs pandas: pip install pandas") from None
        rows = []
        for src, doc in self._rows():
            row = {"id": src.get("id"), **{f"meta.{k}": v for k, v in (src.get("meta") or {}).items()}}
            if src.get("ext") == "json" and not src.keys().isdisjoint(("text", "base64", "path")):
                value = doc.json()
                for name, field in (value.items() if isinstance(value, dict) else [("value", value)]):
                    row[f"json.{name}" if name in row or name == "state" else name] = field
            if "state" in src:
                row["state"] = src["state"]
            rows.append(row)
        names = dict.fromkeys(n for row in rows for n in row if n != "state")
        last = ["state"] if any("state" in row for row in rows) else []
        return pandas.DataFrame(rows, columns=[*(names or ["id"]), *last])


class _Manifest(Docs):
    """Docs over a file of JSON lines: read as it goes; of all members only id -> offset is remembered."""

    def __init__(self, path, run: _Run | None, members: int | None = None, keep=None):
        self._path, self._run, self._members, self._keep = path, run, members, keep
        self._offsets: dict[str, int] | None = None

    def _doc(self, line: bytes, role: str) -> Doc:
        return _doc(json.loads(line), self._run, role)

    def _rows(self):
        with open(self._path, "rb") as f:
            for number, line in enumerate(f):
                if line.strip():
                    doc = self._doc(line, str(number))
                    yield doc._src, doc

    def __len__(self):
        if self._members is None:
            self._members = super().__len__()
        return self._members

    def _find(self, id):
        if self._offsets is None:
            offsets, at = {}, 0
            with open(self._path, "rb") as f:
                for line in f:
                    if line.strip():
                        src = json.loads(line)
                        if "id" not in src and self._run is not None:
                            raise _unseen("id", self._run.req)
                        if not src.keys().isdisjoint(("text", "base64", "path")):
                            offsets[src["id"]] = at
                    at += len(line)
            self._offsets = offsets
        if id not in self._offsets:
            return None
        with open(self._path, "rb") as f:
            f.seek(self._offsets[id])
            return self._doc(f.readline(), f"at-{self._offsets[id]}")


def _doc(src: dict, run: _Run | None, role: str) -> Doc:
    doc = Doc.__new__(Doc)
    doc._src, doc._run, doc._role, doc._own_tmp = src, run, role, None
    return doc


def _side(spec, run: _Run, name: str):
    """A side input: a document, several (`many`), a set, or None where there is none."""
    if spec is None:
        return None
    if isinstance(spec, list):
        return [_side(s, run, f"{name}-{i}") for i, s in enumerate(spec)]
    if "manifest" in spec:
        return _Manifest(spec["manifest"], run, spec.get("members"))
    return _doc(spec, run, name)


# ---------------------------------------------------------------- values to bytes

def _suffix(path) -> str:
    return PurePath(path).suffix[1:].lower()


def _dump(value) -> bytes:
    """For what we say ourselves: never fails. (A lone surrogate would make the whole line unreadable.)"""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def _default(value):
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    if hasattr(value, "tolist") and hasattr(value, "item"):        # numpy's scalars and arrays
        return value.tolist()
    raise TypeError(type(value).__name__)


_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True,
                                separators=(",", ":"), default=_default).encode


def _json_text(value) -> str:
    try:
        return _encode_json(value)
    except (TypeError, ValueError):
        return _encode_json(_plain(value, ""))          # slower: converts odd keys, names the field at fault


def _plain(value, at: str):
    """The value in plain JSON types; raises with the field's path where that cannot be."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            name = "NaN" if value != value else "Infinity"
            raise ValueError(f"{name} at {_at(at)} is not JSON: use None, or leave the field out")
        return value
    if isinstance(value, dict):
        out = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else json.loads(_json_text(key)) if _scalar(key) else None
            if name is None:
                raise TypeError(f"the key {key!r} at {_at(at)} is not JSON: use str()")
            name = name if isinstance(name, str) else json.dumps(name)
            if name in out:
                raise TypeError(f"two keys at {_at(at)} are {name!r} in JSON")
            out[name] = _plain(item, f"{at}.{name}" if at else name)
        return out
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{at}[{i}]") for i, item in enumerate(value)]
    try:
        return _plain(_default(value), at)
    except TypeError as e:
        if e.args != (type(value).__name__,):
            raise
    raise TypeError(f"{type(value).__name__} at {_at(at)} is not JSON: return str, bytes, numbers, lists, dicts, "
                    "a dataclass or a Path")


def _scalar(key) -> bool:
    return isinstance(key, (bool, int, float)) or (hasattr(key, "item") and not hasattr(key, "__len__"))


def _at(path: str) -> str:
    return f"`{path}`" if path else "the top"


def _content(value, run: _Run, ext: str | None = None, meta: dict | None = None) -> bytes:
    """The fields of an output or a child, as JSON without the braces."""
    raw = b""
    if isinstance(value, str):
        kind, raw = "txt", value
        form = b'"text":' + _quote(value).encode()
    elif isinstance(value, (bytes, bytearray, memoryview)):
        kind, raw = "bin", bytes(value)
        form = b'"base64":"' + base64.b64encode(raw) + b'"' if len(raw) < _BIG else b""
    elif isinstance(value, PurePath):
        path = os.path.abspath(value)
        if os.path.isdir(path):
            raise TypeError(f"a folder as output: not yet in this version ({value})")
        if not os.path.isfile(path):
            raise FileNotFoundError(f"the function returned the path {value}, but there is no such file")
        kind, form = _suffix(path) or "bin", b'"path":' + _quote(path).encode()
    elif value is _NOTHING:
        kind, form = None, b'"same":true'
    elif value is None:
        raise TypeError("the function returned None: return a value or raise Skip")
    elif isinstance(value, (Doc, Docs)):
        raise TypeError("the function returned a document: return its .text() or .bytes(), or Result() to pass it on")
    elif isinstance(value, (Child, Result)):
        raise TypeError(f"{type(value).__name__} inside a result: return it by itself")
    elif inspect.isgenerator(value) or inspect.isawaitable(value):
        raise TypeError(f"a {type(value).__name__} is no value: for a list use list(…)")
    else:
        kind, raw = "json", _json_text(value)
        form = b'"json":' + raw.encode()
    if ext is not None:
        kind = ext.lstrip(".").lower()
        if not re.fullmatch(r"[\w.+-]{1,32}", kind):
            raise ValueError(f"ext={ext!r} is not an extension")
    if len(raw) >= _BIG:
        raw = raw.encode() if isinstance(raw, str) else raw
        if run.req.get("tmp"):
            fd, path = tempfile.mkstemp(prefix="output-", suffix=f".{kind}", dir=run.tmp())
            with os.fdopen(fd, "wb") as f:
                f.write(raw)
            form = b'"path":' + _quote(path).encode()
        elif not form:
            form = b'"base64":"' + base64.b64encode(raw) + b'"'
    if kind is not None:
        form += b',"ext":"' + kind.encode() + b'"'
    if meta:
        if not isinstance(meta, collections.abc.Mapping):
            raise TypeError(f"meta must be a dict, not {type(meta).__name__}")
        form += b',"meta":' + _encode_json(_plain(dict(meta), "meta")).encode()
    return form


def _children(parts, run: _Run) -> bytes:
    """Send each child as it comes; the answer says how many there were."""
    names: set[str] = set()
    for part in parts:
        if not isinstance(part, Child):
            raise TypeError(f"a split module yields Child(name, value), not {type(part).__name__}")
        if not part.name:
            raise ValueError("a child needs a name")
        if part.name in names:
            raise ValueError(f"two children are called `{part.name}`")
        if part.value is _NOTHING or isinstance(part.value, Result):
            raise TypeError(f"child `{part.name}` needs a value: Child(name, value, meta=…, ext=…)")
        names.add(part.name)
        content = _content(part.value, run, part.ext, part.meta)
        run.emit("child", b'{"name":' + _quote(part.name).encode() + b"," + content + b"}")
    return b'"children":%d' % len(names)


def _output(value, run: _Run) -> bytes:
    if type(value) is str and len(value) < _BIG and not run.req.get("split"):       # the common case, by hand
        return b'"text":' + _quote(value).encode() + b',"ext":"txt"'
    if inspect.isgenerator(value):
        if not run.req.get("split"):
            raise TypeError("the function yields: children are for targets with `split = true`; for a JSON list use list(…)")
        return _children(value, run)
    if run.req.get("split"):
        raise TypeError(f"a split module yields Child(name, value); this one returned {type(value).__name__}")
    if isinstance(value, Result):
        if value.value is _NOTHING and "manifest" in run.req:
            raise TypeError("Result without a value passes the input on, and a set has no single input")
        return _content(value.value, run, value.ext, value.meta)
    if isinstance(value, Child):
        raise TypeError("children are yielded, by targets with `split = true`: `yield Child(name, value)`")
    return _content(value, run)


# ---------------------------------------------------------------- errors in the author's words

class _Broken(Exception):
    """A mistake in the module or its use, told without a traceback."""


def _own_frames(tb) -> list:
    return [t for t in _links(tb) if t.tb_frame.f_code.co_filename != _SDK and
            not t.tb_frame.f_code.co_filename.startswith("<frozen importlib")]


def _links(tb):
    while tb is not None:
        yield tb
        tb = tb.tb_next


def _author_frames(tb, code: _Code) -> list:
    """From where the author's code begins to the innermost frame that lies in the project."""
    own = _own_frames(tb)
    inside = [i for i, t in enumerate(own) if code.relative(t.tb_frame.f_code.co_filename)]
    return own[:inside[-1] + 1] if inside else own


def _without_sdk(te: traceback.TracebackException) -> None:
    te.stack = traceback.StackSummary.from_list([f for f in te.stack if f.filename != _SDK and
                                                 not f.filename.startswith("<frozen importlib")])
    for other in (te.__cause__, te.__context__, *(getattr(te, "exceptions", None) or ())):
        if other is not None:
            _without_sdk(other)


def _trace(e: BaseException) -> str:
    te = traceback.TracebackException(type(e), e, e.__traceback__)
    _without_sdk(te)
    return "".join(te.format())


def _error(e: BaseException, code: _Code, fn=None) -> dict:
    """What went wrong, as data: `where` is the author's own line, the traceback has no frames of ours."""
    try:
        message = str(e)
    except Exception:
        message = "(its message cannot be shown)"
    if isinstance(e, SystemExit):
        message = f"the function called sys.exit({'' if e.code is None else repr(e.code)}): raise Skip or an error instead"
    elif type(e).__name__ == "BdbQuit":
        message = _NO_TERMINAL
    frames, where = _author_frames(e.__traceback__, code), None
    if isinstance(e, SyntaxError) and e.filename and code.relative(e.filename):
        message = e.msg
        where = {"file": code.relative(e.filename), "line": e.lineno, "function": "<module>"}
    elif frames:
        f = frames[-1].tb_frame.f_code
        where = {"file": code.relative(f.co_filename) or f.co_filename, "line": frames[-1].tb_lineno, "function": f.co_name}
    elif fn is not None:
        f = fn.__code__
        where = {"file": code.relative(f.co_filename) or f.co_filename, "line": f.co_firstlineno, "function": fn.__name__}
    try:
        trace = "" if isinstance(e, _Broken) else _trace(e)
    except Exception:
        trace = ""
    kind = "ModuleError" if isinstance(e, _Broken) else type(e).__name__
    return {"type": kind, "message": message[:8000], "where": where, "traceback": trace[-32000:]}


def _near(name: str, known: typing.Iterable[str]) -> str:
    import difflib
    near = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean `{near[0]}`?" if near else ""


# ---------------------------------------------------------------- the decorator

_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}


def _takes_doc(annotation) -> bool:
    if isinstance(annotation, str):
        return re.search(r"\bDocs?\b", annotation) is not None
    return annotation in (Doc, Docs) or any(_takes_doc(a) for a in typing.get_args(annotation) if not isinstance(a, str))


def _type_name(p: inspect.Parameter) -> str:
    a = p.annotation
    if a is p.empty:
        return "any" if p.default is p.empty or p.default is None else type(p.default).__name__
    if isinstance(a, str):
        return a
    return a.__name__ if isinstance(a, type) and not typing.get_args(a) else str(a).replace("typing.", "")


class module:
    """Make a function a module. Its keyword-only arguments are params, or `with` names (annotated `Doc`).

    `setup` runs once per worker; its arguments are looked up by name among params and shared `with`
    names; what it returns is the function's second argument. `version` joins the key. `retry` names
    exception classes that are passing faults.
    """

    def __new__(cls, fn=None, **options):
        return functools.partial(cls, **options) if fn is None else super().__new__(cls)

    def __init__(self, fn, *, setup=None, version=None, retry=(), batch=None):
        self.fn, self.setup, self.batch = fn, setup, batch
        self.version = None if version is None else str(version)
        self.retry = (retry,) if isinstance(retry, type) else tuple(retry)
        if not all(isinstance(r, type) and issubclass(r, BaseException) for r in self.retry):
            raise TypeError("@module(retry=…) takes exception classes")
        functools.update_wrapper(self, fn)
        ps = list(inspect.signature(fn).parameters.values())
        self._positional = [p for p in ps if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._variadic = [p for p in ps if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._named = {p.name: p for p in ps if p.kind is p.KEYWORD_ONLY}
        self._setup_named = dict(inspect.signature(setup).parameters) if setup else {}
        self._declared = {**self._setup_named, **self._named}
        self._ready = None

    def __reduce__(self):
        return self.__qualname__            # pickled by name, as functions are (multiprocessing)

    @property
    def takes(self) -> str:
        first = self._positional[0]
        note = first.annotation if isinstance(first.annotation, str) else getattr(first.annotation, "__name__", "")
        return "docs" if first.name == "docs" or re.search(r"\bDocs\b", note) else "doc"

    def _check(self) -> None:
        name = self.__name__
        if self.batch is not None:
            raise _Broken(f"`{name}`: @module(batch=…) is not yet in this version")
        if inspect.iscoroutinefunction(self.fn) or inspect.isasyncgenfunction(self.fn):
            raise _Broken(f"`{name}`: async def is not yet in this version")
        if not self._positional:
            raise _Broken(f"`{name}` takes no document: def {name}(doc, *, …)")
        if self._variadic:
            raise _Broken(f"`{name}` has `{self._variadic[0]}`: name each param, `pipe` passes only declared ones")
        needed = [p.name for p in self._positional[1:] if p.default is p.empty]
        if needed and not (self.setup and len(needed) == 1):
            raise _Broken(f"`{name}`: the second argument is what setup returns, params come after a star: "
                          f"def {name}({self._positional[0].name}, *, {needed[-1]})")

    def describe(self) -> dict:
        """What `pipe` may know without running the function."""
        self._check()
        params = {}
        for p in self._declared.values():
            if not _takes_doc(p.annotation):
                params[p.name] = {"type": _type_name(p)}
                if p.default is not p.empty:
                    try:
                        params[p.name]["default"] = json.loads(_json_text(p.default))
                    except (TypeError, ValueError):
                        raise _Broken(f"the default of `{p.name}` must be a JSON value, not {p.default!r}") from None
        return {"name": self.__name__, "version": self.version, "params": params,
                "with": [p.name for p in self._declared.values() if _takes_doc(p.annotation)],
                "takes": self.takes, "window": WINDOW, "interpreter": "%d.%d" % sys.version_info[:2],
                "doc": inspect.getdoc(self.fn) or ""}

    def _setup_args(self, given: dict) -> dict:
        args = {}
        for name, p in self._setup_named.items():
            default = self._declared[name].default
            if name in given:
                args[name] = given[name]
            elif default is not p.empty:
                args[name] = default
            elif p.default is p.empty:
                raise _Broken(f"setup of `{self.__name__}` needs `{name}`: name it in the target's `with` or `params`")
        return args

    def bind(self, setup: dict) -> _Bound:
        """Check params and shared side inputs, run `setup`; what comes back takes documents."""
        self._check()
        params, shared = setup.get("params") or {}, setup.get("with") or {}
        for name in [*params, *shared]:
            if name not in self._declared:
                kind = "param" if name in params else "`with` name"
                raise _Broken(f"`{self.__name__}` has no {kind} `{name}`" + _near(name, self._declared))
            if name in params and name in shared:
                raise _Broken(f"`{name}` is given both as a param and in `with`")
        for name, value in params.items():
            kind = _type_name(self._declared[name])
            if kind in _KINDS and (not isinstance(value, _KINDS[kind]) or isinstance(value, bool) and kind != "bool"):
                raise _Broken(f"param `{name}` of `{self.__name__}` is {kind}, not {json.dumps(value)}")
        run = _Run({"id": None, "sees": setup.get("sees", ["ext"])})
        given = {**params, **{name: _side(spec, run, name) for name, spec in shared.items()}}
        each = setup.get("with_each")
        for name, p in self._named.items():
            untold = p.annotation is p.empty or _takes_doc(p.annotation) if each is None else name in each
            if p.default is p.empty and name not in given and not untold:
                raise _Broken(f"`{self.__name__}` needs the param `{name}`")
        state = ()
        if self.setup:
            made = self.setup(**self._setup_args(given))
            state = (made,) if len(self._positional) > 1 else ()
        return _Bound(self, state, {name: v for name, v in given.items() if name in self._named})

    def __call__(self, doc, *state, **kwargs):
        """The plain function, for notebooks and tests: a path will do for a document."""
        if self.takes == "docs":
            doc = doc if isinstance(doc, Docs) else Docs(doc)
        else:
            doc = doc if isinstance(doc, Doc) else Doc(doc)
        for name, value in kwargs.items():
            p = self._declared.get(name)
            if p is not None and _takes_doc(p.annotation) and isinstance(value, (str, PurePath)):
                kwargs[name] = Doc(value)
        if self.setup and not state:
            args = self._setup_args(kwargs)
            if self._ready is None or self._ready[0] != args:
                self._ready = (args, self.setup(**args))
            state = self._ready[1:] if len(self._positional) > 1 else ()
        return self.fn(doc, *state, **{k: v for k, v in kwargs.items()
                                       if k in self._named or k not in self._setup_named})

    def main(self, argv: list[str] | None = None) -> None:
        """Run as a command-line program: results go to stdout, prints to stderr."""
        _command_line(self, argv)


class _Bound:
    """A module that was set up."""

    def __init__(self, mod: module, state: tuple, kwargs: dict):
        self.mod, self.fn, self.state, self.kwargs = mod, mod.fn, state, kwargs
        self.docs = mod.takes == "docs"
        self.retry = (Retry, ConnectionError, TimeoutError, MemoryError, *mod.retry)

    def _call(self, req: dict, run: _Run):
        if self.docs != ("manifest" in req):
            name = self.mod.__name__
            raise TypeError(f"`{name}` takes {'a set (`docs`)' if self.docs else 'one document'}, but the target gives "
                            + ("one document: use `all` or `group`" if self.docs else
                               "a set: use `each`, or call the first argument `docs`"))
        doc = _Manifest(req["manifest"], run, req.get("members")) if self.docs else _doc(req, run, "")
        kwargs = self.kwargs
        side = req.get("with")
        if side:
            for name in side:
                if name not in self.mod._named:
                    raise TypeError(f"`{self.mod.__name__}` has no `with` name `{name}`" + _near(name, self.mod._named))
            kwargs = {**kwargs, **{name: _side(spec, run, name) for name, spec in side.items()}}
        return _output(self.fn(doc, *self.state, **kwargs), run)

    def answer(self, req: dict, run: _Run, code: _Code) -> tuple[bytes, BaseException | None]:
        """The answer's fields as JSON, and the exception if there was one. Nothing gets past it."""
        try:
            return b'"output":{' + self._call(req, run) + b"}", None
        except Skip as e:
            return b'"skip":' + _dump(str(e) or "skipped"), e
        except BaseException as e:              # sys.exit() in a function must not end the worker
            fault = _error(e, code, self.fn)
            fault["retry"] = isinstance(e, self.retry)
            if isinstance(e, Retry) and e.after is not None:
                fault["after"] = e.after
            return b'"error":' + _dump(fault), e


# ---------------------------------------------------------------- what counts as code

class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles project files afresh: a .pyc is trusted by size and whole seconds, too coarse for a build."""

    def path_stats(self, path):
        raise OSError                           # importlib's own way of saying "no usable cache"


class _Code:
    """Project files and installed distributions that this process has loaded."""

    def __init__(self, project: str):
        self.root = os.path.join(project, "")
        self.foreign = tuple(os.path.join(p, "") for p in (sys.prefix, sys.base_prefix, self.root + ".pipe")
                             if p.startswith(self.root))
        self.before = set(sys.modules)          # loaded by us or by .pth files, not by the author
        self.files: list[str] = []
        self.packages: list[dict] = []
        self._found: dict[str, dict] = {}
        self._asked: set[str] = set()
        self._mark = None

    def install(self) -> None:
        """Project files are always compiled from their source."""
        plain = importlib.machinery.FileFinder.path_hook(
            (importlib.machinery.ExtensionFileLoader, importlib.machinery.EXTENSION_SUFFIXES),
            (_FromSource, importlib.machinery.SOURCE_SUFFIXES))

        def hook(path):
            if self.relative(os.path.join(os.path.abspath(path), "x")) is None:
                raise ImportError
            return plain(path)

        sys.path_hooks.insert(0, hook)
        sys.path_importer_cache.clear()

    def relative(self, file) -> str | None:
        """The path within the project, or None for a file that is not the project's own."""
        if (not isinstance(file, str) or not file.startswith(self.root) or file == _SDK or file.startswith(self.foreign)
                or "site-packages" in file or "dist-packages" in file):
            return None
        return file[len(self.root):].replace(os.sep, "/")

    def grew(self) -> bytes:
        """Look again if anything was imported since; the fields to report if a list changed."""
        mark = (len(sys.modules), next(reversed(sys.modules)))
        if mark == self._mark:
            return b""
        self._mark = mark
        files, outside = set(self.files), {}
        for name, mod in list(sys.modules.items()):
            space = getattr(mod, "__dict__", None)
            file = space.get("__file__") if isinstance(space, dict) else None
            own = self.relative(file)
            if own:
                files.add(own)
            elif isinstance(file, str) and file != _SDK and name not in self.before and file not in self._asked:
                outside[file] = name.partition(".")[0]
        news = b""
        if len(files) > len(self.files):
            self.files = sorted(files)
            news = b',"files":' + _dump(self.files)
        if outside:
            self._asked |= outside.keys()
            count = len(self._found)
            self._look_up(outside)
            if len(self._found) > count:
                self.packages = [self._found[k] for k in sorted(self._found)]
                news += b',"packages":' + _dump(self.packages)
        return news

    def _look_up(self, outside: dict[str, str]) -> None:
        """Find the distributions that own these files, from the RECORD beside them."""
        stdlib = os.path.dirname(os.__file__)
        roots = sorted({os.path.abspath(p) for p in sys.path if p and os.path.isdir(p)}, key=len, reverse=True)
        by_root: dict[str, dict[str, str]] = {}
        for file, top in outside.items():
            root = next((r for r in roots if file.startswith(os.path.join(r, ""))), "")
            if root not in (stdlib, os.path.join(stdlib, "lib-dynload")):
                by_root.setdefault(root, {})[file[len(root) + 1:].replace(os.sep, "/") if root else file] = top
        for root, files in by_root.items():
            tops = {_normal(top) for top in files.values()}
            infos = sorted(_infos(root) if root else [], key=lambda i: (i["name"] not in tops, i["path"]))
            for info in infos:
                if not files:
                    break
                owned = files.keys() & {line.partition(",")[0] for line in _lines(info["path"], "RECORD")}
                if owned:
                    self._found[info["path"]] = info
                    files = {f: top for f, top in files.items() if f not in owned}
            left = set(files.values())          # no RECORD names them: Debian's packages, editable installs
            for info in [i for r in roots for i in _infos(r)] if left else []:
                if left & {*_lines(info["path"], "top_level.txt")} or info["name"] in map(_normal, left):
                    self._found[info["path"]] = info


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _infos(root: str) -> list[dict]:
    found = []
    for entry in sorted(os.listdir(root)) if os.path.isdir(root) else ():
        stem, ext = os.path.splitext(entry)
        if ext in (".dist-info", ".egg-info"):
            name, _, version = re.sub(r"-py\d[\d.]*$", "", stem).partition("-")
            found.append({"name": _normal(name), "version": version, "path": os.path.join(root, entry)})
    return found


def _lines(folder: str, name: str) -> list[str]:
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
            return f.read().splitlines()
    except OSError:
        return []


def _import(file: str, name: str, code: _Code) -> module:
    """The module `name` of a project file; sys.path as the author expects it."""
    project = code.root.rstrip(os.sep)
    path = os.path.join(project, file)
    sys.path[:] = [os.path.dirname(path), project] + [p for p in sys.path if p not in ("", os.path.dirname(path), project)]
    code.install()
    if not os.path.isfile(path):
        raise _Broken(f"there is no file {file}")
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem in sys.modules or stem in getattr(sys, "stdlib_module_names", ()):
        stem = "pipe_module_" + stem
    loader = _FromSource(stem, path)
    spec = importlib.util.spec_from_file_location(stem, path, loader=loader)
    mod = importlib.util.module_from_spec(spec)
    sys.modules[stem] = mod
    loader.exec_module(mod)
    found = getattr(mod, name, None)
    if isinstance(found, module):
        return found
    if inspect.isfunction(found):
        raise _Broken(f"`{name}` in {file} is a plain function: put @module above it")
    known = [k for k, v in vars(mod).items() if isinstance(v, module)]
    raise _Broken(f"{file} has no module `{name}`" + (_near(name, known) or (f"; it has {', '.join(known)}" if known else "")))


# ---------------------------------------------------------------- worker

_NO_TERMINAL = "a worker has no terminal for the debugger: use `pipe try TARGET DOC --debug`"


class _Channel:
    """Lines to `pipe`. What is done within 5 ms shares one write; nothing waits longer, whatever the
    document after it does: a thread sees to that, started when an answer first has to wait."""

    def __init__(self, fd: int):
        self.fd, self.lock, self.held, self.size, self.since = fd, threading.Lock(), [], 0, 0.0
        self.wake, self.awake, self.thread = threading.Lock(), False, None
        self.child = False

    def hold(self, line: bytes) -> None:
        with self.lock:
            if not self.held:
                self.since = time.monotonic()
            self.held.append(line)
            self.size += len(line)
        if self.size > 1 << 16:
            self.flush()

    def pace(self) -> None:
        """Before work begins while lines are held: write them, or have it done in time."""
        if time.monotonic() - self.since > _HOLD:
            self.flush()
        elif not self.awake:
            self.awake = True
            if self.thread is None:
                self.thread = threading.Thread(target=self._watch, name="pipelinefile", daemon=True)
                self.thread.start()
            else:
                self.wake.release()

    def _watch(self) -> None:
        self.wake.acquire()
        while True:
            time.sleep(_HOLD)
            self.awake = False
            self.flush()
            self.wake.acquire()

    def flush(self) -> None:
        with self.lock:
            if not self.held or self.child:
                return
            data = memoryview(b"".join(self.held))
            self.held.clear()
            self.size = 0
            try:
                while data:
                    data = data[os.write(self.fd, data):]
            except OSError:
                os._exit(1)                     # `pipe` is gone

    def forked(self) -> None:
        """In a child that an author's os.fork() made: the channel is the parent's."""
        self.child, self.lock, self.held = True, threading.Lock(), []
        os.close(self.fd)


class _Worker:
    def __init__(self, file: str, name: str):
        # The protocol gets private copies of 0 and 1 before any of the author's code is imported. What else
        # writes there, C libraries and child processes included, lands in the log, which is fd 2.
        self.rx, self.channel = os.dup(0), _Channel(os.dup(1))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(2, 1)
        self.log = os.dup(2) if stat.S_ISREG(os.fstat(2).st_mode) else -1
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
        faulthandler.enable()
        if hasattr(signal, "SIGUSR1"):
            faulthandler.register(signal.SIGUSR1)       # `pipe` asks "where are you?" before it kills
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # whether to stop is for `pipe` to say
        sys.breakpointhook = self._no_terminal
        os.register_at_fork(after_in_child=self.channel.forked)
        sys.argv = [file]
        self.file, self.name, self.code = file, name, _Code(os.getcwd())
        self.mod: module | None = None
        self.bound: _Bound | None = None
        self.at = 0

    @staticmethod
    def _no_terminal(*_args, **_kwargs):
        raise RuntimeError(_NO_TERMINAL)

    def emit(self, rid, kind: str, payload: bytes) -> None:
        self.channel.hold(b'{"id":%b,"%b":%b}\n' % (_dump(rid), kind.encode(), payload))
        self.channel.pace()

    def _position(self) -> int:
        """How far the log is, with all that was printed."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except Exception:
            pass                                # the author closed or replaced them
        return os.lseek(self.log, 0, os.SEEK_END) if self.log >= 0 else 0

    def serve(self) -> None:
        parts, scan, loads = [], json.JSONDecoder().scan_once, json.loads
        while True:
            chunk = os.read(self.rx, 1 << 18)
            if not chunk:
                return
            cut = chunk.rfind(b"\n")
            if cut < 0:
                parts.append(chunk)
                continue
            text = (b"".join(parts) + chunk[:cut]).decode()
            parts = [chunk[cut + 1:]]
            self.at = self._position()
            for line in text.split("\n"):
                try:
                    req = scan(line, 0)[0]
                except StopIteration:
                    if not line.strip():
                        continue
                    req = loads(line)
                if "id" in req and self.bound is not None:
                    self._document(req)
                else:
                    self._handshake(req)
            self.channel.flush()

    def _document(self, req: dict) -> None:
        channel = self.channel
        if channel.held:
            channel.pace()
        run = _Run(req, self)
        body, _ = self.bound.answer(req, run, self.code)
        run.close()
        if channel.child:
            os._exit(1)                         # the author's os.fork(), come back to us instead of ending
        rid, start, self.at = req["id"], self.at, self._position()
        news = self.code.grew()
        if type(rid) is not int:
            rid = _dump(rid)
        else:
            rid = b"%d" % rid
        if self.log >= 0:
            channel.hold(b'{"id":%b,%b,"log":[%d,%d]%b}\n' % (rid, body, start, self.at, news))
        else:
            channel.hold(b'{"id":%b,%b%b}\n' % (rid, body, news))

    def _handshake(self, req: dict) -> None:
        if req.get("protocol", PROTOCOL) != PROTOCOL:
            raise _Broken(f"this pipelinefile speaks protocol {PROTOCOL}, not {req['protocol']}: install the one of your `pipe`")
        if "id" in req:
            raise _Broken("a document came before setup")
        if "describe" not in req and "setup" not in req:
            return                              # from a later `pipe`
        if self.mod is None:
            self.mod = _import(self.file, self.name, self.code)
        if "describe" in req:
            about = self.mod.describe()
            self.code.grew()
            self.channel.hold(_dump({"describe": {**about, "files": self.code.files}}) + b"\n")
        else:
            self.bound = self.mod.bind(req["setup"])
            self.code.grew()
            self.channel.hold(_dump({"ready": PROTOCOL, "files": self.code.files, "packages": self.code.packages}) + b"\n")
        self.at = self._position()


def worker() -> None:
    """Entry for `pipe`: python3 -c "import pipelinefile; pipelinefile.worker()" FILE FUNCTION"""
    w, status = _Worker(*sys.argv[1:3]), 0
    try:
        w.serve()
    except BaseException as e:
        if w.channel.child:
            os._exit(1)
        fn = w.mod.fn if w.mod is not None else None
        w.channel.hold(_dump({"fatal": _error(e, w.code, fn)}) + b"\n")
        status = 1
    w._position()
    w.channel.flush()
    os._exit(status)                            # at once: a model's tear-down is nobody's business now


# ---------------------------------------------------------------- one document in a terminal

class _Terminal:
    """Where a single run reports to: the terminal, and the answer."""

    def __init__(self):
        self.notes: dict[str, list] = {}

    def emit(self, _rid, kind: str, payload: bytes) -> None:
        note = json.loads(payload)
        if kind != "progress":
            self.notes.setdefault("children" if kind == "child" else kind, []).append(note)
        if kind != "child":
            print(f"{kind}:", json.dumps(note, ensure_ascii=False), file=sys.stderr)


def _post_mortem(e: BaseException, code: _Code) -> None:
    """The debugger, at the author's line even when a library raised."""
    import pdb
    sys.stderr.write(_trace(e))
    tb = None
    for link in reversed(_author_frames(e.__traceback__, code)):
        tb = types.TracebackType(tb, link.tb_frame, link.tb_lasti, link.tb_lineno)
    if tb is not None:
        pdb.post_mortem(tb)


def try_one() -> None:
    """Entry for `pipe try`: … FILE FUNCTION REQUEST.json OUT [--debug]; the terminal is the author's."""
    args = [a for a in sys.argv[1:] if a != "--debug"]
    file, name, request, out = args[:4]
    debug, code, term = "--debug" in sys.argv[1:], _Code(os.getcwd()), _Terminal()
    request, out = os.path.abspath(request), os.path.abspath(out)
    sys.argv = [file]
    with open(request, encoding="utf-8") as f:
        req = json.load(f)
    req.setdefault("id", 1)
    run, failure = _Run(req, term), None
    try:
        bound = _import(file, name, code).bind(req.get("setup") or {})
        body, failure = bound.answer(req, run, code)
        answer = {"id": req["id"], **json.loads(b"{" + body + b"}"), **term.notes}
    except BaseException as e:
        failure, answer = e, {"fatal": _error(e, code)}
    sys.stdout.flush()
    if debug and failure is not None and not isinstance(failure, Skip):
        _post_mortem(failure, code)
    code.grew()
    answer.update(files=code.files, packages=code.packages)
    with open(out, "wb") as f:
        f.write(_dump(answer) + b"\n")
    run.close()
    sys.exit(0 if failure is None else 77 if isinstance(failure, Skip) else 1)


def _command_line(mod: module, argv: list[str] | None) -> None:
    import argparse
    import shutil
    mod._check()
    ap = argparse.ArgumentParser(description=mod.__doc__)
    ap.add_argument("doc", nargs="+", help="file")
    ap.add_argument("--pdb", action="store_true", help="debugger at the line that failed")
    for p in mod._declared.values():
        kind = re.sub(r"^Optional\[(\w+)\]$|\s*\|\s*None$", r"\1", _type_name(p))
        how: dict = {"type": {"int": int, "float": float, "str": str}.get(kind, json.loads)}
        if _takes_doc(p.annotation):
            how = {"type": Doc}
        elif kind == "bool":
            how = {"action": argparse.BooleanOptionalAction}
        ap.add_argument("--" + p.name.replace("_", "-"), dest=p.name, required=p.default is p.empty,
                        default=argparse.SUPPRESS, **how)
    args = vars(ap.parse_args(argv))
    files, debug = args.pop("doc"), args.pop("pdb")
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                               # stdout carries results only; children print to stderr, too
    status = 0
    for given in [Docs(files)] if mod.takes == "docs" else map(Doc, files):
        try:
            value = mod(given, **args)
            if inspect.isgenerator(value):
                for part in value:
                    content = _content(part.value, _Run({}), part.ext, part.meta)
                    out.write(b'{"name":' + _dump(part.name) + b"," + content + b"}\n")
                continue
            form = json.loads(b"{" + _output(value, _Run({"manifest": 1} if mod.takes == "docs" else {})) + b"}")
            if "path" in form or "same" in form:
                with open(form["path"], "rb") if "path" in form else open(given.path, "rb") as f:
                    shutil.copyfileobj(f, out)
            elif "json" in form:
                out.write(_json_text(form["json"]).encode() + b"\n")
            else:
                out.write(form["text"].encode() if "text" in form else base64.b64decode(form["base64"]))
            if "text" in form and out.isatty() and not form["text"].endswith("\n"):
                out.write(b"\n")
        except Skip as e:
            print("skipped:", e, file=sys.stderr)
            status = status or 77
        except Exception as e:
            if debug:
                _post_mortem(e, _Code(os.path.dirname(os.path.abspath(mod.fn.__code__.co_filename))))
            else:
                sys.stderr.write(_trace(e))
            status = 75 if isinstance(e, Retry) and status != 1 else 1
        finally:
            sys.stdout.flush()
            out.flush()
    sys.exit(status)


# ---------------------------------------------------------------- notebooks

def load(label: str, project=None) -> Docs:
    """What an `all` function gets over target or source `label`; read-only, also during a build.

    `load("label").frame()` is a pandas table. Documents without a result are rows of the table only.
    """
    import subprocess
    command = os.environ.get("PIPE_BIN") or "pipe"
    folder = tempfile.TemporaryDirectory(prefix="pipe-")
    path = os.path.join(folder.name, "manifest.jsonl")
    try:
        with open(path, "wb") as f:
            done = subprocess.run([command, "ls", label, "--manifest"], cwd=project, stdout=f, stderr=subprocess.PIPE)
    except FileNotFoundError:
        if project is not None and not os.path.isdir(project):
            raise FileNotFoundError(f"there is no project folder {project}") from None
        raise FileNotFoundError(f"cannot find the command `{command}`: put it on PATH or set PIPE_BIN") from None
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode("utf-8", "replace").strip() or f"`pipe ls {label}` ended with {done.returncode}")
    return _Manifest(path, None, keep=folder)
