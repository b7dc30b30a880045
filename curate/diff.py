"""Compares two corpora document by document: what was added, removed and changed, and what removed it.

    difference = diff(curate.load("old"), curate.load("new"), Options(sample=3), LocalStorage(scratch), lineage)
    difference["removed"]["documents"], difference["removed"]["causes"]

Documents are the same when their ids are; a changed one has another text (or other column). An id that repeats in a corpus is
compared with its repetitions in the other one, in order. Shards that both corpora have (the same bytes by their hash, as where a
dump was added to a corpus) are not compared: of them only the columns that are counted by are read. Out of core: the other shards are
read once, and about 50 bytes per document (hashes, size, place) go through a shuffle on the scratch disk; a partition of
`shuffle.PARTITION_BYTES` is held at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import shuffle
from curate.dataset import Dataset
from curate.diff_causes import Causes, causes_of
from curate.diff_read import Groups, check_columns, read
from curate.diff_sample import Samples
from curate.diff_shared import amounts, shared_shards
from curate.document import TEXT
from curate.hashing import hash64, hash128
from curate.shuffle import ShuffleFile, ShuffleWriter
from curate.storage import Storage

KINDS = ("added", "removed", "changed")
ROW_BYTES = 64
Numbers = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Options:
    """What is compared (`column`), counted by (`by`), and how many documents of each kind are shown (`sample`)."""

    column: str = TEXT
    by: tuple[str, ...] = ()
    sample: int = 0


class Side(NamedTuple):
    """The documents of one corpus in one partition: hashes of ids, of contents, sizes, places in the corpus and group codes."""

    high: Numbers
    low: Numbers
    content: Numbers
    bytes: Numbers
    place: Numbers
    groups: Sequence[Numbers]


@dataclass
class Tally:
    """Sums over all partitions."""

    groups: list[Groups]
    causes: Causes
    documents: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    by: dict[tuple[int, str], Numbers] = field(default_factory=dict)
    removed_by: dict[int, list[int]] = field(default_factory=dict)

    def add(self, kind: str, side: Side, rows: Numbers, of_groups: bool = True) -> None:
        """Count the rows of a side as one kind."""
        self.documents[kind] = self.documents.get(kind, 0) + len(rows)
        self.bytes[kind] = self.bytes.get(kind, 0) + int(side.bytes[rows].sum())
        for number, codes in enumerate(side.groups if of_groups else ()):
            counts = np.bincount(codes[rows], minlength=len(self.groups[number].names))
            before = self.by.get((number, kind))
            if before is not None:
                counts[: len(before)] += before  # shorter where values came up since
            self.by[number, kind] = counts

    def add_causes(self, side: Side, rows: Numbers, codes: Numbers) -> None:
        """Count removed rows by what removed them."""
        for code in np.unique(codes).tolist():
            of_code = rows[codes == code]
            entry = self.removed_by.setdefault(code, [0, 0])
            entry[0] += len(of_code)
            entry[1] += int(side.bytes[of_code].sum())


def diff(old: Dataset, new: Dataset, options: Options, scratch: Storage, lineage: Sequence[Dataset] = ()) -> dict[str, Any]:
    """Return what differs, as JSON data; `lineage` are the datasets whose ledgers say what removed a document, first to last."""
    dropped = sum(d.manifest.counts.rows_dropped + d.manifest.counts.errored for d in lineage)
    for side in (old, new):
        check_columns(side, [options.column, *options.by])
    shared = shared_shards(old, new)
    same = sum(old.manifest.shards[index].data.rows for index in shared[0])
    partitions = shuffle.partitions_for(old.rows + new.rows - 2 * same + dropped, ROW_BYTES + 4 * len(options.by))
    groups = [Groups(path) for path in options.by]
    schema = _schema(len(groups))
    corpora = [("old", old, shared[0]), ("new", new, shared[1])]
    files = [_scatter(scratch, name, side, skipped, options, groups, partitions) for name, side, skipped in corpora]
    parts = [shuffle.ranges(scratch, [file]) for file in files]
    causes = causes_of(lineage, new, scratch, partitions)
    tally, samples = Tally(groups, causes), Samples(options.sample)
    _add_shared(old, shared[0], options, tally)
    for partition in range(partitions):
        before, after = (_side(shuffle.read(scratch, part[partition], schema), schema) for part in parts)
        _compare(before, after, causes.of_partition(partition), tally, samples)
    return _told(old, new, options, tally) | ({"samples": samples.told(old, new, options.column, causes)} if options.sample else {})


def _schema(groups: int) -> pa.Schema:
    wide = [pa.field(name, pa.uint64()) for name in ("high", "low", "content", "bytes", "place")]
    return pa.schema([*wide, *(pa.field(f"group{i}", pa.uint32()) for i in range(groups))])


def _add_shared(dataset: Dataset, shards: Sequence[int], options: Options, tally: Tally) -> None:
    """Count the documents of shards that both corpora have."""
    none = np.zeros(0, np.uint64)
    for documents, size, labels in amounts(dataset, shards, options.column, options.by):
        groups = [group.codes(label) for group, label in zip(tally.groups, labels, strict=True)]
        sizes = np.zeros(documents, np.uint64)
        sizes[:1] = size
        for kind in ("old", "new"):
            tally.add(kind, Side(none, none, none, sizes, none, groups), np.arange(documents))


def _scatter(
    scratch: Storage, name: str, dataset: Dataset, skipped: Sequence[int], options: Options, groups: Sequence[Groups], partitions: int
) -> ShuffleFile:
    """Write what is compared of every document of a corpus, by partitions of its id's hash."""
    schema = _schema(len(groups))
    with scratch.open_output(f"{name}.shuffle") as out:
        writer = ShuffleWriter(out, f"{name}.shuffle", partitions, schema)
        for place, (ids, values, labels) in read(dataset, options.column, options.by, skipped):
            keys = np.frombuffer(hash128(ids), dtype=">u8").astype(np.uint64).reshape(-1, 2)
            columns = [keys[:, 0], keys[:, 1], hash64(values), pc.fill_null(pc.binary_length(values), 0).to_numpy().astype(np.uint64)]
            columns += [np.arange(place, place + len(ids), dtype=np.uint64)]
            columns += [group.codes(label) for group, label in zip(groups, labels, strict=True)]
            writer.write(keys[:, 0] % np.uint64(partitions), pa.RecordBatch.from_arrays([pa.array(c) for c in columns], schema=schema))
        return writer.close()


def _side(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Side:
    table = pa.Table.from_batches(batches, schema)
    high, low, content, sizes, place, *groups = (table.column(name).to_numpy() for name in schema.names)
    return Side(high, low, content, sizes, place, groups)


def _compare(old: Side, new: Side, dropped: tuple[Numbers, Numbers, Numbers], tally: Tally, samples: Samples) -> None:
    """Pair the documents of one partition and add up what differs."""
    high, low = (np.concatenate([a, b]) for a, b in ((old.high, new.high), (old.low, new.low)))
    times = np.concatenate([_times(old), _times(new)])
    order = np.lexsort((times, low, high))  # stable: the old one of a pair stands first
    same = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1]) & (times[order][1:] == times[order][:-1])
    first = np.flatnonzero(same)
    pairs = order[first], order[first + 1] - len(old.high)
    alone = np.ones(len(order), dtype=bool)
    alone[first], alone[first + 1] = False, False
    single = order[alone]
    removed, added = single[single < len(old.high)], single[single >= len(old.high)] - len(old.high)
    differs = old.content[pairs[0]] != new.content[pairs[1]]
    before, after = pairs[0][differs], pairs[1][differs]
    codes = _looked_up(old.high[removed], old.low[removed], dropped)
    for kind, side, rows in (("old", old, np.arange(len(old.high))), ("new", new, np.arange(len(new.high)))):
        tally.add(kind, side, rows)
    tally.add("added", new, added)
    tally.add("removed", old, removed)
    tally.add("changed", new, after)
    tally.add("before", old, before, of_groups=False)
    tally.add_causes(old, removed, codes)
    samples.offer("added", new.high[added], None, new.place[added])
    samples.offer("removed", old.high[removed], old.place[removed], None)
    samples.offer("changed", new.high[after], old.place[before], new.place[after])


def _times(side: Side) -> Numbers:
    """Return for each row how often its id came before it in its corpus."""
    order = np.lexsort((side.place, side.low, side.high))
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (side.high[order][1:] != side.high[order][:-1]) | (side.low[order][1:] != side.low[order][:-1])
    rank = np.arange(len(order))
    times = np.empty(len(order), dtype=np.int64)
    times[order] = rank - np.maximum.accumulate(np.where(begins, rank, 0)) if len(order) else rank
    return times


def _looked_up(high: Numbers, low: Numbers, dropped: tuple[Numbers, Numbers, Numbers]) -> Numbers:
    """Return the first cause of each key, −1 where none is known."""
    known, codes = len(dropped[0]), dropped[2]
    highs, lows = np.concatenate([dropped[0], high]), np.concatenate([dropped[1], low])
    order = np.lexsort((lows, highs))  # stable: causes stand before the documents, in the order of the lineage
    begins = np.ones(len(order), dtype=bool)
    begins[1:] = (highs[order][1:] != highs[order][:-1]) | (lows[order][1:] != lows[order][:-1])
    start = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))] if len(order) else order
    found = np.full(len(order), -1, dtype=np.int64)
    found[order] = np.where(start < known, np.append(codes.astype(np.int64), -1)[np.minimum(start, known)], -1)
    return found[known:]


def _told(old: Dataset, new: Dataset, options: Options, tally: Tally) -> dict[str, Any]:
    kinds: dict[str, Any] = {kind: {"documents": tally.documents[kind], "bytes": tally.bytes[kind]} for kind in KINDS}
    kinds["changed"]["bytes_before"] = tally.bytes["before"]
    kinds["removed"]["causes"] = [
        tally.causes.told(code) | {"documents": count, "bytes": size}
        for code, (count, size) in sorted(tally.removed_by.items(), key=lambda item: (-item[1][0], item[0]))
    ]
    unchanged = tally.documents["new"] - tally.documents["added"] - tally.documents["changed"]
    return {
        "column": options.column,
        "old": _named(old, tally, "old"),
        "new": _named(new, tally, "new"),
        **kinds,
        "unchanged": {"documents": unchanged},
        "by": {group.path: _of_group(tally, number) for number, group in enumerate(tally.groups)},
    }


def _named(dataset: Dataset, tally: Tally, kind: str) -> dict[str, Any]:
    return {"name": dataset.name, "url": dataset.url, "documents": tally.documents[kind], "bytes": tally.bytes[kind]}


def _of_group(tally: Tally, number: int) -> dict[str, Mapping[str, int]]:
    names = tally.groups[number].names
    counts = {kind: tally.by[number, kind] for kind in ("old", "new", *KINDS)}
    rows = {name: {kind: int(values[code]) for kind, values in counts.items()} for code, name in enumerate(names)}
    return dict(sorted(rows.items(), key=lambda item: (-max(item[1]["old"], item[1]["new"]), item[0])))
