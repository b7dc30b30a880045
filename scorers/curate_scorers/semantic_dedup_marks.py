"""The marks of `semantic_dedup` and `prototypes`, with the document that stays in the place of each that goes.

    witness   per block: for each document that goes, the most similar one before it in its cluster that stays; told to the shards
    (write)   per shard: the marks

A task holds two blocks (64 MiB each), what stays of one, a tile of products (32 MiB), and 100 bytes for each document of its cluster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import read_shard
from curate.document import ID, type_at
from curate.errors import PipelineError
from curate.work import Place, Work
from curate_scorers.cluster_vectors import verify_type
from curate_scorers.semantic_dedup_blocks import ROW, Block, Blocks, changed, parts_of, read_block, rows_of
from curate_scorers.semantic_dedup_read import Item
from curate_scorers.semantic_dedup_values import compared, values
from curate_scorers.semantic_dedup_vectors import Floats, improve, nearest, told

ANSWER = pa.schema({"place": pa.uint64(), "kept_id": pa.string(), "similarity": pa.float64(), "value": pa.float64(), "leads": pa.bool_()})
ADDED = {
    "keep": pa.bool_(),
    "cluster": pa.string(),
    "kept_id": pa.string(),
    "similarity": pa.float64(),
    "reason": pa.string(),
    "value": pa.float64(),
}


def finish(work: Work, items: list[Item], blocks: Blocks, paths: list[str], threshold: float | None, reason: str) -> int:
    """Write the marks: a document goes when its value is above the threshold (None: always, if it has one). Return how many do."""
    limit = -math.inf if threshold is None else threshold
    asked = [
        item | {"values": paths[i], "earlier_values": [paths[j] for j in blocks.earlier(i)], "threshold": limit, "shards": len(items)}
        for i, item in enumerate(compared(blocks))
    ]
    found = work.map("witness", witness_block, asked, blocks.sizes)
    parts = parts_of(work, found) or [[] for _ in items]
    marks = [item | {"parts": own, "threshold": limit, "reason": reason} for item, own in zip(items, parts, strict=True)]
    work.write_shards(mark_shard, marks)
    return sum(one["gone"] for one in found)


def witness_block(item: Item, place: Place) -> Item:
    """Tell the shards what becomes of the documents of a block, with the most similar kept document before each that goes."""
    block, value = read_block(item["block"], place), values(item["values"], place)
    asked = np.flatnonzero(value > item["threshold"])
    best, winner, (places, ids) = _nearest_kept(item, place, block, asked)
    at, similarity = np.full(len(value), -1, np.int64), np.zeros(len(value))
    at[asked], similarity[asked] = winner, told(best)
    evidence = [ids.take(pa.array(at, mask=at < 0)), pa.array(similarity, mask=at < 0), pa.array(value, mask=np.isneginf(value))]
    own = pa.RecordBatch.from_arrays([pa.array(block.places), *evidence, pa.array(np.zeros(len(at), np.bool_))], schema=ANSWER)
    rows = (own, _leading(np.unique(places[winner[winner >= 0]])))
    spread = ((batch.column("place").to_numpy() >> np.uint64(32), batch) for batch in rows)
    return {"shuffle": asdict(place.write_shuffle(item["shards"], ANSWER, spread)), "gone": len(asked)}


def _nearest_kept(item: Item, place: Place, block: Block, asked: Any) -> tuple[Floats, Any, tuple[Any, pa.Array]]:
    """Return the highest cosine of each asked document to a kept one before it, that one's row, and the places and ids of all rows.

    Rows are the kept documents of the blocks before, in order, and then those of the block itself; −∞ and −1 for none.
    """
    best, winner = np.full(len(asked), -np.inf), np.full(len(asked), -1, np.int64)
    places, ids, begun = [], [], 0
    for path, its_values in zip(item["earlier"], item["earlier_values"], strict=True):
        other, kept = read_block(path, place), np.flatnonzero(values(its_values, place) <= item["threshold"])
        improve(best, winner, *nearest(block.vectors[asked], other.vectors[kept]), begun)
        places.append(other.places[kept])
        ids.append(other.ids.take(pa.array(kept)))
        begun += len(kept)
    own = np.setdiff1d(np.arange(len(block.ids)), asked, assume_unique=True)
    for rows in block.clusters_of():
        which, named = (slice(*np.searchsorted(chosen, [rows.start, rows.stop])) for chosen in (asked, own))
        ends = np.searchsorted(own[named], asked[which])
        found, where = nearest(block.vectors[asked[which]], block.vectors[own[named]], ends)
        improve(best[which], winner[which], found, own[named][where] if named.start < named.stop else where, begun)
    return best, winner, (np.concatenate([*places, block.places]), pa.concat_arrays([*ids, block.ids]))


def _leading(places: Any) -> pa.RecordBatch:
    """Return what tells documents that others go for them."""
    none = [pa.nulls(len(places), ANSWER.field(name).type) for name in ("kept_id", "similarity", "value")]
    return pa.RecordBatch.from_arrays([pa.array(places), *none, pa.array(np.ones(len(places), np.bool_))], schema=ANSWER)


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    ids = pa.concat_arrays(
        [pa.array([], pa.string()), *(b.column(ID).cast(pa.string()) for b in read_shard(place.storage, item["documents"], [ID]))]
    )
    told = rows_of(item, place, ANSWER)
    row, leads = (told.column("place").to_numpy() & ROW).astype(np.int64), told.column("leads").to_numpy()
    if len(row) and row.max() >= len(ids):
        raise changed(item)
    at = np.full(len(ids), -1, np.int64)
    at[row[~leads]] = np.flatnonzero(~leads)
    followed = np.zeros(len(ids), np.bool_)
    followed[row[leads]] = True
    kept_id, similarity, value = (told.column(name).combine_chunks().take(pa.array(at, mask=at < 0)) for name in ANSWER.names[1:4])
    gone = pc.fill_null(pc.greater(value, item["threshold"]), False)
    reason = pc.if_else(gone, pa.scalar(item["reason"]), pa.scalar(None, pa.string()))
    cluster = pc.if_else(pa.array(followed), ids, kept_id)
    columns = {ID: ids, "keep": pc.invert(gone), "cluster": cluster, "kept_id": kept_id, "similarity": similarity, "reason": reason}
    yield pa.RecordBatch.from_pydict(columns | {"value": value})


def removable(keep_fraction: float | None, documents: int) -> int:
    """Return how many documents may go; a fraction is taken as it is written, not as the nearest double."""
    return math.floor((1 - Fraction(str(keep_fraction))) * documents) if keep_fraction is not None else 0


def verify_fraction(use: str, fraction: float | None) -> None:
    """Raise `PipelineError` when it is no share."""
    if fraction is not None and not 0 < fraction <= 1:
        raise PipelineError(f"{use}: `keep_fraction` is {fraction}, not above 0 and up to 1", "`keep_fraction: 0.75` keeps three quarters")


def distance_beside(cluster: str, distance: str | None) -> str:
    """Return the column of distances: the one that is named, else the field beside the cluster."""
    return distance if distance is not None else f"{cluster.rpartition('.')[0]}.distance".removeprefix(".")


def verify_columns(use: str, schema: pa.Schema, column: str, cluster: str, distance: str | None) -> None:
    """Raise `PipelineError` when columns that are there are not vectors, whole numbers and numbers."""
    verify_type(use, schema, column)
    kind = type_at(schema, cluster)
    if kind is not None and not pa.types.is_integer(kind):
        raise PipelineError(f"{use}: column `{cluster}` is {kind}, not the number of a cluster", "`cluster` gives one")
    kind = type_at(schema, distance) if distance is not None else None
    if kind is not None and not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise PipelineError(f"{use}: column `{distance}` is {kind}, not a number", "`distance` names the distances to the centroids")
