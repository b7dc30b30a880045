"""The sets that models are measured on: documents held out and questions, by source and group, no more of each than are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset, open_parquet, read_shard
from curate.document import ID, TEXT, leaf_as
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.manifest import Kind
from curate.report.units import plural
from curate.work import Place, Verdict, Work
from curate_scorers.proxy import benchmarks

SEED = 20  # of the hash that chooses items
LISTED = 5
HINT = "give documents or questions, or leave it out of `from`"
Item = dict[str, Any]


def verify_sets(use: str, sources: Mapping[str, Kind], questions: Sequence[str], by: Mapping[str, str]) -> None:
    """Raise `PipelineError` unless there are documents to measure on, and what is said of sources is said of these."""
    documents = [name for name, kind in sources.items() if kind == "documents"]
    if odd := [name for name, kind in sources.items() if kind == "attributes"]:
        raise PipelineError(f"{use}: `{odd[0]}` is attributes, which are neither text nor questions", "leave it out of `from`")
    if not documents:
        raise PipelineError(f"{use}: there is nothing to measure on", "name documents held out, or questions, in `from`")
    for parameter, names in (("questions", questions), ("by", by)):
        if unknown := [name for name in names if name not in documents]:
            hint = f"its documents are: {', '.join(documents)}"
            raise PipelineError(f"{use}: {parameter} names `{unknown[0]}`, which is no documents of this stage", hint)


def columns_read(name: str, by: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns that a source must have."""
    return (TEXT, by[name]) if name in by else (TEXT,)


def set_items(
    work: Work, inputs: Sequence[Dataset], questions: Sequence[str], by: Mapping[str, str], max_items: int | None
) -> tuple[list[Item], list[int]]:
    """Return a task for each shard of documents, and their sizes, once all that will be measured has been read and found good.

    With `max_items` each task has the highest hash that an item of each set may have. Raises `OperatorError` for a source without rows
    or without text, a group that is no name, and a question that cannot be asked.
    """
    items, sizes = [], []
    for dataset in inputs:
        if dataset.manifest.kind != "documents":
            continue
        if not dataset.rows:
            raise OperatorError(f"`{dataset.name}` has no rows to measure on", HINT)
        for shard, receipt in enumerate(dataset.manifest.shards):
            told = {"source": dataset.name, "questions": dataset.name in questions, "by": by.get(dataset.name)}
            items.append(told | {"path": dataset.shard_path(shard)})
            sizes.append(receipt.data.bytes)
    found: dict[str, list[int]] = {}
    unanswered: Counter[str] = Counter()
    for shard in work.map("sets", look_at_shard, [item | {"most": max_items or 1} for item in items], sizes):
        unanswered.update(shard["unanswered"])
        for name, hashes in shard["lowest"].items():
            found.setdefault(name, []).extend(hashes)
    _tell_empty(found, questions, work)
    _tell_unanswered(unanswered, work)
    if max_items is None:
        return items, sizes
    limits = {name: max(sorted(hashes)[:max_items], default=0) for name, hashes in found.items()}
    return [item | {"limits": limits} for item in items], sizes


def _tell_empty(found: Mapping[str, Sequence[int]], questions: Sequence[str], work: Work) -> None:
    """Raise `OperatorError` for a source with nothing to measure on, and note groups without text, which are left out."""
    full = {name.partition("/")[0] for name, hashes in found.items() if hashes}
    empty = sorted(name for name, hashes in found.items() if not hashes)
    for name in empty:
        source = name.partition("/")[0]
        if source not in full and source in questions:
            raise OperatorError(f"`{source}` has no question whose right answer is known: `gold` is null in all of them", HINT)
        if source not in full:
            raise OperatorError(f"`{source}` has no text to measure on: all its texts are empty", HINT)
    if without := [name for name in empty if name.partition("/")[0] not in questions]:
        work.note("empty", Verdict(False, f"{plural(len(without), 'set')} without text left out: {_listed(without)}"))


def _tell_unanswered(found: Mapping[str, int], work: Work) -> None:
    """Note how many questions are left out because their right answers are not known."""
    if count := sum(found.values()):
        message = f"{plural(count, 'question')} without a right answer (`gold` is null) left out: {_listed(sorted(found))}"
        work.note("unanswered", Verdict(False, message))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:LISTED]) + more


def look_at_shard(item: Item, place: Place) -> dict[str, dict[str, Any]]:
    """Return the lowest hashes by set of a shard's items, `most` of each, and how many of its questions have no known answer.

    Raises `OperatorError` for what cannot be measured.
    """
    found: dict[str, Any] = {}
    unanswered: Counter[str] = Counter()
    for names, batch in _batches(item, place):
        hashes, measurable = hash64(batch.column(ID), SEED), _measurable(batch, item)
        if item["questions"]:
            benchmarks.verify_questions(batch.filter(pa.array(measurable)), item["source"])
            unanswered.update(names[~measurable].tolist())
        for name in np.unique(names):
            both = np.concatenate([found.get(name, np.empty(0, np.uint64)), hashes[(names == name) & measurable]])
            found[name] = np.sort(both)[: item["most"]]
    return {"lowest": {name: hashes.tolist() for name, hashes in found.items()}, "unanswered": dict(unanswered)}


def rows_of(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield a shard's rows that are measured, and the name of each row's set."""
    for names, batch in _batches(item, place):
        wanted = _measurable(batch, item)
        if "limits" in item:
            wanted &= hash64(batch.column(ID), SEED) <= np.array([item["limits"][name] for name in names], np.uint64)
        if wanted.any():
            yield names[wanted], batch.filter(pa.array(wanted))


def _batches(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    for batch in read_shard(place.storage, item["path"], _columns(item, place)):
        yield _names(batch, item), batch


def _measurable(batch: pa.RecordBatch, item: Item) -> Any:
    """Tell of each row whether it can be measured: questions whose right answer is known, and texts that are not empty."""
    if item["questions"]:
        return benchmarks.answered(batch)
    return np.array([bool(text) for text in batch.column(TEXT).to_pylist()], bool)


def _columns(item: Item, place: Place) -> list[str]:
    head = [item["by"].partition(".")[0]] if item["by"] else []
    if not item["questions"]:
        return list(dict.fromkeys([ID, TEXT, *head]))
    with open_parquet(place.storage, item["path"]) as file:
        return list(dict.fromkeys([*benchmarks.columns_of(file.schema_arrow), *head]))


def _names(batch: pa.RecordBatch, item: Item) -> Any:
    """Return the set of each row: the source, and the group behind a slash."""
    if item["by"] is None:
        return np.full(batch.num_rows, item["source"], object)
    groups = leaf_as(batch, item["by"], pa.string())
    if groups is None:
        raise OperatorError(f"`{item['source']}` has no column `{item['by']}` of names", f"its columns: {', '.join(batch.schema.names)}")
    return np.array([f"{item['source']}/{group}" if group is not None else item["source"] for group in groups.to_pylist()], object)
