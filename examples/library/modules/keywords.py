"""Keywords by TF-IDF: a word counts the more, the oftener it stands here and the fewer documents have it."""
from __future__ import annotations

import math
from collections import Counter

from pipelinefile import Doc, module


@module
def model(docs):
    """One result over all documents: how rare each word is. Documents are read one by one, never all at once."""
    seen, total = Counter(), 0
    for doc in docs:
        seen.update(doc.json().keys())
        total += 1
    # Words of a single document need no entry: they have the weight `rarest`.
    return {"documents": total, "rarest": weight(1, total), "weight": {w: weight(n, total) for w, n in seen.items() if n > 1}}


def weight(documents_with_it: int, total: int) -> float:
    return round(math.log((1 + total) / (1 + documents_with_it)) + 1, 3)


def load(model: Doc) -> dict:
    """Runs once in each worker, so that the model is not read again for every document."""
    return model.json()


@module(setup=load)
def keywords(doc: Doc, model: dict, *, top: int = 10):
    rarest, weights = model["rarest"], model["weight"]
    scores = {word: count * weights.get(word, rarest) for word, count in doc.json().items()}
    best = sorted(scores, key=lambda word: (-scores[word], word))[:top]
    # Without the scores: these change a little with every new document, the ten words seldom do. Where they come
    # out the same, nothing behind this target is done again.
    return {"keywords": best}
