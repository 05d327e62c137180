"""Several documents in one call, and several side by side."""
import json
import signal
import unittest

from host import HEAD, Case
from pipelinefile import Doc, module


class Several(Case):
    def answers(self, w, count):
        """The answers of so many documents by their ids, with the log of each; other frames are in `notes`."""
        found, self.notes, self.order = {}, [], []
        while len(found) < count:
            frame = w.read()
            if frame is None:
                raise AssertionError("the worker has ended: " + w.log_path.read_text())
            if frame.keys() & {"output", "skip", "error"}:
                start, end = frame.pop("log")
                frame["said"] = w.log_path.read_bytes()[start:end].decode()
                self.order.append(frame["id"])
                found[frame.pop("id")] = frame
            else:
                self.notes.append(frame)
        return found


class Batches(Several):
    def send(self, w, texts, **fields):
        last = len(texts) - 1
        w.send(*({"id": i, "text": t, **({"more": True} if i < last else {}), **fields} for i, t in enumerate(texts)))

    def test_describe(self):
        self.module("@module(batch=32)\ndef words(docs): pass\n")
        about = self.start(ready=False).ask({"protocol": 1, "describe": True})["describe"]
        self.assertEqual((about["batch"], about["takes"], about["window"], "concurrent" in about), (32, "doc", 64, False))

    def test_one_call_for_a_batch_and_results_by_document(self):
        self.module('''
            import sys
            @module(batch=3, setup=lambda: "s")
            def words(docs, state, *, up: bool = False):
                print("call", len(docs))
                results = []
                for doc in docs:
                    if doc.text() == "bad": results.append(ValueError("is bad"))
                    elif doc.text() == "none": results.append(Skip("nothing"))
                    elif doc.text() == "later": results.append(Retry(after=2))
                    elif doc.text() == "rich": results.append(Result({"a": 1}, meta={"m": 1}, ext="x"))
                    else: results.append(state + (doc.text().upper() if up else doc.text()))
                return results
        ''')
        w = self.start(setup={"params": {"up": True}})
        self.send(w, ["a", "bad", "none", "later", "rich", "b"])
        got = self.answers(w, 6)
        self.assertEqual({i: a["said"] for i, a in got.items()}, dict.fromkeys(range(6), "call 6\n"))
        self.assertEqual(self.order, list(range(6)))
        self.assertEqual(got[0]["output"], {"text": "sA", "ext": "txt"})
        self.assertEqual((got[1]["error"]["type"], got[1]["error"]["message"], got[1]["error"]["retry"]), ("ValueError", "is bad", False))
        self.assertEqual(got[2]["skip"], "nothing")
        self.assertEqual((got[3]["error"]["retry"], got[3]["error"]["after"]), (True, 2))
        self.assertEqual(got[4]["output"], {"json": {"a": 1}, "ext": "x", "meta": {"m": 1}})
        self.assertEqual(got[5]["output"]["text"], "sB")
        self.assertEqual(w.end(), 0)

    def test_a_batch_that_raises_is_tried_one_by_one(self):
        self.module('''
            @module(batch=8)
            def words(docs):
                print("call", len(docs))
                if any(doc.text() == "bad" for doc in docs): raise ValueError("one is bad")
                return [doc.text() for doc in docs]
        ''')
        w = self.start()
        self.send(w, ["a", "bad", "c"])
        got = self.answers(w, 3)
        self.assertEqual([a["said"] for a in got.values()], ["call 1\n"] * 3)
        self.assertEqual((got[0]["output"]["text"], got[2]["output"]["text"]), ("a", "c"))
        self.assertEqual((got[1]["error"]["message"], got[1]["error"]["where"]["line"]), ("one is bad", 5))
        self.assertEqual(self.notes, [{"id": 0, "warn": {
            "message": "a batch of 3 failed, so each was tried alone: ValueError: one is bad"}}])
        # And the next is a batch again.
        self.send(w, ["x", "y"])
        self.assertEqual([a["said"] for a in self.answers(w, 2).values()], ["call 2\n"] * 2)

    def test_as_many_results_as_documents(self):
        self.module("@module(batch=8)\ndef words(docs): return docs[:1] and ['x']\n")
        w = self.start()
        self.send(w, ["a", "b"])
        self.assertEqual([a["output"]["text"] for a in self.answers(w, 2).values()], ["x", "x"], "each alone has one")
        self.assertIn("`words` got 2 documents and gave 1 results", self.notes[0]["warn"]["message"])

    def test_side_inputs_come_as_lists(self):
        self.module("@module(batch=8)\ndef words(docs, *, fix: Doc = None):\n"
                    "    return [d.text() + (f.text() if f else '-') for d, f in zip(docs, fix)]\n")
        w = self.start()
        w.send({"id": 1, "text": "a", "with": {"fix": {"text": "1"}}, "more": True}, {"id": 2, "text": "b", "with": {"fix": None}})
        self.assertEqual([a["output"]["text"] for a in self.answers(w, 2).values()], ["a1", "b-"])

    def test_split(self):
        self.module("@module(batch=8)\ndef words(docs):\n"
                    "    return [(Child(c, c) for c in doc.text()) for doc in docs]\n")
        w = self.start()
        self.send(w, ["ab", "c"], split=True)
        self.assertEqual([a["output"] for a in self.answers(w, 2).values()], [{"children": 2}, {"children": 1}])
        self.assertEqual([(n["id"], n["child"]["name"]) for n in self.notes], [(0, "a"), (0, "b"), (1, "c")])

    def test_a_set_is_no_batch(self):
        self.module("@module(batch=8)\ndef words(docs): return ['x'] * len(docs)\n")
        w = self.start()
        path = self.write("m.jsonl", '{"id":"a","text":"1","ext":"txt"}\n')
        self.assertIn("takes one document, but the target gives a set", w.doc(manifest=str(path), members=1)["error"]["message"])

    def test_options(self):
        for wrong in (0, "8", True):
            with self.assertRaisesRegex(TypeError, "takes a number of documents"):
                module(batch=wrong)(lambda docs: [])

    def test_in_a_notebook_and_at_the_command_line(self):
        @module(batch=2)
        def twice(docs, *, n: int = 2): return [doc.text() * n for doc in docs]
        self.assertEqual(twice([Doc(text="a"), Doc(text="b")], n=3), ["aaa", "bbb"])
        with self.assertRaisesRegex(TypeError, "takes a list of documents"):
            twice("a.txt")
        self.write("twice.py", HEAD + "@module(batch=4)\ndef twice(docs):\n"
                   "    return [Skip('no') if d.text() == 'n' else d.text() * 2 for d in docs]\ntwice.main()\n")
        self.write("a.txt", "a")
        self.write("n.txt", "n")
        done = self.run_file("twice.py", "a.txt", "n.txt")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("aa", "skipped: no\n", 77))


class SideBySide(Several):
    def test_describe(self):
        self.module("@module\nasync def words(doc): pass\n")
        about = self.start(ready=False).ask({"protocol": 1, "describe": True})["describe"]
        self.assertEqual((about["concurrent"], about["takes"]), (64, "doc"))

    def test_no_batch(self):
        self.module("@module(batch=2)\nasync def words(docs): pass\n")
        frame = self.start(ready=False).ask({"protocol": 1, "describe": True})["fatal"]
        self.assertEqual(frame["message"], "`words`: a batch function is no `async def`: leave out `batch`, and say by "
                         "`workers` how many are in flight")

    def test_each_is_answered_when_it_is_done_with_what_it_printed(self):
        self.module('''
            import asyncio, logging, os, sys
            logging.basicConfig(format="%(message)s")
            gates = {}
            async def load(): return "s"
            @module(setup=load)
            async def words(doc, state):
                name = doc.text()
                print(name, "begins")
                gate = gates.setdefault(name, asyncio.Event())
                if name == "opens":
                    gates["waits"].set()
                else:
                    await gate.wait()
                logging.warning("%s logs", name)
                await asyncio.to_thread(print, name, "in a thread")
                doc.warn(name)
                doc.progress(1, 2)
                print(name, "ends", file=sys.stderr)
                return state + name
        ''')
        w = self.start()
        w.send({"id": 1, "text": "waits"}, {"id": 2, "text": "opens"})
        got = self.answers(w, 2)
        self.assertEqual({i: a["output"]["text"] for i, a in got.items()}, {1: "swaits", 2: "sopens"})
        for i, name in ((1, "waits"), (2, "opens")):
            self.assertEqual(got[i]["said"], f"{name} begins\n{name} logs\n{name} in a thread\n{name} ends\n")
        self.assertEqual({n["id"]: n["warn"]["message"] for n in self.notes if "warn" in n}, {1: "waits", 2: "opens"})
        self.assertEqual(w.end(), 0)

    def test_ends(self):
        self.module('''
            import asyncio
            @module(retry=KeyError)
            async def words(doc):
                await asyncio.sleep(0)
                kind = doc.text()
                if kind == "skip": raise Skip("empty")
                if kind == "retry": raise Retry(after=3)
                if kind == "key": raise KeyError("k")
                if kind == "timeout": raise asyncio.TimeoutError("slow")
                if kind == "exit": raise SystemExit(3)
                if kind == "none": return None
                return Result(meta={"kind": kind})
        ''')
        w = self.start()
        kinds = ["skip", "retry", "key", "timeout", "exit", "none", "fine"]
        w.send(*({"id": i, "text": kind} for i, kind in enumerate(kinds)))
        got = self.answers(w, len(kinds))
        self.assertEqual(got[0]["skip"], "empty")
        self.assertEqual([got[i]["error"]["retry"] for i in range(1, 6)], [True, True, True, False, False])
        self.assertEqual(got[1]["error"]["after"], 3)
        self.assertEqual((got[2]["error"]["where"]["line"], got[2]["error"]["where"]["function"]), (9, "words"))
        self.assertIn("the function called sys.exit(3)", got[4]["error"]["message"])
        self.assertIn("returned None", got[5]["error"]["message"])
        self.assertEqual(got[6]["output"], {"same": True, "meta": {"kind": "fine"}})

    def test_children(self):
        self.module('''
            @module
            async def words(doc):
                for c in doc.text(): yield Child(c, c)
        ''')
        w = self.start()
        w.send({"id": 1, "text": "ab", "split": True}, {"id": 2, "text": "x"})
        got = self.answers(w, 2)
        self.assertEqual(got[1]["output"], {"children": 2})
        self.assertEqual([n["child"]["name"] for n in self.notes], ["a", "b"])
        self.assertIn("children are for targets with `split = true`", got[2]["error"]["message"])

    def test_a_set(self):
        self.module("@module\nasync def words(docs): return ''.join(d.text() for d in docs)\n")
        path = self.write("m.jsonl", '{"id":"a","text":"1","ext":"txt"}\n{"id":"b","text":"2","ext":"txt"}\n')
        self.assertEqual(self.start().doc(manifest=str(path), members=2)["output"]["text"], "12")

    def test_one_that_is_late_is_cancelled_and_the_others_go_on(self):
        self.module('''
            import asyncio
            @module
            async def words(doc):
                if doc.text() == "hangs":
                    try: await asyncio.Event().wait()
                    finally: print("cancelled")
                return doc.text()
        ''')
        w = self.start(setup={"timeout": 0.05})
        w.send({"id": 1, "text": "hangs"}, {"id": 2, "text": "b"})
        got = self.answers(w, 2)
        self.assertEqual(self.order, [2, 1])
        self.assertEqual((got[1]["error"]["type"], got[1]["error"]["message"], got[1]["error"]["retry"]),
                         ("TimeoutError", "no answer within 0.05 s", True))

    def test_what_was_printed_is_there_when_it_is_ended(self):
        self.module('''
            import asyncio
            @module
            async def words(doc):
                print("asked", doc.text())
                if doc.text() == "b": doc.warn("both are in work")
                await asyncio.Event().wait()
        ''')
        w = self.start()
        w.send({"id": 1, "text": "a"}, {"id": 2, "text": "b"})
        self.assertEqual(w.read()["warn"]["message"], "both are in work")
        w.process.send_signal(signal.SIGTERM)
        self.assertEqual(w.end(), 143)
        self.assertEqual(w.log_path.read_text(), "asked a\nasked b\n")

    def test_at_the_command_line_and_in_a_trial(self):
        self.write("a.txt", "a")
        body = "import asyncio\n@module\nasync def words(doc):\n    await asyncio.sleep(0)\n    return doc.text() * 2\n"
        self.module(body + "if __name__ == '__main__': words.main()\n")
        done = self.run_file("modules/words.py", "a.txt")
        self.assertEqual((done.stdout, done.stderr, done.returncode), ("aa", "", 0))
        self.write("r.json", json.dumps({"text": "b"}))
        done = self.python("import pipelinefile; pipelinefile.try_one()", "modules/words.py", "words", "r.json", "o.json")
        self.assertEqual((done.returncode, json.loads((self.project / "o.json").read_text())["output"]["text"]), (0, "bb"))


if __name__ == "__main__":
    unittest.main()
