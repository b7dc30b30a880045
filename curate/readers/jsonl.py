"""Reads JSON Lines, plain (cut by byte ranges) or compressed; emits the objects' keys as columns, and `extra`.

The schema comes from a sample. What the sample did not show is never lost: such keys go to `extra` (large_string) as
one JSON object per row, and a value that does not fit its column's type makes its row an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from curate.errors import DatasetError
from curate.readers.base import ReadBatch, ReadOptions, Slice
from curate.readers.json_rows import EXTRA, JsonRows
from curate.readers.json_types import infer, resolve
from curate.readers.lines import lines, lines_of_slice
from curate.readers.schema import Evidence, Incompatible, document_schema, widen
from curate.readers.streams import Piece, compression, pieces, verify_unchanged
from curate.storage import FileInfo, Storage

_SAMPLE_FILES = 64
_SAMPLE_BYTES = 1 << 20
_THREADS = 16


class JsonlReader:
    """One JSON object per line; a slice owns the lines that start in its byte range."""

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        chosen = [file for file in _evenly(files, _SAMPLE_FILES) if file.size]
        with ThreadPoolExecutor(_THREADS) as pool:
            samples = pool.map(partial(_sample, storage, options.max_record_bytes), chosen)
            columns = _columns(sample for found in samples for sample in found)
        known = {}
        for key, (kind, where) in columns.items():
            resolved = pa.string() if key == options.text and pa.types.is_null(kind) else resolve(kind)
            if resolved is not None and key != EXTRA:
                known[key] = (resolved, where)
        return document_schema(known, options).append(pa.field(EXTRA, pa.large_string()))

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        if file.size <= target_bytes or compression(storage, file.path):
            return [Slice(file, 0, None, file.size)]
        cuts = [*range(0, file.size, target_bytes), file.size]
        return [Slice(file, start, stop, stop - start) for start, stop in pairwise(cuts)]

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        verify_unchanged(storage, part.file)
        rows = JsonRows(schema, options, part.file.path)
        with contextlib.closing(pieces(storage, part.file.path, max(part.start - 1, 0))) as stream:
            for line in lines_of_slice(stream, part.start, part.stop, options.max_record_bytes):
                rows.add(line)
                if rows.full:
                    yield rows.take()
        if not rows.is_empty:
            yield rows.take()
        verify_unchanged(storage, part.file)


class _Sampled(NamedTuple):
    where: str
    value: dict[str, Any]


def _evenly(files: Sequence[FileInfo], count: int) -> list[FileInfo]:
    """Return up to `count` files spread over the listing, first and last included."""
    if len(files) <= count:
        return list(files)
    return [files[round(index * (len(files) - 1) / (count - 1))] for index in range(count)]


def _sample(storage: Storage, max_bytes: int, file: FileInfo) -> list[_Sampled]:
    """Return the objects of the first megabyte of a file, at least one line; broken lines tell nothing."""
    found: list[_Sampled] = []
    where = f"{storage.url}/{file.path}"
    with contextlib.closing(pieces(storage, file.path)) as stream:
        for number, line in enumerate(lines(_first(stream, max_bytes + _SAMPLE_BYTES), 0, max_bytes), 1):
            data = (line.data or b"").removeprefix(b"\xef\xbb\xbf").strip()
            if number == 1 and data.startswith(b"["):
                raise DatasetError(f"{where} holds a JSON array, not one object per line", "convert it: jq -c '.[]' FILE > FILE.jsonl")
            with contextlib.suppress(orjson.JSONDecodeError):
                value = orjson.loads(data) if data else None
                if isinstance(value, dict):
                    found.append(_Sampled(f"{where} line {number}", value))
            if line.offset + line.size > _SAMPLE_BYTES:
                break
    return found


def _first(stream: Iterable[Piece], size: int) -> Iterator[Piece]:
    """Yield pieces up to about this size: a bomb is not unpacked to be sampled."""
    for piece in stream:
        yield piece
        size -= len(piece.data)
        if size < 0:
            return


def _columns(samples: Iterator[_Sampled]) -> dict[str, Evidence]:
    """Return the types of all keys; those with a list such as `[3, "NAME"]`, which no Arrow type holds, are left to `extra`."""
    columns: dict[str, Evidence] = {}
    mixed = set()
    for where, value in samples:
        for key, item in value.items():
            try:
                columns[key] = widen(key, columns.get(key), (infer(item), where))
            except Incompatible:
                mixed.add(key)
    return {key: evidence for key, evidence in columns.items() if key not in mixed}
