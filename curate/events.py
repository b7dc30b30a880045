"""Keeps what happens in a run as JSON lines in `runs/<run-id>/events/00000.jsonl`, `00001.jsonl`, …

Each segment is written whole, a few seconds apart, since objects in a store cannot be appended to.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import orjson

from curate.errors import CurateError
from curate.storage import Storage, join

SEGMENT_S = 5.0


class EventLog:
    """Writes events of one run; `elapsed_s` counts from the log's start."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = join(folder, "events")
        self._lines: list[bytes] = []
        self._segment = 0
        self._begun = self._written = time.monotonic()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(CurateError, OSError):  # a full disk already ended the run with an error of its own
            self._flush()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Add an event; segments are written as time passes."""
        now = time.monotonic()
        stamp = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "elapsed_s": round(now - self._begun, 3)}
        self._lines.append(orjson.dumps(stamp | dict(event), default=str, option=orjson.OPT_APPEND_NEWLINE))
        if now - self._written > SEGMENT_S:
            self._flush()

    def _flush(self) -> None:
        if self._lines:
            self._storage.write(join(self._folder, f"{self._segment:05d}.jsonl"), b"".join(self._lines))
            self._segment += 1
        self._lines = []
        self._written = time.monotonic()
