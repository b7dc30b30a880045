"""A document is one row: `id`, `text`, and whatever columns readers and operators add.

Columns that the engine knows by name:

| column      | type         | is                                                             |
|-------------|--------------|----------------------------------------------------------------|
| `id`        | string       | unique in its dataset, never null                              |
| `text`      | large_string | the document; absent until an extractor makes it from `html`   |
| `source`    | string       | where it comes from; readers set it to the input's name        |
| `parent_id` | string       | the document that a `FlatMapper` made this one from            |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

ID = "id"
TEXT = "text"
SOURCE = "source"
PARENT_ID = "parent_id"

ID_TYPE = pa.string()
TEXT_TYPE = pa.large_string()


def set_column(docs: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """Return the batch with one column replaced where it stands, or added last."""
    index = docs.schema.get_field_index(name)
    if index < 0:
        return docs.append_column(name, values)
    return docs.set_column(index, name, values)


def drop_columns(docs: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    """Return the batch without these columns; names that it lacks are ignored."""
    present = [name for name in names if name in docs.schema.names]
    return docs.drop_columns(present) if present else docs


def text_bytes(docs: pa.RecordBatch) -> int:
    """Return the UTF-8 bytes of all texts of a batch; 0 when it has no `text` column."""
    if TEXT not in docs.schema.names:
        return 0
    return pc.sum(pc.binary_length(docs.column(TEXT))).as_py() or 0


def type_at(schema: pa.Schema | Mapping[str, pa.DataType], path: str) -> pa.DataType | None:
    """Return the type of the column or field that a dotted path names, None when there is none."""
    head, *rest = path.split(".")
    types = schema if isinstance(schema, Mapping) else dict(zip(schema.names, schema.types, strict=True))
    kind = types.get(head)
    for part in rest:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return None
        kind = kind.field(part).type
    return kind


def leaf_as(docs: pa.RecordBatch, path: str, kind: pa.DataType) -> pa.Array | None:
    """Return the column that a dotted path names as another type, None where it is missing or has no such form (lists, broken UTF-8)."""
    try:
        return leaf(docs, path).cast(kind)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def leaf(docs: pa.RecordBatch, path: str) -> pa.Array:
    """Return the column that a dotted path such as `lang.code` names; raise KeyError when there is none."""
    head, *rest = path.split(".")
    column = docs.column(head)
    for part in rest:
        column = pc.struct_field(column, part)
    return column
