"""The sets that models are measured on: documents held out and questions, by source and group, no more of each than are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import Dataset, open_parquet, read_shard
from curate.document import ID, TEXT, leaf_as
from curate.errors import OperatorError, PipelineError
from curate.hashing import hash64
from curate.manifest import Kind
from curate.work import Place, Work
from curate_scorers.proxy import benchmarks

SEED = 20  # of the hash that chooses items
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


def set_items(inputs: Sequence[Dataset], questions: Sequence[str], by: Mapping[str, str]) -> tuple[list[Item], list[int]]:
    """Return a task for each shard of documents, and their sizes; raise `OperatorError` for a source without rows."""
    items, sizes = [], []
    for dataset in inputs:
        if dataset.manifest.kind != "documents":
            continue
        if not dataset.rows:
            raise OperatorError(f"`{dataset.name}` has no rows to measure on", "give documents or questions, or leave it out of `from`")
        for shard, receipt in enumerate(dataset.manifest.shards):
            told = {"source": dataset.name, "questions": dataset.name in questions, "by": by.get(dataset.name)}
            items.append(told | {"path": dataset.shard_path(shard)})
            sizes.append(receipt.data.bytes)
    return items, sizes


def limited(work: Work, items: list[Item], sizes: list[int], max_items: int | None) -> list[Item]:
    """Return the tasks with the highest hash that an item of each set may have, so that no set has more than `max_items`."""
    if max_items is None:
        return items
    found: dict[str, list[int]] = {}
    for hashes in work.map("choose", _lowest, [item | {"most": max_items} for item in items], sizes):
        for name, some in hashes.items():
            found.setdefault(name, []).extend(some)
    limits = {name: sorted(hashes)[:max_items][-1] for name, hashes in found.items()}
    return [item | {"limits": limits} for item in items]


def _lowest(item: Item, place: Place) -> dict[str, list[int]]:
    """Return the lowest hashes of a shard's items by set."""
    found: dict[str, Any] = {}
    columns = [ID, *([item["by"].partition(".")[0]] if item["by"] else [])]
    for batch in read_shard(place.storage, item["path"], list(dict.fromkeys(columns))):
        names, hashes = _names(batch, item), hash64(batch.column(ID), SEED)
        for name in np.unique(names):
            both = np.concatenate([found.get(name, np.empty(0, np.uint64)), hashes[names == name]])
            found[name] = np.sort(both)[: item["most"]]
    return {name: hashes.tolist() for name, hashes in found.items()}


def rows_of(item: Item, place: Place) -> Iterator[tuple[Any, pa.RecordBatch]]:
    """Yield a shard's rows that are measured, and the name of each row's set."""
    for batch in read_shard(place.storage, item["path"], _columns(item, place)):
        names = _names(batch, item)
        wanted = np.ones(batch.num_rows, bool)
        if "limits" in item:
            wanted = hash64(batch.column(ID), SEED) <= np.array([item["limits"][name] for name in names], np.uint64)
        if not item["questions"]:
            wanted &= np.array([bool(text) for text in batch.column(TEXT).to_pylist()], bool)
        if wanted.any():
            yield names[wanted], batch.filter(pa.array(wanted))


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
