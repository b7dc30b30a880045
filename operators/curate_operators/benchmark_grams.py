"""Runs of words that benchmarks consist of, and where they stand in texts.

Both sides are read alike: lower case, words as `curate.kernels` counts them, without punctuation and symbols. A run is known by a 64-bit
hash; among 10¹² words of a corpus and a million runs of benchmarks, one run is taken for another with a chance of one in twenty.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curate import kernels

Keys = NDArray[np.uint64]
Numbers = NDArray[np.int64]
STEP = np.uint64(0x9E3779B97F4A7C15)
MAYBE_BITS, MAYBE_PER_RUN = 27, 8


@dataclass(frozen=True)
class Item:
    """A text of a benchmark."""

    text: str
    benchmark: str


@dataclass(frozen=True)
class WordHashes:
    """The words of texts: a hash of each, and the number of its text."""

    hashes: Keys
    text: Numbers

    @classmethod
    def of(cls, texts: pa.Array) -> WordHashes:
        from curate.kernels.word_spans import WORDLIKE

        found = kernels.words(kernels.texts(pc.utf8_lower(texts)))
        counted = (found.kind & WORDLIKE) != 0
        return cls(found.hashes[counted], np.repeat(np.arange(len(texts)), np.diff(found.first))[counted])

    def runs(self, size: int) -> tuple[Keys, Numbers]:
        """Return the hash of every run of `size` words within one text, and the place of its first word."""
        count = max(len(self.hashes) - size + 1, 0)
        value = np.zeros(count, np.uint64)
        for place in range(size):
            value = value * STEP + self.hashes[place : place + count]
        inside = np.flatnonzero(self.text[:count] == self.text[len(self.text) - count :])
        return value[inside], inside


@dataclass(frozen=True)
class Runs:
    """Runs of `size` words of benchmarks: their hashes in order, the benchmark of each, and a quick test that most others fail."""

    size: int
    hashes: Keys
    benchmark: Numbers
    maybe: NDArray[np.bool_]

    @classmethod
    def of(cls, size: int, hashes: Keys, benchmark: Numbers) -> Runs:
        bits = min(MAYBE_BITS, max(8, int(MAYBE_PER_RUN * len(hashes)).bit_length()))
        maybe = np.zeros(1 << bits, bool)
        maybe[hashes >> np.uint64(64 - bits)] = True
        return cls(size, hashes, benchmark, maybe)

    def find(self, words: WordHashes) -> tuple[Numbers, Numbers]:
        """Return the places of the first words of runs that are listed, and which benchmark each is of."""
        hashes, places = words.runs(self.size)
        shift = np.uint64(65 - len(self.maybe).bit_length())
        near = np.flatnonzero(self.maybe[hashes >> shift])
        at = np.minimum(np.searchsorted(self.hashes, hashes[near]), len(self.hashes) - 1)
        same = self.hashes[at] == hashes[near]
        return places[near[same]], self.benchmark[at[same]]


def listed(items: Sequence[Item], benchmarks: Sequence[str], size: int, min_words: int, max_items: int | None) -> list[Runs]:
    """Return the runs to look for: those of `size` words, and items that are shorter as a whole, from `min_words` on.

    Runs that more than `max_items` items have are how a benchmark asks, and left out. Empty where no item is long enough.
    """
    words = WordHashes.of(pa.array([item.text for item in items], pa.large_string()))
    own = np.array([benchmarks.index(item.benchmark) for item in items], np.int64)
    lengths = np.bincount(words.text, minlength=len(items))
    found = []
    for length in range(min_words, size + 1):
        whole = (lengths == length) if length < size else (lengths >= size)
        hashes, places = words.runs(length)
        item = words.text[places]
        hashes, item = hashes[whole[item]], item[whole[item]]
        if len(hashes):
            hashes, first = _rare(hashes, item, max_items)
            found.append(Runs.of(length, hashes, own[first]))
    return found


def _rare(hashes: Keys, item: Numbers, max_items: int | None) -> tuple[Keys, Numbers]:
    """Return different hashes in order, each with the first item that has it, without those that too many items have."""
    order = np.lexsort((item, hashes))
    hashes, item = hashes[order], item[order]
    new = np.concatenate([[True], (np.diff(hashes) > 0) | (np.diff(item) > 0)])
    different, first, count = np.unique(hashes[new], return_index=True, return_counts=True)
    few = count <= (max_items if max_items is not None else len(item))
    return different[few], item[new][first[few]]


def longest(runs: Sequence[Runs], words: WordHashes) -> Iterator[tuple[int, int, int]]:
    """Yield (text, words, benchmark) for each text with a listed run: its longest stretch of words that listed runs cover."""
    best: dict[int, tuple[int, int]] = {}
    for known in runs:
        places, benchmark = known.find(words)
        for start, end in _stretches(places, words.text):
            text, length = int(words.text[places[start]]), int(places[end] - places[start]) + known.size
            if length > best.get(text, (0, 0))[0]:
                best[text] = (length, int(benchmark[start]))
    yield from ((text, *best[text]) for text in sorted(best))


def _stretches(places: Numbers, text: Any) -> Iterator[tuple[int, int]]:
    """Yield the first and the last of places that follow one another in one text."""
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(text[places]) > 0))
    starts, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(places) - 1]])
    if len(places):
        yield from zip(starts.tolist(), ends.tolist(), strict=True)
