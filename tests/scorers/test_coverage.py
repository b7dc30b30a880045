"""`coverage` on planted clusters: ratios are those of plain counts, whatever the shards; and what it is told wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate import run_pipeline
from curate.errors import PipelineError
from curate_scorers.coverage import Coverage

HERE = {"a": 60, "b": 30, "c": 10}  # documents of each kind
THERE = {"a": 2, "b": 16, "d": 2}
NUMBERS = {"a": 0, "b": 1, "c": 2, "d": 3}
PIPELINE = """
name: gaps
shard_bytes: BYTES
inputs: {docs: {path: docs*.jsonl}, asked: {path: asked.jsonl}}
stages:
  crawl: {from: docs, operators: [{use: normalize}]}
  gap: {from: [crawl, asked], use: coverage, params: {cluster: kind, reference: kind}}
  uncovered: {from: [crawl, gap], operators: [{use: where, params: {keep: "gap.ratio >= 4"}}]}
"""
NONE = """
  none: {from: asked, operators: [{use: where, params: {keep: "kind > 99"}}]}
"""


def write(path: Path, kinds: dict[str, int], without: int = 0) -> None:
    docs = [
        {"id": f"{path.stem}-{kind}{n}", "text": kind, "kind": NUMBERS[kind]} for n in range(60) for kind, size in kinds.items() if n < size
    ]
    docs += [{"id": f"{path.stem}-none{n}", "text": "none", "kind": None} for n in range(without)]
    path.write_bytes(b"".join(orjson.dumps(doc) + b"\n" for doc in docs))


def made(place: Path, shard_bytes: str) -> tuple[dict[str, Any], dict[str, Any]]:
    (place / "pipeline.yaml").write_text(PIPELINE.replace("BYTES", shard_bytes))
    report = run_pipeline(place / "pipeline.yaml", str(place / f"workspace-{shard_bytes}"), on="local", workers=1)
    assert report["status"] == "done", report["error"]
    return report, {stage["name"]: curate.load(stage["dataset"]) for stage in report["stages"]}


def test_ratios_are_shares_beside_shares(tmp_path: Path) -> None:
    write(tmp_path / "docs.jsonl", HERE, without=3)
    write(tmp_path / "asked.jsonl", THERE, without=2)
    expected = {kind: (HERE[kind] / 100) / ((THERE.get(kind, 0) + 0.5) / (20 + 0.5 * 4)) for kind in HERE}
    found = {}
    for shard_bytes in ("1MB", "1kB"):
        report, datasets = made(tmp_path, shard_bytes)
        rows = datasets["gap"].scan().collect().to_dicts()
        for row in rows:
            kind = row["id"].removeprefix("docs-")[0]
            assert row["ratio"] == (None if kind == "n" else pytest.approx(expected[kind]))
        found[shard_bytes] = sorted((row["id"], row["ratio"]) for row in rows)
        assert {row["id"][5] for row in datasets["uncovered"].scan().collect().to_dicts()} == {"a", "c"}
        assert [row["cluster"] for row in datasets["gap"].manifest.about["clusters"]] == [0, 2, 1]
        [note] = next(stage for stage in report["stages"] if stage["name"] == "gap")["notes"]
        assert note["passed"] and "100 documents beside 20 documents of the reference, in 3 clusters" in note["message"]
        assert "70.0% are of kinds at least 2 times as common here" in note["message"]
    assert len(datasets["crawl"].manifest.shards) > 1 and found["1MB"] == found["1kB"]


def test_a_reference_without_clusters_is_told(tmp_path: Path) -> None:
    write(tmp_path / "docs.jsonl", HERE)
    write(tmp_path / "asked.jsonl", THERE)
    (tmp_path / "pipeline.yaml").write_text(PIPELINE.replace("BYTES", "1MB").replace("from: [crawl, asked]", "from: [crawl, none]") + NONE)
    report = run_pipeline(tmp_path / "pipeline.yaml", str(tmp_path / "workspace"), on="local", workers=1)
    assert report["status"] == "failed" and "no document of `none` has a cluster in `kind`" in report["error"]["message"]


@pytest.mark.parametrize("sources", ["[crawl]", "[crawl, gap2]", "[crawl, asked, docs]"])
def test_wrong_sources_are_told(sources: str, tmp_path: Path) -> None:
    write(tmp_path / "docs.jsonl", HERE)
    write(tmp_path / "asked.jsonl", THERE)
    text = PIPELINE.replace("BYTES", "1MB").replace("[crawl, asked]", sources)
    text += "  gap2: {from: crawl, emits: attributes, operators: [{use: measure}]}\n"
    (tmp_path / "pipeline.yaml").write_text(text)
    with pytest.raises(PipelineError, match="compares one set of documents with another") as told:
        run_pipeline(tmp_path / "pipeline.yaml", str(tmp_path / "workspace"), on="local", workers=1)
    assert "[DOCUMENTS, CLUSTERS, REFERENCE, ITS_CLUSTERS]" in str(told.value)


def test_wrong_parameters_are_told() -> None:
    for smoothing in (0, -1, float("inf"), float("nan")):
        with pytest.raises(PipelineError, match="`smoothing` is"):
            Coverage("a", "b", smoothing)
