"""Finds the few n-grams of a corpus that repeated spans must have in common, so that only these places are looked at closely.

`send_anchors` sends the anchors of a shard's windows (`curate.kernels.span_windows`) to their partitions, each once per batch of
documents; `find_repeated` answers every shard with those of its anchors that another batch has too. What a batch repeats within
itself is counted there. Two windows with the same words have the same anchor, so none that repeats is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels, shuffle
from curate.dataset import read_shard
from curate.document import TEXT
from curate.shuffle import Range
from curate.work import Place
from curate_operators.site_lines import Ints, Keys

ANCHORS = pa.schema({"anchor": pa.uint64()})
ANCHOR_BYTES = 16  # in a partition's memory: the anchor and its place in a table


def read_runs(item: dict[str, Any], place: Place) -> Iterator[tuple[int, kernels.Texts, kernels.Runs]]:
    """Yield for each batch of a shard the number of its first row, its texts and their words."""
    row = 0
    for batch in read_shard(place.storage, item["path"], [TEXT]):
        texts = kernels.texts(batch.column(TEXT))
        yield row, texts, kernels.runs(texts)
        row += len(texts)


def anchors_of(runs: kernels.Runs, item: dict[str, Any]) -> tuple[Keys, Ints, Ints]:
    """Return a batch's anchors, how many windows each has, and how often it stands in the batch."""
    length = item["min_length"]
    values, counts = kernels.anchors(runs, length, max(1, length // 2), item["unit"] == "bytes")
    first = kernels.firsts(values, values)
    return values, counts, np.bincount(first, minlength=len(values))[first]


def send_anchors(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Send a shard's anchors into the shuffle; count its windows, anchors, and those that a batch has twice."""
    totals = {"windows": 0, "anchors": 0, "repeated": 0}
    file = place.write_shuffle(item["partitions"], ANCHORS, _sent(item, place, totals))
    return totals | {"anchors_file": asdict(file)}


def _sent(item: dict[str, Any], place: Place, totals: dict[str, int]) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    for _, _, runs in read_runs(item, place):
        values, counts, times = anchors_of(runs, item)
        totals["windows"] += int(counts.sum())
        totals["anchors"] += len(values)
        totals["repeated"] += int(np.sum(times > 1))
        once = np.unique(values)
        yield partition_of(once, item["partitions"]), pa.RecordBatch.from_pydict({"anchor": once}, ANCHORS)


def partition_of(keys: Keys, partitions: int) -> Ints:
    """Return the partition of each key."""
    return (keys % np.uint64(partitions)).astype(np.int64)


def find_repeated(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Answer each shard with those of its anchors that stand in several batches."""
    shard, (anchor,) = from_shards(item, place, ANCHORS)
    first = kernels.firsts(anchor, anchor)
    repeated = np.bincount(first, minlength=len(first))[first] > 1
    answer = pa.RecordBatch.from_pydict({"anchor": anchor[repeated]}, ANCHORS)
    file = place.write_shuffle(item["shards"], ANCHORS, iter([(shard[repeated], answer)]))
    return {"repeated": int(repeated.sum()), "answers": asdict(file)}


def from_shards(item: dict[str, Any], place: Place, schema: pa.Schema) -> tuple[Ints, list[Any]]:
    """Return what shards sent to a partition, in their order: the shard of each row, and the columns."""
    batches, shards = [], []
    for part in item["parts"]:
        found = list(shuffle.read(place.storage, [Range(part["path"], part["start"], part["stop"])], schema))
        batches += found
        shards += [np.full(batch.num_rows, part["shard"], np.int64) for batch in found]
    table = pa.Table.from_batches(batches, schema)
    return np.concatenate(shards or [np.zeros(0, np.int64)]), [column.to_numpy() for column in table.columns]
