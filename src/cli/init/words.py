"""How often words occur, in each document and in all."""

import re
from collections import Counter

from pipelinefile import Doc, module


@module
def words(doc: Doc, *, min_len: int = 3):
    """One line a word: how often, and the word."""
    found = re.findall(r"\w+", doc.text().lower())
    counts = Counter(word for word in found if len(word) >= min_len)
    return "".join(f"{count} {word}\n" for word, count in sorted(counts.items()))


@module
def summary(docs):
    """The most frequent words of all documents."""
    total = Counter()
    for doc in docs:
        for line in doc.text().splitlines():
            count, word = line.split(" ", 1)
            total[word] += int(count)
    return {"documents": len(docs), "words": dict(total.most_common(10))}
