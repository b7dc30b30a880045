"""The tasks of a dataset operator: what one item of a phase, or one shard that is written, is on a worker.

A task's result is kept under its prefix as JSON with its hash, so that a rerun finds it; `work.py` says which tasks there are.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import orjson
import pyarrow as pa
import xxhash

from curate.commit import Attempt, Told
from curate.dataset import join_url
from curate.errors import DatasetError
from curate.ledger import DROPS, Ledger
from curate.manifest import Measured, Receipt
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.registry import load_code
from curate.shuffle import ShuffleFile, ShuffleWriter, opened, verified
from curate.storage import Storage, open_storage
from curate.told import TOLD

WRITE = "write"  # the phase that writes a dataset's shards


@dataclass(frozen=True)
class Function:
    """A module-level function by name, with the user's source when it lives in their own file."""

    module: str
    name: str
    code: str | None = None

    def load(self) -> Callable[..., Any]:
        """Return the function on this worker."""
        module = load_code(self.code, self.module) if self.code is not None else importlib.import_module(self.module)
        return cast(Callable[..., Any], getattr(module, self.name))


class Place:
    """Where a task may write: files that are named only when whole."""

    def __init__(self, storage: Storage, prefix: str) -> None:
        self.storage = storage
        self.prefix = prefix

    def write_shuffle(self, partitions: int, schema: pa.Schema, rows: Iterator[tuple[Any, pa.RecordBatch]]) -> ShuffleFile:
        """Write (partition of each row, rows) pairs as this task's shuffle file."""
        path = f"{self.prefix}.shuffle"
        with self.storage.open_output(path) as out:
            writer = ShuffleWriter(out, path, partitions, schema)
            for partition, batch in rows:
                writer.write(partition, batch)
            return writer.close()

    def write_table(self, name: str, table: pa.Table) -> str:
        """Write a table as an Arrow IPC file and return its path in the storage."""
        path = f"{self.prefix}.{name}.arrow"
        with self.storage.open_output(path) as out:
            plain = _Plain(out)
            with pa.ipc.new_file(pa.PythonFile(cast(Any, plain), "w"), table.schema) as writer:
                writer.write_table(table)
            out.write(plain.hash.digest())
        return path

    def tell(self, said: str) -> None:
        """Tell a person how a long task goes, in a few words; `Work` passes it on where it is called with `listen`."""
        self.storage.write(f"{self.prefix}{TOLD}", said.encode())

    def read_table(self, path: str) -> pa.Table:
        """Read a table that a task wrote."""
        data = verified(self.storage, path, opened(self.storage.read, path))
        return pa.ipc.open_file(pa.BufferReader(data)).read_all()


class _Plain:
    """Hashes what Arrow writes, and keeps it from closing a stream that its context manager must sync first."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.closed = False
        self.hash = xxhash.xxh3_64()

    def write(self, data: Any) -> int:
        self._out.write(data)
        self.hash.update(data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True


@dataclass(frozen=True)
class PhaseTask:
    """One item of a phase."""

    workspace: str
    prefix: str
    function: Function
    item: Any
    size: int = 0
    attempt: int = 1
    isolate: bool = False


@dataclass(frozen=True)
class EmitTask:
    """One shard that a dataset operator writes."""

    workspace: str
    folder: str
    shard: int
    unit: str
    function: Function
    item: Any
    schema: pa.Schema
    prefix: str
    epoch: int
    size: int = 0
    attempt: int = 1
    isolate: bool = False


@dataclass(frozen=True)
class Kept:
    """The result of a phase's task as plain JSON data, and how the work went."""

    result: Any
    measured: Measured


def run_phase_task(task: PhaseTask) -> Kept:
    """Run one item of a phase and keep its result."""
    clock = _Clock()
    storage = open_storage(task.workspace)
    result = task.function.load()(task.item, Place(storage, task.prefix))
    data, measured = orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY), clock.measured(task.prefix.split("/")[-2], task.attempt)
    kept = {"result": result, "xxh3": xxhash.xxh3_64_hexdigest(data), "measured": measured}
    storage.create(f"{task.prefix}.json", orjson.dumps(kept, option=orjson.OPT_SERIALIZE_NUMPY))
    return Kept(orjson.loads(data), measured)


def kept_result(storage: Storage, path: str) -> Kept:
    """Return what a finished task kept at a path; raise `DatasetError` where that is damaged."""
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        kept = orjson.loads(storage.read(path))
        if xxhash.xxh3_64_hexdigest(orjson.dumps(kept["result"])) == kept["xxh3"]:
            return Kept(kept["result"], Measured(**kept["measured"]))
    raise DatasetError(f"{join_url(storage.url, path)}: damaged", "remove it and run again: its task is repeated")


class _Clock:
    """Measures a task from now on."""

    def __init__(self) -> None:
        reset_peak_rss()
        self._begun, self._cpu_begun = time.perf_counter(), time.process_time()

    def measured(self, phase: str, attempts: int) -> Measured:
        seconds, cpu_seconds = time.perf_counter() - self._begun, time.process_time() - self._cpu_begun
        return Measured(seconds, cpu_seconds, peak_rss_bytes(), attempts, {phase: seconds})


def run_emit_task(task: EmitTask) -> Receipt:
    """Write one shard from the batches that the function yields; `("drops", batch)` pairs go to the ledger."""
    clock = _Clock()
    storage = open_storage(task.workspace)
    with Attempt(storage, task.folder, task.shard, task.schema) as attempt:
        ledger = Ledger([], [], attempt.write)
        for produced in task.function.load()(task.item, Place(storage, task.prefix)):
            if isinstance(produced, tuple):
                _emit_drops(ledger, attempt, produced[1])
            else:
                ledger.counts.rows_in += produced.num_rows
                ledger.counts.rows_out += produced.num_rows
                attempt.write("data", produced.cast(task.schema))
        ledger.counts.bytes_in = task.size
        return attempt.commit(task.unit, ledger.counts, Told(), clock.measured(WRITE, task.attempt), task.epoch)


def _emit_drops(ledger: Ledger, attempt: Attempt, drops: pa.RecordBatch) -> None:
    ledger.counts.rows_in += drops.num_rows
    for row in pa.Table.from_batches([drops]).group_by(["step", "reason"]).aggregate([("id", "count")]).to_pylist():
        ledger.counts.add_drops(row["step"], row["reason"], row["id_count"])
    attempt.write("drops", drops.cast(DROPS))
