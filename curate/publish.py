"""Publishes a finished dataset: shards re-grouped to a target size in a new versioned folder, then one pointer file.

    <path>/v-3f2a90c1d2e4b5f6/part-00000.parquet …      named by dataset, format and file size; never changed once the pointer names it
    <path>/manifest.json                                  written last; `curate.load(path)` follows it

A reader sees the old version or the new one, never a mixture. Earlier versions stay for those who read them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import orjson
import pyarrow as pa

from curate.artifacts import place_of
from curate.attempts import attempt_all
from curate.dataset import Dataset, join_url, read_shard
from curate.errors import DatasetError, PipelineError
from curate.executors.base import Executor, Resources
from curate.fingerprint import digest
from curate.manifest import MANIFEST, ArtifactFile, Counts, FileRecord, Manifest, Receipt
from curate.pipeline import Output, Pipeline
from curate.storage import Storage, is_remote, join, open_storage
from curate.units import group_shards
from curate.version import VERSION
from curate.writers import HashingFile, ParquetShard


@dataclass(frozen=True)
class Published:
    """Where an output is, and how much of it there is."""

    path: str
    format: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class PublishTask:
    """One file of an output: shards to join, in order."""

    source: str
    shards: tuple[str, ...]
    target: str
    path: str
    format: str
    schema: pa.Schema
    size: int = 0
    attempt: int = 1
    isolate: bool = False


def publish(pipeline: Pipeline, output: Output, dataset: Dataset, executor: Executor) -> Published:
    """Write the output unless this very version is there already, and return where it is."""
    url = output.path if is_remote(output.path) else os.path.normpath(pipeline.folder.absolute() / output.path)
    target = open_storage(url)
    version = f"v-{digest([dataset.manifest.fingerprint, output.format, output.shard_bytes])}"
    standing = _standing(target, pipeline, url)
    if standing is None or not standing.shards[0].data.path.startswith(f"{version}/"):
        records = _write(dataset, target, version, output, executor)
        files = [_copied(dataset, file, target, version) for file in dataset.manifest.files]
        target.write(MANIFEST, _manifest(dataset, records, files, pipeline.name).to_json())
    else:
        records = [shard.data for shard in standing.shards]
    return Published(join_url(target.url, version), output.format, dataset.rows, sum(record.bytes for record in records))


def check_destinations(pipeline: Pipeline) -> None:
    """Raise `PipelineError` when an output's place is taken, before any work is done for it."""
    read = {place_of(spec.artifact, pipeline.folder) for spec in pipeline.inputs.values() if spec.artifact}
    for output in pipeline.outputs.values():
        url = destination(pipeline, output)
        if url.rstrip("/") in read:
            hint = "give every version a folder of its own, such as one for each dump"
            raise PipelineError(f"output {url} is also read: a second run would read what the first one wrote", hint)
        if not is_remote(url) and Path(url).is_file():
            raise PipelineError(f"output {url} is a file", "an output is a folder of files: choose another path")
        _standing(open_storage(url), pipeline, url)


def destination(pipeline: Pipeline, output: Output) -> str:
    """Return where an output goes: a URL, or an absolute path."""
    return output.path if is_remote(output.path) else os.path.abspath(pipeline.folder / output.path)


def _standing(target: Storage, pipeline: Pipeline, url: str) -> Manifest | None:
    """Return the manifest at the destination; raise when the place belongs to somebody else."""
    if target.info(MANIFEST) is not None:
        manifest = Manifest.from_json(target.read(MANIFEST), join_url(url, MANIFEST))
        if manifest.pipeline != pipeline.name:
            raise PipelineError(
                f"output {url} belongs to pipeline `{manifest.pipeline}`", "choose another path, or remove the folder if it is not needed"
            )
        return manifest
    strangers = [info.path for info in target.list() if not info.path.startswith("v-")]
    if strangers:
        raise PipelineError(f"output {url} is not empty: it holds {strangers[0]}", "choose another path, or remove what is there")
    return None


def _write(dataset: Dataset, target: Storage, version: str, output: Output, executor: Executor) -> list[FileRecord]:
    shards = dataset.manifest.shards
    suffix = "parquet" if output.format == "parquet" else "jsonl.zst"
    full = [i for i, shard in enumerate(shards) if shard.data.rows] or [0]
    groups = group_shards([shards[i].data.bytes for i in full], output.shard_bytes)
    tasks = [
        PublishTask(
            source=dataset.storage.url,
            shards=tuple(dataset.shard_path(full[i]) for i in group),
            target=target.url,
            path=join(version, f"part-{number:05d}.{suffix}"),
            format=output.format,
            schema=dataset.schema,
            size=sum(shards[full[i]].data.bytes for i in group),
        )
        for number, group in enumerate(groups)
    ]
    records: dict[str, FileRecord] = {}
    with contextlib.closing(attempt_all(executor, write_file, tasks, Resources(), lambda task, cause: None)) as outcomes:
        for outcome in outcomes:
            if outcome.error is not None:
                raise outcome.error
            records[outcome.item.path] = outcome.result
    return [records[task.path] for task in tasks]


def _copied(dataset: Dataset, file: ArtifactFile, target: Storage, version: str) -> ArtifactFile:
    """Copy a file that stands beside the shards, and return its record."""
    name = join(version, file.name)
    with dataset.storage.open_input(join(dataset.path, file.name)) as source, target.open_output(name) as out:
        copy = HashingFile(out)
        shutil.copyfileobj(source, cast(Any, copy), 4 << 20)
    if copy.sha256 != file.sha256:
        raise DatasetError(f"{join_url(dataset.url, file.name)}: damaged", "remove the artifact's folder and run again")
    return replace(file, name=name)


def write_file(task: PublishTask) -> FileRecord:
    """Write one file of an output and return its record."""
    source, target = open_storage(task.source), open_storage(task.target)
    with target.open_output(task.path) as out:
        if task.format == "parquet" and len(task.shards) == 1:
            file = HashingFile(out)
            with source.open_input(task.shards[0]) as stream:
                shutil.copyfileobj(stream, cast(Any, file), 4 << 20)
            rows = sum(batch.num_rows for batch in read_shard(source, task.shards[0], ["id"]))
            return FileRecord(task.path, rows, file.size, file.sha256)
        return _joined(source, task, out)


def _joined(source: Storage, task: PublishTask, out: Any) -> FileRecord:
    batches = (batch for path in task.shards for batch in read_shard(source, path))
    if task.format == "parquet":
        shard = ParquetShard(out, task.schema)
        for batch in batches:
            shard.write(batch)
        shard.close()
        return FileRecord(task.path, shard.rows, shard.file.size, shard.file.sha256)
    file, rows = HashingFile(out), 0
    with pa.CompressedOutputStream(pa.PythonFile(file, "w"), "zstd") as stream:
        for batch in batches:
            rows += batch.num_rows
            for line in _lines(batch):
                stream.write(line)
    return FileRecord(task.path, rows, file.size, file.sha256)


def _lines(batch: pa.RecordBatch) -> Iterator[bytes]:
    for index, field in enumerate(batch.schema):
        if pa.types.is_temporal(field.type) and getattr(field.type, "unit", "") == "ns":  # more than Python's own times can hold
            kind = pa.int64() if pa.types.is_duration(field.type) else pa.string()
            batch = batch.set_column(index, field.name, batch.column(index).cast(kind))
    for row in batch.to_pylist():
        yield orjson.dumps(row, default=_plain, option=orjson.OPT_APPEND_NEWLINE)


def _plain(value: Any) -> str:
    """JSON has no binary and no decimals: base64 and the number's digits stand for them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _manifest(dataset: Dataset, records: list[FileRecord], files: list[ArtifactFile], pipeline: str) -> Manifest:
    shards = [
        Receipt(
            number, record.sha256[:16], record, None, None, None, Counts(rows_in=record.rows, rows_out=record.rows, bytes_out=record.bytes)
        )
        for number, record in enumerate(records)
    ]
    return replace(dataset.manifest, shards=shards, files=files, statistics={}, samples={}, curate_version=VERSION, pipeline=pipeline)
