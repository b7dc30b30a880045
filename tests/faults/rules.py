"""Operators that misbehave, as a user's own might."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

import curate


def _has(docs: pa.RecordBatch, word: str) -> bool:
    return bool(pc.any(pc.match_substring(docs.column("text"), word)).as_py())


@dataclass(frozen=True)
class Raises(curate.Mapper):
    """Raises on documents that contain a word."""

    word: str

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        if _has(docs, self.word):
            raise ValueError(f"cannot stand {self.word}")
        return docs


@dataclass(frozen=True)
class Kills(curate.Mapper):
    """Kills its process on documents that contain a word."""

    word: str

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        if _has(docs, self.word):
            os.kill(os.getpid(), signal.SIGKILL)
        return docs


@dataclass(frozen=True)
class Sleeps(curate.Mapper):
    """Sleeps on documents that contain a word."""

    word: str
    seconds: float = 60.0

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        if _has(docs, self.word):
            time.sleep(self.seconds)
        return docs


@dataclass(frozen=True)
class Starts(curate.Mapper):
    """Starts a process that chatters on stdout and stays, as engines of models do, notes its number, and stalls on documents with a word."""

    word: str
    folder: str

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        started = subprocess.Popen([sys.executable, "-c", "print('chatter', flush=True); import time; time.sleep(600)"])
        Path(self.folder, str(started.pid)).touch()
        if _has(docs, self.word):
            time.sleep(60)
        return docs
