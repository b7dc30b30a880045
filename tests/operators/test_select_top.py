"""select_top keeps what a plain sort keeps, whatever the shards, workers and kills, and says why it drops the rest."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError, OperatorError, PipelineError
from curate.executors import open_executor
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.plan import Plan
from curate.run import Run
from curate.thresholds import keys_of, score_of
from curate.work import Place
from curate_operators import quantile_rounds, select_top, select_top_ties
from curate_operators.select_top import SelectTop
from tests.contracts.duplicates import workplace
from tests.contracts.workspaces import contents
from tests.engine import small

SCHEMA = pa.schema(
    {"id": pa.string(), "text": pa.large_string(), "score": pa.float64(), "tokens": pa.int64(), "topic": pa.string(), "part": pa.int64()}
)
Docs = list[dict[str, Any]]
TOPICS = ("a", "b", "c", None)


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def pipeline(folder: Path, docs: Docs, shards: int, params: dict[str, Any]) -> Pipeline:
    path = small.write_shards(folder / f"crawl-{shards}", docs, shards, SCHEMA)
    stages = {"top": Stage("crawl", use="select_top", params={"column": "score"} | params), "kept": Stage(["crawl", "top"], apply=["top"])}
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def selected(folder: Path, docs: Docs, shards: int, params: dict[str, Any]) -> Plan:
    return small.run(pipeline(folder, docs, shards, params), folder / f"ws-{shards}")[0]


def marks(plan: Plan) -> Docs:
    return small.rows(plan.dataset("top"))


def found(plan: Plan) -> Docs:
    """Return the thresholds, which stand in the manifest and in a file."""
    about = plan.dataset("top").manifest.about
    assert orjson.loads(Path(plan.dataset("top").url, "thresholds.json").read_bytes()) == {
        k: v for k, v in about.items() if k != "operator"
    }
    return list(about["thresholds"])


def reference(docs: Docs, params: dict[str, Any]) -> pl.DataFrame:
    """Return every document with whether a plain sort keeps it."""
    unit, highest = params.get("unit", "docs"), params.get("highest", True)
    frame = pl.DataFrame(docs, schema={"id": pl.String, "text": pl.String, "score": pl.Float64, "tokens": pl.Int64, "topic": pl.String})
    text = pl.col("text").fill_null("")
    weight = {"docs": pl.lit(1), "chars": text.str.len_chars(), "bytes": text.str.len_bytes(), "tokens": pl.col("tokens").fill_null(0)}[
        unit
    ]
    frame = frame.with_columns(pl.col("score") + 0.0, weight=weight.cast(pl.Int64), group=pl.col(params.get("group_by", "topic")))
    if "group_by" not in params:
        frame = frame.with_columns(group=pl.lit(None, pl.String))
    parts = []
    for _, group in frame.group_by("group", maintain_order=True):
        share = Fraction(str(params.get("fraction", 1))) * int(group["weight"].sum())
        target = params["budget"] if "budget" in params else math.inf if share.denominator and params["fraction"] == 1 else share
        ranked = group.filter(pl.col("score").is_not_nan() & pl.col("score").is_not_null())
        ranked = ranked if unit != "tokens" else ranked.filter(pl.col("tokens").is_not_null())
        ranked = ranked.sort([pl.col("score"), pl.col("id")], descending=[highest, False])
        before = ranked["weight"].cum_sum() - ranked["weight"]
        keep = [weight_before < target for weight_before in before.to_list()]
        parts.append(group.join(ranked.select("id", keep=pl.Series(keep, dtype=pl.Boolean)), on="id", how="left"))
    return pl.concat(parts).with_columns(pl.col("keep").fill_null(False))


def verify(plan: Plan, docs: Docs, params: dict[str, Any]) -> None:
    """Assert that marks, thresholds and the ledger are those of a plain sort."""
    expected = {row["id"]: row for row in reference(docs, params).to_dicts()}
    rows = marks(plan)
    assert [row["id"] for row in rows] == [doc["id"] for doc in docs]
    assert {row["id"]: row["keep"] for row in rows} == {id_: row["keep"] for id_, row in expected.items()}
    for row, doc in zip(rows, docs, strict=True):
        scored = doc["score"] is not None and not math.isnan(doc["score"])
        assert row["value"] == (doc["score"] if scored else None)
        assert (row["reason"] is None) == row["keep"] and (row["reason"] == "no_score") == (not scored)
    verify_thresholds(found(plan), list(expected.values()), params)
    assert {row["id"] for row in small.rows(plan.dataset("kept"))} == {row["id"] for row in rows if row["keep"]}
    told = {row["id"]: (row["reason"], row["value"]) for row in small.ledger(plan.dataset("kept"), "drops")}
    assert told == {row["id"]: (row["reason"], row["value"]) for row in rows if not row["keep"]}


def verify_thresholds(thresholds: Docs, rows: Docs, params: dict[str, Any]) -> None:
    highest, unit = params.get("highest", True), params.get("unit", "docs")
    best, worst = (max, min) if highest else (min, max)
    for group in thresholds:
        own = [row for row in rows if row["group"] == group["group"]]
        kept = [row for row in own if row["keep"]]
        counted = unit != "tokens"
        left = [row["score"] for row in own if not row["keep"] and row["score"] is not None and not math.isnan(row["score"])]
        assert group["documents"] == len(own) and group["kept_documents"] == len(kept)
        assert number_of(group["threshold"]) == (worst(row["score"] for row in kept) if kept else None)
        if counted:
            assert number_of(group["next"]) == (best(left) if left else None)
        if unit != "docs":
            assert (group[unit], group[f"kept_{unit}"]) == tuple(sum(row["weight"] for row in some) for some in (own, kept))


def number_of(told: float | str | None) -> float | None:
    """Return a number of a manifest: JSON has no infinity, which is told as a word."""
    return None if told is None else float(told)


def test_worked_numbers(folder: Path) -> None:
    texts = {"a": ("ab", 0.9), "b": ("äö€x", 0.8), "c": ("cc", 0.8), "d": ("d", 0.1), "e": ("", None), "f": ("f", math.nan)}
    docs = [{"id": name, "text": text, "score": score} for name, (text, score) in reversed(texts.items())]

    def kept(**params: Any) -> tuple[str, dict[str, Any]]:
        plan = selected(folder / "-".join(map(str, params.values())), docs, 2, params)
        return "".join(sorted(row["id"] for row in marks(plan) if row["keep"])), found(plan)[0]

    assert kept(fraction=0.5) == (
        "abc",
        {
            "group": None, "threshold": 0.8, "next": 0.1, "reached": True, "documents": 6, "without_score": 2, "kept_documents": 3,
        },
    )  # fmt: skip
    # ten characters: a has 2, b the 4 after them, so that 20 % end with a, and 30 % with b, whose score c has too
    assert kept(fraction=0.2, unit="chars")[0] == "a"
    assert kept(fraction=0.3, unit="chars") == (
        "ab",
        {
            "group": None, "threshold": 0.8, "next": 0.8, "reached": True, "documents": 6, "without_score": 2, "kept_documents": 2,
            "chars": 10, "kept_chars": 6,
        },
    )  # fmt: skip
    # fourteen bytes: b has 8 of them, and 10 of the 14 stand before c
    assert kept(budget=10, unit="bytes")[0] == "ab" and kept(budget=11, unit="bytes")[0] == "abc"
    assert kept(budget=1, highest=False)[0] == "d"
    assert kept(fraction=1)[0] == "abcd" and kept(budget=5)[1]["reached"] is False


@pytest.mark.parametrize("highest", [True, False])
def test_the_curve_is_exact_where_scores_crowd(folder: Path, highest: bool) -> None:
    scores = [0.4995 + (i * 37 % 200) ** 2 * 1e-9 for i in range(200)]  # all of them share the leading 16 bits
    lengths = [i % 5 for i in range(200)]
    docs = [{"id": f"d{i}", "text": "x" * lengths[i], "score": score, "tokens": 1} for i, score in enumerate(scores)]
    params = {"fraction": 0.1, "unit": "chars", "highest": highest}
    lines = selected(folder / f"crowd-{highest}", docs, 3, params).dataset("top").manifest.notes[0]["curve"]["lines"]
    assert len(lines["documents"]) >= 60
    for threshold, share in lines["documents"]:
        assert share == sum(score >= threshold if highest else score <= threshold for score in scores) / 200
    for threshold, share in lines["chars"]:
        inside = [size for score, size in zip(scores, lengths, strict=True) if (score >= threshold if highest else score <= threshold)]
        assert share == sum(inside) / 400


def test_reasons_and_the_note(folder: Path) -> None:
    scores = [0.5, 0.5, 0.5, 0.1, None, 0.7]
    docs = [{"id": f"d{i}", "text": "x", "score": score, "tokens": i if i < 5 else None} for i, score in enumerate(scores)]
    plan = selected(folder, docs, 3, {"budget": 1, "unit": "tokens", "tokens": "tokens"})
    assert [row["reason"] for row in marks(plan)] == [None, None, "tied_at_threshold", "below_threshold", "no_score", "no_tokens"]
    note = plan.dataset("top").manifest.notes[0]
    assert note["message"] == (
        "`score` >= 0.5: kept 2 of 6 documents (33.3%), 1 of 10 tokens (10.0%), 2 documents without a score or tokens"
    )
    assert note["curve"]["marks"] == {"kept to": 0.5} and note["curve"]["lines"]["tokens"][0] == [0.5, 0.3]
    turned = selected(folder / "turned", docs, 3, {"budget": 1, "highest": False})
    assert {row["reason"] for row in marks(turned)} == {None, "above_threshold", "no_score"}
    short = selected(folder / "short", docs, 3, {"budget": 7}).dataset("top").manifest.notes[0]
    assert not short["passed"] and short["message"].endswith("the budget is not reached")
    capped = selected(folder / "capped", docs, 3, {"budget": 7, "group_by": "tokens"}).dataset("top").manifest.notes[0]
    assert capped["passed"] and capped["message"].endswith("the budget is not reached in 6 of 6 groups")


SCORES = st.one_of(st.sampled_from([None, math.nan, 0.5, 0.25, 0.0, -0.0, math.inf, -math.inf, 1e-320]), st.floats())
DOCS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["", "a", "éa", "words of it", "港"]),
            "score": SCORES,
            "tokens": st.sampled_from([None, 0, 1, 7]),
            "topic": st.sampled_from(TOPICS),
        }
    ),
    min_size=1,
    max_size=30,
)
AMOUNT = st.one_of(
    st.fixed_dictionaries({"fraction": st.sampled_from([0.1, 0.3, 0.5, 0.999, 1])}),
    st.fixed_dictionaries({"budget": st.integers(1, 40)}),
)
PARAMS = st.fixed_dictionaries(
    {"how": st.sampled_from([{}, {"unit": "chars"}, {"unit": "bytes"}, {"unit": "tokens", "tokens": "tokens"}])},
    optional={"group_by": st.just("topic"), "highest": st.booleans()},
)


@settings(max_examples=100)
@given(drawn=DOCS, amount=AMOUNT, params=PARAMS, shards=st.sampled_from([1, 2, 5]), seed=st.integers(0, 9))
def test_agrees_with_a_plain_sort(drawn: Docs, amount: dict[str, Any], params: dict[str, Any], shards: int, seed: int) -> None:
    names = [f"é{i}" if i % 3 else f"d{i:03}" for i in range(len(drawn))]
    random.Random(seed).shuffle(names)
    docs = [{"id": name} | doc for name, doc in zip(names, drawn, strict=True)]
    chosen = {key: value for key, value in params.items() if key != "how"} | params["how"] | amount
    with workplace() as place:
        verify(selected(place, docs, shards, chosen), docs, chosen)


def tied_documents(count: int) -> Docs:
    """Return documents of few scores, of which one is shared by most, in an order that has nothing to do with their ids."""
    dice = random.Random(count)
    names = [f"site{number % 7}/{number:05}" for number in range(count)]
    dice.shuffle(names)
    scores = [math.nan, None, 0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5 + 1e-12, 0.75, *(dice.random() for _ in range(3))]
    return [
        {"id": name, "text": "x" * dice.randrange(9), "score": dice.choice(scores), "tokens": 1, "topic": dice.choice(TOPICS)}
        for name in names
    ]


@pytest.mark.parametrize("splitters", [1, 4, 1000])
def test_large_ties_are_cut_by_id(splitters: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(select_top_ties, "DRAWN", 3)
    monkeypatch.setattr(select_top_ties, "SPLITTERS", splitters)
    monkeypatch.setattr(quantile_rounds, "SHARDS_PER_SUM", 2)
    docs = tied_documents(900)
    for number, params in enumerate(({"fraction": 0.4, "unit": "chars"}, {"fraction": 0.3, "group_by": "topic"})):
        plan = selected(folder / str(number), docs, 7, params)
        verify(plan, docs, params)
        assert sum(row["reason"] == "tied_at_threshold" for row in marks(plan)) > 50


@pytest.mark.parametrize(("on", "workers"), [("local", 3), pytest.param("ray", None, marks=pytest.mark.ray)], ids=["local", "ray"])
def test_workers_and_executors_do_not_matter(on: str, workers: int | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    pipe = pipeline(folder, tied_documents(200), 4, {"fraction": 0.4, "unit": "chars", "group_by": "topic"})
    alone, _ = small.run(pipe, folder / "alone")
    planned = small.plan(pipe, folder / on)
    with open_executor(on, workers) as executor:
        assert Run(planned, executor, "run", lambda event: None).execute().status == "done"
    assert contents(folder / on) == contents(folder / "alone")
    assert planned.dataset("top").manifest.about == alone.dataset("top").manifest.about


def test_shards_do_not_matter(folder: Path) -> None:
    docs, params = tied_documents(300), {"fraction": 0.4, "unit": "bytes", "group_by": "topic"}
    plans = [selected(folder, docs, shards, params) for shards in (1, 2, 9)]
    assert all(marks(plan) == marks(plans[0]) and found(plan) == found(plans[0]) for plan in plans)


def dies(item: Any, place: Place) -> Any:
    raise RuntimeError("killed")


PHASES = [
    *[(quantile_rounds, name) for name in ("measure_shard", "sum_bins", "bin_shard")],
    *[(select_top_ties, name) for name in ("tie_shard", "split_shard", "collect_shard", "cut_group")],
    (select_top, "mark_shard"),
]


def test_goes_on_after_a_failure_in_every_phase(folder: Path) -> None:
    pipe = pipeline(folder, tied_documents(120), 3, {"fraction": 0.4, "unit": "chars", "group_by": "topic"})
    small.run(pipe, folder / "clean")
    for module, name in PHASES:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            failed = small.execute(small.plan(pipe, folder / "ws"))
            assert "killed" in str(failed.error), name
    small.run(pipe, folder / "ws")
    assert contents(folder / "ws") == contents(folder / "clean")


def test_scores_of_attributes(folder: Path) -> None:
    docs = [{"id": f"d{i}", "text": "word " * i, "score": 0.0} for i in range(9)]
    path = small.write_shards(folder / "crawl", docs, 2, SCHEMA)
    stages = {
        "scores": Stage("crawl", operators=[Step("measure", {"measures": ["words"]}, into="size")], emits="attributes"),
        "top": Stage(["crawl", "scores"], use="select_top", params={"column": "scores.size.words", "fraction": 0.3}),
    }
    plan, _ = small.run(small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1), folder / "ws")
    assert [row["id"] for row in marks(plan) if row["keep"]] == ["d6", "d7", "d8"] and found(plan)[0]["threshold"] == 6


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "either `fraction` or `budget`"),
        ({"fraction": 0.1, "budget": 3}, "either `fraction` or `budget`"),
        ({"fraction": 1.5}, "`fraction` is 1.5"),
        ({"budget": 0}, "`budget` is 0"),
        ({"budget": 3, "unit": "tokens"}, "column of counts"),
        ({"budget": 3, "tokens": "tokens"}, "column of counts"),
        ({"budget": 3, "column": "text"}, "column `text` is large_string, not a number"),
        ({"budget": 3, "column": "quality"}, "reads the column `quality`, which is not there"),
        ({"budget": 3, "unit": "tokens", "tokens": "score"}, "column `score` is double, not a whole number"),
        ({"budget": 3, "group_by": "score"}, "column `score` is double, not a label"),
    ],
)
def test_wrong_parameters_are_told_before_anything_runs(params: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(PipelineError, match=message):
        small.plan(pipeline(folder, small.documents(2), 1, params), folder / "ws")


def test_what_data_can_get_wrong(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = [{"id": f"d{i}", "text": "x", "score": 0.5, "tokens": -i, "topic": f"t{i}"} for i in range(6)]
    with pytest.raises(CurateError, match="column `tokens` counts less than no tokens, such as -5"):
        selected(folder / "tokens", docs, 1, {"budget": 3, "unit": "tokens", "tokens": "tokens"})
    monkeypatch.setattr(quantile_rounds, "MAX_GROUPS", 4)
    for shards in (1, 3):
        with pytest.raises(OperatorError, match="column `topic` has more than 4 values"):
            selected(folder / "groups", docs, shards, {"budget": 3, "group_by": "topic"})


def test_a_corpus_without_scores_keeps_nothing(folder: Path) -> None:
    docs = [{"id": f"d{i}", "text": "x", "score": None} for i in range(4)]
    for number, rows in enumerate(([], docs)):
        plan = selected(folder / str(number), rows, 2, {"fraction": 0.5})
        note = plan.dataset("top").manifest.notes[0]
        assert not any(row["keep"] for row in marks(plan)) and note["passed"] == (number == 0)
        assert note["message"].startswith("no document has a score in `score`")


def test_keys_are_in_the_order_of_scores_and_say_which() -> None:
    scores = [-math.inf, -1e300, -1.5, -5e-324, 0.0, 5e-324, 0.1, 1.0, 1e300, math.inf]
    for highest in (False, True):
        keys, scored = keys_of(pa.array([*scores, None, math.nan]), highest)
        assert scored.tolist() == [True] * len(scores) + [False, False]
        assert np.array_equal(np.argsort(keys[: len(scores)]), np.arange(len(scores))[:: -1 if highest else 1])
        assert [score_of(int(key), highest) for key in keys[: len(scores)]] == scores
    assert keys_of(pa.array([-0.0]), True)[0] == keys_of(pa.array([0.0]), True)[0]


def test_a_fraction_is_what_is_written() -> None:
    assert [SelectTop("score", fraction=0.1).target(weight) for weight in (30, 31, 0, 10**18)] == [3, 4, 0, 10**17]
    assert 0.1 * 3 > 0.3  # why it is not computed with doubles
