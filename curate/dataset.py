"""A dataset is an immutable folder of Parquet shards and a manifest that was written last.

import curate

corpus = curate.load("workspace/datasets/corpus@3f2a…")
corpus.scan().filter(pl.col("lang").struct.field("code") == "en")   # Polars, lazily
for batch in corpus.batches(columns=["id", "text"]): ...            # Arrow, bounded memory
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import DatasetError
from curate.manifest import MANIFEST, FileRecord, Manifest
from curate.storage import Storage, join, open_storage

if TYPE_CHECKING:
    import polars as pl

BATCH_BYTES = 8 << 20
BATCH_ROWS = 1 << 16


class Dataset:
    """A finished dataset; opening it reads the manifest and nothing else."""

    def __init__(self, storage: Storage, path: str, manifest: Manifest) -> None:
        self.storage = storage
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"Dataset({self.url!r}, {self.manifest.kind}, {self.rows:,} rows in {len(self.manifest.shards)} shards)"

    @property
    def url(self) -> str:
        """Where the dataset's folder is."""
        return join_url(self.storage.url, self.path)

    @property
    def rows(self) -> int:
        """Rows of all shards."""
        return self.manifest.counts.rows_out

    @property
    def name(self) -> str:
        """The stage that made it."""
        return self.manifest.stage

    def shard_path(self, index: int) -> str:
        """Return a shard's path in the storage."""
        return resolve(self.path, self.manifest.shards[index].data)

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of every shard."""
        with open_parquet(self.storage, self.shard_path(0)) as file:
            return file.schema_arrow

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, in batches of bounded memory."""
        for index in range(len(self.manifest.shards)):
            yield from read_shard(self.storage, self.shard_path(index), columns)

    def scan(self) -> pl.LazyFrame:
        """Return a Polars LazyFrame over exactly the committed shards."""
        import polars as pl

        paths = [join_url(self.storage.url, self.shard_path(i)) for i, s in enumerate(self.manifest.shards) if s.data.rows]
        if not paths:
            return pl.LazyFrame(pl.from_arrow(self.schema.empty_table()))
        return pl.scan_parquet(paths, glob=False)

    def to_datasets(self) -> Any:
        """Return a Hugging Face `datasets.Dataset` over the shards (needs `pip install datasets`)."""
        import datasets

        paths = [join_url(self.storage.url, self.shard_path(i)) for i in range(len(self.manifest.shards))]
        return datasets.Dataset.from_parquet(paths)

    def ledger(self, which: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `drops`, `errors` or `trace`."""
        for shard in self.manifest.shards:
            record = getattr(shard, which)
            if record is not None:
                yield from read_shard(self.storage, resolve(self.path, record))


def load(url: str) -> Dataset:
    """Open a dataset: its folder in a workspace, or the folder of a published output."""
    storage = open_storage(url)
    folder, _, name = storage.url.rstrip("/").rpartition("/")
    if not folder or folder.endswith(":/") or name == "..":
        return open_dataset(storage, "")
    return open_dataset(open_storage(folder), name)  # shards may lie in a sibling's folder


def open_dataset(storage: Storage, path: str) -> Dataset:
    """Open the dataset at a path of a storage; raise `DatasetError` when there is no finished one."""
    where = join_url(storage.url, path)
    if storage.info(join(path, MANIFEST)) is None:
        raise DatasetError(f"no finished dataset at {where}: it has no {MANIFEST}", "a dataset exists once its stage is done")
    manifest = Manifest.from_json(storage.read(join(path, MANIFEST)), join_url(where, MANIFEST))
    return Dataset(storage, path, manifest)


def join_url(url: str, path: str) -> str:
    """Append a relative path to a storage's URL."""
    return f"{url.rstrip('/')}/{path}" if path else url


def resolve(folder: str, record: FileRecord) -> str:
    """Return a record's path in the storage; a shard reused from a sibling dataset starts with `../`."""
    if record.path.startswith("../"):
        return join(folder.rstrip("/").rpartition("/")[0], record.path[3:])
    return join(folder, record.path)


def open_parquet(storage: Storage, path: str) -> pq.ParquetFile:
    """Open a Parquet file for reading in bounded memory: no whole column chunk is held at once."""
    if path.endswith(".jsonl.zst"):
        where = join_url(storage.url, path)
        raise DatasetError(f"{where} is JSONL, which is published for others to read", "read it as an input with `format: jsonl`")
    try:
        return pq.ParquetFile(storage.open_arrow(path), pre_buffer=False, buffer_size=1 << 20)
    except DatasetError as error:
        error.hint = error.hint or "the shard is gone: remove its dataset's folder and run again"
        raise
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(
            f"{join_url(storage.url, path)}: not a readable Parquet file: {error}",
            "the shard is damaged: remove its dataset's folder and run again",
        ) from error


def read_shard(
    storage: Storage, path: str, columns: Sequence[str] | None = None, batch_bytes: int = BATCH_BYTES
) -> Iterator[pa.RecordBatch]:
    """Yield a shard's rows in order, in batches of about `batch_bytes`."""
    with open_parquet(storage, path) as file:
        chosen = list(columns) if columns is not None else None
        try:
            for group in range(file.num_row_groups):
                meta = file.metadata.row_group(group)
                per_row = max(1, meta.total_byte_size // max(1, meta.num_rows))
                rows = max(1, min(BATCH_ROWS, batch_bytes // per_row))
                yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=chosen, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{join_url(storage.url, path)}: damaged: {error}", "remove its dataset's folder and run again") from error


class RowStream:
    """Hands out the rows of a stream of batches in whatever numbers are asked for."""

    def __init__(self, batches: Iterator[pa.RecordBatch], where: str) -> None:
        self._batches = batches
        self._where = where
        self._rest: pa.RecordBatch | None = None

    def take(self, rows: int) -> pa.RecordBatch:
        """Return the next rows; raise `DatasetError` when the stream ends early."""
        parts: list[pa.RecordBatch] = []
        while rows:
            batch = self._rest if self._rest is not None else next(self._batches, None)
            if batch is None:
                raise DatasetError(f"{self._where}: fewer rows than the documents that it describes", "remove the dataset and run again")
            parts.append(batch.slice(0, rows))
            self._rest = batch.slice(rows) if batch.num_rows > rows else None
            rows -= parts[-1].num_rows
        return parts[0] if len(parts) == 1 else pa.concat_batches(parts)

    def finish(self) -> None:
        """Raise `DatasetError` unless every row was taken."""
        if self._rest is not None or any(batch.num_rows for batch in self._batches):
            raise DatasetError(f"{self._where}: more rows than the documents that it describes", "remove the dataset and run again")
