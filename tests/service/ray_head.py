"""A Ray head with its job server, as `ray start` starts one, that can die and come back at the same address."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.conftest import ROOT

START_S = 90.0


class RayHead:
    """One node with two processors; its jobs find this checkout, and the python that runs these tests, or another one's."""

    def __init__(self, python: Path = Path(sys.executable), gpus: int = 0, environment: Mapping[str, str] | None = None) -> None:
        self._python, self._gpus, self._environment = python, gpus, dict(environment or {})
        self._folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets lie in it
        self._ports = {name: _free_port() for name in ("port", "dashboard-port", "dashboard-agent-listen-port", "ray-client-server-port")}
        self.address = f"http://127.0.0.1:{self._ports['dashboard-port']}"
        self.cluster = f"127.0.0.1:{self._ports['port']}"
        try:
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        """Start it, and wait until its job server answers."""
        binaries = self._python.parent
        code = os.pathsep.join(str(ROOT / part) for part in ("", "operators", "scorers"))
        environment = (
            os.environ
            | {
                "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
                "PYTHONPATH": code,
                "RAY_USAGE_STATS_ENABLED": "0",
                "RAY_AUTH_MODE": "disabled",  # it listens on loopback alone, and the tests' process knows no token
            }
            | self._environment
        )
        ports = [f"--{name}={port}" for name, port in self._ports.items()]
        command = [
            str(binaries / "ray"),
            "start",
            "--head",
            "--block",
            "--num-cpus=2",
            f"--num-gpus={self._gpus}",  # what Ray is told to hand out, there or not
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
        ]
        with open(self._folder / "head.log", "ab") as log:
            self._process = subprocess.Popen([*command, f"--temp-dir={self._folder}", *ports], stdout=log, stderr=log, env=environment)
        until = time.monotonic() + START_S
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < until, (self._folder / "head.log").read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        """End it and all that runs on it, as a power cut does."""
        head = psutil.Process(self._process.pid)
        for process in [head, *head.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def logs(self) -> str:
        """Return what its workers wrote."""
        return "".join(path.read_text(errors="replace") for path in self._folder.glob("session_2*/logs/worker-*"))

    def stop(self) -> None:
        """End it and remove what it wrote."""
        if self._process.poll() is None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api/jobs/", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
