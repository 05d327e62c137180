"""As little as a module can do."""
from pipelinefile import module


@module
def step(doc, *, add: int):
    return f"{doc.text()} {add}"
