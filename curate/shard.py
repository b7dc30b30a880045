"""What a task does, wherever it runs: read one work unit, run the chain over it, commit one shard.

A `ShardTask` holds all that it takes, so a task can run in this process, in a local worker or on a Ray node, and again
after its worker died. The result is the shard's receipt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.chain import Chain, ChainStep, made
from curate.commit import Attempt, Told
from curate.document import ID, TEXT
from curate.errors import DatasetError
from curate.isolate import IsolatedChain
from curate.ledger import Ledger, Rows
from curate.manifest import Measured, Receipt
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.protocols import Scorer
from curate.readers.base import ReadBatch
from curate.sources import FileSource, ShardSource, conform, read_source
from curate.steps import StepSpec
from curate.storage import open_storage


@dataclass(frozen=True)
class ShardTask:
    """One shard to make. `folder` is the dataset's path in the workspace, `schema` the columns that it must have."""

    workspace: str
    folder: str
    shard: int
    unit: str
    source: FileSource | ShardSource
    read_schema: pa.Schema
    steps: tuple[StepSpec, ...]
    schema: pa.Schema
    kind: str = "documents"
    max_errors: int = 0
    trace: bool = False
    report_by: tuple[str, ...] = ("source",)
    epoch: int = 0
    attempt: int = 1
    isolate: bool = False
    timeout_s: float | None = None

    @property
    def size(self) -> int:
        """The file bytes that it reads."""
        return sum(part.size for part in self.source.slices) if isinstance(self.source, FileSource) else self.source.size


def run_shard(task: ShardTask) -> Receipt:
    """Make one shard and return its receipt."""
    reset_peak_rss()
    begun, cpu_begun = time.perf_counter(), time.process_time()
    storage = open_storage(task.workspace)
    steps = made(task.steps, storage)
    with Attempt(storage, task.folder, task.shard, task.schema) as attempt:
        ledger = Ledger(_score_columns(steps, task.read_schema), task.report_by, attempt.write)
        chain: Chain | IsolatedChain = Chain(steps, ledger, task.max_errors, task.trace)
        if task.isolate or task.timeout_s is not None:
            chain = IsolatedChain(task.steps, ledger, task.max_errors, task.trace, task.timeout_s, storage)
        with contextlib.closing(chain):
            _pump(task, chain, ledger, attempt)
        ledger.counts.bytes_in = task.size
        measured = Measured(
            seconds=time.perf_counter() - begun,
            cpu_seconds=time.process_time() - cpu_begun,
            peak_rss_bytes=peak_rss_bytes(),
            attempts=task.attempt,
            steps=chain.seconds,
            models=ledger.models,
        )
        return attempt.commit(task.unit, ledger.counts, Told(ledger.statistics(), ledger.samples()), measured, task.epoch)


def _pump(task: ShardTask, chain: Chain | IsolatedChain, ledger: Ledger, attempt: Attempt) -> None:
    """Move every batch from the source through the chain to the attempt's files."""
    for batch in read_source(task.source, task.workspace, task.read_schema):
        _record_unread(batch, ledger, task.max_errors)
        docs = batch.docs
        if docs.num_rows:
            ledger.came_in(docs)
            docs = _without_nulls(*chain.apply(docs), ledger, task)
            if docs.num_rows:
                docs = conform(docs, task.schema, f"stage folder {task.folder}")
                ledger.went_out(docs)
                attempt.write("data", docs)
        ledger.flush()


def _record_unread(batch: ReadBatch, ledger: Ledger, max_errors: int) -> None:
    end = batch.docs.num_rows
    if batch.drops:
        ledger.dropped_unread([(d.id, d.reason, d.value) for d in batch.drops], end)
    if batch.errors:
        more = sum(e.rows - 1 for e in batch.errors)  # records without a line of their own in `errors/`
        ledger.counts.rows_in += len(batch.errors) + more
        ledger.counts.errored += more
        ids, errors = [e.id for e in batch.errors], [e.error for e in batch.errors]
        ledger.errored("read", ids, errors, np.full(len(ids), end, dtype=np.int64))
        if ledger.counts.errored > max_errors:
            raise DatasetError(
                f"cannot read `{ids[0]}`: {errors[0]}",
                f"mend or remove the file, or allow more than {max_errors} quarantined rows with `max_errors` on the stage",
            )


def _without_nulls(docs: pa.RecordBatch, rows: Rows, ledger: Ledger, task: ShardTask) -> pa.RecordBatch:
    """Quarantine documents whose text is null."""
    if task.kind == "documents" and TEXT in docs.schema.names and docs.column(TEXT).null_count:
        missing = pc.is_null(docs.column(TEXT))
        ids = docs.column(ID).filter(missing).to_pylist()
        ledger.errored("document", ids, ["the text is null"] * len(ids), rows[missing.to_numpy(zero_copy_only=False)])
        if ledger.counts.errored > task.max_errors:
            raise DatasetError(
                f"document `{ids[0]}` has a null text", "`normalize` turns null texts into empty ones; or raise `max_errors`"
            )
        docs = docs.filter(pc.invert(missing))
    return docs


def _score_columns(steps: Sequence[ChainStep], schema: pa.Schema) -> list[str]:
    """Return the numeric leaves of scores, from this chain's Scorers and from attributes that came in."""
    fields = [f for f in schema if pa.types.is_struct(f.type)]
    fields += [pa.field(s.into, s.operator.output()) for s in steps if isinstance(s.operator, Scorer)]
    leaves: list[str] = []
    for column in fields:
        if pa.types.is_struct(column.type):
            leaves += [f"{column.name}.{f.name}" for f in column.type if _is_number(f.type)]
        elif _is_number(column.type):
            leaves.append(column.name)
    return leaves


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
