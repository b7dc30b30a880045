"""Turns what readers found into batches of documents: ids, drops and errors, columns exactly as the schema says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, SOURCE, TEXT
from curate.readers.base import Drop, ReadBatch, ReadOptions, RowError, Slice
from curate.readers.schema import final_name, id_column, plain

_MAX_NOTES = 10_000
_BOUNDED = (TEXT, "html")


@dataclass
class Pending:
    """Rows on the way to a batch, for readers that meet one record at a time."""

    schema: pa.Schema
    options: ReadOptions
    rows: list[dict[str, Any]] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    errors: list[RowError] = field(default_factory=list)
    bytes: int = 0

    def add(self, row: dict[str, Any], size: int) -> None:
        """Take one document."""
        self.rows.append(row)
        self.bytes += size

    @property
    def full(self) -> bool:
        """Whether it is time to make a batch; notes count too, so that an archive of images stays bounded."""
        return self.bytes >= self.options.batch_bytes or len(self.drops) + len(self.errors) + len(self.rows) >= _MAX_NOTES

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last batch."""
        return not (self.rows or self.drops or self.errors)

    def take(self) -> ReadBatch:
        """Return what is pending as a batch and start again."""
        rows, types = self.rows, {column.name: column.type for column in self.schema if column.name != SOURCE}
        columns = {name: pa.array([row.get(name) for row in rows], kind) for name, kind in types.items()}
        columns[SOURCE] = pa.array([self.options.input] * len(self.rows), pa.string())
        batch = ReadBatch(conform(columns, len(self.rows), self.schema), self.drops, self.errors)
        self.rows, self.drops, self.errors, self.bytes = [], [], [], 0
        return batch


def empty(schema: pa.Schema, drops: Sequence[Drop] = (), errors: Sequence[RowError] = ()) -> ReadBatch:
    """Return a batch without documents."""
    return ReadBatch(conform({}, 0, schema), list(drops), list(errors))


def conform(columns: Mapping[str, pa.Array], rows: int, schema: pa.Schema) -> pa.RecordBatch:
    """Return the columns in the schema's order and types; missing ones are null."""
    arrays = [_cast(columns[column.name], column.type) if column.name in columns else pa.nulls(rows, column.type) for column in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def derived_id(options: ReadOptions, path: str, position: int | str) -> str:
    """Return the id of a record that brings none."""
    return f"{options.input}/{path}:{position}"


def tabular(batch: pa.RecordBatch, first_row: int, part: Slice, schema: pa.Schema, options: ReadOptions) -> ReadBatch:
    """Turn a batch of a table file, whose first row has this number in its file, into documents."""
    derived = _derived_ids(first_row, batch.num_rows, part, options)
    columns = {final_name(name, plain(array.type), options): array for name, array in zip(batch.schema.names, batch.columns, strict=True)}
    named = batch.schema.get_field_index(id_column(options))
    columns[ID] = _given_ids(batch.column(named)) if named >= 0 else derived
    rows = batch.num_rows
    source = columns.get(SOURCE, pa.nulls(rows, pa.string()))
    columns[SOURCE] = pc.fill_null(_cast(source, pa.string()), options.input)
    errors = _row_errors({name: columns[name] for name in schema.names if name in columns}, derived)
    drops = _too_large(columns, derived, errors, options.max_record_bytes)
    keep = np.ones(rows, bool)
    keep[list(errors) + list(drops)] = False
    if not keep.all():
        mask = pa.array(keep)
        columns = {name: array.filter(mask) for name, array in columns.items()}
    docs = conform(columns, int(keep.sum()), schema)
    return ReadBatch(docs, [drops[row] for row in sorted(drops)], [errors[row] for row in sorted(errors)])


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type.equals(kind):
        return array
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(kind)


def _derived_ids(first_row: int, rows: int, part: Slice, options: ReadOptions) -> pa.Array:
    numbers = pa.array(np.arange(first_row, first_row + rows)).cast(pa.string())
    return pc.binary_join_element_wise(derived_id(options, part.file.path, ""), numbers, "")


def _given_ids(values: pa.Array) -> pa.Array:
    return _cast(values, pa.string())


def _row_errors(columns: Mapping[str, pa.Array], derived: pa.Array) -> dict[int, RowError]:
    """Return an error for every row without an id, or with a string that is not UTF-8 (Arrow's readers do not look)."""
    found: dict[int, RowError] = {}
    for name, array in columns.items():
        for row in _invalid_rows(array):
            found.setdefault(row, RowError(derived[row].as_py(), f"column `{name}`: invalid UTF-8"))
    if columns[ID].null_count:
        for row in np.flatnonzero(columns[ID].is_null().to_numpy(zero_copy_only=False)).tolist():
            found.setdefault(row, RowError(derived[row].as_py(), "the id is null"))
    return found


def _invalid_rows(array: pa.Array) -> list[int]:
    """Return the rows whose strings are not UTF-8, at any depth of the column."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        if len(array) == 1:
            return [0]
        half = len(array) // 2
        return _invalid_rows(_alone(array[:half])) + [half + row for row in _invalid_rows(_alone(array[half:]))]
    return []


def _alone(array: pa.Array) -> pa.Array:
    """Copy a slice, as validation of a nested or dictionary array looks beyond the slice's bounds."""
    return pa.concat_arrays([array, array[:0]]) if not pa.types.is_dictionary(array.type) else array.dictionary_decode()


def _too_large(columns: Mapping[str, pa.Array], derived: pa.Array, errors: Mapping[int, RowError], limit: int) -> dict[int, Drop]:
    found: dict[int, Drop] = {}
    for name in _BOUNDED:
        if name not in columns or not _has_length(columns[name].type):
            continue
        sizes = pc.binary_length(columns[name]).fill_null(0).to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(sizes > limit).tolist():
            if row not in errors:
                found[row] = Drop(derived[row].as_py(), "too_large", float(sizes[row]))
    return found


def _has_length(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary))
