"""All passages with their vectors, in one file."""
import base64

from pipelinefile import Doc, module


@module
def texts(docs):
    return {doc.id: doc.text() for doc in docs}


@module
def index(docs, *, texts: Doc):
    """Numbers as bytes from -127 to 127, in base64: a quarter of the room, and good enough to rank by."""
    known, ids, rows = texts.json(), [], []
    for doc in docs:
        ids.append(doc.id)
        rows.append(bytes(round(n * 127) & 255 for n in doc.json()))
    return {"ids": ids, "texts": [known[id] for id in ids], "vectors": base64.b64encode(b"".join(rows)).decode()}
