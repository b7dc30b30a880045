"""Pieces of texts as tokenizers of the GPT kind split them before they merge bytes: every byte is in exactly one piece.

Two styles, each the same as a regular expression of alternatives from left to right (`curate_scorers/proxy/tokenizer_patterns.py`):

    words    English endings behind an apostrophe; then letters, numbers, or signs, each with the space before it; white space, whose
             last character goes with what follows
    marked   endings in any case; letters with one character before them that is no letter, number or line break; numbers, at most so
             many digits; signs with the space before them and line breaks behind them; white space up to its last line break

What is a letter is what the tokenizer says: `unseen` finds the characters that a table does not know yet.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import borrowed, decode, inlined, kernel
from curate.kernels.text_view import Int64s, Texts

SIGN, LETTER, NUMBER, SPACE, BREAK, UNSEEN = 0, 1, 2, 3, 4, 255  # a break is white space, too
CODES = 0x110000
Classes = NDArray[np.uint8]
Style = Literal["words", "marked"]

_APOSTROPHE, _BLANK, _LONG_S = 0x27, 0x20, (0xC5, 0xBF)
_ONE = np.array([letter in b"sdmt" for letter in range(256)])
_TWO = np.zeros((256, 256), np.bool_)
for _pair in (b"ll", b"re", b"ve"):
    _TWO[_pair[0], _pair[1]] = True


def unseen(texts: Texts, classes: Classes) -> NDArray[np.int32]:
    """Return the characters that a table of `CODES` classes says nothing of, each once."""
    data = texts.data[texts.offsets[0] : texts.offsets[-1]]
    return _unseen(data, classes.copy()) if len(data) else np.zeros(0, np.int32)


def pieces(texts: Texts, classes: Classes, style: Style, digits: int) -> tuple[Int64s, Int64s]:
    """Return where the pieces of each text begin among all, and where each ends in the data; `digits` is for `marked`, 0 = any number.

    Pieces lie one behind the other: each begins where the one before it ends, the first where its text begins.
    """
    return _pieces(texts.data, texts.offsets, classes, style == "marked", digits or CODES, _ONE, _TWO)


@kernel
def _unseen(data: Any, classes: Any) -> Any:
    found, count, place = np.empty(len(classes), np.int32), 0, 0
    while place < len(data):
        if data[place] < 0x80 and classes[data[place]] != UNSEEN:
            place += 1
            continue
        code, width = decode(data, place, len(data))
        if classes[code] == UNSEEN:
            classes[code] = SIGN
            found[count] = code
            count += 1
        place += width
    return found[:count].copy()


@inlined
def _class(view: Any, classes: Any, place: int, stop: int) -> Any:
    """Return the class of the character at `place` and its bytes; behind the end is white space."""
    if place >= stop:
        return np.int64(SPACE), 0
    code, width = np.int64(view[place]), 1
    if code >= 0x80:
        code, width = decode(view, place, stop)
    return np.int64(classes[code]), width


@kernel
def _ending(view: Any, place: int, stop: int, marked: bool, one: Any, two: Any) -> Any:
    """Return the bytes of an English ending that begins with the apostrophe at `place`, 0 for none."""
    if place + 1 >= stop:
        return 0
    first = np.int64(view[place + 1])
    second = np.int64(view[place + 2]) if place + 2 < stop else np.int64(0)
    if marked and first == _LONG_S[0] and second == _LONG_S[1]:
        return 3
    if marked:  # capitals
        first += 32 if 65 <= first <= 90 else 0
        second += 32 if 65 <= second <= 90 else 0
    return 2 if one[first] else 3 if two[first, second] else 0


@inlined
def _goes_along(kind: int, blank: bool, after: int, marked: bool) -> Any:
    """Say whether a character that is no number is the first of a piece of what comes after it."""
    if after == LETTER:
        return kind != LETTER and (kind < BREAK if marked else blank)
    return blank and (after == SIGN or (after == NUMBER and not marked))


@kernel
def _pieces(data: Any, offsets: Any, classes: Any, marked: bool, digits: int, one: Any, two: Any) -> tuple[Any, Any]:
    view, table = borrowed(data), borrowed(classes)
    first = np.zeros(len(offsets), np.int64)
    ends = np.empty(offsets[-1] - offsets[0], np.int64)
    count = 0
    for text in range(len(offsets) - 1):
        place, stop = offsets[text], offsets[text + 1]
        while place < stop:
            if view[place] == _APOSTROPHE:
                size = _ending(view, place, stop, marked, one, two)
                if size:
                    place += size
                    ends[count] = place
                    count += 1
                    continue
            kind, width = _class(view, table, place, stop)
            after, wide = _class(view, table, place + width, stop)
            blank = view[place] == _BLANK
            most = np.int64(CODES)
            if kind == NUMBER:
                most = digits if marked else most
            elif _goes_along(kind, blank, after, marked):
                place, kind, width = place + width, after, wide
            if kind < SPACE:
                run = kind
                while kind == run and most > 0:
                    place += width
                    most -= 1
                    kind, width = _class(view, table, place, stop)
                if marked and run == SIGN:
                    while kind == BREAK:
                        place += width
                        kind, width = _class(view, table, place, stop)
            else:
                begun, last, breaks = place, place, place
                while place < stop and kind >= SPACE:
                    last = place
                    place += width
                    if kind == BREAK:
                        breaks = place
                    kind, width = _class(view, table, place, stop)
                if marked and breaks > begun:
                    place = breaks
                elif place < stop and last > begun:
                    place = last
            ends[count] = place
            count += 1
        first[text + 1] = count
    return first, ends[:count].copy()
