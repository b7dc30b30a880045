"""Turns lines of JSON into batches of documents of a given schema."""

from __future__ import annotations

from typing import Any

import orjson
import pyarrow as pa

from curate.document import ID, SOURCE, TEXT
from curate.readers.base import Drop, ReadBatch, ReadOptions, RowError
from curate.readers.batches import conform, derived_id
from curate.readers.json_types import all_fit, fits, has_unknown_keys, is_nested
from curate.readers.lines import Line
from curate.readers.schema import final_name, id_column

EXTRA = "extra"
_BOM = b"\xef\xbb\xbf"
_ORIGINAL = "original_"
_MAX_NOTES = 10_000


class BadRow(Exception):
    """A line that is no document; the message says why and never quotes it."""


class JsonRows:
    """Collects the rows of a batch."""

    def __init__(self, schema: pa.Schema, options: ReadOptions, path: str) -> None:
        self.schema, self.options, self.path = schema, options, path
        self.types = {_key(field, options): field for field in schema if field.name not in (ID, SOURCE, EXTRA)}
        self.nested = {key: field.type for key, field in self.types.items() if is_nested(field.type)}
        self.known = frozenset(self.types) | {SOURCE} | ({ID} if options.id in (None, ID) else frozenset())
        self._start()

    def _start(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.offsets: list[int] = []
        self.drops: list[Drop] = []
        self.errors: list[tuple[int, str]] = []
        self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether it is time to make a batch."""
        return self.bytes >= self.options.batch_bytes or len(self.errors) + len(self.drops) >= _MAX_NOTES

    @property
    def is_empty(self) -> bool:
        """Whether nothing has come since the last batch."""
        return not (self.rows or self.drops or self.errors)

    def add(self, line: Line) -> None:
        """Take one line: a document, a drop, an error, or nothing when it is blank."""
        if line.damage is not None:
            self.errors.append((line.offset, f"the rest of the file is unreadable: {line.damage}"))
        elif line.data is None:
            self.drops.append(Drop(self._derived(line.offset), "too_large", float(line.size)))
        else:
            self._add_object(line.offset, line.data)

    def _add_object(self, offset: int, data: bytes) -> None:
        data = data.removeprefix(_BOM) if offset == 0 else data
        if not data or data.isspace():
            return
        self.bytes += len(data)
        try:
            row = _parse(data)
            given = self._id(row, offset)
        except BadRow as error:
            self.errors.append((offset, str(error)))
        else:
            self.rows.append(row)
            self.ids.append(given)
            self.offsets.append(offset)

    def _derived(self, offset: int) -> str:
        return derived_id(self.options, self.path, offset)

    def _id(self, row: dict[str, Any], offset: int) -> str:
        column = id_column(self.options)
        value = row.get(column)
        if type(value) is str:
            return value
        if type(value) is int:
            return str(value)
        if self.options.id is None and column not in row:
            return self._derived(offset)
        if value is None:
            raise BadRow(f"the id `{column}` is null" if column in row else f"no id: the object has no `{column}`")
        raise BadRow(f"the id `{column}` is a {type(value).__name__}, not a string or a whole number")

    def take(self) -> ReadBatch:
        """Return what has come as a batch and start again."""
        self._set_misfits_aside()
        columns = {field.name: pa.array([row.get(key) for row in self.rows], field.type) for key, field in self.types.items()}
        columns[SOURCE] = pa.array([_source(row, self.options.input) for row in self.rows], pa.string())
        columns[ID] = pa.array(self.ids, pa.string())
        columns[EXTRA] = pa.array([self._extra(row) for row in self.rows], pa.large_string())
        errors = [RowError(self._derived(offset), error) for offset, error in sorted(self.errors)]
        batch = ReadBatch(conform(columns, len(self.rows), self.schema), self.drops, errors)
        self._start()
        return batch

    def _set_misfits_aside(self) -> None:
        """Make errors of the rows that hold a value of another type than their column's."""
        bad: dict[int, str] = {}
        for key, field in self.types.items():
            values = [row.get(key) for row in self.rows]
            if all_fit(values, field.type):
                continue
            for index, value in enumerate(values):
                if not fits(value, field.type):
                    bad.setdefault(index, f"`{key}` is {_describe(value)}, which does not fit the column's type {field.type}")
        if bad:
            self.errors += [(self.offsets[index], error) for index, error in bad.items()]
            keep = [index for index in range(len(self.rows)) if index not in bad]
            self.rows, self.ids = [self.rows[index] for index in keep], [self.ids[index] for index in keep]

    def _extra(self, row: dict[str, Any]) -> str | None:
        """Return what the columns do not hold: unknown keys, and objects with keys that their column lacks, whole."""
        unknown = row.keys() - self.known
        if not unknown and not self.nested and type(row.get(SOURCE, "")) is str:
            return None
        left = {key: row[key] for key in row if key in unknown and row[key] is not None}
        left |= {key: row[key] for key, kind in self.nested.items() if has_unknown_keys(row.get(key), kind)}
        source = row.get(SOURCE)
        if source is not None and type(source) is not str and SOURCE not in self.types:
            left[SOURCE] = source
        return orjson.dumps(left, option=orjson.OPT_SORT_KEYS).decode() if left else None


def _key(field: pa.Field, options: ReadOptions) -> str:
    """Return the key of the data that a column of the schema comes from: `final_name` the other way round."""
    if field.name == TEXT:
        return options.text
    original = str(field.name).removeprefix(_ORIGINAL)
    if original != field.name and final_name(original, field.type, options) == field.name:
        return original
    return str(field.name)


def _source(row: dict[str, Any], default: str) -> str:
    value = row.get(SOURCE)
    return value if type(value) is str else default


def _parse(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise BadRow(_why(data, error)) from None
    if type(value) is not dict:
        raise BadRow(f"the line is {_describe(value)}, not an object")
    return value


def _why(data: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        data.decode()
    except UnicodeDecodeError as bad:
        return f"invalid UTF-8 at byte {bad.start} of the line"
    if b"\0" in data:
        return f"NUL byte at byte {data.index(0)} of the line"
    return f"not JSON: {error}"


_WORDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


def _describe(value: Any) -> str:
    return _WORDS.get(type(value), "null")
