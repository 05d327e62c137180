"""What there is: title, number of words, id."""
from pipelinefile import module


@module
def contents(docs) -> str:
    lines = (f"{len(doc.text().split()):>6}  {doc.meta.get('title', '-')}  ({doc.id})" for doc in docs)
    return "\n".join(lines) + "\n"
