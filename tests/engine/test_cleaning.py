"""What no pipeline's last run needs may go; what is lent, or worked on, stays."""

from __future__ import annotations

import os
import time
from pathlib import Path

import orjson
import pytest

from curate import launch
from curate.cleaning import remove, unused
from curate.fence import STALE_S, Fence
from curate.launch import Request
from curate.manifest import MANIFEST
from curate.pipeline import Input, Pipeline, Stage, Step
from curate.storage import LocalStorage
from tests.engine import small

RUNS = iter(range(1000))


def pipeline(tmp_path: Path, files: int, name: str = "small", min_chars: int = 1) -> Pipeline:
    for number in range(files):
        if not (tmp_path / f"in/{number}.jsonl").exists():
            small.write_jsonl(tmp_path / f"in/{number}.jsonl", small.documents(20, start=number * 20))
    stages = {"clean": Stage("crawl", [Step("length", {"min_chars": min_chars})]), f"last_{name}": Stage("clean", [Step("my_ops.py:Even")])}
    return small.pipeline(tmp_path / "in", stages, name=name, inputs={"crawl": Input(str(tmp_path / "in/[0-9].jsonl"))}, shard_bytes=500)


def run(pipe: Pipeline, tmp_path: Path) -> dict[str, str]:
    """Run as the command line does, and return the dataset of each stage."""
    run_id = f"run-{next(RUNS):03d}"
    report = launch.launch(pipe, None, Request(str(tmp_path / "ws"), "local", 1, run_id=run_id), lambda event: None)
    assert report["status"] == "done"
    plan = orjson.loads((tmp_path / "ws/runs" / run_id / "plan.json").read_bytes())
    return {name: stage["dataset"] for name, stage in plan["stages"].items()}


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "ws")


def folders(storage: LocalStorage) -> list[str]:
    return [entry.folder for entry in unused(storage)]


def test_nothing_is_unused_after_one_run(tmp_path: Path, storage: LocalStorage) -> None:
    assert unused(storage) == []
    run(pipeline(tmp_path, 1), tmp_path)
    assert unused(storage) == []


def test_superseded_datasets_may_go(tmp_path: Path, storage: LocalStorage) -> None:
    old = run(pipeline(tmp_path, 1), tmp_path)
    new = run(pipeline(tmp_path, 1, min_chars=40), tmp_path)
    found = unused(storage)
    assert [entry.folder for entry in found] == sorted(old.values()) and {entry.why for entry in found} == {"superseded"}
    for entry in found:
        assert entry.bytes == sum(path.stat().st_size for path in (tmp_path / "ws" / entry.folder).rglob("*") if path.is_file())
    remove(storage, found)
    assert unused(storage) == [] and not any((tmp_path / "ws" / folder).exists() for folder in old.values())
    assert all((tmp_path / "ws" / folder / MANIFEST).exists() for folder in new.values())


def test_each_pipeline_keeps_its_last_run(tmp_path: Path, storage: LocalStorage) -> None:
    run(pipeline(tmp_path, 1, "one"), tmp_path)
    run(pipeline(tmp_path, 1, "two", min_chars=40), tmp_path)
    assert unused(storage) == []


def test_lenders_stay(tmp_path: Path, storage: LocalStorage) -> None:
    first = run(pipeline(tmp_path, 1), tmp_path)
    other = run(pipeline(tmp_path, 1, min_chars=40), tmp_path)
    run(pipeline(tmp_path, 2), tmp_path)
    third = run(pipeline(tmp_path, 3), tmp_path)
    assert folders(storage) == sorted(other.values()), "the first and the second lend to the third"
    remove(storage, unused(storage))
    dataset = small.plan(pipeline(tmp_path, 3), tmp_path / "ws").dataset("clean")
    assert dataset.path == third["clean"] and any(
        shard.data.path.startswith(f"../{first['clean'][9:]}/") for shard in dataset.manifest.shards
    )
    assert len(small.rows(dataset)) == 60


def test_unfinished_datasets_may_go_unless_somebody_works_on_them(tmp_path: Path, storage: LocalStorage) -> None:
    old = run(pipeline(tmp_path, 1), tmp_path)
    new = run(pipeline(tmp_path, 1, min_chars=40), tmp_path)
    (tmp_path / "ws" / old["clean"] / MANIFEST).unlink()
    assert {entry.folder: entry.why for entry in unused(storage)}[old["clean"]] == "unfinished"
    with Fence(storage, old["clean"], "living"):
        assert folders(storage) == [old["last_small"]]
    assert folders(storage) == sorted(old.values())
    assert new


def test_whoever_is_at_work_may_still_borrow(tmp_path: Path, storage: LocalStorage) -> None:
    """A run borrows finished shards when it begins a stage, but names them in its manifest at the end only."""
    old = run(pipeline(tmp_path, 1), tmp_path)
    new = run(pipeline(tmp_path, 2), tmp_path)
    for path in (tmp_path / "ws" / new["clean"]).rglob("*.json"):
        path.unlink()
    with Fence(storage, new["clean"], "living"):
        assert old["clean"] not in folders(storage)


def test_a_fence_of_the_dead_protects_nothing(tmp_path: Path, storage: LocalStorage) -> None:
    old = run(pipeline(tmp_path, 1), tmp_path)
    run(pipeline(tmp_path, 1, min_chars=40), tmp_path)
    holder = {"run": "x", "host": "elsewhere", "pid": os.getpid(), "started": "", "beat": time.time() - STALE_S - 1, "released": False}
    storage.write(f"{old['clean']}/.fence/000001.json", orjson.dumps(holder))
    assert old["clean"] in folders(storage)
    storage.write(f"{old['clean']}/.fence/000002.json", orjson.dumps(holder | {"beat": time.time()}))
    assert old["clean"] not in folders(storage)
