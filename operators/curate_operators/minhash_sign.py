"""The first phases of `minhash_dedup`: signatures, documents that are equal, and what goes into the buckets.

A document is a number: its shard in the upper 32 bits, its row in the lower. Documents stand in the order of their ranks by the
rules of `keep`, then of their numbers; an earlier one is kept rather than a later one. The shards of an index are numbered
first (0 to `first` - 1), and where there are rules its dumps are the highest rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels, shuffle
from curate.dataset import read_shard
from curate.document import ID, TEXT
from curate.shuffle import Range, ShuffleFile
from curate.storage import Storage, open_storage
from curate.work import Place
from curate_operators import minhash_canary as canary
from curate_operators.copy_order import parse

UInt64s = np.ndarray[Any, np.dtype[np.uint64]]
Item = dict[str, Any]

FOLLOWERS = pa.schema({"leader": pa.uint64(), "document": pa.uint64()})
"""A document whose shingles are those of an earlier one, the first of its kind."""

CLASS_BYTES, BUCKET_BYTES = 24, 20  # what a document costs in the shuffle of kinds, and in each bucket
SENT_ROWS = 1 << 18
PIECE_BYTES = 2 << 20  # of text that is signed at once: what is made of it stays in the cache, and memory small
SHARD_BITS = np.uint64(32)
ROW = np.uint64(0xFFFFFFFF)


def rank_names(rules: int) -> list[str]:
    """Return the columns that say how late a document comes by each rule of `keep`."""
    return [f"rank_{rule}" for rule in range(rules)]


def kinds_schema(rules: int) -> pa.Schema:
    """Return what `classes` sees: documents with equal `same` and `check` have the same shingles."""
    return pa.schema([(name, pa.uint64()) for name in ("same", "check", *rank_names(rules), "document")])


def buckets_schema(rules: int) -> pa.Schema:
    """Return what lies in buckets: a document in a bucket of equal bands, and how many shingles it has."""
    return pa.schema([(name, pa.uint64()) for name in ("bucket", *rank_names(rules), "document")] + [("size", pa.uint32())])


def signed_schema(rules: int, bands: int) -> pa.Schema:
    """Return what a shard keeps of its documents, in their order: their kind, ranks and size, and their buckets."""
    names = ["same", "check", *rank_names(rules)]
    buckets = [(f"bucket_{band}", pa.uint64()) for band in range(bands)]
    return pa.schema([*((name, pa.uint64()) for name in names), ("size", pa.uint32()), *buckets])


def sign_shard(item: Item, place: Place) -> Item:
    """Sign one shard's documents, batch by batch; keep that locally, and send the first of each kind into the shuffle."""
    ranks = item["rules"]
    columns = list(dict.fromkeys([ID, TEXT, *(rule.column.partition(".")[0] for rule in parse(item["keep"]))]))
    schema, sample, kept = kinds_schema(ranks), list[pa.RecordBatch](), list[list[Any]]()

    def batches() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for batch in canary.drawn(read_shard(place.storage, item["path"], columns), item, sample):
            signed = sign(batch, item)
            kept.append([column.to_numpy() for column in signed.columns[: 3 + ranks]])
            yield np.zeros(signed.num_rows, np.int64), signed

    signed = Place(place.storage, f"{place.prefix}.signed").write_shuffle(1, signed_schema(ranks, item["bands"]), batches())
    keys = [np.concatenate([np.zeros(0, np.uint64), *parts]) for parts in zip(*kept, strict=True)] or [np.zeros(0, np.uint64)] * (3 + ranks)
    kept.clear()
    full = keys.pop() > 0
    keys.append(numbers(item["shard"], len(full)))
    leader, firsts = leaders(keys, full)
    file = place.write_shuffle(item["partitions"], schema, _kinds(keys, firsts, item["partitions"], schema))
    local = {"signed": asdict(signed), "leaders": place.write_table("leaders", pa.table({"leader": leader, "full": pa.array(full)}))}
    drawn = place.write_table("drawn", pa.Table.from_batches(sample, canary.SAMPLE)) if sample else None
    return {"local": local, "drawn": drawn, "shuffle": asdict(file)}


def _kinds(keys: list[UInt64s], rows: Any, partitions: int, schema: pa.Schema) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield some rows, so many at once that a copy of them is small."""
    for start in range(0, len(rows), SENT_ROWS):
        chosen = rows[start : start + SENT_ROWS]
        batch = pa.RecordBatch.from_arrays([pa.array(column[chosen]) for column in keys], schema=schema)
        yield batch.column(0).to_numpy() % np.uint64(partitions), batch


def numbers(shard: int, rows: int) -> UInt64s:
    """Return the numbers of a shard's documents."""
    return (np.uint64(shard) << SHARD_BITS) + np.arange(rows, dtype=np.uint64)


def sign(batch: pa.RecordBatch, item: Item) -> pa.RecordBatch:
    """Return for each document of a batch its kind, its ranks, its size and its buckets."""
    signed = zip(*(_signed(texts, item) for texts in _pieces(batch.column(TEXT))), strict=True)
    same, check, size, bands = (np.concatenate(parts, axis=-1) for parts in signed)
    dump = [] if item["dump"] is None else [np.full(batch.num_rows, item["dump"], np.uint64)]
    ranks = [*dump, *(rule.rank(batch) for rule in parse(item["keep"]))]
    columns = [pa.array(column) for column in (same, check, *ranks, size, *bands)]
    return pa.RecordBatch.from_arrays(columns, schema=signed_schema(len(ranks), item["bands"]))


def _signed(texts: pa.Array, item: Item) -> tuple[Any, Any, Any, Any]:
    """Return for each text what tells its kind, twice, its size and its buckets, band by band."""
    found = kernels.shingles(kernels.Texts.of(texts), item["n"], item["unit"], item["fold"])
    signed = kernels.signatures(found, item["bands"] * item["rows"], item["seed"])
    totals = np.zeros(len(found.hashes) + 1, np.uint64)
    np.cumsum(found.hashes, out=totals[1:])
    same = totals[found.first[1:]] - totals[found.first[:-1]]
    check = signed[:, 0].astype(np.uint64) << SHARD_BITS | signed[:, -1].astype(np.uint64)
    return same, check, found.counts.astype(np.uint32), kernels.buckets(signed, item["bands"], item["rows"])


def _pieces(texts: pa.Array) -> Iterator[pa.Array]:
    """Yield a column in pieces of about `PIECE_BYTES`, one at least."""
    sizes = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    piece = np.cumsum(sizes, dtype=np.int64) // PIECE_BYTES
    starts = [0, *(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(texts)]
    yield from (texts.slice(start, stop - start) for start, stop in pairwise(starts))


def leaders(columns: list[UInt64s], valid: Any) -> tuple[Any, Any]:
    """Return for each row the row of the first of its kind, and the rows that are; rows without shingles are no kind."""
    rows = np.flatnonzero(valid)
    order = rows[np.lexsort(tuple(column[rows] for column in reversed(columns)))]
    same, check = columns[0][order], columns[1][order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (same[1:] != same[:-1]) | (check[1:] != check[:-1])
    leader = np.arange(len(valid), dtype=np.int64)
    leader[order] = order[starts][np.cumsum(starts) - 1] if len(order) else order
    return leader, np.sort(order[starts])


def join_classes(item: Item, place: Place) -> Item:
    """Tell the shards which documents are as an earlier one elsewhere: its shard, and behind all of those the leader's."""
    schema = kinds_schema(item["rules"])
    table = pa.Table.from_batches(read(item, place, schema), schema)
    columns = [column.to_numpy() for column in table.columns]
    document = columns[-1]
    leader, _ = leaders(columns, np.ones(len(document), np.bool_))
    later = leader != np.arange(len(leader))
    rows = pa.RecordBatch.from_arrays([pa.array(document[leader[later]]), pa.array(document[later])], schema=FOLLOWERS)
    own, other = (rows.column(k).to_numpy() >> SHARD_BITS for k in (1, 0))
    pairs = iter([(own, rows), (other + np.uint64(item["shards"]), rows)])
    return asdict(place.write_shuffle(2 * item["shards"], FOLLOWERS, pairs))


def spread_shard(item: Item, place: Place) -> Item:
    """Send every document that is the first of its kind into its buckets."""
    chosen = firsts(item, place)
    file = place.write_shuffle(item["spread"], buckets_schema(item["rules"]), in_buckets(signed_batches(item, place), chosen, item))
    return {"shuffle": asdict(file), "drawn": _firsts_drawn(item["drawn"], chosen, place)}


def in_buckets(batches: Iterator[pa.RecordBatch], chosen: Any, item: Item) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield the documents of a shard that are `chosen`, of what was signed of all of them, once for each of their buckets."""
    schema, document, begun = buckets_schema(item["rules"]), numbers(item["shard"], len(chosen)), 0
    for batch in batches:
        rows = np.flatnonzero(chosen[begun : begun + batch.num_rows])
        columns = {name: batch.column(name).to_numpy()[rows] for name in batch.schema.names[2:]}
        rest = [*(columns[name] for name in rank_names(item["rules"])), document[rows + begun], columns["size"]]
        rest = [pa.array(column) for column in rest]
        for band in range(item["bands"]):
            bucket = columns[f"bucket_{band}"]
            yield bucket % np.uint64(item["spread"]), pa.RecordBatch.from_arrays([pa.array(bucket), *rest], schema=schema)
        begun += batch.num_rows


def _firsts_drawn(path: str | None, chosen: Any, place: Place) -> str | None:
    """Return where those documents lie that were drawn and are the first of their kind."""
    if path is None:
        return None
    drawn = place.read_table(path)
    first = chosen[(drawn.column("document").to_numpy() & ROW).astype(np.int64)]
    return path if first.all() else place.write_table("drawn", drawn.filter(pa.array(first)))


def signed_batches(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield what `sign_shard` kept of a shard's documents, in their order."""
    yield from read({"parts": ranges(place.storage, [item["local"]["signed"]])[0]}, place, signed_schema(item["rules"], item["bands"]))


def firsts(item: Item, place: Place) -> Any:
    """Return for each document of a shard whether it is the first of its kind; `parts` tell of those that are as one elsewhere."""
    leader, full = (column.to_numpy() for column in place.read_table(item["local"]["leaders"]).columns)
    chosen = (leader == np.arange(len(leader))) & full
    for batch in read(item, place, FOLLOWERS):
        chosen[(batch.column("document").to_numpy() & ROW).astype(np.int64)] = False
    return chosen


def storage_of(item: Item, place: Place) -> Storage:
    """Return where a shard lies: the workspace, unless an index is elsewhere."""
    return open_storage(item["storage"]) if "storage" in item else place.storage


def read(item: Item, place: Place, schema: pa.Schema, key: str = "parts") -> Iterator[pa.RecordBatch]:
    """Yield the rows of an item's ranges."""
    return shuffle.read(place.storage, [Range(**part) for part in item[key]], schema)


def ranges(place: Any, results: list[Item]) -> list[list[Item]]:
    """Return the ranges of each partition of shuffle files, as plain data."""
    return [[asdict(part) for part in parts] for parts in shuffle.ranges(place, [ShuffleFile(**result) for result in results])]
