"""The value of each document of a block, and the threshold above which it goes.

    nearest      per block: the highest cosine of each document to any before it in its cluster
    centroids    or, for `prototypes`, the cosine of each document to its centroid
    greedy-N     or, round by round: what stays of the Nth block of each cluster is settled, and all blocks behind it compare with it
    bins, sum    rounds that find the exact threshold of a share

A task holds two blocks (64 MiB each), a copy of what stays of one, and a tile of products (32 MiB).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from curate.thresholds import ROUNDS, Mark, Weighed, advanced, binned, inside, intervals_of, keys_of, merged, score_of, scores_of
from curate.work import Place, Work
from curate_scorers.semantic_dedup_blocks import Blocks, read_block
from curate_scorers.semantic_dedup_read import Item
from curate_scorers.semantic_dedup_vectors import Floats, highest, highest_before, settled, told

BLOCKS_PER_SUM = 64
GRID = (0.0, 0.001, 0.003, 0.005, *(i / 100 for i in range(1, 31)), *(i / 20 for i in range(7, 21)))


def compared(blocks: Blocks) -> list[Item]:
    """Return an item for each block, with the blocks before it of the same cluster."""
    return [{"block": path, "earlier": [blocks.paths[j] for j in blocks.earlier(i)]} for i, path in enumerate(blocks.paths)]


def nearest_block(item: Item, place: Place) -> Item:
    """Keep the highest cosine of each document of a block to any before it, and count those above 1 − ε for each ε of a grid."""
    block = read_block(item["block"], place)
    value = np.concatenate([np.zeros(0), *(highest_before(block.vectors[own]) for own in block.clusters_of())])
    for other in item["earlier"]:
        value = np.maximum(value, highest(block.vectors, read_block(other, place).vectors))
    value = told(value)
    return {"values": _written(value, place), "above": [int((value > 1 - eps).sum()) for eps in GRID]}


def centroid_block(item: Item, place: Place) -> str:
    """Keep the cosine of each document to its centroid, which the key of the order tells."""
    return _written(1 - scores_of(read_block(item["block"], place).keys, highest=True), place)


def greedy_block(item: Item, place: Place) -> Item:
    """Compare a block with what was kept of the block settled last, and settle it when it is its turn."""
    block = read_block(item["block"], place)
    value = values(item["values"], place) if item["values"] else np.full(len(block.ids), -np.inf)
    if item["last"]:
        kept = values(item["last"]["values"], place) <= item["threshold"]
        value = np.maximum(value, highest(block.vectors, read_block(item["last"]["block"], place).vectors[kept]))
    for own in block.clusters_of() if item["turn"] else ():
        value[own] = settled(block.vectors[own], value[own], item["threshold"])
    value = told(value)
    return {"values": _written(value, place), "gone": int((value > item["threshold"]).sum())}


def greedy(work: Work, blocks: Blocks, threshold: float, phase: str) -> tuple[list[str], int]:
    """Return the values of all blocks, and how many documents go."""
    found: list[Item] = [{"values": None, "gone": 0} for _ in blocks.paths]
    for turn in range(max(blocks.behind, default=-1) + 1):
        due = [i for i, behind in enumerate(blocks.behind) if behind >= turn and (turn or not behind)]
        asked = []
        for i in due:
            settled_last = i - blocks.behind[i] + turn - 1
            last = {"block": blocks.paths[settled_last], "values": found[settled_last]["values"]} if turn else None
            own = {"block": blocks.paths[i], "values": found[i]["values"], "last": last}
            asked.append(own | {"turn": blocks.behind[i] == turn, "threshold": threshold})
        for i, result in zip(due, work.map(f"{phase}-{turn}", greedy_block, asked), strict=True):
            found[i] = result
    return [one["values"] for one in found], sum(one["gone"] for one in found)


def bin_block(item: Item, place: Place) -> str:
    """Count the values of a block by more bits of their keys, in the bins that go on."""
    value = values(item["values"], place)
    keys, _ = keys_of(pa.array(value), highest=True)
    zeros = np.zeros(len(keys), np.int64)
    docs = Weighed(keys, zeros + 1, np.isfinite(value), zeros, [None])
    if item["intervals"]:
        least, most = item["intervals"]
        docs = inside(docs, {None: (np.array(least, np.uint64), np.array(most, np.uint64))})
    return place.write_table("bins", binned(docs, item["rounds"]))


def sum_bins(item: Item, place: Place) -> str:
    """Add up the bins of several blocks."""
    return place.write_table("bins", merged([place.read_table(path) for path in item["bins"]]))


def threshold_of(work: Work, paths: Sequence[str], removed: int) -> float | None:
    """Return the lowest threshold above which at most so many values lie; None when there are no more values than that."""
    mark, place = Mark(None, removed + 1), Place(work.storage, work.scratch)
    for rounds in range(1, ROUNDS + 1):
        left = [keys.tolist() for keys in intervals_of([mark]).get(None, ())] if rounds > 1 else []
        if rounds > 1 and not left:
            break
        found = work.map(f"bins{rounds}", bin_block, [{"values": path, "intervals": left, "rounds": rounds} for path in paths])
        groups = [{"bins": found[i : i + BLOCKS_PER_SUM]} for i in range(0, len(found), BLOCKS_PER_SUM)]
        bins = merged([])
        for path in work.map(f"sum{rounds}", sum_bins, groups):
            bins = merged([bins, place.read_table(path)])
        [mark] = advanced([mark], bins)
    return score_of(mark.least, highest=True) if mark.docs and mark.reached else None


def values(path: str, place: Place) -> Floats:
    """Read the value of each document of a block: it goes if that is above the threshold."""
    return np.array(place.read_table(path).column("value").to_numpy())


def _written(value: Floats, place: Place) -> str:
    return place.write_table("values", pa.table({"value": value}))
