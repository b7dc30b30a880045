"""Reads Arrow IPC streams and files, as `datasets.save_to_disk` leaves them; emits their columns and `id`, `text`, `source`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from curate.readers import batches
from curate.readers.base import ReadBatch, ReadOptions, RowError, Slice
from curate.readers.schema import document_schema, union
from curate.readers.streams import verify_unchanged
from curate.storage import FileInfo, Storage

_FILE_MAGIC = b"ARROW1"


class ArrowReader:
    """Arrow files are not cut; memory is bounded by the record batches that their writer made."""

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        found = ((f"{storage.url}/{file.path}", _schema(storage, file)) for file in files)
        return document_schema(union((where, schema) for where, schema in found if schema is not None), options)

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        return [Slice(file, 0, None, file.size)]

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        verify_unchanged(storage, part.file)
        row = 0
        try:
            for batch in _record_batches(storage, part.file):
                for piece in _pieces(batch, options.batch_bytes):
                    yield batches.tabular(piece, row, part, schema, options)
                    row += piece.num_rows
        except (pa.ArrowException, OSError, EOFError) as error:
            yield batches.empty(schema, errors=[_unreadable(options, part.file.path, row, error)])
        verify_unchanged(storage, part.file)


def _schema(storage: Storage, file: FileInfo) -> pa.Schema | None:
    try:
        with storage.open_arrow(file.path) as raw:
            return _open(raw).schema
    except (pa.ArrowException, OSError, EOFError):
        return None


def _open(raw: pa.NativeFile) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
    head = raw.read(len(_FILE_MAGIC))
    raw.seek(0)
    return pa.ipc.open_file(raw) if head == _FILE_MAGIC else pa.ipc.open_stream(raw)


def _record_batches(storage: Storage, file: FileInfo) -> Iterator[pa.RecordBatch]:
    with storage.open_arrow(file.path) as raw:
        opened = _open(raw)
        if isinstance(opened, pa.ipc.RecordBatchFileReader):
            for index in range(opened.num_record_batches):
                yield opened.get_batch(index)
        else:
            yield from opened
            _check_end(raw, file)


def _check_end(raw: pa.NativeFile, file: FileInfo) -> None:
    """Raise unless the stream has its end mark: Arrow takes one that is cut between two batches for whole."""
    raw.seek(max(file.size - 8, 0))
    if raw.read(8) != b"\xff\xff\xff\xff\0\0\0\0":
        raise pa.ArrowInvalid("the stream has no end mark: it is cut between two record batches")


def _pieces(batch: pa.RecordBatch, batch_bytes: int) -> Iterator[pa.RecordBatch]:
    rows = max(1, min(batch.num_rows, batch.num_rows * batch_bytes // max(batch.nbytes, 1)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _unreadable(options: ReadOptions, path: str, row: int, error: Exception) -> RowError:
    where = batches.derived_id(options, path, row) if row else f"{options.input}/{path}"
    what = f"rows from {row} on are unreadable" if row else "not a readable Arrow file"
    return RowError(where, f"{what}: {' '.join(str(error).split())[:300]}")
