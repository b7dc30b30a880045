"""An executor that notes what every task costs where it runs: time, and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from curate.executors.base import Outcome, Resources
from curate.executors.local import LocalExecutor
from curate.memory import peak_rss_bytes, reset_peak_rss
from curate.shard import ShardTask
from curate.work_tasks import EmitTask, PhaseTask


@dataclass(frozen=True)
class Took:
    """What a task cost: its CPU seconds, and how much more memory it held than before it began.

    The `first` task of a phase in a process also loads what the phase needs: modules, kernels from their cache.
    """

    phase: str
    number: int
    first: bool
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    base_bytes: int


@dataclass(frozen=True)
class Wrapped:
    """A task that is measured where it runs."""

    fn: Callable[[Any], Any]
    item: Any


_begun: set[str] = set()  # phases of which this process has had a task


def measured(task: Wrapped) -> tuple[Any, Took]:
    """Carry out a task and say what it cost."""
    phase, number = _place(task.item[1])
    first = phase not in _begun
    _begun.add(phase)
    pa.default_memory_pool().release_unused()
    reset_peak_rss()
    base, begun, cpu_begun = peak_rss_bytes(), time.perf_counter(), time.process_time()
    result = task.fn(task.item)
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    return result, Took(phase, number, first, seconds, cpu_seconds, peak_rss_bytes(), base)


def _place(task: PhaseTask | EmitTask | ShardTask) -> tuple[str, int]:
    """Return a task's phase and its number there: of a dataset operator, `write` when it writes its shards, or else the stage."""
    if isinstance(task, PhaseTask):
        *_, phase, part = task.prefix.split("/")
        return phase, int(part.removeprefix("part-"))
    return "write" if isinstance(task, EmitTask) else task.folder.rpartition("/")[2].partition("@")[0], task.shard


class _Wrapping(Iterator[Wrapped]):
    """Asks the engine's queue again after it had nothing, as executors promise."""

    def __init__(self, fn: Callable[[Any], Any], items: Iterable[Any]) -> None:
        self._fn, self._items = fn, iter(items)

    def __next__(self) -> Wrapped:
        return Wrapped(self._fn, next(self._items))


class MeasuringExecutor:
    """The local executor, with a note of what every task took."""

    name = "local"

    def __init__(self, inner: LocalExecutor) -> None:
        self._inner = inner
        self.took: list[Took] = []

    @property
    def slots(self) -> int:
        return self._inner.slots

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        for outcome in self._inner.map(measured, _Wrapping(fn, items), resources):
            if outcome.error is not None:
                yield Outcome(outcome.item.item, None, outcome.error)
                continue
            result, took = outcome.result
            self.took.append(took)
            yield Outcome(outcome.item.item, result)

    def __enter__(self) -> MeasuringExecutor:
        self._inner.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)
