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
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
import pyarrow as pa

from curate.attempts import attempt_all
from curate.commit import RECEIPTS, from_sibling, receipts, shard_name
from curate.dataset import Dataset
from curate.errors import CurateError, OperatorError
from curate.executors.base import Executor, Outcome, Resources
from curate.ledger import TABLES
from curate.manifest import MANIFEST, ArtifactFile, Measured, Receipt
from curate.shuffle import opened
from curate.storage import Storage, join
from curate.told import Listener, one_at_a_time
from curate.work_tasks import WRITE, EmitTask, Function, Kept, PhaseTask, kept_result, run_emit_task, run_phase_task
from curate.work_tasks import Place as Place  # operators take it from here
from curate.writers import HashingFile

SCRATCH = ".scratch"
OWN = (MANIFEST, RECEIPTS, *TABLES)  # what a dataset's folder holds beside its shards and what is kept there
_FILE_NAME = re.compile(r"([A-Za-z0-9_-][A-Za-z0-9._-]*/)?[A-Za-z0-9_-][A-Za-z0-9._-]*")
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


def noted(name: str, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict as a manifest keeps it."""
    note: dict[str, Any] = orjson.loads(orjson.dumps({"name": name} | dataclasses.asdict(verdict), option=orjson.OPT_SERIALIZE_NUMPY))
    return note


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
        self.notes.append(noted(name, verdict))
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
            i: kept_result(self.storage, f"{prefix}.json") for i, prefix in enumerate(prefixes) if f"{prefix}.json" in there
        }
        function = self._function(fn)
        tasks = [
            PhaseTask(self.storage.url, prefixes[i], function, item, sizes[i] if sizes else 0)
            for i, item in enumerate(items)
            if i not in results
        ]
        number = {task.prefix: i for i, task in enumerate(PhaseTask(self.storage.url, p, function, None) for p in prefixes)}
        with self._listening(phase, folder, listen and bool(tasks)):
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
        listen: bool = False,
    ) -> None:
        """Write one shard per item from the batches that `fn(item, place)` yields; together they are the dataset.

        The shards of a dataset `before`, which lies in the same workspace, stand first, and nothing of them is copied. `listen` as
        for `map`.
        """
        taken = [from_sibling(receipt, before.path) for receipt in before.manifest.shards] if before else []
        done = receipts(self.storage, self.folder)
        function = self._function(fn)
        scratch = join(self.scratch, "emit")
        tasks = [
            EmitTask(
                self.storage.url,
                self.folder,
                shard,
                f"{self.unit}/{shard}",
                function,
                item,
                self.schema,
                join(scratch, shard_name(shard)),
                self.epoch,
                sizes[shard - len(taken)] if sizes else 0,
            )
            for shard, item in enumerate(items, len(taken))
            if shard not in done
        ]
        with self._listening(WRITE, scratch, listen and bool(tasks)):
            for task, receipt in self._run(WRITE, run_emit_task, tasks, len(items)):
                done[task.shard] = receipt
        self.receipts = [*taken, *(done[shard] for shard in range(len(taken), len(taken) + len(items)))]

    def _listening(self, phase: str, folder: str, listen: bool) -> contextlib.AbstractContextManager[None]:
        def pass_on(shard: str, said: str) -> None:
            self._on_event({"event": "task_told", "stage": self._stage, "phase": phase, "shard": shard, "said": said})

        return Listener(self.storage, folder, pass_on) if listen else contextlib.nullcontext()

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
