from __future__ import annotations

import pyarrow as pa
import pytest

from curate.apply import Apply
from curate.errors import OperatorError, PipelineError
from curate.registry import find
from tests.operators.conftest import batch

MARK = pa.struct([("keep", pa.bool_()), ("reason", pa.string()), ("kept_id", pa.string()), ("similarity", pa.float32())])
MARKS = pa.array(
    [
        {"keep": True, "reason": None, "kept_id": None, "similarity": None},
        {"keep": False, "reason": "near_duplicate", "kept_id": "0", "similarity": 0.875},
        {"keep": False, "reason": None, "kept_id": None, "similarity": None},
        {"keep": None, "reason": None, "kept_id": None, "similarity": None},
        None,
    ],
    MARK,
)
DOCS = batch(["a", "b", "c", "d", "e"], dedup=MARKS)


def test_evidence_goes_into_the_verdict() -> None:
    nothing = {"kept_id": None, "similarity": None}
    assert Apply("dedup").drop(DOCS).to_pylist() == [
        None,
        {"reason": "near_duplicate", "kept_id": "0", "similarity": 0.875},
        {"reason": "not_kept"} | nothing,
        {"reason": "unknown"} | nothing,
        {"reason": "unknown"} | nothing,
    ]


def test_slices_give_the_same() -> None:
    assert Apply("dedup").drop(DOCS.slice(1, 3)).to_pylist() == Apply("dedup").drop(DOCS).to_pylist()[1:4]
    assert len(Apply("dedup").drop(DOCS.slice(0, 0))) == 0


def test_marks_without_evidence() -> None:
    docs = batch(["a", "b"], chosen=pa.array([{"keep": True}, {"keep": False}]))
    assert Apply("chosen").drop(docs).to_pylist() == [None, {"reason": "not_kept"}]
    assert Apply("chosen").reads() == ("chosen.keep",)


def test_what_marks_nothing_is_refused() -> None:
    with pytest.raises(PipelineError, match="without a true-or-false `keep`"):
        Apply("lang").verify(pa.schema({"lang": pa.struct([("code", pa.string())])}))
    with pytest.raises(PipelineError, match="without a true-or-false `keep`"):
        Apply("text").verify(DOCS.schema)
    with pytest.raises(OperatorError, match="not a struct"):
        Apply("text").drop(DOCS)
    Apply("dedup").verify(DOCS.schema)


def test_registered_by_the_engine() -> None:
    assert find("apply") == (Apply, None)
