"""Streams over an object store: reading ahead by ranges, writing in parts."""

from __future__ import annotations

import contextlib
import io
import queue
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

FIRST_STEP = 256 << 10
LAST_STEP = 8 << 20
MAX_REQUEST = 64 << 20
AHEAD = 3
PART = 8 << 20


@dataclass(frozen=True)
class _Range:
    start: int
    end: int
    future: Future[memoryview]


class RangeReader(io.RawIOBase):
    """A seekable stream that asks for ranges: little after a jump, more and more, and ahead, while it is read through."""

    def __init__(self, fetch: Callable[[int, int], memoryview], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._at = 0
        self._start, self._chunk = 0, memoryview(b"")
        self._step = FIRST_STEP
        self._ahead: deque[_Range] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative position {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        if not self._start <= self._at < self._start + len(self._chunk):
            self._load(len(buffer))
        found = self._chunk[self._at - self._start :][: len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _load(self, wanted: int) -> None:
        """Make the chunk at the current position the current one."""
        goes_on = 0 < self._at == self._start + len(self._chunk)
        self._step = min(LAST_STEP, self._step * 4) if goes_on else FIRST_STEP
        if not (self._ahead and self._ahead[0].start == self._at):
            self._forget()
        if self._ahead:
            chunk = self._ahead.popleft().future.result()
        else:
            chunk = self._fetch(self._at, min(self._size, self._at + min(MAX_REQUEST, max(wanted, self._step))))
        self._start, self._chunk = self._at, chunk
        if goes_on:
            self._look_ahead()

    def _look_ahead(self) -> None:
        self._pool = self._pool or ThreadPoolExecutor(AHEAD, "read-ahead")
        while len(self._ahead) < AHEAD:
            start = self._ahead[-1].end if self._ahead else self._start + len(self._chunk)
            end = min(self._size, start + self._step)
            if start == end:
                return
            self._ahead.append(_Range(start, end, self._pool.submit(self._fetch, start, end)))

    def _forget(self) -> None:
        for part in self._ahead:
            part.future.cancel()
        self._ahead.clear()

    def close(self) -> None:
        self._forget()
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)
        super().close()


class UploadStopped(Exception):
    """Raised inside an upload that its writer gave up; the store then discards the parts."""


class UploadWriter(io.BufferedIOBase):
    """A stream that becomes an object at `commit`: in one request when small, else in parts while it is written.

    `put` uploads bytes, or an iterator of parts; it must discard everything when the iterator raises.
    """

    def __init__(self, put: Callable[[bytes | Iterator[bytes]], None]) -> None:
        self._put = put
        self._rest = bytearray()
        self._sent = 0
        self._parts: queue.Queue[bytes | UploadStopped | None] = queue.Queue(AHEAD)
        self._upload: Future[None] | None = None

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._sent + len(self._rest)

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        size = memoryview(data).nbytes
        self._rest += data
        if len(self._rest) >= PART:
            self._hand_over(bytes(self._rest))
            self._sent += len(self._rest)
            self._rest.clear()
        return size

    def commit(self) -> None:
        """Make the object; it is durable when this returns."""
        if self._upload is None:
            self._put(bytes(self._rest))
        else:
            if self._rest:
                self._hand_over(bytes(self._rest))
            self._hand_over(None)
            self._upload.result()

    def abort(self) -> None:
        """Discard what was uploaded."""
        if self._upload is not None and not self._upload.done():
            with contextlib.suppress(Exception):  # an error of the upload is worth nothing now
                self._hand_over(UploadStopped())
                self._upload.result()

    def _hand_over(self, part: bytes | UploadStopped | None) -> None:
        """Queue a part, but do not wait for an upload that has failed."""
        if self._upload is None:
            pool = ThreadPoolExecutor(1, "upload")
            self._upload = pool.submit(self._put, self._queued())
            pool.shutdown(wait=False)
        while True:
            if self._upload.done():
                self._upload.result()
            with contextlib.suppress(queue.Full):
                self._parts.put(part, timeout=0.1)
                return

    def _queued(self) -> Iterator[bytes]:
        while (part := self._parts.get()) is not None:
            if isinstance(part, UploadStopped):
                raise part
            yield part
