"""Counts of several documents, or of several such sums, in one."""
from pipelinefile import module

DOCUMENTS = " documents"        # no word has a blank


@module
def add(docs):
    total = {DOCUMENTS: 0}
    for doc in docs:
        counts = doc.json()
        total[DOCUMENTS] += counts.pop(DOCUMENTS, 1)
        for word, count in counts.items():
            total[word] = total.get(word, 0) + count
    return total
