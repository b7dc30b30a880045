"""Which words of a list a text has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.kernels.compiled import kernel
from curate.kernels.text_view import Int64s
from curate.kernels.word_spans import Words, hash_word


def matches(words: Words, wanted: Sequence[str]) -> tuple[Int64s, Int64s]:
    """Return per text how many different words of the list occur, and how often any of them does; the case counts."""
    hashes = np.sort(np.array([hash_word(word) for word in set(wanted)], np.uint64))
    return _matches(words.first, words.hashes, hashes)


@kernel
def _matches(first: Any, hashes: Any, wanted: Any) -> tuple[Any, Any]:
    texts = len(first) - 1
    different, all_of_them = np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    slots = 64
    while slots < 8 * len(wanted):
        slots *= 2
    mask = np.uint64(slots - 1)
    table = np.full(slots, -1, np.int64)
    for k in range(len(wanted)):
        slot = wanted[k] & mask
        while table[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = k
    met = np.full(len(wanted), -1, np.int64)
    for text in range(texts):
        for word in range(first[text], first[text + 1]):
            slot = hashes[word] & mask
            while table[slot] >= 0 and wanted[table[slot]] != hashes[word]:
                slot = (slot + np.uint64(1)) & mask
            if table[slot] >= 0:
                all_of_them[text] += 1
                if met[table[slot]] != text:
                    met[table[slot]] = text
                    different[text] += 1
    return different, all_of_them
