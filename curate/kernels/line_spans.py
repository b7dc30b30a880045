"""Lines and paragraphs: where they are, how long, a hash of each, and how they begin and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

Breaks = Literal["feed", "any", "runs", "blank"]
FEED, ANY, RUNS, BLANK = range(4)
_BREAKS = {"feed": FEED, "any": ANY, "runs": RUNS, "blank": BLANK}

BULLET = 1  # begins with • or -, after white space
ELLIPSIS = 2  # ends with … or ..., before white space
SENTENCE_END = 4  # its last character ends sentences
EMPTY = 8  # nothing but white space

SPACE, LINE, ENDS = unicode.SPACE, unicode.LINE, unicode.SENTENCE_END
NEWLINE, RETURN, DOT, DASH, DOTS, POINT = 10, 13, 46, 45, 0x2026, 0x2022


@dataclass(frozen=True)
class Lines:
    """Text `i` has the lines `first[i]:first[i + 1]`; `start` and `end` are bytes of `Texts.data`, without the break."""

    first: Int64s
    start: Int64s
    end: Int64s
    chars: NDArray[np.int32]
    kind: NDArray[np.uint8]
    hashes: NDArray[np.uint64]

    def select(self, kept: NDArray[np.bool_], before: Texts, after: Texts) -> Self:
        """Return the lines of the rows that are kept."""
        rows = np.flatnonzero(kept)
        counts = np.diff(self.first)[rows]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        shift = np.repeat(after.offsets[:-1] - before.offsets[rows], counts)
        places = np.repeat(self.first[rows] - first[:-1], counts) + np.arange(first[-1])
        start, end = self.start[places] + shift, self.end[places] + shift
        return type(self)(first, start, end, self.chars[places], self.kind[places], self.hashes[places])


def lines(texts: Texts, breaks: Breaks = "any") -> Lines:
    r"""Return the lines of every text, cut where `breaks` says.

    `any`: as `str.splitlines` (a break at the end of a text begins no line); `feed`: as `str.split("\n")`;
    `runs`: as `re.split("\n+", …)`; `blank`: paragraphs, as `re.split("\n{2,}", text.strip())`.
    """
    return texts.remember(("lines", breaks), lambda: Lines(*_lines(texts.data, texts.offsets, unicode.classes(), _BREAKS[breaks])))


def trimmed(texts: Texts, start: Int64s, end: Int64s) -> tuple[Int64s, Int64s]:
    """Return spans without the white space at either end."""
    return _trimmed(texts.data, start, end, unicode.classes())


@kernel
def _trimmed(data: Any, start: Any, end: Any, classes: Any) -> tuple[Any, Any]:
    new_start, new_end = np.empty(len(start), np.int64), np.empty(len(start), np.int64)
    for span in range(len(start)):
        new_start[span], new_end[span] = _strip(data, start[span], end[span], classes)
    return new_start, new_end


@kernel
def _lines(data: Any, offsets: Any, classes: Any, breaks: int) -> tuple[Any, Any, Any, Any, Any, Any]:
    texts = len(offsets) - 1
    room = (offsets[-1] - offsets[0]) // 32 + texts + 64
    first = np.zeros(texts + 1, np.int64)
    start, end, chars = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int32)
    kind, hashes = np.empty(room, np.uint8), np.empty(room, np.uint64)
    count = 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        if breaks == BLANK:
            place, stop = _strip(data, place, stop, classes)
        more = place < stop or breaks != ANY
        while more:
            begun, size, what = place, 0, 0
            value = HASH_START
            head, tail, last, dots = -1, -1, -1, 0
            width, broken = 1, False
            while place < stop:
                code, width = np.int64(data[place]), 1
                if code >= 0x80:
                    code, width = decode(data, place, stop)
                bits = classes[code]
                if bits & LINE and (
                    breaks == ANY or (code == NEWLINE and (breaks != BLANK or (place + 1 < stop and data[place + 1] == NEWLINE)))
                ):
                    broken = True
                    break
                if not bits & SPACE:
                    if head < 0:
                        head = code
                    dots = dots + 1 if code == DOT and tail == DOT and last == DOT else 1
                    tail = code
                last = code
                value = (value ^ np.uint64(code)) * HASH_STEP
                size += 1
                place += width
            if count == room:
                room = 2 * room
                start, end, chars = _grown(start, room), _grown(end, room), _grown(chars, room)
                kind, hashes = _grown(kind, room), _grown(hashes, room)
            what |= BULLET if head == POINT or head == DASH else 0
            what |= ELLIPSIS if tail == DOTS or (tail == DOT and dots >= 3) else 0
            what |= SENTENCE_END if last >= 0 and classes[last] & ENDS else 0
            what |= EMPTY if head < 0 else 0
            start[count], end[count], chars[count], kind[count], hashes[count] = begun, place, size, what, mix(value)
            count += 1
            more = broken
            if broken:
                if code == RETURN and place + 1 < stop and data[place + 1] == NEWLINE:
                    width = 2
                place += width
                if breaks == RUNS or breaks == BLANK:
                    while place < stop and data[place] == NEWLINE:
                        place += 1
                more = place < stop or breaks != ANY
        first[text + 1] = count
    return first, start[:count].copy(), end[:count].copy(), chars[:count].copy(), kind[:count].copy(), hashes[:count].copy()


@kernel
def _strip(data: Any, place: int, stop: int, classes: Any) -> tuple[int, int]:
    """Return a span without the white space at its ends."""
    while place < stop:
        code, width = decode(data, place, stop)
        if not classes[code] & SPACE:
            break
        place += width
    while stop > place:
        before = stop - 1
        while before > place and data[before] & 0xC0 == 0x80:
            before -= 1
        if not classes[decode(data, before, stop)[0]] & SPACE:
            break
        stop = before
    return place, stop


@kernel
def _grown(array: Any, room: int) -> Any:
    larger = np.empty(room, array.dtype)
    larger[: len(array)] = array
    return larger
