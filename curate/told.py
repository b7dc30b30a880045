"""Passes on what long tasks tell while they run: a task replaces a small file beside its scratch, and the driver looks for new ones.

A file reaches the driver from any executor and any node, which a pipe would not; it is read every few seconds, for phases of few tasks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from curate.errors import CurateError
from curate.storage import Storage

TOLD = ".told"
LISTEN_S = 2.0


class Listener:
    """Hears, in a thread of its own, what the tasks below a folder tell: `heard(task, said)` for each that is new."""

    def __init__(self, storage: Storage, folder: str, heard: Callable[[str, str], None]) -> None:
        self._storage, self._folder, self._heard = storage, folder, heard
        self._seen: dict[str, str] = {info.path: info.etag for info in storage.list(folder) if info.path.endswith(TOLD)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="listener", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._look()  # what tasks told that ended at once

    def _listen(self) -> None:
        while not self._stop.wait(LISTEN_S):
            self._look()

    def _look(self) -> None:
        with contextlib.suppress(CurateError, OSError):  # what cannot be heard now may be heard later
            self.look()

    def look(self) -> None:
        """Pass on what is new."""
        for info in self._storage.list(self._folder):
            if info.path.endswith(TOLD) and self._seen.get(info.path) != info.etag:
                self._seen[info.path] = info.etag
                task = info.path.rpartition("/")[2].removesuffix(TOLD)
                self._heard(task, self._storage.read(info.path).decode())


def one_at_a_time(call: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that several threads may call."""
    lock = threading.Lock()

    def locked(event: Mapping[str, Any]) -> None:
        with lock:
            call(event)

    return locked
