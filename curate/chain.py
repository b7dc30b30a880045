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

from curate.document import ID, ID_TYPE, PARENT_ID, TEXT, set_column
from curate.errors import CurateError, OperatorError, TransientError
from curate.kernels import text_view
from curate.ledger import VERDICT, Record, Rows
from curate.protocols import Filter, FlatMapper, Mapper, Operator, Scorer
from curate.steps import StepSpec, operator
from curate.storage import Storage

Verb = Callable[[pa.RecordBatch], Any]
EXPANDED_TO_NONE = "expanded_to_none"
"""Why a document goes that a FlatMapper makes no other of."""


@dataclass(frozen=True)
class ChainStep:
    """An operator in its place: `label` is its name in the ledger, `into` the column of a Scorer."""

    operator: Operator
    label: str
    into: str


def made(specs: Sequence[StepSpec], storage: Storage) -> list[ChainStep]:
    """Return the steps with this worker's operators; the models that they ask use what was answered in the workspace."""
    steps = [ChainStep(operator(spec.operator), spec.label, spec.into) for spec in specs]
    for step in steps:
        for model in step.operator.models().values():
            model.remember(storage)
    return steps


class Chain:
    """Applies steps to batches; `max_errors` stops a run of errors early, `trace` keeps texts before and after edits."""

    def __init__(self, steps: Sequence[ChainStep], ledger: Record, max_errors: int, trace: bool) -> None:
        self.steps = steps
        self.ledger = ledger
        self.seconds: dict[str, float] = {}
        self._max_errors = max_errors
        self._trace = trace

    def apply(self, docs: pa.RecordBatch) -> tuple[pa.RecordBatch, Rows]:
        """Return what is left of a batch after all steps, and the place in the batch that each row came from."""
        rows: Rows = np.arange(docs.num_rows, dtype=np.int64)
        for step in self.steps:
            if not docs.num_rows:
                break
            begun = time.perf_counter()
            docs, rows = self._step(step, docs, rows)
            self._count_asked(step)
            self.seconds[step.label] = self.seconds.get(step.label, 0.0) + time.perf_counter() - begun
        return docs, rows

    def close(self) -> None:
        """Free what kernels and models remember of the last batches; the steps run in this process."""
        text_view.forget()
        for step in self.steps:
            for model in step.operator.models().values():
                model.forget()

    def _count_asked(self, step: ChainStep) -> None:
        for parameter, model in step.operator.models().items():
            if spent := model.spent():
                self.ledger.asked(step.label, {parameter: spent})

    def _step(self, step: ChainStep, docs: pa.RecordBatch, rows: Rows) -> tuple[pa.RecordBatch, Rows]:
        docs, rows, pieces = self._guarded(step, _verb(step), docs, rows)
        if not pieces:
            return docs, rows
        match step.operator:
            case Filter():
                return self._drop(step, docs, rows, pieces)
            case Scorer() as op:
                scores = _joined_arrays(step, pieces, op.output())
                self.ledger.scored(step.label, op.tally(scores))
                return set_column(docs, step.into, scores), rows
            case Mapper():
                return self._edit(step, docs, rows, joined(pieces, _named(step))), rows
            case _:
                return self._expand(step, docs, rows, joined(pieces, _named(step)))

    def _guarded(self, step: ChainStep, verb: Verb, docs: pa.RecordBatch, rows: Rows) -> tuple[pa.RecordBatch, Rows, list[Any]]:
        """Run a verb, quarantine the rows that break it, and return the rest with the results of each piece (none if no row is left)."""
        good: list[tuple[int, int]] = []
        results: list[Any] = []
        for start, part, result in bisect(verb, docs):
            if isinstance(result, BaseException):
                self._quarantine(step, part, result, rows[start : start + 1])
            else:
                _check_shape(step, part, result)
                good.append((start, part.num_rows))
                results.append(result)
        if len(results) == 1 and good[0] == (0, docs.num_rows):
            return docs, rows, results
        index = np.concatenate([np.arange(s, s + n) for s, n in good]) if good else np.array([], dtype=np.int64)
        return docs.take(pa.array(index, pa.int64())), rows[index], results

    def _quarantine(self, step: ChainStep, part: pa.RecordBatch, error: BaseException, row: Rows) -> None:
        doc_id = part.column(ID)[0].as_py()
        self.ledger.errored(step.label, [doc_id], [f"{type(error).__name__}: {error}"], row)
        if self.ledger.counts.errored > self._max_errors:
            raise OperatorError(
                f"step `{step.label}` raised on document `{doc_id}`: {type(error).__name__}: {error}\n{_where(error)}",
                f"mend the operator or the document, or allow more than {self._max_errors} quarantined rows with `max_errors`",
            ) from error

    def _drop(self, step: ChainStep, docs: pa.RecordBatch, rows: Rows, verdicts: list[Any]) -> tuple[pa.RecordBatch, Rows]:
        verdict = _joined_arrays(step, [_as_struct(step, piece) for piece in verdicts], VERDICT)
        reasons = pc.struct_field(verdict, "reason")
        if pc.any(pc.equal(reasons, "")).as_py():
            raise OperatorError(f"{_named(step)} gave an empty reason", "null keeps a document; a reason says why it goes")
        dropped = pc.is_valid(reasons)
        if not pc.any(dropped).as_py():
            return docs, rows
        gone = dropped.to_numpy(zero_copy_only=False)
        self.ledger.dropped(step.label, docs.filter(dropped), verdict.filter(dropped), rows[gone])
        left = docs.filter(pc.invert(dropped))
        if TEXT in docs.schema.names:
            text_view.select(docs.column(TEXT), left.column(TEXT), ~gone)  # the next filter need not find the words again
        return left, rows[~gone]

    def _edit(self, step: ChainStep, before: pa.RecordBatch, rows: Rows, after: pa.RecordBatch) -> pa.RecordBatch:
        if ID not in after.schema.names or not after.column(ID).equals(before.column(ID)):
            raise OperatorError(f"step `{step.label}` changed ids or their order", "a Mapper returns the same rows; use a FlatMapper")
        _check_columns(step, before, after)
        if TEXT in before.schema.names and TEXT in after.schema.names:
            self.ledger.edited(step.label, before.column(TEXT), after, rows, self._trace)
        return after

    def _expand(self, step: ChainStep, parents: pa.RecordBatch, rows: Rows, children: pa.RecordBatch) -> tuple[pa.RecordBatch, Rows]:
        place = pc.index_in(children.column(PARENT_ID).cast(ID_TYPE), parents.column(ID))
        if place.null_count:
            raise OperatorError(f"step `{step.label}` returned a row whose `parent_id` is no id of its batch")
        origin = place.to_numpy(zero_copy_only=False).astype(np.int64)
        if np.any(np.diff(origin) < 0):
            raise OperatorError(f"step `{step.label}` returned rows out of the order of their parents")
        first = np.searchsorted(origin, origin)
        ids = [f"{parent}/{n}" for parent, n in zip(children.column(PARENT_ID).to_pylist(), np.arange(len(origin)) - first, strict=True)]
        childless = np.ones(parents.num_rows, dtype=bool)
        childless[origin] = False
        if none := int(childless.sum()):
            gone = parents.filter(pa.array(childless))
            evidence = [pa.repeat(EXPANDED_TO_NONE, none), *(pa.nulls(none, field.type) for field in list(VERDICT)[1:])]
            self.ledger.dropped(step.label, gone, pa.StructArray.from_arrays(evidence, fields=list(VERDICT)), rows[childless])
        self.ledger.expanded(children.num_rows - (parents.num_rows - none))
        return set_column(children, ID, pa.array(ids, ID_TYPE)), rows[origin]


def bisect(verb: Verb, docs: pa.RecordBatch, start: int = 0) -> Iterator[tuple[int, pa.RecordBatch, Any]]:
    """Yield pieces of a batch in order, each with its result, or with the exception when it is one row that raises."""
    try:
        result = verb(docs)
    except CurateError:
        raise  # a missing model or a full disk is no fault of a row
    except MemoryError as error:
        raise TransientError("out of memory in an operator", cause="out_of_memory") from error
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # `sys.exit`, or a panic in a Rust library (Polars, tokenizers): no `Exception`
        if docs.num_rows <= 1:
            yield start, docs, error
            return
        half = docs.num_rows // 2
        yield from bisect(verb, docs.slice(0, half), start)
        yield from bisect(verb, docs.slice(half), start + half)
        return
    yield start, docs, result


def _check_columns(step: ChainStep, before: pa.RecordBatch, after: pa.RecordBatch) -> None:
    """Refuse columns that a Mapper takes away or adds without saying so: they would be lost without a word."""
    assert isinstance(step.operator, Mapper)
    declared = (set(before.schema.names) | set(step.operator.adds())) - set(step.operator.removes())
    lost, new = declared - set(after.schema.names), set(after.schema.names) - declared
    if lost or new:
        what = f"lost {', '.join(sorted(lost))}" if lost else f"added {', '.join(sorted(new))}"
        raise OperatorError(f"{_named(step)} {what}, which it does not declare", "declare columns in `adds()` and `removes()`")


def _check_shape(step: ChainStep, part: pa.RecordBatch, result: Any) -> None:
    """Refuse a result that the verb does not allow: a bug in the operator, not in a row."""
    name = _named(step)
    wants_batch = isinstance(step.operator, (Mapper, FlatMapper))
    if wants_batch != isinstance(result, pa.RecordBatch) or not isinstance(result, (pa.Array, pa.RecordBatch, pa.ChunkedArray)):
        raise OperatorError(f"{name} returned {type(result).__name__}, not a {'RecordBatch' if wants_batch else 'pyarrow Array'}")
    if isinstance(step.operator, FlatMapper):
        if PARENT_ID not in result.schema.names:
            raise OperatorError(f"{name} returned rows without a `parent_id` column")
    elif len(result) != part.num_rows:
        raise OperatorError(f"{name} returned {len(result)} rows for {part.num_rows}")


def _named(step: ChainStep) -> str:
    return f"step `{step.label}` ({type(step.operator).__name__})"


def _verb(step: ChainStep) -> Verb:
    """Return what a step does to a batch."""
    match step.operator:
        case Filter() as op:
            return op.drop
        case Scorer() as op:
            return op.score
        case Mapper() as op:
            return op.map
        case FlatMapper() as op:
            return op.expand
    raise OperatorError(f"step `{step.label}`: {type(step.operator).__name__} is no batch operator")


def _joined_arrays(step: ChainStep, pieces: list[Any], kind: pa.DataType) -> pa.Array:
    """Return one array of the declared type, cast without loss."""
    chunks = [chunk for piece in pieces for chunk in (piece.chunks if isinstance(piece, pa.ChunkedArray) else [piece])]
    try:
        cast = [chunk if chunk.type == kind else chunk.cast(kind) for chunk in chunks]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise OperatorError(
            f"{_named(step)} returned {pieces[0].type}, not {kind}: {error}",
            "a Scorer returns what its `output()` declares",
        ) from error
    return cast[0] if len(cast) == 1 else pa.concat_arrays(cast)


def joined(pieces: list[pa.RecordBatch], where: str) -> pa.RecordBatch:
    """Return one batch; a column that is all null in one piece takes its type from the others."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        table = pa.concat_tables([pa.Table.from_batches([piece]) for piece in pieces], promote_options="default")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise OperatorError(
            f"{where} returned columns of different types for parts of one batch: {error}",
            "give every array that it makes a type: pa.array(values, pa.string())",
        ) from error
    whole = table.combine_chunks().to_batches()
    return whole[0] if whole else pieces[0]


def _as_struct(step: ChainStep, verdict: Any) -> pa.StructArray:
    """Return a Filter's verdict with all columns of evidence."""
    if isinstance(verdict, pa.ChunkedArray):
        verdict = verdict.combine_chunks() if verdict.num_chunks != 1 else verdict.chunk(0)
    known = _columns(verdict) if pa.types.is_struct(verdict.type) else {"reason": verdict}
    kind = known["reason"].type if "reason" in known else None
    if kind is None or not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
        raise OperatorError(
            f"{_named(step)} returned {verdict.type}, not reasons",
            "a Filter returns a string per document, null to keep it, or a struct with `reason` and evidence; see `curate.decisions`",
        )
    columns = [known.get(field.name, pa.nulls(len(verdict), field.type)) for field in VERDICT]
    return pa.StructArray.from_arrays(
        [_joined_arrays(step, [c], f.type) for c, f in zip(columns, VERDICT, strict=True)], fields=list(VERDICT)
    )


def _columns(verdict: pa.StructArray) -> dict[str, pa.Array]:
    return dict(zip((field.name for field in verdict.type), verdict.flatten(), strict=True))


def _where(error: BaseException) -> str:
    """Return the lines of the traceback where the operator was called and where it raised."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    shown = frames if len(frames) <= 2 else [frames[0], frames[-1]]
    return "".join(traceback.format_list(shown)).rstrip()
