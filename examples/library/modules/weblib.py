"""What the two modules that write HTML share."""
from __future__ import annotations

from html import escape
from urllib.parse import quote

LANGUAGES = {"de": "German", "en": "English", "es": "Spanish", "fr": "French", "it": "Italian", "ja": "Japanese",
             "nl": "Dutch", "pt": "Portuguese", "ru": "Russian", "und": "No language found", "zh": "Chinese"}

STYLE = """
:root { color-scheme: light dark; --ink: #1d2433; --soft: #5a6478; --line: #d9dee8; --back: #fbfbfd; --card: #fff; --accent: #1f5fbf; --tag: #e8eef8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #a3acbf; --line: #333b4d; --back: #161a23; --card: #1d2330; --accent: #8db8ff; --tag: #29344a } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 64rem; padding: 1.5rem 1rem 4rem; background: var(--back); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif }
a { color: var(--accent) } a:focus-visible, input:focus-visible, select:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.soft { color: var(--soft) } .tags { display: flex; flex-wrap: wrap; gap: .3rem; padding: 0; margin: .4rem 0 0; list-style: none }
.tags li { background: var(--tag); border-radius: 1rem; padding: 0 .6rem; font-size: .85rem }
"""


def language(code: str) -> str:
    return LANGUAGES.get(code, code)


def relative(id: str) -> str:
    """`documents/faq/kernel.de.pdf` → `faq/kernel.de.pdf`: the id without its source."""
    return id.split("/", 1)[-1]


def lang_attribute(code: str) -> str:
    return "" if code == "und" else f' lang="{escape(code)}"'


def tags(words: list[str]) -> str:
    return "".join(f"<li>{escape(word)}</li>" for word in words)


def html_page(title: str, body: str, style: str = "") -> str:
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
            f"<style>{STYLE}{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n")


__all__ = ["escape", "html_page", "lang_attribute", "language", "quote", "relative", "tags"]
