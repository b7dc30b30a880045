"""Reads vectors of documents: from a column of theirs, or from attributes beside them.

A column of vectors is a list, of fixed size or not, of float16, float32 or float64; all vectors have the same length. Null is a document
without a vector; zeros throughout are one too, since they have no direction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside
from curate.document import ID, leaf, type_at
from curate.errors import OperatorError, PipelineError
from curate.work import Place
from curate_scorers.clustering_nearest import Vectors, unit

Item = dict[str, Any]
_LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)


class BrokenVector(ArithmeticError):
    """A document's own vector is no good: no `CurateError`, which would end a stage, so that a `Scorer` has the document quarantined."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}"


@dataclass(frozen=True)
class Found:
    """The vectors of a batch, as `unit` makes them (m × d), the rows that they belong to, and how many rows had none or zeros only."""

    vectors: Vectors
    rows: np.ndarray[Any, np.dtype[np.int64]]
    empty: int
    zero: int


def verify_type(use: str, schema: pa.Schema, path: str) -> None:
    """Raise `PipelineError` when a column that is there does not hold vectors."""
    kind = type_at(schema, path)
    if kind is None or _holds_vectors(kind):
        return
    fields = f"name a field of it: {', '.join(f'{path}.{field.name}' for field in kind)}" if pa.types.is_struct(kind) else None
    raise PipelineError(f"{use}: column `{path}` is {kind}, not a vector (a list of float)", fields or "name a column of vectors")


def width_of(schema: pa.Schema, path: str) -> int | None:
    """Return how many numbers each vector of a column has, None where its type does not say."""
    kind = type_at(schema, path)
    return int(kind.list_size) if kind is not None and pa.types.is_fixed_size_list(kind) else None


def _holds_vectors(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _LISTS) and pa.types.is_floating(kind.value_type)


def read(item: Item, place: Place) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield ids and the column of vectors, in batches of bounded memory."""
    for docs in beside.read(item, place, [item["column"]]):
        yield docs.column(ID), leaf(docs, item["column"])


def vectors_of(ids: pa.Array, column: pa.Array, dimension: int | None = None) -> Found:
    """Return the vectors of a batch; raise `BrokenVector` for one that is not finite or has not `dimension` numbers.

    Without `dimension`, all must have as many as the first.
    """
    if not _holds_vectors(column.type):
        raise OperatorError(f"a vector is a list of float, not {column.type}", "name a column of vectors")
    known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    given, names = column.drop_null(), ids.take(pa.array(known))
    lengths = np.asarray(pc.list_value_length(given).to_numpy(zero_copy_only=False))
    wanted = dimension if dimension is not None else int(lengths[0]) if len(lengths) else 0
    odd = lengths[lengths != wanted]
    _refuse(lengths != wanted, names, f"is of {odd[:1].sum()} numbers, not {wanted}", "embed all documents with one model")
    vectors = unit(_filled(given.flatten()).reshape(len(given), wanted))
    broken = np.asarray(np.isnan(vectors[:, :1]).any(axis=1))
    _refuse(broken, names, "has a number that is not finite, or too large", "embed it again, or drop it")
    directed = vectors.any(axis=1)
    chosen = vectors if directed.all() else vectors[directed]
    return Found(chosen, known[directed], len(column) - len(known), int(np.count_nonzero(~directed)))


def _filled(numbers: pa.Array) -> np.ndarray[Any, Any]:
    """Return numbers with NaN for null."""
    if numbers.null_count:
        numbers = pc.fill_null(pc.cast(numbers, pa.float64()), np.nan)
    return np.asarray(numbers.to_numpy(zero_copy_only=False))


def _refuse(wrong: np.ndarray[Any, Any], names: pa.Array, what: str, hint: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise BrokenVector(f"the vector of document `{names[int(rows[0])]}` {what}", hint)
