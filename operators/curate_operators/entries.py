"""Lists that users supply: entries from files, and sets of millions of strings that whole columns are looked up in.

A list is a text file with one entry a line; blank lines and lines that begin with `#` count for nothing. It may be compressed
with gzip. Many lists may come as a folder or as a tar archive, such as the categories of the University of Toulouse
(`adult/domains`, `adult/urls`); files and archives may lie in an object store.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import PipelineError
from curate.storage import is_remote, open_file

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
Places = np.ndarray[Any, np.dtype[np.int64]]


def entries(given: str | tuple[str, ...], name: str) -> pa.Array:
    """Return the entries of a parameter, white space around them removed: a path, or the entries themselves.

    Of a folder or an archive, all files called `name` are read (with or without `.txt` and `.gz`). Raises `PipelineError` when there
    is nothing to read, or no entry in it.
    """
    if not isinstance(given, str):
        return some(lines("\n".join(given).encode(), name), name)
    parts = [lines(data, f"{given} ({name})") for _, data in named_files(given, name)]
    if not parts:
        raise PipelineError(f"{given} has no file `{name}`", f"lists in folders and archives are called `{name}`, as in `adult/{name}`")
    return some(pa.concat_arrays(parts), given)


def some(found: pa.Array, where: str) -> pa.Array:
    """Return entries; raise `PipelineError` when there is none."""
    if not len(found):
        raise PipelineError(f"{where}: the list has no entries", "one entry a line; lines that begin with `#` are comments")
    return found


def named_files(path: str, name: str | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (stem, content) of one file, or of the files in a folder or archive called `name` (None = of all but hidden ones)."""
    if not is_remote(path) and Path(path).is_dir():
        for found in sorted(Path(path).rglob("*")):
            if found.is_file() and _is_wanted(found.name, name):
                yield stem(found.name), _unpacked(found.name, found.read_bytes())
    elif path.endswith(TARS):
        yield from _members(path, _read(path), name)
    else:
        yield stem(path), _unpacked(path, _read(path))


def _read(path: str) -> bytes:
    """Return the bytes of a file here or in an object store."""
    if is_remote(path):
        storage, file = open_file(path)
        if storage.info(file) is None and storage.list(file):
            raise PipelineError(
                f"{path}: is a folder in an object store", "pack the lists (`tar czf lists.tar.gz lists`), or name one file"
            )
        return storage.read(file)
    if not Path(path).is_file():
        raise PipelineError(
            f"no such file or folder: {path}", "paths are relative to the pipeline file; entries themselves go into a list: [a, b]"
        )
    return Path(path).read_bytes()


def stem(path: str) -> str:
    """Return a file's name without folders, `.gz` and `.txt`."""
    return path.rpartition("/")[2].removesuffix(".gz").removesuffix(".txt")


def _members(path: str, packed: bytes, name: str | None) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for member in archive:
                data = archive.extractfile(member) if member.isfile() and _is_wanted(member.name, name) else None
                if data is not None:
                    yield stem(member.name), _unpacked(member.name, data.read())
    except tarfile.TarError as error:
        raise PipelineError(f"{path}: is no tar archive: {error}", f"archives end in {', '.join(TARS)}") from error


def _is_wanted(path: str, name: str | None) -> bool:
    """Tell whether a file is called `name`; without a name, whether it is not hidden, as what file managers leave behind."""
    return stem(path) == name if name is not None else not path.rpartition("/")[2].startswith(".")


def _unpacked(name: str, data: bytes) -> bytes:
    return gzip.decompress(data) if name.endswith(".gz") else data


def lines(data: bytes, where: str) -> pa.Array:
    """Return the entries of a list; bytes that are no UTF-8 are read as Latin-1, and a NUL byte is an error."""
    if b"\0" in data:
        raise PipelineError(f"{where}: is no list but binary, or text in UTF-16", f"lists are UTF-8; archives end in {', '.join(TARS)}")
    lines = pc.split_pattern(_as_one(data.removeprefix(b"\xef\xbb\xbf")), "\n").flatten()
    lines = pc.utf8_trim_whitespace(lines)
    return lines.filter(pc.and_(pc.not_equal(lines, ""), pc.invert(pc.starts_with(lines, "#"))))


def _as_one(data: bytes) -> pa.Array:
    """Return an array of one string over the bytes themselves."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("latin-1").encode()
    offsets = pa.py_buffer(np.array([0, len(data)], dtype=np.int64))
    return pa.LargeStringArray.from_buffers(1, offsets, pa.py_buffer(data))


class Entries:
    """A set of strings for looking up whole columns: 64-bit hashes in order, with the strings beside them to make sure.

    Building `pa.compute.is_in`'s table anew for each batch would cost more than the batch (4.6 million domains: 0.6 s). A string takes its
    bytes and 20 more. Of two entries with one hash (chance 10⁻⁶ in 5 million) the second is lost; nothing unlisted is ever found.
    """

    def __init__(self, values: pa.Array) -> None:
        self.values = pc.cast(pc.drop_null(values), pa.large_string())
        hashes = _hashes(self.values)
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._order = order.astype(np.uint32)

    def __len__(self) -> int:
        return len(self.values)

    def find(self, values: pa.Array) -> Places:
        """Return a number for each string that is in the set, the same for the same string, and -1 for the others."""
        found = np.full(len(values), -1, dtype=np.int64)
        if not len(self) or not len(values):
            return found
        hashes = _hashes(values)
        place = np.minimum(np.searchsorted(self._hashes, hashes), len(self) - 1)
        rows = np.flatnonzero(self._hashes[place] == hashes)
        known = self.values.take(pa.array(self._order[place[rows]]))
        same = pc.fill_null(pc.equal(known, pc.cast(values.take(pa.array(rows)), pa.large_string())), False)
        rows = rows[same.to_numpy(zero_copy_only=False)]
        found[rows] = place[rows]
        return found


def _hashes(values: pa.Array) -> np.ndarray[Any, np.dtype[np.uint64]]:
    import polars as pl

    return pl.Series(values=values, dtype=pl.String).hash(0).to_numpy()
