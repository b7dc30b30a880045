"""Finds which windows of words stand elsewhere, and which is the first of each.

`send_windows` takes the windows whose anchor is repeated, keeps where they stand in tables of its shard, and sends each different one
once per batch of documents: 122 bits of hash of all its words, and its number in the shard. `find_firsts` compares them and answers
with the first of each that repeats. So a window that a million documents have is one row for each batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate import kernels, shuffle
from curate.shuffle import Range
from curate.work import Place
from curate_operators.site_lines import Ints, Keys
from curate_operators.substring_anchors import ANCHORS, anchors_of, from_shards, partition_of, read_runs

PLACES = pa.schema({name: pa.uint32() for name in ("row", "word", "until", "start", "end", "leader")})
"""Where a window stands: its document, its first word and the word after its last, its bytes, and the first like it in the batch."""
KEYS = pa.schema({"low": pa.uint64(), "high": pa.uint64(), "window": pa.uint32()})
FIRSTS = pa.schema({"window": pa.uint32(), "shard": pa.uint32(), "first": pa.uint32()})
"""What passes through the shuffle: windows by their hashes; answers that name the shard and number of the first like it."""
KEY_BYTES = 40  # in a partition's memory
TABLE_WINDOWS = 1 << 21


@dataclass
class _Tables:
    """Collects the places of a shard's windows and writes them as tables of about `TABLE_WINDOWS`."""

    place: Place
    written: list[dict[str, Any]] = field(default_factory=list)
    batches: list[pa.RecordBatch] = field(default_factory=list)
    windows: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.windows += batch.num_rows
        if sum(held.num_rows for held in self.batches) >= TABLE_WINDOWS:
            self.write()

    def write(self) -> None:
        table = pa.Table.from_batches(self.batches, PLACES)
        path = self.place.write_table(f"windows-{len(self.written)}", table)
        self.written.append({"path": path, "base": self.windows - table.num_rows, "windows": table.num_rows})
        self.batches = []


def send_windows(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Send the windows of repeated anchors into the shuffle; keep where they stand."""
    answers = shuffle.read(place.storage, [Range(**part) for part in item["answers"]], ANCHORS)
    repeated = np.unique(pa.Table.from_batches(answers, ANCHORS).column(0).to_numpy())
    tables = _Tables(place)
    file = place.write_shuffle(item["window_partitions"], KEYS, _sent(item, repeated, tables))
    if tables.batches:
        tables.write()
    return {"keys": asdict(file), "tables": tables.written, "windows": tables.windows}


def _sent(item: dict[str, Any], repeated: Keys, tables: _Tables) -> Iterator[tuple[Ints, pa.RecordBatch]]:
    for row, texts, runs in read_runs(item, tables.place):
        values, counts, times = anchors_of(runs, item)
        chosen = (times > 1) | _among(values, repeated)
        begin, until, low, high = kernels.windows(runs, item["min_length"], item["unit"] == "bytes", (counts, chosen))
        if not len(begin):
            continue
        base, leader = tables.windows, kernels.firsts(low, high)
        tables.add(_places(texts, runs, begin, until, (row, base + leader)))
        sent = np.flatnonzero(leader == np.arange(len(leader)))
        columns = {"low": low[sent], "high": high[sent], "window": (base + sent).astype(np.uint32)}
        yield partition_of(low[sent], item["window_partitions"]), pa.RecordBatch.from_pydict(columns, KEYS)


def _among(values: Keys, known: Keys) -> Any:
    """Tell which values are among known ones, which ascend."""
    if not len(known):
        return np.zeros(len(values), np.bool_)
    return known[np.minimum(np.searchsorted(known, values), len(known) - 1)] == values


def _places(texts: kernels.Texts, runs: kernels.Runs, begin: Ints, until: Ints, numbers: tuple[int, Ints]) -> pa.RecordBatch:
    first_row, leader = numbers
    row = np.searchsorted(runs.first, begin, side="right") - 1
    columns = {
        "row": row + first_row,
        "word": begin - runs.first[row],
        "until": until - runs.first[row],
        "start": runs.start[begin] - texts.offsets[row],
        "end": runs.end[until - 1] - texts.offsets[row],
        "leader": leader,
    }
    return pa.RecordBatch.from_pydict({name: values.astype(np.uint32) for name, values in columns.items()}, PLACES)


def find_firsts(item: dict[str, Any], place: Place) -> dict[str, Any]:
    """Answer for each window that stands in several batches (with `first: keep`, for all but the first) which is the first."""
    shard, (low, high, window) = from_shards(item, place, KEYS)
    first = kernels.firsts(low, high)
    told = first != np.arange(len(first))
    if item["first"] == "remove":
        told[first[told]] = True
    columns = {"window": window[told], "shard": shard[first[told]].astype(np.uint32), "first": window[first[told]]}
    file = place.write_shuffle(item["shards"], FIRSTS, iter([(shard[told], pa.RecordBatch.from_pydict(columns, FIRSTS))]))
    return asdict(file)
