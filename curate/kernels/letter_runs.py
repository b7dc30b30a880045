"""Texts in which a run of letters and numbers has become other letters: how near-duplicates of a known similarity are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

SPELT = unicode.LETTER | unicode.NUMBER
BIT, FIRST = np.uint64(32), np.uint8(ord("a"))


def letter_counts(texts: Texts) -> Int64s:
    """Return how many letters and numbers every text has."""
    found: Int64s = _letter_counts(texts.data, texts.offsets, unicode.classes())
    return found


def respelt(texts: Texts, rows: Int64s, begin: Int64s, count: Int64s, seeds: Int64s) -> pa.LargeStringArray:
    """Return the texts `rows[i]` in which the letters and numbers `begin[i]:begin[i] + count[i]` are drawn from a to z by `seeds[i]`."""
    offsets, data = _respelt(texts.data, texts.offsets, unicode.classes(), rows, begin, begin + count, seeds)
    return pa.LargeStringArray.from_buffers(len(rows), pa.py_buffer(offsets), pa.py_buffer(data))


@kernel
def _letter_counts(data: Any, offsets: Any, classes: Any) -> Any:
    found = np.zeros(len(offsets) - 1, np.int64)
    for text in range(len(offsets) - 1):
        place, stop, letters = offsets[text], offsets[text + 1], 0
        while place < stop:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            letters += classes[code] & SPELT != 0
            place += width
        found[text] = letters
    return found


@kernel
def _respelt(data: Any, offsets: Any, classes: Any, rows: Any, begin: Any, end: Any, seeds: Any) -> tuple[Any, Any]:
    room = 0
    for row in rows:
        room += offsets[row + 1] - offsets[row]
    ends, out, made = np.zeros(len(rows) + 1, np.int64), np.empty(room, np.uint8), 0
    for k in range(len(rows)):
        place, stop, letter = offsets[rows[k]], offsets[rows[k] + 1], 0
        while place < stop and letter < end[k]:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            spelt = classes[code] & SPELT != 0
            if spelt and letter >= begin[k]:
                drawn = mix((np.uint64(seeds[k]) << BIT | np.uint64(letter)) * HASH_STEP + HASH_START)
                out[made] = FIRST + np.uint8(drawn % np.uint64(26))
                made += 1
            else:
                for one in range(place, place + width):
                    out[made] = data[one]
                    made += 1
            letter += spelt
            place += width
        rest = max(stop - place, 0)
        out[made : made + rest] = data[place:stop]
        made += rest
        ends[k + 1] = made
    return ends, out[:made]
