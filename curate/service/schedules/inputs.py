"""Which files the inputs of a pipeline have, and which of them are new since a run that succeeded.

Of every file there is a mark of eight bytes, a hash of its path and of what the store says of it (size and time of change on a
disk, the etag on an object store). A hundred thousand files are 1.1 MB of text in the database.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import CurateError
from curate.inputs import list_input
from curate.pipeline import Input, Pipeline
from curate.storage import is_remote

EXAMPLES = 20
_MARK_BYTES = 8


@dataclass(frozen=True)
class Look:
    """What one look at an input found: its files by their marks, or why there was nothing to be found."""

    files: Mapping[bytes, str]
    at_once: bool = False
    problem: str | None = None

    @property
    def marks(self) -> str:
        """All marks, as the database keeps them."""
        return base64.b64encode(b"".join(sorted(self.files))).decode()

    @property
    def digest(self) -> str:
        """A short name of exactly these files."""
        return hashlib.sha256(b"".join(sorted(self.files))).hexdigest()

    def new(self, seen: str | None) -> list[str]:
        """Return the paths of files that are not among the marks kept of an earlier look, in order."""
        known = base64.b64decode(seen or "")
        marks = {known[start : start + _MARK_BYTES] for start in range(0, len(known), _MARK_BYTES)}
        return sorted(path for mark, path in self.files.items() if mark not in marks)


def look(pipeline: Pipeline) -> dict[str, Look]:
    """Look at every input that is read from files; what cannot be listed says why."""
    return {name: _look(name, spec, pipeline.folder) for name, spec in pipeline.inputs.items() if spec.artifact is None}


def told(looks: Mapping[str, Look], seen: Mapping[str, str]) -> dict[str, Any]:
    """Return what a run is told of its inputs: how many files each has, how many of them are new, and some of those by name."""
    return {name: _told(found, seen.get(name)) for name, found in looks.items()}


def _told(found: Look, seen: str | None) -> dict[str, Any]:
    if found.problem is not None:
        return {"problem": found.problem}
    new = found.new(seen)
    return {"files": len(found.files), "new": len(new), "examples": new[:EXAMPLES]}


def _look(name: str, spec: Input, folder: Path) -> Look:
    try:
        listing = list_input(name, spec, folder)
    except CurateError as error:
        return Look({}, problem=error.message)
    marks = {_mark(file.path, file.etag): file.path for file in listing.files}
    return Look(marks, at_once=is_remote(listing.storage_url))


def _mark(path: str, etag: str) -> bytes:
    return hashlib.blake2b(f"{path}\0{etag}".encode("utf-8", "surrogateescape"), digest_size=_MARK_BYTES).digest()
