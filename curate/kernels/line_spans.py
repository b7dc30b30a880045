"""Lines and paragraphs: where they are, how long, a hash of each, and how they begin and end."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import (
    HASH_START,
    HASH_STEP,
    REPLACEMENT,
    below,
    borrowed,
    continuations,
    decode,
    eight,
    equal,
    inlined,
    kernel,
    lowest,
    mix,
)
from curate.kernels.text_view import Bytes, Int64s, Texts

Breaks = Literal["feed", "any", "runs", "blank"]
FEED, ANY, RUNS, BLANK = range(4)
_BREAKS = {"feed": FEED, "any": ANY, "runs": RUNS, "blank": BLANK}

BULLET = 1  # begins with • or -, after white space
ELLIPSIS = 2  # ends with … or ..., before white space
SENTENCE_END = 4  # its last character ends sentences
EMPTY = 8  # nothing but white space

SPACE, ENDS = unicode.SPACE, unicode.SENTENCE_END
NEWLINE, RETURN, DOT, DASH, DOTS, POINT = 10, 13, 46, 45, 0x2026, 0x2022


@dataclass(frozen=True)
class Lines:
    """Text `i` has the lines `first[i]:first[i + 1]`; `start` and `end` are bytes of `Texts.data`, without the break."""

    first: Int64s
    start: Int64s
    end: Int64s
    data: Bytes = field(repr=False)
    is_utf8: bool

    @property
    def chars(self) -> NDArray[np.int32]:
        """Return the characters of each line."""
        return self._measured[0]

    @property
    def kind(self) -> NDArray[np.uint8]:
        """Return the bits of each line: `BULLET`, `ELLIPSIS`, `SENTENCE_END`, `EMPTY`."""
        return self._kinds

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Return a 64-bit hash of the bytes of each line."""
        return self._measured[1]

    @functools.cached_property
    def _measured(self) -> tuple[NDArray[np.int32], NDArray[np.uint64]]:
        return _measure(self.data, self.start, self.end, self.is_utf8)

    @functools.cached_property
    def _kinds(self) -> NDArray[np.uint8]:
        return _classify(self.data, self.start, self.end, unicode.classes())

    def select(self, kept: NDArray[np.bool_], before: Texts, after: Texts) -> Self:
        """Return the lines of the rows that are kept."""
        rows = np.flatnonzero(kept)
        counts = np.diff(self.first)[rows]
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        shift = np.repeat(after.offsets[:-1] - before.offsets[rows], counts)
        places = np.repeat(self.first[rows] - first[:-1], counts) + np.arange(first[-1])
        made = type(self)(first, self.start[places] + shift, self.end[places] + shift, after.data, self.is_utf8)
        if "_measured" in self.__dict__:
            made.__dict__["_measured"] = (self.chars[places], self.hashes[places])
        if "_kinds" in self.__dict__:
            made.__dict__["_kinds"] = self.kind[places]
        return made


def lines(texts: Texts, breaks: Breaks = "any") -> Lines:
    r"""Return the lines of every text, cut where `breaks` says.

    `any`: as `str.splitlines` (a break at the end of a text begins no line); `feed`: as `str.split("\n")`;
    `runs`: as `re.split("\n+", …)`; `blank`: paragraphs, as `re.split("\n{2,}", text.strip())`.
    """
    return texts.remember(("lines", breaks), lambda texts: _found(texts, _BREAKS[breaks]))


def _found(texts: Texts, breaks: int) -> Lines:
    first, start, end = _cut(texts.data, texts.offsets, unicode.classes(), breaks)
    return Lines(first, start, end, texts.data, texts.is_utf8)


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
def _cut(data: Any, offsets: Any, classes: Any, breaks: int) -> tuple[Any, Any, Any]:
    texts = len(offsets) - 1
    room = texts  # lines at most; arrays that grew in the loop would slow it down many times
    for byte in data[offsets[0] : offsets[-1]]:
        room += byte < 32 or byte == 0xC2 or byte == 0xE2 if breaks == ANY else byte == NEWLINE
    first, start, end = np.zeros(texts + 1, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    view, count = borrowed(data), 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        if breaks == BLANK:
            place, stop = _strip(data, place, stop, classes)
        begun = place
        while place < stop:
            if place + 8 <= stop:
                word = eight(view, place)
                marked = equal(word, NEWLINE) if breaks != ANY else below(word, 32) | equal(word, 0xC2) | equal(word, 0xE2)
                if not marked:
                    place += 8
                    continue
                place += lowest(marked)
            byte = view[place]
            width = 0
            if byte == NEWLINE:
                width = 1
                if breaks == RUNS or breaks == BLANK:
                    while place + width < stop and view[place + width] == NEWLINE:
                        width += 1
                    width = 0 if breaks == BLANK and width == 1 else width
            elif breaks == ANY and (byte < 32 or byte == 0xC2 or byte == 0xE2):
                width = _break(view, place, stop)
            if not width:
                place += 1
                continue
            start[count], end[count] = begun, place
            count += 1
            place += width
            begun = place
        if begun < stop or breaks != ANY:
            start[count], end[count] = begun, stop
            count += 1
        first[text + 1] = count
    return first, start[:count], end[:count]


@inlined
def _break(data: Any, place: int, stop: int) -> int:
    """Return the bytes of a line break other than a line feed at `place`, 0 if there is none."""
    byte = data[place]
    if byte == RETURN:
        return 2 if place + 1 < stop and data[place + 1] == NEWLINE else 1
    if byte == 11 or byte == 12 or (28 <= byte <= 30):
        return 1
    if byte == 0xC2 and place + 1 < stop and data[place + 1] == 0x85:
        return 2
    if byte == 0xE2 and place + 2 < stop and data[place + 1] == 0x80 and (data[place + 2] == 0xA8 or data[place + 2] == 0xA9):
        return 3
    return 0


@kernel
def _measure(data: Any, start: Any, end: Any, is_utf8: bool) -> tuple[Any, Any]:
    count = len(start)
    chars, hashes = np.empty(count, np.int32), np.empty(count, np.uint64)
    for line in range(count):
        place, stop = start[line], end[line]
        value, size = HASH_START ^ np.uint64(stop - place), stop - place
        while place + 8 <= stop:
            word = eight(data, place)
            value = (value ^ word) * HASH_STEP
            value ^= value >> np.uint64(32)
            size -= continuations(word)
            place += 8
        while place < stop:
            value = (value ^ np.uint64(data[place])) * HASH_STEP
            size -= data[place] & 0xC0 == 0x80
            place += 1
        if not is_utf8:
            place, size = start[line], 0
            while place < stop:
                place += decode(data, place, stop)[1]
                size += 1
        chars[line], hashes[line] = size, mix(value)
    return chars, hashes


@kernel
def _classify(data: Any, start: Any, end: Any, classes: Any) -> Any:
    kind = np.empty(len(start), np.uint8)
    for line in range(len(start)):
        begun, stop = start[line], end[line]
        what = 0
        if begun < stop:
            code, _ = _last(data, begun, stop)
            what |= SENTENCE_END if classes[code] & ENDS else 0
        place = begun
        plain = begun < stop and 32 < data[begun] < 127 and 32 < data[stop - 1] < 127
        if not plain:
            place, stop = _strip(borrowed(data), begun, stop, borrowed(classes))
        if place == stop:
            what |= EMPTY
        else:
            head = decode(data, place, stop)[0]
            what |= BULLET if head == POINT or head == DASH else 0
            tail = _last(data, place, stop)[0]
            dots = stop - place >= 3 and tail == DOT and data[stop - 2] == DOT and data[stop - 3] == DOT
            what |= ELLIPSIS if tail == DOTS or dots else 0
        kind[line] = what
    return kind


@inlined
def _last(data: Any, place: int, stop: int) -> Any:
    """Return the last code point of a span that is not empty, and where it begins."""
    before = stop - 1
    while before > place and before > stop - 4 and data[before] & 0xC0 == 0x80:
        before -= 1
    code, width = decode(data, before, stop)
    return (code, before) if before + width == stop else (np.int64(REPLACEMENT), stop - 1)


@kernel
def _strip(data: Any, place: int, stop: int, classes: Any) -> tuple[int, int]:
    """Return a span without the white space at its ends."""
    while place < stop:
        code, width = decode(data, place, stop)
        if not classes[code] & SPACE:
            break
        place += width
    while stop > place:
        code, before = _last(data, place, stop)
        if not classes[code] & SPACE:
            break
        stop = before
    return place, stop
