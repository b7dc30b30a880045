"""Cosine similarities that are the same bits whatever the block, the number of threads and the processor.

A vector is brought to the length 2²⁶ and its components are rounded to whole numbers. Products of two such vectors are sums of whole
numbers, and any part of such a sum is at most |a|·|b| ≈ 2⁵² (Cauchy–Schwarz), so that doubles hold every step exactly: no order of
additions, no fused operation and no size of a tile changes a bit. Rounding moves a cosine by some 10⁻⁸, as float32 vectors do
themselves. A product in doubles took 1.4 times one in singles (4,096 × 4,096 of 384 dimensions, AVX-512).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import OperatorError, PipelineError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]
LENGTH = float(1 << 26)
TILE_ROWS, TILE_COLUMNS = 1024, 4096  # a tile of products is 32 MiB
_LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)


def verify_type(use: str, path: str, kind: pa.DataType | None) -> None:
    """Raise `PipelineError` when a column that is there does not hold vectors."""
    if kind is None or (any(test(kind) for test in _LISTS) and pa.types.is_floating(kind.value_type)):
        return
    fields = f"name a field of it: {', '.join(f'{path}.{field.name}' for field in kind)}" if pa.types.is_struct(kind) else None
    raise PipelineError(f"{use}: column `{path}` is {kind}, not a vector of floating-point numbers", fields or "`embed` makes vectors")


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
    """Return vectors, none of which is zero, at the length 2²⁶ in whole numbers."""
    scaled = vectors / np.abs(vectors).max(axis=1, initial=0.0)[:, None]  # so that no square overflows
    squares = np.zeros(len(vectors))
    for column in np.ascontiguousarray(scaled.T):  # not np.sum, whose order of additions is the processor's
        squares += column * column
    return np.asarray(np.rint(scaled / np.sqrt(squares)[:, None] * LENGTH), np.int32)


def cosines(rows: Floats, others: Floats) -> Floats:
    """Return the cosine of each of `rows` (m × d) and each of `others` (n × d), m × n, for vectors of `unit_vectors`."""
    products = rows @ others.T
    products *= LENGTH**-2  # a power of two: nothing is rounded
    return np.minimum(products, 1.0, out=products)


def nearest(rows: Floats, others: Floats) -> tuple[Floats, Integers]:
    """Return for each of `rows` the highest cosine to any of `others`, and the first of these that has it; −∞ and −1 for none."""
    best, where = np.full(len(rows), -np.inf), np.full(len(rows), -1, np.int64)
    for top in range(0, len(rows), TILE_ROWS):
        own = slice(top, min(top + TILE_ROWS, len(rows)))
        for left in range(0, len(others), TILE_COLUMNS):
            _improve(best[own], where[own], cosines(rows[own], others[left : left + TILE_COLUMNS]), left)
    return best, where


def nearest_before(rows: Floats) -> Floats:
    """Return for each of `rows` the highest cosine to any row before it, −∞ for the first."""
    best = np.full(len(rows), -np.inf)
    for top in range(0, len(rows), TILE_ROWS):
        tile = rows[top : top + TILE_ROWS]
        within = cosines(tile, tile)
        within[np.triu_indices(len(tile))] = -np.inf
        best[top : top + TILE_ROWS] = np.maximum(nearest(tile, rows[:top])[0], within.max(axis=1))
    return best


def nearest_of(rows: Floats, asked: Integers, named: Integers) -> tuple[Floats, Integers]:
    """Return for each row `asked` the highest cosine to a row before it among those `named`, and that row; −∞ and −1 for none.

    Both are places in `rows`, in ascending order.
    """
    best, where = np.full(len(asked), -np.inf), np.full(len(asked), -1, np.int64)
    for top in range(0, len(asked), TILE_ROWS):
        own = slice(top, min(top + TILE_ROWS, len(asked)))
        reach = int(np.searchsorted(named, asked[own][-1]))
        for left in range(0, reach, TILE_COLUMNS):
            chosen = named[left : min(left + TILE_COLUMNS, reach)]
            found = cosines(rows[asked[own]], rows[chosen])
            if chosen[-1] > asked[own][0]:
                found[chosen[None, :] > asked[own][:, None]] = -np.inf
            _improve(best[own], where[own], found, left)
    return best, np.where(where >= 0, named[where] if len(named) else -1, -1)


def settled(rows: Floats, best: Floats, threshold: float) -> Floats:
    """Return the highest cosine of each row to a row before it that stays, or `best` where that is higher.

    A row stays unless its own is above the threshold; those that go are compared with nothing any more.
    """
    best = best.copy()
    for top in range(0, len(rows), TILE_ROWS):
        tile, kept = rows[top : top + TILE_ROWS], rows[:top][best[:top] <= threshold]
        own = best[top : top + TILE_ROWS]
        np.maximum(own, nearest(tile, kept)[0], out=own)
        within = cosines(tile, tile)
        for row in range(len(tile)):
            if own[row] <= threshold:
                np.maximum(own[row + 1 :], within[row, row + 1 :], out=own[row + 1 :])
    return best


def _improve(best: Floats, where: Integers, found: Floats, left: int) -> None:
    """Take over what is higher than what was found so far, so that the first of equals stays."""
    at = found.argmax(axis=1)
    value = found[np.arange(len(found)), at]
    better = value > best
    best[better], where[better] = value[better], at[better] + left
