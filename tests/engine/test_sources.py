"""What a task reads: exactly the limit, with captured columns, and never an id twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.errors import DatasetError
from curate.pipeline import Input, Pipeline, Stage, Step
from tests.engine import small


def pipeline(tmp_path: Path, limit: int | None = None, shard_bytes: int = 1 << 20) -> Pipeline:
    inputs = {"crawl": Input(str(tmp_path / "{site}/*.jsonl"), limit=limit)}
    return small.pipeline(tmp_path, {"all": Stage("crawl", [Step("length")])}, inputs=inputs, shard_bytes=shard_bytes)


def write(tmp_path: Path, starts: list[int]) -> None:
    for number, start in enumerate(starts):
        small.write_jsonl(tmp_path / f"site{number}/a.jsonl", small.documents(10, start=start))


@pytest.mark.parametrize("limit", [1, 9, 10, 11, 25, 30, 99])
def test_a_limit_is_exact(tmp_path: Path, limit: int) -> None:
    write(tmp_path, [0, 10, 20])
    plan, _ = small.run(pipeline(tmp_path, limit), tmp_path / "ws")
    assert [row["id"] for row in small.rows(plan.dataset("all"))] == [f"d{i:04d}" for i in range(min(limit, 30))]
    plan.dataset("all").manifest.counts.verify("limited")


def test_captures_are_columns(tmp_path: Path) -> None:
    write(tmp_path, [0, 10])
    plan, _ = small.run(pipeline(tmp_path, shard_bytes=300), tmp_path / "ws")
    assert [row["site"] for row in small.rows(plan.dataset("all"))] == ["site0"] * 10 + ["site1"] * 10


@pytest.mark.parametrize("limit", [None, 15])
def test_an_id_that_comes_twice_is_refused(tmp_path: Path, limit: int | None) -> None:
    write(tmp_path, [0, 5])
    result = small.execute(small.plan(pipeline(tmp_path, limit), tmp_path / "ws"))
    assert isinstance(result.error, DatasetError)
    assert f"id `d0005` is in {tmp_path}/site0/a.jsonl and again in {tmp_path}/site1/a.jsonl" in result.error.message
    assert not list((tmp_path / "ws").rglob("part-*"))


def test_an_id_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, [0, 5])
    plan, _ = small.run(pipeline(tmp_path, 10), tmp_path / "ws")
    assert plan.dataset("all").rows == 10
