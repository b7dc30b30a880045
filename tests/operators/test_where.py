from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from curate.errors import PipelineError
from curate_operators.where import Where
from curate_operators.where_expression import split_and
from tests.operators.conftest import batch

LANG = pa.struct([("code", pa.string()), ("confidence", pa.float32())])
DOCS = batch(
    ["hi", "yo", None, "x%y"],
    n=pa.array([1, 2, None, 4], pa.int64()),
    m=pa.array([1, 3, 2, None], pa.int64()),
    lang=pa.array([{"code": "en", "confidence": 0.9}, {"code": "en", "confidence": 0.5}, None, {"code": "de", "confidence": 0.25}], LANG),
    dedup=pa.array([{"keep": True}, {"keep": False}, None, {"keep": True}], pa.struct([("keep", pa.bool_())])),
    tags=pa.array([["a"], ["b", "a"], None, []], pa.list_(pa.string())),
    day=pa.array([18262, 0, None, 19000], pa.date32()),
)


def drops(keep: str, docs: pa.RecordBatch = DOCS) -> list[tuple[str, float | None] | None]:
    operator = Where(keep)
    operator.verify(docs.schema)
    return [row and (row["reason"], row["value"]) for row in operator.drop(docs).to_pylist()]


def kept(keep: str) -> list[int]:
    return [i for i, row in enumerate(drops(keep)) if row is None]


def test_reason_is_the_first_false_part_and_value_what_it_read() -> None:
    assert drops("lang.code = 'en' and lang.confidence >= 0.65") == [
        None,
        ("lang.confidence >= 0.65", 0.5),
        ("unknown", None),
        ("lang.code = 'en'", None),
    ]
    assert drops("n  >\n 1 and m > n") == [("n > 1", 1.0), None, ("unknown", None), ("unknown", None)]
    assert drops("m <= n") == [None, ("m <= n", None), ("unknown", None), ("unknown", None)]


def test_a_false_part_decides_although_another_is_unknown() -> None:
    assert drops("n > 0 and m > 2")[2] == ("m > 2", 2.0)


def test_fields_of_attributes() -> None:
    assert drops("dedup.keep") == [None, ("dedup.keep", None), ("unknown", None), None]
    assert Where("dedup.keep and lang.code = 'en' and lang.code <> 'xx'").reads() == ("dedup.keep", "lang.code")


@pytest.mark.parametrize(
    ("keep", "rows"),
    [
        ("n between 1 and 2", [0, 1]),
        ("not (n between 1 and 2)", [3]),
        ("n in (1, 4) or lang.code is null", [0, 2, 3]),
        ("n not in (1, 4)", [1]),
        ("n is null", [2]),
        ("text like '%y%'", [1, 3]),
        ("text like 'x%'", [3]),
        ("text ilike 'HI'", [0]),
        ("starts_with(text, 'y') or ends_with(text, 'y')", [1, 3]),
        ("regexp_like(text, '^[hx]')", [0, 3]),
        ("text ~ '%'", [3]),
        ("length(text) > 2", [3]),
        ("upper(text) = 'HI' or lower(text) = 'yo'", [0, 1]),
        ("coalesce(n, 9) >= 4", [2, 3]),
        ("case when n > 1 then m > 2 else m = 1 end", [0, 1]),
        ("cast(n as double) / 2 >= 1", [1, 3]),
        ("n % 2 = 0 and abs(n - 3) = 1", [1, 3]),
        ("round(lang.confidence, 1) = 0.5 or lang.confidence < 0.3", [1, 3]),
        ("extract(year from day) >= 2020", [0, 3]),
        ("day < date '2000-01-01'", [1]),
        ("array_contains(tags, 'a')", [0, 1]),
        ("true and n = 1", [0]),
        ("id = '3'", [3]),
    ],
)
def test_row_wise_expressions(keep: str, rows: list[int]) -> None:
    assert kept(keep) == rows
    for i in range(4):
        assert (Where(keep).drop(DOCS.slice(i, 1))[0].as_py() is None) == (i in rows)


WORDS = batch(
    ["a", "b"],
    top=pa.array([{"label": "1", "probability": 0.9}, {"label": "0", "probability": 0.4}]),
    limit=pa.array([3, 1]),
    user=pa.array([{"karma": 7}, {"karma": 2}]),
    quality=pa.array([0.9, 0.9]),
)


@pytest.mark.parametrize(
    "keep",
    [
        "top.label = '1'",
        " top . probability >= 0.5",
        "quality > 0.5 and top.label = '1'",
        "top.label = '1' and top.probability between 0.5 and 1 and quality > 0.5",
        "top.label = '0' and quality < 0.5 or top.label = '1'",
        "limit > 1",
        "limit between 2 and 3 and quality > 0.5",
        "limit in (3, 4)",
        "user.karma > 5",
        "quality > 0.5 and user.karma > 5 and top.label = '1'",
        "quality < 0.5 or user.karma > 5",
        '"top".label = \'1\' and "limit" = 3',
    ],
)
def test_columns_named_like_words_of_sql(keep: str) -> None:
    dropped = drops(keep, WORDS)
    assert dropped[0] is None and dropped[1] is not None
    assert set(Where(keep).reads()) <= {"top.label", "top.probability", "limit", "user.karma", "quality"}


def test_the_reason_is_what_was_written() -> None:
    assert drops("quality > 0.5 and top.probability >= 0.5", WORDS) == [None, ("top.probability >= 0.5", 0.4)]


@pytest.mark.parametrize(("keep", "quoted"), [("quality > user", '"user"'), ("quality > 0.5 or user > 5", '"user"')])
def test_a_word_that_must_be_quoted_is_named(keep: str, quoted: str) -> None:
    with pytest.raises(PipelineError, match="cannot read") as caught:
        Where(keep)
    assert quoted in str(caught.value.hint)


@pytest.mark.parametrize(
    ("keep", "name"),
    [
        ("n > avg(n)", "Agg Mean"),
        ("n = max(n)", "Agg Max"),
        ("n > first(n)", "Agg First"),
        ("sum(n) > 1", "Agg"),
        ("count(*) > 1", "Len"),
        ("stddev(n) > 1", "Agg"),
        ("n > median(n)", "Agg Median"),
        ("n > quantile_cont(n, 0.5)", "Quantile"),
        ("rank() over (order by n) = 1", "rank"),
        ("row_number() over (order by n) = 1", "row_number|Range"),
        ("lag(n) over (order by n) > 1", "lag|Over"),
        ("sum(n) over (partition by m) > 1", "Over"),
        ("n > (select max(n) from t)", "relation|subquery"),
        ("n in (select 1)", "in"),
        ("exists(select 1)", "SubPlan|Exists"),
        ("n = any(m)", "list of values"),
        ("unnest(tags) = 'a'", "Explode"),
        ("random() > 0.5", "random"),
        ("n > 1 as big", "Alias"),
    ],
)
def test_what_looks_beyond_one_document_is_refused_by_name(keep: str, name: str) -> None:
    with pytest.raises(PipelineError, match=rf"(?i){name}") as caught:
        Where(keep)
    assert caught.value.hint


@pytest.mark.parametrize("keep", ["day < current_date", "now() > day", "n = 1 and CURRENT_TIMESTAMP > day", "localtime > day"])
def test_the_time_of_the_run_is_refused(keep: str) -> None:
    with pytest.raises(PipelineError, match="another time in every run"):
        Where(keep)


def test_columns_and_texts_may_have_the_names_of_clocks() -> None:
    assert Where("now > 1 and text = 'current_date' and meta.current_date = 1").reads() == ("now", "text", "meta.current_date")


@pytest.mark.parametrize("keep", ["", "   ", "*", "n >", "n > 1; drop table docs", "__import__('os')", "n = 1 --\n n", "true"])
def test_what_is_no_condition_is_refused(keep: str) -> None:
    with pytest.raises(PipelineError, match="where"):
        Where(keep)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("n", "`n` is Int64, not true or false"),
        ("n + 1", "not true or false"),
        ("n and m", "not true or false"),
        ("text > 1", "cannot compare string"),
        ("lang.code > 3", "cannot compare string"),
        ("lang > 1", "is a struct"),
        ("lang.nope = 1", "nope"),
        ("regexp_like(text, '(')", "regex"),
    ],
)
def test_wrong_types_are_found_before_anything_runs(keep: str, message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Where(keep).verify(DOCS.schema)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a and b", ["a", "b"]),
        ("a AND b and c", ["a", "b", "c"]),
        ("a or b and c", ["a or b and c"]),
        ("(a or b) and c", ["(a or b)", "c"]),
        ("n between 1 and 2 and b", ["n between 1 and 2", "b"]),
        ("x = ' and ' and y = 'it''s and'", ["x = ' and '", "y = 'it''s and'"]),
        ('"a and b" and c', ['"a and b"', "c"]),
        ("case when a and b then c else d end and e", ["case when a and b then c else d end", "e"]),
        ("band and andrew", ["band", "andrew"]),
    ],
)
def test_split_at_top_level_and(text: str, parts: list[str]) -> None:
    assert [part.strip() for part in split_and(text)] == parts


def test_where_costs_no_import_until_it_is_used() -> None:
    code = "import sys, curate_operators.where as w; assert 'polars' not in sys.modules; w.Where('n > 1'); assert 'polars' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
