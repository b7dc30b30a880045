"""The battery that every operator passes, ours and yours.

    from curate.testing import check_operator

    def test_my_filter():
        check_operator(DigitRatio(max_ratio=0.3))

It proves on awkward documents what the engine relies on: results that do not depend on how documents were cut into batches,
declarations that say what really happens, parameters that survive a trip through JSON to a worker.
"""

from __future__ import annotations

import dataclasses
import pickle
import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.document import ID, PARENT_ID, TEXT
from curate.protocols import DatasetOperator, Filter, FlatMapper, Judge, Mapper, Operator, Scorer
from curate.testing_documents import documents

__all__ = ["check_operator", "documents"]

MAX_REASON_CHARS = 200
EVIDENCE = {"reason": pa.string(), "value": pa.float64(), "kept_id": pa.string(), "similarity": pa.float64()}
_SNAKE_CASE = re.compile(r"[a-z][a-z0-9_]*")
BYSTANDER = "bystander"


def check_operator(operator: Operator, docs: pa.RecordBatch | None = None) -> None:
    """Raise `AssertionError` with a sentence that says what is wrong, if anything.

    `docs` are the documents to try it on, with at least the columns that it reads; None = `documents()`, which has `id`,
    `text`, `html`, `source` and `url`. Operators on whole datasets are checked for their declarations only.
    """
    check_parameters(operator)
    if isinstance(operator, (DatasetOperator, Judge)):
        return
    batch = _declared_columns(operator, documents() if docs is None else docs)
    batch = _without_refused_nulls(operator, batch)
    check_result(operator, batch)
    check_purity(operator, batch)


def check_parameters(operator: Operator) -> None:
    """Check the class: frozen, equal and hashable by its parameters, which JSON can carry; a version; declarations."""
    name = type(operator).__name__
    _require(dataclasses.is_dataclass(operator), f"{name} is not a dataclass")
    params = {field.name: getattr(operator, field.name) for field in dataclasses.fields(operator)}  # type: ignore[arg-type]
    _require(operator.__dataclass_params__.frozen, f"{name} is not frozen: write @dataclass(frozen=True)")  # type: ignore[attr-defined]
    try:
        carried = orjson.loads(orjson.dumps(params))
    except TypeError as error:
        raise AssertionError(f"{name} has a parameter that JSON cannot carry: {error}") from error
    twin = type(operator)(**{key: tuple(value) if isinstance(value, list) else value for key, value in carried.items()})
    _require(twin == operator, f"{name} rebuilt from its parameters is not equal to the first")
    _require(hash(twin) == hash(operator), f"{name} rebuilt from its parameters has another hash")
    _require(pickle.loads(pickle.dumps(twin)) == operator, f"{name} is not equal after pickling")  # noqa: S301 - our own bytes
    _require(type(operator.version) is int and operator.version > 0, f"{name}.version is not a positive integer")
    reads = operator.reads()
    _require(isinstance(reads, tuple) and all(isinstance(path, str) for path in reads), f"{name}.reads() is not a tuple of strings")


def check_result(operator: Operator, docs: pa.RecordBatch) -> None:
    """Check that two calls agree, and that the result is what was declared, also for no documents."""
    name = type(operator).__name__
    result = _call(operator, docs)
    _require(_rows(_call(operator, docs)) == _rows(result), f"{name} gave two results for the same batch")
    check_shape(operator, docs, result)
    check_shape(operator, docs.slice(0, 0), _call(operator, docs.slice(0, 0)))


def check_shape(operator: Operator, docs: pa.RecordBatch, result: Any) -> None:
    """Check that a result is what the verb and the declarations promise for these documents."""
    if isinstance(operator, Filter):
        _check_verdict(operator, docs, result)
    elif isinstance(operator, Scorer):
        name = type(operator).__name__
        _require(isinstance(result, pa.Array), f"{name}.score returned {type(result).__name__}, not a pyarrow Array")
        _require(result.type == operator.output(), f"{name}.score returned {result.type}, output() says {operator.output()}")
        _require(len(result) == len(docs), f"{name}.score returned {len(result)} values for {len(docs)} documents")
    elif isinstance(operator, (Mapper, FlatMapper)):
        _check_batch(operator, docs, result)


def check_purity(operator: Operator, docs: pa.RecordBatch) -> None:
    """Check that each document's result is the same in any company: alone, in any split, in another order, in a slice."""
    name = type(operator).__name__
    rows = docs.num_rows
    alone = [_rows(_call(operator, docs.slice(i, 1))) for i in range(rows)]
    whole = _rows(_call(operator, docs))
    _require(
        whole == _flat(alone), f"{name} gives a document another result in a batch than alone: {_first_difference(whole, _flat(alone))}"
    )
    for size in (2, 3, 7):
        parts = _flat(_rows(_call(operator, docs.slice(start, size))) for start in range(0, rows, size))
        _require(parts == whole, f"{name} gives other results in batches of {size}: {_first_difference(parts, whole)}")
    backwards = _rows(_call(operator, docs.take(pa.array(range(rows - 1, -1, -1), pa.int64()))))
    _require(backwards == _flat(reversed(alone)), f"{name} gives other results when the documents come in another order")
    copied = pa.RecordBatch.from_pylist(docs.slice(1).to_pylist(), schema=docs.schema)
    _require(_rows(_call(operator, copied)) == _flat(alone[1:]), f"{name} gives other results for a slice than for a copy of it")


def _declared_columns(operator: Operator, docs: pa.RecordBatch) -> pa.RecordBatch:
    """Leave only what the operator declares to read, the id, and a column that it cannot know."""
    heads = dict.fromkeys(path.partition(".")[0] for path in operator.reads())
    missing = [head for head in heads if head not in docs.schema.names]
    _require(not missing, f"{type(operator).__name__} reads {', '.join(missing)}: give check_operator documents with these columns")
    batch = docs.select([ID, *(head for head in heads if head != ID)])
    return batch.append_column(BYSTANDER, pa.array(range(docs.num_rows), pa.int64()))


def _without_refused_nulls(operator: Operator, docs: pa.RecordBatch) -> pa.RecordBatch:
    """An operator may raise on null text, then the engine quarantines the row; on any other row it may not."""
    before, refused = _bytes(docs), []
    for i in range(docs.num_rows):
        try:
            _call(operator, docs.slice(i, 1))
        except Exception as error:
            is_null = TEXT in docs.schema.names and not docs.column(TEXT)[i].is_valid
            where = f"on document `{docs.column(ID)[i]}`"
            _require(is_null, f"{type(operator).__name__} raised {where}: {type(error).__name__}: {error}")
            refused.append(i)
    _require(_bytes(docs) == before, f"{type(operator).__name__} changed the batch that it was given")
    return docs.take(pa.array([i for i in range(docs.num_rows) if i not in refused], pa.int64()))


def _check_verdict(operator: Filter, docs: pa.RecordBatch, verdict: Any) -> None:
    name = type(operator).__name__
    _require(isinstance(verdict, pa.Array), f"{name}.drop returned {type(verdict).__name__}, not a pyarrow Array")
    _require(len(verdict) == len(docs), f"{name}.drop returned {len(verdict)} entries for {len(docs)} documents")
    if pa.types.is_struct(verdict.type):
        found = {field.name: field.type for field in verdict.type}
        wrong = [f"{key}: {kind}" for key, kind in found.items() if EVIDENCE.get(key) != kind]
        _require("reason" in found and not wrong, f"{name}.drop returned a struct with wrong fields: {', '.join(wrong) or 'no reason'}")
        verdict = pc.struct_field(verdict, "reason")
    is_text = pa.types.is_string(verdict.type) or pa.types.is_large_string(verdict.type)
    _require(is_text, f"{name}.drop returned {verdict.type}: reasons are strings, null = keep")
    quotable = [value for field in dataclasses.fields(operator) if isinstance(value := getattr(operator, field.name), str)]  # type: ignore[arg-type]
    for reason in set(verdict.to_pylist()) - {None}:
        _check_reason(name, reason, quotable)


def _check_reason(name: str, reason: str, quotable: Sequence[str]) -> None:
    """A reason is a word, or quotes a parameter; what was measured belongs into `value`, else each document has its own reason."""
    quoted = any(reason in " ".join(text.split()) for text in quotable)
    _require(bool(_SNAKE_CASE.fullmatch(reason)) or quoted, f"{name}: reason `{reason}` is neither snake_case nor quoted from a parameter")
    _require(len(reason) <= MAX_REASON_CHARS, f"{name}: a reason is longer than {MAX_REASON_CHARS} characters: {reason}")


def _check_batch(operator: Mapper | FlatMapper, docs: pa.RecordBatch, result: Any) -> None:
    name = type(operator).__name__
    _require(isinstance(result, pa.RecordBatch), f"{name} returned {type(result).__name__}, not a RecordBatch")
    expected = {field.name: field.type for field in docs.schema} | dict(operator.adds())
    if isinstance(operator, FlatMapper):
        expected[PARENT_ID] = pa.string()
    else:
        for column in operator.removes():
            expected.pop(column, None)
        _require(result.column(ID).equals(docs.column(ID)), f"{name} changed ids, their number or their order")
    found = {field.name: field.type for field in result.schema}
    surprise = [f"{key}: {kind}" for key, kind in found.items() if expected.get(key) != kind]
    _require(not surprise, f"{name} returned columns other than it declares: {', '.join(surprise)}")
    missing = [key for key in expected if key not in found]
    _require(not missing, f"{name} lost columns: {', '.join(missing)}")
    if isinstance(operator, Mapper):
        _require(result.column(BYSTANDER).equals(docs.column(BYSTANDER)), f"{name} changed a column that it knows nothing about")


def _call(operator: Operator, docs: pa.RecordBatch) -> Any:
    if isinstance(operator, Filter):
        return operator.drop(docs)
    if isinstance(operator, Mapper):
        return operator.map(docs)
    if isinstance(operator, Scorer):
        return operator.score(docs)
    if isinstance(operator, FlatMapper):
        return operator.expand(docs)
    raise AssertionError(f"{type(operator).__name__} has none of curate's verbs: Filter, Mapper, FlatMapper, Scorer")


def _rows(result: Any) -> list[Any]:
    """Return a result as comparable rows; `repr`, because NaN equals NaN there and 1 does not equal True."""
    return [repr(row) for row in result.to_pylist()]


def _bytes(docs: pa.RecordBatch) -> bytes:
    return bytes(docs.serialize())


def _flat(parts: Iterable[list[Any]]) -> list[Any]:
    return [row for part in parts for row in part]


def _first_difference(left: Sequence[Any], right: Sequence[Any]) -> str:
    pairs = zip(left, right, strict=False)
    return next((f"{a[:200]} and {b[:200]}" for a, b in pairs if a != b), f"{len(left)} and {len(right)} rows")


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)
