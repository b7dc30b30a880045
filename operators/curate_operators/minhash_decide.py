"""The last phases of `minhash_dedup`: which documents go, for which that stay, and who hears of it.

A document goes when one before it stays and is similar enough, so who goes is found in order. For a group of many blocks one task
(`settle`) does that: it reads no more than places, 4 bytes for each similar pair, and looks at the earlier documents of each only until
one stays. For which of them a document goes is found by tasks of a few blocks each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels
from curate.dataset import read_shard
from curate.document import ID
from curate.work import Place
from curate_operators.minhash_known import removed_of
from curate_operators.minhash_pairs import VERDICTS
from curate_operators.minhash_sign import FOLLOWERS, ROW, SHARD_BITS, Item, read, storage_of

NAMED = pa.schema({"document": pa.uint64(), "kept_id": pa.string(), "similarity": pa.float64()})
"""A verdict with the name of the document that stays."""


def settle_unit(item: Item, place: Place) -> str:
    """Write which documents of a unit go, in their order."""
    gone = np.zeros(item["documents"], np.bool_)
    for path in item["links"]:
        later, _, first, earlier = _links(place, path)
        kernels.settle(gone, later, first, earlier)
    return place.write_table("gone", pa.table({"gone": pa.array(gone)}))


def _links(place: Place, path: str) -> tuple[Any, Any, Any, Any]:
    later, document, lists = (column.combine_chunks() for column in place.read_table(path).columns)
    return later.to_numpy(), document.to_numpy(), lists.offsets.to_numpy(), lists.values.to_numpy()


def decide_blocks(item: Item, place: Place) -> Item:
    """Tell the shards of documents that stay which ones of some blocks go for them: each for the most similar one that stays."""
    settled, copies = item["gone"] is not None, np.uint64(item["copies"]) << SHARD_BITS
    gone = place.read_table(item["gone"]).column("gone").to_numpy() if settled else np.zeros(item["documents"], np.bool_)

    def verdicts() -> Iterator[tuple[Any, pa.RecordBatch]]:
        for links, edges in zip(item["links"], item["edges"], strict=True):
            later, document, first, earlier = _links(place, links)
            name, similarity = (column.to_numpy() for column in place.read_table(edges).columns)
            if not settled:
                kernels.settle(gone, later, first, earlier)
            edge = kernels.heaviest(gone, first, earlier, similarity)
            goes = (edge >= 0) & (document < copies)  # nobody hears of a copy
            edge, kept = edge[goes], name[edge[goes]]
            columns = [pa.array(column) for column in (kept, document[goes], similarity[edge])]
            yield kept >> SHARD_BITS, pa.RecordBatch.from_arrays(columns, schema=VERDICTS)

    return asdict(place.write_shuffle(item["shards"], VERDICTS, verdicts()))


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
