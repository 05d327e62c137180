"""script.py DOCS OUT: docs3 as one writes it by hand: two processes, every output a file, nothing remembered."""
import json
import os
import sys
from multiprocessing import Pool

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "units"))
import collect  # noqa: E402
import keywords  # noqa: E402
import normalize  # noqa: E402
import tokens  # noqa: E402

CHUNK = 200
DOCS, OUT = sys.argv[1:3]


def documents():
    for folder, folders, files in os.walk(DOCS):
        folders.sort()
        for name in sorted(files):
            yield os.path.relpath(os.path.join(folder, name), DOCS)


def write(kind, path, text):
    full = f"{OUT}/{kind}/{path}"
    try:
        file = open(full, "w")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(full), exist_ok=True)
        file = open(full, "w")
    with file:
        file.write(text)


def chunk(paths):
    total = {}
    for path in paths:
        with open(f"{DOCS}/{path}") as file:
            text = normalize.work(file.read())
        write("normalize", path, text)
        counts = tokens.work(text)
        write("tokens", path + ".json", json.dumps(counts))
        write("keywords", path + ".json", json.dumps(keywords.work(counts)))
        collect.add(total, counts)
    return total


if __name__ == "__main__":
    paths = list(documents())
    total = {}
    with Pool(2) as pool:
        for part in pool.imap_unordered(chunk, [paths[at:at + CHUNK] for at in range(0, len(paths), CHUNK)]):
            collect.add(total, part)
    with open(f"{OUT}/collect.json", "w") as file:
        json.dump(collect.result(len(paths), total), file)
