"""The meaning of a passage as 384 numbers: one call of the model for 32 passages."""
from pipelinefile import Doc, module

from minilm import Model


@module(batch=32, setup=Model)
def vectors(docs: "list[Doc]", model):
    # Four digits are enough to search by, and the same on every machine.
    return [[round(float(n), 4) for n in vector] for vector in model.encode(doc.text() for doc in docs)]
