"""Reads vectors of documents: from a column of theirs, or from attributes beside them.

A column of vectors is a list, of fixed size or not, of float16, float32 or float64; all vectors have the same length. Null is a document
without a vector; zeros throughout are one too, since they have no direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, RowStream, read_shard
from curate.document import ID, leaf
from curate.errors import DatasetError, OperatorError, PipelineError
from curate.work import Place
from curate_scorers.clustering_nearest import Vectors, unit

Item = dict[str, Any]
_LISTS = (pa.types.is_fixed_size_list, pa.types.is_list, pa.types.is_large_list)


@dataclass(frozen=True)
class Found:
    """The vectors of a batch, as `unit` makes them (m × d), the rows that they belong to, and how many rows had none or zeros only."""

    vectors: Vectors
    rows: np.ndarray[Any, np.dtype[np.int64]]
    empty: int
    zero: int


def verify_type(use: str, schema: pa.Schema, path: str) -> None:
    """Raise `PipelineError` when a column that is there does not hold vectors."""
    head, *rest = path.split(".")
    kind = schema.field(head).type if head in schema.names else None
    for part in rest:
        kind = kind.field(part).type if kind is not None and pa.types.is_struct(kind) and kind.get_field_index(part) >= 0 else None
    if kind is None or _holds_vectors(kind):
        return
    fields = f"name a field of it: {', '.join(f'{path}.{field.name}' for field in kind)}" if pa.types.is_struct(kind) else None
    raise PipelineError(f"{use}: column `{path}` is {kind}, not a vector (a list of float)", fields or "name a column of vectors")


def _holds_vectors(kind: pa.DataType) -> bool:
    return any(test(kind) for test in _LISTS) and pa.types.is_floating(kind.value_type)


def shard_items(use: str, inputs: Sequence[Dataset]) -> list[Item]:
    """Return where each shard of the documents lies, and the shards of attributes beside it."""
    documents, *beside = inputs
    if documents.manifest.kind != "documents" or any(dataset.manifest.kind != "attributes" for dataset in beside):
        raise PipelineError(f"{use} reads one set of documents, and attributes of these", "write `from: [DOCUMENTS, VECTORS]`")
    return [
        {"documents": documents.shard_path(shard), "attributes": {dataset.name: dataset.shard_path(shard) for dataset in beside}}
        for shard in range(len(documents.manifest.shards))
    ]


def read(item: Item, place: Place) -> Iterator[tuple[pa.Array, pa.Array]]:
    """Yield ids and the column of vectors, in batches of bounded memory."""
    head, *rest = item["column"].split(".")
    if head not in item["attributes"]:
        for docs in read_shard(place.storage, item["documents"], [ID, head]):
            yield docs.column(ID), leaf(docs, item["column"])
        return
    shard = item["attributes"][head]
    ids = RowStream(read_shard(place.storage, item["documents"], [ID]), item["documents"])
    for rows in read_shard(place.storage, shard, [ID, rest[0]]):
        if not ids.take(rows.num_rows).column(ID).equals(rows.column(ID)):
            raise DatasetError(f"attributes `{head}` do not describe the rows of {item['documents']}", "remove their dataset and run again")
        yield rows.column(ID), leaf(rows, ".".join(rest))
    ids.finish()


def vectors_of(use: str, ids: pa.Array, column: pa.Array) -> Found:
    """Return the vectors of a batch; raise `OperatorError`, with the document's id, for one that is not finite or of another length."""
    if not _holds_vectors(column.type):
        raise OperatorError(f"{use}: a vector is a list of float, not {column.type}", "name a column of vectors")
    known = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    given = column.drop_null()
    names = ids.take(pa.array(known))
    numbers = given.flatten()
    if numbers.null_count:
        raise _broken(use, names[_owner(given, int(np.flatnonzero(numbers.is_null())[0]))])
    vectors = unit(numbers.to_numpy(zero_copy_only=False).reshape(len(given), _dimension(use, names, given)))
    wrong = np.flatnonzero(np.isnan(vectors[:, :1]).any(axis=1))
    if len(wrong):
        raise _broken(use, names[int(wrong[0])])
    directed = vectors.any(axis=1)
    return Found(vectors if directed.all() else vectors[directed], known[directed], len(column) - len(known), int((~directed).sum()))


def _broken(use: str, name: Any) -> OperatorError:
    hint = "NaN, infinity, null and numbers whose squares overflow are none: embed it again, or drop it"
    return OperatorError(f"{use}: the vector of document `{name}` has a number that is not finite", hint)


def _owner(given: pa.Array, number: int) -> int:
    """Return which of some lists has the number at a place of all their numbers."""
    ends = np.cumsum(pc.list_value_length(given).to_numpy(zero_copy_only=False))
    return int(np.searchsorted(ends, number, side="right"))


def _dimension(use: str, names: pa.Array, given: pa.Array) -> int:
    """Return the length of all vectors."""
    if pa.types.is_fixed_size_list(given.type):
        return int(given.type.list_size)
    lengths = pc.list_value_length(given).to_numpy(zero_copy_only=False)
    odd = np.flatnonzero(lengths != lengths[:1])
    if len(odd):
        raise mixed(use, f"`{names[0]}` has {lengths[0]}", f"`{names[int(odd[0])]}` has {lengths[odd[0]]}")
    return int(lengths[0]) if len(lengths) else 0


def mixed(use: str, one: str, other: str) -> OperatorError:
    """Return the error of vectors that cannot be compared."""
    return OperatorError(f"{use}: vectors are of different lengths: {one} dimensions, {other}", "embed all documents with one model")
