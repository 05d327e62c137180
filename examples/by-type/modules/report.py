"""How many words each document has."""
from pipelinefile import module


@module
def report(docs) -> str:
    rows = [(int(doc.text()), doc.id) for doc in docs]
    lines = [f"{words:>6}  {name}" for words, name in rows]
    return "\n".join([*lines, f"{sum(words for words, _ in rows):>6}  words"]) + "\n"
