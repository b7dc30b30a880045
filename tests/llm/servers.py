"""Starts servers of chat completions for tests, and asks them what they were asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

import psutil

from tests.conftest import ROOT
from tests.llm import environment


class StubProcess:
    """The stub server as a process; with `memory` it is started again on the same port whenever it dies, as a supervisor would."""

    def __init__(self, memory: Path | None = None, restart_after_s: float | None = None) -> None:
        self._memory = memory
        self._restart_after_s = restart_after_s
        self._ends = threading.Event()
        self.starts = 0

    def __enter__(self) -> Self:
        self._process = self._start("0")
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        if self._restart_after_s is not None:
            self._keeper = threading.Thread(target=self._keep, daemon=True)
            self._keeper.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        if self._restart_after_s is not None:
            self._keeper.join()
        self.kill()

    @property
    def settings(self) -> dict[str, Any]:
        """What an operator's `llm` says for this server, with little patience."""
        return {"model": "stub", "endpoint": self.url, "deadline_s": 5, "patience_s": 10}

    def asked(self) -> list[str]:
        """Return all prompts that the process has got since it was started, in order."""
        return list(self._tell()["asked"])

    def most(self) -> int:
        """Return how many requests were under way at the same time, at most."""
        return int(self._tell()["most"])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _tell(self) -> dict[str, Any]:
        with urllib.request.urlopen(self.url.replace("/v1", "/asked")) as response:
            return dict(json.load(response))

    def _start(self, port: str) -> subprocess.Popen[bytes]:
        self.starts += 1
        arguments = [port] if self._memory is None else [port, str(self._memory)]
        return subprocess.Popen([sys.executable, "-m", "tests.llm.stub_server", *arguments], stdout=subprocess.PIPE, cwd=ROOT)

    def _keep(self) -> None:
        port = self.url.split(":")[2].split("/")[0]
        while not self._ends.wait(0.02):
            if self._process.poll() is not None:
                time.sleep(self._restart_after_s or 0.0)
                self.kill()
                self._process = self._start(port)


class VllmProcess:
    """A model served by vLLM on this machine's processor, through `curate llm serve`."""

    def __init__(self, model: Path, max_model_len: int = 1024) -> None:
        self.name = model.name
        self._port = _free_port()
        arguments = ["--enforce-eager", "--max-model-len", str(max_model_len), "--dtype", environment.dtype()]
        options = ["--python", str(environment.PYTHON), "--port", str(self._port)]
        self._command = [sys.executable, "-m", "curate", "llm", "serve", str(model), *options, *arguments]

    def __enter__(self) -> Self:
        env = os.environ | environment.ENVIRONMENT
        self._process = subprocess.Popen(self._command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        threading.Thread(target=self._read_log, daemon=True).start()
        assert self._process.stdout is not None
        self.told = self._process.stdout.readline().strip()
        assert self.told, "".join(self.log[-50:])
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 130
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    @property
    def settings(self) -> dict[str, Any]:
        """What an operator's `llm` says for this server."""
        return {"model": self.name, "endpoint": f"http://127.0.0.1:{self._port}/v1", "deadline_s": 300, "patience_s": 900}

    def cpu_seconds(self) -> float:
        """Return the processor time of the server and its workers, since they started."""
        (server,) = psutil.Process(self._process.pid).children()
        return sum(sum(process.cpu_times()[:2]) for process in (server, *server.children(recursive=True)))

    def kill(self) -> None:
        """Kill the server with all its workers, as a full memory would; `curate llm serve` starts it again."""
        (server,) = psutil.Process(self._process.pid).children()
        os.killpg(server.pid, signal.SIGKILL)

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(ValueError):  # closed at the end
            for line in self._process.stderr:
                self.log.append(line)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
