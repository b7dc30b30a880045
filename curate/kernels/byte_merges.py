"""Byte-pair encoding: the bytes of a span, merged pair by pair in the order that a tokenizer has learned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import borrowed, inlined, kernel, mix
from curate.kernels.text_view import Bytes, Int64s

LONGEST = 256  # bytes of a span; the work grows with the square of it
NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
LAST = 0x7FFFFFFF  # the rank of a pair that is never merged


@dataclass(frozen=True)
class Merges:
    """The number of each byte, and a table of pairs of numbers with their rank, the lowest first, and the number that they become."""

    single: NDArray[np.uint32]
    pairs: NDArray[np.uint64]
    ranks: NDArray[np.int32]
    made: NDArray[np.uint32]

    @classmethod
    def of(cls, single: NDArray[np.uint32], merges: Mapping[tuple[int, int], tuple[int, int]]) -> Self:
        """Make the table of (left, right) → (rank, number)."""
        size = 1 << max(4, (2 * len(merges)).bit_length())
        found = cls(single, np.full(size, NONE, np.uint64), np.zeros(size, np.int32), np.zeros(size, np.uint32))
        rows = np.array([(*pair, *told) for pair, told in merges.items()], np.uint64).reshape(-1, 4)
        _fill(rows, found.pairs, found.ranks, found.made)
        return found


def byte_pairs(data: Bytes, ends: Int64s, merges: Merges) -> tuple[NDArray[np.uint32], Int64s]:
    """Return the numbers of spans, one behind the other, and how many each has; span `i` is `data[ends[i]:ends[i + 1]]`.

    Spans of more than `LONGEST` bytes get none.
    """
    return _byte_pairs(data, ends, merges.single, merges.pairs, merges.ranks, merges.made)


@kernel
def _fill(rows: Any, pairs: Any, ranks: Any, made: Any) -> None:
    mask = np.uint64(len(pairs) - 1)
    for row in range(len(rows)):
        pair = rows[row, 0] << np.uint64(32) | rows[row, 1]
        slot = mix(pair) & mask
        while pairs[slot] != NONE:
            slot = (slot + np.uint64(1)) & mask
        pairs[slot], ranks[slot], made[slot] = pair, rows[row, 2], rows[row, 3]


@inlined
def _slot(pairs: Any, left: Any, right: Any) -> Any:
    """Return where a pair stands, -1 for none."""
    mask, pair = np.uint64(len(pairs) - 1), np.uint64(left) << np.uint64(32) | np.uint64(right)
    slot = mix(pair) & mask
    while pairs[slot] != NONE and pairs[slot] != pair:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot) if pairs[slot] == pair else np.int64(-1)


@kernel
def _byte_pairs(data: Any, ends: Any, single: Any, pairs: Any, ranks: Any, made: Any) -> tuple[Any, Any]:
    table, order = borrowed(pairs), borrowed(ranks)
    lengths = np.zeros(len(ends) - 1, np.int64)
    found = np.empty(ends[-1] - ends[0], np.uint32)
    numbers, slots = np.empty(LONGEST, np.uint32), np.empty(LONGEST, np.int64)
    total = 0
    for span in range(len(lengths)):
        count = ends[span + 1] - ends[span]
        if count > LONGEST:
            continue
        for k in range(count):
            numbers[k] = single[data[ends[span] + k]]
        for k in range(count - 1):
            slots[k] = _slot(table, numbers[k], numbers[k + 1])
        while True:
            best, lowest = -1, LAST
            for k in range(count - 1):
                if slots[k] >= 0 and order[slots[k]] < lowest:
                    best, lowest = k, order[slots[k]]
            if best < 0:
                break
            numbers[best] = made[slots[best]]
            count -= 1
            for k in range(best + 1, count):
                numbers[k] = numbers[k + 1]
                slots[k] = slots[k + 1]
            if best > 0:
                slots[best - 1] = _slot(table, numbers[best - 1], numbers[best])
            if best + 1 < count:
                slots[best] = _slot(table, numbers[best], numbers[best + 1])
        for k in range(count):
            found[total + k] = numbers[k]
        lengths[span] = count
        total += count
    return found[:total].copy(), lengths
