"""What a dataset operator is given to work with: phases of tasks that survive kills, a scratch place, and shards to write.

    class CountSources(DatasetOperator):
        def run(self, inputs, work):
            paths = [inputs[0].shard_path(i) for i in range(len(inputs[0].manifest.shards))]
            counts = work.map("count", count_shard, paths)             # resumes where it was killed
            ...
            work.write_shards(mark_shard, items)                       # one item per shard of inputs[0]
            work.note("sources", Verdict(True, "7 sources", {…}))      # stands in the manifest and the report

`run` executes on the driver and only coordinates; data passes through the tasks. A task is a module-level function
`fn(item, place)`; items and results are plain data (results are kept as JSON). Each finished task leaves its result under
the stage's fingerprint, so a rerun does only what is missing; scratch goes when the dataset's manifest stands.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import orjson
import pyarrow as pa
import xxhash

from curate.attempts import attempt_all
from curate.commit import RECEIPTS, Attempt, Told, from_sibling, receipts, shard_name
from curate.dataset import Dataset, join_url
from curate.errors import CurateError, DatasetError, OperatorError
from curate.executors.base import Executor, Outcome, Resources
from curate.ledger import DROPS, TABLES, Ledger
from curate.manifest import MANIFEST, ArtifactFile, Measured, Receipt
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.registry import load_code
from curate.shuffle import ShuffleFile, ShuffleWriter, opened, verified
from curate.storage import Storage, join, open_storage
from curate.told import TOLD, Listener, one_at_a_time
from curate.writers import HashingFile

SCRATCH = ".scratch"
OWN = (MANIFEST, RECEIPTS, *TABLES)  # what a dataset's folder holds beside its shards and what is kept there
_FILE_NAME = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)?[A-Za-z0-9_-][A-Za-z0-9._-]*")
WRITE = "write"  # the phase that writes a dataset's shards
OnEvent = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Curve:
    """A picture of shares (0 to 1) over a measure: named lines and dots of (measure, share), and measures that matter."""

    measure: str
    share: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    dots: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What a `Check` says, or a dataset operator notes: whether all is well, in one sentence, with the measures behind it.

    Measures are plain data by name; when all of them are mappings, a report shows them as the rows of a table.
    """

    passed: bool
    message: str
    measures: Mapping[str, Any] = field(default_factory=dict)
    curve: Curve | None = None


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
        """Tell a person how a long task goes, in a few words; `Work.map` passes it on where it is called with `listen`."""
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


class Work:
    """The engine's side of a dataset operator: maps phases over the executor, resumable."""

    def __init__(self, storage: Storage, folder: str, executor: Executor, schema: pa.Schema, on_event: OnEvent) -> None:
        self.storage = storage
        self.folder = folder
        self.schema = schema
        self.epoch = 0
        self.unit = ""
        self.code: str | None = None
        self.resources = Resources()
        self.retries = 0
        self.receipts: list[Receipt] = []
        self.measured = Measured(attempts=0)
        self.notes: list[dict[str, Any]] = []
        self.about: dict[str, Any] = {}
        self.files: list[ArtifactFile] = []
        self._executor = executor
        self._on_event = one_at_a_time(on_event)

    @property
    def scratch(self) -> str:
        """The folder of this stage's intermediate files, in the workspace."""
        return join(self.folder, SCRATCH)

    def note(self, name: str, verdict: Verdict) -> None:
        """Keep what the operator found out in the manifest and the report; a verdict that does not pass is a warning.

        It must be a function of the data, like everything in a manifest: no times, no places, nothing that workers change.
        """
        if any(note["name"] == name for note in self.notes):
            raise OperatorError(f"there is a note `{name}` already", "give each note a name of its own")
        note = orjson.loads(orjson.dumps({"name": name} | dataclasses.asdict(verdict), option=orjson.OPT_SERIALIZE_NUMPY))
        self.notes.append(note)
        self._on_event({"event": "note", "stage": self._stage, "note": name, "passed": verdict.passed, "message": verdict.message})

    def write_file(self, name: str, path: str) -> None:
        """Keep a file that a task wrote at `path` beside the shards, such as a model; whoever names the stage in a parameter gets it.

        Several models may have a folder each, `FOLDER/FILE`. Like everything in a manifest its bytes must be a function of the data.
        """
        taken = name.partition("/")[0] in OWN or any(file.name == name for file in self.files)
        if not _FILE_NAME.fullmatch(name) or taken:
            raise OperatorError(f"not a name for a new file: `{name}`", "letters, digits, `_`, `-` and dots, once each")
        with opened(self.storage.open_input, path) as source, self.storage.open_output(join(self.folder, name)) as out:
            file = HashingFile(out)
            shutil.copyfileobj(source, cast(Any, file), 4 << 20)
        self.files.append(ArtifactFile(name, file.size, file.sha256))

    @property
    def _stage(self) -> str:
        return self.folder.rpartition("/")[2].partition("@")[0]

    def map(
        self,
        phase: str,
        fn: Callable[[Any, Place], Any],
        items: Sequence[Any],
        sizes: Sequence[int] | None = None,
        listen: bool = False,
    ) -> list[Any]:
        """Run `fn(item, place)` for every item and return the results in order, as plain JSON data.

        With `listen`, for few and long tasks, what they `tell` is shown while they run. What a task writes below its prefix outlives its
        death, and the attempt after it finds it there.
        """
        if not items:  # no phase at all, and nothing to tell
            return []
        folder = join(self.scratch, phase)
        there = {info.path for info in self.storage.list(folder)}
        prefixes = [join(folder, shard_name(i)) for i in range(len(items))]
        results: dict[int, Kept] = {
            i: _kept(self.storage, f"{prefix}.json") for i, prefix in enumerate(prefixes) if f"{prefix}.json" in there
        }
        function = self._function(fn)
        tasks = [
            PhaseTask(self.storage.url, prefixes[i], function, item, sizes[i] if sizes else 0)
            for i, item in enumerate(items)
            if i not in results
        ]
        number = {task.prefix: i for i, task in enumerate(PhaseTask(self.storage.url, p, function, None) for p in prefixes)}
        with Listener(self.storage, folder, self._heard(phase)) if listen and tasks else contextlib.nullcontext():
            for task, kept in self._run(phase, run_phase_task, tasks, len(items)):
                results[number[task.prefix]] = kept
        for kept in results.values():
            self.measured.add(kept.measured)
        return [results[i].result for i in range(len(items))]

    def write_shards(
        self,
        fn: Callable[[Any, Place], Iterator[pa.RecordBatch]],
        items: Sequence[Any],
        sizes: Sequence[int] | None = None,
        before: Dataset | None = None,
    ) -> None:
        """Write one shard per item from the batches that `fn(item, place)` yields; together they are the dataset.

        The shards of a dataset `before`, which lies in the same workspace, stand first, and nothing of them is copied.
        """
        taken = [from_sibling(receipt, before.path) for receipt in before.manifest.shards] if before else []
        done = receipts(self.storage, self.folder)
        function = self._function(fn)
        tasks = [
            EmitTask(
                self.storage.url,
                self.folder,
                shard,
                f"{self.unit}/{shard}",
                function,
                item,
                self.schema,
                join(self.scratch, "emit", shard_name(shard)),
                self.epoch,
                sizes[shard - len(taken)] if sizes else 0,
            )
            for shard, item in enumerate(items, len(taken))
            if shard not in done
        ]
        for task, receipt in self._run(WRITE, run_emit_task, tasks, len(items)):
            done[task.shard] = receipt
        self.receipts = [*taken, *(done[shard] for shard in range(len(taken), len(taken) + len(items)))]

    def _heard(self, phase: str) -> Callable[[str, str], None]:
        def pass_on(shard: str, said: str) -> None:
            self._on_event({"event": "task_told", "stage": self._stage, "phase": phase, "shard": shard, "said": said})

        return pass_on

    def _run(self, phase: str, fn: Callable[[Any], Any], tasks: Sequence[Any], total: int) -> Iterator[tuple[Any, Any]]:
        name = self._stage
        size = sum(task.size for task in tasks)
        self._on_event(
            {"event": "stage_started", "stage": name, "shards": total, "done": total - len(tasks), "bytes_in": size, "phase": phase}
        )

        def on_retry(task: Any, cause: str) -> None:
            self.retries += 1
            self._on_event(
                {"event": "retry", "stage": name, "shard": task.prefix.rpartition("/")[2], "cause": cause, "attempt": task.attempt}
            )

        with contextlib.closing(attempt_all(self._executor, fn, tasks, self.resources, on_retry)) as outcomes:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise _explained(outcome.error, phase)
                self._on_event(_task_done(name, phase, outcome))
                yield outcome.item, outcome.result

    def _function(self, fn: Callable[..., Any]) -> Function:
        name = getattr(fn, "__qualname__", repr(fn))
        if "<" in name or "." in name:
            raise OperatorError(f"`{name}` is no module-level function", "tasks run in other processes: define it at the top of the file")
        if fn.__module__ == "__main__":
            raise OperatorError(f"`{name}` is defined in the script itself, which workers do not import", "move it to a module beside it")
        user = fn.__module__.startswith("curate_user_")
        return Function(fn.__module__, name, self.code if user else None)


def _kept(storage: Storage, path: str) -> Kept:
    """Return the result that a finished task kept."""
    with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
        kept = orjson.loads(storage.read(path))
        if xxhash.xxh3_64_hexdigest(orjson.dumps(kept["result"])) == kept["xxh3"]:
            return Kept(kept["result"], Measured(**kept["measured"]))
    raise DatasetError(f"{join_url(storage.url, path)}: damaged", "remove it and run again: its task is repeated")


def _task_done(stage: str, phase: str, outcome: Outcome) -> dict[str, Any]:
    made: Receipt | Kept = outcome.result
    rows = made.counts.rows_in if isinstance(made, Receipt) else 0
    return {
        "event": "shard_done",
        "stage": stage,
        "shard": outcome.item.prefix.rpartition("/")[2],
        "phase": phase,
        "rows_in": rows,
        "rows_out": rows,
        "text_bytes_in": 0,
        "bytes_in": outcome.item.size,
        "seconds": made.measured.seconds,
        "peak_rss_bytes": made.measured.peak_rss_bytes,
    }


def _explained(error: BaseException, phase: str) -> BaseException:
    if isinstance(error, CurateError) or not isinstance(error, Exception):
        return error
    return OperatorError(f"phase `{phase}` failed: {type(error).__name__}: {error}").with_traceback(error.__traceback__)
