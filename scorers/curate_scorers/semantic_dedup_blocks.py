"""Brings the vectors of each cluster together, in order, in blocks of bounded size: the first phases of `semantic_dedup`.

    key     per shard: cluster, key of the order, place and id of each document with a vector, into the shuffle
    order   per partition of clusters: sorts them and cuts blocks; every shard is told where its vectors belong
    deal    per shard: the vectors, to their blocks
    pack    per block: sorts it

A block holds whole clusters one after another, or a part of one that is larger than a block. Only keys are sorted, so that a cluster
may be larger than memory: a partition of `order` holds some 64 MiB of keys, or those of one cluster (100 bytes a document).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, shuffle
from curate.dataset import Dataset
from curate.document import ID, leaf
from curate.errors import DatasetError
from curate.shuffle import Range, ShuffleFile
from curate.work import Place, Work
from curate_scorers.semantic_dedup_read import Item, batches, keys_within, vectors_of
from curate_scorers.semantic_dedup_vectors import Floats, Integers, in_doubles, mixed, unit_vectors

BLOCK_BYTES = 64 << 20
ROW = np.uint64(0xFFFFFFFF)
KEYS = pa.schema({"cluster": pa.int64(), "key": pa.uint64(), "place": pa.uint64(), "id": pa.string()})
TOLD = pa.schema({"partition": pa.uint32(), "block": pa.uint32(), "position": pa.uint32(), "cluster": pa.int64(), "place": pa.uint64()})
KEY_BYTES = 64


@dataclass(frozen=True)
class Block:
    """Documents of one block in their order: unit vectors (n × d, ready for products), clusters, keys, places (shard and row) and ids."""

    vectors: Floats
    clusters: Integers
    keys: np.ndarray[Any, np.dtype[np.uint64]]
    places: np.ndarray[Any, np.dtype[np.uint64]]
    ids: pa.Array

    def clusters_of(self) -> Iterator[slice]:
        """Yield the rows of each cluster."""
        edges = [0, *(np.flatnonzero(np.diff(self.clusters)) + 1).tolist(), len(self.clusters)]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            yield slice(start, stop)


@dataclass(frozen=True)
class Blocks:
    """All blocks: the file of each, how many documents it has, and how many blocks before it have the same cluster."""

    paths: list[str]
    rows: list[int]
    behind: list[int]
    dim: int
    without: int

    def earlier(self, block: int) -> range:
        """Return the blocks before one that hold documents of its cluster."""
        return range(block - self.behind[block], block)

    @property
    def sizes(self) -> list[int]:
        """The bytes that each block's comparisons read, so that the longest tasks begin first."""
        return [8 * self.dim * rows * (behind + 1) for rows, behind in zip(self.rows, self.behind, strict=True)]


def gathered(use: str, settings: Item, inputs: Sequence[Dataset], work: Work) -> tuple[list[Item], Blocks]:
    """Run the phases; return the items of the shards, and the blocks. `settings` has `column`, `cluster`, `distance`, `order`, `seed`."""
    places, documents = beside.shard_items(use, inputs, "VECTORS, CLUSTERS"), inputs[0]
    sizes = [shard.data.bytes for shard in documents.manifest.shards]
    shared = {"use": use, "partitions": shuffle.partitions_for(documents.rows, KEY_BYTES), "shards": len(sizes)} | settings
    items = [shared | place | {"shard": i} for i, place in enumerate(places)]
    keyed = work.map("key", key_shard, items, sizes)
    dim = _dimensions(use, keyed)
    rows = max(1, BLOCK_BYTES // (8 * max(dim, 1)))
    groups = [shared | {"partition": i, "parts": parts, "rows": rows} for i, parts in enumerate(parts_of(work, keyed))]
    ordered = work.map("order", order_partition, groups)
    first = np.cumsum([0, *(len(found["rows"]) for found in ordered)]).tolist()
    told = parts_of(work, ordered)
    dealt = [item | {"parts": told[i], "first": first[:-1], "blocks": first[-1], "dim": dim} for i, item in enumerate(items)]
    parts = parts_of(work, work.map("deal", deal_shard, dealt, sizes)) if first[-1] else []
    paths = work.map("pack", pack_block, [{"parts": own, "dim": dim} for own in parts])
    every = [[value for found in ordered for value in found[name]] for name in ("rows", "behind")]
    return items, Blocks(paths, every[0], every[1], dim, sum(found["without"] for found in keyed))


def _dimensions(use: str, keyed: Sequence[Item]) -> int:
    known = [(shard, found["dim"]) for shard, found in enumerate(keyed) if found["dim"]]
    for shard, dim in known:
        if dim != known[0][1]:
            raise mixed(use, f"those of shard {known[0][0]} have {known[0][1]}", f"those of shard {shard} have {dim}")
    return known[0][1] if known else 0


def parts_of(work: Work, results: Sequence[Item]) -> list[list[Item]]:
    """Return the ranges of each partition of the shuffle that tasks wrote."""
    files = [ShuffleFile(**result["shuffle"]) for result in results]
    return [[asdict(part) for part in parts] for parts in shuffle.ranges(work.storage, files)]


def rows_of(item: Item, place: Place, schema: pa.Schema) -> pa.Table:
    """Return the rows that lie in the ranges `parts` of an item."""
    read = shuffle.read(place.storage, [Range(**part) for part in item["parts"]], schema)
    return pa.Table.from_batches(read, schema).combine_chunks()


def key_shard(item: Item, place: Place) -> Item:
    """Send the key of each document that has a vector and a cluster to the partition of its cluster."""
    found, dims, begun = [], set(), 0
    for docs in batches(item, place):
        vectors, known = vectors_of(item, docs)
        dims |= {vectors.shape[1]} if len(vectors) else set()
        places = np.uint64(item["shard"] << 32) | np.arange(begun, begun + docs.num_rows, dtype=np.uint64)[known]
        docs, begun = docs.filter(pa.array(known)), begun + docs.num_rows
        columns = [leaf(docs, item["cluster"]).cast(pa.int64()), pa.array(keys_within(item, docs)), pa.array(places), docs.column(ID)]
        found.append(pa.RecordBatch.from_arrays([*columns[:3], columns[3].cast(pa.string())], schema=KEYS))
    if len(dims) > 1:
        raise mixed(item["use"], f"some documents of {item['documents']} have {min(dims)}", f"some {max(dims)}")
    spread = ((batch.column("cluster").to_numpy().view(np.uint64) % np.uint64(item["partitions"]), batch) for batch in found)
    file = place.write_shuffle(item["partitions"], KEYS, spread)
    return {"shuffle": asdict(file), "without": begun - sum(batch.num_rows for batch in found), "dim": max(dims, default=0)}


def order_partition(item: Item, place: Place) -> Item:
    """Sort the documents of each cluster by their keys, ties by id, and tell the shards into which blocks their vectors go."""
    table = rows_of(item, place, KEYS).sort_by([("cluster", "ascending"), ("key", "ascending"), (ID, "ascending"), ("place", "ascending")])
    clusters = table.column("cluster").to_numpy()
    edges = np.flatnonzero(np.diff(clusters, prepend=clusters[:1] - 1, append=clusters[-1:] + 1))
    rows, behind = _cut(np.diff(edges).tolist(), item["rows"])
    count = np.array(rows, np.int64)
    block, position = np.repeat(np.arange(len(rows)), count), np.arange(len(clusters)) - np.repeat(np.cumsum(count) - count, count)
    columns = [np.full(len(clusters), item["partition"]), block, position, clusters, table.column("place").combine_chunks()]
    told = pa.RecordBatch.from_arrays([pa.array(column).cast(field.type) for column, field in zip(columns, TOLD, strict=True)], schema=TOLD)
    shard = told.column("place").to_numpy() >> np.uint64(32)
    return {"shuffle": asdict(place.write_shuffle(item["shards"], TOLD, iter([(shard, told)]))), "rows": rows, "behind": behind}


def _cut(sizes: Sequence[int], limit: int) -> tuple[list[int], list[int]]:
    """Return how many documents each block has, and how many blocks before it have the same cluster."""
    rows: list[int] = []
    behind: list[int] = []
    room = 0
    for size in sizes:
        if size <= room:
            rows[-1] += size
            room -= size
            continue
        parts = [limit] * (size // limit) + ([size % limit] if size % limit else [])
        rows += parts
        behind += range(len(parts))
        room = limit - size if size < limit else 0  # nothing joins a part of a larger cluster
    return rows, behind


def deal_shard(item: Item, place: Place) -> Item:
    """Send the unit vector of each document to its block."""
    told = rows_of(item, place, TOLD).sort_by("place").combine_chunks()
    row = (told.column("place").to_numpy() & ROW).astype(np.int64)
    block = told.column("block").to_numpy().astype(np.int64) + np.array(item["first"], np.int64)[told.column("partition").to_numpy()]
    schema = dealt(item["dim"])

    def spread() -> Iterator[tuple[Any, pa.RecordBatch]]:
        begun = done = 0
        for docs in batches(item, place):
            stop = int(np.searchsorted(row, begun + docs.num_rows))
            vectors, known = vectors_of(item, docs)
            if not np.array_equal(np.flatnonzero(known) + begun, row[done:stop]):
                raise changed(item)
            columns = [told.column(name).slice(done, stop - done).combine_chunks() for name in ("position", "cluster", "place")]
            docs, begun = docs.filter(pa.array(known)), begun + docs.num_rows
            flat = pa.FixedSizeListArray.from_arrays(pa.array(unit_vectors(vectors).reshape(-1)), item["dim"])
            columns += [pa.array(keys_within(item, docs)), docs.column(ID).cast(pa.string()), flat]
            yield block[done:stop], pa.RecordBatch.from_arrays(columns, schema=schema)
            done = stop
        if done < len(row):
            raise changed(item)

    return {"shuffle": asdict(place.write_shuffle(item["blocks"], schema, spread()))}


def changed(item: Item) -> DatasetError:
    """Return the error of a shard that is not what it was in an earlier phase."""
    return DatasetError(f"{item['documents']} changed: its vectors are not those of the first phase", "run again")


def dealt(dim: int) -> pa.Schema:
    """Return what lies in blocks."""
    columns = {"position": pa.uint32(), "cluster": pa.int64(), "place": pa.uint64(), "key": pa.uint64(), ID: pa.string()}
    return pa.schema(columns | {"vector": pa.list_(pa.int32(), dim)})


def pack_block(item: Item, place: Place) -> str:
    """Keep a block as a file."""
    return place.write_table("block", rows_of(item, place, dealt(item["dim"])).sort_by("position"))


def read_block(path: str, place: Place) -> Block:
    """Read a block."""
    table = place.read_table(path).combine_chunks()
    vectors = pc.list_flatten(table.column("vector")).to_numpy().reshape(table.num_rows, -1)
    clusters, keys, places = (table.column(name).to_numpy() for name in ("cluster", "key", "place"))
    return Block(in_doubles(vectors), clusters, keys, places, table.column(ID).combine_chunks())
