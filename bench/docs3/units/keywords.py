"""keywords.py IN OUT: the ten most frequent words."""
import json
import sys


def work(counts):
    return sorted(counts, key=lambda word: (-counts[word], word))[:10]


if __name__ == "__main__":
    with open(sys.argv[1]) as read, open(sys.argv[2], "w") as write:
        json.dump(work(json.load(read)), write)
