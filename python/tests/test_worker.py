"""Protocol 1, frame by frame."""
import json
import os
import signal
import sys
import time
import unittest

from host import Case, Worker

VERSION = "%d.%d" % sys.version_info[:2]


class Handshake(Case):
    def test_describe(self):
        self.write("textlib.py", "X = 1\n")
        self.module('''
            import textlib
            def load(weights, *, depth: int = 2): return weights
            @module(setup=load, version=3)
            def words(doc: Doc, model, *, min_len: int = 20, lang, fix: "Doc", old: Doc = None, ratio: float = 0.5, tags=("a",)):
                """Counts words."""
        ''')
        w = self.start(ready=False)
        self.assertEqual(w.ask({"protocol": 1, "describe": True, "later": 1}), {"describe": {
            "name": "words", "version": "3", "doc": "Counts words.", "takes": "doc", "window": 64, "lengths": True,
            "interpreter": VERSION,
            "packages": [], "files": ["modules/words.py", "textlib.py"], "with": ["fix", "old"],
            "params": {"weights": {"type": "any"}, "depth": {"type": "int", "default": 2},
                       "min_len": {"type": "int", "default": 20}, "lang": {"type": "any"},
                       "ratio": {"type": "float", "default": 0.5}, "tags": {"type": "tuple", "default": ["a"]}}}})
        self.assertEqual(w.end(), 0)

    def test_describe_set_without_version(self):
        self.module("@module\ndef words(docs): return ''\n")
        about = self.start(ready=False).ask({"protocol": 1, "describe": True})["describe"]
        self.assertEqual((about["takes"], about["version"], about["params"], about["with"]), ("docs", None, {}, []))

    def fatal(self, body, message, line, function="words", setup=None, kind="ModuleError", named="words"):
        self.module(body)
        w = self.start(function, ready=False)
        frame = w.ask({"setup": setup} if setup is not None else {"protocol": 1, "describe": True})
        frame["fatal"].pop("traceback")
        where = {"file": "modules/words.py", "line": line, "function": named} if line else None
        self.assertEqual(frame, {"fatal": {"type": kind, "message": message, "where": where}})
        self.assertEqual(w.end(), 1)

    def test_unknown_function(self):
        self.fatal("@module\ndef words(doc): pass\n", "modules/words.py has no module `wrods`: did you mean `words`?", 0, "wrods")

    def test_plain_function(self):
        self.fatal("def words(doc): pass\n", "`words` in modules/words.py is a plain function: put @module above it", 0)

    def test_import_error(self):
        self.fatal("import nothere\n", "No module named 'nothere'", 2, kind="ModuleNotFoundError", named="<module>")

    def test_syntax_error(self):
        self.fatal("x = = 1\n", "invalid syntax", 2, kind="SyntaxError", named="<module>")

    def test_unknown_param(self):
        self.fatal("@module\ndef words(doc, *, min_len=1): pass\n",
                   "`words` has no param `minlen`: did you mean `min_len`?", 2, setup={"params": {"minlen": 3}})

    def test_missing_param(self):
        self.fatal("@module\ndef words(doc, *, n: int): pass\n", "`words` needs the param `n`", 2, setup={})

    def test_wrong_type(self):
        self.fatal("@module\ndef words(doc, *, n: int): pass\n", 'param `n` of `words` is int, not "3"', 2,
                   setup={"params": {"n": "3"}})

    def test_setup_fails(self):
        self.fatal("def load():\n    raise OSError('no model')\n@module(setup=load)\ndef words(doc): pass\n", "no model", 3,
                   setup={}, kind="OSError", named="load")

    def test_setup_misses_argument(self):
        self.fatal("def load(weights): pass\n@module(setup=load)\ndef words(doc): pass\n",
                   "setup of `words` needs `weights`: name it in the target's `with` or `params`", 3, setup={})

    def test_document_before_setup(self):
        self.module("@module\ndef words(doc): pass\n")
        w = self.start(ready=False)
        self.assertEqual(w.ask({"id": 1, "text": ""})["fatal"]["message"], "a document came before setup")

    def test_other_protocol(self):
        w = Worker(self, "modules/words.py", "words")
        self.addCleanup(w.end)
        self.assertIn("speaks protocol 1, not 2", w.ask({"protocol": 2, "describe": True})["fatal"]["message"])

    def test_setup_and_with(self):
        self.write("model.bin", "M")
        self.module('''
            def load(weights, size):
                print("loading")
                return weights.text() + str(size)
            @module(setup=load)
            def words(doc, model, *, size: int = 3, rules, fix: Doc = None, k=1):
                return [model, size, rules.json(), fix and fix.text() + fix.ext, k]
        ''')
        w = self.start(setup={"params": {"k": 2}, "with": {
            "weights": {"path": str(self.project / "model.bin"), "ext": "bin", "digest": "d"},
            "rules": {"text": "[1]", "ext": "json"}}})
        self.assertEqual(w.ready, {"ready": 1, "files": ["modules/words.py"], "packages": []})
        self.assertEqual(w.doc(**{"with": {"fix": {"text": "f", "ext": "csv"}}}),
                         {"output": {"json": ["M3", 3, [1], "fcsv", 2], "ext": "json"}})
        self.assertEqual(w.doc(**{"with": {"fix": None}}), {"output": {"json": ["M3", 3, [1], None, 2], "ext": "json"}})
        self.assertEqual(w.log, "")

    def test_setup_value_is_not_forced_on_a_function(self):
        self.module("@module(setup=lambda: 1)\ndef words(doc): return 'a'\n")
        self.assertEqual(self.start().doc(), {"output": {"text": "a", "ext": "txt"}})


class Outputs(Case):
    def check(self, expression, output, imports="", **fields):
        self.module(f"import math, dataclasses, pathlib, collections\n{imports}\n@module\ndef words(doc):\n    return {expression}\n")
        self.assertEqual(self.start().doc("in", **fields), {"output": output})

    def test_text(self):
        self.check("'é\\n\"\\x01'", {"text": "é\n\"\x01", "ext": "txt"})

    def test_str_subclass(self):
        self.check("type('S', (str,), {})('a')", {"text": "a", "ext": "txt"})

    def test_bytes(self):
        self.check("b'\\0\\xff'", {"base64": "AP8=", "ext": "bin"})

    def test_json(self):
        self.check("{'b': (1, None), 'a': [True, 1.5], 3: 'x', 'é': {}}",
                   {"json": {"3": "x", "a": [True, 1.5], "b": [1, None], "é": {}}, "ext": "json"})

    def test_json_is_canonical(self):
        self.module("@module\ndef words(doc): return {'b': 1, 'a': 'é', 'c': [1, 2]}\n")
        w = self.start()
        w.send({"id": 1, "text": ""})
        self.assertIn('"json":{"a":"é","b":1,"c":[1,2]},'.encode(), w.lines.readline())

    def test_dataclass(self):
        self.check("[P('a', {'q': P('b', None)})]", {"json": [{"t": "a", "n": {"q": {"t": "b", "n": None}}}], "ext": "json"},
                   "@dataclasses.dataclass\nclass P:\n    t: str\n    n: object\n")

    def test_numpy_like(self):
        self.check("{'s': S(2.5), S(7): S([1, 2])}", {"json": {"7": [1, 2], "s": 2.5}, "ext": "json"},
                   "class S:\n    def __init__(s, v): s.v = v\n    def item(s): return s.v\n    def tolist(s): return s.v\n")

    def test_path(self):
        self.check("pathlib.Path(shutil.copy(doc.path, doc.tmp / 'x.PDF'))",
                   {"path": str(self.project / "t/x.PDF"), "ext": "pdf"}, "import shutil", tmp=str(self.project / "t"))

    def test_folder(self):
        self.check("pathlib.Path('modules')", {"path": str(self.project / "modules")})

    def test_result(self):
        self.check("Result('<p>', meta={'n': 1}, ext='.HTML')", {"text": "<p>", "ext": "html", "meta": {"n": 1}})

    def test_same(self):
        self.check("Result(meta={'lang': 'nl'})", {"same": True, "meta": {"lang": "nl"}})

    def test_large_output_goes_through_a_file(self):
        self.module("@module\ndef words(doc): return 'x' * (5 << 20)\n")
        out = self.start().doc(tmp=str(self.project / "t"))["output"]
        self.assertEqual((out.keys(), out["ext"]), ({"path", "ext"}, "txt"))
        self.assertEqual(os.path.getsize(out["path"]), 5 << 20)

    def test_children(self):
        self.module('''
            @module
            def words(doc):
                for n, part in enumerate(doc.text().split()):
                    yield Child(f"w-{n}", part, meta={"n": n})
                yield Child("raw", b"1", ext="dat")
        ''')
        w = self.start()
        self.assertEqual(w.doc("a b", split=True), {"output": {"children": 3}})
        self.assertEqual(w.notes, [{"child": {"name": "w-0", "text": "a", "ext": "txt", "meta": {"n": 0}}},
                                   {"child": {"name": "w-1", "text": "b", "ext": "txt", "meta": {"n": 1}}},
                                   {"child": {"name": "raw", "base64": "MQ==", "ext": "dat"}}])

    def test_no_children(self):
        self.check("iter(()) if 0 else (c for c in ())", {"children": 0}, split=True)


class Errors(Case):
    def check(self, body, kind, message, line=None, retry=False, function="words", trace=None, notes=(), **fields):
        self.module("@module\ndef words(doc):\n" + "".join("    " + l + "\n" for l in body.split("\n")))
        more = {"after": fields.pop("after")} if "after" in fields else {}
        w = self.start()
        answer = w.doc("in", **fields)
        got = answer["error"].pop("traceback")
        where = {"file": "modules/words.py", "line": line or 2, "function": function}
        self.assertEqual(answer, {"error": {"type": kind, "message": message, "where": where, "retry": retry, **more}})
        self.assertNotIn(os.path.join("pipelinefile", "_"), got)
        if trace is not None:
            self.assertEqual(got, trace)
        self.assertEqual(w.doc("in", **fields)["error"]["type"], kind)      # the worker lives on

    def test_own_line(self):
        path = self.project / "modules/words.py"
        self.check("return int('x')", "ValueError", "invalid literal for int() with base 10: 'x'", 4,
                   trace='Traceback (most recent call last):\n  File "%s", line 4, in words\n    return int(\'x\')\n%s'
                         "ValueError: invalid literal for int() with base 10: 'x'\n" %
                         (path, "           ^^^^^^^^\n" if (3, 11) <= sys.version_info < (3, 13) else ""))

    def test_line_above_a_library(self):
        self.check("import json\nreturn json.loads('{')", "JSONDecodeError",
                   "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)", 5)

    def test_none(self):
        self.check("pass", "TypeError", "the function returned None: return a value or raise Skip")

    def test_nan(self):
        self.check("return {'a': [1, {'x': float('nan')}]}", "ValueError",
                   "NaN at `a[1].x` is not JSON: use None, or leave the field out",
                   trace="ValueError: NaN at `a[1].x` is not JSON: use None, or leave the field out\n")

    def test_infinity(self):
        self.check("return -float('inf')", "ValueError", "Infinity at the top is not JSON: use None, or leave the field out")

    def test_nan_in_meta(self):
        self.check("return Result('', meta={'p': float('nan')})", "ValueError",
                   "NaN at `meta.p` is not JSON: use None, or leave the field out")

    def test_not_json(self):
        self.check("return {'when': {1, 2}}", "TypeError", "set at `when` is not JSON: return str, bytes, numbers, lists, "
                   "dicts, a dataclass or a Path")

    def test_keys_that_meet(self):
        self.check("return {1: 0, '1': 1, b'': 2}", "TypeError", "two keys at the top are '1' in JSON")

    def test_lone_surrogate(self):
        self.check("return '\\udc80'", "UnicodeEncodeError",
                   "'utf-8' codec can't encode character '\\udc80' in position 0: surrogates not allowed")

    def test_folder_with_an_extension(self):
        self.check("import pathlib\nreturn Result(pathlib.Path('modules'), ext='txt')", "ValueError",
                   "ext='txt' is for files, and modules is a folder")

    def test_no_such_file(self):
        self.check("import pathlib\nreturn pathlib.Path('x.pdf')", "FileNotFoundError",
                   "the function returned the path x.pdf, but there is no such file")

    def test_generator_without_split(self):
        self.check("yield Child('a', '')", "TypeError",
                   "the function yields: children are for targets with `split = true`; for a JSON list use list(…)")

    def test_split_without_generator(self):
        self.check("return ['a']", "TypeError", "a split module yields Child(name, value); this one returned list", split=True)

    def test_split_yields_something_else(self):
        self.check("yield 'a'", "TypeError", "a split module yields Child(name, value), not str", split=True)

    def test_two_children_of_one_name(self):
        self.module("@module\ndef words(doc):\n    yield Child('a', '')\n    yield Child('a', '')\n")
        w = self.start()
        self.assertEqual(w.doc(split=True)["error"]["message"], "two children are called `a`")

    def test_document_returned(self):
        self.check("return doc", "TypeError",
                   "the function returned a document: return its .text() or .bytes(), or Result() to pass it on")

    def test_exit(self):
        self.check("import sys\nsys.exit(3)", "SystemExit", "the function called sys.exit(3): raise Skip or an error instead", 5)

    def test_keyboard_interrupt(self):
        self.check("raise KeyboardInterrupt", "KeyboardInterrupt", "", 4)

    def test_memory(self):
        self.check("raise MemoryError('big')", "MemoryError", "big", 4, retry=True)

    def test_recursion(self):
        self.check("def f(n): return f(n + 1)\nf(0)", "RecursionError", "maximum recursion depth exceeded", 4, function="f")

    def test_input(self):
        self.check("input()", "EOFError", "EOF when reading a line", 4)

    def test_breakpoint(self):
        self.check("breakpoint()", "RuntimeError",
                   "a worker has no terminal for the debugger: use `pipe try TARGET DOC --debug`", 4)

    def test_retry(self):
        self.check("raise Retry('slow down', after=30)", "Retry", "slow down", 4, retry=True, after=30)
        self.check("raise Retry()", "Retry", "try again", 4, retry=True)

    def test_connection_error(self):
        self.check("raise ConnectionResetError('gone')", "ConnectionResetError", "gone", 4, retry=True)

    def test_retry_classes(self):
        self.module("@module(retry=(KeyError,))\ndef words(doc): raise (KeyError if doc.text() else ValueError)('x')\n")
        w = self.start()
        self.assertEqual([w.doc(t)["error"]["retry"] for t in ("a", "")], [True, False])

    def test_skip(self):
        self.module("@module\ndef words(doc): raise Skip(*doc.json())\n")
        w = self.start()
        self.assertEqual(w.doc('["empty"]'), {"skip": "empty"})
        self.assertEqual(w.doc("[]"), {"skip": "skipped"})

    def test_wrong_shape(self):
        self.check("pass", "TypeError", "`words` takes one document, but the target gives a set: use `each`, or call the "
                   "first argument `docs`", manifest="/x")

    def test_unknown_with(self):
        self.check("pass", "TypeError", "`words` has no `with` name `fix`", **{"with": {"fix": None}})

    def test_unseen(self):
        see = lambda name, sees: f"`{name}` is not visible to this target: add `sees = {sees}` to the target"
        self.check("doc.id", "Unseen", see("id", '["ext", "id"]'), 4)
        self.check("doc.ext", "Unseen", see("ext", '["id", "ext"]'), 4, sees=["id"])
        self.check("doc.meta['lang']", "Unseen", see("meta.lang", '["ext", "meta.lang"]'), 4)
        self.check("doc.meta.get('lang')", "Unseen", see("meta.lang", '["meta.x", "meta.lang"]'), 4, sees=["meta.x"])
        self.check("'lang' in doc.meta", "Unseen", see("meta.lang", '["ext", "meta.lang"]'), 4)
        self.check("doc.meta['lang']", "KeyError", "'lang'", 4, sees=["meta.lang"])

    def test_fork_that_comes_back(self):
        self.module("import os\n@module\ndef words(doc):\n    if os.fork() == 0: raise SystemExit\n    os.wait()\n    return 'p'\n")
        w = self.start()
        self.assertEqual([w.doc(), w.doc()], [{"output": {"text": "p", "ext": "txt"}}] * 2)


class Documents(Case):
    def test_all_of_doc(self):
        self.module('''
            @module
            def words(doc):
                return [doc.text(), list(doc.bytes()), doc.ext, doc.id, dict(doc.meta), doc.meta.get("b"), len(doc.meta),
                        doc.path.read_bytes().decode(), doc.path.suffix, doc.tmp.is_dir()]
        ''')
        w = self.start()
        want = {"output": {"json": ["a\r\n", [97, 13, 10], "txt", "in/a", {"l": "en"}, None, 1, "a\r\n", ".txt", True], "ext": "json"}}
        facts = {"ext": "txt", "doc_id": "in/a", "meta": {"l": "en"}, "sees": ["ext", "id", "meta.l", "meta.b"]}
        file = self.project / "a.txt"
        file.write_bytes(b"a\r\n")
        self.assertEqual(w.doc("a\r\n", **facts), want)
        self.assertEqual(w.doc(base64="YQ0K", **facts), want)
        self.assertEqual(w.doc(path=str(file), tmp=str(self.project / "t1"), **facts), want)

    def test_notes(self):
        self.module('''
            @module
            def words(doc):
                doc.progress(12, 40); doc.progress(13, 40); doc.warn("page 3 is empty", page=3); doc.count(usd=0.004)
                return ""
        ''')
        w = self.start()
        self.assertEqual(w.doc(), {"output": {"text": "", "ext": "txt"}})
        self.assertEqual(w.notes, [{"progress": {"done": 12, "total": 40}}, {"warn": {"message": "page 3 is empty", "page": 3}},
                                   {"count": {"usd": 0.004}}])

    def test_set(self):
        self.module('''
            @module
            def words(docs):
                return [[d.id + d.text() for d in docs], len(docs), docs["in/b"].path.read_text(), "x" in docs,
                        [d.meta["n"] for d in docs]]
        ''')
        self.write("b", "B")
        lines = [{"id": "in/a", "ext": "txt", "digest": "1", "text": "A", "meta": {"n": 1}},
                 {"id": "in/b", "ext": "txt", "digest": "2", "path": str(self.project / "b"), "meta": {"n": 2}},
                 {"id": "in/c", "ext": "txt", "digest": "3", "base64": "Qw==", "meta": {"n": 3}}]
        path = self.write("m.jsonl", "".join(json.dumps(l) + "\n" for l in lines))
        w = self.start()
        want = {"output": {"json": [["in/aA", "in/bB", "in/cC"], 3, "B", False, [1, 2, 3]], "ext": "json"}}
        self.assertEqual(w.doc(manifest=str(path), members=3), want)
        self.assertEqual(w.doc(manifest=str(path)), want)

    def test_set_errors(self):
        self.module("@module\ndef words(docs):\n    docs['z'] if len(docs) else next(iter(docs))\n    return Result(meta={})\n")
        w = self.start()
        path = self.write("m.jsonl", '{"id":"z","text":""}\n')
        self.assertEqual(w.doc(manifest=str(path), members=1)["error"]["message"],
                         "Result without a value passes the input on, and a set has no single input")
        path.write_text('{"text":""}\n')
        self.assertEqual(w.doc(manifest=str(path), members=1, sees=["ext"])["error"]["message"],
                         '`id` is not visible to this target: add `sees = ["ext", "id"]` to the target')
        path.write_text('{"id":"a","text":""}\n')
        self.assertEqual(w.doc(manifest=str(path), members=1)["error"]["type"], "KeyError")
        self.assertEqual(w.doc("one")["error"]["message"],
                         "`words` takes a set (`docs`), but the target gives one document: use `all` or `group`")

    def test_many_side_inputs(self):
        self.module("@module\ndef words(doc, *, rows: list[Doc]): return [r.json() for r in rows]\n")
        w = self.start()
        self.assertEqual(w.doc(**{"with": {"rows": [{"text": "1"}, {"text": "2"}]}}), {"output": {"json": [1, 2], "ext": "json"}})


class BehindLines(Case):
    """Contents that follow their lines, counted."""
    TEXT = "öne\n\0 {\"id\":1}\n" * 40

    def answers(self, data):
        """(id, content) of each answer; what was cut off is none."""
        found = []
        while data[:1] not in (b"", b"\0"):
            line, _, data = data.partition(b"\n")
            frame = json.loads(line)
            length = frame["output"].get("length", 0)
            found.append((frame["id"], data[:length].decode() if length else frame["output"]["text"]))
            data = data[length:]
        return found

    def test_both_ways(self):
        self.module("@module\ndef words(doc): return doc.text()[::-1]\n")
        w = self.start(setup={"lengths": True})
        content = self.TEXT.encode()
        sent = b'{"id":1,"length":%d}\n%b{"id":2,"text":"ab"}\n\n{"id":3,"length":2}\ncd' % (len(content), content)
        for at in range(0, len(sent), 100):             # cut anywhere
            w.process.stdin.write(sent[at:at + 100])
            w.process.stdin.flush()
        w.process.stdin.close()
        got = self.answers(w.lines.read())
        self.assertEqual(got, [(1, self.TEXT[::-1]), (2, "ba"), (3, "dc")])

    def test_only_where_offered(self):
        self.module("@module\ndef words(doc): return doc.bytes().decode()\n")
        w = self.start()
        self.assertEqual(w.doc(self.TEXT), {"output": {"text": self.TEXT, "ext": "txt"}})
        self.assertEqual(w.doc(self.TEXT, split=True)["error"]["type"], "TypeError")

    def test_json_and_bytes(self):
        self.module("@module\ndef words(doc): return {'n': doc.bytes().hex()}\n")
        w = self.start(setup={"lengths": True})
        w.process.stdin.write(b'{"id":1,"length":300}\n' + b"\xff\n\0" * 100)
        w.process.stdin.close()
        line, _, rest = w.lines.read().partition(b"\n")
        self.assertEqual(json.loads(line)["output"], {"length": len(rest), "ext": "json"})
        self.assertEqual(json.loads(rest), {"n": "ff0a00" * 100})

    def test_manifest(self):
        self.module("""
            @module
            def words(docs):
                return [[doc.id, doc.text()] for doc in docs] + [docs["c"].text(), docs["a"].text()]
        """)
        content = self.TEXT.encode()
        (self.project / "set").write_bytes(b'{"id":"a","length":%d}\n%b{"id":"b","text":"x"}\n{"id":"c","length":1}\ny' % (
            len(content), content))
        got = self.start().doc(manifest=str(self.project / "set"), members=3)
        self.assertEqual(got["output"]["json"], [["a", self.TEXT], ["b", "x"], ["c", "y"], "y", self.TEXT])

    def test_what_was_held_is_in_the_outbox(self):
        self.module("""
            import os
            @module
            def words(doc):
                if doc.text() == "die": os.kill(os.getpid(), 9)
                return doc.text()
        """)
        box = self.project / "box"
        w = self.start(setup={"lengths": True, "outbox": str(box)})
        self.assertEqual(self.answers(box.read_bytes()), [])
        w.send(*({"id": n, "text": text} for n, text in enumerate([self.TEXT, "short", self.TEXT, "die"])))
        written = w.lines.read()
        w.end()
        # Each is whole, and there once.
        got = self.answers(written) + self.answers(box.read_bytes())
        self.assertEqual(got, [(0, self.TEXT), (1, "short"), (2, self.TEXT)])

    def test_a_full_outbox_is_written(self):
        self.module("@module\ndef words(doc): return doc.text() * 1000\n")
        box = self.project / "box"
        w = self.start(setup={"lengths": True, "outbox": str(box)})
        w.send(*({"id": n, "text": "x" * 150} for n in range(4)))
        w.process.stdin.close()
        self.assertEqual(self.answers(w.lines.read()), [(n, "x" * 150_000) for n in range(4)])


class Logs(Case):
    def test_everything_that_writes(self):
        self.module('''
            import os, subprocess, sys
            print("import")
            @module
            def words(doc):
                n = doc.text()
                print("print", n); os.write(1, b"fd1\\n"); os.write(2, b"fd2\\n"); 
                subprocess.run(["echo", "child"]); subprocess.run("read x; echo end of $x", shell=True)
                print("err", file=sys.stderr); print("\\udc80"); print("no newline", end="")
                return n
        ''')
        w = self.start()
        for n in "12":
            self.assertEqual(w.doc(n), {"output": {"text": n, "ext": "txt"}})
            self.assertEqual(w.log, f"print {n}\nfd1\nfd2\nchild\nend of\nerr\n\\udc80\nno newline")
        self.assertTrue(w.log_path.read_text().startswith("import\nprint 1"))

    def test_ranges_in_a_window(self):
        self.module("@module\ndef words(doc):\n    n = int(doc.text())\n    if n % 3: print(n)\n    return 'x'\n")
        w = self.start()
        w.send(*({"id": i, "text": str(i)} for i in range(64)))
        answers = [w.read() for _ in range(64)]
        log = w.log_path.read_bytes()
        self.assertEqual([(a["id"], log[slice(*a["log"])].decode()) for a in answers],
                         [(i, f"{i}\n" if i % 3 else "") for i in range(64)])

    def test_no_range_without_a_file(self):
        self.module("@module\ndef words(doc): return 'x'\n")
        done = self.python("import pipelinefile; pipelinefile.worker()", "modules/words.py", "words",
                           input=b'{"setup":{}}\n{"id":1,"text":""}\n')
        self.assertEqual(done.stdout.splitlines()[1], b'{"id":1,"output":{"text":"x","ext":"txt"}}')
        self.assertEqual(done.returncode, 0)

    def test_answers_do_not_wait_for_a_slow_document(self):
        self.module("import time\n@module\ndef words(doc):\n    time.sleep(float(doc.text()))\n    return 'x'\n")
        w = self.start()
        w.send({"id": 1, "text": "0"}, {"id": 2, "text": "0"}, {"id": 3, "text": "1.5"}, {"id": 4, "text": "0"})
        began = time.monotonic()
        self.assertEqual([w.read()["id"], w.read()["id"]], [1, 2])
        self.assertLess(time.monotonic() - began, 1)
        self.assertEqual([w.read()["id"], w.read()["id"]], [3, 4])

    def test_stack_on_request_and_interrupts_ignored(self):
        self.module("import time\n@module\ndef words(doc):\n    print('in', flush=True)\n    time.sleep(1)\n    return 'x'\n")
        w = self.start()
        w.send({"id": 1, "text": ""})
        while b"in\n" not in w.log_path.read_bytes():
            time.sleep(0.01)
        os.kill(w.process.pid, signal.SIGINT)
        os.kill(w.process.pid, signal.SIGUSR1)
        self.assertEqual(w.read()["output"], {"text": "x", "ext": "txt"})
        self.assertRegex(w.log_path.read_text(), r'File ".*/modules/words.py", line 6 in words')


class CodeFiles(Case):
    def test_late_import(self):
        self.write("lib/deep.py", "")
        self.write("modules/near.py", "")
        self.module("@module\ndef words(doc):\n    if doc.text() == 'now':\n        import lib.deep, near\n        1 / 0\n    return 'x'\n")
        w = self.start()
        self.assertEqual(w.ready["files"], ["modules/words.py"])
        self.assertEqual(w.doc(), {"output": {"text": "x", "ext": "txt"}})
        self.assertEqual(w.doc("now")["files"], ["lib/deep.py", "modules/near.py", "modules/words.py"])
        self.assertEqual(w.doc(), {"output": {"text": "x", "ext": "txt"}})

    def test_packages(self):
        site = self.write("env/lib/site-packages/nump/__init__.py", "from . import core\n").parent.parent
        for name, body in {"nump/core.py": "", "ns/one/__init__.py": "", "ns/two/__init__.py": "", "late_one.py": "",
                           "odd.py": "", "Nump-1.5.dist-info/RECORD": "nump/__init__.py,,\nnump/core.py,,\n",
                           "ns_one-2.dist-info/RECORD": "ns/one/__init__.py,,\n", "ns_two-3.dist-info/RECORD": "ns/two/__init__.py,,\n",
                           "Py_Late-4.0-py3.11.egg-info/top_level.txt": "late_one\n"}.items():
            self.write("env/lib/site-packages/" + name, body)
        self.env["PYTHONPATH"] += os.pathsep + str(site)
        self.module("import nump, ns.two, odd\n@module\ndef words(doc):\n    import late_one\n    return 'x'\n")
        w = self.start()
        nump = {"name": "nump", "version": "1.5", "path": f"{site}/Nump-1.5.dist-info"}
        two = {"name": "ns-two", "version": "3", "path": f"{site}/ns_two-3.dist-info"}
        late = {"name": "py-late", "version": "4.0", "path": f"{site}/Py_Late-4.0-py3.11.egg-info"}
        self.assertEqual(w.ready, {"ready": 1, "files": ["modules/words.py"], "packages": [nump, two]})
        self.assertEqual(w.doc(), {"output": {"text": "x", "ext": "txt"}, "packages": [nump, late, two]})
        self.assertEqual(w.doc(), {"output": {"text": "x", "ext": "txt"}})

    def test_stale_bytecode_is_not_trusted(self):
        self.module("import lib\n@module\ndef words(doc): return lib.X\n")
        lib = self.write("modules/lib.py", "X = 'a'\n")
        stamp = lib.stat().st_mtime
        self.run_file("-m", "py_compile", lib)
        self.assertTrue(list((self.project / "modules/__pycache__").iterdir()))
        lib.write_text("X = 'b'\n")                     # same size, same second
        os.utime(lib, (stamp, stamp))
        self.assertEqual(self.start().doc(), {"output": {"text": "b", "ext": "txt"}})

    def test_a_module_called_as_a_library(self):
        self.module("import json\n@module\ndef words(doc): return json.dumps([1])\n", name="json")
        self.assertEqual(self.start(file="modules/json.py").doc(), {"output": {"text": "[1]", "ext": "txt"}})


if __name__ == "__main__":
    unittest.main()
