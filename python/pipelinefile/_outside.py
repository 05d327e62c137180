"""What is done outside a build: load() in a notebook, a module as a program or a plain call, `pipe try`.

Modules need none of it under `pipe`: whoever vendors only the first file has those.
"""
from __future__ import annotations

import base64, inspect, json, os, re, shutil, subprocess, sys, weakref
from pathlib import Path, PurePath
from urllib.parse import unquote_to_bytes

from . import (_ALL, _CONTENT, Doc, Docs, Retry, Skip, _author_frames, _Code, _doc, _dump, _error, _import, _json_text,
               _Manifest, _output, _require, _Run, _takes_doc, _trace, _type_name, module)

# ---------------------------------------------------------------- in a notebook
def load(label: str, project=None) -> Docs:
    """What an `all` function gets over target or source `label`; read-only, also during a build.
    `load("label").frame()` is a pandas table. Documents without a result are rows of the table only."""
    command, run = [os.environ.get("PIPE_BIN") or "pipe", "ls", label, "--manifest"], _Run(_ALL)
    path = run.tmp() / "manifest.jsonl"
    try:
        with open(path, "wb") as f: done = subprocess.run(command, cwd=project, stdout=f, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise FileNotFoundError(f"cannot run `{command[0]}` in {project or '.'}: mend PATH or set PIPE_BIN") from None
    why = done.stderr.decode("utf-8", "replace").strip() or f"`{' '.join(command)}` ended with {done.returncode}"
    _require(done.returncode == 0, why, RuntimeError)
    return _Loaded(path, run)

class _Loaded(_Manifest):
    """The members of a stream; results that are folders are laid out as files where they are asked for."""
    def _rows(self, at: int = 0):
        for doc in super()._rows(at):
            if "files" in doc._src: doc.__class__ = _Folder
            if raw := doc._src.pop("path_base64", None): doc._src["path"] = os.fsdecode(base64.b64decode(raw))
            yield doc

def _chmod(root: Path, mode: int) -> None:
    for folder, *_ in os.walk(root, topdown=mode != 0o555): os.chmod(folder, mode)

class _Folder(Doc):
    """A result that is a folder."""
    @property
    def path(self) -> Path:
        """The folder, to read only; gone with what `load` gave."""
        root = self.tmp / f"folder{self._role}"
        if not root.exists():
            whole = self.tmp / f"folder{self._role}.part"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            for src in self._src["files"]:
                file = whole / os.fsdecode(unquote_to_bytes(src["path"]))
                file.parent.mkdir(parents=True, exist_ok=True)
                if "at" in src: shutil.copyfile(src["at"], file)
                else: file.write_bytes(_doc(src, self._run, "").bytes())
                file.chmod(0o555 if src.get("exec") else 0o444)
            whole.rename(root)
            _chmod(root, 0o555)
            weakref.finalize(self._run, _chmod, root, 0o755)        # runs before the one that removes it
        return root

    def bytes(self) -> bytes:
        raise IsADirectoryError(f"{self.id} is a folder: its files are in .path")

def frame(docs: Docs):
    """A pandas DataFrame: id, meta.*, top-level JSON fields, state."""
    try:
        import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise ImportError("frame() needs pandas: pip install pandas") from None
    rows = []
    for doc in docs._rows():
        row = {"id": doc._src.get("id"), **{f"meta.{k}": v for k, v in doc.meta.items()}}
        value = doc.json() if doc.ext == "json" and doc._src.keys() & _CONTENT else {}
        for name, field in (value if isinstance(value, dict) else {"value": value}).items():
            row[f"json.{name}" if name in row or name == "state" else name] = field
        rows.append({**row, **{k: v for k, v in doc._src.items() if k == "state"}})
    names = dict.fromkeys(["id", *(name for row in rows for name in row)])
    return pandas.DataFrame(rows, columns=sorted(names, key=lambda name: name == "state"))

# ---------------------------------------------------------------- a plain call
def call(mod: module, doc, state: tuple, kwargs: dict):
    """A module as the plain function that it is: a path will do for a document."""
    for name in kwargs.keys() & mod._declared:
        if _takes_doc(mod._declared[name].annotation) and isinstance(kwargs[name], (str, PurePath)):
            kwargs[name] = Doc(kwargs[name])
    kind, state = Docs if mod._docs else Doc, state or mod._set_up(kwargs)
    kwargs = {k: v for k, v in kwargs.items() if k in mod._named or k not in mod._setup_named}
    if mod.batch is None: return mod.fn(doc if isinstance(doc, kind) else kind(doc), *state, **kwargs)
    _require(not isinstance(doc, (str, PurePath, Doc)), f"`{mod.__name__}` takes a list of documents")
    return mod.fn([d if isinstance(d, Doc) else Doc(d) for d in doc], *state, **kwargs)

# ---------------------------------------------------------------- in a terminal
class _Terminal:
    """Who listens in place of `pipe`: notes are printed to stderr and kept; children are kept, or lines of `out`."""
    def __init__(self, out=None): self.out, self.notes = out, {}

    def emit(self, _rid, kind: str, payload: bytes) -> None:
        if kind != "child": print(f"{kind}:", payload.decode(), file=sys.stderr)
        if self.out is not None: self.out.write(payload + b"\n")
        elif kind != "progress":
            self.notes.setdefault("children" if kind == "child" else kind, []).append(json.loads(payload))

def _post_mortem(e: BaseException, code: _Code) -> None:
    """The debugger, at the author's line even when a library raised."""
    import pdb, types
    sys.stderr.writelines(_trace(e).format())
    tb = None
    for frame, line in reversed(_author_frames(e, code)):
        tb = types.TracebackType(tb, frame, frame.f_lasti, line)
    if tb is not None: pdb.post_mortem(tb)

def try_one() -> None:
    """`pipe try`: FILE FUNCTION REQUEST.json OUT [--debug] [--tell]; the terminal is the author's, the answer goes to OUT.
    --tell: what went wrong goes to the terminal, too, for whoever has nobody who reads OUT."""
    (file, name, request, out), debug, tell = sys.argv[1:5], "--debug" in sys.argv[5:], "--tell" in sys.argv[5:]
    out, sys.argv = os.path.abspath(out), [file]
    code, terminal, failure = _Code(os.getcwd()), _Terminal(), None
    req = {"id": 1, **json.loads(Path(request).read_bytes())}
    try:
        mod = _import(file, name, code)
        mod._bind(req.get("setup") or {})
        body, failure = mod._answer(req, _Run(req, terminal), code)
        answer = {"id": req["id"], **json.loads(b"{" + body + b"}"), **terminal.notes}
    except BaseException as e:
        failure, answer = e, {"fatal": _error(e, code)}
    if debug and failure is not None and not isinstance(failure, Skip): _post_mortem(failure, code)
    if tell and failure is not None:
        said = answer.get("error") or answer.get("fatal") or {"traceback": f"skipped: {answer.get('skip')}"}
        print((said.get("traceback") or f"{said['type']}: {said['message']}").rstrip(), file=sys.stderr)
    code.grew()
    Path(out).write_bytes(_dump({**answer, "files": code.files, "packages": code.packages}) + b"\n")
    sys.exit(0 if failure is None else 77 if isinstance(failure, Skip) else 1)

def command_line(mod: module, argv: list[str] | None) -> None:
    import argparse
    mod._check()
    parser = argparse.ArgumentParser(description=mod.__doc__)
    parser.add_argument("doc", nargs="+", help="file")
    parser.add_argument("--pdb", action="store_true", help="debugger at the line that failed")
    for p in mod._declared.values():
        kind = re.sub(r"^Optional\[(\w+)\]$|\s*\|\s*None$", r"\1", _type_name(p))
        read = Doc if _takes_doc(p.annotation) else {"int": int, "float": float, "str": str}.get(kind, json.loads)
        how = {"action": argparse.BooleanOptionalAction} if kind == "bool" else {"type": read}
        parser.add_argument("--" + p.name.replace("_", "-"), dest=p.name, required=p.default is p.empty,
                            default=argparse.SUPPRESS, **how)
    args = vars(parser.parse_args(argv))
    files, debug, status = args.pop("doc"), args.pop("pdb"), 0
    sys.stdout.flush()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                               # stdout carries results only; children print to stderr, too
    for doc in [Docs(files)] if mod._docs else map(Doc, files):
        try:
            value = mod._finished(mod([doc] if mod.batch else doc, **args))
            if mod.batch: [value] = value
            if mod.batch and isinstance(value, BaseException): raise value
            req = {"id": None, "split": inspect.isgenerator(value), "manifest": mod._docs}
            form = json.loads(b"{" + _output(value, _Run(req, _Terminal(out))) + b"}")      # children go to `out`
            if "json" in form: out.write(_json_text(form["json"]).encode() + b"\n")
            elif "children" not in form: out.write((doc if isinstance(doc, Doc) and "same" in form
                                                     else _doc(form, _Run(req), "")).bytes())
            if out.isatty() and not form.get("text", "\n").endswith("\n"): out.write(b"\n")
        except Skip as e:
            print("skipped:", e, file=sys.stderr)
            status = status or 77
        except Exception as e:
            if debug: _post_mortem(e, _Code(os.path.dirname(os.path.abspath(mod.fn.__code__.co_filename))))
            else: sys.stderr.writelines(_trace(e).format())
            status = 75 if isinstance(e, Retry) and status != 1 else 1
        sys.stdout.flush()
        out.flush()
    sys.exit(status)
