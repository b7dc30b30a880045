"""Cosine similarities that are the same bits whatever the block, the number of threads and the processor.

A vector is brought to the length 1 and its components are rounded to multiples of 2⁻²⁶. Products of two such vectors are sums of
multiples of 2⁻⁵², and no part of such a sum is larger than |a|·|b| ≈ 1 (Cauchy–Schwarz), so that doubles hold every step exactly: no
order of additions, no fused operation and no size of a tile changes a bit. Rounding moves a cosine by some 10⁻⁸, as float32 vectors do
themselves; what is told of a cosine is rounded to 2⁻²⁴ and at most 1 (`told`), so that equal vectors have 1. Products in doubles take
1.4 times those in singles (`python -m tests.benchmarks.semantic_dedup`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import OperatorError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
STEP, TOLD = 2.0**-26, 2.0**-24
TILE_ROWS, TILE_COLUMNS, LEAF_ROWS = 1024, 4096, 128  # a tile of products is 32 MiB


def matrix(use: str, column: pa.Array, ids: pa.Array) -> tuple[Floats, Flags]:
    """Return the vectors that are there, a row each, and which of the documents have one.

    Raises `OperatorError` with the document's id for a number that is not finite and for a vector of another length than the first.
    """
    known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    given, names = column.drop_null(), ids.filter(pa.array(known))
    if not len(given):
        return np.zeros((0, 0)), known
    if not pa.types.is_fixed_size_list(given.type):
        sizes = pc.list_value_length(given).to_numpy(zero_copy_only=False)
        if (sizes != sizes[0]).any():
            odd = int(np.flatnonzero(sizes != sizes[0])[0])
            raise mixed(use, f"`{names[0]}` has {sizes[0]}", f"`{names[odd]}` has {sizes[odd]}")
    numbers = pc.cast(given.flatten(), pa.float64()).to_numpy(zero_copy_only=False)
    vectors = np.asarray(numbers, np.float64).reshape(len(given), -1)
    broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(broken):
        hint = "a vector of numbers or none (null): embed the document again, or drop it"
        raise OperatorError(f"{use}: the vector of document `{names[int(broken[0])]}` has a number that is not finite", hint)
    return vectors, known


def mixed(use: str, one: str, other: str) -> OperatorError:
    """Return the error of vectors that cannot be compared."""
    return OperatorError(f"{use}: vectors are of different lengths: {one} dimensions, {other}", "embed all documents with one model")


def unit_vectors(vectors: Floats) -> np.ndarray[Any, np.dtype[np.int32]]:
    """Return vectors, none of which is zero, at the length 1, in whole numbers of 2⁻²⁶; `in_doubles` makes them ready for products."""
    units = np.empty(vectors.shape, np.int32)
    for top in range(0, len(vectors), TILE_ROWS):
        rows = vectors[top : top + TILE_ROWS]
        columns = np.ascontiguousarray(rows.T) / np.abs(rows).max(axis=1)  # so that no square overflows
        squares = np.zeros(len(rows))
        for column in columns:  # not np.sum, whose order of additions is the processor's
            squares += column * column
        units[top : top + TILE_ROWS] = np.rint(columns / (np.sqrt(squares) * STEP)).T
    return units


def in_doubles(units: Any) -> Floats:
    """Return unit vectors as their products are computed."""
    return np.asarray(units * STEP, np.float64)


def told(cosines: Any) -> Any:
    """Return cosines as marks tell them and as thresholds are compared with: to 2⁻²⁴, at most 1."""
    return np.minimum(np.rint(cosines / TOLD) * TOLD, 1.0)


def highest(rows: Floats, others: Floats) -> Floats:
    """Return for each of `rows` (m × d) the highest cosine to any of `others` (n × d), −∞ where there are none."""
    best = np.full(len(rows), -np.inf)
    for top in range(0, len(rows), TILE_ROWS):
        own = slice(top, top + TILE_ROWS)
        for left in range(0, len(others), TILE_COLUMNS):
            np.maximum(best[own], (rows[own] @ others[left : left + TILE_COLUMNS].T).max(axis=1), out=best[own])
    return best


def highest_before(rows: Floats) -> Floats:
    """Return for each of `rows` the highest cosine to any row before it, −∞ for the first."""
    if len(rows) > LEAF_ROWS:
        first, second = rows[: len(rows) // 2], rows[len(rows) // 2 :]
        return np.concatenate([highest_before(first), np.maximum(highest_before(second), highest(second, first))])
    within = rows @ rows.T
    within[~np.tri(len(rows), k=-1, dtype=np.bool_)] = -np.inf
    return np.asarray(within.max(axis=1, initial=-np.inf))


def settled(rows: Floats, best: Floats, threshold: float) -> Floats:
    """Return the highest cosine of each row to a row before it that stays, or `best` where that is higher.

    A row stays unless its own, as `told`, is above the threshold; those that go are compared with nothing any more.
    """
    best = best.copy()
    for top in range(0, len(rows), TILE_ROWS):
        tile, own = rows[top : top + TILE_ROWS], best[top : top + TILE_ROWS]
        np.maximum(own, highest(tile, rows[:top][told(best[:top]) <= threshold]), out=own)
        within = tile @ tile.T
        for row in range(len(tile)):
            if told(own[row]) <= threshold:
                np.maximum(own[row + 1 :], within[row, row + 1 :], out=own[row + 1 :])
    return best


def nearest(rows: Floats, others: Floats, ends: Integers | None = None) -> tuple[Floats, Integers]:
    """Return for each of `rows` the highest cosine to any of `others`, and the first of these that has it; −∞ and −1 for none.

    With `ends`, which ascend, a row is compared with that many of `others` only, the first ones.
    """
    best, where = np.full(len(rows), -np.inf), np.full(len(rows), -1, np.int64)
    ends = np.full(len(rows), len(others)) if ends is None else ends
    for top in range(0, len(rows), TILE_ROWS):
        own = slice(top, min(top + TILE_ROWS, len(rows)))
        reach = int(ends[own][-1])
        for left in range(0, reach, TILE_COLUMNS):
            found = rows[own] @ others[left : min(left + TILE_COLUMNS, reach)].T
            if left + found.shape[1] > ends[own][0]:
                found[left + np.arange(found.shape[1]) >= ends[own][:, None]] = -np.inf
            at = found.argmax(axis=1)
            improve(best[own], where[own], found[np.arange(len(found)), at], at, left)
    return best, where


def improve(best: Floats, where: Integers, found: Floats, at: Integers, begun: int) -> None:
    """Take over what is higher than what was found before, so that the first of equals stays; `at` counts from `begun`."""
    better = found > best
    best[better], where[better] = found[better], at[better] + begun
