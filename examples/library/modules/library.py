"""The search index, and one page to look at: all documents by language, with a search that needs no server."""
from __future__ import annotations

import json
from collections import Counter, defaultdict

from pipelinefile import Doc, module
from weblib import escape, html_page, lang_attribute, language, quote, relative, tags


@module
def index(docs, *, per_document: int = 150):
    """An inverted index: for each word the numbers of the documents that have it, by their most frequent words."""
    ids, places = [], defaultdict(list)
    for number, doc in enumerate(docs):
        ids.append(doc.id)
        counts = doc.json()
        for word in sorted(counts, key=lambda word: (-counts[word], word))[:per_document]:
            places[word].append(number)
    print(f"{len(places):,} words in {len(ids):,} documents")
    return {"documents": ids, "words": places}


@module
def library(docs, *, index: Doc):
    shelves, kinds, total = defaultdict(list), Counter(), 0
    for doc in docs:
        code, kind = doc.meta["lang"], doc.meta["type"]
        shelves[code].append(entry(doc, code, kind))
        kinds[kind] += 1
        total += 1
    order = sorted(shelves, key=lambda code: (code == "und", -len(shelves[code]), code))
    sections = "".join(
        f'<section data-lang="{escape(code)}">\n<h2>{escape(language(code))} <span class="soft">{len(shelves[code])}</span></h2>\n'
        f'<ul class="shelf">\n{"".join(shelves[code])}</ul>\n</section>\n' for code in order)
    languages = "".join(f'<option value="{escape(code)}">{escape(language(code))} ({len(shelves[code])})</option>' for code in order)
    types = "".join(f'<option value="{escape(kind)}">{escape(kind)} ({kinds[kind]})</option>' for kind in sorted(kinds))
    data = json.dumps(index.json(), ensure_ascii=False, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    return html_page("The library", (
        f'<header>\n<h1>The library</h1>\n<p class="soft">{total:,} documents in {len(set(order) - {"und"})} languages</p>\n'
        '<form role="search" onsubmit="return false">\n'
        '<label>Search <input id="query" type="search" autocomplete="off" placeholder="words, or how they begin"></label>\n'
        f'<label>Language <select id="lang"><option value="">all</option>{languages}</select></label>\n'
        f'<label>Type <select id="type"><option value="">all</option>{types}</select></label>\n'
        '<output id="found" aria-live="polite"></output>\n</form>\n</header>\n'
        f'<main>\n{sections}</main>\n<script type="application/json" id="index">{data}</script>\n<script>{SCRIPT}</script>\n'), STYLE)


def entry(doc: Doc, code: str, kind: str) -> str:
    name = relative(doc.id)
    title = doc.meta.get("title") or name
    return (f'<li class="entry" data-id="{escape(doc.id)}" data-type="{escape(kind)}">'
            f'<a href="pages/{quote(name)}.html"{lang_attribute(code)}>{escape(title)}</a>'
            f'<div class="soft">{escape(name)} · {escape(kind)}</div>'
            f'<ul class="tags"{lang_attribute(code)}>{tags(doc.json()["keywords"][:6])}</ul></li>\n')


STYLE = """
form { display: flex; flex-wrap: wrap; gap: .8rem; align-items: end; position: sticky; top: 0; background: var(--back); padding: .6rem 0; border-bottom: 1px solid var(--line) }
label { display: grid; gap: .15rem; font-size: .85rem; color: var(--soft) } label:first-child { flex: 1 1 16rem }
input, select { font: inherit; font-size: 1rem; color: var(--ink); background: var(--card); border: 1px solid var(--soft); border-radius: .4rem; padding: 0 .6rem; width: 100%; height: 2.4rem }
output { flex-basis: 100%; font-size: .9rem } header { display: contents }
@media (max-width: 40rem) { form { position: static } }
.shelf { list-style: none; padding: 0; margin: 0; display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)) }
.entry { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; overflow-wrap: anywhere }
.entry > a { font-weight: 600; text-decoration: none } .entry > a:hover { text-decoration: underline } .entry .soft { font-size: .85rem }
"""

SCRIPT = r"""
const index = JSON.parse(document.getElementById("index").textContent);
const words = Object.keys(index.words);
const entries = [...document.querySelectorAll(".entry")];
const query = document.getElementById("query"), lang = document.getElementById("lang"), type = document.getElementById("type");

// What counts as a word in Chinese and Japanese: see modules/textlib.py.
function terms(text) {
  const out = [];
  for (const word of text.toLowerCase().match(/\p{L}+/gu) || [])
    for (const run of word.match(/[\u30a0-\u30ff]+|[\u3400-\u9fff]+|[^\u3040-\u30ff\u3400-\u9fff]+/g) || [])
      if (!/[\u3400-\u9fff]/.test(run) || run.length < 3) out.push(run);
      else for (let i = 0; i + 1 < run.length; i++) out.push(run.slice(i, i + 2));
  return out;
}

function documentsWith(term) {
  const found = new Set();
  for (const word of words) if (word.startsWith(term)) for (const n of index.words[word]) found.add(index.documents[n]);
  return found;
}

function show() {
  const wanted = terms(query.value), sets = wanted.map(documentsWith);
  let count = 0;
  for (const entry of entries) {
    const name = entry.querySelector("a").textContent.toLowerCase();
    const fits = wanted.every((term, i) => sets[i].has(entry.dataset.id) || name.includes(term))
      && (!type.value || entry.dataset.type === type.value)
      && (!lang.value || entry.closest("section").dataset.lang === lang.value);
    entry.hidden = !fits;
    count += fits;
  }
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector(".entry:not([hidden])");
  document.getElementById("found").textContent = count === entries.length ? "" : count + " of " + entries.length + " documents";
}

for (const field of [query, lang, type]) field.addEventListener("input", show);
show();
"""
