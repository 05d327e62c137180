"""Gives back what it gets."""
from pipelinefile import module


@module
def echo(doc):
    return doc.text()
