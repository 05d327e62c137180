"""Modules are ordinary functions: no engine is needed to test them.

    python3 -m unittest discover examples/library/tests
"""
import contextlib
import io
import json
import subprocess
import sys
import tempfile
import unittest
from collections import Counter
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1]
DOCUMENTS = EXAMPLE / "documents"
sys.path[:0] = [str(EXAMPLE / "modules"), str(EXAMPLE.parents[1] / "python")]

from keywords import keywords, model                # noqa: E402
from lang import lang                               # noqa: E402
from library import index, library                  # noqa: E402
from page import page                               # noqa: E402
from pipelinefile import Doc, Skip                  # noqa: E402
from tables import columns                          # noqa: E402
from text import text                               # noqa: E402
from words import words                             # noqa: E402

STOPWORDS = Doc(EXAMPLE / "stopwords.json")


def quietly(function, *args, **kwargs):
    """Call a module; what it prints and warns is returned as well."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        return function(*args, **kwargs), log.getvalue()


def read(name, **kwargs):
    return quietly(text, Doc(DOCUMENTS / name), **kwargs)[0]


def as_json(value, doc):
    return Doc(text=json.dumps(value, sort_keys=True), ext="json", id=doc.id, meta=dict(doc.meta))


def figures(doc):
    """The target `stats` for one document."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.write_bytes(doc.bytes())
        subprocess.run(["sh", EXAMPLE / "modules/stats.sh", source, target], check=True)
        return json.loads(target.read_text())


class Text(unittest.TestCase):
    def test_each_type_gives_text_and_a_title(self):
        for name, kind, title, phrase in [
            ("faq/redistributing.en.html", "html", "Chapter 14. Redistributing Debian GNU/Linux in a commercial product", "license"),
            ("faq/kernel.de.pdf", "pdf", "Kapitel 10. Debian und der Kernel", "spezifische Optimierungen"),
            ("debian/fhs-3.0.pdf", "pdf", "Filesystem Hierarchy Standard", "There must be no subdirectories in /usr/bin"),
            ("debian/developers-reference.epub", "epub", "developers-reference", "Registering as a Debian member"),
            ("python/bisect.rst", "rst", "bisect --- Array bisection algorithm", "sorted order"),
            ("tools/zstd-testing.md", "markdown", "Testing", "fuzzer"),
            ("tools/date.es.1", "man", "date(1)", "fecha"),
            ("licences/LGPL-2.1", "text", "GNU LESSER GENERAL PUBLIC LICENSE", "Everyone is permitted to copy"),
            ("mail/kaefer.eml", "eml", "Rückgabe der Bücher über Käfer", "drei Bände über die Käfer Mitteleuropas"),
            ("mail/don-de-livres.eml", "eml", "Don de livres : une collection d’été à préparer", "douze cartons"),
            ("mail/tosho.eml", "eml", "図書館の訪問について", "学生は六人"),
            ("mail/loans.eml", "eml", "Loans of the third quarter (table attached)", "Attachment: loans-2023-q3.csv (text/csv)"),
            ("mail/archive-2023-10.mbox", "mbox", "Which letters should we scan first?", "für die Bücher danke ich"),
            ("tables/iso_4217.json", "json", "", "Swiss Franc"),
        ]:
            with self.subTest(name):
                result = read(name)
                self.assertEqual((result.meta["type"], result.meta["title"]), (kind, title))
                self.assertIn(phrase, " ".join(result.value.split()))

    def test_what_holds_no_text_is_skipped_with_a_reason(self):
        for name, reason in [("pictures/note.png", "an image"), ("guides/empty.txt", "empty")]:
            with self.assertRaisesRegex(Skip, reason):
                read(name)
        with self.assertRaisesRegex(Skip, "binary"):
            quietly(text, Doc(data=b"ELF\0\0\1"))

    def test_old_encodings_are_read_with_a_warning(self):
        result, log = quietly(text, Doc(DOCUMENTS / "guides/leseordnung.txt"))
        self.assertIn("Für das Ausleihen", result.value)
        self.assertIn("Latin-1", log)

    def test_pages_are_limited(self):
        result, log = quietly(text, Doc(DOCUMENTS / "debian/fhs-3.0.pdf"), max_pages=2)
        self.assertIn("only the first 2 pages", log)
        self.assertLess(len(result.value), 10000)

    def test_what_is_damaged_fails_by_its_own_name(self):
        for data, ext in [(b"%PDF-1.4\n1 0 obj << /Type /Catalog", "pdf"), (b"no mailbox", "mbox")]:
            with self.assertRaises(ValueError):
                quietly(text, Doc(data=data, ext=ext))


class Pipeline(unittest.TestCase):
    """The whole example, target by target, as plain calls."""

    @classmethod
    def setUpClass(cls):
        cls.skipped, cls.text = Counter(), []
        for path in sorted(p for p in DOCUMENTS.rglob("*") if p.is_file()):
            try:
                result, _ = quietly(text, Doc(path))
            except Skip as reason:
                cls.skipped[str(reason)] += 1
                continue
            id = f"documents/{path.relative_to(DOCUMENTS).as_posix()}"
            meta = {**result.meta, **quietly(lang, Doc(text=result.value), stopwords=STOPWORDS)[0].meta}
            cls.text.append(Doc(text=result.value, id=id, meta=meta))
        cls.words = [as_json(words(doc, stopwords=STOPWORDS), doc) for doc in cls.text]
        cls.model = Doc(text=json.dumps(model(cls.words)))
        cls.keywords = [as_json(keywords(doc, model=cls.model), doc) for doc in cls.words]
        cls.index = quietly(index, cls.words)[0]

    def find(self, docs, name):
        return next(doc for doc in docs if doc.id == "documents/" + name)

    def test_nothing_fails_and_little_is_skipped(self):
        self.assertEqual(self.skipped, {"an image": 3, "empty": 1})
        self.assertGreaterEqual(len(self.text), 45)

    def test_languages(self):
        for doc in self.text:
            marks = doc.id.removesuffix(".html").removesuffix(".pdf").removesuffix(".1").rsplit(".", 1)
            if doc.id.startswith(("documents/faq/", "documents/guides/")) and len(marks) == 2 and marks[1] != "txt":
                self.assertEqual(doc.meta["lang"], marks[1][:2], doc.id)
        self.assertEqual(self.find(self.text, "tables/zone1970.tsv").meta["lang"], "und")
        self.assertEqual(len({doc.meta["lang"] for doc in self.text}), 11)

    def test_keywords_say_what_a_document_is_about(self):
        self.assertIn("käfer", self.find(self.keywords, "mail/kaefer.eml").json()["keywords"])
        self.assertIn("bisect", self.find(self.keywords, "python/bisect.rst").json()["keywords"])

    def test_index_leads_back_to_the_documents(self):
        ids = [self.index["documents"][n] for n in self.index["words"]["käfer"]]
        self.assertEqual(ids, ["documents/mail/kaefer.eml"])

    def test_library_lists_every_document_and_its_page_is_whole(self):
        html = library(self.keywords, index=Doc(text=json.dumps(self.index)))
        self.assertEqual(html.count('class="entry"'), len(self.keywords))
        self.assertEqual(html.count("</script>"), 2)
        self.assertNotIn('src="', html)

    def test_page(self):
        doc = self.find(self.text, "mail/kaefer.eml")
        html = page(doc, keywords=self.find(self.keywords, "mail/kaefer.eml"), stats=Doc(text=json.dumps(figures(doc))))
        self.assertIn('<h1 lang="de">Rückgabe der Bücher über Käfer</h1>', html)
        self.assertIn("&lt;juergen@example.org&gt;", html)
        self.assertIn('href="../../library.html"', html)

    def test_stats(self):
        self.assertEqual(figures(Doc(text="one two\nthree\n\nfour\n")),
                         {"bytes": 20, "lines": 4, "longest_line": 7, "paragraphs": 2, "words": 4})
        self.assertEqual(figures(Doc(text=""))["lines"], 0)

    def test_columns(self):
        table = quietly(columns, Doc(DOCUMENTS / "tables/debian.csv"))[0]
        self.assertEqual(table["columns"]["codename"]["distinct"], table["rows"])
        zones = quietly(columns, Doc(DOCUMENTS / "tables/zone1970.tsv"))[0]
        self.assertIn("TZ", zones["columns"])
        self.assertGreater(quietly(columns, Doc(DOCUMENTS / "tables/iso_4217.json"))[0]["rows"], 100)

    def test_the_same_again_is_the_same(self):
        again = quietly(index, self.words)[0]
        self.assertEqual(json.dumps(again), json.dumps(self.index))
        self.assertEqual(read("debian/fhs-3.0.pdf").value, read("debian/fhs-3.0.pdf").value)


if __name__ == "__main__":
    unittest.main()
