"""The exact similarity of every pair that `minhash_dedup` found.

Documents that pairs connect stand in blocks, one after another in the order in which they are decided (`place`). The texts of
these documents are read again, their whole sets of shingles go to their block, and every pair is compared where its later
document is. A task holds two blocks. What is similar is written in order, so that nobody has to sort it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.dataset import read_shard
from curate.document import TEXT
from curate.work import Place
from curate_operators.minhash_pairs import PAIRS, PLACES, distinct, joined, new
from curate_operators.minhash_sign import ROW, SHARD_BITS, Item, UInt64s, read, storage_of

SETS = pa.schema({"place": pa.uint64(), "document": pa.uint64(), "set": pa.large_list(pa.uint64())})
LINKS = pa.schema({"later": pa.uint32(), "document": pa.uint64(), "earlier": pa.large_list(pa.uint32())})
"""A document and those before it that it is similar to, as places within their unit, with its number."""
HALF = np.uint64(32)  # a place within a unit takes half a number
EDGES = ["earlier", "later", "similarity"]


def route_pairs(item: Item, place: Place) -> Item:
    """Send some of the pairs of one file, as places, to the blocks of their later documents."""
    document, position = _places(item, place)
    edges = np.array(item["edges"], np.uint64)

    def pairs() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for batch in read(item, place, PAIRS):
            earlier, later = (column.to_numpy() for column in batch.columns)
            first = np.flatnonzero(new(later))  # a document stands there once for each head before it
            counts = np.diff(np.append(first, len(later)))
            own = position[_sought(document, later[first])]
            block = np.searchsorted(edges, own, "right") - 1
            both = [position[_found(document, earlier)], np.repeat(own, counts)]
            yield np.repeat(block, counts), pa.RecordBatch.from_arrays([pa.array(column) for column in both], schema=PAIRS)

    return asdict(place.write_shuffle(item["blocks"], PAIRS, pairs()))


def _found(known: Any, asked: Any) -> Any:
    """Return where each asked number stands among the sorted known ones; most ask for few (heads), each of which is sought once."""
    encoded = pa.array(asked).dictionary_encode()
    return _sought(known, encoded.dictionary.to_numpy())[encoded.indices.to_numpy()]


def _sought(known: Any, asked: Any) -> Any:
    """Return the same for numbers that are mostly different; in order they are found several times as fast."""
    order = np.argsort(asked)
    found = np.empty(len(order), np.int64)
    found[order] = np.searchsorted(known, asked[order])
    return found


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
    document, position = _places(item, place)
    edges = np.array(item["edges"], np.uint64)
    low, high = np.searchsorted(document, np.array([item["shard"], item["shard"] + 1], np.uint64) << SHARD_BITS)
    document, position = document[low:high], position[low:high]
    rows = (document & ROW).astype(np.int64)

    def sets() -> Iterator[tuple[Any, pa.RecordBatch]]:
        begun = 0
        for batch in _texts(item, place):
            a, b = np.searchsorted(rows, [begun, begun + batch.num_rows])
            if a == b:
                begun += batch.num_rows
                continue
            texts = kernels.Texts.of(batch.column(TEXT).take(pa.array(rows[a:b] - begun)))
            found = kernels.shingle_sets(kernels.shingles(texts, item["n"], item["unit"], item["fold"]))
            values = pa.LargeListArray.from_arrays(pa.array(found.first), pa.array(found.hashes))
            sent = pa.RecordBatch.from_arrays([pa.array(position[a:b]), pa.array(document[a:b]), values], schema=SETS)
            yield np.searchsorted(edges, position[a:b], "right") - 1, sent
            begun += batch.num_rows

    return asdict(place.write_shuffle(item["blocks"], SETS, sets()))


def _texts(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield the texts of a shard; planted copies are no dataset's and lie in a table."""
    if "texts" in item:
        return iter(place.read_table(item["texts"]).to_batches())
    return read_shard(storage_of(item, place), item["path"], [TEXT])


def compare_block(item: Item, place: Place) -> Item:
    """Compare the pairs whose later document is in a block, and write those that are similar enough, in order."""
    starts = np.array(item["edges"], np.uint64)
    earlier, later = _unique_pairs(item, place, starts[0])
    own = _sets(item, place, "sets")
    block = np.searchsorted(starts, earlier + starts[0], "right") - 1
    document, similarity = np.empty(len(later), np.uint64), np.empty(len(later))
    for k in np.flatnonzero(np.bincount(block)):  # a large group has many blocks, and heads are mostly in its first ones
        inside, parts = np.flatnonzero(block == k), item["others"][k]
        other = own if parts is None else _sets({"parts": parts}, place, "parts")
        rows = other.rows(earlier[inside] + starts[0])
        document[inside] = other.document[rows]
        similarity[inside] = kernels.jaccard(other.hashes, own.hashes, rows, own.rows(later[inside] + starts[0]))
    enough = similarity >= item["similarity"]
    earlier, later, document, similarity = (column[enough] for column in (earlier, later, document, similarity))
    name = own.document[own.rows(later + starts[0])]
    of_copy = name >= np.uint64(item["copies"]) << SHARD_BITS
    copies = pa.table([document[of_copy], name[of_copy], similarity[of_copy]], EDGES)
    return {
        "links": place.write_table("links", _links(earlier, later, name)),
        "edges": place.write_table("edges", pa.table({"document": document, "similarity": similarity})),
        "copies": place.write_table("copies", copies) if len(copies) else None,
        "compared": len(enough),
        "similar": len(later),
    }


def _links(earlier: UInt64s, later: UInt64s, document: UInt64s) -> pa.Table:
    """Return each later document once, with its earlier ones."""
    first = np.flatnonzero(new(later))
    lists = pa.LargeListArray.from_arrays(pa.array(np.append(first, len(later))), pa.array(earlier.astype(np.uint32)))
    return pa.table([pa.array(later[first].astype(np.uint32)), pa.array(document[first]), lists], schema=LINKS)


def _unique_pairs(item: Item, place: Place, begin: np.uint64) -> tuple[UInt64s, UInt64s]:
    """Return each pair once, as places within the unit, in order of the later one; several buckets may have it."""
    known, waiting, held = np.zeros(0, np.uint64), [], 0
    for batch in read(item, place, PAIRS):
        earlier, later = (column.to_numpy() - begin for column in batch.columns)
        waiting.append(later << HALF | earlier)  # one number is sorted several times as fast as two
        held += batch.num_rows
        if held > len(known):
            known, waiting, held = distinct(np.concatenate([known, *waiting])), [], 0
    known = distinct(np.concatenate([known, *waiting]))
    return known & ROW, known >> HALF


@dataclass(frozen=True)
class Sets:
    """The sets of a block as they came, for they are too large to be sorted; which set each place has; whose they are."""

    places: Any
    order: Any
    document: Any
    hashes: kernels.Shingles

    def rows(self, places: Any) -> Any:
        """Return which set each place has."""
        return self.order[_found(self.places, places)]


def _sets(item: Item, place: Place, key: str) -> Sets:
    batches = list(read(item, place, SETS, key))
    places, document = (np.concatenate([np.zeros(0, np.uint64), *(batch.column(k).to_numpy() for batch in batches)]) for k in range(2))
    counts = [np.diff(batch.column(2).offsets.to_numpy()) for batch in batches]
    first = np.cumsum(np.concatenate([np.zeros(1, np.int64), *counts]))
    hashes = np.concatenate([np.zeros(0, np.uint64), *(batch.column(2).flatten().to_numpy() for batch in batches)])
    order = np.argsort(places)
    return Sets(places[order], order, document, kernels.Shingles(first, hashes))
