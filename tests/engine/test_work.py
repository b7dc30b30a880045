"""A user's dataset operator advances in phases that go on where they stopped, and says what it did wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.errors import OperatorError, WorkspaceError
from curate.pipeline import Pipeline, Stage, Step
from curate.work import SCRATCH, _explained
from tests.engine import small

SHARDS = 4


def numbered(tmp_path: Path, log: Path, **params: Any) -> Pipeline:
    source = small.write_jsonl(tmp_path / "in/a.jsonl", small.documents(40))
    stages = {
        "clean": Stage("crawl", [Step("my_ops.py:Even")]),
        "number": Stage("clean", use="my_ops.py:Number", params={"log": str(log)} | params),
    }
    return small.pipeline(source, stages, shard_bytes=source.stat().st_size // SHARDS)


def calls(log: Path) -> list[str]:
    return sorted(line.partition(" ")[2] for line in (log / "calls").read_text().splitlines())


@pytest.mark.parametrize("workers", [1, 2])
def test_an_operator_of_the_user_s_file(tmp_path: Path, log: Path, workers: int) -> None:
    plan, _ = small.run(numbered(tmp_path, log), tmp_path / "ws", workers)
    dataset = plan.dataset("number")
    assert len(dataset.manifest.shards) == len(plan.dataset("clean").manifest.shards) > 2
    assert [row["number"] for row in small.rows(dataset)] == list(range(20))
    assert [row["id"] for row in small.rows(dataset)] == [row["id"] for row in small.rows(plan.dataset("clean"))]
    assert calls(log) == sorted(f"{phase} {shard}" for phase in ("count", "write") for shard in range(len(dataset.manifest.shards)))
    assert not (tmp_path / "ws" / plan.stages["number"].folder / SCRATCH).exists()
    pids = {line.partition(" ")[0] for line in (log / "calls").read_text().splitlines()}
    assert len(pids) <= workers


def test_a_phase_goes_on_where_it_stopped(tmp_path: Path, log: Path) -> None:
    pipe, poison = numbered(tmp_path, log), log / "2"
    poison.touch()
    result = small.execute(small.plan(pipe, tmp_path / "ws"))
    assert result.status == "failed" and isinstance(result.error, OperatorError)
    assert "phase `count` failed: ValueError: cannot bear this shard" in result.error.message
    poison.unlink()
    plan, _ = small.run(pipe, tmp_path / "ws")
    shards = len(plan.dataset("number").manifest.shards)
    counted = [call for call in calls(log) if call.startswith("count")]
    assert sorted(counted) == sorted([*(f"count {shard}" for shard in range(shards)), "count 2"]), "only what failed is done again"
    assert [row["number"] for row in small.rows(plan.dataset("number"))] == list(range(20))


def test_the_time_of_every_phase_counts_and_that_of_an_earlier_run(tmp_path: Path, log: Path) -> None:
    pipe, poison = numbered(tmp_path, log), log / "2"
    poison.touch()
    planned = small.plan(pipe, tmp_path / "ws")
    assert small.execute(planned).status == "failed"
    kept = tmp_path / "ws" / planned.stages["number"].folder / SCRATCH / "count" / "part-00000.json"
    content = orjson.loads(kept.read_bytes())
    content["measured"] |= {"seconds": 300.0, "cpu_seconds": 200.0, "steps": {"count": 300.0}}  # a long task, before the run was stopped
    kept.write_bytes(orjson.dumps(content))
    poison.unlink()
    plan, _ = small.run(pipe, tmp_path / "ws")
    measured = plan.dataset("number").manifest.measured
    written = sum(shard.measured.cpu_seconds for shard in plan.dataset("number").manifest.shards)
    assert measured.cpu_seconds > 200 + written and measured.steps["count"] > 300 and set(measured.steps) == {"count", "write"}
    assert measured.peak_rss_bytes > 0


def test_shards_with_receipts_are_not_written_again(tmp_path: Path, log: Path) -> None:
    pipe = numbered(tmp_path, log)
    plan, _ = small.run(pipe, tmp_path / "ws")
    folder = tmp_path / "ws" / plan.stages["number"].folder
    before = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    (folder / "manifest.json").unlink()
    (folder / "part-00001.parquet").unlink()
    (log / "calls").unlink()
    again, _ = small.run(pipe, tmp_path / "ws")
    assert [call for call in calls(log) if call.startswith("write")] == ["write 1"]
    assert {path.name: path.read_bytes() for path in folder.glob("*.parquet")} == before
    assert small.rows(again.dataset("number")) == small.rows(plan.dataset("number"))


@pytest.mark.parametrize(
    ("way", "says"),
    [
        ("lambda", "is no module-level function"),
        ("nested", "`Number._nested` is no module-level function"),
        ("nothing", "stage number: `my_ops.py:Number` wrote no shard"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, log: Path, way: str, says: str) -> None:
    result = small.execute(small.plan(numbered(tmp_path, log, way=way), tmp_path / "ws"))
    assert isinstance(result.error, OperatorError) and says in result.error.message and result.error.hint
    assert result.stages["clean"].status == "done" and result.stages["number"].status == "failed"


def test_only_what_nobody_expected_is_explained() -> None:
    full = WorkspaceError("disk full")
    assert _explained(full, "hash") is full
    error = _explained(KeyError("x"), "hash")
    assert isinstance(error, OperatorError) and str(error) == "phase `hash` failed: KeyError: 'x'"
    assert isinstance(_explained(KeyboardInterrupt(), "hash"), KeyboardInterrupt)
