"""The interface of a place to keep files, and how a path or URL becomes one."""

from __future__ import annotations

import posixpath
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol
from urllib.parse import unquote

import pyarrow as pa

from curate.errors import PipelineError
from curate.storage.logs import Log

REMOTE_SCHEMES = ("s3", "s3a", "gs", "az", "abfs", "abfss", "http", "https")


@dataclass(frozen=True, slots=True, order=True)
class FileInfo:
    """One file of a listing: `etag` is the store's entity tag, or size and modification time on a local disk."""

    path: str
    size: int
    etag: str


class Storage(Protocol):
    """What the engine needs of a place to keep files; implementations are cheap to pickle and to rebuild.

    Errors: `DatasetError` for a file that is missing or cannot be read, `WorkspaceError` for a place that cannot be
    written, `TransientError` with cause `storage` for a store that does not answer or asks for patience.
    """

    url: str

    def list(self, prefix: str = "") -> list[FileInfo]:
        """Return every file below the folder `prefix` (or that one file), sorted by path; an absent one is an empty list.

        Files that `write` and `open_output` are still making (`.….tmp`) are left out.
        """

    def info(self, path: str) -> FileInfo | None:
        """Return one file's size and etag, or None when there is no such file."""

    def read(self, path: str) -> bytes:
        """Return the whole file; raise `DatasetError` when it is missing."""

    def open_input(self, path: str) -> BinaryIO:
        """Open a seekable stream of bytes."""

    def open_arrow(self, path: str) -> pa.NativeFile:
        """Open a file for Arrow's readers."""

    def open_output(self, path: str) -> AbstractContextManager[BinaryIO]:
        """Open a file that appears, whole and durable, once the context is left, and never if it is left by an error."""

    def write(self, path: str, data: bytes) -> None:
        """Replace or make the file, atomically."""

    def open_log(self, path: str) -> Log:
        """Open a new file that grows line by line; until it is closed, an object store shows it as `<path>.00000`, `<path>.00001`, …"""

    def create(self, path: str, data: bytes) -> bool:
        """Make the file if there is none and say whether this call made it."""

    def adopt(self, attempt: str, path: str) -> str:
        """Give an attempt's finished file its final name if the store can rename; return the name it has now."""

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is no error."""

    def delete_tree(self, prefix: str) -> None:
        """Remove every file below the folder `prefix`, unfinished ones included."""

    def delete_unfinished(self, prefix: str) -> None:
        """Remove what writers that were killed have left below `prefix`; listings never show it."""


def join(*parts: str) -> str:
    """Join storage paths with `/`, leaving out empty parts."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))


def is_remote(url: str) -> bool:
    """Tell an object-store URL from a local path."""
    scheme, found, _ = url.partition("://")
    return bool(found) and scheme in REMOTE_SCHEMES


def open_storage(url: str) -> Storage:
    """Return the storage rooted at a local folder, a `file://` URL, or an object-store URL such as `s3://bucket/prefix`."""
    from curate.storage.local import LocalStorage
    from curate.storage.objects import ObjectStorage

    if is_remote(url):
        return ObjectStorage(url)
    scheme, found, rest = url.partition("://")
    if found and scheme != "file" and scheme.isalnum():
        raise PipelineError(f"{url}: unknown kind of URL", f"known are a local path, file and {', '.join(REMOTE_SCHEMES)}")
    return LocalStorage(unquote(rest.removeprefix("localhost")) if scheme == "file" and found else url)


def open_file(url: str) -> tuple[Storage, str]:
    """Return the storage of the folder that holds one file, and the file's name in it."""
    folder, _, name = url.rstrip("/").rpartition("/")
    if folder.endswith(":/"):
        raise PipelineError(f"{url}: names a bucket, not a file in it")
    return open_storage(folder or ("/" if url.startswith("/") else ".")), name


def inside(root: str, path: str) -> str:
    """Return the key of a path below a root; `..` may lead to a sibling folder, but not out of the bucket."""
    key = posixpath.normpath(join(root, path)) if join(root, path) else ""
    if key == ".." or key.startswith("../"):
        raise PipelineError(f"{path}: leads out of the bucket")
    return "" if key == "." else key


def is_unfinished(name: str) -> bool:
    """Tell the name of a file that is still being made."""
    return name.startswith(".") and name.endswith(".tmp")
