"""`predictive_strength` on numbers that can be worked out by hand, and what it refuses."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from curate.errors import OperatorError, PipelineError
from curate.pipeline import Stage, Step
from curate.testing import check_operator
from curate_scorers.predictive_strength import PredictiveStrength
from tests.engine import small

LONG = "x" * 100


def docs(*losses: tuple[float | None, ...], texts: list[str | None] | None = None) -> pa.RecordBatch:
    """Return documents with the losses of models `a`, `b`, …, each in a struct as `lm_loss` has it."""
    columns: dict[str, Any] = {"id": [f"d{i}" for i in range(len(losses))], "text": texts or [LONG] * len(losses)}
    for number, name in enumerate("abcd"[: len(losses[0])]):
        columns[name] = [{"bits_per_byte": row[number]} for row in losses]
    return pa.RecordBatch.from_pydict(columns)


def paths(count: int) -> tuple[str, ...]:
    return tuple(f"{name}.bits_per_byte" for name in "abcd"[:count])


def test_worked_numbers() -> None:
    """Three models from worst to best: three pairs."""
    operator = PredictiveStrength(paths(3), scores=(30.0, 40.0, 50.0))
    found = operator.score(docs((3.0, 2.0, 1.0), (1.0, 2.0, 3.0), (2.0, 2.0, 1.0), (3.0, 1.0, 2.0))).to_pylist()
    margin = (1 / 5 + 2 / 4 + 1 / 3) / 3  # of 3 and 2, 3 and 1, 2 and 1
    assert found[0] == pytest.approx({"strength": 1.0, "margin": margin, "score": (3 + (1 + margin) / 2) / 4})
    assert found[1] == pytest.approx({"strength": 0.0, "margin": -margin, "score": (0 + (1 - margin) / 2) / 4})
    assert found[2]["strength"] == pytest.approx(2 / 3), "equal losses are not in order"
    assert found[2]["margin"] == pytest.approx((0 + 1 / 3 + 1 / 3) / 3)
    assert found[3]["strength"] == pytest.approx(2 / 3), "only 1 before 2 is out of order"
    assert found[3]["margin"] == pytest.approx((2 / 4 + 1 / 5 - 1 / 3) / 3)


def test_the_papers_six_models_have_fifteen_pairs() -> None:
    scores = (75.38, 76.30, 77.27, 79.46, 80.47, 81.19)
    names = tuple("abcdef")
    draw = np.random.default_rng(1)
    losses = draw.random((50, 6))
    columns = {name: losses[:, i] for i, name in enumerate(names)}
    batch = pa.RecordBatch.from_pydict({"id": [str(i) for i in range(50)], **columns})
    found = PredictiveStrength(names, scores=scores, min_chars=0).score(batch).to_pylist()
    for row, each in zip(losses, found, strict=True):
        assert each["strength"] == sum(row[i] > row[j] for i, j in itertools.combinations(range(6), 2)) / 15


def test_the_order_of_models_does_not_matter() -> None:
    losses = [(3.0, 1.0, 2.0, 2.5), (1.0, 1.5, 1.5, 0.2)]
    whole = PredictiveStrength(paths(4), scores=(1.0, 2.0, 3.0, 4.0)).score(docs(*losses)).to_pylist()
    other = PredictiveStrength(paths(4)[::-1], scores=(4.0, 3.0, 2.0, 1.0)).score(docs(*losses)).to_pylist()
    assert [row == pytest.approx(twin) for row, twin in zip(whole, other, strict=True)] == [True, True]


def test_models_that_are_equally_good_say_nothing() -> None:
    alike = PredictiveStrength(paths(3), scores=(1.0, 1.0, 2.0)).score(docs((9.0, 3.0, 2.0))).to_pylist()[0]
    assert alike["strength"] == 1.0, "two pairs, both in order; the third is none"
    assert alike["margin"] == pytest.approx((7 / 11 + 1 / 5) / 2)


def test_score_sorts_by_strength_then_margin() -> None:
    draw = np.random.default_rng(2)
    rows = [tuple(row) for row in np.round(draw.random((200, 3)) * 5, 1).tolist()]
    found = PredictiveStrength(paths(3), scores=(1.0, 2.0, 3.0)).score(docs(*rows)).to_pylist()
    by_both = sorted(found, key=lambda row: (row["strength"], row["margin"]))
    scores = [row["score"] for row in by_both]
    assert scores == sorted(scores)
    assert 0 < scores[0] < scores[-1] < 1
    assert len({row["strength"] for row in found}) == 4 < len(set(scores))


def test_what_has_no_measure() -> None:
    rows = [(1.0, None), (math.nan, 1.0), (math.inf, 1.0), (-1.0, 1.0), (2.0, 1.0), (0.0, 0.0)]
    operator = PredictiveStrength(paths(2), scores=(1.0, 2.0))
    assert operator.score(docs(*rows)).is_null().to_pylist() == [True, True, True, True, False, False]
    assert operator.score(docs(*rows)).to_pylist()[5] == {"strength": 0.0, "margin": 0.0, "score": 0.25}
    same = [(2.0, 1.0)] * 4
    texts = ["é" * 100, "é" * 99, "", None]
    assert operator.score(docs(*same, texts=texts)).is_null().to_pylist() == [False, True, True, True]
    assert "text" in operator.reads() and "text" not in PredictiveStrength(paths(2), scores=(1.0, 2.0), min_chars=0).reads()


def test_several_targets() -> None:
    operator = PredictiveStrength(paths(2), targets={"maths": [1.0, 2.0], "facts": [2.0, 1.0]})
    found = operator.score(docs((2.0, 1.0), (None, 1.0)))
    assert found.type == operator.output()
    first, second = found.to_pylist()
    assert (first["maths"]["strength"], first["facts"]["strength"], second) == (1.0, 0.0, None)


def test_scores_of_a_family(tmp_path: Path) -> None:
    path = tmp_path / "family.json"
    models = [{"scores": {"maths": 1.0, "facts": 9.0}}, {"scores": {"maths": 2.0, "facts": 0.0}}]
    path.write_bytes(orjson.dumps({"models": models}))

    def strength(target: str | None) -> float:
        found = PredictiveStrength(paths(2), family=str(path), target=target).score(docs((2.0, 1.0))).to_pylist()
        return float(found[0]["strength"])

    assert (strength("maths"), strength("facts"), strength(None)) == (1.0, 0.0, 0.0)
    with pytest.raises(OperatorError, match="no scores for `prose` of its models"):
        strength("prose")
    for wrong in (b"{", b"[]", b'{"models": [1]}'):
        path.write_bytes(wrong)
        with pytest.raises(OperatorError, match="has no scores of its models"):
            strength(None)
    path.write_bytes(orjson.dumps({"models": models[:1]}))
    with pytest.raises(PipelineError, match="has 1 number for 2 models"):
        strength(None)


def test_passes_the_battery() -> None:
    draw = np.random.default_rng(3)
    rows = [tuple(None if x < 0.1 else x for x in row) for row in draw.random((30, 3))]
    batch = docs(*rows, texts=[LONG * (i % 3) for i in range(30)])
    check_operator(PredictiveStrength(paths(3), scores=(3.0, 1.0, 2.0)), batch)
    check_operator(PredictiveStrength(paths(3), targets={"one": [3.0, 1.0, 2.0], "two": [1.0, 1.0, 2.0]}, min_chars=0), batch)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"losses": ("a",), "scores": (1.0,)}, "not those of two or more models"),
        ({"losses": ("a", "a"), "scores": (1.0, 2.0)}, "not those of two or more models"),
        ({"losses": ("a", "b")}, "not told once"),
        ({"losses": ("a", "b"), "scores": (1.0, 2.0), "family": "family.json"}, "not told once"),
        ({"losses": ("a", "b"), "scores": (1.0, 2.0), "target": "maths"}, "there is none"),
        ({"losses": ("a", "b"), "scores": (1.0, 2.0, 3.0)}, "`scores` has 3 numbers for 2 models"),
        ({"losses": ("a", "b"), "scores": (1.0, math.nan)}, "`scores` has nan, which is no finite number"),
        ({"losses": ("a", "b"), "targets": {"maths": [1.0, 1.0]}}, "`maths` says that all models are equally good"),
        ({"losses": ("a", "b"), "scores": (1.0, 2.0), "min_chars": -1}, "min_chars is negative"),
    ],
)
def test_bad_parameters(params: dict[str, Any], said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        PredictiveStrength(**params)


def test_losses_that_are_no_numbers_are_told_before_the_run() -> None:
    schema = docs((1.0, 2.0)).schema
    PredictiveStrength(paths(2), scores=(1.0, 2.0)).verify(schema)
    with pytest.raises(PipelineError, match="column `a` is struct") as caught:
        PredictiveStrength(("a", "b.bits_per_byte"), scores=(1.0, 2.0)).verify(schema)
    assert "a.bits_per_byte" in str(caught.value.hint)
    with pytest.raises(PipelineError, match="column `text` is"):
        PredictiveStrength(("text", "b.bits_per_byte"), scores=(1.0, 2.0)).verify(schema)


def test_in_a_pipeline(tmp_path: Path) -> None:
    rows = [{"id": "good", "text": LONG, "a": 2.0, "b": 1.0}, {"id": "bad", "text": LONG, "a": 1.0, "b": 2.0}]
    steps = (
        Step("predictive_strength", into="strength", params={"losses": ["a", "b"], "scores": [1.0, 2.0]}),
        Step("where", params={"keep": "strength.strength >= 0.5"}),
    )
    plan, _ = small.run(small.pipeline(small.write_jsonl(tmp_path / "in.jsonl", rows), {"good": Stage("crawl", steps)}), tmp_path / "ws")
    assert [row["id"] for row in small.rows(plan.dataset("good"))] == ["good"]
