"""Lays documents into rows of equal length: best fit, which cuts as few as can be, or one after another, which pads nothing.

Both give the same documents the same rows: nothing but their lengths and their order counts. A document longer than a row is cut into
pieces of a row's length, and what is left over is a piece like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

Method = Literal["best_fit", "concatenate"]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pieces:
    """Where each piece lies, in the order of the rows: tokens `start` to `start + length` of `document` begin at `offset` of `row`."""

    document: Integers
    start: Integers
    length: Integers
    row: Integers
    offset: Integers
    rows: int

    @property
    def first(self) -> Integers:
        """Where the pieces of each row begin, and the end of the last."""
        return np.searchsorted(self.row, np.arange(self.rows + 1))

    @property
    def cut_documents(self) -> int:
        """How many documents lie in more than one piece."""
        return int(np.count_nonzero(np.bincount(self.document) > 1)) if len(self.document) else 0

    @classmethod
    def of(cls, document: Integers, start: Integers, length: Integers, row: Integers) -> Self:
        """Lay pieces whose rows are known one after another, in the order of the documents."""
        order = np.lexsort((start, document, row))
        document, start, length, row = document[order], start[order], length[order], row[order]
        before = np.cumsum(length) - length
        rows = int(row[-1]) + 1 if len(row) else 0
        offset = before - before[np.searchsorted(row, np.arange(rows))][row] if rows else before
        return cls(document, start, length, row, offset, rows)


def lay(lengths: Integers, size: int, method: Method, seed: int) -> Pieces:
    """Return the pieces of documents with so many tokens, none of them 0, in rows of `size` tokens."""
    return best_fit(lengths, size, seed) if method == "best_fit" else concatenate(lengths, size)


def concatenate(lengths: Integers, size: int) -> Pieces:
    """Lay documents one after another, and cut where rows end."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    begins = np.union1d(ends - lengths, np.arange(0, total, size)).astype(np.int64)
    document = np.searchsorted(ends, begins, side="right").astype(np.int64)
    length = np.diff(np.append(begins, total))
    return Pieces.of(document, begins - (ends - lengths)[document], length, begins // size)


def best_fit(lengths: Integers, size: int, seed: int) -> Pieces:
    """Put the longest piece first into the row with the least space that takes it (best-fit decreasing).

    Rows come in a random order, the same for the same number of rows: else those of long documents would come first.
    """
    parts = -(-lengths // size)
    document = np.repeat(np.arange(len(lengths)), parts)
    start = (np.arange(len(document)) - np.repeat(np.cumsum(parts) - parts, parts)) * size
    length = np.minimum(lengths[document] - start, size)
    row = np.array(fitted(length.tolist(), size), np.int64)
    rows = int(row.max()) + 1 if len(row) else 0
    return Pieces.of(document, start, length, np.random.RandomState(seed).permutation(rows)[row])  # a stream that NumPy keeps as it is


def fitted(lengths: Sequence[int], size: int) -> list[int]:
    """Return the row of each piece, none of them longer than `size`.

    Bit n of `spaces` says that a row has n tokens of space: the least space that is enough is the lowest bit from a length on. So a
    piece costs a microsecond, whatever the number of rows.
    """
    found, spaces, rows = [0] * len(lengths), 0, 0
    having: list[list[int]] = [[] for _ in range(size + 1)]
    for piece in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[piece]
        enough = spaces >> length
        if enough:
            space = length + (enough & -enough).bit_length() - 1
            row = having[space].pop()
            if not having[space]:
                spaces ^= 1 << space
        else:
            space, row, rows = size, rows, rows + 1
        found[piece] = row
        if space > length:
            having[space - length].append(row)
            spaces |= 1 << (space - length)
    return found
