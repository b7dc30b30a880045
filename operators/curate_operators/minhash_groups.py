"""Groups of documents that pairs connect, in one task while they are few, else without any task that holds more than a partition.

Beyond `GROUPED_AT_ONCE` documents: `link` spreads them over partitions by a hash, with a forest of edges for each file of pairs.
Then stars alternate (Kiveris et al., 2014): in odd rounds (`star-1`, …) every document hands its later neighbours to the first one
that it knows, in even rounds its earlier neighbours and itself, until nothing changes and all hang on the first of their group, by
number. `label` brings documents and labels together, `pack` puts whole groups in order and into blocks, and `place` tells places
to those who ask: the tasks that made pairs, and the shards.
A task holds a partition; besides, `pack` holds about 150 bytes for each document of the largest group.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels, shuffle
from curate.work import Place, Work
from curate_operators import minhash_pairs as pairs
from curate_operators.minhash_canary import mixed
from curate_operators.minhash_pairs import PLACES, VERDICTS, joined
from curate_operators.minhash_sign import SHARD_BITS, Item, UInt64s, ranges, rank_names, read

GROUPED_AT_ONCE = 16 << 20
LINK_BYTES = 24  # of a document in the shuffle of `link`, for each file of pairs that it is in, besides its ranks
HELD_BYTES = 2 * shuffle.PARTITION_BYTES  # of edges that a task holds; one with a document that has more neighbours reads twice
HELD_EDGES = 4 << 20

EDGES = pa.schema({"node": pa.uint64(), "other": pa.uint64()})


def link_schema(rules: int) -> pa.Schema:
    """Return what is known of a document in one file of pairs, and the number of the file."""
    ranks = [(name, pa.uint64()) for name in rank_names(rules)]
    return pa.schema([("document", pa.uint64()), *ranks, ("size", pa.uint32()), ("pairs", pa.int64()), ("task", pa.uint32())])


def label_schema(rules: int) -> pa.Schema:
    """Return what is known of a document in a group: the group's label, and how many bytes the document takes in a block."""
    names = ["label", *rank_names(rules), "document"]
    return pa.schema([*((name, pa.uint64()) for name in names), ("held", pa.int64())])


def find(work: Work, shared: Item, paired: list[Item], limit: int) -> Item:
    """Group the documents that pairs connect, and cut the groups into blocks of about `limit` bytes.

    `starts` has the first place of each block, `units` the first block of each unit; `asked` has what each task of `pair` must
    know of places, `told` what each shard must.
    """
    if min(sum(result["documents"] for result in paired), shared["documents"]) > GROUPED_AT_ONCE:
        return _apart(work, shared, paired, limit)
    item = shared | {"members": [result["members"] for result in paired], "limit": limit}
    group: Item = work.map("group", pairs.group_documents, [item])[0]
    if shared["mode"] == "component":
        return group | {"verdicts": [group["verdicts"]]}
    nodes = group["nodes"]
    return group | {"asked": [nodes] * len(paired), "told": [nodes] * (shared["copies"] + 1)}


def _apart(work: Work, shared: Item, paired: list[Item], limit: int) -> Item:
    rules, rows = shared["rules"], sum(result["documents"] for result in paired)
    told = {name: shared[name] for name in ("rules", "copies", "mode", "shards")} | {"tasks": len(paired), "limit": limit}
    told["partitions"] = shuffle.partitions_for(rows, LINK_BYTES + 8 * rules)
    linked = work.map("link", link_members, [told | {"path": result["members"], "task": k} for k, result in enumerate(paired)])
    members = ranges(work.storage, [result["members"] for result in linked])
    hung = stars(work, told, [result["edges"] for result in linked])
    labelled = work.map("label", label_documents, [told | {"members": own, "edges": to} for own, to in zip(members, hung, strict=True)])
    packed = work.map("pack", pack_groups, [told | {"parts": parts} for parts in ranges(work.storage, labelled)])
    group: Item = {name: sum(result[name] for result in packed) for name in ("documents", "groups")}
    group["largest"] = max(result["largest"] for result in packed)
    if shared["mode"] == "component":
        return group | {"verdicts": [result["shuffle"] for result in packed]}
    begin = [0, *accumulate(result["documents"] for result in packed)]
    group["starts"] = _after([result["starts"] for result in packed], begin)
    group["units"] = _after([result["units"] for result in packed], [0, *accumulate(len(result["starts"]) - 1 for result in packed)])
    found = [ranges(work.storage, [result["shuffle"]]) for result in packed]
    asks = [told | {"members": own, "begin": begin[:-1], "packed": [parts[p] for parts in found]} for p, own in enumerate(members)]
    nodes = ranges(work.storage, work.map("place", place_documents, asks))
    return group | {"asked": nodes[: len(paired)], "told": nodes[len(paired) :]}


def _after(lists: list[list[int]], begin: list[int]) -> list[int]:
    """Return edges that were counted from 0 in each partition as edges of all."""
    return [first + edge for first, edges in zip(begin, lists, strict=False) for edge in edges[:-1]] + [begin[-1]]


def stars(work: Work, told: Item, files: list[Item]) -> list[list[Item]]:
    """Return edges of which each has the first of its group at one end, by the partition of either end."""
    number, changed = 0, 1
    while changed:
        changed = 0
        for large in (True, False):
            number += 1
            items = [told | {"parts": parts, "large": large} for parts in ranges(work.storage, files)]
            done = work.map(f"star-{number}", hang_on_first, items)
            files, changed = [result["edges"] for result in done], changed + sum(result["changed"] for result in done)
    return ranges(work.storage, files)


def link_members(item: Item, place: Place) -> Item:
    """Send the documents of one file of pairs, each once, to their partitions, and edges from each to the first that it hangs on."""
    table = place.read_table(item["path"])
    if item["mode"] == "component":  # where a copy would connect what it resembles
        table = table.filter(pa.array(table.column("document").to_numpy() < np.uint64(item["copies"]) << SHARD_BITS))
    names = ["document", *rank_names(item["rules"]), "size"]
    columns = [table.column(name).to_numpy() for name in names]
    document, first, inverse = np.unique(columns[0], return_index=True, return_inverse=True)
    counts = np.zeros(len(document), np.int64)
    np.add.at(counts, inverse, table.column("pairs").to_numpy())
    known = [document, *(column[first] for column in columns[1:]), counts, np.full(len(document), item["task"], np.uint32)]
    schema = link_schema(item["rules"])
    sent = pa.RecordBatch.from_arrays([pa.array(column) for column in known], schema=schema)
    members = place.write_shuffle(item["partitions"], schema, iter([(_partition(document, item), sent)]))
    edges = _forest(columns[0], table.column("head").to_numpy())
    linked = Place(place.storage, f"{place.prefix}.edges").write_shuffle(item["partitions"], EDGES, both_ways(*edges, item))
    return {"members": asdict(members), "edges": asdict(linked)}


def _partition(documents: UInt64s, item: Item) -> UInt64s:
    partition: UInt64s = mixed(documents) % np.uint64(item["partitions"])
    return partition


def _forest(left: UInt64s, right: UInt64s) -> tuple[UInt64s, UInt64s]:
    """Return an edge for each document that is not the first of those that edges connect it with, to that first one."""
    node = np.unique(np.concatenate([left, right]))
    parents = np.arange(len(node), dtype=np.int64)
    kernels.joined(parents, np.searchsorted(node, left), np.searchsorted(node, right))
    root = node[kernels.roots(parents)]
    return node[root != node], root[root != node]


def both_ways(one: UInt64s, other: UInt64s, item: Item) -> Iterator[tuple[UInt64s, pa.RecordBatch]]:
    yield _sent(one, other, item)
    yield _sent(other, one, item)


def _sent(node: UInt64s, other: UInt64s, item: Item) -> tuple[UInt64s, pa.RecordBatch]:
    return _partition(node, item), pa.RecordBatch.from_arrays([pa.array(node), pa.array(other)], schema=EDGES)


def hang_on_first(item: Item, place: Place) -> Item:
    """Carry out one round for the documents of a partition, and count the edges that changed."""
    few = sum(part["stop"] - part["start"] for part in item["parts"]) <= HELD_BYTES
    kept = list(_edges(item, place)) if few else None
    node, first = _firsts(kept or _edges(item, place), item["large"])
    changed = 0

    def rows() -> Iterator[tuple[UInt64s, pa.RecordBatch]]:
        nonlocal changed
        for one, other in kept or _edges(item, place):
            to = first[np.searchsorted(node, one)]
            if item["large"]:
                later = other > one
                changed += int(np.count_nonzero(to[later] != one[later]))
                yield _sent(other[later], to[later], item)
            else:
                moved = other != to
                changed += int(np.count_nonzero(moved))
                yield from both_ways(other[moved], to[moved], item)
        if not item["large"]:
            yield from both_ways(node, first, item)

    return {"edges": asdict(place.write_shuffle(item["partitions"], EDGES, rows())), "changed": changed}


def _edges(item: Item, place: Place) -> Iterator[tuple[UInt64s, UInt64s]]:
    """Yield the edges of a partition in turns of about `HELD_EDGES`, in each of them every edge once."""
    waiting, held = [], 0
    for batch in read(item, place, EDGES):
        waiting.append([column.to_numpy() for column in batch.columns])
        held += batch.num_rows
        if held >= HELD_EDGES:
            yield _distinct(joined(waiting, EDGES))
            waiting, held = [], 0
    yield _distinct(joined(waiting, EDGES))


def _distinct(edges: list[Any]) -> tuple[UInt64s, UInt64s]:
    order = np.lexsort((edges[1], edges[0]))
    node, other = (column[order] for column in edges)
    new = np.ones(len(order), np.bool_)
    new[1:] = (node[1:] != node[:-1]) | (other[1:] != other[:-1])
    return node[new], other[new]


def _firsts(turns: Any, large: bool) -> tuple[UInt64s, UInt64s]:
    """Return every document of a partition with its first neighbour, or itself if that is earlier and the round is a large star's."""
    known = joined([], EDGES)
    for node, other in turns:
        starts = np.flatnonzero(np.concatenate([[True], node[1:] != node[:-1]])) if len(node) else np.zeros(0, np.int64)
        first = np.minimum(node[starts], other[starts]) if large else other[starts]  # edges come in order
        known = joined([known, [node[starts], first]], EDGES)
        order = np.lexsort((known[1], known[0]))
        node, first = (column[order] for column in known)
        new = np.concatenate([[True], node[1:] != node[:-1]]) if len(node) else np.zeros(0, np.bool_)
        known = [node[new], first[new]]
    return known[0], known[1]


def label_documents(item: Item, place: Place) -> Item:
    """Send every document of a partition, with its label, to the partition of the label."""
    schema, sent = link_schema(item["rules"]), label_schema(item["rules"])
    columns = joined([[column.to_numpy() for column in batch.columns] for batch in read(item, place, schema, "members")], schema)
    document, first, inverse = np.unique(columns[0], return_index=True, return_inverse=True)
    counts = np.zeros(len(document), np.int64)
    np.add.at(counts, inverse, columns[-2])
    label = document.copy()
    for batch in read(item, place, EDGES, "edges"):
        node, other = (column.to_numpy() for column in batch.columns)
        later = other < node
        label[np.searchsorted(document, node[later])] = other[later]
    held = pairs.held_bytes(counts, columns[-3][first])
    rows = [label, *(column[first] for column in columns[1:-3]), document, held]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in rows], schema=sent)
    return asdict(place.write_shuffle(item["partitions"], sent, iter([(_partition(label, item), batch)])))


def pack_groups(item: Item, place: Place) -> Item:
    """Put the groups of a partition in order and into blocks; tell the partitions of their documents the places, from 0."""
    schema = label_schema(item["rules"])
    columns = joined([[column.to_numpy() for column in batch.columns] for batch in read(item, place, schema)], schema)
    order = np.lexsort((columns[-2], *reversed(columns[:-2])))
    label, document, held = columns[0][order], columns[-2][order], columns[-1][order]
    new = label[1:] != label[:-1]
    group = np.concatenate([np.zeros(min(len(label), 1), np.int64), np.cumsum(new)])
    real = np.bincount(group[document < np.uint64(item["copies"]) << SHARD_BITS], minlength=1)
    result = {"documents": len(document), "groups": int(group[-1]) + 1 if len(group) else 0, "largest": int(real.max())}
    if item["mode"] == "component":
        return result | {"shuffle": asdict(place.write_shuffle(item["shards"], VERDICTS, pairs.first_stays(group, document)))}
    starts, units = pairs.blocks(group, held, item["limit"])
    rows = pa.RecordBatch.from_arrays([pa.array(document), pa.array(np.arange(len(document), dtype=np.uint64))], schema=PLACES)
    return result | {
        "starts": starts,
        "units": units,
        "shuffle": asdict(place.write_shuffle(item["partitions"], PLACES, iter([(_partition(document, item), rows)]))),
    }


def place_documents(item: Item, place: Place) -> Item:
    """Tell the places of the documents of a partition to the tasks that have them in pairs, and to their shards."""
    found = []
    for begin, parts in zip(item["begin"], item["packed"], strict=True):
        for batch in read({"parts": parts}, place, PLACES):
            found.append([batch.column(0).to_numpy(), batch.column(1).to_numpy() + np.uint64(begin)])
    document, position = joined(found, PLACES)
    order = np.argsort(document)
    document, position = document[order], position[order]

    def places() -> Iterator[tuple[UInt64s, pa.RecordBatch]]:
        for batch in read(item, place, link_schema(item["rules"]), "members"):
            asked = batch.column("document")
            known = position[np.searchsorted(document, asked.to_numpy())]
            yield batch.column("task").to_numpy(), pa.RecordBatch.from_arrays([asked, pa.array(known)], schema=PLACES)
        shard = (document >> SHARD_BITS) + np.uint64(item["tasks"])
        yield shard, pa.RecordBatch.from_arrays([pa.array(document), pa.array(position)], schema=PLACES)

    return asdict(place.write_shuffle(item["tasks"] + item["copies"] + 1, PLACES, places()))
