"""Write a `pipe` module as one Python function. Standard library only, Python >= 3.9.

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
import functools
import inspect
import json
import os
import re
import shutil
import sys
import tempfile
import time
import typing
import weakref
from json.encoder import encode_basestring as _quote
from pathlib import Path, PurePath

__all__ = ["module", "Doc", "Docs", "Result", "Child", "Skip", "Retry", "load"]

PROTOCOL, WINDOW = 1, 64
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


def _scratch(owner) -> tuple[Path, typing.Callable]:
    """A new folder that goes when its owner goes, and the function that removes it before."""
    path = tempfile.mkdtemp(prefix="pipe-", dir=os.environ.get("PIPE_TMP"))
    return Path(path), weakref.finalize(owner, shutil.rmtree, path, True)


class _Run:
    """One request in work: its scratch folder, and where its progress, warnings and children go."""

    __slots__ = ("req", "host", "scratch", "drop", "shown", "__weakref__")

    def __init__(self, req: dict, host=None):
        self.req, self.host, self.scratch, self.drop, self.shown = req, host, None, None, 0.0

    def tmp(self) -> Path:
        if self.scratch is None:
            if self.req.get("tmp"):
                os.makedirs(self.req["tmp"], exist_ok=True)
                self.scratch = Path(self.req["tmp"])
            else:
                self.scratch, self.drop = _scratch(self)
        return self.scratch

    def emit(self, kind: str, payload: bytes) -> None:
        host = self.host
        if host is not None:                        # a thread may outlive its document: then nobody listens
            host.emit(self.req["id"], kind, payload)

    def close(self) -> None:
        self.host = None
        if self.drop is not None:
            self.drop()


class Doc:
    """One document. In tests and notebooks: `Doc("a.pdf")`, `Doc(text="…", id="x", meta={…})`."""

    __slots__ = ("_src", "_run", "_role", "_own_tmp", "__weakref__")

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
            self._own_tmp = _scratch(self)[0]
        return self._own_tmp

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

    def __init__(self, path, run: _Run | None, members: int | None = None):
        self._path, self._run, self._members = path, run, members
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
        pass
    return _encode_json(_plain(value, ""))              # slower: converts odd keys, names the field at fault


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


# ---------------------------------------------------------------- the decorator

class _Broken(Exception):
    """A mistake in the module or its use, told without a traceback."""


def _near(name: str, known: typing.Iterable[str]) -> str:
    import difflib
    near = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean `{near[0]}`?" if near else ""


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
        from . import _worker
        _worker.command_line(self, argv)


# ---------------------------------------------------------------- notebooks

def load(label: str, project=None) -> Docs:
    """What an `all` function gets over target or source `label`; read-only, also during a build.

    `load("label").frame()` is a pandas table. Documents without a result are rows of the table only.
    """
    import subprocess
    command = os.environ.get("PIPE_BIN") or "pipe"
    docs = _Manifest("", None)
    docs._path = path = os.path.join(_scratch(docs)[0], "manifest.jsonl")
    try:
        with open(path, "wb") as f:
            done = subprocess.run([command, "ls", label, "--manifest"], cwd=project, stdout=f, stderr=subprocess.PIPE)
    except FileNotFoundError:
        if project is not None and not os.path.isdir(project):
            raise FileNotFoundError(f"there is no project folder {project}") from None
        raise FileNotFoundError(f"cannot find the command `{command}`: put it on PATH or set PIPE_BIN") from None
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode("utf-8", "replace").strip() or f"`pipe ls {label}` ended with {done.returncode}")
    return docs


# ---------------------------------------------------------------- what `pipe` starts

def worker() -> None:
    """python3 -c "import pipelinefile; pipelinefile.worker()" FILE FUNCTION"""
    from . import _worker
    _worker.worker(*sys.argv[1:3])


def try_one() -> None:
    """python3 -c "import pipelinefile; pipelinefile.try_one()" FILE FUNCTION REQUEST.json OUT [--debug]"""
    from . import _worker
    _worker.try_one(sys.argv[1:])
