#!/usr/bin/env python3
"""How long a change takes under `pipe watch`: from closing the file to its published result.

    python3 bench/watch.py target/release/pipe 100000 [ROUNDS] [FOLDER]

Makes N documents of 2 KiB in folders of 1,000, three trivial Python modules a document, waits until `pipe watch` waits,
then changes one document after the other and looks at the published file every half millisecond.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time

PIPELINEFILE = """
[source.docs]
path = "docs"
[target.norm]
each = "docs"
module = "m:norm"
[target.words]
each = "norm"
module = "m:words"
[target.top]
each = "words"
module = "m:top"
publish = true
"""

MODULES = '''
from pipelinefile import module

@module
def norm(doc):
    return doc.text().lower()

@module
def words(doc):
    return {"n": len(doc.text().split())}

@module
def top(doc):
    return "n=%d\\n" % doc.json()["n"]
'''


def place(number):
    return f"docs/{number // 1000:04d}/d{number:07d}.txt"


def make(count):
    some = random.Random(1)
    words = ["alpha", "beta", "gamma", "delta", "rho"]
    for number in range(count):
        os.makedirs(os.path.dirname(place(number)), exist_ok=True)
        with open(place(number), "w") as file:
            file.write(f"{number} " + " ".join(some.choice(words) for _ in range(350)))
    os.makedirs("modules", exist_ok=True)
    for name, text in [("Pipelinefile", PIPELINEFILE), ("modules/m.py", MODULES)]:
        with open(name, "w") as file:
            file.write(text)


def change(number, words):
    with open(place(number), "w") as file:
        file.write("x " * words)
    begin = time.perf_counter()
    while time.perf_counter() - begin < 60:
        try:
            with open(f"out/top/{place(number)}.txt") as file:
                if file.read() == f"n={words}\n":
                    return (time.perf_counter() - begin) * 1000
        except FileNotFoundError:
            pass
        time.sleep(0.0005)
    sys.exit(f"no result of {place(number)} in a minute")


def main():
    pipe, count = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    os.chdir(sys.argv[4] if len(sys.argv) > 4 else tempfile.mkdtemp())
    make(count)
    begin = time.perf_counter()
    watch = subprocess.Popen([pipe, "watch"], stderr=subprocess.PIPE, text=True)
    for line in watch.stderr:
        if "Watching" in line:
            break
    print(f"{count} documents, first build {time.perf_counter() - begin:.1f} s, load {os.getloadavg()[0]:.1f}")
    # What it says is read, so that it never waits for room.
    said = subprocess.Popen(["cat"], stdin=watch.stderr, stdout=subprocess.DEVNULL)
    some = random.Random(int(begin * 1000))
    times = []
    for round in range(rounds):
        times.append(change(some.randrange(count), 1000 + round))
        time.sleep(0.2)
    times.sort()
    shown = ", ".join(f"{name} {value:.1f}" for name, value in [
        ("fastest", times[0]), ("median", statistics.median(times)),
        ("nine of ten", times[int(0.9 * len(times))]), ("slowest", times[-1])])
    print(f"from closing the file to its published result, ms: {shown}")
    watch.send_signal(signal.SIGINT)
    watch.wait()
    said.wait()


main()
