"""`perplexity_correlations` in pipelines: marks that a plain computation gives, for any layout and workers, over sources and budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate import shuffle
from curate.errors import CurateError, OperatorError, PipelineError
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.testing import check_operator
from curate_scorers import perplexity_correlations
from curate_scorers.correlations import estimate
from curate_scorers.correlations_projection import Projection, l2, linear
from curate_scorers.perplexity_correlations import Estimator, PerplexityCorrelations
from tests.engine import small

MODELS = ("a", "b", "c", "d")
SCORES = (0.3, 0.7, 0.4, 0.9)
SCHEMA = pa.schema(
    {"id": pa.string(), "text": pa.large_string(), "site": pa.string(), "tokens": pa.int32(), **dict.fromkeys(MODELS, pa.float32())}
)
DIRECT = {"linear": linear, "l2": l2}


def documents(count: int = 90, seed: int = 3) -> list[dict[str, Any]]:
    """Return documents with losses, a few without one, without site or without tokens."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        losses = dict(zip(MODELS, np.round(rng.gamma(5, 0.2, 4), 2).tolist(), strict=True))
        site = None if n % 17 == 5 else f"site{n % 7}"
        rows.append({"id": f"d{n:03}", "text": "é" * (n % 13), "site": site, "tokens": int(rng.integers(1, 60)), **losses})
    rows[4]["b"], rows[7]["c"], rows[9]["tokens"] = None, float("nan"), 0
    return rows


def run(folder: Path, rows: list[dict[str, Any]], shards: int = 3, workers: int = 1, **params: Any) -> tuple[pa.Table, dict[str, Any]]:
    """Run the operator over documents in so many shards; return the marks and its note."""
    crawl = small.write_shards(folder / f"in{shards}", rows, shards, SCHEMA)
    given = {"losses": list(MODELS), "scores": list(SCORES), "tokens": "tokens"} | params
    stages = {"chosen": Stage("crawl", use="perplexity_correlations", params=given)}
    pipe = small.pipeline(crawl, stages, inputs={"crawl": Input(str(crawl))}, shard_bytes=1)
    plan, _ = small.run(pipe, folder / f"ws{shards}-{workers}", workers)
    chosen = plan.dataset("chosen")
    [note] = chosen.manifest.notes
    return pa.Table.from_batches(list(chosen.batches())), note


def expected(rows: list[dict[str, Any]], budget: int, estimator: Estimator, projection: Projection, by: str | None) -> dict[str, Any]:
    """Return estimates and weights by id, computed at once from the whole table, groups by a loop over them."""
    losses = np.array([[np.nan if row[m] is None else np.float32(row[m]) for m in MODELS] for row in rows], np.float64)
    tokens = np.array([row["tokens"] for row in rows])
    names = [row["id"] if by is None else row[by] for row in rows]
    kinds = sorted({name for name in names if name is not None})
    members = [np.array([name == kind for name in names]) for kind in kinds]
    weights = tokens if by else np.maximum(tokens, 1)  # a document without tokens has an estimate
    sizes = [np.where(mine & np.isfinite(losses).all(axis=1), weights, 0) for mine in members]
    with np.errstate(invalid="ignore"):
        means = np.array([np.nan_to_num(losses).T @ size / size.sum() for size in sizes])
    estimates = estimate(estimator, means, np.mean(SCORES) - np.array(SCORES))
    totals = np.array([tokens[mine].sum() for mine in members])
    known = np.isfinite(estimates)
    shares = np.zeros(len(kinds))
    shares[known] = DIRECT[projection](estimates[known], totals[known] / budget)
    place = {kind: k for k, kind in enumerate(kinds)}
    at = [place.get(name, -1) for name in names]
    return {
        "estimate": [None if k < 0 or np.isnan(estimates[k]) else float(estimates[k]) for k in at],
        "weight": [0.0 if k < 0 else float(shares[k] * t / totals[k]) if totals[k] else 0.0 for k, t in zip(at, tokens, strict=True)],
    }


@pytest.mark.parametrize("estimator", ["product", "sign", "sign_cdf", "sign_sign", "spearman"])
@pytest.mark.parametrize("projection", ["linear", "l2"])
@pytest.mark.parametrize("unit", ["document", "site"])
def test_marks_are_those_of_a_plain_computation(estimator: Estimator, projection: Projection, unit: str, tmp_path: Path) -> None:
    rows = documents()
    marks, _ = run(tmp_path, rows, estimator=estimator, projection=projection, unit=unit, budget=500)
    wanted = expected(rows, 500, estimator, projection, None if unit == "document" else unit)
    found = marks.to_pydict()
    assert found["id"] == [row["id"] for row in rows]
    for estimated, own in zip(found["estimate"], wanted["estimate"], strict=True):
        assert estimated == (None if own is None else pytest.approx(own, abs=1e-8))
    assert found["weight"] == pytest.approx(wanted["weight"], abs=1e-7)
    assert sum(found["weight"]) == pytest.approx(1)


def test_linear_marks_by_hand(tmp_path: Path) -> None:
    """Losses fall as scores rise in the first; budget 15: all ten tokens of it, and half of the next two, which are alike."""
    better, worse = dict(zip(MODELS, (4, 2, 3, 1), strict=True)), dict(zip(MODELS, (1, 3, 2, 4), strict=True))
    middle = dict(zip(MODELS, (4, 1, 3, 2), strict=True))
    own: list[tuple[str, dict[str, Any]]] = [
        ("w", worse),
        ("b", better),
        ("m", middle),
        ("n", middle),
        ("e", better | {"a": None}),
        ("z", better),
    ]
    rows = [{"id": name, "text": "x", "site": "s", "tokens": 0 if name == "z" else 10, **losses} for name, losses in own]
    marks, note = run(tmp_path, rows, shards=2, budget=20)
    found = {row["id"]: row for row in marks.to_pylist()}
    assert [found[name]["estimate"] for name in "wbmne"] == pytest.approx([-1, 1, 0.8, 0.8, None])
    assert [found[name]["weight"] for name in "wbmnez"] == pytest.approx([0, 0.5, 0.25, 0.25, 0, 0])
    assert [found[name]["keep"] for name in "wbez"] == [False, True, False, False]
    assert [found[name]["reason"] for name in "wbez"] == ["low_estimate", None, "no_loss", "no_tokens"]
    assert [found[name]["value"] for name in "wbe"] == pytest.approx([-1, None, None])
    for name in "mn":
        assert found[name]["reason"] == (None if found[name]["keep"] else "not_sampled")
    assert note["message"] == "20 of 40 tokens with an estimate are chosen, from 4 of 6 documents"
    assert note["measures"]["edge"] == pytest.approx(0.8)


@pytest.mark.parametrize("params", [{}, {"unit": "site", "projection": "l2", "estimator": "sign"}, {"unit": "site", "tokens": None}])
def test_marks_are_the_same_for_any_layout_and_workers(params: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shuffle, "partitions_for", lambda rows, row_bytes: 3)
    rows = documents()
    first, note = run(tmp_path, rows, shards=1, fraction=0.3, **params)
    for shards, workers in ((2, 1), (7, 2)):
        again, noted = run(tmp_path, rows, shards=shards, workers=workers, fraction=0.3, **params)
        assert again.to_pylist() == first.to_pylist()
        assert noted == note


def test_draws_fill_the_budget_and_seeds_differ(tmp_path: Path) -> None:
    """Two sites alike share the budget: half of the tokens of each are drawn, others with another seed."""
    rows = [{"id": f"d{n}", "text": "x", "site": f"s{n % 2}", "tokens": 1, **dict.fromkeys(MODELS, 1.0)} for n in range(4000)]
    (marks, _), (other, _) = (run(tmp_path / str(seed), rows, unit="site", fraction=0.25, seed=seed) for seed in (0, 1))
    drawn, anew = (np.array(table.column("keep").to_pylist()) for table in (marks, other))
    assert drawn[::2].sum() == pytest.approx(500, abs=60) and drawn[1::2].sum() == pytest.approx(500, abs=60)
    assert (drawn & anew).sum() == pytest.approx(250, abs=60)


def test_losses_of_scorers_join_and_apply_follows(tmp_path: Path) -> None:
    """Losses may be attributes that a stage of scorers made; the marks are applied like those of a deduplication."""
    crawl = small.write_shards(tmp_path / "in", documents(), 3, SCHEMA)
    stages = {
        "losses": Stage("crawl", operators=[Step("measure", {"measures": ["characters"]}, into="size")], emits="attributes"),
        "chosen": Stage(
            ["crawl", "losses"],
            use="perplexity_correlations",
            params={"losses": ["a", "b", "losses.size.chars"], "scores": [0.2, 0.4, 0.3], "fraction": 0.2},
        ),
        "corpus": Stage(["crawl", "chosen"], apply=["chosen"]),
    }
    plan, _ = small.run(small.pipeline(crawl, stages, inputs={"crawl": Input(str(crawl))}, shard_bytes=1), tmp_path / "ws")
    corpus = plan.dataset("corpus")
    kept = [row["id"] for row in small.rows(plan.dataset("chosen")) if row["keep"]]
    assert [row["id"] for row in small.rows(corpus)] == kept and kept
    reasons = corpus.manifest.counts.dropped["chosen"]
    assert set(reasons) == {"low_estimate", "not_sampled", "no_loss", "no_tokens"} and sum(reasons.values()) == 90 - len(kept)


def pipeline(folder: Path, **params: Any) -> Pipeline:
    crawl = small.write_shards(folder / "in", documents(20), 1, SCHEMA)
    given = {"losses": list(MODELS), "scores": list(SCORES)} | params
    return small.pipeline(
        crawl, {"chosen": Stage("crawl", use="perplexity_correlations", params=given)}, inputs={"crawl": Input(str(crawl))}
    )


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"scores": [0.1]}, "4 losses, 1 scores"),
        ({"losses": ["a", "a", "b", "c"]}, "losses has `a` twice"),
        ({"scores": [0.1, 0.1, 0.1, 0.1]}, "the scores do not differ"),
        ({"scores": [0.1, float("nan"), 0.1, 0.2]}, "not a finite number"),
        ({"fraction": 0.0}, "nothing to choose"),
        ({"budget": 0}, "nothing to choose"),
        ({"losses": ["a", "b", "c", "text"]}, "column `text` is large_string"),
        ({"losses": ["a", "b", "c", "e"]}, "reads the column `e`"),
        ({"tokens": "a"}, "column `a` is float"),
    ],
)
def test_wrong_parameters_are_told_before_anything_runs(params: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=sentence):
        small.plan(pipeline(tmp_path, **params), tmp_path / "ws")


def test_a_budget_beyond_what_has_losses_is_told(tmp_path: Path) -> None:
    planned = small.plan(pipeline(tmp_path, tokens="tokens", budget=100_000), tmp_path / "ws")
    error = small.execute(planned).error
    assert isinstance(error, OperatorError) and "a budget of 100,000 tokens, but only" in error.message


def test_without_any_loss_the_stage_fails_with_a_reason(tmp_path: Path) -> None:
    rows = [row | {"a": None} for row in documents(10)]
    with pytest.raises(CurateError, match="but only 0 of"):
        run(tmp_path, rows)


def test_negative_tokens_are_told(tmp_path: Path) -> None:
    rows = documents(10)
    rows[2]["tokens"] = -1
    with pytest.raises(CurateError, match="column `tokens` has -1 tokens"):
        run(tmp_path, rows)


def test_resumes_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the projection, a rerun measures no shard again."""
    planned = small.plan(pipeline(tmp_path, tokens="tokens", unit="site"), tmp_path / "ws")

    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(perplexity_correlations, "search", killed)
        assert small.execute(planned).status == "interrupted"
    events: list[Any] = []
    assert small.execute(small.plan(pipeline(tmp_path, tokens="tokens", unit="site"), tmp_path / "ws"), events=events).status == "done"
    done = [event["phase"] for event in events if event["event"] == "shard_done"]
    assert "measure" not in done and "units" not in done and "project-0" in done


def test_the_battery() -> None:
    check_operator(PerplexityCorrelations(losses=("a", "b"), scores=(0.1, 0.2), unit="site", projection="l2"))
