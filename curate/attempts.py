"""Tries tasks again: each kind of transient fault has a budget of its own, so that preemptions never eat up the
patience for real failures.

A task whose worker died twice runs isolated (each batch in a child process); one that ran out of memory runs again, once
the others are done, with twice the memory. Any other error is final and comes back with its task.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from curate.errors import TransientError
from curate.executors.base import Executor, Outcome, Resources

BUDGETS = {"worker_died": 3, "preempted": 20, "out_of_memory": 2, "storage": 6}
ISOLATE_AFTER = 2


class Task(Protocol):
    """What is tried: a frozen dataclass that says how often, and whether in isolation."""

    @property
    def attempt(self) -> int:
        """Counts from 1."""

    @property
    def isolate(self) -> bool:
        """Run every batch in a child process."""

    @property
    def size(self) -> int:
        """Bytes to read: the largest go first, so that none is left alone at the end."""


@dataclass(frozen=True)
class _Waiting:
    task: Any
    not_before: float = 0.0


class _Queue(Iterator[Any]):
    """Tasks ready now; asked again after every outcome, as the executors promise."""

    def __init__(self, tasks: Iterable[Any]) -> None:
        self.waiting = deque(_Waiting(task) for task in tasks)

    def __next__(self) -> Any:
        for _ in range(len(self.waiting)):
            entry = self.waiting.popleft()
            if entry.not_before <= time.monotonic():
                return entry.task
            self.waiting.append(entry)
        raise StopIteration


def attempt_all(
    executor: Executor, fn: Callable[[Any], Any], tasks: Iterable[Task], resources: Resources, on_retry: Callable[[Any, str], None]
) -> Generator[Outcome, None, None]:
    """Yield one final outcome per task: its result, or the error that no budget covers."""
    ordered = sorted(tasks, key=lambda task: -task.size)
    deaths: dict[int, Counter[str]] = {}
    hungry: list[Any] = []
    queue = _Queue(enumerate(ordered))
    memory = resources.memory
    while queue.waiting or hungry:
        if not queue.waiting:
            queue, hungry = _Queue(hungry), []
            memory = memory * 2 if memory else None
        yield from _round(executor, fn, queue, dataclasses.replace(resources, memory=memory), (deaths, hungry, on_retry))
        if queue.waiting:
            time.sleep(max(0.0, min(entry.not_before for entry in queue.waiting) - time.monotonic()))


def _round(
    executor: Executor, fn: Callable[[Any], Any], queue: _Queue, resources: Resources, state: tuple[dict[int, Counter[str]], list[Any], Any]
) -> Iterator[Outcome]:
    """Map over what is ready; put tasks that deserve another attempt back."""
    deaths, hungry, on_retry = state
    outcomes = executor.map(_Numbered(fn), queue, resources)
    try:
        for outcome in outcomes:
            number, task = outcome.item
            error = outcome.error
            if not isinstance(error, TransientError):
                yield Outcome(task, outcome.result, error)
                continue
            counts = deaths.setdefault(number, Counter())
            counts[error.cause] += 1
            if counts[error.cause] >= BUDGETS.get(error.cause, 1) + (1 if task.isolate else 0):
                yield Outcome(task, None, error)
                continue
            on_retry(task, error.cause)
            again = dataclasses.replace(task, attempt=task.attempt + 1, isolate=task.isolate or counts["worker_died"] >= ISOLATE_AFTER)
            if error.cause == "out_of_memory":
                hungry.append((number, again))
            else:
                wait = min(30.0, 0.5 * 2 ** counts["storage"]) if error.cause == "storage" else 0.0
                queue.waiting.append(_Waiting((number, again), time.monotonic() + wait))
    finally:
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True)
class _Numbered:
    """Calls the function with the task of a (number, task) pair."""

    fn: Callable[[Any], Any]

    def __call__(self, numbered: tuple[int, Any]) -> Any:
        return self.fn(numbered[1])
