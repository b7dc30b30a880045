"""Takes spans out of texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.errors import OperatorError
from curate_operators.remove_marked import RemoveMarked

STARTS, ENDS = "starts", "ends"


@dataclass(frozen=True)
class RemoveSpans(RemoveMarked):
    """Takes the spans out of texts that a dataset operator marked.

    ## What it does
    Reads two lists in the attributes' column, `starts` and `ends` (bytes of the text, the end is the byte after the last), takes what
    is between out, and the column of the attributes as well. Of the white space before and after a span, that with more line feeds
    stays; where neither is and two words would become one, a blank comes between them. A span that would split a character is
    shortened to whole ones.

    ## Why
    Marking is one thing and changing another: what was marked, and why, remains in the attributes; what was changed is counted as
    an edit, and with `trace: documents` kept before and after.

    ## Example
        clean:
          from: [text, repeats]
          operators:
            - {use: apply, params: {by: repeats}}
            - {use: remove_spans, params: {by: repeats}}

    ## Parameters
    - `by`: the column of the attributes, which has the name of the stage that made them.
    """

    name: ClassVar[str] = "remove_spans"
    lists: ClassVar[tuple[str, ...]] = (STARTS, ENDS)
    made_by: ClassVar[str] = "`substring_dedup` makes one; for lines, `remove_lines`"

    def without(self, texts: pa.Array, *lists: pa.Array) -> pa.Array:
        return without_spans(texts, *lists)


def without_spans(texts: pa.Array, starts: pa.Array, ends: pa.Array) -> pa.Array:
    """Return texts without the spans of these starts and ends, two lists of the same length for each text; no text may be null."""
    lengths, others = (pc.fill_null(pc.list_value_length(values), 0).to_numpy().astype(np.int64) for values in (starts, ends))
    if not np.array_equal(lengths, others):
        raise OperatorError("remove_spans: a document has other numbers of `starts` and `ends`")
    first = np.concatenate([[0], np.cumsum(lengths)])
    start, end = (pc.fill_null(values.flatten(), 0).to_numpy().astype(np.int64) for values in (starts, ends))
    return kernels.without_spans(kernels.Texts.of(texts), first, start, end)
