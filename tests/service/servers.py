"""A service of its own process, as `curate serve` starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

import curate
from tests.conftest import ROOT
from tests.service.waiting import until

START_S = 60.0


class Server:
    """One `curate serve` in a folder that holds its settings; `kill` ends it as `kill -9` does, `start` starts it again."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = self.where = folder
        self.url = f"http://127.0.0.1:{(port := _free_port())}"
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "service.yaml"
        self.config.write_text(yaml.safe_dump({"home": "home", "port": port, "workers": 1, **settings}))
        self.home = folder / "home"
        self.command = ["-m", "curate", "serve", "--config", str(self.config)]
        self.start()

    @property
    def token(self) -> str:
        """The first admin's token."""
        return (self.home / "admin-token").read_text().strip()

    @property
    def client(self) -> curate.Client:
        """A client of it."""
        return curate.Client(self.url, self.token)

    @property
    def log(self) -> str:
        """What it printed."""
        return (self.folder / "serve.log").read_text()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with open(self.folder / "serve.log", "ab") as log:
            self.process = subprocess.Popen([sys.executable, *self.command], stdout=log, stderr=log, cwd=self.where)
        until = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None and time.monotonic() < until, self.log
            time.sleep(0.1)

    def answers(self, path: str = "/healthz") -> bool:
        """Tell whether it says that it is well."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """End it without a chance to clean up."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as a service manager does."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(30)


class Demo(Server):
    """What `make service` starts, in a folder; it has loaded what it shows once `start` is over."""

    def __init__(self, folder: Path) -> None:
        self.folder = self.home = folder
        self.where = ROOT
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.command = ["-m", "curate.demo", str(folder), str(port)]
        self.start()

    def start(self) -> None:
        told = self.log.count("look at") if (self.folder / "serve.log").exists() else 0
        super().start()
        until(lambda: self.log.count("look at") > told)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
