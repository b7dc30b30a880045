"""Runs of characters without white space, and their hashes: words that any reader sees, whatever the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, borrowed, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

KHMER_STACK, BURMESE_STACK = 0x17D2, 0x1039  # signs that put the next letter under the one before


@dataclass(frozen=True)
class Runs:
    """Spans (byte offsets into the texts' data) and 64-bit hashes; those of text `i` are `first[i]:first[i + 1]`."""

    first: Int64s
    start: Int64s
    end: Int64s
    hashes: NDArray[np.uint64]


def runs(texts: Texts) -> Runs:
    """Return what stands between white space; letters of scripts without spaces stand alone, with the marks that follow them."""
    return Runs(*_runs(texts.data, texts.offsets, unicode.classes(), _most(texts)))


def _most(texts: Texts) -> int:
    """Return how many runs there may be: one for each white space of ASCII, two for each character beyond ASCII, one for each text."""
    data = texts.data[texts.offsets[0] : texts.offsets[-1]]
    return len(texts) + int(np.count_nonzero(data <= 0x20)) + 2 * int(np.count_nonzero(data >= 0xC0))


@kernel
def _runs(data: Any, offsets: Any, classes: Any, room: int) -> tuple[Any, Any, Any, Any]:
    texts = len(offsets) - 1
    view, bits_of = borrowed(data), borrowed(classes)
    first = np.zeros(texts + 1, np.int64)
    start, end, hashes = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.uint64)
    count = 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        while place < stop:
            code, width = np.int64(view[place]), 1
            if code >= 0x80:
                code, width = decode(view, place, stop)
            bits, begun, value = bits_of[code], place, (HASH_START ^ np.uint64(code)) * HASH_STEP
            place += width
            if bits & unicode.SPACE:
                continue
            if bits & unicode.ALONE:
                stacked = False
                while place < stop:
                    code, width = decode(view, place, stop)
                    if not bits_of[code] & unicode.MARK and not (stacked and bits_of[code] & unicode.LETTER):
                        break
                    value = (value ^ np.uint64(code)) * HASH_STEP
                    stacked = code == KHMER_STACK or code == BURMESE_STACK
                    place += width
            else:
                while place < stop:  # this loop is most of the work: no calls and no arrays in it
                    code, width = np.int64(view[place]), 1
                    if code >= 0x80:
                        code, width = decode(view, place, stop)
                    if bits_of[code] & (unicode.SPACE | unicode.ALONE):
                        break
                    value = (value ^ np.uint64(code)) * HASH_STEP
                    place += width
            start[count], end[count], hashes[count] = begun, place, mix(value)
            count += 1
        first[text + 1] = count
    return first, start[:count].copy(), end[:count].copy(), hashes[:count].copy()
