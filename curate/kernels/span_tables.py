"""Numbers for spans of bytes, and lists of numbers for texts made of such spans: what a tokenizer needs that remembers words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import HASH_START, HASH_STEP, borrowed, eight, inlined, kernel, mix
from curate.kernels.text_view import Bytes, Int64s, Texts

LOWER = np.uint64(0xFFFFFFFF)
CHUNK = 1 << 16  # spans at a time, for which there must be room
Int32s = NDArray[np.int32]


class SpanTable:
    """Gives every different span of bytes a number, in the order in which they are seen, and keeps their bytes.

    It grows and must not be used by two threads at a time.
    """

    def __init__(self) -> None:
        self._count = 0
        self._slots = np.zeros(4 * CHUNK, np.uint64)  # the upper half of the hash, and the number and one; 0 = empty
        self._hashes = np.empty(CHUNK, np.uint64)
        self._ends = np.zeros(CHUNK + 1, np.int64)  # of the bytes of each, behind a first 0
        self._bytes = np.empty(1 << 20, np.uint8)

    def __len__(self) -> int:
        return self._count

    def numbers(self, texts: Texts, first: Int64s, ends: Int64s) -> Int32s:
        """Return the number of each span; spans lie as those of `pieces` do."""
        found = np.empty(len(ends), np.int32)
        begins = np.empty(len(ends), np.int64)
        begins[1:] = ends[:-1]
        filled = np.diff(first) > 0
        begins[first[:-1][filled]] = texts.offsets[:-1][filled]
        for begin in range(0, len(ends), CHUNK):
            chunk = slice(begin, begin + CHUNK)
            self._make_room(len(ends[chunk]), int(ends[chunk][-1] - begins[begin]))
            arrays = (self._slots, self._hashes, self._ends, self._bytes)
            self._count = _numbers(texts.data, begins[chunk], ends[chunk], found[chunk], *arrays, self._count)
        return found

    def contents(self, begin: int) -> tuple[Bytes, Int64s]:
        """Return the bytes of the spans with the numbers from `begin` on, one behind the other, and where each ends, behind a first 0."""
        ends = self._ends[begin : self._count + 1]
        return self._bytes[ends[0] : ends[-1]], ends - ends[0]

    def _make_room(self, spans: int, size: int) -> None:
        if self._count + spans > len(self._hashes):
            self._hashes = _grown(self._hashes, self._count + spans)
            self._ends = _grown(self._ends, self._count + spans + 1)
        if self._ends[self._count] + size > len(self._bytes):
            self._bytes = _grown(self._bytes, int(self._ends[self._count]) + size)
        if 2 * (self._count + spans) > len(self._slots):
            self._slots = np.zeros(1 << (4 * (self._count + spans) - 1).bit_length(), np.uint64)
            _place(self._hashes, self._count, self._slots)


def gathered(numbers: Int32s, first: Int64s, values: Any, begins: Int64s, end: int | None) -> tuple[Any, Int64s]:
    """Return the lists of texts made of numbered lists, one behind the other, and how long each is.

    Text `i` is the lists `numbers[first[i]:first[i + 1]]`, list `n` is `values[begins[n]:begins[n + 1]]`; behind each text that has any
    stands `end`, None = nothing.
    """
    return _gathered(numbers, first, values, begins, -1 if end is None else end)


def _grown(array: Any, least: int) -> Any:
    grown = np.empty(max(2 * len(array), least), array.dtype)
    grown[: len(array)] = array
    return grown


@inlined
def _hash(data: Any, begin: int, end: int) -> Any:
    value, place = HASH_START ^ np.uint64(end - begin), begin
    while place + 8 <= end:
        value = mix(value ^ eight(data, place)) * HASH_STEP
        place += 8
    rest = np.uint64(0)
    while place < end:
        rest = rest << np.uint64(8) | np.uint64(data[place])
        place += 1
    return mix(value ^ rest)


@kernel
def _numbers(data: Any, begins: Any, ends: Any, found: Any, slots: Any, hashes: Any, edges: Any, kept: Any, count: int) -> int:
    view, mask = borrowed(data), np.uint64(len(slots) - 1)
    for span in range(len(ends)):
        begin, end = begins[span], ends[span]
        value = _hash(view, begin, end)
        slot = value & mask
        while True:
            number = np.int64(slots[slot] & LOWER) - 1
            if number < 0:
                number = count
                slots[slot], hashes[number] = value & ~LOWER | np.uint64(number + 1), value
                place = edges[number]
                for k in range(end - begin):
                    kept[place + k] = view[begin + k]
                count += 1
                edges[count] = place + end - begin
                break
            if (slots[slot] ^ value) <= LOWER and edges[number + 1] - edges[number] == end - begin:
                same, place = True, edges[number]
                for k in range(end - begin):
                    same &= kept[place + k] == view[begin + k]
                if same:
                    break
            slot = (slot + np.uint64(1)) & mask
        found[span] = number
    return count


@kernel
def _place(hashes: Any, count: int, slots: Any) -> None:
    mask = np.uint64(len(slots) - 1)
    for number in range(count):
        slot = hashes[number] & mask
        while slots[slot]:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = hashes[number] & ~LOWER | np.uint64(number + 1)


@kernel
def _gathered(numbers: Any, first: Any, values: Any, begins: Any, end: int) -> tuple[Any, Any]:
    lengths = np.zeros(len(first) - 1, np.int64)
    for text in range(len(lengths)):
        for number in numbers[first[text] : first[text + 1]]:
            lengths[text] += begins[number + 1] - begins[number]
        if end >= 0 and lengths[text]:
            lengths[text] += 1
    found = np.empty(lengths.sum(), values.dtype)
    place = 0
    for text in range(len(lengths)):
        for number in numbers[first[text] : first[text + 1]]:
            for k in range(begins[number], begins[number + 1]):
                found[place] = values[k]
                place += 1
        if end >= 0 and lengths[text]:
            found[place] = end
            place += 1
    return found, lengths
