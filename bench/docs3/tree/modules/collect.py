"""What the sum comes to."""
from pipelinefile import module


@module
def collect(doc):
    total = doc.json()
    number = total.pop(" documents")
    return {"docs": number, "words": sum(total.values()), "distinct": len(total)}
