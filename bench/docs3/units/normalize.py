"""normalize.py IN OUT: lower case, single spaces."""
import sys


def work(text):
    return " ".join(text.lower().split())


if __name__ == "__main__":
    with open(sys.argv[1]) as read, open(sys.argv[2], "w") as write:
        write.write(work(read.read()))
