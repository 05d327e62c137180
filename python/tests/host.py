"""A toy host: a project folder, a worker in it, and frames to and fro."""
import json
import os
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

SDK = str(Path(__file__).resolve().parents[1])
HEAD = "from pipelinefile import module, Doc, Docs, Result, Child, Skip, Retry\n"


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self._dir = tempfile.TemporaryDirectory()
        self.addCleanup(self._dir.cleanup)
        self.project = Path(self._dir.name).resolve()
        (self.project / "modules").mkdir()
        self.env = {k: v for k, v in os.environ.items() if k not in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")}
        self.env["PYTHONPATH"] = SDK

    def write(self, name, body):
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(body))
        return path

    def module(self, body, name="words"):
        """modules/words.py; line 1 is the import of the names, the body begins on line 2."""
        return self.write(f"modules/{name}.py", HEAD + textwrap.dedent(body).lstrip("\n"))

    def start(self, function="words", file="modules/words.py", setup=None, ready=True):
        worker = Worker(self, file, function)
        self.addCleanup(worker.end)
        if ready:
            worker.ready = worker.ask({"setup": setup or {}})
            self.assertEqual(worker.ready.get("ready"), 1, worker.ready)
        return worker

    def python(self, code, *args, **kw):
        return subprocess.run([sys.executable, "-c", code, *map(str, args)], cwd=self.project, env=self.env,
                              capture_output=True, timeout=60, **kw)

    def run_file(self, *args, **kw):
        return subprocess.run([sys.executable, *map(str, args)], cwd=self.project, env=self.env, text=True,
                              capture_output=True, timeout=60, **kw)


class Worker:
    def __init__(self, case, file, function):
        self.log_path = case.project / ".log"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "import pipelinefile; pipelinefile.worker()", file, function], cwd=case.project,
                env=case.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        self.lines = self.process.stdout
        self.number = 0

    def send(self, *frames):
        self.process.stdin.write(b"".join(json.dumps(f).encode() + b"\n" for f in frames))
        self.process.stdin.flush()

    def read(self):
        line = self.lines.readline()
        return json.loads(line) if line else None

    def ask(self, frame):
        self.send(frame)
        return self.read()

    def doc(self, text="", **fields):
        """All frames up to the answer of one document, which is returned with its log as text."""
        self.number += 1
        content = {} if {"path", "base64", "manifest"} & fields.keys() else {"text": text}
        self.send({"id": self.number, **content, **fields})
        frames = [self.read()]
        while not frames[-1].keys() & {"output", "skip", "error"}:
            frames.append(self.read())
        for f in frames:
            assert f.pop("id") == self.number, f
        start, end = frames[-1].pop("log")
        self.log = self.log_path.read_bytes()[start:end].decode()
        self.notes = frames[:-1]
        return frames[-1]

    def end(self):
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        code = self.process.wait(20)
        self.lines.close()
        return code
