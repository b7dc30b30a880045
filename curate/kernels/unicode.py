"""What every code point is: tables for the kernels, made by `make_unicode.py` from the Unicode character database.

`classes()[code]` is a sum of the bits below; `lower()[code]` is the lower-case code point. Where Python has a notion of
its own (`str.isspace`, `str.isalpha`, `str.splitlines`), the bits follow it, as the published filters were written in Python.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CODE_POINTS = 0x110000

SPACE = 1 << 0  # str.isspace
LINE = 1 << 1  # where str.splitlines splits
LETTER = 1 << 2  # L*, str.isalpha
DIGIT = 1 << 3  # Nd
NUMBER = 1 << 4  # N*
UPPER = 1 << 5  # Lu, Lt
LOWER = 1 << 6  # Ll
PUNCTUATION = 1 << 7  # P*
SYMBOL = 1 << 8  # S*
MARK = 1 << 9  # M*
CONTROL = 1 << 10  # C*
SENTENCE_END = 1 << 11  # Sentence_Terminal of UAX #29
ALONE = 1 << 12  # a letter that is a word by itself: scripts written without spaces
EDGE = 1 << 13  # punctuation that is split off at either end of a word
DASH = 1 << 14  # Pd and the tilde
CURRENCY = 1 << 15  # Sc
ICON = 1 << 16  # So


@cache
def _tables() -> dict[str, NDArray[np.generic]]:
    with np.load(Path(__file__).with_name("unicode.npz")) as file:
        classes = file["class_blocks"][file["class_index"]].reshape(-1)
        lower = (file["lower_blocks"][file["lower_index"]].reshape(-1) + np.arange(CODE_POINTS)).astype(np.int32)
        return {"classes": np.ascontiguousarray(classes, np.uint32), "lower": lower}


def classes() -> NDArray[np.uint32]:
    """Return the bits of every code point, shape (1114112,)."""
    return _tables()["classes"]  # type: ignore[return-value]


def lower() -> NDArray[np.int32]:
    """Return the lower case of every code point (those that have one of several code points stay), shape (1114112,)."""
    return _tables()["lower"]  # type: ignore[return-value]
