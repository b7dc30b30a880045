"""Spans in a normal form, for comparing them: without case, with single blanks, without what digits say, without punctuation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

Ignored = Literal["case", "spaces", "digits", "punctuation"]
_BITS: dict[str, int] = {"case": 1, "spaces": 2, "digits": 4, "punctuation": 8}
CASE, SPACES, DIGITS, PUNCTUATION = 1, 2, 4, 8
SPACE, DIGIT, SIGN = unicode.SPACE, unicode.DIGIT, unicode.PUNCTUATION | unicode.CONTROL
BLANK, ZERO = 32, 48


@dataclass(frozen=True)
class NormalForms:
    """Of each span's normal form: a 64-bit hash, its characters, and its runs of characters between white space.

    `before` is the characters of the span as it stands.
    """

    hashes: NDArray[np.uint64]
    chars: NDArray[np.int32]
    words: NDArray[np.int32]
    before: NDArray[np.int32]


def normal_forms(texts: Texts, start: Int64s, end: Int64s, ignored: Collection[Ignored] = ("case", "spaces")) -> NormalForms:
    """Describe spans as they are once differences that are `ignored` are gone.

    `case`: lower case; `spaces`: no white space at the ends, runs of it are one blank; `digits`: a run of digits is one zero;
    `punctuation`: no punctuation and no control characters.
    """
    bits = sum(_BITS[what] for what in set(ignored))
    return NormalForms(*_described(texts.data, start, end, unicode.classes(), unicode.lower(), bits))


@kernel
def _described(data: Any, start: Any, end: Any, classes: Any, lower: Any, ignored: int) -> tuple[Any, Any, Any, Any]:
    count = len(start)
    hashes, chars = np.empty(count, np.uint64), np.empty(count, np.int32)
    words, before = np.empty(count, np.int32), np.empty(count, np.int32)
    for span in range(count):
        place, stop = start[span], end[span]
        value, size, runs, read = HASH_START, 0, 0, 0
        gap, digits, inside = False, False, False
        while place < stop:
            code, width = np.int64(data[place]), 1
            if code >= 0x80:
                code, width = decode(data, place, stop)
            place += width
            read += 1
            bits = classes[code]
            if bits & SPACE:
                inside = False
                if ignored & SPACES:
                    gap = size > 0
                    continue
            elif ignored & PUNCTUATION and bits & SIGN:
                continue
            else:
                runs += not inside
                inside = True
            if ignored & DIGITS and bits & DIGIT:
                if digits and not gap:
                    continue
                code, digits = ZERO, True
            else:
                digits = False
            if gap:
                value = (value ^ np.uint64(BLANK)) * HASH_STEP
                value ^= value >> np.uint64(32)
                size += 1
                gap = False
            if ignored & CASE:
                code = np.int64(lower[code])
            value = (value ^ np.uint64(code)) * HASH_STEP
            value ^= value >> np.uint64(32)
            size += 1
        hashes[span], chars[span], words[span], before[span] = mix(value ^ np.uint64(size)), size, runs, read
    return hashes, chars, words, before
