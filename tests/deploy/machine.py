"""A folder that stands for a machine: lines of a page and commands of units run in it for real."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.deploy.pages import lines

FOLDERS = ("/etc/curate", "/etc/systemd/system", "/var/lib/curate")
PROGRAM = f"{sys.executable} -m curate"


class Machine:
    """What pages say of a machine's folders and of port 8300 happens in `root`, and on a port of its own."""

    def __init__(self, root: Path, page: Path) -> None:
        self.root = root
        self.page = page
        self.port = free_port()
        for folder in FOLDERS:
            self.path(folder).mkdir(parents=True)

    def path(self, path: str) -> Path:
        """Where something of the machine lies here."""
        return self.root / path[1:]

    def here(self, text: str) -> str:
        """Say of this folder what a text says of a machine."""
        text = text.replace("/opt/curate/bin/curate", PROGRAM).replace(":8300", f":{self.port}")
        return re.sub(rf"(?<![\w/])(?=({'|'.join(FOLDERS)})\b)", str(self.root), text)

    def do(self, words: str, folder: Path = ROOT, **variables: str) -> str:
        """Carry out the line of the page that contains some words, and return what it prints."""
        [line] = {line for line in lines(self.page) if words in line}
        line = self.here(line).replace("sudo -u curate ", "").replace("sudo ", "")
        done = subprocess.run(["sh", "-c", line], cwd=folder, env=environment(**variables), capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, unit: str) -> subprocess.Popen[bytes]:
        """Start what an installed unit starts, in the folder that it names."""
        text = self.here((self.path("/etc/systemd/system") / unit).read_text())
        said = dict(re.findall(r"^(ExecStart|WorkingDirectory)=(.+)$", text, re.MULTILINE))
        return subprocess.Popen(shlex.split(said["ExecStart"]), cwd=said["WorkingDirectory"], env=environment())


def environment(**variables: str) -> dict[str, str]:
    """This process's environment, in which nothing is said of `curate` but where this checkout lies."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURATE_")}
    return kept | {"PYTHONPATH": ":".join(str(ROOT / room) for room in ("", "operators", "scorers"))} | variables


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
