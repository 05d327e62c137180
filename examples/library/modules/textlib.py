"""What several modules of this example need: bytes to text, text to words.

This file holds no module of its own. `pipe` finds it because text.py, lang.py and words.py import it:
edit it, and exactly the targets that use it are done again.
"""
from __future__ import annotations

import re

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
# Chinese and Japanese write no spaces between words. There, pairs of Chinese characters and runs of katakana
# serve as words; hiragana is mostly grammar.
CJK = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
KANA = re.compile(r"[\u3040-\u30ff]")
CJK_WORD = re.compile(r"[\u30a0-\u30ff]{2,}|[\u3400-\u4dbf\u4e00-\u9fff]{2,}")
LIGATURES = str.maketrans({"\ufb00": "ff", "\ufb01": "fi", "\ufb02": "fl", "\ufb03": "ffi", "\ufb04": "ffl", "\u00a0": " ", "\u00ad": None})


def decode(data: bytes) -> tuple[str, str]:
    """The text of a file and the encoding it had: UTF-8, UTF-16 with a mark, else Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), "utf-16"
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("windows-1252", "replace"), "latin-1"


def is_binary(data: bytes) -> bool:
    """A guess from the first bytes: text holds no zero bytes (unless it is marked as UTF-16)."""
    return b"\0" in data[:8192] and not data.startswith((b"\xff\xfe", b"\xfe\xff"))


def words(text: str) -> list[str]:
    """The words of a text, in lower case and in order."""
    found = []
    for word in WORD.findall(text.lower()):
        if not CJK.search(word):
            found.append(word)
            continue
        for run in CJK_WORD.findall(word):
            found.extend([run] if KANA.match(run) else [run[i:i + 2] for i in range(len(run) - 1)])
    return found


def tidy(text: str) -> str:
    """One newline convention, no trailing spaces, at most one empty line at a time."""
    text = text.translate(LIGATURES)
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n\n").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def squeeze(text: str) -> str:
    """All on one line, single spaces: for titles."""
    return " ".join(text.split())


def stopword_lists(doc) -> dict[str, frozenset[str]]:
    """stopwords.json: for each language its small words."""
    return {code: frozenset(small) for code, small in doc.json().items()}
