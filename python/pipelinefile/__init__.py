"""Write a `pipe` module as one Python function. Standard library only, Python >= 3.9; to vendor it, copy this file.

    from pipelinefile import module, Doc
    @module
    def clean(doc: Doc, *, min_len: int = 20) -> str:
        return "\\n".join(l for l in doc.text().splitlines() if len(l) >= min_len)

The same function is a worker under `pipe`, a program (`clean.main()`), and an ordinary call in a notebook or a test:
`clean("a.txt", min_len=5)`. See docs/guide/writing-modules.md and docs/reference/worker-protocol.md.
"""
from __future__ import annotations

import base64, collections, contextlib, contextvars, functools, importlib.util, inspect, io, itertools, json, math, mmap, os, re, sys
import threading, time, weakref
from importlib.machinery import SourceFileLoader
from pathlib import Path, PurePath
from typing import Any, Iterable, Iterator, Mapping

__all__ = ["module", "Doc", "Docs", "Result", "Child", "Skip", "Retry", "load"]
PROTOCOL, WINDOW = 1, 64
_BIG, _FEW = 4 << 20, 400   # an output of more bytes goes through a file in `tmp`; of up to so many into its line
_HOLD, _BOX = 0.005, 1 << 18        # seconds an answer may wait for others to share its write, and in how many bytes
_parse, _quote = json.JSONDecoder().raw_decode, json.encoder.encode_basestring
_NOTHING, _CONTENT = object(), {"text", "data", "base64", "path", "files"}
_ALL = {"sees": ["ext", "id", "meta"]}      # the request of a document in tests and notebooks

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

class Unseen(LookupError): """A fact was read that the target does not see, and which its key therefore does not hold."""
class ModuleError(Exception): """A mistake in the module or its use, told without a traceback."""

def _require(ok: object, message: str, kind: type[Exception] = TypeError) -> None:
    if not ok: raise kind(message)

# ---------------------------------------------------------------- what a function gets
class _Run:
    """One request in work: what it may see, its scratch folder, and who hears its notes and children."""
    folder: Any = None; drop: Any = None; printed: Any = (); shown, raw = 0.0, b""     # on the class: most need none
    counts = False              # whether `pipe` takes contents that follow a line, counted, unquoted
    def __init__(self, req: dict, host=None): self.req, self.host = req, host
    def see(self, name: str) -> str:
        """For a fact that is not there: an error if the target does not see it, else ""."""
        sees = self.req.get("sees", ["ext", "id"] if "manifest" in self.req else ["ext"])
        every = name.startswith("meta.") and not {"meta", "meta.*"}.isdisjoint(sees)
        seen = every or any(s == name or s.startswith(name + ".") for s in sees)
        _require(seen, f"`{name}` is not visible to this target: add `sees = {json.dumps([*sees, name])}` to the target", Unseen)
        return ""
    def tmp(self) -> Path:
        self.folder = self.folder or self.req.get("tmp")
        if not self.folder:
            import shutil, tempfile
            self.folder = tempfile.mkdtemp(prefix="pipe-", dir=os.environ.get("PIPE_TMP"))
            self.drop = weakref.finalize(self, shutil.rmtree, self.folder, True)
        os.makedirs(self.folder, exist_ok=True)
        return Path(self.folder)
    def emit(self, kind: str, payload: bytes) -> None:
        host = self.host                            # a thread may outlive its document: then nobody listens
        if host is not None: host.emit(self.req["id"], kind, payload)
    def close(self) -> None:
        self.host = None
        if self.drop: self.drop()

_RUN: contextvars.ContextVar[Any] = contextvars.ContextVar("pipelinefile", default=None)      # whose context this is, where several are in work

class _Apart(io.TextIOWrapper):
    """Standard output and error: what documents print that are done side by side is kept apart until each is done."""
    def write(self, text):
        run = _RUN.get()
        if run is None: return super().write(text)
        run.printed.append((text, int(time.time() * 10)))
        return len(text)

class _Meta(Mapping):
    """Metadata that tells "not there" from "not visible": the second is an error, never a default."""
    def __init__(self, values: dict, run: _Run): self._values, self._run = values, run
    def __iter__(self): return iter(self._values)
    def __len__(self): return len(self._values)
    def __repr__(self): return repr(self._values)
    def __contains__(self, name): return name in self._values or bool(self._run.see(f"meta.{name}"))
    def get(self, name, default=None): return self._values[name] if name in self else default
    def __getitem__(self, name):
        if name not in self._values: self._run.see(f"meta.{name}")
        return self._values[name]

class Doc:
    """One document. In tests and notebooks: `Doc("a.pdf")`, `Doc(text="…", id="x", meta={…})`."""
    def __init__(self, path=None, *, text: str | None = None, data: bytes | None = None,
                 id: str | None = None, ext: str | None = None, meta: dict | None = None):
        _require([path, text, data].count(None) == 2, "Doc needs exactly one of a path, text= or data=")
        if text is not None: src: dict[str, Any] = {"text": text, "ext": "txt"}
        elif data is not None: src = {"base64": base64.b64encode(data).decode(), "ext": "bin"}
        else: src = {"path": os.path.abspath(path), "id": os.fspath(path), "ext": _suffix(path)}
        src.update({k: v for k, v in (("id", id), ("ext", ext), ("meta", meta)) if v is not None})
        self._src, self._run, self._role = src, _Run(_ALL), "-doc"
    def bytes(self) -> bytes:
        """The content, byte for byte."""
        src = self._src
        if "data" in src: return src["data"]
        if "text" in src: return src["text"].encode()
        if "base64" in src: return base64.b64decode(src["base64"])
        _require("path" in src, f"document {src.get('id', '')!r} came without content", ValueError)
        return Path(src["path"]).read_bytes()
    def text(self) -> str:
        """The content as UTF-8 text, newlines untouched."""
        return self._src["text"] if "text" in self._src else self.bytes().decode("utf-8")
    def json(self):
        """The content, parsed as JSON."""
        return json.loads(self.text())
    @property
    def path(self) -> Path:
        """A file with the content, to read only (its name says nothing; see `id`). Of a folder: the folder."""
        if "path" in self._src: return Path(self._src["path"])
        path = self.tmp / f"input{self._role}.{self._src.get('ext', '')}".rstrip(".")
        if not path.exists(): path.write_bytes(self.bytes())
        return path
    @property
    def ext(self) -> str:
        """Extension in lower case, without the dot."""
        return self._src["ext"] if "ext" in self._src else self._run.see("ext")
    @property
    def id(self) -> str:
        """The stable name, `SOURCE/relative/path`; visible if the target's `sees` has "id"."""
        key = "id" if self._role else "doc_id"
        return self._src[key] if key in self._src else self._run.see("id")
    @property
    def meta(self) -> Mapping[str, Any]:
        """What is known beside the content; the names in the target's `sees` are visible."""
        return _Meta(self._src.get("meta") or {}, self._run)
    @property
    def tmp(self) -> Path:
        """A scratch folder of this document, gone when it is done."""
        return self._run.tmp()
    def progress(self, done: float, total: float | None = None, unit: str = "") -> None:
        """How far this document is; cheap to call, shown at most ten times a second."""
        run, now = self._run, time.monotonic()
        if now - run.shown >= 0.1:
            run.shown = now
            facts = {"done": done, "total": total, "unit": unit or None}.items()
            run.emit("progress", _dump({k: v for k, v in facts if v is not None}))
    def warn(self, message: str, **fields) -> None:
        """A warning that stays with the document."""
        if self._run.host is not None: self._run.emit("warn", _dump({"message": str(message), **fields}))
        else: print("warning:", message, fields or "", file=sys.stderr)
    def count(self, **numbers) -> None:
        """Numbers that `pipe` sums up: `doc.count(usd=0.004, tokens=812)`."""
        payload = _json_text(numbers)
        kinds = {type(n) for n in json.loads(payload).values()}
        _require(kinds <= {int, float, bool}, f"count() takes numbers, not {numbers!r}")
        self._run.emit("count", payload.encode())
    def __repr__(self) -> str: return f"Doc({self._src.get('id') or self._src.get('path') or '…'!r})"

class Docs:
    """Documents in order: iterate, `docs["id"]`, `len(docs)`. In tests: `Docs(["a.txt", Doc(text="…", id="b")])`."""
    def __init__(self, docs: Iterable = ()):
        self._docs = [d if isinstance(d, Doc) else Doc(d) for d in docs]
    def _rows(self) -> Iterable[Doc]:
        """With those that have no content: in `load`, what failed."""
        return self._docs
    def __iter__(self) -> Iterator[Doc]: return (doc for doc in self._rows() if doc._src.keys() & _CONTENT)
    def __len__(self) -> int: return sum(1 for _ in self)
    def _find(self, id: str) -> Doc | None: return next((doc for doc in self if doc.id == id), None)
    def __getitem__(self, id: str) -> Doc:
        _require(isinstance(id, str), "docs[…] takes an id; for the first ones use itertools.islice(docs, n)")
        _require((doc := self._find(id)) is not None, id, KeyError)
        return doc  # type: ignore[return-value]
    def __contains__(self, id: object) -> bool: return isinstance(id, str) and self._find(id) is not None
    def frame(self):
        """A pandas DataFrame: id, meta.*, top-level JSON fields, state."""
        return _rest().frame(self)

class _Manifest(Docs):
    """Docs over a file of JSON lines: read as it goes; of all members only id -> offset is remembered."""
    def __init__(self, path, run: _Run, members: int | None = None):
        self._path, self._run, self._members = path, run, members
        self._offsets: Any = None
    def _rows(self, at: int = 0):
        with open(self._path, "rb") as f:
            f.seek(at)
            while line := f.readline():
                src, role, at = _parse(line.decode())[0] if line.strip() else None, f"-{at}", at + len(line)
                if src and "length" in src: src["data"], at = f.read(src["length"]), at + src["length"]
                if src: yield _doc(src, self._run, role)
    def __len__(self): return super().__len__() if self._members is None else self._members
    def _find(self, id):
        if self._offsets is None: self._offsets = {doc.id: int(doc._role[1:]) for doc in self}
        return next(self._rows(self._offsets[id])) if id in self._offsets else None

def _doc(src: dict, run: _Run, role: str) -> Doc:
    """A document of a request; `role` tells its file in `tmp` from others', "" is the main one."""
    doc = Doc.__new__(Doc)
    doc._src, doc._run, doc._role = src, run, role
    return doc

def _side(spec, run: _Run, name: str):
    """A side input: a document, several (`many`), a set, or None where there is none."""
    if isinstance(spec, list): return [_side(s, run, f"{name}-{i}") for i, s in enumerate(spec)]
    if spec and "manifest" in spec: return _Manifest(spec["manifest"], run, spec.get("members"))
    return None if spec is None else _doc(spec, run, "-" + name)

def _rest():
    """The other file of the package, for what is done outside a build; modules do without it."""
    try: from . import _outside as found
    except ImportError: raise ImportError("only in the whole package, not in this file of it: pip install pipelinefile") from None
    return found

def load(label: str, project: str | os.PathLike[str] | None = None) -> Docs:
    """What an `all` function gets over target or source `label`; read-only, also during a build.
    `load("label").frame()` is a pandas table. Documents without a result are rows of the table only."""
    return _rest().load(label, project)

# ---------------------------------------------------------------- values to bytes
def _suffix(path) -> str: return PurePath(path).suffix[1:].lower()

def _dump(value) -> bytes:
    """For what we say ourselves: never fails. (A lone surrogate would make the whole line unreadable.)"""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")

def _plain(value, at: str = ""):
    """The value in plain JSON types, dataclasses and numpy's values too; an error names the field's path."""
    where = f"`{at}`" if at else "the top"
    if hasattr(type(value), "__dataclass_fields__"):
        value = {name: getattr(value, name) for name in value.__dataclass_fields__}
    elif hasattr(value, "tolist") and hasattr(value, "item"): value = value.tolist()
    if value is None or isinstance(value, (str, bool, int, float)):
        odd = isinstance(value, float) and not math.isfinite(value) and ("NaN" if math.isnan(value) else "Infinity")
        _require(not odd, f"{odd} at {where} is not JSON: use None, or leave the field out", ValueError)
        return value
    if isinstance(value, (list, tuple)): return [_plain(item, f"{at}[{i}]") for i, item in enumerate(value)]
    _require(isinstance(value, dict), f"{type(value).__name__} at {where} is not JSON: return str, bytes, numbers, "
             "lists, dicts, a dataclass or a Path")
    out = {}
    for key, item in value.items():
        scalar = isinstance(key, (str, int, float)) or hasattr(key, "item")
        _require(scalar, f"the key {key!r} at {where} is not JSON: use str()")
        name = key if isinstance(key, str) else _json_text(key)
        _require(name not in out, f"two keys at {where} are {name!r} in JSON")
        out[name] = _plain(item, f"{at}.{name}" if at else name)
    return out

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"),
                                default=_plain).encode

def _json_text(value, at: str = "") -> str:
    try: return _encode_json(value)
    except (TypeError, ValueError): pass
    return _encode_json(_plain(value, at))              # slower: converts odd keys, names the field at fault

def _content(value, run: _Run, ext: str | None = None, meta: dict | None = None) -> bytes:
    """The fields of an output or a child, as JSON without the braces."""
    refused = isinstance(value, (Child, Result)) or inspect.isgenerator(value) or inspect.isawaitable(value)
    _require(value is not None, "the function returned None: return a value or raise Skip")
    _require(not isinstance(value, (Doc, Docs)), "the function returned a document: return its .text() or .bytes(), "
             "or Result() to pass it on")
    _require(not refused, f"a {type(value).__name__} is no value: return a Result by itself, yield Child, use list(…)")
    if isinstance(value, str): kind, field, raw = "txt", "text", value.encode()
    elif isinstance(value, (bytes, bytearray, memoryview)): kind, field, raw = "bin", "base64", bytes(value)
    elif isinstance(value, PurePath):
        folder, said = os.path.isdir(value), f"the function returned the path {value}"
        kind, field, raw = None if folder else _suffix(value) or "bin", "path", os.path.abspath(value).encode()
        _require(not (folder and ext), f"ext={ext!r} is for files, and {value} is a folder", ValueError)
        _require(folder or os.path.isfile(value), f"{said}, but there is no such file", FileNotFoundError)
    elif value is _NOTHING: kind, field, raw = None, "same", b"true"
    else: kind, field, raw = "json", "json", _json_text(value).encode()
    if ext is not None:
        kind = ext.lstrip(".").lower()
        _require(re.fullmatch(r"[\w.+-]{1,32}", kind), f"ext={ext!r} is not an extension", ValueError)
    if len(raw) >= _BIG and run.req.get("tmp"):
        path = run.tmp().absolute() / f"output-{time.monotonic_ns()}.{kind}"
        path.write_bytes(raw)
        field, raw = "path", str(path).encode()
    if field == "base64": raw = b'"' + base64.b64encode(raw) + b'"'
    elif field in ("text", "path"): raw = _quote(raw.decode()).encode()
    form = b'"%b":%b' % (field.encode(), raw)
    if kind is not None: form += b',"ext":"%b"' % kind.encode()
    if meta:
        _require(isinstance(meta, Mapping), f"meta must be a dict, not {type(meta).__name__}")
        form += b',"meta":' + _json_text(dict(meta), "meta").encode()
    return form

def _child(part, names: set[str], run: _Run) -> None:
    """Sends a child as it comes."""
    _require(isinstance(part, Child), f"a split module yields Child(name, value), not {type(part).__name__}")
    _require(part.name, "a child needs a name", ValueError)
    _require(part.name not in names, f"two children are called `{part.name}`", ValueError)
    names.add(part.name)
    content = _content(part.value, run, part.ext, part.meta)
    run.emit("child", b'{"name":%b,%b}' % (_quote(part.name).encode(), content))

def _output(value, run: _Run) -> bytes:
    """The fields of an answer's `output`."""
    split, kind = run.req.get("split"), type(value)
    if (kind is str or kind is dict or kind is list) and not split:             # the common cases, by hand
        raw, form, ext = (value.encode(), b"text", b"txt") if kind is str else (_json_text(value).encode(), b"json", b"json")
        if run.counts and _FEW < len(raw) < _BIG: run.raw, form, raw = raw, b"length", b"%d" % len(raw)
        elif kind is str: raw = _quote(value).encode()
        if len(raw) < _BIG: return b'"%b":%b,"ext":"%b"' % (form, raw, ext)
    parts, names = inspect.isgenerator(value), set()
    _require(split or not parts, "the function yields: children are for targets with `split = true`; "
             "for a JSON list use list(…)")
    _require(parts or not split, f"a split module yields Child(name, value); this one returned {type(value).__name__}")
    if parts:
        for part in value: _child(part, names, run)
        return b'"children":%d' % len(names)            # the answer says how many there were
    if not isinstance(value, Result): return _content(value, run)
    _require(value.value is not _NOTHING or not run.req.get("manifest"),
             "Result without a value passes the input on, and a set has no single input")
    return _content(value.value, run, value.ext, value.meta)

# ---------------------------------------------------------------- the decorator
def _near(name: str, known: Iterable[str]) -> str:
    import difflib
    near = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean `{near[0]}`?" if near else ""

def _takes_doc(annotation) -> bool:
    if isinstance(annotation, str): return re.search(r"\bDocs?\b", annotation) is not None
    return annotation in (Doc, Docs) or any(map(_takes_doc, getattr(annotation, "__args__", ())))

def _type_name(p: inspect.Parameter) -> str:
    a = p.annotation
    if a is p.empty: return "any" if p.default is p.empty or p.default is None else type(p.default).__name__
    return a.__name__ if isinstance(a, type) and not hasattr(a, "__args__") else str(a).replace("typing.", "")

_KINDS: dict[str, Any] = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}

class module:
    """Make a function a module. Its keyword-only arguments are params, or `with` names (annotated `Doc`).
    `setup` runs once per worker; its arguments are looked up by name among params and shared `with` names; what
    it returns is the second argument. `version` joins the key. `retry`: exception classes that are passing faults.
    `batch=32`: the function gets a list of so many documents and returns one of equal length, whose elements may be
    `Skip`, `Retry` or exceptions. An `async def` is called for as many documents at once as the target's `workers` says."""
    __name__: str; __qualname__: str; _ready: Any; _events: Any; _limit: Any
    def __new__(cls, fn=None, **options):
        return functools.partial(cls, **options) if fn is None else super().__new__(cls)
    def __reduce__(self): return self.__qualname__      # pickled by name, as functions are (multiprocessing)
    def __init__(self, fn, *, setup=None, version=None, retry=(), batch=None):
        self.fn, self.setup, self.batch = fn, setup, batch
        self.version = None if version is None else str(version)
        self.retry = (retry,) if isinstance(retry, type) else tuple(retry)
        proper = all(isinstance(r, type) and issubclass(r, BaseException) for r in self.retry)
        _require(proper, "@module(retry=…) takes exception classes")
        _require(batch is None or type(batch) is int and batch > 0, "@module(batch=…) takes a number of documents")
        functools.update_wrapper(self, fn)
        ps = inspect.signature(fn).parameters.values()
        self._positional = [p for p in ps if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._named = {p.name: p for p in ps if p.kind is p.KEYWORD_ONLY}
        self._setup_named = dict(inspect.signature(setup).parameters) if setup else {}
        self._declared = {**self._setup_named, **self._named}
        first = [(p.name, str(getattr(p.annotation, "__name__", p.annotation))) for p in self._positional[:1]]
        self._docs = batch is None and any(name == "docs" or re.search(r"\bDocs\b", note) for name, note in first)
        self._waits = inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn)
        self._ready = self._run = self._events = self._limit = None
    def _check(self) -> None:
        """A function that `pipe` cannot call is told apart before work begins."""
        name, needed = self.__name__, [p.name for p in self._positional[1:] if p.default is p.empty]
        odd = ", ".join(str(p) for p in inspect.signature(self.fn).parameters.values() if str(p).startswith("*"))
        _require(self.batch is None or not self._waits, f"`{name}`: a batch function is no `async def`: "
                 "leave out `batch`, and say by `workers` how many are in flight", ModuleError)
        _require(self._positional, f"`{name}` takes no document: def {name}(doc, *, …)", ModuleError)
        _require(not odd, f"`{name}` has `{odd}`: name each param, `pipe` passes only declared ones", ModuleError)
        _require(len(needed) <= bool(self.setup), f"`{name}`: the second argument is what setup returns, params come "
                 f"after a star: def {name}({self._positional[0].name}, *, {', '.join(needed)})", ModuleError)
    def describe(self) -> dict:
        """What `pipe` may know without running the function."""
        self._check()
        params = {p.name: {"type": _type_name(p)} for p in self._declared.values() if not _takes_doc(p.annotation)}
        for name, facts in params.items():
            default = self._declared[name].default
            if default is not inspect.Parameter.empty: facts["default"] = json.loads(_json_text(default, name))
        sides, takes = [name for name in self._declared if name not in params], "docs" if self._docs else "doc"
        several = {"batch": self.batch} if self.batch else {"concurrent": WINDOW} if self._waits else {}
        return {"name": self.__name__, "version": self.version, "params": params, "with": sides, "takes": takes, **several,
                "window": WINDOW, "lengths": True, "interpreter": "%d.%d" % sys.version_info[:2], "doc": inspect.getdoc(self.fn) or ""}
    def _set_up(self, given: dict) -> tuple:
        """What the function gets after the document; `setup` is not repeated for the same arguments."""
        args = {}
        for name, p in self._setup_named.items():
            default = self._declared[name].default
            if name in given or default is not p.empty: args[name] = given.get(name, default)
            there, fix = name in args or p.default is not p.empty, "name it in the target's `with` or `params`"
            _require(there, f"setup of `{self.__name__}` needs `{name}`: {fix}", ModuleError)
        if self.setup and (self._ready is None or self._ready[0] != args):
            self._ready = (args, self._finished(self.setup(**args)))
        return self._ready[1:] if self.setup and len(self._positional) > 1 else ()
    def _bind(self, setup: dict) -> None:
        """Params checked, shared side inputs there, `setup` run: it takes documents."""
        self._check()
        name, params, shared = self.__name__, setup.get("params") or {}, setup.get("with") or {}
        self._run = _Run(setup)                 # it keeps the scratch folder of shared side inputs
        for key in [*params, *shared]:
            if key not in self._declared:
                kind = "param" if key in params else "`with` name"
                raise ModuleError(f"`{name}` has no {kind} `{key}`" + _near(key, self._declared))
            _require(key not in params or key not in shared, f"`{key}` is a param and in `with`", ModuleError)
        for key, value in params.items():
            kind = _type_name(self._declared[key])
            fits = kind not in _KINDS or isinstance(value, _KINDS[kind]) and (kind == "bool" or type(value) is not bool)
            _require(fits, f"param `{key}` of `{name}` is {kind}, not {json.dumps(value)}", ModuleError)
        given = {**params, **{key: _side(spec, self._run, key) for key, spec in shared.items()}}
        each = setup.get("with_each")
        for key, p in self._named.items():
            free = p.annotation is p.empty or _takes_doc(p.annotation) if each is None else key in each
            _require(key in given or free or p.default is not p.empty, f"`{name}` needs the param `{key}`", ModuleError)
        self._state, self._limit = self._set_up(given), setup.get("timeout")
        self._kwargs = {key: v for key, v in given.items() if key in self._named}
    def loop(self):
        """Where an `async def` runs, its `setup` too."""
        import asyncio
        if self._events is None: self._events = asyncio.new_event_loop()
        return self._events
    def _finished(self, value):
        """What an `async def` came to; anything else as it is."""
        async def collected(): return [part async for part in value]
        if inspect.isasyncgen(value): return (part for part in self.loop().run_until_complete(collected()))
        return self.loop().run_until_complete(value) if inspect.isawaitable(value) else value
    def _given(self, req: dict, run: _Run) -> tuple:
        """The document of a request, and the keyword arguments that come with it."""
        docs, name, side = self._docs, self.__name__, req.get("with") or {}
        if docs != ("manifest" in req):
            raise TypeError(f"`{name}` takes a set (`docs`), but the target gives one document: use `all` or `group`"
                            if docs else f"`{name}` takes one document, but the target gives a set: use `each`, "
                            "or call the first argument `docs`")
        for key in side.keys() - self._named:
            raise TypeError(f"`{name}` has no `with` name `{key}`" + _near(key, self._named))
        doc = _Manifest(req["manifest"], run, req.get("members")) if docs else _doc(req, run, "")
        return doc, {key: _side(spec, run, key) for key, spec in side.items()}
    def _called(self, req: dict, run: _Run):
        if self._docs or "with" in req or "manifest" in req:
            doc, side = self._given(req, run)
            return self.fn(doc, *self._state, **{**self._kwargs, **side})
        return self.fn(_doc(req, run, ""), *self._state, **self._kwargs)
    async def _answer_later(self, req: dict, run: _Run, code: _Code) -> bytes:
        """The answer of an `async def`; one that is late is cancelled, and the others go on."""
        import asyncio
        async def answer():
            try:
                value, names = self._called(req, run), set()
                if not inspect.isasyncgen(value): return b'"output":{' + _output(await value, run) + b"}"
                _require(req.get("split"), "the function yields: children are for targets with `split = true`")
                async for part in value: _child(part, names, run)
                return b'"output":{"children":%d}' % len(names)
            except BaseException as e: return self._failed(e, code)         # sys.exit(), too: it would end the loop
        _RUN.set(run)
        task = asyncio.ensure_future(answer())
        if (await asyncio.wait({task}, timeout=self._limit))[0]: return task.result()
        task.cancel()
        return self._failed(TimeoutError(f"no answer within {self._limit:g} s"), code)
    def _answer(self, req: dict, run: _Run, code: _Code, *made) -> tuple[bytes, BaseException | None]:
        """The answer's fields as JSON (for what the function `made`, if it was called), and the exception if there was
        one. Nothing gets past it: sys.exit() in a function must not end the worker."""
        try:
            value = made[0] if made else self._together([req], [run])[0] if self.batch else self._called(req, run)
            if self.batch:
                if isinstance(value, BaseException): raise value
            elif type(value) is not str: value = self._finished(value)
            return b'"output":{%b}' % _output(value, run), None
        except BaseException as e: return self._failed(e, code), e
    def _together(self, reqs: list[dict], runs: list[_Run]) -> list:
        """One call for all of them. A side input of each document comes as a list of equal length."""
        pairs = [self._given(req, run) for req, run in zip(reqs, runs)]
        side = {key: [each.get(key) for _, each in pairs] for key in dict.fromkeys(key for _, each in pairs for key in each)}
        values = list(self.fn([doc for doc, _ in pairs], *self._state, **{**self._kwargs, **side}))
        _require(len(values) == len(reqs), f"`{self.__name__}` got {len(reqs)} documents and gave {len(values)} results")
        return values
    def _failed(self, e: BaseException, code: _Code) -> bytes:
        if isinstance(e, Skip): return b'"skip":' + _dump(str(e) or "skipped")
        late = getattr(sys.modules.get("asyncio"), "TimeoutError", TimeoutError)        # until 3.10 one of its own
        passing = (Retry, ConnectionError, TimeoutError, late, MemoryError, *self.retry)
        fault = {**_error(e, code, self.fn), "retry": isinstance(e, passing) or isinstance(getattr(e, "reason", None), passing)}
        if isinstance(e, Retry) and e.after is not None: fault["after"] = e.after
        return b'"error":' + _dump(fault)
    def __call__(self, doc, *state, **kwargs):
        """The plain function, for notebooks and tests: a path will do for a document."""
        return _rest().call(self, doc, state, kwargs)
    def main(self, argv: list[str] | None = None) -> None: _rest().command_line(self, argv)       # as a program

# ---------------------------------------------------------------- errors in the author's words
_FILES = (__file__, os.path.join(os.path.dirname(__file__), "_outside.py"))
def _ours(file: str) -> bool: return file in _FILES or file.startswith("<frozen importlib")

def _author_frames(e: BaseException, code: _Code) -> list:
    """Frames and lines from where the author's code begins to the innermost that lies in the project."""
    import traceback
    own = [(f, line) for f, line in traceback.walk_tb(e.__traceback__) if not _ours(f.f_code.co_filename)]
    inside = [i for i, (f, _) in enumerate(own, 1) if code.relative(f.f_code.co_filename)]
    return own[:inside[-1]] if inside else own

def _trace(e: BaseException) -> Any:
    """The traceback without our frames."""
    import traceback
    found = [traceback.TracebackException(type(e), e, e.__traceback__)]
    for te in found:
        te.stack[:] = [frame for frame in te.stack if not _ours(frame.filename)]
        found += filter(None, (te.__cause__, te.__context__, *(getattr(te, "exceptions", None) or ())))
    return found[0]

def _error(e: BaseException, code: _Code, fn=None) -> dict:
    """What went wrong, as data: `where` is the author's own line."""
    frames, trace, at = _author_frames(e, code), _trace(e), None
    message = str(trace)                        # as str(e), but never fails
    if isinstance(e, SystemExit): message = f"the function called sys.exit({message}): raise Skip or an error instead"
    if isinstance(e, SyntaxError) and code.relative(e.filename):
        message, at = e.msg, (e.filename, e.lineno, "<module>")
    elif frames: at = (frames[-1][0].f_code.co_filename, frames[-1][1], frames[-1][0].f_code.co_name)
    elif fn is not None: at = (fn.__code__.co_filename, fn.__code__.co_firstlineno, fn.__name__)
    where = at and {"file": code.relative(at[0]) or at[0], "line": at[1], "function": at[2]}
    text = "" if isinstance(e, ModuleError) else "".join(trace.format())
    return {"type": type(e).__name__, "message": message[:8000], "where": where, "traceback": text[-32000:]}

# ---------------------------------------------------------------- what counts as code
class _Code:
    """Project files and installed distributions that this process has loaded."""
    def __init__(self, project: str):
        self.root = os.path.join(project, "")
        self.foreign = tuple(os.path.join(p, "") for p in (sys.prefix, sys.base_prefix, self.root + ".pipe")
                             if p.startswith(self.root))
        self.before = set(sys.modules)          # loaded by us or by .pth files, not by the author
        self.files, self.packages, self.asked, self.mark = [], [], set(), None
    def relative(self, file) -> str | None:
        """The path within the project, or None for a file that is not the project's own."""
        own = (isinstance(file, str) and file.startswith(self.root) and not file.startswith(self.foreign)
               and file not in _FILES and "site-packages" not in file and "dist-packages" not in file)
        return file[len(self.root):] if own else None
    def grew(self) -> bytes:
        """Look again if anything was imported since; the fields to report if a list changed."""
        mark = (len(sys.modules), next(reversed(sys.modules)))
        if mark == self.mark: return b""
        self.mark = mark
        files, outside, news = set(self.files), {}, b""
        for name, mod in list(sys.modules.items()):
            space = getattr(mod, "__dict__", None)
            file = space.get("__file__") if isinstance(space, dict) else None
            if self.relative(file): files.add(self.relative(file))
            elif isinstance(file, str) and file not in _FILES and name not in self.before and file not in self.asked:
                outside[file] = _normal(name.partition(".")[0])
        if len(files) > len(self.files):
            self.files = sorted(files)
            news = b',"files":' + _dump(self.files)
        found = [info for info in self._owners(outside) if info not in self.packages] if outside else []
        if found:
            self.packages = sorted([*self.packages, *found], key=lambda info: info["path"])
            news += b',"packages":' + _dump(self.packages)
        self.asked |= outside.keys()
        return news
    def _owners(self, outside: dict[str, str]) -> list[dict]:
        """The distributions that own these files, by the RECORD beside them, else by the top-level name."""
        stdlib = os.path.join(os.path.dirname(os.__file__), "")
        left = {file: top for file, top in outside.items() if not file.startswith(stdlib) or "-packages" in file}
        names, found = set(left.values()), {}
        pattern = re.compile(r"([^-]+)(?:-(.+?))?(?:-py[\d.]+)?\.(?:dist|egg)-info")
        infos = [{"name": _normal(m[1]), "version": m[2] or "", "path": os.path.join(root, m[0])}
                 for root in dict.fromkeys(map(os.path.abspath, sys.path)) if os.path.isdir(root)
                 for m in map(pattern.fullmatch, sorted(os.listdir(root))) if m]
        for info in sorted(infos, key=lambda info: info["name"] not in names):      # likely ones first: it takes time
            root = os.path.join(os.path.dirname(info["path"]), "")
            if any(file.startswith(root) for file in left):
                record = {root + line.partition(",")[0] for line in _lines(info["path"], "RECORD")}
                found.update((info["path"], info) for file in left if file in record)
                left = {file: top for file, top in left.items() if file not in record}
        names = set(left.values())              # no RECORD has them: Debian's packages, editable installs
        found.update((info["path"], info) for info in (infos if names else ())
                     if names & {info["name"], *map(_normal, _lines(info["path"], "top_level.txt"))})
        return list(found.values())

def _normal(name: str) -> str: return re.sub(r"[-_.]+", "-", name).lower()

def _lines(folder: str, name: str) -> list[str]:
    with contextlib.suppress(OSError): return Path(folder, name).read_text("utf-8", "replace").splitlines()
    return []

def _import(file: str, name: str, code: _Code) -> module:
    """The module `name` of a project file; sys.path as the author expects it."""
    def path_stats(loader, path, usual=SourceFileLoader.path_stats):
        if code.relative(path):                 # a .pyc is trusted by size and whole seconds, too coarse for a build
            raise OSError                       # importlib's own way of saying "no usable cache"
        return usual(loader, path)
    SourceFileLoader.path_stats = path_stats
    path = os.path.join(code.root, file)
    first = [os.path.dirname(path), os.path.dirname(code.root)]
    sys.path[:] = [*first, *(p for p in sys.path if p not in ("", *first))]
    _require(os.path.isfile(path) or not file.endswith(".py"), f"there is no file {file}", ModuleError)
    stem = os.path.splitext(os.path.basename(path))[0]
    if stem in sys.modules or stem in getattr(sys, "stdlib_module_names", ()): stem = "pipe_module_" + stem
    if not file.endswith(".py"): mod = importlib.import_module(file)                # of an installed package
    else:
        spec: Any = importlib.util.spec_from_file_location(stem, path, loader=SourceFileLoader(stem, path))
        sys.modules[stem] = mod = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(mod)
    found = getattr(mod, name, None)
    if isinstance(found, module): return found
    if inspect.isfunction(found): raise ModuleError(f"`{name}` in {file} is a plain function: put @module above it")
    known = [k for k, v in vars(mod).items() if isinstance(v, module)]
    others = f"; it has {', '.join(known)}" if known else ""
    raise ModuleError(f"{file} has no module `{name}`{_near(name, known) or others}")

# ---------------------------------------------------------------- worker
def _no_terminal(*_, **__): raise RuntimeError("a worker has no terminal for the debugger: use `pipe try TARGET DOC --debug`")

class _Worker:
    """The other end of `pipe`'s line. What is done within 5 ms shares one write; no answer waits longer, whatever
    the document after it does: a thread sees to that."""
    mod: Any; flush_c: Any; box: Any
    def __init__(self, file: str, name: str):
        import faulthandler, signal, stat
        # The protocol gets private copies of 0 and 1 before any of the author's code is imported. What else
        # writes there, C libraries and child processes included, lands in the log, which is fd 2.
        self.rx, self.tx = os.dup(0), os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        self.log = os.dup(2) if stat.S_ISREG(os.fstat(2).st_mode) else -1
        for std in ("stdout", "stderr"):
            stream = _Apart(getattr(sys, std).detach(), encoding="utf-8", errors="backslashreplace", line_buffering=True)
            setattr(sys, std, stream)
            setattr(sys, f"__{std}__", stream)
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR1)           # `pipe` asks "where are you?" before it kills
        signal.signal(signal.SIGINT, signal.SIG_IGN)    # whether to stop is for `pipe` to say
        sys.breakpointhook, sys.argv = _no_terminal, [file]
        os.register_at_fork(after_in_child=self._forked)
        self.file, self.name, self.code, self.mod, self.at = file, name, _Code(os.getcwd()), None, 0
        self.held, self.lock, self.child, self.flush_c = [], threading.Lock(), False, None
        self.box, self.full = None, 0           # the outbox in memory, how much of it is used
        self.rest, self.left, self.batch = b"", collections.deque(), []         # read, to be done, to be done in one call
        self.wake = threading.Event()           # work goes on while lines are held: they must be written in time
        threading.Thread(target=self._watch, name="pipelinefile", daemon=True).start()
    def _forked(self) -> None:                  # in a child that an author's os.fork() made: the channel is the parent's
        self.child, self.lock, self.held, self.wake = True, threading.Lock(), [], threading.Event()
        self.box, self.full = None, 0
        os.close(self.tx)
    def hold(self, line: bytes) -> None:
        with self.lock:
            self.held.append(line)
            if self.box is None: return
            end = self.full + len(line)         # where `pipe` finds it, should we die before it is written: the lines up
            if fits := end < len(self.box):     # to the first NUL, so its first byte comes last
                self.box[self.full + 1:end + 1], self.box[self.full], self.full = line[1:] + b"\0", line[0], end
        if not fits: self.flush()
    def _watch(self) -> None:
        while self.wake.wait():
            time.sleep(_HOLD)
            self.wake.clear()
            self.flush()
    def flush(self) -> None:
        with self.lock:
            data = memoryview(b"".join(self.held))
            self.held.clear()
            try:
                if self.full: self.box[0] = self.full = 0
                while data and not self.child: data = data[os.write(self.tx, data):]
            except OSError: os._exit(1)         # `pipe` is gone
    def emit(self, rid, kind: str, payload: bytes) -> None:
        self.hold(b'{"id":%b,"%b":%b}\n' % (_dump(rid), kind.encode(), payload))
        self.wake.set()
    def position(self) -> int:
        """How far the log is, with all that was printed."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
            if self.flush_c is None and ("ctypes" in sys.modules or self.code.packages):
                import ctypes                           # what C prints waits in a buffer of its own
                self.flush_c = functools.partial(ctypes.CDLL(None).fflush, ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"))
            if self.flush_c: self.flush_c()
        except Exception: pass                          # the author closed or replaced them; no such C library
        return os.lseek(self.log, 0, os.SEEK_END) if self.log >= 0 else 0
    def serve(self) -> None:
        while chunk := os.read(self.rx, 1 << 18):
            for req in self._requests(chunk):
                if "id" not in req or self.mod is None or self.mod._run is None: self._handshake(req)
                elif self.mod._waits: return self.mod.loop().run_until_complete(self._side_by_side(req))
                elif self.batch or "more" in req:
                    self.batch.append(req)
                    if not req.get("more"): self._documents()
                else: self._document(req)
            self.flush()
    def _requests(self, chunk: bytes) -> Iterator[dict]:
        data, at, self.at = self.rest + chunk, 0, self.position()
        while end := data.find(b"\n", at) + 1:
            if line := data[at:end].strip():
                req = _parse(line.decode())[0]
                if "length" in req:                     # its content follows the line
                    if len(data) < end + req["length"]: break
                    req["data"] = data[end:(end := end + req["length"])]
                self.left.append(req)
            at = end
        self.rest = data[at:]
        while self.left: yield self.left.popleft()
    def _document(self, req: dict) -> None:
        if self.held and not self.wake.is_set(): self.wake.set()
        run = _Run(req, self)
        body = self.mod._answer(req, run, self.code)[0]
        self._say(run, body, (self.at, end := self.position()))
        self.at = end
    def _documents(self) -> None:
        """Those that are to be done in one call; if that fails, one by one."""
        reqs, self.batch = self.batch, []
        if len(reqs) == 1: return self._document(reqs[0])
        if self.held and not self.wake.is_set(): self.wake.set()
        runs = [_Run(req, self) for req in reqs]
        try: values = self.mod._together(reqs, runs)
        except BaseException as e:
            runs[0].emit("warn", _dump({"message": f"a batch of {len(reqs)} failed, so each was tried alone: {type(e).__name__}: {e}"}))
            self.at, values = self.position(), None
        for i, (req, run) in enumerate(zip(reqs, runs)):
            if values is None: self._document(req)
            else: self._say(run, self.mod._answer(req, run, self.code, values[i])[0], (self.at, self.position()))
            self.wake.set()
        self.at = self.position()               # the log of a batch is that of each
    def _say(self, run: _Run, body: bytes, log: tuple) -> None:
        if self.child: os._exit(1)              # the author's os.fork(), come back to us instead of ending
        run.close()
        rid = b"%d" % run.req["id"] if type(run.req["id"]) is int else _dump(run.req["id"])
        place = b',"log":[%d,%d]' % log[:2] if self.log >= 0 else b""
        if place and log[2:] and log[2]: place += b',"times":' + _dump(log[2])
        self.hold(b'{"id":%b,%b%b%b}\n%b' % (rid, body, place, self.code.grew(), run.raw))
    async def _side_by_side(self, first: dict) -> None:
        """From the first document on: each request is begun as it comes, and answered when it is done."""
        import asyncio, signal
        loop, over, work = asyncio.get_running_loop(), asyncio.Event(), {}
        async def one(req, run):
            body = await self.mod._answer_later(req, run, self.code)
            del work[run]
            self._say(run, body, self._print(run))
            self.wake.set()
        def begin(*reqs):
            for req in reqs:
                run = _Run(req, self)
                run.printed = []
                if "id" in req: work[run] = loop.create_task(one(req, run))
                else: self._handshake(req)
        def read():
            chunk = os.read(self.rx, 1 << 18)
            begin(*self._requests(chunk)) if chunk else over.set()
        def last_words():                       # before we are killed
            for run in [*work]: self._print(run)
            os._exit(143)
        loop.add_signal_handler(signal.SIGTERM, last_words)
        loop.add_reader(self.rx, read)
        begin(first, *self._requests(b""))
        await over.wait()
    def _print(self, run: _Run) -> tuple:
        """Writes in one piece what a document printed; where that is in the log, and when it was printed, to a tenth of a second."""
        parts, run.printed, end = [(text.encode("utf-8", "backslashreplace"), at) for text, at in run.printed], [], self.position()
        text, ends = b"".join(part for part, _ in parts), itertools.accumulate(len(part) for part, _ in parts)
        times = [[upto, at * 100] for at, upto in {at: upto for upto, (_, at) in zip(ends, parts)}.items()]
        if text and os.write(2, text) and self.log >= 0: end = os.lseek(2, 0, os.SEEK_CUR)
        return end - len(text), end, times[::-(len(times) // 100 + 1)][::-1]
    def _handshake(self, req: dict) -> None:
        spoken = req.get("protocol", PROTOCOL)
        _require(spoken == PROTOCOL, f"this pipelinefile speaks protocol {PROTOCOL}, not {spoken}: "
                 "install the one of your `pipe`", ModuleError)
        _require("id" not in req, "a document came before setup", ModuleError)
        if "describe" not in req and "setup" not in req: return         # from a later `pipe`
        self.mod = self.mod or _import(self.file, self.name, self.code)
        if "setup" in req:
            if box := req["setup"].pop("outbox", None):
                with contextlib.suppress(OSError, ValueError), open(box, "xb+", 0) as file:     # none on a full disk
                    file.write(bytes(_BOX))     # all of it is there: no fault later
                    self.box = mmap.mmap(file.fileno(), _BOX)
            _Run.counts = bool(req["setup"].get("lengths"))
            self.mod._bind(req["setup"])
        self.code.grew()
        seen = {"files": self.code.files, "packages": self.code.packages}
        frame = {"describe": {**self.mod.describe(), **seen}} if "describe" in req else {"ready": PROTOCOL, **seen}
        self.hold(_dump(frame) + b"\n")
        self.at = self.position()

def worker() -> None:
    """What `pipe` starts: python3 -c "import pipelinefile; pipelinefile.worker()" FILE FUNCTION"""
    w, failed = _Worker(*sys.argv[1:3]), False
    try: w.serve()
    except BaseException as e:
        if w.child: os._exit(1)
        w.hold(_dump({"fatal": _error(e, w.code, w.mod and w.mod.fn)}) + b"\n")
        failed = True
    w.position()
    w.flush()
    if w.mod is not None and w.mod._run is not None: w.mod._run.close()
    os._exit(failed)                            # at once: a model's tear-down is nobody's business now

def try_one() -> None:
    """`pipe try`: FILE FUNCTION REQUEST.json OUT [--debug] [--tell]; the terminal is the author's, the answer goes to OUT."""
    _rest().try_one()
