"""Where tasks run: on this machine or on a Ray cluster, behind one interface."""

from __future__ import annotations

import os

from curate.errors import PipelineError
from curate.executors.base import Executor, Outcome, Resources

__all__ = ["Executor", "Outcome", "Resources", "open_executor"]


def open_executor(on: str = "auto", workers: int | None = None) -> Executor:
    """Return the executor that `--on` names: `local`, `ray`, `auto` (the cluster of RAY_ADDRESS, else local) or `host:port`.

    `workers` = None takes every processor of this machine; on Ray the cluster decides. Use it as a context manager.
    """
    if on.startswith(("http://", "https://")):
        raise PipelineError(f"{on}: a job address; tasks cannot be sent to it", "`curate run --on` submits the whole run there as a job")
    if on == "local" or (on == "auto" and not os.environ.get("RAY_ADDRESS")):
        from curate.executors.local import LocalExecutor
        from curate.executors.machine import available_cpus

        return LocalExecutor(available_cpus() if workers is None else workers)
    if on not in ("ray", "auto") and ":" not in on:
        raise PipelineError(f"--on {on}: not an executor", "use local, ray, auto, HOST:PORT of a Ray cluster, or http://HEAD:8265")
    from curate.executors.ray import RayExecutor

    return RayExecutor(None if on in ("ray", "auto") else on)
