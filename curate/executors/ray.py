"""Runs tasks on a Ray cluster; the only module that imports ray.

Ray itself retries nothing (`max_retries=0`): the engine does, with a budget per cause. A task that needs no GPU is a
plain Ray task; one that does goes to an actor, which keeps its models for the whole `map`. Bulk data must not come
this way: results should be paths and receipts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import platform
import shlex
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow as pa

from curate.errors import CurateError, PipelineError, TransientError
from curate.executors.base import Outcome, Resources
from curate.executors.machine import available_cpus
from curate.executors.task import Answer, failure, outcome, perform, thread_environment
from curate.version import VERSION

try:
    import ray
    from ray import cloudpickle, exceptions
    from ray.experimental import internal_kv
except ModuleNotFoundError as missing:
    raise CurateError(
        f"running on Ray needs the package {missing.name!r}", "install curate with its extra `ray`: `pip install '.[ray]'` in a checkout"
    ) from missing

MIN_WINDOW = 64
MAX_CALLS = 1000  # after so many tasks Ray replaces a worker, so that what libraries leak does not add up
INFEASIBLE_S = 600.0  # how long an autoscaler gets to bring the node that a task needs
_LOOK_S = 1.0
_CALLED_OFF_S = 0.2  # for tasks about to begin, which see that they are called off: a cancellation that comes after their end hits the next
_CANCELLED_S = 10.0  # a loaded machine takes more than a second to end a worker
_NONE = object()
_log = logging.getLogger(__name__)
Versions = tuple[tuple[str, str], ...]


def check_address(address: str | None) -> None:
    """Refuse the kinds of address that a driver outside the cluster would need."""
    if address and address.startswith("ray://"):
        raise PipelineError(
            f"{address}: a Ray client connection does not survive a long run",
            "use --on http://HEAD:8265 to submit the run as a job, or run on the head node",
        )
    if address and "://" in address:
        raise PipelineError(
            f"{address}: this address takes jobs, it cannot run single tasks", "give it to `curate run --on`, not to RAY_ADDRESS"
        )


class RayExecutor:
    """Tasks on the cluster at `host:port`; without an address, on that of RAY_ADDRESS or on one started here."""

    name = "ray"

    def __init__(self, address: str | None = None) -> None:
        self.address = os.environ.get("RAY_ADDRESS") if address in (None, "auto") else address
        check_address(self.address)
        self._ours = False

    @property
    def slots(self) -> int:
        """How many one-core tasks the cluster runs at the same time, as it is now."""
        self._connect()
        return max(1, int(_total("CPU")))

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._ours:
            ray.shutdown()
            self._ours = False

    def map(self, fn: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Outcome]:
        """Run `fn(item)` for every item and yield outcomes in any order; closing the iterator cancels the rest."""
        self._connect()
        lanes = _Actors(resources) if resources.gpus else _Tasks(resources, self)
        patience = INFEASIBLE_S if self.address else 0.0  # a cluster of our own does not grow
        return _run(fn, iter(items), lanes, _Feasible(resources, patience))

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        _quiet()
        start: dict[str, Any] = {} if self.address else {"num_cpus": available_cpus(), "include_dashboard": False}
        on_end = signal.getsignal(signal.SIGTERM)
        try:
            _check_reachable(self.address)
            ray.init(self.address or "local", log_to_driver=False, logging_level=logging.ERROR, **start)
        except (OSError, RuntimeError, ValueError) as error:
            hint = "check the address, and RAY_AUTH_MODE and RAY_AUTH_TOKEN if the cluster asks for a token"
            raise CurateError(f"cannot join the Ray cluster at {self.address}: {_short(error)}", hint) from error
        self._ours = True
        if callable(on_end) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_end)  # Ray put its own in its place, which ends the process at once


def _check_reachable(address: str | None) -> None:
    """Raise `OSError` when nothing answers there: Ray would keep trying for minutes, and then end the process."""
    host, found, port = (address or "").rpartition(":")
    if found and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def _quiet() -> None:
    """Send what Ray reports about its cluster to the log: it would print it on stdout, amid our own output."""
    from ray._private import worker

    def report(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        _log.debug("%s", "\n".join(data["lines"]))

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = report


class _Lanes(Protocol):
    """How tasks travel: `room` says whether one more may be submitted while so many are under way."""

    def room(self, busy: int) -> bool: ...

    def submit(self, task: bytes) -> ray.ObjectRef[Answer]: ...

    def finished(self, ref: ray.ObjectRef[Answer], alive: bool) -> None: ...

    def close(self, refs: list[ray.ObjectRef[Answer]]) -> None: ...


class _Tasks:
    """One Ray task per item, in a window that is wide enough to make an autoscaler grow the cluster."""

    def __init__(self, resources: Resources, executor: RayExecutor) -> None:
        self._executor = executor
        self._remote = _task.options(**_options(resources))
        self._window, self._until = 0, 0.0
        self._name = uuid.uuid4().hex

    def room(self, busy: int) -> bool:
        if time.monotonic() >= self._until:
            self._window, self._until = max(MIN_WINDOW, 2 * self._executor.slots), time.monotonic() + 1
        return busy < self._window

    def submit(self, task: bytes) -> ray.ObjectRef[Answer]:
        return self._remote.remote(task, _versions(), self._name)

    def finished(self, ref: ray.ObjectRef[Answer], alive: bool) -> None:
        pass

    def close(self, refs: list[ray.ObjectRef[Answer]]) -> None:
        if not refs:
            return
        _call_off(self._name)
        _, refs = ray.wait(refs, num_returns=len(refs), timeout=_CALLED_OFF_S)
        for ref in reversed(refs):  # the last first, so that none starts in the place of one that was cancelled
            ray.cancel(ref, force=True)
        if refs:  # a cancellation under way would end the worker even when that has come to a task of the next map
            ray.wait(refs, num_returns=len(refs), timeout=_CANCELLED_S)


class _Actors:
    """One item at a time on actors that keep their models; one that died is replaced."""

    def __init__(self, resources: Resources) -> None:
        self._gpus = resources.gpus
        self._remote = _keeper.options(max_restarts=0, max_task_retries=0, **_options(resources))
        self._busy: dict[Any, Any] = {}
        self._idle: list[Any] = []

    def room(self, busy: int) -> bool:
        return bool(self._idle) or busy < max(1, int(_total("GPU") / self._gpus))

    def submit(self, task: bytes) -> ray.ObjectRef[Answer]:
        actor = self._idle.pop() if self._idle else self._remote.remote()
        ref: ray.ObjectRef[Answer] = actor.run.remote(task, _versions())
        self._busy[ref] = actor
        return ref

    def finished(self, ref: ray.ObjectRef[Answer], alive: bool) -> None:
        actor = self._busy.pop(ref)
        if alive:
            self._idle.append(actor)

    def close(self, refs: list[ray.ObjectRef[Answer]]) -> None:
        for actor in [*self._busy.values(), *self._idle]:
            ray.kill(actor)


def _run(fn: Callable[[Any], Any], items: Iterator[Any], lanes: _Lanes, feasible: _Feasible) -> Iterator[Outcome]:
    pending: dict[ray.ObjectRef[Answer], Any] = {}
    try:
        while True:
            while lanes.room(len(pending)) and (item := next(items, _NONE)) is not _NONE:
                try:
                    task = cloudpickle.dumps((fn, item))
                except Exception as error:
                    yield outcome(item, failure(error))
                    continue
                pending[lanes.submit(task)] = item
            if not pending:
                return
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=_LOOK_S)
            feasible.check(bool(ready))
            for ref in ready:
                yield _received(ref, pending.pop(ref), lanes)
    finally:
        lanes.close(list(pending))


def _received(ref: ray.ObjectRef[Answer], item: Any, lanes: _Lanes) -> Outcome:
    try:
        answer = ray.get(ref)
    except exceptions.RayError as error:
        lanes.finished(ref, alive=False)
        return Outcome(item, error=_explained(error))
    lanes.finished(ref, alive=True)
    return outcome(item, answer)


def _carry_out(task: bytes, driver: Versions, tasks: str | None = None) -> Answer:
    try:
        if tasks and _called_off(tasks):
            raise CurateError("this task was cancelled before it began")
        _compare(driver, _versions())
        fn, item = pickle.loads(task)  # noqa: S301 - our own driver's
    except Exception as error:
        return failure(error)
    return perform(fn, item)


_task = ray.remote(max_retries=0, max_calls=MAX_CALLS)(_carry_out)


# Ray loses a cancellation that reaches a worker just before its task begins: the task would run on and keep its cores.
# So the driver first writes down that a map has ended, and a task looks for that before it begins.
_CALLED_OFF = b"curate/called-off"


def _call_off(tasks: str) -> None:
    internal_kv._internal_kv_put(tasks, b"1", namespace=_CALLED_OFF)


def _called_off(tasks: str) -> bool:
    return bool(internal_kv._internal_kv_exists(tasks, namespace=_CALLED_OFF))


class _Keeper:
    """A process that stays, and with it every model that operators have loaded into it."""

    def run(self, task: bytes, driver: Versions) -> Answer:
        return _carry_out(task, driver)


_keeper: Any = ray.remote(_Keeper)


def _total(resource: str) -> float:
    return float(ray.cluster_resources().get(resource, 0))


def _options(resources: Resources) -> dict[str, Any]:
    threads = thread_environment(max(1, int(resources.cpus)))
    options = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "runtime_env": {"env_vars": threads}}
    return options | ({"memory": resources.memory} if resources.memory else {})


def _versions() -> Versions:
    return (("curate", VERSION), ("pyarrow", pa.__version__), ("python", platform.python_version()))


def _compare(driver: Versions, worker: Versions) -> None:
    """Refuse to work on a node whose software differs: the same input would not give the same bytes."""
    for (name, ours), (_, theirs) in zip(driver, worker, strict=True):
        if ours != theirs:
            raise CurateError(
                f"node {platform.node()} has {name} {theirs}, the driver has {ours}",
                "use the same image or wheel on the driver and on every node",
            )


class _Feasible:
    """Ends a wait for resources that no node of the cluster has: nothing waits for ever."""

    def __init__(self, resources: Resources, patience_s: float) -> None:
        self._need = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": resources.memory or 0}
        self._patience_s = patience_s
        self._since = time.monotonic()

    def check(self, progress: bool) -> None:
        """Raise `PipelineError` when no node could have run a task for too long."""
        if progress or any(map(self._fits, ray.nodes())):
            self._since = time.monotonic()
        elif time.monotonic() - self._since >= self._patience_s:
            need = ", ".join(f"{name} {amount:g}" for name, amount in self._need.items() if amount)
            raise PipelineError(
                f"no node of the cluster has what a task asks for: {need}", "lower the stage's `resources`, or add such a node"
            )

    def _fits(self, node: Mapping[str, Any]) -> bool:
        return node["Alive"] and all(node["Resources"].get(name, 0) >= amount for name, amount in self._need.items())


def _explained(error: exceptions.RayError) -> Exception:
    """Say in our own terms why a task gave no answer."""
    text = _short(error)
    if isinstance(error, exceptions.OutOfMemoryError):
        return TransientError(
            f"Ray ended the task to save its node's memory: {text}", "give the stage `resources: {memory: …}`", "out_of_memory"
        )
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError) or "node has died" in str(error):
        return TransientError(f"the task's node went away: {text}", cause="preempted")
    if isinstance(error, exceptions.WorkerCrashedError | exceptions.ActorDiedError | exceptions.ActorUnavailableError):
        return TransientError(f"the task's worker died: {text}", cause="worker_died")
    return CurateError(f"Ray could not run the task: {text}", "every node needs the same `curate` as the driver, by image or wheel")


def _short(error: BaseException) -> str:
    """Return the first lines of one of Ray's long messages, or the last of a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return (lines[-1] if isinstance(error, exceptions.RayTaskError) else " ".join(lines[:2]))[:300]


def submit_job(address: str, entrypoint: list[str], env: Mapping[str, str]) -> int:
    """Run a command on the head node of the cluster at `http(s)://head:8265` and return its exit code.

    Its output goes to stderr as it comes; Ctrl-C stops the job. `env` can be read by whoever may see the dashboard.
    """
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        job = client.submit_job(entrypoint=shlex.join(entrypoint), runtime_env={"env_vars": dict(env)})
    except (ConnectionError, RuntimeError) as error:
        raise CurateError(f"cannot submit a job to {address}: {_short(error)}", "is this the address of the Ray dashboard?") from error
    try:
        while not client.get_job_status(job).is_terminal():
            asyncio.run(_show_log(client, job))
    except KeyboardInterrupt:
        client.stop_job(job)
        raise
    code = client.get_job_info(job).driver_exit_code
    return code if code is not None else int(client.get_job_status(job) != "SUCCEEDED")


async def _show_log(client: Any, job: str) -> None:
    async for text in client.tail_job_logs(job):
        sys.stderr.write(text)
        sys.stderr.flush()
