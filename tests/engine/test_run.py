"""A run that is killed around a manifest leaves nothing behind once it is run again; a failed stage blocks only its readers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from curate.errors import WorkspaceError
from curate.fence import Fence
from curate.pipeline import Pipeline, Stage, Step
from curate.storage import LocalStorage
from tests.engine import small


def pipeline(source: Path) -> Pipeline:
    if not source.exists():
        small.write_jsonl(source, small.documents(40))
    return small.pipeline(
        source, {"even": Stage("crawl", [Step("my_ops.py:Even")]), "mark": Stage("even", use="exact_dedup")}, shard_bytes=500
    )


def files(workspace: Path) -> dict[str, bytes]:
    """Return all files of the datasets, with the bytes of those without measurements in them."""
    paths = [path for path in (workspace / "datasets").rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace)): path.read_bytes() if path.suffix == ".parquet" else b"" for path in paths}


KILLED = """
import os, signal, sys
from pathlib import Path
from curate.storage.local import LocalStorage
from tests.engine import small
from tests.engine.test_run import pipeline

when, wanted = sys.argv[3].split()
write = LocalStorage.write

def dies(self, path, data):
    if when == "before" and path.endswith(wanted):
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, path, data)
    if path.endswith(wanted):
        os.kill(os.getpid(), signal.SIGKILL)

LocalStorage.write = dies
small.run(pipeline(Path(sys.argv[1])), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("point", ["before manifest.json", "after manifest.json"])
def test_a_kill_around_the_manifest_leaves_nothing_behind(tmp_path: Path, point: str) -> None:
    source = tmp_path / "a.jsonl"
    small.run(pipeline(source), tmp_path / "calm")
    for _ in range(2):  # each stage's manifest in turn
        command = [sys.executable, "-c", KILLED, str(source), str(tmp_path / "stormy"), point]
        done = subprocess.run(command, cwd=small.FOLDER.parent.parent, check=False)
        assert done.returncode in (0, -signal.SIGKILL)
    small.run(pipeline(source), tmp_path / "stormy")
    assert files(tmp_path / "stormy") == files(tmp_path / "calm")


def test_a_failed_stage_blocks_its_readers_only(tmp_path: Path) -> None:
    source = small.write_jsonl(tmp_path / "a.jsonl", small.documents(5))
    stages = {
        "bad": Stage("crawl", [Step("my_ops.py:Short", {"poison": "word3"}, name="short")]),
        "reader": Stage("bad", [Step("my_ops.py:Even")]),
        "mark": Stage("reader", use="exact_dedup"),
        "other": Stage("crawl", [Step("my_ops.py:Even")]),
    }
    events: list[dict[str, object]] = []
    result = small.execute(small.plan(small.pipeline(source, stages), tmp_path / "ws"), events=events)  # type: ignore[arg-type]
    assert {name: stage.status for name, stage in result.stages.items()} == {
        "bad": "failed",
        "reader": "blocked",
        "mark": "blocked",
        "other": "done",
    }
    assert result.status == "failed" and "stage bad, shard 0: step `short` raised on document `d0003`" in str(result.error)
    assert [event["error"] for event in events if event["event"] == "stage_failed"][1:] == [
        "blocked: stage bad failed",
        "blocked: stage reader failed",
    ]


def test_two_runs_of_one_dataset(tmp_path: Path) -> None:
    plan = small.plan(pipeline(tmp_path / "a.jsonl"), tmp_path / "ws")
    with Fence(LocalStorage(tmp_path / "ws"), plan.stages["even"].folder, "first"):
        result = small.execute(plan)
        assert isinstance(result.error, WorkspaceError) and "run first is working on" in result.error.message
        assert "mark" not in result.stages, "a workspace that cannot be used ends the run at once"
    assert small.execute(plan).status == "done"


def test_another_run_finished_while_this_one_took_the_fence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = pipeline(tmp_path / "a.jsonl")
    plan = small.plan(pipe, tmp_path / "ws")
    enter, raced = Fence.__enter__, list[str]()

    def finished_first(fence: Fence) -> Fence:
        if not raced:
            raced.append("once")
            small.run(pipe, tmp_path / "ws")
        return enter(fence)

    monkeypatch.setattr(Fence, "__enter__", finished_first)
    result = small.execute(plan)
    assert {name: stage.status for name, stage in result.stages.items()} == {"even": "reused", "mark": "reused"}
    assert not list((tmp_path / "ws").rglob(".fence/*"))


def test_receipts_say_what_the_manifest_says(tmp_path: Path) -> None:
    plan, result = small.run(pipeline(tmp_path / "a.jsonl"), tmp_path / "ws")
    manifest = plan.dataset("even").manifest
    counts = [orjson.loads(path.read_bytes())["counts"] for path in (tmp_path / "ws" / plan.stages["even"].folder / "receipts").iterdir()]
    assert sum(c["rows_in"] for c in counts) == manifest.counts.rows_in == 40
    assert manifest.counts.dropped == {"Even": {"odd": 20}}
    assert result.stages["even"].new_shards == len(manifest.shards) == len(counts)
