"""Cuts a stage's sources into work units: one unit makes one shard.

Units follow from the listing, the manifests upstream and the pipeline's `shard_bytes`; never from the number of workers.
Every unit has a fingerprint of its own, so that a stage over inputs that grew takes finished shards over from the dataset
that it made before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from curate import inputs
from curate.commit import from_sibling, receipt_path, receipts
from curate.dataset import Dataset, open_dataset
from curate.errors import DatasetError
from curate.fingerprint import unit_identity
from curate.manifest import MANIFEST, Receipt
from curate.plan import Plan, PlannedInput, PlannedStage
from curate.readers import reader
from curate.readers.base import Slice
from curate.shard import ShardTask
from curate.sources import FileSource, ShardSource


def shard_tasks(plan: Plan, planned: PlannedStage, epoch: int) -> list[ShardTask]:
    """Return a chain stage's tasks, one per shard, in order."""
    stage = planned.stage
    return [
        ShardTask(
            workspace=plan.storage.url,
            folder=planned.folder,
            shard=shard,
            unit=unit_identity(planned.chain, planned.read_schema, planned.schema, content),
            source=source,
            read_schema=planned.read_schema,
            steps=planned.steps,
            schema=planned.schema,
            kind=planned.kind,
            max_errors=stage.max_errors,
            trace=stage.trace is not None,
            report_by=tuple(plan.pipeline.report_by),
            epoch=epoch,
            timeout_s=stage.timeout_s,
        )
        for shard, (source, content) in enumerate(_sources(plan, planned))
    ]


def _sources(plan: Plan, planned: PlannedStage) -> Iterator[tuple[FileSource | ShardSource, Any]]:
    for name in planned.documents:
        if plan.reads_files(planned.name, name):
            yield from _file_sources(plan.inputs[name], plan.pipeline.shard_bytes)
        else:
            yield from _shard_sources(plan, planned, plan.dataset(name))


def _file_sources(planned: PlannedInput, target: int) -> Iterator[tuple[FileSource, Any]]:
    listing = planned.listing
    identity = {path: content for path, _, content in planned.identities}
    for unit in _limited(inputs.units(listing, reader(listing.format), target), planned.spec.limit):
        captures = {part.file.path: listing.captures[part.file.path] for part in unit if part.file.path in listing.captures}
        content = {
            "slices": [[part.file.path, identity[part.file.path], part.start, part.stop] for part in unit],
            "options": [planned.name, planned.spec.id, planned.spec.text, planned.spec.max_record_bytes, planned.spec.limit],
            "captures": captures,
        }
        source = FileSource(
            listing.storage_url, tuple(unit), listing.format, planned.options, planned.file_schema, captures, planned.spec.limit
        )
        yield source, content


def _limited(units: list[tuple[Slice, ...]], limit: int | None) -> list[tuple[Slice, ...]]:
    return units if limit is None else units[:1]


def _shard_sources(plan: Plan, planned: PlannedStage, documents: Dataset) -> Iterator[tuple[ShardSource, Any]]:
    attributes = [plan.dataset(name) for name in planned.attributes]
    for dataset in attributes:
        _verify_aligned(dataset, documents)
    target = 0 if planned.kind == "attributes" else plan.pipeline.shard_bytes
    for group in group_shards([r.counts.text_bytes_out or r.data.bytes for r in documents.manifest.shards], target):
        paths = tuple(documents.shard_path(i) for i in group)
        described = {d.name: tuple(d.shard_path(i) for i in group) for d in attributes}
        content = [[d.manifest.shards[i].data.sha256 for i in group] for d in (documents, *attributes)]
        size = sum(d.manifest.shards[i].data.bytes for d in (documents, *attributes) for i in group)
        yield ShardSource(paths, described, size), content


def group_shards(sizes: list[int], target: int) -> Iterator[list[int]]:
    """Yield runs of consecutive shards that reach `target` bytes; a target of 0 keeps each alone."""
    group: list[int] = []
    total = 0
    for index, size in enumerate(sizes):
        group.append(index)
        total += size
        if total >= target:
            yield group
            group, total = [], 0
    if group:
        yield group


def _verify_aligned(attributes: Dataset, documents: Dataset) -> None:
    ours, theirs = attributes.manifest, documents.manifest
    rows = [shard.data.rows for shard in ours.shards] == [shard.data.rows for shard in theirs.shards]
    if ours.aligned_to != theirs.fingerprint or not rows:
        raise DatasetError(f"attributes {attributes.url} do not describe {documents.url}", "remove the attributes' folder and run again")


def finished(plan: Plan, planned: PlannedStage, tasks: Sequence[ShardTask]) -> dict[int, Receipt]:
    """Return the shards that need not be made: those with a receipt of their own, and twins in earlier datasets.

    A receipt for another unit (its source was made anew with other bytes) is taken back, since it would win over the new one.
    """
    done: dict[int, Receipt] = {}
    for shard, receipt in receipts(plan.storage, planned.folder).items():
        if shard < len(tasks) and receipt.unit == tasks[shard].unit:
            done[shard] = receipt
        else:
            plan.storage.delete(receipt_path(planned.folder, shard))
    if len(done) < len(tasks):
        twins = reusable(plan, planned)
        for task in tasks:
            if task.shard not in done and task.unit in twins:
                done[task.shard] = dataclasses.replace(twins[task.unit], shard=task.shard)
    return done


def reusable(plan: Plan, planned: PlannedStage) -> dict[str, Receipt]:
    """Return shards of earlier datasets of this stage, made by the same chain, by the fingerprint of their units."""
    storage = plan.storage
    found: dict[str, Receipt] = {}
    prefix = f"datasets/{planned.name}@"
    manifests = sorted(
        info.path for info in storage.list("datasets") if info.path.startswith(prefix) and info.path.endswith(f"/{MANIFEST}")
    )
    for path in manifests:
        folder = path.removesuffix(f"/{MANIFEST}")
        dataset = open_dataset(storage, folder)
        if folder == planned.folder or dataset.manifest.chain != planned.chain:
            continue
        for receipt in receipts(storage, folder).values():
            found.setdefault(receipt.unit, from_sibling(receipt, folder))
    return found
