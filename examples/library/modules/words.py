"""How often each word occurs, without the small words of the document's language."""
from __future__ import annotations

from collections import Counter

import textlib
from pipelinefile import Doc, module


def load(stopwords: Doc) -> dict[str, frozenset[str]]:
    return textlib.stopword_lists(stopwords)


@module(setup=load)
def words(doc: Doc, lists: dict[str, frozenset[str]], *, limit: int = 400):
    small = lists.get(doc.meta["lang"], frozenset())        # the Pipelinefile says `sees = ["meta.lang"]`
    counts = Counter(word for word in textlib.words(doc.text()) if 1 < len(word) <= 40 and word not in small)
    # The most frequent ones; where counts are equal, the alphabet decides, so that the result is always the same.
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
