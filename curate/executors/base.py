"""An executor maps a function over items and yields outcomes, nothing more.

It knows no stages, receipts or retries. `items` is asked again after every outcome, so that whoever iterates may put
an item back (a retry) until it is satisfied; an iterator that has nothing *now* raises StopIteration and is asked later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self


@dataclass(frozen=True)
class Resources:
    """What one task needs; never part of identity. `memory` is in bytes, None = not limited."""

    cpus: float = 1
    memory: int | None = None
    gpus: float = 0


@dataclass(frozen=True)
class Outcome:
    """One finished item with its result, or the error that ended it.

    A worker that dies is a `TransientError` whose `cause` is `worker_died`, `preempted` or `out_of_memory`.
    """

    item: Any
    result: Any = None
    error: BaseException | None = None


class Executor(Protocol):
    """Local processes or a Ray cluster."""

    name: str

    @property
    def slots(self) -> int:
        """How many one-core tasks run at the same time."""

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        """Run `fn(item)` for every item and yield outcomes in any order; closing the iterator cancels the rest.

        `fn` is a module-level function and items can be pickled.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
