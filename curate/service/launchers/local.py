"""Runs as processes of this machine, which neither need the service nor end with it.

    <home>/runs/<id>/pipeline.yaml    what runs
                     output.log       what it prints
                     lock             held as long as anything of the run lives
                     started          process id of the keeper, which leads the run's process group
                     exit             its exit code, once it has ended

The lock answers whether a run lives, whoever asks and whenever: it is taken before the first process starts, inherited by the
processes of the run, and given back by the kernel. A process id alone could by then belong to somebody else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from curate.errors import WorkspaceError
from curate.service.launchers.base import Sight, Task

_PAUSE_S = 0.01
KEEPER = "curate.service.launchers.keeper"
_CLIENTS = ("CURATE_SERVICE", "CURATE_TOKEN")  # of whoever started the service: a run would be sent back to it


class LocalLauncher:
    """Processes below `home`; `hidden` are variables of the environment that runs do not get to see."""

    def __init__(self, home: Path, hidden: Sequence[str] = ()) -> None:
        self.host: str | None = socket.gethostname()
        self._folder = home / "runs"
        self._hidden = frozenset((*hidden, *_CLIENTS))

    def start(self, task: Task) -> None:
        folder = self._folder / task.id
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while not _was_started(folder):  # else somebody else starts it just now, or only looks
                with _locked(folder, fcntl.LOCK_EX) as lock:
                    if lock is not None and not _was_started(folder):
                        (folder / "pipeline.yaml").write_text(task.text, encoding="utf-8")
                        self._spawn(folder, _command(folder, task), lock)
                        return
                time.sleep(_PAUSE_S)
        except OSError as error:
            raise WorkspaceError(
                f"cannot start a run in {folder}: {error.strerror}", "is the disk full, or the folder read-only?"
            ) from None

    def look(self, task_id: str) -> Sight:
        folder = self._folder / task_id
        if not folder.is_dir():
            return Sight("absent")
        with _locked(folder, fcntl.LOCK_SH) as lock:
            if lock is None:
                return Sight("alive")
            if (folder / "exit").exists():
                return Sight("ended", int((folder / "exit").read_text()))
            return Sight("gone" if _was_started(folder) else "absent")

    def stop(self, task_id: str, force: bool) -> None:
        folder = self._folder / task_id
        if self.look(task_id).state == "alive" and _was_started(folder):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int((folder / "started").read_text()), signal.SIGKILL if force else signal.SIGTERM)

    def log(self, task_id: str, last_bytes: int) -> str:
        try:
            with open(self._folder / task_id / "output.log", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - last_bytes))
                return file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _spawn(self, folder: Path, command: list[str], lock: int) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in self._hidden}
        with open(folder / "output.log", "ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", KEEPER, str(folder), str(lock), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=(lock,),
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name=f"reap {folder.name}", daemon=True).start()  # no zombie stays behind


def _command(folder: Path, task: Task) -> list[str]:
    options = [f"--workspace={task.workspace}", f"--run-id={task.id}", *task.options]
    return [sys.executable, "-m", "curate", "run", str(folder / "pipeline.yaml"), *options]


def _was_started(folder: Path) -> bool:
    return (folder / "started").exists()


@contextlib.contextmanager
def _locked(folder: Path, kind: int) -> Iterator[int | None]:
    """Hold the folder's lock, or give None when a run does; closing our copy frees it only if no run has inherited it.

    Who looks shares the lock with others that look, and is in the way only of who starts, for a moment.
    """
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield lock
    finally:
        os.close(lock)
