"""Shingles: the n-grams of words or characters by which near-duplicates are found, as 64-bit hashes.

A word is a run of letters, marks, numbers and underscores in lower case: what `\\w+` finds, with its marks. In scripts written
without spaces each letter is one. A character n-gram spans words, which a single blank separates. `fold` adds what FineWeb does
first: digits count as zeros, diacritics and punctuation as nothing, so that `Café, 12` and `cafe 7` are the same.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curate.kernels import unicode
from curate.kernels.compiled import HASH_START, HASH_STEP, decode, kernel, mix
from curate.kernels.text_view import Int64s, Texts

Unit = Literal["words", "characters"]

CODE = (1 << 24) - 1
ALONE, MARK, DIGIT, SKIPPED = 1 << 24, 1 << 25, 1 << 26, 1 << 27  # what the table below says besides the folded character
BETWEEN, OTHER = 1 << 20, 1 << 21  # a byte that separates words; one that the table of characters must be asked about
BLANK = np.uint64(32)
BASE = np.uint64(0xD6E8FEB86659FD93)
FOLDED_UP_TO = 0x3100  # Latin, Greek, Cyrillic, Indic, kana: where letters have diacritics of their own


@dataclass(frozen=True)
class Shingles:
    """Text `i` has the hashes `first[i]:first[i + 1]`: in order and with repetitions, or a sorted set of them."""

    first: Int64s
    hashes: NDArray[np.uint64]

    @property
    def counts(self) -> Int64s:
        """Return how many shingles each text has."""
        return np.diff(self.first)


def shingles(texts: Texts, n: int = 5, unit: Unit = "words", fold: bool = False) -> Shingles:
    """Return the n-grams of every text; a text with fewer than n words is one shingle, one without words has none."""
    power = np.uint64(pow(int(BASE), n, 1 << 64))
    return Shingles(*_shingles(texts.data, texts.offsets, _table(unit, fold), _bytes(unit, fold), n, power, unit == "characters"))


def shingle_sets(found: Shingles) -> Shingles:
    """Return the distinct shingles of every text, sorted."""
    ordered = found.hashes.copy()
    for begun, end in pairwise(found.first.tolist()):
        ordered[begun:end].sort()  # NumPy's sort: Numba's is five times slower
    return Shingles(*_sets(found.first, ordered))


def jaccard(left: Shingles, right: Shingles, rows: Int64s, columns: Int64s) -> NDArray[np.float64]:
    """Return the exact Jaccard similarity of text `rows[i]` of one side and `columns[i]` of the other; both are sets."""
    return _jaccard(left.first, left.hashes, right.first, right.hashes, rows, columns)


@cache
def _table(unit: Unit, fold: bool) -> NDArray[np.int32]:
    """Return for each code point what it counts as, with the bits above; 0 = it separates words."""
    classes = unicode.classes()
    code = unicode.lower().copy()
    marks = classes & unicode.MARK != 0
    if fold:
        small = code < FOLDED_UP_TO
        code[small] = _bare()[code[small]]
    worded = classes & (unicode.LETTER | unicode.NUMBER | unicode.MARK) != 0
    worded[ord("_")] = True
    if unit == "characters":
        worded = (classes & (unicode.SPACE | unicode.CONTROL) == 0) & (np.arange(len(classes)) > 0)
    table = np.where(worded, code, 0)
    table |= np.where(worded & marks, MARK, 0).astype(np.int32)
    alone = np.full(len(classes), unit == "characters") | (classes & unicode.ALONE != 0)
    table |= np.where(worded & alone, ALONE, 0).astype(np.int32)
    if fold:
        dropped = classes & (unicode.PUNCTUATION | unicode.SYMBOL | unicode.MARK) != 0
        table[classes & unicode.DIGIT != 0] = ord("0") | DIGIT | (ALONE if unit == "characters" else 0)
        table[dropped] = SKIPPED
    table.flags.writeable = False
    return table


@cache
def _bytes(unit: Unit, fold: bool) -> NDArray[np.uint32]:
    """Return for each byte the folded letter that it is, or `BETWEEN`, or `OTHER`: most bytes of most texts are one of the first two."""
    table = _table(unit, fold)[:0x80]
    plain = np.where(table == 0, BETWEEN, np.where(table < ALONE, table, OTHER))
    return np.concatenate([plain, np.full(0x80, OTHER)]).astype(np.uint32)


@cache
def _bare() -> NDArray[np.int32]:
    """Return letters without their diacritics; decompositions never change once assigned (Unicode's stability policy)."""
    bare = np.arange(FOLDED_UP_TO, dtype=np.int32)
    for code in range(0xC0, FOLDED_UP_TO):
        parts = unicodedata.normalize("NFD", chr(code))
        if len(parts) > 1 and all(unicodedata.category(mark) == "Mn" for mark in parts[1:]):
            bare[code] = ord(parts[0])
    return bare


@kernel
def _shingles(data: Any, offsets: Any, table: Any, plain: Any, n: int, power: Any, blanks: bool) -> tuple[Any, Any]:
    texts = len(offsets) - 1
    room = offsets[-1] - offsets[0]
    if not blanks:
        room = room // 2 + texts + 1  # words have a separator or three bytes
    first, hashes = np.zeros(texts + 1, np.int64), np.empty(room, np.uint64)
    ring = np.zeros(n, np.uint64)
    count = 0
    for text in range(texts):
        place, stop = offsets[text], offsets[text + 1]
        tokens, slot, gram, gap = 0, 0, np.uint64(0), False
        while True:
            while place < stop and plain[data[np.uint64(place)]] == BETWEEN:  # unsigned: a signed index may count from the end
                place += 1
                gap = True
            value, begun = HASH_START, place
            while place < stop and plain[data[np.uint64(place)]] < BETWEEN:
                value = (value ^ np.uint64(plain[data[np.uint64(place)]])) * HASH_STEP
                place += 1
            size, lone, digit = place - begun, False, False
            while place < stop:
                code, width = np.int64(data[np.uint64(place)]), 1
                if code >= 0x80:
                    code, width = decode(data, place, stop)
                what = np.int64(table[np.uint64(code)])
                if 0 < what < ALONE:  # nearly always
                    if lone:
                        break
                    value = (value ^ np.uint64(what)) * HASH_STEP
                    size, digit = size + 1, False
                elif what == 0:
                    if size:
                        break
                    gap = True
                elif not what & SKIPPED:
                    if blanks and gap and tokens:
                        value, size = (value ^ BLANK) * HASH_STEP, 1
                        break
                    if size and (lone or what & ALONE) and not (what & MARK and not blanks):
                        break
                    if not (digit and what & DIGIT):
                        value = (value ^ np.uint64(what & CODE)) * HASH_STEP
                    size += 1
                    lone, digit = lone or what & ALONE != 0, what & DIGIT != 0
                place += width
            if not size:
                break
            gap = False
            word = mix(value)
            gram = gram * BASE + word
            if tokens >= n:
                gram -= ring[slot] * power
            ring[slot] = word
            slot = slot + 1 if slot + 1 < n else 0
            tokens += 1
            if tokens >= n:
                hashes[count] = mix(gram)
                count += 1
        if 0 < tokens < n:
            hashes[count] = mix(gram)
            count += 1
        first[text + 1] = count
    return first, hashes[:count]  # the room behind is never touched, so it takes no memory


@kernel
def _sets(first: Any, ordered: Any) -> tuple[Any, Any]:
    texts = len(first) - 1
    new_first, distinct = np.zeros(texts + 1, np.int64), np.empty(len(ordered), np.uint64)
    count = 0
    for text in range(texts):
        for k in range(first[text], first[text + 1]):
            if k == first[text] or ordered[k] != ordered[k - 1]:
                distinct[count] = ordered[k]
                count += 1
        new_first[text + 1] = count
    return new_first, distinct[:count].copy()


@kernel
def _jaccard(left_first: Any, left: Any, right_first: Any, right: Any, rows: Any, columns: Any) -> Any:
    found = np.zeros(len(rows), np.float64)
    for pair in range(len(rows)):
        a, a_end = left_first[rows[pair]], left_first[rows[pair] + 1]
        b, b_end = right_first[columns[pair]], right_first[columns[pair] + 1]
        total, shared = (a_end - a) + (b_end - b), 0
        while a < a_end and b < b_end:
            one, other = left[a], right[b]
            shared += one == other
            a += one <= other
            b += other <= one
        if total:
            found[pair] = shared / (total - shared)
    return found
