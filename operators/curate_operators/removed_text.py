"""What goes from the texts of documents by marks of lines or spans: counted, to the byte, as `remove_lines` and `remove_spans` cut.

A document that does not stay loses all of its text, whatever else is marked in it. What the operators' marks hold says how many
lines or spans go; how many bytes these are stands in the texts only, so each marked text that stays is cut once to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import TEXT_TYPE
from curate.report.units import plural, share, size
from curate.work import Verdict
from curate_operators.remove_lines import LINES, without_lines
from curate_operators.remove_spans import ENDS, STARTS, without_spans
from curate_operators.site_lines import Ints

Piece = Literal["line", "span"]
LISTS: Mapping[Piece, tuple[str, ...]] = {"line": (LINES,), "span": (STARTS, ENDS)}
PARTS = ("pieces", "documents", "whole", "removed_bytes", "bytes")  # of `totals`


def lost(texts: pa.Array, marks: pa.RecordBatch, piece: Piece) -> tuple[Ints, Ints, Ints]:
    """Return for each document the bytes of its text, how many of them go, and how many pieces; of one that goes whole, none.

    `marks` have the rows of `texts`: `keep`, and the lists of `piece`.
    """
    lists = [marks.column(name) for name in LISTS[piece]]
    texts, keep = pc.cast(texts, TEXT_TYPE), pc.fill_null(marks.column("keep"), False).to_numpy(zero_copy_only=False)
    sizes, pieces = _lengths(pc.binary_length(texts)), np.where(keep, _lengths(pc.list_value_length(lists[0])), 0)
    removed = np.where(keep, 0, sizes)
    cut = (pieces > 0) & texts.is_valid().to_numpy(zero_copy_only=False)
    if cut.any():
        chosen = [values.filter(pa.array(cut)) for values in (texts, *lists)]
        rest = without_lines(*chosen) if piece == "line" else without_spans(*chosen)
        removed[cut] = sizes[cut] - _lengths(pc.binary_length(rest))
    return sizes, removed, pieces


def _lengths(values: pa.Array) -> Ints:
    lengths: Ints = pc.fill_null(values, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths


def totals(keep: pa.Array, found: tuple[Ints, Ints, Ints]) -> dict[str, int]:
    """Return the sums of some documents by the names of `PARTS`."""
    sizes, removed, pieces = found
    whole = len(keep) - (pc.sum(keep).as_py() or 0)
    sums = (pieces.sum(), np.count_nonzero(pieces), whole, removed.sum(), sizes.sum())
    return {name: int(value) for name, value in zip(PARTS, sums, strict=True)}


def added(found: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return sums of sums."""
    rows = list(found)
    return {name: sum(row[name] for row in rows) for name in PARTS}


def note(found: Mapping[str, int], piece: Piece) -> Verdict:
    """Return in one sentence how much text goes, with the numbers behind it."""
    pieces, documents, whole, removed, size_of_all = (found[name] for name in PARTS)
    told = [f"{plural(pieces, piece)} {_go(pieces)} from {plural(documents, 'document')}"] if pieces else []
    told += [f"{plural(whole, 'document')} {_go(whole)} whole"] if whole else []
    message = f"{' and '.join(told)}: {size(removed)} of {size(size_of_all)} of text ({share(removed, size_of_all)})"
    measures = {f"{piece}s": pieces, "documents that lose some": documents, "documents that go whole": whole}
    measures |= {"bytes that go": removed, "bytes of text": size_of_all}
    return Verdict(True, message if told else f"no {piece} and no document goes", measures)


def _go(number: int) -> str:
    return "goes" if number == 1 else "go"
