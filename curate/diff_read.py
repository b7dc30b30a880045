"""Reads the columns of a corpus that a comparison needs: a dataset of a workspace, or a published one in Parquet or JSON lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from curate.dataset import Dataset, join_url, read_shard
from curate.document import ID, leaf
from curate.errors import DatasetError
from curate.ledger import GROUP_LIMIT, OTHER

NONE = "(none)"
BLOCK_BYTES = 64 << 20  # no line of a published corpus may be longer


class Documents(NamedTuple):
    """A batch: ids, the values that are compared, and one array of labels per column that is counted by."""

    ids: pa.Array
    values: pa.Array
    labels: list[pa.Array]


class Groups:
    """Numbers the values of one column; beyond `GROUP_LIMIT` different ones they share the number of `OTHER`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def codes(self, labels: pa.Array) -> np.ndarray[Any, np.dtype[np.uint32]]:
        """Return the number of each label."""
        encoded = pc.fill_null(labels, NONE).dictionary_encode()
        known = np.array([self._code(label) for label in encoded.dictionary.to_pylist()], dtype=np.uint32)
        codes: np.ndarray[Any, np.dtype[np.uint32]] = known[encoded.indices.to_numpy()]
        return codes

    def _code(self, label: str) -> int:
        if label not in self._codes:
            label = label if len(self.names) < GROUP_LIMIT else OTHER
            if label not in self._codes:
                self._codes[label] = len(self.names)
                self.names.append(label)
        return self._codes[label]


def has_column(dataset: Dataset, path: str) -> bool:
    """Tell whether a dataset has a column, dotted paths included."""
    head = path.partition(".")[0]
    return head in dataset.manifest.columns and (head == path or f"{path.rpartition('.')[2]}:" in dataset.manifest.columns[head])


def check_columns(dataset: Dataset, paths: Sequence[str]) -> None:
    """Raise `DatasetError` when a corpus has not all of these columns."""
    for path in paths:
        if not has_column(dataset, path):
            raise DatasetError(f"{dataset.url} has no column `{path}`", f"columns: {', '.join(dataset.manifest.columns)}")


def read(dataset: Dataset, column: str, by: Sequence[str], skipped: Sequence[int] = ()) -> Iterator[tuple[int, Documents]]:
    """Yield the documents of a corpus in order, but for some shards, each batch with the place of its first document."""
    place, without = 0, frozenset(skipped)
    for index, shard in enumerate(dataset.manifest.shards):
        start = place
        for docs in shard_rows(dataset, index, [ID, column, *by]) if index not in without else ():
            yield start, Documents(docs.column(ID), words(docs, column), [words(docs, path) for path in by])
            start += docs.num_rows
        place += shard.data.rows


def rows(dataset: Dataset, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns that hold these paths, in batches of bounded memory."""
    for index in range(len(dataset.manifest.shards)):
        yield from shard_rows(dataset, index, paths)


def shard_rows(dataset: Dataset, index: int, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the same of one shard."""
    path = dataset.shard_path(index)
    if path.endswith(".jsonl.zst"):
        return _json_rows(dataset, path, paths) if dataset.manifest.shards[index].data.rows else iter(())
    return read_shard(dataset.storage, path, list(dict.fromkeys(path.partition(".")[0] for path in paths)))


def _json_rows(dataset: Dataset, path: str, paths: Sequence[str]) -> Iterator[pa.RecordBatch]:
    options = pj.ParseOptions(explicit_schema=_json_schema(dataset, paths), unexpected_field_behavior="ignore")
    with dataset.storage.open_input(path) as stream, pa.input_stream(stream, compression="zstd") as lines:
        try:
            yield from pj.open_json(lines, pj.ReadOptions(use_threads=False, block_size=BLOCK_BYTES), options)
        except pa.ArrowException as error:
            raise DatasetError(f"{join_url(dataset.storage.url, path)}: not readable: {error}", "publish it again") from error


def _json_schema(dataset: Dataset, paths: Sequence[str]) -> pa.Schema:
    """Return the columns with the types that JSON gives them: numbers and truth as they are, all else as strings."""
    fields: dict[str, pa.DataType] = {}
    for path in paths:
        head, *rest = path.split(".")
        kind = _json_type(dataset.manifest.columns[head]) if not rest else pa.string()
        for part in reversed(rest):
            kind = pa.struct([pa.field(part, kind)])
        known = fields.get(head)
        fields[head] = pa.struct([*known, *kind]) if known is not None and pa.types.is_struct(known) else kind
    return pa.schema(list(fields.items()))


def _json_type(declared: str) -> pa.DataType:
    if declared.startswith(("int", "uint")):
        return pa.int64()
    return pa.float64() if declared in ("float", "double") else pa.bool_() if declared == "bool" else pa.string()


def words(docs: pa.RecordBatch, path: str) -> pa.Array:
    """Return a column as strings."""
    values = leaf(docs, path)
    if pa.types.is_large_string(values.type):
        return values
    try:
        return values.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DatasetError(
            f"column `{path}` is {values.type}, which cannot be compared", "name a field of it, such as `lang.code`"
        ) from error
