"""How many characters of each kind a text has."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import decode, kernel
from curate.kernels.text_view import Int64s, Texts


@dataclass(frozen=True)
class Characters:
    """Counts per text, each of shape (texts,); a control character or a mark counts only among `all`."""

    all: Int64s
    letters: Int64s
    digits: Int64s
    upper: Int64s
    spaces: Int64s
    punctuation: Int64s
    symbols: Int64s

    def select(self, kept: NDArray[np.bool_], before: Texts, after: Texts) -> Characters:
        """Return the counts of the rows that are kept."""
        return Characters(*(getattr(self, field.name)[kept] for field in fields(self)))


def characters(texts: Texts) -> Characters:
    """Return the counts for every text."""
    return texts.remember("characters", lambda texts: Characters(*_characters(texts.data, texts.offsets, unicode.classes()).T.copy()))


def lengths(texts: Texts) -> Int64s:
    """Return the characters of every text; faster than `characters`."""
    if not texts.is_utf8:
        return characters(texts).all
    column = pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(texts.offsets), pa.py_buffer(texts.data))
    return pc.utf8_length(column).to_numpy(zero_copy_only=False)


def occurrences(texts: Texts, needle: str) -> Int64s:
    """Return how often a string occurs in every text, as `str.count`: without overlap."""
    if not needle:
        raise ValueError("an empty string occurs everywhere")
    wanted = np.frombuffer(needle.encode(), np.uint8)
    begin, end = int(texts.offsets[0]), int(texts.offsets[-1])
    places = np.flatnonzero(texts.data[begin:end] == wanted[0]) + begin  # a vectorised search for the first byte leaves little to do
    return _occurrences(texts.data, texts.offsets, wanted, places)


@kernel
def _characters(data: Any, offsets: Any, classes: Any) -> Any:
    found = np.zeros((len(offsets) - 1, 7), np.int64)
    for text in range(len(offsets) - 1):
        place, stop = offsets[text], offsets[text + 1]
        chars, letters, digits, upper, spaces, punctuation, symbols = 0, 0, 0, 0, 0, 0, 0
        while place < stop:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            what = np.int64(classes[code])
            chars += 1
            letters += what >> 2 & 1
            digits += what >> 3 & 1
            upper += what >> 5 & 1
            spaces += what & 1
            punctuation += what >> 7 & 1
            symbols += what >> 8 & 1
            place += width
        found[text, 0], found[text, 1], found[text, 2], found[text, 3] = chars, letters, digits, upper
        found[text, 4], found[text, 5], found[text, 6] = spaces, punctuation, symbols
    return found


@kernel
def _occurrences(data: Any, offsets: Any, needle: Any, places: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.int64)
    text, free, size = 0, 0, len(needle)
    for place in places:
        while place >= offsets[text + 1]:
            text += 1
        if place < free or place + size > offsets[text + 1]:
            continue
        k = 1
        while k < size and data[place + k] == needle[k]:
            k += 1
        if k == size:
            found[text] += 1
            free = place + size
    return found
