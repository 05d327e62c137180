"""A web page for each document: title, language, keywords, figures, and how the text begins."""
from __future__ import annotations

from pipelinefile import Doc, module
from weblib import escape, html_page, lang_attribute, language, relative, tags

STYLE = """
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0 } dt { color: var(--soft) } dd { margin: 0 }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere }
"""


@module
def page(doc: Doc, *, keywords: Doc, stats: Doc, preview: int = 1500):
    name = relative(doc.id)
    title = doc.meta.get("title") or name
    code = doc.meta["lang"]
    text, figures = doc.text(), stats.json()
    begin = text[:preview].rstrip() + ("…" if len(text) > preview else "")
    up = "../" * (name.count("/") + 1)                  # from out/pages/a/b.html back to out/
    facts = {"File": name, "Type": doc.meta["type"], "Language": language(code),
             "Words": f"{figures['words']:,}", "Lines": f"{figures['lines']:,}"}
    rows = "".join(f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return html_page(title, (
        f'<nav><a href="{up}library.html">← the library</a></nav>\n<main>\n'
        f"<h1{lang_attribute(code)}>{escape(title)}</h1>\n<dl>{rows}</dl>\n"
        f'<h2>Keywords</h2>\n<ul class="tags"{lang_attribute(code)}>{tags(keywords.json()["keywords"])}</ul>\n'
        f"<h2>How it begins</h2>\n<pre{lang_attribute(code)}>{escape(begin)}</pre>\n</main>\n"), STYLE)
