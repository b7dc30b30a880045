"""Runs tasks on this machine: in this process, or on a pool of processes of our own.

Workers are started afresh, never forked (forks of a process with threads deadlock), and with `curate`'s own entry
point instead of `multiprocessing`'s, which would import the user's script again. Why not a library's pool: a worker
that dies must cost its own item and no other, and must say so.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from curate.errors import CurateError, PipelineError, TransientError
from curate.executors.base import Outcome, Resources
from curate.executors.machine import available_cpus, available_memory, out_of_memory_kills, visible_gpus
from curate.executors.task import Answer, failure, outcome, thread_environment

_BOOT = "import sys; sys.path[:] = sys.argv[4:]; from curate.executors.worker import main; main()"
_NONE = object()
Environment = tuple[tuple[str, str], ...]


class Worker:
    """A running worker process, as the driver sees it."""

    def __init__(self, environment: Environment, max_bytes: int) -> None:
        self.environment = environment
        self._oom_kills = out_of_memory_kills()
        ours, theirs = socket.socketpair()
        life_line, self._life = os.pipe()
        try:
            self._process = _spawn(environment, (theirs.fileno(), life_line), max_bytes)
        except OSError as error:
            ours.close()
            os.close(self._life)
            raise CurateError(
                f"cannot start a worker process: {error}", "use fewer --workers, or raise the limits of `ulimit -a`"
            ) from error
        finally:
            theirs.close()
            os.close(life_line)
        self.connection = Connection(ours.detach())
        self.pid = self._process.pid
        self._end = _end_of(self.pid)

    def start(self, task: bytes) -> bool:
        """Hand over a task; False when the worker was dead already."""
        try:
            self.connection.send_bytes(task)
        except OSError:
            return False
        return True

    def signs(self) -> list[Any]:
        """Return what `multiprocessing.connection.wait` watches: the answer, and the end of the process."""
        return [self.connection] if self._end is None else [self.connection, self._end]

    def answer(self) -> tuple[Answer, bool] | None:
        """Read the answer and whether the worker retires with it; None when it died instead."""
        try:
            return self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        """End the process and its children now and free everything that it held."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if not self.connection.closed:
            self.connection.close()
            os.close(self._life)
            if self._end is not None:
                os.close(self._end)

    def death(self) -> TransientError:
        """Say how a dead worker ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.poll()
        self.kill()
        if code is not None and code >= 0:
            return TransientError(f"worker {self.pid} ended with exit code {code}", cause="worker_died")
        name = signal.Signals(-code).name if code else "unknown"
        if name == "SIGKILL" and out_of_memory_kills() > self._oom_kills:
            hint = "use fewer --workers or give the stage more `resources: {memory: …}`"
            return TransientError(f"worker {self.pid} was killed because the machine ran out of memory", hint, "out_of_memory")
        return TransientError(f"worker {self.pid} was killed by signal {name}", cause="worker_died")


def _spawn(environment: Environment, inherited: tuple[int, int], max_bytes: int) -> subprocess.Popen[bytes]:
    """Start the interpreter; what it prints goes to stderr, and Ctrl-C at the terminal does not reach its session."""
    arguments = [str(number) for number in (*inherited, max_bytes)]
    return subprocess.Popen(
        [sys.executable, "-c", _BOOT, *arguments, *sys.path],
        env=os.environ | dict(environment),
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        stdout=2,
        start_new_session=True,
    )


def _end_of(pid: int) -> int | None:
    """Return a descriptor that becomes readable when the process ends: a grandchild may hold the socket open after that."""
    with contextlib.suppress(AttributeError, OSError):  # not on this system, or not in this sandbox
        return os.pidfd_open(pid)
    return None


@dataclass(frozen=True)
class _Task:
    item: Any
    seat: Environment


class LocalExecutor:
    """Tasks on this machine; with one worker they run in this process, so that a debugger works."""

    name = "local"

    def __init__(self, workers: int) -> None:
        if workers < 1:
            raise PipelineError(f"--workers {workers}: at least one worker is needed")
        self.workers = workers
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        self._lock = threading.Lock()

    @property
    def slots(self) -> int:
        """How many one-core tasks run at the same time."""
        return self.workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for worker in tuple(self._all):
            self._stop(worker)
        self._idle.clear()

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        """Run `fn(item)` for every item and yield outcomes in any order; closing the iterator kills what still runs."""
        if self.workers == 1:
            return _run_here(fn, iter(items))
        _check_importable(fn)
        seats = self._seats(resources)
        return self._run(fn, iter(items), seats, resources.memory or available_memory() // len(seats))

    def _seats(self, resources: Resources) -> list[Environment]:
        """Return one environment per task that may run at a time: its share of the cores, and its GPUs."""
        count = max(1, int(self.workers / max(1.0, resources.cpus)))
        if resources.memory:
            count = max(1, min(count, available_memory() // resources.memory))
        threads = thread_environment(max(1, available_cpus() // count))
        if resources.gpus:
            return [tuple((threads | {"CUDA_VISIBLE_DEVICES": gpus}).items()) for gpus in _shares(resources.gpus)[:count]]
        return [tuple(threads.items())] * count

    def _run(self, fn: Callable[[Any], Any], items: Iterator[Any], seats: list[Environment], max_bytes: int) -> Iterator[Outcome]:
        running: dict[Worker, _Task] = {}
        free = list(seats)
        try:
            while True:
                while free and (item := next(items, _NONE)) is not _NONE:
                    try:
                        data = pickle.dumps((fn, item), pickle.HIGHEST_PROTOCOL)
                    except Exception as error:
                        yield outcome(item, failure(error))
                        continue
                    task = _Task(item, free.pop())
                    running[self._started(task.seat, data, max_bytes)] = task
                if not running:
                    return
                worker = _first_ready(running)
                task = running.pop(worker)
                free.append(task.seat)
                yield self._finished(worker, task.item)
        finally:
            for worker in running:
                self._stop(worker)

    def _started(self, seat: Environment, data: bytes, max_bytes: int) -> Worker:
        """Give the task to an idle worker of this environment, or to a new one."""
        while worker := self._idle_worker(seat):
            if worker.start(data):
                return worker
            self._stop(worker)  # it died while it had nothing to do, which is no item's fault
        worker = Worker(seat, max_bytes)
        self._all.add(worker)
        worker.start(data)  # one that is dead already is noticed as such when its answer is awaited
        return worker

    def _idle_worker(self, seat: Environment) -> Worker | None:
        """Take the last used worker of this environment; where there is none, one of another makes room."""
        with self._lock:
            fitting = next((worker for worker in reversed(self._idle) if worker.environment == seat), None)
            taken = fitting or next(iter(self._idle), None)
            if taken:
                self._idle.remove(taken)
        if taken and not fitting:
            self._stop(taken)
        return fitting

    def _finished(self, worker: Worker, item: Any) -> Outcome:
        """Read the answer and keep the worker for later, unless it died or retires."""
        received = worker.answer()
        if received is None:
            self._all.discard(worker)
            return Outcome(item, error=worker.death())
        answer, retires = received
        with self._lock:
            stays = not retires and len(self._idle) < self.workers
            if stays:
                self._idle.append(worker)
        if not stays:
            self._stop(worker)
        return outcome(item, answer)

    def _stop(self, worker: Worker) -> None:
        worker.kill()
        self._all.discard(worker)


def _run_here(fn: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Outcome]:
    while (item := next(items, _NONE)) is not _NONE:
        try:
            finished = Outcome(item, fn(item))
        except (Exception, SystemExit) as error:
            finished = Outcome(item, error=error)
        yield finished


def _first_ready(running: Mapping[Worker, _Task]) -> Worker:
    ready = set(map(id, wait([sign for worker in running for sign in worker.signs()])))
    return next(worker for worker in running if any(id(sign) in ready for sign in worker.signs()))


def _check_importable(fn: Callable[[Any], Any]) -> None:
    if getattr(fn, "__module__", None) == "__main__":
        raise PipelineError(f"{fn!r} is defined in the script itself, which workers do not import", "move it to a module beside the script")


def _shares(gpus: float) -> list[str]:
    """Split this machine's GPUs into shares of so many; below 1, several tasks share one."""
    devices = visible_gpus()
    if gpus > len(devices):
        raise PipelineError(
            f"the stage asks for {gpus:g} GPUs, this machine has {len(devices)}", "lower `resources: {gpus: …}` or run on a cluster"
        )
    if gpus < 1:
        return [device for device in devices for _ in range(int(1 / gpus))]
    size = int(gpus)
    return [",".join(devices[start : start + size]) for start in range(0, len(devices) - size + 1, size)]
