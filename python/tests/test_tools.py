"""The same file at the command line, in a terminal under `pipe try`, in a notebook; and load()."""
import json
import os
import stat
import sys
import types
import unittest
from unittest import mock

from host import HEAD, Case
from pipelinefile import Child, Doc, Docs, Result, Skip, load, module

TRY = "import pipelinefile; pipelinefile.try_one()"


class CommandLine(Case):
    def setUp(self):
        super().setUp()
        self.write("a.txt", "short\na longer line\n")
        self.write("b.txt", "bb")
        self.write("clean.py", HEAD + '''
import os
@module
def clean(doc: Doc, *, min_len: int = 20, upper: bool = False, extra: "Doc" = None, tags: list = ()):
    """Drop short lines."""
    print("seen", doc.path.name); os.system("echo child")
    if doc.text() == "bb": raise Skip("too short")
    kept = [l for l in doc.text().splitlines() if len(l) >= min_len]
    if not kept: int("x")
    text = "\\n".join([*kept, *tags, *([extra.text()] if extra else [])])
    return text.upper() if upper else {"text": text}
if __name__ == "__main__":
    clean.main()
''')

    def test_result_to_stdout_prints_to_stderr(self):
        done = self.run_file("clean.py", "a.txt", "--min-len", "8", "--tags", '["t"]', "--extra", "b.txt")
        self.assertEqual((done.stdout, done.stderr, done.returncode),
                         ('{"text":"a longer line\\nt\\nbb"}\n', "child\nseen a.txt\n", 0))
        done = self.run_file("clean.py", "a.txt", "--min-len=8", "--upper")
        self.assertEqual((done.stdout, done.returncode), ("A LONGER LINE", 0))

    def test_skip_and_error(self):
        done = self.run_file("clean.py", "b.txt")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("", "child\nskipped: too short\nseen b.txt\n", 77))
        done = self.run_file("clean.py", "b.txt", "a.txt")
        self.assertEqual((done.stdout, done.returncode), ("", 1))
        self.assertIn('    if not kept: int("x")\n', done.stderr)
        self.assertNotIn("__init__", done.stderr)

    def test_pdb(self):
        done = self.run_file("clean.py", "a.txt", "--pdb", input="p min_len * 2\nq\n")
        self.assertIn("40\n", done.stderr + done.stdout)

    def test_help(self):
        done = self.run_file("clean.py", "--help")
        self.assertIn("Drop short lines.", done.stdout)

    def test_set_and_children(self):
        self.write("glue.py", HEAD + "@module\ndef glue(docs, *, sep='+'): return sep.join(d.text() for d in docs)\n"
                   "@module\ndef split(doc):\n    for l in doc.text().split(): yield Child(l, l, meta={'n': 1})\n"
                   "import sys\n(split if sys.argv.pop(1) == 'split' else glue).main()\n")
        self.write("c.txt", "c")
        self.assertEqual(self.run_file("glue.py", "glue", "b.txt", "c.txt", "--sep", "-").stdout, "bb-c")
        self.assertEqual(self.run_file("glue.py", "split", "c.txt").stdout, '{"name":"c","text":"c","ext":"txt","meta":{"n":1}}\n')


class Try(Case):
    def run_try(self, body, *args, input=b"", **request):
        self.module(body)
        self.write("r.json", json.dumps({"text": "in", **request}))
        done = self.python(TRY, "modules/words.py", "words", "r.json", "o.json", *args, input=input)
        return done, json.loads((self.project / "o.json").read_text())

    def test_done(self):
        done, answer = self.run_try('''
            @module
            def words(doc, *, n: int):
                print("hello", input()); doc.warn("odd"); doc.count(usd=1)
                return {"n": n}
        ''', setup={"params": {"n": 3}}, input=b"there\n", id=5)
        self.assertEqual((done.stdout, done.returncode), (b"hello there\n", 0))
        self.assertEqual(answer, {"id": 5, "output": {"json": {"n": 3}, "ext": "json"}, "warn": [{"message": "odd"}],
                                  "count": [{"usd": 1}], "files": ["modules/words.py"], "packages": []})

    def test_skip(self):
        done, answer = self.run_try("@module\ndef words(doc): raise Skip('empty')\n")
        self.assertEqual(done.returncode, 77)
        self.assertEqual(answer, {"id": 1, "skip": "empty", "files": ["modules/words.py"], "packages": []})

    def test_children(self):
        done, answer = self.run_try("@module\ndef words(doc): yield Child('a', 'A')\n", split=True)
        self.assertEqual((answer["output"], answer["children"]), ({"children": 1}, [{"name": "a", "text": "A", "ext": "txt"}]))

    def test_failed(self):
        done, answer = self.run_try("@module\ndef words(doc):\n    return doc.json()\n")
        self.assertEqual((done.returncode, answer["error"]["type"], answer["error"]["where"]),
                         (1, "JSONDecodeError", {"file": "modules/words.py", "line": 4, "function": "words"}))

    def test_post_mortem_at_the_authors_line(self):
        done, answer = self.run_try("import json\n@module\ndef words(doc):\n    mine = 41\n    return json.loads('{')\n", "--debug",
                                    input=b"p mine + 1\nq\n")
        self.assertIn("modules/words.py(6)words()", done.stdout.decode())
        self.assertIn("(Pdb) 42\n", done.stdout.decode())
        self.assertEqual((done.returncode, answer["error"]["type"]), (1, "JSONDecodeError"))

    def test_breakpoint(self):
        done, answer = self.run_try("@module\ndef words(doc):\n    mine = 41\n    breakpoint()\n    return 'x'\n",
                                    input=b"p mine + 1\nc\n")
        self.assertIn("(Pdb) 42\n", done.stdout.decode())
        self.assertEqual((done.returncode, answer["output"]), (0, {"text": "x", "ext": "txt"}))

    def test_import_error(self):
        done, answer = self.run_try("import nothere\n")
        self.assertEqual((done.returncode, answer["fatal"]["message"]), (1, "No module named 'nothere'"))


class Notebook(Case):
    def test_call(self):
        loads = []

        def prepare(size, weights: Doc):
            loads.append(size)
            return weights.text() * size

        @module(setup=prepare)
        def embed(doc, model, *, size: int = 2, tail=""):
            return doc.text() + model + tail

        w = self.write("w", "W")
        self.assertEqual(embed(Doc(text="a"), weights=w), "aWW")
        self.assertEqual(embed(self.write("x.txt", "x"), weights=w, tail="!", size=1), "xW!")
        self.assertEqual(embed(Doc(data=b"y"), "model"), "ymodel")
        self.assertEqual(loads, [2, 1])
        self.assertEqual(embed.__name__, "embed")

    def test_sets(self):
        @module
        def glue(docs):
            return [d.id for d in docs], len(docs), docs["b"].text(), "z" in docs

        self.assertEqual(glue([Doc(text="A", id="a"), Doc(text="B", id="b")]), (["a", "b"], 2, "B", False))
        with self.assertRaises(TypeError):
            Docs()[0]

    def test_values_pass_through(self):
        @module
        def parts(doc):
            yield Child("a", doc.meta.get("x"))

        self.assertEqual([c.value for c in parts(Doc(text="", meta={"x": 1}))], [1])
        self.assertEqual(module(lambda doc: Result(meta={"a": 1}))(Doc(text="")).meta, {"a": 1})
        with self.assertRaises(Skip):
            module(lambda doc: (_ for _ in ()).throw(Skip("x")))(Doc(text=""))

    def test_bad_options(self):
        with self.assertRaises(TypeError):
            module(lambda doc: 1, retry=(3,))


class Load(Case):
    LINES = [{"id": "in/a", "ext": "json", "digest": "1", "text": '{"n":1,"id":"x"}', "meta": {"lang": "en"}, "state": "done"},
             {"id": "in/b", "ext": "json", "digest": "2", "base64": "NQ==", "state": "done"},
             {"id": "in/c", "state": "failed"}]

    def setUp(self):
        super().setUp()
        self.write("manifest", "".join(json.dumps(l) + "\n" for l in self.LINES))
        pipe = self.write("bin/pipe", f'''\
            #!{sys.executable}
            import sys
            assert sys.argv[1:] == ["ls", "label", "--manifest"], sys.exit("no target `" + sys.argv[2] + "`")
            sys.stdout.write(open("manifest").read())
        ''')
        pipe.chmod(pipe.stat().st_mode | stat.S_IXUSR)
        self.pipe = mock.patch.dict(os.environ, {"PIPE_BIN": str(pipe)})
        self.pipe.start()
        self.addCleanup(self.pipe.stop)

    def test_documents(self):
        docs = load("label", self.project)
        self.assertEqual([(d.id, d.json(), dict(d.meta), d.ext) for d in docs],
                         [("in/a", {"n": 1, "id": "x"}, {"lang": "en"}, "json"), ("in/b", 5, {}, "json")])
        self.assertEqual((len(docs), docs["in/b"].text(), "in/c" in docs), (2, "5", False))

    def test_folders(self):
        folder = {"id": "in/d", "ext": "/", "state": "done", "digest": "4", "files": [
            {"path": "a.txt", "length": 1, "text": "A"}, {"path": "in/b%23", "length": 1, "exec": True, "base64": "/w=="},
            {"path": "large", "length": 5, "at": str(self.write("blob", "large"))}]}
        self.write("manifest", json.dumps(folder) + "\n")
        docs = load("label", self.project)
        path = docs["in/d"].path
        self.assertEqual({str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()},
                         {"a.txt": b"A", "in/b#": b"\xff", "large": b"large"})
        modes = {name: oct((path / name).stat().st_mode & 0o777) for name in (".", "a.txt", "in", "in/b#")}
        self.assertEqual(modes, {".": "0o555", "a.txt": "0o444", "in": "0o555", "in/b#": "0o555"})
        self.assertEqual((docs["in/d"].path, docs["in/d"].ext), (path, "/"), "it is laid out once")
        with self.assertRaisesRegex(IsADirectoryError, "its files are in .path"):
            docs["in/d"].text()
        del docs
        self.assertFalse(path.exists())

    def test_frame(self):
        calls = []
        fake = types.SimpleNamespace(DataFrame=lambda rows, columns: calls.append((rows, columns)))
        with mock.patch.dict(sys.modules, {"pandas": fake}):
            load("label", self.project).frame()
        self.assertEqual(calls, [([{"id": "in/a", "meta.lang": "en", "n": 1, "json.id": "x", "state": "done"},
                                   {"id": "in/b", "value": 5, "state": "done"}, {"id": "in/c", "state": "failed"}],
                                  ["id", "meta.lang", "n", "json.id", "value", "state"])])

    def test_errors(self):
        with self.assertRaisesRegex(RuntimeError, "^no target `lable`$"):
            load("lable", self.project)
        with mock.patch.dict(sys.modules, {"pandas": None}), self.assertRaisesRegex(ImportError, "pip install pandas"):
            load("label", self.project).frame()
        with mock.patch.dict(os.environ, {"PIPE_BIN": "/no/pipe"}), self.assertRaisesRegex(FileNotFoundError, "set PIPE_BIN"):
            load("label", self.project)


if __name__ == "__main__":
    unittest.main()
