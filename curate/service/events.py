"""Follows the events of runs where the runs write them, for any number of readers.

A reader's place is `attempt.segment.line`, which is also the id of what stands there: a reader that comes back begins behind the
last one that it has seen. Readers of one run share one look a second at its row, and what its newest segments say.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from curate.errors import CurateError, PipelineError
from curate.service import runs
from curate.service.state import Database, tables
from curate.storage import join, open_storage

LOOK_S = 1.0
_KEPT = 4  # segments of a run that its readers share


@dataclass(frozen=True, order=True)
class Place:
    """The next line that a reader has not seen: all counted from 0, but attempts from 1."""

    attempt: int = 1
    segment: int = 0
    line: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}.{self.segment}.{self.line}"

    @classmethod
    def after(cls, text: str) -> Place:
        """Return the place behind the event with an id; raise `PipelineError` for what is no id."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            raise PipelineError(f"not the id of an event: {text[:40]!r}", "send the last id that came, such as 1.0.12")
        return cls(int(parts[0]), int(parts[1]), int(parts[2]) + 1)


def read_segment(run: tables.Run, place: Place) -> list[bytes] | None:
    """Return the lines of a place's segment from its line on, or None while the run has not written it."""
    storage = open_storage(run.workspace)
    path = join(_folder(run, place.attempt), f"{place.segment:05d}.jsonl")
    if storage.info(path) is None:
        return None
    return storage.read(path).splitlines()[place.line :]


def _folder(run: tables.Run, attempt: int) -> str:
    return join("runs", run.named(attempt), "events")


class Pulse:
    """What is known of one run: its row, and how many segments the row's attempt has written."""

    def __init__(self, database: Database, run_id: str) -> None:
        self._database = database
        self._run_id = run_id
        self.readers = 0
        self.run: tables.Run | None = None
        self.segments = 0
        self.version = 0
        self._newest: dict[Place, list[bytes]] = {}
        self._changed = asyncio.Event()

    async def beat(self) -> None:
        """Look until cancelled, and wake the readers when there is news."""
        while True:
            with contextlib.suppress(CurateError):  # the workspace does not answer: look again
                before = self._seen()
                await asyncio.to_thread(self.look)
                if before != self._seen():
                    self.version += 1
                    self._changed.set()
                    self._changed = asyncio.Event()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Read the row first: when it says that the run has ended, no segment comes after those that are seen then."""
        with self._database.reading() as session:
            run = runs.find(session, self._run_id)
        if self.run is None or run.attempt != self.run.attempt:
            self.segments = len(open_storage(run.workspace).list(_folder(run, run.attempt)))
        while (lines := read_segment(run, Place(run.attempt, self.segments))) is not None:
            self._keep(Place(run.attempt, self.segments), lines)
            self.segments += 1
        self.run = run

    def _keep(self, segment: Place, lines: list[bytes]) -> None:
        self._newest[segment] = lines
        if len(self._newest) > _KEPT:
            del self._newest[next(iter(self._newest))]

    async def lines(self, run: tables.Run, place: Place) -> list[bytes] | None:
        """Return the lines at a place, or None while the run has not written it; new segments are known without a look."""
        if place.attempt == run.attempt and place.segment >= self.segments:
            return None
        known = self._newest.get(replace(place, line=0))
        return known[place.line :] if known is not None else await asyncio.to_thread(read_segment, run, place)

    async def news(self, version: int, patience_s: float) -> bool:
        """Wait until something has changed since a version, for so many seconds at most; tell whether it has."""
        if self.version == version:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), patience_s)
        return self.version != version

    def _seen(self) -> tuple[object, ...]:
        return (self.run.status, self.run.attempt, self.segments) if self.run is not None else ()


class Pulses:
    """The pulses of all runs that somebody reads; at most so many readers."""

    def __init__(self, database: Database, readers: int) -> None:
        self._database = database
        self._room = readers
        self._pulses: dict[str, tuple[Pulse, asyncio.Task[None]]] = {}

    @property
    def full(self) -> bool:
        """Whether nobody else can be told."""
        return self._room <= 0

    @contextlib.asynccontextmanager
    async def joined(self, run_id: str) -> AsyncIterator[Pulse]:
        """Share the pulse of a run, which stops when its last reader leaves."""
        if run_id not in self._pulses:
            pulse = Pulse(self._database, run_id)
            self._pulses[run_id] = (pulse, asyncio.create_task(pulse.beat()))
        pulse, task = self._pulses[run_id]
        pulse.readers += 1
        self._room -= 1
        try:
            yield pulse
        finally:
            self._room += 1
            pulse.readers -= 1
            if pulse.readers == 0:
                del self._pulses[run_id]
                task.cancel()
