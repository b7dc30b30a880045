"""Follows the events of runs: every segment is read once, however often a page asks how far the run is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import orjson

from curate.dataset import join_url
from curate.errors import DatasetError
from curate.service.views.progress import Progress
from curate.storage import Storage, join

MOST_RUNS = 128


@dataclass
class _Followed:
    """A run's progress, and which segments it is of; a first segment that changed belongs to another attempt."""

    progress: Progress = field(default_factory=Progress)
    segments: int = 0
    first: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Follower:
    """Keeps the progress of the runs that were asked for last; safe to call from several threads."""

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        self._followed: OrderedDict[tuple[str, str], _Followed] = OrderedDict()
        self._lock = threading.Lock()

    def progress(self, storage: Storage, run_id: str) -> Progress:
        """Return how far a run is, by all segments that are there now."""
        followed = self._of(storage.url, run_id)
        with followed.lock:
            folder = join("runs", run_id, "events")
            first = storage.info(_segment(folder, 0))
            if first is None or first.etag != followed.first:
                followed.progress, followed.segments = Progress(), 0
                followed.first = first.etag if first else None
            while storage.info(_segment(folder, followed.segments)) is not None:
                _take(followed.progress, storage, _segment(folder, followed.segments))
                followed.segments += 1
            return followed.progress

    def _of(self, url: str, run_id: str) -> _Followed:
        with self._lock:
            followed = self._followed.setdefault((url, run_id), _Followed())
            self._followed.move_to_end((url, run_id))
            while len(self._followed) > self._most:
                self._followed.popitem(last=False)
            return followed


def _segment(folder: str, number: int) -> str:
    return join(folder, f"{number:05d}.jsonl")


def _take(progress: Progress, storage: Storage, path: str) -> None:
    for line in storage.read(path).splitlines():
        try:
            progress.add(orjson.loads(line))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            where = join_url(storage.url, path)
            raise DatasetError(f"{where}: a damaged line: {error}", "the report of the run, if it wrote one, tells how it ended") from error
