"""What a reader is: it says which columns files have, how a big file is cut, and yields documents in batches.

Reading is a function of the slice alone, so the cut into work units depends on the listing and a byte target and never
on workers. A reader yields documents together with what it could not turn into one: drops (records over the size limit,
responses that are no page) and errors (a broken line, a truncated archive). The engine counts and records both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from curate.storage import FileInfo, Storage

Format = Literal["parquet", "arrow", "jsonl", "warc", "wet", "text", "html"]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of one file: rows of row groups (Parquet) or bytes (JSONL) from `start` up to `stop`; None = to the end.

    For Parquet `start` and `stop` count row groups. `size` is the slice's share of the file's bytes.
    """

    file: FileInfo
    start: int = 0
    stop: int | None = None
    size: int = 0


@dataclass(frozen=True)
class ReadOptions:
    """How to turn records into documents.

    `input` names the input in derived ids (`<input>/<path>:<position>`). `id` names the column that holds ids; None
    means the column `id` where the files have one, else derived. `text` names the column that holds the text.
    `batch_bytes` bounds a batch's text and never changes which rows come or in what order.
    """

    input: str
    id: str | None = None
    text: str = "text"
    max_record_bytes: int = 64 << 20
    batch_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Drop:
    """A record that is no document by a rule of the reader, recorded under the step `read`."""

    id: str
    reason: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class RowError:
    """A record that could not be read: counted as errored, kept with its error in `errors/`.

    `rows` is how many records one error stands for, where a damaged block tells how many it held.
    """

    id: str
    error: str
    rows: int = 1


@dataclass
class ReadBatch:
    """Documents of a batch, in file order, with the drops and errors met on the way."""

    docs: pa.RecordBatch
    drops: list[Drop] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)


class Reader(Protocol):
    """One file format."""

    def schema(self, storage: Storage, files: Sequence[FileInfo], options: ReadOptions) -> pa.Schema:
        """Return the columns of every batch that `read` yields for these files: the union by name, `id` first.

        Raises `DatasetError` naming both files when a column has types that do not widen losslessly. An unreadable
        file adds nothing here; `read` reports it.
        """

    def split(self, storage: Storage, file: FileInfo, target_bytes: int) -> list[Slice]:
        """Cut a file into slices of about `target_bytes`; formats that cannot be cut return one."""

    def read(self, storage: Storage, part: Slice, schema: pa.Schema, options: ReadOptions) -> Iterator[ReadBatch]:
        """Yield the slice's documents in order with exactly the columns of `schema`."""
