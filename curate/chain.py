"""Runs a chain of batch operators over one batch after another and leaves a ledger of every row.

The engine wraps operators from outside. A row that makes an operator raise is bisected out of its batch and quarantined;
since operators are row-wise pure, the surviving rows are the same for any batch size.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, PARENT_ID, TEXT, set_column
from curate.errors import CurateError, OperatorError, TransientError
from curate.ledger import Record, Rows
from curate.protocols import Filter, FlatMapper, Mapper, Operator, Scorer

Verb = Callable[[pa.RecordBatch], Any]


@dataclass(frozen=True)
class ChainStep:
    """An operator in its place: `label` is its name in the ledger, `into` the column of a Scorer."""

    operator: Operator
    label: str
    into: str


class Chain:
    """Applies steps to batches; `max_errors` stops a run of errors early, `trace` keeps texts before and after edits."""

    def __init__(self, steps: Sequence[ChainStep], ledger: Record, max_errors: int, trace: bool) -> None:
        self.steps = steps
        self.ledger = ledger
        self.seconds: dict[str, float] = {}
        self._max_errors = max_errors
        self._trace = trace

    def apply(self, docs: pa.RecordBatch) -> pa.RecordBatch:
        """Return what is left of a batch after all steps."""
        rows: Rows = np.arange(docs.num_rows, dtype=np.int64)
        for step in self.steps:
            if not docs.num_rows:
                break
            begun = time.perf_counter()
            docs, rows = self._step(step, docs, rows)
            self.seconds[step.label] = self.seconds.get(step.label, 0.0) + time.perf_counter() - begun
        return docs

    def _step(self, step: ChainStep, docs: pa.RecordBatch, rows: Rows) -> tuple[pa.RecordBatch, Rows]:
        match step.operator:
            case Filter() as op:
                docs, rows, verdict = self._guarded(step, op.drop, docs, rows)
                return self._drop(step, docs, rows, verdict)
            case Scorer() as op:
                docs, rows, values = self._guarded(step, op.score, docs, rows)
                return set_column(docs, step.into, _whole(values, op.output())), rows
            case Mapper() as op:
                before, rows, after = self._guarded(step, op.map, docs, rows)
                return self._edit(step, before, rows, after), rows
            case FlatMapper() as op:
                parents, rows, children = self._guarded(step, op.expand, docs, rows)
                return self._expand(step, parents, rows, children)
        raise OperatorError(f"step `{step.label}`: {type(step.operator).__name__} is no batch operator")

    def _guarded(self, step: ChainStep, verb: Verb, docs: pa.RecordBatch, rows: Rows) -> tuple[pa.RecordBatch, Rows, list[Any]]:
        """Run a verb, quarantine the rows that break it, and return the rest with the results of each piece."""
        good: list[tuple[int, int]] = []
        results: list[Any] = []
        for start, part, result in bisect(verb, docs):
            if isinstance(result, Exception):
                self._quarantine(step, part, result, rows[start : start + 1])
            else:
                _check_shape(step, part, result)
                good.append((start, part.num_rows))
                results.append(result)
        if len(results) == 1 and good[0] == (0, docs.num_rows):
            return docs, rows, results
        index = np.concatenate([np.arange(s, s + n) for s, n in good]) if good else np.array([], dtype=np.int64)
        kept = docs.take(pa.array(index, pa.int64()))
        if not results:
            results = [verb(docs.slice(0, 0))]
        return kept, rows[index], results

    def _quarantine(self, step: ChainStep, part: pa.RecordBatch, error: Exception, row: Rows) -> None:
        doc_id = part.column(ID)[0].as_py()
        self.ledger.errored(step.label, [doc_id], [f"{type(error).__name__}: {error}"], row)
        if self.ledger.counts.errored > self._max_errors:
            raise OperatorError(
                f"step `{step.label}` raised on document `{doc_id}`: {type(error).__name__}: {error}\n{_where(error)}",
                f"mend the operator or the document, or allow more than {self._max_errors} quarantined rows with `max_errors`",
            ) from error

    def _drop(self, step: ChainStep, docs: pa.RecordBatch, rows: Rows, verdicts: list[Any]) -> tuple[pa.RecordBatch, Rows]:
        verdict = _as_struct(_joined(verdicts))
        dropped = pc.is_valid(pc.struct_field(verdict, "reason"))
        if not pc.any(dropped).as_py():
            return docs, rows
        gone = dropped.to_numpy(zero_copy_only=False)
        self.ledger.dropped(step.label, docs.filter(dropped), verdict.filter(dropped), rows[gone])
        return docs.filter(pc.invert(dropped)), rows[~gone]

    def _edit(self, step: ChainStep, before: pa.RecordBatch, rows: Rows, pieces: list[Any]) -> pa.RecordBatch:
        after = pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
        same = after.column(ID) is before.column(ID) or after.column(ID).equals(before.column(ID))
        if not same:
            raise OperatorError(f"step `{step.label}` changed ids or their order", "a Mapper returns the same rows; use a FlatMapper")
        if TEXT in before.schema.names and TEXT in after.schema.names:
            self.ledger.edited(step.label, before.column(TEXT), after, rows, self._trace)
        return after

    def _expand(self, step: ChainStep, parents: pa.RecordBatch, rows: Rows, pieces: list[Any]) -> tuple[pa.RecordBatch, Rows]:
        children = pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
        place = pc.index_in(children.column(PARENT_ID), parents.column(ID))
        if place.null_count:
            raise OperatorError(f"step `{step.label}` returned a row whose `parent_id` is no id of its batch")
        origin = place.to_numpy(zero_copy_only=False).astype(np.int64)
        if np.any(np.diff(origin) < 0):
            raise OperatorError(f"step `{step.label}` returned rows out of the order of their parents")
        first = np.searchsorted(origin, origin)
        ids = [f"{parent}/{n}" for parent, n in zip(children.column(PARENT_ID).to_pylist(), np.arange(len(origin)) - first, strict=True)]
        self.ledger.expanded(children.num_rows - parents.num_rows)
        return set_column(children, ID, pa.array(ids, pa.string())), rows[origin]


def bisect(verb: Verb, docs: pa.RecordBatch, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch, Any]]:
    """Yield pieces of a batch in order, each with its result, or with the exception when it is one row that raises."""
    try:
        result = verb(docs)
    except CurateError:
        raise  # a missing model or a full disk is no fault of a row
    except MemoryError as error:
        raise TransientError("out of memory in an operator", cause="out_of_memory") from error
    except Exception as error:
        if docs.num_rows == 1:
            yield start, docs, error
            return
        half = docs.num_rows // 2
        yield from bisect(verb, docs.slice(0, half), start)
        yield from bisect(verb, docs.slice(half), start + half)
        return
    yield start, docs, result


def _check_shape(step: ChainStep, part: pa.RecordBatch, result: Any) -> None:
    """Refuse a result that the verb does not allow: a bug in the operator, not in a row."""
    name = f"step `{step.label}` ({type(step.operator).__name__})"
    wants_batch = isinstance(step.operator, (Mapper, FlatMapper))
    if wants_batch != isinstance(result, pa.RecordBatch) or not isinstance(result, (pa.Array, pa.RecordBatch, pa.ChunkedArray)):
        raise OperatorError(f"{name} returned {type(result).__name__}, not a {'RecordBatch' if wants_batch else 'pyarrow Array'}")
    if isinstance(step.operator, FlatMapper):
        if PARENT_ID not in result.schema.names:
            raise OperatorError(f"{name} returned rows without a `parent_id` column")
    elif len(result) != part.num_rows:
        raise OperatorError(f"{name} returned {len(result)} rows for {part.num_rows}")


def _joined(pieces: list[Any]) -> pa.Array:
    flat = [chunk for piece in pieces for chunk in (piece.chunks if isinstance(piece, pa.ChunkedArray) else [piece])]
    return flat[0] if len(flat) == 1 else pa.concat_arrays(flat)


def _whole(pieces: list[Any], kind: pa.DataType) -> pa.Array:
    values = _joined(pieces)
    return values if values.type == kind else values.cast(kind)


def _as_struct(verdict: pa.Array) -> pa.StructArray:
    if pa.types.is_struct(verdict.type):
        return verdict
    return pa.StructArray.from_arrays([verdict.cast(pa.string())], ["reason"])


def _where(error: Exception) -> str:
    """Return the last lines of the operator's own traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_list(frames[-2:])).rstrip()
