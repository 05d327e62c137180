"""tokens.py IN OUT: how often each word occurs. The benchmark edits MINLEN to have its code changed."""
import json
import sys

MINLEN = 1


def work(text):
    counts = {}
    for word in text.split():
        if len(word) >= MINLEN:
            counts[word] = counts.get(word, 0) + 1
    return counts


if __name__ == "__main__":
    with open(sys.argv[1]) as read, open(sys.argv[2], "w") as write:
        json.dump(work(read.read()), write)
