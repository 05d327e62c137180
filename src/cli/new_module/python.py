"""Keeps the lines of a text that are long enough: say here what yours does."""

from pipelinefile import Doc, module


@module
def NAME(doc: Doc, *, min_len: int = 3):
    """Keeps the lines that have at least so many characters."""
    kept = [line for line in doc.text().splitlines() if len(line) >= min_len]
    print("kept", len(kept), "lines")             # goes to this document's log
    return "".join(line + "\n" for line in kept)  # text, bytes, JSON or a Path; `raise Skip("why")` leaves it out


if __name__ == "__main__":
    NAME.main()
