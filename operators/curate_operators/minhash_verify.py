"""The later phases of `minhash_dedup`: the exact similarity of every pair, and who stays.

Documents that pairs connect stand in blocks, one after another in the order in which they are decided (`place`). The texts of
these documents are read again, their whole sets of shingles go to their block, and every pair is compared where its later
document is. A task holds two blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.dataset import read_shard
from curate.document import ID, TEXT
from curate.shuffle import AGAIN
from curate.work import Place
from curate_operators.minhash_known import removed_of, verify
from curate_operators.minhash_pairs import PAIRS, PLACES, VERDICTS, joined
from curate_operators.minhash_sign import FOLLOWERS, ROW, SHARD_BITS, Item, read, storage_of

SETS = pa.schema({"place": pa.uint64(), "set": pa.large_list(pa.uint64())})
EDGES = ["earlier", "later", "similarity"]
NAMED = pa.schema({"document": pa.uint64(), "kept_id": pa.string(), "similarity": pa.float64()})
"""A verdict with the name of the document that stays."""


def route_pairs(item: Item, place: Place) -> Item:
    """Send every pair, as places, to the block of its later document."""
    document, position = _places(item, place)
    edges = np.array(item["edges"], np.uint64)

    def pairs() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for batch in read(item, place, PAIRS):
            both = [position[np.searchsorted(document, column.to_numpy())] for column in batch.columns]
            block = np.searchsorted(edges, both[1], "right") - 1
            yield block, pa.RecordBatch.from_arrays([pa.array(column) for column in both], schema=PAIRS)

    return asdict(place.write_shuffle(item["blocks"], PAIRS, pairs()))


def _places(item: Item, place: Place) -> tuple[Any, Any]:
    """Return documents in order and their places: of all in pairs, or of those that this task has to do with."""
    if isinstance(item["nodes"], str):
        document, position = (column.to_numpy() for column in place.read_table(item["nodes"]).columns)
        return document, position
    columns = joined([[column.to_numpy() for column in batch.columns] for batch in read(item, place, PLACES, "nodes")], PLACES)
    order = np.argsort(columns[0])
    return columns[0][order], columns[1][order]


def gather_shard(item: Item, place: Place) -> Item:
    """Read the texts of one shard again and send the shingles of those in pairs to their blocks."""
    if "sealed" in item:  # the shard of planted copies, which is no dataset's
        verify(place.storage, item["path"], item["sealed"], AGAIN)
    document, position = _places(item, place)
    edges = np.array(item["edges"], np.uint64)
    low, high = np.searchsorted(document, np.array([item["shard"], item["shard"] + 1], np.uint64) << SHARD_BITS)
    rows, position = (document[low:high] & ROW).astype(np.int64), position[low:high]

    def sets() -> Iterator[tuple[Any, pa.RecordBatch]]:
        begun = 0
        for batch in read_shard(storage_of(item, place), item["path"], [TEXT]):
            a, b = np.searchsorted(rows, [begun, begun + batch.num_rows])
            if a == b:
                begun += batch.num_rows
                continue
            texts = kernels.Texts.of(batch.column(TEXT).take(pa.array(rows[a:b] - begun)))
            found = kernels.shingle_sets(kernels.shingles(texts, item["n"], item["unit"], item["fold"]))
            values = pa.LargeListArray.from_arrays(pa.array(found.first), pa.array(found.hashes))
            sent = pa.RecordBatch.from_arrays([pa.array(position[a:b]), values], schema=SETS)
            yield np.searchsorted(edges, position[a:b], "right") - 1, sent
            begun += batch.num_rows

    return asdict(place.write_shuffle(item["blocks"], SETS, sets()))


def compare_block(item: Item, place: Place) -> Item:
    """Compare the pairs whose later document is in a block, and write those that are similar enough."""
    earlier, later = _unique_pairs(item, place)
    own_places, own_order, own = _sets(item, place, "sets")
    columns = [np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.float64)]
    for k, parts in enumerate(item["others"]):
        inside = (earlier >= item["edges"][k]) & (earlier < item["edges"][k + 1])
        if not inside.any():
            continue  # a large group has many blocks, and heads are mostly in its first ones
        places, order, sets = (own_places, own_order, own) if parts is None else _sets({"parts": parts}, place, "parts")
        rows, others = _lookup(places, order, earlier[inside]), _lookup(own_places, own_order, later[inside])
        similarity = kernels.jaccard(sets, own, rows, others)
        enough = similarity >= item["similarity"]
        found = [earlier[inside][enough], later[inside][enough], similarity[enough]]
        columns = [np.concatenate(both) for both in zip(columns, found, strict=True)]
    path = place.write_table("edges", pa.table(columns, EDGES))
    return {"edges": path, "compared": len(later), "similar": len(columns[0])}


def _unique_pairs(item: Item, place: Place) -> tuple[Any, Any]:
    """Return each pair once; several buckets may have it."""
    known, waiting, held = joined([], PAIRS), [], 0
    for batch in read(item, place, PAIRS):
        waiting.append([column.to_numpy() for column in batch.columns])
        held += batch.num_rows
        if held > len(known[0]):
            known, waiting, held = _distinct(joined([known, *waiting], PAIRS)), [], 0
    earlier, later = _distinct(joined([known, *waiting], PAIRS))
    return earlier, later


def _distinct(pairs: list[Any]) -> list[Any]:
    order = np.lexsort(tuple(pairs))
    earlier, later = (column[order] for column in pairs)
    new = np.ones(len(order), np.bool_)
    new[1:] = (earlier[1:] != earlier[:-1]) | (later[1:] != later[:-1])
    return [earlier[new], later[new]]


def _sets(item: Item, place: Place, key: str) -> tuple[Any, Any, Any]:
    """Return the places of a block in order, which set belongs to each, and the sets as they came: they are too large to be sorted."""
    batches = list(read(item, place, SETS, key))
    places = np.concatenate([np.zeros(0, np.uint64), *(batch.column(0).to_numpy() for batch in batches)])
    counts = [np.diff(batch.column(1).offsets.to_numpy()) for batch in batches]
    first = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(batch.column(1).flatten().to_numpy() for batch in batches)])
    order = np.argsort(places)
    return places[order], order, kernels.Shingles(first, hashes)


def _lookup(places: Any, order: Any, wanted: Any) -> Any:
    """Return which set each place has."""
    return order[np.searchsorted(places, wanted)]


def decide_unit(item: Item, place: Place) -> Item:
    """Decide about the documents of one unit, in their order, block by block, and tell the shards of those that stay."""
    first, path = item["order"]
    document = place.read_table(path).column("document").slice(item["begin"] - first, item["end"] - item["begin"]).to_numpy()
    copies = np.uint64(item["copies"]) << SHARD_BITS
    gone, of_copies = np.zeros(len(document), np.bool_), []

    def verdicts() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for path in item["edges"]:
            left, right, weight = _in_order(place.read_table(path), item["begin"])
            of_copy = document[right] >= copies
            of_copies.append(pa.table([document[left[of_copy]], document[right[of_copy]], weight[of_copy]], EDGES))
            stays = ~gone[left]  # what went in an earlier block removes nobody
            left, right, weight = left[stays], right[stays], weight[stays]
            edge = kernels.greedy(len(document), left, right, weight)
            gone[edge >= 0] = True
            going = np.flatnonzero((edge >= 0) & (document < copies))  # nobody hears of a copy
            kept = document[left[edge[going]]]
            columns = [pa.array(column) for column in (kept, document[going], weight[edge[going]])]
            yield kept >> SHARD_BITS, pa.RecordBatch.from_arrays(columns, schema=VERDICTS)

    file = place.write_shuffle(item["shards"], VERDICTS, verdicts())
    found = pa.concat_tables(of_copies).combine_chunks()
    return {"shuffle": asdict(file), "copies": place.write_table("copies", found) if len(found) else None}


def _in_order(edges: pa.Table, begin: int) -> tuple[Any, Any, Any]:
    """Return the edges of a block by their later document, as places within the unit, with the similarities."""
    earlier, later, similarity = (column.to_numpy() for column in edges.columns)
    order = np.lexsort((earlier, later))
    left, right = ((places[order] - np.uint64(begin)).astype(np.int64) for places in (earlier, later))
    return left, right, similarity[order]


def name_shard(item: Item, place: Place) -> Item:
    """Add the names of the documents of one shard to verdicts that keep them, and tell the shards of those that go."""
    rows = pa.Table.from_batches(read(item, place, VERDICTS), VERDICTS)
    kept, document = (rows.column(k).to_numpy() for k in range(2))
    own = (kept & ROW).astype(np.int64)
    named = [pa.array(document), _ids(item, place, own), rows.column(2).combine_chunks()]
    batches = [(document >> SHARD_BITS, pa.RecordBatch.from_arrays(named, schema=NAMED))] if len(own) else []
    file = place.write_shuffle(item["shards"], NAMED, iter(batches))
    return {"shuffle": asdict(file), "kept": place.write_table("kept", pa.table({"row": np.unique(own)}))}


def inherit_shard(item: Item, place: Place) -> Item:
    """Tell documents that are as one of this shard what became of it: they go where it goes, or it stays in their place."""
    followers = pa.Table.from_batches(read(item, place, FOLLOWERS, "followers"), FOLLOWERS)
    leader, document = (followers.column(k).to_numpy() for k in range(2))
    told = removed_of(item, place, NAMED) if "index" in item else read(item, place, NAMED)
    verdicts = pa.Table.from_batches(told, NAMED).sort_by("document").combine_chunks()
    gone = verdicts.column("document").to_numpy()
    where = np.searchsorted(gone, leader)
    removed = (where < len(gone)) & (gone[np.minimum(where, len(gone) - 1)] == leader) if len(gone) else np.zeros(len(leader), np.bool_)
    own = (leader & ROW).astype(np.int64)
    staying = pa.table(
        {"document": document[~removed], "kept_id": _ids(item, place, own[~removed]), "similarity": np.ones((~removed).sum())}
    )
    going = verdicts.take(pa.array(where[removed])).set_column(0, "document", pa.array(document[removed]))
    told = pa.concat_tables([staying.cast(NAMED), going.cast(NAMED)]).combine_chunks()
    pairs = [(batch.column(0).to_numpy() >> SHARD_BITS, batch) for batch in told.to_batches()]
    file = place.write_shuffle(item["shards"], NAMED, iter(pairs))
    return {"shuffle": asdict(file), "kept": place.write_table("kept", pa.table({"row": np.unique(own[~removed])}))}


def _ids(item: Item, place: Place, rows: Any) -> pa.Array:
    """Return the ids of some rows of a shard, batch by batch."""
    if not len(rows):
        return pa.array([], pa.string())
    order = np.argsort(rows, kind="stable")
    found, begun = [], 0
    for batch in read_shard(storage_of(item, place), item["path"], [ID]):
        a, b = np.searchsorted(rows[order], [begun, begun + batch.num_rows])
        found.append(batch.column(ID).take(pa.array(rows[order][a:b] - begun)))
        begun += batch.num_rows
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return pa.concat_arrays(found).take(pa.array(back))
