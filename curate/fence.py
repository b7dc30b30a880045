"""Keeps two runs off one dataset, without a lock server.

A fence is a growing series of small files, `<folder>/.fence/000001.json`, each made by an exclusive create: whoever makes
the next number holds the fence. The holder rewrites its file every few seconds; a file that was not rewritten for a minute,
or whose process is dead on this very machine, may be followed by the next number. Receipts carry the number as `epoch`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

import orjson

from curate.errors import DatasetError, WorkspaceError
from curate.storage import Storage, join

HEARTBEAT_S = 10.0
STALE_S = 60.0
FENCE = ".fence"


class Fence:
    """Holds a dataset's folder for one run while the context lasts."""

    def __init__(self, storage: Storage, folder: str, run_id: str) -> None:
        self._storage = storage
        self._folder = join(folder, FENCE)
        self._run_id = run_id
        self._stop = threading.Event()
        self._retired = False
        self.epoch = 0
        self.lost = False

    def __enter__(self) -> Fence:
        while True:
            last = self._last()
            if last:
                self._refuse_living_holder(last)
            self.epoch = last + 1
            if self._storage.create(self._path(self.epoch), self._beat()):
                break
        self._thread = threading.Thread(target=self._keep_alive, name="fence", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if not self.lost and not self._retired:
            with contextlib.suppress(Exception):  # the store may be what failed; a stale fence is taken over anyway
                self._storage.write(self._path(self.epoch), self._beat(released=True))

    def verify(self) -> None:
        """Raise `WorkspaceError` when another run has taken over."""
        if self.lost or self._last() != self.epoch:
            raise WorkspaceError(f"another run took over {self._folder} while this one was silent", "let the other run finish")

    def retire(self) -> None:
        """Remove the fence while it is held: what it protects is finished."""
        self._stop.set()
        self._thread.join()
        self._retired = True
        remove_fence(self._storage, self._folder.rpartition("/")[0])

    def _path(self, epoch: int) -> str:
        return join(self._folder, f"{epoch:06d}.json")

    def _last(self) -> int:
        names = [info.path.rpartition("/")[2] for info in self._storage.list(self._folder)]
        return max((int(name[:-5]) for name in names if name.endswith(".json")), default=0)

    def _refuse_living_holder(self, epoch: int) -> None:
        try:
            holder = orjson.loads(self._storage.read(self._path(epoch)))
        except DatasetError:  # its run finished and removed it meanwhile
            return
        age = time.time() - holder["beat"]
        here = holder["host"] == socket.gethostname()
        if holder["released"] or (here and not _alive(holder["pid"], holder["started"])):
            return
        if age > STALE_S and not here:
            return
        raise WorkspaceError(
            f"run {holder['run']} is working on {self._folder.rpartition('/')[0]} (process {holder['pid']} on {holder['host']},"
            f" last sign {age:.0f} s ago)",
            "wait for it, stop it, or use another --workspace; a run that died is taken over after a minute",
        )

    def _beat(self, released: bool = False) -> bytes:
        pid = os.getpid()
        return orjson.dumps(
            {
                "run": self._run_id,
                "host": socket.gethostname(),
                "pid": pid,
                "started": _started(pid),
                "beat": time.time(),
                "released": released,
            }
        )

    def _keep_alive(self) -> None:
        while not self._stop.wait(HEARTBEAT_S):
            with contextlib.suppress(Exception):  # a store that hiccups must not end the run: the next beat may pass
                if self._last() != self.epoch:
                    self.lost = True
                    return
                self._storage.write(self._path(self.epoch), self._beat())


def remove_fence(storage: Storage, folder: str) -> None:
    """Remove the fence of a finished dataset, one file after another: somebody may be making the next one."""
    for info in storage.list(join(folder, FENCE)):
        storage.delete(info.path)


def _started(pid: int) -> str:
    """Return when a process started, in clock ticks since boot: tells a process from a later one with its number."""
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return ""


def _alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return not started or _started(pid) == started
