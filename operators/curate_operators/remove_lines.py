"""Takes lines out of texts by their numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT_TYPE
from curate_operators.remove_marked import RemoveMarked

LINES = "lines"


@dataclass(frozen=True)
class RemoveLines(RemoveMarked):
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

    name: ClassVar[str] = "remove_lines"
    lists: ClassVar[tuple[str, ...]] = (LINES,)
    made_by: ClassVar[str] = "`boilerplate_lines`, `line_dedup` and `paragraph_dedup` make one"

    def without(self, texts: pa.Array, *lists: pa.Array) -> pa.Array:
        return without_lines(texts, *lists)


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
