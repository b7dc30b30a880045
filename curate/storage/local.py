"""Files in a folder of this machine, or of a file system that all workers share."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from curate.storage.base import FileInfo, is_unfinished
from curate.storage.errors import explained, explained_writing
from curate.storage.logs import LocalLog, Log

_BUFFER = 1 << 20
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalStorage:
    """A folder; files are made under a hidden name, synced and renamed."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)

    def __repr__(self) -> str:
        return f"LocalStorage({self.url!r})"

    def _path(self, path: str) -> Path:
        return Path(os.path.normpath(self.root / path))  # by the text alone, as on an object store

    def list(self, prefix: str = "") -> list[FileInfo]:
        top = self._path(prefix)
        with explained(str(top)):
            if top.is_dir():
                return sorted(_walk(str(top), prefix.strip("/"), frozenset()))
            return [self._file_info(prefix, top.stat())] if top.is_file() else []

    def info(self, path: str) -> FileInfo | None:
        full = self._path(path)
        with explained(str(full)):
            return self._file_info(path, full.stat()) if full.is_file() else None

    @staticmethod
    def _file_info(path: str, stat: os.stat_result) -> FileInfo:
        return FileInfo(path, stat.st_size, f"{stat.st_size}-{stat.st_mtime_ns}")

    def read(self, path: str) -> bytes:
        with explained(str(self._path(path))):
            return self._path(path).read_bytes()

    def open_input(self, path: str) -> BinaryIO:
        with explained(str(self._path(path))):
            return open(self._path(path), "rb", buffering=_BUFFER)

    def open_arrow(self, path: str) -> pa.NativeFile:
        with explained(str(self._path(path))):
            return pa.OSFile(str(self._path(path)), "rb")

    @contextlib.contextmanager
    def open_output(self, path: str) -> Iterator[BinaryIO]:
        target = self._path(path)
        with self._finished(target) as hidden:
            with explained(str(target), writing=True):
                out = open(hidden, "wb", buffering=_BUFFER)  # noqa: SIM115 - below, apart from the caller's errors
            with explained_writing(str(target)), out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            self._rename(hidden, target)

    def write(self, path: str, data: bytes) -> None:
        with self.open_output(path) as out:
            out.write(data)

    def open_log(self, path: str) -> Log:
        return LocalLog(self._path(path))

    def create(self, path: str, data: bytes) -> bool:
        target = self._path(path)
        with self._finished(target) as hidden, explained(str(target), writing=True):
            if target.exists():
                return False
            _write_new(hidden, data)
            return _linked(hidden, target, data)

    @contextlib.contextmanager
    def _finished(self, target: Path) -> Iterator[Path]:
        """Give a hidden name beside the target, and see to it that nothing is left there."""
        hidden = target.parent / f".{uuid.uuid4().hex}.tmp"
        try:
            with explained(str(target), writing=True):
                target.parent.mkdir(parents=True, exist_ok=True)
            yield hidden
        finally:
            with contextlib.suppress(OSError):
                hidden.unlink()

    def adopt(self, attempt: str, path: str) -> str:
        target = self._path(path)
        with explained(str(target), writing=True):
            target.parent.mkdir(parents=True, exist_ok=True)
        self._rename(self._path(attempt), target)
        return path

    @staticmethod
    def _rename(source: Path, target: Path) -> None:
        with explained(str(target), writing=True):
            source.replace(target)
            _sync_folder(target.parent)

    def delete(self, path: str) -> None:
        with explained(str(self._path(path)), writing=True):
            self._path(path).unlink(missing_ok=True)

    def delete_tree(self, prefix: str) -> None:
        with explained(str(self._path(prefix)), writing=True), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._path(prefix))

    def delete_unfinished(self, prefix: str) -> None:
        for folder, _, names in os.walk(self._path(prefix)):
            for name in filter(is_unfinished, names):
                with explained(folder, writing=True), contextlib.suppress(FileNotFoundError):
                    Path(folder, name).unlink()


def _linked(hidden: Path, target: Path, data: bytes) -> bool:
    """Give a finished file its name if that is free; atomic also over NFS, where a reply may be lost."""
    try:
        os.link(hidden, target)
    except FileExistsError:
        return hidden.stat().st_nlink == 2  # ours after all: the link was made, only the answer was lost
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        return _made_exclusively(target, data)
    _sync_folder(target.parent)
    return True


def _made_exclusively(target: Path, data: bytes) -> bool:
    """Do the same where files have one name only (FAT, some network and FUSE mounts); readers may see it half written."""
    try:
        _write_new(target, data)
    except FileExistsError:
        return False
    _sync_folder(target.parent)
    return True


def _write_new(path: Path, data: bytes) -> None:
    with open(path, "xb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _walk(folder: str, relative: str, above: frozenset[tuple[int, int]]) -> Iterator[FileInfo]:
    """Yield the files below a folder, through links; a link that leads back to a folder above is not followed."""
    with contextlib.suppress(FileNotFoundError):  # removed while we look
        stat = Path(folder).stat()
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            return
        for entry in os.scandir(folder):
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir():
                yield from _walk(entry.path, path, above | {here})
            elif entry.is_file() and not is_unfinished(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    yield LocalStorage._file_info(path, entry.stat())


def _sync_folder(folder: Path) -> None:
    """Make a new name durable: without it a power cut may forget the name, though not the bytes."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
