"""The documents of docs3: N texts of 2 KiB, 100 a folder, the same for everybody who makes them (fixed seed)."""
import itertools
import os
import random
from pathlib import Path

SEED = 20261123
SIZE = 2048


def path_of(number: int) -> str:
    return f"{number // 10_000:03d}/{number // 100 % 100:02d}/doc{number:07d}.txt"


def make(folder: Path, count: int, size: int = SIZE) -> None:
    """Writes them, once: a folder that is there already is taken as it is."""
    if folder.exists():
        return
    draw = random.Random(SEED)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(1, 10))) for _ in range(5000)]
    # Word frequencies as in real text: the n-th word 1/n as often as the first.
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    unfinished = folder.with_suffix(".unfinished")
    for number in range(count):
        path = unfinished / path_of(number)
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        text = _text(random.Random(SEED + 1 + number), words, weights, size)
        path.write_text(text)
    unfinished.rename(folder)


def _text(draw: random.Random, words: list, weights: list, size: int) -> str:
    lines, line, length = [], [], 0
    for at, word in enumerate(draw.choices(words, cum_weights=weights, k=size // 3)):
        line.append(word.capitalize() if at % 11 == 0 else word)
        length += len(word) + 1
        if at % 17 == 16 or length >= size:
            lines.append(" ".join(line))
            line = []
        if length >= size:
            break
    return "\n".join(lines) + "\n"


def change(folder: Path, count: int, changed: int, seed: int) -> None:
    """Appends a word to some documents, always the same ones for a seed. New file and rename, as editors do."""
    for number in random.Random(seed).sample(range(count), changed):
        path = folder / path_of(number)
        text = path.read_text()
        new = path.with_name(path.name + ".new")
        new.write_text(f"{text}changed{seed}\n")
        os.rename(new, path)


def make_tiny(folder: Path, count: int, text: str) -> None:
    """Writes documents of one short line each, all different."""
    if folder.exists():
        return
    unfinished = folder.with_suffix(".unfinished")
    for number in range(count):
        path = unfinished / path_of(number)
        if number % 100 == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text} {number}")
    unfinished.rename(folder)
