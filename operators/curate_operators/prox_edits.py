"""The account of what programs did to a document: the type of the columns that `prox_chunk` and `prox_annotate` add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from curate_operators.prox_execute import Edited, within
from curate_operators.prox_program import Program, read_program
from curate_operators.prox_windows import Window

ERRORS_TOLD = 20
REPLACED = pa.struct([pa.field("source", pa.string()), pa.field("target", pa.string()), pa.field("count", pa.int32())])
EDITS = pa.struct(
    [
        pa.field("outcome", pa.string()),  # edited, untouched, refused (too many errors), unseen (no line fits a window)
        pa.field("program", pa.large_string()),
        pa.field("lines", pa.list_(pa.int32())),  # those that went, from 0 as the model was shown them
        pa.field("replaced", pa.list_(REPLACED)),
        pa.field("errors", pa.int32()),
        pa.field("error_messages", pa.list_(pa.string())),  # the first 20
        pa.field("words", pa.int64()),  # that are left
        pa.field("kept_word_ratio", pa.float64()),  # null where there was none
    ]
)


def merged_programs(written: Sequence[str], shown: Sequence[Window]) -> Program:
    """Return the programs of all windows as one, each bound to the lines that its window showed."""
    programs = [within(read_program(text), window.start, window.end) for text, window in zip(written, shown, strict=True)]
    return Program(tuple(c for each in programs for c in each.calls), tuple(e for each in programs for e in each.errors))


def edits_row(done: Edited, text: str, program: str, outcome: str) -> dict[str, Any]:
    """Return a row of `EDITS`: what a program did to a text."""
    before, after = len(text.split()), len(done.text.split())
    return {
        "program": program,
        "outcome": outcome,
        "lines": [number for start, end in done.removed for number in range(start, end + 1)],
        "replaced": [{"source": each.source, "target": each.target, "count": each.count} for each in done.replaced],
        "errors": len(done.errors),
        "error_messages": list(done.errors[:ERRORS_TOLD]),
        "words": after,
        "kept_word_ratio": after / before if before else None,
    }
