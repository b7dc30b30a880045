"""The middle phases of `minhash_dedup`: pairs out of buckets, groups of documents that pairs connect, blocks of work.

In a bucket every document is compared with the `heads`: the first of it, at most `max_heads`. A bucket that is larger than a
partition should be is read twice in pieces: once for its heads, then piece by piece, each by a task of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.work import Place
from curate_operators.minhash_sign import SHARD_BITS, Item, UInt64s, buckets_schema, rank_names, read

PAIRS = pa.schema({"earlier": pa.uint64(), "later": pa.uint64()})
VERDICTS = pa.schema({"kept": pa.uint64(), "document": pa.uint64(), "similarity": pa.float64()})
"""A document that goes, and the one that stays in its place; without a similarity nobody compared them."""

PLACES = pa.schema({"document": pa.uint64(), "place": pa.uint64()})
"""Where a document stands among all in pairs, in the order in which they are decided."""

CHUNK_PAIRS = 1 << 20
NODE_BYTES, PAIR_BYTES = 64, 32  # what a document costs in a block besides its shingles, and each of its pairs
Rows = list[Any]  # the columns of `buckets_schema`: bucket, ranks, document, size


def pieces(parts: list[Item], limit: int) -> list[list[Item]]:
    """Return the ranges of a partition in pieces of about `limit` bytes."""
    cut: list[list[Item]] = [[]]
    held = 0
    for part in parts:
        size = part["stop"] - part["start"]
        if held and held + size > limit:
            cut.append([])
            held = 0
        cut[-1].append(part)
        held += size
    return cut


def find_heads(item: Item, place: Place) -> str:
    """Write the heads of every bucket of one partition, of those with more than one document."""
    schema = buckets_schema(item["rules"])
    most = max(item["max_heads"], 2)  # a bucket of two must be told from one
    heads, waiting, held = joined([], schema), [], 0
    for batch in read(item, place, schema):
        waiting.append(_arrays(batch))
        held += batch.num_rows
        if held > len(heads[0]):  # so that the work grows with the rows, not with ranges times rows
            heads, waiting, held = _heads(joined([heads, *waiting], schema), most), [], 0
    heads = _heads(_repeated(joined([heads, *waiting], schema)), item["max_heads"])
    return place.write_table("heads", pa.table(heads, schema.names))


def pair_piece(item: Item, place: Place) -> Item:
    """Write the pairs of one piece of a partition, and who its documents are."""
    schema = buckets_schema(item["rules"])
    rows = joined([_arrays(batch) for batch in read(item, place, schema)], schema)
    if item["heads"] is None:
        rows = _repeated(rows)
        heads = _heads(rows, item["max_heads"])
    else:
        heads = _arrays(place.read_table(item["heads"]))
        rows = _within(rows, heads[0])
    if item["first"]:
        rows, heads = _with_new(rows, heads, np.uint64(item["first"]) << SHARD_BITS)
        rows = rows if item["heads"] else _repeated(rows)
    begun, before, rows = _ranked(rows, heads)
    before = np.where(rows[-2] >= np.uint64(item["first"]) << SHARD_BITS, before, 0)  # what an index has is decided
    head = heads[-2][begun] if len(begun) else rows[-2]
    members = [*rows[1:], head, before]
    if item["heads"]:
        members = [np.concatenate(both) for both in zip(members, _elsewhere(heads, rows), strict=True)]
    copies = joined([], PAIRS)

    def pairs() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for partition, batch in _pairs(rows[-2], heads[-2], begun, before):
            mine = batch.column("later").to_numpy() >= np.uint64(item["copies"]) << SHARD_BITS
            copies[:] = joined([copies, [column.to_numpy()[mine] for column in batch.columns]], PAIRS)
            yield partition, batch

    found = place.write_shuffle(1, PAIRS, pairs())
    behind = distinct(rows[-2][(before >= item["max_heads"]) & (rows[-2] < np.uint64(item["copies"]) << SHARD_BITS)])
    return {
        "pairs": asdict(found),
        "members": place.write_table("members", pa.table(members, [*schema.names[1:], "head", "pairs"])),
        "count": int(before.sum()),
        "documents": len(distinct(members[-4])),
        "copies": place.write_table("copies", pa.table(copies, PAIRS.names)) if len(copies[0]) else None,
        "cut": place.write_table("cut", pa.table({"document": behind})) if len(behind) else None,
    }


def _arrays(batch: pa.RecordBatch | pa.Table) -> Rows:
    return [column.to_numpy() for column in batch.columns]


def joined(parts: list[Rows], schema: pa.Schema) -> Rows:
    """Return rows of a schema one after another, column by column."""
    return [np.concatenate([np.zeros(0, field.type.to_pandas_dtype()), *(part[k] for part in parts)]) for k, field in enumerate(schema)]


def new(values: Any) -> Any:
    """Return which of sorted values differ from the one before them."""
    return np.concatenate([np.ones(min(len(values), 1), np.bool_), values[1:] != values[:-1]])


def distinct(values: UInt64s) -> UInt64s:
    """Return values in order, each once; runs that are in order already are merged, which `np.unique` takes 20 times as long for."""
    values = np.sort(values, kind="stable")
    found: UInt64s = values[new(values)]
    return found


def _repeated(rows: Rows) -> Rows:
    """Return the rows of buckets with more than one."""
    order = np.argsort(rows[0], kind="stable")
    first = new(rows[0][order])
    several = order[~(first & np.append(first[1:], True))] if len(order) else order
    return [column[several] for column in rows]


def _heads(rows: Rows, most: int) -> Rows:
    """Return the first rows of each bucket, in order."""
    order = np.lexsort(tuple(reversed(rows[:-1])))
    rows = [column[order] for column in rows]
    starts = np.flatnonzero(new(rows[0]))
    position = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return [column[position < most] for column in rows]


def _within(rows: Rows, buckets: UInt64s) -> Rows:
    place = np.minimum(np.searchsorted(buckets, rows[0]), max(len(buckets) - 1, 0))
    there = buckets[place] == rows[0] if len(buckets) else np.zeros(len(rows[0]), np.bool_)
    return [column[there] for column in rows]


def _elsewhere(heads: Rows, rows: Rows) -> Rows:
    """Return as members, without pairs, those heads that are rows of another piece."""
    found = _within(heads, np.unique(rows[0]))
    other = ~np.isin(found[-2], rows[-2])
    found = [column[other] for column in found]
    return [*found[1:], found[-2], np.zeros(len(found[0]), np.int64)]


def _with_new(rows: Rows, heads: Rows, first: np.uint64) -> tuple[Rows, Rows]:
    """Return new documents, the known ones that they may be compared with, and the heads without documents that went."""
    new = [column[rows[-2] >= first] for column in rows]
    heads = _within([column[heads[-1] > 0] for column in heads], np.unique(new[0]))
    both = zip(new, (column[heads[-2] < first] for column in heads), strict=True)
    return _within([np.concatenate(pair) for pair in both], heads[0]), heads


def _ranked(rows: Rows, heads: Rows) -> tuple[Any, Any, Rows]:
    """Return the place of the first head of each row's bucket, how many heads stand before the row, and the rows in order."""
    tag = np.concatenate([np.zeros(len(heads[0]), np.int8), np.ones(len(rows[0]), np.int8)])
    both = [np.concatenate(pair) for pair in zip(heads, rows, strict=True)]
    order = np.lexsort((tag, *reversed(both[:-1])))
    is_row = tag[order] == 1
    mine = order[is_row]
    rows = [column[mine] for column in both]
    begun = np.searchsorted(heads[0], rows[0])
    before = np.cumsum(~is_row)[is_row] - begun
    last = np.maximum(begun + before - 1, 0)
    itself = (before > 0) & (heads[-2][last] == rows[-2]) if len(heads[0]) else np.zeros(len(mine), np.bool_)
    return begun, before - itself, rows


def _pairs(document: UInt64s, heads: UInt64s, begun: Any, before: Any) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield each row with each head before it."""
    edges = np.concatenate([[0], np.cumsum(before)])
    start = 0
    while start < len(document):
        stop = max(start + 1, int(np.searchsorted(edges, edges[start] + CHUNK_PAIRS, "right")) - 1)
        counts = before[start:stop]
        later = np.repeat(document[start:stop], counts)
        step = np.arange(len(later)) - np.repeat(edges[start:stop] - edges[start], counts)
        earlier = heads[np.repeat(begun[start:stop], counts) + step]
        batch = pa.RecordBatch.from_arrays([pa.array(earlier), pa.array(later)], schema=PAIRS)
        yield np.zeros(len(later), np.int64), batch
        start = stop


def group_documents(item: Item, place: Place) -> Item:
    """Find the groups that pairs connect and cut them into blocks; about 100 bytes for each document in a pair."""
    document, ranks, size = _members(item["members"], item["rules"], place)
    parents, paired = np.arange(len(document), dtype=np.int64), np.zeros(len(document), np.int64)
    real = np.searchsorted(document, np.uint64(item["copies"]) << SHARD_BITS)  # copies come last
    for path in item["members"]:
        table = place.read_table(path)
        if item["mode"] == "component":  # where a copy would connect what it resembles
            table = table.filter(pa.array(table.column("document").to_numpy() < np.uint64(item["copies"]) << SHARD_BITS))
        left, right = (np.searchsorted(document, table.column(name).to_numpy()) for name in ("head", "document"))
        kernels.joined(parents, left, right)
        np.add.at(paired, right, table.column("pairs").to_numpy())
    group = kernels.roots(parents)
    order = np.lexsort((document, *reversed(ranks), group))
    largest = int(np.bincount(group[:real]).max()) if real else 0
    result: Item = {"documents": len(document), "groups": int((group == np.arange(len(group))).sum()), "largest": largest}
    if item["mode"] == "component":
        verdicts = place.write_shuffle(item["shards"], VERDICTS, first_stays(group[order], document[order]))
        return result | {"verdicts": asdict(verdicts)}
    starts, units = blocks(group[order], held_bytes(paired, size)[order], item["limit"])
    position = np.empty(len(order), np.uint64)
    position[order] = np.arange(len(order), dtype=np.uint64)
    return result | {
        "nodes": place.write_table("nodes", pa.table({"document": document, "place": position})),
        "starts": starts,
        "units": units,
    }


def held_bytes(paired: Any, size: Any) -> Any:
    """Return how much documents take in a block, by the number of their pairs and of their shingles."""
    return NODE_BYTES + PAIR_BYTES * paired + 8 * size.astype(np.int64)


def blocks(group: Any, held: Any, limit: int) -> tuple[list[int], list[int]]:
    """Return where blocks begin among documents in order, and units among blocks; both end with the number of all."""
    block, unit = kernels.packed(group, held, limit)
    starts = np.searchsorted(block, np.arange(len(unit) + 1))
    return starts.tolist(), np.searchsorted(unit, np.arange(unit[-1] + 2 if len(unit) else 1)).tolist()


def _members(paths: list[str], rules: int, place: Place) -> tuple[UInt64s, Rows, Any]:
    """Return every document in a pair, in the dataset's order, with its ranks and its size."""
    names = ["document", *rank_names(rules), "size"]
    schema = pa.schema([(name, pa.uint32() if name == "size" else pa.uint64()) for name in names])
    known, waiting, held = joined([], schema), [], 0
    for number, path in enumerate(paths, 1):
        waiting.append(_arrays(place.read_table(path).select(names)))
        held += len(waiting[-1][0])
        if held > len(known[0]) or number == len(paths):  # so that the work grows with the rows, not with files times rows
            known, waiting, held = joined([known, *waiting], schema), [], 0
            _, first = np.unique(known[0], return_index=True)
            known = [column[first] for column in known]
    return known[0], known[1:-1], known[-1]


def first_stays(group: Any, document: UInt64s) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield a verdict for every document but the first of its group; nobody compared them."""
    starts = new(group)
    first = document[starts][np.cumsum(starts) - 1][~starts] if len(group) else document
    later = document[~starts]
    batch = pa.RecordBatch.from_arrays([pa.array(first), pa.array(later), pa.nulls(len(later), pa.float64())], schema=VERDICTS)
    yield first >> SHARD_BITS, batch
