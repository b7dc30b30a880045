"""Writes shards whose bytes depend on the rows alone: one place sets every Parquet option.

Rows arrive in batches of any size and leave in row groups cut by a rule that looks only at the rows: a group ends after
the row with which its values reach `ROW_GROUP_BYTES`, or its rows `ROW_GROUP_ROWS`. Chunks are joined
before they are written, since Parquet's page boundaries follow Arrow's chunks. Byte identity is promised for equal
versions of curate and pyarrow, row identity across versions.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROW_GROUP_BYTES = 32 << 20
ROW_GROUP_ROWS = 1 << 17
ZSTD_LEVEL = 3
Sizes = np.ndarray[Any, np.dtype[np.int64]]
_WIDE = ("text", "html", "id", "before", "after")  # no dictionary: values hardly repeat. No statistics but for `id`


class HashingFile(io.RawIOBase):
    """Passes bytes on to a file, counts them and takes their SHA-256."""

    def __init__(self, out: BinaryIO) -> None:
        self._out: BinaryIO | None = out
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        if self._out is not None:
            self._hash.update(data)
            self._out.write(data)
            self.size += size
        return size

    def abandon(self) -> None:
        """Take what is still written and pass none of it on."""
        self._out = None

    def tell(self) -> int:
        return self.size

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hex."""
        return self._hash.hexdigest()


class ParquetShard:
    """One Parquet file being written; close it before the bytes are whole."""

    def __init__(self, out: BinaryIO, schema: pa.Schema) -> None:
        self.file = HashingFile(out)
        self.schema = schema
        self.rows = 0
        names = schema.names
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self.file, "w"),
            schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=[n for n in names if n not in _WIDE],
            write_statistics=[n for n in names if n not in _WIDE or n == "id"],
        )
        self._pending: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; whole row groups go to the file."""
        while batch.num_rows:
            taken, full = self._fits(batch)
            self._pending.append(batch.slice(0, taken))
            self._rows += taken
            if full:
                self._flush()
            batch = batch.slice(taken)

    def _fits(self, batch: pa.RecordBatch) -> tuple[int, bool]:
        """Return how many rows still belong to the open row group, and whether they complete it."""
        sizes = np.cumsum(row_bytes(batch))
        by_bytes = int(np.searchsorted(sizes, ROW_GROUP_BYTES - self._bytes)) + 1
        by_rows = ROW_GROUP_ROWS - self._rows
        limit = min(by_bytes, by_rows)
        if limit <= batch.num_rows:
            return limit, True
        self._bytes += int(sizes[-1])
        return batch.num_rows, False

    def _flush(self) -> None:
        table = pa.Table.from_batches(self._pending, self.schema).combine_chunks()
        self._pending = []
        self.rows += self._rows
        self._writer.write_table(table, row_group_size=max(1, self._rows))
        self._rows = self._bytes = 0

    def abandon(self) -> None:
        """Give the file up, so that nothing is written to it any more."""
        self._pending = []
        self.file.abandon()  # Arrow's writer ends its file even when it is merely forgotten
        self._writer.is_open = False

    def close(self) -> None:
        """Write the last row group and the footer."""
        if self._rows:
            self._flush()
        self._writer.close()


def row_bytes(batch: pa.RecordBatch) -> Sizes:
    """Return each row's bytes: 8 per value, and what strings, binaries and lists hold beyond that."""
    total: Sizes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        total += _value_bytes(column)
    return total


def _value_bytes(column: pa.Array) -> Sizes:
    types, kind = pa.types, column.type
    if types.is_map(kind):
        return _value_bytes(column.cast(pa.list_(pa.struct([kind.key_field, kind.item_field]))))
    size: Sizes = np.full(len(column), 8, dtype=np.int64)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        size += _numbers(pc.binary_length(column))
    elif types.is_struct(kind):
        for child in column.flatten():
            size += _value_bytes(child)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = _numbers(pc.list_value_length(column))
        edges = np.concatenate(([0], np.cumsum(lengths)))
        inside = np.concatenate(([0], np.cumsum(_value_bytes(column.flatten()))))
        size += inside[edges[1:]] - inside[edges[:-1]]
    return size


def _numbers(lengths: pa.Array) -> Sizes:
    return np.asarray(pc.fill_null(lengths, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
