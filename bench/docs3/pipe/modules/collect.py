"""The sum of all counts."""
from pipelinefile import module


@module
def collect(docs):
    total = {}
    number = 0
    for doc in docs:
        for word, count in doc.json().items():
            total[word] = total.get(word, 0) + count
        number += 1
    return {"docs": number, "words": sum(total.values()), "distinct": len(total)}
