"""collect.py LIST OUT: the sum of all counts; LIST names the files, one a line."""
import json
import sys


def add(total, counts):
    for word, count in counts.items():
        total[word] = total.get(word, 0) + count


def result(docs, total):
    return {"docs": docs, "words": sum(total.values()), "distinct": len(total)}


if __name__ == "__main__":
    sums, number = {}, 0
    with open(sys.argv[1]) as listed:
        for path in listed.read().split():
            with open(path) as one:
                add(sums, json.load(one))
            number += 1
    with open(sys.argv[2], "w") as write:
        json.dump(result(number, sums), write)
