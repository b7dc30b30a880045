"""How one task is carried out on a worker, and how its result or error travels back.

An error keeps its type when the driver can rebuild it. One that cannot be pickled, or whose class the driver cannot
import (a custom operator's own), becomes the nearest error of `curate`, or a `RemoteError`, with the same text.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from curate import errors
from curate.executors.base import Outcome

_THREAD_POOLS = (
    "OMP_NUM_THREADS",  # also sizes Arrow's own pool
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",
)


class RemoteError(Exception):
    """An error of a worker whose own class did not survive the way; the text names that class."""


class RemoteTraceback(Exception):
    """The `__cause__` of every error that comes from a worker: the traceback as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Answer:
    """What a worker sends: a pickled result or error; `text`, `kind` and `hint` stand in for an error that cannot be rebuilt."""

    payload: bytes
    failed: bool = False
    text: str = ""
    kind: str = ""
    hint: str | None = None
    trace: str = ""


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that hold a worker to its share of the cores; they must be set before anything is imported."""
    limits = dict.fromkeys(_THREAD_POOLS, str(threads))
    return limits | {"ARROW_IO_THREADS": str(max(2, threads)), "TOKENIZERS_PARALLELISM": "false"}


def perform(fn: Callable[[Any], Any], item: Any) -> Answer:
    """Run the function on the item; whatever it raises is part of the answer, `sys.exit` included."""
    try:
        return Answer(pickle.dumps(fn(item), pickle.HIGHEST_PROTOCOL))
    except (Exception, SystemExit) as error:
        return failure(error)


def failure(error: BaseException) -> Answer:
    """Describe an error, without the frame of the machinery that caught it."""
    inner = error.__traceback__.tb_next if error.__traceback__ else None
    trace = "".join(traceback.format_exception(type(error), error, inner))
    try:
        payload = pickle.dumps(error, pickle.HIGHEST_PROTOCOL)
    except Exception:
        payload = b""
    known = [cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__]
    text = error.message if isinstance(error, errors.CurateError) else f"{type(error).__name__}: {error}"
    return Answer(payload, True, text, known[0] if known else "", getattr(error, "hint", None), trace)


def outcome(item: Any, answer: Answer) -> Outcome:
    """Rebuild the result or the error of an item on the driver."""
    if answer.failed:
        return Outcome(item, error=_rebuilt(answer))
    try:
        return Outcome(item, pickle.loads(answer.payload))  # noqa: S301 - our own worker's
    except Exception as error:
        return Outcome(item, error=error)


def _rebuilt(answer: Answer) -> BaseException:
    try:
        found = pickle.loads(answer.payload)  # noqa: S301 - our own worker's
    except Exception:
        found = None
    kind = getattr(errors, answer.kind, None)
    stand_in = kind(answer.text, answer.hint) if kind else RemoteError(answer.text)
    error: BaseException = found if isinstance(found, BaseException) else stand_in
    error.__cause__ = RemoteTraceback(answer.trace)
    return error
