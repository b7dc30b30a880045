"""What a dataset operator notes stands in the manifest and in the report of every run that uses its dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from curate.errors import OperatorError
from curate.pipeline import Pipeline, Stage
from curate.plan import Plan
from curate.report.build import build_report, summary
from curate.run import RunResult
from tests.engine import small

NOTE = {"name": "shards", "passed": True, "message": "20 rows", "measures": {"rows": [6, 5, 5, 4, 0]}, "curve": None}
CONTEXT = {"command": "", "executor": "", "started_at": datetime(2026, 1, 1, tzinfo=UTC)}


def numbered(folder: Path, log: Path, **params: Any) -> Pipeline:
    source = small.write_jsonl(folder / "in/a.jsonl", small.documents(20))
    stage = Stage("crawl", use="my_ops.py:Number", params={"log": str(log)} | params)
    return small.pipeline(source, {"number": stage}, shard_bytes=source.stat().st_size // 4)


def reported(plan: Plan, result: RunResult) -> dict[str, Any]:
    [stage] = [dict(stage) for stage in build_report(plan, result, CONTEXT)["stages"] if stage["name"] == "number"]
    return stage


@pytest.mark.parametrize("workers", [1, 2])
def test_notes_stand_in_the_manifest_and_the_report(workers: int, tmp_path: Path, log: Path) -> None:
    plan, result = small.run(numbered(tmp_path, log), tmp_path / "ws", workers)
    assert plan.dataset("number").manifest.notes == [NOTE]
    assert reported(plan, result)["notes"] == [NOTE]
    short = {name: NOTE[name] for name in ("passed", "message")}
    assert summary(build_report(plan, result, CONTEXT))["stages"]["number"]["notes"] == {"shards": short}


def test_a_stage_that_is_not_run_again_shows_its_notes(tmp_path: Path, log: Path) -> None:
    pipe = numbered(tmp_path, log)
    small.run(pipe, tmp_path / "ws")
    (log / "calls").unlink()
    plan, result = small.run(pipe, tmp_path / "ws")
    assert reported(plan, result)["status"] == "reused"
    assert reported(plan, result)["notes"] == [NOTE]
    assert not (log / "calls").exists()


def test_notes_survive_a_kill_before_the_manifest(tmp_path: Path, log: Path) -> None:
    pipe = numbered(tmp_path, log)
    plan, _ = small.run(pipe, tmp_path / "ws")
    (tmp_path / "ws" / plan.stages["number"].folder / "manifest.json").unlink()
    plan, _ = small.run(pipe, tmp_path / "ws")
    assert plan.dataset("number").manifest.notes == [NOTE]


def test_events_tell_notes_as_they_come(tmp_path: Path, log: Path) -> None:
    events: list[Any] = []
    small.execute(small.plan(numbered(tmp_path, log), tmp_path / "ws"), events=events)
    told = {"event": "note", "stage": "number", "note": "shards", "passed": True, "message": NOTE["message"]}
    assert [event for event in events if event["event"] == "note"] == [told]


def test_a_stage_that_fails_shows_what_it_had_noted(tmp_path: Path, log: Path) -> None:
    plan = small.plan(numbered(tmp_path, log, way="twice"), tmp_path / "ws")
    result = small.execute(plan)
    assert isinstance(result.error, OperatorError) and "there is a note `shards` already" in result.error.message
    assert plan.status("number") != "done"
    assert reported(plan, result)["notes"] == [NOTE]
