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

from collections.abc import Sequence

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


def leaf(docs: pa.RecordBatch, path: str) -> pa.Array:
    """Return the column that a dotted path such as `lang.code` names; raise KeyError when there is none."""
    head, *rest = path.split(".")
    column = docs.column(head)
    for part in rest:
        column = pc.struct_field(column, part)
    return column
