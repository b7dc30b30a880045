"""Curves from scores to labels: those of scikit-learn, the same for any shards, honest on documents held out."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

import curate
from curate import run_pipeline
from curate.errors import OperatorError, PipelineError
from curate.hashing import chances
from curate_scorers.calibrate_labels import CalibrateLabels
from curate_scorers.label_chance import LabelChance
from curate_scorers.label_curves import LabelCurve, fitted, measured, verdict

PIPELINE = """
name: labels
shard_bytes: BYTES
inputs: {docs: {path: docs.jsonl}}
stages:
  chances: {from: docs, use: calibrate_labels, params: {column: score, label: good}}
  told: {from: docs, emits: attributes, operators: [{use: label_chance, into: chance, params: {column: score, table: "stage:chances"}}]}
"""


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=60))
def test_the_curve_is_isotonic_regression(rows: list[tuple[int, bool]]) -> None:
    scores, wanted = np.array([float(score) for score, _ in rows]), np.array([good for _, good in rows])
    curve = fitted(scores, wanted)
    asked = np.linspace(-1, 7, 33)
    inside = np.clip(asked, scores.min(), scores.max())
    assert curve.chances(asked) == pytest.approx(IsotonicRegression().fit(scores, wanted).predict(inside), abs=1e-12)
    assert curve.documents.sum() == len(rows) and LabelCurve.of(curve.told()).told() == curve.told()


def test_measures_of_documents_held_out() -> None:
    scores, wanted = np.array([1.0, 2, 3, 4] * 50), np.array([False, False, True, True] * 50)
    curve = fitted(scores, wanted)
    found = measured(curve, scores, wanted)
    assert (found["auc"], found["agreement"], found["commonest_label"], found["off"]) == (1, 1, 0.5, 0)
    assert found["rank_correlation"] == pytest.approx(0.894, abs=0.001) and verdict(found, curve, 200).passed
    guessed = measured(curve, np.array([1.0, 4] * 100), wanted)
    assert guessed["auc"] == pytest.approx(0.5, abs=0.1) and not verdict(guessed, curve, 200).passed
    assert measured(curve, scores[:2], wanted[:2]) == {} and not verdict({}, curve, 2).passed


def documents(count: int) -> list[dict[str, Any]]:
    """Return documents that are good with a chance of a tenth of their score, some without score or label."""
    chance = random.Random(3)
    docs: list[dict[str, Any]] = []
    for number in range(count):
        score = chance.randrange(11)
        docs.append({"id": f"d{number}", "text": "x", "score": float(score), "good": int(chance.random() < score / 10)})
    docs[3]["score"] = docs[5]["good"] = None
    return docs


def carried_out(place: Path, docs: list[dict[str, Any]], shard_bytes: str) -> dict[str, Any]:
    (place / "docs.jsonl").write_bytes(b"".join(orjson.dumps(doc) + b"\n" for doc in docs))
    (place / "pipeline.yaml").write_text(PIPELINE.replace("BYTES", shard_bytes))
    return run_pipeline(place / "pipeline.yaml", str(place / f"ws-{shard_bytes}"), on="local", workers=1)


def test_chances_of_a_run_are_those_that_were_planted(tmp_path: Path) -> None:
    files = []
    for shard_bytes in ("10MB", "20kB"):
        report = carried_out(tmp_path, documents(2000), shard_bytes)
        stages = {stage["name"]: stage for stage in report["stages"]}
        [note] = stages["chances"]["notes"]
        assert note["passed"] and 0.7 < note["measures"]["auc"] < 0.9 and note["measures"]["off"] < 0.06
        assert note["measures"]["agreement"] > note["measures"]["commonest_label"] + 0.1
        files.append(Path(stages["chances"]["dataset"], "chances.json").read_bytes())
        told = curate.load(stages["told"]["dataset"]).scan().collect()["chance"].to_list()
        assert told[3] is None
        for doc, chance in zip(documents(2000), told, strict=True):
            assert doc["score"] is None or chance == pytest.approx(doc["score"] / 10, abs=0.12)
    assert files[0] == files[1] and orjson.loads(files[0])["format"] == 1


def test_a_sample_by_hash_is_not_all_on_one_side(tmp_path: Path) -> None:
    docs = documents(400)
    drawn = chances(pa.array([doc["id"] for doc in docs]), 0) < 0.3
    report = carried_out(tmp_path, [doc for doc, kept in zip(docs, drawn, strict=True) if kept], "10MB")
    about = curate.load(next(stage["dataset"] for stage in report["stages"] if stage["name"] == "chances")).manifest.about
    assert 0.35 < about["held"] / about["documents"] < 0.65


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"good": 2}, "`good` holds 2, which is no label"),
        ({"good": None, "score": 1.5}, "no document has both `score` and `good`"),
    ],
)
def test_wrong_labels_are_told(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    docs = [doc | (change if number else {"score": None}) for number, doc in enumerate(documents(30))]
    report = carried_out(tmp_path, docs, "10MB")
    assert report["status"] == "failed" and message in report["error"]["message"]


@pytest.mark.parametrize(
    "written",
    ["", "[]", "{}", '{"lowest": [0], "highest": [1], "chance": [2], "documents": [3]}',
     '{"lowest": [0, 1], "highest": [1, 2], "chance": [0.5, 0.1], "documents": [3, 3]}'],
)  # fmt: skip
def test_files_that_are_no_curves_are_told(written: str, tmp_path: Path) -> None:
    file = tmp_path / "chances.json"
    file.write_text(written)
    with pytest.raises(OperatorError, match="is no curve of chances") as told:
        LabelChance("score", str(file)).verify_file("table", file)
    assert "calibrate_labels" in (told.value.hint or "")


def test_wrong_parameters_are_told() -> None:
    with pytest.raises(PipelineError, match="`held_out` is 1, not from 0 up to 1"):
        CalibrateLabels("score", "good", held_out=1)
    schema = pa.schema({"score": pa.string(), "good": pa.string()})
    with pytest.raises(PipelineError, match="`score` is string, not a number"):
        CalibrateLabels("score", "good").verify(schema)
    with pytest.raises(PipelineError, match="`good` is string, not a label"):
        CalibrateLabels("number", "good").verify(schema)
    with pytest.raises(PipelineError, match="`score` is string, not a number"):
        LabelChance("score", "x").verify(schema)
