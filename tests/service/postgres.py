"""A PostgreSQL server of this machine's own binaries, on a free port of loopback, for as long as tests need it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import uuid
from pathlib import Path

import psycopg

from tests.service.waiting import until

USER = "postgres"


def binaries() -> Path | None:
    """Return the folder of PostgreSQL's programs, as Debian or PATH has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("initdb")
    return Path(found).resolve().parent if found else None


def reason_to_skip() -> str | None:
    """Say why the server cannot run here, or None."""
    if binaries() is None:
        return "no PostgreSQL here: `apt-get install postgresql`"
    if os.geteuid() == 0 and subprocess.run(["id", USER], capture_output=True, check=False).returncode:
        return f"PostgreSQL does not run as root, and there is no user {USER}"
    return None


class Postgres:
    """One server; `database()` makes an empty database and returns its URL."""

    def __init__(self, folder: Path) -> None:
        found = binaries()
        assert found is not None
        self._binaries, self._folder = found, folder
        self._as_user = ["runuser", "-u", USER, "--"] if os.geteuid() == 0 else []
        folder.mkdir(parents=True)
        if self._as_user:
            shutil.chown(folder, USER, USER)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._call("initdb", "-D", str(folder / "data"), "-U", "curate", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers; what a killed one left may be in the way for a moment."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        command = "pg_ctl", "-D", str(self._folder / "data"), "-l", str(self._folder / "log"), "-w", "-o", options, "start"
        until(lambda: self._call(*command, check=False) == 0)

    def kill(self) -> None:
        """End it as `kill -9` does, and wait until it is gone, and its children, which would keep another from starting."""
        pid = int((self._folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGSTOP)  # it begins no child that would be missed
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(_lives, [str(pid), *children])))

    def stop(self) -> None:
        """End it."""
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop", check=False)

    def schema(self) -> str:
        """Make an empty schema, which is to the service what a database would be, and made in a hundredth of the time."""
        name = f"t{uuid.uuid4().hex}"
        self._say(f"CREATE SCHEMA {name}")
        return f"{self._address}?options=-csearch_path%3D{name}"

    def database(self, folder: Path) -> str:
        """Make an empty database whose tables lie in a folder of their own."""
        name = f"t{uuid.uuid4().hex}"
        if self._as_user:
            shutil.chown(folder, USER, USER)
        self._say(f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        self._say(f"CREATE DATABASE {name} TABLESPACE {name}")
        return f"postgresql://curate@127.0.0.1:{self.port}/{name}"

    def drop(self, url: str) -> None:
        """Remove a database that lies in a folder of its own."""
        name = url.rpartition("/")[2]
        self._say(f"DROP DATABASE {name} WITH (FORCE)")
        self._say(f"DROP TABLESPACE {name}")

    def _say(self, words: str) -> None:
        with psycopg.connect(self._address, autocommit=True) as connection:
            connection.execute(words.encode())

    @property
    def _address(self) -> str:
        return f"postgresql://curate@127.0.0.1:{self.port}/postgres"

    def _call(self, program: str, *arguments: str, check: bool = True) -> int:
        command = [*self._as_user, str(self._binaries / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
        assert not check or done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return done.returncode


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
