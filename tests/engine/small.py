"""Small pipelines over small files, run as the engine runs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from curate.dataset import Dataset, read_shard
from curate.executors.base import Executor
from curate.executors.local import LocalExecutor
from curate.launch import plan_for
from curate.pipeline import Input, Pipeline, Stage
from curate.plan import Plan
from curate.run import Run, RunResult
from curate.storage import LocalStorage
from curate.writers import ParquetShard

DOCUMENTS = pa.schema({"id": pa.string(), "text": pa.large_string()})
FOLDER = Path(__file__).parent


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write documents as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))
    return path


def documents(count: int, start: int = 0, words: int = 5) -> list[dict[str, Any]]:
    """Return numbered documents, each with a text of its own."""
    return [{"id": f"d{i:04d}", "text": " ".join(f"word{i}-{n}" for n in range(words))} for i in range(start, start + count)]


def pipeline(path: Path, stages: Mapping[str, Stage], **kwargs: Any) -> Pipeline:
    """Return a pipeline over one input of JSON lines, `crawl`; operators' files lie beside this one."""
    return Pipeline(
        **{"name": "small", "inputs": {"crawl": Input(str(path))}, "stages": stages, "folder": FOLDER, "shard_bytes": 1 << 20} | kwargs
    )


def plan(pipe: Pipeline, workspace: Path) -> Plan:
    """Plan a pipeline in a workspace."""
    return plan_for(pipe, None, LocalStorage(workspace))


def execute(planned: Plan, workers: int = 1, events: list[Mapping[str, Any]] | None = None) -> RunResult:
    """Run a plan and return its result, whatever it is."""
    with LocalExecutor(workers) as executor:
        return Run(planned, executor, "run", events.append if events is not None else lambda event: None).execute()


def run(pipe: Pipeline, workspace: Path, workers: int = 1) -> tuple[Plan, RunResult]:
    """Run a pipeline that must succeed."""
    planned = plan(pipe, workspace)
    result = execute(planned, workers)
    if result.error is not None:
        raise result.error
    assert result.status == "done"
    return planned, result


def rows(dataset: Dataset) -> list[dict[str, Any]]:
    """Return all rows of a dataset."""
    return [row for batch in dataset.batches() for row in batch.to_pylist()]


def ledger(dataset: Dataset, which: str) -> list[dict[str, Any]]:
    """Return all rows of a dataset's drops, errors or trace."""
    return [row for batch in dataset.ledger(which) for row in batch.to_pylist()]


def write_shard(path: Path, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> None:
    """Write a shard's file as the engine does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as out:
        shard = ParquetShard(out, schema)
        for batch in batches:
            shard.write(batch)
        shard.close()


def write_shards(folder: Path, docs: Sequence[dict[str, Any]], shards: int, schema: pa.Schema) -> Path:
    """Write documents as so many files, each a shard, as even as they can be; a column that a document lacks is null."""
    edges = [round(i * len(docs) / shards) for i in range(shards + 1)]
    for number in range(shards):
        rows = pa.RecordBatch.from_pylist(list(docs[edges[number] : edges[number + 1]]), schema)
        write_shard(folder / f"{number:03d}.parquet", [rows], schema)
    return folder


def shard_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of one shard's file."""
    return [row for batch in read_shard(LocalStorage(path.parent), path.name) for row in batch.to_pylist()]


@contextlib.contextmanager
def local(workers: int = 1) -> Iterator[Executor]:
    """A local executor."""
    with LocalExecutor(workers) as executor:
        yield executor
