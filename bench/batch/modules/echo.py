"""Gives back what it gets, 64 documents in a call."""
from pipelinefile import module


@module(batch=64)
def echo(docs):
    return [doc.text() for doc in docs]
