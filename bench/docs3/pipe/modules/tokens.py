"""Module 2: how often each word occurs. The benchmark edits MINLEN to have its code changed."""
from pipelinefile import module

MINLEN = 1


@module
def tokens(doc):
    counts = {}
    for word in doc.text().split():
        if len(word) >= MINLEN:
            counts[word] = counts.get(word, 0) + 1
    return counts
