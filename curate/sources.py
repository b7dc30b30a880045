"""Where a task's documents come from: slices of raw files, or shards of a dataset with the attributes that describe them.

Batches come in the order of the source and with exactly the columns that the stage was planned with. Small ones (a folder
of small files gives one per file) are joined, since operators are fast on batches and slow on single documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate.dataset import RowStream, join_url, read_shard
from curate.document import ID, set_column
from curate.errors import DatasetError, OperatorError
from curate.hashing import hash64
from curate.readers import reader
from curate.readers.base import Format, ReadBatch, ReadOptions, Slice
from curate.storage import Storage, open_storage

SMALL_ROWS = 512
SMALL_BYTES = 1 << 20

Hashes = np.ndarray[Any, np.dtype[np.uint64]]


@dataclass(frozen=True)
class FileSource:
    """Slices of raw files; `captures` gives the constant columns of each path."""

    url: str
    slices: tuple[Slice, ...]
    format: Format
    options: ReadOptions
    schema: pa.Schema
    captures: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limit: int | None = None


@dataclass(frozen=True)
class ShardSource:
    """Shards of a documents dataset, with the shards of attributes that describe them, row by row."""

    paths: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    size: int = 0


def read_source(source: FileSource | ShardSource, workspace: str, schema: pa.Schema) -> Iterator[ReadBatch]:
    """Yield a source's batches; `schema` is what they have, attributes included."""
    if isinstance(source, FileSource):
        return _joined(_read_files(source, schema))
    return _read_shards(source, open_storage(workspace), schema)


def conform(docs: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """Return the batch with exactly the columns of a schema: missing ones null, types cast without loss."""
    if docs.schema.equals(schema):
        return docs
    columns = []
    for column in schema:
        index = docs.schema.get_field_index(column.name)
        if index < 0:
            columns.append(pa.nulls(docs.num_rows, column.type))
            continue
        values = docs.column(index)
        try:
            columns.append(values if values.type == column.type else values.cast(column.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise OperatorError(
                f"{where}: column `{column.name}` is {values.type}, but {column.type} was declared: {error}",
                "correct the operator's `adds()` or `output()`",
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _read_files(source: FileSource, schema: pa.Schema) -> Iterator[ReadBatch]:
    storage = open_storage(source.url)
    seen: list[Hashes] = []
    left = source.limit
    for part in source.slices:
        for batch in reader(source.format).read(storage, part, source.schema, source.options):
            docs = batch.docs if left is None else batch.docs.slice(0, left)
            for name, value in source.captures.get(part.file.path, {}).items():
                docs = set_column(docs, name, pa.repeat(pa.scalar(value), docs.num_rows))
            seen.append(hash64(docs.column(ID)))
            yield ReadBatch(conform(docs, schema, part.file.path), batch.drops, batch.errors)
            left = None if left is None else left - docs.num_rows
            if left == 0:
                break
        if left == 0:
            break
    if seen:
        _refuse_repeats(source, np.concatenate(seen))


def _joined(batches: Iterator[ReadBatch]) -> Iterator[ReadBatch]:
    """Join runs of small batches; what a reader dropped or could not read stays with the rows around it."""
    waiting: list[ReadBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows, size = rows + batch.docs.num_rows, size + batch.docs.nbytes
        if rows >= SMALL_ROWS or size >= SMALL_BYTES:
            yield _one(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield _one(waiting)


def _one(batches: list[ReadBatch]) -> ReadBatch:
    if len(batches) == 1:
        return batches[0]
    docs = pa.concat_batches([batch.docs for batch in batches])
    return ReadBatch(docs, [d for batch in batches for d in batch.drops], [e for batch in batches for e in batch.errors])


def _refuse_repeats(source: FileSource, hashes: Hashes) -> None:
    """Raise when an id came twice; equal hashes are looked up before anything is said."""
    ordered = np.sort(hashes)
    repeated = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(repeated):
        return
    first: dict[str, str] = {}
    storage = open_storage(source.url)
    for part in source.slices:
        for batch in reader(source.format).read(storage, part, source.schema, source.options):
            ids = batch.docs.column(ID)
            for doc_id in ids.filter(pa.array(np.isin(hash64(ids), repeated))).to_pylist():
                if doc_id in first:
                    raise DatasetError(
                        f"id `{doc_id}` is in {join_url(source.url, first[doc_id])} and again in {join_url(source.url, part.file.path)}",
                        "name a column of unique ids with `id:` on the input, or remove the repeated documents",
                    )
                first[doc_id] = part.file.path


def _read_shards(source: ShardSource, storage: Storage, schema: pa.Schema) -> Iterator[ReadBatch]:
    for index, path in enumerate(source.paths):
        streams = {name: RowStream(read_shard(storage, paths[index]), paths[index]) for name, paths in source.attributes.items()}
        for docs in read_shard(storage, path):
            for name, stream in streams.items():
                docs = docs.append_column(name, _aligned(docs, stream.take(docs.num_rows), name, path))
            yield ReadBatch(conform(docs, schema, path))
        for stream in streams.values():
            stream.finish()


def _aligned(docs: pa.RecordBatch, attributes: pa.RecordBatch, name: str, path: str) -> pa.StructArray:
    """Return attributes as one struct column, once their ids equal the documents' row by row."""
    if not attributes.column(ID).equals(docs.column(ID)):
        raise DatasetError(f"attributes `{name}` do not describe the rows of {path}: ids differ", "remove their dataset and run again")
    names = [n for n in attributes.schema.names if n != ID]
    return pa.StructArray.from_arrays([attributes.column(n) for n in names], fields=[attributes.schema.field(n) for n in names])
