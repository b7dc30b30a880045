"""Keeps a training's files where its next attempt finds them, and tells how it goes: what a task is to loops that know no engine."""

from __future__ import annotations

import time

from curate.work import Place

TELL_S = 2.0


class Kept:
    """Keeps a training's files beside the task's scratch, where the next attempt looks for them."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def path(self, name: str) -> str:
        return f"{self._place.prefix}.{name}"

    def write(self, name: str, data: bytes) -> None:
        with self._place.storage.open_output(self.path(name)) as out:
            out.write(data)

    def read(self, name: str) -> bytes | None:
        found = self._place.storage.info(self.path(name)) is not None
        return self._place.storage.read(self.path(name)) if found else None


class Teller:
    """Tells how it goes every few seconds."""

    def __init__(self, place: Place) -> None:
        self._place, self._last = place, 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if now - self._last > TELL_S:
            self._last = now
            self._place.tell(line)
