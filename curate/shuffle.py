"""Moves rows between tasks: each map task writes one file, each reduce task reads exactly its ranges of every file.

A shuffle file is a run of flushes; within a flush rows lie in order of their partition, one Arrow IPC message per partition.
Behind each message stands its 64-bit xxh3 hash. The last bytes are a matrix of offsets (flushes × (partitions + 1), little-endian
uint64) and its hash, which the driver turns into the list of ranges of each partition. So there is no small-file storm, no footer to
parse per partition, and memory stays bounded by `FLUSH_BYTES` in a map task (less for few partitions) and by one message in a reduce
task.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

import numpy as np
import pyarrow as pa
import xxhash

from curate.dataset import join_url
from curate.errors import DatasetError
from curate.storage import Storage

FLUSH_BYTES = 64 << 20
LEAST_FLUSH, LEAST_RANGE = 8 << 20, 256 << 10  # a flush no larger than its ranges need stays in the cache
PARTITION_BYTES = 64 << 20  # what a reduce task is meant to hold at once

SUM_BYTES = 8  # the xxh3 hash behind each message and behind the matrix
AGAIN = "remove the stage's dataset folder and run again"

Partitions = np.ndarray[Any, np.dtype[Any]]
Opened = TypeVar("Opened")


@dataclass(frozen=True)
class ShuffleFile:
    """A finished shuffle file: where its matrix of offsets starts and how many flushes it has."""

    path: str
    matrix: int
    flushes: int
    partitions: int


@dataclass(frozen=True)
class Range:
    """Bytes of one partition in one file."""

    path: str
    start: int
    stop: int


def partitions_for(rows: int, row_bytes: int) -> int:
    """Return how many partitions keep each at about `PARTITION_BYTES`; a function of the data, not of the workers."""
    return max(1, -(-rows * row_bytes // PARTITION_BYTES))


class ShuffleWriter:
    """Writes one shuffle file; `close` returns where its offsets are."""

    def __init__(self, out: BinaryIO, path: str, partitions: int, schema: pa.Schema) -> None:
        self._out = out
        self._path = path
        self._partitions = partitions
        self._schema = schema
        self._full = min(FLUSH_BYTES, max(LEAST_FLUSH, partitions * LEAST_RANGE))
        self._buffer: list[tuple[Partitions, pa.RecordBatch]] = []
        self._buffered = 0
        self._offset = 0
        self._matrix: list[np.ndarray[Any, np.dtype[np.uint64]]] = []

    def write(self, partition: Partitions, batch: pa.RecordBatch) -> None:
        """Add rows; `partition` gives each row's partition, 0 ≤ p < partitions (else ValueError)."""
        if len(partition) != batch.num_rows or (len(partition) and not 0 <= partition.min() <= partition.max() < self._partitions):
            raise ValueError(f"{self._path}: every row needs a partition from 0 to {self._partitions - 1}")
        if not batch.schema.equals(self._schema):
            raise ValueError(f"{self._path}: rows have {batch.schema.names}, not {self._schema.names}, or other types")
        self._buffer.append((partition.astype(np.int64), batch))
        self._buffered += batch.nbytes
        if self._buffered >= self._full:
            self._flush()

    def close(self) -> ShuffleFile:
        """Write what is buffered and the matrix of offsets."""
        if self._buffer:
            self._flush()
        matrix = np.array(self._matrix, dtype="<u8").reshape(len(self._matrix), self._partitions + 1)
        self._out.write(matrix.tobytes())
        self._out.write(xxhash.xxh3_64_digest(matrix.tobytes()))
        return ShuffleFile(self._path, self._offset, len(self._matrix), self._partitions)

    def _flush(self) -> None:
        partition = np.concatenate([p for p, _ in self._buffer])
        rows = pa.concat_batches([b for _, b in self._buffer])
        self._buffer = []
        if np.any(partition[1:] < partition[:-1]):
            narrow = partition.astype(np.uint16) if self._partitions <= 1 << 16 else partition  # NumPy sorts these by counting
            order = np.argsort(narrow, kind="stable")
            partition, rows = partition[order], rows.take(pa.array(order))
        edges = np.searchsorted(partition, np.arange(self._partitions + 1))
        offsets = np.empty(self._partitions + 1, dtype=np.uint64)
        for p in range(self._partitions):
            offsets[p] = self._offset
            if edges[p + 1] > edges[p]:
                message = rows.slice(edges[p], edges[p + 1] - edges[p]).serialize()
                self._out.write(message)
                self._out.write(xxhash.xxh3_64_digest(message))
                self._offset += message.size + SUM_BYTES
        offsets[self._partitions] = self._offset
        self._matrix.append(offsets)
        self._buffered = 0


def ranges(storage: Storage, files: Sequence[ShuffleFile]) -> list[list[Range]]:
    """Return the ranges that make up each partition, in the order of the files."""
    if not files:
        return []
    result: list[list[Range]] = [[] for _ in range(files[0].partitions)]
    for file in files:
        with opened(storage.open_input, file.path) as stream:
            stream.seek(file.matrix)
            data = stream.read()
        if len(data) != file.flushes * (file.partitions + 1) * 8 + SUM_BYTES:
            raise damaged(storage, file.path, "cut short")
        matrix = np.frombuffer(verified(storage, file.path, data), dtype="<u8").reshape(file.flushes, file.partitions + 1)
        for row in matrix:
            for p in np.flatnonzero(row[1:] > row[:-1]):
                result[p].append(Range(file.path, int(row[p]), int(row[p + 1])))
    return result


def opened(way: Callable[[str], Opened], path: str) -> Opened:
    """Open an intermediate file; when it is gone, the error says how to go on."""
    try:
        return way(path)
    except DatasetError as error:
        error.hint = error.hint or AGAIN
        raise


def damaged(storage: Storage, path: str, how: str) -> DatasetError:
    return DatasetError(f"{join_url(storage.url, path)}: {how}", AGAIN)


def verified(storage: Storage, path: str, data: bytes) -> memoryview:
    """Return what was written before its hash: Arrow's messages have none, and a changed number would be another result."""
    written = memoryview(data)[:-SUM_BYTES]
    if xxhash.xxh3_64_digest(written) != data[-SUM_BYTES:]:
        raise damaged(storage, path, "damaged: its bytes are not those that were written")
    return written


def read(storage: Storage, parts: Sequence[Range], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of ranges, in order."""
    for path, of_file in itertools.groupby(parts, key=lambda part: part.path):
        with opened(storage.open_input, path) as stream:
            for part in of_file:
                stream.seek(part.start)
                data = stream.read(part.stop - part.start)
                if len(data) < part.stop - part.start:
                    raise damaged(storage, path, "cut short")
                source = pa.BufferReader(verified(storage, path, data))
                while source.tell() < source.size():
                    yield pa.ipc.read_record_batch(pa.ipc.read_message(source), schema)
