"""The phases of `sample_clusters`: how many documents there are, which are drawn, and which split each is in.

    count    per shard: documents and distances by cluster
    choose   per shard: of each cluster, as many of the lowest hashes as it gives, into the shuffle by cluster
    limit    per partition of clusters: the hash of the last one that is drawn
    split    per shard: the lowest of other hashes of those that are drawn, as many as validation and test need
    ends     one task: the last of the test's and of the validation's hashes
    (write)  per shard: the marks

Tables are cut to what is needed as they are read, so that a task holds no more than its clusters give, twice. Documents are ordered by
hash and id, so that equal hashes change no count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import beside, shuffle
from curate.document import ID, leaf
from curate.hashing import hash64
from curate.shuffle import Range
from curate.work import Place
from curate_scorers import card_inputs as inputs_of
from curate_scorers.card_inputs import NONE, Hashes, Integers, Item
from curate_scorers.card_sums import UNIT

ROWS = pa.schema({"cluster": pa.int64(), "order": pa.uint64(), "id": pa.string()})
NO_CLUSTER, NOT_SAMPLED, UNKNOWN = "no_cluster", "not_sampled", "unknown"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
HELD = 1 << 18  # rows that wait until they are cut to what is needed

Mask = npt.NDArray[np.bool_]


def count_shard(item: Item, place: Place) -> list[list[int]]:
    """Return clusters with their documents and their sum of distances, in units of 2^-30."""
    counts: dict[int, list[int]] = {}
    for docs, clusters, _ in _read(item, place, item["distance"]):
        there = clusters != NONE
        distances = np.zeros(docs.num_rows)
        if item["distance"] is not None:
            distances = np.nan_to_num(leaf(docs, item["distance"]).cast(pa.float64()).to_numpy(zero_copy_only=False))
        whole = np.rint(distances[there] * UNIT).astype(np.int64)
        numbers, rows, sizes = np.unique(clusters[there], return_inverse=True, return_counts=True)
        summed = np.zeros(len(numbers), np.int64)
        np.add.at(summed, rows, whole)
        for number, size, distance in zip(numbers.tolist(), sizes.tolist(), summed.tolist(), strict=True):
            entry = counts.setdefault(number, [0, 0])
            entry[0] += size
            entry[1] += distance
    return [[number, *entry] for number, entry in sorted(counts.items())]


def choose_shard(item: Item, place: Place) -> Item:
    """Send, of each cluster that does not give all, as many of a shard's lowest hashes as it gives."""
    sent = place.write_shuffle(item["partitions"], ROWS, _chosen(item, place))
    return asdict(sent)


def _chosen(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    lowest = _Lowest({number: quota for number, quota, whole in item["quotas"] if not whole})
    for docs, clusters, _ in _read(item, place):
        lowest.add(clusters, hash64(docs.column(ID), 2 * item["seed"]), docs.column(ID).cast(pa.string()))
    for batch in lowest.table().to_batches():
        yield batch.column("cluster").to_numpy() % item["partitions"], batch


def find_limits(item: Item, place: Place) -> list[list[Any]]:
    """Return the hash and the id of the last document that each cluster of a partition gives."""
    lowest = _Lowest({number: quota for number, quota, whole in item["quotas"] if not whole})
    for batch in shuffle.read(place.storage, [Range(**part) for part in item["parts"]], ROWS):
        lowest.add(*_columns(batch))
    return [[row["cluster"], row["order"], row["id"]] for row in lowest.last()]


def split_shard(item: Item, place: Place) -> str:
    """Keep the lowest of other hashes of the documents that are drawn from a shard."""
    lowest = _Lowest({0: item["test"] + item["validation"]})
    draw = Draw(item)
    for docs, clusters, _ in _read(item, place):
        ids = docs.column(ID).cast(pa.string())
        drawn = draw(ids, clusters)
        lowest.add(np.zeros(int(drawn.sum()), np.int64), hash64(ids, 2 * item["seed"] + 1)[drawn], ids.filter(pa.array(drawn)))
    return place.write_table("split", lowest.table())


def find_ends(item: Item, place: Place) -> list[list[Any]]:
    """Return the hashes and ids of the last documents of the test and of the validation set; nothing for an empty one."""
    ends = []
    for size in (item["test"], item["test"] + item["validation"]):
        lowest = _Lowest({0: size})
        for path in item["splits"]:
            for batch in place.read_table(path).to_batches():
                lowest.add(*_columns(batch))
        ends.append([[row["order"], row["id"]] for row in lowest.last()])
    return [end[0] if end else [] for end in ends]


def mark_shard(item: Item, place: Place) -> Iterator[pa.RecordBatch]:
    """Yield one row of attributes per document of a shard, in its order."""
    draw = Draw(item)
    for docs, clusters, reasons in _read(item, place):
        ids = docs.column(ID).cast(pa.string())
        drawn = draw(ids, clusters)
        why = pc.if_else(pa.array(clusters == NONE), NO_CLUSTER, NOT_SAMPLED)
        reason = pc.if_else(pa.array(drawn), pa.scalar(None, pa.string()), pc.coalesce(reasons, why))
        yield pa.RecordBatch.from_arrays([ids, pa.array(drawn), reason, _splits(item, ids, drawn)], ["id", "keep", "reason", "split"])


def _splits(item: Item, ids: pa.Array, drawn: Mask) -> pa.Array:
    order = hash64(ids, 2 * item["seed"] + 1)
    test, both = (_up_to(order, ids, *end) if end else np.zeros(len(ids), bool) for end in item["ends"])
    names = np.select([test, both], [TEST, VALIDATION], TRAIN)
    return pa.array(names.tolist(), pa.string(), mask=~drawn)


class Draw:
    """Says which documents of their clusters are drawn."""

    def __init__(self, item: Item) -> None:
        self._seed = item["seed"]
        self._whole = np.array([number for number, _, whole in item["quotas"] if whole], np.int64)
        limits = sorted(item["limits"])
        self._clusters = np.array([number for number, _, _ in limits], np.int64)
        self._orders = np.array([order for _, order, _ in limits], np.uint64)
        self._ids = [name for _, _, name in limits]

    def __call__(self, ids: pa.Array, clusters: Integers) -> Mask:
        """Return a mask of the documents."""
        drawn = np.isin(clusters, self._whole)
        limited = np.flatnonzero(np.isin(clusters, self._clusters))
        if len(limited):
            at = np.searchsorted(self._clusters, clusters[limited])
            order = hash64(ids, 2 * self._seed)[limited]
            drawn[limited] = order < self._orders[at]
            for row in np.flatnonzero(order == self._orders[at]):
                drawn[limited[row]] = ids[int(limited[row])].as_py() <= self._ids[at[row]]
        return np.asarray(drawn, bool)


def _up_to(order: Hashes, ids: pa.Array, last: int, name: str) -> Mask:
    """Tell which documents come up to a hash and an id."""
    found = order < np.uint64(last)
    for row in np.flatnonzero(order == np.uint64(last)):
        found[row] = ids[int(row)].as_py() <= name
    return np.asarray(found, bool)


class _Lowest:
    """Keeps so many rows of the lowest hashes of each cluster that is wanted."""

    def __init__(self, wanted: dict[int, int]) -> None:
        self._numbers = np.array(sorted(number for number, quota in wanted.items() if quota), np.int64)
        self._quotas = np.array([wanted[number] for number in self._numbers.tolist()], np.int64)
        self._tables = [ROWS.empty_table()]
        self._rows = 0

    def add(self, clusters: Integers, orders: Hashes, ids: pa.Array) -> None:
        """Take rows."""
        rows = np.flatnonzero(np.isin(clusters, self._numbers))
        columns = [pa.array(clusters[rows]), pa.array(orders[rows]), ids.take(pa.array(rows))]
        self._tables.append(pa.table(columns, schema=ROWS))
        self._rows += len(rows)
        if self._rows > HELD:
            self._tables = [self.table()]
            self._rows = 0

    def table(self) -> pa.Table:
        """Return the rows that are left, in order within each cluster."""
        table = pa.concat_tables(self._tables).sort_by([("cluster", "ascending"), ("order", "ascending"), ("id", "ascending")])
        clusters = table.column("cluster").to_numpy()
        ranks = np.arange(len(clusters)) - np.searchsorted(clusters, clusters)
        kept = ranks < self._quotas[np.searchsorted(self._numbers, clusters)] if len(clusters) else np.zeros(0, bool)
        return table.filter(pa.array(kept)).combine_chunks()

    def last(self) -> list[dict[str, Any]]:
        """Return the last row of each cluster."""
        table = self.table()
        clusters = table.column("cluster").to_numpy()
        return list(table.take(pa.array(np.flatnonzero(np.r_[clusters[1:] != clusters[:-1], len(clusters) > 0]))).to_pylist())


def _columns(batch: pa.RecordBatch) -> tuple[Integers, Hashes, pa.Array]:
    return batch.column("cluster").to_numpy(), batch.column("order").to_numpy(), batch.column("id")


def _read(item: Item, place: Place, *more: str | None) -> Iterator[tuple[pa.RecordBatch, Integers, pa.Array]]:
    """Yield documents, their clusters (`NONE` for those that are dropped), and why those go that are dropped."""
    dropped = item["dropped"]
    marks = [f"{dropped}.keep", f"{dropped}.reason"] if dropped else []
    for docs in beside.read(item, place, [item["cluster"], *marks, *more]):
        clusters = inputs_of.clusters_of(docs, item["cluster"])
        reasons = pa.nulls(docs.num_rows, pa.string())
        if dropped:
            keep = pc.fill_null(leaf(docs, marks[0]), False)
            reasons = pc.if_else(keep, reasons, pc.fill_null(leaf(docs, marks[1]).cast(pa.string()), UNKNOWN))
            clusters = np.where(keep.to_numpy(zero_copy_only=False), clusters, NONE)
        yield docs, clusters, reasons
