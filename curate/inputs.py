"""Turns an input of a pipeline into a frozen listing of files, tells their identities, and groups them into work units.

All of it is a function of the files and a byte target: workers, batch sizes and machines never matter. Paths in a
listing are relative to the folder before the first wildcard, so that ids stay when the data moves to another place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xxhash

from curate.errors import DatasetError, PipelineError
from curate.pipeline import Input
from curate.readers import paths
from curate.readers.base import Format, Reader, Slice
from curate.readers.formats import format_of
from curate.readers.streams import verify_unchanged
from curate.storage import FileInfo, LocalStorage, Storage, is_remote, open_storage

__all__ = ["Listing", "content_identities", "list_input", "units", "verify_unchanged"]

_THREADS = 16
_HASH_CHUNK = 1 << 20
_SIDECARS = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "README.md"})
"""What Hugging Face puts beside data; data only when there is nothing else."""


@dataclass(frozen=True)
class Listing:
    """The files of one input as they were when it was planned, sorted by path; paths are relative to `storage_url`.

    `captures` gives, for each path, the columns that the pattern's `{name}` parts stand for.
    """

    name: str
    storage_url: str
    files: tuple[FileInfo, ...]
    format: Format
    captures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def storage(self) -> Storage:
        """The storage that the paths are relative to."""
        return open_storage(self.storage_url)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.size for file in self.files)


def list_input(name: str, spec: Input, folder: Path) -> Listing:
    """List the files of an input; local paths are relative to `folder`. Raises `PipelineError` when there are none."""
    for path in spec.paths:
        if "://" in path and not is_remote(path) and not path.startswith("file://"):
            raise PipelineError(f"input `{name}`: unknown kind of place: {path}", "a local path, or s3://, gs://, az://, http(s)://")
    patterns = [paths.parse(path, str(folder.expanduser().absolute())) for path in spec.paths]
    if not patterns:
        raise PipelineError(f"input `{name}` has no path")
    root = _common_root(name, [pattern.root for pattern in patterns])
    files: dict[str, FileInfo] = {}
    captures: dict[str, Mapping[str, str]] = {}
    chosen: Format | None = spec.format
    for pattern in patterns:
        chosen, found = _usable(pattern, chosen, fixed=spec.format is not None)
        prefix = pattern.root[len(root) :].strip("/")
        for item in found:
            path = f"{prefix}/{item.file.path}" if prefix else item.file.path
            files[path] = FileInfo(path, item.file.size, item.file.etag)
            if item.captures:
                captures[path] = item.captures
    assert chosen is not None, "every usable file has a format"
    ordered = tuple(files[path] for path in sorted(files))
    return Listing(name, root, ordered, chosen, {path: captures[path] for path in sorted(captures)})


def _common_root(name: str, roots: list[str]) -> str:
    if len({root.split("/")[2] if is_remote(root) else "" for root in roots}) > 1 or len({is_remote(root) for root in roots}) > 1:
        raise PipelineError(f"input `{name}` mixes places: {', '.join(roots)}", "make one input per bucket, and list both in `from:`")
    parts = [root.rstrip("/").split("/") for root in roots]
    common = [segments[0] for segments in itertools.takewhile(lambda same: len(set(same)) == 1, zip(*parts, strict=False))]
    return "/".join(common) or "/"


def _usable(pattern: paths.Pattern, known: Format | None, fixed: bool) -> tuple[Format, list[paths.Found]]:
    """Return the format and the files of one pattern that have it.

    A format that the pipeline sets (`fixed`) chooses among a folder's files, and is believed for files named one by one.
    """
    found = _without_sidecars(paths.find(pattern))
    if not found:
        raise paths.missing(pattern)
    if fixed and known is not None:
        kept = [item for item in found if not item.by_folder or _format(pattern, item) == known]
        if not kept:
            raise PipelineError(f"no {known} file in {pattern.root}/{pattern.rest}", f"it holds {_format(pattern, found[0])} files")
        return known, kept
    first = found[0]
    for item in found:
        told = _format(pattern, item)
        if known is not None and told != known:
            other = f"{first.file.path} is {known}" if item is not first else f"files of other paths are {known}"
            raise PipelineError(f"the files have different formats: {other}, {item.file.path} is {told}", "choose one with `format:`")
        known = told
    return _format(pattern, first), found


def _format(pattern: paths.Pattern, item: paths.Found) -> Format:
    told = format_of(item.file.path)
    if told is None:
        glob = "name the files that you mean with a glob, such as `folder/**/*.jsonl`"
        hint = glob if item.by_folder else "say what it is with `format:`"
        raise PipelineError(f"cannot tell the format of {pattern.root}/{item.file.path} by its name", hint)
    return told


def _without_sidecars(found: list[paths.Found]) -> list[paths.Found]:
    data = [item for item in found if not item.by_folder or item.file.path.rpartition("/")[2] not in _SIDECARS]
    only_text = all(format_of(item.file.path) == "text" for item in data)
    readmes = [item for item in found if item.by_folder and item.file.path.endswith("README.md")] if only_text else []
    return sorted([*data, *readmes], key=lambda item: item.file.path)


def content_identities(listing: Listing, cache: dict[str, Any]) -> tuple[tuple[str, int, str], ...]:
    """Return (path, size, identity) for every file: the store's etag, or on a local disk the hash of its content.

    `cache` maps an absolute path to [size, mtime_ns, identity]; it is updated, so that an unchanged file is hashed once.
    """
    storage = listing.storage
    if not isinstance(storage, LocalStorage):
        return tuple((file.path, file.size, file.etag) for file in listing.files)
    with ThreadPoolExecutor(_THREADS) as pool:  # xxhash lets other threads run while it works
        identities = list(pool.map(lambda file: _local_identity(storage.root / file.path, cache), listing.files))
    return tuple((file.path, file.size, identity) for file, identity in zip(listing.files, identities, strict=True))


def _local_identity(path: Path, cache: dict[str, Any]) -> str:
    try:
        stat = path.stat()
        key, stamp = str(path), [stat.st_size, stat.st_mtime_ns]
        known = cache.get(key)
        if known is not None and list(known[:2]) == stamp:
            return str(known[2])
        digest = xxhash.xxh3_128()
        with open(path, "rb") as file:
            while chunk := file.read(_HASH_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise PipelineError(f"cannot read input file {path}: {error.strerror}") from error
    cache[key] = [*stamp, f"xxh3:{digest.hexdigest()}"]
    return str(cache[key][2])


def units(listing: Listing, reader: Reader, target_bytes: int) -> list[tuple[Slice, ...]]:
    """Group the listing into work units of at least `target_bytes`, the last perhaps smaller.

    Files beyond the target are cut by the reader. Files appended to the listing change no unit but the last.
    """
    storage = listing.storage
    with ThreadPoolExecutor(_THREADS) as pool:
        slices = pool.map(lambda file: _split(reader, storage, file, target_bytes), listing.files)
        return _grouped((part for parts in slices for part in parts), target_bytes)


def _split(reader: Reader, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
    try:
        return reader.split(storage, file, target_bytes)
    except DatasetError:
        verify_unchanged(storage, file)  # says so when the file is no longer the one that was listed
        raise


def _grouped(slices: Iterable[Slice], target_bytes: int) -> list[tuple[Slice, ...]]:
    groups: list[tuple[Slice, ...]] = []
    group: list[Slice] = []
    size = 0
    for part in slices:
        group.append(part)
        size += part.size
        if size >= target_bytes:
            groups.append(tuple(group))
            group, size = [], 0
    return [*groups, tuple(group)] if group else groups
