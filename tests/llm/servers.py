"""Starts servers of chat completions for tests, and asks them what they were asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.conftest import ROOT


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
