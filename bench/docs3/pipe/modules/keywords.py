"""Module 3: the ten most frequent words."""
from pipelinefile import module


@module
def keywords(doc):
    counts = doc.json()
    return sorted(counts, key=lambda word: (-counts[word], word))[:10]
