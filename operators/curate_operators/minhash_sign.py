"""The first phases of `minhash_dedup`: signatures, documents that are equal, and what goes into the buckets.

A document is a number: its shard in the upper 32 bits, its row in the lower. Documents stand in the order of their ranks by the
rules of `keep`, then of their numbers; an earlier one is kept rather than a later one. The shards of an index are numbered
first (0 to `first` - 1), and where there are rules its dumps are the highest rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

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


def sign_shard(item: Item, place: Place) -> Item:
    """Sign one shard's documents; keep the buckets locally, send the first of each kind into the shuffle."""
    rules, ranks = parse(item["keep"]), item["rules"]
    columns = list(dict.fromkeys([ID, TEXT, *(rule.column.partition(".")[0] for rule in rules)]))
    sample: list[pa.RecordBatch] = []
    batches = canary.drawn(read_shard(place.storage, item["path"], columns), item, sample)
    parts = [sign(batch, item) for batch in batches] or [_nothing(item, ranks)]
    table = pa.concat_tables(parts).combine_chunks()
    schema = kinds_schema(ranks)
    document = pa.array(numbers(item["shard"], table.num_rows))
    keys = table.select(schema.names[:-1]).append_column("document", document)
    leader, firsts = _leaders(keys, table.column("size").to_numpy() > 0)
    sent = keys.take(pa.array(firsts)).cast(schema).combine_chunks()
    sent_to = ((batch.column("same").to_numpy() % np.uint64(item["partitions"]), batch) for batch in sent.to_batches())
    file = place.write_shuffle(item["partitions"], schema, sent_to)
    local = place.write_table("signed", table.append_column("leader", pa.array(leader)))
    drawn = place.write_table("drawn", pa.Table.from_batches(sample, canary.SAMPLE))
    return {"local": local, "drawn": drawn, "shuffle": asdict(file)}


def _nothing(item: Item, rules: int) -> pa.Table:
    names = [*kinds_schema(rules).names[:-1], "size", *(f"bucket_{band}" for band in range(item["bands"]))]
    return pa.table({name: pa.array([], pa.uint32() if name == "size" else pa.uint64()) for name in names})


def numbers(shard: int, rows: int) -> UInt64s:
    """Return the numbers of a shard's documents."""
    return (np.uint64(shard) << SHARD_BITS) + np.arange(rows, dtype=np.uint64)


def sign(batch: pa.RecordBatch, item: Item) -> pa.Table:
    """Return for each document of a batch its kind, its ranks, its size and its buckets."""
    found = kernels.shingles(kernels.Texts.of(batch.column(TEXT)), item["n"], item["unit"], item["fold"])
    signed = kernels.signatures(found, item["bands"] * item["rows"], item["seed"])
    totals = np.concatenate([np.zeros(1, np.uint64), np.cumsum(found.hashes, dtype=np.uint64)])
    same = totals[found.first[1:]] - totals[found.first[:-1]]
    check = signed[:, 0].astype(np.uint64) << SHARD_BITS | signed[:, -1].astype(np.uint64)
    dump = [] if item["dump"] is None else [np.full(batch.num_rows, item["dump"], np.uint64)]
    ranks = [*dump, *(rule.rank(batch) for rule in parse(item["keep"]))]
    bands = kernels.buckets(signed, item["bands"], item["rows"])
    names = ["same", "check", *rank_names(len(ranks)), "size", *(f"bucket_{band}" for band in range(len(bands)))]
    return pa.table([same, check, *ranks, found.counts.astype(np.uint32), *bands], names)


def _leaders(keys: pa.Table, valid: Any) -> tuple[Any, Any]:
    """Return for each row the row of the first of its kind, and the rows that are; rows without shingles are no kind."""
    columns = [column.to_numpy() for column in keys.columns]
    rows = np.flatnonzero(valid)
    order = rows[np.lexsort(tuple(column[rows] for column in reversed(columns)))]
    same, check = columns[0][order], columns[1][order]
    starts = np.ones(len(order), np.bool_)
    starts[1:] = (same[1:] != same[:-1]) | (check[1:] != check[:-1])
    leader = np.arange(keys.num_rows, dtype=np.int64)
    leader[order] = order[starts][np.cumsum(starts) - 1] if len(order) else order
    return leader, np.sort(order[starts])


def join_classes(item: Item, place: Place) -> Item:
    """Tell the shards which documents are as an earlier one elsewhere: its shard, and behind all of those the leader's."""
    schema = kinds_schema(item["rules"])
    table = pa.Table.from_batches(read(item, place, schema), schema)
    document = table.column("document").to_numpy()
    leader, _ = _leaders(table, np.ones(len(document), np.bool_))
    later = leader != np.arange(len(leader))
    rows = pa.RecordBatch.from_arrays([pa.array(document[leader[later]]), pa.array(document[later])], schema=FOLLOWERS)
    own, other = (rows.column(k).to_numpy() >> SHARD_BITS for k in (1, 0))
    pairs = iter([(own, rows), (other + np.uint64(item["shards"]), rows)])
    return asdict(place.write_shuffle(2 * item["shards"], FOLLOWERS, pairs))


def spread_shard(item: Item, place: Place) -> Item:
    """Send every document that is the first of its kind into its buckets."""
    local = place.read_table(item["local"])
    document = numbers(item["shard"], local.num_rows)
    size, chosen = local.column("size").to_numpy(), firsts(item, place, local)
    schema = buckets_schema(item["rules"])
    rest = [*(local.column(name).to_numpy()[chosen] for name in rank_names(item["rules"])), document[chosen], size[chosen]]

    def bands() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for band in range(item["bands"]):
            bucket = local.column(f"bucket_{band}").to_numpy()[chosen]
            arrays = [pa.array(column) for column in (bucket, *rest)]
            yield bucket % np.uint64(item["spread"]), pa.RecordBatch.from_arrays(arrays, schema=schema)

    drawn = place.read_table(item["drawn"])
    first = chosen[(drawn.column("document").to_numpy() & ROW).astype(np.int64)]
    file = place.write_shuffle(item["spread"], schema, bands())
    return {"shuffle": asdict(file), "drawn": place.write_table("drawn", drawn.filter(pa.array(first)))}


def firsts(item: Item, place: Place, local: pa.Table) -> Any:
    """Return for each document of a shard whether it is the first of its kind; `parts` tell of those that are as one elsewhere."""
    chosen = (local.column("leader").to_numpy() == np.arange(local.num_rows)) & (local.column("size").to_numpy() > 0)
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
