"""Tells one document's whole story in a run: where it was read, what was changed, and why it stayed or went."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate.dataset import Dataset, read_shard, resolve
from curate.document import ID, PARENT_ID, TEXT
from curate.manifest import FileRecord, Receipt


@dataclass(frozen=True)
class Event:
    """What one stage did with a document: `kept`, `dropped`, `errored`, `edited`, `measured` or `expanded` (to `documents` others)."""

    stage: str
    what: str
    shard: int
    details: dict[str, Any] = field(default_factory=dict)


def explain(datasets: list[Dataset], doc_id: str) -> list[Event]:
    """Return the document's events, stage by stage; an empty list means that no stage ever saw it.

    Documents made from it by a FlatMapper have ids that begin with `<id>/` and stories of their own.
    """
    events: list[Event] = []
    for dataset in datasets:
        expanded = any(event.what == "expanded" for event in events)
        events += _in_dataset(dataset, doc_id, may_expand=not expanded)
    return events


def _in_dataset(dataset: Dataset, doc_id: str, may_expand: bool) -> Iterator[Event]:
    """Yield what one stage did; later than the stage that made others of the document, these are in every dataset."""
    for shard in dataset.manifest.shards:
        for what, record in (("edited", shard.trace), ("errored", shard.errors), ("dropped", shard.drops)):
            for row in _rows(dataset, record, doc_id):
                yield Event(dataset.name, what, shard.shard, {k: v for k, v in row.items() if k != ID and v is not None})
        yield from _kept(dataset, shard, doc_id)
        if may_expand and PARENT_ID in dataset.manifest.columns and (made := _children(dataset, shard, doc_id)):
            yield Event(dataset.name, "expanded", shard.shard, {"documents": made})


def _children(dataset: Dataset, shard: Receipt, doc_id: str) -> int:
    """Count the documents that were made from this one, whatever became of them in the same stage."""
    made: set[str] = set()
    for record in (shard.data, shard.drops, shard.errors):
        for batch in _ids(dataset, record):
            ids = batch.column(ID)
            below = ids.filter(pc.starts_with(ids, pattern=f"{doc_id}/"))
            made |= {child for child in below.to_pylist() if child[len(doc_id) + 1 :].isdecimal()}
    return len(made)


def _kept(dataset: Dataset, shard: Receipt, doc_id: str) -> Iterator[Event]:
    for row in _rows(dataset, shard.data, doc_id):
        attributes = dataset.manifest.kind == "attributes"
        known = {k: v for k, v in row.items() if k not in (ID, TEXT) and v is not None and not isinstance(v, bytes)}
        if TEXT in row and row[TEXT] is not None:
            known["characters"] = len(row[TEXT])
        yield Event(dataset.name, "measured" if attributes else "kept", shard.shard, known)


def _rows(dataset: Dataset, record: FileRecord | None, doc_id: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one file with this id; the column of ids is read first, the others only on a hit."""
    start = 0
    hits: list[int] = []
    for batch in _ids(dataset, record):
        found = pc.indices_nonzero(pc.equal(batch.column(ID), doc_id))
        hits += [start + i for i in found.to_pylist()]
        start += batch.num_rows
    if hits and record is not None:
        yield from _take(dataset, resolve(dataset.path, record), hits)


def _ids(dataset: Dataset, record: FileRecord | None) -> Iterator[pa.RecordBatch]:
    if record is not None and record.rows:
        yield from read_shard(dataset.storage, resolve(dataset.path, record), [ID])


def _take(dataset: Dataset, path: str, places: list[int]) -> Iterator[dict[str, Any]]:
    start = 0
    for batch in read_shard(dataset.storage, path):
        inside = [place - start for place in places if start <= place < start + batch.num_rows]
        if inside:
            yield from batch.take(pa.array(inside)).to_pylist()
        start += batch.num_rows


def changed_lines(before: str, after: str, around: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the lines that an edit took (`-`) and gave (`+`), with some `around` them (` `) and `@` where others are left out."""
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), n=around, lineterm="")
    for line in islice(lines, 2, None):  # behind the names of two files
        yield ("@", "…") if line.startswith("@@") else (line[:1], line[1:])


def parents(datasets: list[Dataset], doc_id: str) -> list[str]:
    """Return the ids that a derived id such as `page/3` comes from, nearest first."""
    found = []
    while "/" in doc_id:
        doc_id = doc_id.rpartition("/")[0]
        if any(PARENT_ID in dataset.manifest.columns for dataset in datasets):
            found.append(doc_id)
    return found
