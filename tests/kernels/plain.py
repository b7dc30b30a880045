"""What kernels should give, in plain Python: one loop after another, over characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from curate import kernels

BREAKS: dict[str, Callable[[str], list[str]]] = {
    "any": str.splitlines,
    "feed": lambda text: text.split("\n"),
    "runs": lambda text: re.split("\n+", text),
    "blank": lambda text: re.split("\n{2,}", text.strip()),
}


def decode(content: bytes) -> str:
    """Return text in which every byte that belongs to no code point is one U+FFFD; an encoded surrogate is a code point."""
    return "".join(char for char, _ in _decoded(content))


def widths(content: bytes) -> list[int]:
    """Return the bytes of every character of `decode`."""
    return [width for _, width in _decoded(content)]


def _decoded(content: bytes) -> list[tuple[str, int]]:
    found, place = [], 0
    while place < len(content):
        char, width = "\ufffd", 1
        for size in (1, 2, 3, 4):
            try:
                char = content[place : place + size].decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                continue
            width = len(content[place : place + size])
            break
        found.append((char, width))
        place += width
    return found


def spans(texts: kernels.Texts, first: np.ndarray, start: np.ndarray, end: np.ndarray) -> list[list[str]]:
    """Return the spans of every text as strings."""
    found = []
    for text in range(len(texts)):
        low, high = int(texts.offsets[text]), int(texts.offsets[text + 1])
        inside = [(int(start[k]), int(end[k])) for k in range(first[text], first[text + 1])]
        assert all(low <= a <= b <= high for a, b in inside), "a span outside its text"
        found.append([decode(bytes(texts.data[a:b])) for a, b in inside])
    return found


def repeated_lines(lines: Sequence[str], counting: str, skip_empty: bool) -> tuple[int, int, int]:
    """Return the lines, those that repeat another, and their characters."""
    lines = [line for line in lines if line.strip()] if skip_empty else lines
    met: Counter[str] = Counter()
    repeats = []
    for line in lines:
        if met[line] == 1 and counting == "all":
            repeats.append(line)
        if met[line]:
            repeats.append(line)
        met[line] += 1
    return len(lines), len(repeats), sum(map(len, repeats))


def top_gram(words: Sequence[str], n: int) -> int:
    """Return the characters of the most frequent n-gram, the first among equals, times its count."""
    grams = [" ".join(words[k : k + n]) for k in range(len(words) - n + 1)]
    gram, count = Counter(grams).most_common(1)[0] if grams else ("", 0)
    return len(gram) * count


def repeated_gram(words: Sequence[str], n: int, counting: str) -> int:
    """Return the characters of words in repeated n-grams."""
    grams = [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]
    if counting == "all":
        count = Counter(grams)
        covered = {place + k for place, gram in enumerate(grams) if count[gram] > 1 for k in range(n)}
        return sum(len(words[place]) for place in covered)
    seen, found, place = set(), 0, 0
    while place < len(grams):
        if grams[place] in seen:
            found += sum(map(len, grams[place]))
            place += n
        else:
            seen.add(grams[place])
            place += 1
    return found
