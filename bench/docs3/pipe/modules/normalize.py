"""Module 1: lower case, single spaces."""
from pipelinefile import module


@module
def normalize(doc):
    return " ".join(doc.text().lower().split())
