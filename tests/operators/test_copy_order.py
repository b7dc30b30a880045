"""Ranks put documents in the order that the rules say, and rules that say nothing are refused."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate_operators.copy_order import parse, seconds


def ordered(keep: Any, column: pa.Array, name: str = "x") -> list[int]:
    """Return row numbers, the one that stays first."""
    docs = pa.RecordBatch.from_arrays([column], [name])
    ranks = [rule.rank(docs) for rule in parse(keep)]
    return [int(row) for row in np.lexsort((np.arange(len(column)), *reversed(ranks)))]


def expected(values: list[Any], descending: bool) -> list[int]:
    def key(row: int) -> tuple[bool, Any]:
        value = values[row]
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        return missing, 0 if missing else -value if descending else value

    return sorted(range(len(values)), key=key)


@given(st.lists(st.none() | st.floats(width=32) | st.sampled_from([0.0, -0.0, math.inf, -math.inf])))
def test_floats(values: list[float | None]) -> None:
    for kind in (pa.float32(), pa.float64()):
        column = pa.array(values, kind)
        assert ordered({"highest": "x"}, column) == expected(values, True)
        assert ordered({"lowest": "x"}, column) == expected(values, False)


@given(st.lists(st.none() | st.integers(-(2**63) + 1, 2**63 - 2)))
def test_whole_numbers_to_the_last_digit(values: list[int | None]) -> None:
    assert ordered({"highest": "x"}, pa.array(values, pa.int64())) == expected(values, True)
    assert ordered({"lowest": "x"}, pa.array(values, pa.int64())) == expected(values, False)
    positive = [value if value is None else value + 2**63 for value in values]
    assert ordered({"highest": "x"}, pa.array(positive, pa.uint64())) == expected(positive, True)


@given(st.lists(st.none() | st.text(max_size=5)))
def test_lengths_in_characters(texts: list[str | None]) -> None:
    sizes = [None if text is None else len(text) for text in texts]
    assert ordered("longest", pa.array(texts, pa.large_string()), "text") == expected(sizes, True)
    assert ordered("shortest", pa.array(texts, pa.string()), "text") == expected(sizes, False)


DATES = [
    ("2024", "2024-01-01T00:00:00"),
    ("2024-05", "2024-05-01T00:00:00"),
    ("2024-05-31", "2024-05-31T00:00:00"),
    ("20240531", "2024-05-31T00:00:00"),
    ("20240531235959", "2024-05-31T23:59:59"),
    ("2024-05-31T10:00Z", "2024-05-31T10:00:00"),
    ("2024-05-31T10:00:05.25Z", "2024-05-31T10:00:05"),
    ("2024-05-31 10:00:00+02:00", "2024-05-31T08:00:00"),
    ("2024-05-31T10:00:00-0530", "2024-05-31T15:30:00"),
    (" 1969-12-31T23:59:59Z", "1969-12-31T23:59:59"),
    ("soon", None),
    ("", None),
    (None, None),
]


@pytest.mark.parametrize(("given_as", "is_"), DATES)
def test_dates_as_strings(given_as: str | None, is_: str | None) -> None:
    found = seconds(pa.array(["2000-01-01", given_as], pa.string()))[1].as_py()
    moment = None if is_ is None else datetime.datetime.fromisoformat(is_).replace(tzinfo=datetime.UTC)
    assert found == (None if moment is None else int(moment.timestamp()))


@pytest.mark.parametrize(
    "kind",
    [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us"), pa.timestamp("ns", "Europe/Berlin")],
)
def test_dates_of_arrow(kind: pa.DataType) -> None:
    days = [datetime.date(2024, 5, 31), None, datetime.date(1960, 1, 1), datetime.date(2025, 1, 1)]
    column = pa.array(days, pa.date32()).cast(pa.timestamp("s")).cast(kind)
    assert ordered({"latest": "x"}, column) == [3, 0, 2, 1]
    assert ordered({"earliest": "x"}, column) == [2, 0, 3, 1]
    assert seconds(column)[0].as_py() == 1717113600


def test_preferred_values_then_what_breaks_the_tie() -> None:
    docs = pa.RecordBatch.from_pydict({"source": ["web", None, "wiki", "blog", "wiki"], "text": ["long", "longest", "a", "longer", "ab"]})
    keep = [{"prefer": {"source": ["wiki", "web"]}}, "longest"]
    ranks = [rule.rank(docs) for rule in parse(keep)]
    assert np.lexsort(tuple(reversed(ranks))).tolist() == [4, 2, 0, 1, 3]


def test_whole_numbers_are_preferred_too() -> None:
    docs = pa.RecordBatch.from_pydict({"dump": pa.array([3, None, 1, 2], pa.int64()), "text": ["a", "b", "c", "d"]})
    [rule] = parse({"prefer": {"dump": [1, 2]}})
    assert rule.rank(docs).tolist() == [2, 2, 0, 1]


def test_a_nested_column() -> None:
    column = pa.array([{"score": 0.5}, None, {"score": 0.9}, {"score": None}])
    assert ordered({"highest": "x.score"}, column) == [2, 0, 1, 3]


@pytest.mark.parametrize(
    "keep", ["last", [], [[]], {}, {"highest": ""}, {"highest": 3}, {"highest": "a", "lowest": "b"}, {"prefer": ["wiki"]}, {"prefer": {"a": []}}, 7, None]
)  # fmt: skip
def test_what_is_no_rule(keep: Any) -> None:
    with pytest.raises(PipelineError, match="keep"):
        parse(keep)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"highest": "url"}, "needs a number, and column `url` is string"),
        ({"latest": "lang.n"}, "needs a date, and column `lang.n` is int64"),
    ],
)
def test_a_column_of_the_wrong_type(keep: Any, message: str) -> None:
    schema = pa.schema({"url": pa.string(), "lang": pa.struct({"n": pa.int64()})})
    with pytest.raises(PipelineError, match=message):
        parse(keep)[0].verify(schema)
    for fine in ({"lowest": "lang.n"}, {"latest": "url"}, {"highest": "missing.x"}, {"prefer": {"url": ["a"]}}):
        parse(fine)[0].verify(schema)
