"""Finds the folder of a model on this machine: as it is, or copied from an artifact in an object store."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from curate.errors import OperatorError
from curate.files import local_file
from curate.manifest import MANIFEST, Manifest
from curate.storage import is_remote, open_storage


def model_folder(place: str) -> Path:
    """Return where a model's files lie together; those of an artifact in an object store are fetched, once a machine."""
    if not is_remote(place):
        return Path(place)
    storage = open_storage(place)
    if storage.info(MANIFEST) is None:
        raise OperatorError(f"model {place}: a folder in an object store is no artifact", "name the stage that made it, or a local folder")
    files = Manifest.from_json(storage.read(MANIFEST), place).files
    identity = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"curate-models-{os.getuid()}" / identity
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = folder / file.name.rpartition("/")[2]
        if not copy.exists():
            copy.unlink(missing_ok=True)  # its target may have been tidied away
        with contextlib.suppress(FileExistsError):  # it is there, or another process was here
            copy.symlink_to(local_file(f"{place}/{copy.name}"))
    return folder
