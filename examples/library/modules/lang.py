"""The language of a text: by its script, or by how many of its words are the small words of a language."""
from __future__ import annotations

from collections import Counter

from pipelinefile import Doc, Result, module
from textlib import CJK, KANA, stopword_lists, words

ENOUGH = 0.12           # of all words are small ones; running text has 0.3 and more, tables and lists next to none
DIFFERENT = 6           # at least so many different small words: a list may repeat one that happens to be `no`


def load(stopwords: Doc) -> dict[str, frozenset[str]]:
    """Runs once in each worker; its result is the second argument of the function."""
    return stopword_lists(stopwords)


@module(setup=load)
def lang(doc: Doc, lists: dict[str, frozenset[str]], *, sample: int = 20000):
    text = doc.text()[:sample]
    found, share = identify(text, lists)
    print(f"{found} ({share:.0%} of the sample speak for it)")
    return Result(meta={"lang": found})         # no value: the text passes on unchanged, only meta grows


def identify(text: str, lists: dict[str, frozenset[str]]) -> tuple[str, float]:
    """An ISO 639 code, or `und` (undetermined); and how sure that is, between 0 and 1."""
    letters = sum(c.isalpha() for c in text)
    cjk = sum(map(len, CJK.findall(text)))
    if letters and cjk > 0.2 * letters:
        return ("ja" if len(KANA.findall(text)) > 0.1 * cjk else "zh"), cjk / letters
    counts = Counter(words(text))
    total = sum(counts.values())
    hits = {code: sum(counts[word] for word in small) for code, small in lists.items()}
    best = max(sorted(hits), key=hits.__getitem__, default="und")
    share = hits[best] / total if total else 0.0
    if share < ENOUGH or sum(word in counts for word in lists[best]) < DIFFERENT:
        return "und", 1 - share
    return best, share
