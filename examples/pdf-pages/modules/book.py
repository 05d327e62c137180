"""Pages put together."""
import re
from collections import defaultdict

from pipelinefile import Doc, module


@module
def text(docs) -> str:
    return "\n".join(f"[{doc.id}]\n{doc.text()}" for doc in docs)


@module
def words(doc: Doc, *, min_len: int = 6):
    return sorted({word.lower() for word in re.findall(r"[^\W\d_]+", doc.text()) if len(word) >= min_len})


@module
def concordance(docs):
    places = defaultdict(list)
    for doc in docs:
        for word in doc.json():
            places[word].append(doc.id.partition("/")[2])
    return {word: ids for word, ids in places.items() if len(ids) <= 3}
