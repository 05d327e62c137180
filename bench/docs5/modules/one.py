"""A small result of its own for each document."""
from pipelinefile import module


@module
def one(doc):
    return doc.text()[:40]
