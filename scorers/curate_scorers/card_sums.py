"""Sums over the documents of each cluster, and the documents nearest to and farthest from its centroid.

What a shard holds is two small tables, one row per cluster and at most 2 x `examples` rows per cluster; tables of many shards are
added up a few at a time, so that no task holds more than two sets of them, however many shards there are.

Vectors are added up as whole numbers of 2^-30: sums are exact, and no layout of shards or number of workers changes a bit of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, TEXT, leaf
from curate.errors import OperatorError
from curate.hashing import hash64
from curate.work import Place
from curate_scorers.card_inputs import Floats, Integers, Item, ranks_within

UNIT = float(2**30)
BLOCK = 4096  # documents whose vectors are doubles at a time
NEAREST, FARTHEST = 0, 1
EXAMPLES = pa.schema(
    {
        "cluster": pa.int64(),
        "side": pa.int8(),
        "distance": pa.float64(),
        "tie": pa.uint64(),
        "id": pa.string(),
        "url": pa.string(),
        "opening": pa.string(),
    }
)
COUNTS = ("documents", "characters", "words", "line_characters", "distance")


def blocks_of(docs: pa.RecordBatch, path: str) -> Iterator[tuple[slice, Floats]]:
    """Yield the vectors of a batch, some documents at a time."""
    for begun in range(0, docs.num_rows, BLOCK):
        yield slice(begun, begun + BLOCK), vectors_of(docs.slice(begun, BLOCK), path)


def vectors_of(docs: pa.RecordBatch, path: str) -> Floats:
    """Return vectors of length 1, shape (documents, dimensions); raise `OperatorError` where one is missing, zero or not finite."""
    column = leaf(docs, path)
    sizes = np.unique(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False))
    if column.null_count or not sizes.all():
        raise _without(docs, column, path)
    if len(sizes) > 1:
        raise mixed_dimensions(int(sizes[0]), int(sizes[1]), path)
    rows = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(docs), -1 if len(docs) else 0)
    norms = np.linalg.norm(rows, axis=1)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise _without(docs, pa.array(np.where(np.isfinite(norms), norms, 0.0)), path)
    return np.asarray(rows / norms[:, None], np.float64)


def _without(docs: pa.RecordBatch, column: pa.Array, path: str) -> OperatorError:
    """Return the error for the first document whose vector is null, of no numbers, zero, or not finite."""
    there = column if pa.types.is_floating(column.type) else pc.list_value_length(column)
    row = int(np.argmin(pc.fill_null(there, 0).to_numpy(zero_copy_only=False) > 0))
    name = docs.column(ID)[row].as_py()
    return OperatorError(
        f"document `{name}` has a cluster, and no vector in `{path}`", "name the column of the vectors that were clustered"
    )


def mixed_dimensions(one: int, other: int, path: str = "vector") -> OperatorError:
    """Return the error for vectors that cannot be added up."""
    return OperatorError(f"vectors of {one} and of {other} numbers in `{path}`", "name the column of the vectors that were clustered")


class Sums:
    """Adds up the documents of a shard by cluster; the tables grow with the highest number of a cluster."""

    def __init__(self, scores: Sequence[str]) -> None:
        self.scores = tuple(scores)
        self._counts: dict[str, Integers] = {name: np.zeros(0, np.int64) for name in COUNTS}
        self._scores: dict[str, Floats] = {f"{name}.{part}": np.zeros(0) for name in scores for part in ("sum", "count")}
        self._vectors = np.zeros((0, 0), np.int64)

    def add(self, clusters: Integers, counts: dict[str, Any], scores: dict[str, Floats]) -> None:
        """Take documents; `counts` has a whole number for each by name, `scores` a number or NaN."""
        size = max(len(self._vectors), int(clusters.max(initial=-1)) + 1)
        for name, values in ({"documents": np.ones(len(clusters), np.int64)} | counts).items():
            self._counts[name] = _grown(self._counts[name], size) + _added(clusters, np.asarray(values, np.int64), size)
        for name, values in scores.items():
            there = np.isfinite(values)
            for part, added in (("sum", np.where(there, values, 0.0)), ("count", there.astype(np.float64))):
                before = _grown(self._scores[f"{name}.{part}"], size)
                self._scores[f"{name}.{part}"] = before + np.bincount(clusters, weights=added, minlength=size)
        self._vectors = _grown(self._vectors, size)

    def add_vectors(self, clusters: Integers, vectors: Floats) -> None:
        """Take the unit vectors of documents that were added, shape (documents, dimensions)."""
        size, dimensions = self._vectors.shape
        if dimensions not in (0, vectors.shape[1]):
            raise mixed_dimensions(dimensions, vectors.shape[1])
        if not dimensions:
            self._vectors = np.zeros((size, vectors.shape[1]), np.int64)
        self._vectors += _added(clusters, np.rint(vectors * UNIT).astype(np.int64), size)

    def table(self) -> pa.Table:
        """Return a row for each cluster that has documents."""
        size, dimensions = self._vectors.shape
        known = {name: _grown(values, size) for name, values in (self._counts | self._scores).items()}
        rows = np.flatnonzero(known["documents"])
        flat = pa.array(self._vectors[rows].reshape(-1), pa.int64())
        vectors = pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(pa.int64(), max(1, dimensions)))  # Arrow divides by it
        columns = {"cluster": pa.array(rows)} | {name: pa.array(values[rows]) for name, values in known.items()}
        return pa.table(columns | {"vector": vectors})


def _grown(values: Any, size: int) -> Any:
    return values if len(values) == size else np.concatenate([values, np.zeros((size - len(values), *values.shape[1:]), values.dtype)])


def _added(clusters: Integers, values: Any, size: int) -> Any:
    """Return the sums of whole numbers, or rows of them, by cluster."""
    sums = np.zeros((size, *values.shape[1:]), np.int64)
    if len(clusters):
        order = np.argsort(clusters, kind="stable")
        ordered = clusters[order]
        begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sums[ordered[begins]] = np.add.reduceat(values[order], begins, axis=0)
    return sums


def sum_tables(item: Item, place: Place) -> dict[str, str]:
    """Add up the sums of several shards, and keep the best of their examples."""
    summed, shown = place.read_table(item["sums"][0]), [place.read_table(item["examples"][0])]
    for sums, examples in zip(item["sums"][1:], item["examples"][1:], strict=True):
        summed = _two(summed, place.read_table(sums))
        shown = [best(pa.concat_tables([*shown, place.read_table(examples)]), item["count"])]
    return {"sums": place.write_table("sums", summed), "examples": place.write_table("examples", shown[0])}


def _two(one: pa.Table, other: pa.Table) -> pa.Table:
    """Return the sums of two tables, by cluster and in its order; of a shard without documents the dimensions are not known."""
    if not (one.num_rows and other.num_rows):
        return one if one.num_rows else other
    clusters = np.concatenate([one.column("cluster").to_numpy(), other.column("cluster").to_numpy()])
    names, rows = np.unique(clusters, return_inverse=True)
    columns: dict[str, Any] = {"cluster": pa.array(names)}
    for name in one.column_names[1:-1]:
        values = np.concatenate([one.column(name).to_numpy(), other.column(name).to_numpy()])
        summed = np.zeros(len(names), values.dtype)
        np.add.at(summed, rows, values)
        columns[name] = pa.array(summed)
    sizes = [table.schema.field("vector").type.list_size for table in (one, other)]
    if sizes[0] != sizes[1]:
        raise mixed_dimensions(*sizes)
    vectors = np.concatenate([vector_sums(one), vector_sums(other)])
    flat = pa.array(_added(rows, vectors, len(names)).reshape(-1))
    return pa.table(columns | {"vector": pa.FixedSizeListArray.from_arrays(flat, type=one.schema.field("vector").type)})


def vector_sums(table: pa.Table) -> Integers:
    """Return the sums of unit vectors in units of 2^-30, shape (clusters, dimensions)."""
    column = pa.concat_arrays([*table.column("vector").chunks, pa.array([], table.schema.field("vector").type)])
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), np.int64).reshape(-1, column.type.list_size)


def examples_of(docs: pa.RecordBatch, clusters: Integers, distances: Floats, item: Item) -> pa.Table:
    """Return the documents of a batch that lie nearest to and farthest from the centroids of their clusters."""
    ties = hash64(docs.column(ID))
    found = [EXAMPLES.empty_table()]
    for side, sign in ((NEAREST, 1.0), (FARTHEST, -1.0)):
        rows = np.flatnonzero(ranks_within(clusters, sign * distances, ties) < item["count"])
        chosen = docs.take(pa.array(rows))
        url = leaf(chosen, item["url"]).cast(pa.string()) if item["url"] else pa.nulls(len(rows), pa.string())
        opening = pc.utf8_slice_codeunits(pc.fill_null(chosen.column(TEXT), ""), 0, item["opening_chars"]).cast(pa.string())
        sides = pa.array(np.full(len(rows), side, np.int8))
        columns = [clusters[rows], sides, distances[rows], ties[rows], chosen.column(ID).cast(pa.string()), url, opening]
        found.append(pa.table([pa.array(column) if isinstance(column, np.ndarray) else column for column in columns], schema=EXAMPLES))
    return pa.concat_tables(found)


def best(examples: pa.Table, count: int) -> pa.Table:
    """Return the `count` nearest and farthest of each cluster; equal distances are ordered by a hash of the id."""
    side = examples.column("side").to_numpy()
    signed = examples.column("distance").to_numpy() * np.where(side == NEAREST, 1.0, -1.0)
    groups = examples.column("cluster").to_numpy() * 2 + side
    ranks = ranks_within(groups, signed, examples.column("tie").to_numpy())
    kept = np.flatnonzero(ranks < count)
    return examples.take(pa.array(kept[np.lexsort((ranks[kept], groups[kept]))])).combine_chunks()
