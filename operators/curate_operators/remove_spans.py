"""Takes spans out of texts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import kernels
from curate.document import TEXT, TEXT_TYPE, drop_columns, leaf, set_column
from curate.errors import OperatorError, PipelineError
from curate.protocols import Mapper

STARTS, ENDS = "starts", "ends"


@dataclass(frozen=True)
class RemoveSpans(Mapper):
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

    by: str

    def reads(self) -> tuple[str, ...]:
        return (TEXT, f"{self.by}.{STARTS}", f"{self.by}.{ENDS}")

    def removes(self) -> tuple[str, ...]:
        return (self.by,)

    def verify(self, schema: pa.Schema) -> None:
        if self.by not in schema.names:
            return
        kind = schema.field(self.by).type
        for name in (STARTS, ENDS):
            numbers = kind.field(name).type if pa.types.is_struct(kind) and kind.get_field_index(name) >= 0 else pa.null()
            if not (pa.types.is_list(numbers) and pa.types.is_integer(numbers.value_type)):
                raise PipelineError(
                    f"remove_spans: `{self.by}` has no list of whole numbers `{name}`",
                    "`substring_dedup` makes one; for lines, `remove_lines`",
                )

    def map(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        starts, ends = leaf(docs, f"{self.by}.{STARTS}"), leaf(docs, f"{self.by}.{ENDS}")
        marked = pc.fill_null(pc.greater(pc.list_value_length(starts), 0), False)
        texts = pc.cast(docs.column(TEXT), TEXT_TYPE)
        if pc.any(marked).as_py():
            chosen = pc.and_(marked, texts.is_valid())
            texts = pc.replace_with_mask(texts, chosen, without_spans(texts.filter(chosen), starts.filter(chosen), ends.filter(chosen)))
        return drop_columns(set_column(docs, TEXT, texts), [self.by])


def without_spans(texts: pa.Array, starts: pa.Array, ends: pa.Array) -> pa.Array:
    """Return texts without the spans of these starts and ends, two lists of the same length for each text; no text may be null."""
    lengths, others = (pc.fill_null(pc.list_value_length(values), 0).to_numpy().astype(np.int64) for values in (starts, ends))
    if not np.array_equal(lengths, others):
        raise OperatorError("remove_spans: a document has other numbers of `starts` and `ends`")
    first = np.concatenate([[0], np.cumsum(lengths)])
    start, end = (pc.fill_null(values.flatten(), 0).to_numpy().astype(np.int64) for values in (starts, ends))
    return kernels.without_spans(kernels.Texts.of(texts), first, start, end)
