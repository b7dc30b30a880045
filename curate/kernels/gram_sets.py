"""n-grams of words in spans, and sets of them that grow in the documents' order: exact ones, and Bloom filters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from curate.kernels.compiled import HASH_STEP, kernel, mix
from curate.kernels.text_view import Int64s
from curate.kernels.word_spans import Words

Keys = NDArray[np.uint64]
Flags = NDArray[np.bool_]


def gram_hashes(words: Words, start: Int64s, end: Int64s, size: int) -> tuple[Int64s, Keys]:
    """Return how many n-grams of `size` words each span has, and their 64-bit hashes, one after another, never 0.

    Spans ascend and do not overlap; a word belongs to the span in which it begins.
    """
    return _gram_hashes(words.start, words.hashes, start, end, size)


def seen_in_table(keys: Keys, units: Any, rows: Any, kept: tuple[Flags, Flags], table: Keys) -> Flags:
    """Tell which keys stand in an earlier unit that is kept, and add those of this batch to the table (its size a power of two, 0 = free).

    Units are runs of equal `units`, documents runs of equal `rows`. `kept` are two flags per key: whether its unit is kept, whether
    its document is. Units of a document see the kept ones before them in it; what a document that is not kept has is taken out again.
    """
    return _seen_in_table(keys, units, rows, kept[0], kept[1], table)


def seen_in_bloom(keys: Keys, units: Any, rows: Any, kept: tuple[Flags, Flags], bits: Keys, hashes: int) -> Flags:
    """Do the same with a Bloom filter: `bits` (its size a power of two) and the number of hashes."""
    return _seen_in_bloom(keys, units, rows, kept[0], kept[1], bits, hashes)


@kernel
def _gram_hashes(word_start: Any, hashes: Any, start: Any, end: Any, size: int) -> tuple[Any, Any]:
    spans, words = len(start), len(word_start)
    counts, keys = np.zeros(spans, np.int64), np.empty(words, np.uint64)
    leaving = np.uint64(1)
    for _ in range(size):
        leaving *= HASH_STEP
    word, made = 0, 0
    for span in range(spans):
        while word < words and word_start[word] < start[span]:
            word += 1
        value, length = np.uint64(0), 0
        while word < words and word_start[word] < end[span]:
            value = value * HASH_STEP + hashes[word]
            length += 1
            if length > size:
                value -= leaving * hashes[word - size]
            if length >= size:
                keys[made] = max(mix(value), np.uint64(1))
                made += 1
            word += 1
        counts[span] = max(length - size + 1, 0)
    return counts, keys[:made].copy()


@kernel
def _seen_in_table(keys: Any, units: Any, rows: Any, kept_unit: Any, kept_row: Any, table: Any) -> Any:
    count = len(keys)
    seen, filled = np.zeros(count, np.bool_), np.empty(count, np.int64)
    mask = np.uint64(len(table) - 1)
    place = 0
    while place < count:
        document, added = place, 0
        while place < count and rows[place] == rows[document]:
            unit = place
            while place < count and rows[place] == rows[document] and units[place] == units[unit]:
                slot = keys[place] & mask
                while table[slot] != 0 and table[slot] != keys[place]:
                    slot = (slot + np.uint64(1)) & mask
                seen[place] = table[slot] != 0
                place += 1
            for k in range(unit, place if kept_unit[unit] else unit):
                slot = keys[k] & mask
                while table[slot] != 0 and table[slot] != keys[k]:
                    slot = (slot + np.uint64(1)) & mask
                if table[slot] == 0:
                    table[slot] = keys[k]
                    filled[added] = slot
                    added += 1
        if not kept_row[document]:
            for k in range(added):  # the latest that came in: without them the table is as it was
                table[filled[k]] = 0
    return seen


@kernel
def _seen_in_bloom(keys: Any, units: Any, rows: Any, kept_unit: Any, kept_row: Any, bits: Any, hashes: int) -> Any:
    count = len(keys)
    seen, filled = np.zeros(count, np.bool_), np.empty(count * hashes, np.uint64)
    mask = np.uint64(len(bits) * 64 - 1)
    place = 0
    while place < count:
        document, added = place, 0
        while place < count and rows[place] == rows[document]:
            unit = place
            while place < count and rows[place] == rows[document] and units[place] == units[unit]:
                bit, step = keys[place], mix(keys[place] + HASH_STEP) | np.uint64(1)
                found = True
                for _ in range(hashes):
                    at = bit & mask
                    found = found and (bits[at >> np.uint64(6)] >> (at & np.uint64(63))) & np.uint64(1) != 0
                    bit += step
                seen[place] = found
                place += 1
            for k in range(unit, place if kept_unit[unit] else unit):
                bit, step = keys[k], mix(keys[k] + HASH_STEP) | np.uint64(1)
                for _ in range(hashes):
                    at = bit & mask
                    one = np.uint64(1) << (at & np.uint64(63))
                    if bits[at >> np.uint64(6)] & one == 0:
                        bits[at >> np.uint64(6)] |= one
                        filled[added] = at
                        added += 1
                    bit += step
        if not kept_row[document]:
            for k in range(added):
                bits[filled[k] >> np.uint64(6)] ^= np.uint64(1) << (filled[k] & np.uint64(63))
    return seen
