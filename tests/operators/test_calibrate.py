"""calibrate finds the quantiles of a sorted reference, and quantile answers with mid-ranks that are off by less than a step."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import CurateError, OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.plan import Plan
from curate.work import Place
from curate_operators import calibrate, quantile_rounds
from curate_operators.quantile import Quantile
from tests.contracts.duplicates import workplace
from tests.contracts.workspaces import contents
from tests.engine import small

SCHEMA = pa.schema({"id": pa.string(), "text": pa.large_string(), "score": pa.float64(), "topic": pa.string()})
Docs = list[dict[str, Any]]


@pytest.fixture
def folder() -> Iterator[Path]:
    with workplace() as place:
        yield place


def documents(scores: list[float | None], topics: str = "a") -> Docs:
    return [{"id": f"d{i:04}", "text": "x", "score": score, "topic": topics[i % len(topics)]} for i, score in enumerate(scores)]


def pipeline(folder: Path, docs: Docs, shards: int, params: dict[str, Any]) -> Pipeline:
    path = small.write_shards(folder / f"crawl-{shards}", docs, shards, SCHEMA)
    read = {"column": "score", "table": "stage:reference"} | {key: params[key] for key in params if key == "group_by"}
    stages = {
        "reference": Stage("crawl", use="calibrate", params={"column": "score"} | params),
        "ranked": Stage("crawl", operators=[Step("quantile", read, into="rank")], emits="attributes"),
    }
    return small.pipeline(path, stages, inputs={"crawl": Input(str(path))}, shard_bytes=1)


def calibrated(folder: Path, docs: Docs, shards: int = 2, **params: Any) -> Plan:
    return small.run(pipeline(folder, docs, shards, params), folder / f"ws-{shards}")[0]


def tables(plan: Plan) -> Docs:
    return list(orjson.loads(Path(plan.dataset("reference").url, "quantiles.json").read_bytes())["groups"])


def ranks(plan: Plan) -> list[float | None]:
    return [row["rank"] for row in small.rows(plan.dataset("ranked"))]


def test_worked_numbers(folder: Path) -> None:
    plan = calibrated(folder, documents([0.5, 0.5, 0.1, None, 0.9, math.nan]), steps=4)
    expected = {"documents": 4, "without_score": 2, "scores": [0.1, 0.5, 0.9], "below": [0, 1, 3], "equal": [1, 2, 1]}
    assert tables(plan) == [{"group": None} | expected]
    assert ranks(plan) == [0.5, 0.5, 0.125, None, 0.875, None]
    rows = small.rows(plan.dataset("reference"))
    assert rows[1] == {"id": "/1", "group": None, "score": 0.5, "below": 1, "equal": 2, "documents": 4}
    scorer = Quantile("score", str(Path(plan.dataset("reference").url, "quantiles.json")))
    batch = pa.RecordBatch.from_pydict({"score": [-5.0, 0.1, 0.3, 0.7, 0.8999, 0.9, 1.0]})
    # between 0.1 and 0.5 nothing lies: the rank stays at one of four; so do those between 0.5 and 0.9, at three of four
    assert scorer.score(batch).to_pylist() == [0, 0.125, 0.25, 0.75, 0.75, 0.875, 1]
    note = plan.dataset("reference").manifest.notes[0]
    assert note["message"] == "quantiles of `score` over 4 documents; 2 without a score are left out" and note["passed"]
    assert note["measures"]["all"] == {"documents": 4, "1%": 0.1, "10%": 0.1, "25%": 0.1, "50%": 0.5, "75%": 0.5, "90%": 0.9, "99%": 0.9}


def midranks(reference: list[float | None], values: list[float]) -> Any:
    known = np.array([score for score in reference if score is not None and not math.isnan(score)])
    return np.array([((known < value).sum() + (known == value).sum() / 2) / len(known) for value in values])


SCORES = st.one_of(st.sampled_from([None, math.nan, 0.5, 0.25, -0.0, 0.0, math.inf, -math.inf]), st.floats())


@settings(max_examples=60)
@given(scores=st.lists(SCORES, min_size=1, max_size=60), steps=st.sampled_from([1, 3, 10, 1000]), shards=st.sampled_from([1, 3]))
def test_agrees_with_a_sorted_reference(scores: list[float | None], steps: int, shards: int) -> None:
    with workplace() as place:
        plan = calibrated(place, documents(scores), shards, steps=steps)
        known = sorted(score + 0.0 for score in scores if score is not None and not math.isnan(score))
        [table] = tables(plan)
        assert table["documents"] == len(known) and table["without_score"] == len(scores) - len(known)
        wanted = {known[max(1, math.ceil(step * len(known) / steps)) - 1] for step in range(steps + 1)} if known else set()
        assert [float(score) for score in table["scores"]] == sorted(wanted)
        assert table["below"] == [sum(other < float(score) for other in known) for score in table["scores"]]
        assert table["equal"] == [known.count(float(score)) for score in table["scores"]]
        found = ranks(plan)
        assert [rank is None for rank in found] == [score is None or math.isnan(score) for score in scores]
        given_ = [score for score in scores if score is not None and not math.isnan(score)]
        off = np.abs(np.array([rank for rank in found if rank is not None]) - midranks(scores, given_))
        assert (off <= 1 / steps + 1e-6).all()


def test_the_rank_is_off_by_less_than_a_step_for_other_data_too() -> None:
    dice = random.Random(1)
    reference: list[float | None] = [dice.gauss(0, 1) for _ in range(3000)]
    with workplace() as place:
        plan = calibrated(place, documents(reference), 3, steps=100)
        scorer = Quantile("score", str(Path(plan.dataset("reference").url, "quantiles.json")))
        values = [dice.gauss(0.5, 2) for _ in range(500)]
        found = scorer.score(pa.RecordBatch.from_pydict({"score": sorted(values)})).to_numpy()
    assert (np.diff(found) >= 0).all() and np.abs(found - midranks(reference, sorted(values))).max() < 0.01


def test_groups_have_tables_of_their_own(folder: Path) -> None:
    docs = [*documents([float(i) for i in range(40)], "abab"), {"id": "e", "text": "x", "score": 7.0, "topic": None}]
    plan = calibrated(folder, docs, 4, group_by="topic", steps=10)
    assert [(table["group"], table["documents"]) for table in tables(plan)] == [("a", 20), ("b", 20), (None, 1)]
    assert ranks(plan)[:4] == pytest.approx([0.025, 0.025, 0.075, 0.075]) and ranks(plan)[-1] == 0.5
    scorer = Quantile("score", str(Path(plan.dataset("reference").url, "quantiles.json")), "topic")
    assert scorer.score(pa.RecordBatch.from_pydict({"score": [3.0, 3.0], "topic": ["c", "a"]})).to_pylist()[0] is None


def test_shards_workers_and_failures_do_not_matter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(5)
    docs = documents([dice.choice([0.5, 0.5 + 1e-12, dice.random()]) for _ in range(200)], "abc")
    monkeypatch.setattr(quantile_rounds, "SHARDS_PER_SUM", 2)
    pipe = pipeline(folder, docs, 5, {"group_by": "topic", "steps": 20})
    whole = small.run(pipe, folder / "whole")[0]
    small.run(pipe, folder / "two", workers=2)
    assert contents(folder / "two") == contents(folder / "whole")
    functions = [(quantile_rounds, name) for name in ("measure_shard", "sum_bins", "bin_shard", "write_json")]
    for module, name in (*functions, (calibrate, "table_rows")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, name, dies)
            failed = small.execute(small.plan(pipe, folder / "ws"))
            assert "killed" in str(failed.error), name
    small.run(pipe, folder / "ws")
    assert contents(folder / "ws") == contents(folder / "whole")
    assert tables(calibrated(folder, docs, 1, group_by="topic", steps=20)) == tables(whole)


def dies(item: Any, place: Place) -> Any:
    raise RuntimeError("killed")


def test_thresholds_travel_between_pipelines(folder: Path) -> None:
    docs = documents([i / 100 for i in range(100)])
    plan = calibrated(folder, docs)
    path = str(Path(plan.dataset("reference").url, "quantiles.json"))
    new = small.write_shards(folder / "new", documents([0.95, 0.05, 0.5]), 1, SCHEMA)
    steps = [Step("quantile", {"column": "score", "table": path}, into="rank"), Step("where", {"keep": "rank >= 0.9"})]
    later, _ = small.run(
        small.pipeline(new, {"best": Stage("crawl", operators=steps)}, inputs={"crawl": Input(str(new))}), folder / "later"
    )
    assert [row["id"] for row in small.rows(later.dataset("best"))] == ["d0000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x04", "is no table of quantiles: JSONDecodeError"),
        (b"{}", "is no table of quantiles: KeyError"),
        (b"[1]", "is no table of quantiles: TypeError"),
        ({"scores": [1.0, 0.5]}, "its columns do not fit one another"),
        ({"below": [0]}, "its columns do not fit one another"),
        ({"below": [0, 0]}, "its columns do not fit one another"),
        ({"documents": 2}, "its columns do not fit one another"),
        ({"group_by": "topic"}, "was made for each `topic`"),
    ],
)
def test_tables_that_are_none_are_told(content: Any, message: str, tmp_path: Path) -> None:
    if isinstance(content, dict):
        group = {"group": None, "documents": 3, "scores": [0.5, 1.0], "below": [0, 1], "equal": [1, 2]} | content
        content = orjson.dumps({"group_by": content.get("group_by"), "groups": [group]})
    (tmp_path / "quantiles.json").write_bytes(content)
    with pytest.raises(OperatorError, match=message):
        Quantile("score", str(tmp_path / "quantiles.json")).score(pa.RecordBatch.from_pydict({"score": [0.5]}))


def test_wrong_parameters_are_told(folder: Path) -> None:
    with pytest.raises(PipelineError, match="`steps` is 0"):
        small.plan(pipeline(folder, documents([0.5]), 1, {"steps": 0}), folder / "ws")
    with pytest.raises(PipelineError, match="column `text` is large_string, not a number"):
        small.plan(pipeline(folder, documents([0.5]), 1, {"column": "text"}), folder / "ws")


def test_a_reference_without_scores_is_a_warning(folder: Path) -> None:
    plan = calibrated(folder, documents([None, math.nan]))
    note = plan.dataset("reference").manifest.notes[0]
    assert not note["passed"] and note["message"] == "quantiles of `score` over 0 documents; 2 without a score are left out"
    assert ranks(plan) == [None, None]
    with pytest.raises(CurateError, match="no such file"):
        Quantile("score", "gone.json").score(pa.RecordBatch.from_pydict({"score": [0.5]}))
