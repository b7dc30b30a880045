"""Takes lines out of texts by their numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT, TEXT_TYPE, drop_columns, leaf, set_column
from curate.errors import PipelineError
from curate.protocols import Mapper

LINES = "lines"


@dataclass(frozen=True)
class RemoveLines(Mapper):
    """Takes the lines out of texts that a dataset operator marked.

    ## What it does
    Reads the list of line numbers in the attributes' column `lines` (from 1, as `\\n` cuts the text), takes these lines out, and the
    column of the attributes as well. All other lines stay as they are, blank ones too; `normalize` shortens runs of those. Numbers
    that a text does not have count for nothing.

    ## Why
    Marking is one thing and changing another: what was marked, and why, remains in the attributes; what was changed is counted as
    an edit, and with `trace: documents` kept before and after.

    ## Example
        clean:
          from: [text, boilerplate]
          operators:
            - {use: apply, params: {by: boilerplate}}
            - {use: remove_lines, params: {by: boilerplate}}

    ## Parameters
    - `by`: the column of the attributes, which has the name of the stage that made them.
    """

    by: str

    def reads(self) -> tuple[str, ...]:
        return (TEXT, f"{self.by}.{LINES}")

    def removes(self) -> tuple[str, ...]:
        return (self.by,)

    def verify(self, schema: pa.Schema) -> None:
        kind = schema.field(self.by).type if self.by in schema.names else pa.struct([])
        lines = kind.field(LINES).type if pa.types.is_struct(kind) and kind.get_field_index(LINES) >= 0 else None
        if self.by in schema.names and not (lines is not None and pa.types.is_list(lines) and pa.types.is_integer(lines.value_type)):
            raise PipelineError(
                f"remove_lines: `{self.by}` has no list of whole numbers `{LINES}`",
                "`boilerplate_lines`, `line_dedup` and `paragraph_dedup` make one",
            )

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        lines = leaf(docs, f"{self.by}.{LINES}")
        marked = pc.fill_null(pc.greater(pc.list_value_length(lines), 0), False)
        texts = pc.cast(docs.column(TEXT), TEXT_TYPE)
        if pc.any(marked).as_py():
            chosen = pc.and_(marked, texts.is_valid())
            texts = pc.replace_with_mask(texts, chosen, without_lines(texts.filter(chosen), lines.filter(chosen)))
        return drop_columns(set_column(docs, TEXT, texts), [self.by])


def without_lines(texts: pa.Array, lines: pa.Array) -> pa.Array:
    """Return texts without the lines of these numbers; neither may hold null."""
    split = pc.split_pattern(texts, "\n")
    offsets = split.offsets.to_numpy().astype(np.int64) - split.offsets[0].as_py()
    rows = pc.list_parent_indices(lines).to_numpy().astype(np.int64)
    numbers = pc.fill_null(lines.flatten(), 0).to_numpy().astype(np.int64)
    there = (numbers >= 1) & (numbers <= np.diff(offsets)[rows])
    kept = np.ones(offsets[-1], dtype=np.bool_)
    kept[offsets[rows[there]] + numbers[there] - 1] = False
    left = np.concatenate([[0], np.cumsum(kept)])[offsets]
    lists = pa.LargeListArray.from_arrays(pa.array(left), split.flatten().filter(pa.array(kept)))
    return pc.binary_join(lists, pa.scalar("\n", TEXT_TYPE))
