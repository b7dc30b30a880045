"""Texts without some of their spans, and what white space is left where one was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from curate.kernels import unicode
from curate.kernels.compiled import decode, kernel
from curate.kernels.text_view import Int64s, Texts

WORDLY = unicode.LETTER | unicode.NUMBER | unicode.MARK


def without_spans(texts: Texts, first: Int64s, start: Int64s, end: Int64s) -> pa.LargeStringArray:
    """Return every text without its spans, those of text `i` being `first[i]:first[i + 1]`, in order, as offsets into its bytes.

    Of the white space before and after a span, that with more line feeds stays (the former, if equal); at an end of the text, that
    at the end. Where neither is and two words would become one, a blank comes between them. Null stays null.
    """
    data, offsets = _without(texts.data, texts.offsets, unicode.classes(), first, start, end)
    null = None if texts.valid.all() else pa.array(texts.valid).buffers()[1]
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(data), null)


@kernel
def _without(data: Any, text_offsets: Any, classes: Any, first: Any, start: Any, end: Any) -> tuple[Any, Any]:
    texts = len(text_offsets) - 1
    out = np.empty(text_offsets[-1] - text_offsets[0] + len(start), np.uint8)
    offsets = np.zeros(texts + 1, np.int64)
    place = 0
    for text in range(texts):
        base, stop = text_offsets[text], text_offsets[text + 1]
        opened, copied = place, base
        for span in range(first[text], first[text + 1]):
            cut, after = max(base + max(start[span], 0), copied), min(base + max(end[span], 0), stop)
            while cut < after and data[cut] & 0xC0 == 0x80:  # never within a character
                cut += 1
            while cut < after < stop and data[after] & 0xC0 == 0x80:
                after -= 1
            if after <= cut:
                continue
            size = cut - copied
            out[place : place + size] = data[copied:cut]
            place += size
            copied = after
            before, feeds_before, letter_before = _blanks_before(out, opened, place, classes)
            behind, feeds_behind, letter_behind = _blanks_behind(data, after, stop, classes)
            if before == opened:
                copied = behind
            elif behind == stop or feeds_behind > feeds_before:
                place = before
            elif place > before:
                copied = behind
            elif behind == after and letter_before and letter_behind:
                out[place] = 0x20
                place += 1
        size = stop - copied
        out[place : place + size] = data[copied:stop]
        place += size
        offsets[text + 1] = place
    return out[:place].copy(), offsets


@kernel
def _blanks_before(data: Any, opened: int, place: int, classes: Any) -> tuple[int, int, bool]:
    """Return where the white space before a place begins, its line feeds, and whether a letter of a script with spaces is before it."""
    feeds = 0
    while place > opened:
        back = place - 1
        while back > opened and place - back < 4 and data[back] & 0xC0 == 0x80:
            back -= 1
        code, _ = decode(data, back, place)
        if not classes[code] & unicode.SPACE:
            return place, feeds, classes[code] & WORDLY != 0 and not classes[code] & unicode.ALONE
        feeds += code == 0x0A
        place = back
    return place, feeds, False


@kernel
def _blanks_behind(data: Any, place: int, stop: int, classes: Any) -> tuple[int, int, bool]:
    """Return where the white space after a place ends, its line feeds, and whether a letter of a script with spaces is there."""
    feeds = 0
    while place < stop:
        code, width = decode(data, place, stop)
        if not classes[code] & unicode.SPACE:
            return place, feeds, classes[code] & WORDLY != 0 and not classes[code] & unicode.ALONE
        feeds += code == 0x0A
        place += width
    return place, feeds, False
