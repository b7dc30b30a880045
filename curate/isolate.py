"""Runs a chain in a child process, so that a document that kills or stalls it costs that document and nothing else.

The engine uses it for a shard whose worker died twice, and wherever a stage sets `timeout_s`. The child does the work and
sends back the batch with what it would have told the ledger; when it dies or takes too long, the batch is bisected down
to the document at fault, which is quarantined as `worker_died` or `timeout`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from curate.chain import Chain, joined, made
from curate.document import ID
from curate.errors import OperatorError
from curate.executors.worker import die_with_driver
from curate.ledger import Record, Rows
from curate.manifest import Counts
from curate.steps import StepSpec
from curate.storage import Storage

_HEADER = struct.Struct("!Q")
_BOOT = "import sys; sys.path[:] = sys.argv[2:]; from curate.isolate import serve; serve(int(sys.argv[1]))"


class IsolatedChain:
    """A `Chain` whose steps run in a child process; `timeout_s` bounds one batch, `storage` is the workspace."""

    def __init__(
        self, steps: Sequence[StepSpec], ledger: Record, max_errors: int, trace: bool, timeout_s: float | None, storage: Storage
    ) -> None:
        self.ledger = ledger
        self.seconds: dict[str, float] = {}
        self._setup = (tuple(steps), trace, storage)
        self._max_errors = max_errors
        self._timeout_s = timeout_s
        self._child: _Child | None = None

    def apply(self, docs: pa.RecordBatch) -> tuple[pa.RecordBatch, Rows]:
        """Return what is left of a batch after all steps, and the place in the batch that each row came from."""
        parts = [(part, rows) for part, rows in self._apply(docs, 0) if part.num_rows]
        if not parts:
            return docs.slice(0, 0), np.array([], dtype=np.int64)
        return joined([part for part, _ in parts], "the chain"), np.concatenate([rows for _, rows in parts])

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _apply(self, docs: pa.RecordBatch, start: int) -> list[tuple[pa.RecordBatch, Rows]]:
        if self._child is None:
            self._child = _Child(self._setup)
        try:
            answer = self._child.ask(docs, self._timeout_s)
        except (EOFError, TimeoutError, BrokenPipeError) as error:
            self.close()
            return self._without_culprit(docs, start, "timeout" if isinstance(error, TimeoutError) else "worker_died")
        if isinstance(answer, Exception):
            raise answer
        left, rows, calls, seconds = answer
        for name, args in calls:
            _replay(self.ledger, name, args, start)
        for step, spent in seconds.items():
            self.seconds[step] = self.seconds.get(step, 0.0) + spent
        self._check_budget("")
        return [(left, rows + start)]

    def _without_culprit(self, docs: pa.RecordBatch, start: int, fate: str) -> list[tuple[pa.RecordBatch, Rows]]:
        if docs.num_rows > 1:
            half = docs.num_rows // 2
            return self._apply(docs.slice(0, half), start) + self._apply(docs.slice(half), start + half)
        said = (
            f"{fate}: no result after {self._timeout_s} s"
            if fate == "timeout"
            else f"{fate}: the process ended while it worked on this document"
        )
        self.ledger.errored("chain", [docs.column(ID)[0].as_py()], [said], np.array([start], dtype=np.int64))
        self._check_budget(f": document `{docs.column(ID)[0].as_py()}`: {said}")
        return []

    def _check_budget(self, last: str) -> None:
        if self.ledger.counts.errored > self._max_errors:
            raise OperatorError(
                f"quarantined rows: {self.ledger.counts.errored}, allowed: {self._max_errors}{last}",
                "mend the document or the operator, or allow it with `max_errors` on the stage",
            )


class _Child:
    """The process and the two pipes to it."""

    def __init__(self, setup: tuple[Any, ...]) -> None:
        life_line, self._life = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, str(life_line), *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(life_line,),
            start_new_session=True,  # what operators start (a model's own processes) ends with it
        )
        os.close(life_line)
        self._selector = selectors.DefaultSelector()
        self._selector.register(cast(BinaryIO, self._process.stdout), selectors.EVENT_READ)
        _send(cast(BinaryIO, self._process.stdin), setup)
        try:
            self.ask(None, None)
        except (EOFError, BrokenPipeError) as error:
            self.kill()
            raise OperatorError("the chain's operators cannot be built in a child process: it ended at once") from error

    def ask(self, docs: pa.RecordBatch | None, timeout_s: float | None) -> Any:
        """Send a batch and return the answer; raise EOFError when the child died, TimeoutError when it takes too long."""
        _send(cast(BinaryIO, self._process.stdin), docs)
        if not self._selector.select(timeout_s):
            raise TimeoutError
        return _receive(cast(BinaryIO, self._process.stdout))

    def kill(self) -> None:
        """End the process with all that it started, and close its pipes."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            os.close(self._life)
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # what it did not read any more
                cast(BinaryIO, pipe).close()


@dataclass
class _Recorder:
    """Stands in for the ledger in the child and keeps what it is told."""

    counts: Counts = field(default_factory=Counts)
    calls: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)

    def dropped(self, step: str, docs: pa.RecordBatch, verdict: pa.StructArray, rows: Rows) -> None:
        self.calls.append(("dropped", (step, docs, verdict, rows)))

    def errored(self, step: str, ids: Sequence[str], errors: Sequence[str], rows: Rows) -> None:
        self.calls.append(("errored", (step, ids, errors, rows)))

    def edited(self, step: str, before: pa.Array, docs: pa.RecordBatch, rows: Rows, trace: bool) -> None:
        self.calls.append(("edited", (step, before, docs, rows, trace)))

    def expanded(self, added: int) -> None:
        self.calls.append(("expanded", (added,)))

    def scored(self, step: str, tally: Mapping[str, int]) -> None:
        self.calls.append(("scored", (step, tally)))

    def asked(self, step: str, spent: Mapping[str, Any]) -> None:
        self.calls.append(("asked", (step, spent)))


def _replay(ledger: Record, name: str, args: tuple[Any, ...], start: int) -> None:
    """Tell the ledger what the child was told, with rows counted from the start of the whole batch."""
    shifted = tuple(arg + start if isinstance(arg, np.ndarray) else arg for arg in args)
    getattr(ledger, name)(*shifted)


def serve(life_line: int) -> None:
    """The child: build the chain, then answer batches until the parent closes the pipe."""
    die_with_driver(life_line)
    source, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an operator prints, or a process that it starts, must not mix with the answers
    steps, trace, storage = _receive(source)
    chain_steps = made(steps, storage)
    while True:
        try:
            docs = _receive(source)
        except EOFError:
            return
        if docs is None:
            _send(out, "ready")
            continue
        recorder = _Recorder()
        chain = Chain(chain_steps, recorder, sys.maxsize, trace)
        try:
            answer: Any = (*chain.apply(docs), recorder.calls, chain.seconds)
        except Exception as error:
            answer = error
        _send(out, answer)


def _send(pipe: BinaryIO, message: Any) -> None:
    data = pickle.dumps(message)
    pipe.write(_HEADER.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: BinaryIO) -> Any:
    header = pipe.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise EOFError
    (size,) = _HEADER.unpack(header)
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own child process
