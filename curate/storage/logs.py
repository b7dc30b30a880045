"""Files that grow while they are written: appended to on a disk, in segments on an object store, where nothing can be appended to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from curate.storage.errors import explained

SEGMENT_S = 1.0


class Log(Protocol):
    """A file that grows by whole lines."""

    def append(self, lines: bytes) -> None:
        """Add lines; on a disk they outlive this process at once, on an object store within about a second."""

    def flush(self) -> None:
        """Return once everything outlives this process."""

    def close(self) -> None:
        """Finish the file."""


class LocalLog:
    """A file that is appended to without a buffer: what was written outlives the process, though not a loss of power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with explained(str(path), writing=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by `close`

    def append(self, lines: bytes) -> None:
        left = memoryview(lines)
        with explained(str(self._path), writing=True):
            while left:  # a disk that fills up takes a part
                left = left[self._file.write(left) :]

    def flush(self) -> None:
        pass

    def close(self) -> None:
        with explained(str(self._path), writing=True), self._file:
            os.fsync(self._file.fileno())


class Store(Protocol):
    """What a log in segments needs of a store."""

    def write(self, path: str, data: bytes) -> None: ...

    def delete(self, path: str) -> None: ...


class SegmentLog:
    """Objects `<path>.00000`, `<path>.00001`, … about a second apart, which become the one object `<path>` in the end."""

    def __init__(self, store: Store, path: str) -> None:
        self._store = store
        self._path = path
        self._lines: list[bytes] = []
        self._segments: list[bytes] = []
        self._written_at = time.monotonic()

    def append(self, lines: bytes) -> None:
        self._lines.append(lines)
        if time.monotonic() - self._written_at > SEGMENT_S:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            self._segments.append(b"".join(self._lines))
            self._lines = []
            self._store.write(self._segment(len(self._segments) - 1), self._segments[-1])
        self._written_at = time.monotonic()

    def close(self) -> None:
        written = len(self._segments)
        self._store.write(self._path, b"".join([*self._segments, *self._lines]))
        for number in range(written):
            self._store.delete(self._segment(number))

    def _segment(self, number: int) -> str:
        return f"{self._path}.{number:05d}"
