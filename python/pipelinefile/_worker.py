"""The other end of `pipe`'s line: a worker, one document in a terminal, the command line.

Authors need nothing of this; it is loaded only where a module is run. The protocol is written down
in docs/reference/worker-protocol.md.
"""
from __future__ import annotations

import base64
import faulthandler
import importlib.machinery
import importlib.util
import inspect
import json
import os
import re
import shutil
import signal
import stat
import sys
import threading
import time
import traceback
import types

from . import (PROTOCOL, Doc, Docs, Retry, Skip, _Broken, _content, _doc, _dump, _json_text, _Manifest, _near, _output, _Run,
               _side, _takes_doc, _type_name, module)

_SDK = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")
_HOLD = 0.005               # seconds an answer may wait for others to share its write


# ---------------------------------------------------------------- errors in the author's words

def _own_frames(tb) -> list:
    return [t for t in _links(tb) if not t.tb_frame.f_code.co_filename.startswith(_SDK) and
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
    te.stack = traceback.StackSummary.from_list([f for f in te.stack if not f.filename.startswith(_SDK) and
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


# ---------------------------------------------------------------- a module, set up

_KINDS = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list, "dict": dict}


def bind(mod: module, setup: dict) -> _Bound:
    """Check params and shared side inputs, run `setup`; what comes back takes documents."""
    mod._check()
    params, shared = setup.get("params") or {}, setup.get("with") or {}
    for name in [*params, *shared]:
        if name not in mod._declared:
            kind = "param" if name in params else "`with` name"
            raise _Broken(f"`{mod.__name__}` has no {kind} `{name}`" + _near(name, mod._declared))
        if name in params and name in shared:
            raise _Broken(f"`{name}` is given both as a param and in `with`")
    for name, value in params.items():
        kind = _type_name(mod._declared[name])
        if kind in _KINDS and (not isinstance(value, _KINDS[kind]) or isinstance(value, bool) and kind != "bool"):
            raise _Broken(f"param `{name}` of `{mod.__name__}` is {kind}, not {json.dumps(value)}")
    run = _Run({"id": None, "sees": setup.get("sees", ["ext"])})
    given = {**params, **{name: _side(spec, run, name) for name, spec in shared.items()}}
    each = setup.get("with_each")
    for name, p in mod._named.items():
        untold = p.annotation is p.empty or _takes_doc(p.annotation) if each is None else name in each
        if p.default is p.empty and name not in given and not untold:
            raise _Broken(f"`{mod.__name__}` needs the param `{name}`")
    state = ()
    if mod.setup:
        made = mod.setup(**mod._setup_args(given))
        state = (made,) if len(mod._positional) > 1 else ()
    return _Bound(mod, run, state, {name: v for name, v in given.items() if name in mod._named})


class _Bound:
    """A module that was set up."""

    def __init__(self, mod: module, run: _Run, state: tuple, kwargs: dict):
        self.mod, self.fn, self.run, self.state, self.kwargs = mod, mod.fn, run, state, kwargs
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
        if (not isinstance(file, str) or not file.startswith(self.root) or file.startswith(_SDK) or file.startswith(self.foreign)
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
            elif isinstance(file, str) and not file.startswith(_SDK) and name not in self.before and file not in self._asked:
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
        self.wake, self.awake, self.thread = threading.Event(), False, None
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
            self.wake.set()
            if self.thread is None:
                self.thread = threading.Thread(target=self._watch, name="pipelinefile", daemon=True)
                self.thread.start()

    def _watch(self) -> None:
        while True:
            self.wake.wait()
            self.wake.clear()
            time.sleep(_HOLD)
            self.awake = False
            self.flush()

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
            if self.bound is not None:
                self.bound.run.close()
            self.bound = bind(self.mod, req["setup"])
            self.code.grew()
            self.channel.hold(_dump({"ready": PROTOCOL, "files": self.code.files, "packages": self.code.packages}) + b"\n")
        self.at = self._position()


def worker(file: str, name: str) -> None:
    w, status = _Worker(file, name), 0
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
    if w.bound is not None:
        w.bound.run.close()
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


def try_one(argv: list[str]) -> None:
    """One request, the terminal left to the author; the answer goes to the file OUT."""
    file, name, request, out = [a for a in argv if a != "--debug"][:4]
    debug, code, term = "--debug" in argv, _Code(os.getcwd()), _Terminal()
    request, out = os.path.abspath(request), os.path.abspath(out)
    sys.argv = [file]
    with open(request, encoding="utf-8") as f:
        req = json.load(f)
    req.setdefault("id", 1)
    run, failure = _Run(req, term), None
    try:
        bound = bind(_import(file, name, code), req.get("setup") or {})
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


def command_line(mod: module, argv: list[str] | None) -> None:
    import argparse
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
