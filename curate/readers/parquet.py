"""Reads Parquet in bounded memory, cut by row groups; emits the files' own columns and `id`, `text`, `source`.

Peak memory is that of one batch and one page per column: row groups are streamed (`pre_buffer=False`, a 1 MB buffer per
column), never loaded whole.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from curate.readers import batches
from curate.readers.base import ReadBatch, ReadOptions, RowError, Slice
from curate.readers.schema import document_schema, union
from curate.readers.streams import verify_unchanged
from curate.storage import FileInfo, Storage

_FOOTER_THREADS = 16
_MAX_ROWS = 64 << 10
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)


class ParquetReader:
    """Parquet files; a slice counts row groups."""

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
            schemas = list(pool.map(functools.partial(_footer_schema, storage), files))
        read = ((f"{storage.url}/{file.path}", schema) for file, schema in zip(files, schemas, strict=True) if schema is not None)
        return document_schema(union(read), options)

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        whole = [Slice(file, 0, None, file.size)]
        if file.size <= target_bytes:
            return whole
        try:
            with storage.open_arrow(file.path) as raw:
                footer = _open(raw).metadata
        except _DAMAGE:
            return whole
        return _cut(file, _shares(footer, file.size), target_bytes) or whole

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        verify_unchanged(storage, part.file)
        try:
            with storage.open_arrow(part.file.path) as raw:
                footer = _open(raw).metadata
        except _DAMAGE as error:
            yield batches.empty(schema, errors=[_unreadable(options, part.file.path, error)])
            return
        starts = _first_rows(footer)
        for group in range(part.start, footer.num_row_groups if part.stop is None else part.stop):
            rows = _Rows(storage, part, group, starts[group], starts[group + 1])
            for first, batch in rows.read(_batch_rows(footer.row_group(group), options.batch_bytes)):
                yield batches.tabular(batch, first, part, schema, options)
            if rows.error is not None:
                yield batches.empty(schema, errors=[rows.row_error(options)])
        verify_unchanged(storage, part.file)


class _Rows:
    """The rows of one row group. After damage it goes on row by row up to the first that cannot be decoded, so that

    what is saved does not depend on the batch size; the rest of the group is one error.
    """

    def __init__(self, storage: Storage, part: Slice, group: int, start: int, stop: int) -> None:
        self.storage, self.part, self.group = storage, part, group
        self.at, self.stop = start, stop
        self.start = start
        self.error: Exception | None = None

    def read(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        yield from self._stream(batch_rows)
        if self.error is not None and batch_rows > 1:
            self.error = None
            yield from self._stream(1)

    def _stream(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        skip = self.at - self.start
        try:
            with self.storage.open_arrow(self.part.file.path) as raw:
                for batch in _open(raw).iter_batches(batch_rows, row_groups=[self.group], use_threads=False):
                    if skip >= batch.num_rows:
                        skip -= batch.num_rows
                        continue
                    yield self.at, batch[skip:]
                    self.at, skip = self.at + batch.num_rows - skip, 0
            if self.at < self.stop:  # Arrow ends quietly when a page holds fewer values than it says
                raise pa.ArrowInvalid("the row group ends early")
        except _DAMAGE as error:
            self.error = error

    def row_error(self, options: ReadOptions) -> RowError:
        """Return the error that stands for the rows which cannot be decoded."""
        lost = f"rows {self.at}-{self.stop - 1} unreadable ({self.stop - self.at} rows)"
        return RowError(batches.derived_id(options, self.part.file.path, self.at), f"{lost}: {_one_line(self.error)}", self.stop - self.at)


def unpacked(storage: Storage, files: Sequence[FileInfo]) -> tuple[int, int]:
    """Return about how many bytes all columns of files take without compression, and how many rows, by the footers of some of them.

    Where none can be read, the bytes are those of the files, and the rows 0.
    """
    chosen = files[:: -(-len(files) // _FOOTER_THREADS)] if files else files
    with ThreadPoolExecutor(_FOOTER_THREADS) as pool:
        footers = list(pool.map(functools.partial(_unpacked, storage), chosen))
    read = sum(file.size for file, footer in zip(chosen, footers, strict=True) if footer is not None)
    whole = sum(file.size for file in files)
    if not read:
        return whole, 0
    unpacked_bytes, rows = (sum(numbers) for numbers in zip(*filter(None, footers), strict=True))
    return whole * unpacked_bytes // read, whole * rows // read


def _unpacked(storage: Storage, file: FileInfo) -> tuple[int, int] | None:
    """Return what the row groups of a file take without compression, and its rows; None for one that cannot be read."""
    try:
        with storage.open_arrow(file.path) as raw:
            footer = _open(raw).metadata
    except _DAMAGE:
        return None
    return sum(int(footer.row_group(group).total_byte_size) for group in range(footer.num_row_groups)), int(footer.num_rows)


def _open(raw: pa.NativeFile) -> pq.ParquetFile:
    return pq.ParquetFile(raw, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)


def _footer_schema(storage: Storage, file: FileInfo) -> pa.Schema | None:
    try:
        with storage.open_arrow(file.path) as raw:
            return _open(raw).schema_arrow
    except _DAMAGE:
        return None


def _shares(footer: pq.FileMetaData, size: int) -> list[int]:
    """Return the row groups' shares of the file's bytes, by their uncompressed sizes.

    The compressed ones are per column, and looking at a column's record ends the process when a footer is damaged.
    """
    sizes = [int(footer.row_group(group).total_byte_size) for group in range(footer.num_row_groups)]
    return [part * size // max(sum(sizes), 1) for part in sizes]


def _cut(file: FileInfo, sizes: Sequence[int], target_bytes: int) -> list[Slice]:
    slices, start, size = [], 0, 0
    for group, bytes_ in enumerate(sizes):
        size += bytes_
        if size >= target_bytes or group == len(sizes) - 1:
            slices.append(Slice(file, start, group + 1, size))
            start, size = group + 1, 0
    return slices


def _first_rows(footer: pq.FileMetaData) -> list[int]:
    starts = [0]
    for group in range(footer.num_row_groups):
        starts.append(starts[-1] + footer.row_group(group).num_rows)
    return starts


def _batch_rows(group: pq.RowGroupMetaData, batch_bytes: int) -> int:
    """Return how many rows hold about `batch_bytes`, by the row group's average."""
    row_bytes = max(group.total_byte_size // max(group.num_rows, 1), 1)
    return max(1, min(batch_bytes // int(row_bytes), _MAX_ROWS))


def _unreadable(options: ReadOptions, path: str, error: Exception) -> RowError:
    return RowError(f"{options.input}/{path}", f"not a readable Parquet file: {_one_line(error)}")


def _one_line(error: Exception | None) -> str:
    return " ".join(str(error).split())[:300]
